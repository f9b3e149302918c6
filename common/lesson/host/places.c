/* Where things are: the project's own files, and programs. */
#include "common/lesson/host/host.h"
#include "common/lesson/place.h" /* FORKJOIN_SOURCE, made by meson.build */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int source_path(const char *file, char path[PATH_MAX], struct error *error)
{
    char directory[PATH_MAX];
    const ssize_t length = readlink("/proc/self/exe", directory, sizeof directory - 1);
    directory[length > 0 ? length : 0] = '\0';
    for (char *slash; (slash = strrchr(directory, '/'));) {
        *slash = '\0';
        if (snprintf(path, PATH_MAX, "%s/%s", directory, file) < PATH_MAX &&
            access(path, R_OK) == 0)
            return 0;
    }
    if (snprintf(path, PATH_MAX, "%s/%s", FORKJOIN_SOURCE, file) < PATH_MAX &&
        access(path, R_OK) == 0)
        return 0;
    return error_set(error, ERROR_SYSTEM, "%s is neither above the program nor in %s", file,
                     FORKJOIN_SOURCE);
}

static bool is_program(const char *path)
{
    struct stat status;
    return stat(path, &status) == 0 && S_ISREG(status.st_mode) && access(path, X_OK) == 0;
}

char *find_program(const char *name)
{
    const char *path = getenv("PATH");
    char *found = NULL;
    if (strchr(name, '/'))
        return is_program(name) ? strdup(name) : NULL;
    for (path = path ? path : "/usr/local/bin:/usr/bin:/bin"; *name && path;) {
        const size_t length = strcspn(path, ":");
        if (asprintf(&found, "%.*s%s%s", (int)length, path, length ? "/" : "", name) < 0)
            return NULL;
        if (is_program(found))
            return found;
        free(found);
        path = path[length] ? path + length + 1 : NULL;
    }
    return NULL;
}
