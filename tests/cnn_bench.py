"""cnn_bench.py - the direct convolution of chapter 6 beside NumPy's einsum, in one run.

Usage: cnn_bench.py CHAPTERS/06_inference/inference SOURCE_ROOT [--rounds N] [--images N]

Both compute the notebook's CNN for the same batch of images, on one core: NumPy by the corrected
section of the notebook (notebook.py's `forward`, einsum without optimize), C by the direct version.
They take turns, a disturbance hits both, and the fastest round of each counts. It decides nothing.
"""
import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

for name in "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS":
    os.environ[name] = "1"
try:
    import numpy as np
except ImportError:
    debian = "/usr/bin/python3"  # the one that python3-numpy belongs to
    if os.path.realpath(sys.executable) != os.path.realpath(debian) and os.path.exists(debian):
        os.execv(debian, [debian, *sys.argv])
    print(f"skipped: {sys.executable} has no NumPy")
    sys.exit(77)


def direct(program, images):
    """Seconds for an image: all versions are measured, the batch of the direct one counts."""
    ran = subprocess.run([program, "--json=-", f"--images={images}", "--mode=sequential"],
                         check=True, stdout=subprocess.PIPE)
    row, = (row for row in json.loads(ran.stdout)["runs"] if row["workload"] == "direct, batched")
    return row["wall_s"]["min"] / row["tasks"]


def numpy(notebook, batch, optimize):
    begin = time.perf_counter()
    notebook.forward(batch, *notebook.kept, optimize=optimize)
    return (time.perf_counter() - begin) / len(batch)


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("program")
    parser.add_argument("source", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=100)
    args = parser.parse_args()
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(args.source / "chapters" / "06_inference"))
    import notebook

    np.random.seed(42)
    notebook.keep_weights(*notebook.random_weights())
    batch = np.random.randn(args.images, 1, 28, 28).astype(np.float32)
    times = {"direct": [], "einsum": [], "einsum, optimize=True": []}
    for _ in range(args.rounds):
        times["direct"].append(direct(args.program, args.images))
        times["einsum"].append(numpy(notebook, batch, False))
        times["einsum, optimize=True"].append(numpy(notebook, batch, True))
    print(f"the CNN for a batch of {args.images} images on one core, NumPy {np.__version__}; "
          f"fastest of {args.rounds} rounds [slowest]")
    for name, seconds in times.items():
        print(f"{name:<22}{min(seconds) * 1e6:10.2f} us an image [{max(seconds) * 1e6:.2f}]"
              f"{min(seconds) / min(times['direct']):10.1f} times the direct version's time")


if __name__ == "__main__":
    main()
