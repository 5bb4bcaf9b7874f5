/*
 * Route netlink, as little of it as is needed: build several messages into one
 * buffer, send them with one system call, and learn for each whether the
 * kernel took it.
 */
#pragma once
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

#define NL_BATCH_BYTES	  8192
#define NL_BATCH_MESSAGES 16

/* A netlink socket, bound to the network namespace it was opened in. */
struct netlink {
	int fd;
	uint32_t seq;
};

/* Messages not yet sent. `label` says what each is for, in error texts. */
struct nl_batch {
	char bytes[NL_BATCH_BYTES] __attribute__((aligned(NLMSG_ALIGNTO)));
	size_t length;
	size_t begin; /* offset of the message under construction */
	unsigned int count;
	bool overflow;
	const char *label[NL_BATCH_MESSAGES];
};

/* Opens a socket in the calling thread's network namespace. */
int netlink_open(struct netlink *ret_socket, struct err *err);
void netlink_close(struct netlink *nl);

#define NETLINK_NONE                                                                               \
	{                                                                                          \
		.fd = -EBADF                                                                       \
	}
#define _cleanup_netlink_ __attribute__((cleanup(netlink_close)))

void nl_batch_init(struct nl_batch *batch);

/*
 * Starts a message; NLM_F_REQUEST is implied. Anything that does not fit marks
 * the whole batch, and nl_commit then refuses it with -EMSGSIZE.
 */
void nl_begin(struct nl_batch *batch, const char *label, uint16_t type, uint16_t flags,
	      const void *header, size_t header_length);
void nl_attr(struct nl_batch *batch, uint16_t type, const void *data, size_t length);
void nl_attr_u8(struct nl_batch *batch, uint16_t type, uint8_t value);
void nl_attr_u32(struct nl_batch *batch, uint16_t type, uint32_t value);
void nl_attr_string(struct nl_batch *batch, uint16_t type, const char *value);
/* Bytes that stand bare inside an attribute, in front of further attributes. */
void nl_bytes(struct nl_batch *batch, const void *data, size_t length);
/* Opens a nested attribute and returns its offset for nl_nest_end. */
size_t nl_nest_begin(struct nl_batch *batch, uint16_t type);
void nl_nest_end(struct nl_batch *batch, size_t nest);

/*
 * Sends all messages and waits for the answer to each. `tolerate` (may be 0) is
 * an errno that counts as success. The first other error is returned, with the
 * label and the kernel's own explanation; later messages were still tried.
 */
int nl_commit(struct netlink *nl, struct nl_batch *batch, int tolerate, struct err *err);

typedef int (*nl_visit)(const struct nlmsghdr *message, void *context, struct err *err);

/* Sends the one message in `batch` and visits every answer to it. */
int nl_dump(struct netlink *nl, struct nl_batch *batch, nl_visit visit, void *context,
	    struct err *err);

/* Sorts attributes into `table`, indexed by type up to `max`. */
void nl_parse(const struct rtattr *table[], uint16_t max, const struct rtattr *first,
	      size_t length);
