"""notebook.py - A large array for several processes: copied whole, copied in parts, or shared.

The sum of the squares of ten million numbers, row by row. A pool has to get the array to its
workers: as an argument, whole, which pickles all of it for each task; as an argument, only the
rows of the task; or in shared memory, of which the task is sent the name, and attaches to it.
Threads see the array anyway.

Notebook: part 5 (corrected: docs/errata.md). In C, with the same results: the .c file beside this
one.

Usage:
    python3 notebook.py [--shape N|DxHxW]
                        [--workers LIST] [--repeats N] [--seed N] [--save DIR] [--json FILE]

Watch for:
  - the bytes pickled and the time of the map, way by way;
  - the total in float32: what one accumulator loses, and what NumPy's order of adding saves;
  - the two errors at the end, which the notebook would have met.

Try:
  - --workers 1,2,3,7: is every row in the total?
  - --shape 100x100x100, then 4000x100x100: which ways change their order?
"""
import functools
import math
import os
import pickle
import sys
from multiprocessing import Pool, shared_memory
from multiprocessing.pool import ThreadPool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "common" / "lesson"))
from lesson import CommandLine, Lesson, run_program, shape  # noqa: E402

# NumPy's BLAS library is not used here, but its threads would wait for work, busily at first, and
# be counted among the cores busy. It reads these when it is loaded.
for variable in "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS":
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402 (not at the top, see above)


# ---- The tasks: the sums of the rows first .. end-1 ---------------------------------------------

def sum_rows(rows):
    """The sum of the squares of each row. The data are float32, the squares and sums float64."""
    return [float(np.sum(np.square(row, dtype=np.float64))) for row in rows]


def sum_range(array, first, end):
    return sum_rows(array[first:end])


def sum_shared_range(name, dimensions, first, end):
    """Wrong: to send an array whose buffer is shared memory. Pickle would copy its contents.
    Right: to send the memory's name."""
    memory = shared_memory.SharedMemory(name=name)
    array = np.ndarray(dimensions, dtype=np.float32, buffer=memory.buf)
    sums = sum_rows(array[first:end])
    del array  # or the memory could not be closed
    memory.close()
    return sums


# ---- The modes --------------------------------------------------------------------------------
# start(Pool, workers) is Pool(workers), only that it returns when every worker has started; it
# takes the times of the start, of the block under `with`, and of the pool's end.

def share_out(rows, workers):
    """Wrong: rows // workers for each; rows % workers of them are in no range then.
    Right: each range begins where the one before ends, and the last ends with the rows."""
    count = min(rows, workers)
    return [(i * rows // count, (i + 1) * rows // count) for i in range(count)]


def flat(lists):
    return [value for values in lists for value in values]


def run_sequential(task, array):
    return task(array, 0, len(array))


def run_threads(task, array, workers, start):
    arguments = [(array, *rows) for rows in share_out(len(array), workers)]
    with start(ThreadPool, workers) as pool:
        return flat(pool.starmap(task, arguments))


def run_whole(task, array, workers, start):
    arguments = [(array, *rows) for rows in share_out(len(array), workers)]
    with start(Pool, workers) as pool:
        return flat(pool.starmap(task, arguments, chunksize=1))


def run_parts(task, array, workers, start):
    arguments = [(array[first:end], 0, end - first)
                 for first, end in share_out(len(array), workers)]
    with start(Pool, workers) as pool:
        return flat(pool.starmap(task, arguments, chunksize=1))


def run_shared(name, task, array, workers, start):
    """The array lies in the shared memory of this name."""
    arguments = [(name, array.shape, *rows) for rows in share_out(len(array), workers)]
    with start(Pool, workers) as pool:
        return flat(pool.starmap(sum_shared_range, arguments, chunksize=1))


# ---- What is measured besides -----------------------------------------------------------------

def measure_shared(lesson, array):
    """A copy of the array in shared memory, which is given back whatever happens."""
    memory = shared_memory.SharedMemory(create=True, size=array.nbytes)
    try:
        shared = np.ndarray(array.shape, dtype=array.dtype, buffer=memory.buf)
        shared[:] = array
        way = functools.partial(run_shared, memory.name)
        rows, _ = lesson.measure("shared", (run_sequential, run_threads, way), sum_range, shared,
                                 in_c="sum_of_squares", transfer="shared")
    finally:
        memory.unlink()  # only who has created it; else it stays in /dev/shm when the program ends
    del shared  # memory that an array still uses cannot be closed
    memory.close()
    return rows


def pickled_bytes(name, array, workers):
    """What the pool pickles of the array for each way, without the few bytes around it."""
    return {"whole": min(len(array), workers) * array.nbytes, "parts": array.nbytes,
            "shared": 0}[name]


def float_against_double(array):
    """The total in several ways: name -> value. The first is exact."""
    squares = np.square(array).ravel()
    return {"exactly": math.fsum(value for row in array for value in
                                 np.square(row, dtype=np.float64).ravel().tolist()),
            "one float32": float(np.add.accumulate(squares, out=squares)[-1]),
            "np.sum, float32": float(np.sum(np.square(array))),
            "np.sum, float64": float(np.sum(np.square(array, dtype=np.float64)))}


def one_argument(args):
    array, first, end = args
    return sum_range(array, first, end)


def mistakes(array):
    """The notebook's two mistakes, each of which ends in an error: the error's text."""
    def worker_copy(args):  # Wrong: no other process finds it. Right: at the top of the file.
        return one_argument(args)

    with Pool(1) as pool:
        for task in worker_copy, one_argument:  # Wrong: starmap. Right: map, for one argument.
            try:
                pool.starmap(task, [(array[:1], 0, 1)])
            except (AttributeError, TypeError, pickle.PicklingError) as error:
                yield f"{type(error).__name__}: {error}"
            else:
                sys.exit("notebook.py: the notebook's mistake went unnoticed")


# ---- The program ------------------------------------------------------------------------------

def command_line():
    parser = CommandLine("The sum of the squares of a large array, copied or shared.")
    parser.add_argument("--shape", type=shape(3, 1, 2**30), default=(1000, 100, 100),
                        metavar="N|DxHxW")
    args = parser.parse_args()
    # twice here, once as float64 when it is made, pickled and once more for each worker
    parser.require_memory("--shape", math.prod(args.shape) * 4 * (4 + 2 * max(args.workers)))
    return args


def main():
    args = command_line()
    lesson = Lesson("07_shared_memory", args)
    np.random.seed(args.seed)
    array = np.random.randn(*args.shape).astype(np.float32)
    lesson.say(f"Sum of the squares of {args.shape[0]} rows, {array.nbytes / 1e6:.4g} MB; "
               f"{lesson.environment}")

    measured = {}
    for name, way, in_c in (("whole", run_whole, "whole_array_to_each"),
                            ("parts", run_parts, "each_row_copied")):
        measured[name], sums = lesson.measure(name, (run_sequential, run_threads, way), sum_range,
                                              array, in_c=in_c)
    measured["shared"] = measure_shared(lesson, array)
    for name, rows in measured.items():
        for row in rows:
            if row["mode"] == "processes":
                row["bytes_pickled"] = pickled_bytes(name, array, row["workers"])
        sent = ", ".join(f"{row['bytes_pickled'] / 1e6:.4g} MB ({row['workers']} workers)"
                         for row in rows if row["mode"] == "processes")
        lesson.say(f"\n{name}: of the array is pickled {sent}", *lesson.table(rows),
                   *lesson.why(rows, one_busy="they mostly took turns under the GIL",
                               several_busy="NumPy lets go of the GIL while it computes"))

    total = math.fsum(sums)
    totals = float_against_double(array)
    exact = totals["exactly"]
    lesson.say("\nOne total for the whole array, and its relative error",
               *(f"{name:<16}{value:20.6f}{value / exact - 1:10.1e}"
                 for name, value in totals.items()),
               "\nTwo mistakes of the notebook", *mistakes(array))
    lesson.save("array", array, "float32")
    lesson.save("total", [total], "float64")
    lesson.end(relative_errors={name: value / exact - 1 for name, value in totals.items()})


if __name__ == "__main__":
    run_program(main)
