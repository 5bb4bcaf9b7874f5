/* The clone: one step where possible, through a scout where a namespace demands it. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "fault.h"
#include "launch.h"
#include "sync.h"
#include "sys.h"

/* The scout joins and unshares what only its children shall feel, makes the container's first
 * process as its own sibling (CLONE_PARENT), tells its pid and ends. */
_Noreturn static void scout_main(struct launch *l)
{
	struct err err = ERR_INIT;
	pid_t pid;
	int r = cgroup_join_tasks(&l->tasks, &err);

	l->tasks.count = 0; /* the container's process inherits the groups */
	if (r >= 0)
		r = namespaces_time_offsets(&l->spec, &err);
	if (r >= 0)
		r = namespaces_join(&l->spec, true, &err);
	if (r < 0)
		goto failed;
	pid = sys_clone3(namespaces_clone_flags(&l->spec) | CLONE_PARENT, NULL, FD_NONE);
	if (pid == 0)
		init_main(l);
	if (pid < 0) {
		(void)err_sys(&err, pid, "cannot clone the container's process");
		goto failed;
	}
	(void)sync_send(l->sync[1], SYNC_PID, (int)pid, FD_NONE);
	_exit(0);
failed:
	sync_send_error(l->sync[1], &err);
	_exit(1);
}

static int spawn_through_scout(struct launch *l, int cgroup_fd, pid_t *ret_pid, int *ret_pidfd,
			       struct err *err)
{
	struct sync_message m;
	int r, status;
	pid_t scout = sys_clone3(0, NULL, cgroup_fd);

	if (scout == 0)
		scout_main(l);
	if (scout < 0)
		return err_sys(err, scout, "cannot clone");
	r = sync_receive(l->sync[0], &m, NULL, err);
	(void)waitpid(scout, &status, 0);
	if (r < 0)
		return r;
	if (r == 0 || m.kind != SYNC_PID)
		return err_set(err, -EPROTO, "the scout ended without a process");
	*ret_pid = m.number;
	*ret_pidfd = sys_pidfd_open(m.number);
	return *ret_pidfd < 0 ? err_sys(err, *ret_pidfd, "cannot open a pidfd") : 0;
}

static int write_oom_score(const struct launch *l, pid_t pid, struct err *err)
{
	char path[64], text[16];
	int r;

	if (!l->spec.process || !l->spec.process->has_oom_score)
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
	(void)snprintf(text, sizeof(text), "%d", l->spec.process->oom_score);
	r = write_file_at(AT_FDCWD, path, text);
	return r < 0 ? err_sys(err, r, "process.oomScoreAdj: cannot write %s", text) : 0;
}

int launch_spawn(struct launch *l, pid_t *ret_pid, int *ret_pidfd, struct err *err)
{
	int cgroup_fd = l->cgroup ? l->cgroup->at[CG_UNIFIED] : -1;
	bool scout = namespaces_need_scout(&l->spec);
	int r = fault_at("clone", err);

	if (r < 0)
		return r;
	if (cgroup_fd >= 0)
		cgroup_fd = l->cgroup->dirs[cgroup_fd].fd;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, l->sync) < 0)
		return err_sys(err, -errno, "cannot make a socket pair");
	if (scout) {
		r = spawn_through_scout(l, cgroup_fd, ret_pid, ret_pidfd, err);
	} else {
		r = sys_clone3(namespaces_clone_flags(&l->spec), ret_pidfd, cgroup_fd);
		if (r == 0)
			init_main(l);
		*ret_pid = r;
		if (r < 0)
			(void)err_sys(err, r, "cannot clone the container's process");
	}
	close_and_forget(&l->sync[1]);
	if (r < 0)
		return r;
	r = write_oom_score(l, *ret_pid, err);
	if (r >= 0 && l->new_user)
		r = idmap_write(*ret_pid, &l->spec.uid_maps, &l->spec.gid_maps, err);
	if (r >= 0 && (l->new_user || scout))
		r = sync_send(l->sync[0], SYNC_MAPPED, 0, FD_NONE);
	return r;
}
