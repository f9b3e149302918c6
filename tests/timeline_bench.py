#!/usr/bin/env python3
"""timeline_bench.py - what it costs to record a timeline: chapters 1 and 4, recording on and off.

Usage: python3 tests/timeline_bench.py [--runs N] [--repeats N] PROGRAM...

Each timed run of a chapter has a recorded one beside it, before or after it in turn; the cost of a
pair is recorded / timed - 1. Printed is the median of all pairs' medians over some runs of the
program, by workload and mode, and of all together. On a machine that does something else, the
figures of single modes say nothing.
"""
import argparse
import json
import os
import statistics
import subprocess


def pairs(program, repeats):
    """(workload, mode, transfer), and the median cost of a run's pairs."""
    done = subprocess.run([program, "--json=-", "--trace=/dev/null", f"--repeats={repeats}"],
                          capture_output=True, text=True, check=True)
    for run in json.loads(done.stdout)["runs"]:
        if "recording_cost" in run:
            yield (run["workload"], run["mode"], run["transfer"] or ""), run["recording_cost"]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("programs", nargs="+", metavar="PROGRAM")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=101)
    options = parser.parse_args()
    for program in options.programs:
        costs = {}
        for _ in range(options.runs):
            for row, cost in pairs(program, options.repeats):
                costs.setdefault(row, []).append(cost)
        name = os.path.basename(program)
        for row, values in costs.items():
            print(f"{name:14} {row[0]:18} {row[1]:10} {row[2]:7} "
                  f"{100 * statistics.median(values):6.2f} %")
        together = statistics.median(cost for values in costs.values() for cost in values)
        print(f"{name:14} all: recording costs {100 * together:.2f} %, the median of "
              f"{options.runs} runs with {options.repeats} pairs of each mode")


if __name__ == "__main__":
    main()
