# Ends with: AttributeError, PicklingError
from multiprocessing import Pool

import numpy as np


def demonstrate_shared_memory():
    def worker_copy(args):  # the notebook's: a function inside a function
        arr, start_idx, end_idx = args
        result = 0
        for i in range(start_idx, end_idx):
            result += np.sum(arr[i] ** 2)
        return result

    regular_arr = np.zeros((1000, 10, 10), np.float32)
    args_copy = [(regular_arr, 0, 500), (regular_arr, 500, 1000)]
    with Pool(2) as pool:
        results_copy = pool.starmap(worker_copy, args_copy)


if __name__ == "__main__":
    demonstrate_shared_memory()
