/* --step: the room says what it expects of a mode before it runs, and sees both side by side. */
#include "common/lesson/step/step.h"
#include "common/lesson/step/answers.h"
#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#define CLOSE  1.2  /* at most so many times too much or too little */
#define FASTER 1.05 /* from here on; below 1 / FASTER it is slower, between them the same */
#define BAR    40   /* columns, if the window has them */

void step_prepare(struct lesson *lesson)
{
    const struct options *options = lesson->options;
    if (!options->step)
        return;
    if (!options->answers && !isatty(STDIN_FILENO))
        lesson_usage(lesson, "--step: standard input is no terminal, so there is nobody to ask; "
                             "--answers FILE may answer");
    if (!options->answers && lesson->silent)
        lesson_usage(lesson, "--step: nobody can read the questions with --quiet, or with "
                             "--json, --csv or --trace -; --answers FILE may answer");
    lesson->step = lesson_allocate(lesson, 1, sizeof *lesson->step);
    lesson->predictions = json_array();
    if (options->answers)
        read_answers(lesson);
}

void step_free(struct lesson *lesson)
{
    json_decref(lesson->predictions);
    while (lesson->step && lesson->step->answers) {
        struct answer *answer = lesson->step->answers;
        lesson->step->answers = answer->next;
        free(answer->line);
        free(answer);
    }
    free(lesson->step);
}

/* ---- Asking ---------------------------------------------------------------------------------- */

/* The chapter ends here, as the room wants it: what there is so far is written. */
__attribute__((noreturn)) static void end_early(struct lesson *lesson)
{
    lesson->ended_early = true;
    exit(lesson->end(lesson));
}

/* Bold on a terminal. */
static void print_large(struct lesson *lesson, const char *text)
{
    lesson_print(lesson, "\n\n    %s%s%s\n", bold(lesson), text, plain(lesson));
}

/* What was typed while something ran is no answer. */
static bool read_typed(struct lesson *lesson, char *line, int size)
{
    lesson_flush(lesson);
    if (read_line(line, size))
        return true;
    lesson_print(lesson, "\n");
    return false;
}

static void ask_room(struct lesson *lesson)
{
    struct prediction *prediction = &lesson->step->prediction;
    char line[64];
    bool understood = false;
    tcflush(STDIN_FILENO, TCIFLUSH);
    while (!understood) {
        lesson_print(lesson, "    > ");
        if (!read_typed(lesson, line, sizeof line) || strcmp(trim(line), "q") == 0)
            end_early(lesson);
        understood = parse_answer(line, prediction) == 0;
        if (!understood)
            lesson_print(lesson, "    %s; q ends\n", allowed_answers);
    }
}

static void look_up(struct lesson *lesson, const char *workload, const struct lesson_figures *row)
{
    struct step *step = lesson->step;
    const struct answer *answer = find_answer(lesson, workload, row);
    step->prediction = answer ? answer->prediction : (struct prediction){.kind = NOTHING};
    if (step->prediction.kind == FACTOR)
        lesson_print(lesson, "    > %gx\n", step->prediction.factor);
    else
        lesson_print(lesson, "    > %s\n", kind_words[step->prediction.kind]);
    if (!answer && !step->told) {
        lesson_print(lesson,
                     "    --answers %s: no line fits\n    %s %s %s %d\n"
                     "    so this is shown without a prediction, as are others like it\n",
                     lesson->options->answers, lesson->chapter->name, workload,
                     lesson_mode_names[row->mode], row->workers);
        step->told = true;
    }
}

/* ---- The stations of a workload -------------------------------------------------------------- */

void step_sequential(struct lesson *lesson, const struct lesson_workload *workload,
                     const struct lesson_figures *sequential)
{
    const bool titled = workload->title && !workload->quiet; /* else its heading is there already */
    print_large(lesson, titled ? workload->title : workload->name);
    lesson_print(lesson, "\n    one after the other\n\n        %s     %zu task%s on one core\n",
                 lesson_time_text(sequential->wall_median), sequential->tasks,
                 plural(sequential->tasks));
}

void step_ask(struct lesson *lesson, const struct lesson_workload *workload,
              const struct lesson_figures *row)
{
    char question[128];
    snprintf(question, sizeof question, "%s, %d worker%s:", row->name, row->workers,
             plural(row->workers));
    print_large(lesson, question);
    lesson_print(lesson, "    how many times as fast as one after the other?\n");
    if (lesson->step->asked == 0 && !lesson->options->answers)
        lesson_print(lesson, "    (%s; q ends)\n", allowed_answers);
    lesson_print(lesson, "\n");
    lesson->step->asked++;
    if (lesson->options->answers)
        look_up(lesson, workload->name, row);
    else
        ask_room(lesson);
    lesson_flush(lesson);
}

static void print_bar(struct lesson *lesson, const char *name, double factor, double most)
{
    const int room = isatty(STDOUT_FILENO) ? terminal_columns(STDOUT_FILENO) - 26 : BAR;
    const int width = room < BAR ? room : BAR;
    const int length = (int)lround(factor / most * width);
    lesson_print(lesson, "    %-10s %8s", name, factor_text(factor));
    for (int i = 0; i < length; i++)
        lesson_print(lesson, "%s", i ? "#" : "  #");
    lesson_print(lesson, "\n");
}

static bool is_close(struct prediction prediction, double measured)
{
    switch (prediction.kind) {
    case SLOWER:
        return measured < 1.0 / FASTER;
    case FASTER_THAN:
        return measured > FASTER;
    default:
        return measured <= CLOSE * prediction.factor && measured >= prediction.factor / CLOSE;
    }
}

/* "7 % less than expected", "3.1 times what was expected" */
static void print_difference(struct lesson *lesson, struct prediction prediction, double measured)
{
    const double ratio = measured / prediction.factor;
    if (prediction.kind == SLOWER || prediction.kind == FASTER_THAN)
        lesson_print(lesson, "    expected: %s. %s\n", kind_words[prediction.kind],
                     is_close(prediction, measured) ? "So it is." : "It is not.");
    else if (fabs(ratio - 1.0) < 0.005)
        lesson_print(lesson, "    as expected\n");
    else if (ratio >= 2.0)
        lesson_print(lesson, "    %.1f times what was expected\n", ratio);
    else if (ratio < 0.5)
        lesson_print(lesson, "    %.2g times what was expected\n", ratio);
    else
        lesson_print(lesson, "    %.0f %% %s than expected\n", 100.0 * fabs(ratio - 1.0),
                     ratio > 1.0 ? "more" : "less");
}

/* What is kept for JSON and the score. */
static void note_prediction(struct lesson *lesson, const char *workload,
                            const struct lesson_figures *row, struct prediction prediction)
{
    json_t *expected = prediction.kind == FACTOR ? json_real(prediction.factor)
                                                 : json_string(kind_words[prediction.kind]);
    json_t *entry = json_pack("{s:s, s:s, s:s, s:i, s:o, s:f, s:b}", "workload", workload, "mode",
                              lesson_mode_names[row->mode], "row", row->name, "workers",
                              row->workers, "predicted", expected, "measured", row->speedup,
                              "close", is_close(prediction, row->speedup));
    if (!entry || json_array_append_new(lesson->predictions, entry))
        lesson_die(lesson, "a prediction: out of memory, or a name is not UTF-8");
}

void step_compare(struct lesson *lesson, const struct lesson_workload *workload,
                  const struct lesson_figures *row, const struct lesson_figures *sequential)
{
    const struct prediction prediction = lesson->step->prediction;
    const bool number = prediction.kind == FACTOR || prediction.kind == SAME;
    const double most = fmax(fmax(1.0, row->speedup), number ? prediction.factor : 0.0);
    lesson_print(lesson, "\n");
    print_bar(lesson, "sequential", 1.0, most);
    if (number)
        print_bar(lesson, "expected", prediction.factor, most);
    print_bar(lesson, "measured", row->speedup, most);
    lesson_print(lesson, "\n");
    if (prediction.kind != NOTHING) {
        print_difference(lesson, prediction, row->speedup);
        note_prediction(lesson, workload->name, row, prediction);
    }
    if (!row->matches)
        lesson_print(lesson, "    NOT the sequential result\n");
    lesson_print(lesson, "    %s, one after the other %s\n\n", lesson_time_text(row->wall_median),
                 lesson_time_text(sequential->wall_median));
    char *text = why_text(row, sequential, lesson->machine->cores);
    if (!text)
        lesson_die(lesson, "out of memory");
    report_paragraph(lesson, 4, text);
    free(text);
    lesson_flush(lesson);
}

void step_pause(struct lesson *lesson)
{
    char line[64];
    if (lesson->options->answers)
        return;
    tcflush(STDIN_FILENO, TCIFLUSH);
    lesson_print(lesson, "\n    Enter goes on, q ends > ");
    if (!read_typed(lesson, line, sizeof line) || strcmp(trim(line), "q") == 0)
        end_early(lesson);
}

/* ---- The score ------------------------------------------------------------------------------- */

/* How far a prediction was off, as a factor of at least 1; 0 for one in words. */
static double distance(const json_t *entry)
{
    const double predicted = json_number_value(json_object_get(entry, "predicted"));
    const double measured = json_number_value(json_object_get(entry, "measured"));
    return predicted > 0.0 && measured > 0.0 ? fmax(predicted / measured, measured / predicted)
                                             : 0.0;
}

static void print_prediction(struct lesson *lesson, const json_t *entry)
{
    const json_t *predicted = json_object_get(entry, "predicted");
    char name[80];
    snprintf(name, sizeof name, "%s, %d", json_string_value(json_object_get(entry, "row")),
             (int)json_integer_value(json_object_get(entry, "workers")));
    const char *const words = json_is_string(predicted) ? json_string_value(predicted)
                                                        : factor_text(json_number_value(predicted));
    lesson_print(lesson, "%-20s %-22s %9s %9s  %s\n",
                 json_string_value(json_object_get(entry, "workload")), name, words,
                 factor_text(json_number_value(json_object_get(entry, "measured"))),
                 json_is_true(json_object_get(entry, "close")) ? "close" : "");
}

void step_score(struct lesson *lesson)
{
    const size_t count = json_array_size(lesson->predictions);
    const json_t *farthest = NULL;
    size_t close = 0;
    if (!lesson->step)
        return;
    if (lesson->step->asked == 0)
        lesson_print(lesson, "\nNo mode was measured that --step could have asked for.\n");
    if (count == 0)
        return;
    lesson_heading(lesson, "What the room expected, and what was measured");
    lesson_print(lesson, "%-20s %-22s %9s %9s\n", "workload", "mode, workers", "expected",
                 "measured");
    for (size_t i = 0; i < count; i++) {
        const json_t *entry = json_array_get(lesson->predictions, i);
        print_prediction(lesson, entry);
        close += json_is_true(json_object_get(entry, "close"));
        if (!farthest || distance(entry) > distance(farthest))
            farthest = entry;
    }
    lesson_print(lesson,
                 "%zu of %zu close: at most %.0f %% too much or too little, or the right "
                 "word\n",
                 close, count, 100.0 * (CLOSE - 1.0));
    if (distance(farthest) > CLOSE)
        lesson_print(lesson, "Farthest off: %s, %s\n",
                     json_string_value(json_object_get(farthest, "workload")),
                     json_string_value(json_object_get(farthest, "row")));
}
