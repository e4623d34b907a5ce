// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctl tables. Which ioctl exists, on which file descriptor, and who
 * handles it; copying of arguments whose size the command encodes.
 */
#include <linux/compat.h>
#include <linux/fs.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "labvisor.h"

/* Arguments up to this size are copied to the stack. */
#define LV_SMALL_ARG 128

struct lv_ioctl_arg {
	u8 small[LV_SMALL_ARG];
	void *data;
};

/* The handler copies itself: its argument has a variable part. */
#define LV_RAW 1

#define LV_NR_ARG_PAGES 2 /* larger than any struct of the KVM API */

static int lv_copy_in(struct lv_ioctl_arg *arg, unsigned int cmd,
		      unsigned long user, bool raw)
{
	size_t size = _IOC_SIZE(cmd);

	arg->data = NULL;
	if (raw || _IOC_DIR(cmd) == _IOC_NONE)
		return 0;
	if (size > LV_NR_ARG_PAGES * PAGE_SIZE)
		return -ENOTTY;
	arg->data = arg->small;
	if (size > sizeof(arg->small)) {
		arg->data = kzalloc(size, GFP_KERNEL_ACCOUNT);
		if (!arg->data)
			return -ENOMEM;
	} else {
		memset(arg->small, 0, sizeof(arg->small));
	}
	if (_IOC_DIR(cmd) & _IOC_WRITE &&
	    copy_from_user(arg->data, (void __user *)user, size))
		return -EFAULT;
	return 0;
}

static long lv_copy_out(struct lv_ioctl_arg *arg, unsigned int cmd,
			unsigned long user, long ret)
{
	if (ret >= 0 && arg->data && _IOC_DIR(cmd) & _IOC_READ &&
	    copy_to_user((void __user *)user, arg->data, _IOC_SIZE(cmd)))
		return -EFAULT;
	return ret;
}

static void lv_free_arg(struct lv_ioctl_arg *arg)
{
	if (arg->data != arg->small)
		kfree(arg->data);
}

/* ---- capabilities ---- */

/* KVM_CHECK_EXTENSION: what is not here is 0. */
static const struct {
	u16 cap;
	int val;
} lv_caps[] = {
	{ KVM_CAP_USER_MEMORY, 1 },
	{ KVM_CAP_DESTROY_MEMORY_REGION_WORKS, 1 },
	{ KVM_CAP_JOIN_MEMORY_REGIONS_WORKS, 1 },
	{ KVM_CAP_READONLY_MEM, 1 },
	{ KVM_CAP_NR_MEMSLOTS, LV_NR_USER_REGIONS },
	{ KVM_CAP_SYNC_MMU, 1 },
	{ KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
	  KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE },
	{ KVM_CAP_NR_VCPUS, 64 },
	{ KVM_CAP_MAX_VCPUS, LV_MAX_VCPUS },
	{ KVM_CAP_MAX_VCPU_ID, LV_MAX_VCPUS },
	{ KVM_CAP_IMMEDIATE_EXIT, 1 },
	{ KVM_CAP_SYNC_REGS, KVM_SYNC_X86_VALID_FIELDS },
	{ KVM_CAP_MP_STATE, 1 },
	{ KVM_CAP_VCPU_EVENTS, 1 },
	{ KVM_CAP_EXCEPTION_PAYLOAD, 1 },
	{ KVM_CAP_DEBUGREGS, 1 },
	{ KVM_CAP_SET_GUEST_DEBUG, 1 },
	{ KVM_CAP_SET_GUEST_DEBUG2,
	  KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP |
		  KVM_GUESTDBG_USE_SW_BP | KVM_GUESTDBG_USE_HW_BP },
	{ KVM_CAP_X86_ROBUST_SINGLESTEP, 1 },
	{ KVM_CAP_XSAVE, 1 },
	{ KVM_CAP_XSAVE2, 4096 },
	{ KVM_CAP_XCRS, 1 },
	{ KVM_CAP_SREGS2, 1 },
	{ KVM_CAP_EXT_CPUID, 1 },
	{ KVM_CAP_EXT_EMUL_CPUID, 1 },
	{ KVM_CAP_GET_MSR_FEATURES, 1 },
	{ KVM_CAP_GET_TSC_KHZ, 1 },
	{ KVM_CAP_TSC_DEADLINE_TIMER, 1 },
	{ KVM_CAP_ADJUST_CLOCK,
	  KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC },
	{ KVM_CAP_KVMCLOCK_CTRL, 1 },
	{ KVM_CAP_CLOCKSOURCE, 1 },
	{ KVM_CAP_STEAL_TIME, 1 },
	{ KVM_CAP_IRQCHIP, 1 },
	{ KVM_CAP_IRQ_ROUTING, 1 },
	{ KVM_CAP_IRQ_INJECT_STATUS, 1 },
	{ KVM_CAP_SPLIT_IRQCHIP, 1 },
	{ KVM_CAP_PIT2, 1 },
	{ KVM_CAP_PIT_STATE2, 1 },
	{ KVM_CAP_REINJECT_CONTROL, 1 },
	{ KVM_CAP_SIGNAL_MSI, 1 },
	{ KVM_CAP_IRQFD, 1 },
	{ KVM_CAP_IRQFD_RESAMPLE, 1 },
	{ KVM_CAP_IOEVENTFD, 1 },
	{ KVM_CAP_IOEVENTFD_ANY_LENGTH, 1 },
	{ KVM_CAP_IOEVENTFD_NO_LENGTH, 1 },
	{ KVM_CAP_COALESCED_MMIO, LV_VCPU_COALESCED_PAGE },
	{ KVM_CAP_COALESCED_PIO, 1 },
	{ KVM_CAP_SET_BOOT_CPU_ID, 1 },
	{ KVM_CAP_SET_TSS_ADDR, 1 },
	{ KVM_CAP_SET_IDENTITY_MAP_ADDR, 1 },
	{ KVM_CAP_USER_NMI, 1 },
	{ KVM_CAP_HLT, 1 },
	{ KVM_CAP_ENABLE_CAP_VM, 1 },
	{ KVM_CAP_CHECK_EXTENSION_VM, 1 },
	{ KVM_CAP_INTERNAL_ERROR_DATA, 1 },
	{ KVM_CAP_IOEVENTFD, 1 },
	{ KVM_CAP_X86_DISABLE_EXITS,
	  KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE },
};

static long lv_check_extension(unsigned long cap)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lv_caps); i++)
		if (lv_caps[i].cap == cap)
			return lv_caps[i].val;
	return 0;
}

/* ---- system file descriptor ---- */

static long lv_get_api_version(void *data, unsigned long arg)
{
	return arg ? -EINVAL : KVM_API_VERSION;
}

static long lv_create_vm(void *data, unsigned long arg)
{
	return lv_vm_create(arg);
}

static long lv_get_vcpu_mmap_size(void *data, unsigned long arg)
{
	return arg ? -EINVAL : LV_VCPU_PAGES * PAGE_SIZE;
}

static long lv_sys_check_extension(void *data, unsigned long arg)
{
	return lv_check_extension(arg);
}

static const struct {
	unsigned int cmd;
	lv_sys_fn fn;
	u8 flags;
} lv_sys_ioctls[] = {
	{ KVM_GET_API_VERSION, lv_get_api_version },
	{ KVM_CREATE_VM, lv_create_vm },
	{ KVM_CHECK_EXTENSION, lv_sys_check_extension },
	{ KVM_GET_VCPU_MMAP_SIZE, lv_get_vcpu_mmap_size },
	{ KVM_GET_SUPPORTED_CPUID, lv_ioctl_get_supported_cpuid, LV_RAW },
	{ KVM_GET_EMULATED_CPUID, lv_ioctl_get_emulated_cpuid, LV_RAW },
	{ KVM_GET_MSR_INDEX_LIST, lv_ioctl_get_msr_index_list, LV_RAW },
	{ KVM_GET_MSR_FEATURE_INDEX_LIST, lv_ioctl_get_msr_feature_list,
	  LV_RAW },
	{ KVM_GET_MSRS, lv_ioctl_get_feature_msrs, LV_RAW },
};

long lv_device_ioctl(struct file *file, unsigned int cmd, unsigned long user)
{
	struct lv_ioctl_arg arg;
	unsigned int i;
	long ret;

	for (i = 0; i < ARRAY_SIZE(lv_sys_ioctls); i++)
		if (lv_sys_ioctls[i].cmd == cmd)
			break;
	if (i == ARRAY_SIZE(lv_sys_ioctls))
		return -ENOTTY;
	ret = lv_copy_in(&arg, cmd, user, lv_sys_ioctls[i].flags & LV_RAW);
	if (!ret)
		ret = lv_sys_ioctls[i].fn(arg.data, user);
	ret = lv_copy_out(&arg, cmd, user, ret);
	lv_free_arg(&arg);
	return ret;
}

/* ---- VM file descriptor ---- */

static LV_VM_IOCTL(vm_check_extension)
{
	return lv_check_extension(arg);
}

static LV_VM_IOCTL(create_vcpu)
{
	long ret;

	mutex_lock(&vm->lock);
	ret = arg == (u32)arg ? lv_vcpu_create(vm, arg) : -EINVAL;
	mutex_unlock(&vm->lock);
	return ret;
}

/*
 * Where Intel CPUs without unrestricted guest keep a TSS and a page table for
 * real mode. Labvisor needs neither and only checks the address.
 */
static LV_VM_IOCTL(set_tss_addr)
{
	return arg > (unsigned long)(u32)(-3 * PAGE_SIZE) ? -EINVAL : 0;
}

static LV_VM_IOCTL(set_identity_map_addr)
{
	return vm->nr_vcpus ? -EINVAL : 0;
}

static LV_VM_IOCTL(set_boot_cpu_id)
{
	long ret = 0;

	mutex_lock(&vm->lock);
	if (vm->nr_vcpus)
		ret = -EBUSY;
	else if (arg >= LV_MAX_VCPUS)
		ret = -EINVAL;
	else
		vm->boot_cpu_id = arg;
	mutex_unlock(&vm->lock);
	return ret;
}

static long lv_disable_exits(struct lv_vm *vm, u64 exits)
{
	if (exits &
	    ~(u64)(KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE))
		return -EINVAL;
	if (vm->nr_vcpus)
		return -EINVAL;
	vm->disable_hlt_exits |= !!(exits & KVM_X86_DISABLE_EXITS_HLT);
	vm->disable_pause_exits |= !!(exits & KVM_X86_DISABLE_EXITS_PAUSE);
	return 0;
}

static long lv_enable_cap_locked(struct lv_vm *vm,
				 const struct kvm_enable_cap *cap)
{
	switch (cap->cap) {
	case KVM_CAP_SPLIT_IRQCHIP:
		if (cap->args[0] != (u32)cap->args[0])
			return -EINVAL;
		return lv_split_irqchip(vm, cap->args[0]);
	case KVM_CAP_X86_DISABLE_EXITS:
		return lv_disable_exits(vm, cap->args[0]);
	case KVM_CAP_EXCEPTION_PAYLOAD:
		vm->exception_payload = cap->args[0];
		return 0;
	case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
		if (cap->args[0] & ~(u64)KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE)
			return -EINVAL;
		vm->manual_dirty_log = cap->args[0];
		return 0;
	default:
		return -EINVAL;
	}
}

static LV_VM_IOCTL(enable_cap)
{
	const struct kvm_enable_cap *cap = data;
	long ret;

	if (cap->flags)
		return -EINVAL;
	mutex_lock(&vm->lock);
	ret = lv_enable_cap_locked(vm, cap);
	mutex_unlock(&vm->lock);
	return ret;
}

static const struct {
	unsigned int cmd;
	lv_vm_fn fn;
	u8 flags;
} lv_vm_ioctls[] = {
	{ KVM_IRQ_LINE, lv_ioctl_irq_line },
	{ KVM_IRQ_LINE_STATUS, lv_ioctl_irq_line_status },
	{ KVM_SIGNAL_MSI, lv_ioctl_signal_msi },
	{ KVM_SET_USER_MEMORY_REGION, lv_ioctl_set_user_memory_region },
	{ KVM_GET_DIRTY_LOG, lv_ioctl_get_dirty_log },
	{ KVM_CLEAR_DIRTY_LOG, lv_ioctl_clear_dirty_log },
	{ KVM_CREATE_VCPU, lv_create_vcpu },
	{ KVM_CHECK_EXTENSION, lv_vm_check_extension },
	{ KVM_ENABLE_CAP, lv_enable_cap },
	{ KVM_SET_TSS_ADDR, lv_set_tss_addr },
	{ KVM_SET_IDENTITY_MAP_ADDR, lv_set_identity_map_addr },
	{ KVM_SET_BOOT_CPU_ID, lv_set_boot_cpu_id },
	{ KVM_CREATE_IRQCHIP, lv_ioctl_create_irqchip },
	{ KVM_GET_IRQCHIP, lv_ioctl_get_irqchip },
	{ KVM_SET_IRQCHIP, lv_ioctl_set_irqchip, LV_RAW },
	{ KVM_CREATE_PIT2, lv_ioctl_create_pit2 },
	{ KVM_GET_PIT2, lv_ioctl_get_pit2 },
	{ KVM_SET_PIT2, lv_ioctl_set_pit2 },
	{ KVM_REINJECT_CONTROL, lv_ioctl_reinject_control },
	{ KVM_SET_GSI_ROUTING, lv_ioctl_set_gsi_routing, LV_RAW },
	{ KVM_IRQFD, lv_ioctl_irqfd },
	{ KVM_IOEVENTFD, lv_ioctl_ioeventfd },
	{ KVM_REGISTER_COALESCED_MMIO, lv_ioctl_register_coalesced },
	{ KVM_UNREGISTER_COALESCED_MMIO, lv_ioctl_unregister_coalesced },
	{ KVM_GET_CLOCK, lv_ioctl_get_clock },
	{ KVM_SET_CLOCK, lv_ioctl_set_clock },
};

long lv_vm_ioctl(struct file *file, unsigned int cmd, unsigned long user)
{
	struct lv_vm *vm = file->private_data;
	struct lv_ioctl_arg arg;
	unsigned int i;
	long ret;

	if (vm->mm != current->mm || READ_ONCE(vm->dead))
		return -EIO;
	for (i = 0; i < ARRAY_SIZE(lv_vm_ioctls); i++)
		if (lv_vm_ioctls[i].cmd == cmd)
			break;
	if (i == ARRAY_SIZE(lv_vm_ioctls))
		return -ENOTTY;
	ret = lv_copy_in(&arg, cmd, user, lv_vm_ioctls[i].flags & LV_RAW);
	if (!ret)
		ret = lv_vm_ioctls[i].fn(vm, arg.data, user);
	ret = lv_copy_out(&arg, cmd, user, ret);
	lv_free_arg(&arg);
	return ret;
}

/* ---- vCPU file descriptor ---- */

static const struct {
	unsigned int cmd;
	lv_vcpu_fn fn;
	u8 flags;
} lv_vcpu_ioctls[] = {
	{ KVM_INTERRUPT, lv_ioctl_interrupt },
	{ KVM_GET_REGS, lv_ioctl_get_regs },
	{ KVM_SET_REGS, lv_ioctl_set_regs },
	{ KVM_GET_SREGS, lv_ioctl_get_sregs },
	{ KVM_SET_SREGS, lv_ioctl_set_sregs },
	{ KVM_GET_SREGS2, lv_ioctl_get_sregs2 },
	{ KVM_SET_SREGS2, lv_ioctl_set_sregs2 },
	{ KVM_GET_FPU, lv_ioctl_get_fpu },
	{ KVM_SET_FPU, lv_ioctl_set_fpu },
	{ KVM_GET_XSAVE, lv_ioctl_get_xsave },
	{ KVM_GET_XSAVE2, lv_ioctl_get_xsave2 },
	{ KVM_SET_XSAVE, lv_ioctl_set_xsave },
	{ KVM_GET_XCRS, lv_ioctl_get_xcrs },
	{ KVM_SET_XCRS, lv_ioctl_set_xcrs },
	{ KVM_GET_MSRS, lv_ioctl_get_msrs, LV_RAW },
	{ KVM_SET_MSRS, lv_ioctl_set_msrs, LV_RAW },
	{ KVM_SET_CPUID2, lv_ioctl_set_cpuid2, LV_RAW },
	{ KVM_GET_CPUID2, lv_ioctl_get_cpuid2, LV_RAW },
	{ KVM_GET_LAPIC, lv_ioctl_get_lapic },
	{ KVM_SET_LAPIC, lv_ioctl_set_lapic },
	{ KVM_GET_MP_STATE, lv_ioctl_get_mp_state },
	{ KVM_SET_MP_STATE, lv_ioctl_set_mp_state },
	{ KVM_GET_VCPU_EVENTS, lv_ioctl_get_vcpu_events },
	{ KVM_SET_VCPU_EVENTS, lv_ioctl_set_vcpu_events },
	{ KVM_GET_DEBUGREGS, lv_ioctl_get_debugregs },
	{ KVM_SET_DEBUGREGS, lv_ioctl_set_debugregs },
	{ KVM_SET_GUEST_DEBUG, lv_ioctl_set_guest_debug },
	{ KVM_TRANSLATE, lv_ioctl_translate },
	{ KVM_NMI, lv_ioctl_nmi },
	{ KVM_TPR_ACCESS_REPORTING, lv_ioctl_tpr_access_reporting },
	{ KVM_SET_SIGNAL_MASK, lv_ioctl_set_signal_mask, LV_RAW },
	{ KVM_GET_TSC_KHZ, lv_ioctl_get_tsc_khz },
	{ KVM_SET_TSC_KHZ, lv_ioctl_set_tsc_khz },
	{ KVM_KVMCLOCK_CTRL, lv_ioctl_kvmclock_ctrl },
};

/* Run a handler with the vCPU held and loaded. */
static long lv_vcpu_locked(struct lv_vcpu *v, lv_vcpu_fn fn, void *data,
			   unsigned long user)
{
	long ret;

	if (mutex_lock_killable(&v->mutex))
		return -EINTR;
	lv_vcpu_load(v);
	ret = fn(v, data, user);
	lv_vcpu_put(v);
	mutex_unlock(&v->mutex);
	return ret;
}

static LV_VCPU_IOCTL(run_ioctl)
{
	return arg ? -EINVAL : lv_vcpu_run(v);
}

long lv_vcpu_ioctl(struct file *file, unsigned int cmd, unsigned long user)
{
	struct lv_vcpu *v = file->private_data;
	struct lv_ioctl_arg arg;
	unsigned int i;
	long ret;

	if (v->vm->mm != current->mm || READ_ONCE(v->vm->dead))
		return -EIO;
	if (cmd == KVM_RUN)
		return lv_vcpu_locked(v, lv_run_ioctl, NULL, user);
	for (i = 0; i < ARRAY_SIZE(lv_vcpu_ioctls); i++)
		if (lv_vcpu_ioctls[i].cmd == cmd)
			break;
	if (i == ARRAY_SIZE(lv_vcpu_ioctls))
		return -ENOTTY;
	ret = lv_copy_in(&arg, cmd, user, lv_vcpu_ioctls[i].flags & LV_RAW);
	if (!ret)
		ret = lv_vcpu_locked(v, lv_vcpu_ioctls[i].fn, arg.data, user);
	ret = lv_copy_out(&arg, cmd, user, ret);
	lv_free_arg(&arg);
	return ret;
}
