// SPDX-License-Identifier: GPL-2.0-only
/*
 * Life of a vCPU and the run loop.
 *
 *   lv_vcpu_run()      KVM_RUN: completes what user space answered, then
 *     lv_run_loop()      may sleep: requests, halts, signals, slow exits
 *       lv_enter_guest()   preemption off, guest FPU loaded
 *         lv_run_atomic()    interrupts off: enter, exit, handle, enter ...
 *
 * Most exits never leave the innermost loop. Handlers there must not sleep;
 * one that has to returns LV_SLEEPABLE and is called again outside.
 */
#include <linux/anon_inodes.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/sched/signal.h>
#include <linux/smp.h>
#include <linux/vtime.h>
#include <asm/debugreg.h>

#include "compat.h"
#include "labvisor.h"
#include "trace.h"

/* ---- loading: the vCPU's state belongs to this CPU ---- */

static void lv_load_on_this_cpu(struct lv_vcpu *v)
{
	int cpu = smp_processor_id();

	/* If it fails the run loop notices and stops: lv_cpu_on. */
	if (likely(this_cpu_read(lv_cpu_on)) || !lv_cpu_enable())
		lv_call(load)(v, cpu);
	WRITE_ONCE(v->cpu, cpu);
	lv_clock_load(v);
}

static void lv_put_on_this_cpu(struct lv_vcpu *v)
{
	lv_call(put)(v);
	WRITE_ONCE(v->cpu, -1);
	if (unlikely(!cpu_active(smp_processor_id())))
		lv_cpu_disable(NULL);
}

static void lv_sched_in(struct preempt_notifier *notifier, int cpu)
{
	struct lv_vcpu *v = container_of(notifier, struct lv_vcpu, notifier);

	lv_load_on_this_cpu(v);
	if (v->steal.msr)
		lv_request(v, LV_REQ_STEAL);
	if (lv_sched_active())
		lv_gate_thread_in(v);
}

static void lv_sched_out(struct preempt_notifier *notifier,
			 struct task_struct *next)
{
	struct lv_vcpu *v = container_of(notifier, struct lv_vcpu, notifier);

	lv_put_on_this_cpu(v);
	if (lv_sched_active())
		lv_gate_thread_out(v);
}

static struct preempt_ops lv_preempt_ops = {
	.sched_in = lv_sched_in,
	.sched_out = lv_sched_out,
};

/** lv_vcpu_load - make the vCPU's state accessible to this thread */
void lv_vcpu_load(struct lv_vcpu *v)
{
	preempt_disable();
	preempt_notifier_register(&v->notifier);
	lv_load_on_this_cpu(v);
	preempt_enable();
}

void lv_vcpu_put(struct lv_vcpu *v)
{
	preempt_disable();
	lv_put_on_this_cpu(v);
	preempt_notifier_unregister(&v->notifier);
	preempt_enable();
}

/* ---- kicks ---- */

/* CPUs that a remote flush interrupts (own CPU, preemption off) */
static DEFINE_PER_CPU(struct cpumask, lv_kick_mask);

static void lv_kick_ack(void *unused)
{
}

/*
 * Get the vCPU's thread to look: wake it if it sleeps, interrupt the CPU if it
 * is in the guest. Pairs with lv_enter_guest(): either we see IN_GUEST or the
 * vCPU sees the request.
 */
void lv_poke(struct lv_vcpu *v)
{
	int cpu, me;

	/* What it shall see comes before the looks at what it does. */
	smp_mb();
	if (rcuwait_active(&v->wait))
		rcuwait_wake_up(&v->wait);
	me = get_cpu();
	if (READ_ONCE(v->mode) == LV_IN_GUEST) {
		cpu = READ_ONCE(v->cpu);
		if (cpu != me && cpu >= 0 && cpu_online(cpu))
			lv_send_reschedule(cpu);
	}
	put_cpu();
}

/** lv_kick_for - lv_kick(), and what for */
void lv_kick_for(struct lv_vcpu *v, enum lv_wake why)
{
	if (!lv_sched_active() || !lv_gate_kicked(v, why))
		lv_poke(v);
}

/*
 * lv_request_all - ask all vCPUs of a VM for something
 * @wait: return only after no vCPU runs guest code without having served it
 * Context: interrupts on if @wait, any context otherwise.
 */
void lv_request_all(struct lv_vm *vm, enum lv_request req, bool wait)
{
	struct cpumask *mask;
	struct lv_vcpu *v;
	int i, cpu;

	preempt_disable();
	mask = this_cpu_ptr(&lv_kick_mask);
	if (wait)
		cpumask_clear(mask);
	lv_for_each_vcpu(i, v, vm) {
		lv_request(v, req);
		if (!wait) {
			lv_kick(v);
			continue;
		}
		smp_mb__after_atomic();
		cpu = READ_ONCE(v->cpu);
		if (READ_ONCE(v->mode) == LV_IN_GUEST && cpu >= 0)
			cpumask_set_cpu(cpu, mask);
	}
	if (wait)
		smp_call_function_many(mask, lv_kick_ack, NULL, true);
	preempt_enable();
}

struct lv_vcpu *lv_vcpu_by_id(struct lv_vm *vm, u32 id)
{
	struct lv_vcpu *v;
	int i;

	lv_for_each_vcpu(i, v, vm)
		if (v->id == id)
			return v;
	return NULL;
}

/* ---- the innermost loop ---- */

/* Serve requests that need not sleep. Interrupts off. */
static void lv_atomic_requests(struct lv_vcpu *v)
{
	if (test_and_clear_bit(LV_REQ_ROOT, &v->requests))
		lv_backend->set_root(v, v->vm->mmu.root);
	if (test_and_clear_bit(LV_REQ_TLB_FLUSH, &v->requests)) {
		lv_call(flush_tlb)(v, true);
		v->stat.tlb_flushes++;
	}
	if (test_and_clear_bit(LV_REQ_EVENT, &v->requests))
		lv_inject_events(v);
	if (v->timer_due)
		lv_vcpu_timer_wait(v);
}

/* The guest wrote CR8 without an exit. */
static void lv_cr8_moved(struct lv_vcpu *v)
{
	v->shown_cr8 = v->cr8;
	if (v->apic)
		lv_lapic_set_tpr(v->apic, v->cr8 << 4);
	lv_request(v, LV_REQ_EVENT);
}

/* Instructions that have nothing to do with guest memory, or see to it. */
#define LV_INSNS_WITHOUT_MEMORY                                           \
	(BIT(LV_EXIT_CPUID) | BIT(LV_EXIT_RDMSR) | BIT(LV_EXIT_HLT) |     \
	 BIT(LV_EXIT_PAUSE) | BIT(LV_EXIT_MONITOR) | BIT(LV_EXIT_MWAIT) | \
	 BIT(LV_EXIT_INVD) | BIT(LV_EXIT_WBINVD) | BIT(LV_EXIT_XSETBV) |  \
	 BIT(LV_EXIT_RDTSC) | BIT(LV_EXIT_RDTSCP) | BIT(LV_EXIT_IO))

/* Exits that are none. */
#define LV_EVENTS_WITHOUT_MEMORY                                         \
	(BIT(LV_EXIT_IRQ_WINDOW) | BIT(LV_EXIT_TIMER) |                  \
	 BIT(LV_EXIT_NMI_WINDOW) | BIT(LV_EXIT_TPR) | BIT(LV_EXIT_EOI) | \
	 BIT(LV_EXIT_APIC_WRITE))

/* If their length is known, not even the instruction has to be fetched. */
static __always_inline int lv_handle_with_memory(struct lv_vcpu *v,
						 struct lv_exit *exit)
{
	unsigned long without = exit->insn_len ? LV_INSNS_WITHOUT_MEMORY
					       : LV_EVENTS_WITHOUT_MEMORY;
	int idx, out;

	if (BIT(exit->reason) & without)
		return lv_handle_exit(v, exit);
	idx = srcu_read_lock(&v->vm->mem.srcu);
	out = lv_handle_exit(v, exit);
	srcu_read_unlock(&v->vm->mem.srcu, idx);
	return out;
}

/*
 * Interrupts are off. Returns LV_RESUME if something outside has to be done
 * first, otherwise the outcome of the exit that the guest took.
 */
static int lv_run_atomic(struct lv_vcpu *v, struct lv_exit *exit)
{
	int out;

	do {
		if (unlikely(READ_ONCE(v->requests))) {
			lv_atomic_requests(v);
			if (READ_ONCE(v->requests))
				return LV_RESUME;
		}
		if (unlikely(xfer_to_guest_mode_work_pending()))
			return LV_RESUME;
		if (unlikely(!this_cpu_read(lv_cpu_on)))
			return -ESHUTDOWN;

		if (v->pv_eoi.msr)
			lv_pv_eoi_before_entry(v);
		trace_lv_entry(v);
		lv_call(run)(v, exit);
		v->stat.exits++;
		v->stat.reason[exit->reason]++;
		trace_lv_exit(v, exit);
		if (unlikely(v->injecting || exit->interrupted.type))
			lv_settle_events(v, exit);
		if (unlikely(v->cr8 != v->shown_cr8))
			lv_cr8_moved(v);
		if (v->pv_eoi.msr)
			lv_pv_eoi_after_exit(v);

		if (exit->reason == LV_EXIT_HOST)
			return LV_RESUME;
		out = lv_handle_with_memory(v, exit);
	} while (out == LV_RESUME);
	return out;
}

/* One stay in the guest: from here on nothing sleeps. */
static int lv_enter_guest(struct lv_vcpu *v, struct lv_exit *exit)
{
	int out;

	preempt_disable();
	lv_fpu_load(v);
	local_irq_disable();
	if (unlikely(lv_dr7_in_use(v) & LV_DR7_ENABLED))
		lv_load_debugregs(v);
	v->atomic = true;
	v->new_stay = true;
	vtime_account_guest_enter();
	/* Order mode before the look at requests: pairs with lv_kick(). */
	smp_store_mb(v->mode, LV_IN_GUEST);
	if (v->apicv && v->apic->posts)
		lv_lapic_collect(v->apic);

	out = lv_run_atomic(v, exit);
	if (v->timer_tsc)
		lv_vcpu_timer_to_host(v);

	smp_store_release(&v->mode, LV_OUTSIDE_GUEST);
	if (v->apicv && v->apic->posts)
		lv_lapic_collect(v->apic);
	v->atomic = false;
	lv_guest_ran();
	if (unlikely(v->drs_lent))
		lv_take_debugregs(v);
	if (hw_breakpoint_active())
		hw_breakpoint_restore();
	/* Serve the host interrupt while its time still counts as the guest's. */
	if (exit->reason == LV_EXIT_HOST && lv_backend->serve_host)
		lv_backend->serve_host(v);
	local_irq_enable();
	lv_fpu_put(v);
	local_irq_disable();
	vtime_account_guest_exit();
	local_irq_enable();
	preempt_enable();
	return out;
}

/* ---- what may sleep ---- */

/** lv_serve_init - act on INIT and SIPI that arrived */
void lv_serve_init(struct lv_vcpu *v)
{
	if (test_and_clear_bit(LV_LAPIC_INIT, &v->apic_events)) {
		lv_vcpu_reset(v, true);
		v->mp_state = v->id == v->vm->boot_cpu_id
				      ? KVM_MP_STATE_RUNNABLE
				      : KVM_MP_STATE_INIT_RECEIVED;
	}
	if (test_and_clear_bit(LV_LAPIC_SIPI, &v->apic_events) &&
	    v->mp_state == KVM_MP_STATE_INIT_RECEIVED) {
		struct kvm_segment cs;

		lv_call(get_segment)(v, LV_SREG_CS, &cs);
		cs.selector = READ_ONCE(v->sipi_vector) << 8;
		cs.base = READ_ONCE(v->sipi_vector) << 12;
		lv_backend->set_segment(v, LV_SREG_CS, &cs);
		lv_set_rip(v, 0);
		v->mp_state = KVM_MP_STATE_RUNNABLE;
	}
}

static int lv_serve_requests(struct lv_vcpu *v)
{
	int idx;

	if (test_and_clear_bit(LV_REQ_SHUTDOWN, &v->requests))
		return lv_exit_to_user(v, KVM_EXIT_SHUTDOWN);
	if (test_and_clear_bit(LV_REQ_STEP, &v->requests) &&
	    lv_serve_step(v) == LV_TO_USER)
		return LV_TO_USER;
	if (test_and_clear_bit(LV_REQ_APIC, &v->requests))
		lv_serve_init(v);
	if (test_and_clear_bit(LV_REQ_INTERCEPTS, &v->requests))
		lv_backend->set_intercepts(v);
	/* That it has no right to its CPU any more, lv_sched_pass() finds. */
	clear_bit(LV_REQ_SCHED, &v->requests);
	idx = srcu_read_lock(&v->vm->mem.srcu);
	if (test_and_clear_bit(LV_REQ_CLOCK, &v->requests))
		lv_serve_clock(v);
	if (test_and_clear_bit(LV_REQ_STEAL, &v->requests))
		lv_serve_steal(v);
	if (test_and_clear_bit(LV_REQ_PV_EOI, &v->requests))
		lv_serve_pv_eoi(v);
	srcu_read_unlock(&v->vm->mem.srcu, idx);
	if (test_and_clear_bit(LV_REQ_EOI_EXIT, &v->requests)) {
		v->run->eoi.vector = v->eoi_vector;
		return lv_exit_to_user(v, KVM_EXIT_IOAPIC_EOI);
	}
	if (test_and_clear_bit(LV_REQ_TPR, &v->requests)) {
		v->run->tpr_access.rip = v->tpr_rip;
		v->run->tpr_access.is_write = v->tpr_written;
		return lv_exit_to_user(v, KVM_EXIT_TPR_ACCESS);
	}
	return LV_RESUME;
}

/* Has a halted vCPU a reason to run? It may be about to sleep. */
static bool lv_vcpu_runnable(struct lv_vcpu *v)
{
	if (READ_ONCE(v->apic_events))
		return true;
	if (v->mp_state != KVM_MP_STATE_HALTED)
		return v->mp_state == KVM_MP_STATE_RUNNABLE;
	if (READ_ONCE(v->pv_unhalted) || v->nmi_pending ||
	    READ_ONCE(v->nmi_queued) || v->ex.pending)
		return true;
	return lv_irq_pending(v) && (lv_rflags(v) & X86_EFLAGS_IF);
}

/* Sleep until there is something to do; a signal is for lv_serve_work(). */
static void lv_block(struct lv_vcpu *v)
{
	v->stat.halts++;
	if (lv_sched_active())
		lv_gate_block(v);
	rcuwait_wait_event(
		&v->wait,
		lv_vcpu_runnable(v) ||
			READ_ONCE(v->requests) & ~LV_ATOMIC_REQUESTS ||
			READ_ONCE(v->sched.state) == LV_SCHED_RUNNING,
		TASK_INTERRUPTIBLE);
	v->stat.wakeups++;
	if (v->mp_state == KVM_MP_STATE_HALTED && lv_vcpu_runnable(v)) {
		v->mp_state = KVM_MP_STATE_RUNNABLE;
		WRITE_ONCE(v->pv_unhalted, false);
		lv_request(v, LV_REQ_EVENT);
	}
}

/* Signals and rescheduling: what the kernel asks of the thread. */
static int lv_serve_work(struct lv_vcpu *v)
{
	int err;

	if (!__xfer_to_guest_mode_work_pending())
		return LV_RESUME;
	if (lv_sched_active())
		lv_gate_give_back(v);
	err = lv_guest_mode_work();
	if (err)
		v->run->exit_reason = KVM_EXIT_INTR;
	return err;
}

/** lv_takes_user_irq - could the guest take one from user space now? */
bool lv_takes_user_irq(struct lv_vcpu *v)
{
	return !v->irq.type && v->user_irq < 0 && !v->injecting &&
	       !v->ex.pending && !v->ex.injected && lv_call(irq_allowed)(v);
}

static int lv_run_loop(struct lv_vcpu *v)
{
	struct lv_exit *exit = &v->exit;
	int out;

	exit->reason = LV_EXIT_HOST;
	v->run->exit_reason = KVM_EXIT_UNKNOWN;
	for (;;) {
		out = LV_RESUME;
		if (READ_ONCE(v->requests) & ~LV_ATOMIC_REQUESTS)
			out = lv_serve_requests(v);
		if (out == LV_RESUME) {
			if (unlikely(v->mp_state != KVM_MP_STATE_RUNNABLE))
				lv_block(v);
			else if (lv_sched_pass(v))
				out = lv_enter_guest(v, exit);
		}
		if (out == LV_SLEEPABLE)
			out = lv_handle_with_memory(v, exit);
		if (out == LV_BLOCK) {
			v->mp_state = KVM_MP_STATE_HALTED;
			out = LV_RESUME;
		}
		if (out != LV_RESUME)
			return out;
		if (unlikely(v->run->request_interrupt_window) &&
		    lv_takes_user_irq(v))
			return lv_exit_to_user(v, KVM_EXIT_IRQ_WINDOW_OPEN);
		out = lv_serve_work(v);
		if (out)
			return out;
	}
}

/* ---- KVM_RUN ---- */

static void lv_fill_run(struct lv_vcpu *v)
{
	struct kvm_run *run = v->run;

	run->if_flag = !!(lv_rflags(v) & X86_EFLAGS_IF);
	run->flags = 0;
	run->cr8 = lv_cr8(v);
	run->apic_base = lv_apic_base(v);
	run->ready_for_interrupt_injection = v->vm->irqchip_mode ==
						     LV_IRQCHIP_KERNEL ||
					     lv_takes_user_irq(v);
}

static void lv_note_thread(struct lv_vcpu *v)
{
	struct pid *old = rcu_access_pointer(v->pid);
	struct pid *new = task_pid(current);

	if (likely(old == new))
		return;
	rcu_assign_pointer(v->pid, get_pid(new));
	if (old)
		synchronize_rcu();
	put_pid(old);
}

static int lv_complete(struct lv_vcpu *v)
{
	int idx, out;

	if (v->io_state < LV_IO_PORT_INS)
		return lv_complete_io(v);
	idx = srcu_read_lock(&v->vm->mem.srcu);
	out = lv_complete_io(v);
	srcu_read_unlock(&v->vm->mem.srcu, idx);
	return out;
}

static long lv_run_signals_set(struct lv_vcpu *v)
{
	struct kvm_run *run = v->run;
	int out = LV_RESUME;

	if (run->kvm_dirty_regs || run->kvm_valid_regs) {
		out = lv_sync_regs_load(v);
		if (out)
			return out;
	}
	/* Without an APIC in the kernel CR8 comes with every KVM_RUN. */
	if (!v->apic && run->cr8 != v->cr8 && lv_set_cr8(v, run->cr8))
		return -EINVAL;
	if (v->io_state != LV_IO_IDLE)
		out = lv_complete(v);
	if (out != LV_RESUME)
		return out;
	if (run->request_interrupt_window)
		lv_request(v, LV_REQ_EVENT);
	if (v->steal.msr)
		lv_steal_run(v);
	/* What was completed is not forgotten: the exit reason stays. */
	if (lv_immediate_exit(run))
		return -EINTR;
	return lv_run_loop(v);
}

/** lv_vcpu_run - KVM_RUN: 0 and v->run->exit_reason, or a negative errno */
long lv_vcpu_run(struct lv_vcpu *v)
{
	long out;

	lv_note_thread(v);
	if (v->sigset_active)
		sigprocmask(SIG_SETMASK, &v->sigset, &v->user_sigset);
	out = lv_run_signals_set(v);
	if (v->sigset_active)
		sigprocmask(SIG_SETMASK, &v->user_sigset, NULL);

	lv_fill_run(v);
	if (v->run->kvm_valid_regs)
		lv_sync_regs_store(v);
	if (lv_sched_active())
		lv_gate_to_user(v);
	v->stat.user_exits++;
	return out == LV_TO_USER ? 0 : out;
}

/* ---- life ---- */

static struct kmem_cache *lv_vcpu_cache; /* once */

/* lv_vcpus_init - kmalloc() would make 8 KiB of each vCPU */
int lv_vcpus_init(void)
{
	lv_vcpu_cache = kmem_cache_create_usercopy("labvisor_vcpu",
						   lv_backend->vcpu_size, 0, 0,
						   0, lv_backend->vcpu_size,
						   NULL);
	return lv_vcpu_cache ? 0 : -ENOMEM;
}

void lv_vcpus_exit(void)
{
	kmem_cache_destroy(lv_vcpu_cache);
}

static vm_fault_t lv_vcpu_fault(struct vm_fault *vmf)
{
	struct lv_vcpu *v = vmf->vma->vm_file->private_data;
	struct page *page = lv_vcpu_page(v, vmf->pgoff);

	if (!page)
		return VM_FAULT_SIGBUS;
	get_page(page);
	vmf->page = page;
	return 0;
}

static const struct vm_operations_struct lv_vcpu_vm_ops = {
	.fault = lv_vcpu_fault,
};

static int lv_vcpu_mmap(struct file *file, struct vm_area_struct *vma)
{
	vma->vm_ops = &lv_vcpu_vm_ops;
	return 0;
}

static int lv_vcpu_release(struct inode *inode, struct file *file)
{
	lv_vm_put(((struct lv_vcpu *)file->private_data)->vm);
	return 0;
}

static const struct file_operations lv_vcpu_fops = {
	.owner = THIS_MODULE,
	.release = lv_vcpu_release,
	.unlocked_ioctl = lv_vcpu_ioctl,
	.compat_ioctl = lv_vcpu_ioctl,
	.mmap = lv_vcpu_mmap,
	.llseek = noop_llseek,
};

/* Types of the segment registers after INIT: data, code, busy TSS, LDT. */
static const u8 lv_reset_types[LV_NR_SREGS] = { 3, 11, 3, 3, 3, 3, 11, 2 };

/* The state that INIT leaves, and power-on where they differ. */
void lv_vcpu_reset(struct lv_vcpu *v, bool init)
{
	static const struct kvm_dtable table = { .limit = 0xffff };
	struct kvm_segment seg = { .limit = 0xffff, .present = 1 };
	enum lv_sreg nr;

	if (!init)
		lv_fpu_reset(v);
	lv_msrs_reset(v, init);
	memset(v->regs, 0, sizeof(v->regs));
	v->regs[LV_RDX] = 0x600; /* family 6 */
	lv_set_reg(v, LV_RSP, 0);
	lv_set_rip(v, 0xfff0);
	lv_set_rflags(v, X86_EFLAGS_FIXED);
	memset(v->dr, 0, sizeof(v->dr));
	v->dr6 = DR6_RESERVED;
	v->dr7 = LV_DR7_RESET;
	v->ex = (struct lv_exception){};
	v->irq.type = LV_EVENT_NONE;
	v->user_irq = -1;
	v->nmi_injected = false;
	v->nmi_pending = 0;
	WRITE_ONCE(v->nmi_queued, 0);

	lv_backend->vcpu_reset(v);
	for (nr = LV_SREG_ES; nr < LV_NR_SREGS; nr++) {
		bool code = nr == LV_SREG_CS;

		seg.s = nr <= LV_SREG_GS;
		seg.type = lv_reset_types[nr];
		seg.selector = code ? 0xf000 : 0;
		seg.base = code ? 0xffff0000 : 0;
		lv_backend->set_segment(v, nr, &seg);
	}
	lv_backend->set_table(v, false, &table);
	lv_backend->set_table(v, true, &table);
	lv_reset_crs(v, init);
	lv_backend->set_root(v, v->vm->mmu.root);
	if (init && v->apic)
		lv_lapic_reset(v->apic);
	lv_request(v, LV_REQ_EVENT);
	lv_request(v, LV_REQ_TLB_FLUSH);
}

static int lv_vcpu_init(struct lv_vcpu *v, struct lv_vm *vm, u32 id)
{
	int err;

	v->vm = vm;
	v->id = id;
	v->cpu = -1;
	mutex_init(&v->mutex);
	rcuwait_init(&v->wait);
	preempt_notifier_init(&v->notifier, &lv_preempt_ops);
	lv_sched_vcpu_init(v);
	v->run = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);
	if (!v->run)
		return -ENOMEM;
	err = lv_backend->vcpu_init(v) ?: lv_fpu_init(v) ?:
	      lv_io_init(v) ?: lv_vcpu_apic_create(v);
	if (err)
		return err;

	lv_cpuid_changed(v);
	v->mp_state = !v->apic || id == vm->boot_cpu_id
			      ? KVM_MP_STATE_RUNNABLE
			      : KVM_MP_STATE_UNINITIALIZED;
	lv_vcpu_load(v);
	lv_vcpu_reset(v, false);
	lv_vcpu_put(v);
	return 0;
}

void lv_vcpu_destroy(struct lv_vcpu *v)
{
	lv_sched_vcpu_free(v);
	lv_vcpu_apic_free(v);
	kfree(v->cpuid);
	lv_io_free(v);
	kfree(v->xstate);
	lv_backend->vcpu_free(v);
	lv_mmu_cache_free(&v->mmu_cache);
	free_page((unsigned long)v->run);
	put_pid(rcu_access_pointer(v->pid));
	kmem_cache_free(lv_vcpu_cache, v);
}

/* Others must be able to kick the vCPU before user space can run it. */
static int lv_vcpu_publish(struct lv_vm *vm, struct lv_vcpu *v)
{
	struct file *file;
	char name[24];
	int fd;

	fd = get_unused_fd_flags(O_CLOEXEC);
	if (fd < 0)
		return fd;
	snprintf(name, sizeof(name), "kvm-vcpu:%d", v->id);
	file = anon_inode_getfile(name, &lv_vcpu_fops, v, O_RDWR);
	if (IS_ERR(file)) {
		put_unused_fd(fd);
		return PTR_ERR(file);
	}
	lv_vm_get(vm);
	vm->vcpus[vm->nr_vcpus] = v;
	smp_store_release(&vm->nr_vcpus, vm->nr_vcpus + 1);
	if (v->apic)
		lv_apic_bus_add(v->apic->bus, v->apic);
	fd_install(fd, file);
	return fd;
}

/** lv_vcpu_create - KVM_CREATE_VCPU, under vm->lock: a file descriptor */
int lv_vcpu_create(struct lv_vm *vm, unsigned long id)
{
	struct lv_vcpu *v;
	int err;

	if (id >= (vm->max_vcpu_id ?: LV_MAX_VCPUS) ||
	    vm->nr_vcpus >= LV_MAX_VCPUS)
		return -EINVAL;
	if (lv_vcpu_by_id(vm, id))
		return -EEXIST;
	v = kmem_cache_zalloc(lv_vcpu_cache, GFP_KERNEL_ACCOUNT);
	if (!v)
		return -ENOMEM;
	err = lv_vcpu_init(v, vm, id) ?: lv_sched_vcpu_add(v);
	if (err)
		goto out;
	err = lv_vcpu_publish(vm, v);
	if (err >= 0)
		return err;
	lv_sched_vcpu_remove(v);
out:
	lv_vcpu_destroy(v);
	return err;
}
