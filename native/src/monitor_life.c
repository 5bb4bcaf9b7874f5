#include "monitor.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "cleanup.h"

/* How long outputs that a stranger holds open, and clients that do not read, can hold up the end.
 */
#define OUTPUT_GRACE_MS 2000
#define CLIENT_GRACE_MS 2000

/* A failed exit record is tried again this often and this long. */
#define RETRY_MS       1000
#define RECORD_TRY_MAX 60

int64_t monitor_now_ms(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void show_to_attached(struct monitor *m, enum frame_type type, const char *bytes,
			     size_t length)
{
	for (struct client *c = m->clients; c; c = c->next)
		if (c->state == CLIENT_ATTACH)
			client_send(m, c, type, bytes, length);
}

/* Logged first to last, whatever the attached clients do: one that falls behind is dropped, so that
 * nobody who looks on can stop the container. */
static void output_ready(struct monitor *m, struct watch *w, uint32_t events _unused_)
{
	struct output *output = w->owner;
	size_t room;
	char *bytes = log_room(&output->stream, &room);
	ssize_t got = read(w->fd, bytes, room);

	if (got > 0) {
		show_to_attached(m, output->type, bytes, (size_t)got);
		log_take(&m->log, &output->stream, (size_t)got);
		return;
	}
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	/* The end; on a terminal EIO. */
	log_finish(&m->log, &output->stream);
	watch_close(m, w);
}

static void input_drained(struct monitor *m, struct sink *sink _unused_)
{
	for (struct client *c = m->clients; c; c = c->next)
		if (c->attach_stdin)
			client_resume(m, c);
}

static void process_ready(struct monitor *m, struct watch *w, uint32_t events _unused_)
{
	struct err ignored = ERR_INIT;

	watch_set(m, w, 0);
	m->ended = true;
	m->end_by_ms = monitor_now_ms() + OUTPUT_GRACE_MS;
	(void)container_kill_cgroup(&m->container, &ignored);
}

static void begin(struct monitor *m)
{
	struct watch *listener = &m->listener;

	watch_init(&m->process, m->container.pidfd, process_ready, m);
	watch_init(listener, listener->fd, client_accept, m);
	watch_init(&m->out.w, m->out.w.fd, output_ready, &m->out);
	watch_init(&m->error.w, m->error.w.fd, output_ready, &m->error);
	sink_init(&m->in, m->in.w.fd, input_drained, m);
	m->out.type = FRAME_STDOUT;
	m->error.type = FRAME_STDERR;
	m->out.stream.name = "stdout";
	m->error.stream.name = "stderr";
	watch_set(m, &m->process, EPOLLIN);
	watch_set(m, listener, EPOLLIN);
	watch_set(m, &m->out.w, EPOLLIN);
	watch_set(m, &m->error.w, EPOLLIN);
}

static int earlier(int timeout_ms, int64_t at_ms, int64_t now_ms)
{
	int64_t wait = at_ms > now_ms ? at_ms - now_ms : 0;

	return timeout_ms < 0 || wait < timeout_ms ? (int)wait : timeout_ms;
}

/* One event a turn: what a handler frees can then not be the next event's owner. */
static void turn(struct monitor *m)
{
	struct epoll_event event;
	int64_t now = monitor_now_ms();
	int64_t retry_at = log_retry_at_ms(&m->log);
	int timeout = retry_at < 0 ? -1 : earlier(-1, retry_at, now);

	if (m->ended)
		timeout = earlier(timeout, m->end_by_ms, now);
	for (const struct exec_session *s = m->sessions; s; s = s->next)
		if (s->kill_at_ms)
			timeout = earlier(timeout, s->kill_at_ms, now);
	if (epoll_wait(m->epoll_fd, &event, 1, timeout) == 1) {
		struct watch *w = event.data.ptr;

		w->ready(m, w, event.events);
	}
	now = monitor_now_ms();
	if (retry_at >= 0 && retry_at <= now)
		(void)log_retry(&m->log);
	exec_expire(m, now);
}

/* The main process is a child of ours, so its status is there even if nobody asked for hours. */
static void read_status(struct monitor *m, struct exit_record *record)
{
	siginfo_t info = {.si_pid = 0};

	if (waitid(P_PIDFD, (id_t)m->process.fd, &info, WEXITED) < 0) {
		record->exit_code = 255;
		return;
	}
	record->signal = info.si_code == CLD_EXITED ? 0 : info.si_status;
	record->exit_code = record->signal ? 128 + record->signal : info.si_status;
}

static void write_record(struct monitor *m, struct exit_record *record)
{
	struct err err = ERR_INIT;
	const struct timespec pause = {.tv_sec = RETRY_MS / 1000};

	/* The container is gone and its place is reserved; what remains can only be a fault of the
	 * disk that may pass. Clients wait, since nobody may hear of the end before the disk. */
	for (int try = 0; try < RECORD_TRY_MAX; try++) {
		if (record_exit(m->dir_fd, record, &err) == 0)
			return;
		(void)nanosleep(&pause, NULL);
	}
}

static void tell(struct monitor *m, const struct exit_record *record)
{
	for (struct client *c = m->clients; c; c = c->next) {
		struct jw w = {.buf = NULL};

		if (c->state == CLIENT_EXEC)
			continue;
		if (c->state == CLIENT_WATCH) {
			jw_object(&w, NULL);
			jw_string(&w, "event", "exit");
			put_exit(&w, record);
			jw_object_end(&w);
			client_send_json(m, c, &w);
		}
		client_finish(m, c);
	}
}

static void end(struct monitor *m)
{
	struct exit_record record = {.start = m->start, .exited_at_us = wall_clock_us()};
	struct err ignored = ERR_INIT;

	read_status(m, &record);
	log_finish(&m->log, &m->out.stream);
	log_finish(&m->log, &m->error.stream);
	(void)log_retry(&m->log);
	(void)container_stats(&m->container, &record.usage, &ignored);
	/* Under an init the signal shows in the exit code only. */
	record.oom_killed = record.exit_code == 128 + SIGKILL && record.usage.oom_kills > 0;
	write_record(m, &record);
	(void)container_delete(&m->container, true, &ignored);
	watch_close(m, &m->listener);
	(void)unlinkat(m->dir_fd, "monitor.sock", 0);
	log_close(&m->log);
	/* From here on the folder may be another monitor's: who hears of the end may start anew. */
	close_and_forget(&m->claim_fd);
	tell(m, &record);
}

void monitor_live(struct monitor *m)
{
	begin(m);
	while (!m->ended ||
	       ((m->out.w.fd >= 0 || m->error.w.fd >= 0) && monitor_now_ms() < m->end_by_ms))
		turn(m);
	end(m);
	m->end_by_ms = monitor_now_ms() + CLIENT_GRACE_MS;
	while (m->clients && monitor_now_ms() < m->end_by_ms)
		turn(m);
}
