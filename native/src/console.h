/* The terminal, for create and for exec. */
#pragma once
#include "err.h"
#include "spec.h"

/* A fresh pty of the container's devpts. `devpts_fd` may be FD_NONE: then /dev/pts below
 * `root_fd` is verified and used. */
int console_open(int root_fd, int devpts_fd, const struct spec_process *p, int *ret_master,
		 int *ret_slave, struct err *err);
/* Makes the slave the controlling terminal and 0, 1, 2 of the calling session leader. */
int console_take(int slave, struct err *err);
int console_connect(const char *path, int *ret, struct err *err);
int console_send(int sock, int master, struct err *err);
