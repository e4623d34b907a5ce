/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's side of vCPU scheduling: gate.c is what the run loop passes,
 * kpool.c what pool.c, the ioctls, makes of pools.
 *
 * Order of the locks: the host's CPU hotplug lock, lv_sched_mutex (pools, VMs,
 * policies: all that comes and goes), one pool's lock, then the kernel's own
 * (timers, wake-ups). lv_sched_lock() takes the first two.
 */
#ifndef LABVISOR_SCHED_GATE_H
#define LABVISOR_SCHED_GATE_H

#include <linux/cpumask.h>
#include <linux/hrtimer.h>
#include <linux/mutex.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "../labvisor.h"
#include "core.h"
#include "policies.h"

/* struct lv_kpool - a pool in the kernel */
struct lv_kpool {
	struct lv_pool core; /* lock */
	raw_spinlock_t lock; /* interrupts off */
	unsigned long flags; /* lock: what to restore */
	bool can_move; /* lock: who drops it can sleep, and moves ... */
	struct lv_vcpu *mover; /* lock: ... this one's thread, if any ... */
	int mover_to; /* lock: ... to this CPU */
	struct hrtimer timer; /* lv_core_pool_timer() */
	struct delayed_work watchdog; /* runs while the policy is not "host" */
	struct work_struct thrown; /* clean up after a policy was thrown out */
	struct rcu_head rcu;

	/* lv_sched_mutex: */
	struct list_head list;
	struct cpumask cpus; /* configured, online or not */
	struct module *owner; /* of the policy, NULL: built in */
	char fault[96]; /* why one was thrown out */
	char name[LV_SCHED_NAME];
};

/* struct lv_kcpu - a CPU that may be in a pool, one for each of the host's */
struct lv_kcpu {
	struct lv_sched_cpu core; /* lock of its pool */
	struct hrtimer timer; /* lv_core_cpu_timer() */
	struct lv_kpool *pool; /* lv_sched_mutex; as configured */
};

DECLARE_PER_CPU(struct lv_kcpu, lv_kcpu);

extern struct mutex lv_sched_mutex;
extern struct list_head lv_sched_pools; /* lv_sched_mutex: lv_kpool.list by id */
extern struct list_head lv_sched_vms; /* lv_sched_mutex: lv_vm.sched_list by id */
extern struct lv_kpool lv_default_pool; /* number 0; its policy is "host" */

static inline struct lv_kpool *lv_to_kpool(struct lv_pool *pool)
{
	return container_of(pool, struct lv_kpool, core);
}

static inline bool lv_kpool_is_host(struct lv_kpool *kp)
{
	return READ_ONCE(kp->core.ops) == &lv_sched_host;
}

/* Take a pool's lock with its time, and drop it with all that follows. */
void lv_pool_lock(struct lv_kpool *kp);
void lv_pool_unlock(struct lv_kpool *kp);

/* What is where: in this order the two locks. */
void lv_sched_lock(void);
void lv_sched_unlock(void);

/* These two take the locks. A pool is created with policy "host". */
int lv_kpool_create(const char *name, const struct cpumask *cpus);
int lv_kpool_delete(u32 id, bool forced);

/* ---- all below under lv_sched_lock() ---- */

struct lv_kpool *lv_kpool_find(u32 id);
int lv_kpool_set_cpus(struct lv_kpool *kp, const struct cpumask *cpus);
/* On success the pool has the caller's reference of @owner. */
int lv_kpool_set_policy(struct lv_kpool *kp, const struct lv_sched_ops *ops,
			struct module *owner);
int lv_kpool_move(struct lv_vm *vm, struct lv_kpool *to);
/* A policy goes: all pools that have it get "host". */
void lv_kpools_drop_policy(const struct lv_sched_ops *ops);

/* ---- gate.c ---- */

int lv_gate_prepare(struct lv_vm *vm); /* before it leaves "host": -ENOMEM */
void lv_gate_unpin(struct lv_vcpu *v); /* after it came to "host" */
void lv_gate_cpu_init(struct lv_kcpu *k);
void lv_gate_pool_init(struct lv_kpool *kp);

/* struct lv_policy - a policy that pools may have: registry.c */
struct lv_policy {
	const struct lv_sched_ops *ops;
	struct module *owner;
};

bool lv_name_valid(const char *name);
const struct lv_policy *lv_policy_at(u32 index);
int lv_pool_set_policy(struct lv_kpool *kp, const char *name);

void lv_bpf_register(void); /* bpf.c */

#endif /* LABVISOR_SCHED_GATE_H */
