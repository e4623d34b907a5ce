// SPDX-License-Identifier: GPL-2.0-only
/*
 * Events on their way into the guest: exceptions, NMIs, interrupts.
 *
 * An event is pending until the hardware is asked to inject it, and injected
 * until the guest was entered with it. What an exit cut short comes back by
 * lv_requeue_event() and is injected again first.
 */
#include "labvisor.h"
#include "trace.h"

#define LV_VECTORS_FAULT                                          \
	(BIT(X86_TRAP_DE) | BIT(X86_TRAP_BR) | BIT(X86_TRAP_UD) | \
	 BIT(X86_TRAP_NM) | BIT(X86_TRAP_TS) | BIT(X86_TRAP_NP) | \
	 BIT(X86_TRAP_SS) | BIT(X86_TRAP_GP) | BIT(X86_TRAP_PF) | \
	 BIT(X86_TRAP_MF) | BIT(X86_TRAP_AC) | BIT(X86_TRAP_XF))
#define LV_VECTORS_CONTRIBUTORY                                   \
	(BIT(X86_TRAP_DE) | BIT(X86_TRAP_TS) | BIT(X86_TRAP_NP) | \
	 BIT(X86_TRAP_SS) | BIT(X86_TRAP_GP))

static bool lv_contributory(u8 vector)
{
	return BIT(vector) & LV_VECTORS_CONTRIBUTORY;
}

/* Intel SDM vol. 3, Interrupt 8: conditions for a double fault. */
static bool lv_makes_double_fault(u8 first, u8 second)
{
	if (first == X86_TRAP_PF)
		return second == X86_TRAP_PF || lv_contributory(second);
	return lv_contributory(first) && lv_contributory(second);
}

static void lv_queue(struct lv_vcpu *v, struct lv_exception ex)
{
	struct lv_exception *old = &v->ex;

	ex.pending = true;
	lv_request(v, LV_REQ_EVENT);
	if (!old->pending && !old->injected) {
		*old = ex;
		return;
	}
	if (old->vector == X86_TRAP_DF) {
		*old = (struct lv_exception){};
		lv_request(v, LV_REQ_SHUTDOWN);
		return;
	}
	/* A benign pair: the first one comes back when it is re-executed. */
	if (lv_makes_double_fault(old->vector, ex.vector))
		ex = (struct lv_exception){ .pending = true,
					    .vector = X86_TRAP_DF,
					    .has_error = true };
	*old = ex;
}

void lv_queue_exception(struct lv_vcpu *v, u8 vector)
{
	lv_queue(v, (struct lv_exception){ .vector = vector });
}

void lv_queue_exception_error(struct lv_vcpu *v, u8 vector, u32 error)
{
	lv_queue(v, (struct lv_exception){ .vector = vector,
					   .has_error = true,
					   .error = error });
}

/** lv_inject_fault - raise what an access or an emulated instruction found */
int lv_inject_fault(struct lv_vcpu *v, const struct lv_emul_fault *fault)
{
	lv_queue(v, (struct lv_exception){
			    .vector = fault->vector,
			    .has_error = fault->has_error,
			    .error = fault->error,
			    .has_payload = fault->vector == X86_TRAP_PF,
			    .payload = fault->cr2,
		    });
	return LV_RESUME;
}

/** lv_queue_debug - raise #DB; DR6 bits are 1 for what is reported */
void lv_queue_debug(struct lv_vcpu *v, u64 dr6_bits)
{
	lv_queue(v, (struct lv_exception){ .vector = X86_TRAP_DB,
					   .has_payload = true,
					   .payload = dr6_bits });
}

/* Apply what an exception does besides its vector. */
static void lv_deliver_payload(struct lv_vcpu *v)
{
	struct lv_exception *ex = &v->ex;

	if (!ex->has_payload)
		return;
	ex->has_payload = false;
	if (ex->vector == X86_TRAP_PF) {
		lv_set_cr2(v, ex->payload);
	} else if (ex->vector == X86_TRAP_DB) {
		v->dr6 &= ~(u64)DR_TRAP_BITS;
		v->dr6 |= DR6_RESERVED | ex->payload;
	}
}

/*
 * An exit interrupted the delivery of @event. INT n left RIP at the
 * instruction, which raises it again.
 */
static void lv_requeue_event(struct lv_vcpu *v, const struct lv_event *event)
{
	lv_request(v, LV_REQ_EVENT);
	switch (event->type) {
	case LV_EVENT_EXCEPTION:
		v->ex = (struct lv_exception){ .injected = true,
					       .vector = event->vector,
					       .has_error = event->has_error,
					       .error = event->error };
		break;
	case LV_EVENT_NMI:
		v->nmi_injected = true;
		lv_backend->set_nmi_mask(v, false);
		break;
	case LV_EVENT_IRQ:
		v->irq = *event;
		break;
	}
}

/** lv_settle_events - what was injected arrived, unless cut short */
void lv_settle_events(struct lv_vcpu *v, const struct lv_exit *exit)
{
	if (v->injecting == LV_EVENT_EXCEPTION)
		v->ex.injected = lv_was_injected(v, &exit->interrupted);
	else if (v->injecting == LV_EVENT_NMI)
		v->nmi_injected = false;
	else if (v->injecting == LV_EVENT_IRQ)
		v->irq.type = LV_EVENT_NONE;
	v->injecting = LV_EVENT_NONE;
	if (exit->interrupted.type != LV_EVENT_NONE)
		lv_requeue_event(v, &exit->interrupted);
	else if (v->ex.pending || v->nmi_injected || v->irq.type)
		lv_request(v, LV_REQ_EVENT);
}

/** lv_post_nmi - deliver an NMI; any context */
void lv_post_nmi(struct lv_vcpu *v)
{
	/* One in service and one latched is all that a CPU remembers. */
	if (test_and_set_bit(0, &v->nmi_queued))
		set_bit(1, &v->nmi_queued);
	lv_request(v, LV_REQ_EVENT);
	lv_kick(v);
}

static void lv_collect_nmis(struct lv_vcpu *v)
{
	unsigned int limit = v->nmi_injected || lv_backend->get_nmi_mask(v) ? 1
									    : 2;
	unsigned int nr = v->nmi_pending;

	nr += test_and_clear_bit(1, &v->nmi_queued);
	nr += test_and_clear_bit(0, &v->nmi_queued);
	v->nmi_pending = min(nr, limit);
}

/** lv_irq_pending - does an interrupt wait for the vCPU? */
bool lv_irq_pending(struct lv_vcpu *v)
{
	return v->user_irq >= 0 || lv_irqchip_has_irq(v);
}

static int lv_take_irq(struct lv_vcpu *v)
{
	int vector = v->user_irq;

	if (vector < 0)
		return lv_irqchip_ack(v);
	v->user_irq = -1;
	return vector;
}

static void lv_hand_over(struct lv_vcpu *v, const struct lv_event *event)
{
	lv_call(inject)(v, event);
	v->injecting = event->type;
	if (event->type != LV_EVENT_NONE)
		trace_lv_inject(v, event);
}

static void lv_inject_exception(struct lv_vcpu *v)
{
	struct lv_exception *ex = &v->ex;
	struct lv_event event = {
		.type = LV_EVENT_EXCEPTION,
		.vector = ex->vector,
		/* Real mode pushes no error codes. */
		.has_error = ex->has_error && (v->cr0 & X86_CR0_PE),
		.error = ex->error,
	};

	if (ex->pending) {
		if (v->drs_lent && ex->vector == X86_TRAP_DB)
			lv_take_debugregs(v);
		lv_deliver_payload(v);
		if (BIT(ex->vector) & LV_VECTORS_FAULT)
			lv_set_rflags(v, lv_rflags(v) | X86_EFLAGS_RF);
		if (ex->vector == X86_TRAP_DB && v->dr7 & LV_DR7_GD) {
			v->dr7 &= ~(u64)LV_DR7_GD;
			lv_backend->set_dr7(v);
		}
		ex->pending = false;
		ex->injected = true;
		v->stat.exceptions++;
	}
	lv_hand_over(v, &event);
}

static void lv_inject_nmi(struct lv_vcpu *v)
{
	const struct lv_event event = { .type = LV_EVENT_NMI,
					.vector = X86_TRAP_NMI };

	v->nmi_injected = true;
	v->stat.nmi_injections++;
	lv_hand_over(v, &event);
}

static void lv_inject_irq(struct lv_vcpu *v)
{
	v->stat.irq_injections++;
	lv_hand_over(v, &v->irq);
}

/* What is on its way already goes first. Returns true if there was any. */
static bool lv_inject_again(struct lv_vcpu *v)
{
	if (v->ex.injected || v->ex.pending)
		lv_inject_exception(v);
	else if (v->nmi_injected)
		lv_inject_nmi(v);
	else if (v->irq.type)
		lv_inject_irq(v);
	else
		return false;
	return true;
}

/* By a debugger that steps the guest. */
static bool lv_irqs_blocked(const struct lv_vcpu *v)
{
	return unlikely(v->guest_debug & KVM_GUESTDBG_BLOCKIRQ);
}

static bool lv_inject_new_nmi(struct lv_vcpu *v, bool busy)
{
	if (!v->nmi_pending || lv_irqs_blocked(v))
		return busy;
	if (busy || !lv_call(nmi_allowed)(v)) {
		lv_backend->nmi_window(v);
		return busy;
	}
	v->nmi_pending--;
	lv_inject_nmi(v);
	if (v->nmi_pending)
		lv_backend->nmi_window(v);
	return true;
}

/* Other than vectors that the CPU delivers by itself. */
static bool lv_must_inject(struct lv_vcpu *v)
{
	return v->user_irq >= 0 || lv_irqchip_must_inject(v);
}

static void lv_inject_new_irq(struct lv_vcpu *v, bool busy)
{
	int vector;

	if (!lv_must_inject(v)) {
		if (v->run->request_interrupt_window &&
		    v->vm->irqchip_mode != LV_IRQCHIP_KERNEL)
			lv_call(irq_window)(v, true);
		return;
	}
	if (lv_irqs_blocked(v))
		return;
	if (busy || !lv_call(irq_allowed)(v)) {
		lv_call(irq_window)(v, true);
		return;
	}
	vector = lv_take_irq(v);
	if (vector < 0)
		return;
	v->irq = (struct lv_event){ .type = LV_EVENT_IRQ, .vector = vector };
	lv_inject_irq(v);
	if (lv_must_inject(v))
		lv_call(irq_window)(v, true);
}

static void lv_update_tpr(struct lv_vcpu *v)
{
	u8 threshold = 0;

	if (v->apic)
		v->cr8 = lv_lapic_tpr(v->apic) >> 4;
	v->shown_cr8 = v->cr8;
	if (!v->apic)
		threshold = 15; /* user space has to hear of every change */
	else if (!v->irq.type && !v->apicv)
		threshold = lv_lapic_tpr_threshold(v->apic);
	lv_call(set_tpr)(v, v->cr8, threshold);
}

/*
 * lv_inject_events - choose the event for the next entry.
 * Also opens the windows for those that have to wait. What was chosen earlier
 * but not entered with is chosen anew.
 * Context: the vCPU's thread, interrupts off, before an entry.
 */
void lv_inject_events(struct lv_vcpu *v)
{
	static const struct lv_event none = {};
	bool busy;

	/* Whether an interrupt is still in service is not known yet. */
	if (unlikely(v->pv_eoi.armed))
		return;
	if (v->nmi_queued)
		lv_collect_nmis(v);
	busy = lv_inject_again(v);
	if (!busy && v->injecting)
		lv_hand_over(v, &none);
	busy = lv_inject_new_nmi(v, busy);
	lv_inject_new_irq(v, busy);
	lv_update_tpr(v);
}
