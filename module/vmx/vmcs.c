// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VMCS: set-up, guest state, what makes the guest exit.
 */
#define pr_fmt(fmt) "labvisor: " fmt

#include <linux/idr.h>
#include <linux/mm.h>
#include <asm/debugreg.h>
#include <asm/io.h>
#include <asm/msr-index.h>

#include "vmx.h"

/* CR0 bits that would slow the guest down and protect nobody. */
#define VMX_CR0_HIDDEN (X86_CR0_CD | X86_CR0_NW)

/* A vCPU that spins for this many cycles, in steps below the gap, exits. */
#define VMX_PLE_GAP 128
#define VMX_PLE_WINDOW 4096

#define VMX_AR_AVL BIT(12)
#define VMX_AR_CODE_SHIFT 13 /* of L and D/B, as LV_CODE_* */

static DEFINE_IDA(vmx_vpids);

void vmcs_write_failed(u32 field, u64 val)
{
	pr_err_ratelimited(
		"VMWRITE of %llx to VMCS field %x failed: error %llu\n", val,
		field, vmcs_read(VM_INSTRUCTION_ERROR));
}

/* ---- life ---- */

int vmx_vcpu_init(struct lv_vcpu *v)
{
	struct vmx_vcpu *s = to_vmx(v);
	int vpid;

	s->cpu = -1;
	s->vmcs = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!s->vmcs)
		return -ENOMEM;
	/* An APIC in user space has to hear of each task priority. */
	if (vmx_caps.tpr_shadow && v->vm->irqchip) {
		s->apic_page = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
		if (!s->apic_page)
			return -ENOMEM;
	}
	s->vmcs_pa = __pa(s->vmcs);
	*(u32 *)s->vmcs = vmx_caps.revision;
	if (vmx_caps.invvpid) {
		/* Without one the guest loses its TLB at every exit. */
		vpid = ida_alloc_range(&vmx_vpids, 1, VMX_NR_VPIDS - 1,
				       GFP_KERNEL_ACCOUNT);
		s->vpid = vpid > 0 ? vpid : 0;
	}
	return 0;
}

void vmx_vcpu_free(struct lv_vcpu *v)
{
	struct vmx_vcpu *s = to_vmx(v);

	/* Without one, vmx_vcpu_init() may not even have begun. */
	if (s->vmcs)
		vmx_deactivate(s);
	if (s->vpid)
		ida_free(&vmx_vpids, s->vpid);
	free_page((unsigned long)s->apic_page);
	free_page((unsigned long)s->vmcs);
}

static void vmx_reset_controls(struct vmx_vcpu *s)
{
	s->cpu_ctl = vmx_caps.cpu;
	s->cpu2_ctl = vmx_caps.cpu2;
	if (!s->apic_page)
		s->cpu_ctl &= ~CPU_BASED_TPR_SHADOW;
	if (!s->vpid)
		s->cpu2_ctl &= ~SECONDARY_EXEC_ENABLE_VPID;
	s->entry_ctl = vmx_caps.entry;
	s->pin_ctl = vmx_caps.pin;
	vmcs_write(PIN_BASED_VM_EXEC_CONTROL, s->pin_ctl);
	vmcs_write(CPU_BASED_VM_EXEC_CONTROL, s->cpu_ctl);
	vmcs_write(SECONDARY_VM_EXEC_CONTROL, s->cpu2_ctl);
	vmcs_write(VM_EXIT_CONTROLS, vmx_caps.exit);
	vmcs_write(VM_ENTRY_CONTROLS, s->entry_ctl);
	vmcs_write(PAGE_FAULT_ERROR_CODE_MASK, 0);
	vmcs_write(PAGE_FAULT_ERROR_CODE_MATCH, 0);
	vmcs_write(CR3_TARGET_COUNT, 0);
	vmcs_write(VM_EXIT_MSR_STORE_COUNT, 0);
	vmcs_write(VM_EXIT_MSR_LOAD_COUNT, 0);
	vmcs_write(VM_ENTRY_MSR_LOAD_COUNT, 0);
	vmcs_write(VM_ENTRY_INTR_INFO_FIELD, 0);
	if (vmx_caps.pin & PIN_BASED_VMX_PREEMPTION_TIMER)
		vmx_set_timer(&s->v, s->timer);
	vmcs_write(VMCS_LINK_POINTER, ~0ULL);
	if (s->cpu2_ctl & SECONDARY_EXEC_ENABLE_VPID)
		vmcs_write(VIRTUAL_PROCESSOR_ID, s->vpid);
	if (s->cpu2_ctl & SECONDARY_EXEC_PAUSE_LOOP_EXITING) {
		vmcs_write(PLE_GAP, VMX_PLE_GAP);
		vmcs_write(PLE_WINDOW, VMX_PLE_WINDOW);
	}
	if (vmx_caps.cpu2_may & VMX_CPU2_XSAVES)
		vmcs_write(XSS_EXIT_BITMAP, 0);
	if (s->apic_page) {
		vmcs_write(VIRTUAL_APIC_PAGE_ADDR, __pa(s->apic_page));
		vmcs_write(TPR_THRESHOLD, 0);
		s->tpr_threshold = 0;
	}
	if (vmx_caps.apicv)
		vmx_apic_init(s);
	if (vmx_caps.posted && s->v.apic)
		vmx_post_init(s);
}

/* Everything that INIT sets and that common code does not set itself. */
void vmx_vcpu_reset(struct lv_vcpu *v)
{
	struct vmx_vcpu *s = to_vmx(v);
	unsigned int i;

	vmx_reset_controls(s);
	vmx_init_host_state();
	s->host_cr3 = s->host_cr4 = s->host_rsp = 0;
	vmcs_write(CR0_GUEST_HOST_MASK, ~X86_CR0_TS);
	vmcs_write(CR4_GUEST_HOST_MASK, ~0ULL);
	vmcs_write(GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE);
	vmcs_write(GUEST_INTERRUPTIBILITY_INFO, 0);
	vmcs_write(GUEST_PENDING_DBG_EXCEPTIONS, 0);
	vmcs_write(GUEST_IA32_DEBUGCTL, 0);
	vmcs_write(GUEST_IA32_PAT, v->pat);
	vmcs_write(GUEST_SYSENTER_CS, 0);
	vmcs_write(GUEST_SYSENTER_ESP, 0);
	vmcs_write(GUEST_SYSENTER_EIP, 0);
	for (i = 0; i < VMX_NR_MSRS; i++)
		if (i != VMX_MSR_TSC_AUX)
			vmx_set_msr(v, vmx_msr_index[i], 0);
	vmx_set_intercepts(v);
}

void vmx_set_dr7(struct lv_vcpu *v)
{
	vmcs_write(GUEST_DR7, lv_dr7_in_use(v));
}

/* The VMCS has DR7. DR6 stays in the CPU, where the host wants to find it clear. */
void vmx_lend_drs(struct lv_vcpu *v, bool lend)
{
	vmx_cpu_control(to_vmx(v), CPU_BASED_MOV_DR_EXITING, !lend);
	if (!lend) {
		get_debugreg(v->dr6, 6);
		v->dr7 = vmcs_read(GUEST_DR7);
	}
	set_debugreg(lend ? v->dr6 : DR6_RESERVED, 6);
}

/*
 * #DB and #AC exit because a guest can make their delivery fault forever
 * without leaving the CPU to the host; #MC because it is the host's.
 */
void vmx_set_intercepts(struct lv_vcpu *v)
{
	struct vmx_vcpu *s = to_vmx(v);
	u32 exceptions = BIT(X86_TRAP_DB) | BIT(X86_TRAP_AC) | BIT(X86_TRAP_MC);
	u32 cpu2 = s->cpu2_ctl;

	if (v->guest_debug & KVM_GUESTDBG_USE_SW_BP)
		exceptions |= BIT(X86_TRAP_BP);
	if (!(v->vm->quirks_off & KVM_X86_QUIRK_FIX_HYPERCALL_INSN))
		exceptions |= BIT(X86_TRAP_UD);
	vmcs_write(EXCEPTION_BITMAP, exceptions);
	vmx_set_dr7(v);
	/* Without the bitmap all accesses exit. */
	vmx_cpu_control(s, CPU_BASED_USE_MSR_BITMAPS,
			!rcu_access_pointer(v->vm->msr_filter));
	vmx_cpu_control(s, CPU_BASED_HLT_EXITING, !v->vm->disable_hlt_exits);
	vmx_cpu_control(s, CPU_BASED_MONITOR_EXITING | CPU_BASED_MWAIT_EXITING,
			!v->vm->disable_mwait_exits);

	cpu2 &= ~(SECONDARY_EXEC_ENABLE_RDTSCP | SECONDARY_EXEC_ENABLE_INVPCID |
		  SECONDARY_EXEC_PAUSE_LOOP_EXITING | VMX_CPU2_XSAVES |
		  VMX_CPU2_APICV);
	cpu2 |= vmx_apic_controls(v);
	if (vmx_caps.posted && v->apic)
		vmx_post_controls(s);
	if (lv_guest_has(v, X86_FEATURE_RDTSCP) ||
	    lv_guest_has(v, X86_FEATURE_RDPID))
		cpu2 |= SECONDARY_EXEC_ENABLE_RDTSCP;
	if (lv_guest_has(v, X86_FEATURE_INVPCID))
		cpu2 |= SECONDARY_EXEC_ENABLE_INVPCID;
	if (lv_guest_has(v, X86_FEATURE_XSAVES))
		cpu2 |= VMX_CPU2_XSAVES;
	if (!v->vm->disable_pause_exits)
		cpu2 |= SECONDARY_EXEC_PAUSE_LOOP_EXITING;
	cpu2 &= vmx_caps.cpu2_may;
	if (cpu2 != s->cpu2_ctl)
		vmcs_write(SECONDARY_VM_EXEC_CONTROL, cpu2);
	s->cpu2_ctl = cpu2;
}

/* ---- segments and descriptor tables ---- */

/*
 * The fields of a segment follow each other from ES to TR, with LDTR before
 * TR (SDM vol. 3, appendix "Field Encoding in VMCS").
 */
static u32 vmx_seg_field(u32 es_field, enum lv_sreg seg)
{
	static const u8 position[LV_NR_SREGS] = {
		[LV_SREG_ES] = 0, [LV_SREG_CS] = 1,   [LV_SREG_SS] = 2,
		[LV_SREG_DS] = 3, [LV_SREG_FS] = 4,   [LV_SREG_GS] = 5,
		[LV_SREG_TR] = 7, [LV_SREG_LDTR] = 6,
	};

	return es_field + 2 * position[seg];
}

void vmx_get_segment(struct lv_vcpu *v, enum lv_sreg seg,
		     struct kvm_segment *out)
{
	u32 ar = vmcs_read(vmx_seg_field(GUEST_ES_AR_BYTES, seg));
	u32 limit = vmcs_read(vmx_seg_field(GUEST_ES_LIMIT, seg));

	*out = (struct kvm_segment){
		.base = vmcs_read(vmx_seg_field(GUEST_ES_BASE, seg)),
		.limit = limit,
		.selector = vmcs_read(vmx_seg_field(GUEST_ES_SELECTOR, seg)),
		.type = ar & VMX_AR_TYPE_MASK,
		.present = !(ar & VMX_AR_UNUSABLE_MASK),
		.dpl = VMX_AR_DPL(ar),
		.db = !!(ar & VMX_AR_DB_MASK),
		.s = !!(ar & VMX_AR_S_MASK),
		.l = !!(ar & VMX_AR_L_MASK),
		.g = limit > 0xfffff,
		.avl = !!(ar & VMX_AR_AVL),
		.unusable = !!(ar & VMX_AR_UNUSABLE_MASK),
	};
}

/*
 * VM entry checks what the CPU itself would never let happen: segments in use
 * are accessed, a task is busy, G fits the limit. One that is not in use keeps
 * its attributes: the DPL of a null SS is the privilege level.
 */
static u32 vmx_access_rights(enum lv_sreg seg, const struct kvm_segment *in)
{
	bool g = in->limit > 0xfffff || (in->g && (in->limit & 0xfff) == 0xfff);
	bool usable = in->present && !in->unusable;
	u32 type = in->type & VMX_AR_TYPE_MASK;

	if (in->s && usable)
		type |= VMX_AR_TYPE_ACCESSES_MASK;
	if (seg == LV_SREG_TR)
		type |= 2;
	return type | (usable ? VMX_AR_P_MASK : VMX_AR_UNUSABLE_MASK) |
	       (in->s ? VMX_AR_S_MASK : 0) | (in->dpl & 3) << VMX_AR_DPL_SHIFT |
	       (in->avl ? VMX_AR_AVL : 0) | (in->l ? VMX_AR_L_MASK : 0) |
	       (in->db ? VMX_AR_DB_MASK : 0) | (g ? VMX_AR_G_MASK : 0);
}

void vmx_set_segment(struct lv_vcpu *v, enum lv_sreg seg,
		     const struct kvm_segment *in)
{
	vmcs_write(vmx_seg_field(GUEST_ES_BASE, seg), in->base);
	vmcs_write(vmx_seg_field(GUEST_ES_LIMIT, seg), in->limit);
	vmcs_write(vmx_seg_field(GUEST_ES_SELECTOR, seg), in->selector);
	vmcs_write(vmx_seg_field(GUEST_ES_AR_BYTES, seg),
		   vmx_access_rights(seg, in));
}

u8 vmx_code_flags(struct lv_vcpu *v)
{
	BUILD_BUG_ON(VMX_AR_L_MASK != LV_CODE_L << VMX_AR_CODE_SHIFT ||
		     VMX_AR_DB_MASK != LV_CODE_D << VMX_AR_CODE_SHIFT);
	return vmcs_read(GUEST_CS_AR_BYTES) >> VMX_AR_CODE_SHIFT &
	       (LV_CODE_L | LV_CODE_D);
}

u8 vmx_cpl(struct lv_vcpu *v)
{
	u32 ar = vmcs_read(GUEST_SS_AR_BYTES);

	return VMX_AR_DPL(ar);
}

void vmx_get_table(struct lv_vcpu *v, bool idt, struct kvm_dtable *out)
{
	*out = (struct kvm_dtable){
		.base = vmcs_read(idt ? GUEST_IDTR_BASE : GUEST_GDTR_BASE),
		.limit = vmcs_read(idt ? GUEST_IDTR_LIMIT : GUEST_GDTR_LIMIT),
	};
}

void vmx_set_table(struct lv_vcpu *v, bool idt, const struct kvm_dtable *in)
{
	vmcs_write(idt ? GUEST_IDTR_BASE : GUEST_GDTR_BASE, in->base);
	vmcs_write(idt ? GUEST_IDTR_LIMIT : GUEST_GDTR_LIMIT, in->limit);
}

/* ---- control registers ---- */

/*
 * The guest owns CR0.TS. It reads all other bits from the shadow, and exits
 * when it changes them.
 */
void vmx_set_cr0(struct lv_vcpu *v, u64 cr0)
{
	vmcs_write(GUEST_CR0, (cr0 & ~VMX_CR0_HIDDEN) | X86_CR0_NE);
	vmcs_write(CR0_READ_SHADOW, cr0);
}

void vmx_set_cr3(struct lv_vcpu *v, u64 cr3)
{
	vmcs_write(GUEST_CR3, cr3);
}

/* Machine checks are the host's, so the guest runs with its CR4.MCE. */
void vmx_set_cr4(struct lv_vcpu *v, u64 cr4)
{
	vmcs_write(GUEST_CR4,
		   cr4 | X86_CR4_VMXE | (__read_cr4() & X86_CR4_MCE));
	vmcs_write(CR4_READ_SHADOW, cr4);
}

void vmx_set_efer(struct lv_vcpu *v, u64 efer)
{
	struct vmx_vcpu *s = to_vmx(v);
	u32 ctl = s->entry_ctl & ~VM_ENTRY_IA32E_MODE;

	if (efer & EFER_LMA)
		ctl |= VM_ENTRY_IA32E_MODE;
	vmcs_write(GUEST_IA32_EFER, efer);
	if (ctl != s->entry_ctl)
		vmcs_write(VM_ENTRY_CONTROLS, ctl);
	s->entry_ctl = ctl;
}

void vmx_set_root(struct lv_vcpu *v, hpa_t root)
{
	struct vmx_vcpu *s = to_vmx(v);

	s->eptp = root | vmx_caps.ept_flags;
	vmcs_write(EPT_POINTER, s->eptp);
	s->flush = VMX_FLUSH_ALL;
}

void vmx_set_tsc_offset(struct lv_vcpu *v, u64 offset)
{
	vmcs_write(TSC_OFFSET, offset);
}

static void vmx_cache_pdptes(struct lv_vcpu *v)
{
	unsigned int i;

	if (lv_is_pae(v->cr0, v->cr4, v->efer))
		for (i = 0; i < ARRAY_SIZE(v->pdpte); i++)
			v->pdpte[i] = vmcs_read(GUEST_PDPTR0 + 2 * i);
}

void vmx_cache_reg(struct lv_vcpu *v, enum lv_reg reg)
{
	switch (reg) {
	case LV_R_RSP:
		v->regs[LV_RSP] = vmcs_read(GUEST_RSP);
		break;
	case LV_R_RIP:
		v->rip = vmcs_read(GUEST_RIP);
		break;
	case LV_R_RFLAGS:
		v->rflags = vmcs_read(GUEST_RFLAGS);
		break;
	case LV_R_CR0:
		v->cr0 = (v->cr0 & ~X86_CR0_TS) |
			 (vmcs_read(GUEST_CR0) & X86_CR0_TS);
		break;
	case LV_R_CR3:
		v->cr3 = vmcs_read(GUEST_CR3);
		break;
	case LV_R_PDPTE:
		vmx_cache_pdptes(v);
		break;
	default: /* CR2 is not in the VMCS */
		break;
	}
	v->reg_avail |= BIT(reg);
}

/*
 * A pending single-step trap must be recorded if, and only if, TF is set in an
 * interrupt shadow (SDM vol. 3, Checks on Guest Non-Register State).
 */
static void vmx_write_rflags(struct lv_vcpu *v)
{
	u64 pending = v->rflags & X86_EFLAGS_TF ? DR_STEP : 0;

	vmcs_write(GUEST_RFLAGS, v->rflags);
	if (unlikely(vmcs_read(GUEST_INTERRUPTIBILITY_INFO) &
		     VMX_BLOCKED_BY_SHADOW))
		vmcs_write(GUEST_PENDING_DBG_EXCEPTIONS, pending);
}

/** vmx_write_regs - write back what common code changed */
void vmx_write_regs(struct lv_vcpu *v)
{
	u32 dirty = v->reg_dirty;
	unsigned int i;

	if (dirty & BIT(LV_R_RIP))
		vmcs_write(GUEST_RIP, v->rip);
	if (dirty & BIT(LV_R_RSP))
		vmcs_write(GUEST_RSP, v->regs[LV_RSP]);
	if (dirty & BIT(LV_R_RFLAGS))
		vmx_write_rflags(v);
	if (unlikely(dirty & BIT(LV_R_PDPTE)))
		for (i = 0; i < ARRAY_SIZE(v->pdpte); i++)
			vmcs_write(GUEST_PDPTR0 + 2 * i, v->pdpte[i]);
	v->reg_dirty = 0;
}

/* ---- MSRs that VM entry or vmx_put() switch ---- */

/* The VMCS field that holds an MSR, or 0. */
static u32 vmx_msr_field(u32 msr)
{
	switch (msr) {
	case MSR_FS_BASE:
		return GUEST_FS_BASE;
	case MSR_GS_BASE:
		return GUEST_GS_BASE;
	case MSR_IA32_SYSENTER_CS:
		return GUEST_SYSENTER_CS;
	case MSR_IA32_SYSENTER_ESP:
		return GUEST_SYSENTER_ESP;
	case MSR_IA32_SYSENTER_EIP:
		return GUEST_SYSENTER_EIP;
	case MSR_IA32_CR_PAT:
		return GUEST_IA32_PAT;
	case MSR_IA32_DEBUGCTLMSR:
		return GUEST_IA32_DEBUGCTL;
	default:
		return 0;
	}
}

static u64 *vmx_switched_msr(struct vmx_vcpu *s, u32 msr)
{
	unsigned int i;

	for (i = 0; i < VMX_NR_MSRS; i++)
		if (vmx_msr_index[i] == msr)
			return &s->msr[i];
	return NULL;
}

u64 vmx_get_msr(struct lv_vcpu *v, u32 msr)
{
	struct vmx_vcpu *s = to_vmx(v);
	u32 field = vmx_msr_field(msr);
	u64 *val;

	if (field)
		return vmcs_read(field);
	val = vmx_switched_msr(s, msr);
	if (!val)
		return 0;
	preempt_disable();
	if (msr == MSR_KERNEL_GS_BASE && s->guest_loaded)
		rdmsrl(MSR_KERNEL_GS_BASE, *val);
	preempt_enable();
	return *val;
}

void vmx_set_msr(struct lv_vcpu *v, u32 msr, u64 val)
{
	struct vmx_vcpu *s = to_vmx(v);
	u32 field = vmx_msr_field(msr);
	u64 *switched = vmx_switched_msr(s, msr);

	if (field)
		vmcs_write(field, val);
	if (!switched)
		return;
	preempt_disable();
	*switched = val;
	if (s->guest_loaded)
		wrmsrl(msr, val);
	preempt_enable();
}
