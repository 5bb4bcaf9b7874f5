#include <linux/seccomp.h>
#include <stdint.h>

#include "cleanup.h"
#include "seccomp.h"
#include "seccomp_default.h"
#include "sys.h"

/* struct sock_fprog with the constness that the kernel honours. */
struct program {
	unsigned short len;
	const struct sock_filter *code;
};

void seccomp_default(struct seccomp_filter *ret)
{
	*ret = (struct seccomp_filter){
		.code = seccomp_default_code,
		.len = sizeof(seccomp_default_code) / sizeof(seccomp_default_code[0]),
	};
}

int seccomp_load(const struct seccomp_filter *f, int *ret_listener, struct err *err)
{
	struct program program = { .len = f->len, .code = f->code };
	uint32_t flags = f->flags;
	int r;

	*ret_listener = FD_NONE;
	if (!f->code)
		return 0;
	if (f->notify)
		flags |= SECCOMP_FILTER_FLAG_NEW_LISTENER;
	r = sys_seccomp(SECCOMP_SET_MODE_FILTER, flags, &program);
	if (r < 0)
		return err_sys(err, r, "seccomp: cannot load the filter");
	if (f->notify)
		*ret_listener = r;
	return 0;
}
