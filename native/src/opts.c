#include "opts.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void print_help(const struct opt *table, const char *usage)
{
	printf("usage: %s\n", usage);
	for (const struct opt *o = table; o->name; o++) {
		char left[64];

		(void)snprintf(left, sizeof(left), "%c%c%s --%s%s%s", o->letter ? '-' : ' ',
			       o->letter ? o->letter : ' ', o->letter ? "," : " ", o->name,
			       o->argument ? " " : "", o->argument ? o->argument : "");
		printf("  %-32s %s\n", left, o->help);
	}
}

static const struct opt *find(const struct opt *table, const char *name, size_t len)
{
	for (const struct opt *o = table; o->name; o++) {
		if (strlen(o->name) == len && memcmp(o->name, name, len) == 0)
			return o;
		if (len == 1 && o->letter == name[0])
			return o;
	}
	return NULL;
}

static int store_number(const struct opt *o, const char *value, struct err *err)
{
	char *end;
	long long n;

	errno = 0;
	if (o->kind == OPT_U64 && value[0] != '-') {
		unsigned long long u = strtoull(value, &end, 10);

		if (!errno && *value && !*end) {
			*(uint64_t *)o->ret = u;
			return 0;
		}
	}
	n = strtoll(value, &end, 10);
	if (o->kind != OPT_INT || errno || !*value || *end || n < INT32_MIN || n > INT32_MAX)
		return err_set(err, -EINVAL, "--%s: must be an integer, found \"%s\"", o->name,
			       value);
	*(int *)o->ret = (int)n;
	return 0;
}

static int store(const struct opt *o, const char *value, struct err *err)
{
	struct opt_list *list = o->ret;

	switch (o->kind) {
	case OPT_STRING:
		*(const char **)o->ret = value;
		return 0;
	case OPT_LIST:
		if (list->count == OPT_LIST_MAX)
			return err_set(err, -E2BIG, "--%s: given more than %d times", o->name,
				       OPT_LIST_MAX);
		list->items[list->count++] = value;
		return 0;
	case OPT_FLAG:
		if (strcmp(value, "true") != 0 && strcmp(value, "false") != 0)
			return err_set(err, -EINVAL, "--%s: must be true or false, found \"%s\"",
				       o->name, value);
		*(bool *)o->ret = value[0] == 't';
		return 0;
	default:
		return store_number(o, value, err);
	}
}

/* Flags written together, as in `-it`. */
static int parse_cluster(const struct opt *table, const char *letters)
{
	size_t n = strlen(letters);

	for (size_t i = 0; i < n; i++) {
		const struct opt *o = find(table, letters + i, 1);

		if (!o || o->kind != OPT_FLAG)
			return -EINVAL;
	}
	for (size_t i = 0; i < n; i++)
		*(bool *)find(table, letters + i, 1)->ret = true;
	return 0;
}

static int parse_one(const struct opt *table, int argc, char **argv, int *i, struct err *err)
{
	const char *arg = argv[*i];
	bool is_long = arg[1] == '-';
	const char *name = arg + (is_long ? 2 : 1);
	const char *eq = strchr(name, '=');
	size_t len = eq ? (size_t)(eq - name) : strlen(name);
	const struct opt *o = find(table, name, len);

	if (!o && !is_long && !eq && parse_cluster(table, name) == 0)
		return 0;
	if (!o && !is_long && (o = find(table, name, 1)) && o->kind != OPT_FLAG)
		return store(o, name + 1, err);
	if (!o)
		return err_set(err, -EINVAL, "unknown option \"%s\" (--help lists them)", arg);
	if (eq)
		return store(o, eq + 1, err);
	if (o->kind == OPT_FLAG)
		return store(o, "true", err);
	if (*i + 1 >= argc)
		return err_set(err, -EINVAL, "option \"%s\" needs a value", arg);
	return store(o, argv[++*i], err);
}

int opts_parse(const struct opt *table, const char *usage, int argc, char **argv, int *ret_index,
	       struct err *err)
{
	int i;

	for (i = 1; i < argc; i++) {
		const char *arg = argv[i];
		int r;

		if (arg[0] != '-' || !arg[1])
			break;
		if (strcmp(arg, "--") == 0) {
			i++;
			break;
		}
		if (strcmp(arg, "--help") == 0 ||
		    (strcmp(arg, "-h") == 0 && !find(table, "h", 1))) {
			print_help(table, usage);
			return 1;
		}
		r = parse_one(table, argc, argv, &i, err);
		if (r < 0)
			return r;
	}
	*ret_index = i;
	return 0;
}
