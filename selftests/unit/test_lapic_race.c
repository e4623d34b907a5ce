// SPDX-License-Identifier: GPL-2.0-only
/*
 * Senders on other CPUs against the vCPU that takes their vectors: whatever
 * was accepted as new is taken, exactly once, and a vector that comes while
 * another is taken is seen.
 */
#include <pthread.h>
#include <sched.h>

#include "irq/irq.h"
#include "tap.h"

#define SENDERS 2
#define MESSAGES 1000000

static struct lv_apic_bus bus;
static struct lv_lapic apic;
static pthread_barrier_t start;
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

	pthread_barrier_wait(&start);
	for (i = 0; i < MESSAGES; i++) {
		/* All in one word of IRR, where they meet. */
		msg.vector = 64 + (i * 7 + (unsigned long)arg * 31) % 64;
		if (lv_apic_bus_send(&bus, &msg, NULL) > 0)
			accepted++;
		else
			sched_yield(); /* let the others run on a busy machine */
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
		sched_yield();
	} while (!last);
	return taken;
}

#define ROUNDS 100000

static int round_sent, round_taken; /* rounds begun by each side */

static void wait_for(int *counter, int value)
{
	unsigned int spins = 0;

	while (__atomic_load_n(counter, __ATOMIC_ACQUIRE) < value)
		if (++spins % 1024 == 0)
			sched_yield();
}

static void *round_sender(void *unused)
{
	struct lv_apic_msg msg = { .vector = 0x50 };
	int i;

	(void)unused;
	for (i = 1; i <= ROUNDS; i++) {
		wait_for(&round_taken, i);
		lv_apic_bus_send(&bus, &msg, NULL);
		__atomic_store_n(&round_sent, i, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* One vector is taken while another comes. */
static unsigned int unseen_after_rounds(void)
{
	struct lv_apic_msg msg = { .vector = 0x90 };
	unsigned int unseen = 0;
	pthread_t thread;
	int i, delay;

	if (pthread_create(&thread, NULL, round_sender, NULL))
		return ROUNDS;
	for (i = 1; i <= ROUNDS; i++) {
		lv_apic_bus_send(&bus, &msg, NULL);
		__atomic_store_n(&round_taken, i, __ATOMIC_RELEASE);
		for (delay = i % 64; delay; delay--)
			__asm__ volatile("pause");
		lv_lapic_ack(&apic, 0x90);
		lv_lapic_eoi(&apic);
		wait_for(&round_sent, i);
		if (lv_lapic_pending(&apic) != 0x50)
			unseen++;
		lv_lapic_ack(&apic, 0x50);
		lv_lapic_eoi(&apic);
	}
	pthread_join(thread, NULL);
	return unseen;
}

int main(void)
{
	unsigned long i, accepted = 0, taken;
	pthread_t threads[SENDERS];
	void *result;

	lv_lapic_init(&apic, &bus, 0, true);
	lv_apic_bus_add(&bus, &apic);
	lv_lapic_mmio_write(&apic, LAPIC_SPIV << 4, LV_SPIV_ENABLE | 0xff);

	pthread_barrier_init(&start, NULL, SENDERS + 1);
	for (i = 0; i < SENDERS; i++)
		if (pthread_create(&threads[i], NULL, sender, (void *)i))
			return 1;
	pthread_barrier_wait(&start);
	taken = take_all();
	for (i = 0; i < SENDERS; i++) {
		pthread_join(threads[i], &result);
		accepted += (unsigned long)result;
	}
	is(taken, accepted, "all vectors that were accepted are taken once");
	ok(!apic.irr[0] && !apic.irr[1] && !apic.irr[2] && !apic.irr[3],
	   "none is left behind");
	is(unseen_after_rounds(), 0, "a vector that comes meanwhile is seen");
	return tap_done();
}
