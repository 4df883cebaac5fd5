/*
 * Records what a process does to the files below one directory, in order, with every byte that it writes.
 *
 * Loaded with LD_PRELOAD into a test's child. SIGNET_CRASH_ROOT is the directory, SIGNET_CRASH_LOG the file that gets
 * the record. Every call on a file below the root runs under one lock and is recorded after it succeeded, so that the
 * record is one total order; what the process writes to its standard output is recorded too, and is how it
 * acknowledges. The log is replayed by `disk.rs`, which keeps the format of `struct header`.
 *
 * SIGNET_CRASH_AT="OP:NTH:WHAT:TEXT" breaks the NTH call of OP (fsync stands for fdatasync too) on a path that contains
 * TEXT, or ends with it if a dollar sign follows: WHAT is `kill`, which ends the process before the call, or a number of errno, with which that call and all
 * later ones fail.
 *
 * A call that the replay does not know ends the process: a test that passes has seen everything.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <unistd.h>

enum op { START = 1, OPEN, CLOSE, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MKDIR, ACK };

struct header {
	uint32_t magic;
	uint32_t op;
	uint64_t offset; /* WRITE: where; TRUNCATE: the new length; OPEN: 1 = may create, 2 = truncates */
	uint32_t path_bytes;
	uint32_t path2_bytes;
	uint64_t data_bytes;
	char thread[16];
};

enum { FDS = 4096 };

/* Recursive: whoever ends the process takes it and keeps it, and may have it already. */
static pthread_mutex_t lock = PTHREAD_RECURSIVE_MUTEX_INITIALIZER_NP;
static char *paths[FDS];
static int log_fd = -1;
static char root[PATH_MAX];
static size_t root_bytes;
static char break_op[16], break_text[256];
static long break_nth, break_errno;

static void die(const char *what, const char *path)
{
	char text[PATH_MAX + 256];
	int n = snprintf(text, sizeof text, "interpose: %s: %s\n", what, path ? path : "");
	syscall(SYS_write, 2, text, n);
	abort();
}

__attribute__((constructor)) static void begin(void);

static void record(enum op op, uint64_t offset, const char *path, const char *path2, const void *data, uint64_t bytes)
{
	struct header header = {
		.magic = 0x53474352, .op = op, .offset = offset,
		.path_bytes = path ? strlen(path) : 0, .path2_bytes = path2 ? strlen(path2) : 0, .data_bytes = bytes,
	};
	prctl(PR_GET_NAME, header.thread);
	struct iovec parts[4] = {
		{ &header, sizeof header }, { (void *)path, header.path_bytes },
		{ (void *)path2, header.path2_bytes }, { (void *)data, bytes },
	};
	ssize_t all = sizeof header + header.path_bytes + header.path2_bytes + bytes;
	if (syscall(SYS_writev, log_fd, parts, 4) != all)
		die("cannot write the log", path);
}

static void begin(void)
{
	const char *dir = getenv("SIGNET_CRASH_ROOT"), *log = getenv("SIGNET_CRASH_LOG"), *at = getenv("SIGNET_CRASH_AT");
	if (!dir || !log)
		die("SIGNET_CRASH_ROOT and SIGNET_CRASH_LOG are needed", NULL);
	root_bytes = strlen(dir);
	memcpy(root, dir, root_bytes + 1);
	log_fd = syscall(SYS_openat, AT_FDCWD, log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
	if (log_fd < 0)
		die("cannot open the log", log);
	if (at) {
		char what[16];
		if (sscanf(at, "%15[^:]:%ld:%15[^:]:%255s", break_op, &break_nth, what, break_text) != 4)
			die("SIGNET_CRASH_AT is not OP:NTH:WHAT:TEXT", at);
		break_errno = strcmp(what, "kill") ? atol(what) : -1;
	}
	record(START, 0, NULL, NULL, NULL, 0);
}

/*
 * The end of the process waits for the call that is under way, and lets no other begin. A thread that is stopped within
 * `record` leaves part of a header, after which the next process appends its own; one that is stopped before it leaves a
 * change that the file has and the record has not.
 */
void abort(void)
{
	pthread_mutex_lock(&lock);
	signal(SIGABRT, SIG_DFL);
	kill(getpid(), SIGABRT);
	for (;;)
		pause();
}

__attribute__((destructor)) static void end(void)
{
	pthread_mutex_lock(&lock);
}

static int is_breaking(const char *path)
{
	size_t text = strlen(break_text), bytes = strlen(path);
	if (!text || break_text[text - 1] != '$')
		return strstr(path, break_text) != NULL;
	return bytes >= text - 1 && !strncmp(path + bytes - (text - 1), break_text, text - 1);
}

/* Whether this call is to fail; the lock is held. */
static int broken(const char *op, const char *path)
{
	if (!break_nth || strcmp(op, break_op) || !is_breaking(path))
		return 0;
	if (break_nth > 1) {
		break_nth--;
		return 0;
	}
	if (break_errno < 0) {
		kill(getpid(), SIGKILL);
		for (;;)
			pause();
	}
	errno = break_errno;
	return 1;
}

static int tracked_path(const char *path)
{
	if (!path || !root_bytes)
		return 0;
	if (strncmp(path, root, root_bytes) || (path[root_bytes] && path[root_bytes] != '/'))
		return 0;
	/* The replay compares names, so there must be one name for each file. */
	if (strstr(path, "/../") || strstr(path, "/./") || strstr(path, "//"))
		die("a path is not plain", path);
	return 1;
}

static const char *tracked_fd(int fd)
{
	return fd >= 0 && fd < FDS ? paths[fd] : NULL;
}

static void forbid(int fd, const char *what)
{
	if (tracked_fd(fd))
		die(what, tracked_fd(fd));
}

static int open_any(const char *path, int flags, mode_t mode)
{
	if (!tracked_path(path))
		return syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	pthread_mutex_lock(&lock);
	int fd = -1;
	if (!((flags & O_CREAT) && broken("create", path)))
		fd = syscall(SYS_openat, AT_FDCWD, path, flags, mode);
	int error = errno;
	if (fd >= FDS)
		die("too many descriptors", path);
	if (fd >= 0) {
		if (flags & (O_APPEND | O_SYNC | O_DSYNC | O_DIRECT) & ~O_DIRECTORY)
			die("a flag that the replay does not know", path);
		paths[fd] = strdup(path);
		record(OPEN, (flags & O_CREAT ? 1 : 0) | (flags & O_TRUNC ? 2 : 0), path, NULL, NULL, 0);
	}
	pthread_mutex_unlock(&lock);
	errno = error;
	return fd;
}

#define MODE(flags) \
	mode_t mode = 0; \
	if ((flags) & (O_CREAT | __O_TMPFILE)) { \
		va_list list; \
		va_start(list, flags); \
		mode = va_arg(list, mode_t); \
		va_end(list); \
	}

int open(const char *path, int flags, ...) { MODE(flags) return open_any(path, flags, mode); }
int open64(const char *path, int flags, ...) { MODE(flags) return open_any(path, flags, mode); }

int openat(int dir, const char *path, int flags, ...)
{
	MODE(flags)
	if (path[0] == '/')
		return open_any(path, flags, mode);
	forbid(dir, "openat");
	return syscall(SYS_openat, dir, path, flags, mode);
}

int openat64(int dir, const char *path, int flags, ...)
{
	MODE(flags)
	if (path[0] == '/')
		return open_any(path, flags, mode);
	forbid(dir, "openat");
	return syscall(SYS_openat, dir, path, flags, mode);
}

int close(int fd)
{
	pthread_mutex_lock(&lock);
	const char *path = tracked_fd(fd);
	int done = syscall(SYS_close, fd), error = errno;
	if (path) {
		record(CLOSE, 0, path, NULL, NULL, 0);
		free(paths[fd]);
		paths[fd] = NULL;
	}
	pthread_mutex_unlock(&lock);
	errno = error;
	return done;
}

static ssize_t write_any(int fd, const void *data, size_t bytes, off_t offset)
{
	pthread_mutex_lock(&lock);
	const char *path = tracked_fd(fd);
	ssize_t done = -1;
	if (!(path && broken("write", path))) {
		off_t at = offset >= 0 || !path ? offset : syscall(SYS_lseek, fd, 0, SEEK_CUR);
		done = offset >= 0 ? syscall(SYS_pwrite64, fd, data, bytes, offset) : syscall(SYS_write, fd, data, bytes);
		int error = errno;
		if (done > 0 && path)
			record(WRITE, at, path, NULL, data, done);
		if (done > 0 && fd == 1)
			record(ACK, 0, NULL, NULL, data, done);
		errno = error;
	}
	int error = errno;
	pthread_mutex_unlock(&lock);
	errno = error;
	return done;
}

ssize_t write(int fd, const void *data, size_t bytes) { return write_any(fd, data, bytes, -1); }
ssize_t pwrite(int fd, const void *data, size_t bytes, off_t at) { return write_any(fd, data, bytes, at); }
ssize_t pwrite64(int fd, const void *data, size_t bytes, off64_t at) { return write_any(fd, data, bytes, at); }

ssize_t writev(int fd, const struct iovec *parts, int count)
{
	forbid(fd, "writev");
	if (fd == 1)
		die("writev to standard output", NULL);
	return syscall(SYS_writev, fd, parts, count);
}

static int truncate_fd(int fd, off_t length)
{
	pthread_mutex_lock(&lock);
	const char *path = tracked_fd(fd);
	int done = -1;
	if (!(path && broken("truncate", path)))
		done = syscall(SYS_ftruncate, fd, length);
	int error = errno;
	if (!done && path)
		record(TRUNCATE, length, path, NULL, NULL, 0);
	pthread_mutex_unlock(&lock);
	errno = error;
	return done;
}

int ftruncate(int fd, off_t length) { return truncate_fd(fd, length); }
int ftruncate64(int fd, off64_t length) { return truncate_fd(fd, length); }

static int sync_fd(int fd, long call)
{
	pthread_mutex_lock(&lock);
	const char *path = tracked_fd(fd);
	int done = -1;
	if (!(path && broken("fsync", path))) {
		done = syscall(call, fd);
		int error = errno;
		if (!done && path)
			record(SYNC, 0, path, NULL, NULL, 0);
		errno = error;
	}
	int error = errno;
	pthread_mutex_unlock(&lock);
	errno = error;
	return done;
}

int fsync(int fd) { return sync_fd(fd, SYS_fsync); }
int fdatasync(int fd) { return sync_fd(fd, SYS_fdatasync); }

int rename(const char *from, const char *to)
{
	if (tracked_path(from) != tracked_path(to))
		die("a rename into or out of the directory", from);
	pthread_mutex_lock(&lock);
	int done = -1;
	if (!(tracked_path(from) && broken("rename", from)))
		done = syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, 0);
	int error = errno;
	if (!done && tracked_path(from))
		record(RENAME, 0, from, to, NULL, 0);
	/* Open descriptors follow their file. */
	for (int fd = 0; !done && fd < FDS; fd++)
		if (paths[fd] && !strcmp(paths[fd], from)) {
			free(paths[fd]);
			paths[fd] = strdup(to);
		}
	pthread_mutex_unlock(&lock);
	errno = error;
	return done;
}

static int unlink_any(const char *path)
{
	pthread_mutex_lock(&lock);
	int done = -1;
	if (!(tracked_path(path) && broken("unlink", path)))
		done = syscall(SYS_unlinkat, AT_FDCWD, path, 0);
	int error = errno;
	if (!done && tracked_path(path))
		record(UNLINK, 0, path, NULL, NULL, 0);
	/* What is still open has no name any more, and the replay need not follow it. */
	for (int fd = 0; !done && fd < FDS; fd++)
		if (paths[fd] && !strcmp(paths[fd], path)) {
			free(paths[fd]);
			paths[fd] = NULL;
		}
	pthread_mutex_unlock(&lock);
	errno = error;
	return done;
}

int unlink(const char *path) { return unlink_any(path); }
int remove(const char *path) { return unlink_any(path); }

int unlinkat(int dir, const char *path, int flags)
{
	if (tracked_path(path) || tracked_fd(dir))
		die("unlinkat", path);
	return syscall(SYS_unlinkat, dir, path, flags);
}

int mkdir(const char *path, mode_t mode)
{
	pthread_mutex_lock(&lock);
	int done = syscall(SYS_mkdirat, AT_FDCWD, path, mode), error = errno;
	if (!done && tracked_path(path))
		record(MKDIR, 0, path, NULL, NULL, 0);
	pthread_mutex_unlock(&lock);
	errno = error;
	return done;
}

static void *map_any(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	const char *path = flags & MAP_ANONYMOUS ? NULL : tracked_fd(fd);
	size_t length = path ? strlen(path) : 0;
	/* SQLite's shared index is rebuilt from the log after a crash; it never needs to be on the disk. */
	if (path && (protection & PROT_WRITE) && (flags & MAP_SHARED)
	    && (length < 4 || strcmp(path + length - 4, "-shm")))
		die("a writable mapping", path);
	return (void *)syscall(SYS_mmap, at, bytes, protection, flags, fd, offset);
}

void *mmap(void *at, size_t bytes, int protection, int flags, int fd, off_t offset)
{
	return map_any(at, bytes, protection, flags, fd, offset);
}

void *mmap64(void *at, size_t bytes, int protection, int flags, int fd, off64_t offset)
{
	return map_any(at, bytes, protection, flags, fd, offset);
}

/* Calls that change files in ways that the replay does not know. */
ssize_t pwritev(int fd, const struct iovec *p, int n, off_t at) { forbid(fd, "pwritev"); return syscall(SYS_pwritev, fd, p, n, at, 0); }
ssize_t pwritev64(int fd, const struct iovec *p, int n, off64_t at) { forbid(fd, "pwritev"); return syscall(SYS_pwritev, fd, p, n, at, 0); }
ssize_t pwritev2(int fd, const struct iovec *p, int n, off_t at, int flags) { forbid(fd, "pwritev2"); return syscall(SYS_pwritev2, fd, p, n, at, 0, flags); }
ssize_t pwritev64v2(int fd, const struct iovec *p, int n, off64_t at, int flags) { forbid(fd, "pwritev2"); return syscall(SYS_pwritev2, fd, p, n, at, 0, flags); }
int fallocate(int fd, int mode, off_t at, off_t n) { forbid(fd, "fallocate"); return syscall(SYS_fallocate, fd, mode, at, n); }
int fallocate64(int fd, int mode, off64_t at, off64_t n) { forbid(fd, "fallocate"); return syscall(SYS_fallocate, fd, mode, at, n); }
int posix_fallocate(int fd, off_t at, off_t n) { forbid(fd, "fallocate"); return syscall(SYS_fallocate, fd, 0, at, n) ? errno : 0; }
int posix_fallocate64(int fd, off64_t at, off64_t n) { forbid(fd, "fallocate"); return syscall(SYS_fallocate, fd, 0, at, n) ? errno : 0; }
int sync_file_range(int fd, off64_t at, off64_t n, unsigned flags) { forbid(fd, "sync_file_range"); return syscall(SYS_sync_file_range, fd, at, n, flags); }
ssize_t copy_file_range(int in, off64_t *from, int out, off64_t *to, size_t n, unsigned flags) { forbid(out, "copy_file_range"); return syscall(SYS_copy_file_range, in, from, out, to, n, flags); }
ssize_t sendfile64(int out, int in, off64_t *from, size_t n) { forbid(out, "sendfile"); return syscall(SYS_sendfile, out, in, from, n); }
int dup(int fd) { forbid(fd, "dup"); return syscall(SYS_dup, fd); }
int dup2(int fd, int to) { forbid(fd, "dup2"); forbid(to, "dup2"); return syscall(SYS_dup3, fd, to, 0); }
int dup3(int fd, int to, int flags) { forbid(fd, "dup3"); forbid(to, "dup3"); return syscall(SYS_dup3, fd, to, flags); }
int truncate(const char *path, off_t n) { if (tracked_path(path)) die("truncate", path); return syscall(SYS_truncate, path, n); }
int truncate64(const char *path, off64_t n) { if (tracked_path(path)) die("truncate", path); return syscall(SYS_truncate, path, n); }
int link(const char *from, const char *to) { if (tracked_path(from) || tracked_path(to)) die("link", to); return syscall(SYS_linkat, AT_FDCWD, from, AT_FDCWD, to, 0); }
int symlink(const char *from, const char *to) { if (tracked_path(to)) die("symlink", to); return syscall(SYS_symlinkat, from, AT_FDCWD, to); }
int renameat(int d, const char *from, int e, const char *to) { if (tracked_path(from) || tracked_path(to)) die("renameat", to); return syscall(SYS_renameat2, d, from, e, to, 0); }
int rmdir(const char *path) { if (tracked_path(path)) die("rmdir", path); return syscall(SYS_unlinkat, AT_FDCWD, path, AT_REMOVEDIR); }
