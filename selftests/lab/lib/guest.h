/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest side of the lab selftests: what a guest function written in C may use.
 *
 * A guest reports to its test by port output. It must not call into the C
 * library, whose functions may have been resolved to instructions that only
 * the host has.
 */
#ifndef SELFTESTS_GUEST_H
#define SELFTESTS_GUEST_H

#include "lab.h"

/* Trap entry saves no other registers, so handlers must not use any. */
#pragma GCC target("general-regs-only")

#define SYNC_PORT 0x5a0
#define FAIL_PORT 0x5a4

/* Vectors */
#define DE_VECTOR 0
#define DB_VECTOR 1
#define NMI_VECTOR 2
#define BP_VECTOR 3
#define UD_VECTOR 6
#define NM_VECTOR 7
#define DF_VECTOR 8
#define NP_VECTOR 11
#define SS_VECTOR 12
#define GP_VECTOR 13
#define PF_VECTOR 14
#define MF_VECTOR 16

#define X86_CR0_PE (1u << 0)
#define X86_CR0_MP (1u << 1)
#define X86_CR0_EM (1u << 2)
#define X86_CR0_TS (1u << 3)
#define X86_CR0_ET (1u << 4)
#define X86_CR0_NE (1u << 5)
#define X86_CR0_WP (1u << 16)
#define X86_CR0_NW (1u << 29)
#define X86_CR0_CD (1u << 30)
#define X86_CR0_PG (1u << 31)
#define X86_CR4_PSE (1u << 4)
#define X86_CR4_PAE (1u << 5)
#define X86_CR4_OSFXSR (1u << 9)
#define X86_CR4_OSXSAVE (1u << 18)
#define EFER_SCE (1u << 0)
#define EFER_LME (1u << 8)
#define EFER_LMA (1u << 10)
#define EFER_NX (1u << 11)
#define EFER_SVME (1u << 12)
#define RFLAGS_IF (1u << 9)
#define RFLAGS_TF (1u << 8)

#define MSR_TSC 0x10
#define MSR_APIC_BASE 0x1b
#define MSR_TSC_ADJUST 0x3b
#define MSR_MTRR_CAP 0xfe
#define MSR_SYSENTER_CS 0x174
#define MSR_SYSENTER_ESP 0x175
#define MSR_SYSENTER_EIP 0x176
#define MSR_MISC_ENABLE 0x1a0
#define MSR_PAT 0x277
#define MSR_MTRR_DEF 0x2ff
#define MSR_TSC_DEADLINE 0x6e0
#define MSR_X2APIC 0x800
#define MSR_XSS 0xda0
#define MSR_EFER 0xc0000080
#define MSR_STAR 0xc0000081
#define MSR_LSTAR 0xc0000082
#define MSR_CSTAR 0xc0000083
#define MSR_SFMASK 0xc0000084
#define MSR_FS_BASE 0xc0000100
#define MSR_GS_BASE 0xc0000101
#define MSR_KERNEL_GS 0xc0000102
#define MSR_TSC_AUX 0xc0000103

/* What a trap handler finds on its stack, and may change. */
struct trap_frame {
	u64 r15, r14, r13, r12, r11, r10, r9, r8;
	u64 rbp, rdi, rsi, rdx, rcx, rbx, rax;
	u64 vector, error;
	u64 rip, cs, rflags, rsp, ss;
};

typedef void (*trap_handler_t)(struct trap_frame *frame);

extern trap_handler_t trap_handlers[256];
extern const u8 trap_stubs[];
#define TRAP_STUB_SIZE 16
#define TRAP_LINE 0x10000 /* "line" of a trap nobody handles */

/* Where application CPUs go once they are in long mode. */
extern void (*ap_main)(void);
extern const u8 sipi_code[], sipi_code_end[];

/* A guest function that returns reports this, for ever. */
#define GUEST_DONE 0xd07e
void guest_done(void);

void guest_fail(u64 want, u64 seen, u32 line) __attribute__((noreturn));

static inline void outb(u16 port, u8 value)
{
	asm volatile("outb %0, %1" ::"a"(value), "Nd"(port) : "memory");
}

static inline void outl(u16 port, u32 value)
{
	asm volatile("outl %0, %1" ::"a"(value), "Nd"(port) : "memory");
}

static inline u8 inb(u16 port)
{
	u8 value;

	asm volatile("inb %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

static inline u32 inl(u16 port)
{
	u32 value;

	asm volatile("inl %1, %0" : "=a"(value) : "Nd"(port) : "memory");
	return value;
}

/* Hand @value to the test, which runs this vCPU again to continue. */
static inline void guest_sync(u32 value)
{
	outl(SYNC_PORT, value);
}

/* Fail the test unless @a equals @b; both are shown. */
#define GUEST_EQ(a, b)                                  \
	do {                                            \
		u64 __a = (u64)(a), __b = (u64)(b);     \
                                                        \
		if (__a != __b)                         \
			guest_fail(__a, __b, __LINE__); \
	} while (0)

#define GUEST_ASSERT(cond) GUEST_EQ(1, !!(cond))

static inline u64 rdmsr(u32 index)
{
	u32 lo, hi;

	asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(index) : "memory");
	return lo | (u64)hi << 32;
}

static inline void wrmsr(u32 index, u64 value)
{
	asm volatile("wrmsr" ::"a"((u32)value), "d"((u32)(value >> 32)),
		     "c"(index)
		     : "memory");
}

static inline u64 rdtsc(void)
{
	u32 lo, hi;

	asm volatile("lfence; rdtsc" : "=a"(lo), "=d"(hi)::"memory");
	return lo | (u64)hi << 32;
}

struct cpuid_regs {
	u32 eax, ebx, ecx, edx;
};

static inline struct cpuid_regs cpuid(u32 function, u32 index)
{
	struct cpuid_regs r;

	asm volatile("cpuid"
		     : "=a"(r.eax), "=b"(r.ebx), "=c"(r.ecx), "=d"(r.edx)
		     : "a"(function), "c"(index)
		     : "memory");
	return r;
}

#define READ_REG(name)                                                     \
	({                                                                 \
		u64 __v;                                                   \
                                                                           \
		asm volatile("mov %%" #name ", %0" : "=r"(__v)::"memory"); \
		__v;                                                       \
	})
#define WRITE_REG(name, value) \
	asm volatile("mov %0, %%" #name ::"r"((u64)(value)) : "memory")

static inline void sti(void)
{
	asm volatile("sti" ::: "memory");
}

static inline void cli(void)
{
	asm volatile("cli" ::: "memory");
}

/* Enable interrupts and wait for one, with no window between the two. */
static inline void sti_hlt(void)
{
	asm volatile("sti; hlt" ::: "memory");
}

static inline void pause_cpu(void)
{
	asm volatile("pause" ::: "memory");
}

static inline u32 mmio_read32(u64 gpa)
{
	u32 value;

	asm volatile("movl (%1), %0" : "=r"(value) : "r"(gpa) : "memory");
	return value;
}

static inline void mmio_write32(u64 gpa, u32 value)
{
	asm volatile("movl %0, (%1)" ::"r"(value), "r"(gpa) : "memory");
}

#define APIC_GPA 0xfee00000ul
#define APIC_ID 0x20
#define APIC_VERSION 0x30
#define APIC_TPR 0x80
#define APIC_PPR 0xa0
#define APIC_EOI 0xb0
#define APIC_LDR 0xd0
#define APIC_DFR 0xe0
#define APIC_SPIV 0xf0
#define APIC_ISR 0x100
#define APIC_IRR 0x200
#define APIC_ESR 0x280
#define APIC_ICR 0x300
#define APIC_ICR2 0x310
#define APIC_LVTT 0x320
#define APIC_LVT0 0x350
#define APIC_LVT1 0x360
#define APIC_TMICT 0x380
#define APIC_TMCCT 0x390
#define APIC_TDCR 0x3e0

#define ICR_FIXED 0x000u
#define ICR_LOWEST 0x100u
#define ICR_NMI 0x400u
#define ICR_INIT 0x500u
#define ICR_SIPI 0x600u
#define ICR_LOGICAL 0x800u
#define ICR_ASSERT 0x4000u
#define ICR_LEVEL 0x8000u
#define ICR_SELF 0x40000u
#define ICR_ALL 0x80000u
#define ICR_OTHERS 0xc0000u

static inline u32 apic_read(u32 reg)
{
	return mmio_read32(APIC_GPA + reg);
}

static inline void apic_write(u32 reg, u32 value)
{
	mmio_write32(APIC_GPA + reg, value);
}

static inline void apic_enable(void)
{
	apic_write(APIC_SPIV, 0x1ff);
}

static inline void apic_eoi(void)
{
	apic_write(APIC_EOI, 0);
}

static inline void apic_icr(u32 dest, u32 command)
{
	apic_write(APIC_ICR2, dest << 24);
	apic_write(APIC_ICR, command);
}

/*
 * GUEST_CATCH - run one instruction that may fault
 *
 * Value: the vector, with the error code shifted left by eight, or NO_TRAP.
 * The instruction must not use R10 and R11, which tell the trap entry where to
 * go on, and must not change its operands: those that do are for
 * GUEST_CATCH_CHANGING(), which takes them as OPERANDS().
 */
#define NO_TRAP (~0ull)
#define CATCH_MAGIC 0x6863746163ull
#define OPERANDS(...) __VA_ARGS__
#define GUEST_CATCH(insn, ...) \
	GUEST_CATCH_CHANGING(insn, [dummy] "=m"(__trap), ##__VA_ARGS__)
#define GUEST_CATCH_CHANGING(insn, changed, ...)                       \
	({                                                             \
		u64 __trap;                                            \
                                                                       \
		asm volatile("lea 1f(%%rip), %%r10\n\t"                \
			     "mov %[magic], %%r11\n\t" insn "\n\t"     \
			     "mov $-1, %%r11\n"                        \
			     "1:\tmov %%r11, %[trap]\n\t"              \
			     "xor %%r11d, %%r11d"                      \
			     : [trap] "=m"(__trap), changed            \
			     : [magic] "i"(CATCH_MAGIC), ##__VA_ARGS__ \
			     : "r10", "r11", "memory");                \
		__trap;                                                \
	})

#define EDX_EAX(v) "a"((u32)(v)), "d"((u32)((u64)(v) >> 32))
#define CATCH_WRMSR(index, v) GUEST_CATCH("wrmsr", "c"(index), EDX_EAX(v))
#define CATCH_XSETBV(index, v) GUEST_CATCH("xsetbv", "c"(index), EDX_EAX(v))
#define CATCH_RDMSR(index)                                                    \
	({                                                                    \
		u64 __a = 0, __d = 0;                                         \
                                                                              \
		GUEST_CATCH_CHANGING("rdmsr", OPERANDS("+a"(__a), "+d"(__d)), \
				     "c"(index));                             \
	})

#endif /* SELFTESTS_GUEST_H */
