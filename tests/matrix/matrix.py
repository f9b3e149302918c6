"""matrix.py - the chapters on many machines: other processors, libraries, limits, users, compilers and
another release of Debian, all of them made out of this one.

Usage: python3 tests/matrix/matrix.py BUILD [ROW...]
       python3 tests/matrix/matrix.py --list

BUILD is a build directory in which everything is compiled; what the rows make goes to BUILD/matrix. Each row
is one line: passed, FAILED (and what is wrong), or SKIPPED and why. Two rows run at a time, since nothing is
measured. Status 1: a row failed.

What a row is for stands in docs/maintainers.md, "The matrix of machines"; what is looked at, in check.py.
Some rows need root, QEMU or debootstrap, and say so where they are missing.

Environment: FORKJOIN_DEBIAN13  where Debian 13 is kept for the next time, instead of BUILD/matrix/debian13
             FORKJOIN_CLANG     a build directory of clang's, instead of one that is made
"""
import concurrent.futures
import contextlib
import glob
import itertools
import os
import platform
import re
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.realpath(__file__))
SOURCE = os.path.dirname(os.path.dirname(HERE))
sys.dont_write_bytecode = True
sys.path.insert(0, HERE)
import check  # noqa: E402
from chapter_test import read_npy, wait_until  # noqa: E402

LIMIT = 900            # seconds for any one command: far more than needed
SMALL_LIMIT = 20       # seconds for a chapter that runs into a limit: a result or a refusal, no hang
DEFAULT_SIGNALS = "env", "--default-signal"  # also where we were started by nohup, or in the background
LINES = 12             # of what a failing command said
MULTIARCH = f"/usr/lib/{platform.machine()}-linux-gnu"


class Failed(Exception):
    pass


class Skipped(Exception):
    pass


def last_lines(text):
    return "\n".join(text.strip().splitlines()[-LINES:])


class Place:
    """A build directory, and what all rows share."""

    def __init__(self, build):
        self.build = os.path.realpath(build)
        self.directory = os.path.join(self.build, "matrix")
        os.makedirs(self.directory, exist_ok=True)
        self.own = tempfile.TemporaryDirectory(prefix="run-", dir=self.directory)  # several may run
        self.oracle = os.path.join(self.own.name, "oracle")

    def path(self, *names):
        return os.path.join(self.directory, *names)

    def run(self, command, environment=None, cannot=None, **keywords):
        """The command's output; Failed with its last lines. cannot: a status that means Skipped."""
        done = subprocess.run([*DEFAULT_SIGNALS, *command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, cwd="/",
                              stderr=subprocess.STDOUT, text=True, timeout=LIMIT, errors="replace",
                              env={**os.environ, **(environment or {})}, **keywords)
        if cannot is not None and done.returncode == cannot:
            raise Skipped(last_lines(done.stdout).splitlines()[-1])
        if done.returncode:
            raise Failed(last_lines(done.stdout) or f"{command[0]}: {check.ended(done.returncode)}")
        return done.stdout

    def check(self, environment=None, build=None, prefix=(), options=(), **keywords):
        self.run([*prefix, sys.executable, os.path.join(HERE, "check.py"), build or self.build,
                  self.oracle, *options], environment, **keywords)


def cpu_flags():
    with open("/proc/cpuinfo") as file:
        found = re.search(r"(?m)^flags\s*: (.*)$", file.read())
    return set(found[1].split() if found else ())


def need(*programs):
    for program in programs:
        if not shutil.which(program):
            raise Skipped(f"{program} is not installed")


def need_root():
    if os.geteuid():
        raise Skipped("only root can do it")


# ---- Instruction sets and OpenBLAS's kernels --------------------------------------------------------

V3, V4 = {"avx2", "fma", "bmi2"}, {"avx512f", "avx512dq", "avx512bw", "avx512vl", "avx512cd"}


def under_qemu(place, model, flags, environment, expected):
    """The numbers of the chapters with QEMU's model of a processor. A program under QEMU cannot
    execute itself once more, which FORKJOIN_ENVIRONMENT says has been done."""
    need("qemu-x86_64", "prlimit")
    # QEMU keeps books of every page that is mapped: gigabytes for an arena of its full size.
    qemu = ["prlimit", "--as=6000000000", "qemu-x86_64", "-cpu", model]
    told = subprocess.run([*qemu, check.program(place.build, "01_pool_map"), "--version"],
                          env={**os.environ, "FORKJOIN_ENVIRONMENT": "1"},
                          capture_output=True, text=True, timeout=LIMIT).stderr
    missing = sorted(flag for flag in flags if re.search(rf"doesn't support.*\b{flag} ", told))
    if missing:
        raise Skipped(f"this processor has no {' '.join(missing)}, and QEMU cannot do it")
    place.check({"FORKJOIN_ENVIRONMENT": "1", **environment},
                options=["--under", " ".join(qemu), *expected])


def qemu(model, isa):
    def run(place):
        under_qemu(place, model, (), {}, ["--expect", f"isa={isa}"])
    return run


def blas_kernels(core, model, *flags):
    """On this processor, if it can; else on QEMU's."""
    def run(place):
        environment, expected = {"OPENBLAS_CORETYPE": core}, ["--expect", f"blas_core={core}"]
        if cpu_flags() >= set(flags):
            place.check(environment, options=expected)
        else:
            under_qemu(place, model, flags, environment, expected)
    return run


def isa(name, full_name, *flags):
    def run(place):
        if not cpu_flags() >= set(flags):
            raise Skipped(f"this processor has no {' '.join(sorted(set(flags) - cpu_flags()))}")
        place.check({"FORKJOIN_ISA": name}, options=["--expect", f"isa={full_name}"])
    return run


def isa_scalar(place):
    """Two rungs of chapter 9's ladder are compiled for it, and compared there; no program is all scalar."""
    done = subprocess.run([check.program(place.build, "01_pool_map")], stdin=subprocess.DEVNULL,
                          env={**os.environ, "FORKJOIN_ISA": "scalar"}, capture_output=True, text=True,
                          timeout=LIMIT)
    if done.returncode != 2 or done.stdout or done.stderr.count("\n") != 1:
        raise Failed(f"FORKJOIN_ISA=scalar: {check.ended(done.returncode)}, and not one line\n{done.stderr}")
    report = place.run([check.program(place.build, "09_final_benchmark"), "--json=-", "--repeats=1",
                        *check.arguments(check.SIZES["09_final_benchmark"])])
    for rung in "ladder, naive", "ladder, algorithm":
        if f'"{rung}"' not in report:
            raise Failed(f"chapter 9 has no '{rung}' any more")


# ---- Other BLAS libraries ---------------------------------------------------------------------------

def library(variable, name, told):
    """variable: LD_PRELOAD for a file, LD_LIBRARY_PATH for the file's directory."""
    def run(place):
        path = os.path.join(MULTIARCH, name)
        if not os.path.exists(path):
            raise Skipped(f"{path} is not installed")
        place.check({variable: path if variable == "LD_PRELOAD" else os.path.dirname(path)},
                    options=["--cblas", told])
    return run


# ---- Few cores, a quota, a user -----------------------------------------------------------------------

def one_core(place):
    need("taskset")
    core = min(os.sched_getaffinity(0))
    place.check(prefix=["taskset", "-c", str(core)], options=["--expect", "cores=1"])


@contextlib.contextmanager
def half_a_core():
    """A cgroup of either version with this quota: the file to write a process's number to."""
    need_root()
    name = f"forkjoin-{os.getpid()}"
    for parent, settings in (("/sys/fs/cgroup/cpu", {"cpu.cfs_period_us": "100000",
                                                     "cpu.cfs_quota_us": "50000"}),
                             ("/sys/fs/cgroup", {"cpu.max": "50000 100000"})):
        directory = os.path.join(parent, name)
        try:
            os.mkdir(directory)
        except OSError:
            continue
        try:
            for file, value in settings.items():
                with open(os.path.join(directory, file), "r+") as setting:
                    setting.write(value)
        except OSError:
            os.rmdir(directory)
            continue
        try:
            yield os.path.join(directory, "cgroup.procs")
        finally:
            wait_until(lambda: remove_cgroup(directory), 10)
        return
    raise Skipped("no cgroup with a quota can be made here")


def remove_cgroup(directory):
    """Not before the last process in it is gone."""
    with contextlib.suppress(OSError):
        os.rmdir(directory)
    return not os.path.exists(directory)


def quota(place):
    with half_a_core() as processes:
        place.check(prefix=["sh", "-c", 'echo $$ >"$0" && exec "$@"', processes])


def copy_sources(target):
    """The files that git knows, as they are now."""
    names = subprocess.run(["git", "-c", "safe.directory=*", "-C", SOURCE, "ls-files", "-z"], check=True,
                           capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if os.path.exists(os.path.join(SOURCE, name)):
            os.makedirs(os.path.dirname(os.path.join(target, name)), exist_ok=True)
            shutil.copy2(os.path.join(SOURCE, name), os.path.join(target, name))


def ordinary_user(place):
    """Somebody without sudo, HOME and a right to write to the sources builds elsewhere, and all that is
    made is for him alone."""
    need_root()
    need("setpriv")
    user = 65534
    with tempfile.TemporaryDirectory(prefix="forkjoin-matrix-") as directory:
        os.chmod(directory, 0o755)
        sources, home = os.path.join(directory, "sources"), os.path.join(directory, "his")
        copy_sources(sources)
        place.run(["chmod", "-R", "a+rX,a-w", sources])
        os.mkdir(home)
        os.chown(home, user, user)
        build = os.path.join(home, "build")
        prefix = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", "--no-new-privs",
                  "env", "-u", "HOME", f"TMPDIR={home}", f"FORKJOIN_BUILD={build}",
                  "PATH=/usr/local/bin:/usr/bin:/bin", "sh", "-c", 'umask 077 && exec "$@"', "sh"]
        # Without the tests: ./run then finds a directory that is configured.
        place.run([*prefix, "meson", "setup", "-Dtests=disabled", build, sources])
        place.run([*prefix, os.path.join(sources, "run"), "1", "--repeats=1"])
        place.run([*prefix, "python3", os.path.join(sources, "tests", "matrix", "check.py"), build,
                   os.path.join(home, "oracle")])


def load(place):
    """Beside four programs that do nothing but compute; they end by themselves, should we not."""
    busy = [subprocess.Popen(["timeout", "300", "sh", "-c", "while :; do :; done"]) for _ in range(4)]
    try:
        place.check()
    finally:
        for process in busy:
            process.terminate()
            process.wait()


# ---- Limits -------------------------------------------------------------------------------------------

def limited(place, stem, option, value, prefix=()):
    """What is wrong: it shall be a result, or one clear line; never a hang, a death by a signal, or half a
    file."""
    with tempfile.TemporaryDirectory(prefix="forkjoin-") as directory:
        os.chmod(directory, 0o777)  # the program may run as another user
        command = [*DEFAULT_SIGNALS, *prefix, "prlimit", f"--{option}={value}", check.program(place.build, stem), "--quiet",
                   *check.arguments(check.SIZES[stem]), "--repeats=1", "--workers=2",
                   f"--save={directory}/saved"]
        where = f"{stem}, {option} {value}: "
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                                   stderr=subprocess.PIPE, start_new_session=True, cwd=directory)
        try:
            _, told = process.communicate(timeout=SMALL_LIMIT)
        except subprocess.TimeoutExpired:
            return [where + f"not ended after {SMALL_LIMIT} s"]
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
        for path in glob.glob(f"{directory}/saved/*"):
            try:
                read_npy(path)
            except (ValueError, SyntaxError, LookupError) as error:
                return [where + f"half a file was left: {error}"]
        if process.returncode == 0:
            return []
        # What OpenBLAS says and does before main begins is not ours: without threads it raises SIGINT.
        lines = [line for line in told.splitlines() if not line.startswith("OpenBLAS ")]
        if process.returncode == -signal.SIGINT and "pthread_create failed" in told and not lines:
            return []
        if process.returncode not in (1, 2) or len(lines) != 1:
            return [where + f"{check.ended(process.returncode)}, {len(lines)} lines: {' / '.join(lines)}"]
        return []


NOBODY = 64123  # a user who has no other process


def await_no_process():
    """Until the last run's processes, of which the pool's helper is an orphan, are gone: they would count."""
    def theirs():
        for process in filter(str.isdigit, os.listdir("/proc")):
            with contextlib.suppress(OSError):
                if os.stat(f"/proc/{process}").st_uid == NOBODY:
                    return True
        return False
    end = time.monotonic() + SMALL_LIMIT
    while theirs() and time.monotonic() < end:
        time.sleep(0.01)


def limits(option, *values):
    def run(place):
        need("prlimit")
        prefix = ()
        if option == "nproc":  # root has no such limit
            need_root()
            prefix = ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups")
        wrong = []
        for value, stem in itertools.product(values, check.SIZES):
            await_no_process()
            wrong += limited(place, stem, option, value, prefix)
            if len(wrong) == 3:  # hangs, perhaps, each of which takes its time
                break
        if wrong:
            raise Failed("\n".join(wrong))
    return run


# ---- Compilers ----------------------------------------------------------------------------------------

def compile_chapters(place, name, options, suites, environment=None):
    build = place.path(name)
    if not os.path.exists(os.path.join(build, "build.ninja")):
        shutil.rmtree(build, ignore_errors=True)
        place.run(["meson", "setup", *options, build, SOURCE], environment)
    programs = [os.path.relpath(check.program(build, stem), build) for stem in check.SIZES]
    place.run(["ninja", "-C", build, *programs, *(f"tests/{suite}" for suite in suites)])
    return build


def compiler(name, *options, suites=("test_cnn", "test_kernels_random")):
    def run(place):
        build = compile_chapters(place, name, options, suites)
        for suite in suites:
            place.run([os.path.join(build, "tests", suite)], {"CK_TIMEOUT_MULTIPLIER": "4", "FORKJOIN_SHORT": "1"})
        place.check(build=build)
    return run


def clang(place):
    need("clang")
    build = os.environ.get("FORKJOIN_CLANG")
    if not build:
        build = compile_chapters(place, "clang", [], [], {"CC": "clang"})
    place.check(build=os.path.realpath(build), options=["--expect", "compiler=clang"])


# ---- Debian 13 ----------------------------------------------------------------------------------------

DEBIAN13 = """
set -e
CFLAGS=-Werror ./run 1 --repeats=1
dpkg -s libopenblas0-openmp >/dev/null 2>&1 || apt-get -qq -y install --no-install-recommends libopenblas0-openmp
openmp=$(dirname "$(find /usr/lib -path '*openblas-openmp/libopenblas.so.0')")
status=0
CK_RUN_CASE=openmp LD_LIBRARY_PATH=$openmp build/tests/test_parallel >/tmp/openmp.log || { cat /tmp/openmp.log; status=1; }
meson test -C build --no-rebuild --num-processes 2 --timeout-multiplier 3 kernels cnn data gil lesson >/tmp/suites.log ||
    { grep -aE ' (FAIL|TIMEOUT|ERROR) ' /tmp/suites.log | sort -u; grep -aE ':[FE]:' build/meson-logs/testlog.txt; status=1; }
rm -rf /tmp/oracle
python3 tests/matrix/check.py build /tmp/oracle --cblas openblas-pthread || status=1
LD_LIBRARY_PATH=$openmp python3 tests/matrix/check.py build /tmp/oracle --cblas openblas-openmp || status=1
exit $status
"""


def debian13(place):
    """As README says, in a fresh clone; then both builds of OpenBLAS."""
    place.run([os.path.join(HERE, "chroot.sh"), os.environ.get("FORKJOIN_DEBIAN13") or place.path("debian13"),
               "trixie", "sh", "-c", DEBIAN13], cannot=77)


# ---- The rows -----------------------------------------------------------------------------------------

# The longest first; the names are those of the table in docs/maintainers.md.
ROWS = {
    "debian13": debian13,
    "user": ordinary_user,
    "gcc-O0": compiler("gcc-O0", "-Doptimization=0", suites=("test_kernels", "test_cnn")),
    "gcc-native": compiler("gcc-native", "-Dc_args=-march=native"),
    "gcc-lto": compiler("gcc-lto", "-Db_lto=true"),
    "clang": clang,
    "as-it-is": Place.check,
    "blas-prescott": blas_kernels("Prescott", "Conroe", "pni"),
    "blas-nehalem": blas_kernels("Nehalem", "Nehalem", "sse4_2"),
    "blas-sandybridge": blas_kernels("Sandybridge", "SandyBridge", "avx"),
    "blas-haswell": blas_kernels("Haswell", "Haswell", *V3),
    "blas-zen": blas_kernels("Zen", "EPYC", *V3),
    "blas-skylakex": blas_kernels("SkylakeX", "Skylake-Server", *V4),
    "blas-openmp": library("LD_LIBRARY_PATH", "openblas-openmp/libopenblas.so.0", "openblas-openmp"),
    "blas-reference": library("LD_PRELOAD", "blas/libblas.so.3", "/blas/"),
    "blas-blis": library("LD_PRELOAD", "blis-pthread/libblas.so.3", "blis"),
    "isa-scalar": isa_scalar,
    "isa-baseline": isa("baseline", "x86-64"),
    "isa-v3": isa("v3", "x86-64-v3", *V3),
    "isa-v4": isa("v4", "x86-64-v4", *V4),
    "qemu-nehalem": qemu("Nehalem", "x86-64"),
    "qemu-haswell": qemu("Haswell", "x86-64-v3"),
    "one-core": one_core,
    "half-a-core": quota,
    "load": load,
    "limit-memory": limits("as", 150000 * 1024, 650000 * 1024),
    "limit-files": limits("nofile", 12),
    "limit-processes": limits("nproc", 1, 4),
}

printing = threading.Lock()


def run_row(place, name):
    start, lines = time.monotonic(), ""
    try:
        ROWS[name](place)
        result = "passed"
    except Skipped as why:
        result = f"SKIPPED: {why}"
    except Failed as wrong:
        result, lines = "FAILED", str(wrong)
    except (OSError, subprocess.SubprocessError) as error:
        result, lines = "FAILED", str(error)
    with printing:
        print(f"{name:<17}{time.monotonic() - start:5.0f} s  {result}", flush=True)
        for line in lines.splitlines():
            print(f"    {line}", flush=True)
    return result


def main():
    if sys.argv[1:] == ["--list"]:
        print(*ROWS, sep="\n")
        return 0
    names = sys.argv[2:]
    if len(sys.argv) < 2 or sys.argv[1].startswith("-") or not set(names) <= set(ROWS):
        print(__doc__.split("\n\n")[1], f"rows: {' '.join(ROWS)}", sep="\n", file=sys.stderr)
        return 2
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    place = Place(sys.argv[1])
    check.make_oracle(place.oracle)
    with concurrent.futures.ThreadPoolExecutor(2) as rows:
        results = list(rows.map(lambda name: run_row(place, name), names or ROWS))
    place.own.cleanup()
    counts = [sum(result.startswith(word) for result in results) for word in ("passed", "FAILED", "SKIPPED")]
    print("{} rows passed, {} failed, {} skipped".format(*counts))
    return counts[1] > 0


if __name__ == "__main__":
    sys.exit(main())
