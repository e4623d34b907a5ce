// SPDX-License-Identifier: GPL-2.0-only
/*
 * MSR filters: which MSRs a guest may access is up to user space.
 *
 * The backends intercept all MSRs of a VM that has a filter, so that exits are
 * the one place that has to ask it.
 */
#include "labvisor.h"

#define LV_FILTER_RANGE_FLAGS (KVM_MSR_FILTER_READ | KVM_MSR_FILTER_WRITE)
#define LV_FILTER_MAX_MSRS (KVM_MSR_FILTER_MAX_BITMAP_SIZE * BITS_PER_BYTE)

/* struct lv_msr_filter - never changes once it is published */
struct lv_msr_filter {
	bool deny; /* what no range covers */
	struct {
		u32 flags, base, nmsrs; /* unused if @nmsrs is 0 */
		unsigned long *bitmap; /* in @bits; 1: allowed */
	} range[KVM_MSR_FILTER_MAX_RANGES];
	unsigned long bits[];
};

/* While no VM has one, asking is free. */
DEFINE_STATIC_KEY_FALSE(lv_msr_filters);

/** lv_msr_allowed - may the guest access it, for all that user space said? */
bool lv_msr_allowed(struct lv_vcpu *v, u32 msr, bool write)
{
	u32 nr, flag = write ? KVM_MSR_FILTER_WRITE : KVM_MSR_FILTER_READ;
	const struct lv_msr_filter *filter;
	bool allowed = true;
	unsigned int i;

	/* Interrupts are not to be filtered. */
	if (msr - LV_X2APIC_MSR <= 0xff)
		return true;
	rcu_read_lock();
	filter = rcu_dereference(v->vm->msr_filter);
	for (i = 0; filter && i < ARRAY_SIZE(filter->range); i++) {
		nr = msr - filter->range[i].base;
		if (filter->range[i].flags & flag &&
		    nr < filter->range[i].nmsrs)
			break;
	}
	if (filter && i == ARRAY_SIZE(filter->range))
		allowed = !filter->deny;
	else if (filter)
		allowed =
			test_bit(array_index_nospec(nr, filter->range[i].nmsrs),
				 filter->range[i].bitmap);
	rcu_read_unlock();
	return allowed;
}

/* Check the arguments, and count the words of all bitmaps. */
static long lv_filter_words(const struct kvm_msr_filter *in)
{
	unsigned int i;
	long words = 0;

	if (in->flags & ~KVM_MSR_FILTER_DEFAULT_DENY)
		return -EINVAL;
	for (i = 0; i < ARRAY_SIZE(in->ranges); i++) {
		if (in->ranges[i].nmsrs > LV_FILTER_MAX_MSRS ||
		    in->ranges[i].flags & ~LV_FILTER_RANGE_FLAGS)
			return -EINVAL;
		words += BITS_TO_LONGS(in->ranges[i].nmsrs);
	}
	return !words && in->flags ? -EINVAL : words;
}

static struct lv_msr_filter *lv_filter_new(const struct kvm_msr_filter *in)
{
	long words = lv_filter_words(in);
	struct lv_msr_filter *filter;
	unsigned long *bits;
	unsigned int i;

	if (words <= 0)
		return ERR_PTR(words); /* none: NULL */
	filter = kvzalloc(struct_size(filter, bits, words), GFP_KERNEL_ACCOUNT);
	if (!filter)
		return ERR_PTR(-ENOMEM);
	filter->deny = in->flags;
	bits = filter->bits;
	for (i = 0; i < ARRAY_SIZE(in->ranges); i++) {
		const struct kvm_msr_filter_range *range = &in->ranges[i];

		filter->range[i].flags = range->flags;
		filter->range[i].base = range->base;
		filter->range[i].nmsrs = range->nmsrs;
		filter->range[i].bitmap = bits;
		if (copy_from_user(bits, (void __user *)range->bitmap,
				   DIV_ROUND_UP(range->nmsrs, BITS_PER_BYTE))) {
			kvfree(filter);
			return ERR_PTR(-EFAULT);
		}
		bits += BITS_TO_LONGS(range->nmsrs);
	}
	return filter;
}

static void lv_filter_free(struct lv_msr_filter *filter)
{
	if (!filter)
		return;
	static_branch_dec(&lv_msr_filters);
	kvfree(filter);
}

/** lv_msr_filter_free - the VM goes, and no vCPU runs any more */
void lv_msr_filter_free(struct lv_vm *vm)
{
	lv_filter_free(rcu_dereference_protected(vm->msr_filter, true));
}

LV_IOCTL(set_msr_filter)
{
	struct lv_msr_filter *filter = lv_filter_new(data);

	if (IS_ERR(filter))
		return PTR_ERR(filter);
	if (filter)
		static_branch_inc(&lv_msr_filters);
	filter = rcu_replace_pointer(vm->msr_filter, filter,
				     lockdep_is_held(&vm->lock));
	/* No vCPU runs by the old one when user space goes on. */
	lv_request_all(vm, LV_REQ_INTERCEPTS, true);
	if (filter)
		synchronize_rcu();
	lv_filter_free(filter);
	return 0;
}
