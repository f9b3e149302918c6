#!/usr/bin/env python3
"""test_chapters.py - runs the chapters as a student would, and as a student might by mistake.

Usage: python3 tests/test_chapters.py BUILD_ROOT SOURCE_ROOT CHAPTER [TEST...]

For example: python3 tests/test_chapters.py build . 01_pool_map Faults.test_interrupt

Needs nothing but the standard library. The comparison with NumPy runs the chapter's notebook.py
in an interpreter that has NumPy, and is skipped, with a message, where none is found. Time never
decides: limits are there only so that a program that hangs is found out.

What these tests share with others is in chapter_test.py beside this file; what is special to a
chapter, its sizes and tests of its own, in chapter_NN.py; what --timeline and --trace make of a run,
in test_timelines.py; what --python does, in python_beside.py.
"""
import csv
import importlib
import io
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
import unittest

from chapter_test import (LIMIT, MODES, PROMPT, SHORT, WORKERS, ChapterTest, arguments, few,
                          helper_and_workers, kill, python_with_numpy, read_npy, running,
                          shape_of, wait_until)

# What comes from common/ is the same in all chapters, so the first one is tried with all of it (without
# FORKJOIN_SHORT those with files of the user's and with several workloads, too), and each other one,
# besides its own tests, with what its own code could get wrong.
FIRST = "01_pool_map"
WHOLE = (FIRST,) if SHORT else (FIRST, "04_image_filters", "09_final_benchmark")
EVERYWHERE = {
    "Results": ("all_modes_workers_and_sizes", "size_zero", "transfer", "instruction_sets"),
    "NumPy": ("sizes",),
    "Output": ("plain_text",),
    "BadInput": ("sizes", "too_much_memory"),
    "Timelines": ("trace",),
    "Beside": ("rows_of_the_same_task",),
}
if not SHORT:
    EVERYWHERE["Results"] += ("seconds", "schedules_and_chunksizes", "seed_decides_the_inputs")
    EVERYWHERE["NumPy"] += ("seeds",)
    EVERYWHERE["Faults"] = ("worker_killed", "full_disk_save", "interrupt_with_workers")


# ---- Results -------------------------------------------------------------------------------------

class Results(ChapterTest):
    def test_all_modes_workers_and_sizes(self):
        """1 task, one less than the workers (3, 4 and 7), a prime number, a typical one."""
        for n, method in few(((13, "spawn"), (1, "fork"), (2, "forkserver"), (3, "forkserver"),
                              (6, "forkserver"), (40, "forkserver")), 2):
            with self.subTest(tasks=n):
                report = self.report(*self.small(n), f"--workers={','.join(map(str, WORKERS))}",
                                     f"--start-method={method}")
                self.assert_modes(report)
                for name, value in self.chapter.counts(n).items():
                    given = report["parameters"]
                    name = name.lstrip("-")
                    given = given.get(name, given.get(name.replace("-", "_")))
                    value = list(shape_of(value)) if isinstance(given, list) else value
                    self.assertEqual(given, value, name)

    def test_size_zero(self):
        for option in self.chapter.zero_allowed:
            with self.subTest(option=option):
                self.report(*self.small(), f"{option}=0", "--workers=2")

    def test_saved_arrays(self):
        """Files, types and shapes; the same bytes from run to run, whoever computed them."""
        options = self.chapter.counts(13)
        first = {}
        for mode, method in (("sequential", "forkserver"), ("processes", "forkserver"),
                             ("threads", "spawn"), ("all", "fork")):
            directory = self.path(mode)
            self.succeed(*arguments(options), "--repeats=1", "--workers=3", f"--mode={mode}",
                         f"--start-method={method}", "--save", directory)
            self.assertEqual(sorted(os.listdir(directory)), sorted(self.chapter.arrays))
            for name, (dtype, shape) in self.chapter.arrays.items():
                found = read_npy(os.path.join(directory, name))
                self.assertEqual(found[:2], (dtype, shape(options)), name)
                self.assertEqual(first.setdefault(name, found[2]), found[2], f"{name}, {mode}")

    def test_seed_decides_the_inputs(self):
        if not self.chapter.inputs:
            self.not_here("this chapter draws no random numbers")
        bytes_of = {}
        for run, seed in enumerate((42, 43, 42)):
            self.succeed(*self.small(), f"--seed={seed}", "--save", self.path(str(run)),
                         "--mode=sequential")
            bytes_of[run] = [read_npy(self.path(str(run), name))[2] for name in self.chapter.inputs]
        self.assertEqual(bytes_of[0], bytes_of[2])
        self.assertNotEqual(bytes_of[0], bytes_of[1])

    def test_instruction_sets(self):
        """All modes agree with each one, and one with another: kernels add with other roundings."""
        first = None
        for isa, method in ("baseline", "spawn"), ("v3", "fork"), ("v4", "forkserver"):
            environment = {**self.environment, "FORKJOIN_ISA": isa}
            options = [*self.small(7), "--workers=3", "--transfer=both", "--save", self.path(isa),
                       f"--start-method={method}"]
            status, _, err = self.run_chapter("--help", env=environment)
            if status == 2 and "none of the instruction sets" in err and isa != "baseline":
                print(f"skipped: FORKJOIN_ISA={isa}, an instruction set that this processor lacks")
                continue
            report = self.report(*options, env=environment)
            self.assertTrue(report["machine"]["isa_chosen"])
            self.assertIn(report["machine"]["isa"], (f"x86-64-{isa}", "x86-64", "aarch64"))
            saved = {name: read_npy(self.path(isa, name))[3] for name in self.chapter.arrays}
            first = first or saved
            for name, values in saved.items():
                for one, other in zip(first[name], values):
                    if values.typecode == "q" or name in self.chapter.inputs:
                        self.assertEqual(one, other, f"{name}, {isa}")
                    else:
                        self.assertLessEqual(abs(one - other), 1e-5 + 1e-5 * abs(one),
                                             f"{name}, {isa}")

    def test_start_methods(self):
        for method in ("forkserver", "fork", "spawn"):
            with self.subTest(method=method):
                report = self.report(*self.small(), f"--start-method={method}", "--workers=1,3",
                                     "--mode=processes")
                self.assert_modes(report, (1, 3), ("processes",))
                self.assertEqual({run["start_method"] for run in report["runs"]
                                  if run["mode"] == "processes"}, {method})

    def test_transfer(self):
        for transfer in ("copy", "shared", "both"):
            with self.subTest(transfer=transfer):
                report = self.report(*self.small(13), f"--transfer={transfer}", "--workers=2",
                                     "--mode=processes")
                seen = {run["transfer"]: run for run in report["runs"]
                        if run["mode"] == "processes"}
                wanted = {"copy", "shared"} if transfer == "both" else {transfer}
                self.assertLessEqual(wanted, set(seen))
                if "copy" in wanted:
                    self.assertGreater(seen["copy"]["bytes_copied"], 0)

    def test_seconds(self):
        report = self.report("--seconds=0.05", "--repeats=2", "--workers=2")
        self.assert_modes(report, (2,))

    def test_schedules_and_chunksizes(self):
        for schedule in ("static", "static,2", "dynamic", "dynamic,3", "guided"):
            with self.subTest(schedule=schedule):
                self.report(*self.small(), f"--schedule={schedule}", "--mode=threads,gil")
        for chunksize, n in ((1, 13), (5, 13), (13, 13), (1000, 13)):
            with self.subTest(chunksize=chunksize):
                report = self.report(*self.small(n), f"--chunksize={chunksize}",
                                     "--mode=processes", "--workers=2")
                chunks = [run["chunks"] for run in report["runs"]
                          if run["mode"] == "processes" and run["tasks"] == n]
                self.assertIn(-(-n // chunksize), chunks)

    def test_switch_intervals(self):
        report = self.report(*self.small(), "--switch-interval=0.05,0.005,0.0001",
                             "--mode=gil", "--workers=1,3")
        seen = {(run["workers"], run["switch_interval_s"]) for run in report["runs"]
                if run["mode"] == "gil"}
        if not seen:
            self.not_here("this chapter has no mode gil")
        self.assertLessEqual({(workers, interval) for workers in (1, 3)
                              for interval in (0.05, 0.005, 0.0001)}, seen)

    def test_more_workers_than_cores(self):
        cores = len(os.sched_getaffinity(0))
        status, out, err = self.run_chapter(*self.small(2 * cores), f"--workers={4 * cores}")
        self.assertEqual(status, 0, err)
        self.assertRegex(out + err, r"more\b.*\bcores|cores\b.*\bmore|oversubscri",
                         "nothing is said about there being more workers than cores")


# ---- NumPy as oracle --------------------------------------------------------------------------

class NumPy(ChapterTest):
    """Each run's arrays against those of notebook.py, which computes them with NumPy."""

    def setUp(self):
        super().setUp()
        self.python = python_with_numpy()
        if not self.python:
            self.skipTest("no Python with NumPy was found: the results are not compared with it")

    def compare(self, options):
        ours, theirs = self.path("c"), self.path("numpy")
        for directory in (ours, theirs):
            shutil.rmtree(directory, ignore_errors=True)
        self.succeed(*arguments(options), "--workers=3", "--repeats=1", "--save", ours)
        script = os.path.join(self.source, "chapters", self.stem, "notebook.py")
        subprocess.run([self.python, script, *arguments(options), *self.chapter.notebook,
                        "--workers=2", "--save", theirs], check=True, stdout=subprocess.DEVNULL,
                       stdin=subprocess.DEVNULL, env=self.environment, timeout=LIMIT)
        for name, (dtype, shape) in self.chapter.arrays.items():
            _, ours_shape, ours_bytes, ours_values = read_npy(os.path.join(ours, name))
            _, their_shape, their_bytes, their_values = read_npy(os.path.join(theirs, name))
            self.assertEqual(ours_shape, their_shape, name)
            if name in self.chapter.inputs:
                self.assertEqual(ours_bytes, their_bytes, f"{name} is not bit for bit NumPy's")
            for index, (mine, true) in enumerate(zip(ours_values, their_values)):
                close = (mine == true if dtype == "<i8"
                         else abs(mine - true) <= 1e-5 + 1e-5 * abs(true))  # false for a NaN
                self.assertTrue(close, f"{name}[{index}]: {mine}, NumPy has {true}")

    def test_seeds(self):
        for seed in few((42, 0, 7, 2**32 - 1)):
            with self.subTest(seed=seed):
                self.compare({**self.chapter.counts(5), "--seed": seed})

    def test_sizes(self):
        for options in few((self.chapter.counts(13), self.chapter.counts(1), *self.chapter.oracle)):
            with self.subTest(options=options):
                self.compare(options)

    def test_numpy_loads_the_files(self):
        self.succeed(*self.small(), "--save", self.path("saved"), "--mode=sequential")
        for name in self.chapter.arrays:
            text = subprocess.run(
                [self.python, "-c", "import numpy, sys; a = numpy.load(sys.argv[1]); "
                 "print(a.dtype.str, a.shape, a.flags.c_contiguous)", self.path("saved", name)],
                check=True, capture_output=True, text=True).stdout
            dtype, shape, _, _ = read_npy(self.path("saved", name))
            self.assertEqual(text.strip(), f"{dtype} {shape} True")


# ---- Output --------------------------------------------------------------------------------------

class Output(ChapterTest):
    def test_plain_text(self):
        out = self.succeed(*self.small(), "--workers=2")
        self.assertNotIn("\x1b", out, "colour although standard output is no terminal")
        for mode in MODES:
            self.assertIn(mode, out)
        self.assertIn("yes", out)
        self.assertRegex(out, r"(?i)\bopenmp\b")

    def test_json_and_csv_files(self):
        self.succeed(*self.small(), "--workers=2", "--json", self.path("a.json"), "--csv",
                     self.path("a.csv"))
        with open(self.path("a.json")) as file:
            report = json.load(file)
        self.assert_report(report)
        with open(self.path("a.csv"), newline="") as file:
            rows = list(csv.DictReader(file))
        self.assertEqual([(row["workload"], row["mode"], row["workers"]) for row in rows],
                         [(run["workload"], run["mode"], str(run["workers"]))
                          for run in report["runs"]])

    def test_csv_on_standard_output(self):
        text = self.succeed(*self.small(), "--workers=2", "--csv=-", "--mode=threads")
        rows = list(csv.DictReader(io.StringIO(text)))
        self.assertLessEqual({"sequential", "threads"}, {row["mode"] for row in rows})

    def test_quiet(self):
        status, out, err = self.run_chapter(*self.small(), "--quiet")
        self.assertEqual((status, out, err), (0, "", ""))

    def test_help(self):
        out = self.succeed("--help")
        for option in ("mode", "workers", "repeats", "seconds", "seed", "schedule", "chunksize",
                       "start-method", "transfer", "save", "json", "csv", "quiet", "version"):
            self.assertIn(f"--{option}", out)
        for option in self.chapter.sizes:
            self.assertIn(option, out)
        self.succeed("--usage")

    def test_version(self):
        out = self.succeed("--version")
        self.assertRegex(out, r"\A[^\n]*\d+\.\d+\.\d+[^\n]*\n\Z")

    def test_from_another_directory(self):
        """Relative names mean the current directory, wherever the program is."""
        os.mkdir(self.path("elsewhere"))
        here = self.path("elsewhere")
        relative = os.path.relpath(self.program(), here)
        for method in ("forkserver", "spawn"):
            done = subprocess.run([relative, *self.small(), "--save", f"out/{method}", "--json",
                                   f"{method}.json", f"--start-method={method}"], cwd=here,
                                  capture_output=True, text=True, timeout=LIMIT,
                                  env=self.environment)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertEqual(sorted(os.listdir(os.path.join(here, "out", method))),
                             sorted(self.chapter.arrays))
            self.assertTrue(os.path.exists(os.path.join(here, f"{method}.json")))

    def test_found_through_path(self):
        directory, name = os.path.split(self.program())
        environment = {**self.environment, "PATH": f"{directory}:{os.environ['PATH']}"}
        done = subprocess.run([name, *self.small(), "--start-method=spawn", "--quiet"],
                              cwd=self.directory, capture_output=True, text=True, timeout=LIMIT,
                              env=environment)
        self.assertEqual((done.returncode, done.stderr), (0, ""))

    def test_two_at_once(self):
        both = [self.start(*self.small(13), "--json=-", "--workers=3", f"--seed={seed}")
                for seed in (1, 2)]
        for seed, process in enumerate(both, 1):
            status, out, err = self.finish(process)
            self.assertEqual(status, 0, err)
            report = json.loads(out)
            self.assertEqual(report["seed"], seed)
            self.assert_report(report)
        self.assert_no_process_left()

    def test_omp_num_threads_is_the_default(self):
        report = self.report(*self.small(), "--mode=threads",
                             env={**self.environment, "OMP_NUM_THREADS": "3"})
        self.assert_modes(report, (3,), ("threads",))
        report = self.report(*self.small(), "--mode=threads", "--workers=2",
                             env={**self.environment, "OMP_NUM_THREADS": "3"})
        self.assert_modes(report, (2,), ("threads",))


# ---- Bad input -----------------------------------------------------------------------------------

class BadInput(ChapterTest):
    HUGE = "99999999999999999999"
    COMMON = {
        "--mode": ("sideways", "", "threads,", "threads,sideways"),
        "--workers": ("0", "-1", "two", "", "1,,2", "1,x", "2.5", "1000000", HUGE),
        "--repeats": ("0", "-1", "x", "", "1e3", HUGE),
        "--seconds": ("-1", "0", "x", "", "nan", "inf", "1e99"),
        "--seed": ("-1", "4294967296", "x", "", HUGE),
        "--schedule": ("sometimes", "static,0", "static,x", "static,-1", ""),
        "--chunksize": ("-1", "x", "", HUGE),
        "--start-method": ("thread", ""),
        "--transfer": ("mail", ""),
        "--switch-interval": ("0", "-1", "x", "", "nan", "0.005,", "0.005,0", "1,,2", "1e99"),
    }

    def refused(self, options, name):
        out = self.fail_with(options, [name], statuses=(2,), stdout=subprocess.PIPE)
        self.assertEqual(out, "", f"{options}: something was written to standard output")

    def test_common_options(self):
        for option, values in self.COMMON.items():
            for value in few(values):
                with self.subTest(option=option, value=value):
                    self.refused([*self.small(), f"{option}={value}"], option.lstrip("-"))

    def test_unknown_option_and_stray_word(self):
        self.refused(["--nonsense"], "nonsense")
        self.refused(["-Z"], "Z")
        self.refused(["--workers"], "workers")
        if not self.chapter.words:
            self.refused(["stray"], "stray")

    def test_sizes(self):
        for option in self.chapter.sizes:
            values = ["-1", "x", "", "1.5", "1e3", "3 ", " 3", "+", self.HUGE]
            if option not in self.chapter.zero_allowed:
                values.insert(0, "0")
            for value in few(values):
                with self.subTest(option=option, value=value):
                    self.refused([f"{option}={value}", "--quiet"], option.lstrip("-"))

    def test_too_much_memory(self):
        """Refused by calculation, before any of it is touched."""
        for option, value in self.chapter.memory:
            with self.subTest(option=option, value=value):
                self.refused([f"{option}={value}", "--repeats=1"], option.lstrip("-"))

    def test_nothing_is_saved_by_a_refused_command(self):
        self.refused(["--workers=0", "--save", self.path("out"), "--json", self.path("a.json")],
                     "workers")
        self.assertEqual(os.listdir(self.directory), [])


# ---- Faults --------------------------------------------------------------------------------------

class Faults(ChapterTest):
    disturbed = True

    def setUp(self):
        """What meets faults is the same in all chapters: the first one is tried most."""
        super().setUp()
        first = self.stem == FIRST
        self.methods = ("forkserver", "fork", "spawn") if first else ("forkserver",)
        moments = ((True, 0.4), (False, 0.2), (True, 0.02), (False, 1.5))
        self.moments = few(moments, 2) if first else moments[:2]

    def test_full_standard_output(self):
        for options in ([], ["--json=-"], ["--csv=-"]):
            with self.subTest(options=options), open("/dev/full", "w") as full:
                self.fail_with([*self.small(), *options], ["tandard output", "No space left"], (1,),
                               stdout=full)

    def test_closed_standard_output(self):
        process = self.start(*self.small(), "--mode=sequential")
        process.stdout.close()
        process.stdout = io.StringIO()  # for communicate
        process.stdout = None
        status, _, _ = self.finish(process)
        self.assertNotEqual(status, 0)
        self.assert_no_process_left()

    def test_full_disk_json_csv(self):
        for option in ("--json", "--csv"):
            with self.subTest(option=option):
                self.fail_with([*self.small(), "--quiet", f"{option}=/dev/full"],
                               ["/dev/full", "No space left"], (1,))

    def test_full_disk_save(self):
        for name in self.chapter.arrays:
            with self.subTest(file=name):
                os.makedirs(self.path(name))
                os.symlink("/dev/full", self.path(name, name))
                self.fail_with([*self.small(), "--quiet", "--save", self.path(name)],
                               [name, "No space left"], (1,))

    def outputs(self):
        """Options for an output of every kind, each in its own place: name -> place."""
        places = {"json": self.path("out.json"), "csv": self.path("out.csv"),
                  "trace": self.path("out.trace"), "report": self.path("page"),
                  "save": self.path("arrays")}
        if shutil.which(os.environ.get("GNUPLOT") or "gnuplot"):
            places["plot"] = self.path("out.svg")
        else:
            print("skipped: one output of many: --plot, for there is no gnuplot")
        return places

    def test_one_output_of_many(self):
        """That one cannot be written is no reason to lose the others."""
        files = {"report": "index.html", "save": next(iter(self.chapter.arrays))}
        drawn = {"report", "plot"}  # by gnuplot, which takes its time
        for culprit, place in self.outputs().items():
            if self.stem != "01_pool_map" and culprit != "save":
                continue
            with self.subTest(culprit=culprit):
                for name in os.listdir(self.directory):
                    path = self.path(name)
                    shutil.rmtree(path) if os.path.isdir(path) else os.unlink(path)
                if culprit in files:
                    os.mkdir(place)
                os.symlink("/dev/full", os.path.join(place, files.get(culprit, "")).rstrip("/"))
                others = {name: path for name, path in self.outputs().items()
                          if name != culprit and (culprit in drawn or name not in drawn)}
                self.fail_with([*self.small(), "--quiet", f"--{culprit}={place}",
                                *(f"--{name}={path}" for name, path in others.items())],
                               [f"--{culprit}: {place}", "No space left"], (1,))
                for name, path in others.items():
                    wanted = [path] if name not in files else [
                        os.path.join(path, entry) for entry in
                        (self.chapter.arrays if name == "save" else ["index.html"])]
                    for entry in wanted:
                        self.assertTrue(os.path.isfile(entry) and os.path.getsize(entry), entry)
        with self.subTest(culprit="standard output"), open("/dev/full", "w") as full:
            os.unlink(self.path("out.csv"))
            self.fail_with([*self.small(), "--json=-", f"--csv={self.path('out.csv')}"],
                           ["tandard output", "No space left"], (1,), stdout=full)
            self.assertTrue(os.path.getsize(self.path("out.csv")))

    def test_no_name_of_a_file(self):
        """Seen before the work. The reason is told where the path is longer than a line, too."""
        os.symlink("circle", self.path("circle"))
        deep = self.path(*(["deep"] * 200), "last")
        for option in ("--json", "--csv", "--trace"):
            for place, culprit, reason in (
                    (self.path("n" * 256), "nnn", "too long"),
                    (self.path("circle"), "circle", "symbolic"),
                    (deep, "/deep/last", "No such file or directory")):
                out = self.fail_with([*self.small(), f"{option}={place}"],
                                     [option, self.directory, culprit, reason])
                self.assertEqual(out, "")

    # On a file system of 64 KiB, mounted where only the program and this shell see it.
    SMALL_DISK = """
        mount -t tmpfs -o size=64k none "$1" || exit 77
        if [ -n "$2" ]; then printf old >"$1/$2"; fi
        disk=$1; shift 2
        "$@"
        status=$?
        ls -A "$disk"; cat "$disk"/* 2>/dev/null | head -c 1000000 | wc -c
        exit $status"""

    def run_on_small_disk(self, options, old=""):
        """Status, names on the disk, bytes on the disk, standard error of the chapter."""
        os.makedirs(self.path("disk"), exist_ok=True)
        namespace = ["unshare", "--mount"] + ([] if os.geteuid() == 0 else ["--map-root-user"])
        try:
            done = subprocess.run(
                [*namespace, "sh", "-c", self.SMALL_DISK, "sh", self.path("disk"), old,
                 self.program(), *options, "--quiet", "--save", self.path("disk")],
                capture_output=True, text=True, timeout=LIMIT, env=self.environment)
        except FileNotFoundError:
            self.skipTest("unshare is missing: no small file system could be mounted")
        if done.returncode == 77 or "unshare" in done.stderr:
            self.skipTest(f"no small file system could be mounted: {done.stderr.strip()}")
        *names, size = done.stdout.split()
        return done.returncode, names, int(size), done.stderr

    def whole_size(self, name, options):
        """Bytes of the file: the data, and a header that is padded to 128."""
        dtype, shape = self.chapter.arrays[name]
        return 128 + math.prod(shape(options)) * int(dtype[-1])

    def test_disk_full_in_the_middle(self):
        """What fits is there, whole; of what does not fit there is nothing; the error is named."""
        options = self.chapter.counts(20000)
        status, names, size, err = self.run_on_small_disk(
            [*arguments(options), "--repeats=1", "--mode=sequential"])
        self.assertEqual(status, 1, err)
        self.assertEqual(err.count("\n"), 1, err)
        self.assertRegex(err, r"\.npy.*No space left")
        self.assertLess(set(names), set(self.chapter.arrays), "all, or a file of another name")
        self.assertEqual(size, sum(self.whole_size(name, options) for name in names),
                         f"something was left of a file that did not fit: {names}")

    def test_old_file_survives_a_full_disk(self):
        options = self.chapter.counts(20000)
        old = next(name for name in self.chapter.arrays if self.whole_size(name, options) > 65536)
        status, names, size, err = self.run_on_small_disk(
            [*arguments(options), "--repeats=1", "--mode=sequential"], old=old)
        self.assertEqual(status, 1, err)
        self.assertIn(old, names)
        self.assertEqual(size, 3 + sum(self.whole_size(name, options) for name in names if name != old),
                         f"the old file was lost, or half of one was left: {names}")

    def test_places_that_cannot_be_written(self):
        with open(self.path("file"), "w"):
            pass
        self.fail_with([*self.small(), "--quiet", "--save", self.path("file", "below")],
                       [self.path("file")])
        self.fail_with([*self.small(), "--quiet", "--save", self.path("file")], [self.path("file")])
        for option in ("--json", "--csv"):
            self.fail_with([*self.small(), "--quiet", f"{option}={self.path('no', 'x')}"],
                           [self.path("no", "x")])
            self.fail_with([*self.small(), "--quiet", f"{option}={self.directory}"],
                           [self.directory])
        if os.geteuid() != 0:
            os.mkdir(self.path("locked"), 0o500)
            self.fail_with([*self.small(), "--quiet", "--save", self.path("locked", "x")],
                           [self.path("locked")])

    # ---- Signals. A thousand repeats last far longer than the test waits, unless they are ended.

    def options(self, repeats):
        return (f"--seconds={self.chapter.seconds}", f"--repeats={repeats}", "--workers=2")

    def test_interrupt(self):
        """Ctrl-C (the whole group) and a signal to the main process alone, at several moments."""
        for number in (signal.SIGINT, signal.SIGTERM):
            for group, after in self.moments:
                with self.subTest(signal=number.name, group=group, after=after):
                    process = self.start(*self.options(1000), "--save", self.path("out"), "--json",
                                         self.path("a.json"))
                    time.sleep(after)
                    self.assertIsNone(process.poll(), "ended before the signal")
                    (os.killpg if group else os.kill)(process.pid, number)
                    status, _, _ = self.finish(process, PROMPT)
                    self.assertIn(status, (-number, 128 + number, 1))
                    self.assert_no_process_left()
                    self.assertFalse(os.path.exists(self.path("a.json")))

    def wait_for_workers(self, process, count=2):
        def found():
            helper, workers = helper_and_workers(self.mark)
            if process.poll() is not None:  # on a busy machine a short run may end first
                return None, []
            return (helper, workers) if len(workers) >= count else None
        result = wait_until(found, LIMIT / 5)
        self.assertIsNotNone(result, "no workers appeared")
        return result

    def wait_for_busy_worker(self, process):
        """A worker that is computing now; some worker where none is seen to; None if all is over."""
        def found():
            workers = helper_and_workers(self.mark)[1]
            return next((worker for worker in workers if running(worker)), None)
        return wait_until(found, 2) or next(iter(self.wait_for_workers(process)[1]), None)

    def test_interrupt_with_workers(self):
        for method in self.methods:
            with self.subTest(method=method):
                process = self.start(*self.options(1000), "--mode=processes", f"--start-method={method}")
                self.wait_for_workers(process)
                time.sleep(0.3)
                os.killpg(process.pid, signal.SIGINT)
                self.finish(process, PROMPT)
                self.assert_no_process_left()

    def test_main_process_killed(self):
        for method in self.methods:
            with self.subTest(method=method):
                process = self.start(*self.options(1000), "--mode=processes", f"--start-method={method}")
                self.wait_for_workers(process)
                time.sleep(0.2)
                process.kill()
                self.finish(process, PROMPT)
                self.assert_no_process_left()

    def test_worker_killed(self):
        """The run ends with the right results or a clear error; it never hangs. Of a worker that
        had nothing to do at that moment nothing needs to be said, of one that computed it must."""
        told = ""
        for method in self.methods:
            with self.subTest(method=method):
                process = self.start(*self.options(4), "--json=-",
                                     "--mode=processes", f"--start-method={method}")
                for _ in range(2):
                    self.wait_for_workers(process)
                    time.sleep(0.25)  # until the program is in the midst of its work
                    victim = self.wait_for_busy_worker(process)
                    if victim:
                        kill(victim)
                told += self.assert_right_or_clear(process)
        if len(self.methods) > 1:  # among six at least one was computing
            self.assertRegex(told, r"worker \d+", "six workers were killed, and nothing was said")

    def test_all_workers_killed(self):
        process = self.start(*self.options(4), "--json=-",
                             "--mode=processes")
        self.wait_for_workers(process)
        time.sleep(0.25)
        for worker in self.wait_for_workers(process)[1]:
            kill(worker)
        self.assert_right_or_clear(process)

    def test_helper_killed(self):
        """The process that starts the workers is gone: a clear error, never a hang."""
        process = self.start(*self.options(20), "--json=-",
                             "--mode=processes")
        self.wait_for_workers(process)
        time.sleep(0.25)
        helper, _ = self.wait_for_workers(process)
        if helper:
            kill(helper)
        self.assert_right_or_clear(process)

    def assert_right_or_clear(self, process):
        status, out, err = self.finish(process)
        self.assertGreaterEqual(status, 0, f"killed by a signal itself\n{err}")
        self.assertLess(len(err.splitlines()), 20, err)
        if status == 0:
            self.assert_report(json.loads(out))
        else:
            self.assertRegex(err, r"worker|helper|process", f"no clear error, status {status}")
        self.assert_no_process_left()
        return err


def without_what_is_common(tests):
    """Those of a suite that every chapter has to pass, and those of its own."""
    for test in tests:
        if isinstance(test, unittest.TestSuite):
            yield from without_what_is_common(test)
            continue
        group = type(test).__name__
        if (type(test).__module__ == f"chapter_{test.stem[:2]}"
                or test._testMethodName.removeprefix("test_") in EVERYWHERE.get(group, ())
                or group == "Chapters"):
            yield test


def main():
    stems = sorted(os.listdir(os.path.join(sys.argv[2], "chapters"))) if len(sys.argv) > 3 else ()
    if len(sys.argv) < 4 or sys.argv[3] not in stems:
        print(__doc__.split("\n\n")[1], f"chapters: {' '.join(stems)}", sep="\n", file=sys.stderr)
        return 2
    build, source, stem, *names = sys.argv[1:]
    special = importlib.import_module(f"chapter_{stem[:2]}")
    ChapterTest.build, ChapterTest.source = os.path.realpath(build), os.path.realpath(source)
    ChapterTest.stem, ChapterTest.chapter = stem, special.CHAPTER
    loader, common = unittest.defaultTestLoader, sys.modules[__name__]
    modules = (special, importlib.import_module("test_timelines"),
               importlib.import_module("python_beside"), common)
    if names:
        tests = [loader.loadTestsFromName(
            name, next((module for module in modules if hasattr(module, name.split(".")[0])), common))
            for name in names]
    else:
        tests = [loader.loadTestsFromModule(module) for module in modules]
        if stem not in WHOLE:
            tests = list(without_what_is_common(tests))
    return not unittest.TextTestRunner(verbosity=2).run(unittest.TestSuite(tests)).wasSuccessful()


if __name__ == "__main__":
    sys.exit(main())
