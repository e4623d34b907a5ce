/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Differences between kernel versions live here and nowhere else, each with
 * the version it is for.
 */
#ifndef LABVISOR_COMPAT_H
#define LABVISOR_COMPAT_H

#include <linux/eventfd.h>
#include <linux/hrtimer.h>
#include <linux/version.h>
#include <asm/cpufeature.h>
#include <asm/nospec-branch.h>

/* 6.8: eventfd_signal() lost its count. */
static inline void lv_eventfd_signal(struct eventfd_ctx *ctx)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 8, 0)
	eventfd_signal(ctx);
#else
	eventfd_signal(ctx, 1);
#endif
}

/* 6.13: hrtimer_setup() takes the function, too; hrtimer_init() goes later. */
static inline void
lv_hrtimer_setup(struct hrtimer *timer,
		 enum hrtimer_restart (*fn)(struct hrtimer *), clockid_t clock,
		 enum hrtimer_mode mode)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
	hrtimer_setup(timer, fn, clock, mode);
#else
	hrtimer_init(timer, clock, mode);
	timer->function = fn;
#endif
}

/*
 * VMSCAPE: kernels that know of it flush the branch predictor before a thread
 * that ran a guest returns to user space, if it says that it did.
 */
static inline void lv_guest_ran(void)
{
#ifdef X86_FEATURE_IBPB_EXIT_TO_USER
	if (cpu_feature_enabled(X86_FEATURE_IBPB_EXIT_TO_USER))
		this_cpu_write(x86_ibpb_exit_to_user, true);
#endif
}

#endif /* LABVISOR_COMPAT_H */
