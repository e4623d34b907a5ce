// SPDX-License-Identifier: GPL-2.0-only
/*
 * What the kernel wants done before a thread enters a guest.
 *
 * The kernel's function for it reports a signal in a struct kvm_vcpu, which
 * only KVM has. This file is the only one to include KVM's header, whose types
 * collide with ours, and gives it one that nobody reads.
 */
#include <linux/kvm_host.h>

#include "compat.h"

int lv_guest_mode_work(void);

static struct kvm_run lv_unread_run;
static struct kvm_vcpu lv_unread_vcpu = { .run = &lv_unread_run };

/** lv_guest_mode_work - reschedule, run task work; -EINTR for a signal */
int lv_guest_mode_work(void)
{
	return lv_handle_work(&lv_unread_vcpu);
}
