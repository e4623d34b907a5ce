// SPDX-License-Identifier: GPL-2.0-only
/*
 * Debug registers.
 *
 * A guest's accesses exit until the first one. From there to the end of the
 * stay it has the CPU's debug registers and uses them without exits. A guest
 * that never does costs two looks at each stay. The breakpoints of a debugger in
 * user space take the place of the guest's, all of whose accesses exit then.
 */
#include <linux/sched.h>
#include <asm/debugreg.h>

#include "labvisor.h"

#define LV_DR6_WRITABLE 0xe00fUL
#define LV_DR7_WRITABLE 0xffff2bffUL

/* DR7 is the host's here, whose breakpoints end with it. */
static void lv_write_debugregs(const u64 *dr)
{
	set_debugreg(0, 7);
	set_debugreg(dr[0], 0);
	set_debugreg(dr[1], 1);
	set_debugreg(dr[2], 2);
	set_debugreg(dr[3], 3);
}

/** lv_load_debugregs - breakpoints are on: DR0 to DR3; interrupts off */
void lv_load_debugregs(struct lv_vcpu *v)
{
	lv_write_debugregs(v->guest_debug & KVM_GUESTDBG_USE_HW_BP ? v->debug_dr
								   : v->dr);
}

/** lv_lend_debugregs - let the guest use them without exits; interrupts off */
void lv_lend_debugregs(struct lv_vcpu *v)
{
	lv_write_debugregs(v->dr);
	lv_backend->lend_drs(v, true);
	v->drs_lent = true;
}

/** lv_take_debugregs - see what it made of them: from here on they exit again */
void lv_take_debugregs(struct lv_vcpu *v)
{
	get_debugreg(v->dr[0], 0);
	get_debugreg(v->dr[1], 1);
	get_debugreg(v->dr[2], 2);
	get_debugreg(v->dr[3], 3);
	lv_backend->lend_drs(v, false);
	v->dr6 |= DR6_RESERVED;
	v->drs_lent = false;
}

/** lv_set_dr - write DR0 to DR7; -EINVAL: the upper half of DR6 or DR7, #GP */
int lv_set_dr(struct lv_vcpu *v, unsigned int nr, u64 val)
{
	if (nr >= 4 && val >> 32)
		return -EINVAL;
	if (nr < 4)
		v->dr[nr] = val;
	else if (nr & 1)
		v->dr7 = (val & LV_DR7_WRITABLE) | LV_DR7_RESET;
	else
		v->dr6 = (val & LV_DR6_WRITABLE) | DR6_RESERVED;
	lv_backend->set_dr7(v);
	if (v->atomic && lv_dr7_in_use(v) & LV_DR7_ENABLED)
		lv_load_debugregs(v);
	return 0;
}

u64 lv_get_dr(struct lv_vcpu *v, unsigned int nr)
{
	if (nr < 4)
		return v->dr[nr];
	return nr & 1 ? v->dr7 : v->dr6;
}
