// SPDX-License-Identifier: GPL-2.0-only
/* What a guest gets that knows it is one: clock, steal time, EOI, kicks. */
#include <sched.h>
#include <sys/wait.h>
#include <time.h>
#include <linux/kvm_para.h>
#include "guest.h"
#include <kselftest_harness.h>

#define VECTOR 0x55

struct pvclock {
	volatile u32 version;
	u32 pad0;
	volatile u64 tsc_timestamp, system_time;
	volatile u32 mul;
	volatile int8_t shift;
	volatile u8 flags;
	u8 pad[2];
};

#define PVCLOCK_STABLE 1
#define PVCLOCK_STOPPED 2

FIXTURE(pv)
{
	struct vm *vm;
	struct vcpu *vcpu;
	u32 features;
};

FIXTURE_SETUP(pv)
{
	struct kvm_cpuid2 *offered;

	self->vm = vm_new_irqchip();
	self->vcpu = vcpu_new(self->vm, 0);
	offered = supported_cpuid(self->vm->sys);
	self->features = find_cpuid(offered, KVM_CPUID_FEATURES, 0)->eax;
	free(offered);
}

FIXTURE_TEARDOWN(pv)
{
}

#define NEED(feature)                            \
	if (!(self->features & 1u << (feature))) \
	SKIP(return, #feature " is not offered")

/* The clock */

static struct pvclock clocks[2] __attribute__((aligned(64)));
static volatile u64 guest_time, last_time, backwards, unstable;
static volatile u32 readers;

static u64 read_clock(const struct pvclock *c)
{
	u64 delta, time;
	u32 version;

	do {
		version = c->version & ~1u;
		asm volatile("" ::: "memory");
		delta = rdtsc() - c->tsc_timestamp;
		delta = c->shift < 0 ? delta >> -c->shift : delta << c->shift;
		time = c->system_time +
		       (u64)((unsigned __int128)delta * c->mul >> 32);
		asm volatile("" ::: "memory");
	} while (c->version != version);
	return time;
}

static void clock_guest(void)
{
	u64 then = 0, now;
	u32 i;

	GUEST_EQ(NO_TRAP, CATCH_WRMSR(MSR_KVM_SYSTEM_TIME_NEW,
				      (uintptr_t)&clocks[0] | 1));
	GUEST_EQ((uintptr_t)&clocks[0] | 1, rdmsr(MSR_KVM_SYSTEM_TIME_NEW));
	for (i = 0; i < 300; i++) {
		now = read_clock(&clocks[0]);
		GUEST_ASSERT(now >= then);
		then = now;
		guest_time = now;
		if (i % 30 == 0)
			guest_sync(clocks[0].flags);
	}
}

TEST_F(pv, clock_is_monotonic)
{
	struct kvm_clock_data before, after;
	u32 flags;

	NEED(KVM_FEATURE_CLOCKSOURCE2);
	vcpu_call(self->vcpu, clock_guest);
	for (;;) {
		MUST(self->vm->fd, KVM_GET_CLOCK, &before);
		flags = vcpu_sync(self->vcpu);
		MUST(self->vm->fd, KVM_GET_CLOCK, &after);
		if (flags == GUEST_DONE)
			break;
		EXPECT_LE(before.clock, after.clock);
		/* One clock, seen from both sides */
		if (!lab_is_labvisor() || !(flags & PVCLOCK_STABLE))
			continue;
		EXPECT_LE(before.clock, GUEST_VAR(self->vm, guest_time));
		EXPECT_GE(after.clock, GUEST_VAR(self->vm, guest_time));
	}
}

static void off_guest(void)
{
	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, (uintptr_t)&clocks[0] | 1);
	read_clock(&clocks[0]);
	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, 0);
	clocks[0].version = 0x1235;
	guest_sync(0);
	GUEST_EQ(0x1235, clocks[0].version);
}

TEST_F(pv, clock_off)
{
	NEED(KVM_FEATURE_CLOCKSOURCE2);
	vcpu_call(self->vcpu, off_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

static void set_clock_guest(void)
{
	u8 stopped;

	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, (uintptr_t)&clocks[0] | 1);
	for (;;) {
		guest_time = read_clock(&clocks[0]);
		stopped = clocks[0].flags & PVCLOCK_STOPPED;
		clocks[0].flags = 0;
		guest_sync(stopped);
	}
}

TEST_F(pv, clock_set_and_stopped)
{
	struct kvm_clock_data data = { .clock = 1ull << 50 };

	NEED(KVM_FEATURE_CLOCKSOURCE2);
	EXPECT_EQ(-EINVAL, dev_ioctl(self->vcpu->fd, KVM_KVMCLOCK_CTRL, NULL));
	vcpu_call(self->vcpu, set_clock_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	ASSERT_EQ(0, dev_ioctl(self->vm->fd, KVM_SET_CLOCK, &data));
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	EXPECT_EQ(1, GUEST_VAR(self->vm, guest_time) >> 50);
	ASSERT_EQ(0, dev_ioctl(self->vcpu->fd, KVM_KVMCLOCK_CTRL, NULL));
	EXPECT_EQ(PVCLOCK_STOPPED, vcpu_sync(self->vcpu));
}

/* Two vCPUs in turns: neither may see a time before the other's last. */
static void shared_clock(u32 cpu)
{
	u64 last, now;
	u32 i;

	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, (uintptr_t)&clocks[cpu] | 1);
	read_clock(&clocks[cpu]);
	__atomic_fetch_add(&readers, 1, __ATOMIC_SEQ_CST);
	while (readers != 2)
		pause_cpu();
	for (i = 0; i < 3000; i++) {
		last = __atomic_load_n(&last_time, __ATOMIC_SEQ_CST);
		now = read_clock(&clocks[cpu]);
		if (!(clocks[cpu].flags & PVCLOCK_STABLE))
			unstable = 1;
		else if (now < last)
			backwards++;
		while (last < now &&
		       !__atomic_compare_exchange_n(&last_time, &last, now,
						    false, __ATOMIC_SEQ_CST,
						    __ATOMIC_SEQ_CST))
			;
	}
}

static void shared_clock_ap(void)
{
	shared_clock(1);
}

static void shared_clock_guest(void)
{
	shared_clock(0);
}

TEST_F(pv, clock_is_shared)
{
	struct kvm_mp_state mp = { KVM_MP_STATE_RUNNABLE };
	struct vcpu *other = vcpu_new(self->vm, 1);

	NEED(KVM_FEATURE_CLOCKSOURCE2);
	MUST(other->fd, KVM_SET_MP_STATE, &mp);
	vcpu_call(self->vcpu, shared_clock_guest);
	vcpu_call(other, shared_clock_ap);
	vcpu_start(other);
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
	EXPECT_EQ(GUEST_DONE, vcpu_join(other));
	if (GUEST_VAR(self->vm, unstable))
		SKIP(return,
			   "the lab host's TSC is unstable, and the clock says so");
	EXPECT_EQ(0, GUEST_VAR(self->vm, backwards));
}

static struct {
	volatile u32 version, sec, nsec;
} wall;

static void wall_guest(void)
{
	wrmsr(MSR_KVM_SYSTEM_TIME_NEW, (uintptr_t)&clocks[0] | 1);
	wrmsr(MSR_KVM_WALL_CLOCK_NEW, (uintptr_t)&wall);
	GUEST_EQ(0, wall.version & 1);
	guest_time =
		wall.sec * 1000000000ull + wall.nsec + read_clock(&clocks[0]);
}

static u64 real_time(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return t.tv_sec * 1000000000ull + t.tv_nsec;
}

TEST_F(pv, wall_clock)
{
	u64 before = real_time();

	NEED(KVM_FEATURE_CLOCKSOURCE2);
	vcpu_call(self->vcpu, wall_guest);
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
	/* Wall clock and system time are not read at once: allow a second. */
	EXPECT_LT(before - 1000000000, GUEST_VAR(self->vm, guest_time));
	EXPECT_GT(real_time() + 1000000000, GUEST_VAR(self->vm, guest_time));
}

/* Steal time */

static volatile struct kvm_steal_time steal __attribute__((aligned(64)));

static void steal_guest(void)
{
	u64 last = 0, now;

	GUEST_EQ((u64)GP_VECTOR,
		 CATCH_WRMSR(MSR_KVM_STEAL_TIME, (uintptr_t)&steal | 3));
	wrmsr(MSR_KVM_STEAL_TIME, (uintptr_t)&steal | 1);
	GUEST_EQ(0, steal.version & 1);
	do {
		now = steal.steal;
		GUEST_ASSERT(now >= last);
		last = now;
	} while (!now);
}

TEST_F(pv, steal_time)
{
	cpu_set_t one;
	pid_t pid;

	NEED(KVM_FEATURE_STEAL_TIME);
	/* A process that wants the same CPU takes time away. */
	CPU_ZERO(&one);
	CPU_SET(0, &one);
	sched_setaffinity(0, sizeof(one), &one);
	pid = fork();
	if (!pid)
		for (;;)
			;
	vcpu_call(self->vcpu, steal_guest);
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
}

/* EOI without an exit */

static volatile u64 eoi_word;
static volatile u32 hits, quick;
static volatile bool offered;

static void on_irq(struct trap_frame *frame)
{
	u8 set;

	hits++;
	asm volatile("btrq $0, %1; setc %0" : "=q"(set), "+m"(eoi_word));
	if (set)
		quick++;
	else
		apic_eoi();
}

static void eoi_guest(void)
{
	u32 i;

	trap_handlers[VECTOR] = on_irq;
	apic_enable();
	wrmsr(MSR_KVM_PV_EOI_EN, (uintptr_t)&eoi_word | 1);
	sti();
	for (i = 1; i <= 100; i++) {
		apic_icr(0, ICR_SELF | VECTOR);
		asm volatile("nop");
		GUEST_EQ(i, hits);
	}
	GUEST_EQ(0, apic_read(APIC_ISR + 0x20));
	GUEST_EQ(offered, quick > 0);
	wrmsr(MSR_KVM_PV_EOI_EN, 0);
	quick = 0;
	apic_icr(0, ICR_SELF | VECTOR);
	asm volatile("nop");
	GUEST_EQ(101, hits);
	GUEST_EQ(0, quick);
}

TEST_F(pv, eoi)
{
	NEED(KVM_FEATURE_PV_EOI);
	/* A CPU that needs no exit for it is not helped by that. */
	GUEST_VAR(self->vm, offered) = !lab_has_apicv();
	vcpu_call(self->vcpu, eoi_guest);
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

/* Kicks wake a vCPU that halts with interrupts off. */

static volatile u32 turn;

static void halt_until(u32 mine)
{
	while (turn != mine)
		asm volatile("cli; hlt" ::: "memory");
}

static void kicked_ap(void)
{
	u32 i;

	apic_enable();
	for (i = 0; i < 50; i++) {
		halt_until(2 * i + 1);
		turn = 2 * i + 2;
	}
}

static void kick_guest(void)
{
	u64 ret;
	u32 i;

	apic_enable();
	for (i = 0; i < 50; i++) {
		turn = 2 * i + 1;
		if (cpuid(0, 0).ebx == 0x756e6547)
			asm volatile("vmcall"
				     : "=a"(ret)
				     : "a"(KVM_HC_KICK_CPU), "b"(0), "c"(1));
		else
			asm volatile("vmmcall"
				     : "=a"(ret)
				     : "a"(KVM_HC_KICK_CPU), "b"(0), "c"(1));
		GUEST_EQ(0, ret);
		while (turn != 2 * i + 2)
			pause_cpu();
	}
}

TEST_F(pv, kick)
{
	struct kvm_mp_state mp = { KVM_MP_STATE_RUNNABLE };
	struct vcpu *other = vcpu_new(self->vm, 1);

	NEED(KVM_FEATURE_PV_UNHALT);
	MUST(other->fd, KVM_SET_MP_STATE, &mp);
	vcpu_call(self->vcpu, kick_guest);
	vcpu_call(other, kicked_ap);
	vcpu_start(other);
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
	EXPECT_EQ(GUEST_DONE, vcpu_join(other));
}

TEST_HARNESS_MAIN
