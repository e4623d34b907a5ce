// SPDX-License-Identifier: GPL-2.0-only
/* What the host does: it is policy "host", and takes CPUs and threads away. */
#include "sim_core.h"

#define HOST_SLICE 3000000ULL

/* ---- policy "host": each CPU runs its turn of what there is ---- */

static void host_unqueue(struct sim_vcpu *v)
{
	struct sim_vcpu **at = &v->sim->host_first, *last = NULL;

	if (!v->host_queued)
		return;
	v->host_queued = false;
	for (; *at != v; at = &(*at)->host_next)
		last = *at;
	*at = v->host_next;
	if (v->sim->host_last == v)
		v->sim->host_last = last;
}

void sim_host_leave(struct sim_vcpu *v)
{
	u32 i;

	host_unqueue(v);
	for (i = 0; i < v->sim->config.cpus; i++)
		if (v->sim->cpus[i].host_curr == v) {
			v->sim->cpus[i].host_curr = NULL;
			sim_cancel(v->sim, &v->sim->cpus[i].host_slice);
		}
}

static struct sim_vcpu *host_next(struct sim *sim)
{
	struct sim_vcpu *v;

	while ((v = sim->host_first)) {
		host_unqueue(v);
		if (v->core.state == LV_SCHED_FREE)
			break;
	}
	return v;
}

void sim_host_fill(struct sim *sim)
{
	struct sim_vcpu *v;
	u32 i;

	for (i = 0; i < sim->config.cpus && sim->host_first; i++) {
		struct sim_cpu *cpu = &sim->cpus[i];

		if (!cpu->core.pool || cpu->core.curr || cpu->host_curr)
			continue;
		v = host_next(sim);
		if (!v)
			return;
		cpu->host_curr = v;
		sim_at(sim, &cpu->host_slice, sim->now + HOST_SLICE);
		sim_execute(v);
	}
}

void sim_host_enter(struct sim_vcpu *v)
{
	struct sim *sim = v->sim;

	v->thread = SIM_AT_GATE;
	if (!v->host_queued) {
		v->host_queued = true;
		v->host_next = NULL;
		if (sim->host_first)
			sim->host_last->host_next = v;
		else
			sim->host_first = v;
		sim->host_last = v;
	}
	sim_host_fill(sim);
}

static void host_slice(struct sim *sim, struct sim_event *event)
{
	struct sim_cpu *cpu = container_of(event, struct sim_cpu, host_slice);
	struct sim_vcpu *v = cpu->host_curr;

	cpu->host_curr = NULL;
	if (v && v->core.state == LV_SCHED_FREE) {
		sim_thread_off(v);
		sim_host_enter(v);
	}
	sim_host_fill(sim);
}

/* ---- taking away ---- */

static void host_takes(struct sim_vcpu *v, enum lv_absent where)
{
	sim_thread_off(v);
	if (v->core.state != LV_SCHED_RUNNING)
		return;
	sim_lock(v->sim);
	lv_core_absent(&v->core, where);
	sim_unlock(v->sim);
}

static void steal(struct sim *sim, struct sim_event *event)
{
	struct sim_cpu *cpu = container_of(event, struct sim_cpu, steal);
	struct sim_vcpu *v = cpu->core.curr ? sim_vcpu_of(cpu->core.curr)
					    : NULL;

	if (cpu->stolen_until) {
		cpu->stolen_until = 0;
		sim_at(sim, event, sim_soon(sim, sim->config.steal_every));
		if (!v || v->thread != SIM_IN_GUEST || v->executes)
			return;
		v->thread = SIM_HELD;
		return sim_arrives(sim, &v->arrives);
	}
	cpu->stolen_until = sim_soon(sim, sim->config.steal_for);
	sim_at(sim, event, cpu->stolen_until);
	if (v && v->thread == SIM_IN_GUEST)
		host_takes(v, LV_PREEMPTED);
	else if (v && v->thread == SIM_COMING)
		sim_come(v);
}

static void held(struct sim *sim, struct sim_event *event)
{
	struct sim_vcpu *v = container_of(event, struct sim_vcpu, held);
	const struct sim_vm_config *c = v->vm->config;

	v->held_until = sim_soon(sim, c->held_for);
	sim_at(sim, event,
	       v->held_until + sim_soon(sim, c->held_every) - sim->now);
	if (v->thread == SIM_COMING && v->core.state == LV_SCHED_RUNNING) {
		sim_come(v);
	} else if (v->thread == SIM_IN_GUEST) {
		bool free = v->core.state == LV_SCHED_FREE;

		v->thread = SIM_HELD;
		if (free)
			sim_host_leave(v);
		host_takes(v, sim_random(sim, 2) ? LV_ASLEEP : LV_PREEMPTED);
		sim_at(sim, &v->arrives, v->held_until);
		if (free)
			sim_host_fill(sim);
	}
}

void sim_host_init_cpu(struct sim_cpu *cpu)
{
	struct sim *sim = cpu->sim;

	cpu->steal.fn = steal;
	cpu->host_slice.fn = host_slice;
	if (sim->config.steal_every)
		sim_at(sim, &cpu->steal,
		       sim_soon(sim, sim->config.steal_every));
}

void sim_host_init_vcpu(struct sim_vcpu *v)
{
	u64 every = v->vm->config->held_every;

	v->held.fn = held;
	if (every)
		sim_at(v->sim, &v->held, sim_soon(v->sim, every));
}
