// SPDX-License-Identifier: GPL-2.0-only
/*
 * ACPI tables: RSDP, XSDT, FADT, DSDT and MADT, as the ACPI specification
 * lays them out. Enough for a guest to find its CPUs and its I/O APIC, to read
 * the power management timer, to power off and to reset.
 */
#include <string.h>

#include "acpi.h"
#include "layout.h"

#define __packed __attribute__((packed))

struct rsdp {
	char signature[8];
	u8 checksum;
	char oem_id[6];
	u8 revision;
	u32 rsdt;
	u32 length;
	u64 xsdt;
	u8 extended_checksum;
	u8 reserved[3];
} __packed;

struct header {
	char signature[4];
	u32 length;
	u8 revision;
	u8 checksum;
	char oem_id[6];
	char oem_table_id[8];
	u32 oem_revision;
	char creator_id[4];
	u32 creator_revision;
} __packed;

struct address {
	u8 space;
	u8 bit_width;
	u8 bit_offset;
	u8 access_size;
	u64 address;
} __packed;

#define SPACE_IO 1

struct xsdt {
	struct header h;
	u64 fadt;
	u64 madt;
} __packed;

struct fadt {
	struct header h;
	u32 facs;
	u32 dsdt;
	u8 reserved1;
	u8 preferred_profile;
	u16 sci_irq;
	u32 smi_command;
	u8 acpi_enable, acpi_disable, s4bios, pstate_control;
	u32 pm1a_event, pm1b_event;
	u32 pm1a_control, pm1b_control;
	u32 pm2_control;
	u32 pm_timer;
	u32 gpe0, gpe1;
	u8 pm1_event_len, pm1_control_len, pm2_control_len, pm_timer_len;
	u8 gpe0_len, gpe1_len, gpe1_base, cstate_control;
	u16 c2_latency, c3_latency;
	u16 flush_size, flush_stride;
	u8 duty_offset, duty_width;
	u8 day_alarm, month_alarm, century;
	u16 boot_flags;
	u8 reserved2;
	u32 flags;
	struct address reset_register;
	u8 reset_value;
	u16 arm_boot_flags;
	u8 minor_revision;
	u64 x_facs, x_dsdt;
	struct address x_pm1a_event, x_pm1b_event;
	struct address x_pm1a_control, x_pm1b_control;
	struct address x_pm2_control;
	struct address x_pm_timer;
	struct address x_gpe0, x_gpe1;
	struct address sleep_control, sleep_status;
	u64 hypervisor;
} __packed;

#define PROFILE_DESKTOP 1
#define LATENCY_NONE 0xffff
#define BOOT_LEGACY_DEVICES BIT(0) /* and no bit 1: there is no keyboard */
#define BOOT_NO_VGA BIT(2)
#define BOOT_NO_ASPM BIT(4)
#define FADT_WBINVD BIT(0)
#define FADT_C1 BIT(2)
#define FADT_NO_FIXED_POWER_BUTTON BIT(4)
#define FADT_NO_FIXED_SLEEP_BUTTON BIT(5)
#define FADT_TIMER_32_BITS BIT(8)
#define FADT_RESET_REGISTER BIT(10)

struct madt {
	struct header h;
	u32 lapic_address;
	u32 flags;
} __packed;

#define MADT_HAS_PIC BIT(0)

struct madt_lapic {
	u8 type, length;
	u8 processor, id;
	u32 flags;
} __packed;

struct madt_ioapic {
	u8 type, length;
	u8 id, reserved;
	u32 address;
	u32 gsi_base;
} __packed;

struct madt_override {
	u8 type, length;
	u8 bus, irq;
	u32 gsi;
	u16 flags;
} __packed;

struct madt_nmi {
	u8 type, length;
	u8 processor;
	u16 flags;
	u8 lint;
} __packed;

enum {
	MADT_LAPIC,
	MADT_IOAPIC,
	MADT_OVERRIDE,
	MADT_LAPIC_NMI = 4
};

#define LAPIC_ENABLED BIT(0)
#define INTI_AS_BUS 0
#define INTI_HIGH_LEVEL 0x0d
#define ALL_PROCESSORS 0xff

_Static_assert(sizeof(struct rsdp) == 36, "RSDP of ACPI 2.0");
_Static_assert(sizeof(struct header) == 36, "table header");
_Static_assert(sizeof(struct fadt) == 276, "FADT of ACPI 6");

/* Name (_S5, Package (4) { 5, 5, 0, 0 }): the sleep types of power-off. */
static const u8 dsdt_aml[] = {
	0x08, '_',	     'S',  '5', '_', /* NameOp, name */
	0x12, 0x08,	     0x04, /* PackageOp, its length, four elements */
	0x0a, PM_SLP_TYP_S5, /* PM1a: BytePrefix, value */
	0x0a, PM_SLP_TYP_S5, /* PM1b */
	0x00, 0x00, /* reserved */
};

/* Where the next table goes, as pointer and as the guest's address. */
struct cursor {
	u8 *ptr;
	u64 gpa;
};

static void *take(struct cursor *c, size_t size)
{
	void *p = c->ptr;

	memset(p, 0, size);
	c->ptr += size;
	c->gpa += size;
	return p;
}

static void finish(struct header *h, const char *signature, u8 revision,
		   size_t length)
{
	memcpy(h->signature, signature, 4);
	h->length = length;
	h->revision = revision;
	memcpy(h->oem_id, "LABVSR", 6);
	memcpy(h->oem_table_id, "LABVISOR", 8);
	h->oem_revision = 1;
	memcpy(h->creator_id, "LABV", 4);
	h->creator_revision = 1;
	h->checksum = checksum8(h, length);
}

/* Tables start on 16-byte boundaries, as the RSDP has to. */
static void align(struct cursor *c)
{
	take(c, -c->gpa & 15);
}

static struct address io(u64 port, unsigned int bytes)
{
	return (struct address){ .space = SPACE_IO,
				 .bit_width = 8 * bytes,
				 .access_size = bytes == 4 ? 3 : bytes,
				 .address = port };
}

static u64 build_dsdt(struct cursor *c)
{
	u64 gpa = c->gpa;
	struct header *h = take(c, sizeof(*h) + sizeof(dsdt_aml));

	memcpy(h + 1, dsdt_aml, sizeof(dsdt_aml));
	finish(h, "DSDT", 2, sizeof(*h) + sizeof(dsdt_aml));
	align(c);
	return gpa;
}

static u64 build_fadt(struct cursor *c, u64 dsdt)
{
	u64 gpa = c->gpa;
	struct fadt *f = take(c, sizeof(*f));

	f->dsdt = dsdt;
	f->x_dsdt = dsdt;
	f->preferred_profile = PROFILE_DESKTOP;
	f->sci_irq = IRQ_SCI;
	f->pm1a_event = PORT_PM + PM1_EVENT;
	f->pm1a_control = PORT_PM + PM1_CONTROL;
	f->pm_timer = PORT_PM + PM_TIMER;
	f->pm1_event_len = PM1_EVENT_LEN;
	f->pm1_control_len = PM1_CONTROL_LEN;
	f->pm_timer_len = PM_TIMER_LEN;
	f->c2_latency = LATENCY_NONE;
	f->c3_latency = LATENCY_NONE;
	f->century = 0x32;
	f->boot_flags = BOOT_LEGACY_DEVICES | BOOT_NO_VGA | BOOT_NO_ASPM;
	f->flags = FADT_WBINVD | FADT_C1 | FADT_NO_FIXED_POWER_BUTTON |
		   FADT_NO_FIXED_SLEEP_BUTTON | FADT_TIMER_32_BITS |
		   FADT_RESET_REGISTER;
	f->reset_register = io(PORT_RESET, 1);
	f->reset_value = RESET_VALUE;
	f->x_pm1a_event = io(f->pm1a_event, PM1_EVENT_LEN);
	f->x_pm1a_control = io(f->pm1a_control, PM1_CONTROL_LEN);
	f->x_pm_timer = io(f->pm_timer, PM_TIMER_LEN);
	finish(&f->h, "FACP", 6, sizeof(*f));
	align(c);
	return gpa;
}

static void add_lapic(struct cursor *c, unsigned int cpu)
{
	struct madt_lapic *e = take(c, sizeof(*e));

	*e = (struct madt_lapic){ .type = MADT_LAPIC,
				  .length = sizeof(*e),
				  .processor = cpu,
				  .id = cpu,
				  .flags = LAPIC_ENABLED };
}

static void add_ioapic(struct cursor *c, unsigned int id)
{
	struct madt_ioapic *e = take(c, sizeof(*e));

	*e = (struct madt_ioapic){ .type = MADT_IOAPIC,
				   .length = sizeof(*e),
				   .id = id,
				   .address = GPA_IOAPIC };
}

static void add_override(struct cursor *c, u8 irq, u32 gsi, u16 flags)
{
	struct madt_override *e = take(c, sizeof(*e));

	*e = (struct madt_override){ .type = MADT_OVERRIDE,
				     .length = sizeof(*e),
				     .irq = irq,
				     .gsi = gsi,
				     .flags = flags };
}

static void add_nmi(struct cursor *c)
{
	struct madt_nmi *e = take(c, sizeof(*e));

	*e = (struct madt_nmi){ .type = MADT_LAPIC_NMI,
				.length = sizeof(*e),
				.processor = ALL_PROCESSORS,
				.lint = 1 };
}

static u64 build_madt(struct cursor *c, unsigned int cpus)
{
	u64 gpa = c->gpa;
	struct madt *m = take(c, sizeof(*m));
	unsigned int cpu;

	m->lapic_address = GPA_LAPIC;
	m->flags = MADT_HAS_PIC;
	for (cpu = 0; cpu < cpus; cpu++)
		add_lapic(c, cpu);
	add_ioapic(c, cpus);
	add_override(c, 0, 2, INTI_AS_BUS);
	add_override(c, IRQ_SCI, IRQ_SCI, INTI_HIGH_LEVEL);
	add_nmi(c);
	finish(&m->h, "APIC", 5, c->gpa - gpa);
	align(c);
	return gpa;
}

static u64 build_xsdt(struct cursor *c, u64 fadt, u64 madt)
{
	u64 gpa = c->gpa;
	struct xsdt *x = take(c, sizeof(*x));

	x->fadt = fadt;
	x->madt = madt;
	finish(&x->h, "XSDT", 1, sizeof(*x));
	return gpa;
}

/**
 * acpi_build() - write the tables, RSDP first; returns their size
 * @tables: where to write
 * @gpa: the same place for the guest, a multiple of 16
 * @cpus: number of CPUs; their local APIC IDs are 0 to @cpus - 1
 */
size_t acpi_build(void *tables, u64 gpa, unsigned int cpus)
{
	struct cursor c = { .ptr = tables, .gpa = gpa };
	struct rsdp *r = take(&c, sizeof(*r));
	u64 fadt, madt;

	align(&c);
	fadt = build_fadt(&c, build_dsdt(&c));
	madt = build_madt(&c, cpus);
	memcpy(r->signature, "RSD PTR ", 8);
	memcpy(r->oem_id, "LABVSR", 6);
	r->revision = 2;
	r->length = sizeof(*r);
	r->xsdt = build_xsdt(&c, fadt, madt);
	r->checksum = checksum8(r, 20); /* ACPI 1.0's part */
	r->extended_checksum = checksum8(r, sizeof(*r));
	return c.gpa - gpa;
}
