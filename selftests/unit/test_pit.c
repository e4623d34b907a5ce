// SPDX-License-Identifier: GPL-2.0-only
/* The 8254 and the speaker port. */
#include "irq/irq.h"
#include "tap.h"

#define PIT_HZ 1193182ULL
#define CONTROL 0x43
#define LATCH(ch) ((ch) << 6)
#define PROGRAM(ch, access, mode) ((ch) << 6 | (access) << 4 | (mode) << 1)
#define WORD 3
#define READ_BACK(what, channels) (0xc0 | (what) | (channels))
#define NO_COUNT 0x20
#define NO_STATUS 0x10
#define OUT_HIGH 0x80

static struct lv_pit pit;
static u64 now_ns, armed;
static unsigned int pulses;
static int pulse_result;

u64 lv_irq_now_ns(void)
{
	return now_ns;
}

int lv_pit_pulse(struct lv_pit *p)
{
	(void)p;
	pulses++;
	return pulse_result;
}

void lv_pit_timer_arm(struct lv_pit *p, u64 deadline)
{
	(void)p;
	armed = deadline;
}

void lv_pit_timer_cancel(struct lv_pit *p)
{
	(void)p;
	armed = 0;
}

static u64 ticks_to_ns(u64 ticks)
{
	/* Round up: at that time the tick has happened. */
	return (ticks * 1000000000 + PIT_HZ - 1) / PIT_HZ;
}

static void run_until(u64 ns)
{
	while (armed && armed <= ns) {
		now_ns = armed;
		armed = 0;
		lv_pit_timer_expired(&pit);
	}
	now_ns = ns;
}

static void out(u16 port, u8 val)
{
	lv_pit_write(&pit, port, val);
}

static u8 in(u16 port)
{
	return lv_pit_read(&pit, port);
}

static void load(unsigned int ch, unsigned int mode, u16 count)
{
	out(CONTROL, PROGRAM(ch, WORD, mode));
	out(0x40 + ch, count);
	out(0x40 + ch, count >> 8);
}

static u16 read_word(unsigned int ch)
{
	u8 low = in(0x40 + ch);

	return low | in(0x40 + ch) << 8;
}

static u16 latched(unsigned int ch)
{
	out(CONTROL, LATCH(ch));
	return read_word(ch);
}

static bool is_high(unsigned int ch)
{
	out(CONTROL, READ_BACK(NO_COUNT, 2 << ch));
	return in(0x40 + ch) & OUT_HIGH;
}

static void power_up(void)
{
	now_ns = 5000000;
	armed = 0;
	pulses = 0;
	pulse_result = 1;
	lv_pit_init(&pit);
}

/* Move to @ticks after the count was loaded at @start. */
static void at(u64 start, u64 ticks)
{
	now_ns = start + ticks_to_ns(ticks);
}

static void test_power_up(void)
{
	power_up();
	is(armed, 0, "power-up: no timer");
	ok(pit.state.channels[0].gate && pit.state.channels[1].gate,
	   "power-up: gates are tied high");
	is(pit.state.channels[1].count, 0x10000, "power-up: full counts");
	ok(pit.reinject, "power-up: ticks are reinjected");
	ok(!(in(0x61) & 1), "power-up: the speaker's gate is low");
	is(in(CONTROL), 0, "the control port is write-only");
}

static void test_counting(void)
{
	u64 start;

	power_up();
	start = now_ns;
	load(2, 0, 1000);
	is(latched(2), 1000, "mode 0: starts at the count");
	at(start, 400);
	is(latched(2), 600, "mode 0: counts down");
	ok(!is_high(2), "mode 0: low while it counts");
	at(start, 999);
	ok(!is_high(2), "mode 0: low until the last tick");
	at(start, 1000);
	ok(is_high(2), "mode 0: high on terminal count");
	at(start, 1001);
	is(latched(2), 0xffff, "mode 0: wraps");
	ok(is_high(2), "mode 0: stays high");

	start = now_ns;
	load(2, 2, 100);
	at(start, 30);
	is(latched(2), 70, "mode 2: counts down");
	ok(is_high(2), "mode 2: high");
	at(start, 99);
	is(latched(2), 1, "mode 2: down to 1");
	ok(!is_high(2), "mode 2: low for the last tick");
	at(start, 100);
	is(latched(2), 100, "mode 2: starts over");
	ok(is_high(2), "mode 2: high again");

	start = now_ns;
	load(2, 3, 100);
	at(start, 10);
	is(latched(2), 80, "mode 3: counts by two");
	ok(is_high(2), "mode 3: high in the first half");
	at(start, 49);
	ok(is_high(2), "mode 3: until its end");
	at(start, 50);
	ok(!is_high(2), "mode 3: low in the second");
	is(latched(2), 100, "mode 3: starts over in the middle");
	at(start, 100);
	ok(is_high(2), "mode 3: high again");
	start = now_ns;
	load(2, 3, 5);
	at(start, 2);
	ok(is_high(2), "mode 3: an odd count is high for longer");
	at(start, 3);
	ok(!is_high(2), "mode 3: than low");

	start = now_ns;
	load(2, 4, 10);
	at(start, 9);
	ok(is_high(2), "mode 4: high");
	at(start, 10);
	ok(!is_high(2), "mode 4: strobes low");
	at(start, 11);
	ok(is_high(2), "mode 4: for a tick");

	start = now_ns;
	load(2, 6, 100);
	at(start, 99);
	ok(!is_high(2), "mode 6 is mode 2");
	load(2, 0, 0);
	at(now_ns, 1);
	is(latched(2), 0xffff, "a count of 0 is 65536");
}

static void test_access(void)
{
	u64 start;

	power_up();
	start = now_ns;
	out(CONTROL, PROGRAM(2, 1, 0));
	out(0x42, 0x12);
	at(start, 2);
	is(in(0x42), 0x10, "low byte only");
	is(in(0x42), 0x10, "each time");
	out(CONTROL, PROGRAM(2, 2, 0));
	out(0x42, 0x12);
	is(in(0x42), 0x12, "high byte only");
	is(in(0x42), 0x12, "each time");

	start = now_ns;
	load(2, 0, 0x1234);
	out(CONTROL, LATCH(2));
	at(start, 0x100);
	out(CONTROL, LATCH(2));
	is(read_word(2), 0x1234, "latch: holds until it is read");
	is(read_word(2), 0x1134, "then the count is live");

	out(CONTROL, READ_BACK(0, 8));
	at(start, 0x200);
	is(in(0x42), WORD << 4, "read-back: status first");
	is(read_word(2), 0x1134, "read-back: then the latched count");
	is(read_word(2), 0x1034, "read-back: then the live one");
	out(CONTROL, READ_BACK(NO_STATUS, 8));
	is(read_word(2), 0x1034, "read-back: count only");
	out(CONTROL, READ_BACK(NO_COUNT, 2));
	is(in(0x42), 0x34, "read-back: of another channel");
	in(0x42);
	out(CONTROL, PROGRAM(2, WORD, 3) | 1);
	out(CONTROL, READ_BACK(NO_COUNT, 8));
	is(in(0x42) & 0x3f, WORD << 4 | 3 << 1 | 1,
	   "read-back: access, mode and BCD bit");
	out(CONTROL, LATCH(2));
	out(CONTROL, PROGRAM(2, 1, 0));
	out(0x42, 9);
	is(in(0x42), 9, "programming drops a latched count");
	out(CONTROL, READ_BACK(NO_COUNT, 8));
	is(in(0x42) & 0x3f, 1 << 4, "read-back: low byte access");
	out(CONTROL, READ_BACK(NO_COUNT, 8));
	out(CONTROL, PROGRAM(2, 1, 5));
	is(in(0x42), 9, "programming drops a latched status");
	out(CONTROL, READ_BACK(NO_COUNT, 8));
	is(in(0x42) & 0xf, 5 << 1, "read-back: mode 5");
	load(2, 0, 0x1234);
	out(0x42, 0x78);
	out(0x42, 0x56);
	is(latched(2), 0x5678, "two bytes more are a new count");
}

static void test_periodic(void)
{
	u64 start, period;

	power_up();
	start = now_ns;
	load(0, 2, 11932); /* 100 Hz */
	period = armed - start;
	is(period, 11932 * 1000000000ULL / PIT_HZ, "channel 0: 10 ms");
	run_until(start + 3 * period + 10);
	is(pulses, 3, "channel 0: three ticks");
	is(armed, start + 4 * period, "channel 0: keeps its phase");
	is(pit.owed, 0, "channel 0: owes none");

	now_ns = start + 6 * period + 10;
	lv_pit_timer_expired(&pit);
	is(armed, start + 7 * period, "late: keeps its phase");
	is(pulses, 4, "late: one tick now");
	is(pit.owed, 2, "late: the others are owed");
	lv_pit_ack(&pit);
	lv_pit_ack(&pit);
	lv_pit_ack(&pit);
	is(pulses, 6, "each acknowledge pays one");

	out(CONTROL, PROGRAM(0, WORD, 2));
	is(armed, 0, "programming stops it");
	now_ns += 10 * period;
	lv_pit_timer_expired(&pit);
	is(pulses, 6, "a late expiry does nothing");
	load(0, 2, 11932);
	lv_pit_timer_expired(&pit);
	is(pulses, 6, "nor does an early one");
	load(0, 3, 1);
	ok(armed - now_ns >= 100000, "the host's rate is bounded");
	load(1, 2, 500);
	ok(armed, "other channels do not touch it");
}

static void test_one_shot(void)
{
	u64 start;

	power_up();
	start = now_ns;
	load(0, 0, 1000);
	is(armed - start, 1000 * 1000000000ULL / PIT_HZ, "mode 0: 838 us");
	run_until(armed);
	is(pulses, 1, "mode 0: fires");
	is(armed, 0, "mode 0: once");
	lv_pit_timer_expired(&pit);
	is(pulses, 1, "mode 0: an expiry too many does nothing");
	load(0, 4, 100);
	ok(armed, "mode 4: armed");
	load(0, 1, 100);
	is(armed, 0, "mode 1: waits for a gate that never rises");
	load(0, 5, 100);
	is(armed, 0, "mode 5: too");
}

static void test_reinject(void)
{
	power_up();
	load(0, 2, 11932);
	pulse_result = 0;
	run_until(armed);
	run_until(armed);
	is(pit.owed, 2, "merged ticks are owed");
	lv_pit_ack(&pit);
	is(pit.owed, 2, "still owed if it merges again");
	pulse_result = 1;
	lv_pit_ack(&pit);
	is(pit.owed, 1, "paid on acknowledge");
	pulse_result = LV_LINE_IGNORED;
	run_until(armed);
	is(pit.owed, 0, "nothing is owed to a guest that masks it");
	pulse_result = 0;
	run_until(armed);
	pit.reinject = false;
	run_until(armed);
	is(pit.owed, 0, "nor with reinjection off");
	now_ns += 100000000;
	lv_pit_timer_expired(&pit);
	is(pit.owed, 0, "nor for late ticks then");
}

static void test_speaker(void)
{
	u64 start;

	power_up();
	out(0x61, 3);
	is(in(0x61) & 3, 3, "speaker: gate and data read back");
	ok(pit.state.flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON,
	   "speaker: KVM's flag");
	out(0x61, 1);
	is(in(0x61) & 3, 1, "speaker: data off");
	start = now_ns;
	load(2, 0, 100);
	ok(!(in(0x61) & 0x20), "speaker: output low");
	at(start, 100);
	ok(in(0x61) & 0x20, "speaker: output high");
	now_ns = 1 << 14;
	ok(in(0x61) & 0x10, "speaker: refresh bit");
	now_ns = 2 << 14;
	ok(!(in(0x61) & 0x10), "speaker: toggles");

	out(0x61, 0);
	start = now_ns;
	load(2, 3, 1000);
	at(start, 700);
	start = now_ns;
	out(0x61, 1);
	at(start, 10);
	is(latched(2), 980, "a rising gate restarts mode 3");
	out(0x61, 1);
	at(start, 20);
	is(latched(2), 960, "a high gate does not");
	out(0x61, 0);
	start = now_ns;
	load(2, 0, 1000);
	at(start, 100);
	out(0x61, 1);
	is(latched(2), 900, "nor does a rising one in mode 0");
}

static void test_state(void)
{
	struct kvm_pit_state2 state;
	u64 start;

	power_up();
	start = now_ns;
	load(0, 2, 11932);
	load(2, 0, 1000);
	out(0x61, 3);
	state = pit.state;
	power_up();
	pit.owed = 5;
	is(lv_pit_set_state(&pit, &state), 0, "state: restored");
	is(pit.owed, 0, "state: owes nothing");
	ok(armed > now_ns, "state: channel 0 runs");
	is(in(0x61) & 3, 3, "state: speaker");
	at(start, 10);
	is(latched(2), 990, "state: channel 2 counts on");
	state.flags |= KVM_PIT_FLAGS_HPET_LEGACY;
	lv_pit_set_state(&pit, &state);
	is(armed, 0, "state: the HPET takes channel 0's interrupt");

	state = pit.state;
	state.channels[1].count = 0x10001;
	state.channels[0].mode = 3;
	is(lv_pit_set_state(&pit, &state), -EINVAL, "state: count too high");
	is(pit.state.channels[0].mode, 2, "state: a refusal changes nothing");

	memset(&state, 0xff, sizeof(state));
	state.channels[0].count = 0;
	state.channels[1].count = 0;
	state.channels[2].count = 0;
	state.channels[1].mode = 2;
	state.channels[2].mode = 3;
	is(lv_pit_set_state(&pit, &state), 0, "state: counts of 0");
	in(0x61);
	latched(0);
	latched(1);
	in(0x41);
	in(0x42);
	out(0x41, 1);
	lv_pit_timer_expired(&pit);
	ok(1, "state: garbage is survived");
}

int main(void)
{
	test_power_up();
	test_counting();
	test_access();
	test_periodic();
	test_one_shot();
	test_reinject();
	test_speaker();
	test_state();
	return tap_done();
}
