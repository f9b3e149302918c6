# The notebook's clock starts before the pool does. Five such times, and with the pool there.
import time
from multiprocessing import Pool


def square(x):
    return x * x


if __name__ == "__main__":
    for attempt in range(5):
        start = time.perf_counter()
        with Pool(processes=4) as pool:
            ready = time.perf_counter()
            pool.map(square, range(100))
            done = time.perf_counter()
        end = time.perf_counter()
        print(f"the notebook's time {1e3 * (end - start):6.2f} ms; starting {1e3 * (ready - start):6.2f}, "
              f"the map {1e3 * (done - ready):6.2f}, ending {1e3 * (end - done):6.2f}")
