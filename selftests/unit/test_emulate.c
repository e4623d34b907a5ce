// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instruction emulator against the real CPU: random instructions on random
 * operands, in 64-, 32- and 16-bit code, once emulated and once executed;
 * registers, flags, memory and faults have to agree.
 */
#include "emulate_native.h"
#include "tap.h"

#define ARITH_FLAGS 0x8d5
#define TF 0x100UL
#define DF 0x400

/* The emulator's memory: a copy of the child's. */
static u8 ram[NATIVE_DATA_ALL];
static u64 xmm[16][2];
static unsigned int va_bits = 48;

static struct {
	unsigned int calls;
	unsigned int again_at; /* this call answers LV_EMUL_AGAIN */
	unsigned int locked;
	bool written;
	bool disorder; /* read after write */
	bool lose_race; /* the next lv_emul_cmpxchg() finds another value */
	bool anything; /* at random, for fuzzing */
} access_log;

static u64 seed = 0x9e3779b97f4a7c15;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1d >> 8 ^ seed << 40;
}

static bool one_in(unsigned int n)
{
	return rnd() % n == 0;
}

/* Where @linear is in the copy, NULL if it is not accessible. */
static u8 *at(gva_t linear, bool write)
{
	if (linear - NATIVE_DATA < (write ? NATIVE_DATA_RW : NATIVE_DATA_ALL))
		return ram + (linear - NATIVE_DATA);
	if (linear - NATIVE_CODE < 4096 && !write)
		return native_code() + (linear - NATIVE_CODE);
	return NULL;
}

static enum lv_emul_result touch(struct lv_emul *e, gva_t linear,
				 unsigned int bytes, bool write)
{
	if (++access_log.calls == access_log.again_at)
		return LV_EMUL_AGAIN;
	if (access_log.anything && one_in(4))
		return one_in(2) ? LV_EMUL_AGAIN : LV_EMUL_UNHANDLED;
	for (unsigned int i = 0; i < bytes; i++) {
		if (at(linear + i, write))
			continue;
		e->fault = (struct lv_emul_fault){ .vector = 14,
						   .has_error = true,
						   .cr2 = linear + i };
		return LV_EMUL_FAULT;
	}
	return LV_EMUL_DONE;
}

enum lv_emul_result lv_emul_read(struct lv_emul *e, gva_t linear, void *buf,
				 unsigned int bytes)
{
	enum lv_emul_result r = touch(e, linear, bytes, e->write_intent);

	access_log.disorder |= access_log.written;
	if (r == LV_EMUL_DONE)
		memcpy(buf, at(linear, false), bytes);
	return r;
}

enum lv_emul_result lv_emul_write(struct lv_emul *e, gva_t linear,
				  const void *buf, unsigned int bytes)
{
	enum lv_emul_result r = touch(e, linear, bytes, true);

	if (r != LV_EMUL_DONE)
		return r;
	access_log.written = true;
	memcpy(at(linear, true), buf, bytes);
	return r;
}

enum lv_emul_result lv_emul_cmpxchg(struct lv_emul *e, gva_t linear,
				    const void *old, const void *new,
				    unsigned int bytes)
{
	enum lv_emul_result r = touch(e, linear, bytes, true);

	if (r != LV_EMUL_DONE)
		return r;
	access_log.locked++;
	if (access_log.lose_race || memcmp(at(linear, true), old, bytes))
		return LV_EMUL_AGAIN;
	access_log.written = true;
	memcpy(at(linear, true), new, bytes);
	return r;
}

void lv_emul_read_xmm(struct lv_emul *e, unsigned int nr, u64 val[2])
{
	(void)e;
	memcpy(val, xmm[nr], 16);
}

void lv_emul_write_xmm(struct lv_emul *e, unsigned int nr, const u64 val[2])
{
	(void)e;
	memcpy(xmm[nr], val, 16);
}

static enum lv_emul_result emulate(struct lv_emul *e, unsigned int again_at)
{
	memset(&access_log, 0, sizeof(access_log));
	access_log.again_at = again_at;
	return lv_emulate(e);
}

/* Ranges of opcodes that are emulated. */
static const struct {
	u8 map, first, last;
} opcodes[] = {
	{ 0, 0x00, 0x03 }, { 0, 0x08, 0x0b }, { 0, 0x10, 0x13 },
	{ 0, 0x18, 0x1b }, { 0, 0x20, 0x23 }, { 0, 0x28, 0x2b },
	{ 0, 0x30, 0x33 }, { 0, 0x38, 0x3b }, { 0, 0x50, 0x5f },
	{ 0, 0x63, 0x63 }, { 0, 0x68, 0x6b }, { 0, 0x80, 0x8c },
	{ 0, 0x8f, 0x8f }, { 0, 0xa0, 0xa7 }, { 0, 0xaa, 0xaf },
	{ 0, 0xc0, 0xc1 }, { 0, 0xc6, 0xc7 }, { 0, 0xd0, 0xd3 },
	{ 0, 0xf6, 0xf7 }, { 0, 0xfe, 0xff }, { 1, 0x10, 0x11 },
	{ 1, 0x28, 0x29 }, { 1, 0x2b, 0x2b }, { 1, 0x40, 0x4f },
	{ 1, 0x6e, 0x6f }, { 1, 0x7e, 0x7f }, { 1, 0x90, 0x9f },
	{ 1, 0xa3, 0xa3 }, { 1, 0xab, 0xab }, { 1, 0xaf, 0xb1 },
	{ 1, 0xb3, 0xb3 }, { 1, 0xb6, 0xb7 }, { 1, 0xba, 0xc1 },
	{ 1, 0xc3, 0xc3 }, { 1, 0xc7, 0xc7 }, { 1, 0xd6, 0xd6 },
	{ 1, 0xe7, 0xe7 }, { 1, 0xf0, 0xf0 }, { 2, 0x2a, 0x2a },
	{ 2, 0xf0, 0xf1 },
};

struct subject {
	u8 bytes[15];
	u8 data_seg[LV_NR_SEGS]; /* enum native_seg, outside of 64-bit mode */
	struct lv_emul e;
	int error; /* from lv_decode() */
};

/* Take the opcodes in turn, everything else at random. */
static void pick_bytes(struct subject *s, unsigned int nr)
{
	static const u8 segs[] = { 0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
	unsigned int map = opcodes[nr % ARRAY_SIZE(opcodes)].map;
	u8 first = opcodes[nr % ARRAY_SIZE(opcodes)].first;
	u8 last = opcodes[nr % ARRAY_SIZE(opcodes)].last;
	unsigned int n = 0;

	for (int i = 0; i < 15; i++)
		s->bytes[i] = rnd();
	if (one_in(4))
		s->bytes[n++] = segs[rnd() % ARRAY_SIZE(segs)];
	if (one_in(3))
		s->bytes[n++] = 0x66;
	if (one_in(5))
		s->bytes[n++] = 0x67;
	if (one_in(12))
		s->bytes[n++] = 0xf0;
	if (one_in(3))
		s->bytes[n++] = 0xf2 | rnd() % 2;
	if (s->e.mode == LV_MODE_64 && one_in(2))
		s->bytes[n++] = 0x40 | rnd() % 16;
	if (map)
		s->bytes[n++] = 0x0f;
	if (map == 2)
		s->bytes[n++] = 0x38;
	s->bytes[n++] = first + rnd() % (last - first + 1);
}

/* An offset into the data, often near the end of a page or of everything. */
static s64 pick_offset(void)
{
	s64 x = rnd() % (NATIVE_DATA_RW - 32);

	if (one_in(6))
		x = 4096 * (rnd() % 5) + rnd() % 32 - 16;
	else if (one_in(12))
		x = NATIVE_DATA_RW + rnd() % 4096;
	return one_in(2) ? x & ~15 : x;
}

static u64 pick_address(const struct subject *s, u8 seg)
{
	const struct lv_emul *e = &s->e;
	s64 x = pick_offset();

	if (e->mode == LV_MODE_64) {
		if (one_in(30))
			x += (1ULL << (va_bits - 1)) - NATIVE_DATA;
		return NATIVE_DATA + x -
		       (seg >= LV_SEG_FS ? e->seg[seg].base : 0);
	}
	return (e->seg[seg].base ? 0 : NATIVE_DATA) + x;
}

/* Overwrite the displacement, which no register makes up for. */
static void patch_disp(struct subject *s, u64 disp)
{
	struct lv_insn *insn = &s->e.insn;
	unsigned int width = insn->addr_bytes;

	if (width == 8 && insn->has_modrm)
		width = 4;
	for (unsigned int i = 1; i + width <= insn->length; i++) {
		if (!memcmp(s->bytes + i, &insn->disp, width)) {
			memcpy(s->bytes + i, &disp, width);
			break;
		}
	}
	lv_decode(insn, s->bytes, 15, s->e.mode);
}

static void aim_memory_operand(struct subject *s)
{
	struct lv_emul *e = &s->e;
	const struct lv_insn *insn = &e->insn;
	u64 offset = pick_address(s, insn->seg);
	u64 width = ~0ULL >> (64 - 8 * insn->addr_bytes);
	u64 rest = offset - insn->disp;

	if (insn->base == LV_REG_RIP) {
		patch_disp(s, offset - e->rip - insn->length);
	} else if (insn->base == LV_REG_NONE && insn->index == LV_REG_NONE) {
		patch_disp(s, offset);
	} else if (insn->base == insn->index) {
		e->regs[insn->base] = (rest & width) / (1 + (1 << insn->scale));
	} else if (insn->base == LV_REG_NONE) {
		e->regs[insn->index] = (rest & width) >> insn->scale;
	} else {
		if (insn->index != LV_REG_NONE)
			rest -= e->regs[insn->index] << insn->scale;
		e->regs[insn->base] = rest;
	}
}

static void pick_registers(struct subject *s)
{
	static const u64 special[] = { 0,	   1,	       0x7f,
				       0x80,	   0xff,       0x7fff,
				       0x8000,	   0x7fffffff, 0x80000000,
				       0xffffffff, 1ULL << 63, ~0ULL };
	struct lv_emul *e = &s->e;

	for (int i = 0; i < LV_NR_GPRS; i++)
		e->regs[i] = one_in(3) ? special[rnd() % 12] : rnd();
	e->rflags = 0x202 | (rnd() & (ARITH_FLAGS | DF));
	e->regs[LV_RSI] = pick_address(s, LV_SEG_DS);
	e->regs[LV_RDI] = pick_address(s, LV_SEG_ES);
	e->regs[LV_RSP] = pick_address(s, LV_SEG_SS);
	if (one_in(2))
		e->regs[LV_RCX] = rnd() % 4;
}

/* Make comparisons hit, jumps land, and bit strings stay in memory. */
static void adjust_operands(struct subject *s)
{
	struct lv_emul *e = &s->e;
	struct lv_insn *insn = &e->insn;
	u64 *data = (u64 *)(ram + rnd() % (NATIVE_DATA_RW - 32));

	switch (insn->op) {
	case LV_OP_BT ... LV_OP_BTC:
		e->regs[insn->reg] = rnd() % 0x20000 - 0x10000;
		break;
	case LV_OP_CMPXCHG:
		if (one_in(2) && !insn->mem)
			e->regs[LV_RAX] = e->regs[insn->rm];
		break;
	case LV_OP_CALL:
	case LV_OP_JMP:
		/* Targets that exist, as far as the operand is aligned. */
		for (int i = 0; i < NATIVE_DATA_RW; i += 8)
			memset(ram + i + 5, 0, 3);
		break;
	case LV_OP_SCAS:
	case LV_OP_CMPS:
		if (one_in(2))
			memset(ram, data[0], NATIVE_DATA_RW);
		e->regs[LV_RAX] = data[rnd() % 2];
		break;
	}
}

/* Copy what is at the memory operand into the accumulator. */
static void match_accumulator(struct subject *s)
{
	struct lv_emul probe = s->e;
	u64 val[2] = {};

	if ((probe.insn.op != LV_OP_CMPXCHG &&
	     probe.insn.op != LV_OP_CMPXCHG8B) ||
	    !probe.insn.mem || one_in(3))
		return;
	probe.insn.lock = false;
	probe.insn.op = LV_OP_MOV;
	probe.insn.enc = LV_ENC_RM;
	probe.insn.rex |= 0x40;
	if (s->e.insn.op == LV_OP_CMPXCHG8B) {
		probe.insn.src_bytes = max(probe.insn.op_bytes, 4);
		probe.insn.op_bytes = 8;
	}
	probe.insn.reg = LV_RAX;
	if (emulate(&probe, 0) != LV_EMUL_DONE)
		return;
	val[0] = probe.regs[LV_RAX];
	probe.insn.disp += probe.insn.src_bytes;
	probe.rip = s->e.rip;
	if (emulate(&probe, 0) == LV_EMUL_DONE)
		val[1] = probe.regs[LV_RAX];
	/* Nearly equal is not equal. */
	if (one_in(3))
		val[rnd() % 2] ^= 1ULL << rnd() % 64;
	/* Only if that does not move the operand. */
	if (s->e.insn.base == LV_RAX || s->e.insn.index == LV_RAX)
		return;
	s->e.regs[LV_RAX] = val[0];
	if (s->e.insn.op == LV_OP_CMPXCHG8B && s->e.insn.base != LV_RDX &&
	    s->e.insn.index != LV_RDX)
		s->e.regs[LV_RDX] = val[1];
}

static void pick_segments(struct subject *s)
{
	static const u8 data[] = { NATIVE_FLAT,		 NATIVE_FLAT,
				   NATIVE_FLAT,		 NATIVE_FLAT,
				   NATIVE_DATA16,	 NATIVE_DATA16,
				   NATIVE_EXPAND_DOWN32, NATIVE_EXPAND_DOWN16,
				   NATIVE_READ_ONLY,	 NATIVE_NULL };
	static const u8 stack[] = { NATIVE_FLAT,	 NATIVE_FLAT,
				    NATIVE_DATA16,	 NATIVE_DATA16,
				    NATIVE_DATA16,	 NATIVE_EXPAND_DOWN32,
				    NATIVE_EXPAND_DOWN16 };
	struct lv_emul *e = &s->e;

	memset(e->seg, 0, sizeof(e->seg));
	if (e->mode == LV_MODE_64) {
		e->seg[LV_SEG_FS].base = rnd() & 0xffffff;
		e->seg[LV_SEG_GS].base = 0x7f0000000000;
		e->seg[LV_SEG_CS].selector = native_selector(NATIVE_CODE64);
		e->seg[LV_SEG_SS].selector = native_selector(NATIVE_FLAT);
		return;
	}
	for (int i = 0; i < LV_NR_SEGS; i++) {
		s->data_seg[i] = data[rnd() % ARRAY_SIZE(data)];
		if (e->mode == LV_MODE_16 && s->data_seg[i] == NATIVE_FLAT)
			s->data_seg[i] = NATIVE_DATA16;
	}
	s->data_seg[LV_SEG_SS] = stack[rnd() % ARRAY_SIZE(stack)];
	s->data_seg[LV_SEG_CS] = NATIVE_CODE16;
	if (e->mode == LV_MODE_32)
		s->data_seg[LV_SEG_CS] = one_in(2) ? NATIVE_EXEC_ONLY
						   : NATIVE_CODE32;
	for (int i = 0; i < LV_NR_SEGS; i++)
		e->seg[i] = native_segment(s->data_seg[i]);
}

static void pick_subject(struct subject *s, unsigned int nr,
			 enum lv_cpu_mode mode)
{
	struct lv_emul *e = &s->e;

	memset(s, 0, sizeof(*s));
	e->mode = mode;
	e->protected_mode = true;
	e->va_bits = va_bits;
	pick_segments(s);
	e->rip = NATIVE_CODE + 256 - e->seg[LV_SEG_CS].base;
	pick_bytes(s, nr);
	pick_registers(s);
	s->error = lv_decode(&e->insn, s->bytes, 15, mode);
	if (s->error)
		return;
	if (e->insn.op < LV_OP_MOVS)
		adjust_operands(s);
	if (e->insn.mem)
		aim_memory_operand(s);
	match_accumulator(s);
	if (mode == LV_MODE_64)
		return;
	for (int i = 0; i < LV_NR_GPRS; i++)
		e->regs[i] = i < 8 ? (u32)e->regs[i] : 0;
}

static unsigned long long *native_reg(struct user_regs_struct *r, int nr)
{
	unsigned long long *const by_nr[] = {
		&r->rax, &r->rcx, &r->rdx, &r->rbx, &r->rsp, &r->rbp,
		&r->rsi, &r->rdi, &r->r8,  &r->r9,  &r->r10, &r->r11,
		&r->r12, &r->r13, &r->r14, &r->r15,
	};

	return by_nr[nr];
}

static enum native_stop run_natively(const struct subject *s,
				     struct native_cpu *cpu,
				     struct user_fpregs_struct *fp)
{
	const struct lv_emul *e = &s->e;
	struct user_regs_struct *r = &cpu->regs;

	memset(cpu, 0, sizeof(*cpu));
	for (int i = 0; i < LV_NR_GPRS; i++)
		*native_reg(r, i) = e->regs[i];
	r->rip = e->rip;
	r->eflags = e->rflags;
	r->cs = native_selector(NATIVE_CODE64);
	r->ss = native_selector(NATIVE_FLAT);
	if (e->mode != LV_MODE_64) {
		r->es = native_selector(s->data_seg[LV_SEG_ES]);
		r->cs = native_selector(s->data_seg[LV_SEG_CS]);
		r->ss = native_selector(s->data_seg[LV_SEG_SS]);
		r->ds = native_selector(s->data_seg[LV_SEG_DS]);
		r->fs = native_selector(s->data_seg[LV_SEG_FS]);
		r->gs = native_selector(s->data_seg[LV_SEG_GS]);
	}
	r->fs_base = e->seg[LV_SEG_FS].base;
	r->gs_base = e->seg[LV_SEG_GS].base;
	if (e->insn.op == LV_OP_SSE_LOAD || e->insn.op == LV_OP_SSE_STORE) {
		memset(fp, 0, sizeof(*fp));
		fp->cwd = 0x37f;
		fp->mxcsr = 0x1f80;
		memcpy(fp->xmm_space, xmm, sizeof(xmm));
		cpu->fp = fp;
	}
	memcpy(native_code() + 256, s->bytes, 15);
	memcpy(native_data(), ram, sizeof(ram));
	return native_run(cpu);
}

/* Does the emulator's outcome say the same as the CPU's? */
static bool same_outcome(const struct lv_emul *e, enum lv_emul_result r,
			 enum native_stop stop, const struct native_cpu *cpu)
{
	if (r == LV_EMUL_DONE || r == LV_EMUL_REP)
		return stop == NATIVE_STEP;
	if (r != LV_EMUL_FAULT)
		return false;
	/* Two accesses that both fault: which one is first varies. */
	if (e->insn.op == LV_OP_CMPS || e->insn.op == LV_OP_CALL)
		return stop != NATIVE_STEP;
	/* Some CPUs check the address without the bit offset, too. */
	if (e->insn.op >= LV_OP_BT && e->insn.op <= LV_OP_BTC &&
	    e->mode == LV_MODE_64)
		return stop != NATIVE_STEP;
	switch (stop) {
	case NATIVE_UD:
		return e->fault.vector == 6;
	case NATIVE_SS:
		return e->fault.vector == 12;
	case NATIVE_GP:
		return e->fault.vector == 13;
	case NATIVE_PF:
		return e->fault.vector == 14 &&
		       e->fault.cr2 == cpu->fault_address;
	default:
		return false;
	}
}

/* What CPUs leave behind at a fault varies in two cases. */
static bool loose_end(const struct lv_emul *e, enum lv_emul_result r)
{
	u8 op = e->insn.op;
	bool string = op >= LV_OP_MOVS && op <= LV_OP_SCAS;

	return r == LV_EMUL_FAULT &&
	       (op == LV_OP_CALL || (string && e->insn.addr_bytes == 4));
}

static u64 defined_flags(const struct lv_emul *e, enum lv_emul_result r)
{
	u8 op = e->insn.op;

	/* Between iterations of REP CMPS the flags are not there yet. */
	if (r == LV_EMUL_REP && (op == LV_OP_CMPS || op == LV_OP_SCAS))
		return DF;
	/* OF is undefined after a rotation by more than one bit. */
	if (op >= LV_OP_ROL && op <= LV_OP_SAR && e->insn.enc == LV_ENC_MI &&
	    e->insn.imm != 1)
		return (ARITH_FLAGS & ~0x800) | DF;
	return ARITH_FLAGS | DF;
}

static const char *difference(struct lv_emul *e, enum lv_emul_result r,
			      struct native_cpu *cpu)
{
	static char what[80];
	u64 mask = e->mode == LV_MODE_64 ? ~0ULL : ~0U;

	for (int i = 0; i < (e->mode == LV_MODE_64 ? 16 : 8); i++) {
		u64 got = e->regs[i] & mask;
		u64 want = *native_reg(&cpu->regs, i) & mask;

		if (got == want)
			continue;
		snprintf(what, sizeof(what), "register %d: %#lx, CPU %#lx", i,
			 (ulong)got, (ulong)want);
		return what;
	}
	if (e->rip != cpu->regs.rip)
		return "rip";
	if ((e->rflags ^ cpu->regs.eflags) & defined_flags(e, r)) {
		snprintf(what, sizeof(what), "flags: %#lx, CPU %#llx",
			 (ulong)e->rflags, cpu->regs.eflags);
		return what;
	}
	if (memcmp(ram, native_data(), sizeof(ram)))
		return "memory";
	if (cpu->fp && memcmp(xmm, cpu->fp->xmm_space, sizeof(xmm)))
		return "xmm";
	return NULL;
}

static void report(const struct subject *s, const char *what)
{
	const struct lv_emul *e = &s->e;

	printf("# %s, %d-bit, op %u, vector %u, cr2 %#lx:", what, e->mode * 8,
	       e->insn.op, e->fault.vector, (ulong)e->fault.cr2);
	for (int i = 0; i < e->insn.length; i++)
		printf(" %02x", s->bytes[i]);
	printf("\n");
}

/* Start over after the n-th access: nothing may have changed until then. */
static const char *check_again(const struct subject *s)
{
	u64 old_xmm[16][2];
	struct lv_emul e;

	memcpy(old_xmm, xmm, sizeof(xmm));
	for (unsigned int n = 1; n < 4; n++) {
		e = s->e;
		memcpy(ram, native_data(), sizeof(ram));
		if (emulate(&e, n) != LV_EMUL_AGAIN)
			break;
		if (access_log.written ||
		    memcmp(ram, native_data(), sizeof(ram)))
			return "written before AGAIN";
		e.write_intent = s->e.write_intent;
		if (memcmp(&e, &s->e, sizeof(e)) ||
		    memcmp(old_xmm, xmm, sizeof(xmm)))
			return "state changed with AGAIN";
	}
	memcpy(ram, native_data(), sizeof(ram));
	memcpy(xmm, old_xmm, sizeof(xmm));
	return NULL;
}

struct tally {
	unsigned int done, faults, undefined, skipped, wrong;
	u64 ops; /* that completed, with a memory operand if they take one */
};

static bool worth_it(const struct subject *s)
{
	const struct lv_insn *insn = &s->e.insn;

	/* XOP, which some CPUs decode without having it */
	if (insn->opcode == 0x8f && insn->op == LV_OP_UNDEFINED)
		return false;
	if (s->error)
		return true;
	switch (insn->op) {
	case LV_OP_MOVSX:
		/* MOVSXD to 16 bits: AMD reads 32 of them, Intel 16 */
		return insn->opcode != 0x63 || insn->op_bytes != 2;
	case LV_OP_CALL:
	case LV_OP_JMP:
		/* AMD has 16-bit branches in 64-bit mode, Intel not */
		return s->e.mode != LV_MODE_64 || insn->op_bytes == 8;
	case LV_OP_MOVS ... LV_OP_SCAS:
		/* With a count of 0, Intel clears upper halves */
		return insn->addr_bytes != 4 || !insn->rep ||
		       (u32)s->e.regs[LV_RCX] || s->e.mode != LV_MODE_64;
	case LV_OP_NONE:
		return false;
	}
	return true;
}

static void check_subject(struct subject *s, struct tally *t)
{
	struct user_fpregs_struct fp;
	struct native_cpu cpu;
	enum native_stop stop;
	enum lv_emul_result r;
	const char *what;

	if (!worth_it(s)) {
		t->skipped++;
		return;
	}
	memcpy(native_data(), ram, sizeof(ram));
	what = check_again(s);
	stop = run_natively(s, &cpu, &fp);
	r = emulate(&s->e, 0);
	if (!what && access_log.disorder)
		what = "read after write";
	if (!what && !same_outcome(&s->e, r, stop, &cpu))
		what = "outcome";
	if (!what && !loose_end(&s->e, r))
		what = difference(&s->e, r, &cpu);
	if (r == LV_EMUL_FAULT) {
		t->faults++;
	} else {
		t->done++;
		if (s->e.insn.mem || s->e.insn.op >= LV_OP_MOVS)
			t->ops |= BIT_ULL(s->e.insn.op);
	}
	t->undefined += stop == NATIVE_UD;
	if (what) {
		t->wrong++;
		report(s, what);
		printf("#   result %d, CPU stop %d at %#lx\n", r, stop,
		       (ulong)cpu.fault_address);
	}
	memcpy(ram, native_data(), sizeof(ram));
}

static void test_against_cpu(enum lv_cpu_mode mode, unsigned int rounds)
{
	struct tally t = {};
	struct subject s;

	for (unsigned int i = 0; i < sizeof(ram); i++)
		ram[i] = rnd();
	for (unsigned int i = 0; i < rounds * 40 && t.wrong < 20; i++) {
		for (unsigned int j = 0; j < 32; j++)
			ram[rnd() % NATIVE_DATA_RW] = rnd();
		xmm[i % 16][i / 16 % 2] = rnd();
		pick_subject(&s, i, mode);
		check_subject(&s, &t);
	}
	ok(!t.wrong, "random %d-bit instructions do what the CPU does",
	   mode * 8);
	printf("#   %u completed, %u faulted (%u #UD), %u not compared\n",
	       t.done, t.faults, t.undefined, t.skipped);
	ok(t.done > t.faults && t.done > t.skipped, "most of them complete");
	is(t.ops, GENMASK_ULL(LV_OP_SCAS, LV_OP_ADD),
	   "each operation completes on memory");
}

/* A 32-bit machine with flat segments and all registers in the data. */
static void set_up(struct lv_emul *e, enum lv_cpu_mode mode, const u8 *bytes,
		   unsigned int n)
{
	memset(e, 0, sizeof(*e));
	memset(ram, 0x55, sizeof(ram));
	memset(&access_log, 0, sizeof(access_log));
	e->mode = mode;
	e->va_bits = va_bits;
	e->protected_mode = true;
	e->rflags = 0x10202; /* RF */
	e->rip = 0x1000;
	for (int i = 0; i < LV_NR_SEGS; i++)
		e->seg[i] = native_segment(NATIVE_FLAT);
	for (int i = 0; i < LV_NR_GPRS; i++)
		e->regs[i] = NATIVE_DATA + 16 * i;
	lv_decode(&e->insn, bytes, n, mode);
}

#define SET_UP(e, mode, ...) set_up(e, mode, (const u8[15]){ __VA_ARGS__ }, 15)

static void test_faults(void)
{
	struct lv_emul e;

	SET_UP(&e, LV_MODE_32, 0x89, 0x03); /* mov %eax, (%ebx) */
	e.seg[LV_SEG_DS].limit = 0xffff;
	is(lv_emulate(&e), LV_EMUL_FAULT, "beyond the limit");
	is(e.fault.vector, 13, "#GP");
	ok(e.fault.has_error && !e.fault.error, "with error code 0");
	is(e.rflags, 0x10202, "RF stays");

	e.protected_mode = false;
	is(lv_emulate(&e), LV_EMUL_FAULT, "real mode has limits");
	ok(!e.fault.has_error, "but no error codes");
	e.regs[LV_RBX] = 0xfffc;
	e.seg[LV_SEG_DS].base = NATIVE_DATA - 0xf000;
	e.seg[LV_SEG_DS].type = 9;
	is(lv_emulate(&e), LV_EMUL_DONE, "real mode writes to code");
	is(e.rflags, 0x202, "RF is cleared");
	is(e.rip, 0x1002, "RIP is advanced");

	e.rip = 0x1000;
	e.protected_mode = true;
	is(lv_emulate(&e), LV_EMUL_FAULT, "protected mode does not");
	e.rflags |= BIT(17);
	is(lv_emulate(&e), LV_EMUL_DONE, "virtual-8086 mode does");

	SET_UP(&e, LV_MODE_64, 0xf0, 0x89, 0x03);
	is(lv_emulate(&e), LV_EMUL_FAULT, "LOCK MOV");
	ok(e.fault.vector == 6 && !e.fault.has_error, "#UD, no error code");
	SET_UP(&e, LV_MODE_64, 0x89, 0x03);
	e.regs[LV_RBX] = 1ULL << 50;
	e.va_bits = 57;
	is(lv_emulate(&e), LV_EMUL_FAULT, "canonical for 57 bits");
	is(e.fault.vector, 14, "is #PF");
	e.va_bits = 48;
	is(lv_emulate(&e), LV_EMUL_FAULT, "not for 48 bits");
	is(e.fault.vector, 13, "is #GP");
	SET_UP(&e, LV_MODE_64, 0x0f, 0xa2);
	is(lv_emulate(&e), LV_EMUL_UNHANDLED, "CPUID is not emulated");
	SET_UP(&e, LV_MODE_64, 0xe4, 0x60);
	is(lv_emulate(&e), LV_EMUL_UNHANDLED, "nor is IN");
}

static void test_locked(void)
{
	struct lv_emul e;

	SET_UP(&e, LV_MODE_64, 0xf0, 0xff, 0x03); /* lock incl (%rbx) */
	access_log.lose_race = true;
	is(lv_emulate(&e), LV_EMUL_AGAIN, "a lost race starts over");
	ok(e.rip == 0x1000 && ram[48] == 0x55, "nothing happened");
	access_log.lose_race = false;
	is(lv_emulate(&e), LV_EMUL_DONE, "a won race completes");
	is(ram[48], 0x56, "and stores the result");

	SET_UP(&e, LV_MODE_64, 0xff, 0x03);
	ok(lv_emulate(&e) == LV_EMUL_DONE && !access_log.locked,
	   "INC without LOCK is not locked");
	SET_UP(&e, LV_MODE_64, 0x87, 0x0b);
	ok(lv_emulate(&e) == LV_EMUL_DONE && access_log.locked == 1,
	   "XCHG without LOCK is locked");

	SET_UP(&e, LV_MODE_64, 0xff, 0x03);
	e.regs[LV_RBX] = NATIVE_DATA + NATIVE_DATA_RW;
	ok(lv_emulate(&e) == LV_EMUL_FAULT && access_log.calls == 1,
	   "INC of a read-only byte faults before it reads");
	SET_UP(&e, LV_MODE_64, 0x03, 0x03);
	e.regs[LV_RBX] = NATIVE_DATA + NATIVE_DATA_RW;
	is(lv_emulate(&e), LV_EMUL_DONE, "ADD from a read-only byte does not");
}

static void test_string_io(void)
{
	struct lv_string_io io;
	struct lv_emul e;

	SET_UP(&e, LV_MODE_32, 0xf3, 0x66, 0x6d); /* rep insw */
	e.regs[LV_RCX] = 10;
	e.regs[LV_RDI] = NATIVE_DATA + 4096 - 8;
	is(lv_emul_string_io(&e, &io), LV_EMUL_DONE, "REP INSW");
	ok(io.in && io.bytes == 2 && io.linear == e.regs[LV_RDI],
	   "where and what");
	is(io.count, 4, "as much as fits into the page");
	is(lv_emul_string_done(&e, 3), LV_EMUL_REP, "three are done");
	ok(e.regs[LV_RCX] == 7 && e.rip == 0x1000 &&
		   e.regs[LV_RDI] == NATIVE_DATA + 4096 - 2,
	   "registers advance");
	e.regs[LV_RDI]++;
	is(lv_emul_string_io(&e, &io), LV_EMUL_DONE, "across the page");
	is(io.count, 1, "one at a time");
	e.regs[LV_RDI]++;
	is(lv_emul_string_io(&e, &io), LV_EMUL_DONE, "the rest");
	is(io.count, 7, "at once");
	e.rflags |= TF;
	lv_emul_string_io(&e, &io);
	is(io.count, 1, "unless single-stepped");
	e.rflags &= ~TF;
	e.seg[LV_SEG_ES].limit = NATIVE_DATA + 4096 + 4;
	lv_emul_string_io(&e, &io);
	is(io.count, 1, "or the segment ends before");
	is(lv_emul_string_done(&e, 7), LV_EMUL_DONE, "all are done");
	is(e.rip, 0x1003, "RIP advances");
	is(lv_emul_string_io(&e, &io), LV_EMUL_DONE, "REP with 0");
	is(io.count, 0, "transfers nothing");
	e.rip = 0x1000;
	is(lv_emul_string_done(&e, 0), LV_EMUL_DONE, "and is complete");
	is(e.rip, 0x1003, "RIP advances");

	/* rep outsb %es:(%si), backwards */
	SET_UP(&e, LV_MODE_16, 0xf3, 0x26, 0x6e);
	e.regs[LV_RCX] = 2;
	e.rflags |= DF;
	e.seg[LV_SEG_ES].base = 0x50000;
	e.regs[LV_RSI] = 0xffff0000;
	is(lv_emul_string_io(&e, &io), LV_EMUL_DONE, "REP OUTSB");
	ok(!io.in && io.bytes == 1 && io.count == 1 && io.linear == 0x50000,
	   "where and what");
	is(lv_emul_string_done(&e, 1), LV_EMUL_REP, "the first of two");
	is(e.regs[LV_RSI], 0xffffffff, "SI wraps in 16 bits");
	e.seg[LV_SEG_ES].limit = 0xfff;
	is(lv_emul_string_io(&e, &io), LV_EMUL_FAULT, "OUTSB at the limit");
	is(e.fault.vector, 13, "is #GP");
}

/* Whatever comes in: no sanitizer report, no change without success. */
static void test_fuzz(void)
{
	static const u8 modes[] = { LV_MODE_16, LV_MODE_32, LV_MODE_64 };
	unsigned int broken = 0, done = 0;
	struct lv_emul e, before;
	struct subject s;

	for (unsigned int i = 0; i < 300000; i++) {
		pick_subject(&s, i, modes[i % 3]);
		if (one_in(2))
			lv_decode(&s.e.insn, (u8 *)&s.e.regs, rnd() % 16,
				  s.e.mode);
		for (int j = 0; j < LV_NR_SEGS; j++) {
			s.e.seg[j].type = rnd();
			s.e.seg[j].present = rnd() % 8;
		}
		s.e.protected_mode = rnd() % 4;
		before = e = s.e;
		memset(&access_log, 0, sizeof(access_log));
		access_log.anything = true;
		switch (lv_emulate(&e)) {
		case LV_EMUL_DONE:
		case LV_EMUL_REP:
			done++;
			break;
		default:
			broken += memcmp(e.regs, before.regs, sizeof(e.regs)) ||
				  e.rip != before.rip ||
				  e.rflags != before.rflags ||
				  access_log.written;
		}
	}
	is(broken, 0, "nothing changes without success");
	ok(done > 50000, "and many succeed");
}

/* Five-level paging moves the hole between canonical addresses. */
static void find_va_bits(void)
{
	FILE *f = fopen("/proc/cpuinfo", "r");
	char word[64];

	while (f && fscanf(f, "%63s", word) == 1)
		if (!strcmp(word, "la57"))
			va_bits = 57;
	if (f)
		fclose(f);
}

int main(int argc, char **argv)
{
	unsigned int rounds = argc > 1 ? atoi(argv[1]) : 1500;
	const char *reason = native_start();

	find_va_bits();
	if (reason) {
		ok(true, "comparison with the CPU # SKIP %s", reason);
	} else {
		test_against_cpu(LV_MODE_64, rounds);
		test_against_cpu(LV_MODE_32, rounds);
		test_against_cpu(LV_MODE_16, rounds);
	}
	test_faults();
	test_locked();
	test_string_io();
	test_fuzz();
	return tap_done();
}
