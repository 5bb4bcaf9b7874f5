#include <stdio.h>

#include "commands.h"
#include "version.h"

int cmd_version(const struct globals *g, int argc, char **argv, int *ret_status, struct err *err)
{
	(void)g;
	(void)argc;
	(void)argv;
	(void)ret_status;
	(void)err;
	puts("berth version " BERTH_VERSION "\nspec: " BERTH_SPEC_VERSION);
	return 0;
}
