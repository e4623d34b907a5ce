// SPDX-License-Identifier: GPL-2.0-only
/*
 * Start Linux by the 64-bit boot protocol: a bzImage or a vmlinux, a command
 * line, an initrd, and boot_params ("zero page") that tell where they are.
 */
#include <asm/bootparam.h>
#include <string.h>

#include "acpi.h"
#include "boot.h"
#include "layout.h"
#include "vcpu.h"

#define ENTRY_64 0x200
#define LOADER_UNREGISTERED 0xff
#define PAGE 0x1000
#define KERNEL_HALF 0xffff800000000000 /* where Linux has itself */
#define VMLINUX_CMDLINE_MAX 2047
#define VMLINUX_INITRD_MAX 0x7fffffff

#define E820_RAM 1
#define E820_RESERVED 2

/**
 * struct kernel - a kernel in guest memory
 * @path: its file
 * @entry: 64-bit entry point
 * @end: where the memory that it needs to start ends
 * @initrd_max: highest address that an initrd may occupy
 * @cmdline_max: length of the longest command line
 */
struct kernel {
	const char *path;
	u64 entry;
	u64 end;
	u64 initrd_max;
	u32 cmdline_max;
};

static void __attribute__((noreturn))
too_little_memory(const struct vm *vm, const char *path, u64 end)
{
	die(EXIT_HOST,
	    "%s: %llu MiB of memory are too little, it needs at least --memory %lluM",
	    path, (unsigned long long)vm->cfg.memory >> 20,
	    (unsigned long long)(end + MIB(1) - 1) >> 20);
}

/* Where in memory the kernel was put must leave it room to start. */
static void check_room(const struct vm *vm, const char *path, u64 end)
{
	if (end > ram_low_end(vm))
		too_little_memory(vm, path, end);
}

static struct kernel load_bzimage(struct vm *vm, const struct file *file,
				  struct boot_params *params)
{
	const size_t hdr = offsetof(struct boot_params, hdr);
	struct bzimage image;
	const char *error;
	u64 size;

	error = bzimage_parse(file->data, file->size, &image);
	if (error)
		die(EXIT_HOST, "%s: not a kernel that can be booted: %s",
		    file->path, error);
	size = file->size - image.setup_size;
	if (image.init_size < size)
		image.init_size = size;
	check_room(vm, file->path, image.load + image.init_size);
	memcpy(ram_ptr(vm, image.load, size), file->data + image.setup_size,
	       size);
	memcpy(&params->hdr, file->data + hdr, image.header_end - hdr);
	return (struct kernel){ .path = file->path,
				.entry = image.load + ENTRY_64,
				.end = image.load + image.init_size,
				.initrd_max = image.initrd_max,
				.cmdline_max = image.cmdline_max };
}

/* A vmlinux has no setup header: its entry point needs no more than this. */
static struct kernel load_vmlinux(struct vm *vm, const struct file *file,
				  struct boot_params *params)
{
	struct elf_image image = elf_load(vm, file);

	if (!image.is_64 || image.vaddr < KERNEL_HALF)
		die(EXIT_HOST,
		    "%s: an ELF file, but not a 64-bit kernel: 'labvisor exec' runs others",
		    file->path);
	params->hdr.boot_flag = 0xaa55;
	memcpy(&params->hdr.header, "HdrS", 4);
	params->hdr.version = 0x020c;
	params->hdr.loadflags = LOADED_HIGH;
	return (struct kernel){ .path = file->path,
				.entry = image.entry,
				.end = image.end,
				.initrd_max = VMLINUX_INITRD_MAX,
				.cmdline_max = VMLINUX_CMDLINE_MAX };
}

/* Put the initrd as high as the kernel allows, out of its way. */
static void load_initrd(struct vm *vm, const struct kernel *kernel,
			const struct file *file, struct boot_params *params)
{
	u64 end = ram_low_end(vm), gpa;

	if (end > kernel->initrd_max + 1)
		end = kernel->initrd_max + 1;
	if (end < kernel->end || ALIGN_UP(file->size, PAGE) > end - kernel->end)
		too_little_memory(vm, file->path,
				  kernel->end + ALIGN_UP(file->size, PAGE));
	gpa = ALIGN_DOWN(end - file->size, PAGE);
	memcpy(ram_ptr(vm, gpa, file->size), file->data, file->size);
	params->hdr.ramdisk_image = gpa;
	params->hdr.ramdisk_size = file->size;
	note("initrd at %#llx, %zu bytes", (unsigned long long)gpa, file->size);
}

static void load_cmdline(struct vm *vm, const struct kernel *kernel,
			 const char *cmdline, struct boot_params *params)
{
	size_t len = strlen(cmdline), max = GPA_CMDLINE_END - GPA_CMDLINE - 1;

	if (kernel->cmdline_max && kernel->cmdline_max < max)
		max = kernel->cmdline_max;
	if (len > max)
		die(EXIT_USAGE,
		    "the kernel's command line has %zu characters, %s takes %zu",
		    len, kernel->path, max);
	memcpy(ram_ptr(vm, GPA_CMDLINE, len + 1), cmdline, len + 1);
	params->hdr.cmd_line_ptr = GPA_CMDLINE;
	note("command line: %s", cmdline);
}

static void add_e820(struct boot_params *params, u64 start, u64 end, u32 type)
{
	struct boot_e820_entry *e = &params->e820_table[params->e820_entries];

	if (start >= end)
		return;
	e->addr = start;
	e->size = end - start;
	e->type = type;
	params->e820_entries++;
}

static void fill_e820(const struct vm *vm, struct boot_params *params)
{
	add_e820(params, 0, GPA_EBDA, E820_RAM);
	add_e820(params, GPA_EBDA, GPA_EBDA_END, E820_RESERVED);
	add_e820(params, GPA_ACPI, GPA_BIOS_END, E820_RESERVED);
	add_e820(params, GPA_BIOS_END, ram_low_end(vm), E820_RAM);
	add_e820(params, GPA_IDENTITY_MAP, GPA_VMX_PAGES_END, E820_RESERVED);
	add_e820(params, GPA_HIGH, ram_high_end(vm), E820_RAM);
}

static void load_firmware_tables(struct vm *vm, struct boot_params *params)
{
	void *acpi = ram_ptr(vm, GPA_ACPI, GPA_MPTABLE - GPA_ACPI);
	void *mptable = ram_ptr(vm, GPA_MPTABLE, GPA_BIOS_END - GPA_MPTABLE);

	acpi_build(acpi, GPA_ACPI, vm->cfg.cpus);
	mptable_build(mptable, GPA_MPTABLE, vm->cfg.cpus);
	params->acpi_rsdp_addr = GPA_ACPI;
}

/**
 * boot_linux() - load a kernel and point vCPU 0 at it, or die
 * @vm: the VM
 * @file: a bzImage or an uncompressed vmlinux
 * @initrd: its initrd, or NULL
 * @cmdline: its command line
 */
void boot_linux(struct vm *vm, const struct file *file,
		const struct file *initrd, const char *cmdline)
{
	struct boot_params *params;
	struct kernel kernel;

	check_room(vm, file->path, GPA_BIOS_END);
	params = ram_ptr(vm, GPA_ZERO_PAGE, sizeof(*params));
	if (elf_detect(file))
		kernel = load_vmlinux(vm, file, params);
	else
		kernel = load_bzimage(vm, file, params);
	note("kernel at %#llx, needs memory up to %#llx",
	     (unsigned long long)kernel.entry, (unsigned long long)kernel.end);
	params->hdr.type_of_loader = LOADER_UNREGISTERED;
	load_cmdline(vm, &kernel, cmdline, params);
	if (initrd)
		load_initrd(vm, &kernel, initrd, params);
	fill_e820(vm, params);
	load_firmware_tables(vm, params);
	vcpu_enter_long(&vm->vcpus[0], kernel.entry, GPA_ZERO_PAGE);
}
