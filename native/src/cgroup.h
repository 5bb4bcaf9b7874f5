/* Cgroups of one container on v1, v2 and hybrid hosts.
 *
 * A "dir" is the container's group in one hierarchy. On a hybrid host there is one per v1
 * hierarchy and one in the v2 tree, which gives atomic kill, freeze and pressure even when it has
 * no controllers. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "arena.h"
#include "err.h"
#include "resources.h"

enum cg_ctrl {
	CG_CPU,
	CG_CPUACCT,
	CG_CPUSET,
	CG_MEMORY,
	CG_DEVICES,
	CG_FREEZER,
	CG_BLKIO,
	CG_PIDS,
	CG_HUGETLB,
	CG_NET_CLS,
	CG_NET_PRIO,
	CG_RDMA,
	CG_PERF,
	CG_SYSTEMD,
	CG_UNIFIED, /* the v2 tree */
	CG_COUNT
};

struct cgroup_dir {
	int mount_fd; /* O_PATH on the hierarchy's root */
	int fd;	      /* the container's group, or FD_NONE before create or open */
	unsigned long long device;
	const char *name; /* folder below /sys/fs/cgroup */
	bool created;
	int parents_created;
};

struct cgroup {
	char *path; /* absolute, below each hierarchy's root */
	bool pure_v2;
	size_t count;
	struct cgroup_dir dirs[CG_COUNT];
	signed char at[CG_COUNT]; /* index into dirs, or -1 when the host has no such controller */
};

/* What one write does; planned first, so that v1 and v2 rules are pure and tested. */
struct cg_write {
	enum cg_ctrl ctrl;
	const char *file, *fallback_file;
	const char *value, *fallback_value;
	bool optional; /* an absent file is no error */
};

struct cg_plan {
	struct arena *arena;
	size_t count, cap;
	struct cg_write *items;
	bool failed;
};

/* Finds the host's hierarchies. `path` is checked (absolute, no "..", no control characters). */
int cgroup_new(const char *path, struct cgroup **ret, struct err *err);
void cgroup_free(struct cgroup *cg);
static inline void cgroup_freep(struct cgroup **cg)
{
	cgroup_free(*cg);
}
#define _cleanup_cgroup_ __attribute__((cleanup(cgroup_freep)))

/* The group's descriptor for a controller (on pure v2 the one group), or -ENOENT. */
int cgroup_fd(const struct cgroup *cg, enum cg_ctrl ctrl);

int cgroup_create(struct cgroup *cg, struct err *err);
/* Opens existing groups; hierarchies where the group is gone are left out. */
int cgroup_open(struct cgroup *cg);
/* Removes groups made by a create that failed, with the parents it made. */
void cgroup_undo(struct cgroup *cg);
/* Removes the groups, waiting up to `wait_ms` for dying processes. */
int cgroup_remove(struct cgroup *cg, int wait_ms, struct err *err);

void cg_plan_add(struct cg_plan *p, enum cg_ctrl ctrl, const char *file, const char *value);
void cg_plan_add_full(struct cg_plan *p, const struct cg_write *w);
int cg_plan_v1(const struct resources *r, struct cg_plan *p, struct err *err);
int cg_plan_v2(const struct resources *r, struct cg_plan *p, struct err *err);
int cgroup_apply(const struct cgroup *cg, const struct resources *r, struct err *err);

/* v1 device rules, or on pure v2 a BPF program attached to the group. */
int cgroup_apply_devices(const struct cgroup *cg, const struct resources *r, struct err *err);
/* Replaces all programs by the one for these rules. */
int cgroup_attach_devices(int fd, const struct device_rule *rules, size_t count, struct err *err);

/* For the child that is to join: descriptors of v1 `tasks` files, opened by the parent. On pure v2
 * and in the v2 part of a hybrid the child is cloned into the group instead. */
struct cgroup_tasks {
	int fds[CG_COUNT];
	size_t count;
	int devices; /* joined later, when the device nodes stand */
};
int cgroup_open_tasks(const struct cgroup *cg, struct cgroup_tasks *ret, struct err *err);
void cgroup_close_tasks(struct cgroup_tasks *t);
int cgroup_join_tasks(const struct cgroup_tasks *t, struct err *err);
int cgroup_join_devices(const struct cgroup_tasks *t, struct err *err);

/* SIGKILL to all; with `signal` another signal to all. Returns how many were signalled. */
int cgroup_kill(const struct cgroup *cg, struct err *err);
int cgroup_signal_all(const struct cgroup *cg, int signal, struct err *err);
/* All process ids in the group and below; the caller frees. */
int cgroup_pids(const struct cgroup *cg, pid_t **ret, size_t *ret_count, struct err *err);
int cgroup_freeze(const struct cgroup *cg, bool frozen, struct err *err);
/* The same by path alone, without opening every hierarchy. */
bool cgroup_path_is_frozen(const char *path);
/* Whether the group itself or one above it is frozen. */
bool cgroup_is_frozen(const struct cgroup *cg);
