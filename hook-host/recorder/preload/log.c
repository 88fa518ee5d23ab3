/* The log of this process: opening it, and appending events without a lock. */
#include "recorder.h"

#include <sched.h>
#include <sys/mman.h>
#include <sys/resource.h>

struct log_header {
    char magic[8]; /* written last */
    uint32_t version;
    uint32_t pid;
    uint32_t parent_pid;
    _Atomic uint32_t flags;
    _Atomic uint64_t next;      /* offset of the first byte not handed out */
    _Atomic uint64_t allocated; /* the file's size: what may be touched */
    uint64_t started_ns;
    _Atomic uint32_t modules; /* ids given so far; shared with forked children */
    _Atomic uint32_t growing; /* somebody is making the file longer */
    uint32_t reserved[2];
};
_Static_assert(sizeof(struct log_header) == 64, "the reader knows this layout");

static const char MAGIC[8] = "BHREC01";

extern char **environ;

static struct log_header *header; /* null: not recording */
static char log_path[PATH_MAX];
static char folder[PATH_MAX];
static char preload[PATH_MAX];
static pid_t first_pid;

/* Events seen: a direct-mapped table of hashes. A lost race writes an event
   twice, which the reader takes in its stride. */
#define SEEN_SLOTS 8192
/* How long to wait for another thread that makes the file longer. */
#define MAX_YIELDS 10000
static _Atomic uint64_t seen[SEEN_SLOTS];

const char *own_preload(void)
{
    return preload;
}

const char *own_folder(void)
{
    return folder;
}

/* False in a forked child that has not executed anything. */
bool in_first_process(void)
{
    return getpid() == first_pid;
}

static const char *variable(const char *name)
{
    size_t length = strlen(name);
    for (char **entry = environ; entry && *entry; entry++) {
        if (strncmp(*entry, name, length) == 0 && (*entry)[length] == '=') {
            return *entry + length + 1;
        }
    }
    return NULL;
}

/* Creates the first `<folder>/<pid>.<sequence>` that does not exist. */
static int create_log(void)
{
    size_t length = strlen(folder);
    if (length == 0 || length + 32 > sizeof log_path) {
        return -1;
    }
    memcpy(log_path, folder, length);
    log_path[length++] = '/';
    char *sequence = write_decimal(log_path + length, (uint32_t)first_pid);
    *sequence++ = '.';
    for (uint32_t i = 0; i < LOG_SEQUENCES; i++) {
        write_decimal(sequence, i);
        int fd = os_open(log_path, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd >= 0 || errno != EEXIST) {
            return fd;
        }
    }
    return -1;
}

/* Growing a file past this limit would kill the process by a signal. */
static bool may_grow_to(uint64_t size)
{
    struct rlimit limit;
    return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur >= size;
}

static struct log_header *map_log(void)
{
    if (!may_grow_to(LOG_FIRST_BYTES)) {
        return NULL;
    }
    int fd = create_log();
    if (fd < 0) {
        return NULL;
    }
    void *mapping = MAP_FAILED;
    if (os_write_zeros(fd, 0, LOG_FIRST_BYTES)) {
        mapping = mmap(NULL, LOG_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    os_close(fd);
    return mapping == MAP_FAILED ? NULL : mapping;
}

static void log_start(void)
{
    char executable[PATH_MAX];
    char working[PATH_MAX];
    const char *argv0 = "";
#ifdef __GLIBC__
    argv0 = program_invocation_name ? program_invocation_name : "";
#else
    argv0 = getprogname();
#endif
    struct piece pieces[] = {
        {executable, os_executable(executable, sizeof executable)},
        {"", 1},
        {argv0, strlen(argv0)},
        {"", 1},
        {working, os_cwd(working, sizeof working)},
    };
    log_event(OP_START, FOUND, 0, 0, pieces, sizeof pieces / sizeof *pieces);
}

static void copy(char *to, size_t size, const char *value)
{
    size_t length = strlen(value);
    if (length < size) {
        memcpy(to, value, length + 1);
    }
}

static void open_log(void)
{
    const char *wanted = variable(FOLDER_VARIABLE);
    Dl_info self;
    if (!wanted || wanted[0] != '/' || !dladdr(MAGIC, &self)) {
        return;
    }
    int saved = errno;
    copy(preload, sizeof preload, self.dli_fname);
    copy(folder, sizeof folder, wanted);
    first_pid = getpid();
    struct log_header *log = map_log();
    if (log) {
        log->version = LOG_VERSION;
        log->pid = (uint32_t)first_pid;
        log->parent_pid = (uint32_t)getppid();
        log->started_ns = os_now_ns();
        atomic_store(&log->next, sizeof *log);
        atomic_store(&log->allocated, LOG_FIRST_BYTES);
        atomic_thread_fence(memory_order_release);
        memcpy(log->magic, MAGIC, sizeof MAGIC);
        header = log;
        log_start();
        modules_refresh();
    }
    errno = saved;
}

/* Opens the log at the first call. Hooks can run before any constructor, while
   libc has no environment yet: then the next one tries. */
bool recording(void)
{
    static _Atomic bool tried;
    if (!atomic_load_explicit(&tried, memory_order_acquire) && environ &&
        !atomic_exchange(&tried, true)) {
        open_log();
    }
    return header != NULL;
}

__attribute__((constructor)) static void on_load(void)
{
    recording();
}

/* Names what was loaded and never called a hook. */
__attribute__((destructor)) static void on_exit_or_unload(void)
{
    if (recording() && in_first_process()) {
        modules_refresh();
    }
}

uint32_t log_new_module(void)
{
    return atomic_fetch_add(&header->modules, 1) + 1;
}

static bool lose(uint32_t flag)
{
    atomic_fetch_or(&header->flags, flag);
    return false;
}

static bool grow(uint64_t from, uint64_t to)
{
    int fd = may_grow_to(to) ? os_open(log_path, O_RDWR, 0) : -1;
    if (fd < 0) {
        return false;
    }
    bool grown = os_write_zeros(fd, from, to - from);
    os_close(fd);
    if (grown) {
        atomic_store(&header->allocated, to);
    }
    return grown;
}

/* Makes the file reach `end`. One at a time, or zeros would wipe out events; a
   wait is bounded, because whoever grows may be a forked child that was killed. */
static bool reach(uint64_t end)
{
    if (end <= atomic_load(&header->allocated)) {
        return true;
    }
    if (end > LOG_BYTES) {
        return lose(LOG_OVERFLOW);
    }
    if (atomic_load(&header->flags) & LOG_DROPPED) {
        return false; /* what failed once is not tried for each event */
    }
    for (int i = 0; i < MAX_YIELDS; i++) {
        if (!atomic_exchange(&header->growing, 1)) {
            uint64_t have = atomic_load(&header->allocated);
            uint64_t want = 2 * have;
            while (want < end) {
                want *= 2;
            }
            bool reached = end <= have || grow(have, want);
            atomic_store(&header->growing, 0);
            return reached || lose(LOG_DROPPED);
        }
        sched_yield();
        if (end <= atomic_load(&header->allocated)) {
            return true;
        }
    }
    return lose(LOG_DROPPED);
}

static bool is_new(enum op op, enum outcome outcome, uint32_t module,
                   const struct piece *pieces, size_t count)
{
    uint64_t hash = 0xcbf29ce484222325u ^ (uint64_t)op << 56 ^ (uint64_t)outcome << 48 ^ module;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j < pieces[i].length; j++) {
            hash = (hash ^ (unsigned char)pieces[i].bytes[j]) * 0x100000001b3u;
        }
    }
    /* The high half is the better mixed one; zero stands for an empty slot. */
    hash |= 1;
    _Atomic uint64_t *slot = &seen[(hash >> 32) % SEEN_SLOTS];
    if (atomic_load_explicit(slot, memory_order_relaxed) == hash) {
        return false;
    }
    atomic_store_explicit(slot, hash, memory_order_relaxed);
    return true;
}

static bool repeats_matter(enum op op)
{
    return op == OP_START || op == OP_MODULE || (op >= OP_EXEC && op <= OP_SHELL);
}

void log_event(enum op op, enum outcome outcome, uint32_t module, uint32_t value,
               const struct piece *pieces, size_t count)
{
    uint32_t length = 0;
    for (size_t i = 0; i < count; i++) {
        if (pieces[i].length > 2 * PATH_MAX) {
            lose(LOG_DROPPED);
            return;
        }
        length += (uint32_t)pieces[i].length;
    }
    if (!repeats_matter(op) && !is_new(op, outcome, module, pieces, count)) {
        return;
    }
    uint32_t size = ((uint32_t)sizeof(struct event) + length + 7) & ~7u;
    uint64_t offset = atomic_fetch_add(&header->next, size);
    if (!reach(offset + size)) {
        return;
    }
    struct event *event = (struct event *)((char *)header + offset);
    /* The size first: the reader can step over an event that was cut short. */
    atomic_store_explicit(&event->size, size, memory_order_relaxed);
    event->op = (uint16_t)op;
    event->outcome = (uint16_t)outcome;
    event->module = module;
    event->value = value;
    event->time_ns = os_now_ns();
    event->text_bytes = length;
    char *to = event->text;
    for (size_t i = 0; i < count; i++) {
        memcpy(to, pieces[i].bytes, pieces[i].length);
        to += pieces[i].length;
    }
    atomic_store_explicit(&event->size, size | EVENT_COMMITTED, memory_order_release);
}
