#!/usr/bin/env python3
"""test_docs.py - the commands that README and docs print work, and their links lead somewhere.

Usage: python3 tests/test_docs.py BUILD_ROOT SOURCE_ROOT

Takes every line of a fenced block that begins with ./run, variables before it or not, and runs it as
written, in an empty directory, but with one repeat, few --seconds, and mostly in one mode; likewise those
that begin with python3 and a notebook.py, where there is a Python with NumPy; and looks up every relative
link of every page. Of commands without a word that none before them had, the chapters only read the
options, and with FORKJOIN_SHORT of all; then those are left out. (What a page shows the output of is run
whole when the site is made.)

No page has C of its own: it names the file and the regions (a block {source}, see
docs/site/regions.py), and the file must be one that is compiled. Each program of docs/examples
must be shown so by a page, must run, and what it prints must stand on that page, or be put there
when the site is made (a block {output}). Each program of docs/errata must be shown by a page, with
its output; and end with the error that its first line names, or with none. And README's output, which
docs/site/readme.py has put there, has no line of words that the command does not print any more.
"""
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from chapter_test import SHORT, python_with_numpy, write_png

BUILD, SOURCE = (Path(argument).resolve() for argument in sys.argv[1:3])
sys.path.insert(0, str(SOURCE / "docs" / "site"))
import readme  # noqa: E402
import regions  # noqa: E402

PAGES = [SOURCE / "README.md", *sorted(SOURCE.glob("docs/**/*.md"))]
LEFT_OUT = {"./run": "the tour", "./run test": "the tests, which this is one of",
            "./run docs": "the site, a step of .ci/run", "./run report": "test_report.py makes it",
            "./run demo": "asks on a terminal", "./run 1 --step": "test_step.py does that",
            "./run demo --answers tests/demo_answers.txt --seconds 0.02 --repeats 1":
                "test_run.sh does that"}
LEFT_OUT_BENCH = "test_bench.py does that, with toy sizes"
LIMIT = 300


def fences(text):
    """(what is said behind the opening fence, the block) for each fenced block."""
    return re.findall(r"^```([^\n`]*)\n(.*?)^``` *$", text, re.S | re.M)


def commands(text):
    for info, block in fences(text):
        for line in block.splitlines():
            if info != "{source}" and re.match(r"([A-Z_]+=\S+ )*(\./run(\s|$)|python3 chapters/)",
                                               line):
                yield line.split("#")[0].strip()


# How a command of a chapter is run; README's own, whose output is compared, WHOLE
WHOLE = ["--repeats", "1"]
LITTLE = [*WHOLE, "--seconds", "0.02", "--mode", "sequential"]  # not with these:
NOT_LITTLE = "--(mode|python|answers|independent|command|trace)"
ITS_OPTIONS = ["--help"]  # behind them: they are read first


def says_something_new(command, known):
    """Has it a chapter, command or option that none before it had? They are added to what is known."""
    words = {word.partition("=")[0] for word in command.split()
             if word.startswith(("-", "FORKJOIN_")) or word.endswith(".py")}
    words |= set(re.findall(r"\./run(?: [\w]+)?", command))
    new = words - known
    known |= words
    return bool(new)


def links(text):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target:
            yield target


def compiled_files():
    """All files of compile_commands.json, and the headers, which they include."""
    with open(BUILD / "compile_commands.json") as file:
        commands = json.load(file)
    return {(Path(command["directory"]) / command["file"]).resolve() for command in commands
            } | {*SOURCE.glob("common/**/*.h"), *SOURCE.glob("chapters/*/*.h")}


def wrong_regions(text, compiled):
    """What is wrong with the C of a page; the files whose regions it shows."""
    wrong, shown = [], set()
    for info, block in fences(text):
        if re.fullmatch(r" *(\{code(-block)?\})? *(c|h|cpp) *|\{literalinclude\}.*", info.lower()):
            wrong.append(f"a block of {info} that is not a region of a file")
        elif not info and re.search(
                r"^ *(#(include|pragma)|(int|void|static|struct|return)\b.*[;{]$)", block, re.M):
            wrong.append(f"a block that looks like C: {block}")
    for path, *names in regions.blocks(text, "source"):
        file = SOURCE / path
        try:
            regions.extract(file, names)
        except (OSError, regions.RegionError, StopIteration) as error:
            wrong.append(f"{path}: {error}")
        if file.suffix in (".c", ".h") and file not in compiled:
            wrong.append(f"{path} is not compiled")
        shown.add(file)
    return wrong, shown


def check_example(file, pages):
    """It runs, and a page that shows it has its output, or the command that makes it."""
    result = subprocess.run([BUILD / "tests" / file.stem], capture_output=True, text=True,
                            timeout=LIMIT, check=False)
    if result.returncode != 0 or not result.stdout:
        return f"status {result.returncode}: {result.stderr}"
    made = [f"build/tests/{file.stem}"]
    for page in pages:
        text = page.read_text()
        if f"```\n{result.stdout}```" in text or made in regions.blocks(text, "output"):
            return ""
    return f"no page shows it with its output: {result.stdout}" if pages else "no page shows it"


def error_of(stderr):
    """The exception's name: the first line of the last traceback that is not indented. Python 3.14
    puts notes behind it."""
    last = stderr.rpartition("Traceback (most recent call last):\n")[2]
    line = next((line for line in last.splitlines() if line.strip() and line[0] != " "), "")
    return line.partition(":")[0].split(".")[-1]


def wrong_error_names():
    """Does error_of read what the Pythons of several versions write?"""
    trace = 'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\n    f()\n'
    written = {
        trace + "ValueError: no\n": "ValueError",
        trace + "_pickle.PicklingError: no\nwhen serializing tuple item 0\n": "PicklingError",
        trace + "KeyError: 1\n\nDuring ...:\n\n" + trace + "a.b.TypeError: f(\n)\n  x\n": "TypeError",
        trace + "StopIteration\n": "StopIteration",
        "": ""}
    return [name for text, name in written.items() if error_of(text) != name]


def check_erratum(file, python):
    """What it prints depends on the machine, but not with which error it ends."""
    name = f"docs/errata/{file.name}"
    texts = [page.read_text() for page in PAGES]
    if not any([name] in regions.blocks(text, "source")
               and [f"python3 {name}"] in regions.blocks(text, "output") for text in texts):
        return "no page shows it and its output"
    if not python:
        return ""
    errors = re.match(r"# Ends with: (.*)\n", file.read_text())
    result = subprocess.run([python, name], cwd=SOURCE, stdin=subprocess.DEVNULL, text=True,
                            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
                            capture_output=True, timeout=LIMIT, check=False)
    if not errors:
        good = result.returncode == 0 and result.stdout and not result.stderr
    else:
        good = result.returncode == 1 and error_of(result.stderr) in errors[1].split(", ")
    return "" if good else f"status {result.returncode}\n{result.stdout}\n{result.stderr}"


def old_lines(home, python):
    """Lines without a figure in README's outputs that the commands do not print."""
    for command, text in readme.outputs((SOURCE / "README.md").read_text()):
        now = run(command, home, python, WHOLE).stdout.splitlines()
        fixed = re.findall(r"^(?:  [a-zA-Z]|mode|where time went)[^\d\n]*$", text, re.M)
        yield from (line for line in fixed if line not in now)


def wrong_options():
    """docs/command_line.md has the options that --help calls common to all chapters."""
    program = next(BUILD.glob("chapters/01_*/pool_map"))
    shown = subprocess.run([program, "--help"], capture_output=True, text=True, check=True).stdout
    common = set(re.findall(r"^.{6}(--[a-z-]+)", shown.split("Common to all")[1], re.M))
    page = (SOURCE / "docs" / "command_line.md").read_text()
    cells = " ".join(re.findall(r"^\| (`-.*?) \|", page, re.M))
    return common ^ set(re.findall(r"(?<![\w-])--[a-z-]+", cells))


def wrong_rows():
    """Rows of the matrix of machines that the page for maintainers does not explain, or that are none."""
    listed = subprocess.run([sys.executable, SOURCE / "tests/matrix/matrix.py", "--list"],
                            capture_output=True, text=True, timeout=LIMIT, check=True).stdout.split()
    page = (SOURCE / "docs/maintainers.md").read_text()
    section = page.partition("## The matrix of machines\n")[2].partition("\n## ")[0]
    cells = re.findall(r"(?m)^\| (`[^|]*)\|", section)
    return set(listed) ^ set(re.findall(r"`([^`]+)`", " ".join(cells)))


def run(command, home, python, how):
    chapter = re.search(r"\./run \d|python3 chapters/", command)
    if how is LITTLE and (re.search(NOT_LITTLE, command) or "python3" in command):
        how = WHOLE
    if "--seconds" in command:
        how = [*how, "--seconds", "0.05"]
    command = command.replace("./run", str(SOURCE / "run"), 1).replace("~", str(home))
    command = command.replace("python3 chapters/", f"{python} {SOURCE}/chapters/", 1)
    environment = {**os.environ, "HOME": str(home), "FORKJOIN_BUILD": str(BUILD)}
    return subprocess.run(["env", *command.split(), *(how if chapter else [])], cwd=home, env=environment,
                          stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=LIMIT, check=False)


def main():
    passed = failed = skipped = 0
    seen = set()  # commands: an output and a chart have the same one
    known = set()  # their words
    compiled, python = compiled_files(), python_with_numpy()
    showing = {file: [] for file in sorted(SOURCE.glob("docs/examples/*.c"))}
    with tempfile.TemporaryDirectory() as directory:
        home = Path(directory)
        (home / "Pictures").mkdir()
        write_png(str(home / "Pictures" / "holiday.png"), 40, 60, lambda y, x: x * y % 256)
        for line in old_lines(home, python):
            failed += 1
            print(f"FAILED README.md: docs/site/readme.py has to be run again, for {line!r}")
        for page in PAGES:
            text = page.read_text()
            for target in links(text):
                if (page.parent / target).exists():
                    passed += 1
                else:
                    failed += 1
                    print(f"FAILED {page.relative_to(SOURCE)}: there is no {target}")
            wrong, shown = wrong_regions(text, compiled)
            for file in shown:
                showing.get(file, []).append(page)
            passed, failed = passed + len(shown), failed + len(wrong)
            for what in wrong:
                print(f"FAILED {page.relative_to(SOURCE)}: {what}")
            for command in commands(text):
                if command in seen:
                    continue
                seen.add(command)
                if command in LEFT_OUT or "./run bench" in command:
                    print(f"elsewhere {command}: {LEFT_OUT.get(command, LEFT_OUT_BENCH)}")
                    skipped += 1
                    continue
                new = says_something_new(command, known)
                if SHORT and not new:
                    continue
                if command.startswith("python3 ") and not python:
                    print(f"skipped {command}: there is no Python with NumPy")
                    skipped += 1
                    continue
                how = LITTLE if new and not SHORT else ITS_OPTIONS
                result = run(command.replace(" tests/", f" {SOURCE}/tests/"), home, python, how)
                if result.returncode == 2 and "none of the instruction sets" in result.stderr:
                    print(f"skipped {command}: this machine cannot do that")
                    skipped += 1
                    continue
                if result.returncode == 1 and "install gnuplot-nox" in result.stderr:
                    print(f"skipped {command}: there is no gnuplot")
                    skipped += 1
                    continue
                good = result.returncode == 0 and result.stdout
                passed, failed = passed + bool(good), failed + (not good)
                print(f"{'ok     ' if good else 'FAILED '} {command}")
                if not good:
                    print(result.stdout[-2000:], result.stderr[-2000:], sep="\n")
    names = wrong_error_names()
    passed, failed = passed + (not names), failed + len(names)
    for name in names:
        print(f"FAILED test_docs.py: {name} is not read from what Python writes")
    options = wrong_options()
    passed, failed = passed + (not options), failed + bool(options)
    if options:
        print(f"FAILED docs/command_line.md and --help differ: {', '.join(sorted(options))}")
    rows = wrong_rows()
    passed, failed = passed + (not rows), failed + bool(rows)
    if rows:
        print(f"FAILED docs/maintainers.md and tests/matrix/matrix.py differ: {', '.join(sorted(rows))}")
    for file, pages in showing.items():
        wrong = check_example(file, pages)
        passed, failed = passed + (not wrong), failed + bool(wrong)
        print(f"FAILED {file.name}: {wrong}" if wrong else f"ok      {file.name}")
    if not python:
        print("skipped docs/errata: shown, but not run, since there is no Python with NumPy")
        skipped += 1
    for file in sorted(SOURCE.glob("docs/errata/*.py")):
        wrong = check_erratum(file, python)
        passed, failed = passed + (not wrong), failed + bool(wrong)
        print(f"FAILED {file.name}: {wrong}" if wrong else f"ok      {file.name}")
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
