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

/**
 * struct lv_insn - a decoded instruction
 * @length: bytes from the first prefix to the last immediate, 1 to 15
 * @map: opcode table, enum lv_opcode_map
 * @opcode: last opcode byte
 * @op: enum lv_op
 * @enc: enum lv_encoding
 * @op_bytes: operand size; of the destination where they differ
 * @src_bytes: size of the r/m operand of MOVZX and MOVSX
 * @addr_bytes: address size
 * @rep: last of the F2 and F3 prefixes, or 0
 * @rex: REX prefix, or 0
 * @opsize: a 66 prefix is there
 * @lock: a LOCK prefix is there
 * @vex: encoded with VEX or EVEX
 * @aligned: the memory operand must be aligned to its size
 * @has_modrm: there is a ModRM byte
 * @mod: ModRM.mod
 * @reg: ModRM.reg with REX.R
 * @rm: ModRM.rm with REX.B; a register number if !@mem
 * @mem: there is a memory operand, the next five fields give its address
 * @seg: segment, default or overridden; valid for string instructions too
 * @base: base register, LV_REG_RIP or LV_REG_NONE
 * @index: index register or LV_REG_NONE
 * @scale: log2 of the index's factor
 * @disp: displacement or absolute offset
 * @imm: immediate, sign-extended
 */
struct lv_insn {
	u8 length;
	u8 map;
	u8 opcode;
	u8 op;
	u8 enc;
	u8 op_bytes;
	u8 src_bytes;
	u8 addr_bytes;
	u8 rep;
	u8 rex;
	bool opsize;
	bool lock;
	bool vex;
	bool aligned;
	bool has_modrm;
	u8 mod;
	u8 reg;
	u8 rm;
	bool mem;
	u8 seg;
	u8 base;
	u8 index;
	u8 scale;
	s64 disp;
	u64 imm;
};

/**
 * struct lv_emul_seg - segment register as the CPU caches it
 * @base: base address
 * @limit: limit in bytes
 * @selector: selector
 * @type: descriptor type, four bits
 * @s: code or data, not system
 * @present: usable: present and not null
 * @db: default size: 32-bit stack, or upper bound of an expand-down segment
 */
struct lv_emul_seg {
	u64 base;
	u32 limit;
	u16 selector;
	u8 type;
	bool s;
	bool present;
	bool db;
};

/**
 * struct lv_emul_fault - exception that an instruction raised
 * @cr2: faulting linear address, for #PF
 * @error: error code
 * @vector: exception vector
 * @has_error: @error is to be pushed
 */
struct lv_emul_fault {
	u64 cr2;
	u32 error;
	u8 vector;
	bool has_error;
};

/**
 * struct lv_emul - an instruction being emulated
 * @owner: for the callbacks
 * @insn: the instruction, from lv_decode()
 * @regs: general registers, in and out
 * @rip: address of the instruction in, of the next one out
 * @rflags: in and out
 * @seg: segment registers, in
 * @mode: code size, in
 * @protected_mode: CR0.PE, in
 * @va_bits: width of linear addresses in 64-bit mode (48 or 57), in
 * @write_intent: a read is the first half of a read-modify-write: an
 *	lv_emul_read() that would fault on a write has to do so now
 * @fault: out, with LV_EMUL_FAULT
 */
struct lv_emul {
	void *owner;
	struct lv_insn insn;
	u64 regs[LV_NR_GPRS];
	u64 rip;
	u64 rflags;
	struct lv_emul_seg seg[LV_NR_SEGS];
	enum lv_cpu_mode mode;
	bool protected_mode;
	u8 va_bits;
	bool write_intent;
	struct lv_emul_fault fault;
};

/**
 * enum lv_emul_result - outcome of an emulation or of a callback
 * @LV_EMUL_DONE: completed, registers and RIP are updated
 * @LV_EMUL_AGAIN: nothing happened; start over when the data is there, or at
 *	once if a locked access lost a race
 * @LV_EMUL_REP: one iteration completed, RIP still at the instruction
 * @LV_EMUL_FAULT: lv_emul.fault is to be injected, nothing happened
 * @LV_EMUL_UNHANDLED: not an instruction or access that can be emulated
 */
enum lv_emul_result {
	LV_EMUL_DONE,
	LV_EMUL_AGAIN,
	LV_EMUL_REP,
	LV_EMUL_FAULT,
	LV_EMUL_UNHANDLED,
};

/**
 * struct lv_string_io - what an INS or OUTS is about to transfer
 * @linear: address of the first element
 * @count: elements to transfer, all in one page; 0 if REP's count is 0
 * @bytes: size of an element
 * @in: INS, from port to memory
 */
struct lv_string_io {
	gva_t linear;
	u32 count;
	u8 bytes;
	bool in;
};

int lv_decode(struct lv_insn *insn, const u8 *bytes, unsigned int n,
	      enum lv_cpu_mode mode);
enum lv_emul_result lv_emulate(struct lv_emul *e);
enum lv_emul_result lv_emul_string_io(struct lv_emul *e,
				      struct lv_string_io *io);
enum lv_emul_result lv_emul_string_done(struct lv_emul *e, u32 elements);

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
