/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between kernel versions live here and nowhere else, each with
 * the version it is for.
 */
#ifndef LABVISOR_COMPAT_H
#define LABVISOR_COMPAT_H

#include <linux/version.h>
#include <asm/cpufeatures.h>
#include <asm/nospec-branch.h>

#ifdef __ASSEMBLER__

/*
 * 6.7: UNTRAIN_RET_VM also flushes the predictor where the kernel decided to do
 * that at VM exits only; before, it was a line of KVM's own. Clobbers RAX, RCX
 * and RDX.
 */
/* clang-format off */
.macro LV_UNTRAIN_RET_VM
#ifdef UNTRAIN_RET_VM
	UNTRAIN_RET_VM
#else
	UNTRAIN_RET
	ALTERNATIVE "", "call entry_ibpb", X86_FEATURE_IBPB_ON_VMEXIT
#endif
.endm
/* clang-format on */

#else /* !__ASSEMBLER__ */

#include <linux/eventfd.h>
#include <linux/hrtimer.h>
#include <linux/kvm.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/smp.h>
#include <asm/apic.h>
#include <asm/cpufeature.h>
#include <asm/hardirq.h>
#include <asm/irq_vectors.h>
#include <asm/msr.h>
#include <asm/perf_event.h>
#include <asm/processor.h>
#include <asm/tlbflush.h>
#include <trace/events/ipi.h>

/*
 * 6.18: the header is no longer KVM's, and its function no longer tells a
 * struct kvm_vcpu about signals.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
#include <linux/entry-virt.h>
#define lv_handle_work(vcpu) ((void)(vcpu), xfer_to_guest_mode_handle_work())
#else
#include <linux/entry-kvm.h>
#define lv_handle_work(vcpu) xfer_to_guest_mode_handle_work(vcpu)
#endif

/* 6.4: what a hypercall tells of the guest's mode is a bit of its flags. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
#define lv_hypercall_mode flags
#else
#define lv_hypercall_mode longmode
#endif

/* 6.12: KVM takes virtualization as soon as it is loaded, if not told otherwise. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
#define LV_RIVAL_HINT ", or load kvm with enable_virt_at_load=0"
#else
#define LV_RIVAL_HINT ""
#endif

/* 6.8: eventfd_signal() lost its count. */
static inline void lv_eventfd_signal(struct eventfd_ctx *ctx)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	eventfd_signal(ctx);
#else
	eventfd_signal(ctx, 1);
#endif
}

/*
 * 6.9: a module may bring struct_ops of its own, if the kernel is configured for
 * BTF of modules. 6.11: their callbacks are told of the link, too.
 */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 9, 0) && \
	defined(CONFIG_BPF_JIT) && defined(CONFIG_DEBUG_INFO_BTF_MODULES)
#define LV_BPF_POLICIES
#endif
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 11, 0)
#define LV_BPF_LINK_ARG , struct bpf_link *link
#else
#define LV_BPF_LINK_ARG
#endif
/* 6.10: one step nearer. */
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 10, 0)
#define lv_bpf_sleepable(prog) ((prog)->sleepable)
#else
#define lv_bpf_sleepable(prog) ((prog)->aux->sleepable)
#endif

/* 6.13: hrtimer_setup() takes the function, too; hrtimer_init() goes later. */
static inline void
lv_hrtimer_setup(struct hrtimer *timer,
		 enum hrtimer_restart (*fn)(struct hrtimer *), clockid_t clock,
		 enum hrtimer_mode mode)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup(timer, fn, clock, mode);
#else
	hrtimer_init(timer, clock, mode);
	timer->function = fn;
#endif
}

/*
 * 6.4: smp_send_reschedule() is a macro that uses a tracepoint, of which its
 * header does not know.
 */
static inline void lv_send_reschedule(int cpu)
{
	smp_send_reschedule(cpu);
}

/* Kernels that cannot have KVM have no vector for it: 0. */
#ifndef POSTED_INTR_VECTOR
#define POSTED_INTR_VECTOR 0
#endif

/*
 * Have a CPU that runs a guest look at what was posted to it; elsewhere nothing
 * happens. 6.6: the functions of the APIC's driver are static calls.
 */
static inline void lv_send_notification(int cpu)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 6, 0)
	__apic_send_IPI_mask(cpumask_of(cpu), POSTED_INTR_VECTOR);
#else
	apic->send_IPI_mask(cpumask_of(cpu), POSTED_INTR_VECTOR);
#endif
}

/* 6.10: the kernel's name of immediate_exit says that it may change any time. */
static inline bool lv_immediate_exit(const struct kvm_run *run)
{
#ifdef HINT_UNSAFE_IN_KVM
	return READ_ONCE(run->HINT_UNSAFE_IN_KVM(immediate_exit));
#else
	return READ_ONCE(run->immediate_exit);
#endif
}

/*
 * Neither traced nor paravirtual, which is a call each: for around VM entry and
 * trips to user space. 6.16: renamed.
 */
static __always_inline void lv_native_wrmsr(u32 msr, u64 val)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 16, 0)
	native_wrmsrq(msr, val);
#else
	native_wrmsrl(msr, val);
#endif
}

static __always_inline u64 lv_native_rdmsr(u32 msr)
{
	return __rdmsr(msr);
}

/*
 * VMSCAPE: kernels that know of it flush the branch predictor before a thread
 * that ran a guest returns to user space, if it says that it did.
 */
static inline void lv_guest_ran(void)
{
#ifdef X86_FEATURE_IBPB_EXIT_TO_USER
	if (cpu_feature_enabled(X86_FEATURE_IBPB_EXIT_TO_USER))
		this_cpu_write(x86_ibpb_exit_to_user, true);
#endif
}

/*
 * VMXON needs CR4.VMXE, and the kernel's shadow of CR4 has to know. 6.19 and
 * later offer no way to a module that is not KVM.
 */
static inline void lv_set_cr4_vmxe(bool on)
{
	if (on)
		cr4_set_bits_irqsoff(X86_CR4_VMXE);
	else
		cr4_clear_bits_irqsoff(X86_CR4_VMXE);
}

/*
 * L1TF: how the kernel wants the L1 data cache flushed. 6.19 exports its choice
 * to KVM only; what is left is if mitigations are off altogether.
 */
static inline int lv_l1tf_wanted(int never, int cond, int always)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 19, 0)
	return cpu_mitigations_off() ? never : cond;
#else
	switch (l1tf_mitigation) {
	case L1TF_MITIGATION_OFF:
		return never;
	case L1TF_MITIGATION_FULL:
	case L1TF_MITIGATION_FULL_FORCE:
		return always;
	default:
		return cond;
	}
#endif
}

/* Did an interrupt handler run since the last call, with data of its own? */
static inline bool lv_l1d_tainted_by_interrupt(void)
{
#if IS_ENABLED(CONFIG_KVM_INTEL)
	bool tainted = kvm_get_cpu_l1tf_flush_l1d();

	if (tainted)
		kvm_clear_cpu_l1tf_flush_l1d();
	return tainted;
#else
	return true; /* the kernel keeps no record */
#endif
}

/* MDS, TAA, MMIO stale data: does the kernel want VERW before VM entry? */
static inline bool lv_wants_verw(void)
{
#ifdef X86_FEATURE_CLEAR_CPU_BUF_VM
	if (boot_cpu_has(X86_FEATURE_CLEAR_CPU_BUF_VM))
		return true;
#endif
#ifdef X86_FEATURE_CLEAR_CPU_BUF
	return boot_cpu_has(X86_FEATURE_CLEAR_CPU_BUF);
#else
	return false;
#endif
}

/* BHI: is the branch history cleared after VM exits? */
static inline bool lv_clears_branch_history(void)
{
#ifdef X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT
	return boot_cpu_has(X86_FEATURE_CLEAR_BHB_LOOP_ON_VMEXIT);
#else
	return false;
#endif
}

/* 6.9: with FRED the kernel has no IDT, and INT 2 is not the way to an NMI. */
static inline bool lv_host_uses_fred(void)
{
#ifdef X86_FEATURE_FRED
	return cpu_feature_enabled(X86_FEATURE_FRED);
#else
	return false;
#endif
}

/* A VM exit took an NMI of the host's: deliver it. NMIs are blocked. */
static inline void lv_deliver_host_nmi(void)
{
	asm volatile("int $2");
}

/* Processor Trace and VMX operation exclude each other on old CPUs. */
static inline void lv_pause_processor_trace(bool on)
{
#if defined(CONFIG_PERF_EVENTS) && defined(CONFIG_CPU_SUP_INTEL)
	intel_pt_handle_vmx(on);
#endif
}

/* 7.x: the MMU notifier's answers are bool, not int. */
typedef typeof(((struct mmu_notifier_ops *)0)
		       ->test_young(NULL, NULL, 0)) lv_young_t;

/* 6.6: a shadow stack can be written, but not by ordinary writes. */
static inline bool lv_shadow_stack(struct mm_struct *mm, unsigned long addr)
{
#ifdef VM_SHADOW_STACK
	struct vm_area_struct *vma = vma_lookup(mm, addr);

	return vma && vma->vm_flags & VM_SHADOW_STACK;
#else
	return false;
#endif
}

/*
 * 6.14, and 6.12 as it is maintained: on Zen 5 the kernel may have decided to
 * meet SRSO by less speculation, which the hypervisor switches on for guests.
 */
static inline void lv_reduce_speculation(bool on)
{
#ifdef X86_FEATURE_SRSO_BP_SPEC_REDUCE
	u64 config, bit = BIT_ULL(MSR_ZEN4_BP_CFG_BP_SPEC_REDUCE_BIT);

	if (!cpu_feature_enabled(X86_FEATURE_SRSO_BP_SPEC_REDUCE))
		return;
	rdmsrl(MSR_ZEN4_BP_CFG, config);
	wrmsrl(MSR_ZEN4_BP_CFG, on ? config | bit : config & ~bit);
#endif
}

#endif /* __ASSEMBLER__ */
#endif /* LABVISOR_COMPAT_H */
