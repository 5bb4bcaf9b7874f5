/* The state of the program and its operations: one JSON request in, members of the reply out. */
#pragma once
#include <net/if.h>
#include <stddef.h>
#include <stdint.h>

#include "address.h"
#include "json.h"
#include "json_write.h"
#include "netlink.h"

/* A namespace that is kept alive by our descriptor, for a container that starts or runs. */
struct held {
	char host_if[IFNAMSIZ];
	struct cidr address;
	int fd;
};

struct held_table {
	struct held *items;
	size_t count, room;
};

/* An interface whose namespace was let go: the kernel removes it with the namespace. When it is
 * still there at `check_at_ms` (something kept the namespace), we delete it. */
struct leaving {
	char host_if[IFNAMSIZ];
	int64_t check_at_ms;
};

struct leaving_queue {
	struct leaving *items;
	size_t count, room;
};

struct netd {
	struct netlink nl; /* in the node's network namespace */
	int home_fd;	   /* that namespace */
	struct held_table held;
	struct leaving_queue leaving;
};

typedef int (*operation_fn)(struct netd *netd, const struct json *request, struct jw *reply,
			    struct err *err);

int op_bridge(struct netd *netd, const struct json *request, struct jw *reply, struct err *err);
int op_netns_create(struct netd *netd, const struct json *request, struct jw *reply,
		    struct err *err);
int op_netns_delete(struct netd *netd, const struct json *request, struct jw *reply,
		    struct err *err);
int op_attach(struct netd *netd, const struct json *request, struct jw *reply, struct err *err);
int op_detach(struct netd *netd, const struct json *request, struct jw *reply, struct err *err);
int op_prepare(struct netd *netd, const struct json *request, struct jw *reply, struct err *err);
int op_release(struct netd *netd, const struct json *request, struct jw *reply, struct err *err);
int op_routes(struct netd *netd, const struct json *request, struct jw *reply, struct err *err);
int op_list(struct netd *netd, const struct json *request, struct jw *reply, struct err *err);
int op_stats(struct netd *netd, const struct json *request, struct jw *reply, struct err *err);
int op_rate(struct netd *netd, const struct json *request, struct jw *reply, struct err *err);

/* A required string member. */
int need_string(const struct json *request, const char *key, const char **ret, struct err *err);
/* A required interface name. */
int need_link(const struct json *request, const char *key, const char **ret, struct err *err);

struct held *held_find(struct held_table *table, const char *host_if);
/* Takes over `fd` on success. */
int held_add(struct held_table *table, const char *host_if, const struct cidr *address, int fd,
	     struct err *err);
void held_drop(struct held_table *table, struct held *entry);

/* Notes an interface that should go by itself. */
int leaving_add(struct leaving_queue *queue, const char *host_if, int64_t now_ms, struct err *err);
/* The name is in use again. */
void leaving_forget(struct leaving_queue *queue, const char *host_if);
/* Milliseconds until the next check, or -1 when nothing leaves. */
int leaving_wait_ms(const struct leaving_queue *queue, int64_t now_ms);
/* Deletes at most one interface that is overdue, so that a request never waits for several. */
void leaving_check(struct netd *netd, int64_t now_ms);

int64_t monotonic_ms(void);
