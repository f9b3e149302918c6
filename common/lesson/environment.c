/* Some settings are read by a library's constructor, before main: the program cannot set them for
 * itself, only for the next program it becomes. So it sets what is missing and executes itself
 * once again. Two things are set, and only where the user has not set them:
 *
 * - An OpenMP or BLAS thread that has run out of work spins for milliseconds before it sleeps.
 *   That keeps a core busy with nothing, which would be counted as computing. The spinning is cut
 *   to some microseconds.
 *
 * - OpenBLAS that does not know the processor takes the kernels of a generic old one, up to four
 *   times slow. If the processor can do more, better kernels are tried in a child process, which
 *   may compute wrong, crash or hang, and are used if all products came out right.
 */
#include "common/lesson/internal.h"
#include "common/parallel/resources.h"
#include <cblas.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECOND_LIFE        "FORKJOIN_ENVIRONMENT" /* the environment is as it shall be */
#define BLAS_NOTE          "FORKJOIN_BLAS_NOTE"
#define BLAS_CHECK         "FORKJOIN_BLAS_CHECK" /* this process shall only check BLAS */
#define CHECK_MILLISECONDS 2000

struct cpu_features cpu_features(void)
{
    struct cpu_features features = {false, false};
#if defined __x86_64__ || defined __i386__
    __builtin_cpu_init();
    features.avx2_fma = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
    features.avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512cd");
#endif
    return features;
}

const char *blas_candidate(const char *core, struct cpu_features features, int attempt)
{
    /* OpenBLAS's names for processors older than AVX2 */
    static const char *const generic[] = {
        "Generic",   "Unknown",    "Katmai",       "Coppermine", "Northwood",  "Prescott",
        "Banias",    "Atom",       "Core2",        "Penryn",     "Dunnington", "Nehalem",
        "Athlon",    "Opteron",    "Opteron_SSE3", "Barcelona",  "Bobcat",     "Nano",
        "Bulldozer", "Piledriver", "Steamroller",  "Sandybridge"};
    bool is_generic = false;
    for (size_t i = 0; i < sizeof generic / sizeof *generic; i++)
        is_generic |= strcasecmp(core, generic[i]) == 0;
    if (!is_generic)
        return NULL;
    if (features.avx512 && attempt-- == 0)
        return "SKYLAKEX";
    if (features.avx2_fma && attempt-- == 0)
        return "HASWELL";
    return NULL;
}

/* Small whole numbers: every product is exact, in float too, so nothing needs a tolerance. */
static int element(int matrix, int row, int column)
{
    return (row * 7 + column * 3 + matrix * 5 + row * column) % 11 - 5;
}

#define MAX_ORDER 200

/* A row of the product of the two matrices, the second of which is given. A whole row at a time
 * takes a fraction of what one sum after the other takes, and each program that starts waits for
 * this. */
static void exact_row(double *restrict sums, const double *restrict second, int row, int order)
{
    for (int column = 0; column < order; column++)
        sums[column] = 0;
    for (int k = 0; k < order; k++) {
        const double factor = element(0, row, k);
        for (int column = 0; column < order; column++)
            sums[column] += factor * second[k * order + column];
    }
}

static bool gemm_is_right(int order)
{
    static float fa[MAX_ORDER * MAX_ORDER], fb[MAX_ORDER * MAX_ORDER], fc[MAX_ORDER * MAX_ORDER];
    static double da[MAX_ORDER * MAX_ORDER], db[MAX_ORDER * MAX_ORDER], dc[MAX_ORDER * MAX_ORDER];
    for (int i = 0; i < order; i++)
        for (int j = 0; j < order; j++) {
            da[i * order + j] = fa[i * order + j] = (float)element(0, i, j);
            db[i * order + j] = element(1, i, j);
            fb[j * order + i] = (float)element(1, i, j); /* transposed, the other code path */
        }
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasTrans, order, order, order, 1.0F, fa, order, fb,
                order, 0.0F, fc, order);
    cblas_dgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, order, order, order, 1.0, da, order, db,
                order, 0.0, dc, order);
    for (int i = 0; i < order; i++) {
        double exact[MAX_ORDER];
        exact_row(exact, db, i, order);
        for (int j = 0; j < order; j++)
            if ((double)fc[i * order + j] != exact[j] || dc[i * order + j] != exact[j])
                return false;
    }
    return true;
}

bool blas_is_right(void)
{
    static const int orders[] = {1, 2, 3, 7, 16, 31, 48, 65, 100, 127, MAX_ORDER};
    for (size_t i = 0; i < sizeof orders / sizeof *orders; i++)
        if (!gemm_is_right(orders[i]))
            return false;
    return true;
}

/* In the child: does OpenBLAS use the kernels that it was told to, and are they right? */
__attribute__((noreturn)) static void check_blas(const char *core)
{
    const struct rlimit no_core_file = {0, 0};
    setrlimit(RLIMIT_CORE, &no_core_file);
    _exit(strcasecmp(openblas_get_corename(), core) == 0 && blas_is_right() ? 0 : 1);
}

/* The child's end, waited for no longer than CHECK_MILLISECONDS: did it say that all is right? */
static bool child_approves(pid_t child)
{
    const struct timespec step = {.tv_nsec = 1000000};
    int status = 0;
    for (int waited = 0; waited < CHECK_MILLISECONDS; waited++) {
        const pid_t ended = waitpid(child, &status, WNOHANG);
        if (ended == child)
            return WIFEXITED(status) && WEXITSTATUS(status) == 0;
        if (ended < 0 && errno != EINTR)
            return false;
        nanosleep(&step, NULL);
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return false;
}

/* Runs the check in a fresh copy of the program that has OPENBLAS_CORETYPE=core. */
static bool candidate_is_right(const char *core, char **argv)
{
    posix_spawn_file_actions_t actions;
    pid_t child = 0;
    if (posix_spawn_file_actions_init(&actions))
        return false;
    setenv("OPENBLAS_CORETYPE", core, 1);
    setenv(BLAS_CHECK, core, 1);
    const bool started =
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) == 0 &&
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0) == 0 &&
        posix_spawn(&child, "/proc/self/exe", &actions, NULL, argv, environ) == 0;
    unsetenv("OPENBLAS_CORETYPE");
    unsetenv(BLAS_CHECK);
    posix_spawn_file_actions_destroy(&actions);
    return started && child_approves(child);
}

/* Decides about OpenBLAS's kernels and leaves the decision in the environment. */
static bool choose_blas_core(char **argv)
{
    const char *core = openblas_get_corename(), *candidate;
    const struct cpu_features features = cpu_features();
    char note[256];
    if (getenv("OPENBLAS_CORETYPE"))
        return false;
    for (int i = 0; (candidate = blas_candidate(core, features, i)); i++)
        if (candidate_is_right(candidate, argv)) {
            snprintf(note, sizeof note,
                     "OpenBLAS does not know this CPU and took the slow %s kernels; %s were "
                     "checked and are used instead",
                     core, candidate);
            return setenv("OPENBLAS_CORETYPE", candidate, 1) == 0 &&
                   setenv(BLAS_NOTE, note, 1) == 0;
        }
    if (blas_candidate(core, features, 0)) {
        snprintf(note, sizeof note,
                 "OpenBLAS does not know this CPU and took the slow %s kernels; better ones "
                 "failed the check, so it keeps them",
                 core);
        setenv(BLAS_NOTE, note, 1);
    }
    return false;
}

static bool set_default(const char *name, const char *value)
{
    return !getenv(name) && setenv(name, value, 1) == 0;
}

/* How long idle threads spin; the first two are ways in which a user may have said it. */
static bool shorten_spinning(void)
{
    bool changed = false;
    if (!getenv("OMP_WAIT_POLICY")) {
        changed |= set_default("GOMP_SPINCOUNT", "2000"); /* libgomp: rounds, about 20 us */
        changed |= set_default("KMP_BLOCKTIME", "0");     /* libomp: milliseconds */
    }
    changed |= set_default("OPENBLAS_THREAD_TIMEOUT", "16"); /* 2^16 cycles, about 20 us */
    return changed;
}

void environment_prepare(char **argv)
{
    const char *check = getenv(BLAS_CHECK);
    if (getenv(SECOND_LIFE)) {
        prctl(PR_SET_NAME, program_invocation_short_name); /* exec named it "exe" */
        return;
    }
    if (check)
        check_blas(check);
    const bool spinning = shorten_spinning(), core = choose_blas_core(argv);
    if ((spinning || core) && setenv(SECOND_LIFE, "1", 1) == 0) {
        resources_unbind(); /* or the second life would see one core only */
        execv("/proc/self/exe", argv);
        /* No /proc: go on as we are. Workers that are started afresh must not have kernels that
         * this process has not, or results would differ in their last bits. */
        if (core) {
            unsetenv("OPENBLAS_CORETYPE");
            unsetenv(BLAS_NOTE);
        }
    }
}

const char *environment_blas_note(void)
{
    const char *note = getenv(BLAS_NOTE);
    return note ? note : "";
}
