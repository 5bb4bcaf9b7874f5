/* One container's life, for the commands and for the monitor that calls it in its own process.
 *
 * All functions return 0 or a negative errno with one line of text. A failed create leaves no
 * process, mount, cgroup or folder. Descriptors returned are close-on-exec and owned by the
 * caller. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "err.h"

enum container_status {
	CONTAINER_CREATING,
	CONTAINER_CREATED,
	CONTAINER_RUNNING,
	CONTAINER_PAUSED,
	CONTAINER_STOPPED,
};

const char *container_status_name(enum container_status status);

struct create_opts {
	const char *root;	    /* state folder; NULL = /run/berth */
	const char *id;		    /* 1..200 of [A-Za-z0-9_+.-], not "." or ".." */
	const char *bundle;	    /* folder with config.json; NULL = "." */
	const char *config;	    /* another path than BUNDLE/config.json, or NULL */
	const char *pid_file;	    /* written after creation, or NULL */
	const char *console_socket; /* path that receives the pty master, or NULL */
	/* Given to the main process as 0, 1, 2; still the caller's. Ignored with process.terminal.
	 * -1 = the caller's own 0, 1, 2. */
	int stdio[3];
	int preserve_fds; /* descriptors 3..3+n-1 stay open in the container */
	int listen_fds;	  /* how many of them are LISTEN_FDS, which the container is told */
	/* The caller itself calls container_start on the same struct container: no exec fifo is
	 * made, and an exec that fails is reported by container_start. */
	bool start_in_process;
	bool no_pivot;
	bool no_new_keyring;
	bool keep_terminal; /* with process.terminal and no console_socket: keep the master in ret
			     */
	bool cgroup_disabled;
	bool rootless;
};

#define CREATE_OPTS_INIT                                                                           \
	{                                                                                          \
		.stdio = { -1, -1, -1 }                                                            \
	}

struct container {
	char id[201];
	pid_t pid; /* main process in the caller's pid namespace; with dev.gantry.init the init */
	int pidfd; /* poll for POLLIN: the main process has ended */
	uint64_t start_time; /* field 22 of /proc/PID/stat */
	int terminal_fd;     /* pty master when process.terminal and keep_terminal, else FD_NONE */
	int sync_fd;	     /* to the process that waits for container_start, else FD_NONE */
	int dir_fd;	     /* the container's state folder */
	int hook_count;	     /* poststart and poststop hooks still to be run */
	struct cgroup *cgroup; /* NULL when cgroups are disabled */
	char *state_root;
	char *cgroup_path; /* set instead of cgroup by container_peek */
};

#define CONTAINER_INIT                                                                             \
	{                                                                                          \
		.pidfd = -EBADF, .terminal_fd = -EBADF, .sync_fd = -EBADF, .dir_fd = -EBADF        \
	}

/* Creates the container up to the point where its main process waits. The main process is a
 * child of the caller, who must wait for it. Memory used for config.json is released. */
int container_create(const struct create_opts *opts, struct container *ret, struct err *err);

/* Opens an existing container by id; -ENOENT when there is none. */
int container_open(const char *root, const char *id, struct container *ret, struct err *err);

/* The same for looking only (state, list): cgroups stay closed, so that a thousand are quick. */
int container_peek(const char *root, const char *id, struct container *ret, struct err *err);

/* Lets the main process exec, runs poststart hooks. After create in this process with
 * start_in_process a failed exec is an error here and the process is gone. */
int container_start(struct container *c, struct err *err);

int container_state(const struct container *c, enum container_status *ret, struct err *err);

/* Signals the main process through its pidfd, or with `all` every process of the cgroup.
 * -ESRCH when nothing is left. */
int container_kill(const struct container *c, int signal, bool all, struct err *err);

/* SIGKILL to everything in the container's cgroup; returns at once, also when it was empty. */
int container_kill_cgroup(const struct container *c, struct err *err);

/* Removes cgroups and state folder, runs poststop hooks. Without `force` a live container is
 * refused (-EBUSY); with it everything in it is killed first. The caller must have waited for
 * the main process if it is its child. */
int container_delete(struct container *c, bool force, struct err *err);

struct exec_opts {
	const char *process; /* JSON text of an OCI process object */
	size_t process_len;
	int stdio[3];		    /* as in create_opts; ignored with a terminal */
	const char *console_socket; /* or NULL: the master is returned */
	uint16_t rows, cols;	    /* of the terminal; 0 = leave; process.consoleSize also works */
	const char *cgroup;	    /* sub-group below the container's, or NULL */
	int preserve_fds;
	bool ignore_paused;
	bool cgroup_disabled;
};

#define EXEC_OPTS_INIT                                                                             \
	{                                                                                          \
		.stdio = { -1, -1, -1 }                                                            \
	}

struct exec_result {
	pid_t pid; /* a child of the caller, who must wait for it */
	int pidfd;
	int terminal_fd; /* pty master, or FD_NONE */
};

/* Runs one more process in the container; returns when its exec succeeded. */
int container_exec(const struct container *c, const struct exec_opts *opts, struct exec_result *ret,
		   struct err *err);

/* Applies an OCI linux.resources object (JSON text) in place. */
int container_update(const struct container *c, const char *resources, size_t len, struct err *err);

struct container_usage {
	uint64_t cpu_us;
	uint64_t memory_bytes;
	uint64_t memory_peak_bytes;
	uint64_t io_read_bytes, io_write_bytes;
	uint64_t io_read_ops, io_write_ops;
	uint64_t oom_kills;
	uint64_t pids;
};

/* Reads what the container's cgroups say; figures that the kernel does not give stay 0. */
int container_stats(const struct container *c, struct container_usage *ret, struct err *err);

int container_freeze(const struct container *c, bool frozen, struct err *err);

/* Closes descriptors and frees memory; the container itself goes on. */
void container_close(struct container *c);

#define _cleanup_container_ __attribute__((cleanup(container_close)))
