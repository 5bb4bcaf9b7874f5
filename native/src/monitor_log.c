#include "monitor_log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"

/* Records that go to the kernel in one call; each takes up to three pieces. */
#define BATCH_RECORDS 64
#define BATCH_PIECES  (BATCH_RECORDS * 3)

/* How long a full disk is left alone. */
#define PAUSE_MS 1000

/* "2026-11-23T23:08:01.123456789Z stderr F " */
#define HEAD_BYTES 64

struct batch {
	struct iovec pieces[BATCH_PIECES];
	int count;
	unsigned records;
	size_t bytes;
	char full[HEAD_BYTES], partial[HEAD_BYTES]; /* both heads, made once a batch */
	char newline[1];
};

static void head(char out[HEAD_BYTES], const struct timespec *now, const char *stream, char tag)
{
	struct tm utc;

	(void)gmtime_r(&now->tv_sec, &utc);
	(void)snprintf(out, HEAD_BYTES, "%04d-%02d-%02dT%02d:%02d:%02d.%09ldZ %s %c ",
		       utc.tm_year + 1900, utc.tm_mon + 1, utc.tm_mday, utc.tm_hour, utc.tm_min,
		       utc.tm_sec, now->tv_nsec, stream, tag);
}

static void batch_init(struct batch *batch, const char *stream)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now);
	head(batch->full, &now, stream, 'F');
	head(batch->partial, &now, stream, 'P');
	batch->newline[0] = '\n';
	batch->count = 0;
	batch->records = 0;
	batch->bytes = 0;
}

static void add_piece(struct batch *batch, char *bytes, size_t length)
{
	batch->pieces[batch->count++] = (struct iovec){.iov_base = bytes, .iov_len = length};
	batch->bytes += length;
}

/* A full line brings its newline with it, a partial one gets one. */
static void add_record(struct batch *batch, char *text, size_t length, bool partial)
{
	char *start = partial ? batch->partial : batch->full;

	add_piece(batch, start, strlen(start));
	add_piece(batch, text, length);
	if (partial)
		add_piece(batch, batch->newline, 1);
	batch->records++;
}

static int open_file(struct log *log)
{
	struct stat info;
	int fd = openat(log->dir_fd, "log",
			O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);

	if (fd < 0 || fstat(fd, &info) < 0 || !S_ISREG(info.st_mode)) {
		int failure = fd < 0 ? -errno : -EINVAL;

		cleanup_close(&fd);
		return failure;
	}
	log->fd = fd;
	log->size = (uint64_t)info.st_size;
	return 0;
}

/* log.(n-2) -> log.(n-1), ..., log -> log.1; with one file the log starts again. */
static int rotate(struct log *log)
{
	char from[24], to[24];

	if (log->config.max_files < 2) {
		if (ftruncate(log->fd, 0) < 0)
			return -errno;
		log->size = 0;
		return 0;
	}
	for (unsigned n = log->config.max_files - 1; n > 0; n--) {
		if (n > 1)
			(void)snprintf(from, sizeof(from), "log.%u", n - 1);
		else
			(void)snprintf(from, sizeof(from), "log");
		(void)snprintf(to, sizeof(to), "log.%u", n);
		if (renameat(log->dir_fd, from, log->dir_fd, to) < 0 && errno != ENOENT)
			return -errno;
	}
	close_and_forget(&log->fd);
	return open_file(log);
}

/* All or nothing: what was written in part is taken back, so that no record is ever cut. */
static int write_pieces(struct log *log, const struct iovec *pieces, int count, size_t bytes)
{
	ssize_t wrote;
	int failure = 0;

	if (log->fd < 0)
		failure = open_file(log);
	else if (log->size > 0 && log->size + bytes > log->config.max_bytes)
		failure = rotate(log);
	if (failure < 0)
		return failure;
	do {
		wrote = writev(log->fd, pieces, count);
	} while (wrote < 0 && errno == EINTR);
	if (wrote == (ssize_t)bytes) {
		log->size += bytes;
		return 0;
	}
	failure = wrote < 0 ? -errno : -ENOSPC;
	if (wrote > 0 && ftruncate(log->fd, (off_t)log->size) < 0) {
		/* The cut record stays; from here on count with it. */
		log->size += (uint64_t)wrote;
	}
	return failure;
}

static int64_t monotonic_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int64_t log_retry_at_ms(const struct log *log)
{
	return log->lost ? log->pause_until_ms : -1;
}

bool log_retry(struct log *log)
{
	char text[192];
	struct timespec now;
	struct iovec piece = {.iov_base = text};

	if (log->lost == 0)
		return true;
	(void)clock_gettime(CLOCK_REALTIME, &now);
	head(text, &now, "stderr", 'F');
	(void)snprintf(text + strlen(text), sizeof(text) - strlen(text),
		       "gantry: %llu lines lost: %s\n", (unsigned long long)log->lost,
		       log->lost_errno == ENOSPC ? "no space left on device"
						 : strerror(log->lost_errno));
	piece.iov_len = strlen(text);
	if (write_pieces(log, &piece, 1, piece.iov_len) < 0) {
		log->pause_until_ms = monotonic_ms() + PAUSE_MS;
		return false;
	}
	log->lost = 0;
	return true;
}

static void write_batch(struct log *log, struct batch *batch)
{
	int result = -ENOSPC;

	if (batch->records == 0)
		return;
	if (log->lost == 0 || (monotonic_ms() >= log->pause_until_ms && log_retry(log)))
		result = write_pieces(log, batch->pieces, batch->count, batch->bytes);
	if (result < 0) {
		if (log->lost == 0) {
			log->lost_errno = -result;
			log->pause_until_ms = monotonic_ms() + PAUSE_MS;
		}
		log->lost += batch->records;
	}
	batch->count = 0;
	batch->records = 0;
	batch->bytes = 0;
}

void log_open(struct log *log, int dir_fd, const struct log_config *config)
{
	*log = (struct log){.config = *config, .dir_fd = dir_fd, .fd = FD_NONE};
	/* A failure here shows again, and is counted, with the first line. */
	if (!config->disabled)
		(void)open_file(log);
}

void log_close(struct log *log)
{
	close_and_forget(&log->fd);
	/* Lines that could not be told of by now never will be: the folder is another's. */
	log->lost = 0;
}

char *log_room(struct log_stream *stream, size_t *ret_room)
{
	*ret_room = sizeof(stream->bytes) - stream->used;
	return stream->bytes + stream->used;
}

void log_take(struct log *log, struct log_stream *stream, size_t length)
{
	struct batch batch;
	size_t begin = 0;
	size_t seen = stream->used; /* no newline in front of this */
	char *newline;

	stream->used += length;
	if (log->config.disabled) {
		stream->used = 0;
		return;
	}
	batch_init(&batch, stream->name);
	while ((newline = memchr(stream->bytes + seen, '\n', stream->used - seen))) {
		size_t end = (size_t)(newline - stream->bytes) + 1;

		if (batch.records == BATCH_RECORDS)
			write_batch(log, &batch);
		add_record(&batch, stream->bytes + begin, end - begin, false);
		begin = seen = end;
	}
	if (begin == 0 && stream->used == sizeof(stream->bytes)) {
		add_record(&batch, stream->bytes, stream->used, true);
		begin = stream->used;
	}
	write_batch(log, &batch);
	stream->used -= begin;
	memmove(stream->bytes, stream->bytes + begin, stream->used);
}

void log_finish(struct log *log, struct log_stream *stream)
{
	struct batch batch;

	if (stream->used > 0 && !log->config.disabled) {
		batch_init(&batch, stream->name);
		add_record(&batch, stream->bytes, stream->used, true);
		write_batch(log, &batch);
	}
	stream->used = 0;
}
