/* linux.resources as writes to cgroup v1 files: pure, no system calls. */
#include <inttypes.h>

#include "cgroup.h"

static const char *number(struct cg_plan *p, int64_t v)
{
	return arena_printf(p->arena, "%" PRId64, v);
}

static void add_num(struct cg_plan *p, enum cg_ctrl c, const char *file, const struct num *n)
{
	if (n->set)
		cg_plan_add(p, c, file, number(p, n->value));
}

/* Limits that say "none" are written only where they could undo something: -1 is what a fresh
 * group has, and memsw does not exist without swap accounting. */
static void plan_memory(const struct resources *r, struct cg_plan *p)
{
	const struct num *limit = &r->memory_limit, *swap = &r->memory_swap;

	if (limit->set && limit->value != 0)
		cg_plan_add(p, CG_MEMORY, "memory.limit_in_bytes", number(p, limit->value));
	if (swap->set && swap->value != 0)
		cg_plan_add_full(p, &(struct cg_write){ .ctrl = CG_MEMORY,
							.file = "memory.memsw.limit_in_bytes",
							.value = number(p, swap->value),
							.optional = swap->value < 0 });
	if (r->memory_reservation.set && r->memory_reservation.value != 0)
		add_num(p, CG_MEMORY, "memory.soft_limit_in_bytes", &r->memory_reservation);
	if (r->memory_kernel_tcp.set && r->memory_kernel_tcp.value != 0)
		add_num(p, CG_MEMORY, "memory.kmem.tcp.limit_in_bytes", &r->memory_kernel_tcp);
	add_num(p, CG_MEMORY, "memory.swappiness", &r->swappiness);
	if (r->has_oom_killer && r->oom_killer_disabled)
		cg_plan_add(p, CG_MEMORY, "memory.oom_control", "1");
}

static void plan_cpu(const struct resources *r, struct cg_plan *p)
{
	if (r->cpu_shares.set && r->cpu_shares.value != 0)
		add_num(p, CG_CPU, "cpu.shares", &r->cpu_shares);
	if (r->cpu_period.set && r->cpu_period.value != 0)
		add_num(p, CG_CPU, "cpu.cfs_period_us", &r->cpu_period);
	if (r->cpu_quota.set && r->cpu_quota.value != 0)
		add_num(p, CG_CPU, "cpu.cfs_quota_us", &r->cpu_quota);
	if (r->cpu_burst.set)
		add_num(p, CG_CPU, "cpu.cfs_burst_us", &r->cpu_burst);
	if (r->rt_period.set && r->rt_period.value != 0)
		add_num(p, CG_CPU, "cpu.rt_period_us", &r->rt_period);
	if (r->rt_runtime.set && r->rt_runtime.value != 0)
		add_num(p, CG_CPU, "cpu.rt_runtime_us", &r->rt_runtime);
	if (r->cpu_idle.set)
		add_num(p, CG_CPU, "cpu.idle", &r->cpu_idle);
	if (r->cpus && *r->cpus)
		cg_plan_add(p, CG_CPUSET, "cpuset.cpus", r->cpus);
	if (r->mems && *r->mems)
		cg_plan_add(p, CG_CPUSET, "cpuset.mems", r->mems);
}

static void plan_blkio(const struct resources *r, struct cg_plan *p)
{
	static const char *const files[RATE_KINDS] = { "blkio.throttle.read_bps_device",
						       "blkio.throttle.write_bps_device",
						       "blkio.throttle.read_iops_device",
						       "blkio.throttle.write_iops_device" };

	if (r->blkio_weight.set && r->blkio_weight.value != 0)
		cg_plan_add_full(p, &(struct cg_write){ .ctrl = CG_BLKIO,
							.file = "blkio.weight",
							.fallback_file = "blkio.bfq.weight",
							.value = number(p, r->blkio_weight.value),
							.optional = true });
	if (r->blkio_leaf_weight.set && r->blkio_leaf_weight.value != 0)
		cg_plan_add_full(p,
				 &(struct cg_write){ .ctrl = CG_BLKIO,
						     .file = "blkio.leaf_weight",
						     .value = number(p, r->blkio_leaf_weight.value),
						     .optional = true });
	for (size_t i = 0; i < r->weight_count; i++) {
		const struct blkio_weight *w = &r->weights[i];

		if (w->weight.set)
			cg_plan_add_full(
				p, &(struct cg_write){ .ctrl = CG_BLKIO,
						       .file = "blkio.weight_device",
						       .fallback_file = "blkio.bfq.weight_device",
						       .value = arena_printf(
							       p->arena, "%u:%u %" PRId64, w->major,
							       w->minor, w->weight.value),
						       .optional = true });
	}
	for (int k = 0; k < RATE_KINDS; k++)
		for (size_t i = 0; i < r->rates[k].count; i++) {
			const struct blkio_rate *d = &r->rates[k].items[i];

			cg_plan_add(p, CG_BLKIO, files[k],
				    arena_printf(p->arena, "%u:%u %" PRIu64, d->major, d->minor,
						 d->rate));
		}
}

static void plan_rest(const struct resources *r, struct cg_plan *p)
{
	if (r->pids_limit.set)
		cg_plan_add(p, CG_PIDS, "pids.max",
			    r->pids_limit.value > 0 ? number(p, r->pids_limit.value) : "max");
	for (size_t i = 0; i < r->hugepage_count; i++)
		cg_plan_add(
			p, CG_HUGETLB,
			arena_printf(p->arena, "hugetlb.%s.limit_in_bytes", r->hugepages[i].size),
			arena_printf(p->arena, "%" PRIu64, r->hugepages[i].limit));
	add_num(p, CG_NET_CLS, "net_cls.classid", &r->net_class);
	for (size_t i = 0; i < r->net_priority_count; i++)
		cg_plan_add(p, CG_NET_PRIO, "net_prio.ifpriomap",
			    arena_printf(p->arena, "%s %u", r->net_priorities[i].name,
					 r->net_priorities[i].priority));
	for (size_t i = 0; i < r->rdma_count; i++) {
		const struct rdma_limit *l = &r->rdma[i];

		if (l->handles.set)
			cg_plan_add(p, CG_RDMA, "rdma.max",
				    arena_printf(p->arena, "%s hca_handle=%" PRId64, l->device,
						 l->handles.value));
		if (l->objects.set)
			cg_plan_add(p, CG_RDMA, "rdma.max",
				    arena_printf(p->arena, "%s hca_object=%" PRId64, l->device,
						 l->objects.value));
	}
	/* The v2 tree of a hybrid host takes what it has; a file that is not there is refused. */
	for (size_t i = 0; i < r->unified_count; i++)
		cg_plan_add(p, CG_UNIFIED, r->unified[i].key, r->unified[i].value);
}

int cg_plan_v1(const struct resources *r, struct cg_plan *p, struct err *err)
{
	(void)err;
	plan_memory(r, p);
	plan_cpu(r, p);
	plan_blkio(r, p);
	plan_rest(r, p);
	return 0;
}
