// SPDX-License-Identifier: GPL-2.0-only
/*
 * fair: the policy of ../policy-module/fair.c in BPF; read that first. What is
 * different here:
 *
 * - Each op is a program: SEC("struct_ops/...") says so, BPF_PROG() unpacks its
 *   arguments.
 * - The verifier wants to see that a pointer is not NULL before it is used. An
 *   op's own arguments never are, nor is vcpu->vm; all others may be, vcpu->pool
 *   among them.
 * - It lets a program write key, slice, priv[] and scratch, and nothing else.
 */
#include "lv_sched.bpf.h"

#define GRANULARITY 2000000ULL
#define WEIGHT_DEFAULT 256

/* The word of priv[] that holds the pass, in a vCPU and in the pool. */
#define PASS 0

SEC("struct_ops/charge")
void BPF_PROG(fair_charge, struct lv_sched_vcpu *vcpu, u64 ns)
{
	struct lv_pool *pool = vcpu->pool;
	struct lv_sched_vm *vm = vcpu->vm;

	if (!pool)
		return;
	/* All vCPUs of a VM share its weight. In BPF, n / 0 is 0. */
	vcpu->priv[PASS] +=
		ns * vm->nr_vcpus * WEIGHT_DEFAULT / vm->params.weight;
	if (pool->priv[PASS] < vcpu->key)
		pool->priv[PASS] = vcpu->key;
}

SEC("struct_ops/wake")
void BPF_PROG(fair_wake, struct lv_sched_vcpu *vcpu, u32 why)
{
	struct lv_pool *pool = vcpu->pool;

	if (pool && vcpu->priv[PASS] < pool->priv[PASS])
		vcpu->priv[PASS] = pool->priv[PASS];
	vcpu->key = vcpu->priv[PASS];
}

SEC("struct_ops/stop")
void BPF_PROG(fair_stop, struct lv_sched_vcpu *vcpu, u32 why)
{
	vcpu->key = vcpu->priv[PASS];
}

SEC("struct_ops/preempts")
bool BPF_PROG(fair_preempts, struct lv_sched_vcpu *vcpu,
	      struct lv_sched_vcpu *curr)
{
	lv_sched_charge(curr);
	return vcpu->priv[PASS] + GRANULARITY < curr->priv[PASS];
}

/*
 * The policy itself. The section's name makes it a link: the policy is there as
 * long as the link is, which `labvisor sched load` pins under the policy's name.
 */
SEC(".struct_ops.link")
struct lv_sched_ops fair = {
	.name = "fair-bpf",
	.wake = (void *)fair_wake,
	.stop = (void *)fair_stop,
	.charge = (void *)fair_charge,
	.preempts = (void *)fair_preempts,
};

/* The kernel's functions are for programs under the GPL only. */
char _license[] SEC("license") = "GPL";
