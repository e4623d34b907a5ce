// SPDX-License-Identifier: GPL-2.0-only
/* Debugging a guest from outside, and asking for its address translation. */
#include "guest.h"
#include <kselftest_harness.h>

SNIPPET(64, step_code,
	"nop\n"
	"inc %rax\n"
	"mov %rax, %rbx\n"
	"jmp 1f\n"
	"nop\n"
	"1: cpuid\n"
	"out %al, $0x80\n"
	"hlt\n");

SNIPPET(64, break_code,
	"nop\n"
	"int3\n"
	"nop\n"
	"hlt\n");

FIXTURE(debug)
{
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(debug)
{
	self->vm = vm_new();
	self->vcpu = vcpu_new(self->vm, 0);
	ASSERT_LT(0, vm_cap(self->vm, KVM_CAP_SET_GUEST_DEBUG));
}

FIXTURE_TEARDOWN(debug)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

static int control(struct vcpu *vcpu, u32 flags, u64 dr0, u64 dr7)
{
	struct kvm_guest_debug debug = {
		.control = flags,
		.arch.debugreg = { [0] = dr0, [7] = dr7 },
	};

	return dev_ioctl(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug);
}

TEST_F(debug, single_step)
{
	static const u8 stops[] = { 1, 4, 7, 10, 12 };
	struct kvm_run *run = self->vcpu->run;
	unsigned int i;

	VCPU_SNIPPET(self->vcpu, MODE_LONG, step_code);
	ASSERT_EQ(0,
		  control(self->vcpu,
			  KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP, 0, 0));
	for (i = 0; i < ARRAY_LEN(stops); i++) {
		ASSERT_EXIT(KVM_EXIT_DEBUG, self->vcpu);
		EXPECT_EQ(DB_VECTOR, run->debug.arch.exception);
		EXPECT_EQ(CODE_GPA + stops[i], run->debug.arch.pc);
		EXPECT_NE(0, run->debug.arch.dr6 & 1 << 14);
	}
	ASSERT_EQ(0, control(self->vcpu, 0, 0, 0));
	EXPECT_EXIT(KVM_EXIT_IO, self->vcpu);
	EXPECT_EXIT(KVM_EXIT_HLT, self->vcpu);
}

#define IRQ_VECTOR 0x40

extern const u8 sti_insn[], cli_insn[];
static volatile u32 irq_hits;

static void on_irq(struct trap_frame *frame)
{
	irq_hits++;
}

static void sti_guest(void)
{
	trap_handlers[IRQ_VECTOR] = on_irq;
	guest_sync(1);
	asm volatile(".globl sti_insn, cli_insn\n"
		     "sti_insn: sti\n"
		     "nop\n"
		     "nop\n"
		     "cli_insn: cli");
	guest_sync(2);
}

/* An interrupt waits for the debugger, also behind the shadow of STI. */
TEST_F(debug, steps_without_interrupts)
{
	const u32 step = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP |
			 KVM_GUESTDBG_BLOCKIRQ;
	struct kvm_interrupt irq = { .irq = IRQ_VECTOR };
	struct kvm_run *run = self->vcpu->run;
	struct kvm_regs regs;
	u64 pc;

	vcpu_call(self->vcpu, sti_guest);
	ASSERT_EQ(1, vcpu_sync(self->vcpu));
	vcpu_get_regs(self->vcpu, &regs);
	regs.rip = (uintptr_t)sti_insn;
	vcpu_set_regs(self->vcpu, &regs);
	ASSERT_EQ(0, dev_ioctl(self->vcpu->fd, KVM_INTERRUPT, &irq));
	/* QEMU's TCG takes STI and what follows for one step. */
	for (pc = regs.rip; pc < (uintptr_t)cli_insn; pc = run->debug.arch.pc) {
		ASSERT_EQ(0, control(self->vcpu, step, 0, 0x400));
		ASSERT_EXIT(KVM_EXIT_DEBUG, self->vcpu);
		ASSERT_LT(pc, run->debug.arch.pc);
	}
	EXPECT_EQ((uintptr_t)cli_insn, pc);
	EXPECT_EQ(0, GUEST_VAR(self->vm, irq_hits));
	ASSERT_EQ(0, control(self->vcpu, 0, 0, 0));
	EXPECT_EQ(2, vcpu_sync(self->vcpu));
	EXPECT_EQ(1, GUEST_VAR(self->vm, irq_hits));
}

SNIPPET(64, read_dr_code, "mov %dr0, %rax\nhlt\n");

/* The debugger, not the guest, hears of accesses to its debug registers. */
TEST_F(debug, general_detect)
{
	struct kvm_run *run = self->vcpu->run;

	VCPU_SNIPPET(self->vcpu, MODE_LONG, read_dr_code);
	ASSERT_EQ(0, control(self->vcpu,
			     KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP, 0,
			     0x400 | 1 << 13));
	ASSERT_EXIT(KVM_EXIT_DEBUG, self->vcpu);
	EXPECT_EQ(DB_VECTOR, run->debug.arch.exception);
	EXPECT_EQ(CODE_GPA, run->debug.arch.pc);
	EXPECT_NE(0, run->debug.arch.dr6 & 1 << 13);
	ASSERT_EQ(0, control(self->vcpu, 0, 0, 0));
	EXPECT_EXIT(KVM_EXIT_HLT, self->vcpu);
}

TEST_F(debug, software_breakpoint)
{
	struct kvm_run *run = self->vcpu->run;
	struct kvm_regs regs;

	if (lab_is_tcg())
		SKIP(return, "QEMU's TCG does not intercept INT3");
	VCPU_SNIPPET(self->vcpu, MODE_LONG, break_code);
	ASSERT_EQ(0,
		  control(self->vcpu,
			  KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP, 0, 0));
	ASSERT_EXIT(KVM_EXIT_DEBUG, self->vcpu);
	EXPECT_EQ(BP_VECTOR, run->debug.arch.exception);
	EXPECT_EQ(CODE_GPA + 1, run->debug.arch.pc);
	vcpu_get_regs(self->vcpu, &regs);
	EXPECT_EQ(CODE_GPA + 1, regs.rip);
	regs.rip++;
	vcpu_set_regs(self->vcpu, &regs);
	EXPECT_EXIT(KVM_EXIT_HLT, self->vcpu);
}

TEST_F(debug, hardware_breakpoint)
{
	struct kvm_run *run = self->vcpu->run;

	if (lab_is_tcg())
		SKIP(return, "QEMU's TCG ignores breakpoints that VMRUN loads");
	VCPU_SNIPPET(self->vcpu, MODE_LONG, step_code);
	ASSERT_EQ(0, control(self->vcpu,
			     KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP,
			     CODE_GPA + 4, 0x402));
	ASSERT_EXIT(KVM_EXIT_DEBUG, self->vcpu);
	EXPECT_EQ(DB_VECTOR, run->debug.arch.exception);
	EXPECT_EQ(CODE_GPA + 4, run->debug.arch.pc);
	EXPECT_EQ(1, run->debug.arch.dr6 & 0xf);
	ASSERT_EQ(0, control(self->vcpu, 0, 0, 0));
	EXPECT_EXIT(KVM_EXIT_IO, self->vcpu);
}

static volatile u32 traps;

static void on_trap(struct trap_frame *frame)
{
	traps++;
}

static void injected_guest(void)
{
	trap_handlers[DB_VECTOR] = on_trap;
	for (;;)
		guest_sync(traps);
}

/* A debugger hands the guest what it asked for itself. */
TEST_F(debug, injected)
{
	const u32 inject[] = { KVM_GUESTDBG_INJECT_DB, KVM_GUESTDBG_INJECT_BP };
	int caps = vm_cap(self->vm, KVM_CAP_SET_GUEST_DEBUG2);

	vcpu_call(self->vcpu, injected_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	EXPECT_EQ(inject[0] | inject[1], caps & (inject[0] | inject[1]));
	ASSERT_EQ(0, control(self->vcpu, inject[0], 0, 0));
	EXPECT_EQ(-EBUSY, control(self->vcpu, inject[1], 0, 0));
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	EXPECT_EQ(-EINVAL, control(self->vcpu, ~caps, 0, 0));
}

extern const u8 int3_place[];

static void breakpoint_guest(void)
{
	trap_handlers[BP_VECTOR] = on_trap;
	for (;;) {
		guest_sync(traps);
		asm volatile(".globl int3_place\n"
			     "int3_place: hlt");
	}
}

/*
 * A breakpoint that the debugger hands on is that of the one-byte instruction
 * at RIP. Here that is another one: it must not be executed instead.
 */
TEST_F(debug, injected_breakpoint)
{
	struct kvm_regs regs;
	int i;

	vm_share_memory(self->vm);
	vcpu_call(self->vcpu, breakpoint_guest);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(i, vcpu_sync(self->vcpu));
		vcpu_get_regs(self->vcpu, &regs);
		regs.rip = (uintptr_t)int3_place;
		vcpu_set_regs(self->vcpu, &regs);
		ASSERT_EQ(0, control(self->vcpu, KVM_GUESTDBG_INJECT_BP, 0, 0));
		/* The second time its delivery is cut short by faults. */
		if (i == 1)
			vm_zap(self->vm);
	}
	EXPECT_EQ(3, vcpu_sync(self->vcpu));
}

/* Not asked for, a breakpoint is the guest's own affair. */
static void own_guest(void)
{
	GUEST_EQ(BP_VECTOR, GUEST_CATCH("int3"));
}

TEST_F(debug, guest_debugs_itself)
{
	ASSERT_EQ(0,
		  control(self->vcpu,
			  KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_SW_BP, 0, 0));
	ASSERT_EQ(0, control(self->vcpu, 0, 0, 0));
	vcpu_call(self->vcpu, own_guest);
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

static int translate(struct vcpu *vcpu, u64 linear, struct kvm_translation *t)
{
	*t = (struct kvm_translation){ .linear_address = linear };
	return dev_ioctl(vcpu->fd, KVM_TRANSLATE, t);
}

TEST(translation)
{
	struct vm *vm = vm_new();
	struct vcpu *vcpu = vcpu_new(vm, 0);
	struct kvm_translation t;
	enum mode mode;

	for (mode = 0; mode < NR_MODES; mode++) {
		vcpu_mode(vcpu, mode);
		ASSERT_EQ(0, translate(vcpu, 0x345678, &t));
		EXPECT_EQ(1, t.valid);
		EXPECT_EQ(0x345678, t.physical_address);
	}
	/* MODE_LONG: a large page and no page */
	memcpy(vm->mem + TABLES_GPA + 0x2000 + 8, &(u64){ 0x600000 | 0x83 }, 8);
	ASSERT_EQ(0, translate(vcpu, 0x212345, &t));
	EXPECT_EQ(1, t.valid);
	EXPECT_EQ(0x612345, t.physical_address);
	ASSERT_EQ(0, translate(vcpu, 0x7f0000000000, &t));
	EXPECT_EQ(0, t.valid);
}

TEST_HARNESS_MAIN
