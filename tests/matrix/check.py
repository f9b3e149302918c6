"""check.py - every chapter once, in all modes, on the machine as it is: do the modes agree, and does NumPy?

Usage: python3 tests/matrix/check.py BUILD ORACLE [OPTION...]

ORACLE is a directory for NumPy's arrays, which the notebooks write there if it is not there yet: they are
the same for all machines. What the machine is, the environment says, or whatever started this: taskset,
setpriv, a cgroup. So that a row of the matrix is what its name says, --expect looks into the reports: the
machine's KEY has TEXT in it; --cblas looks at the file that cblas_sgemm comes from. --under gives a program
that runs them, as QEMU does: then only chapters with kernels, and the sequential mode, since all would take
minutes. What QEMU warns of, that TCG (it) does not know all of its models' features, is not the chapter's word.

One line for each thing that is wrong. Status 0: nothing is. Needs the standard library only, and for the
notebooks a Python with NumPy.
"""
import argparse
import importlib
import json
import os
import re
import signal
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.realpath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(0, os.path.dirname(HERE))
sys.dont_write_bytecode = True  # the source tree may not be ours

from chapter_test import MODES, arguments, python_with_numpy, read_npy  # noqa: E402

LIMIT = 400  # seconds for a chapter: far more than it needs, also on half a core, or under QEMU
WORKERS = (1, 2, 3)
WITHOUT_KERNELS = "01_pool_map", "02_pool_starmap", "08_when_to_parallelise"

# Odd and small, but large enough that BLAS would like to have threads for its products.
SIZES = {
    "01_pool_map": {"--tasks": 101, "--iterations": 1000},
    "02_pool_starmap": {"--tasks": 101, "--iterations": 1000, "--multiplier": -3},
    "03_transfer_cost": {"--light-tasks": 1001, "--matrices": 7, "--order": 131},
    "04_image_filters": {"--images": 7, "--size": "61x127"},
    "05_data_loading": {"--samples": 37, "--size": 16, "--batch-size": 5, "--epochs": 2,
                        "--train-epochs": 2, "--train-ms": 0.1},
    "06_inference": {"--images": 37},
    "07_shared_memory": {"--shape": "31x61x127"},
    "08_when_to_parallelise": {"--light-tasks": 1001, "--tasks": 31, "--iterations": 1000,
                               "--numbers": 5000, "--side": 33, "--order": 131},
    "09_final_benchmark": {"--images": 7, "--size": "61x127", "--order": 131, "--cnn-images": 37,
                           "--python-images": 1},
}


def chapters():
    """The chapters that are built; each has to have sizes here."""
    directory = os.path.join(SOURCE, "chapters")
    found = sorted(stem for stem in os.listdir(directory)
                   if os.path.exists(os.path.join(directory, stem, stem[3:] + ".c")))
    if found != sorted(SIZES):
        sys.exit(f"check.py: chapters are {found}, but it has sizes for {sorted(SIZES)}")
    return found


def program(build, stem):
    return os.path.join(build, "chapters", stem, stem.partition("_")[2])


def description(stem):
    return importlib.import_module(f"chapter_{stem[:2]}").CHAPTER


# ---- NumPy's arrays -------------------------------------------------------------------------------

def make_oracle(oracle):
    """Under its name when it is whole."""
    python = python_with_numpy()
    if not python:
        sys.exit("check.py: no Python with NumPy was found")
    os.makedirs(os.path.dirname(os.path.abspath(oracle)), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(os.path.abspath(oracle))) as directory:
        made = os.path.join(directory, "oracle")
        for stem in chapters():
            script = os.path.join(SOURCE, "chapters", stem, "notebook.py")
            subprocess.run([python, script, *arguments(SIZES[stem]), *description(stem).notebook,
                            "--workers=2", "--save", os.path.join(made, stem)], check=True,
                           stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        os.rename(made, oracle)


def same_inputs(raw, values, true_raw, true_values, same_processor):
    """Bit for bit. But where the C library takes its logarithm without FMA, for another processor, the last
    bit of a double may be another one; NumPy would have that, too, there."""
    return raw == true_raw or not same_processor and values.typecode == "d" and all(
        abs(mine - true) <= 1e-15 * abs(true) for mine, true in zip(values, true_values))


def compare_arrays(stem, saved, oracle, same_processor):
    for name in description(stem).arrays:
        try:
            _, shape, raw, values = read_npy(os.path.join(saved, name))
            _, true_shape, true_raw, true_values = read_npy(os.path.join(oracle, stem, name))
        except (OSError, ValueError) as error:
            yield str(error)
            continue
        if shape != true_shape:
            yield f"{name} has the shape {shape}, NumPy's has {true_shape}"
        elif name in description(stem).inputs:
            if not same_inputs(raw, values, true_raw, true_values, same_processor):
                yield f"{name} is not bit for bit NumPy's"
        else:
            wrong = [index for index, (mine, true) in enumerate(zip(values, true_values))
                     if not abs(mine - true) <= (0 if values.typecode == "q"
                                                 else 1e-5 + 1e-5 * abs(true))]  # a NaN is wrong, too
            if wrong:
                yield (f"{name}: {len(wrong)} of {len(values)} are not NumPy's; the first, "
                       f"[{wrong[0]}]: {values[wrong[0]]}, NumPy has {true_values[wrong[0]]}")


# ---- One chapter ----------------------------------------------------------------------------------

def ended(status):
    return f"ended by {signal.Signals(-status).name}" if status < 0 else f"status {status}"


def check_report(report, modes, expected):
    seen = set()
    for run in report["runs"]:
        seen.add((run["mode"], run["workers"]))
        if run["matches_sequential"] is not True:
            yield (f"{run['workload']}: {run['mode']}, {run['workers']} workers: "
                   "not the sequential result")
    wanted = {(mode, workers) for mode in modes[1:] for workers in WORKERS} | {("sequential", 1)}
    for mode, workers in sorted(wanted - seen):
        yield f"{mode} with {workers} workers was not run"
    for key, text in expected:
        found = str(report["machine"].get(key))
        if text.lower() not in found.lower():
            yield f"this is not the machine that was meant: {key} is '{found}', not '{text}'"


def check_chapter(args, stem):
    with tempfile.TemporaryDirectory(prefix="forkjoin-") as directory:
        saved = os.path.join(directory, "saved")
        modes = MODES[:1] if args.under else MODES
        command = [*args.under.split(), program(args.build, stem), *arguments(SIZES[stem]), "--repeats=1",
                   f"--workers={','.join(map(str, WORKERS))}", f"--mode={','.join(modes)}",
                   "--json=-", f"--save={saved}"]
        try:
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  timeout=LIMIT)
        except subprocess.TimeoutExpired:
            yield f"not ended after {LIMIT} s"
            return
        told = [line for line in done.stderr.splitlines() if "TCG" not in line and line != "qemu-x86_64: "]
        if done.returncode and not told:
            told = ["not a word about it"]
        yield from (f"{ended(done.returncode)}: {line}" for line in told)
        try:
            report = json.loads(done.stdout)
        except ValueError:
            if not done.returncode:
                yield "its report is no JSON"
            return
        yield from check_report(report, modes, [text.split("=", 1) for text in args.expect])
        yield from compare_arrays(stem, saved, args.oracle, not args.under)


def library_of(path, symbol):
    """The file that the dynamic linker takes this function from."""
    told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=LIMIT,
                          env={**os.environ, "LD_DEBUG": "bindings", "LD_BIND_NOW": "1"}).stderr
    found = re.findall(rf"binding file \S*/{re.escape(os.path.basename(path))} \[0\] to (\S+) \[0\]: "
                       rf"normal symbol `{symbol}'", told)
    return os.path.realpath(found[0]) if found else "nowhere"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition(" - ")[2].partition("\n")[0])
    parser.add_argument("build", type=os.path.realpath)
    parser.add_argument("oracle")
    parser.add_argument("--expect", action="append", default=[], metavar="KEY=TEXT")
    parser.add_argument("--cblas", default="", metavar="TEXT")
    parser.add_argument("--under", default="", metavar="COMMAND")
    args = parser.parse_args()
    if not os.path.isdir(args.oracle):
        make_oracle(args.oracle)
    wrong = 0
    library = library_of(program(args.build, "03_transfer_cost"), "cblas_sgemm") if args.cblas else ""
    if args.cblas not in library:
        print(f"this is not the machine that was meant: cblas_sgemm is from {library}, not '{args.cblas}'")
        wrong += 1
    for stem in chapters():
        if args.under and stem in WITHOUT_KERNELS:
            continue
        for line in check_chapter(args, stem):
            print(f"{stem}: {line}", flush=True)
            wrong += 1
    return wrong > 0


if __name__ == "__main__":
    sys.exit(main())
