/* Command-line options from one table per command; --help is printed from the same table. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "err.h"

enum opt_kind { OPT_FLAG, OPT_STRING, OPT_INT, OPT_U64, OPT_LIST };

#define OPT_LIST_MAX 256
struct opt_list {
	size_t count;
	const char *items[OPT_LIST_MAX];
};

struct opt {
	const char *name; /* long name without dashes */
	char letter;	  /* short name or 0 */
	enum opt_kind kind;
	void *ret;	      /* bool *, const char **, int *, uint64_t *, struct opt_list * */
	const char *argument; /* word for help, e.g. "DIR" */
	const char *help;
};

/* Parses argv[0..argc) up to the first argument that is no option (or after `--`) and stores its
 * index. Both `-name` and `--name`, `--name value` and `--name=value` are taken, as engines use
 * both. The table ends with a NULL name. Returns 1 when help was asked for and printed. */
int opts_parse(const struct opt *table, const char *usage, int argc, char **argv, int *ret_index,
	       struct err *err);
