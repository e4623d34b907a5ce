/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * A record of what scripted guests and their user space see.
 *
 * A script is a snippet of guest code at CODE_GPA that reports by OUT to ports
 * of its own. Every exit is printed, and whatever changed since the last one:
 * of the vCPU's state as the KVM API shows it, and of guest memory. An IDT
 * entry leads to a stub that reports, too, so an event is seen in the order in
 * which it was delivered, with all that was pushed.
 */
#ifndef SELFTESTS_VIEW_H
#define SELFTESTS_VIEW_H

#include "guest.h"

/* Stubs of the events' handlers, 16 bytes a vector, for each word size. */
#define STUBS16_GPA 0x3000ul
#define STUBS32_GPA 0x4000ul
#define STUBS64_GPA 0x5000ul
#define EOI_GPA 0x6f00ul /* where stubs of interrupts go on */
#define PIC_EOI_GPA 0x6f40ul
/* Tables of the scripts; the page tables are the library's. */
#define IDT32_GPA 0x20000ul
#define IDT64_GPA 0x21000ul
#define GDT_GPA 0x22000ul
#define TSS32_GPA 0x23000ul
#define TSS64_GPA 0x24000ul
#define LOW_STACK 0x2f000ul /* top of one that 16-bit segments reach */

/* Ports, all of a byte: what the guest wants of the script's runner. */
#define PORT_STEP 0xf0 /* show the state */
#define PORT_END 0xf1
#define PORT_TRAP 0xf2 /* an event arrived */
#define PORT_HOST 0xf8 /* call on_host() with AL */

/* Selectors; those of user mode include the RPL. */
#define CS32 0x08
#define DATA 0x10
#define CS64 0x18
#define UCS32 0x23
#define UDATA 0x2b
#define UCS64 0x33
#define CS16 0x38
#define DATA16 0x40
#define ABSENT 0x48 /* not present */
#define SMALL 0x50 /* data, limit 0xffff, base 0x8000 */
#define DOWN 0x58 /* data, expands down, limit 0x8fff */
#define RDONLY 0x60
#define EXECONLY 0x68
#define CONFORM 0x70
#define GATE 0x78 /* call gate to CS32; 16 bytes, of CS64 in long mode */
#define TSS2 0x88 /* another task */
#define LDT 0x98 /* 16 bytes */
#define TSS 0xa8 /* 16 bytes */

/* Guest code: "0:" begins each script, and no script uses that label again. */
#define SCRIPT(bits, name, text) SNIPPET(bits, name, "0:\n" text END)
#define STEP "out %al, $0xf0\n"
#define END "out %al, $0xf1\n"
#define HOST(n)              \
	"mov $" #n ", %al\n" \
	"out %al, $0xf8\n"
/* Where to go on if the instruction faults; EBP is not for other uses. */
#define TRY_ONLY(insn)                              \
	"mov $(9f - 0b + 0x8000), %ebp\n" insn "\n" \
	"9: mov $0, %ebp\n"
#define TRY(insn) TRY_ONLY(insn) STEP

/*
 * Normalised: QEMU never sets RF in what a fault pushes or an exit saves, Bochs
 * sets it for some interrupts as well.
 */
#define RFLAGS_RF (1ull << 16)

struct script {
	const char *name;
	enum mode mode;
	const u8 *code, *end;
	u32 flags;
	void (*prepare)(struct vcpu *vcpu);
	void (*on_host)(struct vcpu *vcpu, u32 what);
};

/* What on_host() is told, besides the argument of HOST(). */
#define HOST_WINDOW 0x100 /* KVM_EXIT_IRQ_WINDOW_OPEN */
#define HOST_EVENT 0x200 /* plus the vector */

#define WITH_IRQCHIP 1 /* and interrupt handlers that write to EOI */
#define WITH_PIT 2
#define LOOPS 4 /* handlers do not skip what faulted */

void record_start(void);
void record_state(struct vcpu *vcpu);
void record_memory(struct vm *vm);
void record_hash(struct vm *vm);
void record_irqchip(struct vm *vm, struct vcpu *vcpu);
void note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
void section(const char *name);

struct vcpu *script_vcpu(u32 flags);
void script_set_sregs(struct vcpu *vcpu, struct kvm_sregs *s);
void script_tables(struct vcpu *vcpu, enum mode mode);
void script_run(struct vcpu *vcpu, const struct script *script);
void scripts_run(const struct script *scripts, unsigned int n);
bool finish_exit(struct vcpu *vcpu);

void set_cpuid_table(struct vcpu *vcpu);

void view_exceptions(void);
void view_system(void);
void view_interrupts(void);
void view_io(void);
void view_modes(void);

#endif /* SELFTESTS_VIEW_H */
