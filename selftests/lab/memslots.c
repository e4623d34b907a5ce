// SPDX-License-Identifier: GPL-2.0-only
/* Memory slots: their life cycle, what is refused, and read-only slots. */
#include <fcntl.h>
#include "guest.h"
#include <kselftest_harness.h>

#define GPA 0x2000000ul
#define SIZE (16 * PAGE_SIZE)
#define MARK 0x6d61726bu

static volatile u64 where;

/* Read the word at @where and hand it over, for ever. */
static void reader(void)
{
	for (;;)
		guest_sync(mmio_read32(where));
}

/* Write MARK to @where, then hand over what reads back. */
static void writer(void)
{
	for (;;) {
		mmio_write32(where, MARK);
		guest_sync(mmio_read32(where));
	}
}

FIXTURE(memslots)
{
	struct vm *vm;
	struct vcpu *vcpu;
	u8 *mem;
};

FIXTURE_SETUP(memslots)
{
	self->vm = vm_new();
	self->vcpu = vcpu_new(self->vm, 0);
	self->mem = map_memory(SIZE);
	vcpu_call(self->vcpu, reader);
	GUEST_VAR(self->vm, where) = GPA;
	ASSERT_EQ(0, vm_slot(self->vm, 1, 0, GPA, SIZE, self->mem));
}

FIXTURE_TEARDOWN(memslots)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
	munmap(self->mem, SIZE);
}

/* Whether the guest's next access at @gpa is an MMIO exit. */
static bool is_mmio(struct vcpu *vcpu, u64 gpa)
{
	struct kvm_run *run = vcpu->run;

	GUEST_VAR(vcpu->vm, where) = gpa;
	if (vcpu_exit(vcpu) != KVM_EXIT_MMIO)
		return false;
	if (run->mmio.phys_addr != gpa || run->mmio.len != 4)
		die("wrong MMIO exit: %s", vcpu_describe(vcpu));
	if (!run->mmio.is_write) {
		memset(run->mmio.data, 0, 4);
		vcpu_sync(vcpu);
	}
	return true;
}

TEST_F(memslots, guest_sees_host_memory)
{
	u32 i;

	for (i = 0; i < SIZE / PAGE_SIZE; i++) {
		memcpy(self->mem + i * PAGE_SIZE + 8, &i, 4);
		GUEST_VAR(self->vm, where) = GPA + i * PAGE_SIZE + 8;
		EXPECT_EQ(i, vcpu_sync(self->vcpu));
	}
}

TEST_F(memslots, host_sees_guest_memory)
{
	u32 i;

	vcpu_call(self->vcpu, writer);
	for (i = 0; i < SIZE / PAGE_SIZE; i++) {
		GUEST_VAR(self->vm, where) = GPA + i * PAGE_SIZE + 4;
		EXPECT_EQ(MARK, vcpu_sync(self->vcpu));
		EXPECT_EQ(MARK, *(u32 *)(self->mem + i * PAGE_SIZE + 4));
	}
}

TEST_F(memslots, outside_is_mmio)
{
	EXPECT_TRUE(is_mmio(self->vcpu, GPA - 4));
	EXPECT_FALSE(is_mmio(self->vcpu, GPA));
	EXPECT_FALSE(is_mmio(self->vcpu, GPA + SIZE - 4));
	EXPECT_TRUE(is_mmio(self->vcpu, GPA + SIZE));
}

TEST_F(memslots, refusals)
{
	struct vm *vm = self->vm;
	u8 *mem = self->mem;
	u32 slots = vm_cap(vm, KVM_CAP_NR_MEMSLOTS);
	const struct {
		const char *what;
		int want;
		u32 slot, flags;
		u64 gpa, size;
		void *mem;
	} table[] = {
		{ "unaligned address", -EINVAL, 2, 0, GPA * 2 + 8, SIZE, mem },
		{ "unaligned size", -EINVAL, 2, 0, GPA * 2, SIZE + 8, mem },
		{ "unaligned memory", -EINVAL, 2, 0, GPA * 2, SIZE, mem + 8 },
		{ "kernel memory", -EINVAL, 2, 0, GPA * 2, SIZE,
		  (void *)0xffff888000000000 },
		{ "address wraps", -EINVAL, 2, 0, -PAGE_SIZE, 2 * PAGE_SIZE,
		  mem },
		{ "memory wraps", -EINVAL, 2, 0, GPA * 2, SIZE,
		  (void *)-PAGE_SIZE },
		{ "too large", -EINVAL, 2, 0, GPA * 2, 1ull << 44, mem },
		{ "unknown flag", -EINVAL, 2, 1u << 31, GPA * 2, SIZE, mem },
		{ "no such slot", -EINVAL, slots, 0, GPA * 2, SIZE, mem },
		{ "no such slot", -EINVAL, ~0u, 0, GPA * 2, SIZE, mem },
		{ "delete nothing", -EINVAL, 2, 0, GPA * 2, 0, NULL },
		{ "same place", -EEXIST, 2, 0, GPA, SIZE, mem },
		{ "overlap below", -EEXIST, 2, 0, GPA - PAGE_SIZE,
		  2 * PAGE_SIZE, mem },
		{ "overlap above", -EEXIST, 2, 0, GPA + SIZE - PAGE_SIZE, SIZE,
		  mem },
		{ "overlap inside", -EEXIST, 2, 0, GPA + PAGE_SIZE, PAGE_SIZE,
		  mem },
		{ "overlap around", -EEXIST, 2, 0, GPA - PAGE_SIZE, 3 * SIZE,
		  mem },
		{ "move onto another", -EEXIST, 1, 0, 0, SIZE, mem },
		{ "resize", -EINVAL, 1, 0, GPA, SIZE - PAGE_SIZE, mem },
		{ "new memory", -EINVAL, 1, 0, GPA, SIZE, mem - SIZE },
		{ "become read-only", -EINVAL, 1, KVM_MEM_READONLY, GPA, SIZE,
		  mem },
	};
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(table); i++) {
		EXPECT_EQ(table[i].want,
			  vm_slot(vm, table[i].slot, table[i].flags,
				  table[i].gpa, table[i].size, table[i].mem))
		TH_LOG("%s", table[i].what);
		EXPECT_TRUE(is_mmio(self->vcpu, GPA - 4));
		*(u32 *)mem = i;
		GUEST_VAR(vm, where) = GPA;
		EXPECT_EQ(i, vcpu_sync(self->vcpu)) TH_LOG("%s", table[i].what);
	}
}

TEST_F(memslots, delete)
{
	EXPECT_FALSE(is_mmio(self->vcpu, GPA));
	EXPECT_EQ(0, vm_slot(self->vm, 1, 0, GPA, 0, NULL));
	EXPECT_TRUE(is_mmio(self->vcpu, GPA));
	EXPECT_EQ(-EINVAL, vm_slot(self->vm, 1, 0, GPA, 0, NULL));
	EXPECT_EQ(0, vm_slot(self->vm, 1, 0, GPA, SIZE, self->mem));
	EXPECT_FALSE(is_mmio(self->vcpu, GPA));
}

TEST_F(memslots, recreate_elsewhere)
{
	u8 *other = map_memory(PAGE_SIZE);

	*(u32 *)self->mem = 1;
	*(u32 *)other = 2;
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, vm_slot(self->vm, 1, 0, 0, 0, NULL));
	EXPECT_EQ(0, vm_slot(self->vm, 1, 0, GPA, PAGE_SIZE, other));
	EXPECT_EQ(2, vcpu_sync(self->vcpu));
	EXPECT_TRUE(is_mmio(self->vcpu, GPA + PAGE_SIZE));
}

TEST_F(memslots, move)
{
	*(u32 *)self->mem = MARK;
	EXPECT_EQ(MARK, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, vm_slot(self->vm, 1, 0, 2 * GPA, SIZE, self->mem));
	EXPECT_TRUE(is_mmio(self->vcpu, GPA));
	GUEST_VAR(self->vm, where) = 2 * GPA;
	EXPECT_EQ(MARK, vcpu_sync(self->vcpu));
	/* By less than its own size, so that old and new place overlap */
	EXPECT_EQ(0, vm_slot(self->vm, 1, 0, 2 * GPA + PAGE_SIZE, SIZE,
			     self->mem));
	EXPECT_TRUE(is_mmio(self->vcpu, 2 * GPA));
	GUEST_VAR(self->vm, where) = 2 * GPA + PAGE_SIZE;
	EXPECT_EQ(MARK, vcpu_sync(self->vcpu));
}

TEST_F(memslots, same_memory_twice)
{
	EXPECT_EQ(0, vm_slot(self->vm, 2, 0, 2 * GPA, SIZE, self->mem));
	vcpu_call(self->vcpu, writer);
	EXPECT_EQ(MARK, vcpu_sync(self->vcpu));
	vcpu_call(self->vcpu, reader);
	GUEST_VAR(self->vm, where) = 2 * GPA;
	EXPECT_EQ(MARK, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, vm_slot(self->vm, 1, 0, 0, 0, NULL));
	EXPECT_EQ(MARK, vcpu_sync(self->vcpu));
}

TEST_F(memslots, read_only)
{
	struct kvm_run *run = self->vcpu->run;
	u32 *word = (u32 *)self->mem;

	*word = 7;
	ASSERT_EQ(0, vm_slot(self->vm, 1, 0, 0, 0, NULL));
	ASSERT_EQ(0, vm_slot(self->vm, 1, KVM_MEM_READONLY, GPA, SIZE, word));
	EXPECT_EQ(7, vcpu_sync(self->vcpu));
	vcpu_call(self->vcpu, writer);
	ASSERT_EXIT(KVM_EXIT_MMIO, self->vcpu);
	EXPECT_TRUE(run->mmio.is_write);
	EXPECT_EQ(GPA, run->mmio.phys_addr);
	EXPECT_EQ(4, run->mmio.len);
	EXPECT_EQ(0, memcmp(run->mmio.data, &(u32){ MARK }, 4));
	EXPECT_EQ(7, vcpu_sync(self->vcpu));
	EXPECT_EQ(7, *word);
	EXPECT_EQ(-EINVAL, vm_slot(self->vm, 1, 0, GPA, SIZE, word));
}

/* A page that nobody wrote to yet must not become writable by being read. */
TEST_F(memslots, read_only_memory)
{
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ));
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	vcpu_call(self->vcpu, writer);
	EXPECT_EQ(-EFAULT, vcpu_run(self->vcpu));
	EXPECT_EQ(0, *(u32 *)self->mem);
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ | PROT_WRITE));
	EXPECT_EQ(MARK, vcpu_sync(self->vcpu));
	EXPECT_EQ(MARK, *(u32 *)self->mem);
}

TEST_F(memslots, no_memory)
{
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_NONE));
	EXPECT_EQ(-EFAULT, vcpu_run(self->vcpu));
	ASSERT_EQ(0, mprotect(self->mem, SIZE, PROT_READ | PROT_WRITE));
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	munmap(self->mem, SIZE);
	EXPECT_EQ(-EFAULT, vcpu_run(self->vcpu));
}

TEST_F(memslots, file_memory)
{
	int fd = memfd_create("guest", 0);
	u32 value = 0;
	u8 *mem;

	ASSERT_EQ(0, ftruncate(fd, PAGE_SIZE));
	mem = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	ASSERT_NE(MAP_FAILED, mem);
	ASSERT_EQ(0, vm_slot(self->vm, 2, 0, 2 * GPA, PAGE_SIZE, mem));
	GUEST_VAR(self->vm, where) = 2 * GPA;
	vcpu_call(self->vcpu, writer);
	EXPECT_EQ(MARK, vcpu_sync(self->vcpu));
	EXPECT_EQ(4, pread(fd, &value, 4, 0));
	EXPECT_EQ(MARK, value);
	/* The page goes away under the guest, which then has to say so. */
	ASSERT_EQ(0, ftruncate(fd, 0));
	EXPECT_EQ(-EFAULT, vcpu_run(self->vcpu));
	ASSERT_EQ(0, ftruncate(fd, PAGE_SIZE));
	vcpu_call(self->vcpu, reader);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
}

TEST_F(memslots, many)
{
	const unsigned int n = 200;
	u8 *mem = map_memory(n * PAGE_SIZE);
	unsigned int i, k;

	ASSERT_LE(n + 2, vm_cap(self->vm, KVM_CAP_NR_MEMSLOTS));
	for (i = 0; i < n; i++) {
		k = i * 37 % n;
		*(u32 *)(mem + k * PAGE_SIZE) = k;
		ASSERT_EQ(0, vm_slot(self->vm, 2 + k, 0,
				     2 * GPA + 2 * k * PAGE_SIZE, PAGE_SIZE,
				     mem + k * PAGE_SIZE));
	}
	for (i = 0; i < n; i++) {
		GUEST_VAR(self->vm, where) = 2 * GPA + 2 * i * PAGE_SIZE;
		ASSERT_EQ(i, vcpu_sync(self->vcpu));
		ASSERT_TRUE(
			is_mmio(self->vcpu, 2 * GPA + (2 * i + 1) * PAGE_SIZE));
	}
	for (i = 1; i < n; i += 2)
		ASSERT_EQ(0, vm_slot(self->vm, 2 + i, 0, 0, 0, NULL));
	for (i = 0; i < n; i++)
		ASSERT_EQ(i & 1,
			  is_mmio(self->vcpu, 2 * GPA + 2 * i * PAGE_SIZE));
}

static volatile bool stop;

/* Read until told to stop; the word is @MARK or, while there is no slot, 0. */
static void busy_reader(void)
{
	u32 value;

	while (!stop) {
		value = mmio_read32(GPA);
		GUEST_ASSERT(value == MARK || value == 0);
	}
}

static void *answer_mmio(void *arg)
{
	struct vcpu *vcpu = arg;

	while (vcpu_exit(vcpu) == KVM_EXIT_MMIO)
		memset(vcpu->run->mmio.data, 0, 8);
	return NULL;
}

TEST_F(memslots, delete_while_running)
{
	pthread_t thread;
	int i;

	*(u32 *)self->mem = MARK;
	vcpu_call(self->vcpu, busy_reader);
	pthread_create(&thread, NULL, answer_mmio, self->vcpu);
	for (i = 0; i < 300; i++) {
		ASSERT_EQ(0, vm_slot(self->vm, 1, 0, 0, 0, NULL));
		ASSERT_EQ(0, vm_slot(self->vm, 1, 0, GPA, SIZE, self->mem));
	}
	GUEST_VAR(self->vm, stop) = true;
	pthread_join(thread, NULL);
	EXPECT_EQ(KVM_EXIT_IO, self->vcpu->run->exit_reason);
}

TEST_HARNESS_MAIN
