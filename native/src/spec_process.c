/* config.json's `process`, which `exec --process` takes too. */
#include <string.h>

#include "names.h"
#include "spec.h"

static int parse_user(struct arena *a, const struct json *doc, struct spec_process *p,
		      struct err *err)
{
	const struct json *user = NULL, *gids = NULL;
	int r = json_get_object(doc, "user", &user, err);

	if (r <= 0)
		return r;
	if (json_get_u32(user, "uid", &p->uid, err) < 0 ||
	    json_get_u32(user, "gid", &p->gid, err) < 0 ||
	    json_get_array(user, "additionalGids", &gids, err) < 0)
		return err->code;
	r = json_get_u32(user, "umask", &p->umask, err);
	if (r < 0)
		return r;
	p->has_umask = r == 1;
	/* -1 means "leave it as it is" to setresuid: such a process would stay root. */
	if (p->uid == UINT32_MAX || p->gid == UINT32_MAX)
		return err_set(err, -EINVAL, "uid and gid: must be below 4294967295");
	if (p->has_umask && p->umask > 0777)
		return err_set(err, -EINVAL, "umask: must be at most 0777");
	p->gids = arena_alloc(a, ((gids ? gids->count : 0) + 1) * sizeof(gid_t));
	if (!p->gids || (gids && gids->count > 65536))
		return err_set(err, -E2BIG, "additionalGids: too many");
	json_each(v, gids)
	{
		uint64_t n;

		if (json_u64(v, &n) < 0 || n >= UINT32_MAX)
			return err_set(err, -EINVAL, "additionalGids[%zu]: must be a group id",
				       p->gid_count);
		p->gids[p->gid_count++] = (gid_t)n;
	}
	return 0;
}

/* Names that this kernel or this runtime does not know are ignored, as the spec demands. */
static int parse_cap_set(const struct json *caps, const char *key, uint64_t *ret, struct err *err)
{
	const struct json *list = NULL;
	int r = json_get_array(caps, key, &list, err);

	if (r < 0)
		return r;
	json_each(v, list)
	{
		const struct name_value *c;

		if (v->type != JSON_STRING)
			return err_set(err, -EINVAL, "%s: must hold strings", key);
		c = name_find(capability_names, v->string);
		if (c)
			*ret |= UINT64_C(1) << c->value;
	}
	return 0;
}

static int parse_caps(const struct json *doc, struct spec_process *p, struct err *err)
{
	static const char *const names[CAP_SETS] = { "bounding", "effective", "inheritable",
						     "permitted", "ambient" };
	const struct json *caps = NULL;
	int r = json_get_object(doc, "capabilities", &caps, err);

	p->has_caps = r == 1;
	for (int s = 0; r > 0 && s < CAP_SETS; s++)
		if (parse_cap_set(caps, names[s], &p->caps[s], err) < 0)
			return err_prefix(err, "capabilities");
	return r < 0 ? r : 0;
}

static int parse_rlimits(struct arena *a, const struct json *doc, struct spec_process *p,
			 struct err *err)
{
	const struct json *list = NULL;
	int r = json_get_array(doc, "rlimits", &list, err);

	if (r <= 0)
		return r;
	p->rlimits = arena_alloc(a, (list->count + 1) * sizeof(*p->rlimits));
	if (!p->rlimits)
		return err_set(err, -ENOMEM, "rlimits: too many");
	json_each(v, list)
	{
		struct spec_rlimit *l = &p->rlimits[p->rlimit_count];
		uint64_t soft = 0, hard = 0;
		const struct name_value *n;

		if (json_get_string(v, "type", &l->name, err) < 0 ||
		    json_get_u64(v, "soft", &soft, err) < 0 ||
		    json_get_u64(v, "hard", &hard, err) < 0)
			return err_prefix(err, "rlimits[%zu]", p->rlimit_count);
		n = l->name ? name_find(rlimit_names, l->name) : NULL;
		if (!n)
			return err_set(err, -EINVAL, "rlimits[%zu].type: unknown \"%s\"",
				       p->rlimit_count, l->name ? l->name : "");
		for (size_t i = 0; i < p->rlimit_count; i++)
			if (strcmp(p->rlimits[i].name, l->name) == 0)
				return err_set(err, -EINVAL, "rlimits: %s given twice", l->name);
		if (soft > hard)
			return err_set(err, -EINVAL, "rlimits: %s: soft is above hard", l->name);
		l->resource = (int)n->value;
		l->value.rlim_cur = (rlim_t)soft;
		l->value.rlim_max = (rlim_t)hard;
		p->rlimit_count++;
	}
	return 0;
}

static int parse_ioprio(const struct json *doc, struct spec_process *p, struct err *err)
{
	const struct json *io = NULL;
	const struct name_value *class;
	const char *name = NULL;
	int64_t priority = 0;
	int r = json_get_object(doc, "ioPriority", &io, err);

	if (r <= 0)
		return r;
	if (json_get_string(io, "class", &name, err) < 0 ||
	    json_get_i64(io, "priority", &priority, err) < 0)
		return err_prefix(err, "ioPriority");
	class = name ? name_find(ioprio_names, name) : NULL;
	if (!class)
		return err_set(err, -EINVAL, "ioPriority.class: unknown \"%s\"", name ? name : "");
	if (priority < 0 || priority > 7)
		return err_set(err, -EINVAL, "ioPriority.priority: must be 0..7");
	p->has_ioprio = true;
	p->ioprio = (int)(class->value << 13 | (uint64_t)priority);
	return 0;
}

static int parse_scheduler(const struct json *doc, struct spec_process *p, struct err *err)
{
	struct spec_scheduler *s = &p->scheduler;
	const struct json *obj = NULL, *flags = NULL;
	const struct name_value *n;
	const char *policy = NULL;
	int64_t nice = 0, priority = 0;
	int r = json_get_object(doc, "scheduler", &obj, err);

	if (r <= 0)
		return r;
	if (json_get_string(obj, "policy", &policy, err) < 0 ||
	    json_get_i64(obj, "nice", &nice, err) < 0 ||
	    json_get_i64(obj, "priority", &priority, err) < 0 ||
	    json_get_array(obj, "flags", &flags, err) < 0 ||
	    json_get_u64(obj, "runtime", &s->runtime, err) < 0 ||
	    json_get_u64(obj, "deadline", &s->deadline, err) < 0 ||
	    json_get_u64(obj, "period", &s->period, err) < 0)
		return err_prefix(err, "scheduler");
	n = policy ? name_find(sched_policy_names, policy) : NULL;
	if (!n)
		return err_set(err, -EINVAL, "scheduler.policy: unknown \"%s\"",
			       policy ? policy : "");
	if (nice < -20 || nice > 19 || priority < 0 || priority > 99)
		return err_set(err, -EINVAL, "scheduler: nice must be -20..19, priority 0..99");
	s->policy = (uint32_t)n->value;
	json_each(v, flags)
	{
		n = v->type == JSON_STRING ? name_find(sched_flag_names, v->string) : NULL;
		if (!n)
			return err_set(err, -EINVAL, "scheduler.flags: unknown flag");
		s->flags |= n->value;
	}
	s->nice = (int32_t)nice;
	s->priority = (uint32_t)priority;
	s->set = true;
	return 0;
}

static int parse_small(const struct json *doc, struct spec_process *p, struct err *err)
{
	const struct json *size = NULL, *affinity = NULL;
	int64_t score = 0;
	uint32_t rows = 0, cols = 0;
	int r;

	if (json_get_bool(doc, "terminal", &p->terminal, err) < 0 ||
	    json_get_bool(doc, "noNewPrivileges", &p->no_new_privs, err) < 0 ||
	    json_get_string(doc, "apparmorProfile", &p->apparmor, err) < 0 ||
	    json_get_string(doc, "selinuxLabel", &p->selinux, err) < 0 ||
	    json_get_object(doc, "consoleSize", &size, err) < 0 ||
	    json_get_object(doc, "execCPUAffinity", &affinity, err) < 0 ||
	    json_get_u32(size, "height", &rows, err) < 0 ||
	    json_get_u32(size, "width", &cols, err) < 0 ||
	    json_get_string(affinity, "initial", &p->affinity_initial, err) < 0 ||
	    json_get_string(affinity, "final", &p->affinity_final, err) < 0)
		return err->code;
	p->rows = (uint16_t)(rows > 65535 ? 65535 : rows);
	p->cols = (uint16_t)(cols > 65535 ? 65535 : cols);
	r = json_get_i64(doc, "oomScoreAdj", &score, err);
	if (r < 0)
		return r;
	if (score < -1000 || score > 1000)
		return err_set(err, -EINVAL, "oomScoreAdj: must be -1000..1000");
	p->has_oom_score = r == 1;
	p->oom_score = (int)score;
	return 0;
}

int spec_parse_process(struct arena *a, const struct json *doc, struct spec_process *ret,
		       struct err *err)
{
	struct spec_process p = { 0 };

	if (parse_small(doc, &p, err) < 0 || parse_user(a, doc, &p, err) < 0 ||
	    spec_get_strings(a, doc, "args", &p.args, err) < 0 ||
	    spec_get_strings(a, doc, "env", &p.env, err) < 0 ||
	    json_get_string(doc, "cwd", &p.cwd, err) < 0 || parse_caps(doc, &p, err) < 0 ||
	    parse_rlimits(a, doc, &p, err) < 0 || parse_ioprio(doc, &p, err) < 0 ||
	    parse_scheduler(doc, &p, err) < 0)
		return err->code;
	if (p.args.count == 0 || !*p.args.items[0])
		return err_set(err, -EINVAL, "args: must not be empty");
	if (!p.cwd)
		p.cwd = "/";
	if (p.cwd[0] != '/')
		return err_set(err, -EINVAL, "cwd: must be absolute, found \"%s\"", p.cwd);
	*ret = p;
	return 0;
}
