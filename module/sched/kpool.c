// SPDX-License-Identifier: GPL-2.0-only
/*
 * Pools in the kernel: they come and go, get CPUs, VMs and policies, and are
 * watched. What may wait happens here, under lv_sched_mutex.
 */
#define pr_fmt(fmt) "labvisor: " fmt

#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/cred.h>
#include <linux/module.h>

#include "../compat.h"
#include "gate.h"

#define LV_MAX_POOLS 64
#define LV_WATCHDOG_PERIOD (HZ / 4)

DEFINE_MUTEX(lv_sched_mutex);
LIST_HEAD(lv_sched_pools);
LIST_HEAD(lv_sched_vms);
struct lv_kpool lv_default_pool;

static enum cpuhp_state lv_sched_cpuhp;
static u32 lv_last_pool, lv_last_vm; /* lv_sched_mutex */
static u32 lv_nr_pools; /* lv_sched_mutex */

void lv_sched_lock(void)
{
	cpus_read_lock();
	mutex_lock(&lv_sched_mutex);
}

void lv_sched_unlock(void)
{
	mutex_unlock(&lv_sched_mutex);
	cpus_read_unlock();
}

/* ---- CPUs ---- */

static void lv_cpu_join(struct lv_kpool *kp, int cpu)
{
	struct lv_kcpu *k = per_cpu_ptr(&lv_kcpu, cpu);

	if (k->core.pool)
		return;
	lv_pool_lock(kp);
	k->core.id = cpu;
	lv_core_cpu_add(&kp->core, &k->core);
	lv_pool_unlock(kp);
}

static int lv_cpu_part(struct lv_kpool *kp, int cpu, bool forced)
{
	struct lv_kcpu *k = per_cpu_ptr(&lv_kcpu, cpu);
	int err = 0;

	if (!k->core.pool)
		return 0;
	lv_pool_lock(kp);
	err = lv_core_cpu_remove(&k->core, forced);
	lv_pool_unlock(kp);
	if (!err)
		hrtimer_cancel(&k->timer);
	return err;
}

static int lv_sched_cpu_online(unsigned int cpu)
{
	struct lv_kpool *kp;

	mutex_lock(&lv_sched_mutex);
	kp = per_cpu_ptr(&lv_kcpu, cpu)->pool;
	if (kp)
		lv_cpu_join(kp, cpu);
	mutex_unlock(&lv_sched_mutex);
	return 0;
}

/* In suspend all threads are frozen: nobody needs the CPU until it is back. */
static int lv_sched_cpu_offline(unsigned int cpu)
{
	struct lv_kpool *kp;

	if (cpuhp_tasks_frozen)
		return 0;
	mutex_lock(&lv_sched_mutex);
	kp = per_cpu_ptr(&lv_kcpu, cpu)->pool;
	if (kp)
		lv_cpu_part(kp, cpu, true);
	mutex_unlock(&lv_sched_mutex);
	return 0;
}

static bool lv_cpus_are_free(const struct cpumask *cpus, struct lv_kpool *kp)
{
	int cpu;

	for_each_cpu(cpu, cpus) {
		struct lv_kpool *owner = per_cpu_ptr(&lv_kcpu, cpu)->pool;

		if (owner && owner != kp)
			return false;
	}
	return true;
}

/*
 * lv_kpool_set_cpus - the pool has these CPUs from now on
 *
 * Return: 0; -EINVAL: none of them is online; -EBUSY: another pool has one; or
 * what the policy says to having fewer, which then is so for some of them only.
 */
int lv_kpool_set_cpus(struct lv_kpool *kp, const struct cpumask *cpus)
{
	int cpu, err;

	if (!cpumask_intersects(cpus, cpu_online_mask))
		return -EINVAL;
	if (!lv_cpus_are_free(cpus, kp))
		return -EBUSY;
	for_each_cpu(cpu, cpus) {
		if (!cpumask_test_and_set_cpu(cpu, &kp->cpus))
			per_cpu_ptr(&lv_kcpu, cpu)->pool = kp;
		if (cpu_online(cpu))
			lv_cpu_join(kp, cpu);
	}
	for_each_cpu_andnot(cpu, &kp->cpus, cpus)
	{
		err = lv_cpu_part(kp, cpu, false);
		if (err)
			return err;
		per_cpu_ptr(&lv_kcpu, cpu)->pool = NULL;
		cpumask_clear_cpu(cpu, &kp->cpus);
	}
	return 0;
}

/* ---- policies ---- */

/* Threads may run where they like again. */
static void lv_unpin_vm(struct lv_sched_vm *vm)
{
	struct lv_sched_vcpu *s;

	lv_for_each_vm_vcpu(s, vm)
		lv_gate_unpin(container_of(s, struct lv_vcpu, sched));
}

static void lv_unpin_all(struct lv_kpool *kp)
{
	struct lv_sched_vm *vm;

	lv_for_each_pool_vm(vm, &kp->core)
		lv_unpin_vm(vm);
}

static int lv_prepare_all(struct lv_kpool *kp)
{
	struct lv_sched_vm *vm;
	int err;

	lv_for_each_pool_vm(vm, &kp->core) {
		err = lv_gate_prepare(container_of(vm, struct lv_vm, sched));
		if (err)
			return err;
	}
	return 0;
}

/* VMs and their vCPUs come and go under the mutex only: their lists stay. */
int lv_kpool_set_policy(struct lv_kpool *kp, const struct lv_sched_ops *ops,
			struct module *owner)
{
	/* To go back to "host" takes nothing: it cannot fail. */
	int err = ops == &lv_sched_host ? 0 : lv_prepare_all(kp);

	if (err)
		return err;
	lv_pool_lock(kp);
	err = lv_core_set_policy(&kp->core, ops);
	if (!err)
		kp->core.switches++;
	lv_pool_unlock(kp);
	if (err)
		return err;
	module_put(kp->owner);
	kp->owner = owner;
	if (ops == &lv_sched_host)
		lv_unpin_all(kp);
	else
		schedule_delayed_work(&kp->watchdog, LV_WATCHDOG_PERIOD);
	return 0;
}

void lv_kpools_drop_policy(const struct lv_sched_ops *ops)
{
	struct lv_kpool *kp;

	list_for_each_entry(kp, &lv_sched_pools, list)
		if (kp->core.ops == ops)
			lv_kpool_set_policy(kp, &lv_sched_host, NULL);
}

static void lv_watchdog(struct work_struct *work)
{
	struct lv_kpool *kp =
		container_of(to_delayed_work(work), struct lv_kpool, watchdog);

	lv_pool_lock(kp);
	lv_core_check(&kp->core);
	lv_pool_unlock(kp);
	if (!lv_kpool_is_host(kp))
		schedule_delayed_work(&kp->watchdog, LV_WATCHDOG_PERIOD);
}

/* The policy has lost the pool already; say so, and let its module go. */
static void lv_thrown(struct work_struct *work)
{
	struct lv_kpool *kp = container_of(work, struct lv_kpool, thrown);
	const char *why;

	guard(mutex)(&lv_sched_mutex);
	why = READ_ONCE(kp->core.fault);
	if (!why || !lv_kpool_is_host(kp))
		return;
	/* The reason may be a string of the module that goes. */
	strscpy(kp->fault, why, sizeof(kp->fault));
	lv_pool_lock(kp);
	kp->core.fault = kp->fault;
	lv_pool_unlock(kp);
	pr_warn_ratelimited("pool %s: its policy was thrown out, it %s\n",
			    kp->name, kp->fault);
	module_put(kp->owner);
	kp->owner = NULL;
	lv_unpin_all(kp);
}

/* ---- pools ---- */

struct lv_kpool *lv_kpool_find(u32 id)
{
	struct lv_kpool *kp;

	list_for_each_entry(kp, &lv_sched_pools, list)
		if (kp->core.id == id)
			return kp;
	return NULL;
}

static struct lv_kpool *lv_kpool_by_name(const char *name)
{
	struct lv_kpool *kp;

	list_for_each_entry(kp, &lv_sched_pools, list)
		if (!strncmp(kp->name, name, LV_SCHED_NAME))
			return kp;
	return NULL;
}

static void lv_kpool_init(struct lv_kpool *kp, const char *name)
{
	lv_gate_pool_init(kp);
	INIT_DELAYED_WORK(&kp->watchdog, lv_watchdog);
	INIT_WORK(&kp->thrown, lv_thrown);
	strscpy(kp->name, name, sizeof(kp->name));
	list_add_tail(&kp->list, &lv_sched_pools);
}

static int lv_kpool_add(struct lv_kpool *kp, const char *name,
			const struct cpumask *cpus)
{
	int err;

	if (lv_kpool_by_name(name))
		return -EEXIST;
	if (lv_nr_pools >= LV_MAX_POOLS || lv_last_pool == U32_MAX)
		return -ENOSPC;
	lv_kpool_init(kp, name);
	err = lv_kpool_set_cpus(kp, cpus);
	if (err) {
		list_del(&kp->list);
		return err;
	}
	kp->core.id = ++lv_last_pool;
	lv_nr_pools++;
	return 0;
}

/*
 * lv_kpool_create - a pool without VMs and with policy "host"
 * Return: its id; -EEXIST: the name is taken; -ENOSPC: too many pools; -ENOMEM;
 * or as lv_kpool_set_cpus().
 */
int lv_kpool_create(const char *name, const struct cpumask *cpus)
{
	struct lv_kpool *kp = kzalloc(sizeof(*kp), GFP_KERNEL_ACCOUNT);
	int err;

	if (!kp)
		return -ENOMEM;
	/* From now on vCPUs' threads are watched, if it is the first pool. */
	static_branch_inc(&lv_sched_on);
	lv_sched_lock();
	err = lv_kpool_add(kp, name, cpus) ?: kp->core.id;
	lv_sched_unlock();
	if (err < 0) {
		static_branch_dec(&lv_sched_on);
		kfree(kp);
	}
	return err;
}

/* VMs go to the default pool, which refuses nobody. */
static void lv_kpool_empty(struct lv_kpool *kp)
{
	int cpu;

	while (kp->core.vms)
		lv_kpool_move(container_of(kp->core.vms, struct lv_vm, sched),
			      &lv_default_pool);
	lv_kpool_set_policy(kp, &lv_sched_host, NULL);
	for_each_cpu(cpu, &kp->cpus) {
		lv_cpu_part(kp, cpu, true);
		per_cpu_ptr(&lv_kcpu, cpu)->pool = NULL;
	}
	list_del(&kp->list);
	lv_nr_pools--;
}

static void lv_kpool_free(struct lv_kpool *kp)
{
	cancel_delayed_work_sync(&kp->watchdog);
	cancel_work_sync(&kp->thrown);
	hrtimer_cancel(&kp->timer);
	kfree_rcu(kp, rcu);
}

/**
 * lv_kpool_delete - a pool goes
 * @id: which
 * @forced: it may have VMs, since nobody was told of it
 *
 * Return: 0, -ENOENT, -EINVAL: pool 0, -EBUSY: it has VMs.
 */
int lv_kpool_delete(u32 id, bool forced)
{
	struct lv_kpool *kp;
	int err = 0;

	lv_sched_lock();
	kp = lv_kpool_find(id);
	if (!kp)
		err = -ENOENT;
	else if (kp == &lv_default_pool)
		err = -EINVAL;
	else if (kp->core.nr_vms && !forced)
		err = -EBUSY;
	else
		lv_kpool_empty(kp);
	lv_sched_unlock();
	if (err)
		return err;
	static_branch_dec(&lv_sched_on);
	lv_kpool_free(kp);
	return 0;
}

/* ---- VMs ---- */

static void lv_leave(struct lv_vm *vm)
{
	struct lv_kpool *kp = lv_to_kpool(vm->sched.pool);

	lv_pool_lock(kp);
	lv_core_vm_leave(&vm->sched);
	lv_pool_unlock(kp);
}

static int lv_join(struct lv_vm *vm, struct lv_kpool *kp)
{
	int err;

	lv_pool_lock(kp);
	err = lv_core_vm_join(&kp->core, &vm->sched);
	lv_pool_unlock(kp);
	return err;
}

/** lv_kpool_move - a VM changes pools while it runs; 0, -ENOMEM, or refused */
int lv_kpool_move(struct lv_vm *vm, struct lv_kpool *to)
{
	struct lv_kpool *from = lv_to_kpool(vm->sched.pool);
	int err;

	if (to == from)
		return 0;
	err = lv_kpool_is_host(to) ? 0 : lv_gate_prepare(vm);
	if (err)
		return err;
	lv_leave(vm);
	err = lv_join(vm, to);
	/* What it had it gets again, unless it changed meanwhile. */
	if (err && lv_join(vm, from))
		lv_join(vm, &lv_default_pool);
	if (lv_kpool_is_host(lv_to_kpool(vm->sched.pool)))
		lv_unpin_vm(&vm->sched);
	return err;
}

/** lv_sched_vm_add - a VM is created; it is in the default pool */
void lv_sched_vm_add(struct lv_vm *vm)
{
	guard(mutex)(&lv_sched_mutex);
	vm->sched.id = ++lv_last_vm;
	vm->sched.params.weight = LV_WEIGHT_DEFAULT;
	vm->owner = current_uid();
	vm->creator = get_pid(task_tgid(current));
	get_task_comm(vm->comm, current);
	list_add_tail(&vm->sched_list, &lv_sched_vms);
	lv_join(vm, &lv_default_pool);
}

/** lv_sched_vm_remove - it goes; nobody runs its vCPUs any more */
void lv_sched_vm_remove(struct lv_vm *vm)
{
	mutex_lock(&lv_sched_mutex);
	list_del(&vm->sched_list);
	lv_leave(vm);
	mutex_unlock(&lv_sched_mutex);
	put_pid(vm->creator);
}

/** lv_sched_vcpu_add - a VM gets a vCPU; the pool's policy may refuse it */
int lv_sched_vcpu_add(struct lv_vcpu *v)
{
	struct lv_kpool *kp;
	int err;

	guard(mutex)(&lv_sched_mutex);
	kp = lv_to_kpool(v->vm->sched.pool);
	if (!lv_kpool_is_host(kp)) {
		v->affinity = kmalloc(cpumask_size(), GFP_KERNEL_ACCOUNT);
		if (!v->affinity)
			return -ENOMEM;
	}
	lv_pool_lock(kp);
	err = lv_core_vcpu_join(&v->vm->sched, &v->sched);
	lv_pool_unlock(kp);
	return err;
}

/** lv_sched_vcpu_remove - one that was added but did not come to life */
void lv_sched_vcpu_remove(struct lv_vcpu *v)
{
	struct lv_kpool *kp;

	guard(mutex)(&lv_sched_mutex);
	kp = lv_to_kpool(v->vm->sched.pool);
	lv_pool_lock(kp);
	lv_core_vcpu_leave(&v->sched);
	lv_pool_unlock(kp);
}

/* ---- module ---- */

int lv_sched_init(void)
{
	int cpu, err;

	for_each_possible_cpu(cpu)
		lv_gate_cpu_init(per_cpu_ptr(&lv_kcpu, cpu));
	lv_kpool_init(&lv_default_pool, "default");
	err = cpuhp_setup_state_nocalls(CPUHP_AP_ONLINE_DYN, "labvisor:sched",
					lv_sched_cpu_online,
					lv_sched_cpu_offline);
	if (err < 0)
		return err;
	lv_sched_cpuhp = err;
	lv_bpf_register();
	return 0;
}

/* No VM is left, so no pool has one. */
void lv_sched_exit(void)
{
	struct lv_kpool *kp, *next;

	list_for_each_entry_safe(kp, next, &lv_sched_pools, list)
		if (kp != &lv_default_pool)
			lv_kpool_delete(kp->core.id, false);
	cpuhp_remove_state_nocalls(lv_sched_cpuhp);
	rcu_barrier();
}
