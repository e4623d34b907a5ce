// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host's side: VMX operation of a CPU, which VMCSs it holds, and the host
 * state that VM exits load or that has to be put back by hand.
 */
#define pr_fmt(fmt) "labvisor: " fmt

#include <linux/mm.h>
#include <linux/smp.h>
#include <asm/debugreg.h>
#include <asm/desc.h>
#include <asm/fsgsbase.h>
#include <asm/io.h>
#include <asm/mmu_context.h>
#include <asm/msr.h>
#include <asm/tlbflush.h>

#include "../compat.h"
#include "vmx.h"

const u32 vmx_msr_index[VMX_NR_MSRS] = {
	[VMX_MSR_STAR] = MSR_STAR,
	[VMX_MSR_LSTAR] = MSR_LSTAR,
	[VMX_MSR_CSTAR] = MSR_CSTAR,
	[VMX_MSR_SFMASK] = MSR_SYSCALL_MASK,
	[VMX_MSR_TSC_AUX] = MSR_TSC_AUX,
	[VMX_MSR_KERNEL_GS_BASE] = MSR_KERNEL_GS_BASE,
};

/* ---- VMX operation ---- */

static void vmx_read_host_msrs(u64 *msr)
{
	unsigned int i;

	for (i = 0; i < VMX_NR_SWITCHED; i++)
		if (i != VMX_MSR_TSC_AUX || boot_cpu_has(X86_FEATURE_RDTSCP))
			msr[i] = lv_native_rdmsr(vmx_msr_index[i]);
}

int vmx_cpu_enable(void)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpu);
	int err;

	if (__read_cr4() & X86_CR4_VMXE)
		return -EBUSY;
	INIT_LIST_HEAD(&c->active);
	c->current_vcpu = NULL;
	native_store_gdt(&c->gdt);
	vmx_read_host_msrs(c->msr);

	lv_pause_processor_trace(true);
	lv_set_cr4_vmxe(true);
	*(u32 *)page_address(c->vmxon) = vmx_caps.revision;
	err = vmxon(page_to_phys(c->vmxon));
	if (err) {
		lv_set_cr4_vmxe(false);
		lv_pause_processor_trace(false);
		pr_err_ratelimited("VMXON failed on CPU %d\n",
				   smp_processor_id());
		return err;
	}
	/* Earlier guests may have left translations behind. */
	invept(VMX_EPT_EXTENT_GLOBAL, 0);
	return 0;
}

/* Write the VMCS back to memory. On the CPU that holds it, interrupts off. */
static void vmx_clear(struct vmx_cpu *c, struct vmx_vcpu *s)
{
	vmclear(s->vmcs_pa);
	list_del(&s->node);
	s->launched = false;
	if (c->current_vcpu == s)
		c->current_vcpu = NULL;
	/* Another CPU may load it from here on. */
	smp_store_release(&s->cpu, -1);
}

void vmx_cpu_disable(void)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpu);
	struct vmx_vcpu *s, *next;

	list_for_each_entry_safe(s, next, &c->active, node)
		vmx_clear(c, s);
	vmxoff();
	lv_set_cr4_vmxe(false);
	lv_pause_processor_trace(false);
}

static void vmx_clear_here(void *data)
{
	struct vmx_vcpu *s = data;

	/* The CPU may have left VMX operation meanwhile. */
	if (s->cpu == smp_processor_id())
		vmx_clear(this_cpu_ptr(&vmx_cpu), s);
}

/* Make the CPU that holds the VMCS let go of it. Interrupts on. */
void vmx_deactivate(struct vmx_vcpu *s)
{
	int cpu = READ_ONCE(s->cpu);

	if (cpu >= 0)
		smp_call_function_single(cpu, vmx_clear_here, s, 1);
}

/* ---- host state in the VMCS ---- */

static u64 host_tr_base(const struct desc_ptr *gdt)
{
	const struct ldttss_desc *tss;
	u16 tr;

	store_tr(tr);
	tss = (void *)(gdt->address + tr);
	return tss->base0 | tss->base1 << 16 | (u64)tss->base2 << 24 |
	       (u64)tss->base3 << 32;
}

/* What differs between CPUs. */
static void vmx_set_host_cpu_state(void)
{
	const struct desc_ptr *gdt = &this_cpu_ptr(&vmx_cpu)->gdt;

	vmcs_write(HOST_GDTR_BASE, gdt->address);
	vmcs_write(HOST_TR_BASE, host_tr_base(gdt));
	vmcs_write(HOST_GS_BASE, lv_native_rdmsr(MSR_GS_BASE));
	vmcs_write(HOST_IA32_SYSENTER_ESP,
		   lv_native_rdmsr(MSR_IA32_SYSENTER_ESP));
}

/** vmx_init_host_state - what is the same for all entries */
void vmx_init_host_state(void)
{
	struct desc_ptr idt;
	u16 tr;

	store_tr(tr);
	store_idt(&idt);
	vmcs_write(HOST_CR0, read_cr0());
	vmcs_write(HOST_CS_SELECTOR, __KERNEL_CS);
	vmcs_write(HOST_SS_SELECTOR, __KERNEL_DS);
	vmcs_write(HOST_DS_SELECTOR, 0);
	vmcs_write(HOST_ES_SELECTOR, 0);
	vmcs_write(HOST_FS_SELECTOR, 0);
	vmcs_write(HOST_GS_SELECTOR, 0);
	vmcs_write(HOST_TR_SELECTOR, tr);
	vmcs_write(HOST_IDTR_BASE, idt.address);
	vmcs_write(HOST_IA32_SYSENTER_CS,
		   lv_native_rdmsr(MSR_IA32_SYSENTER_CS));
	vmcs_write(HOST_IA32_SYSENTER_EIP,
		   lv_native_rdmsr(MSR_IA32_SYSENTER_EIP));
	vmcs_write(HOST_IA32_EFER, lv_native_rdmsr(MSR_EFER));
	vmcs_write(HOST_IA32_PAT, lv_native_rdmsr(MSR_IA32_CR_PAT));
	vmcs_write(HOST_RIP, (unsigned long)vmx_exit);
	/* Of this CPU, where the VMCS is: see vmx_load(). */
	preempt_disable();
	vmx_set_host_cpu_state();
	preempt_enable();
}

/* ---- loading ---- */

static noinline void vmx_move_here(struct vmx_vcpu *s, struct vmx_cpu *c,
				   int cpu)
{
	unsigned long flags;

	vmx_deactivate(s);
	local_irq_save(flags);
	list_add(&s->node, &c->active);
	s->cpu = cpu;
	local_irq_restore(flags);
	/* The first VMPTRLD wants a VMCS that was cleared. */
	vmclear(s->vmcs_pa);
}

/* Of the vCPUs whose VMCS this CPU holds, work with this one. */
static noinline void vmx_make_current(struct vmx_vcpu *s, struct vmx_cpu *c)
{
	vmptrld(s->vmcs_pa);
	c->current_vcpu = s;
	/* One guest must not steer another by what it taught the CPU. */
	vmx_predictor_barrier();
}

void vmx_load(struct lv_vcpu *v, int cpu)
{
	struct vmx_cpu *c = this_cpu_ptr(&vmx_cpu);
	struct vmx_vcpu *s = to_vmx(v);
	bool moved = s->cpu != cpu;

	s->reloaded = true;
	if (moved)
		vmx_move_here(s, c, cpu);
	if (c->current_vcpu != s)
		vmx_make_current(s, c);
	if (moved) {
		vmx_set_host_cpu_state();
		/* What this CPU cached when the vCPU was last here is old. */
		s->flush = VMX_FLUSH_ALL;
	}
}

/* ---- host state that VM exits leave wrong ---- */

static __always_inline u64 host_fs_base(void)
{
	return static_cpu_has(X86_FEATURE_FSGSBASE)
		       ? rdfsbase()
		       : lv_native_rdmsr(MSR_FS_BASE);
}

static void vmx_save_host(struct vmx_vcpu *s)
{
	struct vmx_host *h = &s->host;

	savesegment(fs, h->fs);
	savesegment(gs, h->gs);
	savesegment(ds, h->ds);
	savesegment(es, h->es);
	store_ldt(h->ldt);
	vmcs_write(HOST_FS_BASE, host_fs_base());
	h->kernel_gs_base = lv_native_rdmsr(MSR_KERNEL_GS_BASE);
}

static __always_inline void vmx_switch_msr(unsigned int i, const u64 *old,
					   const u64 *new)
{
	if (old[i] != new[i])
		lv_native_wrmsr(vmx_msr_index[i], new[i]);
}

/* The CPU has the values of @old: give it those of @new. */
static __always_inline void vmx_switch_msrs(const u64 *old, const u64 *new)
{
	vmx_switch_msr(VMX_MSR_STAR, old, new);
	vmx_switch_msr(VMX_MSR_LSTAR, old, new);
	vmx_switch_msr(VMX_MSR_CSTAR, old, new);
	vmx_switch_msr(VMX_MSR_SFMASK, old, new);
	if (static_cpu_has(X86_FEATURE_RDTSCP))
		vmx_switch_msr(VMX_MSR_TSC_AUX, old, new);
}

/* The I/O permission bitmap lies beyond the limit that the exit set. */
static noinline void vmx_tss_limit_changed(void)
{
	invalidate_tss_limit();
}

/*
 * VM exits load null selectors, and limits of 0xffff for the descriptor
 * tables. User space has nonzero selectors only if it is a 32-bit program or
 * plays with them.
 */
static void vmx_restore_segments(const struct vmx_host *h,
				 const struct desc_ptr *gdt)
{
	u64 fs_base;

	if (unlikely(h->ldt))
		asm volatile("lldt %0" ::"m"(h->ldt));
	if (unlikely(h->fs)) {
		fs_base = lv_native_rdmsr(MSR_FS_BASE);
		loadsegment(fs, h->fs);
		lv_native_wrmsr(MSR_FS_BASE, fs_base);
	}
	if (unlikely(h->gs))
		load_gs_index(h->gs);
	if (unlikely(h->ds | h->es)) {
		loadsegment(ds, h->ds);
		loadsegment(es, h->es);
	}
	native_load_gdt(gdt);
	/* The kernel knows until it needs the limit. */
	if (!this_cpu_read(__tss_limit_invalid))
		vmx_tss_limit_changed();
}

void vmx_put(struct lv_vcpu *v)
{
	const struct vmx_cpu *c = this_cpu_ptr(&vmx_cpu);
	struct vmx_vcpu *s = to_vmx(v);

	if (!s->guest_loaded)
		return;
	s->guest_loaded = false;
	s->msr[VMX_MSR_KERNEL_GS_BASE] = lv_native_rdmsr(MSR_KERNEL_GS_BASE);
	vmx_switch_msrs(s->msr, c->msr);
	vmx_restore_segments(&s->host, &c->gdt);
	lv_native_wrmsr(MSR_KERNEL_GS_BASE, s->host.kernel_gs_base);
}

/*
 * The first entry since other code ran: that may have changed control
 * registers of the host, and left secrets in the L1 data cache.
 */
void vmx_begin_stay(struct vmx_vcpu *s)
{
	u64 cr3 = __read_cr3(), cr4 = __read_cr4();

	if (cr3 != s->host_cr3) {
		s->host_cr3 = cr3;
		vmcs_write(HOST_CR3, cr3);
	}
	if (cr4 != s->host_cr4) {
		s->host_cr4 = cr4;
		vmcs_write(HOST_CR4, cr4);
	}
	if (!s->guest_loaded) {
		vmx_save_host(s);
		vmx_switch_msrs(this_cpu_ptr(&vmx_cpu)->msr, s->msr);
		lv_native_wrmsr(MSR_KERNEL_GS_BASE,
				s->msr[VMX_MSR_KERNEL_GS_BASE]);
		s->guest_loaded = true;
	}
}
