// SPDX-License-Identifier: GPL-2.0-only
/*
 * What user space sets it gets back, what makes no sense is refused, and what
 * is refused changes nothing.
 */
#include <signal.h>
#include "guest.h"
#include <kselftest_harness.h>

#define ROUNDS 50

FIXTURE(state)
{
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(state)
{
	srandom(20261);
	self->vm = vm_new_irqchip();
	self->vcpu = vcpu_new(self->vm, 0);
	vcpu_mode(self->vcpu, MODE_LONG);
}

FIXTURE_TEARDOWN(state)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

static u64 random64(void)
{
	return (u64)random() << 42 ^ (u64)random() << 21 ^ random();
}

static void randomize(void *data, size_t size)
{
	u8 *byte = data;

	while (size--)
		*byte++ = random() >> 7;
}

static int set(struct vcpu *vcpu, unsigned long request, void *arg)
{
	return dev_ioctl(vcpu->fd, request, arg);
}

SNIPPET(64, out_code, "1: out %al, $0x80\njmp 1b\n");

/* The value of a register before and after the guest ran is the same. */
TEST_F(state, regs)
{
	struct kvm_regs a, b;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		VCPU_SNIPPET(self->vcpu, MODE_LONG, out_code);
		randomize(&a, sizeof(a));
		a.rip = CODE_GPA;
		a.rflags = (a.rflags & 0xcd5) | 2;
		ASSERT_EQ(0, set(self->vcpu, KVM_SET_REGS, &a));
		ASSERT_EQ(0, set(self->vcpu, KVM_GET_REGS, &b));
		EXPECT_EQ(0, memcmp(&a, &b, sizeof(a)));
		ASSERT_EXIT(KVM_EXIT_IO, self->vcpu);
		ASSERT_EQ(0, set(self->vcpu, KVM_GET_REGS, &b));
		a.rip = b.rip;
		EXPECT_EQ(0, memcmp(&a, &b, sizeof(a)));
	}
}

static void random_segment(struct kvm_segment *s, bool wide)
{
	s->base = wide ? (u64)((int64_t)(random64() << 16) >> 16) : random();
	s->selector = random() & 0xfff8;
	s->limit = random() & 1 ? 0xffffffff : random() & 0xfffff;
	s->g = s->limit == 0xffffffff;
}

TEST_F(state, sregs)
{
	struct kvm_sregs a, b;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		vcpu_get_sregs(self->vcpu, &a);
		random_segment(&a.ds, false);
		random_segment(&a.es, false);
		random_segment(&a.fs, true);
		random_segment(&a.gs, true);
		random_segment(&a.ldt, true);
		a.ldt.type = 2;
		a.ldt.present = 1;
		a.ldt.s = 0;
		a.ldt.unusable = 0;
		a.gdt.base = (int64_t)(random64() << 16) >> 16;
		a.gdt.limit = random();
		a.idt.base = (int64_t)(random64() << 16) >> 16;
		a.idt.limit = random();
		a.cr2 = random64();
		a.cr3 = random() & 0x7ffff000;
		a.cr8 = random() & 15;
		ASSERT_EQ(0, vcpu_set_sregs(self->vcpu, &a));
		vcpu_get_sregs(self->vcpu, &b);
		EXPECT_EQ(0, memcmp(&a, &b, sizeof(a)));
	}
}

TEST_F(state, sregs_refused)
{
	struct kvm_sregs good, bad, after;
	int i;

	vcpu_get_sregs(self->vcpu, &good);
	for (i = 0; i < 6; i++) {
		bad = good;
		bad.cr2 = 0x123;
		switch (i) {
		case 0:
			bad.cr4 |= 1ull << 40;
			break;
		case 1:
			bad.efer &= ~(u64)EFER_LMA; /* paging, and LME */
			break;
		case 2:
			bad.cr4 &= ~(u64)X86_CR4_PAE;
			break;
		case 3:
			bad.apic_base |= 1ull << 60;
			break;
		case 4:
			bad.cr3 |= 1ull << 60;
			break;
		case 5:
			bad.efer = 0;
			bad.cr0 &= ~(u64)X86_CR0_PG; /* and 64-bit code */
			break;
		}
		EXPECT_EQ(-EINVAL, vcpu_set_sregs(self->vcpu, &bad))
		TH_LOG("case %d", i);
		vcpu_get_sregs(self->vcpu, &after);
		EXPECT_EQ(0, memcmp(&good, &after, sizeof(good)))
		TH_LOG("case %d", i);
	}
}

TEST_F(state, sregs2)
{
	struct kvm_sregs2 a, b;

	if (!vm_cap(self->vm, KVM_CAP_SREGS2))
		SKIP(return, "KVM_CAP_SREGS2 is not offered");
	vcpu_mode(self->vcpu, MODE_PAE);
	ASSERT_EQ(0, set(self->vcpu, KVM_GET_SREGS2, &a));
	a.flags = KVM_SREGS2_FLAGS_PDPTRS_VALID;
	a.pdptrs[0] = 0x102001;
	a.pdptrs[1] = a.pdptrs[2] = a.pdptrs[3] = 0;
	ASSERT_EQ(0, set(self->vcpu, KVM_SET_SREGS2, &a));
	ASSERT_EQ(0, set(self->vcpu, KVM_GET_SREGS2, &b));
	EXPECT_EQ(a.cr3, b.cr3);
	EXPECT_EQ(a.cr4, b.cr4);
	a.flags = 1 << 9;
	EXPECT_EQ(-EINVAL, set(self->vcpu, KVM_SET_SREGS2, &a));
}

TEST_F(state, fpu)
{
	struct kvm_fpu a, b;
	struct kvm_xsave xsave;
	int i;

	/* With all state in use, as after the first XSAVE. */
	ASSERT_EQ(0, set(self->vcpu, KVM_GET_XSAVE, &xsave));
	xsave.region[128] |= 3;
	ASSERT_EQ(0, set(self->vcpu, KVM_SET_XSAVE, &xsave));
	for (i = 0; i < ROUNDS; i++) {
		randomize(&a, sizeof(a));
		a.pad1 = 0;
		a.mxcsr = 0x1f80;
		a.pad2 = 0;
		ASSERT_EQ(0, set(self->vcpu, KVM_SET_FPU, &a));
		ASSERT_EQ(0, set(self->vcpu, KVM_GET_FPU, &b));
		EXPECT_EQ(0, memcmp(a.fpr, b.fpr, sizeof(a.fpr)));
		EXPECT_EQ(0, memcmp(a.xmm, b.xmm, sizeof(a.xmm)));
		EXPECT_EQ(a.fcw, b.fcw);
		EXPECT_EQ(a.fsw, b.fsw);
		EXPECT_EQ(a.ftwx, b.ftwx);
		EXPECT_EQ(a.last_ip, b.last_ip);
		EXPECT_EQ(a.last_dp, b.last_dp);
	}
}

TEST_F(state, xsave)
{
	struct kvm_xsave a, b;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, set(self->vcpu, KVM_GET_XSAVE, &a));
		randomize(&a.region[40], 256);
		a.region[6] = 0x1f80 | (random() & 0x3f);
		a.region[128] |= 3;
		ASSERT_EQ(0, set(self->vcpu, KVM_SET_XSAVE, &a));
		ASSERT_EQ(0, set(self->vcpu, KVM_GET_XSAVE, &b));
		EXPECT_EQ(0, memcmp(&a.region[40], &b.region[40], 256));
		EXPECT_EQ(a.region[6], b.region[6]);
	}
	b.region[6] = 0x80000000;
	EXPECT_EQ(-EINVAL, set(self->vcpu, KVM_SET_XSAVE, &b)) TH_LOG("MXCSR");
	b = a;
	b.region[129] = 0x40000000;
	EXPECT_EQ(-EINVAL, set(self->vcpu, KVM_SET_XSAVE, &b))
	TH_LOG("XSTATE_BV");
	ASSERT_EQ(0, set(self->vcpu, KVM_GET_XSAVE, &b));
	EXPECT_EQ(0, memcmp(&a.region[40], &b.region[40], 256));
}

TEST_F(state, xcrs)
{
	struct kvm_xcrs a = { .nr_xcrs = 1 }, b = {};

	a.xcrs[0].value = 3;
	ASSERT_EQ(!!(cpuid(1, 0).ecx & 1 << 26),
		  vm_cap(self->vm, KVM_CAP_XCRS));
	if (!vm_cap(self->vm, KVM_CAP_XCRS)) {
		EXPECT_EQ(-EINVAL, set(self->vcpu, KVM_SET_XCRS, &a));
		EXPECT_EQ(-EINVAL, set(self->vcpu, KVM_GET_XCRS, &b));
		SKIP(return, "the processor has no XSAVE");
	}
	ASSERT_EQ(0, set(self->vcpu, KVM_SET_XCRS, &a));
	ASSERT_EQ(0, set(self->vcpu, KVM_GET_XCRS, &b));
	EXPECT_EQ(1, b.nr_xcrs);
	EXPECT_EQ(0, b.xcrs[0].xcr);
	EXPECT_EQ(3, b.xcrs[0].value);
	a.xcrs[0].value = 0;
	EXPECT_EQ(-EINVAL, set(self->vcpu, KVM_SET_XCRS, &a));
	a.xcrs[0].value = 1ull << 62 | 3;
	EXPECT_EQ(-EINVAL, set(self->vcpu, KVM_SET_XCRS, &a));
	a.xcrs[0].value = 1;
	a.flags = 1;
	EXPECT_EQ(-EINVAL, set(self->vcpu, KVM_SET_XCRS, &a));
	a.flags = 0;
	a.nr_xcrs = 17;
	EXPECT_EQ(-EINVAL, set(self->vcpu, KVM_SET_XCRS, &a));
	ASSERT_EQ(0, set(self->vcpu, KVM_GET_XCRS, &b));
	EXPECT_EQ(3, b.xcrs[0].value);
}

static void put_reg(struct kvm_lapic_state *lapic, u32 reg, u32 value)
{
	memcpy(lapic->regs + reg, &value, 4);
}

TEST_F(state, lapic)
{
	struct kvm_lapic_state a, b;

	ASSERT_EQ(0, set(self->vcpu, KVM_GET_LAPIC, &a));
	put_reg(&a, APIC_TPR, 0x40);
	put_reg(&a, APIC_LDR, 0x5000000);
	put_reg(&a, APIC_SPIV, 0x1f3);
	put_reg(&a, APIC_LVTT, 0x100ee);
	put_reg(&a, APIC_LVT1, 0x400);
	put_reg(&a, APIC_TDCR, 0xa);
	put_reg(&a, APIC_IRR + 0x70, 0x80);
	put_reg(&a, APIC_ISR + 0x20, 0x4);
	ASSERT_EQ(0, set(self->vcpu, KVM_SET_LAPIC, &a));
	ASSERT_EQ(0, set(self->vcpu, KVM_GET_LAPIC, &b));
	put_reg(&a, APIC_PPR, 0x40);
	EXPECT_EQ(0, memcmp(a.regs, b.regs, APIC_TMCCT));
}

TEST(lapic_without_irqchip)
{
	struct vcpu *vcpu = vcpu_new(vm_new(), 0);
	struct kvm_mp_state mp = { KVM_MP_STATE_HALTED };
	struct kvm_lapic_state lapic;

	EXPECT_EQ(-EINVAL, set(vcpu, KVM_GET_LAPIC, &lapic));
	EXPECT_EQ(-EINVAL, set(vcpu, KVM_SET_LAPIC, &lapic));
	EXPECT_EQ(-EINVAL, set(vcpu, KVM_SET_MP_STATE, &mp));
}

TEST_F(state, mp_state)
{
	static const u32 states[] = {
		KVM_MP_STATE_HALTED,
		KVM_MP_STATE_UNINITIALIZED,
		KVM_MP_STATE_INIT_RECEIVED,
		KVM_MP_STATE_RUNNABLE,
	};
	struct kvm_mp_state mp;
	unsigned int i;

	for (i = 0; i < ARRAY_LEN(states); i++) {
		mp.mp_state = states[i];
		ASSERT_EQ(0, set(self->vcpu, KVM_SET_MP_STATE, &mp));
		ASSERT_EQ(0, set(self->vcpu, KVM_GET_MP_STATE, &mp));
		EXPECT_EQ(states[i], mp.mp_state);
	}
	mp.mp_state = 77;
	EXPECT_EQ(-EINVAL, set(self->vcpu, KVM_SET_MP_STATE, &mp));
	ASSERT_EQ(0, set(self->vcpu, KVM_GET_MP_STATE, &mp));
	EXPECT_EQ(KVM_MP_STATE_RUNNABLE, mp.mp_state);
}

static void send_msi(struct vm *vm, u32 apic_id, u32 data)
{
	struct kvm_msi msi = {
		.address_lo = APIC_GPA | apic_id << 12,
		.data = data,
	};

	MUST(vm->fd, KVM_SIGNAL_MSI, &msi);
}

static u32 mp_state(struct vcpu *vcpu)
{
	struct kvm_mp_state mp;

	MUST(vcpu->fd, KVM_GET_MP_STATE, &mp);
	return mp.mp_state;
}

/* INIT and SIPI are part of the state at once, not with the next KVM_RUN. */
TEST_F(state, mp_state_after_init)
{
	struct vcpu *ap = vcpu_new(self->vm, 1);
	struct kvm_sregs sregs;

	EXPECT_EQ(KVM_MP_STATE_UNINITIALIZED, mp_state(ap));
	send_msi(self->vm, 1, ICR_INIT | ICR_ASSERT);
	EXPECT_EQ(KVM_MP_STATE_INIT_RECEIVED, mp_state(ap));
	send_msi(self->vm, 1, ICR_SIPI | ICR_ASSERT | 0x12);
	EXPECT_EQ(KVM_MP_STATE_RUNNABLE, mp_state(ap));
	vcpu_get_sregs(ap, &sregs);
	EXPECT_EQ(0x1200, sregs.cs.selector);
	EXPECT_EQ(0x12000, sregs.cs.base);
	vcpu_free(ap);
}

TEST_F(state, vcpu_events)
{
	struct kvm_vcpu_events a, b;

	ASSERT_EQ(0, set(self->vcpu, KVM_GET_VCPU_EVENTS, &a));
	a.flags = KVM_VCPUEVENT_VALID_NMI_PENDING | KVM_VCPUEVENT_VALID_SHADOW;
	a.exception.injected = 1;
	a.exception.nr = GP_VECTOR;
	a.exception.has_error_code = 1;
	a.exception.error_code = 0x58;
	a.interrupt.shadow = KVM_X86_SHADOW_INT_STI;
	a.nmi.pending = 1;
	a.nmi.masked = 1;
	ASSERT_EQ(0, set(self->vcpu, KVM_SET_VCPU_EVENTS, &a));
	ASSERT_EQ(0, set(self->vcpu, KVM_GET_VCPU_EVENTS, &b));
	EXPECT_EQ(1, b.exception.injected);
	EXPECT_EQ(GP_VECTOR, b.exception.nr);
	EXPECT_EQ(1, b.exception.has_error_code);
	EXPECT_EQ(0x58, b.exception.error_code);
	EXPECT_EQ(1, b.nmi.pending);
	EXPECT_EQ(1, b.nmi.masked);
	/* Which of the two shadows it is, some processors do not say. */
	EXPECT_NE(0, b.interrupt.shadow);
	a.exception.nr = NMI_VECTOR;
	EXPECT_EQ(-EINVAL, set(self->vcpu, KVM_SET_VCPU_EVENTS, &a));
	a.exception.nr = 32;
	EXPECT_EQ(-EINVAL, set(self->vcpu, KVM_SET_VCPU_EVENTS, &a));
	a.exception.nr = UD_VECTOR;
	a.flags = 1u << 31;
	EXPECT_EQ(-EINVAL, set(self->vcpu, KVM_SET_VCPU_EVENTS, &a));
	ASSERT_EQ(0, set(self->vcpu, KVM_GET_VCPU_EVENTS, &b));
	EXPECT_EQ(GP_VECTOR, b.exception.nr);
}

/* A pending exception wins; without its flag there is none. */
TEST_F(state, exception_pending_or_injected)
{
	struct kvm_enable_cap cap = { .cap = KVM_CAP_EXCEPTION_PAYLOAD,
				      .args[0] = 1 };
	const u32 payload = KVM_VCPUEVENT_VALID_PAYLOAD;
	struct kvm_vcpu_events a, b;

	ASSERT_EQ(0, set(self->vcpu, KVM_GET_VCPU_EVENTS, &a));
	a.flags = payload;
	EXPECT_EQ(-EINVAL, set(self->vcpu, KVM_SET_VCPU_EVENTS, &a));
	ASSERT_EQ(0, dev_ioctl(self->vm->fd, KVM_ENABLE_CAP, &cap));
	a.exception.injected = a.exception.pending = 1;
	a.exception.nr = PF_VECTOR;
	a.exception_has_payload = 1;
	a.exception_payload = 0x123456;
	ASSERT_EQ(0, set(self->vcpu, KVM_SET_VCPU_EVENTS, &a));
	ASSERT_EQ(0, set(self->vcpu, KVM_GET_VCPU_EVENTS, &b));
	EXPECT_EQ(payload, b.flags & payload);
	EXPECT_EQ(1, b.exception.pending);
	EXPECT_EQ(0, b.exception.injected);
	EXPECT_EQ(1, b.exception_has_payload);
	EXPECT_EQ(0x123456, b.exception_payload);

	a.flags = 0;
	ASSERT_EQ(0, set(self->vcpu, KVM_SET_VCPU_EVENTS, &a));
	ASSERT_EQ(0, set(self->vcpu, KVM_GET_VCPU_EVENTS, &b));
	EXPECT_EQ(0, b.exception.pending);
	EXPECT_EQ(1, b.exception.injected);
	EXPECT_EQ(0, b.exception_has_payload);

	a.exception.injected = 0;
	a.exception.nr = NMI_VECTOR;
	ASSERT_EQ(0, set(self->vcpu, KVM_SET_VCPU_EVENTS, &a))
	TH_LOG("pending, but not valid");
}

TEST_F(state, debugregs)
{
	struct kvm_debugregs a = {
		.db = { 0x1111, 0x7fff00000000, 0x3333, 0xffff888000000000 },
		.dr6 = 0xffff0ff1, .dr7 = 0x455,
	}, b;

	ASSERT_EQ(0, set(self->vcpu, KVM_SET_DEBUGREGS, &a));
	ASSERT_EQ(0, set(self->vcpu, KVM_GET_DEBUGREGS, &b));
	EXPECT_EQ(0, memcmp(&a, &b, sizeof(a)));
	a.dr7 = 1ull << 40;
	EXPECT_EQ(-EINVAL, set(self->vcpu, KVM_SET_DEBUGREGS, &a));
	a.dr7 = 0x400;
	a.dr6 = 1ull << 40;
	EXPECT_EQ(-EINVAL, set(self->vcpu, KVM_SET_DEBUGREGS, &a));
	a.dr6 = 0xffff0ff0;
	a.flags = 1;
	EXPECT_EQ(-EINVAL, set(self->vcpu, KVM_SET_DEBUGREGS, &a));
	ASSERT_EQ(0, set(self->vcpu, KVM_GET_DEBUGREGS, &b));
	EXPECT_EQ(0x455, b.dr7);
}

TEST_F(state, msrs)
{
	struct {
		struct kvm_msrs head;
		struct kvm_msr_entry entries[4];
	} msrs = {
		.head.nmsrs = 4,
		.entries = {
			{ .index = MSR_STAR, .data = 0x1234567800000000 },
			{ .index = MSR_LSTAR, .data = 0xffffffff80001000 },
			{ .index = 0xdeadbeef, .data = 1 },
			{ .index = MSR_CSTAR, .data = 0x5000 },
		},
	};
	u64 value;

	/* They are set in order up to the first that cannot be. */
	EXPECT_EQ(2, set(self->vcpu, KVM_SET_MSRS, &msrs));
	EXPECT_EQ(0, vcpu_get_msr(self->vcpu, MSR_LSTAR, &value));
	EXPECT_EQ(0xffffffff80001000, value);
	EXPECT_EQ(0, vcpu_get_msr(self->vcpu, MSR_CSTAR, &value));
	EXPECT_EQ(0, value);
	msrs.entries[0].data = 0;
	EXPECT_EQ(2, set(self->vcpu, KVM_GET_MSRS, &msrs));
	EXPECT_EQ(0x1234567800000000, msrs.entries[0].data);
	msrs.head.nmsrs = 100000;
	EXPECT_EQ(-E2BIG, set(self->vcpu, KVM_GET_MSRS, &msrs));
	EXPECT_EQ(-E2BIG, set(self->vcpu, KVM_SET_MSRS, &msrs));
}

TEST_F(state, irqchips)
{
	struct kvm_irqchip a = { .chip_id = KVM_IRQCHIP_IOAPIC }, b = a;
	int vm = self->vm->fd;

	ASSERT_EQ(0, dev_ioctl(vm, KVM_GET_IRQCHIP, &a));
	EXPECT_EQ(0xfec00000, a.chip.ioapic.base_address);
	EXPECT_EQ(24, KVM_IOAPIC_NUM_PINS);
	a.chip.ioapic.ioregsel = 3;
	a.chip.ioapic.id = 5;
	a.chip.ioapic.redirtbl[7].bits = 0x0300000000018062;
	ASSERT_EQ(0, dev_ioctl(vm, KVM_SET_IRQCHIP, &a));
	ASSERT_EQ(0, dev_ioctl(vm, KVM_GET_IRQCHIP, &b));
	EXPECT_EQ(0, memcmp(&a, &b, sizeof(a)));

	a = (struct kvm_irqchip){ .chip_id = KVM_IRQCHIP_PIC_SLAVE };
	ASSERT_EQ(0, dev_ioctl(vm, KVM_GET_IRQCHIP, &a));
	a.chip.pic.imr = 0x5a;
	a.chip.pic.irq_base = 0x70;
	a.chip.pic.elcr = 0x0c;
	a.chip.pic.isr = 0x10;
	ASSERT_EQ(0, dev_ioctl(vm, KVM_SET_IRQCHIP, &a));
	b = (struct kvm_irqchip){ .chip_id = KVM_IRQCHIP_PIC_SLAVE };
	ASSERT_EQ(0, dev_ioctl(vm, KVM_GET_IRQCHIP, &b));
	EXPECT_EQ(0x5a, b.chip.pic.imr);
	EXPECT_EQ(0x70, b.chip.pic.irq_base);
	EXPECT_EQ(0x0c, b.chip.pic.elcr);
	EXPECT_EQ(0x10, b.chip.pic.isr);
}

TEST_F(state, clock)
{
	struct kvm_clock_data a = { .clock = 1ull << 50 }, b = {};

	ASSERT_EQ(0, dev_ioctl(self->vm->fd, KVM_SET_CLOCK, &a));
	ASSERT_EQ(0, dev_ioctl(self->vm->fd, KVM_GET_CLOCK, &b));
	EXPECT_LE(a.clock, b.clock);
	EXPECT_EQ(1, b.clock >> 50);
	a.flags = 1u << 31;
	EXPECT_EQ(-EINVAL, dev_ioctl(self->vm->fd, KVM_SET_CLOCK, &a));
}

TEST_F(state, tsc_khz)
{
	int khz = dev_ioctl_value(self->vcpu->fd, KVM_GET_TSC_KHZ, 0);

	EXPECT_LT(0, khz);
	EXPECT_EQ(0, dev_ioctl_value(self->vcpu->fd, KVM_SET_TSC_KHZ, khz));
	EXPECT_EQ(khz, dev_ioctl_value(self->vcpu->fd, KVM_GET_TSC_KHZ, 0));
}

TEST_F(state, fixed_addresses)
{
	struct vm *vm = vm_new_bare();
	u64 addr = 0xfeffc000;

	EXPECT_EQ(-EINVAL, dev_ioctl_value(vm->fd, KVM_SET_TSS_ADDR, -4096ul));
	EXPECT_EQ(0, dev_ioctl_value(vm->fd, KVM_SET_TSS_ADDR, 0xfeffd000));
	EXPECT_EQ(0, dev_ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &addr));
	MUST(vm->fd, KVM_CREATE_VCPU, 0);
	EXPECT_EQ(-EINVAL, dev_ioctl(vm->fd, KVM_SET_IDENTITY_MAP_ADDR, &addr));
	vm_free(vm);
}

/* Registers in the shared page save two ioctls around each exit. */
TEST_F(state, sync_regs)
{
	struct kvm_run *run = self->vcpu->run;
	struct kvm_regs regs;

	VCPU_SNIPPET(self->vcpu, MODE_LONG, out_code);
	run->kvm_valid_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS |
			      KVM_SYNC_X86_EVENTS;
	ASSERT_EXIT(KVM_EXIT_IO, self->vcpu);
	vcpu_get_regs(self->vcpu, &regs);
	EXPECT_EQ(0, memcmp(&regs, &run->s.regs.regs, sizeof(regs)));
	EXPECT_EQ(TABLES_GPA, run->s.regs.sregs.cr3);
	run->s.regs.regs.rbx = 0xabcdef;
	ASSERT_EXIT(KVM_EXIT_IO, self->vcpu);
	EXPECT_NE(0xabcdef, run->s.regs.regs.rbx) TH_LOG("not marked dirty");
	run->s.regs.regs.rbx = 0xabcdef;
	run->s.regs.sregs.cr2 = 0x777000;
	run->kvm_dirty_regs = KVM_SYNC_X86_REGS | KVM_SYNC_X86_SREGS;
	ASSERT_EXIT(KVM_EXIT_IO, self->vcpu);
	EXPECT_EQ(0, run->kvm_dirty_regs);
	vcpu_get_regs(self->vcpu, &regs);
	EXPECT_EQ(0xabcdef, regs.rbx);
	EXPECT_EQ(0x777000, run->s.regs.sregs.cr2);

	run->kvm_valid_regs = 1 << 20;
	EXPECT_EQ(-EINVAL, vcpu_run(self->vcpu));
	run->kvm_valid_regs = 0;
	run->kvm_dirty_regs = 1 << 20;
	EXPECT_EQ(-EINVAL, vcpu_run(self->vcpu));
	run->kvm_dirty_regs = KVM_SYNC_X86_SREGS;
	run->s.regs.sregs.cr4 |= 1ull << 40;
	EXPECT_EQ(-EINVAL, vcpu_run(self->vcpu));
	run->kvm_dirty_regs = 0;
	EXPECT_EXIT(KVM_EXIT_IO, self->vcpu);
}

SNIPPET(64, in_code, "in $0x80, %al\nhlt\n");

/* A pending access is completed, and then no instruction runs. */
TEST_F(state, immediate_exit)
{
	struct kvm_run *run = self->vcpu->run;
	struct kvm_regs regs;

	VCPU_SNIPPET(self->vcpu, MODE_LONG, in_code);
	run->immediate_exit = 1;
	EXPECT_EQ(-EINTR, vcpu_run(self->vcpu));
	vcpu_get_regs(self->vcpu, &regs);
	EXPECT_EQ(CODE_GPA, regs.rip);
	run->immediate_exit = 0;
	ASSERT_EXIT(KVM_EXIT_IO, self->vcpu);
	*((u8 *)run + run->io.data_offset) = 0x5a;
	run->immediate_exit = 1;
	EXPECT_EQ(-EINTR, vcpu_run(self->vcpu));
	EXPECT_EQ(KVM_EXIT_IO, run->exit_reason);
	vcpu_get_regs(self->vcpu, &regs);
	EXPECT_EQ(0x5a, regs.rax);
	EXPECT_EQ(CODE_GPA + 2, regs.rip);
}

SNIPPET(64, spin_code, "1: jmp 1b\n");

static int set_mask(struct vcpu *vcpu, const sigset_t *set, u32 len)
{
	struct {
		struct kvm_signal_mask head;
		u8 bytes[8];
	} mask = { .head.len = len };

	memcpy(mask.head.sigset, set, 8);
	return dev_ioctl(vcpu->fd, KVM_SET_SIGNAL_MASK, &mask);
}

static void on_signal(int signal)
{
}

TEST_F(state, signal_mask)
{
	struct sigaction action = { .sa_handler = on_signal };
	sigset_t block, none, pending;

	sigaction(SIGUSR1, &action, NULL);
	sigemptyset(&none);
	sigemptyset(&block);
	sigaddset(&block, SIGUSR1);
	sigprocmask(SIG_BLOCK, &block, NULL);
	EXPECT_EQ(-EINVAL, set_mask(self->vcpu, &none, 4));
	EXPECT_EQ(0, set_mask(self->vcpu, &none, 8));
	VCPU_SNIPPET(self->vcpu, MODE_LONG, spin_code);
	raise(SIGUSR1);
	/* Blocked here but not in the guest, it ends KVM_RUN and still waits. */
	EXPECT_EQ(-EINTR, vcpu_run(self->vcpu));
	EXPECT_EQ(KVM_EXIT_INTR, self->vcpu->run->exit_reason);
	sigpending(&pending);
	EXPECT_EQ(1, sigismember(&pending, SIGUSR1));
	EXPECT_EQ(0, dev_ioctl(self->vcpu->fd, KVM_SET_SIGNAL_MASK, NULL));
	VCPU_SNIPPET(self->vcpu, MODE_LONG, out_code);
	EXPECT_EXIT(KVM_EXIT_IO, self->vcpu);
}

/* The older form of a vCPU's CPUID: sub-leaf 0 of each leaf. */
TEST(cpuid_without_subleaves)
{
	struct {
		struct kvm_cpuid head;
		struct kvm_cpuid_entry entries[3];
	} in = {
		.head.nent = 3,
		.entries = {
			{ .function = 0, .eax = 4, .ebx = 0x11, .edx = 0x12 },
			{ .function = 2, .ecx = 0x21 },
			{ .function = 4, .eax = 0x31, .padding = 7 },
		},
	};
	struct vm *vm = vm_new();
	int vcpu = MUST(vm->fd, KVM_CREATE_VCPU, 0), i;
	struct {
		struct kvm_cpuid2 head;
		struct kvm_cpuid_entry2 entries[4];
	} out = { .head.nent = 4 };

	ASSERT_EQ(0, dev_ioctl(vcpu, KVM_SET_CPUID, &in));
	ASSERT_EQ(0, dev_ioctl(vcpu, KVM_GET_CPUID2, &out));
	EXPECT_EQ(3, out.head.nent);
	for (i = 0; i < 3; i++) {
		EXPECT_EQ(in.entries[i].function, out.entries[i].function);
		EXPECT_EQ(in.entries[i].eax, out.entries[i].eax);
		EXPECT_EQ(in.entries[i].ebx, out.entries[i].ebx);
		EXPECT_EQ(in.entries[i].ecx, out.entries[i].ecx);
		EXPECT_EQ(in.entries[i].edx, out.entries[i].edx);
		EXPECT_EQ(0, out.entries[i].index | out.entries[i].flags);
	}
	in.head.nent = 100000;
	EXPECT_EQ(-E2BIG, dev_ioctl(vcpu, KVM_SET_CPUID, &in));
	ASSERT_EQ(0, dev_ioctl(vcpu, KVM_GET_CPUID2, &out));
	EXPECT_EQ(3, out.head.nent);
	close(vcpu);
	vm_free(vm);
}

/* Reset state, as the processor manuals have it. */
TEST(at_reset)
{
	struct vcpu *vcpu = vcpu_new(vm_new(), 0);
	struct kvm_sregs sregs;
	struct kvm_regs regs;
	struct kvm_fpu fpu;

	vcpu_get_regs(vcpu, &regs);
	vcpu_get_sregs(vcpu, &sregs);
	EXPECT_EQ(0xfff0, regs.rip);
	EXPECT_EQ(2, regs.rflags);
	EXPECT_EQ(0, regs.rax | regs.rbx | regs.rcx | regs.rsp);
	EXPECT_EQ(0xf000, sregs.cs.selector);
	EXPECT_EQ(0xffff0000, sregs.cs.base);
	EXPECT_EQ(0xffff, sregs.cs.limit);
	EXPECT_EQ(0, sregs.ds.base);
	EXPECT_EQ(0x60000010, sregs.cr0);
	EXPECT_EQ(0, sregs.cr4);
	EXPECT_EQ(0, sregs.efer);
	EXPECT_EQ(0xffff, sregs.idt.limit);
	MUST(vcpu->fd, KVM_GET_FPU, &fpu);
	EXPECT_EQ(0x37f, fpu.fcw);
}

TEST_HARNESS_MAIN
