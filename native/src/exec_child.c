#include "exec_child.h"

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "cleanup.h"
#include "console.h"
#include "launch.h"
#include "process.h"
#include "sync.h"
#include "sys.h"

static int namespace_flags(const struct spec *s)
{
	static const int flags[NS_KINDS] = { CLONE_NEWUSER,   CLONE_NEWNS,  CLONE_NEWPID,
					     CLONE_NEWNET,    CLONE_NEWIPC, CLONE_NEWUTS,
					     CLONE_NEWCGROUP, CLONE_NEWTIME };
	int all = 0;

	for (int k = 0; k < NS_KINDS; k++)
		if (s->ns[k].wanted)
			all |= flags[k];
	return all;
}

/* All kinds in one call. When the container's user namespace does not own one of the others (a
 * joined network namespace), those come first, with the host's privileges. */
static int enter(const struct exec_plan *plan, struct err *err)
{
	int flags = namespace_flags(&plan->spec);
	int r = sys_setns(plan->c->pidfd, flags);

	if (r == -EPERM && flags & CLONE_NEWUSER) {
		r = sys_setns(plan->c->pidfd, flags & ~CLONE_NEWUSER);
		if (r >= 0)
			r = sys_setns(plan->c->pidfd, CLONE_NEWUSER);
	}
	return r < 0 ? err_sys(err, r, "cannot enter the container's namespaces") : 0;
}

static int take_terminal(struct exec_plan *plan, struct err *err)
{
	_cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
	_cleanup_close_ int master = FD_NONE, slave = FD_NONE;
	int r = console_open(root, FD_NONE, plan->process, &master, &slave, err);

	if (r < 0)
		return r;
	if (plan->console_fd >= 0)
		r = console_send(plan->console_fd, master, err);
	else if ((r = sync_send(plan->sync[1], SYNC_TERMINAL, 0, master)) < 0)
		r = err_sys(err, r, "cannot hand over the pty");
	return r < 0 ? r : console_take(slave, err);
}

static int open_proc(int *ret)
{
	int fs = sys_fsopen("proc"), r = fs;

	if (r >= 0 && (r = sys_fsconfig_create(fs)) >= 0)
		r = sys_fsmount(fs, 0);
	cleanup_close(&fs);
	*ret = r;
	return r < 0 ? r : 0;
}

static int apply_labels(const struct spec_process *p, struct err *err)
{
	_cleanup_close_ int proc = FD_NONE;
	int r;

	if (!(p->apparmor && *p->apparmor) && !(p->selinux && *p->selinux))
		return 0;
	if ((r = open_proc(&proc)) < 0)
		return err_sys(err, r, "cannot open a private procfs");
	return process_labels(proc, p, err);
}

static int load_filter(struct exec_plan *plan, struct err *err)
{
	int listener = FD_NONE, number, r;

	if (plan->filter.notify) {
		number = fcntl(plan->sync[1], F_DUPFD_CLOEXEC, 0);
		cleanup_close(&number);
		if ((r = sync_send(plan->sync[1], SYNC_LISTENER, number, FD_NONE)) < 0)
			return err_sys(err, r, "cannot announce the seccomp listener");
	}
	r = seccomp_load(&plan->filter, &listener, err);
	return r < 0 || listener < 0 ? r : sync_expect(plan->sync[1], SYNC_GO, err);
}

/* The channel to the parent moves above the preserved descriptors; everything else is closed. */
static int close_descriptors(struct exec_plan *plan, struct err *err)
{
	unsigned first = 3u + (unsigned)plan->opts->preserve_fds;
	int fd = fcntl(plan->sync[1], F_DUPFD_CLOEXEC, (int)first + 1);

	if (fd < 0 || dup3(fd, (int)first, O_CLOEXEC) < 0)
		return err_sys(err, -errno, "cannot arrange descriptors");
	plan->sync[1] = (int)first;
	(void)sys_close_range(first + 1, ~0U, 0);
	return 0;
}

static int become(struct exec_plan *plan, struct err *err)
{
	struct spec_process *p = plan->process;
	int r;

	/* The parent must know the pid before it hears from it. */
	if ((r = sync_expect(plan->sync[1], SYNC_MAPPED, err)) < 0)
		return r;
	if (setsid() < 0)
		return err_sys(err, -errno, "cannot make a session");
	r = p->terminal ? take_terminal(plan, err) : stdio_setup(plan->opts->stdio, err);
	if (r < 0 || (r = close_descriptors(plan, err)) < 0)
		return r;
	if ((r = sync_send(plan->sync[1], SYNC_READY, 0, FD_NONE)) < 0)
		return err_sys(err, r, "cannot report");
	if ((r = sync_expect(plan->sync[1], SYNC_START, err)) < 0 ||
	    (r = process_complete_env(&plan->arena, p, 0, err)) < 0 ||
	    (r = process_keyring(plan->c->id, err)) < 0 || (r = process_limits(p, err)) < 0 ||
	    (r = apply_labels(p, err)) < 0)
		return r;
	process_own_stdio(p);
	if (p->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_sys(err, -errno, "process.noNewPrivileges: cannot set");
	if (!p->no_new_privs && (r = load_filter(plan, err)) < 0)
		return r;
	if ((r = process_identity(p, err)) < 0 || (r = process_enter_cwd(p, err)) < 0 ||
	    (r = process_find_program(p, plan->program, err)) < 0)
		return r;
	if ((r = process_set_affinity(p->affinity_final, err)) < 0)
		return r;
	return p->no_new_privs ? load_filter(plan, err) : 0;
}

_Noreturn static void exec_main(struct exec_plan *plan)
{
	struct err err = ERR_INIT;

	if (become(plan, &err) >= 0) {
		sys_reset_signals();
		(void)sys_execve(plan->program, plan->process->args.items,
				 plan->process->env.items);
		(void)err_sys(&err, -errno, "process.args[0]: cannot run \"%s\"", plan->program);
	}
	sync_send_error(plan->sync[1], &err);
	_exit(1);
}

static int enter_all(struct exec_plan *plan, struct err *err)
{
	int r;

	/* From the moment it is in the container's pid namespace, processes there could trace it
	 * and take the host's descriptors. */
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return err_sys(err, -errno, "cannot become untraceable");
	if ((r = process_set_affinity(plan->process->affinity_initial, err)) < 0 ||
	    (r = cgroup_join_tasks(&plan->tasks, err)) < 0 ||
	    (r = cgroup_join_devices(&plan->tasks, err)) < 0 || (r = enter(plan, err)) < 0)
		return r;
	if (plan->spec.ns[NS_USER].wanted) {
		if (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0)
			return err_sys(err, -errno, "cannot become root of the user namespace");
		(void)syscall(SYS_setgroups, 0, NULL);
		(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	}
	return 0;
}

_Noreturn void exec_scout_main(struct exec_plan *plan)
{
	struct err err = ERR_INIT;
	pid_t pid;

	close_and_forget(&plan->sync[0]);
	if (enter_all(plan, &err) >= 0) {
		pid = sys_clone3(CLONE_PARENT, NULL, FD_NONE);
		if (pid == 0)
			exec_main(plan);
		if (pid > 0) {
			(void)sync_send(plan->sync[1], SYNC_PID, (int)pid, FD_NONE);
			_exit(0);
		}
		(void)err_sys(&err, pid, "cannot clone in the container");
	}
	sync_send_error(plan->sync[1], &err);
	_exit(1);
}
