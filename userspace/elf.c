// SPDX-License-Identifier: GPL-2.0-only
/* Load an ELF executable to its physical addresses. */
#include <elf.h>
#include <string.h>

#include "boot.h"
#include "vm.h"

/* A program header of either class, reduced to what loading it takes. */
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

static void __attribute__((noreturn)) bad_elf(const struct file *file,
					      const char *why)
{
	die(EXIT_HOST, "%s: cannot load this ELF file: %s", file->path, why);
}

static const void *range(const struct file *file, u64 off, u64 size)
{
	if (off > file->size || size > file->size - off)
		bad_elf(file, "it is truncated");
	return file->data + off;
}

static struct segment read_segment(const struct file *file, bool is_64, u64 off)
{
	Elf64_Phdr p64;
	Elf32_Phdr p;

	if (is_64) {
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

/* The entry point is virtual when it lies in a segment's virtual range. */
static u64 physical(const struct segment *s, u64 entry)
{
	if (entry >= s->vaddr && entry - s->vaddr < s->memsz)
		return entry - s->vaddr + s->paddr;
	return entry;
}

/** elf_load() - copy all segments into guest memory, or die. */
struct elf_image elf_load(struct vm *vm, const struct file *file)
{
	struct elf_image image = { 0 };
	u64 phoff, entry, machine, type;
	u32 phnum, phentsize, i;
	bool found = false;

	range(file, 0, sizeof(Elf64_Ehdr));
	image.is_64 = file->data[EI_CLASS] == ELFCLASS64;
	if (image.is_64) {
		const Elf64_Ehdr *e = (const void *)file->data;

		type = e->e_type, machine = e->e_machine, entry = e->e_entry;
		phoff = e->e_phoff, phnum = e->e_phnum;
		phentsize = e->e_phentsize;
	} else {
		const Elf32_Ehdr *e = (const void *)file->data;

		type = e->e_type, machine = e->e_machine, entry = e->e_entry;
		phoff = e->e_phoff, phnum = e->e_phnum;
		phentsize = e->e_phentsize;
	}
	if (machine != (image.is_64 ? EM_X86_64 : EM_386))
		bad_elf(file, "it is for another kind of processor");
	if (type != ET_EXEC)
		bad_elf(file, "it is not an executable with fixed addresses");
	image.entry = entry;
	for (i = 0; i < phnum; i++) {
		struct segment s = read_segment(file, image.is_64,
						phoff + (u64)i * phentsize);

		if (!s.load || !s.memsz)
			continue;
		load_segment(vm, file, &s);
		if (physical(&s, entry) != entry)
			image.entry = physical(&s, entry);
		if (s.paddr + s.memsz > image.end)
			image.end = s.paddr + s.memsz;
		if (s.vaddr > image.vaddr)
			image.vaddr = s.vaddr;
		found = true;
	}
	if (!found)
		bad_elf(file, "it has no segments to load");
	return image;
}
