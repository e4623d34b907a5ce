// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSRs: one table says for each what a read and a write do.
 *
 * "host" is an access by ioctl: it may set what a guest can only read, and it
 * does not care what the guest's CPUID shows.
 */
#define pr_fmt(fmt) "labvisor: " fmt

#include <linux/kvm_para.h>
#include <asm/mce.h>
#include <asm/msr.h>
#include <asm/mtrr.h>

#include "labvisor.h"
#include "trace.h"

#define LV_MAX_MSRS 256 /* in one KVM_GET_MSRS or KVM_SET_MSRS */

#define LV_MTRRCAP (LV_NR_VAR_MTRRS | BIT(8) | BIT(10)) /* fixed ones, WC */
#define LV_MTRR_DEFTYPE_MASK (0xff | BIT(10) | BIT(11))
#define LV_MCG_STATUS_MASK (MCG_STATUS_RIPV | MCG_STATUS_EIPV | MCG_STATUS_MCIP)
#define LV_PAT_RESET 0x0007040600070406ULL

/* IA32_MISC_ENABLE: no BTS, no PEBS; both are read-only to the guest. */
#define LV_MISC_ENABLE_FIXED \
	(MSR_IA32_MISC_ENABLE_BTS_UNAVAIL | MSR_IA32_MISC_ENABLE_PEBS_UNAVAIL)
#define LV_HWCR_TSC_AT_P0 BIT_ULL(24)
#define LV_HWCR_WRITABLE (BIT_ULL(18) | LV_HWCR_TSC_AT_P0)
#define LV_HWCR_IGNORED (BIT_ULL(3) | BIT_ULL(6) | BIT_ULL(8))
/* All but CPUID faulting, which is not there. */
#define LV_PLATFORM_INFO_MASK (~MSR_PLATFORM_INFO_CPUID_FAULT)
#define LV_DE_CFG_LFENCE BIT_ULL(MSR_AMD64_DE_CFG_LFENCE_SERIALIZE_BIT)

/* What of IA32_ARCH_CAPABILITIES holds for a guest if it holds for the host. */
#define LV_ARCH_CAPABILITIES                                                  \
	(ARCH_CAP_RDCL_NO | ARCH_CAP_IBRS_ALL | ARCH_CAP_RSBA |               \
	 ARCH_CAP_SKIP_VMENTRY_L1DFLUSH | ARCH_CAP_SSB_NO | ARCH_CAP_MDS_NO | \
	 ARCH_CAP_PSCHANGE_MC_NO | ARCH_CAP_TAA_NO | ARCH_CAP_SBDR_SSDP_NO |  \
	 ARCH_CAP_FBSDP_NO | ARCH_CAP_PSDP_NO | ARCH_CAP_FB_CLEAR |           \
	 ARCH_CAP_RRSBA | ARCH_CAP_BHI_NO | ARCH_CAP_PBRSB_NO)

/*
 * For the hardware to switch; values that it takes cannot harm the host. A
 * backend may let guests access them directly.
 */
const u32 lv_hw_msrs[] = { MSR_IA32_SYSENTER_CS,
			   MSR_IA32_SYSENTER_ESP,
			   MSR_IA32_SYSENTER_EIP,
			   MSR_STAR,
			   MSR_LSTAR,
			   MSR_CSTAR,
			   MSR_SYSCALL_MASK,
			   MSR_FS_BASE,
			   MSR_GS_BASE,
			   MSR_KERNEL_GS_BASE };
const unsigned int lv_nr_hw_msrs = ARRAY_SIZE(lv_hw_msrs);

enum {
	LV_MSR_SAVED = BIT(0), /* in KVM_GET_MSR_INDEX_LIST */
	LV_MSR_FEATURE = BIT(1), /* in KVM_GET_MSR_FEATURE_INDEX_LIST */
	LV_MSR_AMD = BIT(2),
	LV_MSR_INTEL = BIT(3),
};

/* struct lv_msr - what happens at an access to a range of MSRs */
struct lv_msr {
	u32 first;
	u32 last;
	u8 flags; /* LV_MSR_* */
	u16 feature; /* X86_FEATURE_* that the guest needs; 0 for none */
	u16 offset; /* where get_field() and set_field() find the value */
	u64 val; /* value of a constant, or the bits that may be set */
	/* NULL if reads, or writes, are refused */
	int (*get)(struct lv_vcpu *v, const struct lv_msr *m, u32 msr, u64 *val,
		   bool host);
	int (*set)(struct lv_vcpu *v, const struct lv_msr *m, u32 msr, u64 val,
		   bool host);
};

#define LV_GET(name)                                                     \
	static int get_##name(struct lv_vcpu *v, const struct lv_msr *m, \
			      u32 msr, u64 *val, bool host)
#define LV_SET(name)                                                     \
	static int set_##name(struct lv_vcpu *v, const struct lv_msr *m, \
			      u32 msr, u64 val, bool host)

/* ---- general kinds ---- */

LV_GET(constant)
{
	*val = m->val;
	return 0;
}

LV_SET(constant)
{
	return host && val == m->val ? 0 : -EINVAL;
}

LV_SET(same)
{
	return val == m->val ? 0 : -EINVAL;
}

LV_SET(ignored)
{
	return 0;
}

static u64 *lv_field(struct lv_vcpu *v, const struct lv_msr *m, u32 msr)
{
	u32 nr = array_index_nospec(msr - m->first, m->last - m->first + 1);

	return (void *)v + m->offset + nr * sizeof(u64);
}

LV_GET(field)
{
	*val = *lv_field(v, m, msr);
	return 0;
}

LV_SET(field)
{
	if (val & ~m->val)
		return -EINVAL;
	*lv_field(v, m, msr) = val;
	return 0;
}

LV_SET(field_by_host)
{
	return host ? set_field(v, m, msr, val, host) : -EINVAL;
}

LV_GET(hw)
{
	*val = lv_backend->get_msr(v, msr);
	return 0;
}

/* An MSR of a feature that guests do not have. */
LV_GET(host_constant)
{
	return host ? get_constant(v, m, msr, val, host) : -EINVAL;
}

#define set_host_constant set_constant

LV_SET(hw)
{
	if (val & ~m->val)
		return -EINVAL;
	lv_backend->set_msr(v, msr, val);
	return 0;
}

#define get_hw_address get_hw

LV_SET(hw_address)
{
	if (!lv_canonical(val))
		return -EINVAL;
	lv_backend->set_msr(v, msr, val);
	return 0;
}

LV_GET(tsc)
{
	*val = lv_guest_tsc(v, rdtsc());
	return 0;
}

LV_SET(tsc)
{
	if (host) {
		lv_write_tsc(v, val);
		return 0;
	}
	/* The guest's own writes show in TSC_ADJUST. */
	v->msrs.tsc_adjust += val - lv_guest_tsc(v, rdtsc());
	lv_set_tsc_offset(v, val - rdtsc());
	return 0;
}

LV_SET(tsc_adjust)
{
	if (!host)
		lv_set_tsc_offset(v, v->tsc_offset + val - v->msrs.tsc_adjust);
	v->msrs.tsc_adjust = val;
	return 0;
}

LV_GET(tsc_deadline)
{
	*val = v->apic ? v->apic->tsc_deadline : 0;
	return 0;
}

LV_SET(tsc_deadline)
{
	if (v->apic)
		lv_lapic_set_tsc_deadline(v->apic, val);
	return 0;
}

LV_SET(tsc_aux)
{
	if (val >> 32)
		return -EINVAL;
	v->tsc_aux = val;
	lv_backend->set_msr(v, msr, val);
	return 0;
}

static int lv_user_apic_base(struct lv_vcpu *v, u64 base)
{
	u64 flags = LV_APIC_BASE_BSP | LV_APIC_BASE_ENABLE;

	if (base & ~PAGE_MASK & ~flags)
		return -EINVAL;
	v->msrs.apic_base = base;
	return 0;
}

/** lv_set_apic_base - write IA32_APIC_BASE; 0 or -EINVAL */
int lv_set_apic_base(struct lv_vcpu *v, u64 base, bool host)
{
	const u64 fixed = PAGE_MASK | LV_APIC_BASE_ENABLE | LV_APIC_BASE_X2APIC;
	int err;

	if (base >> v->phys_bits)
		return -EINVAL;
	if ((base & fixed) != (LV_APIC_DEFAULT_BASE | LV_APIC_BASE_ENABLE)) {
		err = lv_apic_page_off(v);
		if (err)
			return err;
	}
	err = v->apic ? lv_lapic_set_base(v->apic, base, host)
		      : lv_user_apic_base(v, base);
	if (err)
		return err;
	lv_backend->set_intercepts(v);
	lv_cpuid_refresh(v);
	return 0;
}

LV_GET(apic_base)
{
	*val = lv_apic_base(v);
	return 0;
}

LV_SET(apic_base)
{
	return lv_set_apic_base(v, val, host);
}

LV_GET(x2apic)
{
	return v->apic ? lv_lapic_rdmsr(v->apic, msr, val) : -EINVAL;
}

LV_SET(x2apic)
{
	int err = v->apic ? lv_lapic_wrmsr(v->apic, msr, val) : -EINVAL;

	if (!err)
		lv_show_tpr(v);
	return err;
}

static bool lv_valid_mtrr_type(u8 type)
{
	return type < 8 &&
	       BIT(type) & (BIT(MTRR_TYPE_UNCACHABLE) | BIT(MTRR_TYPE_WRCOMB) |
			    BIT(MTRR_TYPE_WRTHROUGH) | BIT(MTRR_TYPE_WRPROT) |
			    BIT(MTRR_TYPE_WRBACK));
}

LV_SET(mtrr_deftype)
{
	if (!lv_valid_mtrr_type(val))
		return -EINVAL;
	return set_field(v, m, msr, val, host);
}

LV_SET(mtrr_fixed)
{
	unsigned int i;

	for (i = 0; i < 64; i += 8)
		if (!lv_valid_mtrr_type(val >> i))
			return -EINVAL;
	return set_field(v, m, msr, val, host);
}

LV_SET(mtrr_var)
{
	bool is_mask = msr & 1;

	if (val >> v->phys_bits || val & (is_mask ? 0x7ff : 0xf00) ||
	    (!is_mask && !lv_valid_mtrr_type(val)))
		return -EINVAL;
	return set_field(v, m, msr, val, host);
}

LV_SET(pat)
{
	unsigned int i;

	/* As MTRR types, and UC- (7) on top. */
	for (i = 0; i < 64; i += 8)
		if ((u8)(val >> i) != 7 && !lv_valid_mtrr_type(val >> i))
			return -EINVAL;
	v->pat = val;
	lv_backend->set_msr(v, msr, val);
	return 0;
}

LV_SET(efer)
{
	return lv_set_efer(v, val, host);
}

LV_SET(misc_enable)
{
	v->misc_enable =
		host ? val
		     : (val & ~LV_MISC_ENABLE_FIXED) |
				(v->misc_enable & LV_MISC_ENABLE_FIXED);
	lv_cpuid_refresh(v);
	return 0;
}

LV_GET(platform_info)
{
	if (!host && v->vm->hide_platform_info)
		return -EINVAL;
	return get_field(v, m, msr, val, host);
}

/* A feature that the host has, and that the guest may know of. */
static bool lv_has(struct lv_vcpu *v, unsigned int feature, bool host)
{
	return lv_feature_offered(feature) &&
	       (host || lv_guest_has(v, feature));
}

static u64 lv_spec_ctrl_bits(struct lv_vcpu *v, bool host)
{
	u64 bits = 0;

	if (lv_has(v, X86_FEATURE_SPEC_CTRL, host) ||
	    lv_has(v, X86_FEATURE_AMD_IBRS, host))
		bits |= SPEC_CTRL_IBRS;
	if (lv_has(v, X86_FEATURE_INTEL_STIBP, host) ||
	    lv_has(v, X86_FEATURE_AMD_STIBP, host))
		bits |= SPEC_CTRL_STIBP;
	if (lv_has(v, X86_FEATURE_SPEC_CTRL_SSBD, host) ||
	    lv_has(v, X86_FEATURE_AMD_SSBD, host))
		bits |= SPEC_CTRL_SSBD;
	return bits;
}

LV_GET(spec_ctrl)
{
	if (!host && !lv_spec_ctrl_bits(v, host))
		return -EINVAL;
	*val = v->spec_ctrl;
	return 0;
}

LV_SET(spec_ctrl)
{
	u64 bits = lv_spec_ctrl_bits(v, host);

	if (val & ~bits || (!host && !bits))
		return -EINVAL;
	v->spec_ctrl = val;
	lv_backend->set_msr(v, msr, val);
	return 0;
}

/* Commands act on this CPU, which the guest shares: do as it asks. */
static int lv_command(u32 msr, u64 val, u64 bits)
{
	if (!bits || val & ~bits)
		return -EINVAL;
	if (val)
		wrmsrl(msr, val);
	return 0;
}

LV_SET(pred_cmd)
{
	bool has = lv_has(v, X86_FEATURE_SPEC_CTRL, host) ||
		   lv_has(v, X86_FEATURE_AMD_IBPB, host);

	return lv_command(msr, val, has ? PRED_CMD_IBPB : 0);
}

LV_SET(flush_cmd)
{
	bool has = lv_has(v, X86_FEATURE_FLUSH_L1D, host);

	return lv_command(msr, val, has ? L1D_FLUSH : 0);
}

/* Branch stepping and branch records are not there: as if never on. */
LV_SET(debugctl)
{
	return val & ~(u64)(DEBUGCTLMSR_LBR | DEBUGCTLMSR_BTF) ? -EINVAL : 0;
}

LV_SET(hwcr)
{
	return set_field(v, m, msr, val & ~LV_HWCR_IGNORED, host);
}

LV_SET(ucode_rev)
{
	return host ? set_field(v, m, msr, val, host) : 0;
}

/* The host chose how LFENCE behaves; a guest that asks for the same gets it. */
LV_SET(de_cfg)
{
	return host || val == v->msrs.de_cfg ? set_field(v, m, msr, val, host)
					     : -EINVAL;
}

LV_GET(mce)
{
	return lv_mce_get_msr(v, msr, val, host);
}

LV_SET(mce)
{
	return lv_mce_set_msr(v, msr, val, host);
}

/* m->val is the KVM_FEATURE_* that it belongs to. */
LV_GET(pv)
{
	if (!host && !lv_pv_has(v, m->val))
		return -EINVAL;
	return lv_pv_get_msr(v, msr, val);
}

LV_SET(pv)
{
	if (!host && !lv_pv_has(v, m->val))
		return -EINVAL;
	return lv_pv_set_msr(v, msr, val, host);
}

/* ---- the table ---- */

#define ONE(msr) .first = (msr), .last = (msr)
#define SAVED .flags = LV_MSR_SAVED
#define INTEL .flags = LV_MSR_INTEL
#define AMD .flags = LV_MSR_AMD
#define NEEDS(f) .feature = X86_FEATURE_##f
#define RW(name) .get = get_##name, .set = set_##name
#define VCPU(f) .offset = offsetof(struct lv_vcpu, f), .get = get_field
#define FIELD(f, mask) VCPU(msrs.f), .val = (mask)
#define CONSTANT(v) .val = (v), RW(constant)
#define ZERO .get = get_constant, .set = set_ignored
#define PV(feature) .val = KVM_FEATURE_##feature, RW(pv)
#define ALL ~0ULL

/*
 * Sorted by index, for lv_msr_find(). The three groups of fixed MTRRs follow
 * each other in mtrr_fixed[].
 */
static const struct lv_msr lv_msr_table[] = {
	{ ONE(MSR_IA32_TSC), SAVED, RW(tsc) },
	{ ONE(MSR_KVM_WALL_CLOCK), PV(CLOCKSOURCE) },
	{ ONE(MSR_KVM_SYSTEM_TIME), SAVED, PV(CLOCKSOURCE) },
	{ ONE(MSR_IA32_PLATFORM_ID), INTEL, CONSTANT(0) },
	{ ONE(MSR_IA32_APICBASE), SAVED, RW(apic_base) },
	{ ONE(MSR_IA32_TSC_ADJUST), SAVED, NEEDS(TSC_ADJUST),
	  VCPU(msrs.tsc_adjust), .set = set_tsc_adjust },
	{ ONE(MSR_IA32_SPEC_CTRL), SAVED, RW(spec_ctrl) },
	{ ONE(MSR_IA32_PRED_CMD), .set = set_pred_cmd },
	{ ONE(MSR_IA32_UCODE_WRITE), INTEL, .set = set_ignored },
	{ ONE(MSR_IA32_UCODE_REV), .flags = LV_MSR_SAVED | LV_MSR_FEATURE,
	  FIELD(ucode_rev, ALL), .set = set_ucode_rev },
	{ ONE(MSR_PLATFORM_INFO), SAVED,
	  .offset = offsetof(struct lv_vcpu, msrs.platform_info),
	  .get = get_platform_info, .val = LV_PLATFORM_INFO_MASK,
	  .set = set_field_by_host },
	{ ONE(MSR_MTRRcap), NEEDS(MTRR), CONSTANT(LV_MTRRCAP) },
	{ ONE(MSR_IA32_ARCH_CAPABILITIES),
	  .flags = LV_MSR_SAVED | LV_MSR_FEATURE | LV_MSR_INTEL,
	  NEEDS(ARCH_CAPABILITIES),
	  FIELD(arch_capabilities, LV_ARCH_CAPABILITIES),
	  .set = set_field_by_host },
	{ ONE(MSR_IA32_FLUSH_CMD), INTEL, .set = set_flush_cmd },
	{ ONE(MSR_IA32_SYSENTER_CS), SAVED, .val = U32_MAX, RW(hw) },
	{ MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP, SAVED, RW(hw_address) },
	{ ONE(MSR_IA32_MCG_CAP), NEEDS(MCA), RW(mce) },
	{ ONE(MSR_IA32_MCG_STATUS), SAVED, NEEDS(MCA),
	  FIELD(mcg_status, LV_MCG_STATUS_MASK), .set = set_field },
	{ ONE(MSR_IA32_MCG_CTL), SAVED, NEEDS(MCA), RW(mce) },
	{ ONE(MSR_IA32_MISC_ENABLE), SAVED, VCPU(misc_enable),
	  .set = set_misc_enable },
	{ ONE(MSR_IA32_DEBUGCTLMSR), SAVED, .get = get_constant,
	  .set = set_debugctl },
	{ ONE(MSR_IA32_POWER_CTL), SAVED, FIELD(power_ctl, ALL),
	  .set = set_field },
	{ MTRRphysBase_MSR(0), MTRRphysMask_MSR(LV_NR_VAR_MTRRS - 1), SAVED,
	  NEEDS(MTRR), FIELD(mtrr_var, ALL), .set = set_mtrr_var },
	{ ONE(MSR_MTRRfix64K_00000), SAVED, NEEDS(MTRR),
	  FIELD(mtrr_fixed[0], ALL), .set = set_mtrr_fixed },
	{ MSR_MTRRfix16K_80000, MSR_MTRRfix16K_A0000, SAVED, NEEDS(MTRR),
	  FIELD(mtrr_fixed[1], ALL), .set = set_mtrr_fixed },
	{ MSR_MTRRfix4K_C0000, MSR_MTRRfix4K_F8000, SAVED, NEEDS(MTRR),
	  FIELD(mtrr_fixed[3], ALL), .set = set_mtrr_fixed },
	{ ONE(MSR_IA32_CR_PAT), SAVED, VCPU(pat), .set = set_pat },
	{ ONE(MSR_MTRRdefType), SAVED, NEEDS(MTRR),
	  FIELD(mtrr_deftype, LV_MTRR_DEFTYPE_MASK), .set = set_mtrr_deftype },
	{ ONE(MSR_IA32_PERF_CAPABILITIES), .flags = LV_MSR_FEATURE, .val = 0,
	  RW(host_constant) },
	{ MSR_IA32_MC0_CTL, MSR_IA32_MCx_MISC(LV_MAX_MCE_BANKS - 1), NEEDS(MCA),
	  RW(mce) },
	{ ONE(MSR_IA32_TSC_DEADLINE), SAVED, NEEDS(TSC_DEADLINE_TIMER),
	  RW(tsc_deadline) },
	{ LV_X2APIC_MSR, LV_X2APIC_MSR + 0xff, NEEDS(X2APIC), RW(x2apic) },
	/* No supervisor state is offered. */
	{ ONE(MSR_IA32_XSS), SAVED, NEEDS(XSAVES), .get = get_constant,
	  .set = set_same },
	{ ONE(MSR_KVM_WALL_CLOCK_NEW), PV(CLOCKSOURCE2) },
	{ ONE(MSR_KVM_SYSTEM_TIME_NEW), SAVED, PV(CLOCKSOURCE2) },
	{ ONE(MSR_KVM_STEAL_TIME), SAVED, PV(STEAL_TIME) },
	{ ONE(MSR_KVM_PV_EOI_EN), SAVED, PV(PV_EOI) },
	{ ONE(MSR_EFER), SAVED, VCPU(efer), .set = set_efer },
	{ ONE(MSR_STAR), SAVED, .val = ALL, RW(hw) },
	{ MSR_LSTAR, MSR_CSTAR, SAVED, RW(hw_address) },
	{ ONE(MSR_SYSCALL_MASK), SAVED, .val = U32_MAX, RW(hw) },
	{ MSR_FS_BASE, MSR_KERNEL_GS_BASE, SAVED, RW(hw_address) },
	{ ONE(MSR_TSC_AUX), SAVED, NEEDS(RDTSCP), VCPU(tsc_aux),
	  .set = set_tsc_aux },
	{ ONE(MSR_AMD64_SYSCFG), AMD, ZERO },
	{ ONE(MSR_K7_HWCR), .flags = LV_MSR_SAVED | LV_MSR_AMD,
	  FIELD(hwcr, LV_HWCR_WRITABLE), .set = set_hwcr },
	{ ONE(MSR_AMD64_NB_CFG), AMD, ZERO },
	{ ONE(MSR_AMD64_PATCH_LOADER), AMD, .set = set_ignored },
	{ ONE(MSR_K8_INT_PENDING_MSG), AMD, ZERO },
	{ ONE(MSR_FAM10H_MMIO_CONF_BASE), AMD, CONSTANT(0) },
	{ MSR_K8_TSEG_ADDR, MSR_K8_TSEG_MASK, AMD, CONSTANT(0) },
	{ ONE(MSR_F15H_IC_CFG), AMD, ZERO },
	{ ONE(MSR_AMD64_DC_CFG), AMD, ZERO },
	{ ONE(MSR_AMD64_DE_CFG),
	  .flags = LV_MSR_SAVED | LV_MSR_FEATURE | LV_MSR_AMD,
	  FIELD(de_cfg, LV_DE_CFG_LFENCE), .set = set_de_cfg },
	{ ONE(MSR_AMD64_BU_CFG2), AMD, ZERO },
};

static bool lv_msr_on_host(const struct lv_msr *m)
{
	return !(m->flags & (lv_host_is_amd() ? LV_MSR_INTEL : LV_MSR_AMD));
}

static __always_inline const struct lv_msr *lv_msr_find(u32 msr)
{
	unsigned int low = 0, high = ARRAY_SIZE(lv_msr_table), mid;
	/* Where it was found last, by its lowest bits. */
	static u8 hints[64];
	u8 *hint = &hints[msr % ARRAY_SIZE(hints)];
	const struct lv_msr *m = &lv_msr_table[READ_ONCE(*hint)];

	if (likely(msr - m->first <= m->last - m->first))
		return lv_msr_on_host(m) ? m : NULL;
	while (low < high) {
		mid = (low + high) / 2;
		if (msr > lv_msr_table[mid].last)
			low = mid + 1;
		else
			high = mid;
	}
	m = &lv_msr_table[low];
	if (low == ARRAY_SIZE(lv_msr_table) || msr < m->first)
		return NULL;
	WRITE_ONCE(*hint, low);
	return lv_msr_on_host(m) ? m : NULL;
}

static bool lv_msr_listed(const struct lv_msr *m, u8 flag)
{
	return m->flags & flag && lv_msr_on_host(m) &&
	       (!m->feature || lv_feature_offered(m->feature));
}

/* ---- access ---- */

static bool lv_msr_shown(struct lv_vcpu *v, const struct lv_msr *m, bool host)
{
	return host || !m->feature || lv_guest_has(v, m->feature);
}

/*
 * Read an MSR: 0, LV_SLEEPABLE, or an error, for which a guest gets #GP:
 * -EINVAL, or -ENOENT if there is no such MSR.
 */
static int lv_msr_get(struct lv_vcpu *v, u32 msr, u64 *val, bool host)
{
	const struct lv_msr *m = lv_msr_find(msr);

	if (!m)
		return -ENOENT;
	if (!m->get || !lv_msr_shown(v, m, host))
		return -EINVAL;
	return m->get(v, m, msr, val, host);
}

/* Write one; as lv_msr_get(). */
static int lv_msr_set(struct lv_vcpu *v, u32 msr, u64 val, bool host)
{
	const struct lv_msr *m = lv_msr_find(msr);

	if (!m)
		return -ENOENT;
	if (!m->set || !lv_msr_shown(v, m, host))
		return -EINVAL;
	return m->set(v, m, msr, val, host);
}

static __always_inline bool lv_msr_denied(struct lv_vcpu *v, u32 msr,
					  bool write)
{
	return static_branch_unlikely(&lv_msr_filters) &&
	       !lv_msr_allowed(v, msr, write);
}

int lv_handle_rdmsr(struct lv_vcpu *v, const struct lv_exit *exit)
{
	u32 msr = v->regs[LV_RCX];
	u64 val = 0;
	int err = lv_msr_denied(v, msr, false)
			  ? -EPERM
			  : lv_msr_get(v, msr, &val, false);

	trace_lv_msr(v, false, msr, val, err);
	if (err == LV_SLEEPABLE)
		return err;
	if (err) {
		pr_debug_ratelimited("guest reads MSR %x\n", msr);
		return lv_msr_failed(v, false, err);
	}
	lv_set_edx_eax(v, val);
	return lv_skip_insn(v, exit);
}

int lv_handle_wrmsr(struct lv_vcpu *v, const struct lv_exit *exit)
{
	u32 msr = v->regs[LV_RCX];
	u64 val = lv_edx_eax(v);
	int err = lv_msr_denied(v, msr, true) ? -EPERM
					      : lv_msr_set(v, msr, val, false);

	trace_lv_msr(v, true, msr, val, err);
	if (err == LV_SLEEPABLE)
		return err;
	if (err) {
		pr_debug_ratelimited("guest writes %llx to MSR %x\n", val, msr);
		return lv_msr_failed(v, true, err);
	}
	return lv_skip_insn(v, exit);
}

/* Values of MSRs that tell about the host. */
static u64 lv_host_feature_msr(u32 msr)
{
	u64 val = 0;

	switch (msr) {
	case MSR_IA32_UCODE_REV:
		val = boot_cpu_data.microcode;
		return lv_host_is_amd() ? val : val << 32;
	case MSR_IA32_ARCH_CAPABILITIES:
		if (boot_cpu_has(X86_FEATURE_ARCH_CAPABILITIES))
			rdmsrl(MSR_IA32_ARCH_CAPABILITIES, val);
		return val & LV_ARCH_CAPABILITIES;
	case MSR_AMD64_DE_CFG:
		return boot_cpu_has(X86_FEATURE_LFENCE_RDTSC) ? LV_DE_CFG_LFENCE
							      : 0;
	default:
		return 0;
	}
}

/** lv_msrs_reset - power-on values; INIT leaves all but a few alone */
void lv_msrs_reset(struct lv_vcpu *v, bool init)
{
	v->misc_enable = LV_MISC_ENABLE_FIXED |
			 MSR_IA32_MISC_ENABLE_FAST_STRING;
	v->spec_ctrl = 0;
	lv_pv_reset(v);
	if (init)
		return;
	v->msrs = (struct lv_msrs){
		.apic_base = LV_APIC_DEFAULT_BASE | LV_APIC_BASE_ENABLE,
		.hwcr = LV_HWCR_TSC_AT_P0,
		.ucode_rev = lv_host_feature_msr(MSR_IA32_UCODE_REV),
		.arch_capabilities =
			lv_host_feature_msr(MSR_IA32_ARCH_CAPABILITIES),
		.de_cfg = lv_host_feature_msr(MSR_AMD64_DE_CFG),
	};
	if (v->id == v->vm->boot_cpu_id)
		v->msrs.apic_base |= LV_APIC_BASE_BSP;
	v->pat = LV_PAT_RESET;
	v->tsc_aux = 0;
	lv_reset_tsc(v);
}

/* ---- ioctls ---- */

static long lv_msr_list(unsigned long arg, u8 flag)
{
	struct kvm_msr_list __user *user = (void __user *)arg;
	u32 room, msr, nr = 0;
	unsigned int i;

	if (get_user(room, &user->nmsrs))
		return -EFAULT;
	for (i = 0; i < ARRAY_SIZE(lv_msr_table); i++) {
		const struct lv_msr *m = &lv_msr_table[i];

		if (!lv_msr_listed(m, flag))
			continue;
		for (msr = m->first; msr <= m->last; msr++, nr++)
			if (nr < room && put_user(msr, &user->indices[nr]))
				return -EFAULT;
	}
	/* The caller learns how much room it needs even if there is too little. */
	if (put_user(nr, &user->nmsrs))
		return -EFAULT;
	return nr > room ? -E2BIG : 0;
}

LV_IOCTL(get_msr_index_list)
{
	return lv_msr_list(arg, LV_MSR_SAVED);
}

LV_IOCTL(get_msr_feature_list)
{
	return lv_msr_list(arg, LV_MSR_FEATURE);
}

static int lv_feature_msr_get(u32 msr, u64 *val)
{
	const struct lv_msr *m = lv_msr_find(msr);

	if (!m || !lv_msr_listed(m, LV_MSR_FEATURE))
		return -EINVAL;
	*val = lv_host_feature_msr(msr);
	return 0;
}

static int lv_msr_entry(struct lv_vcpu *v, struct kvm_msr_entry *entry,
			bool write)
{
	if (!v)
		return lv_feature_msr_get(entry->index, &entry->data);
	if (write)
		return lv_msr_set(v, entry->index, entry->data, true);
	return lv_msr_get(v, entry->index, &entry->data, true);
}

/* How many entries come before one that fails. */
static u32 lv_msr_entries(struct lv_vcpu *v, struct kvm_msr_entry *entry,
			  u32 nr, bool write)
{
	u32 i = 0;

	while (i < nr && !lv_msr_entry(v, &entry[i], write))
		i++;
	return i;
}

static u32 lv_vcpu_msr_entries(struct lv_vcpu *v, struct kvm_msr_entry *entry,
			       u32 nr, bool write)
{
	int idx = srcu_read_lock(&v->vm->mem.srcu);
	u32 n = lv_msr_entries(v, entry, nr, write);

	srcu_read_unlock(&v->vm->mem.srcu, idx);
	return n;
}

static long lv_access_msrs(struct lv_vcpu *v, unsigned long arg, bool write)
{
	struct kvm_msrs __user *user = (void __user *)arg;
	struct kvm_msr_entry *entry;
	size_t size;
	long ret;
	u32 nr;

	if (get_user(nr, &user->nmsrs))
		return -EFAULT;
	if (nr >= LV_MAX_MSRS)
		return -E2BIG;
	size = nr * sizeof(*entry);
	entry = memdup_user(user->entries, size);
	if (IS_ERR(entry))
		return PTR_ERR(entry);
	ret = v ? lv_vcpu_msr_entries(v, entry, nr, write)
		: lv_msr_entries(NULL, entry, nr, write);
	if (!write && copy_to_user(user->entries, entry, size))
		ret = -EFAULT;
	kfree(entry);
	return ret;
}

/* Of a vCPU, or of the system, which has feature MSRs only. */
LV_IOCTL(get_msrs)
{
	return lv_access_msrs(v, arg, false);
}

LV_IOCTL(set_msrs)
{
	return lv_access_msrs(v, arg, true);
}
