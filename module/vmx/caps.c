// SPDX-License-Identifier: GPL-2.0-only
/*
 * What this CPU's VMX can do, from its capability MSRs (SDM vol. 3, appendix
 * "VMX Capability Reporting Facility").
 */
#define pr_fmt(fmt) "labvisor: " fmt

#include <linux/module.h>
#include <asm/msr.h>
#include <asm/processor.h>

#include "vmx.h"

struct vmx_caps vmx_caps = { .apicv = true, .posted = true };

/* What is in use, once the module is loaded. */
static int vmx_used_get(char *buffer, const struct kernel_param *kp)
{
	bool used = lv_backend == &vmx_backend && *(bool *)kp->arg;

	return sysfs_emit(buffer, "%c\n", used ? 'Y' : 'N');
}

static const struct kernel_param_ops vmx_used_ops = {
	.flags = KERNEL_PARAM_OPS_FL_NOARG,
	.set = param_set_bool,
	.get = vmx_used_get,
};

module_param_cb(apicv, &vmx_used_ops, &vmx_caps.apicv, 0444);
MODULE_PARM_DESC(
	apicv,
	"have Intel CPUs that can do it deliver interrupts to guests (APIC virtualization)");
module_param_cb(posted, &vmx_used_ops, &vmx_caps.posted, 0444);
MODULE_PARM_DESC(
	posted,
	"with apicv, have them take interrupts that come while a guest runs without an exit (posted interrupts)");

#define VMX_HAS_TRUE_CONTROLS BIT_ULL(55) /* of IA32_VMX_BASIC */

/* Controls that the backend cannot do without, and how to call them. */
#define VMX_PIN_REQUIRED                                   \
	(PIN_BASED_EXT_INTR_MASK | PIN_BASED_NMI_EXITING | \
	 PIN_BASED_VIRTUAL_NMIS)
#define VMX_CPU_REQUIRED                                            \
	(CPU_BASED_USE_TSC_OFFSETTING | CPU_BASED_RDPMC_EXITING |   \
	 CPU_BASED_MOV_DR_EXITING | CPU_BASED_UNCOND_IO_EXITING |   \
	 CPU_BASED_USE_MSR_BITMAPS | CPU_BASED_NMI_WINDOW_EXITING | \
	 CPU_BASED_INTR_WINDOW_EXITING | CPU_BASED_HLT_EXITING |    \
	 CPU_BASED_MONITOR_EXITING | CPU_BASED_MWAIT_EXITING |      \
	 CPU_BASED_ACTIVATE_SECONDARY_CONTROLS)
/* Turned on only while something waits for it, or the user wants it. */
#define VMX_CPU_DYNAMIC \
	(CPU_BASED_NMI_WINDOW_EXITING | CPU_BASED_INTR_WINDOW_EXITING)
#define VMX_CPU2_REQUIRED \
	(SECONDARY_EXEC_ENABLE_EPT | SECONDARY_EXEC_UNRESTRICTED_GUEST)
#define VMX_CPU2_OPTIONAL                                             \
	(SECONDARY_EXEC_ENABLE_VPID | SECONDARY_EXEC_WBINVD_EXITING | \
	 SECONDARY_EXEC_PAUSE_LOOP_EXITING)
/* By what CPUID shows the guest, and by the mode of its local APIC. */
#define VMX_CPU2_DYNAMIC                                                \
	(SECONDARY_EXEC_ENABLE_RDTSCP | SECONDARY_EXEC_ENABLE_INVPCID | \
	 VMX_CPU2_XSAVES | VMX_CPU2_APICV)
#define VMX_EXIT_REQUIRED                                             \
	(VM_EXIT_HOST_ADDR_SPACE_SIZE | VM_EXIT_SAVE_DEBUG_CONTROLS | \
	 VM_EXIT_LOAD_IA32_PAT | VM_EXIT_SAVE_IA32_PAT |              \
	 VM_EXIT_LOAD_IA32_EFER)
#define VMX_ENTRY_REQUIRED                                        \
	(VM_ENTRY_LOAD_DEBUG_CONTROLS | VM_ENTRY_LOAD_IA32_EFER | \
	 VM_ENTRY_LOAD_IA32_PAT)

/* struct vmx_control - one control MSR and what is wanted of it */
struct vmx_control {
	const char *name;
	u32 msr;
	u32 true_msr; /* without the old must-be-one bits; 0 if there is none */
	u32 required;
	u32 optional;
	u32 *on; /* always on, the dynamic ones included */
	u32 *may; /* what could be on; or NULL */
};

static const struct vmx_control vmx_controls[] = {
	{ "pin-based", MSR_IA32_VMX_PINBASED_CTLS,
	  MSR_IA32_VMX_TRUE_PINBASED_CTLS, VMX_PIN_REQUIRED,
	  PIN_BASED_VMX_PREEMPTION_TIMER | PIN_BASED_POSTED_INTR,
	  &vmx_caps.pin },
	{ "processor-based", MSR_IA32_VMX_PROCBASED_CTLS,
	  MSR_IA32_VMX_TRUE_PROCBASED_CTLS, VMX_CPU_REQUIRED,
	  CPU_BASED_TPR_SHADOW, &vmx_caps.cpu },
	{ "secondary processor-based", MSR_IA32_VMX_PROCBASED_CTLS2, 0,
	  VMX_CPU2_REQUIRED, VMX_CPU2_OPTIONAL, &vmx_caps.cpu2,
	  &vmx_caps.cpu2_may },
	{ "VM-exit", MSR_IA32_VMX_EXIT_CTLS, MSR_IA32_VMX_TRUE_EXIT_CTLS,
	  VMX_EXIT_REQUIRED, VM_EXIT_ACK_INTR_ON_EXIT, &vmx_caps.exit },
	{ "VM-entry", MSR_IA32_VMX_ENTRY_CTLS, MSR_IA32_VMX_TRUE_ENTRY_CTLS,
	  VMX_ENTRY_REQUIRED, 0, &vmx_caps.entry },
};

static u64 vmx_msr(u32 msr)
{
	u64 val = 0;

	/* One that does not exist has nothing to offer. */
	if (rdmsrl_safe(msr, &val))
		return 0;
	return val;
}

/* The two features that older CPUs lack deserve a word of their own. */
static void vmx_say_missing(const struct vmx_control *c, u32 missing)
{
	if (c->on == &vmx_caps.cpu2 && missing & SECONDARY_EXEC_ENABLE_EPT)
		pr_err("this CPU has VMX but no EPT (nested paging), which Labvisor needs\n");
	else if (c->on == &vmx_caps.cpu2)
		pr_err("this CPU has VMX but no unrestricted guest, which Labvisor needs for real mode\n");
	else
		pr_err("this CPU lacks %s VMX controls that Labvisor needs: %x\n",
		       c->name, missing);
}

/* The low half of a capability MSR must be one, the high half may be. */
static int vmx_choose_controls(const struct vmx_control *c, bool has_true)
{
	u64 cap = vmx_msr(has_true && c->true_msr ? c->true_msr : c->msr);
	u32 must = cap, may = cap >> 32;

	if (c->required & ~may) {
		vmx_say_missing(c, c->required & ~may);
		return -EOPNOTSUPP;
	}
	*c->on = must | c->required | (c->optional & may);
	if (c->may)
		*c->may = may;
	return 0;
}

static int vmx_probe_ept(void)
{
	u64 cap = vmx_msr(MSR_IA32_VMX_EPT_VPID_CAP);
	struct lv_tdp_format *tdp = &vmx_backend.tdp;
	bool five = cap & VMX_EPT_PAGE_WALK_5_BIT &&
		    boot_cpu_data.x86_phys_bits > 48;

	if (!(cap & VMX_EPT_PAGE_WALK_4_BIT) || !(cap & VMX_EPTP_WB_BIT) ||
	    !(cap & VMX_EPT_INVEPT_BIT)) {
		pr_err("this CPU's EPT lacks 4-level tables, write-back memory or INVEPT\n");
		return -EOPNOTSUPP;
	}
	*tdp = (struct lv_tdp_format){
		.present = VMX_EPT_READABLE_MASK,
		.write = VMX_EPT_WRITABLE_MASK,
		.exec = VMX_EPT_EXECUTABLE_MASK,
		.large = BIT(7),
		/* Guest memory is write-back whatever the guest's PAT says. */
		.memtype_wb = VMX_EPTP_MT_WB << VMX_EPT_MT_EPTE_SHIFT |
			      VMX_EPT_IPAT_BIT,
		.memtype_uc = VMX_EPTP_MT_UC << VMX_EPT_MT_EPTE_SHIFT,
		.levels = five ? 5 : 4,
		.max_level = cap & VMX_EPT_1GB_PAGE_BIT	  ? 3
			     : cap & VMX_EPT_2MB_PAGE_BIT ? 2
							  : 1,
	};
	vmx_caps.ept_flags = VMX_EPTP_MT_WB |
			     (five ? VMX_EPTP_PWL_5 : VMX_EPTP_PWL_4);
	if (cap & VMX_EPT_AD_BIT) {
		vmx_caps.ept_flags |= VMX_EPTP_AD_ENABLE_BIT;
		tdp->accessed = VMX_EPT_ACCESS_BIT;
		tdp->dirty = VMX_EPT_DIRTY_BIT;
	}
	vmx_caps.invept = cap & VMX_EPT_EXTENT_CONTEXT_BIT
				  ? VMX_EPT_EXTENT_CONTEXT
				  : VMX_EPT_EXTENT_GLOBAL;
	return 0;
}

/* VPIDs are of use only if they can be flushed. */
static void vmx_probe_vpid(void)
{
	u32 cap = vmx_msr(MSR_IA32_VMX_EPT_VPID_CAP) >> 32;

	if (!(vmx_caps.cpu2 & SECONDARY_EXEC_ENABLE_VPID))
		return;
	if (cap & VMX_VPID_INVVPID_BIT &&
	    cap & VMX_VPID_EXTENT_SINGLE_CONTEXT_BIT)
		vmx_caps.invvpid = VMX_VPID_EXTENT_SINGLE_CONTEXT;
	else if (cap & VMX_VPID_INVVPID_BIT &&
		 cap & VMX_VPID_EXTENT_GLOBAL_CONTEXT_BIT)
		vmx_caps.invvpid = VMX_VPID_EXTENT_ALL_CONTEXT;
	else
		vmx_caps.cpu2 &= ~SECONDARY_EXEC_ENABLE_VPID;
}

/**
 * vmx_probe_caps - read the capability MSRs and choose the controls
 *
 * Return: 0, or -EOPNOTSUPP with a line in the log that says what is missing.
 */
int vmx_probe_caps(void)
{
	u64 basic = vmx_msr(MSR_IA32_VMX_BASIC);
	bool has_true = basic & VMX_HAS_TRUE_CONTROLS;
	unsigned int i;
	int err = 0;

	vmx_caps.revision = vmx_basic_vmcs_revision_id(basic);
	for (i = 0; i < ARRAY_SIZE(vmx_controls) && !err; i++)
		err = vmx_choose_controls(&vmx_controls[i], has_true);
	if (!err)
		err = vmx_probe_ept();
	if (err)
		return err;
	vmx_probe_vpid();
	vmx_caps.timer_shift =
		vmx_misc_preemption_timer_rate(vmx_msr(MSR_IA32_VMX_MISC));
	if (!(vmx_caps.pin & PIN_BASED_VMX_PREEMPTION_TIMER))
		vmx_backend.set_timer = NULL;
	vmx_caps.cpu &= ~VMX_CPU_DYNAMIC;
	vmx_caps.cpu2_may &= vmx_caps.cpu2 | VMX_CPU2_DYNAMIC;
	vmx_caps.tpr_shadow = vmx_caps.cpu & CPU_BASED_TPR_SHADOW;
	vmx_caps.apicv = vmx_caps.apicv && vmx_caps.tpr_shadow &&
			 !(VMX_CPU2_APICV & ~vmx_caps.cpu2_may);
	vmx_backend.has_apic_page = vmx_caps.apicv;
	vmx_probe_posted();
	return 0;
}
