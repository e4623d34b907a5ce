/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The VMX instructions.
 *
 * A reboot takes the CPU out of VMX operation under a vCPU that is loaded: then
 * they fault, and what they would have done does not matter any more.
 */
#ifndef LABVISOR_VMX_INSN_H
#define LABVISOR_VMX_INSN_H

#include <linux/errno.h>
#include <linux/types.h>
#include <asm/asm.h>

/* It would tear the operands in macros apart. */
/* clang-format off */

static __always_inline u64 vmcs_read(u32 field)
{
	u64 val;

	asm volatile("1: vmread %1, %0\n"
		     "2:\n"
		     _ASM_EXTABLE_TYPE_REG(1b, 2b, EX_TYPE_ZERO_REG, %0)
		     : "=r"(val)
		     : "r"((u64)field)
		     : "cc");
	return val;
}

void vmcs_write_failed(u32 field, u64 val);

static __always_inline void vmcs_write(u32 field, u64 val)
{
	asm goto("1: vmwrite %1, %0\n"
		 "   jna %l[failed]\n"
		 "2:\n"
		 _ASM_EXTABLE(1b, 2b)
		 :
		 : "r"((u64)field), "rm"(val)
		 : "cc", "memory"
		 : failed);
	return;
failed:
	vmcs_write_failed(field, val);
}

/* They take the physical address of a region. Return: 0 or -EIO. */
#define VMX_REGION_INSN(name)                                        \
	static inline int name(phys_addr_t pa)                       \
	{                                                            \
		asm goto("1: " #name " %0\n"                         \
			 "   jna %l[failed]\n"                       \
			 _ASM_EXTABLE(1b, %l[failed])                \
			 :                                           \
			 : "m"(pa)                                   \
			 : "cc", "memory"                            \
			 : failed);                                  \
		return 0;                                            \
	failed:                                                      \
		return -EIO;                                         \
	}

VMX_REGION_INSN(vmxon)
VMX_REGION_INSN(vmclear)
VMX_REGION_INSN(vmptrld)

static inline void vmxoff(void)
{
	asm volatile("1: vmxoff\n"
		     "2:\n"
		     _ASM_EXTABLE(1b, 2b)
		     ::: "cc", "memory");
}

/* Drop translations; @what is a VPID or an EPT pointer. */
#define VMX_INVALIDATE_INSN(name)                                    \
	static inline void name(u64 type, u64 what)                  \
	{                                                            \
		const u64 descriptor[2] = { what };                  \
								     \
		asm volatile("1: " #name " %0, %1\n"                 \
			     "2:\n"                                  \
			     _ASM_EXTABLE(1b, 2b)                    \
			     :                                       \
			     : "m"(descriptor), "r"(type)            \
			     : "cc", "memory");                      \
	}

VMX_INVALIDATE_INSN(invept)
VMX_INVALIDATE_INSN(invvpid)

/* clang-format on */

#endif /* LABVISOR_VMX_INSN_H */
