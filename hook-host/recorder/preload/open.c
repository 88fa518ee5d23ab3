/* Files opened, folders listed. */
#include "recorder.h"

#include <dirent.h>
#ifdef __linux__
#include <ftw.h>
#include <glob.h>
#endif

#ifndef O_PATH
#define O_PATH 0
#endif
#ifdef O_TMPFILE
#define MAKES_FILE(flags) (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE)
#define IS_UNNAMED(flags) (((flags) & O_TMPFILE) == O_TMPFILE)
#else
#define MAKES_FILE(flags) ((flags) & O_CREAT)
#define IS_UNNAMED(flags) false
#endif

void note_open(const void *caller, int dirfd, const char *path, int flags, int fd)
{
    int error = fd < 0 ? errno : 0;
    if (IS_UNNAMED(flags)) {
        return;
    }
    if (flags & (O_PATH | O_DIRECTORY)) {
        record_path(OP_STAT, caller, dirfd, path, error);
        return;
    }
    bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
    bool reads = (flags & O_ACCMODE) != O_WRONLY || (flags & O_APPEND);
    if ((flags & O_TRUNC) || ((flags & O_CREAT) && (flags & O_EXCL))) {
        reads = false;
    } else if (reads && (flags & O_CREAT) && fd >= 0) {
        /* Empty: either new, or nothing was in it to be read. */
        int saved = errno;
        reads = os_file_size(fd) != 0;
        errno = saved;
    }
    if (reads) {
        record_path(OP_READ, caller, dirfd, path, error);
    }
    if (writes) {
        record_path(OP_WRITE, caller, dirfd, path, error);
    }
}

#define READ_MODE(mode, flags)                                                    \
    int mode = 0;                                                                 \
    if (MAKES_FILE(flags)) {                                                      \
        va_list rest;                                                             \
        va_start(rest, flags);                                                    \
        mode = va_arg(rest, int);                                                 \
        va_end(rest);                                                             \
    }

#define HOOK_OPEN(name)                                                           \
    HOOK(int, name, (const char *path, int flags, ...))                           \
    {                                                                             \
        READ_MODE(mode, flags)                                                    \
        int fd = REAL(name)(path, flags, mode);                                   \
        note_open(CALLER, AT_FDCWD, path, flags, fd);                             \
        return fd;                                                                \
    }

#define HOOK_OPENAT(name)                                                         \
    HOOK(int, name, (int dirfd, const char *path, int flags, ...))                \
    {                                                                             \
        READ_MODE(mode, flags)                                                    \
        int fd = REAL(name)(dirfd, path, flags, mode);                            \
        note_open(CALLER, dirfd, path, flags, fd);                                \
        return fd;                                                                \
    }

#define HOOK_CREAT(name)                                                          \
    HOOK(int, name, (const char *path, mode_t mode))                              \
    {                                                                             \
        int fd = REAL(name)(path, mode);                                          \
        note_open(CALLER, AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, fd);      \
        return fd;                                                                \
    }

static int flags_of(const char *mode)
{
    if (!mode) {
        return O_RDONLY;
    }
    int flags = strchr(mode, '+') ? O_RDWR : mode[0] == 'r' ? O_RDONLY : O_WRONLY;
    if (mode[0] == 'w') {
        flags |= O_CREAT | O_TRUNC;
    } else if (mode[0] == 'a') {
        flags |= O_CREAT | O_APPEND;
    }
    return strchr(mode, 'x') ? flags | O_EXCL : flags;
}

#define HOOK_FOPEN(name)                                                          \
    HOOK(FILE *, name, (const char *path, const char *mode))                      \
    {                                                                             \
        FILE *file = REAL(name)(path, mode);                                      \
        note_open(CALLER, AT_FDCWD, path, flags_of(mode), file ? fileno(file) : -1); \
        return file;                                                              \
    }

#define HOOK_FREOPEN(name)                                                        \
    HOOK(FILE *, name, (const char *path, const char *mode, FILE *old))           \
    {                                                                             \
        FILE *file = REAL(name)(path, mode, old);                                 \
        note_open(CALLER, AT_FDCWD, path, flags_of(mode), file ? fileno(file) : -1); \
        return file;                                                              \
    }

/* The template has become the name. */
#define HOOK_TEMP(name, parameters, arguments)                                    \
    HOOK(int, name, parameters)                                                   \
    {                                                                             \
        int fd = REAL(name) arguments;                                            \
        note_open(CALLER, AT_FDCWD, path, O_RDWR | O_CREAT | O_EXCL, fd);         \
        return fd;                                                                \
    }

HOOK_OPEN(open)
HOOK_OPENAT(openat)
HOOK_CREAT(creat)
HOOK_FOPEN(fopen)
HOOK_FREOPEN(freopen)
HOOK_TEMP(mkstemp, (char *path), (path))
HOOK_TEMP(mkstemps, (char *path, int suffix), (path, suffix))

HOOK(DIR *, opendir, (const char *path))
{
    DIR *folder = REAL(opendir)(path);
    record_path(OP_LIST, CALLER, AT_FDCWD, path, folder ? 0 : errno);
    return folder;
}

HOOK(DIR *, fdopendir, (int fd))
{
    record_descriptor(OP_LIST, CALLER, fd);
    return REAL(fdopendir)(fd);
}

#ifdef __linux__

HOOK_OPEN(open64)
HOOK_OPENAT(openat64)
HOOK_CREAT(creat64)
HOOK_FOPEN(fopen64)
HOOK_FREOPEN(freopen64)
HOOK_TEMP(mkstemp64, (char *path), (path))
HOOK_TEMP(mkstemps64, (char *path, int suffix), (path, suffix))
HOOK_TEMP(mkostemp, (char *path, int flags), (path, flags))
HOOK_TEMP(mkostemp64, (char *path, int flags), (path, flags))
HOOK_TEMP(mkostemps, (char *path, int suffix, int flags), (path, suffix, flags))
HOOK_TEMP(mkostemps64, (char *path, int suffix, int flags), (path, suffix, flags))

/* What `open` becomes under _FORTIFY_SOURCE when it has no mode. */
#define HOOK_OPEN_2(name)                                                         \
    int name(const char *path, int flags);                                        \
    HOOK(int, name, (const char *path, int flags))                                \
    {                                                                             \
        int fd = REAL(name)(path, flags);                                         \
        note_open(CALLER, AT_FDCWD, path, flags, fd);                             \
        return fd;                                                                \
    }
#define HOOK_OPENAT_2(name)                                                       \
    int name(int dirfd, const char *path, int flags);                             \
    HOOK(int, name, (int dirfd, const char *path, int flags))                     \
    {                                                                             \
        int fd = REAL(name)(dirfd, path, flags);                                  \
        note_open(CALLER, dirfd, path, flags, fd);                                \
        return fd;                                                                \
    }
HOOK_OPEN_2(__open_2)
HOOK_OPEN_2(__open64_2)
HOOK_OPENAT_2(__openat_2)
HOOK_OPENAT_2(__openat64_2)

#define HOOK_SCANDIR(name, entry)                                                 \
    HOOK(int, name, (const char *path, struct entry ***list,                      \
                     int (*filter)(const struct entry *),                         \
                     int (*compare)(const struct entry **, const struct entry **))) \
    {                                                                             \
        int count = REAL(name)(path, list, filter, compare);                      \
        record_path(OP_LIST, CALLER, AT_FDCWD, path, count < 0 ? errno : 0);      \
        return count;                                                             \
    }
#define HOOK_SCANDIRAT(name, entry)                                               \
    HOOK(int, name, (int dirfd, const char *path, struct entry ***list,           \
                     int (*filter)(const struct entry *),                         \
                     int (*compare)(const struct entry **, const struct entry **))) \
    {                                                                             \
        int count = REAL(name)(dirfd, path, list, filter, compare);               \
        record_path(OP_LIST, CALLER, dirfd, path, count < 0 ? errno : 0);         \
        return count;                                                             \
    }
HOOK_SCANDIR(scandir, dirent)
HOOK_SCANDIR(scandir64, dirent64)
HOOK_SCANDIRAT(scandirat, dirent)
HOOK_SCANDIRAT(scandirat64, dirent64)

HOOK(ssize_t, getdents64, (int fd, void *buffer, size_t size))
{
    record_descriptor(OP_LIST, CALLER, fd);
    return REAL(getdents64)(fd, buffer, size);
}

/* These walk inside libc, out of sight. */
#define HOOK_WALK(name, parameters, arguments)                                    \
    HOOK(int, name, parameters)                                                   \
    {                                                                             \
        record_unobservable(CALLER, "a folder tree walked by " #name);            \
        return REAL(name) arguments;                                              \
    }
HOOK_WALK(ftw, (const char *path, __ftw_func_t visit, int depth), (path, visit, depth))
HOOK_WALK(ftw64, (const char *path, __ftw64_func_t visit, int depth), (path, visit, depth))
HOOK_WALK(nftw, (const char *path, __nftw_func_t visit, int depth, int flags),
          (path, visit, depth, flags))
HOOK_WALK(nftw64, (const char *path, __nftw64_func_t visit, int depth, int flags),
          (path, visit, depth, flags))

/* fts(3) has no 64-bit twin in the headers of every libc; its type is opaque here. */
struct fts_tree;
#define HOOK_FTS(name)                                                            \
    struct fts_tree *name(char *const *, int, int (*)(const void *, const void *)); \
    HOOK(struct fts_tree *, name,                                                 \
         (char *const *paths, int options, int (*compare)(const void *, const void *))) \
    {                                                                             \
        record_unobservable(CALLER, "a folder tree walked by " #name);            \
        return REAL(name)(paths, options, compare);                               \
    }
HOOK_FTS(fts_open)
HOOK_FTS(fts64_open)

/* A pattern in the last component lists one folder; any other lists many. */
static void note_glob(const void *caller, const char *pattern, char *const *found, size_t count)
{
    char folder[PATH_MAX] = ".";
    const char *slash = pattern ? strrchr(pattern, '/') : NULL;
    size_t length = slash ? (size_t)(slash - pattern) + 1 : 0;
    if (!pattern || length >= sizeof folder) {
        return;
    }
    if (length) {
        memcpy(folder, pattern, length);
        folder[length] = 0;
    }
    if (strpbrk(folder, "*?[{~")) {
        record_unobservable(caller, "a pattern matched against many folders");
    } else if (strpbrk(pattern + length, "*?[{~\\")) {
        record_path(OP_LIST, caller, AT_FDCWD, folder, os_may(folder, F_OK) ? 0 : ENOENT);
    } else if (count == 0) {
        record_path(OP_STAT, caller, AT_FDCWD, pattern, ENOENT);
    }
    for (size_t i = 0; i < count; i++) {
        record_path(OP_STAT, caller, AT_FDCWD, found[i], 0);
    }
}

#define HOOK_GLOB(name, type)                                                     \
    HOOK(int, name, (const char *pattern, int flags, int (*on_error)(const char *, int), \
                     type *result))                                               \
    {                                                                             \
        int failed = REAL(name)(pattern, flags, on_error, result);                \
        int saved = errno;                                                        \
        size_t skip = flags & GLOB_DOOFFS ? result->gl_offs : 0;                  \
        note_glob(CALLER, pattern, failed ? NULL : result->gl_pathv + skip,       \
                  failed ? 0 : result->gl_pathc);                                 \
        errno = saved;                                                            \
        return failed;                                                            \
    }
HOOK_GLOB(glob, glob_t)
HOOK_GLOB(glob64, glob64_t)

#endif
