/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The contract between the common code and a vendor backend.
 *
 * A backend translates: hardware exits into struct lv_exit, and the common
 * state of struct lv_vcpu into its control block (VMCB, VMCS). It decides
 * nothing; exit.c does. Common code never sees a control block.
 */
#ifndef LABVISOR_BACKEND_H
#define LABVISOR_BACKEND_H

#include <linux/kvm.h>

#include "pure.h"

struct lv_vcpu;
struct lv_vm;

/**
 * enum lv_exit_reason - why the guest stopped, independent of the vendor
 * @LV_EXIT_HOST: host interrupt or NMI, served as soon as interrupts are on
 * @LV_EXIT_ENTRY_FAILED: the hardware refused the control block
 * @LV_EXIT_EXCEPTION: intercepted exception, @ex
 * @LV_EXIT_IRQ_WINDOW: the guest can take an interrupt now
 * @LV_EXIT_NMI_WINDOW: the guest can take an NMI now
 * @LV_EXIT_CPUID: CPUID
 * @LV_EXIT_RDMSR: RDMSR
 * @LV_EXIT_WRMSR: WRMSR
 * @LV_EXIT_CR: control register access, @cr
 * @LV_EXIT_DR: debug register access, @cr with nr 0 to 7
 * @LV_EXIT_TPR: the task priority dropped below the threshold (trap-like)
 * @LV_EXIT_EOI: the guest ended an interrupt whose end matters to others; the
 *	local APIC is done with it (trap-like), @apic
 * @LV_EXIT_APIC_WRITE: the guest wrote a register of its local APIC, which has
 *	not heard of it (trap-like), @apic
 * @LV_EXIT_APIC_ACCESS: access to the page of the local APIC, @fault
 * @LV_EXIT_TIMER: the time given to @set_timer has come
 * @LV_EXIT_IO: port access, @io
 * @LV_EXIT_FAULT: violation of the nested page tables, @fault
 * @LV_EXIT_HLT: HLT
 * @LV_EXIT_PAUSE: PAUSE, or a loop of it
 * @LV_EXIT_MONITOR: MONITOR
 * @LV_EXIT_MWAIT: MWAIT
 * @LV_EXIT_INVD: INVD
 * @LV_EXIT_WBINVD: WBINVD
 * @LV_EXIT_XSETBV: XSETBV
 * @LV_EXIT_RDTSC: RDTSC
 * @LV_EXIT_RDTSCP: RDTSCP
 * @LV_EXIT_RDPMC: RDPMC
 * @LV_EXIT_HYPERCALL: VMMCALL or VMCALL
 * @LV_EXIT_TASK_SWITCH: task switch, @task
 * @LV_EXIT_SHUTDOWN: triple fault
 * @LV_EXIT_UNDEFINED: an instruction that is not offered to guests
 * @LV_EXIT_UNKNOWN: no backend rule; becomes an internal error
 * @LV_NR_EXITS: number of reasons
 */
enum lv_exit_reason {
	LV_EXIT_HOST,
	LV_EXIT_ENTRY_FAILED,
	LV_EXIT_EXCEPTION,
	LV_EXIT_IRQ_WINDOW,
	LV_EXIT_NMI_WINDOW,
	LV_EXIT_CPUID,
	LV_EXIT_RDMSR,
	LV_EXIT_WRMSR,
	LV_EXIT_CR,
	LV_EXIT_DR,
	LV_EXIT_TPR,
	LV_EXIT_EOI,
	LV_EXIT_APIC_WRITE,
	LV_EXIT_APIC_ACCESS,
	LV_EXIT_TIMER,
	LV_EXIT_IO,
	LV_EXIT_FAULT,
	LV_EXIT_HLT,
	LV_EXIT_PAUSE,
	LV_EXIT_MONITOR,
	LV_EXIT_MWAIT,
	LV_EXIT_INVD,
	LV_EXIT_WBINVD,
	LV_EXIT_XSETBV,
	LV_EXIT_RDTSC,
	LV_EXIT_RDTSCP,
	LV_EXIT_RDPMC,
	LV_EXIT_HYPERCALL,
	LV_EXIT_TASK_SWITCH,
	LV_EXIT_SHUTDOWN,
	LV_EXIT_UNDEFINED,
	LV_EXIT_UNKNOWN,
	LV_NR_EXITS
};

/* Access bits of a nested page fault and of the mmu's fault entry. */
#define LV_ACCESS_READ BIT(0)
#define LV_ACCESS_WRITE BIT(1)
#define LV_ACCESS_FETCH BIT(2)
/* The fault hit a guest page-table access, not the final address. */
#define LV_ACCESS_WALK BIT(3)

/**
 * enum lv_event_type - kinds of events a guest can be given
 * @LV_EVENT_NONE: none
 * @LV_EVENT_EXCEPTION: exception
 * @LV_EVENT_NMI: NMI
 * @LV_EVENT_IRQ: external interrupt
 * @LV_EVENT_SOFT: INT n, INT3, INTO, which the guest executes again
 */
enum lv_event_type {
	LV_EVENT_NONE,
	LV_EVENT_EXCEPTION,
	LV_EVENT_NMI,
	LV_EVENT_IRQ,
	LV_EVENT_SOFT,
};

/**
 * struct lv_event - an event to inject, or that an exit interrupted
 * @type: enum lv_event_type
 * @vector: IDT vector
 * @has_error: @error is pushed
 * @error: exception error code
 */
struct lv_event {
	u8 type;
	u8 vector;
	bool has_error;
	u32 error;
};

/**
 * struct lv_exit - one exit, decoded
 * @reason: enum lv_exit_reason
 * @insn_len: length of the instruction that exited; 0 if the CPU does not
 *	tell, lv_skip_insn() then decodes it
 * @hw_code: exit code of the vendor, for traces and reports only
 * @hw_info: qualification of the vendor, for traces and reports only
 * @interrupted: the event whose delivery this exit cut short
 */
struct lv_exit {
	u32 reason;
	u8 insn_len;
	u64 hw_code;
	u64 hw_info[2];
	struct lv_event interrupted;
	union {
		/** @io: port access; string forms are decoded by common code */
		struct {
			u16 port;
			u8 size;
			bool in;
			bool string;
			bool rep;
		} io;
		/** @fault: @gpa is exact; @access holds LV_ACCESS bits */
		struct {
			gpa_t gpa;
			u32 access;
		} fault;
		/**
		 * @cr: @nr and general register @gpr (hardware encoding);
		 * @decoded is false if the CPU has no decode assists, then
		 * only @nr and @write are known. LMSW and CLTS come as
		 * writes that are not @decoded.
		 */
		struct {
			u8 nr;
			u8 gpr;
			bool write;
			bool decoded;
		} cr;
		/** @ex: @payload is CR2 for #PF, DR6 bits for #DB */
		struct {
			u8 vector;
			u32 error;
			u64 payload;
		} ex;
		/** @apic: @offset of the register and @val, or the @vector */
		struct {
			u16 offset;
			u8 vector;
			u32 val;
		} apic;
		/** @task: task switch, reported to user space */
		struct {
			u16 selector;
		} task;
	};
};

/**
 * enum lv_reg - registers that a backend may leave in its control block
 * @LV_R_RSP: stack pointer; its index in regs[]
 * @LV_R_RIP: instruction pointer
 * @LV_R_RFLAGS: flags
 * @LV_R_CR0: CR0, of which only bit TS may differ
 * @LV_R_CR2: CR2
 * @LV_R_CR3: CR3
 * @LV_R_PDPTE: the PDPTEs of PAE paging, where the CPU keeps them
 * @LV_NR_R: end of the list
 */
enum lv_reg {
	LV_R_RSP = 4, /* index in regs[] */
	LV_R_RIP = 16,
	LV_R_RFLAGS,
	LV_R_CR0, /* only bit TS may differ */
	LV_R_CR2,
	LV_R_CR3,
	LV_R_PDPTE,
	LV_NR_R
};

/**
 * enum lv_sreg - segment registers, in hardware encoding, then TR and LDTR
 * @LV_SREG_ES: ES
 * @LV_SREG_CS: CS
 * @LV_SREG_SS: SS
 * @LV_SREG_DS: DS
 * @LV_SREG_FS: FS
 * @LV_SREG_GS: GS
 * @LV_SREG_TR: TR
 * @LV_SREG_LDTR: LDTR
 * @LV_NR_SREGS: end of the list
 */
enum lv_sreg {
	LV_SREG_ES,
	LV_SREG_CS,
	LV_SREG_SS,
	LV_SREG_DS,
	LV_SREG_FS,
	LV_SREG_GS,
	LV_SREG_TR,
	LV_SREG_LDTR,
	LV_NR_SREGS
};

/* Of a code segment. */
#define LV_CODE_L BIT(0) /* 64-bit code, in long mode */
#define LV_CODE_D BIT(1) /* else: 32-bit code */

/**
 * struct lv_tdp_format - how this CPU's nested page tables encode an entry
 * @present: bits of every present leaf and table entry that grant reads
 * @write: grants writes
 * @exec: grants fetches if set (EPT); 0 if @nx is used
 * @nx: forbids fetches if set (NPT); 0 if @exec is used
 * @accessed: set by the CPU on access; 0 if the CPU has no such bit
 * @dirty: set by the CPU on write; 0 if the CPU has no such bit
 * @large: leaf at level 2 or 3
 * @memtype_wb: memory type bits of a leaf for ordinary memory
 * @memtype_uc: memory type bits of a leaf for device memory
 * @levels: levels of a table, 4 or 5
 * @max_level: largest leaf: 1 for 4 KiB, 2 for 2 MiB, 3 for 1 GiB
 */
struct lv_tdp_format {
	u64 present;
	u64 write;
	u64 exec;
	u64 nx;
	u64 accessed;
	u64 dirty;
	u64 large;
	u64 memtype_wb;
	u64 memtype_uc;
	u8 levels;
	u8 max_level;
};

/**
 * struct lv_backend - what a vendor backend provides
 *
 * "loaded" means between @load and @put on this CPU, preemption may be on but
 * a preempt notifier follows the thread. Everything that reads or writes
 * guest state needs the vCPU loaded; its mutex is held.
 *
 * @name: "svm" or "vmx"
 * @vcpu_size: size of the backend's struct, which starts with a struct lv_vcpu
 * @tdp: format of the nested page tables, valid after @probe
 * @has_next_rip: exits say how long their instruction was
 * @has_apic_page: the CPU may serve accesses to local APICs in xAPIC mode by
 *	itself if they end in vm->apic_page; valid after @probe
 * @probe: check the CPU and the firmware; -ENODEV if it is another vendor's,
 *	-EOPNOTSUPP or -EACCES with one line in the log that says what to do;
 *	process context, once
 * @exit: undo @probe
 * @cpu_enable: turn virtualization on for this CPU; interrupts off
 * @cpu_disable: turn it off; interrupts off, may run on a CPU that is not on
 * @vcpu_init: allocate the control block; the vCPU is zeroed
 * @vcpu_free: free it; not loaded
 * @vcpu_reset: put the control block into the state after INIT; segments, CRs
 *	and EFER are set by common code afterwards
 * @load: the vCPU's thread runs on this CPU now; preemption off
 * @put: it leaves this CPU; preemption off
 * @run: enter the guest and come back; interrupts off, FPU state of the guest
 *	loaded. Fills in the exit, and clears new_stay of the vCPU.
 * @cache_reg: fetch an enum lv_reg into the vCPU
 * @get_segment: read a segment register; every field of kvm_segment is set
 * @set_segment: write one
 * @code_flags: LV_CODE_* of CS
 * @cpl: current privilege level
 * @get_table: read the GDTR (0) or IDTR (1)
 * @set_table: write it
 * @set_cr0: the vCPU's cr0 changed to this value
 * @set_cr3: the vCPU's cr3 changed
 * @set_cr4: the vCPU's cr4 changed
 * @set_efer: the vCPU's efer changed
 * @set_root: use this nested page table from the next entry on
 * @set_tsc_offset: guest TSC = host TSC + @offset
 * @set_intercepts: the vCPU's guest_debug, exit settings or local APIC's mode
 *	changed: recompute intercepts and MSR permissions, decide on v->apicv, and
 *	do what @set_dr7 does
 * @lend_drs: from here on the guest has the CPU's debug registers and its accesses
 *	do not exit, or (false) they do again, and the vCPU's dr6 and dr7 are what
 *	the guest made of them; interrupts off
 * @set_dr7: the vCPU's dr7, or the one of its debugger, changed
 * @get_msr: read an MSR that the CPU keeps for the guest (lv_hw_msrs in msr.c)
 * @set_msr: write one; the value was checked
 * @inject: deliver this event at the next entry
 * @irq_allowed: can the guest take an interrupt now (IF, shadow)?
 * @nmi_allowed: can it take an NMI now?
 * @irq_window: exit (or not) as soon as it can take an interrupt
 * @nmi_window: exit as soon as it can take an NMI
 * @get_nmi_mask: is an NMI being handled?
 * @set_nmi_mask: set that
 * @get_shadow: KVM_X86_SHADOW_INT_* bits
 * @set_shadow: set them; 0 whenever an instruction is skipped
 * @set_tpr: show the guest this task priority class (CR8), and exit when it
 *	writes a value below @threshold (0: never)
 * @flush_tlb: before its next entry drop what this vCPU has cached of the guest's
 *	page tables, and with @nested of the nested ones, too
 * @set_timer: exit when the host's TSC reaches this; 0: never. NULL if the CPU
 *	has no such timer
 * @serve_host: call the handler of the host's interrupt that the last exit took
 *	from the host's local APIC, if it took one; interrupts off. NULL if exits
 *	leave them pending
 * @dump: print the control block to the log, rate-limited by the caller
 */
struct lv_backend {
	const char *name;
	size_t vcpu_size;
	struct lv_tdp_format tdp;
	bool has_next_rip;
	bool has_apic_page;

	int (*probe)(void);
	void (*exit)(void);
	int (*cpu_enable)(void);
	void (*cpu_disable)(void);

	int (*vcpu_init)(struct lv_vcpu *v);
	void (*vcpu_free)(struct lv_vcpu *v);
	void (*vcpu_reset)(struct lv_vcpu *v);
	void (*load)(struct lv_vcpu *v, int cpu);
	void (*put)(struct lv_vcpu *v);
	void (*run)(struct lv_vcpu *v, struct lv_exit *exit);

	void (*cache_reg)(struct lv_vcpu *v, enum lv_reg reg);
	void (*get_segment)(struct lv_vcpu *v, enum lv_sreg seg,
			    struct kvm_segment *out);
	void (*set_segment)(struct lv_vcpu *v, enum lv_sreg seg,
			    const struct kvm_segment *in);
	u8 (*code_flags)(struct lv_vcpu *v);
	u8 (*cpl)(struct lv_vcpu *v);
	void (*get_table)(struct lv_vcpu *v, bool idt, struct kvm_dtable *out);
	void (*set_table)(struct lv_vcpu *v, bool idt,
			  const struct kvm_dtable *in);
	void (*set_cr0)(struct lv_vcpu *v, u64 cr0);
	void (*set_cr3)(struct lv_vcpu *v, u64 cr3);
	void (*set_cr4)(struct lv_vcpu *v, u64 cr4);
	void (*set_efer)(struct lv_vcpu *v, u64 efer);
	void (*set_root)(struct lv_vcpu *v, hpa_t root);
	void (*set_tsc_offset)(struct lv_vcpu *v, u64 offset);
	void (*set_intercepts)(struct lv_vcpu *v);
	void (*set_dr7)(struct lv_vcpu *v);
	void (*lend_drs)(struct lv_vcpu *v, bool lend);
	u64 (*get_msr)(struct lv_vcpu *v, u32 msr);
	void (*set_msr)(struct lv_vcpu *v, u32 msr, u64 val);

	void (*inject)(struct lv_vcpu *v, const struct lv_event *event);
	bool (*irq_allowed)(struct lv_vcpu *v);
	bool (*nmi_allowed)(struct lv_vcpu *v);
	void (*irq_window)(struct lv_vcpu *v, bool on);
	void (*nmi_window)(struct lv_vcpu *v);
	bool (*get_nmi_mask)(struct lv_vcpu *v);
	void (*set_nmi_mask)(struct lv_vcpu *v, bool masked);
	u8 (*get_shadow)(struct lv_vcpu *v);
	void (*set_shadow)(struct lv_vcpu *v, u8 shadow);
	void (*set_tpr)(struct lv_vcpu *v, u8 cr8, u8 threshold);
	void (*flush_tlb)(struct lv_vcpu *v, bool nested);
	void (*set_timer)(struct lv_vcpu *v, u64 host_tsc);
	void (*serve_host)(struct lv_vcpu *v);
	void (*dump)(struct lv_vcpu *v);
};

extern struct lv_backend svm_backend;
extern struct lv_backend vmx_backend;

/*
 * Operations on the exit path are static calls: patched to direct calls when
 * the backend is chosen, because an indirect call costs a retpoline.
 */
#define LV_HOT_OPS(X)  \
	X(load)        \
	X(put)         \
	X(run)         \
	X(cache_reg)   \
	X(get_segment) \
	X(code_flags)  \
	X(cpl)         \
	X(inject)      \
	X(irq_allowed) \
	X(nmi_allowed) \
	X(irq_window)  \
	X(get_shadow)  \
	X(set_shadow)  \
	X(set_tpr)     \
	X(flush_tlb)

#endif /* LABVISOR_BACKEND_H */
