# Ends with: TypeError
from multiprocessing import Pool

import numpy as np


def worker_copy(args):  # the notebook's, at the top of its file
    arr, start_idx, end_idx = args
    return sum(np.sum(arr[i] ** 2) for i in range(start_idx, end_idx))


if __name__ == "__main__":
    regular_arr = np.ones((4, 10, 10), np.float32)
    args_copy = [(regular_arr, 0, 2), (regular_arr, 2, 4)]
    with Pool(2) as pool:
        print("right: map gives", [float(x) for x in pool.map(worker_copy, args_copy)], flush=True)
        pool.starmap(worker_copy, args_copy)  # the notebook's
