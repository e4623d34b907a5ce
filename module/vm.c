// SPDX-License-Identifier: GPL-2.0-only
/*
 * Life of a VM: its file descriptor, its lists, its end.
 *
 * A VM lives as long as any file descriptor refers to it: its own, those of
 * its vCPUs, and mappings of those. Which goes first does not matter.
 */
#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/sched/mm.h>

#include "labvisor.h"

static int lv_vm_release(struct inode *inode, struct file *file)
{
	lv_vm_put(file->private_data);
	return 0;
}

static const struct file_operations lv_vm_fops = {
	.owner = THIS_MODULE,
	.release = lv_vm_release,
	.unlocked_ioctl = lv_vm_ioctl,
	.compat_ioctl = lv_vm_ioctl,
	.llseek = noop_llseek,
};

static struct lv_vm *lv_vm_alloc(void)
{
	struct lv_vm *vm = kvzalloc(sizeof(*vm), GFP_KERNEL_ACCOUNT);
	int err;

	if (!vm)
		return ERR_PTR(-ENOMEM);
	refcount_set(&vm->users, 1);
	mutex_init(&vm->lock);
	vm->mm = current->mm;
	mmgrab(vm->mm);
	lv_clock_init(vm);

	err = lv_memory_init(vm);
	if (err)
		goto out;
	/* The MMU last: from then on the notifier sees the VM. */
	err = lv_iobus_init(vm) ?: lv_mmu_init(vm);
	if (!err)
		return vm;
	lv_iobus_free(vm);
	lv_memory_free(vm);
out:
	mmdrop(vm->mm);
	kvfree(vm);
	return ERR_PTR(err);
}

static void lv_vm_free(struct lv_vm *vm)
{
	int i;

	lv_stat_remove(vm);
	lv_sched_vm_remove(vm);
	lv_msr_filter_free(vm);
	/* Timers and event file descriptors first: they may kick a vCPU. */
	lv_irqchip_free(vm);
	/* Until its notifier is gone, the host may ask the vCPUs for a flush. */
	lv_mmu_free(vm);
	for (i = 0; i < vm->nr_vcpus; i++)
		lv_vcpu_destroy(vm->vcpus[i]);
	lv_iobus_free(vm);
	lv_memory_free(vm);
	mmdrop(vm->mm);
	kvfree(vm);
}

/** lv_vm_create - KVM_CREATE_VM; only type 0 exists on x86 */
int lv_vm_create(unsigned long type)
{
	struct lv_vm *vm;
	int fd;

	if (type)
		return -EINVAL;
	fd = lv_hardware_get();
	if (fd)
		return fd;
	vm = lv_vm_alloc();
	if (IS_ERR(vm)) {
		lv_hardware_put();
		return PTR_ERR(vm);
	}
	lv_stat_add(vm);
	lv_sched_vm_add(vm);
	fd = anon_inode_getfd("kvm-vm", &lv_vm_fops, vm, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		lv_vm_put(vm);
	return fd;
}

void lv_vm_get(struct lv_vm *vm)
{
	refcount_inc(&vm->users);
}

void lv_vm_put(struct lv_vm *vm)
{
	if (!refcount_dec_and_test(&vm->users))
		return;
	lv_vm_free(vm);
	lv_hardware_put();
}
