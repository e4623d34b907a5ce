// SPDX-License-Identifier: GPL-2.0-only
/* From real mode through all others and back. */
#include "view.h"

#define CR0_SET(bit) "mov %cr0, %eax\nbts $" #bit ", %eax\nmov %eax, %cr0\n"
#define CR0_CLEAR(bit) "mov %cr0, %eax\nbtr $" #bit ", %eax\nmov %eax, %cr0\n"
#define SEGMENTS(selector)                                         \
	"mov $" #selector ", %eax\nmov %eax, %ds\nmov %eax, %es\n" \
	"mov %eax, %fs\nmov %eax, %gs\nmov %eax, %ss\n"

/* clang-format off */
SCRIPT(16, all_modes,
	"lgdtl 0xa000\nlidtl 0xa010\n" STEP
	CR0_SET(0) "ljmpl $0x08, $(1f - 0b + 0x8000)\n" ".code32\n1:\n"
	SEGMENTS(0x10) "mov $0x2f000, %esp\n" STEP
	"int $0x30\n" "mov $0xa8, %eax\nltr %ax\nxor %eax, %eax\nlldt %ax\n"
	STEP
	/* PAE paging */
	"mov %cr4, %eax\nbts $5, %eax\nmov %eax, %cr4\n"
	"mov $0x106000, %eax\nmov %eax, %cr3\n" CR0_SET(31) STEP
	"int $0x30\n" CR0_CLEAR(31) STEP
	/* compatibility mode */
	"mov $0xc0000080, %ecx\nrdmsr\nbts $8, %eax\nwrmsr\n" STEP
	"mov $0x100000, %eax\nmov %eax, %cr3\n" CR0_SET(31) STEP
	"lidtl 0xa020\n" "mov $0x98, %eax\nlldt %ax\n" STEP
	"int $0x30\n" "ljmpl $0x18, $(2f - 0b + 0x8000)\n" ".code64\n2:\n"
	STEP
	"mov $-1, %rbx\nmov $-2, %r9\n" STEP
	"int $0x30\n" "mov $0x203000, %esp\n"
	TRY("mov %cr4, %rax\nbtr $5, %rax\nmov %rax, %cr4")
	TRY("mov %cr0, %rax\nbtr $31, %rax\nmov %rax, %cr0")
	"xor %eax, %eax\nmov %eax, %ss\nmov %eax, %ds\n" STEP
	"int $0x30\n" "sgdt 0xa100\nsidt 0xa110\nstr %eax\nsldt %ecx\n" STEP
	"pushq $0x08\npushq $(3f - 0b + 0x8000)\nlretq\n" ".code32\n3:\n" STEP
	SEGMENTS(0x10) STEP
	CR0_CLEAR(31) STEP
	"mov $0xc0000080, %ecx\nrdmsr\nbtr $8, %eax\nwrmsr\n" STEP
	"lidtl 0xa010\nmov $0x2f000, %esp\n" STEP
	/* virtual 8086 mode, and out of it by #GP */
	"pushl $0\npushl $0\npushl $0\npushl $0\npushl $0\npushl $0x7f00\n"
	"pushl $0x20002\npushl $0\npushl $(5f - 0b + 0x8000)\niretl\n"
	".code16\n5:\n" "mov $0x900, %ax\nmov %ax, %es\n"
	TRY_ONLY("out %al, $0x60")
	TRY_ONLY("int $0x30")
	TRY_ONLY("cli")
	TRY_ONLY("pushf")
	TRY_ONLY("hlt")
	"int3\n" STEP
	/* Leave by an address that the handler's IRET finds on its stack. */
	HOST(1) "" ".code32\n6:\n" SEGMENTS(0x10) "mov $0x2f000, %esp\n" STEP
	"ljmpl $0x38, $(4f - 0b + 0x8000)\n" ".code16\n4:\n" SEGMENTS(0x40)
	STEP
	CR0_CLEAR(0) STEP
	"ljmpl $0, $(7f - 0b + 0x8000)\n"
	"7: xor %ax, %ax\nmov %ax, %ss\nmov %ax, %ds\nmov %ax, %es\n"
	"mov %ax, %fs\nmov %ax, %gs\nmov $0x8000, %esp\nlidtl 0xa030\n" STEP
	"int $0x30\n" STEP);
/* clang-format on */

static void put_table(struct vcpu *vcpu, u64 gpa, u64 base, u16 limit)
{
	memcpy(vcpu->vm->mem + gpa, &limit, 2);
	memcpy(vcpu->vm->mem + gpa + 2, &base, 4);
}

static void fill_tables(struct vcpu *vcpu)
{
	put_table(vcpu, 0xa000, GDT_GPA, 0xfff);
	put_table(vcpu, 0xa010, IDT32_GPA, 0x7ff);
	put_table(vcpu, 0xa020, IDT64_GPA, 0xfff);
	put_table(vcpu, 0xa030, 0, 0x3ff);
	vcpu->vm->mem[GDT_GPA + TSS + 5] &= ~2; /* not busy */
}

/* After virtual 8086 mode: on in 32-bit code, behind the OUT. */
static void leave_v86(struct vcpu *vcpu, u32 what)
{
	struct kvm_sregs s;
	struct kvm_regs r;

	if (what >= HOST_WINDOW)
		return;
	vcpu_get_regs(vcpu, &r);
	r.rflags = 2;
	vcpu_get_sregs(vcpu, &s);
	s.cs = (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = CS32,
		.type = 11,
		.present = 1,
		.s = 1,
		.db = 1,
		.g = 1,
	};
	s.ss = s.cs;
	s.ss.selector = DATA;
	s.ss.type = 3;
	s.ds = s.es = s.fs = s.gs = s.ss;
	vcpu_set_regs(vcpu, &r);
	script_set_sregs(vcpu, &s);
	record_state(vcpu);
}

void view_modes(void)
{
	static const struct script scripts[] = {
		{ "modes", MODE_REAL, all_modes, all_modes_end,
		  .prepare = fill_tables, .on_host = leave_v86 },
	};

	scripts_run(scripts, ARRAY_LEN(scripts));
}
