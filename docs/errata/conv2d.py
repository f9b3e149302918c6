# Ends with: ValueError
import numpy as np

x = np.random.randn(1, 1, 28, 28).astype(np.float32)
w = np.random.randn(16, 1, 3, 3).astype(np.float32)

shape = (1, 1, 3, 3, 26, 26)  # (N, C, kH, kW, out_H, out_W)
strides = x.strides[:2] + x.strides[2:4] + x.strides[2:4]
patches = np.lib.stride_tricks.as_strided(x, shape=shape, strides=strides)

right = np.einsum('ncijhw,ocij->nohw', patches, w)
print("right:", right.shape, flush=True)
out = np.einsum('nchwij,ocij->nohw', patches, w)  # the notebook's
