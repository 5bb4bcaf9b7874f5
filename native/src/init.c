/* The container's first process, from the clone to exec. Every step may fail with one line that
 * the parent prints; nothing that was prepared outlives this process's mount namespace. */
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sched.h>
#include <unistd.h>

#include "cleanup.h"
#include "console.h"
#include "fault.h"
#include "hooks.h"
#include "inroot.h"
#include "launch.h"
#include "process.h"
#include "state.h"
#include "sync.h"
#include "sys.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

/* Until its ids are mapped the process is nobody; afterwards it becomes its namespace's root. One
 * made by a scout waits, too: the parent must know its pid before it hears from it. */
static int become_root(const struct launch *l, struct err *err)
{
	int r;

	if ((l->new_user || namespaces_need_scout(&l->spec)) &&
	    (r = sync_expect(l->sync[1], SYNC_MAPPED, err)) < 0)
		return r;
	if (!l->spec.ns[NS_USER].wanted)
		return 0;
	if (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0)
		return err_sys(err, -errno, "cannot become root of the user namespace");
	(void)syscall(SYS_setgroups, 0, NULL);
	if (l->spec.ns[NS_IPC].wanted && !l->spec.ns[NS_IPC].path && unshare(CLONE_NEWIPC) < 0)
		return err_sys(err, -errno, "cannot make an ipc namespace");
	return 0;
}

static int set_names(const struct spec *s, struct err *err)
{
	int r = fault_at("hostname", err);

	if (r < 0)
		return r;
	if (s->hostname && *s->hostname && sethostname(s->hostname, strlen(s->hostname)) < 0)
		return err_sys(err, -errno, "hostname: cannot set");
	if (s->domainname && *s->domainname &&
	    setdomainname(s->domainname, strlen(s->domainname)) < 0)
		return err_sys(err, -errno, "domainname: cannot set");
	return 0;
}

static int open_private_proc(struct launch *l, struct err *err)
{
	int fs;

	if (l->proc_fd >= 0)
		return 0;
	fs = sys_fsopen("proc");
	if (fs >= 0 && sys_fsconfig_create(fs) >= 0)
		l->proc_fd = sys_fsmount(fs, 0);
	cleanup_close(&fs);
	return l->proc_fd < 0 ? err_sys(err, -errno, "cannot open a private procfs") : 0;
}

static int set_sysctls(struct launch *l, struct err *err)
{
	const struct pairs *list = &l->spec.sysctl;
	int r = fault_at("sysctl", err);

	if (r < 0 || !list->count)
		return r;
	if ((r = open_private_proc(l, err)) < 0)
		return r;
	for (size_t i = 0; i < list->count; i++) {
		_cleanup_close_ int fd = FD_NONE;
		char path[256];

		(void)snprintf(path, sizeof(path), "sys/%s", list->items[i].key);
		/* With a slash anywhere, dots belong to the names (net/ipv4/conf/eth0.1). */
		if (!strchr(list->items[i].key, '/'))
			for (char *p = path; *p; p++)
				if (*p == '.')
					*p = '/';
		fd = sys_openat2(l->proc_fd, path, O_WRONLY, 0,
				 RESOLVE_NO_XDEV | RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
		r = fd < 0 ? fd : write_fd(fd, list->items[i].value);
		if (r < 0)
			return err_sys(err, r, "linux.sysctl: cannot write %s", list->items[i].key);
	}
	return 0;
}

static int enter_namespaces(struct launch *l, struct err *err)
{
	int r = cgroup_join_tasks(&l->tasks, err);

	if (r >= 0)
		r = become_root(l, err);
	if (r >= 0 && !namespaces_need_scout(&l->spec))
		r = namespaces_join(&l->spec, false, err);
	if (r < 0)
		return r;
	/* A process of the host in this pid namespace could otherwise be traced while it still
	 * holds the host's descriptors. */
	(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	if (setsid() < 0)
		return err_sys(err, -errno, "cannot make a session");
	if (l->spec.ns[NS_NET].wanted && !l->spec.ns[NS_NET].path &&
	    (r = network_loopback_up(err)) < 0)
		return r;
	if (l->spec.ns[NS_CGROUP].wanted && !l->spec.ns[NS_CGROUP].path && l->tasks.devices < 0 &&
	    unshare(CLONE_NEWCGROUP) < 0)
		return err_sys(err, -errno, "cannot make a cgroup namespace");
	return set_names(&l->spec, err);
}

/* v1 device rules hold from here on: the nodes stand. The cgroup namespace is made after the last
 * group is joined, so that all of them are its roots. */
static int enter_devices_group(struct launch *l, struct err *err)
{
	int r;

	if (l->tasks.devices < 0)
		return 0;
	r = cgroup_join_devices(&l->tasks, err);
	if (r >= 0 && l->spec.ns[NS_CGROUP].wanted && !l->spec.ns[NS_CGROUP].path &&
	    unshare(CLONE_NEWCGROUP) < 0)
		return err_sys(err, -errno, "cannot make a cgroup namespace");
	return r;
}

static int run_parent_hooks(struct launch *l, struct err *err)
{
	int r = fault_at("hooks", err);

	if (r < 0 ||
	    (!l->spec.hooks[HOOK_PRESTART].count && !l->spec.hooks[HOOK_CREATE_RUNTIME].count))
		return r;
	r = sync_send(l->sync[1], SYNC_HOOKS_PLEASE, 0, FD_NONE);
	return r < 0 ? err_sys(err, r, "cannot ask for hooks")
		     : sync_expect(l->sync[1], SYNC_HOOKS_DONE, err);
}

static int run_own_hooks(struct launch *l, enum hook_kind kind, const char *name,
			 const char *status, struct err *err)
{
	_cleanup_free_ char *state = NULL;
	int r;

	if (!l->spec.hooks[kind].count)
		return 0;
	r = state_format(&l->spec, l->id, status, (int)getpid(), l->bundle, &state, err);
	return r < 0 ? r : hooks_run(&l->spec.hooks[kind], name, state, err);
}

static int build_rootfs(struct launch *l, struct err *err)
{
	int r;

	if ((r = rootfs_prepare(l, err)) < 0 || (r = mount_all(l, err)) < 0 ||
	    (r = set_sysctls(l, err)) < 0 || (r = devices_make(l, err)) < 0 ||
	    (r = console_setup(l, err)) < 0 || (r = run_parent_hooks(l, err)) < 0 ||
	    (r = run_own_hooks(l, HOOK_CREATE_CONTAINER, "createContainer", "creating", err)) < 0 ||
	    (r = paths_restrict(l, err)) < 0 || (r = enter_devices_group(l, err)) < 0)
		return r;
	return rootfs_enter(l, err);
}

static int make_cwd(const struct spec_process *p, struct err *err)
{
	_cleanup_close_ int root = FD_NONE, cwd = FD_NONE;

	if (strcmp(p->cwd, "/") == 0 || access(p->cwd, F_OK) == 0)
		return 0;
	root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	cwd = inroot_open_or_make(root, p->cwd, true, err);
	return cwd < 0 ? err_prefix(err, "process.cwd") : 0;
}

/* Keeps stdio, the preserved descriptors and the two that lead to `start`; closes all others, so
 * that a container that waits holds nothing of the host. */
static int close_descriptors(struct launch *l, struct err *err)
{
	unsigned first = 3u + (unsigned)l->opts->preserve_fds;
	int sync_fd = fcntl(l->sync[1], F_DUPFD_CLOEXEC, (int)first + 4);
	int fifo_fd =
		l->fifo_fd >= 0 ? fcntl(l->fifo_fd, F_DUPFD_CLOEXEC, (int)first + 4) : FD_NONE;
	int proc_fd =
		l->proc_fd >= 0 ? fcntl(l->proc_fd, F_DUPFD_CLOEXEC, (int)first + 4) : FD_NONE;

	if (sync_fd < 0 || dup3(sync_fd, (int)first, O_CLOEXEC) < 0 ||
	    (fifo_fd >= 0 && dup3(fifo_fd, (int)first + 1, O_CLOEXEC) < 0) ||
	    (proc_fd >= 0 && dup3(proc_fd, (int)first + 2, O_CLOEXEC) < 0))
		return err_sys(err, -errno, "cannot arrange descriptors");
	l->sync[1] = (int)first;
	if (fifo_fd < 0)
		(void)close((int)first + 1);
	if (proc_fd < 0)
		(void)close((int)first + 2);
	l->fifo_fd = fifo_fd >= 0 ? (int)first + 1 : FD_NONE;
	l->proc_fd = proc_fd >= 0 ? (int)first + 2 : FD_NONE;
	l->console_slave = l->console_fd = FD_NONE;
	(void)sys_close_range(first + 3, ~0U, 0);
	return 0;
}

static int load_filter(struct launch *l, struct err *err)
{
	int listener = FD_NONE, r = fault_at("seccomp", err);

	if (r < 0 || !l->filter.code)
		return r;
	if (l->filter.notify) {
		/* The kernel gives the lowest free number. */
		int number = fcntl(l->sync[1], F_DUPFD_CLOEXEC, 0);

		cleanup_close(&number);
		if ((r = sync_send(l->sync[1], SYNC_LISTENER, number, FD_NONE)) < 0)
			return err_sys(err, r, "cannot announce the seccomp listener");
	}
	r = seccomp_load(&l->filter, &listener, err);
	if (r < 0 || listener < 0)
		return r;
	/* The parent fetches the listener from outside: sending it from here could be a call that
	 * waits for the very listener. */
	return sync_expect(l->sync[1], SYNC_GO, err);
}

static int prepare_process(struct launch *l, struct err *err)
{
	struct spec_process *p = l->spec.process;
	int r;

	if (l->console_slave >= 0 && (r = console_take(l->console_slave, err)) < 0)
		return r;
	if (l->console_slave < 0 && (r = stdio_setup(l->opts->stdio, err)) < 0)
		return r;
	if (((p->apparmor && *p->apparmor) || (p->selinux && *p->selinux)) &&
	    (r = open_private_proc(l, err)) < 0)
		return r;
	if ((r = close_descriptors(l, err)) < 0 || (r = make_cwd(p, err)) < 0 ||
	    (r = process_complete_env(&l->arena, p, l->opts->listen_fds, err)) < 0)
		return r;
	if (l->spec.has_personality && personality(l->spec.personality) < 0)
		return err_sys(err, -errno, "linux.personality: cannot set");
	if (!l->opts->no_new_keyring && (r = process_keyring(l->id, err)) < 0)
		return r;
	if ((r = process_limits(p, err)) < 0 || (r = process_labels(l->proc_fd, p, err)) < 0)
		return r;
	close_and_forget(&l->proc_fd);
	process_own_stdio(p);
	if (p->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, -errno, "process.noNewPrivileges: cannot set");
	/* Without no_new_privs a filter needs privilege, so it is loaded before that goes. One with
	 * a listener needs the creating process, which may be gone at the start. */
	if ((!p->no_new_privs || l->filter.notify) && (r = load_filter(l, err)) < 0)
		return r;
	if ((r = process_identity(p, err)) < 0 || (r = process_enter_cwd(p, err)) < 0)
		return r;
	return process_find_program(p, l->exec_path, err);
}

static int wait_for_start(struct launch *l, struct err *err)
{
	char byte;
	ssize_t n;
	int r = sync_send(l->sync[1], SYNC_READY, 0, FD_NONE);

	if (r < 0)
		return err_sys(err, r, "cannot report");
	if (l->fifo_fd < 0)
		return sync_expect(l->sync[1], SYNC_START, err);
	do
		n = read(l->fifo_fd, &byte, 1);
	while (n < 0 && errno == EINTR);
	return n == 1 ? 0 : err_sys(err, n < 0 ? -errno : -EPIPE, "cannot wait for start");
}

static int run(struct launch *l, struct err *err)
{
	struct spec_process *p = l->spec.process;
	int r;

	if ((r = enter_namespaces(l, err)) < 0 || (r = build_rootfs(l, err)) < 0)
		return r;
	if (!p)
		return err_set(err, -EINVAL, "process: is required to create a container");
	if ((r = prepare_process(l, err)) < 0 || (r = wait_for_start(l, err)) < 0 ||
	    (r = run_own_hooks(l, HOOK_START_CONTAINER, "startContainer", "created", err)) < 0 ||
	    (r = fault_at("exec", err)) < 0)
		return r;
	if (l->spec.init && (r = tiny_init_split(&l->title, l->sync[1], err)) < 0)
		return r;
	if (p->no_new_privs && !l->filter.notify && (r = load_filter(l, err)) < 0)
		return r;
	sys_reset_signals();
	(void)sys_execve(l->exec_path, p->args.items, p->env.items);
	return err_sys(err, -errno, "process.args[0]: cannot run \"%s\"", l->exec_path);
}

_Noreturn void init_main(struct launch *l)
{
	struct err err = ERR_INIT;

	close_and_forget(&l->sync[0]);
	(void)run(l, &err);
	sync_send_error(l->sync[1], &err);
	_exit(1);
}
