// SPDX-License-Identifier: GPL-2.0-only
/*
 * Instruction decoder: fields by table, lengths against the real CPU. The CPU
 * tells the length by fetching: with the instruction at the end of a page, it
 * faults on the next page exactly if it needs more bytes.
 */
#include "emulate_native.h"
#include "tap.h"

static u64 seed = 0x9e3779b97f4a7c15;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1d >> 8;
}

/* An instruction with this opcode and everything else random. */
static void random_insn(u8 *bytes, unsigned int map, u8 opcode,
			enum lv_cpu_mode mode)
{
	static const u8 prefixes[] = { 0xf0, 0x66, 0xf2, 0xf3, 0x67, 0x26,
				       0x2e, 0x36, 0x3e, 0x64, 0x65 };
	/* The first ones make VEX undefined, and often the rest too. */
	unsigned int first = map >= 4 && rnd() % 8 ? 4 : rnd() % 4;
	unsigned int n = 0;

	for (int i = 0; i < 15; i++)
		bytes[i] = rnd();
	while (rnd() % 2 && n < 4)
		bytes[n++] = prefixes[first + rnd() % (11 - first)];
	if (mode == LV_MODE_64 && rnd() % (map < 4 ? 3 : 16) == 0)
		bytes[n++] = 0x40 | rnd() % 16;
	switch (map) {
	case 1:
	case 2:
	case 3:
		bytes[n++] = 0x0f;
		if (map > 1)
			bytes[n++] = map == 2 ? 0x38 : 0x3a;
		break;
	case 4:
		bytes[n++] = 0xc5;
		bytes[n++] = rnd() | (mode == LV_MODE_64 ? 0 : 0xc0) |
			     rnd() % 2 * 0x78;
		break;
	case 5:
		bytes[n++] = 0xc4;
		bytes[n++] = (rnd() & 0xe0) | (mode == LV_MODE_64 ? 0 : 0xc0) |
			     (1 + rnd() % 3);
		bytes[n++] = rnd() | rnd() % 2 * 0x78;
		break;
	case 6:
		bytes[n++] = 0x62;
		bytes[n++] = (rnd() & 0xf0) | (mode == LV_MODE_64 ? 0 : 0xc0) |
			     rnd() % 8;
		bytes[n++] = rnd() | 0x7c;
		bytes[n++] = rnd() | 8;
		break;
	}
	bytes[n] = opcode;
}

/* Every address that a register can give is noncanonical: #GP, never #PF. */
static void init_cpu(struct native_cpu *cpu, enum lv_cpu_mode mode)
{
	unsigned long long *r = (unsigned long long *)&cpu->regs;
	u16 data = native_selector(NATIVE_FLAT);

	memset(cpu, 0, sizeof(*cpu));
	for (unsigned int i = 0; i < 15; i++)
		r[i] = 0x4141000050000000 + (i << 20);
	cpu->regs.rax = -1; /* not a system call */
	cpu->regs.rsp = 0x4141000060000000;
	cpu->regs.eflags = 0x202;
	cpu->regs.ss = data;
	cpu->regs.cs = native_selector(mode == LV_MODE_64   ? NATIVE_CODE64
				       : mode == LV_MODE_32 ? NATIVE_CODE32
							    : NATIVE_CODE16);
	if (mode == LV_MODE_64)
		return;
	cpu->regs.ds = data;
	cpu->regs.es = data;
}

/* Give the CPU just @n bytes. True if it wants more; *ud if it knows none. */
static bool cpu_wants_more(const u8 *bytes, unsigned int n,
			   enum lv_cpu_mode mode, bool *ud)
{
	u64 base = mode == LV_MODE_16 ? NATIVE_CODE : 0;
	struct native_cpu cpu;
	enum native_stop stop;
	u64 start;

	init_cpu(&cpu, mode);
	start = NATIVE_CODE_END - n - base;
	cpu.regs.rip = start;
	memcpy(native_code() + 4096 - n, bytes, n);
	stop = native_run(&cpu);
	*ud = stop == NATIVE_UD;
	return stop == NATIVE_PF && cpu.fault_address == NATIVE_CODE_END &&
	       cpu.regs.rip == start;
}

struct tally {
	unsigned int agreed;
	unsigned int undefined; /* for the CPU */
	unsigned int wrong;
};

/* What AMD and Intel decode differently is not the CPU's to judge. */
static bool vendors_differ(const struct lv_insn *insn, enum lv_cpu_mode mode)
{
	if (insn->vex)
		return false;
	if (mode == LV_MODE_64 && insn->opsize &&
	    ((insn->map == LV_MAP_PRIMARY && (insn->opcode & ~1) == 0xe8) ||
	     (insn->map == LV_MAP_0F && (insn->opcode & ~15) == 0x80)))
		return true;
	return insn->map == LV_MAP_0F && insn->opcode == 0x78;
}

static void wrong(struct tally *t, const char *what, const u8 *bytes,
		  enum lv_cpu_mode mode, const struct lv_insn *insn)
{
	t->wrong++;
	printf("# %s, %d-bit, length %u:", what, mode * 8, insn->length);
	for (int i = 0; i < 15; i++)
		printf(" %02x", bytes[i]);
	printf("\n");
}

static void check_length(const u8 *bytes, enum lv_cpu_mode mode,
			 struct tally *t)
{
	struct lv_insn insn;
	int err = lv_decode(&insn, bytes, 15, mode);
	bool more, ud;

	/* If it is too long, the CPU may say so before it says #UD. */
	if (vendors_differ(&insn, mode) || (err && insn.length == 15))
		return;
	more = cpu_wants_more(bytes, 15, mode, &ud);
	if (ud) {
		t->undefined++;
	} else if (err) {
		wrong(t, "CPU knows it", bytes, mode, &insn);
	} else if (more || cpu_wants_more(bytes, insn.length, mode, &ud)) {
		wrong(t, "CPU wants more", bytes, mode, &insn);
	} else if (!cpu_wants_more(bytes, insn.length - 1, mode, &ud) && !ud) {
		wrong(t, "CPU wants less", bytes, mode, &insn);
	} else {
		t->agreed++;
	}
}

static void test_lengths(enum lv_cpu_mode mode, unsigned int rounds)
{
	struct tally t = {};
	u8 bytes[15];

	for (unsigned int i = 0; i < rounds * 256 * 7 && t.wrong < 20; i++) {
		random_insn(bytes, i / 256 % 7, i, mode);
		check_length(bytes, mode, &t);
	}
	ok(!t.wrong, "lengths of random %d-bit instructions", mode * 8);
	printf("#   %u agreed, %u undefined\n", t.agreed, t.undefined);
	ok(t.agreed > rounds * 256, "most of them are instructions");
}

#define BYTES(...) .bytes = { __VA_ARGS__ }
#define NONE LV_REG_NONE

/* clang-format off */

/* Register numbers are what REX makes of them; no memory, no base. */
static const struct {
	enum lv_cpu_mode mode;
	u8 bytes[15];
	struct lv_insn want;
} operands[] = {
	/* mov %eax, (%rbx) */
	{ LV_MODE_64, BYTES(0x89, 0x03),
	  { .length = 2, .op = LV_OP_MOV, .enc = LV_ENC_MR, .op_bytes = 4,
	    .addr_bytes = 8, .mem = true, .seg = LV_SEG_DS, .base = LV_RBX,
	    .rm = LV_RBX, .index = NONE } },
	/* mov %r15, %fs:-8(%r13,%r12,8) */
	{ LV_MODE_64, BYTES(0x64, 0x4f, 0x89, 0x7c, 0xe5, 0xf8),
	  { .length = 6, .op = LV_OP_MOV, .enc = LV_ENC_MR, .op_bytes = 8,
	    .addr_bytes = 8, .mem = true, .seg = LV_SEG_FS, .base = LV_R13,
	    .index = LV_R12, .scale = 3, .disp = -8, .reg = LV_R15,
	    .rm = LV_R12 } },
	/* movw $-2, 0x11223344(%rip) */
	{ LV_MODE_64,
	  BYTES(0x66, 0xc7, 0x05, 0x44, 0x33, 0x22, 0x11, 0xfe, 0xff),
	  { .length = 9, .op = LV_OP_MOV, .enc = LV_ENC_MI, .op_bytes = 2,
	    .addr_bytes = 8, .mem = true, .seg = LV_SEG_DS,
	    .base = LV_REG_RIP, .index = NONE, .disp = 0x11223344, .imm = -2,
	    .rm = 5 } },
	/* addl $-1, 0x10(%esp): the segment is SS */
	{ LV_MODE_64, BYTES(0x67, 0x83, 0x44, 0x24, 0x10, 0xff),
	  { .length = 6, .op = LV_OP_ADD, .enc = LV_ENC_MI, .op_bytes = 4,
	    .addr_bytes = 4, .mem = true, .seg = LV_SEG_SS, .base = LV_RSP,
	    .index = NONE, .disp = 0x10, .imm = -1, .rm = 4 } },
	/* movabs 0x8877665544332211, %al */
	{ LV_MODE_64,
	  BYTES(0xa0, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88),
	  { .length = 9, .op = LV_OP_MOV, .enc = LV_ENC_RM, .op_bytes = 1,
	    .addr_bytes = 8, .mem = true, .seg = LV_SEG_DS, .base = NONE,
	    .index = NONE, .disp = 0x8877665544332211 } },
	/* mov %es:0xfffe, %ax: in 64-bit code ES would not count */
	{ LV_MODE_16, BYTES(0x26, 0xa1, 0xfe, 0xff),
	  { .length = 4, .op = LV_OP_MOV, .enc = LV_ENC_RM, .op_bytes = 2,
	    .addr_bytes = 2, .mem = true, .seg = LV_SEG_ES, .base = NONE,
	    .index = NONE, .disp = 0xfffe } },
	{ LV_MODE_64, BYTES(0x26, 0x8b, 0x00),
	  { .length = 3, .op = LV_OP_MOV, .enc = LV_ENC_RM, .op_bytes = 4,
	    .addr_bytes = 8, .mem = true, .seg = LV_SEG_DS, .base = LV_RAX,
	    .index = NONE } },
	/* xor %ax, -2(%bp,%si) */
	{ LV_MODE_16, BYTES(0x31, 0x42, 0xfe),
	  { .length = 3, .op = LV_OP_XOR, .enc = LV_ENC_MR, .op_bytes = 2,
	    .addr_bytes = 2, .mem = true, .seg = LV_SEG_SS, .base = LV_RBP,
	    .index = LV_RSI, .disp = -2, .rm = 2 } },
	/* movzwl (%eax,%eax,2), %edi in 16-bit code */
	{ LV_MODE_16, BYTES(0x66, 0x67, 0x0f, 0xb7, 0x3c, 0x40),
	  { .length = 6, .op = LV_OP_MOVZX, .enc = LV_ENC_RM, .op_bytes = 4,
	    .src_bytes = 2, .addr_bytes = 4, .mem = true, .seg = LV_SEG_DS,
	    .base = LV_RAX, .index = LV_RAX, .scale = 1, .reg = LV_RDI,
	    .rm = 4 } },
	/* shl $1, %r9d; sar %cl, %bx; testb $1, %ah; notb %ah */
	{ LV_MODE_64, BYTES(0x41, 0xd1, 0xe1),
	  { .length = 3, .op = LV_OP_SHL, .enc = LV_ENC_MI, .op_bytes = 4,
	    .addr_bytes = 8, .seg = LV_SEG_DS, .rm = LV_R9, .imm = 1,
	    .reg = 4 } },
	{ LV_MODE_32, BYTES(0x66, 0xd3, 0xfb),
	  { .length = 3, .op = LV_OP_SAR, .enc = LV_ENC_MC, .op_bytes = 2,
	    .addr_bytes = 4, .seg = LV_SEG_DS, .rm = LV_RBX, .reg = 7 } },
	{ LV_MODE_32, BYTES(0xf6, 0xc4, 0x01),
	  { .length = 3, .op = LV_OP_TEST, .enc = LV_ENC_MI, .op_bytes = 1,
	    .addr_bytes = 4, .seg = LV_SEG_DS, .rm = 4, .imm = 1 } },
	{ LV_MODE_32, BYTES(0xf6, 0xd4),
	  { .length = 2, .op = LV_OP_NOT, .enc = LV_ENC_MI, .op_bytes = 1,
	    .addr_bytes = 4, .seg = LV_SEG_DS, .rm = 4, .reg = 2 } },
	/* REX before another prefix does not count */
	{ LV_MODE_64, BYTES(0x4f, 0x66, 0x89, 0xc8),
	  { .length = 4, .op = LV_OP_MOV, .enc = LV_ENC_MR, .op_bytes = 2,
	    .addr_bytes = 8, .seg = LV_SEG_DS, .reg = LV_RCX } },
	/* mov %cr3, %r11, with a ModRM.mod that does not count */
	{ LV_MODE_64, BYTES(0x41, 0x0f, 0x20, 0x1b),
	  { .length = 4, .enc = LV_ENC_M, .op_bytes = 4, .addr_bytes = 8,
	    .seg = LV_SEG_DS, .reg = 3, .rm = LV_R11 } },
	/* movdqa %xmm9, (%rdi); movq (%rdi), %xmm0; movd %xmm0, (%rdi) */
	{ LV_MODE_64, BYTES(0x66, 0x44, 0x0f, 0x7f, 0x0f),
	  { .length = 5, .op = LV_OP_SSE_STORE, .enc = LV_ENC_MR,
	    .op_bytes = 16, .addr_bytes = 8, .mem = true, .seg = LV_SEG_DS,
	    .base = LV_RDI, .index = NONE, .reg = 9, .rm = 7 } },
	{ LV_MODE_64, BYTES(0xf3, 0x0f, 0x7e, 0x07),
	  { .length = 4, .op = LV_OP_SSE_LOAD, .enc = LV_ENC_MR, .op_bytes = 8,
	    .addr_bytes = 8, .mem = true, .seg = LV_SEG_DS, .base = LV_RDI,
	    .index = NONE, .rm = 7 } },
	{ LV_MODE_64, BYTES(0x66, 0x0f, 0x7e, 0x07),
	  { .length = 4, .op = LV_OP_SSE_STORE, .enc = LV_ENC_MR,
	    .op_bytes = 4, .addr_bytes = 8, .mem = true, .seg = LV_SEG_DS,
	    .base = LV_RDI, .index = NONE, .rm = 7 } },
	/* rep outsl %gs:(%rsi); in $0x60, %al; REX.W out %eax, %dx */
	{ LV_MODE_64, BYTES(0xf3, 0x65, 0x48, 0x6f),
	  { .length = 4, .op = LV_OP_OUTS, .op_bytes = 4, .addr_bytes = 8,
	    .seg = LV_SEG_GS } },
	{ LV_MODE_32, BYTES(0xe4, 0x60),
	  { .length = 2, .op = LV_OP_IN, .op_bytes = 1, .addr_bytes = 4,
	    .seg = LV_SEG_DS, .imm = 0x60 } },
	{ LV_MODE_64, BYTES(0x48, 0xef),
	  { .length = 2, .op = LV_OP_OUT, .op_bytes = 4, .addr_bytes = 8,
	    .seg = LV_SEG_DS } },
	/* AMD: extrq $1, $2, %xmm0; callw, in 64-bit code */
	{ LV_MODE_64, BYTES(0x66, 0x0f, 0x78, 0xc0, 0x02, 0x01),
	  { .length = 6, .enc = LV_ENC_M, .op_bytes = 2, .addr_bytes = 8,
	    .seg = LV_SEG_DS, .imm = 0x102 } },
	{ LV_MODE_64, BYTES(0x66, 0xe8, 0x00, 0x80),
	  { .length = 4, .op_bytes = 2, .addr_bytes = 8, .seg = LV_SEG_DS,
	    .imm = -0x8000 } },
};

/* clang-format on */

static bool same_operands(const struct lv_insn *a, const struct lv_insn *b)
{
	if (a->mem != b->mem ||
	    (a->mem && (a->base != b->base || a->index != b->index ||
			a->scale != b->scale || a->disp != b->disp)))
		return false;
	return a->length == b->length && a->op == b->op && a->enc == b->enc &&
	       a->op_bytes == b->op_bytes && a->addr_bytes == b->addr_bytes &&
	       (!b->src_bytes || a->src_bytes == b->src_bytes) &&
	       a->seg == b->seg && a->reg == b->reg && a->rm == b->rm &&
	       a->imm == b->imm;
}

static void test_operands(void)
{
	struct lv_insn insn;

	for (unsigned int i = 0; i < ARRAY_SIZE(operands); i++) {
		const u8 *b = operands[i].bytes;
		int err = lv_decode(&insn, b, 15, operands[i].mode);

		if (!ok(!err && same_operands(&insn, &operands[i].want),
			"operands of %02x %02x %02x %02x", b[0], b[1], b[2],
			b[3]))
			printf("#   err %d length %u op %u enc %u op_bytes %u mem %u seg %u base %u index %u disp %#lx imm %#lx reg %u rm %u\n",
			       err, insn.length, insn.op, insn.enc,
			       insn.op_bytes, insn.mem, insn.seg, insn.base,
			       insn.index, (ulong)insn.disp, (ulong)insn.imm,
			       insn.reg, insn.rm);
	}
}

/* clang-format off */
static const struct {
	enum lv_cpu_mode mode;
	int err;
	u8 bytes[15];
	const char *what;
} legality[] = {
	{ LV_MODE_64, 0, { 0xf0, 0x01, 0x00 }, "lock add to memory" },
	{ LV_MODE_64, -EINVAL, { 0xf0, 0x01, 0xc0 }, "lock add to register" },
	{ LV_MODE_64, -EINVAL, { 0xf0, 0x03, 0x00 }, "lock add from memory" },
	{ LV_MODE_64, -EINVAL, { 0xf0, 0x39, 0x00 }, "lock cmp" },
	{ LV_MODE_64, -EINVAL, { 0xf0, 0x89, 0x00 }, "lock mov" },
	{ LV_MODE_64, -EINVAL, { 0xf0, 0x0f, 0xa3, 0x00 }, "lock bt" },
	{ LV_MODE_64, 0, { 0xf0, 0x0f, 0xab, 0x00 }, "lock bts" },
	{ LV_MODE_64, -EINVAL, { 0xf0, 0x0f, 0xba, 0x20, 0 }, "lock bt imm" },
	{ LV_MODE_64, 0, { 0xf0, 0x0f, 0xc7, 0x08 }, "lock cmpxchg8b" },
	{ LV_MODE_64, -EINVAL, { 0x0f, 0xc7, 0xc8 }, "cmpxchg8b register" },
	{ LV_MODE_64, -EINVAL, { 0xf0, 0xff, 0x30 }, "lock push" },
	{ LV_MODE_64, -EINVAL, { 0xf0, 0x0f, 0xa2 }, "lock cpuid" },
	{ LV_MODE_32, 0, { 0xf0, 0x0f, 0x20, 0xc0 }, "lock mov from cr0" },
	{ LV_MODE_64, -EINVAL, { 0x06 }, "push es in 64-bit code" },
	{ LV_MODE_32, 0, { 0x06 }, "push es in 32-bit code" },
	{ LV_MODE_64, -EINVAL, { 0x0f, 0x0b }, "ud2" },
	{ LV_MODE_64, -EINVAL, { 0xff, 0xf8 }, "group 5, 7" },
	{ LV_MODE_64, -EINVAL, { 0x66, 0xc5, 0xf8, 0x77 }, "66 vzeroupper" },
	{ LV_MODE_64, 0, { 0xc5, 0xf8, 0x77 }, "vzeroupper" },
	{ LV_MODE_32, 0, { 0xc5, 0x00 }, "lds" },
	{ LV_MODE_64, -EINVAL, { 0x66, 0x0f, 0xc3, 0x00 }, "66 movnti" },
	{ LV_MODE_64, -EINVAL,
	  { 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
	    0x66, 0x66, 0x66, 0x66 }, "too many prefixes" },
	{ LV_MODE_64, 0,
	  { 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66, 0x66,
	    0x66, 0x66, 0x66, 0x90 }, "15 bytes" },
};
/* clang-format on */

static void test_legality(void)
{
	struct lv_insn insn;

	for (unsigned int i = 0; i < ARRAY_SIZE(legality); i++)
		is(lv_decode(&insn, legality[i].bytes, 15, legality[i].mode),
		   legality[i].err, "%s is %s", legality[i].what,
		   legality[i].err ? "undefined" : "defined");
}

/*
 * With fewer bytes than it takes, -ENODATA and no look beyond (that is the
 * sanitizer's to see); with just enough, the same as with more.
 */
static void test_short(void)
{
	static const u8 modes[] = { LV_MODE_16, LV_MODE_32, LV_MODE_64 };
	struct lv_insn whole, part;
	unsigned int wrong = 0;
	u8 bytes[15], *copy;

	for (unsigned int i = 0; i < 200 * 256 * 7; i++) {
		enum lv_cpu_mode mode = modes[rnd() % 3];
		int err, want, n;

		random_insn(bytes, i / 256 % 7, i, mode);
		want = lv_decode(&whole, bytes, 15, mode);
		n = rnd() % 16;
		copy = malloc(n);
		memcpy(copy, bytes, n);
		err = lv_decode(&part, copy, n, mode);
		free(copy);
		if (n < whole.length || (n == 0))
			wrong += err != -ENODATA;
		else
			wrong += err != want ||
				 memcmp(&whole, &part, sizeof(whole));
	}
	is(wrong, 0, "incomplete instructions ask for more bytes");
}

int main(int argc, char **argv)
{
	unsigned int rounds = argc > 1 ? atoi(argv[1]) : 60;
	const char *reason = native_start();

	test_operands();
	test_legality();
	test_short();
	if (reason) {
		ok(true, "lengths # SKIP %s", reason);
	} else {
		test_lengths(LV_MODE_64, rounds);
		test_lengths(LV_MODE_32, rounds);
		test_lengths(LV_MODE_16, rounds);
	}
	return tap_done();
}
