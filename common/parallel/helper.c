#include "common/parallel/internal.h"
#include "common/parallel/resources.h"
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

/* The helper is a process with one thread and little memory that does nothing but fork, so that
 * forking is cheap and safe however many threads the program itself has by then. The two talk
 * over one socket that keeps messages apart and in order (SOCK_SEQPACKET). If the program ends,
 * the helper kills what it has forked and ends too; it learns that from the socket's hang-up, and
 * from a pidfd, because a copy that the program made of itself (fork) may keep the socket open. If
 * the helper dies, the kernel kills the workers (PR_SET_PDEATHSIG), and the program sees the
 * hang-up. */

enum request_kind { REQUEST_FORK, REQUEST_SPAWN, REQUEST_KILL };

struct request {
    enum request_kind kind;
    struct worker_start start; /* its descriptors travel beside it; REQUEST_KILL: board, slot */
};

#define PASSED_DESCRIPTORS 2

/* ---- The helper process -------------------------------------------------------------------- */

struct child {
    pid_t pid;
    struct board *board;
    int slot;
    uint32_t id;
};

static struct child *children;
static size_t child_count, child_room;

/* Kernels before 5.9, and some sandboxes, have no close_range. */
static void close_from_to(int first, int last)
{
    if (close_range((unsigned)first, (unsigned)last, 0) == 0)
        return;
    const long most = sysconf(_SC_OPEN_MAX);
    for (int fd = first; fd <= last && fd < most; fd++)
        close(fd);
}

void close_other_descriptors(const int *keep, int count)
{
    int from = 3;
    for (;;) { /* the ranges between the kept ones, in ascending order */
        int next = -1;
        for (int i = 0; i < count; i++)
            if (keep[i] >= from && (next < 0 || keep[i] < next))
                next = keep[i];
        if (next < 0)
            break;
        if (next > from)
            close_from_to(from, next - 1);
        from = next + 1;
    }
    close_from_to(from, INT_MAX);
}

static void default_signal_actions(void)
{
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL);
}

/* In the forked child. */
_Noreturn static void become_worker(const struct worker_start *start, bool spawn, pid_t helper)
{
    const int keep[] = {start->life_fd, start->event_fd, arena_place()->fd};
    sigset_t interrupts;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != helper) /* it died before the line above */
        _exit(1);
    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT); /* Ctrl-C goes to every process: the parent decides */
    sigprocmask(SIG_SETMASK, &interrupts, NULL);
    default_signal_actions();
    close_other_descriptors(keep, spawn ? 3 : 2);
    if (!spawn)
        worker_main(start);
    if (worker_start_to_environment(start) == 0) {
        for (int i = 0; i < 3; i++)
            fcntl(keep[i], F_SETFD, 0);
        execl("/proc/self/exe", program_invocation_name, (char *)NULL);
    }
    _exit(127);
}

static void report(int socket, const struct helper_report *report)
{
    while (send(socket, report, sizeof *report, MSG_NOSIGNAL) < 0 && errno == EINTR)
        ;
}

static void serve_start(int socket, const struct request *request)
{
    const struct worker_start *start = &request->start;
    const pid_t helper = getpid();
    struct helper_report started = {.board = start->board, .slot = start->slot, .id = start->id};
    if (child_count == child_room) {
        const size_t room = child_room ? 2 * child_room : 16;
        struct child *more = realloc(children, room * sizeof *children);
        if (!more) {
            started.error_number = ENOMEM;
            report(socket, &started);
            return;
        }
        children = more;
        child_room = room;
    }
    started.pid = fork();
    if (started.pid == 0)
        become_worker(start, request->kind == REQUEST_SPAWN, helper);
    if (started.pid < 0)
        started.error_number = errno;
    else
        children[child_count++] = (struct child){
            .pid = started.pid, .board = start->board, .slot = start->slot, .id = start->id};
    report(socket, &started);
}

static void serve_kill(const struct request *request)
{
    for (size_t i = 0; i < child_count; i++)
        if (!request->start.board ||
            (children[i].board == request->start.board &&
             (request->start.slot < 0 || children[i].slot == request->start.slot)))
            kill(children[i].pid, SIGKILL); /* not yet reaped, so the pid is still its own */
}

/* One request with its descriptors. False when the program has hung up. */
static bool serve_request(int socket)
{
    struct request request;
    union {
        char buffer[CMSG_SPACE(PASSED_DESCRIPTORS * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {.iov_base = &request, .iov_len = sizeof request};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.buffer,
                             .msg_controllen = sizeof control.buffer};
    const ssize_t got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    if (got < 0)
        return errno == EINTR || errno == EAGAIN;
    if (got != (ssize_t)sizeof request)
        return false;
    if (request.kind == REQUEST_KILL) {
        serve_kill(&request);
        return true;
    }
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    int descriptors[PASSED_DESCRIPTORS] = {-1, -1};
    if (header && header->cmsg_len <= CMSG_LEN(sizeof descriptors))
        memcpy(descriptors, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
    if (descriptors[1] < 0) { /* out of descriptors: one of them, or none, has arrived */
        if (descriptors[0] >= 0)
            close(descriptors[0]);
        report(socket, &(struct helper_report){.board = request.start.board,
                                               .slot = request.start.slot,
                                               .id = request.start.id,
                                               .error_number = EMFILE});
        return true;
    }
    request.start.life_fd = descriptors[0];
    request.start.event_fd = descriptors[1];
    serve_start(socket, &request);
    close(descriptors[0]);
    close(descriptors[1]);
    return true;
}

static void reap(int socket)
{
    struct rusage usage;
    int status;
    pid_t pid;
    while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
        for (size_t i = 0; i < child_count; i++) {
            if (children[i].pid != pid)
                continue;
            const struct helper_report death = {
                .died = true,
                .board = children[i].board,
                .slot = children[i].slot,
                .id = children[i].id,
                .pid = pid,
                .status = status,
                .cpu_seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                               1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)};
            children[i] = children[--child_count];
            if (socket >= 0)
                report(socket, &death);
            break;
        }
    }
}

_Noreturn static void helper_main(int socket, pid_t program)
{
    sigset_t child_ended;
    const int arena = arena_place()->fd;
    close_other_descriptors((const int[]){socket, arena}, 2);
    default_signal_actions(); /* the program's handlers are not the helper's */
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGQUIT, SIG_IGN);
    signal(SIGPIPE, SIG_IGN);
    sigemptyset(&child_ended);
    sigaddset(&child_ended, SIGCHLD);
    sigprocmask(SIG_SETMASK, &child_ended, NULL); /* all signals were blocked until here */
    const int deaths = signalfd(-1, &child_ended, SFD_CLOEXEC | SFD_NONBLOCK);
    prctl(PR_SET_NAME, "pool-helper");
    resources_unbind();

    struct pollfd waiting[] = {{.fd = socket, .events = POLLIN},
                               {.fd = deaths, .events = POLLIN},
                               {.fd = pidfd_open(program, 0), .events = POLLIN}};
    bool open = deaths >= 0 && getppid() == program; /* else it ended before the line above */
    while (open) {
        if (poll(waiting, 3, -1) < 0)
            continue;
        if (waiting[1].revents) {
            struct signalfd_siginfo ignored;
            while (read(deaths, &ignored, sizeof ignored) > 0)
                ;
            reap(socket);
        }
        if (waiting[0].revents)
            open = serve_request(socket);
        if (waiting[2].revents)
            open = false;
    }
    serve_kill(&(struct request){.start = {.slot = -1}});
    while (child_count > 0 && waitid(P_ALL, 0, NULL, WEXITED | WNOWAIT) == 0)
        reap(-1);
    _exit(0);
}

/* ---- The program's side -------------------------------------------------------------------- */

int helper_start(struct helper *helper, struct error *error)
{
    int pair[2];
    sigset_t all, before;
    const pid_t program = getpid();
    *helper = (struct helper){.socket = -1};
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
        return error_set_errno(error, "cannot create the helper's socket");
    fflush(NULL); /* or the child would hold, and might write, what this process has buffered */
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all,
                    &before); /* the child is not to run the program's handlers */
    helper->pid = fork();
    if (helper->pid == 0)
        helper_main(pair[1], program);
    const int fork_error = errno;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    errno = fork_error;
    if (helper->pid < 0) {
        error_set_errno(error, "cannot fork the helper process");
        close(pair[0]);
        close(pair[1]);
        return -1;
    }
    close(pair[1]);
    helper->socket = pair[0];
    return 0;
}

void helper_stop(struct helper *helper)
{
    if (helper->socket >= 0) {
        shutdown(helper->socket, SHUT_RDWR); /* hangs up whoever else has a copy of it */
        close(helper->socket);
    }
    helper->socket = -1;
    if (helper->pid > 0)
        while (waitpid(helper->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    helper->pid = 0;
}

/* 1: sent; 0: the helper must first be heard, since it waits for room for its reports; -1: gone. */
static int send_request(struct helper *helper, const struct request *request)
{
    const int descriptors[] = {request->start.life_fd, request->start.event_fd};
    union {
        char buffer[CMSG_SPACE(sizeof descriptors)];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec part = {.iov_base = (void *)(uintptr_t)request, .iov_len = sizeof *request};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (request->kind != REQUEST_KILL) {
        message.msg_control = control.buffer;
        message.msg_controllen = sizeof control.buffer;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof descriptors);
        memcpy(CMSG_DATA(header), descriptors, sizeof descriptors);
    }
    ssize_t sent;
    do
        sent = sendmsg(helper->socket, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    while (sent < 0 && errno == EINTR);
    if (sent == (ssize_t)sizeof *request)
        return 1;
    /* ETOOMANYREFS: too many descriptors are under way, until the helper has taken some. */
    return sent < 0 && (errno == EAGAIN || errno == ETOOMANYREFS) ? 0 : -1;
}

int helper_receive(struct helper *helper, struct helper_report *report)
{
    ssize_t got;
    do
        got = recv(helper->socket, report, sizeof *report, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got == (ssize_t)sizeof *report)
        return 1;
    return got < 0 && errno == EAGAIN ? 0 : -1;
}

int helper_start_worker(struct helper *helper, const struct worker_start *start, bool spawn)
{
    return send_request(
        helper, &(struct request){.kind = spawn ? REQUEST_SPAWN : REQUEST_FORK, .start = *start});
}

int helper_kill(struct helper *helper, struct board *board, int slot)
{
    return send_request(
        helper, &(struct request){.kind = REQUEST_KILL, .start = {.board = board, .slot = slot}});
}
