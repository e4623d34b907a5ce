// SPDX-License-Identifier: GPL-2.0-only
/* Guest memory: ordinary anonymous memory, in one or two slots. */
#include <errno.h>
#include <linux/kvm.h>
#include <string.h>
#include <sys/mman.h>

#include "layout.h"
#include "vm.h"

/** ram_low_end() - where memory below 4 GiB ends. */
u64 ram_low_end(const struct vm *vm)
{
	return vm->cfg.memory < GPA_HOLE ? vm->cfg.memory : GPA_HOLE;
}

/** ram_high_end() - where memory from 4 GiB on ends; 4 GiB if there is none. */
u64 ram_high_end(const struct vm *vm)
{
	return GPA_HIGH + vm->cfg.memory - ram_low_end(vm);
}

/** ram_ptr() - guest memory at @gpa, or NULL if not all of @size is memory. */
void *ram_ptr(const struct vm *vm, u64 gpa, u64 size)
{
	u64 low = ram_low_end(vm), high = ram_high_end(vm);

	if (gpa < low && size <= low - gpa)
		return vm->ram + gpa;
	if (gpa >= GPA_HIGH && gpa < high && size <= high - gpa)
		return vm->ram + low + (gpa - GPA_HIGH);
	return NULL;
}

/* Reserve address space so that 2 MiB of guest are 2 MiB-aligned here, too. */
static u8 *map_aligned(u64 size)
{
	u8 *p = mmap(NULL, size + MIB(2), PROT_NONE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	return (u8 *)ALIGN_UP((uintptr_t)p, MIB(2));
}

static u8 *map_ram(const struct vm_config *cfg)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED;
	u8 *p = map_aligned(cfg->memory);

	if (cfg->pages == PAGES_HUGETLB)
		flags = (flags & ~MAP_NORESERVE) | MAP_HUGETLB;
	if (p)
		p = mmap(p, cfg->memory, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (p && p != MAP_FAILED)
		return p;
	if (cfg->pages == PAGES_HUGETLB)
		die(EXIT_HOST,
		    "no %llu MiB of huge pages: reserve them in /proc/sys/vm/nr_hugepages",
		    (unsigned long long)cfg->memory >> 20);
	die(EXIT_HOST, "cannot map %llu MiB of guest memory: %s",
	    (unsigned long long)cfg->memory >> 20, strerror(errno));
}

static void add_slot(struct vm *vm, u32 slot, u64 gpa, u64 size, u8 *hva)
{
	struct kvm_userspace_memory_region region = {
		.slot = slot,
		.guest_phys_addr = gpa,
		.memory_size = size,
		.userspace_addr = (uintptr_t)hva,
	};

	kvm_enable(vm, vm->fd, KVM_SET_USER_MEMORY_REGION, &region,
		   "KVM_SET_USER_MEMORY_REGION");
	note("memory %#llx to %#llx", (unsigned long long)gpa,
	     (unsigned long long)(gpa + size - 1));
}

/** ram_init() - give the VM its memory. */
void ram_init(struct vm *vm)
{
	u64 low = ram_low_end(vm);

	vm->ram = map_ram(&vm->cfg);
	/* A host without THP has nothing to advise against: ignore errors. */
	if (vm->cfg.pages == PAGES_THP)
		madvise(vm->ram, vm->cfg.memory, MADV_HUGEPAGE);
	else if (vm->cfg.pages == PAGES_SMALL)
		madvise(vm->ram, vm->cfg.memory, MADV_NOHUGEPAGE);
	add_slot(vm, 0, 0, low, vm->ram);
	if (vm->cfg.memory > low)
		add_slot(vm, 1, GPA_HIGH, vm->cfg.memory - low, vm->ram + low);
}
