#!/usr/bin/env python3
"""test_machines.py - paths that only some machines take, faked where this one would not take them.

Usage: python3 tests/test_machines.py BUILD_ROOT [TEST...]

Another BLAS, limits of OpenMP and of address space, processors that are not there, a machine of
which hwloc knows nothing. docs/maintainers.md lists them all; other suites have the rest.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
from pathlib import Path

BUILD = Path(sys.argv[1]).resolve()
TESTS = BUILD / "tests"
LIMIT = 120
LIBRARIES = Path("/usr/lib") / f"{os.uname().machine}-linux-gnu"
SMALL = {
    "03_transfer_cost": ["--repeats=1", "--light-tasks=6", "--matrices=6", "--order=70"],
    "08_when_to_parallelise": ["--repeats=1", "--light-tasks=6", "--tasks=6", "--iterations=300", "--numbers=50",
                               "--side=9", "--order=70"],
    "09_final_benchmark": ["--repeats=1", "--images=3", "--size=16", "--order=100", "--cnn-images=3",
                           "--python-images=0"]}


def run(program, *options, limit=LIMIT, **environment):
    """A program with two workers, unless the options say otherwise."""
    return subprocess.run(["timeout", str(limit), program, *options],
                          env={**os.environ, **environment}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False)


def chapter(name):
    return BUILD / "chapters" / name / name[3:]


def can_preload():
    """A sanitizer wants to be the first library."""
    return run(TESTS / "lesson_probe", "--quiet", LD_PRELOAD=str(preload("silent"))).returncode == 0


def preload(kind):
    return TESTS / f"libfake_{kind}_blas.so"


class Machines(unittest.TestCase):
    def report(self, program, *options, **environment):
        result = run(program, *options, "--json=-", **environment)
        self.assertEqual(result.returncode, 0, f"{program} {environment}: {result.stderr}")
        return json.loads(result.stdout)

    def assert_one_line(self, result):
        self.assertEqual(result.stderr.count("\n"), 1, result.stderr)


class Blas(Machines):
    def setUp(self):
        if not can_preload():
            self.skipTest("a library cannot be preloaded")

    def test_on_openmp(self):
        """Chapters whose modes compare products bit by bit; both the setting and the look at it."""
        for name, small in SMALL.items():
            with self.subTest(name):
                report = self.report(chapter(name), *small, LD_PRELOAD=str(preload("openmp")))
                self.assertEqual(report["machine"]["blas_threads"], 1)
                self.assertTrue(all(run["matches_sequential"] for run in report["runs"]))

    def test_others_are_named(self):
        """By the directory, as Debian has them; and they are told to use one thread."""
        with tempfile.TemporaryDirectory() as directory:
            for where, name in (("blis-pthread", "BLIS"), ("atlas", "ATLAS"),
                                ("lib", "reference BLAS")):
                library = Path(directory) / where / "libblas.so.3"
                library.parent.mkdir()
                shutil.copy(preload("silent"), library)
                report = self.report(chapter("03_transfer_cost"), *SMALL["03_transfer_cost"],
                                     LD_PRELOAD=str(library), BLIS_NUM_THREADS="2")
                machine = report["machine"]
                self.assertEqual([machine["blas"], machine["blas_core"], machine["blas_note"]],
                                 [name, "", ""])
                self.assertEqual(machine["blas_threads"], int(where == "lib"))
            shown = run(TESTS / "lesson_probe", LD_PRELOAD=str(preload("silent"))).stdout
            self.assertIn("libfake_silent_blas.so; it does not say", shown)

    def test_installed_ones(self):
        found = {"BLIS": LIBRARIES / "blis-pthread/libblis.so.4",
                 "reference BLAS": LIBRARIES / "blas/libblas.so.3"}
        for name, library in found.items():
            with self.subTest(name):
                if not library.exists():
                    self.skipTest(f"{name} is not installed")
                machine = self.report(chapter("03_transfer_cost"), *SMALL["03_transfer_cost"],
                                      LD_PRELOAD=str(library), BLIS_NUM_THREADS="2")["machine"]
                self.assertTrue(machine["blas"].startswith(name), machine)
                self.assertEqual(machine["blas_threads"], 1)

    def test_installed_openblas_on_openmp(self):
        library = LIBRARIES / "openblas-openmp" / "libopenblas.so.0"
        if not library.exists():
            self.skipTest("OpenBLAS on OpenMP is not installed")
        for name, small in SMALL.items():
            with self.subTest(name):
                self.report(chapter(name), *small, LD_PRELOAD=str(library))


class Teams(Machines):
    def rows(self, **environment):
        report = self.report(TESTS / "lesson_probe", "--workers=1,4", "--mode=threads,gil",
                             **environment)
        return [row for row in report["runs"] if row["mode"] != "sequential"]

    def test_all_threads_run(self):
        self.assertEqual({(row["workers"], row["threads"]) for row in self.rows()},
                         {(1, 1), (4, 4)})

    def test_limits(self):
        for limit, threads, text in (({"OMP_THREAD_LIMIT": "2"}, 2, "OMP_THREAD_LIMIT"),
                                     ({"OMP_THREAD_LIMIT": "1"}, 1, "OMP_THREAD_LIMIT"),
                                     ({"OMP_MAX_ACTIVE_LEVELS": "0"}, 1, "OMP_MAX_ACTIVE_LEVELS"),
                                     ({"OMP_DYNAMIC": "true"}, 4, "")):
            with self.subTest(limit):
                rows = self.rows(**limit)
                self.assertEqual({row["threads"] for row in rows if row["workers"] == 4}, {threads})
                for row in rows:
                    self.assertAlmostEqual(row["efficiency"] * row["threads"] / row["speedup"], 1)
                shown = run(TESTS / "lesson_probe", "--workers=4", **limit).stdout
                self.assertEqual("  4* " in shown, threads < 4, shown)
                if text:
                    self.assertRegex(shown, rf"\* 4 workers   only {threads} threads? ran: {text}")
                    self.assertRegex(shown, rf"Why: threads, 4 workers: .*\s+only\s+{threads}\s+of\s+4")


class AddressSpace(Machines):
    def limited(self, kilobytes, program, *options, limit, **environment):
        return run("sh", "-c", f'ulimit -v {kilobytes}; "$@"', "sh", program, *options, limit=limit,
                   **environment)

    def test_limits(self):
        """Results or one line; OpenBLAS waited for ever, now and then. (Version 0.3.29 does so before main
        begins, where a program can do nothing about it: then any program waits that has it loaded.)"""
        small = SMALL["03_transfer_cost"]
        blas = re.findall(r"libopenblas\S* => (\S+)", run("ldd", TESTS / "lesson_probe").stdout)
        for kilobytes in (60000, 100000, 250000, 400000, 600000, 650000, 1000000):
            if blas and self.limited(kilobytes, "env", f"LD_PRELOAD={blas[0]}", "true", limit=3).returncode == 124:
                print(f"skipped: with {kilobytes} kB of address space this OpenBLAS waits for ever before main")
                continue
            for program, options in ((TESTS / "lesson_probe", []),
                                     (chapter("03_transfer_cost"), small)):
                for core in ({}, {"OPENBLAS_CORETYPE": "Prescott"}):
                    with self.subTest(f"{kilobytes} kB, {program.name}, {core}"):
                        result = self.limited(kilobytes, program, "--repeats=1", *options, limit=20, **core)
                        self.assertIn(result.returncode, (0, 1), result.stderr)
                        if result.returncode:
                            self.assert_one_line(result)
                            self.assertRegex(result.stderr, "address space|memory")


class Processors(Machines):
    def test_affinity_of_another_machine(self):
        cores = self.report(TESTS / "lesson_probe")["machine"]["cores"]
        for affinity in "0-63", "40-63": # libgomp takes no more where the kernel has no more
            result = run(TESTS / "lesson_probe", f"--workers={cores + 1}",
                         GOMP_CPU_AFFINITY=affinity)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertRegex(result.stdout, rf"cores +{cores} usable of")
            if os.cpu_count() < 40 and "clang" not in result.stdout: # its OpenMP leaves them out
                self.assertIn("GOMP_CPU_AFFINITY names", result.stdout)

    def test_places_of_another_machine(self):
        result = run(TESTS / "lesson_probe", "--workers=3", OMP_PLACES="{0}:4096")
        self.assertEqual(result.returncode, 0, result.stderr)

    def test_hwloc_that_knows_nothing(self):
        with tempfile.NamedTemporaryFile(suffix=".xml") as empty:
            for environment in ({"HWLOC_XMLFILE": empty.name, "HWLOC_THISSYSTEM": "0"},
                                {"HWLOC_SYNTHETIC": "package:2 core:32 pu:1"}):
                machine = self.report(TESTS / "lesson_probe", **environment)["machine"]
                self.assertTrue(machine["cpu"])

    def fake(self, *options, **environment):
        if not can_preload():
            self.skipTest("a library cannot be preloaded")
        return self.report(TESTS / "lesson_probe", *options, "--transfer=both",
                           LD_PRELOAD=str(TESTS / "libfake_machine.so"), **environment)

    def test_many_cores(self):
        del os.environ["OMP_NUM_THREADS"]
        report = self.fake(FAKE_CORES="64")
        os.environ["OMP_NUM_THREADS"] = "2"
        self.assertEqual([report["machine"]["cores"], report["machine"]["machine_cores"]], [64, 64])
        self.assertEqual({run["workers"] for run in report["runs"]}, {1, 64})

    def test_large_pages(self):
        self.fake("--start-method=spawn", FAKE_PAGE="65536")

    def test_no_clock_of_cpu_time(self):
        report = self.fake("--seconds=0.02", FAKE_NO_CPU_CLOCK="1")
        self.assertGreater(sum(run["cpu_s"]["median"] for run in report["runs"]), 0)

    def test_one_core(self):
        core = str(min(os.sched_getaffinity(0)))
        result = run("taskset", "-c", core, TESTS / "lesson_probe", "--json=-")
        self.assertEqual(result.returncode, 0, result.stderr)


def main():
    """Skipped tests are told."""
    os.environ["OMP_NUM_THREADS"] = "2"
    unittest.main(argv=[sys.argv[0], "-v", *sys.argv[2:]])


if __name__ == "__main__":
    main()
