/* IPv4 addresses as text and as the kernel wants them (network byte order). */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>

#include "err.h"

#define MAC_BYTES 6

struct cidr {
	struct in_addr address;
	uint8_t prefix; /* 0..32 */
};

static inline bool cidr_equal(const struct cidr *a, const struct cidr *b)
{
	return a->address.s_addr == b->address.s_addr && a->prefix == b->prefix;
}

/* `what` names the field in the error's text. */
int address_parse(const char *what, const char *text, struct in_addr *ret, struct err *err);

/* "10.1.2.3/24"; the prefix is required. */
int cidr_parse(const char *what, const char *text, struct cidr *ret, struct err *err);

/* "02:00:00:00:00:01"; multicast and the zero address are refused. */
int mac_parse(const char *what, const char *text, uint8_t ret[MAC_BYTES], struct err *err);

/* A locally administered address that follows from the IPv4 address: a container that takes over
 * an address also takes over its hardware address, so no neighbour keeps a stale entry. */
void mac_from_address(struct in_addr address, uint8_t ret[MAC_BYTES]);
