// SPDX-License-Identifier: GPL-2.0-only
/* Exceptions of each kind, software interrupts and single-stepping. */
#include "view.h"

/*
 * Not tried, as QEMU does not do it: limits and types of segments at an access,
 * INT1, #XM, #AC, a bad MXCSR, #UD of XSETBV before its #GP; and the address at
 * which a jump to one that is not canonical faults.
 */

#define UNMAPPED "0x7f0000000000"

/* clang-format off */
SCRIPT(64, exceptions64,
	TRY("xor %ecx, %ecx\nmov $7, %eax\ncltd\ndiv %ecx")
	TRY("int3")
	TRY("ud2")
	TRY("int $0x80")
	TRY("mov $0xfff8, %eax\nmov %eax, %es")
	TRY("mov $0x48, %eax\nmov %eax, %es")
	TRY("mov $0x48, %eax\nmov %eax, %ss")
	TRY("mov $0x8000000000000000, %rsi\nmov (%rsi), %eax")
	TRY("mov $" UNMAPPED ", %rsi\nmov 8(%rsi), %eax")
	TRY("mov $" UNMAPPED ", %rsi\nmovb $1, 17(%rsi)")
	TRY("mov $" UNMAPPED ", %rsi\njmp *%rsi")
	/* LOCK NOP, PUSH ES */
	TRY(".byte 0xf0, 0x90")
	TRY(".byte 0x06\n")
	TRY("mov %cr0, %rax\nor $8, %rax\nmov %rax, %cr0\nfnop")
	TRY("clts\nfnop")
	TRY("mov %cr0, %rax\nor $4, %rax\nmov %rax, %cr0\nfnop")
	TRY("mov %cr0, %rax\nand $~4, %rax\nmov %rax, %cr0\nfninit"));
/* clang-format on */

/* clang-format off */
SCRIPT(64, fpu_exceptions,
	TRY("fninit\nmovw $0x35f, 0xa000\nfldcw 0xa000\nfldpi\nfld1\nfdivp\n"
	    "fwait")
	TRY("fnclex\nfninit"));

SCRIPT(64, user64,
	"pushq $0x2b\npush $0x203000\npushq $0x202\npushq $0x33\n"
	"pushq $(1f - 0b + 0x8000)\niretq\n" "1:\n" STEP
	TRY("cli")
	TRY("sti")
	TRY("hlt")
	TRY("in $0x60, %al")
	TRY("in $0xf3, %al")
	TRY("mov %cr0, %rax")
	TRY("mov %rax, %cr8")
	TRY("mov %dr7, %rax")
	TRY("mov $0xc0000080, %ecx\nrdmsr")
	TRY("mov $0xc0000080, %ecx\nwrmsr")
	TRY("wbinvd")
	TRY("invd")
	TRY("clts")
	TRY("invlpg 0x1000")
	TRY("lgdt 0xa000")
	TRY("lldt %ax")
	TRY("ltr %ax")
	TRY("swapgs")
	TRY("sysretq")
	TRY("int3")
	TRY("int $0x80")
	TRY("int $0x20")
	TRY("ud2")
	TRY("mov $" UNMAPPED", %rsi\nmov (%rsi), %eax")
	TRY("mov $" UNMAPPED ", %rsi\nmov %eax, (%rsi)")
	TRY("mov $" UNMAPPED", %rsi\njmp *%rsi")
	TRY("mov $0x10, %eax\nmov %eax, %ds")
	TRY("mov $0x2b, %eax\nmov %eax, %ds")
	TRY("pushq $0x3202\npopfq\npushfq\npop %rax")
	TRY("pushq $0x40202\npopfq\nmov $0xa001, %esi\nmov (%rsi), %eax")
	TRY("pushq $0x202\npopfq")
	TRY("str %eax\nsldt %ebx\nsmsw %ecx")
	TRY("rdpmc"));
/* clang-format on */

/* clang-format off */
SCRIPT(32, exceptions32,
	TRY("xor %ecx, %ecx\nmov $7, %eax\ncltd\nidiv %ecx")
	TRY("int3")
	TRY("mov $0x7fffffff, %eax\nadd $1, %eax\ninto")
	TRY("xor %eax, %eax\ninto")
	TRY("movl $5, 0xa000\nmovl $9, 0xa004\nmov $10, %eax\n"
	    "bound %eax, 0xa000")
	TRY("mov $9, %eax\nbound %eax, 0xa000")
	TRY("ud2")
	TRY("int $0x80")
	TRY("mov $0x48, %eax\nmov %eax, %es")
	TRY("mov $0x48, %eax\nmov %eax, %ss")
	TRY("xor %eax, %eax\nmov %eax, %ss")
	TRY("movl $0x12345678, %fs:0x2000")
	TRY("mov $0x60, %eax\nmov %eax, %es\nmov %es:0xa000, %eax")
	TRY("mov $0x68, %eax\nmov %eax, %es")
	TRY("mov $0x08, %eax\nmov %eax, %es")
	TRY("mov $0x60, %eax\nmov %eax, %ss")
	TRY("ljmp $0x10, $0")
	TRY("ljmp $0x48, $0")
	TRY("ljmp $0x1000, $0")
	TRY("lcall $0x78, $0")
	TRY("mov $0x98, %eax\nlldt %ax")
	TRY("mov $0x0c, %eax\nmov %eax, %fs")
	TRY("mov $0x10, %eax\nlldt %ax")
	TRY("mov $0x88, %eax\nltr %ax")
	TRY("mov $0x88, %eax\nltr %ax")
	TRY("mov $0x10, %eax\nlar %eax, %ebx\nand $0xf0ffff, %ebx\n"
	    "lsl %eax, %ecx")
	TRY("mov $0x1000, %eax\nlar %eax, %ebx\nand $0xf0ffff, %ebx\n"
	    "lsl %eax, %ecx")
	TRY("mov $0x60, %eax\nverr %ax\nsetz %bl\nverw %ax\nsetz %bh")
	TRY("pushl $0x4002\npopfl\niret\n")
	TRY("pushl $2\npopfl"));

SCRIPT(32, user32,
	"pushl $0x2b\npushl $0x2e800\npushl $0x3202\npushl $0x23\n"
	"pushl $(1f - 0b + 0x8000)\niret\n" "1:\n" STEP
	TRY("cli")
	TRY("sti")
	TRY("hlt")
	TRY("mov $0x2b, %eax\nmov %eax, %ds\nmov %eax, %es")
	TRY("in $0x60, %al")
	TRY("int3")
	TRY("xor %eax, %eax\ndec %al\nadd $0x7fffff81, %eax\ninto")
	TRY("int $0x80")
	TRY("int $0x30")
	TRY("lcall $0x7b, $0")
	TRY("lcall $0x73, $(9f - 0b + 0x8000)")
	TRY("mov $0x10, %eax\nmov %eax, %es"));

SCRIPT(16, exceptions16,
	TRY("xor %cx, %cx\nmov $7, %ax\ncwd\ndiv %cx")
	TRY("int3")
	TRY("int $0x61")
	TRY("mov $0x7fff, %ax\nadd $1, %ax\ninto")
	TRY("movw $5, 0xa000\nmovw $9, 0xa002\nmov $10, %ax\n"
	    "bound %ax, 0xa000")
	TRY("ud2")
	TRY("mov $0xfee, %ax\nmov %ax, %es\nmovw $0x55aa, %es:0x20")
	TRY("str %ax")
	TRY("lldt %ax")
	TRY("smsw %ax")
	TRY("pushf\npop %ax")
	TRY("mov $0xffff, %ax\npush %ax\npopf\npushf\npop %ax")
	TRY("cli\npush $2\npopf"));
/* clang-format on */

/* As QEMU forgets it for an injected #PF, the CPU must raise that by itself. */
/* clang-format off */
SCRIPT(64, double_fault,
	TRY("ud2")
	TRY("mov $" UNMAPPED ", %rsi\nmov 8(%rsi), %eax"));

SCRIPT(64, absent_gate,
	TRY("ud2")
	TRY("int $0x31")
	TRY("int3"));

SCRIPT(64, triple64,
	TRY("ud2"));

SCRIPT(32, triple32,
	TRY("int $0x80"));

SCRIPT(16, triple16,
	TRY("int $0x80"));
/* clang-format on */

static void remove_gate(struct vcpu *vcpu, u32 vector)
{
	vcpu->vm->mem[IDT64_GPA + vector * 16 + 5] &= 0x7f;
}

static void without_pf_gate(struct vcpu *vcpu)
{
	remove_gate(vcpu, PF_VECTOR);
}

static void without_gates(struct vcpu *vcpu)
{
	remove_gate(vcpu, UD_VECTOR);
	remove_gate(vcpu, BP_VECTOR);
	remove_gate(vcpu, 0x31);
}

static void without_pf_and_df(struct vcpu *vcpu)
{
	remove_gate(vcpu, PF_VECTOR);
	remove_gate(vcpu, DF_VECTOR);
}

static void without_idt(struct vcpu *vcpu)
{
	struct kvm_sregs s;

	vcpu_get_sregs(vcpu, &s);
	s.idt.limit = 0;
	script_set_sregs(vcpu, &s);
}

#define TF_ON "pushf\norl $0x100, (%rsp)\npopf\n"
#define TF_OFF "pushf\nandl $~0x100, (%rsp)\npopf\n"

/* Instructions that exit are stepped over like others. No STI, see below. */
/* clang-format off */
SCRIPT(64, single_step,
	TF_ON "nop\nmov $1, %eax\n" TF_OFF STEP
	TF_ON "xor %eax, %eax\ncpuid\nnop\n" TF_OFF STEP
	"mov %ss, %ecx\n" TF_ON "mov %ecx, %ss\nnop\nnop\n" TF_OFF STEP
	TF_ON "int $0x80\nnop\n" TF_OFF STEP
	TF_ON "out %al, $0x55\nnop\n" TF_OFF STEP
	"mov $3, %ecx\nmov $0xa000, %edi\nmov $0x61, %al\n" TF_ON
	"rep stosb\nnop\n" TF_OFF STEP
	"mov $0xc0000080, %ecx\n" TF_ON "rdmsr\nnop\n" TF_OFF STEP
	TF_ON "mov %cr0, %rax\nmov %rax, %cr0\nnop\n" TF_OFF STEP
	"xor %eax, %eax\nmov %rax, %dr6\nmov %dr6, %rbx\n");

SCRIPT(64, single_step_mmio,
	"mov $0xd0000000, %esi\n" TF_ON "mov %eax, (%rsi)\nnop\n" TF_OFF STEP
	TF_ON "mov (%rsi), %eax\nnop\n" TF_OFF STEP);

SCRIPT(64, debug_registers,
	TRY("mov $0x1234, %eax\nmov %rax, %dr0\nmov %dr0, %rbx")
	TRY("mov $0x123456789abc, %rax\nmov %rax, %dr3\nmov %dr3, %rbx")
	TRY("mov %dr6, %rbx\nmov %dr7, %rcx")
	TRY("mov $0x100000000, %rax\nmov %rax, %dr6")
	TRY("mov $0x100000000, %rax\nmov %rax, %dr7")
	TRY("xor %eax, %eax\nmov %rax, %dr6\nmov %dr6, %rbx")
	TRY("mov %dr4, %rbx\nmov %dr5, %rcx")
	TRY("mov %cr4, %rax\nor $8, %rax\nmov %rax, %cr4\nmov %dr4, %rbx")
	TRY("mov $0x400, %eax\nmov %rax, %dr7\nmov %dr7, %rbx"));

SCRIPT(64, debug_detect,
	TRY("mov $-1, %eax\nmov %rax, %dr6\nmov %dr6, %rbx")
	TRY("mov $0x2400, %eax\nmov %rax, %dr7\nmov %dr1, %rbx")
	TRY("mov %dr7, %rbx"));
/* clang-format on */

#define S(name_, mode_, code_, ...)                             \
	{                                                       \
		name_, mode_, code_, code_##_end, ##__VA_ARGS__ \
	}

void view_exceptions(void)
{
	static const struct script scripts[] = {
		S("exceptions_64", MODE_LONG, exceptions64),
		S("exceptions_fpu", MODE_LONG, fpu_exceptions),
		S("exceptions_user_64", MODE_LONG, user64),
		S("exceptions_32", MODE_PROT, exceptions32),
		S("exceptions_user_32", MODE_PAE, user32),
		S("exceptions_16", MODE_REAL, exceptions16),
		S("double_fault", MODE_LONG, double_fault,
		  .prepare = without_pf_gate),
		S("absent_gate", MODE_LONG, absent_gate,
		  .prepare = without_gates),
		S("triple_fault", MODE_LONG, double_fault,
		  .prepare = without_pf_and_df),
		S("triple_fault_64", MODE_LONG, triple64,
		  .prepare = without_idt),
		S("triple_fault_32", MODE_PROT, triple32,
		  .prepare = without_idt),
		S("triple_fault_16", MODE_REAL, triple16,
		  .prepare = without_idt),
		S("single_step", MODE_LONG, single_step, .flags = LOOPS),
		S("single_step_mmio", MODE_LONG, single_step_mmio,
		  .flags = LOOPS),
		S("debug_registers", MODE_LONG, debug_registers),
		S("debug_detect", MODE_LONG, debug_detect),
	};

	scripts_run(scripts, ARRAY_LEN(scripts));
}
