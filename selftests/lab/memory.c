// SPDX-License-Identifier: GPL-2.0-only
/*
 * Guest memory is ordinary memory: while a guest works on it, the host swaps
 * it out, migrates, merges, splits and copies it, and the guest's data stays
 * what it was. Each test shows that the host did do it.
 */
#include <fcntl.h>
#include <glob.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "guest.h"
#include <kselftest_harness.h>

#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define GPA 0x2000000ul
#define SIZE (4 * MIB)
#define PAGES (SIZE / PAGE_SIZE)

static volatile u64 passes;
static volatile bool pausing, stop;

static u64 word(u64 page, u64 pass)
{
	return (page + 1) * 0x9e3779b97f4a7c15 + pass;
}

/* Check and change the first and the last word of each page, pass by pass. */
static void worker(void)
{
	volatile u64 *first, *last;
	u64 page, pass = 0;

	for (;; pass++) {
		for (page = 0; page < PAGES; page++) {
			first = (u64 *)(GPA + page * PAGE_SIZE);
			last = first + PAGE_SIZE / 8 - 1;
			if (pass) {
				GUEST_EQ(word(page, pass), *first);
				GUEST_EQ(~word(page, pass), *last);
			}
			if (stop)
				continue;
			*first = word(page, pass + 1);
			*last = ~word(page, pass + 1);
		}
		if (stop)
			break;
		passes = pass + 1;
		if (pausing)
			guest_sync(0);
	}
	guest_sync(pass);
}

FIXTURE(memory)
{
	struct vm *vm;
	struct vcpu *vcpu;
	u8 *mem;
};

FIXTURE_SETUP(memory)
{
	u8 *mem = map_memory(SIZE + 2 * MIB);

	self->vm = vm_new();
	self->vcpu = vcpu_new(self->vm, 0);
	self->mem = (u8 *)(((uintptr_t)mem + 2 * MIB - 1) & -(2 * MIB));
	ASSERT_EQ(0, vm_slot(self->vm, 1, 0, GPA, SIZE, self->mem));
	vcpu_call(self->vcpu, worker);
}

FIXTURE_TEARDOWN(memory)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

static u64 guest_passes(struct vm *vm)
{
	return GUEST_VAR(vm, passes);
}

/* Let the guest get to the end of its memory once more. */
static void wait_for_pass(struct vm *vm)
{
	u64 seen = guest_passes(vm);

	while (guest_passes(vm) == seen)
		sched_yield();
}

static void start(struct vcpu *vcpu)
{
	vcpu_start(vcpu);
	wait_for_pass(vcpu->vm);
}

/*
 * Stop the guest, which checks all of its memory once more, and check it from
 * the host's side too. The value is the number of wrong pages.
 */
static u64 finish(struct vcpu *vcpu, const u8 *mem)
{
	u64 page, pass, wrong = 0;
	const u64 *first;

	GUEST_VAR(vcpu->vm, stop) = true;
	pass = (u32)vcpu_join(vcpu);
	for (page = 0; page < PAGES; page++) {
		first = (const u64 *)(mem + page * PAGE_SIZE);
		/* The last pass may have been stopped in the middle. */
		if (*first != word(page, pass) &&
		    *first != word(page, pass + 1))
			wrong++;
		else if (first[PAGE_SIZE / 8 - 1] != ~*first)
			wrong++;
	}
	return wrong;
}

/* A counter, or -1 if the kernel does not have it. */
static long long find_vmstat(const char *name)
{
	FILE *file = fopen("/proc/vmstat", "re");
	long long value, found = -1;
	char key[64];

	if (!file)
		die("/proc/vmstat: %m");
	while (fscanf(file, "%63s %lld", key, &value) == 2)
		if (!strcmp(key, name))
			found = value;
	fclose(file);
	return found;
}

static u64 vmstat(const char *name)
{
	long long value = find_vmstat(name);

	return value < 0 ? 0 : value;
}

/* Event counters, which show that the host did what a test is about. */
static bool has_events(void)
{
	return find_vmstat("pgfault") >= 0;
}

#define NEEDS_EVENTS()                                                       \
	do {                                                                 \
		if (!has_events())                                           \
			SKIP(return, "the kernel has no VM event counters"); \
	} while (0)

TEST_F_TIMEOUT(memory, undisturbed, 100)
{
	start(self->vcpu);
	EXPECT_EQ(0, finish(self->vcpu, self->mem));
}

static bool has_swap(void)
{
	FILE *file = fopen("/proc/swaps", "re");
	char line[256];
	int lines = 0;

	while (file && fgets(line, sizeof(line), file))
		lines++;
	if (file)
		fclose(file);
	return lines > 1;
}

/* Pages that were in use stay at first: it takes more than one request. */
static void swap_out(u8 *mem)
{
	int i;

	for (i = 0; i < 4; i++)
		if (madvise(mem, SIZE, MADV_PAGEOUT))
			die("MADV_PAGEOUT: %m");
}

TEST_F_TIMEOUT(memory, swapped_out, 100)
{
	u64 before;
	int i;

	NEEDS_EVENTS();
	if (!has_swap())
		SKIP(return, "the lab host has no swap");
	GUEST_VAR(self->vm, pausing) = true;
	for (i = 0; i < 5; i++) {
		ASSERT_EQ(0, vcpu_sync(self->vcpu));
		before = vmstat("pswpout");
		swap_out(self->mem);
		EXPECT_LT(before + PAGES / 2, vmstat("pswpout"));
	}
	GUEST_VAR(self->vm, pausing) = false;
	start(self->vcpu);
	for (i = 0; i < 5; i++) {
		swap_out(self->mem);
		wait_for_pass(self->vm);
	}
	EXPECT_EQ(0, finish(self->vcpu, self->mem));
}

/* Compaction moves pages; holes between them give it a reason to. */
TEST_F_TIMEOUT(memory, compacted, 100)
{
	u64 before = vmstat("compact_migrate_scanned");
	u8 *filler;
	size_t i;
	int round;

	NEEDS_EVENTS();
	if (access("/proc/sys/vm/compact_memory", W_OK))
		SKIP(return, "the lab host's kernel has no memory compaction");
	madvise(self->mem, SIZE, MADV_NOHUGEPAGE);
	filler = map_memory(16 * MIB);
	madvise(filler, 16 * MIB, MADV_NOHUGEPAGE);
	start(self->vcpu);
	for (round = 0; round < 3; round++) {
		memset(filler, 1, 16 * MIB);
		for (i = 0; i < 16 * MIB; i += 2 * PAGE_SIZE)
			madvise(filler + i, PAGE_SIZE, MADV_DONTNEED);
		ASSERT_EQ(0, write_text("/proc/sys/vm/compact_memory", "1"));
		wait_for_pass(self->vm);
	}
	EXPECT_EQ(0, finish(self->vcpu, self->mem));
	EXPECT_LT(before, vmstat("compact_migrate_scanned"));
}

static long move_pages_to(u8 *mem, int node)
{
	static void *pages[PAGES];
	static int nodes[PAGES], status[PAGES];
	u64 i;

	for (i = 0; i < PAGES; i++) {
		pages[i] = mem + i * PAGE_SIZE;
		nodes[i] = node;
	}
	return syscall(SYS_move_pages, 0, PAGES, pages, nodes, status, 2);
}

TEST_F_TIMEOUT(memory, moved_between_nodes, 100)
{
	u64 before = vmstat("pgmigrate_success");
	int i;

	NEEDS_EVENTS();
	if (access("/sys/devices/system/node/node1", F_OK))
		SKIP(return,
			   "the lab host has one memory node (boot it with numa=fake=2)");
	madvise(self->mem, SIZE, MADV_NOHUGEPAGE);
	start(self->vcpu);
	for (i = 1; i <= 4; i++) {
		ASSERT_LE(0, move_pages_to(self->mem, i & 1));
		wait_for_pass(self->vm);
	}
	EXPECT_EQ(0, finish(self->vcpu, self->mem));
	EXPECT_LT(before + PAGES, vmstat("pgmigrate_success"));
}

#define KSM "/sys/kernel/mm/ksm/"

/* Pages that are alike are merged, and part again when the guest writes. */
static void merge_guest(void)
{
	volatile u64 *first;
	u64 page;

	for (;;) {
		for (page = 0; page < PAGES; page++) {
			first = (u64 *)(GPA + page * PAGE_SIZE);
			*first = 0x1111;
			GUEST_EQ(0, first[1]);
		}
		guest_sync(1);
		for (page = 0; page < PAGES; page++) {
			first = (u64 *)(GPA + page * PAGE_SIZE);
			GUEST_EQ(0x1111, *first);
			if (page & 1)
				*first = page;
		}
		for (page = 0; page < PAGES; page++) {
			first = (u64 *)(GPA + page * PAGE_SIZE);
			GUEST_EQ(page & 1 ? page : 0x1111, *first);
		}
		guest_sync(2);
	}
}

TEST_F_TIMEOUT(memory, merged, 100)
{
	long sharing = 0;
	int i;

	if (access(KSM "run", W_OK))
		SKIP(return, "the lab host's kernel has no page merging");
	write_text(KSM "sleep_millisecs", "0");
	write_text(KSM "pages_to_scan", "10000");
	ASSERT_EQ(0, write_text(KSM "run", "1"));
	madvise(self->mem, SIZE, MADV_NOHUGEPAGE);
	ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_MERGEABLE));
	vcpu_call(self->vcpu, merge_guest);
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(1, vcpu_sync(self->vcpu));
		do {
			sched_yield();
			ASSERT_EQ(0,
				  read_number(KSM "pages_sharing", &sharing));
		} while (sharing < PAGES / 2);
		ASSERT_EQ(2, vcpu_sync(self->vcpu));
	}
	write_text(KSM "run", "0");
}

/* Huge pages are split under the guest and put together again. */
TEST_F_TIMEOUT(memory, huge_pages_split, 100)
{
	u64 before = vmstat("thp_split_pmd");
	int i;

	NEEDS_EVENTS();
	if (access("/sys/kernel/mm/transparent_hugepage/enabled", F_OK))
		SKIP(return, "the lab host's kernel has no huge pages");
	madvise(self->mem, SIZE, MADV_HUGEPAGE);
	start(self->vcpu);
	for (i = 0; i < 5; i++) {
		madvise(self->mem, SIZE, MADV_COLLAPSE);
		wait_for_pass(self->vm);
		/* A huge page cannot be in two mappings. */
		ASSERT_EQ(0,
			  madvise(self->mem, 5 * PAGE_SIZE, MADV_NOHUGEPAGE));
		wait_for_pass(self->vm);
		ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_HUGEPAGE));
	}
	EXPECT_EQ(0, finish(self->vcpu, self->mem));
	EXPECT_LT(before, vmstat("thp_split_pmd"));
}

/*
 * fork() write-protects all memory; what the guest writes then must go into
 * new pages of its own, while the child keeps what was there.
 */
TEST_F_TIMEOUT(memory, copied_on_write, 100)
{
	int status, pipes[2], i;
	char byte = 0;
	u64 old;
	pid_t pid;

	ASSERT_EQ(0, pipe(pipes));
	start(self->vcpu);
	for (i = 0; i < 5; i++) {
		pid = fork();
		if (!pid) {
			old = *(volatile u64 *)(self->mem + 77 * PAGE_SIZE);
			if (read(pipes[0], &byte, 1) != 1)
				_exit(2);
			_exit(old !=
			      *(volatile u64 *)(self->mem + 77 * PAGE_SIZE));
		}
		wait_for_pass(self->vm);
		ASSERT_EQ(1, write(pipes[1], &byte, 1));
		waitpid(pid, &status, 0);
		EXPECT_EQ(0, status);
	}
	EXPECT_EQ(0, finish(self->vcpu, self->mem));
}

/* What the host throws away, the guest sees as zeroes at once. */
static void zero_guest(void)
{
	u64 page;

	for (;;) {
		for (page = 0; page < PAGES; page++)
			GUEST_EQ(0, *(volatile u64 *)(GPA + page * PAGE_SIZE));
		for (page = 0; page < PAGES; page++)
			*(volatile u64 *)(GPA + page * PAGE_SIZE) = page + 1;
		guest_sync(0);
	}
}

TEST_F_TIMEOUT(memory, thrown_away, 100)
{
	int i;

	vcpu_call(self->vcpu, zero_guest);
	for (i = 0; i < 5; i++) {
		EXPECT_EQ(0, vcpu_sync(self->vcpu));
		EXPECT_EQ(PAGES, *(u64 *)(self->mem + SIZE - PAGE_SIZE));
		ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_DONTNEED));
	}
}

/* How often vCPU 0 of this process's VM had its TLB flushed, or -1. */
static long tlb_flushes(void)
{
	char pattern[64], line[128];
	long value, found = -1;
	glob_t files;
	FILE *file;

	snprintf(pattern, sizeof(pattern),
		 "/sys/kernel/debug/labvisor/%d-*/stat", getpid());
	if (glob(pattern, 0, NULL, &files))
		return -1;
	file = fopen(files.gl_pathv[0], "re");
	while (file && fgets(line, sizeof(line), file))
		if (sscanf(line, "vcpu0 tlb_flushes %ld", &value) == 1)
			found = value;
	if (file)
		fclose(file);
	globfree(&files);
	return found;
}

/*
 * An emulator may forget all translations at each exit and hide that nobody
 * asked it to: look at the counter.
 */
TEST_F_TIMEOUT(memory, removal_flushes, 100)
{
	long before;

	if (tlb_flushes() < 0)
		SKIP(return, "only Labvisor counts TLB flushes, in debugfs");
	vcpu_call(self->vcpu, zero_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	before = tlb_flushes();
	ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_DONTNEED));
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	EXPECT_LT(before, tlb_flushes());
}

/* Another mapping takes the place of the memory under a slot. */
TEST_F_TIMEOUT(memory, mapped_over, 100)
{
	u8 *other = map_memory(SIZE);

	vcpu_call(self->vcpu, zero_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	ASSERT_EQ(self->mem, mremap(other, SIZE, SIZE,
				    MREMAP_MAYMOVE | MREMAP_FIXED, self->mem));
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	EXPECT_EQ(5, *(u64 *)(self->mem + 4 * PAGE_SIZE));
}

/*
 * Once the host has taken a page, nothing the guest does reaches the old one,
 * not even what a CPU in the middle of the guest does through its TLB. The guest
 * counts in two pages in turns; the host takes one, and by the other one sees
 * that the guest has been there again.
 */
static void counting_guest(void)
{
	while (!stop) {
		++*(volatile u64 *)GPA;
		++*(volatile u64 *)(GPA + PAGE_SIZE);
	}
}

static void stay_on_cpu(int cpu)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET(cpu, &one);
	sched_setaffinity(0, sizeof(one), &one);
}

TEST_F_TIMEOUT(memory, flushed_at_once, 100)
{
	volatile u64 *taken = (u64 *)self->mem;
	volatile u64 *other = (u64 *)(self->mem + PAGE_SIZE);
	u64 seen;
	int i;

	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "guest and host need a CPU each");
	madvise(self->mem, SIZE, MADV_NOHUGEPAGE);
	vcpu_call(self->vcpu, counting_guest);
	stay_on_cpu(1);
	vcpu_start(self->vcpu);
	stay_on_cpu(0);
	for (i = 0; i < 300; i++) {
		for (seen = *other; *other == seen;)
			pause_cpu();
		ASSERT_EQ(0, madvise((void *)taken, PAGE_SIZE, MADV_DONTNEED));
		for (seen = *other; *other < seen + 2;)
			pause_cpu();
		ASSERT_NE(0, *taken) TH_LOG("round %d", i);
	}
	GUEST_VAR(self->vm, stop) = true;
	EXPECT_EQ(GUEST_DONE, vcpu_join(self->vcpu));
}

/* The host cannot lose what the guest wrote: dirty pages of a file arrive. */
TEST_F_TIMEOUT(memory, written_to_file, 100)
{
	char path[] = "/tmp/memory.XXXXXX";
	int fd = mkstemp(path);
	u64 value = 0;

	ASSERT_LE(0, fd);
	ASSERT_EQ(0, ftruncate(fd, SIZE));
	ASSERT_EQ(self->mem, mmap(self->mem, SIZE, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_FIXED, fd, 0));
	start(self->vcpu);
	ASSERT_EQ(0, madvise(self->mem, SIZE, MADV_DONTNEED));
	wait_for_pass(self->vm);
	ASSERT_EQ(0, msync(self->mem, SIZE, MS_SYNC));
	EXPECT_EQ(0, finish(self->vcpu, self->mem));
	munmap(self->mem, SIZE);
	ASSERT_EQ(8, pread(fd, &value, 8, 0));
	EXPECT_NE(0, value);
	unlink(path);
}

TEST_HARNESS_MAIN
