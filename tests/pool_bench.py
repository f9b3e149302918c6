#!/usr/bin/env python3
"""pool_bench.py - the pool and Python's pools, measured side by side in one run.

Usage: python3 tests/pool_bench.py POOL_BENCH [OPTION...]

POOL_BENCH is the program of that name in the build directory; it measures our pool. Each of
Python's pools is measured by a process of its own (pool_bench_peer.py). All of them are there
during the whole run and do nothing until they are asked for one sample of one case; and they are
asked in turns, A, B, C, A, B, C, so that whatever changes on the machine changes for all.

The exit status tells whether all results were right, not whether they came fast.
"""
import argparse
import datetime
import glob
import json
import math
import os
import platform
import random
import re
import select
import shlex
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).resolve().parent
OURS, FLOOR, OTHER = "forkjoin", "floor", "other build"
METHOD = {OURS: "forkserver", OTHER: "forkserver", "mp.Pool": "fork", "executor": "fork", "loky": "loky"}  # unless said
PATIENCE = 120  # seconds for one sample: more than any needs
BEGIN, END = "<!-- results: begin -->", "<!-- results: end -->"


class Failure(Exception):
    """A peer gave a wrong result, an error, or no answer."""


# ---- Peers ---------------------------------------------------------------------------------------

class Peer:
    """A process that measures; it leads a session, so that nothing of it outlives us."""

    def __init__(self, command):
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, start_new_session=True)

    def ask(self, request):
        """The figure in seconds, and the other ones by name."""
        try:
            self.process.stdin.write(request + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            raise Failure(f"{request}: the process is gone") from None
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            self.kill()
            raise Failure(f"{request}: no answer within {PATIENCE} s")
        words = self.process.stdout.readline().split()
        if not words or words[0] != "ok":
            raise Failure(f"{request}: {' '.join(words) or 'the process is gone'}")
        return float(words[1]), dict(word.split("=", 1) for word in words[2:])

    def kill(self):
        for process in [*descendants(self.process.pid), self.process.pid]:
            try:
                os.kill(process, signal.SIGKILL)
            except ProcessLookupError:
                pass
        self.process.wait()

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.kill()
        self.process.stdout.close()


def descendants(leader):
    """The other processes of its session: the pool's helper is nobody's child."""
    found = []
    for path in glob.glob("/proc/[0-9]*/stat"):
        try:
            text = Path(path).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue  # it has ended
        pid, session = int(text.split(" ", 1)[0]), int(text.rsplit(")", 1)[1].split()[3])
        if session == leader and pid != leader:
            found.append(pid)
    return found


def cpu_seconds(ancestor):
    """CPU time of a process and all of its session, to the nanosecond; None where it is not told."""
    total = 0
    for pid in [ancestor, *descendants(ancestor)]:
        for path in glob.glob(f"/proc/{pid}/task/*/schedstat"):
            try:
                total += int(Path(path).read_text(encoding="ascii").split()[0])
            except (FileNotFoundError, ProcessLookupError):
                pass
    return total * 1e-9 if os.path.exists("/proc/self/schedstat") else None


def machine_busy_seconds():
    """CPU time of everybody, in ticks of usually 10 ms: all but idle and waiting for a disk."""
    fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    return sum(int(fields[i]) for i in (0, 1, 2, 5, 6, 7)) / os.sysconf("SC_CLK_TCK")


class Peers:
    """Started when they are first asked; replaced when one had to be killed."""

    def __init__(self, pool_bench, python):
        self.commands = {OURS: [pool_bench], FLOOR: [pool_bench]}
        for name in ("mp.Pool", "executor", "loky"):
            self.commands[name] = [python, "-c", f"import sys; sys.path.insert(0, {str(HERE)!r}); "
                                   f"import pool_bench_peer; pool_bench_peer.serve({name!r})"]
        self.running = {}

    def start(self, name):
        return Peer(self.commands[name])

    def __getitem__(self, name):
        peer = self.running.get(name)
        if peer is None or peer.process.poll() is not None:
            peer = self.running[name] = self.start(name)
        return peer

    def close(self):
        for peer in self.running.values():
            peer.close()


# ---- Cases ---------------------------------------------------------------------------------------

@dataclass
class Contender:
    label: str
    peer: str
    request: str
    per: int = 1  # so many tasks are in one sample
    samples: list = field(default_factory=list)
    more: dict = field(default_factory=dict)  # other figures of the samples, by name
    failure: str = ""

    def sample(self, peers, fresh, record):
        if fresh:
            time.sleep(0.25)  # the processes of the one before take a while to end
            peer = peers.start(self.peer)
            try:
                time.sleep(0.05)  # and this one to be there
                seconds, more = peer.ask(self.request)
            finally:
                peer.close()
        else:
            seconds, more = peers[self.peer].ask(self.request)
        if record:
            self.samples.append(seconds / self.per)
            for name, value in more.items():
                self.more.setdefault(name, []).append(float(value))

    @property
    def median(self):
        return statistics.median(self.samples)


@dataclass
class Case:
    key: str
    title: str
    contenders: list
    workers: int = 0     # of a pool that is opened before and closed after the case; 0: none
    fresh: bool = False  # each sample in a new process
    notes: list = field(default_factory=list)

    def __getitem__(self, label):
        """The contender of that name, if it was measured."""
        for contender in self.contenders:
            if contender.label == label and contender.samples:
                return contender
        return None


def cases(quick, scratch, cores):
    death = f"{scratch}/death"
    few = 4 if quick else 1  # in a quick run the slow ones get so many times fewer tasks

    def of_each(request, calls, labels=None):
        """The same request to all: of fewer calls to those that take long for one."""
        counts = {OURS: calls[0], "mp.Pool": calls[1], "executor": calls[2], "loky": calls[3]}
        labels = labels or {name: name for name in counts}
        return [Contender(label, name, request(name).format(counts[name]), counts[name])
                for name, label in labels.items()]

    def plain(name):
        return lambda peer: f"{name} {{}}"

    def imap(name, buffersize):
        return lambda peer: f"{name} {{}}" + (f" {buffersize}" if peer == OURS else "")

    def apply(calls):
        floor = [Contender(f"bare {kind}, {where}", FLOOR, f"floor {kind} {place} {calls}")
                 for kind, place, where in (("futex", "together", "one core"),
                                            ("futex", "apart", "two cores"),
                                            ("spin", "apart", "two cores"))
                 if cores > 1 or place == "together"]
        return [Contender(name, name, f"apply {calls}") for name in METHOD] + floor

    def unless_quick(*contenders):
        """loky takes long to start."""
        return [] if quick else [*contenders]

    def starts(request):
        return [Contender(f"{name}, {method}" if name != "loky" else name, name,
                          f"{request if name == OURS else 'start'} {method} 2")
                for name, methods in ((OURS, ("forkserver", "fork", "spawn")),
                                      ("mp.Pool", ("fork", "forkserver", "spawn")),
                                      ("executor", ("fork",)), *unless_quick(("loky", ("loky",))))
                for method in methods]

    tasks = 20000
    slow = [tasks // few, 2000 // few, 1000 // few]
    chunk1 = [Contender(f"{OURS}, chunksize 1", OURS, f"map {tasks} 1 copy", tasks),
              Contender(f"{OURS}, chunksize 1, shared arrays", OURS, f"map {tasks} 1 shared",
                        tasks),
              Contender("mp.Pool, chunksize 1", "mp.Pool", f"map {slow[0]} 1", slow[0]),
              Contender("executor, chunksize 1 (its default)", "executor", f"map {slow[1]} 1",
                        slow[1]),
              Contender("loky, batch_size 1", "loky", f"map {slow[2]} 1", slow[2])]
    default = [Contender(f"{OURS}, default chunksize", OURS, f"map {tasks} 0 copy", tasks),
               Contender("mp.Pool, default chunksize", "mp.Pool", f"map {tasks} 0", tasks),
               Contender("executor, mp.Pool's chunksize", "executor", f"map {tasks} 0", tasks),
               Contender("loky, batch_size auto", "loky", f"map {tasks} 0", tasks)]
    own_default = f"{OURS}, buffersize 8 (its default)"
    items = [1000, 1000 // few, 1000 // few, 1000 // few]
    return [
        Case("map", f"map of {tasks} trivial tasks, 2 workers: a task", chunk1 + default, 2),
        Case("start", "a pool of 2: from creating it to its first result, in a running program",
             starts("start")),
        Case("first", "the same, the program's first pool: with pool_startup, or Python's imports",
             starts("first"), fresh=True),
        Case("apply2", "apply, 2 workers: a round trip", apply(1000 // few), 2),
        Case("apply1", "apply, 1 worker: a round trip", apply(1000 // few), 1),
        Case("async", "apply_async or submit, 1000 in flight, 2 workers: a task",
             of_each(plain("apply_async"), [1000] * 4), 2),
        Case("imap", "imap with chunksize 1, 2 workers: an item",
             of_each(imap("imap", 0), items, {OURS: own_default})
             + of_each(imap("imap", 256), items, {
                 OURS: f"{OURS}, buffersize 256", "mp.Pool": "mp.Pool, eager",
                 "executor": "executor.map, eager"}), 2),
        Case("unordered", "imap_unordered with chunksize 1, 2 workers: an item",
             of_each(imap("imap_unordered", 0), items, {OURS: own_default})
             + of_each(imap("imap_unordered", 256), items, {
                 OURS: f"{OURS}, buffersize 256", "mp.Pool": "mp.Pool, eager",
                 "executor": "executor, as_completed", "loky": "loky, as_completed"}), 2),
        Case("transfer", "map of 16 tasks with 1 MB of arguments each, 2 workers: the whole map",
             [Contender(f"{OURS}, shared", OURS, "transfer shared"),
              Contender(f"{OURS}, copied", OURS, "transfer copy"),
              Contender("mp.Pool, SharedMemory", "mp.Pool", "transfer shared"),
              Contender("mp.Pool, pickled", "mp.Pool", "transfer copy"),
              Contender("executor, SharedMemory", "executor", "transfer shared"),
              Contender("executor, pickled", "executor", "transfer copy"),
              Contender("loky, pickled", "loky", "transfer copy")], 2),
        Case("death", "SIGKILL to a worker within a task: until the call tells, or has healed it",
             [Contender(f"{OURS}, told, 2 workers", OURS, "death forkserver 2 0"),
              Contender(f"{OURS}, healed, 2 workers", OURS, "death forkserver 2 1"),
              *(Contender(f"{OURS}, healed, 1 worker, {method}", OURS, f"death {method} 1 1")
                for method in ("forkserver", "fork", "spawn")),
              Contender("executor, told, and broken", "executor", f"death fork 2 0 {death}"),
              Contender("executor, healed by a new one", "executor", f"death fork 2 1 {death}"),
              *unless_quick(
                  Contender("loky, told, and broken", "loky", f"death loky 2 0 {death}"),
                  Contender("loky, healed by a new one", "loky", f"death loky 2 1 {death}"))]),
    ]


def measure(case, peers, rounds):
    """One warm-up and then `rounds` samples of each contender, in turns."""
    def contenders():
        return [contender for contender in case.contenders if not contender.failure]

    def attempt(contender, action):
        try:
            action()
        except Failure as failure:
            contender.failure = str(failure)

    opened = {}
    if case.workers:
        for contender in case.contenders:
            if contender.peer in METHOD and contender.peer not in opened:
                opened[contender.peer] = contender
                request = f"open {METHOD[contender.peer]} {case.workers}"
                attempt(contender, lambda p=contender.peer, r=request: peers[p].ask(r))
    for turn in range(1 + rounds):
        for contender in contenders():
            attempt(contender, lambda c=contender: c.sample(peers, case.fresh, turn > 0))
        if turn == 0 and case.key == "apply2":
            case.notes.append(idleness(peers))
    for name, contender in opened.items():
        if not contender.failure:
            attempt(contender, lambda p=name: peers[p].ask("close"))


def idleness(peers, seconds=1.0):
    """All peers have a pool open now, and nobody has asked for anything: is that so?"""
    before = {name: cpu_seconds(peer.process.pid) for name, peer in peers.running.items()}
    machine = machine_busy_seconds()
    time.sleep(seconds)
    machine = machine_busy_seconds() - machine
    if None in before.values():
        return "the kernel does not tell whether idle peers are idle (no schedstat)"
    used = {name: cpu_seconds(peer.process.pid) - before[name]
            for name, peer in peers.running.items()}
    return (f"while nobody was asked, for {seconds:g} s, CPU time was used by "
            + ", ".join(f"{name} {text_of(value)}" for name, value in used.items())
            + f", and by the whole machine {text_of(machine)}"
            + (": somebody else computes here, so the figures are not to be kept"
               if machine > 0.1 * seconds else ""))


def wakeups(contender):
    """By the pool's own statistics, which strace verifies."""
    values = contender.more["wakeups"]
    return (f"{contender.label}: {statistics.median(values):g} system calls to wake somebody "
            f"in a whole map (at most {max(values):g})")


def hang(peers, scratch):
    """What the death of a worker is to mp.Pool. Once: it lasts."""
    try:
        seconds, more = peers["mp.Pool"].ask(f"hang fork 2 {scratch}/death 1")
    except Failure as failure:
        return f"mp.Pool was not measured: {failure}"
    if more["silent"] == "1":
        return (f"mp.Pool had not told it {text_of(seconds)} after the kill, and never does "
                "(CPython issue gh-66587)")
    return f"mp.Pool told it after {text_of(seconds)}"


def system_calls(pool_bench, scratch, maps=50, tasks=20000):
    """System calls for each chunk of a busy map, all processes together: strace counts a run with
    one map more than another, and what both do is not the map's."""
    if not shutil.which("strace"):
        return None, "strace is not installed"
    totals = []
    for count in (1, 1 + maps):
        report = f"{scratch}/strace"
        requests = "open forkserver 2\n" + f"map {tasks} 1 copy\n" * count
        try:
            result = subprocess.run(
                ["strace", "-f", "-c", "-o", report, pool_bench], input=requests, text=True,
                capture_output=True, timeout=PATIENCE, check=False)
        except subprocess.TimeoutExpired:
            return None, "strace did not end"
        lines = result.stdout.split("\n")
        total = re.search(r"^\s*100\.00\s.*?(\d+)(\s+\d+)?\s+total$",
                          Path(report).read_text(encoding="utf-8"), re.M)
        if result.returncode or not total or any(line[:2] not in ("", "ok") for line in lines):
            return None, f"strace could not: {(result.stderr or result.stdout).strip()[-200:]}"
        totals.append(int(total[1]))
    calls = (totals[1] - totals[0]) / (2 * maps)  # each request is two maps: one is the warm-up
    return calls, f"{calls:.0f} system calls of all processes in a map of {tasks} chunks"


# ---- What was to be reached ----------------------------------------------------------------------

@dataclass
class Check:
    text: str
    target: str
    figure: str = "not measured"
    reached: bool = None


def checks(by_key, calls):
    def medians(key, *labels):
        found = [by_key[key][label] if key in by_key else None for label in labels]
        return [contender.median for contender in found] if all(found) else None

    def at_least(text, factor, key, ours, theirs):
        check = Check(text, f"at least {factor}x")
        values = medians(key, ours, theirs)
        if values:
            ratio = values[1] / values[0]
            check.figure = f"{significant(ratio)}x ({text_of(values[0])}, {text_of(values[1])})"
            check.reached = ratio >= factor
        return check

    def at_most(text, limit, values, figure=text_of):
        check = Check(text, f"at most {figure(limit)}")
        if values:
            check.figure, check.reached = figure(max(values)), max(values) <= limit
        return check

    def floor(text, factor, key, bare):
        values = medians(key, OURS, bare)
        return at_most(text, factor, values and [values[0] / values[1]],
                       lambda ratio: f"{significant(ratio)}x")

    ours1 = f"{OURS}, chunksize 1"
    deaths = [value for contender in (by_key["death"].contenders if "death" in by_key else [])
              if contender.peer == OURS for value in contender.samples]
    return [
        at_least("map, chunksize 1: faster than mp.Pool with chunksize 1", 100, "map", ours1,
                 "mp.Pool, chunksize 1"),
        at_least("map, chunksize 1: faster than mp.Pool with its default", 5, "map", ours1,
                 "mp.Pool, default chunksize"),
        at_most("map, chunksize 1: a task", 150e-9, medians("map", ours1)),
        at_least("start of a pool of 2, forkserver: faster than mp.Pool's fork", 10, "start",
                 f"{OURS}, forkserver", "mp.Pool, fork"),
        at_least("the same, the first pool of a program", 10, "first", f"{OURS}, forkserver",
                 "mp.Pool, fork"),
        at_least("apply, 2 workers: no slower than mp.Pool", 1, "apply2", OURS, "mp.Pool"),
        at_least("apply, 1 worker, an idle core: faster than mp.Pool", 20, "apply1", OURS,
                 "mp.Pool"),
        at_most("a death told or healed: the slowest", 10e-3, deaths),
        at_most("a busy map: system calls for a chunk", 0.01,
                None if calls is None else [calls / 20000], significant),
        floor("apply, 1 worker: not far above two processes that spin", 3, "apply1",
              "bare spin, two cores"),
        floor("apply, 2 workers: not far above two that sleep and wake", 1.3, "apply2",
              "bare futex, two cores"),
    ]


# ---- The report ----------------------------------------------------------------------------------

def significant(value):
    """Three digits, and no exponent."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def text_of(seconds):
    for unit, size in (("s", 1), ("ms", 1e-3), ("us", 1e-6), ("ns", 1e-9)):
        if seconds >= size or unit == "ns":
            return f"{significant(seconds / size)} {unit}"
    return None


def rows(case):
    """contender, median, [min - max], p95, samples, times the first one's"""
    base = next((contender.median for contender in case.contenders if contender.samples), None)
    for contender in case.contenders:
        if contender.samples:
            low, high = min(contender.samples), max(contender.samples)
            p95 = contender.more.get("p95")
            yield (contender.label, text_of(contender.median),
                   f"{text_of(low)} - {text_of(high)}",
                   text_of(statistics.median(p95)) if p95 else "", str(len(contender.samples)),
                   f"{significant(contender.median / base)}x")


HEAD = ("", "median", "min - max", "p95", "samples", "times first")


def filled_columns(table):
    """Without those that have nothing below the head."""
    filled = [column for column in zip(*table) if any(column[1:])]
    return [list(row) for row in zip(*filled)]


def print_case(case):
    print(f"\n{case.title}")
    table = filled_columns([HEAD, *rows(case)])
    widths = [max(map(len, column)) for column in zip(*table)]
    for row in table:
        cells = [row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]
        print("  " + "  ".join(cells).rstrip())
    for contender in case.contenders:
        if contender.failure:
            print(f"  FAILED {contender.label}: {contender.failure}")
    for note in case.notes:
        print(f"  {note}")
    sys.stdout.flush()


def print_checks(found):
    print("\nWhat was to be reached")
    width = max(len(check.text) for check in found)
    for check in found:
        verdict = {None: "-", True: "reached", False: "NOT REACHED"}[check.reached]
        print(f"  {verdict:<11}  {check.text:<{width}}  {check.target}: {check.figure}")


def markdown(about, measured, found):
    lines = [BEGIN, "", f"{about['date']}, {about['cpu']}, {about['cores']} cores, "
             f"Linux {about['kernel']}, {about['compiler']}, {about['versions']}, "
             f"{about['rounds']} samples of each; load average before: {about['load']:.2f}. "
             f"Command: `{about['command']}`.", ""]
    for case in measured:
        table = filled_columns([HEAD, *rows(case)])
        table.insert(1, ["---", *["--:"] * (len(table[0]) - 1)])
        lines += [f"**{case.title}**", "", *(f"| {' | '.join(row)} |" for row in table), ""]
        lines += [f"{note[0].upper()}{note[1:]}." for note in case.notes]
        lines += [""] if case.notes else []
    lines += ["**What was to be reached**", "", "| | target | measured | |", "|---|--:|--:|---|"]
    verdict = {None: "", True: "reached", False: "**not reached**"}
    lines += [f"| {check.text} | {check.target} | {check.figure} | {verdict[check.reached]} |"
              for check in found]
    return "\n".join([*lines, "", END])


def write_page(path, text):
    page = path.read_text(encoding="utf-8")
    before, rest = page.split(BEGIN, 1)
    path.write_text(before + text + rest.split(END, 1)[1], encoding="utf-8")


def write_json(path, about, measured, found):
    document = {**about, "cases": [
        {"case": case.key, "title": case.title, "notes": case.notes, "contenders": [
            {"contender": contender.label, "request": contender.request,
             "seconds": {"median": contender.median, "min": min(contender.samples),
                         "max": max(contender.samples)} if contender.samples else None,
             "samples": contender.samples, "failure": contender.failure or None,
             **{name: statistics.median(values) for name, values in contender.more.items()}}
            for contender in case.contenders]} for case in measured],
        "checks": [vars(check) for check in found]}
    text = json.dumps(document, indent=1) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
    else:
        path.write_text(text, encoding="utf-8")


# ---- Another build ---------------------------------------------------------------------------------

def ratio_interval(samples, others, draws=2000):
    """Of median(samples) / median(others): its 95 % interval, by drawing both again and again."""
    drawn = random.Random(1)
    ratios = sorted(statistics.median(drawn.choices(samples, k=len(samples)))
                    / statistics.median(drawn.choices(others, k=len(others))) for _ in range(draws))
    return ratios[draws // 40], ratios[-1 - draws // 40]


def run_against(options, scratch):
    """Our cases in this build and in another, in turns: is any slower?"""
    rounds = options.rounds or (9 if options.quick else 15)
    peers = Peers(options.pool_bench, sys.executable)
    peers.commands[OTHER] = [options.against]
    print(f"{cpu_name()}, {len(os.sched_getaffinity(0))} cores, load average {os.getloadavg()[0]:.2f}; {rounds} samples "
          "of each, in turns\ntime of this build / of the other [95 % interval]")
    failed = False
    try:
        for case in cases(options.quick, scratch, 0):
            if options.only and case.key not in options.only:
                continue
            ours = [one for one in case.contenders if one.peer == OURS]
            twins = [Contender(one.label, OTHER, one.request, one.per) for one in ours]
            case.contenders = [one for pair in zip(ours, twins) for one in pair]
            measure(case, peers, rounds)
            print(f"\n{case.title}")
            for one, twin in zip(ours, twins):
                failure = one.failure or twin.failure
                failed = failed or bool(failure)
                if failure:
                    print(f"  FAILED {one.label}: {failure}")
                    continue
                low, high = ratio_interval(one.samples, twin.samples)
                verdict = "  slower" if low > 1 else "  faster" if high < 1 else ""
                print(f"  {one.label:<36} {text_of(one.median):>10} / {text_of(twin.median):>10} = "
                      f"{one.median / twin.median:.2f} [{low:.2f} - {high:.2f}]{verdict}")
    finally:
        peers.close()
    return failed


# ---- main ----------------------------------------------------------------------------------------

def find_python():
    """All of Python's pools run in one interpreter: the first that has joblib, if any."""
    candidates = [sys.executable, "/usr/bin/python3"]
    for python in candidates:
        if os.access(python, os.X_OK) and subprocess.run(
                [python, "-c", "import joblib"], capture_output=True, check=False).returncode == 0:
            return python
    return candidates[0]


def cpu_name():
    found = re.search(r"^model name\s*: (.*)", Path("/proc/cpuinfo").read_text(encoding="utf-8"),
                      re.M)
    return found[1] if found else platform.machine()


def about_this_run(peers, rounds):
    """Also finds out which peers there are: what is not installed is left out."""
    compiler = peers[OURS].ask("about")[1]["compiler"]
    versions, missing = {}, []
    for name in ("mp.Pool", "executor", "loky"):
        try:
            versions |= peers[name].ask("about")[1]
        except Failure as failure:
            missing.append(name)
            print(f"skipped {name}: {failure}")
    about = {"date": datetime.datetime.now().astimezone().isoformat(" ", "minutes"),
             "cpu": cpu_name(), "cores": len(os.sched_getaffinity(0)),
             "kernel": platform.release(), "load": os.getloadavg()[0], "compiler": compiler,
             "rounds": rounds,
             "command": shlex.join(["python3", "tests/pool_bench.py", *sys.argv[1:]]),
             "versions": ", ".join(f"{name} {version}" for name, version in versions.items())}
    return about, missing


def run(options, scratch):
    rounds = options.rounds or (9 if options.quick else 15)
    peers = Peers(options.pool_bench, options.python or find_python())
    try:
        about, missing = about_this_run(peers, rounds)
        print(f"{about['date']}  {about['cpu']}, {about['cores']} cores, Linux {about['kernel']}\n"
              f"{about['compiler']}, {about['versions']}\n"
              f"{rounds} samples of each, in turns, after one to warm up; "
              f"load average at the start {about['load']:.2f}")
        if about["load"] > 0.5:
            print("The machine is busy with something else: these figures are not to be kept.")
        measured = []
        for case in cases(options.quick, scratch, about["cores"]):
            if options.only and case.key not in options.only:
                continue
            case.contenders = [one for one in case.contenders if one.peer not in missing]
            measure(case, peers, rounds)
            if case.key == "map" and case.contenders[0].samples:
                case.notes.append(wakeups(case.contenders[0]))
            if case.key == "death" and "mp.Pool" not in missing:
                case.notes.append(hang(peers, scratch))
            print_case(case)
            measured.append(case)
    finally:
        peers.close()
    calls, note = None, ""
    if not options.only:
        calls, note = system_calls(options.pool_bench, scratch, 5 if options.quick else 50)
        print(f"\nsystem calls: {note}")
    found = checks({case.key: case for case in measured}, calls)
    print_checks(found)
    if options.json:
        write_json(options.json, about, measured, found)
    if options.page:
        write_page(options.page, markdown(about, measured, found))
    return any(contender.failure for case in measured for contender in case.contenders)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("pool_bench", help="the program that measures our pool")
    parser.add_argument("--quick", action="store_true", help="fewer and smaller samples")
    parser.add_argument("--rounds", type=int, help="samples of each (default 15; quick: 9)")
    parser.add_argument("--only", type=lambda text: text.split(","), metavar="CASE,...",
                        help="these cases: map start first apply2 apply1 async imap unordered "
                        "transfer death")
    parser.add_argument("--against", metavar="POOL_BENCH", help="instead of Python's pools: the same program of "
                        "another build, before a change for example")
    parser.add_argument("--python", help="the interpreter of Python's pools")
    parser.add_argument("--json", type=Path, help="write all samples and the checks to this file")
    parser.add_argument("--page", type=Path, help="put the results into this Markdown page, "
                        f"between {BEGIN} and {END}")
    options = parser.parse_args()
    if options.page and options.only:
        parser.error("--page: the page shows all cases, so it goes without --only")
    if options.rounds is not None and options.rounds < 1:
        parser.error("--rounds: at least 1")
    with tempfile.TemporaryDirectory() as scratch:
        try:
            return int((run_against if options.against else run)(options, scratch))
        except (Failure, OSError) as failure:
            print(f"pool_bench.py: {failure}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            return 128 + signal.SIGINT


if __name__ == "__main__":
    sys.exit(main())
