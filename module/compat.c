// SPDX-License-Identifier: GPL-2.0-only
/*
 * Differences between kernel versions that need KVM's own header, whose types
 * for addresses are not ours.
 */
#include <linux/entry-kvm.h>
#include <linux/kvm_host.h>
#include <linux/version.h>

int lv_xfer_to_guest_mode_handle_work(void);

/*
 * 6.18: xfer_to_guest_mode_handle_work() lost its argument. Before, it notes
 * in a struct kvm_vcpu that a signal ends KVM_RUN. We look at what it returns
 * instead; nobody reads this one.
 */
int lv_xfer_to_guest_mode_handle_work(void)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 18, 0)
	return xfer_to_guest_mode_handle_work();
#else
	static struct kvm_run run;
	static struct kvm_vcpu unread = { .run = &run };

	return xfer_to_guest_mode_handle_work(&unread);
#endif
}
