// SPDX-License-Identifier: GPL-2.0-only
/* Debugging a guest from outside, and asking for its address translation. */
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <sys/syscall.h>
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

/* ---- the guest's own debug registers ---- */

#define DR7_OFF 0x50d00400u /* types and lengths, but nothing is on */
#define DR7_EXECUTE_0 0x402
#define DR7_GD (1u << 13)
#define DR6_RESERVED 0xffff0ff0u

static void write_drs(u64 value)
{
	WRITE_REG(dr0, value);
	WRITE_REG(dr1, value + 1);
	WRITE_REG(dr2, value + 2);
	WRITE_REG(dr3, value + 3);
	WRITE_REG(dr6, DR6_RESERVED | (value & 0xf));
	WRITE_REG(dr7, DR7_OFF);
}

static void check_drs(u64 value)
{
	GUEST_EQ(value, READ_REG(dr0));
	GUEST_EQ(value + 1, READ_REG(dr1));
	GUEST_EQ(value + 2, READ_REG(dr2));
	GUEST_EQ(value + 3, READ_REG(dr3));
	GUEST_EQ(DR6_RESERVED | (value & 0xf), READ_REG(dr6));
	GUEST_EQ(DR7_OFF, READ_REG(dr7));
}

/* What it finds after each exit is what it is told to expect. */
static volatile u64 drs;

static void drs_guest(void)
{
	write_drs(drs);
	for (;;) {
		guest_sync(1);
		check_drs(drs);
		guest_sync(2);
		check_drs(drs);
		write_drs(++drs);
	}
}

static void sync_drs(struct __test_metadata *_metadata, struct vcpu *vcpu,
		     u32 value)
{
	struct kvm_debugregs regs;

	EXPECT_EQ(value, vcpu_sync(vcpu)) TH_LOG("%s", vcpu_describe(vcpu));
	MUST(vcpu->fd, KVM_GET_DEBUGREGS, &regs);
	EXPECT_EQ(GUEST_VAR(vcpu->vm, drs), regs.db[0]);
	EXPECT_EQ(GUEST_VAR(vcpu->vm, drs) + 3, regs.db[3]);
	EXPECT_EQ(DR6_RESERVED | (GUEST_VAR(vcpu->vm, drs) & 0xf), regs.dr6);
	EXPECT_EQ(DR7_OFF, regs.dr7);
}

/* Values are each vCPU's own, and user space's to read and to change. */
TEST_F(debug, own_registers)
{
	struct vm *vm = vm_new();
	struct vcpu *other = vcpu_new(vm, 0);
	struct kvm_debugregs regs;
	int i;

	GUEST_VAR(self->vm, drs) = 0x1000;
	GUEST_VAR(vm, drs) = 0x77770000;
	vcpu_call(self->vcpu, drs_guest);
	vcpu_call(other, drs_guest);
	for (i = 0; i < 3; i++) {
		sync_drs(_metadata, self->vcpu, 1);
		sync_drs(_metadata, other, 1);
		sync_drs(_metadata, self->vcpu, 2);
		sync_drs(_metadata, other, 2);
	}
	MUST(other->fd, KVM_GET_DEBUGREGS, &regs);
	MUST(self->vcpu->fd, KVM_SET_DEBUGREGS, &regs);
	GUEST_VAR(self->vm, drs) = GUEST_VAR(vm, drs);
	sync_drs(_metadata, self->vcpu, 1);
	vcpu_free(other);
	vm_free(vm);
}

/* Two vCPUs wake each other and sleep in KVM_RUN, with other values each. */
static volatile u32 turn;

static void on_wake(struct trap_frame *frame)
{
	apic_eoi();
}

static void take_turns(u32 me, u32 rounds)
{
	u32 i;

	trap_handlers[IRQ_VECTOR] = on_wake;
	apic_enable();
	for (i = 0; i < rounds; i++) {
		write_drs(0x1000 * (me + 1) + i);
		while (turn % 2 != me) {
			sti_hlt();
			cli();
		}
		check_drs(0x1000 * (me + 1) + i);
		turn++;
		apic_icr(!me, IRQ_VECTOR);
	}
}

static void first_guest(void)
{
	take_turns(0, 10);
}

static void second_guest(void)
{
	take_turns(1, 10);
}

TEST(own_registers_while_others_run)
{
	struct kvm_mp_state runnable = { KVM_MP_STATE_RUNNABLE };
	struct vm *vm = vm_new_irqchip();
	struct vcpu *first = vcpu_new(vm, 0), *second = vcpu_new(vm, 1);

	MUST(second->fd, KVM_SET_MP_STATE, &runnable);
	vcpu_call(first, first_guest);
	vcpu_call(second, second_guest);
	vcpu_start(second);
	EXPECT_EQ(GUEST_DONE, vcpu_sync(first));
	EXPECT_EQ(GUEST_DONE, vcpu_join(second))
	TH_LOG("%s", vcpu_describe(second));
	vcpu_free(first);
	vcpu_free(second);
	vm_free(vm);
}

/* A debugger's registers come and go, and the guest sees its own. */
TEST_F(debug, own_registers_under_debugger)
{
	const u32 flags = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_USE_HW_BP;

	GUEST_VAR(self->vm, drs) = 0x1000;
	vcpu_call(self->vcpu, drs_guest);
	sync_drs(_metadata, self->vcpu, 1);
	ASSERT_EQ(0, control(self->vcpu, flags, 0x123456, DR7_EXECUTE_0));
	sync_drs(_metadata, self->vcpu, 2);
	sync_drs(_metadata, self->vcpu, 1);
	ASSERT_EQ(0, control(self->vcpu, 0, 0, 0));
	sync_drs(_metadata, self->vcpu, 2);
	sync_drs(_metadata, self->vcpu, 1);
}

static volatile u64 db_hits, db_dr6, db_dr7;

static void on_db(struct trap_frame *frame)
{
	db_hits++;
	db_dr6 = READ_REG(dr6);
	db_dr7 = READ_REG(dr7);
	frame->rflags |= 1 << 16; /* RF: go on behind a breakpoint */
}

/* The access that GD stops has no effect; DR6 keeps what the guest left in it. */
static void general_detect_guest(void)
{
	trap_handlers[DB_VECTOR] = on_db;
	WRITE_REG(dr6, DR6_RESERVED | 1 << 15);
	WRITE_REG(dr0, 0x1234);
	WRITE_REG(dr7, 0x400 | DR7_GD);
	GUEST_EQ(DB_VECTOR, GUEST_CATCH("mov %[v], %%dr0", [v] "S"(0x5678ull)));
	GUEST_EQ(0x400, READ_REG(dr7));
	GUEST_EQ(DR6_RESERVED | 1 << 15 | 1 << 13, READ_REG(dr6));
	GUEST_EQ(0x1234, READ_REG(dr0));
}

TEST_F(debug, own_general_detect)
{
	if (lab_is_tcg())
		SKIP(return, "QEMU's TCG knows no DR7.GD");
	vcpu_call(self->vcpu, general_detect_guest);
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

/* ---- breakpoints of the host ---- */

static volatile u64 counted;

/* At the same address in guest and host. */
static __attribute__((noinline)) void place(void)
{
	asm volatile("nop");
}

/* QEMU forgets the guest's when those of the host come back. */
static volatile u32 hits_are_certain;

static void breakpoints_guest(void)
{
	u64 i;

	trap_handlers[DB_VECTOR] = on_db;
	for (i = 1;; i++) {
		WRITE_REG(dr0, place);
		WRITE_REG(dr7, DR7_EXECUTE_0);
		place();
		if (hits_are_certain) {
			GUEST_EQ(i, db_hits);
			GUEST_EQ(DR6_RESERVED | 1, db_dr6);
			GUEST_EQ(DR7_EXECUTE_0, db_dr7);
		}
		WRITE_REG(dr6, DR6_RESERVED);
		counted++;
		guest_sync(i);
	}
}

/* Count this thread's writes to @counted. */
static int count_writes(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT,
		.size = sizeof(attr),
		.bp_type = HW_BREAKPOINT_W,
		.bp_addr = (uintptr_t)&counted,
		.bp_len = HW_BREAKPOINT_LEN_8,
		.exclude_kernel = 1,
	};

	return syscall(SYS_perf_event_open, &attr, 0, -1, -1,
		       PERF_FLAG_FD_CLOEXEC);
}

/* Host and guest each hit their own breakpoints only. */
TEST_F(debug, own_breakpoints_and_the_hosts)
{
	int fd = count_writes();
	u64 i, seen;

	ASSERT_LE(0, fd) TH_LOG("perf_event_open: %m");
	GUEST_VAR(self->vm, hits_are_certain) = !lab_is_tcg();
	vcpu_call(self->vcpu, breakpoints_guest);
	for (i = 1; i <= 3; i++) {
		counted++;
		ASSERT_EQ(i, vcpu_sync(self->vcpu))
		TH_LOG("%s", vcpu_describe(self->vcpu));
		place(); /* would end in SIGTRAP */
		counted++;
		ASSERT_EQ(sizeof(seen), read(fd, &seen, sizeof(seen)));
		EXPECT_EQ(2 * i, seen);
		EXPECT_EQ(i, GUEST_VAR(self->vm, counted));
	}
	close(fd);
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
