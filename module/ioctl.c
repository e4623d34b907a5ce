// SPDX-License-Identifier: GPL-2.0-only
/*
 * The ioctls: dispatch by the lists in labvisor.h, copying of arguments whose
 * size the command encodes, and the handlers that belong nowhere else.
 */
#include <linux/fs.h>
#include <linux/kvm_para.h>
#include <linux/sched/stat.h>
#include <asm/cpufeature.h>

#include "../uapi/linux/labvisor.h"
#include "labvisor.h"

/* Arguments up to this size are copied to the stack. */
#define LV_SMALL_ARG 144

/* What KVM does unless user space objects. */
#define LV_QUIRKS                             \
	(KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT | \
	 KVM_X86_QUIRK_FIX_HYPERCALL_INSN |   \
	 KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS)
#define LV_USER_MSRS                                               \
	(KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | \
	 KVM_MSR_EXIT_REASON_FILTER)
#define LV_HYPERCALL_EXITS BIT(KVM_HC_MAP_GPA_RANGE)
#define LV_MIN_MMU_PAGES 64 /* less than that KVM refuses */

/* ---- capabilities ---- */

#define C(name) KVM_CAP_##name

/* KVM_CHECK_EXTENSION: what is there, and what has a number. Others are 0. */
/* clang-format off */
static const u16 lv_caps[] = {
	C(USER_MEMORY), C(DESTROY_MEMORY_REGION_WORKS),
	C(JOIN_MEMORY_REGIONS_WORKS), C(READONLY_MEM), C(SYNC_MMU),
	C(IMMEDIATE_EXIT), C(MP_STATE), C(VCPU_EVENTS), C(EXCEPTION_PAYLOAD),
	C(DEBUGREGS), C(SET_GUEST_DEBUG), C(X86_ROBUST_SINGLESTEP), C(XSAVE),
	C(SREGS2), C(EXT_CPUID), C(EXT_EMUL_CPUID),
	C(GET_MSR_FEATURES), C(GET_TSC_KHZ), C(TSC_DEADLINE_TIMER),
	C(KVMCLOCK_CTRL), C(CLOCKSOURCE), C(IRQCHIP),
	C(IRQ_INJECT_STATUS), C(SPLIT_IRQCHIP), C(PIT2),
	C(PIT_STATE2), C(REINJECT_CONTROL), C(SIGNAL_MSI), C(IRQFD),
	C(IRQFD_RESAMPLE), C(IOEVENTFD), C(IOEVENTFD_ANY_LENGTH),
	C(IOEVENTFD_NO_LENGTH), C(COALESCED_PIO), C(SET_BOOT_CPU_ID),
	C(SET_TSS_ADDR), C(SET_IDENTITY_MAP_ADDR), C(USER_NMI), C(HLT),
	C(ENABLE_CAP), C(ENABLE_CAP_VM), C(CHECK_EXTENSION_VM),
	C(INTERNAL_ERROR_DATA), C(X86_USER_SPACE_MSR), C(X86_MSR_FILTER),
	C(MSR_PLATFORM_INFO), C(ENFORCE_PV_FEATURE_CPUID), C(VCPU_ATTRIBUTES), C(SYS_ATTRIBUTES),
	C(BINARY_STATS_FD), C(MMU_SHADOW_CACHE_CONTROL), C(DISABLE_QUIRKS),
	C(X86_TRIPLE_FAULT_EVENT), C(INTR_SHADOW), C(IOAPIC_POLARITY_IGNORED), C(LAST_CPU),
};
/* clang-format on */

static const struct {
	u16 cap;
	int val;
} lv_cap_values[] = {
	{ KVM_CAP_NR_MEMSLOTS, LV_NR_USER_REGIONS },
	{ KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
	  KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE },
	{ KVM_CAP_NR_VCPUS, 64 },
	{ KVM_CAP_MAX_VCPUS, LV_MAX_VCPUS },
	{ KVM_CAP_MAX_VCPU_ID, LV_MAX_VCPUS },
	{ KVM_CAP_SYNC_REGS, KVM_SYNC_X86_VALID_FIELDS },
	{ KVM_CAP_SET_GUEST_DEBUG2, LV_GUESTDBG | LV_GUESTDBG_INJECT },
	{ KVM_CAP_XSAVE2, 4096 },
	{ KVM_CAP_ADJUST_CLOCK, LV_CLOCK_FLAGS },
	{ KVM_CAP_IRQ_ROUTING, LV_MAX_GSIS },
	{ KVM_CAP_MCE, LV_MAX_MCE_BANKS },
	{ KVM_CAP_COALESCED_MMIO, LV_VCPU_COALESCED_PAGE },
	{ KVM_CAP_EXIT_HYPERCALL, LV_HYPERCALL_EXITS },
	{ KVM_CAP_DISABLE_QUIRKS2, LV_QUIRKS },
};

static u32 lv_exits_to_disable(void)
{
	u32 exits = KVM_X86_DISABLE_EXITS_HLT | KVM_X86_DISABLE_EXITS_PAUSE;

	/* A CPU that sleeps in MWAIT has to wake up, and its timer to tick. */
	if (boot_cpu_has(X86_FEATURE_MWAIT) && boot_cpu_has(X86_FEATURE_ARAT) &&
	    !boot_cpu_has_bug(X86_BUG_MONITOR))
		exits |= KVM_X86_DISABLE_EXITS_MWAIT;
	return exits;
}

LV_IOCTL(check_extension)
{
	unsigned int i;

	switch (arg) { /* those that depend on the host */
	case KVM_CAP_XCRS:
		return boot_cpu_has(X86_FEATURE_XSAVE);
	case KVM_CAP_STEAL_TIME:
		return sched_info_on();
	case KVM_CAP_X86_DISABLE_EXITS:
		return lv_exits_to_disable();
	}
	for (i = 0; i < ARRAY_SIZE(lv_cap_values); i++)
		if (lv_cap_values[i].cap == arg)
			return lv_cap_values[i].val;
	for (i = 0; i < ARRAY_SIZE(lv_caps); i++)
		if (lv_caps[i] == arg)
			return 1;
	return 0;
}

static long lv_disable_exits(struct lv_vm *vm, u64 exits)
{
	if (vm->nr_vcpus || exits & ~(u64)lv_exits_to_disable())
		return -EINVAL;
	vm->disable_hlt_exits |= !!(exits & KVM_X86_DISABLE_EXITS_HLT);
	vm->disable_pause_exits |= !!(exits & KVM_X86_DISABLE_EXITS_PAUSE);
	vm->disable_mwait_exits |= !!(exits & KVM_X86_DISABLE_EXITS_MWAIT);
	return 0;
}

LV_IOCTL(enable_cap)
{
	const struct kvm_enable_cap *cap = data;
	u64 val = cap->args[0];

	if (cap->flags)
		return -EINVAL;
	switch (cap->cap) {
	case KVM_CAP_SPLIT_IRQCHIP:
		return lv_split_irqchip(vm, val);
	case KVM_CAP_X86_DISABLE_EXITS:
		return lv_disable_exits(vm, val);
	case KVM_CAP_EXCEPTION_PAYLOAD:
		vm->exception_payload = val;
		return 0;
	case KVM_CAP_X86_TRIPLE_FAULT_EVENT:
		vm->triple_fault_event = val;
		return 0;
	case KVM_CAP_EXIT_HYPERCALL:
		if (val & ~(u64)LV_HYPERCALL_EXITS)
			return -EINVAL;
		vm->hypercall_exits = val;
		return 0;
	case KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2:
		if (val & ~(u64)KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE)
			return -EINVAL;
		vm->manual_dirty_log = val;
		return 0;
	case KVM_CAP_DISABLE_QUIRKS2:
		if (val & ~(u64)LV_QUIRKS)
			return -EINVAL;
		fallthrough;
	case KVM_CAP_DISABLE_QUIRKS:
		WRITE_ONCE(vm->quirks_off, val);
		lv_request_all(vm, LV_REQ_INTERCEPTS, false);
		return 0;
	case KVM_CAP_X86_USER_SPACE_MSR:
		if (val & ~(u64)LV_USER_MSRS)
			return -EINVAL;
		WRITE_ONCE(vm->user_msrs, val);
		return 0;
	case KVM_CAP_MSR_PLATFORM_INFO:
		vm->hide_platform_info = !val;
		return 0;
	case KVM_CAP_MAX_VCPU_ID:
		/* Once, and not once there are vCPUs that it may forbid. */
		if (!val || val > LV_MAX_VCPUS ||
		    (val != vm->max_vcpu_id &&
		     (vm->max_vcpu_id || vm->nr_vcpus)))
			return -EINVAL;
		vm->max_vcpu_id = val;
		return 0;
	default:
		return -EINVAL;
	}
}

LV_IOCTL(enable_vcpu_cap)
{
	const struct kvm_enable_cap *cap = data;

	if (cap->flags || cap->cap != KVM_CAP_ENFORCE_PV_FEATURE_CPUID)
		return -EINVAL;
	v->pv_enforced = cap->args[0];
	return 0;
}

/* ---- small ones ---- */

LV_IOCTL(get_api_version)
{
	return arg ? -EINVAL : KVM_API_VERSION;
}

LV_IOCTL(create_vm)
{
	return lv_vm_create(arg);
}

LV_IOCTL(get_vcpu_mmap_size)
{
	return arg ? -EINVAL : LV_VCPU_PAGES * PAGE_SIZE;
}

LV_IOCTL(create_vcpu)
{
	return lv_vcpu_create(vm, arg);
}

/*
 * Where Intel CPUs without unrestricted guest keep a TSS and a page table for
 * real mode. Labvisor needs neither and only checks the address.
 */
LV_IOCTL(set_tss_addr)
{
	return arg > (u32)(-3 * PAGE_SIZE) ? -EINVAL : 0;
}

LV_IOCTL(set_identity_map_addr)
{
	return vm->nr_vcpus ? -EINVAL : 0;
}

LV_IOCTL(set_boot_cpu_id)
{
	if (vm->nr_vcpus)
		return -EBUSY;
	if (arg >= LV_MAX_VCPUS)
		return -EINVAL;
	vm->boot_cpu_id = arg;
	return 0;
}

/*
 * A limit for KVM's shadow page tables. With nested paging KVM does not keep
 * to it either; ours are charged to the process.
 */
LV_IOCTL(set_nr_mmu_pages)
{
	if (arg < LV_MIN_MMU_PAGES)
		return -EINVAL;
	vm->nr_mmu_pages = arg;
	return 0;
}

LV_IOCTL(get_nr_mmu_pages)
{
	return vm->nr_mmu_pages;
}

/* ---- dispatch ---- */

struct lv_ioctl {
	unsigned int cmd;
	unsigned int flags;
	lv_ioctl_fn fn;
};

#define LV_IOCTL_ENTRY(cmd, name, flags) { cmd, flags, lv_ioctl_##name },
static const struct lv_ioctl lv_sys_ioctls[] = { LV_SYS_IOCTLS(
	LV_IOCTL_ENTRY) };
static const struct lv_ioctl lv_vm_ioctls[] = { LV_VM_IOCTLS(LV_IOCTL_ENTRY) };
static const struct lv_ioctl lv_vcpu_ioctls[] = { LV_VCPU_IOCTLS(
	LV_IOCTL_ENTRY) };

/* Run a handler with the vCPU held, and loaded if it needs that. */
static long lv_vcpu_locked(struct lv_vcpu *v, lv_ioctl_fn fn, void *data,
			   unsigned long arg, bool load)
{
	long ret;

	if (mutex_lock_killable(&v->mutex))
		return -EINTR;
	if (load)
		lv_vcpu_load(v);
	ret = fn(v->vm, v, data, arg);
	if (load)
		lv_vcpu_put(v);
	mutex_unlock(&v->mutex);
	return ret;
}

static long lv_call_handler(const struct lv_ioctl *ioctl, struct lv_vm *vm,
			    struct lv_vcpu *v, void *data, unsigned long arg)
{
	if (v)
		return lv_vcpu_locked(v, ioctl->fn, data, arg,
				      !(ioctl->flags & LV_UNLOADED));
	if (!(ioctl->flags & LV_LOCKED))
		return ioctl->fn(vm, NULL, data, arg);
	guard(mutex)(&vm->lock);
	return ioctl->fn(vm, NULL, data, arg);
}

/* The smallest arguments are one access, without the checks of a longer copy. */
static bool lv_copy_argument(void *data, const void __user *user, size_t size)
{
	if (size == sizeof(u64))
		return !get_user(*(u64 *)data, (const u64 __user *)user);
	if (size == sizeof(u32))
		return !get_user(*(u32 *)data, (const u32 __user *)user);
	return !copy_from_user(data, user, size);
}

static long lv_dispatch(const struct lv_ioctl *ioctl, unsigned int nr,
			struct lv_vm *vm, struct lv_vcpu *v, unsigned int cmd,
			unsigned long arg)
{
	const struct lv_ioctl *end = ioctl + nr;
	/* Filled below, without the kernel's filling of stack variables. */
	u64 small[LV_SMALL_ARG / sizeof(u64)] __attribute__((uninitialized));
	void __user *user = (void __user *)arg;
	size_t size = _IOC_SIZE(cmd);
	void *data = small;
	long ret = -EFAULT;
	unsigned int dir;

	while (ioctl < end && ioctl->cmd != cmd)
		ioctl++;
	if (ioctl == end)
		return -ENOTTY;
	dir = ioctl->flags & LV_RAW  ? _IOC_NONE
	      : ioctl->flags & LV_IN ? _IOC_WRITE
				     : _IOC_DIR(cmd);
	if (dir == _IOC_NONE)
		data = NULL;
	else if (size > sizeof(small))
		data = kmalloc(size, GFP_KERNEL_ACCOUNT);
	if (dir != _IOC_NONE && !data)
		return -ENOMEM;
	if (dir == _IOC_READ)
		memset(data, 0, size);
	if (!(dir & _IOC_WRITE) || lv_copy_argument(data, user, size))
		ret = lv_call_handler(ioctl, vm, v, data, arg);
	if (ret >= 0 && dir & _IOC_READ && copy_to_user(user, data, size))
		ret = -EFAULT;
	if (data != small)
		kfree(data);
	return ret;
}

long lv_device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	if (_IOC_TYPE(cmd) == LV_IOC_TYPE)
		return lv_sched_ioctl(cmd, (void __user *)arg);
	return lv_dispatch(lv_sys_ioctls, ARRAY_SIZE(lv_sys_ioctls), NULL, NULL,
			   cmd, arg);
}

long lv_vm_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct lv_vm *vm = file->private_data;

	if (vm->mm != current->mm)
		return -EIO;
	return lv_dispatch(lv_vm_ioctls, ARRAY_SIZE(lv_vm_ioctls), vm, NULL,
			   cmd, arg);
}

static LV_IOCTL(run)
{
	return arg ? -EINVAL : lv_vcpu_run(v);
}

long lv_vcpu_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct lv_vcpu *v = file->private_data;

	if (v->vm->mm != current->mm)
		return -EIO;
	if (cmd == KVM_RUN)
		return lv_vcpu_locked(v, lv_ioctl_run, NULL, arg, true);
	return lv_dispatch(lv_vcpu_ioctls, ARRAY_SIZE(lv_vcpu_ioctls), v->vm, v,
			   cmd, arg);
}
