#include "fault.h"

#ifdef BERTH_FAULTS
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

int fault_at(const char *step, struct err *err)
{
	const char *want = getenv("BERTH_FAULT");

	if (!want)
		return 0;
	if (strcmp(want, "list") == 0) {
		struct timespec now;

		(void)clock_gettime(CLOCK_MONOTONIC, &now);
		(void)fprintf(stderr, "fault-step %s %ld us\n", step,
			      (long)(now.tv_sec % 1000) * 1000000 + now.tv_nsec / 1000);
	}
	if (strcmp(want, step) == 0)
		return err_set(err, -EIO, "injected fault at step %s", step);
	return 0;
}
#else
typedef int fault_is_off; /* a translation unit needs one declaration */
#endif
