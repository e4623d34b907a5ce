// SPDX-License-Identifier: GPL-2.0-only
/*
 * An instruction that accesses MMIO does what it does to memory.
 *
 * Every case runs twice, once on memory, where the processor executes it, and
 * once on a hole between memory slots, where it is emulated with this program
 * as the device. Registers, flags and contents have to come out alike, and the
 * device may see each byte read once and written once at most.
 */
#include "guest.h"
#include <kselftest_harness.h>

#define RAM_BASE 0x90000ul
#define MMIO_BASE 0xa0000ul /* the hole: 64 KiB */
#define WINDOW 0x10000ul
#define DEVICE_SIZE 0x2000ul /* two pages of it answer */

/* The text of the instruction and its code, 64 bytes each. */
struct insn_case {
	char text[64];
	u8 code[64];
};

#define CASE(insn)               \
	".balign 128\n"          \
	".asciz \"" insn "\"\n"  \
	".balign 64\n" insn "\n" \
	"hlt\n"

#define CASES(name, bits, ...)                                          \
	extern const struct insn_case name[], name##_end[];             \
	asm(".pushsection .rodata\n.balign 128\n.code" #bits "\n" #name \
	    ":\n" __VA_ARGS__ ".balign 128\n" #name                     \
	    "_end:\n.code64\n.popsection")

/* Forms that all modes share: the operand is at (base), 16 bytes on, ... */
#define COMMON(bx, si, di)                                       \
	CASE("mov %al, (" bx ")")                                \
	CASE("mov %ah, 1(" bx ")")                               \
	CASE("mov %ax, 2(" bx ")")                               \
	CASE("mov %eax, 4(" bx ")")                              \
	CASE("mov (" bx "), %cl")                                \
	CASE("mov 3(" bx "), %ch")                               \
	CASE("mov 2(" bx "), %cx")                               \
	CASE("mov 5(" bx "), %ecx")                              \
	CASE("movb $0x5a, (" bx ")")                             \
	CASE("movw $0x5aa5, 7(" bx ")")                          \
	CASE("movl $0x5aa5c33c, (" bx ")")                       \
	CASE("movzbw (" bx "), %dx")                             \
	CASE("movzbl (" bx "), %edx")                            \
	CASE("movzwl 1(" bx "), %edx")                           \
	CASE("movsbw (" bx "), %dx")                             \
	CASE("movsbl 9(" bx "), %edx")                           \
	CASE("movswl 2(" bx "), %edx")                           \
	CASE("add %eax, (" bx ")")                               \
	CASE("add (" bx "), %eax")                               \
	CASE("adc %ax, (" bx ")")                                \
	CASE("adc (" bx "), %al")                                \
	CASE("sub %cl, 3(" bx ")")                               \
	CASE("sbb (" bx "), %edx")                               \
	CASE("sbbl $0x12345678, (" bx ")")                       \
	CASE("addb $0x80, (" bx ")")                             \
	CASE("addl $-1, 8(" bx ")")                              \
	CASE("orl $0x1000, (" bx ")")                            \
	CASE("or (" bx "), %ax")                                 \
	CASE("andb $0xf0, 4(" bx ")")                            \
	CASE("and %edx, (" bx ")")                               \
	CASE("xor %eax, (" bx ")")                               \
	CASE("xor (" bx "), %dl")                                \
	CASE("cmp %eax, (" bx ")")                               \
	CASE("cmp (" bx "), %cx")                                \
	CASE("cmpb $0x11, 1(" bx ")")                            \
	CASE("cmpl $0x7fffffff, 1(" bx ")")                      \
	CASE("test %eax, (" bx ")")                              \
	CASE("testb $0x81, 2(" bx ")")                           \
	CASE("testl $0x80000000, 2(" bx ")")                     \
	CASE("xchg %eax, (" bx ")")                              \
	CASE("xchg %cl, 3(" bx ")")                              \
	CASE("lock xadd %ecx, (" bx ")")                         \
	CASE("xadd %dl, 1(" bx ")")                              \
	CASE("cmpxchg %ecx, (" bx ")")                           \
	CASE("mov (" bx "), %eax; lock cmpxchg %ecx, 8(" bx ")") \
	CASE("mov %cs:0xc000, %eax; cmpxchg %edx, (" bx ")")     \
	CASE("notl (" bx ")")                                    \
	CASE("notb (" bx ")")                                    \
	CASE("negl (" bx ")")                                    \
	CASE("negw 4(" bx ")")                                   \
	CASE("incl (" bx ")")                                    \
	CASE("lock incb 2(" bx ")")                              \
	CASE("decw (" bx ")")                                    \
	CASE("btl $3, (" bx ")")                                 \
	CASE("btsl $4, (" bx ")")                                \
	CASE("lock btrl $31, 4(" bx ")")                         \
	CASE("btcw $15, (" bx ")")                               \
	CASE("bt %ecx, (" bx ")")                                \
	CASE("mov $77, %ecx; bts %ecx, (" bx ")")                \
	CASE("mov $-9, %ecx; btr %ecx, 16(" bx ")")              \
	CASE("pushl (" bx ")")                                   \
	CASE("pushw 2(" bx ")")                                  \
	CASE("popw (" bx ")")                                    \
	CASE("movsb")                                            \
	CASE("movsl")                                            \
	CASE("stosb")                                            \
	CASE("stosw")                                            \
	CASE("stosl")                                            \
	CASE("lodsb")                                            \
	CASE("lodsl")                                            \
	CASE("cmpsb")                                            \
	CASE("cmpsl")                                            \
	CASE("scasb")                                            \
	CASE("scasw")                                            \
	CASE("rep movsb")                                        \
	CASE("rep movsl")                                        \
	CASE("rep stosl")                                        \
	CASE("rep lodsw")                                        \
	CASE("repe cmpsb")                                       \
	CASE("repne scasb")                                      \
	CASE("xor %ecx, %ecx; rep movsl")                        \
	CASE("std; rep movsw; cld")                              \
	CASE("mov %gs:16, %eax")                                 \
	CASE("mov %eax, %gs:20")

/* PUSH and POP of 32 bits do not exist in 64-bit mode. */
CASES(cases16, 16,
      COMMON("%bx", "%si", "%di") CASE("mov (%bx,%si), %ax")
	      CASE("mov %cx, 6(%bx,%di)") CASE("mov 0x10(%ebx), %eax")
		      CASE("popl (%bx)") CASE("mov %cs, (%bx)")
			      CASE("mov %cs, (%bx)") CASE("mov 0x20, %eax"));

CASES(cases32, 32,
      COMMON("%ebx", "%esi", "%edi") CASE("mov (%ebx,%ecx,8), %eax") CASE(
	      "popl (%ebx)") CASE("mov %ds, (%ebx)") CASE("mov %ds, (%ebx)")
	      CASE("mov $0xc000, %esi; rep movsb") CASE(
		      "mov $0xc000, %edi; rep movsl") CASE("movbe %eax, (%ebx)")
		      CASE("movnti %eax, (%ebx)") CASE("movups %xmm1, (%ebx)")
			      CASE("movdqu 3(%ebx), %xmm2")
				      CASE("cmpxchg8b (%ebx)"));

CASES(cases64, 64,
      CASE("mov %ah, 1(%rbx)") CASE("mov 3(%rbx), %ch") CASE("mov 2(%rbx), %cx") CASE("mov %spl, (%rbx)") CASE(
	      "mov 4(%rbx), %esp") CASE("mov (%rbx), %rsp") CASE("mov %rsp, 8(%rbx)") CASE("mov 0xfff(%rbx), %al")
	      CASE("mov %eax, 0xffc(%rbx)") CASE("mov 0xff9(%rbx), %rax") CASE("movl $-2, -8(%rbx,%rcx,4)") CASE(
		      "mov %rax, (%rbx)") CASE("mov %rax, 3(%rbx)") CASE("mov 9(%rbx), %r9") CASE("mov (%rbx), %sil")
		      CASE("mov %r10b, 2(%rbx)") CASE("mov (%rbx,%rcx,8), %rax") CASE("mov -8(%rdi), %r15d") CASE(
			      "mov (%ebx), %eax") CASE("movq $-5, 16(%rbx)") CASE("movzbl (%rbx), %r8d") CASE("movzbq (%rbx), %r8")
			      CASE("movzwq 1(%rbx), %rax") CASE("movsbq (%rbx), %rax") CASE("movswq (%rbx), %rax") CASE(
				      "movslq 4(%rbx), %r11") CASE("add %rax, (%rbx)") CASE("adc (%rbx), %r12") CASE("subq $0x7f, (%rbx)")
				      CASE("lock orq $1, 8(%rbx)") CASE("cmp %rdx, (%rbx)") CASE("testq $-1, (%rbx)") CASE(
					      "xchg %rax, (%rbx)") CASE("lock xadd %r13, (%rbx)") CASE("mov (%r8), %rax; lock cmpxchg %rcx, (%rbx)")
					      CASE("notq (%rbx)") CASE("negq (%rbx)") CASE("incq (%rbx)") CASE(
						      "decq 8(%rbx)") CASE("mov $-130, %rcx; bts %rcx, 24(%rbx)") CASE("btq $63, (%rbx)")
						      CASE("pushq (%rbx)") CASE("pushw 4(%rbx)") CASE(
							      "popq (%rbx)") CASE("lea 64(%rbx), %rsp; push %rax; push $-9; pop %rcx") CASE("lea 64(%rbx), %rsp; push %rax; pop %rcx")
							      CASE("movsq") CASE("stosq") CASE(
								      "lodsq") CASE("cmpsq") CASE("scasq") CASE("rep movsq")
								      CASE("rep stosb") CASE("rep stosq") CASE("mov %r8, %rsi; rep movsq") CASE(
									      "mov %r8, %rdi; rep movsq") CASE("mov %r8, %rdi; rep movsb") CASE("mov %r8, %rsi; mov $100, %ecx; rep movsb")
									      CASE("mov %r8, %rdi; mov $100, %ecx; rep movsb") CASE("mov $1000, %ecx; rep stosb") CASE(
										      "repne scasl") CASE("addr32 rep movsl")
										      CASE("mov %gs:16, %rax") CASE("mov %ax, %gs:40") CASE(
											      "movnti %rax, (%rbx)") CASE("movnti %ecx, 4(%rbx)")
											      CASE("movbe %rax, (%rbx)") CASE("movbe 5(%rbx), %ecx") CASE(
												      "movbe (%rbx), %dx") CASE("movups %xmm1, (%rbx)")
												      CASE("movups 1(%rbx), %xmm3") CASE(
													      "movaps %xmm15, 16(%rbx)")
													      CASE("movaps (%rbx), %xmm9") CASE(
														      "movdqu %xmm1, 5(%rbx)")
														      CASE("movdqa 32(%rbx), %xmm0")
															      CASE("movupd (%rbx), %xmm4")
																      CASE("movntdq %xmm2, (%rbx)")
      /* Across the edge of memory, and from one device page to the next */
      CASE("mov %rax, -3(%rbx)") CASE("mov -2(%rbx), %eax")
	      CASE("mov %rax, 0xffb(%rbx)") CASE("mov 0xfff(%rbx), %rcx")
		      CASE("addl $0x10101, 0xffe(%rbx)")
			      CASE("movups 0xff8(%rbx), %xmm1"));

static struct {
	u8 bytes[DEVICE_SIZE];
	u8 reads[DEVICE_SIZE];
	u8 writes[DEVICE_SIZE];
} device;

static void fill(u8 *bytes, size_t n)
{
	size_t i;

	for (i = 0; i < n; i++)
		bytes[i] = 0x9d * (i + 1) ^ i >> 3;
}

/* What the guest is left with, pointers relative to where its data is. */
struct outcome {
	u64 regs[16];
	u64 flags;
	u8 xmm[16][16];
	u8 below[16];
	u8 bytes[DEVICE_SIZE];
	u8 scratch[256];
};

FIXTURE(exits_mmio)
{
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(exits_mmio)
{
	struct vm *vm = vm_new();

	ASSERT_EQ(0, vm_slot(vm, 0, 0, 0, 0, NULL));
	ASSERT_EQ(0, vm_slot(vm, 0, 0, 0, MMIO_BASE, vm->mem));
	ASSERT_EQ(0, vm_slot(vm, 1, 0, MMIO_BASE + WINDOW,
			     VM_MEMORY - MMIO_BASE - WINDOW,
			     vm->mem + MMIO_BASE + WINDOW));
	self->vm = vm;
	self->vcpu = vcpu_new(vm, 0);
}

FIXTURE_TEARDOWN(exits_mmio)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

static void answer(struct kvm_run *run)
{
	u64 offset = run->mmio.phys_addr - MMIO_BASE;
	u32 i;

	if (run->mmio.len > 8 || offset + run->mmio.len > DEVICE_SIZE)
		die("MMIO at %#llx, %u bytes", run->mmio.phys_addr,
		    run->mmio.len);
	for (i = 0; i < run->mmio.len; i++, offset++) {
		if (run->mmio.is_write) {
			device.bytes[offset] = run->mmio.data[i];
			device.writes[offset]++;
		} else {
			run->mmio.data[i] = device.bytes[offset];
			device.reads[offset]++;
		}
	}
}

/* KVM_SET_FPU would do, but for KVM, which forgets to mark XMM as in use. */
static void set_xmm(struct vcpu *vcpu)
{
	struct kvm_xsave xsave = { .region = { [0] = 0x37f, [6] = 0x1f80 } };

	fill((u8 *)&xsave.region[40], 16 * 16);
	xsave.region[128] = 3;
	MUST(vcpu->fd, KVM_SET_XSAVE, &xsave);
}

static void set_state(struct vcpu *vcpu, enum mode mode, u64 base, u64 rip)
{
	struct kvm_regs regs = {
		.rax = 0x8899aabbccddee11,
		.rbx = base,
		.rcx = 3,
		.rdx = 0x123456789abcdef0,
		.rsi = base + 16,
		.rdi = base + 36,
		.rbp = 0x55,
		.rsp = REAL_STACK,
		.r8 = 0xc000,
		.r9 = 9,
		.r10 = 0xaa,
		.r11 = 11,
		.r12 = 0xffffffffffff0000,
		.r13 = 13,
		.r14 = 14,
		.r15 = 15,
		.rip = rip,
		.rflags = 3,
	};
	struct kvm_sregs sregs;

	vcpu_mode(vcpu, mode);
	vcpu_get_sregs(vcpu, &sregs);
	sregs.gs.base = base;
	if (mode == MODE_REAL) {
		sregs.gs.selector = base >> 4;
		sregs.ds = sregs.es = sregs.gs;
		regs.rbx = 0;
		regs.rsi = 16;
		regs.rdi = 36;
	}
	if (vcpu_set_sregs(vcpu, &sregs))
		die("KVM_SET_SREGS");
	vcpu_set_regs(vcpu, &regs);
	set_xmm(vcpu);
}

/* Flags that the instruction defines; what others become is its own affair. */
static u64 defined_flags(const char *text)
{
	return strstr(text, "bt") ? 0x401 : 0xcd5;
}

static void get_outcome(struct vcpu *vcpu, const char *text, u64 base,
			struct outcome *o)
{
	struct kvm_regs regs;
	struct kvm_fpu fpu;
	unsigned int i;

	vcpu_get_regs(vcpu, &regs);
	memcpy(o->regs, &regs, sizeof(o->regs));
	for (i = 0; i < 16; i++)
		if (o->regs[i] - base < WINDOW)
			o->regs[i] -= base;
	o->flags = regs.rflags & defined_flags(text);
	if (!strncmp(text, "and", 3) || !strncmp(text, "or", 2) ||
	    !strncmp(text, "xor", 3) || !strncmp(text, "test", 4) ||
	    !strncmp(text, "lock or", 7))
		o->flags &= ~0x10ull;
	MUST(vcpu->fd, KVM_GET_FPU, &fpu);
	memcpy(o->xmm, fpu.xmm, sizeof(o->xmm));
	memcpy(o->bytes, base == RAM_BASE ? vcpu->vm->mem + base : device.bytes,
	       DEVICE_SIZE);
	memcpy(o->below, vcpu->vm->mem + base - 16, 16);
	memcpy(o->scratch, vcpu->vm->mem + 0xc000, sizeof(o->scratch));
}

static void run_case(struct vcpu *vcpu, enum mode mode,
		     const struct insn_case *c, u64 base, u64 rip,
		     struct outcome *o)
{
	u8 *mem = vcpu->vm->mem;

	memset(&device, 0, sizeof(device));
	fill(device.bytes, DEVICE_SIZE);
	fill(mem + RAM_BASE - 16, 16);
	fill(mem + MMIO_BASE - 16, 16);
	fill(mem + RAM_BASE, DEVICE_SIZE);
	fill(mem + 0xc000, 256);
	memset(mem + REAL_STACK - 64, 0, 64);
	memcpy(mem + rip, c->code, sizeof(c->code));
	set_state(vcpu, mode, base, rip);
	while (vcpu_exit(vcpu) == KVM_EXIT_MMIO)
		answer(vcpu->run);
	if (vcpu->run->exit_reason != KVM_EXIT_HLT)
		die("%s mode, %s: %s", mode_names[mode], c->text,
		    vcpu_describe(vcpu));
	get_outcome(vcpu, c->text, base, o);
}

static bool touched_once(void)
{
	unsigned int i, reads = 0, writes = 0;

	for (i = 0; i < DEVICE_SIZE; i++) {
		reads |= device.reads[i];
		writes |= device.writes[i];
	}
	return (reads | writes) == 1;
}

/* The first thing in which two outcomes differ, or NULL. */
static const char *difference(const struct outcome *a, const struct outcome *b)
{
	if (memcmp(a->regs, b->regs, sizeof(a->regs)))
		return "registers";
	if (a->flags != b->flags)
		return "flags";
	if (memcmp(a->xmm, b->xmm, sizeof(a->xmm)))
		return "XMM registers";
	if (memcmp(a->bytes, b->bytes, sizeof(a->bytes)))
		return "the device";
	if (memcmp(a->below, b->below, sizeof(a->below)))
		return "memory before the device";
	if (memcmp(a->scratch, b->scratch, sizeof(a->scratch)))
		return "memory";
	return NULL;
}

static void run_cases(struct __test_metadata *_metadata, struct vcpu *vcpu,
		      enum mode mode, const struct insn_case *c,
		      const struct insn_case *end, u64 rip)
{
	static struct outcome native, emulated;
	const char *what;

	for (; c < end; c++) {
		/* KVM does not emulate this one. */
		if (!lab_is_labvisor() && strstr(c->text, "movbe") &&
		    strstr(c->text, "%dx"))
			continue;
		run_case(vcpu, mode, c, RAM_BASE, rip, &native);
		run_case(vcpu, mode, c, MMIO_BASE, rip, &emulated);
		what = difference(&native, &emulated);
		EXPECT_EQ(NULL, what)
		TH_LOG("%s mode, %s: %s", mode_names[mode], c->text, what);
		EXPECT_TRUE(touched_once() || !strncmp(c->text, "xor %ecx", 8))
		TH_LOG("%s mode, %s: a byte was accessed twice",
		       mode_names[mode], c->text);
	}
}

TEST_F(exits_mmio, real_mode)
{
	run_cases(_metadata, self->vcpu, MODE_REAL, cases16, cases16_end,
		  CODE_GPA);
}

TEST_F(exits_mmio, protected_mode)
{
	run_cases(_metadata, self->vcpu, MODE_PROT, cases32, cases32_end,
		  CODE_GPA);
}

TEST_F(exits_mmio, paged_mode)
{
	run_cases(_metadata, self->vcpu, MODE_PSE, cases32, cases32_end,
		  CODE_GPA);
}

TEST_F(exits_mmio, pae_mode)
{
	run_cases(_metadata, self->vcpu, MODE_PAE, cases32, cases32_end,
		  CODE_GPA);
}

TEST_F(exits_mmio, long_mode)
{
	run_cases(_metadata, self->vcpu, MODE_LONG, cases64, cases64_end,
		  CODE_GPA);
}

/* The instruction itself lies across a page boundary. */
TEST_F(exits_mmio, code_across_pages)
{
	run_cases(_metadata, self->vcpu, MODE_REAL, cases16, cases16_end,
		  CODE_GPA + PAGE_SIZE - 1);
	run_cases(_metadata, self->vcpu, MODE_PAE, cases32, cases32_end,
		  CODE_GPA + PAGE_SIZE - 1);
	run_cases(_metadata, self->vcpu, MODE_LONG, cases64, cases64_end,
		  CODE_GPA + PAGE_SIZE - 2);
}

TEST_HARNESS_MAIN
