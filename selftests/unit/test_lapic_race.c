// SPDX-License-Identifier: GPL-2.0-only
/*
 * Senders on other CPUs against the vCPU that takes their vectors: whatever
 * was accepted as new is taken, exactly once, and a vector that comes while
 * another is taken is seen.
 */
#include <limits.h>
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

/* Of the vCPU that vectors are posted to. */
static bool in_guest; /* its mode */
static bool notified; /* the notification is pending in the CPU's APIC */
static bool kicked; /* it is to look for what is pending */

void lv_lapic_notify(struct lv_lapic *a)
{
	(void)a;
	__atomic_store_n(&kicked, true, __ATOMIC_SEQ_CST);
}

bool lv_lapic_takes_posted(struct lv_lapic *a)
{
	(void)a;
	return __atomic_load_n(&in_guest, __ATOMIC_ACQUIRE);
}

void lv_lapic_notify_cpu(struct lv_lapic *a)
{
	(void)a;
	__atomic_store_n(&notified, true, __ATOMIC_SEQ_CST);
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

bool lv_lapic_timer_arm_tsc(struct lv_lapic *a, u64 tsc)
{
	(void)a, (void)tsc;
	return false;
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

#define POSTED 5000

/* How many of each sender's vector were taken. */
static int posted_taken[SENDERS];

static void *posted_sender(void *arg)
{
	long me = (long)arg;
	struct lv_apic_msg msg = { .vector = 0x50 + me };
	int i;

	for (i = 1; i <= POSTED; i++) {
		lv_apic_bus_send(&bus, &msg, NULL);
		wait_for(&posted_taken[me], i);
	}
	__atomic_fetch_sub(&running, 1, __ATOMIC_SEQ_CST);
	return NULL;
}

static void take_pending(void)
{
	int vector;

	while ((vector = lv_lapic_pending(&apic)) >= 0) {
		lv_lapic_ack(&apic, vector);
		lv_lapic_eoi(&apic);
		__atomic_fetch_add(&posted_taken[vector - 0x50], 1,
				   __ATOMIC_SEQ_CST);
	}
}

/* What a CPU does with the notification: see the SDM. */
static void process_posted(void)
{
	unsigned long bits;

	clear_bit(0, &apic.posted.notified);
	for (bits = xchg(&apic.posted.pir[1], 0); bits; bits &= bits - 1)
		__atomic_fetch_add(&posted_taken[64 + __ffs(bits) - 0x50], 1,
				   __ATOMIC_SEQ_CST);
}

/*
 * A stay, which others end, or the host after @spins. A notification that comes
 * when it is over is for nobody, and it may have gone to another CPU.
 */
static void stay(unsigned int spins)
{
	__atomic_store_n(&in_guest, true, __ATOMIC_SEQ_CST);
	lv_lapic_collect(&apic);
	take_pending();
	while (spins-- && !__atomic_load_n(&kicked, __ATOMIC_ACQUIRE) &&
	       __atomic_load_n(&running, __ATOMIC_ACQUIRE)) {
		if (__atomic_exchange_n(&notified, false, __ATOMIC_SEQ_CST))
			process_posted();
		else if (spins % 64 == 0)
			sched_yield();
	}
	__atomic_store_n(&in_guest, false, __ATOMIC_RELEASE);
	lv_lapic_collect(&apic);
	__atomic_store_n(&notified, false, __ATOMIC_SEQ_CST);
}

/* The vCPU halts after each stay, until it is kicked. */
static void take_posted(void)
{
	pthread_t threads[SENDERS];
	unsigned int stays = 0;
	long i;

	running = SENDERS;
	for (i = 0; i < SENDERS; i++)
		if (pthread_create(&threads[i], NULL, posted_sender, (void *)i))
			exit(1);
	while (__atomic_load_n(&running, __ATOMIC_SEQ_CST)) {
		stay(stays++ % 2 ? stays * 37 % 509 : UINT_MAX);
		while (lv_lapic_pending(&apic) < 0 &&
		       __atomic_load_n(&running, __ATOMIC_SEQ_CST) &&
		       !__atomic_exchange_n(&kicked, false, __ATOMIC_SEQ_CST))
			sched_yield();
		take_pending();
	}
	for (i = 0; i < SENDERS; i++)
		pthread_join(threads[i], NULL);
}

int main(void)
{
	unsigned long i, accepted = 0, taken;
	pthread_t threads[SENDERS];
	void *result;

	lv_lapic_init(&apic, &bus, 0, true);
	apic.posts = true;
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
	take_posted(); /* one that is lost is waited for */
	is(posted_taken[0] + posted_taken[1], SENDERS * POSTED,
	   "all vectors that were posted are taken");
	ok(!apic.posted.pir[1], "none is left behind");
	return tap_done();
}
