/* Which devices a container may use: the v1 controller's files, or a BPF program on v2. */
#include <fcntl.h>
#include <inttypes.h>
#include <linux/bpf.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "cgroup.h"
#include "cleanup.h"
#include "sys.h"

/* What the spec promises every container: null, zero, full, random, urandom, tty, ptmx, ptys. */
static const struct device_rule defaults[] = {
	{ true, 'c', 1, 3, true, true, true }, { true, 'c', 1, 5, true, true, true },
	{ true, 'c', 1, 7, true, true, true }, { true, 'c', 1, 8, true, true, true },
	{ true, 'c', 1, 9, true, true, true }, { true, 'c', 5, 0, true, true, true },
	{ true, 'c', 5, 2, true, true, true }, { true, 'c', 136, -1, true, true, true },
};

static bool is_everything(const struct device_rule *d)
{
	return d->type == 'a';
}

static const char *format_v1(const struct device_rule *d, char *buf, size_t size)
{
	char major[24] = "*", minor[24] = "*";

	if (is_everything(d))
		return "a";
	if (d->major >= 0)
		(void)snprintf(major, sizeof(major), "%" PRId64, d->major);
	if (d->minor >= 0)
		(void)snprintf(minor, sizeof(minor), "%" PRId64, d->minor);
	(void)snprintf(buf, size, "%c %s:%s %s%s%s", d->type, major, minor, d->read ? "r" : "",
		       d->write ? "w" : "", d->mknod ? "m" : "");
	return buf;
}

static int apply_v1(int fd, const struct resources *r, struct err *err)
{
	_cleanup_close_ int allow = openat(fd, "devices.allow", O_WRONLY | O_CLOEXEC);
	_cleanup_close_ int deny = openat(fd, "devices.deny", O_WRONLY | O_CLOEXEC);
	char buf[64];
	int ret;

	if (allow < 0 || deny < 0)
		return err_sys(err, -errno, "cannot open devices.allow");
	ret = write_fd(deny, "a");
	for (size_t i = 0; ret >= 0 && i < ARRAY_LEN(defaults); i++)
		ret = write_fd(allow, format_v1(&defaults[i], buf, sizeof(buf)));
	for (size_t i = 0; ret >= 0 && i < r->device_count; i++) {
		const struct device_rule *d = &r->devices[i];
		bool deny_all_first = !d->allow && is_everything(d);

		/* The usual first rule, which has just been applied. */
		if (i == 0 && deny_all_first)
			continue;
		ret = write_fd(d->allow ? allow : deny, format_v1(d, buf, sizeof(buf)));
		if (deny_all_first)
			for (size_t k = 0; ret >= 0 && k < ARRAY_LEN(defaults); k++)
				ret = write_fd(allow, format_v1(&defaults[k], buf, sizeof(buf)));
	}
	return ret < 0 ? err_sys(err, ret, "linux.resources.devices: cannot write the rules") : 0;
}

struct program {
	struct bpf_insn ins[4096];
	size_t len;
	bool full;
};

static void emit(struct program *p, struct bpf_insn i)
{
	if (p->len == sizeof(p->ins) / sizeof(p->ins[0])) {
		p->full = true;
		return;
	}
	p->ins[p->len++] = i;
}

static void emit_jump(struct program *p, uint8_t op, uint8_t reg, int32_t imm, int16_t off)
{
	emit(p, (struct bpf_insn){ .code = (uint8_t)(BPF_JMP | op | BPF_K),
				   .dst_reg = reg & 0xf,
				   .off = off,
				   .imm = imm });
}

static void emit_verdict(struct program *p, int32_t allow)
{
	emit(p,
	     (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .imm = allow });
	emit(p, (struct bpf_insn){ .code = BPF_JMP | BPF_EXIT });
}

/* r2 = type, r3 = access asked for, r4 = major, r5 = minor. */
static void emit_prologue(struct program *p)
{
	static const uint8_t load = BPF_LDX | BPF_MEM | BPF_W;

	emit(p, (struct bpf_insn){ .code = load, .dst_reg = 2, .src_reg = 1, .off = 0 });
	emit(p,
	     (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 3, .src_reg = 2 });
	emit(p, (struct bpf_insn){ .code = BPF_ALU64 | BPF_RSH | BPF_K, .dst_reg = 3, .imm = 16 });
	emit(p,
	     (struct bpf_insn){ .code = BPF_ALU64 | BPF_AND | BPF_K, .dst_reg = 2, .imm = 0xffff });
	emit(p, (struct bpf_insn){ .code = load, .dst_reg = 4, .src_reg = 1, .off = 4 });
	emit(p, (struct bpf_insn){ .code = load, .dst_reg = 5, .src_reg = 1, .off = 8 });
}

/* An allowing rule decides when it covers all that is asked for, a denying one when it touches
 * any of it; otherwise the next rule is asked. */
static void emit_rule(struct program *p, const struct device_rule *d)
{
	int32_t access = (d->mknod ? BPF_DEVCG_ACC_MKNOD : 0) | (d->read ? BPF_DEVCG_ACC_READ : 0) |
			 (d->write ? BPF_DEVCG_ACC_WRITE : 0);
	size_t checks = 0;

	if (is_everything(d)) {
		emit_verdict(p, d->allow);
		return;
	}
	checks = 1u + (d->major >= 0) + (d->minor >= 0) + 3u;
	emit_jump(p, BPF_JNE, 2, d->type == 'b' ? BPF_DEVCG_DEV_BLOCK : BPF_DEVCG_DEV_CHAR,
		  (int16_t)(checks + 1));
	checks--;
	if (d->major >= 0)
		emit_jump(p, BPF_JNE, 4, (int32_t)d->major, (int16_t)(checks-- + 1));
	if (d->minor >= 0)
		emit_jump(p, BPF_JNE, 5, (int32_t)d->minor, (int16_t)(checks-- + 1));
	emit(p,
	     (struct bpf_insn){ .code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 1, .src_reg = 3 });
	emit(p, (struct bpf_insn){ .code = BPF_ALU64 | BPF_AND | BPF_K,
				   .dst_reg = 1,
				   .imm = d->allow ? ~access & 7 : access });
	emit_jump(p, d->allow ? BPF_JNE : BPF_JEQ, 1, 0, 2);
	emit_verdict(p, d->allow);
}

static void detach_all(int fd)
{
	uint32_t ids[64] = { 0 };
	union bpf_attr q = { 0 };

	q.query.target_fd = (uint32_t)fd;
	q.query.attach_type = BPF_CGROUP_DEVICE;
	q.query.prog_ids = (uint64_t)(uintptr_t)ids;
	q.query.prog_cnt = ARRAY_LEN(ids);
	if (sys_bpf(BPF_PROG_QUERY, &q, sizeof(q)) < 0)
		return;
	for (uint32_t i = 0; i < q.query.prog_cnt; i++) {
		union bpf_attr get = { 0 }, detach = { 0 };
		_cleanup_close_ int prog = FD_NONE;

		get.prog_id = ids[i];
		prog = sys_bpf(BPF_PROG_GET_FD_BY_ID, &get, sizeof(get));
		if (prog < 0)
			continue;
		detach.target_fd = (uint32_t)fd;
		detach.attach_bpf_fd = (uint32_t)prog;
		detach.attach_type = BPF_CGROUP_DEVICE;
		(void)sys_bpf(BPF_PROG_DETACH, &detach, sizeof(detach));
	}
}

/* The last rule that matches decides: ask from the end, after the rules the defaults. A rule about
 * everything ends the program, since the verifier refuses code that cannot be reached. */
static void emit_rules(struct program *p, const struct device_rule *rules, size_t count)
{
	for (size_t i = count; i > 0; i--) {
		if (is_everything(&rules[i - 1]) && !rules[i - 1].allow)
			break;
		emit_rule(p, &rules[i - 1]);
		if (is_everything(&rules[i - 1]))
			return;
	}
	for (size_t i = 0; i < ARRAY_LEN(defaults); i++)
		emit_rule(p, &defaults[i]);
	emit_verdict(p, 0);
}

int cgroup_attach_devices(int fd, const struct device_rule *rules, size_t count, struct err *err)
{
	_cleanup_arena_ struct arena arena = { 0 };
	struct program *p = arena_alloc(&arena, sizeof(*p));
	_cleanup_close_ int prog = FD_NONE;
	union bpf_attr load = { 0 }, attach = { 0 };
	int r;

	if (!p)
		return err_set(err, -ENOMEM, "no memory for the device program");
	emit_prologue(p);
	emit_rules(p, rules, count);
	if (p->full)
		return err_set(err, -E2BIG, "linux.resources.devices: too many rules");
	load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
	load.insns = (uint64_t)(uintptr_t)p->ins;
	load.insn_cnt = (uint32_t)p->len;
	load.license = (uint64_t)(uintptr_t) "Apache-2.0";
	prog = sys_bpf(BPF_PROG_LOAD, &load, sizeof(load));
	if (prog < 0)
		return err_sys(err, prog, "linux.resources.devices: cannot load the BPF program");
	detach_all(fd);
	attach.target_fd = (uint32_t)fd;
	attach.attach_bpf_fd = (uint32_t)prog;
	attach.attach_type = BPF_CGROUP_DEVICE;
	attach.attach_flags = BPF_F_ALLOW_MULTI;
	r = sys_bpf(BPF_PROG_ATTACH, &attach, sizeof(attach));
	return r < 0 ? err_sys(err, r, "linux.resources.devices: cannot attach the BPF program")
		     : 0;
}

int cgroup_apply_devices(const struct cgroup *cg, const struct resources *r, struct err *err)
{
	int fd = cgroup_fd(cg, cg->pure_v2 ? CG_UNIFIED : CG_DEVICES);

	if (fd < 0 && cg->count > 0 && r->has_devices)
		return err_set(err, -ENOTSUP,
			       "linux.resources.devices: no devices cgroup on this host");
	if (fd < 0)
		return 0;
	if (cg->pure_v2)
		return cgroup_attach_devices(fd, r->devices, r->device_count, err);
	return apply_v1(fd, r, err);
}
