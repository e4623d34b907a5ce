// SPDX-License-Identifier: GPL-2.0-only
/*
 * A PCI bus with nothing on it but the host bridge by which guests recognise
 * configuration mechanism #1. The reset port is a byte amid its registers.
 */
#include <linux/pci_regs.h>
#include <stdatomic.h>

#include "layout.h"
#include "vm.h"

#define ADDRESS_ENABLE BIT(31)
#define DATA 4 /* offset of the data register from the address register */
#define RESET (PORT_RESET - PORT_PCI)
#define RESET_CPU BIT(2)

#define BRIDGE_ID 0x00001b36 /* Red Hat's vendor ID, device 0 */
#define BRIDGE_CLASS 0x06000000

/* Guests serialise the two steps of an access themselves. */
static atomic_uint address;

/* A register of the host bridge, 0:0.0; nothing answers for the others. */
static u32 config_read(void)
{
	u32 function = address & ~(ADDRESS_ENABLE | 0xfc);

	if (!(address & ADDRESS_ENABLE) || function)
		return UINT32_MAX;
	switch (address & 0xfc) {
	case PCI_VENDOR_ID:
		return BRIDGE_ID;
	case PCI_CLASS_REVISION:
		return BRIDGE_CLASS;
	default:
		return 0;
	}
}

static u64 pci_read(void *opaque, u64 off, unsigned int size)
{
	(void)opaque;
	if (off >= DATA)
		return config_read() >> 8 * (off - DATA);
	return off == 0 && size == 4 ? address : UINT32_MAX;
}

static void pci_write(void *opaque, u64 off, unsigned int size, u64 value)
{
	if (off == 0 && size == 4)
		address = value & ~3U;
	else if (off == RESET && (value & RESET_CPU))
		vm_stop(opaque, EXIT_RESET, "the guest reset itself");
}

static void pci_init(struct vm *vm)
{
	bus_add(&vm->pio, &(struct bus_range){ .name = "PCI",
					       .base = PORT_PCI,
					       .len = 8,
					       .width = 4,
					       .read = pci_read,
					       .write = pci_write,
					       .opaque = vm });
}

DEVICE(pci, pci_init);
