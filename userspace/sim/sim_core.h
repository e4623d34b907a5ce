/* SPDX-License-Identifier: GPL-2.0-only */
/* What is inside of the simulator, for its own files and for tests. */
#ifndef LABVISOR_SIM_CORE_H
#define LABVISOR_SIM_CORE_H

#include "sched/core.h"
#include "sched/policies.h"
#include "sim.h"

/* Something that will happen. @place is its place in the heap, 0: it will not. */
struct sim_event {
	u64 at, seq;
	u32 place;
	void (*fn)(struct sim *sim, struct sim_event *event);
};

/**
 * enum sim_thread - where the thread of a vCPU is
 * @SIM_AT_GATE: it waits for a CPU
 * @SIM_COMING: it was given one and will be there soon
 * @SIM_IN_GUEST: there, if it executes; else the host does not let it
 * @SIM_HALTED: the guest halts
 * @SIM_IN_USER: in user space
 * @SIM_HELD: throttled, stopped, or asleep in the kernel
 * @SIM_GONE: its VM is not in the pool
 */
enum sim_thread {
	SIM_AT_GATE,
	SIM_COMING,
	SIM_IN_GUEST,
	SIM_HALTED,
	SIM_IN_USER,
	SIM_HELD,
	SIM_GONE,
};

struct sim_samples {
	u32 *us10; /* tenths of microseconds */
	u32 nr, room;
};

struct sim_vcpu {
	struct lv_sched_vcpu core;
	struct sim *sim;
	struct sim_vm *vm;

	/* its thread */
	enum sim_thread thread;
	struct sim_event arrives; /* at its CPU, back from where it was */
	struct sim_event kicked;
	struct sim_event held;
	u64 held_until;
	bool executes;
	u64 executes_since;
	u64 executed; /* ns of guest code, all in all */

	/* its guest */
	struct sim_event done; /* with what it does */
	struct sim_event timer; /* wakes it up */
	u8 timer_why; /* enum lv_wake */
	u64 left; /* of what it does */
	u64 next_user;
	bool halted, signalled;
	bool spins;
	u64 woken_at; /* 0: it runs since */
	u32 phase;
	u64 job_at, job_left; /* SIM_PERIODIC */
	u32 ticket;

	/* under policy "host" */
	bool host_queued;
	struct sim_vcpu *host_next;

	/* measured */
	u8 seen; /* its state, as counted in the VM */
	u64 waits_since;
	u64 waited_max;
};

struct sim_vm {
	struct lv_sched_vm core;
	struct sim *sim;
	const struct sim_vm_config *config;
	char name[2 * SIM_NAME];
	struct sim_vcpu *vcpus;

	u32 lock_next, lock_now; /* tickets */

	/* measured */
	u32 running, ready;
	u64 partial_since, partial, partial_max; /* some run, and some wait */
	u64 rounds; /* of what it does: replies, locks taken, jobs */
	u64 missed;
	u64 late_max;
	struct sim_samples latency;
	u64 window_ran, cap_excess; /* of its cap, ns, in the worst window */
};

struct sim_cpu {
	struct lv_sched_cpu core;
	struct sim *sim;
	struct sim_event timer;
	struct sim_event steal;
	u64 stolen_until;
	struct sim_vcpu *host_curr; /* under policy "host" */
	struct sim_event host_slice;
};

struct sim {
	struct lv_pool pool;
	struct sim_config config;
	u64 now, random;
	struct sim_cpu *cpus;
	struct sim_vm *vms;
	struct sim_vcpu *vcpus;
	u32 nr_vms, nr_vcpus;

	struct sim_event **heap;
	u32 nr_events, room;
	u64 seq;
	struct sim_event pool_timer, check, window, switches, hotplug, moves,
		changes;

	struct sim_vcpu *host_first, *host_last;

	/* measured */
	u64 wasted, wasted_since; /* a CPU was idle, and a vCPU waited */
	u64 events, dispatches, nr_switches;
	u32 thrown;
	const char *fault;

	/* a test looks each time that the pool's lock is dropped */
	void (*look)(struct sim *sim);
	void *look_data;
};

#define SIM_WINDOW 100000000ULL

static inline struct sim_vcpu *sim_vcpu_of(struct lv_sched_vcpu *v)
{
	return container_of(v, struct sim_vcpu, core);
}

/* ---- sim.c ---- */

struct lv_pool *sim_lock(struct sim *sim);
void sim_unlock(struct sim *sim);
/* The state of a vCPU may have changed. */
void sim_see_state(struct sim_vcpu *v);

/* ---- event.c ---- */

void sim_at(struct sim *sim, struct sim_event *event, u64 at);
void sim_cancel(struct sim *sim, struct sim_event *event);
u64 sim_random(struct sim *sim, u64 below);
u64 sim_soon(struct sim *sim, u64 mean);

/* ---- thread.c ---- */

void sim_thread_init(struct sim_vcpu *v);
void sim_thread_off(struct sim_vcpu *v);
void sim_execute(struct sim_vcpu *v);
void sim_at_gate(struct sim_vcpu *v, enum lv_wake why);
void sim_come(struct sim_vcpu *v);
void sim_arrives(struct sim *sim, struct sim_event *event);
void sim_wake(struct sim_vcpu *v, enum lv_wake why);
void sim_recheck_spin(struct sim_vcpu *v);

/* ---- host.c ---- */

void sim_host_init_cpu(struct sim_cpu *cpu);
void sim_host_init_vcpu(struct sim_vcpu *v);
/* Under policy "host" a vCPU wants a CPU, or none; and whoever can have one. */
void sim_host_enter(struct sim_vcpu *v);
void sim_host_leave(struct sim_vcpu *v);
void sim_host_fill(struct sim *sim);

/* ---- admin.c ---- */

void sim_admin_init(struct sim *sim);
const struct lv_sched_ops *sim_policy(const char *name);
int sim_set_policy(struct sim *sim, const struct lv_sched_ops *ops);

/* ---- guest.c ---- */

/**
 * struct sim_action - what a guest does next
 * @what: it runs for @ns; halts, for @ns if not 0, else until it is woken; yields;
 *	goes to user space for @ns; spins until its ticket is served
 * @why: what wakes it up after @ns
 */
struct sim_action {
	enum {
		SIM_RUN,
		SIM_HALT,
		SIM_DO_YIELD,
		SIM_USER,
		SIM_DO_SPIN
	} what;
	u64 ns;
	enum lv_wake why;
};

void sim_guest_init(struct sim_vcpu *v);
struct sim_action sim_guest_next(struct sim_vcpu *v);
bool sim_guest_served(const struct sim_vcpu *v);

/* ---- result.c ---- */

void sim_sample(struct sim_samples *samples, u64 ns);
u64 sim_percentile(struct sim_samples *samples, u32 permille);
u64 sim_vm_time(struct sim_vm *vm, enum lv_sched_time time);
double sim_jain(struct sim *sim);

#endif
