#!/usr/bin/env python3
"""Compares common/kernels with the notebook's own code, run by NumPy in float64.

Usage: kernels_oracle.py PROGRAM     (PROGRAM is the compiled kernels_numbers.c)

Exit status: 0, 1 when a number differs, 77 (skipped) when NumPy is missing.
"""

import math
import os
import subprocess
import sys
import tempfile

from chapter_test import few, with_numpy

np = with_numpy()
if np is None:
    print(f"skipped: {sys.executable} has no NumPy")
    sys.exit(77)

TOLERANCE = {"rtol": 1e-5, "atol": 1e-5}
SEEDS = few([42, 2**32 - 1, 0, 1], 2)
SIZES = [(5, 5), (5, 6), (6, 5), (7, 100), (100, 7), (19, 20), (20, 21), (64, 64), (33, 529)]
SLICES_SIZES = few([(128, 128), (480, 640), (5, 1029), (1080, 517), (600, 1050)], 3)
failures = 0


def preprocess_image(image):
    """The notebook's, pixel by pixel."""
    image = (image - image.mean()) / (image.std() + 1e-8)
    kernel = np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16.0
    height, width = image.shape
    blurred = np.zeros((height - 2, width - 2))
    for i in range(height - 2):
        for j in range(width - 2):
            blurred[i, j] = np.sum(image[i:i + 3, j:j + 3] * kernel)

    sobel_x = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
    sobel_y = np.array([[-1, -2, -1], [0, 0, 0], [1, 2, 1]])
    gradient_x = np.zeros((height - 4, width - 4))
    gradient_y = np.zeros((height - 4, width - 4))
    for i in range(height - 4):
        for j in range(width - 4):
            patch = blurred[i:i + 3, j:j + 3]
            gradient_x[i, j] = np.sum(patch * sobel_x)
            gradient_y[i, j] = np.sum(patch * sobel_y)
    return np.sqrt(gradient_x**2 + gradient_y**2)


def preprocess_image_slices(image):
    """The same for larger images: the loops over pixels as shifted slices."""
    def filtered(image, kernel):
        height, width = image.shape[0] - 2, image.shape[1] - 2
        return sum(weight * image[i:i + height, j:j + width]
                   for (i, j), weight in np.ndenumerate(kernel))

    image = (image - image.mean()) / (image.std() + 1e-8)
    blurred = filtered(image, np.array([[1, 2, 1], [2, 4, 2], [1, 2, 1]]) / 16.0)
    sobel_y = np.array([[-1.0, -2, -1], [0, 0, 0], [1, 2, 1]])
    return np.sqrt(filtered(blurred, sobel_y.T)**2 + filtered(blurred, sobel_y)**2)


def images(random, height, width):
    """One image of each kind, by name."""
    normal = random.randn(height, width)
    ramp = np.add.outer(np.arange(height), 3 * np.arange(width)) / 7
    return {
        "normal": normal,
        "bytes": random.randint(0, 256, (height, width)),
        "mean 1000": 1000 + normal,
        "mean 1e5": 1e5 + normal,
        "mean -1e6": -1e6 + normal,
        "tiny": 1e-20 * normal,
        "ramp": ramp,
        "constant": np.full((height, width), 123.456),
    }


def compare(result, expected, what):
    global failures
    if result.shape != expected.shape:
        problem = f"shape {result.shape} instead of {expected.shape}"
    elif not np.allclose(result, expected, **TOLERANCE):
        problem = f"differs by {np.max(np.abs(result - expected)):.3g}"
    else:
        return
    failures += 1
    print(f"FAILED: {what}: {problem}")


def run_kernels(room, kernels, array):
    """The kernels' results on one float32 array."""
    source = os.path.join(room, "input.npy")
    targets = [os.path.join(room, f"{kernel}.npy") for kernel in kernels]
    np.save(source, array)
    triples = [word for pair in zip(kernels, targets) for word in (pair[0], source, pair[1])]
    subprocess.run([sys.argv[1], *triples], check=True)
    return {kernel: np.load(target) for kernel, target in zip(kernels, targets)}


def check_edges(room, seed, size, reference):
    for name, image in images(np.random.RandomState(seed), *size).items():
        image = image.astype(np.float32)
        expected = reference(image.astype(np.float64))
        for kernel, edges in run_kernels(room, ["edges", "edges_naive"], image).items():
            assert edges.dtype == np.float32, edges.dtype
            compare(edges, expected, f"{kernel} of {size}, seed {seed}, {name}")


def simple_preprocess(image):
    """The notebook's, section 4.1."""
    image = (image - image.mean()) / (image.std() + 1e-8)
    for _ in range(5):
        image = np.clip(image, -3, 3)
        image = (image - image.mean()) / (image.std() + 1e-8)
    return image


def check_samples(room, seed, size):
    kernels = ["clip_normalise", "clip_normalise_naive"]
    for name, image in images(np.random.RandomState(seed), *size).items():
        image = image.astype(np.float32)
        expected = simple_preprocess(image.astype(np.float64))
        if name == "constant":  # the mean of many equal doubles may be off by a bit, times 1e8
            expected = np.zeros_like(image)
        for kernel, result in run_kernels(room, kernels, image).items():
            if name != "constant" or kernel == "clip_normalise":
                compare(result, expected, f"{kernel} of {size}, seed {seed}, {name}")


def check_sums(room, seed):
    random = np.random.RandomState(seed)
    for shape in [(0,), (1,), (31,), (1000, 333), (10**6 + 1,)]:
        x = (random.randn(*shape) + 100).astype(np.float32)
        for kernel, total in run_kernels(room, ["sum", "sum_naive"], x).items():
            compare(total, np.sum(x.astype(np.float64)), f"{kernel} of {shape}, seed {seed}")
    check_squares(room, seed)
    for order in [0, 1, 2, 7, 200]:
        x = random.randn(order, order).astype(np.float32)
        expected = np.sum(np.dot(x.astype(np.float64), x.T.astype(np.float64)))
        for kernel, total in run_kernels(room, ["product_sum", "product_sum_naive"], x).items():
            compare(total, expected, f"{kernel} of order {order}, seed {seed}")


def forward(image, conv1, conv2, fc):
    """The notebook's CNN, corrected, in float64: (28, 28) to its 10 logits."""
    def convolve(x, weights):
        patches = np.lib.stride_tricks.as_strided(
            x, (x.shape[0], 3, 3, x.shape[1] - 2, x.shape[2] - 2), x.strides + x.strides[1:])
        return np.einsum("cijhw,ocij->ohw", patches, weights)

    def pool(x):
        x = np.maximum(0, x)
        return x.reshape(x.shape[0], x.shape[1] // 2, 2, x.shape[2] // 2, 2).max(axis=(2, 4))

    padded = np.pad(image, 1)[np.newaxis]
    return pool(convolve(pool(convolve(padded, conv1)), conv2)).ravel() @ fc


def check_cnn(room, seed):
    random = np.random.RandomState(seed)
    weights = [(random.randn(*shape).astype(np.float32) * 0.1)
               for shape in ((16, 1, 3, 3), (32, 16, 3, 3), (1152, 10))]
    for n in [0, 1, 2, 11]:
        images = random.randn(n, 28, 28).astype(np.float32)
        expected = [forward(image, *(w.astype(np.float64) for w in weights))
                    for image in images.astype(np.float64)]
        kernels = ["cnn_naive", "cnn_einsum", "cnn_im2col", "cnn_direct"]
        row = np.concatenate([array.ravel() for array in (*weights, images)])
        for kernel, logits in run_kernels(room, kernels, row).items():
            compare(logits, np.reshape(expected, (n, 10)), f"{kernel} of {n} images, seed {seed}")


# How far the kernels may be from the exact sum, relatively: of many squares, and of few.
SQUARES = {"sum_of_squares": 1e-13, "sum_of_squares_naive": 1e-11, "sum_of_squares_exact": 3e-16,
           "sum_of_squares_float": 1e-4, "sum_of_squares_float_naive": 0.02}


def check_squares(room, seed):
    global failures
    random = np.random.RandomState(seed)
    for n in [0, 1, 2, 63, 64, 65, 10000, 300007]:
        x = random.randn(n).astype(np.float32)
        exact = math.fsum(np.square(x, dtype=np.float64))
        for kernel, total in run_kernels(room, list(SQUARES), x).items():
            error = abs(float(total) - exact)
            if error > SQUARES[kernel] * exact:
                failures += 1
                print(f"FAILED: {kernel} of {n}, seed {seed}: off by {error}, exact is {exact}")


def main():
    with tempfile.TemporaryDirectory(prefix="kernels_oracle.") as room:
        for i, size in enumerate(SIZES):
            check_edges(room, SEEDS[i % len(SEEDS)], size, preprocess_image)
        for i, size in enumerate(SLICES_SIZES):
            for seed in SEEDS[i % 2::2]:
                check_edges(room, seed, size, preprocess_image_slices)
        for i, size in enumerate(SIZES + SLICES_SIZES):
            check_samples(room, SEEDS[i % len(SEEDS)], size)
        for seed in SEEDS:
            check_sums(room, seed)
            check_cnn(room, seed)
    print(f"{failures} failed, with NumPy {np.__version__}")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
