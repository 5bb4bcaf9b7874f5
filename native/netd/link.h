/* Bridges and veth pairs: each function is idempotent, "already so" is success. */
#pragma once
#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "address.h"
#include "netlink.h"

/* The interface's index, or -ENODEV. */
int link_index(struct netlink *nl, const char *name, int *ret_index, struct err *err);

/* 1 to 15 characters, none of which the kernel or a shell could take amiss. */
int link_check_name(const char *what, const char *name, struct err *err);

/* Makes a bridge, up, with exactly this address. mtu 0 = the kernel's default. */
int bridge_ensure(struct netlink *nl, const char *name, const struct cidr *address, uint32_t mtu,
		  struct err *err);

struct veth {
	const char *host_if;
	const char *bridge;
	int netns_fd; /* where the peer appears, as eth0; the caller's */
	uint8_t mac[MAC_BYTES];
	uint32_t mtu; /* 0 = the kernel's default */
};

/* The host's end comes up as a port of the bridge, the peer stays down. -EEXIST when host_if is
 * taken. */
int veth_create(struct netlink *nl, const struct veth *veth, struct err *err);

/* In the container's network namespace: loopback and eth0 up, address, default route. */
int eth0_configure(struct netlink *inside, const struct cidr *address, struct in_addr gateway,
		   struct err *err);

/* Takes the interface down and out of its bridge: it is silent at once, and the costly removal can
 * wait. No such interface is success. */
int link_silence(struct netlink *nl, const char *name, struct err *err);

/* Deletes it, which costs tens of milliseconds. No such interface is success. */
int link_delete(struct netlink *nl, const char *name, struct err *err);

struct link_info {
	const char *name;
	int index;
	bool up;
	const struct rtnl_link_stats64 *stats; /* NULL when not asked for */
};

typedef int (*link_visit)(const struct link_info *link, void *context, struct err *err);

/* Visits every port of the bridge. */
int link_ports(struct netlink *nl, int bridge_index, bool with_stats, link_visit visit,
	       void *context, struct err *err);
