/* Some settings are read by a library's constructor, before main: the program cannot set them for
 * itself, only for the next program it becomes. So it sets what is missing and executes itself
 * once again. What is set, and but for the last two only where the user has not set it:
 *
 * - An OpenMP or BLAS thread that has run out of work spins for milliseconds before it sleeps.
 *   That keeps a core busy with nothing, which would be counted as computing. The spinning is cut
 *   to some microseconds.
 *
 * - OpenBLAS that does not know the processor takes the kernels of a generic old one, up to four
 *   times slow. If the processor can do more, better kernels are tried in a child process, which
 *   may compute wrong, crash or hang, and are used if all products came out right.
 *
 * - Kernels that the user has asked for (OPENBLAS_CORETYPE) are tried as well: OpenBLAS takes them
 *   even where the processor has not the instructions, and the program would die at its first
 *   product.
 *
 * - Where the address space is limited, OpenBLAS starts without threads: each of them would take
 *   128 MiB as soon as it is there, and try for ever if it does not get them, and a program that
 *   has such a thread can neither fork nor end.
 *
 * - libgomp binds threads to whatever processors GOMP_CPU_AFFINITY names, and ends the program at
 *   one that is not there. Those are taken out.
 */
#include "common/lesson/host/host.h"
#include "common/parallel/blas.h"
#include "common/parallel/resources.h"
#include <cblas.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdarg.h>
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
#define OPENMP_NOTE        "FORKJOIN_OPENMP_NOTE"
#define ANY_CORE           "any"
#define CHECK_MILLISECONDS 2000
#define ASKED_MILLISECONDS 20000 /* what the user asked for is not given up so soon */

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
    const bool taken =
        strcmp(core, ANY_CORE) == 0 || strcasecmp(openblas_get_corename(), core) == 0;
    blas_set_threads(1);
    _exit(taken && blas_is_right() ? 0 : 1);
}

#define ROOM_FOR_CHECK ((size_t)512 << 20) /* of addresses: with less OpenBLAS may hang */

enum verdict { RIGHT, WRONG, CRASHED, HANGS, NOT_TRIED };

/* The child's end, waited for no longer than `milliseconds`. */
static enum verdict child_verdict(pid_t child, int milliseconds)
{
    const struct timespec step = {.tv_nsec = 1000000};
    int status = 0;
    for (int waited = 0; waited < milliseconds; waited++) {
        const pid_t ended = waitpid(child, &status, WNOHANG);
        if (ended == child)
            return !WIFEXITED(status) ? CRASHED : WEXITSTATUS(status) == 0 ? RIGHT : WRONG;
        if (ended < 0 && errno != EINTR)
            return NOT_TRIED;
        nanosleep(&step, NULL);
    }
    kill(child, SIGKILL);
    waitpid(child, &status, 0);
    return HANGS;
}

/* Runs the check in a fresh copy of the program. */
static enum verdict check_in_child(const char *core, char **argv, int milliseconds)
{
    posix_spawn_file_actions_t actions;
    pid_t child = 0;
    if (resources_address_space() < ROOM_FOR_CHECK || posix_spawn_file_actions_init(&actions))
        return NOT_TRIED;
    setenv(BLAS_CHECK, core, 1);
    const bool started =
        posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0) == 0 &&
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0) == 0 &&
        posix_spawn(&child, "/proc/self/exe", &actions, NULL, argv, environ) == 0;
    unsetenv(BLAS_CHECK);
    posix_spawn_file_actions_destroy(&actions);
    return started ? child_verdict(child, milliseconds) : NOT_TRIED;
}

static bool candidate_is_right(const char *core, char **argv)
{
    setenv("OPENBLAS_CORETYPE", core, 1);
    const enum verdict verdict = check_in_child(core, argv, CHECK_MILLISECONDS);
    unsetenv("OPENBLAS_CORETYPE");
    return verdict == RIGHT;
}

/* Behind what has been noted already. */
__attribute__((format(printf, 2, 3))) static void add_note(const char *name, const char *format,
                                                           ...)
{
    const char *before = getenv(name);
    char note[1024];
    int used = before ? snprintf(note, sizeof note, "%.500s; ", before) : 0;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(note + used, sizeof note - (size_t)used, format, arguments);
    va_end(arguments);
    setenv(name, note, 1);
}

/* Can the kernels that the user has asked for be used? If not they are forgotten, and the next life
 * chooses as if nobody had asked. */
static bool asked_core_is_good(const char *asked, char **argv)
{
    static const char *const faults[] = {
        [WRONG] = "gave wrong products", [CRASHED] = "crashed", [HANGS] = "hung"};
    const enum verdict verdict =
        *asked ? check_in_child(ANY_CORE, argv, ASKED_MILLISECONDS) : CRASHED;
    if (verdict == RIGHT || verdict == NOT_TRIED) {
        if (strcasecmp(asked, openblas_get_corename()) != 0)
            add_note(BLAS_NOTE, "OPENBLAS_CORETYPE asks for %.40s, which OpenBLAS did not take",
                     asked);
        return true;
    }
    if (*asked) /* empty is as good as not set */
        add_note(BLAS_NOTE,
                 "OPENBLAS_CORETYPE asks for %.40s: these kernels %s when they were tried, so "
                 "OpenBLAS chose by itself",
                 asked, faults[verdict]);
    unsetenv("OPENBLAS_CORETYPE");
    return false;
}

/* Decides about OpenBLAS's kernels, where nobody has asked for any, and leaves the decision in the
 * environment. */
static bool choose_blas_core(char **argv)
{
    const char *core = openblas_get_corename(), *candidate;
    const struct cpu_features features = cpu_features();
    for (int i = 0; (candidate = blas_candidate(core, features, i)); i++)
        if (candidate_is_right(candidate, argv)) {
            add_note(BLAS_NOTE,
                     "OpenBLAS does not know this CPU and took the slow %s kernels; %s were "
                     "checked and are used instead",
                     core, candidate);
            return setenv("OPENBLAS_CORETYPE", candidate, 1) == 0;
        }
    if (blas_candidate(core, features, 0))
        add_note(BLAS_NOTE,
                 "OpenBLAS does not know this CPU and took the slow %s kernels; better ones "
                 "failed the check, so it keeps them",
                 core);
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

/* Another BLAS than OpenBLAS may be told before main only. */
static bool limit_other_blas(void)
{
    static const char *const counts[] = {"BLIS_NUM_THREADS", "MKL_NUM_THREADS"};
    static const char *const shares[] = {"BLIS_JC_NT", "BLIS_PC_NT", "BLIS_IC_NT", "BLIS_JR_NT",
                                         "BLIS_IR_NT"}; /* these go before */
    bool changed = false;
    if (blas_is_openblas())
        return false;
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        const char *count = getenv(counts[i]);
        if (!count || strcmp(count, "1") != 0)
            changed |= setenv(counts[i], "1", 1) == 0;
    }
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++)
        if (getenv(shares[i]))
            changed |= unsetenv(shares[i]) == 0;
    return changed;
}

static bool limit_blas_threads(void)
{
    return resources_address_space() != SIZE_MAX && setenv("OPENBLAS_NUM_THREADS", "1", 1) == 0;
}

/* OpenMP's places with what is really there. */
static bool repair_affinity(void)
{
    size_t size;
    const char *asked = getenv("GOMP_CPU_AFFINITY");
    const int missing = asked ? resources_missing_processors() : 0;
    cpu_set_t *set = missing ? resources_processors(&size) : NULL;
    char *text = NULL;
    size_t length;
    FILE *stream = set ? open_memstream(&text, &length) : NULL;
    for (size_t i = 0; stream && i < 8 * size; i++)
        if (CPU_ISSET_S(i, size, set))
            fprintf(stream, "%zu ", i);
    CPU_FREE(set);
    const bool changed = stream && fclose(stream) == 0 && setenv("GOMP_CPU_AFFINITY", text, 1) == 0;
    if (changed)
        add_note(OPENMP_NOTE, "GOMP_CPU_AFFINITY names %d processor%s that this process has not",
                 missing, plural(missing));
    free(text);
    return changed;
}

/* The program once again, if it can be found. */
static void live_again(char **argv)
{
    resources_unbind(); /* or the next life would see one core only */
    execv("/proc/self/exe", argv);
}

void environment_prepare(char **argv)
{
    const char *check = getenv(BLAS_CHECK), *asked = getenv("OPENBLAS_CORETYPE");
    if (getenv(SECOND_LIFE)) {
        prctl(PR_SET_NAME, program_invocation_short_name); /* exec named it "exe" */
        return;
    }
    if (check)
        check_blas(check);
    bool changed = shorten_spinning();
    changed |= repair_affinity();
    changed |= limit_blas_threads();
    changed |= limit_other_blas();
    if (blas_is_openblas() && asked && !asked_core_is_good(asked, argv))
        live_again(argv); /* to ask OpenBLAS what it chooses itself */
    const bool core = blas_is_openblas() && !asked && choose_blas_core(argv);
    if ((changed || core) && setenv(SECOND_LIFE, "1", 1) == 0) {
        live_again(argv);
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

const char *environment_openmp_note(void)
{
    const char *note = getenv(OPENMP_NOTE);
    return note ? note : "";
}
