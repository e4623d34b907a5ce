// SPDX-License-Identifier: GPL-2.0-only
/*
 * Senders on several CPUs against the vCPU that takes their vectors: whatever
 * was accepted as new is taken, exactly once.
 */
#include <pthread.h>

#include "irq/irq.h"
#include "tap.h"

#define SENDERS 3
#define MESSAGES 100000

static struct lv_apic_bus bus;
static struct lv_lapic apic;
static int running = SENDERS;

u64 lv_irq_now_ns(void)
{
	return 0;
}

void lv_lapic_notify(struct lv_lapic *a)
{
	(void)a;
}

void lv_lapic_event(struct lv_lapic *a, enum lv_lapic_event event, u8 vector)
{
	(void)a, (void)event, (void)vector;
}

void lv_lapic_eoi_broadcast(struct lv_lapic *a, u8 vector)
{
	(void)a, (void)vector;
}

void lv_lapic_timer_arm(struct lv_lapic *a, u64 deadline)
{
	(void)a, (void)deadline;
}

void lv_lapic_timer_cancel(struct lv_lapic *a)
{
	(void)a;
}

s64 lv_lapic_ns_until(struct lv_lapic *a, u64 tsc)
{
	(void)a, (void)tsc;
	return 0;
}

static void *sender(void *arg)
{
	struct lv_apic_msg msg = {};
	unsigned long accepted = 0;
	unsigned int i;

	for (i = 0; i < MESSAGES; i++) {
		msg.vector = 16 + (i * 7 + (unsigned long)arg * 61) % 240;
		accepted += lv_apic_bus_send(&bus, &msg, NULL);
	}
	__atomic_fetch_sub(&running, 1, __ATOMIC_SEQ_CST);
	return (void *)accepted;
}

static unsigned long take_all(void)
{
	unsigned long taken = 0;
	bool last;
	int vector;

	do {
		last = !__atomic_load_n(&running, __ATOMIC_SEQ_CST);
		while ((vector = lv_lapic_pending(&apic)) >= 0) {
			lv_lapic_ack(&apic, vector);
			lv_lapic_eoi(&apic);
			taken++;
		}
	} while (!last);
	return taken;
}

int main(void)
{
	unsigned long i, accepted = 0, taken;
	pthread_t threads[SENDERS];
	void *result;

	lv_lapic_init(&apic, &bus, 0, true);
	lv_apic_bus_add(&bus, &apic);
	lv_lapic_mmio_write(&apic, LAPIC_SPIV << 4, LV_SPIV_ENABLE | 0xff);

	for (i = 0; i < SENDERS; i++)
		if (pthread_create(&threads[i], NULL, sender, (void *)i))
			return 1;
	taken = take_all();
	for (i = 0; i < SENDERS; i++) {
		pthread_join(threads[i], &result);
		accepted += (unsigned long)result;
	}
	is(taken, accepted, "all vectors that were accepted are taken once");
	ok(!apic.irr[0] && !apic.irr[1] && !apic.irr[2] && !apic.irr[3],
	   "none is left behind");
	return tap_done();
}
