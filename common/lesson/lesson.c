/* How a lesson begins and ends. */
#include "common/lesson/write/write.h"
#include "common/parallel/blas.h"
#include "common/parallel/timeline.h"
#include <fcntl.h>
#include <jansson.h>
#include <omp.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

/* A file must not get the number of a standard stream that the caller closed. The wrong direction
 * keeps writing to it an error. */
static void occupy_standard_streams(void)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
            _exit(1);
}

static bool is_output(const char *path)
{
    return path && strcmp(path, "-") == 0;
}

static void begin_output(struct lesson *lesson)
{
    const struct options *options = lesson->options;
    const char *terminal = getenv("TERM"), *no_colour = getenv("NO_COLOR");
    const bool dumb = !terminal || !*terminal || strcmp(terminal, "dumb") == 0;
    lesson->silent = options->quiet || is_output(options->json) || is_output(options->csv) ||
                     is_output(options->trace);
    lesson->colour = isatty(STDOUT_FILENO) && !dumb && !(no_colour && *no_colour);
    lesson->progress = isatty(STDERR_FILENO) && !dumb && !options->quiet && !options->no_progress;
}

/* Before the first output, or when the first inputs have been made: a wrong command line leaves
 * nothing. */
static void present(struct lesson *lesson)
{
    output_prepare(lesson);
    banner_print(lesson);
}

struct lesson *lesson_begin(int argc, char **argv, const struct lesson_chapter *chapter)
{
    static struct machine machine; /* a program is one lesson */
    static struct options options;
    static struct lesson lesson = {.machine = &machine, .options = &options};
    struct error error;
    lesson.chapter = chapter;
    lesson.last_measured = &lesson.measured;
    lesson.last_conclusion = &lesson.conclusions;
    lesson.last_saved = &lesson.saved;
    lesson.last_python = &lesson.python_rows;
    lesson.end = lesson_end;
    occupy_standard_streams();
    signal(SIGCHLD, SIG_DFL); /* ignored, the kernel would throw away how a program ended */
    if (!pool_is_spawned_worker())
        environment_prepare(argv);
    machine_choose_isa(&lesson);
    if (pool_startup(&error))
        lesson_die(&lesson, "%s", error.message);
    atexit(check_standard_output);

    blas_set_threads(1);
    omp_set_dynamic(0);
    machine_inspect(&machine);
    options_parse(&lesson, argc, argv);
    if (chapter->blas)
        machine_look_at_blas(&lesson, (size_t)options_most_workers(&options));
    if (options.schedule || !getenv("OMP_SCHEDULE")) /* --schedule, OMP_SCHEDULE, static */
        omp_set_schedule(options.schedule ? (omp_sched_t)options.schedule : omp_sched_static,
                         options.schedule_chunk);
    output_check(&lesson);
    plot_check(&lesson);
    beside_check(&lesson);
    begin_output(&lesson);
    step_prepare(&lesson);
    lesson.before_output = present; /* a chapter may yet find its command line wrong */
    return &lesson;
}

int lesson_end(struct lesson *lesson)
{
    before_output(lesson);
    step_score(lesson);
    if (lesson->options->seconds > 0.0 && !lesson->grown)
        report_paragraph(lesson, 0, "Note: --seconds changed nothing: no size here can follow it.");
    progress_clear(lesson);
    timeline_draw_quiet(lesson);
    beside_run(lesson);
    charts_complete(lesson);
    output_write(lesson);
    const int status = lesson->failed ? 1 : 0;
    arrays_free_all(lesson);
    while (lesson->measured) {
        struct measured *measured = lesson->measured;
        lesson->measured = measured->next;
        for (size_t i = 0; i < measured->results.count; i++)
            record_free(measured->figures[i].timeline);
        free(measured->figures);
        free(measured->name);
        free(measured->title);
        free(measured->size_name);
        free(measured);
    }
    timeline_free(lesson->recording);
    charts_free(lesson);
    json_decref(lesson->series);
    step_free(lesson);
    json_decref(lesson->ladder);
    json_decref(lesson->notebook);
    beside_free(lesson);
    saved_free(lesson);
    while (lesson->conclusions) {
        struct conclusion *conclusion = lesson->conclusions;
        lesson->conclusions = conclusion->next;
        free(conclusion->name);
        free(conclusion->text);
        free(conclusion);
    }
    free(lesson->command_words);
    free(lesson->command_at);
    options_free(lesson);
    return status;
}
