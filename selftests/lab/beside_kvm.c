// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM and Labvisor can both be loaded; one at a time has the CPUs'
 * virtualization, and the other says what to do about it. Up to Linux 6.11 KVM
 * has it while it has guests, from 6.12 on while it is loaded, unless it was
 * loaded with enable_virt_at_load=0.
 */
#include <fcntl.h>
#include "guest.h"
#include <kselftest_harness.h>

SNIPPET(16, out_code,
	"1: out %al, $0x80\n"
	"jmp 1b\n");

FIXTURE(beside_kvm)
{
	const char *module;
	bool at_load; /* KVM can take virtualization when it is loaded */
	int log;
};

static const char *kvm_module(void)
{
	return cpuid(0x80000001, 0).ecx & 1 << 2 ? "kvm_amd" : "kvm_intel";
}

/* Whether the command that this format and these words make succeeds. */
static bool shell(const char *format, const char *a, const char *b)
{
	char command[128];

	snprintf(command, sizeof(command), format, a, b);
	return !system(command);
}

static void unload_kvm(void)
{
	shell("for m in %s kvm; do rmmod $m; done 2>/dev/null", kvm_module(),
	      NULL);
}

/* Load KVM so that it does, or does not, take virtualization at once. */
static bool load_kvm(bool at_load, bool take)
{
	const char *parameter = "";

	if (at_load)
		parameter = take ? "enable_virt_at_load=1"
				 : "enable_virt_at_load=0";
	return shell("modprobe kvm %s && modprobe %s", parameter, kvm_module());
}

/* A VM of that device's, or -errno. */
static int create_vm(const char *device)
{
	int fd = open(device, O_RDWR | O_CLOEXEC);
	int vm;

	if (fd < 0)
		return -errno;
	vm = dev_ioctl_value(fd, KVM_CREATE_VM, 0);
	close(fd);
	return vm;
}

/* Whether the kernel log says this since the last look. */
static bool logged(int log, const char *words)
{
	char line[1024];
	bool found = false;
	ssize_t n;

	while ((n = read(log, line, sizeof(line) - 1)) > 0) {
		line[n] = 0;
		if (strstr(line, "labvisor: ") && strstr(line, words))
			found = true;
	}
	return found;
}

static void check_guest_runs(struct vcpu *vcpu)
{
	if (vcpu_exit(vcpu) != KVM_EXIT_IO)
		die("the guest does not run");
}

static struct vcpu *new_guest(void)
{
	struct vcpu *vcpu = vcpu_new(vm_new(), 0);

	VCPU_SNIPPET(vcpu, MODE_REAL, out_code);
	return vcpu;
}

static void free_guest(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;

	vcpu_free(vcpu);
	vm_free(vm);
}

FIXTURE_SETUP(beside_kvm)
{
	if (!lab_is_labvisor())
		SKIP(return, "Labvisor's module is not loaded");
	self->module = kvm_module();
	unload_kvm();
	if (!load_kvm(false, false))
		SKIP(return, "this kernel has no module %s", self->module);
	self->at_load =
		!access("/sys/module/kvm/parameters/enable_virt_at_load", F_OK);
	unload_kvm();
	self->log = open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	lseek(self->log, 0, SEEK_END);
}

FIXTURE_TEARDOWN(beside_kvm)
{
	unload_kvm();
	close(self->log);
}

TEST_F(beside_kvm, is_told_what_to_do)
{
	char advice[64];
	int vm = -1;

	snprintf(advice, sizeof(advice), "modprobe -r %s", self->module);
	ASSERT_TRUE(load_kvm(self->at_load, true));
	if (!self->at_load)
		vm = create_vm("/dev/kvm");
	EXPECT_EQ(-EBUSY, create_vm(lab_device()));
	EXPECT_TRUE(logged(self->log, advice));
	EXPECT_EQ(-EBUSY, create_vm(lab_device()));
	EXPECT_EQ(self->at_load, logged(self->log, "enable_virt_at_load=0"));
	close(vm);
	ASSERT_TRUE(shell(advice, NULL, NULL));
	free_guest(new_guest());
}

TEST_F(beside_kvm, runs_guests_while_kvm_has_none)
{
	struct vcpu *vcpu;
	int vm;

	ASSERT_TRUE(load_kvm(self->at_load, false));
	vcpu = new_guest();
	check_guest_runs(vcpu);
	free_guest(vcpu);
	vm = create_vm("/dev/kvm");
	ASSERT_LE(0, vm);
	EXPECT_EQ(-EBUSY, create_vm(lab_device()));
	close(vm);
	vcpu = new_guest();
	check_guest_runs(vcpu);
	free_guest(vcpu);
}

TEST_F(beside_kvm, keeps_it_from_kvm_while_it_has_guests)
{
	struct vcpu *vcpu = new_guest();
	int vm;

	if (self->at_load)
		EXPECT_FALSE(load_kvm(true, true));
	unload_kvm();
	ASSERT_TRUE(load_kvm(self->at_load, false));
	EXPECT_GT(0, create_vm("/dev/kvm")) TH_LOG("EBUSY or, on 6.12, EIO");
	check_guest_runs(vcpu);
	free_guest(vcpu);
	vm = create_vm("/dev/kvm");
	EXPECT_LE(0, vm);
	close(vm);
}

TEST_HARNESS_MAIN
