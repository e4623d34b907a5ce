// SPDX-License-Identifier: GPL-2.0-only
/* Load an ELF executable to its physical addresses. */
#include <elf.h>
#include <string.h>

#include "boot.h"
#include "vm.h"

/* An ELF header of either class, reduced to what loading it takes. */
struct header {
	bool is_64;
	u16 type;
	u16 machine;
	u64 entry;
	u64 phoff;
	u16 phnum;
	u16 phentsize;
};

/* A program header, likewise. */
struct segment {
	u64 offset;
	u64 paddr;
	u64 vaddr;
	u64 filesz;
	u64 memsz;
	bool load;
};

/** elf_detect() - does the file begin as ELF files do? */
bool elf_detect(const struct file *file)
{
	return file->size >= SELFMAG && !memcmp(file->data, ELFMAG, SELFMAG);
}

static void __attribute__((noreturn))
bad_elf(const struct file *file, const char *why)
{
	die(EXIT_HOST, "%s: cannot load this ELF file: %s", file->path, why);
}

static const void *range(const struct file *file, u64 off, u64 size)
{
	if (off > file->size || size > file->size - off)
		bad_elf(file, "it is truncated");
	return file->data + off;
}

static struct header read_header(const struct file *file)
{
	Elf64_Ehdr e64;
	Elf32_Ehdr e;

	memcpy(&e64, range(file, 0, sizeof(e64)), sizeof(e64));
	if (e64.e_ident[EI_CLASS] == ELFCLASS64)
		return (struct header){ true,		e64.e_type,
					e64.e_machine,	e64.e_entry,
					e64.e_phoff,	e64.e_phnum,
					e64.e_phentsize };
	memcpy(&e, file->data, sizeof(e));
	return (struct header){ false,	   e.e_type,  e.e_machine,  e.e_entry,
				e.e_phoff, e.e_phnum, e.e_phentsize };
}

static struct segment read_segment(const struct file *file,
				   const struct header *h, u32 index)
{
	u64 off = h->phoff + (u64)index * h->phentsize;
	Elf64_Phdr p64;
	Elf32_Phdr p;

	if (h->is_64) {
		memcpy(&p64, range(file, off, sizeof(p64)), sizeof(p64));
		return (struct segment){ p64.p_offset, p64.p_paddr,
					 p64.p_vaddr,  p64.p_filesz,
					 p64.p_memsz,  p64.p_type == PT_LOAD };
	}
	memcpy(&p, range(file, off, sizeof(p)), sizeof(p));
	return (struct segment){ p.p_offset, p.p_paddr, p.p_vaddr,
				 p.p_filesz, p.p_memsz, p.p_type == PT_LOAD };
}

static void load_segment(struct vm *vm, const struct file *file,
			 const struct segment *s)
{
	const void *data = range(file, s->offset, s->filesz);
	u8 *dst = ram_ptr(vm, s->paddr, s->memsz);

	if (s->filesz > s->memsz)
		bad_elf(file, "a segment is larger in the file than in memory");
	if (!dst)
		die(EXIT_HOST,
		    "%s: a segment at %#llx, %llu KiB long, lies outside the guest's memory: give more --memory",
		    file->path, (unsigned long long)s->paddr,
		    (unsigned long long)(s->memsz + 1023) >> 10);
	memcpy(dst, data, s->filesz);
	memset(dst + s->filesz, 0, s->memsz - s->filesz);
}

/* Let @image cover the segment. A virtual entry point becomes physical. */
static void add_segment(struct elf_image *image, const struct segment *s,
			u64 entry)
{
	if (entry >= s->vaddr && entry - s->vaddr < s->memsz)
		image->entry = entry - s->vaddr + s->paddr;
	if (s->paddr + s->memsz > image->end)
		image->end = s->paddr + s->memsz;
	if (s->vaddr > image->vaddr)
		image->vaddr = s->vaddr;
}

/** elf_load() - copy all segments into guest memory, or die. */
struct elf_image elf_load(struct vm *vm, const struct file *file)
{
	struct header h = read_header(file);
	struct elf_image image = { .is_64 = h.is_64, .entry = h.entry };
	u32 i;

	if (h.machine != (h.is_64 ? EM_X86_64 : EM_386))
		bad_elf(file, "it is for another kind of processor");
	if (h.type != ET_EXEC)
		bad_elf(file, "it is not an executable with fixed addresses");
	for (i = 0; i < h.phnum; i++) {
		struct segment s = read_segment(file, &h, i);

		if (!s.load || !s.memsz)
			continue;
		load_segment(vm, file, &s);
		add_segment(&image, &s, h.entry);
	}
	if (!image.end)
		bad_elf(file, "it has no segments to load");
	return image;
}
