/* Paths beneath the container's root, always resolved by the kernel with RESOLVE_IN_ROOT: a
 * symlink in the image cannot lead outside, and a rename beside us cannot either. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#include "err.h"

/* O_PATH descriptor of an existing path, or a negative errno. */
int inroot_open(int root_fd, const char *path);

/* The same, making missing folders and, at the end, a folder or an empty file. */
int inroot_open_or_make(int root_fd, const char *path, bool directory, struct err *err);

/* Descriptor of the parent folder (made when missing); *ret_name points at the last component
 * inside `path`. Refuses ".", ".." and empty names. */
int inroot_open_parent(int root_fd, const char *path, const char **ret_name, struct err *err);
