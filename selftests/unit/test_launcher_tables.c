// SPDX-License-Identifier: GPL-2.0-only
/* Firmware tables: what a guest that trusts nothing checks before use. */
#include <stdlib.h>
#include <string.h>

#include "tap.h"
#include "../../userspace/acpi.h"
#include "../../userspace/layout.h"

static const unsigned int counts[] = { 1, 2, 8, MAX_CPUS };

static u8 sum(const u8 *p, size_t size)
{
	u8 total = 0;

	while (size--)
		total += *p++;
	return total;
}

static u32 get32(const u8 *p)
{
	u32 value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static u64 get64(const u8 *p)
{
	u64 value;

	memcpy(&value, p, sizeof(value));
	return value;
}

static u16 get16(const u8 *p)
{
	return p[0] | p[1] << 8;
}

/* The table to which a pointer in the table at @from leads, checked. */
static const u8 *follow(const u8 *base, const u8 *from, unsigned int off,
			const char *signature)
{
	const u8 *table = base + (get64(from + off) - GPA_ACPI);

	ok(!memcmp(table, signature, 4), "a pointer leads to %s", signature);
	is(sum(table, get32(table + 4)), 0, "%s's checksum", signature);
	return table;
}

static void check_madt(const u8 *madt, unsigned int cpus)
{
	const u8 *p = madt + 44, *end = madt + get32(madt + 4);
	unsigned int lapics = 0, ioapics = 0, overrides = 0;

	is(get32(madt + 36), GPA_LAPIC, "local APICs' address");
	while (p < end && p[1]) {
		if (p[0] == 0) {
			ok(p[3] == lapics, "local APIC %u has its ID", lapics);
			is(get32(p + 4), 1, "and is enabled");
			lapics++;
		} else if (p[0] == 1) {
			is(get32(p + 4), GPA_IOAPIC, "I/O APIC's address");
			ioapics++;
		} else if (p[0] == 2) {
			ok(p[3] == 0 ? get32(p + 4) == 2
				     : get32(p + 4) == IRQ_SCI,
			   "IRQ %u's override", p[3]);
			overrides++;
		}
		p += p[1];
	}
	ok(p == end, "the entries fill the table");
	is(lapics, cpus, "a local APIC for each CPU");
	is(ioapics, 1, "one I/O APIC");
	is(overrides, 2, "overrides for timer and SCI");
}

static void test_acpi(unsigned int cpus)
{
	size_t room = GPA_MPTABLE - GPA_ACPI, size;
	u8 *base = malloc(room);
	const u8 *xsdt, *fadt, *dsdt;

	memset(base, 0xcc, room);
	size = acpi_build(base, GPA_ACPI, cpus);
	ok(size <= room, "%u CPUs: the ACPI tables fit", cpus);
	ok(size == room || base[size] == 0xcc, "and say their true size");
	ok(!memcmp(base, "RSD PTR ", 8), "RSDP's signature");
	is(sum(base, 20), 0, "RSDP's checksum");
	is(sum(base, 36), 0, "RSDP's extended checksum");
	xsdt = follow(base, base, 24, "XSDT");
	fadt = follow(base, xsdt, 36, "FACP");
	check_madt(follow(base, xsdt, 44, "APIC"), cpus);
	dsdt = follow(base, fadt, 140, "DSDT");
	is(get32(fadt + 40), get64(fadt + 140), "both pointers to the DSDT");
	ok(!memcmp(dsdt + 36, "\x08_S5_\x12", 6), "the DSDT names _S5");
	is(get32(fadt + 56), PORT_PM, "event ports");
	is(get32(fadt + 64), PORT_PM + 4, "control ports");
	is(get32(fadt + 76), PORT_PM + 8, "timer port");
	is(get64(fadt + 120), PORT_RESET, "reset port");
	is(fadt[128], RESET_VALUE, "reset value");
	free(base);
}

static void test_mptable(unsigned int cpus)
{
	static const u8 lengths[] = { 20, 8, 8, 8, 8 };
	unsigned int seen[5] = { 0 }, entries, i;
	size_t room = GPA_BIOS_END - GPA_MPTABLE, size;
	u8 *base = malloc(room);
	const u8 *table, *p;

	memset(base, 0xcc, room);
	size = mptable_build(base, GPA_MPTABLE, cpus);
	ok(size <= room, "%u CPUs: the MP table fits", cpus);
	ok(!memcmp(base, "_MP_", 4), "pointer's signature");
	is(sum(base, 16), 0, "pointer's checksum");
	table = base + (get32(base + 4) - GPA_MPTABLE);
	ok(!memcmp(table, "PCMP", 4), "table's signature");
	is(sum(table, get16(table + 4)), 0, "table's checksum");
	is(size, 16 + get16(table + 4), "both make the size");
	entries = get16(table + 34);
	for (i = 0, p = table + 44; i < entries && *p < 5; i++) {
		seen[*p]++;
		p += lengths[*p];
	}
	ok(p == table + get16(table + 4), "the entries fill the table");
	is(seen[0], cpus, "CPUs");
	is(seen[1], 1, "buses");
	is(seen[2], 1, "I/O APICs");
	is(seen[3], 15, "I/O interrupts: all but the cascade");
	is(seen[4], 2, "local interrupts");
	free(base);
}

/* util.c's, which this test does without. */
u8 checksum8(const void *data, size_t size)
{
	return -sum(data, size);
}

int main(void)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(counts); i++) {
		test_acpi(counts[i]);
		test_mptable(counts[i]);
	}
	return tap_done();
}
