# Reads a report that a chapter wrote with --json: the best row of each mode.
import json
import sys

report = json.load(sys.stdin)

print(report["chapter"], "on", report["machine"]["cores"], "cores")
for mode in dict.fromkeys(run["mode"] for run in report["runs"]):
    best = max((run for run in report["runs"] if run["mode"] == mode),
               key=lambda run: run["speedup"])
    print(f"{mode:10} {best['workers']:2} workers {1e3 * best['wall_s']['median']:8.3f} ms"
          f" {best['speedup']:6.2f}x")
