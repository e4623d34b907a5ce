/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef LABVISOR_BUS_H
#define LABVISOR_BUS_H

#include "util.h"

struct vm;

/**
 * struct bus_range - a device's claim on a range of ports or addresses
 * @name: shown when two claims overlap
 * @base: first port or guest physical address
 * @len: size of the range
 * @width: widest access in bytes; the bus splits wider ones
 * @read: read @size bytes at offset @off; NULL reads as all ones
 * @write: write them; NULL ignores the write
 * @opaque: the device, handed to @read and @write
 *
 * Both calls come from vCPU threads, several at once.
 */
struct bus_range {
	const char *name;
	u64 base;
	u64 len;
	unsigned int width;
	u64 (*read)(void *opaque, u64 off, unsigned int size);
	void (*write)(void *opaque, u64 off, unsigned int size, u64 value);
	void *opaque;
};

#define BUS_MAX_RANGES 16

/**
 * struct bus - the ports, or the memory-mapped addresses, of a VM
 * @ranges: the claims, in no order; constant once a vCPU runs
 * @count: how many there are
 */
struct bus {
	struct bus_range ranges[BUS_MAX_RANGES];
	unsigned int count;
};

void bus_add(struct bus *bus, const struct bus_range *range);
u64 bus_read(const struct bus *bus, u64 addr, unsigned int size);
void bus_write(const struct bus *bus, u64 addr, unsigned int size, u64 value);

/**
 * struct device - a device model that every VM has
 * @name: for messages
 * @init: claim ranges and start; it may leave the VM alone if not configured
 */
struct device {
	const char *name;
	void (*init)(struct vm *vm);
};

/*
 * Put a device into every VM. The linker collects the entries; ranges may not
 * overlap, so the order of initialisation does not matter.
 */
#define DEVICE(id, init_fn)                                 \
	static const struct device id##_device              \
		__attribute__((used, section("lv_devices"), \
			       aligned(8))) = { .name = #id, .init = init_fn }

void devices_init(struct vm *vm);

#endif
