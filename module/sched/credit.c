// SPDX-License-Identifier: GPL-2.0-only
/*
 * credit: VMs share the pool by weight, and a VM may have a cap.
 *
 * Each vCPU has a virtual time, which runs slower the more weight it has: a VM's
 * weight is divided among those of its vCPUs that want to run. Who is furthest
 * behind comes next. Nobody saves up more than CREDIT_LAG by sleeping, nor falls
 * behind by more than CREDIT_WAIT.
 *
 * A vCPU that wakes up and has not had its share is boosted: it goes first, and
 * preempts others when they have run for CREDIT_RATE, but for CREDIT_BOOST only.
 * Time is charged as it was used, to the nanosecond, not sampled by ticks; so
 * there is no moment at which it pays to yield or to halt.
 *
 * A VM with a cap has tokens, ns of CPU time, which come in at the rate of the
 * cap. A slice takes its tokens when it begins and gives back what is left. When
 * there are none, the VM's vCPUs are parked. In any time t a VM gets no more
 * than cap * (t + CREDIT_WINDOW), and what its threads need to leave the guest,
 * for which it pays later.
 */
#include "policies.h"

#define CREDIT_LAG 10000000ULL /* virtual: ns of a vCPU of the default weight */
#define CREDIT_WAIT 4000000000ULL
#define CREDIT_RATE 1000000ULL
#define CREDIT_BOOST 1000000ULL
#define CREDIT_WINDOW 20000000ULL
#define CREDIT_REBASE (1ULL << 61)

struct credit_pool {
	u64 clock; /* the virtual time */
	u64 weight; /* of all VMs that want to run */
};

struct credit_vm {
	u64 area; /* the integral of @active over time */
	u64 area_at; /* until then */
	s64 tokens;
	u64 tokens_at; /* as of then */
	u32 active; /* vCPUs that want to run and may */
	u32 weight; /* as counted in the pool's */
	u32 cap; /* that @tokens are for */
	u64 dry; /* until then nobody begins a slice, but waits for tokens */
};

struct credit_vcpu {
	u64 vtime;
	u64 area; /* the VM's, */
	u64 area_at; /* when time was charged last */
	u64 reserved; /* tokens of its slice */
	bool active;
};

static struct credit_pool *credit_pool(const struct lv_sched_vcpu *v)
{
	return lv_sched_priv(v->pool, struct credit_pool);
}

static struct credit_vm *credit_vm(const struct lv_sched_vcpu *v)
{
	return lv_sched_priv(v->vm, struct credit_vm);
}

static struct credit_vcpu *credit_vcpu(struct lv_sched_vcpu *v)
{
	return lv_sched_priv(v, struct credit_vcpu);
}

static u64 credit_area(struct credit_vm *vm, u64 now)
{
	vm->area += vm->active * (now - vm->area_at);
	vm->area_at = now;
	return vm->area;
}

static void credit_activate(struct lv_sched_vcpu *v, bool active)
{
	struct credit_vcpu *c = credit_vcpu(v);
	struct credit_vm *vm = credit_vm(v);

	if (c->active == active)
		return;
	c->active = active;
	credit_area(vm, v->pool->now);
	credit_pool(v)->weight -= vm->weight;
	vm->active += active ? 1 : -1;
	vm->weight = vm->active ? v->vm->params.weight : 0;
	credit_pool(v)->weight += vm->weight;
}

/* Its place in the queue, neither too far ahead nor behind. */
static void credit_place(struct lv_sched_vcpu *v)
{
	struct credit_pool *pool = credit_pool(v);
	struct credit_vcpu *c = credit_vcpu(v);
	u64 wait = CREDIT_WAIT * LV_WEIGHT_DEFAULT;

	if (c->vtime + CREDIT_LAG < pool->clock)
		c->vtime = pool->clock - CREDIT_LAG;
	wait = div64_u64(wait, pool->weight ?: 1) * v->pool->nr_cpus;
	c->vtime = min(c->vtime, pool->clock + wait);
	v->key = c->vtime + 1;
}

/* ---- caps ---- */

static void credit_refill(struct lv_sched_vcpu *v)
{
	struct credit_vm *vm = credit_vm(v);
	u32 cap = v->vm->params.cap;
	u64 ns = min(v->pool->now - vm->tokens_at, LV_PERIOD_MAX);
	s64 most = CREDIT_WINDOW / 100 * cap;

	vm->tokens_at = v->pool->now;
	vm->tokens += div_u64(ns * cap, 100);
	vm->tokens = min(vm->tokens, most);
}

/*
 * No tokens: all wait until there are half as many as there can be, else whoever
 * comes first would use up each little one, and others never see enough.
 */
static void credit_park(struct lv_sched_vcpu *v)
{
	struct credit_vm *vm = credit_vm(v);
	u32 cap = v->vm->params.cap;
	u64 lacks = CREDIT_WINDOW / 200 * cap - vm->tokens;

	credit_activate(v, false);
	if (vm->dry <= v->pool->now)
		vm->dry = v->pool->now + div_u64(lacks * 100, cap) + 1;
	lv_sched_park_until(v, vm->dry);
}

static void credit_release(struct lv_sched_vcpu *v)
{
	if (v->state != LV_SCHED_READY)
		return;
	credit_activate(v, true);
	credit_place(v);
}

/* ---- what the core tells ---- */

/* No debts from the time under another cap, or none. */
static void credit_vm_join(struct lv_sched_vm *vm)
{
	struct credit_vm *c = lv_sched_priv(vm, struct credit_vm);

	c->cap = vm->params.cap;
	c->tokens = 0;
	c->tokens_at = vm->pool->now;
	c->dry = 0;
}

static void credit_vcpu_leave(struct lv_sched_vcpu *v)
{
	credit_activate(v, false);
}

static void credit_params(struct lv_sched_vcpu *v)
{
	struct credit_vm *vm = credit_vm(v);

	if (vm->cap != v->vm->params.cap)
		credit_vm_join(v->vm);
	if (vm->active) {
		credit_pool(v)->weight += v->vm->params.weight - vm->weight;
		vm->weight = v->vm->params.weight;
	}
	if (v->parked) {
		credit_release(v);
		lv_sched_unpark(v);
	}
}

static void credit_wake(struct lv_sched_vcpu *v, u32 why)
{
	struct credit_vcpu *c = credit_vcpu(v);

	if (v->parked)
		return;
	credit_activate(v, true);
	credit_place(v);
	v->slice = v->pool->slice;
	if (why >= LV_WAKE_USER || c->vtime > credit_pool(v)->clock)
		return;
	v->key = 0;
	v->slice = CREDIT_BOOST;
}

static void credit_charge(struct lv_sched_vcpu *v, u64 ns)
{
	struct credit_vcpu *c = credit_vcpu(v);
	struct credit_vm *vm = credit_vm(v);
	u64 area = credit_area(vm, v->pool->now);
	u64 all = v->pool->now - c->area_at;
	u64 share = area - c->area; /* ns for each vCPU among whom it shares */
	u64 used = min(ns, c->reserved);

	if (ns < all)
		share = mul_u64_u64_div_u64(share, ns, all);
	c->vtime += div_u64(share * LV_WEIGHT_DEFAULT, v->vm->params.weight);
	c->area = area;
	c->area_at = v->pool->now;
	c->reserved -= used;
	vm->tokens -= ns - used;
}

static void credit_stop(struct lv_sched_vcpu *v, u32 why)
{
	struct credit_vcpu *c = credit_vcpu(v);
	struct lv_sched_vcpu *next;

	credit_vm(v)->tokens += c->reserved;
	c->reserved = 0;
	if (v->state != LV_SCHED_READY)
		return credit_activate(v, false);
	credit_place(v);
	v->slice = v->pool->slice;
	next = why == LV_STOP_YIELD ? lv_sched_first(v->cpu) : NULL;
	if (next)
		v->key = max(v->key, next->key);
}

/* Virtual times grow: once in a long while all go back. */
static void credit_rebase(struct lv_pool *pool)
{
	struct credit_pool *p = lv_sched_priv(pool, struct credit_pool);
	struct lv_sched_vcpu *v;
	struct lv_sched_vm *vm;

	p->clock -= CREDIT_REBASE;
	lv_for_each_pool_vm(vm, pool)
		lv_for_each_vm_vcpu(v, vm) {
			struct credit_vcpu *c = credit_vcpu(v);

			c->vtime -= min(c->vtime, CREDIT_REBASE);
			lv_sched_requeue(v, v->key ? c->vtime + 1 : 0, v->home);
		}
}

/* Has its VM got tokens left for a slice? */
static bool credit_may_run(struct lv_sched_vcpu *v)
{
	if (!v->vm->params.cap)
		return true;
	credit_refill(v);
	return v->pool->now >= credit_vm(v)->dry &&
	       credit_vm(v)->tokens >= (s64)LV_SLICE_MIN;
}

static void credit_pick(struct lv_sched_cpu *cpu)
{
	struct credit_pool *pool = lv_sched_priv(cpu->pool, struct credit_pool);
	struct lv_sched_vcpu *v;
	struct credit_vcpu *c;
	u64 slice;

	while ((v = lv_sched_first(cpu)) && !credit_may_run(v))
		credit_park(v);
	if (!v)
		return;
	c = credit_vcpu(v);
	slice = v->slice;
	if (v->vm->params.cap) {
		slice = min(slice, (u64)credit_vm(v)->tokens);
		credit_vm(v)->tokens -= slice;
		c->reserved = slice;
	}
	c->area = credit_area(credit_vm(v), v->pool->now);
	c->area_at = v->pool->now;
	if (v->key)
		pool->clock = max(pool->clock, c->vtime);
	if (unlikely(pool->clock >= 2 * CREDIT_REBASE))
		credit_rebase(v->pool);
	lv_sched_choose(cpu, v, slice);
}

/* If it has not run for long, only where the data of the other may be cached. */
static bool credit_preempts(struct lv_sched_vcpu *v, struct lv_sched_vcpu *curr)
{
	if (v->key || !curr->key)
		return false;
	if (v->pool->now - curr->since >= CREDIT_RATE)
		return true;
	if (curr->cpu == v->cpu)
		lv_sched_cut(curr->cpu, curr->since + CREDIT_RATE);
	return false;
}

static int credit_dump(struct lv_sched_vcpu *v, char *buf, u32 size)
{
	long ahead = credit_vcpu(v)->vtime - credit_pool(v)->clock;
	long left = v->vm->params.cap ? credit_vm(v)->tokens : 0;

	return snprintf(buf, size,
			"%s%ld us ahead (virtual), %ld us of the cap left",
			v->key ? "" : "boosted, ", ahead / 1000, left / 1000);
}

const struct lv_sched_ops lv_sched_credit = {
	.name = "credit",
	.starve_ns = 60000000000ULL,
	.vm_join = credit_vm_join,
	.vcpu_leave = credit_vcpu_leave,
	.params = credit_params,
	.wake = credit_wake,
	.stop = credit_stop,
	.charge = credit_charge,
	.release = credit_release,
	.pick = credit_pick,
	.preempts = credit_preempts,
	.dump = credit_dump,
};
