// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest linear addresses: the page walker's surroundings in the kernel. All
 * callers hold vm->mem.srcu, with the vCPU loaded.
 */
#include "labvisor.h"
#include "mmu/walk.h"

int lv_walk_read_pte(struct lv_walk *w, gpa_t gpa, unsigned int size, u64 *pte)
{
	struct lv_vcpu *v = w->owner;

	return lv_gpa_read_entry(v->vm, gpa, size, pte, v->atomic);
}

int lv_walk_update_pte(struct lv_walk *w, gpa_t gpa, unsigned int size, u64 old,
		       u64 new)
{
	struct lv_vcpu *v = w->owner;
	int ret;

	/* x86 is little-endian: 4 bytes of a u64 are a u32. */
	ret = lv_gpa_cmpxchg(v->vm, gpa, &old, &new, size, v->atomic);
	/* Page tables in ROM stay as they are. */
	return ret == -EPERM ? 0 : ret;
}

static u8 paging_levels(const struct lv_vcpu *v)
{
	if (!(v->cr0 & X86_CR0_PG))
		return 0;
	if (v->efer & EFER_LMA)
		return v->cr4 & X86_CR4_LA57 ? 5 : 4;
	return v->cr4 & X86_CR4_PAE ? 3 : 2;
}

/*
 * Under nested paging the CPU walks the guest's tables itself, by the host's
 * widths and features, whatever CPUID tells the guest. So does this.
 */
static void walk_init(struct lv_vcpu *v, struct lv_walk *w)
{
	static const u64 root_mask[] = { [2] = GENMASK_ULL(31, 12),
					 [3] = GENMASK_ULL(31, 5),
					 [4 ... 5] = GENMASK_ULL(51, 12) };

	w->owner = v;
	w->levels = paging_levels(v);
	w->root = lv_cr3(v) & root_mask[w->levels];
	w->phys_bits = boot_cpu_data.x86_phys_bits;
	w->pse = v->cr4 & X86_CR4_PSE;
	w->gbpages = boot_cpu_has(X86_FEATURE_GBPAGES);
	w->wp = v->cr0 & X86_CR0_WP;
	w->nx = v->efer & EFER_NX && w->levels > 2;
	w->smep = v->cr4 & X86_CR4_SMEP;
	w->smap = v->cr4 & X86_CR4_SMAP && !(lv_rflags(v) & X86_EFLAGS_AC);
}

static bool canonical(const struct lv_walk *w, gva_t gva)
{
	unsigned int unused = w->levels == 5 ? 64 - 57 : 64 - 48;

	return w->levels < 4 || (s64)(gva << unused) >> unused == (s64)gva;
}

/*
 * lv_gva_to_gpa - translate a guest linear address for an access at its CPL
 * @access: LV_ACCESS bits; 0 to translate without checks of permissions
 * Return: 0; 1: the guest faults, see @fault; -EAGAIN: v->atomic, and a page
 * table is not resident; -EFAULT: a page table is outside of memory.
 */
int lv_gva_to_gpa(struct lv_vcpu *v, gva_t gva, u32 access, gpa_t *gpa,
		  struct lv_emul_fault *fault)
{
	struct lv_walk w;
	u32 pf = 0;
	int ret;

	walk_init(v, &w);
	if (unlikely(!canonical(&w, gva))) {
		*fault = (struct lv_emul_fault){ .vector = 13,
						 .has_error = true };
		return 1;
	}
	if (!access)
		w.smap = false;
	else if (lv_call(cpl)(v) == 3)
		pf |= LV_PF_USER;
	if (access & LV_ACCESS_WRITE)
		pf |= LV_PF_WRITE;
	if (access & LV_ACCESS_FETCH)
		pf |= LV_PF_FETCH;
	ret = lv_walk(&w, gva, pf, gpa);
	if (unlikely(ret == LV_WALK_FAULT)) {
		*fault = (struct lv_emul_fault){ .vector = 14,
						 .has_error = true,
						 .error = w.error,
						 .cr2 = gva };
		return 1;
	}
	return ret;
}

static __always_inline gva_t linear_rip(struct lv_vcpu *v)
{
	struct kvm_segment cs;

	lv_call(get_segment)(v, LV_SREG_CS, &cs);
	if (v->efer & EFER_LMA && cs.l)
		return lv_rip(v);
	return (u32)(cs.base + lv_rip(v));
}

/** lv_linear_rip - the linear address of the next instruction */
gva_t lv_linear_rip(struct lv_vcpu *v)
{
	return linear_rip(v);
}

/* Remember where RIP's page is, for lv_insn_is(). */
static void remember_page(struct lv_vcpu *v, gva_t gva, gpa_t gpa)
{
	struct lv_slots *slots = lv_slots(v->vm);
	const struct lv_slot *slot = lv_slot_find(slots, gpa >> PAGE_SHIFT);

	if (!slot || offset_in_page(gva) != offset_in_page(lv_rip(v)))
		return;
	v->insn.slots_generation = slots->generation;
	v->insn.page = lv_rip(v) >> PAGE_SHIFT;
	v->insn.hva = lv_slot_hva(slot, gpa >> PAGE_SHIFT);
}

/*
 * lv_insn_is - does the instruction at RIP begin with these bytes, at most 4?
 *
 * A cheap question that may be answered by "no" or "do not know" alike: it
 * reads the bytes where lv_fetch_insn() found RIP's page last. The guest may
 * have remapped the page since; that it then still finds these bytes there,
 * while the CPU executed another encoding of the same instruction, is left to
 * guests that want to confuse themselves.
 */
bool lv_insn_is(struct lv_vcpu *v, const u8 *bytes, unsigned int len)
{
	u64 rip = lv_rip(v);
	u32 seen, want = 0;
	int err;

	if (unlikely(v->insn.page != rip >> PAGE_SHIFT ||
		     v->insn.slots_generation != lv_slots(v->vm)->generation ||
		     offset_in_page(rip) > PAGE_SIZE - sizeof(seen)))
		return false;
	pagefault_disable();
	err = __get_user(seen,
			 (u32 __user *)(v->insn.hva + offset_in_page(rip)));
	pagefault_enable();
	memcpy(&want, bytes, len);
	return !err && !((seen ^ want) & GENMASK(8 * len - 1, 0));
}

/*
 * lv_fetch_insn - read the bytes at CS:RIP, at most 15
 * Return: number of bytes, at least 1. It is less than @max if the next page
 * cannot be read, with v->atomic maybe only because it is not resident.
 * -EAGAIN: v->atomic, and nothing is resident; -EFAULT: nothing can be read.
 */
int lv_fetch_insn(struct lv_vcpu *v, u8 *buf, unsigned int max)
{
	gva_t gva = linear_rip(v);
	struct lv_emul_fault fault;
	unsigned int done, n;
	int ret = 0;
	gpa_t gpa;

	for (done = 0; done < max; done += n) {
		n = min_t(unsigned int, max - done,
			  PAGE_SIZE - offset_in_page(gva + done));
		ret = lv_gva_to_gpa(v, gva + done, LV_ACCESS_FETCH, &gpa,
				    &fault);
		if (!ret)
			ret = lv_gpa_read(v->vm, gpa, buf + done, n, v->atomic);
		if (ret)
			break;
		if (!done)
			remember_page(v, gva, gpa);
	}
	if (done)
		return done;
	return ret == -EAGAIN ? -EAGAIN : -EFAULT;
}
