#!/usr/bin/env python3
"""test_schema.py - what --json writes is what docs/schema/report.schema.json says.

Usage: python3 tests/test_schema.py BUILD_ROOT SOURCE_ROOT

Every chapter writes reports with small sizes and with as many kinds of rows as it has; each must
be valid. And the schema must be one, and refuse reports that are broken in one place. The program that
docs/json.md shows reads a report.

It needs a Python with jsonschema (Debian: python3-jsonschema). Where there is none it is skipped,
which it says, with exit status 77.
"""
import copy
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT = 300
SCHEMA = "docs/schema/report.schema.json"


def find_jsonschema():
    """Goes on in a Python that has it, if this one has not."""
    if importlib.util.find_spec("jsonschema"):
        return
    for python in "python3", "/usr/bin/python3":
        asked = [python, "-c", "import jsonschema"]
        if "FORKJOIN_TEST_AGAIN" not in os.environ and subprocess.run(
                asked, stderr=subprocess.DEVNULL, check=False).returncode == 0:
            os.environ["FORKJOIN_TEST_AGAIN"] = "1"
            os.execvp(python, [python, *sys.argv])
    print("SKIPPED: no Python has jsonschema; Debian's package is python3-jsonschema")
    sys.exit(77)


def option_sets(number, small):
    """For one chapter: the options of each report."""
    yield [*small, "--workers=1,3", "--transfer=both", "--timeline", "--start-method=fork",
           "--switch-interval=0.001,0.005"]
    yield [*small, "--mode=sequential"]
    yield [*small, "--mode=gil", "--seed=4294967295", "--seconds=0.001"]
    yield [*small, "--mode=processes", "--workers=2", "--transfer=copy", "--python"]
    if number == 8:
        yield ["--independent=no"]
        yield ["--independent=yes", "--heavy=yes", "--large=yes"]
        yield ["--command=true", "/dev/null", __file__, "--workers=2"]
    if number == 9:
        yield [*small, "--python-images=1", "--workers=2"]


def reports(build, source):
    """(what was run, its report) of all chapters."""
    for directory in sorted(source.glob("chapters/[0-9][0-9]_*")):
        number, name = int(directory.name[:2]), directory.name[3:]
        sizes = importlib.import_module(f"chapter_{number:02}").CHAPTER.counts(6)
        small = [*(f"{option}={value}" for option, value in sizes.items()), "--repeats=1"]
        for options in option_sets(number, small):
            with tempfile.TemporaryDirectory() as home:
                result = subprocess.run(
                    [build / "chapters" / directory.name / name, "--json=-", *options], cwd=home,
                    stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT,
                    check=False)
            what = f"{directory.name} {' '.join(options)}"
            if result.returncode != 0:
                yield what, f"status {result.returncode}: {result.stderr}"
            else:
                yield what, json.loads(result.stdout)


def of_mode(report, mode):
    return next(run for run in report["runs"] if run["mode"] == mode)


# Each breaks a report of chapter 1 in one place.
BROKEN = {
    "no machine": lambda r: r.pop("machine"),
    "no runs": lambda r: r.pop("runs"),
    "an unknown key": lambda r: r.update(colour="red"),
    "a chapter without a number": lambda r: r.update(chapter="pool_map"),
    "a seed that is too large": lambda r: r.update(seed=2**32),
    "a seed that is a text": lambda r: r.update(seed="42"),
    "no core": lambda r: r["machine"].update(cores=0),
    "an unknown key of the machine": lambda r: r["machine"].update(memory=1),
    "a parameter with a hyphen": lambda r: r["parameters"].update({"light-tasks": 1}),
    "a parameter that is an object": lambda r: r["parameters"].update(size={}),
    "an unknown mode": lambda r: r["runs"][0].update(mode="fibers"),
    "no wall time": lambda r: r["runs"][0].pop("wall_s"),
    "a wall time without its median": lambda r: r["runs"][0]["wall_s"].pop("median"),
    "a wall time below 0": lambda r: r["runs"][0]["wall_s"].update(min=-1e-3),
    "a speed-up that is a text": lambda r: r["runs"][1].update(speedup="2.00x"),
    "an unknown key of a run": lambda r: r["runs"][0].update(walls=[1, 2]),
    "two sequential workers": lambda r: r["runs"][0].update(workers=2),
    "processes without a pool": lambda r: of_mode(r, "processes").pop("pool"),
    "processes without a start method": lambda r: of_mode(r, "processes").update(start_method=None),
    "threads with a start method": lambda r: of_mode(r, "threads").update(start_method="fork"),
    "a GIL without its figures": lambda r: of_mode(r, "gil").pop("gil"),
    "threads with a GIL": lambda r: of_mode(r, "threads").update(switch_interval_s=0.005),
    "a device that was never idle": lambda r: r["runs"][0].update(device_s=1.0),
    "a rung without a factor": lambda r: r.update(ladder=[{"rung": "C", "step": None, "task_s": 1}]),
    "a series without rows": lambda r: r.update(series=[{"name": "a", "x": "b", "columns": ["b"]}]),
    "a prediction of nobody": lambda r: r.update(predictions=[{"predicted": 2, "measured": 1.9}]),
    "Python without a wall time": lambda r: r["runs"].append(
        {"language": "Python", "workload": "a", "mode": "threads", "workers": 2}),
}

# Each makes it another one that is as good.
ADDED = {
    "a recorded run": lambda r: r["runs"][0].update(recorded_wall_s=0.1, language="C"),
    "a row of Python": lambda r: r["runs"].append(
        {"language": "Python", "python": "3.13.0", "workload": "a", "mode": "threads", "workers": 2,
         "wall_s": {"min": 1, "median": 1, "max": 2}, "cores_busy": None}),
    "a rung that took no time": lambda r: r.update(ladder=[
        {"rung": "C", "step": None, "task_s": 0, "factor": None, "product": None}]),
    "a series": lambda r: r.update(series=[
        {"name": "a", "x": "workers", "columns": ["workers", "wall_s"], "rows": [[1, 2], [2, None]]}]),
    "predictions": lambda r: r.update(predictions=[
        {"workload": "a", "mode": "threads", "workers": 2, "predicted": 2, "measured": 1.9},
        {"workload": "a", "mode": "gil", "workers": 2, "predicted": "slower", "measured": 1.0}]),
}


def main():
    find_jsonschema()
    import jsonschema  # pylint: disable=import-outside-toplevel
    build, source = (Path(argument).resolve() for argument in sys.argv[1:3])
    schema = json.loads((source / SCHEMA).read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    validator = jsonschema.Draft7Validator(schema)
    passed = failed = 0

    def judge(what, wrong):
        nonlocal passed, failed
        passed, failed = passed + (not wrong), failed + bool(wrong)
        print(f"FAILED {what}: {wrong}" if wrong else f"ok     {what}")

    def fault(report):
        if isinstance(report, str):
            return report
        error = jsonschema.exceptions.best_match(validator.iter_errors(report))
        return error and f"{'/'.join(map(str, error.absolute_path))}: {error.message[:300]}"

    good = None
    for what, report in reports(build, source):
        good = good or report
        judge(what, fault(report))
    for what, change in [*BROKEN.items(), *ADDED.items()]:
        changed = copy.deepcopy(good)
        change(changed)
        if what in ADDED:
            judge(what, fault(changed))
        else:
            judge(f"refused: {what}", "" if fault(changed) else "the schema allows it")
    example = subprocess.run([sys.executable, source / "docs" / "examples" / "best_speedup.py"],
                             input=json.dumps(good), capture_output=True, text=True, check=False)
    lines = example.stdout.splitlines()
    modes = dict.fromkeys(run["mode"] for run in good["runs"])
    judge("best_speedup.py", "" if example.returncode == 0 and len(lines) == 1 + len(modes)
          else f"status {example.returncode}: {example.stdout}{example.stderr}")
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
