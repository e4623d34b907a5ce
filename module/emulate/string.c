// SPDX-License-Identifier: GPL-2.0-only
/*
 * String instructions: one element at a time, so that interrupts get in
 * between the iterations of REP. Port I/O itself is done elsewhere.
 */
#include "internal.h"

static u64 read_index(const struct lv_emul *e, u8 nr)
{
	return e->regs[nr] & size_mask(e->insn.addr_bytes);
}

static void advance_index(struct lv_emul *e, u8 nr, u32 elements)
{
	s64 step = (u64)elements * e->insn.op_bytes;

	if (e->rflags & FLAG_DF)
		step = -step;
	merge_reg(&e->regs[nr], e->regs[nr] + step, e->insn.addr_bytes);
}

/* Consume @elements of REP's count; true if that was not the last one. */
static bool advance_count(struct lv_emul *e, u32 elements)
{
	if (!e->insn.rep)
		return false;
	merge_reg(&e->regs[LV_RCX], e->regs[LV_RCX] - elements,
		  e->insn.addr_bytes);
	return read_index(e, LV_RCX);
}

static bool uses_si(u8 op)
{
	return op == LV_OP_MOVS || op == LV_OP_LODS || op == LV_OP_CMPS ||
	       op == LV_OP_OUTS;
}

static bool uses_di(u8 op)
{
	return op != LV_OP_LODS && op != LV_OP_OUTS;
}

static bool compares(u8 op)
{
	return op == LV_OP_CMPS || op == LV_OP_SCAS;
}

/*
 * lv_emul_string_done - account for executed elements
 * @elements: how many; for port I/O at most what lv_emul_string_io() offered
 * Return: LV_EMUL_DONE when the instruction is complete, else LV_EMUL_REP.
 */
enum lv_emul_result lv_emul_string_done(struct lv_emul *e, u32 elements)
{
	const struct lv_insn *insn = &e->insn;
	bool more;

	if (uses_si(insn->op))
		advance_index(e, LV_RSI, elements);
	if (uses_di(insn->op))
		advance_index(e, LV_RDI, elements);
	more = advance_count(e, elements);
	if (compares(insn->op))
		more &= !!(e->rflags & FLAG_ZF) == (insn->rep == 0xf3);
	return more ? LV_EMUL_REP : lv_emul_retire(e);
}

/** lv_emul_string_limit - @elements, or what is left of them */
u32 lv_emul_string_limit(struct lv_emul *e, u32 elements)
{
	return e->insn.rep ? min_t(u64, elements, read_index(e, LV_RCX))
			   : elements;
}

/* Execute MOVS, STOS, LODS, CMPS or SCAS, or one iteration with REP. */
enum lv_emul_result lv_emul_string(struct lv_emul *e)
{
	const struct lv_insn *insn = &e->insn;
	unsigned int bytes = insn->op_bytes;
	struct lv_alu alu = { .dst = e->regs[LV_RAX],
			      .flags = e->rflags,
			      .bytes = bytes };
	bool write = insn->op == LV_OP_MOVS || insn->op == LV_OP_STOS;
	enum lv_emul_result r = LV_EMUL_DONE;
	gva_t linear = 0;

	if (insn->rep && !read_index(e, LV_RCX))
		return lv_emul_retire(e);

	if (uses_si(insn->op))
		r = lv_emul_linear(e, insn->seg, read_index(e, LV_RSI), bytes,
				   false, &linear);
	if (r == LV_EMUL_DONE && uses_si(insn->op))
		r = lv_emul_read(e, linear, &alu.dst, bytes);
	if (r == LV_EMUL_DONE && uses_di(insn->op))
		r = lv_emul_linear(e, LV_SEG_ES, read_index(e, LV_RDI), bytes,
				   write, &linear);
	if (r == LV_EMUL_DONE && compares(insn->op))
		r = lv_emul_read(e, linear, &alu.src, bytes);
	if (r == LV_EMUL_DONE && write)
		r = lv_emul_write(e, linear, &alu.dst, bytes);
	if (r != LV_EMUL_DONE)
		return r;

	if (insn->op == LV_OP_LODS)
		merge_reg(&e->regs[LV_RAX], alu.dst, bytes);
	if (compares(insn->op)) {
		lv_alu(&alu, LV_OP_CMP);
		e->rflags = alu.flags;
	}
	return lv_emul_string_done(e, 1);
}

/*
 * lv_emul_string_io - find out what an INS or OUTS transfers, or LV_EMUL_FAULT.
 * Offers as many elements at once as lie in one page, but only one if they go
 * backwards or are single-stepped. The caller moves some or all of them, then
 * calls lv_emul_string_done().
 */
enum lv_emul_result lv_emul_string_io(struct lv_emul *e,
				      struct lv_string_io *io)
{
	const struct lv_insn *insn = &e->insn;
	bool in = insn->op == LV_OP_INS;
	u64 offset = read_index(e, in ? LV_RDI : LV_RSI);
	u64 count = insn->rep ? read_index(e, LV_RCX) : 1;
	u8 seg = in ? LV_SEG_ES : insn->seg;
	unsigned int bytes = insn->op_bytes;
	enum lv_emul_result r;
	gva_t last;

	*io = (struct lv_string_io){ .bytes = bytes, .in = in };
	if (!count)
		return LV_EMUL_DONE;
	r = lv_emul_linear(e, seg, offset, bytes, in, &io->linear);
	if (r != LV_EMUL_DONE)
		return r;

	io->count = 1;
	if (e->rflags & (FLAG_DF | FLAG_TF))
		return LV_EMUL_DONE;
	count = min_t(u64, count, (4096 - (io->linear & 4095)) / bytes);
	if (count > 1 && lv_emul_linear(e, seg, offset, count * bytes, in,
					&last) == LV_EMUL_DONE)
		io->count = count;
	return LV_EMUL_DONE;
}
