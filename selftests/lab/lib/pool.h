/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Pools, policies and what they tell of VMs, as <linux/labvisor.h> has them.
 * @dev is the open device; ids are the numbers that the module gave.
 */
#ifndef SELFTESTS_POOL_H
#define SELFTESTS_POOL_H

#include <linux/labvisor.h>
#include "lab.h"

#define MAX_POLICIES 16
#define MS 1000000ull /* ns */

/* The pool's number, or -errno. No policy, a slice of 0: what the module takes. */
int pool_create(int dev, const char *name, const char *policy, u64 cpus,
		u64 slice_ns);
int pool_set_policy(int dev, u32 pool, const char *policy);
void pool_set_slice(int dev, u32 pool, u64 ns);
int pool_delete(int dev, u32 pool);
struct lv_pool_info pool_info(int dev, u32 pool);

/* Their names, "host" included; the result is how many there are. */
u32 policy_names(int dev, char names[MAX_POLICIES][LV_NAME_LEN]);

struct lv_vm_info vm_info(int dev, u32 vm);
struct lv_vm_info vm_newest(int dev);
u32 vm_of_process(int dev, pid_t pid); /* 0: it has none */
int vm_attach(int dev, u32 vm, u32 pool);
int vm_set(int dev, u32 vm, u32 vcpu, u32 flags, struct lv_vm_params params);
#define VM_SET(dev, vm, vcpu, flags, ...) \
	vm_set(dev, vm, vcpu, flags, (struct lv_vm_params){ __VA_ARGS__ })

struct lv_vcpu_info vcpu_info(int dev, u32 vm, u32 index);

#endif /* SELFTESTS_POOL_H */
