#!/usr/bin/env python3
"""bench.py - our kernels and what one would use instead of them, measured side by side in one run.

Usage: ./run bench [OPTION...]       (or: python3 tests/bench/bench.py BUILD [OPTION...])

The method, and how to read the tables: docs/performance/bench.md. A peer that is not installed is
named and left out. The exit status tells whether all results were right, not whether they came
fast: 1 if one was wrong, 2 for an option that is none.
"""
import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import report
from cases import OURS, TOLERANCE, chosen, names, targets_for
from machine import PACKAGES, Failure, Processes, compiler_flags, describe, usable_cores

# Rounds; seconds that a sample shall take; a call that takes longer than `slow` is left out; one that
# takes longer than `patience` takes part in every other round, or fewer, `least` at least; after `limit`
# seconds a case ends, with `least` rounds. All cases together, and what it takes to begin them, end
# within `total` seconds: the later ones get shorter.
FULL = {"rounds": 25, "sample": 0.020, "slow": 2.0, "patience": 0.5, "limit": 60.0, "least": 5,
        "total": 3600.0}
QUICK = {"rounds": 9, "sample": 0.003, "slow": 0.2, "patience": 0.02, "limit": 2.5, "least": 3,
         "total": 40.0}
TINY = {"rounds": 3, "sample": 0.0001, "slow": 20.0, "patience": 0.1, "limit": 1.0, "least": 3,
        "total": 3600.0}
SETTLE = 0.01  # seconds until the threads of the one before have gone to sleep


# ---- Measuring -----------------------------------------------------------------------------------

class Bench:
    def __init__(self, options, processes, scratch):
        self.options, self.processes, self.scratch = options, processes, scratch
        self.plan = TINY if options.tiny else QUICK if options.quick else FULL
        self.rounds = options.rounds or self.plan["rounds"]
        self.start = time.monotonic()
        self.wrong = []
        self.missing = {}
        self.order = random.Random(42)

    def prepare(self, kind, size):
        """The directory with the case's inputs; made once."""
        directory = Path(self.scratch, f"{kind}-{size[0]}-{size[1]}")
        if not directory.exists():
            directory.mkdir()
            subprocess.run([Path(self.options.build, "tests", "bench_ours"), kind, *map(str, size),
                            directory], check=True, stdin=subprocess.DEVNULL)
        return directory

    def begin(self, case, directory):
        """Makes all contenders ready; what cannot be is left out, what is wrong too."""
        ready = []
        for contender in case.contenders:
            threads = contender.threads or case.threads
            if contender.peer not in self.missing:
                self.missing[contender.peer] = self.processes.missing(contender.peer)
            progress(f"{case.key}: {contender.label}")
            try:
                if contender.slow and self.options.quick:
                    raise Failure("takes long, not with --quick")
                if self.spent() > self.plan["total"] and contender is not case.base and \
                        contender.peer.split()[0] not in (OURS, "roof"):
                    raise Failure("the time of this run is over")
                if self.missing[contender.peer]:
                    raise Failure(self.missing[contender.peer])
                if contender.peer.endswith("as shipped") and not self.processes.core_type:
                    raise Failure("OpenBLAS as shipped is at its best here")
                process = self.processes.get(contender.peer, threads)
                key = contender.peer, threads
                slot = self.processes.slots[key] = (self.processes.slots[key] + 1) % 30
                answer = process.ask("begin", slot, contender.name, *(contender.size or case.size),
                                     directory)
                contender.setup_s, contender.first_s = answer["setup_s"], answer["first_s"]
                contender.per, contender.note = answer["per"], answer["note"]
                contender.max_error = answer.get("max_error")
                contender.largest = answer.get("largest")
                self.check(case, contender)
                self.calibrate(process, slot, contender)
                ready.append((contender, process, slot))
            except Failure as failure:
                contender.failure = str(failure)
                case.left_out.append((contender.label, str(failure)))
        return ready

    def check(self, case, contender):
        if contender.max_error is None:
            return
        tolerance = TOLERANCE[case.kind] if contender.tolerance is None else contender.tolerance
        if contender.max_error > tolerance * max(contender.largest, 1e-30):
            self.wrong.append(f"{case.key}: {contender.label}")
            raise Failure(f"WRONG: off by {contender.max_error:.2g} where the largest value is "
                          f"{contender.largest:.3g}")

    def calibrate(self, process, slot, contender):
        """As many calls as fill a sample."""
        seconds, calls = contender.first_s, 1
        if seconds > 10 * self.plan["slow"]:
            raise Failure(f"its first call took more than {10 * self.plan['slow']:g} s")
        while True:
            seconds = process.ask("sample", slot, calls)["seconds"]
            if seconds > self.plan["sample"] / 4 or calls > 1 << 24:
                break
            calls *= 4
        if seconds / calls > self.plan["slow"]:
            raise Failure(f"a call takes more than {self.plan['slow']:g} s, too long for this run")
        contender.calls = max(1, round(calls * self.plan["sample"] / max(seconds, 1e-9)))
        # The slow take part in some of the rounds only.
        share = max(1, round(seconds / calls * contender.calls / self.plan["patience"]))
        contender.every = min(share, max(1, self.rounds // self.plan["least"]))

    def spent(self):
        return time.monotonic() - self.start

    def measure(self, case, cases_left):
        """cases_left: with this one."""
        begun = self.spent()
        share = max(0, self.plan["total"] - begun) / cases_left
        ready = self.begin(case, self.prepare(case.kind, case.size))
        end = min(self.spent() + self.plan["limit"], begun + share)
        for number in range(self.rounds):
            if number >= self.plan["least"] and self.spent() > end:
                case.left_out.append((f"rounds {number + 1} to {self.rounds}",
                                      "the time of this case is over"))
                break
            turn = [entry for entry in ready if number % entry[0].every == 0 and
                    not entry[0].failure]
            self.order.shuffle(turn)
            for contender, process, slot in turn:
                progress(f"{case.key}: round {number + 1} of {self.rounds}")
                if case.threads > 1:
                    time.sleep(SETTLE)
                try:
                    seconds = process.ask("sample", slot, contender.calls)["seconds"]
                    contender.samples[number] = seconds / contender.calls / contender.per
                except Failure as failure:
                    contender.failure = str(failure)
                    contender.samples = {}
                    case.left_out.append((contender.label, str(failure)))
        for contender, process, slot in ready:
            try:
                if not contender.failure:
                    process.ask("end", slot)
            except Failure as failure:  # its samples are good; the next case starts it anew
                case.left_out.append((f"{contender.label}, at its end", str(failure)))
        progress("")
        return report.case_report(case)


def progress(text):
    if sys.stderr.isatty():
        print(f"\r{text:<70}\r" if not text else f"\r{text:<70}", end="", file=sys.stderr, flush=True)


def run(options, scratch):
    out = sys.stdout
    if options.json == "-":
        out = open(os.devnull, "w", encoding="utf-8")
    processes = Processes(Path(options.build, "tests"), options.python)
    bench = Bench(options, processes, scratch)
    environment = {**describe(), "command": options.command, "rounds": bench.rounds,
                   "binding": "the processes' mask; with n threads n cores, no thread bound by itself",
                   "cores": ",".join(map(str, processes.cores[:max(options.threads)]))}
    if environment["load_average_before"] > report.BUSY:
        print(f"bench: the machine is busy (load average {environment['load_average_before']:.2f}): "
              "figures will be worse than they should be", file=sys.stderr)
    reports = []
    try:
        environment["openblas_cores_tried_s"] = processes.choose_core_type(
            bench.prepare("product", (200, 0)), options.quick or options.tiny)
        print(f"{environment['cpu']}; {bench.rounds} rounds in turns\n"
              "times base: the time divided by that of the first row; above 1x is slower\n"
              "roof: the time that the machine needs for what is named below the table, divided by this time\n"
              "error: the largest, against float64, relative to the largest value", file=out)
        cases = list(chosen(options.only, options.threads, options.quick, options.tiny))
        for number, case in enumerate(cases):
            reports.append(bench.measure(case, len(cases) - number))
            report.print_case(reports[-1], out)
    finally:
        processes.close()
    environment["load_average_after"] = os.getloadavg()[0]
    environment["blas_core_used"] = processes.core_type or "its own choice"
    environment["processes"] = [{"peer": peer, "threads": threads, **about}
                                for (peer, threads), about in processes.about.items()]
    for peer, why in bench.missing.items():
        if why:
            package = PACKAGES.get(peer.split()[0])
            print(f"not measured: {peer}: {why}"
                  f"{f' (Debian: {package}; ./run bench --install-peers)' if package else ''}", file=out)
    isa = next((about["isa"] for (peer, _), about in processes.about.items() if peer == OURS), None)
    environment["compiler_flags"] = compiler_flags(options.build, isa)
    environment["seconds"] = round(bench.spent(), 1)
    wanted = targets_for(isa, options.only, options.threads)
    found = [] if options.tiny else report.targets(reports, wanted)
    report.print_targets(found, out)
    document = {"schema": report.SCHEMA, "environment": environment,
                "method": {"ratio": report.RATIO_NOTE, "interval": "95 % percentile bootstrap of the "
                           f"median, {report.RESAMPLES} resamples", "order": "shuffled in each round",
                           "parallel_time": "maximum over threads", "state": "warm"},
                "cases": reports, "targets": found, "wrong": bench.wrong}
    write(options, document)
    print(f"\n{environment['seconds']:.0f} s, {sum(len(case['contenders']) for case in reports)} rows",
          file=out)
    if bench.wrong:
        print(f"bench: wrong results: {'; '.join(bench.wrong)}", file=sys.stderr)
    return 1 if bench.wrong else 0


def write(options, document):
    if options.json == "-":
        print(json.dumps(document, indent=1))
    elif options.json:
        report.write_whole(options.json, json.dumps(document, indent=1) + "\n")
    if options.markdown:
        report.write_markdown(options.markdown, report.markdown(document))


# ---- Options -------------------------------------------------------------------------------------

class Parser(argparse.ArgumentParser):
    def error(self, message):
        print(f"bench: {message}", file=sys.stderr)
        sys.exit(2)


def positive_numbers(text):
    numbers = [int(word) for word in text.split(",")]
    if min(numbers) < 1:
        raise ValueError
    return sorted(set(numbers))


def parse(arguments):
    parser = Parser(prog="./run bench", allow_abbrev=False, usage="./run bench [OPTION...]",
                    description="Our kernels and what one would use instead of them, side by side.",
                    epilog="--install-peers installs Debian's packages of the peers first. Method and "
                    "tables: docs/performance/bench.md. Cases: " + " ".join(names()))
    parser.add_argument("build", help=argparse.SUPPRESS)
    parser.add_argument("--quick", action="store_true",
                        help="under a minute: fewer and shorter samples, not the slowest cases")
    parser.add_argument("--only", metavar="NAME,...", help="these cases, for example image,conv2")
    parser.add_argument("--threads", metavar="N,...", help="default: 1 and as many as there are cores")
    parser.add_argument("--rounds", metavar="N", help="samples of each contender (25; quick: 9)")
    parser.add_argument("--json", metavar="FILE", help="all samples and figures; - for standard output")
    parser.add_argument("--markdown", metavar="FILE", help="the tables; if the file has a place for "
                        "them, they go there")
    parser.add_argument("--python", metavar="PROGRAM", help="the interpreter of the Python peers")
    parser.add_argument("--tiny", action="store_true",
                        help="toy sizes, to see whether the bench itself works")
    options = parser.parse_args(arguments)
    options.command = " ".join(["./run bench", *arguments[1:]])
    check_options(parser, options)
    return options


def check_options(parser, options):
    cores = len(usable_cores())
    try:
        options.threads = positive_numbers(options.threads) if options.threads is not None \
            else sorted({1, cores})
    except ValueError:
        parser.error(f"--threads {options.threads}: numbers from 1 on, like 1,2")
    if max(options.threads) > cores:
        parser.error(f"--threads {max(options.threads)}: this process may use {cores} core"
                     f"{'s' * (cores > 1)}")
    try:
        options.rounds = int(options.rounds) if options.rounds is not None else None
        if options.rounds is not None and not 3 <= options.rounds <= 10000:
            raise ValueError
    except ValueError:
        parser.error(f"--rounds {options.rounds}: a number from 3 to 10000")
    if options.only is not None:
        options.only = options.only.split(",")
        for name in options.only:
            if name not in names():
                parser.error(f"--only {name}: there is no such case; there are {' '.join(names())}")
    for name, path in (("--json", options.json), ("--markdown", options.markdown)):
        if path is not None and path != "-" and (os.path.isdir(path) or not os.access(
                os.path.dirname(os.path.realpath(path)), os.W_OK)):
            parser.error(f"{name} {path}: cannot be written")
    if options.markdown == "-":
        parser.error("--markdown -: a file")
    if not shutil.which(options.python or sys.executable):
        parser.error(f"--python {options.python}: there is no such program")
    program = Path(options.build, "tests", "bench_ours")
    if not program.exists():
        parser.error(f"{options.build}: bench_ours is not built there")
    # The only thing that it refuses is an instruction set that the machine does not have.
    refused = subprocess.run([program, "1"], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                             check=False)
    if refused.returncode == 2:
        parser.error(refused.stderr.removeprefix("bench_ours: ").strip())


def terminate(*_):
    sys.exit(128 + signal.SIGTERM)


def main():
    options = parse(sys.argv[1:])
    signal.signal(signal.SIGTERM, terminate)
    try:
        with tempfile.TemporaryDirectory(prefix="forkjoin-bench-") as scratch:
            return run(options, scratch)
    except KeyboardInterrupt:
        progress("")
        print("bench: interrupted; nothing was written", file=sys.stderr)
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (Failure, OSError, subprocess.CalledProcessError) as failure:
        print(f"bench: {failure}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
