#include <string.h>

#include "cgroup.h"
#include "opts.h"
#include "spec.h"
#include "sys.h"
#include "unit.h"

static const char *planned(const struct cg_plan *p, const char *file)
{
	for (size_t i = 0; i < p->count; i++)
		if (strcmp(p->items[i].file, file) == 0)
			return p->items[i].value;
	return NULL;
}

static bool is(const char *value, const char *want)
{
	return value ? want && strcmp(value, want) == 0 : !want;
}

static int plan(struct arena *a, const char *text, bool v2, struct cg_plan *p, struct err *err)
{
	struct resources r;
	struct json *doc;

	*p = (struct cg_plan){ .arena = a };
	if (json_parse(a, text, strlen(text), &doc, err) < 0 ||
	    resources_parse(a, doc, &r, err) < 0)
		return -EINVAL;
	return v2 ? cg_plan_v2(&r, p, err) : cg_plan_v1(&r, p, err);
}

static const char full[] = "{\"memory\":{\"limit\":1000,\"swap\":3000,\"reservation\":500},"
			   "\"cpu\":{\"shares\":1024,\"quota\":-1,\"period\":50000,\"cpus\":\"0-"
			   "1\"},\"pids\":{\"limit\":-"
			   "1},"
			   "\"blockIO\":{\"weight\":500,\"throttleReadBpsDevice\":[{\"major\":8,"
			   "\"minor\":1,\"rate\":99}],"
			   "\"throttleWriteIOPSDevice\":[{\"major\":8,\"minor\":1,\"rate\":0}]},"
			   "\"hugepageLimits\":[{\"pageSize\":\"2MB\",\"limit\":4096}]}";

static void v1_plans_the_files_of_the_controllers(struct unit *u)
{
	struct arena a = { 0 };
	struct err err = ERR_INIT;
	struct cg_plan p;

	CHECK(u, plan(&a, full, false, &p, &err) == 0 && !p.failed);
	CHECK(u, is(planned(&p, "memory.limit_in_bytes"), "1000"));
	CHECK(u, is(planned(&p, "memory.memsw.limit_in_bytes"), "3000"));
	CHECK(u, is(planned(&p, "cpu.cfs_quota_us"), "-1"));
	CHECK(u, is(planned(&p, "cpuset.cpus"), "0-1"));
	CHECK(u, is(planned(&p, "pids.max"), "max"));
	CHECK(u, is(planned(&p, "blkio.throttle.read_bps_device"), "8:1 99"));
	CHECK(u, is(planned(&p, "hugetlb.2MB.limit_in_bytes"), "4096"));
	CHECK(u, is(planned(&p, "memory.swappiness"), NULL));
	arena_release(&a);
}

static void v2_converts_what_v1_counts_otherwise(struct unit *u)
{
	struct arena a = { 0 };
	struct err err = ERR_INIT;
	struct cg_plan p;

	CHECK(u, plan(&a, full, true, &p, &err) == 0 && !p.failed);
	CHECK(u, is(planned(&p, "memory.max"), "1000"));
	CHECK(u, is(planned(&p, "memory.swap.max"), "2000"));
	CHECK(u, is(planned(&p, "memory.low"), "500"));
	CHECK(u, is(planned(&p, "cpu.weight"), "39"));
	CHECK(u, is(planned(&p, "cpu.max"), "max 50000"));
	CHECK(u, is(planned(&p, "io.max"), "8:1 rbps=99"));
	CHECK(u, is(planned(&p, "io.bfq.weight"), "500"));
	CHECK(u, plan(&a, "{\"memory\":{\"swap\":5}}", true, &p, &err) == -EINVAL);
	CHECK(u, plan(&a, "{\"network\":{\"classID\":5}}", true, &p, &err) == -ENOTSUP);
	CHECK(u, plan(&a, "{\"memory\":{\"limit\":-1}}", true, &p, &err) == 0 &&
			 is(planned(&p, "memory.max"), "max"));
	arena_release(&a);
}

static void impossible_limits_are_refused(struct unit *u)
{
	static const char *const wrong[] = {
		"{\"memory\":{\"limit\":10,\"swap\":5}}",
		"{\"memory\":{\"swappiness\":500}}",
		"{\"blockIO\":{\"weight\":5}}",
		"{\"memory\":{\"limit\":\"x\"}}",
		"{\"memory\":5}",
		"{\"devices\":[{\"type\":\"q\"}]}",
		"{\"devices\":[{\"access\":\"x\"}]}",
		"{\"unified\":{\"../x.y\":\"1\"}}",
		"{\"unified\":{\"a\":\"1\"}}",
		"{\"hugepageLimits\":[{\"pageSize\":\"../2MB\",\"limit\":1}]}",
		"{\"pids\":{\"limit\":1.5}}",
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct arena a = { 0 };
		struct err err = ERR_INIT;
		struct cg_plan p;

		CHECK(u, plan(&a, wrong[i], false, &p, &err) == -EINVAL && err.text[0]);
		arena_release(&a);
	}
}

void test_cgroup_plans(struct unit *u)
{
	unit_run(u, "cgroup: v1 plans the files of the controllers",
		 v1_plans_the_files_of_the_controllers);
	unit_run(u, "cgroup: v2 converts what v1 counts otherwise",
		 v2_converts_what_v1_counts_otherwise);
	unit_run(u, "cgroup: impossible limits are refused", impossible_limits_are_refused);
}

static int parse_spec(struct arena *a, const char *more, struct spec *s, struct err *err)
{
	char text[2048];
	int n = snprintf(
		text, sizeof(text),
		"{\"ociVersion\":\"1.2.0\",\"root\":{\"path\":\"r\"},\"linux\":{\"namespaces\":"
		"[{\"type\":\"mount\"}]}%s}",
		more);

	return spec_parse(a, text, (size_t)n, s, err);
}

static void mount_options_become_attributes(struct unit *u)
{
	struct arena a = { 0 };
	struct err err = ERR_INIT;
	struct spec s;
	const struct spec_mount *m;

	CHECK(u,
	      parse_spec(
		      &a,
		      ",\"mounts\":[{\"destination\":\"/a\",\"type\":\"tmpfs\",\"options\":[\"ro\","
		      "\"nosuid\",\"noatime\",\"size=5\",\"rslave\",\"suid\",\"rnoexec\","
		      "\"defaults\"]}]",
		      &s, &err) == 0);
	m = &s.mounts[0];
	CHECK(u, m->attr_set == (MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOATIME));
	CHECK(u, m->attr_clear & MOUNT_ATTR_NOSUID && m->attr_rec_set == MOUNT_ATTR_NOEXEC);
	CHECK(u, m->data.count == 1 && strcmp(m->data.items[0], "size=5") == 0);
	CHECK(u, m->propagation_recursive && !m->bind);
	arena_release(&a);
}

static void rules_over_several_fields_are_checked(struct unit *u)
{
	static const char *const wrong[] = {
		",\"hostname\":\"x\"",
		",\"mounts\":[{\"destination\":\"/a\",\"options\":[\"rbind\"]}]",
		",\"annotations\":{\"dev.gantry.rootfs.lower\":\"relative\"}",
		",\"annotations\":{\"dev.gantry.seccomp\":\"other\"}",
		",\"process\":{\"args\":[\"x\"],\"cwd\":\"x\"}",
		",\"process\":{\"args\":[],\"cwd\":\"/\"}",
		",\"process\":{\"args\":[\"x\"],\"user\":{\"uid\":4294967295}}",
		",\"hooks\":{\"prestart\":[{\"path\":\"relative\"}]}",
	};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct arena a = { 0 };
		struct err err = ERR_INIT;
		struct spec s;

		if (parse_spec(&a, wrong[i], &s, &err) != -EINVAL)
			printf("accepted: %s\n", wrong[i]);
		CHECK(u, err.code == -EINVAL);
		arena_release(&a);
	}
}

void test_spec(struct unit *u)
{
	unit_run(u, "spec: mount options become attributes", mount_options_become_attributes);
	unit_run(u, "spec: rules over several fields are checked",
		 rules_over_several_fields_are_checked);
}

static void options_are_taken_in_every_spelling(struct unit *u)
{
	bool tty = false, detach = false;
	const char *name = NULL;
	int number = 0, index = 0;
	struct opt_list list = { 0 };
	const struct opt table[] = { { "tty", 't', OPT_FLAG, &tty, NULL, "" },
				     { "detach", 'd', OPT_FLAG, &detach, NULL, "" },
				     { "name", 'n', OPT_STRING, &name, "N", "" },
				     { "number", 0, OPT_INT, &number, "N", "" },
				     { "env", 'e', OPT_LIST, &list, "E", "" },
				     { 0 } };
	char *argv[] = { (char[]){ "c" },	(char[]){ "-td" }, (char[]){ "--name=x=y" },
			 (char[]){ "-number" }, (char[]){ "5" },   (char[]){ "-eA" },
			 (char[]){ "-e" },	(char[]){ "B" },   (char[]){ "--" },
			 (char[]){ "-rest" } };
	char *unknown[] = { (char[]){ "c" }, (char[]){ "--nonsense" } };
	char *missing[] = { (char[]){ "c" }, (char[]){ "--name" } };
	struct err err = ERR_INIT;

	CHECK(u, opts_parse(table, "", 10, argv, &index, &err) == 0 && index == 9);
	CHECK(u, tty && detach && strcmp(name, "x=y") == 0 && number == 5 && list.count == 2);
	CHECK(u, opts_parse(table, "", 2, unknown, &index, &err) == -EINVAL &&
			 strstr(err.text, "nonsense"));
	CHECK(u, opts_parse(table, "", 2, missing, &index, &err) == -EINVAL);
}

void test_opts(struct unit *u)
{
	unit_run(u, "opts: options are taken in every spelling",
		 options_are_taken_in_every_spelling);
}
