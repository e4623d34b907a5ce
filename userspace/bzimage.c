// SPDX-License-Identifier: GPL-2.0-only
/* Read and check the setup header of a bzImage; see the x86 boot protocol. */
#include <asm/bootparam.h>
#include <string.h>

#include "boot.h"
#include "layout.h"

#define BOOT_FLAG 0xaa55
#define SECTOR 512
#define PROTOCOL_64_BIT 0x020c

/**
 * bzimage_parse() - check that we can boot it; returns why not, or NULL
 * @data: the file
 * @size: its size
 * @image: filled in on success
 */
const char *bzimage_parse(const u8 *data, size_t size, struct bzimage *image)
{
	const size_t start = offsetof(struct boot_params, hdr);
	struct setup_header hdr;

	if (size < start + sizeof(hdr))
		return "it is too short to be a kernel";
	memcpy(&hdr, data + start, sizeof(hdr));
	if (hdr.boot_flag != BOOT_FLAG)
		return "the boot sector signature 0xaa55 is missing at 0x1fe";
	if (memcmp(data + start + offsetof(struct setup_header, header), "HdrS",
		   4))
		return "the setup header signature 'HdrS' is missing at 0x202";
	if (hdr.version < PROTOCOL_64_BIT)
		return "its boot protocol is older than 2.12 (Linux 3.8)";
	if (!(hdr.loadflags & LOADED_HIGH))
		return "it is a zImage, which loads below 1 MiB";
	if (!(hdr.xloadflags & XLF_KERNEL_64))
		return "it is a 32-bit kernel, without a 64-bit entry point";
	image->setup_size = ((hdr.setup_sects ?: 4) + 1) * SECTOR;
	if (size <= image->setup_size)
		return "it is truncated: nothing follows its setup code";
	/* The byte at 0x201, a jump's operand, tells how long the header is. */
	image->header_end = 0x202 + (hdr.jump >> 8);
	if (image->header_end > start + sizeof(hdr))
		image->header_end = start + sizeof(hdr);
	image->load = hdr.relocatable_kernel ? hdr.pref_address
					     : hdr.code32_start;
	if (image->load < GPA_BIOS_END || image->load >= GPA_HOLE)
		return "it wants to be loaded outside the first 3 GiB";
	image->init_size = hdr.init_size;
	image->initrd_max = hdr.initrd_addr_max;
	image->cmdline_max = hdr.cmdline_size;
	return NULL;
}
