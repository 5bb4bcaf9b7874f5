/* Removal, kill and freeze: what ends a container. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "cgroup.h"
#include "cleanup.h"
#include "sys.h"
#include "text.h"

#define MAX_DEPTH 32

static void pause_ms(int ms)
{
	struct timespec t = { .tv_sec = ms / 1000, .tv_nsec = (long)(ms % 1000) * 1000000 };

	(void)nanosleep(&t, NULL);
}

/* Groups that the container made inside its own are removed first, deepest first. */
static int remove_tree(int parent, const char *name, int depth)
{
	_cleanup_close_ int fd = FD_NONE;
	struct dirent *e;
	DIR *dir;

	if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	if (errno != EBUSY && errno != ENOTEMPTY)
		return -errno;
	if (depth == MAX_DEPTH)
		return -ELOOP;
	fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	dir = fdopendir(dup(fd));
	if (!dir)
		return -errno;
	while ((e = readdir(dir)))
		if (e->d_type == DT_DIR && strcmp(e->d_name, ".") != 0 &&
		    strcmp(e->d_name, "..") != 0)
			(void)remove_tree(fd, e->d_name, depth + 1);
	(void)closedir(dir);
	if (unlinkat(parent, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	return -errno;
}

/* A dying process keeps its group busy for a moment: the wait starts short and doubles. */
static int remove_patiently(int parent, const char *name, int *wait_ms)
{
	int step = 1, r;

	for (;;) {
		r = remove_tree(parent, name, 0);
		if (r != -EBUSY || *wait_ms <= 0)
			return r;
		pause_ms(step);
		*wait_ms -= step;
		step = step < 16 ? step * 2 : 16;
	}
}

int cgroup_remove(struct cgroup *cg, int wait_ms, struct err *err)
{
	int first = 0;

	for (size_t i = 0; i < cg->count; i++) {
		struct cgroup_dir *d = &cg->dirs[i];
		int r;

		close_and_forget(&d->fd);
		r = remove_patiently(d->mount_fd, cg->path + 1, &wait_ms);
		if (r < 0 && r != -ENOENT && first == 0)
			first = err_sys(err, r, "cannot remove cgroup %s in %s", cg->path, d->name);
	}
	return first;
}

static void undo_dir(const struct cgroup *cg, struct cgroup_dir *d)
{
	char path[1100];
	int wait_ms = 2000;
	char *slash;

	close_and_forget(&d->fd);
	(void)text_copy(path, sizeof(path), cg->path + 1);
	if (d->created)
		(void)remove_patiently(d->mount_fd, path, &wait_ms);
	for (; d->parents_created > 0 && (slash = strrchr(path, '/')); d->parents_created--) {
		*slash = '\0';
		(void)unlinkat(d->mount_fd, path, AT_REMOVEDIR);
	}
}

void cgroup_undo(struct cgroup *cg)
{
	for (size_t i = 0; i < cg->count; i++)
		undo_dir(cg, &cg->dirs[i]);
}

struct pid_list {
	pid_t *items;
	size_t count, cap;
};

static int add_pids(struct pid_list *l, int fd)
{
	_cleanup_free_ char *text = NULL;
	char *p;
	int r = read_file_at(fd, "cgroup.procs", 16 << 20, &text, NULL);

	if (r == -EOPNOTSUPP || r == -ENODEV) /* a threaded v2 group; a group that went away */
		return 0;
	if (r < 0)
		return r;
	for (p = text; *p;) {
		long pid = strtol(p, &p, 10);

		if (l->count == l->cap) {
			size_t cap = l->cap ? l->cap * 2 : 64;
			pid_t *grown = realloc(l->items, cap * sizeof(*grown));

			if (!grown)
				return -ENOMEM;
			l->items = grown;
			l->cap = cap;
		}
		if (pid > 0)
			l->items[l->count++] = (pid_t)pid;
		while (*p == '\n')
			p++;
	}
	return 0;
}

static int add_tree(struct pid_list *l, int fd, int depth)
{
	struct dirent *e;
	DIR *dir;
	int r = add_pids(l, fd);

	if (r < 0 || depth == MAX_DEPTH)
		return r;
	dir = fdopendir(openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
	if (!dir)
		return -errno;
	while (r >= 0 && (e = readdir(dir))) {
		_cleanup_close_ int sub = FD_NONE;

		if (e->d_type != DT_DIR || e->d_name[0] == '.')
			continue;
		sub = openat(fd, e->d_name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
		if (sub >= 0)
			r = add_tree(l, sub, depth + 1);
	}
	(void)closedir(dir);
	return r;
}

/* The hierarchy that tells who is in the container: the first that exists. */
static int member_fd(const struct cgroup *cg)
{
	static const enum cg_ctrl order[] = { CG_UNIFIED, CG_PIDS, CG_MEMORY, CG_FREEZER,
					      CG_DEVICES, CG_CPU,  CG_SYSTEMD };

	for (size_t i = 0; i < ARRAY_LEN(order); i++) {
		int fd = cgroup_fd(cg, order[i]);

		if (fd >= 0)
			return fd;
	}
	return -ENOENT;
}

int cgroup_pids(const struct cgroup *cg, pid_t **ret, size_t *ret_count, struct err *err)
{
	struct pid_list l = { 0 };
	int fd = member_fd(cg);
	int r = fd < 0 ? 0 : add_tree(&l, fd, 0);

	if (r < 0 && r != -ENOENT) {
		free(l.items);
		return err_sys(err, r, "cannot list the processes of cgroup %s", cg->path);
	}
	*ret = l.items;
	*ret_count = l.count;
	return 0;
}

int cgroup_signal_all(const struct cgroup *cg, int signal, struct err *err)
{
	_cleanup_free_ pid_t *pids = NULL;
	size_t count = 0;
	int r = cgroup_pids(cg, &pids, &count, err), hits = 0;

	if (r < 0)
		return r;
	for (size_t i = 0; i < count; i++)
		if (kill(pids[i], signal) == 0)
			hits++;
	return hits;
}

int cgroup_kill(const struct cgroup *cg, struct err *err)
{
	int fd = cgroup_fd(cg, CG_UNIFIED);
	int frozen_fd = cgroup_fd(cg, CG_FREEZER);
	int r;

	if (fd >= 0 && write_file_at(fd, "cgroup.kill", "1") == 0) {
		if (!cg->pure_v2 && frozen_fd >= 0)
			(void)write_file_at(frozen_fd, "freezer.state", "THAWED");
		return 0;
	}
	/* Without cgroup.kill a fork can slip between list and signal: freeze, signal, thaw. */
	(void)cgroup_freeze(cg, true, NULL);
	r = cgroup_signal_all(cg, SIGKILL, err);
	(void)cgroup_freeze(cg, false, NULL);
	return r < 0 ? r : 0;
}

static bool v1_state_is(int fd, const char *want)
{
	_cleanup_free_ char *state = NULL;

	return read_file_at(fd, "freezer.state", 64, &state, NULL) >= 0 &&
	       strncmp(state, want, strlen(want)) == 0;
}

static bool v2_is_frozen(int fd)
{
	_cleanup_free_ char *events = NULL;

	return read_file_at(fd, "cgroup.events", 4096, &events, NULL) >= 0 &&
	       strstr(events, "frozen 1");
}

bool cgroup_is_frozen(const struct cgroup *cg)
{
	int v1 = cgroup_fd(cg, CG_FREEZER), v2 = cgroup_fd(cg, CG_UNIFIED);

	if (!cg->pure_v2 && v1 >= 0 && v1_state_is(v1, "FR")) /* FROZEN or FREEZING */
		return true;
	return v2 >= 0 && v2_is_frozen(v2);
}

bool cgroup_path_is_frozen(const char *path)
{
	static const char *const places[] = { "/sys/fs/cgroup", "/sys/fs/cgroup/unified",
					      "/sys/fs/cgroup/freezer" };
	char full[1200];

	for (size_t i = 0; i < ARRAY_LEN(places); i++) {
		_cleanup_close_ int fd = FD_NONE;

		(void)snprintf(full, sizeof(full), "%s%s", places[i], path);
		fd = open(full, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (fd >= 0 && (i < 2 ? v2_is_frozen(fd) : v1_state_is(fd, "FR")))
			return true;
	}
	return false;
}

static int freeze_v2(int fd, bool frozen)
{
	int r = write_file_at(fd, "cgroup.freeze", frozen ? "1" : "0");

	for (int waited = 0; r >= 0 && v2_is_frozen(fd) != frozen; waited++) {
		if (waited == 2000)
			return -ETIMEDOUT;
		pause_ms(1);
	}
	return r;
}

/* A v1 group can stay FREEZING while it forks; writing again helps, thawing first does more. */
static int freeze_v1(int fd, bool frozen)
{
	const char *word = frozen ? "FROZEN" : "THAWED";
	int r = -ETIMEDOUT;

	for (int i = 0; i < 1000; i++) {
		r = write_file_at(fd, "freezer.state", word);
		if (r < 0)
			return r;
		if (v1_state_is(fd, word))
			return 0;
		if (frozen && i % 50 == 49) {
			(void)write_file_at(fd, "freezer.state", "THAWED");
			pause_ms(1);
		}
		pause_ms(1);
	}
	(void)write_file_at(fd, "freezer.state", "THAWED");
	return -ETIMEDOUT;
}

int cgroup_freeze(const struct cgroup *cg, bool frozen, struct err *err)
{
	int v1 = cgroup_fd(cg, CG_FREEZER), v2 = cgroup_fd(cg, CG_UNIFIED);
	int r;

	if (!cg->pure_v2 && v1 >= 0)
		r = freeze_v1(v1, frozen);
	else if (v2 >= 0)
		r = freeze_v2(v2, frozen);
	else
		return err_set(err, -ENOTSUP, "cannot %s: no freezer cgroup on this host",
			       frozen ? "pause" : "resume");
	if (r < 0)
		return err_sys(err, r, "cannot %s cgroup %s", frozen ? "freeze" : "thaw", cg->path);
	return 0;
}
