#!/usr/bin/env python3
"""test_upstream.py - upstream_cases.md is true: each test that it names exists, and each row has one or a reason.

Usage: python3 tests/test_upstream.py SOURCE_ROOT
"""
import re
import sys
from pathlib import Path

TESTS = Path(sys.argv[1]) / "tests"
LEAST = 150


NAME = re.compile(r"START_TEST\((\w+)\)|\bdef (\w+)|^(?:static )?\w[\w *]*?(\w+)\(", re.M)


def names_in(stem):
    """The tests of a file: START_TESTs, or functions and methods of a script."""
    for suffix in ".c", ".py":
        file = TESTS / (stem + suffix)
        if file.exists():
            return {name for names in NAME.findall(file.read_text()) for name in names if name}
    return None


def wrong_rows():
    rows = [line.strip("|").split(" | ") for line in (TESTS / "upstream_cases.md").read_text().splitlines()
            if line.startswith("| ") and not line.startswith("| case ")]
    if len(rows) < LEAST:
        yield f"only {len(rows)} rows"
    for cells in rows:
        case, ours = cells[0].strip(), cells[-1].strip()
        named = re.findall(r"`(\w+): ([\w, ]+)`", ours)
        if not named and not ours.startswith("none: because "):
            yield f"{case}: no test and no reason: {ours}"
        for stem, tests in named:
            known = names_in(stem)
            if known is None:
                yield f"{case}: there is no file {stem}"
                continue
            for test in tests.split(", "):
                if test.strip() not in known:
                    yield f"{case}: {stem} has no test {test}"


def main():
    wrong = list(wrong_rows())
    for line in wrong:
        print(f"FAILED {line}")
    print(f"{len(wrong)} wrong")
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
