// SPDX-License-Identifier: GPL-2.0-only
/*
 * gang-relaxed: siblings may run apart, but not too far.
 *
 * vCPUs take turns as under rr. Each makes progress while it runs, and none while
 * it waits; what it halts does not count. When a vCPU is RELAXED_SKEW ahead of a
 * sibling, of its VM and group, that wants to run, it is parked until that has
 * come closer. The one that is furthest behind is never held back.
 *
 * The bound is exact but for the way into the guest and out of it.
 */
#include "policies.h"

#define RELAXED_SKEW 5000000ULL

struct relaxed_vcpu {
	u64 progress;
};

static struct relaxed_vcpu *relaxed_vcpu(struct lv_sched_vcpu *v)
{
	return lv_sched_priv(v, struct relaxed_vcpu);
}

/* The progress of the slowest in the group that wants to run, ~0 if none does. */
static u64 relaxed_slowest(struct lv_sched_vcpu *of)
{
	struct lv_sched_vcpu *v;
	u64 slowest = ~0ULL;

	lv_for_each_vm_vcpu(v, of->vm) {
		if (v->state < LV_SCHED_READY ||
		    v->params.group != of->params.group)
			continue;
		if (v->state == LV_SCHED_RUNNING)
			lv_sched_charge(v);
		slowest = min(slowest, relaxed_vcpu(v)->progress);
	}
	return slowest;
}

/* How long may it run until it is too far ahead? */
static u64 relaxed_room(struct lv_sched_vcpu *v, u64 slowest)
{
	u64 at = relaxed_vcpu(v)->progress;
	u64 ahead = at > slowest ? at - slowest : 0;

	return ahead < RELAXED_SKEW ? RELAXED_SKEW - ahead : 0;
}

/* The slowest may be another one now, or have come closer. */
static void relaxed_review(struct lv_sched_vcpu *changed)
{
	u64 slowest = relaxed_slowest(changed);
	struct lv_sched_vcpu *v;

	lv_for_each_vm_vcpu(v, changed->vm)
		if (v->parked && v->params.group == changed->params.group &&
		    relaxed_room(v, slowest) >= RELAXED_SKEW / 2)
			lv_sched_unpark(v);
}

/* On its way to the CPU it makes no progress, though it is charged for it. */
static void relaxed_charge(struct lv_sched_vcpu *v, u64 ns)
{
	if (v->absent != LV_COMING)
		relaxed_vcpu(v)->progress += ns;
}

/* Who halted is where the slowest is, at least. */
static void relaxed_wake(struct lv_sched_vcpu *v, u32 why)
{
	struct relaxed_vcpu *r = relaxed_vcpu(v);
	u64 had = r->progress, others;

	r->progress = ~0ULL;
	others = relaxed_slowest(v);
	r->progress = others == ~0ULL ? had : max(had, others);
	relaxed_review(v);
}

static void relaxed_stop(struct lv_sched_vcpu *v, u32 why)
{
	relaxed_review(v);
}

static void relaxed_params(struct lv_sched_vcpu *v)
{
	lv_sched_unpark(v);
}

static void relaxed_pick(struct lv_sched_cpu *cpu)
{
	struct lv_sched_vcpu *v;
	u64 room;

	while ((v = lv_sched_first(cpu))) {
		room = relaxed_room(v, relaxed_slowest(v));
		if (room >= LV_SLICE_MIN)
			return lv_sched_choose(cpu, v,
					       min(room, cpu->pool->slice));
		lv_sched_park(v);
	}
}

static int relaxed_dump(struct lv_sched_vcpu *v, char *buf, u32 size)
{
	u64 slowest = relaxed_slowest(v);

	if (slowest == ~0ULL)
		return snprintf(buf, size, "none of the gang wants to run");
	return snprintf(buf, size, "%ld us ahead",
			(long)(relaxed_vcpu(v)->progress - slowest) / 1000);
}

const struct lv_sched_ops lv_sched_relaxed = {
	.name = "gang-relaxed",
	.vcpu_join = relaxed_params,
	.params = relaxed_params,
	.wake = relaxed_wake,
	.stop = relaxed_stop,
	.charge = relaxed_charge,
	.pick = relaxed_pick,
	.dump = relaxed_dump,
};
