// SPDX-License-Identifier: GPL-2.0-only
/*
 * edf: a vCPU with a period gets its budget in each, the earliest deadline first.
 *
 * Each such vCPU belongs to one CPU, the first one that has room for it (first
 * fit), and there the rule is exact: as long as no CPU is promised to more than
 * EDF_LIMIT, all deadlines are met. What does not fit is refused. The margin is
 * for others, and for the time that a thread needs to come and go.
 *
 * A vCPU that used up its budget is parked until its deadline; then it gets
 * another one (a constant bandwidth server with hard reservation: Abeni, Buttazzo,
 * Integrating Multimedia Applications in Hard Real-Time Systems, 1998). What it
 * took too much, it lacks next time. One that wakes up goes on with what it has
 * left if that is no more than its share until the deadline, else it begins anew.
 *
 * vCPUs without a period take turns on what is left, on any CPU.
 */
#include "policies.h"

#define EDF_ONE (1U << 20)
#define EDF_LIMIT (EDF_ONE / 100 * 95)
#define EDF_BACKGROUND (1ULL << 63) /* the key of those without a deadline */

struct edf_vcpu {
	u64 period; /* 0: background */
	u64 budget;
	u64 share; /* the CPU is EDF_ONE */
	u64 deadline;
	s64 left; /* of the budget, until the deadline */
};

static struct edf_vcpu *edf_vcpu(struct lv_sched_vcpu *v)
{
	return lv_sched_priv(v, struct edf_vcpu);
}

/* ---- admission ---- */

/* A slice cannot be cut shorter than the shortest. */
static u64 edf_share(const struct lv_sched_params *p)
{
	if (!p->period_ns)
		return 0;
	return div64_u64((p->budget_ns + LV_SLICE_MIN) * EDF_ONE,
			 p->period_ns) +
	       1;
}

static bool edf_fits(struct lv_sched_vcpu *v, struct lv_sched_cpu *cpu)
{
	u64 share = edf_share(&v->params);

	if (share > EDF_LIMIT || cpu->scratch > EDF_LIMIT - share)
		return false;
	cpu->scratch += share;
	v->scratch = (unsigned long)cpu;
	return true;
}

extern const struct lv_sched_ops lv_sched_edf;

/* Those that have a CPU stay there, if they still fit. */
static void edf_keep_homes(struct lv_pool *pool)
{
	struct lv_sched_vcpu *v;
	struct lv_sched_vm *vm;

	lv_for_each_pool_vm(vm, pool)
		lv_for_each_vm_vcpu(v, vm) {
			v->scratch = 0;
			if (v->params.period_ns && v->home &&
			    pool->ops == &lv_sched_edf)
				edf_fits(v, v->home);
		}
}

static bool edf_find_home(struct lv_sched_vcpu *v, struct lv_pool *pool)
{
	struct lv_sched_cpu *cpu;

	lv_for_each_pool_cpu(cpu, pool)
		if (edf_fits(v, cpu))
			return true;
	return false;
}

static int edf_admit(struct lv_pool *pool)
{
	struct lv_sched_vcpu *v;
	struct lv_sched_cpu *cpu;
	struct lv_sched_vm *vm;

	lv_for_each_pool_cpu(cpu, pool)
		cpu->scratch = 0;
	edf_keep_homes(pool);
	lv_for_each_pool_vm(vm, pool)
		lv_for_each_vm_vcpu(v, vm)
			if (v->params.period_ns && !v->scratch &&
			    !edf_find_home(v, pool))
				return -ENOSPC;
	return 0;
}

/* ---- budgets ---- */

static void edf_begin(struct lv_sched_vcpu *v)
{
	struct edf_vcpu *e = edf_vcpu(v);

	e->deadline = v->pool->now + e->period;
	e->left = e->budget;
}

/* The deadline is reached: the next budget, less what it took too much. */
static void edf_replenish(struct lv_sched_vcpu *v)
{
	struct edf_vcpu *e = edf_vcpu(v);

	e->left = min(e->left, (s64)0) + e->budget;
	e->deadline += e->period;
	if (e->deadline <= v->pool->now)
		e->deadline = v->pool->now + e->period;
}

/* Where it stands, now that its budget or deadline may have changed. */
static void edf_place(struct lv_sched_vcpu *v)
{
	struct edf_vcpu *e = edf_vcpu(v);

	v->key = EDF_BACKGROUND;
	if (!e->period)
		return;
	if (e->left <= 0 && e->deadline <= v->pool->now)
		edf_replenish(v);
	v->key = e->deadline;
	if (e->left <= 0)
		lv_sched_park_until(v, e->deadline);
}

static void edf_charge(struct lv_sched_vcpu *v, u64 ns)
{
	edf_vcpu(v)->left -= ns;
}

static void edf_stop(struct lv_sched_vcpu *v, u32 why)
{
	edf_place(v);
}

static void edf_release(struct lv_sched_vcpu *v)
{
	edf_place(v);
}

static void edf_wake(struct lv_sched_vcpu *v, u32 why)
{
	struct edf_vcpu *e = edf_vcpu(v);
	u64 now = v->pool->now;

	if (e->period && e->left > 0 &&
	    (e->deadline <= now ||
	     (u64)e->left > (e->deadline - now) * e->share / EDF_ONE))
		edf_begin(v);
	edf_place(v);
	if (e->left > 0)
		lv_sched_unpark(v);
}

/* ---- what comes and goes ---- */

/* Its parameters are new: they count from the deadline that it has on. */
static void edf_adopt(struct lv_sched_vcpu *v)
{
	struct edf_vcpu *e = edf_vcpu(v);
	struct lv_sched_cpu *home = (void *)(unsigned long)v->scratch;
	bool fresh = !e->period;

	e->period = v->params.period_ns;
	e->budget = v->params.budget_ns;
	e->share = edf_share(&v->params);
	if (!e->period)
		return lv_sched_unpark(v);
	if (fresh)
		edf_begin(v);
	else
		e->left = min(e->left, (s64)0);
	edf_place(v);
	lv_sched_requeue(v, v->key, home);
}

static void edf_params(struct lv_sched_vcpu *v)
{
	struct edf_vcpu *e = edf_vcpu(v);

	if (e->period == v->params.period_ns &&
	    e->budget == v->params.budget_ns)
		return;
	lv_sched_charge(v);
	lv_sched_requeue(v, EDF_BACKGROUND, NULL);
	edf_adopt(v);
	if (v->state == LV_SCHED_RUNNING)
		lv_sched_resched(v->cpu);
}

static void edf_vcpu_join(struct lv_sched_vcpu *v)
{
	edf_adopt(v);
}

/* admit() found other homes for those that had this one. */
static void edf_cpu_remove(struct lv_sched_cpu *cpu)
{
	struct lv_sched_vcpu *v;
	struct lv_sched_vm *vm;

	lv_for_each_pool_vm(vm, cpu->pool)
		lv_for_each_vm_vcpu(v, vm)
			if (edf_vcpu(v)->period && !v->home)
				lv_sched_requeue(
					v, v->key,
					(void *)(unsigned long)v->scratch);
}

/* ---- who is next ---- */

static void edf_pick(struct lv_sched_cpu *cpu)
{
	struct lv_sched_vcpu *v = lv_sched_first(cpu);
	u64 slice = cpu->pool->slice;

	if (v && edf_vcpu(v)->period)
		slice = max_t(s64, edf_vcpu(v)->left, LV_SLICE_MIN);
	lv_sched_choose(cpu, v, slice);
}

static bool edf_preempts(struct lv_sched_vcpu *v, struct lv_sched_vcpu *curr)
{
	return v->key < curr->key;
}

static bool edf_yield(struct lv_sched_vcpu *v, struct lv_sched_vcpu *to)
{
	return !edf_vcpu(v)->period && lv_sched_first(v->cpu);
}

static int edf_dump(struct lv_sched_vcpu *v, char *buf, u32 size)
{
	struct edf_vcpu *e = edf_vcpu(v);

	if (!e->period)
		return snprintf(buf, size, "background");
	return snprintf(buf, size, "%ld us left, deadline in %ld us",
			(long)e->left / 1000,
			(long)(e->deadline - v->pool->now) / 1000);
}

const struct lv_sched_ops lv_sched_edf = {
	.name = "edf",
	.starve_ns = 60000000000ULL,
	.admit = edf_admit,
	.cpu_remove = edf_cpu_remove,
	.vcpu_join = edf_vcpu_join,
	.params = edf_params,
	.wake = edf_wake,
	.stop = edf_stop,
	.charge = edf_charge,
	.release = edf_release,
	.pick = edf_pick,
	.preempts = edf_preempts,
	.yield = edf_yield,
	.dump = edf_dump,
};
