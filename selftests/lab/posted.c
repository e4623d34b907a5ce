// SPDX-License-Identifier: GPL-2.0-only
/*
 * Interrupts for a vCPU that runs: posted ones reach it without an exit, and
 * nothing is lost, whoever stops, halts or moves meanwhile. Without posted
 * interrupts each takes an exit, and the rest is the same.
 */
#include <sched.h>
#include "guest.h"
#include "stats.h"
#include <kselftest_harness.h>

#define IOAPIC_GPA 0xfec00000ul
#define PIN 9
#define LEVEL (1u << 15)
#define REMOTE_IRR (1u << 14)

#define VECTOR 0x62
#define FIRST_LEVEL 0x80
#define ROUNDS 200
#define LEVELS 32
#define EXCHANGES 2000

static volatile u32 runs, go, hits, levels, got[2];

static void wait_for(volatile u32 *word, u32 value)
{
	while (*word < value)
		;
}

/* A vCPU's thread stays where a test wants it. */
static void bind_thread(pthread_t thread, unsigned int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (pthread_setaffinity_np(thread, sizeof(set), &set))
		die("no CPU %u", cpu);
}

#define NEED_TWO_CPUS()                                                   \
	do {                                                              \
		if (sysconf(_SC_NPROCESSORS_ONLN) < 2)                    \
			SKIP(return, "who sends needs a CPU of his own"); \
	} while (0)

FIXTURE(posted)
{
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(posted)
{
	self->vm = vm_new_irqchip();
	self->vcpu = vcpu_new(self->vm, 0);
}

FIXTURE_TEARDOWN(posted)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

typedef FIXTURE_DATA(posted) posted_t;

/* The guest runs on CPU 0, and we on CPU 1 send it what it waits for. */
static void start(posted_t *self)
{
	vcpu_start(self->vcpu);
	bind_thread(self->vcpu->thread, 0);
	bind_thread(pthread_self(), 1);
	wait_for(&GUEST_VAR(self->vm, runs), 1);
}

static void send(posted_t *self, u8 vector)
{
	struct kvm_msi msi = { .address_lo = APIC_GPA, .data = vector };

	MUST(self->vm->fd, KVM_SIGNAL_MSI, &msi);
}

static void on_vector(struct trap_frame *frame)
{
	hits++;
	apic_eoi();
}

/* The kernel's list of what the processor can do. */
static bool cpu_can_post(void)
{
	return !system("grep -qw posted_intr /proc/cpuinfo");
}

TEST(in_use)
{
	if (!lab_has_apicv())
		SKIP(return, "no APIC virtualization, or it is off");
	EXPECT_EQ(cpu_can_post(), lab_posts_interrupts());
}

/* ---- no exits ---- */

static void spinning_guest(void)
{
	apic_enable();
	trap_handlers[VECTOR] = on_vector;
	sti();
	runs = 1;
	wait_for(&hits, ROUNDS);
	guest_sync(hits);
}

/* The host's own interrupts end a stay now and then. */
TEST_F(posted, no_exits)
{
	struct stats stats;
	u32 i, without = 0;
	u64 exits;
	int fd;

	NEED_TWO_CPUS();
	if (!lab_is_labvisor())
		SKIP(return, "KVM has no statistic of all exits");
	fd = stats_fd(self->vcpu->fd);
	stats_open(fd, &stats);
	vcpu_call(self->vcpu, spinning_guest);
	start(self);
	for (i = 1; i <= ROUNDS; i++) {
		exits = stats_value(fd, &stats, "exits");
		send(self, VECTOR);
		wait_for(&GUEST_VAR(self->vm, hits), i);
		without += exits == stats_value(fd, &stats, "exits");
	}
	EXPECT_EQ(ROUNDS, vcpu_join(self->vcpu));
	if (lab_posts_interrupts()) {
		EXPECT_LT(ROUNDS / 2, without);
	} else {
		EXPECT_EQ(0, without);
	}
	free(stats.descs);
	close(fd);
}

/* ---- held back, while the vCPU goes in and out ---- */

static void deaf_guest(void)
{
	apic_enable();
	trap_handlers[VECTOR] = on_vector;
	trap_handlers[VECTOR + 1] = on_vector;
	runs = 1;
	wait_for(&go, 1);
	GUEST_EQ(0, hits);
	sti();
	asm volatile("nop");
	GUEST_EQ(2, hits);
	guest_sync(1);
}

TEST_F(posted, shown_to_user_space)
{
	struct kvm_lapic_state state;

	NEED_TWO_CPUS();
	vcpu_call(self->vcpu, deaf_guest);
	vcpu_start_run(self->vcpu);
	bind_thread(self->vcpu->thread, 0);
	bind_thread(pthread_self(), 1);
	wait_for(&GUEST_VAR(self->vm, runs), 1);
	send(self, VECTOR);
	send(self, VECTOR + 1);
	vcpu_kick(self->vcpu);
	EXPECT_EQ(-EINTR, vcpu_join(self->vcpu));
	MUST(self->vcpu->fd, KVM_GET_LAPIC, &state);
	EXPECT_EQ(3 << VECTOR % 32,
		  *(u32 *)(state.regs + APIC_IRR + VECTOR / 32 * 16));
	GUEST_VAR(self->vm, go) = 1;
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
}

/* ---- interrupts whose end matters ---- */

static void on_level(struct trap_frame *frame)
{
	levels++;
	wait_for(&go, levels); /* until the line is low */
	apic_eoi();
}

static u32 ioapic_pin(void)
{
	mmio_write32(IOAPIC_GPA, 0x10 + 2 * PIN);
	return mmio_read32(IOAPIC_GPA + 0x10);
}

/* Each vector is a new one for the CPU. */
static void level_guest(void)
{
	u32 i;

	apic_enable();
	apic_write(APIC_LVT0, 1 << 16); /* the PIC has that line, too */
	trap_handlers[VECTOR] = on_vector;
	for (i = 0; i < LEVELS; i++) {
		trap_handlers[FIRST_LEVEL + i] = on_level;
		mmio_write32(IOAPIC_GPA, 0x10 + 2 * PIN);
		mmio_write32(IOAPIC_GPA + 0x10, LEVEL | (FIRST_LEVEL + i));
		sti();
		runs = i + 1;
		wait_for(&hits, i + 1);
		wait_for(&levels, i + 1);
		cli();
		GUEST_ASSERT(!(ioapic_pin() & REMOTE_IRR));
	}
	guest_sync(levels);
}

TEST_F(posted, level)
{
	struct kvm_irq_level line = { .irq = PIN };
	u32 i;

	NEED_TWO_CPUS();
	vcpu_call(self->vcpu, level_guest);
	start(self);
	for (i = 0; i < LEVELS; i++) {
		wait_for(&GUEST_VAR(self->vm, runs), i + 1);
		line.level = 1;
		MUST(self->vm->fd, KVM_IRQ_LINE, &line);
		send(self, VECTOR);
		wait_for(&GUEST_VAR(self->vm, levels), i + 1);
		line.level = 0;
		MUST(self->vm->fd, KVM_IRQ_LINE, &line);
		GUEST_VAR(self->vm, go) = i + 1;
	}
	EXPECT_EQ(LEVELS, vcpu_join(self->vcpu));
}

/* ---- two vCPUs that wait for each other, halted or not, and move about ---- */

static void on_exchange(struct trap_frame *frame)
{
	got[frame->vector - VECTOR]++;
	apic_eoi();
}

static void halt_until(volatile u32 *word, u32 value)
{
	cli();
	while (*word < value) {
		sti_hlt();
		cli();
	}
	sti();
}

static void delay(u32 loops)
{
	while (loops--)
		asm volatile("");
}

static void exchange(u32 me)
{
	u32 i;

	apic_enable();
	trap_handlers[VECTOR] = trap_handlers[VECTOR + 1] = on_exchange;
	sti();
	__atomic_fetch_add(&runs, 1, __ATOMIC_SEQ_CST);
	wait_for(&runs, 2);
	/* What is sent arrives before, while and after the other one goes to sleep. */
	for (i = 1; i <= EXCHANGES; i++) {
		if (me == 0)
			apic_icr(1, ICR_FIXED | (VECTOR + 1));
		delay(i * 7 % 800);
		(i & 2 ? halt_until : wait_for)(&got[me], i);
		if (me == 1)
			apic_icr(0, ICR_FIXED | VECTOR);
	}
	guest_sync(got[me]);
}

static void first_guest(void)
{
	exchange(0);
}

static void second_guest(void)
{
	exchange(1);
}

TEST_F(posted, none_is_lost)
{
	struct kvm_mp_state state = { KVM_MP_STATE_RUNNABLE };
	struct vcpu *other;
	u32 i;

	NEED_TWO_CPUS();
	other = vcpu_new(self->vm, 1);
	vcpu_call(self->vcpu, first_guest);
	vcpu_call(other, second_guest);
	MUST(other->fd, KVM_SET_MP_STATE, &state);
	vcpu_start(self->vcpu);
	vcpu_start(other);
	for (i = 0; GUEST_VAR(self->vm, got)[0] < EXCHANGES; i++) {
		bind_thread(self->vcpu->thread, i & 1);
		bind_thread(other->thread, ~i & 1);
	}
	EXPECT_EQ(EXCHANGES, vcpu_join(self->vcpu));
	EXPECT_EQ(EXCHANGES, vcpu_join(other));
	vcpu_free(other);
}

TEST_HARNESS_MAIN
