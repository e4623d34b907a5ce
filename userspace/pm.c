// SPDX-License-Identifier: GPL-2.0-only
/*
 * ACPI's fixed power management registers, with which a guest powers itself
 * off, and what is left of the keyboard controller: its reset line.
 */
#include <stdatomic.h>
#include <time.h>

#include "layout.h"
#include "vm.h"

#define PM1_SCI_EN BIT(0)
#define PM1_SLP_TYP(v) (((v) >> 10) & 7)
#define PM1_SLP_EN BIT(13)
#define PM_TIMER_HZ 3579545ULL
#define NS_PER_S 1000000000ULL

#define I8042_COMMAND 4
#define I8042_PULSE_RESET 0xfe

/* Written by guests only to be read back: no fixed event ever happens. */
static atomic_ushort pm1_enable;

static u32 pm_timer(void)
{
	u64 now = clock_ns(CLOCK_MONOTONIC);

	return now / NS_PER_S * PM_TIMER_HZ +
	       now % NS_PER_S * PM_TIMER_HZ / NS_PER_S;
}

static u64 pm_read(void *opaque, u64 off, unsigned int size)
{
	(void)opaque;
	(void)size;
	switch (off) {
	case PM1_EVENT:
		return (u32)pm1_enable << 16;
	case PM1_ENABLE:
		return pm1_enable;
	case PM1_CONTROL:
		return PM1_SCI_EN;
	case PM_TIMER:
		return pm_timer();
	default:
		return 0;
	}
}

static void pm_write(void *opaque, u64 off, unsigned int size, u64 value)
{
	(void)size;
	if (off == PM1_ENABLE)
		pm1_enable = value;
	if (off == PM1_CONTROL && (value & PM1_SLP_EN) &&
	    PM1_SLP_TYP(value) == PM_SLP_TYP_S5)
		vm_stop(opaque, EXIT_POWEROFF, NULL);
}

/* There is no keyboard: both buffers are empty. */
static u64 i8042_read(void *opaque, u64 off, unsigned int size)
{
	(void)opaque;
	(void)off;
	(void)size;
	return 0;
}

static void i8042_write(void *opaque, u64 off, unsigned int size, u64 value)
{
	(void)off;
	(void)size;
	if (value == I8042_PULSE_RESET)
		vm_stop(opaque, EXIT_RESET,
			"the guest reset itself by the keyboard controller");
}

static void pm_init(struct vm *vm)
{
	bus_add(&vm->pio, &(struct bus_range){ .name = "ACPI PM",
					       .base = PORT_PM,
					       .len = PM_LEN,
					       .width = 4,
					       .read = pm_read,
					       .write = pm_write,
					       .opaque = vm });
	bus_add(&vm->pio, &(struct bus_range){ .name = "i8042 data",
					       .base = PORT_I8042,
					       .len = 1,
					       .width = 1,
					       .read = i8042_read,
					       .opaque = vm });
	bus_add(&vm->pio,
		&(struct bus_range){ .name = "i8042 command",
				     .base = PORT_I8042 + I8042_COMMAND,
				     .len = 1,
				     .width = 1,
				     .read = i8042_read,
				     .write = i8042_write,
				     .opaque = vm });
}

DEVICE(pm, pm_init);
