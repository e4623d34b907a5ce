// SPDX-License-Identifier: GPL-2.0-only
/*
 * The kernel side of the interrupt controllers: locks, timers, vCPUs, and
 * the hooks that the state machines call.
 *
 * Messages to local APICs need no lock at all. PIC, I/O APIC and PIT share
 * one raw spinlock. Everything here may be called in hard interrupts, except
 * creation and destruction.
 */
#include <linux/slab.h>

#include "../labvisor.h"
#include "../compat.h"
#include "irqchip.h"

/* struct lv_vcpu_apic - a local APIC and what it needs of the kernel */
struct lv_vcpu_apic {
	struct lv_lapic lapic; /* the state machine */
	struct lv_vcpu *vcpu; /* whose it is (once) */
	struct hrtimer timer; /* calls lv_lapic_timer_expired() */
};

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
	struct lv_vcpu *v = to_vcpu_apic(apic)->vcpu;

	lv_request(v, LV_REQ_EVENT);
	lv_kick(v);
}

void lv_lapic_event(struct lv_lapic *apic, enum lv_lapic_event event, u8 vector)
{
	struct lv_vcpu *v = to_vcpu_apic(apic)->vcpu;

	switch (event) {
	case LV_LAPIC_NMI:
		lv_post_nmi(v);
		return;
	case LV_LAPIC_INIT:
		/* It also drops a start-up message that came before it. */
		WRITE_ONCE(v->apic_events, BIT(LV_LAPIC_INIT));
		break;
	case LV_LAPIC_SIPI:
		WRITE_ONCE(v->sipi_vector, vector);
		smp_wmb(); /* the vector before the bit that announces it */
		set_bit(LV_LAPIC_SIPI, &v->apic_events);
		break;
	}
	lv_request(v, LV_REQ_APIC);
	lv_kick(v);
}

void lv_lapic_timer_arm(struct lv_lapic *apic, u64 deadline)
{
	hrtimer_start(&to_vcpu_apic(apic)->timer, ns_to_ktime(deadline),
		      HRTIMER_MODE_ABS_PINNED_HARD);
}

void lv_lapic_timer_cancel(struct lv_lapic *apic)
{
	hrtimer_cancel(&to_vcpu_apic(apic)->timer);
}

static enum hrtimer_restart lapic_timer_fn(struct hrtimer *timer)
{
	struct lv_vcpu_apic *a =
		container_of(timer, struct lv_vcpu_apic, timer);

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

static int drive_pins(struct lv_irqchip *chip, const struct lv_route *route,
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

/* The caller is in an RCU read-side critical section. */
static const struct lv_route *find_route(struct lv_irqchip *chip, u32 gsi)
{
	return lv_routing_find(rcu_dereference(chip->routing), gsi);
}

/*
 * lv_irqchip_drive - drive the pins of a GSI, under chip->lock and RCU
 * Return: as documented at LV_LINE_IGNORED.
 */
int lv_irqchip_drive(struct lv_irqchip *chip, u32 gsi,
		     enum lv_line_source source, bool level)
{
	const struct lv_route *route = find_route(chip, gsi);

	if (!route || route->is_msi)
		return LV_LINE_IGNORED;
	return drive_pins(chip, route, source, level);
}

/*
 * lv_irqchip_set_gsi - drive a GSI, wherever it is routed to
 * @level: to which level; going high sends an MSI
 * Return: as documented at LV_LINE_IGNORED.
 */
int lv_irqchip_set_gsi(struct lv_irqchip *chip, u32 gsi,
		       enum lv_line_source source, bool level)
{
	const struct lv_route *route;
	int ret = LV_LINE_IGNORED;
	unsigned long flags;

	rcu_read_lock();
	route = find_route(chip, gsi);
	if (route && route->is_msi) {
		if (level)
			ret = lv_apic_bus_send(&chip->bus, &route->msi, NULL);
	} else if (route) {
		raw_spin_lock_irqsave(&chip->lock, flags);
		ret = drive_pins(chip, route, source, level);
		raw_spin_unlock_irqrestore(&chip->lock, flags);
	}
	rcu_read_unlock();
	return ret;
}

/* Did @ended end an interrupt of @gsi? Under RCU. */
bool lv_irqchip_is_ended(struct lv_irqchip *chip, u32 gsi,
			 const struct lv_ended *ended)
{
	const struct lv_route *route = find_route(chip, gsi);
	unsigned int i;

	if (!route)
		return false;
	for (i = 0; i < KVM_NR_IRQCHIPS; i++)
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
	if (chip->has_pit && lv_irqchip_is_ended(chip, LV_PIT_GSI, ended))
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

/* ---- PIC ---- */

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
	struct lv_ended ended = {
		.pins[KVM_IRQCHIP_PIC_MASTER] = acked & 0xff,
		.pins[KVM_IRQCHIP_PIC_SLAVE] = acked >> 8,
	};

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

/* ---- PIT ---- */

int lv_pit_pulse(struct lv_pit *pit)
{
	struct lv_irqchip *chip = container_of(pit, struct lv_irqchip, pit);
	int ret;

	rcu_read_lock();
	ret = lv_irqchip_drive(chip, LV_PIT_GSI, LV_LINE_PIT, true);
	lv_irqchip_drive(chip, LV_PIT_GSI, LV_LINE_PIT, false);
	rcu_read_unlock();
	return ret;
}

void lv_pit_timer_arm(struct lv_pit *pit, u64 deadline)
{
	struct lv_irqchip *chip = container_of(pit, struct lv_irqchip, pit);

	hrtimer_start(&chip->pit_timer, ns_to_ktime(deadline),
		      HRTIMER_MODE_ABS_PINNED_HARD);
}

void lv_pit_timer_cancel(struct lv_pit *pit)
{
	struct lv_irqchip *chip = container_of(pit, struct lv_irqchip, pit);

	/* Its function takes chip->lock, which is held here: do not wait. */
	hrtimer_try_to_cancel(&chip->pit_timer);
}

static enum hrtimer_restart pit_timer_fn(struct hrtimer *timer)
{
	struct lv_irqchip *chip =
		container_of(timer, struct lv_irqchip, pit_timer);

	raw_spin_lock(&chip->lock);
	lv_pit_timer_expired(&chip->pit);
	raw_spin_unlock(&chip->lock);
	return HRTIMER_NORESTART;
}

/*
 * lv_irqchip_create_pit - add the PIT
 * @chip: an in-kernel irqchip without one
 *
 * vm->lock is held.
 */
void lv_irqchip_create_pit(struct lv_irqchip *chip, bool speaker)
{
	unsigned long flags;

	raw_spin_lock_irqsave(&chip->lock, flags);
	lv_pit_init(&chip->pit);
	raw_spin_unlock_irqrestore(&chip->lock, flags);
	WRITE_ONCE(chip->has_speaker, speaker);
	smp_store_release(&chip->has_pit, true);
	lv_irqchip_update_watch(chip);
}

/**
 * lv_irqchip_update_watch - have the I/O APIC report EOIs of the PIT's pin
 * @chip: the VM's irqchip, vm->lock is held
 *
 * That pin is edge triggered, but ticks that merged are paid on its EOI.
 */
void lv_irqchip_update_watch(struct lv_irqchip *chip)
{
	const struct lv_route *route;
	unsigned long flags;
	u32 pins = 0;

	raw_spin_lock_irqsave(&chip->lock, flags);
	rcu_read_lock();
	route = find_route(chip, LV_PIT_GSI);
	if (chip->has_pit && chip->pit.reinject && route &&
	    route->pin[KVM_IRQCHIP_IOAPIC] != LV_NO_PIN)
		pins = BIT(route->pin[KVM_IRQCHIP_IOAPIC]);
	rcu_read_unlock();
	lv_ioapic_watch(&chip->ioapic, pins);
	raw_spin_unlock_irqrestore(&chip->lock, flags);
}

/* ---- guest access ---- */

/*
 * lv_irqchip_pio - access one byte-wide port of PIC, PIT or speaker
 * Return: whether there is such a port.
 */
bool lv_irqchip_pio(struct lv_irqchip *chip, u16 port, u8 *val, bool write)
{
	bool pic = lv_pic_owns_port(port);
	bool pit = (port & ~3) == LV_PIT_PORT &&
		   smp_load_acquire(&chip->has_pit);
	unsigned long flags;

	if (port == LV_SPEAKER_PORT)
		pit = smp_load_acquire(&chip->has_pit) && chip->has_speaker;
	if (!chip->in_kernel || (!pic && !pit))
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

/*
 * lv_irqchip_mmio - access a register of the I/O APIC
 * Return: whether the I/O APIC is at that address.
 */
bool lv_irqchip_mmio(struct lv_irqchip *chip, gpa_t gpa, u32 *val, bool write)
{
	u32 offset = gpa - LV_IOAPIC_BASE;
	unsigned long flags;

	if (!chip->in_kernel || gpa - LV_IOAPIC_BASE >= LV_IOAPIC_SIZE)
		return false;

	raw_spin_lock_irqsave(&chip->lock, flags);
	if (write)
		lv_ioapic_write(&chip->ioapic, offset, *val);
	else
		*val = lv_ioapic_read(&chip->ioapic, offset);
	raw_spin_unlock_irqrestore(&chip->lock, flags);
	return true;
}

/*
 * lv_vcpu_apic_mmio - access a register of the vCPU's local APIC
 * Return: whether the local APIC is at that address.
 */
bool lv_vcpu_apic_mmio(struct lv_vcpu *v, gpa_t gpa, u32 *val, bool write)
{
	struct lv_lapic *apic = v->apic;
	u32 offset = gpa & ~PAGE_MASK;

	if (!apic || !lv_lapic_enabled(apic) || lv_lapic_x2apic(apic) ||
	    gpa >> PAGE_SHIFT != apic->base >> PAGE_SHIFT)
		return false;
	if (write) {
		lv_lapic_mmio_write(apic, offset, *val);
		lv_show_tpr(v);
	} else {
		*val = lv_lapic_mmio_read(apic, offset);
	}
	return true;
}

/* ---- vCPUs ---- */

/** lv_irqchip_has_irq - can lv_irqchip_ack() give a vector? */
bool lv_irqchip_has_irq(struct lv_vcpu *v)
{
	struct lv_lapic *apic = v->apic;

	if (!apic)
		return false;
	return lv_lapic_pending(apic) >= 0 ||
	       (lv_pic_pending(&chip_of(apic)->pic) &&
		lv_lapic_accepts_pic(apic));
}

/*
 * lv_irqchip_ack - interrupt acknowledge cycle of a vCPU
 * Return: the vector to inject, or -1 if there is none.
 */
int lv_irqchip_ack(struct lv_vcpu *v)
{
	struct lv_lapic *apic = v->apic;
	int vector;

	if (!apic)
		return -1;
	if (lv_pic_pending(&chip_of(apic)->pic) && lv_lapic_accepts_pic(apic)) {
		vector = pic_ack(chip_of(apic));
		if (vector >= 0)
			return vector;
	}
	vector = lv_lapic_pending(apic);
	if (vector >= 0)
		lv_lapic_ack(apic, vector);
	return vector;
}

/*
 * lv_vcpu_apic_create - give a new vCPU its local APIC
 *
 * Does nothing without in-kernel local APICs.
 * Return: 0 or -ENOMEM, -EINVAL.
 */
int lv_vcpu_apic_create(struct lv_vcpu *v)
{
	struct lv_irqchip *chip = v->vm->irqchip;
	struct lv_vcpu_apic *a;

	if (!chip)
		return 0;
	if (v->id >= LV_MAX_APICS)
		return -EINVAL;
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

/**
 * lv_vcpu_apic_publish - let messages reach the vCPU's local APIC
 * @v: a vCPU that is there to stay until the VM goes; vm->lock is held
 */
void lv_vcpu_apic_publish(struct lv_vcpu *v)
{
	if (v->apic)
		lv_apic_bus_add(v->apic->bus, v->apic);
}

/**
 * lv_vcpu_apic_free - take it away again
 * @v: a vCPU that was not published, or whose VM's irqchip is gone
 */
void lv_vcpu_apic_free(struct lv_vcpu *v)
{
	if (!v->apic)
		return;
	hrtimer_cancel(&to_vcpu_apic(v->apic)->timer);
	kfree(to_vcpu_apic(v->apic));
	v->apic = NULL;
}

/* ---- life cycle ---- */

/*
 * lv_irqchip_create - allocate the interrupt controllers of a VM
 * @in_kernel: PIC and I/O APIC, too, with default routes; else local APICs
 *	only, and no routes
 * Return: the irqchip, or NULL.
 */
struct lv_irqchip *lv_irqchip_create(struct lv_vm *vm, bool in_kernel)
{
	u32 gsis = in_kernel ? LV_DEFAULT_GSIS : 0;
	struct lv_irqchip *chip;
	struct lv_routing *table;

	chip = kzalloc(sizeof(*chip), GFP_KERNEL_ACCOUNT);
	table = kvzalloc(struct_size(table, route, gsis), GFP_KERNEL_ACCOUNT);
	if (!chip || !table) {
		kvfree(table);
		kfree(chip);
		return NULL;
	}

	table->nr = gsis;
	if (in_kernel)
		lv_routing_default(table);
	RCU_INIT_POINTER(chip->routing, table);

	chip->vm = vm;
	chip->in_kernel = in_kernel;
	raw_spin_lock_init(&chip->lock);
	lv_ioapic_init(&chip->ioapic, &chip->bus);
	lv_pic_init(&chip->pic);
	lv_hrtimer_setup(&chip->pit_timer, pit_timer_fn, CLOCK_MONOTONIC,
			 HRTIMER_MODE_ABS_PINNED_HARD);
	lv_irqfd_init(chip);
	return chip;
}

/**
 * lv_irqchip_set_routing - replace the GSI routes
 * @chip: the VM's irqchip, vm->lock is held
 * @table: the new ones; on return nobody uses the old ones any more
 */
void lv_irqchip_set_routing(struct lv_irqchip *chip, struct lv_routing *table)
{
	table = rcu_replace_pointer(chip->routing, table,
				    lockdep_is_held(&chip->vm->lock));
	lv_irqchip_update_watch(chip);
	synchronize_rcu_expedited();
	kvfree(table);
}

/**
 * lv_irqchip_free - stop all interrupts of a VM that nobody runs any more
 * @vm: the VM; call this before its vCPUs are freed
 */
void lv_irqchip_free(struct lv_vm *vm)
{
	struct lv_irqchip *chip = vm->irqchip;

	if (!chip)
		return;
	lv_irqfd_shutdown(chip);
	hrtimer_cancel(&chip->pit_timer);
	kvfree(rcu_dereference_protected(chip->routing, true));
	kfree(chip);
	vm->irqchip = NULL;
}
