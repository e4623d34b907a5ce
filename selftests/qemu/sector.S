/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A boot sector: 16-bit code, which greets by the BIOS, puts known values into
 * registers, and counts in memory: its turns, and NMIs. Both count from a mark on:
 * before, the BIOS may have used that memory.
 */
	.code16
	.globl	_start, again, stepped, jumping, turns, nmis
	.set	turns, 0x600
	.set	nmis, 0x604
	.set	mark, 0x608

_start:
	ljmp	$0, $1f
1:	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movw	$0x7c00, %sp
	movl	%eax, turns
	movl	%eax, nmis
	movl	$0x5ec70412, mark
	movw	$nmi, 2 * 4
	movw	%ax, 2 * 4 + 2

	movw	$text, %si
	cld
2:	lodsb
	testb	%al, %al
	jz	3f
	movb	$0x0e, %ah
	movw	$7, %bx
	int	$0x10
	jmp	2b

3:	movl	$0x11223344, %eax
	movl	$0x55667788, %ebx
	movl	$0x99aabbcc, %edx
again:	incl	turns
stepped:
	nop
jumping:
	jmp	again

nmi:	incl	nmis
	iret

text:	.asciz	"Hello from sixteen bits.\r\n"

	.org	510
	.word	0xaa55
