// SPDX-License-Identifier: GPL-2.0-only
/*
 * One VM entry: what is written to the VMCS before, and how the exit is
 * decoded. Fields are read only by those exits that need them.
 */
#include <asm/msr.h>

#include "../compat.h"
#include "vmx.h"

/* Exit qualifications (SDM vol. 3, Exit Qualification). */
#define VMX_IO_SIZE GENMASK(2, 0)
#define VMX_IO_IN BIT(3)
#define VMX_IO_STRING BIT(4)
#define VMX_IO_REP BIT(5)
#define VMX_CR_TYPE_FROM 0x10
#define VMX_CR_TYPE_CLTS 0x20
#define VMX_DB_CAUSES 0x600fULL /* B0 to B3, BD, BS: where DR6 has them */
#define VMX_EPT_NMI_UNBLOCKED BIT(12)

/* Exits that can end the delivery of an event. */
#define VMX_MAY_INTERRUPT_DELIVERY                                             \
	(BIT_ULL(EXIT_REASON_EXCEPTION_NMI) |                                  \
	 BIT_ULL(EXIT_REASON_TASK_SWITCH) | BIT_ULL(EXIT_REASON_APIC_ACCESS) | \
	 BIT_ULL(EXIT_REASON_EPT_VIOLATION) |                                  \
	 BIT_ULL(EXIT_REASON_EPT_MISCONFIG))

/* Mark exits that are instructions, whose length the CPU tells. */
#define INSN(reason) ((reason) | 0x80)

/* Exits that carry nothing but their name, and their length. */
static const u8 vmx_simple_exits[] = {
	[EXIT_REASON_TRIPLE_FAULT] = LV_EXIT_SHUTDOWN,
	[EXIT_REASON_INTERRUPT_WINDOW] = LV_EXIT_IRQ_WINDOW,
	[EXIT_REASON_CPUID] = INSN(LV_EXIT_CPUID),
	[EXIT_REASON_HLT] = INSN(LV_EXIT_HLT),
	[EXIT_REASON_INVD] = INSN(LV_EXIT_INVD),
	[EXIT_REASON_RDPMC] = INSN(LV_EXIT_RDPMC),
	[EXIT_REASON_RDTSC] = INSN(LV_EXIT_RDTSC),
	[EXIT_REASON_VMCALL] = INSN(LV_EXIT_HYPERCALL),
	[EXIT_REASON_VMCLEAR] = LV_EXIT_UNDEFINED,
	[EXIT_REASON_VMLAUNCH] = LV_EXIT_UNDEFINED,
	[EXIT_REASON_VMPTRLD] = LV_EXIT_UNDEFINED,
	[EXIT_REASON_VMPTRST] = LV_EXIT_UNDEFINED,
	[EXIT_REASON_VMREAD] = LV_EXIT_UNDEFINED,
	[EXIT_REASON_VMRESUME] = LV_EXIT_UNDEFINED,
	[EXIT_REASON_VMWRITE] = LV_EXIT_UNDEFINED,
	[EXIT_REASON_VMOFF] = LV_EXIT_UNDEFINED,
	[EXIT_REASON_VMON] = LV_EXIT_UNDEFINED,
	[EXIT_REASON_MSR_READ] = INSN(LV_EXIT_RDMSR),
	[EXIT_REASON_MSR_WRITE] = INSN(LV_EXIT_WRMSR),
	[EXIT_REASON_MWAIT_INSTRUCTION] = INSN(LV_EXIT_MWAIT),
	[EXIT_REASON_MONITOR_INSTRUCTION] = INSN(LV_EXIT_MONITOR),
	[EXIT_REASON_PAUSE_INSTRUCTION] = INSN(LV_EXIT_PAUSE),
	[EXIT_REASON_TPR_BELOW_THRESHOLD] = LV_EXIT_TPR,
	[EXIT_REASON_INVEPT] = LV_EXIT_UNDEFINED,
	[EXIT_REASON_RDTSCP] = INSN(LV_EXIT_RDTSCP),
	[EXIT_REASON_INVVPID] = LV_EXIT_UNDEFINED,
	[EXIT_REASON_PREEMPTION_TIMER] = LV_EXIT_TIMER,
	[EXIT_REASON_WBINVD] = INSN(LV_EXIT_WBINVD),
	[EXIT_REASON_XSETBV] = INSN(LV_EXIT_XSETBV),
	[EXIT_REASON_VMFUNC] = LV_EXIT_UNDEFINED,
	[EXIT_REASON_ENCLS] = LV_EXIT_UNDEFINED,
};

/* An instruction that exited is nearly always skipped: get what that takes. */
static __always_inline void vmx_read_insn(struct lv_vcpu *v,
					  struct lv_exit *exit)
{
	exit->insn_len = vmcs_read(VM_EXIT_INSTRUCTION_LEN);
	v->rip = vmcs_read(GUEST_RIP);
	v->rflags = vmcs_read(GUEST_RFLAGS);
	v->reg_avail |= BIT(LV_R_RIP) | BIT(LV_R_RFLAGS);
}

static u64 vmx_qualification(struct lv_exit *exit)
{
	return exit->hw_info[0] = vmcs_read(EXIT_QUALIFICATION);
}

static void vmx_decode_io(struct lv_vcpu *v, struct lv_exit *exit)
{
	u32 info = vmx_qualification(exit);

	exit->reason = LV_EXIT_IO;
	exit->io.port = info >> 16;
	exit->io.size = (info & VMX_IO_SIZE) + 1;
	exit->io.in = info & VMX_IO_IN;
	exit->io.string = info & VMX_IO_STRING;
	exit->io.rep = info & VMX_IO_REP;
	vmx_read_insn(v, exit);
}

static void vmx_decode_fault(struct lv_exit *exit)
{
	u64 info = vmx_qualification(exit);
	u32 access = LV_ACCESS_READ;

	exit->reason = LV_EXIT_FAULT;
	exit->fault.gpa = vmcs_read(GUEST_PHYSICAL_ADDRESS);
	if (info & EPT_VIOLATION_ACC_WRITE)
		access |= LV_ACCESS_WRITE;
	if (info & EPT_VIOLATION_ACC_INSTR)
		access |= LV_ACCESS_FETCH;
	/* With a linear address, but not the translation of it. */
	if ((info &
	     (EPT_VIOLATION_GVA_IS_VALID | EPT_VIOLATION_GVA_TRANSLATED)) ==
	    EPT_VIOLATION_GVA_IS_VALID)
		access |= LV_ACCESS_WALK;
	exit->fault.access = access;
	/* The IRET that ended an NMI's handler faulted and is executed again. */
	if (unlikely(info & VMX_EPT_NMI_UNBLOCKED) &&
	    exit->interrupted.type == LV_EVENT_NONE)
		vmx_change_blocking(0, GUEST_INTR_STATE_NMI);
}

static void vmx_decode_cr(struct lv_vcpu *v, struct lv_exit *exit)
{
	u32 info = vmx_qualification(exit);
	u32 type = info & CONTROL_REG_ACCESS_TYPE;

	exit->reason = LV_EXIT_CR;
	exit->cr.nr = info & 0xf;
	exit->cr.gpr = (info >> 8) & 0xf;
	exit->cr.write = type != VMX_CR_TYPE_FROM;
	exit->cr.decoded = type < VMX_CR_TYPE_CLTS;
	vmx_read_insn(v, exit);
}

static void vmx_decode_dr(struct lv_vcpu *v, struct lv_exit *exit)
{
	u32 info = vmx_qualification(exit);

	exit->reason = LV_EXIT_DR;
	exit->cr.nr = info & DEBUG_REG_ACCESS_NUM;
	exit->cr.gpr = DEBUG_REG_ACCESS_REG(info);
	exit->cr.write = !(info & TYPE_MOV_FROM_DR);
	exit->cr.decoded = true;
	vmx_read_insn(v, exit);
}

/*
 * A host NMI: let the host have it before anything can unblock NMIs. INT 2
 * takes the same gate, and its IRET ends the blocking.
 */
static void vmx_host_nmi(struct lv_exit *exit)
{
	lv_deliver_host_nmi();
	exit->reason = LV_EXIT_HOST;
}

static void vmx_decode_exception(struct lv_vcpu *v, struct lv_exit *exit)
{
	u32 info = vmcs_read(VM_EXIT_INTR_INFO);
	u32 type = info & INTR_INFO_INTR_TYPE_MASK;

	if (type == INTR_TYPE_NMI_INTR) {
		vmx_host_nmi(exit);
		return;
	}
	exit->reason = LV_EXIT_EXCEPTION;
	exit->ex.vector = info & INTR_INFO_VECTOR_MASK;
	exit->ex.error = 0;
	exit->ex.payload = 0;
	if (info & INTR_INFO_DELIVER_CODE_MASK)
		exit->ex.error = vmcs_read(VM_EXIT_INTR_ERROR_CODE);
	if (exit->ex.vector == X86_TRAP_DB)
		exit->ex.payload = vmx_qualification(exit) & VMX_DB_CAUSES;
	/* INT1 is a trap, but RIP is still at it. */
	if (unlikely(type == INTR_TYPE_PRIV_SW_EXCEPTION))
		lv_set_rip(v, lv_rip(v) + vmcs_read(VM_EXIT_INSTRUCTION_LEN));
	if (unlikely(info & INTR_INFO_UNBLOCK_NMI) &&
	    exit->interrupted.type == LV_EVENT_NONE)
		vmx_change_blocking(0, GUEST_INTR_STATE_NMI);
}

static void vmx_decode(struct lv_vcpu *v, struct lv_exit *exit, u32 code)
{
	u8 simple = code < ARRAY_SIZE(vmx_simple_exits) ? vmx_simple_exits[code]
							: 0;

	if (likely(simple & INSN(0))) {
		exit->reason = simple & ~INSN(0);
		vmx_read_insn(v, exit);
		return;
	}
	exit->reason = simple;
	if (simple)
		return;
	if (code < 64 && BIT_ULL(code) & VMX_MAY_INTERRUPT_DELIVERY)
		vmx_decode_interrupted(&exit->interrupted);
	switch (code) {
	case EXIT_REASON_EXTERNAL_INTERRUPT:
		exit->reason = LV_EXIT_HOST;
		if (vmx_caps.posted)
			to_vmx(v)->host_irq = vmcs_read(VM_EXIT_INTR_INFO);
		break;
	case EXIT_REASON_EPT_VIOLATION:
		vmx_decode_fault(exit);
		break;
	case EXIT_REASON_IO_INSTRUCTION:
		vmx_decode_io(v, exit);
		break;
	case EXIT_REASON_CR_ACCESS:
		vmx_decode_cr(v, exit);
		break;
	case EXIT_REASON_DR_ACCESS:
		vmx_decode_dr(v, exit);
		break;
	case EXIT_REASON_EXCEPTION_NMI:
		vmx_decode_exception(v, exit);
		break;
	case EXIT_REASON_NMI_WINDOW:
		vmx_cpu_control(to_vmx(v), CPU_BASED_NMI_WINDOW_EXITING, false);
		exit->reason = LV_EXIT_NMI_WINDOW;
		break;
	case EXIT_REASON_EOI_INDUCED:
	case EXIT_REASON_APIC_WRITE:
	case EXIT_REASON_APIC_ACCESS:
		vmx_decode_apic(v, exit, code, vmx_qualification(exit));
		break;
	case EXIT_REASON_TASK_SWITCH:
		exit->reason = LV_EXIT_TASK_SWITCH;
		exit->task.selector = vmx_qualification(exit);
		break;
	case EXIT_REASON_MCE_DURING_VMENTRY:
		exit->reason = LV_EXIT_EXCEPTION;
		exit->ex.vector = X86_TRAP_MC;
		break;
	default:
		vmx_qualification(exit);
		exit->reason = LV_EXIT_UNKNOWN;
	}
}

void vmx_flush_tlb(struct lv_vcpu *v, bool nested)
{
	to_vmx(v)->flush |= nested ? VMX_FLUSH_ALL : VMX_FLUSH_GUEST;
}

/* Translations of the guest's tables go by VPID, those of the EPT by EPTP. */
static noinline void vmx_flush_now(struct vmx_vcpu *s)
{
	if (s->vpid)
		invvpid(vmx_caps.invvpid, s->vpid);
	if (s->flush == VMX_FLUSH_ALL)
		invept(vmx_caps.invept, s->eptp);
	s->flush = 0;
}

/*
 * The preemption timer is always on, because its value is cheaper to change
 * than the control. From its largest value it takes minutes, and exits for
 * nothing then.
 */
void vmx_set_timer(struct lv_vcpu *v, u64 host_tsc)
{
	to_vmx(v)->timer = host_tsc;
	if (!host_tsc)
		vmcs_write(VMX_PREEMPTION_TIMER_VALUE, U32_MAX);
}

/* It starts from its value at each entry; round up, not to be early. */
static void vmx_start_timer(struct vmx_vcpu *s)
{
	s64 left = s->timer - rdtsc();
	u64 value = left > 0 ? ((u64)left >> vmx_caps.timer_shift) + 1 : 0;

	vmcs_write(VMX_PREEMPTION_TIMER_VALUE, min_t(u64, value, U32_MAX));
}

/* The instruction failed, and there was no exit. */
static void vmx_entry_failed(struct lv_exit *exit)
{
	exit->reason = LV_EXIT_ENTRY_FAILED;
	exit->hw_code = vmcs_read(VM_INSTRUCTION_ERROR);
}

/*
 * Give a guest that uses SPEC_CTRL its own. Returns true if @host has to be
 * loaded after the exit: legacy IBRS protects only from what ran before it was
 * written, so it is written even if the value is the same.
 */
static __always_inline bool vmx_swap_spec_ctrl(struct lv_vcpu *v, u64 *host)
{
	bool ibrs = cpu_feature_enabled(X86_FEATURE_KERNEL_IBRS);

	if (likely(!v->spec_ctrl && !ibrs))
		return false;
	*host = this_cpu_read(x86_spec_ctrl_current);
	if (!v->spec_ctrl || v->spec_ctrl == *host)
		return ibrs;
	lv_native_wrmsr(MSR_IA32_SPEC_CTRL, v->spec_ctrl);
	return true;
}

static __always_inline void vmx_apic_enter(struct vmx_vcpu *s)
{
	u16 status = lv_lapic_to_page(s->v.apic, s->apic_page);

	if (unlikely(status | s->intr_status))
		vmx_write_apic(s, status);
}

static __always_inline void vmx_apic_leave(struct vmx_vcpu *s)
{
	struct lv_vcpu *v = &s->v;

	s->intr_status = vmcs_read(GUEST_INTR_STATUS);
	lv_lapic_from_page(v->apic, s->apic_page, s->intr_status);
	/* What waited for a lower priority did not have to. */
	v->cr8 = v->shown_cr8 = lv_lapic_tpr(v->apic) >> 4;
}

void vmx_run(struct lv_vcpu *v, struct lv_exit *exit)
{
	struct vmx_vcpu *s = to_vmx(v);
	u64 flags = vmx_enter_flags, spec_ctrl = 0;
	u32 code;
	int failed;

	if (unlikely(v->new_stay))
		vmx_begin_stay(s);
	if (v->reg_dirty == BIT(LV_R_RIP)) {
		vmcs_write(GUEST_RIP, v->rip);
		v->reg_dirty = 0;
	} else if (unlikely(v->reg_dirty)) {
		vmx_write_regs(v);
	}
	if (unlikely(s->flush))
		vmx_flush_now(s);
	if (s->timer)
		vmx_start_timer(s);
	if (unlikely(v->cr2 != native_read_cr2()))
		native_write_cr2(v->cr2);
	if (s->launched)
		flags |= BIT(VMX_ENTER_LAUNCHED);
	if (unlikely(vmx_swap_spec_ctrl(v, &spec_ctrl)))
		flags |= BIT(VMX_ENTER_SPEC_CTRL);
	if (static_branch_unlikely(&vmx_flushes_l1d))
		vmx_flush_l1d(s);
	v->new_stay = false;
	if (v->apicv)
		vmx_apic_enter(s);

	failed = vmx_enter(v, flags, &s->host_rsp, spec_ctrl);

	v->cr2 = native_read_cr2();
	v->reg_avail = BIT(LV_R_CR2);
	if (v->apicv)
		vmx_apic_leave(s);
	else if (s->apic_page)
		v->cr8 = s->apic_page[4 * LAPIC_TPR] >> 4;
	exit->insn_len = 0;
	exit->hw_info[0] = 0;
	exit->hw_info[1] = 0;
	exit->interrupted.type = LV_EVENT_NONE;
	if (unlikely(failed)) {
		vmx_entry_failed(exit);
		return;
	}
	code = vmcs_read(VM_EXIT_REASON);
	exit->hw_code = code;
	if (unlikely(code & VMX_EXIT_REASONS_FAILED_VMENTRY) &&
	    (u16)code != EXIT_REASON_MCE_DURING_VMENTRY) {
		exit->reason = LV_EXIT_ENTRY_FAILED;
		return;
	}
	s->launched = true;
	vmx_decode(v, exit, (u16)code);
}
