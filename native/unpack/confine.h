/* Takes away from this process what unpacking does not need, before it reads a hostile byte. */
#pragma once
#include "unpack.h"

/* Capabilities, memory, core dumps and, where the kernel has Landlock, every path but the target's
 * folder for writing. */
int confine(const struct options *options, struct err *err);
