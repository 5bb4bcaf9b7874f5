/* What the container's cgroups counted. */
#include <stdlib.h>
#include <string.h>

#include "cgroup.h"
#include "cleanup.h"
#include "container.h"
#include "sys.h"

static uint64_t read_number(int dir, const char *file)
{
	_cleanup_free_ char *text = NULL;

	if (dir < 0 || read_file_at(dir, file, 4096, &text, NULL) < 0)
		return 0;
	return strtoull(text, NULL, 10);
}

/* "key value" lines, as in memory.events and cpu.stat. */
static uint64_t read_key(int dir, const char *file, const char *key)
{
	_cleanup_free_ char *text = NULL;
	size_t n = strlen(key);

	if (dir < 0 || read_file_at(dir, file, 1 << 16, &text, NULL) < 0)
		return 0;
	for (char *line = text; line && *line;) {
		char *end = strchr(line, '\n');

		if (strncmp(line, key, n) == 0 && line[n] == ' ')
			return strtoull(line + n + 1, NULL, 10);
		line = end ? end + 1 : NULL;
	}
	return 0;
}

/* v1: "8:0 Read 4096" per device and direction. */
static void add_v1_io(int dir, const char *file, uint64_t *reads, uint64_t *writes)
{
	_cleanup_free_ char *text = NULL;
	char *save = NULL;

	if (dir < 0 || read_file_at(dir, file, 1 << 20, &text, NULL) < 0)
		return;
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		char *word = strchr(line, ' ');

		if (word && strncmp(word, " Read ", 6) == 0)
			*reads += strtoull(word + 6, NULL, 10);
		else if (word && strncmp(word, " Write ", 7) == 0)
			*writes += strtoull(word + 7, NULL, 10);
	}
}

/* v2: "8:0 rbytes=1 wbytes=2 rios=3 wios=4 …" per device. */
static void add_v2_io(int dir, struct container_usage *u)
{
	_cleanup_free_ char *text = NULL;
	char *save = NULL;

	if (read_file_at(dir, "io.stat", 1 << 20, &text, NULL) < 0)
		return;
	for (char *word = strtok_r(text, " \n", &save); word; word = strtok_r(NULL, " \n", &save)) {
		if (strncmp(word, "rbytes=", 7) == 0)
			u->io_read_bytes += strtoull(word + 7, NULL, 10);
		else if (strncmp(word, "wbytes=", 7) == 0)
			u->io_write_bytes += strtoull(word + 7, NULL, 10);
		else if (strncmp(word, "rios=", 5) == 0)
			u->io_read_ops += strtoull(word + 5, NULL, 10);
		else if (strncmp(word, "wios=", 5) == 0)
			u->io_write_ops += strtoull(word + 5, NULL, 10);
	}
}

static void read_v1(const struct cgroup *cg, struct container_usage *u)
{
	int memory = cgroup_fd(cg, CG_MEMORY), blkio = cgroup_fd(cg, CG_BLKIO);

	u->cpu_us = read_number(cgroup_fd(cg, CG_CPUACCT), "cpuacct.usage") / 1000;
	u->memory_bytes = read_number(memory, "memory.usage_in_bytes");
	u->memory_peak_bytes = read_number(memory, "memory.max_usage_in_bytes");
	u->oom_kills = read_key(memory, "memory.oom_control", "oom_kill");
	u->pids = read_number(cgroup_fd(cg, CG_PIDS), "pids.current");
	add_v1_io(blkio, "blkio.throttle.io_service_bytes_recursive", &u->io_read_bytes,
		  &u->io_write_bytes);
	add_v1_io(blkio, "blkio.throttle.io_serviced_recursive", &u->io_read_ops, &u->io_write_ops);
}

static void read_v2(const struct cgroup *cg, struct container_usage *u)
{
	int fd = cgroup_fd(cg, CG_UNIFIED);

	u->cpu_us = read_key(fd, "cpu.stat", "usage_usec");
	u->memory_bytes = read_number(fd, "memory.current");
	u->memory_peak_bytes = read_number(fd, "memory.peak");
	u->oom_kills = read_key(fd, "memory.events", "oom_kill");
	u->pids = read_number(fd, "pids.current");
	add_v2_io(fd, u);
}

int container_stats(const struct container *c, struct container_usage *ret, struct err *err)
{
	struct container_usage u = { 0 };

	if (!c->cgroup)
		return err_set(err, -ENOTSUP, "container \"%s\" has no cgroup", c->id);
	if (c->cgroup->pure_v2)
		read_v2(c->cgroup, &u);
	else
		read_v1(c->cgroup, &u);
	if (u.memory_peak_bytes < u.memory_bytes)
		u.memory_peak_bytes = u.memory_bytes;
	*ret = u;
	return 0;
}
