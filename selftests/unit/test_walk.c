// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest page walker: every permission, every reserved bit, every level, in
 * 32-bit, PAE and long mode.
 */
#include "mmu/walk.h"
#include "tap.h"

#define P 1ULL
#define W 2ULL
#define U 4ULL
#define A 0x20ULL
#define D 0x40ULL
#define PS 0x80ULL
#define NX (1ULL << 63)

/* Tables for level n are at n pages; what they map is anywhere. */
static u8 memory[8 * 4096];
static unsigned int reads, updates;
static int read_error, read_error_level;
static void (*before_update)(void);

int lv_walk_read_pte(struct lv_walk *w, gpa_t gpa, unsigned int size, u64 *pte)
{
	reads++;
	if (read_error && gpa / 4096 == (u64)read_error_level)
		return read_error;
	if (gpa % size || gpa + size > sizeof(memory) ||
	    size != (w->levels == 2 ? 4 : 8))
		return -EFAULT;
	*pte = 0;
	memcpy(pte, memory + gpa, size);
	return 0;
}

int lv_walk_update_pte(struct lv_walk *w, gpa_t gpa, unsigned int size, u64 old,
		       u64 new)
{
	u64 now = 0;

	(void)w;
	updates++;
	if (before_update)
		before_update();
	memcpy(&now, memory + gpa, size);
	if (now != old)
		return 1;
	memcpy(memory + gpa, &new, size);
	return 0;
}

/* An address whose index differs on each level. */
#define GVA_LONG 0x0000123456789abcULL
#define GVA_32 0x89abcdefULL

static gva_t gva_of(const struct lv_walk *w)
{
	return w->levels > 3 ? GVA_LONG : GVA_32;
}

static u64 index_of(const struct lv_walk *w, int level)
{
	gva_t gva = gva_of(w);

	switch (w->levels * 10 + level) {
	case 22:
		return gva >> 22;
	case 21:
		return gva >> 12 & 0x3ff;
	case 33:
		return gva >> 30;
	case 55:
		return gva >> 48 & 0x1ff;
	default:
		return gva >> (3 + 9 * level) & 0x1ff;
	}
}

static void set_entry(const struct lv_walk *w, int level, u64 pte)
{
	unsigned int size = w->levels == 2 ? 4 : 8;

	memcpy(memory + level * 4096 + index_of(w, level) * size, &pte, size);
}

static u64 entry(const struct lv_walk *w, int level)
{
	unsigned int size = w->levels == 2 ? 4 : 8;
	u64 pte = 0;

	memcpy(&pte, memory + level * 4096 + index_of(w, level) * size, size);
	return pte;
}

static bool is_pdpte(const struct lv_walk *w, int level)
{
	return w->levels == 3 && level == 3;
}

#define FRAME 0x23456000ULL

/* A walk with everything permitted, that ends on level @leaf at FRAME. */
static struct lv_walk setup(int levels, int leaf)
{
	struct lv_walk w = {
		.root = levels * 4096,
		.levels = levels,
		.phys_bits = 40,
		.pse = levels == 2,
		.gbpages = true,
		.wp = true,
		.nx = levels > 2,
	};

	memset(memory, 0, sizeof(memory));
	for (int level = levels; level >= leaf; level--) {
		u64 pte = P | W | U;

		if (is_pdpte(&w, level))
			pte = P;
		if (level == leaf) {
			unsigned int shift = levels == 2 ? 2 + 10 * level
							 : 3 + 9 * level;

			pte |= FRAME >> shift << shift;
			pte |= level > 1 ? PS : 0;
		} else {
			pte |= (level - 1) * 4096;
		}
		set_entry(&w, level, pte);
	}
	reads = 0;
	updates = 0;
	read_error = 0;
	before_update = NULL;
	return w;
}

static const char *const mode_name[] = { "off", "",	   "32-bit",
					 "PAE", "4-level", "5-level" };

/* ---- where it ends ---- */

static void test_addresses(void)
{
	static const struct {
		int levels, leaf;
		gpa_t gpa;
	} cases[] = {
		{ 2, 1, 0x23456def }, { 2, 2, 0x236bcdef },
		{ 3, 1, 0x23456def }, { 3, 2, 0x234bcdef },
		{ 4, 1, 0x23456abc }, { 4, 2, 0x23589abc },
		{ 4, 3, 0x16789abc }, { 5, 1, 0x23456abc },
		{ 5, 3, 0x16789abc },
	};
	struct lv_walk w = { .levels = 0 };
	gpa_t gpa = 0;

	is(lv_walk(&w, 0x123456789ULL, LV_PF_WRITE, &gpa), 0, "paging off");
	is(gpa, 0x23456789, "paging off: the low 32 bits");
	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *mode = mode_name[cases[i].levels];

		w = setup(cases[i].levels, cases[i].leaf);
		is(lv_walk(&w, gva_of(&w), 0, &gpa), 0, "%s, leaf on level %d",
		   mode, cases[i].leaf);
		is(gpa, cases[i].gpa, "%s, level %d: address", mode,
		   cases[i].leaf);
		is(reads, cases[i].levels - cases[i].leaf + 1,
		   "%s, level %d: entries read", mode, cases[i].leaf);
	}
	for (int levels = 2; levels <= 3; levels++) {
		w = setup(levels, 1);
		gpa = 0;
		lv_walk(&w, 0xabcd00000000ULL | GVA_32, 0, &gpa);
		is(gpa, 0x23456def, "%s ignores the upper half of an address",
		   mode_name[levels]);
	}
	w = setup(3, 1);
	w.root |= 0x20;
	memcpy(memory + 3 * 4096 + 0x20, memory + 3 * 4096, 32);
	memset(memory + 3 * 4096, 0, 32);
	is(lv_walk(&w, GVA_32, 0, &gpa), 0,
	   "PAE root need not be page-aligned");
}

static void test_pse(void)
{
	struct lv_walk w = setup(2, 2);
	gpa_t gpa = 0;

	set_entry(&w, 2, 0x23400000 | 0xa5 << 13 | PS | P);
	is(lv_walk(&w, GVA_32, 0, &gpa), 0, "PSE-36");
	is(gpa, 0xa5236bcdefULL, "PSE-36: address bits 32 to 39");
	w.phys_bits = 39;
	is(lv_walk(&w, GVA_32, 0, &gpa), LV_WALK_FAULT,
	   "PSE-36: beyond the physical address width");
	set_entry(&w, 2, 0x23400000 | 0x25 << 13 | PS | P);
	is(lv_walk(&w, GVA_32, 0, &gpa), 0, "PSE-36: within it");

	w = setup(2, 1);
	w.pse = false;
	set_entry(&w, 2, 1 * 4096 | PS | P | W | U);
	is(lv_walk(&w, GVA_32, 0, &gpa), 0, "PS is ignored without CR4.PSE");
	is(gpa, 0x23456def, "PS ignored: small page");
}

/* ---- permissions ---- */

struct page_rights {
	bool u, w, nx;
};

/* The manuals' tables, case by case. */
static bool allowed(const struct lv_walk *w, struct page_rights r, u32 access)
{
	bool executable = !(w->nx && r.nx);

	switch (access) {
	case LV_PF_USER:
		return r.u;
	case LV_PF_USER | LV_PF_WRITE:
		return r.u && r.w;
	case LV_PF_USER | LV_PF_FETCH:
		return r.u && executable;
	case 0:
		return r.u ? !w->smap : true;
	case LV_PF_WRITE:
		if (r.u && w->smap)
			return false;
		return w->wp ? r.w : true;
	case LV_PF_FETCH:
		if (r.u && w->smep)
			return false;
		return executable;
	}
	abort();
}

static u32 expected_error(const struct lv_walk *w, u32 access, u32 bits)
{
	u32 error = bits;

	if (access & LV_PF_WRITE)
		error |= 2;
	if (access & LV_PF_USER)
		error |= 4;
	if (access & LV_PF_FETCH && (w->nx || w->smep))
		error |= 16;
	return error;
}

static const u32 accesses[] = {
	0,
	LV_PF_WRITE,
	LV_PF_FETCH,
	LV_PF_USER,
	LV_PF_USER | LV_PF_WRITE,
	LV_PF_USER | LV_PF_FETCH,
};

/* One combination of entries and control bits; all accesses to it. */
static unsigned int check_rights(int levels, int leaf, unsigned int controls,
				 const u8 *bits)
{
	struct lv_walk w = setup(levels, leaf);
	struct page_rights r = { .u = true, .w = true };
	unsigned int wrong = 0;
	gpa_t gpa;

	w.wp = controls & 1;
	w.smep = controls & 2;
	w.smap = controls & 4;
	w.nx = controls & 8 && levels > 2;
	for (int level = levels; level >= leaf; level--) {
		u64 pte = entry(&w, level) & ~(U | W);

		if (is_pdpte(&w, level))
			continue;
		pte |= (bits[level] & 1 ? U : 0) | (bits[level] & 2 ? W : 0);
		if (w.nx && bits[level] & 4)
			pte |= NX;
		r.u &= !!(pte & U);
		r.w &= !!(pte & W);
		r.nx |= !!(pte & NX);
		set_entry(&w, level, pte);
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(accesses); i++) {
		int ret = lv_walk(&w, gva_of(&w), accesses[i], &gpa);
		u32 error = expected_error(&w, accesses[i], 1);

		if (allowed(&w, r, accesses[i]))
			wrong += ret != 0;
		else
			wrong += ret != LV_WALK_FAULT || w.error != error;
	}
	return wrong;
}

static void test_permissions(int levels, int leaf)
{
	unsigned int wrong = 0, count = 0;
	int tables = levels - leaf + 1;

	for (unsigned int controls = 0; controls < 16; controls++) {
		for (unsigned int i = 0; i < 1U << (3 * tables); i++) {
			u8 bits[6] = {};

			for (int n = 0; n < tables; n++)
				bits[leaf + n] = i >> (3 * n) & 7;
			wrong += check_rights(levels, leaf, controls, bits);
			count++;
		}
	}
	is(wrong, 0, "%s, leaf on level %d: permissions of %u combinations",
	   mode_name[levels], leaf, count);
}

/* ---- entries that must not be ---- */

static void test_not_present(int levels)
{
	for (int level = levels; level >= 1; level--) {
		struct lv_walk w = setup(levels, 1);
		gpa_t gpa;
		int ret;

		w.nx = false;
		w.smep = true;
		set_entry(&w, level, ~P);
		ret = lv_walk(&w, gva_of(&w), LV_PF_USER | LV_PF_WRITE, &gpa);
		is(ret, LV_WALK_FAULT, "%s: nothing on level %d",
		   mode_name[levels], level);
		is(w.error, 6, "%s, level %d: error code", mode_name[levels],
		   level);
		is(updates, 0, "%s, level %d: no accessed bits set",
		   mode_name[levels], level);
		lv_walk(&w, gva_of(&w), LV_PF_FETCH, &gpa);
		is(w.error, 16, "%s, level %d: error code of a fetch",
		   mode_name[levels], level);
	}
}

/* Set each bit that was 0: it faults exactly if @reserved has it. */
static void check_reserved(struct lv_walk w, int level, u64 reserved,
			   const char *what)
{
	u64 good = entry(&w, level), bad = 0, tried = 0;
	unsigned int bits = w.levels == 2 ? 32 : 64;
	u32 wrong_errors = 0;
	gpa_t gpa;

	for (unsigned int bit = 0; bit < bits; bit++) {
		u64 pte = good ^ (1ULL << bit);

		/* A different way is not the point here. */
		if (good & ~pte || (level > 1 && pte & PS && !(good & PS)))
			continue;
		tried |= 1ULL << bit;
		set_entry(&w, level, pte);
		w.error = 0;
		if (lv_walk(&w, gva_of(&w), LV_PF_WRITE, &gpa) !=
			    LV_WALK_FAULT ||
		    !(w.error & LV_PF_RESERVED))
			continue;
		bad |= 1ULL << bit;
		wrong_errors += w.error != 0xb;
	}
	is(bad, reserved & tried, "%s, %s, level %d: reserved bits",
	   mode_name[w.levels], what, level);
	is(wrong_errors, 0, "%s, %s, level %d: error code", mode_name[w.levels],
	   what, level);
	set_entry(&w, level, good);
}

#define BITS(high, low) (~0ULL << (low) & ~0ULL >> (63 - (high)))

static void test_reserved(void)
{
	struct lv_walk w;

	w = setup(4, 1);
	check_reserved(w, 4, BITS(51, 40), "40 bits");
	check_reserved(w, 3, BITS(51, 40), "40 bits");
	check_reserved(w, 2, BITS(51, 40), "40 bits");
	check_reserved(w, 1, BITS(51, 40), "40 bits");
	w.nx = false;
	check_reserved(w, 4, BITS(51, 40) | NX, "no NX");
	check_reserved(w, 1, BITS(51, 40) | NX, "no NX");
	w.phys_bits = 52;
	check_reserved(w, 1, NX, "no NX, 52 bits");
	w = setup(4, 2);
	check_reserved(w, 2, BITS(51, 40) | BITS(20, 13), "2 MiB");
	w = setup(4, 3);
	check_reserved(w, 3, BITS(51, 40) | BITS(29, 13), "1 GiB");

	w = setup(3, 1);
	check_reserved(w, 3, BITS(63, 40) | BITS(8, 6) | BITS(2, 1), "PDPTE");
	check_reserved(w, 2, BITS(62, 40), "table");
	check_reserved(w, 1, BITS(62, 40), "4 KiB");
	w.nx = false;
	check_reserved(w, 1, BITS(63, 40), "no NX");
	w = setup(3, 2);
	check_reserved(w, 2, BITS(62, 40) | BITS(20, 13), "2 MiB");

	w = setup(2, 1);
	check_reserved(w, 2, 0, "table");
	check_reserved(w, 1, 0, "4 KiB");
	w = setup(2, 2);
	check_reserved(w, 2, BITS(21, 21), "4 MiB, 40 bits");
	w.phys_bits = 46;
	check_reserved(w, 2, BITS(21, 21), "4 MiB, 46 bits");
	w.phys_bits = 36;
	check_reserved(w, 2, BITS(21, 17), "4 MiB, 36 bits");
}

/* Large pages where there are none. */
static void test_no_large(void)
{
	static const struct {
		int levels, level;
	} cases[] = { { 4, 4 }, { 5, 5 }, { 5, 4 }, { 4, 3 }, { 3, 3 } };
	gpa_t gpa;

	for (unsigned int i = 0; i < ARRAY_SIZE(cases); i++) {
		struct lv_walk w = setup(cases[i].levels, 1);
		int level = cases[i].level;
		int ret;

		w.gbpages = false;
		set_entry(&w, level, P | W | U | PS);
		ret = lv_walk(&w, gva_of(&w), 0, &gpa);
		ok(ret == LV_WALK_FAULT && w.error == 9,
		   "%s: no large page on level %d", mode_name[w.levels], level);
	}
}

/* ---- accessed and dirty ---- */

static u64 changed(const struct lv_walk *w, int level, struct lv_walk *again,
		   int leaf)
{
	u64 now = entry(w, level), before;
	u8 saved[sizeof(memory)];

	memcpy(saved, memory, sizeof(memory));
	*again = setup(w->levels, leaf);
	before = entry(again, level);
	memcpy(memory, saved, sizeof(memory));
	return now ^ before;
}

static void check_accessed(int levels, int leaf, u32 access, u64 at_leaf)
{
	struct lv_walk w = setup(levels, leaf), again;
	gpa_t gpa;

	lv_walk(&w, gva_of(&w), access, &gpa);
	for (int level = levels; level >= leaf; level--) {
		u64 want = level == leaf ? at_leaf : A;

		if (is_pdpte(&w, level))
			want = 0;
		is(changed(&w, level, &again, leaf), want,
		   "%s, leaf on level %d, access %u: bits set on level %d",
		   mode_name[levels], leaf, access, level);
	}
	updates = 0;
	lv_walk(&w, gva_of(&w), access, &gpa);
	is(updates, 0, "%s, level %d, access %u: not set twice",
	   mode_name[levels], leaf, access);
}

static void test_accessed(void)
{
	static const int leaves[][2] = {
		{ 2, 1 }, { 2, 2 }, { 3, 1 }, { 3, 2 },
		{ 4, 1 }, { 4, 2 }, { 4, 3 }, { 5, 1 }
	};
	struct lv_walk w, again;
	gpa_t gpa;

	for (unsigned int i = 0; i < ARRAY_SIZE(leaves); i++) {
		check_accessed(leaves[i][0], leaves[i][1], 0, A);
		check_accessed(leaves[i][0], leaves[i][1], LV_PF_WRITE, A | D);
	}
	w = setup(4, 1);
	lv_walk(&w, GVA_LONG, 0, &gpa);
	updates = 0;
	lv_walk(&w, GVA_LONG, LV_PF_WRITE, &gpa);
	is(updates, 1, "a write after a read only sets the dirty bit");
	is(changed(&w, 1, &again, 1), A | D, "it is set");

	w = setup(4, 1);
	set_entry(&w, 1, entry(&w, 1) & ~W);
	lv_walk(&w, GVA_LONG, LV_PF_WRITE, &gpa);
	is(updates, 0, "nothing is set for an access that is refused");
}

/* The guest changes entries while the walker looks at them. */
static void unmap_page(void)
{
	struct lv_walk w = { .levels = 4 };

	set_entry(&w, 1, 0);
	before_update = NULL;
}

static void remap_page(void)
{
	struct lv_walk w = { .levels = 4 };

	set_entry(&w, 1, 0x77000 | P | W | U);
	before_update = NULL;
}

static void test_races(void)
{
	struct lv_walk w = setup(4, 1), again;
	gpa_t gpa = 0;

	before_update = unmap_page;
	set_entry(&w, 4, entry(&w, 4) | A);
	set_entry(&w, 3, entry(&w, 3) | A);
	set_entry(&w, 2, entry(&w, 2) | A);
	is(lv_walk(&w, GVA_LONG, LV_PF_WRITE, &gpa), LV_WALK_FAULT,
	   "the page vanishes before its dirty bit is set");
	is(w.error, 2, "then it is not present");
	is(entry(&w, 1), 0, "and its entry stays 0");

	w = setup(4, 1);
	before_update = remap_page;
	is(lv_walk(&w, GVA_LONG, LV_PF_WRITE, &gpa), 0,
	   "the page moves before its dirty bit is set");
	is(gpa, 0x77abc, "then the walk finds the new one");
	is(entry(&w, 1), 0x77000 | P | W | U | A | D, "and marks that");
	is(changed(&w, 4, &again, 1), A, "tables are marked, too");
}

static void test_errors(void)
{
	for (int level = 4; level >= 1; level--) {
		struct lv_walk w = setup(4, 1);
		gpa_t gpa = 1;

		read_error = level % 2 ? -EAGAIN : -EFAULT;
		read_error_level = level;
		ok(lv_walk(&w, GVA_LONG, 0, &gpa) == read_error,
		   "an error of the hook on level %d ends the walk", level);
		ok(gpa == 1 && !updates, "level %d: without a result", level);
	}
}

int main(void)
{
	test_addresses();
	test_pse();
	test_permissions(2, 1);
	test_permissions(2, 2);
	test_permissions(3, 1);
	test_permissions(3, 2);
	test_permissions(4, 1);
	test_permissions(4, 2);
	test_permissions(4, 3);
	test_not_present(2);
	test_not_present(3);
	test_not_present(4);
	test_reserved();
	test_no_large();
	test_accessed();
	test_races();
	test_errors();
	return tap_done();
}
