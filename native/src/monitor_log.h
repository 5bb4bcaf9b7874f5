/* The container's log in CRI text format: `2026-11-23T23:08:01.123456789Z stdout F text`.
 *
 * A full disk never holds up the container: what cannot be written is counted, writing is tried
 * again each second, and the count is then told in one line. The file always ends with a whole
 * record. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A longer line is written in parts tagged P. */
#define LOG_LINE_MAX 16384

struct log_config {
	uint64_t max_bytes; /* of one file */
	unsigned max_files; /* log, log.1, ...; at least 1 */
	bool disabled;	    /* take and forget */
};

struct log {
	struct log_config config;
	int dir_fd; /* the monitor's folder; not owned */
	int fd;
	uint64_t size; /* of the present file: all of it whole records */
	uint64_t lost; /* lines not written since the disk was full */
	int lost_errno;
	int64_t pause_until_ms; /* after a failure: when writing is tried again */
};

/* One of the container's outputs: the bytes of a line whose end has not come yet. */
struct log_stream {
	const char *name; /* "stdout" or "stderr" */
	size_t used;
	char bytes[LOG_LINE_MAX];
};

/* Opens or continues the log. A failure is remembered and tried again like a full disk. */
void log_open(struct log *log, int dir_fd, const struct log_config *config);
void log_close(struct log *log);

/* Where the next bytes of the stream are to be read to; there is always room for one. */
char *log_room(struct log_stream *stream, size_t *ret_room);

/* Takes `length` bytes that were read to log_room: writes the lines that are now complete. */
void log_take(struct log *log, struct log_stream *stream, size_t length);

/* The stream has ended: writes what is left of it as a partial line. */
void log_finish(struct log *log, struct log_stream *stream);

/* Tries to tell about lost lines; true when none are left to tell. */
bool log_retry(struct log *log);

/* When log_retry is due (monotonic milliseconds), or -1 when nothing was lost. */
int64_t log_retry_at_ms(const struct log *log);
