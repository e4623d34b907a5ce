/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * x86 instruction decoder and emulator.
 *
 * lv_decode() turns bytes into a struct lv_insn: length, prefixes, operands.
 * lv_emulate() executes a decoded instruction that has a memory operand, on a
 * copy of the guest's registers and through the lv_emul_*() callbacks at the
 * end of this file, which the surroundings supply.
 *
 * An instruction may be emulated several times before it completes: all reads
 * come before all writes, registers change only on success, and the same input
 * gives the same sequence of callbacks. So the surroundings can stop at a read
 * that only user space can answer and start over once the answer is known.
 */
#ifndef LABVISOR_EMULATE_H
#define LABVISOR_EMULATE_H

#include "../pure.h"

#include <linux/kvm.h>

/** enum lv_cpu_mode - code size, valued as the default address size in bytes */
enum lv_cpu_mode {
	LV_MODE_16 = 2,
	LV_MODE_32 = 4,
	LV_MODE_64 = 8,
};

/* clang-format off */

/* General registers and segments, numbered as instructions encode them. */
enum {
	LV_RAX, LV_RCX, LV_RDX, LV_RBX, LV_RSP, LV_RBP, LV_RSI, LV_RDI,
	LV_R8, LV_R9, LV_R10, LV_R11, LV_R12, LV_R13, LV_R14, LV_R15,
	LV_NR_GPRS,
	LV_REG_RIP = LV_NR_GPRS, /* base of a RIP-relative operand */
	LV_REG_NONE,
};

enum {
	LV_SEG_ES, LV_SEG_CS, LV_SEG_SS, LV_SEG_DS, LV_SEG_FS, LV_SEG_GS,
	LV_NR_SEGS,
};

/* clang-format on */

/** enum lv_opcode_map - which opcode table lv_insn.opcode indexes */
enum lv_opcode_map {
	LV_MAP_PRIMARY,
	LV_MAP_0F,
	LV_MAP_0F38,
	LV_MAP_0F3A,
};

/* clang-format off */

/*
 * enum lv_op - what an instruction does
 *
 * LV_OP_NONE stands for everything that only has a length here. The rest is
 * emulated, except for port I/O, which is named for those who skip it.
 */
enum lv_op {
	LV_OP_NONE,
	LV_OP_UNDEFINED, /* #UD */
	LV_OP_TOO_LONG, /* #GP */
	LV_OP_ADD, LV_OP_OR, LV_OP_ADC, LV_OP_SBB,
	LV_OP_AND, LV_OP_SUB, LV_OP_XOR, LV_OP_CMP,
	LV_OP_ROL, LV_OP_ROR, LV_OP_RCL, LV_OP_RCR,
	LV_OP_SHL, LV_OP_SHR, LV_OP_SAR,
	LV_OP_BT, LV_OP_BTS, LV_OP_BTR, LV_OP_BTC,
	LV_OP_TEST, LV_OP_NOT, LV_OP_NEG, LV_OP_INC, LV_OP_DEC,
	LV_OP_XADD, LV_OP_XCHG, LV_OP_CMPXCHG, LV_OP_CMPXCHG8B,
	LV_OP_BSF, LV_OP_BSR, LV_OP_IMUL,
	LV_OP_MOV, LV_OP_MOVNTI, LV_OP_MOVBE, LV_OP_MOVZX, LV_OP_MOVSX,
	LV_OP_CMOV, LV_OP_SETCC,
	LV_OP_PUSH, LV_OP_POP, LV_OP_CALL, LV_OP_JMP,
	LV_OP_SSE_LOAD, LV_OP_SSE_STORE,
	LV_OP_MOVS, LV_OP_STOS, LV_OP_LODS, LV_OP_CMPS, LV_OP_SCAS,
	LV_OP_IN, LV_OP_OUT, LV_OP_INS, LV_OP_OUTS,
};

/* clang-format on */

/** enum lv_encoding - where the operands are, in the manuals' terms */
enum lv_encoding {
	LV_ENC_ZO, /* none, or implied */
	LV_ENC_I, /* immediate */
	LV_ENC_M, /* r/m */
	LV_ENC_MR, /* r/m, reg */
	LV_ENC_MS, /* r/m, segment register */
	LV_ENC_RM, /* reg, r/m */
	LV_ENC_MI, /* r/m, immediate */
	LV_ENC_MC, /* r/m, CL */
	LV_ENC_RMI, /* reg, r/m, immediate */
};

/* struct lv_insn - a decoded instruction */
struct lv_insn {
	u8 length; /* with prefixes and immediates, 1 to 15 bytes */
	u8 map; /* opcode table, enum lv_opcode_map */
	u8 opcode; /* its last byte */
	u8 op; /* enum lv_op */
	u8 enc; /* enum lv_encoding */
	u8 op_bytes; /* operand size; of the destination where they differ */
	u8 src_bytes; /* size of the r/m operand of MOVZX and MOVSX */
	u8 addr_bytes; /* address size */
	u8 rep; /* last of the F2 and F3 prefixes, or 0 */
	u8 rex; /* REX prefix, or 0 */
	bool opsize; /* a 66 prefix is there */
	bool lock; /* a LOCK prefix is there */
	bool vex; /* encoded with VEX or EVEX */
	bool aligned; /* the memory operand must be aligned to its size */
	bool has_modrm; /* there is a ModRM byte */
	u8 mod; /* ModRM.mod */
	u8 reg; /* ModRM.reg with REX.R */
	u8 rm; /* ModRM.rm with REX.B; a register number if !@mem */
	bool mem; /* there is a memory operand, addressed by: */
	u8 seg; /* default or overridden; of string instructions, too */
	u8 base; /* base register, LV_REG_RIP or LV_REG_NONE */
	u8 index; /* index register or LV_REG_NONE */
	u8 scale; /* log2 of the index's factor */
	s64 disp; /* displacement or absolute offset */
	u64 imm; /* immediate, sign-extended */
};

/* struct lv_emul_fault - exception that an instruction raised */
struct lv_emul_fault {
	u64 cr2; /* faulting linear address, for #PF */
	u32 error;
	u8 vector;
	bool has_error; /* @error is to be pushed */
};

/* struct lv_emul - an instruction being emulated */
struct lv_emul {
	void *owner; /* for the callbacks */
	struct lv_insn insn; /* the instruction, from lv_decode() */
	u64 regs[LV_NR_GPRS]; /* general registers, in and out */
	u64 rip; /* address of the instruction in, of the next one out */
	u64 rflags; /* in and out */
	struct kvm_segment seg[LV_NR_SEGS]; /* in; unusable: not present */
	enum lv_cpu_mode mode; /* code size, in */
	bool protected_mode; /* CR0.PE, in */
	u8 va_bits; /* width of linear addresses in 64-bit mode, in */
	/* lv_emul_read() faults if a write would: that comes next */
	bool write_intent;
	struct lv_emul_fault fault; /* out, with LV_EMUL_FAULT */
};

/* enum lv_emul_result - outcome of an emulation or of a callback */
enum lv_emul_result {
	LV_EMUL_DONE, /* completed, registers and RIP are updated */
	/* nothing happened: start over when the data is there, or lost a race */
	LV_EMUL_AGAIN,
	LV_EMUL_REP, /* one iteration completed, RIP still at the instruction */
	LV_EMUL_FAULT, /* lv_emul.fault is to be injected, nothing happened */
	LV_EMUL_UNHANDLED, /* cannot be emulated */
};

/* struct lv_string_io - what an INS or OUTS is about to transfer */
struct lv_string_io {
	gva_t linear; /* address of the first element */
	u32 count; /* elements, all in one page; 0 if REP's count is 0 */
	u8 bytes; /* size of an element */
	bool in; /* INS, from port to memory */
};

int lv_decode(struct lv_insn *insn, const u8 *bytes, unsigned int n,
	      enum lv_cpu_mode mode);
enum lv_emul_result lv_emulate(struct lv_emul *e);
enum lv_emul_result lv_emul_string_io(struct lv_emul *e,
				      struct lv_string_io *io);
enum lv_emul_result lv_emul_string_done(struct lv_emul *e, u32 elements);
u32 lv_emul_string_limit(struct lv_emul *e, u32 elements);

/*
 * Callbacks. Memory accesses may cross pages; they fill lv_emul.fault before
 * they return LV_EMUL_FAULT. lv_emul_cmpxchg() stores @new if memory still
 * holds @old, else it returns LV_EMUL_AGAIN.
 */
enum lv_emul_result lv_emul_read(struct lv_emul *e, gva_t linear, void *buf,
				 unsigned int bytes);
enum lv_emul_result lv_emul_write(struct lv_emul *e, gva_t linear,
				  const void *buf, unsigned int bytes);
enum lv_emul_result lv_emul_cmpxchg(struct lv_emul *e, gva_t linear,
				    const void *old, const void *new,
				    unsigned int bytes);
void lv_emul_read_xmm(struct lv_emul *e, unsigned int nr, u64 val[2]);
void lv_emul_write_xmm(struct lv_emul *e, unsigned int nr, const u64 val[2]);

#endif /* LABVISOR_EMULATE_H */
