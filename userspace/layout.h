/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Where things are in guest physical memory and on the I/O bus:
 *
 *	0x00000500	GDT
 *	0x00009000	page tables: PML4, PDPT, four page directories
 *	0x00010000	boot_params ("zero page")
 *	0x00020000	kernel command line
 *	0x0009fc00	extended BIOS data area, reserved and empty
 *	0x000e0000	ACPI tables
 *	0x000f0000	MP table
 *	0x00100000	kernel (usually at 16 MiB), initrd at the end of memory
 *	0xc0000000	end of low memory; the rest continues at 4 GiB
 *	0xfec00000	I/O APIC
 *	0xfee00000	local APICs
 *	0xfffbc000	pages that VMX needs for real mode
 */
#ifndef LABVISOR_LAYOUT_H
#define LABVISOR_LAYOUT_H

#define GPA_GDT 0x500
#define GPA_PAGE_TABLES 0x9000
#define GPA_ZERO_PAGE 0x10000
#define GPA_CMDLINE 0x20000
#define GPA_CMDLINE_END 0x30000
#define GPA_EBDA 0x9fc00
#define GPA_EBDA_END 0xa0000
#define GPA_ACPI 0xe0000
#define GPA_MPTABLE 0xf0000
#define GPA_BIOS_END 0x100000
#define GPA_HOLE 0xc0000000ULL
#define GPA_HIGH 0x100000000ULL
#define GPA_IOAPIC 0xfec00000U
#define GPA_LAPIC 0xfee00000U
#define GPA_IDENTITY_MAP 0xfffbc000U
#define GPA_TSS 0xfffbd000U
#define GPA_VMX_PAGES_END 0xfffc0000U

#define IRQ_SERIAL 4
#define IRQ_RTC 8
#define IRQ_SCI 9

#define PORT_I8042 0x60
#define PORT_RTC 0x70
#define PORT_DEBUGCON 0xe9
#define PORT_DEBUG_EXIT 0xf4
#define PORT_SERIAL 0x3f8
#define PORT_PM 0x600
#define PORT_PCI 0xcf8
#define PORT_RESET 0xcf9

/* Offsets of the ACPI power management registers in their port range. */
#define PM1_EVENT 0
#define PM1_EVENT_LEN 4
#define PM1_ENABLE 2
#define PM1_CONTROL 4
#define PM1_CONTROL_LEN 2
#define PM_TIMER 8
#define PM_TIMER_LEN 4
#define PM_LEN 12

#define PM_SLP_TYP_S5 5
#define RESET_VALUE 0x06

/* One LAPIC ID per vCPU, 8 bits, 0xff is broadcast; the I/O APIC has one. */
#define MAX_CPUS 254

#endif
