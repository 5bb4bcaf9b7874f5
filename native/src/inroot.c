#include "inroot.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "cleanup.h"
#include "sys.h"

#define HOW (RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)

int inroot_open(int root_fd, const char *path)
{
	return sys_openat2(root_fd, path, O_PATH, 0, HOW);
}

/* Makes `prefix` (a path whose parent exists) as a folder or file and opens it. */
static int make_one(int root_fd, int parent, const char *prefix, const char *name, bool directory)
{
	if (directory) {
		if (mkdirat(parent, name, 0755) < 0 && errno != EEXIST)
			return -errno;
	} else {
		int fd = openat(parent, name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC,
				0644);

		if (fd < 0 && errno != EEXIST)
			return -errno;
		cleanup_close(&fd);
	}
	return inroot_open(root_fd, prefix);
}

/* Walks component by component. Each prefix is resolved again from the root, so that symlinks in
 * the middle keep their meaning inside the container. */
static int walk_and_make(int root_fd, const char *path, bool directory)
{
	_cleanup_close_ int at = openat(root_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
	char prefix[4096];
	size_t len = strlen(path), pos = 0;

	if (at < 0)
		return -errno;
	if (len >= sizeof(prefix))
		return -ENAMETOOLONG;
	while (pos < len) {
		size_t start = pos + strspn(path + pos, "/");
		size_t end = start + strcspn(path + start, "/");
		bool last = path[end + strspn(path + end, "/")] == '\0';
		char name[256];
		int fd;

		if (start == end)
			break;
		if (end - start >= sizeof(name))
			return -ENAMETOOLONG;
		memcpy(name, path + start, end - start);
		name[end - start] = '\0';
		memcpy(prefix, path, end);
		prefix[end] = '\0';
		fd = inroot_open(root_fd, prefix);
		if (fd == -ENOENT)
			fd = make_one(root_fd, at, prefix, name, !last || directory);
		if (fd < 0)
			return fd;
		(void)close(at);
		at = fd;
		pos = end;
	}
	return steal_fd(&at);
}

int inroot_open_or_make(int root_fd, const char *path, bool directory, struct err *err)
{
	_cleanup_close_ int fd = inroot_open(root_fd, path);
	struct stat st;

	if (fd == -ENOENT)
		fd = walk_and_make(root_fd, path, directory);
	if (fd < 0)
		return err_sys(err, fd, "cannot open %s in the root file system", path);
	if (fstat(fd, &st) < 0)
		return err_sys(err, -errno, "cannot look at %s", path);
	if (S_ISDIR(st.st_mode) != directory)
		return err_set(err, directory ? -ENOTDIR : -EISDIR,
			       "%s in the root file system: must be a %s", path,
			       directory ? "folder" : "file");
	return steal_fd(&fd);
}

int inroot_open_parent(int root_fd, const char *path, const char **ret_name, struct err *err)
{
	const char *slash = strrchr(path, '/');
	char parent[4096] = "/";
	const char *name = slash ? slash + 1 : path;

	if (!*name || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return err_set(err, -EINVAL, "%s: must end in a name", path);
	if (slash && slash > path) {
		size_t len = (size_t)(slash - path);

		if (len >= sizeof(parent))
			return err_set(err, -ENAMETOOLONG, "path is too long");
		memcpy(parent, path, len);
		parent[len] = '\0';
	}
	*ret_name = name;
	return inroot_open_or_make(root_fd, parent, true, err);
}
