// SPDX-License-Identifier: GPL-2.0-only
/*
 * The bus between local APICs, I/O APIC and MSI: finds the targets of a
 * message and hands it to each. Lockless: a VM's local APICs never go while
 * it lives, and accepting a vector is an atomic bit.
 */
#include "irq.h"

#define X2APIC_CLUSTER_SIZE 16
#define DFR_FLAT 0xf

/** lv_apic_bus_add - plug one in; callers serialise, senders may run */
void lv_apic_bus_add(struct lv_apic_bus *bus, struct lv_lapic *apic)
{
	smp_store_release(&bus->apic[apic->id], apic);
	if (apic->id >= bus->nr)
		smp_store_release(&bus->nr, apic->id + 1);
}

/* The destination of an IPI is the guest's choice: clamp it speculatively. */
static struct lv_lapic *bus_get(struct lv_apic_bus *bus, u32 id)
{
	if (id >= LV_MAX_APICS)
		return NULL;
	return READ_ONCE(bus->apic[array_index_nospec(id, LV_MAX_APICS)]);
}

static bool logical_match_xapic(const struct lv_lapic *apic, u32 dest)
{
	u32 ldr = READ_ONCE(apic->regs[LAPIC_LDR]) >> 24;

	if (READ_ONCE(apic->regs[LAPIC_DFR]) >> 28 == DFR_FLAT)
		return ldr & dest;
	return ldr >> 4 == dest >> 4 && (ldr & dest & 0xf);
}

static bool logical_match_x2apic(const struct lv_lapic *apic, u32 dest)
{
	return apic->id / X2APIC_CLUSTER_SIZE == dest >> 16 &&
	       (dest & BIT(apic->id % X2APIC_CLUSTER_SIZE));
}

/* Physical destinations need no search and do not come here. */
static bool is_target(const struct lv_lapic *apic,
		      const struct lv_apic_msg *msg,
		      const struct lv_lapic *from)
{
	if (!lv_lapic_enabled(apic))
		return false;

	if (msg->shorthand == LV_TO_ALL)
		return true;
	if (msg->shorthand == LV_TO_OTHERS)
		return apic != from;
	if (lv_lapic_x2apic(apic))
		return logical_match_x2apic(apic, msg->dest);
	return !msg->x2apic && logical_match_xapic(apic, msg->dest);
}

/* A walk over the targets of a message. */
struct targets {
	struct lv_apic_bus *bus;
	const struct lv_apic_msg *msg;
	struct lv_lapic *from;
	u32 next; /* APIC ID to look at next */
	u32 end; /* one past the last that can match */
};

static struct targets targets_of(struct lv_apic_bus *bus,
				 const struct lv_apic_msg *msg,
				 struct lv_lapic *from)
{
	struct targets t = { .bus = bus,
			     .msg = msg,
			     .from = from,
			     .end = smp_load_acquire(&bus->nr) };

	/*
	 * An x2APIC logical ID is made from the APIC ID, so one cluster's 16
	 * APICs are all that can match; do not walk the others.
	 */
	if (msg->x2apic && msg->shorthand == LV_TO_DEST) {
		t.next = (msg->dest >> 16) * X2APIC_CLUSTER_SIZE;
		t.end = min(t.end, t.next + X2APIC_CLUSTER_SIZE);
	}
	return t;
}

static struct lv_lapic *next_target(struct targets *t)
{
	while (t->next < t->end) {
		struct lv_lapic *apic = bus_get(t->bus, t->next++);

		if (apic && is_target(apic, t->msg, t->from))
			return apic;
	}
	return NULL;
}

/*
 * Which CPU has the lowest priority is up to the implementation. Spread the
 * vectors over the targets: cheap, and each vector stays on one CPU.
 */
static int send_lowest(struct targets all)
{
	struct targets t = all;
	struct lv_lapic *apic;
	unsigned int n = 0;

	while ((apic = next_target(&t)))
		n += lv_lapic_software_enabled(apic);
	if (!n)
		return LV_LINE_IGNORED;

	/* If targets vanish between the walks, the message is lost with them. */
	n = all.msg->vector % n;
	while ((apic = next_target(&all)))
		if (lv_lapic_software_enabled(apic) && !n--)
			return lv_lapic_accept(apic, all.msg);
	return LV_LINE_IGNORED;
}

/*
 * lv_apic_bus_send - deliver a message
 * @from: the sender if it is a local APIC, else NULL
 * Return: negative if no APIC took it, 0 if it merged with one that was
 * pending already, else the number of APICs that got it.
 */
int lv_apic_bus_send(struct lv_apic_bus *bus, const struct lv_apic_msg *msg,
		     struct lv_lapic *from)
{
	int sent = LV_LINE_IGNORED;
	struct lv_lapic *apic;
	struct targets t;

	if (msg->shorthand == LV_TO_SELF)
		return lv_lapic_accept(from, msg);

	if (msg->shorthand == LV_TO_DEST && !msg->logical) {
		apic = bus_get(bus, msg->dest);
		if (!apic || !lv_lapic_enabled(apic))
			return LV_LINE_IGNORED;
		return lv_lapic_accept(apic, msg);
	}

	t = targets_of(bus, msg, from);
	if (msg->delivery == LV_DELIVER_LOWEST)
		return send_lowest(t);

	while ((apic = next_target(&t)))
		sent = lv_line_merge(sent, lv_lapic_accept(apic, msg));
	return sent;
}
