/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Intel VMX backend, private to vmx/.
 *
 * Sources: Intel 64 and IA-32 Architectures Software Developer's Manual (SDM),
 * volume 3, part 3 "VMX", and its appendices on VMX capability reporting and
 * VMCS field encoding.
 */
#ifndef LABVISOR_VMX_H
#define LABVISOR_VMX_H

#include <asm/vmx.h>

#include "../labvisor.h"
#include "insn.h"

/*
 * MSRs that VM entry and exit leave alone. The guest's values are in the CPU
 * from the first entry until the vCPU is put, the host's at all other times.
 */
enum vmx_msr {
	VMX_MSR_STAR,
	VMX_MSR_LSTAR,
	VMX_MSR_CSTAR,
	VMX_MSR_SFMASK,
	VMX_MSR_TSC_AUX,
	VMX_NR_SWITCHED, /* those above: the host's are constant on a CPU */
	VMX_MSR_KERNEL_GS_BASE = VMX_NR_SWITCHED, /* SWAPGS changes it, too */
	VMX_NR_MSRS
};

/*
 * struct vmx_host - what of the host thread VM exits do not restore (own)
 * @fs: FS selector, if it has to be loaded again
 * @gs: GS selector, likewise
 * @ds: DS selector
 * @es: ES selector
 * @ldt: LDTR selector
 * @kernel_gs_base: GS base of user space
 */
struct vmx_host {
	u16 fs, gs, ds, es, ldt;
	u64 kernel_gs_base;
};

/*
 * struct vmx_vcpu - a vCPU and its VMCS (own)
 * @vmcs: the VMCS, which only the CPU reads and writes
 * @apic_page: virtual-APIC page, without v->apicv for the task priority only;
 *	NULL: CR8 exits
 * @node: in vmx_cpu.active of @cpu (that CPU, interrupts off)
 * @cpu: CPU that may hold the VMCS in its caches; -1 after VMCLEAR
 * @launched: VMLAUNCH succeeded since VMCLEAR
 * @flush: cached translations have to go before the next entry: VMX_FLUSH_*
 * @reloaded: other threads, or user space, ran on this CPU since the last entry
 * @guest_loaded: the MSRs in the CPU are the guest's; see vmx_host
 * @timer: host TSC at which the guest has to exit, 0: never
 * @vpid: tag of the guest's translations in the TLB; 0 without VPIDs
 * @eptp: EPT pointer
 * @host_irq: vector of the host's interrupt that the last exit took; 0: none
 * @pin_ctl: pin-based controls, as written
 * @cpu_ctl: primary processor-based controls, as written
 * @cpu2_ctl: secondary ones
 * @entry_ctl: VM-entry controls
 * @host_cr3: HOST_CR3, as written
 * @host_cr4: HOST_CR4, as written
 * @host_rsp: HOST_RSP, as written
 * @tpr_threshold: TPR_THRESHOLD, as written
 * @intr_status: GUEST_INTR_STATUS, as it is in the VMCS
 * @eoi_exits: EOI_EXIT_BITMAP0 to 3, as written
 * @msr: guest values; KERNEL_GS_BASE is stale while @guest_loaded
 */
struct vmx_vcpu {
	struct lv_vcpu v;
	void *vmcs;
	hpa_t vmcs_pa;
	u32 *apic_page;
	struct list_head node;
	int cpu;
	bool launched;
	u8 flush;
	bool reloaded;
	bool guest_loaded;
	u16 vpid;
	u64 eptp;
	u64 timer;
	u8 host_irq;
	u32 pin_ctl, cpu_ctl, cpu2_ctl, entry_ctl;
	u64 host_cr3, host_cr4, host_rsp;
	u8 tpr_threshold;
	u16 intr_status;
	u64 eoi_exits[4];
	u64 msr[VMX_NR_MSRS];
	struct vmx_host host;
};

/*
 * struct vmx_cpu - a host CPU in VMX operation (own CPU, interrupts off)
 * @vmxon: VMXON region
 * @active: vCPUs whose VMCS this CPU may hold
 * @current_vcpu: the one that VMREAD and VMWRITE go to
 * @gdt: the host's GDT and its limit
 * @msr: the host's values
 */
struct vmx_cpu {
	struct page *vmxon;
	struct list_head active;
	struct vmx_vcpu *current_vcpu;
	struct desc_ptr gdt;
	u64 msr[VMX_NR_SWITCHED];
};

DECLARE_PER_CPU(struct vmx_cpu, vmx_cpu);

/*
 * struct vmx_caps - what this CPU's VMX can do (once)
 * @revision: VMCS revision
 * @pin: pin-based controls that are always on
 * @cpu: processor-based controls that are always on
 * @cpu2: the same of the secondary ones
 * @cpu2_may: secondary controls that can be on
 * @exit: VM-exit controls
 * @entry: VM-entry controls that are always on
 * @ept_flags: memory type, walk length and A/D enable of an EPT pointer
 * @invept: INVEPT type to use
 * @invvpid: INVVPID type to use, 0 without VPIDs
 * @timer_shift: the preemption timer counts down once in 2^this TSC ticks
 * @tpr_shadow: CR8 is virtualised
 * @apicv: local APICs in the kernel are
 * @posted: vectors can be posted to them; exits take the host's interrupts
 */
struct vmx_caps {
	u32 revision;
	u32 pin;
	u32 cpu;
	u32 cpu2;
	u32 cpu2_may;
	u32 exit;
	u32 entry;
	u32 ept_flags;
	u8 timer_shift;
	u8 invept;
	u8 invvpid;
	bool tpr_shadow;
	bool apicv;
	bool posted;
};

extern struct vmx_caps vmx_caps;
extern const u32 vmx_msr_index[VMX_NR_MSRS];

/* Which bitmap of MSRs a guest has: x2APIC mode of its own or not. */
enum vmx_bitmap {
	VMX_BITMAP,
	VMX_BITMAP_X2APIC,
	VMX_NR_BITMAPS
};

extern u8 *vmx_msr_bitmap[VMX_NR_BITMAPS];

/* Linux has renamed it. */
#define VMX_CPU2_XSAVES VMCS_CONTROL_BIT(XSAVES)

/* A local APIC is virtualised with all of these, or not at all. */
#define VMX_CPU2_APICV                             \
	(SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES | \
	 SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE |   \
	 SECONDARY_EXEC_APIC_REGISTER_VIRT |       \
	 SECONDARY_EXEC_VIRTUAL_INTR_DELIVERY)

#define VMX_FLUSH_GUEST BIT(0) /* those of the guest's page tables */
#define VMX_FLUSH_ALL (VMX_FLUSH_GUEST | BIT(1)) /* and those of the EPT */

static inline struct vmx_vcpu *to_vmx(struct lv_vcpu *v)
{
	return container_of(v, struct vmx_vcpu, v);
}

/* ---- controls that change ---- */

static inline void vmx_cpu_control(struct vmx_vcpu *s, u32 bits, bool on)
{
	u32 ctl = on ? s->cpu_ctl | bits : s->cpu_ctl & ~bits;

	if (ctl == s->cpu_ctl)
		return;
	s->cpu_ctl = ctl;
	vmcs_write(CPU_BASED_VM_EXEC_CONTROL, ctl);
}

/* Interruptibility: what blocks events right now. */
static inline void vmx_change_blocking(u32 clear, u32 set)
{
	u32 old = vmcs_read(GUEST_INTERRUPTIBILITY_INFO);
	u32 new = (old & ~clear) | set;

	if (new != old)
		vmcs_write(GUEST_INTERRUPTIBILITY_INFO, new);
}

#define VMX_BLOCKED_BY_SHADOW (GUEST_INTR_STATE_STI | GUEST_INTR_STATE_MOV_SS)

/*
 * entry.S: enter the guest with the current VMCS. @flags are VMX_ENTER_*;
 * @host_rsp caches HOST_RSP; @spec_ctrl is the host's. Returns 1 if the
 * instruction failed, 0 after a VM exit.
 */
#define VMX_ENTER_LAUNCHED 0 /* VMRESUME, not VMLAUNCH; a bit number */
#define VMX_ENTER_VERW 1 /* clear the CPU's buffers */
#define VMX_ENTER_SPEC_CTRL 2 /* load @spec_ctrl after the exit */
int vmx_enter(struct lv_vcpu *v, u64 flags, u64 *host_rsp, u64 spec_ctrl);
void vmx_exit(void); /* HOST_RIP, a label inside of it */

/* entry.S: call the handler of an interrupt, as the CPU would */
void vmx_call_handler(unsigned long handler);

/* caps.c */
int vmx_probe_caps(void);

/* mitigate.c */
DECLARE_STATIC_KEY_FALSE(vmx_flushes_l1d);
extern u64 vmx_enter_flags;
int vmx_mitigations_init(void);
void vmx_mitigations_exit(void);
void vmx_flush_l1d(struct vmx_vcpu *s);
void vmx_predictor_barrier(void);

/* host.c */
int vmx_cpu_enable(void);
void vmx_cpu_disable(void);
void vmx_deactivate(struct vmx_vcpu *s);
void vmx_load(struct lv_vcpu *v, int cpu);
void vmx_put(struct lv_vcpu *v);
void vmx_begin_stay(struct vmx_vcpu *s);
void vmx_init_host_state(void);

/* vmcs.c */
int vmx_vcpu_init(struct lv_vcpu *v);
void vmx_vcpu_free(struct lv_vcpu *v);
void vmx_vcpu_reset(struct lv_vcpu *v);
void vmx_get_segment(struct lv_vcpu *v, enum lv_sreg seg,
		     struct kvm_segment *out);
void vmx_set_segment(struct lv_vcpu *v, enum lv_sreg seg,
		     const struct kvm_segment *in);
u8 vmx_code_flags(struct lv_vcpu *v);
u8 vmx_cpl(struct lv_vcpu *v);
void vmx_get_table(struct lv_vcpu *v, bool idt, struct kvm_dtable *out);
void vmx_set_table(struct lv_vcpu *v, bool idt, const struct kvm_dtable *in);
void vmx_set_cr0(struct lv_vcpu *v, u64 cr0);
void vmx_set_cr3(struct lv_vcpu *v, u64 cr3);
void vmx_set_cr4(struct lv_vcpu *v, u64 cr4);
void vmx_set_efer(struct lv_vcpu *v, u64 efer);
void vmx_set_root(struct lv_vcpu *v, hpa_t root);
void vmx_set_tsc_offset(struct lv_vcpu *v, u64 offset);
void vmx_set_intercepts(struct lv_vcpu *v);
void vmx_set_dr7(struct lv_vcpu *v);
void vmx_lend_drs(struct lv_vcpu *v, bool lend);
u64 vmx_get_msr(struct lv_vcpu *v, u32 msr);
void vmx_set_msr(struct lv_vcpu *v, u32 msr, u64 val);
void vmx_cache_reg(struct lv_vcpu *v, enum lv_reg reg);
void vmx_write_regs(struct lv_vcpu *v);

/* event.c */
void vmx_inject(struct lv_vcpu *v, const struct lv_event *event);
bool vmx_irq_allowed(struct lv_vcpu *v);
bool vmx_nmi_allowed(struct lv_vcpu *v);
void vmx_irq_window(struct lv_vcpu *v, bool on);
void vmx_nmi_window(struct lv_vcpu *v);
bool vmx_get_nmi_mask(struct lv_vcpu *v);
void vmx_set_nmi_mask(struct lv_vcpu *v, bool masked);
u8 vmx_get_shadow(struct lv_vcpu *v);
void vmx_set_shadow(struct lv_vcpu *v, u8 shadow);
void vmx_set_tpr(struct lv_vcpu *v, u8 cr8, u8 threshold);
void vmx_decode_interrupted(struct lv_event *event);

/* run.c */
void vmx_run(struct lv_vcpu *v, struct lv_exit *exit);
void vmx_flush_tlb(struct lv_vcpu *v, bool nested);
void vmx_set_timer(struct lv_vcpu *v, u64 host_tsc);

/* apicv.c */
void vmx_apic_init(struct vmx_vcpu *s);
u32 vmx_apic_controls(struct lv_vcpu *v);
void vmx_write_apic(struct vmx_vcpu *s, u16 status);
void vmx_decode_apic(struct lv_vcpu *v, struct lv_exit *exit, u32 code,
		     u32 info);

/* posted.c */
void vmx_probe_posted(void);
void vmx_post_init(struct vmx_vcpu *s);
void vmx_post_controls(struct vmx_vcpu *s);
void vmx_serve_host(struct lv_vcpu *v);

/* check.c */
void vmx_dump(struct lv_vcpu *v);

#endif /* LABVISOR_VMX_H */
