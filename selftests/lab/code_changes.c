// SPDX-License-Identifier: GPL-2.0-only
/*
 * An instruction that is emulated is the one that is at RIP now, whatever was
 * there when the guest was there before: its bytes, the page tables, the code
 * segment and the memory slot may have changed.
 */
#include "lab.h"
#include <kselftest_harness.h>

#define P 0x67ull /* present, writable, user, accessed, dirty */
#define VA (1ull << 39) /* in the second entry of the top-level table */
#define LEVELS 4
#define SLOT_GPA (2 * VM_MEMORY)
#define DEVICE 0x10000000u /* mapped one to one, no memory */

FIXTURE(code_changes)
{
	struct vm *vm;
	struct vcpu *vcpu;
	struct kvm_sregs sregs;
};

FIXTURE_SETUP(code_changes)
{
	self->vm = vm_new();
	self->vcpu = vcpu_new(self->vm, 0);
	vcpu_mode(self->vcpu, MODE_LONG);
	vcpu_get_sregs(self->vcpu, &self->sregs);
}

FIXTURE_TEARDOWN(code_changes)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

/* Run to the write by the instruction at @rip, with RBX = DEVICE. */
static struct kvm_run *to_write(struct vcpu *vcpu,
				const struct kvm_sregs *sregs, u64 rip)
{
	struct kvm_regs regs = {
		.rip = rip, .rflags = 2, .rbx = DEVICE, .rax = 0xa, .rcx = 0xc
	};

	vcpu_set_regs(vcpu, &regs);
	if (vcpu_set_sregs(vcpu, sregs)) /* and flush the TLB */
		die("KVM_SET_SREGS");
	if (vcpu_exit(vcpu) != KVM_EXIT_MMIO || !vcpu->run->mmio.is_write)
		die("%s", vcpu_describe(vcpu));
	return vcpu->run;
}

/* Where that is, and what. */
static u64 writes_to(struct vcpu *vcpu, const struct kvm_sregs *sregs, u64 rip,
		     u32 *value)
{
	struct kvm_run *run = to_write(vcpu, sregs, rip);
	u64 gpa = run->mmio.phys_addr;

	memcpy(value, run->mmio.data, sizeof(*value));
	run->immediate_exit = 1;
	if (vcpu_run(vcpu) != -EINTR)
		die("immediate_exit");
	run->immediate_exit = 0;
	return gpa;
}

static u32 written(struct vcpu *vcpu, const struct kvm_sregs *sregs, u64 rip)
{
	u32 value;

	writes_to(vcpu, sregs, rip, &value);
	return value;
}

/* mov $imm, disp(%rbx): every byte of it counts */
TEST_F(code_changes, each_byte)
{
	u8 *code = self->vm->mem + CODE_GPA;
	u32 value, i;

	for (i = 1; i < 8; i++) {
		u32 bits = 1u << (i % 4 * 8 + 4);

		memcpy(code, "\xc7\x83\0\0\0\0\0\0\0\0", 10);
		EXPECT_EQ(DEVICE, writes_to(self->vcpu, &self->sregs, CODE_GPA,
					    &value));
		EXPECT_EQ(0, value);
		code[2 + i] = 0x10;
		EXPECT_EQ(DEVICE + (i < 4 ? bits : 0),
			  writes_to(self->vcpu, &self->sregs, CODE_GPA,
				    &value));
		EXPECT_EQ(i < 4 ? 0 : bits, value);
	}
	memcpy(code, "\x89\x03", 2); /* mov %eax, (%rbx) */
	EXPECT_EQ(0xa, written(self->vcpu, &self->sregs, CODE_GPA));
	memcpy(code, "\x89\x0b", 2); /* mov %ecx, (%rbx) */
	EXPECT_EQ(0xc, written(self->vcpu, &self->sregs, CODE_GPA));
}

/* Two ways to two pages of code, which begins with mov $which, (%rbx). */
static u64 table(unsigned int which, unsigned int level)
{
	return HEAP_GPA + (8 * which + level) * PAGE_SIZE;
}

static u64 *entry(struct vm *vm, unsigned int which, unsigned int level)
{
	return (u64 *)(vm->mem + table(which, level)) + (level == 4);
}

static void make_way(struct vm *vm, unsigned int which)
{
	const u8 code[] = { 0xc7, 0x03, which, 0, 0, 0 };
	unsigned int level;

	for (level = 1; level <= LEVELS; level++)
		*entry(vm, which, level) = table(which, level - 1) | P;
	memcpy(vm->mem + table(which, 0), code, sizeof(code));
	memcpy(vm->mem + table(which, LEVELS), vm->mem + TABLES_GPA, 8);
}

/* Three instructions at addresses that the module keeps two of, in one place. */
TEST_F(code_changes, in_one_place)
{
	static const u8 store_eax[] = { 0x89, 0x03 },
			store_ecx[] = { 0x89, 0x0b };
	const u64 rips[] = { CODE_GPA, CODE_GPA + 64, CODE_GPA + 128 };
	unsigned int changed, i, n;

	for (i = 0; i < 3; i++)
		memcpy(self->vm->mem + rips[i], store_eax, sizeof(store_eax));
	for (changed = 0; changed < 3; changed++) {
		for (i = 0; i < 3; i++)
			EXPECT_EQ(0xa,
				  written(self->vcpu, &self->sregs, rips[i]));
		memcpy(self->vm->mem + rips[changed], store_ecx,
		       sizeof(store_ecx));
		for (i = 0; i < 3; i++) {
			n = (changed + i) % 3;
			EXPECT_EQ(i ? 0xa : 0xc,
				  written(self->vcpu, &self->sregs, rips[n]));
		}
		memcpy(self->vm->mem + rips[changed], store_eax,
		       sizeof(store_eax));
	}
}

TEST_F(code_changes, page_tables)
{
	struct kvm_sregs sregs[2] = { self->sregs, self->sregs };
	struct vm *vm = self->vm;
	unsigned int i;

	for (i = 0; i < 2; i++) {
		make_way(vm, i);
		sregs[i].cr3 = table(i, LEVELS);
	}
	for (i = 1; i <= LEVELS; i++) {
		EXPECT_EQ(0, written(self->vcpu, &sregs[0], VA));
		*entry(vm, 0, i) = table(1, i - 1) | P;
		EXPECT_EQ(1, written(self->vcpu, &sregs[0], VA))
		TH_LOG("level %u", i);
		*entry(vm, 0, i) = table(0, i - 1) | P;
	}
	EXPECT_EQ(0, written(self->vcpu, &sregs[0], VA));
	EXPECT_EQ(1, written(self->vcpu, &sregs[1], VA));
	EXPECT_EQ(0, written(self->vcpu, &sregs[0], VA));
}

/* One that crosses pages is two accesses, not one that goes on from the first. */
TEST_F(code_changes, operand_across_pages)
{
	struct kvm_sregs sregs = self->sregs;
	u64 *leaf = entry(self->vm, 0, 1);
	struct kvm_run *run;

	make_way(self->vm, 0);
	sregs.cr3 = table(0, LEVELS);
	leaf[1] = DEVICE | P;
	leaf[2] = (DEVICE + 0x10000) | P;
	/* mov $0x11223344, -2(%rip + two pages) */
	memcpy(self->vm->mem + table(0, 0),
	       "\xc7\x05\xf4\x1f\0\0\x44\x33\x22\x11", 10);
	run = to_write(self->vcpu, &sregs, VA);
	EXPECT_EQ(DEVICE + 0xffe, run->mmio.phys_addr);
	EXPECT_EQ(2, run->mmio.len);
	ASSERT_EXIT(KVM_EXIT_MMIO, self->vcpu);
	EXPECT_EQ(DEVICE + 0x10000, run->mmio.phys_addr);
	EXPECT_EQ(2, run->mmio.len);
}

/* mov %eax, DEVICE(%rip), or without %rip in 32-bit code */
TEST_F(code_changes, code_segment)
{
	const u8 code[] = { 0x89, 0x05, 0, 0, 0, DEVICE >> 24 };
	struct kvm_sregs compat = self->sregs;
	u32 value, i;

	compat.cs.l = 0;
	compat.cs.db = 1;
	memcpy(self->vm->mem + CODE_GPA, code, sizeof(code));
	for (i = 0; i < 2; i++) {
		EXPECT_EQ(CODE_GPA + sizeof(code) + DEVICE,
			  writes_to(self->vcpu, &self->sregs, CODE_GPA,
				    &value));
		EXPECT_EQ(DEVICE,
			  writes_to(self->vcpu, &compat, CODE_GPA, &value));
	}
}

TEST_F(code_changes, memory_slot)
{
	u8 *mem = map_memory(2 * PAGE_SIZE);
	u32 i;

	memcpy(mem, "\x89\x03", 2);
	memcpy(mem + PAGE_SIZE, "\x89\x0b", 2);
	for (i = 0; i < 4; i++) {
		ASSERT_EQ(0, vm_slot(self->vm, 1, 0, SLOT_GPA, PAGE_SIZE,
				     mem + i % 2 * PAGE_SIZE));
		EXPECT_EQ(i % 2 ? 0xc : 0xa,
			  written(self->vcpu, &self->sregs, SLOT_GPA));
		ASSERT_EQ(0, vm_slot(self->vm, 1, 0, SLOT_GPA, 0, NULL));
	}
}

TEST_HARNESS_MAIN
