// SPDX-License-Identifier: GPL-2.0-only
/* Pools: each call is one ioctl, or a walk through what there is. */
#include "pool.h"

/* As it is, even if it is too long. */
static void copy_name(char *to, const char *name)
{
	memcpy(to, name, strnlen(name, LV_NAME_LEN));
}

int pool_create(int dev, const char *name, const char *policy, u64 cpus,
		u64 slice_ns)
{
	struct lv_pool_config c = { .size = sizeof(c),
				    .slice_ns = slice_ns,
				    .cpus = { cpus },
				    .flags = LV_POOL_CPUS };
	int err;

	copy_name(c.name, name);
	if (policy) {
		c.flags |= LV_POOL_POLICY;
		copy_name(c.policy, policy);
	}
	if (slice_ns)
		c.flags |= LV_POOL_SLICE;
	err = dev_ioctl(dev, LV_POOL_CREATE, &c);
	return err ?: (int)c.id;
}

int pool_set_policy(int dev, u32 pool, const char *policy)
{
	struct lv_pool_config c = { .size = sizeof(c),
				    .id = pool,
				    .flags = LV_POOL_POLICY };

	copy_name(c.policy, policy);
	return dev_ioctl(dev, LV_POOL_SET, &c);
}

void pool_set_slice(int dev, u32 pool, u64 ns)
{
	struct lv_pool_config c = { .size = sizeof(c),
				    .id = pool,
				    .slice_ns = ns,
				    .flags = LV_POOL_SLICE };

	MUST(dev, LV_POOL_SET, &c);
}

int pool_delete(int dev, u32 pool)
{
	struct lv_pool_id id = { .size = sizeof(id), .id = pool };

	return dev_ioctl(dev, LV_POOL_DELETE, &id);
}

struct lv_pool_info pool_info(int dev, u32 pool)
{
	struct lv_pool_info info = { .size = sizeof(info), .id = pool };

	MUST(dev, LV_POOL_INFO, &info);
	if (info.id != pool)
		die("pool %u is not there, but %u is", pool, info.id);
	return info;
}

u32 policy_names(int dev, char names[MAX_POLICIES][LV_NAME_LEN])
{
	struct lv_policy_info info = { .size = sizeof(info) };

	for (; info.index < MAX_POLICIES; info.index++) {
		if (dev_ioctl(dev, LV_POLICY_INFO, &info))
			break;
		strcpy(names[info.index], info.name);
	}
	return info.index;
}

/* The first VM from number @id on. */
static bool find_vm(int dev, u32 id, struct lv_vm_info *info)
{
	*info = (struct lv_vm_info){ .size = sizeof(*info), .id = id };
	return !dev_ioctl(dev, LV_VM_INFO, info);
}

struct lv_vm_info vm_info(int dev, u32 vm)
{
	struct lv_vm_info info;

	if (!find_vm(dev, vm, &info) || info.id != vm)
		die("VM %u is not there", vm);
	return info;
}

struct lv_vm_info vm_newest(int dev)
{
	struct lv_vm_info info, newest = { 0 };

	while (find_vm(dev, newest.id + 1, &info))
		newest = info;
	if (!newest.id)
		die("there is no VM");
	return newest;
}

u32 vm_of_process(int dev, pid_t pid)
{
	struct lv_vm_info info = { 0 };

	while (find_vm(dev, info.id + 1, &info))
		if (info.pid == pid)
			return info.id;
	return 0;
}

int vm_attach(int dev, u32 vm, u32 pool)
{
	struct lv_vm_attach a = { .size = sizeof(a), .vm = vm, .pool = pool };

	return dev_ioctl(dev, LV_VM_ATTACH, &a);
}

int vm_set(int dev, u32 vm, u32 vcpu, u32 flags, struct lv_vm_params params)
{
	struct lv_vm_set set = { .size = sizeof(set),
				 .vm = vm,
				 .vcpu = vcpu,
				 .flags = flags,
				 .params = params };

	return dev_ioctl(dev, LV_VM_SET, &set);
}

struct lv_vcpu_info vcpu_info(int dev, u32 vm, u32 index)
{
	struct lv_vcpu_info info = { .size = sizeof(info),
				     .vm = vm,
				     .index = index };

	MUST(dev, LV_VCPU_INFO, &info);
	return info;
}
