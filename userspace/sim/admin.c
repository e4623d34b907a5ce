// SPDX-License-Identifier: GPL-2.0-only
/* What the administrator does: policies, CPUs, VMs and parameters change. */
#include "sim_core.h"

static const struct lv_sched_ops *const policies[] = {
#define SIM_POLICY(name) &lv_sched_##name,
	LV_POLICIES(SIM_POLICY)
};

const struct lv_sched_ops *sim_policy(const char *name)
{
	u32 i;

	for (i = 0; i < ARRAY_SIZE(policies); i++)
		if (!strcmp(policies[i]->name, name))
			return policies[i];
	return NULL;
}

static void see_all(struct sim *sim)
{
	u32 i;

	for (i = 0; i < sim->nr_vcpus; i++)
		sim_see_state(&sim->vcpus[i]);
}

int sim_set_policy(struct sim *sim, const struct lv_sched_ops *ops)
{
	int err = lv_core_set_policy(sim_lock(sim), ops);

	see_all(sim);
	sim_unlock(sim);
	return err;
}

static void switches(struct sim *sim, struct sim_event *event)
{
	if (!sim_set_policy(sim,
			    policies[sim_random(sim, ARRAY_SIZE(policies))]))
		sim->nr_switches++;
	sim_at(sim, event, sim_soon(sim, sim->config.switch_every));
}

static void cpu_goes(struct sim_cpu *cpu)
{
	struct sim_vcpu *v = cpu->host_curr;

	if (lv_core_cpu_remove(&cpu->core, false))
		return;
	sim_cancel(cpu->sim, &cpu->timer);
	if (!v)
		return;
	sim_host_leave(v);
	sim_thread_off(v);
	sim_host_enter(v);
}

static void hotplug(struct sim *sim, struct sim_event *event)
{
	struct sim_cpu *cpu = &sim->cpus[sim_random(sim, sim->config.cpus)];

	sim_lock(sim);
	if (!cpu->core.pool)
		lv_core_cpu_add(&sim->pool, &cpu->core);
	else if (sim->pool.nr_cpus > 1)
		cpu_goes(cpu);
	sim_unlock(sim);
	sim_host_fill(sim);
	sim_at(sim, event, sim_soon(sim, sim->config.hotplug_every));
}

static void vm_goes(struct sim_vm *vm)
{
	u32 i;

	lv_core_vm_leave(&vm->core);
	for (i = 0; i < vm->config->vcpus; i++) {
		struct sim_vcpu *v = &vm->vcpus[i];

		sim_host_leave(v);
		sim_thread_off(v);
		v->thread = SIM_GONE;
		sim_cancel(v->sim, &v->arrives);
		sim_cancel(v->sim, &v->kicked);
		sim_see_state(v);
	}
}

static void vcpu_comes(struct sim_vcpu *v)
{
	if (!v->halted)
		return sim_at_gate(v, LV_WAKE_USER);
	v->thread = SIM_HALTED;
	sim_lock(v->sim);
	lv_core_stop(&v->core, LV_STOP_BLOCK);
	sim_unlock(v->sim);
}

static void moves(struct sim *sim, struct sim_event *event)
{
	struct sim_vm *vm = &sim->vms[sim_random(sim, sim->nr_vms)];
	bool came = false;
	u32 i;

	sim_lock(sim);
	if (vm->core.pool)
		vm_goes(vm);
	else
		came = !lv_core_vm_join(&sim->pool, &vm->core);
	sim_unlock(sim);
	for (i = 0; came && i < vm->config->vcpus; i++)
		vcpu_comes(&vm->vcpus[i]);
	sim_host_fill(sim);
	sim_at(sim, event, sim_soon(sim, sim->config.move_every));
}

static void changes(struct sim *sim, struct sim_event *event)
{
	struct sim_vm *vm = &sim->vms[sim_random(sim, sim->nr_vms)];
	struct lv_sched_params p = { .weight = 1 + sim_random(sim, 1024) };

	if (!sim_random(sim, 2))
		p.cap = 1 + sim_random(sim, 200);
	if (!sim_random(sim, 2)) {
		p.period_ns = LV_PERIOD_MIN + sim_random(sim, 100000000);
		p.budget_ns =
			p.period_ns / 10 + sim_random(sim, p.period_ns / 5);
	}
	p.group = sim_random(sim, 3);
	sim_lock(sim);
	if (vm->core.pool)
		lv_core_set_params(
			&vm->core,
			sim_random(sim, 2)
				? NULL
				: &vm->vcpus[sim_random(sim, vm->config->vcpus)]
					   .core,
			&p);
	sim_unlock(sim);
	sim_at(sim, event, sim_soon(sim, sim->config.change_every));
}

void sim_admin_init(struct sim *sim)
{
	const struct sim_config *c = &sim->config;

	sim->switches.fn = switches;
	sim->hotplug.fn = hotplug;
	sim->moves.fn = moves;
	sim->changes.fn = changes;
	if (c->switch_every)
		sim_at(sim, &sim->switches, sim_soon(sim, c->switch_every));
	if (c->hotplug_every)
		sim_at(sim, &sim->hotplug, sim_soon(sim, c->hotplug_every));
	if (c->move_every)
		sim_at(sim, &sim->moves, sim_soon(sim, c->move_every));
	if (c->change_every)
		sim_at(sim, &sim->changes, sim_soon(sim, c->change_every));
}
