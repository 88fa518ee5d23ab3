/* System calls that bypass the hooks, set errno as usual and allocate nothing. */
#include "recorder.h"

#include <time.h>

/* snprintf may allocate, and takes kilobytes of a signal handler's stack. */
char *write_decimal(char *to, uint32_t value)
{
    char digits[10];
    int count = 0;
    do {
        digits[count++] = (char)('0' + value % 10);
        value /= 10;
    } while (value);
    while (count) {
        *to++ = digits[--count];
    }
    *to = 0;
    return to;
}

#ifdef __linux__

#include <sys/syscall.h>

static long kernel(long number, long a, long b, long c, long d, long e, long f)
{
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = f;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = f;
    __asm__ volatile("svc 0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
#else
#error "no system call sequence for this processor"
#endif
}

long os_call(long number, long a, long b, long c, long d, long e, long f)
{
    long result = kernel(number, a, b, c, d, e, f);
    if (result < 0 && result > -4096) {
        errno = (int)-result;
        return -1;
    }
    return result;
}

int os_open(const char *path, int flags, int mode)
{
    return (int)os_call(SYS_openat, AT_FDCWD, (long)path, flags | O_CLOEXEC, mode, 0, 0);
}

void os_close(int fd)
{
    os_call(SYS_close, fd, 0, 0, 0, 0, 0);
}

static ssize_t os_pwrite(int fd, const void *bytes, size_t size, uint64_t offset)
{
    return os_call(SYS_pwrite64, fd, (long)bytes, (long)size, (long)offset, 0, 0);
}

bool os_may(const char *path, int mode)
{
    return os_call(SYS_faccessat, AT_FDCWD, (long)path, mode, 0, 0, 0) == 0;
}

/* Each of these returns the length, and 0 when there is no usable answer. */
size_t os_cwd(char *buffer, size_t size)
{
    long length = os_call(SYS_getcwd, (long)buffer, (long)size, 0, 0, 0, 0);
    return length > 1 && buffer[0] == '/' ? (size_t)length - 1 : 0;
}

static size_t link_target(const char *path, char *buffer, size_t size)
{
    long length = os_call(SYS_readlinkat, AT_FDCWD, (long)path, (long)buffer, (long)size, 0, 0);
    return length > 0 && (size_t)length < size && buffer[0] == '/' ? (size_t)length : 0;
}

size_t os_descriptor_path(int fd, char *buffer, size_t size)
{
    char link[32] = "/proc/self/fd/";
    if (fd < 0) {
        return 0;
    }
    write_decimal(link + strlen(link), (uint32_t)fd);
    return link_target(link, buffer, size);
}

size_t os_executable(char *buffer, size_t size)
{
    return link_target("/proc/self/exe", buffer, size);
}

#else /* macOS: a library's own calls are not interposed */

#include <mach-o/dyld.h>

int os_open(const char *path, int flags, int mode)
{
    return open(path, flags | O_CLOEXEC, mode);
}

void os_close(int fd)
{
    close(fd);
}

static ssize_t os_pwrite(int fd, const void *bytes, size_t size, uint64_t offset)
{
    return pwrite(fd, bytes, size, (off_t)offset);
}

bool os_may(const char *path, int mode)
{
    return access(path, mode) == 0;
}

size_t os_cwd(char *buffer, size_t size)
{
    return getcwd(buffer, size) ? strlen(buffer) : 0;
}

size_t os_descriptor_path(int fd, char *buffer, size_t size)
{
    return size >= PATH_MAX && fcntl(fd, F_GETPATH, buffer) == 0 ? strlen(buffer) : 0;
}

size_t os_executable(char *buffer, size_t size)
{
    uint32_t room = (uint32_t)size;
    return _NSGetExecutablePath(buffer, &room) == 0 ? strlen(buffer) : 0;
}

#endif

int64_t os_file_size(int fd)
{
    struct stat info;
#ifdef __linux__
    if (os_call(SYS_fstat, fd, (long)&info, 0, 0, 0, 0) != 0) {
        return -1;
    }
#else
    if (fstat(fd, &info) != 0) {
        return -1;
    }
#endif
    return info.st_size;
}

/* Writes zeros, so that a mapping of the range can be written to: a page that a
   full file system cannot back is a fatal signal. Not fallocate, which some file
   systems lack and whose pages ext4 takes twenty times as long to fault in. */
bool os_write_zeros(int fd, uint64_t offset, uint64_t length)
{
    static char zeros[LOG_FIRST_BYTES];
    for (uint64_t done = 0; done < length; done += sizeof zeros) {
        if (os_pwrite(fd, zeros, sizeof zeros, offset + done) != (ssize_t)sizeof zeros) {
            return false;
        }
    }
    return true;
}

uint64_t os_now_ns(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}
