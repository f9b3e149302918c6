/* serve.c - see serve.h. */
#include "tests/bench/serve.h"
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>

#define SLOTS     32
#define HUGE_PAGE ((size_t)2 << 20)

double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

/* ---- What a contender is given -----------------------------------------------------------------
 */

int task_fail(struct task *task, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(task->failure, sizeof task->failure, format, arguments);
    va_end(arguments);
    return -1;
}

void *task_memory(struct task *task, size_t bytes)
{
    const size_t border = bytes >= 2 * HUGE_PAGE ? HUGE_PAGE : 64;
    void *const memory = task->block_count < TASK_BLOCKS
                             ? aligned_alloc(border, (bytes + border) / border * border)
                             : NULL;
    if (!memory) {
        task_fail(task, "no memory for %zu bytes", bytes);
        return NULL;
    }
    if (border == HUGE_PAGE)
        madvise(memory, bytes, MADV_HUGEPAGE); /* a wish */
    memset(memory, 0, bytes);
    return task->blocks[task->block_count++] = memory;
}

void *task_file(struct task *task, const char *name, size_t *bytes)
{
    char path[4096];
    struct stat status;
    void *memory = NULL;
    snprintf(path, sizeof path, "%s/%s", task->directory, name);
    FILE *const file = fopen(path, "rb");
    if (!file || fstat(fileno(file), &status))
        task_fail(task, "%s cannot be read", name);
    else if ((memory = task_memory(task, (size_t)status.st_size)) &&
             fread(memory, 1, (size_t)status.st_size, file) != (size_t)status.st_size)
        memory = NULL, task_fail(task, "%s is cut off", name);
    else if (bytes)
        *bytes = (size_t)status.st_size;
    if (file)
        fclose(file);
    return memory;
}

static void task_free(struct task *task)
{
    while (task->block_count > 0)
        free(task->blocks[--task->block_count]);
}

/* ---- The questions -----------------------------------------------------------------------------
 */

struct slot {
    const struct contender *contender; /* NULL: free */
    struct task task;
    char *directory;
};

static void end(struct slot *slot)
{
    if (slot->contender && slot->contender->end)
        slot->contender->end(&slot->task);
    task_free(&slot->task);
    free(slot->directory);
    *slot = (struct slot){0};
}

/* A line of JSON; what cannot be told as JSON, such as text that is not UTF-8, is a failure. Takes
 * the object over. */
static void answer(json_t *object)
{
    if (!object || json_dumpf(object, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9)))
        fputs("{\"failure\": \"the answer cannot be told as JSON\"}", stdout);
    putchar('\n');
    json_decref(object);
}

static void answer_failure(const char *why)
{
    answer(json_pack("{s:s}", "failure", why));
}

/* The largest difference from the reference, and the largest number there; -1 if there is none. A
 * NaN is the largest difference of all. */
static int compare(struct task *task, double *difference, double *largest)
{
    size_t bytes = 0;
    const double *const reference = task_file(task, task->reference, &bytes);
    if (!reference)
        return -1;
    size_t n = bytes / sizeof *reference;
    n = n < task->results ? n : task->results;
    *difference = *largest = 0;
    for (size_t i = 0; i < n; i++) {
        const double value = task->result ? (double)task->result[i] : task->result_double[i];
        const double off = fabs(value - reference[i]);
        *difference = off > *difference || isnan(off) ? off : *difference;
        *largest = fmax(*largest, fabs(reference[i]));
        if (isnan(off))
            break;
    }
    return 0;
}

static void begin(struct slot *slot, const struct contender *contender, const size_t size[2],
                  const char *directory, int threads)
{
    struct task *const task = &slot->task;
    end(slot);
    slot->directory = strdup(directory);
    *task = (struct task){.directory = slot->directory,
                          .size = {size[0], size[1]},
                          .threads = threads,
                          .per = 1,
                          .reference = "reference"};
    const double start = seconds_now();
    const int status = contender->begin(task);
    const double ready = seconds_now();
    if (status) {
        answer_failure(task->failure);
        end(slot);
        return;
    }
    slot->contender = contender;
    contender->call(task);
    const double called = seconds_now();
    if (contender->arrange)
        contender->arrange(task);
    double difference = 0, largest = 0;
    json_t *const told =
        json_pack("{s:f, s:f, s:I, s:s}", "setup_s", ready - start, "first_s", called - ready,
                  "per", (json_int_t)task->per, "note", task->note);
    if ((task->result || task->result_double) && compare(task, &difference, &largest) == 0) {
        if (!isfinite(difference))
            json_object_set_new(told, "failure", json_string("a result is not a number"));
        else
            json_object_update_new(
                told, json_pack("{s:f, s:f}", "max_error", difference, "largest", largest));
    }
    answer(told);
}

static void sample(struct slot *slot, unsigned long calls)
{
    void (*const call)(struct task *) = slot->contender->call;
    for (unsigned long i = 0; i < calls / 8 + 1; i++)
        call(&slot->task);
    const double start = seconds_now();
    for (unsigned long i = 0; i < calls; i++)
        call(&slot->task);
    answer(json_pack("{s:f}", "seconds", seconds_now() - start));
}

static void nothing(struct task *task)
{
    (void)task;
}

/* Seconds for a call of nothing in the loop that measures. */
static double empty_call(void)
{
    void (*volatile const call)(struct task *) = nothing;
    const int calls = 1000000;
    double best = 1;
    for (int attempt = 0; attempt < 5; attempt++) {
        const double start = seconds_now();
        for (int i = 0; i < calls; i++)
            call(NULL);
        best = fmin(best, seconds_now() - start);
    }
    return best / calls;
}

static const struct contender *find(const struct contender *contenders, size_t count,
                                    const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(contenders[i].name, name) == 0)
            return &contenders[i];
    return NULL;
}

int serve(const struct contender *contenders, size_t count, int threads, json_t *about)
{
    static struct slot slots[SLOTS];
    char *line = NULL, name[64], directory[4000];
    size_t capacity = 0, size[2];
    unsigned number;
    unsigned long calls;
    while (getline(&line, &capacity, stdin) > 0) {
        if (strcmp(line, "about\n") == 0) {
            json_t *const told = json_copy(about);
            json_object_set_new(told, "empty_call_s", json_real(empty_call()));
            answer(told);
        } else if (sscanf(line, "begin %u %63s %zu %zu %3999[^\n]", &number, name, &size[0],
                          &size[1], directory) == 5 &&
                   number < SLOTS) {
            const struct contender *const contender = find(contenders, count, name);
            if (contender)
                begin(&slots[number], contender, size, directory, threads);
            else
                answer_failure("there is no such contender");
        } else if (sscanf(line, "sample %u %lu", &number, &calls) == 2 && number < SLOTS &&
                   slots[number].contender) {
            sample(&slots[number], calls);
        } else if (sscanf(line, "end %u", &number) == 1 && number < SLOTS) {
            end(&slots[number]);
            answer(json_object());
        } else {
            answer_failure("the request was not understood");
        }
        fflush(stdout);
    }
    for (size_t i = 0; i < SLOTS; i++)
        end(&slots[i]);
    free(line);
    json_decref(about);
    return 0;
}
