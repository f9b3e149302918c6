# The notebook's list of pool sizes, on three machines.
for max_processes in (2, 8, 64):
    sizes = [n_proc for n_proc in [2, 4, 8, min(16, max_processes)] if n_proc <= max_processes]
    print(f"{max_processes} cores:", sizes)
