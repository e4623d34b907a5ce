// SPDX-License-Identifier: GPL-2.0-only
/*
 * The MC146818 clock and its CMOS memory: UTC, alarm and update-ended
 * interrupts, and the size of memory where old kernels look for it.
 */
#include <errno.h>
#include <string.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "layout.h"
#include "vm.h"

#define NS_PER_S 1000000000ULL
#define UIP_NS 244000 /* the update flag is up this long before a second */

enum {
	SECONDS = 0x00,
	SECONDS_ALARM = 0x01,
	MINUTES = 0x02,
	MINUTES_ALARM = 0x03,
	HOURS = 0x04,
	HOURS_ALARM = 0x05,
	WEEKDAY = 0x06,
	DAY = 0x07,
	MONTH = 0x08,
	YEAR = 0x09,
	REG_A = 0x0a,
	REG_B = 0x0b,
	REG_C = 0x0c,
	REG_D = 0x0d,
	EXTENDED_MEMORY = 0x30, /* 1 MiB to 64 MiB in KiB, 16 bits */
	CENTURY = 0x32,
	MEMORY_ABOVE_16M = 0x34, /* in 64 KiB, 16 bits */
	MEMORY_ABOVE_4G = 0x5b, /* in 64 KiB, 24 bits */
};

#define A_UIP BIT(7)
#define B_SET BIT(7)
#define B_AIE BIT(5)
#define B_UIE BIT(4)
#define B_BINARY BIT(2)
#define B_24H BIT(1)
#define C_IRQF BIT(7)
#define C_AF BIT(5)
#define C_UF BIT(4)
#define D_VALID BIT(7)
#define ALARM_ANY 0xc0 /* an alarm field from here on matches any value */

/**
 * struct rtc - clock and CMOS memory
 * @vm: the VM whose interrupt line it drives
 * @lock: protects all below
 * @timer_fd: ticks every second while an interrupt is enabled
 * @offset: guest's time minus the host's, in seconds
 * @index: the register that the data port shows
 * @cmos: the registers; those of the time are refreshed when read
 */
static struct rtc {
	struct vm *vm;
	pthread_mutex_t lock;
	int timer_fd;
	int64_t offset;
	u8 index;
	u8 cmos[128];
} rtc = { .lock = PTHREAD_MUTEX_INITIALIZER };

static u8 encode(const struct rtc *r, unsigned int value)
{
	return r->cmos[REG_B] & B_BINARY ? value : value / 10 << 4 | value % 10;
}

static unsigned int decode(const struct rtc *r, unsigned int reg)
{
	u8 value = r->cmos[reg];

	return r->cmos[REG_B] & B_BINARY ? value
					 : (value >> 4) * 10 + (value & 0x0f);
}

static void load_time(struct rtc *r)
{
	time_t now = time(NULL) + r->offset;
	unsigned int year;
	struct tm tm;

	gmtime_r(&now, &tm);
	year = tm.tm_year + 1900;
	r->cmos[SECONDS] = encode(r, tm.tm_sec);
	r->cmos[MINUTES] = encode(r, tm.tm_min);
	r->cmos[HOURS] = encode(r, tm.tm_hour);
	r->cmos[WEEKDAY] = encode(r, tm.tm_wday + 1);
	r->cmos[DAY] = encode(r, tm.tm_mday);
	r->cmos[MONTH] = encode(r, tm.tm_mon + 1);
	r->cmos[YEAR] = encode(r, year % 100);
	r->cmos[CENTURY] = encode(r, year / 100);
}

static void store_time(struct rtc *r)
{
	struct tm tm = {
		.tm_sec = decode(r, SECONDS),
		.tm_min = decode(r, MINUTES),
		.tm_hour = decode(r, HOURS),
		.tm_mday = decode(r, DAY),
		.tm_mon = (int)decode(r, MONTH) - 1,
		.tm_year = decode(r, CENTURY) * 100 + decode(r, YEAR) - 1900,
	};

	r->offset = timegm(&tm) - time(NULL);
}

static void update_irq(struct rtc *r)
{
	bool raised = r->cmos[REG_C] & r->cmos[REG_B] & (C_AF | C_UF);

	r->cmos[REG_C] &= ~C_IRQF;
	if (raised)
		r->cmos[REG_C] |= C_IRQF;
	vm_set_irq(r->vm, IRQ_RTC, raised);
}

static bool alarm_matches(const struct rtc *r)
{
	static const u8 fields[] = { SECONDS, MINUTES, HOURS };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(fields); i++) {
		u8 alarm = r->cmos[fields[i] + 1];

		if (alarm < ALARM_ANY && alarm != r->cmos[fields[i]])
			return false;
	}
	return true;
}

/* A second began: one tick stands for all that the host may have missed. */
static void rtc_tick(void *opaque)
{
	struct rtc *r = opaque;
	u64 ticks;

	if (read(r->timer_fd, &ticks, sizeof(ticks)) != sizeof(ticks))
		return;
	pthread_mutex_lock(&r->lock);
	if (!(r->cmos[REG_B] & B_SET)) {
		load_time(r);
		r->cmos[REG_C] |= C_UF;
		if (alarm_matches(r))
			r->cmos[REG_C] |= C_AF;
		update_irq(r);
	}
	pthread_mutex_unlock(&r->lock);
}

static void write_reg_b(struct rtc *r, u8 value)
{
	bool was_set = r->cmos[REG_B] & B_SET;
	struct itimerspec tick = { 0 };

	if (!was_set && (value & B_SET))
		load_time(r);
	r->cmos[REG_B] = value | B_24H;
	if (was_set && !(value & B_SET))
		store_time(r);
	if (value & (B_AIE | B_UIE)) {
		tick.it_interval.tv_sec = 1;
		tick.it_value.tv_sec = time(NULL) + 1;
	}
	timerfd_settime(r->timer_fd, TFD_TIMER_ABSTIME, &tick, NULL);
	update_irq(r);
}

static u8 read_reg_a(const struct rtc *r)
{
	bool updating = clock_ns(CLOCK_REALTIME) % NS_PER_S >=
			NS_PER_S - UIP_NS;

	if (updating && !(r->cmos[REG_B] & B_SET))
		return r->cmos[REG_A] | A_UIP;
	return r->cmos[REG_A];
}

static u8 read_reg_c(struct rtc *r)
{
	u8 value = r->cmos[REG_C];

	r->cmos[REG_C] = 0;
	update_irq(r);
	return value;
}

static u8 read_data(struct rtc *r)
{
	switch (r->index) {
	case SECONDS:
	case MINUTES:
	case HOURS:
	case WEEKDAY ... YEAR:
	case CENTURY:
		if (!(r->cmos[REG_B] & B_SET))
			load_time(r);
		return r->cmos[r->index];
	case REG_A:
		return read_reg_a(r);
	case REG_C:
		return read_reg_c(r);
	default:
		return r->cmos[r->index];
	}
}

static void write_data(struct rtc *r, u8 value)
{
	switch (r->index) {
	case REG_A:
		r->cmos[REG_A] = value & ~A_UIP;
		break;
	case REG_B:
		write_reg_b(r, value);
		break;
	case REG_C:
	case REG_D:
		break;
	default:
		r->cmos[r->index] = value;
	}
}

static u64 rtc_read(void *opaque, u64 off, unsigned int size)
{
	struct rtc *r = opaque;
	u8 value = 0xff; /* the index cannot be read back */

	(void)size;
	pthread_mutex_lock(&r->lock);
	if (off)
		value = read_data(r);
	pthread_mutex_unlock(&r->lock);
	return value;
}

static void rtc_write(void *opaque, u64 off, unsigned int size, u64 value)
{
	struct rtc *r = opaque;

	(void)size;
	pthread_mutex_lock(&r->lock);
	if (off)
		write_data(r, value);
	else
		r->index = value & 0x7f; /* bit 7 masks NMIs: there are none */
	pthread_mutex_unlock(&r->lock);
}

/* Store how many @unit bytes of memory lie between @from and @end. */
static void store_memory(u8 *reg, unsigned int bytes, u64 from, u64 end,
			 u64 unit)
{
	u64 max = BIT(8 * bytes) - 1;
	u64 count = end > from ? (end - from) / unit : 0;

	if (count > max)
		count = max;
	while (bytes--) {
		*reg++ = count;
		count >>= 8;
	}
}

static void rtc_init(struct vm *vm)
{
	struct rtc *r = &rtc;

	r->vm = vm;
	r->cmos[REG_A] = 0x26; /* 32768 Hz crystal, 1024 Hz periodic rate */
	r->cmos[REG_B] = B_24H;
	r->cmos[REG_D] = D_VALID;
	store_memory(&r->cmos[EXTENDED_MEMORY], 2, MIB(1), ram_low_end(vm),
		     KIB(1));
	store_memory(&r->cmos[MEMORY_ABOVE_16M], 2, MIB(16), ram_low_end(vm),
		     KIB(64));
	store_memory(&r->cmos[MEMORY_ABOVE_4G], 3, GPA_HIGH, ram_high_end(vm),
		     KIB(64));
	r->timer_fd =
		timerfd_create(CLOCK_REALTIME, TFD_CLOEXEC | TFD_NONBLOCK);
	if (r->timer_fd < 0)
		die(EXIT_HOST, "cannot make a timer: %s", strerror(errno));
	loop_add(&vm->loop, &(struct loop_source){ .fd = r->timer_fd,
						   .ready = rtc_tick,
						   .opaque = r });
	bus_add(&vm->pio, &(struct bus_range){ .name = "RTC",
					       .base = PORT_RTC,
					       .len = 2,
					       .width = 1,
					       .read = rtc_read,
					       .write = rtc_write,
					       .opaque = r });
}

DEVICE(rtc, rtc_init);
