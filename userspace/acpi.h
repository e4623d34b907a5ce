/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef LABVISOR_ACPI_H
#define LABVISOR_ACPI_H

#include "util.h"

size_t acpi_build(void *tables, u64 gpa, unsigned int cpus);
size_t mptable_build(void *table, u64 gpa, unsigned int cpus);

#endif
