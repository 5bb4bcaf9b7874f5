/* The protocol between the creating process and the container's first process, over a socket pair
 * of SOCK_SEQPACKET. Each side waits for one named message; SYNC_ERROR may come instead of any.
 *
 *   child                               parent
 *                                       writes id maps, oom score
 *                       <- MAPPED       (with a new user namespace, or made by a scout)
 *   HOOKS_PLEASE ->                     runs prestart and createRuntime hooks
 *                       <- HOOKS_DONE
 *   TERMINAL + fd ->                    keeps the pty master
 *   READY ->                            writes the state
 *                       <- START        (in-process start; otherwise through the exec fifo)
 *   LISTENER n ->                       fetches the seccomp listener from the child
 *                       <- GO
 *   end of file: exec succeeded
 */
#pragma once
#include "err.h"

enum sync_kind {
	SYNC_ERROR = 1,
	SYNC_PID, /* from the scout: number = the container's first process */
	SYNC_MAPPED,
	SYNC_HOOKS_PLEASE,
	SYNC_HOOKS_DONE,
	SYNC_TERMINAL,
	SYNC_READY,
	SYNC_START,
	SYNC_LISTENER,
	SYNC_GO,
};

struct sync_message {
	int kind;
	int number;
	char text[508]; /* of an error */
};

int sync_send(int sock, enum sync_kind kind, int number, int fd);
void sync_send_error(int sock, const struct err *err);

/* Receives one message of any kind. 0 at end of file, 1 with a message; an error of the peer
 * becomes this side's error. *ret_fd may be NULL. */
int sync_receive(int sock, struct sync_message *ret, int *ret_fd, struct err *err);
/* Waits for exactly this kind. */
int sync_expect(int sock, enum sync_kind kind, struct err *err);
