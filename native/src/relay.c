#include "relay.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include "cleanup.h"
#include "sys.h"

static void forwarded(sigset_t *set)
{
	static const int kept[] = { SIGSEGV, SIGBUS,  SIGFPE,  SIGILL,
				    SIGABRT, SIGTTIN, SIGTTOU, SIGURG };

	(void)sigfillset(set);
	for (size_t i = 0; i < ARRAY_LEN(kept); i++)
		(void)sigdelset(set, kept[i]);
}

void relay_block_signals(void)
{
	sigset_t set;

	forwarded(&set);
	(void)sigprocmask(SIG_BLOCK, &set, NULL);
}

static void copy_size(int master)
{
	struct winsize size;

	if (ioctl(0, TIOCGWINSZ, &size) == 0)
		(void)ioctl(master, TIOCSWINSZ, &size);
}

struct relay {
	pid_t pid;
	int pidfd, master;
	bool stdin_open, raw;
	struct termios saved;
};

static void make_raw(struct relay *r)
{
	struct termios raw;

	if (r->master < 0 || tcgetattr(0, &r->saved) < 0)
		return;
	raw = r->saved;
	cfmakeraw(&raw);
	r->raw = tcsetattr(0, TCSANOW, &raw) == 0;
	copy_size(r->master);
}

/* -EIO from a pty master only says that the other side is closed. */
static bool copy(int from, int to)
{
	char buf[4096];
	ssize_t n = read(from, buf, sizeof(buf));

	return n > 0 && write_all(to, buf, (size_t)n) == 0;
}

static bool handle_signal(const struct relay *r, int sfd, int *ret_code)
{
	struct signalfd_siginfo info;

	if (read(sfd, &info, sizeof(info)) != sizeof(info))
		return false;
	if (info.ssi_signo == SIGWINCH && r->master >= 0) {
		copy_size(r->master);
	} else if (info.ssi_signo == SIGCHLD) {
		/* As a subreaper we also get orphans of the container; only one pid ends the wait.
		 */
		pid_t pid;
		int status;

		while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
			if (pid == r->pid) {
				*ret_code = WIFEXITED(status) ? WEXITSTATUS(status)
							      : 128 + WTERMSIG(status);
				return true;
			}
	} else {
		(void)sys_pidfd_signal(r->pidfd, (int)info.ssi_signo);
	}
	return false;
}

static void drain(const struct relay *r)
{
	if (r->master < 0)
		return;
	(void)fcntl(r->master, F_SETFL, O_NONBLOCK);
	while (copy(r->master, 1))
		;
}

int relay_wait(pid_t pid, int pidfd, int master, int *ret_code, struct err *err)
{
	struct relay r = { .pid = pid, .pidfd = pidfd, .master = master, .stdin_open = true };
	_cleanup_close_ int sfd = FD_NONE;
	sigset_t set;
	bool done = false;

	forwarded(&set);
	sfd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (sfd < 0)
		return err_sys(err, -errno, "cannot wait for signals");
	make_raw(&r);
	/* The child may have ended before the first signal could be seen. */
	(void)kill(getpid(), SIGCHLD);
	while (!done) {
		struct pollfd p[3] = { { .fd = sfd, .events = POLLIN },
				       { .fd = master, .events = POLLIN },
				       { .fd = master >= 0 && r.stdin_open ? 0 : -1,
					 .events = POLLIN } };

		if (poll(p, 3, -1) < 0 && errno != EINTR)
			return err_sys(err, -errno, "cannot wait");
		if (p[1].revents && !copy(master, 1))
			r.master = master = -1;
		if (p[2].revents && !copy(0, master))
			r.stdin_open = false;
		if (p[0].revents)
			done = handle_signal(&r, sfd, ret_code);
	}
	drain(&r);
	if (r.raw)
		(void)tcsetattr(0, TCSANOW, &r.saved);
	return 0;
}
