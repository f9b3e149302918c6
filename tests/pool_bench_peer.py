"""pool_bench_peer.py - measures one of Python's pools, one sample at a time.

Usage: python3 -c 'import pool_bench_peer; pool_bench_peer.serve("mp.Pool")'

The counterpart of pool_bench.c: the same requests, the same answers (see there), for "mp.Pool",
"executor" (concurrent.futures.ProcessPoolExecutor) and "loky" (joblib's). It is imported and not
run, so that its tasks belong to a module that the workers can import: those of a main program
would be sent to loky's workers by value, code and all, each time. And it imports no more than it
must, since workers that are spawned import it again.
"""
import itertools
import os
import signal
import sys
import time

WARM_UP = 50
BLOCKS = 16
BLOCK_SIZE = 1 << 20


# ---- Tasks ---------------------------------------------------------------------------------------

def increment(number):
    return number + 1


def add_ends(block):
    return block[0] + block[-1]


def add_ends_shared(place):
    block = attached(place[0]).buf
    return block[place[1] * BLOCK_SIZE] + block[(place[1] + 1) * BLOCK_SIZE - 1]


ATTACHED = {}


def attached(name):
    """A worker attaches a block of shared memory once."""
    if name not in ATTACHED:
        from multiprocessing.shared_memory import SharedMemory
        ATTACHED[name] = SharedMemory(name)
    return ATTACHED[name]


def die(path):
    """Leaves the time of death in a file: the clock is the same in all processes."""
    with open(path, "w", encoding="ascii") as file:
        file.write(repr(time.monotonic()))
    os.kill(os.getpid(), signal.SIGKILL)


def time_of_death(path):
    with open(path, encoding="ascii") as file:
        return float(file.read())


# ---- The pools: the same verbs in the words of each ----------------------------------------------

class MpPool:
    def create(self, method, workers):
        import multiprocessing
        return multiprocessing.get_context(method).Pool(workers)

    def end(self, pool):
        pool.terminate()
        pool.join()

    def apply(self, pool, function, argument):
        return pool.apply(function, (argument,))

    def submit_and_get(self, pool, function, arguments):
        handles = [pool.apply_async(function, (argument,)) for argument in arguments]
        return [handle.get() for handle in handles]

    def map(self, pool, function, arguments, chunksize):
        return pool.map(function, arguments, chunksize or None)

    def imap(self, pool, function, arguments):
        return pool.imap(function, arguments)

    def imap_unordered(self, pool, function, arguments):
        return pool.imap_unordered(function, arguments)


class Executor:
    def create(self, method, workers):
        import multiprocessing
        from concurrent.futures import ProcessPoolExecutor
        self.workers = workers
        return ProcessPoolExecutor(workers, multiprocessing.get_context(method))

    def end(self, pool):
        pool.shutdown()

    def apply(self, pool, function, argument):
        return pool.submit(function, argument).result()

    def submit_and_get(self, pool, function, arguments):
        futures = [pool.submit(function, argument) for argument in arguments]
        return [future.result() for future in futures]

    def map(self, pool, function, arguments, chunksize):
        # Its default is 1; 0 here means mp.Pool's rule, which it can be given
        chunksize = chunksize or -(-len(arguments) // (4 * self.workers))
        return list(pool.map(function, arguments, chunksize=chunksize))

    def imap(self, pool, function, arguments):
        return pool.map(function, arguments)

    def imap_unordered(self, pool, function, arguments):
        from concurrent.futures import as_completed
        futures = [pool.submit(function, argument) for argument in arguments]
        return (future.result() for future in as_completed(futures))


class Loky(Executor):
    """map is joblib.Parallel, as it is meant to be used; the rest is the executor below it."""

    def create(self, method, workers):
        from joblib.externals.loky import ProcessPoolExecutor
        if method != "loky":
            raise ValueError(f"{method}: loky starts its workers by fork and exec")
        self.workers = workers
        return ProcessPoolExecutor(workers)

    def end(self, pool):
        pool.shutdown()
        if "joblib" in sys.modules:
            from joblib.externals.loky import get_reusable_executor
            get_reusable_executor().shutdown()  # what joblib.Parallel may have left

    def map(self, pool, function, arguments, chunksize):
        from joblib import Parallel, delayed
        parallel = Parallel(n_jobs=self.workers, backend="loky", batch_size=chunksize or "auto")
        return parallel(delayed(function)(argument) for argument in arguments)


# ---- Requests ------------------------------------------------------------------------------------

def check(results, expected):
    if list(results) != list(expected):
        raise AssertionError("wrong results")


def quantiles(seconds):
    seconds.sort()
    return {"seconds": seconds[len(seconds) // 2], "p95": seconds[len(seconds) * 95 // 100]}


class Peer:
    def __init__(self, kind):
        self.kind = kind
        self.pool = None
        self.memory = None  # of transfer

    def do_about(self):
        python = ".".join(map(str, sys.version_info[:3]))
        answer = {"seconds": 0, "python": f"{sys.implementation.name}-{python}"}
        if isinstance(self.kind, Loky):
            import joblib
            from joblib.externals import loky
            answer |= {"joblib": joblib.__version__, "loky": loky.__version__}
        return answer

    def do_start(self, method, workers):
        start = time.perf_counter()
        pool = self.kind.create(method, int(workers))
        two = self.kind.apply(pool, increment, 1)
        seconds = time.perf_counter() - start
        self.kind.end(pool)
        check([two], [2])
        return {"seconds": seconds}

    def do_open(self, method, workers):
        from multiprocessing import resource_tracker
        resource_tracker.ensure_running()  # the workers' too: else each would make its own
        self.pool = self.kind.create(method, int(workers))
        self.kind.apply(self.pool, increment, 1)
        return {"seconds": 0}

    def do_close(self):
        self.kind.end(self.pool)
        self.pool = None
        if self.memory is not None:
            self.memory.close()
            self.memory.unlink()
            self.memory = None
        return {"seconds": 0}

    def do_map(self, tasks, chunksize):
        numbers = range(int(tasks))
        self.kind.map(self.pool, increment, numbers[:WARM_UP], int(chunksize))
        start = time.perf_counter()
        results = self.kind.map(self.pool, increment, numbers, int(chunksize))
        seconds = time.perf_counter() - start
        check(results, range(1, len(numbers) + 1))
        return {"seconds": seconds}

    def do_apply(self, calls):
        seconds = []
        for i in range(WARM_UP + int(calls)):
            start = time.perf_counter()
            result = self.kind.apply(self.pool, increment, i)
            seconds.append(time.perf_counter() - start)
            check([result], [i + 1])
        return quantiles(seconds[WARM_UP:])

    def do_apply_async(self, calls):
        return self.measure_items(self.kind.submit_and_get, int(calls))

    def do_imap(self, calls):
        return self.measure_items(self.kind.imap, int(calls))

    def do_imap_unordered(self, calls):
        return self.measure_items(self.kind.imap_unordered, int(calls), sorted)

    def measure_items(self, function, calls, order=list):
        list(function(self.pool, increment, range(WARM_UP)))
        start = time.perf_counter()
        results = list(function(self.pool, increment, range(calls)))
        seconds = time.perf_counter() - start
        check(order(results), range(1, calls + 1))
        return {"seconds": seconds}

    def do_transfer(self, how):
        blocks = [bytes([i + 1]) * BLOCK_SIZE for i in range(BLOCKS)]
        if how == "copy":
            return self.measure_transfer(add_ends, blocks)
        if self.memory is None:
            from multiprocessing.shared_memory import SharedMemory
            self.memory = SharedMemory(create=True, size=BLOCKS * BLOCK_SIZE)
        self.memory.buf[:] = b"".join(blocks)
        places = [(self.memory.name, i) for i in range(BLOCKS)]
        return self.measure_transfer(add_ends_shared, places)

    def measure_transfer(self, function, arguments):
        for _ in range(2):  # the first is to warm up
            start = time.perf_counter()
            results = self.kind.map(self.pool, function, arguments, 0)
            seconds = time.perf_counter() - start
        check(results, [2 * (i + 1) for i in range(BLOCKS)])
        return {"seconds": seconds}

    def do_death(self, method, workers, retries, path):
        """From the kill to the exception; or, "retries" 1, to the result of a new executor."""
        from concurrent.futures.process import BrokenProcessPool  # loky's is a subclass
        pool = self.kind.create(method, int(workers))
        try:
            check(self.kind.map(pool, increment, range(WARM_UP), 1), range(1, WARM_UP + 1))
            future = pool.submit(die, path)
            try:
                future.result()
                raise AssertionError("the death was not reported")
            except BrokenProcessPool:
                if int(retries):
                    new = self.kind.create(method, int(workers))
                    self.kind.end(pool)
                    pool = new
                    check([self.kind.apply(pool, increment, 1)], [2])
                return {"seconds": time.monotonic() - time_of_death(path)}
        finally:
            self.kind.end(pool)

    def do_hang(self, method, workers, path, patience):
        """mp.Pool: is the death of a worker told within so many seconds? 1: no."""
        import multiprocessing
        pool = self.kind.create(method, int(workers))
        try:
            pool.apply_async(die, (path,)).get(float(patience))
        except multiprocessing.TimeoutError:
            return {"seconds": time.monotonic() - time_of_death(path), "silent": 1}
        finally:
            self.kind.end(pool)
        return {"seconds": time.monotonic() - time_of_death(path), "silent": 0}


def serve(name):
    peer = Peer({"mp.Pool": MpPool, "executor": Executor, "loky": Loky}[name]())
    for line in sys.stdin:
        words = line.split()
        try:
            answer = getattr(peer, f"do_{words[0]}")(*words[1:])
            figures = "".join(f" {name}={value}" for name, value in
                              itertools.islice(answer.items(), 1, None))
            print(f"ok {answer['seconds']:.9g}{figures}", flush=True)
        except Exception as exception:  # whatever it is, who asks must get an answer
            print(f"error {type(exception).__name__}: {exception}".replace("\n", " "), flush=True)
    if peer.pool is not None:
        peer.do_close()
