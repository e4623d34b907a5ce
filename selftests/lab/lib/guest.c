// SPDX-License-Identifier: GPL-2.0-only
/* The little kernel under every C guest: trap entry and CPU start-up. */
#include "guest.h"

trap_handler_t trap_handlers[256];
void (*ap_main)(void);
u32 ap_tickets;

/*
 * One stub per vector, TRAP_STUB_SIZE apart. Vectors without an error code
 * push a zero, so that all frames are alike.
 */
asm(".pushsection .text\n"
    ".balign 16\n"
    ".globl trap_stubs\n"
    "trap_stubs:\n"
    "vector = 0\n"
    ".rept 256\n"
    "	.balign 16\n"
    "	.if vector == 8 || (vector >= 10 && vector <= 14) || vector == 17\n"
    "	.else\n"
    "	push $0\n"
    "	.endif\n"
    "	push $vector\n"
    "	jmp trap_common\n"
    "	vector = vector + 1\n"
    ".endr\n"
    "trap_common:\n"
    "	push %rax; push %rbx; push %rcx; push %rdx\n"
    "	push %rsi; push %rdi; push %rbp\n"
    "	push %r8; push %r9; push %r10; push %r11\n"
    "	push %r12; push %r13; push %r14; push %r15\n"
    "	cld\n"
    "	mov %rsp, %rdi\n"
    "	mov %rsp, %rbp\n"
    "	and $-16, %rsp\n"
    "	call trap_dispatch\n"
    "	mov %rbp, %rsp\n"
    "	pop %r15; pop %r14; pop %r13; pop %r12\n"
    "	pop %r11; pop %r10; pop %r9; pop %r8\n"
    "	pop %rbp; pop %rdi; pop %rsi\n"
    "	pop %rdx; pop %rcx; pop %rbx; pop %rax\n"
    "	add $16, %rsp\n"
    "	iretq\n"
    ".popsection");

void trap_dispatch(struct trap_frame *frame);
void trap_dispatch(struct trap_frame *frame)
{
	if (frame->r11 == CATCH_MAGIC && frame->vector < 32) {
		frame->rip = frame->r10;
		frame->r11 = frame->vector | frame->error << 8;
	} else if (trap_handlers[frame->vector]) {
		trap_handlers[frame->vector](frame);
	} else {
		guest_fail(frame->rip, frame->error, TRAP_LINE + frame->vector);
	}
}

void guest_fail(u64 want, u64 seen, u32 line)
{
	for (;;)
		asm volatile("outl %0, %1" ::"a"(line), "d"((u16)FAIL_PORT),
			     "b"(want), "c"(seen)
			     : "memory");
}

void guest_done(void)
{
	for (;;)
		guest_sync(GUEST_DONE);
}

/*
 * Application CPUs start here in real mode, at SIPI_GPA, and share the page
 * tables, the GDT and the IDT that the host laid out. The order of arrival
 * decides which stack and which TSS a CPU gets.
 */
asm(".pushsection .rodata\n"
    ".code16\n"
    ".globl sipi_code, sipi_code_end\n"
    "sipi_code:\n"
    "	cli\n"
    "	xor %ax, %ax\n"
    "	mov %ax, %ds\n"
    "	lgdtl 0x6000 + (sipi_gdtr - sipi_code)\n"
    "	mov $0x220, %eax\n" /* CR4: PAE, OSFXSR */
    "	mov %eax, %cr4\n"
    "	mov $0x100000, %eax\n"
    "	mov %eax, %cr3\n"
    "	mov $0xc0000080, %ecx\n"
    "	mov $0x900, %eax\n" /* EFER: LME, NX */
    "	xor %edx, %edx\n"
    "	wrmsr\n"
    "	mov $0x80010033, %eax\n" /* CR0: PG, WP, NE, ET, MP, PE */
    "	mov %eax, %cr0\n"
    "	ljmpl $0x18, $(0x6000 + (sipi_long - sipi_code))\n"
    ".code64\n"
    "sipi_long:\n"
    "	mov $0x10, %eax\n"
    "	mov %eax, %ds\n"
    "	mov %eax, %es\n"
    "	mov %eax, %ss\n"
    "	lidt 0x6000 + (sipi_idtr - sipi_code)\n"
    "	mov $1, %eax\n"
    "	lock xadd %eax, ap_tickets\n"
    "	inc %eax\n"
    "	mov %eax, %esp\n"
    "	inc %esp\n"
    "	shl $14, %rsp\n"
    "	add $0x200000, %rsp\n"
    "	shl $4, %eax\n"
    "	add $0x40, %eax\n"
    "	ltr %ax\n"
    "	mov $guest_done, %eax\n"
    "	push %rax\n"
    "	jmp *ap_main\n"
    ".balign 8\n"
    "sipi_gdtr:	.word 0xfff\n"
    "	.quad 0x108000\n"
    "sipi_idtr:	.word 0xfff\n"
    "	.quad 0x109000\n"
    "sipi_code_end:\n"
    ".popsection");
