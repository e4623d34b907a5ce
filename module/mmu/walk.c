// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest page walker: 32-bit, PAE and long-mode paging.
 *
 * AMD APM vol. 2, "Page Translation and Protection", and Intel SDM vol. 3,
 * "Paging".
 */
#include "walk.h"

#define PTE_P BIT(0)
#define PTE_W BIT(1)
#define PTE_U BIT(2)
#define PTE_A BIT(5)
#define PTE_D BIT(6)
#define PTE_PS BIT(7)
#define PTE_NX BIT_ULL(63)
#define PTE_ADDR GENMASK_ULL(51, 12)

#define MAX_LEVELS 5

/* struct path - the entries that a walk used */
struct path {
	gpa_t gpa[MAX_LEVELS + 1]; /* where they are, by level */
	u64 pte[MAX_LEVELS + 1]; /* what they are, by level */
	u64 all; /* bits that all of them have */
	u64 any; /* bits that one of them has */
	int leaf; /* level of the last one */
	unsigned int shift; /* log2 of the page's size */
};

static int fault(struct lv_walk *w, u32 access, u32 bits)
{
	u32 reported = LV_PF_WRITE | LV_PF_USER;

	if (w->nx || w->smep)
		reported |= LV_PF_FETCH;
	w->error = (access & reported) | bits;
	return LV_WALK_FAULT;
}

/* Bits that must be 0 in any entry of 8 bytes. */
static u64 reserved_bits(const struct lv_walk *w)
{
	u64 bits = BIT_ULL(52) - BIT_ULL(w->phys_bits);

	if (w->levels == 3)
		bits |= GENMASK_ULL(62, 52);
	if (!w->nx)
		bits |= PTE_NX;
	return bits;
}

/* Bits that must be 0 in a leaf above level 1; all, if there can be none. */
static u64 reserved_in_large(const struct lv_walk *w, int level)
{
	if (w->levels == 2) {
		unsigned int high = min_t(unsigned int, w->phys_bits, 40) - 32;

		/* Bits 13 to 20 are bits 32 to 39 of the address (PSE-36). */
		return BIT(22) - BIT(13 + high);
	}
	if (level == 2)
		return GENMASK_ULL(20, 13);
	if (level == 3 && w->gbpages)
		return GENMASK_ULL(29, 13);
	return PTE_PS;
}

/*
 * What the entry of a PAE page-directory-pointer table may not have. Bit 5 is
 * reserved as well, but QEMU sets it as if it were the accessed bit.
 */
#define PDPTE_RESERVED (GENMASK_ULL(8, 6) | GENMASK_ULL(2, 1) | PTE_NX)

static bool is_pdpte(const struct lv_walk *w, int level)
{
	return level == 3 && w->levels == 3;
}

static bool is_leaf(const struct lv_walk *w, u64 pte, int level)
{
	return level == 1 || (pte & PTE_PS && (w->levels > 2 || w->pse));
}

/* Go down to the leaf; note the way and what it permits. */
static int descend(struct lv_walk *w, gva_t gva, u32 access, struct path *path)
{
	unsigned int bits = w->levels == 2 ? 10 : 9;
	unsigned int size = w->levels == 2 ? 4 : 8;
	u64 reserved = reserved_bits(w), pte;
	gpa_t table = w->root;
	int level, ret;

	path->shift = 12 + bits * w->levels;
	for (level = w->levels;; level--) {
		path->shift -= bits;
		path->gpa[level] =
			table + (gva >> path->shift & (BIT(bits) - 1)) * size;
		ret = lv_walk_read_pte(w, path->gpa[level], size, &pte);
		if (unlikely(ret))
			return ret;
		path->pte[level] = pte;
		if (unlikely(!(pte & PTE_P)))
			return fault(w, access, 0);
		if (unlikely(is_pdpte(w, level))) {
			if (pte & (reserved | PDPTE_RESERVED))
				break;
			pte |= PTE_W | PTE_U | PTE_A;
		} else if (unlikely(pte & reserved)) {
			break;
		}
		path->all &= pte;
		path->any |= pte;
		if (is_leaf(w, pte, level)) {
			path->leaf = level;
			if (level > 1 && pte & reserved_in_large(w, level))
				break;
			return 0;
		}
		table = pte & PTE_ADDR;
	}
	return fault(w, access, LV_PF_PRESENT | LV_PF_RESERVED);
}

static bool permitted(const struct lv_walk *w, const struct path *path,
		      u32 access)
{
	bool user_page = path->all & PTE_U;
	bool user = access & LV_PF_USER;

	if (user && !user_page)
		return false;
	if (access & LV_PF_WRITE && !(path->all & PTE_W) && (user || w->wp))
		return false;
	if (access & LV_PF_FETCH) {
		if (path->any & PTE_NX) /* reserved, and 0, if NX is off */
			return false;
		return user || !user_page || !w->smep;
	}
	return user || !user_page || !w->smap;
}

/*
 * Set the accessed bits on the way, and the dirty bit of the leaf for a write.
 * 1: the guest changed an entry meanwhile.
 */
static int set_accessed(struct lv_walk *w, const struct path *path, bool write)
{
	unsigned int size = w->levels == 2 ? 4 : 8;
	int level, ret;

	for (level = w->levels; level >= path->leaf; level--) {
		u64 old = path->pte[level], new = old | PTE_A;

		if (is_pdpte(w, level))
			continue;
		if (level == path->leaf && write)
			new |= PTE_D;
		if (new == old)
			continue;
		ret = lv_walk_update_pte(w, path->gpa[level], size, old, new);
		if (ret)
			return ret;
	}
	return 0;
}

static gpa_t leaf_address(const struct lv_walk *w, const struct path *path,
			  gva_t gva)
{
	u64 offset = BIT_ULL(path->shift) - 1;
	u64 pte = path->pte[path->leaf];
	gpa_t gpa = pte & PTE_ADDR & ~offset;

	if (w->levels == 2 && path->leaf == 2)
		gpa |= (pte & GENMASK_ULL(20, 13)) << (32 - 13);
	return gpa | (gva & offset);
}

/*
 * lv_walk - translate a guest virtual address, canonical in long mode, for an
 * access of LV_PF_WRITE, LV_PF_USER, LV_PF_FETCH. Sets accessed and dirty bits
 * as the access itself would. @w->smap is for data accesses by the supervisor.
 *
 * Return: 0; LV_WALK_FAULT: the guest gets a page fault with @w->error; or
 * what a hook failed with.
 */
int lv_walk(struct lv_walk *w, gva_t gva, u32 access, gpa_t *gpa)
{
	bool write = access & LV_PF_WRITE;
	struct path path;
	int ret;

	if (w->levels < 4)
		gva = (u32)gva;
	if (!w->levels) {
		*gpa = gva;
		return 0;
	}
	do {
		path.all = ~0ULL;
		path.any = 0;
		ret = descend(w, gva, access, &path);
		if (unlikely(ret))
			return ret;
		if (unlikely(!permitted(w, &path, access)))
			return fault(w, access, LV_PF_PRESENT);
		if (unlikely(!(path.all & PTE_A) ||
			     (write && !(path.pte[path.leaf] & PTE_D))))
			ret = set_accessed(w, &path, write);
	} while (unlikely(ret > 0));
	if (ret)
		return ret;
	*gpa = leaf_address(w, &path, gva);
	return 0;
}
