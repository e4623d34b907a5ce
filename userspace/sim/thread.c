// SPDX-License-Identifier: GPL-2.0-only
/*
 * The threads of vCPUs: they pass the gate, execute guest code, and do what it does.
 *
 * The hooks of the core only make events, because the pool's lock is held there;
 * all else happens when those events come.
 */
#include "sim_core.h"

/* ---- executing guest code ---- */

static void pause_guest(struct sim_vcpu *v)
{
	u64 ns = v->sim->now - v->executes_since;

	if (!v->executes)
		return;
	v->executes = false;
	v->executed += ns;
	v->left -= min(ns, v->left);
	sim_cancel(v->sim, &v->done);
}

void sim_thread_off(struct sim_vcpu *v)
{
	pause_guest(v);
	if (!v->core.out_at)
		v->core.out_at = v->sim->now ?: 1;
}

static void thread_on(struct sim_vcpu *v)
{
	if (v->core.out_at)
		v->core.stolen += v->sim->now - v->core.out_at;
	v->core.out_at = 0;
}

void sim_execute(struct sim_vcpu *v)
{
	u64 now = v->sim->now;

	thread_on(v);
	v->thread = SIM_IN_GUEST;
	if (v->executes)
		return;
	if (v->woken_at) {
		sim_sample(&v->vm->latency, now - v->woken_at);
		v->woken_at = 0;
	}
	if (v->spins && sim_guest_served(v))
		v->left = 0;
	v->executes = true;
	v->executes_since = now;
	sim_at(v->sim, &v->done, now + v->left);
}

void sim_recheck_spin(struct sim_vcpu *v)
{
	if (v->spins && v->executes && sim_guest_served(v))
		sim_at(v->sim, &v->done, v->sim->now);
}

/* ---- the gate ---- */

void sim_come(struct sim_vcpu *v)
{
	struct sim *sim = v->sim;
	struct sim_cpu *cpu = container_of(v->core.cpu, struct sim_cpu, core);

	v->thread = SIM_COMING;
	sim_at(sim, &v->arrives,
	       max(sim->now + sim->config.wake,
		   max(cpu->stolen_until, v->held_until)));
}

/* The thread is in the kernel, and wants to enter the guest. */
void sim_at_gate(struct sim_vcpu *v, enum lv_wake why)
{
	struct lv_sched_vcpu *c = &v->core;

	sim_thread_off(v);
	v->thread = SIM_AT_GATE;
	sim_lock(v->sim);
	if (c->state == LV_SCHED_RUNNING && c->cpu->resched)
		lv_core_stop(c, c->cpu->resched);
	if (c->state == LV_SCHED_OUT)
		lv_core_ready(c, why);
	sim_unlock(v->sim);
	if (c->state == LV_SCHED_FREE)
		sim_host_enter(v);
	else if (c->state == LV_SCHED_RUNNING && v->thread == SIM_AT_GATE)
		sim_come(v);
}

/* It is where it should be: does it still have the CPU? */
static void arrive(struct sim_vcpu *v, enum lv_wake why)
{
	if (v->core.state != LV_SCHED_RUNNING)
		return sim_at_gate(v, why);
	thread_on(v);
	sim_lock(v->sim);
	lv_core_arrive(&v->core);
	sim_unlock(v->sim);
	if (v->core.state == LV_SCHED_RUNNING && v->core.pass)
		sim_execute(v);
	else
		sim_at_gate(v, why);
}

void sim_arrives(struct sim *sim, struct sim_event *event)
{
	struct sim_vcpu *v = container_of(event, struct sim_vcpu, arrives);

	if (v->thread == SIM_IN_USER)
		arrive(v, LV_WAKE_USER);
	else if (v->thread != SIM_HELD)
		arrive(v, LV_WAKE_HOST);
	else if (v->core.state != LV_SCHED_RUNNING)
		sim_at_gate(v, LV_WAKE_HOST);
	else if (v->core.absent == LV_IN_USER)
		arrive(v, LV_WAKE_USER);
	else {
		thread_on(v);
		sim_lock(sim);
		lv_core_absent(&v->core, LV_HERE);
		sim_unlock(sim);
		if (v->core.state == LV_SCHED_RUNNING && v->core.pass)
			sim_execute(v);
		else
			sim_at_gate(v, LV_WAKE_HOST);
	}
}

static void kicked(struct sim *sim, struct sim_event *event)
{
	struct sim_vcpu *v = container_of(event, struct sim_vcpu, kicked);
	struct lv_sched_vcpu *c = &v->core;

	if (v->thread == SIM_AT_GATE) {
		if (c->state == LV_SCHED_OUT)
			sim_at_gate(v, LV_WAKE_USER);
	} else if (v->thread == SIM_HALTED) {
		if (c->state != LV_SCHED_OUT || c->blocked)
			return;
		sim_lock(sim);
		lv_core_stop(c, LV_STOP_BLOCK);
		sim_unlock(sim);
	} else if (v->thread == SIM_IN_GUEST) {
		pause_guest(v);
		if (c->state == LV_SCHED_RUNNING && c->absent == LV_HERE &&
		    c->pass)
			sim_execute(v);
		else
			sim_at_gate(v, LV_WAKE_HOST);
	}
}

void lv_sched_grant(struct lv_sched_vcpu *c)
{
	struct sim_vcpu *v = sim_vcpu_of(c);

	if (v->thread != SIM_AT_GATE && v->thread != SIM_COMING &&
	    (v->thread != SIM_HALTED || v->halted))
		return;
	if (c->state == LV_SCHED_RUNNING)
		return sim_come(v);
	v->thread = SIM_COMING;
	sim_at(v->sim, &v->arrives, v->sim->now);
}

void lv_sched_recall(struct lv_sched_vcpu *c)
{
	struct sim_vcpu *v = sim_vcpu_of(c);
	struct sim *sim = v->sim;
	u64 at = sim->now + sim->config.kick;

	if (v->thread != SIM_IN_GUEST && v->thread != SIM_HALTED &&
	    v->thread != SIM_AT_GATE)
		return;
	if (c->state != LV_SCHED_RUNNING) {
		sim_host_leave(v);
		sim_thread_off(v);
	}
	if (c->cpu)
		at = max(at, container_of(c->cpu, struct sim_cpu, core)
				     ->stolen_until);
	sim_at(sim, &v->kicked, at);
}

/* ---- the guest ---- */

static void guest_halts(struct sim_vcpu *v, const struct sim_action *action)
{
	struct sim *sim = v->sim;

	v->halted = true;
	v->thread = SIM_HALTED;
	sim_thread_off(v);
	v->timer_why = action->why;
	if (action->ns)
		sim_at(sim, &v->timer, sim->now + action->ns);
	if (v->core.state == LV_SCHED_FREE) {
		sim_host_leave(v);
		sim_host_fill(sim);
		return;
	}
	sim_lock(sim);
	lv_core_stop(&v->core, LV_STOP_BLOCK);
	sim_unlock(sim);
}

static void guest_to_user(struct sim_vcpu *v, u64 ns)
{
	struct sim *sim = v->sim;

	pause_guest(v);
	v->thread = SIM_IN_USER;
	sim_at(sim, &v->arrives, sim->now + ns);
	if (v->core.state == LV_SCHED_FREE) {
		sim_host_leave(v);
		sim_host_fill(sim);
		return;
	}
	sim_lock(sim);
	lv_core_absent(&v->core, LV_IN_USER);
	sim_unlock(sim);
}

static void guest_yields(struct sim_vcpu *v)
{
	struct sim *sim = v->sim;

	pause_guest(v);
	if (v->core.state == LV_SCHED_FREE) {
		sim_host_leave(v);
		sim_thread_off(v);
		return sim_host_enter(v);
	}
	sim_lock(sim);
	lv_core_yield(&v->core, NULL);
	sim_unlock(sim);
	if (v->core.state == LV_SCHED_RUNNING && v->core.pass)
		sim_execute(v);
	else
		sim_at_gate(v, LV_WAKE_HOST);
}

static void guest_goes_on(struct sim_vcpu *v)
{
	struct sim_action action = sim_guest_next(v);

	if (action.what == SIM_HALT && v->signalled) {
		v->signalled = false;
		v->left = 0;
		return sim_execute(v);
	}
	switch (action.what) {
	case SIM_HALT:
		return guest_halts(v, &action);
	case SIM_USER:
		return guest_to_user(v, action.ns);
	case SIM_DO_YIELD:
		return guest_yields(v);
	case SIM_DO_SPIN:
		v->spins = true;
		v->left = v->sim->config.pause;
		return sim_execute(v);
	default:
		v->left = action.ns;
		return sim_execute(v);
	}
}

static void done(struct sim *sim, struct sim_event *event)
{
	struct sim_vcpu *v = container_of(event, struct sim_vcpu, done);

	pause_guest(v);
	if (!v->spins)
		return guest_goes_on(v);
	if (sim_guest_served(v)) {
		v->spins = false;
		return guest_goes_on(v);
	}
	v->left = sim->config.pause;
	guest_yields(v);
}

void sim_wake(struct sim_vcpu *v, enum lv_wake why)
{
	struct sim *sim = v->sim;
	struct lv_sched_vcpu *c = &v->core;

	if (!v->halted) {
		v->signalled = true;
		return;
	}
	v->halted = false;
	v->left = 0;
	v->woken_at = sim->now;
	sim_cancel(sim, &v->timer);
	if (v->thread != SIM_HALTED)
		return;
	if (c->state == LV_SCHED_OUT && !c->blocked)
		return sim_at_gate(v, LV_WAKE_OTHER);
	v->thread = SIM_AT_GATE;
	if (c->state == LV_SCHED_FREE)
		return sim_host_enter(v);
	sim_lock(sim);
	lv_core_ready(c, why);
	sim_unlock(sim);
}

static void guest_timer(struct sim *sim, struct sim_event *event)
{
	struct sim_vcpu *v = container_of(event, struct sim_vcpu, timer);

	sim_wake(v, v->timer_why);
}

void sim_thread_init(struct sim_vcpu *v)
{
	v->arrives.fn = sim_arrives;
	v->kicked.fn = kicked;
	v->done.fn = done;
	v->timer.fn = guest_timer;
}
