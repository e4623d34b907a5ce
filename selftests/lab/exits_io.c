// SPDX-License-Identifier: GPL-2.0-only
/* Port I/O: sizes, string instructions and their corner cases. */
#include "guest.h"
#include <kselftest_harness.h>

#define PORT 0x2345u

/* One access of each size and form; HLT ends the code. */
#define OUT_CODE             \
	"mov $0x2345, %dx\n" \
	"outb %al, $0x80\n"  \
	"outw %ax, $0x81\n"  \
	"outl %eax, $0x82\n" \
	"outb %al, %dx\n"    \
	"outw %ax, %dx\n"    \
	"outl %eax, %dx\n"   \
	"hlt\n"
SNIPPET(16, out16, OUT_CODE);
SNIPPET(32, out32, OUT_CODE);
SNIPPET(64, out64, OUT_CODE);

#define IN_CODE              \
	"mov $0x2345, %dx\n" \
	"inb $0x80, %al\n"   \
	"mov %eax, %ebx\n"   \
	"inw %dx, %ax\n"     \
	"mov %eax, %ecx\n"   \
	"inl %dx, %eax\n"    \
	"hlt\n"
SNIPPET(16, in16, IN_CODE);
SNIPPET(32, in32, IN_CODE);
SNIPPET(64, in64, IN_CODE);

/* String instructions, given SI, DI, CX, DX and the direction flag. */
#define STRING_CODE(bits)                               \
	SNIPPET(bits, outsb##bits, "rep outsb\nhlt\n"); \
	SNIPPET(bits, outsw##bits, "rep outsw\nhlt\n"); \
	SNIPPET(bits, outsl##bits, "rep outsl\nhlt\n"); \
	SNIPPET(bits, insb##bits, "rep insb\nhlt\n");   \
	SNIPPET(bits, insw##bits, "rep insw\nhlt\n");   \
	SNIPPET(bits, insl##bits, "rep insl\nhlt\n");   \
	SNIPPET(bits, outs1##bits, "outsw\nhlt\n");     \
	SNIPPET(bits, ins1##bits, "insw\nhlt\n")
STRING_CODE(16);
STRING_CODE(32);
STRING_CODE(64);

SNIPPET(16, outs_segment, "rep outsb %es:(%si), %dx\nhlt\n");
SNIPPET(16, outs_addr32, "rep outsb (%esi), %dx\nhlt\n");
SNIPPET(64, ins_addr32, "addr32 rep insb\nhlt\n");

FIXTURE(exits_io)
{
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(exits_io)
{
	self->vm = vm_new();
	self->vcpu = vcpu_new(self->vm, 0);
}

FIXTURE_TEARDOWN(exits_io)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

struct code {
	const u8 *start, *end;
};

#define CODE(name)               \
	{                        \
		name, name##_end \
	}
#define CODES(name)                                                 \
	[MODE_REAL] = CODE(name##16), [MODE_PROT] = CODE(name##32), \
	[MODE_PSE] = CODE(name##32), [MODE_PAE] = CODE(name##32),   \
	[MODE_LONG] = CODE(name##64)

static u8 *io_data(struct kvm_run *run)
{
	return (u8 *)run + run->io.data_offset;
}

/* Load @code with the registers that string instructions take. */
static void load(struct vcpu *vcpu, enum mode mode, struct code code,
		 u64 pointer, u64 count, bool down)
{
	struct kvm_regs regs;

	vcpu_load(vcpu, mode, code.start, code.end);
	vcpu_get_regs(vcpu, &regs);
	regs.rax = 0x8877665544332211;
	regs.rsi = regs.rdi = pointer;
	regs.rcx = count;
	regs.rdx = PORT;
	regs.rflags = down ? 0x402 : 2;
	vcpu_set_regs(vcpu, &regs);
}

TEST_F(exits_io, out)
{
	static const struct code codes[NR_MODES] = { CODES(out) };
	static const struct {
		u16 port;
		u8 size;
	} want[] = {
		{ 0x80, 1 }, { 0x81, 2 }, { 0x82, 4 },
		{ PORT, 1 }, { PORT, 2 }, { PORT, 4 },
	};
	struct kvm_run *run = self->vcpu->run;
	unsigned int mode, i;

	for (mode = 0; mode < NR_MODES; mode++) {
		load(self->vcpu, mode, codes[mode], 0, 0, false);
		for (i = 0; i < ARRAY_LEN(want); i++) {
			ASSERT_EXIT(KVM_EXIT_IO, self->vcpu);
			EXPECT_EQ(KVM_EXIT_IO_OUT, run->io.direction);
			EXPECT_EQ(want[i].port, run->io.port);
			EXPECT_EQ(want[i].size, run->io.size);
			EXPECT_EQ(1, run->io.count);
			EXPECT_EQ(0, memcmp(io_data(run), &(u32){ 0x44332211 },
					    want[i].size));
		}
		EXPECT_EXIT(KVM_EXIT_HLT, self->vcpu);
	}
}

TEST_F(exits_io, in)
{
	static const struct code codes[NR_MODES] = { CODES(in) };
	static const u8 sizes[] = { 1, 2, 4 };
	struct kvm_run *run = self->vcpu->run;
	struct kvm_regs regs;
	unsigned int mode, i;

	for (mode = 0; mode < NR_MODES; mode++) {
		load(self->vcpu, mode, codes[mode], 0, 0, false);
		for (i = 0; i < ARRAY_LEN(sizes); i++) {
			ASSERT_EXIT(KVM_EXIT_IO, self->vcpu);
			EXPECT_EQ(KVM_EXIT_IO_IN, run->io.direction);
			EXPECT_EQ(sizes[i], run->io.size);
			EXPECT_EQ(i ? PORT : 0x80, run->io.port);
			memcpy(io_data(run), &(u32){ 0xd4c3b2a1 + i },
			       sizes[i]);
		}
		EXPECT_EXIT(KVM_EXIT_HLT, self->vcpu);
		vcpu_get_regs(self->vcpu, &regs);
		EXPECT_EQ(0x443322a1, (u32)regs.rbx)
		TH_LOG("%s", mode_names[mode]);
		EXPECT_EQ(0x4433b2a2, (u32)regs.rcx)
		TH_LOG("%s", mode_names[mode]);
		/* 32 bits written clear the upper half, in 64-bit mode only */
		EXPECT_EQ(0xd4c3b2a3, (u32)regs.rax)
		TH_LOG("%s", mode_names[mode]);
		if (mode == MODE_LONG)
			EXPECT_EQ(0, regs.rax >> 32);
	}
}

/*
 * Run string output to its HLT and collect what comes out, which may be in one
 * exit or many. The value is the number of bytes.
 */
static size_t collect(struct vcpu *vcpu, u8 size, u8 *out, size_t room)
{
	struct kvm_run *run = vcpu->run;
	size_t n = 0, bytes;

	while (vcpu_exit(vcpu) == KVM_EXIT_IO) {
		bytes = (size_t)run->io.count * run->io.size;
		if (run->io.direction != KVM_EXIT_IO_OUT ||
		    run->io.port != PORT || run->io.size != size ||
		    n + bytes > room)
			die("wrong output: %s", vcpu_describe(vcpu));
		memcpy(out + n, io_data(run), bytes);
		n += bytes;
	}
	if (run->exit_reason != KVM_EXIT_HLT)
		die("%s", vcpu_describe(vcpu));
	return n;
}

/* The same for input: the device delivers consecutive bytes. */
static size_t deliver(struct vcpu *vcpu, u8 size, u8 first)
{
	struct kvm_run *run = vcpu->run;
	size_t n = 0, bytes, i;

	while (vcpu_exit(vcpu) == KVM_EXIT_IO) {
		bytes = (size_t)run->io.count * run->io.size;
		if (run->io.direction != KVM_EXIT_IO_IN ||
		    run->io.port != PORT || run->io.size != size)
			die("wrong input: %s", vcpu_describe(vcpu));
		for (i = 0; i < bytes; i++)
			io_data(run)[i] = first + n++;
	}
	if (run->exit_reason != KVM_EXIT_HLT)
		die("%s", vcpu_describe(vcpu));
	return n;
}

static void number(u8 *mem, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		mem[i] = i * 7 + (i >> 8);
}

TEST_F(exits_io, rep_outs)
{
	static const struct code codes[3][NR_MODES] = {
		{ CODES(outsb) },
		{ CODES(outsw) },
		{ CODES(outsl) },
	};
	u8 *mem = self->vm->mem + DATA_GPA, out[256];
	struct kvm_regs regs;
	unsigned int mode, i, size;

	number(mem, 256);
	for (mode = 0; mode < NR_MODES; mode++) {
		for (i = 0; i < 3; i++) {
			size = 1 << i;
			load(self->vcpu, mode, codes[i][mode], DATA_GPA, 20,
			     false);
			EXPECT_EQ(20 * size,
				  collect(self->vcpu, size, out, 256));
			EXPECT_EQ(0, memcmp(out, mem, 20 * size));
			vcpu_get_regs(self->vcpu, &regs);
			EXPECT_EQ(0, regs.rcx);
			EXPECT_EQ(DATA_GPA + 20 * size, regs.rsi);
			EXPECT_EQ(DATA_GPA, regs.rdi);
		}
	}
}

TEST_F(exits_io, rep_ins)
{
	static const struct code codes[3][NR_MODES] = {
		{ CODES(insb) },
		{ CODES(insw) },
		{ CODES(insl) },
	};
	u8 *mem = self->vm->mem + DATA_GPA;
	struct kvm_regs regs;
	unsigned int mode, i, size, k;

	for (mode = 0; mode < NR_MODES; mode++) {
		for (i = 0; i < 3; i++) {
			size = 1 << i;
			memset(mem, 0xff, 256);
			load(self->vcpu, mode, codes[i][mode], DATA_GPA, 20,
			     false);
			EXPECT_EQ(20 * size, deliver(self->vcpu, size, mode));
			for (k = 0; k < 20 * size; k++)
				ASSERT_EQ((u8)(mode + k), mem[k]);
			EXPECT_EQ(0xff, mem[k]);
			vcpu_get_regs(self->vcpu, &regs);
			EXPECT_EQ(0, regs.rcx);
			EXPECT_EQ(DATA_GPA + 20 * size, regs.rdi);
			EXPECT_EQ(DATA_GPA, regs.rsi);
		}
	}
}

TEST_F(exits_io, single_string)
{
	static const struct code outs[NR_MODES] = { CODES(outs1) };
	static const struct code ins[NR_MODES] = { CODES(ins1) };
	u8 *mem = self->vm->mem + DATA_GPA, out[2];
	struct kvm_regs regs;
	unsigned int mode;

	for (mode = 0; mode < NR_MODES; mode++) {
		number(mem, 4);
		load(self->vcpu, mode, outs[mode], DATA_GPA + 1, 9, false);
		EXPECT_EQ(2, collect(self->vcpu, 2, out, 2));
		EXPECT_EQ(0, memcmp(out, mem + 1, 2));
		load(self->vcpu, mode, ins[mode], DATA_GPA + 1, 9, false);
		EXPECT_EQ(2, deliver(self->vcpu, 2, 0x40));
		EXPECT_EQ(0x40, mem[1]);
		EXPECT_EQ(0x41, mem[2]);
		EXPECT_EQ(21, mem[3]);
		vcpu_get_regs(self->vcpu, &regs);
		EXPECT_EQ(9, regs.rcx);
		EXPECT_EQ(DATA_GPA + 3, regs.rdi);
	}
}

TEST_F(exits_io, no_repetition)
{
	static const struct code outs[NR_MODES] = { CODES(outsb) };
	static const struct code ins[NR_MODES] = { CODES(insb) };
	unsigned int mode;

	for (mode = 0; mode < NR_MODES; mode++) {
		load(self->vcpu, mode, outs[mode], DATA_GPA, 0, false);
		EXPECT_EXIT(KVM_EXIT_HLT, self->vcpu);
		load(self->vcpu, mode, ins[mode], DATA_GPA, 0, false);
		EXPECT_EXIT(KVM_EXIT_HLT, self->vcpu);
	}
}

TEST_F(exits_io, downwards)
{
	static const struct code outs[NR_MODES] = { CODES(outsw) };
	static const struct code ins[NR_MODES] = { CODES(insw) };
	u8 *mem = self->vm->mem + DATA_GPA, out[8];
	struct kvm_regs regs;
	unsigned int mode;

	for (mode = 0; mode < NR_MODES; mode++) {
		number(mem, 16);
		load(self->vcpu, mode, outs[mode], DATA_GPA + 8, 4, true);
		EXPECT_EQ(8, collect(self->vcpu, 2, out, 8));
		EXPECT_EQ(0, memcmp(out, mem + 8, 2));
		EXPECT_EQ(0, memcmp(out + 6, mem + 2, 2));
		vcpu_get_regs(self->vcpu, &regs);
		EXPECT_EQ(DATA_GPA, regs.rsi);

		load(self->vcpu, mode, ins[mode], DATA_GPA + 8, 4, true);
		EXPECT_EQ(8, deliver(self->vcpu, 2, 0x80));
		EXPECT_EQ(0x80, mem[8]);
		EXPECT_EQ(0x87, mem[3]);
		EXPECT_EQ(0, mem[0]);
		vcpu_get_regs(self->vcpu, &regs);
		EXPECT_EQ(DATA_GPA, regs.rdi);
	}
}

/* More than a page in one instruction, from an odd address. */
TEST_F(exits_io, long_string)
{
	const size_t n = 10001;
	u8 *mem = self->vm->mem + HEAP_GPA + 3, *out = malloc(n);
	size_t i;

	number(mem, n);
	load(self->vcpu, MODE_LONG, (struct code)CODE(outsb64), HEAP_GPA + 3, n,
	     false);
	EXPECT_EQ(n, collect(self->vcpu, 1, out, n));
	EXPECT_EQ(0, memcmp(out, mem, n));
	load(self->vcpu, MODE_LONG, (struct code)CODE(insb64), HEAP_GPA + 3, n,
	     false);
	EXPECT_EQ(n, deliver(self->vcpu, 1, 1));
	for (i = 0; i < n; i++)
		ASSERT_EQ((u8)(1 + i), mem[i]);
}

/* A word that lies across two pages. */
TEST_F(exits_io, across_pages)
{
	u64 gpa = HEAP_GPA + PAGE_SIZE - 6;
	u8 *mem = self->vm->mem + gpa, out[16];
	unsigned int i;

	number(mem, 16);
	load(self->vcpu, MODE_LONG, (struct code)CODE(outsl64), gpa, 3, false);
	EXPECT_EQ(12, collect(self->vcpu, 4, out, 16));
	EXPECT_EQ(0, memcmp(out, mem, 12));
	load(self->vcpu, MODE_LONG, (struct code)CODE(insl64), gpa, 3, false);
	EXPECT_EQ(12, deliver(self->vcpu, 4, 9));
	for (i = 0; i < 12; i++)
		EXPECT_EQ(9 + i, mem[i]);
}

TEST_F(exits_io, segment_override)
{
	struct kvm_sregs sregs;
	u8 out[4];

	number(self->vm->mem + 0x20100, 4);
	load(self->vcpu, MODE_REAL, (struct code)CODE(outs_segment), 0x100, 4,
	     false);
	vcpu_get_sregs(self->vcpu, &sregs);
	sregs.es.selector = 0x2000;
	sregs.es.base = 0x20000;
	ASSERT_EQ(0, vcpu_set_sregs(self->vcpu, &sregs));
	EXPECT_EQ(4, collect(self->vcpu, 1, out, 4));
	EXPECT_EQ(0, memcmp(out, self->vm->mem + 0x20100, 4));
}

/* Registers that the address size leaves out keep their value. */
TEST_F(exits_io, address_size)
{
	struct kvm_regs regs;
	u8 out[4];

	number(self->vm->mem + 0xfffe, 4);
	load(self->vcpu, MODE_REAL, (struct code)CODE(outsb16),
	     0xabcd0000 | DATA_GPA, 0x770004, false);
	EXPECT_EQ(4, collect(self->vcpu, 1, out, 4));
	vcpu_get_regs(self->vcpu, &regs);
	EXPECT_EQ(0xabcd0000 | (DATA_GPA + 4), regs.rsi);
	EXPECT_EQ(0x770000, regs.rcx);

	load(self->vcpu, MODE_REAL, (struct code)CODE(outs_addr32), DATA_GPA, 4,
	     false);
	EXPECT_EQ(4, collect(self->vcpu, 1, out, 4));

	load(self->vcpu, MODE_LONG, (struct code)CODE(ins_addr32),
	     0x500000000 | DATA_GPA, 0x900000003, false);
	EXPECT_EQ(3, deliver(self->vcpu, 1, 0x30));
	EXPECT_EQ(0x32, self->vm->mem[DATA_GPA + 2]);
	vcpu_get_regs(self->vcpu, &regs);
	EXPECT_EQ(DATA_GPA + 3, regs.rdi);
	EXPECT_EQ(0, regs.rcx);
}

/* What a port delivers may go to another device. */
TEST_F(exits_io, port_to_mmio)
{
	struct kvm_run *run = self->vcpu->run;

	load(self->vcpu, MODE_LONG, (struct code)CODE(insb64), MMIO_GPA, 1,
	     false);
	ASSERT_EXIT(KVM_EXIT_IO, self->vcpu);
	ASSERT_EQ(1, run->io.count);
	*io_data(run) = 0x70;
	ASSERT_EXIT(KVM_EXIT_MMIO, self->vcpu);
	EXPECT_TRUE(run->mmio.is_write);
	EXPECT_EQ(MMIO_GPA, run->mmio.phys_addr);
	EXPECT_EQ(1, run->mmio.len);
	EXPECT_EQ(0x70, run->mmio.data[0]);
	EXPECT_EXIT(KVM_EXIT_HLT, self->vcpu);
}

TEST_HARNESS_MAIN
