/* Everything that the creating process prepared and the container's first process needs. The child
 * sees it copy-on-write; nothing travels over a wire. */
#pragma once
#include <stdbool.h>

#include "arena.h"
#include "cgroup.h"
#include "container.h"
#include "seccomp.h"
#include "spec.h"

/* The memory that holds this program's arguments, and is shown to everyone in /proc/PID/cmdline. */
struct title {
	char *start;
	size_t size;
};

struct launch {
	struct arena arena;
	struct spec spec;
	const struct create_opts *opts;
	const char *id;
	const char *bundle;	 /* absolute */
	const char *rootfs;	 /* absolute */
	const char *config_text; /* kept in the state folder for later exec */
	size_t config_len;
	struct cgroup *cgroup;
	struct cgroup_tasks tasks;
	struct seccomp_filter filter;
	int sync[2];	/* [0] parent's, [1] child's */
	int fifo_fd;	/* exec fifo, open for reading and writing, or FD_NONE */
	int console_fd; /* connected to --console-socket, or FD_NONE */
	int overlay_fd; /* detached overlay, or FD_NONE */
	int *sources;	/* per mount: detached bind source prepared by the parent, or FD_NONE */
	bool new_user;

	/* Owned by the child. */
	int root_fd;   /* root of the container's tree */
	int proc_fd;   /* private procfs */
	int devpts_fd; /* the container's devpts, or FD_NONE */
	int null_fd;   /* the host's real /dev/null */
	int console_slave;
	char exec_path[4096];
	struct title title; /* found when the container gets berth's own init */
};

/* create's steps in the parent */
int launch_load(struct launch *l, const struct create_opts *opts, struct err *err);
void launch_release(struct launch *l);

/* Clones the first process; returns its pid in the parent. `entry` runs in the child and never
 * returns. */
int launch_spawn(struct launch *l, pid_t *ret_pid, int *ret_pidfd, struct err *err);

/* The child's whole life up to exec. */
_Noreturn void init_main(struct launch *l);

/* Steps of init_main, one file each. */
int rootfs_prepare(struct launch *l, struct err *err);
int rootfs_enter(struct launch *l, struct err *err);
int mount_prepare_sources(struct launch *l, struct err *err);
int mount_all(struct launch *l, struct err *err);
int overlay_prepare(struct launch *l, struct err *err);
int devices_make(struct launch *l, struct err *err);
int paths_restrict(struct launch *l, struct err *err);
int console_setup(struct launch *l, struct err *err);
int stdio_setup(const int stdio[3], struct err *err);
int namespaces_join(const struct spec *spec, bool all, struct err *err);
int namespaces_check(const struct spec *spec, struct err *err);
bool namespaces_need_scout(const struct spec *spec);
int namespaces_time_offsets(const struct spec *spec, struct err *err);
uint64_t namespaces_clone_flags(const struct spec *spec);
int network_loopback_up(struct err *err);
int idmap_user_namespace(const struct id_maps *uids, const struct id_maps *gids, int *ret_fd,
			 struct err *err);
int idmap_write(pid_t pid, const struct id_maps *uids, const struct id_maps *gids, struct err *err);
