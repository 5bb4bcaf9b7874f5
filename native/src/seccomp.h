/* Seccomp profiles of the OCI form, compiled to BPF without a library: per entry point a binary
 * search over ranges of call numbers with the same action, about 12 instructions a call. */
#pragma once
#include <linux/filter.h>
#include <stdbool.h>
#include <stdint.h>

#include "arena.h"
#include "err.h"
#include "json.h"

struct seccomp_filter {
	const struct sock_filter *code; /* NULL = no filter */
	unsigned short len;
	uint32_t flags; /* SECCOMP_FILTER_FLAG_* */
	bool notify;	/* some action is SCMP_ACT_NOTIFY */
	const char *listener_path, *listener_metadata;
};

/* Compiles linux.seccomp. Rules are tried in the order of the document, the first that matches
 * decides. Numbers above the highest one that the profile names answer ENOSYS, so that programs
 * fall back from calls that the profile's author could not know. */
int seccomp_compile(struct arena *a, const struct json *doc, struct seccomp_filter *ret,
		    struct err *err);

/* The profile of profiles/seccomp-default.json, compiled when berth was built. */
void seccomp_default(struct seccomp_filter *ret);

/* Loads the filter into the calling thread; with `notify` *ret_listener is the listener. */
int seccomp_load(const struct seccomp_filter *f, int *ret_listener, struct err *err);

/* Code generation (seccomp_bpf.c). */
struct seccomp_condition {
	uint32_t index;
	const char *op;
	uint64_t value, value_two;
};

struct seccomp_rule {
	struct seccomp_rule *next;
	size_t condition_count; /* 0 = always */
	const struct seccomp_condition *conditions;
	uint32_t action;
};

#define SECCOMP_NUMBERS 600
enum seccomp_arch { ARCH_X64, ARCH_X32, ARCH_I386, ARCH_COUNT };

struct seccomp_plan {
	bool arch[ARCH_COUNT];
	uint32_t default_action, newer_action;
	struct seccomp_rule *rules[ARCH_COUNT][SECCOMP_NUMBERS];
	int highest[ARCH_COUNT];
};

int seccomp_generate(struct arena *a, const struct seccomp_plan *plan, struct seccomp_filter *ret,
		     struct err *err);
