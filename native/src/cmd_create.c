/* create and run. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include "cleanup.h"
#include "commands.h"
#include "container.h"
#include "fault.h"
#include "opts.h"
#include "relay.h"

struct run_opts {
	struct create_opts create;
	bool detach, keep, no_subreaper;
};

/* systemd's socket activation: the sockets stand from descriptor 3 on, before any others. */
static void take_listen_fds(struct create_opts *c)
{
	const char *text = getenv("LISTEN_FDS");
	long n = text ? strtol(text, NULL, 10) : 0;

	if (n > 0 && n < 1000) {
		c->listen_fds = (int)n;
		c->preserve_fds += (int)n;
	}
}

static int parse(const struct globals *g, struct run_opts *o, bool run, int argc, char **argv,
		 struct err *err)
{
	struct create_opts *c = &o->create;
	const char *usage = run ? "berth run [options] ID" : "berth create [options] ID";
	const struct opt table[] = {
		{ "bundle", 'b', OPT_STRING, &c->bundle, "DIR", "bundle folder (.)" },
		{ "config", 'f', OPT_STRING, &c->config, "FILE", "instead of BUNDLE/config.json" },
		{ "pid-file", 0, OPT_STRING, &c->pid_file, "FILE", "write the process id here" },
		{ "console-socket", 0, OPT_STRING, &c->console_socket, "SOCKET", "gets the pty" },
		{ "preserve-fds", 0, OPT_INT, &c->preserve_fds, "N", "keep 3..3+N-1 open" },
		{ "no-pivot", 0, OPT_FLAG, &c->no_pivot, NULL, "move the root instead" },
		{ "no-new-keyring", 0, OPT_FLAG, &c->no_new_keyring, NULL,
		  "keep the session keyring" },
		{ "no-subreaper", 0, OPT_FLAG, &o->no_subreaper, NULL, "do not reap orphans" },
		{ "keep", 0, OPT_FLAG, &o->keep, NULL, "do not delete it at the end (run)" },
		{ "detach", 'd', OPT_FLAG, &o->detach, NULL, "do not wait for it (run)" },
		{ 0 },
	};
	int index, r = opts_parse(table, usage, argc, argv, &index, err);

	if (r != 0)
		return r;
	if (argc - index != 1)
		return err_set(err, -EINVAL, "usage: %s", usage);
	if (c->preserve_fds < 0 || c->preserve_fds > 1000)
		return err_set(err, -EINVAL, "--preserve-fds: must be 0..1000");
	take_listen_fds(c);
	c->root = g->root;
	c->id = argv[index];
	c->cgroup_disabled = strcmp(g->cgroup_manager, "disabled") == 0;
	return 0;
}

int cmd_create(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err)
{
	struct run_opts o = { .create = CREATE_OPTS_INIT };
	_cleanup_container_ struct container c = CONTAINER_INIT;
	int r = parse(g, &o, false, argc, argv, err);

	(void)ret_status;
	return r != 0 ? (r < 0 ? r : 0) : container_create(&o.create, &c, err);
}

static int remove_again(struct container *c, int r, struct err *err)
{
	struct err ignored = ERR_INIT;

	(void)container_delete(c, true, r < 0 ? &ignored : err);
	return r;
}

int cmd_run(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err)
{
	struct run_opts o = { .create = CREATE_OPTS_INIT };
	_cleanup_container_ struct container c = CONTAINER_INIT;
	int r = parse(g, &o, true, argc, argv, err), code = 0;

	if (r != 0)
		return r < 0 ? r : 0;
	o.create.start_in_process = true;
	o.create.keep_terminal = !o.detach;
	if (!o.detach) {
		relay_block_signals();
		if (!o.no_subreaper)
			(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	}
	r = container_create(&o.create, &c, err);
	if (r < 0)
		return r;
	r = container_start(&c, err);
	if (r < 0)
		return remove_again(&c, r, err);
	if (o.detach)
		return 0;
	r = relay_wait(c.pid, c.pidfd, c.terminal_fd, &code, err);
	*ret_status = code;
	if (r < 0)
		return remove_again(&c, r, err);
	(void)fault_at("ended", err);
	r = o.keep ? 0 : container_delete(&c, true, err);
	(void)fault_at("deleted", err);
	return r;
}
