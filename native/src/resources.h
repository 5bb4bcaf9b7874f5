/* linux.resources as a record. A field that the document did not give has `set` false. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "arena.h"
#include "err.h"
#include "json.h"

struct num {
	bool set;
	int64_t value;
};

struct blkio_rate {
	uint32_t major, minor;
	uint64_t rate;
};

struct blkio_rates {
	size_t count;
	struct blkio_rate *items;
};

struct blkio_weight {
	uint32_t major, minor;
	struct num weight, leaf_weight;
};

struct device_rule {
	bool allow;
	char type;	      /* a, c, b */
	int64_t major, minor; /* -1 = any */
	bool read, write, mknod;
};

struct hugepage_limit {
	const char *size;
	uint64_t limit;
};

struct net_priority {
	const char *name;
	uint32_t priority;
};

struct rdma_limit {
	const char *device;
	struct num handles, objects;
};

struct unified_value {
	const char *key, *value;
};

enum blkio_rate_kind { RATE_READ_BPS, RATE_WRITE_BPS, RATE_READ_IOPS, RATE_WRITE_IOPS, RATE_KINDS };

struct resources {
	bool present;
	struct num memory_limit, memory_reservation, memory_swap, memory_kernel_tcp, swappiness;
	bool oom_killer_disabled, has_oom_killer, check_before_update;
	struct num cpu_shares, cpu_quota, cpu_burst, cpu_period, rt_runtime, rt_period, cpu_idle;
	const char *cpus, *mems;
	struct num pids_limit;
	struct num blkio_weight, blkio_leaf_weight;
	size_t weight_count;
	struct blkio_weight *weights;
	struct blkio_rates rates[RATE_KINDS];
	size_t hugepage_count;
	struct hugepage_limit *hugepages;
	struct num net_class;
	size_t net_priority_count;
	struct net_priority *net_priorities;
	bool has_devices;
	size_t device_count;
	struct device_rule *devices;
	size_t rdma_count;
	struct rdma_limit *rdma;
	size_t unified_count;
	struct unified_value *unified;
};

/* `doc` may be NULL: *ret is then empty. */
int resources_parse(struct arena *a, const struct json *doc, struct resources *ret,
		    struct err *err);
