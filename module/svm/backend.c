// SPDX-License-Identifier: GPL-2.0-only
/*
 * Capability check, per-CPU enabling, and the ops table of the SVM backend.
 */
#define pr_fmt(fmt) "labvisor: " fmt

#include <linux/mm.h>
#include <asm/asm.h>
#include <asm/io.h>
#include <asm/msr.h>
#include <asm/svm.h>

#include "../compat.h"
#include "svm.h"

#define SVM_MSRPM_ORDER 1 /* 8 KiB */
#define SVM_IOPM_ORDER 2 /* 12 KiB */

DEFINE_PER_CPU(struct svm_cpu, svm_cpu);

u32 svm_max_asid;
hpa_t svm_iopm_pa;
hpa_t svm_msrpm_pa;

static struct page *svm_iopm;
static struct page *svm_msrpm;

/* AMD APM vol. 2, MSR Intercepts: two bits an MSR, three ranges of 2 KiB. */
static void svm_msrpm_allow(u8 *map, u32 msr)
{
	static const u32 base[] = { 0, 0xc0000000, 0xc0010000 };
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(base); i++) {
		u32 nr = msr - base[i];

		if (msr >= base[i] && nr < 0x2000)
			map[i * 0x800 + nr / 4] &= ~(3 << (nr % 4 * 2));
	}
}

static void svm_free_pages(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct svm_cpu *c = per_cpu_ptr(&svm_cpu, cpu);

		if (c->host_area)
			__free_page(c->host_area);
		if (c->hsave)
			__free_page(c->hsave);
	}
	if (svm_iopm)
		__free_pages(svm_iopm, SVM_IOPM_ORDER);
	if (svm_msrpm)
		__free_pages(svm_msrpm, SVM_MSRPM_ORDER);
}

static int svm_alloc_maps(void)
{
	unsigned int i;

	svm_iopm = alloc_pages(GFP_KERNEL, SVM_IOPM_ORDER);
	svm_msrpm = alloc_pages(GFP_KERNEL, SVM_MSRPM_ORDER);
	if (!svm_iopm || !svm_msrpm)
		return -ENOMEM;

	memset(page_address(svm_iopm), 0xff, PAGE_SIZE << SVM_IOPM_ORDER);
	memset(page_address(svm_msrpm), 0xff, PAGE_SIZE << SVM_MSRPM_ORDER);
	for (i = 0; i < lv_nr_hw_msrs; i++)
		svm_msrpm_allow(page_address(svm_msrpm), lv_hw_msrs[i]);
	svm_iopm_pa = page_to_phys(svm_iopm);
	svm_msrpm_pa = page_to_phys(svm_msrpm);
	return 0;
}

static int svm_alloc_cpus(void)
{
	int cpu;

	for_each_possible_cpu(cpu) {
		struct svm_cpu *c = per_cpu_ptr(&svm_cpu, cpu);

		c->host_area = alloc_page(GFP_KERNEL | __GFP_ZERO);
		c->hsave = alloc_page(GFP_KERNEL | __GFP_ZERO);
		if (!c->host_area || !c->hsave)
			return -ENOMEM;
		c->host_area_pa = page_to_phys(c->host_area);
	}
	return 0;
}

static int svm_check_cpu(void)
{
	u64 vm_cr;

	if (!boot_cpu_has(X86_FEATURE_SVM))
		return -ENODEV;
	if (!boot_cpu_has(X86_FEATURE_NPT)) {
		pr_err("this CPU has SVM but no nested paging, which Labvisor needs\n");
		return -EOPNOTSUPP;
	}
	rdmsrl(MSR_VM_CR, vm_cr);
	if (vm_cr & SVM_VM_CR_SVM_DIS_MASK) {
		pr_err("SVM is switched off by the firmware; enable it in the setup menu\n");
		return -EACCES;
	}
	return 0;
}

static void svm_probe_tdp(struct lv_tdp_format *tdp)
{
	/*
	 * A nested table has the format of the host's own long-mode table,
	 * and every entry must be a user one (AMD APM vol. 2, Nested Paging).
	 */
	*tdp = (struct lv_tdp_format){
		.present = _PAGE_PRESENT | _PAGE_USER,
		.write = _PAGE_RW,
		.nx = _PAGE_NX,
		.accessed = _PAGE_ACCESSED,
		.dirty = _PAGE_DIRTY,
		.large = _PAGE_PSE,
		.memtype_uc = _PAGE_PCD | _PAGE_PWT,
		.levels = __read_cr4() & X86_CR4_LA57 ? 5 : 4,
		.max_level = boot_cpu_has(X86_FEATURE_GBPAGES) ? 3 : 2,
	};
}

static int svm_probe(void)
{
	int err = svm_check_cpu();

	if (err)
		return err;
	svm_max_asid = cpuid_ebx(SVM_CPUID_FUNC) - 1;
	svm_backend.has_next_rip = boot_cpu_has(X86_FEATURE_NRIPS);
	svm_probe_tdp(&svm_backend.tdp);
	err = svm_alloc_maps() ?: svm_alloc_cpus();
	if (err)
		svm_free_pages();
	return err;
}

static int svm_cpu_enable(void)
{
	struct svm_cpu *cpu = this_cpu_ptr(&svm_cpu);
	u64 efer;

	rdmsrl(MSR_EFER, efer);
	if (efer & EFER_SVME)
		return -EBUSY;
	wrmsrl(MSR_EFER, efer | EFER_SVME);
	wrmsrl(MSR_VM_HSAVE_PA, page_to_phys(cpu->hsave));
	lv_reduce_speculation(true);
	if (boot_cpu_has(X86_FEATURE_RDTSCP))
		rdmsrl(MSR_TSC_AUX, cpu->tsc_aux);
	/* A guest that ran here before must not meet its old ASID. */
	cpu->generation++;
	cpu->next_asid = svm_max_asid + 1;
	return 0;
}

static void svm_cpu_disable(void)
{
	u64 efer;

	lv_reduce_speculation(false);
	wrmsrl(MSR_VM_HSAVE_PA, 0);
	rdmsrl(MSR_EFER, efer);
	/* An NMI with GIF clear would be lost: STGI first costs nothing. */
	asm volatile("stgi" ::: "memory");
	wrmsrl(MSR_EFER, efer & ~EFER_SVME);
}

/*
 * The host's FS, GS, TR and system call MSRs do not change while a thread
 * stays in KVM_RUN on one CPU, so they are saved once here and VMLOADed after
 * every exit.
 */
static void svm_load(struct lv_vcpu *v, int cpu)
{
	struct svm_cpu *c = this_cpu_ptr(&svm_cpu);
	struct svm_vcpu *s = to_svm(v);

	/* A reboot's interrupt may just have turned SVM off: see vmx/insn.h */
	asm volatile("1: vmsave %0\n"
		     "2:\n" _ASM_EXTABLE(1b, 2b)::"a"(c->host_area_pa)
		     : "memory");
	/* One guest must not steer another by what it taught the predictor. */
	if (c->last_vmcb != s->vmcb_pa) {
		c->last_vmcb = s->vmcb_pa;
		indirect_branch_prediction_barrier();
	}
	if (s->cpu != cpu) {
		s->cpu = cpu;
		s->asid_generation = 0;
		s->vmcb->control.clean = 0;
	}
	if (v->tsc_aux != c->tsc_aux && static_cpu_has(X86_FEATURE_RDTSCP))
		lv_native_wrmsr(MSR_TSC_AUX, v->tsc_aux);
}

static void svm_put(struct lv_vcpu *v)
{
	struct svm_cpu *c = this_cpu_ptr(&svm_cpu);

	if (v->tsc_aux != c->tsc_aux && static_cpu_has(X86_FEATURE_RDTSCP))
		lv_native_wrmsr(MSR_TSC_AUX, c->tsc_aux);
}

struct lv_backend svm_backend = {
	.name = "svm",
	.vcpu_size = sizeof(struct svm_vcpu),
	.probe = svm_probe,
	.exit = svm_free_pages,
	.cpu_enable = svm_cpu_enable,
	.cpu_disable = svm_cpu_disable,
	.vcpu_init = svm_vcpu_init,
	.vcpu_free = svm_vcpu_free,
	.vcpu_reset = svm_vcpu_reset,
	.load = svm_load,
	.put = svm_put,
	.run = svm_run,
	.cache_reg = svm_cache_reg,
	.get_segment = svm_get_segment,
	.set_segment = svm_set_segment,
	.code_flags = svm_code_flags,
	.cpl = svm_cpl,
	.get_table = svm_get_table,
	.set_table = svm_set_table,
	.set_cr0 = svm_set_cr0,
	.set_cr3 = svm_set_cr3,
	.set_cr4 = svm_set_cr4,
	.set_efer = svm_set_efer,
	.set_root = svm_set_root,
	.set_tsc_offset = svm_set_tsc_offset,
	.set_intercepts = svm_set_intercepts,
	.set_dr7 = svm_set_dr7,
	.lend_drs = svm_lend_drs,
	.get_msr = svm_get_msr,
	.set_msr = svm_set_msr,
	.inject = svm_inject,
	.irq_allowed = svm_irq_allowed,
	.nmi_allowed = svm_nmi_allowed,
	.irq_window = svm_irq_window,
	.nmi_window = svm_nmi_window,
	.get_nmi_mask = svm_get_nmi_mask,
	.set_nmi_mask = svm_set_nmi_mask,
	.get_shadow = svm_get_shadow,
	.set_shadow = svm_set_shadow,
	.set_tpr = svm_set_tpr,
	.flush_tlb = svm_flush_tlb,
	.dump = svm_dump,
};
