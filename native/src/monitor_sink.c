#include "monitor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "cleanup.h"

void watch_init(struct watch *w, int fd, watch_fn ready, void *owner)
{
	*w = (struct watch){.fd = fd, .ready = ready, .owner = owner};
}

void watch_set(struct monitor *m, struct watch *w, uint32_t events)
{
	struct epoll_event event = {.events = events, .data.ptr = w};
	int op = w->events == 0 ? EPOLL_CTL_ADD : events == 0 ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;

	if (w->fd < 0 || w->events == events)
		return;
	/* A descriptor that cannot be watched is one whose events never come; every wait in the
	 * monitor has a second way out. */
	if (epoll_ctl(m->epoll_fd, op, w->fd, &event) == 0)
		w->events = events;
}

void watch_close(struct monitor *m, struct watch *w)
{
	watch_set(m, w, 0);
	close_and_forget(&w->fd);
	w->events = 0;
}

static void release(struct sink *sink)
{
	free(sink->bytes);
	sink->bytes = NULL;
	sink->length = 0;
	sink->offset = 0;
}

void sink_close(struct monitor *m, struct sink *sink)
{
	watch_close(m, &sink->w);
	release(sink);
}

bool sink_idle(const struct sink *sink)
{
	return sink->offset == sink->length;
}

/* Writes what fits. The reader's end being closed is the process's own affair: the rest is
 * dropped, as a shell would get EPIPE. */
static void push(struct monitor *m, struct sink *sink)
{
	while (sink->offset < sink->length) {
		ssize_t wrote =
		    write(sink->w.fd, sink->bytes + sink->offset, sink->length - sink->offset);

		if (wrote < 0 && errno == EINTR)
			continue;
		if (wrote < 0 && errno == EAGAIN) {
			watch_set(m, &sink->w, EPOLLOUT);
			return;
		}
		if (wrote < 0) {
			sink_close(m, sink);
			return;
		}
		sink->offset += (size_t)wrote;
	}
	watch_set(m, &sink->w, 0);
	release(sink);
	if (sink->close_when_empty)
		sink_close(m, sink);
}

static void writable(struct monitor *m, struct watch *w, uint32_t events _unused_)
{
	struct sink *sink = w->owner;

	push(m, sink);
	if (sink_idle(sink))
		sink->drained(m, sink);
}

void sink_init(struct sink *sink, int fd, void (*drained)(struct monitor *, struct sink *),
	       void *owner)
{
	*sink = (struct sink){.drained = drained, .owner = owner};
	watch_init(&sink->w, fd, writable, sink);
}

void sink_put(struct monitor *m, struct sink *sink, const char *bytes, size_t length)
{
	char *grown;

	if (sink->w.fd < 0 || sink->close_when_empty || length == 0)
		return;
	grown = realloc(sink->bytes, sink->length + length);
	if (!grown)
		return;
	memcpy(grown + sink->length, bytes, length);
	sink->bytes = grown;
	sink->length += length;
	push(m, sink);
}

void sink_end(struct monitor *m, struct sink *sink)
{
	sink->close_when_empty = true;
	if (sink_idle(sink))
		sink_close(m, sink);
}
