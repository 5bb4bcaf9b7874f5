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
				       "dev.gantry.rootfs.lower: must be 1..%d folders",
				       MAX_LAYERS);
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

/* Kernels before 6.8 take all layers in one mount option of at most a page. Each layer is opened,
 * and the option names the descriptors, relative to /proc/self/fd: three bytes a layer. */
struct layers {
	size_t count;
	int fds[MAX_LAYERS + 2];
};

static void layers_close(struct layers *l)
{
	for (size_t i = 0; i < l->count; i++)
		cleanup_close(&l->fds[i]);
}

static int layers_add(struct layers *l, const char *path, struct err *err)
{
	int fd = l->count < MAX_LAYERS + 2 ? open(path, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd < 0)
		return err_sys(err, -errno, "dev.gantry.rootfs: cannot open %s", path);
	l->fds[l->count++] = fd;
	return fd;
}

static int describe_layers(const struct spec_overlay *o, struct layers *l, char *text, size_t size,
			   struct err *err)
{
	size_t len = (size_t)snprintf(text, size, "lowerdir=");
	char path[4096];

	for (const char *p = o->lower; *p;) {
		size_t n = strcspn(p, ":");
		int fd;

		if (n >= sizeof(path) || n == 0 || len + 16 > size)
			return err_set(err, -E2BIG, "dev.gantry.rootfs.lower: too many folders");
		memcpy(path, p, n);
		path[n] = '\0';
		if ((fd = layers_add(l, path, err)) < 0)
			return fd;
		len += (size_t)snprintf(text + len, size - len, "%s%d", l->count > 1 ? ":" : "",
					fd);
		p += n + (p[n] == ':');
	}
	if (o->upper) {
		int upper = layers_add(l, o->upper, err),
		    work = upper < 0 ? upper : layers_add(l, o->work, err);

		if (work < 0)
			return work;
		(void)snprintf(text + len, size - len, ",upperdir=%d,workdir=%d", upper, work);
	}
	return 0;
}

/* mount(2) has no detached form: it is made in a mount namespace of its own that lives only as
 * long as this clone of its tree does. */
static int mount_by_string(const struct launch *l, struct err *err)
{
	__attribute__((cleanup(layers_close))) struct layers layers = { 0 };
	_cleanup_close_ int here = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int old_ns = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
	char options[4096];
	int tree;

	if (old_ns < 0 || here < 0 || unshare(CLONE_NEWNS) < 0)
		return err_sys(err, -errno, "cannot make a mount namespace for the overlay");
	/* The layers must be of the mount namespace in which they are mounted. */
	if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		tree = err_sys(err, -errno, "cannot isolate the overlay");
	else
		tree = describe_layers(&l->spec.overlay, &layers, options, sizeof(options), err);
	if (tree >= 0 &&
	    (chdir("/proc/self/fd") < 0 || mount("overlay", l->rootfs, "overlay", 0, options) < 0))
		tree = err_sys(err, -errno, "cannot mount the overlay");
	else if (tree >= 0 && (tree = sys_open_tree(AT_FDCWD, l->rootfs, OPEN_TREE_CLONE)) < 0)
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
	if (o->upper &&
	    ((r = check_folder(o->upper, err)) < 0 || (r = check_folder(o->work, err)) < 0))
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
