/* Tables of names that config.json uses, and look-up in them. */
#pragma once
#include <stddef.h>
#include <stdint.h>

struct name_value {
	const char *name;
	uint64_t value;
};

/* Tables end with a NULL name. Returns the entry or NULL. */
const struct name_value *name_find(const struct name_value *table, const char *name);

extern const struct name_value rlimit_names[];
extern const struct name_value ioprio_names[];
extern const struct name_value sched_policy_names[];
extern const struct name_value sched_flag_names[];
extern const struct name_value propagation_names[];
extern const struct name_value capability_names[]; /* value = bit number */
extern const struct name_value signal_names[];	   /* without "SIG" */
