/* Hooks of config.json: programs that get the container's state on stdin. */
#pragma once
#include <sys/types.h>

#include "err.h"
#include "spec.h"

/* Runs all hooks of one kind in order; the first failure ends it. `state` is the OCI state JSON. */
int hooks_run(const struct spec_hooks *hooks, const char *kind, const char *state, struct err *err);
