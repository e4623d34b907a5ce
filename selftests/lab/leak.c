// SPDX-License-Identifier: GPL-2.0-only
/*
 * Boots of a small guest leave the kernel's memory where it was. A page lost at
 * each boot shows as so many pages, and an object as so many objects in its
 * slab cache: half of that is the limit. A cache may differ by a few slabs
 * that each CPU keeps, all of whose objects count as used.
 *
 * LEAK_COMMAND in the environment is what boots instead of the small guest,
 * LEAK_BOOTS how often in each of two rounds, after LEAK_WARM_UP.
 */
#include <dirent.h>
#include <fcntl.h>
#include <linux/membarrier.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include "guest.h"
#include <kselftest_harness.h>

#define MAX_CACHES 1024

static long boots;
static const char *command;

/* Touches memory, gets an AP going, an interrupt and an exit of each kind. */
static volatile u32 up, fired;

static void on_timer(struct trap_frame *frame)
{
	fired++;
	apic_eoi();
}

static void ap_guest(void)
{
	up = 1;
	cli();
	for (;;)
		asm volatile("hlt");
}

static void boot_guest(void)
{
	u64 gpa;

	for (gpa = HEAP_GPA; gpa < HEAP_GPA + MIB; gpa += PAGE_SIZE)
		*(volatile u8 *)gpa = 1;
	trap_handlers[0x50] = on_timer;
	apic_enable();
	ap_main = ap_guest;
	apic_icr(1, ICR_INIT | ICR_ASSERT);
	apic_icr(1, ICR_SIPI | SIPI_GPA >> 12);
	while (!up)
		pause_cpu();
	apic_write(APIC_LVTT, 0x50);
	apic_write(APIC_TMICT, 1000);
	cli();
	while (!fired) {
		sti_hlt();
		cli();
	}
	cpuid(0, 0);
}

static void add_eventfds(struct vm *vm)
{
	struct kvm_irqfd irqfd = { .fd = eventfd(0, EFD_CLOEXEC), .gsi = 5 };
	struct kvm_ioeventfd io = {
		.addr = MMIO_GPA,
		.len = 4,
		.fd = eventfd(0, EFD_CLOEXEC),
	};

	MUST(vm->fd, KVM_IRQFD, &irqfd);
	MUST(vm->fd, KVM_IOEVENTFD, &io);
	close(irqfd.fd);
	close(io.fd);
}

static void boot(void)
{
	struct kvm_pit_config pit = {};
	struct vcpu *bsp, *ap;
	struct vm *vm;

	if (command) {
		if (system(command))
			die("%s: failed", command);
		return;
	}
	vm = vm_new_irqchip();
	MUST(vm->fd, KVM_CREATE_PIT2, &pit);
	add_eventfds(vm);
	if (vm_slot(vm, 1, KVM_MEM_LOG_DIRTY_PAGES, 0x2000000, MIB, vm->mem))
		die("slot 1");
	bsp = vcpu_new(vm, 0);
	ap = vcpu_new(vm, 1);
	vcpu_call(bsp, boot_guest);
	vcpu_start_run(ap);
	if (vcpu_sync(bsp) != GUEST_DONE)
		die("the guest did not finish");
	vcpu_kick(ap);
	vcpu_join(ap);
	vcpu_free(bsp);
	vcpu_free(ap);
	vm_free(vm);
}

/* Wait out RCU grace periods and make caches give back what is free. */
static void settle(void)
{
	char path[300];
	struct dirent *entry;
	DIR *dir;
	int i;

	for (i = 0; i < 4; i++)
		syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	sync();
	write_text("/proc/sys/vm/drop_caches", "3");
	dir = opendir("/sys/kernel/slab");
	while (dir && (entry = readdir(dir))) {
		snprintf(path, sizeof(path), "/sys/kernel/slab/%s/shrink",
			 entry->d_name);
		write_text(path, "1");
	}
	if (dir)
		closedir(dir);
}

struct cache {
	char name[64];
	long objects, per_slab;
};

static int read_caches(struct cache *caches)
{
	FILE *file = fopen("/proc/slabinfo", "re");
	char line[512];
	int n = 0;

	if (!file)
		return 0;
	while (n < MAX_CACHES && fgets(line, sizeof(line), file))
		if (sscanf(line, "%63s %ld %*d %*d %ld", caches[n].name,
			   &caches[n].objects, &caches[n].per_slab) == 3)
			n++;
	fclose(file);
	return n;
}

static long meminfo(const char *name)
{
	FILE *file = fopen("/proc/meminfo", "re");
	char key[64], line[256];
	long value, found = 0;

	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "%63[^:]: %ld", key, &value) == 2 &&
		    !strcmp(key, name))
			found = value;
	if (file)
		fclose(file);
	return found;
}

/* Free pages, in kB, with those that each CPU has on a list of its own. */
static long free_memory(void)
{
	FILE *file = fopen("/proc/zoneinfo", "re");
	long value, pages = 0;
	char line[256];

	if (!file)
		die("/proc/zoneinfo: %m");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, " pages free %ld", &value) == 1 ||
		    sscanf(line, " count: %ld", &value) == 1)
			pages += value;
	fclose(file);
	return pages * 4;
}

static const char *const counts[] = {
	"SUnreclaim",	 "VmallocUsed", "PageTables",
	"SecPageTables", "KernelStack", "Percpu",
};

static struct cache before[MAX_CACHES], middle[MAX_CACHES], after[MAX_CACHES];

/* Print what has grown by @limit or more; the value is how many have. */
static int grown_counts(const long *values, long limit)
{
	unsigned int i;
	int grown = 0;
	long growth;

	for (i = 0; i < ARRAY_LEN(counts); i++) {
		growth = meminfo(counts[i]) - values[i];
		if (growth < limit)
			continue;
		printf("# %s grew by %ld kB\n", counts[i], growth);
		grown++;
	}
	return grown;
}

static int grown_caches(int n, long limit)
{
	const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	int i, grown = 0;
	long growth;

	for (i = 0; i < n; i++) {
		/* Freed lazily, by the thousand; VmallocUsed tells of leaks. */
		if (!strcmp(after[i].name, "vmap_area"))
			continue;
		/* The allocator's own reserves grow once, a leak goes on. */
		growth = after[i].objects - middle[i].objects;
		if (growth > middle[i].objects - before[i].objects)
			growth = middle[i].objects - before[i].objects;
		if (growth < limit || growth <= 4 * cpus * after[i].per_slab)
			continue;
		printf("# %s grew by %ld objects\n", after[i].name, growth);
		grown++;
	}
	return grown;
}

FIXTURE(leak)
{
	int caches;
	long free;
	long values[ARRAY_LEN(counts)];
};

FIXTURE_SETUP(leak)
{
	const long warm_up = lab_param("LEAK_WARM_UP", 40);
	unsigned int i;

	command = getenv("LEAK_COMMAND");
	boots = lab_param("LEAK_BOOTS", 200);
	for (i = 0; i < warm_up; i++)
		boot();
	settle();
	self->caches = read_caches(before);
	for (i = 0; i < ARRAY_LEN(counts); i++)
		self->values[i] = meminfo(counts[i]);
	self->free = free_memory();
}

FIXTURE_TEARDOWN(leak)
{
}

TEST_F_TIMEOUT(leak, boots_leak_nothing, 800)
{
	const long page_limit = boots * 4; /* kB; two rounds */
	long free, used[2]; /* kB */
	int caches, i;

	for (i = 0; i < boots; i++)
		boot();
	settle();
	ASSERT_EQ(self->caches, read_caches(middle));
	free = free_memory();
	used[0] = self->free - free;
	for (i = 0; i < boots; i++)
		boot();
	settle();
	/* What other parts of the kernel take for themselves they take once. */
	used[1] = free - free_memory();
	printf("# free memory fell by %ld and %ld kB\n", used[0], used[1]);
	EXPECT_TRUE(used[0] < boots * 2 || used[1] < boots * 2);
	EXPECT_EQ(0, grown_counts(self->values, page_limit));
	caches = read_caches(after);
	ASSERT_EQ(self->caches, caches) TH_LOG("caches came or went");
	EXPECT_LT(0, caches);
	EXPECT_EQ(0, grown_caches(caches, boots / 2));
}

TEST_HARNESS_MAIN
