// SPDX-License-Identifier: GPL-2.0-only
/*
 * 8254 programmable interval timer and the PC's speaker port. Counters are
 * not stepped: a channel's count and output follow from the time since its
 * count was loaded. BCD counting is not offered. The caller holds the irqchip
 * lock throughout.
 */
#include "irq.h"

#define PIT_HZ 1193182
#define NS_PER_SEC 1000000000

/* The least period that a guest can make the host's timer interrupt with. */
#define MIN_PERIOD_NS 200000

#define MAX_COUNT 0x10000 /* written as 0 */

#define CONTROL_PORT 3
#define SPEAKER_CHANNEL 2

/* Control word and read-back command. */
#define SELECT_READ_BACK 3
#define READ_BACK_NO_COUNT BIT(5)
#define READ_BACK_NO_STATUS BIT(4)
#define STATUS_OUT BIT(7)

/* Access to a channel's 16 bits, as in the control word's bits 5 and 4. */
enum {
	ACCESS_LATCH,
	ACCESS_LOW,
	ACCESS_HIGH,
	ACCESS_WORD
};
/* In ACCESS_WORD the second byte is due. */
#define ACCESS_WORD_HIGH 4

#define SPEAKER_GATE BIT(0)
#define SPEAKER_DATA BIT(1)
#define SPEAKER_REFRESH BIT(4)
#define SPEAKER_OUT BIT(5)
/* DRAM refresh toggled its bit each 15 us; software times loops with it. */
#define REFRESH_SHIFT 14

enum {
	MODE_TERMINAL_COUNT,
	MODE_ONE_SHOT,
	MODE_RATE,
	MODE_SQUARE,
	MODE_SOFT_STROBE,
	MODE_HARD_STROBE,
	MODE_NONE = 0xff, /* not programmed since power-up */
};

static bool is_periodic(const struct kvm_pit_channel_state *ch)
{
	return ch->mode == MODE_RATE || ch->mode == MODE_SQUARE;
}

static u64 elapsed_ticks(const struct kvm_pit_channel_state *ch)
{
	return mul_u64_u32_div(lv_irq_now_ns() - ch->count_load_time, PIT_HZ,
			       NS_PER_SEC);
}

static u16 count_of(const struct kvm_pit_channel_state *ch)
{
	u64 ticks = elapsed_ticks(ch);

	switch (ch->mode) {
	case MODE_RATE:
		return ch->count - ticks % ch->count;
	case MODE_SQUARE:
		/* Counts by two, twice per period. */
		return ch->count - 2 * ticks % ch->count;
	default:
		return ch->count - ticks;
	}
}

static bool output_of(const struct kvm_pit_channel_state *ch)
{
	u64 ticks = elapsed_ticks(ch);

	switch (ch->mode) {
	case MODE_RATE:
		return ticks % ch->count != ch->count - 1;
	case MODE_SQUARE:
		return ticks % ch->count < (ch->count + 1) / 2;
	case MODE_SOFT_STROBE:
	case MODE_HARD_STROBE:
		return ticks != ch->count;
	default:
		return ticks >= ch->count;
	}
}

/* From load to interrupt, and from one to the next. */
static u64 period_of(const struct kvm_pit_channel_state *ch)
{
	u64 ns = mul_u64_u32_div(ch->count, NS_PER_SEC, PIT_HZ);

	return is_periodic(ch) ? max(ns, (u64)MIN_PERIOD_NS) : ns;
}

static void stop_timer(struct lv_pit *pit)
{
	lv_pit_timer_cancel(pit);
	pit->expiry = 0;
}

static void start_timer(struct lv_pit *pit)
{
	const struct kvm_pit_channel_state *ch = &pit->state.channels[0];

	stop_timer(pit);
	if (pit->state.flags & KVM_PIT_FLAGS_HPET_LEGACY)
		return;
	/* Its gate is tied high: modes that wait for a rising one never start. */
	if (!is_periodic(ch) && ch->mode != MODE_TERMINAL_COUNT &&
	    ch->mode != MODE_SOFT_STROBE)
		return;
	pit->expiry = ch->count_load_time + period_of(ch);
	lv_pit_timer_arm(pit, pit->expiry);
}

/* Give one tick: owe it if it merged, drop it if nobody listens. */
static void tick(struct lv_pit *pit)
{
	int ret = lv_pit_pulse(pit);

	if (ret < 0 || !pit->reinject)
		pit->owed = 0;
	else if (!ret)
		pit->owed++;
}

/*
 * lv_pit_timer_expired - the armed deadline has come.
 * The timer cannot be waited for under the irqchip lock, so a call may be
 * late, after the guest has stopped or reloaded the channel.
 */
void lv_pit_timer_expired(struct lv_pit *pit)
{
	const struct kvm_pit_channel_state *ch = &pit->state.channels[0];
	u64 now = lv_irq_now_ns(), period = period_of(ch), missed;

	if (!pit->expiry || now < pit->expiry)
		return;
	tick(pit);
	if (!is_periodic(ch)) {
		pit->expiry = 0;
		return;
	}

	missed = div64_u64(now - pit->expiry, period);
	if (missed && pit->reinject)
		pit->owed += missed;
	pit->expiry += (missed + 1) * period;
	lv_pit_timer_arm(pit, pit->expiry);
}

/** lv_pit_ack - the guest has ended a timer interrupt: pay one tick if owed */
void lv_pit_ack(struct lv_pit *pit)
{
	if (pit->owed && lv_pit_pulse(pit) > 0)
		pit->owed--;
}

static void load_count(struct lv_pit *pit, unsigned int index, u16 val)
{
	struct kvm_pit_channel_state *ch = &pit->state.channels[index];

	ch->count = val ? val : MAX_COUNT;
	ch->count_load_time = lv_irq_now_ns();
	if (index == 0)
		start_timer(pit);
}

static void latch_count(struct kvm_pit_channel_state *ch)
{
	if (ch->count_latched)
		return;
	ch->latched_count = count_of(ch);
	ch->count_latched = ch->rw_mode;
}

static void latch_status(struct kvm_pit_channel_state *ch)
{
	if (ch->status_latched)
		return;
	ch->status = (output_of(ch) ? STATUS_OUT : 0) | (ch->rw_mode & 3) << 4 |
		     (ch->mode & 7) << 1 | ch->bcd;
	ch->status_latched = 1;
}

static void read_back(struct lv_pit *pit, u8 val)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(pit->state.channels); i++) {
		struct kvm_pit_channel_state *ch = &pit->state.channels[i];

		if (!(val & 2 << i))
			continue;
		if (!(val & READ_BACK_NO_COUNT))
			latch_count(ch);
		if (!(val & READ_BACK_NO_STATUS))
			latch_status(ch);
	}
}

static void write_control(struct lv_pit *pit, u8 val)
{
	unsigned int index = val >> 6, access = val >> 4 & 3;
	struct kvm_pit_channel_state *ch;

	if (index == SELECT_READ_BACK) {
		read_back(pit, val);
		return;
	}

	ch = &pit->state.channels[array_index_nospec(index, 3)];
	if (access == ACCESS_LATCH) {
		latch_count(ch);
		return;
	}
	ch->rw_mode = access;
	ch->read_state = access;
	ch->write_state = access;
	ch->mode = val >> 1 & 7;
	if (ch->mode > MODE_HARD_STROBE)
		ch->mode -= 4; /* bit 2 is "don't care" in modes 2 and 3 */
	ch->bcd = val & 1;
	ch->count_latched = 0;
	ch->status_latched = 0;
	if (index == 0)
		stop_timer(pit); /* until the count is written */
}

static void write_count(struct lv_pit *pit, unsigned int index, u8 val)
{
	struct kvm_pit_channel_state *ch = &pit->state.channels[index];

	switch (ch->write_state) {
	case ACCESS_LOW:
		load_count(pit, index, val);
		break;
	case ACCESS_HIGH:
		load_count(pit, index, val << 8);
		break;
	case ACCESS_WORD:
		ch->write_latch = val;
		ch->write_state = ACCESS_WORD_HIGH;
		break;
	case ACCESS_WORD_HIGH:
		ch->write_state = ACCESS_WORD;
		load_count(pit, index, ch->write_latch | val << 8);
		break;
	}
}

/*
 * Give the byte of @count that *@state says is due, and move *@state on;
 * @done is its value when there is no more byte.
 */
static u8 next_byte(u16 count, u8 *state, u8 done)
{
	bool high = *state == ACCESS_HIGH || *state == ACCESS_WORD_HIGH;

	*state = *state == ACCESS_WORD ? ACCESS_WORD_HIGH : done;
	return high ? count >> 8 : count;
}

static u8 read_count(struct kvm_pit_channel_state *ch)
{
	if (ch->status_latched) {
		ch->status_latched = 0;
		return ch->status;
	}
	if (ch->count_latched)
		return next_byte(ch->latched_count, &ch->count_latched, 0);
	return next_byte(count_of(ch), &ch->read_state, ch->rw_mode);
}

static u8 read_speaker(const struct lv_pit *pit)
{
	const struct kvm_pit_channel_state *ch =
		&pit->state.channels[SPEAKER_CHANNEL];
	bool data = pit->state.flags & KVM_PIT_FLAGS_SPEAKER_DATA_ON;

	return (ch->gate ? SPEAKER_GATE : 0) | (data ? SPEAKER_DATA : 0) |
	       (lv_irq_now_ns() >> REFRESH_SHIFT & 1 ? SPEAKER_REFRESH : 0) |
	       (output_of(ch) ? SPEAKER_OUT : 0);
}

static void write_speaker(struct lv_pit *pit, u8 val)
{
	struct kvm_pit_channel_state *ch =
		&pit->state.channels[SPEAKER_CHANNEL];
	bool gate = val & SPEAKER_GATE;

	/* A rising gate restarts all but the software-triggered modes. */
	if (gate && !ch->gate && ch->mode != MODE_TERMINAL_COUNT &&
	    ch->mode != MODE_SOFT_STROBE)
		ch->count_load_time = lv_irq_now_ns();
	ch->gate = gate;

	pit->state.flags &= ~KVM_PIT_FLAGS_SPEAKER_DATA_ON;
	if (val & SPEAKER_DATA)
		pit->state.flags |= KVM_PIT_FLAGS_SPEAKER_DATA_ON;
}

/** lv_pit_read - read a port of the PIT or the speaker port */
u8 lv_pit_read(struct lv_pit *pit, u16 port)
{
	unsigned int index = port & 3;

	if (port == LV_SPEAKER_PORT)
		return read_speaker(pit);
	if (index == CONTROL_PORT)
		return 0;
	return read_count(&pit->state.channels[array_index_nospec(index, 3)]);
}

/** lv_pit_write - write a port of the PIT or the speaker port */
void lv_pit_write(struct lv_pit *pit, u16 port, u8 val)
{
	unsigned int index = port & 3;

	if (port == LV_SPEAKER_PORT)
		write_speaker(pit, val);
	else if (index == CONTROL_PORT)
		write_control(pit, val);
	else
		write_count(pit, array_index_nospec(index, 3), val);
}

/*
 * lv_pit_set_state - KVM_SET_PIT2; KVM_GET_PIT2 is a copy of @state.
 * Channel 0 starts a full period now, the others count on.
 * Return: 0, or -EINVAL.
 */
int lv_pit_set_state(struct lv_pit *pit, const struct kvm_pit_state2 *state)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(state->channels); i++)
		if (state->channels[i].count > MAX_COUNT)
			return -EINVAL;

	pit->state = *state;
	pit->owed = 0;
	for (i = 0; i < ARRAY_SIZE(state->channels); i++)
		if (!pit->state.channels[i].count)
			pit->state.channels[i].count = MAX_COUNT;
	load_count(pit, 0, pit->state.channels[0].count);
	return 0;
}

/** lv_pit_init - power up: nothing counts until it is programmed */
void lv_pit_init(struct lv_pit *pit)
{
	unsigned int i;

	memset(pit, 0, sizeof(*pit));
	pit->reinject = true;
	for (i = 0; i < ARRAY_SIZE(pit->state.channels); i++) {
		pit->state.channels[i].mode = MODE_NONE;
		pit->state.channels[i].gate = i != SPEAKER_CHANNEL;
		load_count(pit, i, 0);
	}
}
