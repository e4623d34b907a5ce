/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What a policy in BPF sees. These are the structs of module/sched/sched.h with
 * only the fields that the examples use: add those that you need, in any order.
 * The loader finds each by its name in the BTF of the loaded module, which is what
 * preserve_access_index asks for, so the program fits newer modules, too.
 */
#ifndef LV_SCHED_BPF_H
#define LV_SCHED_BPF_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <linux/version.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_tracing.h>

/* bpf_for() uses it; the C library's copy of <linux/bpf.h> may be older. */
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 4, 0)
struct bpf_iter_num {
	__u64 __opaque[1];
};
#endif

typedef __u8 u8;
typedef __u32 u32;
typedef __u64 u64;

#define LV_SLICE_MIN 50000ULL
#define LV_SLICE_FOREVER (~0ULL)

/* clang-format off */
enum lv_sched_state { LV_SCHED_FREE, LV_SCHED_OUT, LV_SCHED_READY, LV_SCHED_RUNNING };
enum lv_wake { LV_WAKE_OTHER, LV_WAKE_IRQ, LV_WAKE_TIMER, LV_WAKE_IPI,
	       LV_WAKE_UNHALT, LV_WAKE_USER, LV_WAKE_HOST, LV_WAKE_SWITCH };
enum lv_stop { LV_STOP_SLICE = 1, LV_STOP_PREEMPT, LV_STOP_YIELD, LV_STOP_BLOCK,
	       LV_STOP_USER, LV_STOP_HOST, LV_STOP_LEAVE };
/* clang-format on */

#pragma clang attribute push(__attribute__((preserve_access_index)), \
			     apply_to = record)

struct lv_sched_vcpu;

struct lv_ready_queue {
	struct lv_sched_vcpu *first;
};

struct lv_pool {
	u64 now;
	u64 slice;
	struct lv_sched_cpu *cpus;
	struct lv_sched_vm *vms;
	u32 nr_ready;
	u64 priv[8];
	struct lv_ready_queue ready;
};

struct lv_sched_cpu {
	struct lv_pool *pool;
	struct lv_sched_cpu *next;
	u32 id;
	struct lv_sched_vcpu *curr;
	u64 priv[8];
	struct lv_ready_queue ready;
};

struct lv_sched_params {
	u32 weight;
};

struct lv_sched_vm {
	struct lv_pool *pool;
	struct lv_sched_vm *next;
	struct lv_sched_vcpu *vcpus;
	u32 nr_vcpus;
	struct lv_sched_params params;
	u64 priv[8];
};

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
	u64 priv[8];
	u64 rank;
	u64 seq;
	struct lv_sched_vcpu *sibling;
};

struct lv_sched_ops {
	char name[16];
	u64 starve_ns;
	int (*admit)(struct lv_pool *pool);
	void (*init)(struct lv_pool *pool);
	void (*vm_leave)(struct lv_sched_vm *vm);
	void (*vcpu_join)(struct lv_sched_vcpu *vcpu);
	void (*vcpu_leave)(struct lv_sched_vcpu *vcpu);
	void (*wake)(struct lv_sched_vcpu *vcpu, u32 why);
	void (*stop)(struct lv_sched_vcpu *vcpu, u32 why);
	void (*charge)(struct lv_sched_vcpu *vcpu, u64 ns);
	void (*pick)(struct lv_sched_cpu *cpu);
	bool (*preempts)(struct lv_sched_vcpu *vcpu,
			 struct lv_sched_vcpu *curr);
	bool (*yield)(struct lv_sched_vcpu *vcpu, struct lv_sched_vcpu *to);
	void (*timer)(struct lv_pool *pool);
	void (*release)(struct lv_sched_vcpu *vcpu);
	int (*dump)(struct lv_sched_vcpu *vcpu, char *buf, u32 size);
};

#pragma clang attribute pop

/*
 * The compiler describes a struct in full only where more than a member of
 * another points to it. The functions' types must fit the kernel's in full.
 */
const struct lv_pool *lv_type_pool __attribute__((unused));
const struct lv_sched_cpu *lv_type_cpu __attribute__((unused));
const struct lv_sched_vm *lv_type_vm __attribute__((unused));
const struct lv_sched_vcpu *lv_type_vcpu __attribute__((unused));

void lv_sched_resched(struct lv_sched_cpu *cpu) __ksym;
void lv_sched_cut(struct lv_sched_cpu *cpu, u64 at) __ksym;
void lv_bpf_choose(struct lv_sched_cpu *cpu, struct lv_sched_vcpu *vcpu,
		   u64 slice) __ksym;
void lv_bpf_park(struct lv_sched_vcpu *vcpu) __ksym;
void lv_bpf_park_until(struct lv_sched_vcpu *vcpu, u64 at) __ksym;
void lv_bpf_unpark(struct lv_sched_vcpu *vcpu) __ksym;
void lv_bpf_charge(struct lv_sched_vcpu *vcpu) __ksym;
void lv_bpf_requeue(struct lv_sched_vcpu *vcpu, u64 key,
		    struct lv_sched_cpu *home) __ksym;
void lv_bpf_timer(struct lv_pool *pool, u64 at) __ksym;
void lv_bpf_fault(struct lv_pool *pool) __ksym; /* the reason is a fixed one */

/* sched.h has these under the names on the left. */
#define lv_sched_choose lv_bpf_choose
#define lv_sched_park lv_bpf_park
#define lv_sched_park_until lv_bpf_park_until
#define lv_sched_unpark lv_bpf_unpark
#define lv_sched_charge lv_bpf_charge
#define lv_sched_requeue lv_bpf_requeue
#define lv_sched_timer lv_bpf_timer
#define lv_sched_fault lv_bpf_fault

/* The READY vCPU with the smallest key that may run on @cpu, or NULL. */
static __always_inline struct lv_sched_vcpu *
lv_sched_first(struct lv_sched_cpu *cpu)
{
	struct lv_sched_vcpu *mine = cpu->ready.first;
	struct lv_pool *pool = cpu->pool;
	struct lv_sched_vcpu *shared = pool ? pool->ready.first : NULL;

	if (!mine)
		return shared;
	if (!shared)
		return mine;
	if (mine->rank != shared->rank)
		return mine->rank < shared->rank ? mine : shared;
	return mine->seq < shared->seq ? mine : shared;
}

#endif /* LV_SCHED_BPF_H */
