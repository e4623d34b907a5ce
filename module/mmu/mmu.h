/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Guest memory: slots, nested page tables, MMU notifiers.
 *
 * This first version gives the shapes that labvisor.h needs.
 */
#ifndef LABVISOR_MMU_H
#define LABVISOR_MMU_H

#include <linux/mmu_notifier.h>
#include <linux/mutex.h>
#include <linux/srcu.h>

#include "../pure.h"
#include "../backend.h"

struct lv_vm;
struct lv_vcpu;

/**
 * struct lv_memory - the memory slots of a VM
 * @slots: the current table (SRCU @srcu; replaced under vm->lock)
 */
struct lv_memory {
	struct lv_slots __rcu *slots;
	struct srcu_struct srcu;
};

/**
 * struct lv_mmu - the nested page tables of a VM
 * @lock: read: install entries with cmpxchg; write: zap, free tables
 */
struct lv_mmu {
	rwlock_t lock;
	hpa_t root; /* once */
	struct mmu_notifier notifier;
	unsigned long invalidate_seq; /* lock */
	int invalidating; /* lock */
};

/** struct lv_mmu_cache - page-table pages set aside for faults (own) */
struct lv_mmu_cache {
	int nr;
	void *page[8];
};

int lv_memory_init(struct lv_vm *vm);
void lv_memory_free(struct lv_vm *vm);
int lv_mmu_init(struct lv_vm *vm);
void lv_mmu_free(struct lv_vm *vm);
void lv_mmu_cache_free(struct lv_mmu_cache *cache);

/*
 * Handle a nested page fault. LV_RESUME: mapped, or somebody else did;
 * LV_SLEEPABLE: call again with interrupts on; -ENOENT: no slot, or a write
 * to a read-only slot: it is MMIO; other negative: KVM_RUN fails with it.
 */
int lv_mmu_fault(struct lv_vcpu *v, gpa_t gpa, u32 access);

#endif /* LABVISOR_MMU_H */
