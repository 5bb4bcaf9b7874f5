/* tmpcopyup: what the image has at the mount point is copied into the fresh tmpfs. */
#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cleanup.h"
#include "mount.h"
#include "sys.h"

#define MAX_DEPTH 64

static int copy_folder(int from, int to, int depth);

static int copy_file(int from, int to, const char *name, const struct stat *st)
{
	_cleanup_close_ int in = openat(from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	_cleanup_close_ int out = FD_NONE;
	ssize_t n;

	if (in < 0)
		return -errno;
	out = openat(to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (out < 0)
		return -errno;
	do
		n = sendfile(out, in, NULL, 1 << 20);
	while (n > 0);
	if (n < 0)
		return -errno;
	if (fchown(out, st->st_uid, st->st_gid) < 0 || fchmod(out, st->st_mode & 07777) < 0)
		return -errno;
	return 0;
}

static int copy_link(int from, int to, const char *name, const struct stat *st)
{
	char target[4096];
	ssize_t n = readlinkat(from, name, target, sizeof(target) - 1);

	if (n < 0)
		return -errno;
	target[n] = '\0';
	if (symlinkat(target, to, name) < 0)
		return -errno;
	return fchownat(to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

static int copy_subfolder(int from, int to, const char *name, const struct stat *st, int depth)
{
	_cleanup_close_ int in =
		openat(from, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	_cleanup_close_ int out = FD_NONE;
	int r;

	if (in < 0 || mkdirat(to, name, 0700) < 0)
		return -errno;
	out = openat(to, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (out < 0)
		return -errno;
	r = copy_folder(in, out, depth + 1);
	if (r >= 0 &&
	    (fchown(out, st->st_uid, st->st_gid) < 0 || fchmod(out, st->st_mode & 07777) < 0))
		r = -errno;
	return r;
}

static int copy_entry(int from, int to, const char *name, int depth)
{
	struct stat st;

	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return -errno;
	if (S_ISDIR(st.st_mode))
		return copy_subfolder(from, to, name, &st, depth);
	if (S_ISREG(st.st_mode))
		return copy_file(from, to, name, &st);
	if (S_ISLNK(st.st_mode))
		return copy_link(from, to, name, &st);
	return 0; /* sockets, pipes and devices are left out */
}

static int copy_folder(int from, int to, int depth)
{
	struct dirent *e;
	int r = 0, fd;
	DIR *dir;

	if (depth == MAX_DEPTH)
		return -ELOOP;
	fd = openat(from, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return -errno;
	while (r >= 0 && (e = readdir(dir)))
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
			r = copy_entry(from, to, e->d_name, depth);
	(void)closedir(dir);
	return r;
}

int mount_copy_up(int from, int tree, struct err *err)
{
	struct stat st;
	int r = copy_folder(from, tree, 0);

	if (r >= 0 && (fstat(from, &st) < 0 || fchownat(tree, ".", st.st_uid, st.st_gid, 0) < 0 ||
		       fchmodat(tree, ".", st.st_mode & 07777, 0) < 0))
		r = -errno;
	return r < 0 ? err_sys(err, r, "tmpcopyup: cannot copy") : 0;
}
