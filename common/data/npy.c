/* npy.c - NumPy's files (npy.h): a header of text, a Python dict, and then the elements as they lie
 * in memory.
 *
 * The header is read by a small parser for just what NumPy may write there, so that what it does
 * not know is an error and no guess. Elements are never converted. */
#include "common/data/npy.h"
#include "common/data/file.h"
#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>

/* Elements are written and read as they lie in memory. */
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the format here is little endian");

/* Before the header text: the magic string, the version, and the text's length in two bytes. */
enum { PREAMBLE = 10, ALIGNMENT = 64 };
static const char magic_1_0[] = "\x93NUMPY\x01\x00";

static const struct {
    const char *descr;
    size_t size;
} types[] = {
    [NPY_FLOAT32] = {"<f4", 4},
    [NPY_FLOAT64] = {"<f8", 8},
    [NPY_INT64] = {"<i8", 8},
    [NPY_UINT8] = {"|u1", 1},
};
enum { TYPES = sizeof types / sizeof types[0] };

size_t npy_size(enum npy_type type)
{
    return types[type].size;
}

/* ---- One element ----------------------------------------------------------------------------- */

bool npy_is_real(enum npy_type type)
{
    return type == NPY_FLOAT32 || type == NPY_FLOAT64;
}

static double real_of(enum npy_type type, const void *element)
{
    float single = 0;
    double twice = 0;
    memcpy(type == NPY_FLOAT32 ? (void *)&single : (void *)&twice, element, npy_size(type));
    return type == NPY_FLOAT32 ? (double)single : twice;
}

static int64_t integer_of(enum npy_type type, const void *element)
{
    int64_t integer = 0;
    memcpy(&integer, element, npy_size(type)); /* little endian: a byte is the lowest */
    return integer;
}

double npy_value(enum npy_type type, const void *element)
{
    return npy_is_real(type) ? real_of(type, element) : (double)integer_of(type, element);
}

void npy_text(char text[32], enum npy_type type, const void *element)
{
    if (npy_is_real(type))
        snprintf(text, 32, type == NPY_FLOAT32 ? "%.9g" : "%.17g", real_of(type, element));
    else
        snprintf(text, 32, "%lld", (long long)integer_of(type, element));
}

bool npy_close(enum npy_type type, const void *expected, const void *got, double tolerance)
{
    if (!npy_is_real(type))
        return integer_of(type, expected) == integer_of(type, got);
    const double reference = real_of(type, expected), value = real_of(type, got);
    return value == reference ||
           (isfinite(reference) &&
            fabs(value - reference) <= tolerance + tolerance * fabs(reference));
}

/* ---- Files ----------------------------------------------------------------------------------- */

/* Bytes of an array; false if no object can be that large. A zero dimension makes it empty
 * whatever the others are, but they may not overflow either: numpy.load would refuse them. */
static bool array_bytes(enum npy_type type, int dimensions, const size_t *shape, size_t *bytes)
{
    bool empty = false;
    *bytes = types[type].size;
    for (int i = 0; i < dimensions; i++) {
        if (shape[i] == 0)
            empty = true;
        else if (__builtin_mul_overflow(*bytes, shape[i], bytes) || *bytes > PTRDIFF_MAX)
            return false;
    }
    if (empty)
        *bytes = 0;
    return true;
}

/* The header as numpy.save writes it, padded with blanks so that the elements start at a multiple
 * of ALIGNMENT. */
static void write_header(FILE *stream, enum npy_type type, int dimensions, const size_t *shape)
{
    char text[256];
    int length = snprintf(text, sizeof text, "{'descr': '%s', 'fortran_order': False, 'shape': (",
                          types[type].descr);
    for (int i = 0; i < dimensions; i++)
        length += snprintf(text + length, sizeof text - (size_t)length, i == 0 ? "%zu," : " %zu,",
                           shape[i]);
    if (dimensions > 1)
        length--; /* only a tuple of one keeps its comma */
    length += snprintf(text + length, sizeof text - (size_t)length, "), }");
    const int padded = (PREAMBLE + length + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT - PREAMBLE;
    fwrite(magic_1_0, 1, sizeof magic_1_0 - 1, stream);
    fputc(padded & 0xff, stream);
    fputc(padded >> 8, stream);
    fprintf(stream, "%-*.*s\n", padded - 1, length, text);
}

int npy_write(const char *path, enum npy_type type, int dimensions, const size_t *shape,
              const void *data, struct error *error)
{
    size_t bytes;
    if (dimensions < 0 || dimensions > NPY_MAX_DIMENSIONS)
        return error_set(error, ERROR_INVALID, "%s: %d dimensions; 0 to %d are possible", path,
                         dimensions, NPY_MAX_DIMENSIONS);
    if (!array_bytes(type, dimensions, shape, &bytes))
        return error_set(error, ERROR_INVALID, "%s: an array too large to exist", path);
    struct file *file = file_create(path, error);
    if (!file)
        return -1;
    write_header(file_stream(file), type, dimensions, shape);
    if (bytes > 0)
        fwrite(data, 1, bytes, file_stream(file));
    return file_commit(file, error);
}

/* A reader of the header's text: a Python dictionary of a string, a bool and a tuple. Each
 * function passes over blanks, takes what it is for, and tells whether it was there. */
static bool take(const char **text, const char *token)
{
    const size_t length = strlen(token);
    while (isspace((unsigned char)**text))
        ++*text;
    if (strncmp(*text, token, length) != 0)
        return false;
    *text += length;
    return true;
}

static bool take_string(const char **text, char *string, size_t size)
{
    if (!take(text, "'") && !take(text, "\""))
        return false;
    const char quote = (*text)[-1];
    const char *end = strchr(*text, quote);
    if (!end || (size_t)(end - *text) >= size)
        return false;
    memcpy(string, *text, (size_t)(end - *text));
    string[end - *text] = '\0';
    *text = end + 1;
    return true;
}

static bool take_shape(const char **text, struct npy_array *array)
{
    array->dimensions = 0;
    if (!take(text, "("))
        return false;
    while (!take(text, ")")) {
        char *end;
        if (array->dimensions == NPY_MAX_DIMENSIONS || !isdigit((unsigned char)**text))
            return false;
        errno = 0;
        array->shape[array->dimensions++] = strtoull(*text, &end, 10);
        *text = end;
        if (errno || (!take(text, ",") && **text != ')'))
            return false;
    }
    return true;
}

static int take_type(const char *descr, enum npy_type *type, const char *path, struct error *error)
{
    for (int i = 0; i < TYPES; i++) {
        if (strcmp(descr, types[i].descr) == 0) {
            *type = (enum npy_type)i;
            return 0;
        }
    }
    return error_set(error, ERROR_FORMAT,
                     "%s: elements of type '%s'; only <f4, <f8, <i8 and |u1 can be read", path,
                     descr);
}

/* array's type and shape out of the header's text. */
static int parse_header(const char *text, struct npy_array *array, const char *path,
                        struct error *error)
{
    char key[32], descr[32];
    bool has_descr = false, has_order = false, has_shape = false, sound = take(&text, "{");
    while (sound && !take(&text, "}")) {
        sound = take_string(&text, key, sizeof key) && take(&text, ":");
        if (!sound)
            break;
        if (strcmp(key, "descr") == 0) {
            sound = has_descr = take_string(&text, descr, sizeof descr);
        } else if (strcmp(key, "fortran_order") == 0) {
            if (take(&text, "True"))
                return error_set(error, ERROR_FORMAT,
                                 "%s: in Fortran order; only C order can be read", path);
            sound = has_order = take(&text, "False");
        } else if (strcmp(key, "shape") == 0) {
            sound = has_shape = take_shape(&text, array);
        } else {
            sound = false;
        }
        sound = sound && (take(&text, ",") || *text == '}');
    }
    if (!sound || !has_descr || !has_order || !has_shape)
        return error_set(error, ERROR_FORMAT,
                         "%s: a .npy header that cannot be understood (a structured type, or more "
                         "than %d dimensions?)",
                         path, NPY_MAX_DIMENSIONS);
    return take_type(descr, &array->type, path, error);
}

/* A short read: the file ended, or the device failed. */
static int read_error(FILE *stream, const char *path, struct error *error)
{
    if (ferror(stream))
        return error_set_errno(error, "%s", path);
    return error_set(error, ERROR_FORMAT, "%s: truncated .npy file", path);
}

static int read_header(FILE *stream, struct npy_array *array, const char *path, struct error *error)
{
    unsigned char preamble[PREAMBLE];
    const size_t got = fread(preamble, 1, sizeof preamble, stream);
    if (got == 0 && !ferror(stream))
        return error_set(error, ERROR_FORMAT, "%s: empty file", path);
    if (memcmp(preamble, magic_1_0, got < 6 ? got : 6) != 0)
        return error_set(error, ERROR_FORMAT, "%s: not a .npy file", path);
    if (got < sizeof preamble)
        return read_error(stream, path, error);
    if (memcmp(preamble, magic_1_0, 8) != 0)
        return error_set(error, ERROR_FORMAT, "%s: .npy version %d.%d; only 1.0 can be read", path,
                         preamble[6], preamble[7]);
    const size_t length = preamble[8] | (size_t)preamble[9] << 8;
    char text[UINT16_MAX + 1];
    if (fread(text, 1, length, stream) < length)
        return read_error(stream, path, error);
    text[length] = '\0';
    return parse_header(text, array, path, error);
}

/* A header may promise anything: a regular file is asked whether it can hold so much before
 * memory is reserved for it. */
static bool can_hold(FILE *stream, size_t bytes)
{
    struct stat status;
    const off_t position = ftello(stream);
    return fstat(fileno(stream), &status) < 0 || !S_ISREG(status.st_mode) || position < 0 ||
           (status.st_size >= position && (size_t)(status.st_size - position) >= bytes);
}

int npy_read(const char *path, struct npy_array *array, struct error *error)
{
    int status = -1;
    size_t bytes;
    *array = (struct npy_array){0};
    FILE *stream = fopen(path, "rbe");
    if (!stream)
        return error_set_errno(error, "%s", path);
    if (read_header(stream, array, path, error) < 0)
        goto cleanup;
    if (!array_bytes(array->type, array->dimensions, array->shape, &bytes)) {
        error_set(error, ERROR_FORMAT, "%s: an array too large to exist", path);
        goto cleanup;
    }
    if (!can_hold(stream, bytes)) {
        error_set(error, ERROR_FORMAT, "%s: truncated .npy file", path);
        goto cleanup;
    }
    array->data = malloc(bytes ? bytes : 1);
    if (!array->data) {
        error_set(error, ERROR_MEMORY, "%s: no memory for %zu bytes", path, bytes);
        goto cleanup;
    }
    if (fread(array->data, 1, bytes, stream) < bytes) {
        read_error(stream, path, error);
        goto cleanup;
    }
    status = 0;
cleanup:
    fclose(stream);
    if (status < 0) {
        free(array->data);
        array->data = NULL;
    }
    return status;
}
