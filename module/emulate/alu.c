// SPDX-License-Identifier: GPL-2.0-only
/*
 * Arithmetic of the emulator, done by the host CPU: the guest's operation runs
 * on the guest's values at the guest's operand size, so results and flags are
 * the CPU's own, down to those the manuals leave undefined.
 */
#include "internal.h"

/*
 * Adding 127 to OF in AL overflows if OF is set, SAHF loads the other five
 * flags from AH; LAHF and SETO take them back. No stack needed.
 */
#define HOST(insn)                                                 \
	asm("addb $127, %%al\n\t"                                  \
	    "sahf\n\t" insn "\n\t"                                 \
	    "lahf\n\t"                                             \
	    "seto %%al"                                            \
	    : "+a"(ax), [dst] "+r"(alu->dst), [src] "+c"(alu->src) \
	    :                                                      \
	    : "cc")

#define HOST_WIDE(insn, operands)                      \
	do {                                           \
		if (alu->bytes == 2)                   \
			HOST(insn "w " operands("w")); \
		else if (alu->bytes == 4)              \
			HOST(insn "l " operands("k")); \
		else                                   \
			HOST(insn "q " operands("q")); \
	} while (0)

#define HOST_ANY(insn, operands)                       \
	do {                                           \
		if (alu->bytes == 1)                   \
			HOST(insn "b " operands("b")); \
		else                                   \
			HOST_WIDE(insn, operands);     \
	} while (0)

/* Operands by size modifier, in AT&T order. */
#define DST(s) "%" s "[dst]"
#define SRC_DST(s) "%" s "[src], %" s "[dst]"
#define CL_DST(s) "%%cl, %" s "[dst]"

static u16 pack_flags(u64 flags)
{
	return (flags & 0xff) << 8 | (flags & FLAG_OF ? 1 : 0);
}

static u64 unpack_flags(u64 flags, u16 ax)
{
	u64 low = FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF;

	return (flags & ~(low | FLAG_OF)) | (ax >> 8 & low) |
	       (ax & 1 ? FLAG_OF : 0);
}

/** lv_alu - execute LV_OP_ADD to LV_OP_IMUL; of the exchanges only XADD */
void lv_alu(struct lv_alu *alu, enum lv_op op)
{
	u16 ax = pack_flags(alu->flags);

	/* clang-format off */
	switch (op) {
	case LV_OP_ADD: HOST_ANY("add", SRC_DST); break;
	case LV_OP_OR: HOST_ANY("or", SRC_DST); break;
	case LV_OP_ADC: HOST_ANY("adc", SRC_DST); break;
	case LV_OP_SBB: HOST_ANY("sbb", SRC_DST); break;
	case LV_OP_AND: HOST_ANY("and", SRC_DST); break;
	case LV_OP_SUB: HOST_ANY("sub", SRC_DST); break;
	case LV_OP_XOR: HOST_ANY("xor", SRC_DST); break;
	case LV_OP_CMP: HOST_ANY("cmp", SRC_DST); break;
	case LV_OP_TEST: HOST_ANY("test", SRC_DST); break;
	case LV_OP_XADD: HOST_ANY("xadd", SRC_DST); break;
	case LV_OP_ROL: HOST_ANY("rol", CL_DST); break;
	case LV_OP_ROR: HOST_ANY("ror", CL_DST); break;
	case LV_OP_RCL: HOST_ANY("rcl", CL_DST); break;
	case LV_OP_RCR: HOST_ANY("rcr", CL_DST); break;
	case LV_OP_SHL: HOST_ANY("shl", CL_DST); break;
	case LV_OP_SHR: HOST_ANY("shr", CL_DST); break;
	case LV_OP_SAR: HOST_ANY("sar", CL_DST); break;
	case LV_OP_NOT: HOST_ANY("not", DST); break;
	case LV_OP_NEG: HOST_ANY("neg", DST); break;
	case LV_OP_INC: HOST_ANY("inc", DST); break;
	case LV_OP_DEC: HOST_ANY("dec", DST); break;
	case LV_OP_BT: HOST_WIDE("bt", SRC_DST); break;
	case LV_OP_BTS: HOST_WIDE("bts", SRC_DST); break;
	case LV_OP_BTR: HOST_WIDE("btr", SRC_DST); break;
	case LV_OP_BTC: HOST_WIDE("btc", SRC_DST); break;
	case LV_OP_BSF: HOST_WIDE("bsf", SRC_DST); break;
	case LV_OP_BSR: HOST_WIDE("bsr", SRC_DST); break;
	case LV_OP_IMUL: HOST_WIDE("imul", SRC_DST); break;
	default: WARN_ON_ONCE(1); break;
	}
	/* clang-format on */
	alu->flags = unpack_flags(alu->flags, ax);
}
