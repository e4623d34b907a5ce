/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The real CPU as the judge of the emulator: a traced child executes single
 * instructions, in 64-, 32- and 16-bit code, on registers and memory that the
 * test chooses.
 */
#ifndef LABVISOR_EMULATE_NATIVE_H
#define LABVISOR_EMULATE_NATIVE_H

#include <stdbool.h>
#include <sys/user.h>

#include "emulate/emulate.h"

/* Child's memory: a page of code with nothing behind it, then data. */
#define NATIVE_CODE 0x10000000UL
#define NATIVE_CODE_END (NATIVE_CODE + 4096)
#define NATIVE_DATA 0x20000000UL
#define NATIVE_DATA_RW (3 * 4096) /* writable, the page after it is not */
#define NATIVE_DATA_ALL (4 * 4096)

/* Segments for 32- and 16-bit code. */
enum native_seg {
	NATIVE_FLAT,
	NATIVE_DATA16,
	NATIVE_EXPAND_DOWN32,
	NATIVE_EXPAND_DOWN16,
	NATIVE_READ_ONLY,
	NATIVE_NULL,
	NATIVE_CODE64,
	NATIVE_CODE32,
	NATIVE_CODE16,
	NATIVE_EXEC_ONLY, /* 32-bit code that cannot be read */
	NATIVE_NR_SEGS,
};

enum native_stop {
	NATIVE_STEP, /* the instruction completed */
	NATIVE_UD,
	NATIVE_GP,
	NATIVE_SS,
	NATIVE_PF,
	NATIVE_OTHER,
};

struct native_cpu {
	struct user_regs_struct regs;
	struct user_fpregs_struct *fp; /* NULL if not of interest */
	u64 fault_address; /* of NATIVE_PF */
};

const char *native_start(void);
u8 *native_code(void);
u8 *native_data(void);
u16 native_selector(enum native_seg nr);
struct kvm_segment native_segment(enum native_seg nr);
enum native_stop native_run(struct native_cpu *cpu);

#endif /* LABVISOR_EMULATE_NATIVE_H */
