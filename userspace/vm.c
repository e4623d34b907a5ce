// SPDX-License-Identifier: GPL-2.0-only
/* A VM: put it together and run it; the kernel takes it apart at our exit. */
#include <errno.h>
#include <linux/kvm.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "layout.h"
#include "term.h"
#include "vcpu.h"
#include "vm.h"

#define ISA_IRQS 16
#define IOAPIC_PINS 24
#define PIC_CASCADE 2

/*
 * GSIs as PCs with an I/O APIC have them: the ISA interrupts reach both the
 * PIC and the I/O APIC, whose pin 2 has the timer in place of the cascade.
 */
static void set_gsi_routing(struct vm *vm)
{
	struct kvm_irq_routing_entry *e;
	struct kvm_irq_routing *table;
	u32 gsi;

	table = xzalloc(sizeof(*table) + 2 * IOAPIC_PINS * sizeof(*e));
	for (gsi = 0; gsi < IOAPIC_PINS; gsi++) {
		if (gsi == PIC_CASCADE)
			continue;
		e = &table->entries[table->nr++];
		e->gsi = gsi;
		e->type = KVM_IRQ_ROUTING_IRQCHIP;
		e->u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
		e->u.irqchip.pin = gsi ? gsi : PIC_CASCADE;
		if (gsi >= ISA_IRQS)
			continue;
		e = &table->entries[table->nr++];
		e->gsi = gsi;
		e->type = KVM_IRQ_ROUTING_IRQCHIP;
		e->u.irqchip.irqchip = gsi < 8 ? KVM_IRQCHIP_PIC_MASTER
					       : KVM_IRQCHIP_PIC_SLAVE;
		e->u.irqchip.pin = gsi % 8;
	}
	kvm_enable(vm, vm->fd, KVM_SET_GSI_ROUTING, table,
		   "KVM_SET_GSI_ROUTING");
	free(table);
}

static void create_irqchip(struct vm *vm)
{
	/* Port 0x61 belongs to the PIT as well: guests calibrate with it. */
	struct kvm_pit_config pit = { .flags = KVM_PIT_SPEAKER_DUMMY };

	kvm_enable(vm, vm->fd, KVM_CREATE_IRQCHIP, NULL, "KVM_CREATE_IRQCHIP");
	kvm_enable(vm, vm->fd, KVM_CREATE_PIT2, &pit, "KVM_CREATE_PIT2");
	set_gsi_routing(vm);
}

/* VMX runs real mode with pages that must not be the guest's memory. */
static void set_vmx_pages(struct vm *vm)
{
	u64 identity_map = GPA_IDENTITY_MAP;

	if (kvm_extension(vm, KVM_CAP_SET_IDENTITY_MAP_ADDR))
		kvm_enable(vm, vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &identity_map,
			   "KVM_SET_IDENTITY_MAP_ADDR");
	kvm_enable(vm, vm->fd, KVM_SET_TSS_ADDR, (void *)(uintptr_t)GPA_TSS,
		   "KVM_SET_TSS_ADDR");
}

/* Job control and the user's wish to leave, served by the main thread. */
static void signal_ready(void *opaque)
{
	struct signalfd_siginfo info;
	struct vm *vm = opaque;

	if (read(vm->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	switch (info.ssi_signo) {
	case SIGTSTP:
		term_restore();
		raise(SIGSTOP);
		break;
	case SIGCONT:
		term_raw();
		break;
	default:
		vm_stop(vm, EXIT_SIGNAL + info.ssi_signo, "stopped by %s",
			strsignal(info.ssi_signo));
	}
}

static void stop_ready(void *opaque)
{
	(void)opaque; /* vm_run() looks at it */
}

static void init_signals(struct vm *vm)
{
	static const int signals[] = { SIGINT,	SIGTERM, SIGHUP,
				       SIGQUIT, SIGTSTP, SIGCONT };
	sigset_t set;
	size_t i;

	sigemptyset(&set);
	for (i = 0; i < ARRAY_SIZE(signals); i++)
		sigaddset(&set, signals[i]);
	/* Threads inherit the mask, so that the signals wait for signalfd. */
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	signal(SIGPIPE, SIG_IGN);
	vm->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	vm->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (vm->signal_fd < 0 || vm->stop_fd < 0)
		die(EXIT_HOST, "cannot wait for signals: %s", strerror(errno));
	loop_add(&vm->loop, &(struct loop_source){ .fd = vm->signal_fd,
						   .ready = signal_ready,
						   .opaque = vm });
	loop_add(&vm->loop, &(struct loop_source){ .fd = vm->stop_fd,
						   .ready = stop_ready });
}

/** vm_create() - make a VM with memory, vCPUs and devices, not yet running. */
void vm_create(struct vm *vm, const struct vm_config *cfg)
{
	unsigned int i;

	memset(vm, 0, sizeof(*vm));
	vm->cfg = *cfg;
	loop_init(&vm->loop);
	init_signals(vm);
	kvm_open(vm);
	set_vmx_pages(vm);
	if (cfg->irqchip)
		create_irqchip(vm);
	ram_init(vm);
	vm->vcpus = xzalloc(cfg->cpus * sizeof(*vm->vcpus));
	for (i = 0; i < cfg->cpus; i++)
		vcpu_create(&vm->vcpus[i], vm, i);
	devices_init(vm);
}

/** vm_set_irq() - drive an ISA interrupt line; any thread. */
void vm_set_irq(struct vm *vm, unsigned int irq, bool level)
{
	struct kvm_irq_level line = { .irq = irq, .level = level };

	if (!vm->cfg.irqchip)
		return;
	if (ioctl(vm->fd, KVM_IRQ_LINE, &line) < 0)
		vm_stop(vm, EXIT_HOST, "KVM_IRQ_LINE failed: %s",
			strerror(errno));
}

/**
 * vm_stop() - end the guest; any thread, the first caller says why
 * @vm: the VM
 * @status: exit status of the launcher
 * @fmt: the reason in words, NULL if it needs none
 *
 * It returns at once: the calling vCPU thread returns to its run loop and
 * leaves that, and the main thread gathers all others.
 */
void vm_stop(struct vm *vm, int status, const char *fmt, ...)
{
	u64 one = 1;
	va_list ap;

	if (atomic_flag_test_and_set(&vm->claimed))
		return;
	vm->status = status;
	if (fmt) {
		va_start(ap, fmt);
		vsnprintf(vm->reason, sizeof(vm->reason), fmt, ap);
		va_end(ap);
	}
	atomic_store(&vm->stopped, true);
	if (write(vm->stop_fd, &one, sizeof(one)) != sizeof(one))
		abort(); /* a fresh eventfd takes one count */
}

/** vm_run() - run the guest to its end and return the exit status. */
int vm_run(struct vm *vm)
{
	unsigned int i;

	term_start(vm);
	for (i = 0; i < vm->cfg.cpus; i++)
		vcpu_start(&vm->vcpus[i]);
	while (!vm_stopped(vm))
		loop_once(&vm->loop);
	for (i = 0; i < vm->cfg.cpus; i++)
		vcpu_join(&vm->vcpus[i]);
	term_finish();
	if (vm->cfg.dump_regs)
		for (i = 0; i < vm->cfg.cpus; i++)
			vcpu_dump(&vm->vcpus[i], stderr);
	if (vm->reason[0])
		warn_user("%s", vm->reason);
	return vm->status;
}
