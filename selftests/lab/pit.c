// SPDX-License-Identifier: GPL-2.0-only
/* The interval timer: ticks, reads, the speaker port, and its state. */
#include "guest.h"
#include <kselftest_harness.h>

#define HZ 1193182u
#define CONTROL 0x43
#define SPEAKER 0x61

#define PERIOD (HZ / 100)

static volatile u32 ticks;
static volatile u64 tsc_khz;

static void on_tick(struct trap_frame *frame)
{
	ticks++;
	outb(0x20, 0x20);
}

/* IRQ 0 by way of the PIC and LINT0, at vector 0x20. */
static void set_up(void)
{
	trap_handlers[0x20] = on_tick;
	apic_enable();
	apic_write(APIC_LVT0, 0x700);
	outb(0x20, 0x11);
	outb(0x21, 0x20);
	outb(0x21, 4);
	outb(0x21, 1);
	outb(0x21, 0xfe);
}

static void load(u8 channel, u8 mode, u16 count)
{
	outb(CONTROL, channel << 6 | 0x30 | mode << 1);
	outb(0x40 + channel, count & 0xff);
	outb(0x40 + channel, count >> 8);
}

static u16 read_count(u8 channel)
{
	u8 low;

	outb(CONTROL, channel << 6); /* latch */
	low = inb(0x40 + channel);
	return low | inb(0x40 + channel) << 8;
}

static void wait_for(u32 n)
{
	cli();
	while (ticks < n) {
		sti_hlt();
		cli();
	}
	sti();
}

/* The PIT's clocks since the TSC was @start, one in a thousand less. */
static u64 clocks_since(u64 start)
{
	return (rdtsc() - start) * 1000 / 1001 * HZ / (tsc_khz * 1000);
}

FIXTURE(pit)
{
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(pit)
{
	struct kvm_pit_config config = { .flags = KVM_PIT_SPEAKER_DUMMY };

	self->vm = vm_new_irqchip();
	MUST(self->vm->fd, KVM_CREATE_PIT2, &config);
	self->vcpu = vcpu_new(self->vm, 0);
	GUEST_VAR(self->vm, tsc_khz) = MUST(self->vcpu->fd, KVM_GET_TSC_KHZ, 0);
}

FIXTURE_TEARDOWN(pit)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

static void run_guest(struct vcpu *vcpu, void (*guest)(void))
{
	vcpu_call(vcpu, guest);
	if (vcpu_sync(vcpu) != GUEST_DONE)
		die("the guest did not finish");
}

static void ticking_guest(void)
{
	set_up();
	load(0, 2, HZ / 1000);
	wait_for(20);
}

/* No tick is early, and those that were missed come later. */
static void periodic_guest(void)
{
	u64 start, clocks;

	set_up();
	start = rdtsc();
	load(0, 2, PERIOD);
	wait_for(20);
	clocks = (rdtsc() - start) * 1001 / 1000 * HZ / (tsc_khz * 1000);
	GUEST_ASSERT(clocks >= 20 * PERIOD);
	do {
		clocks = clocks_since(start);
		if (clocks > 500 * PERIOD)
			guest_fail(clocks / PERIOD, ticks, __LINE__);
	} while (ticks < clocks / PERIOD);
}

TEST_F(pit, periodic)
{
	run_guest(self->vcpu, periodic_guest);
}

static void one_shot_guest(void)
{
	u32 i;

	u64 start;

	set_up();
	for (i = 1; i <= 5; i++) {
		load(0, 0, HZ / 1000);
		wait_for(i);
		GUEST_EQ(i, ticks);
	}
	/* And no more. */
	start = rdtsc();
	while (clocks_since(start) < 10 * HZ / 1000)
		pause_cpu();
	GUEST_EQ(5, ticks);
}

TEST_F(pit, one_shot)
{
	run_guest(self->vcpu, one_shot_guest);
}

static void counting_guest(void)
{
	u32 i;
	u16 count;

	load(0, 2, 5000);
	for (i = 0; i < 200; i++) {
		count = read_count(0);
		GUEST_ASSERT(count > 0 && count <= 5000);
	}
	/* Latched twice, the first value stays. */
	outb(CONTROL, 0);
	count = inb(0x40);
	outb(CONTROL, 0);
	count |= inb(0x40) << 8;
	GUEST_ASSERT(count > 0 && count <= 5000);
	/* Read back the status once, then it is the count's turn again. */
	outb(CONTROL, 0xe2);
	GUEST_EQ(0x34, inb(0x40) & 0x3f);
	count = inb(0x40);
	count |= inb(0x40) << 8;
	GUEST_ASSERT(count > 0 && count <= 5000);
}

TEST_F(pit, counts_down)
{
	run_guest(self->vcpu, counting_guest);
}

/* How Linux calibrates its TSC: channel 2 runs by its gate, out in bit 5. */
static void speaker_guest(void)
{
	outb(SPEAKER, inb(SPEAKER) & ~3);
	GUEST_EQ(0, inb(SPEAKER) & 3);
	load(2, 0, HZ / 500);
	GUEST_EQ(0, inb(SPEAKER) & 0x20);
	outb(SPEAKER, 1);
	GUEST_EQ(1, inb(SPEAKER) & 1);
	while (!(inb(SPEAKER) & 0x20))
		pause_cpu();
	outb(SPEAKER, 0);
}

TEST_F(pit, speaker)
{
	run_guest(self->vcpu, speaker_guest);
}

TEST_F(pit, state)
{
	struct kvm_pit_state2 a = {}, b = {};

	MUST(self->vm->fd, KVM_GET_PIT2, &a);
	a.channels[1].count = 0x1234;
	a.channels[1].mode = 2;
	a.channels[2].count = 0x4321;
	a.channels[2].gate = 1;
	a.channels[2].mode = 3;
	a.channels[2].bcd = 1;
	a.channels[2].rw_mode = 3;
	MUST(self->vm->fd, KVM_SET_PIT2, &a);
	MUST(self->vm->fd, KVM_GET_PIT2, &b);
	EXPECT_EQ(0x1234, b.channels[1].count);
	EXPECT_EQ(2, b.channels[1].mode);
	EXPECT_EQ(0x4321, b.channels[2].count);
	EXPECT_EQ(1, b.channels[2].gate);
	EXPECT_EQ(3, b.channels[2].mode);
	EXPECT_EQ(1, b.channels[2].bcd);
}

static void restored_guest(void)
{
	set_up();
	guest_sync(1);
	wait_for(3);
}

/* State that is set makes channel 0 tick. */
TEST_F(pit, ticks_after_restore)
{
	struct kvm_pit_state2 state;

	vcpu_call(self->vcpu, restored_guest);
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	MUST(self->vm->fd, KVM_GET_PIT2, &state);
	state.channels[0].mode = 2;
	state.channels[0].rw_mode = 3;
	state.channels[0].count = HZ / 1000;
	MUST(self->vm->fd, KVM_SET_PIT2, &state);
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

TEST_F(pit, refusals)
{
	struct kvm_pit_config config = {};
	struct kvm_reinject_control control = {};
	struct kvm_pit_state2 state = {};
	struct vm *vm = vm_new_irqchip();

	EXPECT_EQ(-ENXIO, dev_ioctl(vm->fd, KVM_GET_PIT2, &state));
	EXPECT_EQ(-ENXIO, dev_ioctl(vm->fd, KVM_SET_PIT2, &state));
	EXPECT_EQ(-ENXIO, dev_ioctl(vm->fd, KVM_REINJECT_CONTROL, &control));
	EXPECT_EQ(-EEXIST, dev_ioctl(self->vm->fd, KVM_CREATE_PIT2, &config));
	EXPECT_EQ(0, dev_ioctl(self->vm->fd, KVM_REINJECT_CONTROL, &control));
	run_guest(self->vcpu, ticking_guest);
	vm_free(vm);
}

/* Without a timer in the kernel its ports are user space's. */
static void port_guest(void)
{
	outb(CONTROL, 0x34);
}

TEST(no_pit)
{
	struct vcpu *vcpu = vcpu_new(vm_new_irqchip(), 0);

	vcpu_call(vcpu, port_guest);
	EXPECT_EXIT(KVM_EXIT_IO, vcpu);
	EXPECT_EQ(CONTROL, vcpu->run->io.port);
}

TEST_HARNESS_MAIN
