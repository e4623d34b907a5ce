// SPDX-License-Identifier: GPL-2.0-only
/*
 * CPUID: what guests are offered, what user space chose from it, and the exit.
 *
 * A feature is named once, in lv_offered[] or lv_emulated[]. Everything else
 * follows from where the kernel's feature words stand in CPUID.
 */
#include <linux/kvm_para.h>
#include <linux/sched/stat.h>
#include <asm/cpufeature.h>
#include <asm/processor.h>
#include <asm/tsc.h>

#include "labvisor.h"
#include "trace.h"

#define F(name) X86_FEATURE_##name

/* clang-format off */
/* Offered if the host has it: guests use it without help, or msr.c helps. */
static const u16 lv_offered[] = {
	/* leaf 1 */
	F(FPU), F(VME), F(DE), F(PSE), F(TSC), F(MSR), F(PAE), F(MCE), F(CX8),
	F(APIC), F(SEP), F(MTRR), F(PGE), F(MCA), F(CMOV), F(PAT), F(PSE36),
	F(CLFLUSH), F(MMX), F(FXSR), F(XMM), F(XMM2), F(XMM3), F(PCLMULQDQ),
	F(SSSE3), F(FMA), F(CX16), F(PCID), F(XMM4_1), F(XMM4_2), F(MOVBE),
	F(POPCNT), F(AES), F(XSAVE), F(AVX), F(F16C), F(RDRAND),
	/* leaf 7 */
	F(FSGSBASE), F(BMI1), F(AVX2), F(FDP_EXCPTN_ONLY), F(SMEP), F(BMI2),
	F(ERMS), F(INVPCID), F(ZERO_FCS_FDS), F(AVX512F), F(AVX512DQ),
	F(RDSEED), F(ADX), F(SMAP), F(AVX512IFMA), F(CLFLUSHOPT), F(CLWB),
	F(AVX512CD), F(SHA_NI), F(AVX512BW), F(AVX512VL), F(AVX512VBMI),
	F(UMIP), F(AVX512_VBMI2), F(GFNI), F(VAES), F(VPCLMULQDQ),
	F(AVX512_VNNI), F(AVX512_BITALG), F(AVX512_VPOPCNTDQ), F(RDPID),
	F(CLDEMOTE), F(MOVDIRI), F(MOVDIR64B), F(FSRM), F(MD_CLEAR),
	F(SERIALIZE), F(AVX512_VP2INTERSECT), F(SPEC_CTRL), F(INTEL_STIBP),
	F(FLUSH_L1D), F(ARCH_CAPABILITIES), F(SPEC_CTRL_SSBD), F(AVX512_FP16),
	F(AVX_VNNI), F(AVX512_BF16),
	/* leaf 0xd */
	F(XSAVEOPT), F(XSAVEC), F(XGETBV1), F(XSAVES),
	/* leaf 0x80000001 */
	F(SYSCALL), F(NX), F(MMXEXT), F(FXSR_OPT), F(GBPAGES), F(RDTSCP),
	F(LM), F(LAHF_LM), F(CR8_LEGACY), F(ABM), F(SSE4A), F(MISALIGNSSE),
	F(3DNOWPREFETCH), F(XOP), F(FMA4), F(TBM), F(TOPOEXT),
	/* leaf 0x80000008 */
	F(CLZERO), F(XSAVEERPTR), F(WBNOINVD), F(AMD_IBPB), F(AMD_IBRS),
	F(AMD_STIBP), F(AMD_STIBP_ALWAYS_ON), F(AMD_SSBD), F(AMD_SSB_NO),
	F(BTC_NO),
};

/* Offered on every host: the local APIC and msr.c implement it. */
static const u16 lv_emulated[] = {
	F(X2APIC), F(TSC_DEADLINE_TIMER), F(HYPERVISOR), F(TSC_ADJUST),
	F(ARAT),
};
/* clang-format on */

#define LV_KVM_FEATURES                                                 \
	(BIT(KVM_FEATURE_CLOCKSOURCE) | BIT(KVM_FEATURE_NOP_IO_DELAY) | \
	 BIT(KVM_FEATURE_CLOCKSOURCE2) | BIT(KVM_FEATURE_PV_EOI) |      \
	 BIT(KVM_FEATURE_PV_UNHALT) | BIT(KVM_FEATURE_PV_SCHED_YIELD))

/* Bits of 0x80000001.EDX that AMD repeats from leaf 1. */
#define LV_EDX_REPEATED 0x0183f3ff
/* No nested data breakpoints, serializing LFENCE, null selectors clear base. */
#define LV_80000021_EAX (BIT(0) | BIT(2) | BIT(6))
#define LV_INVARIANT_TSC BIT(8) /* 0x80000007.EDX */

enum lv_cpuid_reg {
	EAX,
	EBX,
	ECX,
	EDX
};

/* Where the kernel's feature words stand in CPUID. */
static const struct {
	u32 function;
	u8 index;
	u8 reg;
} lv_words[NCAPINTS] = {
	[CPUID_1_EDX] = { 1, 0, EDX },
	[CPUID_1_ECX] = { 1, 0, ECX },
	[CPUID_6_EAX] = { 6, 0, EAX },
	[CPUID_7_0_EBX] = { 7, 0, EBX },
	[CPUID_7_ECX] = { 7, 0, ECX },
	[CPUID_7_EDX] = { 7, 0, EDX },
	[CPUID_7_1_EAX] = { 7, 1, EAX },
	[CPUID_D_1_EAX] = { 0xd, 1, EAX },
	[CPUID_8000_0001_EDX] = { 0x80000001, 0, EDX },
	[CPUID_8000_0001_ECX] = { 0x80000001, 0, ECX },
	[CPUID_8000_0008_EBX] = { 0x80000008, 0, EBX },
};

static u32 lv_caps[NCAPINTS]; /* once: what is offered */

static u32 *lv_entry_reg(struct kvm_cpuid_entry2 *e, enum lv_cpuid_reg reg)
{
	return &e->eax + reg;
}

static void lv_cpuid_host(struct kvm_cpuid_entry2 *e)
{
	cpuid_count(e->function, e->index, &e->eax, &e->ebx, &e->ecx, &e->edx);
}

bool lv_host_is_amd(void)
{
	return boot_cpu_data.x86_vendor == X86_VENDOR_AMD ||
	       boot_cpu_data.x86_vendor == X86_VENDOR_HYGON;
}

/*
 * The CPU's own answer counts as well as the kernel's: the kernel invents
 * bits for itself, and clears others that it or its command line disabled.
 */
static u32 lv_host_word(unsigned int word)
{
	struct kvm_cpuid_entry2 e = { .function = lv_words[word].function,
				      .index = lv_words[word].index };

	if (!e.function || cpuid_eax(e.function & 0x80000000) < e.function)
		return 0;
	lv_cpuid_host(&e);
	return *lv_entry_reg(&e, lv_words[word].reg) &
	       boot_cpu_data.x86_capability[word];
}

/** lv_cpuid_probe - find out what can be offered; after lv_fpu_probe() */
void lv_cpuid_probe(void)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lv_offered); i++)
		lv_caps[lv_offered[i] / 32] |= BIT(lv_offered[i] % 32);
	for (i = 0; i < NCAPINTS; i++)
		if (lv_caps[i])
			lv_caps[i] &= lv_host_word(i);
	for (i = 0; i < ARRAY_SIZE(lv_emulated); i++)
		lv_caps[lv_emulated[i] / 32] |= BIT(lv_emulated[i] % 32);
	if (lv_host_is_amd())
		lv_caps[CPUID_8000_0001_EDX] |= lv_caps[CPUID_1_EDX] &
						LV_EDX_REPEATED;
}

/** lv_feature_offered - is an X86_FEATURE_* in KVM_GET_SUPPORTED_CPUID? */
bool lv_feature_offered(unsigned int x86_feature)
{
	return lv_caps[x86_feature / 32] & BIT(x86_feature % 32);
}

/* ---- KVM_GET_SUPPORTED_CPUID ---- */

#define LV_CPUID_RANGE 0xc0000000
#define LV_MAX_CACHES 8

/* Never full: the leaves and their sub-leaves are far fewer. */
struct lv_cpuid_list {
	struct kvm_cpuid_entry2 entry[LV_MAX_CPUID];
	u32 nr;
};

enum {
	INDEXED = BIT(0), /* has sub-leaves */
	INTEL = BIT(1), /* not on AMD's CPUs */
	NEEDS_XSAVE = BIT(2),
	NEEDS_TOPOEXT = BIT(3),
	OURS = BIT(4), /* on every host */
};

#define ALL 0xffffffff
#define HOST                       \
	{                          \
		ALL, ALL, ALL, ALL \
	}

/*
 * Leaves in the order of their number, and what of the host's answer guests
 * see; features come on top. The first leaf of a range has its maximum. The
 * topology (1, 0xb, 0x8000001e) and who shares a cache are up to user space.
 */
/* clang-format off */
static const struct lv_leaf {
	u32 function;
	u8 flags;
	u32 keep[4];
} lv_leaves[] = {
	{ 0, 0, HOST },
	{ 1, 0, { ALL, 0xff00 } }, /* CLFLUSH size */
	{ 2, INTEL, HOST },
	{ 4, INTEL | INDEXED, { 0x3fff, ALL, ALL, ALL } },
	{ 6 },
	{ 7, INDEXED },
	{ 0xb, INDEXED },
	{ 0xd, NEEDS_XSAVE | INDEXED, HOST },
	{ 0x15, INTEL, HOST }, { 0x16, INTEL, HOST },
	{ KVM_CPUID_SIGNATURE, OURS }, { KVM_CPUID_FEATURES, OURS },
	{ 0x80000000, 0, HOST },
	{ 0x80000001, 0, { ALL } },
	{ 0x80000002, 0, HOST }, { 0x80000003, 0, HOST },
	{ 0x80000004, 0, HOST }, { 0x80000005, 0, HOST },
	{ 0x80000006, 0, HOST },
	{ 0x80000007, 0, { 0, 0, 0, LV_INVARIANT_TSC } },
	{ 0x80000008 },
	{ 0x8000001d, NEEDS_TOPOEXT | INDEXED, { 0x3fff, ALL, ALL, ALL } },
	{ 0x8000001e, NEEDS_TOPOEXT },
	{ 0x80000021, 0, { LV_80000021_EAX } },
};
/* clang-format on */

static bool lv_leaf_exists(const struct lv_leaf *leaf, u32 host_max)
{
	if ((leaf->flags & INTEL && lv_host_is_amd()) ||
	    (leaf->flags & NEEDS_XSAVE && !lv_feature_offered(F(XSAVE))))
		return false;
	if (leaf->flags & NEEDS_TOPOEXT)
		return lv_feature_offered(F(TOPOEXT));
	return leaf->flags & OURS || leaf->function <= host_max;
}

static struct kvm_cpuid_entry2 *
lv_cpuid_add(struct lv_cpuid_list *list, const struct lv_leaf *leaf, u32 index)
{
	struct kvm_cpuid_entry2 *e = &list->entry[list->nr++];
	unsigned int i;

	e->function = leaf->function;
	e->index = index;
	if (leaf->flags & INDEXED)
		e->flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
	lv_cpuid_host(e);
	for (i = EAX; i <= EDX; i++)
		*lv_entry_reg(e, i) &= leaf->keep[i];
	for (i = 0; i < NCAPINTS; i++)
		if (lv_words[i].function && lv_words[i].index == index &&
		    lv_words[i].function == leaf->function)
			*lv_entry_reg(e, lv_words[i].reg) = lv_caps[i];
	return e;
}

static void lv_cpuid_add_xsave(struct lv_cpuid_list *list,
			       const struct lv_leaf *leaf,
			       struct kvm_cpuid_entry2 *e)
{
	unsigned int i;

	e->eax = lv_xfeatures;
	e->edx = lv_xfeatures >> 32;
	e->ebx = e->ecx = lv_xsave_size(lv_xfeatures, false);
	e = lv_cpuid_add(list, leaf, 1);
	e->ebx = e->ecx = e->edx = 0;
	if (lv_feature_offered(F(XSAVEC)))
		e->ebx = lv_xsave_size(lv_xfeatures, true);
	for (i = 2; i < 64; i++)
		if (lv_xfeatures & BIT_ULL(i))
			lv_cpuid_add(list, leaf, i);
}

static void lv_cpuid_add_leaf(struct lv_cpuid_list *list,
			      const struct lv_leaf *leaf)
{
	struct kvm_cpuid_entry2 *e = lv_cpuid_add(list, leaf, 0);
	u32 i;

	switch (leaf->function) {
	case 1: /* it needs a local APIC in the kernel: a capability tells */
		e->ecx &= ~BIT(F(TSC_DEADLINE_TIMER) % 32);
		break;
	case 4:
	case 0x8000001d: /* a null type ends the list */
		for (i = 1; e->eax & 0x1f && i < LV_MAX_CACHES; i++)
			e = lv_cpuid_add(list, leaf, i);
		break;
	case 7:
		e->eax = !!lv_caps[CPUID_7_1_EAX];
		if (e->eax)
			lv_cpuid_add(list, leaf, 1);
		break;
	case 0xd:
		lv_cpuid_add_xsave(list, leaf, e);
		break;
	case KVM_CPUID_SIGNATURE:
		e->eax = KVM_CPUID_FEATURES;
		memcpy(&e->ebx, KVM_SIGNATURE, sizeof(e->ebx));
		memcpy(&e->ecx, KVM_SIGNATURE + 4, sizeof(e->ecx));
		memcpy(&e->edx, KVM_SIGNATURE + 8, sizeof(e->edx));
		break;
	case KVM_CPUID_FEATURES:
		e->eax = LV_KVM_FEATURES;
		if (lv_clock_stable())
			e->eax |= BIT(KVM_FEATURE_CLOCKSOURCE_STABLE_BIT);
		if (sched_info_on())
			e->eax |= BIT(KVM_FEATURE_STEAL_TIME);
		break;
	case 0x80000007:
		if (!lv_clock_stable())
			e->edx = 0;
		break;
	case 0x80000008:
		/* A nested table of four levels maps 48 bits. */
		i = lv_backend->tdp.levels == 5 ? 52 : 48;
		e->eax = min_t(u32, boot_cpu_data.x86_phys_bits, i) | 48 << 8;
		break;
	}
}

static void lv_cpuid_collect(struct lv_cpuid_list *list)
{
	struct kvm_cpuid_entry2 *first = NULL;
	u32 host_max = 0;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lv_leaves); i++) {
		const struct lv_leaf *leaf = &lv_leaves[i];
		bool is_first = !(leaf->function & ~LV_CPUID_RANGE);

		if (is_first)
			host_max = cpuid_eax(leaf->function);
		if (!lv_leaf_exists(leaf, host_max))
			continue;
		if (is_first)
			first = &list->entry[list->nr];
		lv_cpuid_add_leaf(list, leaf);
		first->eax = leaf->function;
	}
}

static long lv_cpuid_copy_out(unsigned long arg,
			      const struct kvm_cpuid_entry2 *entry, u32 nr)
{
	struct kvm_cpuid2 __user *user = (void __user *)arg;
	u32 room;

	if (get_user(room, &user->nent))
		return -EFAULT;
	if (room < nr)
		return -E2BIG;
	if (copy_to_user(user->entries, entry, nr * sizeof(*entry)) ||
	    put_user(nr, &user->nent))
		return -EFAULT;
	return 0;
}

LV_IOCTL(get_supported_cpuid)
{
	struct lv_cpuid_list *list = kzalloc(sizeof(*list), GFP_KERNEL);
	long err;

	if (!list)
		return -ENOMEM;
	lv_cpuid_collect(list);
	err = lv_cpuid_copy_out(arg, list->entry, list->nr);
	kfree(list);
	return err;
}

/* Nothing is emulated that the hardware would refuse to execute. */
LV_IOCTL(get_emulated_cpuid)
{
	return lv_cpuid_copy_out(arg, NULL, 0);
}

/* ---- a vCPU's CPUID ---- */

/*
 * cpuid_first[] tells where the entries of a leaf begin, for the first
 * LV_CPUID_SLOTS leaves of each range; the rest is searched from the start.
 */
static unsigned int lv_cpuid_slot(u32 function)
{
	u32 nr = function & ~LV_CPUID_RANGE;

	return nr < LV_CPUID_SLOTS ? (function >> 30) * LV_CPUID_SLOTS + nr
				   : 4 * LV_CPUID_SLOTS;
}

/* The vCPU's entry for a leaf, NULL if there is none. */
static const struct kvm_cpuid_entry2 *lv_cpuid_find(struct lv_vcpu *v,
						    u32 function, u32 index)
{
	const struct kvm_cpuid_entry2 *e, *end = v->cpuid + v->nr_cpuid;

	for (e = v->cpuid + v->cpuid_first[lv_cpuid_slot(function)]; e < end;
	     e++)
		if (e->function == function &&
		    (e->index == index ||
		     !(e->flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX)))
			return e;
	return NULL;
}

/** lv_guest_has - does the vCPU's CPUID show an X86_FEATURE_*? */
bool lv_guest_has(struct lv_vcpu *v, unsigned int x86_feature)
{
	return v->caps[x86_feature / 32] & BIT(x86_feature % 32);
}

/** lv_pv_has - may the guest use this KVM_FEATURE_*? */
bool lv_pv_has(struct lv_vcpu *v, unsigned int feature)
{
	const struct kvm_cpuid_entry2 *e;

	if (likely(!v->pv_enforced))
		return true;
	e = lv_cpuid_find(v, KVM_CPUID_FEATURES, 0);
	return e && e->eax & BIT(feature);
}

/** lv_shows_mwait - does CPUID say that the guest has MONITOR and MWAIT? */
bool lv_shows_mwait(struct lv_vcpu *v)
{
	if (v->vm->quirks_off & KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT)
		return v->misc_enable & MSR_IA32_MISC_ENABLE_MWAIT;
	return lv_guest_has(v, X86_FEATURE_MWAIT);
}

/* Leaf 0xd tells the size of an XSAVE area for the current XCR0. */
static u32 lv_cpuid_xsave_size(struct lv_vcpu *v,
			       const struct kvm_cpuid_entry2 *e)
{
	if (e->index == 1 && !(e->eax & BIT(F(XSAVEC) % 32)))
		return 0;
	return lv_xsave_size(lv_xcr0(v), e->index == 1);
}

/* Only user space needs it in the table: see lv_cpuid_give(). */
static void lv_cpuid_show_xsave(struct lv_vcpu *v, struct kvm_cpuid_entry2 *e,
				u32 nr)
{
	for (; nr--; e++)
		if (e->function == 0xd && e->index < 2)
			e->ebx = lv_cpuid_xsave_size(v, e);
}

/* Bits of CPUID that follow the vCPU's state. */
static void lv_cpuid_apply(struct lv_vcpu *v, struct kvm_cpuid_entry2 *entry,
			   u32 nr)
{
	struct kvm_cpuid_entry2 *e;

	for (e = entry; e < entry + nr; e++) {
		if (e->function != 1)
			continue;
		e->ecx &= ~BIT(F(OSXSAVE) % 32);
		if (v->cr4 & X86_CR4_OSXSAVE)
			e->ecx |= BIT(F(OSXSAVE) % 32);
		if (v->vm->quirks_off & KVM_X86_QUIRK_MISC_ENABLE_NO_MWAIT) {
			e->ecx &= ~BIT(F(MWAIT) % 32);
			if (lv_shows_mwait(v))
				e->ecx |= BIT(F(MWAIT) % 32);
		}
		e->edx &= ~BIT(F(APIC) % 32);
		if (lv_apic_base(v) & LV_APIC_BASE_ENABLE)
			e->edx |= BIT(F(APIC) % 32);
	}
}

/** lv_cpuid_refresh - the vCPU's state changed, and so does its CPUID */
void lv_cpuid_refresh(struct lv_vcpu *v)
{
	lv_cpuid_apply(v, v->cpuid, v->nr_cpuid);
}

static const struct {
	u16 feature;
	u32 cr4;
} lv_cr4_features[] = {
	{ X86_FEATURE_FSGSBASE, X86_CR4_FSGSBASE },
	{ X86_FEATURE_PCID, X86_CR4_PCIDE },
	{ X86_FEATURE_XSAVE, X86_CR4_OSXSAVE },
	{ X86_FEATURE_SMEP, X86_CR4_SMEP },
	{ X86_FEATURE_SMAP, X86_CR4_SMAP },
	{ X86_FEATURE_UMIP, X86_CR4_UMIP },
};

/* Older than CPUID bits that anyone sets: always there. */
#define LV_CR4_BASE                                                           \
	(X86_CR4_VME | X86_CR4_PVI | X86_CR4_TSD | X86_CR4_DE | X86_CR4_PSE | \
	 X86_CR4_PAE | X86_CR4_MCE | X86_CR4_PGE | X86_CR4_PCE |              \
	 X86_CR4_OSFXSR | X86_CR4_OSXMMEXCPT)

static void lv_cpuid_index(struct lv_vcpu *v)
{
	u32 i = v->nr_cpuid;

	memset(v->cpuid_first, v->nr_cpuid, sizeof(v->cpuid_first));
	while (i--)
		v->cpuid_first[lv_cpuid_slot(v->cpuid[i].function)] = i;
	v->cpuid_first[4 * LV_CPUID_SLOTS] = 0;
}

/** lv_cpuid_changed - derive all else from the vCPU's CPUID, if it has one */
void lv_cpuid_changed(struct lv_vcpu *v)
{
	const struct kvm_cpuid_entry2 *e;
	unsigned int i;

	lv_cpuid_index(v);
	for (i = 0; i < NCAPINTS; i++) {
		v->caps[i] = 0;
		e = lv_cpuid_find(v, lv_words[i].function, lv_words[i].index);
		if (e && lv_words[i].function)
			v->caps[i] = (&e->eax)[lv_words[i].reg];
	}

	v->cr4_allowed = LV_CR4_BASE;
	for (i = 0; i < ARRAY_SIZE(lv_cr4_features); i++)
		/* Before it has a CPUID it may have everything. */
		if ((!v->nr_cpuid ||
		     lv_guest_has(v, lv_cr4_features[i].feature)) &&
		    lv_feature_offered(lv_cr4_features[i].feature))
			v->cr4_allowed |= lv_cr4_features[i].cr4;

	e = lv_cpuid_find(v, 0x80000008, 0);
	v->phys_bits = e && (u8)e->eax ? min_t(u8, e->eax, 52) : 36;

	e = lv_cpuid_find(v, 0xd, 0);
	v->xcr0_allowed = XFEATURE_MASK_FP;
	if (e && v->cr4_allowed & X86_CR4_OSXSAVE)
		v->xcr0_allowed |= (e->eax | (u64)e->edx << 32) & lv_xfeatures;

	if (v->apic) {
		v->apic->has_x2apic = lv_guest_has(v, X86_FEATURE_X2APIC);
		v->apic->has_tsc_deadline =
			lv_guest_has(v, X86_FEATURE_TSC_DEADLINE_TIMER);
	}
	lv_cpuid_refresh(v);
}

/* Guests have linear addresses of 48 bits. */
static bool lv_cpuid_valid(const struct kvm_cpuid_entry2 *e, u32 nr)
{
	for (; nr--; e++)
		if (e->function == 0x80000008 && e->eax & 0xff00 &&
		    (e->eax & 0xff00) != 48 << 8)
			return false;
	return true;
}

/* Fetch @nr entries of @size bytes, one behind the other. */
static long lv_cpuid_copy_in(unsigned long arg, size_t size, u32 *nr,
			     struct kvm_cpuid_entry2 **entry)
{
	struct kvm_cpuid2 __user *user = (void __user *)arg;

	if (get_user(*nr, &user->nent))
		return -EFAULT;
	if (*nr > LV_MAX_CPUID)
		return -E2BIG;
	*entry = kcalloc(*nr, sizeof(**entry), GFP_KERNEL_ACCOUNT);
	if (!*entry)
		return -ENOMEM;
	if (!copy_from_user(*entry, user->entries, *nr * size))
		return 0;
	kfree(*entry);
	return -EFAULT;
}

/* Take over @entry, whatever comes of it. */
static long lv_set_cpuid(struct lv_vcpu *v, struct kvm_cpuid_entry2 *entry,
			 u32 nr)
{
	long err = 0;

	/* A guest that ran keeps its CPU; the same again does no harm. */
	lv_cpuid_apply(v, entry, nr);
	lv_cpuid_show_xsave(v, entry, nr);
	lv_cpuid_show_xsave(v, v->cpuid, v->nr_cpuid);
	if (!lv_cpuid_valid(entry, nr) ||
	    (v->stat.exits && (nr != v->nr_cpuid ||
			       memcmp(entry, v->cpuid, nr * sizeof(*entry))))) {
		err = -EINVAL;
	} else if (!v->stat.exits) {
		swap(v->cpuid, entry);
		v->nr_cpuid = nr;
		lv_cpuid_changed(v);
		lv_backend->set_intercepts(v);
	}
	kfree(entry);
	return err;
}

LV_IOCTL(set_cpuid2)
{
	struct kvm_cpuid_entry2 *entry;
	u32 nr;

	return lv_cpuid_copy_in(arg, sizeof(*entry), &nr, &entry)
		       ?: lv_set_cpuid(v, entry, nr);
}

/* The older form, whose entries are shorter and have no sub-leaves. */
LV_IOCTL(set_cpuid)
{
	struct kvm_cpuid_entry2 *entry;
	struct kvm_cpuid_entry old;
	u32 nr, i;
	long err;

	err = lv_cpuid_copy_in(arg, sizeof(old), &nr, &entry);
	if (err)
		return err;
	for (i = nr; i--;) {
		old = ((struct kvm_cpuid_entry *)entry)[i];
		entry[i] = (struct kvm_cpuid_entry2){
			.function = old.function,
			.eax = old.eax,
			.ebx = old.ebx,
			.ecx = old.ecx,
			.edx = old.edx,
		};
	}
	return lv_set_cpuid(v, entry, nr);
}

LV_IOCTL(get_cpuid2)
{
	lv_cpuid_show_xsave(v, v->cpuid, v->nr_cpuid);
	return lv_cpuid_copy_out(arg, v->cpuid, v->nr_cpuid);
}

/* ---- the exit ---- */

#define LV_EBX_INTEL 0x756e6547 /* "Genu" */

/*
 * A leaf that is not there: Intel answers for one that is out of range with
 * the highest basic leaf, AMD with zeros; both report zeros for a hole. The
 * topology leaves echo the sub-leaf and the APIC ID whatever is asked.
 */
static struct kvm_cpuid_entry2 lv_cpuid_missing(struct lv_vcpu *v, u32 function,
						u32 index)
{
	const struct kvm_cpuid_entry2 *basic = lv_cpuid_find(v, 0, 0);
	const struct kvm_cpuid_entry2 *range =
		lv_cpuid_find(v, function & LV_CPUID_RANGE, 0);
	const struct kvm_cpuid_entry2 *e = NULL;

	if (basic && basic->ebx == LV_EBX_INTEL &&
	    (!range || function > range->eax)) {
		function = basic->eax;
		e = lv_cpuid_find(v, function, index);
	}
	if (e)
		return *e;
	if (function == 0xb || function == 0x1f) {
		e = lv_cpuid_find(v, function, 0);
		if (e)
			return (struct kvm_cpuid_entry2){ .ecx = (u8)index,
							  .edx = e->edx };
	}
	return (struct kvm_cpuid_entry2){};
}

static void lv_cpuid_give(struct lv_vcpu *v, const struct kvm_cpuid_entry2 *e)
{
	u32 ebx = e->ebx;

	if (unlikely(e->function == 0xd && e->index < 2))
		ebx = lv_cpuid_xsave_size(v, e);
	trace_lv_cpuid(v, e, ebx);
	v->regs[LV_RAX] = e->eax;
	v->regs[LV_RBX] = ebx;
	v->regs[LV_RCX] = e->ecx;
	v->regs[LV_RDX] = e->edx;
}

static noinline void lv_cpuid_fill_missing(struct lv_vcpu *v)
{
	struct kvm_cpuid_entry2 e =
		lv_cpuid_missing(v, v->regs[LV_RAX], v->regs[LV_RCX]);

	lv_cpuid_give(v, &e);
}

/** lv_handle_cpuid - answer from the vCPU's table; hot, never sleeps */
int lv_handle_cpuid(struct lv_vcpu *v, const struct lv_exit *exit)
{
	const struct kvm_cpuid_entry2 *e =
		lv_cpuid_find(v, v->regs[LV_RAX], v->regs[LV_RCX]);

	if (likely(e))
		lv_cpuid_give(v, e);
	else
		lv_cpuid_fill_missing(v);
	return lv_skip_insn(v, exit);
}
