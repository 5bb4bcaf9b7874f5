/* config.json from a hostile engine or image tool: parse, compile the filter, plan the cgroups. */
#include <stddef.h>
#include <stdint.h>

#include "cgroup.h"
#include "seccomp.h"
#include "spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct arena arena = { .limit = (size_t)16 << 20 };
	struct err err = ERR_INIT;
	struct seccomp_filter filter;
	struct cg_plan v1 = { .arena = &arena }, v2 = { .arena = &arena };
	struct spec spec;

	if (spec_parse(&arena, (const char *)data, size, &spec, &err) == 0) {
		if (spec.seccomp)
			(void)seccomp_compile(&arena, spec.seccomp, &filter, &err);
		(void)cg_plan_v1(&spec.resources, &v1, &err);
		(void)cg_plan_v2(&spec.resources, &v2, &err);
	}
	arena_release(&arena);
	return 0;
}
