// SPDX-License-Identifier: GPL-2.0-only
/* bzImage headers: what is accepted, and each reason to refuse. */
#include <asm/bootparam.h>
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "../../userspace/boot.h"

#define SIZE 8192

/* A file with a header as Debian's kernels have it. */
static u8 *good_file(struct setup_header **hdr)
{
	u8 *file = calloc(1, SIZE);

	*hdr = (void *)(file + offsetof(struct boot_params, hdr));
	(*hdr)->setup_sects = 7;
	(*hdr)->boot_flag = 0xaa55;
	(*hdr)->jump = 0x6aeb;
	memcpy(&(*hdr)->header, "HdrS", 4);
	(*hdr)->version = 0x020f;
	(*hdr)->loadflags = LOADED_HIGH;
	(*hdr)->code32_start = 0x100000;
	(*hdr)->initrd_addr_max = 0x7fffffff;
	(*hdr)->relocatable_kernel = 1;
	(*hdr)->xloadflags = XLF_KERNEL_64;
	(*hdr)->cmdline_size = 2047;
	(*hdr)->pref_address = 0x1000000;
	(*hdr)->init_size = 0x3000000;
	return file;
}

static void test_good(void)
{
	struct setup_header *hdr;
	u8 *file = good_file(&hdr);
	struct bzimage image;

	ok(!bzimage_parse(file, SIZE, &image), "a good header is accepted");
	is(image.setup_size, 8 * 512, "setup code");
	is(image.header_end, 0x26c, "the header's end is where its jump leads");
	is(image.load, 0x1000000, "load address");
	is(image.init_size, 0x3000000, "memory to start");
	is(image.initrd_max, 0x7fffffff, "initrd's limit");
	is(image.cmdline_max, 2047, "command line's limit");
	hdr->setup_sects = 0;
	ok(!bzimage_parse(file, SIZE, &image), "setup_sects 0");
	is(image.setup_size, 5 * 512, "means 4");
	hdr->relocatable_kernel = 0;
	ok(!bzimage_parse(file, SIZE, &image), "a kernel with a fixed place");
	is(image.load, 0x100000, "goes there");
	hdr->jump = 0xffeb;
	ok(!bzimage_parse(file, SIZE, &image), "a header of the future");
	is(image.header_end, offsetof(struct boot_params, hdr) + sizeof(*hdr),
	   "is cut to what we know");
	free(file);
}

/* Break one thing in a good header. */
#define REFUSE(reason, statement)                                          \
	do {                                                               \
		struct setup_header *hdr;                                  \
		u8 *file = good_file(&hdr);                                \
		size_t size = SIZE;                                        \
		struct bzimage image;                                      \
		const char *why;                                           \
                                                                           \
		statement;                                                 \
		why = bzimage_parse(file, size, &image);                   \
		ok(why &&strstr(why, reason), "refused: %s", why ?: "no"); \
		(void)hdr;                                                 \
		free(file);                                                \
	} while (0)

int main(void)
{
	test_good();
	REFUSE("too short", size = 100);
	REFUSE("too short", size = 0x250);
	REFUSE("0xaa55", hdr->boot_flag = 0);
	REFUSE("HdrS", hdr->header = 0);
	REFUSE("2.12", hdr->version = 0x020b);
	REFUSE("zImage", hdr->loadflags = 0);
	REFUSE("32-bit", hdr->xloadflags = 0);
	REFUSE("truncated", hdr->setup_sects = 200);
	REFUSE("truncated", size = 8 * 512);
	REFUSE("outside", hdr->pref_address = 0x1000);
	REFUSE("outside", hdr->pref_address = 1ULL << 40);
	return tap_done();
}
