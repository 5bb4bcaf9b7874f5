/* The routes to other nodes' subnets. Ours carry a protocol number and a metric of their own, so
 * that an administrator's route is neither replaced nor removed. */
#pragma once
#include "address.h"
#include "netlink.h"

#define ROUTE_PROTOCOL 117
#define ROUTE_METRIC   117

struct route {
	struct cidr to;
	struct in_addr via;
	int device; /* interface index, 0 = the kernel finds it from `via` */
};

struct route_table {
	struct route *items;
	size_t count, room;
};

int route_table_add(struct route_table *table, const struct route *route, struct err *err);
void route_table_free(struct route_table *table);

/* Reads the routes that carry our protocol number. */
int route_list(struct netlink *nl, struct route_table *ret, struct err *err);

/* Makes the kernel's set equal to `wanted`. One that the kernel refuses does not hold up the
 * others: all are tried, the first error is returned. */
int route_replace(struct netlink *nl, const struct route_table *wanted, struct err *err);

#define _cleanup_routes_ __attribute__((cleanup(route_table_free)))
