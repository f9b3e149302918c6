"""notebook.py - When to parallelise: three questions, answered by you or by measuring.

Are the tasks independent, is one of them heavy enough, is there much data for the work? The
notebook prints its decision tree; this program goes through it. On a terminal it asks, and answers
may stand on the command line. Otherwise it measures two tasks, x + 1 and a loop of some
milliseconds in Python, with a pool of threads and one of processes, and the figures answer: the
rules are those of the C program, in `answers_of` and `advise`.

Notebook: part 6 (corrected: docs/errata.md). In C, with the same results: the .c file beside this
one. It also measures native kernels, large data, and commands of yours; Python's loops are slower,
so --iterations is smaller here.

Usage:
    python3 notebook.py [--independent yes|no] [--heavy yes|no] [--large yes|no]
    python3 notebook.py [--light-tasks N] [--tasks N] [--iterations N]
                        [--workers LIST] [--repeats N] [--seed N] [--save DIR] [--json FILE]

Watch for:
  - x + 1: what NumPy makes of it on one core, beside what any pool does;
  - the loop: which pool makes it faster, and which cannot?

Try:
  - --iterations 100, then 1000000: from how much work on is it processes?
  - --tasks 4 --workers 3: which core has how many tasks?
"""
import math
import os
import pickle
import sys
import time
from functools import partial
from multiprocessing import Pool
from multiprocessing.pool import ThreadPool
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "common" / "lesson"))
from lesson import CommandLine, Lesson, run_program, whole_number  # noqa: E402

# NumPy's BLAS threads have nothing to do here, and would be counted. It reads these when it is
# loaded.
for name in "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS":
    os.environ.setdefault(name, "1")

import numpy as np  # noqa: E402 (not at the top, see above)

WORTH = 1.1       # a speedup below this is not worth the trouble
AS_GOOD = 0.85    # of the best: about as fast, and simpler
LARGE_PART = 0.2  # of a task's work: what sending its data may cost

# name, question, what yes leads to, what no leads to; None: to the next question
QUESTIONS = (
    ("independent", "Are the tasks independent of one another?",
     None, "other means: waiting threads, a GPU, a pipeline"),
    ("heavy", "Is one task heavy enough, and well written?",
     None, "vectorise, batch, or leave it alone"),
    ("large", "Is there much data for the work?",
     "shared memory; or threads", "processes (Pool.map); or threads"),
)


# ---- The tasks --------------------------------------------------------------------------------

def add_one(x):
    return x + 1


def heavy_computation(x, iterations):
    result = 0
    for i in range(iterations):
        result += i * x
    return result


# ---- The modes --------------------------------------------------------------------------------
# start(Pool, workers) is Pool(workers), only that it returns when every worker has started; it
# takes the times of the start, of the block under `with`, and of the pool's end.

def run_sequential(task, data):
    return [task(x) for x in data]


def run_threads(task, data, workers, start):
    with start(ThreadPool, workers) as pool:
        return pool.map(task, data)


def run_processes(task, data, workers, start):
    with start(Pool, workers) as pool:
        return pool.map(task, data)


# ---- The tree -----------------------------------------------------------------------------------

def draw_tree(answers):
    """The tree in lines of text, the path of the answers ("yes", "no" or None) marked."""
    lines, indent, on_path = ["  " + QUESTIONS[0][1]], "  ", True
    for number, (_, _, yes, no) in enumerate(QUESTIONS):
        branches = [("yes", yes), ("no", no)] if yes else [("no", no), ("yes", yes)]
        for word, leads_to in branches:
            taken = on_path and answers[number] == word
            line = "=" if taken else "-"
            where = leads_to or QUESTIONS[number + 1][1]
            lines += [f"{indent}|", f"{indent}+{line * 4} {word} {line * (7 - len(word))}> "
                                    f"{'[x] ' if taken and leads_to else ''}{where}"]
        on_path, indent = taken, indent + " " * 16  # the last branch is the one that leads on
    return lines


def ask(answers, may_ask, error):
    """Completes the answers as far as the tree needs them. Returns what they lead to."""
    for number, (name, question, yes, no) in enumerate(QUESTIONS):
        if answers[number] is None and not may_ask:
            error(f"argument --{name}: yes or no is missing, and there is no terminal to ask on")
        while answers[number] is None:
            try:
                text = input(f"\n{question}\n  yes or no? ").strip().lower()
            except EOFError:
                print()
                sys.exit(f"notebook.py: the input ended before --{name} was answered")
            answers[number] = {"y": "yes", "n": "no"}.get(text[:1]) if text and (
                "yes".startswith(text) or "no".startswith(text)) else None
        conclusion = yes if answers[number] == "yes" else no
        if conclusion:
            return conclusion


# ---- The rules ----------------------------------------------------------------------------------

def answers_of(case):
    """What the figures answer; None: they do not."""
    hands = case["parallel"]
    least = case["handing_over_s"] / (1 - 1 / hands) if hands > 1 else None
    light = case["vectorised"] is not None and case["vectorised"] > WORTH
    return ["yes" if case["same"] else "no",
            "no" if light else None if least is None else "yes" if case["task_s"] > least else "no",
            "yes" if case["transfer_s"] > LARGE_PART * case["task_s"] else "no"]


def advise(case):
    independent, heavy, _ = answers_of(case)
    task, hands = case["task_s"], case["parallel"]
    if independent == "no":
        return "other means"
    if case["vectorised"] is not None and case["vectorised"] > WORTH:
        return "vectorise"
    if heavy is None:
        return "not judged"
    if heavy == "no":
        return "batch" if case["transfer_s"] < task - task / hands else "leave it alone"
    if case["threads"] > WORTH and case["threads"] > AS_GOOD * max(case["threads"],
                                                                   case["processes"]):
        return "threads"
    if case["processes"] > WORTH:
        return "processes"
    return "leave it alone"  # shared memory was not measured


def handing_over(workers, tasks):
    """Seconds for each of so many tasks that do next to nothing: what a running pool costs."""
    with Pool(workers) as pool:
        pool.map(add_one, range(tasks))
        begin = time.perf_counter()
        pool.map(add_one, range(tasks))
        return (time.perf_counter() - begin) / tasks


def case_of(rows, cores, data, results, vectorised):
    """The figures of a task, from the rows with the most workers that have a core each."""
    counts = sorted({row["workers"] for row in rows[1:]})
    workers = max((count for count in counts if count <= cores), default=counts[0])
    threads, processes = (next(row for row in rows if row["mode"] == mode
                               and row["workers"] == workers) for mode in ("threads", "processes"))
    tasks, wall = rows[0]["tasks"], rows[0]["wall_s"]["median"]
    begin = time.perf_counter()
    packed = pickle.dumps(data), pickle.dumps(results)
    for text in packed:
        pickle.loads(text)
    transfer = (time.perf_counter() - begin) / tasks
    hands = tasks / math.ceil(tasks / min(workers, cores))
    return {"workers": workers, "parallel": hands, "task_s": wall / tasks,
            "same": all(row["matches_sequential"] for row in rows),
            "bytes": sum(map(len, packed)) / tasks, "transfer_s": transfer,
            "handing_over_s": handing_over(workers, tasks), "startup_s": processes["startup_s"],
            "threads": threads["speedup"], "processes": processes["speedup"],
            "vectorised": vectorised}


def amdahl(speedup, hands, cores):
    """The speedup on so many cores, if this one was measured (Karp and Flatt, then Amdahl)."""
    serial = (1 / speedup - 1 / hands) / (1 - 1 / hands)
    if serial >= 1:
        return speedup  # slower than the loop: more cores are no help
    serial = max(serial, 0.0)
    return 1 / (serial + (1 - serial) / cores)


def evidence(case, tasks):
    gain = case["task_s"] * (1 - 1 / case["processes"])
    pays = (f"made up for from {math.ceil(case['startup_s'] / gain)} tasks on" if gain > 0
            else "no number of such tasks makes up for it")
    yield (f"A task: {case['task_s'] * 1e6:.3g} us of work; its {case['bytes']:.0f} bytes pickled "
           f"and read back {case['transfer_s'] * 1e6:.3g} us; handing it over "
           f"{case['handing_over_s'] * 1e6:.3g} us.")
    yield f"Starting a pool: {case['startup_s'] * 1e3:.3g} ms; {pays}."
    if case["vectorised"] is not None:
        yield f"NumPy on one core: {case['vectorised']:.3g}x."
    for mode in ("threads", "processes") if case["parallel"] > 1 else ():
        hands = {n: tasks / math.ceil(tasks / n) for n in (2, 4, 8, 16, 64)}
        yield (f"{mode}: measured {case[mode]:.3g}x with {case['workers']} workers; predicted by "
               "Amdahl's law, not measured: " + ", ".join(
                   f"{amdahl(case[mode], case['parallel'], use):.3g}x on {n}"
                   for n, use in hands.items()) + " cores")


# ---- The program ------------------------------------------------------------------------------

def command_line():
    parser = CommandLine("Three questions, answered by you or by measuring.", random=False)
    for question, text, *_ in QUESTIONS:
        parser.add_argument(f"--{question}", choices=("yes", "no"), help=text)
    parser.add_argument("--light-tasks", type=whole_number(1, 10**7), default=10000)
    parser.add_argument("--tasks", type=whole_number(1, 10**7), default=24)
    parser.add_argument("--iterations", type=whole_number(1, 10**8), default=50000)
    for other in "--numbers", "--side", "--order":
        parser.add_argument(other, type=whole_number(1, 2**28), metavar="N",
                            help="of workloads that only the C program has; not used here")
    return parser, parser.parse_args()


def main():
    parser, args = command_line()
    answers = [getattr(args, question) for question, *_ in QUESTIONS]
    terminal = sys.stdin.isatty() and sys.stdout.isatty() and args.json != "-"
    conclusion = None
    if any(answers) or (terminal and len(sys.argv) == 1):
        conclusion = ask(answers, terminal, parser.error)
    lesson = Lesson("08_when_to_parallelise", args)
    if conclusion:
        lesson.say("", *draw_tree(answers), "", f"Advice: {conclusion}.")
        lesson.end(conclusions={"answers": conclusion})
        return

    numbers = [i % 1000 for i in range(args.light_tasks)]
    small = [i % 1000 for i in range(args.tasks)]
    lesson.say(lesson.environment)
    conclusions, cases = {}, {}
    for workload, task, data in (
            ("x_plus_1", add_one, numbers),
            ("python_like", partial(heavy_computation, iterations=args.iterations), small)):
        rows, results = lesson.measure(
            workload, (run_sequential, run_threads, run_processes), task, data)
        lesson.save(workload, results, "int64")
        vectorised = None
        if workload == "x_plus_1":
            array = np.array(data)
            begin = time.perf_counter()
            incremented = array + 1
            vectorised = rows[0]["wall_s"]["median"] / (time.perf_counter() - begin)
            if incremented.tolist() != results:
                sys.exit("notebook.py: NumPy's x + 1 differs")
        case = cases[workload] = case_of(rows, lesson.cores, data, results, vectorised)
        conclusions[workload] = advise(case)
        lesson.say(f"\n{workload}: {len(data)} tasks", *lesson.table(rows),
                   *lesson.why(rows, one_busy="the GIL let one thread run at a time"),
                   *evidence(case, len(data)), "", *draw_tree(answers_of(case)), "",
                   f"Advice for {workload}: {conclusions[workload]}.")
    lesson.end(conclusions=conclusions, cases=cases)


if __name__ == "__main__":
    run_program(main)
