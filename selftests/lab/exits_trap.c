// SPDX-License-Identifier: GPL-2.0-only
/*
 * Exceptions, interrupts and NMIs reach the guest once each, also when their
 * delivery itself leaves the guest: the tests without an irqchip run on memory
 * that can be unmapped, so that the IDT, the handler and its stack have to be
 * faulted in while the event is on its way.
 */
#include "guest.h"
#include <kselftest_harness.h>

#define IRQ 0x61
#define IDT (TABLES_GPA + 0x9000)
#define UNMAPPED 0x7f0000000000ull /* no guest page table maps it */

static volatile u64 hits, last_error, last_rip, last_cr2;

static void count(struct trap_frame *frame)
{
	hits++;
	last_error = frame->error;
	last_rip = frame->rip;
	last_cr2 = READ_REG(cr2);
}

/* Count, and skip the two bytes of the instruction that faulted. */
static void skip2(struct trap_frame *frame)
{
	count(frame);
	frame->rip += 2;
}

FIXTURE(exits_trap)
{
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(exits_trap)
{
	self->vm = vm_new();
	vm_share_memory(self->vm);
	self->vcpu = vcpu_new(self->vm, 0);
}

FIXTURE_TEARDOWN(exits_trap)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

/* Run to the end, with all memory unmapped at each guest_sync(). */
static void run_zapped(struct vcpu *vcpu, void (*guest)(void))
{
	vcpu_call(vcpu, guest);
	do {
		vm_zap(vcpu->vm);
	} while (vcpu_sync(vcpu) != GUEST_DONE);
}

static void exceptions_guest(void)
{
	u32 i;

	for (i = 0; i < 3; i++) {
		guest_sync(i);
		GUEST_EQ(UD_VECTOR, GUEST_CATCH("ud2"));
		guest_sync(i);
		GUEST_EQ(DE_VECTOR, GUEST_CATCH("div %%cl", "a"(1), "c"(0)));
		guest_sync(i);
		GUEST_EQ(GP_VECTOR, GUEST_CATCH("mov (%%rsi), %%eax",
						"S"(1ull << 63), "a"(0)));
		guest_sync(i);
		GUEST_EQ(GP_VECTOR | 0xfff8 << 8,
			 GUEST_CATCH("mov %%si, %%es", "S"(0xfff8)));
		guest_sync(i);
		GUEST_EQ(NP_VECTOR | 0x38 << 8,
			 GUEST_CATCH("mov %%si, %%es", "S"(0x38)));
		guest_sync(i);
		GUEST_EQ(PF_VECTOR,
			 GUEST_CATCH("testb $1, (%%rsi)", "S"(UNMAPPED)));
		GUEST_EQ(UNMAPPED, READ_REG(cr2));
		guest_sync(i);
		GUEST_EQ(PF_VECTOR | 2 << 8,
			 GUEST_CATCH("movb $1, (%%rsi)", "S"(UNMAPPED + 5)));
		GUEST_EQ(UNMAPPED + 5, READ_REG(cr2));
		guest_sync(i);
		GUEST_EQ(PF_VECTOR | 0x10 << 8,
			 GUEST_CATCH("jmp *%%rsi", "S"(UNMAPPED)));
		guest_sync(i);
		GUEST_EQ(BP_VECTOR, GUEST_CATCH("int3"));
	}
}

TEST_F(exits_trap, exceptions)
{
	/* Descriptor 0x38: a data segment that is not present */
	self->vm->mem[TABLES_GPA + 0x8000 + 0x38 + 5] = 0x13;
	run_zapped(self->vcpu, exceptions_guest);
}

/* Software interrupts go on behind their instruction, whatever its length. */
static void software_guest(void)
{
	u32 i, n = 0;

	trap_handlers[IRQ] = count;
	trap_handlers[BP_VECTOR] = count;
	for (i = 0; i < 3; i++) {
		guest_sync(i);
		asm volatile("int $0x61" ::: "memory");
		GUEST_EQ(++n, hits);
		guest_sync(i);
		asm volatile("int3" ::: "memory");
		GUEST_EQ(++n, hits);
		guest_sync(i);
		asm volatile("cs int $0x61" ::: "memory");
		GUEST_EQ(++n, hits);
	}
}

TEST_F(exits_trap, software_interrupts)
{
	run_zapped(self->vcpu, software_guest);
}

/* Exceptions while delivering exceptions */

static void idt_gate(struct vm *vm, u32 vector, bool present)
{
	vm->mem[IDT + vector * 16 + 5] = present ? 0x8e : 0x0e;
}

static void raise_ud(void)
{
	trap_handlers[NP_VECTOR] = skip2;
	trap_handlers[DF_VECTOR] = skip2;
	guest_sync(0);
	asm volatile("ud2" ::: "memory");
	GUEST_EQ(1, hits);
}

/* Bit 0, which tells that another event led here, QEMU never sets. */
TEST_F(exits_trap, gate_not_present)
{
	idt_gate(self->vm, UD_VECTOR, false);
	run_zapped(self->vcpu, raise_ud);
	EXPECT_EQ(2, GUEST_VAR(self->vm, last_error) & 2) TH_LOG("a gate");
}

/*
 * The first exception brings in what delivery needs: QEMU forgets, when it is
 * told to inject a page fault, that another one on top makes a double fault.
 */
static void raise_df(void)
{
	trap_handlers[DF_VECTOR] = skip2;
	GUEST_EQ(UD_VECTOR, GUEST_CATCH("ud2"));
	guest_sync(0);
	asm volatile("movb (%%rsi), %%al" ::"S"(UNMAPPED) : "memory", "al");
	GUEST_EQ(1, hits);
	GUEST_EQ(UNMAPPED, last_cr2);
}

TEST_F(exits_trap, double_fault)
{
	idt_gate(self->vm, PF_VECTOR, false);
	vcpu_call(self->vcpu, raise_df);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, GUEST_VAR(self->vm, last_error));
}

TEST_F(exits_trap, triple_fault)
{
	idt_gate(self->vm, PF_VECTOR, false);
	idt_gate(self->vm, DF_VECTOR, false);
	vcpu_call(self->vcpu, raise_df);
	vcpu_sync(self->vcpu);
	EXPECT_EXIT(KVM_EXIT_SHUTDOWN, self->vcpu);
}

/*
 * Long mode asked for, and neither PAE nor paging on: with such a guest QEMU does
 * not get back to the host.
 */
SNIPPET(32, lme_code,
	"mov $0xc0000080, %ecx\nrdmsr\nbts $8, %eax\nwrmsr\n"
	"xor %eax, %eax\nrdmsr\nhlt\n");

TEST_F(exits_trap, long_mode_without_pae)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	vcpu_offer_cpuid(self->vcpu);
	VCPU_SNIPPET(self->vcpu, MODE_PROT, lme_code);
	ASSERT_EQ(0, vcpu_run(self->vcpu));
	ASSERT_EQ(KVM_EXIT_HLT, self->vcpu->run->exit_reason);
	vcpu_get_regs(self->vcpu, &regs);
	vcpu_get_sregs(self->vcpu, &sregs);
	EXPECT_EQ(0x100, regs.rax & 0x500);
	EXPECT_EQ(0x100, sregs.efer & 0x500);
}

SNIPPET(16, ud16, "ud2\nhlt\n");
SNIPPET(32, ud32, "ud2\nhlt\n");
SNIPPET(64, ud64, "ud2\nhlt\n");

TEST_F(exits_trap, triple_fault_in_each_mode)
{
	struct vcpu *vcpu = self->vcpu;
	struct kvm_sregs sregs;
	enum mode mode;

	for (mode = 0; mode < NR_MODES; mode++) {
		if (mode == MODE_REAL)
			VCPU_SNIPPET(vcpu, mode, ud16);
		else if (mode == MODE_LONG)
			VCPU_SNIPPET(vcpu, mode, ud64);
		else
			VCPU_SNIPPET(vcpu, mode, ud32);
		vcpu_get_sregs(vcpu, &sregs);
		sregs.idt.limit = 0;
		ASSERT_EQ(0, vcpu_set_sregs(vcpu, &sregs));
		EXPECT_EXIT(KVM_EXIT_SHUTDOWN, vcpu);
	}
	/* The vCPU can be used again. */
	VCPU_SNIPPET(vcpu, MODE_LONG, ud64);
	vcpu_mode(vcpu, MODE_REAL);
	EXPECT_EXIT(KVM_EXIT_HLT, vcpu);
}

/* Interrupts from user space */

static void irq_guest(void)
{
	u32 i;

	trap_handlers[IRQ] = count;
	sti();
	for (i = 0; i < 5; i++) {
		guest_sync(hits);
		asm volatile("nop");
	}
}

static int inject(struct vcpu *vcpu, u32 vector)
{
	struct kvm_interrupt irq = { .irq = vector };

	return dev_ioctl(vcpu->fd, KVM_INTERRUPT, &irq);
}

TEST_F(exits_trap, interrupts)
{
	int i;

	vcpu_call(self->vcpu, irq_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	for (i = 1; i < 5; i++) {
		/* Complete the OUT; then the guest can take an interrupt. */
		self->vcpu->run->immediate_exit = 1;
		EXPECT_EQ(-EINTR, vcpu_run(self->vcpu));
		self->vcpu->run->immediate_exit = 0;
		EXPECT_EQ(1, self->vcpu->run->if_flag);
		EXPECT_EQ(0, inject(self->vcpu, IRQ));
		vm_zap(self->vm);
		EXPECT_EQ(i, vcpu_sync(self->vcpu));
	}
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

TEST_F(exits_trap, interrupt_refusals)
{
	struct vm *vm = vm_new_irqchip();
	struct vcpu *vcpu = vcpu_new(vm, 0);

	EXPECT_EQ(-EINVAL, inject(self->vcpu, 256));
	EXPECT_EQ(-EINVAL, inject(self->vcpu, ~0u));
	EXPECT_EQ(-ENXIO, inject(vcpu, IRQ)) TH_LOG("with an irqchip");
}

/* The window opens when the guest can take an interrupt, and no earlier. */
static void window_guest(void)
{
	trap_handlers[IRQ] = count;
	cli();
	guest_sync(0);
	guest_sync(1);
	asm volatile("sti\n"
		     "nop\n" /* in the shadow of STI */
		     ".globl window_open\n"
		     "window_open:\n"
		     "nop\n"
		     "cli" ::
			     : "memory");
	guest_sync(2);
	GUEST_EQ(1, hits);
}

TEST_F(exits_trap, interrupt_window)
{
	struct kvm_run *run = self->vcpu->run;
	extern u8 window_open[];
	struct kvm_regs regs;

	vcpu_call(self->vcpu, window_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, run->ready_for_interrupt_injection);
	EXPECT_EQ(0, run->if_flag);
	run->request_interrupt_window = 1;
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	EXPECT_EXIT(KVM_EXIT_IRQ_WINDOW_OPEN, self->vcpu);
	EXPECT_EQ(1, run->ready_for_interrupt_injection);
	EXPECT_EQ(1, run->if_flag);
	vcpu_get_regs(self->vcpu, &regs);
	EXPECT_EQ((uintptr_t)window_open, regs.rip);
	run->request_interrupt_window = 0;
	EXPECT_EQ(0, inject(self->vcpu, IRQ));
	EXPECT_EQ(2, vcpu_sync(self->vcpu));
	EXPECT_EQ((uintptr_t)window_open, GUEST_VAR(self->vm, last_rip));
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

TEST_F(exits_trap, window_while_open)
{
	struct kvm_run *run = self->vcpu->run;

	vcpu_call(self->vcpu, irq_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	run->request_interrupt_window = 1;
	EXPECT_EXIT(KVM_EXIT_IRQ_WINDOW_OPEN, self->vcpu);
	EXPECT_EQ(0, inject(self->vcpu, IRQ));
	EXPECT_EXIT(KVM_EXIT_IRQ_WINDOW_OPEN, self->vcpu);
	EXPECT_EQ(1, GUEST_VAR(self->vm, hits));
}

/* NMIs */

static void nmi_handler(struct trap_frame *frame)
{
	count(frame);
	if (hits != 1)
		return;
	/* NMIs are blocked now, and stay so whatever the handler does... */
	guest_sync(1);
	asm volatile("nop; sti; nop; cli");
	GUEST_EQ(1, hits);
	guest_sync(2);
	GUEST_EQ(1, hits);
}

static void nmi_guest(void)
{
	trap_handlers[NMI_VECTOR] = nmi_handler;
	guest_sync(0);
	/* ... until its IRET, which lets the second one in. */
	GUEST_EQ(2, hits);
	guest_sync(3);
	GUEST_EQ(3, hits);
}

TEST_F(exits_trap, nmi_window)
{
	struct kvm_vcpu_events events;

	vcpu_call(self->vcpu, nmi_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	MUST(self->vcpu->fd, KVM_NMI, 0);
	vm_zap(self->vm);
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	MUST(self->vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
	EXPECT_EQ(1, events.nmi.masked);
	MUST(self->vcpu->fd, KVM_NMI, 0);
	EXPECT_EQ(2, vcpu_sync(self->vcpu));
	vm_zap(self->vm);
	EXPECT_EQ(3, vcpu_sync(self->vcpu));
	MUST(self->vcpu->fd, KVM_NMI, 0);
	vm_zap(self->vm);
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

/* Exceptions from user space */

static void wait_for_exception(void)
{
	trap_handlers[GP_VECTOR] = count;
	trap_handlers[PF_VECTOR] = count;
	guest_sync(0);
	guest_sync(hits);
	guest_sync(hits);
}

static void raise_from_outside(struct vcpu *vcpu, u8 vector, u32 error)
{
	struct kvm_vcpu_events events;

	vcpu->run->immediate_exit = 1;
	vcpu_run(vcpu);
	vcpu->run->immediate_exit = 0;
	MUST(vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
	events.flags = 0;
	events.exception.injected = 1;
	events.exception.nr = vector;
	events.exception.has_error_code = 1;
	events.exception.error_code = error;
	MUST(vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
}

TEST_F(exits_trap, exceptions_from_user_space)
{
	struct kvm_sregs sregs;

	vcpu_call(self->vcpu, wait_for_exception);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	raise_from_outside(self->vcpu, GP_VECTOR, 0x18);
	vm_zap(self->vm);
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	EXPECT_EQ(0x18, GUEST_VAR(self->vm, last_error));

	vcpu_get_sregs(self->vcpu, &sregs);
	sregs.cr2 = 0xabcdef000;
	ASSERT_EQ(0, vcpu_set_sregs(self->vcpu, &sregs));
	raise_from_outside(self->vcpu, PF_VECTOR, 6);
	vm_zap(self->vm);
	EXPECT_EQ(2, vcpu_sync(self->vcpu));
	EXPECT_EQ(6, GUEST_VAR(self->vm, last_error));
	EXPECT_EQ(0xabcdef000, GUEST_VAR(self->vm, last_cr2));
}

/*
 * A task switch, by a far jump to a TSS. It is done, or the exit says that it
 * cannot be; the guest never goes on as if nothing had been asked.
 */
SNIPPET(32, task_code,
	"ljmp $0x48, $0\n"
	"hlt\n");

TEST_F(exits_trap, task_switch)
{
	static const u64 gate = 0x0000890000000067 | DATA_GPA << 16;
	struct kvm_sregs sregs;
	u32 tss[26] = {
		[7] = TABLES_GPA, [8] = CODE_GPA + 0x100,
		[9] = 2,	  [18] = 0x10,
		[19] = 0x08,	  [20] = 0x10,
		[21] = 0x10,	  [22] = 0x10,
		[23] = 0x10,
	};

	memcpy(self->vm->mem + TABLES_GPA + 0x8048, &gate, 8);
	memcpy(self->vm->mem + DATA_GPA, tss, sizeof(tss));
	VCPU_SNIPPET(self->vcpu, MODE_PROT, task_code);
	self->vm->mem[CODE_GPA + 0x100] = 0xf4;
	vcpu_get_sregs(self->vcpu, &sregs);
	sregs.tr = (struct kvm_segment){
		.base = DATA_GPA + 0x200,
		.limit = 0x67,
		.selector = 0x50,
		.type = 11,
		.present = 1,
	};
	ASSERT_EQ(0, vcpu_set_sregs(self->vcpu, &sregs));
	vcpu_exit(self->vcpu);
	if (self->vcpu->run->exit_reason == KVM_EXIT_HLT) {
		struct kvm_regs regs;

		vcpu_get_regs(self->vcpu, &regs);
		EXPECT_EQ(CODE_GPA + 0x101, regs.rip);
	} else {
		EXPECT_EQ(KVM_EXIT_INTERNAL_ERROR, self->vcpu->run->exit_reason)
		TH_LOG("%s", vcpu_describe(self->vcpu));
	}
}

TEST_HARNESS_MAIN
