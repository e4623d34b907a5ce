// SPDX-License-Identifier: GPL-2.0-only
/* Instructions that a hypervisor intercepts, one by one. */
#include "guest.h"
#include <kselftest_harness.h>

#define NON_CANONICAL 0x8000000000000000ull
#define GP0 ((u64)GP_VECTOR)

FIXTURE(exits_insn)
{
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(exits_insn)
{
	self->vm = vm_new_irqchip();
	self->vcpu = vcpu_new(self->vm, 0);
}

FIXTURE_TEARDOWN(exits_insn)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

static void run_guest(struct vcpu *vcpu, void (*guest)(void))
{
	vcpu_call(vcpu, guest);
	if (vcpu_sync(vcpu) != GUEST_DONE)
		die("the guest did not finish");
}

/* CPUID */

static struct kvm_cpuid_entry2 asked[256];
static u32 nr_asked;

static void cpuid_guest(void)
{
	struct cpuid_regs r;
	u32 i;

	for (i = 0; i < nr_asked; i++) {
		r = cpuid(asked[i].function, asked[i].index);
		asked[i].eax = r.eax;
		asked[i].ebx = r.ebx;
		asked[i].ecx = r.ecx;
		asked[i].edx = r.edx;
	}
}

/* Leaves with fields that follow the vCPU's state. */
static bool is_dynamic(u32 function)
{
	return function == 1 || function == 7 || function == 0xd ||
	       function == 0x40000001 || function == 0x80000001;
}

TEST_F(exits_insn, cpuid_as_set)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(self->vm->sys);
	struct kvm_cpuid_entry2 *e = cpuid->entries + cpuid->nent;
	const volatile struct kvm_cpuid_entry2 *seen;
	unsigned int i;

	*e = (struct kvm_cpuid_entry2){
		.function = 0x4fffff00,
		.eax = 1,
		.ebx = 2,
		.ecx = 3,
		.edx = 4,
	};
	cpuid->nent++;
	ASSERT_EQ(0, dev_ioctl(self->vcpu->fd, KVM_SET_CPUID2, cpuid));
	GUEST_VAR(self->vm, nr_asked) = cpuid->nent;
	memcpy((void *)&GUEST_VAR(self->vm, asked), cpuid->entries,
	       cpuid->nent * sizeof(*e));
	run_guest(self->vcpu, cpuid_guest);
	for (i = 0; i < cpuid->nent; i++) {
		e = &cpuid->entries[i];
		seen = &GUEST_VAR(self->vm, asked[i]);
		if (is_dynamic(e->function))
			continue;
		EXPECT_TRUE(seen->eax == e->eax && seen->ebx == e->ebx &&
			    seen->ecx == e->ecx && seen->edx == e->edx)
		TH_LOG("leaf %#x.%u: %#x %#x %#x %#x", e->function, e->index,
		       seen->eax, seen->ebx, seen->ecx, seen->edx);
	}
	free(cpuid);
}

static void cpuid_osxsave_guest(void)
{
	u64 cr4 = READ_REG(cr4);

	GUEST_EQ(0, cpuid(1, 0).ecx >> 27 & 1);
	WRITE_REG(cr4, cr4 | X86_CR4_OSXSAVE);
	GUEST_EQ(1, cpuid(1, 0).ecx >> 27 & 1);
	WRITE_REG(cr4, cr4);
	GUEST_EQ(0, cpuid(1, 0).ecx >> 27 & 1);
	GUEST_EQ(1, cpuid(1, 0).edx >> 9 & 1);
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) & ~(1ull << 11));
	GUEST_EQ(0, cpuid(1, 0).edx >> 9 & 1);
}

TEST_F(exits_insn, cpuid_follows_state)
{
	run_guest(self->vcpu, cpuid_osxsave_guest);
}

TEST_F(exits_insn, cpuid_refusals)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(self->vm->sys);
	u32 nent = cpuid->nent;

	cpuid->nent = 100000;
	EXPECT_EQ(-E2BIG, dev_ioctl(self->vcpu->fd, KVM_SET_CPUID2, cpuid));
	cpuid->nent = 1;
	EXPECT_EQ(-E2BIG, dev_ioctl(self->vcpu->fd, KVM_GET_CPUID2, cpuid));
	cpuid->nent = nent - 1;
	EXPECT_EQ(-E2BIG, dev_ioctl(self->vcpu->fd, KVM_GET_CPUID2, cpuid));
	cpuid->nent = nent;
	EXPECT_EQ(0, dev_ioctl(self->vcpu->fd, KVM_GET_CPUID2, cpuid));
	EXPECT_EQ(nent, cpuid->nent);
	free(cpuid);
}

/* MSRs */

static const struct {
	u32 index;
	u64 value, bad; /* bad: refused, if not 0 */
	bool direct; /* the processor refuses it, if anyone does */
} msrs[] = {
	{ MSR_SYSENTER_CS, 0x18 },
	{ MSR_SYSENTER_ESP, 0x7ffff000 },
	{ MSR_SYSENTER_EIP, 0x12345678 },
	{ MSR_STAR, 0x23001800000000 },
	{ MSR_LSTAR, 0xffffffff81000000, NON_CANONICAL, true },
	{ MSR_CSTAR, 0xffffffff81000100, NON_CANONICAL, true },
	{ MSR_SFMASK, 0x47700 },
	{ MSR_FS_BASE, 0x1000, NON_CANONICAL, true },
	{ MSR_GS_BASE, 0xffff888000000000, NON_CANONICAL, true },
	{ MSR_KERNEL_GS, 0xffffffffffffffff, NON_CANONICAL, true },
	{ MSR_TSC_AUX, 0x12345 },
	{ MSR_PAT, 0x0007040600070406, 0x0807040600070406 },
	{ MSR_PAT, 0x0007040600070406, 0x0207040600070406 },
	{ MSR_EFER, EFER_LME | EFER_LMA | EFER_NX, 1ull << 63 },
	{ MSR_EFER, EFER_LME | EFER_LMA | EFER_SCE, 1 << 9 },
	{ MSR_MTRR_DEF, 0xc06, 0xc02 },
	{ 0x200, 0x80000006, 0x80000002 },
	{ 0x201, 0xf80000800 },
	{ 0x250, 0x0606060606060606, 0x0606060606060602 },
	{ MSR_APIC_BASE, 0xfee00900, 1ull << 63 },
};

static void msr_guest(void)
{
	u32 i;

	for (i = 0; i < ARRAY_LEN(msrs); i++) {
		GUEST_EQ(NO_TRAP, CATCH_RDMSR(msrs[i].index));
		GUEST_EQ(NO_TRAP, CATCH_WRMSR(msrs[i].index, msrs[i].value));
		GUEST_EQ(msrs[i].value, rdmsr(msrs[i].index));
		if (msrs[i].bad && !msrs[i].direct)
			GUEST_EQ(GP0, CATCH_WRMSR(msrs[i].index, msrs[i].bad));
		guest_sync(i);
		GUEST_EQ(msrs[i].value, rdmsr(msrs[i].index));
	}
}

TEST_F(exits_insn, msr_known)
{
	unsigned int i;
	u64 value;

	vcpu_call(self->vcpu, msr_guest);
	for (i = 0; i < ARRAY_LEN(msrs); i++) {
		ASSERT_EQ(i, vcpu_sync(self->vcpu));
		EXPECT_EQ(0, vcpu_get_msr(self->vcpu, msrs[i].index, &value));
		EXPECT_EQ(msrs[i].value, value)
		TH_LOG("MSR %#x", msrs[i].index);
		if (!msrs[i].bad)
			continue;
		EXPECT_EQ(-EINVAL,
			  vcpu_set_msr(self->vcpu, msrs[i].index, msrs[i].bad))
		TH_LOG("MSR %#x", msrs[i].index);
	}
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

static void msr_unknown_guest(void)
{
	static const u32
		unknown[] = {
			0x5,	    0x40000200,	    0x4b564dff,
			0xc0000fff, 0xc0010fff,	    0xdeadbeef,
			0xffffffff, MSR_X2APIC + 2, /* while the APIC is in xAPIC mode */
		};
	u32 i;

	for (i = 0; i < ARRAY_LEN(unknown); i++) {
		GUEST_EQ(GP0, CATCH_RDMSR(unknown[i]));
		GUEST_EQ(GP0, CATCH_WRMSR(unknown[i], 0));
	}
	GUEST_EQ(GP0, CATCH_WRMSR(MSR_MTRR_CAP, 0));
}

TEST_F(exits_insn, msr_unknown)
{
	u64 value;

	EXPECT_EQ(-EINVAL, vcpu_get_msr(self->vcpu, 0xdeadbeef, &value));
	EXPECT_EQ(-EINVAL, vcpu_set_msr(self->vcpu, 0xdeadbeef, 0));
	run_guest(self->vcpu, msr_unknown_guest);
}

static void efer_guest(void)
{
	u64 efer = rdmsr(MSR_EFER);
	bool svm = cpuid(0x80000001, 0).ecx & 4;

	GUEST_EQ(GP0, CATCH_WRMSR(MSR_EFER, efer & ~(u64)EFER_LME));
	GUEST_EQ(svm ? NO_TRAP : GP0, CATCH_WRMSR(MSR_EFER, efer | EFER_SVME));
	/* LMA follows from LME and paging; what is written does not matter. */
	wrmsr(MSR_EFER, efer);
	GUEST_EQ(efer, rdmsr(MSR_EFER));
	GUEST_EQ(efer & EFER_LMA, EFER_LMA);
}

TEST_F(exits_insn, msr_efer)
{
	run_guest(self->vcpu, efer_guest);
}

static void x2apic_guest(void)
{
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1 << 10);
	GUEST_EQ(0, rdmsr(MSR_X2APIC + 2));
	GUEST_EQ(NO_TRAP, CATCH_WRMSR(MSR_X2APIC + 8, 0x20));
	GUEST_EQ(0x20, rdmsr(MSR_X2APIC + 8));
	GUEST_EQ(GP0, CATCH_WRMSR(MSR_X2APIC + 2, 0));
	GUEST_EQ(GP0, CATCH_RDMSR(MSR_X2APIC + 0xe));
	GUEST_EQ(GP0, CATCH_RDMSR(MSR_X2APIC + 0x31));
	/* There is no way back to xAPIC mode but through off. */
	GUEST_EQ(GP0, CATCH_WRMSR(MSR_APIC_BASE,
				  rdmsr(MSR_APIC_BASE) & ~(1ull << 10)));
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) & ~(3ull << 10));
	GUEST_EQ(GP0, CATCH_RDMSR(MSR_X2APIC + 2));
}

TEST_F(exits_insn, msr_x2apic)
{
	run_guest(self->vcpu, x2apic_guest);
}

/* Control registers */

static void cr_guest(void)
{
	u64 cr0 = READ_REG(cr0), cr3 = READ_REG(cr3), cr4 = READ_REG(cr4);
	u16 msw;

	WRITE_REG(cr0, cr0 | X86_CR0_TS);
	GUEST_EQ(cr0 | X86_CR0_TS, READ_REG(cr0));
	GUEST_EQ(NM_VECTOR, GUEST_CATCH("movaps %%xmm0, %%xmm0"));
	asm volatile("clts");
	GUEST_EQ(cr0, READ_REG(cr0));
	GUEST_EQ(NO_TRAP, GUEST_CATCH("movaps %%xmm0, %%xmm0"));
	asm volatile("lmsw %w0" ::"r"(cr0 | X86_CR0_TS));
	asm volatile("smsw %0" : "=r"(msw));
	GUEST_EQ((u16)(cr0 | X86_CR0_TS), msw);
	/* LMSW sets PE, but never clears it. */
	asm volatile("lmsw %w0" ::"r"(cr0 & ~(u64)(X86_CR0_PE | X86_CR0_TS)));
	GUEST_EQ(cr0, READ_REG(cr0));
	/* The same with memory; while CR0.CD is set, reading CR0 may exit. */
	msw = cr0 | X86_CR0_EM;
	asm volatile("lmsw %0" ::"m"(msw));
	GUEST_EQ(cr0 | X86_CR0_EM, READ_REG(cr0));
	WRITE_REG(cr0, cr0 | X86_CR0_CD);
	asm volatile("smsw %0" : "=m"(msw));
	GUEST_EQ((u16)cr0, msw);
	WRITE_REG(cr0, cr0);

#define BAD_CR(n, value) \
	GUEST_EQ(GP0, GUEST_CATCH("mov %[v], %%cr" #n, [v] "S"((u64)(value))))
	BAD_CR(0, cr0 & ~(u64)X86_CR0_PE);
	BAD_CR(0, cr0 | X86_CR0_NW);
	BAD_CR(0, cr0 & ~(u64)X86_CR0_PG); /* from 64-bit code */
	BAD_CR(4, cr4 & ~(u64)X86_CR4_PAE);
	BAD_CR(4, cr4 | 1 << 15);
	GUEST_EQ(cr0, READ_REG(cr0));
	GUEST_EQ(cr3, READ_REG(cr3));
	GUEST_EQ(cr4, READ_REG(cr4));
	WRITE_REG(cr4, cr4 | 0x80);
	GUEST_EQ(cr4 | 0x80, READ_REG(cr4));
	WRITE_REG(cr3, cr3);
	WRITE_REG(cr4, cr4);
	WRITE_REG(cr2, 0x123456789);
	guest_sync(1);
	GUEST_EQ(0x123456789, READ_REG(cr2));
	GUEST_EQ(UD_VECTOR, GUEST_CATCH("mov %%cr1, %%rax", "a"(0)));
	GUEST_EQ(UD_VECTOR, GUEST_CATCH("mov %%rax, %%cr5", "a"(0)));
}

TEST_F(exits_insn, control_registers)
{
	struct kvm_sregs sregs;

	vcpu_call(self->vcpu, cr_guest);
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	vcpu_get_sregs(self->vcpu, &sregs);
	EXPECT_EQ(0x123456789, sregs.cr2);
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

static void cr8_guest(void)
{
	apic_enable();
	WRITE_REG(cr8, 5);
	GUEST_EQ(5, READ_REG(cr8));
	GUEST_EQ(0x50, apic_read(APIC_TPR));
	apic_write(APIC_TPR, 0x93);
	GUEST_EQ(9, READ_REG(cr8));
}

TEST_F(exits_insn, cr8_is_the_task_priority)
{
	run_guest(self->vcpu, cr8_guest);
	EXPECT_EQ(9, self->vcpu->run->cr8);
}

static void set_cr8_guest(void)
{
	WRITE_REG(cr8, 7);
	guest_sync(READ_REG(cr8));
	WRITE_REG(cr8, 3);
	guest_sync(READ_REG(cr8));
}

TEST(cr8_without_irqchip)
{
	struct vm *vm = vm_new();
	struct vcpu *vcpu = vcpu_new(vm, 0);

	vcpu_call(vcpu, set_cr8_guest);
	EXPECT_EQ(7, vcpu_sync(vcpu));
	EXPECT_EQ(7, vcpu->run->cr8);
	/* User space emulates the APIC and must hear of a lower priority. */
	EXPECT_EXIT(KVM_EXIT_SET_TPR, vcpu);
	EXPECT_EQ(3, vcpu->run->cr8);
	EXPECT_EQ(3, vcpu_sync(vcpu));
	vcpu->run->cr8 = 0;
	EXPECT_EQ(GUEST_DONE, vcpu_sync(vcpu));
}

/* Debug registers */

static volatile u64 watched, db_hits, db_dr6;

static void on_db(struct trap_frame *frame)
{
	db_hits++;
	db_dr6 = READ_REG(dr6);
	frame->rflags |= 1 << 16; /* RF: go on behind a breakpoint */
}

static void dr_guest(void)
{
	WRITE_REG(dr0, 0x1111);
	WRITE_REG(dr1, 0x2222);
	WRITE_REG(dr2, 0x3333);
	WRITE_REG(dr3, 0x444444444444);
	guest_sync(0);
	GUEST_EQ(0x1111, READ_REG(dr0));
	GUEST_EQ(0x2222, READ_REG(dr1));
	GUEST_EQ(0x3333, READ_REG(dr2));
	GUEST_EQ(0x444444444444, READ_REG(dr3));
	GUEST_EQ(0xffff0ff0, READ_REG(dr6));
	GUEST_EQ(0x400, READ_REG(dr7));
	GUEST_EQ(GP0, GUEST_CATCH("mov %[v], %%dr7", [v] "S"(1ull << 32)));
	GUEST_EQ(GP0, GUEST_CATCH("mov %[v], %%dr6", [v] "S"(1ull << 32)));
	GUEST_EQ(NO_TRAP,
		 GUEST_CATCH("mov %[v], %%dr4", [v] "S"(0xffff0ff0ull)));
	WRITE_REG(cr4, READ_REG(cr4) | 8);
	GUEST_EQ(UD_VECTOR, GUEST_CATCH("mov %%dr4, %%rax", "a"(0)));
}

/* A write watchpoint hits, across exits and not after it is off. */
static void watch_guest(void)
{
	u64 i;

	trap_handlers[DB_VECTOR] = on_db;
	WRITE_REG(dr0, &watched);
	WRITE_REG(dr7, 0xd0402);
	for (i = 1; i <= 3; i++) {
		watched = i;
		GUEST_EQ(i, db_hits);
		GUEST_EQ(1, db_dr6 & 0xf);
		WRITE_REG(dr6, 0);
		guest_sync(i);
	}
	WRITE_REG(dr7, 0x400);
	watched = 0;
	GUEST_EQ(3, db_hits);
}

TEST_F(exits_insn, debug_registers)
{
	struct kvm_debugregs regs;

	vcpu_call(self->vcpu, dr_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	ASSERT_EQ(0, dev_ioctl(self->vcpu->fd, KVM_GET_DEBUGREGS, &regs));
	EXPECT_EQ(0x1111, regs.db[0]);
	EXPECT_EQ(0x444444444444, regs.db[3]);
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

TEST_F(exits_insn, watchpoints)
{
	u32 i;

	vcpu_call(self->vcpu, watch_guest);
	for (i = 1; i <= 3; i++)
		EXPECT_EQ(i, vcpu_sync(self->vcpu));
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

/* Halting, waiting, caches */

SNIPPET(16, hlt_code, "nop\nhlt\nnop\nhlt\n");

TEST(hlt_without_irqchip)
{
	struct vm *vm = vm_new();
	struct vcpu *vcpu = vcpu_new(vm, 0);
	struct kvm_regs regs;

	VCPU_SNIPPET(vcpu, MODE_REAL, hlt_code);
	EXPECT_EXIT(KVM_EXIT_HLT, vcpu);
	vcpu_get_regs(vcpu, &regs);
	EXPECT_EQ(CODE_GPA + 2, regs.rip);
	EXPECT_EXIT(KVM_EXIT_HLT, vcpu);
	vcpu_get_regs(vcpu, &regs);
	EXPECT_EQ(CODE_GPA + 4, regs.rip);
}

static void harmless_guest(void)
{
	u64 i, trap;

	for (i = 0; i < 1000; i++)
		pause_cpu();
	GUEST_EQ(NO_TRAP, GUEST_CATCH("wbinvd"));
	GUEST_EQ(NO_TRAP, GUEST_CATCH("invd"));
	GUEST_EQ(NO_TRAP, GUEST_CATCH("invlpg (%%rsp)"));
	GUEST_EQ(NO_TRAP, GUEST_CATCH("clflush (%%rsp)"));
	/* No guest may stop a CPU: these do nothing, or are not there. */
	trap = GUEST_CATCH("monitor", "a"(&watched), "c"(0), "d"(0));
	GUEST_ASSERT(trap == NO_TRAP || trap == UD_VECTOR);
	trap = GUEST_CATCH("mwait", "a"(0), "c"(0));
	GUEST_ASSERT(trap == NO_TRAP || trap == UD_VECTOR);
}

TEST_F(exits_insn, pause_caches_mwait)
{
	run_guest(self->vcpu, harmless_guest);
}

static void undefined_guest(void)
{
#define UNDEFINED(insn) \
	GUEST_EQ(UD_VECTOR, GUEST_CATCH(insn, "a"(0), "c"(0), "d"(0), "b"(0)))
	UNDEFINED("ud2");
	UNDEFINED("rsm");
	UNDEFINED("vmrun");
	UNDEFINED("vmload");
	UNDEFINED("vmsave");
	UNDEFINED("stgi");
	UNDEFINED("clgi");
	UNDEFINED("skinit");
	UNDEFINED("vmxoff");
	UNDEFINED("vmlaunch");
	UNDEFINED("vmresume");
	UNDEFINED("xgetbv"); /* CR4.OSXSAVE is clear */
	UNDEFINED("xsetbv");
	UNDEFINED(".byte 0x0f, 0xff");
	UNDEFINED(".byte 0x06"); /* PUSH ES, gone in 64-bit mode */
	UNDEFINED("lock; nop");
}

TEST_F(exits_insn, undefined)
{
	run_guest(self->vcpu, undefined_guest);
}

static void xsetbv_guest(void)
{
	u32 offered = cpuid(0xd, 0).eax;

	WRITE_REG(cr4, READ_REG(cr4) | X86_CR4_OSXSAVE);
	GUEST_EQ(NO_TRAP, CATCH_XSETBV(0, 1));
	GUEST_EQ(NO_TRAP, CATCH_XSETBV(0, 3));
	GUEST_EQ(NO_TRAP, CATCH_XSETBV(0, offered));
	GUEST_EQ(offered, cpuid(0xd, 0).eax);
	GUEST_EQ(GP0, CATCH_XSETBV(0, 0));
	GUEST_EQ(GP0, CATCH_XSETBV(0, 2));
	GUEST_EQ(GP0, CATCH_XSETBV(0, 5));
	GUEST_EQ(GP0, CATCH_XSETBV(0, 1ull << 63 | 3));
	GUEST_EQ(GP0, CATCH_XSETBV(0, ~offered | 1));
	GUEST_EQ(GP0, CATCH_XSETBV(1, 3));
	GUEST_EQ(GP0, GUEST_CATCH("xgetbv", "c"(5), EDX_EAX(0)));
}

TEST_F(exits_insn, xsetbv)
{
	struct kvm_cpuid2 *cpuid = supported_cpuid(self->vm->sys);

	if (!(find_cpuid(cpuid, 1, 0)->ecx & 1 << 26))
		SKIP(return, "XSAVE is not offered");
	run_guest(self->vcpu, xsetbv_guest);
	free(cpuid);
}

/* Time */

static volatile u64 tsc_low, tsc_high;

static void tsc_guest(void)
{
	u64 now, then = rdtsc();
	u32 i, lo, hi, aux;

	GUEST_ASSERT(then >= tsc_low && then < tsc_high);
	for (i = 0; i < 1000; i++) {
		now = rdtsc();
		GUEST_ASSERT(now >= then);
		then = now;
	}
	now = rdmsr(MSR_TSC);
	GUEST_ASSERT(now >= then && now < tsc_high);
	if (!(cpuid(0x80000001, 0).edx & 1 << 27))
		return;
	wrmsr(MSR_TSC_AUX, 0xabc);
	asm volatile("rdtscp" : "=a"(lo), "=d"(hi), "=c"(aux));
	GUEST_ASSERT((lo | (u64)hi << 32) >= then);
	GUEST_EQ(0xabc, aux);
}

TEST_F(exits_insn, rdtsc)
{
	static const u64 starts[] = { 1ull << 40, 1ull << 52, 1ull << 33 };
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(starts); i++) {
		GUEST_VAR(self->vm, tsc_low) = starts[i];
		GUEST_VAR(self->vm, tsc_high) = 2 * starts[i];
		ASSERT_EQ(0, vcpu_set_msr(self->vcpu, MSR_TSC, starts[i]));
		run_guest(self->vcpu, tsc_guest);
	}
}

static void write_tsc_guest(void)
{
	wrmsr(MSR_TSC, 1ull << 50);
	GUEST_ASSERT(rdtsc() >> 50 == 1);
}

TEST_F(exits_insn, write_tsc)
{
	u64 tsc;

	run_guest(self->vcpu, write_tsc_guest);
	EXPECT_EQ(0, vcpu_get_msr(self->vcpu, MSR_TSC, &tsc));
	EXPECT_EQ(1, tsc >> 50);
}

static void rdpmc_guest(void)
{
	GUEST_EQ(GP0, GUEST_CATCH("rdpmc", "c"(0x3fffff)));
}

TEST_F(exits_insn, rdpmc)
{
	run_guest(self->vcpu, rdpmc_guest);
}

/* Hypercalls */

static volatile u64 hypercall_nr;

static void vmmcall_guest(void)
{
	u64 result, rbx = 0x1234;

	asm volatile("vmmcall"
		     : "=a"(result), "+b"(rbx)
		     : "a"(hypercall_nr), "c"(0), "d"(0)
		     : "memory");
	GUEST_EQ(0x1234, rbx);
	GUEST_EQ(-1000, result); /* KVM_ENOSYS */
}

static void vmcall_guest(void)
{
	u64 result;

	asm volatile("vmcall" : "=a"(result) : "a"(hypercall_nr), "b"(0));
	GUEST_EQ(-1000, result);
}

TEST_F(exits_insn, hypercall_unknown)
{
	GUEST_VAR(self->vm, hypercall_nr) = 0x7fff;
	run_guest(self->vcpu,
		  cpuid(0, 0).ebx == 0x756e6547 ? vmcall_guest : vmmcall_guest);
}

TEST_HARNESS_MAIN
