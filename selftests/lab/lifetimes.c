// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM ends when the last of its file descriptors and mappings is gone, in
 * whatever order they go and however their process ends.
 */
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include "guest.h"
#include <kselftest_harness.h>

/* Counts in DATA_GPA for ever, without an exit. */
SNIPPET(16, count_code,
	"1: lock incl 0xa000\n"
	"jmp 1b\n");

/* Counts once, then halts with interrupts off. */
SNIPPET(16, halt_code,
	"lock incl 0xa000\n"
	"cli\n"
	"hlt\n");

SNIPPET(16, out_code,
	"1: out %al, $0x80\n"
	"jmp 1b\n");

static volatile u32 *counter(struct vm *vm)
{
	return (volatile u32 *)(vm->mem + DATA_GPA);
}

/* The guest has run once *counter() moves. */
static void wait_for_guest(struct vm *vm)
{
	while (!*counter(vm))
		sched_yield();
}

static struct vcpu *new_guest(const u8 *code, const u8 *end)
{
	struct vcpu *vcpu = vcpu_new(vm_new(), 0);

	vcpu_load(vcpu, MODE_REAL, code, end);
	return vcpu;
}

static void check_fresh_guest(void)
{
	struct vcpu *vcpu = new_guest(out_code, out_code_end);

	if (vcpu_exit(vcpu) != KVM_EXIT_IO)
		die("a new guest does not run");
	vm_free(vcpu->vm);
	vcpu_free(vcpu);
}

static void drop(struct vcpu *vcpu, int what)
{
	switch (what) {
	case 0:
		close(vcpu->vm->sys);
		break;
	case 1:
		close(vcpu->vm->fd);
		break;
	case 2:
		close(vcpu->fd);
		break;
	case 3:
		munmap(vcpu->run, vcpu->run_size);
		break;
	}
}

/* All 24 orders; the vCPU runs on as long as its own descriptor is open. */
TEST(every_close_order)
{
	struct vcpu *vcpu;
	int order, a[4], i, gone;

	for (order = 0; order < 256; order++) {
		for (i = 0, gone = 0; i < 4; i++) {
			a[i] = order >> 2 * i & 3;
			gone |= 1 << a[i];
		}
		if (gone != 15)
			continue;
		vcpu = new_guest(out_code, out_code_end);
		for (i = 0, gone = 0; i < 4; i++) {
			drop(vcpu, a[i]);
			gone |= 1 << a[i];
			if (!(gone & 4))
				ASSERT_EQ(0, vcpu_run(vcpu));
			if (!(gone & 12))
				ASSERT_EQ(KVM_EXIT_IO, vcpu->run->exit_reason);
			if (!(gone & 8))
				vcpu->run->request_interrupt_window = 0;
		}
		munmap(vcpu->vm->mem, VM_MEMORY);
	}
	check_fresh_guest();
}

TEST(memory_goes_before_vm)
{
	struct vcpu *vcpu = new_guest(out_code, out_code_end);

	ASSERT_EXIT(KVM_EXIT_IO, vcpu);
	munmap(vcpu->vm->mem, VM_MEMORY);
	EXPECT_EQ(-EFAULT, vcpu_run(vcpu));
	close(vcpu->vm->fd);
	close(vcpu->fd);
	check_fresh_guest();
}

TEST(vcpu_ids)
{
	struct vm *vm = vm_new_bare();
	int max = vm_cap(vm, KVM_CAP_MAX_VCPU_ID);
	int fd = MUST(vm->fd, KVM_CREATE_VCPU, 3);

	EXPECT_EQ(-EEXIST, dev_ioctl_value(vm->fd, KVM_CREATE_VCPU, 3));
	EXPECT_EQ(-EINVAL, dev_ioctl_value(vm->fd, KVM_CREATE_VCPU, max));
	EXPECT_EQ(-EINVAL, dev_ioctl_value(vm->fd, KVM_CREATE_VCPU, ~0ul));
	EXPECT_LE(0, dev_ioctl_value(vm->fd, KVM_CREATE_VCPU, max - 1));
	/* Closing a vCPU does not take it out of the VM. */
	close(fd);
	EXPECT_EQ(-EEXIST, dev_ioctl_value(vm->fd, KVM_CREATE_VCPU, 3));
	vm_free(vm);
}

TEST(too_many_vcpus)
{
	struct vm *vm = vm_new_bare();
	int max = vm_cap(vm, KVM_CAP_MAX_VCPUS), i, fd, ret = 0;

	for (i = 0; i < max && ret >= 0; i++) {
		ret = fd = dev_ioctl_value(vm->fd, KVM_CREATE_VCPU, i);
		close(fd);
	}
	EXPECT_LE(0, ret) TH_LOG("vCPU %d", i);
	EXPECT_EQ(-EINVAL, dev_ioctl_value(vm->fd, KVM_CREATE_VCPU, i));
	vm_free(vm);
}

TEST(closed_on_exec)
{
	struct vm *vm = vm_new_bare();
	int fd = MUST(vm->fd, KVM_CREATE_VCPU, 0);

	EXPECT_EQ(FD_CLOEXEC, fcntl(vm->fd, F_GETFD));
	EXPECT_EQ(FD_CLOEXEC, fcntl(fd, F_GETFD));
}

TEST(mapping_beyond_the_end)
{
	struct vm *vm = vm_new_bare();
	int size = MUST(vm->sys, KVM_GET_VCPU_MMAP_SIZE, 0), status;
	int fd = MUST(vm->fd, KVM_CREATE_VCPU, 0);
	volatile char *page;
	pid_t pid;

	pid = fork();
	if (!pid) {
		page = mmap(NULL, PAGE_SIZE, PROT_READ, MAP_SHARED, fd, size);
		if (page == MAP_FAILED)
			_exit(0);
		_exit(*page == 0 ? 1 : 2);
	}
	waitpid(pid, &status, 0);
	EXPECT_TRUE(WIFSIGNALED(status) ? WTERMSIG(status) == SIGBUS
					: WEXITSTATUS(status) == 0);
}

TEST(out_of_descriptors)
{
	struct vm *vm = vm_new_bare();
	struct rlimit old, limit;
	int next = dup(vm->fd);

	close(next);
	getrlimit(RLIMIT_NOFILE, &old);
	limit = old;
	limit.rlim_cur = next;
	setrlimit(RLIMIT_NOFILE, &limit);
	EXPECT_EQ(-EMFILE, dev_ioctl_value(vm->sys, KVM_CREATE_VM, 0));
	EXPECT_EQ(-EMFILE, dev_ioctl_value(vm->fd, KVM_CREATE_VCPU, 5));
	setrlimit(RLIMIT_NOFILE, &old);
	EXPECT_LE(0, dev_ioctl_value(vm->fd, KVM_CREATE_VCPU, 5));
}

/* In the child of fork() neither VM nor vCPU do anything but close. */
TEST(fork_is_refused)
{
	struct vcpu *vcpu = new_guest(out_code, out_code_end);
	struct kvm_regs regs;
	int status;
	pid_t pid;

	ASSERT_EXIT(KVM_EXIT_IO, vcpu);
	pid = fork();
	if (!pid) {
		if (vcpu_run(vcpu) != -EIO ||
		    dev_ioctl(vcpu->fd, KVM_GET_REGS, &regs) != -EIO ||
		    dev_ioctl_value(vcpu->vm->fd, KVM_CREATE_VCPU, 1) != -EIO ||
		    vm_slot(vcpu->vm, 1, 0, HEAP_GPA * 4, PAGE_SIZE,
			    vcpu->vm->mem) != -EIO)
			_exit(1);
		_exit(0);
	}
	waitpid(pid, &status, 0);
	EXPECT_EQ(0, status);
	EXPECT_EXIT(KVM_EXIT_IO, vcpu);
}

/* The heir of the descriptors outlives the process whose memory it was. */
TEST(fork_outlives_creator)
{
	struct vcpu *vcpu;
	int pipes[2], status;
	char byte;
	pid_t pid;

	ASSERT_EQ(0, pipe(pipes));
	pid = fork();
	if (!pid) {
		vcpu = new_guest(out_code, out_code_end);
		if (vcpu_exit(vcpu) != KVM_EXIT_IO)
			_exit(1);
		pid = fork();
		if (pid)
			_exit(0);
		while (getppid() != 1)
			sched_yield();
		byte = vcpu_run(vcpu) == -EIO ? 'y' : 'n';
		close(vcpu->vm->fd);
		munmap(vcpu->run, vcpu->run_size);
		close(vcpu->fd);
		_exit(write(pipes[1], &byte, 1) != 1);
	}
	waitpid(pid, &status, 0);
	ASSERT_EQ(0, status);
	close(pipes[1]);
	ASSERT_EQ(1, read(pipes[0], &byte, 1));
	EXPECT_EQ('y', byte);
	check_fresh_guest();
}

/* Kill a process while its guest executes, or while its vCPU sleeps. */
static void kill_guest(const u8 *code, const u8 *end, bool irqchip)
{
	volatile u32 *count = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE,
				   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct vcpu *vcpu;
	struct vm *vm;
	int status;
	pid_t pid;

	pid = fork();
	if (!pid) {
		vm = irqchip ? vm_new_irqchip() : vm_new();
		mremap((void *)count, PAGE_SIZE, PAGE_SIZE,
		       MREMAP_MAYMOVE | MREMAP_FIXED, vm->mem + DATA_GPA);
		vcpu = vcpu_new(vm, 0);
		vcpu_load(vcpu, MODE_REAL, code, end);
		vcpu_exit(vcpu);
		_exit(2);
	}
	while (!*count)
		sched_yield();
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
		die("the guest's process ended with status %#x", status);
	munmap((void *)count, PAGE_SIZE);
}

TEST(killed_while_running)
{
	int i;

	for (i = 0; i < 10; i++)
		kill_guest(count_code, count_code_end, false);
	check_fresh_guest();
}

TEST(killed_while_halted)
{
	int i;

	for (i = 0; i < 10; i++)
		kill_guest(halt_code, halt_code_end, true);
	check_fresh_guest();
}

/* A process may forget everything: eight VMs with four vCPUs each. */
TEST(nothing_closed)
{
	int status, i, j;
	pid_t pid;

	pid = fork();
	if (!pid) {
		for (i = 0; i < 8; i++) {
			struct vm *vm = vm_new_irqchip();

			for (j = 0; j < 4; j++)
				vcpu_new(vm, j);
		}
		_exit(0);
	}
	waitpid(pid, &status, 0);
	EXPECT_EQ(0, status);
	check_fresh_guest();
}

TEST(vm_closed_while_running)
{
	struct vcpu *vcpu = new_guest(count_code, count_code_end);

	vcpu_start_run(vcpu);
	wait_for_guest(vcpu->vm);
	close(vcpu->vm->fd);
	close(vcpu->vm->sys);
	vcpu_kick(vcpu);
	EXPECT_EQ(-EINTR, vcpu_join(vcpu));
}

TEST(vcpu_closed_while_running)
{
	struct vcpu *vcpu = new_guest(count_code, count_code_end);

	vcpu_start_run(vcpu);
	wait_for_guest(vcpu->vm);
	close(vcpu->fd);
	close(vcpu->vm->fd);
	vcpu_kick(vcpu);
	EXPECT_EQ(-EINTR, vcpu_join(vcpu));
	check_fresh_guest();
}

static void *run_again(void *vcpu)
{
	vcpu_run(vcpu);
	return NULL;
}

/* A second thread has to wait for the vCPU, but not beyond its death. */
TEST(two_threads_one_vcpu)
{
	struct vcpu *vcpu;
	pthread_t second;
	int status, pipes[2];
	char byte = 0;
	pid_t pid;

	ASSERT_EQ(0, pipe(pipes));
	pid = fork();
	if (!pid) {
		vcpu = new_guest(count_code, count_code_end);
		vcpu_start_run(vcpu);
		wait_for_guest(vcpu->vm);
		pthread_create(&second, NULL, run_again, vcpu);
		if (write(pipes[1], &byte, 1) != 1)
			_exit(1);
		pthread_join(second, NULL);
		_exit(2);
	}
	ASSERT_EQ(1, read(pipes[0], &byte, 1));
	kill(pid, SIGKILL);
	waitpid(pid, &status, 0);
	EXPECT_TRUE(WIFSIGNALED(status));
	check_fresh_guest();
}

/* A vCPU is not bound to the thread that made it. */
TEST(vcpu_changes_thread)
{
	struct vcpu *vcpu = new_guest(out_code, out_code_end);
	int i;

	for (i = 0; i < 50; i++) {
		vcpu_start_run(vcpu);
		ASSERT_EQ(0, vcpu_join(vcpu));
		ASSERT_EQ(KVM_EXIT_IO, vcpu->run->exit_reason);
	}
	vcpu_free(vcpu);
}

TEST_HARNESS_MAIN
