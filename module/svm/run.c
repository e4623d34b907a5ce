// SPDX-License-Identifier: GPL-2.0-only
/*
 * One VMRUN: what is written to the VMCB before, and how the exit is decoded.
 */
#include <asm/irq_vectors.h>

#include "../compat.h"
#include "svm.h"

/* AMD APM vol. 2, Nested Paging: page fault code in EXITINFO1. */
#define SVM_NPF_WRITE BIT_ULL(1)
#define SVM_NPF_FETCH BIT_ULL(4)
#define SVM_NPF_WALK BIT_ULL(33)

/* EXITINFO1 of CR accesses with decode assists. */
#define SVM_CR_IS_MOV BIT_ULL(63)

/* Take a fresh ASID: nothing is cached under it, whatever was before. */
static void svm_new_asid(struct svm_vcpu *s, struct svm_cpu *cpu)
{
	struct vmcb_control_area *control = &s->vmcb->control;

	if (cpu->next_asid > svm_max_asid) {
		cpu->generation++;
		cpu->next_asid = 1;
		control->tlb_ctl = TLB_CONTROL_FLUSH_ALL_ASID;
	}
	s->asid_generation = cpu->generation;
	control->asid = cpu->next_asid++;
	svm_touch(s, SVM_CLEAN_ASID);
}

/* An ASID tags both kinds of translations. */
void svm_flush_tlb(struct lv_vcpu *v, bool nested)
{
	to_svm(v)->asid_generation = 0;
}

static void svm_decode_interrupted(struct svm_vcpu *s, struct lv_event *event)
{
	struct vmcb_control_area *control = &s->vmcb->control;
	static const u8 type[8] = {
		[SVM_EXITINTINFO_TYPE_INTR >> 8] = LV_EVENT_IRQ,
		[SVM_EXITINTINFO_TYPE_NMI >> 8] = LV_EVENT_NMI,
		[SVM_EXITINTINFO_TYPE_EXEPT >> 8] = LV_EVENT_EXCEPTION,
		[SVM_EXITINTINFO_TYPE_SOFT >> 8] = LV_EVENT_SOFT,
	};
	u32 info = control->exit_int_info;

	event->type = type[(info & SVM_EXITINTINFO_TYPE_MASK) >> 8];
	event->vector = info & SVM_EXITINTINFO_VEC_MASK;
	/* QEMU calls a virtual interrupt an exception. */
	if (event->type == LV_EVENT_EXCEPTION &&
	    event->vector >= FIRST_EXTERNAL_VECTOR)
		event->type = LV_EVENT_IRQ;
	if (event->type == LV_EVENT_EXCEPTION && lv_is_soft(event->vector)) {
		event->type = LV_EVENT_SOFT;
		if (lv_was_injected(&s->v, event))
			s->v.rip--;
	}
	event->has_error = info & SVM_EXITINTINFO_VALID_ERR;
	event->error = control->exit_int_info_err;
}

static void svm_decode_io(struct svm_vcpu *s, struct lv_exit *exit)
{
	u32 info = s->vmcb->control.exit_info_1;

	exit->reason = LV_EXIT_IO;
	exit->io.port = info >> 16;
	exit->io.size = (info & SVM_IOIO_SIZE_MASK) >> SVM_IOIO_SIZE_SHIFT;
	exit->io.in = info & SVM_IOIO_TYPE_MASK;
	exit->io.string = info & SVM_IOIO_STR_MASK;
	exit->io.rep = info & SVM_IOIO_REP_MASK;
	/* Every SVM CPU gives the next RIP of port accesses. */
	exit->insn_len = s->vmcb->control.exit_info_2 - s->v.rip;
}

static void svm_decode_fault(struct svm_vcpu *s, struct lv_exit *exit)
{
	u64 code = s->vmcb->control.exit_info_1;

	exit->reason = LV_EXIT_FAULT;
	exit->fault.gpa = s->vmcb->control.exit_info_2;
	exit->fault.access = LV_ACCESS_READ;
	if (code & SVM_NPF_WRITE)
		exit->fault.access |= LV_ACCESS_WRITE;
	if (code & SVM_NPF_FETCH)
		exit->fault.access |= LV_ACCESS_FETCH;
	if (code & SVM_NPF_WALK)
		exit->fault.access |= LV_ACCESS_WALK;
}

static void svm_decode_cr(struct svm_vcpu *s, struct lv_exit *exit, u32 code)
{
	u64 info = s->vmcb->control.exit_info_1;

	exit->reason = LV_EXIT_CR;
	exit->cr.write = code >= SVM_EXIT_WRITE_CR0;
	exit->cr.nr = code == SVM_EXIT_CR0_SEL_WRITE ? 0 : code & 0xf;
	exit->cr.gpr = info & 0xf;
	exit->cr.decoded = boot_cpu_has(X86_FEATURE_DECODEASSISTS) &&
			   (info & SVM_CR_IS_MOV);
}

static void svm_decode_dr(struct svm_vcpu *s, struct lv_exit *exit, u32 code)
{
	exit->reason = LV_EXIT_DR;
	exit->cr.write = code >= SVM_EXIT_WRITE_DR0;
	exit->cr.nr = code & 0xf;
	exit->cr.gpr = s->vmcb->control.exit_info_1 & 0xf;
	exit->cr.decoded = boot_cpu_has(X86_FEATURE_DECODEASSISTS);
}

static void svm_decode_exception(struct svm_vcpu *s, struct lv_exit *exit,
				 u32 code)
{
	exit->reason = LV_EXIT_EXCEPTION;
	exit->ex.vector = code - SVM_EXIT_EXCP_BASE;
	exit->ex.error = s->vmcb->control.exit_info_1;
	exit->ex.payload = 0;
	if (exit->ex.vector != DB_VECTOR)
		return;

	exit->ex.payload = s->vmcb->save.dr6 ^ DR6_RESERVED;
	if (s->v.drs_lent)
		s->vmcb->save.dr6 &= ~(u64)DR_STEP; /* of our own stepping */
	else
		s->vmcb->save.dr6 = DR6_RESERVED;
	svm_touch(s, SVM_CLEAN_DR);
	if (s->stepping && svm_step_done(s))
		exit->reason = LV_EXIT_NMI_WINDOW;
}

/* Exits that carry nothing but their name. */
static const u8 svm_simple_exits[] = {
	[SVM_EXIT_VINTR] = LV_EXIT_IRQ_WINDOW,
	[SVM_EXIT_RDTSC] = LV_EXIT_RDTSC,
	[SVM_EXIT_RDTSCP] = LV_EXIT_RDTSCP,
	[SVM_EXIT_RDPMC] = LV_EXIT_RDPMC,
	[SVM_EXIT_CPUID] = LV_EXIT_CPUID,
	[SVM_EXIT_INVD] = LV_EXIT_INVD,
	[SVM_EXIT_WBINVD] = LV_EXIT_WBINVD,
	[SVM_EXIT_PAUSE] = LV_EXIT_PAUSE,
	[SVM_EXIT_HLT] = LV_EXIT_HLT,
	[SVM_EXIT_SHUTDOWN] = LV_EXIT_SHUTDOWN,
	[SVM_EXIT_VMMCALL] = LV_EXIT_HYPERCALL,
	[SVM_EXIT_MONITOR] = LV_EXIT_MONITOR,
	[SVM_EXIT_MWAIT] = LV_EXIT_MWAIT,
	[SVM_EXIT_MWAIT_COND] = LV_EXIT_MWAIT,
	[SVM_EXIT_XSETBV] = LV_EXIT_XSETBV,
	[SVM_EXIT_VMRUN] = LV_EXIT_UNDEFINED,
	[SVM_EXIT_VMLOAD] = LV_EXIT_UNDEFINED,
	[SVM_EXIT_VMSAVE] = LV_EXIT_UNDEFINED,
	[SVM_EXIT_STGI] = LV_EXIT_UNDEFINED,
	[SVM_EXIT_CLGI] = LV_EXIT_UNDEFINED,
	[SVM_EXIT_SKINIT] = LV_EXIT_UNDEFINED,
	[SVM_EXIT_INVLPGA] = LV_EXIT_UNDEFINED,
	[SVM_EXIT_RSM] = LV_EXIT_UNDEFINED,
	[SVM_EXIT_RDPRU] = LV_EXIT_UNDEFINED,
};

static void svm_decode(struct svm_vcpu *s, struct lv_exit *exit)
{
	struct vmcb_control_area *control = &s->vmcb->control;
	u32 code = control->exit_code;

	if (code < ARRAY_SIZE(svm_simple_exits) && svm_simple_exits[code]) {
		exit->reason = svm_simple_exits[code];
		return;
	}
	switch (code) {
	case SVM_EXIT_INTR:
	case SVM_EXIT_NMI:
		exit->reason = LV_EXIT_HOST;
		break;
	case SVM_EXIT_NPF:
		svm_decode_fault(s, exit);
		break;
	case SVM_EXIT_IOIO:
		svm_decode_io(s, exit);
		break;
	case SVM_EXIT_MSR:
		exit->reason = control->exit_info_1 & 1 ? LV_EXIT_WRMSR
							: LV_EXIT_RDMSR;
		break;
	case SVM_EXIT_READ_CR0 ... SVM_EXIT_WRITE_CR8:
	case SVM_EXIT_CR0_SEL_WRITE:
		svm_decode_cr(s, exit, code);
		break;
	case SVM_EXIT_READ_DR0 ... SVM_EXIT_WRITE_DR7:
		svm_decode_dr(s, exit, code);
		break;
	case SVM_EXIT_EXCP_BASE ... SVM_EXIT_LAST_EXCP:
		svm_decode_exception(s, exit, code);
		break;
	case SVM_EXIT_IRET:
		svm_iret_seen(s);
		exit->reason = LV_EXIT_NMI_WINDOW;
		break;
	case SVM_EXIT_TASK_SWITCH:
		exit->reason = LV_EXIT_TASK_SWITCH;
		exit->task.selector = control->exit_info_1;
		break;
	case (u32)SVM_EXIT_ERR:
		exit->reason = LV_EXIT_ENTRY_FAILED;
		break;
	default:
		exit->reason = LV_EXIT_UNKNOWN;
	}
}

/*
 * SPEC_CTRL is switched only for guests that use it. Where the CPU virtualises
 * it (V_SPEC_CTRL) the VMCB carries the guest's value and nothing is to do.
 */
static __always_inline void svm_swap_spec_ctrl(struct lv_vcpu *v, bool enter)
{
	u64 host;

	if (likely(!v->spec_ctrl) || boot_cpu_has(X86_FEATURE_V_SPEC_CTRL))
		return;
	host = this_cpu_read(x86_spec_ctrl_current);
	if (host != v->spec_ctrl)
		lv_native_wrmsr(MSR_IA32_SPEC_CTRL,
				enter ? v->spec_ctrl : host);
}

static noinline void svm_write_back(struct svm_vcpu *s)
{
	struct vmcb_save_area *save = &s->vmcb->save;

	if (s->v.reg_dirty & BIT(LV_R_CR2)) {
		save->cr2 = s->v.cr2;
		svm_touch(s, SVM_CLEAN_CR2);
	}
	if (s->v.reg_dirty & SVM_DIRTY_INT3)
		save->rip++;
}

void svm_run(struct lv_vcpu *v, struct lv_exit *exit)
{
	struct svm_cpu *cpu = this_cpu_ptr(&svm_cpu);
	struct svm_vcpu *s = to_svm(v);
	struct vmcb_control_area *control = &s->vmcb->control;
	struct vmcb_save_area *save = &s->vmcb->save;

	if (unlikely(s->asid_generation != cpu->generation))
		svm_new_asid(s, cpu);
	save->rax = v->regs[LV_RAX];
	save->rsp = v->regs[LV_RSP];
	save->rip = v->rip;
	save->rflags = v->rflags;
	if (unlikely(v->reg_dirty & (BIT(LV_R_CR2) | SVM_DIRTY_INT3)))
		svm_write_back(s);
	v->reg_dirty = 0;

	svm_swap_spec_ctrl(v, true);
	svm_enter(v, s->vmcb_pa, cpu->host_area_pa,
		  control->int_state & SVM_INTERRUPT_SHADOW_MASK);
	svm_swap_spec_ctrl(v, false);

	v->regs[LV_RAX] = save->rax;
	v->regs[LV_RSP] = save->rsp;
	v->rip = save->rip;
	v->rflags = save->rflags;
	v->reg_avail = BIT(LV_R_RSP) | BIT(LV_R_RIP) | BIT(LV_R_RFLAGS);
	v->cr8 = control->int_ctl & V_TPR_MASK;
	control->tlb_ctl = TLB_CONTROL_DO_NOTHING;
	control->clean = SVM_CLEAN_ALL;
	control->event_inj = 0;

	if (unlikely(s->iret_pending) && v->rip != s->iret_rip)
		svm_iret_done(s);

	exit->hw_code = control->exit_code;
	exit->hw_info[0] = control->exit_info_1;
	exit->hw_info[1] = control->exit_info_2;
	exit->insn_len = 0;
	if (svm_backend.has_next_rip && control->next_rip)
		exit->insn_len = control->next_rip - v->rip;
	exit->interrupted.type = LV_EVENT_NONE;
	/* After a triple fault there is nothing to deliver again. */
	if (unlikely(control->exit_int_info & SVM_EXITINTINFO_VALID) &&
	    control->exit_code != SVM_EXIT_SHUTDOWN)
		svm_decode_interrupted(s, &exit->interrupted);
	if (s->virq)
		svm_settle_irq(s, &exit->interrupted);
	svm_decode(s, exit);
}
