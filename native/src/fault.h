/* Fault injection for the test build: BERTH_FAULT=STEP makes that step of creation fail,
 * BERTH_FAULT=list prints each step's name and time on stderr as it is reached. */
#pragma once
#include "err.h"

#ifdef BERTH_FAULTS
int fault_at(const char *step, struct err *err);
#else
static inline int fault_at(const char *step, struct err *err)
{
	(void)step;
	(void)err;
	return 0;
}
#endif
