# Ends with: ValueError
import numpy as np


def maxpool2d(x):
    N, C, H, W = x.shape
    return x.reshape(N, C, H//2, 2, W//2, 2).max(axis=(3, 5))  # the notebook's


def sizes(first):
    """What becomes of 28 rows, when the first convolution makes so many of them."""
    x = maxpool2d(np.zeros((1, 16, first, first), np.float32))
    print(f"28 -> {first} -> {x.shape[2]} -> {x.shape[2] - 2} -> ", end="", flush=True)
    x = maxpool2d(np.zeros((1, 32, x.shape[2] - 2, x.shape[2] - 2), np.float32))
    print(f"{x.shape[2]}: {x.size} features, and fc_w has {32 * 6 * 6} rows", flush=True)


sizes(28)  # right: the first convolution pads by 1
sizes(26)  # the notebook's: it does not
