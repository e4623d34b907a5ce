// SPDX-License-Identifier: GPL-2.0-only
/* What user space can choose for a VM or a vCPU by KVM_ENABLE_CAP and attributes. */
#include "guest.h"
#include <linux/kvm_para.h>
#include <kselftest_harness.h>

#define MSR_PLATFORM_INFO 0xce
#define MISC_ENABLE_MWAIT (1u << 18)
#define CPUID_MWAIT (1u << 3)

FIXTURE(options)
{
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(options)
{
	self->vm = vm_new_irqchip();
	self->vcpu = vcpu_new(self->vm, 0);
	vcpu_offer_cpuid(self->vcpu);
}

FIXTURE_TEARDOWN(options)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

static int enable(int fd, u32 cap, u64 value)
{
	struct kvm_enable_cap enable = { .cap = cap, .args[0] = value };

	return dev_ioctl(fd, KVM_ENABLE_CAP, &enable);
}

static int quirks_off(struct vm *vm, u64 quirks)
{
	return enable(vm->fd, KVM_CAP_DISABLE_QUIRKS2, quirks);
}

TEST_F(options, refusals)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_DISABLE_QUIRKS2,
				      .flags = 1 };
	int max = vm_cap(self->vm, KVM_CAP_MAX_VCPU_ID);
	u64 quirks = vm_cap(self->vm, KVM_CAP_DISABLE_QUIRKS2);

	EXPECT_EQ(-EINVAL, dev_ioctl(self->vm->fd, KVM_ENABLE_CAP, &cap));
	EXPECT_EQ(-EINVAL, quirks_off(self->vm, 1ull << 40));
	EXPECT_EQ(0, quirks_off(self->vm, quirks));
	EXPECT_EQ(-EINVAL, enable(self->vm->fd, KVM_CAP_MAX_VCPU_ID, max + 1));
	EXPECT_EQ(-EINVAL, enable(self->vm->fd, KVM_CAP_MAX_VCPU_ID, 0));
	EXPECT_EQ(-EINVAL, enable(self->vm->fd, 100000, 0));
	EXPECT_EQ(-EINVAL, enable(self->vcpu->fd, 100000, 0));
	EXPECT_EQ(-EINVAL, enable(self->vcpu->fd, KVM_CAP_DISABLE_QUIRKS2, 0));
	cap.cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID;
	EXPECT_EQ(-EINVAL, dev_ioctl(self->vcpu->fd, KVM_ENABLE_CAP, &cap));
	EXPECT_EQ(-EINVAL,
		  dev_ioctl_value(self->vm->fd, KVM_SET_NR_MMU_PAGES, 63));
	EXPECT_EQ(0, dev_ioctl_value(self->vm->fd, KVM_SET_NR_MMU_PAGES, 64));
	EXPECT_EQ(64, dev_ioctl_value(self->vm->fd, KVM_GET_NR_MMU_PAGES, 0));
}

TEST(max_vcpu_id)
{
	struct vm *vm = vm_new_irqchip();

	ASSERT_EQ(0, enable(vm->fd, KVM_CAP_MAX_VCPU_ID, 2));
	EXPECT_EQ(0, enable(vm->fd, KVM_CAP_MAX_VCPU_ID, 2));
	EXPECT_EQ(-EINVAL, enable(vm->fd, KVM_CAP_MAX_VCPU_ID, 3));
	EXPECT_EQ(-EINVAL, dev_ioctl_value(vm->fd, KVM_CREATE_VCPU, 2));
	EXPECT_LE(0, dev_ioctl_value(vm->fd, KVM_CREATE_VCPU, 1));
	vm_free(vm);
}

/* ---- quirks ---- */

static volatile u32 ud_hits;

static void on_ud(struct trap_frame *frame)
{
	ud_hits++;
	frame->rip += 3; /* MONITOR, MWAIT, VMCALL and VMMCALL */
}

static void mwait_guest(void)
{
	trap_handlers[UD_VECTOR] = on_ud;
	sti(); /* without, Bochs wakes for nothing, not even for the host */
	for (;;) {
		ud_hits = 0;
		asm volatile("monitor" ::"a"(&ud_hits), "c"(0), "d"(0));
		asm volatile("mwait" ::"a"(0), "c"(0));
		guest_sync(ud_hits + (cpuid(1, 0).ecx & CPUID_MWAIT));
	}
}

TEST_F(options, mwait)
{
	const u32 no_ud = KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS;
	const u32 no_misc = KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT;

	vcpu_call(self->vcpu, mwait_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	vcpu_set_msr(self->vcpu, MSR_MISC_ENABLE, MISC_ENABLE_MWAIT);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	ASSERT_EQ(0, quirks_off(self->vm, no_ud));
	EXPECT_EQ(2, vcpu_sync(self->vcpu));
	ASSERT_EQ(0, quirks_off(self->vm, no_ud | no_misc));
	vcpu_set_msr(self->vcpu, MSR_MISC_ENABLE, MISC_ENABLE_MWAIT);
	EXPECT_EQ(CPUID_MWAIT, vcpu_sync(self->vcpu));
	vcpu_set_msr(self->vcpu, MSR_MISC_ENABLE, 0);
	EXPECT_EQ(2, vcpu_sync(self->vcpu));
	ASSERT_EQ(0, quirks_off(self->vm, no_misc));
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
}

/* Executed by the CPU, they do not heed what CPUID tells the guest. */
TEST(mwait_without_exits)
{
	const u64 mwait = KVM_X86_DISABLE_EXITS_MWAIT;
	struct vm *vm = vm_new_irqchip();
	struct vcpu *vcpu;
	u64 all = vm_cap(vm, KVM_CAP_X86_DISABLE_EXITS);

	EXPECT_EQ(-EINVAL, enable(vm->fd, KVM_CAP_X86_DISABLE_EXITS, ~all));
	if (!(cpuid(1, 0).ecx & CPUID_MWAIT)) {
		EXPECT_EQ(0, all & mwait);
		SKIP(return, "the processor has no MWAIT");
	}
	/* Otherwise its timer may stop. */
	ASSERT_EQ(cpuid(6, 0).eax >> 2 & 1, !!(all & mwait));
	if (!(all & mwait))
		SKIP(return, "the processor's timer may stop in MWAIT");
	ASSERT_EQ(0, enable(vm->fd, KVM_CAP_X86_DISABLE_EXITS, mwait));
	quirks_off(vm, KVM_X86_QUIRK_MWAIT_NEVER_UD_FAULTS);
	vcpu = vcpu_new(vm, 0);
	EXPECT_EQ(-EINVAL, enable(vm->fd, KVM_CAP_X86_DISABLE_EXITS, mwait));
	vcpu_offer_cpuid(vcpu);
	vcpu_call(vcpu, mwait_guest);
	EXPECT_EQ(0, vcpu_sync(vcpu));
	EXPECT_EQ(0, vcpu_sync(vcpu));
	vcpu_free(vcpu);
	vm_free(vm);
}

/* The text is in the guest's own memory: the host's copy stays. */
extern u8 hypercall_insn[];

static void hypercall_guest(void)
{
	u64 ret;

	trap_handlers[UD_VECTOR] = on_ud;
	for (;;) {
		ud_hits = 0;
		asm volatile(".globl hypercall_insn\n"
			     "hypercall_insn: .byte 0x0f, 0x01, 0xc1"
			     : "=a"(ret)
			     : "a"(KVM_HC_VAPIC_POLL_IRQ)
			     : "memory");
		guest_sync(ud_hits);
	}
}

/* The other vendor's hypercall works, and becomes ours where it can be written. */
TEST_F(options, foreign_hypercall)
{
	u8 ours = lab_is_vmx() ? 0xc1 : 0xd9, other = ours ^ 0xc1 ^ 0xd9;
	volatile u8 *insn = self->vm->mem + (uintptr_t)hypercall_insn;

	vcpu_call(self->vcpu, hypercall_guest);
	insn[2] = other;
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	EXPECT_EQ(ours, insn[2]);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	insn[2] = other;
	ASSERT_EQ(0, quirks_off(self->vm, KVM_X86_QUIRK_FIX_HYPERCALL_INSN));
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	EXPECT_EQ(other, insn[2]);
	ASSERT_EQ(0, quirks_off(self->vm, 0));
	/* What is undefined for good stays so. */
	insn[1] = 0x0b;
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
}

/* There is no page that the guest's task priority goes to. */
TEST_F(options, vapic_only_off)
{
	struct kvm_vapic_addr vapic = {};

	EXPECT_EQ(0, dev_ioctl(self->vcpu->fd, KVM_SET_VAPIC_ADDR, &vapic));
	vapic.vapic_addr = 0x1000;
	EXPECT_EQ(-EINVAL,
		  dev_ioctl(self->vcpu->fd, KVM_SET_VAPIC_ADDR, &vapic));
}

/* ---- MSRs ---- */

static volatile u32 gp_hits, asked;

static void on_gp(struct trap_frame *frame)
{
	gp_hits++;
	frame->rip += 2; /* RDMSR, WRMSR */
}

static void msr_guest(void)
{
	trap_handlers[GP_VECTOR] = on_gp;
	for (;;) {
		gp_hits = 0;
		wrmsr(asked, rdmsr(asked));
		guest_sync(gp_hits);
	}
}

TEST_F(options, platform_info)
{
	u64 value;

	GUEST_VAR(self->vm, asked) = MSR_PLATFORM_INFO;
	EXPECT_EQ(0, vcpu_set_msr(self->vcpu, MSR_PLATFORM_INFO, 0xff00));
	/* There is no CPUID faulting. */
	EXPECT_EQ(-EINVAL,
		  vcpu_set_msr(self->vcpu, MSR_PLATFORM_INFO, 1ull << 31));
	vcpu_call(self->vcpu, msr_guest);
	EXPECT_EQ(1, vcpu_sync(self->vcpu)); /* the write */
	ASSERT_EQ(0, enable(self->vm->fd, KVM_CAP_MSR_PLATFORM_INFO, 0));
	EXPECT_EQ(2, vcpu_sync(self->vcpu));
	ASSERT_EQ(0, vcpu_get_msr(self->vcpu, MSR_PLATFORM_INFO, &value));
	EXPECT_EQ(0xff00, value);
	ASSERT_EQ(0, enable(self->vm->fd, KVM_CAP_MSR_PLATFORM_INFO, 1));
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
}

TEST(pv_features_enforced)
{
	const u32 msrs[] = { MSR_KVM_SYSTEM_TIME, MSR_KVM_SYSTEM_TIME_NEW,
			     MSR_KVM_WALL_CLOCK_NEW, MSR_KVM_STEAL_TIME,
			     MSR_KVM_PV_EOI_EN };
	struct vm *vm = vm_new_irqchip();
	struct vcpu *vcpu = vcpu_new(vm, 0);
	struct kvm_cpuid2 none = {};
	unsigned int i, round;

	MUST(vcpu->fd, KVM_SET_CPUID2, &none);
	vcpu_call(vcpu, msr_guest);
	for (round = 0; round < 2; round++) {
		for (i = 0; i < ARRAY_LEN(msrs); i++) {
			GUEST_VAR(vm, asked) = msrs[i];
			EXPECT_EQ(2 * round, vcpu_sync(vcpu));
			EXPECT_EQ(0, vcpu_set_msr(vcpu, msrs[i], 0));
		}
		ASSERT_EQ(0, enable(vcpu->fd, KVM_CAP_ENFORCE_PV_FEATURE_CPUID,
				    1));
	}
	vcpu_free(vcpu);
	vm_free(vm);
}

/* ---- the TSC's offset ---- */

static void tsc_guest(void)
{
	for (;;) {
		u64 tsc = rdtsc();

		guest_sync(tsc >> 40);
	}
}

TEST_F(options, tsc_offset)
{
	u64 offset = 0x123ull << 40, seen = 0;
	struct kvm_device_attr attr = { .group = KVM_VCPU_TSC_CTRL,
					.attr = KVM_VCPU_TSC_OFFSET,
					.addr = (uintptr_t)&offset };
	int fd = self->vcpu->fd;

	ASSERT_LT(0, vm_cap(self->vm, KVM_CAP_VCPU_ATTRIBUTES));
	vcpu_call(self->vcpu, tsc_guest);
	EXPECT_EQ(0, dev_ioctl(fd, KVM_HAS_DEVICE_ATTR, &attr));
	ASSERT_EQ(0, dev_ioctl(fd, KVM_SET_DEVICE_ATTR, &attr));
	EXPECT_EQ(0x123 + (rdtsc() >> 40), vcpu_sync(self->vcpu));
	attr.addr = (uintptr_t)&seen;
	ASSERT_EQ(0, dev_ioctl(fd, KVM_GET_DEVICE_ATTR, &attr));
	EXPECT_EQ(offset, seen);
	attr.addr = 8;
	EXPECT_EQ(-EFAULT, dev_ioctl(fd, KVM_GET_DEVICE_ATTR, &attr));
	EXPECT_EQ(-EFAULT, dev_ioctl(fd, KVM_SET_DEVICE_ATTR, &attr));
	attr.attr++;
	EXPECT_EQ(-ENXIO, dev_ioctl(fd, KVM_HAS_DEVICE_ATTR, &attr));
	EXPECT_EQ(-ENXIO, dev_ioctl(fd, KVM_SET_DEVICE_ATTR, &attr));
	attr.attr--;
	attr.group++;
	EXPECT_EQ(-ENXIO, dev_ioctl(fd, KVM_GET_DEVICE_ATTR, &attr));
}

/* What a guest's XSAVE may have is what CPUID says. */
TEST_F(options, xsave_features)
{
	u64 seen = 0;
	struct kvm_device_attr attr = { .attr = KVM_X86_XCOMP_GUEST_SUPP,
					.addr = (uintptr_t)&seen };
	struct kvm_cpuid2 *cpuid = supported_cpuid(self->vm->sys);
	const struct kvm_cpuid_entry2 *e = find_cpuid(cpuid, 0xd, 0);
	int fd = self->vm->sys;

	ASSERT_LT(0, vm_cap(self->vm, KVM_CAP_SYS_ATTRIBUTES));
	ASSERT_EQ(0, dev_ioctl(fd, KVM_HAS_DEVICE_ATTR, &attr));
	ASSERT_EQ(0, dev_ioctl(fd, KVM_GET_DEVICE_ATTR, &attr));
	EXPECT_EQ(e ? e->eax | (u64)e->edx << 32 : 3, seen);
	attr.addr = 8;
	EXPECT_EQ(-EFAULT, dev_ioctl(fd, KVM_GET_DEVICE_ATTR, &attr));
	attr.attr++;
	EXPECT_EQ(-ENXIO, dev_ioctl(fd, KVM_HAS_DEVICE_ATTR, &attr));
	EXPECT_EQ(-ENXIO, dev_ioctl(fd, KVM_GET_DEVICE_ATTR, &attr));
	free(cpuid);
}

TEST_HARNESS_MAIN
