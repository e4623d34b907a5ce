// SPDX-License-Identifier: GPL-2.0-only
/*
 * The VMCB: set-up, guest state, intercepts.
 */
#define pr_fmt(fmt) "labvisor: " fmt

#include <linux/mm.h>
#include <asm/debugreg.h>
#include <asm/io.h>
#include <asm/msr-index.h>

#include "svm.h"

/* AMD APM vol. 2, VMCB Layout: segment attributes. */
#define SVM_ATTR_TYPE GENMASK(3, 0)
#define SVM_ATTR_S BIT(4)
#define SVM_ATTR_DPL_SHIFT 5
#define SVM_ATTR_P BIT(7)
#define SVM_ATTR_AVL BIT(8)
#define SVM_ATTR_L BIT(9)
#define SVM_ATTR_DB BIT(10)
#define SVM_ATTR_CODE_SHIFT 9 /* of these two, as LV_CODE_* */
#define SVM_ATTR_G BIT(11)

/* CR0 bits that would slow the guest down and protect nobody. */
#define SVM_CR0_HIDDEN (X86_CR0_CD | X86_CR0_NW)

/* Intercepts of reads and writes of DR0 to DR7. */
#define SVM_ALL_DRS 0xff00ff

static const u8 svm_intercepts[] = {
	INTERCEPT_INTR,	     INTERCEPT_NMI,	  INTERCEPT_SELECTIVE_CR0,
	INTERCEPT_RDPMC,     INTERCEPT_CPUID,	  INTERCEPT_RSM,
	INTERCEPT_INVD,	     INTERCEPT_HLT,	  INTERCEPT_INVLPGA,
	INTERCEPT_IOIO_PROT, INTERCEPT_MSR_PROT,  INTERCEPT_TASK_SWITCH,
	INTERCEPT_SHUTDOWN,  INTERCEPT_VMRUN,	  INTERCEPT_VMMCALL,
	INTERCEPT_VMLOAD,    INTERCEPT_VMSAVE,	  INTERCEPT_STGI,
	INTERCEPT_CLGI,	     INTERCEPT_SKINIT,	  INTERCEPT_WBINVD,
	INTERCEPT_MONITOR,   INTERCEPT_MWAIT,	  INTERCEPT_XSETBV,
	INTERCEPT_RDPRU,     INTERCEPT_CR4_WRITE,
};

int svm_vcpu_init(struct lv_vcpu *v)
{
	struct svm_vcpu *s = to_svm(v);
	struct page *page = alloc_page(GFP_KERNEL_ACCOUNT | __GFP_ZERO);

	if (!page)
		return -ENOMEM;
	s->vmcb = page_address(page);
	s->vmcb_pa = page_to_phys(page);
	s->cpu = -1;
	return 0;
}

void svm_vcpu_free(struct lv_vcpu *v)
{
	struct svm_vcpu *s = to_svm(v);
	int cpu;

	/* Another vCPU may get the page: no CPU may take it for this one. */
	for_each_possible_cpu(cpu)
		cmpxchg(per_cpu_ptr(&svm_cpu.last_vmcb, cpu), s->vmcb_pa, 0);
	free_page((unsigned long)s->vmcb);
}

/* Everything that INIT sets and that common code does not set itself. */
void svm_vcpu_reset(struct lv_vcpu *v)
{
	struct svm_vcpu *s = to_svm(v);
	struct vmcb_control_area *control = &s->vmcb->control;
	u64 tsc_offset = control->tsc_offset;
	hpa_t root = control->nested_cr3;
	unsigned int i;

	memset(s->vmcb, 0, sizeof(*s->vmcb));
	control->tsc_offset = tsc_offset;
	control->nested_cr3 = root;
	control->nested_ctl = SVM_NESTED_CTL_NP_ENABLE;
	control->iopm_base_pa = svm_iopm_pa;
	control->int_ctl = V_INTR_MASKING_MASK;
	s->vmcb->save.g_pat = v->pat;
	s->vmcb->save.dr6 = DR6_RESERVED;
	for (i = 0; i < ARRAY_SIZE(svm_intercepts); i++)
		svm_intercept(s, svm_intercepts[i], true);
	s->asid_generation = 0;
	s->nmi_masked = false;
	s->iret_pending = false;
	s->stepping = false;
	s->virq = false;
	s->window_waits = false;
	svm_set_intercepts(v);
}

void svm_set_dr7(struct lv_vcpu *v)
{
	to_svm(v)->vmcb->save.dr7 = lv_dr7_in_use(v);
	svm_touch(to_svm(v), SVM_CLEAN_DR);
}

/* VMRUN and #VMEXIT switch DR6 and DR7 with the VMCB. */
void svm_lend_drs(struct lv_vcpu *v, bool lend)
{
	struct svm_vcpu *s = to_svm(v);
	struct vmcb_save_area *save = &s->vmcb->save;

	s->vmcb->control.intercepts[INTERCEPT_DR] = lend ? 0 : SVM_ALL_DRS;
	svm_touch(s, SVM_CLEAN_INTERCEPTS);
	if (!lend) {
		v->dr6 = save->dr6;
		v->dr7 = save->dr7;
	}
	save->dr6 = lend ? v->dr6 : DR6_RESERVED;
	svm_touch(s, SVM_CLEAN_DR);
}

/*
 * #DB and #AC are intercepted because a guest can make their delivery fault
 * forever without leaving the CPU to the host; #MC because it is the host's.
 */
void svm_set_intercepts(struct lv_vcpu *v)
{
	struct svm_vcpu *s = to_svm(v);
	struct vmcb_control_area *control = &s->vmcb->control;
	u32 exceptions = BIT(DB_VECTOR) | BIT(AC_VECTOR) | BIT(MC_VECTOR);
	bool pause = boot_cpu_has(X86_FEATURE_PAUSEFILTER) &&
		     !v->vm->disable_pause_exits;

	if (v->guest_debug & KVM_GUESTDBG_USE_SW_BP)
		exceptions |= BIT(BP_VECTOR);
	if (!(v->vm->quirks_off & KVM_X86_QUIRK_FIX_HYPERCALL_INSN))
		exceptions |= BIT(UD_VECTOR);
	control->intercepts[INTERCEPT_EXCEPTION] = exceptions;
	control->intercepts[INTERCEPT_DR] = SVM_ALL_DRS;
	/* With a filter all MSRs are intercepted, and so are all ports. */
	control->msrpm_base_pa = rcu_access_pointer(v->vm->msr_filter)
					 ? svm_iopm_pa
					 : svm_msrpm_pa;
	svm_touch(s, SVM_CLEAN_PERM_MAPS);
	svm_intercept(s, INTERCEPT_HLT, !v->vm->disable_hlt_exits);
	svm_intercept(s, INTERCEPT_MONITOR, !v->vm->disable_mwait_exits);
	svm_intercept(s, INTERCEPT_MWAIT, !v->vm->disable_mwait_exits);
	svm_intercept(s, INTERCEPT_RDTSCP,
		      !lv_guest_has(v, X86_FEATURE_RDTSCP));
	svm_intercept(s, INTERCEPT_PAUSE, pause);
	if (pause) {
		control->pause_filter_count = 3000;
		control->pause_filter_thresh = 128;
	}
	svm_touch(s, SVM_CLEAN_INTERCEPTS);
	svm_set_dr7(v);
}

/* ---- segments and descriptor tables ---- */

static struct vmcb_seg *svm_seg(struct svm_vcpu *s, enum lv_sreg seg)
{
	struct vmcb_save_area *save = &s->vmcb->save;

	switch (seg) {
	case LV_SREG_TR:
		return &save->tr;
	case LV_SREG_LDTR:
		return &save->ldtr;
	default:
		/* ES, CS, SS, DS, FS, GS stand in hardware encoding. */
		return &save->es + seg;
	}
}

void svm_get_segment(struct lv_vcpu *v, enum lv_sreg seg,
		     struct kvm_segment *out)
{
	const struct vmcb_seg *in = svm_seg(to_svm(v), seg);
	u16 attr = in->attrib;

	*out = (struct kvm_segment){
		.base = in->base,
		.limit = in->limit,
		.selector = in->selector,
		.type = attr & SVM_ATTR_TYPE,
		.present = !!(attr & SVM_ATTR_P),
		.dpl = attr >> SVM_ATTR_DPL_SHIFT & 3,
		.db = !!(attr & SVM_ATTR_DB),
		.s = !!(attr & SVM_ATTR_S),
		.l = !!(attr & SVM_ATTR_L),
		.avl = !!(attr & SVM_ATTR_AVL),
		.unusable = !(attr & SVM_ATTR_P),
	};
	/* The CPU need not keep G, but VMX refuses a limit without it. */
	out->g = in->limit > 0xfffff;
	if (seg == LV_SREG_SS)
		out->dpl = to_svm(v)->vmcb->save.cpl;
	if (seg == LV_SREG_TR)
		out->type |= 2; /* busy, whatever the CPU kept */
}

void svm_set_segment(struct lv_vcpu *v, enum lv_sreg seg,
		     const struct kvm_segment *in)
{
	struct svm_vcpu *s = to_svm(v);
	struct vmcb_seg *out = svm_seg(s, seg);

	out->base = in->base;
	out->limit = in->limit;
	out->selector = in->selector;
	out->attrib = (in->type & SVM_ATTR_TYPE) | (in->s ? SVM_ATTR_S : 0) |
		      (in->dpl & 3) << SVM_ATTR_DPL_SHIFT |
		      (in->present && !in->unusable ? SVM_ATTR_P : 0) |
		      (in->avl ? SVM_ATTR_AVL : 0) | (in->l ? SVM_ATTR_L : 0) |
		      (in->db ? SVM_ATTR_DB : 0) | (in->g ? SVM_ATTR_G : 0);
	if (seg == LV_SREG_SS)
		s->vmcb->save.cpl = in->dpl & 3;
	svm_touch(s, SVM_CLEAN_SEG);
}

u8 svm_code_flags(struct lv_vcpu *v)
{
	u16 attr = to_svm(v)->vmcb->save.cs.attrib;

	BUILD_BUG_ON(SVM_ATTR_L != LV_CODE_L << SVM_ATTR_CODE_SHIFT ||
		     SVM_ATTR_DB != LV_CODE_D << SVM_ATTR_CODE_SHIFT);
	return attr >> SVM_ATTR_CODE_SHIFT & (LV_CODE_L | LV_CODE_D);
}

u8 svm_cpl(struct lv_vcpu *v)
{
	return to_svm(v)->vmcb->save.cpl;
}

static struct vmcb_seg *svm_table(struct svm_vcpu *s, bool idt)
{
	return idt ? &s->vmcb->save.idtr : &s->vmcb->save.gdtr;
}

void svm_get_table(struct lv_vcpu *v, bool idt, struct kvm_dtable *out)
{
	const struct vmcb_seg *in = svm_table(to_svm(v), idt);

	*out = (struct kvm_dtable){ .base = in->base, .limit = in->limit };
}

void svm_set_table(struct lv_vcpu *v, bool idt, const struct kvm_dtable *in)
{
	struct svm_vcpu *s = to_svm(v);
	struct vmcb_seg *out = svm_table(s, idt);

	out->base = in->base;
	out->limit = in->limit;
	svm_touch(s, SVM_CLEAN_DT);
}

/* ---- control registers ---- */

/*
 * The guest owns CR0.TS and CR0.MP; other changes exit. If it asked for bits
 * that are hidden from the hardware, every access exits.
 */
void svm_set_cr0(struct lv_vcpu *v, u64 cr0)
{
	struct svm_vcpu *s = to_svm(v);
	bool hidden = cr0 & SVM_CR0_HIDDEN;

	s->vmcb->save.cr0 = cr0 & ~SVM_CR0_HIDDEN;
	svm_intercept(s, INTERCEPT_CR0_READ, hidden);
	svm_intercept(s, INTERCEPT_CR0_WRITE, hidden);
	svm_touch(s, SVM_CLEAN_CR);
}

void svm_set_cr3(struct lv_vcpu *v, u64 cr3)
{
	to_svm(v)->vmcb->save.cr3 = cr3;
	svm_touch(to_svm(v), SVM_CLEAN_CR);
}

/* Machine checks are the host's, so the guest runs with its CR4.MCE. */
void svm_set_cr4(struct lv_vcpu *v, u64 cr4)
{
	struct svm_vcpu *s = to_svm(v);
	u64 hw = cr4 | (__read_cr4() & X86_CR4_MCE);

	s->vmcb->save.cr4 = hw;
	svm_intercept(s, INTERCEPT_CR4_READ, hw != cr4);
	svm_touch(s, SVM_CLEAN_CR);
}

/*
 * VMRUN insists on EFER.SVME. The guest's view of it is in vcpu->efer. LME means
 * nothing to the CPU before paging is on, and with it QEMU may not restore the
 * host's CR0 (docs/emulators.md).
 */
void svm_set_efer(struct lv_vcpu *v, u64 efer)
{
	if (!(efer & EFER_LMA))
		efer &= ~(u64)EFER_LME;
	to_svm(v)->vmcb->save.efer = efer | EFER_SVME;
	svm_touch(to_svm(v), SVM_CLEAN_CR);
}

void svm_set_root(struct lv_vcpu *v, hpa_t root)
{
	to_svm(v)->vmcb->control.nested_cr3 = root;
	svm_touch(to_svm(v), SVM_CLEAN_NPT);
}

void svm_set_tsc_offset(struct lv_vcpu *v, u64 offset)
{
	to_svm(v)->vmcb->control.tsc_offset = offset;
	svm_touch(to_svm(v), SVM_CLEAN_INTERCEPTS);
}

void svm_cache_reg(struct lv_vcpu *v, enum lv_reg reg)
{
	const struct vmcb_save_area *save = &to_svm(v)->vmcb->save;

	switch (reg) {
	case LV_R_CR0:
		v->cr0 = (v->cr0 & SVM_CR0_HIDDEN) | save->cr0;
		break;
	case LV_R_CR2:
		v->cr2 = save->cr2;
		break;
	case LV_R_CR3:
		v->cr3 = save->cr3;
		break;
	case LV_R_PDPTE: /* the CPU takes them from memory whenever it likes */
		lv_load_pdptes(v, lv_cr3(v));
		break;
	default: /* the others are copied at every exit */
		break;
	}
	v->reg_avail |= BIT(reg);
}

/* ---- MSRs that VMLOAD, VMSAVE and VMRUN switch ---- */

static u64 *svm_msr(struct svm_vcpu *s, u32 msr)
{
	struct vmcb_save_area *save = &s->vmcb->save;

	switch (msr) {
	case MSR_STAR:
		return &save->star;
	case MSR_LSTAR:
		return &save->lstar;
	case MSR_CSTAR:
		return &save->cstar;
	case MSR_SYSCALL_MASK:
		return &save->sfmask;
	case MSR_KERNEL_GS_BASE:
		return &save->kernel_gs_base;
	case MSR_FS_BASE:
		return &save->fs.base;
	case MSR_GS_BASE:
		return &save->gs.base;
	case MSR_IA32_SYSENTER_CS:
		return &save->sysenter_cs;
	case MSR_IA32_SYSENTER_ESP:
		return &save->sysenter_esp;
	case MSR_IA32_SYSENTER_EIP:
		return &save->sysenter_eip;
	case MSR_IA32_CR_PAT:
		return &save->g_pat;
	case MSR_IA32_DEBUGCTLMSR:
		return &save->dbgctl;
	default:
		return NULL;
	}
}

u64 svm_get_msr(struct lv_vcpu *v, u32 msr)
{
	u64 *val = svm_msr(to_svm(v), msr);

	return val ? *val : 0;
}

void svm_set_msr(struct lv_vcpu *v, u32 msr, u64 val)
{
	struct svm_vcpu *s = to_svm(v);
	u64 *field = svm_msr(s, msr);

	if (msr == MSR_IA32_SPEC_CTRL)
		s->vmcb->save.spec_ctrl = val;
	if (msr == MSR_TSC_AUX) {
		/* In the hardware while the vCPU is loaded. */
		preempt_disable();
		v->tsc_aux = val;
		wrmsrl(MSR_TSC_AUX, val);
		preempt_enable();
	}
	if (!field)
		return;
	*field = val;
	svm_touch(s, SVM_CLEAN_NPT); /* covers G_PAT */
	svm_touch(s, SVM_CLEAN_SEG);
}

void svm_dump(struct lv_vcpu *v)
{
	const struct vmcb_control_area *c = &to_svm(v)->vmcb->control;
	const struct vmcb_save_area *s = &to_svm(v)->vmcb->save;

	pr_info("VMCB of vCPU %d: exit %x info %llx %llx int_info %x\n", v->id,
		c->exit_code, c->exit_info_1, c->exit_info_2, c->exit_int_info);
	pr_info("  int_ctl %x int_state %x event_inj %x asid %u ncr3 %llx\n",
		c->int_ctl, c->int_state, c->event_inj, c->asid, c->nested_cr3);
	pr_info("  rip %llx rsp %llx rflags %llx rax %llx cpl %u\n", s->rip,
		s->rsp, s->rflags, s->rax, s->cpl);
	pr_info("  cr0 %llx cr2 %llx cr3 %llx cr4 %llx efer %llx\n", s->cr0,
		s->cr2, s->cr3, s->cr4, s->efer);
	pr_info("  cs %x:%llx/%x attr %x ss %x attr %x\n", s->cs.selector,
		s->cs.base, s->cs.limit, s->cs.attrib, s->ss.selector,
		s->ss.attrib);
}
