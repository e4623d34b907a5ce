// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel side of the interrupt controllers: locks, timers, vCPUs, and
 * the hooks that the state machines call.
 *
 * Messages to local APICs need no lock at all. PIC, I/O APIC and PIT share
 * one raw spinlock. Everything here may be called in hard interrupts, except
 * creation and destruction.
 */
#include "../compat.h"
#include "irqchip.h"

/* struct lv_vcpu_apic - a local APIC and what it needs of the kernel */
struct lv_vcpu_apic {
	struct lv_lapic lapic; /* the state machine */
	struct lv_vcpu *vcpu; /* whose it is (once) */
	struct hrtimer timer; /* calls lv_lapic_timer_expired() */
	u32 advance; /* nanoseconds by which it is early (own) */
};

/* It is never earlier than this; later than that was for other reasons. */
#define MAX_ADVANCE_NS 5000
#define MAX_LATE_NS 20000

static_assert(LV_MAX_VCPUS <= LV_MAX_APICS);

static struct lv_vcpu_apic *to_vcpu_apic(struct lv_lapic *apic)
{
	return container_of(apic, struct lv_vcpu_apic, lapic);
}

static struct lv_irqchip *chip_of(struct lv_lapic *apic)
{
	return container_of(apic->bus, struct lv_irqchip, bus);
}

u64 lv_irq_now_ns(void)
{
	return ktime_get_ns();
}

/* ---- hooks of the local APIC ---- */

void lv_lapic_notify(struct lv_lapic *apic)
{
	static const u8 why[] = {
		[LV_FROM_DEVICE] = LV_WAKE_IRQ,
		[LV_FROM_IPI] = LV_WAKE_IPI,
		[LV_FROM_TIMER] = LV_WAKE_TIMER,
	};
	struct lv_vcpu *v = to_vcpu_apic(apic)->vcpu;

	lv_request(v, LV_REQ_EVENT);
	lv_kick_for(v, why[READ_ONCE(apic->source)]);
}

/*
 * A policy that wants to hear of interrupts, and a timer that is early, take the
 * long way. So does the vCPU's own thread, which enters the guest next.
 */
bool lv_lapic_takes_posted(struct lv_lapic *apic)
{
	struct lv_vcpu *v = to_vcpu_apic(apic)->vcpu;

	return smp_load_acquire(&v->mode) == LV_IN_GUEST &&
	       READ_ONCE(apic->posts) && !READ_ONCE(v->timer_due) &&
	       !READ_ONCE(v->sched.pool_hears) &&
	       READ_ONCE(v->cpu) != raw_smp_processor_id();
}

void lv_lapic_notify_cpu(struct lv_lapic *apic)
{
	int cpu;

	preempt_disable();
	cpu = READ_ONCE(to_vcpu_apic(apic)->vcpu->cpu);
	if (cpu >= 0 && cpu_online(cpu))
		lv_send_notification(cpu);
	preempt_enable();
}

void lv_lapic_event(struct lv_lapic *apic, enum lv_lapic_event event, u8 vector)
{
	struct lv_vcpu *v = to_vcpu_apic(apic)->vcpu;

	if (event == LV_LAPIC_NMI) {
		lv_post_nmi(v);
		return;
	}
	if (event == LV_LAPIC_INIT) {
		/* It also drops a start-up message that came before it. */
		WRITE_ONCE(v->apic_events, BIT(LV_LAPIC_INIT));
	} else {
		WRITE_ONCE(v->sipi_vector, vector);
		smp_wmb(); /* the vector before the bit that announces it */
		set_bit(LV_LAPIC_SIPI, &v->apic_events);
	}
	lv_request(v, LV_REQ_APIC);
	lv_kick_for(v, LV_WAKE_IPI);
}

/*
 * A deadline of the guest's TSC is met by waiting for it in the guest's place:
 * the hrtimer comes earlier by what it took lately from there to the entry.
 */
static void arm_hrtimer(struct lv_lapic *apic, u64 deadline)
{
	if (apic->tsc_deadline)
		deadline -= to_vcpu_apic(apic)->advance;
	hrtimer_start(&to_vcpu_apic(apic)->timer, ns_to_ktime(deadline),
		      HRTIMER_MODE_ABS_PINNED_HARD);
}

static void set_backend_timer(struct lv_vcpu *v, u64 host_tsc)
{
	v->timer_tsc = host_tsc;
	lv_backend->set_timer(v, host_tsc);
}

/*
 * A guest that arms its timer and goes on needs no timer of the host's: its CPU
 * counts. When it leaves the innermost loop an hrtimer takes over.
 */
static bool cpu_counts(const struct lv_vcpu *v)
{
	/* In interrupts this is lapic_timer_fn(), on any CPU. */
	return lv_backend->set_timer && v->atomic && !in_hardirq();
}

void lv_lapic_timer_arm(struct lv_lapic *apic, u64 deadline)
{
	struct lv_vcpu *v = to_vcpu_apic(apic)->vcpu;
	u64 ns;

	if (!cpu_counts(v))
		return arm_hrtimer(apic, deadline);
	ns = max_t(s64, deadline - ktime_get_ns(), 0);
	set_backend_timer(v,
			  rdtsc() + mul_u64_u32_div(ns, tsc_khz, USEC_PER_SEC));
}

bool lv_lapic_timer_arm_tsc(struct lv_lapic *apic, u64 tsc)
{
	struct lv_vcpu *v = to_vcpu_apic(apic)->vcpu;
	u64 host_tsc = tsc - v->tsc_offset;

	if (!cpu_counts(v) || (s64)(host_tsc - rdtsc()) <= 0)
		return false;
	set_backend_timer(v, host_tsc);
	return true;
}

void lv_lapic_timer_cancel(struct lv_lapic *apic)
{
	struct lv_vcpu *v = to_vcpu_apic(apic)->vcpu;

	if (v->timer_tsc)
		set_backend_timer(v, 0);
	else
		hrtimer_cancel(&to_vcpu_apic(apic)->timer);
}

/** lv_vcpu_timer_to_host - the vCPU leaves the innermost loop; interrupts off */
void lv_vcpu_timer_to_host(struct lv_vcpu *v)
{
	struct lv_lapic *apic = v->apic;

	if (apic->tsc_deadline)
		apic->expiry = ktime_get_ns() +
			       lv_lapic_ns_until(apic, apic->tsc_deadline);
	arm_hrtimer(apic, apic->expiry);
	set_backend_timer(v, 0);
}

/*
 * lv_vcpu_timer_wait - the vCPU is about to enter the guest, where the timer's
 * interrupt awaits it. Not before the deadline; and learn how early to be.
 */
void lv_vcpu_timer_wait(struct lv_vcpu *v)
{
	struct lv_vcpu_apic *a = to_vcpu_apic(v->apic);
	s64 late = ktime_get_ns() - v->timer_due;
	u64 until = rdtsc();

	v->timer_due = 0;
	/* Aim at a moment before the deadline: not all ways are as long. */
	if (late < MAX_LATE_NS)
		a->advance = clamp_t(s64, a->advance + (late + 64) / 4, 0,
				     MAX_ADVANCE_NS);
	if (late >= 0 || late < -MAX_ADVANCE_NS)
		return;
	until += mul_u64_u32_div(-late, tsc_khz, USEC_PER_SEC) + 1;
	while (rdtsc() < until)
		cpu_relax();
}

/** lv_vcpu_timer_expired - LV_EXIT_TIMER; it also comes if the CPU counts no further */
void lv_vcpu_timer_expired(struct lv_vcpu *v)
{
	if (!v->timer_tsc || rdtsc() < v->timer_tsc)
		return;
	set_backend_timer(v, 0);
	lv_lapic_timer_expired(v->apic);
}

static enum hrtimer_restart lapic_timer_fn(struct hrtimer *timer)
{
	struct lv_vcpu_apic *a =
		container_of(timer, struct lv_vcpu_apic, timer);

	WRITE_ONCE(a->lapic.source, LV_FROM_TIMER);
	if (a->lapic.tsc_deadline)
		WRITE_ONCE(a->vcpu->timer_due, a->lapic.expiry);
	/* A periodic timer arms itself anew. */
	lv_lapic_timer_expired(&a->lapic);
	return HRTIMER_NORESTART;
}

s64 lv_lapic_ns_until(struct lv_lapic *apic, u64 tsc)
{
	struct lv_vcpu *v = to_vcpu_apic(apic)->vcpu;
	u64 now = lv_guest_tsc(v, rdtsc());

	if (tsc <= now)
		return 0;
	/* A year at most: the division must not overflow, it would trap. */
	tsc = min(tsc - now, v->vm->tsc_khz * MSEC_PER_SEC * 86400 * 365);
	return mul_u64_u32_div(tsc, NSEC_PER_MSEC, v->vm->tsc_khz);
}

/* ---- lines ---- */

static int drive_pin(struct lv_irqchip *chip, unsigned int which, u8 pin,
		     enum lv_line_source source, bool level)
{
	if (which == KVM_IRQCHIP_IOAPIC)
		return lv_ioapic_set_line(&chip->ioapic, pin, source, level);
	if (which == KVM_IRQCHIP_PIC_SLAVE)
		pin += 8;
	return lv_pic_set_line(&chip->pic, pin, source, level);
}

/* Drive the pins of a GSI; its MSI is not sent. chip->lock is held. */
int lv_irqchip_drive(struct lv_irqchip *chip, const struct lv_route *route,
		     enum lv_line_source source, bool level)
{
	int ret = LV_LINE_IGNORED;
	unsigned int i;

	lockdep_assert_held(&chip->lock);
	for (i = 0; i < KVM_NR_IRQCHIPS; i++)
		if (route->pin[i] != LV_NO_PIN)
			ret = lv_line_merge(ret,
					    drive_pin(chip, i, route->pin[i],
						      source, level));
	return ret;
}

/** lv_irqchip_set_gsi - drive a GSI; high sends its MSI; see LV_LINE_IGNORED */
int lv_irqchip_set_gsi(struct lv_irqchip *chip, u32 gsi,
		       enum lv_line_source source, enum lv_level level)
{
	const struct lv_route *route;
	int ret = LV_LINE_IGNORED;
	unsigned long flags;

	rcu_read_lock();
	route = lv_irqchip_route(chip, gsi);
	if (route && route->is_msi) {
		if (level != LV_LOW)
			ret = lv_apic_bus_send(&chip->bus, &route->msi, NULL);
	} else if (route) {
		raw_spin_lock_irqsave(&chip->lock, flags);
		ret = lv_irqchip_drive(chip, route, source, level != LV_LOW);
		if (level == LV_PULSE)
			lv_irqchip_drive(chip, route, source, false);
		raw_spin_unlock_irqrestore(&chip->lock, flags);
	}
	rcu_read_unlock();
	return ret;
}

/* Did @ended end an interrupt of @route, which may be NULL? */
bool lv_route_ended(const struct lv_route *route, const struct lv_ended *ended)
{
	unsigned int i;

	for (i = 0; route && i < KVM_NR_IRQCHIPS; i++)
		if (route->pin[i] != LV_NO_PIN &&
		    ended->pins[i] & BIT(route->pin[i]))
			return true;
	return false;
}

/*
 * Interrupts ended under chip->lock: tell who waits for that. Devices lower
 * their lines before a level that is still high interrupts again. Unlock
 * before signalling them: an eventfd's own lock is taken outside of ours.
 */
static void unlock_ended(struct lv_irqchip *chip, const struct lv_ended *ended,
			 unsigned long flags) __releases(&chip->lock)
{
	rcu_read_lock();
	if (chip->has_pit &&
	    lv_route_ended(lv_irqchip_route(chip, LV_PIT_GSI), ended))
		lv_pit_ack(&chip->pit);
	lv_irqfd_lower(chip, ended);
	lv_ioapic_service(&chip->ioapic, ended->pins[KVM_IRQCHIP_IOAPIC]);
	raw_spin_unlock_irqrestore(&chip->lock, flags);
	lv_irqfd_resample(chip, ended);
	rcu_read_unlock();
}

void lv_lapic_eoi_broadcast(struct lv_lapic *apic, u8 vector)
{
	struct lv_vcpu *v = to_vcpu_apic(apic)->vcpu;
	struct lv_irqchip *chip = chip_of(apic);
	struct lv_ended ended = {};
	unsigned long flags;

	if (!chip->in_kernel) {
		v->eoi_vector = vector;
		lv_request(v, LV_REQ_EOI_EXIT);
		return;
	}
	raw_spin_lock_irqsave(&chip->lock, flags);
	ended.pins[KVM_IRQCHIP_IOAPIC] = lv_ioapic_eoi(&chip->ioapic, vector);
	unlock_ended(chip, &ended, flags);
}

void lv_pic_raise(struct lv_pic *pic)
{
	struct lv_irqchip *chip = container_of(pic, struct lv_irqchip, pic);
	unsigned int id;

	for (id = 0; id < READ_ONCE(chip->bus.nr); id++) {
		struct lv_lapic *apic = READ_ONCE(chip->bus.apic[id]);

		if (apic && lv_lapic_accepts_pic(apic))
			lv_lapic_notify(apic);
	}
}

/* Unlock after a call into the PIC that may have ended interrupts. */
static void unlock_pic(struct lv_irqchip *chip, unsigned long flags)
	__releases(&chip->lock)
{
	u16 acked = chip->pic.acked;
	struct lv_ended ended = { .pins[KVM_IRQCHIP_PIC_MASTER] = acked & 0xff,
				  .pins[KVM_IRQCHIP_PIC_SLAVE] = acked >> 8 };

	chip->pic.acked = 0;
	if (acked)
		unlock_ended(chip, &ended, flags);
	else
		raw_spin_unlock_irqrestore(&chip->lock, flags);
}

static int pic_ack(struct lv_irqchip *chip)
{
	unsigned long flags;
	int vector = -1;

	raw_spin_lock_irqsave(&chip->lock, flags);
	if (chip->pic.output)
		vector = lv_pic_inta(&chip->pic);
	unlock_pic(chip, flags);
	return vector;
}

static struct lv_irqchip *chip_of_pit(struct lv_pit *pit)
{
	return container_of(pit, struct lv_irqchip, pit);
}

int lv_pit_pulse(struct lv_pit *pit)
{
	struct lv_irqchip *chip = chip_of_pit(pit);
	const struct lv_route *route;
	int ret = LV_LINE_IGNORED;

	rcu_read_lock();
	route = lv_irqchip_route(chip, LV_PIT_GSI);
	if (route) {
		ret = lv_irqchip_drive(chip, route, LV_LINE_PIT, true);
		lv_irqchip_drive(chip, route, LV_LINE_PIT, false);
	}
	rcu_read_unlock();
	return ret;
}

void lv_pit_timer_arm(struct lv_pit *pit, u64 deadline)
{
	hrtimer_start(&chip_of_pit(pit)->pit_timer, ns_to_ktime(deadline),
		      HRTIMER_MODE_ABS_PINNED_HARD);
}

void lv_pit_timer_cancel(struct lv_pit *pit)
{
	/* Its function takes chip->lock, which is held here: do not wait. */
	hrtimer_try_to_cancel(&chip_of_pit(pit)->pit_timer);
}

enum hrtimer_restart lv_pit_timer_fn(struct hrtimer *timer)
{
	struct lv_irqchip *chip =
		container_of(timer, struct lv_irqchip, pit_timer);

	raw_spin_lock(&chip->lock);
	lv_pit_timer_expired(&chip->pit);
	raw_spin_unlock(&chip->lock);
	return HRTIMER_NORESTART;
}

/* ---- guest access ---- */

/* Access a byte-wide port of PIC, PIT or speaker; false: there is none. */
static bool access_port(struct lv_irqchip *chip, u16 port, u8 *val, bool write)
{
	bool pic = lv_pic_owns_port(port);
	bool speaker = port == LV_SPEAKER_PORT && chip->has_speaker;
	unsigned long flags;

	if (!chip->in_kernel)
		return false;
	if (!pic && !((speaker || (port & ~3) == LV_PIT_PORT) &&
		      smp_load_acquire(&chip->has_pit)))
		return false;

	raw_spin_lock_irqsave(&chip->lock, flags);
	if (pic && write)
		lv_pic_write(&chip->pic, port, *val);
	else if (pic)
		*val = lv_pic_read(&chip->pic, port);
	else if (write)
		lv_pit_write(&chip->pit, port, *val);
	else
		*val = lv_pit_read(&chip->pit, port);
	unlock_pic(chip, flags);
	return true;
}

/* Access a register of the I/O APIC; false: it is not there. */
static bool access_ioapic(struct lv_irqchip *chip, gpa_t gpa, u32 *val,
			  bool write)
{
	u64 offset = gpa - LV_IOAPIC_BASE;
	unsigned long flags;

	if (!chip->in_kernel || offset >= LV_IOAPIC_SIZE)
		return false;
	raw_spin_lock_irqsave(&chip->lock, flags);
	if (write)
		lv_ioapic_write(&chip->ioapic, offset, *val);
	else
		*val = lv_ioapic_read(&chip->ioapic, offset);
	raw_spin_unlock_irqrestore(&chip->lock, flags);
	return true;
}

/* Access a register of the vCPU's local APIC; false: it is not there. */
static bool access_lapic(struct lv_vcpu *v, gpa_t gpa, u32 *val, bool write)
{
	struct lv_lapic *apic = v->apic;

	if (!apic || !lv_lapic_enabled(apic) || lv_lapic_x2apic(apic) ||
	    gpa >> PAGE_SHIFT != apic->base >> PAGE_SHIFT)
		return false;
	if (v->report_tpr && offset_in_page(gpa) == LAPIC_TPR << 4) {
		v->tpr_rip = lv_io_rip(v);
		v->tpr_written = write;
		lv_request(v, LV_REQ_TPR);
	}
	if (write) {
		lv_lapic_mmio_write(apic, offset_in_page(gpa), *val);
		lv_show_tpr(v);
	} else {
		*val = lv_lapic_mmio_read(apic, offset_in_page(gpa));
	}
	return true;
}

/* lv_irqchip_ports - ports are bytes: a wider access is one of each byte's */
bool lv_irqchip_ports(struct lv_vcpu *v, u16 port, unsigned int len, u8 *data,
		      bool write)
{
	struct lv_irqchip *chip = v->vm->irqchip;
	unsigned int i;

	if (!access_port(chip, port, data, write))
		return false;
	for (i = 1; i < len; i++)
		if (!access_port(chip, port + i, &data[i], write) && !write)
			data[i] = 0xff;
	return true;
}

/*
 * lv_irqchip_mmio - APIC registers are 32 bits wide, 16 bytes apart. Reads may
 * take a part of one; a write that is not the whole register is dropped.
 */
bool lv_irqchip_mmio(struct lv_vcpu *v, gpa_t gpa, unsigned int len, u8 *data,
		     bool write)
{
	bool whole = !(gpa & 0xf) && len >= sizeof(u32);
	unsigned int byte = gpa & 3;
	u32 val = 0;

	if (write && whole)
		memcpy(&val, data, sizeof(val));
	gpa -= byte;
	if (!access_lapic(v, gpa, &val, write && whole) &&
	    !access_ioapic(v->vm->irqchip, gpa, &val, write && whole))
		return false;
	if (!write) {
		memset(data, 0, len);
		memcpy(data, (u8 *)&val + byte,
		       min_t(unsigned int, len, sizeof(val) - byte));
	}
	return true;
}

/* ---- vCPUs ---- */

/*
 * lv_apic_page_off - from here on accesses to the local APICs' page exit: one of
 * them is not there any more, or user space wants to hear of them. The page is
 * the VM's, so that is for all vCPUs. 0 or LV_SLEEPABLE
 */
int lv_apic_page_off(struct lv_vcpu *v)
{
	struct lv_vm *vm = v->vm;

	if (!READ_ONCE(vm->apic_page_on))
		return 0;
	if (v->atomic)
		return LV_SLEEPABLE;
	write_lock(&vm->mmu.lock);
	WRITE_ONCE(vm->apic_page_on, false);
	lv_tdp_change(vm, LV_TDP_ZAP, LV_APIC_GFN, LV_APIC_GFN + 1, false);
	write_unlock(&vm->mmu.lock);
	return 0;
}

static bool pic_waits(struct lv_lapic *apic)
{
	return lv_pic_pending(&chip_of(apic)->pic) &&
	       lv_lapic_accepts_pic(apic);
}

/** lv_irqchip_has_irq - does a vector wait for the vCPU? */
bool lv_irqchip_has_irq(struct lv_vcpu *v)
{
	struct lv_lapic *apic = v->apic;

	return apic && (lv_lapic_pending(apic) >= 0 || pic_waits(apic));
}

/** lv_irqchip_must_inject - can lv_irqchip_ack() give a vector? */
bool lv_irqchip_must_inject(struct lv_vcpu *v)
{
	return v->apicv ? pic_waits(v->apic) : lv_irqchip_has_irq(v);
}

/** lv_irqchip_ack - acknowledge: the vector to inject, or -1 */
int lv_irqchip_ack(struct lv_vcpu *v)
{
	struct lv_lapic *apic = v->apic;
	int vector;

	if (!apic)
		return -1;
	if (pic_waits(apic)) {
		vector = pic_ack(chip_of(apic));
		if (vector >= 0)
			return vector;
	}
	vector = v->apicv ? -1 : lv_lapic_pending(apic);
	if (vector >= 0)
		lv_lapic_ack(apic, vector);
	return vector;
}

/** lv_vcpu_apic_create - give a new vCPU its local APIC, if it is in here */
int lv_vcpu_apic_create(struct lv_vcpu *v)
{
	struct lv_irqchip *chip = v->vm->irqchip;
	struct lv_vcpu_apic *a;

	if (!chip)
		return 0;
	a = kzalloc(sizeof(*a), GFP_KERNEL_ACCOUNT);
	if (!a)
		return -ENOMEM;
	a->vcpu = v;
	lv_hrtimer_setup(&a->timer, lapic_timer_fn, CLOCK_MONOTONIC,
			 HRTIMER_MODE_ABS_PINNED_HARD);
	lv_lapic_init(&a->lapic, &chip->bus, v->id,
		      v->id == v->vm->boot_cpu_id);
	v->apic = &a->lapic;
	return 0;
}

/** lv_vcpu_apic_free - take it away; its bus is gone, or never knew of it */
void lv_vcpu_apic_free(struct lv_vcpu *v)
{
	if (!v->apic)
		return;
	hrtimer_cancel(&to_vcpu_apic(v->apic)->timer);
	kfree(to_vcpu_apic(v->apic));
	v->apic = NULL;
}
