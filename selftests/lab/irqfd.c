// SPDX-License-Identifier: GPL-2.0-only
/* Interrupts by eventfd, and level-triggered ones that ask for resampling. */
#include <poll.h>
#include <sys/eventfd.h>
#include <sched.h>
#include "guest.h"
#include <kselftest_harness.h>

#define VECTOR 0x63
#define GSI 9
#define IOAPIC_GPA 0xfec00000ul
#define LEVEL (1u << 15)

static volatile u32 hits;

static void on_irq(struct trap_frame *frame)
{
	hits++;
	apic_eoi();
}

static void ioapic_pin(u32 pin, u32 low)
{
	mmio_write32(IOAPIC_GPA, 0x11 + 2 * pin);
	mmio_write32(IOAPIC_GPA + 0x10, 0);
	mmio_write32(IOAPIC_GPA, 0x10 + 2 * pin);
	mmio_write32(IOAPIC_GPA + 0x10, low);
}

static void set_up(u32 mode)
{
	trap_handlers[VECTOR] = on_irq;
	apic_enable();
	apic_write(APIC_LVT0, 0x10000); /* no PIC */
	ioapic_pin(GSI, mode | VECTOR);
	sti();
}

static void edge_guest(void)
{
	set_up(0);
	for (;;)
		guest_sync(hits);
}

static void level_guest(void)
{
	set_up(LEVEL);
	for (;;)
		guest_sync(hits);
}

static void halt_guest(void)
{
	u32 seen;

	set_up(0);
	for (;;) {
		seen = hits;
		guest_sync(seen);
		cli();
		while (hits == seen) {
			sti_hlt();
			cli();
		}
		sti();
	}
}

FIXTURE(irqfd)
{
	struct vm *vm;
	struct vcpu *vcpu;
	int event;
};

FIXTURE_SETUP(irqfd)
{
	self->vm = vm_new_irqchip();
	self->vcpu = vcpu_new(self->vm, 0);
	self->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

FIXTURE_TEARDOWN(irqfd)
{
	close(self->event);
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

static int irqfd(struct vm *vm, int fd, u32 gsi, u32 flags, int resample)
{
	struct kvm_irqfd arg = {
		.fd = fd,
		.gsi = gsi,
		.flags = flags,
		.resamplefd = resample,
	};

	return dev_ioctl(vm->fd, KVM_IRQFD, &arg);
}

static void signal_event(int fd)
{
	u64 one = 1;

	if (write(fd, &one, 8) != 8)
		die("eventfd: %m");
}

static bool is_signalled(int fd)
{
	u64 value;

	return read(fd, &value, 8) == 8;
}

TEST_F(irqfd, edge)
{
	u32 i;

	vcpu_call(self->vcpu, edge_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	ASSERT_EQ(0, irqfd(self->vm, self->event, GSI, 0, 0));
	for (i = 1; i <= 5; i++) {
		signal_event(self->event);
		EXPECT_EQ(i, vcpu_sync(self->vcpu));
	}
	/* The kernel has taken what was written. */
	EXPECT_FALSE(is_signalled(self->event));
	ASSERT_EQ(0, irqfd(self->vm, self->event, GSI, KVM_IRQFD_FLAG_DEASSIGN,
			   0));
	signal_event(self->event);
	EXPECT_EQ(5, vcpu_sync(self->vcpu));
	EXPECT_TRUE(is_signalled(self->event));
}

TEST_F(irqfd, by_msi_route)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} routing = {
		.head.nr = 1,
		.entry = {
			.gsi = 30,
			.type = KVM_IRQ_ROUTING_MSI,
			.u.msi = { .address_lo = APIC_GPA, .data = VECTOR },
		},
	};

	vcpu_call(self->vcpu, edge_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	ASSERT_EQ(0, irqfd(self->vm, self->event, 30, 0, 0));
	signal_event(self->event);
	EXPECT_EQ(0, vcpu_sync(self->vcpu)) TH_LOG("there is no route yet");
	ASSERT_EQ(0, dev_ioctl(self->vm->fd, KVM_SET_GSI_ROUTING, &routing));
	signal_event(self->event);
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	/* The irqfd follows its route. */
	routing.entry.u.msi.data = VECTOR + 1;
	routing.entry.gsi = 31;
	ASSERT_EQ(0, dev_ioctl(self->vm->fd, KVM_SET_GSI_ROUTING, &routing));
	signal_event(self->event);
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
}

/* Signalled before it was attached: the interrupt is not lost. */
TEST_F(irqfd, signalled_before)
{
	vcpu_call(self->vcpu, edge_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	signal_event(self->event);
	ASSERT_EQ(0, irqfd(self->vm, self->event, GSI, 0, 0));
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
}

TEST_F(irqfd, wakes_from_halt)
{
	u32 i;

	vcpu_call(self->vcpu, halt_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	ASSERT_EQ(0, irqfd(self->vm, self->event, GSI, 0, 0));
	for (i = 1; i <= 100; i++) {
		vcpu_start(self->vcpu);
		if (i & 1)
			sched_yield();
		signal_event(self->event);
		ASSERT_EQ(i, vcpu_join(self->vcpu));
	}
}

/*
 * Resampling: the line stays up until the guest's EOI, which tells the device
 * by the second eventfd that it may raise it again.
 */
TEST_F(irqfd, resample)
{
	int again = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	u32 i;

	vcpu_call(self->vcpu, level_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	ASSERT_EQ(0, irqfd(self->vm, self->event, GSI, KVM_IRQFD_FLAG_RESAMPLE,
			   again));
	EXPECT_FALSE(is_signalled(again));
	for (i = 1; i <= 5; i++) {
		signal_event(self->event);
		EXPECT_EQ(i, vcpu_sync(self->vcpu));
		EXPECT_TRUE(is_signalled(again));
	}
	ASSERT_EQ(0, irqfd(self->vm, self->event, GSI, KVM_IRQFD_FLAG_DEASSIGN,
			   0));
	EXPECT_EQ(5, vcpu_sync(self->vcpu));
	close(again);
}

TEST_F(irqfd, refusals)
{
	struct vm *bare = vm_new_bare();
	int other = eventfd(0, 0);

	EXPECT_EQ(-EBADF, irqfd(self->vm, -1, GSI, 0, 0));
	EXPECT_EQ(-EINVAL, irqfd(self->vm, self->vm->fd, GSI, 0, 0))
	TH_LOG("no eventfd");
	EXPECT_EQ(-EINVAL, irqfd(self->vm, self->event, GSI, 1u << 31, 0));
	EXPECT_EQ(0, irqfd(self->vm, self->event, GSI, 0, 0));
	EXPECT_EQ(-EBUSY, irqfd(self->vm, self->event, GSI, 0, 0));
	EXPECT_EQ(0, irqfd(self->vm, other, GSI, 0, 0)) TH_LOG("a shared GSI");
	EXPECT_EQ(-EINVAL, irqfd(bare, other, GSI, 0, 0)) TH_LOG("no irqchip");
	vm_free(bare);
}

/* Either may go first. */
TEST_F(irqfd, eventfd_closed)
{
	vcpu_call(self->vcpu, edge_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	ASSERT_EQ(0, irqfd(self->vm, self->event, GSI, 0, 0));
	close(self->event);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	self->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ASSERT_EQ(0, irqfd(self->vm, self->event, GSI, 0, 0));
	signal_event(self->event);
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
}

/* More than a VM may have at a time; each goes soon after its eventfd. */
TEST_F(irqfd, closed_ones_make_room)
{
	int i, event, ret;

	for (i = 0; i < 5000; i++) {
		event = eventfd(0, EFD_CLOEXEC);
		do {
			ret = irqfd(self->vm, event, GSI, 0, 0);
		} while (ret == -ENOSPC && !sched_yield());
		ASSERT_EQ(0, ret) TH_LOG("number %d", i);
		close(event);
	}
}

TEST(vm_closed)
{
	struct vm *vm = vm_new_irqchip();
	int event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

	ASSERT_EQ(0, irqfd(vm, event, GSI, 0, 0));
	vm_free(vm);
	signal_event(event);
	EXPECT_TRUE(is_signalled(event));
}

TEST_HARNESS_MAIN
