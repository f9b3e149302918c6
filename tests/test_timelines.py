"""test_timelines.py - --timeline and --trace of the chapters: a part of test_chapters.py.

A trace is checked against the rules of the Trace Event Format, which chrome://tracing and Perfetto
read; what it says of the tasks, against the JSON report of the same run.
"""
import json
import os
import signal
import time

from chapter_test import ChapterTest, PROMPT

KINDS = {"task", "chunk", "copy", "gil"}
METADATA = {"process_name": "name", "process_labels": "labels", "process_sort_index": "sort_index",
            "thread_name": "name", "thread_sort_index": "sort_index"}


class Trace:
    """A trace, as a reader takes it in; ValueError where it would stumble."""

    def __init__(self, text):
        document = json.loads(text, parse_constant=self.refuse)
        self.processes, self.threads, self.events = {}, {}, {}
        self.require(isinstance(document, dict) and isinstance(document["traceEvents"], list),
                     "an object with a list of events", document)
        self.require(document["displayTimeUnit"] in ("ms", "ns"), "a unit", document)
        self.other = document["otherData"]
        for event in document["traceEvents"]:
            for key, kinds in ("ph", str), ("name", str), ("pid", int), ("tid", int), ("args", dict):
                self.require(isinstance(event[key], kinds), key, event)
            self.require(event["ph"] in ("M", "X"), "a phase that is used here", event)
            (self.take_metadata if event["ph"] == "M" else self.take_event)(event)
        for row in self.events:
            self.require({"thread_name", "thread_sort_index"} <= self.threads.get(row, {}).keys(),
                         "a thread with a name and a place", row)
            self.require_nesting(row)
        for pid, _ in self.threads:
            self.require({"process_name", "process_sort_index"} <= self.processes[pid].keys(),
                         "a process with a name and a place", pid)

    @staticmethod
    def refuse(constant):
        raise ValueError(f"{constant} is no JSON")

    @staticmethod
    def require(condition, what, where):
        if not condition:
            raise ValueError(f"not {what}: {where}")

    def take_metadata(self, event):
        self.require(event["name"] in METADATA, "known metadata", event)
        value = event["args"][METADATA[event["name"]]]
        of = (self.processes.setdefault(event["pid"], {}) if event["name"].startswith("process")
              else self.threads.setdefault((event["pid"], event["tid"]), {}))
        self.require(event["name"] not in of, "metadata once", event)
        of[event["name"]] = value

    def take_event(self, event):
        self.require(event["cat"] in KINDS, "a known category", event)
        for key in "ts", "dur":
            self.require(isinstance(event[key], (int, float)) and event[key] >= 0, key, event)
        self.events.setdefault((event["pid"], event["tid"]), []).append(event)

    @staticmethod
    def span(event):
        begin = round(1000 * event["ts"])
        return begin, begin + round(1000 * event["dur"])

    def require_nesting(self, row):
        """Complete events of one thread lie inside one another or apart."""
        ends = []
        for begin, negative in sorted((b, -e) for b, e in map(self.span, self.events[row])):
            while ends and ends[-1] <= begin:
                ends.pop()
            self.require(not ends or -negative <= ends[-1], "nested or apart", (row, begin))
            ends.append(-negative)

    def of(self, pid, category):
        """The events of this category, of all rows of a process."""
        return [event for (process, _), events in self.events.items() if process == pid
                for event in events if event["cat"] == category]

    def tasks(self, pid):
        """How often each task was done."""
        done = {}
        for event in self.of(pid, "task"):
            first, count = event["args"]["index"], event["args"]["tasks"]
            for task in range(first, first + count):
                done[task] = done.get(task, 0) + 1
        return done

    def rows(self, pid):
        return [names["thread_name"] for (process, _), names in sorted(self.threads.items())
                if process == pid]


class Timelines(ChapterTest):
    def record(self, *options, **keywords):
        """The trace and the JSON report of a run."""
        trace = self.path("trace.json")
        report = self.report("--trace", trace, *options, **keywords)
        with open(trace) as file:
            return Trace(file.read()), report

    def recorded(self, report):
        return [run for run in report["runs"] if "recorded_wall_s" in run]

    def test_trace(self):
        trace, report = self.record(*self.small(13), "--workers=1,3", "--transfer=both",
                                    "--switch-interval=0.0001")
        runs = self.recorded(report)
        self.assertTrue(runs)
        self.assertEqual(trace.other["chapter"], self.stem)
        self.assertEqual(len(trace.processes), len(runs))
        for pid, run in enumerate(runs, 1):
            name = trace.processes[pid]["process_name"]
            self.assertIn(run["workload"][:60], name)
            self.assertIn(run["mode"], name)
            self.assertIn(f"{run['workers']} worker", name)
            self.assertGreater(run["recorded_wall_s"], 0)
            rows = trace.rows(pid)
            if run["mode"] == "processes":
                self.assertEqual(rows[0], "program")
                self.assertGreaterEqual(len(rows), 1 + run["workers"])
                self.assertTrue(any("worker 0" in row for row in rows), rows)
                self.assertTrue(trace.of(pid, "chunk"), name)
                self.assertTrue(trace.of(pid, "copy"), name)
            else:
                self.assertEqual(rows, [f"thread {i}" for i in range(len(rows))])
                self.assertGreaterEqual(len(rows), run["workers"])
            self.assertEqual(bool(trace.of(pid, "gil")), run["mode"] == "gil", name)
            self.assertTrue(trace.of(pid, "task") or run["mode"] == "gil", name)

    def test_every_task_is_there(self):
        if self.stem not in ("01_pool_map", "02_pool_starmap"):
            self.not_here("other chapters have several loops in a run, or tasks too small")
        for method in "forkserver", "fork", "spawn":
            trace, report = self.record(*self.small(23), "--workers=1,3", "--schedule=dynamic",
                                        f"--start-method={method}")
            for pid in range(1, 1 + len(self.recorded(report))):
                name = trace.processes[pid]["process_name"]
                self.assertIn(" 0 events lost", trace.processes[pid]["process_labels"])
                self.assertEqual(trace.tasks(pid), dict.fromkeys(range(23), 1), name)

    def test_one_thread_at_a_time_holds_the_gil(self):
        trace, report = self.record("--repeats=1", "--mode=gil", "--workers=3",
                                    "--switch-interval=0.0002")
        for pid, run in enumerate(self.recorded(report), 1):
            held = sorted(Trace.span(event) for event in trace.of(pid, "gil")
                          if event["name"] == "holds the GIL")
            self.assertTrue(held or run["mode"] != "gil")
            for one, next_one in zip(held, held[1:]):
                self.assertLessEqual(one[1], next_one[0] + 1, run)  # both rounded to 1 ns

    def test_nothing_is_recorded_unless_asked_for(self):
        self.assertEqual(self.recorded(self.report(*self.small())), [])

    def test_trace_on_standard_output(self):
        out = self.succeed(*self.small(), "--workers=2", "--trace=-")
        self.assertTrue(Trace(out).events)

    def drawn(self, out):
        """The lines of each timeline in the output."""
        parts = out.split("\nTimeline: ")[1:]
        return [("Timeline: " + part).partition("\n\n")[0].splitlines() for part in parts]

    def test_timeline(self):
        for columns, locale in (20, "C.UTF-8"), (80, "C"), (80, "C.UTF-8"), (200, "C"):
            with self.subTest(columns=columns, locale=locale):
                environment = {**self.environment, "COLUMNS": str(columns), "LC_ALL": locale}
                out = self.succeed(*self.small(13), "--workers=3", "--timeline", env=environment,
                                   encoding="utf-8")
                timelines = self.drawn(out)
                self.assertTrue(timelines)
                for lines in timelines:
                    for line in lines[1:]:
                        self.assertLessEqual(len(line), columns, line)
                        self.assertTrue(locale != "C" or line.isascii(), line)
                    text = " ".join(lines)
                    self.assertIn("Recording cost", text)
                    self.assertRegex(text, r"#|█|threads|gil|processes")
                    bars = [line for line in lines if line.endswith("%") and line[0] in "twp"]
                    self.assertGreaterEqual(len(bars), 4, lines)
                    self.assertEqual(len({len(bar) for bar in bars}), 1, bars)

    def test_odd_windows(self):
        for columns in "0", "-5", "x", "", "1", "99999999999", "1000000":
            environment = {**self.environment, "COLUMNS": columns, "LC_ALL": "no such locale"}
            with self.subTest(columns=columns):
                self.succeed(*self.small(), "--workers=2", "--timeline", env=environment)

    def test_output_closed_early(self):
        for option in "--timeline", "--trace=-":
            with self.subTest(option=option):
                process = self.start(*self.small(), "--workers=2", option)
                process.stdout.readline()
                process.stdout.close()
                process.stdout = None
                status, _, err = self.finish(process)
                self.assertIn(status, (0, 1, -signal.SIGPIPE), err)  # 0: all was in the pipe
                self.assert_no_process_left()

    def test_full_disk(self):
        self.fail_with([*self.small(), "--quiet", "--trace=/dev/full"],
                       ["/dev/full", "No space left"], (1,))
        with open("/dev/full", "w") as full:
            self.fail_with([*self.small(), "--trace=-"], ["tandard output", "No space left"], (1,),
                           stdout=full)

    def test_places_that_cannot_be_written(self):
        """Found out before anything is computed or printed."""
        for path in self.path("no", "x"), self.directory:
            out = self.fail_with([*self.small(), f"--trace={path}"], ["--trace", path])
            self.assertEqual(out, "")
        same = self.path("same")
        for option in "--json", "--csv":
            out = self.fail_with([*self.small(), f"{option}={same}", f"--trace={same}"],
                                 [option, "--trace", same], (2,))
            self.assertEqual(out, "")
        self.assertEqual(os.listdir(self.directory), [])

    def test_interrupt_leaves_nothing(self):
        if self.stem != "01_pool_map":
            self.not_here("as in the first chapter")
        process = self.start("--seconds=0.3", "--repeats=1000", "--workers=2", "--timeline",
                             "--trace", self.path("trace.json"))
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)
        self.finish(process, PROMPT)
        self.assert_no_process_left()
        self.assertEqual(os.listdir(self.directory), [])


class Format(ChapterTest):
    """The checker itself: what it must not let through."""

    GOOD = [{"ph": "M", "name": "process_name", "pid": 1, "tid": 0, "args": {"name": "p"}},
            {"ph": "M", "name": "process_sort_index", "pid": 1, "tid": 0, "args": {"sort_index": 1}},
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": 0, "args": {"name": "t"}},
            {"ph": "M", "name": "thread_sort_index", "pid": 1, "tid": 0, "args": {"sort_index": 0}},
            {"ph": "X", "name": "task 0", "cat": "task", "pid": 1, "tid": 0, "ts": 0.0, "dur": 2.5,
             "args": {"index": 0, "tasks": 1}},
            {"ph": "X", "name": "task 1", "cat": "task", "pid": 1, "tid": 0, "ts": 2.5, "dur": 1,
             "args": {"index": 1, "tasks": 1}}]

    def trace(self, events):
        return Trace(json.dumps({"traceEvents": events, "displayTimeUnit": "ms", "otherData": {}}))

    def test_checker(self):
        if self.stem != "01_pool_map":
            self.not_here("as in the first chapter")
        self.assertEqual(self.trace(self.GOOD).tasks(1), {0: 1, 1: 1})
        for i, _ in enumerate(self.GOOD[:4]):
            with self.subTest(left_out=i), self.assertRaises((ValueError, KeyError)):
                self.trace(self.GOOD[:i] + self.GOOD[i + 1:])
        for change in ({"dur": -1}, {"dur": "1"}, {"ts": 2.0}, {"ph": "B"}, {"tid": 1}, {"pid": 2},
                       {"cat": "other"}, {"name": 5}, {"ts": float("nan")}):
            with self.subTest(change=change), self.assertRaises((ValueError, KeyError)):
                self.trace(self.GOOD[:5] + [{**self.GOOD[5], **change}])
