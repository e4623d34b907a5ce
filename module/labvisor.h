/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The common core: VMs, vCPUs, and what each file offers to the others.
 *
 * How a field is protected stands behind it:
 *   once   set before the object is published, then constant
 *   vm     vm->lock
 *   own    the vCPU's mutex, that is: the thread that runs the vCPU
 *   atomic atomic operations, or READ_ONCE() and WRITE_ONCE()
 * docs/locking.md gives the order of the locks.
 */
#ifndef LABVISOR_H
#define LABVISOR_H

#include <linux/hrtimer.h>
#include <linux/irq_work.h>
#include <linux/jump_label.h>
#include <linux/kvm.h>
#include <linux/mm.h>
#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/preempt.h>
#include <linux/rcuwait.h>
#include <linux/refcount.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/srcu.h>
#include <linux/static_call.h>
#include <linux/uaccess.h>
#include <asm/trapnr.h>
#include <uapi/asm/debugreg.h>

#include "backend.h"
#include "emulate/emulate.h"
#include "irq/irq.h"
#include "mmu/mmu.h"
#include "sched/sched.h"

#define LV_MAX_VCPUS 255
#define LV_MAX_CPUID 128
#define LV_CPUID_SLOTS 48
#define LV_NR_USER_REGIONS 512

/* What KVM_SET_GUEST_DEBUG can leave on. */
#define LV_GUESTDBG                                        \
	(KVM_GUESTDBG_ENABLE | KVM_GUESTDBG_SINGLESTEP |   \
	 KVM_GUESTDBG_USE_SW_BP | KVM_GUESTDBG_USE_HW_BP | \
	 KVM_GUESTDBG_BLOCKIRQ)
#define LV_GUESTDBG_INJECT (KVM_GUESTDBG_INJECT_DB | KVM_GUESTDBG_INJECT_BP)

#define LV_DR6_BD BIT(13)
#define LV_DR7_ENABLED GENMASK(7, 0)
#define LV_DR7_GD BIT(13)
#define LV_DR7_RESET BIT(10)

/*
 * enum lv_outcome - what the run loop does after an exit was handled
 *
 * A handler may also return a negative errno, which KVM_RUN then returns.
 */
enum lv_outcome {
	LV_RESUME, /* enter the guest again */
	/* handle it again with interrupts on; nothing was changed yet */
	LV_SLEEPABLE,
	LV_BLOCK, /* the vCPU halted: wait until it is runnable */
	LV_TO_USER, /* vcpu->run is filled in, return 0 to user space */
};

/* enum lv_request - what others ask of a vCPU; bits of vcpu->requests */
enum lv_request {
	LV_REQ_EVENT, /* look at pending events again before the next entry */
	LV_REQ_TLB_FLUSH, /* drop cached translations */
	LV_REQ_ROOT, /* the nested page table's root changed */
	LV_REQ_APIC, /* INIT or SIPI arrived */
	LV_REQ_CLOCK, /* write the kvmclock page */
	LV_REQ_STEAL, /* write the steal-time page */
	LV_REQ_PV_EOI, /* find out if the guest ended its interrupt */
	LV_REQ_EOI_EXIT, /* tell user space about an EOI (split irqchip) */
	LV_REQ_TPR, /* tell user space about an access to the TPR */
	LV_REQ_STEP, /* user space steps the guest, and a step is over */
	LV_REQ_SHUTDOWN, /* triple fault */
	LV_REQ_INTERCEPTS, /* what the VM's guests may do changed */
	LV_REQ_SCHED, /* the vCPU may have to give its CPU to another */
};

/* Requests that the innermost loop serves with interrupts off. */
#define LV_ATOMIC_REQUESTS \
	(BIT(LV_REQ_EVENT) | BIT(LV_REQ_TLB_FLUSH) | BIT(LV_REQ_ROOT))

enum lv_vcpu_mode {
	LV_OUTSIDE_GUEST,
	LV_IN_GUEST
};

/* struct lv_exception - the exception on its way into the guest */
struct lv_exception {
	bool pending; /* raised, side effects (CR2, DR6) not yet applied */
	bool injected; /* handed to the hardware, or cut short by an exit */
	bool has_error;
	bool has_payload;
	u8 vector;
	u32 error;
	u64 payload;
};

/* struct lv_shared_page - a guest page that the host writes */
struct lv_shared_page {
	u64 msr; /* the MSR that enabled it, 0 if it is off */
	u64 shown; /* the MSR as it was written */
	gpa_t gpa; /* where it is */
	u32 version; /* of kvmclock and steal time, odd while writing */
	bool armed; /* the guest may end an interrupt here; it was stopped */
};

#define LV_WAY_LEVELS 5

/* struct lv_way - the guest's page-table entries that lead somewhere */
struct lv_way {
	unsigned int nr;
	struct lv_way_entry {
		u64 __user *at;
		u64 pte;
	} entry[LV_WAY_LEVELS];
};

#define LV_NR_CODE 4

/* struct lv_code - an instruction that was decoded, and how to know it again */
struct lv_code {
	u64 rip, cr3, cr4, slots_generation;
	struct lv_way way; /* empty: there is none */
	u64 __user *at; /* its bytes, as they were: */
	u64 bytes[2];
	struct lv_insn insn;
};

struct lv_vcpu_stat {
	u64 exits, reason[LV_NR_EXITS], user_exits;
	u64 irq_injections, nmi_injections, exceptions, halts, wakeups;
	u64 faults, mmio, pio, emulations, tlb_flushes, guest_steal_ns;
};

#define LV_NR_VAR_MTRRS 8
#define LV_NR_FIXED_MTRRS 11

/* struct lv_msrs - MSRs of a vCPU that only msr.c looks at */
struct lv_msrs {
	u64 apic_base; /* without in-kernel local APIC */
	u64 tsc_adjust;
	u64 mcg_status;
	u64 mtrr_deftype;
	u64 mtrr_fixed[LV_NR_FIXED_MTRRS];
	u64 mtrr_var[2 * LV_NR_VAR_MTRRS];
	u64 ucode_rev, arch_capabilities, hwcr, de_cfg;
	u64 platform_info, power_ctl;
};

#define LV_MAX_MCE_BANKS 32

/* struct lv_mce - machine-check registers of a vCPU: mce.c */
struct lv_mce {
	u64 cap, ctl; /* MCG_CAP and MCG_CTL */
	u64 banks[LV_MAX_MCE_BANKS][4]; /* CTL, STATUS, ADDR, MISC */
};

/** enum lv_io_state - what the next KVM_RUN has to complete */
enum lv_io_state {
	LV_IO_IDLE,
	LV_IO_PORT_IN,
	LV_IO_MOV,
	LV_IO_RDMSR,
	LV_IO_WRMSR,
	LV_IO_HYPERCALL,
	/* To complete these may take guest memory. */
	LV_IO_PORT_INS,
	LV_IO_MMIO_READ,
	LV_IO_MMIO_WRITE,
};

/* struct lv_vcpu - one virtual CPU; a backend's struct starts with it */
struct lv_vcpu {
	u64 regs[16]; /* own: in hardware encoding; RSP only if available */
	u64 rip, rflags; /* own */
	u32 reg_avail; /* own: bit per enum lv_reg: the value here is current */
	u32 reg_dirty; /* own: the backend must write it back */
	unsigned long requests; /* atomic: bits of enum lv_request */
	int mode; /* atomic: enum lv_vcpu_mode */
	int cpu; /* atomic; -1 while not loaded */
	bool atomic; /* own: interrupts are off; handlers must not sleep */
	bool fpu_loaded; /* own: the guest's FPU state is in the registers */
	bool new_stay; /* own: outside of the innermost loop since the last entry */
	u8 injecting; /* own: enum lv_event_type given to the hardware */

	struct lv_vm *vm; /* once */
	struct kvm_run *run; /* once; page 0 of the mmap */
	struct lv_lapic *apic; /* once; NULL without in-kernel local APIC */
	/* own: in the guest the CPU has @apic, and delivers its vectors */
	bool apicv;

	u64 cr0, cr2, cr3, cr4, efer; /* own; CR0.TS may be stale: lv_cr0() */
	u8 cr8; /* own: as of the last exit */
	u8 shown_cr8; /* own: as last given to the local APIC */
	u64 pdpte[4]; /* own: of PAE paging, as loaded with CR3 */
	u64 cr4_allowed; /* own: CR4 bits that CPUID offers */
	u64 xcr0, xcr0_allowed; /* own */
	u64 tsc_offset, tsc_lost; /* own: see lv_clock_load() */
	u64 pat, misc_enable, spec_ctrl, tsc_aux; /* own */
	u64 dr[4], dr6, dr7; /* own; stale while lent */
	bool drs_lent; /* own: the guest has them in the CPU: debugreg.c */
	u32 guest_debug; /* own: KVM_GUESTDBG_* */
	u64 debug_dr[4], debug_dr7; /* own: user space's breakpoints */

	struct lv_exception ex; /* own */
	struct lv_event irq; /* own: interrupt being injected */
	int user_irq; /* own: vector from KVM_INTERRUPT, -1 if none */
	bool nmi_injected; /* own */
	u8 nmi_pending; /* own */
	unsigned long nmi_queued; /* atomic: NMIs from other CPUs, bit 0 and 1 */
	int mp_state; /* own; KVM_MP_STATE_* */
	unsigned long apic_events; /* atomic: bit per enum lv_lapic_event */
	u8 sipi_vector; /* atomic */
	u64 timer_tsc; /* own: the host's when the timer expires; 0: an hrtimer has it */
	u64 timer_due; /* atomic: when the timer that expired early would have */
	u8 eoi_vector; /* own: for KVM_EXIT_IOAPIC_EOI */
	bool report_tpr; /* own: KVM_TPR_ACCESS_REPORTING */
	bool tpr_written; /* own: for KVM_EXIT_TPR_ACCESS */
	u64 tpr_rip; /* own: the same */

	struct lv_exit exit; /* own: the last one */
	struct lv_io *io; /* once; port and memory access in progress, io.c */
	enum lv_io_state io_state; /* own: what user space was asked for */
	struct lv_msrs msrs; /* own */
	struct xregs_state *xstate; /* once; in XSAVE standard format */
	struct lv_mmu_cache mmu_cache; /* own */
	struct {
		u64 slots_generation;
		u64 page;
		hva_t hva;
	} insn; /* own: the page of the last instruction that was fetched */
	struct lv_code code[LV_NR_CODE][2]; /* own: see lv_decode_at_rip() */

	u32 nr_cpuid; /* own */
	struct kvm_cpuid_entry2 *cpuid; /* own */
	u8 cpuid_first[4 * LV_CPUID_SLOTS + 1]; /* own: see lv_cpuid_find() */
	u8 phys_bits; /* own: width of a guest physical address */
	u32 caps[NCAPINTS]; /* own: feature words that CPUID shows */
	bool pv_enforced; /* own: KVM_CAP_ENFORCE_PV_FEATURE_CPUID */

	struct lv_shared_page clock, steal, pv_eoi; /* own */
	bool pv_unhalted; /* atomic: KVM_HC_KICK_CPU */
	u64 steal_base; /* own */

	struct mutex mutex; /* the vCPU's ioctls, one at a time */
	struct preempt_notifier notifier;
	struct rcuwait wait;
	struct pid __rcu *pid; /* atomic (RCU): last thread that ran it */
	sigset_t sigset; /* own: KVM_SET_SIGNAL_MASK */
	sigset_t user_sigset; /* own: the thread's, meanwhile */
	bool sigset_active; /* own */
	int id; /* once: APIC ID */
	struct lv_mce mce; /* own */
	struct lv_sched_vcpu sched; /* its pool's lock: sched/ */
	struct irq_work
		out_work; /* the thread lost its CPU while it had the pool's */
	bool asleep; /* own: and that because it sleeps */
	struct mutex pin_lock; /* protects the next three; innermost mutex */
	struct task_struct *pinned; /* bound to a CPU by us, or NULL */
	int pinned_to; /* to that one */
	struct cpumask *affinity; /* what it had before; NULL if never needed */
	u64 exits_before; /* own: exits, when it came to its CPU of the pool */
	struct lv_vcpu_stat stat; /* own; read without lock */
};

enum lv_irqchip_mode {
	LV_IRQCHIP_NONE,
	LV_IRQCHIP_SPLIT,
	LV_IRQCHIP_KERNEL
};

/* struct lv_clock - time of a VM; only pv.c looks at it */
struct lv_clock {
	raw_spinlock_t lock; /* protects all below; taken with interrupts off */
	u64 tsc; /* host TSC at which */
	u64 raw; /* the kernel's monotonic raw clock was this */
	u64 ns; /* and the guest's kvmclock this */
	u64 tsc_offset; /* TSC offset of the vCPU that user space set last */
	u64 tsc_lost; /* ticks by which the host's TSC fell back */
	u32 mul; /* nanoseconds = (TSC ticks << @shift) * @mul >> 32 */
	s8 shift; /* right if negative */
};

/* struct lv_vm - one virtual machine */
struct lv_vm {
	struct mm_struct *mm; /* once; grabbed, not pinned */
	refcount_t users; /* file descriptors that keep it alive */
	struct mutex lock; /* VM-wide ioctls; taken before a vCPU's mutex */

	struct lv_vcpu *vcpus[LV_MAX_VCPUS]; /* vm; published by nr_vcpus */
	int nr_vcpus; /* vm, read with smp_load_acquire() */
	u32 boot_cpu_id; /* vm */

	struct lv_memory mem; /* slots: mmu/mmu.h */
	struct lv_mmu mmu; /* nested page tables: mmu/mmu.h */

	enum lv_irqchip_mode irqchip_mode; /* vm, read with READ_ONCE() */
	struct lv_irqchip *irqchip; /* vm, then constant: irq/irqchip.c */
	/* like @irqchip: see has_apic_page of the backend; or NULL */
	struct page *apic_page;
	bool apic_page_on; /* guests find it; never again once false (mmu.lock) */
	struct lv_iobus *iobus; /* once: irq/iobus.c */
	struct page *coalesced; /* once: struct kvm_coalesced_mmio_ring */

	struct lv_clock clock; /* its lock: pv.c */
	u64 tsc_khz; /* vm: default of new vCPUs */
	bool disable_hlt_exits, disable_pause_exits, disable_mwait_exits;
	bool exception_payload; /* vm: KVM_CAP_EXCEPTION_PAYLOAD */
	bool triple_fault_event; /* vm: KVM_CAP_X86_TRIPLE_FAULT_EVENT */
	bool hypercall_exits; /* vm: KVM_CAP_EXIT_HYPERCALL */
	bool manual_dirty_log; /* vm: KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 */
	bool hide_platform_info; /* vm: not KVM_CAP_MSR_PLATFORM_INFO */
	u8 user_msrs; /* vm: KVM_CAP_X86_USER_SPACE_MSR */
	struct lv_msr_filter __rcu *msr_filter; /* vm (RCU), msr_filter.c */
	u64 quirks_off; /* vm: KVM_CAP_DISABLE_QUIRKS2 */
	u32 max_vcpu_id; /* vm: KVM_CAP_MAX_VCPU_ID, or 0 */
	unsigned long nr_mmu_pages; /* vm: KVM_SET_NR_MMU_PAGES */
	struct dentry *debugfs;

	struct lv_sched_vm sched; /* its pool's lock, sched/ */
	struct list_head sched_list; /* lv_sched_mutex */
	kuid_t owner; /* once: who created it */
	struct pid *creator; /* once: the process */
	char comm[TASK_COMM_LEN]; /* once: its name */
};

#define lv_for_each_vcpu(i, v, vm)                               \
	for ((i) = 0; (i) < smp_load_acquire(&(vm)->nr_vcpus) && \
		      ((v) = (vm)->vcpus[i], true);              \
	     (i)++)

/* ---- the backend in use ---- */

extern struct lv_backend *lv_backend; /* once, at module load */

#define LV_DECLARE_OP(op) \
	DECLARE_STATIC_CALL(lv_op_##op, *(((struct lv_backend *)0)->op));
LV_HOT_OPS(LV_DECLARE_OP)
#define lv_call(op) static_call(lv_op_##op)

/* ---- registers ---- */

static inline void lv_cache(struct lv_vcpu *v, enum lv_reg reg)
{
	if (unlikely(!(v->reg_avail & BIT(reg))))
		lv_call(cache_reg)(v, reg);
}

static inline void lv_mark_dirty(struct lv_vcpu *v, enum lv_reg reg)
{
	v->reg_avail |= BIT(reg);
	v->reg_dirty |= BIT(reg);
}

#define LV_GET_REG(name, reg)                          \
	static inline u64 lv_##name(struct lv_vcpu *v) \
	{                                              \
		lv_cache(v, reg);                      \
		return v->name;                        \
	}
#define LV_SET_REG(name, reg)                                         \
	static inline void lv_set_##name(struct lv_vcpu *v, u64 name) \
	{                                                             \
		v->name = name;                                       \
		lv_mark_dirty(v, reg);                                \
	}
LV_GET_REG(rip, LV_R_RIP)
LV_SET_REG(rip, LV_R_RIP)
LV_GET_REG(rflags, LV_R_RFLAGS)
LV_SET_REG(rflags, LV_R_RFLAGS)
LV_GET_REG(cr2, LV_R_CR2)
LV_SET_REG(cr2, LV_R_CR2)
LV_GET_REG(cr0, LV_R_CR0) /* lv_set_cr0() and lv_set_cr3(): regs.c */
LV_GET_REG(cr3, LV_R_CR3)

static inline u64 lv_reg(struct lv_vcpu *v, unsigned int nr)
{
	if (nr == LV_R_RSP)
		lv_cache(v, LV_R_RSP);
	return v->regs[nr];
}

static inline void lv_set_reg(struct lv_vcpu *v, unsigned int nr, u64 val)
{
	v->regs[nr] = val;
	if (nr == LV_R_RSP)
		lv_mark_dirty(v, LV_R_RSP);
}

/* CR8 and IA32_APIC_BASE, wherever the local APIC is */
static inline u8 lv_cr8(const struct lv_vcpu *v)
{
	return v->apic ? lv_lapic_tpr(v->apic) >> 4 : v->cr8;
}

static inline u64 lv_apic_base(const struct lv_vcpu *v)
{
	return v->apic ? v->apic->base : v->msrs.apic_base;
}

/* The guest's DR7, or that of a debugger that uses breakpoints. */
static inline u64 lv_dr7_in_use(const struct lv_vcpu *v)
{
	return v->guest_debug & KVM_GUESTDBG_USE_HW_BP ? v->debug_dr7 : v->dr7;
}

/* RDX:RAX, the pair that MSR and XCR instructions use */
static inline u64 lv_edx_eax(struct lv_vcpu *v)
{
	return (u32)v->regs[0] | v->regs[2] << 32;
}

static inline void lv_set_edx_eax(struct lv_vcpu *v, u64 val)
{
	v->regs[0] = (u32)val;
	v->regs[2] = val >> 32;
}

/* ---- requests and kicks (vcpu.c) ---- */

static inline void lv_request(struct lv_vcpu *v, enum lv_request req)
{
	/* Pairs with the barrier after mode = IN_GUEST in the run loop. */
	set_bit(req, &v->requests);
}

/* The local APIC's task priority may have changed: so does the guest's CR8. */
static inline void lv_show_tpr(struct lv_vcpu *v)
{
	if (lv_lapic_tpr(v->apic) >> 4 != v->shown_cr8)
		lv_request(v, LV_REQ_EVENT);
}

void lv_poke(struct lv_vcpu *v);
void lv_kick_for(struct lv_vcpu *v, enum lv_wake why);

/** lv_kick - get the vCPU to look at its requests, run if it is halted */
static inline void lv_kick(struct lv_vcpu *v)
{
	lv_kick_for(v, LV_WAKE_OTHER);
}

void lv_request_all(struct lv_vm *vm, enum lv_request req, bool wait);
struct lv_vcpu *lv_vcpu_by_id(struct lv_vm *vm, u32 id);
void lv_vcpu_load(struct lv_vcpu *v);
void lv_vcpu_put(struct lv_vcpu *v);
void lv_vcpu_reset(struct lv_vcpu *v, bool init);
void lv_serve_init(struct lv_vcpu *v);
bool lv_takes_user_irq(struct lv_vcpu *v);
long lv_vcpu_run(struct lv_vcpu *v);
int lv_vcpus_init(void);
void lv_vcpus_exit(void);
int lv_vcpu_create(struct lv_vm *vm, unsigned long id);
void lv_vcpu_destroy(struct lv_vcpu *v);

int lv_guest_mode_work(void); /* work.c */

/* ---- vCPU scheduling (sched/gate.c, sched/kpool.c) ---- */

DECLARE_STATIC_KEY_FALSE(lv_sched_on); /* there are pools beside the default */

int lv_sched_init(void);
void lv_sched_exit(void);
void lv_sched_vm_add(struct lv_vm *vm);
void lv_sched_vm_remove(struct lv_vm *vm);
void lv_sched_vcpu_init(struct lv_vcpu *v);
int lv_sched_vcpu_add(struct lv_vcpu *v);
void lv_sched_vcpu_remove(struct lv_vcpu *v);
void lv_sched_vcpu_free(struct lv_vcpu *v);

bool lv_gate_enter(struct lv_vcpu *v);
void lv_gate_block(struct lv_vcpu *v);
void lv_gate_give_back(struct lv_vcpu *v);
void lv_gate_to_user(struct lv_vcpu *v);
bool lv_gate_kicked(struct lv_vcpu *v, enum lv_wake why);
bool lv_gate_yield(struct lv_vcpu *v, struct lv_vcpu *to);
void lv_gate_thread_out(struct lv_vcpu *v);
void lv_gate_thread_in(struct lv_vcpu *v);

#define lv_sched_active() static_branch_unlikely(&lv_sched_on)

/* Before each entry: may the vCPU run? If not, it waits, as long as it may. */
static inline bool lv_sched_pass(struct lv_vcpu *v)
{
	return !lv_sched_active() || likely(READ_ONCE(v->sched.pass)) ||
	       lv_gate_enter(v);
}

/* Somebody else shall run, @to or anybody. False: Linux decides. */
static inline bool lv_sched_yield(struct lv_vcpu *v, struct lv_vcpu *to)
{
	return lv_sched_active() && lv_gate_yield(v, to);
}

/* ---- VMs (vm.c, main.c) ---- */

int lv_vm_create(unsigned long type);
int lv_cpu_enable(void);
void lv_cpu_disable(void *unused);

/* Virtualization is on (own CPU, interrupts off) */
DECLARE_PER_CPU(bool, lv_cpu_on);

extern struct dentry *lv_debugfs;
void lv_vm_get(struct lv_vm *vm);
void lv_vm_put(struct lv_vm *vm);
int lv_hardware_get(void);
void lv_hardware_put(void);

void lv_stat_add(struct lv_vm *vm); /* stat.c */
void lv_stat_remove(struct lv_vm *vm);
const char *lv_exit_name(u32 reason);

long lv_sched_ioctl(unsigned int cmd, void __user *user); /* sched/pool.c */

/* ---- exits (exit.c) ---- */

int lv_handle_exit(struct lv_vcpu *v, struct lv_exit *exit);
int lv_skip_insn(struct lv_vcpu *v, const struct lv_exit *exit);
void lv_stepped(struct lv_vcpu *v);
int lv_serve_step(struct lv_vcpu *v);
int lv_internal_error(struct lv_vcpu *v, u32 suberror,
		      const struct lv_exit *exit);
int lv_exit_to_user(struct lv_vcpu *v, u32 kvm_exit_reason);

/* ---- events (event.c) ---- */

void lv_queue_exception(struct lv_vcpu *v, u8 vector);
void lv_queue_exception_error(struct lv_vcpu *v, u8 vector, u32 error);
int lv_inject_fault(struct lv_vcpu *v, const struct lv_emul_fault *fault);
void lv_queue_debug(struct lv_vcpu *v, u64 dr6_bits);
void lv_inject_events(struct lv_vcpu *v);
void lv_settle_events(struct lv_vcpu *v, const struct lv_exit *exit);
void lv_post_nmi(struct lv_vcpu *v);
bool lv_irq_pending(struct lv_vcpu *v);

/* Exceptions of INT3 and INTO, which push the address behind themselves. */
static inline bool lv_is_soft(u8 vector)
{
	return vector == X86_TRAP_BP || vector == X86_TRAP_OF;
}

/* Was an interrupted event injected? Else the guest executes it again. */
static inline bool lv_was_injected(const struct lv_vcpu *v,
				   const struct lv_event *event)
{
	return v->injecting == LV_EVENT_EXCEPTION &&
	       lv_is_soft(event->vector) && event->type == LV_EVENT_SOFT &&
	       event->vector == v->ex.vector;
}

static inline int lv_inject_gp(struct lv_vcpu *v)
{
	lv_queue_exception_error(v, 13, 0);
	return LV_RESUME;
}

static inline int lv_inject_ud(struct lv_vcpu *v)
{
	lv_queue_exception(v, 6);
	return LV_RESUME;
}

/* ---- guest memory by physical address (mmu/guest_mem.c) ---- */

/*
 * The caller holds vm->mem.srcu and its mm is the VM's. With v->atomic the
 * copies do not fault pages in but fail with -EAGAIN: then return
 * LV_SLEEPABLE. -EFAULT: no memory slot, or the mapping is gone.
 */
int lv_gpa_read(struct lv_vm *vm, gpa_t gpa, void *buf, unsigned int len,
		bool atomic);
int lv_gpa_write(struct lv_vm *vm, gpa_t gpa, const void *buf, unsigned int len,
		 bool atomic);

/* ---- guest linear addresses (gva.c) ---- */

int lv_gva_walk(struct lv_vcpu *v, gva_t gva, u32 access, gpa_t *gpa,
		struct lv_emul_fault *fault, struct lv_way *way);

static inline int lv_gva_to_gpa(struct lv_vcpu *v, gva_t gva, u32 access,
				gpa_t *gpa, struct lv_emul_fault *fault)
{
	return lv_gva_walk(v, gva, access, gpa, fault, NULL);
}

/* ---- the instruction at RIP (fetch.c) ---- */

enum lv_cpu_mode lv_cpu_mode(struct lv_vcpu *v);
bool lv_is_64bit(struct lv_vcpu *v);
gva_t lv_linear_rip(struct lv_vcpu *v);
int lv_fetch_insn(struct lv_vcpu *v, u8 *buf, unsigned int max);
bool lv_insn_is(struct lv_vcpu *v, u32 bytes, unsigned int len);
int lv_decode_at_rip(struct lv_vcpu *v, struct lv_insn *insn);

/* ---- ports, MMIO, emulation (io.c) ---- */

/* Pages of the vCPU's mmap: kvm_run, port data, coalesced ring. */
#define LV_VCPU_PAGES 3
#define LV_VCPU_PIO_PAGE 1
#define LV_VCPU_COALESCED_PAGE 2
struct page *lv_vcpu_page(struct lv_vcpu *v, pgoff_t offset);

int lv_io_init(struct lv_vcpu *v);
void lv_io_free(struct lv_vcpu *v);
int lv_handle_pio(struct lv_vcpu *v, const struct lv_exit *exit);
int lv_handle_mmio(struct lv_vcpu *v, struct lv_exit *exit);
bool lv_load_operand(struct lv_vcpu *v, const struct lv_insn *insn, u16 *val,
		     int *out);
int lv_store_operand(struct lv_vcpu *v, const struct lv_insn *insn, u16 val);
int lv_ask_hypercall(struct lv_vcpu *v);
int lv_complete_io(struct lv_vcpu *v);
int lv_msr_failed(struct lv_vcpu *v, bool write, int err);
u64 lv_io_rip(const struct lv_vcpu *v);

/* ---- CPUID and MSRs (cpuid.c, msr.c) ---- */

void lv_cpuid_probe(void);
void lv_cpuid_changed(struct lv_vcpu *v);
void lv_cpuid_refresh(struct lv_vcpu *v);
bool lv_feature_offered(unsigned int x86_feature);
bool lv_host_is_amd(void);
int lv_handle_cpuid(struct lv_vcpu *v, const struct lv_exit *exit);
bool lv_guest_has(struct lv_vcpu *v, unsigned int x86_feature);
extern const u32 lv_hw_msrs[]; /* guests may access them directly */
extern const unsigned int lv_nr_hw_msrs;
int lv_set_apic_base(struct lv_vcpu *v, u64 base, bool host);
int lv_handle_rdmsr(struct lv_vcpu *v, const struct lv_exit *exit);
int lv_handle_wrmsr(struct lv_vcpu *v, const struct lv_exit *exit);
void lv_msrs_reset(struct lv_vcpu *v, bool init);
bool lv_pv_has(struct lv_vcpu *v, unsigned int feature); /* KVM_FEATURE_* */
bool lv_shows_mwait(struct lv_vcpu *v);

DECLARE_STATIC_KEY_FALSE(lv_msr_filters); /* msr_filter.c: any VM has one */
bool lv_msr_allowed(struct lv_vcpu *v, u32 msr, bool write);
void lv_msr_filter_free(struct lv_vm *vm);

/* ---- control registers and API state (regs.c, state.c) ---- */

/* They return 0, -EINVAL: #GP, or LV_SLEEPABLE; on a failure nothing changed. */
int lv_set_cr0(struct lv_vcpu *v, u64 cr0);
int lv_set_cr3(struct lv_vcpu *v, u64 cr3);
int lv_set_cr4(struct lv_vcpu *v, u64 cr4);
int lv_set_cr8(struct lv_vcpu *v, u64 cr8);
void lv_reset_crs(struct lv_vcpu *v, bool init);
int lv_check_crs(struct lv_vcpu *v, u64 cr0, u64 cr3, u64 cr4, u64 efer,
		 const struct kvm_segment *cs);
void lv_store_crs(struct lv_vcpu *v, u64 cr0, u64 cr3, u64 cr4, u64 efer);
bool lv_is_pae(u64 cr0, u64 cr4, u64 efer);
int lv_load_pdptes(struct lv_vcpu *v, u64 cr3);
bool lv_canonical(u64 addr);
int lv_set_efer(struct lv_vcpu *v, u64 efer, bool host);
int lv_set_xcr0(struct lv_vcpu *v, u64 xcr0);
void lv_sync_regs_store(struct lv_vcpu *v);
int lv_sync_regs_load(struct lv_vcpu *v);

/* ---- debug registers (debugreg.c) ---- */

void lv_load_debugregs(struct lv_vcpu *v);
void lv_lend_debugregs(struct lv_vcpu *v);
void lv_take_debugregs(struct lv_vcpu *v);
int lv_set_dr(struct lv_vcpu *v, unsigned int nr, u64 val);
u64 lv_get_dr(struct lv_vcpu *v, unsigned int nr);

/* ---- machine-check banks (mce.c) ---- */

int lv_mce_get_msr(struct lv_vcpu *v, u32 msr, u64 *val, bool host);
int lv_mce_set_msr(struct lv_vcpu *v, u32 msr, u64 val, bool host);

/* ---- guest FPU state (fpu.c) ---- */

extern u64 lv_xfeatures; /* once: XCR0 bits that guests may have */
void lv_fpu_probe(void);
u64 lv_xcr0(struct lv_vcpu *v);
u32 lv_xsave_size(u64 xcr0, bool compacted);
int lv_fpu_init(struct lv_vcpu *v);
void lv_fpu_reset(struct lv_vcpu *v);
void lv_fpu_load(struct lv_vcpu *v); /* preemption off until lv_fpu_put() */
void lv_fpu_put(struct lv_vcpu *v);

/* ---- clocks and paravirtual interfaces (pv.c) ---- */

#define LV_CLOCK_FLAGS \
	(KVM_CLOCK_TSC_STABLE | KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC)
void lv_clock_init(struct lv_vm *vm);
bool lv_clock_stable(void);
void lv_clock_load(struct lv_vcpu *v); /* the vCPU came to this CPU */
void lv_reset_tsc(struct lv_vcpu *v);
void lv_set_tsc_offset(struct lv_vcpu *v, u64 offset);
void lv_write_tsc(struct lv_vcpu *v, u64 tsc);
u64 lv_guest_tsc(struct lv_vcpu *v, u64 host_tsc);
void lv_serve_clock(struct lv_vcpu *v);
void lv_steal_run(struct lv_vcpu *v);
void lv_serve_steal(struct lv_vcpu *v);
int lv_pv_set_msr(struct lv_vcpu *v, u32 msr, u64 val, bool host);
int lv_pv_get_msr(struct lv_vcpu *v, u32 msr, u64 *val);
void lv_pv_reset(struct lv_vcpu *v);
void lv_serve_pv_eoi(struct lv_vcpu *v);
void lv_pv_eoi_before_entry(struct lv_vcpu *v);
void lv_pv_eoi_after_exit(struct lv_vcpu *v);
int lv_handle_hypercall(struct lv_vcpu *v, const struct lv_exit *exit);
void lv_set_hypercall_result(struct lv_vcpu *v, u64 result);
int lv_handle_ud(struct lv_vcpu *v);

/* ---- in-kernel interrupt controllers: the kernel side (irq/irqchip.c) ---- */

void lv_irqchip_free(struct lv_vm *vm);
int lv_vcpu_apic_create(struct lv_vcpu *v); /* no-op without irqchip */
void lv_vcpu_apic_free(struct lv_vcpu *v);
void lv_vcpu_timer_expired(struct lv_vcpu *v); /* see lv_lapic_timer_arm() */
void lv_vcpu_timer_to_host(struct lv_vcpu *v);
void lv_vcpu_timer_wait(struct lv_vcpu *v);
/* Vector to inject now (acknowledged), or -1. */
int lv_irqchip_ack(struct lv_vcpu *v);
bool lv_irqchip_has_irq(struct lv_vcpu *v);
bool lv_irqchip_must_inject(struct lv_vcpu *v);
int lv_apic_page_off(struct lv_vcpu *v);

/* In-kernel devices on the port and memory bus (irq/iobus.c); never sleeps */
enum lv_space {
	LV_SPACE_PIO,
	LV_SPACE_MMIO
};
int lv_iobus_init(struct lv_vm *vm);
void lv_iobus_free(struct lv_vm *vm);
/* If there is an irqchip: */
bool lv_irqchip_ports(struct lv_vcpu *v, u16 port, unsigned int len, u8 *data,
		      bool write);
bool lv_irqchip_mmio(struct lv_vcpu *v, gpa_t gpa, unsigned int len, u8 *data,
		     bool write);
bool lv_iobus_write(struct lv_vcpu *v, enum lv_space space, gpa_t addr,
		    unsigned int len, void *data);

/* False: no device is there, user space has to answer. */
static inline bool lv_iobus_read(struct lv_vcpu *v, enum lv_space space,
				 gpa_t addr, unsigned int len, void *data)
{
	return v->vm->irqchip &&
	       (space == LV_SPACE_PIO
			? lv_irqchip_ports(v, addr, len, data, false)
			: lv_irqchip_mmio(v, addr, len, data, false));
}

/* ---- ioctl handlers ---- */

/*
 * ioctl.c copies an argument of _IOC_SIZE() bytes in and out. A handler gets
 * it as @data; @arg is the ioctl's raw argument, a user pointer for those
 * whose size varies.
 */
long lv_device_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
long lv_vm_ioctl(struct file *file, unsigned int cmd, unsigned long arg);
long lv_vcpu_ioctl(struct file *file, unsigned int cmd, unsigned long arg);

/* How to call a handler. */
#define LV_RAW BIT(0) /* it copies itself: its argument has a variable part */
#define LV_IN \
	BIT(1) /* reads its argument, other than the command's number says */
#define LV_LOCKED BIT(2) /* with vm->lock held */
#define LV_UNLOADED BIT(3) /* needs nothing of the vCPU that the CPU keeps */

typedef long (*lv_ioctl_fn)(struct lv_vm *vm, struct lv_vcpu *v, void *data,
			    unsigned long arg);
#define LV_IOCTL(name)                                                        \
	long lv_ioctl_##name(struct lv_vm *vm, struct lv_vcpu *v, void *data, \
			     unsigned long arg)

/* Every ioctl: command, handler lv_ioctl_NAME(), flags. */
#define LV_SYS_IOCTLS(X)                                                \
	X(KVM_GET_API_VERSION, get_api_version, 0)                      \
	X(KVM_CREATE_VM, create_vm, 0)                                  \
	X(KVM_CHECK_EXTENSION, check_extension, 0)                      \
	X(KVM_GET_VCPU_MMAP_SIZE, get_vcpu_mmap_size, 0)                \
	X(KVM_GET_SUPPORTED_CPUID, get_supported_cpuid, LV_RAW)         \
	X(KVM_GET_EMULATED_CPUID, get_emulated_cpuid, LV_RAW)           \
	X(KVM_GET_MSR_INDEX_LIST, get_msr_index_list, LV_RAW)           \
	X(KVM_GET_MSR_FEATURE_INDEX_LIST, get_msr_feature_list, LV_RAW) \
	X(KVM_GET_MSRS, get_msrs, LV_RAW)                               \
	X(KVM_X86_GET_MCE_CAP_SUPPORTED, get_mce_cap, 0)                \
	X(KVM_HAS_DEVICE_ATTR, has_attr, 0)                             \
	X(KVM_GET_DEVICE_ATTR, get_attr, LV_IN)

#define LV_VM_IOCTLS(X)                                                  \
	X(KVM_IRQ_LINE, irq_line, 0)                                     \
	X(KVM_IRQ_LINE_STATUS, irq_line, 0)                              \
	X(KVM_SIGNAL_MSI, signal_msi, 0)                                 \
	X(KVM_SET_USER_MEMORY_REGION, set_user_memory_region, LV_LOCKED) \
	X(KVM_GET_DIRTY_LOG, get_dirty_log, LV_LOCKED)                   \
	X(KVM_CLEAR_DIRTY_LOG, clear_dirty_log, LV_LOCKED)               \
	X(KVM_CREATE_VCPU, create_vcpu, LV_LOCKED)                       \
	X(KVM_CHECK_EXTENSION, check_extension, 0)                       \
	X(KVM_ENABLE_CAP, enable_cap, LV_LOCKED)                         \
	X(KVM_SET_TSS_ADDR, set_tss_addr, 0)                             \
	X(KVM_SET_IDENTITY_MAP_ADDR, set_identity_map_addr, 0)           \
	X(KVM_SET_BOOT_CPU_ID, set_boot_cpu_id, LV_LOCKED)               \
	X(KVM_CREATE_IRQCHIP, create_irqchip, LV_LOCKED)                 \
	X(KVM_GET_IRQCHIP, get_irqchip, 0)                               \
	X(KVM_SET_IRQCHIP, set_irqchip, LV_IN)                           \
	X(KVM_CREATE_PIT2, create_pit2, LV_LOCKED)                       \
	X(KVM_GET_PIT2, get_pit2, 0)                                     \
	X(KVM_SET_PIT2, set_pit2, 0)                                     \
	X(KVM_REINJECT_CONTROL, reinject_control, LV_LOCKED)             \
	X(KVM_SET_GSI_ROUTING, set_gsi_routing, LV_RAW | LV_LOCKED)      \
	X(KVM_IRQFD, irqfd, 0)                                           \
	X(KVM_IOEVENTFD, ioeventfd, 0)                                   \
	X(KVM_REGISTER_COALESCED_MMIO, register_coalesced, 0)            \
	X(KVM_UNREGISTER_COALESCED_MMIO, unregister_coalesced, 0)        \
	X(KVM_GET_CLOCK, get_clock, 0)                                   \
	X(KVM_SET_CLOCK, set_clock, 0)                                   \
	X(KVM_X86_SET_MSR_FILTER, set_msr_filter, LV_LOCKED)             \
	X(KVM_SET_NR_MMU_PAGES, set_nr_mmu_pages, LV_LOCKED)             \
	X(KVM_GET_NR_MMU_PAGES, get_nr_mmu_pages, LV_LOCKED)             \
	X(KVM_GET_STATS_FD, get_stats_fd, 0)

#define LV_VCPU_IOCTLS(X)                                    \
	X(KVM_INTERRUPT, interrupt, LV_UNLOADED)             \
	X(KVM_GET_REGS, get_regs, 0)                         \
	X(KVM_SET_REGS, set_regs, 0)                         \
	X(KVM_GET_SREGS, get_sregs, 0)                       \
	X(KVM_SET_SREGS, set_sregs, 0)                       \
	X(KVM_GET_SREGS2, get_sregs2, 0)                     \
	X(KVM_SET_SREGS2, set_sregs2, 0)                     \
	X(KVM_GET_FPU, get_fpu, 0)                           \
	X(KVM_SET_FPU, set_fpu, 0)                           \
	X(KVM_GET_XSAVE, get_xsave, 0)                       \
	X(KVM_GET_XSAVE2, get_xsave, 0)                      \
	X(KVM_SET_XSAVE, set_xsave, 0)                       \
	X(KVM_GET_XCRS, get_xcrs, 0)                         \
	X(KVM_SET_XCRS, set_xcrs, 0)                         \
	X(KVM_GET_MSRS, get_msrs, LV_RAW)                    \
	X(KVM_SET_MSRS, set_msrs, LV_RAW)                    \
	X(KVM_SET_CPUID, set_cpuid, LV_RAW)                  \
	X(KVM_SET_CPUID2, set_cpuid2, LV_RAW)                \
	X(KVM_GET_CPUID2, get_cpuid2, LV_RAW)                \
	X(KVM_GET_LAPIC, get_lapic, 0)                       \
	X(KVM_SET_LAPIC, set_lapic, 0)                       \
	X(KVM_GET_MP_STATE, get_mp_state, 0)                 \
	X(KVM_SET_MP_STATE, set_mp_state, 0)                 \
	X(KVM_GET_VCPU_EVENTS, get_vcpu_events, 0)           \
	X(KVM_SET_VCPU_EVENTS, set_vcpu_events, 0)           \
	X(KVM_GET_DEBUGREGS, get_debugregs, 0)               \
	X(KVM_SET_DEBUGREGS, set_debugregs, 0)               \
	X(KVM_SET_GUEST_DEBUG, set_guest_debug, 0)           \
	X(KVM_TRANSLATE, translate, 0)                       \
	X(KVM_NMI, nmi, 0)                                   \
	X(KVM_X86_SETUP_MCE, setup_mce, 0)                   \
	X(KVM_X86_SET_MCE, set_mce, 0)                       \
	X(KVM_TPR_ACCESS_REPORTING, tpr_access_reporting, 0) \
	X(KVM_SET_VAPIC_ADDR, set_vapic_addr, 0)             \
	X(KVM_SET_SIGNAL_MASK, set_signal_mask, LV_RAW)      \
	X(KVM_GET_TSC_KHZ, get_tsc_khz, 0)                   \
	X(KVM_SET_TSC_KHZ, set_tsc_khz, 0)                   \
	X(KVM_KVMCLOCK_CTRL, kvmclock_ctrl, 0)               \
	X(KVM_ENABLE_CAP, enable_vcpu_cap, 0)                \
	X(KVM_HAS_DEVICE_ATTR, has_attr, 0)                  \
	X(KVM_GET_DEVICE_ATTR, get_attr, LV_IN)              \
	X(KVM_SET_DEVICE_ATTR, set_attr, 0)                  \
	X(KVM_GET_STATS_FD, get_stats_fd, 0)

#define LV_DECLARE_IOCTL(cmd, name, flags) LV_IOCTL(name);
LV_SYS_IOCTLS(LV_DECLARE_IOCTL)
LV_VM_IOCTLS(LV_DECLARE_IOCTL)
LV_VCPU_IOCTLS(LV_DECLARE_IOCTL)
int lv_split_irqchip(struct lv_vm *vm, u64 pins); /* KVM_CAP_SPLIT_IRQCHIP */

#endif /* LABVISOR_H */
