/* The seccomp listener of SCMP_ACT_NOTIFY, handed to the agent that the profile names. */
#pragma once
#include <sys/types.h>

#include "err.h"
#include "seccomp.h"

/* Fetches descriptor `number` of the process and sends it to the profile's listenerPath, then tells
 * the process to go on. `state` is the OCI state document. */
int listener_pass(const struct seccomp_filter *f, const char *state, pid_t pid, int pidfd,
		  int number, int sync_fd, struct err *err);
