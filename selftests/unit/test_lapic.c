// SPDX-License-Identifier: GPL-2.0-only
/* Local APICs and the bus between them. */
#include "irq/irq.h"
#include "tap.h"

#define APICS 20
#define NONE (-1)

#define FIXED(vector) (LV_DELIVER_FIXED << 8 | (vector))
#define ICR_LOGICAL BIT(11)
#define ICR_ASSERT BIT(14)
#define ICR_LEVEL BIT(15)
#define ICR_SELF (LV_TO_SELF << 18)
#define ICR_ALL (LV_TO_ALL << 18)
#define ICR_OTHERS (LV_TO_OTHERS << 18)
#define LVT_MASKED BIT(16)
#define LVT_PERIODIC BIT(17)
#define LVT_TSC_DEADLINE BIT(18)

static struct lv_apic_bus bus;
static struct lv_lapic apics[APICS];

/* ---- surroundings ---- */

static u64 now_ns;
static unsigned int notified[APICS];
static unsigned int events[APICS][3];
static u8 sipi_page[APICS];
static int last_eoi;
static unsigned int eois;
static u64 armed[APICS];

static unsigned int index_of(struct lv_lapic *apic)
{
	return apic - apics;
}

u64 lv_irq_now_ns(void)
{
	return now_ns;
}

void lv_lapic_notify(struct lv_lapic *apic)
{
	notified[index_of(apic)]++;
}

/* As many times as this the answer is yes. */
static unsigned int takes_posted;
static unsigned int notifications;

bool lv_lapic_takes_posted(struct lv_lapic *apic)
{
	(void)apic;
	return takes_posted && takes_posted--;
}

void lv_lapic_notify_cpu(struct lv_lapic *apic)
{
	(void)apic;
	notifications++;
}

void lv_lapic_event(struct lv_lapic *apic, enum lv_lapic_event event, u8 vector)
{
	events[index_of(apic)][event]++;
	if (event == LV_LAPIC_SIPI)
		sipi_page[index_of(apic)] = vector;
}

void lv_lapic_eoi_broadcast(struct lv_lapic *apic, u8 vector)
{
	(void)apic;
	last_eoi = vector;
	eois++;
}

void lv_lapic_timer_arm(struct lv_lapic *apic, u64 deadline)
{
	armed[index_of(apic)] = deadline;
}

bool lv_lapic_timer_arm_tsc(struct lv_lapic *apic, u64 tsc)
{
	return false;
}

void lv_lapic_timer_cancel(struct lv_lapic *apic)
{
	armed[index_of(apic)] = 0;
}

/* The guest's TSC runs at 2 GHz and is 1000 at time 0. */
s64 lv_lapic_ns_until(struct lv_lapic *apic, u64 tsc)
{
	(void)apic;
	return (s64)(tsc - 1000) / 2 - (s64)now_ns;
}

/* Let time pass, expiring the timer of APIC 0 as often as it is due. */
static unsigned int run_until(u64 ns)
{
	unsigned int fired = 0;

	while (armed[0] && armed[0] <= ns) {
		now_ns = armed[0];
		armed[0] = 0;
		lv_lapic_timer_expired(&apics[0]);
		fired++;
	}
	now_ns = ns;
	return fired;
}

/* ---- helpers ---- */

static void power_up(unsigned int nr)
{
	unsigned int i;

	memset(&bus, 0, sizeof(bus));
	memset(apics, 0, sizeof(apics));
	memset(events, 0, sizeof(events));
	memset(armed, 0, sizeof(armed));
	now_ns = 1000000;
	for (i = 0; i < nr; i++) {
		apics[i].has_x2apic = true;
		apics[i].has_tsc_deadline = true;
		lv_lapic_init(&apics[i], &bus, i, i == 0);
		lv_apic_bus_add(&bus, &apics[i]);
	}
	memset(notified, 0, sizeof(notified));
	last_eoi = NONE;
	eois = 0;
}

static u32 get(unsigned int i, unsigned int reg)
{
	return lv_lapic_mmio_read(&apics[i], reg << 4);
}

static void set(unsigned int i, unsigned int reg, u32 val)
{
	lv_lapic_mmio_write(&apics[i], reg << 4, val);
}

static void enable(unsigned int i)
{
	set(i, LAPIC_SPIV, LV_SPIV_ENABLE | 0xff);
}

static void power_up_enabled(unsigned int nr)
{
	unsigned int i;

	power_up(nr);
	for (i = 0; i < nr; i++)
		enable(i);
}

static void power_up_x2apic(unsigned int nr)
{
	unsigned int i;

	power_up_enabled(nr);
	for (i = 0; i < nr; i++)
		lv_lapic_set_base(&apics[i],
				  apics[i].base | LV_APIC_BASE_X2APIC, false);
}

static bool has_irr(unsigned int i, u8 vector)
{
	return test_bit(vector, apics[i].irr);
}

/* Bit per APIC that has @vector pending. */
static u32 who_has(u8 vector)
{
	u32 who = 0;
	unsigned int i;

	for (i = 0; i < APICS; i++)
		if (has_irr(i, vector))
			who |= BIT(i);
	return who;
}

static void send_xapic(unsigned int from, u8 dest, u32 icr)
{
	set(from, LAPIC_ICR2, (u32)dest << 24);
	set(from, LAPIC_ICR, icr);
}

static int send_x2apic(unsigned int from, u32 dest, u32 icr)
{
	return lv_lapic_wrmsr(&apics[from], LV_X2APIC_MSR + LAPIC_ICR,
			      (u64)dest << 32 | icr);
}

static int wrmsr(unsigned int i, unsigned int reg, u64 val)
{
	return lv_lapic_wrmsr(&apics[i], LV_X2APIC_MSR + reg, val);
}

static u64 rdmsr(unsigned int i, unsigned int reg)
{
	u64 val = 0xdead;

	return lv_lapic_rdmsr(&apics[i], LV_X2APIC_MSR + reg, &val) ? 0xbad
								    : val;
}

static int pend(unsigned int i, u8 vector, bool level)
{
	struct lv_apic_msg msg = { .vector = vector, .level = level };

	return lv_lapic_accept(&apics[i], &msg);
}

/* The CPU takes what is pending. */
static int take(unsigned int i)
{
	int vector = lv_lapic_pending(&apics[i]);

	if (vector >= 0)
		lv_lapic_ack(&apics[i], vector);
	return vector;
}

/* ---- tests ---- */

static void test_reset(void)
{
	power_up(2);
	is(get(1, LAPIC_ID), 1 << 24, "reset: xAPIC ID in the top byte");
	is(get(0, LAPIC_VERSION), 0x50014, "reset: version, 6 LVT entries");
	is(get(0, LAPIC_SPIV), 0xff, "reset: software disabled");
	is(get(0, LAPIC_DFR), ~0u, "reset: flat model");
	is(get(0, LAPIC_LDR), 0, "reset: no logical ID");
	is(get(0, LAPIC_LVT_TIMER), LVT_MASKED, "reset: timer masked");
	is(get(1, LAPIC_LVT_LINT0), LVT_MASKED, "reset: LINT0 masked on an AP");
	ok(lv_lapic_accepts_pic(&apics[0]),
	   "reset: the BSP listens to the PIC");
	ok(!lv_lapic_accepts_pic(&apics[1]), "reset: an AP does not");
	ok(apics[0].base & LV_APIC_BASE_BSP, "reset: BSP flag of the BSP");
	ok(!(apics[1].base & LV_APIC_BASE_BSP), "reset: none of an AP");
	is(lv_lapic_pending(&apics[0]), NONE, "reset: nothing pending");
	is(bus.nr, 2, "bus: one past the highest ID");
	power_up(1);
	is(bus.nr, 1, "bus: of one APIC");
}

static void test_priority(void)
{
	power_up_enabled(1);
	is(pend(0, 0x41, false), 1, "accept: a new vector counts");
	is(pend(0, 0x41, false), 0, "accept: a pending one merges");
	is(notified[0], 1, "accept: the vCPU is told once");
	is(pend(0, 0x52, false), 1, "accept: another vector");
	is(get(0, LAPIC_IRR + 2), 1u << 1 | 1u << 18, "IRR shows both");

	is(take(0), 0x52, "the highest vector goes first");
	is(get(0, LAPIC_ISR + 2), 1u << 18, "ISR shows it");
	is(get(0, LAPIC_PPR), 0x50, "PPR is its class");
	is(lv_lapic_pending(&apics[0]), NONE, "a lower class waits");
	pend(0, 0x5f, false);
	is(lv_lapic_pending(&apics[0]), NONE, "the same class waits");
	pend(0, 0x61, false);
	is(take(0), 0x61, "a higher class interrupts");
	notified[0] = 0;
	set(0, LAPIC_EOI, 0);
	is(get(0, LAPIC_PPR), 0x50, "EOI ends the innermost");
	ok(notified[0], "EOI has the vCPU look at what waits");
	set(0, LAPIC_EOI, 0);
	is(take(0), 0x5f, "after EOI the next follows");
	set(0, LAPIC_EOI, 0);
	is(take(0), 0x41, "and the next");
	set(0, LAPIC_EOI, 0);
	ok(!apics[0].irr_pending, "the flag drops with the last vector");
	notified[0] = 0;
	set(0, LAPIC_EOI, 0);
	is(get(0, LAPIC_PPR), 0, "EOI without service does nothing");
	is(notified[0], 0, "EOI with nothing waiting tells nobody");
	is(eois, 0, "EOI of edge vectors is not broadcast");

	pend(0, 0x31, false);
	pend(0, 0xf1, false);
	pend(0, 0x80, false);
	is(take(0), 0xf1, "search in the highest word");
	ok(apics[0].irr_pending, "the flag stays while vectors wait");
	set(0, LAPIC_EOI, 0);
	is(take(0), 0x80, "search in a middle word");
	set(0, LAPIC_EOI, 0);
	is(take(0), 0x31, "search in the lowest word");
}

static void test_tpr(void)
{
	power_up_enabled(1);
	set(0, LAPIC_TPR, 0x45);
	is(get(0, LAPIC_PPR), 0x45, "TPR alone gives PPR, subclass included");
	pend(0, 0x4f, false);
	is(lv_lapic_pending(&apics[0]), NONE, "TPR holds its own class back");
	notified[0] = 0;
	lv_lapic_set_tpr(&apics[0], 0x50);
	lv_lapic_set_tpr(&apics[0], 0x50);
	is(notified[0], 0, "raising or keeping TPR tells nobody");
	lv_lapic_set_tpr(&apics[0], 0x30);
	is(notified[0], 1, "lowering TPR has the vCPU look");
	is(take(0), 0x4f, "lowering TPR lets it through");
	set(0, LAPIC_TPR, 0x42);
	is(get(0, LAPIC_PPR), 0x42, "TPR of the class in service wins");
	set(0, LAPIC_TPR, 0x32);
	is(get(0, LAPIC_PPR), 0x40, "what is in service wins over a lower TPR");
	set(0, LAPIC_TPR, 0x1ff);
	is(get(0, LAPIC_TPR), 0xff, "TPR has 8 bits");
}

static void test_tpr_threshold(void)
{
	power_up_enabled(1);
	is(lv_lapic_tpr_threshold(&apics[0]), 0, "threshold: nothing pending");
	pend(0, 0x4f, false);
	set(0, LAPIC_TPR, 0x3f);
	is(lv_lapic_tpr_threshold(&apics[0]), 0, "threshold: a lower TPR");
	set(0, LAPIC_TPR, 0x40);
	is(lv_lapic_tpr_threshold(&apics[0]), 4, "threshold: TPR of its class");
	set(0, LAPIC_TPR, 0xf0);
	is(lv_lapic_tpr_threshold(&apics[0]), 4,
	   "threshold: the vector's class");
	pend(0, 0x61, false);
	is(lv_lapic_tpr_threshold(&apics[0]), 6, "threshold: of the highest");
}

static void test_level(void)
{
	power_up_enabled(1);
	pend(0, 0x61, true);
	pend(0, 0x61, true);
	is(get(0, LAPIC_TMR + 3), 2, "TMR marks a level vector");
	take(0);
	set(0, LAPIC_EOI, 0);
	is(last_eoi, 0x61, "its EOI is broadcast");
	pend(0, 0x61, false);
	is(get(0, LAPIC_TMR + 3), 0, "an edge on the vector clears TMR");
	take(0);
	set(0, LAPIC_EOI, 0);
	is(eois, 1, "the EOI of the edge is not broadcast");

	set_bit(0x62, bus.edge_eoi);
	pend(0, 0x62, false);
	take(0);
	ok(!lv_lapic_pv_eoi_safe(&apics[0]),
	   "PV EOI: not if the I/O APIC watches");
	set(0, LAPIC_EOI, 0);
	is(last_eoi, 0x62, "the EOI of a watched edge is broadcast");

	ok(!lv_lapic_pv_eoi_safe(&apics[0]), "PV EOI: not without service");
	pend(0, 0x70, false);
	take(0);
	ok(lv_lapic_pv_eoi_safe(&apics[0]), "PV EOI: an edge alone is safe");
	pend(0, 0x30, false);
	ok(!lv_lapic_pv_eoi_safe(&apics[0]), "PV EOI: not if a vector waits");
	set(0, LAPIC_EOI, 0);
	take(0);
	set(0, LAPIC_EOI, 0);
	pend(0, 0x71, true);
	take(0);
	ok(!lv_lapic_pv_eoi_safe(&apics[0]), "PV EOI: not for a level");
}

static void test_software_disable(void)
{
	power_up(1);
	is(pend(0, 0x40, false), LV_LINE_IGNORED,
	   "software disabled: no vectors");
	set(0, LAPIC_LVT_TIMER, 0x40);
	is(get(0, LAPIC_LVT_TIMER), LVT_MASKED | 0x40,
	   "software disabled: LVT stays masked");
	enable(0);
	set(0, LAPIC_LVT_TIMER, 0x40);
	set(0, LAPIC_LVT_ERROR, 0x41);
	is(get(0, LAPIC_LVT_TIMER), 0x40, "enabled: LVT opens");
	pend(0, 0x51, false);
	set(0, LAPIC_SPIV, 0xff);
	is(get(0, LAPIC_LVT_TIMER), LVT_MASKED | 0x40,
	   "disabling masks the LVT");
	is(get(0, LAPIC_LVT_ERROR), LVT_MASKED | 0x41, "all of it");
	is(lv_lapic_pending(&apics[0]), 0x51, "what was pending stays so");
}

static void test_registers(void)
{
	power_up_enabled(1);
	set(0, LAPIC_ID, 0x55000000);
	is(get(0, LAPIC_ID), 0, "the ID is read-only");
	set(0, LAPIC_LDR, 0x12345678);
	is(get(0, LAPIC_LDR), 0x12000000, "LDR keeps its top byte");
	set(0, LAPIC_DFR, 0);
	is(get(0, LAPIC_DFR), 0x0fffffff, "DFR keeps its top 4 bits");
	set(0, LAPIC_LVT_LINT1, ~0u);
	is(get(0, LAPIC_LVT_LINT1), 0x1a7ff, "LINT1: bits that exist");
	set(0, LAPIC_LVT_ERROR, ~0u);
	is(get(0, LAPIC_LVT_ERROR), 0x100ff, "LVT error: bits that exist");
	set(0, LAPIC_LVT_PERF, ~0u);
	is(get(0, LAPIC_LVT_PERF), 0x107ff, "LVT perf: bits that exist");
	set(0, LAPIC_LVT_THERMAL, ~0u);
	is(get(0, LAPIC_LVT_THERMAL), 0x107ff, "LVT thermal: bits that exist");
	set(0, LAPIC_TIMER_DIV, ~0u);
	is(get(0, LAPIC_TIMER_DIV), 0xb, "divide: bits that exist");
	set(0, LAPIC_ICR, 0x5a5a5a5a & ~0x700);
	is(get(0, LAPIC_ICR), 0x5a5a4a5a & ~0x700,
	   "ICR: the busy bit is never set");
	set(0, LAPIC_ICR2, ~0u);
	is(get(0, LAPIC_ICR2), 0xff000000, "ICR2 keeps its top byte");
	set(0, LAPIC_ESR, 0);
	set(0, LAPIC_ESR, 0);
	is(get(0, LAPIC_ESR), 0, "ESR is clean");

	is(lv_lapic_mmio_read(&apics[0], 0), 0, "reserved register reads 0");
	set(0, LAPIC_ESR, 0);
	is(get(0, LAPIC_ESR), 0x80, "and sets an error");
	lv_lapic_mmio_write(&apics[0], 0x3f0, 0x55);
	ok(!has_irr(0, 0x55), "no self IPI register in xAPIC mode");
	set(0, LAPIC_ESR, 0);
	is(get(0, LAPIC_ESR), 0x80, "writing a reserved register is an error");
	lv_lapic_mmio_write(&apics[0], 0xff0, 0x55);
	set(0, LAPIC_ESR, 0);
	is(get(0, LAPIC_ESR), 0x80, "so is one beyond the last");
	set(0, LAPIC_VERSION, 1);
	set(0, LAPIC_ESR, 0);
	is(get(0, LAPIC_ESR), 0, "writing a read-only register is none");
	notified[0] = 0;
	set(0, LAPIC_LVT_LINT1, LV_DELIVER_NMI << 8);
	is(notified[0], 0, "opening LINT1 is no reason to look");
	set(0, LAPIC_LVT_LINT0, LV_DELIVER_EXTINT << 8);
	is(notified[0], 1, "opening LINT0 is, the PIC may wait");
	ok(lv_lapic_accepts_pic(&apics[0]), "LINT0 as ExtINT takes the PIC");
	set(0, LAPIC_LVT_LINT0, LV_DELIVER_EXTINT << 8 | LVT_MASKED);
	ok(!lv_lapic_accepts_pic(&apics[0]), "masked it does not");
	set(0, LAPIC_LVT_LINT0, LV_DELIVER_FIXED << 8 | 0x40);
	ok(!lv_lapic_accepts_pic(&apics[0]), "nor in fixed mode");
}

static void test_errors(void)
{
	power_up_enabled(2);
	set(0, LAPIC_LVT_ERROR, 0xfe);
	send_xapic(0, 1, FIXED(15));
	ok(!has_irr(1, 15), "illegal vector is not sent");
	ok(has_irr(0, 0xfe), "the error interrupt is raised");
	set(0, LAPIC_ESR, 0);
	is(get(0, LAPIC_ESR), 0x20, "ESR: send illegal vector");
	set(0, LAPIC_ESR, 0);
	is(get(0, LAPIC_ESR), 0, "ESR: a second write clears");
	is(pend(1, 3, false), LV_LINE_IGNORED, "illegal vector is not taken");
	set(1, LAPIC_ESR, 0);
	is(get(1, LAPIC_ESR), 0x40, "ESR: received illegal vector");
	set(0, LAPIC_LVT_ERROR, 5);
	send_xapic(0, 1, FIXED(15));
	set(0, LAPIC_ESR, 0);
	is(get(0, LAPIC_ESR), 0x60, "an illegal error vector is an error");
	send_xapic(0, 1, LV_DELIVER_LOWEST << 8 | 15);
	set(0, LAPIC_ESR, 0);
	is(get(0, LAPIC_ESR) & 0x20, 0x20,
	   "lowest priority needs a vector, too");
	send_xapic(0, 1, FIXED(16));
	ok(has_irr(1, 16), "16 is the first legal vector");
}

static void test_physical(void)
{
	power_up_enabled(4);
	send_xapic(0, 2, FIXED(0x40));
	is(who_has(0x40), BIT(2), "physical: the one with the ID");
	send_xapic(0, 9, FIXED(0x41));
	is(who_has(0x41), 0, "physical: nobody has that ID");
	send_xapic(1, 0xff, FIXED(0x42));
	is(who_has(0x42), 0xf, "physical: 0xff is all");
	send_xapic(1, 0, FIXED(0x43) | ICR_SELF);
	is(who_has(0x43), BIT(1), "shorthand: self");
	send_xapic(1, 0, FIXED(0x44) | ICR_ALL);
	is(who_has(0x44), 0xf, "shorthand: all");
	send_xapic(1, 0, FIXED(0x45) | ICR_OTHERS);
	is(who_has(0x45), 0xd, "shorthand: all but self");
	lv_lapic_set_base(&apics[2], LV_APIC_DEFAULT_BASE, false);
	send_xapic(0, 2, FIXED(0x46));
	send_xapic(0, 0, FIXED(0x46) | ICR_ALL);
	is(who_has(0x46), 0xb, "a disabled APIC hears nothing");
	send_xapic(0, 2, LV_DELIVER_NMI << 8);
	send_xapic(0, 0, LV_DELIVER_NMI << 8 | ICR_ALL);
	is(events[2][LV_LAPIC_NMI], 0, "not even an NMI");
	is(events[3][LV_LAPIC_NMI], 1, "that the others hear");
}

static void test_logical_flat(void)
{
	unsigned int i;

	power_up_enabled(6);
	for (i = 0; i < 6; i++)
		set(i, LAPIC_LDR, 1u << (24 + i));
	send_xapic(0, 0x16, FIXED(0x40) | ICR_LOGICAL);
	is(who_has(0x40), 0x16, "flat: a bit per APIC");
	send_xapic(0, 0xc0, FIXED(0x41) | ICR_LOGICAL);
	is(who_has(0x41), 0, "flat: nobody has those bits");
	send_xapic(0, 0xff, FIXED(0x42) | ICR_LOGICAL);
	is(who_has(0x42), 0x3f, "flat: 0xff is all");
}

static void test_logical_cluster(void)
{
	unsigned int i;

	power_up_enabled(4);
	for (i = 0; i < 4; i++) {
		set(i, LAPIC_DFR, 0);
		set(i, LAPIC_LDR, (i / 2 << 4 | 1u << i % 2) << 24);
	}
	send_xapic(0, 0x13, FIXED(0x40) | ICR_LOGICAL);
	is(who_has(0x40), 0xc, "cluster: both of cluster 1");
	send_xapic(0, 0x02, FIXED(0x41) | ICR_LOGICAL);
	is(who_has(0x41), 0x2, "cluster: one of cluster 0");
	send_xapic(0, 0x23, FIXED(0x42) | ICR_LOGICAL);
	is(who_has(0x42), 0, "cluster: there is no cluster 2");
}

static void test_lowest(void)
{
	unsigned int i, got[4] = {};
	struct lv_apic_msg msg = { .dest = 0xe,
				   .delivery = LV_DELIVER_LOWEST,
				   .logical = true };

	power_up_enabled(4);
	for (i = 0; i < 4; i++)
		set(i, LAPIC_LDR, 1u << (24 + i));
	set(1, LAPIC_SPIV, 0xff);
	for (i = 0x40; i < 0x80; i++) {
		msg.vector = i;
		is(lv_apic_bus_send(&bus, &msg, NULL), 1,
		   "lowest: %#x: one APIC gets it", i);
		is(hweight32(who_has(i)), 1, "lowest: %#x: only one", i);
		got[__ffs(who_has(i))]++;
	}
	is(got[0], 0, "lowest: not an APIC that is no target");
	is(got[1], 0, "lowest: not one that is disabled");
	ok(got[2] && got[3], "lowest: the others share the vectors");
	msg.dest = 0x2;
	is(lv_apic_bus_send(&bus, &msg, NULL), LV_LINE_IGNORED,
	   "lowest: nobody can take it");
	msg.logical = false;
	msg.dest = 3;
	msg.vector = 0x90;
	is(lv_apic_bus_send(&bus, &msg, NULL), 1,
	   "lowest: physical works, too");
	is(who_has(0x90), BIT(3), "lowest: for the one with the ID");
}

static void test_counts(void)
{
	struct lv_apic_msg msg = { .vector = 0x40, .shorthand = LV_TO_ALL };

	power_up_enabled(3);
	is(lv_apic_bus_send(&bus, &msg, NULL), 3, "count: three new");
	is(lv_apic_bus_send(&bus, &msg, NULL), 0, "count: all merged");
	take(1);
	is(lv_apic_bus_send(&bus, &msg, NULL), 1, "count: one new, two merged");
	set(0, LAPIC_SPIV, 0xff);
	is(lv_apic_bus_send(&bus, &msg, NULL), 0,
	   "count: ignored is not merged");
	set(1, LAPIC_SPIV, 0xff);
	set(2, LAPIC_SPIV, 0xff);
	is(lv_apic_bus_send(&bus, &msg, NULL), LV_LINE_IGNORED,
	   "count: all ignored");
}

static void test_special_deliveries(void)
{
	power_up(2);
	send_xapic(0, 1, LV_DELIVER_NMI << 8);
	is(events[1][LV_LAPIC_NMI], 1, "NMI reaches a disabled APIC");
	send_xapic(0, 1, LV_DELIVER_INIT << 8 | ICR_LEVEL | ICR_ASSERT);
	is(events[1][LV_LAPIC_INIT], 1, "INIT");
	send_xapic(0, 1, LV_DELIVER_INIT << 8 | ICR_LEVEL);
	is(events[1][LV_LAPIC_INIT], 1, "INIT level de-assert is ignored");
	send_xapic(0, 1, LV_DELIVER_INIT << 8);
	is(events[1][LV_LAPIC_INIT], 2, "edge triggered INIT works");
	send_xapic(0, 1, LV_DELIVER_SIPI << 8 | 0x9a);
	is(events[1][LV_LAPIC_SIPI], 1, "SIPI");
	is(sipi_page[1], 0x9a, "SIPI carries its page");
	send_xapic(0, 0, LV_DELIVER_INIT << 8 | ICR_ASSERT | ICR_OTHERS);
	is(events[0][LV_LAPIC_INIT], 0, "INIT to others spares the sender");
	is(events[1][LV_LAPIC_INIT], 3, "and reaches the others");
	send_xapic(0, 1, LV_DELIVER_SMI << 8 | 0x40);
	send_xapic(0, 1, 3 << 8 | 0x40);
	send_xapic(0, 1, LV_DELIVER_EXTINT << 8 | 0x40);
	is(notified[1], 0, "SMI, reserved and ExtINT do nothing");
	is(events[1][LV_LAPIC_NMI] + events[1][LV_LAPIC_SIPI], 2,
	   "and are nothing else");
}

static void test_base(void)
{
	const u64 on = LV_APIC_DEFAULT_BASE | LV_APIC_BASE_ENABLE;
	const u64 x2 = on | LV_APIC_BASE_X2APIC;
	struct lv_lapic *apic = &apics[0];

	power_up_enabled(1);
	is(lv_lapic_set_base(apic, LV_APIC_DEFAULT_BASE | LV_APIC_BASE_X2APIC,
			     false),
	   -EINVAL, "base: x2APIC needs enable");
	is(lv_lapic_set_base(apic, on | BIT(9), false), -EINVAL,
	   "base: reserved bit 9");
	is(lv_lapic_set_base(apic, on | 1, false), -EINVAL,
	   "base: reserved bit 0");
	is(lv_lapic_set_base(apic, on | BIT_ULL(52), false), -EINVAL,
	   "base: reserved bit 52");
	is(apic->base, on | LV_APIC_BASE_BSP, "base: refusals change nothing");
	is(lv_lapic_set_base(apic, x2, false), 0, "base: xAPIC to x2APIC");
	is(lv_lapic_set_base(apic, on, false), -EINVAL,
	   "base: not from x2APIC back to xAPIC");
	set_bit(0x40, apic->irr);
	apic->irr_pending = true;
	is(lv_lapic_pending(apic), 0x40, "base: pending while enabled");
	notified[0] = 0;
	is(lv_lapic_set_base(apic, LV_APIC_DEFAULT_BASE, false), 0,
	   "base: x2APIC to disabled");
	ok(!has_irr(0, 0x40), "base: disabling drops what was pending");
	is(apic->regs[LAPIC_SPIV], 0xff, "base: and resets the registers");
	ok(lv_lapic_accepts_pic(apic), "base: disabled, the PIC gets through");
	ok(notified[0], "base: the vCPU looks for that");
	is(lv_lapic_set_base(apic, x2, false), -EINVAL,
	   "base: not from disabled to x2APIC");
	is(lv_lapic_set_base(apic, on, false), 0, "base: disabled to xAPIC");
	apic->has_x2apic = false;
	is(lv_lapic_set_base(apic, x2, false), -EINVAL,
	   "base: no x2APIC if it is not offered");
	is(lv_lapic_set_base(apic, x2, true), -EINVAL,
	   "base: not even to user space");
	is(lv_lapic_set_base(apic, on, false), 0, "base: xAPIC is always");
	apic->has_x2apic = true;

	enable(0);
	is(lv_lapic_set_base(apic, LV_APIC_DEFAULT_BASE, true), 0,
	   "base: user space disables");
	is(apic->regs[LAPIC_SPIV], 0x1ff, "base: that resets nothing");
	set_bit(0x40, apic->irr);
	apic->irr_pending = true;
	is(lv_lapic_pending(apic), NONE, "base: disabled, nothing is pending");
	is(lv_lapic_set_base(apic, x2, true), 0,
	   "base: user space may go from disabled to x2APIC");
	is(lv_lapic_set_base(apic, on, true), 0, "base: and back to xAPIC");
	is(lv_lapic_set_base(apic, LV_APIC_BASE_X2APIC, true), -EINVAL,
	   "base: but never to an invalid mode");
}

static void test_x2apic_registers(void)
{
	u64 val;

	power_up_enabled(18);
	is(rdmsr(0, LAPIC_ID), 0xbad, "x2APIC MSRs fault in xAPIC mode");
	is(wrmsr(0, LAPIC_EOI, 0), -EINVAL, "writes, too");
	power_up_x2apic(18);
	is(rdmsr(17, LAPIC_ID), 17, "x2APIC ID is the whole register");
	is(rdmsr(17, LAPIC_LDR), 1 << 16 | 1 << 1, "x2APIC LDR from the ID");
	is(rdmsr(0, LAPIC_VERSION), 0x50014, "x2APIC version");
	is(wrmsr(0, LAPIC_ID, 1), -EINVAL, "x2APIC ID is read-only");
	is(wrmsr(0, LAPIC_LDR, 1), -EINVAL, "x2APIC LDR is read-only");
	is(rdmsr(0, LAPIC_DFR), 0xbad, "x2APIC has no DFR");
	is(wrmsr(0, LAPIC_DFR, 0xf0000000), -EINVAL, "nor to write");
	is(rdmsr(0, LAPIC_APR), 0xbad, "x2APIC has no APR");
	is(rdmsr(0, LAPIC_ICR2), 0xbad, "x2APIC has no second half of ICR");
	is(wrmsr(0, LAPIC_ICR2, 0), -EINVAL, "nor to write");
	is(rdmsr(0, LAPIC_EOI), 0xbad, "EOI is write-only");
	is(wrmsr(0, LAPIC_EOI, 1), -EINVAL, "EOI takes 0 only");
	is(wrmsr(0, LAPIC_EOI, 0), 0, "EOI of 0");
	is(wrmsr(0, LAPIC_ESR, 1), -EINVAL, "ESR takes 0 only");
	is(wrmsr(0, LAPIC_TPR, 0x100), -EINVAL, "TPR has 8 bits");
	is(wrmsr(0, LAPIC_TPR, 0x1000), -EINVAL, "bit 12 is none of them");
	is(wrmsr(0, LAPIC_TPR, BIT_ULL(32)), -EINVAL, "and no upper half");
	is(wrmsr(0, LAPIC_TPR, 0x20), 0, "TPR is written");
	is(rdmsr(0, LAPIC_TPR), 0x20, "and read");
	is(wrmsr(0, LAPIC_PPR, 0), -EINVAL, "PPR is read-only");
	is(wrmsr(0, LAPIC_TIMER_COUNT, 0), -EINVAL, "so is the count");
	is(wrmsr(0, LAPIC_LVT_ERROR, 0x700), -EINVAL, "LVT reserved bits");
	is(wrmsr(0, LAPIC_LVT_LINT0, 0x15000), 0,
	   "LVT read-only bits are ignored");
	is(rdmsr(0, LAPIC_LVT_LINT0), 0x10000, "and stay 0");
	is(rdmsr(0, LAPIC_SELF_IPI), 0xbad, "self IPI is write-only");
	is(wrmsr(0, LAPIC_SELF_IPI, 0x145), -EINVAL, "self IPI has 8 bits");
	set_bit(0x45, apics[0].tmr);
	is(wrmsr(0, LAPIC_SELF_IPI, 0x45), 0, "self IPI");
	ok(!test_bit(0x45, apics[0].tmr), "is an edge");
	is(who_has(0x45), 1, "goes to oneself only");
	is(lv_lapic_rdmsr(&apics[0], 0x840, &val), -EINVAL, "MSR 0x840");
	is(lv_lapic_wrmsr(&apics[0], 0x8ff, 0), -EINVAL, "MSR 0x8ff");
	is(lv_lapic_rdmsr(&apics[0], 0x800, &val), -EINVAL, "MSR 0x800");
}

static void test_x2apic_ipi(void)
{
	power_up_x2apic(20);
	is(send_x2apic(0, 17, FIXED(0x40)), 0, "x2APIC physical");
	is(who_has(0x40), BIT(17), "reaches the one with the ID");
	is(rdmsr(0, LAPIC_ICR), 17ULL << 32 | 0x40, "ICR reads back whole");
	send_x2apic(0, 0xff, FIXED(0x41));
	is(who_has(0x41), 0, "0xff is an ID like others");
	send_x2apic(0, ~0u, FIXED(0x42));
	is(who_has(0x42), 0xfffff, "all ones are everybody");
	send_x2apic(0, 0x8003, FIXED(0x43) | ICR_LOGICAL);
	is(who_has(0x43), BIT(0) | BIT(1) | BIT(15), "logical: cluster 0");
	send_x2apic(0, 0x1000a, FIXED(0x44) | ICR_LOGICAL);
	is(who_has(0x44), BIT(17) | BIT(19), "logical: cluster 1");
	send_x2apic(0, 0x2ffff, FIXED(0x45) | ICR_LOGICAL);
	is(who_has(0x45), 0, "logical: cluster 2 is empty");
	send_x2apic(0, 0xfffe0001, FIXED(0x45) | ICR_LOGICAL);
	is(who_has(0x45), 0, "logical: a cluster far away");
	send_x2apic(0, ~0u, FIXED(0x46) | ICR_LOGICAL);
	is(who_has(0x46), 0xfffff, "logical: all ones are everybody");
	is(send_x2apic(0, 1, FIXED(0x47) | BIT(12)), 0, "busy bit is accepted");
	is(rdmsr(0, LAPIC_ICR), 1ULL << 32 | 0x47, "and not kept");
	is(send_x2apic(0, 1, FIXED(0x48) | BIT(13)), -EINVAL, "bit 13 faults");
	is(send_x2apic(0, 1, FIXED(0x48) | BIT(16)), -EINVAL, "bit 16 faults");
	is(send_x2apic(0, 1, FIXED(0x48) | BIT(20)), -EINVAL, "bit 20 faults");
	is(who_has(0x48), 0, "and nothing is sent");
	send_x2apic(3, 0, FIXED(0x49) | ICR_SELF);
	is(who_has(0x49), BIT(3), "shorthand self");
	send_x2apic(3, 0x100, LV_DELIVER_NMI << 8);
	is(events[0][LV_LAPIC_NMI], 0, "an ID beyond the table");
}

static void test_mixed_modes(void)
{
	struct lv_apic_msg msg = { .dest = 2, .vector = 0x51, .logical = true };

	power_up_enabled(3);
	set(2, LAPIC_LDR, 2 << 24);
	lv_lapic_set_base(&apics[1], apics[1].base | LV_APIC_BASE_X2APIC,
			  false);
	is(lv_apic_bus_send(&bus, &msg, NULL), 2,
	   "8-bit logical ID: xAPIC by LDR, x2APIC in cluster 0");
	is(who_has(0x51), 0x6, "both by their own rule");
	send_x2apic(1, 2, FIXED(0x52) | ICR_LOGICAL);
	is(who_has(0x52), BIT(1), "x2APIC logical IPI: x2APIC targets only");
	send_x2apic(1, 2, FIXED(0x53));
	is(who_has(0x53), BIT(2), "x2APIC physical IPI reaches an xAPIC");
	send_x2apic(1, ~0u, FIXED(0x54));
	is(who_has(0x54), 0x7, "x2APIC broadcast reaches all");
}

static void test_one_shot(void)
{
	power_up_enabled(1);
	set(0, LAPIC_TIMER_DIV, 0xb);
	set(0, LAPIC_LVT_TIMER, 0x40);
	set(0, LAPIC_TIMER_INIT, 5000);
	is(armed[0], now_ns + 5000, "one-shot: armed, 1 ns per tick");
	is(run_until(now_ns + 1000), 0, "one-shot: not before time");
	is(get(0, LAPIC_TIMER_COUNT), 4000, "one-shot: counts down");
	is(run_until(now_ns + 4000), 1, "one-shot: fires in time");
	ok(has_irr(0, 0x40), "one-shot: raises its vector");
	is(get(0, LAPIC_TMR + 2), 0, "one-shot: as an edge");
	is(get(0, LAPIC_TIMER_COUNT), 0, "one-shot: count stays 0");
	is(get(0, LAPIC_TIMER_INIT), 5000, "one-shot: initial count is kept");
	is(run_until(now_ns + 100000), 0, "one-shot: once");
	set(0, LAPIC_LVT_TIMER, 0x40 | LVT_PERIODIC);
	is(get(0, LAPIC_TIMER_COUNT), 0, "one-shot: over in any mode");
	set(0, LAPIC_LVT_TIMER, 0x40);

	set(0, LAPIC_TIMER_INIT, 5000);
	set(0, LAPIC_TIMER_INIT, 0);
	is(armed[0], 0, "one-shot: a count of 0 stops it");
	is(get(0, LAPIC_TIMER_COUNT), 0, "one-shot: and its count");
	set(0, LAPIC_TIMER_INIT, 5000);
	set(0, LAPIC_LVT_TIMER, 0x41);
	is(armed[0], now_ns + 5000, "one-shot: another vector, same time");
	take(0);
	set(0, LAPIC_TIMER_INIT, 1);
	is(armed[0], 0, "one-shot: a count that is over before the guest runs");
	ok(has_irr(0, 0x41), "one-shot: has fired then");
	set(0, LAPIC_LVT_TIMER, 0x40 | LVT_MASKED);
	set(0, LAPIC_TIMER_INIT, 1000);
	is(run_until(now_ns + 1000), 1, "masked: the timer runs");
	ok(!has_irr(0, 0x40), "masked: no interrupt");
}

static void test_divide(void)
{
	static const u8 config[] = { 0xb, 0, 1, 2, 3, 8, 9, 0xa };
	unsigned int i;

	power_up_enabled(1);
	for (i = 0; i < ARRAY_SIZE(config); i++) {
		set(0, LAPIC_TIMER_DIV, config[i]);
		set(0, LAPIC_TIMER_INIT, 1000);
		is(armed[0] - now_ns, 1000u << i, "divide by %u", 1u << i);
	}
	set(0, LAPIC_TIMER_DIV, 0xb);
	set(0, LAPIC_TIMER_INIT, 1000);
	run_until(now_ns + 400);
	set(0, LAPIC_TIMER_DIV, 0);
	is(armed[0] - now_ns, 1200, "changing the divisor keeps the count");
	is(get(0, LAPIC_TIMER_COUNT), 600, "and the guest sees it");
}

static void test_periodic(void)
{
	u64 start;

	power_up_enabled(1);
	set(0, LAPIC_TIMER_DIV, 0xb);
	set(0, LAPIC_LVT_TIMER, 0x40 | LVT_PERIODIC);
	start = now_ns;
	set(0, LAPIC_TIMER_INIT, 1000000);
	is(run_until(start + 3500000), 3, "periodic: thrice in 3.5 periods");
	is(armed[0], start + 4000000, "periodic: keeps its phase");
	is(get(0, LAPIC_TIMER_COUNT), 500000, "periodic: counts down again");

	/* The host was late: the ticks in between merge. */
	now_ns = start + 6200000;
	is(get(0, LAPIC_TIMER_COUNT), 800000, "periodic: count while late");
	lv_lapic_timer_expired(&apics[0]);
	is(armed[0], start + 7000000, "periodic: late, phase kept");
	now_ns = start + 8000000;
	lv_lapic_timer_expired(&apics[0]);
	is(armed[0], start + 9000000, "periodic: late by exactly one period");

	set(0, LAPIC_TIMER_DIV, 0);
	start = now_ns;
	set(0, LAPIC_TIMER_INIT, 1000000);
	is(run_until(start + 7000000), 3, "periodic: with a divisor");

	set(0, LAPIC_TIMER_INIT, 1);
	start = now_ns;
	run_until(start + 2);
	ok(armed[0] - now_ns >= 100000, "periodic: the host's rate is bounded");
	set(0, LAPIC_LVT_TIMER, 0x40);
	run_until(armed[0]);
	is(armed[0], 0, "periodic to one-shot: the running period is the last");
}

static void test_tsc_deadline(void)
{
	power_up_enabled(1);
	lv_lapic_set_tsc_deadline(&apics[0], 5000000);
	is(apics[0].tsc_deadline, 0, "deadline: ignored in another mode");
	set(0, LAPIC_TIMER_INIT, 100);
	set(0, LAPIC_LVT_TIMER, 0x40 | LVT_TSC_DEADLINE);
	is(armed[0], 0, "deadline: changing the mode stops the timer");
	is(get(0, LAPIC_TIMER_INIT), 0, "deadline: and clears the count");
	set(0, LAPIC_TIMER_INIT, 100);
	is(get(0, LAPIC_TIMER_INIT), 0, "deadline: the count is not writable");
	lv_lapic_set_tsc_deadline(&apics[0], 5001000);
	is(armed[0], 2500000, "deadline: armed at the guest's TSC");
	is(apics[0].tsc_deadline, 5001000, "deadline: reads back");
	is(get(0, LAPIC_TIMER_COUNT), 0, "deadline: the count reads 0");
	set(0, LAPIC_TIMER_DIV, 1);
	is(armed[0], 2500000, "deadline: the divisor does not matter");
	is(run_until(2500000), 1, "deadline: fires");
	ok(has_irr(0, 0x40), "deadline: raises its vector");
	is(apics[0].tsc_deadline, 0, "deadline: cleared when it fires");
	take(0);
	lv_lapic_set_tsc_deadline(&apics[0], 10);
	ok(has_irr(0, 0x40), "deadline: one that has passed fires at once");
	is(armed[0], 0, "deadline: without arming");
	take(0);
	lv_lapic_set_tsc_deadline(&apics[0], now_ns * 2 + 1000);
	ok(has_irr(0, 0x40), "deadline: so does one that is now");
	lv_lapic_set_tsc_deadline(&apics[0], 9001000);
	lv_lapic_set_tsc_deadline(&apics[0], 0);
	is(armed[0], 0, "deadline: 0 disarms");
	lv_lapic_set_tsc_deadline(&apics[0], 9001000);
	set(0, LAPIC_LVT_TIMER, 0x40 | LVT_PERIODIC);
	is(armed[0], 0, "deadline: leaving the mode disarms");
	is(apics[0].tsc_deadline, 0, "deadline: and clears it");
	apics[0].has_tsc_deadline = false;
	set(0, LAPIC_LVT_TIMER, 0x40 | LVT_TSC_DEADLINE);
	is(get(0, LAPIC_LVT_TIMER), 0x40,
	   "deadline: no such mode if not offered");
}

static u32 state_reg(const struct kvm_lapic_state *state, unsigned int reg)
{
	u32 val;

	memcpy(&val, state->regs + reg * 16, sizeof(val));
	return val;
}

static void set_state_reg(struct kvm_lapic_state *state, unsigned int reg,
			  u32 val)
{
	memcpy(state->regs + reg * 16, &val, sizeof(val));
}

static void test_state(void)
{
	struct kvm_lapic_state state, again;

	power_up_enabled(3);
	set(2, LAPIC_LDR, 0x04000000);
	set(2, LAPIC_DFR, 0);
	set(2, LAPIC_TPR, 0x20);
	set(2, LAPIC_LVT_TIMER, 0x40);
	set(2, LAPIC_TIMER_DIV, 0xb);
	set(2, LAPIC_TIMER_INIT, 9000);
	set(2, LAPIC_ICR2, 0x77000000);
	set(2, LAPIC_ICR, 0x4055);
	pend(2, 0x91, true);
	take(2);
	pend(2, 0x35, false);
	pend(2, 0xa1, false);
	now_ns += 2000;
	lv_lapic_get_state(&apics[2], &state);
	is(state_reg(&state, LAPIC_ID), 2 << 24, "state: xAPIC ID");
	is(state_reg(&state, LAPIC_TIMER_COUNT), 7000, "state: current count");
	is(state_reg(&state, LAPIC_ICR2), 0x77000000, "state: ICR2");
	is(state_reg(&state, LAPIC_ISR + 4), 1 << 17, "state: ISR");
	is(state_reg(&state, LAPIC_TMR + 4), 1 << 17, "state: TMR");
	is(state_reg(&state, LAPIC_IRR + 5), 1 << 1, "state: IRR");

	power_up(3);
	is(lv_lapic_set_state(&apics[1], &state), -EINVAL,
	   "state: another vCPU's ID is refused");
	is(get(1, LAPIC_SPIV), 0xff, "state: and changes nothing");
	is(lv_lapic_set_state(&apics[2], &state), 0, "state: restored");
	is(armed[2], now_ns + 7000, "state: the timer runs on");
	lv_lapic_get_state(&apics[2], &again);
	ok(!memcmp(&state, &again, sizeof(state)), "state: the same again");
	is(take(2), 0xa1, "state: IRR is live");
	set(2, LAPIC_EOI, 0);
	is(lv_lapic_pending(&apics[2]), NONE,
	   "state: ISR holds lower ones back");
	set(2, LAPIC_EOI, 0);
	is(last_eoi, 0x91, "state: TMR is live");
	is(take(2), 0x35, "state: then the last");

	set_state_reg(&state, LAPIC_TIMER_COUNT, 0);
	lv_lapic_set_state(&apics[2], &state);
	is(armed[2], 0, "state: a one-shot that has fired stays quiet");
	set_state_reg(&state, LAPIC_LVT_TIMER, 0x40 | LVT_PERIODIC);
	set_state_reg(&state, LAPIC_TIMER_INIT, 900000);
	lv_lapic_set_state(&apics[2], &state);
	is(armed[2], now_ns + 900000, "state: a periodic one starts over");

	set_state_reg(&state, LAPIC_LVT_TIMER, 0x40 | LVT_TSC_DEADLINE);
	lv_lapic_set_state(&apics[2], &state);
	lv_lapic_set_tsc_deadline(&apics[2], 8001000);
	lv_lapic_get_state(&apics[2], &state);
	lv_lapic_set_state(&apics[2], &state);
	is(armed[2], 4000000, "state: the TSC deadline survives");

	set_state_reg(&state, LAPIC_ESR, 0x60);
	set_state_reg(&state, LAPIC_DFR, 0);
	set_state_reg(&state, 0, 0x1234);
	lv_lapic_set_state(&apics[2], &state);
	lv_lapic_get_state(&apics[2], &again);
	is(state_reg(&again, LAPIC_ESR), 0x60, "state: ESR");
	is(state_reg(&again, LAPIC_DFR), 0x0fffffff, "state: DFR has 4 bits");
	is(state_reg(&again, 0), 0, "state: what is no register is not kept");

	/* User space may write anything; KVM's selftests pass data in IRR. */
	set_state_reg(&state, LAPIC_IRR, 0x5a5a5a5a);
	set_state_reg(&state, LAPIC_IRR + 1, ~0u);
	lv_lapic_set_state(&apics[2], &state);
	set_state_reg(&state, LAPIC_IRR + 1, 0x12345678);
	lv_lapic_set_state(&apics[2], &state);
	is(get(2, LAPIC_IRR), 0x5a5a5a5a, "state: IRR takes any bits");
	is(get(2, LAPIC_IRR + 1), 0x12345678, "state: and drops any");
}

static void test_x2apic_state(void)
{
	struct kvm_lapic_state state, again;

	power_up_x2apic(3);
	send_x2apic(2, 0x12345678, FIXED(0x40));
	lv_lapic_get_state(&apics[2], &state);
	is(state_reg(&state, LAPIC_ID), 2 << 24,
	   "x2APIC state: ID as in xAPIC");
	is(state_reg(&state, LAPIC_LDR), 4, "x2APIC state: LDR");
	is(state_reg(&state, LAPIC_ICR), 0x40, "x2APIC state: ICR");
	is(state_reg(&state, LAPIC_ICR2), 0x12345678,
	   "x2APIC state: ICR, upper half");
	power_up_x2apic(3);
	is(lv_lapic_set_state(&apics[2], &state), 0, "x2APIC state: restored");
	lv_lapic_get_state(&apics[2], &again);
	ok(!memcmp(&state, &again, sizeof(state)),
	   "x2APIC state: the same again");
	is(rdmsr(2, LAPIC_LDR), 4, "x2APIC state: LDR follows the ID");
}

static void test_init_reset(void)
{
	power_up_x2apic(2);
	wrmsr(1, LAPIC_LVT_TIMER, 0x40);
	wrmsr(1, LAPIC_TIMER_INIT, 1000);
	pend(1, 0x80, true);
	take(1);
	pend(1, 0x90, false);
	wrmsr(1, LAPIC_TPR, 0x10);
	wrmsr(1, LAPIC_LVT_ERROR, 0x41);
	send_x2apic(1, 0, FIXED(1));
	lv_lapic_reset(&apics[1]);
	ok(lv_lapic_x2apic(&apics[1]), "INIT keeps the mode");
	is(rdmsr(1, LAPIC_ID), 1, "INIT keeps the ID");
	is(rdmsr(1, LAPIC_SPIV), 0xff, "INIT disables by software");
	is(rdmsr(1, LAPIC_LVT_TIMER), LVT_MASKED, "INIT masks the LVT");
	is(armed[1], 0, "INIT stops the timer");
	is(lv_lapic_pending(&apics[1]), NONE, "INIT drops what is pending");
	is(rdmsr(1, LAPIC_PPR), 0, "INIT drops what is in service");
	is(rdmsr(1, LAPIC_ISR + 4), 0, "and shows that");
	is(rdmsr(1, LAPIC_TMR + 4), 0, "INIT clears TMR");
	is(rdmsr(1, LAPIC_TPR), 0, "INIT clears TPR");
	is(rdmsr(1, LAPIC_LVT_ERROR), LVT_MASKED, "INIT masks all of the LVT");
	ok(!apics[1].irr_pending, "INIT drops the flag");
	wrmsr(1, LAPIC_ESR, 0);
	is(rdmsr(1, LAPIC_ESR), 0, "INIT drops errors");
}

/* A CPU has the APIC for a while. */
static u32 page[1024];

static u32 *shown(unsigned int reg)
{
	return &page[reg << 2];
}

static void test_page_moves(void)
{
	u16 status;

	power_up_enabled(1);
	memset(page, 0, sizeof(page));
	lv_lapic_set_page(&apics[0], page);
	set(0, LAPIC_TPR, 0x15);
	pend(0, 0x80, false);
	take(0);
	pend(0, 0x41, true);
	pend(0, 0x71, false);
	status = lv_lapic_to_page(&apics[0], page);
	is(status, 0x8071, "status: in service and pending");
	is(*shown(LAPIC_TPR), 0x15, "TPR goes there");
	is(*shown(LAPIC_ISR + 4), 1, "what is in service, too");
	is(*shown(LAPIC_IRR + 2), 2, "and what is pending");
	is(*shown(LAPIC_IRR + 3), 1u << 17, "all of it");
	is(*shown(LAPIC_TMR + 2), 2, "and how it was triggered");
	is(*shown(LAPIC_SPIV), 0x1ff, "registers are shown");
	is(get(0, LAPIC_IRR + 3), 0, "nothing stays behind");
	ok(!apics[0].irr_pending, "and that is known");

	/* It ends 0x80, takes 0x71, has a self-IPI, a new TPR and ICR. */
	pend(0, 0x91, false);
	*shown(LAPIC_ISR + 4) = 0;
	*shown(LAPIC_ISR + 3) = 1 << 17;
	*shown(LAPIC_IRR + 3) = 0;
	*shown(LAPIC_IRR + 1) = 8;
	*shown(LAPIC_TPR) = 0x21;
	*shown(LAPIC_ICR) = ICR_SELF | 0x23;
	*shown(LAPIC_ICR2) = 0x05000000;
	lv_lapic_from_page(&apics[0], page, 0x7141);
	is(get(0, LAPIC_TPR), 0x21, "TPR comes back");
	is(get(0, LAPIC_ICR), ICR_SELF | 0x23, "so does ICR");
	is(get(0, LAPIC_ICR2), 0x05000000, "and its upper half");
	is(get(0, LAPIC_PPR), 0x70, "so does what is in service");
	is(get(0, LAPIC_IRR + 2), 2, "pending: what it had not taken");
	is(get(0, LAPIC_IRR + 1), 8, "what it added");
	is(get(0, LAPIC_IRR + 4), 1u << 17, "and what came meanwhile");
	is(lv_lapic_pending(&apics[0]), 0x91, "the highest of them is next");
	is(*shown(LAPIC_ISR + 3) | *shown(LAPIC_IRR + 2), 0,
	   "nothing stays in the page");

	lv_lapic_ack(&apics[0], 0x91);
	lv_lapic_eoi(&apics[0]);
	is(lv_lapic_to_page(&apics[0], page), 0x7141, "and there again");
	memset(shown(LAPIC_ISR), 0, 4 * 8 * 4);
	memset(shown(LAPIC_IRR), 0, 4 * 8 * 4);
	lv_lapic_from_page(&apics[0], page, 0);
	is(get(0, LAPIC_PPR), 0x21, "nothing is in service");
	is(lv_lapic_to_page(&apics[0], page), 0, "nor pending");
}

/* Writes that the CPU stored, and tells of afterwards. */
static void written(unsigned int reg, u32 val)
{
	*shown(reg) = val;
	lv_lapic_from_page(&apics[0], page, 0);
	lv_lapic_written(&apics[0], reg << 4, val);
	lv_lapic_to_page(&apics[0], page);
}

static void test_page_writes(void)
{
	power_up_enabled(2);
	memset(page, 0, sizeof(page));
	lv_lapic_set_page(&apics[0], page);
	lv_lapic_to_page(&apics[0], page);
	is(*shown(LAPIC_VERSION), get(0, LAPIC_VERSION), "version shown");
	written(LAPIC_LVT_LINT1, ~0u);
	is(*shown(LAPIC_LVT_LINT1), 0x1a7ff, "bits that do not exist go");
	written(LAPIC_ID, 0xff000000);
	is(*shown(LAPIC_ID), 0, "ID cannot be written");
	written(LAPIC_LVT_TIMER, LVT_TSC_DEADLINE | 0x30);
	written(LAPIC_TIMER_INIT, 1000);
	is(armed[0], 0, "ignored in TSC-deadline mode");
	is(*shown(LAPIC_TIMER_INIT), 0, "and shown so");
	written(LAPIC_LVT_TIMER, 0x30);
	written(LAPIC_TIMER_INIT, 1000);
	ok(armed[0], "the timer is armed");
	written(LAPIC_SPIV, 0xff);
	is(*shown(LAPIC_LVT_TIMER), LVT_MASKED | 0x30, "off: LVT masked");
	written(LAPIC_SPIV, 0x1ff);
	*shown(LAPIC_ICR2) = 1 << 24;
	written(LAPIC_ICR, FIXED(0x55));
	is(lv_lapic_pending(&apics[1]), 0x55, "IPI sent where ICR2 says");
	lv_lapic_reset(&apics[0]);
	is(get(0, LAPIC_ICR) | get(0, LAPIC_ICR2), 0,
	   "what the page has is older than INIT");
	lv_lapic_to_page(&apics[0], page);
	is(*shown(LAPIC_SPIV), 0xff, "INIT shows");
}

/* ---- vectors for a CPU that runs the guest ---- */

#define ALWAYS 100

static void run_posted(unsigned int times)
{
	power_up_enabled(1);
	apics[0].posts = true;
	notifications = 0;
	takes_posted = times;
	notified[0] = 0;
}

static void test_posted(void)
{
	struct lv_posted *posted = &apics[0].posted;

	ok((unsigned long)posted % 64 == 0, "aligned, as the CPU wants it");
	run_posted(ALWAYS);
	is(pend(0, 0x41, false), 1, "posted");
	is(pend(0, 0x91, false), 1, "and another");
	is(posted->pir[1], 2, "both are where the CPU finds them");
	is(posted->pir[2], 1 << 17, "both are where the CPU finds them");
	is(notifications, 1, "it is told once");
	is(notified[0], 0, "and the vCPU need not look");
	is(lv_lapic_pending(&apics[0]), NONE, "they do not wait for it");
	posted->notified = 0;
	posted->pir[2] = 0;
	pend(0, 0x42, false);
	is(notifications, 2, "when it has come it is told again");

	lv_lapic_collect(&apics[0]);
	is(lv_lapic_pending(&apics[0]), 0x42, "what it did not take waits");
	is(get(0, LAPIC_IRR + 2), 6, "all of it");
	is(posted->pir[1] | posted->notified, 0, "and is not posted any more");
	pend(0, 0x93, false);
	is(notifications, 3, "a new stay is told anew");
	takes_posted = 0;
	posted->notified = 0;
	lv_lapic_collect(&apics[0]);
	is(lv_lapic_pending(&apics[0]), 0x42, "untold, nothing is looked for");
}

static void test_not_posted(void)
{
	run_posted(1);
	is(pend(0, 0x41, false), 1, "the stay ends meanwhile");
	is(lv_lapic_pending(&apics[0]), 0x41, "taken back");
	is(apics[0].posted.pir[1], 0, "nothing stays there");
	is(notified[0], 1, "the vCPU is");

	run_posted(0);
	pend(0, 0x41, false);
	is(notifications, 0, "who does not run is not notified");
	run_posted(ALWAYS);
	pend(0, 0x41, true);
	is(lv_lapic_pending(&apics[0]), 0x41, "its end is waited for");
	take(0);
	set(0, LAPIC_EOI, 0);
	pend(0, 0x41, false);
	is(lv_lapic_pending(&apics[0]), 0x41, "the CPU thinks it still is");
	take(0);
	set(0, LAPIC_EOI, 0);
	pend(0, 0x41, false);
	is(notifications, 1, "not any more");
	set_bit(0x42, bus.edge_eoi);
	pend(0, 0x42, false);
	is(lv_lapic_pending(&apics[0]), 0x42, "watched");
	takes_posted = 0;
}

int main(void)
{
	test_reset();
	test_priority();
	test_tpr();
	test_tpr_threshold();
	test_level();
	test_software_disable();
	test_registers();
	test_errors();
	test_physical();
	test_logical_flat();
	test_logical_cluster();
	test_lowest();
	test_counts();
	test_special_deliveries();
	test_base();
	test_x2apic_registers();
	test_x2apic_ipi();
	test_mixed_modes();
	test_one_shot();
	test_divide();
	test_periodic();
	test_tsc_deadline();
	test_state();
	test_x2apic_state();
	test_init_reset();
	test_page_moves();
	test_page_writes();
	test_posted();
	test_not_posted();
	return tap_done();
}
