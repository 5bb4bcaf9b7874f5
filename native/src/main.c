/* berth: global options, the table of commands, and the one place where errors are printed. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"
#include "commands.h"
#include "fault.h"
#include "json_write.h"
#include "opts.h"
#include "selfprotect.h"
#include "state.h"

static const struct {
	const char *name;
	command_fn run;
	bool enters_container; /* runs code of berth inside: its binary must be out of reach */
	bool long_lived;
	const char *help;
} commands[] = {
	{ "create", cmd_create, true, false, "create a container; its process waits for start" },
	{ "start", cmd_start, false, false, "start a created container" },
	{ "run", cmd_run, true, false, "create and start a container" },
	{ "state", cmd_state, false, false, "print a container's state" },
	{ "list", cmd_list, false, false, "list containers" },
	{ "ps", cmd_ps, false, false, "list the processes of a container" },
	{ "kill", cmd_kill, false, false, "send a signal to a container" },
	{ "delete", cmd_delete, false, false, "remove a stopped container" },
	{ "exec", cmd_exec, true, false, "run another process in a container" },
	{ "pause", cmd_pause, false, false, "freeze a container" },
	{ "resume", cmd_resume, false, false, "thaw a container" },
	{ "update", cmd_update, false, false, "change a container's limits" },
	{ "events", cmd_events, false, false,
	  "print a container's usage and out-of-memory events" },
	{ "features", cmd_features, false, false, "print what this build supports" },
	{ "spec", cmd_spec, false, false, "write a config.json to start from" },
	{ "monitor", cmd_monitor, true, true, "create, start and watch over a container" },
	{ "version", cmd_version, false, false, "print the version" },
};

static void log_line(const struct globals *g, const struct err *err)
{
	_cleanup_close_ int fd = FD_NONE;
	char when[40];

	if (!g->log || !*g->log)
		return;
	fd = open(g->log, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0)
		return;
	state_now(when, sizeof(when));
	if (g->log_json) {
		_cleanup_jw_ struct jw w = { 0 };
		const char *text;

		jw_object(&w, NULL);
		jw_string(&w, "level", "error");
		jw_string(&w, "msg", err->text);
		jw_string(&w, "time", when);
		jw_object_end(&w);
		if (jw_finish(&w, &text, NULL) == 0)
			(void)dprintf(fd, "%s\n", text);
	} else {
		(void)dprintf(fd, "time=\"%s\" level=error msg=\"%s\"\n", when, err->text);
	}
}

static void print_commands(void)
{
	puts("\ncommands:");
	for (size_t i = 0; i < ARRAY_LEN(commands); i++)
		printf("  %-10s %s\n", commands[i].name, commands[i].help);
	puts("\nberth COMMAND --help lists a command's options");
}

static int parse_globals(struct globals *g, int argc, char **argv, int *ret_index, bool *version,
			 struct err *err)
{
	static const char usage[] = "berth [options] COMMAND [options] [arguments]";
	const char *format = "text", *manager = "cgroupfs", *rootless = NULL, *ignored = NULL;
	const struct opt table[] = {
		{ "root", 0, OPT_STRING, &g->root, "DIR", "state folder (/run/berth)" },
		{ "log", 0, OPT_STRING, &g->log, "FILE", "write errors to a file, too" },
		{ "log-format", 0, OPT_STRING, &format, "FORMAT", "text or json" },
		{ "log-level", 0, OPT_STRING, &ignored, "LEVEL", "taken for crun's callers" },
		{ "debug", 0, OPT_FLAG, &g->debug, NULL, "log more" },
		{ "systemd-cgroup", 0, OPT_FLAG, &g->systemd_cgroup, NULL,
		  "refused: not built in" },
		{ "cgroup-manager", 0, OPT_STRING, &manager, "NAME", "cgroupfs or disabled" },
		{ "rootless", 0, OPT_STRING, &rootless, "VALUE", "true, false or auto" },
		{ "version", 'v', OPT_FLAG, version, NULL, "print the version" },
		{ 0 },
	};
	int r = opts_parse(table, usage, argc, argv, ret_index, err);

	if (r == 1)
		print_commands();
	if (r != 0)
		return r;
	g->cgroup_manager = manager;
	g->log_json = strcmp(format, "json") == 0;
	if (!g->log_json && strcmp(format, "text") != 0)
		return err_set(err, -EINVAL, "--log-format: must be text or json, found \"%s\"",
			       format);
	if (g->systemd_cgroup || strcmp(manager, "systemd") == 0)
		return err_set(err, -ENOTSUP,
			       "--systemd-cgroup: not built in; use --cgroup-manager cgroupfs");
	if (strcmp(manager, "cgroupfs") != 0 && strcmp(manager, "disabled") != 0)
		return err_set(err, -EINVAL, "--cgroup-manager: must be cgroupfs or disabled");
	return 0;
}

static int dispatch(const struct globals *g, int argc, char **argv, char **whole, int *ret_status,
		    struct err *err)
{
	for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
		if (strcmp(commands[i].name, argv[0]) != 0)
			continue;
		if (commands[i].enters_container) {
			int r = self_protect(whole, commands[i].long_lived, err);

			if (r < 0)
				return r;
		}
		return commands[i].run(g, argc, argv, ret_status, err);
	}
	return err_set(err, -EINVAL, "unknown command \"%s\" (--help lists them)", argv[0]);
}

/* Engines may start us without some of 0, 1, 2: a file opened later must not take their place. */
static void fill_stdio(void)
{
	for (int fd = 0; fd < 3; fd++)
		if (fcntl(fd, F_GETFD) < 0)
			(void)open("/dev/null", O_RDWR);
}

int main(int argc, char **argv)
{
	struct globals g = { .root = NULL };
	struct err err = ERR_INIT;
	bool version = false;
	int index = 0, status = 0, r;

	(void)fault_at("main", &err);
	fill_stdio();
	r = parse_globals(&g, argc, argv, &index, &version, &err);
	if (r == 1)
		return 0;
	if (r == 0 && version)
		r = cmd_version(&g, 0, NULL, &status, &err);
	else if (r == 0 && index >= argc)
		r = err_set(&err, -EINVAL, "a command is required (--help lists them)");
	else if (r == 0)
		r = dispatch(&g, argc - index, argv + index, argv, &status, &err);
	if (r < 0) {
		(void)fprintf(stderr, "berth: %s\n", err.text);
		log_line(&g, &err);
		return status ? status : 1;
	}
	return status;
}
