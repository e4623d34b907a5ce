// SPDX-License-Identifier: GPL-2.0-only
/* The state in which a vCPU starts, and how it looks when it ended. */
#include <asm/processor-flags.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

#include "layout.h"
#include "vcpu.h"

#define EFER_LME BIT(8)
#define EFER_LMA BIT(10)

#define MSR_MTRR_DEF_TYPE 0x2ff
#define MTRR_ENABLED BIT(11)
#define MTRR_WRITE_BACK 6

#define LAPIC_LVT_LINT0 0x350
#define LAPIC_LVT_LINT1 0x360
#define LVT_NMI 0x400
#define LVT_EXTINT 0x700

/* Selectors as the Linux boot protocol wants them, and a 32-bit code segment. */
#define SEL_CODE64 0x10
#define SEL_DATA 0x18
#define SEL_CODE32 0x20

static const u64 gdt[] = {
	[SEL_CODE64 / 8] = 0x00af9b000000ffff,
	[SEL_DATA / 8] = 0x00cf93000000ffff,
	[SEL_CODE32 / 8] = 0x00cf9b000000ffff,
};

#define PTE_PRESENT BIT(0)
#define PTE_WRITE BIT(1)
#define PTE_LARGE BIT(7)
#define PTES 512

/**
 * vcpu_set_msrs() - do what firmware does to MSRs
 *
 * With the MTRRs disabled all memory is uncached on paper, and Linux then
 * does without PAT, too.
 */
void vcpu_set_msrs(struct vcpu *vcpu)
{
	struct {
		struct kvm_msrs info;
		struct kvm_msr_entry entry;
	} msrs = {
		.info.nmsrs = 1,
		.entry.index = MSR_MTRR_DEF_TYPE,
		.entry.data = MTRR_ENABLED | MTRR_WRITE_BACK,
	};

	if (ioctl(vcpu->fd, KVM_SET_MSRS, &msrs) != 1)
		note("vCPU %u: the MTRRs stay disabled", vcpu->id);
}

/** vcpu_set_lapic() - wire the PIC and NMIs to the boot CPU, as firmware does. */
void vcpu_set_lapic(struct vcpu *vcpu)
{
	struct kvm_lapic_state lapic;

	vcpu_ioctl(vcpu, KVM_GET_LAPIC, &lapic, "KVM_GET_LAPIC");
	*(u32 *)(lapic.regs + LAPIC_LVT_LINT0) = LVT_EXTINT;
	*(u32 *)(lapic.regs + LAPIC_LVT_LINT1) = LVT_NMI;
	vcpu_ioctl(vcpu, KVM_SET_LAPIC, &lapic, "KVM_SET_LAPIC");
}

static struct kvm_segment segment(u16 selector)
{
	u64 desc = gdt[selector / 8];

	return (struct kvm_segment){
		.limit = 0xffffffff,
		.selector = selector,
		.type = desc >> 40 & 0xf,
		.s = 1,
		.present = 1,
		.l = desc >> 53 & 1,
		.db = desc >> 54 & 1,
		.g = 1,
	};
}

static void *low_memory(const struct vcpu *vcpu, u64 gpa, u64 size)
{
	void *p = ram_ptr(vcpu->vm, gpa, size);

	if (!p)
		die(EXIT_USAGE, "too little memory: give at least --memory 1M");
	return p;
}

static void load_segments(struct vcpu *vcpu, struct kvm_sregs *sregs, u16 code)
{
	memcpy(low_memory(vcpu, GPA_GDT, sizeof(gdt)), gdt, sizeof(gdt));
	sregs->gdt.base = GPA_GDT;
	sregs->gdt.limit = sizeof(gdt) - 1;
	sregs->idt.base = 0;
	sregs->idt.limit = 0;
	sregs->cs = segment(code);
	sregs->ds = segment(SEL_DATA);
	sregs->es = sregs->fs = sregs->gs = sregs->ss = sregs->ds;
	sregs->cr0 |= X86_CR0_PE;
}

/* Map the first 4 GiB one to one, in pages of 2 MiB. */
static void load_page_tables(struct vcpu *vcpu, struct kvm_sregs *sregs)
{
	u64(*table)[PTES];
	u64 i;

	table = low_memory(vcpu, GPA_PAGE_TABLES, 6 * sizeof(*table));
	memset(table, 0, 6 * sizeof(*table));
	table[0][0] = (GPA_PAGE_TABLES + 0x1000) | PTE_PRESENT | PTE_WRITE;
	for (i = 0; i < 4; i++)
		table[1][i] = (GPA_PAGE_TABLES + 0x2000 + i * 0x1000) |
			      PTE_PRESENT | PTE_WRITE;
	for (i = 0; i < 4 * PTES; i++)
		table[2][i] = i * MIB(2) | PTE_PRESENT | PTE_WRITE | PTE_LARGE;
	sregs->cr3 = GPA_PAGE_TABLES;
	sregs->cr4 |= X86_CR4_PAE;
	sregs->cr0 |= X86_CR0_PG;
	sregs->efer |= EFER_LME | EFER_LMA;
}

static void set_regs(struct vcpu *vcpu, u64 rip, u64 rsp, u64 rsi)
{
	struct kvm_regs regs = {
		.rip = rip,
		.rsp = rsp,
		.rsi = rsi,
		.rflags = X86_EFLAGS_FIXED,
	};

	vcpu_ioctl(vcpu, KVM_SET_REGS, &regs, "KVM_SET_REGS");
}

/** vcpu_enter_real() - start in real mode at 0:@ip, as from a boot sector. */
void vcpu_enter_real(struct vcpu *vcpu, u16 ip)
{
	struct kvm_sregs sregs;

	vcpu_ioctl(vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	vcpu_ioctl(vcpu, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
	set_regs(vcpu, ip, ip, 0);
}

/** vcpu_enter_protected() - start in flat 32-bit mode, without paging. */
void vcpu_enter_protected(struct vcpu *vcpu, u64 rip)
{
	struct kvm_sregs sregs;

	vcpu_ioctl(vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
	load_segments(vcpu, &sregs, SEL_CODE32);
	vcpu_ioctl(vcpu, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
	set_regs(vcpu, rip, GPA_EBDA, 0);
}

/** vcpu_enter_long() - start in 64-bit mode, 4 GiB mapped one to one. */
void vcpu_enter_long(struct vcpu *vcpu, u64 rip, u64 rsi)
{
	struct kvm_sregs sregs;

	vcpu_ioctl(vcpu, KVM_GET_SREGS, &sregs, "KVM_GET_SREGS");
	load_segments(vcpu, &sregs, SEL_CODE64);
	load_page_tables(vcpu, &sregs);
	vcpu_ioctl(vcpu, KVM_SET_SREGS, &sregs, "KVM_SET_SREGS");
	set_regs(vcpu, rip, GPA_EBDA, rsi);
}

static void dump_code(struct vcpu *vcpu, u64 linear, FILE *out)
{
	struct kvm_translation tr = { .linear_address = linear };
	const u8 *p;
	int i;

	if (ioctl(vcpu->fd, KVM_TRANSLATE, &tr) < 0 || !tr.valid)
		return;
	p = ram_ptr(vcpu->vm, tr.physical_address, 1);
	if (!p)
		return;
	fprintf(out, "  code at %#" PRIx64 ":", linear);
	/* Not past the page: the next one may be elsewhere. */
	for (i = 0; i < 16 && (linear + i) >> 12 == linear >> 12; i++)
		fprintf(out, " %02x", p[i]);
	fputc('\n', out);
}

static void dump_segment(const char *name, const struct kvm_segment *s,
			 FILE *out)
{
	fprintf(out,
		"  %s  %04x base %016llx limit %08x type %x s %u dpl %u p %u l %u db %u\n",
		name, s->selector, s->base, s->limit, s->type, s->s, s->dpl,
		s->present, s->l, s->db);
}

static void dump_gprs(const struct kvm_regs *regs, FILE *out)
{
	static const char *const names[] = {
		"rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rsp", "rbp", "r8 ",
		"r9 ", "r10", "r11", "r12", "r13", "r14", "r15", "rip", "rfl",
	};
	const __u64 *values = &regs->rax; /* in the order of @names */
	size_t i;

	for (i = 0; i < ARRAY_SIZE(names); i++)
		fprintf(out, "  %s %016llx%s", names[i], values[i],
			i % 3 == 2 ? "\n" : "");
}

/** vcpu_dump() - print the registers, and the bytes of the next instruction. */
void vcpu_dump(struct vcpu *vcpu, FILE *out)
{
	struct kvm_sregs sregs;
	struct kvm_regs regs;

	if (ioctl(vcpu->fd, KVM_GET_REGS, &regs) < 0 ||
	    ioctl(vcpu->fd, KVM_GET_SREGS, &sregs) < 0)
		return;
	fprintf(out, "vCPU %u:\n", vcpu->id);
	dump_gprs(&regs, out);
	dump_segment("cs", &sregs.cs, out);
	dump_segment("ss", &sregs.ss, out);
	dump_segment("ds", &sregs.ds, out);
	dump_segment("es", &sregs.es, out);
	dump_segment("fs", &sregs.fs, out);
	dump_segment("gs", &sregs.gs, out);
	dump_segment("tr", &sregs.tr, out);
	dump_segment("ld", &sregs.ldt, out);
	fprintf(out, "  gdt %016llx limit %04x  idt %016llx limit %04x\n",
		sregs.gdt.base, sregs.gdt.limit, sregs.idt.base,
		sregs.idt.limit);
	fprintf(out,
		"  cr0 %016llx  cr2 %016llx  cr3 %016llx\n"
		"  cr4 %016llx  cr8 %016llx  efr %016llx\n",
		sregs.cr0, sregs.cr2, sregs.cr3, sregs.cr4, sregs.cr8,
		sregs.efer);
	dump_code(vcpu, sregs.cs.base + regs.rip, out);
}
