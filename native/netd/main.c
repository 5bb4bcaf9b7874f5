/* gantry-netd: the node's network plumbing for the agent. One JSON request a line on standard
 * input, one JSON reply a line on standard output, in order; it ends at the end of its input, and
 * what it made in the kernel stays. It never starts a process. */
#include "netd.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "cleanup.h"
#include "link.h"

/* The longest request: routes to some ten thousand nodes. */
#define REQUEST_MAX ((size_t)1024 * 1024)

/* What a quiet program keeps of its input buffer. */
#define REQUEST_KEEP 4096

static const struct {
	const char *name;
	operation_fn run;
} operations[] = {
    {"attach", op_attach},   {"bridge", op_bridge},
    {"detach", op_detach},   {"list", op_list},
    {"prepare", op_prepare}, {"netns-create", op_netns_create},
    {"rate", op_rate},	     {"netns-delete", op_netns_delete},
    {"release", op_release}, {"routes", op_routes},
    {"stats", op_stats},
};

int need_string(const struct json *request, const char *key, const char **ret, struct err *err)
{
	int result = json_get_string(request, key, ret, err);

	if (result < 0)
		return result;
	if (result == 0 || **ret == '\0')
		return err_set(err, -EINVAL, "cannot read the request: \"%s\" must be set", key);
	return 0;
}

int need_link(const struct json *request, const char *key, const char **ret, struct err *err)
{
	int result = need_string(request, key, ret, err);

	return result < 0 ? result : link_check_name(key, *ret, err);
}

static operation_fn find_operation(const char *name)
{
	for (size_t i = 0; i < ARRAY_LEN(operations); i++)
		if (strcmp(operations[i].name, name) == 0)
			return operations[i].run;
	return NULL;
}

static int run(struct netd *netd, const struct json *request, struct jw *reply, struct err *err)
{
	const char *name;
	operation_fn operation;
	int result = need_string(request, "op", &name, err);

	if (result < 0)
		return result;
	operation = find_operation(name);
	if (!operation)
		return err_set(err, -ENOSYS, "cannot run \"%s\": no such operation", name);
	return operation(netd, request, reply, err);
}

static void reply_error(struct jw *reply, uint64_t id, const struct err *err)
{
	jw_object(reply, NULL);
	jw_u64(reply, "id", id);
	jw_bool(reply, "ok", false);
	jw_string(reply, "error", err->text);
	jw_i64(reply, "errno", -err->code);
	jw_object_end(reply);
}

static int write_all(const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t wrote = write(STDOUT_FILENO, bytes, length);

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0)
			return -errno;
		bytes += wrote;
		length -= (size_t)wrote;
	}
	return 0;
}

static int send_reply(struct jw *reply)
{
	const char *text;
	size_t length;
	int result = jw_finish(reply, &text, &length);

	if (result == 0)
		result = write_all(text, length);
	return result < 0 ? result : write_all("\n", 1);
}

static int answer(struct netd *netd, const char *line, size_t length)
{
	_cleanup_arena_ struct arena arena = {.limit = 0};
	_cleanup_jw_ struct jw reply = {.buf = NULL};
	struct err err = ERR_INIT;
	struct json *request = NULL;
	uint64_t id = 0;
	int result = json_parse(&arena, line, length, &request, &err);

	if (result == 0)
		result = json_get_u64(request, "id", &id, &err);
	if (result >= 0) {
		jw_object(&reply, NULL);
		jw_u64(&reply, "id", id);
		jw_bool(&reply, "ok", true);
		result = run(netd, request, &reply, &err);
		jw_object_end(&reply);
	}
	if (result < 0) {
		jw_release(&reply);
		reply_error(&reply, id, &err);
	}
	return send_reply(&reply);
}

struct input {
	char *bytes;
	size_t length, room;
};

/* Reads what there is; 0 at the end of the input. */
static ssize_t fill(struct input *input)
{
	ssize_t got;

	if (input->length == input->room) {
		size_t room = input->room ? input->room * 2 : REQUEST_KEEP;
		char *bytes = room > REQUEST_MAX ? NULL : realloc(input->bytes, room);

		if (!bytes)
			return -EMSGSIZE;
		input->bytes = bytes;
		input->room = room;
	}
	got = read(STDIN_FILENO, input->bytes + input->length, input->room - input->length);
	if (got < 0)
		return -errno;
	input->length += (size_t)got;
	return got;
}

/* Answers every complete line and keeps the rest. */
static int drain(struct netd *netd, struct input *input)
{
	size_t begin = 0;
	char *end;

	while (begin < input->length &&
	       (end = memchr(input->bytes + begin, '\n', input->length - begin))) {
		size_t length = (size_t)(end - input->bytes) - begin;
		int result = length ? answer(netd, input->bytes + begin, length) : 0;

		if (result < 0)
			return result;
		begin += length + 1;
	}
	input->length -= begin;
	memmove(input->bytes, input->bytes + begin, input->length);
	return 0;
}

static int serve(struct netd *netd)
{
	struct input input = {.bytes = NULL};
	int result = 0;

	while (result >= 0) {
		struct pollfd wait = {.fd = STDIN_FILENO, .events = POLLIN};
		int64_t now = monotonic_ms();
		int ready = poll(&wait, 1, leaving_wait_ms(&netd->leaving, now));

		if (ready < 0 && errno != EINTR)
			result = -errno;
		else if (ready == 0)
			leaving_check(netd, monotonic_ms());
		if (ready <= 0)
			continue;
		result = (int)fill(&input);
		if (result == 0)
			break;
		if (result > 0)
			result = drain(netd, &input);
	}
	free(input.bytes);
	return result;
}

/* Each held namespace is one descriptor. */
static void raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
}

int main(void)
{
	struct netd netd = {.nl = NETLINK_NONE, .home_fd = FD_NONE};
	struct err err = ERR_INIT;
	int result;

	raise_descriptor_limit();
	(void)signal(SIGPIPE, SIG_IGN);
	netd.home_fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	if (netd.home_fd < 0) {
		perror("gantry-netd: cannot open the node's network namespace");
		return EXIT_FAILURE;
	}
	result = netlink_open(&netd.nl, &err);
	if (result == 0) {
		result = serve(&netd);
		if (result < 0)
			(void)err_sys(&err, result, "cannot go on serving requests");
	}
	if (result < 0)
		(void)fprintf(stderr, "gantry-netd: %s\n", err.text);
	while (netd.held.count > 0)
		held_drop(&netd.held, &netd.held.items[0]);
	free(netd.held.items);
	free(netd.leaving.items);
	netlink_close(&netd.nl);
	return result < 0 ? EXIT_FAILURE : EXIT_SUCCESS;
}
