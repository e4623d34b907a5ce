// SPDX-License-Identifier: GPL-2.0-only
/* The interrupt controllers in the kernel: PIC, I/O APIC, routing, MSI. */
#include "guest.h"
#include <kselftest_harness.h>

#define IOAPIC_GPA 0xfec00000ul
#define VECTOR 0x62
#define LEVEL (1u << 15)
#define MASKED (1u << 16)
#define REMOTE_IRR (1u << 14)

static volatile u32 hits[256];
static volatile bool keep_level;

static void count(struct trap_frame *frame)
{
	hits[frame->vector]++;
	apic_eoi();
}

static u32 ioapic_read(u32 reg)
{
	mmio_write32(IOAPIC_GPA, reg);
	return mmio_read32(IOAPIC_GPA + 0x10);
}

static void ioapic_write(u32 reg, u32 value)
{
	mmio_write32(IOAPIC_GPA, reg);
	mmio_write32(IOAPIC_GPA + 0x10, value);
}

static void ioapic_pin(u32 pin, u32 low)
{
	ioapic_write(0x11 + 2 * pin, 0);
	ioapic_write(0x10 + 2 * pin, low);
}

static void set_up(void)
{
	u32 i;

	for (i = 0x20; i < 256; i++)
		trap_handlers[i] = count;
	apic_enable();
	/* LINT0 of the boot CPU starts as ExtINT, for the PIC. */
	apic_write(APIC_LVT0, MASKED);
	sti();
}

FIXTURE(irqchip)
{
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(irqchip)
{
	self->vm = vm_new_irqchip();
	self->vcpu = vcpu_new(self->vm, 0);
}

FIXTURE_TEARDOWN(irqchip)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

static int set_line(struct vm *vm, u32 gsi, u32 level)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level };

	return dev_ioctl(vm->fd, KVM_IRQ_LINE, &line);
}

static int set_line_status(struct vm *vm, u32 gsi, u32 level)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level };

	MUST(vm->fd, KVM_IRQ_LINE_STATUS, &line);
	return line.status;
}

static void pulse(struct vm *vm, u32 gsi)
{
	if (set_line(vm, gsi, 1) || set_line(vm, gsi, 0))
		die("KVM_IRQ_LINE");
}

TEST(refusals)
{
	struct kvm_irq_level line = { .irq = 4, .level = 1 };
	struct kvm_pit_config pit = {};
	struct kvm_irqchip chip = { .chip_id = KVM_IRQCHIP_IOAPIC };
	struct kvm_msi msi = { .address_lo = APIC_GPA, .data = VECTOR };
	struct vm *vm = vm_new_bare();

	EXPECT_EQ(-ENXIO, dev_ioctl(vm->fd, KVM_IRQ_LINE, &line));
	EXPECT_EQ(-ENXIO, dev_ioctl(vm->fd, KVM_GET_IRQCHIP, &chip));
	EXPECT_EQ(-ENXIO, dev_ioctl(vm->fd, KVM_SET_IRQCHIP, &chip));
	EXPECT_EQ(-EINVAL, dev_ioctl(vm->fd, KVM_SIGNAL_MSI, &msi));
	EXPECT_EQ(0, dev_ioctl(vm->fd, KVM_CREATE_IRQCHIP, NULL));
	EXPECT_EQ(-EEXIST, dev_ioctl(vm->fd, KVM_CREATE_IRQCHIP, NULL));
	EXPECT_EQ(0, dev_ioctl(vm->fd, KVM_CREATE_PIT2, &pit));
	EXPECT_EQ(-EEXIST, dev_ioctl(vm->fd, KVM_CREATE_PIT2, &pit));
	chip.chip_id = 17;
	EXPECT_EQ(-EINVAL, dev_ioctl(vm->fd, KVM_GET_IRQCHIP, &chip));
	EXPECT_EQ(-EINVAL, dev_ioctl(vm->fd, KVM_SET_IRQCHIP, &chip));
	vm_free(vm);

	/* Interrupt controllers come before vCPUs. */
	vm = vm_new_bare();
	MUST(vm->fd, KVM_CREATE_VCPU, 0);
	EXPECT_EQ(-EINVAL, dev_ioctl(vm->fd, KVM_CREATE_IRQCHIP, NULL));
	vm_free(vm);
}

/* I/O APIC */

static void ioapic_registers_guest(void)
{
	GUEST_EQ(0x17, ioapic_read(1) >> 16 & 0xff); /* 24 pins */
	ioapic_pin(5, MASKED | VECTOR);
	GUEST_EQ(MASKED | VECTOR, ioapic_read(0x10 + 10));
	ioapic_write(0x11 + 10, 0xab000000);
	GUEST_EQ(0xab000000, ioapic_read(0x11 + 10));
	/* Delivery status and remote IRR are read-only. */
	ioapic_pin(5, MASKED | REMOTE_IRR | 1 << 12 | VECTOR);
	GUEST_EQ(MASKED | VECTOR, ioapic_read(0x10 + 10));
	ioapic_write(0, 0x0f000000);
	GUEST_EQ(0x0f000000, ioapic_read(0) & 0x0f000000);
}

TEST_F(irqchip, ioapic_registers)
{
	vcpu_call(self->vcpu, ioapic_registers_guest);
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

static void edge_guest(void)
{
	u32 i;

	set_up();
	ioapic_pin(5, VECTOR);
	for (i = 0; i < 5; i++)
		guest_sync(hits[VECTOR]);
	ioapic_pin(5, MASKED | VECTOR);
	guest_sync(hits[VECTOR]);
	guest_sync(hits[VECTOR]);
}

TEST_F(irqchip, ioapic_edge)
{
	u32 i;

	vcpu_call(self->vcpu, edge_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	for (i = 1; i < 4; i++) {
		pulse(self->vm, 5);
		EXPECT_EQ(i, vcpu_sync(self->vcpu));
	}
	/* The line stays up: no second interrupt. */
	EXPECT_EQ(0, set_line(self->vm, 5, 1));
	EXPECT_EQ(4, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, set_line(self->vm, 5, 1));
	EXPECT_EQ(4, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, set_line(self->vm, 5, 0));
	pulse(self->vm, 5);
	EXPECT_EQ(4, vcpu_sync(self->vcpu)) TH_LOG("masked");
}

/* A level-triggered pin comes again after EOI for as long as it is asserted. */
static void level_handler(struct trap_frame *frame)
{
	hits[frame->vector]++;
	GUEST_ASSERT(ioapic_read(0x10 + 18) & REMOTE_IRR);
	guest_sync(100 + hits[frame->vector]);
	apic_eoi();
}

static void level_guest(void)
{
	set_up();
	trap_handlers[VECTOR] = level_handler;
	ioapic_pin(9, LEVEL | VECTOR);
	guest_sync(0);
	guest_sync(1);
	GUEST_ASSERT(!(ioapic_read(0x10 + 18) & REMOTE_IRR));
}

TEST_F(irqchip, ioapic_level)
{
	u32 i;

	vcpu_call(self->vcpu, level_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, set_line(self->vm, 9, 1));
	for (i = 1; i <= 4; i++)
		EXPECT_EQ(100 + i, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, set_line(self->vm, 9, 0));
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

/* A line that is up while masked is not forgotten. */
static void masked_level_guest(void)
{
	set_up();
	trap_handlers[VECTOR] = level_handler;
	ioapic_pin(9, MASKED | LEVEL | VECTOR);
	guest_sync(0);
	GUEST_EQ(0, hits[VECTOR]);
	ioapic_pin(9, LEVEL | VECTOR);
	for (;;)
		sti_hlt();
}

TEST_F(irqchip, ioapic_unmask_level)
{
	vcpu_call(self->vcpu, masked_level_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, set_line(self->vm, 9, 1));
	EXPECT_EQ(101, vcpu_sync(self->vcpu));
}

static void wait_guest(void)
{
	set_up();
	ioapic_pin(5, VECTOR);
	guest_sync(0);
	cli();
	while (!hits[VECTOR]) {
		sti_hlt();
		cli();
	}
	sti();
}

/* A line that rises before or after the vCPU went to sleep wakes it. */
TEST_F(irqchip, wakes_from_halt)
{
	struct kvm_mp_state state;
	int i;

	for (i = 0; i < 50; i++) {
		vcpu_call(self->vcpu, wait_guest);
		GUEST_VAR(self->vm, hits[VECTOR]) = 0;
		EXPECT_EQ(0, vcpu_sync(self->vcpu));
		vcpu_start(self->vcpu);
		if (i & 1)
			sched_yield();
		pulse(self->vm, 5);
		EXPECT_EQ(GUEST_DONE, vcpu_join(self->vcpu));
	}
	MUST(self->vcpu->fd, KVM_GET_MP_STATE, &state);
	EXPECT_EQ(KVM_MP_STATE_RUNNABLE, state.mp_state);
}

static void priority_guest(void)
{
	set_up();
	cli();
	guest_sync(0);
	GUEST_EQ(1u << (VECTOR & 31), apic_read(APIC_IRR + 0x30));
	apic_write(APIC_TPR, VECTOR);
	sti();
	asm volatile("nop; nop");
	GUEST_EQ(0, hits[VECTOR]);
	apic_write(APIC_TPR, VECTOR - 0x10);
	asm volatile("nop; nop");
	GUEST_EQ(1, hits[VECTOR]);
	GUEST_EQ(0, apic_read(APIC_IRR + 0x30));
}

/* With the interrupt waiting for IF: QEMU as the processor must not see it. */
static void priority_by_cr8_guest(void)
{
	set_up();
	cli();
	guest_sync(0);
	WRITE_REG(cr8, VECTOR >> 4);
	GUEST_EQ(VECTOR >> 4, READ_REG(cr8));
	GUEST_EQ(VECTOR & 0xf0, apic_read(APIC_TPR));
	sti();
	asm volatile("nop; nop");
	GUEST_EQ(0, hits[VECTOR]);
	cli();
	WRITE_REG(cr8, (VECTOR >> 4) - 1);
	GUEST_EQ((VECTOR >> 4) - 1, READ_REG(cr8));
	GUEST_EQ(0, hits[VECTOR]);
	sti();
	asm volatile("nop; nop");
	GUEST_EQ(1, hits[VECTOR]);
	WRITE_REG(cr8, 0);
}

/* MSIs */

static int signal_msi(struct vm *vm, u32 address, u32 data)
{
	struct kvm_msi msi = { .address_lo = address, .data = data };

	return dev_ioctl(vm->fd, KVM_SIGNAL_MSI, &msi);
}

TEST_F(irqchip, task_priority)
{
	vcpu_call(self->vcpu, priority_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	EXPECT_LT(0, signal_msi(self->vm, APIC_GPA, VECTOR));
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

TEST_F(irqchip, task_priority_by_cr8)
{
	vcpu_call(self->vcpu, priority_by_cr8_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	EXPECT_LT(0, signal_msi(self->vm, APIC_GPA, VECTOR));
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

static void msi_guest(void)
{
	set_up();
	apic_write(APIC_DFR, ~0u);
	apic_write(APIC_LDR, 0x10000000);
	for (;;)
		guest_sync(hits[VECTOR]);
}

TEST_F(irqchip, msi)
{
	struct kvm_msi bad = { .address_lo = APIC_GPA,
			       .data = VECTOR,
			       .flags = 2 };

	vcpu_call(self->vcpu, msi_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	EXPECT_LT(0, signal_msi(self->vm, APIC_GPA, VECTOR));
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	EXPECT_LT(0, signal_msi(self->vm, APIC_GPA | 0x10 << 12 | 4, VECTOR))
	TH_LOG("logical");
	EXPECT_EQ(2, vcpu_sync(self->vcpu));
	EXPECT_GE(0, signal_msi(self->vm, APIC_GPA | 7 << 12, VECTOR))
	TH_LOG("nobody there");
	EXPECT_EQ(2, vcpu_sync(self->vcpu));
	EXPECT_EQ(-EINVAL, dev_ioctl(self->vm->fd, KVM_SIGNAL_MSI, &bad));
	EXPECT_EQ(2, vcpu_sync(self->vcpu));
}

/* Routing */

static int set_routes(struct vm *vm, u32 n,
		      const struct kvm_irq_routing_entry *e)
{
	static struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entries[64];
	} table;

	table.head.nr = n;
	table.head.flags = 0;
	memcpy(table.entries, e, n * sizeof(*e));
	return dev_ioctl(vm->fd, KVM_SET_GSI_ROUTING, &table);
}

TEST_F(irqchip, routing)
{
	struct kvm_irq_routing_entry route = {
		.gsi = 40,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = APIC_GPA, .data = VECTOR },
	};
	struct kvm_irq_routing bad_flags = { .flags = 1 };
	struct vm *vm = self->vm;

	vcpu_call(self->vcpu, msi_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, set_routes(vm, 1, &route));
	pulse(vm, 40);
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	/* The new table replaces the old one altogether. */
	pulse(vm, 5);
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	route.gsi = 41;
	EXPECT_EQ(0, set_routes(vm, 1, &route));
	set_line(vm, 40, 1);
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	pulse(vm, 41);
	EXPECT_EQ(2, vcpu_sync(self->vcpu));

	/* What is refused leaves the table as it was. */
	EXPECT_EQ(-EINVAL, dev_ioctl(vm->fd, KVM_SET_GSI_ROUTING, &bad_flags));
	route.type = 99;
	EXPECT_EQ(-EINVAL, set_routes(vm, 1, &route));
	route.type = KVM_IRQ_ROUTING_IRQCHIP;
	route.u.irqchip.irqchip = KVM_IRQCHIP_IOAPIC;
	route.u.irqchip.pin = 24;
	EXPECT_EQ(-EINVAL, set_routes(vm, 1, &route));
	route.u.irqchip.irqchip = 9;
	EXPECT_EQ(-EINVAL, set_routes(vm, 1, &route));
	route.gsi = 100000;
	EXPECT_EQ(-EINVAL, set_routes(vm, 1, &route));
	pulse(vm, 41);
	EXPECT_EQ(3, vcpu_sync(self->vcpu));
}

/* Whether an interrupt was taken, or merged with one that still waits. */
TEST_F(irqchip, line_status)
{
	struct kvm_irq_routing_entry route = {
		.gsi = 5,
		.type = KVM_IRQ_ROUTING_IRQCHIP,
		.u.irqchip = { .irqchip = KVM_IRQCHIP_IOAPIC, .pin = 5 },
	};

	EXPECT_EQ(0, set_routes(self->vm, 1, &route));
	vcpu_call(self->vcpu, edge_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	EXPECT_LT(0, set_line_status(self->vm, 5, 1));
	EXPECT_EQ(0, set_line_status(self->vm, 5, 1));
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
}

/* The PIC, through LINT0 */

#define PIC1 0x20
#define PIC2 0xa0

static void set_up_pics(void)
{
	outb(PIC1, 0x11);
	outb(PIC1 + 1, 0x20);
	outb(PIC1 + 1, 4);
	outb(PIC1 + 1, 1);
	outb(PIC2, 0x11);
	outb(PIC2 + 1, 0x28);
	outb(PIC2 + 1, 2);
	outb(PIC2 + 1, 1);
	outb(PIC1 + 1, 0);
	outb(PIC2 + 1, 0);
	apic_write(APIC_LVT0, 0x700); /* ExtINT */
}

static u8 pic_isr(u16 port)
{
	outb(port, 0x0b);
	return inb(port);
}

static void pic_handler(struct trap_frame *frame)
{
	u32 irq = frame->vector - 0x20;

	hits[frame->vector]++;
	GUEST_EQ(irq < 8 ? 1 << irq : 4, pic_isr(PIC1));
	GUEST_EQ(irq < 8 ? 0 : 1 << (irq - 8), pic_isr(PIC2));
	if (irq >= 8)
		outb(PIC2, 0x20);
	outb(PIC1, 0x20);
}

static void pic_guest(void)
{
	u32 i;

	set_up();
	for (i = 0x20; i < 0x30; i++)
		trap_handlers[i] = pic_handler;
	set_up_pics();
	guest_sync(0);
	guest_sync(hits[0x23]);
	guest_sync(hits[0x2a]);
	/* Masked: it waits in the IRR. */
	outb(PIC1 + 1, 1 << 3);
	GUEST_EQ(1 << 3, inb(PIC1 + 1));
	guest_sync(0);
	outb(PIC1, 0x0a);
	GUEST_EQ(1 << 3, inb(PIC1) & 1 << 3);
	GUEST_EQ(1, hits[0x23]);
	outb(PIC1 + 1, 0);
	asm volatile("nop; nop");
	GUEST_EQ(2, hits[0x23]);
	/* Two at once: the lower number goes first. */
	cli();
	guest_sync(0);
	trap_handlers[0x21] = count;
	trap_handlers[0x24] = count;
	asm volatile("sti; nop; cli");
	GUEST_EQ(1, hits[0x21]);
	GUEST_EQ(0, hits[0x24]);
	outb(PIC1, 0x20);
	asm volatile("sti; nop; cli");
	GUEST_EQ(1, hits[0x24]);
}

TEST_F(irqchip, pic)
{
	vcpu_call(self->vcpu, pic_guest);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	pulse(self->vm, 3);
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	pulse(self->vm, 10);
	EXPECT_EQ(1, vcpu_sync(self->vcpu));
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	pulse(self->vm, 3);
	EXPECT_EQ(0, vcpu_sync(self->vcpu));
	pulse(self->vm, 4);
	pulse(self->vm, 1);
	EXPECT_EQ(GUEST_DONE, vcpu_sync(self->vcpu));
}

/* Split: local APICs in the kernel, all else in user space */

static struct vm *new_split(void)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_SPLIT_IRQCHIP,
		.args = { 24 },
	};
	struct vm *vm = vm_new();

	MUST(vm->fd, KVM_ENABLE_CAP, &cap);
	return vm;
}

static void split_guest(void)
{
	set_up();
	GUEST_EQ(0x1234, mmio_read32(IOAPIC_GPA));
	guest_sync(hits[VECTOR]);
	guest_sync(hits[VECTOR]);
	apic_write(APIC_LVT0, 0x700);
	sti();
	guest_sync(1);
	guest_sync(hits[0x77]);
}

TEST(split)
{
	struct kvm_irq_routing_entry route = {
		.gsi = 7,
		.type = KVM_IRQ_ROUTING_MSI,
		.u.msi = { .address_lo = APIC_GPA, .data = LEVEL | VECTOR },
	};
	struct kvm_interrupt irq = { .irq = 0x77 };
	struct vm *vm = new_split();
	struct vcpu *vcpu = vcpu_new(vm, 0);

	EXPECT_EQ(0, set_routes(vm, 1, &route));
	vcpu_call(vcpu, split_guest);
	ASSERT_EXIT(KVM_EXIT_MMIO, vcpu);
	EXPECT_EQ(IOAPIC_GPA, vcpu->run->mmio.phys_addr);
	memcpy(vcpu->run->mmio.data, &(u32){ 0x1234 }, 4);
	EXPECT_EQ(0, vcpu_sync(vcpu));
	/* User space emulates the I/O APIC and must hear of the EOI. */
	EXPECT_LT(0, signal_msi(vm, APIC_GPA, LEVEL | VECTOR));
	ASSERT_EXIT(KVM_EXIT_IOAPIC_EOI, vcpu);
	EXPECT_EQ(VECTOR, vcpu->run->eoi.vector);
	EXPECT_EQ(1, vcpu_sync(vcpu));
	EXPECT_EQ(1, vcpu_sync(vcpu));
	/* So does it the PIC: KVM_INTERRUPT is an ExtINT. */
	EXPECT_EQ(0, dev_ioctl(vcpu->fd, KVM_INTERRUPT, &irq));
	EXPECT_EQ(-EEXIST, dev_ioctl(vcpu->fd, KVM_INTERRUPT, &irq));
	EXPECT_EQ(1, vcpu_sync(vcpu));
	EXPECT_EQ(GUEST_DONE, vcpu_sync(vcpu));
}

/* It has no EOI to write: nothing exits. */
static void on_extint(struct trap_frame *frame)
{
	hits[frame->vector]++;
}

static void two_at_once_guest(void)
{
	u32 i;

	set_up();
	trap_handlers[0x77] = on_extint;
	apic_write(APIC_LVT0, 0x700);
	for (i = 0; i < 2; i++) {
		sti();
		guest_sync(1);
		cli();
		guest_sync(hits[0x77]);
		guest_sync(hits[VECTOR]);
	}
}

/*
 * The second one is taken right when the handler of the first returns. The first
 * time there are exits between them, for memory that is new.
 */
TEST(two_at_once)
{
	struct kvm_interrupt irq = { .irq = 0x77 };
	struct vm *vm = new_split();
	struct vcpu *vcpu = vcpu_new(vm, 0);
	u32 i;

	vcpu_call(vcpu, two_at_once_guest);
	for (i = 1; i <= 2; i++) {
		ASSERT_EQ(1, vcpu_sync(vcpu));
		ASSERT_EQ(0, dev_ioctl(vcpu->fd, KVM_INTERRUPT, &irq));
		ASSERT_LT(0, signal_msi(vm, APIC_GPA, VECTOR));
		EXPECT_EQ(i, vcpu_sync(vcpu));
		EXPECT_EQ(i, vcpu_sync(vcpu));
	}
	EXPECT_EQ(GUEST_DONE, vcpu_sync(vcpu));
}

TEST(split_refusals)
{
	struct kvm_enable_cap cap = {
		.cap = KVM_CAP_SPLIT_IRQCHIP,
		.args = { 100000 },
	};
	struct vm *vm = vm_new_bare();

	EXPECT_EQ(-EINVAL, dev_ioctl(vm->fd, KVM_ENABLE_CAP, &cap));
	cap.args[0] = 48; /* two I/O APICs, as QEMU's microvm has */
	cap.flags = 1;
	EXPECT_EQ(-EINVAL, dev_ioctl(vm->fd, KVM_ENABLE_CAP, &cap));
	cap.flags = 0;
	EXPECT_EQ(0, dev_ioctl(vm->fd, KVM_ENABLE_CAP, &cap));
	EXPECT_EQ(-EEXIST, dev_ioctl(vm->fd, KVM_ENABLE_CAP, &cap));
	EXPECT_EQ(-EEXIST, dev_ioctl(vm->fd, KVM_CREATE_IRQCHIP, NULL));
	cap.cap = 100000;
	EXPECT_EQ(-EINVAL, dev_ioctl(vm->fd, KVM_ENABLE_CAP, &cap));
	vm_free(vm);
}

TEST_HARNESS_MAIN
