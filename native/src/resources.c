#include "resources.h"

#include <string.h>

static int get_num(const struct json *obj, const char *key, struct num *ret, struct err *err)
{
	const struct json *v = json_get(obj, key);
	uint64_t big;
	int r;

	/* "Unlimited" comes as -1 or as a number near 2^64; both mean no limit. */
	if (v && v->type == JSON_NUMBER && json_i64(v, &ret->value) < 0 && json_u64(v, &big) == 0) {
		ret->value = INT64_MAX;
		ret->set = true;
		return 0;
	}
	r = json_get_i64(obj, key, &ret->value, err);
	ret->set = r == 1;
	return r < 0 ? r : 0;
}

static int parse_memory(const struct json *doc, struct resources *r, struct err *err)
{
	const struct json *m = NULL;

	if (json_get_object(doc, "memory", &m, err) < 0 ||
	    get_num(m, "limit", &r->memory_limit, err) < 0 ||
	    get_num(m, "reservation", &r->memory_reservation, err) < 0 ||
	    get_num(m, "swap", &r->memory_swap, err) < 0 ||
	    get_num(m, "kernelTCP", &r->memory_kernel_tcp, err) < 0 ||
	    get_num(m, "swappiness", &r->swappiness, err) < 0 ||
	    json_get_bool(m, "checkBeforeUpdate", &r->check_before_update, err) < 0)
		return err_prefix(err, "memory");
	if (json_get_bool(m, "disableOOMKiller", &r->oom_killer_disabled, err) < 0)
		return err_prefix(err, "memory");
	r->has_oom_killer = json_get(m, "disableOOMKiller") != NULL;
	if (r->swappiness.set && (r->swappiness.value < 0 || r->swappiness.value > 200))
		return err_set(err, -EINVAL, "memory.swappiness: must be 0..200");
	if (r->memory_limit.set && r->memory_limit.value > 0 && r->memory_swap.set &&
	    r->memory_swap.value > 0 && r->memory_swap.value < r->memory_limit.value)
		return err_set(err, -EINVAL, "memory.swap: must be at least memory.limit");
	return 0;
}

static int parse_cpu(const struct json *doc, struct resources *r, struct err *err)
{
	const struct json *c = NULL;

	if (json_get_object(doc, "cpu", &c, err) < 0 ||
	    get_num(c, "shares", &r->cpu_shares, err) < 0 ||
	    get_num(c, "quota", &r->cpu_quota, err) < 0 ||
	    get_num(c, "burst", &r->cpu_burst, err) < 0 ||
	    get_num(c, "period", &r->cpu_period, err) < 0 ||
	    get_num(c, "realtimeRuntime", &r->rt_runtime, err) < 0 ||
	    get_num(c, "realtimePeriod", &r->rt_period, err) < 0 ||
	    get_num(c, "idle", &r->cpu_idle, err) < 0 ||
	    json_get_string(c, "cpus", &r->cpus, err) < 0 ||
	    json_get_string(c, "mems", &r->mems, err) < 0)
		return err_prefix(err, "cpu");
	return 0;
}

static int parse_rates(struct arena *a, const struct json *io, const char *key,
		       struct blkio_rates *ret, struct err *err)
{
	const struct json *list = NULL;
	int r = json_get_array(io, key, &list, err);

	if (r <= 0)
		return r;
	ret->items = arena_alloc(a, (list->count + 1) * sizeof(*ret->items));
	if (!ret->items)
		return err_set(err, -ENOMEM, "%s: too many", key);
	json_each(v, list)
	{
		struct blkio_rate *d = &ret->items[ret->count];

		if (json_get_u32(v, "major", &d->major, err) < 0 ||
		    json_get_u32(v, "minor", &d->minor, err) < 0 ||
		    json_get_u64(v, "rate", &d->rate, err) < 0)
			return err_prefix(err, "%s[%zu]", key, ret->count);
		ret->count++;
	}
	return 0;
}

static int parse_weights(struct arena *a, const struct json *io, struct resources *r,
			 struct err *err)
{
	const struct json *list = NULL;
	int n = json_get_array(io, "weightDevice", &list, err);

	if (n <= 0)
		return n;
	r->weights = arena_alloc(a, (list->count + 1) * sizeof(*r->weights));
	if (!r->weights)
		return err_set(err, -ENOMEM, "weightDevice: too many");
	json_each(v, list)
	{
		struct blkio_weight *w = &r->weights[r->weight_count];

		if (json_get_u32(v, "major", &w->major, err) < 0 ||
		    json_get_u32(v, "minor", &w->minor, err) < 0 ||
		    get_num(v, "weight", &w->weight, err) < 0 ||
		    get_num(v, "leafWeight", &w->leaf_weight, err) < 0)
			return err_prefix(err, "weightDevice[%zu]", r->weight_count);
		r->weight_count++;
	}
	return 0;
}

static int parse_blkio(struct arena *a, const struct json *doc, struct resources *r,
		       struct err *err)
{
	static const char *const keys[RATE_KINDS] = { "throttleReadBpsDevice",
						      "throttleWriteBpsDevice",
						      "throttleReadIOPSDevice",
						      "throttleWriteIOPSDevice" };
	const struct json *io = NULL;

	if (json_get_object(doc, "blockIO", &io, err) < 0 ||
	    get_num(io, "weight", &r->blkio_weight, err) < 0 ||
	    get_num(io, "leafWeight", &r->blkio_leaf_weight, err) < 0 ||
	    parse_weights(a, io, r, err) < 0)
		return err_prefix(err, "blockIO");
	for (int k = 0; k < RATE_KINDS; k++)
		if (parse_rates(a, io, keys[k], &r->rates[k], err) < 0)
			return err_prefix(err, "blockIO");
	if (r->blkio_weight.set && r->blkio_weight.value != 0 &&
	    (r->blkio_weight.value < 10 || r->blkio_weight.value > 1000))
		return err_set(err, -EINVAL, "blockIO.weight: must be 10..1000");
	return 0;
}

static int parse_rule(const struct json *v, struct device_rule *d, struct err *err)
{
	const char *type = "a", *access = "rwm";
	int64_t major = -1, minor = -1;

	if (json_get_bool(v, "allow", &d->allow, err) < 0 ||
	    json_get_string(v, "type", &type, err) < 0 ||
	    json_get_i64(v, "major", &major, err) < 0 ||
	    json_get_i64(v, "minor", &minor, err) < 0 ||
	    json_get_string(v, "access", &access, err) < 0)
		return err->code;
	if (!*type)
		type = "a";
	if (type[1] || !strchr("acb", type[0]))
		return err_set(err, -EINVAL, "type: must be a, c or b, found \"%s\"", type);
	if (major < -1 || minor < -1)
		return err_set(err, -EINVAL, "major, minor: out of range");
	for (const char *c = access; *c; c++) {
		if (!strchr("rwm", *c))
			return err_set(err, -EINVAL, "access: must be of r, w, m, found \"%s\"",
				       access);
		d->read |= *c == 'r';
		d->write |= *c == 'w';
		d->mknod |= *c == 'm';
	}
	d->type = type[0];
	d->major = major;
	d->minor = minor;
	return 0;
}

static int parse_devices(struct arena *a, const struct json *doc, struct resources *r,
			 struct err *err)
{
	const struct json *list = NULL;
	int n = json_get_array(doc, "devices", &list, err);

	if (n <= 0)
		return n;
	r->has_devices = true;
	r->devices = arena_alloc(a, (list->count + 1) * sizeof(*r->devices));
	if (!r->devices)
		return err_set(err, -ENOMEM, "devices: too many");
	json_each(v, list)
	{
		if (parse_rule(v, &r->devices[r->device_count], err) < 0)
			return err_prefix(err, "devices[%zu]", r->device_count);
		r->device_count++;
	}
	return 0;
}

static int parse_hugepages(struct arena *a, const struct json *doc, struct resources *r,
			   struct err *err)
{
	const struct json *list = NULL;
	int n = json_get_array(doc, "hugepageLimits", &list, err);

	if (n <= 0)
		return n;
	r->hugepages = arena_alloc(a, (list->count + 1) * sizeof(*r->hugepages));
	if (!r->hugepages)
		return err_set(err, -ENOMEM, "hugepageLimits: too many");
	json_each(v, list)
	{
		struct hugepage_limit *h = &r->hugepages[r->hugepage_count];

		if (json_get_string(v, "pageSize", &h->size, err) < 0 ||
		    json_get_u64(v, "limit", &h->limit, err) < 0)
			return err_prefix(err, "hugepageLimits");
		/* The size becomes part of a file name. */
		if (!h->size || strlen(h->size) > 16 ||
		    strspn(h->size, "0123456789KMGB") != strlen(h->size))
			return err_set(err, -EINVAL, "hugepageLimits.pageSize: must be like 2MB");
		r->hugepage_count++;
	}
	return 0;
}

static int parse_network(struct arena *a, const struct json *doc, struct resources *r,
			 struct err *err)
{
	const struct json *net = NULL, *list = NULL;

	if (json_get_object(doc, "network", &net, err) < 0 ||
	    get_num(net, "classID", &r->net_class, err) < 0 ||
	    json_get_array(net, "priorities", &list, err) < 0)
		return err_prefix(err, "network");
	if (!list)
		return 0;
	r->net_priorities = arena_alloc(a, (list->count + 1) * sizeof(*r->net_priorities));
	if (!r->net_priorities)
		return err_set(err, -ENOMEM, "network.priorities: too many");
	json_each(v, list)
	{
		struct net_priority *p = &r->net_priorities[r->net_priority_count];

		if (json_get_string(v, "name", &p->name, err) < 0 ||
		    json_get_u32(v, "priority", &p->priority, err) < 0)
			return err_prefix(err, "network.priorities");
		if (!p->name || strlen(p->name) > 15 || strpbrk(p->name, " \n\t"))
			return err_set(err, -EINVAL, "network.priorities: name of an interface");
		r->net_priority_count++;
	}
	return 0;
}

static int parse_rdma(struct arena *a, const struct json *doc, struct resources *r, struct err *err)
{
	const struct json *map = NULL;
	int n = json_get_object(doc, "rdma", &map, err);

	if (n <= 0)
		return n;
	r->rdma = arena_alloc(a, (map->count + 1) * sizeof(*r->rdma));
	if (!r->rdma)
		return err_set(err, -ENOMEM, "rdma: too many");
	json_each(v, map)
	{
		struct rdma_limit *l = &r->rdma[r->rdma_count++];

		l->device = v->key;
		if (get_num(v, "hcaHandles", &l->handles, err) < 0 ||
		    get_num(v, "hcaObjects", &l->objects, err) < 0)
			return err_prefix(err, "rdma");
		if (strpbrk(v->key, " \n/"))
			return err_set(err, -EINVAL, "rdma: \"%s\" is no device", v->key);
	}
	return 0;
}

static int parse_unified(struct arena *a, const struct json *doc, struct resources *r,
			 struct err *err)
{
	const struct json *map = NULL;
	int n = json_get_object(doc, "unified", &map, err);

	if (n <= 0)
		return n;
	r->unified = arena_alloc(a, (map->count + 1) * sizeof(*r->unified));
	if (!r->unified)
		return err_set(err, -ENOMEM, "unified: too many");
	json_each(v, map)
	{
		if (v->type != JSON_STRING)
			return err_set(err, -EINVAL, "unified[\"%s\"]: must be a string", v->key);
		if (strchr(v->key, '/') || v->key[0] == '.' || !strchr(v->key, '.') ||
		    strlen(v->key) > 100)
			return err_set(err, -EINVAL, "unified: \"%s\" is no cgroup file", v->key);
		r->unified[r->unified_count++] = (struct unified_value){ v->key, v->string };
	}
	return 0;
}

int resources_parse(struct arena *a, const struct json *doc, struct resources *ret, struct err *err)
{
	const struct json *pids = NULL;
	struct resources r = { .present = doc != NULL };

	if (parse_memory(doc, &r, err) < 0 || parse_cpu(doc, &r, err) < 0 ||
	    parse_blkio(a, doc, &r, err) < 0 || parse_devices(a, doc, &r, err) < 0 ||
	    parse_hugepages(a, doc, &r, err) < 0 || parse_network(a, doc, &r, err) < 0 ||
	    parse_rdma(a, doc, &r, err) < 0 || parse_unified(a, doc, &r, err) < 0 ||
	    json_get_object(doc, "pids", &pids, err) < 0 ||
	    get_num(pids, "limit", &r.pids_limit, err) < 0)
		return err_prefix(err, "resources");
	*ret = r;
	return 0;
}
