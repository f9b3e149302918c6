#!/usr/bin/env python3
"""test_docs.py - the commands that README and docs print work, and their links lead somewhere.

Usage: python3 tests/test_docs.py BUILD_ROOT SOURCE_ROOT

Takes every line of a fenced block that begins with ./run, variables before it or not, and runs it as
written, in an empty directory and with one repeat; and looks up every relative link of every page. A program
that a page shows (a link to docs/examples/NAME.c with a colon, then a block) must be that file's
text, and the page must show what it prints.
"""
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from test_chapters import write_png

BUILD, SOURCE = (Path(argument).resolve() for argument in sys.argv[1:3])
PAGES = [SOURCE / "README.md", *sorted(SOURCE.glob("docs/**/*.md"))]
LEFT_OUT = {"./run": "the tour", "./run test": "the tests, which this is one of"}
LIMIT = 300


def commands(text):
    for block in re.findall(r"^```\w*\n(.*?)^```", text, re.S | re.M):
        for line in block.splitlines():
            if re.match(r"([A-Z_]+=\S+ )*\./run(\s|$)", line):
                yield line.split("#")[0].strip()


def links(text):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            yield target


def examples(text):
    return re.findall(r"\]\((\S+\.c)\):\n\n```c\n(.*?)^```", text, re.S | re.M)


def check_example(page, target, shown):
    file = page.parent / target
    if not file.exists() or file.read_text() != shown:
        return f"the block is not {target}"
    output = subprocess.run([BUILD / "tests" / file.stem], capture_output=True, text=True,
                            timeout=LIMIT, check=False).stdout
    return "" if output and f"```\n{output}```" in page.read_text() else f"it prints {output!r}"


def run(command, home):
    chapter = re.search(r"\./run \d", command)
    command = command.replace("./run", str(SOURCE / "run"), 1).replace("~", str(home))
    environment = {**os.environ, "HOME": str(home), "FORKJOIN_BUILD": str(BUILD)}
    words = ["env", *command.split(), *(["--repeats", "1"] if chapter else [])]
    return subprocess.run(words, cwd=home, env=environment, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=LIMIT, check=False)


def main():
    passed = failed = skipped = 0
    unseen = set(SOURCE.glob("docs/examples/*.c"))
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        (home / "Pictures").mkdir()
        write_png(str(home / "Pictures" / "holiday.png"), 40, 60, lambda y, x: x * y % 256)
        for page in PAGES:
            text = page.read_text()
            for target in links(text):
                if (page.parent / target).exists():
                    passed += 1
                else:
                    failed += 1
                    print(f"FAILED {page.relative_to(SOURCE)}: there is no {target}")
            for target, shown in examples(text):
                wrong = check_example(page, target, shown)
                unseen.discard((page.parent / target).resolve())
                passed, failed = passed + (not wrong), failed + bool(wrong)
                print(f"FAILED {page.relative_to(SOURCE)}: {wrong}" if wrong else f"ok      {target}")
            for command in commands(text):
                if command in LEFT_OUT:
                    print(f"skipped {command}: {LEFT_OUT[command]}")
                    skipped += 1
                    continue
                result = run(command, home)
                if result.returncode == 2 and "none of the instruction sets" in result.stderr:
                    print(f"skipped {command}: this machine cannot do that")
                    skipped += 1
                    continue
                good = result.returncode == 0 and result.stdout
                passed, failed = passed + bool(good), failed + (not good)
                print(f"{'ok     ' if good else 'FAILED '} {command}")
                if not good:
                    print(result.stdout[-2000:], result.stderr[-2000:], sep="\n")
    for file in unseen:
        failed += 1
        print(f"FAILED {file.relative_to(SOURCE)}: no page shows it")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
