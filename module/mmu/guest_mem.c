// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory by physical address, through the launcher's mapping of it.
 *
 * The caller holds vm->mem.srcu and runs in the VM's mm. Slots were checked by
 * access_ok() when they were made.
 */
#include "../labvisor.h"

/*
 * Where @gpa is mapped, and by which slot. -EFAULT: nowhere; -EPERM: to be
 * written, but read-only.
 */
static __always_inline int gpa_slot(struct lv_vm *vm, gpa_t gpa, bool write,
				    const struct lv_slot **slot,
				    void __user **uptr)
{
	gfn_t gfn = gpa >> PAGE_SHIFT;

	*slot = lv_slot_find(lv_slots(vm), gfn);
	if (unlikely(!*slot))
		return -EFAULT;
	if (write && (*slot)->flags & KVM_MEM_READONLY)
		return -EPERM;
	*uptr = (void __user *)(lv_slot_hva(*slot, gfn) + offset_in_page(gpa));
	return 0;
}

static int copy_in_page(struct lv_vm *vm, gpa_t gpa, void *buf,
			unsigned int len, bool write, bool atomic)
{
	const struct lv_slot *slot;
	unsigned long left;
	void __user *uptr;
	int ret;

	ret = gpa_slot(vm, gpa, write, &slot, &uptr);
	if (ret)
		return ret;
	/* "inatomic" leaves to pagefault_disable() whether they sleep. */
	if (atomic)
		pagefault_disable();
	if (write)
		left = __copy_to_user_inatomic(uptr, buf, len);
	else
		left = __copy_from_user_inatomic(buf, uptr, len);
	if (atomic)
		pagefault_enable();
	if (write && left != len)
		lv_mark_dirty_gfn(slot, gpa >> PAGE_SHIFT);
	if (!left)
		return 0;
	return atomic ? -EAGAIN : -EFAULT;
}

static int copy(struct lv_vm *vm, gpa_t gpa, void *buf, unsigned int len,
		bool write, bool atomic)
{
	while (len) {
		unsigned int n = min_t(unsigned int, len,
				       PAGE_SIZE - offset_in_page(gpa));
		int ret = copy_in_page(vm, gpa, buf, n, write, atomic);

		if (ret)
			return ret;
		gpa += n;
		buf += n;
		len -= n;
	}
	return 0;
}

/*
 * lv_gpa_read - read guest memory; it may cross pages. -EFAULT: not memory, or
 * not accessible; -EAGAIN: @atomic, and not resident
 */
int lv_gpa_read(struct lv_vm *vm, gpa_t gpa, void *buf, unsigned int len,
		bool atomic)
{
	return copy(vm, gpa, buf, len, false, atomic);
}

/*
 * lv_gpa_write - write it; as lv_gpa_read(), or -EPERM: read-only. The first of
 * two pages may be written although the other one fails.
 */
int lv_gpa_write(struct lv_vm *vm, gpa_t gpa, const void *buf, unsigned int len,
		 bool atomic)
{
	return copy(vm, gpa, (void *)buf, len, true, atomic);
}

static int get_entry(void __user *uptr, unsigned int size, u64 *val)
{
	u32 __user *u = uptr;
	u32 val32;

	if (size == sizeof(u64))
		return __get_user(*val, (u64 __user *)uptr);
	if (__get_user(val32, u))
		return -EFAULT;
	*val = val32;
	return 0;
}

/** lv_gpa_user - where the launcher has it, or NULL */
void __user *lv_gpa_user(struct lv_vm *vm, gpa_t gpa)
{
	const struct lv_slot *slot;
	void __user *uptr;

	return gpa_slot(vm, gpa, false, &slot, &uptr) ? NULL : uptr;
}

/** lv_gpa_read_entry - read an aligned entry of 4 or 8 bytes in one piece */
int lv_gpa_read_entry(struct lv_vm *vm, gpa_t gpa, unsigned int size, u64 *val,
		      bool atomic)
{
	const struct lv_slot *slot;
	void __user *uptr;
	int ret;

	ret = gpa_slot(vm, gpa, false, &slot, &uptr);
	if (unlikely(ret))
		return ret;
	if (!atomic)
		return get_entry(uptr, size, val);
	pagefault_disable();
	ret = get_entry(uptr, size, val);
	pagefault_enable();
	return ret ? -EAGAIN : 0;
}

#define CMPXCHG_USER(type, uptr, old, new)                            \
	({                                                            \
		type *old_ = (old);                                   \
		type new_ = *(const type *)(new);                     \
                                                                      \
		__try_cmpxchg_user((type __user *)(uptr), old_, new_, \
				   fault_##type);                     \
	})

/* 0: stored; 1: there was something else, which is now in @old; or -EFAULT. */
static int cmpxchg_user(void __user *uptr, void *old, const void *new,
			unsigned int len)
{
	switch (len) {
	case 1:
		return CMPXCHG_USER(u8, uptr, old, new);
	case 2:
		return CMPXCHG_USER(u16, uptr, old, new);
	case 4:
		return CMPXCHG_USER(u32, uptr, old, new);
	case 8:
		return CMPXCHG_USER(u64, uptr, old, new);
	default:
		return -EINVAL;
	}
}

/*
 * lv_gpa_cmpxchg - compare and exchange 1, 2, 4 or 8 bytes
 * @gpa: where; aligned to @len, for a split lock would be fatal in the kernel
 * Return: 0: stored; 1: not stored, what is there is now in @old; -EINVAL: no
 * such @len, or not aligned; otherwise as lv_gpa_write().
 */
int lv_gpa_cmpxchg(struct lv_vm *vm, gpa_t gpa, void *old, const void *new,
		   unsigned int len, bool atomic)
{
	const struct lv_slot *slot;
	void __user *uptr;
	int ret;

	if (gpa & (len - 1))
		return -EINVAL;
	ret = gpa_slot(vm, gpa, true, &slot, &uptr);
	if (ret)
		return ret;
	if (atomic)
		pagefault_disable();
	ret = cmpxchg_user(uptr, old, new, len);
	if (atomic)
		pagefault_enable();
	if (!ret)
		lv_mark_dirty_gfn(slot, gpa >> PAGE_SHIFT);
	return atomic && ret == -EFAULT ? -EAGAIN : ret;
}
