"""chapter_08.py - what test_chapters.py needs to know of chapter 8, and tests of its questions, its
commands and its advice."""
import itertools
import math
import os
import re
import signal
import time
import unittest

from chapter_test import (LIMIT, MODES, PROMPT, Chapter, ChapterTest, OtherBlas, TerminalTest, family,
                          few, read_npy, wait_until)

WORKLOADS = ("x_plus_1", "python_like", "large_data", "image", "matrix")
QUESTIONS = ("independent", "heavy", "large")

CHAPTER = Chapter(
    counts=lambda n: {"--light-tasks": n, "--tasks": n, "--iterations": 300, "--numbers": 50,
                      "--side": 9, "--order": 5},
    arrays={"x_plus_1.npy": ("<i8", lambda o: (o["--light-tasks"],)),
            "python_like.npy": ("<i8", lambda o: (o["--tasks"],))},
    # a thousand tasks of the sizes that are not said would be most of the suite's time
    oracle=({"--light-tasks": 2003, "--tasks": 3, "--iterations": 1},
            {"--light-tasks": 1, "--tasks": 1001, "--iterations": 1001, "--numbers": 50, "--side": 9,
             "--order": 5}),
    memory=(("--light-tasks", "1000000000000000"), ("--tasks", "1000000000000"),
            ("--numbers", "268435456"), ("--order", "16384")),
    sizes=("--light-tasks", "--tasks", "--iterations", "--numbers", "--side", "--order"),
    words=True, seconds=0.3)


class Blas(OtherBlas, ChapterTest):
    blas_options = (("--workload=matrix", "--tasks=5", "--order=65"),)


# ---- Questions ------------------------------------------------------------------------------------

def path_of(answers):
    """The questions and answers that are come to, and what the last one leads to."""
    path = list(itertools.takewhile(lambda at: at == 0 or answers[at - 1] == "yes", range(3)))
    conclusion = ("other means", "vectorise", "")[len(path) - 1] or (
        "shared memory" if answers[2] == "yes" else "processes")
    return path, conclusion


class Questions(ChapterTest):
    def assert_tree(self, out, answers):
        """The path, and nothing else, is marked."""
        path, conclusion = path_of(answers)
        marked = re.findall(r"\+==== (yes|no) =", out)
        self.assertEqual(marked, [answers[at] for at in path], out)
        self.assertEqual(len(re.findall(r"\+---- (?:yes|no) -", out)), 6 - len(path), out)
        self.assertEqual(len(re.findall(r"\[x\] ", out)), 1, out)
        self.assertIn(f"[x] {conclusion}", out)
        self.assertRegex(out, f"Advice: {conclusion}")

    def test_answers_on_the_command_line(self):
        for answers in itertools.product(("yes", "no"), repeat=3):
            options = [f"--{name}={answer}" for name, answer in zip(QUESTIONS, answers)]
            with self.subTest(answers=answers):
                self.assert_tree(self.succeed(*options), answers)
                path, _ = path_of(answers)
                self.assert_tree(self.succeed(*options[:len(path)]), answers)

    def test_json_of_answers(self):
        import json
        report = json.loads(self.succeed("--independent=yes", "--heavy=no", "--json=-"))
        self.assertEqual(report["runs"], [])
        self.assertEqual(report["parameters"]["heavy"], "no")
        self.assertIsNone(report["parameters"]["large"])
        self.assertRegex(report["conclusions"]["answers"], "^vectorise")

    def test_missing_answers_without_a_terminal(self):
        self.fail_with(["--heavy=yes"], ["--independent"], (2,))
        self.fail_with(["--independent=yes"], ["--heavy"], (2,))
        self.fail_with(["--independent=yes", "--heavy=yes", "--quiet"], ["--large"], (2,))

    def test_wrong_answers(self):
        for name in QUESTIONS:
            for value in ("", "y", "maybe", "yes,no", "YES"):
                self.fail_with([f"--{name}={value}"], [name], (2,))

    def test_what_excludes_what(self):
        for options in (["--command=true", "--files=/", "--workload=all"],
                        ["--command=true", "--files=/", "--heavy=no"],
                        ["--workload=image", "--independent=no"]):
            self.fail_with(options, ["exclude"], (2,))
        self.fail_with(["--workload=nothing"], ["--workload"], (2,))
        for size in ("--tasks", "--order"):
            self.fail_with(["--command=true", "--files=/", f"{size}=3"], [size, "--command"], (2,))
        for options in (["/"], ["--files=/"], ["--command=true"], ["--workload=all", "/"]):
            self.fail_with(options, ["--command", "--files"], (2,))


class Terminal(TerminalTest):
    def open(self, *options, streams=("stdin", "stdout"), **keywords):
        return super().open(*options, streams=streams, **{"NO_COLOR": "1", **keywords})

    def close(self, process):
        """Reads the rest. Returns status and standard error."""
        return super().close(process), process.stderr.read()

    def answer(self, *lines):
        for line in lines:
            self.read_until("yes or no? ")
            self.write(line)

    def test_asked_and_answered(self):
        for answers in (("no",), ("yes", "no"), ("yes", "yes", "no"), ("yes", "yes", "yes")):
            with self.subTest(answers=answers):
                process = self.open()
                self.answer(*(f"{answer}\n" for answer in answers))
                self.assertEqual(self.close(process), (0, ""))
                Questions.assert_tree(self, self.shown, (*answers, "no", "no")[:3])
                self.assertEqual(self.shown.count("yes or no? "), len(answers))

    def test_nonsense_is_asked_again(self):
        process = self.open()
        nonsense = ("\n", "perhaps\n", "yess\n", "yes no\n", "42\n", "y" * 3000 + "\n", "ñ\n", " \t \n")
        self.answer(*nonsense, " YES \n", "nope\n", "N\n")
        self.assertEqual(self.close(process), (0, ""))
        Questions.assert_tree(self, self.shown, ("yes", "no", "no"))
        self.assertEqual(self.shown.count("yes or no? "), len(nonsense) + 3)

    def test_given_answers_are_not_asked(self):
        process = self.open("--heavy=yes", "--large=no")
        self.answer("y\n")
        self.assertEqual(self.close(process), (0, ""))
        self.assertEqual(self.shown.count("yes or no? "), 1)
        Questions.assert_tree(self, self.shown, ("yes", "yes", "no"))

    def test_end_of_input(self):
        process = self.open()
        self.answer("yes\n", "\x04")
        status, err = self.close(process)
        self.assertEqual((status, err.count("\n")), (1, 1), err)
        self.assertIn("--heavy", err)
        self.assertNotIn("Advice", self.shown)

    def test_interrupt(self):
        process = self.open()
        self.answer("yes\n", "\x03")
        status, err = self.close(process)
        self.assertIn(status, (-signal.SIGINT, 128 + signal.SIGINT))
        self.assertEqual(err, "")

    def test_when_nobody_is_asked(self):
        small = self.small(2)
        for keywords, options in (({"streams": ("stdout",)}, small), ({"streams": ("stdin",)}, small),
                                  ({}, [*small, "--quiet"]), ({}, [*small, "--json=-"]),
                                  ({}, small), ({}, ["--workload=x_plus_1", "--repeats=1"])):
            with self.subTest(keywords=keywords, options=options[-1]):
                process = self.open(*options, **keywords)
                out = process.stdout.read() if process.stdout else ""
                status, err = self.close(process)
                self.assertEqual((status, err.replace("\r", "").replace("\x1b[K", "")), (0, ""))
                self.assertNotIn("yes or no?", self.shown + out)

    def test_the_path_is_bold_on_a_terminal(self):
        process = self.open("--independent=no", streams=("stdout",), NO_COLOR=None)
        self.assertEqual(self.close(process), (0, ""))
        self.assertIn("\x1b[1m==== no =====>\x1b[0m", self.shown.replace("+", ""))


# ---- Advice ---------------------------------------------------------------------------------------

WORTH, AS_GOOD, LARGE_PART = 1.1, 0.85, 0.2  # as in advice.c


def advice_from(report, workload):
    """The rules of advice.c, from the figures in JSON. None where a comparison is too close to
    call after the figures were rounded."""
    def found(mode, name=workload, transfer=None):
        return next((run for run in report["runs"] if run["workload"] == name
                     and run["mode"] == mode and transfer in (None, run["transfer"])), None)

    close = False

    def above(value, limit):
        nonlocal close
        close = close or math.isclose(value, limit, rel_tol=1e-6)
        return value > limit

    nothing = math.nan
    sequential, copy, shared = (found("sequential"), found("processes", transfer="copy"),
                                found("processes", transfer="shared"))
    speedup = {name: run["speedup"] if run else nothing for name, run in (
        ("threads", found("threads")), ("gil", found("gil")), ("copy", copy), ("shared", shared))}
    vectorised, library = (run[0]["speedup"] if run else nothing for run in (
        [run for run in report["runs"] if run["workload"] == name and run["mode"] != "sequential"]
        for name in (f"{workload}, vectorised", f"{workload}, BLAS threads")))
    tasks = sequential["tasks"]
    workers = max(run["workers"] for run in report["runs"] if run["workload"] == workload)
    hands = min(workers, report["machine"]["cores"])
    parallel = tasks / math.ceil(tasks / hands)
    task = sequential["wall_s"]["median"] / tasks
    process = shared or copy
    handing = process["phases_s"]["wait"] / tasks if process else nothing
    transfer = (copy["phases_s"]["send"] + copy["phases_s"]["receive"]) / tasks if copy else nothing
    best = max((value for value in speedup.values() if not math.isnan(value)), default=nothing)
    own_threads = above(library, WORTH) and above(library, AS_GOOD * best)
    if above(vectorised, WORTH):
        advice = "vectorise"
    elif not own_threads and (parallel <= 1 or math.isnan(handing)):
        advice = "not judged"
    elif own_threads or not above(task, handing / (1 - 1 / parallel)):
        advice = ("batch" if above(task - task / parallel, transfer) and not above(library, WORTH)
                  else "leave it alone")
    elif above(speedup["gil"], WORTH) and above(speedup["gil"], AS_GOOD * best):
        advice = "threads"
    elif (math.isnan(transfer) or above(transfer, LARGE_PART * task)) and \
            above(speedup["shared"], WORTH):
        advice = "shared memory"
    else:
        pays = [above(speedup["copy"], WORTH), above(speedup["shared"], WORTH)]
        advice = "processes" if any(pays) else "leave it alone"
    return None if close else advice


class Advice(ChapterTest):
    def assert_advice(self, report, workloads):
        self.assertEqual(set(report["conclusions"]), set(workloads))
        for workload in workloads:
            expected = advice_from(report, workload)
            self.assertIn(expected, (None, report["conclusions"][workload]), workload)

    def test_it_follows_from_the_figures(self):
        for options in few((self.small(40), [*self.small(13), "--workers=7"],
                            ["--repeats=1", "--workers=2"], ["--repeats=1", "--transfer=copy"],
                            ["--repeats=1", "--transfer=shared"], [*self.small(5), "--workers=1"],
                            [*self.small(1)], [*self.small(13), "--mode=threads,gil"]), 2):
            with self.subTest(options=options):
                self.assert_advice(self.report(*options), WORKLOADS)

    def test_every_workload_alone(self):
        for workload in WORKLOADS:
            with self.subTest(workload=workload):
                self.assert_advice(self.report(*self.small(13), f"--workload={workload}"),
                                   [workload])
                out = self.succeed(*self.small(13), f"--workload={workload}", "--workers=2")
                self.assertIn(f"Advice for {workload}: ", out)
                self.assertRegex(out, r"(?s)predicted.*64 cores.*not measured")
                for word in ("work ", "data ", "handing over", "break-even", "start-up"):
                    self.assertIn(word, out)
                self.assertRegex(out, r"\+==== yes ====>")

    def test_lines_are_no_longer_than_the_page(self):
        for options in ([], ["--workload=python_like"], ["--workload=matrix"],
                        ["--independent=yes", "--heavy=yes", "--large=yes"]):
            for line in self.succeed(*self.small(13), *options).splitlines():
                self.assertLessEqual(len(line), 100, line)

    def test_x_plus_1_is_not_for_processes(self):
        """The work of a task is so far below every cost that no machine's noise hides it."""
        report = self.report("--workload=x_plus_1", "--workers=2")
        self.assertIn(report["conclusions"]["x_plus_1"],
                      ("vectorise", "batch", "leave it alone", "not judged"))
        out = self.succeed("--workload=x_plus_1", "--workers=2")
        self.assertRegex(out, r"(?s)Advice for x_plus_1: .*processes, copied\s0\.\d")

    def test_what_was_not_measured_is_said(self):
        out = self.succeed(*self.small(13), "--workload=python_like", "--mode=threads")
        self.assertIn("not judged", out)
        self.assertRegex(out, r"copied\s+not\s+measured")
        self.assertNotIn("break-even", out)
        out = self.succeed(*self.small(13), "--workload=image", "--mode=sequential")
        self.assertIn("not judged", out)
        self.assertNotIn("predicted", out)
        out = self.succeed(*self.small(13), "--workload=image", "--workers=1")
        self.assertIn("not judged", out)
        self.assertIn("nothing was shared out", out)

    @unittest.skipUnless(hasattr(os, "sched_setaffinity"), "no way to have one core only")
    def test_one_core(self):
        core = min(os.sched_getaffinity(0))
        out = self.succeed(*self.small(13), "--workload=python_like", "--workers=2",
                           preexec_fn=lambda: os.sched_setaffinity(0, {core}))
        self.assertIn("on 1 core:", out)
        self.assertIn("not judged", out)

    def test_saved_by_one_workload(self):
        for workload, saved in (("x_plus_1", ["x_plus_1.npy"]), ("image", [])):
            self.succeed(*self.small(), f"--workload={workload}", "--save", self.path(workload))
            self.assertEqual(os.listdir(self.path(workload)), saved)


# ---- Commands -------------------------------------------------------------------------------------

class Commands(ChapterTest):
    def setUp(self):
        super().setUp()
        self.files = ["plain.txt", "with blank.tar.gz", ".hidden", "dir.d/no_extension", "-dash.x"]
        os.mkdir(self.path("dir.d"))
        for name in self.files:
            with open(self.path(name), "w") as file:
                file.write(name)
        # Writes its words, one a line, into a file of a name of its own in the folder words
        os.mkdir(self.path("words"))
        self.script("record", 'for word; do echo "[$word]"; done >"words/$$"')

    def script(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(f"#!/bin/sh\n{text}\n")
        os.chmod(self.path(name), 0o755)

    def recorded(self):
        """What ./record was called with: the lists of words, sorted; and forgets it."""
        calls = []
        for name in os.listdir(self.path("words")):
            with open(self.path("words", name)) as file:
                calls.append(file.read().splitlines())
            os.unlink(self.path("words", name))
        return sorted(calls)

    def run_command(self, command, *files, options=()):
        """files after --, for one begins with a dash"""
        return self.run_chapter("--repeats=1", "--workers=2", *options, f"--command={command}",
                                "--", *files)

    def test_placeholders(self):
        for command, words in (
                ("./record", lambda file, base, stem: [file]),
                ("./record {}", lambda file, base, stem: [file]),
                ("./record a {} b{}", lambda file, base, stem: ["a", file, "b" + file]),
                ("./record out/{/}", lambda file, base, stem: ["out/" + base]),
                ("./record {.}.png '{/.} x'", lambda file, base, stem: [
                    file[:len(file) - len(base)] + stem + ".png", stem + " x"])):
            with self.subTest(command=command):
                status, _, err = self.run_command(command, *self.files,
                                                  options=["--mode=sequential"])
                self.assertEqual((status, err), (0, ""))
                expected = []
                for file in self.files:
                    base = file.rpartition("/")[2]
                    stem = base if base.rfind(".") <= 0 else base[:base.rfind(".")]
                    expected += [[f"[{word}]" for word in words(file, base, stem)]] * 2
                self.assertEqual(self.recorded(), sorted(expected))

    def test_splitting(self):
        os.environ["CHAPTER_08_WORD"] = "a word"
        self.environment["CHAPTER_08_WORD"] = "a word"
        for command, words in (
                ("./record 'a  b' \"c d\" e\\ f '' {}", ["a  b", "c d", "e f", ""]),
                ("./record \"$CHAPTER_08_WORD\" $CHAPTER_08_WORD '$X' {}",
                 ["a word", "a", "word", "$X"]),
                ("./record 'a|b;c&d<e>f(g)' '{' '}' '{x}' {}", ["a|b;c&d<e>f(g)", "{", "}", "{x}"]),
                ("  ./record\t*.txt   {} ", ["plain.txt"])):
            with self.subTest(command=command):
                status, _, err = self.run_command(command, "plain.txt", options=["--mode=sequential"])
                self.assertEqual((status, err), (0, ""))
                self.assertEqual(self.recorded()[0], [f"[{word}]" for word in [*words, "plain.txt"]])

    def test_refused(self):
        for command in ("", "  ", "no_such_program_here {}", "./no/such", "./plain.txt", ".",
                        "echo 'a", "echo $(ls)", "echo `ls`", "true | true", "true; true",
                        "true & true", "true > x", "echo (", "echo {", "echo $NOT_SET_ANYWHERE",
                        "echo a\nb", "echo a\x01b", "''", "'' {}"):
            with self.subTest(command=command):
                out = self.fail_with([f"--command={command}", "plain.txt"], ["--command"], (2,))
                self.assertEqual(out, "")
        out = self.fail_with(["--command=./record", "plain.txt", "missing"], ["--files", "missing"],
                             (2,))
        self.assertEqual((out, self.recorded()), ("", []))

    def test_every_mode_runs_each(self):
        status, out, err = self.run_command("./record {}", *self.files, options=["--json=-"])
        self.assertEqual((status, err), (0, ""))
        import json
        report = json.loads(out)
        self.assert_report(report)
        self.assert_modes(report, (2,))
        self.assertEqual(report["parameters"]["files"], self.files)
        self.assertEqual(sorted(report["conclusions"]), ["command"])
        # a warm-up and a run, in four modes
        self.assertEqual(self.recorded(), sorted([[f"[{file}]"] for file in self.files] * 8))

    def test_repeats(self):
        """Two unless they are given, and it is said."""
        for options, times in (([], 3), (["--repeats=4"], 5)):
            out = self.succeed("--command=./record", "plain.txt", "--mode=sequential", *options)
            self.assertIn(f"each run {times} times in each mode", out)
            self.assertEqual(len(self.recorded()), times)

    FAILING = """case $1 in
        *blank*) exit 3;; *hidden) kill -9 $$;; *dash*) exit 255;; esac"""

    def test_some_fail(self):
        """Each is named with its status, in every mode the same; the others are done."""
        self.script("fail", f'echo x >"words/$$"\n{self.FAILING}')
        for mode in (*MODES, "all"):
            with self.subTest(mode=mode):
                status, out, err = self.run_command(
                    "./fail {}", *self.files, options=[f"--mode={mode}", "--save", self.path(mode)])
                self.assertEqual(status, 1, err)
                self.assertEqual(len(err.splitlines()), 3, err)
                for line, words in zip(err.splitlines(), (
                        "with blank.tar.gz: exit status 3", ".hidden: killed by signal 9",
                        "-dash.x: exit status 255")):
                    self.assertIn(words, line)
                runs = 2 if mode == "sequential" else 4 if mode != "all" else 8
                self.assertEqual(len(self.recorded()), runs * len(self.files))
                self.assertIn("Advice for command", out)
                found = read_npy(self.path(mode, "command.npy"))
                self.assertEqual((found[0], list(found[3])), ("<i8", [0, 3, -9, 0, 255]))

    def test_cannot_be_executed(self):
        self.script("bad", "")
        with open(self.path("bad"), "w") as file:
            file.write("#!/no/such/interpreter\n")
        status, _, err = self.run_command("./bad", "plain.txt")
        self.assertEqual(status, 1)
        self.assertIn("plain.txt: exit status 127", err)

    def test_surroundings(self):
        """No input, output thrown away, no signal blocked, no descriptor of the pool."""
        self.script("look", """
            if read line; then exit 10; fi
            echo printed; echo complained >&2
            [ "$(readlink /proc/$$/fd/1)" = /dev/null ] || exit 11
            [ "$(readlink /proc/$$/fd/2)" = /dev/null ] || exit 12
            grep -q '^SigBlk:[^1-9a-f]*$' /proc/self/status || exit 13
            for fd in /proc/$$/fd/*; do
                case $(readlink "$fd") in socket:*|anon_inode:*|*memfd:*) exit 14;; esac
            done
            [ "$(grep Cpus_allowed: /proc/$$/status)" = "$(cat allowed)" ] || exit 15""")
        with open("/proc/self/status") as status, open(self.path("allowed"), "w") as allowed:
            allowed.write(next(line for line in status if line.startswith("Cpus_allowed:")))
        for method in ("forkserver", "fork", "spawn"):
            status, out, err = self.run_command("./look", *self.files[:3],
                                                options=[f"--start-method={method}"])
            self.assertEqual((status, err), (0, ""))
            self.assertNotIn("printed", out)

    def test_ignored_child_signals(self):
        """With SIGCHLD ignored the kernel would throw the status away."""
        self.script("three", "exit 3")
        status, _, err = self.run_chapter(
            "--command=./three", "plain.txt", "--repeats=1",
            preexec_fn=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
        self.assertEqual(status, 1)
        self.assertIn("exit status 3", err)

    def test_cpu_time_is_the_commands(self):
        self.script("compute", "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done")
        report = self.report("--command=./compute", *self.files[:2], "--repeats=1", "--workers=2")
        sequential = report["runs"][0]["cpu_s"]["median"]
        for run in report["runs"]:
            self.assertGreater(run["cpu_s"]["median"], 0.02, run)  # a shell needs a tenth of a second
            self.assertLess(run["cpu_s"]["median"], 10 * sequential, run)

    def test_signals_end_the_commands(self):
        for number, group in few(((signal.SIGINT, True), (signal.SIGKILL, False),
                                  (signal.SIGINT, False), (signal.SIGTERM, False)), 2):
            for mode in MODES:
                with self.subTest(signal=number.name, group=group, mode=mode):
                    process = self.start(f"--mode={mode}", "--command=sleep 60 {}", "0", "--workers=2",
                                         cwd=self.sleepers())
                    self.assertTrue(wait_until(self.sleeping, LIMIT / 5), "no command was started")
                    (os.killpg if group else os.kill)(process.pid, number)
                    status, _, _ = self.finish(process, PROMPT)
                    self.assertIn(status, (-number, 128 + number))
                    self.assert_no_process_left()

    def sleepers(self):
        """A folder with files whose names sleep takes for numbers."""
        folder = self.path("sleepers")
        os.makedirs(folder, exist_ok=True)
        for name in "0", "1":
            open(os.path.join(folder, name), "w").close()
        return folder

    def sleeping(self):
        for pid in family(self.mark):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    if file.read().startswith(b"sleep\0"):
                        return True
            except OSError:
                continue
        return False

    def test_a_killed_worker_takes_its_command_along(self):
        process = self.start("--mode=processes", "--command=sleep 3", "0", "--workers=2",
                             "--repeats=1", cwd=self.sleepers())
        time.sleep(3.5)  # until the sequential run is over
        self.wait_and_kill_worker(process)
        status, _, err = self.finish(process)
        self.assertEqual(status, 0, err)
        self.assert_no_process_left()

    def wait_and_kill_worker(self, process):
        """Kills a worker that waits for its command, which must end with it."""
        def parent_of_sleeper():
            members = family(self.mark)
            for pid, parent in members.items():
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as file:
                        sleeps = file.read().startswith(b"sleep\0")
                except OSError:
                    continue
                if sleeps and parent != process.pid:
                    return parent, pid
            return None
        found = wait_until(parent_of_sleeper, 20)
        self.assertIsNotNone(found, "no worker runs a command")
        worker, sleeper = found
        os.kill(worker, signal.SIGKILL)
        self.assertTrue(wait_until(lambda: sleeper not in family(self.mark), PROMPT))
