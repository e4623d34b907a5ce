/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef LABVISOR_VCPU_H
#define LABVISOR_VCPU_H

#include <linux/kvm.h>
#include <pthread.h>
#include <stdio.h>

#include "vm.h"

/**
 * struct vcpu - a virtual CPU and its thread
 * @vm: the VM it belongs to
 * @id: its number, and its local APIC's ID
 * @fd: the vCPU
 * @run: the page shared with the kernel
 * @thread: runs vcpu_main() from vcpu_start() to vcpu_join()
 */
struct vcpu {
	struct vm *vm;
	unsigned int id;
	int fd;
	struct kvm_run *run;
	pthread_t thread;
};

void vcpu_create(struct vcpu *vcpu, struct vm *vm, unsigned int id);
void vcpu_start(struct vcpu *vcpu);
void vcpu_join(struct vcpu *vcpu);
void vcpu_ioctl(struct vcpu *vcpu, unsigned long req, void *arg,
		const char *what);

void vcpu_set_cpuid(struct vcpu *vcpu);
void vcpu_set_msrs(struct vcpu *vcpu);
void vcpu_set_lapic(struct vcpu *vcpu);

void vcpu_enter_real(struct vcpu *vcpu, u16 ip);
void vcpu_enter_protected(struct vcpu *vcpu, u64 rip);
void vcpu_enter_long(struct vcpu *vcpu, u64 rip, u64 rsi);

void vcpu_dump(struct vcpu *vcpu, FILE *out);
void vcpu_failure(const struct kvm_run *run, char *buf, size_t size);

#endif
