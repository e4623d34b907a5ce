// SPDX-License-Identifier: GPL-2.0-only
/* A vCPU's thread: run the guest, serve its exits, stop when told to. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vcpu.h"

#define KICK SIGUSR1

static __thread struct kvm_run *self;

/*
 * A kick that arrives between the look at vm_stopped() and KVM_RUN would be
 * lost, were it not for immediate_exit.
 */
static void kicked(int sig)
{
	(void)sig;
	if (self)
		self->immediate_exit = 1;
}

/** vcpu_ioctl() - issue a vCPU ioctl that must work, or die naming it. */
void vcpu_ioctl(struct vcpu *vcpu, unsigned long req, void *arg,
		const char *what)
{
	kvm_enable(vcpu->vm, vcpu->fd, req, arg, what);
}

/** vcpu_create() - make vCPU @id of @vm; vCPU 0 is the boot CPU. */
void vcpu_create(struct vcpu *vcpu, struct vm *vm, unsigned int id)
{
	int size;

	vcpu->vm = vm;
	vcpu->id = id;
	vcpu->fd = ioctl(vm->fd, KVM_CREATE_VCPU, (unsigned long)id);
	if (vcpu->fd < 0)
		die(EXIT_HOST, "%s: cannot create vCPU %u: %s", vm->cfg.device,
		    id, strerror(errno));
	size = ioctl(vm->sys_fd, KVM_GET_VCPU_MMAP_SIZE, 0);
	if (size < (int)sizeof(*vcpu->run))
		die(EXIT_HOST, "%s: KVM_GET_VCPU_MMAP_SIZE returned %d",
		    vm->cfg.device, size);
	vcpu->run = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED,
			 vcpu->fd, 0);
	if (vcpu->run == MAP_FAILED)
		die(EXIT_HOST, "%s: cannot map vCPU %u: %s", vm->cfg.device, id,
		    strerror(errno));
	vcpu_set_cpuid(vcpu);
	vcpu_set_msrs(vcpu);
	if (vm->cfg.irqchip && id == 0)
		vcpu_set_lapic(vcpu);
}

static void exit_io(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	u8 *data = (u8 *)run + run->io.data_offset;
	unsigned int size = run->io.size;
	u32 i;

	for (i = 0; i < run->io.count; i++, data += size) {
		u64 value = 0;

		if (run->io.direction == KVM_EXIT_IO_IN) {
			value = bus_read(&vcpu->vm->pio, run->io.port, size);
			memcpy(data, &value, size);
		} else {
			memcpy(&value, data, size);
			bus_write(&vcpu->vm->pio, run->io.port, size, value);
		}
	}
}

static void exit_mmio(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;
	u64 value = 0;

	if (run->mmio.is_write) {
		memcpy(&value, run->mmio.data, run->mmio.len);
		bus_write(&vcpu->vm->mmio, run->mmio.phys_addr, run->mmio.len,
			  value);
	} else {
		value = bus_read(&vcpu->vm->mmio, run->mmio.phys_addr,
				 run->mmio.len);
		memcpy(run->mmio.data, &value, run->mmio.len);
	}
}

static void exit_system_event(struct vcpu *vcpu)
{
	u32 type = vcpu->run->system_event.type;

	switch (type) {
	case KVM_SYSTEM_EVENT_SHUTDOWN:
		vm_stop(vcpu->vm, EXIT_POWEROFF, NULL);
		break;
	case KVM_SYSTEM_EVENT_RESET:
		vm_stop(vcpu->vm, EXIT_RESET, "the guest reset itself");
		break;
	default:
		vm_stop(vcpu->vm, EXIT_VM_ERROR,
			"the guest ended with system event %u", type);
	}
}

/* The hypervisor cannot go on: say all that it tells about why. */
static void exit_failure(struct vcpu *vcpu)
{
	char why[128];

	vcpu_failure(vcpu->run, why, sizeof(why));
	vm_stop(vcpu->vm, EXIT_VM_ERROR, "vCPU %u: %s", vcpu->id, why);
	vcpu_dump(vcpu, stderr);
}

static void handle_exit(struct vcpu *vcpu)
{
	struct kvm_run *run = vcpu->run;

	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		exit_io(vcpu);
		break;
	case KVM_EXIT_MMIO:
		exit_mmio(vcpu);
		break;
	case KVM_EXIT_INTR:
	case KVM_EXIT_IRQ_WINDOW_OPEN:
		break;
	case KVM_EXIT_HLT:
		/* Only without an irqchip, and then nothing will ever wake it. */
		vm_stop(vcpu->vm, EXIT_POWEROFF, NULL);
		break;
	case KVM_EXIT_SHUTDOWN:
		vm_stop(vcpu->vm, EXIT_TRIPLE_FAULT, "vCPU %u: triple fault",
			vcpu->id);
		break;
	case KVM_EXIT_SYSTEM_EVENT:
		exit_system_event(vcpu);
		break;
	default:
		exit_failure(vcpu);
	}
}

static void *vcpu_main(void *opaque)
{
	struct vcpu *vcpu = opaque;
	struct vm *vm = vcpu->vm;
	sigset_t set;

	self = vcpu->run;
	sigemptyset(&set);
	sigaddset(&set, KICK);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	while (!vm_stopped(vm)) {
		if (!ioctl(vcpu->fd, KVM_RUN, 0))
			handle_exit(vcpu);
		else if (errno != EINTR && errno != EAGAIN)
			vm_stop(vm, EXIT_HOST, "vCPU %u: KVM_RUN failed: %s",
				vcpu->id, strerror(errno));
	}
	return NULL;
}

/** vcpu_start() - start the vCPU's thread. */
void vcpu_start(struct vcpu *vcpu)
{
	struct sigaction sa = { .sa_handler = kicked };
	sigset_t set;
	int ret;

	/* A thread is born with KICK blocked, until it has set @self. */
	sigaction(KICK, &sa, NULL);
	sigemptyset(&set);
	sigaddset(&set, KICK);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	ret = pthread_create(&vcpu->thread, NULL, vcpu_main, vcpu);
	if (ret)
		die(EXIT_HOST, "cannot start a thread for vCPU %u: %s",
		    vcpu->id, strerror(ret));
}

/** vcpu_join() - get the vCPU out of the guest and wait for its thread. */
void vcpu_join(struct vcpu *vcpu)
{
	pthread_kill(vcpu->thread, KICK);
	pthread_join(vcpu->thread, NULL);
}
