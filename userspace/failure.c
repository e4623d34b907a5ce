// SPDX-License-Identifier: GPL-2.0-only
/* Put into words why the hypervisor gave up on a vCPU. */
#include "vcpu.h"

static const char *const suberrors[] = {
	[KVM_INTERNAL_ERROR_EMULATION] = "it cannot emulate an instruction",
	[KVM_INTERNAL_ERROR_SIMUL_EX] = "exceptions occurred simultaneously",
	[KVM_INTERNAL_ERROR_DELIVERY_EV] =
		"an exit occurred during event delivery",
	[KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON] =
		"the exit reason is unknown",
};

static void describe_internal(const struct kvm_run *run, char *buf, size_t size)
{
	u32 suberror = run->internal.suberror;
	const char *text = "unknown suberror";
	size_t len;
	u32 i;

	if (suberror < ARRAY_SIZE(suberrors) && suberrors[suberror])
		text = suberrors[suberror];
	len = snprintf(buf, size, "internal error %u: %s", suberror, text);
	for (i = 0; i < run->internal.ndata && i < 16 && len < size; i++)
		len += snprintf(buf + len, size - len, "%s%#llx",
				i ? " " : "; data ",
				(unsigned long long)run->internal.data[i]);
}

/** vcpu_failure() - describe an exit that ends the guest. */
void vcpu_failure(const struct kvm_run *run, char *buf, size_t size)
{
	switch (run->exit_reason) {
	case KVM_EXIT_INTERNAL_ERROR:
		describe_internal(run, buf, size);
		break;
	case KVM_EXIT_FAIL_ENTRY:
		snprintf(
			buf, size,
			"the processor refused to enter the guest, reason %#llx, on host CPU %u",
			run->fail_entry.hardware_entry_failure_reason,
			run->fail_entry.cpu);
		break;
	case KVM_EXIT_UNKNOWN:
		snprintf(buf, size, "unknown hardware exit reason %#llx",
			 run->hw.hardware_exit_reason);
		break;
	case KVM_EXIT_EXCEPTION:
		snprintf(buf, size, "unhandled exception %u, error code %#x",
			 run->ex.exception, run->ex.error_code);
		break;
	default:
		snprintf(buf, size,
			 "exit reason %u, which the launcher does not know",
			 run->exit_reason);
	}
}
