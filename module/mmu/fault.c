// SPDX-License-Identifier: GPL-2.0-only
/*
 * Nested page faults: map what the launcher has mapped.
 *
 * A nested entry is a copy of a host page-table entry, and the MMU notifier
 * takes it back before the host changes that one; so pages are not pinned.
 * The entry is writable only if the host's is writable and dirty: then the
 * host knows without asking that the page may change.
 */
#include <linux/mem_encrypt.h>
#include <linux/pgtable.h>
#include <linux/sched/signal.h>

#include "../compat.h"
#include "../labvisor.h"

#define fmt (&lv_backend->tdp)

/* struct host_page - what the launcher's page tables say about an address */
struct host_page {
	lv_pfn_t pfn; /* of the address itself, also inside a large page */
	int level; /* page size, as a level */
	bool writable; /* writable, and dirty already */
	bool cached; /* ordinary memory, not a device's */
};

/** struct fault - a fault on the way; @level is known once the host's page is */
struct fault {
	const struct lv_slot *slot; /* NULL: the page of local APICs */
	gfn_t gfn;
	hva_t hva;
	bool write;
	int level;
};

/*
 * Walk current->mm's page tables without locks; interrupts are off, so that
 * they are not freed meanwhile. All levels have the same format. A page that
 * the host made inaccessible (NUMA hinting, splitting) counts as absent.
 */
static bool host_walk(hva_t hva, struct host_page *page)
{
	u64 entry, cache, rw = _PAGE_RW, *table = (u64 *)current->mm->pgd;
	int level = pgtable_l5_enabled() ? 5 : 4;
	u64 in_page;

	for (;; level--) {
		u64 index = hva >> (PAGE_SHIFT + 9 * (level - 1));

		entry = READ_ONCE(table[index & (PTRS_PER_PTE - 1)]);
		if (~entry & (_PAGE_PRESENT | _PAGE_USER))
			return false;
		rw &= entry;
		if (level == 1 || entry & _PAGE_PSE)
			break;
		table = __va(entry & PTE_PFN_MASK);
	}
	in_page = lv_level_pages(level) - 1;
	cache = _PAGE_PWT | _PAGE_PCD |
		(level == 1 ? _PAGE_PAT : _PAGE_PAT_LARGE);
	page->pfn = ((entry & PTE_PFN_MASK) >> PAGE_SHIFT & ~in_page) |
		    (hva >> PAGE_SHIFT & in_page);
	page->level = level;
	page->writable = rw && entry & _PAGE_DIRTY;
	page->cached = !(entry & cache);
	return true;
}

/* The largest mapping that stays in the slot and in the host's page. */
static int map_level(const struct fault *f, int host_level)
{
	const struct lv_slot *slot = f->slot;
	int level;

	/* Pages are logged one by one. */
	if (slot->dirty)
		return 1;
	for (level = min_t(int, host_level, fmt->max_level); level > 1;
	     level--) {
		u64 pages = lv_level_pages(level);
		gfn_t base = round_down(f->gfn, pages);

		if (!((f->gfn ^ f->hva >> PAGE_SHIFT) & (pages - 1)) &&
		    base >= slot->gfn &&
		    base + pages <= slot->gfn + slot->npages)
			break;
	}
	return level;
}

static u64 make_leaf(const struct host_page *page, int level, bool write)
{
	u64 pfn = page->pfn & ~(lv_level_pages(level) - 1);
	u64 leaf = pfn << PAGE_SHIFT | fmt->present | fmt->exec | fmt->accessed;

	leaf |= page->cached ? __sme_set(fmt->memtype_wb) : fmt->memtype_uc;
	if (write)
		leaf |= fmt->write | fmt->dirty;
	if (level > 1)
		leaf |= fmt->large;
	return leaf;
}

static bool is_apic_page(struct lv_vm *vm, gfn_t gfn)
{
	return gfn == LV_APIC_GFN && READ_ONCE(vm->apic_page_on);
}

/* Nothing is ever read or written there: the CPU sees to it. */
static int map_apic_page(struct lv_vcpu *v)
{
	struct lv_vm *vm = v->vm;

	if (!is_apic_page(vm, LV_APIC_GFN))
		return -ENOENT;
	return lv_tdp_map(vm, &v->mmu_cache, LV_APIC_GFN, 1,
			  __sme_set(page_to_phys(vm->apic_page)) |
				  fmt->present | fmt->write | fmt->accessed |
				  fmt->dirty | fmt->memtype_wb);
}

/*
 * Map the page if the host has it in its page tables; mmu.lock is held for
 * reading. An invalidation that starts from here on waits for the lock, so it
 * will find the new entry; one that is over has changed what we read.
 *
 * Return: 0, errors of lv_tdp_map(), or -EAGAIN: fault the page in first, or
 * -EBUSY: the host is just changing it, or -ENOENT: it is no memory.
 */
static int map_locked(struct lv_vcpu *v, struct fault *f)
{
	struct lv_mmu *mmu = &v->vm->mmu;
	const struct lv_slot *slot = f->slot;
	struct host_page page;
	unsigned long flags;
	bool found, writable;
	int ret;

	if (unlikely(!slot))
		return map_apic_page(v);
	if (unlikely(mmu->invalidating) && f->hva >= mmu->inv_start &&
	    f->hva < mmu->inv_end)
		return -EBUSY;
	local_irq_save(flags);
	found = host_walk(f->hva, &page);
	local_irq_restore(flags);
	if (!found || (f->write && !page.writable))
		return -EAGAIN;
	/* A logged page becomes writable when it is written. */
	writable = page.writable && !(slot->flags & KVM_MEM_READONLY) &&
		   (f->write || !slot->dirty);
	f->level = map_level(f, page.level);
	ret = lv_tdp_map(v->vm, &v->mmu_cache, f->gfn, f->level,
			 make_leaf(&page, f->level, writable));
	if (!ret && f->write)
		lv_mark_dirty_gfn(slot, f->gfn);
	return ret;
}

static int try_map(struct lv_vcpu *v, struct fault *f)
{
	rwlock_t *lock = &v->vm->mmu.lock;
	int ret;

	if (!v->atomic)
		read_lock(lock);
	else if (!read_trylock(lock))
		return -EBUSY;
	ret = map_locked(v, f);
	read_unlock(lock);
	return ret;
}

/* Let the host handle the fault as if the launcher had accessed the page. */
static int fault_in(const struct fault *f)
{
	unsigned int flags = f->write ? FAULT_FLAG_WRITE : 0;
	struct mm_struct *mm = current->mm;
	bool unlocked = false;
	int ret;

	ret = mmap_read_lock_killable(mm);
	if (ret)
		return ret;
	/* With @unlocked it may drop the lock to wait, and is killable. */
	ret = fixup_user_fault(mm, f->hva, flags, &unlocked);
	if (!ret && f->write && lv_shadow_stack(mm, f->hva))
		ret = -EFAULT;
	mmap_read_unlock(mm);
	return ret;
}

/* Zap mappings of other sizes that are in the way of the fault's. */
static void zap_conflict(struct lv_vm *vm, const struct fault *f)
{
	u64 pages = lv_level_pages(f->level);
	gfn_t base = round_down(f->gfn, pages);

	write_lock(&vm->mmu.lock);
	lv_tdp_change(vm, LV_TDP_ZAP, base, base + pages, true);
	write_unlock(&vm->mmu.lock);
}

/* Remove what kept try_map() from mapping the page; may sleep. */
static int resolve(struct lv_vcpu *v, const struct fault *f, int error)
{
	switch (error) {
	case -EAGAIN:
		return fault_in(f);
	case -ENOMEM:
		return lv_mmu_cache_fill(&v->mmu_cache);
	case -EEXIST:
		zap_conflict(v->vm, f);
		return 0;
	default:
		cond_resched();
		return 0;
	}
}

int lv_mmu_fault(struct lv_vcpu *v, gpa_t gpa, u32 access)
{
	struct fault f = { .gfn = gpa >> PAGE_SHIFT,
			   .write = access & LV_ACCESS_WRITE };
	int ret;

	f.slot = lv_slot_find(lv_slots(v->vm), f.gfn);
	if (f.slot)
		f.hva = lv_slot_hva(f.slot, f.gfn);
	if (f.slot ? f.write && f.slot->flags & KVM_MEM_READONLY
		   : !is_apic_page(v->vm, f.gfn) || access & LV_ACCESS_FETCH)
		return -ENOENT;
	for (;;) {
		ret = try_map(v, &f);
		if (!ret)
			return LV_RESUME;
		if (ret == -ENOENT)
			return ret;
		if (v->atomic)
			return LV_SLEEPABLE;
		ret = resolve(v, &f, ret);
		if (ret)
			return ret;
		/* The run loop looks after signals; the guest faults again. */
		if (signal_pending(current))
			return LV_RESUME;
	}
}
