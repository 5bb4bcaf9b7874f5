/* The last steps before exec: limits, identity, capabilities, the program's path. */
#pragma once
#include "launch.h"

int process_limits(const struct spec_process *p, struct err *err);
int process_labels(int proc_fd, const struct spec_process *p, struct err *err);
int process_keyring(const char *id, struct err *err);
/* Directory, identity and capabilities; afterwards the process is what the container gets. */
int process_identity(const struct spec_process *p, struct err *err);
int process_enter_cwd(const struct spec_process *p, struct err *err);
/* Finds args[0] in the PATH of the process; ret has room for 4096 bytes. */
int process_find_program(const struct spec_process *p, char *ret, struct err *err);
/* Adds HOME from /etc/passwd when it is missing and, for socket activation, LISTEN_FDS. */
int process_complete_env(struct arena *a, struct spec_process *p, int listen_fds, struct err *err);
/* Gives 0, 1, 2 to the user, as far as they are not /dev/null. */
void process_own_stdio(const struct spec_process *p);
int process_set_affinity(const char *list, struct err *err);

/* berth's own init: pid 1 that forwards signals and reaps. Returns in the child that is to become
 * the main process; never returns in the init itself. */
int tiny_init_split(const struct title *title, int sync_fd, struct err *err);
