/* start, state, kill, delete, pause, resume: one container by id. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <signal.h>

#include "cleanup.h"
#include "commands.h"
#include "container.h"
#include "json_write.h"
#include "names.h"
#include "opts.h"
#include "state.h"

static int only_id(const struct opt *table, const char *usage, int argc, char **argv,
		   const char **ret_id, int *ret_index, struct err *err)
{
	int index, r = opts_parse(table, usage, argc, argv, &index, err);

	if (r != 0)
		return r;
	if (index >= argc || (!ret_index && argc - index != 1))
		return err_set(err, -EINVAL, "usage: %s", usage);
	*ret_id = argv[index];
	if (ret_index)
		*ret_index = index + 1;
	return 0;
}

static int open_by_id(const struct globals *g, const char *usage, int argc, char **argv,
		      struct container *c, struct err *err)
{
	static const struct opt none[] = { { 0 } };
	const char *id = NULL;
	int r = only_id(none, usage, argc, argv, &id, NULL, err);

	return r != 0 ? r : container_open(g->root, id, c, err);
}

int cmd_start(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err)
{
	_cleanup_container_ struct container c = CONTAINER_INIT;
	int r = open_by_id(g, "berth start ID", argc, argv, &c, err);

	(void)ret_status;
	return r != 0 ? (r < 0 ? r : 0) : container_start(&c, err);
}

static int print_state(const struct container *c, struct err *err)
{
	_cleanup_arena_ struct arena arena = { 0 };
	_cleanup_jw_ struct jw w = { .pretty = true };
	enum container_status status;
	struct state s;
	const char *text;
	int r = state_load(&arena, c->dir_fd, &s, err);

	if (r < 0 || (r = container_state(c, &status, err)) < 0)
		return r;
	jw_object(&w, NULL);
	jw_string(&w, "ociVersion", s.version);
	jw_string(&w, "id", c->id);
	jw_i64(&w, "pid", status == CONTAINER_STOPPED ? 0 : c->pid);
	jw_string(&w, "status", container_status_name(status));
	jw_string(&w, "bundle", s.bundle);
	jw_string(&w, "rootfs", s.rootfs);
	jw_string(&w, "created", s.created);
	jw_string(&w, "owner", "");
	if (s.annotations && s.annotations->count) {
		jw_object(&w, "annotations");
		json_each(v, s.annotations) jw_string(&w, v->key, v->string);
		jw_object_end(&w);
	}
	jw_object_end(&w);
	r = jw_finish(&w, &text, NULL);
	if (r < 0)
		return err_set(err, r, "no memory");
	puts(text);
	return 0;
}

int cmd_state(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err)
{
	static const struct opt none[] = { { 0 } };
	_cleanup_container_ struct container c = CONTAINER_INIT;
	const char *id = NULL;
	int r = only_id(none, "berth state ID", argc, argv, &id, NULL, err);

	(void)ret_status;
	if (r != 0)
		return r < 0 ? r : 0;
	r = container_peek(g->root, id, &c, err);
	return r < 0 ? r : print_state(&c, err);
}

static int parse_signal(const char *text, int *ret, struct err *err)
{
	const struct name_value *n;
	char name[24];
	char *end;
	long number = strtol(text, &end, 10);

	if (*text && !*end) {
		if (number < 0 || number > 64)
			return err_set(err, -EINVAL, "signal: must be 0..64, found %ld", number);
		*ret = (int)number;
		return 0;
	}
	for (size_t i = 0; i < sizeof(name); i++) {
		name[i] = (char)(text[i] >= 'a' && text[i] <= 'z' ? text[i] - 32 : text[i]);
		if (!text[i])
			break;
	}
	name[sizeof(name) - 1] = '\0';
	n = name_find(signal_names, strncmp(name, "SIG", 3) == 0 ? name + 3 : name);
	if (!n)
		return err_set(err, -EINVAL, "signal: unknown \"%s\"", text);
	*ret = (int)n->value;
	return 0;
}

int cmd_kill(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err)
{
	_cleanup_container_ struct container c = CONTAINER_INIT;
	bool all = false, regex = false;
	const struct opt table[] = {
		{ "all", 'a', OPT_FLAG, &all, NULL, "signal every process of the container" },
		{ "regex", 'r', OPT_FLAG, &regex, NULL, "refused: name one container" },
		{ 0 },
	};
	const char *id = NULL;
	int index = 0, signal = SIGTERM;
	int r = only_id(table, "berth kill [--all] ID [SIGNAL]", argc, argv, &id, &index, err);

	(void)ret_status;
	if (r != 0)
		return r < 0 ? r : 0;
	if (regex)
		return err_set(err, -ENOTSUP, "--regex: not supported, name one container");
	if (index < argc && strcmp(argv[index], "--all") == 0) {
		all = true;
		index++;
	}
	if (index < argc && (r = parse_signal(argv[index], &signal, err)) < 0)
		return r;
	r = container_open(g->root, id, &c, err);
	return r < 0 ? r : container_kill(&c, signal, all, err);
}

int cmd_delete(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err)
{
	_cleanup_container_ struct container c = CONTAINER_INIT;
	bool force = false, regex = false;
	const struct opt table[] = {
		{ "force", 'f', OPT_FLAG, &force, NULL, "kill it first; no error when it is gone" },
		{ "regex", 'r', OPT_FLAG, &regex, NULL, "refused: name one container" },
		{ 0 },
	};
	const char *id = NULL;
	int r = only_id(table, "berth delete [--force] ID", argc, argv, &id, NULL, err);

	(void)ret_status;
	if (r != 0)
		return r < 0 ? r : 0;
	if (regex)
		return err_set(err, -ENOTSUP, "--regex: not supported, name one container");
	r = container_open(g->root, id, &c, err);
	if (r == -ENOENT && force)
		return 0;
	return r < 0 ? r : container_delete(&c, force, err);
}

static int freeze(const struct globals *g, const char *usage, bool frozen, int argc, char **argv,
		  struct err *err)
{
	_cleanup_container_ struct container c = CONTAINER_INIT;
	enum container_status status;
	int r = open_by_id(g, usage, argc, argv, &c, err);

	if (r != 0)
		return r < 0 ? r : 0;
	if ((r = container_state(&c, &status, err)) < 0)
		return r;
	if (frozen && status != CONTAINER_RUNNING && status != CONTAINER_CREATED)
		return err_set(err, -EINVAL, "cannot pause \"%s\": it must be running, found %s",
			       c.id, container_status_name(status));
	if (!frozen && status != CONTAINER_PAUSED)
		return err_set(err, -EINVAL, "cannot resume \"%s\": it must be paused, found %s",
			       c.id, container_status_name(status));
	return container_freeze(&c, frozen, err);
}

int cmd_pause(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err)
{
	(void)ret_status;
	return freeze(g, "berth pause ID", true, argc, argv, err);
}

int cmd_resume(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err)
{
	(void)ret_status;
	return freeze(g, "berth resume ID", false, argc, argv, err);
}
