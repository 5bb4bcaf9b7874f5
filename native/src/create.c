/* container_create: the parent's side. Each thing made is undone when a later step fails. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "console.h"
#include "fault.h"
#include "hooks.h"
#include "launch.h"
#include "listener.h"
#include "state.h"
#include "sync.h"
#include "sys.h"
#include "text.h"

struct creation {
	struct launch l;
	struct state state;
	char created[40];
	int root_fd, dir_fd;
	bool dir_made;
	pid_t pid;
	int pidfd;
	int master;
};

static int claim_id(struct creation *c, struct err *err)
{
	const char *id = c->l.id;
	int r = fault_at("state-dir", err);

	if (r < 0)
		return r;
	c->root_fd = state_open_root(c->l.opts->root, true, err);
	if (c->root_fd < 0)
		return c->root_fd;
	if (mkdirat(c->root_fd, id, 0700) < 0)
		return errno == EEXIST
			       ? err_set(err, -EEXIST, "container with id \"%s\" already exists",
					 id)
			       : err_sys(err, -errno, "cannot make the state folder of %s", id);
	c->dir_made = true;
	c->dir_fd = openat(c->root_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return c->dir_fd < 0 ? err_sys(err, -errno, "cannot open the state folder of %s", id) : 0;
}

static int make_fifo(struct creation *c, struct err *err)
{
	if (c->l.opts->start_in_process)
		return 0;
	if (mkfifoat(c->dir_fd, "exec.fifo", 0600) < 0)
		return err_sys(err, -errno, "cannot make the exec fifo");
	/* For reading and writing: opening does not wait, and the child's end stays readable. */
	c->l.fifo_fd = openat(c->dir_fd, "exec.fifo", O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	return c->l.fifo_fd < 0 ? err_sys(err, -errno, "cannot open the exec fifo") : 0;
}

static int save_config(const struct creation *c, struct err *err)
{
	_cleanup_close_ int fd =
		openat(c->dir_fd, "config.json", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	int r = fd < 0 ? -errno : write_all(fd, c->l.config_text, c->l.config_len);

	return r < 0 ? err_sys(err, r, "cannot keep config.json") : 0;
}

static int make_cgroups(struct creation *c, struct err *err)
{
	struct launch *l = &c->l;
	const char *path = l->spec.cgroups_path;
	int r;

	if (l->opts->cgroup_disabled)
		return 0;
	if (!path || !*path)
		path = arena_printf(&l->arena, "/%s", l->id);
	r = cgroup_new(path, &l->cgroup, err);
	if (r < 0)
		return r;
	if (l->cgroup->count == 0) {
		cgroup_free(l->cgroup);
		l->cgroup = NULL;
		return 0;
	}
	c->state.cgroup = l->cgroup->path;
	if ((r = state_save(c->dir_fd, l->id, &c->state, &l->spec, err)) < 0 ||
	    (r = cgroup_create(l->cgroup, err)) < 0 ||
	    (r = cgroup_apply(l->cgroup, &l->spec.resources, err)) < 0)
		return r;
	if (!l->cgroup->pure_v2 &&
	    (r = cgroup_apply_devices(l->cgroup, &l->spec.resources, err)) < 0)
		return r;
	return cgroup_open_tasks(l->cgroup, &l->tasks, err);
}

/* The child's root is found through its working directory, so the parent goes there for the time
 * of the clone and back. */
static int spawn_in_rootfs(struct creation *c, struct err *err)
{
	_cleanup_close_ int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r;

	if (here < 0 || chdir(c->l.rootfs) < 0)
		return err_sys(err, -errno, "root.path: cannot enter %s", c->l.rootfs);
	r = launch_spawn(&c->l, &c->pid, &c->pidfd, err);
	if (fchdir(here) < 0 && r >= 0)
		r = err_sys(err, -errno, "cannot return to the working directory");
	return r;
}

static int run_runtime_hooks(struct creation *c, struct err *err)
{
	_cleanup_free_ char *state = NULL;
	struct launch *l = &c->l;
	int r;

	c->state.pid = c->pid;
	c->state.start_time = process_start_time(c->pid);
	if ((r = state_save(c->dir_fd, l->id, &c->state, &l->spec, err)) < 0 ||
	    (r = state_format(&l->spec, l->id, "creating", c->pid, l->bundle, &state, err)) < 0 ||
	    (r = hooks_run(&l->spec.hooks[HOOK_PRESTART], "prestart", state, err)) < 0 ||
	    (r = hooks_run(&l->spec.hooks[HOOK_CREATE_RUNTIME], "createRuntime", state, err)) < 0)
		return r;
	r = sync_send(l->sync[0], SYNC_HOOKS_DONE, 0, FD_NONE);
	return r < 0 ? err_sys(err, r, "cannot answer the container's process") : 0;
}

static int pass_listener(const struct creation *c, int number, struct err *err)
{
	_cleanup_free_ char *state = NULL;
	const struct launch *l = &c->l;
	int r = state_format(&l->spec, l->id, "creating", c->pid, l->bundle, &state, err);

	return r < 0 ? r
		     : listener_pass(&l->filter, state, c->pid, c->pidfd, number, l->sync[0], err);
}

/* Serves the child until it is ready. */
static int serve_child(struct creation *c, struct err *err)
{
	for (;;) {
		struct sync_message m;
		int fd = FD_NONE;
		int r = sync_receive(c->l.sync[0], &m, &fd, err);

		if (r < 0)
			return r;
		if (r == 0)
			return err_set(err, -EPIPE,
				       "the container's process ended while it was set up");
		if (m.kind == SYNC_TERMINAL)
			c->master = fd;
		else
			cleanup_close(&fd);
		if (m.kind == SYNC_READY)
			return 0;
		r = 0;
		if (m.kind == SYNC_HOOKS_PLEASE)
			r = run_runtime_hooks(c, err);
		else if (m.kind == SYNC_LISTENER)
			r = pass_listener(c, m.number, err);
		else if (m.kind != SYNC_TERMINAL)
			r = err_set(err, -EPROTO, "unexpected message %d", m.kind);
		if (r < 0)
			return r;
	}
}

static int write_pid_file(const struct creation *c, struct err *err)
{
	const char *path = c->l.opts->pid_file;
	char tmp[4200], text[16];
	int r;

	if (!path)
		return 0;
	(void)snprintf(tmp, sizeof(tmp), "%s.tmp", path);
	(void)snprintf(text, sizeof(text), "%d", (int)c->pid);
	{
		_cleanup_close_ int fd = open(tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

		r = fd < 0 ? -errno : write_fd(fd, text);
	}
	if (r >= 0 && rename(tmp, path) < 0)
		r = -errno;
	return r < 0 ? err_sys(err, r, "--pid-file: cannot write %s", path) : 0;
}

static int finish(struct creation *c, struct err *err)
{
	struct launch *l = &c->l;
	int r = fault_at("finish", err);

	if (r < 0)
		return r;
	if (l->cgroup && l->cgroup->pure_v2 &&
	    (r = cgroup_apply_devices(l->cgroup, &l->spec.resources, err)) < 0)
		return r;
	c->state.pid = c->pid;
	c->state.start_time = process_start_time(c->pid);
	r = state_save(c->dir_fd, l->id, &c->state, &l->spec, err);
	return r < 0 ? r : write_pid_file(c, err);
}

static int create_steps(struct creation *c, struct err *err)
{
	struct launch *l = &c->l;
	const char *console = l->opts->console_socket;
	int r;

	if ((r = claim_id(c, err)) < 0 || (r = make_fifo(c, err)) < 0 ||
	    (r = save_config(c, err)) < 0)
		return r;
	if (console && (r = console_connect(console, &l->console_fd, err)) < 0)
		return r;
	if ((r = make_cgroups(c, err)) < 0 || (r = overlay_prepare(l, err)) < 0 ||
	    (r = mount_prepare_sources(l, err)) < 0 || (r = spawn_in_rootfs(c, err)) < 0 ||
	    (r = serve_child(c, err)) < 0)
		return r;
	return finish(c, err);
}

/* Nothing of a failed create stays: the process and all it may have started, groups, folder. */
static void undo(struct creation *c)
{
	int status;

	if (c->l.cgroup && c->pid > 0)
		(void)cgroup_kill(c->l.cgroup, NULL);
	if (c->pidfd >= 0)
		(void)sys_pidfd_signal(c->pidfd, SIGKILL);
	if (c->pid > 0)
		(void)waitpid(c->pid, &status, 0);
	cleanup_close(&c->pidfd);
	cleanup_close(&c->master);
	if (c->l.cgroup)
		cgroup_undo(c->l.cgroup);
	if (c->dir_made)
		(void)state_remove(c->root_fd, c->l.id, NULL);
	cleanup_close(&c->dir_fd);
}

static int check_options(const struct launch *l, struct err *err)
{
	const struct spec_process *p = l->spec.process;
	bool terminal = p && p->terminal;

	if (!p)
		return err_set(err, -EINVAL, "process: is required to create a container");
	if (l->opts->console_socket && !terminal)
		return err_set(err, -EINVAL,
			       "--console-socket: process.terminal must be true to use it");
	if (terminal && !l->opts->console_socket && !l->opts->keep_terminal)
		return err_set(err, -EINVAL,
			       "process.terminal: needs --console-socket to hand over the pty");
	for (int fd = 3; fd < 3 + l->opts->preserve_fds; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			return err_set(err, -EBADF, "--preserve-fds: descriptor %d is not open",
				       fd);
	return 0;
}

static void hand_over(struct creation *c, struct container *ret)
{
	*ret = (struct container)CONTAINER_INIT;
	(void)text_copy(ret->id, sizeof(ret->id), c->l.id);
	ret->pid = c->pid;
	ret->pidfd = c->pidfd;
	ret->start_time = c->state.start_time;
	ret->terminal_fd = c->master;
	ret->dir_fd = c->dir_fd;
	ret->cgroup = c->l.cgroup;
	c->l.cgroup = NULL;
	if (c->l.opts->start_in_process)
		ret->sync_fd = steal_fd(&c->l.sync[0]);
	ret->state_root = c->l.opts->root ? strdup(c->l.opts->root) : NULL;
	ret->hook_count = (int)(c->state.poststart + c->state.poststop);
}

int container_create(const struct create_opts *opts, struct container *ret, struct err *err)
{
	struct creation *c = calloc(1, sizeof(*c));
	int r = state_check_id(opts->id, err);

	if (!c)
		return err_set(err, -ENOMEM, "no memory");
	c->root_fd = c->dir_fd = c->pidfd = c->master = FD_NONE;
	if (r >= 0)
		r = launch_load(&c->l, opts, err);
	if (r >= 0)
		r = check_options(&c->l, err);
	if (r >= 0) {
		state_now(c->created, sizeof(c->created));
		c->state = (struct state){ .version = c->l.spec.version,
					   .bundle = c->l.bundle,
					   .rootfs = c->l.rootfs,
					   .created = c->created,
					   .owner = (uint32_t)getuid(),
					   .poststart = c->l.spec.hooks[HOOK_POSTSTART].count > 0,
					   .poststop = c->l.spec.hooks[HOOK_POSTSTOP].count > 0 };
		r = create_steps(c, err);
		if (r >= 0)
			hand_over(c, ret);
		else
			undo(c);
	}
	cleanup_close(&c->root_fd);
	launch_release(&c->l);
	free(c);
	return r;
}
