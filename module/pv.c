// SPDX-License-Identifier: GPL-2.0-only
/*
 * Time and the paravirtual interfaces of KVM guests: TSC, kvmclock, steal
 * time, PV EOI, hypercalls.
 *
 * Where the host's TSC is stable, kvmclock is a pure function of it: all vCPUs
 * get the same pair (TSC, time) and stay consistent without updates. Elsewhere
 * a vCPU gets a new pair each time it comes to a CPU, and the guest is not told
 * that its clocks agree.
 */
#include <linux/kvm_para.h>
#include <linux/sched/stat.h>
#include <linux/sched/task.h>
#include <linux/timekeeping.h>
#include <asm/pvclock-abi.h>
#include <asm/tsc.h>

#include "compat.h"
#include "labvisor.h"

#define LV_TSC_TOLERANCE_PPM 250
#define LV_PV_ENABLED BIT_ULL(0)

/** lv_clock_stable - do the TSCs of all host CPUs agree, for all time? */
bool lv_clock_stable(void)
{
	return !check_tsc_unstable();
}

/* ---- the VM's clock ---- */

static void lv_clock_rate(struct lv_clock *c, u32 khz)
{
	u64 rate = khz;

	/* Have the multiplier use all of its 32 bits. */
	for (; rate <= NSEC_PER_MSEC; rate <<= 1)
		c->shift++;
	for (; rate > 2 * NSEC_PER_MSEC; rate >>= 1)
		c->shift--;
	c->mul = div_u64((u64)NSEC_PER_MSEC << (32 - c->shift), khz);
}

static u64 lv_clock_scale(const struct lv_clock *c, u64 ticks)
{
	ticks = c->shift < 0 ? ticks >> -c->shift : ticks << c->shift;
	return mul_u64_u32_shr(ticks, c->mul, 32);
}

/* Let the clock show @ns now. The lock is held, or nobody else knows it. */
static void lv_clock_start(struct lv_clock *c, u64 ns)
{
	c->tsc = rdtsc_ordered();
	c->raw = ktime_get_raw_ns();
	c->ns = ns;
}

/* A pair of host TSC and kvmclock that holds on this CPU; the lock is held. */
static void lv_clock_pair(const struct lv_clock *c, u64 *tsc, u64 *ns)
{
	*tsc = c->tsc;
	*ns = c->ns;
	/* Without a stable TSC the kernel's clock keeps the time. */
	if (!lv_clock_stable()) {
		*tsc = rdtsc_ordered();
		*ns += ktime_get_raw_ns() - c->raw;
	}
}

static u64 lv_clock_now(struct lv_clock *c, u64 *host_tsc, u64 *realtime)
{
	unsigned long flags;
	u64 tsc, ns;

	raw_spin_lock_irqsave(&c->lock, flags);
	lv_clock_pair(c, &tsc, &ns);
	*host_tsc = rdtsc_ordered();
	*realtime = ktime_get_real_ns();
	raw_spin_unlock_irqrestore(&c->lock, flags);
	return ns + lv_clock_scale(c, *host_tsc - tsc);
}

void lv_clock_init(struct lv_vm *vm)
{
	struct lv_clock *c = &vm->clock;

	raw_spin_lock_init(&c->lock);
	lv_clock_rate(c, tsc_khz);
	lv_clock_start(c, 0);
	c->tsc_offset = -c->tsc;
	vm->tsc_khz = tsc_khz;
}

LV_IOCTL(get_clock)
{
	struct kvm_clock_data *out = data;

	memset(out, 0, sizeof(*out));
	out->flags = KVM_CLOCK_REALTIME | KVM_CLOCK_HOST_TSC;
	if (lv_clock_stable())
		out->flags |= KVM_CLOCK_TSC_STABLE;
	out->clock = lv_clock_now(&vm->clock, &out->host_tsc, &out->realtime);
	return 0;
}

LV_IOCTL(set_clock)
{
	const struct kvm_clock_data *in = data;
	struct lv_clock *c = &vm->clock;
	u64 ns = in->clock, now;
	unsigned long flags;

	if (in->flags & ~LV_CLOCK_FLAGS)
		return -EINVAL;
	raw_spin_lock_irqsave(&c->lock, flags);
	now = ktime_get_real_ns();
	/* Count the time the guest was away; a clock set back does not. */
	if (in->flags & KVM_CLOCK_REALTIME && now > in->realtime)
		ns += now - in->realtime;
	lv_clock_start(c, ns);
	raw_spin_unlock_irqrestore(&c->lock, flags);
	lv_request_all(vm, LV_REQ_CLOCK, true);
	return 0;
}

/* ---- TSC ---- */

u64 lv_guest_tsc(struct lv_vcpu *v, u64 host_tsc)
{
	return host_tsc + v->tsc_offset;
}

/** lv_set_tsc_offset - move the guest's TSC, and what is derived from it */
void lv_set_tsc_offset(struct lv_vcpu *v, u64 offset)
{
	v->tsc_offset = offset;
	lv_backend->set_tsc_offset(v, offset);
	if (v->clock.msr)
		lv_request(v, LV_REQ_CLOCK);
	if (v->apic && v->apic->tsc_deadline)
		lv_lapic_set_tsc_deadline(v->apic, v->apic->tsc_deadline);
}

/** lv_reset_tsc - give a new vCPU the TSC of the others */
void lv_reset_tsc(struct lv_vcpu *v)
{
	v->tsc_lost = v->vm->clock.tsc_lost;
	lv_set_tsc_offset(v, v->vm->clock.tsc_offset);
}

/*
 * Suspend resets the host's TSC. Let the guest's go on where it was: move our
 * origin back by as much as the guest's offsets will grow.
 */
static noinline void lv_clock_resume(struct lv_vm *vm)
{
	struct lv_clock *c = &vm->clock;
	unsigned long flags;
	u64 tsc, lost;

	raw_spin_lock_irqsave(&c->lock, flags);
	tsc = rdtsc_ordered();
	if ((s64)(tsc - c->tsc) < 0) {
		lost = c->tsc - tsc +
		       mul_u64_u32_div(ktime_get_raw_ns() - c->raw, vm->tsc_khz,
				       NSEC_PER_MSEC);
		c->tsc -= lost;
		c->tsc_offset += lost;
		c->tsc_lost += lost;
	}
	raw_spin_unlock_irqrestore(&c->lock, flags);
}

/** lv_clock_load - the vCPU came to this CPU, whose TSC may be another one */
void lv_clock_load(struct lv_vcpu *v)
{
	struct lv_clock *c = &v->vm->clock;
	u64 lost;

	if (!lv_clock_stable()) {
		if (v->clock.msr)
			lv_request(v, LV_REQ_CLOCK);
		return;
	}
	if (unlikely((s64)(rdtsc() - READ_ONCE(c->tsc)) < 0))
		lv_clock_resume(v->vm);
	lost = READ_ONCE(c->tsc_lost) - v->tsc_lost;
	if (unlikely(lost)) {
		v->tsc_lost += lost;
		lv_set_tsc_offset(v, v->tsc_offset + lost);
	}
}

/*
 * lv_write_tsc - user space sets a vCPU's TSC.
 * It sets the vCPUs of a VM one after the other, and means them to agree: a
 * value within a second of what the last vCPU shows is taken to be the same.
 */
void lv_write_tsc(struct lv_vcpu *v, u64 tsc)
{
	struct lv_clock *c = &v->vm->clock;
	u64 second = v->vm->tsc_khz * 1000;
	unsigned long flags;
	u64 offset;

	raw_spin_lock_irqsave(&c->lock, flags);
	offset = tsc - rdtsc();
	if (offset - c->tsc_offset + second > 2 * second)
		c->tsc_offset = offset;
	offset = c->tsc_offset;
	raw_spin_unlock_irqrestore(&c->lock, flags);
	lv_set_tsc_offset(v, offset);
}

LV_IOCTL(get_tsc_khz)
{
	return v->vm->tsc_khz;
}

/*
 * Device attributes: a vCPU has one, the offset of its TSC, and the system has
 * one of the same number, the state that XSAVE may have in guests.
 */
static_assert(!KVM_VCPU_TSC_CTRL && !KVM_VCPU_TSC_OFFSET &&
	      !KVM_X86_XCOMP_GUEST_SUPP);

LV_IOCTL(has_attr)
{
	const struct kvm_device_attr *attr = data;

	return attr->group || attr->attr ? -ENXIO : 0;
}

LV_IOCTL(get_attr)
{
	const struct kvm_device_attr *attr = data;
	u64 val = v ? v->tsc_offset : lv_xfeatures;

	return lv_ioctl_has_attr(vm, v, data, arg)
		       ?: put_user(val, (u64 __user *)attr->addr);
}

LV_IOCTL(set_attr)
{
	const struct kvm_device_attr *attr = data;
	struct lv_clock *c = &vm->clock;
	unsigned long flags;
	u64 offset;

	if (lv_ioctl_has_attr(vm, v, data, arg))
		return -ENXIO;
	if (get_user(offset, (u64 __user *)attr->addr))
		return -EFAULT;
	raw_spin_lock_irqsave(&c->lock, flags);
	c->tsc_offset = offset;
	raw_spin_unlock_irqrestore(&c->lock, flags);
	lv_set_tsc_offset(v, offset);
	return 0;
}

/* There is no scaling: only what is the host's rate anyway. */
LV_IOCTL(set_tsc_khz)
{
	u64 khz = v->vm->tsc_khz;
	u64 slack = div_u64(khz * LV_TSC_TOLERANCE_PPM, 1000000);

	if (arg && (arg < khz - slack || arg > khz + slack))
		return -EINVAL;
	return 0;
}

/* ---- pages that the host writes ---- */

/*
 * Write @len bytes that begin with or contain the u32 version at @at: odd
 * first, then the data, then even. The guest reads until both sides match.
 */
static int lv_write_versioned(struct lv_vcpu *v, struct lv_shared_page *page,
			      void *data, unsigned int len, u32 *at)
{
	gpa_t version = page->gpa + ((void *)at - data);
	int err;

	*at = ++page->version | 1;
	page->version = *at;
	err = lv_gpa_write(v->vm, version, at, sizeof(*at), v->atomic);
	smp_wmb();
	if (!err)
		err = lv_gpa_write(v->vm, page->gpa, data, len, v->atomic);
	*at = ++page->version;
	smp_wmb();
	if (!err)
		err = lv_gpa_write(v->vm, version, at, sizeof(*at), v->atomic);
	return err;
}

/** lv_serve_clock - write the vCPU's kvmclock page; vm->mem.srcu is held */
void lv_serve_clock(struct lv_vcpu *v)
{
	struct lv_clock *c = &v->vm->clock;
	struct pvclock_vcpu_time_info info = { .tsc_to_system_mul = c->mul,
					       .tsc_shift = c->shift };
	unsigned long flags;
	u64 tsc, ns;

	if (!v->clock.msr)
		return;
	raw_spin_lock_irqsave(&c->lock, flags);
	lv_clock_pair(c, &tsc, &ns);
	raw_spin_unlock_irqrestore(&c->lock, flags);
	info.tsc_timestamp = lv_guest_tsc(v, tsc);
	info.system_time = ns;
	if (lv_clock_stable())
		info.flags |= PVCLOCK_TSC_STABLE_BIT;
	if (v->clock.armed)
		info.flags |= PVCLOCK_GUEST_STOPPED;
	v->clock.armed = false;
	lv_write_versioned(v, &v->clock, &info, sizeof(info), &info.version);
}

LV_IOCTL(kvmclock_ctrl)
{
	if (!v->clock.msr)
		return -EINVAL;
	v->clock.armed = true;
	lv_request(v, LV_REQ_CLOCK);
	return 0;
}

/* Wall clock time at which kvmclock was zero. */
static int lv_write_wall_clock(struct lv_vcpu *v, gpa_t gpa)
{
	struct lv_shared_page page = { .gpa = gpa };
	u64 tsc, now, zero;
	struct pvclock_wall_clock wall = {};
	u32 nsec;

	zero = lv_clock_now(&v->vm->clock, &tsc, &now);
	wall.sec = div_u64_rem(now - zero, NSEC_PER_SEC, &nsec);
	wall.nsec = nsec;
	return lv_write_versioned(v, &page, &wall, sizeof(wall), &wall.version);
}

/* What the guest lost to others: to Linux's tasks, and in its pool to vCPUs. */
static u64 lv_delay(struct lv_vcpu *v)
{
	u64 waited = READ_ONCE(v->sched.time[LV_TIME_READY]) +
		     READ_ONCE(v->sched.time[LV_TIME_PARKED]);

#ifdef CONFIG_SCHED_INFO
	waited += current->sched_info.run_delay;
#endif
	return waited;
}

/** lv_steal_run - KVM_RUN: tell the guest about time stolen before it */
void lv_steal_run(struct lv_vcpu *v)
{
	if (v->steal_base != lv_delay(v))
		lv_request(v, LV_REQ_STEAL);
}

/** lv_serve_steal - write the vCPU's steal-time page; vm->mem.srcu is held */
void lv_serve_steal(struct lv_vcpu *v)
{
	struct kvm_steal_time st = {};
	u64 now = lv_delay(v);

	if (!v->steal.msr)
		return;
	/* Another thread may run the vCPU now, with a delay of its own. */
	if (now > v->steal_base)
		v->stat.guest_steal_ns += now - v->steal_base;
	v->steal_base = now;
	st.steal = v->stat.guest_steal_ns;
	lv_write_versioned(v, &v->steal, &st, sizeof(st), &st.version);
}

/* ---- PV EOI: the guest ends an interrupt by clearing a bit ---- */

/*
 * Take the offer back, and find out if the guest used it. A page that is gone
 * for good counts as used: nothing else would ever end the interrupt.
 */
static int lv_pv_eoi_settle(struct lv_vcpu *v)
{
	gpa_t gpa = v->pv_eoi.gpa;
	u8 flag = 0;
	int err;

	err = lv_gpa_read(v->vm, gpa, &flag, sizeof(flag), v->atomic);
	if (!err && flag & KVM_PV_EOI_MASK) {
		flag = KVM_PV_EOI_DISABLED;
		err = lv_gpa_write(v->vm, gpa, &flag, sizeof(flag), v->atomic);
		flag = KVM_PV_EOI_ENABLED;
	}
	if (err == -EAGAIN)
		return err;
	v->pv_eoi.armed = false;
	if (!(flag & KVM_PV_EOI_MASK))
		lv_lapic_eoi(v->apic);
	return 0;
}

/** lv_pv_eoi_before_entry - offer it if nobody waits for the EOI */
void lv_pv_eoi_before_entry(struct lv_vcpu *v)
{
	u8 flag = KVM_PV_EOI_ENABLED;
	int idx;

	/* A CPU that ends interrupts without exits does better. */
	if (!v->apic || v->apicv || v->pv_eoi.armed ||
	    !lv_lapic_pv_eoi_safe(v->apic))
		return;
	idx = srcu_read_lock(&v->vm->mem.srcu);
	v->pv_eoi.armed =
		!lv_gpa_write(v->vm, v->pv_eoi.gpa, &flag, sizeof(flag), true);
	srcu_read_unlock(&v->vm->mem.srcu, idx);
}

/*
 * lv_pv_eoi_after_exit - before anything looks at the local APIC.
 * If the page was swapped out meanwhile, lv_serve_pv_eoi() reads it; until
 * then lv_inject_events() must not take another interrupt.
 */
void lv_pv_eoi_after_exit(struct lv_vcpu *v)
{
	int idx;

	if (likely(!v->pv_eoi.armed))
		return;
	idx = srcu_read_lock(&v->vm->mem.srcu);
	if (lv_pv_eoi_settle(v))
		lv_request(v, LV_REQ_PV_EOI);
	srcu_read_unlock(&v->vm->mem.srcu, idx);
}

/** lv_serve_pv_eoi - the same where it may sleep; vm->mem.srcu is held */
void lv_serve_pv_eoi(struct lv_vcpu *v)
{
	lv_pv_eoi_settle(v);
	lv_request(v, LV_REQ_EVENT);
}

/* ---- MSRs ---- */

static struct lv_shared_page *lv_pv_page(struct lv_vcpu *v, u32 msr,
					 u64 *reserved)
{
	switch (msr) {
	case MSR_KVM_SYSTEM_TIME:
	case MSR_KVM_SYSTEM_TIME_NEW:
		*reserved = BIT_ULL(1);
		return &v->clock;
	case MSR_KVM_STEAL_TIME:
		*reserved = KVM_STEAL_RESERVED_MASK;
		return &v->steal;
	case MSR_KVM_PV_EOI_EN:
		*reserved = BIT_ULL(1);
		return &v->pv_eoi;
	default: /* the wall clock is written once and forgotten */
		return NULL;
	}
}

/** lv_pv_set_msr - write a KVM MSR; as lv_msr_set() */
int lv_pv_set_msr(struct lv_vcpu *v, u32 msr, u64 val, bool host)
{
	struct lv_shared_page *page;
	u64 reserved;

	page = lv_pv_page(v, msr, &reserved);
	if (!page) {
		if (val && lv_write_wall_clock(v, val) == -EAGAIN)
			return LV_SLEEPABLE;
		return 0;
	}
	if (val & reserved)
		return -EINVAL;
	*page = (struct lv_shared_page){ .version = page->version,
					 .shown = val };
	if (val & LV_PV_ENABLED) {
		page->msr = val;
		page->gpa = val & ~LV_PV_ENABLED;
	}
	if (page == &v->steal)
		v->steal_base = lv_delay(v);
	if (page == &v->clock || page == &v->steal)
		lv_request(v, page == &v->clock ? LV_REQ_CLOCK : LV_REQ_STEAL);
	return 0;
}

int lv_pv_get_msr(struct lv_vcpu *v, u32 msr, u64 *val)
{
	u64 reserved;
	struct lv_shared_page *page = lv_pv_page(v, msr, &reserved);

	*val = page ? page->shown : 0;
	return 0;
}

/** lv_pv_reset - power-on and INIT: the host stops writing to the guest */
void lv_pv_reset(struct lv_vcpu *v)
{
	v->clock = v->steal = v->pv_eoi = (struct lv_shared_page){};
}

/* ---- hypercalls ---- */

static long lv_hc_kick(struct lv_vcpu *v, u32 apic_id)
{
	struct lv_vcpu *dest = lv_vcpu_by_id(v->vm, apic_id);

	if (dest) {
		WRITE_ONCE(dest->pv_unhalted, true);
		lv_kick_for(dest, LV_WAKE_UNHALT);
	}
	return 0;
}

static long lv_hc_yield(struct lv_vcpu *v, u32 apic_id)
{
	struct lv_vcpu *dest = lv_vcpu_by_id(v->vm, apic_id);
	struct task_struct *task;

	if (!dest || lv_sched_yield(v, dest))
		return 0;
	rcu_read_lock();
	task = get_pid_task(rcu_dereference(dest->pid), PIDTYPE_PID);
	rcu_read_unlock();
	if (task) {
		yield_to(task, true);
		put_task_struct(task);
	}
	return 0;
}

/* The guest shares memory, or stops to: an affair of user space. */
static long lv_hc_map(struct lv_vcpu *v)
{
	bool longmode = lv_is_64bit(v);
	u64 mask = longmode ? U64_MAX : U32_MAX;
	u64 gpa = v->regs[LV_RBX] & mask, pages = v->regs[LV_RCX] & mask;
	u64 gfn = gpa >> PAGE_SHIFT;

	if (!v->vm->hypercall_exits)
		return -KVM_ENOSYS;
	if (offset_in_page(gpa) || gfn + pages <= gfn)
		return -KVM_EINVAL;
	v->run->hypercall = (typeof(v->run->hypercall)){
		.nr = KVM_HC_MAP_GPA_RANGE,
		.args = { gpa, pages, v->regs[LV_RDX] & mask },
		.lv_hypercall_mode = longmode,
	};
	return LV_TO_USER;
}

/* The guest's result, or LV_TO_USER, which is none. */
static long lv_hypercall(struct lv_vcpu *v, u32 nr)
{
	if (lv_call(cpl)(v))
		return -KVM_EPERM;
	switch (nr) {
	case KVM_HC_VAPIC_POLL_IRQ:
		return 0;
	case KVM_HC_KICK_CPU:
		if (!lv_pv_has(v, KVM_FEATURE_PV_UNHALT))
			break;
		return lv_hc_kick(v, v->regs[LV_RCX]);
	case KVM_HC_SCHED_YIELD:
		if (!lv_pv_has(v, KVM_FEATURE_PV_SCHED_YIELD))
			break;
		return lv_hc_yield(v, v->regs[LV_RBX]);
	case KVM_HC_MAP_GPA_RANGE:
		return lv_hc_map(v);
	}
	return -KVM_ENOSYS;
}

void lv_set_hypercall_result(struct lv_vcpu *v, u64 result)
{
	v->regs[LV_RAX] = lv_is_64bit(v) ? result : (u32)result;
}

int lv_handle_hypercall(struct lv_vcpu *v, const struct lv_exit *exit)
{
	u32 nr = v->regs[LV_RAX];
	long ret;

	if (v->atomic && nr == KVM_HC_SCHED_YIELD)
		return LV_SLEEPABLE;
	ret = lv_hypercall(v, nr);
	if (ret == LV_TO_USER)
		return lv_ask_hypercall(v);
	lv_set_hypercall_result(v, ret);
	return lv_skip_insn(v, exit);
}

/*
 * #UD: KVM lets guests use the other vendor's instruction for hypercalls, and
 * puts the right one in its place. The two differ in their third byte. Where
 * the guest may not write, do without.
 */
int lv_handle_ud(struct lv_vcpu *v)
{
	const struct lv_exit exit = { .insn_len = 3 };
	u8 right = lv_host_is_amd() ? 0xd9 : 0xc1, bytes[3];
	struct lv_emul_fault fault;
	gpa_t gpa;

	if (v->atomic)
		return LV_SLEEPABLE;
	if (lv_fetch_insn(v, bytes, sizeof(bytes)) < (int)sizeof(bytes) ||
	    bytes[0] != 0x0f || bytes[1] != 0x01 ||
	    bytes[2] != (right ^ 0xd9 ^ 0xc1))
		return lv_inject_ud(v);
	if (!lv_gva_to_gpa(v, lv_linear_rip(v) + 2, LV_ACCESS_WRITE, &gpa,
			   &fault))
		lv_gpa_write(v->vm, gpa, &right, 1, false);
	return lv_handle_hypercall(v, &exit);
}
