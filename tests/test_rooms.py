#!/usr/bin/env python3
"""test_rooms.py - the arrows between the rooms of common/, and between the files of each, point one way.

Usage: python3 tests/test_rooms.py BUILD_ROOT SOURCE_ROOT

ROOMS says who may use whom; docs/maintainers.md and common/lesson/state.h draw the same. Looked at are the
includes of all files, and the calls, as nm finds them in the objects: a name that one file defines and another
needs. No call goes up, and no files call each other in a circle. Each file begins with its design.
"""
import re
import subprocess
import sys
from pathlib import Path

BUILD, SOURCE = (Path(argument).resolve() for argument in sys.argv[1:3])

# Each room, and those that it may use besides itself. common/lesson's own, from the top: each may use all
# that come after it.
LESSON = ("study", "write", "step", "draw", "python", "explain", "measure", "options", "host", "words")
BELOW = {"parallel", "kernels", "data"}
ROOMS = {"": set(), **dict.fromkeys(BELOW, set()), "lesson": {*LESSON, *BELOW},
         **{room: {*LESSON[i + 1:], *BELOW} for i, room in enumerate(LESSON)}}
# What all of common/lesson may include, besides the headers of the rooms below: contracts for chapters, and
# what the rooms know of each other.
SHARED = {"lesson.h", "state.h", "evidence.h", "command.h"}


def room_of(path):
    """The room of a file, by its path below common/: the directory that it is in."""
    directory = Path(path).parent.name
    return "lesson" if path.startswith("lesson/") and directory not in LESSON else directory


def files():
    for file in sorted((SOURCE / "common").rglob("*.[ch]")):
        yield file.relative_to(SOURCE / "common").as_posix()


def wrong_includes():
    for file in files():
        room = room_of(file)
        for used in re.findall(r'(?m)^#include "common/([^"]+)"', (SOURCE / "common" / file).read_text()):
            if used == "lesson/place.h" or file.startswith("lesson/") and used.removeprefix("lesson/") in SHARED:
                continue
            if room_of(used) not in {room, "", *ROOMS[room]}:
                yield f"common/{file} includes common/{used}"


def symbols():
    """(file, is it defined there?, name) for every global name in the objects of common/."""
    known = {re.sub(r"\W", "_", file.removesuffix(".c").partition("/")[2]): file for file in files()
             if file.endswith(".c")}
    for archive in sorted(BUILD.glob("common/*/lib*.a.p")):
        room = archive.parent.name
        for item in sorted(archive.glob("*.c.o")):
            stem = item.name.removesuffix(".c.o")
            file = known.get(stem)
            if not file or not file.startswith(room + "/"):
                continue  # made by the build, or of a level of the kernels
            told = subprocess.run(["nm", item], capture_output=True, text=True, check=True).stdout
            for kind, name in re.findall(r"(?m)^[0-9a-f]* *([A-Za-z]) (\S+)$", told):
                if kind.isupper():
                    yield file, kind != "U", name


def calls():
    """file -> {another file: a name of it}"""
    found = list(symbols())
    home = {name: file for file, defined, name in found if defined}
    graph = {}
    for file, defined, name in found:
        if not defined and home.get(name, file) != file:
            graph.setdefault(file, {})[home[name]] = name
    return graph


def wrong_calls(graph):
    for file, used in graph.items():
        for other, name in used.items():
            if room_of(other) not in {room_of(file), *ROOMS[room_of(file)]}:
                yield f"common/{file} uses {name} of common/{other}"


def circles(graph):
    """Files from which calls lead back to themselves, each with the way."""
    def way_back(start):
        ways, seen = [[start]], set()
        while ways:
            way = ways.pop(0)
            for file in graph.get(way[-1], ()):
                if file == start:
                    return way
                if file not in seen:
                    seen.add(file)
                    ways.append([*way, file])
        return None

    told = set()
    for file in sorted(graph):
        way = way_back(file) if file not in told else None
        if way:
            told.update(way)
            yield "a circle: " + " -> ".join(f"common/{step}" for step in [*way, file])


def error_alone():
    """error.h is for programs that define nothing and ask for plain C."""
    told = subprocess.run(["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-fsyntax-only", "-x", "c", "-I", SOURCE, "-"],
                          input='#include "common/error.h"\n', capture_output=True, text=True, check=False)
    if told.returncode:
        yield f"common/error.h does not compile alone: {told.stderr}"


def without_essays():
    """Files of code that do not begin with what they are for."""
    for file in files():
        if file.endswith(".c") and not (SOURCE / "common" / file).read_text().startswith("/* "):
            yield f"common/{file} does not begin with a comment that says its design"


def main():
    graph = calls()
    wrong = [*wrong_includes(), *wrong_calls(graph), *circles(graph), *without_essays(), *error_alone()]
    if not graph:
        wrong.append(f"no object was found in {BUILD}/common")
    drawn = re.findall(r"(?m)^ \*   (\w+)/ ", (SOURCE / "common/lesson/state.h").read_text())
    if tuple(drawn) != LESSON:
        wrong.append(f"common/lesson/state.h lists {drawn}")
    for line in wrong:
        print(f"FAILED {line}")
    print(f"{sum(map(len, graph.values()))} arrows between {len(graph)} files, {len(wrong)} wrong")
    return len(wrong) > 0


if __name__ == "__main__":
    sys.exit(main())
