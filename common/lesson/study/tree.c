/* A decision tree of questions with yes or no: asked on a terminal, and drawn with the ways that
 * were taken. */
#include "common/lesson/evidence.h"
#include "common/lesson/study/study.h"
#include <ctype.h>
#include <stdlib.h>
#include <unistd.h>

#define BRANCH 16 /* columns from a question to what an answer leads to */

enum { YES, NO };
static const char *const words[] = {[YES] = "yes", [NO] = "no"};

/* ---- Asking ---------------------------------------------------------------------------------- */

bool lesson_can_ask(const struct lesson *lesson)
{
    return !lesson->silent && !lesson->step && isatty(STDIN_FILENO) && isatty(STDOUT_FILENO);
}

/* "yes", "no", or the beginning of one, with blanks around it and in any case. */
static int understood(const char *line)
{
    char word[8];
    size_t length = 0;
    line += strspn(line, " \t");
    while (length < sizeof word - 1 && isalpha((unsigned char)line[length])) {
        word[length] = (char)tolower((unsigned char)line[length]);
        length++;
    }
    word[length] = '\0';
    if (length == 0 || line[length + strspn(line + length, " \t\r\n")])
        return -1;
    for (int answer = YES; answer <= NO; answer++)
        if (strncmp(words[answer], word, length) == 0)
            return answer;
    return -1;
}

int lesson_ask(struct lesson *lesson, const struct lesson_question *question)
{
    char line[64];
    int answer = -1;
    lesson_print(lesson, "\n%s\n  %s\n", question->text, question->help);
    while (answer < 0) {
        lesson_print(lesson, "  yes or no? ");
        lesson_flush(lesson);
        if (!read_line(line, sizeof line)) {
            lesson_print(lesson, "\n");
            lesson_die(lesson, "the input ended before --%s was answered", question->name);
        }
        answer = understood(line);
    }
    return answer;
}

/* ---- Drawing --------------------------------------------------------------------------------- */

struct tree {
    struct lesson *lesson;
    const struct lesson_question *questions;
    size_t count;
    const struct lesson_path *paths;
    size_t path_count;
};

/* Does this path come to this question? */
static bool comes_to(const struct tree *tree, const struct lesson_path *path, size_t question)
{
    for (size_t q = 0; q < question; q++)
        if (path->answers[q] < 0 || tree->questions[q].then[path->answers[q]])
            return false;
    return true;
}

static bool takes(const struct tree *tree, const struct lesson_path *path, size_t question,
                  int answer)
{
    return comes_to(tree, path, question) && path->answers[question] == answer;
}

static bool is_taken(const struct tree *tree, size_t question, int answer)
{
    for (size_t p = 0; p < tree->path_count; p++)
        if (takes(tree, &tree->paths[p], question, answer))
            return true;
    return false;
}

/* Whose paths end here, below the conclusion. */
static void name_paths(const struct tree *tree, size_t question, int answer, int indent)
{
    int column = 0;
    for (size_t p = 0; p < tree->path_count && tree->path_count > 1; p++) {
        const char *name = tree->paths[p].name;
        if (!takes(tree, &tree->paths[p], question, answer))
            continue;
        const bool fits = column > 0 && column + 2 + (int)strlen(name) <= PAGE_COLUMNS;
        if (fits)
            lesson_print(tree->lesson, ", %s", name);
        else
            lesson_print(tree->lesson, "%s%*s%s", column > 0 ? ",\n" : "", indent, "", name);
        column = (fits ? column + 2 : indent) + (int)strlen(name);
    }
    if (column > 0)
        lesson_print(tree->lesson, "\n");
}

static void draw_question(const struct tree *tree, size_t question, int indent);

/* "+---- no ----> vectorise", or "+==== no ====> [x] vectorise" if it is taken */
static void draw_answer(const struct tree *tree, size_t question, int answer, int indent)
{
    const bool taken = is_taken(tree, question, answer);
    const char *conclusion = tree->questions[question].then[answer];
    const char *line = taken ? "====" : "----";
    const char *start = taken ? bold(tree->lesson) : "", *end = taken ? plain(tree->lesson) : "";
    lesson_print(tree->lesson, "%*s|\n%*s%s+%s %s %s%s>%s ", indent, "", indent, "", start, line,
                 words[answer], line, answer == NO ? &line[3] : "", end);
    if (conclusion) {
        lesson_print(tree->lesson, "%s%s%s%s\n", start, taken ? "[x] " : "", conclusion, end);
        name_paths(tree, question, answer, indent + BRANCH + 4);
    } else {
        draw_question(tree, question + 1, indent + BRANCH);
    }
}

/* The answer that leads on comes last, so that nothing stands beside what follows. */
static void draw_question(const struct tree *tree, size_t question, int indent)
{
    const int first = tree->questions[question].then[YES] ? YES : NO;
    lesson_print(tree->lesson, "%s\n", tree->questions[question].text);
    draw_answer(tree, question, first, indent);
    draw_answer(tree, question, !first, indent);
}

void lesson_draw_tree(struct lesson *lesson, const struct lesson_question *questions, size_t count,
                      const struct lesson_path *paths, size_t path_count)
{
    const struct tree tree = {lesson, questions, count, paths, path_count};
    lesson_print(lesson, "\n  ");
    draw_question(&tree, 0, 2);
}
