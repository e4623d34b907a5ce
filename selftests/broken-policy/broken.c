// SPDX-License-Identifier: GPL-2.0-only
/*
 * Policies that do wrong, one for each way to: the test programs see them thrown
 * out, and every guest go on. And one that complains if it is told wrong.
 */
#include <linux/delay.h>

#include "../backend.h"
#include "register.h"

static void pick_nobody(struct lv_sched_cpu *cpu)
{
}

/* The first vCPU that is not runnable; while all are, what comes is right. */
static void pick_blocked(struct lv_sched_cpu *cpu)
{
	struct lv_sched_vcpu *v, *first = lv_sched_first(cpu);
	struct lv_sched_vm *vm;

	lv_for_each_pool_vm(vm, cpu->pool) {
		lv_for_each_vm_vcpu(v, vm) {
			if (v->state == LV_SCHED_OUT)
				return lv_sched_choose(cpu, v, v->slice);
		}
	}
	if (first)
		lv_sched_choose(cpu, first, first->slice);
}

static void pick_elsewhere(struct lv_sched_cpu *cpu)
{
	static struct lv_sched_cpu nowhere;

	lv_sched_choose(&nowhere, lv_sched_first(cpu), LV_SLICE_DEFAULT);
}

static void pick_for_nothing(struct lv_sched_cpu *cpu)
{
	lv_sched_choose(cpu, lv_sched_first(cpu), 0);
}

static void think(struct lv_sched_vcpu *v, u32 why)
{
	mdelay(25);
}

/* All but the first vCPU of each VM wait for ever. */
static void favour(struct lv_sched_vcpu *v, u32 why)
{
	v->key = v != v->vm->vcpus;
}

static void pick_favourites(struct lv_sched_cpu *cpu)
{
	struct lv_sched_vcpu *v = lv_sched_first(cpu);

	if (v && !v->key)
		lv_sched_choose(cpu, v, v->slice);
}

/* Guests halt by HLT, and need user space for ports. */
static void check_exit(struct lv_sched_vcpu *v, u32 why)
{
	u8 exit = v->exit_reason;

	if ((why == LV_STOP_BLOCK && exit != LV_EXIT_HLT) ||
	    (why == LV_STOP_USER && exit != LV_EXIT_IO))
		lv_sched_fault(v->pool, "it stopped for another exit");
}

static const struct lv_sched_ops policies[] = {
	{ .name = "checks-exits", .stop = check_exit },
	{ .name = "never-picks", .pick = pick_nobody },
	{ .name = "picks-blocked", .pick = pick_blocked },
	{ .name = "picks-elsewhere", .pick = pick_elsewhere },
	{ .name = "no-slice", .pick = pick_for_nothing },
	{ .name = "stalls", .wake = think, .stop = think },
	{ .name = "starves",
	  .wake = favour,
	  .stop = favour,
	  .pick = pick_favourites,
	  .starve_ns = 500000000 },
};

static void unregister(unsigned int nr)
{
	while (nr--)
		lv_sched_unregister(&policies[nr]);
}

static int __init broken_init(void)
{
	unsigned int i;
	int err;

	for (i = 0; i < ARRAY_SIZE(policies); i++) {
		err = lv_sched_register(&policies[i], THIS_MODULE);
		if (err) {
			unregister(i);
			return err;
		}
	}
	return 0;
}
module_init(broken_init);

static void __exit broken_exit(void)
{
	unregister(ARRAY_SIZE(policies));
}
module_exit(broken_exit);

MODULE_DESCRIPTION("Scheduling policies that do wrong, for tests");
MODULE_LICENSE("GPL");
