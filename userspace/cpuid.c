// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUID as the guest sees it: what the hypervisor supports, and on top the
 * topology that only the launcher knows: one package of single-thread cores.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vcpu.h"

#define MAX_ENTRIES 256

/* CPUID.0, the beginning of "AuthenticAMD" and "HygonGenuine" */
#define EBX_AMD 0x68747541
#define EBX_HYGON 0x6f677948
/* CPUID.1 */
#define ECX_X2APIC BIT(21)
#define ECX_TSC_DEADLINE BIT(24)
#define ECX_HYPERVISOR BIT(31)
#define EDX_HTT BIT(28)
/* CPUID.80000001H */
#define ECX_CMP_LEGACY BIT(1)

#define LEVEL_SMT 1
#define LEVEL_CORE 2

/* Bits that a number below @n needs. */
static unsigned int bits_for(unsigned int n)
{
	unsigned int bits = 0;

	while (n > 1U << bits)
		bits++;
	return bits;
}

static void set_field(u32 *reg, unsigned int shift, unsigned int width,
		      u32 value)
{
	u32 mask = (u32)(BIT(width) - 1) << shift;

	*reg = (*reg & ~mask) | (value << shift & mask);
}

static void fix_features(const struct vcpu *vcpu, struct kvm_cpuid_entry2 *e)
{
	struct vm *vm = vcpu->vm;

	set_field(&e->ebx, 24, 8, vcpu->id);
	set_field(&e->ebx, 16, 8, 1U << bits_for(vm->cfg.cpus));
	e->edx &= ~EDX_HTT;
	if (vm->cfg.cpus > 1)
		e->edx |= EDX_HTT;
	e->ecx |= ECX_HYPERVISOR;
	if (!vm->cfg.irqchip)
		e->ecx &= ~(ECX_X2APIC | ECX_TSC_DEADLINE);
	else if (kvm_extension(vm, KVM_CAP_TSC_DEADLINE_TIMER))
		e->ecx |= ECX_TSC_DEADLINE;
}

/* Deterministic cache parameters: the last level is shared by all cores. */
static void fix_cache(const struct vcpu *vcpu, struct kvm_cpuid_entry2 *e)
{
	unsigned int level = e->eax >> 5 & 7;
	unsigned int cpus = vcpu->vm->cfg.cpus;

	if (!(e->eax & 0x1f))
		return;
	set_field(&e->eax, 14, 12, level < 3 ? 0 : cpus - 1);
	if (e->function == 4)
		set_field(&e->eax, 26, 6, (1U << bits_for(cpus)) - 1);
}

static void fix_topology(const struct vcpu *vcpu, struct kvm_cpuid_entry2 *e)
{
	e->edx = vcpu->id;
	e->ecx = e->index;
	e->eax = 0;
	e->ebx = 0;
	if (e->index == 0) {
		e->ebx = 1;
		e->ecx |= LEVEL_SMT << 8;
	} else if (e->index == 1) {
		e->eax = bits_for(vcpu->vm->cfg.cpus);
		e->ebx = vcpu->vm->cfg.cpus;
		e->ecx |= LEVEL_CORE << 8;
	}
}

/* AMD's older leaves of the same purpose, reserved on Intel. */
static void fix_amd(const struct vcpu *vcpu, struct kvm_cpuid_entry2 *e)
{
	unsigned int cpus = vcpu->vm->cfg.cpus;

	switch (e->function) {
	case 0x80000001:
		e->ecx &= ~ECX_CMP_LEGACY;
		if (cpus > 1)
			e->ecx |= ECX_CMP_LEGACY;
		break;
	case 0x80000008:
		set_field(&e->ecx, 0, 8, cpus - 1);
		set_field(&e->ecx, 12, 4, bits_for(cpus));
		break;
	case 0x8000001d:
		fix_cache(vcpu, e);
		break;
	case 0x8000001e:
		e->eax = vcpu->id;
		e->ebx = vcpu->id; /* core ID, one thread per core */
		e->ecx = 0; /* node 0 of one */
		break;
	}
}

static void fix_entry(const struct vcpu *vcpu, struct kvm_cpuid_entry2 *e,
		      bool amd)
{
	switch (e->function) {
	case 0x1:
		fix_features(vcpu, e);
		break;
	case 0x4:
		fix_cache(vcpu, e);
		break;
	default:
		if (amd)
			fix_amd(vcpu, e);
	}
}

/* Replace the host's extended topology by three subleaves of our own. */
static void replace_topology(const struct vcpu *vcpu, struct kvm_cpuid2 *cpuid,
			     u32 function)
{
	struct kvm_cpuid_entry2 *e = cpuid->entries;
	u32 i, kept = 0;

	for (i = 0; i < cpuid->nent; i++)
		if (e[i].function != function)
			e[kept++] = e[i];
	if (kept == cpuid->nent || kept + 3 > MAX_ENTRIES)
		return;
	for (i = 0; i < 3; i++) {
		e[kept] = (struct kvm_cpuid_entry2){
			.function = function,
			.index = i,
			.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX,
		};
		fix_topology(vcpu, &e[kept++]);
	}
	cpuid->nent = kept;
}

static bool is_amd(const struct kvm_cpuid2 *cpuid)
{
	u32 i;

	for (i = 0; i < cpuid->nent; i++)
		if (cpuid->entries[i].function == 0)
			return cpuid->entries[i].ebx == EBX_AMD ||
			       cpuid->entries[i].ebx == EBX_HYGON;
	return false;
}

/** vcpu_set_cpuid() - tell the kernel what CPUID returns on this vCPU. */
void vcpu_set_cpuid(struct vcpu *vcpu)
{
	struct kvm_cpuid2 *cpuid;
	bool amd;
	u32 i;

	cpuid = xzalloc(sizeof(*cpuid) +
			MAX_ENTRIES * sizeof(cpuid->entries[0]));
	cpuid->nent = MAX_ENTRIES;
	kvm_enable(vcpu->vm, vcpu->vm->sys_fd, KVM_GET_SUPPORTED_CPUID, cpuid,
		   "KVM_GET_SUPPORTED_CPUID");
	amd = is_amd(cpuid);
	for (i = 0; i < cpuid->nent; i++)
		fix_entry(vcpu, &cpuid->entries[i], amd);
	replace_topology(vcpu, cpuid, 0xb);
	replace_topology(vcpu, cpuid, 0x1f);
	vcpu_ioctl(vcpu, KVM_SET_CPUID2, cpuid, "KVM_SET_CPUID2");
	free(cpuid);
}
