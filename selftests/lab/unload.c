// SPDX-License-Identifier: GPL-2.0-only
/* The module stays while anything of it is in use, and goes when nothing is. */
#include <fcntl.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "guest.h"
#include <kselftest_harness.h>

SNIPPET(16, spin_code, "1: lock incl 0xa000\njmp 1b\n");

static int unload(void)
{
	return syscall(SYS_delete_module, "labvisor", O_NONBLOCK) ? -errno : 0;
}

/* With the parameters that the lab host wants. */
static int load(const char *path)
{
	const char *params = getenv("LABVISOR_PARAMS");
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int ret;

	if (fd < 0)
		return -errno;
	ret = syscall(SYS_finit_module, fd, params ? params : "", 0) ? -errno
								     : 0;
	close(fd);
	return ret;
}

/* The module lies beside the tests in a lab host, or where LABVISOR_KO says. */
static const char *module_path(void)
{
	const char *path = getenv("LABVISOR_KO");

	return path ? path : "./labvisor.ko";
}

#define NEED_MODULE()                                                    \
	do {                                                             \
		if (!lab_is_labvisor())                                  \
			SKIP(return, "Labvisor's module is not loaded"); \
		if (access(module_path(), R_OK))                         \
			SKIP(return, "there is no %s to load again",     \
				   module_path());                       \
	} while (0)

TEST(and_load_again)
{
	int i;

	NEED_MODULE();
	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, unload());
		EXPECT_NE(0, access(lab_device(), F_OK));
		ASSERT_EQ(0, load(module_path()));
		EXPECT_EQ(0, access(lab_device(), F_OK));
	}
	EXPECT_EQ(-EEXIST, load(module_path()));
}

/* Each of the things that keep it, alone. */
TEST(refused_while_in_use)
{
	struct vm *vm;
	struct vcpu *vcpu;
	int fd;

	NEED_MODULE();
	fd = lab_open();
	EXPECT_EQ(-EWOULDBLOCK, unload()) TH_LOG("the node is open");
	close(fd);

	vm = vm_new();
	close(vm->sys);
	EXPECT_EQ(-EWOULDBLOCK, unload()) TH_LOG("a VM is open");
	close(vm->fd);

	vm = vm_new();
	vcpu = vcpu_new(vm, 0);
	close(vm->sys);
	close(vm->fd);
	EXPECT_EQ(-EWOULDBLOCK, unload()) TH_LOG("a vCPU is open");
	close(vcpu->fd);
	EXPECT_EQ(-EWOULDBLOCK, unload()) TH_LOG("kvm_run is mapped");
	munmap(vcpu->run, vcpu->run_size);
	ASSERT_EQ(0, unload());
	ASSERT_EQ(0, load(module_path()));
}

TEST(refused_while_running)
{
	struct vcpu *vcpu;
	struct vm *vm;

	NEED_MODULE();
	vm = vm_new();
	vcpu = vcpu_new(vm, 0);
	VCPU_SNIPPET(vcpu, MODE_REAL, spin_code);
	vcpu_start_run(vcpu);
	while (!*(volatile u32 *)(vm->mem + DATA_GPA))
		sched_yield();
	EXPECT_EQ(-EWOULDBLOCK, unload());
	vcpu_kick(vcpu);
	EXPECT_EQ(-EINTR, vcpu_join(vcpu));
	vcpu_free(vcpu);
	vm_free(vm);
	ASSERT_EQ(0, unload());
	ASSERT_EQ(0, load(module_path()));
}

/* A process that was killed in the middle leaves nothing behind. */
TEST(after_kill)
{
	volatile u32 *count = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct vcpu *vcpu;
	struct vm *vm;
	pid_t pid;

	NEED_MODULE();
	pid = fork();
	if (!pid) {
		vm = vm_new_irqchip();
		mremap((void *)count, PAGE_SIZE, PAGE_SIZE,
		       MREMAP_MAYMOVE | MREMAP_FIXED, vm->mem + DATA_GPA);
		vcpu = vcpu_new(vm, 0);
		VCPU_SNIPPET(vcpu, MODE_REAL, spin_code);
		vcpu_exit(vcpu);
		_exit(0);
	}
	while (!*count)
		sched_yield();
	kill(pid, SIGKILL);
	ASSERT_EQ(pid, waitpid(pid, NULL, 0));
	ASSERT_EQ(0, unload());
	ASSERT_EQ(0, load(module_path()));
}

TEST_HARNESS_MAIN
