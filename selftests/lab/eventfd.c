// SPDX-License-Identifier: GPL-2.0-only
/* Corners of eventfds and coalesced writes: sharing, bounds, a broken ring. */
#include <sys/eventfd.h>

#include "guest.h"
#include <kselftest_harness.h>

#define IOAPIC_GPA 0xfec00000ul
#define VECTOR 0x62
#define LEVEL (1u << 15)
#define MASKED (1u << 16)
#define PORT 0x510

static volatile u32 hits;

static void ioapic_pin(u32 pin, u32 low)
{
	mmio_write32(IOAPIC_GPA, 0x11 + 2 * pin);
	mmio_write32(IOAPIC_GPA + 0x10, 0);
	mmio_write32(IOAPIC_GPA, 0x10 + 2 * pin);
	mmio_write32(IOAPIC_GPA + 0x10, low);
}

FIXTURE(eventfd)
{
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(eventfd)
{
	self->vm = vm_new_irqchip();
	self->vcpu = vcpu_new(self->vm, 0);
}

FIXTURE_TEARDOWN(eventfd)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

static int new_eventfd(void)
{
	int fd = eventfd(0, EFD_NONBLOCK);

	if (fd < 0)
		die("eventfd");
	return fd;
}

static void signal_fd(int fd)
{
	u64 one = 1;

	if (write(fd, &one, sizeof(one)) != sizeof(one))
		die("write to eventfd");
}

static u64 drain(int fd)
{
	u64 count;

	return read(fd, &count, sizeof(count)) == sizeof(count) ? count : 0;
}

static int irqfd(struct vm *vm, int fd, u32 gsi, u32 flags, int resample)
{
	struct kvm_irqfd args = {
		.fd = fd, .gsi = gsi, .flags = flags, .resamplefd = resample
	};

	return dev_ioctl(vm->fd, KVM_IRQFD, &args);
}

static int ioeventfd(struct vm *vm, int fd, u64 addr, u32 len, u32 flags,
		     u64 match)
{
	struct kvm_ioeventfd args = {
		.fd = fd,
		.addr = addr,
		.len = len,
		.flags = flags,
		.datamatch = match,
	};

	return dev_ioctl(vm->fd, KVM_IOEVENTFD, &args);
}

static void resample_handler(struct trap_frame *frame)
{
	(void)frame;
	hits++;
	guest_sync(100 + hits);
	apic_eoi();
}

static void resample_guest(void)
{
	trap_handlers[VECTOR] = resample_handler;
	apic_enable();
	apic_write(APIC_LVT0, MASKED);
	ioapic_pin(9, LEVEL | VECTOR);
	sti();
	for (;;)
		guest_sync(hits);
}

TEST_F(eventfd, shared_line)
{
	int fd = new_eventfd(), again = new_eventfd();
	int fd2 = new_eventfd(), again2 = new_eventfd();

	vcpu_call(self->vcpu, resample_guest);
	EXPECT_EQ(0, irqfd(self->vm, fd, 9, KVM_IRQFD_FLAG_RESAMPLE, again));
	EXPECT_EQ(0, irqfd(self->vm, fd2, 9, KVM_IRQFD_FLAG_RESAMPLE, again2));
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	signal_fd(fd);
	EXPECT_EQ(101, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, drain(again));
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	/* Both devices that share the line are asked. */
	EXPECT_EQ(1, drain(again));
	EXPECT_EQ(1, drain(again2));
	/* One says that it still wants service. */
	signal_fd(fd2);
	EXPECT_EQ(102, vcpu_sync(self->vcpu));
	EXPECT_EQ(2, vcpu_sync(self->vcpu));
	EXPECT_EQ(1, drain(again));
	EXPECT_EQ(2, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, drain(again));
	/* The line falls with the last of them. */
	signal_fd(fd);
	EXPECT_EQ(103, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, irqfd(self->vm, fd, 9, KVM_IRQFD_FLAG_DEASSIGN, 0));
	EXPECT_EQ(0, irqfd(self->vm, fd2, 9, KVM_IRQFD_FLAG_DEASSIGN, 0));
	EXPECT_EQ(3, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, drain(again));
}

TEST_F(eventfd, bounded)
{
	int fd = new_eventfd(), ret = 0;
	u32 i;

	for (i = 0; i < 5000 && !ret; i++)
		ret = ioeventfd(self->vm, fd, MMIO_GPA + i * 4, 4, 0, 0);
	/* KVM has no limit. */
	if (lab_is_labvisor())
		EXPECT_EQ(-ENOSPC, ret);
	EXPECT_GT(i, 4000);
}

/* Coalesced writes */

static void coalesced_guest(void)
{
	u32 i;

	for (i = 0; i < 10; i++)
		mmio_write32(MMIO_GPA + 4 * i, i);
	outb(PORT, 0x77);
	guest_sync(1);
	for (i = 0; i < 100000; i++)
		mmio_write32(MMIO_GPA, i);
}

TEST_F(eventfd, broken_ring)
{
	struct kvm_coalesced_mmio_zone zone = { .addr = MMIO_GPA, .size = 32 };
	struct kvm_coalesced_mmio_zone port = { .addr = PORT,
						.size = 1,
						.pio = 1 };
	struct kvm_coalesced_mmio_ring *ring;
	int page = vm_cap(self->vm, KVM_CAP_COALESCED_MMIO);
	u32 i;

	ASSERT_GT(page, 0);
	ring = mmap(NULL, PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED,
		    self->vcpu->fd, page * PAGE_SIZE);
	ASSERT_NE(MAP_FAILED, ring);
	MUST(self->vm->fd, KVM_REGISTER_COALESCED_MMIO, &zone);
	MUST(self->vm->fd, KVM_REGISTER_COALESCED_MMIO, &port);
	port.pio = 2;
	EXPECT_EQ(-EINVAL,
		  dev_ioctl(self->vm->fd, KVM_REGISTER_COALESCED_MMIO, &port));
	port.pio = 1;

	vcpu_call(self->vcpu, coalesced_guest);
	/* The zone ends after the eighth register. */
	for (i = 8; i < 10; i++) {
		ASSERT_EXIT(KVM_EXIT_MMIO, self->vcpu);
		EXPECT_EQ(MMIO_GPA + 4 * i, self->vcpu->run->mmio.phys_addr);
	}
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, ring->first);
	EXPECT_EQ(9, ring->last);
	for (i = 0; i < 8; i++) {
		EXPECT_EQ(MMIO_GPA + 4 * i, ring->coalesced_mmio[i].phys_addr);
		EXPECT_EQ(4, ring->coalesced_mmio[i].len);
		EXPECT_EQ(i, ring->coalesced_mmio[i].data[0]);
		EXPECT_EQ(0, ring->coalesced_mmio[i].pio);
	}
	EXPECT_EQ(PORT, ring->coalesced_mmio[8].phys_addr);
	EXPECT_EQ(1, ring->coalesced_mmio[8].pio);
	EXPECT_EQ(0x77, ring->coalesced_mmio[8].data[0]);

	/* A full ring sends writes to user space. */
	ring->first = ring->last;
	ASSERT_EXIT(KVM_EXIT_MMIO, self->vcpu);
	EXPECT_NE(ring->first, ring->last);
	/* So does one that user space has broken. */
	ring->last = 0xffffffff;
	ASSERT_EXIT(KVM_EXIT_MMIO, self->vcpu);
	EXPECT_EQ(0xffffffff, ring->last);
	MUST(self->vm->fd, KVM_UNREGISTER_COALESCED_MMIO, &zone);
	ring->first = ring->last = 0;
	ASSERT_EXIT(KVM_EXIT_MMIO, self->vcpu);
	EXPECT_EQ(0, ring->last);
}

TEST_HARNESS_MAIN
