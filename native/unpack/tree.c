#include "tree.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE (1 << 0)
#endif

#define OPEN_FOLDER (O_PATH | O_DIRECTORY | O_CLOEXEC)

static int open_beneath(int root, const char *path)
{
	struct open_how how = {
	    .flags = OPEN_FOLDER,
	    .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV,
	};
	long fd = syscall(SYS_openat2, root, *path ? path : ".", &how, sizeof(how));

	return fd < 0 ? -errno : (int)fd;
}

static bool is_whiteout(const struct stat *st)
{
	return S_ISCHR(st->st_mode) && st->st_rdev == makedev(0, 0);
}

void tree_forget(struct tree *tree)
{
	close_and_forget(&tree->last_fd);
}

int tree_count(struct tree *tree, struct err *err)
{
	if (++tree->entries <= tree->max_entries)
		return 0;
	return err_set(err, -E2BIG, "cannot unpack: a layer must have at most %llu entries",
		       (unsigned long long)tree->max_entries);
}

int tree_open(const struct tree *tree, const char *path, int *ret_fd, struct err *err)
{
	int fd = open_beneath(tree->root, path);

	if (fd < 0)
		return err_sys(err, fd, "cannot open folder \"%.200s\" of the layer", path);
	*ret_fd = fd;
	return 0;
}

int tree_set_opaque(int dir, const char *name, struct err *err)
{
	_cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return err_sys(err, -errno, "cannot open \"%.200s\"", name);
	if (fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) < 0)
		return err_sys(err, -errno, "cannot mark \"%.200s\" as opaque", name);
	return 0;
}

/* One missing folder of an entry's path. A whiteout there becomes a folder that hides. */
static int make_folder(struct tree *tree, int dir, const char *name, struct err *err)
{
	struct stat st;
	bool hides = false;
	int result;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
		if (!is_whiteout(&st))
			return err_set(
			    err, -ENOTDIR,
			    "\"%.100s\" must be a folder of the layer, found another kind", name);
		if (unlinkat(dir, name, 0) < 0)
			return err_sys(err, -errno, "cannot remove \"%.200s\"", name);
		hides = true;
	}
	result = tree_count(tree, err);
	if (result < 0)
		return result;
	if (mkdirat(dir, name, 0755) < 0)
		return err_sys(err, -errno, "cannot make folder \"%.200s\"", name);
	return hides ? tree_set_opaque(dir, name, err) : 0;
}

/* Walks from the root and makes what is missing: one step a part, so that a path costs its depth.
 */
static int make_parents(struct tree *tree, char *path, int *ret_fd, struct err *err)
{
	_cleanup_close_ int at = open_beneath(tree->root, "");

	if (at < 0)
		return err_sys(err, at, "cannot open the layer's root");
	for (char *part = path; part;) {
		char *slash = strchr(part, '/');
		int next;

		if (slash)
			*slash = '\0';
		next = openat(at, part, OPEN_FOLDER | O_NOFOLLOW);
		if (next < 0) {
			int result = make_folder(tree, at, part, err);

			if (result < 0)
				return result;
			next = openat(at, part, OPEN_FOLDER | O_NOFOLLOW);
		}
		if (next < 0)
			return err_sys(err, -errno, "cannot open folder \"%.200s\" of the layer",
				       path);
		(void)close(at);
		at = next;
		if (slash)
			*slash = '/';
		part = slash ? slash + 1 : NULL;
	}
	*ret_fd = steal_fd(&at);
	return 0;
}

int tree_parent(struct tree *tree, const char *path, int *ret_fd, struct err *err)
{
	char copy[PATH_MAX];
	int fd;

	if (tree->last_fd >= 0 && strcmp(tree->last, path) == 0) {
		*ret_fd = tree->last_fd;
		return 0;
	}
	tree_forget(tree);
	fd = open_beneath(tree->root, path);
	if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP) {
		int result;

		(void)stpcpy(copy, path);
		result = make_parents(tree, copy, &fd, err);
		if (result < 0)
			return result;
	} else if (fd < 0) {
		return err_sys(err, fd, "cannot open folder \"%.200s\" of the layer", path);
	}
	(void)stpcpy(tree->last, path);
	tree->last_fd = fd;
	*ret_fd = fd;
	return 0;
}

int tree_clear(struct tree *tree, int dir, const char *name, bool for_folder, bool *ret_hides,
	       bool *ret_kept, struct err *err)
{
	struct stat st;

	*ret_hides = false;
	*ret_kept = false;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0
				       : err_sys(err, -errno, "cannot look at \"%.200s\"", name);
	if (S_ISDIR(st.st_mode)) {
		int result;

		if (for_folder) {
			*ret_kept = true;
			return 0;
		}
		/* The folder that is kept for the next entry may lie in what goes. */
		result = tree_remove(dir, name, err);
		if (dir != tree->last_fd)
			tree_forget(tree);
		return result;
	}
	*ret_hides = is_whiteout(&st);
	if (unlinkat(dir, name, 0) < 0)
		return err_sys(err, -errno, "cannot replace \"%.200s\"", name);
	return 0;
}

/* Deeper folders are not entered but moved to the top: a container may have nested its own by the
 * thousand, and each level in hand costs a descriptor and a buffer. */
#define REMOVE_DEPTH_MAX  64
#define REMOVE_PASSES_MAX 100000

struct removal {
	int top; /* of the tree that goes */
	unsigned moved;
};

static int remove_at(struct removal *removal, int dir, const char *name, unsigned depth,
		     struct err *err);

static int move_up(struct removal *removal, int dir, const char *name, struct err *err)
{
	char moved[32];

	do {
		(void)snprintf(moved, sizeof(moved), ".deep-%u", removal->moved++);
		if (syscall(SYS_renameat2, dir, name, removal->top, moved, RENAME_NOREPLACE) == 0)
			return 0;
	} while (errno == EEXIST);
	return err_sys(err, -errno, "cannot move \"%.200s\" to remove it", name);
}

static int remove_content(struct removal *removal, int fd, unsigned depth, struct err *err)
{
	struct dirent *entry;
	int result = 0;
	DIR *list = fdopendir(fd);

	if (!list) {
		result = -errno;
		(void)close(fd);
		return err_sys(err, result, "cannot list a folder to remove it");
	}
	while (result == 0 && (entry = readdir(list))) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		result = remove_at(removal, fd, entry->d_name, depth + 1, err);
	}
	(void)closedir(list);
	return result;
}

/* Recursion is bounded by REMOVE_DEPTH_MAX. */
static int remove_at(struct removal *removal, int dir, const char *name, unsigned depth,
		     struct err *err)
{
	int fd;
	int result;

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR && errno != EPERM)
		return err_sys(err, -errno, "cannot remove \"%.200s\"", name);
	if (depth > REMOVE_DEPTH_MAX)
		return move_up(removal, dir, name, err);
	fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, -errno, "cannot open \"%.200s\" to remove it", name);
	result = remove_content(removal, fd, depth, err);
	if (result < 0)
		return result;
	/* Not empty: a name appeared meanwhile; the next pass sees it. */
	if (unlinkat(dir, name, AT_REMOVEDIR) < 0 && errno != ENOTEMPTY)
		return err_sys(err, -errno, "cannot remove folder \"%.200s\"", name);
	return 0;
}

int tree_remove(int dir, const char *name, struct err *err)
{
	struct removal removal = {.top = FD_NONE};
	_cleanup_close_ int top = FD_NONE;

	if (unlinkat(dir, name, 0) == 0 || errno == ENOENT)
		return 0;
	top = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (top < 0)
		return err_sys(err, -errno, "cannot open \"%.200s\" to remove it", name);
	removal.top = top;
	/* Each pass empties what it found; what it moved up is left for the next one. The bound is
	 * for somebody who goes on writing meanwhile. */
	for (unsigned pass = 0; pass < REMOVE_PASSES_MAX; pass++) {
		int fd = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		int result;

		if (fd < 0)
			return err_sys(err, -errno, "cannot open \"%.200s\" to remove it", name);
		result = remove_content(&removal, fd, 0, err);
		if (result < 0)
			return result;
		if (unlinkat(dir, name, AT_REMOVEDIR) == 0)
			return 0;
		if (errno != ENOTEMPTY)
			return err_sys(err, -errno, "cannot remove folder \"%.200s\"", name);
	}
	return err_set(err, -EBUSY, "cannot remove \"%.200s\": it is being written to", name);
}
