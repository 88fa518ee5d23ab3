/* Variables, dynamic loading, what other processes say, and system calls by number. */
#include "recorder.h"

#include <sys/socket.h>
#ifdef __linux__
#include <sys/mman.h>
#include <sys/syscall.h>
#endif

#define HOOK_GETENV(symbol)                                                       \
    HOOK(char *, symbol, (const char *name))                                      \
    {                                                                             \
        char *value = REAL(symbol)(name);                                         \
        record_text(OP_GETENV, CALLER, name, value != NULL);                      \
        return value;                                                             \
    }
HOOK_GETENV(getenv)

HOOK(int, setenv, (const char *name, const char *value, int overwrite))
{
    record_text(OP_SETENV, CALLER, name, true);
    return REAL(setenv)(name, value, overwrite);
}

HOOK(int, unsetenv, (const char *name))
{
    record_text(OP_SETENV, CALLER, name, false);
    return REAL(unsetenv)(name);
}

HOOK(int, putenv, (char *assignment))
{
    record_assignment(CALLER, assignment);
    return REAL(putenv)(assignment);
}

/* A tail call: the loader searches by the run path of whoever calls it. */
HOOK(void *, dlopen, (const char *path, int mode))
{
    if (path && strchr(path, '/')) {
        int saved = errno;
        record_path(OP_DLOPEN, CALLER, AT_FDCWD, path, os_may(path, F_OK) ? 0 : ENOENT);
        errno = saved;
    } else if (path) {
        record_text(OP_DLOPEN, CALLER, path, true);
    }
    return REAL(dlopen)(path, mode);
}

/* Another object may be loaded where this one was. */
HOOK(int, dlclose, (void *handle))
{
    int failed = REAL(dlclose)(handle);
    if (!failed && recording() && in_first_process()) {
        int saved = errno;
        modules_refresh();
        errno = saved;
    }
    return failed;
}

HOOK(int, connect, (int fd, const struct sockaddr *address, socklen_t size))
{
    record_unobservable(CALLER, "a connection to another process");
    return REAL(connect)(fd, address, size);
}

#ifdef __linux__

HOOK_GETENV(secure_getenv)

HOOK(int, shm_open, (const char *name, int flags, mode_t mode))
{
    record_unobservable(CALLER, "memory shared under a name");
    return REAL(shm_open)(name, flags, mode);
}

HOOK(void *, dlmopen, (Lmid_t space, const char *path, int mode))
{
    if (space != LM_ID_BASE) {
        record_unobservable(CALLER, "a library loaded with a libc of its own");
    }
    return REAL(dlmopen)(space, path, mode);
}

/* Calls that read by path, and whose events a hook of libc's function writes
   elsewhere. The arguments are those of the system call. */
static void note_lookup(const void *caller, long number, const long *arguments, long result)
{
    const char *path = (const char *)arguments[0];
    const char *path_at = (const char *)arguments[1];
    int fd = (int)arguments[0];
    int error = result < 0 ? errno : 0;
    switch (number) {
    case SYS_openat:
        note_open(caller, fd, path_at, (int)arguments[2], (int)result);
        break;
    case SYS_openat2:
        note_open(caller, fd, path_at, error == EFAULT ? 0 : *(const int *)arguments[2],
                  (int)result);
        break;
    case SYS_statx:
    case SYS_newfstatat:
    case SYS_faccessat:
    case SYS_faccessat2:
        record_path(OP_STAT, caller, fd, path_at, error);
        break;
    case SYS_readlinkat:
        record_path(OP_READLINK, caller, fd, path_at, error);
        break;
    case SYS_getdents64:
        record_descriptor(OP_LIST, caller, fd);
        break;
    case SYS_statfs:
        record_path(OP_STAT, caller, AT_FDCWD, path, error);
        break;
#ifdef __x86_64__
    case SYS_open:
        note_open(caller, AT_FDCWD, path, (int)arguments[1], (int)result);
        break;
    case SYS_creat:
        note_open(caller, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, (int)result);
        break;
    case SYS_stat:
    case SYS_lstat:
    case SYS_access:
        record_path(OP_STAT, caller, AT_FDCWD, path, error);
        break;
    case SYS_readlink:
        record_path(OP_READLINK, caller, AT_FDCWD, path, error);
        break;
    case SYS_getdents:
        record_descriptor(OP_LIST, caller, fd);
        break;
#endif
    }
}

/* Calls whose effect on what is read or written cannot be described. */
static const char *undescribed(long number)
{
    switch (number) {
    case SYS_io_uring_setup:
        return "the system call io_uring_setup";
    case SYS_open_by_handle_at:
        return "the system call open_by_handle_at";
    case SYS_ptrace:
        return "the system call ptrace";
    case SYS_connect:
        return "the system call connect";
    case SYS_execve:
    case SYS_execveat:
        return "a program started by system call";
    case SYS_renameat:
    case SYS_renameat2:
    case SYS_linkat:
    case SYS_symlinkat:
    case SYS_unlinkat:
    case SYS_mkdirat:
    case SYS_chdir:
    case SYS_fchdir:
    case SYS_chroot:
#ifdef __x86_64__
    case SYS_rename:
    case SYS_link:
    case SYS_symlink:
    case SYS_unlink:
    case SYS_rmdir:
    case SYS_mkdir:
#endif
        return "names or folders changed by system call";
    }
    return NULL;
}

/* The real one is not called: allocators call this before anything can be
   resolved. */
EXPORT long syscall(long number, ...)
{
    long arguments[6];
    va_list rest;
    va_start(rest, number);
    for (int i = 0; i < 6; i++) {
        arguments[i] = va_arg(rest, long);
    }
    va_end(rest);
    const char *what = undescribed(number);
    if (what) {
        record_unobservable(CALLER, what);
    }
    long result = os_call(number, arguments[0], arguments[1], arguments[2], arguments[3],
                          arguments[4], arguments[5]);
    note_lookup(CALLER, number, arguments, result);
    return result;
}

#endif
