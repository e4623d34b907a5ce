// SPDX-License-Identifier: GPL-2.0-only
/*
 * A VM entry that failed: print the VMCS and say which guest fields break
 * which rule. The CPU only says that there is one (SDM vol. 3, Checks on the
 * Guest State Area).
 */
#define pr_fmt(fmt) "labvisor: " fmt

#include <asm/msr.h>
#include <asm/msr-index.h>

#include "vmx.h"

static void wrong(bool is_wrong, const char *field, const char *rule)
{
	if (is_wrong)
		pr_info("  wrong: %s: %s\n", field, rule);
}

static bool fixed_bits_wrong(u64 val, u32 fixed0_msr, u64 exempt)
{
	u64 fixed0, fixed1;

	rdmsrl(fixed0_msr, fixed0);
	rdmsrl(fixed0_msr + 1, fixed1);
	return fixed0 & ~val & ~exempt || val & ~fixed1;
}

static void check_control_registers(void)
{
	u64 cr0 = vmcs_read(GUEST_CR0), cr4 = vmcs_read(GUEST_CR4);
	u64 efer = vmcs_read(GUEST_IA32_EFER);
	bool ia32e = vmcs_read(VM_ENTRY_CONTROLS) & VM_ENTRY_IA32E_MODE;

	wrong(fixed_bits_wrong(cr0, MSR_IA32_VMX_CR0_FIXED0,
			       X86_CR0_PE | X86_CR0_PG),
	      "CR0", "bits that VMX fixes");
	wrong(cr0 & X86_CR0_PG && !(cr0 & X86_CR0_PE), "CR0", "PG without PE");
	wrong(fixed_bits_wrong(cr4, MSR_IA32_VMX_CR4_FIXED0, 0), "CR4",
	      "bits that VMX fixes");
	wrong(ia32e && !(cr0 & X86_CR0_PG), "CR0", "64-bit mode without PG");
	wrong(ia32e && !(cr4 & X86_CR4_PAE), "CR4", "64-bit mode without PAE");
	wrong(!ia32e && cr4 & X86_CR4_PCIDE, "CR4",
	      "PCIDE outside 64-bit mode");
	wrong(ia32e != !!(efer & EFER_LMA), "EFER",
	      "LMA and the entry control");
	wrong(cr0 & X86_CR0_PG && !(efer & EFER_LMA) != !(efer & EFER_LME),
	      "EFER", "LMA and LME differ with paging on");
}

static bool limit_wrong(u32 ar, u32 limit)
{
	return ar & VMX_AR_G_MASK ? (limit & 0xfff) != 0xfff : limit > 0xfffff;
}

static void check_code_segment(u32 cs, u32 ss, bool protected)
{
	u32 type = cs & VMX_AR_TYPE_MASK;
	bool ia32e = vmcs_read(VM_ENTRY_CONTROLS) & VM_ENTRY_IA32E_MODE;

	wrong(type != 3 && !(type & VMX_AR_TYPE_CODE_MASK && type & 1), "CS",
	      "type is neither accessed code nor 3");
	wrong(!(cs & VMX_AR_S_MASK) || !(cs & VMX_AR_P_MASK), "CS",
	      "not a present segment");
	wrong(type == 3 && VMX_AR_DPL(cs), "CS", "type 3 with a DPL");
	wrong(protected && type != 3 && type < 12 &&
		      VMX_AR_DPL(cs) != VMX_AR_DPL(ss),
	      "CS", "DPL is not that of SS");
	wrong(ia32e && cs & VMX_AR_L_MASK && cs & VMX_AR_DB_MASK, "CS",
	      "L and D/B");
	wrong((!protected || type == 3) && VMX_AR_DPL(ss), "SS",
	      "DPL in real mode");
}

static void check_segments(void)
{
	static const struct {
		const char *name;
		u32 ar;
		u32 limit;
	} segs[] = {
		{ "ES", GUEST_ES_AR_BYTES, GUEST_ES_LIMIT },
		{ "CS", GUEST_CS_AR_BYTES, GUEST_CS_LIMIT },
		{ "SS", GUEST_SS_AR_BYTES, GUEST_SS_LIMIT },
		{ "DS", GUEST_DS_AR_BYTES, GUEST_DS_LIMIT },
		{ "FS", GUEST_FS_AR_BYTES, GUEST_FS_LIMIT },
		{ "GS", GUEST_GS_AR_BYTES, GUEST_GS_LIMIT },
		{ "LDTR", GUEST_LDTR_AR_BYTES, GUEST_LDTR_LIMIT },
		{ "TR", GUEST_TR_AR_BYTES, GUEST_TR_LIMIT },
	};
	u32 ar, limit, tr = vmcs_read(GUEST_TR_AR_BYTES) & 0x1009f;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(segs); i++) {
		ar = vmcs_read(segs[i].ar);
		limit = vmcs_read(segs[i].limit);
		pr_info("  %-4s limit %08x access rights %05x\n", segs[i].name,
			limit, ar);
		if (ar & VMX_AR_UNUSABLE_MASK)
			continue;
		wrong(limit_wrong(ar, limit), segs[i].name,
		      "G does not fit the limit");
		wrong(ar & 0xfffe0f00, segs[i].name, "reserved access rights");
	}
	wrong(tr != 0x8b && tr != 0x83, "TR", "not a busy task");
	check_code_segment(vmcs_read(GUEST_CS_AR_BYTES),
			   vmcs_read(GUEST_SS_AR_BYTES),
			   vmcs_read(GUEST_CR0) & X86_CR0_PE);
}

static void check_rip_and_events(void)
{
	u64 rflags = vmcs_read(GUEST_RFLAGS), rip = vmcs_read(GUEST_RIP);
	u32 blocking = vmcs_read(GUEST_INTERRUPTIBILITY_INFO);
	u64 pending = vmcs_read(GUEST_PENDING_DBG_EXCEPTIONS);
	u32 event = vmcs_read(VM_ENTRY_INTR_INFO_FIELD);
	bool irq = event & INTR_INFO_VALID_MASK &&
		   !(event & INTR_INFO_INTR_TYPE_MASK);
	bool shadow = blocking & VMX_BLOCKED_BY_SHADOW;

	wrong(vmcs_read(VM_ENTRY_CONTROLS) & VM_ENTRY_IA32E_MODE
		      ? !lv_canonical(rip)
		      : rip >> 32,
	      "RIP", "outside of the address space");
	wrong(!(rflags & X86_EFLAGS_FIXED) || rflags & 0xffffffffffc08028ULL,
	      "RFLAGS", "reserved bits");
	wrong(irq && !(rflags & X86_EFLAGS_IF), "RFLAGS",
	      "interrupt to inject with IF clear");
	wrong(irq && shadow, "interruptibility", "interrupt in a shadow");
	wrong(shadow && !(pending & DR_STEP) != !(rflags & X86_EFLAGS_TF),
	      "pending debug exceptions", "BS and RFLAGS.TF in a shadow");
}

/* SDM vol. 3, VM-Execution Control Fields, as far as APICs are concerned. */
static void check_apic(void)
{
	u32 cpu2 = vmcs_read(SECONDARY_VM_EXEC_CONTROL);
	bool shadow = vmcs_read(CPU_BASED_VM_EXEC_CONTROL) &
		      CPU_BASED_TPR_SHADOW;
	u32 accesses = cpu2 & SECONDARY_EXEC_VIRTUALIZE_APIC_ACCESSES;

	if (!vmx_caps.apicv)
		return;
	pr_info("  APIC: page %llx accesses to %llx interrupt status %llx\n",
		vmcs_read(VIRTUAL_APIC_PAGE_ADDR), vmcs_read(APIC_ACCESS_ADDR),
		vmcs_read(GUEST_INTR_STATUS));
	wrong(cpu2 & VMX_CPU2_APICV & ~accesses && !shadow,
	      "secondary controls", "APIC virtualization without TPR shadow");
	wrong(accesses && cpu2 & SECONDARY_EXEC_VIRTUALIZE_X2APIC_MODE,
	      "secondary controls", "both xAPIC and x2APIC mode");
	wrong(accesses && !vmcs_read(APIC_ACCESS_ADDR), "APIC-access address",
	      "none");
}

void vmx_dump(struct lv_vcpu *v)
{
	pr_info("VMCS of vCPU %d: exit reason %llx qualification %llx instruction error %llu\n",
		v->id, vmcs_read(VM_EXIT_REASON), vmcs_read(EXIT_QUALIFICATION),
		vmcs_read(VM_INSTRUCTION_ERROR));
	pr_info("  controls: pin %llx cpu %llx %llx exit %llx entry %llx exceptions %llx\n",
		vmcs_read(PIN_BASED_VM_EXEC_CONTROL),
		vmcs_read(CPU_BASED_VM_EXEC_CONTROL),
		vmcs_read(SECONDARY_VM_EXEC_CONTROL),
		vmcs_read(VM_EXIT_CONTROLS), vmcs_read(VM_ENTRY_CONTROLS),
		vmcs_read(EXCEPTION_BITMAP));
	pr_info("  entry event %llx vectoring %llx blocking %llx eptp %llx\n",
		vmcs_read(VM_ENTRY_INTR_INFO_FIELD),
		vmcs_read(IDT_VECTORING_INFO_FIELD),
		vmcs_read(GUEST_INTERRUPTIBILITY_INFO), vmcs_read(EPT_POINTER));
	pr_info("  rip %llx rsp %llx rflags %llx\n", vmcs_read(GUEST_RIP),
		vmcs_read(GUEST_RSP), vmcs_read(GUEST_RFLAGS));
	pr_info("  cr0 %llx cr3 %llx cr4 %llx efer %llx\n",
		vmcs_read(GUEST_CR0), vmcs_read(GUEST_CR3),
		vmcs_read(GUEST_CR4), vmcs_read(GUEST_IA32_EFER));
	check_segments();
	check_control_registers();
	check_rip_and_events();
	check_apic();
}
