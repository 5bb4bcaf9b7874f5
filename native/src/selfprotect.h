/* Keeps berth's own file out of a container's reach: a process inside can reach the file of a
 * runtime process through /proc/PID/exe (CVE-2019-5736). */
#pragma once
#include "err.h"

/* Runs this program again from a read-only mount that exists nowhere by name, or, where that is
 * not possible, from a sealed copy in memory. Returns 0 when it already runs so. */
int self_protect(char **argv, struct err *err);
