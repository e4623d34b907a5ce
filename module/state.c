// SPDX-License-Identifier: GPL-2.0-only
/*
 * A vCPU's state as user space gets and sets it. A handler checks everything
 * before it changes anything.
 */
#include <linux/signal.h>
#include <asm/debugreg.h>
#include <asm/processor-flags.h>

#include "labvisor.h"

/* RFLAGS bits that exist; the others read as zero whatever is written. */
#define LV_RFLAGS_MASK                                                     \
	(X86_EFLAGS_CF | X86_EFLAGS_PF | X86_EFLAGS_AF | X86_EFLAGS_ZF |   \
	 X86_EFLAGS_SF | X86_EFLAGS_TF | X86_EFLAGS_IF | X86_EFLAGS_DF |   \
	 X86_EFLAGS_OF | X86_EFLAGS_IOPL | X86_EFLAGS_NT | X86_EFLAGS_RF | \
	 X86_EFLAGS_VM | X86_EFLAGS_AC | X86_EFLAGS_VIF | X86_EFLAGS_VIP | \
	 X86_EFLAGS_ID)

/* The order of struct kvm_regs, before RIP and RFLAGS. */
static const u8 lv_kvm_regs[16] = { LV_RAX, LV_RBX, LV_RCX, LV_RDX,
				    LV_RSI, LV_RDI, LV_RSP, LV_RBP,
				    LV_R8,  LV_R9,  LV_R10, LV_R11,
				    LV_R12, LV_R13, LV_R14, LV_R15 };

/* While user space single-steps the guest, TF is ours and not shown. */
static u64 lv_debugger_tf(struct lv_vcpu *v)
{
	return v->guest_debug & KVM_GUESTDBG_SINGLESTEP ? X86_EFLAGS_TF : 0;
}

LV_IOCTL(get_regs)
{
	struct kvm_regs *regs = data;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lv_kvm_regs); i++)
		(&regs->rax)[i] = lv_reg(v, lv_kvm_regs[i]);
	regs->rip = lv_rip(v);
	regs->rflags = lv_rflags(v) & ~lv_debugger_tf(v);
	return 0;
}

LV_IOCTL(set_regs)
{
	const struct kvm_regs *regs = data;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lv_kvm_regs); i++)
		lv_set_reg(v, lv_kvm_regs[i], (&regs->rax)[i]);
	lv_set_rip(v, regs->rip);
	lv_set_rflags(v, (regs->rflags & LV_RFLAGS_MASK) | X86_EFLAGS_FIXED |
				 lv_debugger_tf(v));
	/* It belonged to the instruction that the old RIP pointed to. */
	v->ex.pending = false;
	return 0;
}

/* ---- system registers ---- */

/* The order of struct kvm_sregs and kvm_sregs2, which begin alike. */
static const u8 lv_kvm_segments[LV_NR_SREGS] = { LV_SREG_CS, LV_SREG_DS,
						 LV_SREG_ES, LV_SREG_FS,
						 LV_SREG_GS, LV_SREG_SS,
						 LV_SREG_TR, LV_SREG_LDTR };
static_assert(offsetof(struct kvm_sregs, interrupt_bitmap) ==
	      offsetof(struct kvm_sregs2, flags));

/* The part that both forms share. */
static void lv_get_sregs(struct lv_vcpu *v, struct kvm_sregs2 *sregs)
{
	struct kvm_segment *seg = (void *)sregs;
	unsigned int i;

	for (i = 0; i < LV_NR_SREGS; i++)
		lv_call(get_segment)(v, lv_kvm_segments[i], &seg[i]);
	lv_backend->get_table(v, false, &sregs->gdt);
	lv_backend->get_table(v, true, &sregs->idt);
	sregs->cr0 = lv_cr0(v);
	sregs->cr2 = lv_cr2(v);
	sregs->cr3 = lv_cr3(v);
	sregs->cr4 = v->cr4;
	sregs->cr8 = lv_cr8(v);
	sregs->efer = v->efer;
	sregs->apic_base = lv_apic_base(v);
}

/*
 * With PAE paging the PDPTEs come from user space or from memory. What is not
 * mapped yet or not valid is left to fault when the guest uses it.
 */
static void lv_set_pdptes(struct lv_vcpu *v, const struct kvm_sregs2 *sregs,
			  const u64 *pdptes)
{
	int idx;

	if (pdptes) {
		memcpy(v->pdpte, pdptes, sizeof(v->pdpte));
		lv_mark_dirty(v, LV_R_PDPTE);
	} else if (lv_is_pae(sregs->cr0, sregs->cr4, sregs->efer)) {
		idx = srcu_read_lock(&v->vm->mem.srcu);
		lv_load_pdptes(v, sregs->cr3);
		srcu_read_unlock(&v->vm->mem.srcu, idx);
	}
}

static int lv_set_sregs(struct lv_vcpu *v, struct kvm_sregs2 *sregs,
			const u64 *pdptes)
{
	struct kvm_segment *seg = (void *)sregs;
	unsigned int i;
	int err;

	if (sregs->cr8 & ~0xfULL)
		return -EINVAL;
	err = lv_check_crs(v, sregs->cr0, sregs->cr3, sregs->cr4, sregs->efer,
			   &sregs->cs);
	if (!err && sregs->apic_base != lv_apic_base(v))
		err = lv_set_apic_base(v, sregs->apic_base, true);
	if (err)
		return err;

	for (i = 0; i < LV_NR_SREGS; i++)
		lv_backend->set_segment(v, lv_kvm_segments[i], &seg[i]);
	lv_backend->set_table(v, false, &sregs->gdt);
	lv_backend->set_table(v, true, &sregs->idt);
	lv_set_cr2(v, sregs->cr2);
	lv_set_cr8(v, sregs->cr8);
	lv_set_pdptes(v, sregs, pdptes);
	lv_store_crs(v, sregs->cr0, sregs->cr3, sregs->cr4, sregs->efer);
	return 0;
}

/* An interrupt that was acknowledged but has not reached the guest. */
static int lv_irq_in_flight(struct lv_vcpu *v)
{
	return v->irq.type == LV_EVENT_IRQ ? v->irq.vector : v->user_irq;
}

static void lv_set_irq_in_flight(struct lv_vcpu *v, int vector)
{
	v->user_irq = -1;
	v->irq.type = vector < 0 ? LV_EVENT_NONE : LV_EVENT_IRQ;
	v->irq.vector = vector;
	lv_request(v, LV_REQ_EVENT);
}

LV_IOCTL(get_sregs)
{
	int vector = lv_irq_in_flight(v);
	struct kvm_sregs *sregs = data;

	memset(sregs, 0, sizeof(*sregs));
	lv_get_sregs(v, data);
	if (vector >= 0)
		sregs->interrupt_bitmap[vector / 64] |= BIT_ULL(vector % 64);
	return 0;
}

LV_IOCTL(set_sregs)
{
	struct kvm_sregs *sregs = data;
	int vector, err;

	err = lv_set_sregs(v, data, NULL);
	if (err)
		return err;
	vector = find_first_bit((unsigned long *)sregs->interrupt_bitmap,
				KVM_NR_INTERRUPTS);
	if (vector < KVM_NR_INTERRUPTS)
		lv_set_irq_in_flight(v, vector);
	return 0;
}

LV_IOCTL(get_sregs2)
{
	struct kvm_sregs2 *sregs = data;
	int idx;

	memset(sregs, 0, sizeof(*sregs));
	lv_get_sregs(v, sregs);
	if (lv_is_pae(sregs->cr0, sregs->cr4, sregs->efer)) {
		idx = srcu_read_lock(&v->vm->mem.srcu);
		lv_cache(v, LV_R_PDPTE);
		srcu_read_unlock(&v->vm->mem.srcu, idx);
		memcpy(sregs->pdptrs, v->pdpte, sizeof(v->pdpte));
		sregs->flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
	}
	return 0;
}

LV_IOCTL(set_sregs2)
{
	struct kvm_sregs2 *sregs = data;
	bool has_pdptes = sregs->flags & KVM_SREGS2_FLAGS_PDPTRS_VALID;

	if (sregs->flags & ~(u64)KVM_SREGS2_FLAGS_PDPTRS_VALID)
		return -EINVAL;
	/* Only PAE paging has them. */
	if (has_pdptes && !lv_is_pae(sregs->cr0, sregs->cr4, sregs->efer))
		return -EINVAL;
	return lv_set_sregs(v, sregs, has_pdptes ? sregs->pdptrs : NULL);
}

/* ---- events ---- */

#define LV_EVENT_FLAGS                                                  \
	(KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW | \
	 KVM_VCPUEVENT_VALID_SIPI_VECTOR)
#define LV_MAX_NMIS 2 /* one being handled, one latched */

LV_IOCTL(get_vcpu_events)
{
	struct kvm_vcpu_events *events = data;
	const struct lv_exception *ex = &v->ex;
	int vector = lv_irq_in_flight(v);

	*events = (struct kvm_vcpu_events){
		.flags = LV_EVENT_FLAGS & ~KVM_VCPUEVENT_VALID_SIPI_VECTOR,
		.exception.nr = ex->vector,
		.exception.has_error_code = ex->has_error,
		.exception.error_code = ex->error,
		.interrupt.injected = vector >= 0,
		.interrupt.nr = max(vector, 0),
		.interrupt.shadow = lv_call(get_shadow)(v),
		.nmi.injected = v->nmi_injected,
		.nmi.pending =
			v->nmi_pending + hweight_long(READ_ONCE(v->nmi_queued)),
		.nmi.masked = lv_backend->get_nmi_mask(v),
		.smi.latched_init = test_bit(LV_LAPIC_INIT, &v->apic_events),
	};
	if (v->vm->triple_fault_event) {
		events->flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
		events->triple_fault.pending =
			test_bit(LV_REQ_SHUTDOWN, &v->requests);
	}
	/* The old form knows one state. */
	events->exception.injected = ex->injected ||
				     (ex->pending && !v->vm->exception_payload);
	if (v->vm->exception_payload) {
		events->flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
		events->exception.pending = ex->pending;
		events->exception_has_payload = ex->has_payload;
		events->exception_payload = ex->payload;
	}
	return 0;
}

/* An exception is pending, perhaps with a payload, or injected, or not there. */
static struct lv_exception lv_exception_of(const struct kvm_vcpu_events *events)
{
	bool pending = events->flags & KVM_VCPUEVENT_VALID_PAYLOAD &&
		       events->exception.pending;

	return (struct lv_exception){
		.pending = pending,
		.injected = events->exception.injected && !pending,
		.vector = events->exception.nr,
		.has_error = events->exception.has_error_code,
		.error = events->exception.error_code,
		.has_payload = pending && events->exception_has_payload,
		.payload = events->exception_payload,
	};
}

static bool lv_valid_events(struct lv_vcpu *v,
			    const struct kvm_vcpu_events *events,
			    const struct lv_exception *ex)
{
	u32 flags = LV_EVENT_FLAGS;

	if (v->vm->exception_payload)
		flags |= KVM_VCPUEVENT_VALID_PAYLOAD;
	if (v->vm->triple_fault_event)
		flags |= KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	if (events->flags & ~flags)
		return false;
	return (!ex->injected && !ex->pending) ||
	       (ex->vector < 32 && ex->vector != X86_TRAP_NMI);
}

LV_IOCTL(set_vcpu_events)
{
	const struct kvm_vcpu_events *events = data;
	struct lv_exception ex = lv_exception_of(events);

	if (!lv_valid_events(v, events, &ex))
		return -EINVAL;
	v->ex = ex;
	lv_set_irq_in_flight(
		v, events->interrupt.injected ? events->interrupt.nr : -1);
	if (events->flags & KVM_VCPUEVENT_VALID_SHADOW)
		lv_backend->set_shadow(v, events->interrupt.shadow);
	v->nmi_injected = events->nmi.injected;
	if (events->flags & KVM_VCPUEVENT_VALID_NMI_PENDING) {
		WRITE_ONCE(v->nmi_queued, 0);
		v->nmi_pending = min_t(u8, events->nmi.pending, LV_MAX_NMIS);
	}
	lv_backend->set_nmi_mask(v, events->nmi.masked);
	if (events->flags & KVM_VCPUEVENT_VALID_SIPI_VECTOR)
		WRITE_ONCE(v->sipi_vector, events->sipi_vector);
	if (events->flags & KVM_VCPUEVENT_VALID_TRIPLE_FAULT)
		assign_bit(LV_REQ_SHUTDOWN, &v->requests,
			   events->triple_fault.pending);
	return 0;
}

LV_IOCTL(interrupt)
{
	u32 irq = ((const struct kvm_interrupt *)data)->irq;

	if (irq >= KVM_NR_INTERRUPTS)
		return -EINVAL;
	if (v->vm->irqchip_mode == LV_IRQCHIP_KERNEL)
		return -ENXIO;
	if (v->user_irq >= 0)
		return -EEXIST;
	v->user_irq = irq;
	lv_request(v, LV_REQ_EVENT);
	return 0;
}

LV_IOCTL(nmi)
{
	lv_post_nmi(v);
	return 0;
}

LV_IOCTL(tpr_access_reporting)
{
	const struct kvm_tpr_access_ctl *ctl = data;

	if (ctl->flags)
		return -EINVAL;
	v->report_tpr = ctl->enabled;
	if (v->report_tpr)
		lv_apic_page_off(v);
	return 0;
}

/* No page of the guest gets its task priority; QEMU switches that off at reset. */
LV_IOCTL(set_vapic_addr)
{
	const struct kvm_vapic_addr *vapic = data;

	return v->apic && !vapic->vapic_addr ? 0 : -EINVAL;
}

LV_IOCTL(get_mp_state)
{
	struct kvm_mp_state *state = data;

	/* Whoever saves the vCPU would lose what waits for its next KVM_RUN. */
	lv_serve_init(v);
	state->mp_state = v->mp_state;
	if (v->mp_state == KVM_MP_STATE_HALTED && READ_ONCE(v->pv_unhalted))
		state->mp_state = KVM_MP_STATE_RUNNABLE;
	return 0;
}

LV_IOCTL(set_mp_state)
{
	const struct kvm_mp_state *state = data;

	if (!v->apic && state->mp_state != KVM_MP_STATE_RUNNABLE)
		return -EINVAL;
	switch (state->mp_state) {
	case KVM_MP_STATE_RUNNABLE ... KVM_MP_STATE_HALTED:
		v->mp_state = state->mp_state;
		return 0;
	case KVM_MP_STATE_SIPI_RECEIVED:
		v->mp_state = KVM_MP_STATE_INIT_RECEIVED;
		set_bit(LV_LAPIC_SIPI, &v->apic_events);
		lv_request(v, LV_REQ_APIC);
		return 0;
	default:
		return -EINVAL;
	}
}

/* ---- debugging ---- */

LV_IOCTL(get_debugregs)
{
	struct kvm_debugregs *regs = data;

	*regs = (struct kvm_debugregs){ .dr6 = v->dr6, .dr7 = v->dr7 };
	memcpy(regs->db, v->dr, sizeof(v->dr));
	return 0;
}

LV_IOCTL(set_debugregs)
{
	const struct kvm_debugregs *regs = data;

	if (regs->flags || regs->dr6 >> 32 || regs->dr7 >> 32)
		return -EINVAL;
	memcpy(v->dr, regs->db, sizeof(v->dr));
	lv_set_dr(v, 6, regs->dr6);
	lv_set_dr(v, 7, regs->dr7);
	return 0;
}

LV_IOCTL(set_guest_debug)
{
	const struct kvm_guest_debug *dbg = data;
	u64 rflags;

	if (dbg->control & ~(LV_GUESTDBG | LV_GUESTDBG_INJECT))
		return -EINVAL;
	if (dbg->control & LV_GUESTDBG_INJECT) {
		if (v->ex.pending || v->ex.injected)
			return -EBUSY;
		lv_queue_exception(v, dbg->control & KVM_GUESTDBG_INJECT_DB
					      ? X86_TRAP_DB
					      : X86_TRAP_BP);
	}

	rflags = lv_rflags(v) & ~lv_debugger_tf(v);
	v->guest_debug = dbg->control & KVM_GUESTDBG_ENABLE
				 ? dbg->control & LV_GUESTDBG
				 : 0;
	lv_set_rflags(v, rflags | lv_debugger_tf(v));
	if (v->guest_debug & KVM_GUESTDBG_USE_HW_BP) {
		memcpy(v->debug_dr, dbg->arch.debugreg, sizeof(v->debug_dr));
		v->debug_dr7 = dbg->arch.debugreg[7] & 0xffff2bff;
	}
	if (v->guest_debug & KVM_GUESTDBG_BLOCKIRQ)
		lv_apic_page_off(v);
	lv_backend->set_intercepts(v);
	lv_request(v, LV_REQ_EVENT); /* KVM_GUESTDBG_BLOCKIRQ */
	return 0;
}

LV_IOCTL(translate)
{
	struct kvm_translation *tr = data;
	struct lv_emul_fault fault;
	gpa_t gpa = LV_INVALID_GPA;
	int idx = srcu_read_lock(&v->vm->mem.srcu);
	int err = lv_gva_to_gpa(v, tr->linear_address, LV_ACCESS_READ, &gpa,
				&fault);

	srcu_read_unlock(&v->vm->mem.srcu, idx);
	tr->physical_address = err ? LV_INVALID_GPA : gpa;
	tr->valid = !err;
	tr->writeable = 1;
	tr->usermode = 0;
	return 0;
}

LV_IOCTL(set_signal_mask)
{
	struct kvm_signal_mask __user *user = (void __user *)arg;
	sigset_t set;
	u32 len;

	if (!user) {
		v->sigset_active = false;
		return 0;
	}
	if (get_user(len, &user->len))
		return -EFAULT;
	if (len != sizeof(set))
		return -EINVAL;
	if (copy_from_user(&set, user->sigset, sizeof(set)))
		return -EFAULT;
	sigdelsetmask(&set, sigmask(SIGKILL) | sigmask(SIGSTOP));
	v->sigset = set;
	v->sigset_active = true;
	return 0;
}

/* ---- registers in the run page ---- */

/* User space may write to the page meanwhile: check and use a copy. */
#define LV_SYNC_IN(v, field, set)                                             \
	({                                                                    \
		typeof((v)->run->s.regs.field) copy = (v)->run->s.regs.field; \
		set((v)->vm, v, &copy, 0);                                    \
	})

/** lv_sync_regs_store - fill in what user space asked to see after KVM_RUN */
void lv_sync_regs_store(struct lv_vcpu *v)
{
	struct kvm_sync_regs *regs = &v->run->s.regs;
	u64 valid = READ_ONCE(v->run->kvm_valid_regs);

	if (valid & KVM_SYNC_X86_REGS)
		lv_ioctl_get_regs(v->vm, v, &regs->regs, 0);
	if (valid & KVM_SYNC_X86_SREGS)
		lv_ioctl_get_sregs(v->vm, v, &regs->sregs, 0);
	if (valid & KVM_SYNC_X86_EVENTS)
		lv_ioctl_get_vcpu_events(v->vm, v, &regs->events, 0);
}

/** lv_sync_regs_load - take over what user space changed before KVM_RUN */
int lv_sync_regs_load(struct lv_vcpu *v)
{
	u64 dirty = READ_ONCE(v->run->kvm_dirty_regs);
	u64 valid = READ_ONCE(v->run->kvm_valid_regs);
	int err = 0;

	if ((dirty | valid) & ~KVM_SYNC_X86_VALID_FIELDS)
		return -EINVAL;
	if (dirty & KVM_SYNC_X86_REGS)
		err = LV_SYNC_IN(v, regs, lv_ioctl_set_regs);
	if (!err && dirty & KVM_SYNC_X86_SREGS)
		err = LV_SYNC_IN(v, sregs, lv_ioctl_set_sregs);
	if (!err && dirty & KVM_SYNC_X86_EVENTS)
		err = LV_SYNC_IN(v, events, lv_ioctl_set_vcpu_events);
	WRITE_ONCE(v->run->kvm_dirty_regs, 0);
	return err;
}
