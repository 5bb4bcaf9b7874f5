#include "process.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "fault.h"
#include "names.h"
#include "sys.h"

static int set_rlimits(const struct spec_process *p, struct err *err)
{
	for (size_t i = 0; i < p->rlimit_count; i++) {
		const struct spec_rlimit *l = &p->rlimits[i];

		if (syscall(SYS_prlimit64, 0, l->resource, &l->value, NULL) < 0)
			return err_sys(err, -errno, "process.rlimits: cannot set %s", l->name);
	}
	return 0;
}

struct sched_attr_v0 {
	uint32_t size, policy;
	uint64_t flags;
	int32_t nice;
	uint32_t priority;
	uint64_t runtime, deadline, period;
};

static int set_scheduler(const struct spec_scheduler *s, struct err *err)
{
	struct sched_attr_v0 attr = { .size = sizeof(attr),
				      .policy = s->policy,
				      .flags = s->flags,
				      .nice = s->nice,
				      .priority = s->priority,
				      .runtime = s->runtime,
				      .deadline = s->deadline,
				      .period = s->period };

	if (s->set && syscall(SYS_sched_setattr, 0, &attr, 0) < 0)
		return err_sys(err, -errno, "process.scheduler: cannot set");
	return 0;
}

/* "0-3,7": the list form of the kernel's own cpuset files. */
int process_set_affinity(const char *list, struct err *err)
{
	cpu_set_t set;

	if (!list || !*list)
		return 0;
	CPU_ZERO(&set);
	for (const char *p = list; *p;) {
		char *end;
		long from = strtol(p, &end, 10), to = from;

		if (end != p && *end == '-') {
			p = end + 1;
			to = strtol(p, &end, 10);
		}
		if (end == p || from < 0 || to < from || to >= CPU_SETSIZE || (*end && *end != ','))
			return err_set(err, -EINVAL, "process.execCPUAffinity: bad list \"%s\"",
				       list);
		for (long c = from; c <= to; c++)
			CPU_SET((size_t)c, &set);
		p = *end ? end + 1 : end;
	}
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		return err_sys(err, -errno, "process.execCPUAffinity: cannot set \"%s\"", list);
	return 0;
}

int process_limits(const struct spec_process *p, struct err *err)
{
	int r = fault_at("limits", err);

	if (r < 0 || (r = set_rlimits(p, err)) < 0 || (r = set_scheduler(&p->scheduler, err)) < 0)
		return r;
	if (p->has_ioprio && syscall(SYS_ioprio_set, 1, 0, p->ioprio) < 0)
		return err_sys(err, -errno, "process.ioPriority: cannot set");
	(void)umask(p->has_umask ? (mode_t)p->umask : 0022);
	return 0;
}

static int write_label(int proc_fd, const char *file, const char *text, const char *what,
		       struct err *err)
{
	_cleanup_close_ int fd =
		sys_openat2(proc_fd, file, O_WRONLY, 0,
			    RESOLVE_NO_XDEV | RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS);
	int r = fd < 0 ? fd : write_fd(fd, text);

	return r < 0 ? err_sys(err, r, "process.%s: this kernel cannot apply it", what) : 0;
}

/* Labels go through the private procfs: one that the image prepared would swallow them. */
int process_labels(int proc_fd, const struct spec_process *p, struct err *err)
{
	char text[512];
	int r = 0;

	if (p->apparmor && *p->apparmor) {
		(void)snprintf(text, sizeof(text), "exec %s", p->apparmor);
		r = write_label(proc_fd, "thread-self/attr/apparmor/exec", text, "apparmorProfile",
				err);
	}
	if (r >= 0 && p->selinux && *p->selinux)
		r = write_label(proc_fd, "thread-self/attr/exec", p->selinux, "selinuxLabel", err);
	return r;
}

int process_keyring(const char *id, struct err *err)
{
	char name[220];
	long r;

	(void)snprintf(name, sizeof(name), "_ses.%s", id);
	r = syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, name);
	/* No keyrings in this kernel, or not for us: the container then has none. */
	if (r < 0 && errno != ENOSYS && errno != EPERM)
		return err_sys(err, -errno, "cannot make a session keyring");
	return 0;
}

static int drop_bounding(uint64_t keep, struct err *err)
{
	for (int c = 0; c <= CAP_LAST_CAP; c++) {
		if (keep >> c & 1)
			continue;
		if (prctl(PR_CAPBSET_DROP, c, 0, 0, 0) < 0 && errno != EINVAL)
			return err_sys(err, -errno, "process.capabilities: cannot drop %d", c);
	}
	return 0;
}

/* Only what is permitted and inheritable can be ambient; engines list more, and the kernel's
 * refusal of the rest is what they expect. */
static void raise_ambient(uint64_t ambient)
{
	(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	for (int c = 0; c <= CAP_LAST_CAP; c++)
		if (ambient >> c & 1)
			(void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, c, 0, 0);
}

/* What the caller itself does not have cannot be given: such bits are left out, as engines that
 * run without all capabilities rely on (the bounding set only ever shrinks). */
static uint64_t caller_permitted(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2] = { { 0 } };

	if (syscall(SYS_capget, &head, data) < 0)
		return 0;
	return (uint64_t)data[1].permitted << 32 | data[0].permitted;
}

static int set_groups(const struct spec_process *p, struct err *err)
{
	if (setgroups(p->gid_count, p->gids) < 0 && (p->gid_count > 0 || errno != EPERM))
		return err_sys(err, -errno, "process.user.additionalGids: cannot set");
	return 0;
}

int process_identity(const struct spec_process *p, struct err *err)
{
	uint64_t own = caller_permitted();
	int r = fault_at("identity", err);

	if (r < 0)
		return r;
	if (p->has_caps && (r = drop_bounding(p->caps[CAP_BOUNDING], err)) < 0)
		return r;
	if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
		return err_sys(err, -errno, "cannot keep capabilities");
	if ((r = set_groups(p, err)) < 0)
		return r;
	/* System calls, not the library: it would look for other threads. */
	if (syscall(SYS_setresgid, p->gid, p->gid, p->gid) < 0)
		return err_sys(err, -errno, "process.user.gid: cannot become %u", p->gid);
	if (syscall(SYS_setresuid, p->uid, p->uid, p->uid) < 0)
		return err_sys(err, -errno, "process.user.uid: cannot become %u", p->uid);
	if (p->has_caps) {
		r = sys_capset(p->caps[CAP_EFFECTIVE] & own, p->caps[CAP_PERMITTED] & own,
			       p->caps[CAP_INHERITABLE] & own);
		if (r < 0)
			return err_sys(err, r, "process.capabilities: cannot set");
		raise_ambient(p->caps[CAP_AMBIENT] & p->caps[CAP_INHERITABLE] & own);
	}
	if (prctl(PR_SET_KEEPCAPS, 0, 0, 0, 0) < 0)
		return err_sys(err, -errno, "cannot stop keeping capabilities");
	return r;
}

/* A working directory outside the root (a descriptor of the host found through /proc/self/fd)
 * shows as a path that does not start with a slash. */
static int verify_cwd(struct err *err)
{
	char path[4096];
	long n = syscall(SYS_getcwd, path, sizeof(path));

	if (n < 0)
		return err_sys(err, -errno, "process.cwd: must lie in the root file system");
	if (path[0] != '/')
		return err_set(err, -EXDEV, "process.cwd: must lie in the root file system");
	return 0;
}

int process_enter_cwd(const struct spec_process *p, struct err *err)
{
	if (chdir(p->cwd) < 0)
		return err_sys(err, -errno, "process.cwd: cannot enter %s", p->cwd);
	return verify_cwd(err);
}

void process_own_stdio(const struct spec_process *p)
{
	struct stat null, st;

	if (p->uid == 0 || stat("/dev/null", &null) < 0)
		return;
	for (int fd = 0; fd < 3; fd++) {
		if (fstat(fd, &st) < 0 || st.st_uid == p->uid || st.st_rdev == null.st_rdev)
			continue;
		/* A read-only or foreign file stays its owner's. */
		if (fchown(fd, p->uid, st.st_gid) < 0)
			continue;
	}
}
