#include "container.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "cgroup.h"
#include "cleanup.h"
#include "hooks.h"
#include "state.h"
#include "sync.h"
#include "sys.h"
#include "text.h"

const char *container_status_name(enum container_status status)
{
	static const char *const names[] = { "creating", "created", "running", "paused",
					     "stopped" };

	return names[status];
}

/* A pid is only believed together with its start time: it may have been given to a stranger. */
static void open_process(struct container *c)
{
	if (c->pid <= 0)
		return;
	c->pidfd = sys_pidfd_open(c->pid);
	if (c->pidfd >= 0 && process_start_time(c->pid) != c->start_time)
		close_and_forget(&c->pidfd);
}

static int open_container(const char *root, const char *id, bool groups, struct container *ret,
			  struct err *err)
{
	_cleanup_arena_ struct arena arena = { 0 };
	_cleanup_container_ struct container c = CONTAINER_INIT;
	_cleanup_close_ int root_fd = FD_NONE;
	struct state s;
	int r = state_check_id(id, err);

	if (r < 0)
		return r;
	root_fd = state_open_root(root, false, err);
	if (root_fd < 0)
		return root_fd == -ENOENT
			       ? err_set(err, -ENOENT, "container \"%s\" does not exist", id)
			       : root_fd;
	c.dir_fd = openat(root_fd, id, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (c.dir_fd < 0)
		return errno == ENOENT
			       ? err_set(err, -ENOENT, "container \"%s\" does not exist", id)
			       : err_sys(err, -errno, "cannot open container \"%s\"", id);
	(void)text_copy(c.id, sizeof(c.id), id);
	c.state_root = root ? strdup(root) : NULL;
	r = state_load(&arena, c.dir_fd, &s, err);
	if (r == -ENOENT) {
		/* Its creation was killed before anything was made, or runs at this moment. */
		*ret = c;
		c = (struct container)CONTAINER_INIT;
		return 0;
	}
	if (r < 0)
		return err_prefix(err, "container \"%s\"", id);
	c.pid = s.pid;
	c.start_time = s.start_time;
	c.hook_count = s.poststart + s.poststop;
	open_process(&c);
	if (s.cgroup && !groups)
		c.cgroup_path = strdup(s.cgroup);
	if (s.cgroup && groups) {
		r = cgroup_new(s.cgroup, &c.cgroup, err);
		if (r < 0)
			return r;
		(void)cgroup_open(c.cgroup);
	}
	*ret = c;
	c = (struct container)CONTAINER_INIT;
	return 0;
}

int container_open(const char *root, const char *id, struct container *ret, struct err *err)
{
	return open_container(root, id, true, ret, err);
}

int container_peek(const char *root, const char *id, struct container *ret, struct err *err)
{
	return open_container(root, id, false, ret, err);
}

void container_close(struct container *c)
{
	cleanup_close(&c->pidfd);
	cleanup_close(&c->terminal_fd);
	cleanup_close(&c->sync_fd);
	cleanup_close(&c->dir_fd);
	cgroup_free(c->cgroup);
	free(c->state_root);
	free(c->cgroup_path);
	*c = (struct container)CONTAINER_INIT;
}

static bool is_alive(const struct container *c)
{
	struct pollfd p = { .fd = c->pidfd, .events = POLLIN };

	return c->pidfd >= 0 && poll(&p, 1, 0) == 0;
}

int container_state(const struct container *c, enum container_status *ret, struct err *err)
{
	(void)err;
	if (c->pid <= 0)
		*ret = CONTAINER_CREATING;
	else if (!is_alive(c))
		*ret = CONTAINER_STOPPED;
	else if (c->sync_fd >= 0 || faccessat(c->dir_fd, "exec.fifo", F_OK, 0) == 0)
		*ret = CONTAINER_CREATED;
	else if ((c->cgroup && cgroup_is_frozen(c->cgroup)) ||
		 (c->cgroup_path && cgroup_path_is_frozen(c->cgroup_path)))
		*ret = CONTAINER_PAUSED;
	else
		*ret = CONTAINER_RUNNING;
	return 0;
}

/* Hooks live in the copy of config.json that create kept. */
static int run_hooks(const struct container *c, enum hook_kind kind, const char *name,
		     const char *status, struct err *err)
{
	_cleanup_arena_ struct arena arena = { 0 };
	_cleanup_free_ char *text = NULL, *state = NULL;
	struct state saved;
	struct spec spec;
	size_t len;
	int r;

	if (!c->hook_count)
		return 0;
	r = read_file_at(c->dir_fd, "config.json", 8 << 20, &text, &len);
	if (r < 0)
		return err_sys(err, r, "cannot read the container's config.json");
	if ((r = spec_parse(&arena, text, len, &spec, err)) < 0 ||
	    (r = state_load(&arena, c->dir_fd, &saved, err)) < 0)
		return r;
	if (!spec.hooks[kind].count)
		return 0;
	r = state_format(&spec, c->id, status, is_alive(c) ? c->pid : 0, saved.bundle, &state, err);
	return r < 0 ? r : hooks_run(&spec.hooks[kind], name, state, err);
}

static int start_in_process(struct container *c, struct err *err)
{
	struct sync_message m;
	int r = sync_send(c->sync_fd, SYNC_START, 0, FD_NONE);

	if (r < 0)
		return err_sys(err, r, "cannot start: the container's process is gone");
	r = sync_receive(c->sync_fd, &m, NULL, err);
	if (r > 0)
		r = err_set(err, -EPROTO, "unexpected message %d at start", m.kind);
	if (r == 0)
		close_and_forget(&c->sync_fd);
	return r;
}

static int start_through_fifo(struct container *c, struct err *err)
{
	_cleanup_close_ int fifo =
		openat(c->dir_fd, "exec.fifo", O_WRONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW);

	if (fifo < 0 && errno == ENOENT)
		return err_set(err, -EINVAL, "cannot start \"%s\": it must be created, found %s",
			       c->id, is_alive(c) ? "running" : "stopped");
	if (fifo < 0)
		return err_set(err, -EINVAL,
			       "cannot start \"%s\": it must be created, found stopped", c->id);
	/* Whoever removes the name first starts the container; a second start finds none. */
	if (unlinkat(c->dir_fd, "exec.fifo", 0) < 0)
		return err_set(err, -EINVAL, "cannot start \"%s\": it was started already", c->id);
	if (write(fifo, "1", 1) != 1)
		return err_sys(err, -errno, "cannot start \"%s\"", c->id);
	return 0;
}

int container_start(struct container *c, struct err *err)
{
	int r;

	if (c->pid <= 0)
		return err_set(err, -EINVAL, "cannot start \"%s\": it is still being created",
			       c->id);
	r = c->sync_fd >= 0 ? start_in_process(c, err) : start_through_fifo(c, err);
	if (r < 0)
		return r;
	/* A failed poststart hook is a warning in the spec; the container goes on. */
	if (run_hooks(c, HOOK_POSTSTART, "poststart", "running", err) < 0)
		return err_prefix(err, "started, but");
	return 0;
}

int container_kill(const struct container *c, int signal, bool all, struct err *err)
{
	int r;

	if (all && c->cgroup) {
		r = cgroup_signal_all(c->cgroup, signal, err);
		return r == 0  ? err_set(err, -ESRCH, "container \"%s\" is not running", c->id)
		       : r < 0 ? r
			       : 0;
	}
	if (c->pidfd < 0 || !is_alive(c))
		return err_set(err, -ESRCH, "container \"%s\" is not running", c->id);
	r = sys_pidfd_signal(c->pidfd, signal);
	if (r < 0)
		return err_sys(err, r, "cannot signal container \"%s\"", c->id);
	/* A frozen process takes even SIGKILL only when it is thawed. */
	if (signal == SIGKILL && c->cgroup && cgroup_is_frozen(c->cgroup))
		return cgroup_freeze(c->cgroup, false, err);
	return 0;
}

int container_kill_cgroup(const struct container *c, struct err *err)
{
	return c->cgroup ? cgroup_kill(c->cgroup, err) : 0;
}

int container_freeze(const struct container *c, bool frozen, struct err *err)
{
	if (!c->cgroup)
		return err_set(err, -ENOTSUP, "container \"%s\" has no cgroup", c->id);
	return cgroup_freeze(c->cgroup, frozen, err);
}

static void wait_for_end(const struct container *c, int ms)
{
	struct pollfd p = { .fd = c->pidfd, .events = POLLIN };

	if (c->pidfd >= 0)
		(void)poll(&p, 1, ms);
}

static int kill_for_delete(struct container *c, bool force, struct err *err)
{
	enum container_status status;
	int r = container_state(c, &status, err);

	if (r < 0 || status == CONTAINER_STOPPED)
		return r;
	/* One that waits for its start runs nothing of the user's: it may be removed as it is. */
	if (!force && status != CONTAINER_CREATED && status != CONTAINER_CREATING)
		return err_set(err, -EBUSY, "container \"%s\" must be stopped, found %s", c->id,
			       container_status_name(status));
	if (!force && status == CONTAINER_CREATING)
		return err_set(err, -EBUSY, "container \"%s\" is still being created", c->id);
	if (c->pidfd >= 0)
		(void)sys_pidfd_signal(c->pidfd, SIGKILL);
	return 0;
}

int container_delete(struct container *c, bool force, struct err *err)
{
	_cleanup_close_ int root_fd = FD_NONE;
	struct err hook_err = ERR_INIT;
	int r = kill_for_delete(c, force, err);

	if (r < 0)
		return r;
	if (c->cgroup) {
		/* Also what a stopped main process left behind in a shared pid namespace. */
		(void)cgroup_kill(c->cgroup, NULL);
		wait_for_end(c, 10000);
		r = cgroup_remove(c->cgroup, 10000, err);
		if (r < 0)
			return r;
	} else {
		wait_for_end(c, 10000);
	}
	close_and_forget(&c->sync_fd);
	if (run_hooks(c, HOOK_POSTSTOP, "poststop", "stopped", &hook_err) < 0)
		(void)dprintf(2, "berth: warning: %s\n", hook_err.text);
	root_fd = state_open_root(c->state_root, false, err);
	if (root_fd < 0)
		return root_fd;
	return state_remove(root_fd, c->id, err);
}
