#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <string.h>

#include "seccomp.h"

#define MAX_CODE 4096
#define X32_BIT	 0x40000000u
#define FAIL	 0xff /* placeholder in jt/jf of a condition: the next rule */

struct code {
	struct sock_filter ins[MAX_CODE];
	size_t len;
	bool full;
};

static void emit(struct code *c, uint16_t op, uint32_t k, uint8_t jt, uint8_t jf)
{
	if (c->len == MAX_CODE) {
		c->full = true;
		return;
	}
	c->ins[c->len++] = (struct sock_filter){ op, jt, jf, k };
}

static void emit_load(struct code *c, uint32_t offset)
{
	emit(c, BPF_LD | BPF_W | BPF_ABS, offset, 0, 0);
}

static void emit_jump(struct code *c, uint16_t op, uint32_t k, uint8_t jt, uint8_t jf)
{
	emit(c, (uint16_t)(BPF_JMP | op | BPF_K), k, jt, jf);
}

static void emit_ret(struct code *c, uint32_t action)
{
	emit(c, BPF_RET | BPF_K, action, 0, 0);
}

/* One 64-bit comparison from 32-bit halves. Falls through when it holds, jumps to FAIL when not. */
static int emit_condition(struct code *c, const struct seccomp_condition *q)
{
	uint32_t lo = (uint32_t)offsetof(struct seccomp_data, args) + 8 * q->index, hi = lo + 4;
	uint32_t vhi = (uint32_t)(q->value >> 32), vlo = (uint32_t)q->value;
	const char *op = q->op + strlen("SCMP_CMP_");

	if (strncmp(q->op, "SCMP_CMP_", 9) != 0)
		return -EINVAL;
	emit_load(c, hi);
	if (strcmp(op, "EQ") == 0) {
		emit_jump(c, BPF_JEQ, vhi, 0, FAIL);
		emit_load(c, lo);
		emit_jump(c, BPF_JEQ, vlo, 0, FAIL);
	} else if (strcmp(op, "NE") == 0) {
		emit_jump(c, BPF_JEQ, vhi, 0, 2);
		emit_load(c, lo);
		emit_jump(c, BPF_JEQ, vlo, FAIL, 0);
	} else if (strcmp(op, "GT") == 0 || strcmp(op, "GE") == 0) {
		emit_jump(c, BPF_JGT, vhi, 3, 0);
		emit_jump(c, BPF_JEQ, vhi, 0, FAIL);
		emit_load(c, lo);
		emit_jump(c, op[1] == 'T' ? BPF_JGT : BPF_JGE, vlo, 0, FAIL);
	} else if (strcmp(op, "LT") == 0 || strcmp(op, "LE") == 0) {
		emit_jump(c, BPF_JGT, vhi, FAIL, 0);
		emit_jump(c, BPF_JEQ, vhi, 0, 2);
		emit_load(c, lo);
		emit_jump(c, op[1] == 'T' ? BPF_JGE : BPF_JGT, vlo, FAIL, 0);
	} else if (strcmp(op, "MASKED_EQ") == 0) {
		emit(c, BPF_ALU | BPF_AND | BPF_K, vhi, 0, 0);
		emit_jump(c, BPF_JEQ, (uint32_t)(q->value_two >> 32), 0, FAIL);
		emit_load(c, lo);
		emit(c, BPF_ALU | BPF_AND | BPF_K, vlo, 0, 0);
		emit_jump(c, BPF_JEQ, (uint32_t)q->value_two, 0, FAIL);
	} else {
		return -EINVAL;
	}
	return 0;
}

/* Replaces FAIL in the rule's jumps by the distance to its end. */
static int patch_fail(struct code *c, size_t from)
{
	for (size_t i = from; i < c->len; i++) {
		size_t distance = c->len - i - 1;

		if (BPF_CLASS(c->ins[i].code) != BPF_JMP)
			continue;
		if (distance >= FAIL)
			return -E2BIG;
		if (c->ins[i].jt == FAIL)
			c->ins[i].jt = (uint8_t)distance;
		if (c->ins[i].jf == FAIL)
			c->ins[i].jf = (uint8_t)distance;
	}
	return 0;
}

static int emit_rules(struct code *c, const struct seccomp_rule *rule, uint32_t otherwise)
{
	for (; rule; rule = rule->next) {
		size_t from = c->len;

		for (size_t i = 0; i < rule->condition_count; i++) {
			int r = emit_condition(c, &rule->conditions[i]);

			if (r < 0)
				return r;
		}
		emit_ret(c, rule->action);
		if (rule->condition_count == 0)
			return 0;
		if (patch_fail(c, from) < 0)
			return -E2BIG;
	}
	emit_ret(c, otherwise);
	return 0;
}

/* A range of numbers that end the same way: one action, or the rules of a single number. */
struct range {
	uint32_t start;
	uint32_t action;
	const struct seccomp_rule *rules;
};

static size_t make_ranges(const struct seccomp_plan *plan, int arch, struct range *out)
{
	size_t n = 0;

	for (int nr = 0; nr <= plan->highest[arch] + 1; nr++) {
		struct range next = { .start = (uint32_t)nr, .action = plan->default_action };

		if (nr > plan->highest[arch])
			next.action = plan->newer_action;
		else if (plan->rules[arch][nr] && plan->rules[arch][nr]->condition_count == 0)
			next.action = plan->rules[arch][nr]->action;
		else
			next.rules = plan->rules[arch][nr];
		if (n > 0 && !next.rules && !out[n - 1].rules && out[n - 1].action == next.action)
			continue;
		out[n++] = next;
	}
	return n;
}

static int emit_tree(struct code *c, const struct seccomp_plan *plan, const struct range *ranges,
		     size_t n, uint32_t base)
{
	size_t mid = n / 2, slot = c->len, left;
	int r;

	if (n == 1 && ranges[0].rules)
		return emit_rules(c, ranges[0].rules, plan->default_action);
	if (n == 1) {
		emit_ret(c, ranges[0].action);
		return 0;
	}
	emit_jump(c, BPF_JGE, base + ranges[mid].start, 0, 0);
	r = emit_tree(c, plan, ranges, mid, base);
	if (r < 0 || c->full)
		return r;
	left = c->len - slot - 1;
	if (left <= 255) {
		c->ins[slot].jt = (uint8_t)left;
	} else {
		/* Too far for a conditional jump: hop over an unconditional one. */
		emit(c, BPF_JMP | BPF_JA, 0, 0, 0);
		if (c->full)
			return 0;
		memmove(&c->ins[slot + 2], &c->ins[slot + 1], left * sizeof(c->ins[0]));
		c->ins[slot + 1] = (struct sock_filter){ BPF_JMP | BPF_JA, 0, 0, (uint32_t)left };
		c->ins[slot].jf = 1;
	}
	return emit_tree(c, plan, ranges + mid, n - mid, base);
}

static int emit_arch(struct code *c, const struct seccomp_plan *plan, int arch, uint32_t base)
{
	struct range ranges[SECCOMP_NUMBERS + 2] = { 0 };
	size_t n;

	if (!plan->arch[arch]) {
		emit_ret(c, SECCOMP_RET_KILL_THREAD);
		return 0;
	}
	n = make_ranges(plan, arch, ranges);
	return emit_tree(c, plan, ranges, n, base);
}

/* `if (A op k) goto after the part` where the part's length is known only afterwards: a pair of
 * jumps whose second one is patched. Returns the index to patch. */
static size_t emit_skip(struct code *c, uint16_t op, uint32_t k, bool when)
{
	emit_jump(c, op, k, when ? 0 : 1, when ? 1 : 0);
	emit(c, BPF_JMP | BPF_JA, 0, 0, 0);
	return c->len - 1;
}

static void patch_skip(struct code *c, size_t at)
{
	c->ins[at].k = (uint32_t)(c->len - at - 1);
}

int seccomp_generate(struct arena *a, const struct seccomp_plan *plan, struct seccomp_filter *ret,
		     struct err *err)
{
	struct code *c = arena_alloc(a, sizeof(*c));
	size_t not_x64, x32, not_i386;
	int r;

	if (!c)
		return err_set(err, -ENOMEM, "seccomp: no memory for the filter");
	emit_load(c, offsetof(struct seccomp_data, arch));
	not_x64 = emit_skip(c, BPF_JEQ, AUDIT_ARCH_X86_64, false);
	emit_load(c, offsetof(struct seccomp_data, nr));
	x32 = emit_skip(c, BPF_JGE, X32_BIT, true);
	r = emit_arch(c, plan, ARCH_X64, 0);
	patch_skip(c, x32);
	if (r >= 0)
		r = emit_arch(c, plan, ARCH_X32, X32_BIT);
	patch_skip(c, not_x64);
	not_i386 = emit_skip(c, BPF_JEQ, AUDIT_ARCH_I386, false);
	emit_load(c, offsetof(struct seccomp_data, nr));
	if (r >= 0)
		r = emit_arch(c, plan, ARCH_I386, 0);
	patch_skip(c, not_i386);
	emit_ret(c, SECCOMP_RET_KILL_THREAD);
	if (r == -EINVAL)
		return err_set(err, r, "seccomp: unknown operator of an argument");
	if (r < 0 || c->full)
		return err_set(err, -E2BIG, "seccomp: the profile needs more than %d instructions",
			       MAX_CODE);
	ret->code = c->ins;
	ret->len = (unsigned short)c->len;
	return 0;
}
