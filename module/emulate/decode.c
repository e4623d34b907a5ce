// SPDX-License-Identifier: GPL-2.0-only
/*
 * x86 instruction decoder.
 *
 * The length is right for every instruction, because it also tells where the
 * next one starts on CPUs that do not save that on an intercept. Operands and
 * operation are decoded for what lv_emulate() executes.
 */
#include "emulate.h"

#define MAX_INSN_BYTES 15U

/*
 * An opcode's descriptor: operation or group, encoding, immediate, flags.
 * Zero is an instruction of one opcode byte that is not emulated.
 */
#define ENC_SHIFT 8
#define IMM_SHIFT 12
#define NO64 BIT(16) /* undefined in 64-bit mode */
#define BYTE BIT(17) /* operand size is one byte */
#define MEM BIT(18) /* undefined with a register as r/m */
#define REG BIT(19) /* r/m is a register whatever ModRM.mod says */
#define GROUP BIT(20) /* operation is an index into groups[] */

/* Encodings that decoding replaces by a more general one. */
enum {
	LV_ENC_M1 = LV_ENC_RMI + 1, /* r/m, 1 */
	LV_ENC_FD, /* rAX, moffs */
	LV_ENC_TD, /* moffs, rAX */
	LV_ENC_O, /* register in the opcode */
};

enum {
	IMM_NONE,
	IMM_8,
	IMM_16,
	IMM_Z, /* operand size, at most 4 */
	IMM_V, /* operand size */
	IMM_ENTER, /* 16 and 8 bits */
	IMM_FAR, /* Z and a selector */
	IMM_TEST, /* Z or 8 bits if the operation is TEST, else none */
};

/* clang-format off */

#define IMM(kind)	(IMM_##kind << IMM_SHIFT)
#define I(op, enc)	(LV_OP_##op | LV_ENC_##enc << ENC_SHIFT)
#define G(group, enc)	(GROUP_##group | LV_ENC_##enc << ENC_SHIFT | GROUP)
#define MODRM		I(NONE, M)
#define UD		LV_OP_UNDEFINED

enum {
	GROUP_1, GROUP_1A, GROUP_2, GROUP_3, GROUP_4, GROUP_5, GROUP_8,
	GROUP_9, GROUP_11,
};

#define O(op) LV_OP_##op

/* Operations that ModRM.reg selects; the groups' numbers are the manuals'. */
static const u8 groups[][8] = {
	[GROUP_1] = { O(ADD), O(OR), O(ADC), O(SBB),
		      O(AND), O(SUB), O(XOR), O(CMP) },
	[GROUP_1A] = { O(POP), UD, UD, UD, UD, UD, UD, UD },
	[GROUP_2] = { O(ROL), O(ROR), O(RCL), O(RCR),
		      O(SHL), O(SHR), O(SHL), O(SAR) },
	[GROUP_3] = { O(TEST), O(TEST), O(NOT), O(NEG) },
	[GROUP_4] = { O(INC), O(DEC), UD, UD, UD, UD, UD, UD },
	[GROUP_5] = { O(INC), O(DEC), O(CALL), O(NONE),
		      O(JMP), O(NONE), O(PUSH), UD },
	[GROUP_8] = { UD, UD, UD, UD, O(BT), O(BTS), O(BTR), O(BTC) },
	[GROUP_9] = { UD, O(CMPXCHG8B) },
	[GROUP_11] = { O(MOV), UD, UD, UD, UD, UD, UD, O(NONE) },
};

#undef O

#define ALU(n, op)                                                      \
	[n] = I(op, MR) | BYTE, [n + 1] = I(op, MR),                    \
	[n + 2] = I(op, RM) | BYTE, [n + 3] = I(op, RM),                \
	[n + 4] = IMM(8), [n + 5] = IMM(Z)

static const u32 primary_map[256] = {
	ALU(0x00, ADD), ALU(0x08, OR), ALU(0x10, ADC), ALU(0x18, SBB),
	ALU(0x20, AND), ALU(0x28, SUB), ALU(0x30, XOR), ALU(0x38, CMP),
	[0x06 ... 0x07] = NO64, [0x0e] = NO64, [0x16 ... 0x17] = NO64,
	[0x1e ... 0x1f] = NO64, [0x27] = NO64, [0x2f] = NO64,
	[0x37] = NO64, [0x3f] = NO64,
	[0x50 ... 0x57] = I(PUSH, O), [0x58 ... 0x5f] = I(POP, O),
	[0x60 ... 0x61] = NO64,
	[0x62] = MODRM | MEM | NO64,
	[0x63] = I(MOVSX, RM),
	[0x68] = I(PUSH, I) | IMM(Z), [0x69] = I(IMUL, RMI) | IMM(Z),
	[0x6a] = I(PUSH, I) | IMM(8), [0x6b] = I(IMUL, RMI) | IMM(8),
	[0x6c] = I(INS, ZO) | BYTE, [0x6d] = I(INS, ZO),
	[0x6e] = I(OUTS, ZO) | BYTE, [0x6f] = I(OUTS, ZO),
	[0x70 ... 0x7f] = IMM(8),
	[0x80] = G(1, MI) | BYTE | IMM(8), [0x81] = G(1, MI) | IMM(Z),
	[0x82] = G(1, MI) | BYTE | IMM(8) | NO64,
	[0x83] = G(1, MI) | IMM(8),
	[0x84] = I(TEST, MR) | BYTE, [0x85] = I(TEST, MR),
	[0x86] = I(XCHG, MR) | BYTE, [0x87] = I(XCHG, MR),
	[0x88] = I(MOV, MR) | BYTE, [0x89] = I(MOV, MR),
	[0x8a] = I(MOV, RM) | BYTE, [0x8b] = I(MOV, RM),
	[0x8c] = I(MOV, MS), [0x8d] = MODRM | MEM, [0x8e] = MODRM,
	[0x8f] = G(1A, M),
	[0x9a] = IMM(FAR) | NO64,
	[0xa0] = I(MOV, FD) | BYTE, [0xa1] = I(MOV, FD),
	[0xa2] = I(MOV, TD) | BYTE, [0xa3] = I(MOV, TD),
	[0xa4] = I(MOVS, ZO) | BYTE, [0xa5] = I(MOVS, ZO),
	[0xa6] = I(CMPS, ZO) | BYTE, [0xa7] = I(CMPS, ZO),
	[0xa8] = IMM(8), [0xa9] = IMM(Z),
	[0xaa] = I(STOS, ZO) | BYTE, [0xab] = I(STOS, ZO),
	[0xac] = I(LODS, ZO) | BYTE, [0xad] = I(LODS, ZO),
	[0xae] = I(SCAS, ZO) | BYTE, [0xaf] = I(SCAS, ZO),
	[0xb0 ... 0xb7] = IMM(8), [0xb8 ... 0xbf] = IMM(V),
	[0xc0] = G(2, MI) | BYTE | IMM(8), [0xc1] = G(2, MI) | IMM(8),
	[0xc2] = IMM(16), [0xca] = IMM(16),
	[0xc4 ... 0xc5] = MODRM | MEM | NO64,
	[0xc6] = G(11, MI) | BYTE | IMM(8), [0xc7] = G(11, MI) | IMM(Z),
	[0xc8] = IMM(ENTER), [0xcd] = IMM(8), [0xce] = NO64,
	[0xd0] = G(2, M1) | BYTE, [0xd1] = G(2, M1),
	[0xd2] = G(2, MC) | BYTE, [0xd3] = G(2, MC),
	[0xd4 ... 0xd5] = IMM(8) | NO64, [0xd6] = NO64,
	[0xd8 ... 0xdf] = MODRM,
	[0xe0 ... 0xe3] = IMM(8),
	[0xe4] = I(IN, ZO) | BYTE | IMM(8), [0xe5] = I(IN, ZO) | IMM(8),
	[0xe6] = I(OUT, ZO) | BYTE | IMM(8), [0xe7] = I(OUT, ZO) | IMM(8),
	[0xe8 ... 0xe9] = IMM(Z), [0xea] = IMM(FAR) | NO64,
	[0xeb] = IMM(8),
	[0xec] = I(IN, ZO) | BYTE, [0xed] = I(IN, ZO),
	[0xee] = I(OUT, ZO) | BYTE, [0xef] = I(OUT, ZO),
	[0xf6] = G(3, MI) | BYTE | IMM(TEST), [0xf7] = G(3, MI) | IMM(TEST),
	[0xfe] = G(4, M) | BYTE, [0xff] = G(5, M),
};

static const u32 map_0f[256] = {
	[0x00 ... 0x03] = MODRM, [0x04] = UD, [0x0a ... 0x0c] = UD,
	[0x0d] = MODRM, [0x0e] = UD, [0x0f] = UD | MODRM | IMM(8),
	[0x10] = I(SSE_LOAD, RM), [0x11] = I(SSE_STORE, MR),
	[0x12 ... 0x1f] = MODRM, [0x20 ... 0x23] = MODRM | REG,
	[0x24 ... 0x27] = UD,
	[0x28] = I(SSE_LOAD, RM), [0x29] = I(SSE_STORE, MR),
	[0x2a] = MODRM, [0x2b] = I(SSE_STORE, MR), [0x2c ... 0x2f] = MODRM,
	[0x36] = UD, [0x39] = UD, [0x3b ... 0x3f] = UD,
	[0x40 ... 0x4f] = I(CMOV, RM), [0x50 ... 0x6d] = MODRM,
	[0x6e ... 0x6f] = I(SSE_LOAD, RM), [0x70 ... 0x73] = MODRM | IMM(8),
	[0x74 ... 0x76] = MODRM, [0x78 ... 0x79] = MODRM,
	[0x7a ... 0x7b] = UD, [0x7c ... 0x7d] = MODRM,
	[0x7e ... 0x7f] = I(SSE_STORE, MR),
	[0x80 ... 0x8f] = IMM(Z),
	[0x90 ... 0x9f] = I(SETCC, M) | BYTE,
	[0xa3] = I(BT, MR), [0xa4] = MODRM | IMM(8), [0xa5] = MODRM,
	[0xa6 ... 0xa7] = UD,
	[0xab] = I(BTS, MR), [0xac] = MODRM | IMM(8), [0xad ... 0xae] = MODRM,
	[0xaf] = I(IMUL, RM),
	[0xb0] = I(CMPXCHG, MR) | BYTE, [0xb1] = I(CMPXCHG, MR),
	[0xb2] = MODRM | MEM, [0xb3] = I(BTR, MR),
	[0xb4 ... 0xb5] = MODRM | MEM, [0xb6 ... 0xb7] = I(MOVZX, RM),
	[0xb8] = MODRM, [0xb9] = UD | MODRM, [0xba] = G(8, MI) | IMM(8),
	[0xbb] = I(BTC, MR), [0xbc] = I(BSF, RM), [0xbd] = I(BSR, RM),
	[0xbe ... 0xbf] = I(MOVSX, RM),
	[0xc0] = I(XADD, MR) | BYTE, [0xc1] = I(XADD, MR),
	[0xc2] = MODRM | IMM(8), [0xc3] = I(MOVNTI, MR) | MEM,
	[0xc4 ... 0xc6] = MODRM | IMM(8), [0xc7] = G(9, M),
	[0xd0 ... 0xd5] = MODRM, [0xd6] = I(SSE_STORE, MR),
	[0xd7 ... 0xe6] = MODRM, [0xe7] = I(SSE_STORE, MR),
	[0xe8 ... 0xef] = MODRM, [0xf0] = I(SSE_LOAD, RM),
	[0xf1 ... 0xfe] = MODRM, [0xff] = UD | MODRM,
};

#define ALIGNED	BIT(0)
#define REX_W	BIT(1) /* 8 bytes with REX.W */

/* The plain moves between SSE registers and memory; 0: there is none. */
static const struct sse_move {
	u8 load;
	u8 store;
	u8 prefix;
	u8 bytes;
	u8 flags;
} sse_moves[] = {
	{ 0x10, 0x11, 0x00, 16, 0 },		/* MOVUPS */
	{ 0x10, 0x11, 0x66, 16, 0 },		/* MOVUPD */
	{ 0x10, 0x11, 0xf3, 4, 0 },		/* MOVSS */
	{ 0x10, 0x11, 0xf2, 8, 0 },		/* MOVSD */
	{ 0x28, 0x29, 0x00, 16, ALIGNED },	/* MOVAPS */
	{ 0x28, 0x29, 0x66, 16, ALIGNED },	/* MOVAPD */
	{ 0x00, 0x2b, 0x00, 16, ALIGNED },	/* MOVNTPS */
	{ 0x00, 0x2b, 0x66, 16, ALIGNED },	/* MOVNTPD */
	{ 0x6e, 0x7e, 0x66, 4, REX_W },		/* MOVD, MOVQ */
	{ 0x6f, 0x7f, 0x66, 16, ALIGNED },	/* MOVDQA */
	{ 0x6f, 0x7f, 0xf3, 16, 0 },		/* MOVDQU */
	{ 0x7e, 0x00, 0xf3, 8, 0 },		/* MOVQ */
	{ 0x00, 0xd6, 0x66, 8, 0 },		/* MOVQ */
	{ 0x00, 0xe7, 0x66, 16, ALIGNED },	/* MOVNTDQ */
	{ 0xf0, 0x00, 0xf2, 16, 0 },		/* LDDQU */
	{ 0x2a, 0x00, 0x66, 16, ALIGNED },	/* MOVNTDQA */
};
/* clang-format on */

#define OP(op) BIT_ULL(LV_OP_##op)
#define LOCKABLE                                                               \
	(OP(ADD) | OP(OR) | OP(ADC) | OP(SBB) | OP(AND) | OP(SUB) | OP(XOR) |  \
	 OP(NOT) | OP(NEG) | OP(INC) | OP(DEC) | OP(BTS) | OP(BTR) | OP(BTC) | \
	 OP(XADD) | OP(XCHG) | OP(CMPXCHG) | OP(CMPXCHG8B))

struct cursor {
	const u8 *bytes;
	unsigned int n;
	unsigned int pos;
};

/*
 * Bytes beyond the end read as zero, and the position goes on: one check at
 * the end of decoding is enough.
 */
static u64 take(struct cursor *c, unsigned int bytes)
{
	u64 val = 0;
	unsigned int i;

	for (i = 0; i < bytes && c->pos + i < c->n; i++)
		val |= (u64)c->bytes[c->pos + i] << 8 * i;
	c->pos += bytes;
	return val;
}

static s64 take_signed(struct cursor *c, unsigned int bytes)
{
	unsigned int shift = 64 - 8 * bytes;

	return bytes ? (s64)(take(c, bytes) << shift) >> shift : 0;
}

/* Read the prefixes and return the byte after them. */
static u8 decode_prefixes(struct lv_insn *insn, struct cursor *c,
			  enum lv_cpu_mode mode)
{
	for (;;) {
		u8 b = take(c, 1);

		switch (b) {
		case 0x26:
		case 0x2e:
		case 0x36:
		case 0x3e:
			if (mode != LV_MODE_64)
				insn->seg = b >> 3 & 3;
			break;
		case 0x64:
		case 0x65:
			insn->seg = b & 7;
			break;
		case 0x66:
			insn->opsize = true;
			break;
		case 0x67:
			insn->addr_bytes = mode == LV_MODE_32 ? 2 : 4;
			break;
		case 0xf0:
			insn->lock = true;
			break;
		case 0xf2:
		case 0xf3:
			insn->rep = b;
			break;
		default:
			if (mode != LV_MODE_64 || (b & 0xf0) != 0x40)
				return b;
			insn->rex = b;
			continue;
		}
		insn->rex = 0; /* counts only right before the opcode */
	}
}

/* In 16- and 32-bit code VEX and EVEX are register forms of LDS, LES, BOUND. */
static bool is_vex(const struct cursor *c, u8 b, enum lv_cpu_mode mode)
{
	if (b != 0xc4 && b != 0xc5 && b != 0x62)
		return false;
	return mode == LV_MODE_64 ||
	       (c->pos < c->n && c->bytes[c->pos] >= 0xc0);
}

static u32 decode_vex(struct lv_insn *insn, struct cursor *c, u8 b)
{
	bool bad = insn->opsize || insn->rep || insn->lock || insn->rex;
	u32 imm;

	insn->vex = true;
	insn->map = LV_MAP_0F;
	if (b == 0xc4)
		insn->map = take(c, 1) & 0x1f;
	else if (b == 0x62)
		insn->map = take(c, 2) & 7;
	take(c, 1);
	insn->opcode = take(c, 1);

	switch (insn->map) {
	case LV_MAP_0F:
		imm = map_0f[insn->opcode] & 0xf << IMM_SHIFT;
		return (insn->opcode == 0x77 ? 0 : MODRM | imm) |
		       (bad ? UD : 0);
	case LV_MAP_0F3A:
		return MODRM | IMM(8) | (bad ? UD : 0);
	case LV_MAP_0F38:
		return MODRM | (bad ? UD : 0);
	case 5:
	case 6:
		return MODRM | (bad || b != 0x62 ? UD : 0);
	default:
		return MODRM | UD;
	}
}

/* Read the opcode and return its descriptor. */
static u32 decode_opcode(struct lv_insn *insn, struct cursor *c,
			 enum lv_cpu_mode mode)
{
	u8 b = decode_prefixes(insn, c, mode);

	if (is_vex(c, b, mode))
		return decode_vex(insn, c, b);

	insn->opcode = b;
	if (b != 0x0f)
		return primary_map[b];

	insn->map = LV_MAP_0F;
	insn->opcode = take(c, 1);
	switch (insn->opcode) {
	case 0x38:
		insn->map = LV_MAP_0F38;
		insn->opcode = take(c, 1);
		if (insn->opcode == 0xf0)
			return I(MOVBE, RM);
		if (insn->opcode == 0xf1)
			return I(MOVBE, MR);
		return insn->opcode == 0x2a ? I(SSE_LOAD, RM) : MODRM;
	case 0x3a:
		insn->map = LV_MAP_0F3A;
		insn->opcode = take(c, 1);
		return MODRM | IMM(8);
	case 0x78:
		/* EXTRQ and INSERTQ of SSE4A have two immediate bytes */
		if (insn->opsize || insn->rep == 0xf2)
			return MODRM | IMM(16);
		break;
	}
	return map_0f[insn->opcode];
}

static void decode_mem16(struct lv_insn *insn, struct cursor *c)
{
	/* clang-format off */
	static const u8 base[] = { LV_RBX, LV_RBX, LV_RBP, LV_RBP,
				   LV_RSI, LV_RDI, LV_RBP, LV_RBX };
	static const u8 index[] = { LV_RSI, LV_RDI, LV_RSI, LV_RDI,
				    LV_REG_NONE, LV_REG_NONE,
				    LV_REG_NONE, LV_REG_NONE };
	/* clang-format on */

	insn->base = base[insn->rm];
	insn->index = index[insn->rm];
	if (insn->mod == 0 && insn->rm == 6) {
		insn->base = LV_REG_NONE;
		insn->disp = take_signed(c, 2);
	} else {
		insn->disp = take_signed(c, insn->mod);
	}
}

static void decode_mem(struct lv_insn *insn, struct cursor *c,
		       enum lv_cpu_mode mode)
{
	u8 none = mode == LV_MODE_64 ? LV_REG_RIP : LV_REG_NONE;

	insn->base = insn->rm;
	insn->index = LV_REG_NONE;
	if ((insn->rm & 7) == 4) {
		u8 sib = take(c, 1);

		insn->base = (sib & 7) | (insn->rm & 8);
		insn->index = (sib >> 3 & 7) | (insn->rex & 2) << 2;
		insn->scale = sib >> 6;
		if (insn->index == LV_RSP)
			insn->index = LV_REG_NONE;
		none = LV_REG_NONE;
	}
	if (insn->mod == 0 && (insn->base & 7) == 5) {
		insn->base = none;
		insn->disp = take_signed(c, 4);
	} else {
		insn->disp = take_signed(c, insn->mod == 2 ? 4 : insn->mod);
	}
}

static void decode_modrm(struct lv_insn *insn, struct cursor *c,
			 enum lv_cpu_mode mode, u32 desc)
{
	u8 modrm = take(c, 1);

	insn->has_modrm = true;
	insn->mod = modrm >> 6;
	insn->reg = (modrm >> 3 & 7) | (insn->rex & 4) << 1;
	insn->rm = (modrm & 7) | (insn->rex & 1) << 3;
	insn->mem = insn->mod != 3 && !(desc & REG);
	if (!insn->mem)
		return;
	if (insn->addr_bytes == 2)
		decode_mem16(insn, c);
	else
		decode_mem(insn, c, mode);
}

/* Tell the SSE moves of an opcode apart by prefix; most others have none. */
static u8 decode_sse(struct lv_insn *insn)
{
	u8 prefix = insn->rep ?: insn->opsize ? 0x66 : 0;
	const struct sse_move *m;

	for (m = sse_moves; m < sse_moves + ARRAY_SIZE(sse_moves); m++) {
		if (m->prefix != prefix ||
		    (m->load != insn->opcode && m->store != insn->opcode))
			continue;
		if (!insn->mem)
			break;
		insn->op_bytes = m->bytes;
		if (m->flags & REX_W && insn->rex & 8)
			insn->op_bytes = 8;
		insn->aligned = m->flags & ALIGNED;
		return m->load == insn->opcode ? LV_OP_SSE_LOAD
					       : LV_OP_SSE_STORE;
	}
	return LV_OP_NONE;
}

static u8 decode_op(struct lv_insn *insn, enum lv_cpu_mode mode, u32 desc)
{
	u8 op = desc & GROUP ? groups[desc & 0xff][insn->reg & 7] : desc & 0xff;

	switch (op) {
	case LV_OP_SSE_LOAD:
	case LV_OP_SSE_STORE:
		return decode_sse(insn);
	case LV_OP_BSF:
	case LV_OP_BSR:
		/* TZCNT, LZCNT */
		return insn->rep == 0xf3 ? LV_OP_NONE : op;
	case LV_OP_MOVBE:
		/* CRC32 */
		if (insn->rep == 0xf2)
			return LV_OP_NONE;
		return insn->mem && !insn->rep ? op : LV_OP_UNDEFINED;
	case LV_OP_MOV:
		if (insn->enc == LV_ENC_MS && (insn->reg & 7) > LV_SEG_GS)
			return LV_OP_UNDEFINED;
		return op;
	case LV_OP_MOVNTI:
		return insn->opsize || insn->rep ? LV_OP_UNDEFINED : op;
	case LV_OP_CMPXCHG8B:
		return insn->mem ? op : LV_OP_UNDEFINED;
	case LV_OP_MOVSX:
		/* ARPL */
		if (insn->opcode == 0x63 && mode != LV_MODE_64)
			return LV_OP_NONE;
		return op;
	default:
		return op;
	}
}

static void decode_sizes(struct lv_insn *insn, enum lv_cpu_mode mode, u32 desc)
{
	u8 op = insn->op;
	u8 bytes = insn->opsize ? 2 : 4;

	if (mode == LV_MODE_16)
		bytes ^= 2 ^ 4;
	if (insn->rex & 8)
		bytes = 8;
	if (mode == LV_MODE_64 && bytes == 4 &&
	    (op == LV_OP_PUSH || op == LV_OP_POP || op == LV_OP_CALL ||
	     op == LV_OP_JMP))
		bytes = 8;
	if ((op >= LV_OP_IN && bytes == 8) ||
	    (op == LV_OP_MOVNTI && bytes == 2))
		bytes = 4;
	if (insn->enc == LV_ENC_MS && insn->mem)
		bytes = 2;
	if (desc & BYTE)
		bytes = 1;
	if (op != LV_OP_SSE_LOAD && op != LV_OP_SSE_STORE)
		insn->op_bytes = bytes;

	insn->src_bytes = insn->op_bytes;
	if (op == LV_OP_MOVZX || op == LV_OP_MOVSX) {
		insn->src_bytes = insn->opcode & 1 ? 2 : 1;
		if (insn->opcode == 0x63)
			insn->src_bytes = min_t(u8, bytes, 4);
	}
}

static void decode_imm(struct lv_insn *insn, struct cursor *c, u32 desc)
{
	static const u8 fixed[8] = {
		[IMM_8] = 1, [IMM_16] = 2, [IMM_ENTER] = 3, [IMM_FAR] = 2
	};
	unsigned int kind = desc >> IMM_SHIFT & 7, bytes = fixed[kind];

	if (kind == IMM_NONE || (kind == IMM_TEST && insn->op != LV_OP_TEST))
		return;
	if (kind == IMM_V)
		bytes = insn->op_bytes;
	else if (kind == IMM_Z || kind == IMM_FAR || kind == IMM_TEST)
		bytes += min_t(u8, insn->op_bytes, 4);
	insn->imm = take_signed(c, bytes);
}

/* Replace the special encodings by the general ones that lv_emulate() knows. */
static void decode_special(struct lv_insn *insn, struct cursor *c)
{
	switch (insn->enc) {
	case LV_ENC_M1:
		insn->enc = LV_ENC_MI;
		insn->imm = 1;
		break;
	case LV_ENC_FD:
	case LV_ENC_TD:
		insn->enc = insn->enc == LV_ENC_FD ? LV_ENC_RM : LV_ENC_MR;
		insn->mem = true;
		insn->reg = LV_RAX;
		insn->base = LV_REG_NONE;
		insn->index = LV_REG_NONE;
		insn->disp = take(c, insn->addr_bytes);
		break;
	case LV_ENC_O:
		insn->enc = LV_ENC_M;
		insn->rm = (insn->opcode & 7) | (insn->rex & 1) << 3;
		break;
	}
}

static bool lock_allowed(const struct lv_insn *insn)
{
	/* On AMD, LOCK MOV CR0 is MOV CR8 outside of 64-bit mode. */
	if (insn->map == LV_MAP_0F && (insn->opcode & ~2) == 0x20)
		return true;
	return insn->mem && insn->enc != LV_ENC_RM && LOCKABLE >> insn->op & 1;
}

/*
 * lv_decode - decode one instruction
 * @bytes: what is at CS:rIP
 * @n: how many of them are there
 * Return: 0, -ENODATA if the instruction goes on after @n bytes, or -EINVAL if it
 * is undefined (with the length a CPU without the extension would see).
 */
int lv_decode(struct lv_insn *insn, const u8 *bytes, unsigned int n,
	      enum lv_cpu_mode mode)
{
	struct cursor c = { .bytes = bytes, .n = min(n, MAX_INSN_BYTES) };
	u32 desc;

	*insn = (struct lv_insn){ .addr_bytes = mode, .seg = LV_NR_SEGS };
	desc = decode_opcode(insn, &c, mode);
	insn->enc = desc >> ENC_SHIFT & 0xf;
	if (insn->enc >= LV_ENC_M && insn->enc < LV_ENC_FD)
		decode_modrm(insn, &c, mode, desc);
	insn->op = decode_op(insn, mode, desc);
	decode_sizes(insn, mode, desc);
	decode_imm(insn, &c, desc);
	decode_special(insn, &c);

	if (insn->seg == LV_NR_SEGS)
		insn->seg = insn->mem && (insn->base == LV_RSP ||
					  insn->base == LV_RBP)
				    ? LV_SEG_SS
				    : LV_SEG_DS;
	if ((desc & NO64 && mode == LV_MODE_64) || (desc & MEM && !insn->mem) ||
	    (insn->lock && !lock_allowed(insn)))
		insn->op = LV_OP_UNDEFINED;

	if (c.pos > c.n && c.n == MAX_INSN_BYTES)
		insn->op = LV_OP_TOO_LONG;

	insn->length = min(c.pos, MAX_INSN_BYTES);
	if (insn->op == LV_OP_TOO_LONG)
		return -EINVAL;
	if (c.pos > c.n)
		return -ENODATA;
	return insn->op == LV_OP_UNDEFINED ? -EINVAL : 0;
}
