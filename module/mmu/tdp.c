// SPDX-License-Identifier: GPL-2.0-only
/*
 * The nested page tables of a VM (EPT or NPT): one tree, which all its vCPUs
 * use, in the format that the backend describes.
 *
 * An entry is 0, a link to a table that grants everything, or a leaf. Who
 * holds mmu->lock for reading turns 0 into something with cmpxchg and adds
 * permissions; who holds it for writing removes. A writer flushes the TLBs
 * before it drops the lock: the next one may find nothing to zap, and has to
 * rely on no CPU using what is gone.
 */
#include <linux/list.h>
#include <linux/mem_encrypt.h>

#include "../labvisor.h"

#define fmt (&lv_backend->tdp)

/* A pass over 1 GiB of guest memory may go on without a pause. */
#define PASS_PAGES lv_level_pages(3)

/* Does this present entry map memory? */
static bool lv_tdp_is_leaf(u64 entry, int level)
{
	return level == 1 || entry & fmt->large;
}

static u64 entry_pa(u64 entry)
{
	return __sme_clr(entry) & GENMASK_ULL(51, PAGE_SHIFT);
}

static u64 *entry_table(u64 entry)
{
	return __va(entry_pa(entry));
}

static u64 *entry_at(u64 *table, int level, gfn_t gfn)
{
	return &table[gfn >> (9 * (level - 1)) & (PTRS_PER_PTE - 1)];
}

int lv_mmu_cache_fill(struct lv_mmu_cache *cache)
{
	if (cache->nr >= LV_MMU_CACHE_MIN)
		return 0;
	while (cache->nr < ARRAY_SIZE(cache->page)) {
		void *page = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);

		if (!page)
			break;
		cache->page[cache->nr++] = page;
	}
	return cache->nr >= LV_MMU_CACHE_MIN ? 0 : -ENOMEM;
}

void lv_mmu_cache_free(struct lv_mmu_cache *cache)
{
	while (cache->nr)
		free_page((unsigned long)cache->page[--cache->nr]);
}

/* Hang an empty table into a free entry, unless somebody else just did. */
static int link_table(struct lv_mmu *mmu, struct lv_mmu_cache *cache,
		      u64 *entry)
{
	u64 link, old = 0;

	if (!cache->nr)
		return -ENOMEM;
	link = __sme_set(__pa(cache->page[cache->nr - 1])) | fmt->present |
	       fmt->write | fmt->exec | fmt->accessed;
	if (try_cmpxchg64(entry, &old, link)) {
		cache->nr--;
		atomic_long_inc(&mmu->nr_tables);
	}
	return 0;
}

static int set_leaf(u64 *entry, int level, u64 leaf)
{
	u64 old = READ_ONCE(*entry);

	do {
		/* Only permissions may change, everything else has to go. */
		if (old && (!lv_tdp_is_leaf(old, level) ||
			    entry_pa(old) != entry_pa(leaf)))
			return -EEXIST;
		if ((old & leaf) == leaf)
			return 0;
	} while (!try_cmpxchg64(entry, &old, old | leaf));
	return 0;
}

/*
 * lv_tdp_map - install a leaf, or add its permissions to one that is there;
 * mmu.lock is held for reading. -ENOMEM: fill the cache, where new tables come
 * from; -EEXIST: zap first what is mapped there with another page size.
 */
int lv_tdp_map(struct lv_vm *vm, struct lv_mmu_cache *cache, gfn_t gfn,
	       int level, u64 leaf)
{
	u64 *table = __va(vm->mmu.root), *entry, val;
	int at = fmt->levels, ret;

	for (;;) {
		entry = entry_at(table, at, gfn);
		if (at == level)
			return set_leaf(entry, level, leaf);
		val = READ_ONCE(*entry);
		if (!val) {
			ret = link_table(&vm->mmu, cache, entry);
			if (ret)
				return ret;
			val = READ_ONCE(*entry);
		}
		if (lv_tdp_is_leaf(val, at))
			return -EEXIST;
		table = entry_table(val);
		at--;
	}
}

/* struct change - a pass over the entries of a range */
struct change {
	enum lv_tdp_op op; /* what to do */
	gfn_t start; /* first guest frame */
	gfn_t end; /* end of the range */
	struct list_head freed; /* tables that were cut off */
	bool flush; /* something was removed */
	bool young; /* something had been accessed */
};

static void change_leaf(struct change *c, u64 *entry, u64 old, int level)
{
	u64 accessed = fmt->accessed ?: fmt->present;
	u64 new = 0;

	if (c->op == LV_TDP_TEST_YOUNG || c->op == LV_TDP_CLEAR_YOUNG) {
		c->young |= old & accessed;
		if (c->op == LV_TDP_CLEAR_YOUNG && old & accessed)
			clear_bit(__ffs(accessed), (long *)entry);
		return;
	}
	if (c->op == LV_TDP_PROTECT && level == 1)
		new = old & ~fmt->write;
	if (new == old)
		return;
	/* An accessed or dirty bit that the CPU sets now is no loss. */
	WRITE_ONCE(*entry, new);
	c->flush = true;
}

/* Recursive, but not deeper than the page tables. */
static void change_table(struct change *c, u64 *table, int level, gfn_t base)
{
	u64 step = lv_level_pages(level);
	gfn_t gfn = max(base, round_down(c->start, step));
	gfn_t end = min(base + PTRS_PER_PTE * step, c->end);

	for (; gfn < end; gfn += step) {
		u64 *entry = entry_at(table, level, gfn);
		u64 old = READ_ONCE(*entry);

		if (!old)
			continue;
		if (lv_tdp_is_leaf(old, level)) {
			change_leaf(c, entry, old, level);
			continue;
		}
		change_table(c, entry_table(old), level - 1, gfn);
		if (c->op == LV_TDP_ZAP && gfn >= c->start &&
		    gfn + step <= c->end) {
			WRITE_ONCE(*entry, 0);
			list_add(&virt_to_page(entry_table(old))->lru,
				 &c->freed);
			c->flush = true;
		}
	}
}

static void free_tables(struct lv_mmu *mmu, struct change *c)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, &c->freed, lru) {
		list_del(&page->lru);
		__free_page(page);
		atomic_long_dec(&mmu->nr_tables);
	}
}

/* Nothing that was removed is in use once this returns. */
static void change_finish(struct lv_vm *vm, struct change *c)
{
	if (c->flush)
		lv_request_all(vm, LV_REQ_TLB_FLUSH, true);
	c->flush = false;
	free_tables(&vm->mmu, c);
}

/*
 * lv_tdp_change - take mappings or permissions away, and flush the TLBs; or
 * see if memory was accessed. mmu.lock is held, for writing if anything goes.
 * @end: end of the range; large mappings that it cuts go as a whole
 * @may_yield: drop the lock and sleep if others wait
 * Return: true if there was something to change, or something accessed.
 *
 * The TLBs are not flushed when accessed bits are cleared, as the host does not
 * for its own page tables on x86: a CPU that keeps a translation for long makes
 * the page look older.
 */
bool lv_tdp_change(struct lv_vm *vm, enum lv_tdp_op op, gfn_t start, gfn_t end,
		   bool may_yield)
{
	struct change c = { .op = op, .freed = LIST_HEAD_INIT(c.freed) };
	u64 *root = __va(vm->mmu.root);
	bool changed = false;

	if (op == LV_TDP_ZAP || op == LV_TDP_PROTECT)
		lockdep_assert_held_write(&vm->mmu.lock);
	for (; start < end; start = c.end) {
		c.start = start;
		c.end = min(end, round_down(start, PASS_PAGES) + PASS_PAGES);
		change_table(&c, root, fmt->levels, 0);
		changed |= c.flush;
		if (may_yield &&
		    (need_resched() || rwlock_needbreak(&vm->mmu.lock))) {
			change_finish(vm, &c);
			cond_resched_rwlock_write(&vm->mmu.lock);
		}
	}
	change_finish(vm, &c);
	return changed || c.young;
}

/*
 * lv_tdp_protect - make single pages read-only, and flush the TLBs once; bits
 * count from @base, mmu.lock is held for writing
 */
void lv_tdp_protect(struct lv_vm *vm, gfn_t base, const unsigned long *bits,
		    unsigned int nr)
{
	struct change c = { .op = LV_TDP_PROTECT,
			    .freed = LIST_HEAD_INIT(c.freed) };
	unsigned int start, end;

	lockdep_assert_held_write(&vm->mmu.lock);
	for_each_set_bitrange(start, end, bits, nr) {
		c.start = base + start;
		c.end = base + end;
		change_table(&c, __va(vm->mmu.root), fmt->levels, 0);
	}
	change_finish(vm, &c);
}

int lv_tdp_init(struct lv_vm *vm)
{
	void *root = (void *)get_zeroed_page(GFP_KERNEL_ACCOUNT);

	if (!root)
		return -ENOMEM;
	rwlock_init(&vm->mmu.lock);
	vm->mmu.root = __pa(root);
	atomic_long_set(&vm->mmu.nr_tables, 1);
	return 0;
}

void lv_tdp_free(struct lv_vm *vm)
{
	struct change c = { .op = LV_TDP_ZAP,
			    .end = ~0ULL,
			    .freed = LIST_HEAD_INIT(c.freed) };
	void *root = __va(vm->mmu.root);

	change_table(&c, root, fmt->levels, 0);
	free_tables(&vm->mmu, &c);
	free_page((unsigned long)root);
}
