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
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

try:
    import numpy as np
except ImportError:
    debian = "/usr/bin/python3"  # the one that python3-numpy belongs to
    if os.path.realpath(sys.executable) != os.path.realpath(debian) and subprocess.run(
            [debian, "-c", "import numpy"], stderr=subprocess.DEVNULL).returncode == 0:
        os.execv(debian, [debian, *sys.argv])
    print(f"skipped: {sys.executable} has no NumPy")
    sys.exit(77)

ROOT = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent.parent).resolve()
CHAPTERS = {path.parent.name[:2]: path for path in sorted(ROOT.glob("chapters/*/notebook.py"))}
WORKERS = [2, 1, 3, 7]
SMALL = {"01": ["--tasks", 3, "--iterations", 10], "02": ["--tasks", 3, "--iterations", 10],
         "03": ["--light-tasks", 3, "--matrices", 2, "--order", 4],
         "04": ["--images", 2, "--size", 6],
         "06": ["--images", 2]}


# ---- Helpers ----------------------------------------------------------------------------------

def check(condition, message):
    if not condition:
        raise AssertionError(message)


def run(chapter, *options, directory=None, **environment):
    return subprocess.run([sys.executable, "-W", "error", str(CHAPTERS[chapter]),
                           *map(str, options)], cwd=directory, timeout=240,
                          env={**os.environ, **environment}, stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE, text=True)


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
    for tasks, iterations in (1, 1), (2, 1000), (13, 2001):
        report, saved = run_saved("01", "--tasks", tasks, "--iterations", iterations)
        check(sorted(saved) == ["results"], f"saved {sorted(saved)}")
        expected = [x * (iterations * (iterations - 1) // 2) for x in range(tasks)]
        check_array(saved["results"], np.array(expected, dtype=np.int64), "int64")
        check_runs(report, "heavy_computation", tasks)
        check(report["parameters"] == {"tasks": tasks, "iterations": iterations}, "parameters")


def test_pool_starmap_against_the_closed_form():
    for tasks, iterations, multiplier, offset in ((11, 1000, 2, 100), (1, 1, 5, -7),
                                                  (7, 503, -3, -12345678901),
                                                  (2, 2, 2**63 - 1, 0), (1, 1, 0, -2**63)):
        report, saved = run_saved("02", "--tasks", tasks, "--iterations", iterations,
                                  f"--multiplier={multiplier}", f"--offset={offset}")
        check(sorted(saved) == ["results"], f"saved {sorted(saved)}")
        triangle = iterations * (iterations - 1) // 2
        expected = [x * multiplier * triangle + offset * iterations for x in range(tasks)]
        check_array(saved["results"], np.array(expected, dtype=np.int64), "int64")
        check_runs(report, "process_with_params", tasks)


def test_transfer_cost_against_exact_sums():
    for seed, light, matrices, order in (42, 10, 5, 7), (3, 1, 1, 1), (2**32 - 1, 101, 3, 64):
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
    for seed, images, size, shape, loops in ((42, 3, "20x13", (20, 13), 2), (5, 2, "9", (9, 9), 9),
                                             (0, 1, "5x5", (5, 5), 1), (42, 2, "8x31", (8, 31), 0)):
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
    for seed, n in (42, 4), (5, 1):
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
        check(report["bytes_pickled"] > 65088 + 3136, "bytes_pickled")


def test_text_and_files():
    """Without --json -, a table for people; figures and arrays go where they are asked to."""
    for chapter in CHAPTERS:
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
           "06": ["--images=0", "--images=-1", "--images=two", "--images=10000000", "--input=x"]}
    for chapter in CHAPTERS:
        for option in common + own[chapter]:
            with tempfile.TemporaryDirectory() as directory:
                ran = run(chapter, option, "--save", "saved", directory=directory)
                what = f"{chapter} {option[:40]}: status {ran.returncode}, '{ran.stderr}'"
                check(ran.returncode == 2, what)
                check(ran.stderr.count("\n") == 1 and ran.stderr.endswith("\n"), what)
                check(not ran.stdout and not os.listdir(directory), f"{what}, wrote something")
                name = option.split("=")[0]
                check(name in ran.stderr or "--save" in ran.stderr, f"{what}: names no option")


def test_places_that_cannot_be_written():
    for chapter in CHAPTERS:
        for option in "--save", "--json":
            with tempfile.NamedTemporaryFile() as file:
                small = {"03": ["--order", 3], "04": ["--size", 5],
                         "06": ["--images", 2]}.get(chapter, [])
                ran = run(chapter, option, file.name + "/inside", *small)
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
    for chapter, path in CHAPTERS.items():
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
            for chapter in CHAPTERS:
                ran = run(chapter, *SMALL[chapter], "--workers=2", "--json=-",
                          directory=directory, PYTHONPATH=directory)
                check(ran.returncode == 0 and not ran.stderr, f"{chapter}, {method}: {ran.stderr}")
                report = json.loads(ran.stdout)
                check(report["start_method"] == method, f"{report['start_method']}, not {method}")
                check(all(row["matches_sequential"] for row in report["runs"]), f"{chapter}")


def main():
    tests = [value for name, value in globals().items() if name.startswith("test_")]
    failed = 0
    if not {"01", "02", "03", "04"} <= set(CHAPTERS):
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
