#!/usr/bin/env python3
"""summary.py - runs the tests by Meson, and says at the end what passed, failed and was skipped, why,
and what to do.

Usage: python3 tests/summary.py BUILD_ROOT [--all] [SUITE...] [OPTION...]

This is ./run test. Without --all it is the quick choice of cases, one of each kind: FORKJOIN_SHORT in
tests/meson.build and in the tests. SUITE and OPTION are those of `meson test`.

A suite that passes may have left out a part, because this machine lacks something. It says so in a line
`skipped: what and why` or as unittest does, and is quoted here; status 77 says that all of it was.
"""
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

# A line of ours, or unittest's "test ... skipped 'why'"; what only another chapter tries is no skip.
SKIPPED = re.compile(r"^(?:\S+: |.* \.\.\. )?skipped:? +(?!['\"]?not here|\d+$)(['\"]?)(.*)\1$", re.I | re.M)
GOOD = ("OK", "EXPECTEDFAIL")
TO_DO = (
    ("numpy", "install python3-numpy"),
    ("gnuplot", "install gnuplot-nox"),
    ("jsonschema", "install python3-jsonschema"),
    ("openblas on openmp", "install libopenblas0-openmp"),
    ("BLIS", "install libblis4-pthread"),
    ("reference BLAS", "install libblas3"),
    ("git ", "install git, and clone the project with it"),
    ("chromium|chromedriver|selenium", "install chromium chromium-driver python3-selenium"),
    ("instruction set|this machine cannot", "nothing: it needs another processor"),
    ("before main", "nothing: it needs another version of OpenBLAS"),
    ("two cores|one core", "nothing: it needs a machine with more cores"),
    ("file system|mount|/dev/shm|namespace|only root", "run it as root, or where users may have name spaces"),
)


def meson(build, options):
    """Runs `meson test`; its status. Many tests wait most of their time, so twice as many run as there are cores."""
    setup = ["--setup", "all"] if "--all" in options else []
    options = [option for option in options if option != "--all"]
    cores = len(os.sched_getaffinity(0))
    environment = {"MESON_TESTTHREADS": str(2 * cores), **os.environ}
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Meson hears it, too, and ends its tests
    return subprocess.run(
        ["meson", "test", "-C", build, "--no-rebuild", "--print-errorlogs", *setup, *options],
        env=environment, check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)).returncode


def results(log):
    """Meson's records of the tests that have ended: name, result, duration, stdout, stderr."""
    with open(log, encoding="utf-8", errors="replace") as file:
        return [json.loads(line) for line in file]


def short_name(record):
    return record["name"].rpartition(" / ")[2]


def what_to_do(reason):
    return next((todo for words, todo in TO_DO if re.search(words, reason, re.I)), "see its output")


def skipped_parts(records):
    """reason -> the suites that gave it."""
    found = {}
    for record in records:
        said = SKIPPED.findall(f"{record.get('stdout', '')}\n{record.get('stderr', '')}")
        reasons = [reason for _, reason in said]
        if record["result"] == "SKIP" and not reasons:
            reasons = ["it does not say why"]
        for reason in reasons:
            found.setdefault(reason, {})[short_name(record)] = None
    return found


def tell(records, log, all_of_them):
    failed = [record for record in records if record["result"] not in (*GOOD, "SKIP")]
    skipped = [record for record in records if record["result"] == "SKIP"]
    parts = skipped_parts(records)
    if parts:
        print("\nSkipped on this machine:")
        for reason, suites in parts.items():
            print(f"  {', '.join(suites)}: {reason}\n      to do: {what_to_do(reason)}")
    if failed:
        print("\nFailed:")
        for record in failed:
            print(f"  {short_name(record)} ({record['result'].lower()}, {record['duration']:.0f} s)"
                  f"\n      again, alone: ./run test {'--all ' * all_of_them}{short_name(record)}")
        print(f"  all that they said: {log.with_suffix('.txt')}")
    if not all_of_them:
        print("\nThis was one of each kind; ./run test --all runs all cases.")
    print(f"\n{len(records) - len(failed) - len(skipped)} passed, {len(failed)} failed, "
          f"{len(skipped)} skipped")


def main():
    build, options = sys.argv[1], sys.argv[2:]
    logs = Path(build, "meson-logs")
    before = {log: log.stat().st_mtime_ns for log in logs.glob("testlog*.json")}
    status = meson(build, options)
    new = [log for log in logs.glob("testlog*.json") if log.stat().st_mtime_ns != before.get(log)]
    if len(new) == 1:  # not after --list, --help or a wrong option
        tell(results(new[0]), new[0].resolve(), "--all" in options)
    return status


if __name__ == "__main__":
    sys.exit(main())
