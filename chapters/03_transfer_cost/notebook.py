"""notebook.py - What it costs to send the data: very light, light and heavy tasks.

A pool of processes has to pickle every input, write it into a pipe, read it, unpickle it, and
the same with every result. Whether that pays depends on how much work a task is, compared with
its data: x + 1 is one addition for a number sent, the sum of a matrix one addition for each
element, and x . x^T two operations for each element and row, so the larger the matrix, the more
work for a byte. Threads need not send anything, and NumPy lets go of the GIL while it computes,
so here Python's threads can run side by side.

Notebook: part 2 (corrected: docs/errata.md). In C, with the same results: the .c file beside
this one.

Usage:
    python3 notebook.py [--light-tasks N] [--matrices N] [--order N]
                        [--workers LIST] [--repeats N] [--seed N] [--save DIR] [--json FILE]

Watch for:
  - which of the three tasks, if any, a pool of processes makes faster;
  - the time per task, and the time that pickling alone takes, below each table;
  - the threads of the heavy task: how many cores are busy, GIL or not?

Try:
  - --order 50, then 400, then 1000 (with --matrices 20): where does the heavy task begin to pay?
  - OPENBLAS_NUM_THREADS=4 python3 notebook.py: BLAS threads in every worker; who wins?
  - --light-tasks 1000000: does a larger number of very light tasks help?
"""
import argparse
import json
import multiprocessing
import os
import pickle
import statistics
import sys
import threading
import time
from multiprocessing.pool import ThreadPool

# BLAS, which computes np.dot, starts a thread for every core, in every process: pool and BLAS
# would fight for the cores, and even "sequential" would not be. BLAS reads these variables when
# it is loaded, so they are set before NumPy is imported; what you have set yourself stays.
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
if not any(name in os.environ for name in BLAS_THREADS):
    os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))

import numpy as np  # noqa: E402 (not at the top, see above)


# ---- The tasks --------------------------------------------------------------------------------

def very_light_task(x):
    return x + 1


def light_task(x):
    return np.sum(x)


def heavy_task(x):
    return np.sum(np.dot(x, x.T))


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
    row["matches_sequential"] = all(agree(sample, expected) for sample, _ in samples)
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
        return text + ": they mostly took turns under the GIL"
    if row["cores_busy"] > 1.2:
        text += ": NumPy lets go of the GIL while it computes"
    return text


def agree(results, expected):
    """Equal; or, with a BLAS that adds in another order from call to call, to 1e-5."""
    return results == expected or np.allclose(results, expected, rtol=1e-5, atol=0)


def pickle_cost(data):
    """How many bytes the pickled data are, and the seconds to make and to read them once."""
    begin = time.perf_counter()
    packed = pickle.dumps(data)
    pickle.loads(packed)
    return len(packed), time.perf_counter() - begin


def per_task(rows, size, seconds):
    """What one task costs, and what sending its input alone costs, in microseconds."""
    n = rows[0]["tasks"]
    costs = ", ".join(f"{row['wall_s']['median'] / n * 1e6:.3g} us ({row['mode']}, "
                      f"{row['workers']})" for row in rows)
    return (f"One task of {n}: {costs}.\nIts input pickled: {size / n:.0f} bytes, which takes "
            f"{seconds / n * 1e6:.3g} us to make and read back, without any pipe.")


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


def require_memory(parser, names, needed):
    """Better one line now than a machine that swaps."""
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if needed > memory:
        parser.error(f"argument {names}: needs about {needed / 1e9:.3g} GB, and this machine has "
                     f"{memory / 1e9:.3g} GB of memory; make it smaller")


def arguments():
    parser = Parser(description="Very light, light and heavy tasks in every mode.")
    parser.add_argument("--light-tasks", type=whole_number(1, 10**7), default=10000)
    parser.add_argument("--matrices", type=whole_number(1, 10**7), default=100)
    parser.add_argument("--order", type=whole_number(1, 10**6), default=200)
    parser.add_argument("-w", "--workers", type=worker_list, default=[usable_cores()],
                        metavar="LIST", help="such as 1,2,4 (default: the usable cores)")
    parser.add_argument("-r", "--repeats", type=whole_number(1, 10**6), default=1)
    parser.add_argument("--seed", type=whole_number(0, 2**32 - 1), default=42)
    parser.add_argument("--save", metavar="DIR", help="write the arrays there as .npy")
    parser.add_argument("--json", metavar="FILE", help="write the figures there (- : print them)")
    args = parser.parse_args()
    # float32, once here, once pickled, once in a worker, once more to save
    require_memory(parser, "--matrices, --order", 16 * args.matrices * args.order**2)
    return args


def main():
    args, cores = arguments(), usable_cores()
    say = print if args.json != "-" else lambda *_, **__: None
    if args.save:
        os.makedirs(args.save, exist_ok=True)

    np.random.seed(args.seed)
    numbers = list(range(args.light_tasks))
    matrices = [np.random.randn(args.order, args.order).astype(np.float32)
                for _ in range(args.matrices)]
    say(f"Python {sys.version.split()[0]}, NumPy {np.__version__}, {cores} cores usable, "
        f"processes start by {multiprocessing.get_start_method()}; BLAS threads: "
        + ", ".join(f"{n}={os.environ[n]}" for n in BLAS_THREADS if n in os.environ))

    rows, results = [], {}
    for name, task, data, title in (
            ("very_light", very_light_task, numbers, f"x + 1 for {args.light_tasks} numbers"),
            ("light", light_task, matrices, f"np.sum(x) for {args.matrices} matrices"),
            ("heavy", heavy_task, matrices, f"np.sum(np.dot(x, x.T)) for {args.matrices} matrices"
                                            f" of {args.order} x {args.order}")):
        base = measure(name, "sequential", 1, args.repeats, lambda: run_sequential(task, data))
        these, results[name] = [base[0]], base[1]
        for workers in args.workers:
            for mode, run in (("threads", run_threads), ("processes", run_processes)):
                these.append(measure(name, mode, workers, args.repeats,
                                     lambda: run(task, data, workers), base)[0])
        size, seconds = pickle_cost(data)
        for row in these:
            if row["mode"] == "processes":
                row.update(bytes_pickled=size, pickle_s=seconds)
        say(f"\n{name}: {title}", *table(these), *(why(row, cores) for row in these[1:]),
            per_task(these, size, seconds), sep="\n")
        rows += these

    # The tasks add in float32, as the notebook does; what is saved, and compared with C, is
    # computed in float64.
    light = np.array([np.sum(x, dtype=np.float64) for x in matrices])
    heavy = np.array([heavy_task(x.astype(np.float64)) for x in matrices])
    error = np.max(np.abs(np.array(results["heavy"], dtype=np.float64) - heavy) / heavy)
    say(f"\nfloat32 against float64, heavy: relative error at most {error:.1e}")
    if args.save:
        for name, array in (("very_light", np.array(results["very_light"], dtype=np.int64)),
                            ("matrices", np.array(matrices)), ("light", light), ("heavy", heavy)):
            np.save(os.path.join(args.save, f"{name}.npy"), array)
    report = {"chapter": "03_transfer_cost", "python": sys.version.split()[0],
              "numpy": np.__version__, "seed": args.seed, "cores": cores,
              "start_method": multiprocessing.get_start_method(),
              "parameters": {"light_tasks": args.light_tasks, "matrices": args.matrices,
                             "order": args.order}, "runs": rows}
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
