/* The folder that a layer becomes. Every path is resolved beneath it by the kernel, which follows
 * no symlink and enters no mount: an entry whose parent is a symlink is refused, for the folder
 * that it would end up in may lie in another layer. */
#pragma once
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

struct tree {
	int root;	  /* owned by the caller */
	uint64_t entries; /* made so far, implied folders included */
	uint64_t max_entries;
	/* The folder that was used last: most entries of an archive lie beside the one before. */
	int last_fd;
	char last[PATH_MAX];
};

#define TREE_INIT(root_fd, limit)                                                                  \
	{                                                                                          \
		.root = (root_fd), .max_entries = (limit), .last_fd = -EBADF                       \
	}

/* Forgets the folder kept from the last use. */
void tree_forget(struct tree *tree);

/* Counts one more entry; -E2BIG above the limit. */
int tree_count(struct tree *tree, struct err *err);

/* A folder by its clean path as an O_PATH descriptor; owned by the caller. */
int tree_open(const struct tree *tree, const char *path, int *ret_fd, struct err *err);

/* The same for the parent of an entry, made with its own parents where it is missing (0755, root).
 * The descriptor belongs to the tree and is good until the next call. */
int tree_parent(struct tree *tree, const char *path, int *ret_fd, struct err *err);

/* Makes room for an entry: removes what is there, but a folder for a folder.
 * *ret_hides tells that a whiteout stood there; *ret_kept that a folder was left. */
int tree_clear(struct tree *tree, int dir, const char *name, bool for_folder, bool *ret_hides,
	       bool *ret_kept, struct err *err);

/* Marks a folder as hiding everything that lower layers have there. */
int tree_set_opaque(int dir, const char *name, struct err *err);

/* Removes a name and everything beneath; one that is missing counts as removed. */
int tree_remove(int dir, const char *name, struct err *err);
