// SPDX-License-Identifier: GPL-2.0-only
/*
 * Capability check, what all vCPUs share, and the ops table of the VMX backend.
 */
#define pr_fmt(fmt) "labvisor: " fmt

#include <linux/mm.h>
#include <asm/io.h>
#include <asm/msr.h>

#include "../compat.h"
#include "vmx.h"

DEFINE_PER_CPU(struct vmx_cpu, vmx_cpu);

u8 *vmx_msr_bitmap[VMX_NR_BITMAPS];

static int vmx_check_cpu(void)
{
	u64 feat_ctl = 0;

	if (!(cpuid_ecx(1) & BIT(X86_FEATURE_VMX % 32)))
		return -ENODEV;
	rdmsrl_safe(MSR_IA32_FEAT_CTL, &feat_ctl);
	if (!boot_cpu_has(X86_FEATURE_VMX) || !(feat_ctl & FEAT_CTL_LOCKED) ||
	    !(feat_ctl & FEAT_CTL_VMX_ENABLED_OUTSIDE_SMX)) {
		pr_err("VMX is switched off by the firmware; enable it in the setup menu\n");
		return -EACCES;
	}
	if (lv_host_uses_fred()) {
		pr_err("this kernel uses FRED, which Labvisor does not support; boot with fred=off\n");
		return -EOPNOTSUPP;
	}
	return 0;
}

/*
 * SDM vol. 3, MSR-Bitmap Address: a bit an MSR; reads of low and of high MSRs,
 * then writes.
 */
static void vmx_allow_msr(u8 *map, u32 msr, bool write)
{
	unsigned int offset =
		(write ? 0x800 : 0) + (msr >= 0xc0000000 ? 0x400 : 0);

	msr &= 0x1fff;
	map[offset + msr / 8] &= ~BIT(msr % 8);
}

/* Writes to those that vmx_put() switches have to be seen. */
static bool vmx_is_switched(u32 msr)
{
	unsigned int i;

	for (i = 0; i < VMX_NR_SWITCHED; i++)
		if (vmx_msr_index[i] == msr)
			return true;
	return false;
}

/* Those of x2APIC mode that the CPU virtualises both ways, or writes of. */
static void vmx_allow_x2apic(u8 *map)
{
	vmx_allow_msr(map, LV_X2APIC_MSR + LAPIC_TPR, false);
	vmx_allow_msr(map, LV_X2APIC_MSR + LAPIC_TPR, true);
	vmx_allow_msr(map, LV_X2APIC_MSR + LAPIC_EOI, true);
	vmx_allow_msr(map, LV_X2APIC_MSR + LAPIC_SELF_IPI, true);
}

static int vmx_alloc_bitmap(enum vmx_bitmap which)
{
	unsigned int i;
	u8 *map = (void *)__get_free_page(GFP_KERNEL);

	vmx_msr_bitmap[which] = map;
	if (!map)
		return -ENOMEM;
	memset(map, 0xff, PAGE_SIZE);
	for (i = 0; i < lv_nr_hw_msrs; i++) {
		vmx_allow_msr(map, lv_hw_msrs[i], false);
		if (!vmx_is_switched(lv_hw_msrs[i]))
			vmx_allow_msr(map, lv_hw_msrs[i], true);
	}
	if (which == VMX_BITMAP_X2APIC)
		vmx_allow_x2apic(map);
	return 0;
}

static void vmx_exit_backend(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct vmx_cpu *c = per_cpu_ptr(&vmx_cpu, cpu);

		if (c->vmxon)
			__free_page(c->vmxon);
	}
	free_page((unsigned long)vmx_msr_bitmap[VMX_BITMAP]);
	free_page((unsigned long)vmx_msr_bitmap[VMX_BITMAP_X2APIC]);
	vmx_mitigations_exit();
}

static int vmx_alloc_cpus(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct vmx_cpu *c = per_cpu_ptr(&vmx_cpu, cpu);

		c->vmxon = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!c->vmxon)
			return -ENOMEM;
	}
	return 0;
}

static int vmx_probe(void)
{
	int err = vmx_check_cpu() ?: vmx_probe_caps();

	if (err)
		return err;
	err = vmx_mitigations_init() ?: vmx_alloc_bitmap(VMX_BITMAP) ?:
	      vmx_alloc_bitmap(VMX_BITMAP_X2APIC) ?: vmx_alloc_cpus();
	if (err)
		vmx_exit_backend();
	return err;
}

struct lv_backend vmx_backend = {
	.name = "vmx",
	.vcpu_size = sizeof(struct vmx_vcpu),
	.has_next_rip = true,
	.probe = vmx_probe,
	.exit = vmx_exit_backend,
	.cpu_enable = vmx_cpu_enable,
	.cpu_disable = vmx_cpu_disable,
	.vcpu_init = vmx_vcpu_init,
	.vcpu_free = vmx_vcpu_free,
	.vcpu_reset = vmx_vcpu_reset,
	.load = vmx_load,
	.put = vmx_put,
	.run = vmx_run,
	.cache_reg = vmx_cache_reg,
	.get_segment = vmx_get_segment,
	.set_segment = vmx_set_segment,
	.code_flags = vmx_code_flags,
	.cpl = vmx_cpl,
	.get_table = vmx_get_table,
	.set_table = vmx_set_table,
	.set_cr0 = vmx_set_cr0,
	.set_cr3 = vmx_set_cr3,
	.set_cr4 = vmx_set_cr4,
	.set_efer = vmx_set_efer,
	.set_root = vmx_set_root,
	.set_tsc_offset = vmx_set_tsc_offset,
	.set_intercepts = vmx_set_intercepts,
	.set_dr7 = vmx_set_dr7,
	.lend_drs = vmx_lend_drs,
	.get_msr = vmx_get_msr,
	.set_msr = vmx_set_msr,
	.inject = vmx_inject,
	.irq_allowed = vmx_irq_allowed,
	.nmi_allowed = vmx_nmi_allowed,
	.irq_window = vmx_irq_window,
	.nmi_window = vmx_nmi_window,
	.get_nmi_mask = vmx_get_nmi_mask,
	.set_nmi_mask = vmx_set_nmi_mask,
	.get_shadow = vmx_get_shadow,
	.set_shadow = vmx_set_shadow,
	.set_tpr = vmx_set_tpr,
	.flush_tlb = vmx_flush_tlb,
	.set_timer = vmx_set_timer,
	.dump = vmx_dump,
};
