// SPDX-License-Identifier: GPL-2.0-only
/*
 * The core of vCPU scheduling: states of vCPUs, who has which CPU, accounting,
 * and the watch over the policy. Pure: the module and the simulator share it.
 *
 * An op of the policy may park, requeue or reschedule others, which only leaves
 * marks. What follows from them, like a free CPU that somebody can have now,
 * lv_core_settle() does at the end of each stay under the pool's lock.
 */
#include "core.h"

/* The policy's op, if it has it and was not thrown out. */
#define lv_op(pool, op) ((pool)->fault ? NULL : (pool)->ops->op)

/* The policy that is none: Linux decides, vCPUs are FREE. */
const struct lv_sched_ops lv_sched_host = { .name = "host" };

static bool lv_is_host(const struct lv_pool *pool)
{
	return pool->ops == &lv_sched_host;
}

void lv_sched_fault(struct lv_pool *pool, const char *why)
{
	if (pool && !pool->fault && !lv_is_host(pool))
		pool->fault = why;
}

/* The pool's timer serves lv_sched_timer() and lv_sched_park_until(). */
static void lv_arm_pool(struct lv_pool *pool)
{
	struct lv_sched_vcpu *v = pool->parked.first;
	u64 at = pool->wanted;

	if (v && (!at || v->rank < at))
		at = v->rank;
	if (at == pool->timer)
		return;
	pool->timer = at;
	lv_sched_set_pool_timer(pool,
				at ? max(at, pool->now + LV_TIMER_MIN) : 0);
}

void lv_sched_timer(struct lv_pool *pool, u64 at)
{
	pool->wanted = at;
	lv_arm_pool(pool);
}

/* ---- accounting ---- */

static u64 lv_stolen(const struct lv_sched_vcpu *v)
{
	u64 out_at = READ_ONCE(v->out_at), now = v->pool->now;

	return READ_ONCE(v->stolen) +
	       (out_at && out_at < now ? now - out_at : 0);
}

/* Without a CPU: where does the time go? */
static enum lv_sched_time lv_idle_time(const struct lv_sched_vcpu *v)
{
	if (v->state == LV_SCHED_READY)
		return v->parked ? LV_TIME_PARKED : LV_TIME_READY;
	return v->blocked ? LV_TIME_BLOCKED : LV_TIME_OUT;
}

static void lv_charge_running(struct lv_sched_vcpu *v, u64 ns)
{
	u64 stolen = lv_stolen(v), lost = 0;
	void (*charge)(struct lv_sched_vcpu *, u64) = lv_op(v->pool, charge);

	if (stolen > v->stolen_seen)
		lost = min(ns, stolen - v->stolen_seen);
	v->stolen_seen = stolen;
	v->time[LV_TIME_STEAL] += lost;
	ns -= lost;
	v->time[v->absent == LV_IN_USER ? LV_TIME_AWAY : LV_TIME_RUN] += ns;
	v->ran += ns;
	if (ns && charge)
		charge(v, ns);
}

void lv_sched_charge(struct lv_sched_vcpu *v)
{
	u64 ns = v->pool->now - v->accounted;

	v->accounted = v->pool->now;
	if (v->state == LV_SCHED_RUNNING)
		lv_charge_running(v, ns);
	else if (v->state != LV_SCHED_FREE)
		v->time[lv_idle_time(v)] += ns;
}

static void lv_note_latency(struct lv_sched_vcpu *v)
{
	u64 ns = v->pool->now - v->woken_at;
	int slot = fls64(div_u64(ns, 1000));

	v->wake_pending = false;
	v->latency_max = max(v->latency_max, ns);
	v->latency[min(slot, LV_SCHED_LATENCIES - 1)]++;
}

static void lv_set_state(struct lv_sched_vcpu *v, enum lv_sched_state state)
{
	lv_sched_charge(v);
	v->state = state;
	v->since = v->pool->now;
	v->blocked = false;
}

/* ---- the ready queue: READY and not parked ---- */

static bool lv_queued(const struct lv_sched_vcpu *v)
{
	return v->queue && v->queue != &v->pool->parked;
}

static void lv_enqueue(struct lv_sched_vcpu *v)
{
	if (v->parked || v->queue)
		return;
	lv_queue_add(v->home ? &v->home->ready : &v->pool->ready, v, v->key);
	v->pool->nr_ready++;
}

static void lv_dequeue(struct lv_sched_vcpu *v)
{
	if (!lv_queued(v))
		return;
	lv_queue_del(v);
	v->pool->nr_ready--;
}

struct lv_sched_vcpu *lv_sched_first(const struct lv_sched_cpu *cpu)
{
	struct lv_sched_vcpu *mine, *shared;

	if (!cpu || !cpu->pool)
		return NULL;
	mine = cpu->ready.first;
	shared = cpu->pool->ready.first;
	if (!mine || !shared)
		return mine ?: shared;
	if (mine->rank != shared->rank)
		return mine->rank < shared->rank ? mine : shared;
	return mine->seq < shared->seq ? mine : shared;
}

/* ---- the CPU's timer: end of the slice, or of the patience ---- */

static u64 lv_patience(const struct lv_sched_vcpu *v)
{
	static const u64 grace[] = {
		[LV_HERE] = LV_SLICE_FOREVER,
		[LV_COMING] = LV_GRACE_COMING,
		[LV_IN_USER] = LV_GRACE_USER,
		[LV_ASLEEP] = 0,
		[LV_PREEMPTED] = LV_GRACE_PREEMPTED,
	};

	if (v->absent == LV_HERE || !v->pool->nr_ready)
		return LV_SLICE_FOREVER;
	return v->absent_since + grace[v->absent];
}

static void lv_arm(struct lv_sched_cpu *cpu)
{
	u64 at = min(cpu->until, lv_patience(cpu->curr));

	if (at == LV_SLICE_FOREVER)
		at = 0;
	if (at == cpu->timer)
		return;
	cpu->timer = at;
	lv_sched_set_cpu_timer(cpu, at);
}

void lv_sched_cut(struct lv_sched_cpu *cpu, u64 at)
{
	if (!cpu->curr || at >= cpu->until)
		return;
	cpu->until = at;
	lv_arm(cpu);
}

/* ---- taking a CPU away ---- */

static void lv_ask(struct lv_sched_cpu *cpu, enum lv_stop why)
{
	struct lv_sched_vcpu *v = cpu->curr;

	if (!v || cpu->resched)
		return;
	cpu->resched = why;
	if (v->absent != LV_HERE) {
		cpu->pool->takes = true;
	} else {
		WRITE_ONCE(v->pass, false);
		lv_sched_recall(v);
	}
}

void lv_sched_resched(struct lv_sched_cpu *cpu)
{
	lv_ask(cpu, LV_STOP_PREEMPT);
}

static bool lv_may_run(const struct lv_sched_vcpu *v,
		       const struct lv_sched_cpu *cpu)
{
	return !v->parked && (!v->home || v->home == cpu);
}

void lv_sched_requeue(struct lv_sched_vcpu *v, u64 key,
		      struct lv_sched_cpu *home)
{
	bool queued = lv_queued(v);

	lv_dequeue(v);
	v->key = key;
	v->home = home;
	if (queued)
		lv_enqueue(v);
	if (v->state == LV_SCHED_RUNNING && !lv_may_run(v, v->cpu))
		lv_ask(v->cpu, LV_STOP_PREEMPT);
}

/* Without its CPU: does it want another one, or does it not even use this? */
static enum lv_sched_state lv_state_unseated(const struct lv_sched_vcpu *v)
{
	return v->absent == LV_IN_USER || v->absent == LV_ASLEEP
		       ? LV_SCHED_OUT
		       : LV_SCHED_READY;
}

/* The vCPU has no CPU from here on, whatever its thread does right now. */
static void lv_unseat(struct lv_sched_vcpu *v, enum lv_sched_state state)
{
	struct lv_sched_cpu *cpu = v->cpu;

	lv_set_state(v, state);
	v->absent = LV_HERE;
	cpu->busy += v->pool->now - cpu->busy_since;
	cpu->curr = NULL;
	cpu->resched = 0;
	cpu->until = LV_SLICE_FOREVER;
	cpu->late = false;
	v->pool->nr_idle++;
	if (v->pass) {
		WRITE_ONCE(v->pass, false);
		lv_sched_recall(v);
	}
}

static void lv_stop(struct lv_sched_vcpu *v, enum lv_stop why)
{
	void (*stop)(struct lv_sched_vcpu *, u32) = lv_op(v->pool, stop);
	enum lv_sched_state state = why <= LV_STOP_YIELD ? LV_SCHED_READY
							 : LV_SCHED_OUT;

	if (v->state == LV_SCHED_RUNNING)
		lv_unseat(v, state);
	else
		lv_set_state(v, state);
	v->blocked = why == LV_STOP_BLOCK;
	v->stopped_by = why;
	v->stops[why]++;
	if (state == LV_SCHED_OUT)
		v->wake_pending = false;
	lv_sched_trace(v, LV_SCHED_EV_STOP, why);
	v->pool->moving = v;
	if (stop)
		stop(v, why);
	v->pool->moving = NULL;
	if (state == LV_SCHED_READY)
		lv_enqueue(v);
}

/* Where the thread is says what becomes of the vCPU. */
static void lv_take(struct lv_sched_cpu *cpu)
{
	struct lv_sched_vcpu *v = cpu->curr;

	if (v->absent == LV_IN_USER)
		lv_stop(v, LV_STOP_USER);
	else if (cpu->resched && lv_state_unseated(v) == LV_SCHED_READY &&
		 lv_patience(v) > v->pool->now)
		lv_stop(v, cpu->resched);
	else
		lv_stop(v, LV_STOP_HOST);
}

static void lv_take_all(struct lv_pool *pool)
{
	struct lv_sched_cpu *cpu;

	pool->takes = false;
	lv_for_each_pool_cpu(cpu, pool)
		if (cpu->curr && cpu->resched && cpu->curr->absent != LV_HERE)
			lv_take(cpu);
}

void lv_sched_park(struct lv_sched_vcpu *v)
{
	if (v->parked)
		return;
	if (v->state == LV_SCHED_READY) {
		lv_sched_charge(v);
		lv_dequeue(v);
	}
	v->parked = true;
	lv_sched_trace(v, LV_SCHED_EV_PARK, 1);
	if (v->state == LV_SCHED_RUNNING)
		lv_ask(v->cpu, LV_STOP_PREEMPT);
}

void lv_sched_park_until(struct lv_sched_vcpu *v, u64 at)
{
	lv_sched_park(v);
	if (v->queue)
		lv_queue_del(v);
	lv_queue_add(&v->pool->parked, v, max(at, v->pool->now + 1));
	lv_arm_pool(v->pool);
}

/* ---- giving a CPU ---- */

static void lv_seat(struct lv_sched_cpu *cpu, struct lv_sched_vcpu *v,
		    u64 slice)
{
	struct lv_pool *pool = cpu->pool;
	void (*migrate)(struct lv_sched_vcpu *, struct lv_sched_cpu *) =
		lv_op(pool, migrate);

	lv_dequeue(v);
	if (v->cpu && v->cpu != cpu) {
		v->migrations++;
		if (migrate)
			migrate(v, cpu);
	}
	lv_set_state(v, LV_SCHED_RUNNING);
	v->cpu = cpu;
	v->absent = LV_COMING;
	v->absent_since = pool->now;
	v->stolen_seen = lv_stolen(v);
	v->dispatches++;
	cpu->curr = v;
	cpu->busy_since = pool->now;
	cpu->until = slice == LV_SLICE_FOREVER ? slice : pool->now + slice;
	pool->nr_idle--;
	pool->last_dispatch = pool->now;
	lv_sched_trace(v, LV_SCHED_EV_RUN, slice);
	lv_arm(cpu);
	if (lv_may_run(v, cpu))
		lv_sched_grant(v);
	else /* pick() or migrate() had second thoughts */
		lv_ask(cpu, LV_STOP_PREEMPT);
}

void lv_sched_choose(struct lv_sched_cpu *cpu, struct lv_sched_vcpu *v,
		     u64 slice)
{
	struct lv_pool *pool = cpu->pool;

	if (!v)
		return;
	if (!pool || pool->picking != cpu)
		return lv_sched_fault(
			v->pool, "chose for a CPU that it was not asked about");
	if (v->pool != pool)
		return lv_sched_fault(pool, "chose a vCPU of another pool");
	if (v->state != LV_SCHED_READY)
		return lv_sched_fault(pool,
				      "chose a vCPU that is not runnable");
	if (!lv_may_run(v, cpu))
		return lv_sched_fault(
			pool, "chose a vCPU that may not run there now");
	if (slice < LV_SLICE_MIN)
		return lv_sched_fault(
			pool, "chose a slice that is shorter than 50 us");
	pool->chosen = v;
	pool->chosen_slice = slice;
}

/* Ask the policy who gets the CPU. */
static void lv_fill(struct lv_sched_cpu *cpu)
{
	struct lv_pool *pool = cpu->pool;
	void (*pick)(struct lv_sched_cpu *) = lv_op(pool, pick);
	struct lv_sched_vcpu *first;

	if (cpu->curr || pool->fault || !pool->nr_ready)
		return;
	pool->picking = cpu;
	pool->chosen = NULL;
	if (pick) {
		pick(cpu);
	} else {
		first = lv_sched_first(cpu);
		if (first)
			lv_sched_choose(cpu, first, first->slice);
	}
	pool->picking = NULL;
	if (pool->chosen && !pool->fault)
		lv_seat(cpu, pool->chosen, pool->chosen_slice);
}

static void lv_fill_all(struct lv_pool *pool)
{
	struct lv_sched_cpu *cpu;

	lv_for_each_pool_cpu(cpu, pool) {
		if (!pool->nr_idle || !pool->nr_ready)
			return;
		lv_fill(cpu);
	}
}

/* Is there a CPU left for a READY vCPU, after all others that wait? */
static bool lv_has_room(const struct lv_sched_vcpu *v)
{
	return v->home ? !v->home->curr : v->pool->nr_idle >= v->pool->nr_ready;
}

/* A READY vCPU found no free CPU: whose could it have? */
static void lv_contend(struct lv_sched_vcpu *v)
{
	bool (*preempts)(struct lv_sched_vcpu *, struct lv_sched_vcpu *) =
		lv_op(v->pool, preempts);
	struct lv_sched_cpu *cpu, *victim = NULL;

	lv_for_each_pool_cpu(cpu, v->pool) {
		if (!cpu->curr || cpu->resched || (v->home && v->home != cpu))
			continue;
		if (cpu->curr->absent != LV_HERE) {
			lv_arm(cpu);
			if (lv_patience(cpu->curr) <= v->pool->now)
				return lv_ask(cpu, LV_STOP_PREEMPT);
		}
		if (preempts && preempts(v, cpu->curr) &&
		    (!victim || cpu->curr->key > victim->curr->key))
			victim = cpu;
	}
	if (victim)
		lv_ask(victim, LV_STOP_PREEMPT);
}

static bool lv_waits(const struct lv_sched_vcpu *v)
{
	return v->state == LV_SCHED_READY && !v->parked;
}

static void lv_become_ready(struct lv_sched_vcpu *v, enum lv_wake why)
{
	void (*wake)(struct lv_sched_vcpu *, u32) = lv_op(v->pool, wake);

	lv_dequeue(v);
	lv_set_state(v, LV_SCHED_READY);
	v->woken_by = why;
	v->wakes[why]++;
	lv_sched_trace(v, LV_SCHED_EV_WAKE, why);
	v->pool->moving = v;
	if (wake)
		wake(v, why);
	v->pool->moving = NULL;
	lv_enqueue(v);
}

void lv_sched_unpark(struct lv_sched_vcpu *v)
{
	if (!v->parked)
		return;
	if (v->state == LV_SCHED_READY)
		lv_sched_charge(v);
	v->parked = false;
	if (v->queue)
		lv_queue_del(v);
	lv_sched_trace(v, LV_SCHED_EV_PARK, 0);
	/* What wake() and stop() are told of, the core is just busy with. */
	if (v->state != LV_SCHED_READY || v->pool->moving == v)
		return;
	lv_enqueue(v);
	if (!lv_has_room(v))
		lv_contend(v);
}

/*
 * lv_core_settle - do what follows from what happened under the lock
 *
 * To be called before the lock is dropped. Return: true if the policy was thrown
 * out just now, for the reason pool->fault.
 */
bool lv_core_settle(struct lv_pool *pool)
{
	u32 rounds = 0;
	struct lv_sched_vcpu *v;
	struct lv_sched_vm *vm;

	if (lv_is_host(pool))
		return false;
	do {
		if (pool->takes)
			lv_take_all(pool);
		lv_fill_all(pool);
	} while (pool->takes && ++rounds < LV_SETTLE_ROUNDS);
	if (pool->takes)
		lv_sched_fault(pool, "gives and takes without end");
	if (!pool->fault)
		return false;

	lv_for_each_pool_vm(vm, pool)
		lv_for_each_vm_vcpu(v, vm)
			lv_core_free(v);
	lv_sched_timer(pool, 0);
	pool->takes = false;
	pool->ops = &lv_sched_host;
	return true;
}

/* ---- what a vCPU's thread and the host report ---- */

/** lv_core_ready - an OUT vCPU is runnable again */
void lv_core_ready(struct lv_sched_vcpu *v, enum lv_wake why)
{
	bool woken = v->blocked;

	if (v->state != LV_SCHED_OUT)
		return;
	if (woken) {
		v->wake_pending = true;
		v->woken_at = v->pool->now;
	}
	lv_become_ready(v, why);
	/* Where it was last its data may still be in the caches. */
	if (v->cpu)
		lv_fill(v->cpu);
	lv_fill_all(v->pool);
	if (lv_waits(v))
		lv_contend(v);
}

/* It was asked to stop when its thread was not there to hear it. */
static void lv_remind(struct lv_sched_cpu *cpu)
{
	if (!cpu->resched || !cpu->curr->pass)
		return;
	WRITE_ONCE(cpu->curr->pass, false);
	lv_sched_recall(cpu->curr);
}

/* The way took longer than the slice: as long again, for who has to get on. */
static void lv_grant_a_turn(struct lv_sched_cpu *cpu, u64 took)
{
	cpu->late = false;
	cpu->until = cpu->pool->now + max(took, LV_SLICE_MIN);
	lv_arm(cpu);
}

/** lv_core_arrive - the thread of a RUNNING vCPU is on its CPU */
void lv_core_arrive(struct lv_sched_vcpu *v)
{
	lv_sched_charge(v);
	v->absent = LV_HERE;
	WRITE_ONCE(v->pass, true);
	if (v->cpu->late)
		lv_grant_a_turn(v->cpu, v->pool->now - v->since);
	lv_remind(v->cpu);
	if (v->wake_pending)
		lv_note_latency(v);
}

/*
 * lv_core_prolong - a RUNNING vCPU was asked to stop before its guest ran at all
 *
 * On a slow host it may take longer than the slice to get into the guest, even
 * from where the thread arrived. Each time this gives it twice as long.
 * Return: false if it is to stop: this is not about the slice, or too long.
 */
bool lv_core_prolong(struct lv_sched_vcpu *v)
{
	struct lv_sched_cpu *cpu = v->cpu;
	u64 took = v->pool->now - v->since;

	if (cpu->resched != LV_STOP_SLICE || took > LV_GRACE_COMING)
		return false;
	cpu->resched = 0;
	lv_grant_a_turn(cpu, took);
	return true;
}

/** lv_core_stop - the thread gives up the CPU, or the wait for one */
void lv_core_stop(struct lv_sched_vcpu *v, enum lv_stop why)
{
	struct lv_sched_cpu *cpu = v->cpu;
	bool ran = v->state == LV_SCHED_RUNNING;

	if (v->state == LV_SCHED_FREE)
		return;
	WRITE_ONCE(v->pass, false);
	if (v->state == LV_SCHED_OUT) {
		lv_sched_charge(v);
		v->blocked = why == LV_STOP_BLOCK;
		return;
	}
	lv_dequeue(v);
	lv_stop(v, why);
	if (ran)
		lv_fill(cpu);
}

/** lv_core_absent - the thread of a RUNNING vCPU went off its CPU, or is back */
void lv_core_absent(struct lv_sched_vcpu *v, enum lv_absent where)
{
	struct lv_sched_cpu *cpu = v->cpu;

	if (v->state != LV_SCHED_RUNNING)
		return;
	lv_sched_charge(v);
	v->absent = where;
	v->absent_since = v->pool->now;
	if (where == LV_IN_USER)
		WRITE_ONCE(v->pass, false);
	if (where != LV_HERE &&
	    (cpu->resched || lv_patience(v) <= v->pool->now))
		lv_take(cpu);
	else
		lv_arm(cpu);
	if (where == LV_HERE)
		lv_remind(cpu);
}

/** lv_core_yield - a RUNNING vCPU spins, or would rather have @to run */
void lv_core_yield(struct lv_sched_vcpu *v, struct lv_sched_vcpu *to)
{
	bool (*yield)(struct lv_sched_vcpu *, struct lv_sched_vcpu *) =
		lv_op(v->pool, yield);

	if (v->state != LV_SCHED_RUNNING)
		return;
	if (yield ? yield(v, to) : !!lv_sched_first(v->cpu))
		lv_ask(v->cpu, LV_STOP_YIELD);
}

/** lv_core_irq - an interrupt waits for a vCPU, which may be halted */
void lv_core_irq(struct lv_sched_vcpu *v, enum lv_wake why)
{
	void (*irq)(struct lv_sched_vcpu *, u32) = lv_op(v->pool, irq);

	if (irq && !v->blocked)
		irq(v, why);
}

/** lv_core_ipi - one vCPU sent an interrupt to another of the VM, or to itself */
void lv_core_ipi(struct lv_sched_vcpu *from, struct lv_sched_vcpu *to)
{
	void (*ipi)(struct lv_sched_vcpu *, struct lv_sched_vcpu *) =
		lv_op(to->pool, ipi);

	if (ipi)
		ipi(from, to);
}

/** lv_core_cpu_timer - the time of lv_sched_set_cpu_timer() has come */
void lv_core_cpu_timer(struct lv_sched_cpu *cpu)
{
	struct lv_sched_vcpu *v = cpu->curr;

	cpu->timer = 0;
	if (!v)
		return;
	if (lv_patience(v) <= cpu->pool->now)
		return lv_take(cpu);
	if (cpu->until > cpu->pool->now)
		return lv_arm(cpu);
	cpu->until = LV_SLICE_FOREVER;
	cpu->late = v->absent == LV_COMING;
	if (cpu->late)
		lv_arm(cpu);
	else
		lv_ask(cpu, LV_STOP_SLICE);
}

/* Its time is over, unless the policy says otherwise. */
static void lv_release(struct lv_sched_vcpu *v)
{
	void (*release)(struct lv_sched_vcpu *) = lv_op(v->pool, release);

	lv_queue_del(v);
	if (release)
		release(v);
	if (!v->queue)
		lv_sched_unpark(v);
}

/** lv_core_pool_timer - the time of lv_sched_set_pool_timer() has come */
void lv_core_pool_timer(struct lv_pool *pool)
{
	void (*timer)(struct lv_pool *) = lv_op(pool, timer);
	struct lv_ready_queue *parked = &pool->parked;

	while (parked->first && parked->first->rank <= pool->now)
		lv_release(parked->first);
	if (pool->wanted && pool->wanted <= pool->now) {
		pool->wanted = 0;
		if (timer)
			timer(pool);
	}
	pool->timer = 0;
	lv_arm_pool(pool);
}

/* ---- the watchdog ---- */

/** lv_core_check - to be called a few times a second */
void lv_core_check(struct lv_pool *pool)
{
	u64 limit = pool->ops->starve_ns ?: LV_STARVE, waits = 0, held = 0;
	struct lv_sched_vcpu *v;
	struct lv_sched_vm *vm;

	lv_for_each_pool_vm(vm, pool)
		lv_for_each_vm_vcpu(v, vm) {
			if (lv_waits(v))
				waits = max(waits, pool->now - v->since);
			else if (v->state == LV_SCHED_READY)
				held = max(held, pool->now - v->since);
		}
	/* Each may have its turn first. */
	limit += pool->nr_vcpus * pool->slice;
	if (waits > limit)
		lv_sched_fault(pool, "let a runnable vCPU starve");
	if (held > limit + LV_PERIOD_MAX)
		lv_sched_fault(pool, "holds a vCPU back without end");
	if (waits > LV_NEVER_PICKS && pool->nr_idle == pool->nr_cpus &&
	    pool->now - pool->last_dispatch > LV_NEVER_PICKS)
		lv_sched_fault(pool, "picks nobody, and vCPUs wait");
}

/*
 * lv_core_took - so long the lock was held: a policy that stalls is thrown out
 *
 * Not for once: the host may have been held up itself.
 */
void lv_core_took(struct lv_pool *pool, u64 ns)
{
	if (unlikely(ns >= LV_OP_MAX))
		pool->stalls += LV_STALL;
	else if (unlikely(pool->stalls))
		pool->stalls--;
	if (unlikely(pool->stalls >= LV_OP_STALLS * LV_STALL))
		lv_sched_fault(pool, "takes too long to decide");
}

/* ---- pools, their CPUs, VMs, vCPUs and policies ---- */

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
