/* Pieces of mount work that more than one file uses. */
#pragma once
#include "launch.h"

/* A detached mount of a new file system with the mount's own options; -EPERM is passed through.
 * `label` (or NULL) is the SELinux context of what is in memory only. */
int mount_new_filesystem(const struct spec_mount *m, const char *label, struct err *err);
int mount_set_attr(int fd, const struct spec_mount *m, struct err *err);
/* Copies what lies at `from` (O_PATH folder) into the detached tmpfs. */
int mount_copy_up(int from, int tree, struct err *err);
/* The container's view of its own cgroups. */
int mount_cgroup(const struct launch *l, const struct spec_mount *m, struct err *err);
