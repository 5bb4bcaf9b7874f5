#include "listener.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#include "cleanup.h"
#include "json_write.h"
#include "sync.h"
#include "sys.h"
#include "text.h"

/* The child announced the number and loads the filter now: its listener appears under that number,
 * and nothing needs to be called by a process that is already filtered. */
static int fetch(int pidfd, int number, struct err *err)
{
	struct timespec pause = { .tv_nsec = 100000 };

	for (int tries = 0; tries < 20000; tries++) {
		int fd = sys_pidfd_getfd(pidfd, number);

		if (fd >= 0)
			return fd;
		if (fd != -EBADF)
			return err_sys(err, fd, "cannot fetch the seccomp listener");
		(void)nanosleep(&pause, NULL);
	}
	return err_set(err, -ETIMEDOUT, "the seccomp listener did not appear within 2 s");
}

static int connect_to(const char *path, struct err *err)
{
	_cleanup_close_ int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	if (!text_copy(addr.sun_path, sizeof(addr.sun_path), path))
		return err_set(err, -ENAMETOOLONG, "linux.seccomp.listenerPath: too long");
	if (sock < 0 || connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_sys(err, -errno, "linux.seccomp.listenerPath: cannot connect to %s",
			       path);
	return steal_fd(&sock);
}

int listener_pass(const struct seccomp_filter *f, const char *state, pid_t pid, int pidfd,
		  int number, int sync_fd, struct err *err)
{
	_cleanup_close_ int listener = fetch(pidfd, number, err), sock = FD_NONE;
	_cleanup_jw_ struct jw w = { 0 };
	const char *text;
	size_t len;
	int r;

	if (listener < 0)
		return listener;
	sock = connect_to(f->listener_path, err);
	if (sock < 0)
		return sock;
	jw_object(&w, NULL);
	jw_string(&w, "ociVersion", "1.2.0");
	jw_array(&w, "fds");
	jw_string(&w, NULL, "seccompFd");
	jw_array_end(&w);
	jw_i64(&w, "pid", pid);
	if (f->listener_metadata)
		jw_string(&w, "metadata", f->listener_metadata);
	jw_raw(&w, "state", state, strlen(state));
	jw_object_end(&w);
	r = jw_finish(&w, &text, &len);
	if (r >= 0)
		r = send_with_fd(sock, w.buf, len, listener);
	if (r >= 0)
		r = sync_send(sync_fd, SYNC_GO, 0, FD_NONE);
	return r < 0 ? err_sys(err, r, "linux.seccomp.listenerPath: cannot send") : 0;
}
