/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory: slots, nested page tables, MMU notifier.
 *
 * docs/memory.md explains how they work together.
 */
#ifndef LABVISOR_MMU_H
#define LABVISOR_MMU_H

#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/srcu.h>

#include "../pure.h"
#include "../backend.h"

struct lv_vm;
struct lv_vcpu;

/* Where local APICs are in xAPIC mode, if nobody moves them. */
#define LV_APIC_GFN (0xfee00000 >> 12)

/* struct lv_slot - guest physical memory backed by the launcher's memory */
struct lv_slot {
	gfn_t gfn; /* first guest frame */
	u64 npages; /* length */
	hva_t hva; /* where it is mapped in the launcher */
	/* bitmap of written pages, shared by the versions of the slot */
	unsigned long *dirty;
	u32 flags; /* KVM_MEM_* flags */
	u16 id; /* number that user space gave it */
	bool gone; /* being removed: no memory any more, but still mapped */
};

/* struct lv_slots - one version of a VM's slots, constant once published */
struct lv_slots {
	u64 generation; /* number of the version */
	unsigned int hint; /* index of the slot found last (atomic) */
	unsigned int nr; /* number of slots */
	struct lv_slot slot[]; /* sorted, without overlaps, and an empty one */
};

/* struct lv_memory - the memory slots of a VM */
struct lv_memory {
	/* (SRCU @srcu; replaced under vm->lock) */
	struct lv_slots __rcu *slots;
	struct srcu_struct srcu;
};

/* struct lv_mmu - the nested page tables of a VM */
struct lv_mmu {
	/*
	 * read: install entries with cmpxchg; write: zap, write-protect, free
	 * tables. Never spin on it with interrupts off: a writer waits for
	 * the other CPUs to take its TLB flush.
	 */
	rwlock_t lock;
	hpa_t root; /* physical address of the top-level table (once) */
	atomic_long_t nr_tables; /* pages that the tables take (atomic) */
	/* subscription to the launcher's mm (once) */
	struct mmu_notifier notifier;
	unsigned int invalidating; /* host invalidations in progress (lock) */
	hva_t inv_start; /* lowest address that they invalidate (lock) */
	hva_t inv_end; /* end of the highest one (lock) */
};

/* A fault adds a table on each level below the root at most. */
#define LV_MMU_CACHE_MIN 4

/** struct lv_mmu_cache - zeroed page-table pages set aside for faults (own) */
struct lv_mmu_cache {
	int nr;
	void *page[2 * LV_MMU_CACHE_MIN];
};

/* ---- slots (memslot.c) ---- */

/* The current slots; the caller holds vm->mem.srcu or vm->lock. */
#define lv_slots(vm)                                             \
	srcu_dereference_check((vm)->mem.slots, &(vm)->mem.srcu, \
			       lockdep_is_held(&(vm)->lock))

int lv_memory_init(struct lv_vm *vm);
void lv_memory_free(struct lv_vm *vm); /* after lv_mmu_free() */
const struct lv_slot *lv_slot_search(struct lv_slots *slots, gfn_t gfn);

/** lv_slot_find - the slot that holds a guest frame, or NULL */
static inline const struct lv_slot *lv_slot_find(struct lv_slots *slots,
						 gfn_t gfn)
{
	const struct lv_slot *slot = &slots->slot[READ_ONCE(slots->hint)];

	if (unlikely(gfn - slot->gfn >= slot->npages))
		slot = lv_slot_search(slots, gfn);
	return slot && likely(!slot->gone) ? slot : NULL;
}

static inline hva_t lv_slot_hva(const struct lv_slot *slot, gfn_t gfn)
{
	return slot->hva + ((gfn - slot->gfn) << PAGE_SHIFT);
}

/* The guest, or the host on its behalf, writes to this frame. */
static inline void lv_mark_dirty_gfn(const struct lv_slot *slot, gfn_t gfn)
{
	if (slot->dirty && !test_bit(gfn - slot->gfn, slot->dirty))
		set_bit(gfn - slot->gfn, slot->dirty);
}

/* ---- nested page tables (tdp.c) ---- */

/* enum lv_tdp_op - what to do to a range of guest memory */
enum lv_tdp_op {
	LV_TDP_ZAP, /* remove mappings, and tables that become empty by it */
	LV_TDP_PROTECT, /* make small mappings read-only, remove large ones */
	LV_TDP_TEST_YOUNG, /* see if it was accessed */
	LV_TDP_CLEAR_YOUNG, /* the same, and forget it */
};

int lv_tdp_map(struct lv_vm *vm, struct lv_mmu_cache *cache, gfn_t gfn,
	       int level, u64 leaf);
bool lv_tdp_change(struct lv_vm *vm, enum lv_tdp_op op, gfn_t start, gfn_t end,
		   bool may_yield);
void lv_tdp_protect(struct lv_vm *vm, gfn_t base, const unsigned long *bits,
		    unsigned int nr);
int lv_tdp_init(struct lv_vm *vm);
void lv_tdp_free(struct lv_vm *vm);
int lv_mmu_cache_fill(struct lv_mmu_cache *cache);
void lv_mmu_cache_free(struct lv_mmu_cache *cache);

static inline u64 lv_level_pages(int level)
{
	return 1ULL << (9 * (level - 1));
}

/* ---- faults (fault.c) ---- */

/*
 * Handle a nested page fault; the caller holds vm->mem.srcu and runs in the
 * VM's mm. LV_RESUME: mapped, or to be tried again; LV_SLEEPABLE: call again
 * with interrupts on; -ENOENT: no slot, or a write to a read-only slot: it is
 * MMIO; other negative: KVM_RUN fails with it.
 */
int lv_mmu_fault(struct lv_vcpu *v, gpa_t gpa, u32 access);

/* ---- MMU notifier (notifier.c) ---- */

int lv_mmu_init(struct lv_vm *vm); /* vm->mm is current->mm */
void lv_mmu_free(struct lv_vm *vm); /* before the vCPUs are freed */

/* ---- guest memory by physical address (guest_mem.c) ---- */

/* lv_gpa_read() and lv_gpa_write() are in labvisor.h. */
void __user *lv_gpa_user(struct lv_vm *vm, gpa_t gpa);
int lv_gpa_read_entry(struct lv_vm *vm, gpa_t gpa, unsigned int size, u64 *val,
		      bool atomic);
int lv_gpa_cmpxchg(struct lv_vm *vm, gpa_t gpa, void *old, const void *new,
		   unsigned int len, bool atomic);

#endif /* LABVISOR_MMU_H */
