// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counters, one file a VM: <debugfs>/labvisor/<process id>-<number>/stat.
 *
 * They are written by the vCPU's thread alone and read without a lock: a
 * reader may see a value that is one exit old.
 */
#include <linux/debugfs.h>
#include <linux/seq_file.h>

#include "labvisor.h"
#include "trace.h"

static const struct trace_print_flags lv_exit_names[] = { LV_EXIT_NAMES };

/* clang-format off */
#define COUNTER(field) { #field, offsetof(struct lv_vcpu_stat, field) }
static const struct {
	const char *name;
	size_t offset;
} lv_counters[] = {
	COUNTER(exits), COUNTER(user_exits), COUNTER(irq_injections),
	COUNTER(nmi_injections), COUNTER(exceptions), COUNTER(halts),
	COUNTER(wakeups), COUNTER(faults), COUNTER(mmio), COUNTER(pio),
	COUNTER(emulations), COUNTER(tlb_flushes),
};
/* clang-format on */

static void lv_show_vcpu(struct seq_file *m, struct lv_vcpu *v)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lv_counters); i++)
		seq_printf(m, "vcpu%d %s %llu\n", v->id, lv_counters[i].name,
			   READ_ONCE(*(u64 *)((void *)&v->stat +
					      lv_counters[i].offset)));
	for (i = 0; i < ARRAY_SIZE(lv_exit_names); i++)
		seq_printf(m, "vcpu%d exit_%s %llu\n", v->id,
			   lv_exit_names[i].name,
			   READ_ONCE(v->stat.reason[lv_exit_names[i].mask]));
}

static int lv_stat_show(struct seq_file *m, void *unused)
{
	struct lv_vm *vm = m->private;
	struct lv_vcpu *v;
	int i;

	seq_printf(m, "vm vcpus %d\n", smp_load_acquire(&vm->nr_vcpus));
	seq_printf(m, "vm page_tables %ld\n",
		   atomic_long_read(&vm->mmu.nr_tables));
	lv_for_each_vcpu(i, v, vm)
		lv_show_vcpu(m, v);
	return 0;
}
DEFINE_SHOW_ATTRIBUTE(lv_stat);

/** lv_stat_add - show a new VM's counters; it works without them, too */
void lv_stat_add(struct lv_vm *vm)
{
	static atomic_t number;
	char name[32];

	snprintf(name, sizeof(name), "%d-%d", task_tgid_nr(current),
		 atomic_inc_return(&number));
	vm->debugfs = debugfs_create_dir(name, lv_debugfs);
	debugfs_create_file("stat", 0444, vm->debugfs, vm, &lv_stat_fops);
}

/** lv_stat_remove - returns when nobody reads them any more */
void lv_stat_remove(struct lv_vm *vm)
{
	debugfs_remove_recursive(vm->debugfs);
}
