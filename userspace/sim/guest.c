// SPDX-License-Identifier: GPL-2.0-only
/* What simulated guests do. */
#include <math.h>

#include "sim_core.h"

/* A time that varies as the VM's configuration says. */
static u64 spread(struct sim_vcpu *v, u64 mean)
{
	double r;

	switch (v->vm->config->spread) {
	case SIM_UNIFORM:
		return sim_random(v->sim, 2 * mean + 1);
	case SIM_EXP:
		r = (sim_random(v->sim, 1 << 30) + 1.0) / (1 << 30);
		return min_t(u64, -log(r) * mean, 20 * mean);
	default:
		return mean;
	}
}

static struct sim_action run(u64 ns)
{
	return (struct sim_action){ .what = SIM_RUN, .ns = max(ns, 100ULL) };
}

static struct sim_action halt(u64 ns, enum lv_wake why)
{
	return (struct sim_action){ .what = SIM_HALT,
				    .ns = ns ? max(ns, 100ULL) : 0,
				    .why = why };
}

static struct sim_action next_io(struct sim_vcpu *v)
{
	if (v->phase++ % 2)
		return halt(spread(v, v->vm->config->sleep), LV_WAKE_IRQ);
	v->vm->rounds++;
	return run(spread(v, v->vm->config->run));
}

/* Even ones begin. A last one without a partner sleeps forever. */
static struct sim_action next_pingpong(struct sim_vcpu *v)
{
	u32 partner = v->core.id ^ 1;

	if (partner >= v->vm->config->vcpus)
		return halt(0, LV_WAKE_IPI);
	switch (v->phase) {
	case 0:
		v->phase = 1 + (v->core.id & 1);
		if (v->phase == 2)
			return halt(0, LV_WAKE_IPI);
		fallthrough;
	case 1:
		v->phase = 2;
		return run(spread(v, v->vm->config->run));
	default:
		v->phase = 1;
		v->vm->rounds++;
		sim_wake(&v->vm->vcpus[partner], LV_WAKE_IPI);
		return halt(0, LV_WAKE_IPI);
	}
}

bool sim_guest_served(const struct sim_vcpu *v)
{
	return v->vm->lock_now == v->ticket;
}

static struct sim_action next_spin(struct sim_vcpu *v)
{
	struct sim_vm *vm = v->vm;
	u32 i;

	switch (v->phase) {
	case 0: /* work is over: wait for the lock */
		v->phase = 1;
		v->ticket = vm->lock_next++;
		return (struct sim_action){ .what = SIM_DO_SPIN };
	case 1: /* got it */
		v->phase = 2;
		return run(vm->config->hold);
	case 2: /* let it go */
		v->phase = 0;
		vm->rounds++;
		vm->lock_now++;
		for (i = 0; i < vm->config->vcpus; i++)
			sim_recheck_spin(&vm->vcpus[i]);
		return run(spread(v, vm->config->run));
	}
	return run(1000);
}

/* A job is over: was it in time? When is the next one due? */
static struct sim_action next_periodic(struct sim_vcpu *v)
{
	const struct sim_vm_config *c = v->vm->config;
	u64 now = v->sim->now;

	if (v->phase == 2) {
		u64 due = v->job_at + c->every;

		v->vm->rounds++;
		if (now > due) {
			v->vm->missed++;
			v->vm->late_max = max(v->vm->late_max, now - due);
		}
		v->job_at += c->every;
	}
	if (!v->phase) /* not all at the same time */
		v->job_at = now + sim_random(v->sim, c->every);
	v->phase = 2;
	if (v->job_at <= now)
		return run(c->run);
	v->phase = 1;
	return halt(v->job_at - now, LV_WAKE_TIMER);
}

/* Who samples at each tick finds it asleep. */
static struct sim_action next_attack(struct sim_vcpu *v)
{
	const struct sim_vm_config *c = v->vm->config;
	u64 until_tick = c->every - v->sim->now % c->every;

	if (until_tick > c->sleep / 2)
		return run(until_tick - c->sleep / 2);
	return halt(c->sleep, LV_WAKE_TIMER);
}

static struct sim_action next_yield(struct sim_vcpu *v)
{
	if (v->phase++ % 2)
		return (struct sim_action){ .what = SIM_DO_YIELD };
	return run(spread(v, v->vm->config->run));
}

static struct sim_action next_random(struct sim_vcpu *v)
{
	u32 what = sim_random(v->sim, 16);

	if (what == 0)
		return (struct sim_action){ .what = SIM_DO_YIELD };
	if (what == 1)
		return (struct sim_action){ .what = SIM_USER,
					    .ns = 1 + spread(v, 200000) };
	if (what < 4)
		sim_wake(
			&v->vm->vcpus[sim_random(v->sim, v->vm->config->vcpus)],
			LV_WAKE_IPI);
	if (what < 8)
		return halt(spread(v, v->vm->config->sleep),
			    sim_random(v->sim, LV_WAKE_USER));
	return run(spread(v, v->vm->config->run));
}

static struct sim_action next_script(struct sim_vcpu *v)
{
	const struct sim_vm_config *c = v->vm->config;
	const struct sim_script *script =
		&c->scripts[v->core.id % c->nr_scripts];
	const struct sim_step *step = &script->steps[v->phase++ % script->nr];

	switch (step->what) {
	case 'h':
		return halt(step->ns, step->why);
	case 'u':
		return (struct sim_action){ .what = SIM_USER, .ns = step->ns };
	case 'y':
		return (struct sim_action){ .what = SIM_DO_YIELD };
	}
	v->vm->rounds++;
	return run(step->ns);
}

void sim_guest_init(struct sim_vcpu *v)
{
	const struct sim_vm_config *c = v->vm->config;

	if (c->user_every)
		v->next_user = sim_random(v->sim, c->user_every) + 1;
}

struct sim_action sim_guest_next(struct sim_vcpu *v)
{
	static struct sim_action (*const next[])(struct sim_vcpu *) = {
		[SIM_IO] = next_io,	    [SIM_PINGPONG] = next_pingpong,
		[SIM_SPIN] = next_spin,	    [SIM_PERIODIC] = next_periodic,
		[SIM_ATTACK] = next_attack, [SIM_YIELD] = next_yield,
		[SIM_MIXED] = next_io,	    [SIM_RANDOM] = next_random,
		[SIM_SCRIPT] = next_script,
	};
	const struct sim_vm_config *c = v->vm->config;

	if (c->user_every && v->executed >= v->next_user) {
		v->next_user = v->executed + c->user_every;
		return (struct sim_action){ .what = SIM_USER,
					    .ns = c->user_for };
	}
	if (c->does == SIM_HOG || (c->does == SIM_MIXED && !(v->core.id & 1)))
		return run(c->user_every ?: 1000000000ULL);
	return next[c->does](v);
}
