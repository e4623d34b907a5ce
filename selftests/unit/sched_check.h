/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What holds for a pool whenever its lock is free, whatever the policy does.
 * sched_broken() says what does not, or NULL.
 */
#ifndef LABVISOR_SCHED_CHECK_H
#define LABVISOR_SCHED_CHECK_H

#include "sched/core.h"

/* Is a heap in order, and how many does it hold? */
static inline const char *sched_heap(const struct lv_ready_queue *q,
				     struct lv_sched_vcpu *const *link,
				     const struct lv_sched_vcpu *parent,
				     u32 *count)
{
	struct lv_sched_vcpu *v;
	const char *broken;

	for (; (v = *link); link = &v->sibling) {
		if (v->link != link)
			return "a link of a heap";
		if (v->queue != q)
			return "a vCPU in a foreign heap";
		if (parent &&
		    (v->rank < parent->rank ||
		     (v->rank == parent->rank && v->seq < parent->seq)))
			return "the order of a heap";
		++*count;
		broken = sched_heap(q, &v->child, v, count);
		if (broken)
			return broken;
	}
	return NULL;
}

static inline const char *sched_broken_vcpu(const struct lv_sched_vcpu *v)
{
	const struct lv_pool *pool = v->pool;
	bool queued = v->queue && v->queue != &pool->parked;

	if ((pool->ops == &lv_sched_host) != (v->state == LV_SCHED_FREE))
		return "FREE, and the policy is not host, or the reverse";
	if (v->state == LV_SCHED_FREE && (!v->pass || v->queue || v->parked))
		return "a FREE vCPU that is not";
	if (v->state == LV_SCHED_RUNNING && v->cpu->curr != v)
		return "RUNNING without its CPU";
	if (queued != (v->state == LV_SCHED_READY && !v->parked))
		return "in the ready queue, and not to be there, or the reverse";
	if (queued && v->queue != (v->home ? &v->home->ready : &pool->ready))
		return "in the ready queue of another CPU";
	if (v->queue == &pool->parked && !v->parked)
		return "waits for its release, but is not parked";
	if (v->pass && v->state != LV_SCHED_FREE &&
	    (v->state != LV_SCHED_RUNNING || v->absent == LV_COMING ||
	     v->absent == LV_IN_USER))
		return "may enter the guest without a CPU";
	if (v->home && v->home->pool != pool)
		return "at home in another pool";
	if (v->blocked && v->state != LV_SCHED_OUT)
		return "halted, but not OUT";
	return NULL;
}

static inline const char *sched_broken_cpu(const struct lv_sched_cpu *cpu,
					   u32 *queued, u32 *idle)
{
	const struct lv_sched_vcpu *v = cpu->curr;
	u64 at = v ? cpu->until : LV_SLICE_FOREVER;

	*idle += !v;
	if (v && (v->state != LV_SCHED_RUNNING || v->cpu != cpu ||
		  v->pool != cpu->pool))
		return "a CPU whose vCPU does not run there";
	if (v && v->home && v->home != cpu && !cpu->resched)
		return "a vCPU that runs away from home";
	if (v && v->parked && !cpu->resched)
		return "a parked vCPU runs, and nobody asked it to stop";
	if (v && cpu->resched && (v->absent != LV_HERE || v->pass))
		return "a vCPU that was asked to stop and goes on";
	if (!v && cpu->resched)
		return "nobody is asked to stop";
	if (at != LV_SLICE_FOREVER && (!cpu->timer || cpu->timer > at))
		return "a slice without an end";
	return sched_heap(&cpu->ready, &cpu->ready.first, NULL, queued);
}

static inline const char *sched_broken(const struct lv_pool *pool)
{
	u32 queued = 0, idle = 0, cpus = 0, vms = 0, vcpus = 0, parked = 0;
	const struct lv_sched_vcpu *v;
	const struct lv_sched_cpu *cpu;
	const struct lv_sched_vm *vm;
	const char *broken;

	broken = sched_heap(&pool->ready, &pool->ready.first, NULL, &queued);
	if (!broken)
		broken = sched_heap(&pool->parked, &pool->parked.first, NULL,
				    &parked);
	lv_for_each_pool_cpu(cpu, pool) {
		cpus++;
		if (!broken)
			broken = sched_broken_cpu(cpu, &queued, &idle);
	}
	lv_for_each_pool_vm(vm, pool) {
		vms++;
		lv_for_each_vm_vcpu(v, vm) {
			vcpus++;
			if (!broken)
				broken = sched_broken_vcpu(v);
			parked -= v->queue == &pool->parked;
		}
	}
	if (broken)
		return broken;
	if (queued != pool->nr_ready || idle != pool->nr_idle)
		return "nr_ready or nr_idle";
	if (cpus != pool->nr_cpus || vms != pool->nr_vms ||
	    vcpus != pool->nr_vcpus)
		return "the number of CPUs, VMs or vCPUs";
	if (parked)
		return "who waits for a release";
	if (pool->takes || pool->picking || pool->moving)
		return "something is not settled";
	if (pool->parked.first &&
	    (!pool->timer || pool->timer > pool->parked.first->rank))
		return "a release without a timer";
	return NULL;
}

#endif /* LABVISOR_SCHED_CHECK_H */
