#include "monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "json.h"
#include "sys.h"

#define CHUNK_BYTES 16384

/* From the client's leaving to SIGKILL, and from the end of a process on a terminal to the end of
 * waiting for what the terminal still holds. */
#define GONE_GRACE_MS	  5000
#define TERMINAL_GRACE_MS 1000

/* Both ends of the process's stdio. */
struct exec_pipes {
	int theirs[3]; /* given to the process */
	int ours[3];
};

static void close_pipes(struct exec_pipes *p)
{
	for (int i = 0; i < 3; i++) {
		close_and_forget(&p->theirs[i]);
		close_and_forget(&p->ours[i]);
	}
}

/* Our ends do not block; theirs are ordinary. */
static int make_pipe(int *ret_read, int *ret_write, bool we_read)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	(void)fcntl(ends[we_read ? 0 : 1], F_SETFL, O_NONBLOCK | (we_read ? O_RDONLY : O_WRONLY));
	*ret_read = ends[0];
	*ret_write = ends[1];
	return 0;
}

static int make_pipes(struct exec_pipes *p, bool input, struct err *err)
{
	int result = 0;

	if (input) {
		result = make_pipe(&p->theirs[0], &p->ours[0], false);
	} else {
		p->theirs[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		result = p->theirs[0] < 0 ? -errno : 0;
	}
	if (result == 0)
		result = make_pipe(&p->ours[1], &p->theirs[1], true);
	if (result == 0)
		result = make_pipe(&p->ours[2], &p->theirs[2], true);
	return result < 0 ? err_sys(err, result, "cannot make the pipes of the process") : 0;
}

static void forget(struct monitor *m, struct exec_session *s)
{
	struct exec_session **link = &m->sessions;

	while (*link && *link != s)
		link = &(*link)->next;
	if (*link)
		*link = s->next;
	if (s->client) {
		s->client->exec = NULL;
		s->client->state = CLIENT_IDLE;
	}
	watch_close(m, &s->process);
	watch_close(m, &s->out);
	watch_close(m, &s->error);
	sink_close(m, &s->in);
	free(s);
}

/* Tells the client when the process has ended and all of its output has been read. */
static void settle(struct monitor *m, struct exec_session *s)
{
	struct client *c = s->client;
	struct jw w = {.buf = NULL};

	if (!s->exited || (c && (s->out.fd >= 0 || s->error.fd >= 0)))
		return;
	if (c) {
		jw_object(&w, NULL);
		jw_string(&w, "event", "exit");
		jw_i64(&w, "exitCode", s->exit_code);
		jw_object_end(&w);
		client_send_json(m, c, &w);
		client_finish(m, c);
	}
	forget(m, s);
}

/* One chunk at a time, and only when the client has taken the former one: a slow client slows the
 * process, and nothing piles up here. After the end of the process an empty pipe is a finished
 * one, even if a child that stays behind holds it open; a terminal may still be delivering. */
static void pump(struct monitor *m, struct exec_session *s, struct watch *w)
{
	char bytes[CHUNK_BYTES];

	while (w->fd >= 0 && s->client && client_idle(s->client)) {
		ssize_t got = read(w->fd, bytes, sizeof(bytes));

		if (got > 0) {
			client_send(m, s->client, w == &s->error ? FRAME_STDERR : FRAME_STDOUT,
				    bytes, (size_t)got);
			continue;
		}
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN && !(s->exited && !s->terminal)) {
			watch_set(m, w, EPOLLIN);
			return;
		}
		watch_close(m, w);
	}
	watch_set(m, w, 0);
}

static void output_ready(struct monitor *m, struct watch *w, uint32_t events _unused_)
{
	struct exec_session *s = w->owner;

	pump(m, s, w);
	settle(m, s);
}

static void process_ready(struct monitor *m, struct watch *w, uint32_t events _unused_)
{
	struct exec_session *s = w->owner;
	siginfo_t info = {.si_pid = 0};

	if (waitid(P_PIDFD, (id_t)w->fd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
		return;
	s->exited = true;
	s->exit_code = info.si_code == CLD_EXITED ? info.si_status : 128 + info.si_status;
	s->kill_at_ms = s->terminal ? monitor_now_ms() + TERMINAL_GRACE_MS : 0;
	watch_set(m, w, 0);
	pump(m, s, &s->out);
	pump(m, s, &s->error);
	settle(m, s);
}

void exec_client_read_again(struct monitor *m, struct client *c)
{
	struct exec_session *s = c->exec;

	pump(m, s, &s->out);
	pump(m, s, &s->error);
	settle(m, s);
}

static void input_drained(struct monitor *m, struct sink *sink)
{
	struct exec_session *s = sink->owner;

	if (s->client)
		client_resume(m, s->client);
}

/* The process object with `terminal` as the request says, as text. */
static int process_text(const struct json *request, bool terminal, struct jw *w, struct err *err)
{
	const struct json *process = NULL;
	int result = json_get_object(request, "process", &process, err);

	if (result < 0)
		return result;
	if (!process)
		return err_set(err, -EINVAL, "cannot exec: \"process\" must be set");
	jw_object(w, NULL);
	json_each(v, process)
	{
		if (strcmp(v->key, "terminal") != 0)
			ops_put_json(w, v->key, v);
	}
	jw_bool(w, "terminal", terminal);
	jw_object_end(w);
	return 0;
}

static int read_size(const struct json *request, uint16_t *ret_rows, uint16_t *ret_cols,
		     struct err *err)
{
	uint32_t rows = 0, cols = 0;
	int result = json_get_u32(request, "rows", &rows, err);

	if (result >= 0)
		result = json_get_u32(request, "cols", &cols, err);
	if (result < 0)
		return result;
	if (rows > UINT16_MAX || cols > UINT16_MAX)
		return err_set(err, -ERANGE, "cannot size the terminal: must be at most %d",
			       UINT16_MAX);
	*ret_rows = (uint16_t)rows;
	*ret_cols = (uint16_t)cols;
	return 0;
}

/* Takes over the descriptors. The master of a terminal is watched for reading and, through a
 * second descriptor, for writing. */
static int adopt(struct monitor *m, struct client *c, struct exec_result *result,
		 struct exec_pipes *pipes, struct err *err)
{
	struct exec_session *s = calloc(1, sizeof(*s));
	bool terminal = result->terminal_fd >= 0;
	int input =
	    terminal ? fcntl(result->terminal_fd, F_DUPFD_CLOEXEC, 3) : steal_fd(&pipes->ours[0]);

	if (!s) {
		(void)sys_pidfd_signal(result->pidfd, SIGKILL);
		(void)waitid(P_PIDFD, (id_t)result->pidfd, NULL, WEXITED);
		close_and_forget(&result->pidfd);
		close_and_forget(&result->terminal_fd);
		close_and_forget(&input);
		return err_set(err, -ENOMEM, "cannot exec: out of memory");
	}
	if (terminal)
		(void)fcntl(result->terminal_fd, F_SETFL, O_RDWR | O_NONBLOCK);
	s->client = c;
	s->pid = result->pid;
	s->terminal = terminal;
	watch_init(&s->process, result->pidfd, process_ready, s);
	watch_init(&s->out, terminal ? result->terminal_fd : steal_fd(&pipes->ours[1]),
		   output_ready, s);
	watch_init(&s->error, terminal ? FD_NONE : steal_fd(&pipes->ours[2]), output_ready, s);
	sink_init(&s->in, input, input_drained, s);
	s->next = m->sessions;
	m->sessions = s;
	c->exec = s;
	c->state = CLIENT_EXEC;
	return 0;
}

int exec_begin(struct monitor *m, struct client *c, const struct json *request, struct err *err)
{
	_cleanup_jw_ struct jw process = {.buf = NULL};
	struct exec_pipes pipes = {.theirs = {FD_NONE, FD_NONE, FD_NONE},
				   .ours = {FD_NONE, FD_NONE, FD_NONE}};
	struct exec_opts opts = EXEC_OPTS_INIT;
	struct exec_result started = {.pidfd = FD_NONE, .terminal_fd = FD_NONE};
	bool terminal = false, input = false;
	struct jw reply = {.buf = NULL};
	int result = json_get_bool(request, "tty", &terminal, err);

	if (result >= 0)
		result = json_get_bool(request, "stdin", &input, err);
	if (result >= 0)
		result = read_size(request, &opts.rows, &opts.cols, err);
	if (result >= 0)
		result = process_text(request, terminal, &process, err);
	if (result < 0)
		return result;
	result = jw_finish(&process, &opts.process, &opts.process_len);
	if (result < 0)
		return err_sys(err, result, "cannot exec");
	if (!terminal)
		result = make_pipes(&pipes, input, err);
	memcpy(opts.stdio, pipes.theirs, sizeof(opts.stdio));
	if (result == 0)
		result = container_exec(&m->container, &opts, &started, err);
	if (result == 0)
		result = adopt(m, c, &started, &pipes, err);
	close_pipes(&pipes);
	if (result < 0)
		return result;
	jw_object(&reply, NULL);
	jw_bool(&reply, "ok", true);
	jw_i64(&reply, "pid", started.pid);
	jw_object_end(&reply);
	client_send_json(m, c, &reply);
	watch_set(m, &c->exec->process, EPOLLIN);
	watch_set(m, &c->exec->out, EPOLLIN);
	watch_set(m, &c->exec->error, EPOLLIN);
	return 0;
}

static int control(struct exec_session *s, const struct json *request, struct err *err)
{
	struct winsize size = {.ws_row = 0};
	const char *name = NULL;
	uint32_t number = 0;
	int result = json_get_string(request, "op", &name, err);

	if (result > 0 && strcmp(name, "resize") == 0) {
		result = read_size(request, &size.ws_row, &size.ws_col, err);
		if (result == 0 && s->terminal && ioctl(s->out.fd, TIOCSWINSZ, &size) < 0)
			return err_sys(err, -errno, "cannot size the terminal");
		return result;
	}
	if (result > 0 && strcmp(name, "signal") == 0) {
		result = json_get_u32(request, "signal", &number, err);
		if (result > 0 && !s->exited)
			result = sys_pidfd_signal(s->process.fd, (int)number);
		return result < 0 && err->code == 0 ? err_sys(err, result, "cannot signal")
						    : result;
	}
	return err_set(err, -EINVAL, "cannot take the request: must be \"resize\" or \"signal\"");
}

/* The answer to a control frame would stand among the output's frames: only failures are told. */
void exec_control(struct monitor *m, struct client *c, const struct json *request)
{
	struct err err = ERR_INIT;

	if (control(c->exec, request, &err) < 0)
		ops_reply_error(m, c, &err);
}

void exec_client_gone(struct monitor *m, struct exec_session *s)
{
	s->client = NULL;
	watch_close(m, &s->out);
	watch_close(m, &s->error);
	sink_close(m, &s->in);
	if (s->exited) {
		forget(m, s);
		return;
	}
	(void)sys_pidfd_signal(s->process.fd, SIGHUP);
	s->kill_at_ms = monitor_now_ms() + GONE_GRACE_MS;
}

void exec_expire(struct monitor *m, int64_t now_ms)
{
	struct exec_session *next;

	for (struct exec_session *s = m->sessions; s; s = next) {
		next = s->next;
		if (s->kill_at_ms == 0 || s->kill_at_ms > now_ms)
			continue;
		s->kill_at_ms = 0;
		if (!s->exited) {
			(void)sys_pidfd_signal(s->process.fd, SIGKILL);
			continue;
		}
		watch_close(m, &s->out);
		settle(m, s);
	}
}
