// SPDX-License-Identifier: GPL-2.0-only
/* State that VM entry refuses: user space hears of it, the log says what. */
#include <fcntl.h>
#include "guest.h"
#include <kselftest_harness.h>

SNIPPET(64, out_code, "out %al, $0x80\nhlt\n");

FIXTURE(entry_failure)
{
	struct vm *vm;
	struct vcpu *vcpu;
	struct kvm_sregs sregs;
	int log;
};

#define NEED_REPORT()                                                  \
	do {                                                           \
		if (!lab_is_vmx())                                     \
			SKIP(return, "SVM's VMRUN takes any segment"); \
		if (!lab_is_labvisor())                                \
			SKIP(return, "the log is Labvisor's");         \
	} while (0)

FIXTURE_SETUP(entry_failure)
{
	self->log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ASSERT_LE(0, self->log);
	lseek(self->log, 0, SEEK_END);
	self->vm = vm_new();
	self->vcpu = vcpu_new(self->vm, 0);
	VCPU_SNIPPET(self->vcpu, MODE_LONG, out_code);
	ASSERT_EQ(0, dev_ioctl(self->vcpu->fd, KVM_GET_SREGS, &self->sregs));
}

FIXTURE_TEARDOWN(entry_failure)
{
	close(self->log);
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

/* Did the kernel log these words since the test began? */
static bool logged(int log, const char *words)
{
	char line[1024];
	bool found = false;
	ssize_t n;

	while ((n = read(log, line, sizeof(line) - 1)) > 0) {
		line[n] = 0;
		found |= strstr(line, words) != NULL;
	}
	return found;
}

static int run_with(struct vcpu *vcpu, const struct kvm_sregs *sregs)
{
	if (dev_ioctl(vcpu->fd, KVM_SET_SREGS, (void *)sregs))
		return -1;
	return vcpu_exit(vcpu);
}

/* And once it is mended, the guest runs. */
TEST_F(entry_failure, names_the_task_register)
{
	struct kvm_sregs bad = self->sregs;
	struct kvm_run *run = self->vcpu->run;

	NEED_REPORT();
	bad.tr.unusable = 1;
	EXPECT_EQ(KVM_EXIT_FAIL_ENTRY, run_with(self->vcpu, &bad));
	/* SDM: entry failure, invalid guest state. */
	EXPECT_EQ(0x80000021, run->fail_entry.hardware_entry_failure_reason);
	EXPECT_TRUE(logged(self->log, "wrong: TR"));
	EXPECT_EQ(KVM_EXIT_IO, run_with(self->vcpu, &self->sregs));
}

TEST_F(entry_failure, names_the_code_segment)
{
	struct kvm_sregs bad = self->sregs;

	NEED_REPORT();
	bad.cs.dpl = 3; /* unlike SS */
	EXPECT_EQ(KVM_EXIT_FAIL_ENTRY, run_with(self->vcpu, &bad));
	EXPECT_EQ(KVM_EXIT_FAIL_ENTRY, run_with(self->vcpu, &bad));
	EXPECT_EQ(KVM_EXIT_IO, run_with(self->vcpu, &self->sregs));
}

TEST_HARNESS_MAIN
