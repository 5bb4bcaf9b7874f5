/* berth's own init (annotation dev.gantry.init): pid 1 forwards signals to the main process,
 * reaps everything, and ends with the main process's status. */
#include <errno.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "process.h"
#include "sys.h"
#include "text.h"

/* A status cannot be passed on as a signal by pid 1, to whom fatal signals mean nothing; so
 * 128 + signal is what the outside sees. */
static int exit_code(int status)
{
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

_Noreturn static void reap_and_forward(pid_t child, const sigset_t *all)
{
	for (;;) {
		siginfo_t info;
		int signal = sigwaitinfo(all, &info);
		int status;
		pid_t pid;

		if (signal > 0 && signal != SIGCHLD) {
			(void)kill(child, signal);
			continue;
		}
		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == child)
				_exit(exit_code(status));
	}
}

int tiny_init_split(const struct title *title, int sync_fd, struct err *err)
{
	sigset_t all, old;
	pid_t child;

	(void)sigfillset(&all);
	if (sigprocmask(SIG_BLOCK, &all, &old) < 0)
		return err_sys(err, -errno, "dev.gantry.init: cannot block signals");
	/* The host's paths in our arguments are not the container's to read. */
	if (title->size) {
		memset(title->start, 0, title->size);
		(void)text_copy(title->start, title->size, "init");
	}
	child = fork();
	if (child < 0)
		return err_sys(err, -errno, "dev.gantry.init: cannot fork");
	if (child > 0) {
		(void)prctl(PR_SET_NAME, "init", 0, 0, 0);
		(void)close(sync_fd);
		(void)sys_close_range(0, ~0U, 0);
		reap_and_forward(child, &all);
	}
	/* Its own process group in the foreground, so that the terminal's signals reach it. */
	(void)setpgid(0, 0);
	if (isatty(0)) {
		pid_t group = getpid();

		(void)ioctl(0, TIOCSPGRP, &group);
	}
	if (sigprocmask(SIG_SETMASK, &old, NULL) < 0)
		return err_sys(err, -errno, "dev.gantry.init: cannot unblock signals");
	return 0;
}
