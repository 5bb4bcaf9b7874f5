#include "link.h"

#include <linux/if_link.h>
#include <linux/veth.h>
#include <string.h>
#include <unistd.h>

#include "cleanup.h"

/* More addresses than this on one bridge are removed by the next call. */
#define FOREIGN_MAX 12

/* From linux/in6.h's family of headers, which clash with libc's. */
#define ADDR_GEN_MODE_NONE 1

static int take_index(const struct nlmsghdr *message, void *context, struct err *err _unused_)
{
	const struct ifinfomsg *info = NLMSG_DATA(message);

	*(int *)context = info->ifi_index;
	return 0;
}

int link_index(struct netlink *nl, const char *name, int *ret_index, struct err *err)
{
	const struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
	struct nl_batch batch;
	int index = 0;
	int result;

	nl_batch_init(&batch);
	nl_begin(&batch, "find the interface", RTM_GETLINK, 0, &header, sizeof(header));
	nl_attr_string(&batch, IFLA_IFNAME, name);
	nl_attr_u32(&batch, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	result = nl_dump(nl, &batch, take_index, &index, err);
	if (result < 0)
		return err_prefix(err, "%s", name);
	*ret_index = index;
	return 0;
}

int link_check_name(const char *what, const char *name, struct err *err)
{
	size_t length = strlen(name);
	bool good = length > 0 && length < IFNAMSIZ && name[0] != '.' && name[0] != '-';

	for (size_t i = 0; good && i < length; i++)
		good = (name[i] >= 'a' && name[i] <= 'z') || (name[i] >= 'A' && name[i] <= 'Z') ||
		       (name[i] >= '0' && name[i] <= '9') || strchr("-_.", name[i]);
	if (!good)
		return err_set(
		    err, -EINVAL,
		    "cannot use %s \"%s\": must be 1 to 15 letters, digits, '-', '_' or '.'", what,
		    name);
	return 0;
}

static void bridge_create_message(struct nl_batch *batch, const char *name,
				  const struct cidr *address)
{
	const struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
	uint8_t mac[MAC_BYTES];
	size_t info;

	/* Without an address of its own a bridge takes its lowest port's, and changes it when that
	 * port goes: every container's neighbour entry for the gateway would be wrong then. */
	mac_from_address(address->address, mac);
	nl_begin(batch, "create the bridge", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header,
		 sizeof(header));
	nl_attr_string(batch, IFLA_IFNAME, name);
	nl_attr(batch, IFLA_ADDRESS, mac, sizeof(mac));
	info = nl_nest_begin(batch, IFLA_LINKINFO);
	nl_attr(batch, IFLA_INFO_KIND, "bridge", strlen("bridge"));
	nl_nest_end(batch, info);
}

static void address_message(struct nl_batch *batch, const char *label, uint16_t type, int index,
			    const struct cidr *address)
{
	const struct ifaddrmsg header = {
	    .ifa_family = AF_INET,
	    .ifa_prefixlen = address->prefix,
	    .ifa_index = (unsigned int)index,
	};
	uint16_t flags = type == RTM_NEWADDR ? NLM_F_CREATE | NLM_F_REPLACE : 0;
	struct in_addr broadcast = address->address;

	nl_begin(batch, label, type, flags, &header, sizeof(header));
	nl_attr(batch, IFA_LOCAL, &address->address, sizeof(address->address));
	nl_attr(batch, IFA_ADDRESS, &address->address, sizeof(address->address));
	if (type == RTM_NEWADDR && address->prefix < 31) {
		broadcast.s_addr |= htonl(0xffffffffU >> address->prefix);
		nl_attr(batch, IFA_BROADCAST, &broadcast, sizeof(broadcast));
	}
}

struct foreign {
	const struct cidr *own;
	int index;
	unsigned int count;
	struct cidr found[FOREIGN_MAX];
};

static int collect_foreign(const struct nlmsghdr *message, void *context, struct err *err _unused_)
{
	struct foreign *foreign = context;
	const struct ifaddrmsg *header = NLMSG_DATA(message);
	const struct rtattr *table[IFA_LOCAL + 1];
	struct cidr address = {.prefix = header->ifa_prefixlen};

	nl_parse(table, IFA_LOCAL, IFA_RTA(header), IFA_PAYLOAD(message));
	if ((int)header->ifa_index != foreign->index || !table[IFA_LOCAL])
		return 0;
	memcpy(&address.address, RTA_DATA(table[IFA_LOCAL]), sizeof(address.address));
	if (cidr_equal(&address, foreign->own))
		return 0;
	if (foreign->count < FOREIGN_MAX)
		foreign->found[foreign->count++] = address;
	return 0;
}

/* A node that was given another subnet must not answer for its former gateway address. */
static int drop_foreign_addresses(struct netlink *nl, int index, const struct cidr *own,
				  struct err *err)
{
	const struct ifaddrmsg header = {.ifa_family = AF_INET, .ifa_index = (unsigned int)index};
	struct foreign foreign = {.own = own, .index = index};
	struct nl_batch batch;
	int result;

	nl_batch_init(&batch);
	nl_begin(&batch, "list the bridge's addresses", RTM_GETADDR, NLM_F_DUMP, &header,
		 sizeof(header));
	result = nl_dump(nl, &batch, collect_foreign, &foreign, err);
	if (result < 0)
		return result;
	nl_batch_init(&batch);
	for (unsigned int i = 0; i < foreign.count; i++)
		address_message(&batch, "drop the bridge's former address", RTM_DELADDR, index,
				&foreign.found[i]);
	return nl_commit(nl, &batch, EADDRNOTAVAIL, err);
}

/* No link-local IPv6 addresses: hundreds of ports would only multicast to each other. The kernel
 * takes this for an existing interface only, and generates the address as it comes up, so this is
 * a message of its own in front. A kernel without IPv6 refuses to hear of the family. */
static void no_link_local_message(struct nl_batch *batch, const char *name)
{
	const struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
	size_t families, inet6;

	if (access("/proc/sys/net/ipv6", F_OK) < 0)
		return;
	nl_begin(batch, "turn link-local addresses off", RTM_SETLINK, 0, &header, sizeof(header));
	nl_attr_string(batch, IFLA_IFNAME, name);
	families = nl_nest_begin(batch, IFLA_AF_SPEC);
	inet6 = nl_nest_begin(batch, AF_INET6);
	nl_attr_u8(batch, IFLA_INET6_ADDR_GEN_MODE, ADDR_GEN_MODE_NONE);
	nl_nest_end(batch, inet6);
	nl_nest_end(batch, families);
}

static void up_message(struct nl_batch *batch, const char *label, const char *name, uint32_t mtu)
{
	const struct ifinfomsg header = {
	    .ifi_family = AF_UNSPEC,
	    .ifi_flags = IFF_UP,
	    .ifi_change = IFF_UP,
	};

	nl_begin(batch, label, RTM_SETLINK, 0, &header, sizeof(header));
	nl_attr_string(batch, IFLA_IFNAME, name);
	if (mtu)
		nl_attr_u32(batch, IFLA_MTU, mtu);
}

int bridge_ensure(struct netlink *nl, const char *name, const struct cidr *address, uint32_t mtu,
		  struct err *err)
{
	struct nl_batch batch;
	int index = 0;
	int result;

	nl_batch_init(&batch);
	bridge_create_message(&batch, name, address);
	result = nl_commit(nl, &batch, EEXIST, err);
	if (result == 0)
		result = link_index(nl, name, &index, err);
	if (result < 0)
		return result;
	nl_batch_init(&batch);
	no_link_local_message(&batch, name);
	up_message(&batch, "bring the bridge up", name, mtu);
	address_message(&batch, "give the bridge its address", RTM_NEWADDR, index, address);
	result = nl_commit(nl, &batch, EEXIST, err);
	if (result < 0)
		return result;
	return drop_foreign_addresses(nl, index, address, err);
}

static void veth_peer(struct nl_batch *batch, const struct veth *veth)
{
	const struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
	size_t peer = nl_nest_begin(batch, VETH_INFO_PEER);

	/* The peer's own header stands bare in front of its attributes. */
	nl_bytes(batch, &header, sizeof(header));
	nl_attr_string(batch, IFLA_IFNAME, "eth0");
	nl_attr_u32(batch, IFLA_NET_NS_FD, (uint32_t)veth->netns_fd);
	nl_attr(batch, IFLA_ADDRESS, veth->mac, sizeof(veth->mac));
	if (veth->mtu)
		nl_attr_u32(batch, IFLA_MTU, veth->mtu);
	nl_nest_end(batch, peer);
}

/* Lets a container reach itself by a published port: where bridged packets pass the address
 * translation, such a packet leaves by the port that it came in by. */
static void hairpin_message(struct nl_batch *batch, const char *name)
{
	const struct ifinfomsg header = { .ifi_family = AF_UNSPEC };
	size_t info, data;

	nl_begin(batch, "let the port send back", RTM_NEWLINK, 0, &header, sizeof(header));
	nl_attr_string(batch, IFLA_IFNAME, name);
	info = nl_nest_begin(batch, IFLA_LINKINFO);
	nl_attr(batch, IFLA_INFO_SLAVE_KIND, "bridge", strlen("bridge"));
	data = nl_nest_begin(batch, IFLA_INFO_SLAVE_DATA);
	nl_attr_u8(batch, IFLA_BRPORT_MODE, BRIDGE_MODE_HAIRPIN);
	nl_nest_end(batch, data);
	nl_nest_end(batch, info);
}

int veth_create(struct netlink *nl, const struct veth *veth, struct err *err)
{
	const struct ifinfomsg header = {
	    .ifi_family = AF_UNSPEC,
	    .ifi_flags = IFF_UP,
	    .ifi_change = IFF_UP,
	};
	struct nl_batch batch;
	size_t info, data;
	int master = 0;
	int result = link_index(nl, veth->bridge, &master, err);

	if (result < 0)
		return result;
	nl_batch_init(&batch);
	nl_begin(&batch, "create the veth pair", RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &header,
		 sizeof(header));
	nl_attr_string(&batch, IFLA_IFNAME, veth->host_if);
	nl_attr_u32(&batch, IFLA_MASTER, (uint32_t)master);
	if (veth->mtu)
		nl_attr_u32(&batch, IFLA_MTU, veth->mtu);
	info = nl_nest_begin(&batch, IFLA_LINKINFO);
	nl_attr(&batch, IFLA_INFO_KIND, "veth", strlen("veth"));
	data = nl_nest_begin(&batch, IFLA_INFO_DATA);
	veth_peer(&batch, veth);
	nl_nest_end(&batch, data);
	nl_nest_end(&batch, info);
	no_link_local_message(&batch, veth->host_if);
	hairpin_message(&batch, veth->host_if);
	up_message(&batch, "bring the host's end up", veth->host_if, 0);
	result = nl_commit(nl, &batch, 0, err);
	return result < 0 ? err_prefix(err, "%s", veth->host_if) : 0;
}

int eth0_configure(struct netlink *inside, const struct cidr *address, struct in_addr gateway,
		   struct err *err)
{
	const struct rtmsg route = {
	    .rtm_family = AF_INET,
	    .rtm_table = RT_TABLE_MAIN,
	    .rtm_protocol = RTPROT_BOOT,
	    .rtm_scope = RT_SCOPE_UNIVERSE,
	    .rtm_type = RTN_UNICAST,
	};
	struct nl_batch batch;
	int index = 0;
	int result = link_index(inside, "eth0", &index, err);

	if (result < 0)
		return result;
	nl_batch_init(&batch);
	no_link_local_message(&batch, "eth0");
	up_message(&batch, "bring loopback up", "lo", 0);
	up_message(&batch, "bring eth0 up", "eth0", 0);
	address_message(&batch, "give eth0 its address", RTM_NEWADDR, index, address);
	nl_begin(&batch, "set the default route", RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE,
		 &route, sizeof(route));
	nl_attr(&batch, RTA_GATEWAY, &gateway, sizeof(gateway));
	return nl_commit(inside, &batch, EEXIST, err);
}

int link_silence(struct netlink *nl, const char *name, struct err *err)
{
	const struct ifinfomsg header = {.ifi_family = AF_UNSPEC, .ifi_change = IFF_UP};
	struct nl_batch batch;

	nl_batch_init(&batch);
	nl_begin(&batch, "take the interface down", RTM_SETLINK, 0, &header, sizeof(header));
	nl_attr_string(&batch, IFLA_IFNAME, name);
	nl_attr_u32(&batch, IFLA_MASTER, 0);
	return nl_commit(nl, &batch, ENODEV, err);
}

int link_delete(struct netlink *nl, const char *name, struct err *err)
{
	const struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
	struct nl_batch batch;

	nl_batch_init(&batch);
	nl_begin(&batch, "delete the interface", RTM_DELLINK, 0, &header, sizeof(header));
	nl_attr_string(&batch, IFLA_IFNAME, name);
	return nl_commit(nl, &batch, ENODEV, err);
}

struct port_walk {
	int bridge_index;
	link_visit visit;
	void *context;
};

static int visit_port(const struct nlmsghdr *message, void *context, struct err *err)
{
	const struct port_walk *walk = context;
	const struct ifinfomsg *header = NLMSG_DATA(message);
	const struct rtattr *table[IFLA_STATS64 + 1];
	struct rtnl_link_stats64 stats;
	struct link_info link = {.index = header->ifi_index, .up = header->ifi_flags & IFF_UP};
	uint32_t master;

	nl_parse(table, IFLA_STATS64, IFLA_RTA(header), IFLA_PAYLOAD(message));
	if (message->nlmsg_type != RTM_NEWLINK || !table[IFLA_IFNAME] || !table[IFLA_MASTER])
		return 0;
	memcpy(&master, RTA_DATA(table[IFLA_MASTER]), sizeof(master));
	if ((int)master != walk->bridge_index)
		return 0;
	link.name = RTA_DATA(table[IFLA_IFNAME]);
	if (table[IFLA_STATS64]) {
		size_t length = RTA_PAYLOAD(table[IFLA_STATS64]);

		/* Attribute data is 4-byte aligned, the counters need 8. */
		memset(&stats, 0, sizeof(stats));
		memcpy(&stats, RTA_DATA(table[IFLA_STATS64]),
		       length < sizeof(stats) ? length : sizeof(stats));
		link.stats = &stats;
	}
	return walk->visit(&link, walk->context, err);
}

int link_ports(struct netlink *nl, int bridge_index, bool with_stats, link_visit visit,
	       void *context, struct err *err)
{
	const struct ifinfomsg header = {.ifi_family = AF_UNSPEC};
	struct port_walk walk = {.bridge_index = bridge_index, .visit = visit, .context = context};
	struct nl_batch batch;

	nl_batch_init(&batch);
	nl_begin(&batch, "list the bridge's ports", RTM_GETLINK, NLM_F_DUMP, &header,
		 sizeof(header));
	nl_attr_u32(&batch, IFLA_MASTER, (uint32_t)bridge_index);
	if (!with_stats)
		nl_attr_u32(&batch, IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
	return nl_dump(nl, &batch, visit_port, &walk, err);
}
