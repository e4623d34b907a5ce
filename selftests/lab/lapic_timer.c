// SPDX-License-Identifier: GPL-2.0-only
/*
 * The local APIC's timer, in guest time. Nothing here expects a timer to be in
 * time, for the lab host may be slow; but none may fire early, twice, or not.
 */
#include "guest.h"
#include <kselftest_harness.h>

#define VECTOR 0x71
#define MASKED 0x10000u
#define PERIODIC 0x20000u
#define DEADLINE 0x40000u

static volatile u32 fired;
static volatile u64 fired_at;
static volatile u64 tsc_khz;

static void on_timer(struct trap_frame *frame)
{
	fired_at = rdtsc();
	fired++;
	apic_eoi();
}

static void set_up(u32 mode, u32 divider)
{
	trap_handlers[VECTOR] = on_timer;
	apic_enable();
	apic_write(APIC_LVTT, mode | VECTOR);
	apic_write(APIC_TDCR, divider);
	sti();
}

/* Sleep until the timer has fired @n times; no wake-up may get lost. */
static void wait_for(u32 n)
{
	for (;;) {
		cli();
		if (fired >= n)
			break;
		sti_hlt();
	}
	sti();
}

FIXTURE(lapic_timer)
{
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(lapic_timer)
{
	self->vm = vm_new_irqchip();
	self->vcpu = vcpu_new(self->vm, 0);
	GUEST_VAR(self->vm, tsc_khz) = MUST(self->vcpu->fd, KVM_GET_TSC_KHZ, 0);
}

FIXTURE_TEARDOWN(lapic_timer)
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

static void one_shot_guest(void)
{
	u32 i;

	set_up(0, 0xb); /* divide by 1 */
	for (i = 1; i <= 20; i++) {
		apic_write(APIC_TMICT, 100000);
		GUEST_ASSERT(apic_read(APIC_TMCCT) <= 100000);
		wait_for(i);
		GUEST_EQ(0, apic_read(APIC_TMCCT));
		GUEST_EQ(i, fired);
	}
}

TEST_F(lapic_timer, one_shot)
{
	run_guest(self->vcpu, one_shot_guest);
}

/* The count is in units of the APIC bus: 1 GHz, by convention with KVM. */
static void not_early_guest(void)
{
	static const u32 dividers[][2] = {
		{ 0xb, 1 },
		{ 0x0, 2 },
		{ 0x3, 16 },
		{ 0xa, 128 },
	};
	u64 start, ns;
	u32 i;

	for (i = 0; i < ARRAY_LEN(dividers); i++) {
		set_up(0, dividers[i][0]);
		start = rdtsc();
		apic_write(APIC_TMICT, 2000000 / dividers[i][1]);
		wait_for(i + 1);
		ns = (fired_at - start) * 1000000 / tsc_khz;
		/* The host's clock and its TSC differ by this much at most. */
		GUEST_ASSERT(ns >= 2000000 - 100000);
	}
}

TEST_F(lapic_timer, not_early)
{
	run_guest(self->vcpu, not_early_guest);
}

static void periodic_guest(void)
{
	u64 start;

	set_up(PERIODIC, 0xb);
	start = rdtsc();
	apic_write(APIC_TMICT, 500000);
	wait_for(20);
	GUEST_ASSERT((fired_at - start) * 1000000 / tsc_khz >= 20 * 475000);
	/* Stopped: what was on its way has come when TMCCT reads 0. */
	apic_write(APIC_TMICT, 0);
	GUEST_EQ(0, apic_read(APIC_TMCCT));
	asm volatile("nop; nop");
	fired = 0;
	/* Masked: it counts, and says nothing. */
	apic_write(APIC_LVTT, MASKED | VECTOR);
	apic_write(APIC_TMICT, 1000);
	while (apic_read(APIC_TMCCT))
		pause_cpu();
	GUEST_EQ(0, fired);
	GUEST_EQ(0, apic_read(APIC_IRR + 0x30));
}

TEST_F(lapic_timer, periodic)
{
	run_guest(self->vcpu, periodic_guest);
}

static void deadline_guest(void)
{
	u64 deadline;
	u32 i;

	set_up(DEADLINE, 0);
	for (i = 1; i <= 50; i++) {
		deadline = rdtsc() + i * tsc_khz / 50;
		wrmsr(MSR_TSC_DEADLINE, deadline);
		wait_for(i);
		GUEST_EQ(i, fired);
		GUEST_ASSERT(fired_at >= deadline);
		GUEST_EQ(0, rdmsr(MSR_TSC_DEADLINE));
	}
	/* In the past: at once */
	wrmsr(MSR_TSC_DEADLINE, 1);
	wait_for(i);
	/* Far away, and called off */
	deadline = rdtsc() + (1ull << 50);
	wrmsr(MSR_TSC_DEADLINE, deadline);
	GUEST_EQ(deadline, rdmsr(MSR_TSC_DEADLINE));
	wrmsr(MSR_TSC_DEADLINE, 0);
	GUEST_EQ(0, rdmsr(MSR_TSC_DEADLINE));
	GUEST_EQ(i, fired);
	/* The initial count means nothing in this mode. */
	apic_write(APIC_TMICT, 1000);
	GUEST_EQ(0, apic_read(APIC_TMICT));
	/* Nor does the deadline in another one. */
	apic_write(APIC_LVTT, VECTOR);
	wrmsr(MSR_TSC_DEADLINE, 1);
	GUEST_EQ(0, rdmsr(MSR_TSC_DEADLINE));
	GUEST_EQ(i, fired);
}

TEST_F(lapic_timer, tsc_deadline)
{
	if (!vm_cap(self->vm, KVM_CAP_TSC_DEADLINE_TIMER))
		SKIP(return, "KVM_CAP_TSC_DEADLINE_TIMER is not offered");
	run_guest(self->vcpu, deadline_guest);
}

/* A guest that moves its own TSC: deadlines are in the new time. */
static void moved_tsc_guest(void)
{
	u64 deadline;

	set_up(DEADLINE, 0);
	wrmsr(MSR_TSC, 1ull << 45);
	deadline = rdtsc() + tsc_khz;
	wrmsr(MSR_TSC_DEADLINE, deadline);
	wait_for(1);
	GUEST_ASSERT(fired_at >= deadline);
}

TEST_F(lapic_timer, tsc_deadline_after_tsc_write)
{
	if (!vm_cap(self->vm, KVM_CAP_TSC_DEADLINE_TIMER))
		SKIP(return, "KVM_CAP_TSC_DEADLINE_TIMER is not offered");
	if (!lab_is_labvisor() && sysconf(_SC_NPROCESSORS_ONLN) > 1)
		SKIP(return,
			   "KVM shifts guest time where the host's TSC is unstable");
	run_guest(self->vcpu, moved_tsc_guest);
}

/* The timer interrupts a guest that never exits by itself. */
static void spinning_guest(void)
{
	set_up(0, 0xb);
	apic_write(APIC_TMICT, 1000000);
	while (!fired)
		asm volatile("");
}

TEST_F(lapic_timer, while_spinning)
{
	run_guest(self->vcpu, spinning_guest);
}

/* A timer that runs when its vCPU's state is moved goes on in the new one. */
static void moved_guest(void)
{
	set_up(0, 0xb);
	apic_write(APIC_TMICT, 50000000);
	guest_sync(1);
	wait_for(1);
}

TEST_F(lapic_timer, saved_and_restored)
{
	struct kvm_lapic_state state;

	vcpu_call(self->vcpu, moved_guest);
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	MUST(self->vcpu->fd, KVM_GET_LAPIC, &state);
	MUST(self->vcpu->fd, KVM_SET_LAPIC, &state);
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

TEST_HARNESS_MAIN
