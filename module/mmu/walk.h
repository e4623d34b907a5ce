/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest page walker: guest virtual to guest physical addresses, as the CPU
 * does it. Pure logic.
 */
#ifndef LABVISOR_MMU_WALK_H
#define LABVISOR_MMU_WALK_H

#include "../pure.h"

/* An access, and why it faulted, in the encoding of page-fault error codes. */
#define LV_PF_PRESENT BIT(0)
#define LV_PF_WRITE BIT(1)
#define LV_PF_USER BIT(2)
#define LV_PF_RESERVED BIT(3)
#define LV_PF_FETCH BIT(4)

/* lv_walk() returns it if the guest gets a page fault. */
#define LV_WALK_FAULT 1

/* struct lv_walk - how the guest has set up paging; filled in by the caller */
struct lv_walk {
	void *owner; /* for the hooks */
	gpa_t root; /* physical address of the top-level table */
	u8 levels; /* 0: paging is off; 2: 32-bit; 3: PAE; 4 or 5: long mode */
	u8 phys_bits; /* width of physical addresses, at most 52 */
	bool pse; /* CR4.PSE, 4 MiB pages; for 2 levels only */
	bool gbpages; /* 1 GiB pages exist */
	bool wp; /* CR0.WP */
	bool nx; /* EFER.NXE; not for 2 levels */
	bool smep; /* CR4.SMEP */
	bool smap; /* CR4.SMAP is on and RFLAGS.AC does not lift it */
	u32 error; /* out: error code of the page fault */
};

int lv_walk(struct lv_walk *w, gva_t gva, u32 access, gpa_t *gpa);

/*
 * Hooks. Read the table entry of @size bytes at @gpa. Replace @old by @new
 * there: 0, or 1 if @old is not there any more. A negative errno ends the
 * walk and is its result.
 */
int lv_walk_read_pte(struct lv_walk *w, gpa_t gpa, unsigned int size, u64 *pte);
int lv_walk_update_pte(struct lv_walk *w, gpa_t gpa, unsigned int size, u64 old,
		       u64 new);

#endif /* LABVISOR_MMU_WALK_H */
