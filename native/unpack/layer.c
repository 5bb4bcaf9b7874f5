/* The whole life of a layer's folder: a partial name, filled, made durable, renamed; or removed. */
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "entry.h"
#include "stream.h"

#ifndef RENAME_NOREPLACE
#define RENAME_NOREPLACE (1 << 0)
#endif

static int read_entries(struct unpack *unpack, struct stream *stream, struct archive *tar,
			struct err *err)
{
	struct archive_entry *entry;

	for (;;) {
		int result = archive_read_next_header(tar, &entry);

		if (result == ARCHIVE_EOF)
			return 0;
		if (stream_failure(stream, err) < 0)
			return err->code;
		/* A warning concerns an attribute; a name that could not be read is checked later.
		 */
		if (result != ARCHIVE_OK && result != ARCHIVE_WARN)
			return err_set(err, -EBADMSG, "cannot read the layer: %s",
				       archive_error_string(tar));
		result = entry_place(unpack, tar, entry, err);
		if (stream_failure(stream, err) < 0)
			return err->code;
		if (result < 0)
			return result;
	}
}

static int fill(struct unpack *unpack, struct err *err)
{
	_cleanup_stream_ struct stream *stream = NULL;
	struct archive *tar = NULL;
	int result = stream_open(unpack->options, &stream, err);

	if (result < 0)
		return result;
	result = stream_tar(stream, &tar, err);
	if (result < 0)
		return result;
	result = read_entries(unpack, stream, tar, err);
	(void)archive_read_free(tar);
	if (result < 0)
		return result;
	result = stream_finish(stream, &unpack->result.layer_bytes, err);
	if (result < 0)
		return result;
	unpack->result.entries = unpack->tree.entries;
	folder_times_apply(&unpack->times, &unpack->tree);
	return 0;
}

static int publish(const struct options *options, int root, int parent, const char *partial,
		   const char *name, struct err *err)
{
	if (options->sync && syncfs(root) < 0)
		return err_sys(err, -errno, "cannot write the layer to disk");
	if (syscall(SYS_renameat2, parent, partial, parent, name, RENAME_NOREPLACE) < 0)
		return err_sys(err, -errno, "cannot name the layer \"%.200s\"", name);
	if (options->sync && fsync(parent) < 0)
		return err_sys(err, -errno, "cannot write the layer's name to disk");
	return 0;
}

static int unpack_into(const struct options *options, int parent, const char *partial,
		       const char *name, struct result *ret, struct err *err)
{
	struct unpack unpack = {.options = options};
	_cleanup_close_ int root = openat(parent, partial, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int result;

	if (root < 0)
		return err_sys(err, -errno, "cannot open \"%.200s\"", partial);
	unpack.tree = (struct tree)TREE_INIT(root, options->max_entries);
	result = fill(&unpack, err);
	tree_forget(&unpack.tree);
	folder_times_free(&unpack.times);
	if (result < 0)
		return result;
	result = publish(options, root, parent, partial, name, err);
	if (result == 0)
		*ret = unpack.result;
	return result;
}

static int open_parent(const struct options *options, int *ret_parent, char name[NAME_MAX + 1],
		       struct err *err)
{
	char copy[PATH_MAX];
	int parent;

	if (strlen(options->target) >= sizeof(copy))
		return err_sys(err, -ENAMETOOLONG, "cannot take --target");
	(void)stpcpy(copy, options->target);
	(void)snprintf(name, NAME_MAX + 1, "%s", basename(copy));
	(void)stpcpy(copy, options->target);
	parent = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (parent < 0)
		return err_sys(err, -errno, "cannot open the folder of \"%.200s\"",
			       options->target);
	*ret_parent = parent;
	return 0;
}

int unpack_layer(const struct options *options, struct result *ret, struct err *err)
{
	_cleanup_close_ int parent = FD_NONE;
	char name[NAME_MAX + 1];
	char partial[NAME_MAX + 1];
	int result = open_parent(options, &parent, name, err);

	if (result < 0)
		return result;
	(void)snprintf(partial, sizeof(partial), ".partial-%d-%.200s", (int)getpid(), name);
	if (mkdirat(parent, partial, 0755) < 0)
		return err_sys(err, -errno, "cannot make \"%.200s\"", partial);
	result = unpack_into(options, parent, partial, name, ret, err);
	if (result < 0) {
		struct err second = ERR_INIT;

		if (tree_remove(parent, partial, &second) < 0)
			(void)err_prefix(err, "%.200s (and what is there must be removed by hand)",
					 second.text);
	}
	return result;
}

int remove_layer(const struct options *options, struct err *err)
{
	_cleanup_close_ int parent = FD_NONE;
	char name[NAME_MAX + 1];
	int result = open_parent(options, &parent, name, err);

	return result < 0 ? result : tree_remove(parent, name, err);
}
