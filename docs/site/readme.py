#!/usr/bin/env python3
"""readme.py - puts a real output into README.md, which is read where nobody can make one.

Usage: python3 docs/site/readme.py BUILD_ROOT

Between `<!-- output: COMMAND -->` and `<!-- end of output -->` stand when and where the command was
run, and what it printed. Run this on a machine that does nothing else. (Pages of docs/ have their
outputs made with the site: see book.py.)
"""
import datetime
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"(<!-- output: (.*) -->\n).*?(<!-- end of output -->\n)", re.S)


def outputs(text):
    """(command, what stands there as its output) of a page."""
    for match in BLOCK.finditer(text):
        yield match[2], re.search(r"^```\n(.*?)^```$", match[0], re.S | re.M)[1]


def made(match, build):
    result = subprocess.run(match[2].replace("./run", str(ROOT / "run"), 1).split(), text=True,
                            stdin=subprocess.DEVNULL, capture_output=True, check=True,
                            env={**os.environ, "FORKJOIN_BUILD": build})
    when = datetime.date.today().isoformat()
    return f"{match[1]}By `{match[2]}`, on {when} (yours will differ):\n\n" \
           f"```\n{result.stdout}```\n{match[3]}"


def main():
    build = str(Path(sys.argv[1]).resolve())
    readme = ROOT / "README.md"
    readme.write_text(BLOCK.sub(lambda match: made(match, build), readme.read_text()))


if __name__ == "__main__":
    main()
