/* The list of mounts: one executor for binds, one for new file systems. */
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "fault.h"
#include "inroot.h"
#include "launch.h"
#include "mount.h"
#include "sys.h"

int mount_set_attr(int fd, const struct spec_mount *m, struct err *err)
{
	struct mount_attr top = { .attr_set = m->attr_set, .attr_clr = m->attr_clear };
	struct mount_attr all = { .attr_set = m->attr_rec_set, .attr_clr = m->attr_rec_clear };
	int r = 0;

	if (top.attr_set || top.attr_clr)
		r = sys_mount_setattr(fd, "", AT_EMPTY_PATH, &top);
	if (r >= 0 && (all.attr_set || all.attr_clr))
		r = sys_mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &all);
	return r < 0 ? err_sys(err, r, "cannot set the options of the mount") : 0;
}

static int set_propagation(int fd, const struct spec_mount *m, struct err *err)
{
	struct mount_attr attr = { .propagation = m->propagation };
	unsigned flags = AT_EMPTY_PATH | (m->propagation_recursive ? AT_RECURSIVE : 0);
	int r;

	if (!m->propagation)
		return 0;
	r = sys_mount_setattr(fd, "", flags, &attr);
	return r < 0 ? err_sys(err, r, "cannot set the propagation of the mount") : 0;
}

static int open_bind_source(const struct launch *l, const struct spec_mount *m, struct err *err)
{
	unsigned flags = OPEN_TREE_CLONE | (m->recursive ? AT_RECURSIVE : 0);
	_cleanup_close_ int bundle = FD_NONE;
	int fd, from = AT_FDCWD;

	if (m->source[0] != '/') {
		bundle = open(l->bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
		if (bundle < 0)
			return err_sys(err, -errno, "cannot open the bundle");
		from = bundle;
	}
	fd = sys_open_tree(from, m->source, flags);
	return fd < 0 ? err_sys(err, fd, "cannot open the source %s", m->source) : fd;
}

static int apply_idmap(const struct launch *l, const struct spec_mount *m, int tree,
		       struct err *err)
{
	const struct id_maps *uids = m->uid_maps.count ? &m->uid_maps : &l->spec.uid_maps;
	const struct id_maps *gids = m->gid_maps.count ? &m->gid_maps : &l->spec.gid_maps;
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_IDMAP };
	_cleanup_close_ int user = FD_NONE;
	int r;

	if (!uids->count || !gids->count)
		return err_set(err, -EINVAL, "idmap: needs uidMappings and gidMappings");
	r = idmap_user_namespace(uids, gids, &user, err);
	if (r < 0)
		return r;
	attr.userns_fd = (uint64_t)user;
	r = sys_mount_setattr(tree, "", AT_EMPTY_PATH | (m->idmap_recursive ? AT_RECURSIVE : 0),
			      &attr);
	return r < 0 ? err_sys(err, r, "cannot idmap the mount") : 0;
}

/* Sources that the child may not reach (host folders closed to the container's root) or may not
 * change (idmaps) are opened by the parent. Cloned in the host's mount namespace they would stay
 * peers of the host's mounts, so they are made slaves at once. */
int mount_prepare_sources(struct launch *l, struct err *err)
{
	struct mount_attr slave = { .propagation = MS_SLAVE };

	l->sources = arena_alloc(&l->arena, (l->spec.mount_count + 1) * sizeof(int));
	if (!l->sources)
		return err_set(err, -ENOMEM, "no memory for the mounts");
	for (size_t i = 0; i < l->spec.mount_count; i++)
		l->sources[i] = FD_NONE;
	for (size_t i = 0; i < l->spec.mount_count; i++) {
		const struct spec_mount *m = &l->spec.mounts[i];
		int fd, r;

		if (!m->bind || !(m->idmap || l->spec.ns[NS_USER].wanted))
			continue;
		fd = open_bind_source(l, m, err);
		if (fd < 0)
			return err_prefix(err, "mounts[%zu] %s", i, m->destination);
		l->sources[i] = fd;
		r = sys_mount_setattr(fd, "", AT_EMPTY_PATH | AT_RECURSIVE, &slave);
		if (r < 0)
			return err_sys(err, r, "mounts[%zu] %s: cannot isolate", i, m->destination);
		if (m->idmap && apply_idmap(l, m, fd, err) < 0)
			return err_prefix(err, "mounts[%zu] %s", i, m->destination);
	}
	return 0;
}

static int attach(int tree, int target, struct err *err)
{
	int r = sys_move_mount(tree, target, "");

	return r < 0 ? err_sys(err, r, "cannot attach the mount") : 0;
}

static int mount_bind(const struct launch *l, size_t i, struct err *err)
{
	const struct spec_mount *m = &l->spec.mounts[i];
	_cleanup_close_ int tree = FD_NONE, target = FD_NONE;
	struct stat st;
	int r;

	tree = l->sources[i] >= 0 ? dup(l->sources[i]) : open_bind_source(l, m, err);
	if (tree < 0)
		return err->code ? err->code : -EMFILE;
	if (fstat(tree, &st) < 0)
		return err_sys(err, -errno, "cannot look at the source %s", m->source);
	target = inroot_open_or_make(l->root_fd, m->destination, S_ISDIR(st.st_mode), err);
	if (target < 0)
		return target;
	if ((r = mount_set_attr(tree, m, err)) < 0 || (r = set_propagation(tree, m, err)) < 0)
		return r;
	return attach(tree, target, err);
}

static int mount_remount(const struct launch *l, const struct spec_mount *m, struct err *err)
{
	_cleanup_close_ int target = inroot_open(l->root_fd, m->destination);

	if (target < 0)
		return err_sys(err, target, "cannot open %s", m->destination);
	return mount_set_attr(target, m, err);
}

/* An image that makes /proc or /sys a symlink wants the mount elsewhere: refused by name. */
static int open_target(const struct launch *l, const struct spec_mount *m, struct err *err)
{
	if (strcmp(m->type, "proc") == 0 || strcmp(m->type, "sysfs") == 0) {
		int fd = sys_openat2(l->root_fd, m->destination, O_PATH | O_DIRECTORY, 0,
				     RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS);

		if (fd == -ELOOP)
			return err_set(err, -ELOOP, "%s in the image: must not be a symlink",
				       m->destination);
		if (fd >= 0)
			return fd;
	}
	return inroot_open_or_make(l->root_fd, m->destination, true, err);
}

static int mount_new(struct launch *l, const struct spec_mount *m, struct err *err)
{
	_cleanup_close_ int tree = FD_NONE, target = open_target(l, m, err);
	int r;

	if (target < 0)
		return target;
	tree = mount_new_filesystem(m, l->spec.mount_label, err);
	if (tree == -EPERM && strcmp(m->type, "sysfs") == 0 && l->spec.ns[NS_USER].wanted) {
		/* sysfs shows the network namespace's owner's devices: without one of its own a
		 * user namespace may only see the host's. */
		tree = sys_open_tree(AT_FDCWD, "/sys", OPEN_TREE_CLONE | AT_RECURSIVE);
		if (tree >= 0 && mount_set_attr(tree, m, err) < 0)
			return err->code;
	}
	if (tree < 0)
		return tree;
	if (m->copy_up && (r = mount_copy_up(target, tree, err)) < 0)
		return r;
	if ((r = set_propagation(tree, m, err)) < 0 || (r = attach(tree, target, err)) < 0)
		return r;
	if (strcmp(m->type, "proc") == 0 && l->proc_fd < 0)
		l->proc_fd = steal_fd(&tree);
	else if (strcmp(m->type, "devpts") == 0 && l->devpts_fd < 0)
		l->devpts_fd = steal_fd(&tree);
	return 0;
}

static int mount_one(struct launch *l, size_t i, struct err *err)
{
	const struct spec_mount *m = &l->spec.mounts[i];

	if (m->remount)
		return mount_remount(l, m, err);
	if (m->bind)
		return mount_bind(l, i, err);
	if (strcmp(m->type, "cgroup") == 0 || strcmp(m->type, "cgroup2") == 0)
		return mount_cgroup(l, m, err);
	return mount_new(l, m, err);
}

int mount_all(struct launch *l, struct err *err)
{
	for (size_t i = 0; i < l->spec.mount_count; i++) {
		int r = fault_at("mount", err);

		if (r >= 0)
			r = mount_one(l, i, err);
		if (r < 0)
			return err_prefix(err, "mounts[%zu] %s", i, l->spec.mounts[i].destination);
	}
	return 0;
}
