# The notebook's heavy task in a plain loop, with as many BLAS threads as BLAS likes.
import pickle
import time

import numpy as np


def heavy_task(x):
    return np.sum(np.dot(x, x.T))


def seconds(function, data):
    """Wall and CPU time for an element, the shortest of some."""
    walls = []
    for _ in range(5):
        wall, cpu = time.perf_counter(), time.process_time()
        for x in data:
            function(x)
        walls.append((time.perf_counter() - wall, time.process_time() - cpu))
    return [1e6 * t / len(data) for t in min(walls)]


for order, count in (200, 50), (1000, 4):
    data = [np.random.randn(order, order).astype(np.float32) for _ in range(count)]
    wall, cpu = seconds(heavy_task, data)
    there, _ = seconds(lambda x: pickle.loads(pickle.dumps(x)), data)
    print(f"order {order:4}: {wall:7.0f} us, with {cpu / wall:.1f} cores busy in \"one\" process; "
          f"to pickle and unpickle it {there:5.0f} us")
