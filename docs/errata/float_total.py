# The same ten million squares, added up in three ways.
import numpy as np

np.random.seed(42)
squares = np.random.randn(1000, 100, 100).astype(np.float32) ** 2

notebook = 0
for row in squares:
    notebook += np.sum(row)  # float32 within the row
print("the notebook's rows     ", f"{float(notebook):.1f}, a {type(notebook).__name__}")
print("one float32 accumulator ", f"{np.add.accumulate(squares.reshape(-1))[-1]:.1f}")
print("float64                 ", f"{np.sum(squares, dtype=np.float64):.1f}")
