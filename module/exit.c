// SPDX-License-Identifier: GPL-2.0-only
/*
 * The exit switch: what the common code does about each neutral exit.
 *
 * Handlers run first with interrupts off (vcpu->atomic). One that has to
 * sleep returns LV_SLEEPABLE before it changed anything.
 */
#include <linux/ratelimit.h>

#include "labvisor.h"
#include "trace.h"

/** lv_exit_to_user - end KVM_RUN with this KVM_EXIT_* reason */
int lv_exit_to_user(struct lv_vcpu *v, u32 kvm_exit_reason)
{
	v->run->exit_reason = kvm_exit_reason;
	return LV_TO_USER;
}

/** lv_internal_error - end KVM_RUN, and give user space the facts of @exit */
int lv_internal_error(struct lv_vcpu *v, u32 suberror,
		      const struct lv_exit *exit)
{
	struct kvm_run *run = v->run;

	run->internal.suberror = suberror;
	run->internal.ndata = 5;
	run->internal.data[0] = exit->hw_code;
	run->internal.data[1] = exit->hw_info[0];
	run->internal.data[2] = exit->hw_info[1];
	run->internal.data[3] = lv_rip(v);
	run->internal.data[4] = exit->reason;
	return lv_exit_to_user(v, KVM_EXIT_INTERNAL_ERROR);
}

/* ---- the instruction that exited ---- */

/* Exits whose instruction is skipped, and how it usually reads. */
static const struct {
	u32 bytes, len;
} lv_usual_insn[LV_NR_EXITS] = {
	[LV_EXIT_CPUID] = { 0xa20f, 2 },
	[LV_EXIT_RDMSR] = { 0x320f, 2 },
	[LV_EXIT_WRMSR] = { 0x300f, 2 },
	[LV_EXIT_HLT] = { 0xf4, 1 },
	[LV_EXIT_PAUSE] = { 0x90f3, 2 },
	[LV_EXIT_MONITOR] = { 0xc8010f, 3 },
	[LV_EXIT_MWAIT] = { 0xc9010f, 3 },
	[LV_EXIT_INVD] = { 0x080f, 2 },
	[LV_EXIT_WBINVD] = { 0x090f, 2 },
	[LV_EXIT_XSETBV] = { 0xd1010f, 3 },
	[LV_EXIT_RDTSC] = { 0x310f, 2 },
	[LV_EXIT_RDTSCP] = { 0xf9010f, 3 },
	[LV_EXIT_HYPERCALL] = { 0xd9010f, 3 },
};

/*
 * Decode the instruction that exited, for its length or its operands. False:
 * @out is what the caller shall return; if the instruction is gone or changed
 * under us, the CPU looks again.
 */
static bool lv_decode_exit(struct lv_vcpu *v, struct lv_exit *exit,
			   struct lv_insn *insn, int *out)
{
	int err = lv_decode_at_rip(v, insn);

	*out = err == -EAGAIN ? LV_SLEEPABLE : LV_RESUME;
	if (!err)
		exit->insn_len = insn->length;
	return !err;
}

/*
 * Whatever has an instruction on the stack is not inlined: the kernel guards
 * frames that have such a variable, and each exit would pay for it.
 */
static noinline int lv_measure_unusual(struct lv_vcpu *v, struct lv_exit *exit)
{
	struct lv_insn insn;
	int out;

	lv_decode_exit(v, exit, &insn, &out);
	return out;
}

/*
 * Find the length of the instruction on CPUs that do not tell. If it stays 0
 * the result is what lv_handle_exit() shall return.
 */
static int lv_measure_insn(struct lv_vcpu *v, struct lv_exit *exit)
{
	unsigned int usual = lv_usual_insn[exit->reason].len;

	if (unlikely(!lv_insn_is(v, lv_usual_insn[exit->reason].bytes, usual)))
		return lv_measure_unusual(v, exit);
	exit->insn_len = usual;
	return LV_RESUME;
}

static int lv_exit_debug(struct lv_vcpu *v, const struct lv_exit *exit)
{
	struct kvm_debug_exit_arch *arch = &v->run->debug.arch;

	arch->exception = exit->ex.vector;
	arch->pc = lv_rip(v);
	arch->dr6 = exit->ex.payload | DR6_RESERVED;
	arch->dr7 = v->debug_dr7;
	return lv_exit_to_user(v, KVM_EXIT_DEBUG);
}

/** lv_stepped - an instruction that was not executed by the CPU ends a step */
void lv_stepped(struct lv_vcpu *v)
{
	if (v->guest_debug & KVM_GUESTDBG_SINGLESTEP)
		lv_request(v, LV_REQ_STEP);
	else
		lv_queue_debug(v, DR_STEP);
}

/* Tell user space, which steps the guest; served outside of the guest. */
int lv_serve_step(struct lv_vcpu *v)
{
	const struct lv_exit step = {
		.ex = { .vector = X86_TRAP_DB, .payload = DR_STEP },
	};

	if (!(v->guest_debug & KVM_GUESTDBG_SINGLESTEP))
		return LV_RESUME;
	return lv_exit_debug(v, &step);
}

/** lv_skip_insn - advance RIP over the instruction that exited; LV_RESUME */
int lv_skip_insn(struct lv_vcpu *v, const struct lv_exit *exit)
{
	u64 old = lv_rip(v), rip = old + exit->insn_len;

	/* Outside of 64-bit mode it wraps around. */
	if (unlikely((old ^ rip) >> 32) && !lv_is_64bit(v))
		rip = (u32)rip;
	lv_set_rip(v, rip);
	lv_call(set_shadow)(v, 0);
	if (unlikely(lv_rflags(v) & (X86_EFLAGS_TF | X86_EFLAGS_RF))) {
		if (v->rflags & X86_EFLAGS_TF)
			lv_stepped(v);
		lv_set_rflags(v, v->rflags & ~(u64)X86_EFLAGS_RF);
	}
	return LV_RESUME;
}

/* ---- control and debug registers ---- */

static int lv_write_cr(struct lv_vcpu *v, unsigned int nr, u64 val)
{
	switch (nr) {
	case 0:
		return lv_set_cr0(v, val);
	case 3:
		return lv_set_cr3(v, val);
	case 4:
		return lv_set_cr4(v, val);
	case 8:
		return lv_set_cr8(v, val);
	default:
		return -EOPNOTSUPP;
	}
}

static u64 lv_read_cr(struct lv_vcpu *v, unsigned int nr)
{
	switch (nr) {
	case 0:
		return lv_cr0(v);
	case 2:
		return lv_cr2(v);
	case 3:
		return lv_cr3(v);
	case 4:
		return v->cr4;
	default:
		return lv_cr8(v);
	}
}

static int lv_mov_cr(struct lv_vcpu *v, const struct lv_exit *exit,
		     unsigned int gpr)
{
	u8 cr8 = v->cr8;
	u64 val;
	int err;

	if (!exit->cr.write) {
		lv_set_reg(v, gpr, lv_read_cr(v, exit->cr.nr));
		return lv_skip_insn(v, exit);
	}
	val = lv_reg(v, gpr);
	if (!lv_is_64bit(v))
		val = (u32)val;
	err = lv_write_cr(v, exit->cr.nr, val);
	if (err)
		return err == LV_SLEEPABLE ? err : lv_inject_gp(v);
	lv_skip_insn(v, exit);
	/* An APIC in user space may have something for the lower priority. */
	if (exit->cr.nr == 8 && !v->apic && v->cr8 < cr8)
		return lv_exit_to_user(v, KVM_EXIT_SET_TPR);
	return LV_RESUME;
}

/* LMSW sets PE, MP, EM, TS and cannot clear PE. */
static int lv_lmsw(struct lv_vcpu *v, const struct lv_exit *exit,
		   const struct lv_insn *insn)
{
	const u64 mask = X86_CR0_MP | X86_CR0_EM | X86_CR0_TS;
	u64 cr0 = lv_cr0(v);
	u16 msw;
	int err;

	if (!insn->mem)
		msw = lv_reg(v, insn->rm);
	else if (!lv_load_operand(v, insn, &msw, &err))
		return err;
	cr0 = (cr0 & ~mask) | (msw & (mask | X86_CR0_PE));
	err = lv_set_cr0(v, cr0);
	if (err)
		return err == LV_SLEEPABLE ? err : lv_inject_gp(v);
	return lv_skip_insn(v, exit);
}

static int lv_smsw(struct lv_vcpu *v, const struct lv_exit *exit,
		   const struct lv_insn *insn)
{
	u64 cr0 = lv_cr0(v);

	if (insn->mem)
		return lv_store_operand(v, insn, cr0);
	if (insn->op_bytes == 2)
		cr0 = (lv_reg(v, insn->rm) & ~0xffffULL) | (u16)cr0;
	lv_set_reg(v, insn->rm, cr0);
	return lv_skip_insn(v, exit);
}

static int lv_decoded_cr(struct lv_vcpu *v, const struct lv_exit *exit,
			 const struct lv_insn *insn)
{
	switch (insn->map == LV_MAP_0F ? insn->opcode : 0) {
	case 0x20:
	case 0x22:
		return lv_mov_cr(v, exit, insn->rm);
	case 0x06: /* CLTS */
		lv_set_cr0(v, lv_cr0(v) & ~X86_CR0_TS);
		return lv_skip_insn(v, exit);
	case 0x01:
		if ((insn->reg & 7) == 6)
			return lv_lmsw(v, exit, insn);
		if ((insn->reg & 7) == 4)
			return lv_smsw(v, exit, insn);
	}
	return lv_internal_error(v, KVM_INTERNAL_ERROR_EMULATION, exit);
}

static noinline int lv_handle_cr(struct lv_vcpu *v, struct lv_exit *exit)
{
	struct lv_insn insn;
	int out;

	if (exit->cr.decoded && exit->insn_len)
		return lv_mov_cr(v, exit, exit->cr.gpr);
	return lv_decode_exit(v, exit, &insn, &out)
		       ? lv_decoded_cr(v, exit, &insn)
		       : out;
}

static noinline int lv_handle_dr(struct lv_vcpu *v, struct lv_exit *exit)
{
	static const struct lv_exit bd = {
		.ex = { .vector = X86_TRAP_DB, .payload = LV_DR6_BD },
	};
	bool user_bps = v->guest_debug & KVM_GUESTDBG_USE_HW_BP;
	unsigned int gpr = exit->cr.gpr, nr = exit->cr.nr;
	struct lv_insn insn;
	int out;

	if (!v->guest_debug && !(v->dr7 & LV_DR7_GD)) {
		lv_lend_debugregs(v);
		return LV_RESUME;
	}
	if (!exit->cr.decoded || !exit->insn_len) {
		if (!lv_decode_exit(v, exit, &insn, &out))
			return out;
		gpr = insn.rm;
		nr = insn.reg & 7;
	}
	if ((nr == 4 || nr == 5) && v->cr4 & X86_CR4_DE)
		return lv_inject_ud(v);
	if (lv_call(cpl)(v))
		return lv_inject_gp(v);
	if (user_bps ? v->debug_dr7 & LV_DR7_GD : v->dr7 & LV_DR7_GD) {
		if (user_bps)
			return lv_exit_debug(v, &bd);
		lv_queue_debug(v, LV_DR6_BD);
		return LV_RESUME;
	}
	if (!exit->cr.write)
		lv_set_reg(v, gpr, lv_get_dr(v, nr));
	else if (lv_set_dr(v, nr, lv_reg(v, gpr)))
		return lv_inject_gp(v);
	return lv_skip_insn(v, exit);
}

/* ---- exceptions ---- */

static int lv_handle_exception(struct lv_vcpu *v, const struct lv_exit *exit)
{
	const u32 wants_db = KVM_GUESTDBG_SINGLESTEP | KVM_GUESTDBG_USE_HW_BP;

	switch (exit->ex.vector) {
	case X86_TRAP_DB:
		/* A step over STI ends its shadow: the next one can begin. */
		if (v->guest_debug & KVM_GUESTDBG_SINGLESTEP)
			lv_call(set_shadow)(v, 0);
		if (v->guest_debug & wants_db)
			return lv_exit_debug(v, exit);
		lv_queue_debug(v, exit->ex.payload);
		return LV_RESUME;
	case X86_TRAP_BP:
		if (v->guest_debug & KVM_GUESTDBG_USE_SW_BP)
			return lv_exit_debug(v, exit);
		return lv_internal_error(
			v, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON, exit);
	case X86_TRAP_UD:
		return lv_handle_ud(v);
	case X86_TRAP_AC:
		lv_queue_exception_error(v, X86_TRAP_AC, exit->ex.error);
		return LV_RESUME;
	case X86_TRAP_MC:
		/* The host's machine check, which the exit swallowed. */
		asm volatile("int $18");
		return LV_RESUME;
	default:
		return lv_internal_error(v, KVM_INTERNAL_ERROR_SIMUL_EX, exit);
	}
}

/* ---- the rest ---- */

static int lv_handle_device(struct lv_vcpu *v, struct lv_exit *exit)
{
	/* A page table in device memory cannot be walked. */
	if (exit->fault.access & LV_ACCESS_WALK)
		return lv_internal_error(v, KVM_INTERNAL_ERROR_EMULATION, exit);
	return lv_handle_mmio(v, exit);
}

static int lv_handle_fault(struct lv_vcpu *v, struct lv_exit *exit)
{
	gpa_t gpa = exit->fault.gpa;
	int out = lv_mmu_fault(v, gpa, exit->fault.access);

	trace_lv_fault(v, gpa, exit->fault.access, out);
	if (out == LV_RESUME)
		v->stat.faults++;
	if (out != -ENOENT)
		return out;
	return lv_handle_device(v, exit);
}

static int lv_handle_hlt(struct lv_vcpu *v, const struct lv_exit *exit)
{
	lv_skip_insn(v, exit);
	if (v->vm->irqchip_mode == LV_IRQCHIP_NONE)
		return lv_exit_to_user(v, KVM_EXIT_HLT);
	return LV_BLOCK;
}

static int lv_handle_pause(struct lv_vcpu *v, const struct lv_exit *exit)
{
	if (v->atomic)
		return LV_SLEEPABLE;
	if (!lv_sched_yield(v, NULL))
		yield();
	return lv_skip_insn(v, exit);
}

static int lv_handle_mwait(struct lv_vcpu *v, const struct lv_exit *exit)
{
	if (v->vm->quirks_off & KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS &&
	    !lv_shows_mwait(v))
		return lv_inject_ud(v);
	return lv_skip_insn(v, exit);
}

static int lv_handle_xsetbv(struct lv_vcpu *v, const struct lv_exit *exit)
{
	if (!(v->cr4 & X86_CR4_OSXSAVE))
		return lv_inject_ud(v);
	if (lv_call(cpl)(v) || (u32)v->regs[LV_RCX] ||
	    lv_set_xcr0(v, lv_edx_eax(v)))
		return lv_inject_gp(v);
	return lv_skip_insn(v, exit);
}

static int lv_handle_rdtsc(struct lv_vcpu *v, const struct lv_exit *exit)
{
	if (exit->reason == LV_EXIT_RDTSCP) {
		if (!lv_guest_has(v, X86_FEATURE_RDTSCP))
			return lv_inject_ud(v);
		v->regs[LV_RCX] = (u32)v->tsc_aux;
	}
	lv_set_edx_eax(v, lv_guest_tsc(v, rdtsc()));
	return lv_skip_insn(v, exit);
}

static int lv_handle_irq_window(struct lv_vcpu *v)
{
	lv_call(irq_window)(v, false);
	lv_request(v, LV_REQ_EVENT);
	/* User space may be waiting for this. */
	if (v->run->request_interrupt_window && lv_takes_user_irq(v))
		return lv_exit_to_user(v, KVM_EXIT_IRQ_WINDOW_OPEN);
	return LV_RESUME;
}

static int lv_handle_entry_failed(struct lv_vcpu *v, const struct lv_exit *exit)
{
	static DEFINE_RATELIMIT_STATE(limit, DEFAULT_RATELIMIT_INTERVAL, 1);

	if (__ratelimit(&limit))
		lv_backend->dump(v);
	v->run->fail_entry.hardware_entry_failure_reason = exit->hw_code;
	v->run->fail_entry.cpu = raw_smp_processor_id();
	return lv_exit_to_user(v, KVM_EXIT_FAIL_ENTRY);
}

/*
 * lv_handle_exit - act on an exit, and fill in its insn_len where it is missing;
 * v->atomic says whether interrupts are off. enum lv_outcome, or an errno.
 */
int lv_handle_exit(struct lv_vcpu *v, struct lv_exit *exit)
{
	int out;

	if (!exit->insn_len && lv_usual_insn[exit->reason].len) {
		out = lv_measure_insn(v, exit);
		if (unlikely(!exit->insn_len))
			return out;
	}
	switch (exit->reason) {
	case LV_EXIT_HOST:
		return LV_RESUME;
	case LV_EXIT_ENTRY_FAILED:
		return lv_handle_entry_failed(v, exit);
	case LV_EXIT_EXCEPTION:
		return lv_handle_exception(v, exit);
	case LV_EXIT_IRQ_WINDOW:
		return lv_handle_irq_window(v);
	case LV_EXIT_TIMER:
		lv_vcpu_timer_expired(v);
		return LV_RESUME;
	case LV_EXIT_NMI_WINDOW:
	case LV_EXIT_TPR:
		lv_request(v, LV_REQ_EVENT);
		return LV_RESUME;
	case LV_EXIT_EOI:
		lv_lapic_eoi_broadcast(v->apic, exit->apic.vector);
		return LV_RESUME;
	case LV_EXIT_APIC_WRITE:
		lv_lapic_written(v->apic, exit->apic.offset, exit->apic.val);
		return LV_RESUME;
	case LV_EXIT_APIC_ACCESS:
		return lv_handle_device(v, exit);
	case LV_EXIT_CPUID:
		return lv_handle_cpuid(v, exit);
	case LV_EXIT_RDMSR:
		return lv_handle_rdmsr(v, exit);
	case LV_EXIT_WRMSR:
		return lv_handle_wrmsr(v, exit);
	case LV_EXIT_CR:
		return lv_handle_cr(v, exit);
	case LV_EXIT_DR:
		return lv_handle_dr(v, exit);
	case LV_EXIT_IO:
		return lv_handle_pio(v, exit);
	case LV_EXIT_FAULT:
		return lv_handle_fault(v, exit);
	case LV_EXIT_HLT:
		return lv_handle_hlt(v, exit);
	case LV_EXIT_PAUSE:
		return lv_handle_pause(v, exit);
	case LV_EXIT_MONITOR:
	case LV_EXIT_MWAIT:
		return lv_handle_mwait(v, exit);
	case LV_EXIT_INVD:
	case LV_EXIT_WBINVD:
		/* Guest memory is coherent: there is nothing to flush. */
		return lv_skip_insn(v, exit);
	case LV_EXIT_XSETBV:
		return lv_handle_xsetbv(v, exit);
	case LV_EXIT_RDTSC:
	case LV_EXIT_RDTSCP:
		return lv_handle_rdtsc(v, exit);
	case LV_EXIT_RDPMC:
		return lv_inject_gp(v); /* no counter is offered */
	case LV_EXIT_HYPERCALL:
		return lv_handle_hypercall(v, exit);
	case LV_EXIT_UNDEFINED:
		return lv_inject_ud(v);
	case LV_EXIT_SHUTDOWN:
		return lv_exit_to_user(v, KVM_EXIT_SHUTDOWN);
	default:
		return lv_internal_error(
			v, KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON, exit);
	}
}
