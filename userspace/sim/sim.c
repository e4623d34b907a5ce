// SPDX-License-Identifier: GPL-2.0-only
/*
 * Virtual time: CPUs, the threads of vCPUs, and what the host does to them.
 *
 * The hooks of the core only make events, because the pool's lock is held there;
 * all else happens when those events come.
 */
#include "sim_core.h"

#define CHECK_EVERY 250000000ULL
#define HOST_SLICE 3000000ULL

/* ---- events: a binary heap, from place 1 on ---- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void put(struct sim *sim, u32 place, struct sim_event *event)
{
	sim->heap[place] = event;
	event->place = place;
}

static void rise(struct sim *sim, struct sim_event *event)
{
	u32 i = event->place;

	for (; i > 1 && before(event, sim->heap[i / 2]); i /= 2)
		put(sim, i, sim->heap[i / 2]);
	put(sim, i, event);
}

static void sink(struct sim *sim, struct sim_event *event)
{
	u32 i = event->place, child;

	for (; (child = 2 * i) <= sim->nr_events; i = child) {
		if (child < sim->nr_events &&
		    before(sim->heap[child + 1], sim->heap[child]))
			child++;
		if (!before(sim->heap[child], event))
			break;
		put(sim, i, sim->heap[child]);
	}
	put(sim, i, event);
}

void sim_cancel(struct sim *sim, struct sim_event *event)
{
	struct sim_event *last;
	u32 place = event->place;

	if (!place)
		return;
	event->place = 0;
	last = sim->heap[sim->nr_events--];
	if (last == event)
		return;
	put(sim, place, last);
	rise(sim, last);
	sink(sim, last);
}

void sim_at(struct sim *sim, struct sim_event *event, u64 at)
{
	sim_cancel(sim, event);
	if (sim->nr_events + 1 >= sim->room) {
		sim->room = 2 * sim->room + 64;
		sim->heap = realloc(sim->heap, sim->room * sizeof(*sim->heap));
		if (!sim->heap)
			abort();
	}
	event->at = max(at, sim->now);
	event->seq = ++sim->seq;
	put(sim, ++sim->nr_events, event);
	rise(sim, event);
}

/* xorshift64*: Vigna, An experimental exploration of Marsaglia's generators, 2016 */
u64 sim_random(struct sim *sim, u64 below)
{
	u64 x = sim->random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	sim->random = x;
	return below ? (x * 0x2545f4914f6cdd1dULL >> 11) % below : 0;
}

/* Some time around @mean. */
static u64 soon(struct sim *sim, u64 mean)
{
	return sim->now + mean / 2 + sim_random(sim, mean + 1);
}

/* ---- the pool's lock ---- */

static struct lv_pool *lock(struct sim *sim)
{
	if (sim->wasted_since)
		sim->wasted += sim->now - sim->wasted_since;
	sim->wasted_since = 0;
	sim->pool.now = sim->now;
	return &sim->pool;
}

static void unlock(struct sim *sim)
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

/* ---- what is measured as it happens ---- */

static bool vm_partial(const struct sim_vm *vm)
{
	return vm->running && vm->ready;
}

static void see_state(struct sim_vcpu *v)
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

static void see_all(struct sim *sim)
{
	u32 i;

	for (i = 0; i < sim->nr_vcpus; i++)
		see_state(&sim->vcpus[i]);
}

void lv_sched_trace(const struct lv_sched_vcpu *core, enum lv_sched_event event,
		    u64 arg)
{
	struct sim_vcpu *v = sim_vcpu_of((struct lv_sched_vcpu *)core);
	u64 now = v->sim->now;

	see_state(v);
	if (event == LV_SCHED_EV_RUN) {
		v->sim->dispatches++;
		v->waited_max = max(v->waited_max, now - v->waits_since);
	} else {
		v->waits_since = now;
	}
}

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

static void thread_off(struct sim_vcpu *v)
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

static void execute(struct sim_vcpu *v)
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

static void host_leave(struct sim_vcpu *v)
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

static void host_fill(struct sim *sim)
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
		execute(v);
	}
}

static void host_enter(struct sim_vcpu *v)
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
	host_fill(sim);
}

static void host_slice(struct sim *sim, struct sim_event *event)
{
	struct sim_cpu *cpu = container_of(event, struct sim_cpu, host_slice);
	struct sim_vcpu *v = cpu->host_curr;

	cpu->host_curr = NULL;
	if (v && v->core.state == LV_SCHED_FREE) {
		thread_off(v);
		host_enter(v);
	}
	host_fill(sim);
}

/* ---- the gate ---- */

static void come(struct sim_vcpu *v)
{
	struct sim *sim = v->sim;
	struct sim_cpu *cpu = container_of(v->core.cpu, struct sim_cpu, core);

	v->thread = SIM_COMING;
	sim_at(sim, &v->arrives,
	       max(sim->now + sim->config.wake,
		   max(cpu->stolen_until, v->held_until)));
}

/* The thread is in the kernel, and wants to enter the guest. */
static void at_gate(struct sim_vcpu *v, enum lv_wake why)
{
	struct lv_sched_vcpu *c = &v->core;

	thread_off(v);
	v->thread = SIM_AT_GATE;
	lock(v->sim);
	if (c->state == LV_SCHED_RUNNING && c->cpu->resched)
		lv_core_stop(c, c->cpu->resched);
	if (c->state == LV_SCHED_OUT)
		lv_core_ready(c, why);
	unlock(v->sim);
	if (c->state == LV_SCHED_FREE)
		host_enter(v);
	else if (c->state == LV_SCHED_RUNNING && v->thread == SIM_AT_GATE)
		come(v);
}

/* It is where it should be: does it still have the CPU? */
static void arrive(struct sim_vcpu *v, enum lv_wake why)
{
	if (v->core.state != LV_SCHED_RUNNING)
		return at_gate(v, why);
	thread_on(v);
	lock(v->sim);
	lv_core_arrive(&v->core);
	unlock(v->sim);
	if (v->core.state == LV_SCHED_RUNNING && v->core.pass)
		execute(v);
	else
		at_gate(v, why);
}

static void arrives(struct sim *sim, struct sim_event *event)
{
	struct sim_vcpu *v = container_of(event, struct sim_vcpu, arrives);

	if (v->thread == SIM_IN_USER)
		arrive(v, LV_WAKE_USER);
	else if (v->thread != SIM_HELD)
		arrive(v, LV_WAKE_HOST);
	else if (v->core.state != LV_SCHED_RUNNING)
		at_gate(v, LV_WAKE_HOST);
	else if (v->core.absent == LV_IN_USER)
		arrive(v, LV_WAKE_USER);
	else {
		thread_on(v);
		lock(sim);
		lv_core_absent(&v->core, LV_HERE);
		unlock(sim);
		if (v->core.state == LV_SCHED_RUNNING && v->core.pass)
			execute(v);
		else
			at_gate(v, LV_WAKE_HOST);
	}
}

static void kicked(struct sim *sim, struct sim_event *event)
{
	struct sim_vcpu *v = container_of(event, struct sim_vcpu, kicked);
	struct lv_sched_vcpu *c = &v->core;

	if (v->thread == SIM_AT_GATE) {
		if (c->state == LV_SCHED_OUT)
			at_gate(v, LV_WAKE_USER);
	} else if (v->thread == SIM_HALTED) {
		if (c->state != LV_SCHED_OUT || c->blocked)
			return;
		lock(sim);
		lv_core_stop(c, LV_STOP_BLOCK);
		unlock(sim);
	} else if (v->thread == SIM_IN_GUEST) {
		pause_guest(v);
		if (c->state == LV_SCHED_RUNNING && c->absent == LV_HERE &&
		    c->pass)
			execute(v);
		else
			at_gate(v, LV_WAKE_HOST);
	}
}

void lv_sched_grant(struct lv_sched_vcpu *c)
{
	struct sim_vcpu *v = sim_vcpu_of(c);

	if (v->thread != SIM_AT_GATE && v->thread != SIM_COMING &&
	    (v->thread != SIM_HALTED || v->halted))
		return;
	if (c->state == LV_SCHED_RUNNING)
		return come(v);
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
		host_leave(v);
		thread_off(v);
	}
	if (c->cpu)
		at = max(at, container_of(c->cpu, struct sim_cpu, core)
				     ->stolen_until);
	sim_at(sim, &v->kicked, at);
}

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
	lock(sim);
	lv_core_cpu_timer(&cpu->core);
	unlock(sim);
}

static void pool_timer(struct sim *sim, struct sim_event *event)
{
	lv_core_pool_timer(lock(sim));
	unlock(sim);
}

static void check(struct sim *sim, struct sim_event *event)
{
	lv_core_check(lock(sim));
	unlock(sim);
	sim_at(sim, event, sim->now + CHECK_EVERY);
}

/* ---- the guest ---- */

static void guest_halts(struct sim_vcpu *v, const struct sim_action *action)
{
	struct sim *sim = v->sim;

	v->halted = true;
	v->thread = SIM_HALTED;
	thread_off(v);
	if (action->ns)
		sim_at(sim, &v->timer, sim->now + action->ns);
	if (v->core.state == LV_SCHED_FREE) {
		host_leave(v);
		host_fill(sim);
		return;
	}
	lock(sim);
	lv_core_stop(&v->core, LV_STOP_BLOCK);
	unlock(sim);
}

static void guest_to_user(struct sim_vcpu *v, u64 ns)
{
	struct sim *sim = v->sim;

	pause_guest(v);
	v->thread = SIM_IN_USER;
	sim_at(sim, &v->arrives, sim->now + ns);
	if (v->core.state == LV_SCHED_FREE) {
		host_leave(v);
		host_fill(sim);
		return;
	}
	lock(sim);
	lv_core_absent(&v->core, LV_IN_USER);
	unlock(sim);
}

static void guest_yields(struct sim_vcpu *v)
{
	struct sim *sim = v->sim;

	pause_guest(v);
	if (v->core.state == LV_SCHED_FREE) {
		host_leave(v);
		thread_off(v);
		return host_enter(v);
	}
	lock(sim);
	lv_core_yield(&v->core, NULL);
	unlock(sim);
	if (v->core.state == LV_SCHED_RUNNING && v->core.pass)
		execute(v);
	else
		at_gate(v, LV_WAKE_HOST);
}

static void guest_goes_on(struct sim_vcpu *v)
{
	struct sim_action action = sim_guest_next(v);

	if (action.what == SIM_HALT && v->signalled) {
		v->signalled = false;
		v->left = 0;
		return execute(v);
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
		return execute(v);
	default:
		v->left = action.ns;
		return execute(v);
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
		return at_gate(v, LV_WAKE_OTHER);
	v->thread = SIM_AT_GATE;
	if (c->state == LV_SCHED_FREE)
		return host_enter(v);
	lock(sim);
	lv_core_ready(c, why);
	unlock(sim);
}

static void guest_timer(struct sim *sim, struct sim_event *event)
{
	struct sim_vcpu *v = container_of(event, struct sim_vcpu, timer);

	sim_wake(v, v->vm->config->does == SIM_PERIODIC ? LV_WAKE_TIMER
							: LV_WAKE_IRQ);
}

/* ---- the host ---- */

static void host_takes(struct sim_vcpu *v, enum lv_absent where)
{
	thread_off(v);
	if (v->core.state != LV_SCHED_RUNNING)
		return;
	lock(v->sim);
	lv_core_absent(&v->core, where);
	unlock(v->sim);
}

static void steal(struct sim *sim, struct sim_event *event)
{
	struct sim_cpu *cpu = container_of(event, struct sim_cpu, steal);
	struct sim_vcpu *v = cpu->core.curr ? sim_vcpu_of(cpu->core.curr)
					    : NULL;

	if (cpu->stolen_until) {
		cpu->stolen_until = 0;
		sim_at(sim, event, soon(sim, sim->config.steal_every));
		if (!v || v->thread != SIM_IN_GUEST || v->executes)
			return;
		v->thread = SIM_HELD;
		return arrives(sim, &v->arrives);
	}
	cpu->stolen_until = soon(sim, sim->config.steal_for);
	sim_at(sim, event, cpu->stolen_until);
	if (v && v->thread == SIM_IN_GUEST)
		host_takes(v, LV_PREEMPTED);
	else if (v && v->thread == SIM_COMING)
		come(v);
}

static void held(struct sim *sim, struct sim_event *event)
{
	struct sim_vcpu *v = container_of(event, struct sim_vcpu, held);
	const struct sim_vm_config *c = v->vm->config;

	v->held_until = soon(sim, c->held_for);
	sim_at(sim, event, v->held_until + soon(sim, c->held_every) - sim->now);
	if (v->thread == SIM_COMING && v->core.state == LV_SCHED_RUNNING) {
		come(v);
	} else if (v->thread == SIM_IN_GUEST) {
		bool free = v->core.state == LV_SCHED_FREE;

		v->thread = SIM_HELD;
		if (free)
			host_leave(v);
		host_takes(v, sim_random(sim, 2) ? LV_ASLEEP : LV_PREEMPTED);
		sim_at(sim, &v->arrives, v->held_until);
		if (free)
			host_fill(sim);
	}
}

/* ---- what the administrator does ---- */

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

int sim_set_policy(struct sim *sim, const struct lv_sched_ops *ops)
{
	int err = lv_core_set_policy(lock(sim), ops);

	see_all(sim);
	unlock(sim);
	return err;
}

static void switches(struct sim *sim, struct sim_event *event)
{
	if (!sim_set_policy(sim,
			    policies[sim_random(sim, ARRAY_SIZE(policies))]))
		sim->nr_switches++;
	sim_at(sim, event, soon(sim, sim->config.switch_every));
}

static void cpu_goes(struct sim_cpu *cpu)
{
	struct sim_vcpu *v = cpu->host_curr;

	if (lv_core_cpu_remove(&cpu->core, false))
		return;
	sim_cancel(cpu->sim, &cpu->timer);
	if (!v)
		return;
	host_leave(v);
	thread_off(v);
	host_enter(v);
}

static void hotplug(struct sim *sim, struct sim_event *event)
{
	struct sim_cpu *cpu = &sim->cpus[sim_random(sim, sim->config.cpus)];

	lock(sim);
	if (!cpu->core.pool)
		lv_core_cpu_add(&sim->pool, &cpu->core);
	else if (sim->pool.nr_cpus > 1)
		cpu_goes(cpu);
	unlock(sim);
	host_fill(sim);
	sim_at(sim, event, soon(sim, sim->config.hotplug_every));
}

static void vm_goes(struct sim_vm *vm)
{
	u32 i;

	lv_core_vm_leave(&vm->core);
	for (i = 0; i < vm->config->vcpus; i++) {
		struct sim_vcpu *v = &vm->vcpus[i];

		host_leave(v);
		thread_off(v);
		v->thread = SIM_GONE;
		sim_cancel(v->sim, &v->arrives);
		sim_cancel(v->sim, &v->kicked);
		see_state(v);
	}
}

static void vcpu_comes(struct sim_vcpu *v)
{
	if (!v->halted)
		return at_gate(v, LV_WAKE_USER);
	v->thread = SIM_HALTED;
	lock(v->sim);
	lv_core_stop(&v->core, LV_STOP_BLOCK);
	unlock(v->sim);
}

static void moves(struct sim *sim, struct sim_event *event)
{
	struct sim_vm *vm = &sim->vms[sim_random(sim, sim->nr_vms)];
	bool came = false;
	u32 i;

	lock(sim);
	if (vm->core.pool)
		vm_goes(vm);
	else
		came = !lv_core_vm_join(&sim->pool, &vm->core);
	unlock(sim);
	for (i = 0; came && i < vm->config->vcpus; i++)
		vcpu_comes(&vm->vcpus[i]);
	host_fill(sim);
	sim_at(sim, event, soon(sim, sim->config.move_every));
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
	lock(sim);
	if (vm->core.pool)
		lv_core_set_params(
			&vm->core,
			sim_random(sim, 2)
				? NULL
				: &vm->vcpus[sim_random(sim, vm->config->vcpus)]
					   .core,
			&p);
	unlock(sim);
	sim_at(sim, event, soon(sim, sim->config.change_every));
}

/* How much more than its cap did a VM get in this window? */
static void window(struct sim *sim, struct sim_event *event)
{
	u32 i;

	lock(sim);
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
	unlock(sim);
	sim_at(sim, event, sim->now + SIM_WINDOW);
}

/* ---- a simulation begins and ends ---- */

static void init_vcpu(struct sim_vm *vm, struct sim_vcpu *v, u32 id)
{
	const struct sim_vm_config *c = vm->config;

	v->sim = vm->sim;
	v->vm = vm;
	v->core.id = id;
	v->arrives.fn = arrives;
	v->kicked.fn = kicked;
	v->held.fn = held;
	v->done.fn = done;
	v->timer.fn = guest_timer;
	v->core.out_at = 1;
	sim_guest_init(v);
	if (c->held_every)
		sim_at(vm->sim, &v->held, soon(vm->sim, c->held_every));
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

static void init_events(struct sim *sim)
{
	const struct sim_config *c = &sim->config;

	sim->pool_timer.fn = pool_timer;
	sim->check.fn = check;
	sim->window.fn = window;
	sim->switches.fn = switches;
	sim->hotplug.fn = hotplug;
	sim->moves.fn = moves;
	sim->changes.fn = changes;
	sim_at(sim, &sim->check, CHECK_EVERY);
	sim_at(sim, &sim->window, sim->now + SIM_WINDOW);
	if (c->switch_every)
		sim_at(sim, &sim->switches, soon(sim, c->switch_every));
	if (c->hotplug_every)
		sim_at(sim, &sim->hotplug, soon(sim, c->hotplug_every));
	if (c->move_every)
		sim_at(sim, &sim->moves, soon(sim, c->move_every));
	if (c->change_every)
		sim_at(sim, &sim->changes, soon(sim, c->change_every));
}

static void init_cpus(struct sim *sim)
{
	u32 i;

	for (i = 0; i < sim->config.cpus; i++) {
		struct sim_cpu *cpu = &sim->cpus[i];

		cpu->sim = sim;
		cpu->core.id = i;
		cpu->timer.fn = cpu_timer;
		cpu->steal.fn = steal;
		cpu->host_slice.fn = host_slice;
		lv_core_cpu_add(&sim->pool, &cpu->core);
		if (sim->config.steal_every)
			sim_at(sim, &cpu->steal,
			       soon(sim, sim->config.steal_every));
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
		at_gate(&sim->vcpus[i], LV_WAKE_USER);
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
	init_events(sim);
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
