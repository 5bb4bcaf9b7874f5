#include "seccomp.h"

#include <linux/seccomp.h>
#include <stdlib.h>
#include <string.h>

#include "names.h"
#include "syscall_names.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif
#define ROWS (sizeof(syscall_rows) / sizeof(syscall_rows[0]))

static const struct name_value action_names[] = {
	{ "SCMP_ACT_KILL", SECCOMP_RET_KILL_THREAD },
	{ "SCMP_ACT_KILL_THREAD", SECCOMP_RET_KILL_THREAD },
	{ "SCMP_ACT_KILL_PROCESS", SECCOMP_RET_KILL_PROCESS },
	{ "SCMP_ACT_TRAP", SECCOMP_RET_TRAP },
	{ "SCMP_ACT_ERRNO", SECCOMP_RET_ERRNO },
	{ "SCMP_ACT_TRACE", SECCOMP_RET_TRACE },
	{ "SCMP_ACT_ALLOW", SECCOMP_RET_ALLOW },
	{ "SCMP_ACT_LOG", SECCOMP_RET_LOG },
	{ "SCMP_ACT_NOTIFY", SECCOMP_RET_USER_NOTIF },
	{ NULL, 0 },
};

static const struct name_value flag_names[] = {
	{ "SECCOMP_FILTER_FLAG_TSYNC", SECCOMP_FILTER_FLAG_TSYNC },
	{ "SECCOMP_FILTER_FLAG_LOG", SECCOMP_FILTER_FLAG_LOG },
	{ "SECCOMP_FILTER_FLAG_SPEC_ALLOW", SECCOMP_FILTER_FLAG_SPEC_ALLOW },
	{ "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV", SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV },
	{ NULL, 0 },
};

/* Architectures of the spec that an x86-64 kernel never reports: valid, without effect. */
static const char *const foreign_archs[] = {
	"SCMP_ARCH_ARM",	 "SCMP_ARCH_AARCH64", "SCMP_ARCH_MIPS",	    "SCMP_ARCH_MIPS64",
	"SCMP_ARCH_MIPS64N32",	 "SCMP_ARCH_MIPSEL",  "SCMP_ARCH_MIPSEL64", "SCMP_ARCH_MIPSEL64N32",
	"SCMP_ARCH_PPC",	 "SCMP_ARCH_PPC64",   "SCMP_ARCH_PPC64LE",  "SCMP_ARCH_S390",
	"SCMP_ARCH_S390X",	 "SCMP_ARCH_PARISC",  "SCMP_ARCH_PARISC64", "SCMP_ARCH_RISCV64",
	"SCMP_ARCH_LOONGARCH64", "SCMP_ARCH_M68K",    "SCMP_ARCH_SH",	    "SCMP_ARCH_SHEB",
};

static int parse_action(const struct json *obj, const char *action_key, const char *errno_key,
			uint32_t *ret, struct err *err)
{
	const struct name_value *n;
	const char *name = NULL;
	uint32_t number = EPERM;
	int r = json_get_string(obj, action_key, &name, err);

	if (r < 0)
		return r;
	n = name ? name_find(action_names, name) : NULL;
	if (!n)
		return err_set(err, -EINVAL, "%s: unknown \"%s\"", action_key, name ? name : "");
	r = json_get_u32(obj, errno_key, &number, err);
	if (r < 0)
		return r;
	*ret = (uint32_t)n->value;
	if (*ret == SECCOMP_RET_ERRNO || *ret == SECCOMP_RET_TRACE)
		*ret |= number & SECCOMP_RET_DATA;
	else if (r == 1 && number != 0)
		return err_set(err, -EINVAL, "%s: must not be given with %s", errno_key, name);
	return 0;
}

static int parse_archs(const struct json *doc, struct seccomp_plan *plan, struct err *err)
{
	const struct json *list = NULL;
	int r = json_get_array(doc, "architectures", &list, err);

	if (r < 0)
		return r;
	if (!list || !list->count)
		plan->arch[ARCH_X64] = true;
	json_each(v, list)
	{
		const char *name = v->type == JSON_STRING ? v->string : "";
		bool known = false;

		if (strcmp(name, "SCMP_ARCH_X86_64") == 0 || strcmp(name, "SCMP_ARCH_NATIVE") == 0)
			known = plan->arch[ARCH_X64] = true;
		if (strcmp(name, "SCMP_ARCH_X32") == 0)
			known = plan->arch[ARCH_X32] = true;
		if (strcmp(name, "SCMP_ARCH_X86") == 0)
			known = plan->arch[ARCH_I386] = true;
		for (size_t i = 0; i < sizeof(foreign_archs) / sizeof(foreign_archs[0]); i++)
			known |= strcmp(foreign_archs[i], name) == 0;
		if (!known)
			return err_set(err, -EINVAL, "architectures: unknown \"%s\"", name);
	}
	return 0;
}

static int compare_row(const void *key, const void *row)
{
	return strcmp(key, ((const struct syscall_row *)row)->name);
}

static int parse_conditions(struct arena *a, const struct json *list,
			    struct seccomp_condition **ret, bool *ret_repeated, struct err *err)
{
	struct seccomp_condition *q = arena_alloc(a, (list->count + 1) * sizeof(*q));
	unsigned seen = 0;
	size_t n = 0;

	if (!q || list->count > 64)
		return err_set(err, -E2BIG, "args: too many");
	json_each(v, list)
	{
		if (json_get_u32(v, "index", &q[n].index, err) < 0 ||
		    json_get_u64(v, "value", &q[n].value, err) < 0 ||
		    json_get_u64(v, "valueTwo", &q[n].value_two, err) < 0 ||
		    json_get_string(v, "op", &q[n].op, err) < 0)
			return err->code;
		if (q[n].index > 5 || !q[n].op)
			return err_set(err, -EINVAL, "args: index must be 0..5 with an op");
		*ret_repeated |= seen >> q[n].index & 1;
		seen |= 1u << q[n].index;
		n++;
	}
	*ret = q;
	return 0;
}

static int add_rule(struct arena *a, struct seccomp_plan *plan, int arch, int nr,
		    const struct seccomp_rule *rule, struct err *err)
{
	struct seccomp_rule **tail, *copy;

	if (nr < 0 || nr >= SECCOMP_NUMBERS)
		return 0;
	if (nr > plan->highest[arch])
		plan->highest[arch] = nr;
	copy = arena_alloc(a, sizeof(*copy));
	if (!copy)
		return err_set(err, -ENOMEM, "syscalls: too many rules");
	*copy = *rule;
	for (tail = &plan->rules[arch][nr]; *tail; tail = &(*tail)->next)
		;
	*tail = copy;
	return 0;
}

/* Conditions on one argument twice cannot both hold as libseccomp writes them: runc makes them
 * alternatives, and profiles rely on that. */
static int add_name(struct arena *a, struct seccomp_plan *plan, const char *name,
		    const struct seccomp_rule *rule, bool alternatives, struct err *err)
{
	const struct syscall_row *row =
		bsearch(name, syscall_rows, ROWS, sizeof(syscall_rows[0]), compare_row);
	size_t times = alternatives ? rule->condition_count : 1;

	if (!row)
		return 0; /* a call that this kernel's headers do not know cannot be reached */
	for (size_t i = 0; i < times; i++) {
		struct seccomp_rule one = *rule;

		if (alternatives) {
			one.conditions = &rule->conditions[i];
			one.condition_count = 1;
		}
		if (add_rule(a, plan, ARCH_X64, row->x64, &one, err) < 0 ||
		    add_rule(a, plan, ARCH_X32, row->x32, &one, err) < 0 ||
		    add_rule(a, plan, ARCH_I386, row->i386, &one, err) < 0)
			return err->code;
	}
	return 0;
}

static int parse_rule(struct arena *a, const struct json *v, struct seccomp_plan *plan,
		      bool *notify, struct err *err)
{
	const struct json *names = NULL, *args = NULL;
	struct seccomp_condition *conditions = NULL;
	struct seccomp_rule rule = { 0 };
	bool repeated = false;

	if (json_get_array(v, "names", &names, err) < 0 ||
	    json_get_array(v, "args", &args, err) < 0 ||
	    parse_action(v, "action", "errnoRet", &rule.action, err) < 0)
		return err->code;
	if (!names || !names->count)
		return err_set(err, -EINVAL, "names: must not be empty");
	if (args && args->count) {
		int r = parse_conditions(a, args, &conditions, &repeated, err);

		if (r < 0)
			return r;
		rule.condition_count = args->count;
		rule.conditions = conditions;
	}
	*notify |= rule.action == SECCOMP_RET_USER_NOTIF;
	json_each(name, names)
	{
		if (name->type != JSON_STRING)
			return err_set(err, -EINVAL, "names: must hold strings");
		if (add_name(a, plan, name->string, &rule, repeated, err) < 0)
			return err->code;
	}
	return 0;
}

static int parse_flags(const struct json *doc, struct seccomp_filter *f, struct err *err)
{
	const struct json *list = NULL;
	int r = json_get_array(doc, "flags", &list, err);

	json_each(v, list)
	{
		const struct name_value *n =
			v->type == JSON_STRING ? name_find(flag_names, v->string) : NULL;

		if (!n)
			return err_set(err, -EINVAL, "flags: unknown \"%s\"",
				       v->type == JSON_STRING ? v->string : "");
		/* One thread loads the filter: there is nothing to synchronise, and the kernel
		 * refuses TSYNC together with a listener. */
		if (n->value != SECCOMP_FILTER_FLAG_TSYNC)
			f->flags |= (uint32_t)n->value;
	}
	return r < 0 ? r : 0;
}

static int compile(struct arena *a, const struct json *doc, struct seccomp_filter *f,
		   struct err *err)
{
	struct seccomp_plan *plan = arena_alloc(a, sizeof(*plan));
	const struct json *rules = NULL;
	uint32_t kind;
	size_t n = 0;

	if (!plan)
		return err_set(err, -ENOMEM, "no memory for the plan");
	for (int i = 0; i < ARCH_COUNT; i++)
		plan->highest[i] = -1;
	if (parse_action(doc, "defaultAction", "defaultErrnoRet", &plan->default_action, err) < 0 ||
	    parse_archs(doc, plan, err) < 0 || parse_flags(doc, f, err) < 0 ||
	    json_get_string(doc, "listenerPath", &f->listener_path, err) < 0 ||
	    json_get_string(doc, "listenerMetadata", &f->listener_metadata, err) < 0 ||
	    json_get_array(doc, "syscalls", &rules, err) < 0)
		return err->code;
	if (plan->default_action == SECCOMP_RET_USER_NOTIF)
		return err_set(err, -EINVAL, "defaultAction: must not be SCMP_ACT_NOTIFY");
	json_each(v, rules)
	{
		if (parse_rule(a, v, plan, &f->notify, err) < 0)
			return err_prefix(err, "syscalls[%zu]", n);
		n++;
	}
	if (f->notify && !f->listener_path)
		return err_set(err, -EINVAL, "listenerPath: is required with SCMP_ACT_NOTIFY");
	kind = plan->default_action & SECCOMP_RET_ACTION_FULL;
	plan->newer_action = plan->default_action;
	if (n > 0 && kind != SECCOMP_RET_ALLOW && kind != SECCOMP_RET_LOG &&
	    kind != SECCOMP_RET_TRACE)
		plan->newer_action = SECCOMP_RET_ERRNO | ENOSYS;
	return seccomp_generate(a, plan, f, err);
}

int seccomp_compile(struct arena *a, const struct json *doc, struct seccomp_filter *ret,
		    struct err *err)
{
	struct seccomp_filter f = { 0 };

	if (compile(a, doc, &f, err) < 0)
		return err_prefix(err, "linux.seccomp");
	*ret = f;
	return 0;
}
