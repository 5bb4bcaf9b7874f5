/* maskedPaths and readonlyPaths. */
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "fault.h"
#include "inroot.h"
#include "launch.h"
#include "mount.h"
#include "sys.h"

/* One empty read-only tmpfs serves every masked folder. */
static int empty_folder(int *cached, struct err *err)
{
	const char *data[] = { "nr_blocks=1", "nr_inodes=1" };
	struct spec_mount m = { .type = "tmpfs", .source = "tmpfs" };

	m.data.items = data;
	m.data.count = ARRAY_LEN(data);
	m.attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
	if (*cached < 0) {
		*cached = mount_new_filesystem(&m, NULL, err);
		return *cached;
	}
	return 0;
}

/* The host's null behind a mount that is read-only: what covers a file must not let its mode be
 * changed. */
static int null_clone(int null_fd)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID |
					       MOUNT_ATTR_NOEXEC };
	_cleanup_close_ int tree = sys_open_tree(null_fd, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
	int r;

	if (tree < 0)
		return tree;
	r = sys_mount_setattr(tree, "", AT_EMPTY_PATH, &attr);
	return r < 0 ? r : steal_fd(&tree);
}

static int mask(const struct launch *l, const char *path, int *folder, struct err *err)
{
	_cleanup_close_ int target = inroot_open(l->root_fd, path);
	_cleanup_close_ int tree = FD_NONE;
	struct stat st;
	int r;

	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	if (target < 0 || fstat(target, &st) < 0)
		return err_sys(err, target < 0 ? target : -errno, "cannot open");
	if (S_ISDIR(st.st_mode)) {
		bool fresh = *folder < 0;

		r = empty_folder(folder, err);
		if (r < 0)
			return r;
		/* The first use attaches the mount itself, later ones attach clones of it. */
		tree = fresh ? dup(*folder)
			     : sys_open_tree(*folder, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
	} else {
		tree = null_clone(l->null_fd);
	}
	r = tree < 0 ? tree : sys_move_mount(tree, target, "");
	return r < 0 ? err_sys(err, r, "cannot cover") : 0;
}

static int make_readonly(const struct launch *l, const char *path, struct err *err)
{
	struct mount_attr attr = { .attr_set = MOUNT_ATTR_RDONLY };
	_cleanup_close_ int target = inroot_open(l->root_fd, path);
	_cleanup_close_ int tree = FD_NONE;
	int r;

	if (target == -ENOENT || target == -ENOTDIR)
		return 0;
	if (target < 0)
		return err_sys(err, target, "cannot open");
	tree = sys_open_tree(target, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH);
	if (tree < 0)
		return err_sys(err, tree, "cannot clone");
	r = sys_mount_setattr(tree, "", AT_EMPTY_PATH | AT_RECURSIVE, &attr);
	if (r >= 0)
		r = sys_move_mount(tree, target, "");
	return r < 0 ? err_sys(err, r, "cannot make read-only") : 0;
}

int paths_restrict(struct launch *l, struct err *err)
{
	const struct strings *masked = &l->spec.masked, *readonly = &l->spec.readonly;
	_cleanup_close_ int folder = FD_NONE;
	int r = fault_at("masked-paths", err);

	if (r < 0)
		return r;
	for (size_t i = 0; i < readonly->count; i++)
		if (make_readonly(l, readonly->items[i], err) < 0)
			return err_prefix(err, "linux.readonlyPaths[%zu] %s", i,
					  readonly->items[i]);
	for (size_t i = 0; i < masked->count; i++)
		if (mask(l, masked->items[i], &folder, err) < 0)
			return err_prefix(err, "linux.maskedPaths[%zu] %s", i, masked->items[i]);
	return 0;
}
