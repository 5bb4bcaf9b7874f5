/* The state folder: ROOT/ID, mode 0700, with state.json, config.json and the exec fifo. */
#pragma once
#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "err.h"
#include "spec.h"

#define STATE_DEFAULT_ROOT "/run/berth"

struct state {
	const char *version, *bundle, *rootfs, *created;
	int pid; /* 0 while it is being created */
	uint64_t start_time;
	const char *cgroup; /* NULL = cgroups disabled */
	uint32_t owner;
	bool poststop, poststart;
	const struct json *annotations;
};

/* 1..200 of letters, digits and "_+.-", not "." and "..": the id becomes a folder's name. */
int state_check_id(const char *id, struct err *err);
/* Opens ROOT (NULL = default); with `make` creates it. */
int state_open_root(const char *root, bool make, struct err *err);
int state_save(int dir_fd, const char *id, const struct state *s, const struct spec *spec,
	       struct err *err);
int state_load(struct arena *a, int dir_fd, struct state *ret, struct err *err);
/* Removes ROOT/ID with its known files; other names are left and make it fail. */
int state_remove(int root_fd, const char *id, struct err *err);

/* The OCI state document that hooks and `state` give; the caller frees it. */
int state_format(const struct spec *spec, const char *id, const char *status, int pid,
		 const char *bundle, char **ret, struct err *err);

/* Field 22 of /proc/PID/stat, or 0 when there is no such process or only its zombie. */
uint64_t process_start_time(int pid);
void state_now(char *ret, size_t size); /* RFC 3339 with nanoseconds, UTC */
