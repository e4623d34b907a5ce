// SPDX-License-Identifier: GPL-2.0-only
/*
 * Posted interrupts: a CPU that runs a guest takes vectors from struct lv_posted
 * into the virtual-APIC page when it gets the notification vector, without an exit
 * (SDM vol. 3, "Posted-Interrupt Processing"). What is posted when, and what becomes
 * of it if the guest stops meanwhile, is irq/lapic.c's to know.
 *
 * To recognise the notification the CPU has to acknowledge interrupts of the host's
 * on exits. It has forgotten them then, and their handlers are called from here.
 */
#include <asm/desc.h>
#include <asm/io.h>

#include "../compat.h"
#include "vmx.h"

/* vmx_probe_posted - use them, or nothing of what they need */
void vmx_probe_posted(void)
{
	vmx_caps.posted = vmx_caps.posted && vmx_caps.apicv &&
			  vmx_caps.pin & PIN_BASED_POSTED_INTR &&
			  vmx_caps.exit & VM_EXIT_ACK_INTR_ON_EXIT &&
			  POSTED_INTR_VECTOR;
	/* It is on while the CPU has the local APIC. */
	vmx_caps.pin &= ~PIN_BASED_POSTED_INTR;
	if (vmx_caps.posted)
		vmx_backend.serve_host = vmx_serve_host;
	else
		vmx_caps.exit &= ~VM_EXIT_ACK_INTR_ON_EXIT;
}

/* The VMCS is written anew. */
void vmx_post_init(struct vmx_vcpu *s)
{
	vmcs_write(POSTED_INTR_NV, POSTED_INTR_VECTOR);
	vmcs_write(POSTED_INTR_DESC_ADDR, virt_to_phys(&s->v.apic->posted));
}

/* What is on its way when it is turned on or off is not lost. */
void vmx_post_controls(struct vmx_vcpu *s)
{
	struct lv_vcpu *v = &s->v;
	u32 ctl = vmx_caps.pin | (v->apicv ? PIN_BASED_POSTED_INTR : 0);

	/* First of all: a reset has written the control, but not this. */
	WRITE_ONCE(v->apic->posts, v->apicv);
	if (ctl == s->pin_ctl)
		return;
	s->pin_ctl = ctl;
	vmcs_write(PIN_BASED_VM_EXEC_CONTROL, ctl);
	lv_lapic_collect(v->apic);
}

/** vmx_serve_host - call the handler of what the last exit took */
void vmx_serve_host(struct lv_vcpu *v)
{
	struct vmx_vcpu *s = to_vmx(v);
	const gate_desc *gates;
	struct desc_ptr idt;

	if (!s->host_irq)
		return;
	store_idt(&idt);
	gates = (const gate_desc *)idt.address;
	vmx_call_handler(gate_offset(&gates[s->host_irq]));
	s->host_irq = 0;
}
