/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The kernel side of the interrupt controllers: what irqchip.c, api.c,
 * eventfd.c and iobus.c share.
 */
#ifndef LABVISOR_IRQCHIP_H
#define LABVISOR_IRQCHIP_H

#include <linux/hrtimer.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>

#include "../labvisor.h"

#define LV_PIT_GSI 0

/* struct lv_irqchip - the interrupt controllers of a VM, but local APICs */
struct lv_irqchip {
	struct lv_vm *vm; /* whose (once) */
	bool in_kernel; /* with PIC and I/O APIC; false: split irqchip (once) */
	bool has_pit; /* the PIT was created (vm->lock, then constant) */
	bool has_speaker; /* and with it the speaker port (ditto) */
	struct lv_apic_bus bus; /* the local APICs */

	/* protects the next three; taken in hard interrupts */
	raw_spinlock_t lock;
	struct lv_ioapic ioapic; /* see irq.h (lock) */
	struct lv_pic pic; /* see irq.h (lock) */
	struct lv_pit pit; /* see irq.h (lock) */
	struct hrtimer pit_timer; /* calls lv_pit_timer_expired() */

	struct lv_routing __rcu *routing; /* vm->lock, read under RCU */

	struct mutex irqfd_lock; /* serialises changes of @irqfds */
	/* those that inject (irqfd_lock, read under RCU) */
	struct list_head irqfds;
	unsigned int nr_irqfds; /* length of @irqfds (irqfd_lock) */
	struct work_struct irqfd_reap; /* frees those that were closed */
};

/* struct lv_ended - pins whose interrupts the guest has ended */
struct lv_ended {
	u32 pins[KVM_NR_IRQCHIPS]; /* a bit per pin, indexed by KVM_IRQCHIP_* */
};

/* The route of a GSI, or NULL; under RCU. */
static inline const struct lv_route *lv_irqchip_route(struct lv_irqchip *chip,
						      u32 gsi)
{
	return lv_routing_find(rcu_dereference(chip->routing), gsi);
}

/* irqchip.c */
enum hrtimer_restart lv_pit_timer_fn(struct hrtimer *timer);
enum lv_level {
	LV_LOW,
	LV_HIGH,
	LV_PULSE /* high, and low again */
};
int lv_irqchip_set_gsi(struct lv_irqchip *chip, u32 gsi,
		       enum lv_line_source source, enum lv_level level);
int lv_irqchip_drive(struct lv_irqchip *chip, const struct lv_route *route,
		     enum lv_line_source source, bool level);
bool lv_route_ended(const struct lv_route *route, const struct lv_ended *ended);

/* eventfd.c */
void lv_irqfd_init(struct lv_irqchip *chip);
void lv_irqfd_shutdown(struct lv_irqchip *chip);
void lv_irqfd_lower(struct lv_irqchip *chip, const struct lv_ended *ended);
void lv_irqfd_resample(struct lv_irqchip *chip, const struct lv_ended *ended);

#endif /* LABVISOR_IRQCHIP_H */
