/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef LABVISOR_VM_H
#define LABVISOR_VM_H

#include <pthread.h>
#include <stdatomic.h>

#include "bus.h"
#include "loop.h"
#include "util.h"

struct vcpu;

/**
 * enum ram_pages - what host pages to ask for
 * @PAGES_HOST: whatever the host does by default
 * @PAGES_SMALL: base pages only
 * @PAGES_THP: transparent huge pages
 * @PAGES_HUGETLB: pages from the host's huge page pool
 */
enum ram_pages {
	PAGES_HOST,
	PAGES_SMALL,
	PAGES_THP,
	PAGES_HUGETLB,
};

/**
 * struct vm_config - what the command line asks for
 * @device: path of the device node
 * @cpus: number of virtual CPUs
 * @memory: bytes of guest memory
 * @pages: how the host backs it
 * @irqchip: have interrupt controllers and timer in the kernel
 * @dump_regs: print every vCPU's registers at the end
 * @exit_port: the debug-exit port, 0 for none
 * @exit_plain: the byte written there is the exit status as it stands
 */
struct vm_config {
	const char *device;
	unsigned int cpus;
	u64 memory;
	enum ram_pages pages;
	bool irqchip;
	bool dump_regs;
	u16 exit_port;
	bool exit_plain;
};

/**
 * struct vm - a virtual machine and how it ended
 * @cfg: constant once vm_create() returns
 * @sys_fd: the device
 * @fd: the VM
 * @ram: guest memory as the launcher sees it, without the hole below 4 GiB
 * @vcpus: @cfg.cpus of them
 * @pio: I/O ports
 * @mmio: addresses without memory behind them
 * @loop: what the main thread waits for
 * @signal_fd: signals that end the guest
 * @claimed: the first vm_stop() decides how the guest ended
 * @stopped: set by it, after @status and @reason
 * @stop_fd: readable from then on
 * @status: exit status
 * @reason: why, in words; empty if there is nothing to say
 */
struct vm {
	struct vm_config cfg;
	int sys_fd;
	int fd;
	u8 *ram;
	struct vcpu *vcpus;
	struct bus pio;
	struct bus mmio;
	struct loop loop;
	int signal_fd;
	atomic_flag claimed;
	atomic_bool stopped;
	int stop_fd;
	int status;
	char reason[256];
};

/** vm_stopped() - has the guest ended? True before @stop_fd wakes anyone. */
static inline bool vm_stopped(struct vm *vm)
{
	return atomic_load(&vm->stopped);
}

void vm_create(struct vm *vm, const struct vm_config *cfg);
int vm_run(struct vm *vm);
void vm_stop(struct vm *vm, int status, const char *fmt, ...) __printf(3, 4);
void vm_set_irq(struct vm *vm, unsigned int irq, bool level);

void kvm_open(struct vm *vm);
int kvm_extension(struct vm *vm, unsigned int cap);
void kvm_enable(struct vm *vm, int fd, unsigned long req, void *arg,
		const char *what);

void ram_init(struct vm *vm);
u64 ram_low_end(const struct vm *vm);
u64 ram_high_end(const struct vm *vm);
void *ram_ptr(const struct vm *vm, u64 gpa, u64 size);

#endif
