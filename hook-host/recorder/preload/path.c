/* Turning what a hook was given into an event. All of these keep errno. */
#include "recorder.h"

static enum outcome outcome_of(int error)
{
    return error == 0 ? FOUND : error == ENOENT || error == ENOTDIR ? ABSENT : FAILED;
}

void record_unobservable(const void *caller, const char *what)
{
    int saved = errno;
    if (recording()) {
        struct piece piece = {what, strlen(what)};
        log_event(OP_UNOBSERVABLE, FAILED, module_of(caller), 0, &piece, 1);
    }
    errno = saved;
}

/* Apart, so that only relative paths pay for the buffer. */
__attribute__((noinline)) static void log_relative(enum op op, const void *caller, int dirfd,
                                                   const char *path, size_t length, int error)
{
    char base[PATH_MAX];
    size_t base_length = dirfd == AT_FDCWD ? os_cwd(base, sizeof base)
                                           : os_descriptor_path(dirfd, base, sizeof base);
    if (base_length == 0) {
        record_unobservable(caller, "a path relative to a folder without a name");
        return;
    }
    size_t slash = length > 0 && base[base_length - 1] != '/';
    struct piece pieces[] = {{base, base_length}, {"/", slash}, {path, length}};
    log_event(op, outcome_of(error), module_of(caller), (uint32_t)error, pieces, 3);
}

/* `error` is 0 or the errno of the call that looked at `path`. */
void record_path(enum op op, const void *caller, int dirfd, const char *path, int error)
{
    /* An empty path names the descriptor itself, or nothing. */
    if (!path || error == EFAULT || error == EBADF || !recording() || path[0] == 0) {
        return;
    }
    int saved = errno;
    size_t length = strnlen(path, PATH_MAX);
    if (length == PATH_MAX) {
        record_unobservable(caller, "a path longer than the system allows");
    } else if (path[0] == '/') {
        struct piece piece = {path, length};
        log_event(op, outcome_of(error), module_of(caller), (uint32_t)error, &piece, 1);
    } else {
        log_relative(op, caller, dirfd, path, length, error);
    }
    errno = saved;
}

/* The path that an open descriptor, or with AT_FDCWD the working folder, has now. */
void record_descriptor(enum op op, const void *caller, int fd)
{
    if (recording()) {
        int saved = errno;
        log_relative(op, caller, fd, "", 0, 0);
        errno = saved;
    }
}

/* A folder about to become the working folder. */
void note_chdir(const void *caller, const char *path)
{
    int saved = errno;
    if (path && recording()) {
        record_path(OP_RESOLVE, caller, AT_FDCWD, path, os_may(path, F_OK) ? 0 : errno);
    }
    errno = saved;
}

static void log_text(enum op op, const void *caller, const char *text, size_t length, bool found)
{
    int saved = errno;
    struct piece piece = {text, length};
    log_event(op, found ? FOUND : ABSENT, module_of(caller), 0, &piece, 1);
    errno = saved;
}

void record_text(enum op op, const void *caller, const char *text, bool found)
{
    if (text && recording()) {
        log_text(op, caller, text, strlen(text), found);
    }
}

/* The argument of putenv: an assignment, or the name of a variable to unset. */
void record_assignment(const void *caller, const char *assignment)
{
    if (assignment && recording()) {
        size_t length = strcspn(assignment, "=");
        log_text(OP_SETENV, caller, assignment, length, assignment[length] == '=');
    }
}

void record_process(enum op op, const void *caller, const char *path, uint32_t pid)
{
    if (path && recording()) {
        int saved = errno;
        struct piece piece = {path, strnlen(path, PATH_MAX)};
        log_event(op, FOUND, module_of(caller), pid, &piece, 1);
        errno = saved;
    }
}
