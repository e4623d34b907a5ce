/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * vCPU scheduling: what a policy sees and may call.
 *
 * A pool is a set of host CPUs, a policy and the VMs put into it. The core
 * (core.c) knows which vCPU is runnable and which has a CPU; the policy says
 * who comes next, where and for how long. Nothing here calls the kernel, so
 * that the same policy runs in the module and in the simulator.
 *
 *            wake()                     a CPU is free: pick()
 *     OUT ------------> READY  --------------------------------> RUNNING
 *      ^                 | ^       stop(SLICE, PREEMPT, YIELD)      |
 *      |<----------------+ +----------------------------------------+
 *      +------------------------------------------------------------+
 *                    stop(BLOCK, USER, HOST, LEAVE)
 *
 * Most policies only say in which order: they set @key (the smallest goes
 * first), @slice and @home of a vCPU in wake() and stop(), and leave the rest
 * to the core. One that wants more brings a pick() and calls lv_sched_choose().
 *
 * Locking: every op, and every function below, runs with the pool's lock held
 * and interrupts off; none may sleep, allocate, or run long. A policy touches
 * what belongs to the pool in its argument only. It writes the fields tagged
 * "policy" and reads the rest. All times are nanoseconds.
 */
#ifndef LABVISOR_SCHED_H
#define LABVISOR_SCHED_H

#include "../pure.h"

#define LV_SCHED_NAME 16
#define LV_SCHED_PRIV 8 /* words that a policy has in each object */

/* A slice may not be shorter, and need not end. */
#define LV_SLICE_MIN 50000ULL
#define LV_SLICE_DEFAULT 10000000ULL
#define LV_SLICE_FOREVER (~0ULL)

#define LV_WEIGHT_MIN 1
#define LV_WEIGHT_DEFAULT 256
#define LV_WEIGHT_MAX 65535
#define LV_CAP_MAX 25500 /* percent of one CPU: the VM of 255 vCPUs */
#define LV_PERIOD_MIN 500000ULL
#define LV_PERIOD_MAX 10000000000ULL

/**
 * enum lv_sched_state - where a vCPU stands
 * @LV_SCHED_FREE: not scheduled by us: the policy is "host"
 * @LV_SCHED_OUT: not runnable: halted, in user space, or held up by the host
 * @LV_SCHED_READY: it wants a CPU
 * @LV_SCHED_RUNNING: it has one, although its thread may be on the way there
 */
enum lv_sched_state {
	LV_SCHED_FREE,
	LV_SCHED_OUT,
	LV_SCHED_READY,
	LV_SCHED_RUNNING,
};

/**
 * enum lv_wake - why a vCPU became runnable
 * @LV_WAKE_OTHER: none of the below
 * @LV_WAKE_IRQ: an interrupt of a device
 * @LV_WAKE_TIMER: its local APIC timer
 * @LV_WAKE_IPI: another vCPU sent an interrupt, INIT or SIPI
 * @LV_WAKE_UNHALT: another vCPU kicked it (paravirtual spinlock)
 * @LV_WAKE_USER: it comes back from user space, or runs for the first time
 * @LV_WAKE_HOST: the host lets its thread run again
 * @LV_WAKE_SWITCH: the policy is new, the vCPU was runnable before
 * @LV_NR_WAKES: number of causes
 */
enum lv_wake {
	LV_WAKE_OTHER,
	LV_WAKE_IRQ,
	LV_WAKE_TIMER,
	LV_WAKE_IPI,
	LV_WAKE_UNHALT,
	LV_WAKE_USER,
	LV_WAKE_HOST,
	LV_WAKE_SWITCH,
	LV_NR_WAKES,
};

/**
 * enum lv_stop - why a vCPU lost its CPU
 * @LV_STOP_SLICE: its slice is over; it is READY
 * @LV_STOP_PREEMPT: another one or the policy wants the CPU; it is READY
 * @LV_STOP_YIELD: it spins (PAUSE loop) or yields to another; it is READY
 * @LV_STOP_BLOCK: it halted; it is OUT, as after all below
 * @LV_STOP_USER: it is in user space for too long while others wait
 * @LV_STOP_HOST: its thread sleeps, or the host does not let it run
 * @LV_STOP_LEAVE: it leaves the pool, or its thread takes a signal
 * @LV_NR_STOPS: number of causes, with 0, which is none
 */
enum lv_stop {
	LV_STOP_SLICE = 1,
	LV_STOP_PREEMPT,
	LV_STOP_YIELD,
	LV_STOP_BLOCK,
	LV_STOP_USER,
	LV_STOP_HOST,
	LV_STOP_LEAVE,
	LV_NR_STOPS,
};

/**
 * enum lv_sched_time - where the time of a vCPU goes
 * @LV_TIME_RUN: in the guest, or in the kernel for it
 * @LV_TIME_STEAL: it has a CPU of the pool, but the host runs something else
 * @LV_TIME_AWAY: it has a CPU and its thread is in user space
 * @LV_TIME_READY: waiting for a CPU
 * @LV_TIME_PARKED: runnable, but the policy holds it back (cap, budget, gang)
 * @LV_TIME_BLOCKED: halted
 * @LV_TIME_OUT: in user space, or held up by the host, without a CPU
 * @LV_NR_TIMES: number of buckets
 */
enum lv_sched_time {
	LV_TIME_RUN,
	LV_TIME_STEAL,
	LV_TIME_AWAY,
	LV_TIME_READY,
	LV_TIME_PARKED,
	LV_TIME_BLOCKED,
	LV_TIME_OUT,
	LV_NR_TIMES,
};

/**
 * enum lv_absent - where the thread of a RUNNING vCPU is, if not here
 * @LV_HERE: on its CPU, as far as we know
 * @LV_COMING: woken, not yet arrived
 * @LV_IN_USER: in user space
 * @LV_ASLEEP: it sleeps in the kernel: a page is fetched, a mutex is taken
 * @LV_PREEMPTED: it could run, but the host runs something else
 */
enum lv_absent {
	LV_HERE,
	LV_COMING,
	LV_IN_USER,
	LV_ASLEEP,
	LV_PREEMPTED,
};

/**
 * struct lv_sched_params - what the administrator asks for
 * @weight: share of the pool, against that of other VMs; of a VM
 * @cap: at most so many percent of one CPU, 0: no limit; of a VM
 * @group: vCPUs of a VM with the same number belong together
 * @period_ns: of a deadline, 0: none
 * @budget_ns: CPU time that the vCPU gets in each period
 */
struct lv_sched_params {
	u32 weight;
	u32 cap;
	u32 group;
	u64 period_ns;
	u64 budget_ns;
};

struct lv_pool;
struct lv_sched_cpu;
struct lv_sched_vm;

/* Wake-up latencies: one count per power of two of microseconds. */
#define LV_SCHED_LATENCIES 24

/**
 * struct lv_sched_vcpu - a vCPU as a policy sees it
 * @vm: the VM that it belongs to
 * @pool: the VM's pool
 * @next: the next vCPU of the VM
 * @cpu: the CPU that it has, or had last; NULL before the first time
 * @id: its number in the VM, the APIC ID
 * @state: enum lv_sched_state
 * @parked: policy holds it back, see lv_sched_park()
 * @key: policy: the smallest goes first, equals in the order in which they came
 * @slice: policy: how long it may run when it is picked without a choice
 * @home: policy: the only CPU that it may run on, or NULL
 * @params: @period_ns and @budget_ns of this vCPU; the rest is the VM's
 * @priv: policy: its own data; 0 at vcpu_join()
 * @scratch: policy: for admit(), which may not touch @priv
 * @woken_by: enum lv_wake, the last one
 * @stopped_by: enum lv_stop, the last one
 * @exit_reason: of the exit before the last stop (enum lv_exit_reason)
 * @since: when it came into its state
 * @ran: CPU time that it was charged for since it joined the pool
 *
 * The rest belongs to the core.
 */
struct lv_sched_vcpu {
	struct lv_sched_vm *vm;
	struct lv_pool *pool;
	struct lv_sched_vcpu *next;
	struct lv_sched_cpu *cpu;
	u32 id;
	u8 state;
	bool parked;
	u64 key;
	u64 slice;
	struct lv_sched_cpu *home;
	struct lv_sched_params params;
	u64 priv[LV_SCHED_PRIV];
	u64 scratch;
	u8 woken_by;
	u8 stopped_by;
	u8 exit_reason;
	u64 since;
	u64 ran;

	/* private: the core's */
	u8 absent; /* enum lv_absent, while RUNNING */
	bool blocked; /* OUT because it halted: a kick makes it READY */
	bool pass; /* may enter the guest; written under the lock, read without */
	bool pool_hears; /* its policy has irq() or ipi(); read without the lock */
	bool wake_pending; /* READY by a wake-up: its latency counts */
	u64 absent_since;
	u64 woken_at;
	struct lv_sched_params old_params; /* while a change is tried */
	u64 stolen; /* host: ns that its thread was not running, WRITE_ONCE() */
	u64 out_at; /* host: not running since, or 0; WRITE_ONCE() */
	struct lv_ready_queue *queue; /* where it is: pool's or CPU's, or NULL */
	u64 rank; /* in it: the key, or when it is released */
	u64 seq; /* order among equal ranks */
	struct lv_sched_vcpu *child, *sibling, **link;
	u64 accounted; /* when @time and @ran were brought up to date */
	u64 stolen_seen; /* what @stolen was then */
	u64 time[LV_NR_TIMES];
	u64 dispatches, migrations;
	u64 wakes[LV_NR_WAKES], stops[LV_NR_STOPS];
	u64 latency[LV_SCHED_LATENCIES];
	u64 latency_max;
};

/**
 * struct lv_sched_vm - a VM as a policy sees it
 * @pool: where it is
 * @next: the next VM of the pool
 * @vcpus: its vCPUs
 * @nr_vcpus: how many
 * @id: number of the VM, never used again while the module is loaded
 * @params: of the VM; @period_ns and @budget_ns are those of new vCPUs
 * @priv: policy: its own data; 0 at vm_join()
 */
struct lv_sched_vm {
	struct lv_pool *pool;
	struct lv_sched_vm *next;
	struct lv_sched_vcpu *vcpus;
	u32 nr_vcpus;
	u32 id;
	struct lv_sched_params params;
	u64 priv[LV_SCHED_PRIV];
};

/* struct lv_ready_queue - vCPUs in order: queue.c */
struct lv_ready_queue {
	struct lv_sched_vcpu *first;
};

/**
 * struct lv_sched_cpu - a CPU of a pool
 * @pool: which one
 * @next: the next CPU of the pool
 * @id: the host's number
 * @curr: the vCPU that has it, or NULL
 * @until: when the slice of @curr ends, LV_SLICE_FOREVER: never
 * @priv: policy: its own data; 0 at cpu_add()
 * @scratch: policy: for admit(), which may not touch @priv; ~0 in one that is not
 *	in the list of CPUs any more, but a @home still
 *
 * The rest belongs to the core.
 */
struct lv_sched_cpu {
	struct lv_pool *pool;
	struct lv_sched_cpu *next;
	u32 id;
	struct lv_sched_vcpu *curr;
	u64 until;
	u64 priv[LV_SCHED_PRIV];
	u64 scratch;

	/* private: the core's */
	struct lv_ready_queue ready; /* vCPUs whose home it is */
	u8 resched; /* enum lv_stop: @curr was asked to stop, and why */
	u64 late; /* the slice, if it ended before the thread of @curr arrived */
	u64 timer; /* what the CPU's timer is set to, or 0 */
	u64 busy; /* ns that it had a vCPU */
	u64 busy_since;
};

/**
 * struct lv_sched_ops - a policy; all but @name may be missing
 * @name: unique among the policies
 * @starve_ns: how long a READY vCPU may wait before the watchdog throws the
 *	policy out; 0: 10 s
 *
 * @admit: can the policy keep its promises to what is in the pool now?
 *	Called after a VM, vCPU or CPU came or went and after parameters changed,
 *	before the op that tells of it; 0, or a negative errno, which undoes the
 *	change (for a CPU that is lost: throws the policy out). Changes nothing but
 *	@scratch of vCPUs and CPUs; another policy may still own the pool.
 * @init: the pool is this policy's now; objects join one by one after it
 * @exit: it is no longer; every object left before
 * @cpu_add: the pool has one more CPU
 * @cpu_remove: one less; its vCPU was stopped, no vCPU has it as @home any more
 * @vm_join: a VM came; its vCPUs follow
 * @vm_leave: it goes, without vCPUs
 * @vcpu_join: a vCPU came; it is OUT
 * @vcpu_leave: it goes; it was stopped
 * @params: parameters of a vCPU or of its VM changed
 *
 * @wake: it became READY; set @key, @slice, @home, or park it.
 *	@why is enum lv_wake.
 * @stop: it lost its CPU, or no longer waits for one, for @why, enum lv_stop; if
 *	it is READY still, as for wake(). Without the op a vCPU goes behind all
 *	that are READY and have the same key.
 * @charge: @vcpu, which is RUNNING or just stops, used @ns of CPU time; called
 *	before stop(), and by lv_sched_charge()
 * @pick: say with lv_sched_choose() who gets @cpu, which is free; if it does
 *	not, the CPU stays idle. Without the op: lv_sched_first().
 * @preempts: shall @vcpu, just READY and without a free CPU, have the CPU of
 *	@curr? Without the op: no.
 * @yield: @vcpu, RUNNING, spins or asks for its CPU to go to @to (NULL: to
 *	anybody); true: it stops. Without the op: if another one is READY.
 * @ipi: @from sent an interrupt to @to, both of the same VM
 * @irq: an interrupt waits for @vcpu, which does not halt
 * @migrate: @vcpu gets another CPU than last time: it is on @vcpu->cpu still
 * @timer: the time of lv_sched_timer() has come
 * @release: the time of lv_sched_park_until() has come; @vcpu is unparked after
 *	it, unless the op sets another time
 * @dump: one line of text about a vCPU for people, without a newline: snprintf()
 */
struct lv_sched_ops {
	char name[LV_SCHED_NAME];
	u64 starve_ns;
	int (*admit)(struct lv_pool *pool);
	void (*init)(struct lv_pool *pool);
	void (*exit)(struct lv_pool *pool);
	void (*cpu_add)(struct lv_sched_cpu *cpu);
	void (*cpu_remove)(struct lv_sched_cpu *cpu);
	void (*vm_join)(struct lv_sched_vm *vm);
	void (*vm_leave)(struct lv_sched_vm *vm);
	void (*vcpu_join)(struct lv_sched_vcpu *vcpu);
	void (*vcpu_leave)(struct lv_sched_vcpu *vcpu);
	void (*params)(struct lv_sched_vcpu *vcpu);
	void (*wake)(struct lv_sched_vcpu *vcpu, u32 why);
	void (*stop)(struct lv_sched_vcpu *vcpu, u32 why);
	void (*charge)(struct lv_sched_vcpu *vcpu, u64 ns);
	void (*pick)(struct lv_sched_cpu *cpu);
	bool (*preempts)(struct lv_sched_vcpu *vcpu,
			 struct lv_sched_vcpu *curr);
	bool (*yield)(struct lv_sched_vcpu *vcpu, struct lv_sched_vcpu *to);
	void (*ipi)(struct lv_sched_vcpu *from, struct lv_sched_vcpu *to);
	void (*irq)(struct lv_sched_vcpu *vcpu, u32 why);
	void (*migrate)(struct lv_sched_vcpu *vcpu, struct lv_sched_cpu *to);
	void (*timer)(struct lv_pool *pool);
	void (*release)(struct lv_sched_vcpu *vcpu);
	int (*dump)(struct lv_sched_vcpu *vcpu, char *buf, u32 size);
};

/**
 * struct lv_pool - a pool as a policy sees it
 * @ops: its policy
 * @id: its number, 0: the pool in which every VM starts
 * @now: the time; it stands still while an op runs
 * @slice: how long a vCPU runs if the policy has no other idea
 * @cpus: its CPUs, in ascending order
 * @vms: its VMs
 * @nr_cpus: how many CPUs
 * @nr_vms: how many VMs
 * @nr_vcpus: how many vCPUs those have
 * @nr_idle: how many CPUs have no vCPU
 * @nr_ready: how many vCPUs are READY and not parked
 * @priv: policy: its own data; 0 at init()
 *
 * The rest belongs to the core.
 */
struct lv_pool {
	const struct lv_sched_ops *ops;
	u32 id;
	u64 now;
	u64 slice;
	struct lv_sched_cpu *cpus;
	struct lv_sched_vm *vms;
	u32 nr_cpus;
	u32 nr_vms;
	u32 nr_vcpus;
	u32 nr_idle;
	u32 nr_ready;
	u64 priv[LV_SCHED_PRIV];

	/* private: the core's */
	struct lv_ready_queue ready; /* vCPUs without a home */
	struct lv_ready_queue parked; /* those of lv_sched_park_until() */
	u64 seq;
	u64 wanted; /* the time of lv_sched_timer(), or 0 */
	u64 timer; /* what the pool's timer is set to, or 0 */
	u64 last_dispatch;
	struct lv_sched_vcpu *moving; /* wake() or stop() is told of it */
	struct lv_sched_cpu *picking; /* the CPU that pick() is asked about */
	struct lv_sched_vcpu *chosen; /* and its answer, */
	u64 chosen_slice; /* for how long */
	bool takes; /* a CPU is to be taken from a vCPU that is absent */
	u32 stalls; /* LV_STALL for each that was lately */
	const char *fault; /* why the policy was thrown out */
	u64 switches; /* of the policy */
};

/* A policy's own data in an object: struct mine *m = lv_sched_priv(v, struct mine) */
#define lv_sched_priv(obj, type)                                   \
	({                                                         \
		static_assert(sizeof(type) <= sizeof((obj)->priv), \
			      "too large for priv[]");             \
		(type *)(obj)->priv;                               \
	})

#define lv_for_each_pool_vm(vm, pool) \
	for ((vm) = (pool)->vms; (vm); (vm) = (vm)->next)
#define lv_for_each_vm_vcpu(v, vm) for ((v) = (vm)->vcpus; (v); (v) = (v)->next)
#define lv_for_each_pool_cpu(cpu, pool) \
	for ((cpu) = (pool)->cpus; (cpu); (cpu) = (cpu)->next)

/**
 * lv_sched_first - the READY vCPU with the smallest key that may run on a CPU
 * @cpu: the CPU; vCPUs that have another one as @home do not count, nor do those
 *	that are parked
 * Return: NULL if there is none.
 */
struct lv_sched_vcpu *lv_sched_first(const struct lv_sched_cpu *cpu);

/**
 * lv_sched_choose - from pick(): who gets the CPU
 * @cpu: the CPU that pick() was asked about
 * @vcpu: READY, not parked, of this pool, and if it has a @home, then this one;
 *	else the policy is thrown out. NULL: nobody.
 * @slice: for how long: LV_SLICE_MIN or more, or LV_SLICE_FOREVER; else it is
 *	thrown out, too
 */
void lv_sched_choose(struct lv_sched_cpu *cpu, struct lv_sched_vcpu *vcpu,
		     u64 slice);

/**
 * lv_sched_resched - a CPU's vCPU stops as soon as it can, and pick() is asked
 * @cpu: the CPU; nothing happens if it has no vCPU
 */
void lv_sched_resched(struct lv_sched_cpu *cpu);

/**
 * lv_sched_cut - a CPU's vCPU stops earlier, as if its slice ended
 * @cpu: the CPU
 * @at: when, at the latest; later than the end of the slice has no effect
 */
void lv_sched_cut(struct lv_sched_cpu *cpu, u64 at);

/**
 * lv_sched_park - hold a vCPU back, whatever it does, until lv_sched_unpark()
 * @vcpu: in any state; if it is RUNNING, it stops
 */
void lv_sched_park(struct lv_sched_vcpu *vcpu);

/**
 * lv_sched_park_until - the same, but release() is called when the time comes
 * @vcpu: in any state
 * @at: when
 */
void lv_sched_park_until(struct lv_sched_vcpu *vcpu, u64 at);

/**
 * lv_sched_unpark - a vCPU may run again, and gets a CPU if one is free
 * @vcpu: parked or not
 */
void lv_sched_unpark(struct lv_sched_vcpu *vcpu);

/**
 * lv_sched_requeue - a vCPU's key and home change
 * @vcpu: in any state
 * @key: the new key
 * @home: the new home, or NULL
 */
void lv_sched_requeue(struct lv_sched_vcpu *vcpu, u64 key,
		      struct lv_sched_cpu *home);

/**
 * lv_sched_timer - have timer() called, once
 * @pool: the pool
 * @at: when; 0: not at all. It replaces what was asked for before.
 */
void lv_sched_timer(struct lv_pool *pool, u64 at);

/**
 * lv_sched_charge - bring a vCPU's CPU time up to date, by charge()
 * @vcpu: in any state
 */
void lv_sched_charge(struct lv_sched_vcpu *vcpu);

/**
 * lv_sched_fault - throw the policy out
 * @pool: whose policy
 * @why: a string that stays; it ends a sentence that begins with "it"
 */
void lv_sched_fault(struct lv_pool *pool, const char *why);

#endif /* LABVISOR_SCHED_H */
