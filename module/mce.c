// SPDX-License-Identifier: GPL-2.0-only
/*
 * Machine-check banks: registers without hardware behind them, into which user
 * space puts the errors of the memory that it gave to the guest.
 *
 * Without KVM_X86_SETUP_MCE a vCPU has no banks. Rules of the registers: Intel
 * SDM volume 3, and AMD APM volume 2, "Machine-Check Architecture".
 */
#include <linux/nospec.h>
#include <asm/mce.h>

#include "labvisor.h"

#define LV_MCG_CAP (MCG_CTL_P | MCG_SER_P) /* beside the number of banks */
#define LV_MCI_CTL_ERRATA (BIT_ULL(0) | BIT_ULL(10)) /* Linux clears these */
#define LV_HWCR_MCI_STATUS_WRITABLE BIT_ULL(18)

static unsigned int lv_nr_banks(const struct lv_vcpu *v)
{
	return v->mce.cap & MCG_BANKCNT_MASK;
}

/* The four registers of bank @nr (CTL, STATUS, ADDR, MISC), or NULL. */
static u64 *lv_mce_bank(struct lv_vcpu *v, unsigned int nr)
{
	unsigned int banks = lv_nr_banks(v);

	return nr < banks ? v->mce.banks[array_index_nospec(nr, banks)] : NULL;
}

/** lv_mce_get_msr - read MCG_CAP, MCG_CTL or a bank's register; 0 or -EINVAL */
int lv_mce_get_msr(struct lv_vcpu *v, u32 msr, u64 *val, bool host)
{
	const u64 *bank;

	switch (msr) {
	case MSR_IA32_MCG_CAP:
		*val = v->mce.cap;
		return 0;
	case MSR_IA32_MCG_CTL:
		*val = v->mce.ctl;
		return host || v->mce.cap & MCG_CTL_P ? 0 : -EINVAL;
	default:
		bank = lv_mce_bank(v, (msr - MSR_IA32_MC0_CTL) / 4);
		if (!bank)
			return -EINVAL;
		*val = bank[msr % 4];
		return 0;
	}
}

static bool lv_mci_writable(struct lv_vcpu *v, u32 msr, u64 val, bool host)
{
	switch (msr % 4) {
	case 0: /* CTL: all errors or none */
		return !val || (val | LV_MCI_CTL_ERRATA) == ~0ULL;
	case 1: /* STATUS: a guest can clear it */
		return host || !val ||
		       v->msrs.hwcr & LV_HWCR_MCI_STATUS_WRITABLE;
	default:
		return true;
	}
}

/** lv_mce_set_msr - write one; as lv_mce_get_msr() */
int lv_mce_set_msr(struct lv_vcpu *v, u32 msr, u64 val, bool host)
{
	u64 *bank;

	if (msr == MSR_IA32_MCG_CAP)
		return host && val == v->mce.cap ? 0 : -EINVAL;
	if (msr == MSR_IA32_MCG_CTL) {
		bool there = v->mce.cap & MCG_CTL_P || (host && !val);

		if (!there || (val && val != ~0ULL))
			return -EINVAL;
		v->mce.ctl = val;
		return 0;
	}
	bank = lv_mce_bank(v, (msr - MSR_IA32_MC0_CTL) / 4);
	if (!bank || !lv_mci_writable(v, msr, val, host))
		return -EINVAL;
	bank[msr % 4] = val;
	return 0;
}

/* ---- ioctls ---- */

LV_IOCTL(get_mce_cap)
{
	*(u64 *)data = LV_MCG_CAP;
	return 0;
}

LV_IOCTL(setup_mce)
{
	u64 cap = *(u64 *)data;
	unsigned int banks = cap & MCG_BANKCNT_MASK;

	if (!banks || banks > LV_MAX_MCE_BANKS ||
	    cap & ~(u64)(LV_MCG_CAP | MCG_BANKCNT_MASK))
		return -EINVAL;
	v->mce.cap = cap;
	v->mce.ctl = cap & MCG_CTL_P ? ~0ULL : 0;
	while (banks--)
		v->mce.banks[banks][0] = ~0ULL;
	return 0;
}

/* An uncorrected error that the guest asked to hear of: #MC, or shutdown. */
static bool lv_raise_mce(struct lv_vcpu *v, const struct kvm_x86_mce *mce)
{
	if (v->msrs.mcg_status & MCG_STATUS_MCIP || !(v->cr4 & X86_CR4_MCE)) {
		lv_request(v, LV_REQ_SHUTDOWN);
		return false;
	}
	v->msrs.mcg_status = mce->mcg_status;
	lv_queue_exception(v, X86_TRAP_MC);
	return true;
}

LV_IOCTL(set_mce)
{
	const struct kvm_x86_mce *mce = data;
	u64 *bank = lv_mce_bank(v, mce->bank);
	bool fatal = mce->status & MCI_STATUS_UC;
	u64 lost;

	if (!bank || !(mce->status & MCI_STATUS_VAL))
		return -EINVAL;
	if (fatal) {
		bool off = v->mce.cap & MCG_CTL_P && v->mce.ctl != ~0ULL;

		if (off || bank[0] != ~0ULL || !lv_raise_mce(v, mce))
			return 0;
	}
	lost = bank[1] & MCI_STATUS_VAL ? MCI_STATUS_OVER : 0;
	if (lost && !fatal && bank[1] & MCI_STATUS_UC) {
		bank[1] |= lost;
		return 0;
	}
	bank[1] = mce->status | lost;
	bank[2] = mce->addr;
	bank[3] = mce->misc;
	return 0;
}
