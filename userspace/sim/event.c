// SPDX-License-Identifier: GPL-2.0-only
/* What will happen, in order: a binary heap, from place 1 on. And chance. */
#include "sim_core.h"

static bool before(const struct sim_event *a, const struct sim_event *b)
{
	return a->at != b->at ? a->at < b->at : a->seq < b->seq;
}

static void put(struct sim *sim, u32 place, struct sim_event *event)
{
	sim->heap[place] = event;
	event->place = place;
}

static void rise(struct sim *sim, struct sim_event *event)
{
	u32 i = event->place;

	for (; i > 1 && before(event, sim->heap[i / 2]); i /= 2)
		put(sim, i, sim->heap[i / 2]);
	put(sim, i, event);
}

static void sink(struct sim *sim, struct sim_event *event)
{
	u32 i = event->place, child;

	for (; (child = 2 * i) <= sim->nr_events; i = child) {
		if (child < sim->nr_events &&
		    before(sim->heap[child + 1], sim->heap[child]))
			child++;
		if (!before(sim->heap[child], event))
			break;
		put(sim, i, sim->heap[child]);
	}
	put(sim, i, event);
}

void sim_cancel(struct sim *sim, struct sim_event *event)
{
	struct sim_event *last;
	u32 place = event->place;

	if (!place)
		return;
	event->place = 0;
	last = sim->heap[sim->nr_events--];
	if (last == event)
		return;
	put(sim, place, last);
	rise(sim, last);
	sink(sim, last);
}

void sim_at(struct sim *sim, struct sim_event *event, u64 at)
{
	sim_cancel(sim, event);
	if (sim->nr_events + 1 >= sim->room) {
		sim->room = 2 * sim->room + 64;
		sim->heap = realloc(sim->heap, sim->room * sizeof(*sim->heap));
		if (!sim->heap)
			abort();
	}
	event->at = max(at, sim->now);
	event->seq = ++sim->seq;
	put(sim, ++sim->nr_events, event);
	rise(sim, event);
}

/* xorshift64*: Vigna, An experimental exploration of Marsaglia's generators, 2016 */
u64 sim_random(struct sim *sim, u64 below)
{
	u64 x = sim->random;

	x ^= x >> 12;
	x ^= x << 25;
	x ^= x >> 27;
	sim->random = x;
	return below ? (x * 0x2545f4914f6cdd1dULL >> 11) % below : 0;
}

/* Some time around @mean. */
u64 sim_soon(struct sim *sim, u64 mean)
{
	return sim->now + mean / 2 + sim_random(sim, mean + 1);
}
