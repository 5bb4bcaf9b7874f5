/* Joining, and writing a plan of limits. */
#include <fcntl.h>
#include <string.h>

#include "cgroup.h"
#include "cleanup.h"
#include "fault.h"
#include "sys.h"

void cg_plan_add_full(struct cg_plan *p, const struct cg_write *w)
{
	if (p->count == p->cap) {
		size_t cap = p->cap ? p->cap * 2 : 16;
		struct cg_write *grown = arena_alloc(p->arena, cap * sizeof(*grown));

		if (!grown) {
			p->failed = true;
			return;
		}
		if (p->count)
			memcpy(grown, p->items, p->count * sizeof(*grown));
		p->items = grown;
		p->cap = cap;
	}
	if (!w->value)
		p->failed = true;
	p->items[p->count++] = *w;
}

void cg_plan_add(struct cg_plan *p, enum cg_ctrl ctrl, const char *file, const char *value)
{
	cg_plan_add_full(p, &(struct cg_write){ .ctrl = ctrl, .file = file, .value = value });
}

static int write_one(int fd, const struct cg_write *w)
{
	int r = write_file_at(fd, w->file, w->value);

	if (r < 0 && w->fallback_file)
		r = write_file_at(fd, w->fallback_file,
				  w->fallback_value ? w->fallback_value : w->value);
	if (w->optional && (r == -ENOENT || r == -EOPNOTSUPP))
		return 0;
	return r;
}

/* Some pairs must be written in the order that keeps them consistent with the present values
 * (memory below memory+swap, quota below period): a write that is refused is tried once more
 * after the others. */
int cgroup_apply(const struct cgroup *cg, const struct resources *r, struct err *err)
{
	_cleanup_arena_ struct arena arena = { 0 };
	struct cg_plan plan = { .arena = &arena };
	unsigned long long again = 0;
	int ret = cg->pure_v2 ? cg_plan_v2(r, &plan, err) : cg_plan_v1(r, &plan, err);

	if (ret < 0)
		return ret;
	if (plan.failed)
		return err_set(err, -ENOMEM, "no memory for the plan of cgroup writes");
	for (int pass = 0; pass < 2; pass++) {
		for (size_t i = 0; i < plan.count; i++) {
			const struct cg_write *w = &plan.items[i];
			int fd = cgroup_fd(cg, w->ctrl);

			if (pass == 1 && (i > 63 || !(again >> i & 1)))
				continue;
			ret = fault_at("cgroup-limit", err);
			if (ret < 0)
				return ret;
			ret = fd < 0 ? -ENOENT : write_one(fd, w);
			if (ret == -ENOENT)
				return err_set(err, -ENOTSUP,
					       "linux.resources: %s needs a cgroup controller "
					       "that this host does not have",
					       w->file);
			if (ret < 0 && pass == 0 && i < 64 && (ret == -EINVAL || ret == -EBUSY))
				again |= 1ull << i;
			else if (ret < 0)
				return err_sys(err, ret,
					       "linux.resources: cannot write \"%s\" to %s",
					       w->value, w->file);
		}
	}
	return 0;
}

int cgroup_open_tasks(const struct cgroup *cg, struct cgroup_tasks *ret, struct err *err)
{
	*ret = (struct cgroup_tasks){ .devices = FD_NONE };
	for (size_t i = 0; i < cg->count; i++) {
		const struct cgroup_dir *d = &cg->dirs[i];
		int fd;

		if (cg->at[CG_UNIFIED] == (int)i)
			continue;
		/* Writing a fresh single-threaded child to `tasks` does not wait for the grace
		 * period that a write to cgroup.procs does. */
		fd = openat(d->fd, "tasks", O_WRONLY | O_CLOEXEC);
		if (fd < 0) {
			cgroup_close_tasks(ret);
			return err_sys(err, -errno, "cannot open tasks of cgroup %s in %s",
				       cg->path, d->name);
		}
		if (cg->at[CG_DEVICES] == (int)i)
			ret->devices = fd;
		else
			ret->fds[ret->count++] = fd;
	}
	return 0;
}

void cgroup_close_tasks(struct cgroup_tasks *t)
{
	for (size_t i = 0; i < t->count; i++)
		cleanup_close(&t->fds[i]);
	t->count = 0;
	close_and_forget(&t->devices);
}

int cgroup_join_tasks(const struct cgroup_tasks *t, struct err *err)
{
	for (size_t i = 0; i < t->count; i++) {
		int r = write_fd(t->fds[i], "0");

		if (r < 0)
			return err_sys(err, r, "cannot join the container's cgroups");
	}
	return fault_at("cgroup-join", err);
}

int cgroup_join_devices(const struct cgroup_tasks *t, struct err *err)
{
	int r = t->devices >= 0 ? write_fd(t->devices, "0") : 0;

	return r < 0 ? err_sys(err, r, "cannot join the container's devices cgroup") : 0;
}
