// SPDX-License-Identifier: GPL-2.0-only
/* The I/O APIC; the bus behind it records what it sends. */
#include "irq/irq.h"
#include "tap.h"

#define MASKED BIT_ULL(16)
#define LEVEL BIT_ULL(15)
#define REMOTE_IRR BIT_ULL(14)
#define LOGICAL BIT_ULL(11)
#define DEST(id) ((u64)(id) << 56)
#define REDIR 0x10

static struct lv_ioapic io;
static struct lv_apic_bus bus;

static struct lv_apic_msg last;
static unsigned int sent;
static int send_result;

int lv_apic_bus_send(struct lv_apic_bus *b, const struct lv_apic_msg *msg,
		     struct lv_lapic *from)
{
	ok(b == &bus && !from, "message %u goes to the bus, from no APIC",
	   sent);
	last = *msg;
	sent++;
	return send_result;
}

static void power_up(void)
{
	memset(&bus, 0, sizeof(bus));
	lv_ioapic_init(&io, &bus);
	sent = 0;
	send_result = 1;
}

static u32 get(unsigned int reg)
{
	lv_ioapic_write(&io, 0, reg);
	return lv_ioapic_read(&io, 0x10);
}

static void set(unsigned int reg, u32 val)
{
	lv_ioapic_write(&io, 0, reg);
	lv_ioapic_write(&io, 0x10, val);
}

static void set_redir(unsigned int pin, u64 redir)
{
	set(REDIR + 2 * pin + 1, redir >> 32);
	set(REDIR + 2 * pin, redir);
}

static u64 get_redir(unsigned int pin)
{
	return get(REDIR + 2 * pin) | (u64)get(REDIR + 2 * pin + 1) << 32;
}

static int line(unsigned int pin, bool level)
{
	return lv_ioapic_set_line(&io, pin, LV_LINE_USER, level);
}

static bool watched(u8 vector)
{
	return test_bit(vector, bus.edge_eoi);
}

/* EOI with no device that lowers its line. */
static u32 eoi(u8 vector)
{
	u32 pins = lv_ioapic_eoi(&io, vector);

	lv_ioapic_service(&io, pins);
	return pins;
}

static void test_registers(void)
{
	power_up();
	is(get(1), 0x170011, "version: 24 pins");
	is(get_redir(0), MASKED, "reset: pins are masked");
	is(get_redir(23), MASKED, "reset: the last pin, too");
	set(0, ~0u);
	is(get(0), 0x0f000000, "ID has 4 bits");
	is(get(2), 0x0f000000, "arbitration ID is the ID");
	set(1, 0);
	is(get(1), 0x170011, "version is read-only");
	lv_ioapic_write(&io, 0, 0x112);
	is(lv_ioapic_read(&io, 0), 0x12, "select has 8 bits");
	set_redir(5, ~0ULL);
	is(get_redir(5), 0xff0000000001afffULL,
	   "redirection: reserved and read-only bits stay 0");
	is(get(3), 0, "no register 3");
	set(0x40, 0x1234);
	is(get(0x40), 0, "no register behind the last pin");
	is(lv_ioapic_read(&io, 0x20), 0, "nothing beside the window");
	lv_ioapic_write(&io, 0x20, 0x99);
	is(lv_ioapic_read(&io, 0), 0x40, "writes there are ignored");
	is(sent, 0, "programming sends nothing");
}

static void test_message(void)
{
	power_up();
	set_redir(3, DEST(5) | LOGICAL | LV_DELIVER_LOWEST << 8 | 0x61);
	is(line(3, true), 1, "message: counts its targets");
	is(last.dest, 5, "message: destination");
	is(last.vector, 0x61, "message: vector");
	is(last.delivery, LV_DELIVER_LOWEST, "message: delivery mode");
	ok(last.logical && !last.level && !last.x2apic,
	   "message: logical, edge, 8-bit destination");
	is(last.shorthand, LV_TO_DEST, "message: to its destination");
	set_redir(4, DEST(0xff) | LEVEL | 0x62);
	line(4, true);
	is(last.shorthand, LV_TO_ALL, "message: 0xff is everybody");
	ok(last.level && !last.logical, "message: level, physical");
}

static void test_edge(void)
{
	power_up();
	is(line(1, true), LV_LINE_IGNORED, "edge: a masked pin ignores");
	line(1, false);
	set_redir(1, 0x41);
	is(sent, 0, "edge: one that came while masked is lost");
	is(line(1, true), 1, "edge: rising sends");
	is(line(1, true), 0, "edge: high merges");
	is(sent, 1, "edge: once");
	line(1, false);
	is(line(1, true), 1, "edge: the next rising sends again");
	is(sent, 2, "edge: twice");
	is(eoi(0x41), BIT(1), "edge: the EOI is noted");
	is(sent, 2, "edge: an EOI sends nothing");
	set_redir(1, 0x41 | MASKED);
	set_redir(1, 0x41);
	is(sent, 2, "edge: unmasking a high pin sends nothing");
	line(1, false);
	send_result = 0;
	is(line(1, true), 0, "edge: the bus says it merged");
}

static void test_level(void)
{
	power_up();
	set_redir(2, LEVEL | 0x42);
	is(line(2, true), 1, "level: high sends");
	is(get_redir(2), LEVEL | REMOTE_IRR | 0x42, "level: Remote IRR");
	is(line(2, true), 0, "level: waits for the EOI");
	is(eoi(0x43), 0, "level: EOI of another vector is not ours");
	is(sent, 1, "level: once until then");
	is(eoi(0x42), BIT(2), "level: EOI");
	is(sent, 2, "level: still high, again");
	line(2, false);
	is(eoi(0x42), BIT(2), "level: EOI after the device is quiet");
	is(sent, 2, "level: quiet");
	is(get_redir(2), LEVEL | 0x42, "level: Remote IRR is clear");

	line(2, true);
	is(lv_ioapic_eoi(&io, 0x42), BIT(2), "level: EOI, and before service");
	line(2, false);
	lv_ioapic_service(&io, BIT(2));
	is(sent, 3, "level: a line lowered by then sends nothing");

	set_redir(2, LEVEL | MASKED | 0x42);
	is(line(2, true), LV_LINE_IGNORED, "level: masked");
	set_redir(2, LEVEL | 0x42);
	is(sent, 4, "level: unmasking a high pin sends");
	set_redir(2, LEVEL | MASKED | 0x42);
	is(eoi(0x42), BIT(2), "level: EOI while masked");
	is(sent, 4, "level: sends nothing");

	set_redir(2, LEVEL | 0x42);
	is(get_redir(2) & REMOTE_IRR, REMOTE_IRR, "level: sent on unmask");
	set_redir(2, MASKED | 0x42);
	set_redir(2, LEVEL | MASKED | 0x42);
	is(get_redir(2) & REMOTE_IRR, 0, "edge mode clears Remote IRR");

	power_up();
	send_result = LV_LINE_IGNORED;
	set_redir(2, LEVEL | 0x42);
	is(line(2, true), LV_LINE_IGNORED, "level: nobody took it");
	is(get_redir(2) & REMOTE_IRR, 0, "level: then no EOI will come");
	send_result = 0;
	set_redir(4, LEVEL | LV_DELIVER_LOWEST << 8 | 0x44);
	is(line(4, true), 0, "level: lowest priority, merged");
	is(get_redir(4) & REMOTE_IRR, REMOTE_IRR, "level: will have its EOI");
	set_redir(3, LEVEL | LV_DELIVER_NMI << 8);
	send_result = 1;
	line(3, true);
	is(get_redir(3) & REMOTE_IRR, 0, "an NMI has no EOI");
}

static void test_shared_vector(void)
{
	power_up();
	set_redir(6, LEVEL | 0x50);
	set_redir(7, LEVEL | 0x50);
	line(6, true);
	line(7, true);
	line(6, false);
	is(eoi(0x50), BIT(6) | BIT(7), "one EOI is for all pins of a vector");
	is(sent, 3, "and the one still high is sent again");
}

static void test_sources(void)
{
	power_up();
	set_redir(9, LEVEL | 0x50);
	line(9, true);
	lv_ioapic_set_line(&io, 9, LV_LINE_RESAMPLE, true);
	line(9, false);
	eoi(0x50);
	is(sent, 2, "a line is high while one of its sources is");
	lv_ioapic_set_line(&io, 9, LV_LINE_RESAMPLE, false);
	eoi(0x50);
	is(sent, 2, "and low when none is");
}

static void test_watch(void)
{
	power_up();
	set_redir(2, 0x30);
	ok(!watched(0x30), "watch: nobody asked");
	lv_ioapic_watch(&io, BIT(2));
	ok(watched(0x30), "watch: the pin's vector");
	set_redir(2, 0x31);
	ok(watched(0x31) && !watched(0x30), "watch: follows the pin");
	set_redir(2, 0x31 | MASKED);
	ok(!watched(0x31), "watch: not while masked");
	set_redir(2, 0xf1);
	set_redir(3, 0x44);
	ok(watched(0xf1) && !watched(0x44), "watch: only that pin");
	lv_ioapic_watch(&io, 0);
	ok(!watched(0xf1), "watch: no more");
}

static void test_state(void)
{
	struct kvm_ioapic_state state, again;

	power_up();
	set(0, 3 << 24);
	set_redir(1, DEST(1) | 0x41);
	set_redir(2, DEST(2) | LEVEL | 0x42);
	set_redir(3, DEST(2) | LEVEL | MASKED | 0x43);
	line(1, true);
	line(2, true);
	line(3, true);
	lv_ioapic_write(&io, 0, 0x15);
	lv_ioapic_get_state(&io, &state);
	is(state.base_address, 0xfec00000, "state: base address");
	is(state.id, 3, "state: ID");
	is(state.ioregsel, 0x15, "state: register select");
	is(state.irr, BIT(2) | BIT(3), "state: level pins that are high");
	is(state.redirtbl[2].fields.remote_irr, 1, "state: Remote IRR");
	is(state.redirtbl[2].fields.dest_id, 2, "state: destination");
	is(state.redirtbl[3].fields.mask, 1, "state: mask");

	power_up();
	lv_ioapic_watch(&io, BIT(1));
	line(5, true);
	line(6, true);
	lv_ioapic_set_state(&io, &state);
	is(sent, 0, "state: nothing is sent twice");
	ok(watched(0x41), "state: the watch follows");
	lv_ioapic_get_state(&io, &again);
	ok(!memcmp(&state, &again, sizeof(state)), "state: the same again");
	set_redir(6, LEVEL | 0x46);
	is(sent, 0, "state: lines are as restored, not as before");
	lv_ioapic_set_line(&io, 6, LV_LINE_RESAMPLE, true);
	lv_ioapic_set_line(&io, 6, LV_LINE_RESAMPLE, false);
	ok(!(io.lines & BIT(6)), "state: and so are who holds them");
	sent = 0;
	is(line(1, true), 1, "state: an edge after restore is one");
	eoi(0x42);
	is(sent, 2, "state: the line is still high");
	line(2, false);
	eoi(0x42);
	is(sent, 2, "state: user space owns it");

	memset(&state, 0xff, sizeof(state));
	lv_ioapic_set_state(&io, &state);
	is(get_redir(0), 0xff0000000001efffULL, "state: reserved bits stay 0");
	is(io.lines, 0xffffff, "state: 24 lines");
	memset(&state, 0, sizeof(state));
	state.irr = BIT(0);
	state.redirtbl[0].bits = 0x55;
	power_up();
	lv_ioapic_set_state(&io, &state);
	is(sent, 1, "state: an edge that is asked for is sent");
	state.irr = 0;
	state.redirtbl[0].bits = 0x55 | REMOTE_IRR;
	lv_ioapic_set_state(&io, &state);
	is(get_redir(0), 0x55, "state: an edge pin has no Remote IRR");
}

int main(void)
{
	test_registers();
	test_message();
	test_edge();
	test_level();
	test_shared_vector();
	test_sources();
	test_watch();
	test_state();
	return tap_done();
}
