// SPDX-License-Identifier: GPL-2.0-only
/*
 * I/O APIC with 24 pins, as in Intel's 82093AA. Pin polarity is ignored: the
 * lines of a virtual machine are active high. The caller holds the irqchip
 * lock throughout.
 */
#include "irq.h"

#define VERSION 0x11
#define PINS KVM_IOAPIC_NUM_PINS

/* Offsets in the MMIO page. */
#define IOREGSEL 0x00
#define IOWIN 0x10

/* Registers behind the window. */
#define REG_ID 0
#define REG_VERSION 1
#define REG_ARBITRATION 2
#define REG_REDIR 0x10

#define ID_BITS 0x0f000000

#define REDIR_VECTOR 0xffULL
#define REDIR_DELIVERY_STATUS BIT_ULL(12)
#define REDIR_REMOTE_IRR BIT_ULL(14)
#define REDIR_LEVEL BIT_ULL(15)
#define REDIR_MASKED BIT_ULL(16)
#define REDIR_BITS (GENMASK_ULL(63, 56) | GENMASK_ULL(16, 0))
#define REDIR_READ_ONLY (REDIR_DELIVERY_STATUS | REDIR_REMOTE_IRR)

/* Send what @pin asks for, unless masked or still waiting for an EOI. */
static int send(struct lv_ioapic *io, unsigned int pin)
{
	u64 redir = io->redir[pin];
	struct lv_apic_msg msg = {
		.dest = redir >> 56,
		.vector = redir & REDIR_VECTOR,
		.delivery = redir >> 8 & 7,
		.shorthand = redir >> 56 == 0xff ? LV_TO_ALL : LV_TO_DEST,
		.logical = redir & BIT_ULL(11),
		.level = redir & REDIR_LEVEL,
	};
	int ret;

	if (redir & REDIR_MASKED)
		return LV_LINE_IGNORED;
	if (redir & REDIR_REMOTE_IRR)
		return 0;

	ret = lv_apic_bus_send(io->bus, &msg, NULL);
	if (ret >= 0 && msg.level && msg.delivery <= LV_DELIVER_LOWEST)
		io->redir[pin] |= REDIR_REMOTE_IRR;
	return ret;
}

/* Tell the local APICs which edge vectors to report EOIs of. */
static void publish_watched(struct lv_ioapic *io)
{
	unsigned long vectors[BITS_TO_LONGS(LV_VECTORS)] = {};
	unsigned int pin, i;

	for (pin = 0; pin < PINS; pin++)
		if (io->watched & BIT(pin) && !(io->redir[pin] & REDIR_MASKED))
			__set_bit(io->redir[pin] & REDIR_VECTOR, vectors);
	for (i = 0; i < ARRAY_SIZE(vectors); i++)
		WRITE_ONCE(io->bus->edge_eoi[i], vectors[i]);
}

/** lv_ioapic_watch - want the EOI of @pins even if they are edge triggered */
void lv_ioapic_watch(struct lv_ioapic *io, u32 pins)
{
	io->watched = pins;
	publish_watched(io);
}

/** lv_ioapic_set_line - drive a pin; returns as said at LV_LINE_IGNORED */
int lv_ioapic_set_line(struct lv_ioapic *io, unsigned int pin,
		       enum lv_line_source source, bool level)
{
	u32 was = io->lines;

	pin = array_index_nospec(pin, PINS);
	if (!lv_line_drive(&io->sources[pin], source, level)) {
		io->lines &= ~BIT(pin);
		return 1;
	}
	io->lines |= BIT(pin);
	if (!(io->redir[pin] & REDIR_LEVEL) && was & BIT(pin))
		return 0;
	return send(io, pin);
}

/*
 * lv_ioapic_eoi - a local APIC ended @vector.
 * Level pins may interrupt again, but nothing is sent before the caller has
 * told the devices, who may lower their lines, and calls lv_ioapic_service().
 * Return: the pins it was the end of.
 */
u32 lv_ioapic_eoi(struct lv_ioapic *io, u8 vector)
{
	unsigned int pin;
	u32 pins = 0;

	for (pin = 0; pin < PINS; pin++) {
		if ((io->redir[pin] & REDIR_VECTOR) != vector)
			continue;
		io->redir[pin] &= ~REDIR_REMOTE_IRR;
		pins |= BIT(pin);
	}
	return pins;
}

/** lv_ioapic_service - send anew for those of @pins that are high and level */
void lv_ioapic_service(struct lv_ioapic *io, u32 pins)
{
	unsigned int pin;

	for (pins &= io->lines; pins; pins &= pins - 1) {
		pin = __ffs(pins);
		if (io->redir[pin] & REDIR_LEVEL)
			send(io, pin);
	}
}

static void set_redir(struct lv_ioapic *io, unsigned int pin, u64 redir)
{
	/* Linux turns a pin to edge and back to clear a stuck Remote IRR. */
	if (!(redir & REDIR_LEVEL))
		redir &= ~REDIR_REMOTE_IRR;
	io->redir[pin] = redir & REDIR_BITS & ~REDIR_DELIVERY_STATUS;
}

static void write_redir(struct lv_ioapic *io, unsigned int index, u32 val)
{
	unsigned int pin = array_index_nospec(index / 2, PINS);
	unsigned int shift = index % 2 * 32;
	u64 bits = (0xffffffffULL << shift) & ~REDIR_READ_ONLY;

	set_redir(io, pin,
		  (io->redir[pin] & ~bits) | ((u64)val << shift & bits));
	publish_watched(io);
	lv_ioapic_service(io, BIT(pin));
}

static u32 read_redir(const struct lv_ioapic *io, unsigned int index)
{
	return io->redir[array_index_nospec(index / 2, PINS)] >> index % 2 * 32;
}

/** lv_ioapic_read - read 32 bits at @offset of the I/O APIC's page */
u32 lv_ioapic_read(struct lv_ioapic *io, u32 offset)
{
	if (offset == IOREGSEL)
		return io->select;
	if (offset != IOWIN)
		return 0;

	switch (io->select) {
	case REG_ID:
	case REG_ARBITRATION:
		return io->id;
	case REG_VERSION:
		return VERSION | (PINS - 1) << 16;
	case REG_REDIR ... REG_REDIR + 2 * PINS - 1:
		return read_redir(io, io->select - REG_REDIR);
	default:
		return 0;
	}
}

/** lv_ioapic_write - write 32 bits at @offset of the I/O APIC's page */
void lv_ioapic_write(struct lv_ioapic *io, u32 offset, u32 val)
{
	if (offset == IOREGSEL) {
		io->select = val & 0xff;
		return;
	}
	if (offset != IOWIN)
		return;

	switch (io->select) {
	case REG_ID:
		io->id = val & ID_BITS;
		break;
	case REG_REDIR ... REG_REDIR + 2 * PINS - 1:
		write_redir(io, io->select - REG_REDIR, val);
		break;
	}
}

/*
 * lv_ioapic_get_state - KVM_GET_IRQCHIP.
 * An edge was delivered or lost when it came. Leave it out of IRR, lest it be
 * delivered again after KVM_SET_IRQCHIP.
 */
void lv_ioapic_get_state(const struct lv_ioapic *io,
			 struct kvm_ioapic_state *state)
{
	unsigned int pin;

	memset(state, 0, sizeof(*state));
	state->base_address = LV_IOAPIC_BASE;
	state->ioregsel = io->select;
	state->id = io->id >> 24;
	for (pin = 0; pin < PINS; pin++) {
		state->redirtbl[pin].bits = io->redir[pin];
		if (io->redir[pin] & REDIR_LEVEL)
			state->irr |= io->lines & BIT(pin);
	}
}

/** lv_ioapic_set_state - KVM_SET_IRQCHIP; high lines are user space's */
void lv_ioapic_set_state(struct lv_ioapic *io,
			 const struct kvm_ioapic_state *state)
{
	u32 lines = state->irr & GENMASK(PINS - 1, 0);
	unsigned int pin;

	io->select = state->ioregsel & 0xff;
	io->id = state->id << 24 & ID_BITS;
	io->lines = 0;
	for (pin = 0; pin < PINS; pin++) {
		io->sources[pin] = 0;
		set_redir(io, pin, state->redirtbl[pin].bits);
	}
	publish_watched(io);
	for (pin = 0; pin < PINS; pin++)
		if (lines & BIT(pin))
			lv_ioapic_set_line(io, pin, LV_LINE_USER, true);
}

/** lv_ioapic_init - power up: all pins masked */
void lv_ioapic_init(struct lv_ioapic *io, struct lv_apic_bus *bus)
{
	unsigned int pin;

	memset(io, 0, sizeof(*io));
	io->bus = bus;
	for (pin = 0; pin < PINS; pin++)
		io->redir[pin] = REDIR_MASKED;
}
