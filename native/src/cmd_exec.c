#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>

#include "cleanup.h"
#include "commands.h"
#include "container.h"
#include "exec.h"
#include "names.h"
#include "opts.h"
#include "relay.h"
#include "sys.h"

struct exec_flags {
	struct exec_opts opts;
	const char *process, *cwd, *user, *pid_file, *apparmor, *selinux;
	bool tty, detach, no_new_privs;
	struct opt_list env, caps, gids;
};

static int parse(struct exec_flags *f, int argc, char **argv, int *ret_index, struct err *err)
{
	static const char usage[] = "berth exec [options] ID [COMMAND [arguments]]";
	struct exec_opts *o = &f->opts;
	const struct opt table[] = {
		{ "process", 'p', OPT_STRING, &f->process, "FILE", "OCI process object" },
		{ "tty", 't', OPT_FLAG, &f->tty, NULL, "with a terminal" },
		{ "detach", 'd', OPT_FLAG, &f->detach, NULL, "do not wait for its end" },
		{ "env", 'e', OPT_LIST, &f->env, "K=V", "add to the environment" },
		{ "user", 'u', OPT_STRING, &f->user, "UID[:GID]", "run as" },
		{ "additional-gids", 'g', OPT_LIST, &f->gids, "GID", "more groups" },
		{ "cap", 'c', OPT_LIST, &f->caps, "CAP", "add a capability" },
		{ "cwd", 0, OPT_STRING, &f->cwd, "DIR", "working directory" },
		{ "cgroup", 0, OPT_STRING, &o->cgroup, "PATH", "group below the container's" },
		{ "no-new-privs", 0, OPT_FLAG, &f->no_new_privs, NULL, "set no_new_privs" },
		{ "apparmor", 0, OPT_STRING, &f->apparmor, "PROFILE", "AppArmor profile" },
		{ "process-label", 0, OPT_STRING, &f->selinux, "LABEL", "SELinux label" },
		{ "pid-file", 0, OPT_STRING, &f->pid_file, "FILE", "write the process id here" },
		{ "console-socket", 0, OPT_STRING, &o->console_socket, "SOCKET", "gets the pty" },
		{ "preserve-fds", 0, OPT_INT, &o->preserve_fds, "N", "keep 3..3+N-1 open" },
		{ "ignore-paused", 0, OPT_FLAG, &o->ignore_paused, NULL, "also when paused" },
		{ 0 },
	};
	int r = opts_parse(table, usage, argc, argv, ret_index, err);

	if (r == 0 && *ret_index >= argc)
		return err_set(err, -EINVAL, "usage: %s", usage);
	if (r == 0 && (o->preserve_fds < 0 || o->preserve_fds > 1000))
		return err_set(err, -EINVAL, "--preserve-fds: must be 0..1000");
	return r;
}

static int parse_id(const char *text, char stop, uint32_t *ret, const char **ret_rest,
		    struct err *err)
{
	char *end;
	unsigned long long n;

	errno = 0;
	n = strtoull(text, &end, 10);
	if (errno || end == text || *text == '-' || *text == '+' || *text == ' ' ||
	    n >= UINT32_MAX || (*end && *end != stop))
		return err_set(err, -EINVAL, "--user: must be UID[:GID] in numbers, found \"%s\"",
			       text);
	*ret = (uint32_t)n;
	*ret_rest = *end ? end + 1 : NULL;
	return 0;
}

static int set_user(struct spec_process *p, const struct exec_flags *f, struct arena *a,
		    struct err *err)
{
	const char *rest = NULL, *ignored;
	int r = 0;

	if (f->user)
		r = parse_id(f->user, ':', &p->uid, &rest, err);
	if (r >= 0 && f->user)
		p->gid = 0;
	if (r >= 0 && rest)
		r = parse_id(rest, '\0', &p->gid, &ignored, err);
	if (r < 0 || !f->gids.count)
		return r;
	p->gids = arena_alloc(a, f->gids.count * sizeof(gid_t));
	p->gid_count = 0;
	for (size_t i = 0; p->gids && i < f->gids.count; i++) {
		uint32_t gid = 0;

		if ((r = parse_id(f->gids.items[i], '\0', &gid, &ignored, err)) < 0)
			return r;
		p->gids[p->gid_count++] = gid;
	}
	return p->gids ? 0 : err_set(err, -ENOMEM, "no memory");
}

static int add_caps(struct spec_process *p, const struct opt_list *caps, struct err *err)
{
	static const enum cap_set sets[] = { CAP_BOUNDING, CAP_EFFECTIVE, CAP_PERMITTED };

	for (size_t i = 0; i < caps->count; i++) {
		const struct name_value *n = name_find(capability_names, caps->items[i]);

		if (!n)
			return err_set(err, -EINVAL, "--cap: unknown \"%s\"", caps->items[i]);
		p->has_caps = true;
		for (size_t s = 0; s < ARRAY_LEN(sets); s++)
			p->caps[sets[s]] |= UINT64_C(1) << n->value;
	}
	return 0;
}

static int apply_flags(struct exec_plan *plan, const struct exec_flags *f, int argc, char **argv,
		       struct err *err)
{
	struct spec_process *p = plan->process;
	const char **env =
		arena_alloc(&plan->arena, (p->env.count + f->env.count + 1) * sizeof(*env));
	int r;

	if (!env)
		return err_set(err, -ENOMEM, "no memory");
	memcpy(env, p->env.items, p->env.count * sizeof(*env));
	memcpy(env + p->env.count, f->env.items, f->env.count * sizeof(*env));
	p->env.items = env;
	p->env.count += f->env.count;
	p->terminal = f->tty;
	p->no_new_privs |= f->no_new_privs;
	if (f->cwd)
		p->cwd = f->cwd;
	if (f->apparmor)
		p->apparmor = f->apparmor;
	if (f->selinux)
		p->selinux = f->selinux;
	if (p->cwd[0] != '/')
		return err_set(err, -EINVAL, "--cwd: must be absolute");
	if ((r = set_user(p, f, &plan->arena, err)) < 0 || (r = add_caps(p, &f->caps, err)) < 0)
		return r;
	if (argc > 0) {
		p->args.items = arena_alloc(&plan->arena, ((size_t)argc + 1) * sizeof(char *));
		if (!p->args.items)
			return err_set(err, -ENOMEM, "no memory");
		for (int i = 0; i < argc; i++)
			p->args.items[i] = argv[i];
		p->args.count = (size_t)argc;
	}
	return argc > 0 ? 0 : err_set(err, -EINVAL, "exec: a command or --process is required");
}

static int load_process(struct exec_plan *plan, const struct exec_flags *f, int argc, char **argv,
			struct err *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r;

	if (!f->process)
		return apply_flags(plan, f, argc, argv, err);
	r = read_file_at(AT_FDCWD, f->process, 8 << 20, &text, &len);
	if (r < 0)
		return err_sys(err, r, "--process: cannot read %s", f->process);
	if ((r = exec_plan_parse(plan, text, len, err)) < 0)
		return r;
	plan->process->terminal |= f->tty;
	return 0;
}

static int write_pid(const char *path, pid_t pid, struct err *err)
{
	_cleanup_close_ int fd = FD_NONE;
	char text[16];
	int r;

	if (!path)
		return 0;
	(void)snprintf(text, sizeof(text), "%d", (int)pid);
	fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	r = fd < 0 ? -errno : write_fd(fd, text);
	return r < 0 ? err_sys(err, r, "--pid-file: cannot write %s", path) : 0;
}

static int run(struct exec_plan *plan, const struct exec_flags *f, int *ret_status, struct err *err)
{
	struct exec_result e = { .pidfd = FD_NONE, .terminal_fd = FD_NONE };
	int code = 0, r;

	if (plan->process->terminal && f->detach && !f->opts.console_socket)
		return err_set(err, -EINVAL, "exec --detach --tty: needs --console-socket");
	if (!f->detach) {
		relay_block_signals();
		(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	}
	r = exec_plan_run(plan, &e, err);
	if (r < 0) {
		/* The codes that shells and engines know: not found, not runnable. */
		*ret_status = r == -ENOENT ? 127 : r == -EACCES ? 126 : 255;
		return r;
	}
	r = write_pid(f->pid_file, e.pid, err);
	if (r >= 0 && !f->detach) {
		r = relay_wait(e.pid, e.pidfd, e.terminal_fd, &code, err);
		*ret_status = code;
	}
	cleanup_close(&e.pidfd);
	cleanup_close(&e.terminal_fd);
	return r;
}

int cmd_exec(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err)
{
	struct exec_flags f = { .opts = EXEC_OPTS_INIT };
	_cleanup_container_ struct container c = CONTAINER_INIT;
	struct exec_plan plan;
	int index, r = parse(&f, argc, argv, &index, err);

	if (r != 0)
		return r < 0 ? r : 0;
	f.opts.cgroup_disabled = strcmp(g->cgroup_manager, "disabled") == 0;
	*ret_status = 255;
	if ((r = container_open(g->root, argv[index], &c, err)) < 0)
		return r;
	r = exec_plan_load(&plan, &c, &f.opts, err);
	if (r >= 0)
		r = load_process(&plan, &f, argc - index - 1, argv + index + 1, err);
	if (r >= 0) {
		*ret_status = 0;
		r = run(&plan, &f, ret_status, err);
	}
	exec_plan_release(&plan);
	return r;
}
