// SPDX-License-Identifier: GPL-2.0-only
/* Pools, and how CPUs, VMs, vCPUs, policies and parameters come, go and change. */
#include "core.h"

static int lv_admit(struct lv_pool *pool, const struct lv_sched_ops *ops)
{
	return ops->admit ? ops->admit(pool) : 0;
}

/* Nothing that a policy did to it stays. */
static void lv_let_go(struct lv_sched_vcpu *v)
{
	lv_sched_charge(v);
	lv_dequeue(v);
	if (v->queue)
		lv_queue_del(v);
	v->parked = false;
	v->home = NULL;
}

/* Linux decides about this vCPU from here on. */
void lv_core_free(struct lv_sched_vcpu *v)
{
	if (v->state == LV_SCHED_FREE)
		return;
	lv_let_go(v);
	if (v->state == LV_SCHED_RUNNING)
		lv_unseat(v, LV_SCHED_FREE);
	else
		lv_set_state(v, LV_SCHED_FREE);
	WRITE_ONCE(v->pass, true);
	lv_sched_grant(v);
}

/* The pool's policy takes over a vCPU that is FREE or, at a switch, READY. */
static void lv_attach_vcpu(struct lv_sched_vcpu *v)
{
	void (*join)(struct lv_sched_vcpu *) = lv_op(v->pool, vcpu_join);

	v->key = 0;
	v->slice = v->pool->slice;
	v->home = NULL;
	memset(v->priv, 0, sizeof(v->priv));
	WRITE_ONCE(v->pool_hears, v->pool->ops->irq || v->pool->ops->ipi);
	if (lv_is_host(v->pool)) {
		WRITE_ONCE(v->pass, true);
		return;
	}
	if (v->state == LV_SCHED_FREE) {
		v->accounted = v->pool->now;
		v->since = v->pool->now;
		v->state = LV_SCHED_OUT;
		v->blocked = false;
		WRITE_ONCE(v->pass, false);
		lv_sched_recall(v);
	}
	if (join)
		join(v);
}

static void lv_attach_vm(struct lv_sched_vm *vm)
{
	void (*join)(struct lv_sched_vm *) = lv_op(vm->pool, vm_join);
	struct lv_sched_vcpu *v;

	memset(vm->priv, 0, sizeof(vm->priv));
	if (join)
		join(vm);
	lv_for_each_vm_vcpu(v, vm)
		lv_attach_vcpu(v);
}

/* The policy lets go of a vCPU; who has or wants a CPU, is READY after it. */
static void lv_detach_vcpu(struct lv_sched_vcpu *v)
{
	void (*leave)(struct lv_sched_vcpu *) = lv_op(v->pool, vcpu_leave);

	lv_dequeue(v);
	if (v->state == LV_SCHED_RUNNING)
		lv_unseat(v, lv_state_unseated(v));
	if (leave)
		leave(v);
	lv_let_go(v);
}

static void lv_detach_vm(struct lv_sched_vm *vm)
{
	void (*leave)(struct lv_sched_vm *) = lv_op(vm->pool, vm_leave);
	struct lv_sched_vcpu *v;

	lv_for_each_vm_vcpu(v, vm)
		lv_detach_vcpu(v);
	if (leave)
		leave(vm);
}

static void lv_attach_cpu(struct lv_sched_cpu *cpu)
{
	void (*add)(struct lv_sched_cpu *) = lv_op(cpu->pool, cpu_add);

	memset(cpu->priv, 0, sizeof(cpu->priv));
	if (add)
		add(cpu);
}

static void lv_detach_policy(struct lv_pool *pool)
{
	void (*remove)(struct lv_sched_cpu *) = lv_op(pool, cpu_remove);
	void (*quit)(struct lv_pool *) = lv_op(pool, exit);
	struct lv_sched_cpu *cpu;
	struct lv_sched_vm *vm;

	lv_for_each_pool_vm(vm, pool)
		lv_detach_vm(vm);
	lv_for_each_pool_cpu(cpu, pool)
		if (remove)
			remove(cpu);
	if (quit)
		quit(pool);
	lv_sched_timer(pool, 0);
	pool->takes = false;
}

static void lv_attach_policy(struct lv_pool *pool,
			     const struct lv_sched_ops *ops)
{
	struct lv_sched_cpu *cpu;
	struct lv_sched_vm *vm;

	pool->ops = ops;
	pool->fault = NULL;
	pool->stalls = 0;
	pool->last_dispatch = pool->now;
	memset(pool->priv, 0, sizeof(pool->priv));
	if (ops->init)
		ops->init(pool);
	lv_for_each_pool_cpu(cpu, pool)
		lv_attach_cpu(cpu);
	lv_for_each_pool_vm(vm, pool)
		lv_attach_vm(vm);
}

/*
 * lv_core_set_policy - the pool gets another policy, guests run on
 * Return: 0, or what the new policy's admit() says; then the old one stays.
 */
int lv_core_set_policy(struct lv_pool *pool, const struct lv_sched_ops *ops)
{
	struct lv_sched_vcpu *v;
	struct lv_sched_vm *vm;
	int err = lv_admit(pool, ops);

	if (err)
		return err;
	lv_detach_policy(pool);
	lv_attach_policy(pool, ops);
	lv_for_each_pool_vm(vm, pool) {
		lv_for_each_vm_vcpu(v, vm) {
			if (lv_is_host(pool))
				lv_core_free(v);
			else if (v->state == LV_SCHED_READY)
				lv_become_ready(v, LV_WAKE_SWITCH);
		}
	}
	return 0;
}

void lv_core_pool_init(struct lv_pool *pool)
{
	pool->ops = &lv_sched_host;
	pool->slice = LV_SLICE_DEFAULT;
}

static void lv_link_cpu(struct lv_pool *pool, struct lv_sched_cpu *cpu)
{
	struct lv_sched_cpu **at = &pool->cpus;

	while (*at && (*at)->id < cpu->id)
		at = &(*at)->next;
	cpu->next = *at;
	*at = cpu;
	pool->nr_cpus++;
	pool->nr_idle++;
}

/** lv_core_cpu_add - a CPU that is in no pool joins this one */
void lv_core_cpu_add(struct lv_pool *pool, struct lv_sched_cpu *cpu)
{
	lv_link_cpu(pool, cpu);
	cpu->until = LV_SLICE_FOREVER;
	WRITE_ONCE(cpu->pool, pool);
	lv_attach_cpu(cpu);
}

/* Whoever is still at home there has to move, and nobody points to it any more. */
static void lv_evict(struct lv_sched_cpu *cpu)
{
	struct lv_sched_vcpu *v;
	struct lv_sched_vm *vm;

	lv_for_each_pool_vm(vm, cpu->pool)
		lv_for_each_vm_vcpu(v, vm) {
			if (v->home == cpu)
				lv_sched_requeue(v, v->key, NULL);
			if (v->cpu == cpu)
				v->cpu = NULL;
		}
}

static void lv_unlink_cpu(struct lv_sched_cpu *cpu)
{
	struct lv_sched_cpu **at = &cpu->pool->cpus;

	while (*at != cpu)
		at = &(*at)->next;
	*at = cpu->next;
	cpu->scratch = ~0ULL;
	cpu->pool->nr_cpus--;
	cpu->pool->nr_idle--;
}

/*
 * lv_core_cpu_remove - a CPU leaves its pool
 * @forced: it is gone: a policy that cannot do without it is thrown out
 * Return: 0, or what admit() says; then the CPU is there still.
 */
int lv_core_cpu_remove(struct lv_sched_cpu *cpu, bool forced)
{
	struct lv_pool *pool = cpu->pool;
	void (*remove)(struct lv_sched_cpu *) = lv_op(pool, cpu_remove);
	int err;

	if (cpu->curr) {
		cpu->resched = LV_STOP_PREEMPT;
		lv_take(cpu);
	}
	lv_unlink_cpu(cpu);
	if (!forced) {
		err = pool->nr_cpus ? lv_admit(pool, pool->ops) : -EINVAL;
		if (err) {
			lv_link_cpu(pool, cpu);
			return err;
		}
	}
	lv_evict(cpu);
	if (!pool->nr_cpus)
		lv_sched_fault(pool, "has no CPU left");
	else if (lv_admit(pool, pool->ops))
		lv_sched_fault(pool, "cannot do with fewer CPUs");
	else if (remove)
		remove(cpu);
	lv_evict(cpu);
	WRITE_ONCE(cpu->pool, NULL);
	cpu->next = NULL;
	cpu->timer = 0;
	lv_sched_set_cpu_timer(cpu, 0);
	return 0;
}

/*
 * lv_core_vm_join - a VM that is in no pool joins this one, with its vCPUs
 * Return: 0, or what the policy's admit() says.
 */
int lv_core_vm_join(struct lv_pool *pool, struct lv_sched_vm *vm)
{
	struct lv_sched_vm **at = &pool->vms;
	struct lv_sched_vcpu *v;
	int err;

	while (*at)
		at = &(*at)->next;
	*at = vm;
	vm->next = NULL;
	pool->nr_vms++;
	pool->nr_vcpus += vm->nr_vcpus;
	err = lv_admit(pool, pool->ops);
	if (err) {
		*at = NULL;
		pool->nr_vms--;
		pool->nr_vcpus -= vm->nr_vcpus;
		return err;
	}
	vm->pool = pool;
	lv_for_each_vm_vcpu(v, vm)
		WRITE_ONCE(v->pool, pool);
	lv_attach_vm(vm);
	return 0;
}

/* Its policy sees it stop, and then go. */
static void lv_part_vcpu(struct lv_sched_vcpu *v)
{
	if (v->state == LV_SCHED_READY || v->state == LV_SCHED_RUNNING) {
		lv_dequeue(v);
		lv_stop(v, LV_STOP_LEAVE);
	}
	lv_detach_vcpu(v);
	lv_core_free(v);
	v->cpu = NULL;
	WRITE_ONCE(v->pool, NULL);
}

/** lv_core_vm_leave - a VM leaves its pool; its vCPUs run on as Linux likes */
void lv_core_vm_leave(struct lv_sched_vm *vm)
{
	struct lv_pool *pool = vm->pool;
	void (*leave)(struct lv_sched_vm *) = lv_op(pool, vm_leave);
	struct lv_sched_vm **at = &pool->vms;
	struct lv_sched_vcpu *v;

	lv_for_each_vm_vcpu(v, vm)
		lv_part_vcpu(v);
	if (leave)
		leave(vm);
	while (*at != vm)
		at = &(*at)->next;
	*at = vm->next;
	pool->nr_vms--;
	pool->nr_vcpus -= vm->nr_vcpus;
	vm->pool = NULL;
}

/*
 * lv_core_vcpu_join - a VM gets one more vCPU
 * Return: 0, or what the policy's admit() says.
 */
int lv_core_vcpu_join(struct lv_sched_vm *vm, struct lv_sched_vcpu *v)
{
	struct lv_sched_vcpu **at = &vm->vcpus;
	int err;

	while (*at)
		at = &(*at)->next;
	*at = v;
	v->vm = vm;
	v->params = vm->params;
	vm->nr_vcpus++;
	vm->pool->nr_vcpus++;
	err = lv_admit(vm->pool, vm->pool->ops);
	if (err) {
		*at = NULL;
		vm->nr_vcpus--;
		vm->pool->nr_vcpus--;
		return err;
	}
	WRITE_ONCE(v->pool, vm->pool);
	lv_attach_vcpu(v);
	return 0;
}

/** lv_core_vcpu_leave - a vCPU goes while its VM stays */
void lv_core_vcpu_leave(struct lv_sched_vcpu *v)
{
	struct lv_sched_vcpu **at = &v->vm->vcpus;

	v->vm->pool->nr_vcpus--;
	v->vm->nr_vcpus--;
	lv_part_vcpu(v);
	while (*at != v)
		at = &(*at)->next;
	*at = v->next;
}

static bool lv_params_valid(const struct lv_sched_params *p)
{
	if (p->weight < LV_WEIGHT_MIN || p->weight > LV_WEIGHT_MAX ||
	    p->cap > LV_CAP_MAX || p->budget_ns > p->period_ns)
		return false;
	if (!p->period_ns)
		return true;
	return p->budget_ns >= LV_SLICE_MIN && p->period_ns >= LV_PERIOD_MIN &&
	       p->period_ns <= LV_PERIOD_MAX;
}

static void lv_mix_params(struct lv_sched_params *p,
			  const struct lv_sched_params *new, u32 what)
{
	if (what & LV_CHANGE_WEIGHT)
		p->weight = new->weight;
	if (what & LV_CHANGE_CAP)
		p->cap = new->cap;
	if (what & LV_CHANGE_GROUP)
		p->group = new->group;
	if (what & LV_CHANGE_DEADLINE) {
		p->period_ns = new->period_ns;
		p->budget_ns = new->budget_ns;
	}
}

/*
 * lv_core_change_params - parameters of a VM and all its vCPUs, or of @only one
 * @what: which ones, LV_CHANGE_*
 *
 * Weight and cap are the VM's: those of a single vCPU mean nothing.
 * Return: 0, -EINVAL, or what the policy's admit() says; then nothing changed.
 */
int lv_core_change_params(struct lv_sched_vm *vm, struct lv_sched_vcpu *only,
			  const struct lv_sched_params *params, u32 what)
{
	void (*changed)(struct lv_sched_vcpu *) = lv_op(vm->pool, params);
	struct lv_sched_params old = vm->params, new = vm->params;
	struct lv_sched_vcpu *v;
	int err;

	lv_mix_params(&new, params, what);
	if (!lv_params_valid(&new))
		return -EINVAL;
	if (!only)
		vm->params = new;
	lv_for_each_vm_vcpu(v, vm) {
		v->old_params = v->params;
		if (!only || only == v)
			lv_mix_params(&v->params, params, what);
	}
	err = lv_admit(vm->pool, vm->pool->ops);
	if (err)
		vm->params = old;
	lv_for_each_vm_vcpu(v, vm) {
		if (err)
			v->params = v->old_params;
		else if (changed && (!only || only == v))
			changed(v);
	}
	return err;
}
