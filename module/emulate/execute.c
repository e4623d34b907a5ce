// SPDX-License-Identifier: GPL-2.0-only
/* x86 instruction emulator: addresses, operands, everything but strings. */
#include "internal.h"

/* What an instruction does to its r/m operand. */
enum access {
	ACCESS_READ = 1,
	ACCESS_WRITE = 2,
	ACCESS_MODIFY = ACCESS_READ | ACCESS_WRITE,
};

/* End an instruction with #UD, #SS(0) or #GP(0). */
static enum lv_emul_result raise(struct lv_emul *e, u8 vector)
{
	e->fault = (struct lv_emul_fault){ .vector = vector,
					   .has_error = vector != VECTOR_UD &&
							e->protected_mode };
	return LV_EMUL_FAULT;
}

/** lv_emul_retire - complete an instruction that falls through to the next */
enum lv_emul_result lv_emul_retire(struct lv_emul *e)
{
	e->rip = (e->rip + e->insn.length) & size_mask(e->mode);
	e->rflags &= ~FLAG_RF;
	return LV_EMUL_DONE;
}

static bool canonical(const struct lv_emul *e, u64 linear)
{
	unsigned int shift = 64 - e->va_bits;

	return (s64)(linear << shift) >> shift == (s64)linear;
}

static bool segment_allows(const struct lv_emul *e,
			   const struct kvm_segment *seg, u64 first, u64 last,
			   bool write)
{
	bool code = seg->type & 8;

	if (!e->protected_mode || e->rflags & FLAG_VM)
		return last <= seg->limit;
	if (!seg->present || !seg->s)
		return false;
	/* Bit 1 of the type makes code readable and data writable. */
	if ((write && code) || ((write || code) && !(seg->type & 2)))
		return false;
	if (!code && seg->type & 4)
		return first > seg->limit && last <= (seg->db ? ~0U : 0xffff);
	return last <= seg->limit;
}

/*
 * lv_emul_linear - apply segmentation to an access
 * @offset: first byte, truncated to the address size
 * @write: it is (also) a write
 * Return: LV_EMUL_DONE, or LV_EMUL_FAULT with #GP(0) or #SS(0).
 */
enum lv_emul_result lv_emul_linear(struct lv_emul *e, u8 nr, u64 offset,
				   unsigned int bytes, bool write,
				   gva_t *linear)
{
	const struct kvm_segment *seg = &e->seg[nr];
	u64 last = offset + bytes - 1;

	if (e->mode != LV_MODE_64) {
		*linear = (u32)(seg->base + offset);
		if (segment_allows(e, seg, offset, last, write))
			return LV_EMUL_DONE;
	} else {
		u64 base = nr == LV_SEG_FS || nr == LV_SEG_GS ? seg->base : 0;

		*linear = base + offset;
		if (canonical(e, *linear) && canonical(e, base + last))
			return LV_EMUL_DONE;
	}
	return raise(e, nr == LV_SEG_SS ? VECTOR_SS : VECTOR_GP);
}

/* Without REX, byte registers 4 to 7 are AH, CH, DH and BH. */
static bool high_byte(const struct lv_emul *e, u8 nr, unsigned int bytes)
{
	return bytes == 1 && !e->insn.rex && nr >= 4;
}

static u64 read_reg(const struct lv_emul *e, u8 nr, unsigned int bytes)
{
	if (high_byte(e, nr, bytes))
		return e->regs[nr - 4] >> 8 & 0xff;
	return e->regs[nr] & size_mask(bytes);
}

static void write_reg(struct lv_emul *e, u8 nr, u64 val, unsigned int bytes)
{
	if (high_byte(e, nr, bytes)) {
		e->regs[nr - 4] &= ~0xff00ULL;
		e->regs[nr - 4] |= (val & 0xff) << 8;
	} else {
		merge_reg(&e->regs[nr], val, bytes);
	}
}

/* Find the memory operand, @skew bytes away from where the encoding says. */
static enum lv_emul_result locate(struct lv_emul *e, unsigned int bytes,
				  enum access access, s64 skew, gva_t *linear)
{
	const struct lv_insn *insn = &e->insn;
	u64 offset = insn->disp + skew;

	if (insn->base == LV_REG_RIP)
		offset += e->rip + insn->length;
	else if (insn->base != LV_REG_NONE)
		offset += e->regs[insn->base];
	if (insn->index != LV_REG_NONE)
		offset += e->regs[insn->index] << insn->scale;
	offset &= size_mask(insn->addr_bytes);

	e->write_intent = access & ACCESS_WRITE;
	return lv_emul_linear(e, insn->seg, offset, bytes,
			      access & ACCESS_WRITE, linear);
}

/* Locate the r/m operand, and read it if @access says so. */
static enum lv_emul_result open_rm(struct lv_emul *e, unsigned int bytes,
				   enum access access, s64 skew, gva_t *linear,
				   u64 *val)
{
	enum lv_emul_result r;

	*val = 0;
	*linear = 0;
	if (!e->insn.mem) {
		*val = read_reg(e, e->insn.rm, bytes);
		return LV_EMUL_DONE;
	}
	r = locate(e, bytes, access, skew, linear);
	if (r == LV_EMUL_DONE && access & ACCESS_READ)
		r = lv_emul_read(e, *linear, val, bytes);
	return r;
}

static enum lv_emul_result store(struct lv_emul *e, gva_t linear,
				 const void *old, const void *new,
				 unsigned int bytes)
{
	/* XCHG is locked with or without the prefix. */
	if (e->insn.lock || e->insn.op == LV_OP_XCHG)
		return lv_emul_cmpxchg(e, linear, old, new, bytes);
	return lv_emul_write(e, linear, new, bytes);
}

static bool condition(u8 cc, u64 flags)
{
	static const u16 any_of[] = { FLAG_OF, FLAG_CF,
				      FLAG_ZF, FLAG_CF | FLAG_ZF,
				      FLAG_SF, FLAG_PF,
				      0,       FLAG_ZF };
	bool less = !(flags & FLAG_SF) != !(flags & FLAG_OF);
	unsigned int kind = cc >> 1 & 7;
	bool holds = flags & any_of[kind] || (kind >= 6 && less);

	return holds != (cc & 1);
}

static u64 swap_bytes(u64 val, unsigned int bytes)
{
	return __builtin_bswap64(val) >> (64 - 8 * bytes);
}

static u64 sign_extend(u64 val, unsigned int bytes)
{
	unsigned int shift = 64 - 8 * bytes;

	return (s64)(val << shift) >> shift;
}

static void compare_exchange(const struct lv_emul *e, struct lv_alu *alu)
{
	struct lv_alu cmp = *alu;

	cmp.src = alu->dst;
	cmp.dst = e->regs[LV_RAX];
	lv_alu(&cmp, LV_OP_CMP);
	alu->flags = cmp.flags;
	if (cmp.flags & FLAG_ZF)
		alu->dst = alu->src;
}

static void compute(const struct lv_emul *e, struct lv_alu *alu)
{
	const struct lv_insn *insn = &e->insn;
	u64 dst = alu->dst;

	switch (insn->op) {
	case LV_OP_MOV:
	case LV_OP_MOVNTI:
	case LV_OP_MOVZX:
		alu->dst = alu->src;
		break;
	case LV_OP_MOVSX:
		alu->dst = sign_extend(alu->src, insn->src_bytes);
		break;
	case LV_OP_MOVBE:
		alu->dst = swap_bytes(alu->src, alu->bytes);
		break;
	case LV_OP_SETCC:
		alu->dst = condition(insn->opcode, alu->flags);
		break;
	case LV_OP_CMOV:
		if (condition(insn->opcode, alu->flags))
			alu->dst = alu->src;
		break;
	case LV_OP_XCHG:
		alu->dst = alu->src;
		alu->src = dst;
		break;
	case LV_OP_CMPXCHG:
		compare_exchange(e, alu);
		break;
	default:
		if (insn->enc == LV_ENC_RMI)
			alu->dst = insn->imm;
		lv_alu(alu, insn->op);
		break;
	}
}

#define OP(op) BIT_ULL(LV_OP_##op)
#define COMPARES (OP(CMP) | OP(TEST) | OP(BT))
#define STORES (OP(MOV) | OP(MOVNTI) | OP(MOVBE) | OP(SETCC))

static enum access rm_access(const struct lv_insn *insn)
{
	u64 op = BIT_ULL(insn->op);

	if (insn->enc == LV_ENC_RM || insn->enc == LV_ENC_RMI || op & COMPARES)
		return ACCESS_READ;
	return op & STORES ? ACCESS_WRITE : ACCESS_MODIFY;
}

/* Is the register that is the first operand written? */
static bool writes_reg(const struct lv_insn *insn, u64 flags)
{
	u64 op = BIT_ULL(insn->op);

	if (op & OP(CMPXCHG))
		return flags & FLAG_ZF;
	if (op & (OP(BSF) | OP(BSR)))
		return !(flags & FLAG_ZF);
	return !(op & COMPARES);
}

/* A bit offset in a register reaches beyond the operand that is encoded. */
static s64 bit_string_skew(const struct lv_emul *e)
{
	const struct lv_insn *insn = &e->insn;
	s64 bit;

	if (insn->enc != LV_ENC_MR || insn->op < LV_OP_BT ||
	    insn->op > LV_OP_BTC)
		return 0;
	bit = sign_extend(e->regs[insn->reg], insn->op_bytes);
	return (bit >> 3) & -(s64)insn->op_bytes;
}

static u64 source(const struct lv_emul *e)
{
	switch (e->insn.enc) {
	case LV_ENC_MR:
		return read_reg(e, e->insn.reg, e->insn.op_bytes);
	case LV_ENC_MS:
		return e->seg[e->insn.reg & 7].selector;
	case LV_ENC_MC:
		return e->regs[LV_RCX];
	default:
		return e->insn.imm;
	}
}

/* Read operands, compute, write memory, then registers: only that can't fail. */
static enum lv_emul_result execute(struct lv_emul *e)
{
	const struct lv_insn *insn = &e->insn;
	struct lv_alu alu = { .bytes = insn->op_bytes, .flags = e->rflags };
	bool to_reg = insn->enc == LV_ENC_RM || insn->enc == LV_ENC_RMI;
	enum access access = rm_access(insn);
	enum lv_emul_result r;
	gva_t linear;
	u64 rm;

	r = open_rm(e, insn->src_bytes, access, bit_string_skew(e), &linear,
		    &rm);
	if (r != LV_EMUL_DONE)
		return r;

	alu.dst = to_reg ? read_reg(e, insn->reg, alu.bytes) : rm;
	alu.src = to_reg ? rm : source(e);
	compute(e, &alu);

	if (insn->mem && access & ACCESS_WRITE) {
		r = store(e, linear, &rm, &alu.dst, alu.bytes);
		if (r != LV_EMUL_DONE)
			return r;
	}

	e->rflags = alu.flags;
	if (insn->op == LV_OP_XADD || insn->op == LV_OP_XCHG)
		write_reg(e, insn->reg, alu.src, alu.bytes);
	if (insn->op == LV_OP_CMPXCHG && !(alu.flags & FLAG_ZF))
		write_reg(e, LV_RAX, rm, alu.bytes);
	if ((to_reg || !insn->mem) && writes_reg(insn, alu.flags))
		write_reg(e, to_reg ? insn->reg : insn->rm, alu.dst, alu.bytes);
	return lv_emul_retire(e);
}

/* CMPXCHG8B and CMPXCHG16B. */
static enum lv_emul_result compare_exchange_pair(struct lv_emul *e)
{
	unsigned int half = max_t(u8, e->insn.op_bytes, 4);
	u64 *regs = e->regs, lo = 0, hi = 0;
	enum lv_emul_result r;
	u8 old[16], new[16];
	gva_t linear;
	bool equal;

	r = locate(e, 2 * half, ACCESS_MODIFY, 0, &linear);
	if (r != LV_EMUL_DONE)
		return r;
	if (half == 8 && linear & 15)
		return raise(e, VECTOR_GP);
	r = lv_emul_read(e, linear, old, 2 * half);
	if (r != LV_EMUL_DONE)
		return r;

	memcpy(&lo, old, half);
	memcpy(&hi, old + half, half);
	equal = !(((lo ^ regs[LV_RAX]) | (hi ^ regs[LV_RDX])) &
		  size_mask(half));
	memcpy(new, equal ? &regs[LV_RBX] : &lo, half);
	memcpy(new + half, equal ? &regs[LV_RCX] : &hi, half);
	/* The CPU writes memory even if it is not equal. */
	r = store(e, linear, old, new, 2 * half);
	if (r != LV_EMUL_DONE)
		return r;

	e->rflags = (e->rflags & ~FLAG_ZF) | (equal ? FLAG_ZF : 0);
	if (!equal) {
		merge_reg(&regs[LV_RAX], lo, half);
		merge_reg(&regs[LV_RDX], hi, half);
	}
	return lv_emul_retire(e);
}

static enum lv_emul_result sse_move(struct lv_emul *e)
{
	const struct lv_insn *insn = &e->insn;
	bool load = insn->op == LV_OP_SSE_LOAD;
	enum lv_emul_result r;
	u64 val[2] = {};
	gva_t linear;

	r = locate(e, insn->op_bytes, load ? ACCESS_READ : ACCESS_WRITE, 0,
		   &linear);
	/* Misalignment comes before what is wrong with the segment. */
	if (insn->aligned && linear & 15)
		return raise(e, VECTOR_GP);
	if (r != LV_EMUL_DONE)
		return r;

	if (load) {
		r = lv_emul_read(e, linear, val, insn->op_bytes);
		if (r == LV_EMUL_DONE)
			lv_emul_write_xmm(e, insn->reg, val);
	} else {
		lv_emul_read_xmm(e, insn->reg, val);
		r = lv_emul_write(e, linear, val, insn->op_bytes);
	}
	return r == LV_EMUL_DONE ? lv_emul_retire(e) : r;
}

static unsigned int stack_bytes(const struct lv_emul *e)
{
	if (e->mode == LV_MODE_64)
		return 8;
	return e->seg[LV_SEG_SS].db ? 4 : 2;
}

static enum lv_emul_result push(struct lv_emul *e, u64 val)
{
	unsigned int bytes = e->insn.op_bytes, width = stack_bytes(e);
	u64 offset = (e->regs[LV_RSP] - bytes) & size_mask(width);
	enum lv_emul_result r;
	gva_t linear;

	r = lv_emul_linear(e, LV_SEG_SS, offset, bytes, true, &linear);
	if (r == LV_EMUL_DONE)
		r = lv_emul_write(e, linear, &val, bytes);
	if (r == LV_EMUL_DONE)
		merge_reg(&e->regs[LV_RSP], offset, width);
	return r;
}

static enum lv_emul_result pop_rm(struct lv_emul *e)
{
	unsigned int bytes = e->insn.op_bytes, width = stack_bytes(e);
	u64 offset = e->regs[LV_RSP] & size_mask(width);
	enum lv_emul_result r;
	gva_t linear;
	u64 val = 0;

	r = lv_emul_linear(e, LV_SEG_SS, offset, bytes, false, &linear);
	if (r == LV_EMUL_DONE)
		r = lv_emul_read(e, linear, &val, bytes);
	if (r == LV_EMUL_DONE && e->insn.mem) {
		/* An address based on RSP uses its value after the pop. */
		s64 skew = e->insn.base == LV_RSP ? bytes : 0;

		r = locate(e, bytes, ACCESS_WRITE, skew, &linear);
		if (r == LV_EMUL_DONE)
			r = lv_emul_write(e, linear, &val, bytes);
	}
	if (r != LV_EMUL_DONE)
		return r;
	merge_reg(&e->regs[LV_RSP], offset + bytes, width);
	if (!e->insn.mem)
		write_reg(e, e->insn.rm, val, bytes);
	return lv_emul_retire(e);
}

static enum lv_emul_result push_operand(struct lv_emul *e)
{
	enum lv_emul_result r = LV_EMUL_DONE;
	u64 val = e->insn.imm;
	gva_t linear;

	if (e->insn.enc != LV_ENC_I)
		r = open_rm(e, e->insn.op_bytes, ACCESS_READ, 0, &linear, &val);
	if (r == LV_EMUL_DONE)
		r = push(e, val);
	return r == LV_EMUL_DONE ? lv_emul_retire(e) : r;
}

static enum lv_emul_result branch_rm(struct lv_emul *e)
{
	u64 next = (e->rip + e->insn.length) & size_mask(e->mode);
	enum lv_emul_result r;
	gva_t linear;
	u64 target;

	r = open_rm(e, e->insn.op_bytes, ACCESS_READ, 0, &linear, &target);
	if (r != LV_EMUL_DONE)
		return r;
	if (e->mode == LV_MODE_64 ? !canonical(e, target)
				  : target > e->seg[LV_SEG_CS].limit)
		return raise(e, VECTOR_GP);
	if (e->insn.op == LV_OP_CALL)
		r = push(e, next);
	if (r != LV_EMUL_DONE)
		return r;
	lv_emul_retire(e);
	e->rip = target;
	return LV_EMUL_DONE;
}

/** lv_emulate - execute a decoded instruction */
enum lv_emul_result lv_emulate(struct lv_emul *e)
{
	e->write_intent = false;
	switch (e->insn.op) {
	case LV_OP_UNDEFINED:
		return raise(e, VECTOR_UD);
	case LV_OP_TOO_LONG:
		return raise(e, VECTOR_GP);
	case LV_OP_ADD ... LV_OP_CMPXCHG:
	case LV_OP_BSF ... LV_OP_SETCC:
		return execute(e);
	case LV_OP_CMPXCHG8B:
		return compare_exchange_pair(e);
	case LV_OP_PUSH:
		return push_operand(e);
	case LV_OP_POP:
		return pop_rm(e);
	case LV_OP_CALL:
	case LV_OP_JMP:
		return branch_rm(e);
	case LV_OP_SSE_LOAD:
	case LV_OP_SSE_STORE:
		return sse_move(e);
	case LV_OP_MOVS ... LV_OP_SCAS:
		return lv_emul_string(e);
	default:
		return LV_EMUL_UNHANDLED;
	}
}
