#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/nsfs.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "fault.h"
#include "launch.h"
#include "sys.h"

static const struct {
	const char *name;
	uint64_t flag;
} kinds[NS_KINDS] = {
	[NS_USER] = { "user", CLONE_NEWUSER },	     [NS_MOUNT] = { "mount", CLONE_NEWNS },
	[NS_PID] = { "pid", CLONE_NEWPID },	     [NS_NET] = { "network", CLONE_NEWNET },
	[NS_IPC] = { "ipc", CLONE_NEWIPC },	     [NS_UTS] = { "uts", CLONE_NEWUTS },
	[NS_CGROUP] = { "cgroup", CLONE_NEWCGROUP }, [NS_TIME] = { "time", CLONE_NEWTIME },
};

/* In a user namespace the ipc namespace is made later, too, by its mapped root: the files of its
 * mqueue would otherwise belong to nobody. */
static bool is_made_later(const struct spec *spec, int kind)
{
	return kind == NS_CGROUP || kind == NS_TIME || (kind == NS_IPC && spec->ns[NS_USER].wanted);
}

/* The cgroup namespace's root is the group its maker is in, so it is made later, when the child
 * has joined its groups. A time namespace takes its offsets before the first process enters. */
uint64_t namespaces_clone_flags(const struct spec *spec)
{
	uint64_t flags = 0;

	for (int k = 0; k < NS_KINDS; k++)
		if (spec->ns[k].wanted && !spec->ns[k].path && !is_made_later(spec, k))
			flags |= kinds[k].flag;
	return flags;
}

/* Joins that only a child of the joining process feels (pid, time), or that need the host's
 * privileges when the container itself starts in a user namespace, are made by a short-lived
 * process between parent and child. */
bool namespaces_need_scout(const struct spec *spec)
{
	bool joins = false;

	for (int k = 0; k < NS_KINDS; k++)
		joins |= spec->ns[k].path != NULL;
	return spec->ns[NS_USER].path || spec->ns[NS_PID].path || spec->ns[NS_TIME].wanted ||
	       (spec->ns[NS_USER].wanted && joins);
}

int namespaces_check(const struct spec *spec, struct err *err)
{
	if (spec->ns[NS_MOUNT].path)
		return err_set(err, -ENOTSUP,
			       "linux.namespaces: joining a mount namespace is not supported");
	return 0;
}

static int join(int kind, const char *path, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	int r;

	if (fd < 0)
		return err_sys(err, -errno, "linux.namespaces: cannot open %s", path);
	if (ioctl(fd, NS_GET_NSTYPE) != (int)kinds[kind].flag)
		return err_set(err, -EINVAL, "linux.namespaces: %s is no %s namespace", path,
			       kinds[kind].name);
	r = sys_setns(fd, (int)kinds[kind].flag);
	if (r < 0)
		return err_sys(err, r, "linux.namespaces: cannot join %s", path);
	return 0;
}

/* The user namespace comes last: before it the process has the host's privileges over the
 * others. Where one belongs to the container's user namespace it is tried again afterwards. */
int namespaces_join(const struct spec *spec, bool all, struct err *err)
{
	unsigned later = 0;

	for (int k = 0; k < NS_KINDS; k++) {
		if (!spec->ns[k].path || k == NS_USER || k == NS_MOUNT)
			continue;
		if (!all && k == NS_PID)
			continue;
		if (join(k, spec->ns[k].path, err) < 0) {
			if (!spec->ns[NS_USER].path)
				return err->code;
			later |= 1u << k;
		}
	}
	if (all && spec->ns[NS_USER].path && join(NS_USER, spec->ns[NS_USER].path, err) < 0)
		return err->code;
	for (int k = 0; k < NS_KINDS; k++)
		if (later >> k & 1 && join(k, spec->ns[k].path, err) < 0)
			return err->code;
	return fault_at("namespaces", err);
}

int namespaces_time_offsets(const struct spec *spec, struct err *err)
{
	char text[128] = "";
	size_t len = 0;
	int r;

	if (!spec->ns[NS_TIME].wanted || spec->ns[NS_TIME].path)
		return 0;
	if (unshare(CLONE_NEWTIME) < 0)
		return err_sys(err, -errno, "linux.namespaces: cannot make a time namespace");
	if (spec->offset_monotonic.set)
		len = (size_t)snprintf(text, sizeof(text), "monotonic %lld %u\n",
				       (long long)spec->offset_monotonic.secs,
				       spec->offset_monotonic.nanosecs);
	if (spec->offset_boottime.set)
		(void)snprintf(text + len, sizeof(text) - len, "boottime %lld %u\n",
			       (long long)spec->offset_boottime.secs,
			       spec->offset_boottime.nanosecs);
	if (!text[0])
		return 0;
	r = write_file_at(AT_FDCWD, "/proc/self/timens_offsets", text);
	return r < 0 ? err_sys(err, r, "linux.timeOffsets: cannot write") : 0;
}

int network_loopback_up(struct err *err)
{
	_cleanup_close_ int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct ifreq req = { .ifr_name = "lo" };

	req.ifr_flags = IFF_UP | IFF_RUNNING;
	if (sock < 0 || ioctl(sock, SIOCSIFFLAGS, &req) < 0)
		return err_sys(err, -errno, "cannot bring up lo");
	return 0;
}

static int write_map(pid_t pid, const char *file, const struct id_maps *maps, struct err *err)
{
	char path[64], text[4096] = "";
	size_t len = 0;
	int r;

	(void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
	for (size_t i = 0; i < maps->count && len < sizeof(text) - 40; i++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%u %u %u\n",
					maps->items[i].container, maps->items[i].host,
					maps->items[i].size);
	r = write_file_at(AT_FDCWD, path, text);
	return r < 0 ? err_sys(err, r, "cannot write %s", file) : 0;
}

int idmap_write(pid_t pid, const struct id_maps *uids, const struct id_maps *gids, struct err *err)
{
	int r = write_map(pid, "uid_map", uids, err);

	return r < 0 ? r : write_map(pid, "gid_map", gids, err);
}

/* A user namespace is a live process's until a descriptor holds it: a child that only exists
 * while its maps are written. */
int idmap_user_namespace(const struct id_maps *uids, const struct id_maps *gids, int *ret_fd,
			 struct err *err)
{
	_cleanup_close_ int pidfd = FD_NONE;
	char path[64];
	int r, fd = FD_NONE, status;
	pid_t pid = sys_clone3(CLONE_NEWUSER, &pidfd, FD_NONE);

	if (pid == 0)
		for (;;)
			(void)pause();
	if (pid < 0)
		return err_sys(err, pid, "cannot make a user namespace for an idmapped mount");
	r = idmap_write(pid, uids, gids, err);
	(void)snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
	if (r >= 0 && (fd = open(path, O_RDONLY | O_CLOEXEC)) < 0)
		r = err_sys(err, -errno, "cannot open %s", path);
	(void)sys_pidfd_signal(pidfd, SIGKILL);
	(void)waitpid(pid, &status, 0);
	if (r >= 0)
		*ret_fd = fd;
	return r;
}
