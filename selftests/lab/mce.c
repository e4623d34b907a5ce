// SPDX-License-Identifier: GPL-2.0-only
/* Machine-check banks, and the errors that user space puts into them. */
#include "guest.h"
#include <kselftest_harness.h>

#define MCG_CAP 0x179
#define MCG_STATUS 0x17a
#define MCG_CTL 0x17b
#define MCI(bank, reg) (0x400 + 4 * (bank) + (reg))
enum {
	CTL,
	STATUS,
	ADDR,
	MISC
};

#define VALID (1ull << 63)
#define OVERFLOW (1ull << 62)
#define UNCORRECTED (1ull << 61)
#define CR4_MCE 0x40
#define MC_VECTOR 18
#define BANKS 10

FIXTURE(mce)
{
	struct vm *vm;
	struct vcpu *vcpu;
	u64 cap;
};

FIXTURE_SETUP(mce)
{
	self->vm = vm_new_irqchip();
	self->vcpu = vcpu_new(self->vm, 0);
	vcpu_offer_cpuid(self->vcpu);
	MUST(self->vm->sys, KVM_X86_GET_MCE_CAP_SUPPORTED, &self->cap);
	self->cap |= BANKS;
}

FIXTURE_TEARDOWN(mce)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

static u64 get(struct vcpu *vcpu, u32 msr)
{
	u64 value = ~0ull / 3;

	return vcpu_get_msr(vcpu, msr, &value) ? 0xdead : value;
}

static int put(struct vcpu *vcpu, u64 status, u8 bank)
{
	struct kvm_x86_mce mce = {
		.status = status,
		.addr = 0x1234,
		.misc = 0x56,
		.mcg_status = 5, /* RIPV, MCIP */
		.bank = bank,
	};

	return dev_ioctl(vcpu->fd, KVM_X86_SET_MCE, &mce);
}

TEST_F(mce, refusals)
{
	int max = vm_cap(self->vm, KVM_CAP_MCE);
	u64 bad[] = { 0, self->cap & ~0xffull, self->cap | 0xff,
		      (self->cap & ~0xffull) | (max + 1),
		      self->cap | 1ull << 40 };
	unsigned int i;

	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		EXPECT_EQ(-EINVAL, dev_ioctl(self->vcpu->fd, KVM_X86_SETUP_MCE,
					     &bad[i]));
	MUST(self->vcpu->fd, KVM_X86_SETUP_MCE, &self->cap);
	EXPECT_EQ(self->cap, get(self->vcpu, MCG_CAP));
	EXPECT_EQ(-EINVAL, put(self->vcpu, 0, 0));
	EXPECT_EQ(-EINVAL, put(self->vcpu, VALID, BANKS));
	EXPECT_EQ(-EINVAL, vcpu_set_msr(self->vcpu, MCI(BANKS, CTL), 0));
	EXPECT_EQ(-EINVAL, vcpu_set_msr(self->vcpu, MCI(0, CTL), 0x1234));
	EXPECT_EQ(-EINVAL, vcpu_set_msr(self->vcpu, MCG_CTL, 1));
	EXPECT_EQ(~0ull, get(self->vcpu, MCI(BANKS - 1, CTL)));
	EXPECT_EQ(~0ull, get(self->vcpu, MCG_CTL));
}

TEST_F(mce, corrected)
{
	MUST(self->vcpu->fd, KVM_X86_SETUP_MCE, &self->cap);
	EXPECT_EQ(0, put(self->vcpu, VALID | 1, 3));
	EXPECT_EQ(VALID | 1, get(self->vcpu, MCI(3, STATUS)));
	EXPECT_EQ(0x1234, get(self->vcpu, MCI(3, ADDR)));
	EXPECT_EQ(0x56, get(self->vcpu, MCI(3, MISC)));
	EXPECT_EQ(0, put(self->vcpu, VALID | 2, 3));
	EXPECT_EQ(VALID | OVERFLOW | 2, get(self->vcpu, MCI(3, STATUS)));
	/* An uncorrected error that waits is not lost to a corrected one. */
	ASSERT_EQ(0, vcpu_set_msr(self->vcpu, MCI(4, STATUS),
				  VALID | UNCORRECTED | 7));
	EXPECT_EQ(0, put(self->vcpu, VALID | 2, 4));
	EXPECT_EQ(VALID | UNCORRECTED | OVERFLOW | 7,
		  get(self->vcpu, MCI(4, STATUS)));
}

static volatile u32 machine_checks;
static volatile u64 seen;

static void on_mc(struct trap_frame *frame)
{
	machine_checks++;
	seen = rdmsr(MCI(2, STATUS));
	wrmsr(MCI(2, STATUS), 0);
	wrmsr(MCG_STATUS, 0);
}

static void mc_guest(void)
{
	u64 cr4;

	trap_handlers[MC_VECTOR] = on_mc;
	asm volatile("mov %%cr4, %0\n or %1, %0\n mov %0, %%cr4"
		     : "=&r"(cr4)
		     : "i"(CR4_MCE));
	for (;;)
		guest_sync(machine_checks);
}

TEST_F(mce, uncorrected)
{
	const u64 error = VALID | UNCORRECTED | 0x11;

	MUST(self->vcpu->fd, KVM_X86_SETUP_MCE, &self->cap);
	vcpu_call(self->vcpu, mc_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	ASSERT_EQ(0, put(self->vcpu, error, 2));
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	EXPECT_EQ(error, GUEST_VAR(self->vm, seen));
	EXPECT_EQ(0, get(self->vcpu, MCI(2, STATUS)));
	EXPECT_EQ(0, get(self->vcpu, MCG_STATUS));
	/* Switched off, it is neither kept nor told. */
	ASSERT_EQ(0, vcpu_set_msr(self->vcpu, MCI(2, CTL), 0));
	ASSERT_EQ(0, put(self->vcpu, error, 2));
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, get(self->vcpu, MCI(2, STATUS)));
	/* One more while the guest handles another: it shuts down. */
	ASSERT_EQ(0, vcpu_set_msr(self->vcpu, MCI(2, CTL), ~0ull));
	ASSERT_EQ(0, vcpu_set_msr(self->vcpu, MCG_STATUS, 4));
	ASSERT_EQ(0, put(self->vcpu, error, 2));
	EXPECT_EQ(0, vcpu_run(self->vcpu));
	EXPECT_EQ(KVM_EXIT_SHUTDOWN, self->vcpu->run->exit_reason);
}

TEST_HARNESS_MAIN
