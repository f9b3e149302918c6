/* Commands are started by _Fork and execve and not by posix_spawn, because a child must ask by
 * itself to be killed when its parent ends (PR_SET_PDEATHSIG): else a command that runs for an hour
 * would go on after the program, or its worker, was killed. _Fork, unlike fork, runs no handlers
 * of libraries, and between it and execve only what is safe in a program with threads is called.
 * (The kernel drops the request when the program started has privileges of its own.)
 */
#include "common/lesson/command.h"
#include "common/lesson/study/study.h"
#include "common/parallel/resources.h"
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <wordexp.h>

#define NOT_STARTED 127 /* exit status, as of a shell */

/* ---- Placeholders ---------------------------------------------------------------------------- */

/* To wordexp an unquoted brace is an error, so each stands as one character that no text has. */
static const struct placeholder {
    const char *text;
    char stand_in;
    bool base, stem; /* the last component only; without the extension */
} placeholders[] = {{"{}", '\1', false, false},
                    {"{/}", '\2', true, false},
                    {"{.}", '\3', false, true},
                    {"{/.}", '\4', true, true}};

static const struct placeholder *placeholder_at(const char *text, bool stand_in)
{
    for (size_t i = 0; i < sizeof placeholders / sizeof *placeholders; i++)
        if (stand_in ? *text == placeholders[i].stand_in
                     : strncmp(text, placeholders[i].text, strlen(placeholders[i].text)) == 0)
            return &placeholders[i];
    return NULL;
}

static void write_name(FILE *stream, const char *file, const struct placeholder *placeholder)
{
    const char *slash = strrchr(file, '/'), *base = slash ? slash + 1 : file;
    const char *dot = strrchr(base, '.');
    const char *start = placeholder->base ? base : file;
    const char *end = placeholder->stem && dot && dot > base ? dot : file + strlen(file);
    fprintf(stream, "%.*s", (int)(end - start), start);
}

/* The text with its placeholders (or what stands for them) replaced: by what stands for them (file
 * NULL), or for a file. */
static char *replaced(const char *text, const char *file, bool stand_ins)
{
    char *result = NULL;
    size_t size = 0;
    FILE *stream = open_memstream(&result, &size);
    if (!stream)
        return NULL;
    while (*text) {
        const struct placeholder *placeholder = placeholder_at(text, stand_ins);
        if (!placeholder)
            fputc(*text, stream);
        else if (file)
            write_name(stream, file, placeholder);
        else
            fputc(placeholder->stand_in, stream);
        text += placeholder && !stand_ins ? strlen(placeholder->text) : 1;
    }
    if (fclose(stream)) {
        free(result);
        return NULL;
    }
    return result;
}

char *command_word(const char *text, const char *file)
{
    return replaced(text, file, false);
}

/* ---- Splitting ------------------------------------------------------------------------------- */

static const char *split_error(int code)
{
    switch (code) {
    case WRDE_BADCHAR:
        return "has one of | & ; < > ( ) { } outside of quotes; no shell runs it";
    case WRDE_CMDSUB:
        return "has $(...) or `...`; no shell runs it";
    case WRDE_BADVAL:
        return "has a variable that is not set";
    case WRDE_SYNTAX:
        return "ends within quotes, or has a $ or \\ that says nothing";
    default:
        return "needs more memory than there is";
    }
}

/* The words, with what stands for placeholders. */
static void split(struct lesson *lesson, const char *option, const char *text, wordexp_t *words)
{
    for (const char *c = text; *c; c++)
        if ((unsigned char)*c < ' ' && *c != '\t')
            lesson_usage(lesson, "--%s: '%s' has a line end or another control character", option,
                         text);
    char *protected = replaced(text, NULL, false);
    if (!protected)
        lesson_die(lesson, "out of memory");
    const int code = wordexp(protected, words, WRDE_NOCMD | WRDE_UNDEF);
    free(protected);
    if (code)
        lesson_usage(lesson, "--%s: '%s' %s", option, text, split_error(code));
    if (words->we_wordc == 0)
        lesson_usage(lesson, "--%s: '%s' has no word: the first must be a program", option, text);
}

/* ---- The commands of all files --------------------------------------------------------------- */

static void write_word(struct lesson *lesson, FILE *stream, char *word)
{
    if (!word)
        lesson_die(lesson, "out of memory");
    fwrite(word, 1, strlen(word) + 1, stream);
    free(word);
}

static void write_command(struct lesson *lesson, FILE *stream, const char *option,
                          const wordexp_t *words, const char *file)
{
    bool named = false;
    char *program = replaced(words->we_wordv[0], file, true);
    char *path = program ? find_program(program) : NULL;
    if (!path)
        lesson_usage(lesson, "--%s: there is no program '%s'", option, program ? program : "");
    free(program);
    for (size_t i = 0; i < words->we_wordc; i++)
        named |= strpbrk(words->we_wordv[i], "\1\2\3\4") != NULL;
    fprintf(stream, "%zu%c", 1 + words->we_wordc + (named ? 0 : 1), '\0');
    write_word(lesson, stream, path);
    for (size_t i = 0; i < words->we_wordc; i++)
        write_word(lesson, stream, replaced(words->we_wordv[i], file, true));
    if (!named)
        write_word(lesson, stream, strdup(file));
}

void lesson_command(struct lesson *lesson, struct lesson_command *command, const char *option,
                    const char *text, const char *files_option, const struct lesson_paths *files)
{
    wordexp_t words;
    size_t size = 0;
    for (size_t i = 0; i < files->count; i++)
        if (access(files->paths[i], F_OK))
            lesson_usage(lesson, "--%s: '%s': %s", files_option, files->paths[i], strerror(errno));
    split(lesson, option, text, &words);
    command->text = text;
    command->count = files->count;
    command->at = lesson->command_at =
        lesson_allocate(lesson, files->count + 1, sizeof *command->at);
    FILE *stream = open_memstream(&lesson->command_words, &size);
    if (!stream)
        lesson_die(lesson, "out of memory");
    for (size_t i = 0; i < files->count; i++) {
        write_command(lesson, stream, option, &words, files->paths[i]);
        command->at[i + 1] = (size_t)ftell(stream);
    }
    if (fclose(stream))
        lesson_die(lesson, "out of memory");
    command->words = lesson->command_words;
    wordfree(&words);
    if (!lesson->options->repeats_given)
        lesson->options->repeats = 2;
    char runs[160];
    snprintf(runs, sizeof runs,
             "%zu command%s, each run %d times in each mode: a warm-up and --repeats %d. What they "
             "print is thrown away.",
             command->count, plural(command->count), 1 + lesson->options->repeats,
             lesson->options->repeats);
    lesson_print(lesson, "\n");
    report_paragraph(lesson, 0, runs);
}

/* ---- Running --------------------------------------------------------------------------------- */

/* In the child. A worker blocks SIGINT, and a measured thread is bound to its core; a command shall
 * know of neither. */
_Noreturn static void become_command(const char *path, char *const *words, pid_t parent, int null,
                                     const cpu_set_t *processors, size_t size)
{
    sigset_t none;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) /* it ended before the line above */
        _exit(NOT_STARTED);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    if (processors)
        sched_setaffinity(0, size, processors);
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        dup2(null, fd);
    execve(path, words, environ);
    _exit(NOT_STARTED);
}

static int wait_for(pid_t child, double *cpu)
{
    struct rusage used;
    int status;
    while (wait4(child, &status, 0, &used) < 0)
        if (errno != EINTR)
            return NOT_STARTED;
    if (cpu)
        *cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
               1e-6 * (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec);
    return WIFSIGNALED(status) ? -WTERMSIG(status) : WEXITSTATUS(status);
}

/* The words of a command as execve wants them. words[0] is the program's path; the caller frees the
 * list. */
static char **list_words(const char *words)
{
    const size_t count = strtoul(words, NULL, 10);
    char **list = calloc(count + 1, sizeof *list);
    for (size_t i = 0; list && i < count; i++) {
        words += strlen(words) + 1;
        list[i] = (char *)(uintptr_t)words; /* execve's words are not const, for old reasons */
    }
    return list;
}

int lesson_command_run(const char *words, double *cpu)
{
    size_t size = 0;
    int status = NOT_STARTED;
    char **list = list_words(words);
    cpu_set_t *processors = resources_processors(&size);
    const pid_t parent = getpid();
    const int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (cpu)
        *cpu = 0.0;
    if (list && list[0] && null >= 0) {
        const pid_t child = _Fork();
        if (child == 0)
            become_command(list[0], list + 1, parent, null, processors, size);
        if (child > 0)
            status = wait_for(child, cpu);
    }
    if (null >= 0)
        close(null);
    CPU_FREE(processors);
    free(list);
    return status;
}

void lesson_command_failures(struct lesson *lesson, const struct lesson_paths *files,
                             const int64_t *status)
{
    for (size_t i = 0; i < files->count; i++)
        if (status[i] > 0)
            lesson_fail(lesson, "%s: exit status %d", files->paths[i], (int)status[i]);
        else if (status[i] < 0)
            lesson_fail(lesson, "%s: killed by signal %d (%s)", files->paths[i], (int)-status[i],
                        strsignal((int)-status[i]));
}
