/* update: limits from a JSON file or from flags. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cleanup.h"
#include "commands.h"
#include "container.h"
#include "json_write.h"
#include "opts.h"
#include "sys.h"

enum { IO_KINDS = 4 };

struct update_flags {
	const char *resources;
	const char *memory, *reservation, *swap, *shares, *quota, *burst, *period, *idle, *pids;
	const char *rt_period, *rt_runtime, *weight, *cpus, *mems, *kernel, *kernel_tcp, *l3, *mb;
	struct opt_list io[IO_KINDS];
};

static int parse(struct update_flags *f, int argc, char **argv, const char **ret_id,
		 struct err *err)
{
	static const char usage[] = "berth update [options] ID";
	const struct opt table[] = {
		{ "resources", 'r', OPT_STRING, &f->resources, "FILE",
		  "linux.resources (- = stdin)" },
		{ "memory", 0, OPT_STRING, &f->memory, "BYTES", "memory limit, -1 = none" },
		{ "memory-reservation", 0, OPT_STRING, &f->reservation, "BYTES", "soft limit" },
		{ "memory-swap", 0, OPT_STRING, &f->swap, "BYTES", "memory and swap, -1 = none" },
		{ "cpu-share", 0, OPT_STRING, &f->shares, "N", "cpu weight (1024 = one)" },
		{ "cpu-shares", 0, OPT_STRING, &f->shares, "N", "the same" },
		{ "cpu-quota", 0, OPT_STRING, &f->quota, "US", "cpu time in a period" },
		{ "cpu-burst", 0, OPT_STRING, &f->burst, "US", "cpu time that may be saved up" },
		{ "cpu-period", 0, OPT_STRING, &f->period, "US", "length of a period" },
		{ "cpu-idle", 0, OPT_STRING, &f->idle, "0|1", "only when others are idle" },
		{ "cpu-rt-period", 0, OPT_STRING, &f->rt_period, "US", "realtime period" },
		{ "cpu-rt-runtime", 0, OPT_STRING, &f->rt_runtime, "US", "realtime time" },
		{ "cpuset-cpus", 0, OPT_STRING, &f->cpus, "LIST", "cpus, as 0-3,7" },
		{ "cpuset-mems", 0, OPT_STRING, &f->mems, "LIST", "memory nodes" },
		{ "pids-limit", 0, OPT_STRING, &f->pids, "N", "processes, -1 = no limit" },
		{ "blkio-weight", 0, OPT_STRING, &f->weight, "N", "10..1000" },
		{ "device-read-bps", 0, OPT_LIST, &f->io[0], "MAJ:MIN:N", "bytes read a second" },
		{ "device-write-bps", 0, OPT_LIST, &f->io[1], "MAJ:MIN:N",
		  "bytes written a second" },
		{ "device-read-iops", 0, OPT_LIST, &f->io[2], "MAJ:MIN:N", "reads a second" },
		{ "device-write-iops", 0, OPT_LIST, &f->io[3], "MAJ:MIN:N", "writes a second" },
		{ "kernel-memory", 0, OPT_STRING, &f->kernel, "BYTES",
		  "ignored by kernels since 5.11" },
		{ "kernel-memory-tcp", 0, OPT_STRING, &f->kernel_tcp, "BYTES", "cgroup v1 only" },
		{ "l3-cache-schema", 0, OPT_STRING, &f->l3, "S",
		  "refused: Intel RDT is not built in" },
		{ "mem-bw-schema", 0, OPT_STRING, &f->mb, "S",
		  "refused: Intel RDT is not built in" },
		{ 0 },
	};
	int index, r = opts_parse(table, usage, argc, argv, &index, err);

	if (r != 0)
		return r;
	if (argc - index != 1)
		return err_set(err, -EINVAL, "usage: %s", usage);
	if (f->l3 || f->mb)
		return err_set(err, -ENOTSUP, "--l3-cache-schema, --mem-bw-schema: not supported");
	*ret_id = argv[index];
	return 0;
}

static int add_number(struct jw *w, const char *key, const char *text, struct err *err)
{
	char *end;
	long long n;

	if (!text)
		return 0;
	errno = 0;
	n = strtoll(text, &end, 10);
	if (errno || end == text || *end)
		return err_set(err, -EINVAL, "%s: must be an integer, found \"%s\"", key, text);
	jw_i64(w, key, n);
	return 0;
}

/* "8:16:1048576" */
static bool split_rate(const char *text, uint64_t numbers[3])
{
	for (int i = 0; i < 3; i++) {
		char *end;

		errno = 0;
		numbers[i] = strtoull(text, &end, 10);
		if (errno || end == text || *text == '-' || *end != (i < 2 ? ':' : '\0'))
			return false;
		text = end + 1;
	}
	return true;
}

static int add_rates(struct jw *w, const char *key, const struct opt_list *list, struct err *err)
{
	if (!list->count)
		return 0;
	jw_array(w, key);
	for (size_t i = 0; i < list->count; i++) {
		uint64_t numbers[3];

		if (!split_rate(list->items[i], numbers))
			return err_set(err, -EINVAL, "%s: must be MAJOR:MINOR:RATE, found \"%s\"",
				       key, list->items[i]);
		jw_object(w, NULL);
		jw_u64(w, "major", numbers[0]);
		jw_u64(w, "minor", numbers[1]);
		jw_u64(w, "rate", numbers[2]);
		jw_object_end(w);
	}
	jw_array_end(w);
	return 0;
}

static int add_block_io(struct jw *w, const struct update_flags *f, struct err *err)
{
	static const char *const keys[IO_KINDS] = { "throttleReadBpsDevice",
						    "throttleWriteBpsDevice",
						    "throttleReadIOPSDevice",
						    "throttleWriteIOPSDevice" };
	int r;

	jw_object(w, "blockIO");
	r = add_number(w, "weight", f->weight, err);
	for (int k = 0; r >= 0 && k < IO_KINDS; k++)
		r = add_rates(w, keys[k], &f->io[k], err);
	jw_object_end(w);
	return r;
}

static int add_cpu(struct jw *w, const struct update_flags *f, struct err *err)
{
	jw_object(w, "cpu");
	if (add_number(w, "shares", f->shares, err) < 0 ||
	    add_number(w, "quota", f->quota, err) < 0 ||
	    add_number(w, "burst", f->burst, err) < 0 ||
	    add_number(w, "period", f->period, err) < 0 ||
	    add_number(w, "idle", f->idle, err) < 0 ||
	    add_number(w, "realtimePeriod", f->rt_period, err) < 0 ||
	    add_number(w, "realtimeRuntime", f->rt_runtime, err) < 0)
		return err->code;
	if (f->cpus)
		jw_string(w, "cpus", f->cpus);
	if (f->mems)
		jw_string(w, "mems", f->mems);
	jw_object_end(w);
	return 0;
}

static int from_flags(struct jw *w, const struct update_flags *f, struct err *err)
{
	int r;

	jw_object(w, NULL);
	jw_object(w, "memory");
	if (add_number(w, "limit", f->memory, err) < 0 ||
	    add_number(w, "reservation", f->reservation, err) < 0 ||
	    add_number(w, "swap", f->swap, err) < 0 ||
	    add_number(w, "kernelTCP", f->kernel_tcp, err) < 0)
		return err->code;
	jw_object_end(w);
	if ((r = add_cpu(w, f, err)) < 0 || (r = add_block_io(w, f, err)) < 0)
		return r;
	jw_object(w, "pids");
	if ((r = add_number(w, "limit", f->pids, err)) < 0)
		return r;
	jw_object_end(w);
	jw_object_end(w);
	return 0;
}

static int apply_flags(const struct container *c, const struct update_flags *f, struct err *err)
{
	_cleanup_jw_ struct jw w = { 0 };
	const char *text;
	size_t len;
	int r = from_flags(&w, f, err);

	if (r >= 0 && (r = jw_finish(&w, &text, &len)) < 0)
		return err_set(err, r, "no memory");
	return r < 0 ? r : container_update(c, text, len, err);
}

static int apply_file(const struct container *c, const char *path, struct err *err)
{
	_cleanup_free_ char *text = NULL;
	size_t len;
	int r = read_file_at(AT_FDCWD, strcmp(path, "-") == 0 ? "/proc/self/fd/0" : path, 8 << 20,
			     &text, &len);

	return r < 0 ? err_sys(err, r, "--resources: cannot read %s", path)
		     : container_update(c, text, len, err);
}

int cmd_update(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err)
{
	_cleanup_container_ struct container c = CONTAINER_INIT;
	struct update_flags f = { 0 };
	const char *id = NULL;
	int r = parse(&f, argc, argv, &id, err);

	(void)ret_status;
	if (r != 0)
		return r < 0 ? r : 0;
	if ((r = container_open(g->root, id, &c, err)) < 0)
		return r;
	return f.resources ? apply_file(&c, f.resources, err) : apply_flags(&c, &f, err);
}
