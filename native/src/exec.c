/* exec's parent side: plan, clone, serve. */
#include "exec.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "console.h"
#include "exec_child.h"
#include "listener.h"
#include "state.h"
#include "sync.h"
#include "sys.h"

int exec_plan_load(struct exec_plan *plan, const struct container *c, const struct exec_opts *opts,
		   struct err *err)
{
	_cleanup_free_ char *text = NULL;
	enum container_status status;
	size_t len;
	int r;

	*plan = (struct exec_plan){ .c = c,
				    .opts = opts,
				    .cgroup_fd = FD_NONE,
				    .sync = { FD_NONE, FD_NONE },
				    .console_fd = FD_NONE,
				    .tasks = { .devices = FD_NONE } };
	if ((r = container_state(c, &status, err)) < 0)
		return r;
	if (status == CONTAINER_PAUSED && !opts->ignore_paused)
		return err_set(err, -EBUSY, "cannot exec in \"%s\": it is paused (resume it first)",
			       c->id);
	if (status == CONTAINER_STOPPED || status == CONTAINER_CREATING)
		return err_set(err, -ESRCH, "cannot exec in \"%s\": it must be running, found %s",
			       c->id, container_status_name(status));
	r = read_file_at(c->dir_fd, "config.json", 8 << 20, &text, &len);
	if (r < 0)
		return err_sys(err, r, "cannot read the container's config.json");
	if ((r = spec_parse(&plan->arena, text, len, &plan->spec, err)) < 0)
		return r;
	plan->process = plan->spec.process;
	if (plan->spec.seccomp_builtin)
		seccomp_default(&plan->filter);
	else if (plan->spec.seccomp)
		r = seccomp_compile(&plan->arena, plan->spec.seccomp, &plan->filter, err);
	return r;
}

int exec_plan_parse(struct exec_plan *plan, const char *text, size_t len, struct err *err)
{
	const struct spec_process *own = plan->spec.process;
	struct spec_process *p = arena_alloc(&plan->arena, sizeof(*p));
	struct json *doc = NULL;

	if (!p)
		return err_set(err, -ENOMEM, "process: too large");
	if (json_parse(&plan->arena, text, len, &doc, err) < 0 ||
	    spec_parse_process(&plan->arena, doc, p, err) < 0)
		return err_prefix(err, "process");
	if (own && !p->has_caps) {
		p->has_caps = own->has_caps;
		memcpy(p->caps, own->caps, sizeof(p->caps));
	}
	if (own && !json_get(doc, "rlimits")) {
		p->rlimits = own->rlimits;
		p->rlimit_count = own->rlimit_count;
	}
	if (own && !json_get(doc, "noNewPrivileges"))
		p->no_new_privs = own->no_new_privs;
	if (own && !p->apparmor)
		p->apparmor = own->apparmor;
	if (own && !p->selinux)
		p->selinux = own->selinux;
	plan->process = p;
	return 0;
}

static int open_subgroup(struct exec_plan *plan, const struct cgroup *cg, struct err *err)
{
	const char *sub = plan->opts->cgroup;

	if (!sub || !*sub || !cg)
		return 0;
	if (!cg->pure_v2)
		return err_set(err, -ENOTSUP, "--cgroup: needs cgroup v2");
	plan->cgroup_fd =
		sys_openat2(cg->dirs[0].fd, sub + strspn(sub, "/"), O_RDONLY | O_DIRECTORY, 0,
			    RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
	return plan->cgroup_fd < 0 ? err_sys(err, plan->cgroup_fd, "--cgroup: cannot open %s", sub)
				   : 0;
}

static int open_groups(struct exec_plan *plan, struct err *err)
{
	const struct cgroup *cg = plan->c->cgroup;
	int fd, r;

	if (!cg || plan->opts->cgroup_disabled)
		return 0;
	if (!plan->opts->ignore_paused && cgroup_is_frozen(cg))
		return err_set(err, -EBUSY, "cannot exec in \"%s\": its cgroup is frozen",
			       plan->c->id);
	if ((r = open_subgroup(plan, cg, err)) < 0)
		return r;
	fd = cgroup_fd(cg, CG_UNIFIED);
	if (plan->cgroup_fd < 0 && fd >= 0)
		plan->cgroup_fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	return cgroup_open_tasks(cg, &plan->tasks, err);
}

static int pass_listener(struct exec_plan *plan, pid_t pid, int pidfd, int number, struct err *err)
{
	_cleanup_free_ char *state = NULL;
	int r = state_format(&plan->spec, plan->c->id, "running", plan->c->pid, "", &state, err);

	return r < 0 ? r
		     : listener_pass(&plan->filter, state, pid, pidfd, number, plan->sync[0], err);
}

static int write_oom_score(const struct exec_plan *plan, pid_t pid, struct err *err)
{
	char path[64], text[16];
	int r;

	if (!plan->process->has_oom_score)
		return 0;
	(void)snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
	(void)snprintf(text, sizeof(text), "%d", plan->process->oom_score);
	r = write_file_at(AT_FDCWD, path, text);
	return r < 0 ? err_sys(err, r, "process.oomScoreAdj: cannot write %s", text) : 0;
}

/* Serves the child until its exec: end of file is success. */
static int serve(struct exec_plan *plan, struct exec_result *e, struct err *err)
{
	for (;;) {
		struct sync_message m;
		int fd = FD_NONE;
		int r = sync_receive(plan->sync[0], &m, &fd, err);

		if (r <= 0)
			return r;
		if (m.kind == SYNC_TERMINAL)
			e->terminal_fd = fd;
		else
			cleanup_close(&fd);
		if (m.kind == SYNC_LISTENER &&
		    (r = pass_listener(plan, e->pid, e->pidfd, m.number, err)) < 0)
			return r;
		if (m.kind == SYNC_READY) {
			if ((r = write_oom_score(plan, e->pid, err)) < 0)
				return r;
			r = sync_send(plan->sync[0], SYNC_START, 0, FD_NONE);
			if (r < 0)
				return err_sys(err, r, "cannot answer the new process");
		}
	}
}

static int spawn(struct exec_plan *plan, struct exec_result *e, struct err *err)
{
	struct sync_message m;
	int r, status;
	pid_t scout;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, plan->sync) < 0)
		return err_sys(err, -errno, "cannot make a socket pair");
	scout = sys_clone3(0, NULL, plan->cgroup_fd);
	if (scout == 0)
		exec_scout_main(plan);
	close_and_forget(&plan->sync[1]);
	if (scout < 0)
		return err_sys(err, scout, "cannot clone into the container's cgroup");
	r = sync_receive(plan->sync[0], &m, NULL, err);
	(void)waitpid(scout, &status, 0);
	if (r < 0)
		return r;
	if (r == 0 || m.kind != SYNC_PID)
		return err_set(err, -EPROTO, "cannot enter the container: it may have ended");
	e->pid = m.number;
	e->pidfd = sys_pidfd_open(e->pid);
	if (e->pidfd < 0)
		return err_sys(err, e->pidfd, "cannot open a pidfd");
	r = sync_send(plan->sync[0], SYNC_MAPPED, 0, FD_NONE);
	return r < 0 ? err_sys(err, r, "cannot answer the new process") : 0;
}

int exec_plan_run(struct exec_plan *plan, struct exec_result *ret, struct err *err)
{
	struct exec_result e = { .pidfd = FD_NONE, .terminal_fd = FD_NONE };
	int status, r = 0;

	if (plan->process->terminal && plan->opts->rows && plan->opts->cols) {
		plan->process->rows = plan->opts->rows;
		plan->process->cols = plan->opts->cols;
	}
	if (plan->opts->console_socket)
		r = console_connect(plan->opts->console_socket, &plan->console_fd, err);
	if (r >= 0)
		r = open_groups(plan, err);
	if (r >= 0)
		r = spawn(plan, &e, err);
	if (r >= 0)
		r = serve(plan, &e, err);
	if (r >= 0) {
		*ret = e;
		return 0;
	}
	if (e.pid > 0) {
		(void)kill(e.pid, SIGKILL);
		(void)waitpid(e.pid, &status, 0);
	}
	cleanup_close(&e.pidfd);
	cleanup_close(&e.terminal_fd);
	return r;
}

void exec_plan_release(struct exec_plan *plan)
{
	cgroup_close_tasks(&plan->tasks);
	close_and_forget(&plan->cgroup_fd);
	close_and_forget(&plan->sync[0]);
	close_and_forget(&plan->sync[1]);
	close_and_forget(&plan->console_fd);
	arena_release(&plan->arena);
}

int container_exec(const struct container *c, const struct exec_opts *opts, struct exec_result *ret,
		   struct err *err)
{
	struct exec_plan plan;
	int r = exec_plan_load(&plan, c, opts, err);

	if (r >= 0)
		r = exec_plan_parse(&plan, opts->process, opts->process_len, err);
	if (r >= 0)
		r = exec_plan_run(&plan, ret, err);
	exec_plan_release(&plan);
	return r;
}
