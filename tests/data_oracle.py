#!/usr/bin/env python3
"""Compares common/data with NumPy, bit for bit: random numbers, and .npy files both ways.

Usage: data_oracle.py PROGRAM     (PROGRAM is the compiled data_numbers.c)

The known checksums are compared in any case; without NumPy the rest is skipped (status 77).
"""

import hashlib
import os
import subprocess
import sys
import tempfile

from chapter_test import with_numpy

np = with_numpy()

SEEDS = [0, 1, 2, 42, 12345, 2**31, 2**32 - 1]
ROOM = tempfile.TemporaryDirectory(prefix="data_oracle.")
failures = 0


def in_room(name):
    return os.path.join(ROOM.name, name)


def check(true, what):
    global failures
    if not true:
        failures += 1
        print("FAILED:", what)


def run(*arguments):
    return subprocess.run([sys.argv[1], *map(str, arguments)], capture_output=True, text=True)


def draw(seed, draws):
    """The files of `draws`, a list of (kind, count), all from one generator."""
    paths = [in_room(f"{i}.npy") for i in range(len(draws))]
    triples = [x for (kind, count), path in zip(draws, paths) for x in (kind, count, path)]
    result = run(seed, *triples)
    check(result.returncode == 0, f"seed {seed}: {result.stderr}")
    return paths


def elements(path):
    """The bytes behind the header of a .npy file of version 1.0."""
    with open(path, "rb") as file:
        content = file.read()
    return content[10 + int.from_bytes(content[8:10], "little"):]


def check_checksums():
    """Of randn(128, 128) in float32 and of permutation(60000), each with seed 42."""
    for kind, count, expected in [
        ("normal_float", 128 * 128, "2eadfcdf273c3c23a3074f2c01600a7d2de74a1650577544b3a9d8febf9138f7"),
        ("permutation", 60000, "f5a3b57ab9891bd94079690ff2951e2cf7f8773c601e091724e508c92ff9523e"),
    ]:
        (path,) = draw(42, [(kind, count)])
        check(hashlib.sha256(elements(path)).hexdigest() == expected, f"checksum of {kind} {count}")


def numpy_draw(kind, count):
    if kind == "normal":
        return np.random.randn(count)
    if kind == "normal_float":
        return np.random.randn(count).astype(np.float32)
    if kind == "double":
        return np.random.random_sample(count)
    if kind == "permutation":
        return np.random.permutation(count).astype(np.int64)
    _, key, position, has_gauss, _ = np.random.get_state()
    return np.concatenate([key.astype(np.int64), [position, has_gauss]])


def check_random_numbers():
    sequences = [
        [("normal", 1000001), ("permutation", 60000), ("state", 626)],
        [("normal", 1), ("normal", 1), ("normal", 2), ("normal", 3), ("normal_float", 4), ("state", 626)],
        [("normal_float", 3), ("permutation", 10), ("normal_float", 2), ("normal", 5), ("state", 626)],
        [("normal", 0), ("permutation", 0), ("permutation", 1), ("permutation", 2), ("state", 626)],
        [("double", 623), ("normal", 7), ("double", 1), ("normal_float", 12345), ("state", 626)],
        [("permutation", n) for n in (3, 255, 256, 257, 65535, 65536, 65537)] + [("state", 626)],
    ]
    for seed in SEEDS:
        for sequence in sequences:
            paths = draw(seed, sequence)
            np.random.seed(seed)
            for (kind, count), path in zip(sequence, paths):
                expected, got = numpy_draw(kind, count), np.load(path)
                same = got.dtype == expected.dtype and got.tobytes() == expected.tobytes()
                check(same, f"seed {seed}: {kind} {count} of {sequence}")


def check_philox():
    most = 2**64 - 1
    for key in ((0, 0), (42, 3), (most, 1), (12345678901234567890, most)):
        for counter in ((0, 0, 0, 0), (0, 7, 0, 0), (1, 2, 3, 4), (most - 2, 5, 6, 7),
                        (most, most, most, 0), (most, most, most, most)):
            for count in (0, 1, 4, 5, 4097):
                kind = ",".join(map(str, ("philox", *key, *counter)))
                (path,) = draw(0, [(kind, count)])
                expected = np.random.Philox(key=np.array(key, np.uint64),
                                            counter=np.array(counter, np.uint64)).random_raw(count)
                check(np.load(path).view(np.uint64).tobytes()
                      == np.asarray(expected, np.uint64).tobytes(), f"{kind} {count}")


def check_npy_files():
    """NumPy writes, the program reads and writes, NumPy reads."""
    shapes = [(), (0,), (1,), (7,), (3, 5), (2, 0, 3), (2, 3, 4, 5), (1, 2, 1, 2, 1, 2, 1, 3)]
    source, target = in_room("source.npy"), in_room("target.npy")
    for dtype in ("<f4", "<f8", "<i8", "|u1"):
        for shape in shapes:
            array = (np.random.random_sample(shape) * 200).astype(dtype)
            np.save(source, array)
            result = run("copy", source, target)
            check(result.returncode == 0, f"copy of {dtype} {shape}: {result.stderr}")
            copy = np.load(target)
            check(copy.dtype == array.dtype and copy.shape == array.shape
                  and copy.tobytes() == array.tobytes(), f"{dtype} {shape} came back changed")
            check(elements(target) == elements(source), f"{dtype} {shape}: other bytes")
    pixels = np.load(target, mmap_mode="r")  # needs the header's alignment
    check(pixels.shape == shapes[-1], "memory map")


def check_refused_files():
    grid = np.arange(6.0).reshape(2, 3)
    path = in_room("refused.npy")
    for what, array, version in [
        ("Fortran order", np.asfortranarray(grid), (1, 0)),
        ("big endian", grid.astype(">f8"), (1, 0)),
        ("version 2", grid, (2, 0)),
        ("version 3", grid, (3, 0)),
        ("complex numbers", grid.astype(complex), (1, 0)),
        ("bool", grid > 2, (1, 0)),
        ("text", np.array(["a", "bc"]), (1, 0)),
        ("a structured type", np.zeros(3, dtype=[("x", "<f4"), ("y", "<i8")]), (1, 0)),
        ("nine dimensions", np.zeros((1,) * 9), (1, 0)),
    ]:
        with open(path, "wb") as file:
            np.lib.format.write_array(file, array, version=version)
        result = run("copy", path, in_room("never.npy"))
        check(result.returncode == 1 and path in result.stderr, f"{what}: {result.stderr!r}")
        check(not os.path.exists(in_room("never.npy")), f"{what}: something was written")


check_checksums()
if np is not None:
    check_random_numbers()
    check_philox()
    check_npy_files()
    check_refused_files()
    print(f"NumPy {np.__version__}, {len(SEEDS)} seeds: {failures or 'no'} differences")
ROOM.cleanup()
if failures:
    sys.exit(1)
if np is None:
    print("SKIPPED: this needs Python with NumPy (python3-numpy); the checksums alone are right")
    sys.exit(77)
