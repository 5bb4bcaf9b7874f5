/* Device nodes and the customary links of /dev. */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"
#include "fault.h"
#include "inroot.h"
#include "launch.h"
#include "sys.h"

static const struct spec_device defaults[] = {
	{ "/dev/null", 'c', 1, 3, 0666, 0, 0 },	   { "/dev/zero", 'c', 1, 5, 0666, 0, 0 },
	{ "/dev/full", 'c', 1, 7, 0666, 0, 0 },	   { "/dev/random", 'c', 1, 8, 0666, 0, 0 },
	{ "/dev/urandom", 'c', 1, 9, 0666, 0, 0 }, { "/dev/tty", 'c', 5, 0, 0666, 0, 0 },
};

static mode_t type_bits(char type)
{
	return type == 'b' ? S_IFBLK : type == 'p' ? S_IFIFO : S_IFCHR;
}

static bool is_same_device(const struct stat *st, const struct spec_device *d)
{
	if ((st->st_mode & S_IFMT) != type_bits(d->type))
		return false;
	return d->type == 'p' || st->st_rdev == makedev(d->major, d->minor);
}

/* In a user namespace mknod gives nodes that cannot be opened: the host's node is bound instead. */
static int bind_device(int parent, const char *name, const struct spec_device *d, struct err *err)
{
	_cleanup_close_ int fd =
		openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
	_cleanup_close_ int target = openat(parent, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int tree = FD_NONE, source = FD_NONE;
	struct stat st;
	int r;

	if (target < 0 || fstat(target, &st) < 0)
		return err_sys(err, -errno, "cannot make %s", d->path);
	if (is_same_device(&st, d))
		return 0;
	source = open(d->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (source < 0 || fstat(source, &st) < 0)
		return err_sys(err, -errno, "cannot open the host's %s", d->path);
	if (!is_same_device(&st, d))
		return err_set(err, -ENODEV, "%s of the host is another device", d->path);
	tree = sys_open_tree(source, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
	if (tree < 0)
		return err_sys(err, tree, "cannot clone the host's %s", d->path);
	r = sys_move_mount(tree, target, "");
	return r < 0 ? err_sys(err, r, "cannot bind %s", d->path) : 0;
}

static int make_node(int parent, const char *name, const struct spec_device *d, struct err *err)
{
	struct stat st;

	if (mknodat(parent, name, type_bits(d->type) | d->mode,
		    d->type == 'p' ? 0 : makedev(d->major, d->minor)) < 0) {
		if (errno != EEXIST)
			return err_sys(err, -errno, "cannot make %s", d->path);
		if (fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !is_same_device(&st, d))
			return err_set(err, -EEXIST, "%s of the image is another device or file",
				       d->path);
	}
	if ((d->uid || d->gid) && fchownat(parent, name, d->uid, d->gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, -errno, "cannot change the owner of %s", d->path);
	return 0;
}

static int make_device(const struct launch *l, int dev, const struct spec_device *d,
		       struct err *err)
{
	_cleanup_close_ int parent = FD_NONE;
	const char *name = d->path + strlen("/dev/");
	int r;

	if (strncmp(d->path, "/dev/", 5) != 0 || strchr(name, '/') || !*name ||
	    strcmp(name, "..") == 0 || strcmp(name, ".") == 0) {
		parent = inroot_open_parent(l->root_fd, d->path, &name, err);
		if (parent < 0)
			return parent;
		dev = parent;
	}
	if (l->spec.ns[NS_USER].wanted && d->type != 'p')
		return bind_device(dev, name, d, err);
	r = make_node(dev, name, d, err);
	/* Rootless or nested callers may not mknod. */
	return r == -EPERM ? bind_device(dev, name, d, err) : r;
}

static int make_link(int dev, const char *target, const char *name, struct err *err)
{
	if (symlinkat(target, dev, name) < 0 && errno != EEXIST)
		return err_sys(err, -errno, "cannot make /dev/%s", name);
	return 0;
}

static int make_links(int dev, struct err *err)
{
	static const char *const links[][2] = {
		{ "/proc/self/fd", "fd" },	 { "/proc/self/fd/0", "stdin" },
		{ "/proc/self/fd/1", "stdout" }, { "/proc/self/fd/2", "stderr" },
		{ "/proc/kcore", "core" },
	};

	for (size_t i = 0; i < ARRAY_LEN(links); i++) {
		int r = make_link(dev, links[i][0], links[i][1], err);

		if (r < 0)
			return r;
	}
	return 0;
}

/* A /dev that the configuration binds from elsewhere is used as it is. */
static bool dev_is_foreign(const struct spec *s)
{
	for (size_t i = 0; i < s->mount_count; i++)
		if (s->mounts[i].bind && strcmp(s->mounts[i].destination, "/dev") == 0)
			return true;
	return false;
}

/* Nodes are created with the modes that the configuration names, whatever the caller's umask. */
int devices_make(struct launch *l, struct err *err)
{
	_cleanup_close_ int dev = FD_NONE;
	mode_t old;
	int r = fault_at("devices", err);

	if (r < 0 || dev_is_foreign(&l->spec))
		return r;
	dev = inroot_open_or_make(l->root_fd, "/dev", true, err);
	if (dev < 0)
		return dev;
	old = umask(0);
	for (size_t i = 0; r >= 0 && i < ARRAY_LEN(defaults); i++)
		r = make_device(l, dev, &defaults[i], err);
	for (size_t i = 0; r >= 0 && i < l->spec.device_count; i++)
		if ((r = make_device(l, dev, &l->spec.devices[i], err)) < 0)
			(void)err_prefix(err, "linux.devices[%zu]", i);
	(void)umask(old);
	if (r >= 0)
		r = make_links(dev, err);
	if (r >= 0 && l->devpts_fd >= 0)
		r = make_link(dev, "pts/ptmx", "ptmx", err);
	return r;
}
