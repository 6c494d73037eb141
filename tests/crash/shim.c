/*
 * A disk that fails, below a real server: preloaded (LD_PRELOAD), it stands between the program and
 * the kernel for files below one directory, lets faults happen, and keeps a journal of what was
 * made durable, so that whoever kills the process can then take away all that was not.
 *
 *   SHIM_DIR      the data directory, absolute and without symbolic links
 *   SHIM_JOURNAL  where to write, one line an event (see below); not written if unset
 *   SHIM_ARM      a file; faults begin to count once it exists
 *   SHIM_FAULT    sync-fails     fsync and fdatasync fail with EIO
 *                      log-full       writes to the write-ahead log (*.log) fail with ENOSPC
 *                      log-short-full the first is cut short, those after it fail with ENOSPC
 *                      log-short      writes to the write-ahead log write only half
 *                      die-before-sync, die-after-sync   the process dies at one sync
 *   SHIM_AFTER    how many calls go well before that
 *
 * The journal. Numbers count names; a directory's sync makes durable the names up to its number.
 *   create N INODE PATH         a file or a directory was made
 *   rename N FROM<tab>TO        to a name that was not there before
 *   sync INODE LENGTH           that much of the file is durable
 *   names N PATH                the names in a directory are durable
 *
 * The line is written before the call returns: whoever was told that something is durable was told
 * after it stood in the journal.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *directory;
static size_t directory_length;
static const char *fault = "";
static const char *arm;
static long after;
static int journal = -1;
static atomic_long calls;
static atomic_long names;

__attribute__((constructor)) static void begin(void) {
    directory = getenv("SHIM_DIR");
    directory_length = directory ? strlen(directory) : 0;
    if (getenv("SHIM_FAULT")) fault = getenv("SHIM_FAULT");
    arm = getenv("SHIM_ARM");
    if (getenv("SHIM_AFTER")) after = atol(getenv("SHIM_AFTER"));
    const char *path = getenv("SHIM_JOURNAL");
    if (path) journal = (int)syscall(SYS_openat, AT_FDCWD, path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
}

static int is(const char *name) { return strcmp(fault, name) == 0; }

static int inside(const char *path) {
    return directory && strncmp(path, directory, directory_length) == 0 &&
           (path[directory_length] == '/' || path[directory_length] == 0);
}

static int inside_fd(int fd, char *path) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    long length = syscall(SYS_readlinkat, AT_FDCWD, link, path, PATH_MAX - 1);
    path[length > 0 ? length : 0] = 0;
    return length > 0 && inside(path);
}

/* Which call since the faults began this is, from 1 on; 0 before. */
static long fired(void) {
    if (!arm || syscall(SYS_faccessat, AT_FDCWD, arm, F_OK) != 0) return 0;
    long call = atomic_fetch_add(&calls, 1) + 1;
    return call > after ? call - after : 0;
}

static void note(const char *format, ...) {
    if (journal < 0) return;
    char line[3 * PATH_MAX];
    va_list list;
    va_start(list, format);
    int length = vsnprintf(line, sizeof line, format, list);
    va_end(list);
    if (syscall(SYS_write, journal, line, (size_t)length) != length) abort();
}

static int sync_with(long call, int fd) {
    char path[PATH_MAX];
    if (!inside_fd(fd, path)) return (int)syscall(call, fd);
    long turn = *fault ? fired() : 0;
    if (turn > 0 && is("sync-fails")) {
        errno = EIO;
        return -1;
    }
    if (turn == 1 && is("die-before-sync")) syscall(SYS_kill, getpid(), SIGKILL);
    /* What comes while the sync runs may not be in it. */
    long known = atomic_load(&names);
    struct stat was;
    if (fstat(fd, &was) != 0) abort();
    int result = (int)syscall(call, fd);
    if (result == 0 && S_ISDIR(was.st_mode)) note("names %ld %s\n", known, path);
    if (result == 0 && S_ISREG(was.st_mode)) note("sync %lu %ld\n", (unsigned long)was.st_ino, (long)was.st_size);
    if (turn == 1 && is("die-after-sync")) syscall(SYS_kill, getpid(), SIGKILL);
    return result;
}

int fsync(int fd) { return sync_with(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_with(SYS_fdatasync, fd); }

/* How many of `count` bytes may be written to the descriptor; -1 for none, with errno set. */
static ssize_t allowed(int fd, size_t count) {
    char path[PATH_MAX];
    if (strncmp(fault, "log-", 4) != 0 || !inside_fd(fd, path)) return (ssize_t)count;
    size_t length = strlen(path);
    if (length < 4 || strcmp(path + length - 4, ".log") != 0) return (ssize_t)count;
    long turn = fired();
    if (turn == 0) return (ssize_t)count;
    if (is("log-short") || (is("log-short-full") && turn == 1)) return (ssize_t)((count + 1) / 2);
    errno = ENOSPC;
    return -1;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    ssize_t some = allowed(fd, count);
    return some < 0 ? some : syscall(SYS_write, fd, bytes, (size_t)some);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    ssize_t some = allowed(fd, count);
    return some < 0 ? some : syscall(SYS_pwrite64, fd, bytes, (size_t)some, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t offset) { return pwrite(fd, bytes, count, offset); }

ssize_t writev(int fd, const struct iovec *parts, int count) {
    size_t whole = 0;
    for (int i = 0; i < count; i++) whole += parts[i].iov_len;
    ssize_t some = allowed(fd, whole);
    if (some < 0) return some;
    if ((size_t)some < whole) {
        size_t first = parts[0].iov_len < (size_t)some ? parts[0].iov_len : (size_t)some;
        return syscall(SYS_write, fd, parts[0].iov_base, first);
    }
    return syscall(SYS_writev, fd, parts, count);
}

static void created(const char *path) {
    struct stat now;
    if (fstatat(AT_FDCWD, path, &now, AT_SYMLINK_NOFOLLOW) == 0)
        note("create %ld %lu %s\n", atomic_fetch_add(&names, 1) + 1, (unsigned long)now.st_ino, path);
}

static int open_noted(const char *path, int flags, mode_t mode) {
    int is_new = (flags & O_CREAT) && inside(path) && syscall(SYS_faccessat, AT_FDCWD, path, F_OK) != 0;
    int fd = (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
    if (fd >= 0 && is_new) created(path);
    return fd;
}

#define OPEN(name)                                    \
    int name(const char *path, int flags, ...) {      \
        mode_t mode = 0;                              \
        if (flags & (O_CREAT | O_TMPFILE)) {          \
            va_list list;                             \
            va_start(list, flags);                    \
            mode = va_arg(list, mode_t);              \
            va_end(list);                             \
        }                                             \
        return open_noted(path, flags, mode);         \
    }
OPEN(open)
OPEN(open64)

int mkdir(const char *path, mode_t mode) {
    int result = (int)syscall(SYS_mkdirat, AT_FDCWD, path, mode);
    if (result == 0 && inside(path)) created(path);
    return result;
}

int rename(const char *from, const char *to) {
    int is_new = inside(to) && syscall(SYS_faccessat, AT_FDCWD, to, F_OK) != 0;
    int result = (int)syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
    if (result == 0 && is_new) note("rename %ld %s\t%s\n", atomic_fetch_add(&names, 1) + 1, from, to);
    return result;
}
