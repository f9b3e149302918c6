/* inherit.c - see inherit.h.
 *
 * The order matters: what only root may do comes first, then the user, whose change takes all that
 * is left of root's rights. Rights are only ever given up here. If that fails, the worker must not
 * be: it would do the program's tasks with rights that the program has given up on purpose. */
#include "common/parallel/inherit.h"
#include "common/parallel/resources.h"
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* ---- In the program -------------------------------------------------------------------------- */

static void note_signals(struct inherited *inherited)
{
    struct sigaction action;
    sigemptyset(&inherited->ignored);
    sigemptyset(&inherited->handled);
    for (int number = 1; number < NSIG; number++) {
        if (sigaction(number, NULL, &action) != 0)
            continue;
        if (action.sa_handler == SIG_IGN)
            sigaddset(&inherited->ignored, number);
        else if (action.sa_handler != SIG_DFL)
            sigaddset(&inherited->handled, number);
    }
}

/* What /proc/self/status says of these; what it does not say stays as it is. It is long, so it is
 * read once. */
static void read_status(unsigned *mask, bool *mask_known, int *seccomp, int *filters)
{
    char line[256];
    FILE *file = fopen("/proc/self/status", "re");
    while (file && fgets(line, sizeof line, file)) {
        *mask_known = sscanf(line, "Umask: %o", mask) == 1 || *mask_known;
        sscanf(line, "Seccomp: %d", seccomp);
        sscanf(line, "Seccomp_filters: %d", filters);
    }
    if (file)
        fclose(file);
}

static int get_capabilities(uint64_t sets[3])
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    if (syscall(SYS_capget, &header, data) != 0)
        return -1;
    sets[0] = data[0].effective | (uint64_t)data[1].effective << 32;
    sets[1] = data[0].permitted | (uint64_t)data[1].permitted << 32;
    sets[2] = data[0].inheritable | (uint64_t)data[1].inheritable << 32;
    return 0;
}

static void note_rights(struct inherited *inherited)
{
    struct stat root;
    getresuid(&inherited->uids[0], &inherited->uids[1], &inherited->uids[2]);
    getresgid(&inherited->gids[0], &inherited->gids[1], &inherited->gids[2]);
    inherited->group_count = getgroups(MOST_GROUPS, inherited->groups);
    if (get_capabilities(inherited->capabilities) != 0)
        memset(inherited->capabilities, 0xff, sizeof inherited->capabilities);
    inherited->no_new_privileges = prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1;
    if (stat("/", &root) == 0) {
        inherited->root_device = root.st_dev;
        inherited->root_inode = root.st_ino;
    }
}

static void note_processors(struct inherited *inherited)
{
    size_t size;
    cpu_set_t *processors = resources_processors(&size);
    inherited->processors_size = 0;
    if (processors) {
        inherited->processors_size =
            size < sizeof inherited->processors ? size : sizeof inherited->processors;
        memcpy(inherited->processors, processors, inherited->processors_size);
        CPU_FREE(processors);
    }
}

void inherit_note(struct inherited *inherited)
{
    unsigned mask = 0;
    bool mask_known = false;
    note_signals(inherited);
    note_rights(inherited);
    note_processors(inherited);
    for (int i = 0; i < RLIM_NLIMITS; i++)
        getrlimit((__rlimit_resource_t)i, &inherited->limits[i]);
    inherited->nice = getpriority(PRIO_PROCESS, 0);
    inherited->seccomp = inherited->filters = 0;
    /* The mask, too, since umask() would change it for a moment, for all threads. */
    read_status(&mask, &mask_known, &inherited->seccomp, &inherited->filters);
    inherited->umask = mask_known ? (mode_t)mask : NO_UMASK;
}

/* ---- In a helper, for its workers ---------------------------------------------------------------
 */

static bool confinement_known;
static int own_seccomp, own_filters;

void inherit_remember(void)
{
    unsigned mask;
    bool mask_known = false;
    own_seccomp = own_filters = 0;
    read_status(&mask, &mask_known, &own_seccomp, &own_filters);
    confinement_known = true;
}

/* ---- In a worker ----------------------------------------------------------------------------- */

/* Ctrl-C and a terminal's end go to every process of the group: the program decides what becomes of
 * its workers, so they hear nothing of it. A worker is stopped by Ctrl-Z with its program, unless
 * that handles it. */
static void take_signals(const struct inherited *inherited)
{
    static const int of_terminal[] = {SIGINT, SIGQUIT, SIGHUP};
    sigset_t blocked;
    sigemptyset(&blocked);
    for (size_t i = 0; i < sizeof of_terminal / sizeof *of_terminal; i++)
        sigaddset(&blocked, of_terminal[i]);
    if (sigismember(&inherited->handled, SIGTSTP) == 1)
        sigaddset(&blocked, SIGTSTP);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    for (int number = 1; number < NSIG; number++) {
        const bool ignored = sigismember(&inherited->ignored, number) == 1;
        if (ignored || number <= SIGSYS) /* those above have the default in the helper, too */
            signal(number, ignored ? SIG_IGN : SIG_DFL);
    }
}

static void take_limits(const struct inherited *inherited)
{
    for (int i = 0; i < RLIM_NLIMITS; i++)
        setrlimit((__rlimit_resource_t)i, &inherited->limits[i]);
    setpriority(PRIO_PROCESS, 0, inherited->nice);
    if (inherited->umask != NO_UMASK)
        umask(inherited->umask);
    if (inherited->processors_size > 0)
        sched_setaffinity(0, inherited->processors_size, (const cpu_set_t *)inherited->processors);
}

static bool same_groups(const struct inherited *inherited)
{
    gid_t groups[MOST_GROUPS];
    const int count = getgroups(MOST_GROUPS, groups);
    return count == inherited->group_count &&
           (count <= 0 || memcmp(groups, inherited->groups, (size_t)count * sizeof *groups) == 0);
}

static int take_user(const struct inherited *inherited, struct error *error)
{
    const uid_t *uids = inherited->uids;
    const gid_t *gids = inherited->gids;
    uid_t own_uids[3];
    gid_t own_gids[3];
    getresuid(&own_uids[0], &own_uids[1], &own_uids[2]);
    getresgid(&own_gids[0], &own_gids[1], &own_gids[2]);
    if (!same_groups(inherited) &&
        (inherited->group_count < 0 ||
         setgroups((size_t)inherited->group_count, inherited->groups) != 0))
        return error_set_errno(error, "cannot take over the program's groups");
    if (memcmp(own_gids, gids, sizeof own_gids) != 0 && setresgid(gids[0], gids[1], gids[2]) != 0)
        return error_set_errno(error, "cannot take over the program's group %d", (int)gids[1]);
    if (memcmp(own_uids, uids, sizeof own_uids) != 0 && setresuid(uids[0], uids[1], uids[2]) != 0)
        return error_set_errno(error, "cannot take over the program's user %d", (int)uids[1]);
    return 0;
}

/* Those that the program has, if this process has them, and no others. */
static int take_capabilities(const struct inherited *inherited, struct error *error)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2];
    uint64_t own[3], kept[3];
    if (get_capabilities(own) != 0)
        return error_set_errno(error, "cannot tell what this process may do");
    for (int i = 0; i < 3; i++)
        kept[i] = own[i] & inherited->capabilities[i];
    if (memcmp(kept, own, sizeof kept) == 0)
        return 0;
    for (int half = 0; half < 2; half++)
        data[half] =
            (struct __user_cap_data_struct){.effective = (uint32_t)(kept[0] >> 32 * half),
                                            .permitted = (uint32_t)(kept[1] >> 32 * half),
                                            .inheritable = (uint32_t)(kept[2] >> 32 * half)};
    if (syscall(SYS_capset, &header, data) != 0)
        return error_set_errno(error, "cannot give up what the program has given up");
    return 0;
}

int inherit_take(const struct inherited *inherited, struct error *error)
{
    struct stat root;
    take_limits(inherited);
    if (take_user(inherited, error) != 0 || take_capabilities(inherited, error) != 0)
        return -1;
    if (inherited->no_new_privileges && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return error_set_errno(error, "cannot give up what the program has given up");
    if (confinement_known &&
        (own_seccomp != inherited->seccomp || own_filters != inherited->filters))
        return error_set(error, ERROR_SYSTEM,
                         "the program has confined itself (seccomp) since pool_startup");
    if (stat("/", &root) == 0 &&
        (root.st_dev != inherited->root_device || root.st_ino != inherited->root_inode))
        return error_set(error, ERROR_SYSTEM,
                         "the program has another root directory than at pool_startup");
    take_signals(inherited);
    return 0;
}
