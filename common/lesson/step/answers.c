/* The answers to --step: one as it is typed, and a file of them.
 *
 * A line of --answers FILE has the chapter, workload, mode and number of workers of a question,
 * each of which may be a pattern of the shell, and behind a colon the answer. The first line that
 * fits is taken, so that a file holds for any order, any machine and any choice of options.
 */
#include "common/lesson/step/answers.h"
#include "common/lesson/step/step.h"
#include <ctype.h>
#include <fnmatch.h>
#include <math.h>
#include <stdlib.h>

#define MOST         1e6   /* that anybody may expect */
#define MOST_ANSWERS 10000 /* and the length of a line: what is more is no such file */
#define LONGEST_LINE 1000

const char *const kind_words[] = {
    [NOTHING] = "", [FACTOR] = "", [SLOWER] = "slower", [SAME] = "same", [FASTER_THAN] = "faster"};

const char allowed_answers[] = "a number such as 1.8 or 2x, or slower, same, faster, or nothing";

/* ---- An answer ------------------------------------------------------------------------------- */

char *trim(char *text)
{
    text += strspn(text, " \t\r\n");
    size_t length = strlen(text);
    while (length > 0 && strchr(" \t\r\n", text[length - 1]))
        length--;
    text[length] = '\0';
    return text;
}

int parse_answer(char *text, struct prediction *prediction)
{
    text = trim(text);
    for (char *c = text; *c; c++)
        *c = *c == ',' ? '.' : (char)tolower((unsigned char)*c);
    for (enum kind kind = SLOWER; kind <= FASTER_THAN; kind++)
        if (strcmp(text, kind_words[kind]) == 0) {
            *prediction = (struct prediction){kind, kind == SAME ? 1.0 : NAN};
            return 0;
        }
    if (!*text) {
        *prediction = (struct prediction){.kind = NOTHING};
        return 0;
    }
    char *unit = text + strspn(text, "0123456789.");
    const bool known = strcmp(unit + strspn(unit, " "), "x") == 0 ||
                       strcmp(unit + strspn(unit, " "), "times") == 0;
    if (known)
        *unit = '\0';
    *prediction = (struct prediction){.kind = FACTOR};
    return parse_real(text, 0.001, MOST, &prediction->factor);
}

/* ---- The file -------------------------------------------------------------------------------- */

static bool is_pattern(const char *word)
{
    return strpbrk(word, "*?[") != NULL;
}

/* A mode may say which of several rows: "processes,copy". */
static bool is_mode(const char *word)
{
    char mode[32];
    snprintf(mode, sizeof mode, "%.*s", (int)strcspn(word, ","), word);
    return parse_name(mode, lesson_mode_names, LESSON_MODES) > LESSON_SEQUENTIAL;
}

__attribute__((format(printf, 3, 4), noreturn)) static void refuse_line(struct lesson *lesson,
                                                                        int number,
                                                                        const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    error_format(text, sizeof text, format, arguments);
    va_end(arguments);
    lesson_usage(lesson, "--answers %s, line %d: %s", lesson->options->answers, number, text);
}

/* One line that is neither empty nor a comment. */
static struct answer *parse_line(struct lesson *lesson, const char *text, int number)
{
    struct answer *answer = lesson_allocate(lesson, 1, sizeof *answer);
    int64_t workers;
    answer->line = strdup(text);
    if (!answer->line)
        lesson_die(lesson, "out of memory");
    char *colon = strchr(answer->line, ':'), *rest = answer->line, *word;
    if (!colon)
        refuse_line(lesson, number, "it must be CHAPTER WORKLOAD MODE WORKERS: ANSWER");
    *colon = '\0';
    int count = 0;
    while ((word = strtok_r(rest, " \t", &rest)) && count < ANSWER_WORDS)
        answer->words[count++] = word;
    if (count < ANSWER_WORDS || word)
        refuse_line(lesson, number,
                    "before the colon there must be four words, CHAPTER WORKLOAD "
                    "MODE WORKERS");
    if (!is_pattern(answer->words[2]) && !is_mode(answer->words[2]))
        refuse_line(lesson, number, "'%s' is no mode; it must be threads, gil, processes or *",
                    answer->words[2]);
    if (!is_pattern(answer->words[3]) &&
        parse_integer(answer->words[3], 1, POOL_MAX_WORKERS, &workers))
        refuse_line(lesson, number, "'%s' is no number of workers, and not *", answer->words[3]);
    char *said = trim(colon + 1);
    if (parse_answer(said, &answer->prediction))
        refuse_line(lesson, number, "'%s' is no answer; it must be %s", said, allowed_answers);
    return answer;
}

void read_answers(struct lesson *lesson)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf"; /* of some editors on Windows */
    const char *path = lesson->options->answers;
    struct answer **last = &lesson->step->answers;
    char text[LONGEST_LINE + 2];
    int number = 0, answers = 0;
    FILE *file = fopen(path, "re");
    if (!file)
        lesson_usage(lesson, "--answers %s: %s", path, strerror(errno));
    errno = 0;
    while (fgets(text, sizeof text, file)) {
        char *line = text;
        if (!strchr(text, '\n') && !feof(file))
            refuse_line(lesson, ++number, "it is longer than %d bytes, or no text", LONGEST_LINE);
        if (++number == 1 && strncmp(text, byte_order_mark, strlen(byte_order_mark)) == 0)
            line += strlen(byte_order_mark);
        line[strcspn(line, "#\n")] = '\0';
        if (!*trim(line))
            continue;
        if (++answers > MOST_ANSWERS)
            refuse_line(lesson, number, "there are more than %d answers", MOST_ANSWERS);
        *last = parse_line(lesson, trim(line), number);
        last = &(*last)->next;
        errno = 0;
    }
    if (ferror(file))
        lesson_usage(lesson, "--answers %s: %s", path, strerror(errno));
    (void)fclose(file);
}
/* "processes, copy" as "processes,copy" */
static void without_blanks(char *word, size_t size, const char *name)
{
    size_t length = 0;
    for (; *name && length + 1 < size; name++)
        if (*name != ' ')
            word[length++] = *name;
    word[length] = '\0';
}

const struct answer *find_answer(const struct lesson *lesson, const char *workload,
                                 const struct lesson_figures *row)
{
    char name[sizeof row->name], workers[16];
    const char *mode = lesson_mode_names[row->mode];
    without_blanks(name, sizeof name, row->name);
    snprintf(workers, sizeof workers, "%d", row->workers);
    for (const struct answer *answer = lesson->step->answers; answer; answer = answer->next)
        if (fnmatch(answer->words[0], lesson->chapter->name, 0) == 0 &&
            fnmatch(answer->words[1], workload, 0) == 0 &&
            (fnmatch(answer->words[2], name, 0) == 0 || strcmp(answer->words[2], mode) == 0) &&
            fnmatch(answer->words[3], workers, 0) == 0)
            return answer;
    return NULL;
}
