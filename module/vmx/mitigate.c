// SPDX-License-Identifier: GPL-2.0-only
/*
 * Speculation: what the guest must not read or steer of the host.
 *
 * The host kernel decides, by what it knows of the CPU and its command line;
 * the module parameters can overrule it. RSB filling and clearing of the branch
 * history are patched into entry.S by the kernel's own alternatives, because a
 * conditional branch around them could itself be mispredicted.
 */
#define pr_fmt(fmt) "labvisor: " fmt

#include <linux/cpu.h>
#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <asm/hardirq.h>
#include <asm/msr.h>
#include <asm/nospec-branch.h>

#include "../compat.h"
#include "vmx.h"

/* Twice the largest L1 data cache that L1TF is known of. */
#define L1D_ORDER 4
#define L1D_BYTES (PAGE_SIZE << L1D_ORDER)

enum {
	L1D_NEVER,
	L1D_COND, /* if code that has nothing to do with the guest ran */
	L1D_ALWAYS
};

static char *l1d_flush = "auto";
module_param(l1d_flush, charp, 0444);
MODULE_PARM_DESC(
	l1d_flush,
	"flush the L1 data cache before VM entry: auto (as the host kernel decides), never, cond, always");

static bool verw = true;
module_param(verw, bool, 0444);
MODULE_PARM_DESC(
	verw,
	"clear CPU buffers before VM entry if the host kernel asks for it (MDS, TAA, MMIO stale data)");

static bool ibpb = true;
module_param(ibpb, bool, 0444);
MODULE_PARM_DESC(ibpb, "branch predictor barrier between vCPUs");

static const char *const l1d_names[] = {
	[L1D_NEVER] = "never",
	[L1D_COND] = "cond",
	[L1D_ALWAYS] = "always",
};

static int l1d_mode;
static struct page *l1d_pages; /* NULL if the CPU has a command for it */
DEFINE_STATIC_KEY_FALSE(vmx_flushes_l1d);
u64 vmx_enter_flags; /* VMX_ENTER_*, the same for all entries */

/* What is in force, once the module is loaded. */
static int mitigations_get(char *buffer, const struct kernel_param *kp)
{
	return sysfs_emit(
		buffer, "l1d_flush=%s verw=%s ibpb=%s rsb_fill=%s bhb=%s\n",
		l1d_names[l1d_mode], vmx_enter_flags ? "on" : "off",
		ibpb && boot_cpu_has(X86_FEATURE_USE_IBPB) ? "on" : "off",
		boot_cpu_has(X86_FEATURE_RSB_VMEXIT)	    ? "full"
		: boot_cpu_has(X86_FEATURE_RSB_VMEXIT_LITE) ? "one"
							    : "off",
		lv_clears_branch_history() ? "on" : "off");
}

static const struct kernel_param_ops mitigations_ops = {
	.get = mitigations_get,
};
module_param_cb(mitigations, &mitigations_ops, NULL, 0444);
MODULE_PARM_DESC(mitigations, "what is in force on Intel CPUs (read only)");

static int l1d_choose(void)
{
	u64 caps = 0;
	int i;

	i = match_string(l1d_names, ARRAY_SIZE(l1d_names), l1d_flush);
	if (i >= 0)
		return i;
	if (strcmp(l1d_flush, "auto")) {
		pr_err("l1d_flush is auto, never, cond or always, not '%s'\n",
		       l1d_flush);
		return -EINVAL;
	}
	if (boot_cpu_has(X86_FEATURE_ARCH_CAPABILITIES))
		rdmsrl(MSR_IA32_ARCH_CAPABILITIES, caps);
	if (!boot_cpu_has_bug(X86_BUG_L1TF) ||
	    caps & ARCH_CAP_SKIP_VMENTRY_L1DFLUSH)
		return L1D_NEVER;
	return lv_l1tf_wanted(L1D_NEVER, L1D_COND, L1D_ALWAYS);
}

int vmx_mitigations_init(void)
{
	l1d_mode = l1d_choose();
	if (l1d_mode < 0)
		return l1d_mode;
	if (l1d_mode != L1D_NEVER && !boot_cpu_has(X86_FEATURE_FLUSH_L1D)) {
		l1d_pages = alloc_pages(GFP_KERNEL | __GFP_ZERO, L1D_ORDER);
		if (!l1d_pages)
			return -ENOMEM;
	}
	if (l1d_mode != L1D_NEVER)
		static_branch_enable(&vmx_flushes_l1d);
	vmx_enter_flags = verw && lv_wants_verw() ? BIT(VMX_ENTER_VERW) : 0;
	return 0;
}

void vmx_mitigations_exit(void)
{
	if (l1d_pages)
		__free_pages(l1d_pages, L1D_ORDER);
	l1d_pages = NULL;
}

/*
 * Without the command the cache is displaced by reading other memory: first
 * once a page, so that no page walk disturbs the order of the second round
 * (Intel, "Deep Dive: L1 Terminal Fault", software sequence).
 */
static void l1d_displace(void)
{
	const char *start = page_address(l1d_pages), *p;
	const char *end = start + L1D_BYTES;
	int eax = 0;

	for (p = start; p < end; p += PAGE_SIZE)
		READ_ONCE(*p);
	asm volatile("cpuid" : "+a"(eax)::"ebx", "ecx", "edx", "memory");
	for (p = start; p < end; p += SMP_CACHE_BYTES)
		READ_ONCE(*p);
	asm volatile("lfence" ::: "memory");
}

/** vmx_flush_l1d - L1TF: clear the L1 data cache if it may hold secrets */
void vmx_flush_l1d(struct vmx_vcpu *s)
{
	bool interrupted = lv_l1d_tainted_by_interrupt();

	if (l1d_mode == L1D_COND && !s->reloaded && !interrupted)
		return;
	s->reloaded = false;
	if (l1d_pages)
		l1d_displace();
	else
		wrmsrl(MSR_IA32_FLUSH_CMD, L1D_FLUSH);
}

/** vmx_predictor_barrier - another vCPU is about to run on this CPU */
void vmx_predictor_barrier(void)
{
	if (ibpb)
		indirect_branch_prediction_barrier();
}
