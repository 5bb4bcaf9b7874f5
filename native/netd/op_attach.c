/* Operations that make and remove a container's place in the network. */
#include "netd.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"
#include "link.h"
#include "netns.h"

struct attachment {
	const char *host_if, *bridge;
	const char *netns; /* a path, or NULL: held by descriptor */
	struct cidr address;
	struct in_addr gateway;
	struct veth veth;
};

static int read_attachment(const struct json *request, struct attachment *ret, struct err *err)
{
	const char *address = NULL, *gateway = NULL, *mac = NULL;
	int result = need_link(request, "host_if", &ret->host_if, err);

	if (result == 0)
		result = need_link(request, "bridge", &ret->bridge, err);
	if (result == 0)
		result = need_string(request, "address", &address, err);
	if (result == 0)
		result = cidr_parse("address", address, &ret->address, err);
	if (result == 0)
		result = need_string(request, "gateway", &gateway, err);
	if (result == 0)
		result = address_parse("gateway", gateway, &ret->gateway, err);
	if (result < 0)
		return result;
	ret->veth = (struct veth){.host_if = ret->host_if, .bridge = ret->bridge};
	mac_from_address(ret->address.address, ret->veth.mac);
	result = json_get_string(request, "mac", &mac, err);
	if (result > 0)
		result = mac_parse("mac", mac, ret->veth.mac, err);
	if (result == 0)
		result = json_get_u32(request, "mtu", &ret->veth.mtu, err);
	return result < 0 ? result : 0;
}

/* When the name is taken and the namespace has no eth0, the interface is a left-over of another. */
static int connect_veth(struct netd *netd, struct attachment *want, int netns_fd,
			struct netlink *inside, struct err *err)
{
	int eth0;
	int result;

	want->veth.netns_fd = netns_fd;
	leaving_forget(&netd->leaving, want->host_if);
	result = veth_create(&netd->nl, &want->veth, err);
	if (result == -EEXIST && link_index(inside, "eth0", &eth0, err) < 0) {
		result = link_delete(&netd->nl, want->host_if, err);
		if (result == 0)
			result = veth_create(&netd->nl, &want->veth, err);
	}
	if (result < 0 && result != -EEXIST)
		return result;
	return eth0_configure(inside, &want->address, want->gateway, err);
}

int op_netns_create(struct netd *netd, const struct json *request, struct jw *reply _unused_,
		    struct err *err)
{
	_cleanup_close_ int fd = FD_NONE;
	_cleanup_netlink_ struct netlink inside = NETLINK_NONE;
	const struct ifinfomsg up = {.ifi_index = 1, .ifi_flags = IFF_UP, .ifi_change = IFF_UP};
	struct nl_batch batch;
	const char *path;
	int result = need_string(request, "path", &path, err);

	if (result < 0 || netns_open(path, &fd, err) == 0)
		return result;
	result = netns_create(netd->home_fd, &fd, &inside, err);
	if (result < 0)
		return result;
	nl_batch_init(&batch);
	nl_begin(&batch, "bring loopback up", RTM_SETLINK, 0, &up, sizeof(up));
	result = nl_commit(&inside, &batch, 0, err);
	return result < 0 ? result : netns_bind(fd, path, err);
}

int op_netns_delete(struct netd *netd _unused_, const struct json *request,
		    struct jw *reply _unused_, struct err *err)
{
	const char *path;
	int result = need_string(request, "path", &path, err);

	return result < 0 ? result : netns_unbind(path, err);
}

int op_attach(struct netd *netd, const struct json *request, struct jw *reply _unused_,
	      struct err *err)
{
	_cleanup_close_ int fd = FD_NONE;
	_cleanup_netlink_ struct netlink inside = NETLINK_NONE;
	struct attachment want = {.host_if = NULL};
	int result = read_attachment(request, &want, err);

	if (result == 0)
		result = need_string(request, "netns", &want.netns, err);
	if (result == 0)
		result = netns_open(want.netns, &fd, err);
	if (result == 0)
		result = netns_socket(netd->home_fd, fd, &inside, err);
	if (result < 0)
		return result;
	return connect_veth(netd, &want, fd, &inside, err);
}

int op_detach(struct netd *netd, const struct json *request, struct jw *reply _unused_,
	      struct err *err)
{
	const char *host_if;
	int result = need_link(request, "host_if", &host_if, err);

	return result < 0 ? result : link_delete(&netd->nl, host_if, err);
}

static void tell_path(struct jw *reply, const char *path, int fd)
{
	char held[64];

	if (!path) {
		(void)snprintf(held, sizeof(held), "/proc/%d/fd/%d", getpid(), fd);
		path = held;
	}
	jw_string(reply, "netns", path);
}

/* A namespace with the wanted address that we already hold, or that stands at the path. */
static int prepared(struct netd *netd, struct attachment *want, struct jw *reply, struct err *err)
{
	struct held *held = held_find(&netd->held, want->host_if);
	_cleanup_close_ int fd = FD_NONE;
	_cleanup_netlink_ struct netlink inside = NETLINK_NONE;
	int result;

	if (want->netns) {
		if (netns_open(want->netns, &fd, err) < 0)
			return 0;
		result = netns_socket(netd->home_fd, fd, &inside, err);
		if (result == 0)
			result = connect_veth(netd, want, fd, &inside, err);
		if (result == 0)
			tell_path(reply, want->netns, fd);
		return result < 0 ? result : 1;
	}
	if (!held)
		return 0;
	if (!cidr_equal(&held->address, &want->address)) {
		held_drop(&netd->held, held);
		return 0;
	}
	tell_path(reply, NULL, held->fd);
	return 1;
}

/* A failure half way leaves nothing: the interface goes with the namespace, which only our
 * descriptor holds. */
int op_prepare(struct netd *netd, const struct json *request, struct jw *reply, struct err *err)
{
	_cleanup_close_ int fd = FD_NONE;
	_cleanup_netlink_ struct netlink inside = NETLINK_NONE;
	struct attachment want = {.host_if = NULL};
	int result = read_attachment(request, &want, err);

	if (result == 0)
		result = json_get_string(request, "netns", &want.netns, err);
	if (result < 0)
		return result;
	result = prepared(netd, &want, reply, err);
	if (result != 0)
		return result < 0 ? result : 0;
	result = netns_create(netd->home_fd, &fd, &inside, err);
	if (result == 0)
		result = connect_veth(netd, &want, fd, &inside, err);
	if (result < 0)
		return result;
	tell_path(reply, want.netns, fd);
	if (want.netns)
		return netns_bind(fd, want.netns, err);
	result = held_add(&netd->held, want.host_if, &want.address, fd, err);
	if (result == 0)
		(void)steal_fd(&fd);
	return result;
}

int op_release(struct netd *netd, const struct json *request, struct jw *reply _unused_,
	       struct err *err)
{
	const char *host_if, *path = NULL;
	struct held *held;
	int result = need_link(request, "host_if", &host_if, err);

	if (result == 0)
		result = json_get_string(request, "netns", &path, err);
	if (result < 0)
		return result;
	result = link_silence(&netd->nl, host_if, err);
	held = held_find(&netd->held, host_if);
	if (held)
		held_drop(&netd->held, held);
	if (result == 0 && path)
		result = netns_unbind(path, err);
	return result < 0 ? result : leaving_add(&netd->leaving, host_if, monotonic_ms(), err);
}
