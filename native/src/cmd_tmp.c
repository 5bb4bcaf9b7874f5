#include "commands.h"
#define T(n) int n(const struct globals *g, int argc, char **argv, int *s, struct err *err){(void)g;(void)argc;(void)argv;(void)s;return err_set(err,-ENOSYS,"not yet");}
T(cmd_update) T(cmd_events) T(cmd_features) T(cmd_spec)
