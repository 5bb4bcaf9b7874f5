#include "sync.h"

#include <stddef.h>
#include <string.h>

#include "cleanup.h"
#include "sys.h"

static const char *kind_name(int kind)
{
	static const char *const names[] = {
		"?",	 "ERROR", "PID",      "MAPPED", "HOOKS_PLEASE", "HOOKS_DONE", "TERMINAL",
		"READY", "START", "LISTENER", "GO"
	};

	return kind > 0 && (size_t)kind < ARRAY_LEN(names) ? names[kind] : names[0];
}

int sync_send(int sock, enum sync_kind kind, int number, int fd)
{
	struct sync_message m = { .kind = (int)kind, .number = number };

	return send_with_fd(sock, &m, offsetof(struct sync_message, text), fd);
}

void sync_send_error(int sock, const struct err *err)
{
	struct sync_message m = { .kind = SYNC_ERROR, .number = err->code };

	memcpy(m.text, err->text, sizeof(m.text));
	/* The peer may have died: then nobody is left to be told. */
	(void)send_with_fd(sock, &m, sizeof(m), FD_NONE);
}

int sync_receive(int sock, struct sync_message *ret, int *ret_fd, struct err *err)
{
	struct sync_message m = { 0 };
	int fd = FD_NONE;
	ssize_t n = recv_with_fd(sock, &m, sizeof(m), &fd);

	if (n == 0)
		return 0;
	if (n < 0 || (size_t)n < offsetof(struct sync_message, text)) {
		cleanup_close(&fd);
		return err_sys(err, n < 0 ? (int)n : -EPROTO,
			       "cannot hear the container's process");
	}
	if (m.kind == SYNC_ERROR) {
		cleanup_close(&fd);
		m.text[sizeof(m.text) - 1] = '\0';
		return err_set(err, m.number < 0 ? m.number : -EIO, "%s", m.text);
	}
	*ret = m;
	if (ret_fd)
		*ret_fd = fd;
	else
		cleanup_close(&fd);
	return 1;
}

int sync_expect(int sock, enum sync_kind kind, struct err *err)
{
	struct sync_message m = { 0 };
	int r = sync_receive(sock, &m, NULL, err);

	if (r < 0)
		return r;
	if (r == 0)
		return err_set(err, -EPIPE, "the other side ended while %s was awaited",
			       kind_name((int)kind));
	if (m.kind != (int)kind)
		return err_set(err, -EPROTO, "%s was awaited, found %s", kind_name((int)kind),
			       kind_name(m.kind));
	return 0;
}
