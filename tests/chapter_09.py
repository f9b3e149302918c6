"""chapter_09.py - what test_chapters.py needs to know of chapter 9, and tests of its ladder: what
becomes of it without Python, and of Python when something goes wrong."""
import json
import math
import os
import shutil
import signal
import stat
import time
from unittest import SkipTest

from chapter_test import (LIMIT, PROMPT, Chapter, ChapterTest, OtherBlas, arguments, family, few, kill,
                           python_with_numpy, read_npy, shape_of, wait_until)

CHAPTER = Chapter(
    counts=lambda n: {"--images": n, "--size": "12x9", "--order": 9, "--cnn-images": min(n, 50),
                      "--python-images": 0},  # the network is slow under a sanitizer
    arrays={"images.npy": ("<f4", lambda o: (o["--images"], *shape_of(o["--size"]))),
            "edges.npy": ("<f4", lambda o: (o["--images"],
                                            *(side - 4 for side in shape_of(o["--size"])))),
            "matmul_a.npy": ("<f8", lambda o: (o["--order"],) * 2),
            "matmul_b.npy": ("<f8", lambda o: (o["--order"],) * 2),
            "matmul_c.npy": ("<f8", lambda o: (o["--order"],) * 2),
            "conv1_w.npy": ("<f4", lambda o: (16, 1, 3, 3)),
            "conv2_w.npy": ("<f4", lambda o: (32, 16, 3, 3)),
            "fc_w.npy": ("<f4", lambda o: (1152, 10)),
            "cnn_images.npy": ("<f4", lambda o: (o["--cnn-images"], 1, 28, 28)),
            "logits.npy": ("<f4", lambda o: (o["--cnn-images"], 10))},
    inputs=("images.npy", "matmul_a.npy", "matmul_b.npy", "conv1_w.npy", "conv2_w.npy", "fc_w.npy",
            "cnn_images.npy"),
    oracle=({"--images": 3, "--size": "6x5", "--order": 1, "--cnn-images": 1, "--python-images": 0},
            {"--images": 2, "--size": 64, "--order": 131, "--cnn-images": 10,
             "--python-images": 1}),
    zero_allowed=("--python-images",),
    memory=(("--images", "1000000000000"), ("--size", "10000000"), ("--size", "65536"),
            ("--order", "100000000"), ("--cnn-images", "10000000000"),
            ("--cnn-images", "16777216")),
    sizes=("--images", "--size", "--order", "--cnn-images", "--python-images"), seconds=0.1)


class Blas(OtherBlas, ChapterTest):
    blas_options = (("--images=2", "--size=12x9", "--order=65", "--cnn-images=2", "--python-images=0"),)


SMALL = ("--images=3", "--size=12x9", "--order=9", "--cnn-images=3", "--repeats=1", "--workers=2")
RUNGS = ["naive C", "better algorithm", "vectorised", "batched", "threads, 2", "processes, 2"]
WORKLOADS = ("ladder, naive", "ladder, algorithm", "ladder, vectorised", "ladder, batch")


class Scenarios(ChapterTest):
    def test_three_scenarios_and_four_rungs(self):
        report = self.report(*SMALL, "--python-images=0")
        self.assertEqual(list(dict.fromkeys(run["workload"] for run in report["runs"])),
                         ["images", "product", "inference", *WORKLOADS])
        transfers = {(run["workload"], run["transfer"]) for run in report["runs"]
                     if run["mode"] == "processes"}
        self.assertLessEqual({("images", "shared"), ("product", "copy"), ("product", "shared"),
                              ("inference", "shared")}, transfers)

    def test_numbers_do_not_depend_on_how_sizes_were_found(self):
        """--seconds prepares each scenario several times; the stream of numbers goes on all the
        same."""
        report = self.report(*SMALL, "--seconds=0.002", "--mode=threads", "--python-images=0",
                             "--save", self.path("grown"))
        sizes = {"--" + name.replace("_", "-"): report["parameters"][name]
                 for name in ("images", "order", "cnn_images")}
        self.assertNotEqual(sizes, {"--images": 3, "--order": 9, "--cnn-images": 3})
        self.succeed(*SMALL, *arguments(sizes), "--mode=sequential", "--python-images=0", "--save",
                     self.path("given"))
        for name in self.chapter.arrays:
            self.assertEqual(read_npy(self.path("grown", name))[1:3],
                             read_npy(self.path("given", name))[1:3], name)

    def test_openblas_or_openmp_bound(self):
        """OMP_PROC_BIND binds the first thread; the results are the same."""
        self.report(*SMALL, "--python-images=0", env={**self.environment, "OMP_PROC_BIND": "true"})


class Ladder(ChapterTest):
    def rungs(self, report):
        """The names of its rungs; checks the figures."""
        ladder = report["ladder"]
        below = 1.0
        for number, rung in enumerate(ladder):
            self.assertGreater(rung["task_s"], 0, rung)
            if number == 0:
                self.assertEqual((rung["factor"], rung["product"]), (1, 1))
            if rung["rung"] != "processes, 2":  # stands on the batch, as threads do
                self.assertTrue(math.isclose(rung["product"], below * rung["factor"]), ladder)
                below = rung["product"]
            self.assertTrue(math.isclose(rung["product"],
                                         ladder[0]["task_s"] / rung["task_s"]), ladder)
        return [rung["rung"] for rung in ladder]

    def test_in_c(self):
        report = self.report(*SMALL, "--python-images=0")
        self.assertEqual(self.rungs(report), RUNGS)
        self.assertNotIn("notebook", report)
        best = {run["workload"]: run["wall_s"]["min"] / run["tasks"] for run in report["runs"]
                if run["mode"] == "sequential"}
        for workload, rung in zip(WORKLOADS, report["ladder"]):
            self.assertTrue(math.isclose(best[workload], rung["task_s"], rel_tol=1e-9), workload)

    def test_modes_that_were_not_asked_for(self):
        for mode, rungs in (("sequential", RUNGS[:4]), ("threads", RUNGS[:5]),
                            ("processes", RUNGS[:4] + RUNGS[5:]), ("gil", RUNGS[:4])):
            report = self.report(*SMALL, "--python-images=0", f"--mode={mode}")
            self.assertEqual([rung["rung"] for rung in report["ladder"]], rungs)

    def test_what_is_printed(self):
        out = self.succeed(*SMALL, "--python-images=0")
        ladder = out[out.index("The ladder:"):]
        for rung in RUNGS:
            self.assertIn(f"\n{rung} ", ladder)
        self.assertRegex(ladder, r"From naive C to (threads|processes), 2: \d")
        self.assertRegex(ladder, r"The notebook's order, .*(held|did\s+not\s+hold)")
        self.assertIn("one core ", ladder)
        self.assertLessEqual(max(map(len, out.splitlines())), 100)

    def test_hand_over_follows_transfer(self):
        out = self.succeed(*SMALL, "--python-images=0", "--transfer=copy")
        self.assertRegex(out, r"processes, 2 .*copied")


class Python(ChapterTest):
    def python(self, script):
        """A program that is started in Python's place."""
        path = self.path("python")
        with open(path, "w") as file:
            file.write(f"#!/bin/sh\n{script}\n")
        os.chmod(path, stat.S_IRWXU)
        return {**self.environment, "FORKJOIN_PYTHON": path, "FORKJOIN_PYTHON_SECONDS": "1"}

    IMPORT = 'case "$*" in *"import numpy"*) exit 0;; esac\n'  # the first call: has it NumPy?

    def assert_without_python(self, environment, *words):
        """The ladder begins with C, and one line says why; everything else is there."""
        report = self.report(*SMALL, env=environment)
        self.assertEqual([rung["rung"] for rung in report["ladder"]], RUNGS)
        for word in words:
            self.assertIn(word, report["notebook"]["error"])
        out = self.succeed(*SMALL, env=environment)
        self.assertEqual(out.count("The ladder begins with C: "), 1, out)
        told = out.partition("The ladder begins with C: ")[2].partition("\n\n")[0]
        for word in words:
            self.assertIn(word, " ".join(told.split()))
        self.assertNotIn("Python loops", out)
        self.assertEqual(os.listdir(self.directory),
                         ["python"] * os.path.exists(self.path("python")))

    def test_it_fails(self):
        self.assert_without_python(self.python("exit 3"), "FORKJOIN_PYTHON", "status 3")
        self.assert_without_python(self.python("echo one >&2; echo 'no luck' >&2; exit 1"),
                                   "status 1: no luck")
        self.assert_without_python(self.python(self.IMPORT + "echo broken >&2; exit 9"),
                                   "status 9: broken")
        self.assert_without_python(self.python(self.IMPORT + "kill -9 $$"), "signal 9")

    def test_ignored_child_signals(self):
        """With SIGCHLD ignored the kernel would throw the status away."""
        report = self.report(
            *SMALL, env=self.python(self.IMPORT + "exit 9"),
            preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
        self.assertIn("status 9", report["notebook"]["error"])

    def test_it_prints_garbage(self):
        for garbage, words in few((
                ('{"runs": [', "no JSON"), ("[1, 2]", "no report"), ("", "no JSON"),
                ("nonsense", "no JSON"), ('\\001\\033[2J\\377', "no JSON")), 3):
            with self.subTest(garbage=garbage):
                self.assert_without_python(
                    self.python(self.IMPORT + f"printf '{garbage}'; exit 0"), words)

    def test_its_last_words_are_made_harmless(self):
        environment = self.python(self.IMPORT + "printf 'a\\033[2Jb\\377c' >&2; exit 1")
        self.assert_without_python(environment, "status 1: a?[2Jb?c")

    def test_it_does_not_stop(self):
        for script in few((self.IMPORT + "trap '' TERM INT; while :; do echo; sleep 0.01; done",
                           self.IMPORT + "exec >&- 2>&-; sleep 1000", "sleep 1000",
                           self.IMPORT + "sleep 1000"), 2):
            with self.subTest(script=script):
                self.assert_without_python(self.python(script), "longer than 1.00 s")

    def test_what_it_leaves_behind_is_ended(self):
        self.assert_without_python(self.python(self.IMPORT + "sleep 1000 & echo '[]'"), "no report")

    def test_there_is_none(self):
        environment = {**self.environment, "FORKJOIN_PYTHON": self.path("nowhere")}
        self.assert_without_python(environment, "FORKJOIN_PYTHON", self.path("nowhere"))
        self.assert_without_python({**environment, "FORKJOIN_PYTHON": "/etc"}, "/etc is no program")

    def test_a_report_without_a_time(self):
        report = self.report(*SMALL, env=self.python(self.IMPORT + "echo '{}'"))
        self.assertEqual([rung["rung"] for rung in report["ladder"]], RUNGS)

    def test_other_edges_are_seen(self):
        environment = self.python(
            self.IMPORT + """echo '{"python_s_per_image": 0.5, "edges_sum": [1.5]}'""")
        self.fail_with([*SMALL, "--quiet"], ["image 0", "1.5"], (1,), env=environment)

    def real_python(self):
        python = python_with_numpy()
        if not python:
            raise SkipTest("no Python with NumPy was found: its loops are not measured")
        return python

    def test_the_first_rung(self):
        python = self.real_python()
        for images, seed, used in few(((9, 2**32 - 1, 3), (1, 42, 1), (2, 7, 2))):
            report = self.report(*SMALL, f"--python-images={images}", f"--seed={seed}",
                                 env={**self.environment, "FORKJOIN_PYTHON": python})
            self.assertEqual([rung["rung"] for rung in report["ladder"]], ["Python loops", *RUNGS])
            notebook = report["notebook"]
            self.assertEqual(len(notebook["edges_sum"]), used)
            self.assertEqual((notebook["seed"], notebook["parameters"]["size"]), (seed, [12, 9]))
            self.assertEqual(report["ladder"][0]["task_s"], notebook["python_s_per_image"])
            self.assertEqual(report["ladder"][0]["product"], 1)

    def test_it_is_found(self):
        """Without FORKJOIN_PYTHON: python3 in PATH, if it has NumPy, else Debian's."""
        self.real_python()
        environment = self.python("exit 1")
        os.rename(self.path("python"), self.path("python3"))
        del environment["FORKJOIN_PYTHON"], environment["FORKJOIN_PYTHON_SECONDS"]
        environment["PATH"] = f"{self.directory}:{environment['PATH']}"
        report = self.report(*SMALL, env=environment)
        self.assertTrue(report["ladder"][0]["rung"] == "Python loops"
                        or "no Python with NumPy" in report["notebook"]["error"], report)

    def test_the_notebook_above_the_program(self):
        """A tree that was moved has its own notebook.py, and not that where it was compiled."""
        os.makedirs(self.path("moved", "chapters", self.stem))
        os.makedirs(self.path("moved", "build"))
        shutil.copy(self.program(), self.path("moved", "build", "program"))
        with open(self.path("moved", "chapters", self.stem, "notebook.py"), "w") as file:
            file.write("not even read: the Python below shows its name")
        environment = self.python(self.IMPORT + 'echo "$1" >&2; exit 4')
        out = self.path("moved", "report.json")
        process = self.start(*SMALL, "--json", out, env=environment,
                             executable=self.path("moved", "build", "program"))
        self.assertEqual(self.finish(process)[0], 0)
        with open(out) as file:
            error = json.load(file)["notebook"]["error"]
        self.assertIn(f"/moved/chapters/{self.stem}/notebook.py", error)

    def test_it_ends_with_the_program(self):
        """However that ends, and whatever Python has started."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL):
            for script in ("exec sleep 1000", "sleep 1000 & sleep 1000"):
                if number == signal.SIGKILL and "&" in script:
                    continue  # only the kernel is left to end Python, and nobody for its children
                with self.subTest(signal=number.name, script=script):
                    environment = self.python(self.IMPORT + f"touch {self.path('on')}\n" + script)
                    environment["FORKJOIN_PYTHON_SECONDS"] = str(LIMIT)
                    process = self.start(*SMALL, "--json", self.path("a.json"), env=environment)
                    self.assertTrue(wait_until(lambda: os.path.exists(self.path("on")), LIMIT))
                    time.sleep(0.2)
                    kill(process.pid, number)
                    status, _, _ = self.finish(process, PROMPT)
                    self.assertEqual(status, -number)
                    self.assert_no_process_left()
                    self.assertFalse(os.path.exists(self.path("a.json")))
                    os.unlink(self.path("on"))

    def test_an_ignored_interrupt_stays_ignored(self):
        """As after nohup."""
        environment = self.python(self.IMPORT + f"touch {self.path('on')}; sleep 1; echo '[]'")
        environment["FORKJOIN_PYTHON_SECONDS"] = str(LIMIT)
        process = self.start(*SMALL, "--quiet", env=environment, preexec_fn=lambda: signal.signal(
            signal.SIGHUP, signal.SIG_IGN))
        self.assertTrue(wait_until(lambda: os.path.exists(self.path("on")), LIMIT))
        kill(process.pid, signal.SIGHUP)
        self.assertEqual(self.finish(process)[0], 0)
        self.assertEqual(family(self.mark), {})
