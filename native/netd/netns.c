#include "netns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "cleanup.h"

#define OWN_NETNS "/proc/thread-self/ns/net"

static void go_home(int home_fd)
{
	if (setns(home_fd, CLONE_NEWNET) == 0)
		return;
	perror("gantry-netd: cannot return to the node's network namespace");
	_exit(70);
}

int netns_create(int home_fd, int *ret_fd, struct netlink *ret_inside, struct err *err)
{
	_cleanup_close_ int fd = FD_NONE;
	int result;

	if (unshare(CLONE_NEWNET) < 0)
		return err_sys(err, -errno, "cannot create a network namespace");
	fd = open(OWN_NETNS, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		result = err_sys(err, -errno, "cannot open the new network namespace");
	else
		result = netlink_open(ret_inside, err);
	go_home(home_fd);
	if (result == 0)
		*ret_fd = steal_fd(&fd);
	return result;
}

/* Whether the open file is a namespace, and not a plain file left by an interrupted bind. */
static bool is_nsfs(int fd)
{
	struct statfs info;

	return fstatfs(fd, &info) == 0 && info.f_type == NSFS_MAGIC;
}

int netns_open(const char *path, int *ret_fd, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	if (fd < 0)
		return err_sys(err, -errno, "cannot open the network namespace \"%s\"", path);
	if (!is_nsfs(fd))
		return err_set(err, -EINVAL,
			       "cannot use \"%s\": must be a network namespace, found another file",
			       path);
	*ret_fd = steal_fd(&fd);
	return 0;
}

int netns_socket(int home_fd, int netns_fd, struct netlink *ret_inside, struct err *err)
{
	int result;

	if (setns(netns_fd, CLONE_NEWNET) < 0)
		return err_sys(err, -errno, "cannot enter the network namespace");
	result = netlink_open(ret_inside, err);
	go_home(home_fd);
	return result;
}

int netns_bind(int netns_fd, const char *path, struct err *err)
{
	char source[64];
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);

	if (fd < 0)
		return err_sys(err, -errno, "cannot create \"%s\"", path);
	(void)snprintf(source, sizeof(source), "/proc/self/fd/%d", netns_fd);
	if (mount(source, path, NULL, MS_BIND, NULL) < 0) {
		int failure = -errno;

		(void)unlink(path);
		return err_sys(err, failure, "cannot bind the network namespace to \"%s\"", path);
	}
	return 0;
}

int netns_unbind(const char *path, struct err *err)
{
	struct stat info;

	if (umount2(path, MNT_DETACH | UMOUNT_NOFOLLOW) < 0 && errno != EINVAL && errno != ENOENT)
		return err_sys(err, -errno, "cannot unmount \"%s\"", path);
	if (lstat(path, &info) < 0)
		return errno == ENOENT ? 0 : err_sys(err, -errno, "cannot look at \"%s\"", path);
	/* Only the empty file that netns_bind made. */
	if (!S_ISREG(info.st_mode) || info.st_size != 0)
		return err_set(err, -EINVAL,
			       "cannot remove \"%s\": must be a bound network namespace", path);
	if (unlink(path) < 0 && errno != ENOENT)
		return err_sys(err, -errno, "cannot remove \"%s\"", path);
	return 0;
}
