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
import sys
from functools import partial
from multiprocessing import Pool
from multiprocessing.pool import ThreadPool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "common" / "lesson"))
from lesson import CommandLine, Lesson, run_program, whole_number  # noqa: E402


# ---- The task ---------------------------------------------------------------------------------

def heavy_computation(x, iterations):
    """The sum of i * x for all i below iterations, one step after the other."""
    result = 0
    for i in range(iterations):
        result += i * x
    return result


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


# ---- The program ------------------------------------------------------------------------------

def command_line():
    parser = CommandLine("Pool.map on one core, on threads, on processes.", random=False)
    parser.add_argument("--tasks", type=whole_number(1, 10**7), default=100)
    parser.add_argument("--iterations", type=whole_number(1, 10**12), default=100000)
    args = parser.parse_args()
    largest = (args.tasks - 1) * (args.iterations * (args.iterations - 1) // 2)
    if args.save and largest >= 2**63:
        parser.error("argument --save: results.npy holds int64, and the largest result would not "
                     "fit; make --tasks or --iterations smaller")
    return args


def main():
    args = command_line()
    lesson = Lesson("01_pool_map", args)
    lesson.say(f"heavy_computation(x) for {args.tasks} numbers, {args.iterations} iterations each",
               lesson.environment)

    data = list(range(args.tasks))
    task = partial(heavy_computation, iterations=args.iterations)
    rows, results = lesson.measure(
        "heavy_computation", (run_sequential, run_threads, run_processes), task, data)

    fastest = min(rows, key=lambda row: row["whole_s"])
    lesson.say(*lesson.table(rows), "",
               *lesson.why(rows, one_busy="the GIL let one thread run at a time"),
               f"Fastest as a whole: {fastest['mode']}, {fastest['workers']}.")
    lesson.save("results", results, "int64")
    lesson.end()


if __name__ == "__main__":
    run_program(main)
