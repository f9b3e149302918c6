/* Runs gnuplot: for --plot, and for charts as SVG. It reads its script from its standard input and
 * writes to its standard output, so there are no temporary files, and what it wrote becomes a file
 * only when all of it is there. */
#include "common/data/file.h"
#include "common/lesson/draw/draw.h"
#include "common/lesson/draw/gnuplot.h"
#include <stdlib.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#define GNUPLOT         "GNUPLOT"
#define GNUPLOT_SECONDS "FORKJOIN_GNUPLOT_SECONDS"
#define DRAW_SECONDS    60.0
#define CHECK_SECONDS   20.0
#define LEAST_COLUMNS   50
#define MOST_COLUMNS    160

/* ---- The program ----------------------------------------------------------------------------- */

static double time_limit(double seconds)
{
    const char *text = getenv(GNUPLOT_SECONDS);
    if (text)
        parse_real(text, 0.01, 86400.0, &seconds);
    return seconds;
}

/* Its path; the caller frees it. */
static char *find_gnuplot(struct error *error)
{
    const char *chosen = getenv(GNUPLOT), *name = chosen && *chosen ? chosen : "gnuplot";
    char *path = find_program(name);
    if (!path && name == chosen)
        error_set(error, ERROR_SYSTEM, GNUPLOT " names '%s', which is no program", name);
    else if (!path)
        error_set(error, ERROR_SYSTEM,
                  "gnuplot, which draws the charts, was not found; install "
                  "gnuplot-nox, or set " GNUPLOT " to the program");
    return path;
}

/* Lets gnuplot obey the script; -d: whatever the user's own settings are. */
static int run_gnuplot(const char *script, size_t size, double limit, char **output, size_t *length,
                       struct error *error)
{
    char *path = find_gnuplot(error);
    if (!path)
        return -1;
    const char *const arguments[] = {path, "-d", NULL};
    const int result =
        run_program_with(arguments, script, size, time_limit(limit), output, length, error);
    if (result != 0) {
        free(*output);
        *output = NULL;
    }
    free(path);
    return result;
}

/* The same; the script is written by a function into a stream. */
struct script {
    FILE *stream;
    char *text;
    size_t size;
};

static int open_script(struct script *script, struct error *error)
{
    script->stream = open_memstream(&script->text, &script->size);
    return script->stream ? 0 : error_set(error, ERROR_MEMORY, "out of memory");
}

static int draw(struct script *script, char **output, size_t *length, struct error *error)
{
    *output = NULL;
    int result = fclose(script->stream) == 0 ? 0 : error_set(error, ERROR_MEMORY, "out of memory");
    if (result == 0)
        result = run_gnuplot(script->text, script->size, DRAW_SECONDS, output, length, error);
    if (result == 0 && (!*output || *length == 0))
        result = error_set(error, ERROR_FORMAT, "gnuplot drew nothing");
    free(script->text);
    return result;
}

/* ---- What it can do -------------------------------------------------------------------------- */

/* Is the word one of the list's, which has blanks around each? */
static bool has_word(const char *list, const char *word)
{
    char padded[32];
    snprintf(padded, sizeof padded, " %s ", word);
    return strstr(list, padded) != NULL;
}

/* The first terminal for this format that this gnuplot was built with. */
static const char *find_terminal(enum plot_format format, struct error *error)
{
    static const char question[] = "set print '-'\nprint ' ', GPVAL_TERMINALS, ' '\n";
    static const char *const terminals[PLOT_UNKNOWN + 1][3] = {[PLOT_TERMINAL] = {"dumb"},
                                                               [PLOT_SVG] = {"svg"},
                                                               [PLOT_PNG] = {"pngcairo", "png"},
                                                               [PLOT_PDF] = {"pdfcairo"}};
    const char *found = NULL;
    char *answer = NULL;
    if (run_gnuplot(question, strlen(question), CHECK_SECONDS, &answer, NULL, error) != 0)
        return NULL;
    for (int i = 0; !found && answer && terminals[format][i]; i++)
        if (has_word(answer, terminals[format][i]))
            found = terminals[format][i];
    if (!found)
        error_set(error, ERROR_SYSTEM, "this gnuplot cannot write %s: it has no terminal '%s'",
                  format == PLOT_TERMINAL ? "text" : terminals[format][0], terminals[format][0]);
    free(answer);
    return found;
}

void plot_check(struct lesson *lesson)
{
    struct error error;
    const char *path = lesson->options->plot;
    if (path && !find_terminal(plot_format(path), &error))
        lesson_die(lesson, "--plot %s: %s", path, error.message);
}

/* ---- --plot ---------------------------------------------------------------------------------- */

/* Without the blanks at the ends of the lines that gnuplot fills up. */
static void print_trimmed(struct lesson *lesson, const char *text)
{
    for (const char *end; *text; text = *end ? end + 1 : end) {
        end = strchrnul(text, '\n');
        size_t length = (size_t)(end - text);
        while (length > 0 && (text[length - 1] == ' ' || text[length - 1] == '\f'))
            length--;
        if (fprintf(stdout, "%.*s\n", (int)length, text) < 0)
            lesson_flush(lesson);
    }
}

static int draw_text(struct lesson *lesson, struct error *error)
{
    const struct chart_look look = {.text = true,
                                    .columns = window_columns(LEAST_COLUMNS, MOST_COLUMNS),
                                    .utf8 = terminal_is_utf8(),
                                    .colour = lesson->colour};
    struct script script;
    char *output;
    size_t length = 0;
    if (open_script(&script, error) != 0)
        return -1;
    gnuplot_text(script.stream, lesson->charts, &look);
    const int result = draw(&script, &output, &length, error);
    if (result == 0)
        print_trimmed(lesson, output);
    free(output);
    return result;
}

/* "2 of 2 cores: AMD EPYC; gcc 12.2.0; seed 42; 2026-01-31" */
static void describe_run(const struct lesson *lesson, char *text, size_t size)
{
    const struct machine *machine = lesson->machine;
    char date[32] = "";
    const time_t now = time(NULL);
    struct tm local;
    if (localtime_r(&now, &local))
        strftime(date, sizeof date, "%Y-%m-%d %H:%M", &local);
    snprintf(text, size, "%d usable of %d core%s: %s, %s; %s; seed %lu, %d repeat%s; %s",
             machine->cores, machine->machine_cores, plural(machine->machine_cores), machine->cpu,
             machine->isa, machine->compiler, (unsigned long)lesson->options->seed,
             lesson->options->repeats, plural(lesson->options->repeats), date);
}

static int write_whole(const char *path, const char *data, size_t size, struct error *error)
{
    struct file *file = file_create(path, error);
    if (!file)
        return -1;
    fwrite(data, 1, size, file_stream(file));
    return file_commit(file, error);
}

static int draw_file(struct lesson *lesson, const char *path, struct error *error)
{
    char title[256], foot[512], *output;
    size_t length = 0;
    struct script script;
    const char *terminal = find_terminal(plot_format(path), error);
    if (!terminal || open_script(&script, error) != 0)
        return -1;
    snprintf(title, sizeof title, "%s: %s", lesson->chapter->name, lesson->chapter->title);
    describe_run(lesson, foot, sizeof foot);
    gnuplot_page(script.stream, lesson->charts, terminal, title, foot);
    int result = draw(&script, &output, &length, error);
    if (result == 0)
        result = write_whole(path, output, length, error);
    free(output);
    return result;
}

void plot_write(struct lesson *lesson)
{
    struct error error;
    const char *path = lesson->options->plot;
    const struct chart *chart = lesson->charts;
    if (!path)
        return;
    while (chart && chart_is_empty(chart))
        chart = chart->next;
    if (!chart) {
        lesson_fail(lesson, "--plot %s: nothing was measured that could be drawn", path);
        return;
    }
    fflush(
        stdout); /* or an interrupted program's text would be lost; output_write looks at errors */
    progress_show(lesson, "gnuplot is drawing");
    const int result = plot_format(path) == PLOT_TERMINAL ? draw_text(lesson, &error)
                                                          : draw_file(lesson, path, &error);
    progress_clear(lesson);
    if (result != 0)
        lesson_output_failed(lesson, "plot", &error);
}

/* ---- SVG for a page -------------------------------------------------------------------------- */

/* Text as XML has it. */
static void write_xml_text(FILE *page, const char *text)
{
    for (size_t length; *text; text += length) {
        length = utf8_character(text);
        if (*text == '<' || *text == '>' || *text == '&')
            fprintf(page, *text == '<' ? "&lt;" : *text == '>' ? "&gt;" : "&amp;");
        else
            fprintf(page, "%.*s", length ? (int)length : 1, length ? text : "?");
        length += length == 0;
    }
}

/* Copies gnuplot's document from <svg on, with a title, and each id and each reference to one with
 * a prefix. */
static void copy_svg(FILE *page, const char *svg, const char *title, const char *prefix)
{
    static const char *const before[] = {" id='", " id=\"", "href='#", "href=\"#", "url(#"};
    static const char title_begin[] = "<title>Gnuplot";
    while (*svg) {
        size_t length = 0;
        for (size_t i = 0; length == 0 && i < sizeof before / sizeof *before; i++)
            if (strncmp(svg, before[i], strlen(before[i])) == 0)
                length = strlen(before[i]);
        if (length > 0) {
            fprintf(page, "%.*s%s", (int)length, svg, prefix);
        } else if (strncmp(svg, title_begin, strlen(title_begin)) == 0) {
            fprintf(page, "<title>");
            write_xml_text(page, title);
            length = strlen(title_begin);
        } else {
            fputc(*svg, page);
        }
        svg += length > 0 ? length : 1;
    }
}

static char *embed(const char *svg, const char *title, struct error *error)
{
    static unsigned number;
    char *text = NULL, prefix[32];
    size_t size = 0;
    const char *start = strstr(svg, "<svg");
    if (!start || !strstr(start, "</svg>")) {
        error_set(error, ERROR_FORMAT, "gnuplot wrote no SVG");
        return NULL;
    }
    FILE *page = open_memstream(&text, &size);
    snprintf(prefix, sizeof prefix, "chart%u_", ++number);
    if (page)
        copy_svg(page, start, title, prefix);
    if (!page || fclose(page) != 0) {
        free(text);
        error_set(error, ERROR_MEMORY, "out of memory");
        return NULL;
    }
    return text;
}

char *plot_svg(struct lesson *lesson, const struct chart *chart, bool dark, struct error *error)
{
    const struct chart_look look = {.dark = dark, .key_x = 0.5, .key_y = 0.01, .utf8 = true};
    struct script script;
    char *output, *text = NULL;
    size_t length = 0;
    (void)lesson;
    if (chart_is_empty(chart)) {
        error_set(error, ERROR_INVALID, "%.100s: there is nothing to draw", chart->title);
        return NULL;
    }
    if (open_script(&script, error) != 0)
        return NULL;
    fprintf(script.stream,
            "set terminal svg noenhanced dynamic size 640,400 font 'sans-serif,12'\n");
    gnuplot_chart(script.stream, chart, &look);
    if (draw(&script, &output, &length, error) == 0)
        text = embed(output, chart->title, error);
    free(output);
    return text;
}
