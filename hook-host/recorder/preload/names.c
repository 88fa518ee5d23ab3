/* Names looked at, resolved, made and removed. */
#include "recorder.h"

#define HOOK_PATH(op, type, name, parameters, arguments, dirfd, path)             \
    HOOK(type, name, parameters)                                                  \
    {                                                                             \
        type result = REAL(name) arguments;                                       \
        record_path(op, CALLER, dirfd, path, result < 0 ? errno : 0);             \
        return result;                                                            \
    }
#define AT_CWD(op, type, name, parameters, arguments)                             \
    HOOK_PATH(op, type, name, parameters, arguments, AT_FDCWD, path)
#define AT_FD(op, type, name, parameters, arguments)                              \
    HOOK_PATH(op, type, name, parameters, arguments, fd, path)

AT_CWD(OP_STAT, int, access, (const char *path, int mode), (path, mode))
AT_FD(OP_STAT, int, faccessat, (int fd, const char *path, int mode, int flags),
      (fd, path, mode, flags))
AT_CWD(OP_READLINK, ssize_t, readlink, (const char *path, char *to, size_t size),
       (path, to, size))
AT_FD(OP_READLINK, ssize_t, readlinkat, (int fd, const char *path, char *to, size_t size),
      (fd, path, to, size))
AT_CWD(OP_MAKE_DIR, int, mkdir, (const char *path, mode_t mode), (path, mode))
AT_FD(OP_MAKE_DIR, int, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode))
AT_CWD(OP_REMOVE, int, unlink, (const char *path), (path))
AT_FD(OP_REMOVE, int, unlinkat, (int fd, const char *path, int flags), (fd, path, flags))
AT_CWD(OP_REMOVE, int, rmdir, (const char *path), (path))
AT_CWD(OP_REMOVE, int, remove, (const char *path), (path))
AT_CWD(OP_WRITE, int, truncate, (const char *path, off_t size), (path, size))
AT_CWD(OP_PLACE, int, symlink, (const char *target, const char *path), (target, path))
AT_FD(OP_PLACE, int, symlinkat, (const char *target, int fd, const char *path),
      (target, fd, path))

/* A renamed or linked file's content was an input, unless the tree wrote it. */
static void note_move(const void *caller, enum op first, int old_fd, const char *old, int new_fd,
                      const char *new, int result)
{
    int error = result < 0 ? errno : 0;
    record_path(OP_READ, caller, old_fd, old, error);
    if (result == 0) {
        record_path(OP_PLACE, caller, new_fd, new, 0);
        if (first == OP_REMOVE) {
            record_path(OP_REMOVE, caller, old_fd, old, 0);
        }
    }
}

#define HOOK_MOVE(first, name)                                                    \
    HOOK(int, name, (const char *old, const char *new))                           \
    {                                                                             \
        int result = REAL(name)(old, new);                                        \
        note_move(CALLER, first, AT_FDCWD, old, AT_FDCWD, new, result);           \
        return result;                                                            \
    }
HOOK_MOVE(OP_REMOVE, rename)
HOOK_MOVE(OP_PLACE, link)

HOOK(int, renameat, (int old_fd, const char *old, int new_fd, const char *new))
{
    int result = REAL(renameat)(old_fd, old, new_fd, new);
    note_move(CALLER, OP_REMOVE, old_fd, old, new_fd, new, result);
    return result;
}

HOOK(int, linkat, (int old_fd, const char *old, int new_fd, const char *new, int flags))
{
    int result = REAL(linkat)(old_fd, old, new_fd, new, flags);
    note_move(CALLER, OP_PLACE, old_fd, old, new_fd, new, result);
    return result;
}

HOOK(char *, realpath, (const char *path, char *to))
{
    char *result = REAL(realpath)(path, to);
    record_path(OP_RESOLVE, CALLER, AT_FDCWD, path, result ? 0 : errno);
    return result;
}

HOOK(char *, mkdtemp, (char *path))
{
    char *result = REAL(mkdtemp)(path);
    record_path(OP_MAKE_DIR, CALLER, AT_FDCWD, path, result ? 0 : errno);
    return result;
}

/* The path first: once the folder has changed it means another. */
HOOK(int, chdir, (const char *path))
{
    note_chdir(CALLER, path);
    int result = REAL(chdir)(path);
    if (result == 0) {
        record_descriptor(OP_CHDIR, CALLER, AT_FDCWD);
    }
    return result;
}

HOOK(int, fchdir, (int fd))
{
    int result = REAL(fchdir)(fd);
    if (result == 0) {
        record_descriptor(OP_CHDIR, CALLER, AT_FDCWD);
    }
    return result;
}

/* Paths mean something else from here on. */
HOOK(int, chroot, (const char *path))
{
    record_unobservable(CALLER, "another root folder");
    return REAL(chroot)(path);
}

#define HOOK_CWD(name, parameters, arguments)                                     \
    HOOK(char *, name, parameters)                                                \
    {                                                                             \
        char *result = REAL(name) arguments;                                      \
        record_text(OP_GETCWD, CALLER, result, true);                             \
        return result;                                                            \
    }
HOOK_CWD(getcwd, (char *to, size_t size), (to, size))

#define HOOK_STAT(name, type)                                                     \
    AT_CWD(OP_STAT, int, name, (const char *path, struct type *to), (path, to))
#define HOOK_STATAT(name, type)                                                   \
    AT_FD(OP_STAT, int, name, (int fd, const char *path, struct type *to, int flags), \
          (fd, path, to, flags))
HOOK_STAT(stat, stat)
HOOK_STAT(lstat, stat)
HOOK_STATAT(fstatat, stat)

#ifdef __linux__

#include <sys/vfs.h>
#include <sys/statvfs.h>

HOOK_STAT(stat64, stat64)
HOOK_STAT(lstat64, stat64)
HOOK_STATAT(fstatat64, stat64)
HOOK_STAT(statfs, statfs)
HOOK_STAT(statfs64, statfs64)
HOOK_STAT(statvfs, statvfs)
HOOK_STAT(statvfs64, statvfs64)
AT_FD(OP_STAT, int, statx,
      (int fd, const char *path, int flags, unsigned mask, struct statx *to),
      (fd, path, flags, mask, to))
AT_CWD(OP_STAT, int, euidaccess, (const char *path, int mode), (path, mode))
AT_CWD(OP_STAT, int, eaccess, (const char *path, int mode), (path, mode))
AT_CWD(OP_WRITE, int, truncate64, (const char *path, off64_t size), (path, size))

/* What programs built against glibc before 2.33 call in place of stat. */
#define HOOK_XSTAT(name, type)                                                    \
    int name(int version, const char *path, struct type *to);                     \
    AT_CWD(OP_STAT, int, name, (int version, const char *path, struct type *to),  \
           (version, path, to))
#define HOOK_XSTATAT(name, type)                                                  \
    int name(int version, int fd, const char *path, struct type *to, int flags);  \
    AT_FD(OP_STAT, int, name,                                                     \
          (int version, int fd, const char *path, struct type *to, int flags),    \
          (version, fd, path, to, flags))
HOOK_XSTAT(__xstat, stat)
HOOK_XSTAT(__xstat64, stat64)
HOOK_XSTAT(__lxstat, stat)
HOOK_XSTAT(__lxstat64, stat64)
HOOK_XSTATAT(__fxstatat, stat)
HOOK_XSTATAT(__fxstatat64, stat64)

HOOK(int, renameat2,
     (int old_fd, const char *old, int new_fd, const char *new, unsigned flags))
{
    int result = REAL(renameat2)(old_fd, old, new_fd, new, flags);
    note_move(CALLER, OP_REMOVE, old_fd, old, new_fd, new, result);
    return result;
}

/* The same functions as _FORTIFY_SOURCE calls them. */
ssize_t __readlink_chk(const char *path, char *to, size_t size, size_t room);
AT_CWD(OP_READLINK, ssize_t, __readlink_chk,
       (const char *path, char *to, size_t size, size_t room), (path, to, size, room))
ssize_t __readlinkat_chk(int fd, const char *path, char *to, size_t size, size_t room);
AT_FD(OP_READLINK, ssize_t, __readlinkat_chk,
      (int fd, const char *path, char *to, size_t size, size_t room),
      (fd, path, to, size, room))
char *__getcwd_chk(char *to, size_t size, size_t room);
HOOK_CWD(__getcwd_chk, (char *to, size_t size, size_t room), (to, size, room))
HOOK_CWD(get_current_dir_name, (void), ())

char *__realpath_chk(const char *path, char *to, size_t room);
HOOK(char *, __realpath_chk, (const char *path, char *to, size_t room))
{
    char *result = REAL(__realpath_chk)(path, to, room);
    record_path(OP_RESOLVE, CALLER, AT_FDCWD, path, result ? 0 : errno);
    return result;
}

HOOK(char *, canonicalize_file_name, (const char *path))
{
    char *result = REAL(canonicalize_file_name)(path);
    record_path(OP_RESOLVE, CALLER, AT_FDCWD, path, result ? 0 : errno);
    return result;
}

#endif
