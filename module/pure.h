/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The narrow door between pure logic and its surroundings.
 *
 * The instruction emulator, the guest page walker, the interrupt controllers
 * and the scheduling policies include this header and nothing else of the
 * system, so that the same files build into the module and into user-space
 * programs (unit tests, fuzzers, the scheduling simulator).
 */
#ifndef LABVISOR_PURE_H
#define LABVISOR_PURE_H

#ifdef __KERNEL__

#include <linux/atomic.h>
#include <linux/bitops.h>
#include <linux/bug.h>
#include <linux/build_bug.h>
#include <linux/compiler.h>
#include <linux/errno.h>
#include <linux/kernel.h>
#include <linux/math64.h>
#include <linux/minmax.h>
#include <linux/nospec.h>
#include <linux/string.h>
#include <linux/types.h>

#else

#include "pure_user.h"

#endif

/*
 * Address glossary. These types are never mixed; a conversion is always a
 * function whose name says what it does.
 *
 *   gva_t  guest virtual address: what a guest instruction uses; with guest
 *          paging off it equals the guest linear address
 *   gpa_t  guest physical address: what the guest's page tables produce
 *   gfn_t  guest frame number: gpa_t >> 12
 *   hva_t  host virtual address: guest memory as mapped in the launcher
 *   hpa_t  host physical address: what the nested page tables produce
 *   pfn_t  host frame number: hpa_t >> 12 (lv_pfn_t: the kernel has a pfn_t)
 */
typedef unsigned long gva_t; /* as in linux/kvm_types.h, which 6.12 includes */
typedef u64 gpa_t;
typedef u64 gfn_t;
typedef unsigned long hva_t;
typedef u64 hpa_t;
typedef u64 lv_pfn_t;

#define LV_INVALID_GPA (~(gpa_t)0)

#endif /* LABVISOR_PURE_H */
