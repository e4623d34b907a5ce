// SPDX-License-Identifier: GPL-2.0-only
/* Running scripts, and showing each exit and each event. */
#include "view.h"

static void put64(struct vm *vm, u64 gpa, u64 value)
{
	memcpy(vm->mem + gpa, &value, 8);
}

/* ---- descriptor tables and handlers ---- */

static bool has_error_code(u32 vector)
{
	return vector == DF_VECTOR || (vector >= 10 && vector <= 14) ||
	       vector == 17;
}

static void build_stub(struct vm *vm, u64 table, u32 vector, u32 flags)
{
	static const u8 drop[3][4] = {
		{ 0x83, 0xc4, 2 },
		{ 0x83, 0xc4, 4 },
		{ 0x48, 0x83, 0xc4, 8 },
	};
	unsigned int bits = (table - STUBS16_GPA) / 0x1000;
	u8 *stub = vm->mem + table + vector * 16;
	u32 distance;

	*stub++ = 0xe6; /* out %al, $PORT_TRAP */
	*stub++ = PORT_TRAP;
	if (bits && has_error_code(vector)) {
		memcpy(stub, drop[bits], 4);
		stub += bits == 2 ? 4 : 3;
	}
	if (bits == 2 && flags & WITH_IRQCHIP && vector >= 32) {
		*stub++ = 0xe9; /* jmp EOI_GPA */
		distance = (vector < 0x30 ? PIC_EOI_GPA : EOI_GPA) -
			   (stub + 4 - vm->mem);
		memcpy(stub, &distance, 4);
		return;
	}
	if (bits == 2)
		*stub++ = 0x48;
	*stub++ = 0xcf; /* iret */
}

SNIPPET(64, eoi_code,
	"push %rax\n"
	"mov $0xfee000b0, %eax\n"
	"movl $0, (%rax)\n"
	"pop %rax\n"
	"iretq\n");

SNIPPET(64, pic_eoi_code,
	"push %rax\n"
	"mov $0x20, %al\n"
	"out %al, $0xa0\n"
	"out %al, $0x20\n"
	"pop %rax\n"
	"iretq\n");

static void build_handlers(struct vm *vm, u32 flags)
{
	u64 stub;
	u32 i;

	memcpy(vm->mem + EOI_GPA, eoi_code, eoi_code_end - eoi_code);
	memcpy(vm->mem + PIC_EOI_GPA, pic_eoi_code,
	       pic_eoi_code_end - pic_eoi_code);
	for (i = 0; i < 256; i++) {
		build_stub(vm, STUBS16_GPA, i, flags);
		build_stub(vm, STUBS32_GPA, i, flags);
		build_stub(vm, STUBS64_GPA, i, flags);
		stub = STUBS16_GPA + i * 16;
		memcpy(vm->mem + i * 4, &(u32){ stub }, 4);
		/* INT3, INTO and INT $0x80 are for user mode, too. */
		stub = i == 3 || i == 4 || i == 0x80 ? 0xeeull << 40
						     : 0x8eull << 40;
		put64(vm, IDT32_GPA + i * 8,
		      stub | CS32 << 16 | (STUBS32_GPA + i * 16));
		put64(vm, IDT64_GPA + i * 16,
		      stub | CS64 << 16 | (STUBS64_GPA + i * 16));
		put64(vm, IDT64_GPA + i * 16 + 8, 0);
	}
}

static void put_system(struct vm *vm, u32 selector, u64 base, u32 limit,
		       u64 type)
{
	put64(vm, GDT_GPA + selector,
	      limit | (base & 0xffffff) << 16 | (0x80 | type) << 40);
	put64(vm, GDT_GPA + selector + 8, 0);
}

/* All are accessed already, a mark that QEMU does not set at every load. */
static void build_gdt(struct vm *vm, bool wide)
{
	static const u64 gdt[] = {
		[CS32 / 8] = 0x00cf9b000000ffff,
		[DATA / 8] = 0x00cf93000000ffff,
		[CS64 / 8] = 0x00af9b000000ffff,
		[UCS32 / 8] = 0x00cffb000000ffff,
		[UDATA / 8] = 0x00cff3000000ffff,
		[UCS64 / 8] = 0x00affb000000ffff,
		[CS16 / 8] = 0x00009b000000ffff,
		[DATA16 / 8] = 0x000093000000ffff,
		[ABSENT / 8] = 0x00cf13000000ffff,
		[SMALL / 8] = 0x004093008000ffff,
		[DOWN / 8] = 0x0040970000008fff,
		[RDONLY / 8] = 0x00cf91000000ffff,
		[EXECONLY / 8] = 0x00cf99000000ffff,
		[CONFORM / 8] = 0x00cf9f000000ffff,
	};

	memcpy(vm->mem + GDT_GPA, gdt, sizeof(gdt));
	/* The gate leads to a far return in the page of stubs. */
	put64(vm, GDT_GPA + GATE,
	      (wide ? CS64 : CS32) << 16 | 0xecull << 40 | 0x6f80);
	put64(vm, GDT_GPA + GATE + 8, 0);
	memcpy(vm->mem + 0x6f80, "\x48\xcb", 2);
	if (!wide)
		memcpy(vm->mem + 0x6f80, "\xcb", 2);
	put_system(vm, TSS2, TSS32_GPA + 0x200, 0x67, 9);
	put_system(vm, LDT, GDT_GPA + 0x800, 0xff, 2);
	put_system(vm, TSS, wide ? TSS64_GPA : TSS32_GPA, 0xff, 0xb);
	put64(vm, GDT_GPA + 0x800 + 8, 0x00cf93000000ffff);
}

static void build_tss(struct vm *vm)
{
	u8 *tss = vm->mem + TSS32_GPA;

	memcpy(tss + 4, &(u32){ LOW_STACK }, 4);
	memcpy(tss + 8, &(u32){ DATA }, 4);
	/* I/O map: ports 0xf0 to 0xff and 0x300 to 0x3ff are allowed. */
	memcpy(tss + 0x66, &(u16){ 0x68 }, 2);
	memset(tss + 0x68, 0xff, 0x98);
	memset(tss + 0x68 + 0xf0 / 8, 0, 2);
	tss = vm->mem + TSS64_GPA;
	put64(vm, TSS64_GPA + 4, STACKS_GPA + STACK_SIZE - 0x400);
	put64(vm, TSS64_GPA + 0x24, STACKS_GPA + 0x1000); /* IST1 */
	memcpy(tss + 0x66, &(u16){ 0x68 }, 2);
	memset(tss + 0x68, 0xff, 0x98);
	memset(tss + 0x68 + 0xf0 / 8, 0, 2);
}

/* A TSS is shown as busy, but QEMU knows one that is not, only. */
void script_set_sregs(struct vcpu *vcpu, struct kvm_sregs *s)
{
	s->tr.type = 9;
	if (vcpu_set_sregs(vcpu, s))
		die("state of the script");
}

/* After vcpu_mode(): use the tables of scripts. */
void script_tables(struct vcpu *vcpu, enum mode mode)
{
	const bool wide = mode == MODE_LONG;
	struct kvm_sregs s;

	vcpu_get_sregs(vcpu, &s);
	s.gdt.base = GDT_GPA;
	s.gdt.limit = 0xfff;
	if (mode != MODE_REAL) {
		s.idt.base = wide ? IDT64_GPA : IDT32_GPA;
		s.idt.limit = wide ? 0xfff : 0x7ff;
	}
	s.tr = (struct kvm_segment){
		.base = wide ? TSS64_GPA : TSS32_GPA,
		.limit = 0xff,
		.selector = TSS,
		.type = 9,
		.present = 1,
	};
	script_set_sregs(vcpu, &s);
}

struct vcpu *script_vcpu(u32 flags)
{
	struct vm *vm = flags & WITH_IRQCHIP ? vm_new_irqchip() : vm_new();
	struct kvm_fpu fpu = { .fcw = 0x37f, .mxcsr = 0x1f80 };
	struct kvm_pit_config pit = {};
	struct vcpu *vcpu;

	if (flags & WITH_PIT)
		MUST(vm->fd, KVM_CREATE_PIT2, &pit);
	vcpu = vcpu_new(vm, 0);
	set_cpuid_table(vcpu);
	MUST(vcpu->fd, KVM_SET_FPU, &fpu);
	build_handlers(vm, flags);
	build_tss(vm);
	return vcpu;
}

/* ---- exits ---- */

static void show_io(struct kvm_run *run)
{
	u8 *data = (u8 *)run + run->io.data_offset;
	unsigned int i, n = run->io.count * run->io.size;

	printf("  %s %#x: %u x %u", run->io.direction ? "out" : "in",
	       run->io.port, run->io.count, run->io.size);
	for (i = 0; i < n; i++) {
		if (run->io.direction == KVM_EXIT_IO_IN)
			data[i] = run->io.port + 0x11 * i + 1;
		if (i < 64)
			printf("%s%02x", i ? "" : ": ", data[i]);
	}
	putchar('\n');
}

static void show_mmio(struct kvm_run *run)
{
	unsigned int i;

	printf("  mmio %s %#llx:", run->mmio.is_write ? "write" : "read",
	       run->mmio.phys_addr);
	for (i = 0; i < run->mmio.len; i++) {
		if (!run->mmio.is_write)
			run->mmio.data[i] = run->mmio.phys_addr + 0x31 * i + 7;
		printf(" %02x", run->mmio.data[i]);
	}
	putchar('\n');
}

static void show_exit(struct kvm_run *run)
{
	switch (run->exit_reason) {
	case KVM_EXIT_IO:
		show_io(run);
		break;
	case KVM_EXIT_MMIO:
		show_mmio(run);
		break;
	case KVM_EXIT_INTERNAL_ERROR:
		/* The rest is the vendor's. */
		note("  internal error %u", run->internal.suberror);
		break;
	case KVM_EXIT_DEBUG:
		note("  debug: vector %u pc %#llx dr6 %#llx",
		     run->debug.arch.exception, run->debug.arch.pc,
		     run->debug.arch.dr6);
		break;
	default:
		note("  exit %u", run->exit_reason);
	}
}

/*
 * Let the vCPU complete the access that it exited for, and no more. False: the
 * instruction has another one, and that is the exit now.
 */
bool finish_exit(struct vcpu *vcpu)
{
	int ret;

	vcpu->run->immediate_exit = 1;
	ret = vcpu_run(vcpu);
	vcpu->run->immediate_exit = 0;
	if (ret && ret != -EINTR)
		die("completion: %s", strerror(-ret));
	return ret == -EINTR;
}

/* ---- events ---- */

struct frame {
	unsigned int size; /* of a word */
	u8 *mem;
};

static struct frame event_frame(struct vcpu *vcpu, u64 rip)
{
	static const u8 sizes[] = { 2, 4, 8 };
	struct frame frame = { sizes[(rip - STUBS16_GPA) / 0x1000] };
	struct kvm_sregs s;
	struct kvm_regs r;

	vcpu_get_regs(vcpu, &r);
	vcpu_get_sregs(vcpu, &s);
	if (!s.ss.db && frame.size != 8)
		r.rsp = (u16)r.rsp;
	frame.mem = vcpu->vm->mem + r.rsp + (frame.size == 8 ? 0 : s.ss.base);
	if (frame.mem >= vcpu->vm->mem + VM_MEMORY - 64)
		die("stack at %#llx", r.rsp);
	return frame;
}

static u64 frame_word(const struct frame *frame, unsigned int i)
{
	u64 word = 0;

	memcpy(&word, frame->mem + i * frame->size, frame->size);
	return word;
}

/*
 * Normalised: of selector error codes bit 0, which QEMU never sets, and the
 * index into the IDT, of which it takes the offset; of a page fault for a
 * reserved bit, the present bit, which QEMU does not set.
 */
static u64 error_code(u32 vector, u64 error)
{
	if (vector == PF_VECTOR)
		return error & 8 ? error | 1 : error;
	if (vector < 10 || vector > 13)
		return error;
	return error & 2 ? 2 : error & ~1ull;
}

static u32 show_event(struct vcpu *vcpu, u64 rip, bool skip)
{
	u32 vector = rip % 0x1000 / 16, first = 0;
	struct frame frame = event_frame(vcpu, rip);
	struct kvm_regs r;
	bool outer;

	printf("  event %#x", vector);
	if (frame.size > 2 && has_error_code(vector))
		printf(" error %#llx",
		       (unsigned long long)error_code(
			       vector, frame_word(&frame, first++)));
	outer = frame.size == 8 ||
		(frame.size == 4 && (frame_word(&frame, first + 1) & 3 ||
				     frame_word(&frame, first + 2) >> 17 & 1));
	printf(" at %#llx:%#llx flags %#llx",
	       (unsigned long long)frame_word(&frame, first + 1),
	       (unsigned long long)frame_word(&frame, first),
	       (unsigned long long)frame_word(&frame, first + 2) & ~RFLAGS_RF);
	if (outer)
		printf(" stack %#llx:%#llx",
		       (unsigned long long)frame_word(&frame, first + 4),
		       (unsigned long long)frame_word(&frame, first + 3));
	putchar('\n');
	vcpu_get_regs(vcpu, &r);
	if (!skip || !r.rbp || vector >= 32)
		return vector;
	/* Go on where TRY() says. */
	memcpy(frame.mem + first * frame.size, &r.rbp, frame.size);
	r.rbp = 0;
	vcpu_set_regs(vcpu, &r);
	return vector;
}

static bool is_stub(u64 rip)
{
	return rip >= STUBS16_GPA && rip < STUBS64_GPA + 0x1000;
}

/* ---- the run ---- */

static bool is_port(struct kvm_run *run, u16 port)
{
	return run->exit_reason == KVM_EXIT_IO && run->io.port == port &&
	       run->io.direction == KVM_EXIT_IO_OUT;
}

static u64 rip_of(struct vcpu *vcpu)
{
	struct kvm_regs regs;

	vcpu_get_regs(vcpu, &regs);
	return regs.rip;
}

/* One exit. False: the script is over. */
static bool script_exit(struct vcpu *vcpu, const struct script *script)
{
	struct kvm_run *run = vcpu->run;
	u32 reason = run->exit_reason, what = 0;
	bool trap = is_port(run, PORT_TRAP), host = is_port(run, PORT_HOST);
	bool end = is_port(run, PORT_END), step = is_port(run, PORT_STEP);

	if (host)
		what = *((u8 *)run + run->io.data_offset);
	if (!trap && !host && !end && !step)
		show_exit(run);
	if (reason == KVM_EXIT_SHUTDOWN || reason == KVM_EXIT_INTERNAL_ERROR ||
	    reason == KVM_EXIT_FAIL_ENTRY) {
		record_state(vcpu);
		return false;
	}
	while (!finish_exit(vcpu))
		show_exit(run);
	if (reason == KVM_EXIT_IRQ_WINDOW_OPEN)
		what = HOST_WINDOW;
	if (trap && is_stub(rip_of(vcpu)))
		what = HOST_EVENT +
		       show_event(vcpu, rip_of(vcpu), !(script->flags & LOOPS));
	else
		note("  at %#llx", (unsigned long long)rip_of(vcpu));
	record_state(vcpu);
	record_memory(vcpu->vm);
	if (what && script->on_host)
		script->on_host(vcpu, what);
	return !end;
}

#define MAX_EXITS 500

void script_run(struct vcpu *vcpu, const struct script *script)
{
	unsigned int i;
	int ret;

	build_gdt(vcpu->vm, script->mode == MODE_LONG);
	vcpu_load(vcpu, script->mode, script->code, script->end);
	script_tables(vcpu, script->mode);
	if (script->prepare)
		script->prepare(vcpu);
	record_hash(vcpu->vm);
	record_state(vcpu);
	for (i = 0; i < MAX_EXITS; i++) {
		ret = vcpu_run(vcpu);
		if (ret) {
			note("  KVM_RUN: %s", strerror(-ret));
			return;
		}
		if (!script_exit(vcpu, script))
			return;
	}
	note("  no end");
}

/* Each script has a VM of its own. */
void scripts_run(const struct script *scripts, unsigned int n)
{
	struct vcpu *vcpu;
	struct vm *vm;
	unsigned int i;

	for (i = 0; i < n; i++) {
		section(scripts[i].name);
		record_start();
		vcpu = script_vcpu(scripts[i].flags);
		vm = vcpu->vm;
		script_run(vcpu, &scripts[i]);
		fflush(stdout);
		vcpu_free(vcpu);
		vm_free(vm);
	}
}
