/* A test is a function without arguments; CHECK counts and names what failed. */
#pragma once
#include <stdbool.h>
#include <stdio.h>

struct unit {
	int passed, failed;
	const char *name;
	bool ok;
};

#define CHECK(u, condition)                                                                        \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			(u)->ok = false;                                                           \
			printf("FAIL %s: %s:%d: %s\n", (u)->name, __FILE__, __LINE__, #condition); \
		}                                                                                  \
	} while (0)

typedef void (*unit_fn)(struct unit *u);

static inline void unit_run(struct unit *u, const char *name, unit_fn f)
{
	u->name = name;
	u->ok = true;
	f(u);
	if (u->ok)
		u->passed++;
	else
		u->failed++;
}

void test_json(struct unit *u);
void test_seccomp(struct unit *u);
void test_cgroup_plans(struct unit *u);
void test_spec(struct unit *u);
void test_opts(struct unit *u);
