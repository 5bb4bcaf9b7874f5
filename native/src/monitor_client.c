#include "monitor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "cleanup.h"

#define FRAME_MAX    (1024U * 1024)
#define OUT_MAX	     ((size_t)256 * 1024)
#define INPUT_CHUNK  8192
#define HEADER_BYTES 5

static void want(struct monitor *m, struct client *c)
{
	bool paused = c->input_ended || c->closing || (c->exec && !sink_idle(&c->exec->in)) ||
		      (c->attach_stdin && !sink_idle(&m->in));
	/* The hang-up comes unasked; naming it keeps a paused client listed. */
	uint32_t events = EPOLLHUP;

	if (!paused)
		events |= EPOLLIN | EPOLLRDHUP;
	if (!client_idle(c))
		events |= EPOLLOUT;
	watch_set(m, &c->w, events);
}

bool client_idle(const struct client *c)
{
	return c->out_offset == c->out_length;
}

/* Closing a socket with unread bytes would give the peer ECONNRESET in place of the end. */
static void discard_input(const struct client *c)
{
	char bytes[INPUT_CHUNK];

	for (int i = 0; i < 64 && recv(c->w.fd, bytes, sizeof(bytes), MSG_DONTWAIT) > 0; i++)
		continue;
}

void client_drop(struct monitor *m, struct client *c)
{
	struct client **link = &m->clients;

	while (*link && *link != c)
		link = &(*link)->next;
	if (!*link)
		return;
	*link = c->next;
	m->client_count--;
	discard_input(c);
	watch_close(m, &c->w);
	if (c->exec)
		exec_client_gone(m, c->exec);
	free(c->control);
	free(c->out);
	free(c);
	watch_set(m, &m->listener, EPOLLIN);
}

/* Sends what the socket takes; -errno when the client is gone. */
static int push(struct monitor *m, struct client *c)
{
	while (!client_idle(c)) {
		ssize_t sent = send(c->w.fd, c->out + c->out_offset, c->out_length - c->out_offset,
				    MSG_DONTWAIT | MSG_NOSIGNAL);

		if (sent < 0 && errno == EINTR)
			continue;
		if (sent < 0 && errno == EAGAIN)
			break;
		if (sent < 0)
			return -errno;
		c->out_offset += (size_t)sent;
	}
	if (client_idle(c)) {
		free(c->out);
		c->out = NULL;
		c->out_length = c->out_offset = c->out_room = 0;
		if (c->closing)
			return -ESHUTDOWN;
	}
	want(m, c);
	return 0;
}

/* Room for `more` bytes behind what waits; false when the client is too far behind. */
static bool make_room(struct client *c, size_t more)
{
	size_t waiting = c->out_length - c->out_offset;
	char *grown;

	if (waiting + more > OUT_MAX)
		return false;
	if (c->out_offset > 0) {
		memmove(c->out, c->out + c->out_offset, waiting);
		c->out_length = waiting;
		c->out_offset = 0;
	}
	if (c->out_room >= waiting + more)
		return true;
	grown = realloc(c->out, waiting + more);
	if (!grown)
		return false;
	c->out = grown;
	c->out_room = waiting + more;
	return true;
}

static void append(struct client *c, const void *bytes, size_t length)
{
	memcpy(c->out + c->out_length, bytes, length);
	c->out_length += length;
}

/* Never frees the client, so that callers may go on using it: a broken or overrun one is shut
 * down, and the event of its hang-up drops it. */
void client_send(struct monitor *m, struct client *c, enum frame_type type, const char *bytes,
		 size_t length)
{
	const uint8_t header[HEADER_BYTES] = {
	    (uint8_t)length,	     (uint8_t)(length >> 8), (uint8_t)(length >> 16),
	    (uint8_t)(length >> 24), (uint8_t)type,
	};

	if (c->closing)
		return;
	if (make_room(c, HEADER_BYTES + length)) {
		append(c, header, HEADER_BYTES);
		append(c, bytes, length);
		if (push(m, c) == 0)
			return;
	}
	(void)shutdown(c->w.fd, SHUT_RDWR);
}

void client_send_json(struct monitor *m, struct client *c, struct jw *w)
{
	const char *text;
	size_t length;

	if (jw_finish(w, &text, &length) == 0)
		client_send(m, c, FRAME_CONTROL, text, length);
	else
		(void)shutdown(c->w.fd, SHUT_RDWR);
	jw_release(w);
}

/* As client_send, this leaves the client in place: the peer sees the end at once, the loop drops
 * the client on its hang-up or when the last byte has left. */
void client_finish(struct monitor *m, struct client *c)
{
	c->closing = true;
	if (client_idle(c))
		(void)shutdown(c->w.fd, SHUT_RDWR);
	want(m, c);
}

void client_resume(struct monitor *m, struct client *c)
{
	want(m, c);
}

static void input_frame(struct monitor *m, struct client *c, const char *bytes, size_t length)
{
	struct sink *sink = c->exec ? &c->exec->in : c->attach_stdin ? &m->in : NULL;

	if (!sink)
		return;
	sink_put(m, sink, bytes, length);
}

/* An empty input frame is the end of the input. A terminal has none: it gets the character. */
static void input_end(struct monitor *m, struct client *c)
{
	struct sink *sink = c->exec ? &c->exec->in : c->attach_stdin ? &m->in : NULL;
	bool terminal = c->exec ? c->exec->terminal : m->terminal;

	if (!sink)
		return;
	if (terminal)
		sink_put(m, sink, "\004", 1);
	else
		sink_end(m, sink);
}

/* The header is complete. */
static int begin_payload(struct monitor *m, struct client *c)
{
	uint8_t type = c->header[4];

	c->length = (uint32_t)c->header[0] | (uint32_t)c->header[1] << 8 |
		    (uint32_t)c->header[2] << 16 | (uint32_t)c->header[3] << 24;
	c->got = 0;
	if (c->length > FRAME_MAX || (type != FRAME_CONTROL && type != FRAME_STDIN))
		return -EPROTO;
	if (type == FRAME_STDIN && c->length == 0)
		input_end(m, c);
	if (type == FRAME_CONTROL) {
		c->control = malloc(c->length + 1U);
		if (!c->control)
			return -ENOMEM;
	}
	return 0;
}

static void end_payload(struct monitor *m, struct client *c)
{
	char *control = c->control;

	c->header_used = 0;
	c->control = NULL;
	if (!control)
		return;
	control[c->length] = '\0';
	ops_control(m, c, control, c->length);
	free(control);
}

/* Takes the bytes of one read apart: any cut through frames is possible. */
static int take(struct monitor *m, struct client *c, const char *bytes, size_t length)
{
	while (length > 0) {
		size_t part;
		int result = 0;

		if (c->header_used < HEADER_BYTES) {
			c->header[c->header_used++] = (uint8_t)*bytes++;
			length--;
			if (c->header_used == HEADER_BYTES)
				result = begin_payload(m, c);
			if (result < 0)
				return result;
			if (c->header_used < HEADER_BYTES || c->length > 0)
				continue;
		}
		part = c->length - c->got < length ? c->length - c->got : length;
		if (c->control)
			memcpy(c->control + c->got, bytes, part);
		else
			input_frame(m, c, bytes, part);
		c->got += (uint32_t)part;
		bytes += part;
		length -= part;
		if (c->got == c->length)
			end_payload(m, c);
	}
	return 0;
}

static int read_some(struct monitor *m, struct client *c)
{
	char bytes[INPUT_CHUNK];
	ssize_t got = recv(c->w.fd, bytes, sizeof(bytes), MSG_DONTWAIT);

	if (got < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -errno;
	if (got == 0) {
		/* Only the peer's sending side may be closed: its input ends, output goes on. */
		c->input_ended = true;
		input_end(m, c);
		want(m, c);
		return 0;
	}
	if (take(m, c, bytes, (size_t)got) < 0)
		return -EPROTO;
	want(m, c);
	return 0;
}

static void ready(struct monitor *m, struct watch *w, uint32_t events)
{
	struct client *c = w->owner;

	if (events & (EPOLLHUP | EPOLLERR)) {
		/* A request counts also when the sender did not wait for the answer. */
		while (c->state == CLIENT_IDLE && !c->input_ended && read_some(m, c) == 0)
			continue;
		client_drop(m, c);
		return;
	}
	if ((events & EPOLLOUT) && push(m, c) < 0) {
		client_drop(m, c);
		return;
	}
	if (c->exec && client_idle(c))
		exec_client_read_again(m, c);
	if ((events & (EPOLLIN | EPOLLRDHUP)) && !c->input_ended && !c->closing &&
	    read_some(m, c) < 0)
		client_drop(m, c);
}

/* Only root and whoever runs the monitor. */
static bool may_connect(int fd)
{
	struct ucred peer;
	socklen_t length = sizeof(peer);

	return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 &&
	       (peer.uid == 0 || peer.uid == geteuid());
}

void client_accept(struct monitor *m, struct watch *w, uint32_t events _unused_)
{
	_cleanup_close_ int fd = accept4(w->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
	struct client *c;

	if (fd < 0 || !may_connect(fd))
		return;
	c = calloc(1, sizeof(*c));
	if (!c)
		return;
	watch_init(&c->w, steal_fd(&fd), ready, c);
	c->next = m->clients;
	m->clients = c;
	m->client_count++;
	want(m, c);
	/* Further ones wait in the kernel's queue until one leaves. */
	if (m->client_count >= MONITOR_CLIENTS_MAX)
		watch_set(m, &m->listener, 0);
}
