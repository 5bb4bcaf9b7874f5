/* The container monitor: one small process per container that outlives everyone.
 *
 * monitor.c        the command: starts the monitor, tells the caller how it went
 * monitor_start.c  the monitor's first half: folder, pipes, creation and start of the container
 * monitor_life.c   its second half: the event loop, the container's output and end
 * monitor_client.c one connection to the socket: frames in and out
 * monitor_ops.c    what a client can ask for
 * monitor_exec.c   further processes in the container
 * monitor_sink.c   bytes on their way into the container
 * monitor_log.c    the log files
 * monitor_record.c the start and exit records */
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "container.h"
#include "monitor_log.h"
#include "monitor_record.h"

#define MONITOR_CLIENTS_MAX 64

struct monitor;
struct watch;
struct json;

typedef void (*watch_fn)(struct monitor *m, struct watch *w, uint32_t events);

/* A descriptor in the event loop; owned. Embedded in what it belongs to. */
struct watch {
	int fd;
	uint32_t events; /* 0 = not listed, so that a hung-up end cannot spin the loop */
	watch_fn ready;
	void *owner;
};

#define WATCH_NONE                                                                                 \
	{                                                                                          \
		.fd = -EBADF                                                                       \
	}

void watch_init(struct watch *w, int fd, watch_fn ready, void *owner);
void watch_set(struct monitor *m, struct watch *w, uint32_t events);
void watch_close(struct monitor *m, struct watch *w);

/* Bytes on their way to a process's input: at most one frame's piece waits. */
struct sink {
	struct watch w;
	char *bytes;
	size_t length, offset;
	bool close_when_empty;
	void (*drained)(struct monitor *m, struct sink *sink);
	void *owner;
};

void sink_init(struct sink *sink, int fd, void (*drained)(struct monitor *, struct sink *),
	       void *owner);
/* Whether it takes more now; else `drained` is called later. */
bool sink_idle(const struct sink *sink);
/* Takes all of it. A reader that is gone swallows it. */
void sink_put(struct monitor *m, struct sink *sink, const char *bytes, size_t length);
/* Closes after what waits. */
void sink_end(struct monitor *m, struct sink *sink);
void sink_close(struct monitor *m, struct sink *sink);

enum frame_type { FRAME_CONTROL, FRAME_STDOUT, FRAME_STDERR, FRAME_STDIN };
enum client_state { CLIENT_IDLE, CLIENT_WATCH, CLIENT_ATTACH, CLIENT_EXEC };

struct exec_session;

struct client {
	struct watch w;
	enum client_state state;
	bool input_ended, closing, attach_stdin;
	/* The frame being read: header bytes so far, then payload bytes so far. */
	uint8_t header[5];
	unsigned header_used;
	uint32_t length, got;
	char *control; /* payload of a control frame */
	/* What the client has not taken yet. */
	char *out;
	size_t out_length, out_offset, out_room;
	struct exec_session *exec;
	struct client *next;
};

struct exec_session {
	struct client *client; /* NULL after it has gone */
	pid_t pid;
	struct watch process;	 /* pidfd */
	struct watch out, error; /* with a terminal only `out`, its master */
	struct sink in;
	bool terminal, exited;
	int exit_code;
	int64_t kill_at_ms; /* 0 = not */
	struct exec_session *next;
};

struct output {
	struct watch w;
	enum frame_type type;
	struct log_stream stream;
};

struct monitor {
	int epoll_fd, dir_fd;
	int claim_fd; /* holds the folder */
	bool ended, done;
	int64_t end_by_ms; /* when clients and pipes must be done after the end */
	struct container container;
	struct start_record start;
	struct watch process, listener;
	struct sink in;
	bool terminal;
	struct client *clients;
	unsigned client_count;
	struct exec_session *sessions;
	struct log log;
	struct output out, error; /* large: last, so that untouched pages stay untouched */
};

struct monitor_options {
	const char *root, *id, *bundle, *dir;
	struct log_config log;
};

/* monitor_start.c. Runs in the monitor's process: creates and starts the container. A failure
 * leaves nothing behind. */
int monitor_start(struct monitor *m, const struct monitor_options *options, struct err *err);

/* monitor_life.c. Returns when the container has ended and everyone has been told. */
void monitor_live(struct monitor *m);
int64_t monitor_now_ms(void);

/* monitor_client.c */
void client_accept(struct monitor *m, struct watch *w, uint32_t events);
/* Queues a frame; the client is dropped when more than 256 KiB wait. */
void client_send(struct monitor *m, struct client *c, enum frame_type type, const char *bytes,
		 size_t length);
/* Queues the writer's JSON as a control frame and releases the writer. */
void client_send_json(struct monitor *m, struct client *c, struct jw *w);
bool client_idle(const struct client *c); /* nothing waits to be taken */
/* Closes after what waits. */
void client_finish(struct monitor *m, struct client *c);
/* Reads on after the input could not be taken. */
void client_resume(struct monitor *m, struct client *c);
void client_drop(struct monitor *m, struct client *c);

/* monitor_ops.c */
void ops_control(struct monitor *m, struct client *c, const char *text, size_t length);
void ops_reply_error(struct monitor *m, struct client *c, const struct err *err);
/* Writes a parsed value out again, for callees that take text. */
void ops_put_json(struct jw *w, const char *key, const struct json *v);

/* monitor_exec.c */
int exec_begin(struct monitor *m, struct client *c, const struct json *request, struct err *err);
void exec_control(struct monitor *m, struct client *c, const struct json *request);
void exec_client_read_again(struct monitor *m, struct client *c);
void exec_client_gone(struct monitor *m, struct exec_session *session);
/* Kills the sessions that are overdue. */
void exec_expire(struct monitor *m, int64_t now_ms);
