// SPDX-License-Identifier: GPL-2.0-only
/*
 * The MMU notifier: the host tells before it changes the launcher's page
 * tables, and asks whether the guest used a page.
 *
 * Callbacks run in reclaim and under the host's page-table locks: they take
 * mmu.lock and SRCU, allocate nothing, and sleep only where the host allows.
 */
#include <linux/sched/mm.h>

#include "../compat.h"
#include "../labvisor.h"

static struct lv_vm *notifier_vm(struct mmu_notifier *notifier)
{
	return container_of(notifier, struct lv_vm, mmu.notifier);
}

/* The part of @slot that is mapped in [*start, *end), as guest frames. */
static bool slot_range(const struct lv_slot *slot, hva_t start, hva_t end,
		       gfn_t *first, gfn_t *last)
{
	hva_t slot_end = slot->hva + (slot->npages << PAGE_SHIFT);

	start = max(start, slot->hva);
	end = min(end, slot_end);
	if (start >= end)
		return false;
	*first = slot->gfn + ((start - slot->hva) >> PAGE_SHIFT);
	*last = slot->gfn + ((end - 1 - slot->hva) >> PAGE_SHIFT);
	return true;
}

/* Change what is mapped in [start, end); mmu.lock is held as @op needs it. */
static bool change_hva(struct lv_vm *vm, enum lv_tdp_op op, hva_t start,
		       hva_t end, bool may_yield)
{
	struct lv_slots *slots;
	bool changed = false;
	gfn_t first, last;
	unsigned int i;
	int idx;

	idx = srcu_read_lock(&vm->mem.srcu);
	slots = lv_slots(vm);
	for (i = 0; i < slots->nr; i++)
		if (slot_range(&slots->slot[i], start, end, &first, &last))
			changed |= lv_tdp_change(vm, op, first, last + 1,
						 may_yield);
	srcu_read_unlock(&vm->mem.srcu, idx);
	return changed;
}

/*
 * From here to the end, faults do not map this range. The union of concurrent
 * ranges is good enough, but even a range without slots counts: a slot may be
 * created before it ends.
 */
static int invalidate_range_start(struct mmu_notifier *notifier,
				  const struct mmu_notifier_range *range)
{
	struct lv_vm *vm = notifier_vm(notifier);
	struct lv_mmu *mmu = &vm->mmu;

	write_lock(&mmu->lock);
	if (!mmu->invalidating++) {
		mmu->inv_start = range->start;
		mmu->inv_end = range->end;
	} else {
		mmu->inv_start = min(mmu->inv_start, range->start);
		mmu->inv_end = max(mmu->inv_end, range->end);
	}
	change_hva(vm, LV_TDP_ZAP, range->start, range->end,
		   mmu_notifier_range_blockable(range));
	write_unlock(&mmu->lock);
	return 0;
}

static void invalidate_range_end(struct mmu_notifier *notifier,
				 const struct mmu_notifier_range *range)
{
	struct lv_mmu *mmu = &notifier_vm(notifier)->mmu;

	write_lock(&mmu->lock);
	mmu->invalidating--;
	write_unlock(&mmu->lock);
}

static bool young_hva(struct lv_vm *vm, enum lv_tdp_op op, hva_t start,
		      hva_t end)
{
	bool young;

	read_lock(&vm->mmu.lock);
	young = change_hva(vm, op, start, end, false);
	read_unlock(&vm->mmu.lock);
	return young;
}

static lv_young_t clear_young(struct mmu_notifier *notifier,
			      struct mm_struct *mm, unsigned long start,
			      unsigned long end)
{
	struct lv_vm *vm = notifier_vm(notifier);
	bool young;

	if (lv_backend->tdp.accessed)
		return young_hva(vm, LV_TDP_CLEAR_YOUNG, start, end);
	/* Without accessed bits, see whether the guest maps it again. */
	write_lock(&vm->mmu.lock);
	young = change_hva(vm, LV_TDP_ZAP, start, end, false);
	write_unlock(&vm->mmu.lock);
	return young;
}

static lv_young_t test_young(struct mmu_notifier *notifier,
			     struct mm_struct *mm, unsigned long address)
{
	return young_hva(notifier_vm(notifier), LV_TDP_TEST_YOUNG, address,
			 address + PAGE_SIZE);
}

/* The launcher is gone: nothing can run the guest any more. */
static void release(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	struct lv_vm *vm = notifier_vm(notifier);

	write_lock(&vm->mmu.lock);
	change_hva(vm, LV_TDP_ZAP, 0, ULONG_MAX, true);
	write_unlock(&vm->mmu.lock);
}

static const struct mmu_notifier_ops notifier_ops = {
	.invalidate_range_start = invalidate_range_start,
	.invalidate_range_end = invalidate_range_end,
	.clear_flush_young = clear_young,
	.clear_young = clear_young,
	.test_young = test_young,
	.release = release,
};

/** lv_mmu_init - nested page tables that follow the caller's mm, the VM's */
int lv_mmu_init(struct lv_vm *vm)
{
	int ret;

	ret = lv_tdp_init(vm);
	if (ret)
		return ret;
	vm->mmu.notifier.ops = &notifier_ops;
	ret = mmu_notifier_register(&vm->mmu.notifier, vm->mm);
	if (ret)
		lv_tdp_free(vm);
	return ret;
}

void lv_mmu_free(struct lv_vm *vm)
{
	mmu_notifier_unregister(&vm->mmu.notifier, vm->mm);
	lv_tdp_free(vm);
}
