/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The world switch:
 * void svm_enter(struct lv_vcpu *v, hpa_t vmcb, hpa_t host, u64 shadow)
 *
 * VMRUN switches RAX, RSP, RIP, RFLAGS, control and segment registers with
 * the VMCB; VMLOAD and VMSAVE switch FS, GS, TR, LDTR and the system call
 * MSRs. All other general registers are switched here. struct lv_vcpu starts
 * with the guest's, in hardware encoding.
 *
 * Called with interrupts off. They are on in the flags while the guest runs,
 * so that a host interrupt ends it, but the global interrupt flag stays clear
 * until the host's own segments are back.
 */
#include <linux/linkage.h>
#include <asm/alternative.h>
#include <asm/asm.h>
#include <asm/cpufeatures.h>
#include <asm/nospec-branch.h>
#include <asm/segment.h>

#include "../compat.h"

#define REG(n) (8 * (n))

	.section .rodata
.Lselector:				/* VERW wants a valid one in memory */
	.word	__KERNEL_DS

	.text

SYM_FUNC_START(svm_enter)
	push	%rbp
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%rbx
	push	%rcx			/* is the guest in an interrupt shadow? */
	push	%rdx			/* host area, for the way back */
	push	%rdi			/* vCPU, for the way back */

	clgi
	/*
	 * VMRUN saves this: host interrupts exit. Not just before VMRUN, where
	 * the interrupt shadow of STI would extend into the guest.
	 */
	sti
	mov	%rsi, %rax		/* VMRUN and VMLOAD address the VMCB by RAX */
	vmload	%rax

	mov	REG(1)(%rdi), %rcx
	mov	REG(2)(%rdi), %rdx
	mov	REG(3)(%rdi), %rbx
	mov	REG(5)(%rdi), %rbp
	mov	REG(6)(%rdi), %rsi
	mov	REG(8)(%rdi), %r8
	mov	REG(9)(%rdi), %r9
	mov	REG(10)(%rdi), %r10
	mov	REG(11)(%rdi), %r11
	mov	REG(12)(%rdi), %r12
	mov	REG(13)(%rdi), %r13
	mov	REG(14)(%rdi), %r14
	mov	REG(15)(%rdi), %r15
	mov	REG(7)(%rdi), %rdi

#ifdef X86_FEATURE_CLEAR_CPU_BUF_VM
	/* TSA: the CPU's buffers must not carry host data into the guest. */
	ALTERNATIVE "jmp .Lbuffers_clear", "", X86_FEATURE_CLEAR_CPU_BUF_VM
	verw	.Lselector(%rip)
.Lbuffers_clear:
#endif
	cmpb	$0, 16(%rsp)
	je	.Lenter
	/* QEMU ignores the VMCB's shadow, but takes over that of STI. */
	sti
.Lenter:
	vmrun	%rax
	cli

	vmsave	%rax			/* RAX is the VMCB again */
	mov	(%rsp), %rax
	mov	%rcx, REG(1)(%rax)
	mov	%rdx, REG(2)(%rax)
	mov	%rbx, REG(3)(%rax)
	mov	%rbp, REG(5)(%rax)
	mov	%rsi, REG(6)(%rax)
	mov	%rdi, REG(7)(%rax)
	mov	%r8, REG(8)(%rax)
	mov	%r9, REG(9)(%rax)
	mov	%r10, REG(10)(%rax)
	mov	%r11, REG(11)(%rax)
	mov	%r12, REG(12)(%rax)
	mov	%r13, REG(13)(%rax)
	mov	%r14, REG(14)(%rax)
	mov	%r15, REG(15)(%rax)

	mov	8(%rsp), %rax
	vmload	%rax			/* GS is the host's again */

	/* No return may be predicted from what the guest put in the RSB. */
	FILL_RETURN_BUFFER %rax, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT
	LV_UNTRAIN_RET_VM

	/* Guest values must not steer host speculation. */
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d
	stgi				/* a pending NMI is taken here */

	add	$24, %rsp
	pop	%rbx
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	pop	%rbp
	RET
SYM_FUNC_END(svm_enter)
