#include "monitor.h"

#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "cleanup.h"
#include "json.h"

typedef int (*operation_fn)(struct monitor *m, struct client *c, const struct json *request,
			    struct err *err);

static void put_members(struct jw *w, const struct json *group)
{
	json_each(v, group)
	{
		ops_put_json(w, v->key, v);
	}
}

void ops_put_json(struct jw *w, const char *key, const struct json *v)
{
	switch (v->type) {
	case JSON_NULL:
		jw_raw(w, key, "null", strlen("null"));
		break;
	case JSON_BOOL:
		jw_bool(w, key, v->boolean);
		break;
	case JSON_NUMBER:
		jw_raw(w, key, v->string, strlen(v->string));
		break;
	case JSON_STRING:
		jw_string(w, key, v->string);
		break;
	case JSON_ARRAY:
		jw_array(w, key);
		put_members(w, v);
		jw_array_end(w);
		break;
	case JSON_OBJECT:
		jw_object(w, key);
		put_members(w, v);
		jw_object_end(w);
		break;
	}
}

static void begin_reply(struct jw *w, bool good)
{
	*w = (struct jw){.buf = NULL};
	jw_object(w, NULL);
	jw_bool(w, "ok", good);
}

static void end_reply(struct monitor *m, struct client *c, struct jw *w)
{
	jw_object_end(w);
	client_send_json(m, c, w);
}

void ops_reply_error(struct monitor *m, struct client *c, const struct err *err)
{
	struct jw w;

	begin_reply(&w, false);
	jw_string(&w, "error", err->text);
	jw_i64(&w, "errno", -err->code);
	end_reply(m, c, &w);
}

static int reply_ok(struct monitor *m, struct client *c)
{
	struct jw w;

	begin_reply(&w, true);
	end_reply(m, c, &w);
	return 0;
}

static int op_watch(struct monitor *m, struct client *c, const struct json *request _unused_,
		    struct err *err _unused_)
{
	struct jw w;

	c->state = CLIENT_WATCH;
	begin_reply(&w, true);
	jw_string(&w, "state", "running");
	put_start(&w, &m->start);
	end_reply(m, c, &w);
	return 0;
}

static int op_attach(struct monitor *m, struct client *c, const struct json *request,
		     struct err *err)
{
	bool input = false;
	int result = json_get_bool(request, "stdin", &input, err);

	if (result < 0)
		return result;
	if (input && m->in.w.fd < 0)
		return err_set(err, -ENOTSUP,
			       "cannot attach input: the container was created without one");
	c->state = CLIENT_ATTACH;
	c->attach_stdin = input;
	return reply_ok(m, c);
}

static int op_signal(struct monitor *m, struct client *c, const struct json *request,
		     struct err *err)
{
	uint32_t number = 0;
	bool all = false;
	int result = json_get_u32(request, "signal", &number, err);

	if (result >= 0)
		result = json_get_bool(request, "all", &all, err);
	if (result < 0)
		return result;
	if (number < 1 || number > 64)
		return err_set(err, -EINVAL, "cannot signal: must be 1 to 64, found %u", number);
	result = container_kill(&m->container, (int)number, all, err);
	return result < 0 ? result : reply_ok(m, c);
}

static int op_kill(struct monitor *m, struct client *c, const struct json *request _unused_,
		   struct err *err)
{
	int result = container_kill_cgroup(&m->container, err);

	/* Without a cgroup only the main process is known, and with it its pid namespace. */
	if (!m->container.cgroup || result < 0)
		result = container_kill(&m->container, 9, false, err);
	return result < 0 ? result : reply_ok(m, c);
}

static int op_update(struct monitor *m, struct client *c, const struct json *request,
		     struct err *err)
{
	_cleanup_jw_ struct jw w = {.buf = NULL};
	const struct json *resources = NULL;
	const char *text;
	size_t length;
	int result = json_get_object(request, "resources", &resources, err);

	if (result < 0)
		return result;
	if (!resources)
		return err_set(err, -EINVAL, "cannot update: \"resources\" must be set");
	ops_put_json(&w, NULL, resources);
	result = jw_finish(&w, &text, &length);
	if (result < 0)
		return err_sys(err, result, "cannot update");
	result = container_update(&m->container, text, length, err);
	return result < 0 ? result : reply_ok(m, c);
}

static int op_stats(struct monitor *m, struct client *c, const struct json *request _unused_,
		    struct err *err)
{
	struct container_usage usage = {0};
	struct jw w;
	int result = container_stats(&m->container, &usage, err);

	if (result < 0)
		return result;
	begin_reply(&w, true);
	jw_u64(&w, "memoryBytes", usage.memory_bytes);
	jw_u64(&w, "pids", usage.pids);
	put_usage(&w, &usage);
	end_reply(m, c, &w);
	return 0;
}

static int op_exec(struct monitor *m, struct client *c, const struct json *request, struct err *err)
{
	return exec_begin(m, c, request, err);
}

static const struct {
	const char *name;
	operation_fn run;
} operations[] = {
    {"attach", op_attach}, {"exec", op_exec},	  {"kill", op_kill},   {"signal", op_signal},
    {"stats", op_stats},   {"update", op_update}, {"watch", op_watch},
};

static int run(struct monitor *m, struct client *c, const struct json *request, struct err *err)
{
	const char *name = NULL;
	int result = json_get_string(request, "op", &name, err);

	if (result < 0)
		return result;
	if (!name)
		return err_set(err, -EINVAL, "cannot read the request: \"op\" must be set");
	if (m->ended && strcmp(name, "watch") != 0)
		return err_set(err, -ESRCH, "cannot %s: the container has ended", name);
	for (size_t i = 0; i < ARRAY_LEN(operations); i++)
		if (strcmp(operations[i].name, name) == 0)
			return operations[i].run(m, c, request, err);
	return err_set(err, -ENOSYS, "cannot run \"%s\": no such operation", name);
}

void ops_control(struct monitor *m, struct client *c, const char *text, size_t length)
{
	_cleanup_arena_ struct arena arena = {.limit = 0};
	struct err err = ERR_INIT;
	struct json *request = NULL;
	int result = json_parse(&arena, text, length, &request, &err);

	if (result == 0 && c->state == CLIENT_EXEC) {
		exec_control(m, c, request);
		return;
	}
	if (result == 0 && c->state != CLIENT_IDLE)
		result = err_set(&err, -EBUSY, "cannot take a request: this connection is in use");
	if (result == 0)
		result = run(m, c, request, &err);
	if (result < 0)
		ops_reply_error(m, c, &err);
}
