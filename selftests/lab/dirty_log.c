// SPDX-License-Identifier: GPL-2.0-only
/* The dirty log names the pages that a guest wrote to: all, and no others. */
#include "guest.h"
#include <kselftest_harness.h>

#define GPA 0x2000000ul
#define PAGES 1024ul /* two large mappings */
#define SIZE (PAGES * PAGE_SIZE)
#define WORDS (PAGES / 64)

static volatile u64 list[PAGES];
static volatile u64 listed;

/* Write to each listed page, then report; for ever. */
static void writer(void)
{
	u64 i;

	for (;;) {
		for (i = 0; i < listed; i++)
			++*(volatile u64 *)(GPA + list[i] * PAGE_SIZE);
		guest_sync(0);
	}
}

FIXTURE(dirty_log)
{
	struct vm *vm;
	struct vcpu *vcpu;
	u8 *mem;
	u64 log[WORDS];
};

FIXTURE_SETUP(dirty_log)
{
	u8 *mem = map_memory(SIZE + 2 * MIB);

	self->vm = vm_new();
	self->vcpu = vcpu_new(self->vm, 0);
	self->mem = (u8 *)(((uintptr_t)mem + 2 * MIB - 1) & -(2 * MIB));
	madvise(self->mem, SIZE, MADV_HUGEPAGE);
	memset(self->mem, 0, SIZE);
	ASSERT_EQ(0, vm_slot(self->vm, 1, 0, GPA, SIZE, self->mem));
	vcpu_call(self->vcpu, writer);
}

FIXTURE_TEARDOWN(dirty_log)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

static int get_log(struct vm *vm, u32 slot, u64 *log)
{
	struct kvm_dirty_log arg = { .slot = slot, .dirty_bitmap = log };

	return dev_ioctl(vm->fd, KVM_GET_DIRTY_LOG, &arg);
}

static int clear_log(struct vm *vm, u32 slot, u64 first, u32 pages, u64 *log)
{
	struct kvm_clear_dirty_log arg = {
		.slot = slot,
		.first_page = first,
		.num_pages = pages,
		.dirty_bitmap = log,
	};

	return dev_ioctl(vm->fd, KVM_CLEAR_DIRTY_LOG, &arg);
}

static int set_logging(struct vm *vm, u8 *mem, bool on)
{
	return vm_slot(vm, 1, on ? KVM_MEM_LOG_DIRTY_PAGES : 0, GPA, SIZE, mem);
}

/* Have the guest write to @count pages: @first, @first + @step, ... */
static void write_pages(struct vcpu *vcpu, u64 first, u64 step, u64 count)
{
	u64 i;

	for (i = 0; i < count; i++)
		GUEST_VAR(vcpu->vm, list[i]) = first + i * step;
	GUEST_VAR(vcpu->vm, listed) = count;
	vcpu_sync(vcpu);
}

/* Whether @log holds exactly the pages of write_pages(). */
static bool log_is(const u64 *log, u64 first, u64 step, u64 count)
{
	u64 want[WORDS] = {}, i, page;

	for (i = 0; i < count; i++) {
		page = first + i * step;
		want[page / 64] |= 1ull << page % 64;
	}
	return !memcmp(want, log, sizeof(want));
}

TEST_F(dirty_log, refusals)
{
	struct kvm_dirty_log bad = { .slot = 1, .dirty_bitmap = (void *)8 };
	u32 slots = vm_cap(self->vm, KVM_CAP_NR_MEMSLOTS);

	EXPECT_EQ(-ENOENT, get_log(self->vm, 1, self->log))
	TH_LOG("not logged");
	EXPECT_EQ(-ENOENT, get_log(self->vm, 2, self->log))
	TH_LOG("empty slot");
	EXPECT_EQ(-EINVAL, get_log(self->vm, slots, self->log));
	ASSERT_EQ(0, set_logging(self->vm, self->mem, true));
	write_pages(self->vcpu, 5, 7, 3);
	EXPECT_EQ(-EFAULT, dev_ioctl(self->vm->fd, KVM_GET_DIRTY_LOG, &bad));
	ASSERT_EQ(0, set_logging(self->vm, self->mem, false));
	EXPECT_EQ(-ENOENT, get_log(self->vm, 1, self->log))
	TH_LOG("turned off");
}

TEST_F(dirty_log, exact)
{
	ASSERT_EQ(0, set_logging(self->vm, self->mem, true));
	ASSERT_EQ(0, get_log(self->vm, 1, self->log));
	EXPECT_TRUE(log_is(self->log, 0, 0, 0)) TH_LOG("nothing was written");
	write_pages(self->vcpu, 1, 63, 16);
	ASSERT_EQ(0, get_log(self->vm, 1, self->log));
	EXPECT_TRUE(log_is(self->log, 1, 63, 16));
	ASSERT_EQ(0, get_log(self->vm, 1, self->log));
	EXPECT_TRUE(log_is(self->log, 0, 0, 0)) TH_LOG("reading clears");
	write_pages(self->vcpu, 1, 63, 8);
	ASSERT_EQ(0, get_log(self->vm, 1, self->log));
	EXPECT_TRUE(log_is(self->log, 1, 63, 8)) TH_LOG("written again");
	write_pages(self->vcpu, 0, 1, PAGES);
	ASSERT_EQ(0, get_log(self->vm, 1, self->log));
	EXPECT_TRUE(log_is(self->log, 0, 1, PAGES));
}

/* Large writable mappings have to go when logging starts. */
TEST_F(dirty_log, under_large_mappings)
{
	write_pages(self->vcpu, 0, 1, PAGES);
	ASSERT_EQ(0, set_logging(self->vm, self->mem, true));
	write_pages(self->vcpu, 511, 1, 2);
	ASSERT_EQ(0, get_log(self->vm, 1, self->log));
	EXPECT_TRUE(log_is(self->log, 511, 1, 2));
	ASSERT_EQ(0, set_logging(self->vm, self->mem, false));
	write_pages(self->vcpu, 0, 1, PAGES);
	ASSERT_EQ(0, set_logging(self->vm, self->mem, true));
	write_pages(self->vcpu, 3, 1, 1);
	ASSERT_EQ(0, get_log(self->vm, 1, self->log));
	EXPECT_TRUE(log_is(self->log, 3, 1, 1));
	EXPECT_EQ(3, *(u64 *)(self->mem + 511 * PAGE_SIZE));
}

/* A write counts for the slot that it went through, not for its memory. */
TEST_F(dirty_log, one_slot_of_two)
{
	u64 other[1] = { ~0ull };

	ASSERT_EQ(0, vm_slot(self->vm, 2, KVM_MEM_LOG_DIRTY_PAGES, 2 * GPA,
			     64 * PAGE_SIZE, self->mem));
	ASSERT_EQ(0, set_logging(self->vm, self->mem, true));
	write_pages(self->vcpu, 2, 1, 1);
	ASSERT_EQ(0, get_log(self->vm, 2, other));
	EXPECT_EQ(0, other[0]);
	ASSERT_EQ(0, get_log(self->vm, 1, self->log));
	EXPECT_TRUE(log_is(self->log, 2, 1, 1));
}

TEST_F(dirty_log, cleared_by_hand)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		.args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE },
	};
	u64 *log = self->log;

	if (!vm_cap(self->vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2))
		SKIP(return,
			   "KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2 is not offered");
	ASSERT_EQ(0, dev_ioctl(self->vm->fd, KVM_ENABLE_CAP, &cap));
	ASSERT_EQ(0, set_logging(self->vm, self->mem, true));
	write_pages(self->vcpu, 0, 8, 128);
	ASSERT_EQ(0, get_log(self->vm, 1, log));
	EXPECT_TRUE(log_is(log, 0, 8, 128));
	ASSERT_EQ(0, get_log(self->vm, 1, log));
	EXPECT_TRUE(log_is(log, 0, 8, 128)) TH_LOG("reading keeps");

	EXPECT_EQ(-EINVAL, clear_log(self->vm, 1, 1, 64, log));
	EXPECT_EQ(-EINVAL, clear_log(self->vm, 1, 0, 63, log));
	EXPECT_EQ(-EINVAL, clear_log(self->vm, 1, PAGES, 64, log));
	EXPECT_EQ(-EINVAL, clear_log(self->vm, 1, 0, PAGES + 64, log));
	EXPECT_EQ(-ENOENT, clear_log(self->vm, 2, 0, 64, log));
	EXPECT_EQ(-EFAULT, clear_log(self->vm, 1, 0, 64, (u64 *)8));

	ASSERT_EQ(0, clear_log(self->vm, 1, 0, 512, log));
	ASSERT_EQ(0, get_log(self->vm, 1, log));
	EXPECT_TRUE(log_is(log, 512, 8, 64));
	write_pages(self->vcpu, 9, 1, 1);
	ASSERT_EQ(0, clear_log(self->vm, 1, 512, 512, log + 8));
	ASSERT_EQ(0, get_log(self->vm, 1, log));
	EXPECT_TRUE(log_is(log, 9, 1, 1));
}

TEST_F(dirty_log, initially_all_set)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2,
		.args = { KVM_DIRTY_LOG_MANUAL_PROTECT_ENABLE |
			  KVM_DIRTY_LOG_INITIALLY_SET },
	};

	if (!(vm_cap(self->vm, KVM_CAP_MANUAL_DIRTY_LOG_PROTECT2) &
	      KVM_DIRTY_LOG_INITIALLY_SET))
		SKIP(return, "KVM_DIRTY_LOG_INITIALLY_SET is not offered");
	ASSERT_EQ(0, dev_ioctl(self->vm->fd, KVM_ENABLE_CAP, &cap));
	write_pages(self->vcpu, 0, 1, PAGES);
	ASSERT_EQ(0, set_logging(self->vm, self->mem, true));
	ASSERT_EQ(0, get_log(self->vm, 1, self->log));
	EXPECT_TRUE(log_is(self->log, 0, 1, PAGES));
	ASSERT_EQ(0, clear_log(self->vm, 1, 0, PAGES, self->log));
	write_pages(self->vcpu, 700, 1, 1);
	ASSERT_EQ(0, get_log(self->vm, 1, self->log));
	EXPECT_TRUE(log_is(self->log, 700, 1, 1));
}

static volatile bool stop;

/* Write to pages in a scattered order until told to stop. */
static void busy_writer(void)
{
	u64 i, page = 0;

	for (i = 0; !stop; i++) {
		page = (page + 389) % PAGES;
		*(volatile u64 *)(GPA + page * PAGE_SIZE) = i;
	}
}

/* Copy the logged pages, as live migration does; the value is their number. */
static u64 copy_logged(struct vm *vm, const u8 *mem, u8 *copy)
{
	u64 log[WORDS], page, copied = 0;

	if (get_log(vm, 1, log))
		die("the log cannot be read");
	for (page = 0; page < PAGES; page++) {
		if (!(log[page / 64] >> page % 64 & 1))
			continue;
		copied++;
		memcpy(copy + page * PAGE_SIZE, mem + page * PAGE_SIZE,
		       PAGE_SIZE);
	}
	return copied;
}

TEST_F(dirty_log, copy_of_a_running_guest)
{
	u8 *copy = map_memory(SIZE);
	u64 copied = 0;

	ASSERT_EQ(0, set_logging(self->vm, self->mem, true));
	vcpu_call(self->vcpu, busy_writer);
	vcpu_start(self->vcpu);
	while (copied < 4 * PAGES)
		copied += copy_logged(self->vm, self->mem, copy);
	GUEST_VAR(self->vm, stop) = true;
	vcpu_join(self->vcpu);
	copy_logged(self->vm, self->mem, copy);
	EXPECT_EQ(0, memcmp(copy, self->mem, SIZE));
}

TEST_F(dirty_log, switched_while_running)
{
	int i;

	vcpu_call(self->vcpu, busy_writer);
	vcpu_start(self->vcpu);
	for (i = 0; i < 100; i++) {
		ASSERT_EQ(0, set_logging(self->vm, self->mem, true));
		ASSERT_EQ(0, get_log(self->vm, 1, self->log));
		ASSERT_EQ(0, set_logging(self->vm, self->mem, false));
	}
	GUEST_VAR(self->vm, stop) = true;
	vcpu_join(self->vcpu);
}

TEST_HARNESS_MAIN
