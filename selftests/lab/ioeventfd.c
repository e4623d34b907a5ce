// SPDX-License-Identifier: GPL-2.0-only
/* Writes that signal an eventfd, and writes that are collected in a ring. */
#include <sys/eventfd.h>
#include "guest.h"
#include <kselftest_harness.h>

#define PORT 0x1f0

FIXTURE(ioeventfd)
{
	struct vm *vm;
	struct vcpu *vcpu;
	int event;
};

FIXTURE_SETUP(ioeventfd)
{
	self->vm = vm_new();
	self->vcpu = vcpu_new(self->vm, 0);
	self->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

FIXTURE_TEARDOWN(ioeventfd)
{
	close(self->event);
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

static int ioeventfd(struct vm *vm, int fd, u64 addr, u32 len, u32 flags,
		     u64 match)
{
	struct kvm_ioeventfd arg = {
		.fd = fd,
		.addr = addr,
		.len = len,
		.flags = flags,
		.datamatch = match,
	};

	return dev_ioctl(vm->fd, KVM_IOEVENTFD, &arg);
}

/* How often the event was signalled since the last time. */
static u64 signals(int fd)
{
	u64 value;

	return read(fd, &value, 8) == 8 ? value : 0;
}

/* The guest does what it is told, and reports. */
static volatile u64 target, value;
static volatile u32 size;

static void writer(void)
{
	for (;;) {
		switch (size) {
		case 1:
			asm volatile("movb %b0, (%1)" ::"r"(value),
				     "r"(target));
			break;
		case 2:
			asm volatile("movw %w0, (%1)" ::"r"(value),
				     "r"(target));
			break;
		case 4:
			asm volatile("movl %k0, (%1)" ::"r"(value),
				     "r"(target));
			break;
		case 8:
			asm volatile("movq %q0, (%1)" ::"r"(value),
				     "r"(target));
			break;
		}
		guest_sync(0);
	}
}

/* Whether the write reaches user space. */
static bool write_exits(struct vcpu *vcpu, u64 addr, u32 len, u64 data)
{
	GUEST_VAR(vcpu->vm, target) = addr;
	GUEST_VAR(vcpu->vm, size) = len;
	GUEST_VAR(vcpu->vm, value) = data;
	if (vcpu_exit(vcpu) != KVM_EXIT_MMIO)
		return false;
	vcpu_sync(vcpu);
	return true;
}

TEST_F(ioeventfd, mmio)
{
	vcpu_call(self->vcpu, writer);
	ASSERT_EQ(0, ioeventfd(self->vm, self->event, MMIO_GPA, 4, 0, 0));
	EXPECT_FALSE(write_exits(self->vcpu, MMIO_GPA, 4, 7));
	EXPECT_FALSE(write_exits(self->vcpu, MMIO_GPA, 4, 9));
	EXPECT_EQ(2, signals(self->event));
	EXPECT_TRUE(write_exits(self->vcpu, MMIO_GPA, 2, 7)) TH_LOG("size");
	EXPECT_TRUE(write_exits(self->vcpu, MMIO_GPA + 4, 4, 7));
	EXPECT_EQ(0, signals(self->event));
	ASSERT_EQ(0, ioeventfd(self->vm, self->event, MMIO_GPA, 4,
			       KVM_IOEVENTFD_FLAG_DEASSIGN, 0));
	EXPECT_TRUE(write_exits(self->vcpu, MMIO_GPA, 4, 7));
	EXPECT_EQ(0, signals(self->event));
}

TEST_F(ioeventfd, datamatch)
{
	int other = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	u32 len;

	vcpu_call(self->vcpu, writer);
	for (len = 1; len <= 8; len *= 2) {
		ASSERT_EQ(0, ioeventfd(self->vm, self->event, MMIO_GPA, len,
				       KVM_IOEVENTFD_FLAG_DATAMATCH, 5));
		ASSERT_EQ(0, ioeventfd(self->vm, other, MMIO_GPA, len,
				       KVM_IOEVENTFD_FLAG_DATAMATCH, 6));
		EXPECT_FALSE(write_exits(self->vcpu, MMIO_GPA, len, 5));
		EXPECT_FALSE(write_exits(self->vcpu, MMIO_GPA, len, 6));
		EXPECT_TRUE(write_exits(self->vcpu, MMIO_GPA, len, 7));
		EXPECT_EQ(1, signals(self->event));
		EXPECT_EQ(1, signals(other));
	}
}

TEST_F(ioeventfd, any_length)
{
	u32 len;

	vcpu_call(self->vcpu, writer);
	ASSERT_EQ(0, ioeventfd(self->vm, self->event, MMIO_GPA, 0, 0, 0));
	for (len = 1; len <= 8; len *= 2)
		EXPECT_FALSE(write_exits(self->vcpu, MMIO_GPA, len, 5));
	EXPECT_EQ(4, signals(self->event));
	EXPECT_TRUE(write_exits(self->vcpu, MMIO_GPA + 1, 1, 5));
}

static void port_guest(void)
{
	outb(PORT, 1);
	outb(PORT, 2);
	outl(PORT, 1);
	guest_sync(inb(PORT));
}

TEST_F(ioeventfd, port)
{
	struct kvm_run *run = self->vcpu->run;

	vcpu_call(self->vcpu, port_guest);
	ASSERT_EQ(0, ioeventfd(self->vm, self->event, PORT, 1,
			       KVM_IOEVENTFD_FLAG_PIO, 0));
	ASSERT_EXIT(KVM_EXIT_IO, self->vcpu);
	EXPECT_EQ(4, run->io.size);
	EXPECT_EQ(2, signals(self->event));
	ASSERT_EXIT(KVM_EXIT_IO, self->vcpu);
	EXPECT_EQ(KVM_EXIT_IO_IN, run->io.direction);
	*((u8 *)run + run->io.data_offset) = 0x77;
	EXPECT_EQ(0x77, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, signals(self->event));
}

static void read_guest(void)
{
	guest_sync(mmio_read32(MMIO_GPA));
}

TEST_F(ioeventfd, reads_exit)
{
	vcpu_call(self->vcpu, read_guest);
	ASSERT_EQ(0, ioeventfd(self->vm, self->event, MMIO_GPA, 4, 0, 0));
	ASSERT_EXIT(KVM_EXIT_MMIO, self->vcpu);
	EXPECT_EQ(0, signals(self->event));
}

TEST_F(ioeventfd, refusals)
{
	struct vm *vm = self->vm;
	int fd = self->event;

	EXPECT_EQ(-EBADF, ioeventfd(vm, -1, MMIO_GPA, 4, 0, 0));
	EXPECT_EQ(-EINVAL, ioeventfd(vm, vm->fd, MMIO_GPA, 4, 0, 0));
	EXPECT_EQ(-EINVAL, ioeventfd(vm, fd, MMIO_GPA, 3, 0, 0));
	EXPECT_EQ(-EINVAL, ioeventfd(vm, fd, MMIO_GPA, 16, 0, 0));
	EXPECT_EQ(-EINVAL, ioeventfd(vm, fd, MMIO_GPA, 4, 1u << 31, 0));
	EXPECT_EQ(-EINVAL, ioeventfd(vm, fd, ~0ull - 1, 4, 0, 0));
	EXPECT_EQ(-EINVAL, ioeventfd(vm, fd, MMIO_GPA, 0,
				     KVM_IOEVENTFD_FLAG_DATAMATCH, 1));
	EXPECT_EQ(-ENOENT, ioeventfd(vm, fd, MMIO_GPA, 4,
				     KVM_IOEVENTFD_FLAG_DEASSIGN, 0));
	EXPECT_EQ(0, ioeventfd(vm, fd, MMIO_GPA, 4, 0, 0));
	EXPECT_EQ(-EEXIST, ioeventfd(vm, fd, MMIO_GPA, 4, 0, 0));
	EXPECT_EQ(-ENOENT, ioeventfd(vm, fd, MMIO_GPA, 4,
				     KVM_IOEVENTFD_FLAG_DEASSIGN |
					     KVM_IOEVENTFD_FLAG_DATAMATCH,
				     0));
}

/* Coalesced MMIO */

static struct kvm_coalesced_mmio_ring *get_ring(struct vcpu *vcpu)
{
	int page = vm_cap(vcpu->vm, KVM_CAP_COALESCED_MMIO);

	return (void *)((u8 *)vcpu->run + page * PAGE_SIZE);
}

static int zone(struct vm *vm, unsigned long request, u64 addr, u32 len)
{
	struct kvm_coalesced_mmio_zone arg = { .addr = addr, .size = len };

	return dev_ioctl(vm->fd, request, &arg);
}

TEST_F(ioeventfd, coalesced)
{
	struct kvm_coalesced_mmio_ring *ring = get_ring(self->vcpu);
	struct kvm_coalesced_mmio *entry;
	u32 i;

	vcpu_call(self->vcpu, writer);
	ASSERT_EQ(0, zone(self->vm, KVM_REGISTER_COALESCED_MMIO, MMIO_GPA, 16));
	for (i = 0; i < 4; i++)
		EXPECT_FALSE(
			write_exits(self->vcpu, MMIO_GPA + 4 * i, 4, i + 1));
	EXPECT_TRUE(write_exits(self->vcpu, MMIO_GPA + 16, 4, 9));
	EXPECT_TRUE(write_exits(self->vcpu, MMIO_GPA + 14, 4, 9));
	EXPECT_EQ(4, ring->last - ring->first);
	for (i = 0; i < 4; i++) {
		entry = &ring->coalesced_mmio[ring->first + i];
		EXPECT_EQ(MMIO_GPA + 4 * i, entry->phys_addr);
		EXPECT_EQ(4, entry->len);
		EXPECT_EQ(0, memcmp(entry->data, &(u32){ i + 1 }, 4));
	}
	ring->first = ring->last;
	ASSERT_EQ(0,
		  zone(self->vm, KVM_UNREGISTER_COALESCED_MMIO, MMIO_GPA, 16));
	EXPECT_TRUE(write_exits(self->vcpu, MMIO_GPA, 4, 1));
}

/* A full ring exits, and nothing is lost. */
TEST_F(ioeventfd, coalesced_full)
{
	struct kvm_coalesced_mmio_ring *ring = get_ring(self->vcpu);
	u32 n = 0;

	vcpu_call(self->vcpu, writer);
	ASSERT_EQ(0, zone(self->vm, KVM_REGISTER_COALESCED_MMIO, MMIO_GPA, 16));
	while (!write_exits(self->vcpu, MMIO_GPA, 4, n))
		n++;
	/* KVM of Linux 6.1 finds half of the ring full. */
	EXPECT_EQ(lab_is_labvisor() ? KVM_COALESCED_MMIO_MAX - 1 : 85, n);
	EXPECT_EQ(0,
		  memcmp(ring->coalesced_mmio[n - 1].data, &(u32){ n - 1 }, 4));
	/* A ring that user space spoiled is user space's loss only. */
	ring->first = 0x7fffffff;
	ring->last = 0x12345678;
	write_exits(self->vcpu, MMIO_GPA, 4, n);
	ring->first = ring->last = 0;
	EXPECT_FALSE(write_exits(self->vcpu, MMIO_GPA, 4, n));
}

TEST_HARNESS_MAIN
