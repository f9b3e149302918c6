/* helper.c - the helper is a process with one thread and little memory that does nothing but fork,
 * so that forking is cheap and safe however many threads the program itself has by then. The two
 * talk over sockets that keep messages apart and in order (SOCK_SEQPACKET), one for the program and
 * one more for each pool, so that pools need not know of each other. If the program ends, the
 * helper kills what it has forked and ends too; it learns that from the first socket's hang-up, and
 * from a pidfd, because a copy that the program made of itself (fork) may keep the socket open. If
 * the helper dies, the kernel kills the workers (PR_SET_PDEATHSIG), and the program sees the
 * hang-up.
 */
#include "common/parallel/helper.h"
#include "common/parallel/arena.h"
#include "common/parallel/base.h"
#include "common/parallel/descriptors.h"
#include "common/parallel/inherit.h"
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

#define NAME "pool-helper" /* of the process */

enum request_kind { REQUEST_FORK, REQUEST_SPAWN, REQUEST_SIGNAL, REQUEST_CONNECT };

struct request {
    enum request_kind kind;
    struct worker_start start; /* its descriptors travel beside it; REQUEST_SIGNAL: the slot */
    int signal;
};

#define MOST_DESCRIPTORS 2

static int descriptors_of(enum request_kind kind)
{
    static const int count[] = {
        [REQUEST_FORK] = 2, [REQUEST_SPAWN] = 2, [REQUEST_SIGNAL] = 0, [REQUEST_CONNECT] = 1};
    return count[kind];
}

/* ---- The helper process -------------------------------------------------------------------- */

struct child {
    pid_t pid;
    unsigned connection; /* by its number */
    int slot;
    uint32_t id;
};

struct connection {
    int socket;
    unsigned number; /* never used twice */
};

static struct child *children;
static size_t child_count, child_room;
static struct connection *connections; /* [0] is the program's, whose hang-up is the end */
static size_t connection_count;
static struct pollfd *waiting; /* deaths, the program, then the connections */
#define FIRST_CONNECTION 2

/* What a worker, or the helper, needs: everything else that the program has open is closed. */
static void close_other_descriptors(int keep1, int keep2, bool arenas)
{
    int keep[2 + MOST_ARENAS] = {keep1, keep2}, count = 2, arena_count;
    const struct arena_place *places = arena_places(&arena_count);
    for (int i = 0; arenas && i < arena_count; i++)
        keep[count++] = places[i].fd;
    descriptors_close_all_but(keep, count);
}

/* What is sent to the whole group of the program, by a terminal, a shell or `timeout`, is not for
 * the helper: it ends when the program does. */
static void ignore_signals(void)
{
    static const int ignored[] = {SIGHUP,  SIGINT,  SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2,
                                  SIGALRM, SIGPIPE, SIGTSTP, SIGTTIN, SIGTTOU};
    for (int number = 1; number < NSIG; number++)
        signal(number, SIG_DFL); /* the program's handlers are not the helper's */
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
}

/* In the forked child. */
_Noreturn static void become_worker(const struct worker_start *start, bool spawn, pid_t helper)
{
    struct error error;
    if (inherit_take(&start->board->inherited, &error) != 0)
        worker_unable(start, &error);
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* after that: to change the user clears it */
    if (getppid() != helper)          /* it died before the line above */
        _exit(1);
    descriptors_close_own(start->life_fd, start->event_fd);
    if (!start->board->keep_descriptors)
        close_other_descriptors(start->life_fd, start->event_fd,
                                spawn || start->board->nesting > 0);
    if (!spawn)
        worker_main(start);
    if (worker_start_to_environment(start) == 0)
        execl("/proc/self/exe", program_invocation_name, (char *)NULL);
    error_set_errno(&error, "a worker cannot execute /proc/self/exe");
    worker_unable(start, &error);
}

static void report(unsigned connection, const struct helper_report *report)
{
    for (size_t i = 0; i < connection_count; i++)
        if (connections[i].number == connection)
            while (send(connections[i].socket, report, sizeof *report, MSG_NOSIGNAL) < 0 &&
                   errno == EINTR)
                ;
}

static int make_room_for_child(void)
{
    if (child_count < child_room)
        return 0;
    const size_t room = child_room ? 2 * child_room : 16;
    struct child *more = realloc(children, room * sizeof *children);
    if (!more)
        return -1;
    children = more;
    child_room = room;
    return 0;
}

static void serve_start(unsigned connection, const struct request *request)
{
    const struct worker_start *start = &request->start;
    const pid_t helper = getpid();
    struct helper_report started = {.slot = start->slot, .id = start->id};
    if (start->life_fd < 0 || start->event_fd < 0) { /* they did not arrive */
        started.error_number = EMFILE;
    } else if (make_room_for_child() != 0) {
        started.error_number = ENOMEM;
    } else {
        started.pid = fork();
        if (started.pid == 0)
            become_worker(start, request->kind == REQUEST_SPAWN, helper);
        if (started.pid < 0)
            started.error_number = errno;
        else
            children[child_count++] = (struct child){
                .pid = started.pid, .connection = connection, .slot = start->slot, .id = start->id};
    }
    report(connection, &started);
}

/* slot -1: all of the connection */
static void serve_signal(unsigned connection, int slot, int number)
{
    for (size_t i = 0; i < child_count; i++)
        if (children[i].connection == connection && (slot < 0 || children[i].slot == slot))
            kill(children[i].pid, number); /* not yet reaped, so the pid is still its own */
}

static int add_connection(int socket)
{
    static unsigned last_number;
    const size_t count = connection_count + 1;
    struct connection *more = realloc(connections, count * sizeof *connections);
    if (!more)
        return -1;
    connections = more;
    struct pollfd *more_waiting = realloc(waiting, (FIRST_CONNECTION + count) * sizeof *waiting);
    if (!more_waiting)
        return -1;
    waiting = more_waiting;
    descriptors_own(socket);
    connections[connection_count] = (struct connection){socket, ++last_number};
    waiting[FIRST_CONNECTION + connection_count] = (struct pollfd){.fd = socket, .events = POLLIN};
    connection_count = count;
    return 0;
}

/* The pool is gone, and its workers shall be. */
static void drop_connection(size_t i)
{
    serve_signal(connections[i].number, -1, SIGKILL);
    descriptors_close(connections[i].socket);
    connections[i] = connections[--connection_count];
    waiting[FIRST_CONNECTION + i] = waiting[FIRST_CONNECTION + connection_count];
}

/* One request with its descriptors, those that did not arrive as -1. False: hung up. */
static bool receive_request(int socket, struct request *request, int descriptors[MOST_DESCRIPTORS])
{
    union {
        char buffer[CMSG_SPACE(MOST_DESCRIPTORS * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec part = {.iov_base = request, .iov_len = sizeof *request};
    struct msghdr message = {.msg_iov = &part,
                             .msg_iovlen = 1,
                             .msg_control = control.buffer,
                             .msg_controllen = sizeof control.buffer};
    ssize_t got;
    do
        got = recvmsg(socket, &message, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    for (int i = 0; i < MOST_DESCRIPTORS; i++)
        descriptors[i] = -1;
    if (got != (ssize_t)sizeof *request)
        return false;
    const struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (header && header->cmsg_len <= CMSG_LEN(MOST_DESCRIPTORS * sizeof(int)))
        memcpy(descriptors, CMSG_DATA(header), header->cmsg_len - CMSG_LEN(0));
    return true;
}

/* False when who is at the other end has hung up. */
static bool serve_request(const struct connection *connection)
{
    struct request request;
    int descriptors[MOST_DESCRIPTORS];
    if (!receive_request(connection->socket, &request, descriptors))
        return false;
    switch (request.kind) {
    case REQUEST_SIGNAL:
        serve_signal(connection->number, request.start.slot, request.signal);
        break;
    case REQUEST_CONNECT:
        /* Where it did not arrive it is closed already, and who waits at its other end sees it. */
        if (descriptors[0] >= 0 && add_connection(descriptors[0]) == 0)
            return true;
        break;
    case REQUEST_FORK:
    case REQUEST_SPAWN:
        request.start.life_fd = descriptors[0];
        request.start.event_fd = descriptors[1];
        serve_start(connection->number, &request);
        break;
    }
    for (int i = 0; i < MOST_DESCRIPTORS; i++)
        if (descriptors[i] >= 0)
            close(descriptors[i]);
    return true;
}

static void reap(void)
{
    struct rusage usage;
    int status;
    pid_t pid;
    while ((pid = wait4(-1, &status, WNOHANG, &usage)) > 0) {
        for (size_t i = 0; i < child_count; i++) {
            if (children[i].pid != pid)
                continue;
            const unsigned connection = children[i].connection;
            const struct helper_report death = {
                .died = true,
                .slot = children[i].slot,
                .id = children[i].id,
                .pid = pid,
                .status = status,
                .cpu_seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                               1e-6 * (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec)};
            children[i] = children[--child_count];
            report(connection, &death);
            break;
        }
    }
}

/* poll refuses more descriptors than the limit, which somebody must have lowered below what is open
 * already. */
static bool allow_descriptors(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    return limit.rlim_max >= FIRST_CONNECTION + connection_count &&
           setrlimit(RLIMIT_NOFILE, &limit) == 0;
}

/* Until the program hangs up, or ends. */
static void serve(void)
{
    for (;;) {
        if (poll(waiting, FIRST_CONNECTION + connection_count, -1) < 0) {
            if (errno == EINVAL && !allow_descriptors())
                return;
            continue;
        }
        if (waiting[0].revents) {
            struct signalfd_siginfo ignored;
            while (read(waiting[0].fd, &ignored, sizeof ignored) > 0)
                ;
            reap();
        }
        if (waiting[1].revents)
            return;
        for (size_t i = connection_count; i-- > 0;) {
            if (!waiting[FIRST_CONNECTION + i].revents || serve_request(&connections[i]))
                continue;
            if (i == 0)
                return;
            drop_connection(i);
        }
    }
}

static void forget_lists(void)
{
    children = NULL; /* a worker that has pools is itself a child of a helper, and has its lists */
    connections = NULL;
    waiting = NULL;
    child_count = child_room = connection_count = 0;
}

_Noreturn static void helper_main(int socket, bool keep_descriptors, pid_t program)
{
    sigset_t child_ended;
    const struct helper_report greeting = {.pid = getpid()};
    descriptors_close_own(socket, socket);
    if (!keep_descriptors) {
        close_other_descriptors(socket, socket, true);
        inherit_remember();
    }
    ignore_signals();
    sigemptyset(&child_ended);
    sigaddset(&child_ended, SIGCHLD);
    sigprocmask(SIG_SETMASK, &child_ended, NULL); /* all signals were blocked until here */
    prctl(PR_SET_NAME, NAME);
    resources_unbind();

    forget_lists();
    const int deaths = signalfd(-1, &child_ended, SFD_CLOEXEC | SFD_NONBLOCK);
    const int end = pidfd_open(program, 0);
    const bool program_ended = end < 0 && errno == ESRCH;
    if (deaths < 0 || add_connection(socket) != 0)
        _exit(1);
    descriptors_own(deaths);
    descriptors_own(end);
    waiting[0] = (struct pollfd){.fd = deaths, .events = POLLIN};
    waiting[1] = (struct pollfd){.fd = end, .events = POLLIN};
    if (!program_ended && send(socket, &greeting, sizeof greeting, MSG_NOSIGNAL) > 0)
        serve();
    for (size_t i = 0; i < child_count; i++)
        kill(children[i].pid, SIGKILL);
    connection_count = 0; /* nobody is told */
    while (child_count > 0 && waitid(P_ALL, 0, NULL, WEXITED | WNOWAIT) == 0)
        reap();
    _exit(0);
}

/* ---- The program's side: start and end ------------------------------------------------------ */

/* The process between the program and its helper, which ends at once. Its status is an errno. */
_Noreturn static void fork_helper(const int pair[2], bool keep_descriptors, pid_t program)
{
    close(pair[0]);
    const pid_t helper = fork();
    if (helper == 0)
        helper_main(pair[1], keep_descriptors, program);
    _exit(helper < 0 ? errno : 0);
}

/* What the program has for its own children, or who reaps all, may be first to hear of the end. */
static int status_of(pid_t child)
{
    int status = 0;
    pid_t got;
    do
        got = waitpid(child, &status, 0);
    while (got < 0 && errno == EINTR);
    return got == child && WIFEXITED(status) ? WEXITSTATUS(status) : 0;
}

static pid_t hear_greeting(int socket)
{
    struct helper_report greeting;
    ssize_t got;
    do
        got = recv(socket, &greeting, sizeof greeting, 0);
    while (got < 0 && errno == EINTR);
    return got == (ssize_t)sizeof greeting ? greeting.pid : -1;
}

pid_t helper_start(int *connection, bool keep_descriptors, struct error *error)
{
    int pair[2];
    sigset_t all, before;
    const pid_t program = getpid();
    fflush(stdout); /* or a worker would write again what this process has buffered */
    descriptors_lock();
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0) {
        descriptors_unlock();
        return error_set_errno(error, "cannot create the helper's socket");
    }
    descriptors_own(pair[0]);
    descriptors_own(pair[1]);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all,
                    &before); /* the child is not to run the program's handlers */
    const pid_t between = fork();
    if (between == 0)
        fork_helper(pair, keep_descriptors, program);
    int failed = between < 0 ? errno : 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    descriptors_unlock();
    descriptors_close(pair[1]);
    if (between > 0)
        failed = status_of(between);
    const pid_t helper = between > 0 && failed == 0 ? hear_greeting(pair[0]) : -1;
    if (helper > 0) {
        *connection = pair[0];
        return helper;
    }
    descriptors_close(pair[0]);
    errno = failed ? failed : EAGAIN;
    return error_set_errno(error, "cannot fork the helper process");
}

/* If nobody else is there to do it: where this process is the one that orphans come to. */
static void reap_orphan(pid_t pid)
{
    siginfo_t info;
    info.si_pid = 0;
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == pid)
        status_of(pid);
}

/* The pid of one that has ended may be another process's by now. */
bool helper_kill(pid_t helper)
{
    char path[64], name[32] = "";
    snprintf(path, sizeof path, "/proc/%d/comm", (int)helper);
    FILE *file = fopen(path, "re");
    const bool is_one = file && fgets(name, sizeof name, file) && strcmp(name, NAME "\n") == 0;
    if (file)
        fclose(file);
    return is_one && kill(helper, SIGKILL) == 0;
}

/* It closes its end when it has ended. */
void helper_stop(pid_t *helper, int *connection)
{
    struct pollfd end = {.fd = *connection};
    const double deadline = now() + PATIENCE;
    if (*connection >= 0)
        shutdown(*connection, SHUT_WR); /* for whoever else has a copy of it, too */
    while (*connection >= 0 && !(end.revents & POLLHUP) && now() < deadline)
        poll(&end, 1, (int)(1e3 * PATIENCE)); /* again after a signal */
    if (*connection >= 0 && !(end.revents & POLLHUP) && helper_kill(*helper))
        poll(&end, 1, (int)(1e3 * PATIENCE));
    descriptors_close(*connection);
    if (*helper > 0)
        reap_orphan(*helper);
    *connection = -1;
    *helper = 0;
}

/* ---- The program's side: requests ----------------------------------------------------------- */

/* 1: sent; 0: not now, see helper_start_worker; -1: the helper is gone. */
static int send_request(int socket, const struct request *request, const int *descriptors,
                        int flags)
{
    const size_t bytes = (size_t)descriptors_of(request->kind) * sizeof *descriptors;
    union {
        char buffer[CMSG_SPACE(MOST_DESCRIPTORS * sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct iovec part = {.iov_base = (void *)(uintptr_t)request, .iov_len = sizeof *request};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (bytes > 0) {
        message.msg_control = control.buffer;
        message.msg_controllen = CMSG_SPACE(bytes);
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(bytes);
        memcpy(CMSG_DATA(header), descriptors, bytes);
    }
    ssize_t sent;
    do
        sent = sendmsg(socket, &message, MSG_NOSIGNAL | flags);
    while (sent < 0 && errno == EINTR);
    if (sent == (ssize_t)sizeof *request)
        return 1;
    /* ETOOMANYREFS: too many descriptors are under way, until the helper has taken some. */
    return sent < 0 && (errno == EAGAIN || errno == ETOOMANYREFS) ? 0 : -1;
}

int helper_connect(int first, struct error *error)
{
    const struct request request = {.kind = REQUEST_CONNECT};
    int pair[2], sent;
    descriptors_lock();
    const int status = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair);
    if (status == 0) {
        descriptors_own(pair[0]);
        descriptors_own(pair[1]);
    }
    descriptors_unlock();
    if (status != 0)
        return error_set_errno(error, "cannot create the pool's socket");
    while ((sent = send_request(first, &request, &pair[1], 0)) == 0)
        poll(NULL, 0, 1);
    descriptors_close(pair[1]);
    if (sent == 1)
        return pair[0];
    descriptors_close(pair[0]);
    return error_set(error, ERROR_BROKEN, "the pool's helper process is gone");
}

int helper_start_worker(int socket, const struct worker_start *start, bool spawn)
{
    const struct request request = {.kind = spawn ? REQUEST_SPAWN : REQUEST_FORK, .start = *start};
    const int descriptors[] = {start->life_fd, start->event_fd};
    return send_request(socket, &request, descriptors, MSG_DONTWAIT);
}

int helper_signal(int socket, int slot, int number)
{
    const struct request request = {
        .kind = REQUEST_SIGNAL, .start = {.slot = slot}, .signal = number};
    return send_request(socket, &request, NULL, MSG_DONTWAIT);
}

int helper_receive(int socket, struct helper_report *report)
{
    ssize_t got;
    do
        got = recv(socket, report, sizeof *report, MSG_DONTWAIT);
    while (got < 0 && errno == EINTR);
    if (got == (ssize_t)sizeof *report)
        return 1;
    return got < 0 && errno == EAGAIN ? 0 : -1;
}
