#include "netlink.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "cleanup.h"

/* One dump answer; the kernel fills up to 32 KiB when the reader offers it. */
#define RECEIVE_BYTES 32768

/* The kernel answers within microseconds; a missing answer is a fault. */
#define ANSWER_TIMEOUT_S 10

int netlink_open(struct netlink *ret_socket, struct err *err)
{
	const struct sockaddr_nl address = {.nl_family = AF_NETLINK};
	const struct timeval patience = {.tv_sec = ANSWER_TIMEOUT_S};
	const int on = 1;
	_cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (fd < 0)
		return err_sys(err, -errno, "cannot open a route socket");
	/* Without these two an error is a bare number and a dump unfiltered. */
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof(on));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	(void)setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof(on));
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	if (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
		return err_sys(err, -errno, "cannot bind a route socket");
	*ret_socket = (struct netlink){.fd = steal_fd(&fd)};
	return 0;
}

void netlink_close(struct netlink *nl)
{
	close_and_forget(&nl->fd);
}

void nl_batch_init(struct nl_batch *batch)
{
	batch->length = 0;
	batch->begin = 0;
	batch->count = 0;
	batch->overflow = false;
}

/* Takes aligned, zeroed room at the end of the batch; NULL when it is full. */
static void *reserve(struct nl_batch *batch, size_t length)
{
	size_t room = NLMSG_ALIGN(length);
	char *at = batch->bytes + batch->length;

	if (batch->overflow || room > sizeof(batch->bytes) - batch->length) {
		batch->overflow = true;
		return NULL;
	}
	memset(at, 0, room);
	batch->length += room;
	return at;
}

static struct nlmsghdr *current(struct nl_batch *batch)
{
	return (struct nlmsghdr *)(void *)(batch->bytes + batch->begin);
}

static void grow_current(struct nl_batch *batch)
{
	current(batch)->nlmsg_len = (uint32_t)(batch->length - batch->begin);
}

void nl_begin(struct nl_batch *batch, const char *label, uint16_t type, uint16_t flags,
	      const void *header, size_t header_length)
{
	size_t begin = batch->length;
	struct nlmsghdr *message;

	if (batch->count == NL_BATCH_MESSAGES)
		batch->overflow = true;
	message = reserve(batch, NLMSG_HDRLEN + header_length);
	if (!message)
		return;
	batch->begin = begin;
	batch->label[batch->count++] = label;
	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	memcpy(NLMSG_DATA(message), header, header_length);
	grow_current(batch);
}

void nl_attr(struct nl_batch *batch, uint16_t type, const void *data, size_t length)
{
	struct rtattr *attribute = reserve(batch, RTA_LENGTH(length));

	if (!attribute)
		return;
	attribute->rta_type = type;
	attribute->rta_len = (unsigned short)RTA_LENGTH(length);
	if (length > 0)
		memcpy(RTA_DATA(attribute), data, length);
	grow_current(batch);
}

void nl_attr_u8(struct nl_batch *batch, uint16_t type, uint8_t value)
{
	nl_attr(batch, type, &value, sizeof(value));
}

void nl_attr_u32(struct nl_batch *batch, uint16_t type, uint32_t value)
{
	nl_attr(batch, type, &value, sizeof(value));
}

void nl_attr_string(struct nl_batch *batch, uint16_t type, const char *value)
{
	nl_attr(batch, type, value, strlen(value) + 1);
}

void nl_bytes(struct nl_batch *batch, const void *data, size_t length)
{
	void *at = reserve(batch, length);

	if (!at)
		return;
	memcpy(at, data, length);
	grow_current(batch);
}

size_t nl_nest_begin(struct nl_batch *batch, uint16_t type)
{
	size_t nest = batch->length;

	nl_attr(batch, type, NULL, 0);
	return nest;
}

void nl_nest_end(struct nl_batch *batch, size_t nest)
{
	struct rtattr *attribute = (void *)(batch->bytes + nest);

	if (!batch->overflow)
		attribute->rta_len = (unsigned short)(batch->length - nest);
}

/* Numbers the messages, so that each answer names the message it is for. */
static void seal(struct netlink *nl, struct nl_batch *batch, uint16_t flags)
{
	size_t offset = 0;

	while (offset < batch->length) {
		struct nlmsghdr *message = (void *)(batch->bytes + offset);

		message->nlmsg_seq = ++nl->seq;
		message->nlmsg_flags |= flags;
		offset += NLMSG_ALIGN(message->nlmsg_len);
	}
}

static int transmit(struct netlink *nl, const struct nl_batch *batch, struct err *err)
{
	if (batch->overflow)
		return err_set(err, -EMSGSIZE, "cannot build a netlink request: too long");
	if (send(nl->fd, batch->bytes, batch->length, 0) < 0)
		return err_sys(err, -errno, "cannot send to the kernel");
	return 0;
}

static int receive(const struct netlink *nl, char *bytes, size_t room, size_t *ret_length,
		   struct err *err)
{
	ssize_t got;

	do {
		got = recv(nl->fd, bytes, room, 0);
	} while (got < 0 && errno == EINTR);
	if (got < 0)
		return err_sys(err, -errno, "cannot read the kernel's answer");
	*ret_length = (size_t)got;
	return 0;
}

/* The kernel's own words about an error, or "" when it gave none. */
static const char *explanation(const struct nlmsghdr *message)
{
	const struct rtattr *table[NLMSGERR_ATTR_MSG + 1];
	size_t skip = NLMSG_HDRLEN + sizeof(struct nlmsgerr);

	if (!(message->nlmsg_flags & NLM_F_ACK_TLVS) || message->nlmsg_len <= skip)
		return "";
	nl_parse(table, NLMSGERR_ATTR_MSG, (const void *)((const char *)message + skip),
		 message->nlmsg_len - skip);
	if (!table[NLMSGERR_ATTR_MSG])
		return "";
	return RTA_DATA(table[NLMSGERR_ATTR_MSG]);
}

static int report(const struct nlmsghdr *message, const char *label, struct err *err)
{
	const struct nlmsgerr *answer = NLMSG_DATA(message);
	const char *why = explanation(message);

	return err_sys(err, answer->error, "cannot %s%s%s", label, *why ? ": " : "", why);
}

int nl_commit(struct netlink *nl, struct nl_batch *batch, int tolerate, struct err *err)
{
	uint32_t first = nl->seq + 1;
	unsigned int answered = 0;
	int result;

	if (batch->count == 0)
		return 0;
	seal(nl, batch, NLM_F_ACK);
	result = transmit(nl, batch, err);
	if (result < 0)
		return result;
	while (answered < batch->count) {
		char bytes[RECEIVE_BYTES] __attribute__((aligned(4)));
		size_t length;
		struct nlmsghdr *message = (void *)bytes;
		int failure = receive(nl, bytes, sizeof(bytes), &length, err);

		if (failure < 0)
			return failure;
		for (; NLMSG_OK(message, length); message = NLMSG_NEXT(message, length)) {
			const struct nlmsgerr *answer = NLMSG_DATA(message);
			uint32_t which = message->nlmsg_seq - first;

			if (message->nlmsg_type != NLMSG_ERROR || which >= batch->count)
				continue;
			answered++;
			if (answer->error == 0 || answer->error == -tolerate || result < 0)
				continue;
			result = report(message, batch->label[which], err);
		}
	}
	return result;
}

/* Returns 1 when the dump has ended, 0 when more is to come, or -errno. */
static int visit_all(const struct netlink *nl, const struct nl_batch *batch,
		     struct nlmsghdr *message, size_t length, nl_visit visit, void *context,
		     struct err *err)
{
	for (; NLMSG_OK(message, length); message = NLMSG_NEXT(message, length)) {
		int result;

		if (message->nlmsg_seq != nl->seq)
			continue;
		if (message->nlmsg_type == NLMSG_DONE)
			return 1;
		if (message->nlmsg_type == NLMSG_ERROR) {
			const struct nlmsgerr *answer = NLMSG_DATA(message);

			if (answer->error == 0)
				return 1;
			return report(message, batch->label[0], err);
		}
		result = visit(message, context, err);
		if (result < 0)
			return result;
		if (!(message->nlmsg_flags & NLM_F_MULTI))
			return 1;
	}
	return 0;
}

int nl_dump(struct netlink *nl, struct nl_batch *batch, nl_visit visit, void *context,
	    struct err *err)
{
	int result;

	seal(nl, batch, 0);
	result = transmit(nl, batch, err);
	while (result == 0) {
		char bytes[RECEIVE_BYTES] __attribute__((aligned(4)));
		size_t length = 0;

		result = receive(nl, bytes, sizeof(bytes), &length, err);
		if (result == 0)
			result = visit_all(nl, batch, (void *)bytes, length, visit, context, err);
	}
	return result < 0 ? result : 0;
}

void nl_parse(const struct rtattr *table[], uint16_t max, const struct rtattr *first, size_t length)
{
	const struct rtattr *attribute = first;

	for (uint16_t i = 0; i <= max; i++)
		table[i] = NULL;
	for (; RTA_OK(attribute, length); attribute = RTA_NEXT(attribute, length)) {
		uint16_t type = attribute->rta_type & NLA_TYPE_MASK;

		if (type <= max)
			table[type] = attribute;
	}
}
