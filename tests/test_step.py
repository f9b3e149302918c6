#!/usr/bin/env python3
"""test_step.py - the live view and --step, on terminals of this script's own and without.

Usage: python3 tests/test_step.py BUILD_ROOT SOURCE_ROOT [TEST...]
"""
import json
import os
import re
import select
import signal
import sys
import time
import unittest

from chapter_test import LIMIT, SHORT, ChapterTest, TerminalTest, few

SMALL = ("--tasks=6", "--iterations=100", "--repeats=1", "--workers=2")
# 10^9 turns of a loop: some tenths of a second anywhere, long enough for several pictures of it
LONG = ("--tasks=200", f"--iterations={2500000 if SHORT else 5000000}", "--repeats=1", "--workers=2",
        "--mode=threads,processes")
PROMPT = "\n    > "


class Screen:
    """What a terminal shows after some bytes, as far as the programs' output needs it."""

    def __init__(self, columns):
        self.columns, self.lines, self.row, self.column, self.wrapped = columns, [""], 0, 0, False

    def put(self, character):
        if self.column == self.columns:
            self.wrapped = True
            self.move(self.row + 1)
            self.column = 0
        line = self.lines[self.row].ljust(self.column)
        self.lines[self.row] = line[:self.column] + character + line[self.column + 1:]
        self.column += 1

    def move(self, row):
        self.row = max(0, row)
        self.lines += [""] * (self.row + 1 - len(self.lines))

    def feed(self, text):
        for part in re.findall(r"\x1b\[[0-9;]*[A-Za-z]|.", text, re.DOTALL):
            if part == "\r":
                self.column = 0
            elif part == "\n":
                self.move(self.row + 1)
                self.column = 0  # what came was "\r\n"
            elif part == "\x1b[K":
                self.lines[self.row] = self.lines[self.row][:self.column]
            elif part == "\x1b[A":
                self.move(self.row - 1)
            elif not part.startswith("\x1b"):
                self.put(part)
        return self

    def text(self):
        return "\n".join(self.lines).rstrip()


# ---- The live view --------------------------------------------------------------------------------

class Live(TerminalTest):
    def test_what_is_shown_and_how_often(self):
        start = time.monotonic()
        process = self.open(*LONG)
        self.assertEqual(self.close(process), 0, self.shown)
        seconds = time.monotonic() - start
        drawn = len(re.findall(r"(?:heavy_computation|closed_formula): ", self.shown))
        self.assertLessEqual(drawn, 10.5 * seconds + 1)
        for words in (r"run 1 of 1, sequential, 1 worker +\[#+-*\] +\d+ % +busy \d\.\d\d",
                      r"threads, 2 workers +\[", r"processes, 2 workers +\[",
                      r"worker 0 +\[[#-]{20}\] +[1-9]\d* tasks", r"worker 1 "):
            self.assertRegex(self.shown, words)

    def test_only_the_table_is_left(self):
        process = self.open(*LONG)
        self.assertEqual(self.close(process), 0)
        screen = Screen(100).feed(self.shown)
        self.assertFalse(screen.wrapped, screen.text())
        for words in ("busy 0", "busy 1", "worker 0 ", "run 1 of", "[#", "[-", "looking"):
            self.assertNotIn(words, screen.text())
        self.assertRegex(screen.text(), r"\nheavy_computation\(x\).*\nmode .*\nsequential .*\nthreads ")

    def test_narrow_window(self):
        for columns in few((20, 1)):
            with self.subTest(columns=columns):
                process = self.open(*LONG, columns=columns, streams=("stderr",))
                out = process.stdout.read()
                self.assertEqual(self.close(process), 0)
                screen = Screen(columns).feed(self.shown)
                self.assertFalse(screen.wrapped, self.shown)
                self.assertEqual(screen.text(), "")
                self.assertNotIn("\x1b", out)

    def test_window_made_narrow(self):
        process = self.open(*LONG, streams=("stderr",))
        self.read_until("busy")
        self.resize(20, 40)
        self.read_until("\r")  # what was under way may still be wide
        self.read_until("\r")
        start = self.shown.rindex("\r")
        self.assertEqual(self.close(process), 0)
        screen = Screen(20).feed(self.shown[start:])
        self.assertFalse(screen.wrapped, self.shown[start:])
        self.assertEqual(screen.text(), "")
        process.stdout.read()

    def test_without_room_there_is_one_line(self):
        process = self.open(*LONG, rows=4, streams=("stderr",))
        process.stdout.read()
        self.assertEqual(self.close(process), 0)
        self.assertIn("busy", self.shown)
        self.assertNotIn("worker 0 ", self.shown)
        self.assertNotIn("\n", self.shown)

    def test_no_colour_in_it(self):
        process = self.open(*LONG, NO_COLOR="1")
        self.assertEqual(self.close(process), 0)
        self.assertIn("busy", self.shown)
        self.assertNotRegex(self.shown, r"\x1b\[[0-9;]*m")

    def test_when_there_is_none(self):
        cases = ((("--no-progress",), {}), ((), {"TERM": "dumb"}), ((), {"streams": ("stdin",)}),
                 (("--quiet",), {}), ((), {"TERM": None}), ((), {"TERM": ""}))
        for options, keywords in few(cases, 3):
            with self.subTest(options=options, **keywords):
                process = self.open(*LONG[:-1], "--mode=sequential", *options, **keywords)
                out = process.stdout.read() if process.stdout else ""
                err = process.stderr.read() if process.stderr else ""
                self.assertEqual(self.close(process), 0)
                for text in (self.shown, out, err):
                    self.assertNotIn("busy 0", text)
                    self.assertNotIn("\r", text)
                    self.assertNotIn("\x1b[K", text)
                self.assertEqual(err, "")

    def test_stopped_and_continued(self):
        """What the shell has written meanwhile stays."""
        shell = "\n[1]+  Stopped\n$ fg\n"
        for mode in few(("processes", "threads")):
            with self.subTest(mode=mode):
                process = self.open(*LONG[:2], "--repeats=99", "--workers=2", f"--mode={mode}",
                                    streams=("stderr",))
                self.read_until("worker 1 ")
                process.send_signal(signal.SIGSTOP)
                os.waitid(os.P_PID, process.pid, os.WSTOPPED)
                while select.select([self.master], [], [], 0.1)[0]:
                    self.read()
                self.looked_at = len(self.shown)
                self.shown += shell
                process.send_signal(signal.SIGCONT)
                for _ in range(3):
                    self.read_until("busy")
                process.send_signal(signal.SIGTERM)
                self.assertEqual(self.close(process), -signal.SIGTERM)
                self.assertIn(shell, Screen(100).feed(self.shown).text() + "\n")
                process.stdout.read()

    def test_nothing_is_drawn_in_the_background(self):
        process = self.open(*LONG, streams=("stderr",), background=True)
        process.stdout.read()
        self.assertEqual(self.close(process), 0)
        self.assertEqual(self.shown, "")

    def test_signals_leave_a_clean_screen(self):
        for number, mode in few(((signal.SIGINT, "threads"), (signal.SIGTERM, "processes"),
                                 (signal.SIGHUP, "processes")), 2):
            with self.subTest(number=number, mode=mode):
                process = self.open(*LONG[:2], "--repeats=99", "--workers=2", f"--mode={mode}",
                                    streams=("stderr",))
                self.read_until("worker 0 ")
                process.send_signal(number)
                self.assertEqual(self.close(process), -number)
                self.assertEqual(Screen(100).feed(self.shown).text(), "")
                process.stdout.read()


# ---- --step on a terminal --------------------------------------------------------------------------

class Step(TerminalTest):
    def answer(self, *lines):
        for line in lines:
            self.read_until(PROMPT)
            self.write(line)

    def finish_table(self):
        self.read_until("Enter goes on, q ends > ")
        self.write("\n")

    def json(self):
        with open(self.path("out.json"), encoding="utf-8") as file:
            return json.load(file)

    def test_asked_answered_and_set_beside(self):
        process = self.open("--step", *SMALL, "--json=out.json")
        self.answer("2x\n", "same\n", "\n")
        self.finish_table()
        self.assertEqual(self.close(process), 0, self.shown)
        text = Screen(200).feed(self.shown).text()
        for words in (r"one after the other\n\n +\S+ \S+ +6 tasks on one core",
                      r"threads, 2 workers:\n +how many times as fast", r"gil, 2 workers:",
                      r"expected +2\.00x  #+\n    measured +\d+\.\d+x", r"expected +1\.00x",
                      r"processes, copy, 2 workers:", r"\n    Why: gil, 2 workers",
                      r"same result\?", r"of 2 close: at most 20 %"):
            self.assertRegex(text, words)
        self.assertEqual(self.shown.count(PROMPT), 3)
        predictions = self.json()["predictions"]
        self.assertEqual([(one["workload"], one["mode"], one["workers"], one["predicted"])
                          for one in predictions],
                         [("heavy_computation", "threads", 2, 2.0),
                          ("heavy_computation", "gil", 2, "same")])
        speedups = {run["mode"]: run["speedup"] for run in self.json()["runs"]
                    if run["workload"] == "heavy_computation"}
        for one in predictions:
            self.assertEqual(one["measured"], speedups[one["mode"]])
        self.assertNotIn("ended_early", self.json())

    def test_nonsense_is_asked_again(self):
        process = self.open("--step", *SMALL, "--mode=threads")
        nonsense = ("perhaps\n", "2y\n", "-1\n", "1e9\n", "nan\n", "x\n", "9" * 3000 + "\n", "ñ\n")
        self.answer(*nonsense, " 1,5 TIMES \n")
        self.finish_table()
        self.assertEqual(self.close(process), 0)
        self.assertRegex(self.shown, r"expected +1\.50x")
        self.assertEqual(self.shown.count(PROMPT), len(nonsense) + 1)

    def test_what_was_typed_before_is_no_answer(self):
        process = self.open("--step", *SMALL, "--mode=threads", typed="7\n8\n")
        self.answer("3\n")
        self.finish_table()
        self.assertEqual(self.close(process), 0)
        self.assertRegex(self.shown, r"expected +3\.00x")
        self.assertNotRegex(self.shown, r"expected +[78]")

    def test_the_end_at_any_question(self):
        for key in ("q\n", "\x04"):
            for before in ((), ("2\n",), ("2\n", "\n", "slower\n")):
                with self.subTest(key=key, before=len(before)):
                    process = self.open("--step", *SMALL, "--json=out.json")
                    self.answer(*before)
                    self.read_until(" > ")
                    self.write(key)
                    self.assertEqual(self.close(process), 0, self.shown)
                    self.assertIs(self.json()["ended_early"], True)
                    self.assertEqual(len(self.json()["predictions"]),
                                     sum(line != "\n" for line in before))

    def test_interrupted_at_a_question(self):
        process = self.open("--step", *SMALL, "--json=out.json")
        self.answer("2\n", "\x03")
        self.assertEqual(self.close(process), -signal.SIGINT)
        self.assertFalse(os.path.exists(self.path("out.json")))

    def test_narrow_window(self):
        process = self.open("--step", *SMALL, "--mode=threads", columns=20)
        self.answer("2\n")
        self.finish_table()
        self.assertEqual(self.close(process), 0)

    def test_only_standard_input_is_a_terminal(self):
        process = self.open("--step", *SMALL, "--mode=threads", streams=("stdin",))
        self.write("2\n")  # may come before the question, and is thrown away then
        seen = ""
        while " > " not in seen[-4:]:
            seen += process.stdout.read(1)
        self.write("2\n")
        while "goes on" not in seen:
            seen += process.stdout.read(1)
        time.sleep(0.2)
        self.write("\n")
        out = seen + process.stdout.read()
        self.assertEqual(process.wait(LIMIT), 0)
        self.assertRegex(out, r"expected +2\.00x")
        self.assertNotIn("\x1b", out)
        self.assert_no_process_left()


# ---- --answers -------------------------------------------------------------------------------------

class Answers(ChapterTest):
    stem = "01_pool_map"

    def file(self, text):
        with open(self.path("answers.txt"), "w", encoding="utf-8") as file:
            file.write(text)
        return "--answers=answers.txt"

    def predictions(self, text, *options):
        report = json.loads(self.succeed(self.file(text), *SMALL, "--json=-", *options))
        return [(one["row"], one["workers"], one["predicted"]) for one in report["predictions"]]

    def test_patterns_and_order(self):
        text = """# rehearsed
            * heavy* gil *: same # and a comment
            01_pool_map heavy_computation threads 3: 2,5
            02* * * *: 9
            0[1-3]_* * threads *: 1.5x
            * * processes,shared *: 3 times
            * * processes *: SLOWER

            * * * *: 100
            """
        self.assertEqual(
            self.predictions(text, "--workers=3,2", "--transfer=both"),
            [("threads", 3, 2.5), ("threads", 2, 1.5), ("gil", 3, "same"), ("gil", 2, "same"),
             ("processes, copy", 3, "slower"), ("processes, shared", 3, 3.0),
             ("processes, copy", 2, "slower"), ("processes, shared", 2, 3.0)])

    def test_too_few(self):
        out = self.succeed(self.file("* * threads *: 2\n"), *SMALL)
        self.assertEqual(out.count("no line fits"), 1)
        self.assertIn("01_pool_map heavy_computation gil 2\n", out)
        self.assertEqual(len(re.findall(r"\n    measured ", out)), 3)
        self.assertIn("of 1 close", out)

    def test_none_at_all(self):
        for text in ("", "# nothing\n\n", "* * * *:\n"):
            self.assertEqual(self.predictions(text), [])

    def test_wrong_lines(self):
        for line, words in (("2x", "CHAPTER WORKLOAD MODE WORKERS"), ("* * *: 2", "four words"),
                            ("* * * * *: 2", "four words"), (": 2", "four words"),
                            ("* * thread *: 2", "'thread'"), ("* * sequential *: 2", "sequential"),
                            ("* * gil two: 2", "'two'"), ("* * gil 0: 2", "'0'"),
                            ("* * gil 2: fast", "'fast'"), ("* * gil 2: 0", "'0'"),
                            ("* * gil 2: -1", "'-1'"), ("* * gil 2: 2: 3", "2: 3"),
                            ("* * gil 2: \x01", "?"), ("* * gil 2: 2\0 and more", "no text"),
                            ("* * gil 2: 2" + 1000 * " ", "longer than 1000")):
            with self.subTest(line=line):
                option = self.file(f"# one\n* * threads 2: 2\n{line}\n")
                out = self.fail_with([option, *SMALL, "--json=out.json", "--save=saved"],
                                     ["answers.txt", "line 3", words], (2,))
                self.assertEqual(out, "")
                self.assertEqual(os.listdir(self.directory), ["answers.txt"])

    def test_file_of_windows(self):
        text = "\ufeff# rehearsed\r\n* * threads *: 2\r\n\r\n* * * *:\r\n"
        self.assertEqual(self.predictions(text), [("threads", 2, 2.0)])

    def test_file_without_end(self):
        self.fail_with([self.file(10001 * "* * * *: 2\n"), *SMALL], ["line 10001", "more than"], (2,))
        self.fail_with(["--answers=/dev/zero", *SMALL], ["/dev/zero", "no text"], (2,))

    def test_file_that_cannot_be_read(self):
        for name in ("missing.txt", ".", ""):
            self.fail_with([f"--answers={name}", *SMALL], ["--answers"], (2,))

    def test_nobody_to_ask(self):
        self.fail_with(["--step", *SMALL], ["--step", "--answers"], (2,))

    def test_quiet_with_answers(self):
        out = self.succeed(self.file("* * * *: 2\n"), *SMALL, "--quiet", "--json=out.json")
        self.assertEqual(out, "")
        with open(self.path("out.json"), encoding="utf-8") as file:
            self.assertEqual(len(json.load(file)["predictions"]), 3)

    def test_nothing_to_ask(self):
        out = self.succeed(self.file("* * * *: 2\n"), *SMALL, "--mode=sequential")
        self.assertIn("No mode was measured", out)

    def test_several_intervals_are_asked_for_each(self):
        text = "* * gil,0.5ms *: 2\n* * gil *: 1\n* * * *:\n"
        self.assertEqual(self.predictions(text, "--switch-interval=0.0005,0.005"),
                         [("gil, 0.5 ms", 2, 2.0), ("gil, 5 ms", 2, 1.0)])

    def test_output_closed_early(self):
        process = self.start(self.file("* * * *: 2\n"), *SMALL)
        process.stdout.read(1)
        process.stdout.close()
        err = process.stderr.read()
        process.stderr.close()
        self.assertIn(process.wait(LIMIT), (1, -signal.SIGPIPE))
        self.assertLessEqual(err.count("\n"), 1, err)
        self.assert_no_process_left()


class OtherChapters(TerminalTest):
    """What is measured quietly is asked for where it is what the chapter shows."""

    def assert_asked(self, stem, options, workloads):
        self.stem = stem
        with open(self.path("answers.txt"), "w", encoding="utf-8") as file:
            file.write("* * * *: 2\n")
        process = self.open("--answers=answers.txt", "--repeats=1", "--workers=2", "--mode=threads",
                            "--json=out.json", *options)
        self.assertEqual(self.close(process), 0, self.shown)
        self.assertNotIn("yes or no?", self.shown)
        with open(self.path("out.json"), encoding="utf-8") as file:
            report = json.load(file)
        self.assertEqual([one["workload"] for one in report["predictions"]], workloads)

    def program(self):
        return os.path.join(self.build, "chapters", self.stem, self.stem.partition("_")[2])

    def test_chapter_5(self):
        self.assert_asked("05_data_loading",
                          ("--samples=8", "--size=8", "--batch-size=4", "--train-ms=0"),
                          ["map", "loader"])

    def test_chapter_8_measures_instead_of_asking(self):
        self.assert_asked("08_when_to_parallelise",
                          ("--light-tasks=10", "--tasks=2", "--iterations=10", "--numbers=10",
                           "--side=16", "--order=2"),
                          ["x_plus_1", "python_like", "large_data", "image", "matrix"])


if __name__ == "__main__":
    ChapterTest.stem = "01_pool_map"
    ChapterTest.build, ChapterTest.source = map(os.path.abspath, sys.argv[1:3])
    del sys.argv[1:3]
    unittest.main()
