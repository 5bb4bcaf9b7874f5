/* The compiler against an interpreter of the program and a plain reading of the profile. */
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>

#include "seccomp.h"
#include "unit.h"

/* Classic BPF as the kernel runs it, for the instructions that seccomp allows. */
static uint32_t interpret(const struct seccomp_filter *f, const struct seccomp_data *data)
{
	uint32_t a = 0;

	for (size_t pc = 0; pc < f->len; pc++) {
		const struct sock_filter *i = &f->code[pc];

		switch (i->code) {
		case BPF_LD | BPF_W | BPF_ABS:
			memcpy(&a, (const char *)data + i->k, 4);
			break;
		case BPF_ALU | BPF_AND | BPF_K:
			a &= i->k;
			break;
		case BPF_JMP | BPF_JA:
			pc += i->k;
			break;
		case BPF_JMP | BPF_JEQ | BPF_K:
			pc += a == i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGE | BPF_K:
			pc += a >= i->k ? i->jt : i->jf;
			break;
		case BPF_JMP | BPF_JGT | BPF_K:
			pc += a > i->k ? i->jt : i->jf;
			break;
		case BPF_RET | BPF_K:
			return i->k;
		default:
			return 0xdeadbeef;
		}
	}
	return 0xdeadbeef; /* ran off the end */
}

static int compile(struct arena *a, const char *text, struct seccomp_filter *f, struct err *err)
{
	struct json *doc;

	if (json_parse(a, text, strlen(text), &doc, err) < 0)
		return -EINVAL;
	return seccomp_compile(a, doc, f, err);
}

static uint32_t ask(const struct seccomp_filter *f, uint32_t arch, int nr, uint64_t a0, uint64_t a1)
{
	struct seccomp_data d = { .nr = nr, .arch = arch, .args = { a0, a1 } };

	return interpret(f, &d);
}

#define X64  AUDIT_ARCH_X86_64
#define DENY (SECCOMP_RET_ERRNO | EPERM)

static void numbers_are_found_on_all_entry_points(struct unit *u)
{
	struct arena a = { 0 };
	struct err err = ERR_INIT;
	struct seccomp_filter f = { 0 };

	CHECK(u, compile(&a,
			 "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"architectures\":[\"SCMP_ARCH_X86_"
			 "64\","
			 "\"SCMP_ARCH_X86\",\"SCMP_ARCH_X32\"],\"syscalls\":[{\"names\":[\"read\","
			 "\"mkdir\","
			 "\"execve\",\"statx\"],\"action\":\"SCMP_ACT_ALLOW\"}]}",
			 &f, &err) == 0);
	CHECK(u, ask(&f, X64, SYS_read, 0, 0) == SECCOMP_RET_ALLOW);
	CHECK(u, ask(&f, X64, SYS_mkdir, 0, 0) == SECCOMP_RET_ALLOW);
	CHECK(u, ask(&f, X64, SYS_write, 0, 0) == DENY);
	CHECK(u, ask(&f, X64, SYS_statx, 0, 0) == SECCOMP_RET_ALLOW);
	CHECK(u, ask(&f, X64, SYS_statx + 1, 0, 0) == (SECCOMP_RET_ERRNO | ENOSYS));
	CHECK(u, ask(&f, X64, 0x3fffffff, 0, 0) == (SECCOMP_RET_ERRNO | ENOSYS));
	CHECK(u, ask(&f, X64, 0x40000000, 0, 0) == SECCOMP_RET_ALLOW);	     /* x32 read */
	CHECK(u, ask(&f, X64, 0x40000000 + 520, 0, 0) == SECCOMP_RET_ALLOW); /* x32 execve */
	CHECK(u, ask(&f, X64, 0x40000000 + 59, 0, 0) == DENY);
	CHECK(u, ask(&f, AUDIT_ARCH_I386, 3, 0, 0) == SECCOMP_RET_ALLOW); /* read */
	CHECK(u, ask(&f, AUDIT_ARCH_I386, 4, 0, 0) == DENY);
	CHECK(u, ask(&f, AUDIT_ARCH_AARCH64, 63, 0, 0) == SECCOMP_RET_KILL_THREAD);
	arena_release(&a);
}

static void an_architecture_that_is_not_named_is_killed(struct unit *u)
{
	struct arena a = { 0 };
	struct err err = ERR_INIT;
	struct seccomp_filter f = { 0 };

	CHECK(u, compile(&a, "{\"defaultAction\":\"SCMP_ACT_ALLOW\"}", &f, &err) == 0);
	CHECK(u, ask(&f, X64, SYS_read, 0, 0) == SECCOMP_RET_ALLOW);
	CHECK(u, ask(&f, X64, 0x40000000, 0, 0) == SECCOMP_RET_KILL_THREAD);
	CHECK(u, ask(&f, AUDIT_ARCH_I386, 3, 0, 0) == SECCOMP_RET_KILL_THREAD);
	arena_release(&a);
}

static bool holds(const char *op, uint64_t arg, uint64_t value, uint64_t two)
{
	if (strcmp(op, "EQ") == 0)
		return arg == value;
	if (strcmp(op, "NE") == 0)
		return arg != value;
	if (strcmp(op, "LT") == 0)
		return arg < value;
	if (strcmp(op, "LE") == 0)
		return arg <= value;
	if (strcmp(op, "GT") == 0)
		return arg > value;
	if (strcmp(op, "GE") == 0)
		return arg >= value;
	return (arg & value) == two;
}

static void every_operator_compares_64_bits(struct unit *u)
{
	static const char *const ops[] = { "EQ", "NE", "LT", "LE", "GT", "GE", "MASKED_EQ" };
	static const uint64_t edge[] = {
		0,	     1,		  5,	       0xffffffff, 0x100000000,
		0x100000005, 0x500000000, 0x500000001, UINT64_MAX, UINT64_MAX - 1
	};
	const size_t n = sizeof(edge) / sizeof(edge[0]);

	for (size_t o = 0; o < 7; o++)
		for (size_t v = 0; v < n; v++) {
			struct arena a = { 0 };
			struct err err = ERR_INIT;
			struct seccomp_filter f = { 0 };
			uint64_t two = edge[(v + 3) % n] & edge[v];
			char text[512];

			(void)snprintf(
				text, sizeof(text),
				"{\"defaultAction\":\"SCMP_ACT_ALLOW\",\"syscalls\":[{\"names\":["
				"\"kill\"],"
				"\"action\":\"SCMP_ACT_ERRNO\",\"args\":[{\"index\":1,\"value\":%"
				"llu,"
				"\"valueTwo\":%llu,\"op\":\"SCMP_CMP_%s\"}]}]}",
				(unsigned long long)edge[v], (unsigned long long)two, ops[o]);
			CHECK(u, compile(&a, text, &f, &err) == 0);
			for (size_t i = 0; i < n; i++) {
				uint32_t want = holds(ops[o], edge[i], edge[v], two)
							? DENY
							: SECCOMP_RET_ALLOW;

				CHECK(u, ask(&f, X64, SYS_kill, 0, edge[i]) == want);
			}
			arena_release(&a);
		}
}

static void the_first_rule_that_matches_decides(struct unit *u)
{
	struct arena a = { 0 };
	struct err err = ERR_INIT;
	struct seccomp_filter f = { 0 };

	CHECK(u,
	      compile(&a,
		      "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":["
		      "{\"names\":[\"kill\"],\"action\":\"SCMP_ACT_ERRNO\",\"errnoRet\":7,\"args\":"
		      "[{\"index\":1,\"value\":9,\"op\":\"SCMP_CMP_EQ\"}]},"
		      "{\"names\":[\"kill\"],\"action\":\"SCMP_ACT_ALLOW\"}]}",
		      &f, &err) == 0);
	CHECK(u, ask(&f, X64, SYS_kill, 0, 9) == (SECCOMP_RET_ERRNO | 7));
	CHECK(u, ask(&f, X64, SYS_kill, 0, 8) == SECCOMP_RET_ALLOW);
	arena_release(&a);
}

/* Random profiles over many calls: the tree must agree with the list, whatever its shape. */
static void random_profiles_agree_with_their_lists(struct unit *u)
{
	static const char *const names[] = { "read",	  "open",  "mmap",   "kill",
					     "uname",	  "mkdir", "gettid", "openat",
					     "prlimit64", "statx", "clone3", "futex_waitv" };
	static const int numbers[] = { 0, 2, 9, 62, 63, 83, 186, 257, 302, 332, 435, 449 };

	srand(42);
	for (int round = 0; round < 300; round++) {
		struct arena a = { 0 };
		struct err err = ERR_INIT;
		struct seccomp_filter f = { 0 };
		int errnos[12], highest = -1;
		char text[4096];
		size_t len = (size_t)snprintf(
			text, sizeof(text), "{\"defaultAction\":\"SCMP_ACT_ERRNO\",\"syscalls\":[");

		for (int i = 0; i < 12; i++) {
			errnos[i] = rand() % 4;
			if (!errnos[i])
				continue;
			highest = numbers[i];
			len += (size_t)snprintf(text + len, sizeof(text) - len,
						"%s{\"names\":[\"%s\"],\"action\":\"SCMP_ACT_"
						"ERRNO\",\"errnoRet\":%d}",
						text[len - 1] == '[' ? "" : ",", names[i],
						100 + errnos[i]);
		}
		(void)snprintf(text + len, sizeof(text) - len, "]}");
		CHECK(u, compile(&a, text, &f, &err) == 0);
		for (int nr = 0; nr < 600; nr++) {
			uint32_t want =
				highest >= 0 && nr > highest ? SECCOMP_RET_ERRNO | ENOSYS : DENY;

			for (int i = 0; i < 12; i++)
				if (numbers[i] == nr && errnos[i])
					want = SECCOMP_RET_ERRNO | (uint32_t)(100 + errnos[i]);
			if (ask(&f, X64, nr, 0, 0) != want) {
				CHECK(u, !"a call got another answer than its list says");
				break;
			}
		}
		arena_release(&a);
	}
}

void test_seccomp(struct unit *u)
{
	unit_run(u, "seccomp: numbers are found on all entry points",
		 numbers_are_found_on_all_entry_points);
	unit_run(u, "seccomp: an architecture that is not named is killed",
		 an_architecture_that_is_not_named_is_killed);
	unit_run(u, "seccomp: every operator compares 64 bits", every_operator_compares_64_bits);
	unit_run(u, "seccomp: the first rule that matches decides",
		 the_first_rule_that_matches_decides);
	unit_run(u, "seccomp: random profiles agree with their lists",
		 random_profiles_agree_with_their_lists);
}
