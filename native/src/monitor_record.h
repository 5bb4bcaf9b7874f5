/* The files by which a monitor is known to those who come later: `started`, `exit`, `monitor.pid`.
 * Each appears whole or not at all. */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "container.h"
#include "json_write.h"

struct start_record {
	pid_t pid;
	uint64_t start_time; /* field 22 of /proc/PID/stat */
	uint64_t started_at_us;
};

struct exit_record {
	struct start_record start;
	int exit_code; /* 128 + signal when signalled */
	int signal;    /* 0 or its number */
	bool oom_killed;
	uint64_t exited_at_us;
	struct container_usage usage;
};

uint64_t wall_clock_us(void);

/* Takes the folder for this monitor and names its pid and start time in monitor.pid. One that is
 * just ending is waited for; -EBUSY when it stays. The lock is not inherited by children and ends
 * with `ret_fd`, the caller's. */
int record_claim(int dir_fd, int *ret_fd, struct err *err);

/* Removes what a former run left. */
int record_clear(int dir_fd, struct err *err);

/* Sets room for the exit record aside, so that a full disk cannot keep it from being written. */
int record_reserve(int dir_fd, struct err *err);

/* The folder is as it was before a start that failed. */
void record_discard(int dir_fd);

int record_started(int dir_fd, const struct start_record *start, struct err *err);

/* Durable when it returns 0: the file and its name are on disk. */
int record_exit(int dir_fd, const struct exit_record *record, struct err *err);

/* The members of the records, for those who are told by other ways. */
void put_start(struct jw *w, const struct start_record *start);
void put_exit(struct jw *w, const struct exit_record *record);
void put_usage(struct jw *w, const struct container_usage *usage);
