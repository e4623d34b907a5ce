/* SPDX-License-Identifier: GPL-2.0-only */
/* What the parts of the emulator share. */
#ifndef LABVISOR_EMULATE_INTERNAL_H
#define LABVISOR_EMULATE_INTERNAL_H

#include "emulate.h"

#define FLAG_CF BIT(0)
#define FLAG_PF BIT(2)
#define FLAG_AF BIT(4)
#define FLAG_ZF BIT(6)
#define FLAG_SF BIT(7)
#define FLAG_TF BIT(8)
#define FLAG_DF BIT(10)
#define FLAG_OF BIT(11)
#define FLAG_RF BIT(16)
#define FLAG_VM BIT(17)

#define VECTOR_UD 6
#define VECTOR_SS 12
#define VECTOR_GP 13

/* struct lv_alu - operands of an operation */
struct lv_alu {
	u64 dst; /* first operand and result */
	u64 src; /* second operand; result of XADD and XCHG */
	u64 flags; /* RFLAGS before and after */
	unsigned int bytes; /* operand size; higher bits are garbage */
};

static inline u64 size_mask(unsigned int bytes)
{
	return ~0ULL >> (64 - 8 * bytes);
}

/* Write (part of) a register: 32 bits clear the rest, 8 and 16 keep it. */
static inline void merge_reg(u64 *reg, u64 val, unsigned int bytes)
{
	u64 keep = bytes < 4 ? ~size_mask(bytes) : 0;

	*reg = (*reg & keep) | (val & size_mask(bytes));
}

void lv_alu(struct lv_alu *alu, enum lv_op op);
enum lv_emul_result lv_emul_linear(struct lv_emul *e, u8 nr, u64 offset,
				   unsigned int bytes, bool write,
				   gva_t *linear);
enum lv_emul_result lv_emul_retire(struct lv_emul *e);
enum lv_emul_result lv_emul_string(struct lv_emul *e);

#endif /* LABVISOR_EMULATE_INTERNAL_H */
