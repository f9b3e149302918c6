/* What the machine is like: its processor and cores, a quota on them, the kernels' instruction set,
 * and which BLAS there is. */
#include "common/kernels/kernels.h"
#include "common/lesson/host/host.h"
#include "common/parallel/blas.h"
#include "common/parallel/resources.h"
#include <cblas.h>
#include <hwloc.h>
#include <math.h>
#include <omp.h>
#include <sched.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- Cores ----------------------------------------------------------------------------------- */

static void inspect_cores(struct machine *machine)
{
    machine->machine_cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    machine->quota = resources_cpus();
    machine->cores = resources_cores();
}

/* ---- Processor, compiler, libraries ---------------------------------------------------------- */

static void inspect_processor(struct machine *machine)
{
    hwloc_topology_t topology;
    const char *model = NULL;
    if (hwloc_topology_init(&topology)) {
        snprintf(machine->cpu, sizeof machine->cpu, "unknown CPU");
        return;
    }
    if (hwloc_topology_load(topology) == 0) {
        hwloc_obj_t package = hwloc_get_obj_by_type(topology, HWLOC_OBJ_PACKAGE, 0);
        if (package)
            model = hwloc_obj_get_info_by_name(package, "CPUModel");
        if (!model)
            model = hwloc_obj_get_info_by_name(hwloc_get_root_obj(topology), "CPUModel");
    }
    snprintf(machine->cpu, sizeof machine->cpu, "%s", model && *model ? model : "unknown CPU");
    hwloc_topology_destroy(topology);
}

void machine_choose_isa(struct lesson *lesson)
{
    struct machine *machine = lesson->machine;
    const char *wanted = getenv("FORKJOIN_ISA");
    struct error error;
    for (size_t i = 0; kernels_isa_name(i); i++)
        machine->best_isa = kernels_isa_name(i);
    machine->isa_chosen = wanted && *wanted;
    if (machine->isa_chosen && kernels_use_isa(wanted, &error))
        lesson_usage(lesson, "FORKJOIN_ISA: %s", error.message);
    machine->isa = kernels_isa();
}

/* Asked of a real team, since a compiler flag, a limit or a setting may each turn OpenMP off. */
static int team_size(void)
{
    int threads = 0;
#pragma omp parallel num_threads(2) reduction(+ : threads)
    threads += 1;
    return threads;
}

void machine_inspect(struct machine *machine)
{
    inspect_cores(machine);
    inspect_processor(machine);
#if defined __clang__
    snprintf(machine->compiler, sizeof machine->compiler, "clang %d.%d.%d", __clang_major__,
             __clang_minor__, __clang_patchlevel__);
#else
    snprintf(machine->compiler, sizeof machine->compiler, "gcc %d.%d.%d", __GNUC__, __GNUC_MINOR__,
             __GNUC_PATCHLEVEL__);
#endif
#if defined _OPENMP
    machine->openmp = _OPENMP;
#endif
    machine->openmp_threads = team_size();
    blas_name(machine->blas, sizeof machine->blas);
    machine->blas_threads = blas_threads();
    machine->core = blas_is_openblas() ? openblas_get_corename() : "";
}

/* ---- BLAS ------------------------------------------------------------------------------------ */

/* OpenBLAS maps so much for each thread that is in a product. */
#define BLAS_BUFFER ((size_t)128 << 20)
#define ORDER       128 /* enough work for BLAS to share it out, if it does */

/* A buffer that finds no room is asked for again and again, for ever: so the room is looked for
 * before. */
static void require_room_for_blas(struct lesson *lesson, size_t workers)
{
    const size_t left = resources_address_space();
    if (left / BLAS_BUFFER <= workers)
        lesson_die(lesson,
                   "the limit on address space (ulimit -v) leaves %.0f MB; BLAS with %zu worker%s "
                   "needs %.0f MB, 134 MB for each and as much again",
                   (double)left / 1e6, workers, plural((double)workers),
                   (double)(BLAS_BUFFER * (workers + 1)) / 1e6);
}

void machine_look_at_blas(struct lesson *lesson, size_t workers)
{
    static float a[ORDER * ORDER], product[ORDER * ORDER];
    require_room_for_blas(lesson, workers);
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, ORDER, ORDER, ORDER, 1.0F, a, ORDER, a,
                ORDER, 0.0F, product, ORDER);
    lesson->machine->blas_threads = blas_threads();
}

int lesson_cores(const struct lesson *lesson)
{
    return lesson->machine->cores;
}
