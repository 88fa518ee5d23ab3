/* Which loaded object an address belongs to. */
#include "recorder.h"

#include <sched.h>

/* Objects beyond this many are "unknown". */
#define MAX_MODULES 1024
/* How long to wait for another thread that is looking at the list. */
#define MAX_YIELDS 1000

struct module {
    _Atomic uintptr_t start, end; /* both 0 once unloaded */
    _Atomic uint32_t id;
    uint64_t name_hash;
    bool present;
};

static struct module modules[MAX_MODULES];
static _Atomic size_t module_count;
static _Atomic size_t last_hit;
static _Atomic bool refreshing;

static bool holds(const struct module *module, uintptr_t address)
{
    return address >= atomic_load_explicit(&module->start, memory_order_relaxed) &&
           address < atomic_load_explicit(&module->end, memory_order_relaxed);
}

static uint32_t known(uintptr_t address)
{
    size_t count = atomic_load_explicit(&module_count, memory_order_acquire);
    size_t guess = atomic_load_explicit(&last_hit, memory_order_relaxed);
    if (guess < count && holds(&modules[guess], address)) {
        return modules[guess].id;
    }
    for (size_t i = 0; i < count; i++) {
        if (holds(&modules[i], address)) {
            atomic_store_explicit(&last_hit, i, memory_order_relaxed);
            return modules[i].id;
        }
    }
    return 0;
}

static uint64_t hash_name(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;
    while (*name) {
        hash = (hash ^ (unsigned char)*name++) * 0x100000001b3u;
    }
    return hash;
}

static void log_module(uint32_t id, const char *name)
{
    char base[PATH_MAX];
    struct piece pieces[] = {{base, 0}, {"/", 0}, {name, strlen(name)}};
    if (name[0] == 0) {
        pieces[0].length = os_executable(base, sizeof base);
    } else if (name[0] != '/' && strchr(name, '/')) {
        pieces[0].length = os_cwd(base, sizeof base);
        pieces[1].length = 1;
    }
    log_event(OP_MODULE, FOUND, id, id, pieces, 3);
}

static void note_module(uintptr_t start, uintptr_t end, const char *name)
{
    uint64_t hash = hash_name(name);
    size_t count = atomic_load(&module_count);
    for (size_t i = 0; i < count; i++) {
        if (modules[i].start == start && modules[i].end == end && modules[i].name_hash == hash) {
            modules[i].present = true;
            return;
        }
    }
    if (count == MAX_MODULES) {
        return;
    }
    struct module *module = &modules[count];
    module->start = start;
    module->end = end;
    module->name_hash = hash;
    module->present = true;
    module->id = log_new_module();
    log_module(module->id, name);
    atomic_store_explicit(&module_count, count + 1, memory_order_release);
}

#ifdef __linux__
#include <link.h>

static int visit(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    uintptr_t start = UINTPTR_MAX, end = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        if (info->dlpi_phdr[i].p_type == PT_LOAD) {
            uintptr_t from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            uintptr_t to = from + info->dlpi_phdr[i].p_memsz;
            start = from < start ? from : start;
            end = to > end ? to : end;
        }
    }
    if (start < end) {
        note_module(start, end, info->dlpi_name ? info->dlpi_name : "");
    }
    return 0;
}

static void visit_all(void)
{
    dl_iterate_phdr(visit, NULL);
}
#else
#include <mach-o/dyld.h>
#include <mach-o/loader.h>

static void visit_all(void)
{
    uint32_t count = _dyld_image_count();
    for (uint32_t i = 0; i < count; i++) {
        const struct mach_header_64 *image = (const void *)_dyld_get_image_header(i);
        const char *name = _dyld_get_image_name(i);
        if (!image || !name || image->magic != MH_MAGIC_64) {
            continue;
        }
        const struct load_command *command = (const void *)(image + 1);
        for (uint32_t j = 0; j < image->ncmds; j++) {
            const struct segment_command_64 *segment = (const void *)command;
            if (command->cmd == LC_SEGMENT_64 && strcmp(segment->segname, "__TEXT") == 0) {
                note_module((uintptr_t)image, (uintptr_t)image + segment->vmsize, name);
            }
            command = (const void *)((const char *)command + command->cmdsize);
        }
    }
}
#endif

/* Brings the list up to date; false when another thread did not let go. */
static bool try_refresh(void)
{
    for (int i = 0; atomic_exchange(&refreshing, true); i++) {
        if (i == MAX_YIELDS) {
            return false;
        }
        sched_yield();
    }
    size_t count = atomic_load(&module_count);
    for (size_t i = 0; i < count; i++) {
        modules[i].present = false;
    }
    visit_all();
    for (size_t i = 0; i < count; i++) {
        if (!modules[i].present) {
            atomic_store(&modules[i].end, 0);
            atomic_store(&modules[i].start, 0);
        }
    }
    atomic_store(&refreshing, false);
    return true;
}

void modules_refresh(void)
{
    try_refresh();
}

/* A forked child does not look: a thread that is gone may hold the loader's lock. */
uint32_t module_of(const void *address)
{
    uint32_t id = known((uintptr_t)address);
    if (id == 0 && in_first_process() && try_refresh()) {
        id = known((uintptr_t)address);
    }
    return id;
}
