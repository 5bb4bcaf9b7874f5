#include "monitor.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cleanup.h"
#include "json.h"
#include "sys.h"

#define CONFIG_MAX ((size_t)16 * 1024 * 1024)
#define BACKLOG	   512

/* The container's ends of its stdio, and ours. */
struct stdio_pipes {
	int theirs[3];
	int input, out, error;
};

#define STDIO_PIPES_NONE                                                                           \
	{                                                                                          \
		.theirs = {FD_NONE, FD_NONE, FD_NONE}, .input = FD_NONE, .out = FD_NONE,           \
		.error = FD_NONE                                                                   \
	}

static void close_pipes(struct stdio_pipes *p)
{
	for (int i = 0; i < 3; i++)
		close_and_forget(&p->theirs[i]);
	close_and_forget(&p->input);
	close_and_forget(&p->out);
	close_and_forget(&p->error);
}

#define _cleanup_pipes_ __attribute__((cleanup(close_pipes)))

/* Whether the main process is to have an input that clients can write to. The text is searched
 * before it is parsed: nearly no container has the annotation. */
static int wants_input(const char *bundle, bool *ret, struct err *err)
{
	_cleanup_arena_ struct arena arena = {.limit = 0};
	_cleanup_free_ char *text = NULL;
	_cleanup_close_ int dir = open(bundle, O_PATH | O_DIRECTORY | O_CLOEXEC);
	const struct json *annotations = NULL;
	const char *value = NULL;
	struct json *config = NULL;
	size_t length = 0;
	int result =
	    dir < 0 ? -errno : read_file_at(dir, "config.json", CONFIG_MAX, &text, &length);

	*ret = false;
	if (result < 0)
		return err_sys(err, result, "cannot read \"%s/config.json\"", bundle);
	if (!text || !memmem(text, length, "dev.gantry.stdin", strlen("dev.gantry.stdin")))
		return 0;
	result = json_parse(&arena, text, length, &config, err);
	if (result == 0)
		result = json_get_object(config, "annotations", &annotations, err);
	if (result >= 0)
		result = json_get_string(annotations, "dev.gantry.stdin", &value, err);
	if (result < 0)
		return err_prefix(err, "config.json");
	*ret = value && strcmp(value, "true") == 0;
	return 0;
}

static int make_pipe(int *ret_read, int *ret_write)
{
	int ends[2];

	if (pipe2(ends, O_CLOEXEC) < 0)
		return -errno;
	*ret_read = ends[0];
	*ret_write = ends[1];
	return 0;
}

static int make_pipes(struct stdio_pipes *p, bool input, struct err *err)
{
	int result = 0;

	if (input) {
		result = make_pipe(&p->theirs[0], &p->input);
	} else {
		p->theirs[0] = open("/dev/null", O_RDONLY | O_CLOEXEC);
		result = p->theirs[0] < 0 ? -errno : 0;
	}
	if (result == 0)
		result = make_pipe(&p->out, &p->theirs[1]);
	if (result == 0)
		result = make_pipe(&p->error, &p->theirs[2]);
	return result < 0 ? err_sys(err, result, "cannot make the container's pipes") : 0;
}

/* Bound by way of the folder's descriptor, because a socket's path may have 107 characters only. */
static int open_socket(int dir_fd, int *ret_fd, struct err *err)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	_cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	if (fd < 0)
		return err_sys(err, -errno, "cannot open the monitor's socket");
	(void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/monitor.sock",
		       dir_fd);
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
	    fchmodat(dir_fd, "monitor.sock", 0600, 0) < 0 || listen(fd, BACKLOG) < 0)
		return err_sys(err, -errno, "cannot bind monitor.sock");
	*ret_fd = steal_fd(&fd);
	return 0;
}

/* A container whose start failed: nothing of it stays. */
static void undo(struct monitor *m)
{
	struct err ignored = ERR_INIT;

	(void)container_kill(&m->container, SIGKILL, false, &ignored);
	(void)waitid(P_PIDFD, (id_t)m->container.pidfd, NULL, WEXITED);
	(void)container_delete(&m->container, true, &ignored);
	container_close(&m->container);
}

static int run_container(struct monitor *m, const struct monitor_options *options,
			 const struct stdio_pipes *pipes, struct err *err)
{
	struct create_opts opts = CREATE_OPTS_INIT;
	int result;

	opts.root = options->root;
	opts.id = options->id;
	opts.bundle = options->bundle;
	opts.start_in_process = true;
	opts.keep_terminal = true;
	memcpy(opts.stdio, pipes->theirs, sizeof(opts.stdio));
	result = container_create(&opts, &m->container, err);
	if (result < 0)
		return result;
	result = container_start(&m->container, err);
	if (result == 0) {
		m->start = (struct start_record){
		    .pid = m->container.pid,
		    .start_time = m->container.start_time,
		    .started_at_us = wall_clock_us(),
		};
		result = record_started(m->dir_fd, &m->start, err);
	}
	if (result < 0)
		undo(m);
	return result;
}

/* A terminal carries input and output; its second descriptor lets both be watched on their own. */
static void take_stdio(struct monitor *m, struct stdio_pipes *pipes)
{
	int master = m->container.terminal_fd;

	m->terminal = master >= 0;
	if (m->terminal) {
		m->out.w.fd = steal_fd(&m->container.terminal_fd);
		m->in.w.fd = fcntl(master, F_DUPFD_CLOEXEC, 3);
		(void)fcntl(master, F_SETFL, O_RDWR | O_NONBLOCK);
		return;
	}
	m->out.w.fd = steal_fd(&pipes->out);
	m->error.w.fd = steal_fd(&pipes->error);
	m->in.w.fd = steal_fd(&pipes->input);
	(void)fcntl(m->out.w.fd, F_SETFL, O_RDONLY | O_NONBLOCK);
	(void)fcntl(m->error.w.fd, F_SETFL, O_RDONLY | O_NONBLOCK);
	if (m->in.w.fd >= 0)
		(void)fcntl(m->in.w.fd, F_SETFL, O_WRONLY | O_NONBLOCK);
}

static int start_in_folder(struct monitor *m, const struct monitor_options *options,
			   struct err *err)
{
	_cleanup_pipes_ struct stdio_pipes pipes = STDIO_PIPES_NONE;
	bool input;
	int result = record_clear(m->dir_fd, err);

	if (result == 0)
		result = open_socket(m->dir_fd, &m->listener.fd, err);
	if (result == 0)
		result = wants_input(options->bundle, &input, err);
	if (result == 0)
		result = make_pipes(&pipes, input, err);
	if (result == 0)
		result = run_container(m, options, &pipes, err);
	if (result == 0)
		take_stdio(m, &pipes);
	return result;
}

int monitor_start(struct monitor *m, const struct monitor_options *options, struct err *err)
{
	int result;

	m->container = (struct container)CONTAINER_INIT;
	m->claim_fd = m->process.fd = m->listener.fd = m->in.w.fd = m->out.w.fd = m->error.w.fd =
	    FD_NONE;
	m->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	m->dir_fd = open(options->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (m->epoll_fd < 0 || m->dir_fd < 0)
		return err_sys(err, -errno, "cannot open the folder \"%s\"", options->dir);
	result = record_claim(m->dir_fd, &m->claim_fd, err);
	if (result < 0)
		return err_prefix(err, "%s", options->dir);
	result = start_in_folder(m, options, err);
	if (result < 0)
		record_discard(m->dir_fd);
	return result;
}
