// SPDX-License-Identifier: GPL-2.0-only
/*
 * APIC virtualization: in the guest the CPU has the local APIC. It takes pending
 * vectors from the virtual-APIC page, ends interrupts and answers most accesses
 * without an exit (SDM vol. 3, "APIC Virtualization and Virtual Interrupts").
 *
 * All of it is the CPU's only from the entry to the exit: at each exit irq/lapic.c
 * has its state back, and nobody else needs to know of the page.
 */
#include <asm/io.h>

#include "vmx.h"

/* Exit qualification of accesses to the APIC-access page. */
#define VMX_APIC_OFFSET GENMASK(11, 0)
#define VMX_APIC_ACCESS_TYPE GENMASK(15, 12)
#define VMX_APIC_READ (0 << 12)
#define VMX_APIC_WRITE (1 << 12)
#define VMX_APIC_FETCH (2 << 12)
#define VMX_APIC_DELIVERY (3 << 12) /* an event's; above it, page tables' */

/* The VMCS is written anew. */
void vmx_apic_init(struct vmx_vcpu *s)
{
	unsigned int i;

	s->intr_status = 0;
	vmcs_write(GUEST_INTR_STATUS, 0);
	for (i = 0; i < ARRAY_SIZE(s->eoi_exits); i++) {
		s->eoi_exits[i] = 0;
		vmcs_write(EOI_EXIT_BITMAP0 + 2 * i, 0);
	}
	if (s->v.vm->apic_page)
		vmcs_write(APIC_ACCESS_ADDR, page_to_phys(s->v.vm->apic_page));
}

/* Decide if the CPU gets the local APIC: those of VMX_CPU2_APICV that it takes. */
u32 vmx_apic_controls(struct lv_vcpu *v)
{
	bool x2apic;

	v->apicv = vmx_caps.apicv && v->apic && lv_lapic_enabled(v->apic) &&
		   !(v->guest_debug & KVM_GUESTDBG_BLOCKIRQ);
	x2apic = v->apicv && lv_lapic_x2apic(v->apic);
	vmcs_write(
		MSR_BITMAP,
		__pa(vmx_msr_bitmap[x2apic ? VMX_BITMAP_X2APIC : VMX_BITMAP]));
	if (v->apic)
		lv_lapic_set_page(v->apic,
				  v->apicv ? to_vmx(v)->apic_page : NULL);
	if (!v->apicv)
		return 0;
	return VMX_CPU2_APICV &
	       ~(x2apic ? SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES
			: SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE);
}

/* The slow half of vmx_apic_enter(). */
void vmx_write_apic(struct vmx_vcpu *s, u16 status)
{
	const struct lv_lapic *apic = s->v.apic;
	unsigned int i;
	u64 wanted;

	/* Exit at the end of those interrupts that the I/O APIC waits for. */
	for (i = 0; i < ARRAY_SIZE(s->eoi_exits); i++) {
		wanted = READ_ONCE(apic->tmr[i]) |
			 READ_ONCE(apic->bus->edge_eoi[i]);
		if (likely(wanted == s->eoi_exits[i]))
			continue;
		s->eoi_exits[i] = wanted;
		vmcs_write(EOI_EXIT_BITMAP0 + 2 * i, wanted);
	}
	if (status != s->intr_status)
		vmcs_write(GUEST_INTR_STATUS, status);
}

static u32 vmx_apic_access(u32 info)
{
	switch (info & VMX_APIC_ACCESS_TYPE) {
	case VMX_APIC_READ:
	case VMX_APIC_DELIVERY:
		return LV_ACCESS_READ;
	case VMX_APIC_WRITE:
		return LV_ACCESS_READ | LV_ACCESS_WRITE;
	case VMX_APIC_FETCH:
		return LV_ACCESS_FETCH;
	default:
		return LV_ACCESS_READ | LV_ACCESS_WALK;
	}
}

/** vmx_decode_apic - the exits of a virtualised APIC; @info qualifies them */
void vmx_decode_apic(struct lv_vcpu *v, struct lv_exit *exit, u32 code,
		     u32 info)
{
	u16 offset = info & VMX_APIC_OFFSET;

	switch (code) {
	case EXIT_REASON_EOI_INDUCED:
		exit->reason = LV_EXIT_EOI;
		exit->apic.vector = info;
		break;
	case EXIT_REASON_APIC_WRITE:
		exit->reason = LV_EXIT_APIC_WRITE;
		exit->apic.offset = offset;
		exit->apic.val = to_vmx(v)->apic_page[4 * (offset >> 4)];
		break;
	default:
		exit->reason = LV_EXIT_APIC_ACCESS;
		exit->fault.gpa = LV_APIC_DEFAULT_BASE | offset;
		exit->fault.access = vmx_apic_access(info);
	}
}
