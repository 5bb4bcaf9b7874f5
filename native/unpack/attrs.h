/* Owner, mode, times and extended attributes of an entry. */
#pragma once
#include <archive.h>
#include <archive_entry.h>
#include <limits.h>
#include <stddef.h>
#include <time.h>

#include "tree.h"
#include "unpack.h"

/* Gives an open file or folder what its entry says. Attributes that mean something to the host or
 * to overlayfs are dropped and counted. Times are set for files; a folder's wait until it is full.
 */
int attrs_apply(int fd, struct archive_entry *entry, const struct options *options,
		uint64_t *dropped, struct err *err);

/* Owner and times of what cannot be opened: symlinks, FIFOs, devices; and the mode where there is
 * one. */
int attrs_apply_at(int dir, const char *name, struct archive_entry *entry, struct err *err);

/* Modification times of folders, kept until the end because filling a folder changes its own. */
struct folder_times {
	struct folder_time *items; /* owned */
	size_t count, space, path_bytes;
};

int folder_times_add(struct folder_times *times, const char *path, struct archive_entry *entry,
		     struct err *err);
void folder_times_apply(const struct folder_times *times, const struct tree *tree);
void folder_times_free(struct folder_times *times);
