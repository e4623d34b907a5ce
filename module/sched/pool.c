// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the administrator calls: the ioctls of uapi/linux/labvisor.h.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/module.h>
#include <linux/pid.h>
#include <linux/pid_namespace.h>

#include "../../uapi/linux/labvisor.h"
#include "gate.h"

#define LV_SLICE_MAX 10000000000ULL

union lv_arg {
	u32 size;
	struct lv_policy_info policy;
	struct lv_pool_info pool;
	struct lv_pool_config config;
	struct lv_pool_id id;
	struct lv_vm_info vm;
	struct lv_vm_attach attach;
	struct lv_vm_set set;
	struct lv_vcpu_info vcpu;
	struct lv_exit_info exit;
};

static_assert(LV_NAME_LEN == LV_SCHED_NAME);
static_assert(LV_NAME_LEN == TASK_COMM_LEN);
static_assert(LV_NR_TIMES <= LV_INFO_TIMES);
static_assert(LV_NR_WAKES <= LV_INFO_WAKES);
static_assert(LV_NR_STOPS <= LV_INFO_STOPS);
static_assert(LV_SCHED_LATENCIES == LV_INFO_LATENCIES);
static_assert(LV_NR_EXITS <= LV_INFO_EXITS);
static_assert(LV_PARAM_WEIGHT == LV_CHANGE_WEIGHT);
static_assert(LV_PARAM_CAP == LV_CHANGE_CAP);
static_assert(LV_PARAM_GROUP == LV_CHANGE_GROUP);
static_assert(LV_PARAM_DEADLINE == LV_CHANGE_DEADLINE);

/* ---- look-up and permission ---- */

/* The lists are in the order of the numbers. */
static struct lv_kpool *lv_kpool_from(u32 id)
{
	struct lv_kpool *kp;

	list_for_each_entry(kp, &lv_sched_pools, list)
		if (kp->core.id >= id)
			return kp;
	return NULL;
}

static struct lv_vm *lv_vm_from(u32 id)
{
	struct lv_vm *vm;

	list_for_each_entry(vm, &lv_sched_vms, sched_list)
		if (vm->sched.id >= id)
			return vm;
	return NULL;
}

static struct lv_vm *lv_vm_find(u32 id)
{
	struct lv_vm *vm = lv_vm_from(id);

	return vm && vm->sched.id == id ? vm : NULL;
}

static struct lv_sched_vcpu *lv_find_vcpu(struct lv_vm *vm, u32 id)
{
	struct lv_sched_vcpu *v;

	lv_for_each_vm_vcpu(v, &vm->sched)
		if (v->id == id)
			return v;
	return NULL;
}

static bool lv_may_touch(const struct lv_vm *vm)
{
	return uid_eq(vm->owner, current_euid()) || capable(CAP_SYS_NICE);
}

/* ---- policies and pools ---- */

static long lv_policy_info(union lv_arg *arg)
{
	const struct lv_policy *policy = lv_policy_at(arg->policy.index);

	if (!policy)
		return -ENOENT;
	strscpy(arg->policy.name, policy->ops->name, LV_NAME_LEN);
	strscpy(arg->policy.module, policy->owner ? policy->owner->name : "",
		sizeof(arg->policy.module));
	return 0;
}

static void lv_get_cpus(u64 *words, const struct cpumask *mask)
{
	unsigned int cpu;

	for_each_cpu(cpu, mask)
		if (cpu < 64 * LV_CPU_WORDS)
			words[cpu / 64] |= BIT_ULL(cpu % 64);
}

/* Those that the host does not have do not count, as if they were offline. */
static void lv_put_cpus(struct cpumask *mask, const u64 *words)
{
	unsigned int cpu;

	for_each_possible_cpu(cpu)
		if (cpu < 64 * LV_CPU_WORDS &&
		    words[cpu / 64] & BIT_ULL(cpu % 64))
			cpumask_set_cpu(cpu, mask);
}

static u64 lv_busy(const struct lv_pool *pool)
{
	const struct lv_sched_cpu *cpu;
	u64 busy = 0;

	lv_for_each_pool_cpu(cpu, pool)
		busy += cpu->busy +
			(cpu->curr ? pool->now - cpu->busy_since : 0);
	return busy;
}

static long lv_pool_info(union lv_arg *arg)
{
	struct lv_pool_info *info = &arg->pool;
	struct lv_kpool *kp = lv_kpool_from(info->id);

	if (!kp)
		return -ENOENT;
	*info = (struct lv_pool_info){ .size = info->size };
	strscpy(info->name, kp->name, LV_NAME_LEN);
	lv_get_cpus(info->cpus, &kp->cpus);

	lv_pool_lock(kp);
	info->id = kp->core.id;
	strscpy(info->policy, kp->core.ops->name, LV_NAME_LEN);
	strscpy(info->fault, kp->core.fault ?: "", LV_REASON_LEN);
	info->slice_ns = kp->core.slice;
	info->nr_vms = kp->core.nr_vms;
	info->nr_vcpus = kp->core.nr_vcpus;
	info->nr_cpus = kp->core.nr_cpus;
	info->switches = kp->core.switches;
	info->now_ns = kp->core.now;
	info->busy_ns = lv_busy(&kp->core);
	lv_pool_unlock(kp);
	return 0;
}

/* vCPUs whose slice is the pool's keep it so. */
static void lv_set_slice(struct lv_kpool *kp, u64 slice)
{
	struct lv_sched_vcpu *v;
	struct lv_sched_vm *vm;

	lv_pool_lock(kp);
	lv_for_each_pool_vm(vm, &kp->core)
		lv_for_each_vm_vcpu(v, vm)
			if (v->slice == kp->core.slice)
				v->slice = slice;
	kp->core.slice = slice;
	lv_pool_unlock(kp);
}

static bool lv_config_valid(const struct lv_pool_config *config)
{
	if (config->flags & ~(LV_POOL_POLICY | LV_POOL_SLICE | LV_POOL_CPUS) ||
	    config->reserved)
		return false;
	if (config->flags & LV_POOL_POLICY && !lv_name_valid(config->policy))
		return false;
	return !(config->flags & LV_POOL_SLICE) ||
	       (config->slice_ns >= LV_SLICE_MIN &&
		config->slice_ns <= LV_SLICE_MAX);
}

/* The policy after the CPUs, which it may refuse, and the slice for it first. */
static int lv_configure(struct lv_kpool *kp,
			const struct lv_pool_config *config)
{
	u64 old = kp->core.slice;
	int err = 0;

	if (config->flags & LV_POOL_SLICE)
		lv_set_slice(kp, config->slice_ns);
	if (config->flags & LV_POOL_POLICY)
		err = lv_pool_set_policy(kp, config->policy);
	if (err)
		lv_set_slice(kp, old);
	return err;
}

/* cpus[0] is what the caller asks for; cpus[1] is for what the pool had. */
static int lv_reconfigure(struct lv_kpool *kp,
			  const struct lv_pool_config *config,
			  struct cpumask *cpus)
{
	int err;

	if (!kp)
		return -ENOENT;
	if (kp == &lv_default_pool)
		return -EINVAL;
	if (!(config->flags & LV_POOL_CPUS))
		return lv_configure(kp, config);
	cpumask_copy(&cpus[1], &kp->cpus);
	err = lv_kpool_set_cpus(kp, &cpus[0]) ?: lv_configure(kp, config);
	if (err)
		lv_kpool_set_cpus(kp, &cpus[1]);
	return err;
}

static int lv_change(struct lv_pool_config *config, struct cpumask *cpus)
{
	int err;

	lv_sched_lock();
	err = lv_reconfigure(lv_kpool_find(config->id), config, cpus);
	lv_sched_unlock();
	return err;
}

static int lv_create(struct lv_pool_config *config, struct cpumask *cpus)
{
	int id, err;

	if (!lv_name_valid(config->name) || !(config->flags & LV_POOL_CPUS))
		return -EINVAL;
	id = lv_kpool_create(config->name, cpus);
	if (id < 0)
		return id;
	config->id = id;
	err = lv_change(config, cpus);
	if (err)
		lv_kpool_delete(id, true);
	return err;
}

/* To create a pool and to change one begins the same way. */
static long lv_config_pool(struct lv_pool_config *config,
			   int (*fn)(struct lv_pool_config *, struct cpumask *))
{
	struct cpumask *cpus;
	int err;

	if (!capable(CAP_SYS_NICE))
		return -EPERM;
	if (!lv_config_valid(config))
		return -EINVAL;
	cpus = kcalloc(2, sizeof(*cpus), GFP_KERNEL_ACCOUNT);
	if (!cpus)
		return -ENOMEM;
	lv_put_cpus(cpus, config->cpus);
	err = fn(config, cpus);
	kfree(cpus);
	return err;
}

static long lv_pool_create(union lv_arg *arg)
{
	return lv_config_pool(&arg->config, lv_create);
}

static long lv_pool_set(union lv_arg *arg)
{
	return lv_config_pool(&arg->config, lv_change);
}

static long lv_pool_delete(union lv_arg *arg)
{
	return capable(CAP_SYS_NICE) ? lv_kpool_delete(arg->id.id, false)
				     : -EPERM;
}

/* ---- VMs ---- */

static void lv_get_params(struct lv_vm_params *to,
			  const struct lv_sched_params *from)
{
	*to = (struct lv_vm_params){
		.weight = from->weight,
		.cap = from->cap,
		.group = from->group,
		.period_ns = from->period_ns,
		.budget_ns = from->budget_ns,
	};
}

static long lv_vm_info(union lv_arg *arg)
{
	struct lv_vm_info *info = &arg->vm;
	struct lv_vm *vm = lv_vm_from(info->id);

	if (!vm)
		return -ENOENT;
	*info = (struct lv_vm_info){
		.size = info->size,
		.id = vm->sched.id,
		.pool = vm->sched.pool->id,
		.pid = pid_vnr(vm->creator),
		.uid = from_kuid_munged(current_user_ns(), vm->owner),
		.nr_vcpus = vm->sched.nr_vcpus,
	};
	strscpy(info->comm, vm->comm, LV_NAME_LEN);
	lv_get_params(&info->params, &vm->sched.params);
	return 0;
}

static long lv_attach(struct lv_vm *vm, struct lv_kpool *kp)
{
	if (!lv_may_touch(vm))
		return -EPERM;
	return lv_to_kpool(vm->sched.pool) == kp ? 0 : lv_kpool_move(vm, kp);
}

static long lv_vm_attach(union lv_arg *arg)
{
	struct lv_vm_attach *attach = &arg->attach;
	struct lv_kpool *kp = lv_kpool_find(attach->pool);
	struct lv_vm *vm;
	long err = -ESRCH;

	if (!attach->vm == !attach->pid || attach->pid < 0)
		return -EINVAL;
	if (!kp)
		return -ENOENT;
	if (attach->vm) {
		vm = lv_vm_find(attach->vm);
		return vm ? lv_attach(vm, kp) : -ENOENT;
	}
	list_for_each_entry(vm, &lv_sched_vms, sched_list) {
		if (pid_vnr(vm->creator) != attach->pid)
			continue;
		err = lv_attach(vm, kp);
		if (err)
			break;
	}
	return err;
}

/* More than it has now, to the loss of others? No cap is the highest one. */
static bool lv_asks_more(const struct lv_sched_params *old,
			 const struct lv_sched_params *new, u32 what)
{
	return (what & LV_PARAM_WEIGHT && new->weight > old->weight) ||
	       (what & LV_PARAM_CAP && new->cap - 1 > old->cap - 1) ||
	       what & LV_PARAM_DEADLINE;
}

#define LV_PARAMS \
	(LV_PARAM_WEIGHT | LV_PARAM_CAP | LV_PARAM_GROUP | LV_PARAM_DEADLINE)

static long lv_vm_set(union lv_arg *arg)
{
	struct lv_vm_set *set = &arg->set;
	struct lv_vm *vm = lv_vm_find(set->vm);
	struct lv_kpool *kp = vm ? lv_to_kpool(vm->sched.pool) : NULL;
	struct lv_sched_vcpu *only = NULL;
	struct lv_sched_params params = {
		.weight = set->params.weight,
		.cap = set->params.cap,
		.group = set->params.group,
		.period_ns = set->params.period_ns,
		.budget_ns = set->params.budget_ns,
	};
	int err;

	if (!vm)
		return -ENOENT;
	if (set->flags & ~LV_PARAMS || set->params.reserved)
		return -EINVAL;
	if (set->vcpu != LV_ALL_VCPUS) {
		only = lv_find_vcpu(vm, set->vcpu);
		if (!only)
			return -ENOENT;
		if (set->flags & (LV_PARAM_WEIGHT | LV_PARAM_CAP))
			return -EINVAL;
	}
	if (!lv_may_touch(vm) ||
	    (lv_asks_more(&vm->sched.params, &params, set->flags) &&
	     !capable(CAP_SYS_NICE)))
		return -EPERM;
	lv_pool_lock(kp);
	err = lv_core_change_params(&vm->sched, only, &params, set->flags);
	lv_pool_unlock(kp);
	return err;
}

/* ---- vCPUs ---- */

/* The time that passed since the last event counts, too. */
static void lv_get_sched(struct lv_vcpu_info *info, struct lv_sched_vcpu *v)
{
	const struct lv_pool *pool = v->pool;

	lv_sched_charge(v);
	info->state = v->state;
	info->parked = v->parked;
	info->cpu = v->cpu ? v->cpu->id : ~0U;
	info->now_ns = pool->now;
	info->ran_ns = v->ran;
	memcpy(info->time_ns, v->time, sizeof(v->time));
	info->dispatches = v->dispatches;
	info->migrations = v->migrations;
	memcpy(info->wakes, v->wakes, sizeof(v->wakes));
	memcpy(info->stops, v->stops, sizeof(v->stops));
	memcpy(info->latency, v->latency, sizeof(v->latency));
	info->latency_max_ns = v->latency_max;
	info->period_ns = v->params.period_ns;
	info->budget_ns = v->params.budget_ns;
	if (pool->ops->dump && !pool->fault)
		pool->ops->dump(v, info->policy_text, LV_REASON_LEN);
}

static void lv_get_counts(struct lv_vcpu_info *info, struct lv_vcpu *v)
{
	unsigned int i;

	info->vcpu = v->id;
	info->exits = READ_ONCE(v->stat.exits);
	for (i = 0; i < LV_NR_EXITS; i++)
		info->exit_reason[i] = READ_ONCE(v->stat.reason[i]);
	rcu_read_lock();
	info->tid = pid_vnr(rcu_dereference(v->pid));
	rcu_read_unlock();
}

static long lv_vcpu_info(union lv_arg *arg)
{
	struct lv_vcpu_info *info = &arg->vcpu;
	struct lv_vm *vm = lv_vm_find(info->vm);
	struct lv_sched_vcpu *v = vm ? vm->sched.vcpus : NULL;
	u32 index = info->index;

	while (v && index--)
		v = v->next;
	if (!v)
		return -ENOENT;
	*info = (struct lv_vcpu_info){
		.size = info->size,
		.vm = info->vm,
		.index = info->index,
	};
	lv_pool_lock(lv_to_kpool(vm->sched.pool));
	lv_get_sched(info, v);
	lv_pool_unlock(lv_to_kpool(vm->sched.pool));
	info->policy_text[LV_REASON_LEN - 1] = 0;
	lv_get_counts(info, container_of(v, struct lv_vcpu, sched));
	return 0;
}

static long lv_exit_info(union lv_arg *arg)
{
	if (arg->exit.index >= LV_NR_EXITS)
		return -ENOENT;
	strscpy(arg->exit.name, lv_exit_name(arg->exit.index), LV_NAME_LEN);
	return 0;
}

/* ---- dispatch ---- */

/* Pools come, change and go by functions that take the locks themselves. */
#define LV_SCHED_IOCTL(cmd, fn, locked) [_IOC_NR(cmd)] = { cmd, locked, fn }
static const struct {
	unsigned int cmd;
	bool locked;
	long (*fn)(union lv_arg *arg);
} lv_sched_ioctls[] = {
	LV_SCHED_IOCTL(LV_POLICY_INFO, lv_policy_info, true),
	LV_SCHED_IOCTL(LV_POOL_INFO, lv_pool_info, true),
	LV_SCHED_IOCTL(LV_POOL_CREATE, lv_pool_create, false),
	LV_SCHED_IOCTL(LV_POOL_SET, lv_pool_set, false),
	LV_SCHED_IOCTL(LV_POOL_DELETE, lv_pool_delete, false),
	LV_SCHED_IOCTL(LV_VM_INFO, lv_vm_info, true),
	LV_SCHED_IOCTL(LV_VM_ATTACH, lv_vm_attach, true),
	LV_SCHED_IOCTL(LV_VM_SET, lv_vm_set, true),
	LV_SCHED_IOCTL(LV_VCPU_INFO, lv_vcpu_info, true),
	LV_SCHED_IOCTL(LV_EXIT_INFO, lv_exit_info, true),
};

/* The arguments are copied here and, if they are an answer, back. */
static long lv_sched_call(unsigned int nr, void __user *user, u32 size,
			  union lv_arg *arg)
{
	unsigned int cmd = lv_sched_ioctls[nr].cmd;
	u32 known = _IOC_SIZE(cmd);
	long ret = copy_struct_from_user(arg, known, user, size);

	if (ret)
		return ret;
	arg->size = size; /* user space may have changed it meanwhile */
	if (lv_sched_ioctls[nr].locked)
		lv_sched_lock();
	ret = lv_sched_ioctls[nr].fn(arg);
	if (lv_sched_ioctls[nr].locked)
		lv_sched_unlock();
	if (ret || !(_IOC_DIR(cmd) & _IOC_READ) ||
	    !copy_to_user(user, arg, min(size, known)))
		return ret;
	/* A pool whose number nobody knows is as if it had never been. */
	if (cmd == LV_POOL_CREATE)
		lv_kpool_delete(arg->config.id, true);
	return -EFAULT;
}

/** lv_sched_ioctl - an ioctl of the type LV_IOC_TYPE on the device node */
long lv_sched_ioctl(unsigned int cmd, void __user *user)
{
	unsigned int nr = _IOC_NR(cmd);
	union lv_arg *arg;
	u32 size;
	long ret;

	if (nr >= ARRAY_SIZE(lv_sched_ioctls))
		return -ENOTTY;
	nr = array_index_nospec(nr, ARRAY_SIZE(lv_sched_ioctls));
	if (_IOC_DIR(cmd) != _IOC_DIR(lv_sched_ioctls[nr].cmd))
		return -ENOTTY;
	if (get_user(size, (u32 __user *)user))
		return -EFAULT;
	if (size < sizeof(size))
		return -EINVAL;
	if (size > PAGE_SIZE)
		return -E2BIG;
	arg = kzalloc(sizeof(*arg), GFP_KERNEL_ACCOUNT);
	if (!arg)
		return -ENOMEM;
	ret = lv_sched_call(nr, user, size, arg);
	kfree(arg);
	return ret;
}
