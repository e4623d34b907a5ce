// SPDX-License-Identifier: GPL-2.0-only
/*
 * Memory slots: which guest physical memory is where in the launcher.
 *
 * The slots of a VM are a sorted array that never changes once it is
 * published. A change builds a new array and publishes it; the old one is freed
 * when nobody uses it any more (SRCU).
 */
#include "../labvisor.h"

/* More would overflow the int that counts pages in the host's mm code. */
#define MAX_SLOT_PAGES ((1UL << 31) - 1)

/* The slow half of lv_slot_find(): binary search. Finds "gone" ones, too. */
const struct lv_slot *lv_slot_search(struct lv_slots *slots, gfn_t gfn)
{
	unsigned int low = 0, high = slots->nr;

	while (low < high) {
		unsigned int mid = (low + high) / 2;
		const struct lv_slot *slot = &slots->slot[mid];

		if (gfn < slot->gfn) {
			high = mid;
		} else if (gfn - slot->gfn >= slot->npages) {
			low = mid + 1;
		} else {
			WRITE_ONCE(slots->hint, mid);
			return slot;
		}
	}
	return NULL;
}

static const struct lv_slot *slot_by_id(const struct lv_slots *slots, u32 id)
{
	unsigned int i;

	for (i = 0; i < slots->nr; i++)
		if (slots->slot[i].id == id)
			return &slots->slot[i];
	return NULL;
}

/* Copy the slots without @remove and with @add; either may be NULL. */
static struct lv_slots *slots_edit(const struct lv_slots *old,
				   const struct lv_slot *remove,
				   const struct lv_slot *add)
{
	const struct lv_slot *slot = old->slot, *end = slot + old->nr;
	struct lv_slots *new;

	new = kvzalloc(struct_size(new, slot, old->nr + 2), GFP_KERNEL_ACCOUNT);
	if (!new)
		return NULL;
	for (; slot < end; slot++) {
		if (slot == remove)
			continue;
		if (add && add->gfn < slot->gfn) {
			new->slot[new->nr++] = *add;
			add = NULL;
		}
		new->slot[new->nr++] = *slot;
	}
	if (add)
		new->slot[new->nr++] = *add;
	return new;
}

static void change_range(struct lv_vm *vm, enum lv_tdp_op op, gfn_t gfn,
			 u64 npages)
{
	write_lock(&vm->mmu.lock);
	lv_tdp_change(vm, op, gfn, gfn + npages, true);
	write_unlock(&vm->mmu.lock);
}

/*
 * Nobody uses older slots, or what is only in them, after this. Waiting is
 * cheaper than call_srcu(): the grace period that would begin is not expedited,
 * and the next change would have to wait for its end.
 */
static void slots_publish(struct lv_vm *vm, struct lv_slots *new)
{
	struct lv_slots *old = lv_slots(vm);

	new->generation = old->generation + 1;
	rcu_assign_pointer(vm->mem.slots, new);
	synchronize_srcu_expedited(&vm->mem.srcu);
	kvfree(old);
	/* Memory covers the page of the local APICs. */
	if (vm->apic_page && lv_slot_find(new, LV_APIC_GFN))
		change_range(vm, LV_TDP_ZAP, LV_APIC_GFN, 1);
}

/* Delete @slot, or move it to where @to is. */
static int slot_remove(struct lv_vm *vm, const struct lv_slot *slot,
		       const struct lv_slot *to)
{
	struct lv_slot gone = *slot;
	struct lv_slots *first, *second;

	/*
	 * Two steps: while there are mappings, MMU notifiers must find the
	 * slot; but to be sure that there are none, faults must not.
	 */
	gone.gone = true;
	first = slots_edit(lv_slots(vm), slot, &gone);
	second = slots_edit(lv_slots(vm), slot, to);
	if (!first || !second) {
		kvfree(first);
		kvfree(second);
		return -ENOMEM;
	}
	slots_publish(vm, first);
	change_range(vm, LV_TDP_ZAP, gone.gfn, gone.npages);
	slots_publish(vm, second);
	if (!to || to->dirty != gone.dirty)
		kvfree(gone.dirty);
	return 0;
}

/* Put @new, which covers the same memory, in the place of @old, if any. */
static int slot_replace(struct lv_vm *vm, const struct lv_slot *old,
			const struct lv_slot *new)
{
	struct lv_slots *slots = slots_edit(lv_slots(vm), old, new);
	unsigned long *dirty = old ? old->dirty : NULL;

	if (!slots)
		return -ENOMEM;
	slots_publish(vm, slots);
	if (new->dirty == dirty)
		return 0;
	/*
	 * The log was turned on: have writes fault, page by page. Or off: zap,
	 * for large mappings to come back.
	 */
	change_range(vm, new->dirty ? LV_TDP_PROTECT : LV_TDP_ZAP, new->gfn,
		     new->npages);
	kvfree(dirty);
	return 0;
}

/* Guest frames end where the nested page tables or the CPU's addresses do. */
static gfn_t max_gfn(void)
{
	unsigned int bits = min(PAGE_SHIFT + 9 * lv_backend->tdp.levels,
				(int)boot_cpu_data.x86_phys_bits);

	return 1ULL << (bits - PAGE_SHIFT);
}

static bool region_valid(const struct kvm_userspace_memory_region *mem)
{
	u64 bits = mem->memory_size | mem->guest_phys_addr |
		   mem->userspace_addr;

	/* The upper half of the slot selects an address space; there is one. */
	return !(mem->flags & ~(KVM_MEM_LOG_DIRTY_PAGES | KVM_MEM_READONLY)) &&
	       !(bits & ~PAGE_MASK) &&
	       access_ok((void __user *)(hva_t)mem->userspace_addr,
			 mem->memory_size) &&
	       mem->slot < LV_NR_USER_REGIONS &&
	       mem->guest_phys_addr + mem->memory_size >=
		       mem->guest_phys_addr &&
	       mem->memory_size >> PAGE_SHIFT <= MAX_SLOT_PAGES;
}

static bool slot_overlaps(struct lv_vm *vm, const struct lv_slot *new)
{
	const struct lv_slots *slots = lv_slots(vm);
	unsigned int i;

	for (i = 0; i < slots->nr; i++) {
		const struct lv_slot *slot = &slots->slot[i];

		if (slot->id != new->id &&
		    slot->gfn < new->gfn + new->npages &&new->gfn <
			    slot->gfn + slot->npages)
			return true;
	}
	return false;
}

/* Give @new the bitmap that its flags ask for, if possible that of @old. */
static int slot_set_dirty(struct lv_slot *new, const struct lv_slot *old)
{
	if (!(new->flags &KVM_MEM_LOG_DIRTY_PAGES))
		return 0;
	if (old && old->dirty) {
		new->dirty = old->dirty;
		return 0;
	}
	new->dirty = kvcalloc(BITS_TO_LONGS(new->npages), sizeof(long),
			      GFP_KERNEL_ACCOUNT);
	return new->dirty ? 0 : -ENOMEM;
}

static int slot_set(struct lv_vm *vm, const struct lv_slot *old,
		    struct lv_slot *new)
{
	bool moved = old && old->gfn != new->gfn;
	unsigned long *kept = old ? old->dirty : NULL;
	int ret;

	if (old && (new->hva != old->hva || new->npages != old->npages ||
		    (new->flags ^ old->flags) & KVM_MEM_READONLY))
		return -EINVAL;
	if (old && !moved && new->flags == old->flags)
		return 0;
	if (new->gfn + new->npages > max_gfn())
		return -EINVAL;
	if (slot_overlaps(vm, new))
		return -EEXIST;
	ret = slot_set_dirty(new, old);
	if (ret)
		return ret;
	ret = moved ? slot_remove(vm, old, new) : slot_replace(vm, old, new);
	if (ret && new->dirty != kept)
		kvfree(new->dirty);
	return ret;
}

/* Create, change, move or delete a slot. */
LV_IOCTL(set_user_memory_region)
{
	const struct kvm_userspace_memory_region *mem = data;
	struct lv_slot new = {
		.gfn = mem->guest_phys_addr >> PAGE_SHIFT,
		.npages = mem->memory_size >> PAGE_SHIFT,
		.hva = mem->userspace_addr,
		.flags = mem->flags,
		.id = mem->slot,
	};
	const struct lv_slot *old;

	if (!region_valid(mem))
		return -EINVAL;
	old = slot_by_id(lv_slots(vm), mem->slot);
	if (new.npages)
		return slot_set(vm, old, &new);
	return old ? slot_remove(vm, old, NULL) : -EINVAL;
}

int lv_memory_init(struct lv_vm *vm)
{
	static const struct lv_slots none;
	struct lv_slots *slots;
	int ret;

	slots = slots_edit(&none, NULL, NULL);
	if (!slots)
		return -ENOMEM;
	ret = init_srcu_struct(&vm->mem.srcu);
	if (ret) {
		kvfree(slots);
		return ret;
	}
	rcu_assign_pointer(vm->mem.slots, slots);
	return 0;
}

void lv_memory_free(struct lv_vm *vm)
{
	struct lv_slots *slots = rcu_dereference_protected(vm->mem.slots, true);
	unsigned int i;

	for (i = 0; i < slots->nr; i++)
		kvfree(slots->slot[i].dirty);
	kvfree(slots);
	cleanup_srcu_struct(&vm->mem.srcu);
}
