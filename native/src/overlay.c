/* The container's root as an overlay, given by annotations: mounted detached by the parent, so
 * that nothing ever appears in the host's mount table. */
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "cleanup.h"
#include "fault.h"
#include "launch.h"
#include "sys.h"

#define MAX_LAYERS 500

static int check_folder(const char *path, struct err *err)
{
	if (path[0] != '/')
		return err_set(err, -EINVAL, "dev.gantry.rootfs: \"%s\" must be absolute", path);
	if (access(path, F_OK) < 0)
		return err_sys(err, -errno, "dev.gantry.rootfs: cannot reach %s", path);
	return 0;
}

/* Layer by layer ("lowerdir+"), which has no limit on the length of all names together. */
static int add_lower_layers(int fs, const char *list, struct err *err)
{
	char layer[4096];
	int count = 0, r;

	while (*list) {
		size_t len = strcspn(list, ":");

		if (len >= sizeof(layer) || len == 0 || ++count > MAX_LAYERS)
			return err_set(err, -EINVAL,
				       "dev.gantry.rootfs.lower: must be 1..%d folders", MAX_LAYERS);
		memcpy(layer, list, len);
		layer[len] = '\0';
		if ((r = check_folder(layer, err)) < 0)
			return r;
		r = sys_fsconfig_string(fs, "lowerdir+", layer);
		if (r < 0)
			return err_sys(err, r, "dev.gantry.rootfs.lower: layer %s", layer);
		list += len + (list[len] == ':');
	}
	return 0;
}

static int mount_by_descriptor(const struct spec_overlay *o, struct err *err)
{
	_cleanup_close_ int fs = sys_fsopen("overlay");
	int r;

	if (fs < 0)
		return err_sys(err, fs, "cannot open file system type overlay");
	(void)sys_fsconfig_string(fs, "source", "overlay");
	if ((r = add_lower_layers(fs, o->lower, err)) < 0)
		return r;
	if (o->upper && (r = sys_fsconfig_string(fs, "upperdir", o->upper)) < 0)
		return err_sys(err, r, "dev.gantry.rootfs.upper: %s", o->upper);
	if (o->upper && (r = sys_fsconfig_string(fs, "workdir", o->work)) < 0)
		return err_sys(err, r, "dev.gantry.rootfs.work: %s", o->work);
	r = sys_fsconfig_create(fs);
	if (r < 0)
		return err_sys(err, r, "cannot make the overlay");
	r = sys_fsmount(fs, 0);
	return r < 0 ? err_sys(err, r, "cannot mount the overlay") : r;
}

/* Kernels before 6.8 take all layers in one mount option of at most a page: names are shortened
 * by their common folder, from where the mount is made, in the child's mount namespace. Here only
 * the string is built; the folder is stored in front of it. */
static size_t common_folder(const char *list)
{
	size_t common = strcspn(list, ":");

	while (common > 0 && list[common - 1] != '/')
		common--;
	for (const char *p = list; *p;) {
		size_t len = strcspn(p, ":");

		while (common > 0 && (common > len || memcmp(p, list, common) != 0))
			for (common--; common > 0 && list[common - 1] != '/'; common--)
				;
		p += len + (p[len] == ':');
	}
	return common;
}

static char *legacy_options(struct arena *a, const struct spec_overlay *o, size_t common)
{
	size_t size = strlen(o->lower) + 16;
	char *lower = arena_alloc(a, size), *out = lower;

	if (!lower)
		return NULL;
	for (const char *p = o->lower; *p;) {
		size_t len = strcspn(p, ":");
		size_t short_len = len - common;

		memcpy(out, p + common, short_len);
		out += short_len;
		if (p[len])
			*out++ = ':';
		p += len + (p[len] == ':');
	}
	*out = '\0';
	if (!o->upper)
		return arena_printf(a, "lowerdir=%s", lower);
	return arena_printf(a, "lowerdir=%s,upperdir=%s,workdir=%s", lower, o->upper, o->work);
}

/* mount(2) has no detached form: it is made in a mount namespace of its own that lives only as
 * long as this clone of its tree does. */
static int mount_by_string(struct launch *l, struct err *err)
{
	const struct spec_overlay *o = &l->spec.overlay;
	size_t common = common_folder(o->lower);
	char *base = arena_strndup(&l->arena, o->lower, common ? common : 1);
	char *options = legacy_options(&l->arena, o, common);
	_cleanup_close_ int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int old_ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	int tree = -EIO;

	if (!base || !options || strlen(options) > 4095)
		return err_set(err, -E2BIG,
			       "dev.gantry.rootfs.lower: names are too long for this kernel");
	if (old_ns < 0 || here < 0 || unshare(CLONE_NEWNS) < 0)
		return err_sys(err, -errno, "cannot make a mount namespace for the overlay");
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 || chdir(base) < 0 ||
	    mount("overlay", l->rootfs, "overlay", 0, options) < 0)
		tree = err_sys(err, -errno, "cannot mount the overlay");
	else if ((tree = sys_open_tree(AT_FDCWD, l->rootfs, OPEN_TREE_CLONE)) < 0)
		tree = err_sys(err, tree, "cannot clone the overlay");
	if (sys_setns(old_ns, CLONE_NEWNS) < 0 || fchdir(here) < 0) {
		cleanup_close(&tree);
		return err_sys(err, -errno, "cannot return to the host's mount namespace");
	}
	return tree;
}

int overlay_prepare(struct launch *l, struct err *err)
{
	const struct spec_overlay *o = &l->spec.overlay;
	int fd, r = fault_at("overlay", err);

	if (r < 0 || !o->lower)
		return r;
	if (o->upper && ((r = check_folder(o->upper, err)) < 0 ||
			 (r = check_folder(o->work, err)) < 0))
		return r;
	fd = mount_by_descriptor(o, err);
	/* "lowerdir+" is unknown before 6.8, and before 6.5 options end at 256 bytes. */
	if (fd == -EINVAL || fd == -E2BIG || fd == -ENOENT)
		fd = mount_by_string(l, err);
	if (fd < 0)
		return fd;
	l->overlay_fd = fd;
	return 0;
}
