# "The model contains NumPy arrays, so it cannot be pickled."
import pickle

import numpy as np


class SimpleCNN:
    def __init__(self):
        self.conv1_w = np.random.randn(16, 1, 3, 3).astype(np.float32) * 0.1
        self.conv2_w = np.random.randn(32, 16, 3, 3).astype(np.float32) * 0.1
        self.fc_w = np.random.randn(32 * 6 * 6, 10).astype(np.float32) * 0.1


model = SimpleCNN()
text = pickle.dumps(model)
again = pickle.loads(text)
print("bytes of weights:", sum(w.nbytes for w in vars(model).values()))
print("bytes of pickle: ", len(text))
print("the same again:  ", all((w == vars(again)[name]).all() for name, w in vars(model).items()))
