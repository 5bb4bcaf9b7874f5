#include "hooks.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "sys.h"

_Noreturn static void hook_main(const struct spec_hook *h, int in)
{
	const char *empty[] = { NULL };
	const char *self[] = { h->path, NULL };
	const char **args = h->args.count ? h->args.items : self;
	const char **env = h->env.count ? h->env.items : empty;
	sigset_t none;

	(void)sigemptyset(&none);
	(void)sigprocmask(SIG_SETMASK, &none, NULL);
	(void)dup2(in, 0);
	(void)sys_close_range(3, ~0U, 0);
	(void)sys_execve(h->path, args, env);
	(void)dprintf(2, "cannot run the hook %s: %s\n", h->path, strerror(errno));
	_exit(127);
}

static int describe(const struct spec_hook *h, const siginfo_t *info, struct err *err)
{
	if (info->si_code == CLD_EXITED && info->si_status == 0)
		return 0;
	if (info->si_code == CLD_EXITED)
		return err_set(err, -ECANCELED, "%s ended with status %d", h->path,
			       info->si_status);
	return err_set(err, -ECANCELED, "%s was ended by signal %d", h->path, info->si_status);
}

static int run_one(const struct spec_hook *h, const char *state, struct err *err)
{
	int pipe_fds[2] = { FD_NONE, FD_NONE };
	_cleanup_close_ int pidfd = FD_NONE, in = FD_NONE, out = FD_NONE;
	struct pollfd poll_fd = { .events = POLLIN };
	siginfo_t info = { 0 };
	pid_t pid;
	int r;

	if (pipe2(pipe_fds, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "cannot make a pipe");
	in = pipe_fds[0];
	out = pipe_fds[1];
	pid = sys_clone3(0, &pidfd, FD_NONE);
	if (pid == 0)
		hook_main(h, in);
	if (pid < 0)
		return err_sys(err, pid, "cannot clone");
	close_and_forget(&in);
	/* A state of some kilobytes fits the pipe; a hook that does not read it is its own affair.
	 */
	(void)signal(SIGPIPE, SIG_IGN);
	(void)fcntl(out, F_SETFL, O_NONBLOCK);
	(void)write_all(out, state, strlen(state));
	close_and_forget(&out);
	poll_fd.fd = pidfd;
	do
		r = poll(&poll_fd, 1, h->timeout_s ? h->timeout_s * 1000 : -1);
	while (r < 0 && errno == EINTR);
	if (r == 0)
		(void)sys_pidfd_signal(pidfd, SIGKILL);
	if (waitid(P_PIDFD, (id_t)pidfd, &info, WEXITED) < 0)
		return err_sys(err, -errno, "cannot wait for %s", h->path);
	if (r == 0)
		return err_set(err, -ETIMEDOUT, "%s did not end within %d s", h->path,
			       h->timeout_s);
	return describe(h, &info, err);
}

int hooks_run(const struct spec_hooks *hooks, const char *kind, const char *state, struct err *err)
{
	for (size_t i = 0; i < hooks->count; i++)
		if (run_one(&hooks->items[i], state, err) < 0)
			return err_prefix(err, "hooks.%s[%zu]", kind, i);
	return 0;
}
