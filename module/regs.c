// SPDX-License-Identifier: GPL-2.0-only
/*
 * Control registers: what the architecture checks when they are written, and
 * what follows from a change.
 */
#include <asm/cpufeature.h>
#include <asm/fpu/xcr.h>
#include <asm/msr-index.h>
#include <asm/processor-flags.h>

#include "labvisor.h"

#define LV_CR0_MASK                                                       \
	(X86_CR0_PE | X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_ET | \
	 X86_CR0_NE | X86_CR0_WP | X86_CR0_AM | X86_CR0_NW | X86_CR0_CD | \
	 X86_CR0_PG)
/* Bits whose change makes cached translations wrong. */
#define LV_CR0_PAGING (X86_CR0_PG | X86_CR0_WP)
#define LV_CR4_PAGING \
	(X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PGE | X86_CR4_SMEP | X86_CR4_PCIDE)
/* Bits whose change makes the CPU load the PDPTEs again. */
#define LV_CR0_PDPTE (X86_CR0_PG | X86_CR0_CD | X86_CR0_NW)
#define LV_CR4_PDPTE (X86_CR4_PSE | X86_CR4_PAE | X86_CR4_PGE | X86_CR4_SMEP)

#define LV_CR3_NOFLUSH BIT_ULL(63)
#define LV_CR3_PCID 0xfffULL
#define LV_PDPTE_RESERVED 0x1e6ULL /* besides the bits above the address */

bool lv_canonical(u64 addr)
{
	return (u64)((s64)(addr << 16) >> 16) == addr;
}

bool lv_is_pae(u64 cr0, u64 cr4, u64 efer)
{
	return cr0 & X86_CR0_PG && cr4 & X86_CR4_PAE && !(efer & EFER_LMA);
}

/*
 * lv_load_pdptes - load the PDPTEs of PAE paging, as a write of @cr3 does: 0,
 * -EINVAL if one has reserved bits set, or LV_SLEEPABLE.
 */
int lv_load_pdptes(struct lv_vcpu *v, u64 cr3)
{
	u64 reserved = LV_PDPTE_RESERVED | GENMASK_ULL(63, v->phys_bits);
	u64 pdpte[4];
	unsigned int i;
	int err;

	err = lv_gpa_read(v->vm, cr3 & 0xffffffe0, pdpte, sizeof(pdpte),
			  v->atomic);
	if (err)
		return err == -EAGAIN ? LV_SLEEPABLE : -EINVAL;
	for (i = 0; i < ARRAY_SIZE(pdpte); i++)
		if (pdpte[i] & 1 && pdpte[i] & reserved)
			return -EINVAL;
	memcpy(v->pdpte, pdpte, sizeof(pdpte));
	lv_mark_dirty(v, LV_R_PDPTE);
	return 0;
}

static bool lv_valid_cr0(u64 cr0)
{
	return !(cr0 >> 32) && (cr0 & X86_CR0_PE || !(cr0 & X86_CR0_PG)) &&
	       (cr0 & X86_CR0_CD || !(cr0 & X86_CR0_NW));
}

/* EFER.LMA follows CR0.PG if EFER.LME is set. -EINVAL: the switch faults. */
static int lv_switch_mode(struct lv_vcpu *v, u64 cr0, u64 *efer)
{
	struct kvm_segment cs;

	*efer = v->efer;
	if (!(v->efer & EFER_LME))
		return 0;
	lv_call(get_segment)(v, LV_SREG_CS, &cs);
	if (cs.l)
		return -EINVAL;
	if (cr0 & X86_CR0_PG) {
		*efer |= EFER_LMA;
		return v->cr4 & X86_CR4_PAE ? 0 : -EINVAL;
	}
	*efer &= ~(u64)EFER_LMA;
	return 0;
}

static void lv_store_efer(struct lv_vcpu *v, u64 efer)
{
	if (efer == v->efer)
		return;
	v->efer = efer;
	lv_backend->set_efer(v, efer);
}

int lv_set_cr0(struct lv_vcpu *v, u64 cr0)
{
	u64 old = lv_cr0(v), efer = v->efer, changed;
	int err = 0;

	if (!lv_valid_cr0(cr0))
		return -EINVAL;
	cr0 = (cr0 & LV_CR0_MASK) | X86_CR0_ET;
	changed = cr0 ^ old;
	if (changed & X86_CR0_PG)
		err = lv_switch_mode(v, cr0, &efer);
	if (!err && changed & X86_CR0_PG && !(cr0 & X86_CR0_PG) &&
	    v->cr4 & X86_CR4_PCIDE)
		err = -EINVAL;
	if (!err && changed & LV_CR0_PDPTE && lv_is_pae(cr0, v->cr4, efer))
		err = lv_load_pdptes(v, lv_cr3(v));
	if (err)
		return err;

	lv_store_efer(v, efer);
	v->cr0 = cr0;
	v->reg_avail |= BIT(LV_R_CR0);
	lv_backend->set_cr0(v, cr0);
	if (changed & LV_CR0_PAGING)
		lv_call(flush_tlb)(v, false);
	return 0;
}

static bool lv_valid_cr3(struct lv_vcpu *v, u64 cr3, u64 efer)
{
	return !(efer & EFER_LMA) || !(cr3 >> v->phys_bits);
}

static void lv_store_cr3(struct lv_vcpu *v, u64 cr3)
{
	v->cr3 = cr3;
	v->reg_avail |= BIT(LV_R_CR3);
	lv_backend->set_cr3(v, cr3);
}

int lv_set_cr3(struct lv_vcpu *v, u64 cr3)
{
	bool noflush = false;
	int err = 0;

	if (v->cr4 & X86_CR4_PCIDE) {
		noflush = cr3 & LV_CR3_NOFLUSH;
		cr3 &= ~LV_CR3_NOFLUSH;
	}
	if (!lv_valid_cr3(v, cr3, v->efer))
		return -EINVAL;
	if (lv_is_pae(v->cr0, v->cr4, v->efer))
		err = lv_load_pdptes(v, cr3);
	if (err)
		return err;
	lv_store_cr3(v, cr3);
	if (!noflush)
		lv_call(flush_tlb)(v, false);
	return 0;
}

int lv_set_cr4(struct lv_vcpu *v, u64 cr4)
{
	u64 changed = cr4 ^ v->cr4;
	int err = 0;

	if (cr4 & ~v->cr4_allowed)
		return -EINVAL;
	if (v->efer & EFER_LMA && !(cr4 & X86_CR4_PAE))
		return -EINVAL;
	if (changed & cr4 & X86_CR4_PCIDE &&
	    (!(v->efer & EFER_LMA) || lv_cr3(v) & LV_CR3_PCID))
		return -EINVAL;
	if (changed & LV_CR4_PDPTE && lv_is_pae(lv_cr0(v), cr4, v->efer))
		err = lv_load_pdptes(v, lv_cr3(v));
	if (err)
		return err;

	v->cr4 = cr4;
	lv_backend->set_cr4(v, cr4);
	if (changed & LV_CR4_PAGING)
		lv_call(flush_tlb)(v, false);
	if (changed & X86_CR4_OSXSAVE)
		lv_cpuid_refresh(v);
	return 0;
}

int lv_set_cr8(struct lv_vcpu *v, u64 cr8)
{
	if (cr8 & ~0xfULL)
		return -EINVAL;
	if (v->apic)
		lv_lapic_set_tpr(v->apic, cr8 << 4);
	v->cr8 = cr8;
	lv_request(v, LV_REQ_EVENT);
	return 0;
}

static u64 lv_efer_allowed(struct lv_vcpu *v, bool host)
{
	static const struct {
		u16 feature;
		u64 bits;
	} bits[] = {
		{ X86_FEATURE_SYSCALL, EFER_SCE },
		{ X86_FEATURE_LM, EFER_LME | EFER_LMA },
		{ X86_FEATURE_NX, EFER_NX },
		{ X86_FEATURE_FXSR_OPT, EFER_FFXSR },
	};
	unsigned int i;
	u64 allowed = 0;

	for (i = 0; i < ARRAY_SIZE(bits); i++)
		if (lv_feature_offered(bits[i].feature) &&
		    (host || lv_guest_has(v, bits[i].feature)))
			allowed |= bits[i].bits;
	return allowed;
}

/** lv_set_efer - write EFER; LMA is not written but follows CR0.PG */
int lv_set_efer(struct lv_vcpu *v, u64 efer, bool host)
{
	u64 changed;

	if (efer & ~lv_efer_allowed(v, host))
		return -EINVAL;
	efer = (efer & ~(u64)EFER_LMA) | (v->efer & EFER_LMA);
	changed = efer ^ v->efer;
	if (changed & EFER_LME && lv_cr0(v) & X86_CR0_PG)
		return -EINVAL;
	lv_store_efer(v, efer);
	if (changed & EFER_NX)
		lv_call(flush_tlb)(v, false);
	return 0;
}

static bool lv_valid_xcr0(u64 xcr0)
{
	u64 avx512 = xcr0 & XFEATURE_MASK_AVX512;

	if (!(xcr0 & XFEATURE_MASK_FP))
		return false;
	if (xcr0 & XFEATURE_MASK_YMM && !(xcr0 & XFEATURE_MASK_SSE))
		return false;
	return !avx512 ||
	       (avx512 == XFEATURE_MASK_AVX512 && xcr0 & XFEATURE_MASK_YMM);
}

/** lv_set_xcr0 - write XCR0, which is in the CPU while the FPU state is */
int lv_set_xcr0(struct lv_vcpu *v, u64 xcr0)
{
	if (xcr0 & ~v->xcr0_allowed || !lv_valid_xcr0(xcr0))
		return -EINVAL;
	v->xcr0 = xcr0;
	if (v->fpu_loaded)
		xsetbv(XCR_XFEATURE_ENABLED_MASK, xcr0);
	return 0;
}

/** lv_check_crs - can this be the state of a CPU? 0 or -EINVAL */
int lv_check_crs(struct lv_vcpu *v, u64 cr0, u64 cr3, u64 cr4, u64 efer,
		 const struct kvm_segment *cs)
{
	bool long_mode = efer & EFER_LME && cr0 & X86_CR0_PG;

	if (!lv_valid_cr0(cr0) || cr4 & ~v->cr4_allowed ||
	    efer & ~lv_efer_allowed(v, true) || !lv_valid_cr3(v, cr3, efer))
		return -EINVAL;
	if (long_mode != !!(efer & EFER_LMA))
		return -EINVAL;
	if (long_mode)
		return cr4 & X86_CR4_PAE && !(cs->l && cs->db) ? 0 : -EINVAL;
	return cs->l ? -EINVAL : 0;
}

/** lv_store_crs - set them without further checks; flushes the TLB */
void lv_store_crs(struct lv_vcpu *v, u64 cr0, u64 cr3, u64 cr4, u64 efer)
{
	v->efer = efer;
	v->cr0 = (cr0 & LV_CR0_MASK) | X86_CR0_ET;
	v->cr4 = cr4;
	v->reg_avail |= BIT(LV_R_CR0);
	lv_backend->set_efer(v, v->efer);
	lv_backend->set_cr0(v, v->cr0);
	lv_backend->set_cr4(v, v->cr4);
	lv_store_cr3(v, cr3);
	lv_call(flush_tlb)(v, false);
	lv_cpuid_refresh(v);
}

/** lv_reset_crs - CRs and EFER of power-on and INIT; after vcpu_reset() */
void lv_reset_crs(struct lv_vcpu *v, bool init)
{
	u64 cache = init ? v->cr0 & (X86_CR0_CD | X86_CR0_NW)
			 : X86_CR0_CD | X86_CR0_NW;

	v->cr8 = 0;
	lv_set_cr2(v, 0);
	lv_store_crs(v, cache | X86_CR0_ET, 0, 0, 0);
}
