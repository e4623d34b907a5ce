// SPDX-License-Identifier: GPL-2.0-only
/*
 * Dirty log: which pages of a slot were written since user space asked last.
 *
 * A page whose bit is clear is mapped read-only, so that the first write to it
 * faults. While a slot is logged, it has small mappings only.
 */
#include "../labvisor.h"

/* Pages whose bits go to or from user space in one piece. */
#define CHUNK_LONGS 64
#define CHUNK_PAGES (CHUNK_LONGS * BITS_PER_LONG)

/* Slot @id with its log; vm->lock is held. */
static const struct lv_slot *logged_slot(struct lv_vm *vm, u32 id)
{
	const struct lv_slots *slots = lv_slots(vm);
	unsigned int i;

	if (id >= LV_NR_USER_REGIONS)
		return ERR_PTR(-EINVAL);
	for (i = 0; i < slots->nr; i++)
		if (slots->slot[i].id == id && slots->slot[i].dirty)
			return &slots->slot[i];
	return ERR_PTR(-ENOENT);
}

/*
 * Take those of the bits in @mask that are set out of the log, from page
 * @first on, and leave them in @mask. First the bits, then the mappings: a
 * write in between is part of what user space reads from the page now.
 */
static void take_bits(struct lv_vm *vm, const struct lv_slot *slot,
		      unsigned long first, unsigned long *mask, unsigned int nr)
{
	atomic_long_t *dirty = (atomic_long_t *)&slot->dirty[BIT_WORD(first)];
	unsigned int i;

	write_lock(&vm->mmu.lock);
	for (i = 0; i < BITS_TO_LONGS(nr); i++)
		if (mask[i])
			mask[i] &= atomic_long_fetch_andnot(mask[i], &dirty[i]);
	lv_tdp_protect(vm, slot->gfn + first, mask, nr);
	write_unlock(&vm->mmu.lock);
}

static int get_chunk(struct lv_vm *vm, const struct lv_slot *slot,
		     unsigned long first, unsigned long __user *to)
{
	unsigned int nr = min_t(u64, CHUNK_PAGES, slot->npages - first);
	size_t bytes = BITS_TO_LONGS(nr) * sizeof(long);
	unsigned long bits[CHUNK_LONGS];

	if (vm->manual_dirty_log) {
		memcpy(bits, &slot->dirty[BIT_WORD(first)], bytes);
	} else {
		memset(bits, 0xff, bytes);
		take_bits(vm, slot, first, bits, nr);
	}
	return copy_to_user(to + BIT_WORD(first), bits, bytes) ? -EFAULT : 0;
}

/* Read a slot's log, and clear it if it is not "manual". */
LV_IOCTL(get_dirty_log)
{
	const struct kvm_dirty_log *log = data;
	const struct lv_slot *slot = logged_slot(vm, log->slot);
	unsigned long first;
	int ret = 0;

	if (IS_ERR(slot))
		return PTR_ERR(slot);
	for (first = 0; first < slot->npages && !ret; first += CHUNK_PAGES)
		ret = get_chunk(vm, slot, first, log->dirty_bitmap);
	return ret;
}

static int clear_logged(struct lv_vm *vm, const struct lv_slot *slot,
			const struct kvm_clear_dirty_log *log)
{
	const unsigned long __user *from = log->dirty_bitmap;
	unsigned long bits[CHUNK_LONGS];
	unsigned int done, nr;

	for (done = 0; done < log->num_pages; done += nr) {
		nr = min_t(unsigned int, CHUNK_PAGES, log->num_pages - done);
		if (copy_from_user(bits, from + BIT_WORD(done),
				   BITS_TO_LONGS(nr) * sizeof(long)))
			return -EFAULT;
		take_bits(vm, slot, log->first_page + done, bits, nr);
	}
	return 0;
}

/* Clear the pages that user space names. */
LV_IOCTL(clear_dirty_log)
{
	const struct kvm_clear_dirty_log *log = data;
	const struct lv_slot *slot;
	u64 left;

	if (log->first_page % BITS_PER_LONG)
		return -EINVAL;
	slot = logged_slot(vm, log->slot);
	if (IS_ERR(slot))
		return PTR_ERR(slot);
	left = slot->npages - log->first_page;
	if (log->first_page > slot->npages || log->num_pages > left ||
	    (log->num_pages < left && log->num_pages % BITS_PER_LONG))
		return -EINVAL;
	return clear_logged(vm, slot, log);
}
