// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two ports that test guests and learners like: a byte written to 0xe9 goes to
 * the terminal, one written to the debug-exit port ends the guest.
 */
#include "layout.h"
#include "term.h"
#include "vm.h"

#define DEBUGCON_PRESENT 0xe9

static u64 debugcon_read(void *opaque, u64 off, unsigned int size)
{
	(void)opaque;
	(void)off;
	(void)size;
	return DEBUGCON_PRESENT;
}

static void debugcon_write(void *opaque, u64 off, unsigned int size, u64 value)
{
	(void)off;
	(void)size;
	term_put(opaque, value);
}

static void exit_write(void *opaque, u64 off, unsigned int size, u64 value)
{
	struct vm *vm = opaque;

	(void)off;
	(void)size;
	if (!vm->cfg.exit_plain)
		value = value << 1 | 1;
	vm_stop(vm, value & 0xff, NULL);
}

static void debugport_init(struct vm *vm)
{
	bus_add(&vm->pio, &(struct bus_range){ .name = "debug console",
					       .base = PORT_DEBUGCON,
					       .len = 1,
					       .width = 1,
					       .read = debugcon_read,
					       .write = debugcon_write,
					       .opaque = vm });
	if (!vm->cfg.exit_port)
		return;
	bus_add(&vm->pio, &(struct bus_range){ .name = "debug-exit port",
					       .base = vm->cfg.exit_port,
					       .len = 4,
					       .width = 4,
					       .write = exit_write,
					       .opaque = vm });
}

DEVICE(debugport, debugport_init);
