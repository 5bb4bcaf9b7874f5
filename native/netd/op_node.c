/* Operations on the node's side: bridge, routes, inventory, figures, limits. */
#include "netd.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cleanup.h"
#include "link.h"
#include "netns.h"
#include "rate.h"
#include "route.h"

static int write_sysctl(const char *path, const char *value, struct err *err)
{
	_cleanup_close_ int fd = open(path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || write(fd, value, strlen(value)) < 0)
		return err_sys(err, -errno, "cannot set \"%s\" to %s", path, value);
	return 0;
}

/* Forwarding between containers, nodes and the outside; loose reverse paths, because an answer may
 * come in by another interface than the kernel would send to. With `localnet` the node's own
 * processes reach published ports at 127.0.0.1 too; the caller then keeps the containers from the
 * node's loopback by a filter. */
static int set_forwarding(const char *bridge, bool localnet, struct err *err)
{
	char path[128];
	int result = write_sysctl("/proc/sys/net/ipv4/ip_forward", "1", err);

	(void)snprintf(path, sizeof(path), "/proc/sys/net/ipv4/conf/%s/rp_filter", bridge);
	if (result == 0)
		result = write_sysctl(path, "2", err);
	if (result == 0 && localnet)
		result = write_sysctl("/proc/sys/net/ipv4/conf/all/route_localnet", "1", err);
	return result;
}

int op_bridge(struct netd *netd, const struct json *request, struct jw *reply _unused_,
	      struct err *err)
{
	const char *name, *text;
	struct cidr address;
	uint32_t mtu = 0;
	bool localnet = false;
	int result = need_link(request, "name", &name, err);

	if (result == 0)
		result = need_string(request, "address", &text, err);
	if (result == 0)
		result = cidr_parse("address", text, &address, err);
	if (result == 0)
		result = json_get_u32(request, "mtu", &mtu, err);
	if (result >= 0)
		result = json_get_bool(request, "localnet", &localnet, err);
	if (result >= 0)
		result = bridge_ensure(&netd->nl, name, &address, mtu, err);
	return result < 0 ? result : set_forwarding(name, localnet, err);
}

static int read_route(const struct json *item, int device, struct route *ret, struct err *err)
{
	const char *to, *via;
	int result = need_string(item, "to", &to, err);

	if (result == 0)
		result = cidr_parse("to", to, &ret->to, err);
	if (result == 0)
		result = need_string(item, "via", &via, err);
	if (result == 0)
		result = address_parse("via", via, &ret->via, err);
	ret->device = device;
	return result;
}

int op_routes(struct netd *netd, const struct json *request, struct jw *reply _unused_,
	      struct err *err)
{
	_cleanup_routes_ struct route_table wanted = {.items = NULL};
	const struct json *list = NULL;
	const char *device = NULL;
	int index = 0;
	int result = json_get_string(request, "device", &device, err);

	if (result > 0)
		result = link_index(&netd->nl, device, &index, err);
	if (result < 0)
		return result;
	result = json_get_array(request, "routes", &list, err);
	if (result == 0)
		return err_set(err, -EINVAL, "cannot read the request: \"routes\" must be set");
	json_each(item, list)
	{
		struct route route;

		if (result >= 0)
			result = read_route(item, index, &route, err);
		if (result >= 0)
			result = route_table_add(&wanted, &route, err);
	}
	return result < 0 ? result : route_replace(&netd->nl, &wanted, err);
}

static int list_port(const struct link_info *link, void *context, struct err *err _unused_)
{
	struct jw *reply = context;

	jw_object(reply, NULL);
	jw_string(reply, "host_if", link->name);
	jw_bool(reply, "up", link->up);
	jw_object_end(reply);
	return 0;
}

static void list_route(struct jw *reply, const struct route *route)
{
	char to[INET_ADDRSTRLEN], via[INET_ADDRSTRLEN], text[INET_ADDRSTRLEN + 4];

	(void)inet_ntop(AF_INET, &route->to.address, to, sizeof(to));
	(void)inet_ntop(AF_INET, &route->via, via, sizeof(via));
	(void)snprintf(text, sizeof(text), "%s/%u", to, route->to.prefix);
	jw_object(reply, NULL);
	jw_string(reply, "to", text);
	jw_string(reply, "via", via);
	jw_object_end(reply);
}

int op_list(struct netd *netd, const struct json *request, struct jw *reply, struct err *err)
{
	_cleanup_routes_ struct route_table routes = {.items = NULL};
	const char *bridge;
	int index = 0;
	int result = need_link(request, "bridge", &bridge, err);

	if (result == 0)
		result = link_index(&netd->nl, bridge, &index, err);
	if (result == 0)
		result = route_list(&netd->nl, &routes, err);
	if (result < 0)
		return result;
	jw_array(reply, "ports");
	result = link_ports(&netd->nl, index, false, list_port, reply, err);
	jw_array_end(reply);
	jw_array(reply, "routes");
	for (size_t i = 0; i < routes.count; i++)
		list_route(reply, &routes.items[i]);
	jw_array_end(reply);
	jw_array(reply, "held");
	for (size_t i = 0; i < netd->held.count; i++)
		jw_string(reply, NULL, netd->held.items[i].host_if);
	jw_array_end(reply);
	return result;
}

/* As the container sees it: what our end sends is what the container receives. */
static int stats_port(const struct link_info *link, void *context, struct err *err _unused_)
{
	struct jw *reply = context;
	const struct rtnl_link_stats64 *s = link->stats;

	if (!s)
		return 0;
	jw_object(reply, link->name);
	jw_u64(reply, "rxBytes", s->tx_bytes);
	jw_u64(reply, "rxPackets", s->tx_packets);
	jw_u64(reply, "rxDropped", s->tx_dropped);
	jw_u64(reply, "txBytes", s->rx_bytes);
	jw_u64(reply, "txPackets", s->rx_packets);
	jw_u64(reply, "txDropped", s->rx_dropped);
	jw_object_end(reply);
	return 0;
}

int op_stats(struct netd *netd, const struct json *request, struct jw *reply, struct err *err)
{
	const char *bridge;
	int index = 0;
	int result = need_link(request, "bridge", &bridge, err);

	if (result == 0)
		result = link_index(&netd->nl, bridge, &index, err);
	if (result < 0)
		return result;
	jw_object(reply, "stats");
	result = link_ports(&netd->nl, index, true, stats_port, reply, err);
	jw_object_end(reply);
	return result;
}

/* What the container sends is limited on its own side: by the namespace at `netns` when given
 * (for one that an earlier run of this program prepared), else by the one we hold. */
static int limit_sending(struct netd *netd, const char *host_if, const char *path, uint64_t rate,
			 struct err *err)
{
	_cleanup_close_ int opened = FD_NONE;
	_cleanup_netlink_ struct netlink inside = NETLINK_NONE;
	struct held *held = held_find(&netd->held, host_if);
	int fd = held ? held->fd : FD_NONE;
	int result = 0;

	if (path) {
		result = netns_open(path, &opened, err);
		fd = opened;
	} else if (!held && rate == 0) {
		return 0;
	} else if (!held) {
		return err_set(err, -ENOENT,
			       "cannot limit \"%s\": \"netns\" must be given, since "
			       "its namespace is not held here",
			       host_if);
	}
	if (result == 0)
		result = netns_socket(netd->home_fd, fd, &inside, err);
	return result < 0 ? result : rate_limit(&inside, "eth0", rate, err);
}

int op_rate(struct netd *netd, const struct json *request, struct jw *reply _unused_,
	    struct err *err)
{
	const char *host_if, *path = NULL;
	uint64_t receive = 0, send = 0;
	int result = need_link(request, "host_if", &host_if, err);

	if (result == 0)
		result = json_get_string(request, "netns", &path, err);
	if (result >= 0)
		result = json_get_u64(request, "rxBytesPerSecond", &receive, err);
	if (result >= 0)
		result = json_get_u64(request, "txBytesPerSecond", &send, err);
	if (result >= 0)
		result = rate_limit(&netd->nl, host_if, receive, err);
	return result < 0 ? result : limit_sending(netd, host_if, path, send, err);
}
