"""test_notebooks.py - the chapters' notebook.py compute what they say, in every mode.

Usage: python3 test_notebooks.py SOURCE_ROOT

Runs each chapters/NN_name/notebook.py with this Python, at small sizes, and compares what it
saves with formulas that share no code with it: closed forms, exact sums, one 5x5 kernel instead
of two 3x3 ones. Exit status: 0, 1 when a test failed, 77 (skipped) when NumPy is missing.
"""
import json
import math
import multiprocessing
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

from chapter_test import SHORT, few, with_numpy

np = with_numpy()
if np is None:
    print(f"skipped: {sys.executable} has no NumPy")
    sys.exit(77)

ROOT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
CHAPTERS = {path.parent.name[:2]: path for path in sorted(ROOT.glob("chapters/*/notebook.py"))}
WORKERS = [2, 1] if SHORT else [2, 1, 3, 7]
SMALL = {"01": ["--tasks", 3, "--iterations", 10], "02": ["--tasks", 3, "--iterations", 10],
         "03": ["--light-tasks", 3, "--matrices", 2, "--order", 4],
         "04": ["--images", 2, "--size", 6],
         "05": ["--samples", 5, "--size", 4, "--batch-size", 2, "--train-epochs", 2, "--train-ms", 1],
         "06": ["--images", 2], "07": ["--shape", "3x2x2"],
         "08": ["--light-tasks", 3, "--tasks", 3, "--iterations", 10],
         "09": ["--images", 2, "--size", 6, "--order", 4, "--cnn-images", 4]}


# ---- Helpers ----------------------------------------------------------------------------------

def check(condition, message):
    if not condition:
        raise AssertionError(message)


def run(chapter, *options, directory=None, **environment):
    return subprocess.run([sys.executable, "-W", "error", str(CHAPTERS[chapter]),
                           *map(str, options)], cwd=directory, timeout=240,
                          env={**os.environ, **environment}, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)


# One Python imports NumPy, which takes most of the time of so short a program, and forks for each option.
EACH = """
import json, os, sys, tempfile, traceback
sys.path.insert(0, sys.argv[1])
import notebook
results = []
for option in json.loads(sys.argv[2]):
    with (tempfile.TemporaryDirectory() as directory, tempfile.TemporaryFile("w+") as out,
          tempfile.TemporaryFile("w+") as err):
        child = os.fork()
        if child == 0:
            os.chdir(directory)
            os.dup2(out.fileno(), 1), os.dup2(err.fileno(), 2)
            sys.argv[1:] = [option, "--save", "saved"]
            status = 255
            try:
                status = notebook.main() or 0
            except SystemExit as end:
                status = end.code or 0
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush(), sys.stderr.flush()
            os._exit(status)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        texts = [(file.seek(0), file.read())[1] for file in (out, err)]
        results.append({"status": status, "out": texts[0], "err": texts[1],
                        "files": os.listdir(directory)})
json.dump(results, sys.stdout)
"""


def run_each(chapter, options):
    """Runs it with each option and --save: status, out, err and files of each."""
    ran = subprocess.run([sys.executable, "-B", "-W", "error", "-c", EACH, CHAPTERS[chapter].parent,
                          json.dumps(options)], timeout=240, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(ran.stdout)


def run_saved(chapter, *options):
    """Runs in all modes; returns the report and the saved arrays by name."""
    with tempfile.TemporaryDirectory() as directory:
        ran = run(chapter, "--workers", ",".join(map(str, WORKERS + WORKERS[:1])), "--save",
                  "deep/er", "--json", "-", *options, directory=directory)
        check(ran.returncode == 0 and not ran.stderr, f"status {ran.returncode}: {ran.stderr}")
        saved = {path.stem: np.load(path) for path in Path(directory, "deep/er").iterdir()}
    report = json.loads(ran.stdout)
    check(report["chapter"] == CHAPTERS[chapter].parent.name, report["chapter"])
    return report, saved


def check_array(array, expected, dtype, rtol=0.0, atol=0.0):
    check(array.dtype == np.dtype(dtype), f"{array.dtype} instead of {dtype}")
    check(array.shape == expected.shape, f"shape {array.shape} instead of {expected.shape}")
    close = np.isclose(array, expected, rtol=rtol, atol=atol)
    check(close.all(), f"{(~close).sum()} of {close.size} values differ, the first: "
                       f"{array[~close][:1]} instead of {expected[~close][:1]}")


def check_runs(report, workload, tasks):
    """A row for each mode and worker count, each count once; all gave the same results."""
    rows = [row for row in report["runs"] if row["workload"] == workload]
    expected = [("sequential", 1)] + [(m, w) for w in WORKERS for m in ("threads", "processes")]
    check([(row["mode"], row["workers"]) for row in rows] == expected, f"{workload}: rows")
    for row in rows:
        check(row["matches_sequential"] is True, f"{row['mode']} differs from sequential")
        check(row["tasks"] == tasks, f"{row['tasks']} tasks")
        wall = row["wall_s"]
        check(0 < wall["min"] <= wall["median"] <= wall["max"], f"times {wall}")
        check(row["whole_s"] >= wall["min"] and row["startup_s"] >= 0, f"times {row}")
        check((row["startup_s"] > 0) == (row["mode"] != "sequential"), f"start-up {row}")


def normal_stream(seed, *shape):
    """Successive randn calls draw one stream, so one call for all must give the same."""
    return np.random.RandomState(seed).standard_normal(math.prod(shape)).reshape(shape)


# ---- Tests ------------------------------------------------------------------------------------

def test_pool_map_against_the_closed_form():
    for tasks, iterations in few(((13, 2001), (1, 1), (2, 1000))):
        report, saved = run_saved("01", "--tasks", tasks, "--iterations", iterations)
        check(sorted(saved) == ["results"], f"saved {sorted(saved)}")
        expected = [x * (iterations * (iterations - 1) // 2) for x in range(tasks)]
        check_array(saved["results"], np.array(expected, dtype=np.int64), "int64")
        check_runs(report, "heavy_computation", tasks)
        check(report["parameters"] == {"tasks": tasks, "iterations": iterations}, "parameters")


def test_pool_starmap_against_the_closed_form():
    for tasks, iterations, multiplier, offset in few((
            (7, 503, -3, -12345678901), (11, 1000, 2, 100), (1, 1, 5, -7), (2, 2, 2**63 - 1, 0),
            (1, 1, 0, -2**63))):
        report, saved = run_saved("02", "--tasks", tasks, "--iterations", iterations,
                                  f"--multiplier={multiplier}", f"--offset={offset}")
        check(sorted(saved) == ["results"], f"saved {sorted(saved)}")
        triangle = iterations * (iterations - 1) // 2
        expected = [x * multiplier * triangle + offset * iterations for x in range(tasks)]
        check_array(saved["results"], np.array(expected, dtype=np.int64), "int64")
        check_runs(report, "process_with_params", tasks)


def test_transfer_cost_against_exact_sums():
    for seed, light, matrices, order in few(((42, 10, 5, 7), (3, 1, 1, 1), (2**32 - 1, 101, 3, 64))):
        report, saved = run_saved("03", "--seed", seed, "--light-tasks", light, "--matrices",
                                  matrices, "--order", order)
        check(sorted(saved) == ["heavy", "light", "matrices", "very_light"], f"{sorted(saved)}")
        check_array(saved["very_light"], np.arange(1, light + 1), "int64")
        stream = normal_stream(seed, matrices, order, order)
        check_array(saved["matrices"], stream.astype(np.float32), "float32")
        if seed == 42:
            check_array(saved["matrices"].ravel()[:5], np.array(
                [0.4967141530112327, -0.13826430117118466, 0.6476885381006925, 1.5230298564080254,
                 -0.23415337472333597], dtype=np.float32), "float32", rtol=1e-7)
        exact = [[[float(v) for v in row] for row in matrix] for matrix in saved["matrices"]]
        light_sums = [math.fsum(v for row in matrix for v in row) for matrix in exact]
        # the sum of all elements of x . x^T is the squared length of the sum of x's rows
        heavy_sums = [math.fsum(math.fsum(column)**2 for column in zip(*m)) for m in exact]
        check_array(saved["light"], np.array(light_sums), "float64", 1e-12, 1e-11)
        check_array(saved["heavy"], np.array(heavy_sums), "float64", 1e-9, 1e-11)
        check_runs(report, "very_light", light)
        check_runs(report, "light", matrices)
        check_runs(report, "heavy", matrices)
        for row in report["runs"]:
            if row["mode"] == "processes" and row["workload"] != "very_light":
                check(row["bytes_pickled"] > matrices * order * order * 4, "bytes_pickled")


def edges_by_one_kernel(image):
    """Blur and Sobel as one 5x5 kernel, [1 4 6 4 1] by [-1 -2 0 2 1], summed exactly."""
    smooth, slope = (1, 4, 6, 4, 1), (-1, -2, 0, 2, 1)
    pixels = [[float(v) for v in row] for row in image]
    n = image.size
    mean = math.fsum(map(math.fsum, pixels)) / n
    deviation = math.sqrt(math.fsum((v - mean)**2 for row in pixels for v in row) / n)
    edges = np.zeros((image.shape[0] - 4, image.shape[1] - 4))
    for i in range(edges.shape[0]):
        for j in range(edges.shape[1]):
            patch = [(k, m, pixels[i + k][j + m]) for k in range(5) for m in range(5)]
            x = math.fsum(smooth[k] * slope[m] * v for k, m, v in patch)
            y = math.fsum(slope[k] * smooth[m] * v for k, m, v in patch)
            edges[i, j] = math.hypot(x, y) / (16 * (deviation + 1e-8))
    return edges


def test_image_filters_against_one_kernel():
    for seed, images, size, shape, loops in few((
            (42, 3, "20x13", (20, 13), 2), (5, 2, "9", (9, 9), 9), (0, 1, "5x5", (5, 5), 1),
            (42, 2, "8x31", (8, 31), 0))):
        report, saved = run_saved("04", "--seed", seed, "--images", images, "--size", size,
                                  "--python-images", loops)
        check(sorted(saved) == ["edges", "images"], f"saved {sorted(saved)}")
        stream = normal_stream(seed, images, *shape).astype(np.float32)
        check_array(saved["images"], stream, "float32")
        expected = np.array([edges_by_one_kernel(image) for image in stream])
        check_array(saved["edges"], expected, "float32", 1e-5, 1e-6)
        check_runs(report, "numpy_slices", images)
        check(report["numpy_s_per_image"] > 0, "numpy_s_per_image")
        check(report["parameters"]["size"] == list(shape), f"{report['parameters']}")
        if loops:
            check_runs(report, "python_loops", min(loops, images))
            check(report["python_s_per_image"] > 0, "python_s_per_image")
        else:
            check(report["python_s_per_image"] is None, "python_s_per_image")


def philox_words(key, counter, count):
    """Philox4x64-10 in Python's own integers; the first block is that of counter + 1."""
    mask, words = 2**64 - 1, []
    while len(words) < count:
        total = (sum(part << 64 * i for i, part in enumerate(counter)) + 1) % 2**256
        counter = [total >> 64 * i & mask for i in range(4)]
        x, (k0, k1) = list(counter), key
        for _ in range(10):
            p0, p1 = 0xd2e7470ee14c6c93 * x[0], 0xca5a826395121157 * x[2]
            x = [p1 >> 64 ^ x[1] ^ k0, p1 & mask, p0 >> 64 ^ x[3] ^ k1, p0 & mask]
            k0, k1 = (k0 + 0x9e3779b97f4a7c15) & mask, (k1 + 0xbb67ae8584caa73b) & mask
        words += x
    return words[:count]


def augmented(image, seed, epoch, index):
    """Pixel by pixel."""
    size = len(image)
    words = philox_words((seed, epoch), [0, index, 0, 0], 1 + size * size)
    most = size // 16
    down = words[0] % 65536 * (2 * most + 1) // 65536 - most
    right = words[0] // 65536 % 65536 * (2 * most + 1) // 65536 - most
    result = np.zeros((size, size))
    for y in range(size):
        for x in range(size):
            row, column = y + down, (size - 1 - x if words[0] >> 63 else x) + right
            inside = 0 <= row < size and 0 <= column < size
            bits = words[1 + y * size + x]
            total = sum(bits >> shift & 65535 for shift in (0, 16, 32, 48))
            result[y, x] = (float(image[row, column]) if inside else 0) + \
                0.1 * math.sqrt(3) / 65536 * (total - 131070)
    return result


def preprocessed(image):
    """With exact sums."""
    values = [float(v) for row in image for v in row]
    for rounds in range(6):
        if rounds:
            values = [min(3.0, max(-3.0, v)) for v in values]
        mean = math.fsum(values) / len(values)
        deviation = math.sqrt(math.fsum((v - mean)**2 for v in values) / len(values))
        values = [(v - mean) / (deviation + 1e-8) for v in values]
    return np.reshape(values, image.shape)


def test_data_loading_against_exact_sums():
    for seed, n, size, batch, epochs, flags in few((
            (2**32 - 1, 8, 17, 3, 2, ["--augment", "--drop-last"]), (42, 7, 9, 3, 1, []),
            (3, 1, 4, 1, 2, []), (7, 5, 33, 5, 2, ["--augment"]), (0, 5, 6, 2, 1, ["--drop-last"])), 2):
        report, saved = run_saved("05", "--seed", seed, "--samples", n, "--size", size,
                                  "--batch-size", batch, "--epochs", epochs, "--train-epochs", 2,
                                  "--train-ms", 1, *flags)
        check(sorted(saved) == ["batches", "order", "samples"], f"saved {sorted(saved)}")
        random = np.random.RandomState(seed)
        stream = random.standard_normal(n * size * size).reshape(n, size, size)
        check_array(saved["samples"], stream.astype(np.float32), "float32")
        order = np.array([random.permutation(n) for _ in range(epochs)])
        check_array(saved["order"], order, "int64")
        kept = n - n % batch if "--drop-last" in flags else n
        expected = np.array([[preprocessed(augmented(saved["samples"][i], seed, epoch, int(i))
                                           if "--augment" in flags else saved["samples"][i])
                              for i in order[epoch][:kept]] for epoch in range(epochs)])
        check_array(saved["batches"], expected, "float32", 1e-5, 1e-5)
        check_runs(report, "map", epochs * kept)
        check_runs(report, "loader", 2 * kept)
        for row in report["runs"]:
            check(("device_s" in row) == (row["workload"] == "loader"), f"device of {row}")


def logits_tap_by_tap(images, conv1, conv2, fc):
    """Each layer as a sum over the places of its kernel, of whole images shifted against each
    other, a channel at a time; pooled by comparing the four corners."""
    def layer(x, weights):
        side = x.shape[2] - 2
        out = np.zeros((len(x), len(weights), side, side))
        for (o, c, i, j), weight in np.ndenumerate(weights):
            out[:, o] += weight * x[:, c, i:i + side, j:j + side]
        corners = [out[:, :, i::2, j::2] for i in (0, 1) for j in (0, 1)]
        return np.maximum.reduce([np.zeros_like(corners[0]), *corners])

    padded = np.zeros((len(images), 1, 30, 30))
    padded[:, :, 1:29, 1:29] = images
    features = layer(layer(padded, conv1), conv2)
    return np.array([[math.fsum(column * image.ravel()) for column in fc.T] for image in features])


def test_inference_tap_by_tap():
    shapes = {"conv1_w": (16, 1, 3, 3), "conv2_w": (32, 16, 3, 3), "fc_w": (1152, 10)}
    for seed, n in few(((42, 4), (5, 1))):
        report, saved = run_saved("06", "--seed", seed, "--images", n)
        check(sorted(saved) == ["conv1_w", "conv2_w", "fc_w", "images", "logits"], f"{saved}")
        sizes = [math.prod(shape) for shape in shapes.values()]
        stream = normal_stream(seed, sum(sizes) + n * 784).astype(np.float32)
        *parts, images = np.split(stream, np.cumsum(sizes))
        weights = [part.reshape(shape) * np.float32(0.1)
                   for part, shape in zip(parts, shapes.values())]
        for (name, _), array in zip(shapes.items(), weights):
            check_array(saved[name], array, "float32")
        images = images.reshape(n, 1, 28, 28)
        check_array(saved["images"], images, "float32")
        check_array(saved["logits"], logits_tap_by_tap(images, *(w.astype(np.float64)
                                                                 for w in weights)),
                    "float32", 1e-6, 1e-6)
        check_runs(report, "model_each_time", n)
        rows = {row["workload"]: row for row in report["runs"] if row["mode"] == "sequential"}
        check(set(rows) == {"model_each_time", "model_once", "batched", "batched_optimized"},
              f"{rows}")
        check([row["workers"] for row in report["runs"]
               if (row["workload"], row["mode"]) == ("model_once", "processes")] == WORKERS, "once")
        check({row["tasks"] for row in report["runs"]} == {n}, "a task is an image, also of a batch")
        check(report["bytes_pickled"] > 65088 + 3136, "bytes_pickled")


def test_final_benchmark_against_formulas():
    for seed, images, shape, order, cnn, loops in few((
            (42, 3, (20, 13), 5, 2, 2), (7, 1, (9, 9), 1, 1, 0), (0, 2, (5, 6), 23, 8, 9))):
        report, saved = run_saved("09", "--seed", seed, "--images", images, "--size",
                                  "{}x{}".format(*shape), "--order", order, "--cnn-images", cnn,
                                  "--python-images", loops)
        check(sorted(saved) == ["cnn_images", "conv1_w", "conv2_w", "edges", "fc_w", "images",
                                "logits", "matmul_a", "matmul_b", "matmul_c"], f"{sorted(saved)}")
        at, pieces = 0, {}
        shapes = {"images": (images, *shape), "matmul_a": (order, order),
                  "matmul_b": (order, order), "conv1_w": (16, 1, 3, 3), "conv2_w": (32, 16, 3, 3),
                  "fc_w": (1152, 10), "cnn_images": (cnn, 1, 28, 28)}
        stream = normal_stream(seed, sum(math.prod(side) for side in shapes.values()))
        for name, sides in shapes.items():  # one stream, in this order
            pieces[name] = stream[at:at + math.prod(sides)].reshape(sides)
            at += math.prod(sides)
            if not name.startswith("matmul"):
                pieces[name] = pieces[name].astype(np.float32)
            if name.endswith("_w"):
                pieces[name] = pieces[name] * np.float32(0.1)
            check_array(saved[name], pieces[name], pieces[name].dtype)
        expected = np.array([edges_by_one_kernel(image) for image in pieces["images"]])
        check_array(saved["edges"], expected, "float32", 1e-5, 1e-6)
        a, b = pieces["matmul_a"].tolist(), pieces["matmul_b"].tolist()
        exact = [[math.fsum(x * y for x, y in zip(row, column)) for column in zip(*b)] for row in a]
        check_array(saved["matmul_c"], np.array(exact), "float64", 1e-12, 1e-12)
        weights = [pieces[name].astype(np.float64) for name in ("conv1_w", "conv2_w", "fc_w")]
        check_array(saved["logits"], logits_tap_by_tap(pieces["cnn_images"], *weights), "float32",
                    1e-5, 1e-6)
        check_runs(report, "numpy_slices", images)
        check_runs(report, "product", min(max(WORKERS), order))
        check_runs(report, "inference", min(max(WORKERS), cnn))
        if loops:
            check_runs(report, "python_loops", min(loops, images))
            check(report["python_s_per_image"] > 0, "python_s_per_image")
        else:
            check(report["python_s_per_image"] is None, "python_s_per_image")


def test_final_benchmark_loops_only():
    """What the C program runs: no pool, a time, and sums that fit the images."""
    for images in 3, 1, 0:
        ran = run("09", "--loops-only", "--images", 3, "--size", "8x7", "--python-images", images,
                  "--seed", 5, "--json", "-")
        check(ran.returncode == 0 and not ran.stderr, ran.stderr)
        report = json.loads(ran.stdout)
        check([(row["mode"], row["tasks"]) for row in report["runs"]]
              == [("sequential", images)] * bool(images), f"{report['runs']}")
        check((report["python_s_per_image"] or 0) > 0 or not images, "python_s_per_image")
        stream = normal_stream(5, 3, 8, 7).astype(np.float32)
        expected = [edges_by_one_kernel(image).sum() for image in stream[:images]]
        check_array(np.array(report["edges_sum"]), np.array(expected), "float64", 1e-6)


def test_when_to_parallelise_against_the_closed_form():
    for light, tasks, iterations in few(((1003, 13, 100), (1, 1, 1), (5, 1001, 3))):
        small = ("--numbers", 50, "--side", 9, "--order", 5) if tasks > 100 else ()
        report, saved = run_saved("08", "--light-tasks", light, "--tasks", tasks, "--iterations",
                                  iterations, *small)
        check(sorted(saved) == ["python_like", "x_plus_1"], f"saved {sorted(saved)}")
        check_array(saved["x_plus_1"], np.arange(light) % 1000 + 1, "int64")
        triangle = iterations * (iterations - 1) // 2
        check_array(saved["python_like"], np.arange(tasks) % 1000 * triangle, "int64")
        check_runs(report, "x_plus_1", light)
        check_runs(report, "python_like", tasks)
        for workload in "x_plus_1", "python_like":
            case, advice = report["cases"][workload], report["conclusions"][workload]
            hands = tasks_at_a_time(case, light if workload == "x_plus_1" else tasks, report)
            check(case["parallel"] == hands, f"{workload}: {case['parallel']}, not {hands}")
            if (case["vectorised"] or 0) > 1.1:
                check(advice == "vectorise", f"{workload}: {advice}")
            elif hands == 1:
                check(advice == "not judged", f"{workload}: {advice}")
            elif case["task_s"] * (1 - 1 / hands) < case["handing_over_s"]:
                check(advice in ("batch", "leave it alone"), f"{workload}: {advice}")
            else:
                best = max(case["threads"], case["processes"])
                check((advice in ("threads", "processes")) == (best > 1.1), f"{workload}: {advice}")


def tasks_at_a_time(case, tasks, report):
    return tasks / math.ceil(tasks / min(case["workers"], report["cores"]))


def test_answers_lead_through_the_tree():
    for answers, conclusion, marked in ((("no",), "other means", 1), (("yes", "no"), "vectorise", 2),
                                        (("yes", "yes", "yes"), "shared memory", 3),
                                        (("yes", "yes", "no"), "processes", 3)):
        options = [f"--{name}={answer}" for name, answer in
                   zip(("independent", "heavy", "large"), answers)]
        ran = run("08", *options)
        check(ran.returncode == 0 and not ran.stderr, ran.stderr)
        check(f"Advice: {conclusion}" in ran.stdout, ran.stdout)
        check(f"[x] {conclusion}" in ran.stdout and ran.stdout.count("[x]") == 1, ran.stdout)
        check(ran.stdout.count("+====") == marked, ran.stdout)
        report = json.loads(run("08", *options, "--json=-").stdout)
        check(report["conclusions"]["answers"].startswith(conclusion), f"{report}")
        if answers[-1] == "yes" or len(answers) < 3:
            continue
        for missing in range(3):
            ran = run("08", *options[:missing], *options[missing + 1:])
            check(ran.returncode == 2 and ran.stderr.count("\n") == 1, ran.stderr)
            check(options[missing].split("=")[0] in ran.stderr, ran.stderr)


def test_shared_memory_against_exact_sums():
    before = set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()
    for seed, text, sides in few(((42, "13x5x3", (13, 5, 3)), (5, "1x1x1", (1, 1, 1)),
                                  (0, "6", (6, 6, 6)), (2**32 - 1, "50x20x30", (50, 20, 30)))):
        report, saved = run_saved("07", "--seed", seed, "--shape", text)
        check(sorted(saved) == ["array", "total"], f"saved {sorted(saved)}")
        stream = normal_stream(seed, *sides).astype(np.float32)
        check_array(saved["array"], stream, "float32")
        exact = math.fsum(float(v)**2 for v in stream.ravel())
        check_array(saved["total"], np.array([exact]), "float64", 1e-13)
        check(report["parameters"]["shape"] == list(sides), f"{report['parameters']}")
        for workload, copies in (("whole", None), ("parts", 1), ("shared", 0)):
            check_runs(report, workload, sides[0])
            for row in report["runs"]:
                if row["workload"] == workload and row["mode"] == "processes":
                    times = min(sides[0], row["workers"]) if copies is None else copies
                    check(row["bytes_pickled"] == times * 4 * math.prod(sides), f"{row}")
        errors = report["relative_errors"]
        check(errors["exactly"] == 0 and abs(errors["np.sum, float64"]) < 1e-14, f"{errors}")
        check(abs(errors["one float32"]) < 1e-3, f"{errors}")
    text = run("07", *SMALL["07"]).stdout
    check(re.search("local object '?.*worker_copy", text) and "1 positional argument but 3" in text,
          f"the notebook's two mistakes are not shown: {text[-400:]}")
    if os.path.isdir("/dev/shm"):
        left = {name for name in set(os.listdir("/dev/shm")) - before if name.startswith("psm_")}
        for _ in range(100):  # others may run a notebook, too, and end it soon
            left &= set(os.listdir("/dev/shm"))
            if not left:
                break
            time.sleep(0.1)
        check(not left, f"left in /dev/shm: {left}")


def test_one_output_of_many():
    """One that cannot be written is named; the others are there."""
    with tempfile.TemporaryDirectory() as directory:
        os.makedirs(os.path.join(directory, "arrays", "very_light.npy"))
        ran = run("03", *SMALL["03"], "--repeats", 1, "--workers", 1, "--save", "arrays", "--json", "out.json",
                  directory=directory)
        check(ran.returncode == 1 and ran.stderr.count("\n") == 1 and "very_light.npy" in ran.stderr,
              f"status {ran.returncode}: {ran.stderr}")
        for name in "light", "heavy", "matrices":
            check(Path(directory, "arrays", f"{name}.npy").is_file(), f"{name}.npy is missing")
        check(json.loads(Path(directory, "out.json").read_text())["runs"], "no runs in --json")
        for name in "light", "heavy", "matrices":  # one reason for all, told once
            os.unlink(os.path.join(directory, "arrays", f"{name}.npy"))
            os.symlink("/dev/full", os.path.join(directory, "arrays", f"{name}.npy"))
        ran = run("03", *SMALL["03"], "--repeats", 1, "--workers", 1, "--save", "arrays", directory=directory)
        check(ran.returncode == 1 and ran.stderr.count("\n") == 2, f"status {ran.returncode}: {ran.stderr}")


def test_integers_saved_without_numpy():
    """The bytes that numpy.save writes; other types need NumPy."""
    sys.path.insert(0, str(ROOT / "common" / "lesson"))
    from lesson import save_integers
    with tempfile.TemporaryDirectory() as directory:
        for values in [], [7], [-2**63, 2**63 - 1], list(range(1000)):
            save_integers(os.path.join(directory, "ours.npy"), values, "int64")
            np.save(os.path.join(directory, "theirs.npy"), np.array(values, dtype="int64"))
            ours, theirs = (Path(directory, name).read_bytes() for name in ("ours.npy", "theirs.npy"))
            check(ours == theirs, f"{len(values)} values: {ours[:140]}, {theirs[:140]}")
        try:
            save_integers(os.path.join(directory, "reals.npy"), [0.5], "float64")
        except OSError as error:
            check("NumPy is missing" in str(error), f"{error}")
        else:
            check(False, "float64 without NumPy")


def test_what_c_needs_to_know():
    """The rows name what stands beside them in C."""
    in_c = {"process_with_params": "starmap_columns", "python_loops": "naive",
            "numpy_slices": "fused", "whole": "whole_array_to_each", "parts": "each_row_copied",
            "shared": "sum_of_squares"}
    for chapter in "01", "02", "04", "07":
        report = json.loads(run(chapter, *SMALL[chapter], "-w", 2, "--json", "-").stdout)
        check((report["gil"], report["free_threaded"]) == (True, False)
              or sys.version_info >= (3, 13), "a GIL before Python 3.13")
        for row in report["runs"]:
            check(row.get("in_c") == in_c.get(row["workload"]), f"{row}")
            transfer = ("shared" if row["workload"] == "shared" else "copy")
            check(row["transfer"] == (transfer if row["mode"] == "processes" else None), f"{row}")


def test_text_and_files():
    """Without --json -, a table for people; figures and arrays go where they are asked to."""
    for chapter in few(list(CHAPTERS)):
        with tempfile.TemporaryDirectory() as directory:
            ran = run(chapter, *SMALL[chapter], "-w", 2, "-r", 3, "--json", "figures.json",
                      directory=directory)
            check(ran.returncode == 0 and not ran.stderr, f"{chapter}: {ran.stderr}")
            for word in ("sequential", "threads", "processes", "start-up", "speedup", "yes"):
                check(word in ran.stdout, f"{chapter}: no '{word}' in the table")
            report = json.loads(Path(directory, "figures.json").read_text())
            check(all(row["repeats"] == 3 for row in report["runs"]), f"{chapter}: repeats")
            check(os.listdir(directory) == ["figures.json"], f"{chapter}: stray files")
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
        report = json.loads(run(chapter, *SMALL[chapter], "--json", "-").stdout)
        check(cores in (None, max(row["workers"] for row in report["runs"])),
              f"{chapter}: the default is not the {cores} usable cores")


def test_wrong_command_lines():
    common = ["--workers=0", "--workers=1,-2", "--workers=", "--workers=2,two", "--workers=100000",
              "--repeats=0", "--seed=-1", "--seed=4294967296", "--seed=x", "--unknown", "stray"]
    own = {"01": ["--tasks=0", "--tasks=-1", "--tasks=ten", "--tasks=1.5", "--iterations=0",
                  "--tasks=99999999999999", "--iterations=1" + "0" * 5000,
                  "--iterations=1000000000000"],  # the last: more than int64 can hold
           "02": ["--tasks=0", "--iterations=-1", "--multiplier=x", "--offset=1e3",
                  f"--multiplier={2**63}", f"--offset={2**63 - 1}"],
           "03": ["--light-tasks=0", "--matrices=0", "--order=0", "--order=-5", "--order=200x200",
                  "--order=1000000"],
           "04": ["--images=0", "--size=4", "--size=4x9", "--size=9x", "--size=9x9x9", "--size=-9",
                  "--size=1000000", "--python-images=-1"],
           "05": ["--samples=0", "--samples=x", "--size=0", "--size=6x6", "--size=1000000",
                  "--batch-size=0", "--batch-size=501", "--epochs=0", "--epochs=1000000",
                  "--train-epochs=0", "--train-ms=-1", "--train-ms=nan", "--prefetch=0"],
           "06": ["--images=0", "--images=-1", "--images=two", "--images=10000000", "--input=x"],
           "07": ["--shape=0", "--shape=4x9", "--shape=1x2x3x4", "--shape=9x", "--shape=-9",
                  "--shape=2x0x2", "--shape=1000000", "--shape=1073741824x1073741824x1073741824",
                  "--shape=1e3"],
           "08": ["--light-tasks=0", "--tasks=-1", "--tasks=ten", "--iterations=1000000000",
                  "--independent=maybe", "--heavy=", "--large=y"],
           "09": ["--images=0", "--size=4", "--size=9x9x9", "--size=1000000", "--order=0",
                  "--order=-1", "--order=2x2", "--order=1000000", "--cnn-images=0",
                  "--cnn-images=10000000", "--python-images=-1", "--python-images=x"]}
    for chapter in CHAPTERS:
        options = common + own[chapter]
        for option, ran in zip(options, run_each(chapter, options), strict=True):
            what = f"{chapter} {option[:40]}: {ran}"
            check(ran["status"] == 2, what)
            check(ran["err"].count("\n") == 1 and ran["err"].endswith("\n"), what)
            check(not ran["out"] and not ran["files"], f"{what}, wrote something")
            name = option.split("=")[0]
            check(name in ran["err"] or "--save" in ran["err"], f"{what}: names no option")


def test_places_that_cannot_be_written():
    for chapter in few(list(CHAPTERS)):
        for option in "--save", "--json":
            with tempfile.NamedTemporaryFile() as file:
                ran = run(chapter, option, file.name + "/inside", *SMALL[chapter])
                check(ran.returncode == 1 and ran.stderr.count("\n") == 1,
                      f"{chapter} {option}: status {ran.returncode}, '{ran.stderr}'")
                check(file.name in ran.stderr, f"{chapter} {option}: '{ran.stderr}'")


def test_a_wrong_result_is_seen():
    """Threads that give their results in reverse: their rows say so, and the exit status too."""
    program = """
import sys
sys.path.insert(0, sys.argv.pop(1))
import notebook
run_threads = notebook.run_threads
notebook.run_threads = lambda *arguments: run_threads(*arguments)[::-1]
notebook.main()
"""
    for chapter, path in few(list(CHAPTERS.items())):
        ran = subprocess.run([sys.executable, "-B", "-c", program, str(path.parent), "--workers=2",
                              "--json=-", *map(str, SMALL[chapter])], timeout=60,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        what = f"{chapter}: status {ran.returncode}, '{ran.stderr}'"
        check(ran.returncode == 1 and "differ" in ran.stderr and ran.stderr.count("\n") == 1, what)
        for row in json.loads(ran.stdout)["runs"]:
            check(row["matches_sequential"] is (row["mode"] != "threads"), f"{chapter}: {row}")


def test_every_start_method():
    """New interpreters find the tasks and common/lesson, wherever the program was started."""
    for method in multiprocessing.get_all_start_methods():
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "sitecustomize.py").write_text(  # imported by every Python that starts
                f"import multiprocessing\nmultiprocessing.set_start_method('{method}')\n")
            for chapter in few(list(CHAPTERS)):
                ran = run(chapter, *SMALL[chapter], "--workers=2", "--json=-",
                          directory=directory, PYTHONPATH=directory)
                check(ran.returncode == 0 and not ran.stderr, f"{chapter}, {method}: {ran.stderr}")
                report = json.loads(ran.stdout)
                check(report["start_method"] == method, f"{report['start_method']}, not {method}")
                check(all(row["matches_sequential"] for row in report["runs"]), f"{chapter}")


def main():
    tests = [value for name, value in globals().items() if name.startswith("test_")]
    failed = 0
    if not set(SMALL) <= set(CHAPTERS):
        print(f"chapters with a notebook.py under {ROOT}: {sorted(CHAPTERS)}")
        return 1
    for test in tests:
        try:
            test()
            print(f"ok    {test.__name__}", flush=True)
        except Exception as error:  # a test that breaks has failed, whatever the reason
            failed += 1
            print(f"FAIL  {test.__name__}: {error}", flush=True)
            if not isinstance(error, AssertionError):
                traceback.print_exc(file=sys.stdout)
    print(f"{len(tests) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
