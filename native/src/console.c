/* The container's terminal and its standard descriptors. */
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/vfs.h>
#include <termios.h>
#include <unistd.h>

#include "cleanup.h"
#include "console.h"
#include "fault.h"
#include "inroot.h"
#include "launch.h"
#include "sync.h"
#include "sys.h"

#ifndef TIOCGPTPEER
#define TIOCGPTPEER _IO('T', 0x41)
#endif

/* Takes 0, 1, 2 from the given descriptors, in whatever order they overlap. */
int stdio_setup(const int stdio[3], struct err *err)
{
	int safe[3];

	if (stdio[0] < 0 && stdio[1] < 0 && stdio[2] < 0)
		return 0;
	for (int i = 0; i < 3; i++) {
		safe[i] = fcntl(stdio[i] >= 0 ? stdio[i] : i, F_DUPFD_CLOEXEC, 3);
		if (safe[i] < 0)
			return err_sys(err, -errno, "cannot use descriptor %d as stdio", stdio[i]);
	}
	for (int i = 0; i < 3; i++) {
		if (dup2(safe[i], i) < 0)
			return err_sys(err, -errno, "cannot use descriptor %d as stdio", stdio[i]);
		(void)close(safe[i]);
	}
	return 0;
}

/* The multiplexer of the container's own devpts: through the descriptor of our mount, or, when
 * the configuration bound one, at its place with what lies there verified. */
static int open_ptmx(int root_fd, int devpts_fd, struct err *err)
{
	_cleanup_close_ int pts = FD_NONE;
	struct statfs fs;
	int fd;

	if (devpts_fd < 0) {
		pts = inroot_open(root_fd, "/dev/pts");
		if (pts < 0 || fstatfs(pts, &fs) < 0 || fs.f_type != DEVPTS_SUPER_MAGIC)
			return err_set(err, -ENOTTY,
				       "process.terminal: needs a devpts mount at /dev/pts");
		devpts_fd = pts;
	}
	fd = openat(devpts_fd, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC | O_NOFOLLOW);
	return fd < 0 ? err_sys(err, -errno, "process.terminal: cannot open ptmx") : fd;
}

int console_open(int root_fd, int devpts_fd, const struct spec_process *p, int *ret_master,
		 int *ret_slave, struct err *err)
{
	_cleanup_close_ int master = open_ptmx(root_fd, devpts_fd, err);
	struct winsize size = { .ws_row = p->rows, .ws_col = p->cols };
	int unlock = 0, slave;

	if (master < 0)
		return master;
	if (ioctl(master, TIOCSPTLCK, &unlock) < 0)
		return err_sys(err, -errno, "process.terminal: cannot unlock the pty");
	slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
	if (slave < 0)
		return err_sys(err, -errno, "process.terminal: cannot open the pty's peer");
	if (p->rows && p->cols)
		(void)ioctl(master, TIOCSWINSZ, &size);
	if (fchown(slave, p->uid, (gid_t)-1) < 0 && errno != EPERM && errno != EINVAL) {
		(void)close(slave);
		return err_sys(err, -errno, "process.terminal: cannot change the pty's owner");
	}
	*ret_master = steal_fd(&master);
	*ret_slave = slave;
	return 0;
}

/* The pty's peer appears as /dev/console. The file under it belongs to the image: it is opened
 * without following links, and the mount is made on that descriptor. */
static int bind_console(const struct launch *l, int slave, struct err *err)
{
	_cleanup_close_ int dev = inroot_open_or_make(l->root_fd, "/dev", true, err);
	_cleanup_close_ int target = FD_NONE, tree = FD_NONE;
	struct stat st;
	int r;

	if (dev < 0)
		return dev;
	/* An existing one is looked at below; any other failure shows there, too. */
	if (mknodat(dev, "console", S_IFREG | 0600, 0) < 0 && errno != EEXIST)
		return err_sys(err, -errno, "cannot make /dev/console");
	target = openat(dev, "console", O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (target < 0 || fstat(target, &st) < 0)
		return err_sys(err, -errno, "cannot make /dev/console");
	if (!S_ISREG(st.st_mode) && !S_ISCHR(st.st_mode))
		return err_set(err, -EINVAL, "/dev/console of the image must be a file");
	tree = sys_open_tree(slave, "", OPEN_TREE_CLONE | AT_EMPTY_PATH);
	if (tree < 0)
		return err_sys(err, tree, "cannot clone the pty");
	r = sys_move_mount(tree, target, "");
	return r < 0 ? err_sys(err, r, "cannot bind /dev/console") : 0;
}

int console_setup(struct launch *l, struct err *err)
{
	_cleanup_close_ int master = FD_NONE;
	int r = fault_at("console", err);

	if (r < 0 || !l->spec.process || !l->spec.process->terminal)
		return r;
	r = console_open(l->root_fd, l->devpts_fd, l->spec.process, &master, &l->console_slave,
			 err);
	if (r >= 0)
		r = bind_console(l, l->console_slave, err);
	if (r < 0)
		return r;
	if (l->console_fd >= 0)
		r = console_send(l->console_fd, master, err);
	else
		r = sync_send(l->sync[1], SYNC_TERMINAL, 0, master);
	return r < 0 ? err_sys(err, r, "process.terminal: cannot hand over the pty") : 0;
}

int console_take(int slave, struct err *err)
{
	int all[3] = { slave, slave, slave };

	if (ioctl(slave, TIOCSCTTY, 0) < 0)
		return err_sys(err, -errno, "process.terminal: cannot take the pty");
	return stdio_setup(all, err);
}

int console_connect(const char *path, int *ret, struct err *err)
{
	_cleanup_close_ int sock = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	_cleanup_close_ int there = FD_NONE;
	struct sockaddr_un addr = { .sun_family = AF_UNIX };

	/* Through a descriptor: the path may be longer than a socket address. */
	there = open(path, O_PATH | O_CLOEXEC);
	if (there < 0)
		return err_sys(err, -errno, "--console-socket: cannot open %s", path);
	(void)snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d", there);
	if (sock < 0 || connect(sock, (struct sockaddr *)&addr, sizeof(addr)) < 0)
		return err_sys(err, -errno, "--console-socket: cannot connect to %s", path);
	*ret = steal_fd(&sock);
	return 0;
}

int console_send(int sock, int master, struct err *err)
{
	char name[] = "/dev/ptmx";
	int r = send_with_fd(sock, name, strlen(name), master);

	return r < 0 ? err_sys(err, r, "--console-socket: cannot send the pty") : 0;
}
