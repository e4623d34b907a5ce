/* SPDX-License-Identifier: GPL-2.0-only WITH Linux-syscall-note */
/*
 * What Labvisor has beside the KVM API: pools of CPUs, scheduling policies,
 * their parameters and statistics. All are ioctls of the device node.
 *
 * Every struct begins with its size as the caller knows it, and that
 * counts, not what the ioctl's number says. A kernel that knows less accepts it
 * if what it does not know is zero (else E2BIG), one that knows more takes what is
 * missing as zero, and fills in no more than @size bytes. A size of less than 4 is
 * EINVAL, one of more than a page E2BIG.
 * Unknown flags are EINVAL. Fields named reserved must be zero.
 *
 * Permission: who may open the device may list. To create, change or delete a
 * pool, to touch a VM of another user, to set a period and budget, and to raise a
 * weight or cap takes CAP_SYS_NICE (in the initial user namespace); else EPERM.
 */
#ifndef _UAPI_LINUX_LABVISOR_H
#define _UAPI_LINUX_LABVISOR_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define LV_IOC_TYPE 0xBC

#define LV_NAME_LEN 16
#define LV_REASON_LEN 96
#define LV_CPU_WORDS 16 /* CPUs 0 to 1023 */

/* Buckets of time, wake-up causes, stop causes: as arrays in struct lv_vcpu_info */
#define LV_INFO_TIMES 8
#define LV_INFO_WAKES 12
#define LV_INFO_STOPS 12
#define LV_INFO_LATENCIES 24
#define LV_INFO_EXITS 48

/**
 * struct lv_policy_info - LV_POLICY_INFO: what policies there are
 * @size: of this struct
 * @index: in: the how-manieth, from 0; ENOENT behind the last
 * @name: out
 * @module: out: name of the module that brings it, empty if it is built in
 */
struct lv_policy_info {
	__u32 size;
	__u32 index;
	char name[LV_NAME_LEN];
	char module[64];
};

/**
 * struct lv_pool_info - LV_POOL_INFO: what pools there are
 * @size: of this struct
 * @id: in: look for this or the next higher one; out: the one found.
 *	ENOENT: none is left. 0 is the pool in which every VM starts.
 * @name: out
 * @policy: out: "host" after its policy was thrown out
 * @fault: out: why the policy was thrown out, empty if none was
 * @slice_ns: out: default slice
 * @nr_vms: out
 * @nr_vcpus: out
 * @nr_cpus: out: CPUs that are online and the pool's
 * @flags: 0
 * @switches: out: how often its policy was changed
 * @now_ns: out: the time, CLOCK_MONOTONIC
 * @busy_ns: out: CPU time that its CPUs had a vCPU, all together
 * @cpus: out: bit per CPU, also of those that are offline. Pool 0 has none of its own.
 */
struct lv_pool_info {
	__u32 size;
	__u32 id;
	char name[LV_NAME_LEN];
	char policy[LV_NAME_LEN];
	char fault[LV_REASON_LEN];
	__u64 slice_ns;
	__u32 nr_vms;
	__u32 nr_vcpus;
	__u32 nr_cpus;
	__u32 flags;
	__u64 switches;
	__u64 now_ns;
	__u64 busy_ns;
	__u64 cpus[LV_CPU_WORDS];
};

#define LV_POOL_POLICY (1U << 0)
#define LV_POOL_SLICE (1U << 1)
#define LV_POOL_CPUS (1U << 2)

/**
 * struct lv_pool_config - LV_POOL_CREATE and LV_POOL_SET
 * @size: of this struct
 * @id: LV_POOL_SET: in: which pool; ENOENT: it does not exist; EINVAL: it is
 *	pool 0, which stays as it is. LV_POOL_CREATE: out
 * @flags: what to set: LV_POOL_POLICY, LV_POOL_SLICE, LV_POOL_CPUS. For
 *	LV_POOL_CREATE the CPUs must be given; policy "host" and 10 ms are the default.
 * @reserved: 0
 * @name: LV_POOL_CREATE: of letters, digits, '-', '_' and '.', not empty, with an
 *	end, else EINVAL; EEXIST: another pool has it. LV_POOL_SET: unused
 * @policy: ENOENT: there is none of that name
 * @slice_ns: 50 us to 10 s, else EINVAL
 * @cpus: bit per CPU. EINVAL: none of them is online; EBUSY: another pool has one.
 *
 * A policy may refuse what the pool would promise under it: ENOSPC. When a call
 * fails, nothing has changed.
 */
struct lv_pool_config {
	__u32 size;
	__u32 id;
	__u32 flags;
	__u32 reserved;
	char name[LV_NAME_LEN];
	char policy[LV_NAME_LEN];
	__u64 slice_ns;
	__u64 cpus[LV_CPU_WORDS];
};

/**
 * struct lv_pool_id - LV_POOL_DELETE
 * @size: of this struct
 * @id: which. EBUSY: it has VMs; EINVAL: it is pool 0; ENOENT: it does not exist.
 */
struct lv_pool_id {
	__u32 size;
	__u32 id;
};

/**
 * struct lv_vm_params - parameters of a VM
 * @weight: share of its pool's CPU time against other VMs, 1 to 65535, default 256
 * @cap: at most so many percent of one CPU, 0: no limit
 * @group: vCPUs of the VM with the same number belong together
 * @reserved: 0
 * @period_ns: period of a deadline, 500 us to 10 s, or 0: none
 * @budget_ns: CPU time for each vCPU in each period, 50 us to @period_ns
 */
struct lv_vm_params {
	__u32 weight;
	__u32 cap;
	__u32 group;
	__u32 reserved;
	__u64 period_ns;
	__u64 budget_ns;
};

/**
 * struct lv_vm_info - LV_VM_INFO: what VMs there are
 * @size: of this struct
 * @id: in: look for this or the next higher one; out: the one found.
 *	ENOENT: none is left. VMs are numbered from 1.
 * @pool: out: id of its pool
 * @pid: out: process that created it (in the caller's PID namespace), 0 if not visible
 * @uid: out: user who created it (in the caller's user namespace)
 * @nr_vcpus: out
 * @comm: out: name of that process, as of then
 * @params: out
 */
struct lv_vm_info {
	__u32 size;
	__u32 id;
	__u32 pool;
	__s32 pid;
	__u32 uid;
	__u32 nr_vcpus;
	char comm[LV_NAME_LEN];
	struct lv_vm_params params;
};

/**
 * struct lv_vm_attach - LV_VM_ATTACH: move a VM into a pool while it runs
 * @size: of this struct
 * @vm: VM id, or 0: by @pid
 * @pid: a process: all VMs that it created; ESRCH: it has none
 * @pool: id of the pool
 *
 * ENOENT: there is no such VM or pool. EINVAL: both @vm and @pid are given, or none.
 * The policy may refuse: ENOSPC. Of several VMs, those before the one that it
 * refuses are in the pool then.
 */
struct lv_vm_attach {
	__u32 size;
	__u32 vm;
	__s32 pid;
	__u32 pool;
};

#define LV_PARAM_WEIGHT (1U << 0)
#define LV_PARAM_CAP (1U << 1)
#define LV_PARAM_GROUP (1U << 2)
#define LV_PARAM_DEADLINE (1U << 3)

#define LV_ALL_VCPUS (~0U)

/**
 * struct lv_vm_set - LV_VM_SET: change parameters of a VM or of one vCPU
 * @size: of this struct
 * @vm: VM id; ENOENT: there is no such VM
 * @vcpu: its number, or LV_ALL_VCPUS; ENOENT: there is no such vCPU
 * @flags: what to set, LV_PARAM_*. Weight and cap only with LV_ALL_VCPUS.
 * @params: EINVAL: a value is out of range
 *
 * The policy may refuse: ENOSPC; then nothing has changed.
 */
struct lv_vm_set {
	__u32 size;
	__u32 vm;
	__u32 vcpu;
	__u32 flags;
	struct lv_vm_params params;
};

/**
 * struct lv_vcpu_info - LV_VCPU_INFO: where a vCPU stands and its time goes
 * @size: of this struct
 * @vm: in: VM id; ENOENT: there is no such VM
 * @index: in: the VM's how-manieth vCPU, from 0; ENOENT behind the last
 * @vcpu: out: its number, the APIC ID
 * @state: out: enum lv_sched_state: 0 free (Linux decides), 1 out, 2 ready, 3 running
 * @parked: out: the policy holds it back
 * @cpu: out: CPU that it has or had last, ~0 if none
 * @tid: out: thread that ran it last, 0 if none or not visible
 * @now_ns: out: the time of this record, CLOCK_MONOTONIC
 * @ran_ns: out: CPU time that it was charged for in this pool
 * @time_ns: out: run, steal, away, ready, parked, blocked, out
 * @dispatches: out: how often it got a CPU
 * @migrations: out: how often another one than before
 * @wakes: out: by cause: other, irq, timer, ipi, unhalt, user, host, switch
 * @stops: out: by cause: -, slice, preempt, yield, block, user, host, leave
 * @latency: out: wake-ups by time until it ran: [n]: 2^(n-1) to 2^n us; [0]: below 1 us
 * @latency_max_ns: out: the longest
 * @exits: out: all of its exits
 * @exit_reason: out: by reason; LV_EXIT_INFO names them
 * @period_ns: out: its deadline parameters
 * @budget_ns: out
 * @policy_text: out: what its policy says about it
 */
struct lv_vcpu_info {
	__u32 size;
	__u32 vm;
	__u32 index;
	__u32 vcpu;
	__u32 state;
	__u32 parked;
	__u32 cpu;
	__s32 tid;
	__u64 now_ns;
	__u64 ran_ns;
	__u64 time_ns[LV_INFO_TIMES];
	__u64 dispatches;
	__u64 migrations;
	__u64 wakes[LV_INFO_WAKES];
	__u64 stops[LV_INFO_STOPS];
	__u64 latency[LV_INFO_LATENCIES];
	__u64 latency_max_ns;
	__u64 exits;
	__u64 exit_reason[LV_INFO_EXITS];
	__u64 period_ns;
	__u64 budget_ns;
	char policy_text[LV_REASON_LEN];
};

/**
 * struct lv_exit_info - LV_EXIT_INFO: what the reasons of exits are called
 * @size: of this struct
 * @index: in: of @exit_reason in struct lv_vcpu_info; ENOENT behind the last
 * @name: out: empty if it is none
 */
struct lv_exit_info {
	__u32 size;
	__u32 index;
	char name[LV_NAME_LEN];
};

#define LV_POLICY_INFO _IOWR(LV_IOC_TYPE, 0, struct lv_policy_info)
#define LV_POOL_INFO _IOWR(LV_IOC_TYPE, 1, struct lv_pool_info)
#define LV_POOL_CREATE _IOWR(LV_IOC_TYPE, 2, struct lv_pool_config)
#define LV_POOL_SET _IOW(LV_IOC_TYPE, 3, struct lv_pool_config)
#define LV_POOL_DELETE _IOW(LV_IOC_TYPE, 4, struct lv_pool_id)
#define LV_VM_INFO _IOWR(LV_IOC_TYPE, 5, struct lv_vm_info)
#define LV_VM_ATTACH _IOW(LV_IOC_TYPE, 6, struct lv_vm_attach)
#define LV_VM_SET _IOW(LV_IOC_TYPE, 7, struct lv_vm_set)
#define LV_VCPU_INFO _IOWR(LV_IOC_TYPE, 8, struct lv_vcpu_info)
#define LV_EXIT_INFO _IOWR(LV_IOC_TYPE, 9, struct lv_exit_info)

#endif /* _UAPI_LINUX_LABVISOR_H */
