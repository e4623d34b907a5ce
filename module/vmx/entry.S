/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The world switch:
 * int vmx_enter(struct lv_vcpu *v, u64 flags, u64 *host_rsp, u64 spec_ctrl)
 *
 * VM entry and exit switch RSP, RIP, RFLAGS, control and segment registers
 * with the VMCS. All other general registers are switched here. struct lv_vcpu
 * starts with the guest's, in hardware encoding.
 *
 * Called with interrupts off, and they stay off: an interrupt that ends the
 * guest stays pending until the run loop turns them on.
 */
#include <linux/linkage.h>
#include <asm/alternative.h>
#include <asm/asm.h>
#include <asm/cpufeatures.h>
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>
#include <asm/segment.h>
#include <asm/unwind_hints.h>

#define REG(n) (8 * (n))
#define HOST_RSP 0x6c14			/* VMCS field */

/* What vmx.h calls VMX_ENTER_*. */
#define LAUNCHED 0
#define VERW 1
#define SPEC_CTRL 2

	.text

SYM_FUNC_START(vmx_enter)
	push	%rbp
	push	%r15
	push	%r14
	push	%r13
	push	%r12
	push	%rbx
	push	%rcx			/* 16(%rsp): the host's SPEC_CTRL */
	push	%rsi			/*  8(%rsp): flags */
	push	%rdi			/*   (%rsp): vCPU */

	cmp	%rsp, (%rdx)		/* the same call depth, nearly always */
	je	.Lrsp_is_right
	mov	%rsp, (%rdx)
	mov	$HOST_RSP, %eax
	vmwrite	%rsp, %rax
.Lrsp_is_right:

	/*
	 * ZF and CF carry two flags to the end: MOV leaves them alone, and
	 * VERW writes only ZF, after that was used.
	 */
	testb	$(1 << VERW), 8(%rsp)
	btl	$LAUNCHED, 8(%rsp)

	mov	REG(0)(%rdi), %rax
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

	jz	.Lbuffers_clear
	/* MDS and kin: the guest must not read what the host left behind. */
	verw	vmx_verw_selector(%rip)
.Lbuffers_clear:
	UNWIND_HINT_SAVE
	jnc	.Llaunch
	vmresume
	jmp	.Lfailed
.Llaunch:
	vmlaunch
	jmp	.Lfailed

/* VM exits arrive here, with RSP and RIP from the VMCS. */
SYM_INNER_LABEL_ALIGN(vmx_exit, SYM_L_GLOBAL)
	UNWIND_HINT_RESTORE
	ENDBR
	push	%rax
	mov	8(%rsp), %rax		/* vCPU */
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
	pop	REG(0)(%rax)
	xor	%ebx, %ebx		/* result */

.Lback:
	/* No return may be predicted from what the guest put in the RSB. */
	FILL_RETURN_BUFFER %rcx, RSB_CLEAR_LOOPS, X86_FEATURE_RSB_VMEXIT, \
			   X86_FEATURE_RSB_VMEXIT_LITE

	/* The guest's SPEC_CTRL must not govern the first RET. */
	testb	$(1 << SPEC_CTRL), 8(%rsp)
	jz	.Lspec_ctrl_is_right
	mov	$MSR_IA32_SPEC_CTRL, %ecx
	mov	16(%rsp), %eax
	mov	20(%rsp), %edx
	wrmsr
.Lspec_ctrl_is_right:
	CLEAR_BRANCH_HISTORY_VMEXIT

	/* Guest values must not steer host speculation. */
	xor	%ecx, %ecx
	xor	%edx, %edx
	xor	%esi, %esi
	xor	%edi, %edi
	xor	%ebp, %ebp
	xor	%r8d, %r8d
	xor	%r9d, %r9d
	xor	%r10d, %r10d
	xor	%r11d, %r11d

	mov	%ebx, %eax
	add	$24, %rsp
	pop	%rbx
	pop	%r12
	pop	%r13
	pop	%r14
	pop	%r15
	pop	%rbp
	RET

.Lfailed:
	mov	$1, %ebx
	jmp	.Lback
SYM_FUNC_END(vmx_enter)

/*
 * void vmx_call_handler(unsigned long handler): what the CPU does for an interrupt.
 * The handler's IRET takes the frame down. Interrupts are off, and stay off.
 */
SYM_FUNC_START(vmx_call_handler)
	push	%rbp
	mov	%rsp, %rbp
	and	$-16, %rsp		/* the frame is aligned */
	push	$__KERNEL_DS		/* SS */
	push	%rbp			/* RSP, without the frame */
	pushf
	push	$__KERNEL_CS
	CALL_NOSPEC rdi			/* and RIP */
	mov	%rbp, %rsp		/* as it is already: for objtool */
	pop	%rbp
	RET
SYM_FUNC_END(vmx_call_handler)

	.section .rodata
/* VERW clears the buffers only with a selector that is writable data. */
SYM_DATA_LOCAL(vmx_verw_selector, .word __KERNEL_DS)
