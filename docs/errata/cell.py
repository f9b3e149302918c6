# A notebook's cell: code that no worker can import. Without fork, so as on macOS and Windows.
import os
import signal
import subprocess
import sys

CELL = """
import multiprocessing as mp

def square(x):
    return x * x

with mp.get_context("spawn").Pool(processes=1) as pool:
    print(pool.map(square, [1, 2, 3]))
"""

cell = subprocess.Popen([sys.executable, "-c", CELL], stderr=subprocess.PIPE, text=True,
                        start_new_session=True)
errors = (line for line in cell.stderr if not line.startswith((" ", "Process", "Traceback")))
for worker in "the first worker", "the second one", "the third one":
    print(f"{worker}, which then ends: {next(errors, 'no error').strip()}")
print("the cell:", "waits for its results" if cell.poll() is None else "has ended")
os.killpg(cell.pid, signal.SIGTERM)
cell.stderr.read()  # until the last of them, which takes the cell's semaphores away, has ended
cell.wait()
