"""python_beside.py - tests of --python, which test_chapters.py runs for each chapter: the notebook's
rows beside C's, and what becomes of them when Python is missing, slow, wrong, or interrupted."""
import csv
import json
import os
import signal
import stat
import time
import unittest

from chapter_test import LIMIT, PROMPT, ChapterTest, family, kill, python_with_numpy, wait_until

HELP = 'case "$*" in *"import numpy"*|*--help*) exec {python} "$@";; esac\n'  # the calls before
ENDLESS = 'echo >"$1"; while :; do sleep 0.01; echo >>"$1"; done'  # keeps a file open and written

# Adds 1 to the last number of each of these .npy files.
CHANGE = """
import struct, sys
for path in sys.argv[1:]:
    with open(path, "r+b") as file:
        kind = file.read(128).split(b"'descr': '")[1][:3].decode()
        size = int(kind[2])
        code = {"<i8": "<q", "<f8": "<d", "<f4": "<f"}[kind]
        file.seek(-size, 2)
        value, = struct.unpack(code, file.read(size))
        file.seek(-size, 2)
        file.write(struct.pack(code, value + 1))
"""


class BesideTest(ChapterTest):
    def setUp(self):
        super().setUp()
        self.real = python_with_numpy()
        if not self.real:
            self.skipTest("no Python with NumPy was found: no notebook stands beside C")
        os.makedirs(self.path("temporary"))
        self.environment.update(FORKJOIN_PYTHON=self.real, TMPDIR=self.path("temporary"))
        self.environment.pop("FORKJOIN_PYTHON_SECONDS", None)
        # no python3.*t of this machine's
        self.environment["PATH"] = os.pathsep.join(
            directory for directory in os.environ["PATH"].split(os.pathsep)
            if not any(name.endswith("t") and name.startswith("python3.") for name in
                       (os.listdir(directory) if os.path.isdir(directory) else ())))

    def fake(self, script, name="python", **environment):
        """The environment in which a script is started in Python's place. The first calls, which ask
        what it can do, are answered by the real one."""
        path = self.path(name)
        with open(path, "w") as file:
            file.write(f"#!/bin/sh\n{HELP.format(python=self.real)}{script}\n")
        os.chmod(path, stat.S_IRWXU)
        return {**self.environment, "FORKJOIN_PYTHON": path, **environment}

    def altered(self, change):
        """The real Python, and then `change`, with the directory of its arrays in $saved."""
        return self.fake(
            f'{self.real} "$@"; status=$?\n'
            'for word; do case $word in --save=*) saved=${word#--save=};; esac; done\n'
            f'{change}\nexit $status')

    def tearDown(self):
        if hasattr(self, "real") and self.real:
            self.assertEqual(os.listdir(self.path("temporary")), [], "left behind in TMPDIR")

    def run_json(self, *options, status=0, **keywords):
        """The report and standard error of a run with --python."""
        got, out, err = self.run_chapter(*self.small(), "--workers=1,2", "--python", "--json=-",
                                         *options, **keywords)
        self.assertEqual(got, status, err)
        return json.loads(out), err

    def python_rows(self, report):
        return [run for run in report["runs"] if run["language"] == "python"]

    def assert_equal_results(self, report):
        """C's and Python's rows of the same task, whose results are equal."""
        rows = self.python_rows(report)
        self.assertEqual({run["mode"] for run in rows}, {"sequential", "gil", "processes"})
        for run in rows:
            self.assertIs(run["matches_sequential"], True, run)
            self.assertIs(run["matches_c"], True, run)
            self.assertRegex(run["python"], r"^Python 3\.\d+")
        partners = [run for run in rows if run["c_speedup"] is not None]
        self.assertLessEqual({("sequential", 1), ("gil", 2), ("processes", 2)},
                             {(run["mode"], run["workers"]) for run in partners})
        for run in partners:
            self.assertIn(run["workload"], {other["workload"] for other in report["runs"]
                                            if other["language"] == "c"})
        for python in report["python"]:
            self.assertEqual([array["file"] for array in python["arrays"] if array["same"]],
                             [array["file"] for array in python["arrays"]])
            self.assertEqual({array["file"] for array in python["arrays"]},
                             set(self.chapter.arrays))
        return rows


class Beside(BesideTest):
    def test_rows_of_the_same_task(self):
        out = self.succeed(*self.small(), "--workers=1,2", "--python", "--json",
                           self.path("a.json"), "--csv", self.path("a.csv"))
        with open(self.path("a.json")) as file:
            report = json.load(file)
        self.assert_report(report)
        rows = self.assert_equal_results(report)
        self.assertEqual({run["repeats"] for run in rows}, {1})
        with open(self.path("a.csv"), newline="") as file:
            table = list(csv.DictReader(file))
        self.assertEqual([(row["language"], row["workload"], row["mode"], row["workers"])
                          for row in table],
                         [(run["language"], run["workload"], run["mode"], str(run["workers"]))
                          for run in report["runs"]])
        self.assertEqual({None in row or None in row.values() for row in table}, {False})
        shown = out[out.index("\nThe same in Python 3."):]
        self.assertLessEqual(max(map(len, shown.splitlines())), 100)
        for run in rows:
            self.assertRegex(shown, rf"(?m)^{run['workload']}\b")
        for mode in ("sequential", "gil", "processes"):
            self.assertRegex(shown, rf"(?m)^{mode} +\d+ .* yes$")
        self.assertNotIn(" NO\n", out)

    def test_sizes_seed_and_repeats_are_cs(self):
        """Also the sizes that --seconds has found."""
        report, _ = self.run_json("--seconds=0.002", "--seed=7", "--repeats=2")
        rows = self.assert_equal_results(report)
        self.assertEqual({run["repeats"] for run in rows}, {2})
        notebook = report["python"][0]
        self.assertEqual(notebook["seed"], 7)
        for name, value in notebook["parameters"].items():
            if name in report["parameters"] and value is not None:
                self.assertEqual(value, report["parameters"][name], name)

    def test_changed_arrays_are_seen(self):
        """Each of them; the first is named, and no row is right."""
        with open(self.path("change.py"), "w") as file:
            file.write(CHANGE)
        report, err = self.run_json(
            status=1, env=self.altered(f'{self.real} {self.path("change.py")} "$saved"/*.npy'))
        arrays = report["python"][0]["arrays"]
        self.assertEqual([array["same"] for array in arrays], [False] * len(self.chapter.arrays))
        self.assertEqual({run["matches_c"] for run in self.python_rows(report)}, {False})
        self.assertEqual(err.count("\n"), 1, err)
        _, shape = self.chapter.arrays[arrays[0]["file"]]
        last = ", ".join(str(side - 1) for side in shape(
            {**{name: int(value) if value.isdigit() else value for name, value in
                (option.split("=") for option in self.small() if "=" in option)}}))
        self.assertIn(f"{arrays[0]['file']}[{last}] is ", err)
        status, out, _ = self.run_chapter(
            *self.small(), "--python", "--workers=2",
            env=self.altered(f'{self.real} {self.path("change.py")} "$saved"/*.npy'))
        self.assertEqual(status, 1)
        self.assertRegex(out[out.index("\nThe same in"):], r"(?m)^sequential .* NO$")

    def test_missing_arrays_are_seen(self):
        name = next(iter(self.chapter.arrays))
        _, err = self.run_json(status=1, env=self.altered(f'rm "$saved"/{name}'))
        self.assertRegex(err, rf"{name}: notebook.py did not save it\n$")

    def test_python_without_numpy(self):
        """Where only numbers are counted it is not needed; else one line says so."""
        environment = self.fake("")
        with open(self.path("python"), "w") as file:
            file.write(f'#!/bin/sh\nexec {self.real} -S "$@"\n')
        report, err = self.run_json(env=environment)
        if self.stem in ("01_pool_map", "02_pool_starmap"):
            self.assert_equal_results(report)
        else:
            self.assertEqual(self.python_rows(report), [])
            self.assertRegex(err, r"^[^\n]*--python: [^\n]*numpy[^\n]*\n$")
            self.assertIn("numpy", report["python"][0]["error"])


class BesideFaults(BesideTest):
    """The same in all chapters: the first one tells."""

    def setUp(self):
        if self.stem != "01_pool_map":
            self.not_here("the first chapter is enough")
        super().setUp()

    def assert_without(self, environment, *words, status=0, options=()):
        """One line on standard error has the words; C's rows are there."""
        report, err = self.run_json(*options, env=environment, status=status)
        self.assert_report(report)
        self.assertEqual(self.python_rows(report), [])
        self.assertEqual(err.count("\n"), 1, err)
        for word in words:
            self.assertIn(word, err)
            self.assertIn(report["python"][0]["error"][:60], err)
        self.assert_no_process_left()

    def test_there_is_none(self):
        self.assert_without({**self.environment, "FORKJOIN_PYTHON": self.path("nowhere")},
                            "FORKJOIN_PYTHON", self.path("nowhere"))

    def test_it_takes_too_long(self):
        for script in ("sleep 1000", "trap '' TERM INT; sleep 1000 & sleep 1000"):
            self.assert_without(self.fake(script, FORKJOIN_PYTHON_SECONDS="1"), "longer than 1.00 s",
                                "--tasks, --iterations", "FORKJOIN_PYTHON_SECONDS")

    def test_it_refuses_the_sizes(self):
        self.assert_without(self.fake("echo 'too many' >&2; exit 2"), "status 2: too many")

    def test_it_fails(self):
        for script, words in (("echo 'no luck' >&2; exit 3", "status 3: no luck"),
                              ("kill -9 $$", "signal 9"), ("echo nonsense", "no JSON"),
                              ("echo '[]'", "no report"), ("echo '{}'", "no rows"),
                              ("""echo '{"runs": [1, {"mode": "threads"}]}'""", "no rows")):
            with self.subTest(script=script):
                self.assert_without(self.fake(script), words, status=1)

    def test_a_pool_that_differs(self):
        """The notebook says so by its status, and by a row."""
        report, err = self.run_json(status=1, env=self.fake(
            f"{self.real} \"$@\" | sed '0,/\"matches_sequential\": true/s//\"matches_sequential\": "
            "false/'\necho 'a pool differs' >&2; exit 1"))
        self.assertEqual([run["matches_sequential"] for run in self.python_rows(report)],
                         [False] + [True] * 4)
        self.assertIn("a pool differs", err)

    def test_a_limit_that_is_no_number(self):
        for text in ("abc", "", "0", "-1", "1e99", "nan"):
            out = self.fail_with(
                [*self.small(), "--python", "--json", self.path("a.json")],
                ["FORKJOIN_PYTHON_SECONDS", text], (2,),
                env={**self.environment, "FORKJOIN_PYTHON_SECONDS": text})
            self.assertEqual(out, "")
            self.assertFalse(os.path.exists(self.path("a.json")))
        self.succeed(*self.small(), "--mode=sequential",
                     env={**self.environment, "FORKJOIN_PYTHON_SECONDS": "abc"})

    def test_a_temporary_directory_that_cannot_be_made(self):
        _, err = self.run_json(env={**self.environment, "TMPDIR": self.path("nowhere")}, status=1)
        self.assertIn(self.path("nowhere"), err)

    def test_interrupt(self):
        """Neither Python, nor what it has started, nor its files are left, though one of them goes
        on writing."""
        script = ('for word; do case $word in --save=*) saved=${word#--save=};; esac; done\n'
                  f"sh -c '{ENDLESS}' sh \"$saved/one.npy\" &\necho >\"$saved/two.npy\"\n"
                  f"sleep 0.2; touch {self.path('on')}; sleep 1000")
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            with self.subTest(signal=number.name):
                process = self.start(*self.small(), "--python", "--json", self.path("a.json"),
                                     env=self.fake(script))
                self.assertTrue(wait_until(lambda: os.path.exists(self.path("on")), LIMIT))
                self.assertEqual(len(os.listdir(self.path("temporary"))), 1)
                kill(process.pid, number)
                status, out, _ = self.finish(process, PROMPT)
                self.assertEqual(status, -number)
                self.assert_no_process_left()
                self.assertFalse(os.path.exists(self.path("a.json")))
                self.assertIn("heavy_computation", out, "C's tables are lost")
                self.assertEqual(os.listdir(self.path("temporary")), [])
                os.unlink(self.path("on"))

    def test_an_ignored_interrupt_stays_ignored(self):
        """As after nohup."""
        process = self.start(
            *self.small(), "--python", "--quiet",
            env=self.fake(f'touch {self.path("on")}; sleep 1; exec {self.real} "$@"'),
            preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        self.assertTrue(wait_until(lambda: os.path.exists(self.path("on")), LIMIT))
        time.sleep(0.1)
        kill(process.pid, signal.SIGHUP)
        self.assertEqual(self.finish(process)[0], 0)
        self.assertEqual(family(self.mark), {})

    def test_pythons_settings_are_ours(self):
        """What a user has set for the own programs: each alone changes or ends this one."""
        settings = {"PYTHONHOME": "/nonexistent", "PYTHONIOENCODING": "utf-16",
                    "PYTHONWARNINGS": "error", "PYTHONINSPECT": "1", "PYTHONVERBOSE": "1",
                    "PYTHONMALLOC": "nonsense", "PYTHON_CPU_COUNT": "99", "PYTHON_GIL": "1",
                    "PYTHONOPTIMIZE": "2", "PYTHONSTARTUP": "/nonexistent", "LC_ALL": "POSIX"}
        report, err = self.run_json(env={**self.environment, **settings})
        self.assertEqual(err, "")
        self.assertEqual(len(self.assert_equal_results(report)), 5)

    def test_it_fails_although_it_is_to_be_inspected(self):
        """PYTHONINSPECT gives status 0 to a program that failed."""
        self.assert_without({**self.fake(f'exec {self.real} -c "raise SystemExit(3)"'),
                             "PYTHONINSPECT": "1"}, "status 3", status=1)

    def test_quiet(self):
        self.assertEqual(self.succeed(*self.small(), "--python", "--quiet"), "")

    # Python's own way to say that it has no GIL.
    NO_GIL = "import sys\nsys._is_gil_enabled = lambda: False\nsys.abiflags = 't'\n"

    def test_free_threaded(self):
        os.makedirs(self.path("bin"))
        os.makedirs(self.path("site"))
        with open(self.path("site", "sitecustomize.py"), "w") as file:
            file.write(self.NO_GIL)
        for name, script in (("python3.99t", f'PYTHONPATH={self.path("site")} exec {self.real} "$@"'),
                             ("python3.98t", "echo 'No module' >&2; exit 1"),
                             ("python3.97tt", f"touch {self.path('wrong')}"),
                             ("python3.t", f"touch {self.path('wrong')}")):
            with open(self.path("bin", name), "w") as file:
                file.write(f"#!/bin/sh\n{script}\n")
            os.chmod(self.path("bin", name), stat.S_IRWXU)
        environment = {**self.environment,
                       "PATH": f"{self.path('bin')}:{self.environment['PATH']}"}
        out = self.succeed(*self.small(), "--workers=1,2", "--python", "--json",
                           self.path("a.json"), env=environment)
        with open(self.path("a.json")) as file:
            report = json.load(file)
        rows = self.python_rows(report)
        self.assertEqual([(run["python"].endswith("t"), run["mode"], run["workers"])
                          for run in rows],
                         [(free, mode, workers) for free, threads in ((False, "gil"), (True, "threads"))
                          for mode, workers in (("sequential", 1), (threads, 1), ("processes", 1),
                                                (threads, 2), ("processes", 2))])
        self.assertEqual({(run["matches_sequential"], run["matches_c"]) for run in rows},
                         {(True, True)})
        self.assertRegex(out, r"\nThe same in Python \S+\n(.*\n)*The same in Python \S+t\n")
        self.assertRegex(" ".join(out.split()),
                         r"Left out: \S*python3\.98t ended with status 1: No module")
        self.assertFalse(os.path.exists(self.path("wrong")))


class Chapters(BesideTest):
    """What is special to one of them."""

    def test_a_changed_array_is_its_workloads(self):
        if self.stem != "03_transfer_cost":
            self.not_here("only chapter 3 saves an array for each workload")
        with open(self.path("change.py"), "w") as file:
            file.write(CHANGE)
        report, err = self.run_json(status=1, env=self.altered(
            f'{self.real} {self.path("change.py")} "$saved"/light.npy'))
        self.assertIn("light.npy[5] is", err)
        self.assertEqual({(run["workload"], run["matches_c"]) for run in self.python_rows(report)},
                         {("very_light", True), ("light", False), ("heavy", True)})

    def test_what_python_cannot_do(self):
        if self.stem != "08_when_to_parallelise":
            self.not_here("only chapter 8 answers, or runs commands")
        for options, words in (
                (["--independent=no"], "nothing was measured"),
                (["--command=true {}", "--repeats=1", "/etc/passwd"], "--files")):
            status, _, err = self.run_chapter(*options, "--python")
            self.assertEqual((status, err.count("\n")), (0, 1), err)
            self.assertIn(words, err)
        report = json.loads(self.succeed("--workload=matrix", "--order=5", "--tasks=3", "--python",
                                         "--json=-", "--repeats=1"))
        self.assertEqual({run["matches_c"] for run in self.python_rows(report)}, {None})
        self.assertEqual(report["python"][0]["arrays"], [])
