// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_RUN: what it completes before anything else, what ends it early, and
 * what it tells and is told in struct kvm_run.
 */
#include <signal.h>
#include "guest.h"
#include <linux/kvm_para.h>
#include <kselftest_harness.h>

#define DEVICE_SIZE (2 * PAGE_SIZE)

FIXTURE(run)
{
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(run)
{
	self->vm = vm_new();
	self->vcpu = vcpu_new(self->vm, 0);
}

FIXTURE_TEARDOWN(run)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

/*
 * Accesses that user space has to complete: the text of the instruction, and
 * its code. RBX points to a device of two pages, RSI and RDI to memory.
 */
struct insn_case {
	char text[64];
	u8 code[64];
};

#define CASE(insn)               \
	".balign 128\n"          \
	".asciz \"" insn "\"\n"  \
	".balign 64\n" insn "\n" \
	"hlt\n"

extern const struct insn_case cases[], cases_end[];
/* clang-format off */
asm(".pushsection .rodata\n.balign 128\ncases:\n"
    CASE("in $0x80, %al")
    CASE("in %dx, %eax")
    CASE("out %ax, $0x80")
    CASE("insw")
    CASE("rep insb")
    CASE("rep insl")
    CASE("rep outsb")
    CASE("rep outsw")
    CASE("mov (%rbx), %rax")
    CASE("mov %rax, (%rbx)")
    CASE("mov 0xffc(%rbx), %rax")
    CASE("mov %rax, 0xffd(%rbx)")
    CASE("movups (%rbx), %xmm1")
    CASE("movups %xmm1, (%rbx)")
    CASE("movups 0xff3(%rbx), %xmm1")
    CASE("movups %xmm1, 0xff3(%rbx)")
    CASE("addl $0x1234567, (%rbx)")
    CASE("addq $0x1234567, 0xffe(%rbx)")
    CASE("xchg %rax, 8(%rbx)")
    CASE("pushq 0xffb(%rbx)")
    CASE("mov %rbx, %rsi; rep movsl")
    CASE("mov %rbx, %rdi; rep movsq")
    CASE("mov %rbx, %rdi; rep insb")
    ".balign 128\ncases_end:\n.popsection");
/* clang-format on */

/* How to enter after an exit, until that has completed the access. */
enum entry {
	PLAIN,
	IMMEDIATE_EXIT,
	PENDING_SIGNAL,
	NR_ENTRIES
};

struct outcome {
	struct kvm_regs regs;
	struct kvm_fpu fpu;
	u8 memory[64], stack[64];
	u8 device[DEVICE_SIZE];
	u32 log[64][4]; /* each access that user space saw */
	unsigned int accesses;
	unsigned int interrupted; /* entries that ended with EINTR */
};

static void answer(struct kvm_run *run, struct outcome *o)
{
	u8 *data = (u8 *)run + run->io.data_offset;
	u32 *log = o->log[o->accesses++], i;
	u64 offset;

	if (o->accesses == ARRAY_LEN(o->log))
		die("too many accesses");
	if (run->exit_reason == KVM_EXIT_IO) {
		log[0] = run->io.direction;
		log[1] = run->io.port;
		log[2] = run->io.size;
		log[3] = run->io.count;
		for (i = 0; i < run->io.size * run->io.count; i++)
			if (run->io.direction == KVM_EXIT_IO_IN)
				data[i] = 0x40 + o->accesses + i;
			else
				o->device[i] += data[i];
		return;
	}
	offset = run->mmio.phys_addr - MMIO_GPA;
	log[0] = 2 + run->mmio.is_write;
	log[1] = offset;
	log[2] = run->mmio.len;
	if (run->mmio.len > 8 || offset + run->mmio.len > DEVICE_SIZE)
		die("MMIO of %u bytes at %#llx", run->mmio.len,
		    run->mmio.phys_addr);
	if (run->mmio.is_write)
		memcpy(o->device + offset, run->mmio.data, run->mmio.len);
	else
		memcpy(run->mmio.data, o->device + offset, run->mmio.len);
}

static void fill(u8 *bytes, size_t n, u8 seed)
{
	while (n--)
		*bytes++ = seed += 0x3b;
}

static void prepare(struct vcpu *vcpu, const struct insn_case *c,
		    struct outcome *o)
{
	struct kvm_xsave xsave = { .region = { [0] = 0x37f, [6] = 0x1f80 } };
	struct kvm_regs regs;

	memset(o, 0, sizeof(*o));
	fill(o->device, DEVICE_SIZE, 7);
	fill(vcpu->vm->mem + DATA_GPA, sizeof(o->memory), 99);
	vcpu_load(vcpu, MODE_LONG, c->code, c->code + sizeof(c->code));
	vcpu_get_regs(vcpu, &regs);
	regs.rax = 0x8877665544332211;
	regs.rbx = MMIO_GPA;
	regs.rcx = 3;
	regs.rdx = 0x2345;
	regs.rsi = regs.rdi = DATA_GPA;
	vcpu_set_regs(vcpu, &regs);
	fill((u8 *)&xsave.region[40], 256, 5);
	xsave.region[128] = 3;
	MUST(vcpu->fd, KVM_SET_XSAVE, &xsave);
}

/* Enter so that nothing is executed. */
static int enter(struct vcpu *vcpu, enum entry entry)
{
	const struct timespec none = {};
	sigset_t usr1;
	int ret;

	if (entry == PENDING_SIGNAL)
		raise(SIGUSR1);
	vcpu->run->immediate_exit = entry == IMMEDIATE_EXIT;
	ret = vcpu_run(vcpu);
	vcpu->run->immediate_exit = 0;
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigtimedwait(&usr1, NULL, &none);
	return ret;
}

/* Run a case to its HLT. */
static void run_case(struct vcpu *vcpu, const struct insn_case *c,
		     enum entry entry, struct outcome *o)
{
	struct kvm_run *run = vcpu->run;
	int ret;

	prepare(vcpu, c, o);
	for (;;) {
		ret = vcpu_run(vcpu);
		while (!ret && run->exit_reason != KVM_EXIT_HLT) {
			if (run->exit_reason != KVM_EXIT_IO &&
			    run->exit_reason != KVM_EXIT_MMIO)
				die("%s: %s", c->text, vcpu_describe(vcpu));
			answer(run, o);
			if (entry == PLAIN)
				break;
			ret = enter(vcpu, entry);
			/* What was answered is not looked at again. */
			if (ret == -EINTR) {
				memset((u8 *)run + PAGE_SIZE, 0xee, PAGE_SIZE);
				memset(run->mmio.data, 0xee, 8);
			}
		}
		if (ret && ret != -EINTR)
			die("%s: %s", c->text, strerror(-ret));
		if (!ret && run->exit_reason == KVM_EXIT_HLT)
			break;
		o->interrupted += ret == -EINTR;
	}
	vcpu_get_regs(vcpu, &o->regs);
	MUST(vcpu->fd, KVM_GET_FPU, &o->fpu);
	memcpy(o->memory, vcpu->vm->mem + DATA_GPA, sizeof(o->memory));
	memcpy(o->stack, vcpu->vm->mem + (o->regs.rsp & -16ul),
	       sizeof(o->stack));
}

static void set_mask(struct vcpu *vcpu)
{
	struct {
		struct kvm_signal_mask head;
		u8 bytes[8];
	} mask = { .head.len = 8 };
	sigset_t usr1;

	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	MUST(vcpu->fd, KVM_SET_SIGNAL_MASK, &mask);
}

/*
 * With a signal pending or immediate_exit set KVM_RUN completes the access,
 * executes nothing, and leaves no trace in what comes out.
 */
TEST_F(run, completes_first)
{
	static struct outcome plain, other;
	const struct insn_case *c;
	enum entry entry;

	set_mask(self->vcpu);
	for (c = cases; c < cases_end; c++) {
		run_case(self->vcpu, c, PLAIN, &plain);
		EXPECT_NE(0, plain.accesses) TH_LOG("%s", c->text);
		EXPECT_EQ(0, plain.interrupted) TH_LOG("%s", c->text);
		for (entry = IMMEDIATE_EXIT; entry < NR_ENTRIES; entry++) {
			run_case(self->vcpu, c, entry, &other);
			EXPECT_NE(0, other.interrupted)
			TH_LOG("%s, entry %u", c->text, entry);
			other.interrupted = 0;
			EXPECT_EQ(0, memcmp(&plain, &other, sizeof(plain)))
			TH_LOG("%s, entry %u", c->text, entry);
		}
	}
}

/* An access is split at pages, and into 8 bytes. */
TEST_F(run, fragments)
{
	static const struct {
		const char *text;
		u32 at[3], len[3];
	} want[] = {
		{ "movups (%rbx), %xmm1", { 0, 8 }, { 8, 8 } },
		{ "movups %xmm1, (%rbx)", { 0, 8 }, { 8, 8 } },
		{ "mov 0xffc(%rbx), %rax", { 0xffc, 0x1000 }, { 4, 4 } },
		{ "mov %rax, 0xffd(%rbx)", { 0xffd, 0x1000 }, { 3, 5 } },
		{ "mov (%rbx), %rax", { 0 }, { 8 } },
	};
	static struct outcome o;
	const struct insn_case *c;
	unsigned int i, k;

	for (i = 0; i < ARRAY_LEN(want); i++) {
		for (c = cases; strcmp(c->text, want[i].text); c++)
			ASSERT_TRUE(c + 1 < cases_end);
		run_case(self->vcpu, c, PLAIN, &o);
		for (k = 0; k < 3; k++) {
			EXPECT_EQ(want[i].at[k], o.log[k][1])
			TH_LOG("%s", c->text);
			EXPECT_EQ(want[i].len[k], o.log[k][2])
			TH_LOG("%s", c->text);
		}
	}
}

static int enable(struct vm *vm, u32 number, u64 arg)
{
	struct kvm_enable_cap cap = { .cap = number, .args[0] = arg };

	return dev_ioctl(vm->fd, KVM_ENABLE_CAP, &cap);
}

SNIPPET(64, vmmcall64, "vmmcall\nhlt\n");
SNIPPET(64, vmcall64, "vmcall\nhlt\n");
SNIPPET(32, vmmcall32, "vmmcall\nhlt\n");
SNIPPET(32, vmcall32, "vmcall\nhlt\n");

static void load_hypercall(struct vcpu *vcpu, bool wide, u64 gpa, u64 pages)
{
	const bool intel = cpuid(0, 0).ebx == 0x756e6547;
	struct kvm_regs regs;

	if (wide)
		vcpu_load(vcpu, MODE_LONG, intel ? vmcall64 : vmmcall64,
			  intel ? vmcall64_end : vmmcall64_end);
	else
		vcpu_load(vcpu, MODE_PROT, intel ? vmcall32 : vmmcall32,
			  intel ? vmcall32_end : vmmcall32_end);
	vcpu_get_regs(vcpu, &regs);
	regs.rax = KVM_HC_MAP_GPA_RANGE;
	regs.rbx = gpa;
	regs.rcx = pages;
	regs.rdx = 0x700000011;
	vcpu_set_regs(vcpu, &regs);
}

static u64 rax(struct vcpu *vcpu)
{
	struct kvm_regs regs;

	vcpu_get_regs(vcpu, &regs);
	return regs.rax;
}

TEST_F(run, hypercall)
{
	const u64 all = vm_cap(self->vm, KVM_CAP_EXIT_HYPERCALL);
	struct kvm_run *run = self->vcpu->run;
	struct kvm_regs regs;

	ASSERT_EQ(1ul << KVM_HC_MAP_GPA_RANGE, all);
	load_hypercall(self->vcpu, true, 0x1000, 1);
	EXPECT_EXIT(KVM_EXIT_HLT, self->vcpu);
	EXPECT_EQ(-KVM_ENOSYS, rax(self->vcpu));
	EXPECT_EQ(-EINVAL,
		  enable(self->vm, KVM_CAP_EXIT_HYPERCALL, all | all << 1));
	ASSERT_EQ(0, enable(self->vm, KVM_CAP_EXIT_HYPERCALL, all));

	load_hypercall(self->vcpu, true, 0x200000000000, 3);
	ASSERT_EXIT(KVM_EXIT_HYPERCALL, self->vcpu);
	EXPECT_EQ(KVM_HC_MAP_GPA_RANGE, run->hypercall.nr);
	EXPECT_EQ(0x200000000000, run->hypercall.args[0]);
	EXPECT_EQ(3, run->hypercall.args[1]);
	EXPECT_EQ(0x700000011, run->hypercall.args[2]);
	EXPECT_EQ(1, run->hypercall.longmode);
	run->hypercall.ret = 0x1234567890abcdef;
	run->immediate_exit = 1;
	EXPECT_EQ(-EINTR, vcpu_run(self->vcpu));
	run->immediate_exit = 0;
	vcpu_get_regs(self->vcpu, &regs);
	EXPECT_EQ(0x1234567890abcdef, regs.rax);
	EXPECT_EQ(CODE_GPA + 3, regs.rip);
	EXPECT_EXIT(KVM_EXIT_HLT, self->vcpu);

	load_hypercall(self->vcpu, false, 0x900001000, 0x500000002);
	ASSERT_EXIT(KVM_EXIT_HYPERCALL, self->vcpu);
	EXPECT_EQ(0x1000, run->hypercall.args[0]);
	EXPECT_EQ(2, run->hypercall.args[1]);
	EXPECT_EQ(0x11, run->hypercall.args[2]);
	EXPECT_EQ(0, run->hypercall.longmode);
	run->hypercall.ret = 0x1234567890abcdef;
	EXPECT_EXIT(KVM_EXIT_HLT, self->vcpu);
	EXPECT_EQ(0x90abcdef, rax(self->vcpu));
}

TEST_F(run, hypercall_refused)
{
	static const u64 ranges[][2] = {
		{ 0x1001, 1 },
		{ 0x1000, 0 },
		{ 0x1000, ~0ull },
	};
	unsigned int i;

	ASSERT_EQ(0, enable(self->vm, KVM_CAP_EXIT_HYPERCALL,
			    1 << KVM_HC_MAP_GPA_RANGE));
	for (i = 0; i < ARRAY_LEN(ranges); i++) {
		load_hypercall(self->vcpu, true, ranges[i][0], ranges[i][1]);
		EXPECT_EXIT(KVM_EXIT_HLT, self->vcpu);
		EXPECT_EQ(-KVM_EINVAL, rax(self->vcpu)) TH_LOG("%u", i);
	}
}

SNIPPET(64, fpu_mmio, "fldl (%rbx)\nhlt\n");

TEST_F(run, emulation_failure)
{
	struct kvm_run *run = self->vcpu->run;
	struct kvm_regs regs;

	VCPU_SNIPPET(self->vcpu, MODE_LONG, fpu_mmio);
	vcpu_get_regs(self->vcpu, &regs);
	regs.rbx = MMIO_GPA;
	vcpu_set_regs(self->vcpu, &regs);
	ASSERT_EXIT(KVM_EXIT_INTERNAL_ERROR, self->vcpu);
	EXPECT_EQ(KVM_INTERNAL_ERROR_EMULATION,
		  run->emulation_failure.suberror);
	EXPECT_LE(3, run->emulation_failure.ndata);
	EXPECT_EQ(KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES,
		  run->emulation_failure.flags);
	EXPECT_EQ(0, memcmp(run->emulation_failure.insn_bytes, fpu_mmio, 2));
	vcpu_get_regs(self->vcpu, &regs);
	EXPECT_EQ(CODE_GPA, regs.rip);
}

static int set_events(struct vcpu *vcpu, u32 flags, u8 pending)
{
	struct kvm_vcpu_events events;

	MUST(vcpu->fd, KVM_GET_VCPU_EVENTS, &events);
	events.flags = flags;
	events.triple_fault.pending = pending;
	return dev_ioctl(vcpu->fd, KVM_SET_VCPU_EVENTS, &events);
}

SNIPPET(64, hlt_code, "hlt\n");

TEST_F(run, triple_fault_event)
{
	const u32 valid = KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	struct kvm_vcpu_events e;

	VCPU_SNIPPET(self->vcpu, MODE_LONG, hlt_code);
	EXPECT_EQ(-EINVAL, set_events(self->vcpu, valid, 1));
	ASSERT_EQ(0, enable(self->vm, KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1));
	EXPECT_EQ(0, set_events(self->vcpu, 0, 1));
	MUST(self->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	EXPECT_NE(0, e.flags & valid);
	EXPECT_EQ(0, e.triple_fault.pending);
	EXPECT_EQ(0, set_events(self->vcpu, valid, 1));
	MUST(self->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	EXPECT_EQ(1, e.triple_fault.pending);
	EXPECT_EXIT(KVM_EXIT_SHUTDOWN, self->vcpu);
	MUST(self->vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	EXPECT_EQ(0, e.triple_fault.pending);
	EXPECT_EQ(0, set_events(self->vcpu, valid, 1));
	EXPECT_EQ(0, set_events(self->vcpu, valid, 0));
	VCPU_SNIPPET(self->vcpu, MODE_LONG, hlt_code);
	EXPECT_EXIT(KVM_EXIT_HLT, self->vcpu);
}

TEST_HARNESS_MAIN
