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

#include "irq.h"

struct eventfd_ctx;
struct lv_vcpu;
struct lv_vm;

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

/* irqchip.c */
struct lv_irqchip *lv_irqchip_create(struct lv_vm *vm, bool in_kernel);
int lv_irqchip_set_gsi(struct lv_irqchip *chip, u32 gsi,
		       enum lv_line_source source, bool level);
int lv_irqchip_drive(struct lv_irqchip *chip, u32 gsi,
		     enum lv_line_source source, bool level);
bool lv_irqchip_is_ended(struct lv_irqchip *chip, u32 gsi,
			 const struct lv_ended *ended);
void lv_irqchip_set_routing(struct lv_irqchip *chip, struct lv_routing *table);
void lv_irqchip_update_watch(struct lv_irqchip *chip);
void lv_irqchip_create_pit(struct lv_irqchip *chip, bool speaker);
bool lv_irqchip_pio(struct lv_irqchip *chip, u16 port, u8 *val, bool write);
bool lv_irqchip_mmio(struct lv_irqchip *chip, gpa_t gpa, u32 *val, bool write);
bool lv_vcpu_apic_mmio(struct lv_vcpu *v, gpa_t gpa, u32 *val, bool write);

/* eventfd.c */
void lv_irqfd_init(struct lv_irqchip *chip);
void lv_irqfd_shutdown(struct lv_irqchip *chip);
void lv_irqfd_lower(struct lv_irqchip *chip, const struct lv_ended *ended);
void lv_irqfd_resample(struct lv_irqchip *chip, const struct lv_ended *ended);

/* iobus.c */
struct lv_iobus;
int lv_iobus_add_eventfd(struct lv_iobus *bus, const struct kvm_ioeventfd *args,
			 struct eventfd_ctx *eventfd);
int lv_iobus_remove_eventfd(struct lv_iobus *bus,
			    const struct kvm_ioeventfd *args,
			    struct eventfd_ctx *eventfd);

#endif /* LABVISOR_IRQCHIP_H */
