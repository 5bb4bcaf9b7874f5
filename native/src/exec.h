/* One more process in a running container. */
#pragma once
#include "cgroup.h"
#include "container.h"
#include "seccomp.h"
#include "spec.h"

struct exec_plan {
	struct arena arena;
	const struct container *c;
	const struct exec_opts *opts;
	struct spec spec; /* of the container */
	struct spec_process *process;
	struct seccomp_filter filter;
	struct cgroup_tasks tasks;
	int cgroup_fd; /* v2 group to be cloned into, or FD_NONE */
	int sync[2];
	int console_fd;
	char program[4096];
};

/* Reads the container's configuration; plan->process is then a copy of its process, to be changed
 * or replaced. */
int exec_plan_load(struct exec_plan *plan, const struct container *c, const struct exec_opts *opts,
		   struct err *err);
/* Replaces the process by a JSON process object; what it leaves out comes from the container. */
int exec_plan_parse(struct exec_plan *plan, const char *text, size_t len, struct err *err);
int exec_plan_run(struct exec_plan *plan, struct exec_result *ret, struct err *err);
void exec_plan_release(struct exec_plan *plan);
