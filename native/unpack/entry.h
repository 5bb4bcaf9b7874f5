/* One entry of the archive, put into the tree. */
#pragma once
#include <archive.h>
#include <archive_entry.h>

#include "attrs.h"

struct unpack {
	const struct options *options;
	struct tree tree;
	struct folder_times times;
	struct result result;
};

/* Reads the entry's data from `tar` where it has some. Errors name the entry. */
int entry_place(struct unpack *unpack, struct archive *tar, struct archive_entry *entry,
		struct err *err);
