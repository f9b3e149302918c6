# Reads a report that a chapter writes with --json: the best row of each mode.
import json
import os
import subprocess
import sys

build = os.environ.get("FORKJOIN_BUILD", "build")
program = [f"{build}/chapters/01_pool_map/pool_map", "--quiet", "--json", "-", "--workers", "1,2"]
text = sys.stdin.read() if "-" in sys.argv else subprocess.run(
    program, stdout=subprocess.PIPE, check=True).stdout
report = json.loads(text)

print(report["chapter"], "on", report["machine"]["cores"], "cores")
for mode in dict.fromkeys(run["mode"] for run in report["runs"]):
    best = max((run for run in report["runs"] if run["mode"] == mode),
               key=lambda run: run["speedup"])
    print(f"{mode:10} {best['workers']} workers {1e3 * best['wall_s']['median']:8.3f} ms"
          f" {best['speedup']:6.2f}x")
