"""chapter_test.py - what the tests share that run chapters as programs: a chapter's description, .npy
files and pictures without a library, processes, a test with a directory of its own, a terminal.

Needs nothing but the standard library.
"""
import array
import ast
import ctypes
import fcntl
import functools
import json
import os
import pty
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
import unittest
import uuid
import zlib
from dataclasses import dataclass
from typing import Callable

# With FORKJOIN_SHORT set, as by ./run test unless it is told --all: one of each kind, see few().
SHORT = bool(os.environ.get("FORKJOIN_SHORT"))
MODES = ("sequential", "threads", "gil", "processes")
WORKERS = (1, 3) if SHORT else (1, 2, 3, 4, 7)
LIMIT = 300  # seconds for any one program: far more than needed, also under a sanitizer
PROMPT = 10  # seconds for what is promised within one: the promise, and a heavily loaded machine

# A shell starts what is in the background with these two ignored, and Ctrl-C, which tests press, would do
# nothing.
for number in signal.SIGINT, signal.SIGQUIT:
    if signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)


def few(cases, most=1):
    """All cases; with FORKJOIN_SHORT the first ones, so the most telling come first."""
    return cases[:most] if SHORT else cases


@dataclass
class Chapter:
    counts: Callable  # the options that make n tasks of small size
    arrays: dict      # what --save writes: file name -> (dtype, shape, given the options as a dict)
    inputs: tuple = ()        # those of them that are inputs: equal to NumPy's bit for bit
    oracle: tuple = ()        # further options to compare with NumPy
    notebook: tuple = ()      # options only notebook.py needs, to be quick
    zero_allowed: tuple = ()  # size options that may be 0
    memory: tuple = ()        # options and values that are valid but ask for too much memory
    sizes: tuple = ()         # the size options
    words: bool = False       # are words that are no options taken, as files?
    seconds: float = 0.3      # --seconds of a run that is long enough for signals in its midst


def shape_of(text):
    """'12x9' as (12, 9), '5x4x3' as (5, 4, 3), 64 as (64, 64)."""
    sides = tuple(int(side) for side in str(text).split("x"))
    return sides if len(sides) > 1 else sides * 2


def arguments(options):
    """{'--tasks': 3} as ['--tasks=3']: with the sign, a negative number is no option."""
    return [f"{name}={value}" for name, value in options.items()]


# ---- .npy files, read without NumPy ------------------------------------------------------------

def read_npy(path):
    """dtype, shape, the bytes, and the values as an array.array, of a version 1.0 .npy file."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:8] != b"\x93NUMPY\x01\x00":
        raise ValueError(f"{path}: not a .npy file of version 1.0")
    length, = struct.unpack("<H", data[8:10])
    header = ast.literal_eval(data[10:10 + length].decode("latin1"))
    if header["fortran_order"] or (10 + length) % 64:
        raise ValueError(f"{path}: not in C order, or its header is not padded to 64 bytes")
    values = array.array({"<i8": "q", "<f8": "d", "<f4": "f"}[header["descr"]])
    values.frombytes(data[10 + length:])
    if sys.byteorder == "big":
        values.byteswap()
    expected = 1
    for side in header["shape"]:
        expected *= side
    if len(values) != expected:
        raise ValueError(f"{path}: {len(values)} values, but its shape is {header['shape']}")
    return header["descr"], header["shape"], data[10 + length:], values


# ---- Pictures, written without a library --------------------------------------------------------

def png_chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def write_png(path, height, width, pixel, colour=False, bits=8):
    """A PNG whose pixel (y, x) is pixel(y, x): 0..255, scaled to the bits; colour: all three."""
    rows = bytearray()
    for y in range(height):
        rows.append(0)
        for x in range(width):
            value = pixel(y, x)
            sample = struct.pack(">H", value * 257) if bits == 16 else bytes([value])
            rows += sample * (3 if colour else 1)
    header = struct.pack(">IIBBBBB", width, height, bits, 2 if colour else 0, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header)
                   + png_chunk(b"IDAT", zlib.compress(bytes(rows))) + png_chunk(b"IEND", b""))


# ---- Processes --------------------------------------------------------------------------------

MARK = "FORKJOIN_TEST_MARK"


def family(mark):
    """Processes with this mark in their environment, which children inherit: pid -> parent."""
    found = {}
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                if f"{MARK}={mark}".encode() not in file.read().split(b"\0"):
                    continue
            with open(f"/proc/{entry}/stat") as file:
                state, parent = file.read().rpartition(")")[2].split()[:2]
        except OSError:  # ended meanwhile, or somebody else's
            continue
        if state not in "ZX":
            found[int(entry)] = int(parent)
    return found


def name_of(pid):
    try:
        with open(f"/proc/{pid}/comm") as file:
            return file.read().strip()
    except OSError:
        return ""


def helper_and_workers(mark):
    """The pool's helper is nobody's child, and known by its name; the workers are its children."""
    members = family(mark)
    for helper in (pid for pid in members if name_of(pid) == "pool-helper"):
        workers = [pid for pid, parent in members.items() if parent == helper]
        if workers:
            return helper, workers
    return None, []


def running(pid):
    """Has it a thread that computes at this moment?"""
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/stat") as file:
                if file.read().rpartition(")")[2].split()[0] == "R":
                    return True
    except OSError:
        pass
    return False


def wait_until(condition, seconds):
    """The first true value of condition(), or its last one after so many seconds."""
    end = time.monotonic() + seconds
    while not (value := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return value


def kill(pid, number=signal.SIGKILL):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


# ---- A BLAS as another machine may have it ---------------------------------------------------------

class OtherBlas:
    """Beside ChapterTest, in a chapter that multiplies matrices: with a BLAS that adds in another order
    for each size and number of threads, what is compared within a tolerance passes because the
    tolerance is applied, and what is compared to the last bit rests on no machine's luck."""
    blas_options = ()  # further options, several lists of them

    def test_blas_that_adds_in_another_order(self):
        blas = os.path.join(self.build, "tests", "libfake_order.so")
        for options in self.blas_options or ((),):
            with self.subTest(options=options):
                self.report("--repeats=1", "--workers=2,3", *options, env={
                    **self.environment, "LD_PRELOAD": blas,  # which a sanitizer would else refuse
                    "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0"})


def adds_in_another_order(path):
    """Does a row of a product have other bits, computed alone, than among others?"""
    blas, rows, n = ctypes.CDLL(path), 5, 64
    numbers = ctypes.c_float * (rows * n)
    a = numbers(*(1 / (3 + i) for i in range(rows * n)))
    b = (ctypes.c_float * (n * n))(*(1 / (7 + i) for i in range(n * n)))
    one, many = numbers(), numbers()
    for result, m in ((one, 1), (many, rows)):  # row-major, not transposed
        blas.cblas_sgemm(101, 111, 111, m, n, n, ctypes.c_float(1), a, n, b, n, ctypes.c_float(0),
                         result, n)
    return bytes(one)[:4 * n] != bytes(many)[:4 * n]


# ---- Python ---------------------------------------------------------------------------------------

@functools.cache  # a Python that looks takes a fifth of a second
def python_with_numpy():
    for python in dict.fromkeys((sys.executable, "python3", "/usr/bin/python3")):
        try:
            if subprocess.run([python, "-c", "import numpy"], stdin=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL).returncode == 0:
                return python
        except OSError:
            continue
    return None


def with_numpy():
    """NumPy. Where this Python has none, the script begins again in one that has; None: no Python has."""
    try:
        import numpy
        return numpy
    except ImportError:
        python = python_with_numpy()
        if python:
            os.execvp(python, [python, *sys.argv])
        return None


# ---- What all tests share -----------------------------------------------------------------------

class ChapterTest(unittest.TestCase):
    build = source = stem = None  # set by main
    chapter = None
    disturbed = False  # are workers killed?
    maxDiff = None

    @classmethod
    def program(cls):
        return os.path.join(cls.build, "chapters", cls.stem, cls.stem.partition("_")[2])

    def setUp(self):
        self.mark = uuid.uuid4().hex
        self.environment = {**os.environ, MARK: self.mark}
        self.directory = os.path.realpath(tempfile.mkdtemp(prefix="forkjoin-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.addCleanup(self.end_processes)

    def end_processes(self):
        for pid in family(self.mark):
            kill(pid)

    def not_here(self, why):
        """What another chapter tries, or only it can: nothing that this machine lacks."""
        self.skipTest(f"not here: {why}")

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def assert_no_process_left(self, seconds=PROMPT):
        left = not wait_until(lambda: not family(self.mark), seconds)
        self.assertFalse(left, f"processes left behind: {family(self.mark)}")

    def start(self, *options, **keywords):
        keywords = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE,
                    "stderr": subprocess.PIPE, "cwd": self.directory, "text": True,
                    "env": self.environment, "start_new_session": True, **keywords}
        return subprocess.Popen([self.program(), *map(str, options)], **keywords)

    def finish(self, process, seconds=LIMIT):
        """Waits for the program. Returns status, standard output, standard error."""
        try:
            out, err = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            left = family(self.mark)
            self.end_processes()
            out, err = process.communicate()
            self.fail(f"not ended after {seconds} s: {process.args}\nprocesses: {left}\n"
                      f"standard output: {out}\nstandard error: {err}")
        return process.returncode, out, err

    def run_chapter(self, *options, **keywords):
        result = self.finish(self.start(*options, **keywords))
        self.assert_no_process_left()
        return result

    def small(self, n=6):
        return [*arguments(self.chapter.counts(n)), "--repeats=1"]

    def succeed(self, *options, **keywords):
        """Runs the chapter, which must end with status 0. Returns standard output."""
        status, out, err = self.run_chapter(*options, **keywords)
        self.assertEqual(status, 0, f"{options}\n{out}\n{err}")
        return out

    def report(self, *options, **keywords):
        """The JSON of a run that succeeds and in which all modes agree."""
        text = self.succeed("--json=-", *options, **keywords)
        report = json.loads(text)
        self.assert_report(report)
        return report

    def fail_with(self, options, names, statuses=(1, 2), **keywords):
        """Runs the chapter, which must fail, with one line that names the culprit."""
        status, out, err = self.run_chapter(*options, **keywords)
        told = f"{options}\nstatus {status}\nstdout: {out}\nstderr: {err}"
        self.assertIn(status, statuses, told)
        self.assertEqual(err.count("\n"), 1, "not exactly one line on standard error: " + told)
        for name in names:
            self.assertIn(name, err, told)
        return out

    # ---- JSON, as the design describes it

    def assert_types(self, record, types, where):
        for key, kinds in types.items():
            self.assertIn(key, record, where)
            value = record[key]
            self.assertIsInstance(value, kinds, f"{key} in {where}")
            if kinds is not bool and bool not in (kinds if isinstance(kinds, tuple) else ()):
                self.assertNotIsInstance(value, bool, f"{key} in {where}")

    def assert_report(self, report):
        number = (int, float)
        self.assert_types(report, {"chapter": str, "version": str, "seed": int, "machine": dict,
                                   "parameters": dict, "runs": list}, "report")
        self.assertEqual(report["chapter"], self.stem)
        self.assertRegex(report["version"], r"^\d+\.\d+")
        self.assert_types(report["machine"], {"cpu": str, "cores": int, "compiler": str,
                                              "openmp": int, "blas": str, "isa": str}, "machine")
        self.assertGreaterEqual(report["machine"]["openmp"], 201511)
        self.assertTrue(report["runs"])
        for run in report["runs"]:
            self.assertIn(run["language"], ("c", "python"))
            if run["language"] == "python":
                self.assert_python_run(run)
                continue
            self.assert_types(run, {
                "workload": str, "mode": str, "workers": int, "repeats": int, "wall_s": dict,
                "cpu_s": dict, "cores_busy": number, "speedup": number, "efficiency": number,
                "matches_sequential": bool, "tasks": int}, run)
            self.assertIn(run["mode"], MODES)
            self.assertIs(run["matches_sequential"], True, run)
            self.assert_types(run["wall_s"], dict.fromkeys(("min", "median", "max"), number), run)
            self.assert_types(run["cpu_s"], {"median": number}, run)
            wall = run["wall_s"]
            self.assertTrue(0 < wall["min"] <= wall["median"] <= wall["max"], run)
            self.assertGreaterEqual(run["cores_busy"], 0)
            self.assertGreater(run["speedup"], 0)
            ran = run.get("threads", run["workers"])
            self.assertAlmostEqual(run["efficiency"] / (run["speedup"] / ran), 1,
                                   delta=0.01, msg=run)
            if run["mode"] == "processes":
                self.assert_types(run, {"start_method": str, "transfer": str, "startup_s": number,
                                        "phases_s": dict, "bytes_copied": int, "chunks": int,
                                        "pool": dict}, run)
                self.assert_pool(run)
                self.assert_types(run["phases_s"], dict.fromkeys(
                    ("send", "compute", "receive", "wait"), number), run)
                self.assertGreater(run["startup_s"], 0, run)
                self.assertTrue(1 <= run["chunks"] <= run["tasks"], run)
                # what is the same for all tasks may be copied once; nothing else is
                self.assertTrue(run["transfer"] != "shared" or run["bytes_copied"] <= 64, run)
            if run["mode"] == "gil":
                self.assert_types(run, {"switch_interval_s": number, "gil": dict}, run)
                gil = run["gil"]
                self.assert_types(gil, dict.fromkeys(("acquired", "switches", "forced"), int), run)
                self.assertTrue(0 <= gil["switches"] <= gil["acquired"] >= 1, run)
                self.assertTrue(run["workers"] > 1 or gil["forced"] == 0, run)

    def assert_python_run(self, run):
        """A row of --python: the same keys where they mean the same."""
        number, perhaps = (int, float), (int, float, type(None))
        self.assert_types(run, {
            "workload": str, "name": str, "python": str, "mode": str, "workers": int,
            "repeats": int, "tasks": int, "sample": bool, "wall_s": dict, "cpu_s": dict,
            "cores_busy": perhaps, "speedup": number, "efficiency": number, "startup_s": number,
            "whole_s": number, "c_speedup": perhaps, "matches_sequential": bool,
            "transfer": (str, type(None))}, run)
        self.assertIn(run["mode"], MODES)
        wall = run["wall_s"]
        self.assertTrue(0 < wall["min"] <= wall["median"] <= wall["max"], run)
        self.assertEqual(run["cores_busy"] is None, run["mode"] == "processes", run)
        self.assertEqual(run["transfer"] is None, run["mode"] != "processes", run)

    def assert_pool(self, run):
        """What the pool did in one run that nobody disturbed."""
        pool = run["pool"]
        mended = ("restarts", "retired", "chunks_retried", "chunks_lost", "timeouts", "cancelled")
        self.assert_types(pool, {"start_method": str, **dict.fromkeys(
            ("tasks", "chunks", "bytes_copied", "wakeups", *mended), int)}, run)
        for key in ("start_method", "tasks", "chunks", "bytes_copied"):
            self.assertEqual(pool[key], run[key], run)
        if not self.disturbed:
            self.assertEqual([pool[key] for key in mended], [0] * len(mended), run)

    def assert_modes(self, report, workers=WORKERS, modes=MODES):
        """Every mode was run with every number of workers."""
        seen = {(run["mode"], run["workers"]) for run in report["runs"]}
        wanted = {(mode, count) for mode in modes if mode != "sequential" for count in workers}
        self.assertEqual((wanted | {("sequential", 1)}) - seen, set())


class TerminalTest(ChapterTest):
    """On a terminal of its own."""

    def open(self, *options, columns=100, rows=40, streams=("stdin", "stdout", "stderr"), typed="",
             background=False, **changes):
        """The program with these streams on a terminal of its own, the others as in start; typed:
        what is there to be read before it begins; background: another has the terminal."""
        self.master, slave = pty.openpty()
        self.write(typed)
        self.addCleanup(os.close, self.master)
        self.resize(columns, rows)
        environment = {**self.environment, "TERM": "xterm", **changes}
        environment = {name: value for name, value in environment.items() if value is not None}
        if "NO_COLOR" not in changes:
            environment.pop("NO_COLOR", None)
        process = self.start(*options, **dict.fromkeys(streams, slave), env=environment,
                             pass_fds=(slave,),
                             preexec_fn=lambda: self.take_terminal(slave, background))
        os.close(slave)
        for stream in (process.stdout, process.stderr):
            if stream:
                self.addCleanup(stream.close)
        self.shown, self.looked_at = "", 0
        return process

    @staticmethod
    def take_terminal(slave, background):
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        if not background:
            return
        other = os.fork()
        if other == 0:
            os.setpgid(0, 0)
            signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            os.tcsetpgrp(slave, os.getpid())
            os._exit(0)
        os.waitpid(other, 0)

    def resize(self, columns, rows):
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def read(self):
        try:
            data = os.read(self.master, 65536)
        except OSError:  # nobody has the other end open any more
            data = b""
        self.shown += data.decode().replace("\r\n", "\n")
        return bool(data)

    def read_until(self, text):
        """Reads until this text is shown, after what was looked for before."""
        while (at := self.shown.find(text, self.looked_at)) < 0:
            if not self.read():
                self.fail(f"the terminal ended before {text!r}: {self.shown}")
        self.looked_at = at + len(text)

    def close(self, process):
        """Reads the rest. Returns the status."""
        while self.read():
            pass
        status = process.wait(LIMIT)
        self.assert_no_process_left()
        return status

    def write(self, text):
        os.write(self.master, text.encode())
