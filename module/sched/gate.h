/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel's side of vCPU scheduling: gate.c is what the run loop passes,
 * pool.c what the administrator calls.
 *
 * Order of the locks: lv_sched_mutex (pools, VMs, policies: all that comes and
 * goes), then one pool's lock, then the kernel's own (timers, wake-ups).
 */
#ifndef LABVISOR_SCHED_GATE_H
#define LABVISOR_SCHED_GATE_H

#include <linux/cpumask.h>
#include <linux/hrtimer.h>
#include <linux/irq_work.h>
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
	u64 taken_at; /* lock: for the watchdog */
	struct hrtimer timer; /* lv_core_pool_timer() */
	struct delayed_work watchdog; /* runs while the policy is not "host" */
	struct work_struct thrown; /* clean up after a policy was thrown out */
	struct rcu_head rcu;

	/* lv_sched_mutex: */
	struct list_head list;
	struct cpumask cpus; /* configured, online or not */
	struct module *owner; /* of the policy, NULL: built in */
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
extern struct list_head lv_sched_pools; /* lv_sched_mutex: of struct lv_kpool */
extern struct list_head lv_sched_vms; /* lv_sched_mutex: lv_vm.sched_list */
extern struct lv_kpool lv_default_pool;

/* Take a pool's lock with its time, and drop it with all that follows. */
void lv_pool_lock(struct lv_kpool *kp);
void lv_pool_unlock(struct lv_kpool *kp);

/* ---- all below under lv_sched_mutex ---- */

struct lv_kpool *lv_kpool_create(const char *name, const struct cpumask *cpus);
void lv_kpool_destroy(struct lv_kpool *kp); /* it has no VMs */
int lv_kpool_set_cpus(struct lv_kpool *kp, const struct cpumask *cpus);
int lv_kpool_set_policy(struct lv_kpool *kp, const struct lv_sched_ops *ops,
			struct module *owner);
int lv_kpool_move(struct lv_vm *vm, struct lv_kpool *to);

#endif /* LABVISOR_SCHED_GATE_H */
