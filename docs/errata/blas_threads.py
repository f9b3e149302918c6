# The notebook's heavy task in a plain loop, with as many BLAS threads as BLAS likes.
import time

import numpy as np


def heavy_task(x):
    return np.sum(np.dot(x, x.T))


for order, count in (200, 50), (1000, 4):
    data = [np.random.randn(order, order).astype(np.float32) for _ in range(count)]
    times = []
    for _ in range(5):
        wall, cpu = time.perf_counter(), time.process_time()
        for x in data:
            heavy_task(x)
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = min(times)
    print(f"order {order:4}: {1e6 * wall / count:6.0f} us for a matrix, {cpu / wall:.1f} cores busy")
