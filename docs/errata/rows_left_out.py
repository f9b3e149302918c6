# Which of the 1000 rows are in the notebook's ranges?
for n_processes in (3, 4, 7):
    chunk_size = 1000 // n_processes
    ranges = [(i * chunk_size, (i + 1) * chunk_size) for i in range(n_processes)]
    right = [(i * 1000 // n_processes, (i + 1) * 1000 // n_processes) for i in range(n_processes)]
    print(f"{n_processes} processes: the last range is {ranges[-1]}, {1000 - ranges[-1][1]} rows left out;"
          f" right: {right[-1]}")
