// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a thread has apart from its general registers is the same after KVM_RUN:
 * segment registers and bases, the limits of the descriptor tables, its ports.
 */
#include <sys/syscall.h>
#include <asm/ldt.h>
#include <asm/prctl.h>
#include "guest.h"
#include <kselftest_harness.h>

#define PORT 0x80 /* a POST code: nobody listens */
#define GS_BASE 0x12340000ul
#define USER_DS 0x2b
#define LDT_SELECTOR 7 /* entry 0, of the LDT, RPL 3 */

static void exits(void)
{
	for (;;)
		guest_sync(1);
}

static struct vcpu *vcpu_that_exits(void)
{
	struct vcpu *vcpu = vcpu_new(vm_new(), 0);

	vcpu_call(vcpu, exits);
	return vcpu;
}

#define READ_SEGMENT(name)                                       \
	({                                                       \
		u16 __s;                                         \
                                                                 \
		asm volatile("mov %%" #name ", %0" : "=r"(__s)); \
		__s;                                             \
	})

/* Of the LDT, if the kernel has those. */
static u16 flat_selector(void)
{
	struct user_desc desc = {
		.limit = 0xfffff,
		.limit_in_pages = 1,
		.seg_32bit = 1,
		.useable = 1,
	};

	if (!syscall(SYS_modify_ldt, 0x11, &desc, sizeof(desc)))
		return LDT_SELECTOR;
	if (errno != ENOSYS)
		die("modify_ldt: %s", strerror(errno));
	return USER_DS;
}

static void load_segments(u16 selector)
{
	asm volatile("mov %0, %%ds\n\t"
		     "mov %0, %%es\n\t"
		     "mov %0, %%gs" ::"r"((u32)selector));
}

TEST(segments)
{
	struct vcpu *vcpu = vcpu_that_exits();
	u32 selector = flat_selector();
	u16 ds, es, gs;
	u32 i, limit;

	for (i = 0; i < 3; i++) {
		load_segments(selector);
		vcpu_sync(vcpu);
		ds = READ_SEGMENT(ds);
		es = READ_SEGMENT(es);
		gs = READ_SEGMENT(gs);
		limit = 0;
		asm volatile("lsl %1, %0" : "+r"(limit) : "r"(selector));
		load_segments(0);
		EXPECT_EQ(selector, ds);
		EXPECT_EQ(selector, es);
		EXPECT_EQ(selector, gs);
		EXPECT_EQ(~0u, limit) TH_LOG("the LDT is gone");
	}
}

/* The base of FS is the C library's: without it nothing goes on. */
TEST(bases)
{
	struct vcpu *vcpu = vcpu_that_exits();
	u64 fs, seen;
	u32 i;

	ASSERT_EQ(0, syscall(SYS_arch_prctl, ARCH_GET_FS, &fs));
	for (i = 0; i < 3; i++) {
		ASSERT_EQ(0, syscall(SYS_arch_prctl, ARCH_SET_GS, GS_BASE + i));
		vcpu_sync(vcpu);
		ASSERT_EQ(0, syscall(SYS_arch_prctl, ARCH_GET_GS, &seen));
		EXPECT_EQ(GS_BASE + i, seen);
		ASSERT_EQ(0, syscall(SYS_arch_prctl, ARCH_GET_FS, &seen));
		EXPECT_EQ(fs, seen);
	}
}

static u16 gdt_limit(void)
{
	struct {
		u16 limit;
		u64 base;
	} __attribute__((packed)) gdt;

	asm volatile("sgdt %0" : "=m"(gdt));
	return gdt.limit;
}

TEST(gdt)
{
	/* With UMIP the kernel says that it is 0. */
	vcpu_sync(vcpu_that_exits());
	EXPECT_GT(0x100, gdt_limit());
}

/* The I/O permission bitmap is part of the TSS, beyond the limit of VM exits. */
TEST(ports)
{
	struct vcpu *vcpu = vcpu_that_exits();
	u32 i;

	vcpu_sync(vcpu);
	ASSERT_EQ(0, syscall(SYS_ioperm, PORT, 1, 1));
	for (i = 0; i < 3; i++) {
		outb(PORT, 0);
		vcpu_sync(vcpu);
	}
	outb(PORT, 0);
}

TEST_HARNESS_MAIN
