"""notebook.py - Image filters: normalise, blur, find edges, in every image of a list.

Each image is a task of its own, which makes image processing the standard example for a pool.
The notebook writes the filters as Python loops over every pixel; then a task is long and a pool
of processes pays at once. The same filters as sums of shifted NumPy slices give the same edges in
a small part of the time. So this program measures both: how much a pool gains depends on how well
the task itself is written.

Notebook: part 3 (corrected: docs/errata.md). In C, with the same results: the .c file beside this
one. (The C program also reads pictures, --input; this one needs nothing but NumPy, which does
not, and so has random images only.)

Usage:
    python3 notebook.py [--images N] [--size N|HxW] [--python-images N]
                        [--workers LIST] [--repeats N] [--seed N] [--save DIR] [--json FILE]

The Python loops are slow, so only the first --python-images images (default 2; 0: none) go
through them; NumPy does all.

Watch for:
  - the time per image: loops against NumPy, beside what any pool gains;
  - the pool of processes with the NumPy filters: is it still worth it?

Try:
  - --images 8 --python-images 8 --workers 1,2,4: enough slow tasks for everyone
  - --size 1024: larger images, more work and more to send per task
"""
import argparse
import json
import multiprocessing
import os
import statistics
import sys
import threading
import time
from multiprocessing.pool import ThreadPool

# NumPy's BLAS library is not used here, but its threads would wait for work, busily at first, and
# be counted among the cores busy. It reads these when it is loaded.
for name in "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS":
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402 (not at the top, see above)

GAUSS = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16.0
SOBEL_X = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
SOBEL_Y = np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]])


# ---- The task, twice --------------------------------------------------------------------------

def preprocess_image(image):
    """The notebook's: (H, W) to (H-4, W-4), with a Python loop over the pixels."""
    image = (image - image.mean()) / (image.std() + 1e-8)

    height, width = image.shape
    blurred = np.zeros((height - 2, width - 2))
    for i in range(height - 2):
        for j in range(width - 2):
            blurred[i, j] = np.sum(image[i:i + 3, j:j + 3] * GAUSS)

    gradient_x = np.zeros((height - 4, width - 4))
    gradient_y = np.zeros((height - 4, width - 4))
    for i in range(height - 4):
        for j in range(width - 4):
            patch = blurred[i:i + 3, j:j + 3]
            gradient_x[i, j] = np.sum(patch * SOBEL_X)
            gradient_y[i, j] = np.sum(patch * SOBEL_Y)

    return np.sqrt(gradient_x**2 + gradient_y**2)


def filter_3x3(image, kernel):
    """(H, W) to (H-2, W-2): nine shifted copies of the whole image, weighted and added up."""
    height, width = image.shape[0] - 2, image.shape[1] - 2
    filtered = np.zeros((height, width))
    for i in range(3):
        for j in range(3):
            filtered += kernel[i, j] * image[i:i + height, j:j + width]
    return filtered


def preprocess_image_numpy(image):
    """The same in float64 and without a loop over the pixels."""
    image = image.astype(np.float64)
    image = (image - image.mean()) / (image.std() + 1e-8)
    blurred = filter_3x3(image, GAUSS)
    return np.sqrt(filter_3x3(blurred, SOBEL_X)**2 + filter_3x3(blurred, SOBEL_Y)**2)


# ---- The modes --------------------------------------------------------------------------------
# Each returns its results and four readings of the clock: at the begin, when all workers had
# started, when the results were there, when the pool was gone.

def run_sequential(task, images):
    begin = clock()
    results = [task(image) for image in images]
    end = clock()
    return results, (begin, begin, end, end)


def run_threads(task, images, workers):
    begin, ready = clock(), threading.Barrier(workers + 1)
    with ThreadPool(workers, initializer=ready.wait) as pool:
        ready.wait()  # until every worker waits here too
        started = clock()
        results = pool.map(task, images)
        finished = clock()
        pool.close()
        pool.join()  # so that the next pool is not forked while a thread still runs
    return results, (begin, started, finished, clock())


def run_processes(task, images, workers):
    begin, ready = clock(), multiprocessing.Barrier(workers + 1)
    with multiprocessing.Pool(workers, initializer=ready.wait) as pool:
        ready.wait()
        started = clock()
        results = pool.map(task, images)
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
    """The same edges, to the last bit."""
    return all(map(np.array_equal, results, expected))


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


def size(text):
    """'128' or '96x128' as (height, width)."""
    sides = text.lower().split("x")
    if len(sides) > 2:
        raise argparse.ArgumentTypeError(f"'{text:.40}' is neither N nor HxW")
    height, width = (sides * 2)[:2]
    return whole_number(5, 10**6)(height), whole_number(5, 10**6)(width)


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
    parser = Parser(description="Image filters as Python loops and in NumPy, in every mode.")
    parser.add_argument("--images", type=whole_number(1, 10**7), default=50)
    parser.add_argument("--size", type=size, default=(128, 128), metavar="N|HxW")
    parser.add_argument("--python-images", type=whole_number(0, 10**7), default=2, metavar="N",
                        help="images for the Python loops (0: none)")
    parser.add_argument("-w", "--workers", type=worker_list, default=[usable_cores()],
                        metavar="LIST", help="such as 1,2,4 (default: the usable cores)")
    parser.add_argument("-r", "--repeats", type=whole_number(1, 10**6), default=1)
    parser.add_argument("--seed", type=whole_number(0, 2**32 - 1), default=42)
    parser.add_argument("--save", metavar="DIR", help="write the arrays there as .npy")
    parser.add_argument("--json", metavar="FILE", help="write the figures there (- : print them)")
    args = parser.parse_args()
    # float32 images, float64 edges of a mode and of the one it is compared with, copies of both
    require_memory(parser, "--images, --size", 32 * args.images * args.size[0] * args.size[1])
    return args


def main():
    args, cores = arguments(), usable_cores()
    say = print if args.json != "-" else lambda *_, **__: None
    if args.save:
        os.makedirs(args.save, exist_ok=True)

    height, width = args.size
    np.random.seed(args.seed)
    images = [np.random.randn(height, width).astype(np.float32) for _ in range(args.images)]
    slow = images[:args.python_images]
    say(f"Edges of {height} x {width} images; Python {sys.version.split()[0]}, NumPy "
        f"{np.__version__}, {cores} cores usable, processes start by "
        f"{multiprocessing.get_start_method()}")

    rows, edges, per_image = [], {}, {"python_loops": None}
    for name, task, data in (("python_loops", preprocess_image, slow),
                             ("numpy_slices", preprocess_image_numpy, images)):
        if not data:
            continue
        base = measure(name, "sequential", 1, args.repeats, lambda: run_sequential(task, data))
        these, edges[name] = [base[0]], base[1]
        for workers in args.workers:
            for mode, run in (("threads", run_threads), ("processes", run_processes)):
                these.append(measure(name, mode, workers, args.repeats,
                                     lambda: run(task, data, workers), base)[0])
        per_image[name] = base[0]["wall_s"]["median"] / len(data)
        say(f"\n{name}: {len(data)} images, {per_image[name] * 1e3:.3g} ms each in sequence",
            *table(these), *(why(row, cores) for row in these[1:]), sep="\n")
        rows += these

    correct = True
    if slow:
        gain = max(row["speedup"] for row in rows if row["workload"] == "python_loops")
        ratio = per_image["python_loops"] / per_image["numpy_slices"]
        pairs = list(zip(edges["python_loops"], edges["numpy_slices"]))
        error = max(np.max(np.abs(a - b)) for a, b in pairs)
        correct = all(np.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in pairs)
        say(f"\nBetter code: NumPy needs 1/{ratio:.0f} of the loops' time per image. More cores: "
            f"the best pool made the loops {gain:.2f}x as fast.\n"
            f"Largest difference between the edges of both: {error:.1e}")

    if args.save:
        np.save(os.path.join(args.save, "images.npy"), np.array(images))
        np.save(os.path.join(args.save, "edges.npy"),
                np.array(edges["numpy_slices"]).astype(np.float32))
    report = {"chapter": "04_image_filters", "python": sys.version.split()[0],
              "numpy": np.__version__, "seed": args.seed, "cores": cores,
              "start_method": multiprocessing.get_start_method(),
              "parameters": {"images": args.images, "size": [height, width],
                             "python_images": len(slow)},
              "python_s_per_image": per_image["python_loops"],
              "numpy_s_per_image": per_image["numpy_slices"], "runs": rows}
    if not correct:
        sys.exit("notebook.py: the edges of the loops and of NumPy differ")
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
