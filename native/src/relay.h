/* Foreground waiting: signals go on to the container's process, a terminal is relayed. */
#pragma once
#include <sys/types.h>

#include "err.h"

/* Waits for the child `pid`. With `master` >= 0 copies between it and 0/1, raw mode and window
 * size included. *ret_code is the exit code, 128 + signal when it was killed. */
int relay_wait(pid_t pid, int pidfd, int master, int *ret_code, struct err *err);

/* Blocks the signals that relay_wait forwards; before the process is made, so that none is lost. */
void relay_block_signals(void);
