// SPDX-License-Identifier: GPL-2.0-only
/*
 * The MP table of Intel's MultiProcessor Specification 1.4, for guests
 * without ACPI: CPUs, one ISA bus, one I/O APIC, interrupt assignments.
 */
#include <string.h>

#include "acpi.h"
#include "layout.h"

#define __packed __attribute__((packed))

#define SPEC_REV_1_4 4
#define APIC_VERSION 0x14
#define ISA_BUS 0
#define ISA_IRQS 16
#define ALL_LAPICS 0xff

struct mp_pointer {
	char signature[4];
	u32 table;
	u8 length;
	u8 spec_rev;
	u8 checksum;
	u8 features[5];
} __packed;

struct mp_header {
	char signature[4];
	u16 length;
	u8 spec_rev;
	u8 checksum;
	char oem_id[8];
	char product_id[12];
	u32 oem_table;
	u16 oem_length;
	u16 entries;
	u32 lapic;
	u16 ext_length;
	u8 ext_checksum;
	u8 reserved;
} __packed;

struct mp_cpu {
	u8 type;
	u8 lapic_id;
	u8 lapic_version;
	u8 flags;
	u32 signature;
	u32 features;
	u32 reserved[2];
} __packed;

#define CPU_ENABLED BIT(0)
#define CPU_BOOT BIT(1)
#define CPU_SIGNATURE 0x600
#define CPU_FEATURES 0x201 /* FPU and local APIC */

struct mp_bus {
	u8 type;
	u8 id;
	char name[6];
} __packed;

struct mp_ioapic {
	u8 type;
	u8 id;
	u8 version;
	u8 flags;
	u32 address;
} __packed;

#define IOAPIC_ENABLED BIT(0)

struct mp_interrupt {
	u8 type;
	u8 kind;
	u16 flags;
	u8 bus;
	u8 irq;
	u8 apic;
	u8 pin;
} __packed;

enum {
	MP_CPU,
	MP_BUS,
	MP_IOAPIC,
	MP_IOAPIC_IRQ,
	MP_LAPIC_IRQ
};
enum {
	KIND_INT,
	KIND_NMI,
	KIND_SMI,
	KIND_EXTINT
};

_Static_assert(sizeof(struct mp_pointer) == 16, "floating pointer");
_Static_assert(sizeof(struct mp_header) == 44, "configuration table header");
_Static_assert(sizeof(struct mp_cpu) == 20, "processor entry");
_Static_assert(sizeof(struct mp_interrupt) == 8, "interrupt entry");

static void append(struct mp_header *h, const void *entry, size_t size)
{
	memcpy((u8 *)h + h->length, entry, size);
	h->length += size;
	h->entries++;
}

static void add_cpus(struct mp_header *h, unsigned int cpus)
{
	struct mp_cpu cpu = { .type = MP_CPU,
			      .lapic_version = APIC_VERSION,
			      .flags = CPU_ENABLED | CPU_BOOT,
			      .signature = CPU_SIGNATURE,
			      .features = CPU_FEATURES };
	unsigned int i;

	for (i = 0; i < cpus; i++) {
		cpu.lapic_id = i;
		append(h, &cpu, sizeof(cpu));
		cpu.flags = CPU_ENABLED;
	}
}

/* Interrupts as set_gsi_routing() has them: the timer in place of IRQ 2. */
static void add_interrupts(struct mp_header *h, u8 ioapic)
{
	struct mp_interrupt e = { .type = MP_IOAPIC_IRQ,
				  .bus = ISA_BUS,
				  .apic = ioapic };

	for (e.irq = 0; e.irq < ISA_IRQS; e.irq++) {
		if (e.irq == 2)
			continue;
		e.pin = e.irq ? e.irq : 2;
		append(h, &e, sizeof(e));
	}
	e = (struct mp_interrupt){ .type = MP_LAPIC_IRQ,
				   .kind = KIND_EXTINT,
				   .bus = ISA_BUS };
	append(h, &e, sizeof(e));
	e.kind = KIND_NMI;
	e.apic = ALL_LAPICS;
	e.pin = 1;
	append(h, &e, sizeof(e));
}

/**
 * mptable_build() - write the table, its pointer first; returns their size
 * @table: where to write
 * @gpa: the same place for the guest, where guests search: 0xf0000 and up
 * @cpus: number of CPUs; their local APIC IDs are 0 to @cpus - 1
 */
size_t mptable_build(void *table, u64 gpa, unsigned int cpus)
{
	static const struct mp_bus bus = { .type = MP_BUS,
					   .id = ISA_BUS,
					   .name = "ISA   " };
	struct mp_ioapic ioapic = { .type = MP_IOAPIC,
				    .id = cpus,
				    .version = APIC_VERSION,
				    .flags = IOAPIC_ENABLED,
				    .address = GPA_IOAPIC };
	struct mp_pointer *p = table;
	struct mp_header *h = (void *)(p + 1);

	*p = (struct mp_pointer){ .signature = "_MP_",
				  .table = gpa + sizeof(*p),
				  .length = sizeof(*p) / 16,
				  .spec_rev = SPEC_REV_1_4 };
	p->checksum = checksum8(p, sizeof(*p));
	*h = (struct mp_header){ .signature = "PCMP",
				 .length = sizeof(*h),
				 .spec_rev = SPEC_REV_1_4,
				 .oem_id = "LABVISOR",
				 .product_id = "LAB         ",
				 .lapic = GPA_LAPIC };
	add_cpus(h, cpus);
	append(h, &bus, sizeof(bus));
	append(h, &ioapic, sizeof(ioapic));
	add_interrupts(h, ioapic.id);
	h->checksum = checksum8(h, h->length);
	return sizeof(*p) + h->length;
}
