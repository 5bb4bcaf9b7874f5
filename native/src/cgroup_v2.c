/* linux.resources as writes to cgroup v2 files: pure, no system calls. The conversions are those
 * that the runtime-spec's users know from runc. */
#include <inttypes.h>

#include "cgroup.h"

static const char *number_or_max(struct cg_plan *p, int64_t v)
{
	return v < 0 || v == INT64_MAX ? "max" : arena_printf(p->arena, "%" PRId64, v);
}

static void add(struct cg_plan *p, const char *file, const char *value)
{
	cg_plan_add(p, CG_UNIFIED, file, value);
}

/* v1 counts memory plus swap, v2 swap alone. */
static int plan_memory(const struct resources *r, struct cg_plan *p, struct err *err)
{
	const struct num *limit = &r->memory_limit, *swap = &r->memory_swap;

	if (swap->set && swap->value > 0) {
		if (!limit->set || limit->value <= 0)
			return err_set(err, -EINVAL,
				       "resources.memory.swap: needs memory.limit on cgroup v2");
		cg_plan_add_full(p, &(struct cg_write){
					    .ctrl = CG_UNIFIED,
					    .file = "memory.swap.max",
					    .value = number_or_max(p, swap->value - limit->value),
					    .optional = true });
	} else if (swap->set && swap->value < 0) {
		cg_plan_add_full(p, &(struct cg_write){ .ctrl = CG_UNIFIED,
							.file = "memory.swap.max",
							.value = "max",
							.optional = true });
	}
	if (limit->set && limit->value != 0)
		add(p, "memory.max", number_or_max(p, limit->value));
	if (r->memory_reservation.set && r->memory_reservation.value != 0)
		add(p, "memory.low", number_or_max(p, r->memory_reservation.value));
	return 0;
}

static void plan_cpu(const struct resources *r, struct cg_plan *p)
{
	if (r->cpu_shares.set && r->cpu_shares.value != 0) {
		int64_t shares = r->cpu_shares.value;

		shares = shares < 2 ? 2 : shares > 262144 ? 262144 : shares;
		add(p, "cpu.weight",
		    arena_printf(p->arena, "%" PRId64, 1 + ((shares - 2) * 9999) / 262142));
	}
	if ((r->cpu_quota.set && r->cpu_quota.value != 0) ||
	    (r->cpu_period.set && r->cpu_period.value != 0)) {
		int64_t period =
			r->cpu_period.set && r->cpu_period.value ? r->cpu_period.value : 100000;
		bool limited = r->cpu_quota.set && r->cpu_quota.value > 0;

		add(p, "cpu.max",
		    limited ? arena_printf(p->arena, "%" PRId64 " %" PRId64, r->cpu_quota.value,
					   period)
			    : arena_printf(p->arena, "max %" PRId64, period));
	}
	if (r->cpu_burst.set)
		add(p, "cpu.max.burst", number_or_max(p, r->cpu_burst.value));
	if (r->cpu_idle.set)
		add(p, "cpu.idle", number_or_max(p, r->cpu_idle.value));
	if (r->cpus && *r->cpus)
		add(p, "cpuset.cpus", r->cpus);
	if (r->mems && *r->mems)
		add(p, "cpuset.mems", r->mems);
}

static const char *io_weight(struct cg_plan *p, int64_t v1)
{
	return arena_printf(p->arena, "%" PRId64, 1 + (v1 - 10) * 9999 / 990);
}

static void plan_io(const struct resources *r, struct cg_plan *p)
{
	static const char *const words[RATE_KINDS] = { "rbps", "wbps", "riops", "wiops" };

	if (r->blkio_weight.set && r->blkio_weight.value != 0)
		cg_plan_add_full(p, &(struct cg_write){
					    .ctrl = CG_UNIFIED,
					    .file = "io.bfq.weight",
					    .value = number_or_max(p, r->blkio_weight.value),
					    .fallback_file = "io.weight",
					    .fallback_value = io_weight(p, r->blkio_weight.value),
					    .optional = true });
	for (size_t i = 0; i < r->weight_count; i++) {
		const struct blkio_weight *w = &r->weights[i];

		if (w->weight.set)
			cg_plan_add_full(
				p, &(struct cg_write){ .ctrl = CG_UNIFIED,
						       .file = "io.bfq.weight",
						       .value = arena_printf(
							       p->arena, "%u:%u %" PRId64, w->major,
							       w->minor, w->weight.value),
						       .optional = true });
	}
	for (int k = 0; k < RATE_KINDS; k++)
		for (size_t i = 0; i < r->rates[k].count; i++) {
			const struct blkio_rate *d = &r->rates[k].items[i];

			add(p, "io.max",
			    d->rate ? arena_printf(p->arena, "%u:%u %s=%" PRIu64, d->major,
						   d->minor, words[k], d->rate)
				    : arena_printf(p->arena, "%u:%u %s=max", d->major, d->minor,
						   words[k]));
		}
}

static int refuse_v1_only(const struct resources *r, struct err *err)
{
	if (r->rt_runtime.set && r->rt_runtime.value)
		return err_set(err, -ENOTSUP,
			       "resources.cpu.realtimeRuntime: not available on cgroup v2");
	if (r->net_class.set && r->net_class.value)
		return err_set(err, -ENOTSUP,
			       "resources.network.classID: not available on cgroup v2");
	if (r->net_priority_count)
		return err_set(err, -ENOTSUP,
			       "resources.network.priorities: not available on cgroup v2");
	return 0;
}

int cg_plan_v2(const struct resources *r, struct cg_plan *p, struct err *err)
{
	int ret = refuse_v1_only(r, err);

	if (ret < 0 || (ret = plan_memory(r, p, err)) < 0)
		return ret;
	plan_cpu(r, p);
	plan_io(r, p);
	if (r->pids_limit.set)
		add(p, "pids.max",
		    r->pids_limit.value > 0 ? number_or_max(p, r->pids_limit.value) : "max");
	for (size_t i = 0; i < r->hugepage_count; i++)
		add(p, arena_printf(p->arena, "hugetlb.%s.max", r->hugepages[i].size),
		    arena_printf(p->arena, "%" PRIu64, r->hugepages[i].limit));
	for (size_t i = 0; i < r->rdma_count; i++)
		add(p, "rdma.max",
		    arena_printf(p->arena, "%s hca_handle=%s hca_object=%s", r->rdma[i].device,
				 r->rdma[i].handles.set ? number_or_max(p, r->rdma[i].handles.value)
							: "max",
				 r->rdma[i].objects.set ? number_or_max(p, r->rdma[i].objects.value)
							: "max"));
	for (size_t i = 0; i < r->unified_count; i++)
		add(p, r->unified[i].key, r->unified[i].value);
	return 0;
}
