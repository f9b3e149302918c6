# The second convolution of 100 images: does einsum use BLAS, and BLAS's threads?
import time

import numpy as np

x = np.random.randn(100, 16, 14, 14).astype(np.float32)
w = np.random.randn(32, 16, 3, 3).astype(np.float32)
strides = x.strides[:2] + x.strides[2:4] + x.strides[2:4]
patches = np.lib.stride_tricks.as_strided(x, (100, 16, 3, 3, 12, 12), strides)

for optimize in (False, True):
    times = []
    for _ in range(3):
        wall, cpu = time.perf_counter(), time.process_time()
        np.einsum('ncijhw,ocij->nohw', patches, w, optimize=optimize)
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    wall, cpu = min(times)
    print(f"optimize={optimize!s:5}  {1e3 * wall:7.2f} ms, {cpu / wall:.2f} cores busy")
