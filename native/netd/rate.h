/* Bandwidth limits by token bucket filters: one on the host's end for what the container receives,
 * one on eth0 inside for what it sends, where the sender is slowed instead of its packets lost. */
#pragma once
#include "netlink.h"

/* Sets (or with 0 removes) the limit of what leaves through the interface. */
int rate_limit(struct netlink *nl, const char *name, uint64_t bytes_per_second, struct err *err);
