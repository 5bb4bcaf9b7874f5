#include "attrs.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cleanup.h"

/* Attributes of one file; the kernel's own bound for all of them is about the same. */
#define XATTR_BYTES_MAX ((size_t)64 * 1024)

/* Paths of folders whose times are restored; those beyond keep the time of unpacking. */
#define FOLDER_BYTES_MAX ((size_t)32 * 1024 * 1024)

struct folder_time {
	char *path; /* owned */
	struct timespec mtime;
};

static int owner_of(struct archive_entry *entry, uid_t *ret_uid, gid_t *ret_gid, struct err *err)
{
	int64_t uid = archive_entry_uid(entry);
	int64_t gid = archive_entry_gid(entry);

	/* 4294967295 means "leave it" to chown(2): the file would stay root's. */
	if (uid < 0 || gid < 0 || uid >= (int64_t)UINT32_MAX || gid >= (int64_t)UINT32_MAX)
		return err_set(err, -EINVAL,
			       "owner must be 0..4294967294, found user %lld group %lld",
			       (long long)uid, (long long)gid);
	*ret_uid = (uid_t)uid;
	*ret_gid = (gid_t)gid;
	return 0;
}

static void times_of(struct archive_entry *entry, struct timespec ret[2])
{
	long nanoseconds = archive_entry_mtime_nsec(entry);

	ret[0].tv_sec = 0;
	ret[0].tv_nsec = UTIME_OMIT;
	ret[1].tv_sec = archive_entry_mtime(entry);
	ret[1].tv_nsec = nanoseconds >= 0 && nanoseconds < 1000000000L ? nanoseconds : 0;
	if (!archive_entry_mtime_is_set(entry))
		ret[1].tv_nsec = UTIME_OMIT;
}

/* user.* is the image's own business, except what overlayfs reads there; the file capability is a
 * privilege and needs leave; trusted.*, system.* and the rest of security.* speak to the host. */
static bool may_keep(const char *name, const struct options *options)
{
	if (strcmp(name, "security.capability") == 0)
		return options->file_capabilities;
	return strncmp(name, "user.", 5) == 0 && strncmp(name, "user.overlay.", 13) != 0;
}

static int apply_xattrs(int fd, struct archive_entry *entry, const struct options *options,
			uint64_t *dropped, struct err *err)
{
	size_t total = 0;
	const char *name;
	const void *value;
	size_t size;

	(void)archive_entry_xattr_reset(entry);
	while (archive_entry_xattr_next(entry, &name, &value, &size) == ARCHIVE_OK) {
		if (!name || !may_keep(name, options)) {
			(*dropped)++;
			continue;
		}
		total += strlen(name) + size;
		if (total > XATTR_BYTES_MAX)
			return err_set(err, -E2BIG, "extended attributes must be at most %zu bytes",
				       XATTR_BYTES_MAX);
		if (fsetxattr(fd, name, value, size, 0) == 0)
			continue;
		/* File systems have bounds of their own and say ENOSPC: the disk is not full. */
		if (errno == ENOSPC || errno == E2BIG || errno == ERANGE)
			return err_set(err, -E2BIG,
				       "attribute %.100s must be smaller, found %zu bytes", name,
				       size);
		if (errno != ENOTSUP)
			return err_sys(err, -errno, "cannot set attribute %.100s", name);
		(*dropped)++;
	}
	return 0;
}

int attrs_apply(int fd, struct archive_entry *entry, const struct options *options,
		uint64_t *dropped, struct err *err)
{
	struct timespec times[2];
	uid_t uid = 0;
	gid_t gid = 0;
	int result = owner_of(entry, &uid, &gid, err);

	if (result < 0)
		return result;
	/* Owner first: chown clears the set-user-id bit and file capabilities. */
	if (fchown(fd, uid, gid) < 0)
		return err_sys(err, -errno, "cannot set the owner");
	if (fchmod(fd, archive_entry_perm(entry) & 07777) < 0)
		return err_sys(err, -errno, "cannot set the mode");
	result = apply_xattrs(fd, entry, options, dropped, err);
	if (result < 0)
		return result;
	times_of(entry, times);
	if (futimens(fd, times) < 0)
		return err_sys(err, -errno, "cannot set the time");
	return 0;
}

int attrs_apply_at(int dir, const char *name, struct archive_entry *entry, struct err *err)
{
	struct timespec times[2];
	uid_t uid = 0;
	gid_t gid = 0;
	int result = owner_of(entry, &uid, &gid, err);

	if (result < 0)
		return result;
	if (fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, -errno, "cannot set the owner");
	/* The name was made a moment ago in a folder that nobody else writes to: not a symlink. */
	if (archive_entry_filetype(entry) != AE_IFLNK &&
	    fchmodat(dir, name, archive_entry_perm(entry) & 07777, 0) < 0)
		return err_sys(err, -errno, "cannot set the mode");
	times_of(entry, times);
	if (utimensat(dir, name, times, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, -errno, "cannot set the time");
	return 0;
}

int folder_times_add(struct folder_times *times, const char *path, struct archive_entry *entry,
		     struct err *err)
{
	struct timespec both[2];

	if (times->path_bytes > FOLDER_BYTES_MAX)
		return 0;
	if (times->count == times->space) {
		size_t space = times->space ? times->space * 2 : 64;
		struct folder_time *items = reallocarray(times->items, space, sizeof(*items));

		if (!items)
			return err_sys(err, -ENOMEM, "cannot remember the folder's time");
		times->items = items;
		times->space = space;
	}
	times_of(entry, both);
	times->items[times->count].path = strdup(path);
	if (!times->items[times->count].path)
		return err_sys(err, -ENOMEM, "cannot remember the folder's time");
	times->items[times->count++].mtime = both[1];
	times->path_bytes += strlen(path) + sizeof(struct folder_time);
	return 0;
}

void folder_times_apply(const struct folder_times *times, const struct tree *tree)
{
	for (size_t i = 0; i < times->count; i++) {
		struct timespec both[2] = {{.tv_nsec = UTIME_OMIT}, times->items[i].mtime};
		_cleanup_close_ int fd = FD_NONE;

		/* A later entry may have replaced the folder: then there is nothing to restore. */
		if (tree_open(tree, times->items[i].path, &fd, NULL) == 0)
			(void)utimensat(fd, "", both, AT_EMPTY_PATH);
	}
}

void folder_times_free(struct folder_times *times)
{
	for (size_t i = 0; i < times->count; i++)
		free(times->items[i].path);
	free(times->items);
}
