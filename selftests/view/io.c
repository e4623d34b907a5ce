// SPDX-License-Identifier: GPL-2.0-only
/* Port and memory-mapped I/O. */
#include "view.h"

#define DEVICE "mov $0xd0000000, %esi\n"

/* clang-format off */
SCRIPT(64, ports64,
	"mov $0x12345678, %eax\nmov $0x300, %edx\n"
	"out %al, %dx\nout %ax, %dx\nout %eax, %dx\n" STEP
	"in %dx, %al\n" STEP
	"in %dx, %ax\n" STEP
	"in %dx, %eax\n" STEP
	"mov $-1, %rax\nin %dx, %eax\n" STEP
	"mov $-1, %rax\nin %dx, %ax\n" STEP
	"in $0x61, %al\nout %eax, $0x55\n" STEP
	"mov $0xa000, %edi\nmov %rdi, %rsi\nmov $0x1122334455667788, %rax\n"
	"mov %rax, (%rdi)\n" "outsb\noutsw\noutsl\n" STEP
	"insb\ninsw\ninsl\n" STEP
	TRY("mov $0x7f0000000000, %rsi\noutsb")
	TRY("mov $0x8000000000000000, %rsi\noutsb"));

SCRIPT(64, strings64,
	"mov $0x300, %edx\nmov $0x1122334455667788, %rax\nmov %rax, 0xa000\n"
	"mov $5, %ecx\nmov $0xa000, %esi\nrep outsw\n" STEP
	"mov $7, %ecx\nmov $0xa100, %edi\nrep insl\n" STEP
	"std\nmov $3, %ecx\nmov $0xa206, %edi\nrep insw\n" STEP
	"mov $3, %ecx\nmov $0xa012, %esi\nrep outsb\ncld\n" STEP
	"xor %ecx, %ecx\nrep insb\nrep outsb\n" STEP
	"mov $2, %ecx\nmov $0xfffff0000a300, %rdi\naddr32 rep insb\n" STEP
	"mov $2, %ecx\nmov $0xaffe, %edi\nrep insl\n" STEP
	TRY("mov $1, %ecx\nmov $0x7f0000000000, %rdi\nrep insb"));

SCRIPT(16, ports16,
	"mov $0x5678, %ax\nmov $0x300, %dx\n"
	"out %al, %dx\nout %ax, %dx\nout %eax, %dx\n" STEP
	"in %dx, %al\n" STEP
	"in %dx, %ax\n" STEP
	"in %dx, %eax\n" STEP
	"mov $0xa000, %di\nmov $0x8000, %si\n"
	"outsb\noutsw\noutsl\ninsb\ninsw\ninsl\n" STEP);

SCRIPT(16, strings16,
	"mov $0x300, %dx\nmov $0x900, %ax\nmov %ax, %es\nmov %ax, %ds\nmov $4, %cx\n"
	"mov $0x1000, %di\nmov $0x1002, %si\nrep insb\n" STEP
	"mov $4, %cx\nrep outsb\n" STEP
	"mov $4, %cx\nxor %si, %si\nes rep outsw\n" STEP
	"xor %ax, %ax\nmov %ax, %ds\nmov %ax, %es\n" STEP);

SCRIPT(32, ports32,
	"mov $0x12345678, %eax\nmov $0x300, %edx\n"
	"out %al, %dx\nout %ax, %dx\nout %eax, %dx\n" STEP
	"in %dx, %eax\n" STEP
	"mov $0xa000, %edi\nmov $0x8000, %esi\noutsl\ninsl\n" STEP);

SCRIPT(32, strings32,
	"mov $0x300, %edx\n"
	"mov $0xa000, %edi\nmov $0x8000, %esi\nmov $3, %ecx\nrep insl\n" STEP
	"mov $3, %ecx\nrep outsl\n" STEP
	TRY("mov $0x50, %eax\nmov %eax, %es\nmov $0xfffe, %edi\n"
	    "mov $3, %ecx\nrep insb"));

SCRIPT(64, mmio_moves,
	DEVICE "mov $-1, %rax\nmov (%rsi), %al\n" STEP
	"mov 1(%rsi), %ax\n" STEP
	"mov 2(%rsi), %eax\n" STEP
	"mov 8(%rsi), %rax\n" STEP
	"mov $0x1122334455667788, %rax\n" "mov %al, (%rsi)\n" STEP
	"mov %ah, 1(%rsi)\n" STEP
	"mov %ax, 2(%rsi)\n" STEP
	"mov %eax, 4(%rsi)\n" STEP
	"mov %rax, 8(%rsi)\n" STEP
	"movb $0x12, (%rsi)\nmovw $0x1234, (%rsi)\nmovl $0x12345678, (%rsi)\n"
	"movq $-2, (%rsi)\n" STEP
	"movzbl 7(%rsi), %ebx\nmovzwl 6(%rsi), %ecx\n" STEP
	"movsbl 7(%rsi), %ebx\nmovswl 6(%rsi), %ecx\nmovslq 4(%rsi), %rdx\n"
	STEP
	"mov 0xffc(%rsi), %rax\n" STEP
	"mov %rax, 0xffc(%rsi)\n" STEP
	"mov %eax, %ebx\nmov %r9, 0x18(%rsi)\nmov 0x20(%rsi), %r9d\n" STEP
	"movnti %rax, 0x30(%rsi)\n" STEP
	"mov $0xa000, %edi\nmovsb\nmovsw\nmovsl\nmovsq\n" STEP
	DEVICE "lodsb\nlodsl\nmov %esi, %edi\nstosw\n" STEP);

SCRIPT(64, mmio_strings,
	DEVICE "mov $3, %ecx\nmov $0xa040, %edi\nrep movsl\n" STEP
	"mov $0xa000, %esi\nmov $0xd0000100, %edi\nmov $3, %ecx\nrep movsl\n"
	STEP
	"mov $3, %ecx\nrep stosb\n" STEP);

SCRIPT(64, mmio_arithmetic,
	DEVICE "mov $0x21, %eax\nmov $0x43, %ebx\n" "add %eax, (%rsi)\n" STEP
	"sub %bl, (%rsi)\n" STEP
	"or %eax, (%rsi)\n" STEP
	"and %eax, (%rsi)\n" STEP
	"xor %rax, (%rsi)\n" STEP
	"stc\nadc $5, %ebx\nadcl $7, (%rsi)\n" STEP
	"sbbl $7, (%rsi)\n" STEP
	"add (%rsi), %eax\n" STEP
	"cmp (%rsi), %eax\n" STEP
	"cmpl $0x9a693807, (%rsi)\n" STEP
	"test %eax, (%rsi)\n" STEP
	"testb $0x80, (%rsi)\n" STEP
	"incl (%rsi)\n" STEP
	"decw (%rsi)\n" STEP
	"notl (%rsi)\n" STEP
	"negb (%rsi)\n" STEP
	"xchg %eax, (%rsi)\n" STEP
	"xor (%rsi), %ecx\nsub (%rsi), %edx\n" STEP
	"lock orl $1, (%rsi)\n" STEP
	"xadd %eax, (%rsi)\n" STEP
	"btsl $3, (%rsi)\n" STEP
	"cmpxchg %ecx, (%rsi)\n" STEP);
/* clang-format on */

/* An instruction that may be one too many for the emulator ends its script. */
/* clang-format off */
SCRIPT(64, mmio_push,
	DEVICE "pushq (%rsi)\n" STEP
	"pop (%rsi)\n" STEP);

SCRIPT(64, mmio_sse,
	DEVICE "movups (%rsi), %xmm0\n" STEP
	"movaps %xmm0, (%rsi)\n" STEP);

SCRIPT(64, mmio_fpu,
	DEVICE "fildl (%rsi)\n" STEP);

SCRIPT(64, mmio_fetch,
	DEVICE "jmp *%rsi\n");

SCRIPT(16, mmio16,
	"mov $0xb800, %ax\nmov %ax, %es\nmov $0x1234, %ax\n"
	"mov %ax, %es:4\nmov %es:6, %bx\nmovb $5, %es:8\n" STEP);

SCRIPT(16, mmio_strings16,
	"mov $0xb800, %ax\nmov %ax, %es\nmov $0x1234, %ax\n"
	"xor %di, %di\nmov $3, %cx\nrep stosw\n" STEP);
/* clang-format on */

#define S(name_, mode_, code_, ...)                             \
	{                                                       \
		name_, mode_, code_, code_##_end, ##__VA_ARGS__ \
	}

/* Slot 0 without the window that 16-bit code reaches. */
static void with_vga_hole(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;

	if (vm_slot(vm, 0, 0, 0, 0, vm->mem) ||
	    vm_slot(vm, 0, 0, 0, 0xa0000, vm->mem) ||
	    vm_slot(vm, 1, 0, MIB, VM_MEMORY - MIB, vm->mem + MIB))
		die("slots");
}

/* KVM does not set the dirty bit when it emulates a write. */
static void with_dirty_page(struct vcpu *vcpu)
{
	const u64 entry = MMIO_GPA | 0xe7;

	memcpy(vcpu->vm->mem + TABLES_GPA + 0x2000 + (MMIO_GPA >> 18), &entry,
	       sizeof(entry));
}

void view_io(void)
{
	static const struct script scripts[] = {
		S("ports_64", MODE_LONG, ports64),
		S("ports_32", MODE_PROT, ports32),
		S("ports_16", MODE_REAL, ports16),
		S("strings_64", MODE_LONG, strings64),
		S("strings_32", MODE_PROT, strings32),
		S("strings_16", MODE_REAL, strings16),
		S("mmio_moves", MODE_LONG, mmio_moves),
		S("mmio_strings", MODE_LONG, mmio_strings),
		S("mmio_arithmetic", MODE_LONG, mmio_arithmetic,
		  .prepare = with_dirty_page),
		S("mmio_push", MODE_LONG, mmio_push),
		S("mmio_sse", MODE_LONG, mmio_sse),
		S("mmio_fpu", MODE_LONG, mmio_fpu),
		S("mmio_fetch", MODE_LONG, mmio_fetch),
		S("mmio_16", MODE_REAL, mmio16, .prepare = with_vga_hole),
		S("mmio_strings_16", MODE_REAL, mmio_strings16,
		  .prepare = with_vga_hole),
	};

	scripts_run(scripts, ARRAY_LEN(scripts));
}
