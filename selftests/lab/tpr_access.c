// SPDX-License-Identifier: GPL-2.0-only
/* KVM_TPR_ACCESS_REPORTING: an exit after each access to the APIC's TPR. */
#include "guest.h"
#include <kselftest_harness.h>

extern const u8 read_insn[], write_insn[], after_write[];

static void guest(void)
{
	u32 value;

	GUEST_EQ(0, apic_read(APIC_PPR));
	apic_write(APIC_LVT0, 0x10000);
	asm volatile(".globl read_insn, write_insn, after_write\n"
		     "read_insn: mov (%1), %0\n"
		     "write_insn: movl $0x30, (%1)\n"
		     "after_write:"
		     : "=&r"(value)
		     : "r"(APIC_GPA + APIC_TPR)
		     : "memory");
	GUEST_EQ(0, value);
	GUEST_EQ(3, READ_REG(cr8));
	WRITE_REG(cr8, 4);
	guest_sync(1);
	GUEST_EQ(0x40, apic_read(APIC_TPR));
}

FIXTURE(tpr_access)
{
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(tpr_access)
{
	self->vm = vm_new_irqchip();
	self->vcpu = vcpu_new(self->vm, 0);
	vcpu_call(self->vcpu, guest);
}

FIXTURE_TEARDOWN(tpr_access)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

static int report(struct vcpu *vcpu, u32 enabled, u32 flags)
{
	struct kvm_tpr_access_ctl ctl = { .enabled = enabled, .flags = flags };

	return dev_ioctl(vcpu->fd, KVM_TPR_ACCESS_REPORTING, &ctl);
}

TEST_F(tpr_access, off_at_first)
{
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

TEST_F(tpr_access, flags_are_refused)
{
	EXPECT_EQ(-EINVAL, report(self->vcpu, 1, 1));
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	ASSERT_EQ(0, report(self->vcpu, 1, 0));
	EXPECT_EQ(-EINVAL, report(self->vcpu, 0, 1));
	EXPECT_EXIT(KVM_EXIT_TPR_ACCESS, self->vcpu);
}

/* Reads and writes, by whom, after they are done; no other register. */
TEST_F(tpr_access, reported)
{
	struct kvm_run *run = self->vcpu->run;
	struct kvm_lapic_state lapic;
	struct kvm_regs regs;

	ASSERT_EQ(0, report(self->vcpu, 1, 0));
	ASSERT_EXIT(KVM_EXIT_TPR_ACCESS, self->vcpu);
	EXPECT_EQ((uintptr_t)read_insn, run->tpr_access.rip);
	EXPECT_EQ(0, run->tpr_access.is_write);
	vcpu_get_regs(self->vcpu, &regs);
	EXPECT_EQ((uintptr_t)write_insn, regs.rip);

	ASSERT_EXIT(KVM_EXIT_TPR_ACCESS, self->vcpu);
	EXPECT_EQ((uintptr_t)write_insn, run->tpr_access.rip);
	EXPECT_EQ(1, run->tpr_access.is_write);
	vcpu_get_regs(self->vcpu, &regs);
	EXPECT_EQ((uintptr_t)after_write, regs.rip);
	MUST(self->vcpu->fd, KVM_GET_LAPIC, &lapic);
	EXPECT_EQ(0x30, lapic.regs[APIC_TPR]);

	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	ASSERT_EQ(0, report(self->vcpu, 0, 0));
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

TEST_HARNESS_MAIN
