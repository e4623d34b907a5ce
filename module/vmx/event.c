// SPDX-License-Identifier: GPL-2.0-only
/*
 * Event injection and the windows in which the guest can take events.
 */
#include "vmx.h"

/* Exceptions that push an error code, outside of real mode. */
#define VMX_HAS_ERROR_CODE                                        \
	(BIT(X86_TRAP_DF) | BIT(X86_TRAP_TS) | BIT(X86_TRAP_NP) | \
	 BIT(X86_TRAP_SS) | BIT(X86_TRAP_GP) | BIT(X86_TRAP_PF) | \
	 BIT(X86_TRAP_AC))

/* INT3 and INTO push the address of the next instruction: tell its length. */
static u32 vmx_exception_info(struct lv_vcpu *v, const struct lv_event *event)
{
	u32 info = event->vector | INTR_INFO_VALID_MASK;

	if (lv_is_soft(event->vector)) {
		vmcs_write(VM_ENTRY_INSTRUCTION_LEN, 1);
		return info | INTR_TYPE_SOFT_EXCEPTION;
	}
	/* VM entry insists on an error code exactly where there is one. */
	if (event->vector < 32 && BIT(event->vector) & VMX_HAS_ERROR_CODE &&
	    v->cr0 & X86_CR0_PE) {
		vmcs_write(VM_ENTRY_EXCEPTION_ERROR_CODE, event->error);
		info |= INTR_INFO_DELIVER_CODE_MASK;
	}
	return info | INTR_TYPE_HARD_EXCEPTION;
}

void vmx_inject(struct lv_vcpu *v, const struct lv_event *event)
{
	u32 info = 0;

	switch (event->type) {
	case LV_EVENT_EXCEPTION:
		info = vmx_exception_info(v, event);
		/* Its delivery ends a shadow, which VM entry would refuse. */
		vmx_change_blocking(VMX_BLOCKED_BY_SHADOW, 0);
		break;
	case LV_EVENT_NMI:
		info = INTR_INFO_VALID_MASK | INTR_TYPE_NMI_INTR | X86_TRAP_NMI;
		break;
	case LV_EVENT_IRQ:
		info = INTR_INFO_VALID_MASK | INTR_TYPE_EXT_INTR |
		       event->vector;
		break;
	}
	vmcs_write(VM_ENTRY_INTR_INFO_FIELD, info);
	/* A guest that halts without an exit is woken by the event. */
	if (v->vm->disable_hlt_exits)
		vmcs_write(GUEST_ACTIVITY_STATE, GUEST_ACTIVITY_ACTIVE);
}

/** vmx_decode_interrupted - the event whose delivery the exit cut short */
void vmx_decode_interrupted(struct lv_event *event)
{
	static const u8 type[8] = {
		[INTR_TYPE_EXT_INTR >> 8] = LV_EVENT_IRQ,
		[INTR_TYPE_NMI_INTR >> 8] = LV_EVENT_NMI,
		[INTR_TYPE_HARD_EXCEPTION >> 8] = LV_EVENT_EXCEPTION,
		[INTR_TYPE_SOFT_INTR >> 8] = LV_EVENT_SOFT,
		[INTR_TYPE_PRIV_SW_EXCEPTION >> 8] = LV_EVENT_SOFT,
		[INTR_TYPE_SOFT_EXCEPTION >> 8] = LV_EVENT_SOFT,
	};
	u32 info = vmcs_read(IDT_VECTORING_INFO_FIELD);

	if (likely(!(info & VECTORING_INFO_VALID_MASK)))
		return;
	event->type = type[(info & VECTORING_INFO_TYPE_MASK) >> 8];
	event->vector = info & VECTORING_INFO_VECTOR_MASK;
	event->has_error = info & VECTORING_INFO_DELIVER_CODE_MASK;
	event->error = event->has_error ? vmcs_read(IDT_VECTORING_ERROR_CODE)
					: 0;
}

bool vmx_irq_allowed(struct lv_vcpu *v)
{
	return lv_rflags(v) & X86_EFLAGS_IF &&
	       !(vmcs_read(GUEST_INTERRUPTIBILITY_INFO) &
		 VMX_BLOCKED_BY_SHADOW);
}

bool vmx_nmi_allowed(struct lv_vcpu *v)
{
	return !(vmcs_read(GUEST_INTERRUPTIBILITY_INFO) &
		 (VMX_BLOCKED_BY_SHADOW | GUEST_INTR_STATE_NMI));
}

void vmx_irq_window(struct lv_vcpu *v, bool on)
{
	vmx_cpu_control(to_vmx(v), CPU_BASED_INTR_WINDOW_EXITING, on);
}

void vmx_nmi_window(struct lv_vcpu *v)
{
	vmx_cpu_control(to_vmx(v), CPU_BASED_NMI_WINDOW_EXITING, true);
}

bool vmx_get_nmi_mask(struct lv_vcpu *v)
{
	return vmcs_read(GUEST_INTERRUPTIBILITY_INFO) & GUEST_INTR_STATE_NMI;
}

void vmx_set_nmi_mask(struct lv_vcpu *v, bool masked)
{
	if (masked)
		vmx_change_blocking(0, GUEST_INTR_STATE_NMI);
	else
		vmx_change_blocking(GUEST_INTR_STATE_NMI, 0);
}

u8 vmx_get_shadow(struct lv_vcpu *v)
{
	u32 state = vmcs_read(GUEST_INTERRUPTIBILITY_INFO);
	u8 shadow = 0;

	if (state & GUEST_INTR_STATE_STI)
		shadow |= KVM_X86_SHADOW_INT_STI;
	if (state & GUEST_INTR_STATE_MOV_SS)
		shadow |= KVM_X86_SHADOW_INT_MOV_SS;
	return shadow;
}

/* The CPU is never in both shadows, and VM entry refuses it. */
void vmx_set_shadow(struct lv_vcpu *v, u8 shadow)
{
	u32 old = vmcs_read(GUEST_INTERRUPTIBILITY_INFO);
	u32 new = old & ~VMX_BLOCKED_BY_SHADOW;

	if (unlikely(shadow & KVM_X86_SHADOW_INT_MOV_SS))
		new |= GUEST_INTR_STATE_MOV_SS;
	else if (unlikely(shadow))
		new |= GUEST_INTR_STATE_STI;
	if (likely(new == old))
		return;
	vmcs_write(GUEST_INTERRUPTIBILITY_INFO, new);
	vmcs_write(GUEST_PENDING_DBG_EXCEPTIONS, 0);
	/* Have vmx_write_rflags() look at it. */
	lv_set_rflags(v, lv_rflags(v));
}

/*
 * The guest reads and writes its task priority in the virtual-APIC page. The
 * threshold must not be above it, so who wants to hear of every write
 * intercepts CR8.
 */
void vmx_set_tpr(struct lv_vcpu *v, u8 cr8, u8 threshold)
{
	struct vmx_vcpu *s = to_vmx(v);
	bool all = threshold > cr8 && !v->apicv;

	if (!s->apic_page) {
		vmx_cpu_control(s,
				CPU_BASED_CR8_LOAD_EXITING |
					CPU_BASED_CR8_STORE_EXITING,
				true);
		return;
	}
	s->apic_page[4 * LAPIC_TPR] = cr8 << 4;
	vmx_cpu_control(s, CPU_BASED_CR8_LOAD_EXITING, all);
	if (all)
		threshold = 0;
	if (threshold == s->tpr_threshold)
		return;
	s->tpr_threshold = threshold;
	vmcs_write(TPR_THRESHOLD, threshold);
}
