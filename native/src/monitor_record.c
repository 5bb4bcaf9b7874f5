#include "monitor_record.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "sys.h"

/* An exit record has some 400 bytes. */
#define EXIT_ROOM 1024

/* How long a monitor that is about to end is waited for. */
#define CLAIM_WAIT_MS  2000
#define CLAIM_PAUSE_MS 5

uint64_t wall_clock_us(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* Field 22 of our own stat line: what tells this process from a later one with the same pid. */
static uint64_t own_start_time(void)
{
	_cleanup_free_ char *text = NULL;
	const char *p;

	if (read_file_at(AT_FDCWD, "/proc/self/stat", 4096, &text, NULL) < 0)
		return 0;
	/* The name in the second field may contain anything, so count from its last parenthesis. */
	p = strrchr(text, ')');
	for (int field = 2; p && field < 22; field++) {
		p = strchr(p, ' ');
		if (p)
			p++;
	}
	return p ? strtoull(p, NULL, 10) : 0;
}

static int lock_file(int fd)
{
	struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
	const struct timespec pause = {.tv_nsec = CLAIM_PAUSE_MS * 1000000L};

	for (int waited = 0; fcntl(fd, F_SETLK, &lock) < 0; waited += CLAIM_PAUSE_MS) {
		if ((errno != EAGAIN && errno != EACCES) || waited >= CLAIM_WAIT_MS)
			return -errno;
		(void)nanosleep(&pause, NULL);
	}
	return 0;
}

int record_claim(int dir_fd, int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd =
	    openat(dir_fd, "monitor.pid", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	char text[64];
	int result;

	if (fd < 0)
		return err_sys(err, -errno, "cannot open monitor.pid");
	if (lock_file(fd) < 0)
		return err_set(err, -EBUSY, "cannot monitor: another monitor lives in this folder");
	(void)snprintf(text, sizeof(text), "%d %llu\n", getpid(),
		       (unsigned long long)own_start_time());
	result = ftruncate(fd, 0) < 0 ? -errno : write_all(fd, text, strlen(text));
	if (result < 0)
		return err_sys(err, result, "cannot write monitor.pid");
	*ret_fd = steal_fd(&fd);
	return 0;
}

int record_clear(int dir_fd, struct err *err)
{
	static const char *const stale[] = {"exit", "started", "started.tmp", "monitor.sock"};

	for (size_t i = 0; i < ARRAY_LEN(stale); i++)
		if (unlinkat(dir_fd, stale[i], 0) < 0 && errno != ENOENT)
			return err_sys(err, -errno, "cannot remove the former \"%s\"", stale[i]);
	return 0;
}

int record_reserve(int dir_fd, struct err *err)
{
	_cleanup_close_ int fd =
	    openat(dir_fd, "exit.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
	char room[EXIT_ROOM];
	int result;

	if (fd < 0)
		return err_sys(err, -errno, "cannot create exit.tmp");
	/* Real bytes: fallocate is not known to every file system. */
	memset(room, ' ', sizeof(room));
	result = write_all(fd, room, sizeof(room));
	return result < 0 ? err_sys(err, result, "cannot set room aside") : 0;
}

void record_discard(int dir_fd)
{
	static const char *const own[] = {"exit.tmp", "started.tmp", "started", "monitor.sock",
					  "monitor.pid"};

	for (size_t i = 0; i < ARRAY_LEN(own); i++)
		(void)unlinkat(dir_fd, own[i], 0);
}

void put_start(struct jw *w, const struct start_record *start)
{
	char text[24];

	(void)snprintf(text, sizeof(text), "%llu", (unsigned long long)start->start_time);
	jw_i64(w, "pid", start->pid);
	jw_string(w, "startTime", text);
	jw_u64(w, "startedAtUs", start->started_at_us);
}

void put_usage(struct jw *w, const struct container_usage *usage)
{
	jw_object(w, "usage");
	jw_u64(w, "cpuUs", usage->cpu_us);
	jw_u64(w, "memoryPeakBytes", usage->memory_peak_bytes);
	jw_u64(w, "ioReadBytes", usage->io_read_bytes);
	jw_u64(w, "ioWriteBytes", usage->io_write_bytes);
	jw_u64(w, "ioReadOps", usage->io_read_ops);
	jw_u64(w, "ioWriteOps", usage->io_write_ops);
	jw_u64(w, "oomKills", usage->oom_kills);
	jw_object_end(w);
}

void put_exit(struct jw *w, const struct exit_record *record)
{
	put_start(w, &record->start);
	jw_i64(w, "exitCode", record->exit_code);
	jw_i64(w, "signal", record->signal);
	jw_bool(w, "oomKilled", record->oom_killed);
	jw_u64(w, "exitedAtUs", record->exited_at_us);
	put_usage(w, &record->usage);
}

int record_started(int dir_fd, const struct start_record *start, struct err *err)
{
	_cleanup_jw_ struct jw w = {.buf = NULL};
	_cleanup_close_ int fd = FD_NONE;
	const char *text;
	size_t length;
	int result;

	jw_object(&w, NULL);
	put_start(&w, start);
	jw_object_end(&w);
	result = jw_finish(&w, &text, &length);
	if (result < 0)
		return err_sys(err, result, "cannot make the start record");
	fd = openat(dir_fd, "started.tmp", O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
		    0600);
	if (fd < 0)
		return err_sys(err, -errno, "cannot create started.tmp");
	result = write_all(fd, text, length);
	if (result < 0)
		return err_sys(err, result, "cannot write started.tmp");
	if (renameat(dir_fd, "started.tmp", dir_fd, "started") < 0)
		return err_sys(err, -errno, "cannot rename started.tmp");
	return 0;
}

/* Overwrites the reserved bytes first and cuts the file to length then: no step needs new space. */
static int write_durably(int dir_fd, const char *text, size_t length, struct err *err)
{
	_cleanup_close_ int fd =
	    openat(dir_fd, "exit.tmp", O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	int result;

	if (fd < 0)
		return err_sys(err, -errno, "cannot open exit.tmp");
	result = write_all(fd, text, length);
	if (result == 0 && (ftruncate(fd, (off_t)length) < 0 || fsync(fd) < 0))
		result = -errno;
	if (result < 0)
		return err_sys(err, result, "cannot write exit.tmp");
	if (renameat(dir_fd, "exit.tmp", dir_fd, "exit") < 0 || fsync(dir_fd) < 0)
		return err_sys(err, -errno, "cannot rename exit.tmp");
	return 0;
}

int record_exit(int dir_fd, const struct exit_record *record, struct err *err)
{
	_cleanup_jw_ struct jw w = {.buf = NULL};
	const char *text;
	size_t length;
	int result;

	jw_object(&w, NULL);
	put_exit(&w, record);
	jw_object_end(&w);
	result = jw_finish(&w, &text, &length);
	if (result < 0)
		return err_sys(err, result, "cannot make the exit record");
	return write_durably(dir_fd, text, length, err);
}
