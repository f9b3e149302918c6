"""machine.py - the processes that measure, their cores and environment, and what they run on."""
import json
import os
import platform
import re
import select
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
PATIENCE = 300  # seconds for one answer: more than any needs
PYTHON_PEERS = {"numpy": "numpy", "scipy": "scipy", "opencv": "cv2", "torch": "torch"}
PACKAGES = {"numpy": "python3-numpy", "scipy": "python3-scipy", "opencv": "python3-opencv",
            "torch": "python3-torch", "onednn": "libdnnl-dev"}
# Whatever of these the caller has set, each process gets its own.
SETTINGS = re.compile(r"(OMP|GOMP|KMP|OPENBLAS|GOTO|MKL|DNNL|ONEDNN|OPENCV|TORCH|NPY)_")


class Failure(Exception):
    """A contender cannot be measured; the text says why."""


# ---- Cores ---------------------------------------------------------------------------------------

def usable_cores():
    """One processor of each core that this process may use, the last first: interrupts come to the
    first."""
    allowed, cores = sorted(os.sched_getaffinity(0), reverse=True), {}
    for cpu in allowed:
        path = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        cores.setdefault(path.read_text() if path.exists() else cpu, cpu)
    return list(cores.values())


# ---- Processes -----------------------------------------------------------------------------------

class Process:
    """One that answers in lines of JSON; a session of its own, so that Ctrl-C reaches only us."""

    def __init__(self, command, environment, cores):
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True, start_new_session=True,
            preexec_fn=lambda: os.sched_setaffinity(0, cores))

    def ask(self, *words):
        """A failure of the contender or of the whole process is a Failure."""
        try:
            self.process.stdin.write(" ".join(map(str, words)) + "\n")
            self.process.stdin.flush()
        except (BrokenPipeError, ValueError):
            raise Failure(self.end()) from None
        if not select.select([self.process.stdout], [], [], PATIENCE)[0]:
            self.kill()
            raise Failure(f"no answer within {PATIENCE} s")
        line = self.process.stdout.readline()
        try:
            answer = json.loads(line)
        except ValueError:
            raise Failure(self.end()) from None
        if "failure" in answer:
            raise Failure(answer["failure"])
        return answer

    def end(self):
        self.kill()
        code = self.process.returncode
        return f"its process ended with {signal.Signals(-code).name if code < 0 else f'status {code}'}"

    def kill(self):
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self.process.wait()

    def close(self):
        for stream in (self.process.stdin, self.process.stdout):
            try:
                stream.close()
            except BrokenPipeError:
                pass
        self.kill()


class Processes:
    """One for each peer and number of threads, started when it is first asked."""

    def __init__(self, programs, python):
        self.programs, self.python = Path(programs), python
        self.cores = usable_cores()
        self.running, self.slots, self.about = {}, {}, {}
        self.pythons = {}  # which interpreter has which peer
        self.core_type = None  # OpenBLAS's best; None: as it chooses itself

    def missing(self, peer):
        """Why the peer cannot be asked, or nothing."""
        if peer == "onednn" and not (self.programs / "bench_onednn").exists():
            return "oneDNN 2 was not there when the bench was compiled"
        if peer.endswith(" v3") and not {"avx2", "fma", "bmi2"} <= cpu_flags():
            return "this processor has no AVX2"
        module = PYTHON_PEERS.get(peer.split()[0])
        if module and not self.interpreter(module):
            return f"no Python has {module}"
        return ""

    def interpreter(self, module):
        if module not in self.pythons:
            test = (f"import sys, importlib.util as u; "
                    f"sys.exit(not (u.find_spec('numpy') and u.find_spec('{module}')))")
            found = None
            for python in dict.fromkeys([self.python] if self.python else
                                        [sys.executable, "python3", "/usr/bin/python3"]):
                try:
                    if subprocess.run([python, "-c", test], stdin=subprocess.DEVNULL, check=False,
                                      stderr=subprocess.DEVNULL).returncode == 0:
                        found = python
                        break
                except OSError:
                    pass
            self.pythons[module] = found
        return self.pythons[module]

    def start(self, peer, threads, core_type):
        environment = {name: value for name, value in os.environ.items()
                       if not SETTINGS.match(name)}
        environment.update({f"{name}_NUM_THREADS": str(threads)
                            for name in ("OMP", "OPENBLAS", "MKL")})
        environment["OMP_DYNAMIC"] = "false"
        if core_type and not peer.endswith("as shipped"):
            environment["OPENBLAS_CORETYPE"] = core_type
        if peer.endswith(" v3"):
            environment["FORKJOIN_ISA"] = "v3"
        peer = peer.split()[0]
        if peer in PYTHON_PEERS:
            command = [self.interpreter(PYTHON_PEERS[peer]), HERE / "peer.py", peer, str(threads)]
        else:
            program = "bench_onednn" if peer == "onednn" else "bench_ours"
            command = [self.programs / program, str(threads)]
        try:
            return Process(command, environment, self.cores[:threads])
        except OSError as error:
            raise Failure(f"{command[0]} cannot be started: {error.strerror}") from None

    def get(self, peer, threads):
        key = peer, threads
        process = self.running.get(key)
        if process is None or process.process.poll() is not None:
            if process is not None:
                process.close()
            process = self.running[key] = self.start(peer, threads, self.core_type)
            self.slots[key] = 0
            self.about.setdefault(key, process.ask("about"))
        return process

    def choose_core_type(self, directory, quick):
        """OpenBLAS picks kernels by the processor's model, and old versions do not know new ones. So
        its best is found by trying those that this processor can run, on a product."""
        flags = cpu_flags()
        wanted = {"SKYLAKEX": {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"},
                  "COOPERLAKE": {"avx512_bf16", "avx512f", "avx512dq", "avx512bw", "avx512vl"},
                  "ZEN": {"avx2", "fma"}, "HASWELL": {"avx2", "fma"}}
        tried = {}
        for core in (None, *[core for core, needs in wanted.items() if needs <= flags]):
            process = self.start("openblas", 1, core)
            try:
                name = process.ask("about")["blas_core"]
                if core is None or name.upper() == core:
                    process.ask("begin", 0, "sgemm", 200, 0, directory)
                    calls = 5 if quick else 20
                    tried[core] = min(process.ask("sample", 0, calls)["seconds"] / calls
                                      for _ in range(5)), name
            except Failure:
                pass  # a core type that this build or processor does not have
            finally:
                process.close()
        if not tried:
            raise Failure("bench_ours does not answer")
        best = min(tried, key=lambda core: tried[core][0] * (0.98 if core is None else 1))
        self.core_type = best
        return {name: seconds for seconds, name in tried.values()}

    def close(self):
        for process in self.running.values():
            process.close()


# ---- The environment -----------------------------------------------------------------------------

def read(path, default=""):
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return default


def cpu_flags():
    match = re.search(r"^(?:flags|Features)\s*:(.*)", read("/proc/cpuinfo"), re.M)
    return set(match.group(1).split()) if match else set()


def compiler_flags(build, isa):
    """Of the fast kernels for the instruction set in use, from the build's own record."""
    match = re.fullmatch(r"x86-64-(v\d)", isa or "")
    level = match.group(1) if match else "base"
    try:
        entries = json.loads(read(Path(build) / "compile_commands.json", "[]"))
    except ValueError:
        entries = []
    for entry in entries:
        command = shlex.split(entry["command"])
        if entry["file"].endswith("common/kernels/cnn_direct.c") and \
                f"-DKERNELS_LEVEL={level}" in command:
            words = [word for word in command[1:] if re.match(r"-(O|f(?!diagnostics)|m|g|std)", word)]
            return " ".join(dict.fromkeys(words))
    return "unknown"


def describe():
    model = re.search(r"^model name\s*:\s*(.*)", read("/proc/cpuinfo"), re.M)
    numbers = [re.search(rf"^{name}\s*:\s*(\d+)", read("/proc/cpuinfo"), re.M)
               for name in ("cpu family", "model", "stepping")]
    caches = {}
    for index in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        if read(index / "type") != "Instruction":
            caches[f"L{read(index / 'level')}"] = read(index / "size")
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "cpu": (model.group(1) if model else platform.processor() or platform.machine()) +
               (" (family {}, model {}, stepping {})".format(*(n.group(1) for n in numbers))
                if all(numbers) else ""),
        "caches": dict(sorted(caches.items())),
        "virtual_machine": "hypervisor" in cpu_flags(),
        "governor": read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", "not told"),
        "huge_pages": read("/sys/kernel/mm/transparent_hugepage/enabled", "not told"),
        "kernel": f"{platform.system()} {platform.release()}",
        "load_average_before": os.getloadavg()[0],
    }
