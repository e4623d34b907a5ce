// SPDX-License-Identifier: GPL-2.0-only
/* A simulated pool: its lock, its timers, what is measured, beginning and end. */
#include "sim_core.h"

#define CHECK_EVERY 250000000ULL

/* ---- the pool's lock ---- */

struct lv_pool *sim_lock(struct sim *sim)
{
	if (sim->wasted_since)
		sim->wasted += sim->now - sim->wasted_since;
	sim->wasted_since = 0;
	sim->pool.now = sim->now;
	return &sim->pool;
}

void sim_unlock(struct sim *sim)
{
	struct lv_pool *pool = &sim->pool;

	if (lv_core_settle(pool)) {
		sim->thrown++;
		sim->fault = pool->fault;
	}
	if (pool->ops != &lv_sched_host && pool->nr_idle && pool->nr_ready)
		sim->wasted_since = sim->now;
	if (sim->look)
		sim->look(sim);
}

/* ---- timers ---- */

void lv_sched_set_cpu_timer(struct lv_sched_cpu *core, u64 at)
{
	struct sim_cpu *cpu = container_of(core, struct sim_cpu, core);

	if (at)
		sim_at(cpu->sim, &cpu->timer, at);
	else
		sim_cancel(cpu->sim, &cpu->timer);
}

void lv_sched_set_pool_timer(struct lv_pool *pool, u64 at)
{
	struct sim *sim = container_of(pool, struct sim, pool);

	if (at)
		sim_at(sim, &sim->pool_timer, at);
	else
		sim_cancel(sim, &sim->pool_timer);
}

static void cpu_timer(struct sim *sim, struct sim_event *event)
{
	struct sim_cpu *cpu = container_of(event, struct sim_cpu, timer);

	if (!cpu->core.pool)
		return;
	sim_lock(sim);
	lv_core_cpu_timer(&cpu->core);
	sim_unlock(sim);
}

static void pool_timer(struct sim *sim, struct sim_event *event)
{
	lv_core_pool_timer(sim_lock(sim));
	sim_unlock(sim);
}

static void check(struct sim *sim, struct sim_event *event)
{
	lv_core_check(sim_lock(sim));
	sim_unlock(sim);
	sim_at(sim, event, sim->now + CHECK_EVERY);
}

/* ---- what is measured as it happens ---- */

static bool vm_partial(const struct sim_vm *vm)
{
	return vm->running && vm->ready;
}

void sim_see_state(struct sim_vcpu *v)
{
	struct sim_vm *vm = v->vm;
	u64 now = v->sim->now;
	bool was = vm_partial(vm);

	vm->running -= v->seen == LV_SCHED_RUNNING;
	vm->ready -= v->seen == LV_SCHED_READY;
	v->seen = v->core.state;
	vm->running += v->seen == LV_SCHED_RUNNING;
	vm->ready += v->seen == LV_SCHED_READY;
	if (was == vm_partial(vm))
		return;
	if (was) {
		vm->partial += now - vm->partial_since;
		vm->partial_max = max(vm->partial_max, now - vm->partial_since);
	}
	vm->partial_since = now;
}

void lv_sched_trace(const struct lv_sched_vcpu *core, enum lv_sched_event event,
		    u64 arg)
{
	struct sim_vcpu *v = sim_vcpu_of((struct lv_sched_vcpu *)core);
	u64 now = v->sim->now;

	sim_see_state(v);
	if (event == LV_SCHED_EV_RUN) {
		v->sim->dispatches++;
		v->waited_max = max(v->waited_max, now - v->waits_since);
	} else {
		v->waits_since = now;
	}
}

/* How much more than its cap did a VM get in this window? */
static void window(struct sim *sim, struct sim_event *event)
{
	u32 i;

	sim_lock(sim);
	for (i = 0; i < sim->nr_vms; i++) {
		struct sim_vm *vm = &sim->vms[i];
		u64 ran = 0, may = SIM_WINDOW / 100 * vm->core.params.cap;
		struct lv_sched_vcpu *v;

		if (!vm->core.pool)
			continue;
		lv_for_each_vm_vcpu(v, &vm->core) {
			lv_sched_charge(v);
			ran += v->ran;
		}
		if (may && ran - vm->window_ran > may)
			vm->cap_excess =
				max(vm->cap_excess, ran - vm->window_ran - may);
		vm->window_ran = ran;
	}
	sim_unlock(sim);
	sim_at(sim, event, sim->now + SIM_WINDOW);
}

/* ---- a simulation begins and ends ---- */

static void init_vcpu(struct sim_vm *vm, struct sim_vcpu *v, u32 id)
{
	v->sim = vm->sim;
	v->vm = vm;
	v->core.id = id;
	v->core.out_at = 1;
	sim_thread_init(v);
	sim_guest_init(v);
	sim_host_init_vcpu(v);
}

static int init_vm(struct sim *sim, struct sim_vm *vm,
		   const struct sim_vm_config *c, u32 nr,
		   struct sim_vcpu *vcpus)
{
	struct lv_sched_params p = {
		.weight = c->weight,
		.cap = c->cap,
		.period_ns = c->period,
		.budget_ns = c->budget,
	};
	int err = 0;
	u32 i;

	vm->sim = sim;
	vm->config = c;
	vm->vcpus = vcpus;
	vm->core.id = vm - sim->vms;
	vm->core.params.weight = LV_WEIGHT_DEFAULT;
	snprintf(vm->name, sizeof(vm->name), c->count > 1 ? "%s-%u" : "%s",
		 c->name, nr);
	lv_core_vm_join(&sim->pool, &vm->core);
	for (i = 0; i < c->vcpus; i++) {
		init_vcpu(vm, &vcpus[i], i);
		lv_core_vcpu_join(&vm->core, &vcpus[i].core);
	}
	err = lv_core_set_params(&vm->core, NULL, &p);
	for (i = 0; i < c->vcpus && c->group && !err; i++) {
		p.group = i / c->group;
		err = lv_core_set_params(&vm->core, &vcpus[i].core, &p);
	}
	return err;
}

static void init_cpus(struct sim *sim)
{
	u32 i;

	for (i = 0; i < sim->config.cpus; i++) {
		struct sim_cpu *cpu = &sim->cpus[i];

		cpu->sim = sim;
		cpu->core.id = i;
		cpu->timer.fn = cpu_timer;
		lv_core_cpu_add(&sim->pool, &cpu->core);
		sim_host_init_cpu(cpu);
	}
}

static int init_vms(struct sim *sim)
{
	struct sim_vcpu *vcpus = sim->vcpus;
	struct sim_vm *vm = sim->vms;
	int err = 0;
	u32 i, j;

	for (i = 0; i < sim->config.nr_vms; i++) {
		const struct sim_vm_config *c = &sim->config.vms[i];

		for (j = 0; j < c->count && !err; j++) {
			err = init_vm(sim, vm++, c, j, vcpus);
			vcpus += c->vcpus;
		}
	}
	return err;
}

static const char *prepare(struct sim *sim)
{
	const struct lv_sched_ops *ops = sim_policy(sim->config.policy);
	u32 i;

	if (!ops)
		return "there is no such policy";
	if (init_vms(sim))
		return "the parameters of a VM are refused";
	if (sim_set_policy(sim, ops))
		return "the policy does not admit these VMs on these CPUs";
	for (i = 0; i < sim->nr_vcpus; i++)
		sim_at_gate(&sim->vcpus[i], LV_WAKE_USER);
	return NULL;
}

struct sim *sim_new(const struct sim_config *config, const char **error)
{
	struct sim *sim = calloc(1, sizeof(*sim));
	u32 i;

	if (!sim)
		abort();
	sim->config = *config;
	sim->random = config->seed * 0x9e3779b97f4a7c15ULL + 1;
	for (i = 0; i < config->nr_vms; i++) {
		sim->nr_vms += config->vms[i].count;
		sim->nr_vcpus += config->vms[i].count * config->vms[i].vcpus;
	}
	sim->cpus = calloc(config->cpus, sizeof(*sim->cpus));
	sim->vms = calloc(sim->nr_vms + 1, sizeof(*sim->vms));
	sim->vcpus = calloc(sim->nr_vcpus + 1, sizeof(*sim->vcpus));
	if (!sim->cpus || !sim->vms || !sim->vcpus)
		abort();
	sim->now = SIM_START;
	sim->pool.now = sim->now;
	lv_core_pool_init(&sim->pool);
	sim->pool.slice = config->slice;
	init_cpus(sim);
	sim->pool_timer.fn = pool_timer;
	sim->check.fn = check;
	sim->window.fn = window;
	sim_at(sim, &sim->check, CHECK_EVERY);
	sim_at(sim, &sim->window, sim->now + SIM_WINDOW);
	sim_admin_init(sim);
	*error = prepare(sim);
	if (!*error)
		return sim;
	sim_free(sim);
	return NULL;
}

void sim_run(struct sim *sim, u64 until)
{
	struct sim_event *event;

	while (sim->nr_events && sim->heap[1]->at <= until) {
		event = sim->heap[1];
		sim_cancel(sim, event);
		sim->now = event->at;
		sim->events++;
		event->fn(sim, event);
	}
	sim->now = until;
}

void sim_free(struct sim *sim)
{
	u32 i;

	for (i = 0; i < sim->nr_vms; i++)
		free(sim->vms[i].latency.us10);
	free(sim->heap);
	free(sim->cpus);
	free(sim->vms);
	free(sim->vcpus);
	free(sim);
}
