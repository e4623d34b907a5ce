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
	static const u8 prefixes[] = { 0x66, 0x67, 0xf2, 0xf3, 0xf0,
				       0x26, 0x2e, 0x36, 0x3e, 0x64, 0x65 };
	unsigned int n = 0;

	for (int i = 0; i < 15; i++)
		bytes[i] = rnd();
	while (rnd() % 2 && n < 4)
		bytes[n++] = prefixes[rnd() % ARRAY_SIZE(prefixes)];
	if (mode == LV_MODE_64 && rnd() % 3 == 0)
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
		bytes[n++] = rnd() | (mode == LV_MODE_64 ? 0 : 0xc0);
		break;
	case 5:
		bytes[n++] = 0xc4;
		bytes[n++] = (rnd() & 0xe0) | (mode == LV_MODE_64 ? 0 : 0xc0) |
			     (1 + rnd() % 3);
		bytes[n++] = rnd() & 0x87;
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
	cpu->regs.cs = native_selector(mode == LV_MODE_64 ? NATIVE_CODE64 :
				       mode == LV_MODE_32 ? NATIVE_CODE32 :
							    NATIVE_CODE16);
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

int main(int argc, char **argv)
{
	unsigned int rounds = argc > 1 ? atoi(argv[1]) : 20;
	const char *reason = native_start();

	if (reason) {
		ok(true, "lengths # SKIP %s", reason);
	} else {
		test_lengths(LV_MODE_64, rounds);
		test_lengths(LV_MODE_32, rounds);
		test_lengths(LV_MODE_16, rounds);
	}
	return tap_done();
}
