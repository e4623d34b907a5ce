// SPDX-License-Identifier: GPL-2.0-only
/*
 * Event injection and the windows in which the guest can take events.
 */
#include "svm.h"

/* The virtual interrupt of the VMCB: of the highest priority, or none. */
static void svm_set_virq(struct svm_vcpu *s, bool on, u8 vector)
{
	struct vmcb_control_area *control = &s->vmcb->control;

	control->int_ctl &= ~V_IRQ_INJECTION_BITS_MASK;
	if (on)
		control->int_ctl |= V_IRQ_MASK | V_INTR_PRIO_MASK |
				    V_IGN_TPR_MASK;
	control->int_vector = vector;
	svm_touch(s, SVM_CLEAN_INTR);
}

/*
 * An interrupt that the guest can take is given as the virtual interrupt: the
 * CPU delivers it right after VMRUN, as it would an injected event. QEMU may
 * deliver an injected interrupt twice (docs/emulators.md).
 */
static void svm_inject_irq(struct svm_vcpu *s, u8 vector)
{
	svm_intercept(s, INTERCEPT_VINTR, false);
	svm_set_virq(s, true, vector);
	s->virq = true;
}

/* IRET ends an NMI's handler, or one that a window waits for. */
static void svm_watch_iret(struct svm_vcpu *s)
{
	svm_intercept(s, INTERCEPT_IRET,
		      s->window_waits || (s->nmi_masked && !s->iret_pending));
}

static void svm_drop_irq(struct svm_vcpu *s)
{
	s->virq = false;
	svm_set_virq(s, false, 0);
	if (unlikely(s->window_waits)) {
		s->window_waits = false;
		svm_watch_iret(s);
	}
}

/* After an exit: the guest may have left before it took the interrupt. */
void svm_settle_irq(struct svm_vcpu *s, struct lv_event *interrupted)
{
	struct vmcb_control_area *control = &s->vmcb->control;

	if (control->int_ctl & V_IRQ_MASK)
		*interrupted = (struct lv_event){
			.type = LV_EVENT_IRQ,
			.vector = control->int_vector,
		};
	if (unlikely(s->window_waits))
		lv_request(&s->v, LV_REQ_EVENT);
	svm_drop_irq(s);
}

void svm_inject(struct lv_vcpu *v, const struct lv_event *event)
{
	static const u32 type[] = {
		[LV_EVENT_EXCEPTION] = SVM_EVTINJ_TYPE_EXEPT,
		[LV_EVENT_NMI] = SVM_EVTINJ_TYPE_NMI,
	};
	struct svm_vcpu *s = to_svm(v);
	struct vmcb_control_area *control = &s->vmcb->control;

	control->event_inj = 0;
	v->reg_dirty &= ~SVM_DIRTY_INT3;
	if (s->virq)
		svm_drop_irq(s);
	if (event->type == LV_EVENT_NONE)
		return;
	if (event->type == LV_EVENT_IRQ) {
		svm_inject_irq(s, event->vector);
		return;
	}
	control->event_inj = event->vector | SVM_EVTINJ_VALID |
			     type[event->type] |
			     (event->has_error ? SVM_EVTINJ_VALID_ERR : 0);
	control->event_inj_err = event->error;
	if (event->type == LV_EVENT_EXCEPTION && lv_is_soft(event->vector))
		v->reg_dirty |= SVM_DIRTY_INT3;
	if (event->type == LV_EVENT_NMI)
		svm_set_nmi_mask(v, true);
}

bool svm_irq_allowed(struct lv_vcpu *v)
{
	return (v->rflags & X86_EFLAGS_IF) &&
	       !(to_svm(v)->vmcb->control.int_state &
		 SVM_INTERRUPT_SHADOW_MASK);
}

bool svm_nmi_allowed(struct lv_vcpu *v)
{
	struct svm_vcpu *s = to_svm(v);

	return !s->nmi_masked && !s->stepping &&
	       !(s->vmcb->control.int_state & SVM_INTERRUPT_SHADOW_MASK);
}

/*
 * A virtual interrupt exits through VINTR just before the guest would take it:
 * that is the window. While the virtual interrupt is one to be delivered, the
 * window waits for the next exit: the handler's EOI, its IRET at the latest.
 */
void svm_irq_window(struct lv_vcpu *v, bool on)
{
	struct svm_vcpu *s = to_svm(v);

	if (s->virq) {
		s->window_waits = on;
		svm_watch_iret(s);
		return;
	}
	svm_intercept(s, INTERCEPT_VINTR, on);
	svm_set_virq(s, on, 0);
}

/*
 * SVM has no NMI window. A masked NMI opens at IRET, which is intercepted
 * while the mask is set; the instruction after it, or after an interrupt
 * shadow, is found by stepping once.
 */
void svm_nmi_window(struct lv_vcpu *v)
{
	struct svm_vcpu *s = to_svm(v);

	if (s->nmi_masked && !s->iret_pending)
		return;
	if (s->stepping)
		return;
	s->stepping = true;
	s->stepping_rflags = v->rflags;
	lv_set_rflags(v, v->rflags | X86_EFLAGS_TF | X86_EFLAGS_RF);
}

/* The step taken for an NMI is over. Was its #DB only ours? */
bool svm_step_done(struct svm_vcpu *s)
{
	s->stepping = false;
	if (s->stepping_rflags & X86_EFLAGS_TF ||
	    s->v.guest_debug & KVM_GUESTDBG_SINGLESTEP)
		return false;
	lv_set_rflags(&s->v, s->v.rflags & ~(u64)X86_EFLAGS_TF);
	return true;
}

void svm_iret_seen(struct svm_vcpu *s)
{
	if (s->nmi_masked) {
		s->iret_pending = true;
		s->iret_rip = s->v.rip;
	}
	svm_watch_iret(s);
}

void svm_iret_done(struct svm_vcpu *s)
{
	s->iret_pending = false;
	s->nmi_masked = false;
	lv_request(&s->v, LV_REQ_EVENT);
}

bool svm_get_nmi_mask(struct lv_vcpu *v)
{
	return to_svm(v)->nmi_masked;
}

void svm_set_nmi_mask(struct lv_vcpu *v, bool masked)
{
	struct svm_vcpu *s = to_svm(v);

	s->nmi_masked = masked;
	s->iret_pending = false;
	svm_watch_iret(s);
}

/* SVM does not tell the shadow of STI from that of MOV SS. */
u8 svm_get_shadow(struct lv_vcpu *v)
{
	if (to_svm(v)->vmcb->control.int_state & SVM_INTERRUPT_SHADOW_MASK)
		return KVM_X86_SHADOW_INT_STI | KVM_X86_SHADOW_INT_MOV_SS;
	return 0;
}

void svm_set_shadow(struct lv_vcpu *v, u8 shadow)
{
	u32 *state = &to_svm(v)->vmcb->control.int_state;

	*state &= ~SVM_INTERRUPT_SHADOW_MASK;
	if (shadow)
		*state |= SVM_INTERRUPT_SHADOW_MASK;
}

/*
 * V_TPR holds CR8 and the guest reads and writes it freely. Writes are
 * intercepted only while an interrupt waits for a lower priority, and while a
 * window is open, when QEMU as the processor would abort (docs/emulators.md).
 */
void svm_set_tpr(struct lv_vcpu *v, u8 cr8, u8 threshold)
{
	struct svm_vcpu *s = to_svm(v);
	struct vmcb_control_area *control = &s->vmcb->control;
	bool window = control->int_ctl & V_IRQ_MASK && !s->virq;

	svm_intercept(s, INTERCEPT_CR8_WRITE, threshold || window);
	if ((control->int_ctl & V_TPR_MASK) == cr8)
		return;
	control->int_ctl = (control->int_ctl & ~V_TPR_MASK) | cr8;
	svm_touch(s, SVM_CLEAN_INTR);
}
