// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest linear addresses: the page walker's surroundings in the kernel. All
 * callers hold vm->mem.srcu, with the vCPU loaded.
 */
#include "labvisor.h"
#include "mmu/walk.h"

/* struct gva_walk - a walk, and where to note the way if that is wanted */
struct gva_walk {
	struct lv_walk w;
	struct lv_way *way;
};

int lv_walk_read_pte(struct lv_walk *w, gpa_t gpa, unsigned int size, u64 *pte)
{
	struct lv_way *way = container_of(w, struct gva_walk, w)->way;
	struct lv_vcpu *v = w->owner;
	int ret = lv_gpa_read_entry(v->vm, gpa, size, pte, v->atomic);

	if (unlikely(way) && !ret && way->nr < LV_WAY_LEVELS)
		way->entry[way->nr++] = (struct lv_way_entry){
			.at = lv_gpa_user(v->vm, gpa),
			.pte = *pte,
		};
	return ret;
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
 * lv_gva_walk - translate a guest linear address for an access at its CPL
 * @access: LV_ACCESS bits; 0 to translate without checks of permissions
 * @way: if there is one, the table entries that were read; empty at first
 * Return: 0; 1: the guest faults, see @fault; -EAGAIN: v->atomic, and a page
 * table is not resident; -EFAULT: a page table is outside of memory.
 */
int lv_gva_walk(struct lv_vcpu *v, gva_t gva, u32 access, gpa_t *gpa,
		struct lv_emul_fault *fault, struct lv_way *way)
{
	struct gva_walk walk = { .way = way };
	struct lv_walk *w = &walk.w;
	u32 pf = 0;
	int ret;

	walk_init(v, w);
	if (unlikely(!canonical(w, gva))) {
		*fault = (struct lv_emul_fault){ .vector = 13,
						 .has_error = true };
		return 1;
	}
	if (!access)
		w->smap = false;
	else if (lv_call(cpl)(v) == 3)
		pf |= LV_PF_USER;
	if (access & LV_ACCESS_WRITE)
		pf |= LV_PF_WRITE;
	if (access & LV_ACCESS_FETCH)
		pf |= LV_PF_FETCH;
	ret = lv_walk(w, gva, pf, gpa);
	if (unlikely(ret == LV_WALK_FAULT)) {
		*fault = (struct lv_emul_fault){ .vector = 14,
						 .has_error = true,
						 .error = w->error,
						 .cr2 = gva };
		return 1;
	}
	return ret;
}
