/* Keeps berth's own file out of a container's reach: a process inside can reach the file of a
 * runtime process through /proc/PID/exe (CVE-2019-5736). */
#pragma once
#include <stdbool.h>

#include "err.h"

/* Runs this program again from a file that nobody can write; returns 0 when it already runs so, as
 * when it is installed on a read-only mount. A long-lived process runs from a read-only mount that
 * exists nowhere by name and shares its pages with all others. For the others that mount's end
 * would cost a grace period of the kernel: they run from a sealed copy in memory. Each is the
 * other's fallback. */
int self_protect(char **argv, bool long_lived, struct err *err);
