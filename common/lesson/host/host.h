/* host.h - the machine and the system around a lesson: what it is like, where things are, other
 * programs.
 *
 *   machine.c       cores, instruction sets, BLAS
 *   environment.c   what OpenMP and OpenBLAS read before main
 *   places.c        programs, and the project's own files
 *   child.c         another program, run to its end: notebook.py, gnuplot
 *   temporary.c     a directory that does not outlive this program
 */
#ifndef LESSON_HOST_H
#define LESSON_HOST_H

#include "common/lesson/words/words.h"
#include <limits.h>
#include <sys/types.h>

/* ---- machine.c ------------------------------------------------------------------------------- */

struct machine {
    char cpu[128];
    int cores;                  /* that this process may use */
    int machine_cores;          /* hardware threads of the machine */
    double quota;               /* the cgroup's, in cores; INFINITY if there is none */
    const char *isa, *best_isa; /* the kernels' in use, and the best that the machine can do */
    bool isa_chosen;            /* by FORKJOIN_ISA */
    char compiler[64];
    int openmp;         /* _OPENMP, 0 if the program was compiled without */
    int openmp_threads; /* a team of 2 really got this many */
    char blas[64];      /* "OpenBLAS 0.3.21", or another that was put before it */
    const char *core;   /* OpenBLAS's kernels; "": it is another */
    int blas_threads;   /* machine_look_at_blas has seen them; 0: it does not say */
};

/* Before there are threads and processes: what FORKJOIN_ISA says, or else the best. Ends the
 * program if the machine cannot do it. */
void machine_choose_isa(struct lesson *lesson);

/* After pool_startup, because it enters an OpenMP region. */
void machine_inspect(struct machine *machine);

/* After the options, where so many workers call BLAS: how many threads a product has, and is there
 * address space for its buffers? Ends the program if not. */
void machine_look_at_blas(struct lesson *lesson, size_t workers);

/* ---- environment.c --------------------------------------------------------------------------- */

/* OpenMP and OpenBLAS read some settings before main; this sets what is missing and executes the
 * program once again, so that they see it. Returns at once in that second life. */
void environment_prepare(char **argv);

/* What was decided about OpenBLAS, and about OpenMP's places, in words; "" if there was nothing to
 * decide. */
const char *environment_blas_note(void);
const char *environment_openmp_note(void);

/* The features of a processor that decide about OpenBLAS kernels. */
struct cpu_features {
    bool avx2_fma, avx512; /* avx512: f, dq, bw, vl and cd */
};
struct cpu_features cpu_features(void);

/* The attempt-th best OPENBLAS_CORETYPE (from 0) for a processor with these features on which
 * OpenBLAS chose the kernels `core`; NULL when there is none: `core` is not one of the generic
 * ones, or all better ones were tried. */
const char *blas_candidate(const char *core, struct cpu_features features, int attempt);

/* Do sgemm and dgemm give right products? */
bool blas_is_right(void);

/* ---- places.c ------------------------------------------------------------------------------ */

/* The path of a file of the project, "chapters/01_pool_map/notebook.py": in one of the directories
 * above the program, wherever the whole was moved to; else where it was compiled. */
int source_path(const char *file, char path[PATH_MAX], struct error *error);

/* The path of the program with this name, as a shell finds it; the caller frees it. NULL: there is
 * none. */
char *find_program(const char *name);

/* ---- child.c: another program, run to its end
 * ----------------------------------------------------- */

/*
 * The process leads a group, so that whatever it starts can be ended with it: when its time is
 * over, and when somebody interrupts this program. If this program is killed, the kernel kills the
 * child. Of the environment it gets all but what would change what gnuplot or Python do. One at a
 * time; these functions never print and never exit.
 */
enum stream { OUTPUT, COMPLAINTS, STREAMS };

struct child {
    const char *name; /* in messages */
    pid_t pid;
    int pipes[STREAMS]; /* to read from; -1: at its end */
    char *text[STREAMS];
    size_t length[STREAMS];
    int status;
};

/* Starts arguments[0], a path, whose output can then be read from two pipes. Its standard input is
 * the descriptor `input`, or below 0 empty. 0, or -1 with *error and nothing is left. */
int start_child(struct child *child, const char *const *arguments, int input, struct error *error);

/* Reads until the process has ended and its pipes with it, for at most so many seconds. */
int follow_child(struct child *child, double limit, struct error *error);

/* Ends what has not ended, also what the process has left behind. */
void end_child(struct child *child);

/* Frees the texts. */
void free_child(struct child *child);

/* Was the status 0? Else *error has it, with the last line of the child's complaints. */
int check_status(const struct child *child, struct error *error);

/* All of it: runs a program to its end, which must be status 0; 2 is ERROR_INVALID. If it ended,
 * its standard output is in *output, the caller's, else NULL, as if there was none; it is a string,
 * of *length bytes if it is binary (NULL: the caller does not ask). `text`, of `size` bytes, is its
 * standard input; NULL: none. */
int run_program_with(const char *const *arguments, const char *text, size_t size, double limit,
                     char **output, size_t *length, struct error *error);
int run_program(const char *const *arguments, double limit, char **output, struct error *error);

/* ---- temporary.c ----------------------------------------------------------------------------- */

/* Makes a directory in TMPDIR, or else /tmp, for files only. It is removed by temporary_remove, by
 * exit, and by a signal that ends the program; there can be one at a time. NULL with *error. */
const char *temporary_make(struct error *error);
void temporary_remove(void);

#endif
