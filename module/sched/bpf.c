// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policies written in BPF: struct lv_sched_ops as a struct_ops type.
 *
 * A program sees the structs of sched.h themselves. The verifier lets it read
 * all of them, write the fields tagged "policy", and call the functions listed
 * below. It runs where other policies run, under its pool's lock, and what it can
 * reach belongs to that pool: nothing more is needed to keep a program until its
 * last call than what lv_sched_unregister() does.
 *
 * A program that is wrong costs its guests time, but not the host: what other
 * policies are trusted with is checked here.
 */
#define pr_fmt(fmt) "labvisor: " fmt

#include "../compat.h"
#include "gate.h"
#include "register.h"

#ifdef LV_BPF_POLICIES

#include <linux/bpf.h>
#include <linux/bpf_verifier.h>
#include <linux/btf.h>
#include <linux/btf_ids.h>

#define LV_BPF_DEPTH 4
#define LV_BPF_ADMIT 2 /* the how-manieth member of the ops admit is, from 0 */

/*
 * The verifier finds these by their names. They list the pointers that are NULL or
 * valid as long as an op runs: only those may be given to functions and written
 * through. The pool is NULL where a vCPU or VM is about to join or has left.
 */
struct lv_sched_vcpu__safe_trusted {
	struct lv_sched_vm *vm;
};

struct lv_sched_vcpu__safe_trusted_or_null {
	struct lv_pool *pool;
	struct lv_sched_vcpu *next;
	struct lv_sched_cpu *cpu;
	struct lv_sched_cpu *home;
};

struct lv_sched_vm__safe_trusted_or_null {
	struct lv_pool *pool;
	struct lv_sched_vm *next;
	struct lv_sched_vcpu *vcpus;
};

struct lv_sched_cpu__safe_trusted_or_null {
	struct lv_pool *pool;
	struct lv_sched_cpu *next;
	struct lv_sched_vcpu *curr;
	struct lv_sched_vcpu *first; /* of @ready */
};

struct lv_pool__safe_trusted_or_null {
	struct lv_sched_cpu *cpus;
	struct lv_sched_vm *vms;
	struct lv_sched_vcpu *first; /* of @ready */
};

/* ---- what a program may call ---- */

static DEFINE_PER_CPU(u32, lv_bpf_depth);

/* A function that calls an op that calls the function would use up the stack. */
static bool lv_bpf_enter(struct lv_sched_vcpu *vcpu)
{
	if (this_cpu_inc_return(lv_bpf_depth) <= LV_BPF_DEPTH)
		return true;
	this_cpu_dec(lv_bpf_depth);
	lv_sched_fault(vcpu->pool, "calls itself");
	return false;
}

/* Global, so that BTF has them; nobody else calls them. */
void lv_bpf_choose(struct lv_sched_cpu *cpu, struct lv_sched_vcpu *vcpu,
		   u64 slice);
void lv_bpf_park(struct lv_sched_vcpu *vcpu);
void lv_bpf_unpark(struct lv_sched_vcpu *vcpu);
void lv_bpf_charge(struct lv_sched_vcpu *vcpu);
void lv_bpf_requeue(struct lv_sched_vcpu *vcpu, u64 key,
		    struct lv_sched_cpu *home__nullable);
void lv_bpf_park_until(struct lv_sched_vcpu *vcpu, u64 at);
void lv_bpf_timer(struct lv_pool *pool, u64 at);
void lv_bpf_fault(struct lv_pool *pool);

/* A vCPU has no pool any more if it left before the others of its VM. */
__bpf_kfunc_start_defs();

__bpf_kfunc void lv_bpf_choose(struct lv_sched_cpu *cpu,
			       struct lv_sched_vcpu *vcpu, u64 slice)
{
	if (vcpu->pool)
		lv_sched_choose(cpu, vcpu, slice);
}

__bpf_kfunc void lv_bpf_park(struct lv_sched_vcpu *vcpu)
{
	if (vcpu->pool)
		lv_sched_park(vcpu);
}

__bpf_kfunc void lv_bpf_unpark(struct lv_sched_vcpu *vcpu)
{
	if (!vcpu->pool || !lv_bpf_enter(vcpu))
		return;
	lv_sched_unpark(vcpu);
	this_cpu_dec(lv_bpf_depth);
}

__bpf_kfunc void lv_bpf_charge(struct lv_sched_vcpu *vcpu)
{
	if (!vcpu->pool || !lv_bpf_enter(vcpu))
		return;
	lv_sched_charge(vcpu);
	this_cpu_dec(lv_bpf_depth);
}

__bpf_kfunc void lv_bpf_requeue(struct lv_sched_vcpu *vcpu, u64 key,
				struct lv_sched_cpu *home__nullable)
{
	if (vcpu->pool)
		lv_sched_requeue(vcpu, key, home__nullable);
}

/* What is due again and again at once would leave time for nothing else. */
__bpf_kfunc void lv_bpf_park_until(struct lv_sched_vcpu *vcpu, u64 at)
{
	if (vcpu->pool)
		lv_sched_park_until(vcpu,
				    max(at, vcpu->pool->now + LV_PERIOD_MIN));
}

__bpf_kfunc void lv_bpf_timer(struct lv_pool *pool, u64 at)
{
	lv_sched_timer(pool, at ? max(at, pool->now + LV_PERIOD_MIN) : 0);
}

__bpf_kfunc void lv_bpf_fault(struct lv_pool *pool)
{
	lv_sched_fault(pool, "gave up by itself");
}

__bpf_kfunc_end_defs();

BTF_KFUNCS_START(lv_bpf_ids)
BTF_ID_FLAGS(func, lv_sched_resched, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, lv_sched_cut, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, lv_bpf_choose, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, lv_bpf_park, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, lv_bpf_unpark, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, lv_bpf_charge, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, lv_bpf_requeue, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, lv_bpf_park_until, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, lv_bpf_timer, KF_TRUSTED_ARGS)
BTF_ID_FLAGS(func, lv_bpf_fault, KF_TRUSTED_ARGS)
BTF_KFUNCS_END(lv_bpf_ids)

/* admit() sees a pool that may be another policy's still: it only looks. */
static int lv_bpf_filter(const struct bpf_prog *prog, u32 kfunc)
{
	return prog->expected_attach_type == LV_BPF_ADMIT ? -EACCES : 0;
}

static const struct btf_kfunc_id_set lv_bpf_kfuncs = {
	.owner = THIS_MODULE,
	.set = &lv_bpf_ids,
	.filter = lv_bpf_filter,
};

/* ---- what a program may write ---- */

/* BTF of this module, and in it the types whose fields are written */
static struct btf *lv_btf;
static u32 lv_bpf_vcpu, lv_bpf_vm, lv_bpf_cpu, lv_bpf_pool;

static int lv_bpf_init(struct btf *btf)
{
	lv_btf = btf;
	return 0;
}

static u32 lv_bpf_offset(const struct btf_type *ops, const struct btf_member *m)
{
	return __btf_member_bit_offset(ops, m) / 8;
}

/* The struct that the first argument of an op points to. */
static u32 lv_bpf_first_argument(const struct btf_type *ops, u32 op)
{
	const struct btf_member *m = btf_type_member(ops);
	const struct btf_type *type;

	while (lv_bpf_offset(ops, m) != op)
		m++;
	type = btf_type_by_id(lv_btf, m->type); /* the pointer */
	type = btf_type_by_id(lv_btf, type->type); /* the function */
	type = btf_type_by_id(lv_btf, btf_params(type)->type);
	return type->type;
}

/*
 * The verifier is about to look at a program. Ops may not sleep; and text is none
 * of BPF's strengths.
 */
static int lv_bpf_check_member(const struct btf_type *ops,
			       const struct btf_member *member,
			       const struct bpf_prog *prog)
{
	u32 op = lv_bpf_offset(ops, member);

#define LV_TYPE_OF(op) \
	lv_bpf_first_argument(ops, offsetof(struct lv_sched_ops, op))
	lv_bpf_vcpu = LV_TYPE_OF(wake);
	lv_bpf_vm = LV_TYPE_OF(vm_join);
	lv_bpf_cpu = LV_TYPE_OF(pick);
	lv_bpf_pool = LV_TYPE_OF(init);
	if (lv_bpf_sleepable(prog) || op == offsetof(struct lv_sched_ops, dump))
		return -EOPNOTSUPP;
	return 0;
}

#define LV_WITHIN(type, field)                  \
	(off >= offsetof(struct type, field) && \
	 off + size <= offsetofend(struct type, field))

static bool lv_bpf_writable(u32 type, int off, int size)
{
	if (type == lv_bpf_vcpu)
		return LV_WITHIN(lv_sched_vcpu, key) ||
		       LV_WITHIN(lv_sched_vcpu, slice) ||
		       LV_WITHIN(lv_sched_vcpu, priv) ||
		       LV_WITHIN(lv_sched_vcpu, scratch);
	if (type == lv_bpf_cpu)
		return LV_WITHIN(lv_sched_cpu, priv) ||
		       LV_WITHIN(lv_sched_cpu, scratch);
	if (type == lv_bpf_vm)
		return LV_WITHIN(lv_sched_vm, priv);
	return type == lv_bpf_pool && LV_WITHIN(lv_pool, priv);
}

static int lv_bpf_access(struct bpf_verifier_log *log,
			 const struct bpf_reg_state *reg, int off, int size)
{
	if (reg->btf == lv_btf && reg->type & PTR_TRUSTED &&
	    lv_bpf_writable(reg->btf_id, off, size))
		return SCALAR_VALUE;
	bpf_log(log,
		"a policy may not write there, see module/sched/sched.h\n");
	return -EACCES;
}

static const struct bpf_verifier_ops lv_bpf_verifier = {
	.get_func_proto = bpf_base_func_proto,
	.is_valid_access = bpf_tracing_btf_ctx_access,
	.btf_struct_access = lv_bpf_access,
};

/* ---- the type ---- */

/* What is no program: 1 says that it is done. */
static int lv_bpf_init_member(const struct btf_type *t,
			      const struct btf_member *member, void *kdata,
			      const void *udata)
{
	const struct lv_sched_ops *from = udata;
	struct lv_sched_ops *ops = kdata;

	switch (lv_bpf_offset(t, member)) {
	case offsetof(struct lv_sched_ops, name):
		strscpy(ops->name, from->name, sizeof(ops->name));
		return 1;
	case offsetof(struct lv_sched_ops, starve_ns):
		ops->starve_ns = from->starve_ns;
		return 1;
	}
	return 0;
}

static int lv_bpf_reg(void *kdata LV_BPF_LINK_ARG)
{
	return lv_sched_register(kdata, NULL);
}

static void lv_bpf_unreg(void *kdata LV_BPF_LINK_ARG)
{
	lv_sched_unregister(kdata);
}

/*
 * Never called: the kernel wants a function of each type to compare programs with,
 * and takes from the last one's name and argument that yield()'s may be NULL.
 */
/* clang-format off */
static int stub_admit(struct lv_pool *pool) { return 0; }
static void stub_pool(struct lv_pool *pool) {}
static void stub_cpu(struct lv_sched_cpu *cpu) {}
static void stub_vm(struct lv_sched_vm *vm) {}
static void stub_vcpu(struct lv_sched_vcpu *v) {}
static void stub_why(struct lv_sched_vcpu *v, u32 why) {}
static void stub_charge(struct lv_sched_vcpu *v, u64 ns) {}
static bool stub_preempts(struct lv_sched_vcpu *v, struct lv_sched_vcpu *c) { return false; }
static void stub_ipi(struct lv_sched_vcpu *from, struct lv_sched_vcpu *to) {}
static void stub_migrate(struct lv_sched_vcpu *v, struct lv_sched_cpu *to) {}
static int stub_dump(struct lv_sched_vcpu *v, char *buf, u32 size) { return 0; }
static bool lv_sched_ops__yield(struct lv_sched_vcpu *v, struct lv_sched_vcpu *to__nullable) { return false; }
/* clang-format on */

static struct lv_sched_ops lv_bpf_stubs = {
	.admit = stub_admit,
	.init = stub_pool,
	.exit = stub_pool,
	.cpu_add = stub_cpu,
	.cpu_remove = stub_cpu,
	.vm_join = stub_vm,
	.vm_leave = stub_vm,
	.vcpu_join = stub_vcpu,
	.vcpu_leave = stub_vcpu,
	.params = stub_vcpu,
	.wake = stub_why,
	.stop = stub_why,
	.charge = stub_charge,
	.pick = stub_cpu,
	.preempts = stub_preempts,
	.yield = lv_sched_ops__yield,
	.ipi = stub_ipi,
	.irq = stub_why,
	.migrate = stub_migrate,
	.timer = stub_pool,
	.release = stub_vcpu,
	.dump = stub_dump,
};

static struct bpf_struct_ops lv_bpf_ops = {
	.verifier_ops = &lv_bpf_verifier,
	.init = lv_bpf_init,
	.check_member = lv_bpf_check_member,
	.init_member = lv_bpf_init_member,
	.reg = lv_bpf_reg,
	.unreg = lv_bpf_unreg,
	.cfi_stubs = &lv_bpf_stubs,
	.owner = THIS_MODULE,
	.name = "lv_sched_ops",
};

/** lv_bpf_register - let policies in BPF come; without BTF, all else works */
void lv_bpf_register(void)
{
	int err;

	BTF_TYPE_EMIT(struct lv_sched_vcpu__safe_trusted);
	BTF_TYPE_EMIT(struct lv_sched_vcpu__safe_trusted_or_null);
	BTF_TYPE_EMIT(struct lv_sched_vm__safe_trusted);
	BTF_TYPE_EMIT(struct lv_sched_vm__safe_trusted_or_null);
	BTF_TYPE_EMIT(struct lv_sched_cpu__safe_trusted);
	BTF_TYPE_EMIT(struct lv_sched_cpu__safe_trusted_or_null);
	BTF_TYPE_EMIT(struct lv_pool__safe_trusted_or_null);

	err = register_btf_kfunc_id_set(BPF_PROG_TYPE_STRUCT_OPS,
					&lv_bpf_kfuncs)
		      ?: register_bpf_struct_ops(&lv_bpf_ops, lv_sched_ops);
	if (err)
		pr_warn("no policies in BPF: error %d\n", err);
	else if (!lv_btf)
		pr_info("no policies in BPF: built without pahole or the kernel's vmlinux, the module has no BTF\n");
}

#else /* the kernel is too old, or not configured for it */

void lv_bpf_register(void)
{
}

#endif /* LV_BPF_POLICIES */
