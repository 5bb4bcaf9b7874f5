/* Names from the archive, taken apart by rules of our own before the kernel sees them. */
#pragma once
#include <limits.h>
#include <stdbool.h>

#include "err.h"

/* Rewrites `in` without empty and "." parts and without a leading slash; "" is the root.
 * Refuses "..", parts over NAME_MAX, more than PATH_DEPTH_MAX parts, and folders that bear a
 * whiteout's name. */
int path_clean(const char *in, char ret[PATH_MAX], struct err *err);

/* Splits a clean path in place at its last slash: ret_parent "" stands for the root. */
void path_split(char *path, const char **ret_parent, const char **ret_name);

#define WHITEOUT_PREFIX ".wh."
bool path_is_whiteout(const char *name);
