// SPDX-License-Identifier: GPL-2.0-only
/* vCPUs: creation, registers, running, and what came of it. */
#include <signal.h>
#include "guest.h"

const char *const mode_names[NR_MODES] = {
	[MODE_REAL] = "real",	     [MODE_PROT] = "protected",
	[MODE_PSE] = "paged 32-bit", [MODE_PAE] = "PAE",
	[MODE_LONG] = "long",
};

struct kvm_cpuid2 *supported_cpuid(int sys)
{
	const unsigned int nent = 256;
	struct kvm_cpuid2 *cpuid;

	cpuid = calloc(1, sizeof(*cpuid) + nent * sizeof(cpuid->entries[0]));
	if (!cpuid)
		die("out of memory");
	cpuid->nent = nent;
	MUST(sys, KVM_GET_SUPPORTED_CPUID, cpuid);
	return cpuid;
}

const struct kvm_cpuid_entry2 *find_cpuid(const struct kvm_cpuid2 *cpuid,
					  u32 function, u32 index)
{
	const struct kvm_cpuid_entry2 *e = cpuid->entries;

	for (; e < cpuid->entries + cpuid->nent; e++)
		if (e->function == function && e->index == index)
			return e;
	return NULL;
}

/*
 * Give the vCPU every feature there is, and the APIC ID it was made with. The
 * deadline mode of the timer has a capability instead of a bit in the list.
 */
void vcpu_offer_cpuid(struct vcpu *vcpu)
{
	const bool deadline = vm_cap(vcpu->vm, KVM_CAP_TSC_DEADLINE_TIMER) > 0;
	struct kvm_cpuid2 *cpuid = supported_cpuid(vcpu->vm->sys);
	struct kvm_cpuid_entry2 *e = cpuid->entries;

	for (; e < cpuid->entries + cpuid->nent; e++) {
		if (e->function == 1) {
			e->ebx = (e->ebx & 0xffffff) | vcpu->id << 24;
			e->ecx |= deadline << 24;
		}
		if (e->function == 0xb)
			e->edx = vcpu->id;
	}
	MUST(vcpu->fd, KVM_SET_CPUID2, cpuid);
	free(cpuid);
}

struct vcpu *vcpu_new(struct vm *vm, unsigned int id)
{
	struct vcpu *vcpu = calloc(1, sizeof(*vcpu));

	if (!vcpu)
		die("out of memory");
	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->fd = MUST(vm->fd, KVM_CREATE_VCPU, id);
	vcpu->run_size = MUST(vm->sys, KVM_GET_VCPU_MMAP_SIZE, 0);
	vcpu->run = mmap(NULL, vcpu->run_size, PROT_READ | PROT_WRITE,
			 MAP_SHARED, vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		die("mmap of kvm_run: %m");
	vcpu_offer_cpuid(vcpu);
	return vcpu;
}

void vcpu_free(struct vcpu *vcpu)
{
	munmap(vcpu->run, vcpu->run_size);
	close(vcpu->fd);
	free(vcpu);
}

/*
 * KVM_RUN. A vCPU that was waiting to be started may say EAGAIN when that has
 * come, before it runs.
 */
int vcpu_run(struct vcpu *vcpu)
{
	int ret;

	do {
		ret = dev_ioctl(vcpu->fd, KVM_RUN, NULL);
	} while (ret == -EAGAIN);
	return ret;
}

static u32 io_value(const struct kvm_run *run)
{
	u32 value;

	memcpy(&value, (const u8 *)run + run->io.data_offset, sizeof(value));
	return value;
}

static bool is_report(const struct kvm_run *run, u16 port)
{
	return run->exit_reason == KVM_EXIT_IO && run->io.port == port &&
	       run->io.direction == KVM_EXIT_IO_OUT && run->io.size == 4;
}

static void guest_failed(struct vcpu *vcpu)
{
	u32 line = io_value(vcpu->run);
	struct kvm_regs regs;

	vcpu_get_regs(vcpu, &regs);
	if (line >= TRAP_LINE)
		die("vCPU %u: unexpected trap %u, error code %#llx at %#llx",
		    vcpu->id, line - TRAP_LINE, regs.rcx, regs.rbx);
	die("vCPU %u: guest line %u: wanted %#llx, saw %#llx", vcpu->id, line,
	    regs.rbx, regs.rcx);
}

/* Run to the next exit, which is the value. */
u32 vcpu_exit(struct vcpu *vcpu)
{
	int ret;

	do {
		ret = vcpu_run(vcpu);
	} while (ret == -EINTR);
	if (ret)
		die("vCPU %u: KVM_RUN: %s", vcpu->id, strerror(-ret));
	if (is_report(vcpu->run, FAIL_PORT))
		guest_failed(vcpu);
	return vcpu->run->exit_reason;
}

/* Run to the guest's next guest_sync(), whose argument is the value. */
u32 vcpu_sync(struct vcpu *vcpu)
{
	vcpu_exit(vcpu);
	if (!is_report(vcpu->run, SYNC_PORT))
		die("vCPU %u: %s", vcpu->id, vcpu_describe(vcpu));
	return io_value(vcpu->run);
}

static void start_thread(struct vcpu *vcpu, void *(*main)(void *))
{
	int ret = pthread_create(&vcpu->thread, NULL, main, vcpu);

	if (ret)
		die("pthread_create: %s", strerror(ret));
}

static void *sync_main(void *vcpu)
{
	return (void *)(uintptr_t)vcpu_sync(vcpu);
}

/* Run to the next guest_sync() in a thread of its own. */
void vcpu_start(struct vcpu *vcpu)
{
	start_thread(vcpu, sync_main);
}

static void ignore_signal(int signal)
{
}

static void *run_main(void *vcpu)
{
	return (void *)(intptr_t)vcpu_run(vcpu);
}

/* Run once in a thread of its own, which vcpu_kick() can interrupt. */
void vcpu_start_run(struct vcpu *vcpu)
{
	struct sigaction action = { .sa_handler = ignore_signal };

	sigaction(SIGUSR1, &action, NULL);
	vcpu->run->immediate_exit = 0;
	start_thread(vcpu, run_main);
}

/* Make the vCPU's thread leave KVM_RUN, whether it is in there yet or not. */
void vcpu_kick(struct vcpu *vcpu)
{
	vcpu->run->immediate_exit = 1;
	pthread_kill(vcpu->thread, SIGUSR1);
}

/* Wait for the vCPU's thread: what guest_sync() or KVM_RUN came to. */
int vcpu_join(struct vcpu *vcpu)
{
	void *value;

	pthread_join(vcpu->thread, &value);
	vcpu->run->immediate_exit = 0;
	return (intptr_t)value;
}

/* The last exit in words, for messages. */
const char *vcpu_describe(struct vcpu *vcpu)
{
	static __thread char text[256];
	const struct kvm_run *run = vcpu->run;
	struct kvm_regs regs;
	int n;

	vcpu_get_regs(vcpu, &regs);
	n = snprintf(text, sizeof(text), "exit %u at rip %#llx, rflags %#llx",
		     run->exit_reason, regs.rip, regs.rflags);
	if (run->exit_reason == KVM_EXIT_IO)
		snprintf(text + n, sizeof(text) - n,
			 ": %s port %#x, %u x %u bytes, first %#x",
			 run->io.direction ? "out" : "in", run->io.port,
			 run->io.count, run->io.size, io_value(run));
	else if (run->exit_reason == KVM_EXIT_MMIO)
		snprintf(text + n, sizeof(text) - n, ": %s %#llx, %u bytes",
			 run->mmio.is_write ? "write" : "read",
			 run->mmio.phys_addr, run->mmio.len);
	else if (run->exit_reason == KVM_EXIT_INTERNAL_ERROR)
		snprintf(text + n, sizeof(text) - n,
			 ": suberror %u, %#llx %#llx", run->internal.suberror,
			 run->internal.data[0], run->internal.data[1]);
	else if (run->exit_reason == KVM_EXIT_FAIL_ENTRY)
		snprintf(text + n, sizeof(text) - n, ": hardware reason %#llx",
			 run->fail_entry.hardware_entry_failure_reason);
	return text;
}

void vcpu_get_regs(struct vcpu *vcpu, struct kvm_regs *regs)
{
	MUST(vcpu->fd, KVM_GET_REGS, regs);
}

void vcpu_set_regs(struct vcpu *vcpu, const struct kvm_regs *regs)
{
	MUST(vcpu->fd, KVM_SET_REGS, regs);
}

void vcpu_get_sregs(struct vcpu *vcpu, struct kvm_sregs *sregs)
{
	MUST(vcpu->fd, KVM_GET_SREGS, sregs);
}

int vcpu_set_sregs(struct vcpu *vcpu, const struct kvm_sregs *sregs)
{
	return dev_ioctl(vcpu->fd, KVM_SET_SREGS, (void *)sregs);
}

struct one_msr {
	struct kvm_msrs head;
	struct kvm_msr_entry entry;
};

/* 0, or -EINVAL if the vCPU has no such MSR. */
int vcpu_get_msr(struct vcpu *vcpu, u32 index, u64 *value)
{
	struct one_msr msr = { .head.nmsrs = 1, .entry.index = index };

	if (MUST(vcpu->fd, KVM_GET_MSRS, &msr) != 1)
		return -EINVAL;
	*value = msr.entry.data;
	return 0;
}

/* 0, or -EINVAL if the vCPU has no such MSR or refuses the value. */
int vcpu_set_msr(struct vcpu *vcpu, u32 index, u64 value)
{
	struct one_msr msr = {
		.head.nmsrs = 1,
		.entry = { .index = index, .data = value },
	};

	return MUST(vcpu->fd, KVM_SET_MSRS, &msr) == 1 ? 0 : -EINVAL;
}
