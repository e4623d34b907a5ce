// SPDX-License-Identifier: GPL-2.0-only
/* Who answers at which port or address. */
#include "bus.h"

extern const struct device __start_lv_devices[], __stop_lv_devices[];

/** devices_init() - put every linked-in device into @vm. */
void devices_init(struct vm *vm)
{
	const struct device *dev;

	for (dev = __start_lv_devices; dev < __stop_lv_devices; dev++)
		dev->init(vm);
}

/** bus_add() - claim a range, before any vCPU runs. */
void bus_add(struct bus *bus, const struct bus_range *range)
{
	const struct bus_range *r;

	for (r = bus->ranges; r < bus->ranges + bus->count; r++)
		if (range->base < r->base + r->len &&
		    r->base < range->base + range->len)
			die(EXIT_USAGE, "%s at %#llx overlaps %s at %#llx",
			    range->name, (unsigned long long)range->base,
			    r->name, (unsigned long long)r->base);
	if (bus->count == BUS_MAX_RANGES)
		die(EXIT_HOST, "BUS_MAX_RANGES is too small for %s",
		    range->name);
	bus->ranges[bus->count++] = *range;
}

/* The range that can take the whole access in one piece. */
static const struct bus_range *bus_find(const struct bus *bus, u64 addr,
					unsigned int size)
{
	const struct bus_range *r;

	for (r = bus->ranges; r < bus->ranges + bus->count; r++)
		if (addr >= r->base && addr - r->base + size <= r->len &&
		    size <= r->width)
			return r;
	return NULL;
}

/**
 * bus_read() - read @size bytes, at most 8, at @addr
 *
 * An access that no device takes whole is split, down to single bytes, as an
 * ISA bus does for 8-bit devices; bytes that nobody claims read as 0xff.
 */
u64 bus_read(const struct bus *bus, u64 addr, unsigned int size)
{
	const struct bus_range *r = bus_find(bus, addr, size);
	unsigned int half = size / 2;
	u64 low;

	if (r)
		return r->read ? r->read(r->opaque, addr - r->base, size)
			       : UINT64_MAX;
	if (size == 1)
		return 0xff;
	low = bus_read(bus, addr, half) & (UINT64_MAX >> (64 - 8 * half));
	return low | bus_read(bus, addr + half, size - half) << (8 * half);
}

/** bus_write() - write @size bytes, at most 8, at @addr; see bus_read(). */
void bus_write(const struct bus *bus, u64 addr, unsigned int size, u64 value)
{
	const struct bus_range *r = bus_find(bus, addr, size);
	unsigned int half = size / 2;

	if (r) {
		if (r->write)
			r->write(r->opaque, addr - r->base, size, value);
		return;
	}
	if (size == 1)
		return;
	bus_write(bus, addr, half, value);
	bus_write(bus, addr + half, size - half, value >> (8 * half));
}
