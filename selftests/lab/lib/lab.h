/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * Host side of the lab selftests: virtual machines, vCPUs and their memory,
 * through nothing but the KVM API.
 *
 * A test program doubles as its own guest. vm_new() copies the program's image
 * into guest memory at the addresses it is linked to, and a long-mode vCPU
 * runs with those addresses identity mapped, so a guest is an ordinary C
 * function. Guest and host each have their own copy of the variables;
 * GUEST_VAR() is the host's way to the guest's.
 *
 * Helpers that cannot fail in a working system call die() when they do, which
 * ends the test as failed; calls that a test judges return -errno instead.
 */
#ifndef SELFTESTS_LAB_H
#define SELFTESTS_LAB_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <linux/kvm.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define PAGE_SIZE 4096ul
#define MIB (1024ul * 1024)

/*
 * Guest-physical memory of a VM from vm_new(). Everything below 1 MiB other
 * than these pages, and everything from HEAP_GPA on, is the test's own.
 */
#define SIPI_GPA 0x6000ul /* start-up code of application CPUs */
#define REAL_STACK 0x8000ul /* top of the stack of 16-bit code */
#define CODE_GPA 0x8000ul /* snippets are loaded here */
#define DATA_GPA 0xa000ul /* their data */
#define TABLES_GPA 0x100000ul /* page tables, GDT, IDT, TSS */
#define STACKS_GPA 0x200000ul /* STACK_SIZE for each vCPU */
#define HEAP_GPA 0x800000ul
#define VM_MEMORY (16 * MIB)
#define MMIO_GPA 0xd0000000ul /* mapped by the guest, backed by no slot */
#define STACK_SIZE 0x4000ul
#define MAX_VCPUS 64

struct vm {
	int sys;
	int fd;
	u8 *mem;
};

struct vcpu {
	struct vm *vm;
	unsigned int id;
	int fd;
	struct kvm_run *run;
	size_t run_size;
	pthread_t thread;
};

/* How a vCPU executes: each mode maps guest-physical memory one to one. */
enum mode {
	MODE_REAL, /* 16 bit */
	MODE_PROT, /* 32 bit, paging off */
	MODE_PSE, /* 32 bit, 4 MiB pages */
	MODE_PAE, /* 32 bit, 2 MiB pages */
	MODE_LONG, /* 64 bit, 2 MiB pages */
	NR_MODES,
};

extern const char *const mode_names[NR_MODES];

/*
 * SNIPPET - define guest code, in the text of @bits-bit instructions
 * @name: array that holds the machine code; name##_end ends it
 *
 * The code runs at CODE_GPA, so it must not refer to its own labels by
 * absolute address.
 */
#define SNIPPET(bits, name, text)                                         \
	extern const u8 name[], name##_end[];                             \
	asm(".pushsection .rodata\n\t.code" #bits "\n" #name ":\n\t" text \
	    "\n" #name "_end:\n\t.code64\n\t.popsection")

#define die(...) lab_die(__FILE__, __LINE__, __VA_ARGS__)
void lab_die(const char *file, int line, const char *fmt, ...)
	__attribute__((noreturn, format(printf, 3, 4)));

/* The result of an ioctl: its value, or -errno. */
int dev_ioctl(int fd, unsigned long request, void *arg);
int dev_ioctl_value(int fd, unsigned long request, unsigned long value);

/* An ioctl that has to succeed. */
#define MUST(fd, request, arg)                                            \
	must_ioctl(fd, request, (unsigned long)(arg), #request, __FILE__, \
		   __LINE__)
int must_ioctl(int fd, unsigned long request, unsigned long arg,
	       const char *name, const char *file, int line);

const char *lab_device(void);
int lab_open(void);
bool lab_is_labvisor(void);
bool lab_is_tcg(void);
bool lab_is_vmx(void);
bool lab_has_apicv(void);
bool lab_posts_interrupts(void);
long lab_param(const char *name, long fallback);
int read_number(const char *path, long *value);
int write_text(const char *path, const char *text);

struct vm *vm_new(void);
struct vm *vm_new_irqchip(void);
struct vm *vm_new_bare(void);
void vm_free(struct vm *vm);
int vm_cap(struct vm *vm, unsigned int cap);
int vm_slot(struct vm *vm, u32 slot, u32 flags, u64 gpa, u64 size, void *mem);
void *map_memory(size_t size);

void vm_share_memory(struct vm *vm);
void vm_zap(struct vm *vm);

#define GUEST_VAR(vm, var) \
	(*(volatile typeof(var) *)((vm)->mem + (uintptr_t) & (var)))

struct vcpu *vcpu_new(struct vm *vm, unsigned int id);
void vcpu_free(struct vcpu *vcpu);
void vcpu_offer_cpuid(struct vcpu *vcpu);
struct kvm_cpuid2 *supported_cpuid(int sys);
const struct kvm_cpuid_entry2 *find_cpuid(const struct kvm_cpuid2 *cpuid,
					  u32 function, u32 index);

void vcpu_mode(struct vcpu *vcpu, enum mode mode);
void vcpu_load(struct vcpu *vcpu, enum mode mode, const u8 *code,
	       const u8 *end);
void vcpu_call(struct vcpu *vcpu, void (*guest)(void));
#define VCPU_SNIPPET(vcpu, mode, name) vcpu_load(vcpu, mode, name, name##_end)

int vcpu_run(struct vcpu *vcpu);
u32 vcpu_exit(struct vcpu *vcpu);
u32 vcpu_sync(struct vcpu *vcpu);
void vcpu_start(struct vcpu *vcpu);
void vcpu_start_run(struct vcpu *vcpu);
void vcpu_kick(struct vcpu *vcpu);
int vcpu_join(struct vcpu *vcpu);
const char *vcpu_describe(struct vcpu *vcpu);

void vcpu_get_regs(struct vcpu *vcpu, struct kvm_regs *regs);
void vcpu_set_regs(struct vcpu *vcpu, const struct kvm_regs *regs);
void vcpu_get_sregs(struct vcpu *vcpu, struct kvm_sregs *sregs);
int vcpu_set_sregs(struct vcpu *vcpu, const struct kvm_sregs *sregs);
int vcpu_get_msr(struct vcpu *vcpu, u32 index, u64 *value);
int vcpu_set_msr(struct vcpu *vcpu, u32 index, u64 value);

#define EXPECT_EXIT(reason, vcpu) \
	EXPECT_EQ(reason, vcpu_exit(vcpu)) TH_LOG("%s", vcpu_describe(vcpu))
#define ASSERT_EXIT(reason, vcpu) \
	ASSERT_EQ(reason, vcpu_exit(vcpu)) TH_LOG("%s", vcpu_describe(vcpu))

#endif /* SELFTESTS_LAB_H */
