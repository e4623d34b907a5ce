// SPDX-License-Identifier: GPL-2.0-only
/* What is refused when it is loaded: one object file for each REFUSED_. */
#include "lv_sched.bpf.h"

#ifdef REFUSED_no_name
#define NAME ""
#else
#define NAME "refused"
#endif

#ifdef REFUSED_sleepable
SEC("struct_ops.s/wake")
#else
SEC("struct_ops/wake")
#endif
void BPF_PROG(bad_wake, struct lv_sched_vcpu *vcpu, u32 why)
{
#if defined(REFUSED_state)
	vcpu->state = LV_SCHED_RUNNING;
#elif defined(REFUSED_home)
	vcpu->home = NULL;
#elif defined(REFUSED_other_pool_field)
	struct lv_pool *pool = vcpu->pool;

	if (pool)
		pool->nr_ready = 7;
#elif defined(REFUSED_past_priv)
	*(u64 *)((char *)vcpu->priv + 60) = 1;
#elif defined(REFUSED_unchecked_pool)
	vcpu->pool->priv[0] = 1;
#elif defined(REFUSED_untrusted)
	/* What is in the ready queue may be anywhere. */
	struct lv_sched_vcpu *other = vcpu->sibling;

	if (other)
		other->priv[0] = 1;
#endif
}

#ifdef REFUSED_admit_calls
SEC("struct_ops/admit")
int BPF_PROG(bad_admit, struct lv_pool *pool)
{
	lv_sched_timer(pool, 1);
	return 0;
}
#endif

#ifdef REFUSED_dump
SEC("struct_ops/dump")
int BPF_PROG(bad_dump, struct lv_sched_vcpu *vcpu, char *buf, u32 size)
{
	return 0;
}
#endif

SEC(".struct_ops.link")
struct lv_sched_ops refused = {
	.name = NAME,
	.wake = (void *)bad_wake,
#ifdef REFUSED_admit_calls
	.admit = (void *)bad_admit,
#endif
#ifdef REFUSED_dump
	.dump = (void *)bad_dump,
#endif
};

char _license[] SEC("license") = "GPL";
