// SPDX-License-Identifier: GPL-2.0-only
/*
 * Vector registers are the guest's while it runs and the host's while it does
 * not, whoever uses them in between and on whichever CPU.
 */
#include "guest.h"
#include <kselftest_harness.h>

#define REGS 16
#define BYTES (REGS * 32)

#define FOR_ALL_REGS(do)                                                     \
	do                                                                   \
	(0) do(1) do(2) do(3) do(4) do(5) do(6) do(7) do(8) do(9) do(10) do( \
		11) do(12) do(13) do(14) do(15)
#define LOAD_YMM(n) "vmovdqu 32*" #n "(%[in]), %%ymm" #n "\n\t"
#define STORE_YMM(n) "vmovdqu %%ymm" #n ", 32*" #n "(%[out])\n\t"
#define LOAD_XMM(n) "movdqu 32*" #n "(%[in]), %%xmm" #n "\n\t"
#define STORE_XMM(n) "movdqu %%xmm" #n ", 32*" #n "(%[out])\n\t"

static u64 in[MAX_VCPUS][BYTES / 8], out[MAX_VCPUS][BYTES / 8];
static volatile u32 rounds;

static bool has_avx(void)
{
	return (cpuid(1, 0).ecx & 3u << 27) == 3u << 27;
}

static void enable(u32 xcr0)
{
	WRITE_REG(cr4, READ_REG(cr4) | X86_CR4_OSXSAVE);
	GUEST_EQ(NO_TRAP, CATCH_XSETBV(0, xcr0));
}

/* The low half of each register only, without AVX. */
static void check(u32 cpu, bool avx)
{
	u32 i;

	for (i = 0; i < BYTES / 8; i++)
		if (avx || i % 4 < 2)
			GUEST_EQ(in[cpu][i], out[cpu][i]);
}

static void fill(u32 cpu, u64 round)
{
	u32 i;

	for (i = 0; i < BYTES / 8; i++)
		in[cpu][i] = (i + 1) * 0x9e3779b97f4a7c15 * (round + 1) + cpu;
}

/* Load all registers, exit or spin for a while, and look at them again. */
static void hold(u32 cpu, bool avx, bool spin)
{
	u32 mxcsr = 0x1f80 | (cpu + 1), seen = 0;
	u32 loops = spin ? 20000 : 0;

	asm volatile("ldmxcsr %0" ::"m"(mxcsr));
	if (avx)
		asm volatile(
			FOR_ALL_REGS(
				LOAD_YMM) "1: sub $1, %[loops]\n\t"
					  "jg 1b\n\t"
					  "mov $0x77, %%eax\n\t"
					  "out %%eax, %%dx\n\t" FOR_ALL_REGS(
						  STORE_YMM)
			: [loops] "+r"(loops)
			: [in] "r"(in[cpu]), [out] "r"(out[cpu]), "d"(SYNC_PORT)
			: "rax", "memory", "cc");
	else
		asm volatile(
			FOR_ALL_REGS(
				LOAD_XMM) "1: sub $1, %[loops]\n\t"
					  "jg 1b\n\t"
					  "mov $0x77, %%eax\n\t"
					  "out %%eax, %%dx\n\t" FOR_ALL_REGS(
						  STORE_XMM)
			: [loops] "+r"(loops)
			: [in] "r"(in[cpu]), [out] "r"(out[cpu]), "d"(SYNC_PORT)
			: "rax", "memory", "cc");
	asm volatile("stmxcsr %0" : "=m"(seen));
	GUEST_EQ(mxcsr, seen);
	check(cpu, avx);
}

static void hold_guest(void)
{
	u32 i, cpu = cpuid(1, 0).ebx >> 24;
	bool avx = has_avx();

	if (avx)
		enable(7);
	for (i = 0; i < rounds; i++) {
		fill(cpu, i);
		hold(cpu, avx, i & 1);
	}
}

/*
 * KVM_RUN between loading and storing the host's own registers. The value is
 * whether they are what they were.
 */
static bool run_keeps_host_registers(struct vcpu *vcpu, u64 round)
{
	u64 host_in[BYTES / 8], host_out[BYTES / 8] = {};
	bool avx = has_avx();
	long ret = 16; /* ioctl */
	u32 i;

	for (i = 0; i < BYTES / 8; i++)
		host_in[i] = (i + 77) * 0xc2b2ae3d27d4eb4f + round;
	if (avx)
		asm volatile(FOR_ALL_REGS(LOAD_YMM) "syscall\n\t" FOR_ALL_REGS(
				     STORE_YMM) "vzeroupper"
			     : "+a"(ret)
			     : [in] "r"(host_in), [out] "r"(host_out),
			       "D"((long)vcpu->fd), "S"((long)KVM_RUN), "d"(0l)
			     : "rcx", "r11", "memory");
	else
		asm volatile(FOR_ALL_REGS(LOAD_XMM) "syscall\n\t" FOR_ALL_REGS(
				     STORE_XMM)
			     : "+a"(ret)
			     : [in] "r"(host_in), [out] "r"(host_out),
			       "D"((long)vcpu->fd), "S"((long)KVM_RUN), "d"(0l)
			     : "rcx", "r11", "memory");
	if (ret)
		die("KVM_RUN: %s", strerror(-ret));
	for (i = 0; i < BYTES / 8; i++)
		if ((avx || i % 4 < 2) && host_in[i] != host_out[i])
			return false;
	return true;
}

TEST(guest_and_host)
{
	struct vm *vm = vm_new_irqchip();
	struct vcpu *vcpu = vcpu_new(vm, 0);
	u32 i;

	GUEST_VAR(vm, rounds) = 200;
	vcpu_call(vcpu, hold_guest);
	for (i = 0; i < 200; i++) {
		ASSERT_TRUE(run_keeps_host_registers(vcpu, i));
		ASSERT_EQ(KVM_EXIT_IO, vcpu->run->exit_reason)
		TH_LOG("%s", vcpu_describe(vcpu));
	}
	EXPECT_EQ(GUEST_DONE, vcpu_sync(vcpu));
}

static void *run_all(void *arg)
{
	while (vcpu_sync(arg) != GUEST_DONE)
		;
	return NULL;
}

/* More vCPUs than CPUs take turns, each with values of its own. */
TEST(vcpus_take_turns)
{
	struct vm *vm = vm_new_irqchip();
	struct vcpu *vcpus[4];
	struct kvm_mp_state mp = { KVM_MP_STATE_RUNNABLE };
	unsigned int i;

	GUEST_VAR(vm, rounds) = 200;
	for (i = 0; i < 4; i++) {
		vcpus[i] = vcpu_new(vm, i);
		MUST(vcpus[i]->fd, KVM_SET_MP_STATE, &mp);
		vcpu_call(vcpus[i], hold_guest);
	}
	for (i = 0; i < 4; i++)
		pthread_create(&vcpus[i]->thread, NULL, run_all, vcpus[i]);
	for (i = 0; i < 4; i++)
		pthread_join(vcpus[i]->thread, NULL);
}

/* Each run of a vCPU in another thread. */
TEST(vcpu_moves)
{
	struct vm *vm = vm_new_irqchip();
	struct vcpu *vcpu = vcpu_new(vm, 0);
	u32 i;

	GUEST_VAR(vm, rounds) = 50;
	vcpu_call(vcpu, hold_guest);
	for (i = 0; i < 50; i++) {
		vcpu_start(vcpu);
		ASSERT_EQ(0x77, vcpu_join(vcpu));
	}
	EXPECT_EQ(GUEST_DONE, vcpu_sync(vcpu));
}

/* Turning AVX off and on again in XCR0 leaves the upper halves alone. */
static void xcr0_guest(void)
{
	u32 i;

	enable(7);
	fill(0, 1);
	for (i = 0; i < 20; i++) {
		asm volatile(FOR_ALL_REGS(LOAD_YMM)::[in] "r"(in[0])
			     : "memory");
		enable(3);
		guest_sync(i);
		GUEST_EQ(UD_VECTOR,
			 GUEST_CATCH("vmovdqu (%%rsi), %%ymm0", "S"(in[0])));
		enable(7);
		asm volatile(FOR_ALL_REGS(STORE_YMM)::[out] "r"(out[0])
			     : "memory");
		check(0, true);
	}
}

TEST(xcr0)
{
	struct vm *vm = vm_new_irqchip();
	struct vcpu *vcpu = vcpu_new(vm, 0);
	struct kvm_cpuid2 *offered = supported_cpuid(vm->sys);
	u32 i;

	if (!(find_cpuid(offered, 1, 0)->ecx & 1 << 28))
		SKIP(return, "AVX is not offered");
	if (lab_is_tcg() && !lab_is_labvisor())
		SKIP(return, "QEMU's TCG misses that KVM switches XCR0");
	vcpu_call(vcpu, xcr0_guest);
	for (i = 0; i < 20; i++) {
		EXPECT_TRUE(run_keeps_host_registers(vcpu, i));
		ASSERT_EQ(KVM_EXIT_IO, vcpu->run->exit_reason);
	}
	EXPECT_EQ(GUEST_DONE, vcpu_sync(vcpu));
}

/* XSAVES and XRSTORS, with the user states only. */
static u8 area[4096] __attribute__((aligned(64)));

static void xsaves_guest(void)
{
	fill(0, 1);
	hold(0, false, false);
	GUEST_EQ(UD_VECTOR,
		 GUEST_CATCH("xsaves64 (%%rdi)", "D"(area), EDX_EAX(3)));
	enable(3);
	GUEST_EQ(NO_TRAP,
		 GUEST_CATCH("xsaves64 (%%rdi)", "D"(area), EDX_EAX(3)));
	asm volatile("pxor %xmm0, %xmm0");
	GUEST_EQ(NO_TRAP,
		 GUEST_CATCH("xrstors64 (%%rdi)", "D"(area), EDX_EAX(3)));
	asm volatile("movdqu %%xmm0, (%0)" ::"r"(out[0]) : "memory");
	GUEST_EQ(in[0][0], out[0][0]);
	GUEST_EQ(NO_TRAP, CATCH_WRMSR(MSR_XSS, 0));
	GUEST_EQ(GP_VECTOR, CATCH_WRMSR(MSR_XSS, 1 << 8));
}

TEST(xsaves)
{
	struct vm *vm = vm_new();
	struct vcpu *vcpu = vcpu_new(vm, 0);
	struct kvm_cpuid2 *offered = supported_cpuid(vm->sys);
	const struct kvm_cpuid_entry2 *e = find_cpuid(offered, 0xd, 1);

	if (!e || !(e->eax & 1 << 3))
		SKIP(return, "the CPU has no XSAVES");
	EXPECT_EQ(0, e->ecx | e->edx);
	vcpu_call(vcpu, xsaves_guest);
	EXPECT_EQ(0x77, vcpu_sync(vcpu));
	EXPECT_EQ(GUEST_DONE, vcpu_sync(vcpu));
}

/* x87 state, and what user space sees of it. */
static void x87_guest(void)
{
	u16 cw = 0x27f, seen;
	u64 value;

	asm volatile("fninit; fldcw %0; fld1; fldpi" ::"m"(cw));
	guest_sync(1);
	asm volatile("fistpll %0" : "=m"(value));
	GUEST_EQ(3, value);
	asm volatile("fistpll %0" : "=m"(value));
	GUEST_EQ(1, value);
	asm volatile("fnstcw %0" : "=m"(seen));
	GUEST_EQ(cw, seen);
}

TEST(x87)
{
	struct vcpu *vcpu = vcpu_new(vm_new(), 0);
	struct kvm_fpu fpu;

	vcpu_call(vcpu, x87_guest);
	EXPECT_EQ(1, vcpu_sync(vcpu));
	MUST(vcpu->fd, KVM_GET_FPU, &fpu);
	EXPECT_EQ(0x27f, fpu.fcw);
	EXPECT_EQ(0xc0, fpu.ftwx);
	EXPECT_EQ(0x4000, fpu.fpr[0][8] | fpu.fpr[0][9] << 8);
	EXPECT_EQ(0x3fff, fpu.fpr[1][8] | fpu.fpr[1][9] << 8);
	asm volatile("fninit; fldz; fldz; fldz; fninit");
	EXPECT_EQ(GUEST_DONE, vcpu_sync(vcpu));
}

TEST_HARNESS_MAIN
