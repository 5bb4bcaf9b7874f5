/* The commands and what all of them share. A command returns the process's exit status through
 * *ret_status on success (0) or a negative errno with the error's line. */
#pragma once
#include <stdbool.h>

#include "err.h"

struct globals {
	const char *root; /* state folder, default /run/berth */
	const char *log;  /* log file or NULL */
	bool log_json;
	bool debug;
	bool systemd_cgroup;
	const char *cgroup_manager; /* "cgroupfs" or "disabled" */
};

typedef int (*command_fn)(const struct globals *g, int argc, char **argv, int *ret_status,
			  struct err *err);

/* argv[0] is the command's own name. */
int cmd_monitor(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err);
int cmd_create(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err);
int cmd_run(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err);
int cmd_start(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err);
int cmd_state(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err);
int cmd_list(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err);
int cmd_ps(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err);
int cmd_kill(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err);
int cmd_delete(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err);
int cmd_exec(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err);
int cmd_pause(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err);
int cmd_resume(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err);
int cmd_update(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err);
int cmd_events(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err);
int cmd_features(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err);
int cmd_spec(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err);
int cmd_version(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err);
