"""notebook.py - Loading data: a parallel map for each batch, and batches prepared ahead.

Before a batch is trained with, each of its samples is preprocessed: normalised, then five times
clipped and normalised again. The notebook's loader gives each batch to `pool.map` and waits for it.
But what a loader is good for is to wait less: while a GPU trains with one batch, the cores are free
to prepare the next ones. Here the GPU is a device that takes --train-ms for a batch (a sleep), and
`map_async` lets the pool go on meanwhile.

Notebook: section 4.1 (corrected: docs/errata.md). In C, with the same results: the .c file beside
this one.

Usage:
    python3 notebook.py [--samples N] [--size N] [--batch-size N] [--epochs N] [--drop-last]
                        [--augment] [--train-epochs N] [--train-ms MS] [--prefetch N]
                        [--workers LIST] [--repeats N] [--seed N] [--save DIR] [--json FILE]

Watch for:
  - the map for each batch: images travel to the workers and back; is it faster than the loop?
  - the same pools with a device that trains: how much of the loading is hidden behind it?

Try:
  - --train-ms 0, 10, 50: what there is to hide, and behind what
  - --augment: random numbers that belong to (seed, epoch, sample), whoever draws them
"""
import argparse
import os
import statistics
import sys
import time
from collections import deque
from multiprocessing import Pool
from multiprocessing.pool import ThreadPool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "common" / "lesson"))
from lesson import CommandLine, Lesson, run_program, whole_number  # noqa: E402

# NumPy's BLAS library is not used here, but its threads would wait for work, busily at first, and
# be counted among the cores busy. It reads these when it is loaded.
for name in "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS":
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402 (not at the top, see above)


# ---- The task ---------------------------------------------------------------------------------

def simple_preprocess(image):
    """The notebook's, in float64."""
    image = image.astype(np.float64)
    image = (image - image.mean()) / (image.std() + 1e-8)
    for _ in range(5):
        image = np.clip(image, -3, 3)
        image = (image - image.mean()) / (image.std() + 1e-8)
    return image


def augment(image, seed, epoch, index):
    """Moved by up to 1/16 of its size, mirrored or not, and noise of standard deviation 0.1. The
    random words come from a counter, so they do not depend on who draws them, or when."""
    size = len(image)
    words = np.random.Philox(key=np.array([seed, epoch], np.uint64),
                             counter=np.array([0, index, 0, 0], np.uint64)).random_raw(1 + size**2)
    bits, most = int(words[0]), size // 16
    down = ((bits & 0xffff) * (2 * most + 1) >> 16)
    right = ((bits >> 16 & 0xffff) * (2 * most + 1) >> 16)
    moved = np.pad(image, most)[down:down + size, right:right + size]
    if bits >> 63:
        moved = moved[:, ::-1]
    total = sum(words[1:] >> np.uint64(shift) & np.uint64(0xffff) for shift in (0, 16, 32, 48))
    noise = (total.astype(np.float64) - 131070) * (0.1 * np.sqrt(3) / 65536)
    return moved + noise.reshape(size, size)


def load_sample(item):
    image, key = item
    return simple_preprocess(image if key is None else augment(image, *key))


# ---- Who uses the batches ---------------------------------------------------------------------

class Keeper:
    """Nobody: the batches are kept."""

    prefetch = 0  # batches under way, for each worker, besides the one that is waited for

    def begin(self):
        pass

    def use(self, batch):
        return batch


class Trainer:
    """A device that takes `seconds` for a batch, while the program looks at each sample: the sum of
    its second half (that of all is 0, since it is normalised)."""

    def __init__(self, prefetch, seconds):
        self.prefetch, self.seconds = prefetch, seconds
        self.busy = []  # seconds in each run

    def begin(self):
        self.busy.append(0.0)

    def use(self, batch):
        begin = time.perf_counter()
        sums = [float(np.sum(image.ravel()[image.size // 2:])) for image in batch]
        time.sleep(max(0.0, begin + self.seconds - time.perf_counter()))
        self.busy[-1] += time.perf_counter() - begin
        return sums


# ---- The modes --------------------------------------------------------------------------------
# start(Pool, workers) is Pool(workers), only that it returns when every worker has started; it
# takes the times of the start, of the block under `with`, and of the pool's end. data is the
# batches, lists of samples, and who uses them.

def run_sequential(task, data):
    batches, user = data
    user.begin()
    return [result for batch in batches for result in user.use([task(item) for item in batch])]


def load(pool, workers, task, data):
    """With prefetch 0 this is pool.map for each batch."""
    batches, user = data
    under_way, results = deque(), []
    user.begin()
    for batch in batches:
        under_way.append(pool.map_async(task, batch))
        if len(under_way) > user.prefetch * workers:
            results += user.use(under_way.popleft().get())
    while under_way:
        results += user.use(under_way.popleft().get())
    return results


def run_threads(task, data, workers, start):
    with start(ThreadPool, workers) as pool:
        return load(pool, workers, task, data)


def run_processes(task, data, workers, start):
    with start(Pool, workers) as pool:
        return load(pool, workers, task, data)


# ---- The program ------------------------------------------------------------------------------

def milliseconds(text):
    try:
        if 0 <= float(text) <= 10000:
            return float(text)
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"'{text:.40}' is not a number from 0 to 10000")


def command_line():
    parser = CommandLine("Batches by a parallel map each, and batches prepared ahead.")
    parser.add_argument("--samples", type=whole_number(1, 10**7), default=500)
    parser.add_argument("--size", type=whole_number(1, 10**6), default=64,
                        help="height and width of each")
    parser.add_argument("--batch-size", type=whole_number(1, 10**7), default=32)
    parser.add_argument("--epochs", type=whole_number(1, 10**6), default=1)
    parser.add_argument("--train-epochs", type=whole_number(1, 10**6), default=8)
    parser.add_argument("--train-ms", type=milliseconds, default=10,
                        help="the device's time for a batch (default 10: NumPy loads one in about "
                             "as long, and C in some hundredths of it)")
    parser.add_argument("--prefetch", type=whole_number(1, 10**6), default=2,
                        help="batches in advance for each worker")
    parser.add_argument("--drop-last", action="store_true")
    parser.add_argument("--augment", action="store_true")
    args = parser.parse_args()
    if args.batch_size > args.samples:
        parser.error(f"argument --batch-size: {args.batch_size}, of only {args.samples} --samples")
    # float32 samples, float64 batches of a mode and of the one it is compared with, what is saved
    parser.require_memory("--samples, --size, --epochs",
                          (4 + 20 * args.epochs) * args.samples * args.size**2)
    return args


def same_results(results, expected):
    """To the last bit."""
    return all(map(np.array_equal, results, expected))


def draw(args, epochs):
    """From the seed: the samples, then one permutation for each epoch; and the batches, in which
    each sample comes with the key of its random numbers, if any."""
    np.random.seed(args.seed)
    samples = [np.random.randn(args.size, args.size).astype(np.float32)
               for _ in range(args.samples)]
    order = [np.random.permutation(args.samples) for _ in range(epochs)]
    kept = args.samples - (args.samples % args.batch_size if args.drop_last else 0)
    batches = [[(samples[i], (args.seed, epoch, i) if args.augment else None)
                for i in order[epoch][first:min(first + args.batch_size, kept)]]
               for epoch in range(epochs) for first in range(0, kept, args.batch_size)]
    return samples, order, kept, batches


def report_hidden(lesson, rows, busy):
    """How much of the loading was hidden behind the device, which was busy so long in each run."""
    repeats = len(busy) // len(rows)
    device = [statistics.median(busy[i * repeats:(i + 1) * repeats]) for i in range(len(rows))]
    exposed = [row["wall_s"]["median"] - seconds for row, seconds in zip(rows, device)]
    for row, seconds, rest in zip(rows, device, exposed):
        row.update(device_s=seconds, device_idle_s=rest)
    loading = f"{exposed[0] * 1e3:.3g} ms of loading"
    lesson.say(*(f"{row['mode']}, {row['workers']}: the device was idle for {rest * 1e3:.3g} ms, "
                 f"{1 - rest / exposed[0]:.0%} of the {loading} were hidden"
                 for row, rest in zip(rows[1:], exposed[1:])))


def main():
    args = command_line()
    lesson = Lesson("05_data_loading", args)
    samples, order, kept, batches = draw(args, args.epochs)
    lesson.say(f"{len(batches)} batches of {args.batch_size}; {lesson.environment}",
               "\nThe notebook's loader: a parallel map for each batch")
    runs = run_sequential, run_threads, run_processes
    rows, results = lesson.measure("map", runs, load_sample, (batches, Keeper()), same_results)
    lesson.say(*lesson.table(rows),
               *lesson.why(rows, one_busy="they mostly took turns under the GIL",
                           several_busy="NumPy lets go of the GIL while it computes"))
    lesson.save("samples", samples, "float32")
    lesson.save("order", order, "int64")
    lesson.save("batches", np.reshape(results, (args.epochs, kept, args.size, args.size)),
                "float32")

    batches = draw(args, args.train_epochs)[3]
    lesson.say(f"\nA device that trains {args.train_ms:g} ms with each of {len(batches)} batches")
    trainer = Trainer(args.prefetch, args.train_ms / 1000)
    rows, _ = lesson.measure("loader", runs, load_sample, (batches, trainer), same_results)
    lesson.say(*lesson.table(rows))
    report_hidden(lesson, rows, trainer.busy)
    lesson.end()


if __name__ == "__main__":
    run_program(main)
