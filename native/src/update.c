#include "cgroup.h"
#include "cleanup.h"
#include "container.h"

int container_update(const struct container *c, const char *resources, size_t len, struct err *err)
{
	_cleanup_arena_ struct arena arena = { 0 };
	struct resources r = { 0 };
	struct json *doc = NULL;
	int ret;

	if (!c->cgroup)
		return err_set(err, -ENOTSUP, "container \"%s\" has no cgroup", c->id);
	if ((ret = json_parse(&arena, resources, len, &doc, err)) < 0 ||
	    (ret = resources_parse(&arena, doc, &r, err)) < 0 ||
	    (ret = cgroup_apply(c->cgroup, &r, err)) < 0)
		return ret;
	return r.has_devices ? cgroup_apply_devices(c->cgroup, &r, err) : 0;
}
