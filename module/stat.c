// SPDX-License-Identifier: GPL-2.0-only
/*
 * Counters, as text in one file a VM, <debugfs>/labvisor/<process id>-<number>/stat,
 * and in the API's binary form, by KVM_GET_STATS_FD.
 *
 * They are written by the vCPU's thread alone and read without a lock: a
 * reader may see a value that is one exit old.
 */
#include <linux/anon_inodes.h>
#include <linux/debugfs.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/module.h>
#include <linux/seq_file.h>

#include "labvisor.h"
#include "trace.h"

static const struct trace_print_flags lv_exit_names[] = { LV_EXIT_NAMES };

/* clang-format off */
#define COUNTER(field, kvm) { #field, kvm, offsetof(struct lv_vcpu_stat, field) }
static const struct {
	const char *name, *kvm_name;
	size_t offset;
} lv_counters[] = {
	COUNTER(exits, "exits"), COUNTER(user_exits, "user_exits"),
	COUNTER(irq_injections, "irq_injections"),
	COUNTER(nmi_injections, "nmi_injections"),
	COUNTER(exceptions, "exceptions"), COUNTER(halts, "halt_exits"),
	COUNTER(wakeups, "halt_wakeup"), COUNTER(faults, "pf_fixed"),
	COUNTER(mmio, "mmio_exits"), COUNTER(pio, "io_exits"),
	COUNTER(emulations, "insn_emulation"),
	COUNTER(tlb_flushes, "tlb_flush"),
};
/* clang-format on */

/** lv_exit_name - of enum lv_exit_reason, empty if it is none */
const char *lv_exit_name(u32 reason)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lv_exit_names); i++)
		if (lv_exit_names[i].mask == reason)
			return lv_exit_names[i].name;
	return "";
}

static u64 lv_counter(struct lv_vcpu *v, unsigned int i)
{
	return READ_ONCE(*(u64 *)((void *)&v->stat + lv_counters[i].offset));
}

static void lv_show_vcpu(struct seq_file *m, struct lv_vcpu *v)
{
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(lv_counters); i++)
		seq_printf(m, "vcpu%d %s %llu\n", v->id, lv_counters[i].name,
			   lv_counter(v, i));
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

/* ---- KVM_GET_STATS_FD ---- */

#define LV_STAT_NAME 48
#define LV_VM_STATS 2
#define LV_VCPU_STATS (ARRAY_SIZE(lv_counters) + ARRAY_SIZE(lv_exit_names))

/* struct lv_stat_desc - a struct kvm_stats_desc with room for its name */
struct lv_stat_desc {
	u32 flags;
	s16 exponent;
	u16 size;
	u32 offset;
	u32 bucket_size;
	char name[LV_STAT_NAME];
};
static_assert(offsetof(struct lv_stat_desc, name) ==
	      offsetof(struct kvm_stats_desc, name));

/* struct lv_stats - an open file of statistics */
struct lv_stats {
	struct lv_vm *vm; /* once; referenced */
	struct lv_vcpu *v; /* once; NULL if they are the VM's own */
	/* What user space reads. */
	struct {
		struct kvm_stats_header header;
		char id[LV_STAT_NAME];
		struct lv_stat_desc desc[LV_VCPU_STATS];
		u64 data[LV_VCPU_STATS]; /* any reader may refresh it */
	} file;
};

static const char *const lv_vm_stats[LV_VM_STATS] = { "vcpus", "page_tables" };

static u64 lv_stats_value(const struct lv_stats *s, unsigned int i)
{
	if (!s->v)
		return i ? atomic_long_read(&s->vm->mmu.nr_tables)
			 : smp_load_acquire(&s->vm->nr_vcpus);
	if (i < ARRAY_SIZE(lv_counters))
		return lv_counter(s->v, i);
	i -= ARRAY_SIZE(lv_counters);
	return READ_ONCE(s->v->stat.reason[lv_exit_names[i].mask]);
}

static ssize_t lv_stats_read(struct file *file, char __user *buf, size_t size,
			     loff_t *pos)
{
	struct lv_stats *s = file->private_data;
	unsigned int i, nr = s->file.header.num_desc;

	for (i = 0; i < nr; i++)
		WRITE_ONCE(s->file.data[i], lv_stats_value(s, i));
	return simple_read_from_buffer(buf, size, pos, &s->file,
				       offsetof(typeof(s->file), data[nr]));
}

static int lv_stats_release(struct inode *inode, struct file *file)
{
	struct lv_stats *s = file->private_data;

	lv_vm_put(s->vm);
	kfree(s);
	return 0;
}

static const struct file_operations lv_stats_fops = {
	.owner = THIS_MODULE,
	.read = lv_stats_read,
	.release = lv_stats_release,
	.llseek = noop_llseek,
};

static void lv_stats_describe(struct lv_stats *s)
{
	struct kvm_stats_header *header = &s->file.header;
	unsigned int i, nr = s->v ? LV_VCPU_STATS : LV_VM_STATS;
	unsigned int first = ARRAY_SIZE(lv_counters);

	header->name_size = LV_STAT_NAME;
	header->num_desc = nr;
	header->id_offset = offsetof(typeof(s->file), id);
	header->desc_offset = offsetof(typeof(s->file), desc);
	header->data_offset = offsetof(typeof(s->file), data);
	for (i = 0; i < nr; i++) {
		struct lv_stat_desc *desc = &s->file.desc[i];
		bool reason = s->v && i >= first;

		desc->flags = s->v ? KVM_STATS_TYPE_CUMULATIVE
				   : KVM_STATS_TYPE_INSTANT;
		desc->size = 1;
		desc->offset = i * sizeof(u64);
		snprintf(desc->name, LV_STAT_NAME, "%s%s",
			 reason ? "exit_" : "",
			 !s->v	  ? lv_vm_stats[i]
			 : reason ? lv_exit_names[i - first].name
				  : lv_counters[i].kvm_name);
	}
}

/* Of the VM, or of a vCPU. */
LV_IOCTL(get_stats_fd)
{
	struct lv_stats *s = kzalloc(sizeof(*s), GFP_KERNEL_ACCOUNT);
	struct file *file;
	int fd;

	if (!s)
		return -ENOMEM;
	s->vm = vm;
	s->v = v;
	lv_stats_describe(s);
	snprintf(s->file.id, LV_STAT_NAME, v ? "kvm-%d/vcpu-%d" : "kvm-%d",
		 task_tgid_nr(current), v ? v->id : 0);
	fd = get_unused_fd_flags(O_CLOEXEC);
	file = fd < 0 ? ERR_PTR(fd)
		      : anon_inode_getfile("kvm-stats", &lv_stats_fops, s,
					   O_RDONLY);
	if (IS_ERR(file)) {
		if (fd >= 0)
			put_unused_fd(fd);
		kfree(s);
		return PTR_ERR(file);
	}
	file->f_mode |= FMODE_PREAD;
	lv_vm_get(vm);
	fd_install(fd, file);
	return fd;
}
