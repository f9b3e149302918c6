/* cases.h - chapter 8's workloads, measured and judged. */
#ifndef CASES_H
#define CASES_H

#include "workloads.h"

/* The ways to run them, all with struct work */
struct ways {
    lesson_function *run[LESSON_MODES];
    lesson_function *vectorised; /* x_plus_1 in better code */
};

/* One workload with everything there is to see, or several with a table of what was found. tasks is
 * then as --seconds made them. */
void measure_all(struct lesson *lesson, struct work *work, enum kind first, enum kind last,
                 size_t tasks[KINDS], const size_t sizes[KINDS], const struct ways *ways);

#endif
