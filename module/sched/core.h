/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The core of vCPU scheduling and its surroundings: gate.c in the module, the
 * simulator in user space. Everything here runs under the pool's lock with
 * pool->now set, and leaves a policy that misbehaved to lv_core_settle().
 */
#ifndef LABVISOR_SCHED_CORE_H
#define LABVISOR_SCHED_CORE_H

#include "sched.h"

/* How long a thread may be away from its CPU while others wait for it. */
#define LV_GRACE_USER 100000ULL
#define LV_GRACE_PREEMPTED 4000000ULL
#define LV_GRACE_COMING 10000000ULL

/* The watchdog: an op takes too long, READY vCPUs and no CPU used, starvation */
#define LV_OP_MAX 20000000ULL
#define LV_OP_STALLS 5
#define LV_STALL 4 /* a stall is as bad as so many quick ops are good */
#define LV_NEVER_PICKS 1000000000ULL
#define LV_STARVE 10000000000ULL

/*
 * A policy that makes work for itself without end is stopped, or slowed down: a
 * timer costs some 70 us on an emulated CPU, and a thread has to get on.
 */
#define LV_SETTLE_ROUNDS 16
#define LV_TIMER_MIN 200000ULL

/* ---- hooks: what the core needs of its surroundings ---- */

/** lv_sched_grant - hook: @v has got v->cpu; wake its thread */
void lv_sched_grant(struct lv_sched_vcpu *v);
/** lv_sched_recall - hook: v->pass went off; get @v out of the guest */
void lv_sched_recall(struct lv_sched_vcpu *v);
/** lv_sched_set_cpu_timer - hook: call lv_core_cpu_timer() at @at, 0: never */
void lv_sched_set_cpu_timer(struct lv_sched_cpu *cpu, u64 at);
/** lv_sched_set_pool_timer - hook: call lv_core_pool_timer() at @at, 0: never */
void lv_sched_set_pool_timer(struct lv_pool *pool, u64 at);

/**
 * enum lv_sched_event - what lv_sched_trace() tells of
 * @LV_SCHED_EV_WAKE: a vCPU became READY, arg: enum lv_wake
 * @LV_SCHED_EV_RUN: it got the CPU, arg: its slice
 * @LV_SCHED_EV_STOP: it lost the CPU, arg: enum lv_stop
 * @LV_SCHED_EV_PARK: the policy holds it back, arg: 1, or not any more, 0
 */
enum lv_sched_event {
	LV_SCHED_EV_WAKE,
	LV_SCHED_EV_RUN,
	LV_SCHED_EV_STOP,
	LV_SCHED_EV_PARK,
};

/** lv_sched_trace - hook: for those who watch */
void lv_sched_trace(const struct lv_sched_vcpu *v, enum lv_sched_event event,
		    u64 arg);

/* ---- queue.c ---- */

void lv_queue_add(struct lv_ready_queue *q, struct lv_sched_vcpu *v, u64 rank);
void lv_queue_del(struct lv_sched_vcpu *v);

/* ---- members.c ---- */

void lv_core_pool_init(struct lv_pool *pool);
int lv_core_set_policy(struct lv_pool *pool, const struct lv_sched_ops *ops);
void lv_core_cpu_add(struct lv_pool *pool, struct lv_sched_cpu *cpu);
int lv_core_cpu_remove(struct lv_sched_cpu *cpu, bool forced);
int lv_core_vm_join(struct lv_pool *pool, struct lv_sched_vm *vm);
void lv_core_vm_leave(struct lv_sched_vm *vm);
int lv_core_vcpu_join(struct lv_sched_vm *vm, struct lv_sched_vcpu *v);
void lv_core_vcpu_leave(struct lv_sched_vcpu *v);

/* Which parameters change */
#define LV_CHANGE_WEIGHT BIT(0)
#define LV_CHANGE_CAP BIT(1)
#define LV_CHANGE_GROUP BIT(2)
#define LV_CHANGE_DEADLINE BIT(3)
#define LV_CHANGE_ALL GENMASK(3, 0)

int lv_core_change_params(struct lv_sched_vm *vm, struct lv_sched_vcpu *only,
			  const struct lv_sched_params *params, u32 what);

static inline int lv_core_set_params(struct lv_sched_vm *vm,
				     struct lv_sched_vcpu *only,
				     const struct lv_sched_params *params)
{
	return lv_core_change_params(vm, only, params, LV_CHANGE_ALL);
}

void lv_core_free(struct lv_sched_vcpu *v);

/* ---- core.c ---- */

extern const struct lv_sched_ops lv_sched_host;

bool lv_core_settle(struct lv_pool *pool);
void lv_core_ready(struct lv_sched_vcpu *v, enum lv_wake why);
void lv_core_arrive(struct lv_sched_vcpu *v);
bool lv_core_prolong(struct lv_sched_vcpu *v);
void lv_core_stop(struct lv_sched_vcpu *v, enum lv_stop why);
void lv_core_absent(struct lv_sched_vcpu *v, enum lv_absent where);
void lv_core_yield(struct lv_sched_vcpu *v, struct lv_sched_vcpu *to);
void lv_core_irq(struct lv_sched_vcpu *v, enum lv_wake why);
void lv_core_ipi(struct lv_sched_vcpu *from, struct lv_sched_vcpu *to);
void lv_core_cpu_timer(struct lv_sched_cpu *cpu);
void lv_core_pool_timer(struct lv_pool *pool);
void lv_core_check(struct lv_pool *pool);
void lv_core_took(struct lv_pool *pool, u64 ns);

/* ---- core.c, for members.c ---- */

/* The policy's op, if it has it and was not thrown out. */
#define lv_op(pool, op) ((pool)->fault ? NULL : (pool)->ops->op)

static inline bool lv_is_host(const struct lv_pool *pool)
{
	return pool->ops == &lv_sched_host;
}

void lv_set_state(struct lv_sched_vcpu *v, enum lv_sched_state state);
void lv_dequeue(struct lv_sched_vcpu *v);
enum lv_sched_state lv_state_unseated(const struct lv_sched_vcpu *v);
void lv_unseat(struct lv_sched_vcpu *v, enum lv_sched_state state);
void lv_stop(struct lv_sched_vcpu *v, enum lv_stop why);
void lv_take(struct lv_sched_cpu *cpu);
void lv_become_ready(struct lv_sched_vcpu *v, enum lv_wake why);

#endif /* LABVISOR_SCHED_CORE_H */
