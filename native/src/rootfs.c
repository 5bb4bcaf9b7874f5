/* The container's root: built beneath a descriptor, then made the root by pivot_root. */
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"
#include "fault.h"
#include "inroot.h"
#include "launch.h"
#include "sys.h"

/* The host's null device, opened before anything of the image is in reach and verified: masks and
 * stdio that showed another file would give the container a host file to write. */
static int open_null(struct launch *l, struct err *err)
{
	struct stat st;

	l->null_fd = open("/dev/null", O_PATH | O_CLOEXEC | O_NOFOLLOW);
	if (l->null_fd < 0 || fstat(l->null_fd, &st) < 0)
		return err_sys(err, -errno, "cannot open /dev/null");
	if (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3))
		return err_set(err, -ENODEV, "/dev/null: must be character device 1:3");
	return 0;
}

/* The parent's working directory at the clone is the root file system, and the kernel carried it
 * over into this mount namespace: so no path to it is walked here, whoever may not pass there. */
int rootfs_prepare(struct launch *l, struct err *err)
{
	int r = fault_at("rootfs", err);

	if (r < 0 || (r = open_null(l, err)) < 0)
		return r;
	/* Whatever the container asks for its own root, nothing it mounts may reach the host. */
	if (mount(NULL, "/", NULL, MS_SLAVE | MS_REC, NULL) < 0)
		return err_sys(err, -errno, "cannot cut mount propagation to the host");
	l->root_fd = l->overlay_fd;
	if (l->root_fd < 0) {
		l->root_fd =
			sys_open_tree(AT_FDCWD, "", OPEN_TREE_CLONE | AT_RECURSIVE | AT_EMPTY_PATH);
		if (l->root_fd < 0)
			return err_sys(err, l->root_fd, "root.path: cannot clone %s", l->rootfs);
	}
	r = sys_move_mount(l->root_fd, AT_FDCWD, "");
	return r < 0 ? err_sys(err, r, "root.path: cannot attach %s", l->rootfs) : 0;
}

static int enter_by_pivot(struct err *err)
{
	/* The old root ends up on top of the new one, is the working directory's parent mount, and
	 * goes away with all its mounts at once. */
	int r = sys_pivot_root(".", ".");

	if (r < 0)
		return err_sys(err, r, "cannot pivot into the root file system");
	if (umount2(".", MNT_DETACH) < 0)
		return err_sys(err, -errno, "cannot let go of the host's root");
	return 0;
}

static int enter_by_move(const struct launch *l, struct err *err)
{
	_cleanup_close_ int top = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	int r = sys_move_mount(l->root_fd, top, "");

	if (r < 0)
		return err_sys(err, r, "cannot move the root file system");
	if (fchdir(l->root_fd) < 0 || chroot(".") < 0)
		return err_sys(err, -errno, "cannot enter the root file system");
	return 0;
}

int rootfs_enter(struct launch *l, struct err *err)
{
	struct mount_attr readonly = { .attr_set = MOUNT_ATTR_RDONLY };
	uint64_t propagation = l->spec.root_propagation;
	int r = fault_at("pivot", err);

	if (r < 0)
		return r;
	if (fchdir(l->root_fd) < 0)
		return err_sys(err, -errno, "cannot enter the root file system");
	r = l->opts->no_pivot ? enter_by_move(l, err) : enter_by_pivot(err);
	if (r < 0)
		return r;
	if (chdir("/") < 0)
		return err_sys(err, -errno, "cannot enter the root file system");
	if (propagation && mount(NULL, "/", NULL, (unsigned long)propagation, NULL) < 0)
		return err_sys(err, -errno, "linux.rootfsPropagation");
	if (l->spec.root_readonly) {
		r = sys_mount_setattr(l->root_fd, "", AT_EMPTY_PATH, &readonly);
		if (r < 0)
			return err_sys(err, r, "root.readonly");
	}
	close_and_forget(&l->root_fd);
	l->overlay_fd = FD_NONE;
	return 0;
}
