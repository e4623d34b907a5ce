// SPDX-License-Identifier: GPL-2.0-only
/*
 * The core of vCPU scheduling: states of vCPUs, who has which CPU, accounting,
 * and the watch over the policy. What a pool consists of is in members.c. Pure:
 * the module and the simulator share both.
 *
 * An op of the policy may park, requeue or reschedule others, which only leaves
 * marks. What follows from them, like a free CPU that somebody can have now,
 * lv_core_settle() does at the end of each stay under the pool's lock.
 */
#include "core.h"

/* The policy that is none: Linux decides, vCPUs are FREE. */
const struct lv_sched_ops lv_sched_host = { .name = "host" };

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

void lv_set_state(struct lv_sched_vcpu *v, enum lv_sched_state state)
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

void lv_dequeue(struct lv_sched_vcpu *v)
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
enum lv_sched_state lv_state_unseated(const struct lv_sched_vcpu *v)
{
	return v->absent == LV_IN_USER || v->absent == LV_ASLEEP
		       ? LV_SCHED_OUT
		       : LV_SCHED_READY;
}

/* The vCPU has no CPU from here on, whatever its thread does right now. */
void lv_unseat(struct lv_sched_vcpu *v, enum lv_sched_state state)
{
	struct lv_sched_cpu *cpu = v->cpu;

	lv_set_state(v, state);
	v->absent = LV_HERE;
	cpu->busy += v->pool->now - cpu->busy_since;
	cpu->curr = NULL;
	cpu->resched = 0;
	cpu->until = LV_SLICE_FOREVER;
	cpu->late = 0;
	v->pool->nr_idle++;
	if (v->pass) {
		WRITE_ONCE(v->pass, false);
		lv_sched_recall(v);
	}
}

void lv_stop(struct lv_sched_vcpu *v, enum lv_stop why)
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
void lv_take(struct lv_sched_cpu *cpu)
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

void lv_become_ready(struct lv_sched_vcpu *v, enum lv_wake why)
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

/* The way took longer than the slice, for who has to get on. */
static void lv_grant_a_turn(struct lv_sched_cpu *cpu, u64 ns)
{
	cpu->late = 0;
	cpu->until = cpu->pool->now + max(ns, LV_SLICE_MIN);
	lv_arm(cpu);
}

/** lv_core_arrive - the thread of a RUNNING vCPU is on its CPU */
void lv_core_arrive(struct lv_sched_vcpu *v)
{
	lv_sched_charge(v);
	v->absent = LV_HERE;
	WRITE_ONCE(v->pass, true);
	if (v->cpu->late)
		lv_grant_a_turn(v->cpu, v->cpu->late);
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
	if (v->absent == LV_COMING) /* it may have been cut short */
		cpu->late = max_t(s64, cpu->until - v->since, LV_SLICE_MIN);
	cpu->until = LV_SLICE_FOREVER;
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
