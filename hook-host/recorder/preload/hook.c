/* Finding the function that a hook stands for. */
#include "recorder.h"

#ifdef __linux__
/* What a hook calls when no later library defines its name: programs probe for
   newer functions by weak reference, and find the hook. */
static long unavailable(void)
{
    errno = ENOSYS;
    return -1;
}

void *resolve(const char *name, _Atomic(void *) *slot)
{
    int saved = errno;
    void *found = dlsym(RTLD_NEXT, name);
    errno = saved;
    found = found ? found : (void *)unavailable;
    atomic_store_explicit(slot, found, memory_order_relaxed);
    return found;
}
#endif
