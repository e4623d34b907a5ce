// SPDX-License-Identifier: GPL-2.0-only
/* MSR filters, and accesses to MSRs that user space answers. */
#include "guest.h"
#include <kselftest_harness.h>

#define UNKNOWN_MSR 0x0dead000u
#define ALL_REASONS                                                \
	(KVM_MSR_EXIT_REASON_INVAL | KVM_MSR_EXIT_REASON_UNKNOWN | \
	 KVM_MSR_EXIT_REASON_FILTER)

static volatile u32 msr;
static volatile u64 value;
static volatile bool writes;
static volatile u32 gp_hits;

/* RDMSR and WRMSR are two bytes long. */
static void on_gp(struct trap_frame *frame)
{
	gp_hits++;
	frame->rip += 2;
	frame->rax = frame->rdx = 0;
}

/* Access what the test asks for, and report how often that was refused. */
static void guest(void)
{
	trap_handlers[GP_VECTOR] = on_gp;
	for (;;) {
		gp_hits = 0;
		if (writes)
			wrmsr(msr, value);
		else
			value = rdmsr(msr);
		guest_sync(gp_hits);
	}
}

FIXTURE(msr_filter)
{
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(msr_filter)
{
	self->vm = vm_new_irqchip();
	self->vcpu = vcpu_new(self->vm, 0);
	vcpu_offer_cpuid(self->vcpu);
	vcpu_call(self->vcpu, guest);
}

FIXTURE_TEARDOWN(msr_filter)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

static int set_filter(struct vm *vm, struct kvm_msr_filter *filter)
{
	return dev_ioctl(vm->fd, KVM_X86_SET_MSR_FILTER, filter);
}

static int answer(struct vm *vm, u64 reasons)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_X86_USER_SPACE_MSR,
				      .args[0] = reasons };

	return dev_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
}

/* Have the guest read @index, or write @val to it. */
static void ask(struct vcpu *vcpu, u32 index, bool is_write, u64 val)
{
	GUEST_VAR(vcpu->vm, msr) = index;
	GUEST_VAR(vcpu->vm, writes) = is_write;
	GUEST_VAR(vcpu->vm, value) = val;
}

/* The same, without an exit: is it refused? */
static u32 refused(struct vcpu *vcpu, u32 index, bool is_write)
{
	ask(vcpu, index, is_write, 0);
	return vcpu_sync(vcpu);
}

/* A filter that denies one MSR. */
static struct kvm_msr_filter deny_one(u32 index, u32 flags)
{
	static u8 none;

	return (struct kvm_msr_filter){
		.ranges[0] = { .flags = flags,
			       .nmsrs = 1,
			       .base = index,
			       .bitmap = &none },
	};
}

#define READS KVM_MSR_FILTER_READ
#define WRITES KVM_MSR_FILTER_WRITE

TEST_F(msr_filter, offered)
{
	EXPECT_LT(0, vm_cap(self->vm, KVM_CAP_X86_MSR_FILTER));
	EXPECT_LT(0, vm_cap(self->vm, KVM_CAP_X86_USER_SPACE_MSR));
}

/* What is refused leaves the filter as it was. */
TEST_F(msr_filter, refusals)
{
	struct kvm_msr_filter good = deny_one(MSR_PAT, READS), bad = {};

	ASSERT_EQ(0, set_filter(self->vm, &good));
	bad.flags = KVM_MSR_FILTER_DEFAULT_DENY;
	EXPECT_EQ(-EINVAL, set_filter(self->vm, &bad));
	bad = deny_one(MSR_EFER, READS);
	bad.flags = 2;
	EXPECT_EQ(-EINVAL, set_filter(self->vm, &bad));
	bad = deny_one(MSR_EFER, 4);
	EXPECT_EQ(-EINVAL, set_filter(self->vm, &bad));
	bad = deny_one(MSR_EFER, READS);
	bad.ranges[0].nmsrs = KVM_MSR_FILTER_MAX_BITMAP_SIZE * 8 + 1;
	EXPECT_EQ(-EINVAL, set_filter(self->vm, &bad));
	bad = deny_one(MSR_EFER, READS);
	bad.ranges[0].bitmap = NULL;
	EXPECT_EQ(-EFAULT, set_filter(self->vm, &bad));
	EXPECT_EQ(-EINVAL, answer(self->vm, ALL_REASONS + 1));

	EXPECT_EQ(1, refused(self->vcpu, MSR_PAT, false));
	EXPECT_EQ(0, refused(self->vcpu, MSR_EFER, false));
}

/* Reads and writes apart; also of MSRs that guests access without an exit. */
TEST_F(msr_filter, denied)
{
	const u32 msrs[] = { MSR_PAT, MSR_LSTAR, MSR_FS_BASE,
			     MSR_SYSENTER_EIP };
	struct kvm_msr_filter filter;
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(msrs); i++) {
		filter = deny_one(msrs[i], READS);
		ASSERT_EQ(0, set_filter(self->vm, &filter));
		EXPECT_EQ(1, refused(self->vcpu, msrs[i], false));
		EXPECT_EQ(0, refused(self->vcpu, msrs[i], true));
		filter = deny_one(msrs[i], WRITES);
		ASSERT_EQ(0, set_filter(self->vm, &filter));
		EXPECT_EQ(0, refused(self->vcpu, msrs[i], false));
		EXPECT_EQ(1, refused(self->vcpu, msrs[i], true));
	}
	filter = (struct kvm_msr_filter){};
	ASSERT_EQ(0, set_filter(self->vm, &filter));
	EXPECT_EQ(0, refused(self->vcpu, MSR_SYSENTER_EIP, true));
}

/* Values that exits read and write are those of the CPU. */
TEST_F(msr_filter, allowed)
{
	struct kvm_msr_filter filter = deny_one(MSR_PAT, READS);
	u64 seen;

	ASSERT_EQ(0, set_filter(self->vm, &filter));
	ask(self->vcpu, MSR_KERNEL_GS, true, 0x123456789abcull);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	vcpu_get_msr(self->vcpu, MSR_KERNEL_GS, &seen);
	EXPECT_EQ(0x123456789abcull, seen);
	ask(self->vcpu, MSR_KERNEL_GS, false, 0);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	EXPECT_EQ(0x123456789abcull, GUEST_VAR(self->vm, value));
}

/* The first range that covers an MSR decides; the default for the rest. */
TEST_F(msr_filter, ranges)
{
	u8 some = 0x5, all = 0xff;
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_DENY,
		.ranges[3] = { .flags = READS,
			       .base = MSR_STAR,
			       .nmsrs = 3,
			       .bitmap = &some },
		.ranges[4] = { .flags = READS | WRITES,
			       .base = MSR_STAR,
			       .nmsrs = 4,
			       .bitmap = &all },
	};

	ASSERT_EQ(0, set_filter(self->vm, &filter));
	EXPECT_EQ(0, refused(self->vcpu, MSR_STAR, false));
	EXPECT_EQ(1, refused(self->vcpu, MSR_LSTAR, false));
	EXPECT_EQ(0, refused(self->vcpu, MSR_LSTAR, true));
	EXPECT_EQ(0, refused(self->vcpu, MSR_CSTAR, false));
	EXPECT_EQ(0, refused(self->vcpu, MSR_SFMASK, false));
	EXPECT_EQ(1, refused(self->vcpu, MSR_SFMASK + 1, false));
	EXPECT_EQ(1, refused(self->vcpu, MSR_EFER, false));
	EXPECT_EQ(1, refused(self->vcpu, MSR_FS_BASE, true));
}

/* A filter that denies all leaves the APIC's, and the host's accesses. */
TEST_F(msr_filter, not_of_apic_and_host)
{
	u8 none = 0;
	struct kvm_msr_filter filter = {
		.flags = KVM_MSR_FILTER_DEFAULT_DENY,
		.ranges[0] = { .flags = READS,
			       .base = MSR_X2APIC + 2,
			       .nmsrs = 1,
			       .bitmap = &none },
	};
	u64 base;

	ASSERT_EQ(0, vcpu_get_msr(self->vcpu, MSR_APIC_BASE, &base));
	ASSERT_EQ(0, vcpu_set_msr(self->vcpu, MSR_APIC_BASE, base | 0x400));
	ASSERT_EQ(0, set_filter(self->vm, &filter));
	EXPECT_EQ(0, refused(self->vcpu, MSR_X2APIC + 2, false));
	EXPECT_EQ(1, refused(self->vcpu, MSR_APIC_BASE, false));
	EXPECT_EQ(0, vcpu_get_msr(self->vcpu, MSR_APIC_BASE, &base));
}

static void expect_msr_exit(struct __test_metadata *_metadata,
			    struct vcpu *vcpu, u32 exit, u32 index, u32 reason,
			    u64 data)
{
	struct kvm_run *run = vcpu->run;

	ASSERT_EXIT(exit, vcpu);
	EXPECT_EQ(index, run->msr.index);
	EXPECT_EQ(reason, run->msr.reason);
	EXPECT_EQ(data, run->msr.data);
	EXPECT_EQ(0, run->msr.error);
}

#define EXPECT_MSR_EXIT(...) expect_msr_exit(_metadata, self->vcpu, __VA_ARGS__)

/* User space gives the value that is read, sees what is written, or refuses. */
TEST_F(msr_filter, answered)
{
	struct kvm_msr_filter filter = deny_one(MSR_LSTAR, READS | WRITES);
	struct kvm_run *run = self->vcpu->run;
	u64 seen;

	ASSERT_EQ(0, answer(self->vm, KVM_MSR_EXIT_REASON_FILTER));
	ASSERT_EQ(0, set_filter(self->vm, &filter));
	ASSERT_EQ(0, vcpu_set_msr(self->vcpu, MSR_LSTAR, 0x1111));

	ask(self->vcpu, MSR_LSTAR, false, 0);
	EXPECT_MSR_EXIT(KVM_EXIT_X86_RDMSR, MSR_LSTAR,
			KVM_MSR_EXIT_REASON_FILTER, 0);
	run->msr.data = 0xfedcba9876543210ull;
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	EXPECT_EQ(0xfedcba9876543210ull, GUEST_VAR(self->vm, value));

	ask(self->vcpu, MSR_LSTAR, true, 0x123456789abcdef0ull);
	EXPECT_MSR_EXIT(KVM_EXIT_X86_WRMSR, MSR_LSTAR,
			KVM_MSR_EXIT_REASON_FILTER, 0x123456789abcdef0ull);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	vcpu_get_msr(self->vcpu, MSR_LSTAR, &seen);
	EXPECT_EQ(0x1111, seen);

	EXPECT_MSR_EXIT(KVM_EXIT_X86_WRMSR, MSR_LSTAR,
			KVM_MSR_EXIT_REASON_FILTER, 0x123456789abcdef0ull);
	run->msr.error = 1;
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	ask(self->vcpu, MSR_LSTAR, false, 0);
	EXPECT_MSR_EXIT(KVM_EXIT_X86_RDMSR, MSR_LSTAR,
			KVM_MSR_EXIT_REASON_FILTER, 0);
	run->msr.error = 1;
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
}

/* Each reason exits if it was asked for, and is #GP otherwise. */
TEST_F(msr_filter, reasons)
{
	struct kvm_msr_filter filter = deny_one(MSR_EFER, READS);
	struct {
		u32 reason, index, exit;
		u64 data;
	} cases[] = {
		{ KVM_MSR_EXIT_REASON_FILTER, MSR_EFER, KVM_EXIT_X86_RDMSR },
		{ KVM_MSR_EXIT_REASON_UNKNOWN, UNKNOWN_MSR,
		  KVM_EXIT_X86_RDMSR },
		{ KVM_MSR_EXIT_REASON_INVAL, MSR_PAT, KVM_EXIT_X86_WRMSR, 2 },
	}, *c, *other;

	ASSERT_EQ(0, set_filter(self->vm, &filter));
	for (c = cases; c < cases + ARRAY_LEN(cases); c++) {
		ASSERT_EQ(0, answer(self->vm, c->reason));
		for (other = cases; other < cases + ARRAY_LEN(cases); other++) {
			ask(self->vcpu, other->index,
			    other->exit == KVM_EXIT_X86_WRMSR, other->data);
			if (other == c)
				EXPECT_MSR_EXIT(c->exit, c->index, c->reason,
						c->data);
			EXPECT_EQ(other != c, vcpu_sync(self->vcpu));
		}
	}
}

/* User space may put the vCPU elsewhere instead of answering. */
TEST_F(msr_filter, not_answered)
{
	struct kvm_regs regs;

	ASSERT_EQ(0, answer(self->vm, ALL_REASONS));
	ask(self->vcpu, UNKNOWN_MSR, false, 0);
	EXPECT_MSR_EXIT(KVM_EXIT_X86_RDMSR, UNKNOWN_MSR,
			KVM_MSR_EXIT_REASON_UNKNOWN, 0);
	self->vcpu->run->msr.data = 0x77;
	ask(self->vcpu, MSR_SFMASK, false, 0);
	vcpu_call(self->vcpu, guest);
	vcpu_get_regs(self->vcpu, &regs);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	EXPECT_NE(0x77, GUEST_VAR(self->vm, value));
}

static void spinning_guest(void)
{
	while (rdmsr(MSR_LSTAR) != 0x5a5a5a)
		;
}

/* It takes effect while the guest runs: the vCPU has left it on return. */
TEST_F(msr_filter, while_running)
{
	struct kvm_msr_filter filter = deny_one(MSR_LSTAR, READS);

	ASSERT_EQ(0, answer(self->vm, ALL_REASONS));
	vcpu_call(self->vcpu, spinning_guest);
	vcpu_start_run(self->vcpu);
	ASSERT_EQ(0, set_filter(self->vm, &filter));
	ASSERT_EQ(0, vcpu_join(self->vcpu));
	ASSERT_EQ(KVM_EXIT_X86_RDMSR, self->vcpu->run->exit_reason);
	self->vcpu->run->msr.data = 0x5a5a5a;
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

TEST_HARNESS_MAIN
