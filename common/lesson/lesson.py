"""lesson.py - what every notebook.py talks to: options, measurement, table, JSON, saved arrays.

A chapter's notebook.py holds the task and the loop, `pool.map` or `pool.starmap` that runs it; this
module does what is the same in all of them, as lesson.h does for the C programs beside them.

Measuring: a chapter gives one function for each of MODES, sequential(task, data) and, for the two
pools, run(task, data, workers, start), which opens its pool with `with start(Pool, workers)`; None
for a pool that is left out. Four readings of the clock are taken: before the pool exists, when
every worker runs (each waits at a barrier for all others), at the end of the `with` block, when the
pool is gone. So starting is known apart from working. Times are medians over --repeats; a process's
CPU time covers its threads, but not other processes.

Errors: a wrong command line ends the program with status 2, anything else with 1, and one line on
standard error. Needs the standard library only; NumPy is imported where an array is saved, if there
is one, so that the workers of a chapter without NumPy need not load it.
"""
import argparse
import errno
import json
import multiprocessing
import operator
import os
import statistics
import struct
import sys
import threading
import time
from contextlib import contextmanager
from multiprocessing.pool import ThreadPool

MODES = "sequential", "threads", "processes"


# ---- The command line -------------------------------------------------------------------------

class CommandLine(argparse.ArgumentParser):
    """argparse with the options of every chapter after the chapter's own. A wrong command line is
    answered in one line."""

    COMMON = "workers", "repeats", "seed", "save", "json"

    def __init__(self, description, random=True):
        """random: does the chapter draw random numbers?"""
        super().__init__(description=description)
        self.random = random

    def parse_args(self, *several, **named):
        self.add_argument("-w", "--workers", type=worker_list, default=[usable_cores()],
                          metavar="LIST", help="such as 1,2,4 (default: the usable cores)")
        self.add_argument("-r", "--repeats", type=whole_number(1, 10**6), default=1)
        self.add_argument("--seed", type=whole_number(0, 2**32 - 1), default=42,
                          help=None if self.random else
                          "accepted as in all chapters; this one draws no random numbers")
        self.add_argument("--save", metavar="DIR", help="write the arrays there as .npy")
        self.add_argument("--json", metavar="FILE", help="write the figures there (- : print them)")
        return super().parse_args(*several, **named)

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")

    def require_memory(self, names, needed):
        """Better one line now than a machine that swaps."""
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
        if needed > memory:
            self.error(f"argument {names}: needs about {needed / 1e9:.3g} GB, and this machine has "
                       f"{memory / 1e9:.3g} GB of memory; make it smaller")


def whole_number(minimum, maximum):
    def convert(text):
        try:
            if minimum <= int(text) <= maximum:
                return int(text)
        except ValueError:
            pass
        raise argparse.ArgumentTypeError(
            f"'{text:.40}' is not a whole number from {minimum} to {maximum}")
    return convert


def height_and_width(minimum, maximum):
    """'128' or '96x128' as (height, width)."""
    def convert(text):
        sides = text.lower().split("x")
        if len(sides) > 2:
            raise argparse.ArgumentTypeError(f"'{text:.40}' is neither N nor HxW")
        height, width = (sides * 2)[:2]
        side = whole_number(minimum, maximum)
        return side(height), side(width)
    return convert


def shape(count, minimum, maximum):
    """'1000x100x100', or '50' for as many equal sides, as a tuple of `count` numbers."""
    def convert(text):
        sides = text.lower().split("x")
        if len(sides) not in (1, count):
            raise argparse.ArgumentTypeError(
                f"'{text:.40}' is neither one number nor {count} with an x between them")
        return tuple(map(whole_number(minimum, maximum), sides * (count // len(sides))))
    return convert


def worker_list(text):
    """'1,2,4' as [1, 2, 4], each once."""
    return list(dict.fromkeys(whole_number(1, 1024)(part) for part in text.split(",")))


def usable_cores():
    """The cores this process may run on, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


# ---- Measuring --------------------------------------------------------------------------------

def begin_worker(ready, initializer, initargs):
    if initializer:
        initializer(*initargs)
    ready.wait()


class Stopwatch:
    """The readings of one run: seconds gone by, and seconds of CPU that this process, with all its
    threads, has used."""

    def __init__(self):
        self.readings = []

    def read(self):
        self.readings.append((time.perf_counter(), time.process_time()))

    def sequential(self, run, task, data):
        self.read()
        results = run(task, data)
        self.read()
        before, after = self.readings
        self.readings = [before, before, after, after]  # nothing to start, nothing to end
        return results

    @contextmanager
    def start(self, pool_type, workers, initializer=None, initargs=()):
        """pool_type(workers, initializer, initargs) for a `with` statement, whose block begins when
        every worker runs."""
        threads = pool_type is ThreadPool
        self.read()
        ready = (threading if threads else multiprocessing).Barrier(workers + 1)
        with pool_type(workers, begin_worker, (ready, initializer, initargs)) as pool:
            ready.wait()
            self.read()
            yield pool
            self.read()
            if threads:  # the next pool must not be forked while one of them still runs
                pool.close()
                pool.join()
        self.read()


def row_of(workload, mode, workers, samples):
    """One row of the table, from samples of (results, readings)."""
    def seconds(begin, end, which=0):
        return [readings[end][which] - readings[begin][which] for _, readings in samples]

    wall = seconds(1, 2)
    return {"workload": workload, "mode": mode, "workers": workers, "repeats": len(samples),
            "tasks": len(samples[0][0]), "startup_s": statistics.median(seconds(0, 1)),
            "whole_s": statistics.median(seconds(0, 3)),
            "wall_s": {"min": min(wall), "median": statistics.median(wall), "max": max(wall)},
            # other processes' CPU time is not in this process's account
            "cores_busy": None if mode == "processes" else sum(seconds(1, 2, 1)) / sum(wall)}


# ---- The lesson -------------------------------------------------------------------------------

def save_integers(path, values, dtype):
    """numpy.save of a list, without NumPy, which a chapter that only counts can do without."""
    if dtype != "int64":
        raise OSError(f"{path}: NumPy is missing, which writes {dtype}")
    header = f"{{'descr': '<i8', 'fortran_order': False, 'shape': ({len(values)},), }}"
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + (118).to_bytes(2, "little"))
        file.write(header.ljust(117).encode() + b"\n" + struct.pack(f"<{len(values)}q", *values))


class Lesson:
    """One run of a chapter: `lesson = Lesson("01_pool_map", args)`, measure, say, save, end."""

    def __init__(self, chapter, args):
        self.chapter, self.args, self.cores = chapter, args, usable_cores()
        self.rows, self.lost = [], {}  # lost: why which files could not be written
        self.versions = {"python": sys.version.split()[0]}
        self.environment = f"Python {self.versions['python']}, "
        if "numpy" in sys.modules:  # the chapter computes with it
            self.versions["numpy"] = sys.modules["numpy"].__version__
            self.environment += f"NumPy {self.versions['numpy']}, "
        self.environment += (f"{self.cores} cores usable, processes start by "
                             f"{multiprocessing.get_start_method()}")
        if args.save:
            os.makedirs(args.save, exist_ok=True)

    def say(self, *lines):
        """Lines of text on standard output, unless --json - needs it."""
        if self.args.json != "-":
            print(*lines, sep="\n")

    def measure(self, workload, runs, task, data, agree=operator.eq, **about):
        """Runs the functions `runs`, one for each of MODES, with each of --workers. Returns the
        rows, the sequential one first, and the sequential results, which agree(results, expected)
        compares with those of each run.

        about: what the C program has to know to put its rows beside these, in each row. in_c: its
        name of the workload, if that is another. sample: these are only some of its tasks. tasks:
        how many there are, if not one for each result. transfer: "shared", if processes do not get
        copies of the data."""
        rows, expected = [], None
        for workers, mode, run in [(1, MODES[0], runs[0])] + [
                (workers, mode, run) for workers in self.args.workers
                for mode, run in zip(MODES[1:], runs[1:]) if run]:
            samples = []
            for _ in range(self.args.repeats):
                watch = Stopwatch()
                results = (watch.sequential(run, task, data) if mode == "sequential"
                           else run(task, data, workers, watch.start))
                samples.append((results, watch.readings))
            row = row_of(workload, mode, workers, samples)
            row["transfer"] = "copy" if mode == "processes" else None
            row.update({key: value for key, value in about.items()
                        if key != "transfer" or mode == "processes"})
            rows.append(row)
            expected = samples[0][0] if expected is None else expected
            row["speedup"] = rows[0]["wall_s"]["median"] / row["wall_s"]["median"]
            row["speedup_whole"] = rows[0]["whole_s"] / row["whole_s"]
            row["matches_sequential"] = all(agree(results, expected) for results, _ in samples)
        self.rows += rows
        return rows, expected

    @staticmethod
    def table(rows):
        """The rows as lines of text, times in milliseconds."""
        yield (f"{'mode':<11}{'workers':>8}{'start-up':>12}{'map':>12}{'whole':>12}"
               f"{'cores busy':>12}{'speedup':>9}{'of whole':>10}  same result?")
        for row in rows:
            busy = "-" if row["cores_busy"] is None else f"{row['cores_busy']:.2f}"
            yield (f"{row['mode']:<11}{row['workers']:>8}{row['startup_s'] * 1e3:>9.2f} ms"
                   f"{row['wall_s']['median'] * 1e3:>9.2f} ms{row['whole_s'] * 1e3:>9.2f} ms"
                   f"{busy:>12}{row['speedup']:>8.3g}x{row['speedup_whole']:>9.3g}x  "
                   f"{'yes' if row['matches_sequential'] else 'NO'}")

    def why(self, rows, one_busy, several_busy=None):
        """What each pool's row shows, in lines of text. one_busy, several_busy: the chapter's
        reason, if threads under the GIL were seen to keep one core busy, or more than one."""
        for row in rows[1:]:
            text = f"{row['mode']}, {row['workers']}: {row['speedup']:.3g}x the sequential speed"
            if row["mode"] == "processes":
                pool = 1 - row["wall_s"]["median"] / row["whole_s"]
                text += (f", {row['speedup_whole']:.3g}x with starting and ending the pool, "
                         f"{pool:.0%} of the whole")
            else:
                text += f", {row['cores_busy']:.2f} cores busy"
                if not getattr(sys, "_is_gil_enabled", lambda: True)():
                    text += "; this Python runs without a GIL"
                elif min(row["workers"], self.cores) > 1 and 0.8 < row["cores_busy"] < 1.2 \
                        and row["speedup"] < 1.2:  # else something else was going on
                    text += f": {one_busy}"
                elif row["cores_busy"] > 1.2 and several_busy:
                    text += f": {several_busy}"
            yield text

    def save(self, name, values, dtype):
        """Writes an array to --save DIR as name.npy; nothing without --save."""
        if self.args.save:
            with self.writing():
                path = os.path.join(self.args.save, f"{name}.npy")
                try:
                    import numpy as np
                except ImportError:
                    save_integers(path, values, dtype)
                else:
                    np.save(path, np.array(values, dtype=dtype))

    @contextmanager
    def writing(self):
        """A file that cannot be written does not keep others from being written: `end` names it. A
        reason that is not the file's own, a full disk say, is told once."""
        try:
            yield
        except OSError as error:
            own = error.errno in (errno.EISDIR, errno.ENAMETOOLONG, errno.EACCES, errno.EPERM)
            self.lost.setdefault(str(error) if own else error.errno, f"notebook.py: {error}")

    def end(self, **figures):
        """Writes --json, with the chapter's further figures. Ends the program with status 1 if a
        file could not be written or a pool's results were not the sequential ones."""
        args = self.args
        if max(args.workers) > self.cores:
            self.say(f"There were more workers than the {self.cores} usable cores.")
        report = {"chapter": self.chapter, **self.versions,
                  "gil": getattr(sys, "_is_gil_enabled", lambda: True)(),
                  "free_threaded": "t" in getattr(sys, "abiflags", ""),
                  "seed": args.seed, "cores": self.cores,
                  "start_method": multiprocessing.get_start_method(),
                  "parameters": {name: value for name, value in vars(args).items()
                                 if name not in CommandLine.COMMON}, **figures, "runs": self.rows}
        if args.json:
            with self.writing(), \
                    open(1 if args.json == "-" else args.json, "w",
                         closefd=args.json != "-") as file:
                print(json.dumps(report, indent=1), file=file)
        if self.lost:
            sys.exit("\n".join(self.lost.values()))
        if not all(row["matches_sequential"] for row in self.rows):
            sys.exit("notebook.py: a pool's results differ from the sequential ones")


def run_program(main):
    """Calls main; a file that cannot be written ends the program in one line."""
    try:
        main()
    except OSError as error:
        sys.exit(f"notebook.py: {error}")
