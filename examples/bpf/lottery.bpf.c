// SPDX-License-Identifier: GPL-2.0-only
/*
 * lottery: for each slice a ticket is drawn among all vCPUs that want to run; a
 * vCPU has as many tickets as its VM's weight (Waldspurger, Weihl: Lottery
 * Scheduling, 1994).
 *
 * An example of a policy that picks by itself, of walking through VMs and vCPUs,
 * and of what only BPF has: a source of random numbers, and a map, whose counters
 * `bpftool map dump name lottery_wins` shows while guests run.
 */
#include "lv_sched.bpf.h"

#define MAX_VMS 256
#define MAX_VCPUS 255

/* How many draws each vCPU number won, over all VMs. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 256);
	__type(key, u32);
	__type(value, u64);
} lottery_wins SEC(".maps");

static bool takes_part(struct lv_sched_vcpu *vcpu)
{
	return vcpu->state == LV_SCHED_READY && !vcpu->parked;
}

static void note_win(struct lv_sched_vcpu *vcpu)
{
	u32 id = vcpu->id;
	u64 *wins = bpf_map_lookup_elem(&lottery_wins, &id);

	if (wins)
		__sync_fetch_and_add(wins, 1);
}

/*
 * One walk is enough: the n-th ticket takes the win from who has it so far with a
 * chance of 1 in n. The verifier has to see that loops end: bpf_for() counts.
 */
SEC("struct_ops/pick")
void BPF_PROG(lottery_pick, struct lv_sched_cpu *cpu)
{
	struct lv_sched_vcpu *vcpu, *winner = NULL;
	struct lv_pool *pool = cpu->pool;
	struct lv_sched_vm *vm;
	u32 tickets = 0;
	int i, j;

	if (!pool)
		return;
	vm = pool->vms;
	bpf_for(i, 0, MAX_VMS)
	{
		if (!vm)
			break;
		vcpu = vm->vcpus;
		bpf_for(j, 0, MAX_VCPUS)
		{
			if (!vcpu)
				break;
			if (takes_part(vcpu)) {
				tickets += vm->params.weight;
				if (bpf_get_prandom_u32() % tickets <
				    vm->params.weight)
					winner = vcpu;
			}
			vcpu = vcpu->next;
		}
		vm = vm->next;
	}
	if (winner) {
		note_win(winner);
		lv_sched_choose(cpu, winner, pool->slice);
	}
}

SEC(".struct_ops.link")
struct lv_sched_ops lottery = {
	.name = "lottery",
	.pick = (void *)lottery_pick,
};

char _license[] SEC("license") = "GPL";
