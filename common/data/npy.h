/* npy.h - arrays in NumPy's file format.
 *
 * Version 1.0, C order, little endian: what numpy.save writes and numpy.load reads. Source:
 * numpy/lib/format.py.
 */
#ifndef DATA_NPY_H
#define DATA_NPY_H

#include "common/error.h"
#include <stdbool.h>
#include <stddef.h>

#define NPY_MAX_DIMENSIONS 8

enum npy_type { NPY_FLOAT32, NPY_FLOAT64, NPY_INT64, NPY_UINT8 };

/* Bytes of one element. */
size_t npy_size(enum npy_type type);

/* Of one element, which need not be aligned. npy_value: as a double, from which a large int64
 * differs by rounding. npy_text: as "%.9g", "%.17g" or "%lld" writes it. npy_close: integers are
 * equal, and reals so or, as numpy.isclose has it with rtol = atol = tolerance, nearly equal to
 * `expected`; what is infinite is near nothing, and NAN equal to nothing. */
bool npy_is_real(enum npy_type type);
double npy_value(enum npy_type type, const void *element);
void npy_text(char text[32], enum npy_type type, const void *element);
bool npy_close(enum npy_type type, const void *expected, const void *got, double tolerance);

/* Writes data[shape[0]][shape[1]]... to path, whole or not at all. ERROR_SYSTEM naming path;
 * ERROR_INVALID when the size overflows or there are more than NPY_MAX_DIMENSIONS. Both
 * `dimensions` (one value) and a dimension (an empty array) may be 0. */
int npy_write(const char *path, enum npy_type type, int dimensions, const size_t *shape,
              const void *data, struct error *error);

/* What npy_read found. The caller frees data. */
struct npy_array {
    enum npy_type type;
    int dimensions;
    size_t shape[NPY_MAX_DIMENSIONS];
    void *data;
};

/* ERROR_SYSTEM, ERROR_MEMORY or ERROR_FORMAT (not .npy, another version, type, byte order or
 * Fortran order, truncated), each naming path; then nothing needs freeing. What follows the
 * elements is ignored, as numpy.load does. */
int npy_read(const char *path, struct npy_array *array, struct error *error);

#endif
