// SPDX-License-Identifier: GPL-2.0-only
/*
 * partition: each vCPU has a CPU for itself.
 *
 * It gets one when it joins and stays there. Its slice never ends, so no timer
 * fires and nobody interrupts the guest but for its own work. A pool with fewer
 * CPUs than vCPUs is refused.
 */
#include "policies.h"

struct partition_cpu {
	struct lv_sched_vcpu *owner;
};

static struct partition_cpu *partition_cpu(struct lv_sched_cpu *cpu)
{
	return lv_sched_priv(cpu, struct partition_cpu);
}

static int partition_admit(struct lv_pool *pool)
{
	return pool->nr_vcpus > pool->nr_cpus ? -ENOSPC : 0;
}

/* A CPU that nobody owns; the one where it was last, if it can have that. */
static void partition_settle(struct lv_sched_vcpu *v)
{
	struct lv_sched_cpu *cpu, *home = NULL;

	lv_for_each_pool_cpu(cpu, v->pool)
		if (!partition_cpu(cpu)->owner && (!home || cpu == v->cpu))
			home = cpu;
	partition_cpu(home)->owner = v;
	lv_sched_requeue(v, 0, home);
}

static void partition_vcpu_join(struct lv_sched_vcpu *v)
{
	v->slice = LV_SLICE_FOREVER;
	partition_settle(v);
}

static void partition_vcpu_leave(struct lv_sched_vcpu *v)
{
	partition_cpu(v->home)->owner = NULL;
}

static void partition_cpu_remove(struct lv_sched_cpu *cpu)
{
	struct lv_sched_vcpu *v = partition_cpu(cpu)->owner;

	partition_cpu(cpu)->owner = NULL;
	if (v)
		partition_settle(v);
}

const struct lv_sched_ops lv_sched_partition = {
	.name = "partition",
	.admit = partition_admit,
	.vcpu_join = partition_vcpu_join,
	.vcpu_leave = partition_vcpu_leave,
	.cpu_remove = partition_cpu_remove,
};
