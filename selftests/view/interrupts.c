// SPDX-License-Identifier: GPL-2.0-only
/* NMIs, interrupts, the shadows and priorities that hold them back. */
#include "view.h"

#define USER_IRQ 0x61

/* ---- without an irqchip: user space injects ---- */

static void nmi_host(struct vcpu *vcpu, u32 what)
{
	static bool again;

	if (what == 1) {
		again = true;
		MUST(vcpu->fd, KVM_NMI, 0);
	} else if (what == HOST_EVENT + NMI_VECTOR && again) {
		/* One waits for the IRET, others merge with it. */
		again = false;
		MUST(vcpu->fd, KVM_NMI, 0);
		MUST(vcpu->fd, KVM_NMI, 0);
	}
}

/* clang-format off */
SCRIPT(64, nmi_code,
	HOST(1) "nop\nnop\n" STEP
	"mov %ss, %ecx\n" HOST(1) "mov %ecx, %ss\nnop\nnop\n" STEP
	HOST(1)
	TRY("ud2"));
/* clang-format on */

static void irq_host(struct vcpu *vcpu, u32 what)
{
	struct kvm_interrupt irq = { USER_IRQ };

	switch (what) {
	case 1:
		vcpu->run->request_interrupt_window = 1;
		break;
	case HOST_WINDOW:
		vcpu->run->request_interrupt_window = 0;
		MUST(vcpu->fd, KVM_INTERRUPT, &irq);
		record_state(vcpu);
		break;
	case 2:
		MUST(vcpu->fd, KVM_INTERRUPT, &irq);
		record_state(vcpu);
		break;
	}
}

/* clang-format off */
SCRIPT(64, window_code,
	"mov %ss, %ecx\n" HOST(1) "sti\nnop\nnop\nnop\ncli\n" STEP
	HOST(1) "sti\ncli\nnop\nnop\nsti\nnop\nnop\ncli\n" STEP
	HOST(1) "sti\nsti\nsti\nnop\ncli\n" STEP
	HOST(1) "pushq $0x202\npopfq\nnop\nnop\ncli\n" STEP
	HOST(1) "mov %rsp, %rdx\npushq $0x10\npush %rdx\npushq $0x202\n"
	"pushq $0x18\npushq $(1f - 0b + 0x8000)\niretq\n" "1: nop\nnop\ncli\n"
	STEP
	HOST(1) "sti\nint $0x80\nnop\ncli\n" STEP
	HOST(1) "sti\nhlt\nnop\ncli\n" STEP
	HOST(1) "sti\ncpuid\nnop\ncli\n" STEP
	"sti\nnop\n" HOST(2) "nop\nnop\n" STEP
	HOST(1) "nop\nnop\n" STEP
	"cli\nmov $5, %eax\nmov %rax, %cr8\n" STEP
	"xor %eax, %eax\nmov %rax, %cr8\nmov %cr8, %rbx\n" STEP
	TRY("mov $16, %eax\nmov %rax, %cr8"));

SCRIPT(64, window_mmio_code,
	HOST(1) "mov $0xd0000000, %esi\nsti\nmov (%rsi), %eax\nnop\ncli\n"
	STEP);

SCRIPT(16, window16_code,
	"mov %ss, %cx\n" HOST(1) "sti\nnop\nnop\ncli\n" STEP
	HOST(1) "pushf\npop %ax\nor $0x200, %ax\npush %ax\npush $0\n"
	"popf\npop %ss\nnop\nnop\ncli\n" STEP
	HOST(1) "sti\nhlt\nnop\ncli\n" STEP);
/* clang-format on */

static void stack_with_zeros(struct vcpu *vcpu)
{
	memset(vcpu->vm->mem + REAL_STACK, 0, 2);
	memset(vcpu->vm->mem + REAL_STACK - 16, 0, 16);
}

/* ---- with an irqchip ---- */

#define APIC(reg, value)                     \
	"mov $0xfee00000 + " #reg ", %edx\n" \
	"movl $" #value ", (%rdx)\n"

#define IPI(vector) APIC(0x300, 0x44000 + vector)

#define APIC_READ(reg)                       \
	"mov $0xfee00000 + " #reg ", %edx\n" \
	"mov (%rdx), %eax\n" STEP

static void irqchip_host(struct vcpu *vcpu, u32 what)
{
	static const u8 lines[] = { 3, 10, 5, 12, 1, 7 };
	struct kvm_irq_level level;
	unsigned int i;

	switch (what) {
	case 1:
		record_irqchip(vcpu->vm, vcpu);
		break;
	case 2:
		for (i = 0; i < 2 * ARRAY_LEN(lines); i++) {
			level.irq = lines[i / 2];
			level.level = i % 2 == 0;
			MUST(vcpu->vm->fd, KVM_IRQ_LINE, &level);
		}
		record_irqchip(vcpu->vm, vcpu);
		break;
	case 3:
	case 4:
		level.irq = 20;
		level.level = what == 3;
		MUST(vcpu->vm->fd, KVM_IRQ_LINE, &level);
		record_irqchip(vcpu->vm, vcpu);
		break;
	case 5:
		MUST(vcpu->fd, KVM_NMI, 0);
		break;
	case HOST_EVENT + 0x72:
		/* The line's device is served. */
		level.irq = 20;
		level.level = 0;
		MUST(vcpu->vm->fd, KVM_IRQ_LINE, &level);
		break;
	}
}

/* clang-format off */
SCRIPT(64, apic_code,
	HOST(1) APIC_READ(0x20) APIC_READ(0x80) APIC_READ(0xd0)
	APIC_READ(0xe0) APIC_READ(0xf0) APIC_READ(0x350) APIC_READ(0x390)
	APIC(0xf0,0x1ff) "cli\n" IPI(0x31) IPI(0x85) IPI(0x52) IPI(0x41)
	IPI(0x58) IPI(0x52) HOST(1) "sti\nnop\n" STEP
	/* held back by the priority */
	"mov $5, %eax\nmov %rax, %cr8\n" IPI(0x45) IPI(0x55) IPI(0x65) STEP
	APIC_READ(0x80) APIC_READ(0xa0) APIC_READ(0x220) HOST(1)
	"mov $4, %eax\nmov %rax, %cr8\nnop\n" STEP
	"mov %cr8, %rbx\n" STEP
	"xor %eax, %eax\nmov %rax, %cr8\nnop\n" STEP
	APIC(0x80,0x70) "mov %cr8, %rbx\n" STEP
	IPI(0x61) IPI(0x75) IPI(0x85) "nop\n" STEP
	APIC(0x80,0x3f) "nop\nmov %cr8, %rbx\n" STEP
	APIC(0x80,0) "nop\n" STEP
	/* NMI and interrupts at a time */
	"cli\n" IPI(0x61) APIC(0x300,0x44400) "nop\nsti\nnop\n" STEP
	"cli\n" IPI(0x62) HOST(5) "nop\nsti\nnop\n" STEP
	/* halted */
	"cli\n" IPI(0x63) "sti\nhlt\n" STEP
	HOST(1));

SCRIPT(64, apic_errors,
	APIC(0xf0,0x1ff) APIC(0x280, 0) IPI(0x05) APIC(0x280,0) APIC_READ(0x280)
	HOST(1));
/* clang-format on */

#define OUT(port, value) "mov $" #value ", %al\nout %al, $" #port "\n"

/* clang-format off */
SCRIPT(64, pic_code,
	APIC(0xf0, 0x1ff) APIC(0x350, 0x700) OUT(0x20, 0x11) OUT(0x21, 0x20)
	OUT(0x21, 4) OUT(0x21, 1) OUT(0xa0, 0x11) OUT(0xa1,0x28) OUT(0xa1, 2)
	OUT(0xa1, 1) OUT(0x21, 0) OUT(0xa1, 0) HOST(1) HOST(2) OUT(0x20, 0x0a)
	"in $0x20, %al\n" STEP
	OUT(0x20, 0x0b) "in $0x20, %al\n" STEP
	"sti\nnop\n" STEP
	HOST(1)
	/* masked ones wait */
	"cli\n" OUT(0x21, 0x28) OUT(0xa1, 0x10) HOST(2) "sti\nnop\n" STEP
	OUT(0x21, 0) STEP
	OUT(0xa1, 0) STEP
	"in $0x21, %al\n" STEP
	/* a spurious one */
	"cli\n" OUT(0x21, 0xff) OUT(0xa1, 0xff) HOST(1));

SCRIPT(64, pit_code,
	APIC(0xf0, 0x1ff) APIC(0x350, 0x700) OUT(0x20, 0x11) OUT(0x21, 0x20)
	OUT(0x21, 4) OUT(0x21, 1) OUT(0x21, 0xfe)
	/* When it comes is not to be seen: wait with interrupts off. */
	OUT(0x43, 0x30) OUT(0x40, 0x40) OUT(0x40, 0) OUT(0x20,0x0a)
	"1: in $0x20, %al\ntest $1, %al\njz 1b\n" "sti\nnop\ncli\n" STEP
	OUT(0x43, 0xe2) "in $0x40, %al\nand $0xbf, %al\n" STEP
	/* by a gate and a new count */
	OUT(0x43, 0x38) OUT(0x40, 0) OUT(0x40, 0x10) OUT(0x43,0xe2)
	"in $0x40, %al\nand $0x3f, %al\n" STEP
	OUT(0x43, 0x30) OUT(0x40, 1) OUT(0x40,0)
	"1: in $0x20, %al\ntest $1, %al\njz 1b\nsti\nnop\ncli\n" STEP);

SCRIPT(64, ioapic_code,
	APIC(0xf0,0x1ff) "mov $0xfec00000, %edi\n"
	"movl $1, (%rdi)\nmov 0x10(%rdi), %eax\n" STEP
	/* pin 20: level, masked; then open */
	"movl $0x38, (%rdi)\nmovl $0x18072, 0x10(%rdi)\n"
	"mov 0x10(%rdi), %eax\n" STEP
	"movl $0x39, (%rdi)\nmovl $0, 0x10(%rdi)\nmov 0x10(%rdi), %eax\n" STEP
	HOST(3) "movl $0x38, (%rdi)\nmovl $0x8072, 0x10(%rdi)\n" HOST(1)
	"sti\nnop\nnop\n" STEP
	HOST(1) HOST(3) "nop\n" STEP
	HOST(1)
	/* pin 20: edge */
	"movl $0x38, (%rdi)\nmovl $0x73, 0x10(%rdi)\n" HOST(3) HOST(4) "nop\n"
	STEP
	HOST(1));

SCRIPT(64, x2apic_code,
	"mov $0x802, %ecx\n"
	TRY("rdmsr")
	TRY("mov $0x1b, %ecx\nmov $0xfee00d00, %eax\nxor %edx, %edx\nwrmsr")
	TRY("mov $0x802, %ecx\nrdmsr")
	TRY("mov $0x80d, %ecx\nrdmsr")
	TRY("mov $0x80e, %ecx\nrdmsr")
	TRY("mov $0x808, %ecx\nmov $0x40, %eax\nxor %edx, %edx\nwrmsr\nrdmsr")
	TRY("mov %cr8, %rax")
	TRY("mov $0x802, %ecx\nxor %eax, %eax\nwrmsr")
	TRY("mov $0x80f, %ecx\nmov $0x1ff, %eax\nwrmsr\nrdmsr")
	TRY("mov $0x80b, %ecx\nxor %eax, %eax\nwrmsr")
	TRY("mov $0x83f, %ecx\nmov $0x52, %eax\nwrmsr")
	TRY("mov $0x83f, %ecx\nmov $0x152, %eax\nwrmsr")
	TRY("mov $0x830, %ecx\nmov $0x44062, %eax\nwrmsr")
	TRY("mov $0x822, %ecx\nrdmsr")
	TRY("mov $0x823, %ecx\nrdmsr")
	TRY("mov $0x831, %ecx\nrdmsr")
	TRY("mov $0x1b, %ecx\nmov $0xfee00900, %eax\nxor %edx, %edx\nwrmsr"));

SCRIPT(64, x2apic_limits,
	TRY("mov $0x1b, %ecx\nmov $0xfee00d00, %eax\nxor %edx, %edx\nwrmsr")
	APIC_READ(0x20)
	TRY("mov $0x808, %ecx\nmov $0x45, %eax\nxor %edx, %edx\nwrmsr\nrdmsr")
	TRY("mov $0x808, %ecx\nmov $0x145, %eax\nwrmsr")
	TRY("mov $0x80b, %ecx\nmov $1, %eax\nwrmsr")
	TRY("mov $0x1b, %ecx\nmov $0xfee00100, %eax\nxor %edx, %edx\nwrmsr"));
/* clang-format on */

/* ---- user space steps the guest ---- */

/* No STI: QEMU does not trap behind it. */
/* clang-format off */
SCRIPT(64, stepped_code,
	"mov %ss, %ecx\nmov $5, %eax\nnop\nmov %ecx, %ss\nnop\nnop\n"
	"cpuid\nint $0x80\nnop\n" "pushf\npop %rax\nud2\n");
/* clang-format on */

#define MAX_STEPS 40

static void view_stepped(void)
{
	struct kvm_guest_debug debug = {
		.control = KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP,
	};
	struct vcpu *vcpu = script_vcpu(0);
	unsigned int i;

	section("stepped_by_user_space");
	record_start();
	vcpu_load(vcpu, MODE_LONG, stepped_code, stepped_code_end);
	script_tables(vcpu, MODE_LONG);
	record_state(vcpu);
	MUST(vcpu->fd, KVM_SET_GUEST_DEBUG, &debug);
	for (i = 0; i < MAX_STEPS && vcpu_exit(vcpu) == KVM_EXIT_DEBUG; i++) {
		note("  debug: vector %u pc %#llx dr6 %#llx",
		     vcpu->run->debug.arch.exception, vcpu->run->debug.arch.pc,
		     vcpu->run->debug.arch.dr6);
		record_state(vcpu);
	}
	note("  %u steps", i);
	vm_free(vcpu->vm);
}

#define S(name_, mode_, code_, ...)                             \
	{                                                       \
		name_, mode_, code_, code_##_end, ##__VA_ARGS__ \
	}

void view_interrupts(void)
{
	static const struct script scripts[] = {
		S("nmi", MODE_LONG, nmi_code, .on_host = nmi_host),
		S("interrupt_windows", MODE_LONG, window_code,
		  .on_host = irq_host),
		S("interrupt_window_mmio", MODE_LONG, window_mmio_code,
		  .on_host = irq_host),
		S("interrupt_windows_16", MODE_REAL, window16_code,
		  .prepare = stack_with_zeros, .on_host = irq_host),
		S("apic", MODE_LONG, apic_code, WITH_IRQCHIP,
		  .on_host = irqchip_host),
		S("apic_errors", MODE_LONG, apic_errors, WITH_IRQCHIP,
		  .on_host = irqchip_host),
		S("pic", MODE_LONG, pic_code, WITH_IRQCHIP,
		  .on_host = irqchip_host),
		S("pit", MODE_LONG, pit_code, WITH_IRQCHIP | WITH_PIT),
		S("ioapic", MODE_LONG, ioapic_code, WITH_IRQCHIP,
		  .on_host = irqchip_host),
		S("x2apic", MODE_LONG, x2apic_code, WITH_IRQCHIP),
		S("x2apic_limits", MODE_LONG, x2apic_limits, WITH_IRQCHIP),
	};

	scripts_run(scripts, ARRAY_LEN(scripts));
	view_stepped();
}
