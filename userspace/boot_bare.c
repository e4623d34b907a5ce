// SPDX-License-Identifier: GPL-2.0-only
/* Start a bare-metal guest: a flat binary or an ELF executable. */
#include <string.h>

#include "boot.h"
#include "layout.h"
#include "vcpu.h"

#define BOOT_SECTOR 0x7c00

static u64 load_flat(struct vm *vm, const struct file *file, u64 load)
{
	void *dst = ram_ptr(vm, load, file->size);

	if (!dst)
		die(EXIT_HOST,
		    "%s: its %zu bytes at %#llx do not fit into %llu MiB of memory: give more --memory",
		    file->path, file->size, (unsigned long long)load,
		    (unsigned long long)vm->cfg.memory >> 20);
	memcpy(dst, file->data, file->size);
	return load;
}

/**
 * boot_bare() - load @file and point vCPU 0 at it, or die
 * @vm: the VM
 * @file: a flat binary or an ELF executable
 * @mode: mode to start in
 * @load: where to put a flat binary, or LOAD_AUTO for the mode's own place
 */
void boot_bare(struct vm *vm, const struct file *file, enum cpu_mode mode,
	       u64 load)
{
	struct elf_image image;
	u64 entry;

	if (elf_detect(file)) {
		image = elf_load(vm, file);
		entry = image.entry;
		if (mode == MODE_AUTO)
			mode = image.is_64 ? MODE_64 : MODE_32;
	} else {
		if (mode == MODE_AUTO)
			mode = MODE_16;
		if (load == LOAD_AUTO)
			load = mode == MODE_16 ? BOOT_SECTOR : GPA_BIOS_END;
		entry = load_flat(vm, file, load);
	}
	note("entry at %#llx, %d-bit", (unsigned long long)entry, 8 << mode);
	if (mode == MODE_16 && entry > UINT16_MAX)
		die(EXIT_USAGE, "%s: %#llx is out of reach in real mode",
		    file->path, (unsigned long long)entry);
	if (mode == MODE_16)
		vcpu_enter_real(&vm->vcpus[0], entry);
	else if (mode == MODE_32)
		vcpu_enter_protected(&vm->vcpus[0], entry);
	else
		vcpu_enter_long(&vm->vcpus[0], entry, 0);
}
