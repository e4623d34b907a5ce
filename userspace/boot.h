/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef LABVISOR_BOOT_H
#define LABVISOR_BOOT_H

#include "util.h"

struct vm;

/**
 * struct bzimage - what the launcher needs of a bzImage's setup header
 * @setup_size: bytes before the protected-mode kernel
 * @header_end: where the setup header ends in the file
 * @load: where the kernel wants to be
 * @init_size: memory that it needs from there on
 * @initrd_max: the highest address that an initrd may occupy
 * @cmdline_max: length of the longest command line, without its NUL
 */
struct bzimage {
	u32 setup_size;
	u32 header_end;
	u64 load;
	u64 init_size;
	u64 initrd_max;
	u32 cmdline_max;
};

/**
 * struct elf_image - an ELF executable that has been checked
 * @is_64: 64-bit, else 32-bit
 * @entry: physical address of the entry point
 * @end: where the highest segment ends in memory
 * @vaddr: the highest virtual address at which a segment begins
 */
struct elf_image {
	bool is_64;
	u64 entry;
	u64 end;
	u64 vaddr;
};

/**
 * enum cpu_mode - the mode in which a bare-metal guest starts
 * @MODE_AUTO: the ELF class decides; a flat file starts in real mode
 */
enum cpu_mode {
	MODE_AUTO,
	MODE_16,
	MODE_32,
	MODE_64,
};

#define LOAD_AUTO UINT64_MAX

const char *bzimage_parse(const u8 *data, size_t size, struct bzimage *image);
bool elf_detect(const struct file *file);
struct elf_image elf_load(struct vm *vm, const struct file *file);

void boot_linux(struct vm *vm, const struct file *kernel,
		const struct file *initrd, const char *cmdline);
void boot_bare(struct vm *vm, const struct file *file, enum cpu_mode mode,
	       u64 load);

#endif
