// SPDX-License-Identifier: GPL-2.0-only
/* What the verifier lets pass, and the core throws out or lives with. */
#include "lv_sched.bpf.h"

/* preempts() makes the vCPU ready once more, of which preempts() is asked. */
SEC("struct_ops/preempts")
bool BPF_PROG(recurse_preempts, struct lv_sched_vcpu *vcpu,
	      struct lv_sched_vcpu *curr)
{
	lv_sched_park(vcpu);
	lv_sched_unpark(vcpu);
	return false;
}

SEC(".struct_ops.link")
struct lv_sched_ops recurses = {
	.name = "recurses",
	.preempts = (void *)recurse_preempts,
};

SEC("struct_ops/wake")
void BPF_PROG(give_up_wake, struct lv_sched_vcpu *vcpu, u32 why)
{
	struct lv_pool *pool = vcpu->pool;

	if (pool)
		lv_sched_fault(pool);
}

SEC(".struct_ops.link")
struct lv_sched_ops gives_up = {
	.name = "gives-up",
	.wake = (void *)give_up_wake,
};

SEC("struct_ops/pick")
void BPF_PROG(short_pick, struct lv_sched_cpu *cpu)
{
	struct lv_sched_vcpu *first = lv_sched_first(cpu);

	if (first)
		lv_sched_choose(cpu, first, 1);
}

SEC(".struct_ops.link")
struct lv_sched_ops short_slice = {
	.name = "short-slice",
	.pick = (void *)short_pick,
};

/* A timer that sets itself for the past, and slices cut down to nothing. */
SEC("struct_ops/init")
void BPF_PROG(storm_init, struct lv_pool *pool)
{
	lv_sched_timer(pool, 1);
}

SEC("struct_ops/timer")
void BPF_PROG(storm_timer, struct lv_pool *pool)
{
	lv_sched_timer(pool, 1);
}

SEC("struct_ops/stop")
void BPF_PROG(storm_stop, struct lv_sched_vcpu *vcpu, u32 why)
{
	lv_sched_park_until(vcpu, 1);
}

SEC(".struct_ops.link")
struct lv_sched_ops storms = {
	.name = "storms",
	.init = (void *)storm_init,
	.timer = (void *)storm_timer,
	.stop = (void *)storm_stop,
};

/* All that there is, on vCPUs that have left. */
static void meddle(struct lv_sched_vcpu *vcpu)
{
	struct lv_sched_cpu *cpu = vcpu->cpu;

	lv_sched_charge(vcpu);
	lv_sched_park(vcpu);
	lv_sched_unpark(vcpu);
	lv_sched_requeue(vcpu, 1, NULL);
	lv_sched_park_until(vcpu, 1);
	if (cpu) {
		lv_sched_requeue(vcpu, 1, cpu);
		lv_sched_choose(cpu, vcpu, LV_SLICE_MIN);
		lv_sched_resched(cpu);
		lv_sched_cut(cpu, 1);
	}
}

SEC("struct_ops/vcpu_leave")
void BPF_PROG(meddle_vcpu_leave, struct lv_sched_vcpu *vcpu)
{
	struct lv_sched_cpu *cpu = vcpu->cpu;

	lv_sched_park_until(vcpu, 1);
	if (cpu)
		lv_sched_requeue(vcpu, 1, cpu);
}

SEC("struct_ops/vm_leave")
void BPF_PROG(meddle_vm_leave, struct lv_sched_vm *vm)
{
	struct lv_sched_vcpu *vcpu = vm->vcpus;

	if (vcpu)
		meddle(vcpu);
}

SEC(".struct_ops.link")
struct lv_sched_ops meddles = {
	.name = "meddles",
	.vcpu_leave = (void *)meddle_vcpu_leave,
	.vm_leave = (void *)meddle_vm_leave,
};

char _license[] SEC("license") = "GPL";
