/*
 * Programs started. What is started is written down first, so that the reader
 * can tell a program that never opened a log (static, setuid, or started
 * without the preload) from one that was never started.
 *
 * These may run in the child of vfork: no allocation, and nothing changes but
 * the stack and the log.
 */
#include "recorder.h"

#include <spawn.h>

extern char **environ;

/* An environment with more entries than this is passed on as it is. */
#define MAX_VARIABLES 8192
/* Room for the values of both variables. */
#define REPAIR_BYTES (4 * PATH_MAX)

/* Whether an entry assigns `name`, and what. */
static const char *assigned(const char *entry, const char *name, size_t length)
{
    return strncmp(entry, name, length) == 0 && entry[length] == '=' ? entry + length + 1 : NULL;
}

static bool lists_library(const char *libraries, const char *library)
{
    size_t length = strlen(library);
    while (*libraries) {
        size_t next = strcspn(libraries, ": ");
        if (next == length && strncmp(libraries, library, length) == 0) {
            return true;
        }
        libraries += next;
        libraries += strspn(libraries, ": ");
    }
    return false;
}

struct carried {
    size_t count;         /* entries of the environment */
    const char *libraries; /* value of the preload variable, if any */
    bool whole;           /* both variables are as this library needs them */
};

static struct carried look(char *const *environment)
{
    struct carried found = {0, NULL, false};
    bool folder = false;
    for (; environment && environment[found.count]; found.count++) {
        const char *entry = environment[found.count];
        const char *value = assigned(entry, PRELOAD_VARIABLE, strlen(PRELOAD_VARIABLE));
        if (value && !found.libraries) {
            found.libraries = value;
        }
        value = assigned(entry, FOLDER_VARIABLE, strlen(FOLDER_VARIABLE));
        folder = folder || (value && strcmp(value, own_folder()) == 0);
    }
    found.whole = folder && found.libraries && lists_library(found.libraries, own_preload());
    return found;
}

static char *join(char *to, const char *first, const char *second)
{
    size_t length = strlen(first);
    memcpy(to, first, length);
    memcpy(to + length, second, strlen(second) + 1);
    return to + length + strlen(second);
}

/* Writes the environment with both variables put back to `to`, which has room
   for two more entries and the end; `text` holds the new ones. */
static void repair(char *const *environment, const struct carried *found, char **to, char *text)
{
    size_t preload_length = strlen(PRELOAD_VARIABLE), folder_length = strlen(FOLDER_VARIABLE);
    for (size_t i = 0; i < found->count; i++) {
        if (!assigned(environment[i], PRELOAD_VARIABLE, preload_length) &&
            !assigned(environment[i], FOLDER_VARIABLE, folder_length)) {
            *to++ = environment[i];
        }
    }
    *to++ = text;
    text = join(text, FOLDER_VARIABLE "=", own_folder()) + 1;
    *to++ = text;
    text = join(text, PRELOAD_VARIABLE "=", own_preload());
    if (found->libraries && *found->libraries) {
        join(text, ":", found->libraries);
    }
    *to = NULL;
}

/*
 * REPAIRED(result, environment) declares `result`: `environment`, or a copy on
 * this function's stack that carries the recorder.
 */
#define REPAIRED(result, environment)                                             \
    struct carried carried = recording() ? look(environment) : (struct carried){0, NULL, true}; \
    bool repairs = !carried.whole && carried.count <= MAX_VARIABLES &&            \
                   (!carried.libraries || strlen(carried.libraries) < PATH_MAX);  \
    char *entries[repairs ? carried.count + 3 : 1];                               \
    char text[repairs ? REPAIR_BYTES : 1];                                        \
    char *const *result = environment;                                            \
    if (repairs) {                                                                \
        repair(environment, &carried, entries, text);                             \
        result = entries;                                                         \
    }

/* One candidate of a search along PATH; true when it is the one. */
static bool probe(const void *caller, const char *folder, size_t length, const char *file)
{
    char path[PATH_MAX];
    size_t file_length = strlen(file);
    if (length + file_length + 2 > sizeof path) {
        return false;
    }
    memcpy(path, folder, length);
    if (length) {
        path[length++] = '/';
    }
    memcpy(path + length, file, file_length + 1);
    if (os_may(path, X_OK)) {
        record_path(OP_READ, caller, AT_FDCWD, path, 0);
        return true;
    }
    record_path(OP_STAT, caller, AT_FDCWD, path, errno);
    return false;
}

/* The program itself is an input, and where it was looked for in vain. */
static void note_program(const void *caller, const char *file, bool search)
{
    if (!file || !recording()) {
        return;
    }
    int saved = errno;
    if (!search || strchr(file, '/')) {
        record_path(OP_READ, caller, AT_FDCWD, file, os_may(file, F_OK) ? 0 : errno);
    } else {
        const char *path = getenv("PATH");
        record_text(OP_GETENV, caller, "PATH", path != NULL);
        for (path = path ? path : "/bin:/usr/bin";; path++) {
            size_t length = strcspn(path, ":");
            if (probe(caller, path, length, file)) {
                break;
            }
            path += length;
            if (!*path) {
                break;
            }
        }
    }
    errno = saved;
}

enum how { BY_PATH, BY_SEARCH };

static int execute(const void *caller, enum how how, const char *file, char *const *arguments,
                   char *const *environment);

#ifdef __linux__

HOOK(int, execve, (const char *path, char *const arguments[], char *const environment[]))
{
    return execute(CALLER, BY_PATH, path, arguments, environment);
}

HOOK(int, execvpe, (const char *file, char *const arguments[], char *const environment[]))
{
    return execute(CALLER, BY_SEARCH, file, arguments, environment);
}

HOOK(int, fexecve, (int fd, char *const arguments[], char *const environment[]))
{
    REPAIRED(repaired, environment)
    record_descriptor(OP_READ, CALLER, fd);
    record_process(OP_EXEC, CALLER, "a descriptor", (uint32_t)getpid());
    int result = REAL(fexecve)(fd, arguments, repaired);
    record_process(OP_EXEC_FAILED, CALLER, "a descriptor", (uint32_t)getpid());
    return result;
}

#if __GLIBC_PREREQ(2, 34)
HOOK(int, execveat, (int fd, const char *path, char *const arguments[],
                     char *const environment[], int flags))
{
    REPAIRED(repaired, environment)
    record_path(OP_READ, CALLER, fd, path, 0);
    record_process(OP_EXEC, CALLER, path, (uint32_t)getpid());
    int result = REAL(execveat)(fd, path, arguments, repaired, flags);
    record_process(OP_EXEC_FAILED, CALLER, path, (uint32_t)getpid());
    return result;
}
#endif

static int execute(const void *caller, enum how how, const char *file, char *const *arguments,
                   char *const *environment)
{
    REPAIRED(repaired, environment)
    note_program(caller, file, how == BY_SEARCH);
    record_process(OP_EXEC, caller, file, (uint32_t)getpid());
    int result = how == BY_SEARCH ? REAL(execvpe)(file, arguments, repaired)
                                  : REAL(execve)(file, arguments, repaired);
    record_process(OP_EXEC_FAILED, caller, file, (uint32_t)getpid());
    return result;
}

#else

static int execute(const void *caller, enum how how, const char *file, char *const *arguments,
                   char *const *environment)
{
    REPAIRED(repaired, environment)
    note_program(caller, file, how == BY_SEARCH);
    record_process(OP_EXEC, caller, file, (uint32_t)getpid());
    char **own = environ;
    environ = (char **)repaired;
    int result = how == BY_SEARCH ? execvp(file, arguments) : execv(file, arguments);
    environ = own;
    record_process(OP_EXEC_FAILED, caller, file, (uint32_t)getpid());
    return result;
}

HOOK(int, execve, (const char *path, char *const arguments[], char *const environment[]))
{
    return execute(CALLER, BY_PATH, path, arguments, environment);
}

#endif

HOOK(int, execv, (const char *path, char *const arguments[]))
{
    return execute(CALLER, BY_PATH, path, arguments, environ);
}

HOOK(int, execvp, (const char *file, char *const arguments[]))
{
    return execute(CALLER, BY_SEARCH, file, arguments, environ);
}

/* Turns the variadic arguments into an array on the stack; `last` ends up past
   the null pointer, where execle has its environment. */
#define COLLECT(first, rest, list)                                                \
    va_list rest;                                                                 \
    size_t count = 1;                                                             \
    va_start(rest, first);                                                        \
    while (va_arg(rest, char *)) {                                                \
        count++;                                                                  \
    }                                                                             \
    va_end(rest);                                                                 \
    char *list[count + 1];                                                        \
    list[0] = (char *)(uintptr_t)first;                                           \
    va_start(rest, first);                                                        \
    for (size_t i = 1; i <= count; i++) {                                         \
        list[i] = va_arg(rest, char *);                                           \
    }

HOOK(int, execl, (const char *path, const char *first, ...))
{
    COLLECT(first, rest, list)
    va_end(rest);
    return execute(CALLER, BY_PATH, path, list, environ);
}

HOOK(int, execlp, (const char *file, const char *first, ...))
{
    COLLECT(first, rest, list)
    va_end(rest);
    return execute(CALLER, BY_SEARCH, file, list, environ);
}

HOOK(int, execle, (const char *path, const char *first, ...))
{
    COLLECT(first, rest, list)
    char *const *environment = va_arg(rest, char *const *);
    va_end(rest);
    return execute(CALLER, BY_PATH, path, list, environment);
}

#define HOOK_SPAWN(name, search)                                                  \
    HOOK(int, name, (pid_t *pid, const char *file,                                \
                     const posix_spawn_file_actions_t *actions,                   \
                     const posix_spawnattr_t *attributes, char *const arguments[], \
                     char *const environment[]))                                  \
    {                                                                             \
        REPAIRED(repaired, environment)                                           \
        pid_t started = 0;                                                        \
        note_program(CALLER, file, search);                                       \
        int error = REAL(name)(&started, file, actions, attributes, arguments, repaired); \
        if (error == 0) {                                                         \
            record_process(OP_SPAWN, CALLER, file, (uint32_t)started);            \
            if (pid) {                                                            \
                *pid = started;                                                   \
            }                                                                     \
        }                                                                         \
        return error;                                                             \
    }
HOOK_SPAWN(posix_spawn, false)
HOOK_SPAWN(posix_spawnp, true)

/* Opened in the child, out of sight. */
HOOK(int, posix_spawn_file_actions_addopen,
     (posix_spawn_file_actions_t *actions, int fd, const char *path, int flags, mode_t mode))
{
    record_path(flags & O_ACCMODE ? OP_WRITE : OP_READ, CALLER, AT_FDCWD, path,
                os_may(path, F_OK) ? 0 : flags & O_CREAT ? 0 : ENOENT);
    return REAL(posix_spawn_file_actions_addopen)(actions, fd, path, flags, mode);
}

#ifdef __GLIBC_PREREQ
#if __GLIBC_PREREQ(2, 39)
#define HOOK_PIDFD_SPAWN(name, search)                                            \
    HOOK(int, name, (int *pidfd, const char *file,                                \
                     const posix_spawn_file_actions_t *actions,                   \
                     const posix_spawnattr_t *attributes, char *const arguments[], \
                     char *const environment[]))                                  \
    {                                                                             \
        REPAIRED(repaired, environment)                                           \
        note_program(CALLER, file, search);                                       \
        int error = REAL(name)(pidfd, file, actions, attributes, arguments, repaired); \
        pid_t started = error ? 0 : pidfd_getpid(*pidfd);                         \
        if (started > 0) {                                                        \
            record_process(OP_SPAWN, CALLER, file, (uint32_t)started);            \
        }                                                                         \
        return error;                                                             \
    }
#include <sys/pidfd.h>
HOOK_PIDFD_SPAWN(pidfd_spawn, false)
HOOK_PIDFD_SPAWN(pidfd_spawnp, true)
#endif
#endif

HOOK(int, system, (const char *command))
{
    if (command) {
        record_process(OP_SHELL, CALLER, "/bin/sh", (uint32_t)getpid());
    }
    return REAL(system)(command);
}

HOOK(FILE *, popen, (const char *command, const char *mode))
{
    record_process(OP_SHELL, CALLER, "/bin/sh", (uint32_t)getpid());
    return REAL(popen)(command, mode);
}
