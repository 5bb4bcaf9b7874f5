/* New file systems through fsopen: each option is one call, and the kernel says which is wrong. */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "inroot.h"
#include "mount.h"
#include "sys.h"

/* Options that are the super block's, though the spec lists them beside the mount's flags. */
static bool is_superblock_flag(const char *o)
{
	return strcmp(o, "sync") == 0 || strcmp(o, "dirsync") == 0 || strcmp(o, "lazytime") == 0;
}

static int set_option(int fs, const char *option, struct err *err)
{
	const char *eq = strchr(option, '=');
	char key[256];
	int r;

	if (is_superblock_flag(option) || !eq) {
		r = sys_fsconfig_flag(fs, option);
	} else {
		if ((size_t)(eq - option) >= sizeof(key))
			return err_set(err, -EINVAL, "option %.64s is too long", option);
		memcpy(key, option, (size_t)(eq - option));
		key[eq - option] = '\0';
		r = sys_fsconfig_string(fs, key, eq + 1);
	}
	return r < 0 ? err_sys(err, r, "option \"%s\"", option) : 0;
}

static bool takes_label(const char *type)
{
	return strcmp(type, "tmpfs") == 0 || strcmp(type, "devpts") == 0 ||
	       strcmp(type, "mqueue") == 0;
}

/* Setting a time mode is always explicit: fsmount knows no "leave it". */
static unsigned fsmount_attr(const struct spec_mount *m)
{
	return (unsigned)((m->attr_set | m->attr_rec_set) & ~(uint64_t)MOUNT_ATTR_IDMAP);
}

int mount_new_filesystem(const struct spec_mount *m, const char *label, struct err *err)
{
	_cleanup_close_ int fs = sys_fsopen(m->type);
	int r, tree;

	if (fs < 0)
		return err_sys(err, fs, "cannot open file system type %s", m->type);
	r = sys_fsconfig_string(fs, "source", m->source ? m->source : m->type);
	if (r < 0)
		return err_sys(err, r, "source %s", m->source ? m->source : m->type);
	for (size_t i = 0; i < m->data.count; i++)
		if ((r = set_option(fs, m->data.items[i], err)) < 0)
			return r;
	if (label && *label && takes_label(m->type) &&
	    (r = sys_fsconfig_string(fs, "context", label)) < 0)
		return err_sys(err, r, "linux.mountLabel: cannot apply \"%s\"", label);
	r = sys_fsconfig_create(fs);
	if (r < 0)
		return err_sys(err, r, "cannot make a %s", m->type);
	tree = sys_fsmount(fs, fsmount_attr(m));
	return tree < 0 ? err_sys(err, tree, "cannot mount a %s", m->type) : tree;
}

static int bind_group(const struct launch *l, const struct cgroup_dir *d, int target,
		      const struct spec_mount *m, struct err *err)
{
	_cleanup_close_ int tree = FD_NONE, group = FD_NONE;
	char path[1400];
	int r;

	/* Through the child's own copy of the mount: a descriptor of the parent's would belong to
	 * another mount namespace. */
	(void)snprintf(path, sizeof(path), "/sys/fs/cgroup%s%s%s", l->cgroup->pure_v2 ? "" : "/",
		       l->cgroup->pure_v2 ? "" : d->name, l->cgroup->path);
	group = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
	if (group < 0)
		return err_sys(err, -errno, "cannot open %s", path);
	tree = sys_open_tree(group, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
	if (tree < 0)
		return err_sys(err, tree, "cannot clone %s", path);
	if ((r = mount_set_attr(tree, m, err)) < 0)
		return r;
	r = sys_move_mount(tree, target, "");
	return r < 0 ? err_sys(err, r, "cannot attach %s", path) : 0;
}

/* v1: a small tmpfs with one folder a hierarchy, each showing the container's own group. */
static int mount_cgroup_v1(const struct launch *l, const struct spec_mount *m, int target,
			   struct err *err)
{
	const char *data[] = { "mode=755", "size=64k" };
	struct spec_mount tmpfs = { .type = "tmpfs", .source = "tmpfs" };
	struct mount_attr readonly = { .attr_set = m->attr_set & MOUNT_ATTR_RDONLY };
	_cleanup_close_ int tree = FD_NONE;
	int r;

	tmpfs.data.items = data;
	tmpfs.data.count = ARRAY_LEN(data);
	tmpfs.attr_set = m->attr_set & ~(uint64_t)MOUNT_ATTR_RDONLY;
	tree = mount_new_filesystem(&tmpfs, l->spec.mount_label, err);
	if (tree < 0)
		return tree;
	r = sys_move_mount(tree, target, "");
	if (r < 0)
		return err_sys(err, r, "cannot attach the tmpfs");
	for (size_t i = 0; i < l->cgroup->count; i++) {
		const struct cgroup_dir *d = &l->cgroup->dirs[i];
		_cleanup_close_ int folder = FD_NONE;

		if (mkdirat(tree, d->name, 0755) < 0)
			return err_sys(err, -errno, "cannot make %s", d->name);
		folder = openat(tree, d->name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if ((r = bind_group(l, d, folder, m, err)) < 0)
			return r;
	}
	for (int c = 0; c < CG_UNIFIED; c++) {
		static const char *const alias[] = { "cpu", "cpuacct", "net_cls", "net_prio" };
		const char *name = c == CG_CPU	      ? alias[0]
				   : c == CG_CPUACCT  ? alias[1]
				   : c == CG_NET_CLS  ? alias[2]
				   : c == CG_NET_PRIO ? alias[3]
						      : NULL;

		if (name && l->cgroup->at[c] >= 0 &&
		    strcmp(l->cgroup->dirs[(int)l->cgroup->at[c]].name, name) != 0)
			(void)symlinkat(l->cgroup->dirs[(int)l->cgroup->at[c]].name, tree, name);
	}
	r = readonly.attr_set ? sys_mount_setattr(tree, "", AT_EMPTY_PATH, &readonly) : 0;
	return r < 0 ? err_sys(err, r, "cannot make the tmpfs read-only") : 0;
}

int mount_cgroup(const struct launch *l, const struct spec_mount *m, struct err *err)
{
	_cleanup_close_ int target = inroot_open_or_make(l->root_fd, m->destination, true, err);
	_cleanup_close_ int tree = FD_NONE;
	struct spec_mount v2 = *m;
	int r;

	if (target < 0)
		return target;
	if (!l->cgroup || !l->cgroup->count)
		return err_set(err, -ENOTSUP, "no cgroups on this host");
	if (!l->cgroup->pure_v2)
		return mount_cgroup_v1(l, m, target, err);
	/* Without a cgroup namespace a fresh cgroup2 mount would show the whole tree. */
	if (!l->spec.ns[NS_CGROUP].wanted)
		return bind_group(l, &l->cgroup->dirs[0], target, m, err);
	v2.type = "cgroup2";
	v2.source = "cgroup2";
	v2.data.count = 0; /* v1 options such as xattr mean nothing here */
	tree = mount_new_filesystem(&v2, NULL, err);
	if (tree < 0)
		return tree;
	r = sys_move_mount(tree, target, "");
	return r < 0 ? err_sys(err, r, "cannot attach the cgroup2 mount") : 0;
}
