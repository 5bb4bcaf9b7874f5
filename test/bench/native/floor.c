// SPDX-License-Identifier: Apache-2.0
// The floor under every container runtime: only the system calls that a container needs. Namespaces, a private
// root with the usual mounts, four cgroup v1 controllers (or one v2 group), a seccomp filter compiled beforehand,
// exec, wait, clean-up. No configuration is read and nothing is recorded.
//   floor ROOTFS FILTER(- for none) NETNS(1/0) COMMAND [ARG...]
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MUST(expression)                                                                       \
	do {                                                                                   \
		if ((expression) < 0) {                                                        \
			fprintf(stderr, "floor: %s: %s\n", #expression, strerror(errno));      \
			_exit(125);                                                            \
		}                                                                              \
	} while (0)

static const char *const controllers[] = {"cpu", "memory", "pids", "blkio"};
enum { CONTROLLERS = sizeof(controllers) / sizeof(controllers[0]) };

static char groups[CONTROLLERS][128];

static void write_file(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	MUST(fd);
	MUST(write(fd, text, strlen(text)));
	close(fd);
}

static void make_groups(void)
{
	static const char *const limits[CONTROLLERS][2] = {
		{"cpu.cfs_quota_us", "50000"}, {"memory.limit_in_bytes", "67108864"},
		{"pids.max", "100"}, {"blkio.throttle.write_bps_device", ""}};
	int i;

	for (i = 0; i < CONTROLLERS; i++) {
		char path[1024];

		snprintf(groups[i], sizeof(groups[i]), "/sys/fs/cgroup/%s/floor-%d", controllers[i], getpid());
		MUST(mkdir(groups[i], 0755));
		if (limits[i][1][0] == '\0')
			continue;
		snprintf(path, sizeof(path), "%s/%s", groups[i], limits[i][0]);
		write_file(path, limits[i][1]);
	}
}

static void join_groups(void)
{
	int i;

	for (i = 0; i < CONTROLLERS; i++) {
		char path[1024];

		snprintf(path, sizeof(path), "%s/tasks", groups[i]);
		write_file(path, "0");
	}
}

static void make_root(const char *rootfs)
{
	MUST(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL));
	MUST(mount(rootfs, rootfs, NULL, MS_BIND | MS_REC, NULL));
	MUST(chdir(rootfs));
	MUST(mount("proc", "proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
	MUST(mount("tmpfs", "dev", "tmpfs", MS_NOSUID, "mode=755,size=65536k"));
	MUST(mkdir("dev/pts", 0755));
	MUST(mkdir("dev/shm", 0755));
	MUST(mkdir("dev/mqueue", 0755));
	MUST(mount("devpts", "dev/pts", "devpts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620"));
	MUST(mount("shm", "dev/shm", "tmpfs", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=65536k"));
	MUST(mount("mqueue", "dev/mqueue", "mqueue", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
	MUST(mount("sysfs", "sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL));
	MUST(mknod("dev/null", S_IFCHR | 0666, 0x103));
	MUST(mknod("dev/zero", S_IFCHR | 0666, 0x105));
	MUST(mount("dev/null", "proc/interrupts", NULL, MS_BIND, NULL));
	MUST(mount("proc/sys", "proc/sys", NULL, MS_BIND, NULL));
	MUST(mount(NULL, "proc/sys", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL));
	MUST(syscall(SYS_pivot_root, ".", "."));
	MUST(umount2(".", MNT_DETACH));
	MUST(chdir("/"));
}

static void filter(const char *path)
{
	static struct sock_filter code[4096];
	struct sock_fprog program = {.filter = code};
	ssize_t size;
	int fd;

	if (strcmp(path, "-") == 0)
		return;
	fd = open(path, O_RDONLY | O_CLOEXEC);
	MUST(fd);
	size = read(fd, code, sizeof(code));
	MUST(size);
	close(fd);
	program.len = (unsigned short)((size_t)size / sizeof(code[0]));
	MUST(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	MUST(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program));
}

int main(int argc, char **argv)
{
	unsigned long flags = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWCGROUP;
	int status, i;
	pid_t child;

	if (argc < 5)
		return 125;
	if (argv[3][0] == '1')
		flags |= CLONE_NEWNET;
	make_groups();
	child = (pid_t)syscall(SYS_clone, flags | SIGCHLD, NULL, NULL, NULL, 0);
	MUST(child);
	if (child == 0) {
		static char *const environment[] = {"PATH=/bin", NULL};

		join_groups();
		make_root(argv[1]);
		MUST(sethostname("floor", 5));
		filter(argv[2]);
		execve(argv[4], &argv[4], environment);
		_exit(127);
	}
	MUST(waitpid(child, &status, 0));
	for (i = 0; i < CONTROLLERS; i++)
		rmdir(groups[i]);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
