/*
 * The recorder: a library that is preloaded into a process and everything it
 * starts, and notes what they read.
 *
 * Why C: `open` and its kin are variadic, which stable Rust cannot define, and a
 * preloaded library must bring nothing along. It needs libc and no other
 * library, never allocates, keeps no descriptor open and takes no lock that a
 * forked child could find held.
 *
 * A hook calls the real function, appends an event to the process's log and
 * returns what the real function returned, errno included. Only what starts
 * another program writes its event first, because it may not come back.
 *
 * The log is one file for each program image, `<folder>/<pid>.<sequence>`,
 * mapped shared. An atomic counter in its header hands out space, so threads
 * and forked children need no lock, an event costs no system call, and nothing
 * is lost when the process is killed. The file grows before its mapping is
 * touched: a full disk stops the recording, not the process. (Where it fills up
 * while a process runs, and the file system copies on write, it may still do so.)
 *
 * Known gaps: system calls made without libc, what libc itself opens (locale,
 * name service, the loader's search), reads of `environ`, symbols fetched from
 * libc by handle, clocks, random numbers and the identity of the host.
 *
 * `src/format.rs` is the reader; every constant here has its twin there.
 */
#ifndef BUILDHOOK_RECORDER_H
#define BUILDHOOK_RECORDER_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/types.h>
#include <unistd.h>

#define FOLDER_VARIABLE "BUILDHOOK_RECORD_DIR"
#ifdef __APPLE__
#define PRELOAD_VARIABLE "DYLD_INSERT_LIBRARIES"
#else
#define PRELOAD_VARIABLE "LD_PRELOAD"
#endif

/* Size of a log's mapping: some 600,000 events of usual length. */
#define LOG_BYTES (64u << 20)
/* The file's size at first; it doubles when it is full. The log of cc, collect2
   or a linker fits, that of a usual rustc takes 30 kB. */
#define LOG_FIRST_BYTES (16u << 10)
/* Images that one process id may have: each exec starts a new log. */
#define LOG_SEQUENCES 1024
#define LOG_VERSION 1

enum log_flag {
    LOG_OVERFLOW = 1, /* more events than LOG_BYTES hold */
    LOG_DROPPED = 2,  /* no space, no descriptor, or no permission to grow */
};

enum op {
    OP_START = 1,    /* text: executable NUL argv[0] NUL working folder */
    OP_MODULE,       /* value: id; text: path of a loaded object */
    OP_READ,         /* opened for reading */
    OP_STAT,         /* metadata or existence asked */
    OP_READLINK,
    OP_RESOLVE,      /* realpath */
    OP_LIST,         /* folder listed */
    OP_WRITE,        /* opened for writing, created, truncated */
    OP_MAKE_DIR,
    OP_PLACE,        /* a name made by rename, link or symlink */
    OP_REMOVE,       /* a name removed by unlink, rmdir or rename */
    OP_CHDIR,        /* the working folder is now this */
    OP_GETCWD,
    OP_GETENV,       /* text: name */
    OP_SETENV,       /* text: name */
    OP_DLOPEN,       /* text: path, or name to search for */
    OP_EXEC,         /* value: pid about to become text */
    OP_EXEC_FAILED,  /* value: pid that stayed what it was */
    OP_SPAWN,        /* value: pid of the new process */
    OP_SHELL,        /* value: pid that calls system or popen */
    OP_UNOBSERVABLE, /* text: what happened that cannot be recorded */
};

enum outcome { FOUND = 0, ABSENT = 1, FAILED = 2 };

struct event {
    _Atomic uint32_t size; /* bytes, a multiple of 8; EVENT_COMMITTED set last */
    uint16_t op;
    uint16_t outcome;
    uint32_t module;
    uint32_t value; /* errno where outcome is FAILED, else see enum op */
    uint64_t time_ns;
    uint32_t text_bytes;
    uint32_t reserved;
    char text[];
};
#define EVENT_COMMITTED 1u

/* A piece of an event's text. */
struct piece {
    const char *bytes;
    size_t length;
};

/* log.c */
bool recording(void);
const char *own_preload(void);
const char *own_folder(void);
void log_event(enum op op, enum outcome outcome, uint32_t module, uint32_t value,
               const struct piece *pieces, size_t count);
uint32_t log_new_module(void);
bool in_first_process(void);

/* module.c: the loaded object that holds an address; 0 is "unknown" */
uint32_t module_of(const void *address);
void modules_refresh(void);

/* path.c */
void record_path(enum op op, const void *caller, int dirfd, const char *path, int error);
void record_descriptor(enum op op, const void *caller, int fd);
void note_chdir(const void *caller, const char *path);
void record_text(enum op op, const void *caller, const char *text, bool found);
void record_assignment(const void *caller, const char *assignment);
void record_process(enum op op, const void *caller, const char *path, uint32_t pid);
void record_unobservable(const void *caller, const char *what);

/* files.c: shared with the hook of syscall() */
void note_open(const void *caller, int dirfd, const char *path, int flags, int fd);

/* os.c: system calls that bypass the hooks */
long os_call(long number, long a, long b, long c, long d, long e, long f);
int os_open(const char *path, int flags, int mode);
void os_close(int fd);
bool os_write_zeros(int fd, uint64_t offset, uint64_t length);
int64_t os_file_size(int fd);
bool os_may(const char *path, int mode);
size_t os_cwd(char *buffer, size_t size);
size_t os_descriptor_path(int fd, char *buffer, size_t size);
size_t os_executable(char *buffer, size_t size);
uint64_t os_now_ns(void);
char *write_decimal(char *to, uint32_t value);

#define CALLER __builtin_return_address(0)
#define EXPORT __attribute__((visibility("default")))

/*
 * HOOK(type, name, (parameters)) { … } defines the hook of `name`;
 * REAL(name) is the function it stands for. Linux resolves it in the libraries
 * after this one, so that another preloaded library keeps its hooks.
 */
#ifdef __APPLE__
#define HOOK(type, name, parameters)                                              \
    static type hook_##name parameters;                                           \
    __attribute__((used, section("__DATA,__interpose"))) static const struct {    \
        const void *hook, *real;                                                  \
    } interpose_##name = {(const void *)hook_##name, (const void *)name};         \
    static type hook_##name parameters
#define REAL(name) name
#else
#define HOOK(type, name, parameters)                                              \
    __attribute__((unused)) static _Atomic(void *) real_##name;                                           \
    EXPORT type name parameters
#define REAL(name) ((__typeof__(name) *)real(#name, &real_##name))
void *resolve(const char *name, _Atomic(void *) *slot);
static inline void *real(const char *name, _Atomic(void *) *slot)
{
    void *known = atomic_load_explicit(slot, memory_order_relaxed);
    return known ? known : resolve(name, slot);
}
#endif

#endif
