"""notebook.py - Pool.map: one task for many numbers, on one core, on threads, on processes.

The task adds i * x in a Python loop. The numbers do not depend on one another, so any of them
may be computed anywhere. This program computes them in a plain loop, then with a pool of threads
and with a pool of processes, the same `map` call on both. Python's threads take turns: whoever
runs Python code holds the GIL, the interpreter's one lock. A process has an interpreter, and so a
GIL, of its own; but it has to be started, and its numbers and results have to be sent.

Notebook: part 1, section 1.1 (corrected: docs/errata.md). In C, with the same results: the .c
file beside this one.

Usage:
    python3 notebook.py [--tasks N] [--iterations N] [--workers LIST] [--repeats N]
                        [--seed N] [--save DIR] [--json FILE]

Watch for:
  - the threads: however many, how many cores are busy?
  - the processes: what they gain in `map` alone, and what is left of it in `whole`, the complete
    `with Pool(...)` block, which is what the notebook timed.

Try:
  - --workers 1,2,3,4,8: does a pool larger than the number of your cores help?
  - --iterations 100: is starting a pool still worth it? Where is the limit on your machine?
  - --tasks 3 --workers 2: who waits for whom?
"""
import argparse
import json
import multiprocessing
import os
import statistics
import sys
import threading
import time
from functools import partial
from multiprocessing.pool import ThreadPool


# ---- The task ---------------------------------------------------------------------------------

def heavy_computation(x, iterations):
    """The sum of i * x for all i below iterations, one step after the other."""
    result = 0
    for i in range(iterations):
        result += i * x
    return result


# ---- The modes --------------------------------------------------------------------------------
# Each returns its results and four readings of the clock: at the begin, when all workers had
# started, when the results were there, when the pool was gone.

def run_sequential(task, data):
    begin = clock()
    results = [task(x) for x in data]
    end = clock()
    return results, (begin, begin, end, end)


def run_threads(task, data, workers):
    begin, ready = clock(), threading.Barrier(workers + 1)
    with ThreadPool(workers, initializer=ready.wait) as pool:
        ready.wait()  # until every worker waits here too
        started = clock()
        results = pool.map(task, data)
        finished = clock()
        pool.close()
        pool.join()  # so that the next pool is not forked while a thread still runs
    return results, (begin, started, finished, clock())


def run_processes(task, data, workers):
    begin, ready = clock(), multiprocessing.Barrier(workers + 1)
    with multiprocessing.Pool(workers, initializer=ready.wait) as pool:
        ready.wait()
        started = clock()
        results = pool.map(task, data)
        finished = clock()
    return results, (begin, started, finished, clock())


# ---- Measuring and telling --------------------------------------------------------------------

def clock():
    """Seconds gone by, and seconds of CPU that this process (with all its threads) has used."""
    return time.perf_counter(), time.process_time()


def measure(workload, mode, workers, repeats, run, base=None):
    """Runs a mode `repeats` times. Returns its row, with medians, and its results; base is what
    this function returned for the sequential mode."""
    samples = [run() for _ in range(repeats)]
    results = samples[0][0]

    def seconds(begin, end, which=0):
        return [times[end][which] - times[begin][which] for _, times in samples]

    wall, whole = seconds(1, 2), statistics.median(seconds(0, 3))
    row = {"workload": workload, "mode": mode, "workers": workers, "repeats": repeats,
           "tasks": len(results), "startup_s": statistics.median(seconds(0, 1)), "whole_s": whole,
           "wall_s": {"min": min(wall), "median": statistics.median(wall), "max": max(wall)},
           # other processes' CPU time is not in this process's account
           "cores_busy": None if mode == "processes" else sum(seconds(1, 2, 1)) / sum(wall)}
    base_row, expected = base or (row, results)
    row["speedup"] = base_row["wall_s"]["median"] / row["wall_s"]["median"]
    row["speedup_whole"] = base_row["whole_s"] / whole
    row["matches_sequential"] = all(sample == expected for sample, _ in samples)
    return row, results


def table(rows):
    """The rows as lines of text, times in milliseconds."""
    yield (f"{'mode':<11}{'workers':>8}{'start-up':>12}{'map':>12}{'whole':>12}"
           f"{'cores busy':>12}{'speedup':>9}{'of whole':>10}  same result?")
    for row in rows:
        busy = "-" if row["cores_busy"] is None else f"{row['cores_busy']:.2f}"
        yield (f"{row['mode']:<11}{row['workers']:>8}{row['startup_s'] * 1e3:>9.2f} ms"
               f"{row['wall_s']['median'] * 1e3:>9.2f} ms{row['whole_s'] * 1e3:>9.2f} ms{busy:>12}"
               f"{row['speedup']:>8.3g}x{row['speedup_whole']:>9.3g}x  "
               f"{'yes' if row['matches_sequential'] else 'NO'}")


def why(row, cores):
    """What a pool's row shows, in words."""
    text = f"{row['mode']}, {row['workers']}: {row['speedup']:.3g}x the sequential speed"
    if row["mode"] == "processes":
        pool = 1 - row["wall_s"]["median"] / row["whole_s"]
        return (f"{text}, {row['speedup_whole']:.3g}x with starting and ending the pool, "
                f"{pool:.0%} of the whole")
    text += f", {row['cores_busy']:.2f} cores busy"
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        return text + "; this Python runs without a GIL"
    if min(row["workers"], cores) > 1 and row["cores_busy"] < 1.2:
        return text + ": the GIL let one thread run at a time"
    return text


# ---- The command line -------------------------------------------------------------------------

class Parser(argparse.ArgumentParser):
    """argparse, but a wrong command line is answered in one line."""

    def error(self, message):
        self.exit(2, f"{self.prog}: {message}\n")


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


def worker_list(text):
    """'1,2,4' as [1, 2, 4], each once."""
    return list(dict.fromkeys(whole_number(1, 1024)(part) for part in text.split(",")))


def usable_cores():
    """The cores this process may run on, which can be fewer than the machine has."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def arguments():
    parser = Parser(description="Pool.map on one core, on threads, on processes.")
    parser.add_argument("--tasks", type=whole_number(1, 10**7), default=100)
    parser.add_argument("--iterations", type=whole_number(1, 10**12), default=100000)
    parser.add_argument("-w", "--workers", type=worker_list, default=[usable_cores()],
                        metavar="LIST", help="such as 1,2,4 (default: the usable cores)")
    parser.add_argument("-r", "--repeats", type=whole_number(1, 10**6), default=1)
    parser.add_argument("--seed", type=whole_number(0, 2**32 - 1), default=42,
                        help="accepted as in all chapters; this one draws no random numbers")
    parser.add_argument("--save", metavar="DIR", help="write the arrays there as .npy")
    parser.add_argument("--json", metavar="FILE", help="write the figures there (- : print them)")
    args = parser.parse_args()
    largest = (args.tasks - 1) * (args.iterations * (args.iterations - 1) // 2)
    if args.save and largest >= 2**63:
        parser.error("argument --save: results.npy holds int64, and the largest result would not "
                     "fit; make --tasks or --iterations smaller")
    return args


def main():
    args, cores = arguments(), usable_cores()
    say = print if args.json != "-" else lambda *_, **__: None
    if args.save:
        os.makedirs(args.save, exist_ok=True)

    data = list(range(args.tasks))
    task = partial(heavy_computation, iterations=args.iterations)
    say(f"heavy_computation(x) for {args.tasks} numbers, {args.iterations} iterations each\n"
        f"Python {sys.version.split()[0]}, {cores} cores usable, processes start by "
        f"{multiprocessing.get_start_method()}")

    base = measure("heavy_computation", "sequential", 1, args.repeats,
                   lambda: run_sequential(task, data))
    rows = [base[0]]
    for workers in args.workers:
        for mode, run in (("threads", run_threads), ("processes", run_processes)):
            rows.append(measure("heavy_computation", mode, workers, args.repeats,
                                lambda: run(task, data, workers), base)[0])

    fastest = min(rows, key=lambda row: row["whole_s"])
    say(*table(rows), "", *(why(row, cores) for row in rows[1:]),
        f"Fastest as a whole: {fastest['mode']}, {fastest['workers']}.", sep="\n")
    if max(args.workers) > cores:
        say(f"There were more workers than the {cores} usable cores.")

    if args.save:
        import numpy as np  # here: nothing else needs it, least of all each new process
        np.save(os.path.join(args.save, "results.npy"), np.array(base[1], dtype=np.int64))
    report = {"chapter": "01_pool_map", "python": sys.version.split()[0], "seed": args.seed,
              "cores": cores, "start_method": multiprocessing.get_start_method(),
              "parameters": {"tasks": args.tasks, "iterations": args.iterations}, "runs": rows}
    if args.json:
        with open(1 if args.json == "-" else args.json, "w", closefd=args.json != "-") as file:
            print(json.dumps(report, indent=1), file=file)
    if not all(row["matches_sequential"] for row in rows):
        sys.exit("notebook.py: a pool's results differ from the sequential ones")


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        sys.exit(f"notebook.py: {error}")
