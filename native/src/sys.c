#include "sys.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"

#define RET(expr)                                                                                  \
	do {                                                                                       \
		long ret_ = (expr);                                                                \
		return ret_ < 0 ? -errno : (int)ret_;                                              \
	} while (0)

int sys_openat2(int dir, const char *path, int flags, unsigned mode, uint64_t resolve)
{
	struct open_how how = { .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
				.mode = mode,
				.resolve = resolve };

	/* EAGAIN means that a rename ran beside the lookup and the kernel could not decide. */
	for (int tries = 0;; tries++) {
		long fd = syscall(SYS_openat2, dir, path, &how, sizeof(how));

		if (fd >= 0 || errno != EAGAIN || tries == 100)
			return fd < 0 ? -errno : (int)fd;
	}
}

pid_t sys_clone3(uint64_t flags, int *ret_pidfd, int cgroup_fd)
{
	int pidfd = FD_NONE;
	struct clone_args args = { .flags = flags, .exit_signal = SIGCHLD };
	long pid;

	if (flags & CLONE_PARENT)
		args.exit_signal = 0;
	if (ret_pidfd) {
		args.flags |= CLONE_PIDFD;
		args.pidfd = (uint64_t)(uintptr_t)&pidfd;
	}
	if (cgroup_fd >= 0) {
		args.flags |= CLONE_INTO_CGROUP;
		args.cgroup = (uint64_t)(unsigned)cgroup_fd;
	}
	pid = syscall(SYS_clone3, &args, sizeof(args));
	if (pid < 0)
		return -errno;
	if (pid > 0 && ret_pidfd)
		*ret_pidfd = pidfd;
	return (pid_t)pid;
}

int sys_pidfd_open(pid_t pid)
{
	RET(syscall(SYS_pidfd_open, pid, 0));
}

int sys_pidfd_signal(int pidfd, int signal)
{
	RET(syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0));
}

int sys_pidfd_getfd(int pidfd, int fd)
{
	RET(syscall(SYS_pidfd_getfd, pidfd, fd, 0));
}

int sys_open_tree(int dir, const char *path, unsigned flags)
{
	RET(syscall(SYS_open_tree, dir, path, flags | OPEN_TREE_CLOEXEC));
}

int sys_move_mount(int from, int to_dir, const char *to_path)
{
	unsigned flags = MOVE_MOUNT_F_EMPTY_PATH;

	if (!*to_path)
		flags |= MOVE_MOUNT_T_EMPTY_PATH;
	RET(syscall(SYS_move_mount, from, "", to_dir, to_path, flags));
}

int sys_fsopen(const char *type)
{
	RET(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
}

int sys_fsconfig_string(int fs, const char *key, const char *value)
{
	RET(syscall(SYS_fsconfig, fs, FSCONFIG_SET_STRING, key, value, 0));
}

int sys_fsconfig_flag(int fs, const char *key)
{
	RET(syscall(SYS_fsconfig, fs, FSCONFIG_SET_FLAG, key, NULL, 0));
}

int sys_fsconfig_create(int fs)
{
	RET(syscall(SYS_fsconfig, fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
}

int sys_fsmount(int fs, unsigned attr)
{
	RET(syscall(SYS_fsmount, fs, FSMOUNT_CLOEXEC, attr));
}

int sys_mount_setattr(int dir, const char *path, unsigned flags, const struct mount_attr *attr)
{
	struct mount_attr copy = *attr;

	RET(syscall(SYS_mount_setattr, dir, path, flags, &copy, sizeof(copy)));
}

int sys_pivot_root(const char *new_root, const char *put_old)
{
	RET(syscall(SYS_pivot_root, new_root, put_old));
}

int sys_close_range(unsigned first, unsigned last, unsigned flags)
{
	RET(syscall(SYS_close_range, first, last, flags));
}

int sys_capset(const uint64_t effective, const uint64_t permitted, const uint64_t inheritable)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = {
		{ (uint32_t)effective, (uint32_t)permitted, (uint32_t)inheritable },
		{ (uint32_t)(effective >> 32), (uint32_t)(permitted >> 32),
		  (uint32_t)(inheritable >> 32) },
	};

	RET(syscall(SYS_capset, &head, data));
}

int sys_seccomp(unsigned op, unsigned flags, void *args)
{
	RET(syscall(SYS_seccomp, op, flags, args));
}

int sys_bpf(int cmd, void *attr, size_t size)
{
	RET(syscall(SYS_bpf, cmd, attr, size));
}

int sys_setns(int fd, int kind)
{
	RET(syscall(SYS_setns, fd, kind));
}

int sys_execve(const char *path, const char *const *args, const char *const *env)
{
	RET(syscall(SYS_execve, path, args, env));
}

int read_file_at(int dir, const char *path, size_t limit, char **ret, size_t *ret_len)
{
	_cleanup_close_ int fd = openat(dir, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	_cleanup_free_ char *buf = NULL;
	size_t len = 0, cap = 4096;

	if (fd < 0)
		return -errno;
	buf = malloc(cap);
	if (!buf)
		return -ENOMEM;
	for (;;) {
		ssize_t n = read(fd, buf + len, cap - len - 1);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		len += (size_t)n;
		if (len > limit)
			return -EFBIG;
		if (n == 0)
			break;
		if (len + 1 == cap) {
			char *grown = realloc(buf, cap * 2);

			if (!grown)
				return -ENOMEM;
			buf = grown;
			cap *= 2;
		}
	}
	buf[len] = '\0';
	*ret = buf;
	buf = NULL;
	if (ret_len)
		*ret_len = len;
	return 0;
}

int write_fd(int fd, const char *text)
{
	size_t len = strlen(text);
	ssize_t n;

	do
		n = write(fd, text, len);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	return (size_t)n == len ? 0 : -EIO;
}

int write_file_at(int dir, const char *path, const char *text)
{
	_cleanup_close_ int fd = openat(dir, path, O_WRONLY | O_CLOEXEC);

	return fd < 0 ? -errno : write_fd(fd, text);
}

int write_all(int fd, const void *buf, size_t len)
{
	const char *p = buf;

	while (len > 0) {
		ssize_t n = write(fd, p, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		p += n;
		len -= (size_t)n;
	}
	return 0;
}

union fd_control {
	struct cmsghdr align;
	char buf[CMSG_SPACE(sizeof(int))];
};

int send_with_fd(int sock, void *buf, size_t len, int fd)
{
	union fd_control control = { .buf = { 0 } };
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };
	ssize_t n;

	if (fd >= 0) {
		struct cmsghdr *c;

		msg.msg_control = control.buf;
		msg.msg_controllen = sizeof(control.buf);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(int));
	}
	do
		n = sendmsg(sock, &msg, MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? -errno : 0;
}

ssize_t recv_with_fd(int sock, void *buf, size_t len, int *ret_fd)
{
	union fd_control control = { .buf = { 0 } };
	struct iovec iov = { .iov_base = buf, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov,
			      .msg_iovlen = 1,
			      .msg_control = control.buf,
			      .msg_controllen = sizeof(control.buf) };
	struct cmsghdr *c;
	ssize_t n;

	*ret_fd = FD_NONE;
	do
		n = recvmsg(sock, &msg, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(c), sizeof(int));
	return n;
}

void sys_reset_signals(void)
{
	/* the kernel's own struct: handler, flags, restorer, mask; libc's sigaction refuses 32 to
	 * 34 */
	static const unsigned long by_default[4];
	static const uint64_t none;

	for (int s = 1; s <= 64; s++)
		if (s != SIGKILL && s != SIGSTOP)
			(void)syscall(SYS_rt_sigaction, s, by_default, NULL, sizeof(none));
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &none, NULL, sizeof(none));
}
