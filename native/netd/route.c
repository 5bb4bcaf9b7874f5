#include "route.h"

#include <stdlib.h>
#include <string.h>

#include "cleanup.h"

#define ROUTES_MAX 65536

int route_table_add(struct route_table *table, const struct route *route, struct err *err)
{
	if (table->count == table->room) {
		size_t room = table->room ? table->room * 2 : 64;
		struct route *items;

		if (table->count >= ROUTES_MAX)
			return err_set(err, -E2BIG, "cannot keep routes: must be at most %d",
				       ROUTES_MAX);
		items = realloc(table->items, room * sizeof(*items));
		if (!items)
			return err_set(err, -ENOMEM, "cannot keep routes: out of memory");
		table->items = items;
		table->room = room;
	}
	table->items[table->count++] = *route;
	return 0;
}

void route_table_free(struct route_table *table)
{
	free(table->items);
	*table = (struct route_table){.items = NULL};
}

static int collect(const struct nlmsghdr *message, void *context, struct err *err)
{
	const struct rtmsg *header = NLMSG_DATA(message);
	const struct rtattr *table[RTA_GATEWAY + 1];
	struct route route = {.to.prefix = header->rtm_dst_len};

	nl_parse(table, RTA_GATEWAY, RTM_RTA(header), RTM_PAYLOAD(message));
	if (message->nlmsg_type != RTM_NEWROUTE || header->rtm_protocol != ROUTE_PROTOCOL ||
	    header->rtm_table != RT_TABLE_MAIN)
		return 0;
	if (table[RTA_DST])
		memcpy(&route.to.address, RTA_DATA(table[RTA_DST]), sizeof(route.to.address));
	if (table[RTA_GATEWAY])
		memcpy(&route.via, RTA_DATA(table[RTA_GATEWAY]), sizeof(route.via));
	if (table[RTA_OIF])
		memcpy(&route.device, RTA_DATA(table[RTA_OIF]), sizeof(route.device));
	return route_table_add(context, &route, err);
}

int route_list(struct netlink *nl, struct route_table *ret, struct err *err)
{
	const struct rtmsg header = {
	    .rtm_family = AF_INET,
	    .rtm_table = RT_TABLE_MAIN,
	    .rtm_protocol = ROUTE_PROTOCOL,
	};
	struct nl_batch batch;

	nl_batch_init(&batch);
	nl_begin(&batch, "list routes", RTM_GETROUTE, NLM_F_DUMP, &header, sizeof(header));
	return nl_dump(nl, &batch, collect, ret, err);
}

/* By destination, so that two sorted tables can be walked side by side. */
static int compare(const void *a, const void *b)
{
	const struct route *left = a, *right = b;
	uint32_t l = ntohl(left->to.address.s_addr), r = ntohl(right->to.address.s_addr);

	if (l != r)
		return l < r ? -1 : 1;
	return (int)left->to.prefix - (int)right->to.prefix;
}

static bool same_target(const struct route *wanted, const struct route *found)
{
	return wanted->via.s_addr == found->via.s_addr &&
	       (wanted->device == 0 || wanted->device == found->device);
}

static void route_message(struct nl_batch *batch, uint16_t type, const struct route *route)
{
	const struct rtmsg header = {
	    .rtm_family = AF_INET,
	    .rtm_dst_len = route->to.prefix,
	    .rtm_table = RT_TABLE_MAIN,
	    .rtm_protocol = ROUTE_PROTOCOL,
	    .rtm_scope = type == RTM_DELROUTE ? RT_SCOPE_NOWHERE : RT_SCOPE_UNIVERSE,
	    .rtm_type = type == RTM_DELROUTE ? RTN_UNSPEC : RTN_UNICAST,
	};
	bool add = type == RTM_NEWROUTE;

	nl_begin(batch, add ? "add a route" : "delete a route", type,
		 add ? NLM_F_CREATE | NLM_F_REPLACE : 0, &header, sizeof(header));
	nl_attr(batch, RTA_DST, &route->to.address, sizeof(route->to.address));
	nl_attr_u32(batch, RTA_PRIORITY, ROUTE_METRIC);
	if (!add)
		return;
	nl_attr(batch, RTA_GATEWAY, &route->via, sizeof(route->via));
	if (route->device)
		nl_attr_u32(batch, RTA_OIF, (uint32_t)route->device);
}

struct change {
	struct netlink *nl;
	struct nl_batch batch;
	struct err *err;
	int result;
};

static void flush(struct change *change)
{
	struct err later = ERR_INIT;
	bool first = change->result == 0;
	int result = nl_commit(change->nl, &change->batch, ESRCH, first ? change->err : &later);

	if (first)
		change->result = result;
	nl_batch_init(&change->batch);
}

static void push(struct change *change, uint16_t type, const struct route *route)
{
	if (change->batch.count == NL_BATCH_MESSAGES)
		flush(change);
	route_message(&change->batch, type, route);
}

int route_replace(struct netlink *nl, const struct route_table *wanted, struct err *err)
{
	_cleanup_routes_ struct route_table found = {.items = NULL};
	struct change change = {.nl = nl, .err = err};
	size_t w = 0, f = 0;
	int result = route_list(nl, &found, err);

	if (result < 0)
		return result;
	if (wanted->count)
		qsort(wanted->items, wanted->count, sizeof(struct route), compare);
	if (found.count)
		qsort(found.items, found.count, sizeof(struct route), compare);
	nl_batch_init(&change.batch);
	while (w < wanted->count || f < found.count) {
		int order = w == wanted->count ? 1
			    : f == found.count ? -1
					       : compare(&wanted->items[w], &found.items[f]);

		if (order > 0)
			push(&change, RTM_DELROUTE, &found.items[f]);
		else if (order < 0 || !same_target(&wanted->items[w], &found.items[f]))
			push(&change, RTM_NEWROUTE, &wanted->items[w]);
		w += order <= 0;
		f += order >= 0;
	}
	flush(&change);
	return change.result;
}
