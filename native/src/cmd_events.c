/* events: one JSON line per interval, in the form that runc's callers read, with pressure. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cgroup.h"
#include "cleanup.h"
#include "commands.h"
#include "container.h"
#include "json_write.h"
#include "opts.h"
#include "sys.h"

/* "some avg10=0.00 avg60=0.00 avg300=0.00 total=0" */
static void add_pressure_line(struct jw *w, const char *text, const char *kind)
{
	static const char *const keys[] = { "avg10=", "avg60=", "avg300=", "total=" };
	const char *line = strstr(text, kind);

	if (!line)
		return;
	jw_object(w, kind);
	for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
		const char *at = strstr(line, keys[i]);
		char name[8];

		if (!at)
			continue;
		(void)snprintf(name, sizeof(name), "%.*s", (int)strlen(keys[i]) - 1, keys[i]);
		at += strlen(keys[i]);
		jw_raw(w, name, at, strspn(at, "0123456789."));
	}
	jw_object_end(w);
}

static void add_pressure(struct jw *w, int fd, const char *file)
{
	_cleanup_free_ char *text = NULL;

	if (fd < 0 || read_file_at(fd, file, 4096, &text, NULL) < 0)
		return;
	jw_object(w, "psi");
	add_pressure_line(w, text, "some");
	add_pressure_line(w, text, "full");
	jw_object_end(w);
}

static void add_io(struct jw *w, const char *key, uint64_t reads, uint64_t writes)
{
	jw_array(w, key);
	for (int i = 0; i < 2; i++) {
		jw_object(w, NULL);
		jw_string(w, "op", i ? "Write" : "Read");
		jw_u64(w, "value", i ? writes : reads);
		jw_object_end(w);
	}
	jw_array_end(w);
}

static int format_stats(const struct container *c, const struct container_usage *u, struct jw *w)
{
	int psi = cgroup_fd(c->cgroup, CG_UNIFIED);

	jw_object(w, NULL);
	jw_string(w, "type", "stats");
	jw_string(w, "id", c->id);
	jw_object(w, "data");
	jw_object(w, "cpu");
	jw_object(w, "usage");
	jw_u64(w, "total", u->cpu_us * 1000);
	jw_object_end(w);
	add_pressure(w, psi, "cpu.pressure");
	jw_object_end(w);
	jw_object(w, "memory");
	jw_object(w, "usage");
	jw_u64(w, "usage", u->memory_bytes);
	jw_u64(w, "max", u->memory_peak_bytes);
	jw_u64(w, "failcnt", u->oom_kills);
	jw_object_end(w);
	add_pressure(w, psi, "memory.pressure");
	jw_object_end(w);
	jw_object(w, "pids");
	jw_u64(w, "current", u->pids);
	jw_object_end(w);
	jw_object(w, "blkio");
	add_io(w, "ioServiceBytesRecursive", u->io_read_bytes, u->io_write_bytes);
	add_io(w, "ioServicedRecursive", u->io_read_ops, u->io_write_ops);
	add_pressure(w, psi, "io.pressure");
	jw_object_end(w);
	jw_object_end(w);
	jw_object_end(w);
	return 0;
}

static int print_stats(const struct container *c, uint64_t *last_oom, struct err *err)
{
	_cleanup_jw_ struct jw w = { 0 };
	struct container_usage u;
	const char *text;
	int r = container_stats(c, &u, err);

	if (r < 0)
		return r;
	if (u.oom_kills > *last_oom)
		printf("{\"type\":\"oom\",\"id\":\"%s\"}\n", c->id);
	*last_oom = u.oom_kills;
	if (format_stats(c, &u, &w) < 0 || jw_finish(&w, &text, NULL) < 0)
		return err_set(err, -ENOMEM, "no memory");
	puts(text);
	(void)fflush(stdout);
	return 0;
}

/* "5s", "500ms", "1m": what the flag of runc takes. */
static int parse_interval(const char *text, int *ret_ms, struct err *err)
{
	char *end;
	double n = strtod(text, &end);

	if (strcmp(end, "s") == 0)
		n *= 1000;
	else if (strcmp(end, "m") == 0)
		n *= 60000;
	else if (strcmp(end, "ms") != 0)
		n = -1;
	if (end == text || n < 1 || n > 86400000)
		return err_set(err, -EINVAL, "--interval: must be like 5s or 500ms, found \"%s\"",
			       text);
	*ret_ms = (int)n;
	return 0;
}

int cmd_events(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err)
{
	_cleanup_container_ struct container c = CONTAINER_INIT;
	const char *interval = "5s";
	bool stats = false;
	const struct opt table[] = {
		{ "stats", 0, OPT_FLAG, &stats, NULL, "print once and end" },
		{ "interval", 0, OPT_STRING, &interval, "TIME", "between two lines (5s)" },
		{ 0 },
	};
	struct pollfd p = { .events = POLLIN };
	enum container_status status;
	uint64_t last_oom = UINT64_MAX;
	int index, ms = 0,
		   r = opts_parse(table, "berth events [options] ID", argc, argv, &index, err);

	(void)ret_status;
	if (r != 0)
		return r < 0 ? r : 0;
	if (argc - index != 1)
		return err_set(err, -EINVAL, "usage: berth events [options] ID");
	if ((r = parse_interval(interval, &ms, err)) < 0 ||
	    (r = container_open(g->root, argv[index], &c, err)) < 0 ||
	    (r = container_state(&c, &status, err)) < 0)
		return r;
	if (status == CONTAINER_STOPPED || status == CONTAINER_CREATING)
		return err_set(err, -ESRCH, "container \"%s\" is not running", c.id);
	p.fd = c.pidfd;
	do
		r = print_stats(&c, &last_oom, err);
	while (r >= 0 && !stats && poll(&p, 1, ms) == 0);
	return r;
}
