/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * AMD SVM backend, private to svm/.
 *
 * Sources: AMD64 Architecture Programmer's Manual, volume 2, chapter "Secure
 * Virtual Machine", and its appendix "VMCB Layout".
 */
#ifndef LABVISOR_SVM_H
#define LABVISOR_SVM_H

#include <asm/svm.h>

#include "../labvisor.h"

/*
 * VMCB clean bits: groups of fields that the CPU may keep cached because
 * nobody wrote them since the last VMRUN (AMD APM vol. 2, VMCB State Caching).
 */
enum svm_clean {
	SVM_CLEAN_INTERCEPTS,
	SVM_CLEAN_PERM_MAPS,
	SVM_CLEAN_ASID,
	SVM_CLEAN_INTR,
	SVM_CLEAN_NPT,
	SVM_CLEAN_CR,
	SVM_CLEAN_DR,
	SVM_CLEAN_DT,
	SVM_CLEAN_SEG,
	SVM_CLEAN_CR2,
};

#define SVM_CLEAN_ALL GENMASK(SVM_CLEAN_CR2, 0)

/* In reg_dirty: the #BP or #OF to inject is that of the instruction at RIP. */
#define SVM_DIRTY_INT3 BIT(LV_NR_R)

/*
 * struct svm_vcpu - a vCPU and its VMCB (own)
 * @asid_generation: generation of the ASID; 0 forces a new one
 * @cpu: CPU whose caches the VMCB may be in, -1 if none
 * @nmi_masked: an NMI is being handled; IRET is intercepted to see its end
 * @iret_pending: the IRET was seen and ends the NMI once RIP moves
 * @virq: the virtual interrupt is there to be delivered, not for a window
 * @window_waits: for its handler to exit or end: IRET is intercepted, too
 * @stepping: TF is borrowed to stop after one instruction for an NMI
 */
struct svm_vcpu {
	struct lv_vcpu v;
	struct vmcb *vmcb;
	hpa_t vmcb_pa;
	u64 asid_generation;
	int cpu;
	bool nmi_masked;
	bool iret_pending;
	bool stepping;
	bool virq;
	bool window_waits;
	u64 stepping_rflags;
	u64 iret_rip;
};

/*
 * struct svm_cpu - what a host CPU needs to run guests
 * @host_area: host state that VMLOAD restores after each exit
 * @hsave: where VMRUN saves the rest (VM_HSAVE_PA)
 * @generation: current ASID generation
 * @next_asid: next free ASID of it
 * @last_vmcb: VMCB of the vCPU that was loaded here last, 0 if it is gone
 */
struct svm_cpu {
	struct page *host_area;
	hpa_t host_area_pa;
	struct page *hsave;
	u64 generation;
	u32 next_asid;
	hpa_t last_vmcb;
	u64 tsc_aux;
};

DECLARE_PER_CPU(struct svm_cpu, svm_cpu);

extern u32 svm_max_asid;
extern hpa_t svm_iopm_pa;
extern hpa_t svm_msrpm_pa;

static inline struct svm_vcpu *to_svm(struct lv_vcpu *v)
{
	return container_of(v, struct svm_vcpu, v);
}

static inline void svm_touch(struct svm_vcpu *s, enum svm_clean group)
{
	s->vmcb->control.clean &= ~BIT(group);
}

static inline void svm_intercept(struct svm_vcpu *s, unsigned int bit, bool on)
{
	u32 *word = &s->vmcb->control.intercepts[bit / 32];
	u32 val = on ? *word | BIT(bit % 32) : *word & ~BIT(bit % 32);

	if (val == *word)
		return;
	*word = val;
	svm_touch(s, SVM_CLEAN_INTERCEPTS);
}

/* entry.S */
void svm_enter(struct lv_vcpu *v, hpa_t vmcb, hpa_t host_area, u64 shadow);

/* vmcb.c */
int svm_vcpu_init(struct lv_vcpu *v);
void svm_vcpu_free(struct lv_vcpu *v);
void svm_vcpu_reset(struct lv_vcpu *v);
void svm_get_segment(struct lv_vcpu *v, enum lv_sreg seg,
		     struct kvm_segment *out);
void svm_set_segment(struct lv_vcpu *v, enum lv_sreg seg,
		     const struct kvm_segment *in);
u8 svm_code_flags(struct lv_vcpu *v);
u8 svm_cpl(struct lv_vcpu *v);
void svm_get_table(struct lv_vcpu *v, bool idt, struct kvm_dtable *out);
void svm_set_table(struct lv_vcpu *v, bool idt, const struct kvm_dtable *in);
void svm_set_cr0(struct lv_vcpu *v, u64 cr0);
void svm_set_cr3(struct lv_vcpu *v, u64 cr3);
void svm_set_cr4(struct lv_vcpu *v, u64 cr4);
void svm_set_efer(struct lv_vcpu *v, u64 efer);
void svm_set_root(struct lv_vcpu *v, hpa_t root);
void svm_set_tsc_offset(struct lv_vcpu *v, u64 offset);
void svm_set_intercepts(struct lv_vcpu *v);
void svm_set_dr7(struct lv_vcpu *v);
void svm_lend_drs(struct lv_vcpu *v, bool lend);
u64 svm_get_msr(struct lv_vcpu *v, u32 msr);
void svm_set_msr(struct lv_vcpu *v, u32 msr, u64 val);
void svm_cache_reg(struct lv_vcpu *v, enum lv_reg reg);
void svm_dump(struct lv_vcpu *v);

/* event.c */
void svm_inject(struct lv_vcpu *v, const struct lv_event *event);
bool svm_irq_allowed(struct lv_vcpu *v);
bool svm_nmi_allowed(struct lv_vcpu *v);
void svm_irq_window(struct lv_vcpu *v, bool on);
void svm_nmi_window(struct lv_vcpu *v);
bool svm_get_nmi_mask(struct lv_vcpu *v);
void svm_set_nmi_mask(struct lv_vcpu *v, bool masked);
u8 svm_get_shadow(struct lv_vcpu *v);
void svm_set_shadow(struct lv_vcpu *v, u8 shadow);
void svm_set_tpr(struct lv_vcpu *v, u8 cr8, u8 threshold);
void svm_settle_irq(struct svm_vcpu *s, struct lv_event *interrupted);
void svm_iret_seen(struct svm_vcpu *s);
void svm_iret_done(struct svm_vcpu *s);
bool svm_step_done(struct svm_vcpu *s);

/* run.c */
void svm_run(struct lv_vcpu *v, struct lv_exit *exit);
void svm_flush_tlb(struct lv_vcpu *v, bool nested);

#endif /* LABVISOR_SVM_H */
