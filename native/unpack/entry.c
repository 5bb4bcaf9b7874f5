#include "entry.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cleanup.h"
#include "path.h"

#define OPAQUE_MARK ".wh..wh..opq"
#define META_PREFIX ".wh..wh."

/* Where an entry goes: made once, read by the function of its kind. */
struct place {
	struct unpack *unpack;
	struct archive *tar;
	struct archive_entry *entry;
	const char *path; /* clean and whole */
	int dir;	  /* of the parent; the tree's */
	const char *name;
};

/* Devices that every container has anyway; any other could be the host's disk. */
static const unsigned harmless[][2] = {{1, 3}, {1, 5}, {1, 7}, {1, 8}, {1, 9}, {5, 0}, {5, 2}};

static int place_root(struct unpack *unpack, struct archive_entry *entry, struct err *err)
{
	int result;

	if (archive_entry_filetype(entry) != AE_IFDIR || archive_entry_hardlink(entry))
		return err_set(err, -EINVAL, "the layer's root must be a folder");
	result =
	    attrs_apply(unpack->tree.root, entry, unpack->options, &unpack->result.dropped, err);
	return result < 0 ? result : folder_times_add(&unpack->times, "", entry, err);
}

static int copy_data(struct place *place, int fd, int64_t size, struct err *err)
{
	const void *block;
	int64_t offset;
	int64_t end = 0;
	size_t len;

	for (;;) {
		int result = archive_read_data_block(place->tar, &block, &len, &offset);

		if (result == ARCHIVE_EOF)
			break;
		if (result != ARCHIVE_OK)
			return err_set(err, -EBADMSG, "%s", archive_error_string(place->tar));
		if (offset < 0 || offset > size || (int64_t)len > size - offset)
			return err_set(err, -EBADMSG, "data must end at %lld bytes",
				       (long long)size);
		for (size_t done = 0; done < len;) {
			ssize_t n = pwrite(fd, (const char *)block + done, len - done,
					   (off_t)(offset + (int64_t)done));

			if (n < 0 && errno != EINTR)
				return err_sys(err, -errno, "cannot write");
			done += n > 0 ? (size_t)n : 0;
		}
		if (offset + (int64_t)len > end)
			end = offset + (int64_t)len;
	}
	/* A sparse file may end with a hole. */
	if (end < size && ftruncate(fd, size) < 0)
		return err_sys(err, -errno, "cannot set the size to %lld", (long long)size);
	return 0;
}

static int make_file(struct place *place, struct err *err)
{
	struct unpack *unpack = place->unpack;
	int64_t size = archive_entry_size(place->entry);
	_cleanup_close_ int fd = FD_NONE;
	int result;

	if (size < 0 || (uint64_t)size > unpack->options->max_bytes - unpack->result.file_bytes)
		return err_set(err, -EFBIG, "files of a layer must be at most %llu bytes together",
			       (unsigned long long)unpack->options->max_bytes);
	unpack->result.file_bytes += (uint64_t)size;
	fd = openat(place->dir, place->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
		    0600);
	if (fd < 0)
		return err_sys(err, -errno, "cannot create");
	result = copy_data(place, fd, size, err);
	if (result < 0)
		return result;
	return attrs_apply(fd, place->entry, unpack->options, &unpack->result.dropped, err);
}

static int make_folder(struct place *place, bool hides, bool kept, struct err *err)
{
	struct unpack *unpack = place->unpack;
	_cleanup_close_ int fd = FD_NONE;
	int result;

	if (!kept && mkdirat(place->dir, place->name, 0700) < 0)
		return err_sys(err, -errno, "cannot make the folder");
	if (hides) {
		result = tree_set_opaque(place->dir, place->name, err);
		if (result < 0)
			return result;
	}
	fd = openat(place->dir, place->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return err_sys(err, -errno, "cannot open the folder");
	result = attrs_apply(fd, place->entry, unpack->options, &unpack->result.dropped, err);
	return result < 0 ? result
			  : folder_times_add(&unpack->times, place->path, place->entry, err);
}

static int make_symlink(struct place *place, struct err *err)
{
	const char *target = archive_entry_symlink(place->entry);

	if (!target || !*target)
		return err_set(err, -EINVAL, "a symlink must name something");
	if (symlinkat(target, place->dir, place->name) < 0)
		return err_sys(err, -errno, "cannot make the symlink");
	return attrs_apply_at(place->dir, place->name, place->entry, err);
}

static int make_device(struct place *place, mode_t kind, struct err *err)
{
	unsigned major_number = (unsigned)archive_entry_rdevmajor(place->entry);
	unsigned minor_number = (unsigned)archive_entry_rdevminor(place->entry);

	if (kind == S_IFIFO) {
		if (mknodat(place->dir, place->name, S_IFIFO | 0600, 0) < 0)
			return err_sys(err, -errno, "cannot make the FIFO");
		return attrs_apply_at(place->dir, place->name, place->entry, err);
	}
	for (size_t i = 0; kind == S_IFCHR && i < ARRAY_LEN(harmless); i++) {
		if (harmless[i][0] != major_number || harmless[i][1] != minor_number)
			continue;
		if (mknodat(place->dir, place->name, S_IFCHR | 0600,
			    makedev(major_number, minor_number)) < 0)
			return err_sys(err, -errno, "cannot make the device");
		return attrs_apply_at(place->dir, place->name, place->entry, err);
	}
	return err_set(err, -EPERM, "a device must be one of the harmless ones, found %s %u:%u",
		       kind == S_IFCHR ? "character" : "block", major_number, minor_number);
}

/* The target's own parents are resolved like any entry's, so that it lies in this layer. */
static int make_hard_link(struct place *place, const char *target, struct err *err)
{
	char path[PATH_MAX];
	const char *parent, *name;
	_cleanup_close_ int from = FD_NONE;
	struct stat st;
	int result = path_clean(target, path, err);

	if (result < 0)
		return result;
	path_split(path, &parent, &name);
	if (!*name || path_is_whiteout(name))
		return err_set(err, -EINVAL, "a hard link must name a file");
	result = tree_open(&place->unpack->tree, parent, &from, err);
	if (result < 0)
		return result;
	if (fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return err_sys(err, -errno,
			       "cannot find the hard link's target \"%.150s\" in the layer",
			       target);
	if (S_ISDIR(st.st_mode) || S_ISCHR(st.st_mode))
		return err_set(err, -EINVAL, "a hard link must name a file");
	if (linkat(from, name, place->dir, place->name, 0) < 0)
		return err_sys(err, -errno, "cannot make the hard link to \"%.150s\"", target);
	return 0;
}

/* ".wh.name" hides what lower layers have there: as overlayfs says it, a 0:0 device. What this very
 * layer brings under the name stays, and a folder of this layer then hides the lower one whole. */
static int make_whiteout(struct place *place, struct err *err)
{
	const char *hidden = place->name + strlen(WHITEOUT_PREFIX);
	struct stat st;

	if (strcmp(place->name, OPAQUE_MARK) == 0)
		return tree_set_opaque(place->dir, ".", err);
	/* Book-keeping of an old union file system; nothing to do for a reader. */
	if (strncmp(place->name, META_PREFIX, strlen(META_PREFIX)) == 0)
		return 0;
	if (!*hidden || strcmp(hidden, ".") == 0 || strcmp(hidden, "..") == 0)
		return err_set(err, -EINVAL, "a whiteout must name a file");
	if (fstatat(place->dir, hidden, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return S_ISDIR(st.st_mode) ? tree_set_opaque(place->dir, hidden, err) : 0;
	if (errno != ENOENT)
		return err_sys(err, -errno, "cannot look at \"%.150s\"", hidden);
	if (mknodat(place->dir, hidden, S_IFCHR, makedev(0, 0)) < 0)
		return err_sys(err, -errno, "cannot make the whiteout");
	return 0;
}

static int make_kind(struct place *place, struct err *err)
{
	const char *link = archive_entry_hardlink(place->entry);
	mode_t kind = archive_entry_filetype(place->entry);
	bool folder = kind == AE_IFDIR && !link;
	bool hides, kept;
	int result;

	result =
	    tree_clear(&place->unpack->tree, place->dir, place->name, folder, &hides, &kept, err);
	if (result < 0)
		return result;
	if (link)
		return make_hard_link(place, link, err);
	switch (kind) {
	case AE_IFREG:
		return make_file(place, err);
	case AE_IFDIR:
		return make_folder(place, hides, kept, err);
	case AE_IFLNK:
		return make_symlink(place, err);
	case AE_IFCHR:
		return make_device(place, S_IFCHR, err);
	case AE_IFBLK:
		return make_device(place, S_IFBLK, err);
	case AE_IFIFO:
		return make_device(place, S_IFIFO, err);
	default:
		return err_set(err, -EINVAL, "the kind of entry must be known, found %o", kind);
	}
}

static int place_at(struct unpack *unpack, struct archive *tar, struct archive_entry *entry,
		    const char *path, struct err *err)
{
	struct place place = {.unpack = unpack, .tar = tar, .entry = entry, .path = path};
	char copy[PATH_MAX];
	const char *parent;
	int result;

	if (!*path)
		return place_root(unpack, entry, err);
	(void)stpcpy(copy, path);
	path_split(copy, &parent, &place.name);
	/* A root that hides has no form in overlayfs: the lower layers would shine through. */
	if (!*parent && strcmp(place.name, OPAQUE_MARK) == 0)
		return err_set(err, -EINVAL, "the layer's root must not be opaque");
	result = tree_parent(&unpack->tree, parent, &place.dir, err);
	if (result < 0)
		return result;
	return path_is_whiteout(place.name) ? make_whiteout(&place, err) : make_kind(&place, err);
}

int entry_place(struct unpack *unpack, struct archive *tar, struct archive_entry *entry,
		struct err *err)
{
	const char *name = archive_entry_pathname(entry);
	char path[PATH_MAX];
	int result;

	if (!name)
		return err_set(err, -EILSEQ,
			       "cannot unpack: an entry's name must be readable text");
	result = path_clean(name, path, err);
	if (result < 0)
		return result;
	result = tree_count(&unpack->tree, err);
	if (result < 0)
		return result;
	result = place_at(unpack, tar, entry, path, err);
	return result < 0 ? err_prefix(err, "cannot unpack \"%.150s\"", path) : 0;
}
