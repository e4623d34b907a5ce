// SPDX-License-Identifier: GPL-2.0-only
/* CPUID, control registers, MSRs, paging, the FPU, system calls. */
#include "view.h"

/* ---- the table, the same for both vendors ---- */

/*
 * Features that the CPUs of both lab hosts have. The vendor is nobody's whose
 * instructions would have to be special.
 */
static const struct kvm_cpuid_entry2 table[] = {
	{ .function = 0,
	  .eax = 0xd,
	  .ebx = 0x68747541,
	  .ecx = 0x444d4163,
	  .edx = 0x69746e65 },
	{ .function = 1,
	  .eax = 0x00800f12,
	  .ebx = 0x00010800,
	  /* SSE3, SSSE3, CX16, SSE4.1, SSE4.2, x2APIC, MOVBE, POPCNT, XSAVE,
	   * AVX, hypervisor */
	  .ecx = 1 | 1 << 9 | 1 << 13 | 1 << 19 | 1 << 20 | 1 << 21 | 1 << 22 |
		 1 << 23 | 1 << 26 | 1 << 28 | 1u << 31,
	  /* FPU, VME, DE, PSE, TSC, MSR, PAE, MCE, CX8, APIC, SEP, MTRR, PGE,
	   * MCA, CMOV, PAT, PSE36, CLFSH, MMX, FXSR, SSE, SSE2 */
	  .edx = 0x0783fbff },
	{ .function = 4,
	  .index = 0,
	  .flags = 1,
	  .eax = 0x121,
	  .ebx = 0x1c0003f,
	  .ecx = 0x3f },
	{ .function = 4, .index = 1, .flags = 1 },
	{ .function = 7,
	  .flags = 1,
	  .ebx = 1 | 1 << 3 | 1 << 5 | 1 << 7 | 1 << 8 },
	{ .function = 0xd,
	  .index = 0,
	  .flags = 1,
	  .eax = 7,
	  .ebx = 0x240,
	  .ecx = 0x340 },
	{ .function = 0xd, .index = 1, .flags = 1, .eax = 1 },
	{ .function = 0xd, .index = 2, .flags = 1, .eax = 0x100, .ebx = 0x240 },
	{ .function = 0x40000000,
	  .eax = 0x40000001,
	  .ebx = 0x4b4d564b,
	  .ecx = 0x564b4d56,
	  .edx = 0x4d },
	{ .function = 0x40000001, .eax = 0x01000009 },
	{ .function = 0x80000000,
	  .eax = 0x80000008,
	  .ebx = 0x68747541,
	  .ecx = 0x444d4163,
	  .edx = 0x69746e65 },
	/* LAHF; SYSCALL, NX, RDTSCP, LM */
	{ .function = 0x80000001,
	  .eax = 0x00800f12,
	  .ecx = 1,
	  .edx = 1 << 11 | 1 << 20 | 1 << 27 | 1 << 29 },
	{ .function = 0x80000002,
	  .eax = 0x7762614c,
	  .ebx = 0x6f736976,
	  .ecx = 0x6576 },
	{ .function = 0x80000008, .eax = 0x3024 },
};

void set_cpuid_table(struct vcpu *vcpu)
{
	struct kvm_cpuid2 *cpuid = calloc(1, sizeof(*cpuid) + sizeof(table));

	if (!cpuid)
		die("out of memory");
	cpuid->nent = ARRAY_LEN(table);
	memcpy(cpuid->entries, table, sizeof(table));
	MUST(vcpu->fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
}

static void record_table(struct vcpu *vcpu)
{
	struct kvm_cpuid_entry2 *e;
	struct kvm_cpuid2 *cpuid;

	cpuid = calloc(1, sizeof(*cpuid) + 256 * sizeof(*e));
	if (!cpuid)
		die("out of memory");
	cpuid->nent = 256;
	MUST(vcpu->fd, KVM_GET_CPUID2, cpuid);
	/* KVM of 6.1 does not tell how many there are. */
	for (e = cpuid->entries; e < cpuid->entries + ARRAY_LEN(table); e++)
		note("  leaf %#x.%u flags %u: %#x %#x %#x %#x", e->function,
		     e->index, e->flags, e->eax, e->ebx, e->ecx, e->edx);
	free(cpuid);
}

/* A list of pairs at DATA_GPA, ended by -2: what EAX and ECX shall be. */
#define FOR_EACH_PAIR(text)                                             \
	"mov $0xa000, %edi\n"                                           \
	"1: mov (%rdi), %eax\nmov 4(%rdi), %ecx\nxor %edx, %edx\n" text \
	"add $8, %edi\ncmpl $-2, (%rdi)\njne 1b\n"

/* clang-format off */
SCRIPT(64, cpuid_code,
	FOR_EACH_PAIR("cpuid\n" STEP)
	/* what depends on other state */
	"mov %cr4, %rax\nor $0x40000, %rax\nmov %rax, %cr4\n"
	"mov $1, %eax\ncpuid\n" STEP
	"mov $0x1b, %ecx\nmov $0xfee00100, %eax\nxor %edx, %edx\nwrmsr\n"
	"mov $1, %eax\ncpuid\n" STEP);
/* clang-format on */

static void fill_leaves(struct vcpu *vcpu)
{
	static const u32 leaves[][2] = {
		{ 0, 0 },	   { 1, 0 },	      { 2, 0 },
		{ 4, 0 },	   { 4, 1 },	      { 4, 2 },
		{ 5, 0 },	   { 7, 0 },	      { 7, 1 },
		{ 0xb, 0 },	   { 0xd, 0 },	      { 0xd, 1 },
		{ 0xd, 2 },	   { 0xd, 3 },	      { 0xe, 0 },
		{ 0x20, 0 },	   { 0x7fffffff, 0 }, { 0x40000000, 0 },
		{ 0x40000001, 0 }, { 0x40000100, 0 }, { 0x80000000, 0 },
		{ 0x80000001, 0 }, { 0x80000002, 0 }, { 0x80000003, 0 },
		{ 0x80000008, 0 }, { 0x80000009, 0 }, { 0x8000001f, 0 },
		{ 0xc0000000, 0 }, { -1, -1 },	      { -2, -2 },
	};

	record_table(vcpu);
	memcpy(vcpu->vm->mem + DATA_GPA, leaves, sizeof(leaves));
}

/* ---- MSRs ---- */

/* clang-format off */
SCRIPT(64, rdmsr_code,
	FOR_EACH_PAIR(TRY("xor %eax, %eax\nrdmsr")));
/* clang-format on */

/* MSRs that both vendors have, and some that nobody has. */
static void fill_msrs(struct vcpu *vcpu)
{
	static const u32 msrs[] = {
		MSR_APIC_BASE,
		MSR_MTRR_CAP,
		MSR_SYSENTER_CS,
		MSR_SYSENTER_ESP,
		MSR_SYSENTER_EIP,
		0x17b,
		0x1d9,
		0x200,
		0x201,
		0x20f,
		0x210,
		0x250,
		0x251,
		0x258,
		0x259,
		0x268,
		0x26f,
		0x270,
		MSR_PAT,
		MSR_MTRR_DEF,
		0x800,
		0x808,
		MSR_EFER,
		MSR_STAR,
		MSR_LSTAR,
		MSR_CSTAR,
		MSR_SFMASK,
		MSR_FS_BASE,
		MSR_GS_BASE,
		MSR_KERNEL_GS,
		MSR_TSC_AUX,
		0x12345,
		0x7fffffff,
		0xc0000104,
		0xc0001fff,
		0xffffffff,
	};
	const u32 end = -2;
	u8 *to = vcpu->vm->mem + DATA_GPA;
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(msrs); i++, to += 8)
		memcpy(to + 4, &msrs[i], 4);
	memcpy(to, &end, 4);
}

/* A list at DATA_GPA of MSR, low and high half; 16 bytes each. */
/* clang-format off */
SCRIPT(64, wrmsr_code,
	"mov $0xa000, %edi\n"
	"1: mov (%rdi), %ecx\nmov 4(%rdi), %eax\nmov 8(%rdi), %edx\n"
	TRY("wrmsr\nrdmsr")
	"add $16, %edi\ncmpl $0, (%rdi)\njne 1b\n");
/* clang-format on */

/*
 * Not tried: addresses that are not canonical, in MSRs that the guest has to
 * itself. QEMU takes them.
 */
static void fill_writes(struct vcpu *vcpu)
{
	static const struct {
		u32 msr;
		u64 value;
	} writes[] = {
		{ MSR_SYSENTER_CS, 0x10 },
		{ MSR_SYSENTER_ESP, 0x123456789000 },
		{ MSR_SYSENTER_EIP, 0x80001000 },
		{ MSR_STAR, 0x0023001000000000 },
		{ MSR_LSTAR, 0xffffffff80001000 },
		{ MSR_CSTAR, 0x1000 },
		{ MSR_SFMASK, 0x47700 },
		{ MSR_FS_BASE, 0x7fffffffff00 },
		{ MSR_GS_BASE, 0xffff888000000000 },
		{ MSR_KERNEL_GS, 0x1234 },
		{ MSR_TSC_AUX, 0xabcd },
		{ MSR_PAT, 0x0007010600070106 },
		{ MSR_PAT, 2 },
		{ MSR_PAT, 0x0007040600070406 },
		{ MSR_MTRR_CAP, 0 },
		{ MSR_MTRR_DEF, 0xc06 },
		{ MSR_MTRR_DEF, 2 },
		{ MSR_MTRR_DEF, 1 << 13 },
		{ 0x200, 0x80000006 },
		{ 0x200, 0x80000002 },
		{ 0x201, 0xf80000800 },
		{ 0x250, 0x0606060606060606 },
		{ 0x250, 0x0202020202020202 },
		{ MSR_EFER, 0xd01 },
		{ MSR_EFER, 0xd00 },
		{ MSR_EFER, 0x501 },
		{ MSR_EFER, 0xc01 }, /* without LME */
		{ MSR_EFER, 0x901 }, /* without LMA, which is not written */
		{ MSR_EFER, 0xd03 },
		{ MSR_EFER, 1ull << 40 },
		{ MSR_APIC_BASE, 0xfee00800 },
		{ MSR_APIC_BASE, 1ull << 50 },
		{ MSR_APIC_BASE, 0xfee00901 },
		{ 0x12345, 0 },
		{ 0xc0001fff, 0 },
	};
	u8 *to = vcpu->vm->mem + DATA_GPA;
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(writes); i++, to += 16) {
		memcpy(to, &writes[i].msr, 4);
		memcpy(to + 4, &writes[i].value, 8);
	}
	memset(to, 0, 4);
}

/* ---- control registers ---- */

#define CR_IS(nr, value) TRY("mov $" #value ", %rax\nmov %rax, %cr" #nr "\n")
#define CR_CHANGE(nr, op, value)                                \
	TRY("mov %cr" #nr ", %rax\n" #op " $" #value ", %rax\n" \
	    "mov %rax, %cr" #nr "\nmov %cr" #nr ", %rbx")

/*
 * Not tried, for QEMU lets them pass: reserved bits in CR3, which make VMRUN
 * fail, and the upper half of CR0.
 */
/* clang-format off */
SCRIPT(64, control_code,
	"mov %cr0, %rbx\nmov %cr3, %rcx\nmov %cr4, %rdx\n" STEP
	CR_CHANGE(0, xor,0x2) CR_CHANGE(0, xor,0x4) CR_CHANGE(0, xor,0x8)
	"clts\n" STEP
	CR_CHANGE(0,xor,0x4) CR_CHANGE(0, xor, 0x20)
	CR_CHANGE(0, xor, 0x10000) CR_CHANGE(0, xor,0x40000)
	CR_CHANGE(0, or,0x40000000) CR_CHANGE(0, or,0x20000000)
	TRY("mov %cr0, %rax\nbtr $29, %rax\nbtr $30, %rax\nmov %rax, %cr0")
	TRY("mov %cr0, %rax\nor $0x20000000, %rax\nmov %rax, %cr0")
	CR_CHANGE(0, or,0x10) CR_CHANGE(0, and,~0x10) CR_CHANGE(0, or,0x1000)
	CR_CHANGE(0,and,~1)
	TRY("mov %cr0, %rax\nbtr $31, %rax\nmov %rax, %cr0")
	TRY("mov %cr0, %rax\nlmsw %ax\nsmsw %rbx")
	TRY("xor %eax, %eax\nlmsw %ax\nsmsw %rbx")
	TRY("mov $0xf, %eax\nlmsw %ax\nsmsw %ebx")
	TRY("clts\nsmsw 0xa000")
	CR_CHANGE(4,xor, 0x4) CR_CHANGE(4, xor, 0x8) CR_CHANGE(4, xor, 0x10)
	CR_CHANGE(4, xor,0x40) CR_CHANGE(4, xor, 0x80) CR_CHANGE(4, xor,0x100)
	CR_CHANGE(4, xor, 0x200) CR_CHANGE(4, xor, 0x400)
	CR_CHANGE(4, or,0x800) CR_CHANGE(4,or,0x1000) CR_CHANGE(4, or, 0x2000)
	CR_CHANGE(4,or, 0x4000) CR_CHANGE(4,xor,0x10000)
	CR_CHANGE(4, or, 0x20000) CR_CHANGE(4,xor,0x40000)
	CR_CHANGE(4, or,0x200000) CR_CHANGE(4, or, 0x400000)
	CR_CHANGE(4,and,~0x20)
	TRY("mov %cr3, %rax\nor $0x18, %rax\nmov %rax, %cr3\nmov %cr3, %rbx")
	TRY("mov $0x100000, %eax\nmov %rax, %cr3")
	TRY("mov $7, %eax\nmov %rax, %cr8\nmov %cr8, %rbx")
	TRY("mov $0x100, %eax\nmov %rax, %cr8")
	TRY("mov %rax, %cr2\nmov %cr2, %rbx")
	TRY(".byte 0x0f, 0x20, 0xc8")
	/* MOV from CR1 */
	TRY(".byte 0x0f, 0x22, 0xe8")
	/* MOV to CR5 */
	TRY("wbinvd\ninvd\npause"));

SCRIPT(64, choices_code,
	TRY("mov %cr4, %rax\nbts $40, %rax\nmov %rax, %cr4")
	TRY("xor %ecx, %ecx\nxor %edx, %edx\nmonitor")
	TRY("rdpmc")
	TRY("mov $0x1a0, %ecx\nrdmsr"));
/* clang-format on */

/*
 * PDPTEs with reserved bits are tried only where paging is turned on: with
 * nested paging, AMD's CPUs take them from memory when they need them, and no
 * MOV to CR3 faults.
 */
/* clang-format off */
SCRIPT(32, control32_code,
	TRY("mov %cr0, %ebx\nmov %cr4, %ecx")
	TRY("mov %cr0, %eax\nor $8, %eax\nmov %eax, %cr0\nmov %cr0, %ebx")
	TRY("clts\nmov %cr0, %ebx")
	TRY("mov %cr4, %eax\nor $0x20, %eax\nmov %eax, %cr4")
	"movl $0x107, 0xa000\nmovl $0, 0xa004\n"
	TRY("mov $0xa000, %eax\nmov %eax, %cr3")
	TRY("mov %cr0, %eax\nor $0x80000000, %eax\nmov %eax, %cr0")
	TRY("mov $0x106000, %eax\nmov %eax, %cr3")
	TRY("mov %cr0, %eax\nor $0x80000000, %eax\nmov %eax, %cr0")
	TRY("mov $0x106000, %eax\nmov %eax, %cr3")
	TRY("mov %cr0, %eax\nand $0x7fffffff, %eax\nmov %eax, %cr0")
	/* 4 MiB pages */
	TRY("mov %cr4, %eax\nxor $0x30, %eax\nmov %eax, %cr4")
	TRY("mov $0x107000, %eax\nmov %eax, %cr3\nmov %cr0, %eax\n"
	    "or $0x80000000, %eax\nmov %eax, %cr0")
	TRY("mov 0xa000, %eax\nmov %eax, 0xa008\ninvlpg 0xa000"));
/* clang-format on */

/* ---- paging ---- */

#define WINDOW "0x40000000"
#define PT_GPA 0x10d000ul

#define ACCESS(page)                                                        \
	TRY("mov $" WINDOW " + " #page " * 0x1000, %esi\nmov (%rsi), %eax") \
	TRY("mov %eax, 8(%rsi)")                                            \
	TRY("jmp *%rsi")

/* clang-format off */
SCRIPT(64, paging_code,
	"movb $0xff, 0xa000\nmovb $0xe5, 0xa001\n"
	/* JMP *%rbp */
	ACCESS(0) ACCESS(1) ACCESS(2) ACCESS(3) ACCESS(4) ACCESS(5)
	/* without WP */
	TRY("mov %cr0, %rax\nbtr $16, %rax\nmov %rax, %cr0")
	ACCESS(1)
	TRY("mov %cr0, %rax\nbts $16, %rax\nmov %rax, %cr0")
	/* a change and INVLPG */
	"movq $0xb067, 0x10d000\n"
	TRY("mov $" WINDOW", %esi\ninvlpg (%rsi)\nmov (%rsi), %eax")
	"movq $0, 0x10d000\n"
	TRY("mov $" WINDOW", %esi\ninvlpg (%rsi)\nmov (%rsi), %eax")
	/* by user code, on its own page */
	"movq $0xa067, 0x10d000\nmov %cr3, %rax\nmov %rax, %cr3\n" STEP
	"pushq $0x2b\npush $0x203000\npushq $0x202\npushq $0x33\n"
	"pushq $(1f - 0b + 0x8000)\niretq\n1:\n" STEP
	ACCESS(0) ACCESS(1) ACCESS(2) ACCESS(3) ACCESS(4) ACCESS(5));
/* clang-format on */

/* Code and handlers are the supervisor's here, page 0 of the window the user's. */
/* clang-format off */
SCRIPT(64, smep_code,
	"movb $0xff, 0xa000\nmovb $0xe5, 0xa001\n" ACCESS(0)
	TRY("mov %cr4, %rax\nbts $20, %rax\nmov %rax, %cr4")
	ACCESS(0)
	TRY("mov %cr4, %rax\nbtr $20, %rax\nmov %rax, %cr4"));
/* clang-format on */

static void put(struct vcpu *vcpu, u64 gpa, u64 value)
{
	memcpy(vcpu->vm->mem + gpa, &value, 8);
}

static void fill_window(struct vcpu *vcpu)
{
	static const u64 entries[] = {
		0x007, 0x005, 0x003, 1ull << 63 | 7, 0x006, 1ull << 51 | 7,
	};
	unsigned int i;
	u64 low;

	put(vcpu, TABLES_GPA + 0x3000, PT_GPA | 7);
	for (i = 0; i < ARRAY_LEN(entries); i++)
		put(vcpu, PT_GPA + i * 8, entries[i] | DATA_GPA);
	/* What the scripts stand on is seen to be accessed, too. */
	memcpy(&low, vcpu->vm->mem + TABLES_GPA + 0x2000, 8);
	put(vcpu, TABLES_GPA + 0x2000, low | 0x60);
}

static void fill_smep_window(struct vcpu *vcpu)
{
	u64 low;

	fill_window(vcpu);
	memcpy(&low, vcpu->vm->mem + TABLES_GPA + 0x2000, 8);
	put(vcpu, TABLES_GPA + 0x2000, low & ~4ull);
}

/* ---- FPU ---- */

/*
 * Not tried, as QEMU knows nothing of it: XCR0 with AVX but without SSE. XSAVE
 * areas are not shown, for the sake of last_ip.
 */
/* clang-format off */
SCRIPT(64, fpu_code,
	TRY("fninit\nfldpi\nfld1\nfadd %st(1), %st\nfsqrt")
	TRY("fstpl 0xa000\nfnstcw 0xa010\nfldcw 0xa010")
	TRY("fninit\nfldz\nfld1\nfchs\nfdivp")
	TRY("movl $0x3f800000, 0xa020\nmovss 0xa020, %xmm1\n"
	    "addss %xmm1, %xmm1\nsqrtss %xmm1, %xmm2\ncvtss2si %xmm2, %eax")
	TRY("pcmpeqd %xmm15, %xmm15\nmovups %xmm15, 0xa030")
	TRY("stmxcsr 0xa040\nmovl $0x9fc0, 0xa044\nldmxcsr 0xa044")
	TRY("xor %ecx, %ecx\nxgetbv")
	TRY("vaddps %xmm0, %xmm1, %xmm2")
	TRY("mov $7, %eax\nxor %edx, %edx\nxsetbv")
	TRY("mov %cr4, %rax\nbts $18, %rax\nmov %rax, %cr4")
	TRY("xgetbv")
	TRY("vaddps %xmm0, %xmm1, %xmm2")
	TRY("fxsave64 0x2e400\nfninit\nfxrstor64 0x2e400"));

SCRIPT(64, xcr0_code,
	TRY("pcmpeqd %xmm15, %xmm15")
	TRY("mov %cr4, %rax\nbts $18, %rax\nmov %rax, %cr4")
	TRY("xor %ecx, %ecx\nmov $7, %eax\nxor %edx, %edx\nxsetbv\nxgetbv")
	"mov $0xd, %eax\ncpuid\n" STEP
	"xor %ecx, %ecx\nxor %edx, %edx\n"
	TRY("vinsertf128 $1, %xmm15, %ymm15, %ymm3\nvmovups %ymm3, 0xa060")
	TRY("mov $6, %eax\nxsetbv\n")
	TRY("mov $0, %eax\nxsetbv\n")
	TRY("mov $7, %eax\nmov $0x80000000, %edx\nxsetbv\n")
	TRY("xor %edx, %edx\nmov $1, %ecx\nxsetbv\n")
	TRY("xor %ecx, %ecx\nxgetbv")
	TRY("mov $-1, %eax\nmov $-1, %edx\nmov $0x2e000, %edi\nxsave (%rdi)")
	TRY("vzeroall\nmov $7, %eax\nxor %edx, %edx\nxrstor (%rdi)")
	TRY("movb $1, 0x2e210\nxrstor (%rdi)")
	TRY("xor %ecx, %ecx\nmov $1, %eax\nxor %edx, %edx\nxsetbv\nxgetbv")
	"mov $0xd, %eax\ncpuid\n" STEP);
/* clang-format on */

/* ---- system calls ---- */

/* clang-format off */
SCRIPT(64, syscall_code,
	/* STAR: kernel 0x18, user 0x23 and what follows */
	"mov $0xc0000081, %ecx\nxor %eax, %eax\nmov $0x00230018, %edx\nwrmsr\n"
	"mov $0xc0000082, %ecx\nmov $(2f - 0b + 0x8000), %eax\n"
	"xor %edx, %edx\nwrmsr\n"
	"mov $0xc0000084, %ecx\nmov $0x4600, %eax\nwrmsr\n"
	"mov $0xc0000102, %ecx\nmov $0x1234000, %eax\nwrmsr\n" STEP
	"swapgs\n" STEP
	"mov $(1f - 0b + 0x8000), %ecx\nmov $0x3202, %r11d\nsysretq\n"
	"1:\n" STEP
	"syscall\n" STEP
	END
	"2:\n" STEP
	"mov %rcx, %r12\nmov $0x10, %eax\nmov %eax, %ss\nswapgs\n" STEP
	TRY("rdfsbase %rax")
	TRY("mov %cr4, %rax\nbts $16, %rax\nmov %rax, %cr4\nmov $0x77, %ecx\n"
	    "wrfsbase %rcx\nrdfsbase %rbx\nrdgsbase %rdx")
	TRY("mov $0x123456789000, %rcx\nwrgsbase %rcx")
	/* to 32-bit code */
	"mov %r12, %rcx\nmov $0x202, %r11d\nsysretl\n");

SCRIPT(32, sysenter_code,
	TRY("sysenter")
	"mov $0x174, %ecx\nmov $0x08, %eax\nxor %edx, %edx\nwrmsr\n"
	"inc %ecx\nmov $0x2e000, %eax\nwrmsr\n"
	"inc %ecx\nmov $(2f - 0b + 0x8000), %eax\nwrmsr\n" STEP
	"sysenter\n" "2:\n" STEP
	"rdtscp\nxor %eax, %eax\nxor %edx, %edx\n" STEP);
/* clang-format on */

/* The hypercall instruction is the vendor's, in memory that is not shown. */
#define HYPERCALL_GPA 0x2e800
#define HYPERCALL "mov $0x2e800, %ebx\ncall *%rbx\nxor %ebx, %ebx\n"

/* clang-format off */
SCRIPT(64, hypercall_code,
	"mov $1, %eax\n" HYPERCALL STEP
	"mov $0x1234, %eax\n" HYPERCALL STEP
	"mov $5, %eax\nmov $-1, %ecx\n" HYPERCALL STEP
	"pushq $0x2b\npush $0x203000\npushq $0x202\npushq $0x33\n"
	"pushq $(1f - 0b + 0x8000)\niretq\n1:\n" "mov $1, %eax\n" HYPERCALL
	STEP);
/* clang-format on */

static void put_hypercall(struct vcpu *vcpu)
{
	u8 *to = vcpu->vm->mem + HYPERCALL_GPA;
	u32 ebx, eax = 0, ecx, edx;

	asm volatile("cpuid" : "+a"(eax), "=b"(ebx), "=c"(ecx), "=d"(edx));
	memcpy(to, ebx == 0x68747541 ? "\x0f\x01\xd9\xc3" : "\x0f\x01\xc1\xc3",
	       4);
}

/* clang-format off */
SCRIPT(64, halt_code,
	"mov $1, %eax\nhlt\nmov $2, %eax\nhlt\nsti\nhlt\n" STEP
	"cli\nhlt\n" STEP);
/* clang-format on */

static void view_reset(void)
{
	struct vm *vm = vm_new_irqchip();
	struct vcpu *vcpu = vcpu_new(vm, 0);
	enum mode mode;

	section("reset");
	record_start();
	set_cpuid_table(vcpu);
	record_state(vcpu);
	record_irqchip(vm, vcpu);
	section("set_state");
	record_start();
	for (mode = 0; mode < NR_MODES; mode++) {
		note("-- %s", mode_names[mode]);
		vcpu_mode(vcpu, mode);
		record_state(vcpu);
	}
	vcpu_free(vcpu);
	vm_free(vm);
}

#define S(name_, mode_, code_, ...)                             \
	{                                                       \
		name_, mode_, code_, code_##_end, ##__VA_ARGS__ \
	}

void view_system(void)
{
	static const struct script scripts[] = {
		S("cpuid", MODE_LONG, cpuid_code, .prepare = fill_leaves),
		S("msr_reads", MODE_LONG, rdmsr_code, WITH_IRQCHIP, fill_msrs),
		S("msr_writes", MODE_LONG, wrmsr_code, WITH_IRQCHIP,
		  fill_writes),
		S("control_registers", MODE_LONG, control_code),
		S("choices", MODE_LONG, choices_code),
		S("control_registers_32", MODE_PROT, control32_code),
		S("paging", MODE_LONG, paging_code, .prepare = fill_window),
		S("smep", MODE_LONG, smep_code, .prepare = fill_smep_window),
		S("fpu", MODE_LONG, fpu_code),
		S("xcr0", MODE_LONG, xcr0_code),
		S("syscall", MODE_LONG, syscall_code),
		S("sysenter", MODE_PROT, sysenter_code),
		S("hypercall", MODE_LONG, hypercall_code,
		  .prepare = put_hypercall),
		S("halt", MODE_LONG, halt_code),
	};

	view_reset();
	scripts_run(scripts, ARRAY_LEN(scripts));
}
