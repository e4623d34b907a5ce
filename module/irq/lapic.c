// SPDX-License-Identifier: GPL-2.0-only
/*
 * Local APIC in xAPIC and x2APIC mode.
 *
 * Any CPU may make a vector pending: that is an atomic bit in IRR and needs
 * no lock. All else is done by the thread of the vCPU that owns the APIC.
 */
#include "irq.h"

#define VERSION 0x14
#define MAX_LVT 5

#define ICR_BUSY BIT(12)
#define ICR_ASSERT BIT(14)
#define ICR_LEVEL BIT(15)
#define ICR_X2APIC_BITS 0xcdfff

#define LVT_VECTOR 0xff
#define LVT_DELIVERY GENMASK(10, 8)
#define LVT_READ_ONLY (BIT(12) | BIT(14))
#define LVT_POLARITY BIT(13)
#define LVT_LEVEL BIT(15)
#define LVT_MASKED BIT(16)
#define LVT_TIMER_MODE GENMASK(18, 17)
#define LVT_TSC_DEADLINE BIT(18)

/* Timer modes besides one-shot. */
#define TIMER_PERIODIC 1
#define TIMER_TSC_DEADLINE 2

/* The least period that a guest can make the host's timer interrupt with. */
#define TIMER_MIN_PERIOD_NS 200000

/* No guest runs again so soon: a single shot set to less is over when it does. */
#define TIMER_AT_ONCE_NS 100

/* Bits of the ESR. */
#define ESR_SEND_ILLEGAL_VECTOR 5
#define ESR_RECEIVED_ILLEGAL_VECTOR 6
#define ESR_ILLEGAL_REGISTER 7

#define FIRST_LEGAL_VECTOR 16

/* Bits that a write may change. */
static const u32 writable_bits[LAPIC_NR_REGS] = {
	[LAPIC_TPR] = 0xff,
	[LAPIC_LDR] = 0xff000000,
	[LAPIC_DFR] = 0xf0000000,
	[LAPIC_SPIV] = 0x3ff,
	[LAPIC_ICR] = ~0u,
	[LAPIC_ICR2] = 0xff000000,
	[LAPIC_LVT_TIMER] = LVT_VECTOR | LVT_MASKED | LVT_TIMER_MODE,
	[LAPIC_LVT_THERMAL... LAPIC_LVT_PERF] = LVT_VECTOR | LVT_DELIVERY |
						LVT_MASKED,
	[LAPIC_LVT_LINT0... LAPIC_LVT_LINT1] = LVT_VECTOR | LVT_DELIVERY |
					       LVT_POLARITY | LVT_LEVEL |
					       LVT_MASKED,
	[LAPIC_LVT_ERROR] = LVT_VECTOR | LVT_MASKED,
	[LAPIC_TIMER_INIT] = ~0u,
	[LAPIC_TIMER_DIV] = 0xb,
	[LAPIC_SELF_IPI] = 0xff,
};

#define R(reg) BIT_ULL(LAPIC_##reg)
#define LVT_REGS GENMASK_ULL(LAPIC_LVT_ERROR, LAPIC_LVT_TIMER)
#define BITMAP_REGS GENMASK_ULL(LAPIC_IRR + 7, LAPIC_ISR)

/* Registers that exist, by access and mode. */
#define X2APIC_READABLE                                             \
	(R(ID) | R(VERSION) | R(TPR) | R(PPR) | R(LDR) | R(SPIV) |  \
	 BITMAP_REGS | R(ESR) | R(ICR) | LVT_REGS | R(TIMER_INIT) | \
	 R(TIMER_COUNT) | R(TIMER_DIV))
#define XAPIC_READABLE (X2APIC_READABLE | R(APR) | R(DFR) | R(ICR2))
#define COMMON_WRITABLE                                           \
	(R(TPR) | R(EOI) | R(SPIV) | R(ESR) | R(ICR) | LVT_REGS | \
	 R(TIMER_INIT) | R(TIMER_DIV))
#define X2APIC_WRITABLE (COMMON_WRITABLE | R(SELF_IPI))
#define XAPIC_WRITABLE (COMMON_WRITABLE | R(LDR) | R(DFR) | R(ICR2))

/* ---- vectors ---- */

static int highest_vector(const unsigned long *bitmap)
{
	int i;

	for (i = BITS_TO_LONGS(LV_VECTORS) - 1; i >= 0; i--) {
		unsigned long word = READ_ONCE(bitmap[i]);

		if (word)
			return i * BITS_PER_LONG + __fls(word);
	}
	return -1;
}

/* Processor priority: the higher of TPR and of what is in service. */
static u8 ppr(const struct lv_lapic *apic)
{
	u8 in_service = apic->isr_highest < 0 ? 0 : apic->isr_highest & 0xf0;
	u8 tpr = lv_lapic_tpr(apic);

	return (tpr & 0xf0) >= in_service ? tpr : in_service;
}

/*
 * lv_lapic_deliverable - highest pending vector above the processor priority,
 * or -1 if there is none. Call lv_lapic_pending() instead.
 */
int lv_lapic_deliverable(struct lv_lapic *apic)
{
	int vector = highest_vector(apic->irr);

	if (vector < 0 || (vector & 0xf0) <= (ppr(apic) & 0xf0) ||
	    !lv_lapic_enabled(apic))
		return -1;
	return vector;
}

/*
 * Post a vector to the CPU that runs the vCPU. If the stay in the guest is over
 * before the bit is there it is ours to take back; or else the CPU finds it, or
 * lv_lapic_collect() when the stay ends. Who finds the flag set may rely on it: it
 * stands for a notification that the stay has still to see.
 */
static bool post(struct lv_lapic *apic, u8 vector)
{
	if (!lv_lapic_takes_posted(apic))
		return false;
	set_bit(vector, apic->posted.pir);
	if (!test_and_set_bit(0, &apic->posted.notified))
		lv_lapic_notify_cpu(apic);
	return lv_lapic_takes_posted(apic) ||
	       !test_and_clear_bit(vector, apic->posted.pir);
}

/*
 * lv_lapic_collect - take what was posted and no CPU has taken. Call it when a stay
 * in the guest begins, lest a notification from before it silences others, and
 * when it has ended, before the looks at what is pending.
 */
void lv_lapic_collect(struct lv_lapic *apic)
{
	unsigned long bits;
	unsigned int i;

	/* Where the vCPU is comes before the look: pairs with post(). */
	smp_mb();
	if (!READ_ONCE(apic->posted.notified))
		return;
	/* In this order, as the CPU does it. */
	clear_bit(0, &apic->posted.notified);
	smp_mb__after_atomic();
	for (i = 0; i < BITS_TO_LONGS(LV_VECTORS); i++)
		for (bits = xchg(&apic->posted.pir[i], 0); bits;
		     bits &= bits - 1)
			set_bit(i * BITS_PER_LONG + __ffs(bits), apic->irr);
	WRITE_ONCE(apic->irr_pending, true);
}

/* Nobody waits for its end, and the CPU knows that from the last time. */
static bool is_plain(const struct lv_lapic *apic, u8 vector, bool level)
{
	return !level && !test_bit(vector, apic->tmr) &&
	       !test_bit(vector, apic->bus->edge_eoi);
}

static int set_irr(struct lv_lapic *apic, u8 vector, bool level)
{
	if (unlikely(READ_ONCE(apic->posts)) && is_plain(apic, vector, level) &&
	    post(apic, vector))
		return 1;
	if (level && !test_bit(vector, apic->tmr))
		set_bit(vector, apic->tmr);
	else if (!level && test_bit(vector, apic->tmr))
		clear_bit(vector, apic->tmr);

	if (test_and_set_bit(vector, apic->irr))
		return 0;
	/* Only now: see lv_lapic_ack(). */
	WRITE_ONCE(apic->irr_pending, true);
	lv_lapic_notify(apic);
	return 1;
}

/** lv_lapic_ack - the CPU takes @vector: move it from IRR to ISR */
void lv_lapic_ack(struct lv_lapic *apic, u8 vector)
{
	/*
	 * Drop the flag before looking for what is left. A sender sets its IRR
	 * bit before the flag: either its bit is found here, or its flag comes
	 * after this store and stays.
	 */
	WRITE_ONCE(apic->irr_pending, false);
	clear_bit(vector, apic->irr);
	smp_mb__after_atomic();
	if (highest_vector(apic->irr) >= 0)
		WRITE_ONCE(apic->irr_pending, true);

	__set_bit(vector, apic->isr);
	apic->isr_highest = vector;
}

/* What waited for a lower processor priority may be deliverable now. */
static void priority_lowered(struct lv_lapic *apic)
{
	if (READ_ONCE(apic->irr_pending))
		lv_lapic_notify(apic);
}

/** lv_lapic_eoi - end of the highest interrupt in service */
void lv_lapic_eoi(struct lv_lapic *apic)
{
	int vector = apic->isr_highest;

	if (vector < 0)
		return;
	__clear_bit(vector, apic->isr);
	apic->isr_highest = highest_vector(apic->isr);

	if (test_bit(vector, apic->tmr) ||
	    test_bit(vector, apic->bus->edge_eoi))
		lv_lapic_eoi_broadcast(apic, vector);
	priority_lowered(apic);
}

/** lv_lapic_set_tpr - write the task priority register */
void lv_lapic_set_tpr(struct lv_lapic *apic, u8 tpr)
{
	u8 old = lv_lapic_tpr(apic);

	apic->regs[LAPIC_TPR] = tpr;
	apic->changed |= BIT(LAPIC_TPR);
	if (tpr < old)
		priority_lowered(apic);
}

/*
 * lv_lapic_tpr_threshold - the class below which the guest's CR8 must fall for
 * the highest pending vector, or 0 if CR8 does not hold it back.
 */
u8 lv_lapic_tpr_threshold(const struct lv_lapic *apic)
{
	int vector = READ_ONCE(apic->irr_pending) ? highest_vector(apic->irr)
						  : -1;

	if (vector < 0 || vector >> 4 > lv_lapic_tpr(apic) >> 4)
		return 0;
	return vector >> 4;
}

/* ---- messages in and out ---- */

/* Raise a local vector table entry: timer or error. */
static void raise_lvt(struct lv_lapic *apic, enum lv_lapic_reg reg);

static void report_error(struct lv_lapic *apic, unsigned int bit)
{
	if (!test_and_set_bit(bit, &apic->errors))
		raise_lvt(apic, LAPIC_LVT_ERROR);
}

static int accept_vector(struct lv_lapic *apic, u8 vector, bool level)
{
	if (vector < FIRST_LEGAL_VECTOR) {
		report_error(apic, ESR_RECEIVED_ILLEGAL_VECTOR);
		return LV_LINE_IGNORED;
	}
	return set_irr(apic, vector, level);
}

static void raise_lvt(struct lv_lapic *apic, enum lv_lapic_reg reg)
{
	u32 lvt = READ_ONCE(apic->regs[reg]);

	if (!(lvt & LVT_MASKED))
		accept_vector(apic, lvt & LVT_VECTOR, false);
}

/** lv_lapic_accept - take a message for this APIC; as lv_apic_bus_send() */
int lv_lapic_accept(struct lv_lapic *apic, const struct lv_apic_msg *msg)
{
	switch (msg->delivery) {
	case LV_DELIVER_FIXED:
	case LV_DELIVER_LOWEST:
		if (!lv_lapic_software_enabled(apic))
			return LV_LINE_IGNORED;
		WRITE_ONCE(apic->source, msg->source);
		return accept_vector(apic, msg->vector, msg->level);
	case LV_DELIVER_NMI:
	case LV_DELIVER_INIT:
	case LV_DELIVER_SIPI:
		lv_lapic_event(apic, msg->delivery - LV_DELIVER_NMI,
			       msg->vector);
		return 1;
	default:
		/* No SMM; ExtINT comes from the PIC by INTR, not by message. */
		return LV_LINE_IGNORED;
	}
}

static void write_icr(struct lv_lapic *apic, u32 icr, u32 dest)
{
	bool x2apic = lv_lapic_x2apic(apic);
	struct lv_apic_msg msg = {
		.dest = dest,
		.vector = icr & 0xff,
		.delivery = icr >> 8 & 7,
		.logical = icr & BIT(11),
		.shorthand = icr >> 18 & 3,
		.x2apic = x2apic,
		.source = LV_FROM_IPI,
	};

	apic->regs[LAPIC_ICR] = icr & ~ICR_BUSY;
	/* INIT level de-assert: only APICs on a serial bus listen to it. */
	if (msg.delivery == LV_DELIVER_INIT &&
	    (icr & (ICR_LEVEL | ICR_ASSERT)) == ICR_LEVEL)
		return;

	if (msg.delivery <= LV_DELIVER_LOWEST &&
	    msg.vector < FIRST_LEGAL_VECTOR) {
		report_error(apic, ESR_SEND_ILLEGAL_VECTOR);
		return;
	}

	if (msg.shorthand == LV_TO_DEST && dest == (x2apic ? ~0u : 0xff))
		msg.shorthand = LV_TO_ALL;
	lv_apic_bus_send(apic->bus, &msg, apic);
}

/*
 * lv_lapic_accepts_pic - does the PIC's INTR pin reach this vCPU? It does
 * through LINT0 in ExtINT mode, or past an APIC that is off.
 */
bool lv_lapic_accepts_pic(const struct lv_lapic *apic)
{
	u32 lint0 = READ_ONCE(apic->regs[LAPIC_LVT_LINT0]);

	return !lv_lapic_enabled(apic) ||
	       (lint0 & (LVT_MASKED | LVT_DELIVERY)) == LV_DELIVER_EXTINT << 8;
}

/* ---- timer: the bus clock is 1 GHz, so a tick is a nanosecond ---- */

static unsigned int timer_mode(const struct lv_lapic *apic)
{
	return READ_ONCE(apic->regs[LAPIC_LVT_TIMER]) >> 17 & 3;
}

/* Divide configuration: bits 3, 1, 0 hold log2(divisor) - 1, modulo 8. */
static unsigned int timer_shift(const struct lv_lapic *apic)
{
	u32 div = apic->regs[LAPIC_TIMER_DIV];

	return (((div & 3) | (div & 8) >> 1) + 1) & 7;
}

static u64 timer_period(const struct lv_lapic *apic)
{
	u64 ns = (u64)apic->regs[LAPIC_TIMER_INIT] << timer_shift(apic);

	return max(ns, (u64)TIMER_MIN_PERIOD_NS);
}

static void timer_stop(struct lv_lapic *apic)
{
	lv_lapic_timer_cancel(apic);
	apic->expiry = 0;
	apic->tsc_deadline = 0;
}

/* Start a stopped timer: expire in @ns, without the host's help if that is now. */
static void timer_start(struct lv_lapic *apic, s64 ns)
{
	if (ns < TIMER_AT_ONCE_NS && timer_mode(apic) != TIMER_PERIODIC) {
		lv_lapic_timer_expired(apic);
		return;
	}
	apic->expiry = lv_irq_now_ns() + ns;
	lv_lapic_timer_arm(apic, apic->expiry);
}

/** lv_lapic_timer_expired - the armed deadline has come; called on any CPU */
void lv_lapic_timer_expired(struct lv_lapic *apic)
{
	u64 now, period;

	raise_lvt(apic, LAPIC_LVT_TIMER);

	if (timer_mode(apic) != TIMER_PERIODIC || !apic->expiry) {
		WRITE_ONCE(apic->expiry, 0);
		WRITE_ONCE(apic->tsc_deadline, 0);
		return;
	}

	/* Keep the phase; ticks that passed meanwhile merge into one. */
	now = lv_irq_now_ns();
	period = timer_period(apic);
	if (now >= apic->expiry + period)
		now -= (now - apic->expiry) % period;
	else
		now = apic->expiry;
	WRITE_ONCE(apic->expiry, now + period);
	lv_lapic_timer_arm(apic, now + period);
}

static u32 timer_count(const struct lv_lapic *apic)
{
	u64 expiry = READ_ONCE(apic->expiry), now = lv_irq_now_ns(), left;

	if (!expiry || timer_mode(apic) == TIMER_TSC_DEADLINE)
		return 0;
	if (now < expiry)
		left = expiry - now;
	else if (timer_mode(apic) == TIMER_PERIODIC)
		left = timer_period(apic) - (now - expiry) % timer_period(apic);
	else
		left = 0;
	return left >> timer_shift(apic);
}

static void timer_start_count(struct lv_lapic *apic, u32 count)
{
	if (count)
		timer_start(apic, (u64)count << timer_shift(apic));
}

static void write_timer_init(struct lv_lapic *apic, u32 count)
{
	if (timer_mode(apic) == TIMER_TSC_DEADLINE)
		return;
	timer_stop(apic);
	apic->regs[LAPIC_TIMER_INIT] = count;
	timer_start_count(apic, count);
}

static void write_timer_div(struct lv_lapic *apic, u32 div)
{
	u32 left = timer_count(apic);

	if (timer_mode(apic) != TIMER_TSC_DEADLINE)
		timer_stop(apic);
	apic->regs[LAPIC_TIMER_DIV] = div;
	timer_start_count(apic, left);
}

/*
 * lv_lapic_set_tsc_deadline - write IA32_TSC_DEADLINE; 0 for none. Reading it
 * is reading @tsc_deadline: it is 0 in the other timer modes.
 */
void lv_lapic_set_tsc_deadline(struct lv_lapic *apic, u64 tsc)
{
	if (timer_mode(apic) != TIMER_TSC_DEADLINE)
		return;
	timer_stop(apic);
	if (!tsc)
		return;
	apic->tsc_deadline = tsc;
	if (!lv_lapic_timer_arm_tsc(apic, tsc))
		timer_start(apic, lv_lapic_ns_until(apic, tsc));
}

/* ---- registers ---- */

/*
 * In xAPIC mode a CPU writes the last self-IPI, and where other IPIs go, to the
 * page without a word: have them.
 */
static void icr_from_page(struct lv_lapic *apic)
{
	u32 reg;

	if (!apic->page || lv_lapic_x2apic(apic))
		return;
	for (reg = LAPIC_ICR; reg <= LAPIC_ICR2; reg++)
		if (!(apic->changed & BIT(reg)))
			apic->regs[reg] = *lv_lapic_page_reg(apic->page, reg);
}

static u32 read_reg(struct lv_lapic *apic, unsigned int reg)
{
	switch (reg) {
	case LAPIC_ID:
		return lv_lapic_x2apic(apic) ? apic->id : apic->id << 24;
	case LAPIC_VERSION:
		return VERSION | MAX_LVT << 16;
	case LAPIC_PPR:
		return ppr(apic);
	case LAPIC_LDR:
		if (lv_lapic_x2apic(apic))
			return apic->id / 16 << 16 | 1u << apic->id % 16;
		return apic->regs[reg];
	case LAPIC_ISR ... LAPIC_IRR + 7:
		return READ_ONCE(apic->bitmap[reg - LAPIC_ISR]);
	case LAPIC_TIMER_COUNT:
		return timer_count(apic);
	case LAPIC_ICR ... LAPIC_ICR2:
		icr_from_page(apic);
		fallthrough;
	default:
		return apic->regs[reg];
	}
}

static void write_spiv(struct lv_lapic *apic, u32 val)
{
	unsigned int reg;

	WRITE_ONCE(apic->regs[LAPIC_SPIV], val);
	if (val & LV_SPIV_ENABLE)
		return;
	apic->changed |= LVT_REGS;
	for (reg = LAPIC_LVT_TIMER; reg <= LAPIC_LVT_ERROR; reg++)
		WRITE_ONCE(apic->regs[reg], apic->regs[reg] | LVT_MASKED);
}

static void write_lvt(struct lv_lapic *apic, unsigned int reg, u32 val)
{
	if (!lv_lapic_software_enabled(apic))
		val |= LVT_MASKED;
	if (reg == LAPIC_LVT_TIMER) {
		if (!apic->has_tsc_deadline)
			val &= ~LVT_TSC_DEADLINE;
		/* Counter and deadline do not survive into each other's mode. */
		if ((val ^ apic->regs[reg]) & LVT_TSC_DEADLINE) {
			timer_stop(apic);
			apic->regs[LAPIC_TIMER_INIT] = 0;
			apic->changed |= R(TIMER_INIT);
		}
	}
	WRITE_ONCE(apic->regs[reg], val);
	/* The PIC may have waited for LINT0 to open. */
	if (reg == LAPIC_LVT_LINT0)
		lv_lapic_notify(apic);
}

/* @val holds writable bits only. */
static void write_reg(struct lv_lapic *apic, unsigned int reg, u32 val)
{
	apic->changed |= BIT(reg);
	switch (reg) {
	case LAPIC_EOI:
		lv_lapic_eoi(apic);
		break;
	case LAPIC_TPR:
		lv_lapic_set_tpr(apic, val);
		break;
	case LAPIC_SPIV:
		write_spiv(apic, val);
		break;
	case LAPIC_ESR:
		apic->regs[reg] = xchg(&apic->errors, 0);
		break;
	case LAPIC_ICR:
		icr_from_page(apic);
		write_icr(apic, val, apic->regs[LAPIC_ICR2] >> 24);
		break;
	case LAPIC_LVT_TIMER ... LAPIC_LVT_ERROR:
		write_lvt(apic, reg, val);
		break;
	case LAPIC_TIMER_INIT:
		write_timer_init(apic, val);
		break;
	case LAPIC_TIMER_DIV:
		write_timer_div(apic, val);
		break;
	case LAPIC_SELF_IPI:
		accept_vector(apic, val, false);
		break;
	case LAPIC_DFR:
		val |= ~writable_bits[LAPIC_DFR];
		fallthrough;
	default:
		WRITE_ONCE(apic->regs[reg], val);
	}
}

/* Is the guest's *@reg one of @regs? Speculation must believe it, too. */
static bool find_reg(u32 *reg, u64 regs)
{
	if (*reg >= LAPIC_NR_REGS || !(regs >> *reg & 1))
		return false;
	*reg = array_index_nospec(*reg, LAPIC_NR_REGS);
	return true;
}

/** lv_lapic_mmio_read - read the register at @offset of the APIC page */
u32 lv_lapic_mmio_read(struct lv_lapic *apic, u32 offset)
{
	u32 reg = offset >> 4;

	if (find_reg(&reg, XAPIC_READABLE))
		return read_reg(apic, reg);
	report_error(apic, ESR_ILLEGAL_REGISTER);
	return 0;
}

/** lv_lapic_mmio_write - write the register at @offset of the APIC page */
void lv_lapic_mmio_write(struct lv_lapic *apic, u32 offset, u32 val)
{
	u32 reg = offset >> 4;

	if (find_reg(&reg, XAPIC_WRITABLE))
		write_reg(apic, reg, val & writable_bits[reg]);
	else if (!find_reg(&reg, XAPIC_READABLE))
		report_error(apic, ESR_ILLEGAL_REGISTER);
}

/** lv_lapic_rdmsr - read an x2APIC MSR, 0x800 to 0x8ff; -EINVAL: #GP */
int lv_lapic_rdmsr(struct lv_lapic *apic, u32 msr, u64 *val)
{
	u32 reg = msr - LV_X2APIC_MSR;

	if (!lv_lapic_x2apic(apic) || !find_reg(&reg, X2APIC_READABLE))
		return -EINVAL;
	*val = read_reg(apic, reg);
	if (reg == LAPIC_ICR)
		*val |= (u64)apic->regs[LAPIC_ICR2] << 32;
	return 0;
}

/** lv_lapic_wrmsr - write one; as lv_lapic_rdmsr() */
int lv_lapic_wrmsr(struct lv_lapic *apic, u32 msr, u64 val)
{
	u32 reg = msr - LV_X2APIC_MSR, ignored;

	if (!lv_lapic_x2apic(apic) || !find_reg(&reg, X2APIC_WRITABLE))
		return -EINVAL;

	if (reg == LAPIC_ICR) {
		if ((u32)val & ~ICR_X2APIC_BITS)
			return -EINVAL;
		apic->regs[LAPIC_ICR2] = val >> 32;
		write_icr(apic, val, val >> 32);
		return 0;
	}

	ignored = LVT_REGS >> reg & 1 ? LVT_READ_ONLY : 0;
	if (val & ~(u64)(writable_bits[reg] | ignored))
		return -EINVAL;
	write_reg(apic, reg, val & writable_bits[reg]);
	return 0;
}

/* ---- the page that stands for the APIC in the guest ---- */

/* Registers in it that have to be as they are here. */
#define PAGE_SHOWN \
	(XAPIC_READABLE & ~(R(PPR) | R(APR) | BITMAP_REGS | R(TIMER_COUNT)))

/* Move what is pending; the highest vector, or 0. */
static u8 irr_to_page(struct lv_lapic *apic, u32 *page)
{
	unsigned long irr;
	unsigned int i;
	u8 highest = 0;

	/* As in lv_lapic_ack(). */
	WRITE_ONCE(apic->irr_pending, false);
	smp_mb();
	for (i = 0; i < BITS_TO_LONGS(LV_VECTORS); i++) {
		if (!READ_ONCE(apic->irr[i]))
			continue;
		irr = xchg(&apic->irr[i], 0);
		*lv_lapic_page_reg(page, LAPIC_IRR + 2 * i) = irr;
		*lv_lapic_page_reg(page, LAPIC_IRR + 2 * i + 1) = irr >> 32;
		*lv_lapic_page_reg(page, LAPIC_TMR + 2 * i) = apic->tmr[i];
		*lv_lapic_page_reg(page, LAPIC_TMR + 2 * i + 1) =
			apic->tmr[i] >> 32;
		highest = i * BITS_PER_LONG + __fls(irr);
	}
	return highest;
}

static void irr_from_page(struct lv_lapic *apic, u32 *page)
{
	unsigned long irr;
	unsigned int i;

	for (i = 0; i < LV_VECTORS / 32; i++) {
		for (irr = *lv_lapic_page_reg(page, LAPIC_IRR + i); irr;
		     irr &= irr - 1)
			set_bit(i * 32 + __ffs(irr), apic->irr);
		*lv_lapic_page_reg(page, LAPIC_IRR + i) = 0;
	}
	WRITE_ONCE(apic->irr_pending, true);
}

/* The slow half of lv_lapic_to_page(). */
u16 lv_lapic_move_to_page(struct lv_lapic *apic, u32 *page)
{
	unsigned long regs = apic->changed & PAGE_SHOWN;
	unsigned int i;
	u8 pending = 0;

	for (; regs; regs &= regs - 1)
		*lv_lapic_page_reg(page, __ffs(regs)) =
			read_reg(apic, __ffs(regs));
	apic->changed = 0;
	if (READ_ONCE(apic->irr_pending))
		pending = irr_to_page(apic, page);
	if (apic->isr_highest < 0)
		return pending;
	for (i = 0; i < LV_VECTORS / 32; i++)
		*lv_lapic_page_reg(page, LAPIC_ISR + i) = apic->bitmap[i];
	return apic->isr_highest << 8 | pending;
}

/* The slow half of lv_lapic_from_page(). */
void lv_lapic_move_from_page(struct lv_lapic *apic, u32 *page, u16 status)
{
	bool in_service = status >> 8;
	unsigned int i;

	if (status & 0xff)
		irr_from_page(apic, page);
	if (!in_service && apic->isr_highest < 0)
		return;
	for (i = 0; i < LV_VECTORS / 32; i++) {
		apic->bitmap[i] = *lv_lapic_page_reg(page, LAPIC_ISR + i);
		*lv_lapic_page_reg(page, LAPIC_ISR + i) = 0;
	}
	apic->isr_highest = in_service ? status >> 8 : -1;
}

/** lv_lapic_set_page - from now on it is @page that a CPU works on; NULL: none */
void lv_lapic_set_page(struct lv_lapic *apic, u32 *page)
{
	icr_from_page(apic);
	apic->page = page;
	apic->changed = ~0ul;
}

/** lv_lapic_written - the guest wrote @val to a register in the page */
void lv_lapic_written(struct lv_lapic *apic, u32 offset, u32 val)
{
	u32 reg = offset >> 4;

	if (find_reg(&reg, XAPIC_WRITABLE | R(SELF_IPI)))
		write_reg(apic, reg, val & writable_bits[reg]);
	else if (find_reg(&reg, PAGE_SHOWN))
		apic->changed |= BIT(reg);
}

/* ---- life cycle and state ---- */

/** lv_lapic_reset - what INIT does: all but ID and base */
void lv_lapic_reset(struct lv_lapic *apic)
{
	unsigned int reg;

	timer_stop(apic);
	memset(apic->bitmap, 0, sizeof(apic->bitmap));
	memset(apic->regs, 0, sizeof(apic->regs));
	apic->changed = ~0ul;
	apic->errors = 0;
	apic->irr_pending = false;
	apic->isr_highest = -1;

	apic->regs[LAPIC_DFR] = ~0u;
	apic->regs[LAPIC_SPIV] = 0xff;
	for (reg = LAPIC_LVT_TIMER; reg <= LAPIC_LVT_ERROR; reg++)
		apic->regs[reg] = LVT_MASKED;
	/* Firmware's job, but as with KVM the PIC works without it. */
	if (apic->base & LV_APIC_BASE_BSP)
		apic->regs[LAPIC_LVT_LINT0] = LV_DELIVER_EXTINT << 8;
}

/** lv_lapic_init - power up; the caller plugs it in by lv_apic_bus_add() */
void lv_lapic_init(struct lv_lapic *apic, struct lv_apic_bus *bus, u32 id,
		   bool bsp)
{
	apic->bus = bus;
	apic->id = id;
	apic->base = LV_APIC_DEFAULT_BASE | LV_APIC_BASE_ENABLE |
		     (bsp ? LV_APIC_BASE_BSP : 0);
	lv_lapic_reset(apic);
}

/*
 * lv_lapic_set_base - write IA32_APIC_BASE, whose width was checked; -EINVAL:
 * #GP. @host: user space restores state, in any order: all valid modes may
 * follow each other and no register is reset.
 */
int lv_lapic_set_base(struct lv_lapic *apic, u64 base, bool host)
{
	const u64 reserved = GENMASK_ULL(63, 52) | BIT_ULL(9) | 0xff;
	const u64 on = LV_APIC_BASE_ENABLE, x2 = LV_APIC_BASE_X2APIC;
	u64 mode = base & (on | x2), old = apic->base & (on | x2);

	if ((base & reserved) || mode == x2 || (mode & x2 && !apic->has_x2apic))
		return -EINVAL;
	/* x2APIC mode is entered from xAPIC mode and left by disabling. */
	if (!host &&
	    ((mode == (on | x2) && !old) || (mode == on && (old & x2))))
		return -EINVAL;

	icr_from_page(apic);
	WRITE_ONCE(apic->base, base);
	apic->changed = ~0ul;
	if (!host && old && !mode)
		lv_lapic_reset(apic);
	/* The PIC gets past an APIC that is off. */
	lv_lapic_notify(apic);
	return 0;
}

/** lv_lapic_get_state - KVM_GET_LAPIC; the ID is in xAPIC format, as in KVM */
void lv_lapic_get_state(struct lv_lapic *apic, struct kvm_lapic_state *state)
{
	unsigned int reg;
	u32 val;

	memset(state, 0, sizeof(*state));
	for (reg = 0; reg < LAPIC_NR_REGS; reg++) {
		val = reg == LAPIC_ID ? apic->id << 24 : read_reg(apic, reg);
		memcpy(state->regs + (reg << 4), &val, sizeof(val));
	}
}

static u32 state_reg(const struct kvm_lapic_state *state, unsigned int reg)
{
	u32 val;

	memcpy(&val, state->regs + (reg << 4), sizeof(val));
	return val;
}

static void set_state_reg(struct lv_lapic *apic, unsigned int reg, u32 val)
{
	switch (reg) {
	case LAPIC_ISR ... LAPIC_IRR + 7:
		WRITE_ONCE(apic->bitmap[reg - LAPIC_ISR], val);
		break;
	case LAPIC_ICR2:
		apic->regs[reg] = val;
		break;
	case LAPIC_ESR:
		apic->regs[reg] = val & 0xff;
		break;
	case LAPIC_DFR:
		val |= ~writable_bits[reg];
		fallthrough;
	default:
		if (XAPIC_WRITABLE >> reg & 1)
			WRITE_ONCE(apic->regs[reg], val);
	}
}

/** lv_lapic_set_state - KVM_SET_LAPIC; -EINVAL: the ID is not this vCPU's */
int lv_lapic_set_state(struct lv_lapic *apic,
		       const struct kvm_lapic_state *state)
{
	u64 tsc_deadline = READ_ONCE(apic->tsc_deadline);
	u32 count = state_reg(state, LAPIC_TIMER_COUNT);
	unsigned int reg;

	if (state_reg(state, LAPIC_ID) != apic->id << 24)
		return -EINVAL;

	timer_stop(apic);
	for (reg = 0; reg < LAPIC_NR_REGS; reg++)
		set_state_reg(apic, reg, state_reg(state, reg));
	apic->changed = ~0ul;
	apic->isr_highest = highest_vector(apic->isr);
	apic->irr_pending = true;

	if (timer_mode(apic) == TIMER_TSC_DEADLINE) {
		lv_lapic_set_tsc_deadline(apic, tsc_deadline);
		return 0;
	}
	if (timer_mode(apic) == TIMER_PERIODIC && !count)
		count = apic->regs[LAPIC_TIMER_INIT];
	timer_start_count(apic, count);
	return 0;
}
