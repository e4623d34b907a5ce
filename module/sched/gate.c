// SPDX-License-Identifier: GPL-2.0-only
/*
 * The gate: what a vCPU's thread passes before it enters the guest, unless its
 * pool leaves that to Linux.
 *
 *   lv_sched_pass()       run loop, before an entry: have I got a CPU?
 *   lv_gate_block()       ... it halts: others may have the CPU
 *   lv_gate_give_back()   ... Linux wants the thread to make way
 *   lv_gate_to_user()     ... KVM_RUN returns
 *   lv_gate_yield()       an exit: the guest spins, or asks for another vCPU
 *   lv_gate_kicked()      who has something for a vCPU: it is runnable again
 *   lv_gate_thread_out(), lv_gate_thread_in()
 *                         the host's scheduler: the thread lost or got a CPU
 *
 * A vCPU that has been given a CPU of the pool runs there because its thread is
 * bound to that CPU; all others of the pool sleep. So Linux finds at most one
 * vCPU to run on each CPU, and what else it runs there is stolen time.
 */
#include <linux/sched/task.h>

#include "../compat.h"
#include "../trace.h"
#include "gate.h"

DEFINE_STATIC_KEY_FALSE(lv_sched_on);
DEFINE_PER_CPU(struct lv_kcpu, lv_kcpu);

static struct lv_vcpu *lv_of(struct lv_sched_vcpu *s)
{
	return container_of(s, struct lv_vcpu, sched);
}

/* ---- the pool's lock ---- */

void lv_pool_lock(struct lv_kpool *kp)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&kp->lock, flags);
	__release(&kp->lock); /* sparse does not follow who holds it */
	kp->flags = flags;
	kp->core.now = max(kp->core.now, ktime_get_ns());
}

/*
 * A vCPU was given a CPU that its thread is not bound to, and where it is bound to it
 * would have to wait for another one before it could go. Unless it is there already.
 */
static void lv_move(struct lv_vcpu *v, int cpu)
{
	mutex_lock(&v->pin_lock);
	if (v->pinned && READ_ONCE(v->sched.absent) == LV_COMING) {
		v->pinned_to = cpu;
		set_cpus_allowed_ptr(v->pinned, cpumask_of(cpu));
	}
	mutex_unlock(&v->pin_lock);
	rcuwait_wake_up(&v->wait);
	lv_vm_put(v->vm);
}

void lv_pool_unlock(struct lv_kpool *kp)
{
	unsigned long flags = kp->flags;
	bool thrown = lv_core_settle(&kp->core);
	struct lv_vcpu *mover;
	int to;

	lv_core_took(&kp->core, ktime_get_ns() - kp->core.now);
	if (kp->core.fault)
		thrown |= lv_core_settle(&kp->core);
	if (thrown)
		schedule_work(&kp->thrown);
	mover = kp->mover;
	to = kp->mover_to;
	kp->mover = NULL;
	kp->can_move = false;
	__acquire(&kp->lock);
	raw_spin_unlock_irqrestore(&kp->lock, flags);
	if (mover)
		lv_move(mover, to);
}

/* The vCPU's pool, locked; NULL while it moves from one to another. */
static struct lv_kpool *lv_lock_pool_of(struct lv_sched_vcpu *s)
{
	struct lv_kpool *kp = NULL;
	struct lv_pool *pool;

	rcu_read_lock();
	while ((pool = READ_ONCE(s->pool))) {
		kp = lv_to_kpool(pool);
		lv_pool_lock(kp);
		if (s->pool == pool)
			break;
		lv_pool_unlock(kp);
		kp = NULL;
	}
	rcu_read_unlock();
	return kp;
}

/* ---- hooks of the core ---- */

/* A VM that nobody uses any more is about to leave the pool. */
void lv_sched_grant(struct lv_sched_vcpu *s)
{
	struct lv_kpool *kp = lv_to_kpool(s->pool);
	struct lv_vcpu *v = lv_of(s);

	if (!kp->can_move || kp->mover || s->state != LV_SCHED_RUNNING ||
	    !READ_ONCE(v->pinned) || READ_ONCE(v->pinned_to) == s->cpu->id ||
	    !refcount_inc_not_zero(&v->vm->users)) {
		rcuwait_wake_up(&v->wait);
		return;
	}
	kp->mover = v;
	kp->mover_to = s->cpu->id;
}

void lv_sched_recall(struct lv_sched_vcpu *s)
{
	lv_request(lv_of(s), LV_REQ_SCHED);
	lv_poke(lv_of(s));
}

static void lv_set_timer(struct hrtimer *timer, u64 at)
{
	if (at)
		hrtimer_start(timer, ns_to_ktime(at),
			      HRTIMER_MODE_ABS_PINNED_HARD);
	else
		hrtimer_try_to_cancel(timer);
}

void lv_sched_set_cpu_timer(struct lv_sched_cpu *cpu, u64 at)
{
	lv_set_timer(&container_of(cpu, struct lv_kcpu, core)->timer, at);
}

void lv_sched_set_pool_timer(struct lv_pool *pool, u64 at)
{
	lv_set_timer(&lv_to_kpool(pool)->timer, at);
}

void lv_sched_trace(const struct lv_sched_vcpu *s, enum lv_sched_event event,
		    u64 arg)
{
	trace_lv_sched(s, event, arg);
}

static enum hrtimer_restart lv_cpu_timer_fn(struct hrtimer *timer)
{
	struct lv_kcpu *k = container_of(timer, struct lv_kcpu, timer);
	struct lv_pool *pool;
	struct lv_kpool *kp;

	rcu_read_lock();
	pool = READ_ONCE(k->core.pool);
	if (pool) {
		kp = lv_to_kpool(pool);
		lv_pool_lock(kp);
		if (k->core.pool == pool)
			lv_core_cpu_timer(&k->core);
		lv_pool_unlock(kp);
	}
	rcu_read_unlock();
	return HRTIMER_NORESTART;
}

static enum hrtimer_restart lv_pool_timer_fn(struct hrtimer *timer)
{
	struct lv_kpool *kp = container_of(timer, struct lv_kpool, timer);

	lv_pool_lock(kp);
	lv_core_pool_timer(&kp->core);
	lv_pool_unlock(kp);
	return HRTIMER_NORESTART;
}

void lv_gate_cpu_init(struct lv_kcpu *k)
{
	lv_hrtimer_setup(&k->timer, lv_cpu_timer_fn, CLOCK_MONOTONIC,
			 HRTIMER_MODE_ABS_PINNED_HARD);
}

void lv_gate_pool_init(struct lv_kpool *kp)
{
	raw_spin_lock_init(&kp->lock);
	lv_hrtimer_setup(&kp->timer, lv_pool_timer_fn, CLOCK_MONOTONIC,
			 HRTIMER_MODE_ABS_PINNED_HARD);
	lv_core_pool_init(&kp->core);
}

/* ---- binding a thread to the CPU that its vCPU was given ---- */

/* The thread's own affinity is kept, and comes back with "host". */
int lv_gate_prepare(struct lv_vm *vm)
{
	struct lv_sched_vcpu *s;

	lv_for_each_vm_vcpu(s, &vm->sched) {
		struct lv_vcpu *v = lv_of(s);

		if (!v->affinity)
			v->affinity =
				kmalloc(cpumask_size(), GFP_KERNEL_ACCOUNT);
		if (!v->affinity)
			return -ENOMEM;
	}
	return 0;
}

/* Unless somebody else moved the thread meanwhile. */
static void lv_unpin_locked(struct lv_vcpu *v)
{
	struct task_struct *task = v->pinned;

	if (!task)
		return;
	if (cpumask_equal(task->cpus_ptr, cpumask_of(v->pinned_to)))
		set_cpus_allowed_ptr(task, v->affinity);
	put_task_struct(task);
	v->pinned = NULL;
}

void lv_gate_unpin(struct lv_vcpu *v)
{
	guard(mutex)(&v->pin_lock);
	lv_unpin_locked(v);
}

/* It may have lost the CPU again before it gets there: the gate looks. */
static void lv_go_to(struct lv_vcpu *v, int cpu)
{
	guard(mutex)(&v->pin_lock);
	if (READ_ONCE(v->sched.state) == LV_SCHED_FREE || !v->affinity)
		return;
	if (v->pinned != current) {
		lv_unpin_locked(v);
		cpumask_copy(v->affinity, current->cpus_ptr);
		v->pinned = get_task_struct(current);
	}
	v->pinned_to = cpu;
	set_cpus_allowed_ptr(current, cpumask_of(cpu));
}

/* ---- the gate ---- */

enum lv_gate {
	LV_GATE_WAIT,
	LV_GATE_GO, /* to another CPU */
	LV_GATE_PASS,
};

/* Under the pool's lock: it stops if that was asked of it. */
static void lv_gate_obey(struct lv_vcpu *v)
{
	struct lv_sched_vcpu *s = &v->sched;

	s->exit_reason = v->exit.reason;
	if (s->state != LV_SCHED_RUNNING || !s->cpu->resched)
		return;
	if (v->stat.exits != v->exits_before || !lv_core_prolong(s))
		lv_core_stop(s, s->cpu->resched);
}

/* Under the pool's lock: what now? */
static enum lv_gate lv_gate_ask(struct lv_vcpu *v, int *cpu)
{
	struct lv_sched_vcpu *s = &v->sched;

	lv_gate_obey(v);
	if (s->state == LV_SCHED_OUT)
		lv_core_ready(s, s->blocked ? LV_WAKE_OTHER
				 : s->stopped_by == LV_STOP_HOST
					 ? LV_WAKE_HOST
					 : LV_WAKE_USER);
	if (s->state == LV_SCHED_READY)
		return LV_GATE_WAIT;
	if (s->state == LV_SCHED_RUNNING) {
		*cpu = s->cpu->id;
		if (v->pinned != current || v->pinned_to != *cpu)
			return LV_GATE_GO;
		if (s->absent == LV_COMING)
			v->exits_before = v->stat.exits;
		lv_core_arrive(s);
	}
	return LV_GATE_PASS;
}

/*
 * lv_gate_enter - wait for a CPU
 * Return: false if a signal or other work of the thread comes first.
 */
bool lv_gate_enter(struct lv_vcpu *v)
{
	struct lv_kpool *kp;
	enum lv_gate answer;
	int cpu;

	for (;;) {
		kp = lv_lock_pool_of(&v->sched);
		if (!kp)
			return true;
		kp->can_move = true;
		answer = lv_gate_ask(v, &cpu);
		lv_pool_unlock(kp);

		if (answer == LV_GATE_PASS) {
			if (unlikely(v->pinned) &&
			    READ_ONCE(v->sched.state) == LV_SCHED_FREE)
				lv_gate_unpin(v);
			return true;
		}
		if (answer == LV_GATE_GO)
			lv_go_to(v, cpu);
		else if (rcuwait_wait_event(&v->wait,
					    READ_ONCE(v->sched.state) !=
						    LV_SCHED_READY,
					    TASK_INTERRUPTIBLE))
			return false;
	}
}

/* The vCPU gives up what it has. */
static void lv_gate_stop(struct lv_vcpu *v, enum lv_stop why)
{
	struct lv_kpool *kp = lv_lock_pool_of(&v->sched);

	if (!kp)
		return;
	kp->can_move = true;
	v->sched.exit_reason = v->exit.reason;
	if (v->sched.state != LV_SCHED_FREE)
		lv_core_stop(&v->sched, why);
	lv_pool_unlock(kp);
}

void lv_gate_block(struct lv_vcpu *v)
{
	if (READ_ONCE(v->sched.state) != LV_SCHED_FREE)
		lv_gate_stop(v, LV_STOP_BLOCK);
}

/*
 * Linux is about to run something else on the thread's CPU. A vCPU that was
 * asked to stop does so now: later, the host would seem to hold it up.
 */
void lv_gate_give_back(struct lv_vcpu *v)
{
	struct lv_sched_vcpu *s = &v->sched;
	struct lv_kpool *kp;

	if (READ_ONCE(s->pass))
		return;
	kp = lv_lock_pool_of(s);
	if (!kp)
		return;
	kp->can_move = true;
	lv_gate_obey(v);
	lv_pool_unlock(kp);
}

/* The CPU stays its own for a while: most trips to user space are short. */
void lv_gate_to_user(struct lv_vcpu *v)
{
	struct lv_kpool *kp;

	switch (READ_ONCE(v->sched.state)) {
	case LV_SCHED_OUT: /* it is not halted in user space */
	case LV_SCHED_READY:
		lv_gate_stop(v, LV_STOP_LEAVE);
		break;
	case LV_SCHED_RUNNING:
		kp = lv_lock_pool_of(&v->sched);
		if (!kp)
			break;
		v->sched.exit_reason = v->exit.reason;
		lv_core_absent(&v->sched, LV_IN_USER);
		lv_pool_unlock(kp);
		break;
	}
}

/* If another vCPU sent an interrupt, it is the one that runs here. */
static void lv_tell_of_irq(struct lv_sched_vcpu *s, enum lv_wake why)
{
	struct lv_sched_vcpu *here = this_cpu_ptr(&lv_kcpu)->core.curr;

	lv_core_irq(s, why);
	if (why == LV_WAKE_IPI && here && here->vm == s->vm)
		lv_core_ipi(here, s);
}

/*
 * Somebody has something for the vCPU. Return: true if its thread need not be
 * woken, because it was halted and is now one that waits for a CPU.
 */
bool lv_gate_kicked(struct lv_vcpu *v, enum lv_wake why)
{
	struct lv_sched_vcpu *s = &v->sched;
	struct lv_kpool *kp;
	bool was_blocked;

	/* What is there for it, before the look: pairs with lv_block(). */
	smp_mb();
	if (READ_ONCE(s->state) == LV_SCHED_FREE ||
	    (!READ_ONCE(s->blocked) && !READ_ONCE(s->pool_hears)))
		return false;
	kp = lv_lock_pool_of(s);
	if (!kp)
		return false;
	was_blocked = s->state == LV_SCHED_OUT && s->blocked;
	if (s->pool_hears)
		lv_tell_of_irq(s, why);
	if (was_blocked)
		lv_core_ready(s, why);
	lv_pool_unlock(kp);
	return was_blocked;
}

/* A PAUSE loop, or a hypercall for @to. Return: false if Linux decides. */
bool lv_gate_yield(struct lv_vcpu *v, struct lv_vcpu *to)
{
	struct lv_kpool *kp;
	bool ours;

	if (READ_ONCE(v->sched.state) == LV_SCHED_FREE)
		return false;
	kp = lv_lock_pool_of(&v->sched);
	if (!kp)
		return false;
	ours = v->sched.state != LV_SCHED_FREE;
	lv_core_yield(&v->sched, to ? &to->sched : NULL);
	lv_pool_unlock(kp);
	return ours;
}

/* ---- what the host's scheduler does to the thread ---- */

/*
 * The run queue's lock is held: leave the rest to an interrupt. A vCPU that
 * waits at the gate or halted has no CPU to lose.
 */
void lv_gate_thread_out(struct lv_vcpu *v)
{
	struct lv_sched_vcpu *s = &v->sched;

	if (READ_ONCE(s->state) == LV_SCHED_FREE)
		return;
	s->exit_reason = v->exit.reason;
	v->asleep = READ_ONCE(current->__state) != TASK_RUNNING;
	WRITE_ONCE(s->out_at, ktime_get_ns());
	if (READ_ONCE(s->state) == LV_SCHED_RUNNING &&
	    READ_ONCE(s->absent) == LV_HERE)
		irq_work_queue(&v->out_work);
}

static void lv_report_absence(struct lv_vcpu *v, enum lv_absent where)
{
	struct lv_kpool *kp = lv_lock_pool_of(&v->sched);

	if (!kp)
		return;
	if ((v->sched.absent == LV_HERE) != (where == LV_HERE))
		lv_core_absent(&v->sched, where);
	lv_pool_unlock(kp);
}

static void lv_out_work(struct irq_work *work)
{
	struct lv_vcpu *v = container_of(work, struct lv_vcpu, out_work);

	if (!READ_ONCE(v->sched.out_at))
		return;
	lv_report_absence(v, v->asleep ? LV_ASLEEP : LV_PREEMPTED);
	/* Pairs with lv_gate_thread_in(): one of us sees the other. */
	smp_mb();
	if (!READ_ONCE(v->sched.out_at))
		lv_report_absence(v, LV_HERE);
}

void lv_gate_thread_in(struct lv_vcpu *v)
{
	struct lv_sched_vcpu *s = &v->sched;
	u64 out_at = READ_ONCE(s->out_at);
	u8 absent;

	if (!out_at)
		return;
	WRITE_ONCE(s->out_at, 0);
	WRITE_ONCE(s->stolen, s->stolen + ktime_get_ns() - out_at);
	smp_mb();
	absent = READ_ONCE(s->absent);
	if (absent == LV_ASLEEP || absent == LV_PREEMPTED)
		lv_report_absence(v, LV_HERE);
}

/* ---- life of a vCPU ---- */

/** lv_sched_vcpu_init - before it can be seen by anybody */
void lv_sched_vcpu_init(struct lv_vcpu *v)
{
	v->sched.id = v->id;
	v->sched.pass = true;
	mutex_init(&v->pin_lock);
	init_irq_work(&v->out_work, lv_out_work);
}

/** lv_sched_vcpu_free - it is in no pool */
void lv_sched_vcpu_free(struct lv_vcpu *v)
{
	irq_work_sync(&v->out_work);
	lv_gate_unpin(v);
	kfree(v->affinity);
}
