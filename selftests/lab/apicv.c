// SPDX-License-Identifier: GPL-2.0-only
/*
 * APIC virtualization: what a guest does to its local APIC without exits, and
 * what still has to exit.
 */
#include "guest.h"
#include "stats.h"
#include <kselftest_harness.h>

#define IOAPIC_GPA 0xfec00000ul
#define VECTOR 0x62
#define LEVEL (1u << 15)
#define REMOTE_IRR (1u << 14)
#define ROUNDS 50

static volatile u32 hits, first_hit;
static volatile bool x2apic;

static void eoi(struct trap_frame *frame)
{
	hits++;
	if (!first_hit)
		first_hit = frame->vector;
	if (x2apic)
		wrmsr(MSR_X2APIC + 0xb, 0);
	else
		apic_eoi();
}

#define NEED_APICV()                                                          \
	do {                                                                  \
		if (!lab_has_apicv())                                         \
			SKIP(return, "no APIC virtualization, or it is off"); \
	} while (0)

FIXTURE(apicv)
{
	struct vm *vm;
	struct vcpu *vcpu;
	struct stats stats;
	int fd;
};

FIXTURE_SETUP(apicv)
{
	self->vm = vm_new_irqchip();
	self->vcpu = vcpu_new(self->vm, 0);
	vcpu_offer_cpuid(self->vcpu);
	self->fd = stats_fd(self->vcpu->fd);
	stats_open(self->fd, &self->stats);
}

FIXTURE_TEARDOWN(apicv)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
	free(self->stats.descs);
	close(self->fd);
}

/* Exits that are about the local APIC, and what they are for. */
static const char *const names[] = {
	"exit_fault",	   "exit_apic_access", "exit_apic_write", "exit_eoi",
	"exit_rdmsr",	   "exit_wrmsr",       "exit_cr",	  "exit_tpr",
	"exit_irq_window", "irq_injections",
};

struct exits {
	u64 nr[ARRAY_LEN(names)];
};

#define COUNT(self)                                                           \
	({                                                                    \
		struct exits __e;                                             \
		unsigned int __i;                                             \
                                                                              \
		for (__i = 0; __i < ARRAY_LEN(names); __i++)                  \
			__e.nr[__i] = stats_value((self)->fd, &(self)->stats, \
						  names[__i]);                \
		__e;                                                          \
	})

/* No exit of these, but @some of those called @name. */
static void check_exits(struct __test_metadata *_metadata,
			const struct exits *before, const struct exits *after,
			const char *name, u64 some)
{
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(names); i++)
		EXPECT_EQ(strcmp(names[i], name) ? 0 : some,
			  after->nr[i] - before->nr[i])
	TH_LOG("%s", names[i]);
}

/* ---- what has no exits ---- */

static void xapic_round(void)
{
	u32 id = apic_read(APIC_ID) | apic_read(APIC_LVTT) |
		 apic_read(APIC_LDR);

	GUEST_EQ(0x10000, id);
	/* Held back by the task priority, and then not. */
	apic_write(APIC_TPR, VECTOR);
	apic_icr(0, ICR_SELF | VECTOR);
	GUEST_EQ(VECTOR, apic_read(APIC_TPR));
	GUEST_EQ(1u << VECTOR % 32, apic_read(APIC_IRR + VECTOR / 32 * 16));
	WRITE_REG(cr8, 0);
	asm volatile("nop");
	GUEST_EQ(0, apic_read(APIC_TPR));
}

static void x2apic_round(void)
{
	wrmsr(MSR_X2APIC + 8, VECTOR);
	wrmsr(MSR_X2APIC + 0x3f, VECTOR);
	GUEST_EQ(VECTOR, rdmsr(MSR_X2APIC + 8));
	wrmsr(MSR_X2APIC + 8, 0);
	asm volatile("nop");
}

static void rounds(void (*round)(void))
{
	u32 i;

	trap_handlers[VECTOR] = eoi;
	sti();
	round(); /* touches all that has to be mapped */
	GUEST_EQ(1, hits);
	guest_sync(0);
	for (i = 0; i < ROUNDS; i++)
		round();
	GUEST_EQ(1 + ROUNDS, hits);
	GUEST_EQ(VECTOR, first_hit);
	guest_sync(1);
}

static void xapic_guest(void)
{
	apic_enable();
	rounds(xapic_round);
}

static void x2apic_guest(void)
{
	x2apic = true;
	wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | 1 << 10);
	wrmsr(MSR_X2APIC + 0xf, 0x1ff);
	rounds(x2apic_round);
}

TEST_F(apicv, xapic)
{
	struct exits before, after;

	NEED_APICV();
	vcpu_call(self->vcpu, xapic_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	before = COUNT(self);
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	after = COUNT(self);
	check_exits(_metadata, &before, &after, "", 0);
}

TEST_F(apicv, x2apic)
{
	struct exits before, after;

	NEED_APICV();
	vcpu_call(self->vcpu, x2apic_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	before = COUNT(self);
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	after = COUNT(self);
	check_exits(_metadata, &before, &after, "", 0);
}

/* An interrupt that the guest holds back takes no window. */
static void blocked_guest(void)
{
	apic_enable();
	trap_handlers[VECTOR] = eoi;
	sti();
	apic_icr(0, ICR_SELF | VECTOR);
	asm volatile("nop");
	cli();
	guest_sync(0);
	GUEST_EQ(1, hits);
	sti();
	asm volatile("nop");
	GUEST_EQ(2, hits);
	guest_sync(1);
}

TEST_F(apicv, blocked)
{
	struct kvm_msi msi = { .address_lo = APIC_GPA, .data = VECTOR };
	struct exits before, after;

	NEED_APICV();
	vcpu_call(self->vcpu, blocked_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	before = COUNT(self);
	MUST(self->vm->fd, KVM_SIGNAL_MSI, &msi);
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	after = COUNT(self);
	check_exits(_metadata, &before, &after, "", 0);
}

static void silent_guest(void)
{
	apic_enable();
	trap_handlers[VECTOR] = eoi;
	sti();
	for (;;) {
		apic_icr(5, ICR_SELF | VECTOR);
		asm volatile("nop");
		guest_sync(hits);
	}
}

static u32 lapic_reg(const struct vcpu *vcpu, u32 reg)
{
	struct kvm_lapic_state state;
	u32 val;

	MUST(vcpu->fd, KVM_GET_LAPIC, &state);
	memcpy(&val, state.regs + reg, sizeof(val));
	return val;
}

/* User space sees what it did. */
TEST_F(apicv, silent_writes)
{
	vcpu_call(self->vcpu, silent_guest);
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	EXPECT_EQ(2, vcpu_sync(self->vcpu));
	EXPECT_EQ(ICR_SELF | VECTOR, lapic_reg(self->vcpu, APIC_ICR));
	EXPECT_EQ(5u << 24, lapic_reg(self->vcpu, APIC_ICR2));
}

/* ---- what has ---- */

static void icr_guest(void)
{
	apic_enable();
	trap_handlers[VECTOR] = eoi;
	sti();
	apic_icr(0, ICR_SELF | VECTOR); /* all is mapped then */
	asm volatile("nop");
	guest_sync(0);
	/* To itself, but not by the shorthand. */
	apic_icr(0, ICR_FIXED | VECTOR);
	asm volatile("nop");
	GUEST_EQ(2, hits);
	/* Not all bits of a register are the guest's. */
	apic_write(APIC_ID, 0xff000000);
	apic_write(APIC_LVT1, ~0u);
	GUEST_EQ(0, apic_read(APIC_ID));
	GUEST_EQ(0x1a7ff, apic_read(APIC_LVT1));
	guest_sync(1);
}

TEST_F(apicv, writes)
{
	struct exits before, after;

	NEED_APICV();
	vcpu_call(self->vcpu, icr_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	before = COUNT(self);
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	after = COUNT(self);
	check_exits(_metadata, &before, &after, "exit_apic_write", 3);
}

static u32 ioapic_read(u32 reg)
{
	mmio_write32(IOAPIC_GPA, reg);
	return mmio_read32(IOAPIC_GPA + 0x10);
}

static void level_guest(void)
{
	apic_enable();
	apic_write(APIC_LVT0, 1 << 16); /* the PIC has that line, too */
	trap_handlers[VECTOR] = eoi;
	mmio_write32(IOAPIC_GPA, 0x10 + 18);
	mmio_write32(IOAPIC_GPA + 0x10, LEVEL | VECTOR);
	sti();
	guest_sync(0);
	while (!hits)
		pause_cpu();
	cli();
	GUEST_ASSERT(!(ioapic_read(0x10 + 18) & REMOTE_IRR));
	sti();
	/* The same vector from elsewhere is an edge, and nobody's but ours. */
	apic_icr(0, ICR_SELF | VECTOR);
	asm volatile("nop");
	guest_sync(1);
}

TEST_F(apicv, level)
{
	struct kvm_irq_level line = { .irq = 9, .level = 1 };
	u64 eois;

	NEED_APICV();
	vcpu_call(self->vcpu, level_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	MUST(self->vm->fd, KVM_IRQ_LINE, &line);
	line.level = 0;
	MUST(self->vm->fd, KVM_IRQ_LINE, &line);
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	eois = stats_value(self->fd, &self->stats, "exit_eoi");
	EXPECT_LE(1, eois);
	EXPECT_GE(2, eois);
}

/* ---- the page that all vCPUs have in common ---- */

static void read_page_guest(void)
{
	u32 i;

	for (i = 0;; i++)
		guest_sync(apic_read(APIC_VERSION));
}

/* Memory in the place of the local APICs hides them, as long as it is there. */
TEST_F(apicv, memory_over_it)
{
	u32 *page = map_memory(PAGE_SIZE), version;

	NEED_APICV();
	page[APIC_VERSION / 4] = 0xabcd;
	vcpu_call(self->vcpu, read_page_guest);
	version = vcpu_sync(self->vcpu);
	EXPECT_EQ(0x14, version & 0xff);
	EXPECT_EQ(0, vm_slot(self->vm, 7, 0, APIC_GPA, PAGE_SIZE, page));
	EXPECT_EQ(0xabcd, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, vm_slot(self->vm, 7, 0, APIC_GPA, 0, page));
	EXPECT_EQ(version, vcpu_sync(self->vcpu));
}

/* Where a vCPU has no APIC any more, there is none for it. */
static void moved_guest(void)
{
	GUEST_EQ(0x14, apic_read(APIC_VERSION) & 0xff);
	apic_write(APIC_ICR2, 5 << 24);
	wrmsr(MSR_APIC_BASE, (rdmsr(MSR_APIC_BASE) & 0xfff) | MMIO_GPA);
	GUEST_EQ(0x14, mmio_read32(MMIO_GPA + APIC_VERSION) & 0xff);
	GUEST_EQ(5 << 24, mmio_read32(MMIO_GPA + APIC_ICR2));
	guest_sync(apic_read(APIC_VERSION));
}

TEST_F(apicv, moved)
{
	struct vcpu *other;
	struct kvm_run *run = self->vcpu->run;
	struct kvm_mp_state runs = { KVM_MP_STATE_RUNNABLE };
	u32 version;

	NEED_APICV();
	other = vcpu_new(self->vm, 1);
	vcpu_call(other, read_page_guest);
	MUST(other->fd, KVM_SET_MP_STATE, &runs);
	version = vcpu_sync(other);
	vcpu_call(self->vcpu, moved_guest);
	ASSERT_EXIT(KVM_EXIT_MMIO, self->vcpu);
	EXPECT_EQ(APIC_GPA + APIC_VERSION, run->mmio.phys_addr);
	memset(run->mmio.data, 0x55, sizeof(run->mmio.data));
	EXPECT_EQ(0x55555555, vcpu_sync(self->vcpu));
	EXPECT_EQ(version, vcpu_sync(other));
	vcpu_free(other);
}

TEST_HARNESS_MAIN
