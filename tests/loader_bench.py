#!/usr/bin/env python3
"""loader_bench.py - the loader of chapter 5 and PyTorch's DataLoader, measured side by side.

Usage: python3 tests/loader_bench.py DATA_LOADING [--rounds N] [--samples N] [--size N]
                                     [--batch-size N] [--json FILE]

DATA_LOADING is chapter 5's program in the build directory. Its sequential epoch, on one core, stands
against epochs of PyTorch's DataLoader with 0 and with 2 workers (persistent, after an epoch to warm
up) that do the same preprocessing in NumPy, as the notebook writes it, in the same order of the same
samples. They take turns, so that whatever changes on the machine changes for all. Each must give the
program's batches. Where PyTorch is missing (Debian: python3-torch) it says so.

The exit status tells whether all results were right, not whether they came fast.
"""
import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time

for name in "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS":
    os.environ.setdefault(name, "1")

try:
    import numpy as np
    import torch
    from torch.utils.data import DataLoader, Dataset
except ImportError as missing:
    debian = "/usr/bin/python3"  # the one that python3-torch belongs to
    if os.path.realpath(sys.executable) != os.path.realpath(debian) and subprocess.run(
            [debian, "-c", "import numpy, torch"], stderr=subprocess.DEVNULL).returncode == 0:
        os.execv(debian, [debian, *sys.argv])
    print(f"skipped: {missing} ({sys.executable}); on Debian it is in python3-torch")
    sys.exit(0)


def simple_preprocess(image):
    """The notebook's."""
    image = (image - image.mean()) / (image.std() + 1e-8)
    for _ in range(5):
        image = np.clip(image, -3, 3)
        image = (image - image.mean()) / (image.std() + 1e-8)
    return image


class Samples(Dataset):
    def __init__(self, samples):
        self.samples = samples

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        return simple_preprocess(self.samples[index])


def program_epoch(options, directory=None):
    """Seconds of a sequential epoch of the program: the median of a few in a row."""
    command = [options.program, "--mode=sequential", "--repeats=3", "--json=-", "--train-epochs=1",
               "--train-ms=0", f"--samples={options.samples}", f"--size={options.size}",
               f"--batch-size={options.batch_size}"]
    report = json.loads(subprocess.run(command + (["--save", directory] if directory else []),
                                       stdout=subprocess.PIPE, check=True).stdout)
    return next(run["wall_s"]["median"] for run in report["runs"] if run["workload"] == "map")


def torch_epoch(loader):
    begin = time.perf_counter()
    batches = list(loader)
    return time.perf_counter() - begin, batches


def measure(options):
    with tempfile.TemporaryDirectory() as directory:
        program_epoch(options, directory)
        samples, order, expected = (np.load(os.path.join(directory, f"{name}.npy"))
                                    for name in ("samples", "order", "batches"))
    contenders = {"this program, sequential": lambda: program_epoch(options)}
    right = True
    for workers in 0, 2:
        loader = DataLoader(Samples(samples), batch_size=options.batch_size,
                            sampler=order[0].tolist(), num_workers=workers,
                            persistent_workers=workers > 0)
        warm = torch.cat(torch_epoch(loader)[1]).numpy()
        if not np.allclose(warm, expected[0], rtol=1e-4, atol=1e-4):  # the notebook's is float32
            print(f"DataLoader with {workers} workers: other batches than the program's")
            right = False
        contenders[f"DataLoader, {workers} workers"] = lambda loader=loader: torch_epoch(loader)[0]
    seconds = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, run in contenders.items():
            seconds[name].append(run())
    return seconds, right


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("program")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--samples", type=int, default=500)
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--json", help="write all times there")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cpu = re.search(r"^model name\s*: (.*)", open("/proc/cpuinfo", encoding="utf-8").read(), re.M)
    print(f"{datetime.date.today()}, {cpu[1] if cpu else os.uname().machine}, "
          f"PyTorch {torch.__version__}, NumPy {np.__version__}, "
          f"{len(os.sched_getaffinity(0))} cores, load average {os.getloadavg()[0]:.2f}\n"
          f"an epoch of {options.samples} samples of {options.size} x {options.size}, "
          f"{options.rounds} rounds")
    seconds, right = measure(options)
    ours = statistics.median(next(iter(seconds.values())))
    print(f"{'':<26}{'median':>11}{'fastest':>11}{'slowest':>11}{'times ours':>12}")
    for name, times in seconds.items():
        median = statistics.median(times)
        print(f"{name:<26}{median * 1e3:>8.2f} ms{min(times) * 1e3:>8.2f} ms"
              f"{max(times) * 1e3:>8.2f} ms{median / ours:>11.1f}x")
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(seconds, file, indent=1)
    return 0 if right else 1


if __name__ == "__main__":
    sys.exit(main())
