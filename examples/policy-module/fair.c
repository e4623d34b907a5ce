// SPDX-License-Identifier: GPL-2.0-only
/*
 * fair: a policy as a module of its own, the one that docs/scheduling-policies.md
 * walks through. Each VM gets CPU time in proportion to its weight.
 *
 * A vCPU's pass counts the CPU time that it used, slower the more weight it has;
 * who has the smallest pass goes first. The pool's pass is that of who ran last:
 * who slept starts from there, and cannot have saved up for a long run.
 */
#include <register.h>

/* A vCPU that wakes up takes the CPU of one that is ahead of it by this much. */
#define GRANULARITY 2000000ULL

/* What the policy remembers, in priv[] of the vCPU and of the pool. */
struct fair {
	u64 pass;
};

static u64 *pass_of(struct lv_sched_vcpu *vcpu)
{
	return &lv_sched_priv(vcpu, struct fair)->pass;
}

static void fair_charge(struct lv_sched_vcpu *vcpu, u64 ns)
{
	struct fair *pool = lv_sched_priv(vcpu->pool, struct fair);
	const struct lv_sched_vm *vm = vcpu->vm;

	/* All vCPUs of a VM share its weight. */
	*pass_of(vcpu) += div_u64(ns * vm->nr_vcpus * LV_WEIGHT_DEFAULT,
				  vm->params.weight);
	pool->pass = max(pool->pass, vcpu->key);
}

static void fair_wake(struct lv_sched_vcpu *vcpu, u32 why)
{
	struct fair *pool = lv_sched_priv(vcpu->pool, struct fair);

	*pass_of(vcpu) = max(*pass_of(vcpu), pool->pass);
	vcpu->key = *pass_of(vcpu);
}

static void fair_stop(struct lv_sched_vcpu *vcpu, u32 why)
{
	vcpu->key = *pass_of(vcpu);
}

static bool fair_preempts(struct lv_sched_vcpu *vcpu,
			  struct lv_sched_vcpu *curr)
{
	lv_sched_charge(curr); /* @curr's pass is as old as its last charge */
	return *pass_of(vcpu) + GRANULARITY < *pass_of(curr);
}

static const struct lv_sched_ops fair = {
	.name = "fair",
	.wake = fair_wake,
	.stop = fair_stop,
	.charge = fair_charge,
	.preempts = fair_preempts,
};

static int __init fair_init(void)
{
	return lv_sched_register(&fair, THIS_MODULE);
}

static void __exit fair_exit(void)
{
	lv_sched_unregister(&fair);
}

module_init(fair_init);
module_exit(fair_exit);

MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("An example of a scheduling policy for Labvisor");
