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
import os
import pickle
import sys
import time
from multiprocessing import Pool
from multiprocessing.pool import ThreadPool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "common" / "lesson"))
from lesson import CommandLine, Lesson, run_program, whole_number  # noqa: E402

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
# start(Pool, workers) is Pool(workers), only that it returns when every worker has started; it
# takes the times of the start, of the block under `with`, and of the pool's end.

def run_sequential(task, data):
    return [task(x) for x in data]


def run_threads(task, data, workers, start):
    with start(ThreadPool, workers) as pool:
        return pool.map(task, data)


def run_processes(task, data, workers, start):
    with start(Pool, workers) as pool:
        return pool.map(task, data)


# ---- What is measured besides ----------------------------------------------------------------

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


# ---- The program ------------------------------------------------------------------------------

def command_line():
    parser = CommandLine("Very light, light and heavy tasks in every mode.")
    parser.add_argument("--light-tasks", type=whole_number(1, 10**7), default=10000)
    parser.add_argument("--matrices", type=whole_number(1, 10**7), default=100)
    parser.add_argument("--order", type=whole_number(1, 10**6), default=200)
    args = parser.parse_args()
    # float32, once here, once pickled, once in a worker, once more to save
    parser.require_memory("--matrices, --order", 16 * args.matrices * args.order**2)
    return args


def main():
    args = command_line()
    lesson = Lesson("03_transfer_cost", args)
    np.random.seed(args.seed)
    numbers = list(range(args.light_tasks))
    matrices = [np.random.randn(args.order, args.order).astype(np.float32)
                for _ in range(args.matrices)]
    lesson.say(f"{lesson.environment}; BLAS threads: "
               + ", ".join(f"{n}={os.environ[n]}" for n in BLAS_THREADS if n in os.environ))

    results = {}
    for name, task, data, title in (
            ("very_light", very_light_task, numbers, f"x + 1 for {args.light_tasks} numbers"),
            ("light", light_task, matrices, f"np.sum(x) for {args.matrices} matrices"),
            ("heavy", heavy_task, matrices, f"np.sum(np.dot(x, x.T)) for {args.matrices} matrices"
                                            f" of {args.order} x {args.order}")):
        rows, results[name] = lesson.measure(
            name, (run_sequential, run_threads, run_processes), task, data, agree)
        size, seconds = pickle_cost(data)
        for row in rows:
            if row["mode"] == "processes":
                row.update(bytes_pickled=size, pickle_s=seconds)
        lesson.say(f"\n{name}: {title}", *lesson.table(rows),
                   *lesson.why(rows, one_busy="they mostly took turns under the GIL",
                               several_busy="NumPy lets go of the GIL while it computes"),
                   per_task(rows, size, seconds))

    # The tasks add in float32, as the notebook does; what is saved, and compared with C, is
    # computed in float64.
    light = [np.sum(x, dtype=np.float64) for x in matrices]
    heavy = np.array([heavy_task(x.astype(np.float64)) for x in matrices])
    error = np.max(np.abs(np.array(results["heavy"], dtype=np.float64) - heavy) / heavy)
    lesson.say(f"\nfloat32 against float64, heavy: relative error at most {error:.1e}")
    lesson.save("very_light", results["very_light"], "int64")
    lesson.save("matrices", matrices, "float32")
    lesson.save("light", light, "float64")
    lesson.save("heavy", heavy, "float64")
    lesson.end()


if __name__ == "__main__":
    run_program(main)
