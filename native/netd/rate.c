#include "rate.h"

#include <linux/pkt_sched.h>
#include <string.h>

#include "link.h"

/* The kernel counts bucket time in ticks of 64 ns. */
#define TICKS_PER_SECOND (1000000000ULL / 64)

/* The bucket must take the largest segment that the stack hands over in one piece (64 KiB), and
 * a hundredth of a second of traffic, since the machine may not look at it more often. */
#define BURST_MIN   (128ULL * 1024)
#define BURST_PARTS 100

/* How much may wait: 50 ms of traffic, at least two large segments. */
#define QUEUE_MIN   (128ULL * 1024)
#define QUEUE_PARTS 20

static uint64_t at_least(uint64_t value, uint64_t floor)
{
	return value > floor ? value : floor;
}

static uint32_t clamp(uint64_t value)
{
	return value < UINT32_MAX ? (uint32_t)value : UINT32_MAX;
}

static void tbf_options(struct nl_batch *batch, uint64_t rate)
{
	uint64_t burst = at_least(rate / BURST_PARTS, BURST_MIN);
	uint64_t queue = at_least(rate / QUEUE_PARTS, QUEUE_MIN) + burst;
	const struct tc_tbf_qopt options = {
	    .rate = {.linklayer = TC_LINKLAYER_ETHERNET, .rate = clamp(rate)},
	    .limit = clamp(queue),
	    .buffer = clamp(burst * TICKS_PER_SECOND / rate),
	};
	size_t nest = nl_nest_begin(batch, TCA_OPTIONS);

	nl_attr(batch, TCA_TBF_PARMS, &options, sizeof(options));
	nl_attr_u32(batch, TCA_TBF_BURST, clamp(burst));
	if (rate > UINT32_MAX)
		nl_attr(batch, TCA_TBF_RATE64, &rate, sizeof(rate));
	nl_nest_end(batch, nest);
}

int rate_limit(struct netlink *nl, const char *name, uint64_t bytes_per_second, struct err *err)
{
	struct tcmsg header = {.tcm_family = AF_UNSPEC, .tcm_parent = TC_H_ROOT};
	struct nl_batch batch;
	int result = link_index(nl, name, &header.tcm_ifindex, err);

	if (result < 0)
		return result;
	nl_batch_init(&batch);
	if (bytes_per_second == 0) {
		nl_begin(&batch, "remove the rate limit", RTM_DELQDISC, 0, &header, sizeof(header));
		/* Without a limit the root is the kernel's own, which it will not delete. */
		return nl_commit(nl, &batch, ENOENT, err);
	}
	header.tcm_handle = TC_H_MAKE(1U << 16, 0);
	nl_begin(&batch, "set the rate limit", RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &header,
		 sizeof(header));
	nl_attr(&batch, TCA_KIND, "tbf", sizeof("tbf"));
	tbf_options(&batch, bytes_per_second);
	return nl_commit(nl, &batch, 0, err);
}
