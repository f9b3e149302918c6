"""notebook.py - Inference: one image at a time, in a pool, or all images as one batch.

A small CNN turns each image into ten numbers. Its weights are 65 kB, an image is 3 kB; a pool that
gets the weights as an argument of every task, as the notebook has it, pickles them for every image.
A pool's initializer can give them to each worker once. And a batch needs no pool: the same
functions take any number of images in one call. The weights are random: nothing is recognised.

The notebook says that a batch wins "because NumPy uses BLAS threads". np.einsum does not call BLAS,
unless told to by optimize=True; both are measured.

Notebook: part 4.2 (corrected: docs/errata.md). In C, with the same results: the .c file beside
this one.

Usage:
    python3 notebook.py [--images N]
                        [--workers LIST] [--repeats N] [--seed N] [--save DIR] [--json FILE]

Watch for:
  - is a batch faster than one image at a time, and than a pool? With and without optimize=True?
  - the pools: what is the difference between sending the weights always and once?

Try:
  - --images 1000: does the pool's start still matter?
  - OPENBLAS_NUM_THREADS=4 python3 notebook.py: which rows change?
"""
import os
import pickle
import sys
from multiprocessing import Pool
from multiprocessing.pool import ThreadPool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "common" / "lesson"))
from lesson import CommandLine, Lesson, run_program, whole_number  # noqa: E402

# One BLAS thread in every process, or a pool's processes and their BLAS threads would fight for the
# cores. BLAS reads these variables when it is loaded; what you have set yourself stays.
BLAS_THREADS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
if not any(name in os.environ for name in BLAS_THREADS):
    os.environ.update(dict.fromkeys(BLAS_THREADS, "1"))

import numpy as np  # noqa: E402 (not at the top, see above)


# ---- The network ------------------------------------------------------------------------------

def random_weights(in_channels=1, n_classes=10):
    return (np.random.randn(16, in_channels, 3, 3).astype(np.float32) * 0.1,
            np.random.randn(32, 16, 3, 3).astype(np.float32) * 0.1,
            np.random.randn(32 * 6 * 6, n_classes).astype(np.float32) * 0.1)


def conv2d(x, w, optimize):
    """(N, C, H, W) and (O, C, kH, kW) to (N, O, H-kH+1, W-kW+1). The patches are x itself, seen
    through other strides: nothing is copied. (optimize=True copies them, for BLAS.)"""
    n, c, height, width = x.shape
    kernel_height, kernel_width = w.shape[2:]
    patches = np.lib.stride_tricks.as_strided(
        x, (n, c, kernel_height, kernel_width, height - kernel_height + 1,
            width - kernel_width + 1), x.strides[:2] + x.strides[2:] + x.strides[2:])
    return np.einsum("ncijhw,ocij->nohw", patches, w, optimize=optimize)


def relu(x):
    return np.maximum(0, x)


def maxpool2d(x):
    n, c, height, width = x.shape
    return x.reshape(n, c, height // 2, 2, width // 2, 2).max(axis=(3, 5))


def forward(x, conv1_w, conv2_w, fc_w, optimize=False):
    """(N, 1, 28, 28) to (N, 10). The first convolution is padded, so that all sizes are even."""
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    x = maxpool2d(relu(conv2d(x, conv1_w, optimize)))  # (N, 16, 14, 14)
    x = maxpool2d(relu(conv2d(x, conv2_w, optimize)))  # (N, 32, 6, 6)
    return x.reshape(x.shape[0], -1) @ fc_w


# ---- The tasks --------------------------------------------------------------------------------

def inference_with_weights(arguments):
    image, *weights = arguments
    return forward(image[np.newaxis], *weights)[0]


def keep_weights(*weights):
    """In the program and, as a pool's initializer, in each worker."""
    global kept
    kept = weights


def inference(image):
    return forward(image[np.newaxis], *kept)[0]


def inference_batched(batch):
    return forward(batch, *kept)


def inference_batched_optimized(batch):
    return forward(batch, *kept, optimize=True)


# ---- The modes --------------------------------------------------------------------------------
# start(Pool, workers) is Pool(workers), only that it returns when every worker has started; it
# takes the times of the start, of the block under `with`, and of the pool's end.

def run_sequential(task, data):
    return [task(image) for image in data]


def run_threads(task, data, workers, start):
    with start(ThreadPool, workers) as pool:
        return pool.map(task, data)


def run_processes(task, data, workers, start):
    with start(Pool, workers) as pool:
        return pool.map(task, data)


def run_processes_weights_once(task, data, workers, start):
    with start(Pool, workers, keep_weights, kept) as pool:
        return pool.map(task, data)


# ---- The program ------------------------------------------------------------------------------

def command_line():
    parser = CommandLine("Inference with a small CNN: image by image, in pools, and as a batch.")
    parser.add_argument("--images", type=whole_number(1, 10**7), default=100)
    args = parser.parse_args()
    # the padded images and the maps of both layers in float64, and what is pickled
    parser.require_memory("--images", 800000 * args.images)
    return args


def same_logits(results, expected):
    """To the last bit."""
    return all(map(np.array_equal, results, expected))


def main():
    args = command_line()
    lesson = Lesson("06_inference", args)
    np.random.seed(args.seed)
    weights = random_weights()
    images = [np.random.randn(1, 28, 28).astype(np.float32) for _ in range(args.images)]
    batch = np.array(images)
    keep_weights(*weights)
    lesson.say(f"{lesson.environment}; BLAS threads: "
               + ", ".join(f"{n}={os.environ[n]}" for n in BLAS_THREADS if n in os.environ))

    per_image, results, best = {}, {}, {}
    for name, runs, task, data, title in (
            ("model_each_time", (run_sequential, run_threads, run_processes),
             inference_with_weights, [(image, *weights) for image in images],
             "one image at a time; the weights are an argument of every task"),
            ("model_once", (run_sequential, None, run_processes_weights_once), inference, images,
             "one image at a time; the weights are sent to each process once"),
            ("batched", (run_sequential, None, None), inference_batched, [batch],
             "all images in one call"),
            ("batched_optimized", (run_sequential, None, None), inference_batched_optimized,
             [batch], "all images in one call, einsum with optimize=True, which calls BLAS")):
        rows, results[name] = lesson.measure(
            name, runs, task, data, same_logits, tasks=args.images,
            in_c="im2col, batched" if name == "batched_optimized" else name)
        per_image[name] = rows[0]["wall_s"]["median"] / args.images
        best[name] = min(row["wall_s"]["median"] for row in rows) / args.images
        lesson.say(f"\n{name}: {title}; {per_image[name] * 1e6:.4g} us an image",
                   *lesson.table(rows),
                   *lesson.why(rows, one_busy="they mostly took turns under the GIL",
                               several_busy="NumPy lets go of the GIL while it computes"))

    size = len(pickle.dumps((images[0], *weights)))
    lesson.say(f"\nA task's arguments, pickled: {size} bytes with the weights, "
               f"{len(pickle.dumps(images[0]))} without.")
    for name in "batched", "batched_optimized":
        lesson.say(f"{name}: {per_image['model_once'] / per_image[name]:.3g} times as fast as one "
                   f"image at a time, {best['model_once'] / per_image[name]:.3g} times as fast as "
                   "the faster of that and a pool that has started")

    # What is saved, and compared with C, is computed in float64.
    logits = forward(batch.astype(np.float64), *(w.astype(np.float64) for w in weights))
    error = max(np.max(np.abs(results[name][0] - logits))
                for name in ("batched", "batched_optimized"))
    lesson.say(f"float32 against float64: the logits differ by at most {error:.1e}")
    if not error < 1e-4:
        sys.exit("notebook.py: the logits of the batches and of float64 differ")
    for name, array in zip(("conv1_w", "conv2_w", "fc_w"), weights):
        lesson.save(name, array, "float32")
    lesson.save("images", batch, "float32")
    lesson.save("logits", logits, "float32")
    lesson.end(s_per_image=per_image, bytes_pickled=size)


if __name__ == "__main__":
    run_program(main)
