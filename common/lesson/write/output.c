/* All that a run writes into files: before the work, whether it can; after it, the files. */
#include "common/data/file.h"
#include "common/lesson/write/write.h"
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Before the work: could the files be written? -------------------------------------------- */

static void check_file(struct lesson *lesson, const char *option, const char *path)
{
    struct stat status;
    if (!path || strcmp(path, "-") == 0)
        return;
    if (stat(path, &status) == 0) {
        if (S_ISDIR(status.st_mode))
            lesson_die(lesson, "--%s %s: this is a directory; it must be a file", option, path);
        if (!S_ISREG(status.st_mode)) /* a device or pipe is written directly */
            return;
        if (access(path, W_OK))
            lesson_die(lesson, "--%s %s: %s", option, path, strerror(errno));
    } else if (errno == ENAMETOOLONG || errno == ELOOP) {
        lesson_die(lesson, "--%s %s: %s", option, path, strerror(errno));
    }
    const char *slash = strrchr(path, '/');
    char *directory = slash == path ? strdup("/")
                      : slash       ? strndup(path, (size_t)(slash - path))
                                    : strdup(".");
    if (!directory)
        lesson_die(lesson, "out of memory");
    if (access(directory, W_OK | X_OK))
        lesson_die(lesson, "--%s %s: cannot create a file there: %s", option, path,
                   strerror(errno));
    free(directory);
}

void output_check(struct lesson *lesson)
{
    const struct options *options = lesson->options;
    page_check(lesson);
    check_file(lesson, "json", options->json);
    check_file(lesson, "csv", options->csv);
    check_file(lesson, "trace", options->trace);
    check_file(lesson, "plot", options->plot);
}

/* Not before the chapter has found its sizes and files good: a wrong command line leaves nothing.
 */
void output_prepare(struct lesson *lesson)
{
    const struct options *options = lesson->options;
    struct error error;
    if (options->save && file_make_directory(options->save, &error))
        lesson_die(lesson, "--save %s: %s", options->save, error.message);
    page_prepare(lesson);
}

/* ---- Writing --------------------------------------------------------------------------------- */

typedef void write_function(struct lesson *lesson, FILE *stream);

static void write_file(struct lesson *lesson, const char *option, const char *path,
                       write_function *write)
{
    struct error error;
    struct file *file = file_create(path, &error);
    if (file)
        write(lesson, file_stream(file));
    if (!file || file_commit(file, &error) != 0)
        lesson_output_failed(lesson, option, &error);
}

/* Standard output comes last, since nothing goes on after it fails. */
void output_write(struct lesson *lesson)
{
    const struct options *options = lesson->options;
    const struct {
        const char *option, *path;
        write_function *write;
    } outputs[] = {{"json", options->json, output_json},
                   {"csv", options->csv, output_csv},
                   {"trace", options->trace, trace_write}};
    const size_t count = sizeof outputs / sizeof *outputs;
    page_write(lesson);
    for (size_t i = 0; i < count; i++)
        if (outputs[i].path && strcmp(outputs[i].path, "-") != 0)
            write_file(lesson, outputs[i].option, outputs[i].path, outputs[i].write);
    plot_write(lesson);
    for (size_t i = 0; i < count; i++)
        if (outputs[i].path && strcmp(outputs[i].path, "-") == 0)
            outputs[i].write(lesson, stdout);
    lesson_flush(lesson);
}

/* ---- Saved arrays ---------------------------------------------------------------------------- */

void lesson_save(struct lesson *lesson, const char *file, enum npy_type type, int dimensions,
                 const size_t *shape, const void *data)
{
    struct error error;
    char *path;
    if (lesson->options->python)
        saved_keep(lesson, file, type, dimensions, shape, data);
    if (!lesson->options->save)
        return;
    if (asprintf(&path, "%s/%s", lesson->options->save, file) < 0)
        lesson_die(lesson, "out of memory");
    if (npy_write(path, type, dimensions, shape, data, &error))
        lesson_output_failed(lesson, "save", &error);
    free(path);
}
