/* --csv: a line for each row of each table. */
#include "common/lesson/write/write.h"
#include <inttypes.h>
#include <math.h>

/* A field; in quotes when it has a comma or quotes itself (RFC 4180). */
static void write_csv_text(FILE *stream, const char *text)
{
    if (!strpbrk(text, ",\"\n")) {
        fputs(text, stream);
        return;
    }
    fputc('"', stream);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', stream);
        fputc(*text, stream);
    }
    fputc('"', stream);
}

static void write_csv_row(FILE *stream, const struct lesson *lesson,
                          const struct measured *measured, const struct lesson_figures *figures)
{
    const bool processes = figures->mode == LESSON_PROCESSES;
    const struct pool_statistics *pool = &figures->pool;
    fprintf(stream, "%s,", lesson->chapter->name);
    write_csv_text(stream, measured->name);
    fprintf(stream, ",%s,%d,%s,%s,%d,", lesson_mode_names[figures->mode], figures->workers,
            processes ? pool_start_method_name(lesson->options->start_method) : "",
            processes ? lesson_transfer_names[figures->transfer] : "", figures->repeats);
    fprintf(stream, "%.9g,%.9g,%.9g,%.9g,%.6g,%.6g,%.6g,%s,", figures->wall_min,
            figures->wall_median, figures->wall_max, figures->cpu_median, figures->cores_busy,
            figures->speedup, figures->efficiency, figures->matches ? "true" : "false");
    fprintf(stream, "%.9g,%.9g,%.9g,%.9g,%.9g,", figures->startup, figures->phases.send,
            figures->phases.compute, figures->phases.receive, figures->phases.wait);
    fprintf(stream, "%" PRIu64 ",%zu,%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",", pool->bytes_copied,
            figures->tasks, pool->chunks, figures->gil.switches, figures->gil.forced);
    fprintf(stream, "%" PRIu64 ",%" PRIu64 ",%" PRIu64 ",%.9g,", pool->wakeups, pool->restarts,
            pool->chunks_lost, figures->switch_interval);
    if (measured->size_name) {
        write_csv_text(stream, measured->size_name);
        fprintf(stream, ",%zu,c\n", measured->size);
    } else {
        fputs(",,c\n", stream);
    }
}

/* A number, or an empty field and its comma. */
static void write_csv_number(FILE *stream, double value)
{
    if (isfinite(value))
        fprintf(stream, "%.9g", value);
    fputc(',', stream);
}

static void write_csv_python(FILE *stream, const struct lesson *lesson,
                             const struct python_row *row)
{
    fprintf(stream, "%s,", lesson->chapter->name);
    write_csv_text(stream, row->workload);
    fprintf(stream, ",%s,%d,,%s,%d,", lesson_mode_names[row->mode], row->workers,
            row->mode == LESSON_PROCESSES ? lesson_transfer_names[row->transfer] : "",
            row->repeats);
    fprintf(stream, "%.9g,%.9g,%.9g,", row->wall_min, row->wall, row->wall_max);
    write_csv_number(stream, row->cores_busy * row->wall);
    write_csv_number(stream, row->cores_busy);
    fprintf(stream, "%.6g,%.6g,%s,", row->speedup, row->speedup / row->workers,
            row->matches ? "true" : "false");
    write_csv_number(stream, row->startup);
    fprintf(stream, ",,,,,%zu,,,,,,,,,,", row->tasks); /* what only C counts */
    fputs("python\n", stream);
}

void output_csv(struct lesson *lesson, FILE *stream)
{
    fputs("chapter,workload,mode,workers,start_method,transfer,repeats,wall_min_s,wall_median_s,"
          "wall_max_s,cpu_median_s,cores_busy,speedup,efficiency,matches_sequential,startup_s,"
          "send_s,compute_s,receive_s,wait_s,bytes_copied,tasks,chunks,gil_switches,gil_forced,"
          "wakeups,restarts,chunks_lost,switch_interval_s,size_name,size,language\n",
          stream);
    for (const struct measured *measured = lesson->measured; measured; measured = measured->next)
        for (size_t i = 0; i < measured->results.count; i++)
            write_csv_row(stream, lesson, measured, &measured->figures[i]);
    for (const struct python_row *row = lesson->python_rows; row; row = row->next)
        write_csv_python(stream, lesson, row);
}
