#include "unit.h"

int main(void)
{
	struct unit u = { 0 };

	test_json(&u);
	test_seccomp(&u);
	test_cgroup_plans(&u);
	test_spec(&u);
	test_opts(&u);
	printf("%d passed, %d failed\n", u.passed, u.failed);
	return u.failed ? 1 : 0;
}
