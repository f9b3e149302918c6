#!/usr/bin/env python3
"""test_bench.py - ./run bench itself: options, the report, what it says of peers that are not there.

Usage: python3 tests/test_bench.py BUILD_ROOT SOURCE_ROOT

With toy sizes; time decides nothing. What is checked is that every figure of the JSON follows from
its samples, that results are compared, and that nothing is left behind or half written.
"""
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import unittest
from pathlib import Path

BUILD, SOURCE = (Path(argument).resolve() for argument in sys.argv[1:3])
BENCH = SOURCE / "tests" / "bench"
sys.path.insert(0, str(BENCH))
import cases  # noqa: E402  (beside bench.py)
import report  # noqa: E402

LIMIT = 300
CONTENDER = {"label": str, "peer": str, "name": str, "threads": int, "is_base": bool, "is_roof": bool,
             "runs": int, "calls_per_run": int, "samples_s": list, "rounds": list, "median_s": float,
             "isa": str, "ci95_s": list, "min_s": float, "setup_s": float, "first_call_s": float, "note": str}
CASE = {"name": str, "threads": int, "title": str, "kind": str, "size": list, "flops_formula": str,
        "bytes": int, "bytes_formula": str, "roof": str, "roof_formula": str, "base": str, "contenders": list, "left_out": list}
ENVIRONMENT = {"date": str, "cpu": str, "cores": str, "command": str, "kernel": str, "rounds": int,
               "compiler_flags": str, "virtual_machine": bool, "load_average_before": float,
               "load_average_after": float, "processes": list, "blas_core_used": str,
               "binding": str, "seconds": float, "governor": str}


def bench(*options, environment=None, cwd=None):
    return subprocess.run([sys.executable, BENCH / "bench.py", BUILD, *options], check=False,
                          capture_output=True, text=True, timeout=LIMIT, cwd=cwd,
                          stdin=subprocess.DEVNULL, env={**os.environ, **(environment or {})})


def two_cores():
    sys.path.insert(0, str(BENCH))
    import machine
    return len(machine.usable_cores()) >= 2


def children_of(parent):
    """The processes that this one has started, as directories of /proc."""
    def is_child(process):
        try:
            return (process / "stat").read_text().rpartition(")")[2].split()[1] == str(parent)
        except OSError:  # ended meanwhile
            return False
    return [process for process in Path("/proc").glob("[0-9]*") if is_child(process)]


class Scratch(unittest.TestCase):
    def setUp(self):
        scratch = tempfile.TemporaryDirectory()
        self.addCleanup(scratch.cleanup)
        self.scratch = Path(scratch.name)


class Options(Scratch):
    def test_bad_ones_are_named_in_one_line(self):
        for words in (["--only", "nothing"], ["--only", ""], ["--threads", "0"], ["--threads", "-1"],
                      ["--threads", "1,x"], ["--threads", ""], ["--threads", "10000"],
                      ["--rounds", "2"], ["--rounds", "many"], ["--rounds", "1000000"],
                      ["--json", "/nonexistent/file"], ["--json", "."], ["--markdown", "-"],
                      ["--markdown", "/nonexistent/file"], ["--python", "/nonexistent/python"],
                      ["--json"], ["--fast"], ["more"], ["--qui"]):
            with self.subTest(words):
                result = bench("--tiny", *words, cwd=self.scratch)
                self.assertEqual(result.returncode, 2, result.stderr)
                self.assertEqual(result.stdout, "")
                self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
                self.assertIn(words[0].strip(), result.stderr)
                self.assertEqual(list(self.scratch.iterdir()), [])

    def test_help(self):
        result = bench("--help")
        self.assertEqual(result.returncode, 0)
        for name in cases.names():
            self.assertIn(name, result.stdout)

    def test_run_knows_it(self):
        environment = {**os.environ, "FORKJOIN_BUILD": str(BUILD)}
        result = subprocess.run([SOURCE / "run", "bench", "--tiny", "--threads", "1", "--only",
                                 "conv2", "--json", "-"], env=environment, check=False,
                                capture_output=True, text=True, timeout=LIMIT)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(json.loads(result.stdout)["cases"][0]["name"], "conv2")


class Report(Scratch):
    def check_members(self, thing, members):
        for name, kind in members.items():
            self.assertIn(name, thing)
            self.assertIsInstance(thing[name], (int, float) if kind is float else kind, name)

    def check_interval(self, median, interval, values):
        self.assertLessEqual(interval[0], median)
        self.assertLessEqual(median, interval[1])
        self.assertGreaterEqual(interval[0], min(values))
        self.assertLessEqual(interval[1], max(values))

    def check_contender(self, row, case, base, roof):
        self.check_members(row, CONTENDER)
        values = row["samples_s"]
        self.assertEqual(row["runs"], len(values))
        self.assertEqual(len(row["rounds"]), len(values))
        self.assertGreater(min(values), 0)
        self.assertEqual(row["min_s"], min(values))
        self.assertAlmostEqual(row["median_s"], statistics.median(values), delta=1e-15)
        self.check_interval(row["median_s"], row["ci95_s"], values)
        flops = 15 * (case["size"][0] - 4) * (case["size"][1] - 4) \
            if row["name"] == "image_edges_given" else case["flops"]
        if row["gflops"] is not None:
            self.assertAlmostEqual(row["gflops"] * row["median_s"] * 1e9 / flops, 1, places=9)
        if row["gbs"] is not None:
            self.assertAlmostEqual(row["gbs"] * row["median_s"] * 1e9 / case["bytes"], 1, places=9)
        for other, value, factor in ((base, row["ratio"], 1), (roof, row["percent_of_roof"], 100)):
            mine, theirs = dict(zip(row["rounds"], values)), dict(zip(other["rounds"],
                                                                      other["samples_s"]))
            both = mine.keys() & theirs.keys()
            ratios = [factor * (mine[r] / theirs[r] if other is base else theirs[r] / mine[r])
                      for r in both]
            self.assertAlmostEqual(value["median"] / statistics.median(ratios), 1, places=9)
            self.check_interval(value["median"], value["ci95"], [*ratios, *(1.000001 * r for r in ratios),
                                                                 *(0.999999 * r for r in ratios)])
        if row["max_error"] is not None:
            self.assertGreaterEqual(row["max_error"], 0)
            self.assertLessEqual(row["relative_error"], cases.TOLERANCE[case["kind"]])
        elif not row["is_roof"]:
            self.assertEqual(row["name"], "convolutions")  # half of a network

    def check_document(self, document):
        self.assertEqual(document["schema"], report.SCHEMA)
        self.check_members(document["environment"], ENVIRONMENT)
        self.assertEqual(document["wrong"], [])
        for case in document["cases"]:
            self.check_members(case, CASE)
            rows = case["contenders"]
            base = [row for row in rows if row["is_base"]]
            roofs = {row["label"]: row for row in rows if row["is_roof"]}
            self.assertEqual(len(base), 1)
            self.assertEqual(len(roofs), sum(row["is_roof"] for row in rows))
            self.assertIn("", [row["isa"] for row in roofs.values()])
            self.assertEqual(base[0]["ratio"]["median"], 1)
            self.assertEqual(len({row["label"] for row in rows}), len(rows))
            for row in rows:
                with self.subTest(case["name"], contender=row["label"]):
                    self.check_contender(row, case, base[0], roofs[row["roof"]])
                    if case["name"] == "image_4k":
                        alone = row["name"] in ("image_edges_given", "roof_copy")
                        self.assertEqual(row["roof"], "roof: copy the image" if alone else
                                         "roof: read, then copy")

    def test_all_cases_on_one_thread(self):
        page, data = self.scratch / "page.md", self.scratch / "data.json"
        page.write_text(f"# Page\n\n{report.BEGIN}\nold\n{report.END}\n\nrest\n")
        result = bench("--tiny", "--threads", "1", "--json", data, "--markdown", page)
        self.assertEqual(result.returncode, 0, result.stderr)
        document = json.loads(data.read_text())
        self.check_document(document)
        self.assertEqual([case["name"] for case in document["cases"]], list(cases.CASES))
        out = [row for case in document["cases"] for row in case["left_out"]
               if row["label"].startswith(("forkjoin", "OpenBLAS, ", "roof"))]
        self.assertEqual(out, [])
        text = page.read_text()
        self.assertTrue(text.startswith("# Page\n\n" + report.BEGIN))
        self.assertTrue(text.endswith(report.END + "\n\nrest\n"))
        self.assertNotIn("\nold\n", text)
        for case in document["cases"]:
            self.assertIn(f"**{case['name']}, 1 thread:", text)
            self.assertIn(f"\n{case['name']}, 1 thread:", result.stdout)
            self.assertIn(f"\n- roof: {case['roof_formula']}\n", text)
            self.assertIn(f"\n  roof: {case['roof_formula']}\n", result.stdout)
        self.assertEqual({path.name for path in self.scratch.iterdir()}, {"page.md", "data.json"})

    def test_without_any_peer(self):
        """A Python without NumPy: only what is compiled is measured, and the rest is named."""
        bare = self.scratch / "python"
        bare.write_text(f"#!/bin/sh\nexec {sys.executable} -S -I \"$@\"\n")
        bare.chmod(0o755)
        data = self.scratch / "data.json"
        result = bench("--tiny", "--threads", "1", "--only", "image_128,randn", "--python", bare,
                       "--json", data)
        self.assertEqual(result.returncode, 0, result.stderr)
        document = json.loads(data.read_text())
        self.check_document(document)
        peers = {row["peer"] for case in document["cases"] for row in case["contenders"]}
        self.assertEqual(peers, {"forkjoin", "roof"})
        self.assertIn("no Python has cv2", result.stdout)
        self.assertIn("python3-opencv", result.stdout)

    def test_instruction_set(self):
        """Ours runs with the set that is asked for, beside it AVX2 against its own roof."""
        result = bench("--tiny", "--threads", "1", "--only", "conv2", "--json", "-", "--python",
                       "/bin/false", environment={"FORKJOIN_ISA": "baseline"})
        self.assertEqual(result.returncode, 0, result.stderr)
        document = json.loads(result.stdout)
        self.check_document(document)
        isa = {about["peer"]: about["isa"] for about in document["environment"]["processes"]
               if "isa" in about}
        self.assertIn(isa["forkjoin"], ("x86-64", os.uname().machine))
        if "forkjoin v3" in isa:
            self.assertEqual(isa["forkjoin v3"], "x86-64-v3")
            self.assertEqual(isa["roof v3"], "x86-64-v3")
        result = bench("--tiny", environment={"FORKJOIN_ISA": "v9"})
        self.assertEqual((result.returncode, result.stdout), (2, ""))
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
        self.assertIn("FORKJOIN_ISA: 'v9'", result.stderr)

    @unittest.skipUnless(two_cores(), "needs two cores")
    def test_two_threads(self):
        result = bench("--tiny", "--threads", "2", "--only", "squares", "--json", "-",
                       "--python", "/bin/false")
        self.assertEqual(result.returncode, 0, result.stderr)
        document = json.loads(result.stdout)
        self.check_document(document)
        threads = {row["name"]: row["threads"] for row in document["cases"][0]["contenders"]}
        self.assertEqual(threads["roof_read"], 2)
        self.assertEqual(threads["sum_of_squares_naive"], 1)


class Failures(Scratch):
    def fake_build(self, program):
        """A build directory whose bench_ours is another."""
        tests = self.scratch / "build" / "tests"
        tests.mkdir(parents=True)
        (tests / "bench_ours").write_text(program)
        (tests / "bench_ours").chmod(0o755)
        return self.scratch / "build"

    def run_with(self, build, *options):
        return subprocess.run([sys.executable, BENCH / "bench.py", build, "--tiny", "--threads", "1",
                               "--python", "/bin/false", *options], check=False,
                              capture_output=True, text=True, timeout=LIMIT)

    def changed_build(self, change):
        """... whose bench_ours answers as the real one does, but for a change of `answer` to `line`."""
        return self.fake_build(f"""#!{sys.executable}
import json, subprocess, sys
real = {str(BUILD / 'tests' / 'bench_ours')!r}
if len(sys.argv) > 2:
    sys.exit(subprocess.call([real, *sys.argv[1:]]))
process = subprocess.Popen([real, *sys.argv[1:]], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
for line in sys.stdin:
    process.stdin.write(line)
    process.stdin.flush()
    answer = json.loads(process.stdout.readline())
    {change}
    print(json.dumps(answer), flush=True)
""")

    def test_a_wrong_result_fails_the_run(self):
        """Whatever contender is off, here all of ours: their numbers are a little changed."""
        build = self.changed_build(
            'if "max_error" in answer and "image" in line: answer["max_error"] = 0.5')
        data = self.scratch / "data.json"
        result = self.run_with(build, "--only", "image_128", "--json", data)
        self.assertEqual(result.returncode, 1, result.stderr)
        self.assertIn("wrong results", result.stderr)
        self.assertIn("WRONG", result.stdout)
        self.assertIn("image_128, 1 thread: forkjoin", json.loads(data.read_text())["wrong"])

    def test_a_process_that_dies_at_the_end(self):
        """Its samples are good; it is told, and the next case starts another."""
        build = self.changed_build('if line.startswith("end"): sys.exit(3)')
        data = self.scratch / "data.json"
        result = self.run_with(build, "--only", "image_128,randn", "--json", data)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(result.stderr.count("Traceback"), 0, result.stderr)
        for case in json.loads(data.read_text())["cases"]:
            self.assertIn("forkjoin", {row["label"] for row in case["contenders"]})
            self.assertIn("ended with status 3",
                          {row["label"]: row["why"] for row in case["left_out"]}["forkjoin, at its end"])

    def test_answers_are_json_whatever_is_asked(self):
        questions = ['about', 'begin 0 no"such 1 1 /tmp', 'begin 0 sgemm 4 0 /no"such\\path', 'end 0',
                     'begin 99 sgemm 4 0 /tmp', 'sample 0 1', '"', '\\', 'caf\u00e9', '']
        result = subprocess.run([BUILD / "tests" / "bench_ours", "1"], check=True, capture_output=True,
                                input="".join(q + "\n" for q in questions), text=True, timeout=LIMIT)
        answers = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual(len(answers), len(questions))
        self.assertIn("compiler", answers.pop(0))
        self.assertEqual([bool(answer.get("failure")) for answer in answers],
                         [question != "end 0" for question in questions[1:]])

    def test_a_program_that_dies_is_named(self):
        build = self.fake_build(f"#!/bin/sh\n[ $# -lt 2 ] || exec {BUILD}/tests/bench_ours \"$@\"\nexit 3\n")
        data = self.scratch / "data.json"
        result = self.run_with(build, "--only", "image_128", "--json", data)
        self.assertEqual(result.returncode, 1)
        self.assertEqual(result.stderr.count("Traceback"), 0, result.stderr)
        self.assertFalse(data.exists())

    def test_interrupted_it_leaves_nothing(self):
        data = self.scratch / "data.json"
        data.write_text("old")
        for number, status in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            before = set(Path(tempfile.gettempdir()).glob("forkjoin-bench-*"))
            process = subprocess.Popen([sys.executable, BENCH / "bench.py", BUILD, "--only", "randn",
                                        "--threads", "1", "--rounds", "10000", "--json", data],
                                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                       start_new_session=True)
            end = time.monotonic() + 60
            while not (children := children_of(process.pid)) and time.monotonic() < end:
                time.sleep(0.1)
            time.sleep(1)
            children = children_of(process.pid) or children
            self.assertTrue(children, "it has started nothing")
            process.send_signal(number)
            _, errors = process.communicate(timeout=60)
            self.assertEqual(process.returncode, status, errors)
            self.assertNotIn("Traceback", errors)
            self.assertEqual(data.read_text(), "old")
            self.assertEqual([child for child in children if child.exists()], [])
            self.assertLessEqual(set(Path(tempfile.gettempdir()).glob("forkjoin-bench-*")), before)
            self.assertEqual({path.name for path in self.scratch.iterdir()}, {"data.json"})


class Statistics(unittest.TestCase):
    def test_interval_of_known_samples(self):
        values = list(range(1, 102))
        found = report.interval(values)
        self.assertEqual(found["median"], 51)
        # Of order statistics: about ranks n/2 -+ 0.98 sqrt(n), 41 and 61.
        self.assertTrue(36 <= found["ci95"][0] <= 46 and 56 <= found["ci95"][1] <= 66, found)
        self.assertEqual(report.interval([3.0] * 9), {"median": 3.0, "ci95": [3.0, 3.0]})

    def test_ratios_are_of_the_same_round(self):
        fast, slow = {0: 1.0, 1: 10.0, 2: 100.0}, {0: 2.0, 1: 20.0, 2: 200.0, 3: 1e9}
        self.assertEqual(report.paired(slow, fast), {"median": 2.0, "ci95": [2.0, 2.0],
                                                     "rounds": 3})
        self.assertIsNone(report.paired(fast, {}))

    def test_targets_that_were_not_measured(self):
        """Every row is there for all cases; with some of them, theirs."""
        found = report.targets([], cases.targets_for("x86-64-v4", None, [1, 2]))
        self.assertEqual(len(found), 2 + 4 * 2 + 1 + 3 * 3 + 2 + 1 + 1)
        for row in found:
            self.assertIn("not measured", row["why_not"])
            self.assertIsNone(row["reached"])
        self.assertEqual([row[1] for row in cases.targets_for("x86-64-v4", ["conv2"], [1])],
                         ["conv2", "conv2"])
        self.assertEqual([row[1] for row in cases.targets_for("x86-64-v3", None, [1, 2])],
                         ["conv2", "randn"])
        self.assertEqual(list(cases.targets_for("aarch64", None, [1])), [])

    def test_numbers_as_text(self):
        for seconds, text in ((1.234e-9, "1.23 ns"), (9.999e-7, "1000 ns"), (0.0123, "12.3 ms"),
                              (123.4, "123 s"), (1e-6, "1.00 us")):
            self.assertEqual(report.time_text(seconds), text)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=1)
