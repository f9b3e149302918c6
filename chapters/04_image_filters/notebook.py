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
import os
import sys
from multiprocessing import Pool
from multiprocessing.pool import ThreadPool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "common" / "lesson"))
from lesson import (CommandLine, Lesson, height_and_width,  # noqa: E402
                    run_program, whole_number)

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
# start(Pool, workers) is Pool(workers), only that it returns when every worker has started; it
# takes the times of the start, of the block under `with`, and of the pool's end.

def run_sequential(task, images):
    return [task(image) for image in images]


def run_threads(task, images, workers, start):
    with start(ThreadPool, workers) as pool:
        return pool.map(task, images)


def run_processes(task, images, workers, start):
    with start(Pool, workers) as pool:
        return pool.map(task, images)


# ---- The program ------------------------------------------------------------------------------

def command_line():
    parser = CommandLine("Image filters as Python loops and in NumPy, in every mode.")
    parser.add_argument("--images", type=whole_number(1, 10**7), default=50)
    parser.add_argument("--size", type=height_and_width(5, 10**6), default=(128, 128),
                        metavar="N|HxW")
    parser.add_argument("--python-images", type=whole_number(0, 10**7), default=2, metavar="N",
                        help="images for the Python loops (0: none)")
    args = parser.parse_args()
    # float32 images, float64 edges of a mode and of the one it is compared with, copies of both
    parser.require_memory("--images, --size", 32 * args.images * args.size[0] * args.size[1])
    args.python_images = min(args.python_images, args.images)
    return args


def same_edges(results, expected):
    """To the last bit."""
    return all(map(np.array_equal, results, expected))


def main():
    args = command_line()
    lesson = Lesson("04_image_filters", args)
    height, width = args.size
    np.random.seed(args.seed)
    images = [np.random.randn(height, width).astype(np.float32) for _ in range(args.images)]
    lesson.say(f"Edges of {height} x {width} images; {lesson.environment}")

    edges, per_image, gain = {}, {"python_loops": None}, {}
    for name, in_c, task, data in (
            ("python_loops", "naive", preprocess_image, images[:args.python_images]),
            ("numpy_slices", "fused", preprocess_image_numpy, images)):
        if not data:
            continue
        rows, edges[name] = lesson.measure(
            name, (run_sequential, run_threads, run_processes), task, data, same_edges,
            in_c=in_c, sample=len(data) < args.images)
        per_image[name] = rows[0]["wall_s"]["median"] / len(data)
        gain[name] = max(row["speedup"] for row in rows)
        lesson.say(f"\n{name}: {len(data)} images, {per_image[name] * 1e3:.3g} ms each in sequence",
                   *lesson.table(rows),
                   *lesson.why(rows, one_busy="they mostly took turns under the GIL",
                               several_busy="NumPy lets go of the GIL while it computes"))

    lesson.save("images", images, "float32")
    lesson.save("edges", edges["numpy_slices"], "float32")
    if args.python_images:
        ratio = per_image["python_loops"] / per_image["numpy_slices"]
        pairs = list(zip(edges["python_loops"], edges["numpy_slices"]))
        error = max(np.max(np.abs(a - b)) for a, b in pairs)
        lesson.say(f"\nBetter code: NumPy needs 1/{ratio:.0f} of the loops' time per image. More "
                   f"cores: the best pool made the loops {gain['python_loops']:.2f}x as fast.",
                   f"Largest difference between the edges of both: {error:.1e}")
        if not all(np.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in pairs):
            sys.exit("notebook.py: the edges of the loops and of NumPy differ")
    lesson.end(python_s_per_image=per_image["python_loops"],
               numpy_s_per_image=per_image["numpy_slices"])


if __name__ == "__main__":
    run_program(main)
