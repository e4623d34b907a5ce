// SPDX-License-Identifier: GPL-2.0-only
/*
 * Random state, set and read back bit for bit: by itself, as a whole in another
 * VM, and with bits that make no sense. What is refused gets the right errno and
 * changes nothing.
 *
 * SEED and ROUNDS in the environment give other runs.
 */
#include "guest.h"
#include <kselftest_harness.h>

#define MAX_MSRS 255
#define NR_CHIPS 3

/* ---- random numbers ---- */

static u64 seed;

static u64 rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed * 0x2545f4914f6cdd1d;
}

static u64 below(u64 n)
{
	return rnd() % n;
}

static bool coin(void)
{
	return rnd() >> 40 & 1;
}

static u64 canonical(void)
{
	return (u64)((int64_t)(rnd() << 16) >> 16);
}

/* Numbers as they occur: few bits, small ones, addresses, anything. */
static u64 rnd_value(void)
{
	switch (below(5)) {
	case 0:
		return 1ull << below(64);
	case 1:
		return below(256);
	case 2:
		return canonical();
	case 3:
		return (u32)rnd();
	default:
		return rnd();
	}
}

static void fill(void *data, size_t size)
{
	u8 *byte = data;

	while (size--)
		*byte++ = rnd() >> 24;
}

/* ---- all state of a VM with one vCPU ---- */

enum {
	REGS,
	SREGS,
	SREGS2,
	FPU,
	XSAVE,
	XCRS,
	DEBUGREGS,
	EVENTS,
	MP_STATE,
	LAPIC,
	PIC_MASTER,
	PIC_SLAVE,
	IOAPIC,
	PIT,
	NR_KINDS,
	MSRS = NR_KINDS,
};

struct state {
	struct kvm_regs regs;
	struct kvm_sregs sregs;
	struct kvm_sregs2 sregs2;
	struct kvm_fpu fpu;
	struct kvm_xsave xsave;
	struct kvm_xcrs xcrs;
	struct kvm_debugregs debugregs;
	struct kvm_vcpu_events events;
	struct kvm_mp_state mp_state;
	struct kvm_lapic_state lapic;
	struct kvm_irqchip chips[NR_CHIPS];
	struct kvm_pit_state2 pit;
	u64 msrs[MAX_MSRS];
};

/* One vCPU, what it may have, and the MSRs that are state. */
static struct {
	struct vm *vm;
	struct vcpu *vcpu;
	u64 xcr0, cr4;
	u32 mxcsr;
	u8 phys_bits;
	bool is_vmx, has_x2apic;
	struct kvm_msr_list *msrs;
} m;

static void make_regs(void *data)
{
	struct kvm_regs *regs = data;

	fill(regs, sizeof(*regs));
	regs->rflags = (regs->rflags & 0x3f7fd5) | 2;
}

/* A segment as a CPU has it: accessed, and G says how the limit is meant. */
static void make_segment(struct kvm_segment *s, u8 type, bool code_or_data)
{
	*s = (struct kvm_segment){
		.base = (u32)rnd(),
		.limit = below(1 << 20),
		.selector = rnd(),
		.type = type,
		.present = 1,
		.dpl = below(4),
		.db = coin(),
		.s = code_or_data,
		.avl = coin(),
	};
	if (coin()) {
		s->limit = s->limit << 12 | 0x1000fff;
		s->g = 1;
	}
}

/* One that cannot be used keeps what it had. */
static void make_data(struct kvm_segment *s, bool wide)
{
	make_segment(s, 1 + 2 * below(4), true);
	s->present = coin();
	s->unusable = !s->present;
	if (wide)
		s->base = canonical();
}

static void make_crs(struct kvm_sregs2 *s, enum mode mode)
{
	static const u64 cr0[NR_MODES] = {
		[MODE_PROT] = X86_CR0_PE,
		[MODE_PSE] = X86_CR0_PE | X86_CR0_PG,
		[MODE_PAE] = X86_CR0_PE | X86_CR0_PG,
		[MODE_LONG] = X86_CR0_PE | X86_CR0_PG,
	};
	const u64 optional = X86_CR0_MP | X86_CR0_EM | X86_CR0_TS | X86_CR0_NE |
			     X86_CR0_WP | X86_CR0_CD | 1 << 18 /* AM */;
	const u64 pcide = 1 << 17;

	s->cr0 = cr0[mode] | X86_CR0_ET | (rnd() & optional);
	if (s->cr0 & X86_CR0_CD && coin())
		s->cr0 |= X86_CR0_NW;
	s->cr4 = rnd() & m.cr4 & ~(u64)(X86_CR4_PAE | pcide);
	s->efer = rnd() & (EFER_SCE | EFER_NX);
	if (mode >= MODE_PAE || (mode < MODE_PSE && coin()))
		s->cr4 |= X86_CR4_PAE;
	if (mode < MODE_PSE && coin())
		s->efer |= EFER_LME;
	s->cr3 = mode == MODE_LONG ? rnd() >> (64 - m.phys_bits) : (u32)rnd();
	if (mode == MODE_LONG) {
		s->efer |= EFER_LME | EFER_LMA;
		s->cr4 |= coin() ? m.cr4 & pcide : 0;
	}
	/* PDPTEs come from there. */
	if (mode == MODE_PAE)
		s->cr3 = TABLES_GPA + 0x6000 + (rnd() & 0x1f);
}

static void make_sregs2(void *data)
{
	enum mode mode = below(NR_MODES);
	struct kvm_sregs2 *s = data;
	unsigned int i;

	memset(s, 0, sizeof(*s));
	make_crs(s, mode);
	make_segment(&s->cs, 9 + 2 * below(4), true);
	if (mode == MODE_LONG && coin()) {
		s->cs.l = 1;
		s->cs.db = 0;
	}
	make_data(&s->ds, false);
	make_data(&s->es, false);
	make_data(&s->ss, false);
	make_data(&s->fs, true);
	make_data(&s->gs, true);
	make_segment(&s->ldt, 2, false);
	s->ldt.base = canonical();
	make_segment(&s->tr, 11, false);
	s->tr.base = canonical();
	s->gdt.base = canonical();
	s->gdt.limit = rnd();
	s->idt.base = canonical();
	s->idt.limit = rnd();
	s->cr2 = rnd();
	s->cr8 = below(16);
	s->apic_base = APIC_GPA | 1 << 8 | 1 << 11 |
		       (m.has_x2apic && coin()) << 10;
	if (mode != MODE_PAE)
		return;
	s->flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
	for (i = 0; i < 4; i++)
		s->pdptrs[i] = coin() ? 0 : (rnd() & 0xffffe00) << 12 | 1;
}

static void make_sregs(void *data)
{
	struct kvm_sregs *s = data;
	u8 vector = rnd();

	make_sregs2(data);
	memset(s->interrupt_bitmap, 0, sizeof(s->interrupt_bitmap));
	s->interrupt_bitmap[vector / 64] |= 1ull << vector % 64;
}

static void make_fpu(void *data)
{
	struct kvm_fpu *fpu = data;

	fill(fpu, sizeof(*fpu));
	fpu->pad1 = 0;
	fpu->mxcsr &= m.mxcsr;
	fpu->pad2 = 0;
}

#define XSAVE_BV 128 /* in region[]: the header, which is 64 bytes */
#define XSAVE_YMM 144

/* What the header leaves out reads as its initial value: begin with that. */
static void make_xsave(void *data)
{
	struct kvm_xsave *x = data;
	const u64 bv = rnd() & m.xcr0 & 7;

	memset(x, 0, sizeof(*x));
	x->region[0] = 0x37f;
	if (bv & 1) {
		fill(x->region, 24);
		fill(x->region + 8, 128);
	}
	x->region[6] = rnd() & m.mxcsr;
	x->region[7] = 0;
	if (bv & 2)
		fill(x->region + 40, 256);
	x->region[XSAVE_BV] = bv;
	if (bv & 4)
		fill(x->region + XSAVE_YMM, 256);
}

static void make_xcrs(void *data)
{
	struct kvm_xcrs *x = data;
	u64 xcr0 = 1 | (rnd() & m.xcr0 & 7);

	if (!(xcr0 & 2))
		xcr0 &= ~4ull;
	memset(x, 0, sizeof(*x));
	x->nr_xcrs = 1;
	x->xcrs[0].value = xcr0;
}

static void make_debugregs(void *data)
{
	struct kvm_debugregs *regs = data;

	memset(regs, 0, sizeof(*regs));
	fill(regs->db, sizeof(regs->db));
	regs->dr6 = 0xffff0ff0 | (rnd() & 0xe00f);
	regs->dr7 = 0x400 | (rnd() & 0xffff2bff);
}

static void make_events(void *data)
{
	static const u8 shadows[] = { 0, KVM_X86_SHADOW_INT_STI,
				      KVM_X86_SHADOW_INT_MOV_SS };
	struct kvm_vcpu_events *e = data;

	memset(e, 0, sizeof(*e));
	e->flags = KVM_VCPUEVENT_VALID_NMI_PENDING |
		   KVM_VCPUEVENT_VALID_SHADOW | KVM_VCPUEVENT_VALID_PAYLOAD |
		   KVM_VCPUEVENT_VALID_TRIPLE_FAULT;
	do {
		e->exception.nr = below(32);
	} while (e->exception.nr == NMI_VECTOR);
	e->exception.has_error_code = coin();
	e->exception.error_code = rnd();
	e->exception_payload = rnd();
	if (coin()) {
		e->exception.pending = 1;
		e->exception_has_payload = coin();
	} else {
		e->exception.injected = coin();
	}
	e->interrupt.injected = coin();
	e->interrupt.nr = e->interrupt.injected ? rnd() : 0;
	e->interrupt.shadow = shadows[below(3)];
	/* SVM has one bit for both. */
	if (!m.is_vmx && e->interrupt.shadow)
		e->interrupt.shadow = 3;
	e->nmi.injected = coin();
	e->nmi.pending = below(3);
	e->nmi.masked = coin();
	e->triple_fault.pending = coin();
}

static void make_mp_state(void *data)
{
	static const u32 states[] = {
		KVM_MP_STATE_RUNNABLE,
		KVM_MP_STATE_UNINITIALIZED,
		KVM_MP_STATE_INIT_RECEIVED,
		KVM_MP_STATE_HALTED,
	};
	struct kvm_mp_state *mp = data;

	mp->mp_state = states[below(ARRAY_LEN(states))];
}

static void put_reg(struct kvm_lapic_state *lapic, u32 reg, u32 value)
{
	memcpy(lapic->regs + reg, &value, 4);
}

static u32 get_reg(const struct kvm_lapic_state *lapic, u32 reg)
{
	u32 value;

	memcpy(&value, lapic->regs + reg, 4);
	return value;
}

/* The priority is derived, as a CPU does: from TPR and what is in service. */
static u32 priority(const struct kvm_lapic_state *lapic)
{
	u32 tpr = get_reg(lapic, APIC_TPR), bits, served = 0;
	int i;

	for (i = 7; i >= 0 && !served; i--) {
		bits = get_reg(lapic, APIC_ISR + 16 * i);
		if (bits)
			served = (32 * i + 31 - __builtin_clz(bits)) & 0xf0;
	}
	return (tpr & 0xf0) >= served ? tpr : served;
}

static void stop_timer(struct kvm_lapic_state *lapic)
{
	put_reg(lapic, APIC_TMICT, 0);
	put_reg(lapic, APIC_TMCCT, 0);
}

/* As long as the APIC's timer does not run: the count would. */
static void make_lapic(void *data)
{
	struct kvm_lapic_state *lapic = data, now;
	unsigned int i;
	u64 base;

	vcpu_get_msr(m.vcpu, MSR_APIC_BASE, &base);
	MUST(m.vcpu->fd, KVM_GET_LAPIC, &now);
	memset(lapic, 0, sizeof(*lapic));
	put_reg(lapic, APIC_ID, get_reg(&now, APIC_ID));
	put_reg(lapic, APIC_VERSION, get_reg(&now, APIC_VERSION));
	put_reg(lapic, APIC_TPR, below(256));
	put_reg(lapic, APIC_LDR, (u32)rnd() & 0xff000000);
	/* In x2APIC mode it is derived from the ID. */
	if (base & 1 << 10)
		put_reg(lapic, APIC_LDR, get_reg(&now, APIC_LDR));
	put_reg(lapic, APIC_DFR, coin() ? 0xffffffff : 0x0fffffff);
	put_reg(lapic, APIC_SPIV, below(0x400));
	for (i = 0; i < 24; i++)
		put_reg(lapic, APIC_ISR + 16 * i, rnd() & rnd() & rnd());
	put_reg(lapic, APIC_ISR, 0);
	put_reg(lapic, APIC_ESR, below(256));
	put_reg(lapic, APIC_ICR, rnd() & 0xcc0ff);
	put_reg(lapic, APIC_ICR2, (u32)rnd() & 0xff000000);
	put_reg(lapic, APIC_LVTT, rnd() & 0x100ff);
	for (i = 0x330; i < 0x370; i += 16)
		put_reg(lapic, i, rnd() & (i < 0x350 ? 0x107ff : 0x1a7ff));
	put_reg(lapic, 0x370, rnd() & 0x100ff);
	put_reg(lapic, APIC_TDCR, rnd() & 0xb);
	put_reg(lapic, APIC_PPR, priority(lapic));
}

static void make_pic(void *data)
{
	struct kvm_irqchip *chip = data;
	struct kvm_pic_state *pic = &chip->chip.pic;

	pic->last_irr = rnd();
	pic->irr = rnd();
	pic->imr = rnd();
	pic->isr = rnd();
	pic->priority_add = below(8);
	pic->irq_base = rnd() & 0xf8;
	pic->read_reg_select = coin();
	pic->poll = coin();
	pic->special_mask = coin();
	pic->init_state = below(4);
	pic->auto_eoi = coin();
	pic->rotate_on_auto_eoi = coin();
	pic->special_fully_nested_mode = coin();
	pic->init4 = coin();
	pic->elcr_mask = chip->chip_id == KVM_IRQCHIP_PIC_MASTER ? 0xf8 : 0xde;
	pic->elcr = rnd() & pic->elcr_mask;
}

static void make_pic_master(void *data)
{
	*(struct kvm_irqchip *)data =
		(struct kvm_irqchip){ .chip_id = KVM_IRQCHIP_PIC_MASTER };
	make_pic(data);
	/* The slave's line, which is low. */
	((struct kvm_irqchip *)data)->chip.pic.irr &= ~4;
	((struct kvm_irqchip *)data)->chip.pic.last_irr &= ~4;
}

static void make_pic_slave(void *data)
{
	*(struct kvm_irqchip *)data =
		(struct kvm_irqchip){ .chip_id = KVM_IRQCHIP_PIC_SLAVE };
	make_pic(data);
}

#define REDIR_REMOTE_IRR (1ull << 14)
#define REDIR_LEVEL (1ull << 15)
#define REDIR_MASKED (1ull << 16)

/*
 * A level that is high is delivered at once if it can be: only those that wait
 * stay as they are. Edges are never in IRR: they were delivered or lost.
 */
static void stop_lines(struct kvm_ioapic_state *io)
{
	const u64 wait = REDIR_MASKED | REDIR_REMOTE_IRR;
	unsigned int i;

	for (i = 0; i < KVM_IOAPIC_NUM_PINS; i++)
		if (!(io->redirtbl[i].bits & REDIR_LEVEL) ||
		    !(io->redirtbl[i].bits & wait))
			io->irr &= ~(1u << i);
}

static void make_ioapic(void *data)
{
	struct kvm_irqchip *chip = data;
	struct kvm_ioapic_state *io = &chip->chip.ioapic;
	unsigned int i;
	u64 bits;

	*chip = (struct kvm_irqchip){ .chip_id = KVM_IRQCHIP_IOAPIC };
	io->base_address = 0xfec00000;
	io->ioregsel = below(256);
	io->id = below(16);
	io->irr = rnd() & 0xffffff;
	for (i = 0; i < KVM_IOAPIC_NUM_PINS; i++) {
		bits = rnd() & 0xff0000000001afff;
		if (bits & REDIR_LEVEL)
			bits |= coin() ? REDIR_REMOTE_IRR : 0;
		io->redirtbl[i].bits = bits;
	}
	stop_lines(io);
}

/* Channel 0 waits for its gate: ticks would change other state at any time. */
static void stop_pit(struct kvm_pit_state2 *pit)
{
	pit->channels[0].mode = coin() ? 1 : 5;
}

static void make_pit(void *data)
{
	struct kvm_pit_state2 *pit = data;
	struct kvm_pit_channel_state *c;

	memset(pit, 0, sizeof(*pit));
	for (c = pit->channels; c < pit->channels + 3; c++) {
		c->count = 1 + below(65536);
		c->latched_count = rnd();
		c->count_latched = below(5);
		c->status_latched = coin();
		c->status = rnd();
		c->read_state = below(5);
		c->write_state = below(5);
		c->write_latch = rnd();
		c->rw_mode = below(4);
		c->mode = below(6);
		c->bcd = coin();
		c->gate = coin();
		c->count_load_time = rnd() >> 8;
	}
	pit->flags = below(2);
	stop_pit(pit);
}

#define BIT(n) (1u << (n))
#define ON_VM true, 0

/* A kind of state; @follow: what is the same seen from elsewhere. */
static const struct kind {
	const char *name;
	unsigned long get, set;
	bool of_vm;
	u32 chip;
	size_t offset, size;
	void (*make)(void *data);
	u32 follow;
} kinds[NR_KINDS] = {
#define KIND(NAME, field, follow)                      \
	[NAME] = { #field,                             \
		   KVM_GET_##NAME,                     \
		   KVM_SET_##NAME,                     \
		   false,                              \
		   0,                                  \
		   offsetof(struct state, field),      \
		   sizeof(((struct state *)0)->field), \
		   make_##field,                       \
		   follow }
#define KVM_GET_EVENTS KVM_GET_VCPU_EVENTS
#define KVM_SET_EVENTS KVM_SET_VCPU_EVENTS
	KIND(REGS, regs, 0),
	KIND(SREGS, sregs, BIT(SREGS2) | BIT(EVENTS) | BIT(LAPIC) | BIT(MSRS)),
	KIND(SREGS2, sregs2, BIT(SREGS) | BIT(LAPIC) | BIT(MSRS)),
	KIND(FPU, fpu, BIT(XSAVE)),
	KIND(XSAVE, xsave, BIT(FPU)),
	KIND(XCRS, xcrs, 0),
	KIND(DEBUGREGS, debugregs, 0),
	KIND(EVENTS, events, BIT(SREGS)),
	KIND(MP_STATE, mp_state, 0),
	KIND(LAPIC, lapic, BIT(SREGS) | BIT(SREGS2)),
#define CHIP(NAME, number, make, follow)                  \
	[NAME] = { #NAME,                                 \
		   KVM_GET_IRQCHIP,                       \
		   KVM_SET_IRQCHIP,                       \
		   true,                                  \
		   number,                                \
		   offsetof(struct state, chips[number]), \
		   sizeof(struct kvm_irqchip),            \
		   make,                                  \
		   follow }
	CHIP(PIC_MASTER, KVM_IRQCHIP_PIC_MASTER, make_pic_master, 0),
	/* Its output is a line of the master. */
	CHIP(PIC_SLAVE, KVM_IRQCHIP_PIC_SLAVE, make_pic_slave, BIT(PIC_MASTER)),
	CHIP(IOAPIC, KVM_IRQCHIP_IOAPIC, make_ioapic,
	     BIT(LAPIC) | BIT(MP_STATE) | BIT(EVENTS)),
	[PIT] = { "pit", KVM_GET_PIT2, KVM_SET_PIT2, true, 0,
		  offsetof(struct state, pit), sizeof(struct kvm_pit_state2),
		  make_pit, 0 },
};

static int fd_of(const struct kind *k)
{
	return k->of_vm ? m.vm->fd : m.vcpu->fd;
}

static bool is_there(const struct kind *k)
{
	return k->set != KVM_SET_XCRS || m.xcr0 > 3;
}

static void get(const struct kind *k, void *data)
{
	memset(data, 0, k->size);
	if (k->get == KVM_GET_IRQCHIP)
		((struct kvm_irqchip *)data)->chip_id = k->chip;
	if (is_there(k))
		MUST(fd_of(k), k->get, data);
}

static int set(const struct kind *k, void *data)
{
	return dev_ioctl(fd_of(k), k->set, data);
}

/* ---- MSRs ---- */

static bool runs_by_itself(u32 msr)
{
	return msr == MSR_TSC;
}

/* All at once: there are many, and an emulated lab host is slow. */
static void save_msrs(u64 *value)
{
	static struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[MAX_MSRS];
	} all;
	u32 i;

	all.head.nmsrs = m.msrs->nmsrs;
	for (i = 0; i < m.msrs->nmsrs; i++)
		all.entries[i].index = m.msrs->indices[i];
	i = MUST(m.vcpu->fd, KVM_GET_MSRS, &all);
	if (i != m.msrs->nmsrs)
		die("MSR %#x cannot be read", m.msrs->indices[i]);
	for (i = 0; i < m.msrs->nmsrs; i++)
		if (!runs_by_itself(m.msrs->indices[i]))
			value[i] = all.entries[i].data;
}

static void save(struct state *s)
{
	const struct kind *k;

	for (k = kinds; k < kinds + NR_KINDS; k++)
		get(k, (u8 *)s + k->offset);
	memset(s->msrs, 0, sizeof(s->msrs));
	save_msrs(s->msrs);
	/* The count of the timer, and the PIT's period begins when it is set. */
	put_reg(&s->lapic, APIC_TMCCT, 0);
	s->pit.channels[0].count_load_time = 0;
}

/* The first part that differs, but those in @but; NULL if none does. */
static const char *difference(const struct state *a, const struct state *b,
			      u32 but)
{
	static char text[80];
	const struct kind *k;
	size_t i;

	for (k = kinds; k < kinds + NR_KINDS; k++) {
		const u8 *x = (const u8 *)a + k->offset;
		const u8 *y = (const u8 *)b + k->offset;

		if (but >> (k - kinds) & 1 || !memcmp(x, y, k->size))
			continue;
		for (i = 0; x[i] == y[i];)
			i++;
		snprintf(text, sizeof(text), "%s at %zu: %02x, was %02x",
			 k->name, i, y[i], x[i]);
		return text;
	}
	for (i = 0; i < m.msrs->nmsrs && !(but & BIT(MSRS)); i++) {
		if (a->msrs[i] == b->msrs[i])
			continue;
		snprintf(text, sizeof(text), "MSR %#x: %#lx, was %#lx",
			 m.msrs->indices[i], b->msrs[i], a->msrs[i]);
		return text;
	}
	return NULL;
}

/* ---- the fixture ---- */

static void find_limits(void)
{
	const struct kvm_cpuid2 *cpuid = supported_cpuid(m.vm->sys);
	const struct kvm_cpuid_entry2 *e = find_cpuid(cpuid, 1, 0);
	const u32 ecx = e->ecx;
	struct kvm_xsave xsave;

	m.is_vmx = lab_is_vmx();
	m.has_x2apic = ecx >> 21 & 1;
	/* As old as long mode: all but VMXE, SMXE, and what has a bit. */
	m.cr4 = 0x7ff | (ecx >> 17 & 1) << 17 | (u64)(ecx >> 26 & 1) << 18;
	e = find_cpuid(cpuid, 7, 0);
	if (e)
		m.cr4 |= (e->ebx & 1) << 16 | (e->ebx >> 7 & 1) << 20 |
			 (e->ebx >> 20 & 1) << 21 | (e->ecx >> 2 & 1) << 11;
	e = find_cpuid(cpuid, 0x80000008, 0);
	m.phys_bits = e->eax;
	e = find_cpuid(cpuid, 0xd, 0);
	m.xcr0 = e ? e->eax | (u64)e->edx << 32 : 3;
	free((void *)cpuid);
	/* The last 4 bytes of FXSAVE's head say which bits of MXCSR there are. */
	asm volatile("fxsave %0" : "=m"(xsave));
	m.mxcsr = xsave.region[7] ?: 0xffbf;
}

static void enable(u32 number)
{
	struct kvm_enable_cap cap = { .cap = number, .args[0] = 1 };

	MUST(m.vm->fd, KVM_ENABLE_CAP, &cap);
}

static void new_vm(void)
{
	struct kvm_pit_config pit = {};

	m.vm = vm_new_irqchip();
	MUST(m.vm->fd, KVM_CREATE_PIT2, &pit);
	enable(KVM_CAP_EXCEPTION_PAYLOAD);
	enable(KVM_CAP_X86_TRIPLE_FAULT_EVENT);
	m.vcpu = vcpu_new(m.vm, 0);
	vcpu_offer_cpuid(m.vcpu);
}

static void free_vm(void)
{
	vcpu_free(m.vcpu);
	vm_free(m.vm);
}

FIXTURE(roundtrip)
{
	long rounds;
};

FIXTURE_SETUP(roundtrip)
{
	seed = lab_param("SEED", 0x5eed20261125);
	self->rounds = lab_param("ROUNDS", 15);
	TH_LOG("SEED=%#lx ROUNDS=%ld", seed, self->rounds);
	new_vm();
	find_limits();
	m.msrs = calloc(1, sizeof(*m.msrs) + MAX_MSRS * 4);
	m.msrs->nmsrs = MAX_MSRS;
	MUST(m.vm->sys, KVM_GET_MSR_INDEX_LIST, m.msrs);
}

FIXTURE_TEARDOWN(roundtrip)
{
	free(m.msrs);
	free_vm();
}

/* ---- one kind at a time ---- */

static struct state before, after;
static u8 a[PAGE_SIZE], b[PAGE_SIZE];

static size_t first_difference(size_t size)
{
	size_t i = 0;

	while (i < size && a[i] == b[i])
		i++;
	return i;
}

TEST_F(roundtrip, valid)
{
	const struct kind *k;
	const char *what;
	long i;

	for (k = kinds; k < kinds + NR_KINDS; k++) {
		if (!is_there(k))
			continue;
		for (i = 0; i < self->rounds; i++) {
			save(&before);
			k->make(a);
			ASSERT_EQ(0, set(k, a)) TH_LOG("%s", k->name);
			get(k, b);
			if (k->set == KVM_SET_PIT2)
				((struct kvm_pit_state2 *)a)
					->channels[0]
					.count_load_time =
					((struct kvm_pit_state2 *)b)
						->channels[0]
						.count_load_time;
			ASSERT_EQ(0, memcmp(a, b, k->size))
			TH_LOG("%s, round %ld, byte %zu: %02x, was %02x",
			       k->name, i, first_difference(k->size),
			       b[first_difference(k->size)],
			       a[first_difference(k->size)]);
			save(&after);
			what = difference(&before, &after,
					  k->follow | BIT(k - kinds));
			ASSERT_EQ(NULL, what) TH_LOG("%s: %s", k->name, what);
		}
	}
}

static void flip(u8 *data, size_t size)
{
	unsigned int n = 1 + below(4);
	u64 bit;

	while (n--) {
		bit = below(size * 8);
		data[bit / 8] ^= 1 << bit % 8;
	}
}

/*
 * With random bits changed: what is accepted has become something that reads
 * back and can be set again; what is refused leaves all as it was.
 */
TEST_F(roundtrip, any)
{
	unsigned int refused = 0, accepted = 0;
	const struct kind *k;
	const char *what;
	long i;
	int ret;

	for (k = kinds; k < kinds + NR_KINDS; k++) {
		if (!is_there(k))
			continue;
		for (i = 0; i < 8 * self->rounds; i++) {
			k->make(a);
			flip(a, k->size);
			if (k->set == KVM_SET_IRQCHIP)
				((struct kvm_irqchip *)a)->chip_id = k->chip;
			if (k->set == KVM_SET_LAPIC)
				stop_timer((void *)a);
			if (k->set == KVM_SET_PIT2)
				stop_pit((void *)a);
			if (k->make == make_ioapic)
				stop_lines(
					&((struct kvm_irqchip *)a)->chip.ioapic);
			save(&before);
			ret = set(k, a);
			save(&after);
			if (ret) {
				refused++;
				ASSERT_EQ(-EINVAL, ret) TH_LOG("%s", k->name);
				what = difference(&before, &after, 0);
				ASSERT_EQ(NULL, what)
				TH_LOG("refused %s: %s", k->name, what);
				continue;
			}
			accepted++;
			what = difference(&before, &after,
					  k->follow | BIT(k - kinds));
			ASSERT_EQ(NULL, what) TH_LOG("%s: %s", k->name, what);
			get(k, a);
			ASSERT_EQ(0, set(k, a)) TH_LOG("again, %s", k->name);
			get(k, b);
			if (k->set == KVM_SET_PIT2)
				continue;
			ASSERT_EQ(0, memcmp(a, b, k->size))
			TH_LOG("again, %s, byte %zu: %02x, was %02x", k->name,
			       first_difference(k->size),
			       b[first_difference(k->size)],
			       a[first_difference(k->size)]);
		}
	}
	EXPECT_LT(0, refused);
	EXPECT_LT(0, accepted);
}

#define MSR_DEBUGCTL 0x1d9
#define MSR_HWCR 0xc0010015
#define MSR_KVM_CLOCK_OLD 0x12
#define MSR_KVM_CLOCK 0x4b564d01

/* What an MSR reads as after a value that it took. */
static u64 as_read(u32 msr, u64 value, u64 old)
{
	switch (msr) {
	case MSR_DEBUGCTL: /* branch records and stepping never begin */
		return 0;
	case MSR_HWCR: /* bits that are ignored */
		return value & ~0x148ull;
	case MSR_EFER: /* LMA follows from others */
		return (value & ~(u64)EFER_LMA) | (old & EFER_LMA);
	case MSR_TSC_DEADLINE: /* the timer is not in that mode */
		return 0;
	default:
		return value;
	}
}

/* The clock has two numbers; APIC base and EFER are in the system registers. */
static u32 msr_follows(u32 msr)
{
	if (msr == MSR_KVM_CLOCK || msr == MSR_KVM_CLOCK_OLD)
		return BIT(MSRS);
	return BIT(SREGS) | BIT(SREGS2) |
	       (msr == MSR_APIC_BASE ? BIT(LAPIC) : 0);
}

static void try_msr(struct __test_metadata *_metadata, u32 i)
{
	u64 value = rnd_value(), want = before.msrs[i], seen;
	const u32 msr = m.msrs->indices[i];
	const char *what;

	if (!vcpu_set_msr(m.vcpu, msr, value))
		want = as_read(msr, value, want);
	ASSERT_EQ(0, vcpu_get_msr(m.vcpu, msr, &seen));
	ASSERT_EQ(want, seen) TH_LOG("MSR %#x, set to %#lx", msr, value);
	save(&after);
	before.msrs[i] = after.msrs[i];
	what = difference(&before, &after, msr_follows(msr));
	ASSERT_EQ(NULL, what)
	TH_LOG("MSR %#x, set to %#lx: %s", msr, value, what);
	before = after;
}

TEST_F(roundtrip, msrs)
{
	long round;
	u32 i;

	ASSERT_LT(20, m.msrs->nmsrs);
	save(&before);
	for (i = 0; i < m.msrs->nmsrs; i++)
		for (round = 0; round < self->rounds; round++)
			if (!runs_by_itself(m.msrs->indices[i]))
				try_msr(_metadata, i);
}

/* ---- all of it ---- */

/* The order in which a VMM restores a vCPU: SREGS is in SREGS2 and EVENTS. */
static const u8 order[] = { SREGS2,    MSRS,   REGS,	 XSAVE,	 XCRS,
			    DEBUGREGS, LAPIC,  MP_STATE, EVENTS, PIC_MASTER,
			    PIC_SLAVE, IOAPIC, PIT };

/* Some of what was tried may be refused. */
static void randomize(void)
{
	const struct kind *k;
	unsigned int i, j;

	for (i = 0; i < ARRAY_LEN(order); i++) {
		if (order[i] == MSRS) {
			for (j = 0; j < m.msrs->nmsrs; j++)
				vcpu_set_msr(m.vcpu, m.msrs->indices[j],
					     rnd_value());
			continue;
		}
		k = &kinds[order[i]];
		k->make(a);
		if (is_there(k) && set(k, a))
			die("%s is refused", k->name);
	}
}

static void restore(const struct state *s)
{
	const struct kind *k;
	unsigned int i, j;

	for (i = 0; i < ARRAY_LEN(order); i++) {
		if (order[i] == MSRS) {
			for (j = 0; j < m.msrs->nmsrs; j++)
				if (!runs_by_itself(m.msrs->indices[j]) &&
				    vcpu_set_msr(m.vcpu, m.msrs->indices[j],
						 s->msrs[j]))
					die("MSR %#x", m.msrs->indices[j]);
			continue;
		}
		k = &kinds[order[i]];
		memcpy(a, (const u8 *)s + k->offset, k->size);
		if (is_there(k) && set(k, a))
			die("what %s was is refused", k->name);
	}
}

/* A VM that gets the state of another is in that state. */
TEST_F(roundtrip, other_vm)
{
	const char *what;
	long i;

	for (i = 0; i < self->rounds; i++) {
		randomize();
		save(&before);
		free_vm();
		new_vm();
		restore(&before);
		save(&after);
		what = difference(&before, &after, 0);
		ASSERT_EQ(NULL, what) TH_LOG("round %ld: %s", i, what);
	}
}

/* ---- what has other shapes ---- */

#define MAX_CPUID 128

struct cpuid {
	struct kvm_cpuid2 head;
	struct kvm_cpuid_entry2 entries[MAX_CPUID + 1];
};

/* OSXSAVE, APIC and the size of an XSAVE area follow the vCPU's state. */
static void without_state(struct kvm_cpuid_entry2 *e)
{
	if (e->function == 1) {
		e->ecx &= ~(1u << 27);
		e->edx &= ~(1u << 9);
	}
	if (e->function == 0xd && e->index < 2)
		e->ebx = 0;
}

static void make_cpuid(struct cpuid *c)
{
	static const u32 functions[] = {
		0, 1, 4, 7, 0xd, 0x40000000, 0x40000001, 0x80000001
	};
	struct kvm_cpuid_entry2 *e = c->entries;

	memset(c, 0, sizeof(*c));
	c->head.nent = below(MAX_CPUID + 1);
	for (; e < c->entries + c->head.nent; e++) {
		fill(e, sizeof(*e));
		if (coin())
			e->function = functions[below(ARRAY_LEN(functions))];
		if (e->function == 0x80000008)
			e->function = 0;
		e->index = below(4);
		without_state(e);
	}
}

static void get_cpuid(struct cpuid *c)
{
	u32 i;

	memset(c, 0, sizeof(*c));
	c->head.nent = MAX_CPUID;
	MUST(m.vcpu->fd, KVM_GET_CPUID2, c);
	for (i = 0; i < c->head.nent; i++)
		without_state(&c->entries[i]);
}

TEST_F(roundtrip, cpuid)
{
	static struct cpuid in, out;
	long i;

	for (i = 0; i < self->rounds; i++) {
		make_cpuid(&in);
		ASSERT_EQ(0, dev_ioctl(m.vcpu->fd, KVM_SET_CPUID2, &in));
		get_cpuid(&out);
		ASSERT_EQ(0, memcmp(&in, &out, sizeof(in)));
		make_cpuid(&out);
		out.head.nent = coin() ? MAX_CPUID + 1 : MAX_CPUID;
		out.entries[MAX_CPUID - 1].function = 0x80000008;
		out.entries[MAX_CPUID - 1].eax = 57 << 8;
		ASSERT_EQ(out.head.nent > MAX_CPUID ? -E2BIG : -EINVAL,
			  dev_ioctl(m.vcpu->fd, KVM_SET_CPUID2, &out));
		get_cpuid(&out);
		ASSERT_EQ(0, memcmp(&in, &out, sizeof(in)));
	}
}

TEST_F(roundtrip, tsc_offset)
{
	u64 in, out = 0;
	struct kvm_device_attr set = { .group = KVM_VCPU_TSC_CTRL,
				       .attr = KVM_VCPU_TSC_OFFSET,
				       .addr = (uintptr_t)&in };
	struct kvm_device_attr get = set;
	long i;

	get.addr = (uintptr_t)&out;
	for (i = 0; i < self->rounds; i++) {
		in = rnd_value();
		ASSERT_EQ(0, dev_ioctl(m.vcpu->fd, KVM_SET_DEVICE_ATTR, &set));
		ASSERT_EQ(0, dev_ioctl(m.vcpu->fd, KVM_GET_DEVICE_ATTR, &get));
		ASSERT_EQ(in, out);
	}
}

struct routing {
	struct kvm_irq_routing head;
	struct kvm_irq_routing_entry entries[8];
};

static void irq_line(u32 gsi, bool level)
{
	struct kvm_irq_level line = { .irq = gsi, .level = level };

	MUST(m.vm->fd, KVM_IRQ_LINE, &line);
}

/* The vector that arrives at the local APIC for an edge of this GSI. */
static int arrives(u32 gsi)
{
	struct kvm_lapic_state lapic;
	u32 bits;
	int i;

	MUST(m.vcpu->fd, KVM_GET_LAPIC, &lapic);
	put_reg(&lapic, APIC_SPIV, 0x1ff);
	for (i = 0; i < 24; i++)
		put_reg(&lapic, APIC_ISR + 16 * i, 0);
	MUST(m.vcpu->fd, KVM_SET_LAPIC, &lapic);
	irq_line(gsi, true);
	irq_line(gsi, false);
	MUST(m.vcpu->fd, KVM_GET_LAPIC, &lapic);
	for (i = 0; i < 8; i++) {
		bits = get_reg(&lapic, APIC_IRR + 16 * i);
		if (bits)
			return 32 * i + __builtin_ctz(bits);
	}
	return -1;
}

/* Routes cannot be read, but tried. */
TEST_F(roundtrip, routing)
{
	struct routing in, bad;
	struct kvm_irq_routing_entry *e;
	u32 wrong;
	long i;

	for (i = 0; i < self->rounds; i++) {
		memset(&in, 0, sizeof(in));
		in.head.nr = 1 + below(8);
		for (e = in.entries; e < in.entries + in.head.nr; e++) {
			e->gsi = 24 + (e - in.entries) * 500 + below(400);
			e->type = KVM_IRQ_ROUTING_MSI;
			e->u.msi.address_lo = APIC_GPA;
			e->u.msi.data = 16 + below(240);
		}
		ASSERT_EQ(0, dev_ioctl(m.vm->fd, KVM_SET_GSI_ROUTING, &in));
		bad = in;
		wrong = below(in.head.nr);
		for (e = bad.entries; e < bad.entries + in.head.nr; e++)
			e->u.msi.data ^= 1;
		switch (below(4)) {
		case 0:
			bad.entries[wrong].type = 3 + below(1000);
			break;
		case 1:
			bad.entries[wrong].gsi = 4096 + below(1 << 20);
			break;
		case 2:
			bad.head.flags = 1 + below(1 << 20);
			break;
		case 3:
			bad.entries[wrong].type = KVM_IRQ_ROUTING_IRQCHIP;
			bad.entries[wrong].u.irqchip.irqchip = 3 + below(9);
			break;
		}
		ASSERT_EQ(-EINVAL,
			  dev_ioctl(m.vm->fd, KVM_SET_GSI_ROUTING, &bad));
		for (e = in.entries; e < in.entries + in.head.nr; e++)
			ASSERT_EQ(e->u.msi.data, arrives(e->gsi));
	}
}

TEST_HARNESS_MAIN
