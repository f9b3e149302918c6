/* What everything is said with: complaints on standard error, text on standard output. */
#include "common/lesson/words/words.h"
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- Errors ---------------------------------------------------------------------------------- */

/* "01_pool_map: message" on one line, whatever bytes the message quotes. */
static void complain(struct lesson *lesson, const char *format, va_list arguments)
{
    char message[1024];
    error_format(message, sizeof message, format, arguments);
    for (char *c = message; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    progress_clear(lesson);
    fprintf(stderr, "%s: %s\n", lesson->chapter->name, message);
}

void lesson_fail(struct lesson *lesson, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    complain(lesson, format, arguments);
    va_end(arguments);
    lesson->failed = true;
}

void lesson_note(struct lesson *lesson, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    complain(lesson, format, arguments);
    va_end(arguments);
}

void lesson_usage(struct lesson *lesson, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    complain(lesson, format, arguments);
    va_end(arguments);
    exit(2);
}

void lesson_die(struct lesson *lesson, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    complain(lesson, format, arguments);
    va_end(arguments);
    exit(1);
}

/* Reasons that the next file would have as well. */
static bool is_common_reason(int number)
{
    static const int reasons[] = {ENOSPC, EDQUOT, EFBIG,  EROFS, EIO,
                                  ENOENT, EMFILE, ENFILE, ENOMEM};
    for (size_t i = 0; i < sizeof reasons / sizeof *reasons; i++)
        if (number == reasons[i])
            return true;
    return false;
}

void lesson_output_failed(struct lesson *lesson, const char *option, const struct error *error)
{
    const size_t most = sizeof lesson->lost / sizeof *lesson->lost;
    const int reason = error->system_errno;
    for (size_t i = 0; i < lesson->lost_count; i++)
        if (lesson->lost[i].reason == reason && strcmp(lesson->lost[i].option, option) == 0)
            return;
    lesson_fail(lesson, "--%s: %s", option, error->message);
    if (is_common_reason(reason) && lesson->lost_count < most)
        lesson->lost[lesson->lost_count++] = (struct lost_output){option, reason};
}

void *lesson_allocate(struct lesson *lesson, size_t count, size_t size)
{
    void *memory = calloc(count ? count : 1, size);
    if (!memory)
        lesson_die(lesson, "out of memory");
    return memory;
}

/* ---- Standard output ------------------------------------------------------------------------- */

void before_output(struct lesson *lesson)
{
    void (*const hook)(struct lesson * lesson) = lesson->before_output;
    lesson->before_output = NULL; /* it prints, too */
    if (hook)
        hook(lesson);
}

void lesson_flush(struct lesson *lesson)
{
    if (fflush(stdout) || ferror(stdout)) {
        const int number = errno;
        /* exit would try again to write what is left in the buffer */
        const int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
        if (null >= 0)
            dup2(null, STDOUT_FILENO);
        clearerr(stdout);
        lesson_die(lesson, "standard output: %s", strerror(number));
    }
}

void check_standard_output(void)
{
    if (fflush(stdout) || ferror(stdout)) {
        fprintf(stderr, "%s: standard output: %s\n", program_invocation_short_name,
                strerror(errno));
        _exit(1);
    }
}

void lesson_print(struct lesson *lesson, const char *format, ...)
{
    va_list arguments;
    if (lesson->silent)
        return;
    before_output(lesson);
    progress_clear(lesson);
    va_start(arguments, format);
    const int written = vprintf(format, arguments);
    va_end(arguments);
    if (written < 0)
        lesson_flush(lesson);
}

const char *bold(const struct lesson *lesson)
{
    return lesson->colour ? "\033[1m" : "";
}

const char *plain(const struct lesson *lesson)
{
    return lesson->colour ? "\033[0m" : "";
}

void lesson_heading(struct lesson *lesson, const char *text)
{
    lesson_print(lesson, "\n%s%s%s\n", bold(lesson), text, plain(lesson));
}

/* ---- Paragraphs
 * ------------------------------------------------------------------------------------ */

void report_paragraph(struct lesson *lesson, int indent, const char *text)
{
    report_paragraph_within(lesson, PAGE_COLUMNS, indent, text);
}

void report_paragraph_within(struct lesson *lesson, int columns, int indent, const char *text)
{
    int column = indent;
    lesson_print(lesson, "%*s", indent, "");
    while (*text) {
        const size_t blanks = strspn(text, " "), word = strcspn(text + blanks, " ");
        if (column + (int)(blanks + word) > columns && column > indent) {
            lesson_print(lesson, "\n%*s", indent, "");
            column = indent;
        } else {
            lesson_print(lesson, "%.*s", (int)blanks, text);
            column += (int)blanks;
        }
        lesson_print(lesson, "%.*s", (int)word, text + blanks);
        column += (int)word;
        text += blanks + word;
    }
    lesson_print(lesson, "\n");
}

void paragraph_begin(struct lesson *lesson, struct paragraph *paragraph)
{
    paragraph->stream = open_memstream(&paragraph->text, &paragraph->size);
    if (!paragraph->stream)
        lesson_die(lesson, "out of memory");
}

void paragraph_end(struct lesson *lesson, struct paragraph *paragraph, int columns)
{
    if (fclose(paragraph->stream))
        lesson_die(lesson, "out of memory");
    report_paragraph_within(lesson, columns, 0, paragraph->text);
    free(paragraph->text);
}

void lesson_paragraph(struct lesson *lesson, const char *format, ...)
{
    char *text;
    va_list arguments;
    va_start(arguments, format);
    const int length = vasprintf(&text, format, arguments);
    va_end(arguments);
    if (length < 0)
        lesson_die(lesson, "out of memory");
    report_paragraph(lesson, 0, text);
    free(text);
}
