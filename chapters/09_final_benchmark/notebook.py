"""notebook.py - The final comparison: image preprocessing, a matrix product, inference.

Three workloads, each a list of tasks that do not need each other. The images are filtered twice,
with Python's loops over every pixel, as the notebook has it, and with NumPy; a task is one image.
The product A @ B is cut into bands of rows of A, the inference into batches of images, a task for
each worker. So each of them can run in a loop, on threads, and on processes.

Notebook: part 6, final_benchmark (corrected: docs/errata.md). In C, with the same results: the .c
files beside this one, which also climb the whole ladder from the Python loops to all cores.

Usage:
    python3 notebook.py [--images N] [--size N|HxW] [--order N] [--cnn-images N]
                        [--python-images N] [--loops-only]
                        [--workers LIST] [--repeats N] [--seed N] [--save DIR] [--json FILE]

The Python loops are slow, so only the first --python-images images (default 2; 0: none) go
through them; NumPy does all. With --loops-only nothing else is done, and that without a pool: it
is what the C program asks for.

Watch for:
  - the time per image: loops against NumPy, beside what any pool gains;
  - the product: it is BLAS that computes, so threads need no processes to run side by side;
  - what the processes pay for the matrices that are sent to them.

Try:
  - OPENBLAS_NUM_THREADS=2 python3 notebook.py: BLAS's own threads; who still wins with a pool?
  - --order 200 --cnn-images 10: less work, the same pools
  - --python-images 8 --workers 1,2,4: enough slow tasks for everyone
"""
import os
import sys
from multiprocessing import Pool
from multiprocessing.pool import ThreadPool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "common" / "lesson"))
from lesson import (CommandLine, Lesson, height_and_width,  # noqa: E402
                    run_program, whole_number)

# BLAS starts a thread for every core, in every process: pool and BLAS would fight for the cores,
# and even "sequential" would not be. It reads these when it is loaded; what you have set stays.
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
if not any(name in os.environ for name in BLAS_THREADS):
    os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))

import numpy as np  # noqa: E402 (not at the top, see above)

GAUSS = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16.0
SOBEL_X = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
SOBEL_Y = np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]])


# ---- 1. Image preprocessing, twice ------------------------------------------------------------

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


# ---- 2. Matrix product -------------------------------------------------------------------------

def rows_times_matrix(band_and_b):
    """Some rows of A, times B. Both travel with the task."""
    band, b = band_and_b
    return band @ b


# ---- 3. CNN inference --------------------------------------------------------------------------

class SimpleCNN:
    """The notebook's network, corrected: 28x28 images to 10 logits. At the top of the module, so it
    can be pickled, weights and all; it travels with every batch."""

    def __init__(self, in_channels=1, n_classes=10):
        scale = np.float32(0.1)
        self.conv1_w = np.random.randn(16, in_channels, 3, 3).astype(np.float32) * scale
        self.conv2_w = np.random.randn(32, 16, 3, 3).astype(np.float32) * scale
        self.fc_w = np.random.randn(32 * 6 * 6, n_classes).astype(np.float32) * scale

    @staticmethod
    def conv2d(x, w, padding=0):
        """Valid convolution of (N, C, H, W) with (O, C, kH, kW), after padding with zeros."""
        x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        n, c, height, width = x.shape
        kh, kw = w.shape[2:]
        patches = np.lib.stride_tricks.as_strided(
            x, shape=(n, c, kh, kw, height - kh + 1, width - kw + 1),
            strides=x.strides[:2] + x.strides[2:] + x.strides[2:], writeable=False)
        # the patches' letters in their own order; the notebook has nchwij, which does not fit
        return np.einsum("ncijhw,ocij->nohw", patches, w, optimize=True)

    @staticmethod
    def maxpool2d(x):
        n, c, height, width = x.shape
        return x.reshape(n, c, height // 2, 2, width // 2, 2).max(axis=(3, 5))

    def forward(self, x):
        """(N, 1, 28, 28) to (N, 10), in float64. conv1 pads, so the sides are 28, 28, 14, 12, 6;
        the notebook's 28, 26, 13, 11 cannot be pooled."""
        x = np.maximum(0, self.conv2d(x.astype(np.float64), self.conv1_w, padding=1))
        x = np.maximum(0, self.conv2d(self.maxpool2d(x), self.conv2_w))
        return self.maxpool2d(x).reshape(len(x), -1) @ self.fc_w


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
    parser = CommandLine("Image preprocessing, a matrix product and inference in every mode.")
    parser.add_argument("--images", type=whole_number(1, 10**7), default=50)
    parser.add_argument("--size", type=height_and_width(5, 10**6), default=(128, 128),
                        metavar="N|HxW")
    parser.add_argument("--order", type=whole_number(1, 10**6), default=2000)
    parser.add_argument("--cnn-images", type=whole_number(1, 10**7), default=100)
    parser.add_argument("--python-images", type=whole_number(0, 10**7), default=2, metavar="N",
                        help="images for the Python loops (0: none)")
    parser.add_argument("--loops-only", action="store_true",
                        help="the Python loops and nothing else, in sequence")
    args = parser.parse_args()
    if args.loops_only:
        args.images = args.python_images = min(args.python_images, args.images)
    # float32 images, float64 edges of a mode and of the one it is compared with, copies of both
    parser.require_memory("--images, --size", 32 * args.images * args.size[0] * args.size[1])
    parser.require_memory("--order", 64 * args.order**2)
    # an image, and what the layers make of it
    parser.require_memory("--cnn-images", 2 * 10**5 * args.cnn_images)
    args.python_images = min(args.python_images, args.images)
    return args


def close(results, expected):
    """Equal but for the order in which BLAS adds, which may depend on the shape and the address."""
    return len(results) == len(expected) and all(
        a.shape == b.shape and np.allclose(a, b, rtol=1e-9, atol=1e-9)
        for a, b in zip(results, expected))


def same_edges(results, expected):
    """To the last bit."""
    return all(map(np.array_equal, results, expected))


def parts(array, most):
    """The array in at most so many parts, none of them empty."""
    return np.array_split(array, min(most, len(array)))


def measure(lesson, name, title, task, data, agree, **about):
    """Measures in every mode and prints the table. Returns the results, the seconds for one of the
    tasks in sequence, and the best speedup."""
    rows, results = lesson.measure(name, (run_sequential, run_threads, run_processes), task, data,
                                   agree, **about)
    lesson.say(f"\n{name}: {title}", *lesson.table(rows),
               *lesson.why(rows, one_busy="they mostly took turns under the GIL",
                           several_busy="NumPy lets go of the GIL while it computes"))
    return (results, rows[0]["wall_s"]["median"] / len(data),
            max(row["speedup"] for row in rows))


def measure_loops(lesson, images):
    """What the C program asks for: the time, and a sum for each image to compare the edges with."""
    report = {"python_s_per_image": None, "edges_sum": []}
    if images:
        rows, edges = lesson.measure("python_loops", (run_sequential,), preprocess_image, images,
                                     same_edges)
        report = {"python_s_per_image": rows[0]["wall_s"]["median"] / len(images),
                  "edges_sum": [float(np.sum(image)) for image in edges]}
        lesson.say("", *lesson.table(rows))
    return report


def main():
    args = command_line()
    lesson = Lesson("09_final_benchmark", args)
    np.random.seed(args.seed)
    images = [np.random.randn(*args.size).astype(np.float32) for _ in range(args.images)]
    lesson.say(f"{lesson.environment}; BLAS threads: "
               + ", ".join(f"{n}={os.environ[n]}" for n in BLAS_THREADS if n in os.environ))
    if args.loops_only:
        lesson.end(**measure_loops(lesson, images))
        return
    a, b = np.random.randn(args.order, args.order), np.random.randn(args.order, args.order)
    model = SimpleCNN()
    cnn_images = np.random.randn(args.cnn_images, 1, 28, 28).astype(np.float32)
    most = max(args.workers)

    loops = loops_s = None
    if args.python_images:
        loops, loops_s, gain = measure(
            lesson, "python_loops", f"edges of {args.python_images} images, pixel by pixel",
            preprocess_image, images[:args.python_images], same_edges,
            in_c="ladder, naive", sample=True)
    edges, numpy_s, _ = measure(lesson, "numpy_slices", f"edges of {args.images} images in NumPy",
                                preprocess_image_numpy, images, same_edges, in_c="images")
    bands, batches = parts(a, most), parts(cnn_images, most)
    c, _, _ = measure(lesson, "product",
                      f"A @ B, {args.order} x {args.order}, in {len(bands)} bands of A's rows",
                      rows_times_matrix, [(band, b) for band in bands], close)
    logits, _, _ = measure(lesson, "inference",
                           f"{args.cnn_images} images in {len(batches)} batches", model.forward,
                           batches, close)

    for name, array, dtype in (
            ("images", images, "float32"), ("edges", edges, "float32"),
            ("matmul_a", a, "float64"), ("matmul_b", b, "float64"),
            ("matmul_c", np.concatenate(c), "float64"), ("conv1_w", model.conv1_w, "float32"),
            ("conv2_w", model.conv2_w, "float32"), ("fc_w", model.fc_w, "float32"),
            ("cnn_images", cnn_images, "float32"), ("logits", np.concatenate(logits), "float32")):
        lesson.save(name, array, dtype)
    if loops:
        lesson.say(f"\nBetter code: NumPy needs 1/{loops_s / numpy_s:.0f} of the loops' time per "
                   f"image. More cores: the best pool made the loops {gain:.2f}x as fast.")
        if not all(np.allclose(x, y, rtol=1e-5, atol=1e-5) for x, y in zip(loops, edges)):
            sys.exit("notebook.py: the edges of the loops and of NumPy differ")
    lesson.end(python_s_per_image=loops_s, numpy_s_per_image=numpy_s)


if __name__ == "__main__":
    run_program(main)
