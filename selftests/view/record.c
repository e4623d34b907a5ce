// SPDX-License-Identifier: GPL-2.0-only
/* The record: the vCPU's state and guest memory, as far as they changed. */
#include <stdarg.h>
#include "view.h"

#define MAX_FIELDS 640

struct state {
	unsigned int n;
	char name[MAX_FIELDS][20];
	u64 value[MAX_FIELDS];
};

static struct state last, now;

/* Memory that scripts and the CPU write to, stacks apart: events show those. */
static const struct {
	u64 gpa, size;
} areas[] = {
	{ 0, 0x7000 },
	{ CODE_GPA, LOW_STACK - PAGE_SIZE - CODE_GPA },
	/* QEMU sets the accessed bit in PDPTEs of PAE paging: not those. */
	{ TABLES_GPA, 0x6000 },
	{ TABLES_GPA + 0x7000, 0x9000 },
};

static u8 *old_memory;

void note(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vprintf(fmt, args);
	va_end(args);
	putchar('\n');
}

/* Sections are what the records are compared by. */
void section(const char *name)
{
	note("== %s", name);
}

static void add(u64 value, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
static void add(u64 value, const char *fmt, ...)
{
	va_list args;

	if (now.n == MAX_FIELDS)
		die("too many fields");
	va_start(args, fmt);
	vsnprintf(now.name[now.n], sizeof(now.name[0]), fmt, args);
	va_end(args);
	now.value[now.n++] = value;
}

static void add_regs(struct vcpu *vcpu)
{
	static const char *const names[] = {
		"rax", "rbx", "rcx", "rdx", "rsi", "rdi",
		"rsp", "rbp", "r8",  "r9",  "r10", "r11",
		"r12", "r13", "r14", "r15", "rip", "rflags",
	};
	struct kvm_regs regs;
	unsigned int i;

	vcpu_get_regs(vcpu, &regs);
	regs.rflags &= ~RFLAGS_RF;
	for (i = 0; i < ARRAY_LEN(names); i++)
		add((&regs.rax)[i], "%s", names[i]);
}

/*
 * Normalised: nothing is said about what a CPU keeps of a segment that is not
 * usable (AMD's the old one or zeros, Intel's all but a bit) other than its
 * selector, in long mode the base of FS and GS, and of SS the privilege level.
 * QEMU calls some null selectors usable, Bochs a CS of real mode data.
 */
static void add_segment(const char *name, const struct kvm_segment *s,
			const struct kvm_sregs *sregs, bool v86)
{
	const bool real = !(sregs->cr0 & X86_CR0_PE);
	const bool null = !(s->selector & ~3) && !real && !v86;
	const bool usable = !s->unusable && (!null || name[0] == 't');
	const bool has_base = sregs->efer & EFER_LMA &&
			      (name[0] == 'f' || name[0] == 'g');

	add(s->selector, "%s.selector", name);
	add(!usable, "%s.unusable", name);
	add(usable || has_base ? s->base : 0, "%s.base", name);
	add(usable ? s->limit : 0, "%s.limit", name);
	add(usable && !(real && name[0] == 'c') ? s->type : 0, "%s.type", name);
	add(usable ? s->present : 0, "%s.present", name);
	add(usable || name[0] == 's' ? s->dpl : 0, "%s.dpl", name);
	add(usable ? s->db : 0, "%s.db", name);
	add(usable ? s->s : 0, "%s.s", name);
	add(usable ? s->l : 0, "%s.l", name);
	add(usable ? s->g : 0, "%s.g", name);
	add(usable ? s->avl : 0, "%s.avl", name);
}

static void add_sregs(struct vcpu *vcpu)
{
	struct kvm_sregs2 s2 = {};
	struct kvm_sregs s;
	unsigned int i;
	struct kvm_regs regs;
	bool v86;

	vcpu_get_sregs(vcpu, &s);
	MUST(vcpu->fd, KVM_GET_SREGS2, &s2);
	vcpu_get_regs(vcpu, &regs);
	v86 = regs.rflags >> 17 & 1;
	add_segment("cs", &s.cs, &s, v86);
	add_segment("ds", &s.ds, &s, v86);
	add_segment("es", &s.es, &s, v86);
	add_segment("fs", &s.fs, &s, v86);
	add_segment("gs", &s.gs, &s, v86);
	add_segment("ss", &s.ss, &s, v86);
	add_segment("tr", &s.tr, &s, v86);
	add_segment("ldt", &s.ldt, &s, v86);
	add(s.gdt.base, "gdt.base");
	add(s.gdt.limit, "gdt.limit");
	add(s.idt.base, "idt.base");
	add(s.idt.limit, "idt.limit");
	add(s.cr0, "cr0");
	add(s.cr2, "cr2");
	add(s.cr3, "cr3");
	add(s.cr4, "cr4");
	add(s.cr8, "cr8");
	add(s.efer, "efer");
	add(s.apic_base, "apic_base");
	for (i = 0; i < 4; i++)
		add(s.interrupt_bitmap[i], "bitmap%u", i);
	add(memcmp(&s, &s2, offsetof(struct kvm_sregs2, flags)), "sregs2");
	add(s2.flags, "sregs2.flags");
	for (i = 0; i < 4; i++)
		add(s2.flags ? s2.pdptrs[i] : 0, "pdpte%u", i);
}

/* Normalised: SVM has one interrupt shadow, and KVM shows it as both. */
static void add_events(struct vcpu *vcpu)
{
	struct kvm_mp_state mp = {};
	struct kvm_vcpu_events e;

	MUST(vcpu->fd, KVM_GET_VCPU_EVENTS, &e);
	MUST(vcpu->fd, KVM_GET_MP_STATE, &mp);
	add(e.exception.injected, "exception");
	add(e.exception.injected ? e.exception.nr : 0, "exception.nr");
	add(e.exception.injected ? e.exception.error_code : 0,
	    "exception.error");
	add(e.interrupt.injected, "interrupt");
	add(e.interrupt.injected ? e.interrupt.nr : 0, "interrupt.nr");
	add(!!e.interrupt.shadow, "interrupt.shadow");
	add(e.nmi.injected, "nmi.injected");
	add(e.nmi.pending, "nmi.pending");
	add(e.nmi.masked, "nmi.masked");
	add(e.smi.latched_init, "latched_init");
	add(mp.mp_state, "mp_state");
	add(vcpu->run->if_flag, "run.if");
	add(vcpu->run->cr8, "run.cr8");
	add(vcpu->run->apic_base, "run.apic_base");
	add(vcpu->run->ready_for_interrupt_injection, "run.ready");
}

static void add_debugregs(struct vcpu *vcpu)
{
	struct kvm_debugregs d;
	unsigned int i;

	MUST(vcpu->fd, KVM_GET_DEBUGREGS, &d);
	for (i = 0; i < 4; i++)
		add(d.db[i], "dr%u", i);
	add(d.dr6, "dr6");
	add(d.dr7, "dr7");
}

/*
 * Normalised: QEMU's x87 neither tells whether it rounded up (C1) nor keeps
 * the address of the last instruction. MXCSR is for scripts to store, as
 * KVM_GET_FPU of KVM says that it is 0.
 */
static void add_fpu(struct vcpu *vcpu)
{
	struct kvm_xcrs xcrs = {};
	struct kvm_fpu f;
	unsigned int i;
	u64 half[2];

	MUST(vcpu->fd, KVM_GET_FPU, &f);
	for (i = 0; i < 8; i++) {
		memcpy(half, f.fpr[i], 16);
		add(half[0], "st%u", i);
		add(half[1] & 0xffff, "st%u.exponent", i);
	}
	for (i = 0; i < 16; i++) {
		memcpy(half, f.xmm[i], 16);
		add(half[0], "xmm%u.low", i);
		add(half[1], "xmm%u.high", i);
	}
	add(f.fcw, "fcw");
	add(f.fsw & ~0x200, "fsw");
	add(f.ftwx, "ftw");
	MUST(vcpu->fd, KVM_GET_XCRS, &xcrs);
	add(xcrs.xcrs[0].value, "xcr0");
}

/* MSRs that both vendors have, and that do not count time. */
static void add_msrs(struct vcpu *vcpu)
{
	static const struct {
		u32 index, n;
	} msrs[] = {
		{ MSR_APIC_BASE, 1 },	{ MSR_MTRR_CAP, 1 },
		{ MSR_SYSENTER_CS, 3 }, { 0x1d9, 1 }, /* DEBUGCTL */
		{ 0x200, 16 },		{ 0x250, 1 },
		{ 0x258, 2 },		{ 0x268, 8 },
		{ MSR_PAT, 1 },		{ MSR_MTRR_DEF, 1 },
		{ MSR_EFER, 1 },	{ MSR_STAR, 4 },
		{ MSR_KERNEL_GS, 1 },	{ MSR_TSC_AUX, 1 },
	};
	unsigned int i, j;
	u64 value;

	for (i = 0; i < ARRAY_LEN(msrs); i++) {
		for (j = 0; j < msrs[i].n; j++) {
			value = 0;
			add(vcpu_get_msr(vcpu, msrs[i].index + j, &value),
			    "msr%x.error", msrs[i].index + j);
			add(value, "msr%x", msrs[i].index + j);
		}
	}
}

void record_start(void)
{
	memset(&last, 0, sizeof(last));
}

/* Print what changed; of a vCPU's first state, what is not zero. */
void record_state(struct vcpu *vcpu)
{
	unsigned int i;

	now.n = 0;
	add_regs(vcpu);
	add_sregs(vcpu);
	add_events(vcpu);
	add_debugregs(vcpu);
	add_fpu(vcpu);
	add_msrs(vcpu);
	for (i = 0; i < now.n; i++)
		if (now.value[i] != last.value[i])
			note("    %s = %#llx", now.name[i],
			     (unsigned long long)now.value[i]);
	last = now;
}

static void record_page(struct vm *vm, u64 gpa)
{
	unsigned int i, shown = 0;
	u64 old, new;

	for (i = 0; i < PAGE_SIZE; i += 8) {
		memcpy(&old, old_memory + gpa + i, 8);
		memcpy(&new, vm->mem + gpa + i, 8);
		if (old != new &&shown++ < 32)
			note("    [%#llx] = %#llx", (unsigned long long)gpa + i,
			     (unsigned long long)new);
	}
	if (shown > 32)
		note("    ... %u words", shown);
	memcpy(old_memory + gpa, vm->mem + gpa, PAGE_SIZE);
}

/* Print the words of memory that changed since the last time. */
void record_memory(struct vm *vm)
{
	unsigned int i;
	u64 gpa;

	for (i = 0; i < ARRAY_LEN(areas); i++)
		for (gpa = areas[i].gpa; gpa < areas[i].gpa + areas[i].size;
		     gpa += PAGE_SIZE)
			if (memcmp(old_memory + gpa, vm->mem + gpa, PAGE_SIZE))
				record_page(vm, gpa);
}

/* Begin with memory as it is. */
void record_hash(struct vm *vm)
{
	u64 gpa, word, hash = 0xcbf29ce484222325;
	unsigned int i;

	if (!old_memory)
		old_memory = map_memory(VM_MEMORY);
	for (i = 0; i < ARRAY_LEN(areas); i++) {
		for (gpa = areas[i].gpa; gpa < areas[i].gpa + areas[i].size;
		     gpa += 8) {
			memcpy(&word, vm->mem + gpa, 8);
			hash = (hash ^ word) * 0x100000001b3;
		}
		memcpy(old_memory + areas[i].gpa, vm->mem + areas[i].gpa,
		       areas[i].size);
	}
	note("  memory %#llx", (unsigned long long)hash);
}

static void record_bytes(const char *name, const void *data, unsigned int size)
{
	const u8 *byte = data;
	unsigned int i;

	printf("    %s", name);
	for (i = 0; i < size; i++)
		printf("%s%02x", i % 32 ? "" : " ", byte[i]);
	putchar('\n');
}

/* The interrupt controllers, without what counts down. */
void record_irqchip(struct vm *vm, struct vcpu *vcpu)
{
	struct kvm_irqchip chip;
	struct kvm_lapic_state lapic;
	static const char *const names[] = { "pic0", "pic1", "ioapic" };
	unsigned int i;

	for (i = 0; i < 3; i++) {
		memset(&chip, 0, sizeof(chip));
		chip.chip_id = i;
		MUST(vm->fd, KVM_GET_IRQCHIP, &chip);
		record_bytes(names[i], &chip.chip,
			     i < 2 ? sizeof(chip.chip.pic)
				   : sizeof(chip.chip.ioapic));
	}
	MUST(vcpu->fd, KVM_GET_LAPIC, &lapic);
	memset(lapic.regs + APIC_TMCCT, 0, 4);
	for (i = 0x20; i < 0x400; i += 16)
		if (memcmp(lapic.regs + i, "\0\0\0", 4))
			note("    apic.%x = %#x", i,
			     *(u32 *)(void *)(lapic.regs + i));
}
