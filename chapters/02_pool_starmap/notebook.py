"""notebook.py - Pool.starmap: tasks that take several arguments.

`map` hands each task one argument, `starmap` a tuple of them, which it unpacks: starmap(f, [(1,
2, 100)]) calls f(1, 2, 100). Here x differs from task to task; multiplier and offset are the same
for all, and still every tuple carries them, to another process as pickled bytes. The program says
how many bytes that is, and how many they would be with the constants left out (functools.partial
binds them to the function instead).

Notebook: part 1, section 1.2 (corrected: docs/errata.md). In C, with the same results: the .c
file beside this one.

Usage:
    python3 notebook.py [--tasks N] [--iterations N] [--multiplier M] [--offset N]
                        [--workers LIST] [--repeats N] [--seed N] [--save DIR] [--json FILE]

Watch for:
  - threads and processes: who keeps more than one core busy, as with `map`?
  - the results: the same in every mode, in the order of the arguments, whoever finished first.

Try:
  - --workers 1,2,4
  - --multiplier -3 --offset 0
  - --tasks 5000 --iterations 10: the same call, but now what does it spend its time on?
"""
import pickle
import sys
from functools import partial
from multiprocessing import Pool
from multiprocessing.pool import ThreadPool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "common" / "lesson"))
from lesson import CommandLine, Lesson, run_program, whole_number  # noqa: E402


# ---- The task ---------------------------------------------------------------------------------

def process_with_params(x, multiplier, offset, iterations):
    """The sum of i * x * multiplier + offset for all i below iterations."""
    result = 0
    for i in range(iterations):
        result += i * x * multiplier + offset
    return result


# ---- The modes --------------------------------------------------------------------------------
# start(Pool, workers) is Pool(workers), only that it returns when every worker has started; it
# takes the times of the start, of the block under `with`, and of the pool's end.

def run_sequential(task, arguments):
    return [task(*several) for several in arguments]


def run_threads(task, arguments, workers, start):
    with start(ThreadPool, workers) as pool:
        return pool.starmap(task, arguments)


def run_processes(task, arguments, workers, start):
    with start(Pool, workers) as pool:
        return pool.starmap(task, arguments)


# ---- The program ------------------------------------------------------------------------------

def command_line():
    parser = CommandLine("Pool.starmap on one core, on threads, on processes.", random=False)
    any_int64 = whole_number(-2**63, 2**63 - 1)
    parser.add_argument("--tasks", type=whole_number(1, 10**7), default=50)
    parser.add_argument("--iterations", type=whole_number(1, 10**12), default=50000)
    parser.add_argument("--multiplier", type=any_int64, default=2)
    parser.add_argument("--offset", type=any_int64, default=100)
    args = parser.parse_args()
    first = args.offset * args.iterations  # of x = 0; all others lie between this and the last
    last = first + ((args.tasks - 1) * args.multiplier
                    * (args.iterations * (args.iterations - 1) // 2))
    if args.save and not all(-2**63 <= result < 2**63 for result in (first, last)):
        parser.error("argument --save: results.npy holds int64, and the largest result would not "
                     "fit; make --tasks, --iterations, --multiplier or --offset smaller")
    return args


def main():
    args = command_line()
    lesson = Lesson("02_pool_starmap", args)
    lesson.say(f"process_with_params(x, {args.multiplier}, {args.offset}) for {args.tasks} "
               f"numbers, {args.iterations} iterations each", lesson.environment)

    arguments = [(x, args.multiplier, args.offset) for x in range(args.tasks)]
    task = partial(process_with_params, iterations=args.iterations)
    rows, results = lesson.measure(
        "process_with_params", (run_sequential, run_threads, run_processes), task, arguments,
        in_c="starmap_columns")

    lesson.say(*lesson.table(rows), "",
               *lesson.why(rows, one_busy="the GIL let one thread run at a time"),
               f"Pickled, the argument tuples are {len(pickle.dumps(arguments))} bytes; "
               f"x alone would be {len(pickle.dumps([x for x, _, _ in arguments]))}.")
    lesson.save("results", results, "int64")
    lesson.end()


if __name__ == "__main__":
    run_program(main)
