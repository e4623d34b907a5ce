// SPDX-License-Identifier: GPL-2.0-only
/*
 * What things cost, in ticks of the TSC: in a lab host that counts instructions
 * a tick is one instruction, and the figures repeat to the last digit.
 *
 *	exits [NAME]...
 *
 * Prints a line per measurement, fields separated by tabs: name, what it is,
 * the median, least and largest of the samples, and their unit: instructions,
 * or bytes of the kernel's memory. Each sample is one operation. The reading of
 * the clock is taken off, nothing else: where the guest measures, a figure goes
 * from guest instruction to guest instruction; where the host does, from user
 * space to user space.
 */
#include <fcntl.h>
#include <linux/kvm_para.h>
#include <linux/membarrier.h>
#include <sched.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include "guest.h"

#define SAMPLES 63
#define VECTOR 0x50
#define FAR (1ull << 40) /* ticks, never reached */
#define EVENT_PORT 0x600
#define EVENT_GPA (MMIO_GPA + 0x1000)
#define IOAPIC_GPA 0xfec00000ul
#define PAGES_GPA 0x2000000ul
#define PAGES_SIZE (SAMPLES * PAGE_SIZE)
#define MSR_X2APIC_EOI 0x80b
#define MSR_X2APIC_ICR 0x830
#define X2APIC_ENABLE (1u << 10)
#define CR0_AM (1u << 18)
#define CR4_MCE (1u << 6)
#define GIB (1024 * MIB)
#define HUGE (2 * MIB)
#define NR_HUGE 15
#define HUGE_GPA 0x40000000ul /* large pages, or many */
#define FEW 15 /* samples of what takes long */
#define LOG_PAGES 16384u
#define PIN 5
#define MSI_GSI 24
#define MANY 64 /* VMs or vCPUs whose memory is counted */
#define MAPPED (GIB / 4)

/* Guest and host each have their own. */
static int64_t samples[SAMPLES];
static u64 clock_cost;

static inline u64 ticks(void)
{
	u64 value;

	asm volatile("lfence; rdtsc; shl $32, %%rdx; or %%rdx, %0"
		     : "=a"(value)::"rdx", "memory");
	return value;
}

#define TIMED(i, op)                                     \
	do {                                             \
		u64 __t = ticks();                       \
                                                         \
		op;                                      \
		samples[i] = ticks() - __t - clock_cost; \
	} while (0)

/* A guest that measures @op, with @i in reach, after @prepare. */
#define GUEST(name, prepare, op)              \
	static void name##_guest(void)        \
	{                                     \
		u64 i;                        \
                                              \
		prepare;                      \
		for (i = 0; i < SAMPLES; i++) \
			TIMED(i, op);         \
	}

#define NOTHING \
	do {    \
	} while (0)

/* ---- measured by the guest ---- */

static void hypercall(void)
{
	u64 nr = KVM_HC_VAPIC_POLL_IRQ;

	asm volatile("vmcall" : "+a"(nr)::"memory");
}

static void hypercall_amd(void)
{
	u64 nr = KVM_HC_VAPIC_POLL_IRQ;

	asm volatile("vmmcall" : "+a"(nr)::"memory");
}

GUEST(clock, NOTHING, NOTHING)
GUEST(cpuid, NOTHING, cpuid(0, 0))
GUEST(hypercall_intel, NOTHING, hypercall())
GUEST(hypercall_amd, NOTHING, hypercall_amd())
GUEST(rdmsr, NOTHING, rdmsr(MSR_APIC_BASE))
GUEST(wrmsr, u64 def = rdmsr(MSR_MTRR_DEF), wrmsr(MSR_MTRR_DEF, def))
GUEST(cr0, u64 cr = READ_REG(cr0), WRITE_REG(cr0, cr ^= CR0_AM))
GUEST(cr4, u64 cr = READ_REG(cr4), WRITE_REG(cr4, cr ^= CR4_MCE))
GUEST(cr8, NOTHING, WRITE_REG(cr8, i & 1))
GUEST(dr, NOTHING, WRITE_REG(dr7, 0x400))
GUEST(dr_read, NOTHING, READ_REG(dr7))
GUEST(rdmsr_direct, NOTHING, rdmsr(MSR_KERNEL_GS))
GUEST(wrmsr_direct, NOTHING, wrmsr(MSR_KERNEL_GS, i))
GUEST(rdtsc, NOTHING, rdtsc())
GUEST(invlpg, NOTHING, asm volatile("invlpg 0x3000" ::: "memory"))
GUEST(pause, NOTHING, pause_cpu())
GUEST(xsetbv, WRITE_REG(cr4, READ_REG(cr4) | X86_CR4_OSXSAVE),
      asm volatile("xsetbv" ::"a"(3), "d"(0), "c"(0)))
GUEST(pic_in, NOTHING, inb(0x21))
GUEST(pic_out, NOTHING, outb(0x21, 0xff))
GUEST(pit_in, NOTHING, inb(0x40))
GUEST(ioapic_read, mmio_write32(IOAPIC_GPA, 1), mmio_read32(IOAPIC_GPA + 0x10))
GUEST(ioapic_write, NOTHING, mmio_write32(IOAPIC_GPA, 1))
GUEST(pio_event, NOTHING, outl(EVENT_PORT, 1))
GUEST(mmio_event, NOTHING, mmio_write32(EVENT_GPA, 1))
GUEST(touch_read, NOTHING, *(volatile u8 *)(PAGES_GPA + i * PAGE_SIZE))
GUEST(touch_write, NOTHING, *(volatile u8 *)(PAGES_GPA + i * PAGE_SIZE) = 1)
GUEST(arm, apic_enable();
      apic_write(APIC_LVTT, 2 << 17 | VECTOR), wrmsr(MSR_TSC_DEADLINE, FAR + i))

GUEST(lapic_arm, apic_enable();
      apic_write(APIC_LVTT, VECTOR), apic_write(APIC_TMICT, ~0u - i))

static void read_huge_guest(void)
{
	u64 i;

	for (i = 0; i < NR_HUGE; i++)
		TIMED(i, *(volatile u8 *)(HUGE_GPA + i * HUGE));
}

static void touch_huge_guest(void)
{
	u64 i;

	for (i = 0; i < NR_HUGE; i++)
		TIMED(i, *(volatile u8 *)(HUGE_GPA + i * HUGE) = 1);
}

static void touch_all_huge(void)
{
	u64 i;

	for (i = 0; i < NR_HUGE; i++)
		*(volatile u8 *)(HUGE_GPA + i * HUGE) = 1;
}

/* The host clears them, longer than from one tick to the next: the mean of all. */
static void touch_absent_huge_guest(void)
{
	TIMED(0, touch_all_huge());
	samples[0] /= NR_HUGE;
}

static void hypercall_guest(void)
{
	if (cpuid(0, 0).ebx == 0x756e6547)
		hypercall_intel_guest();
	else
		hypercall_amd_guest();
}

/* Interrupts: when did the handler begin, and what did its EOI cost? */
static volatile u64 arrival;
static volatile int64_t ipi_cost, eoi_cost;
static bool x2apic;

static void on_interrupt(struct trap_frame *frame)
{
	u64 begin, end;

	begin = ticks();
	if (x2apic)
		wrmsr(MSR_X2APIC_EOI, 0);
	else
		apic_eoi();
	end = ticks();
	eoi_cost = end - begin - clock_cost;
	arrival = begin;
}

static void prepare_interrupts(bool use_x2apic)
{
	trap_handlers[VECTOR] = on_interrupt;
	x2apic = use_x2apic;
	apic_enable();
	if (x2apic)
		wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE) | X2APIC_ENABLE);
	sti();
}

static void self_ipi(void)
{
	u64 sent;

	arrival = 0;
	sent = ticks();
	if (x2apic)
		wrmsr(MSR_X2APIC_ICR, ICR_SELF | VECTOR);
	else
		apic_write(APIC_ICR, ICR_SELF | VECTOR);
	while (!arrival)
		pause_cpu();
	ipi_cost = arrival - sent - clock_cost;
}

#define IPI_GUEST(name, use_x2apic, result)     \
	static void name##_guest(void)          \
	{                                       \
		u64 i;                          \
                                                \
		prepare_interrupts(use_x2apic); \
		for (i = 0; i < SAMPLES; i++) { \
			self_ipi();             \
			samples[i] = result;    \
		}                               \
	}

IPI_GUEST(ipi, false, ipi_cost)
IPI_GUEST(ipi_x2apic, true, ipi_cost)
IPI_GUEST(eoi, false, eoi_cost)
IPI_GUEST(eoi_x2apic, true, eoi_cost)

static void prepare_deadlines(void)
{
	prepare_interrupts(false);
	apic_write(APIC_LVTT, 2 << 17 | VECTOR);
}

/* From the instruction that makes a timer expire at once to the handler. */
#define EXPIRY_GUEST(name, prepare, arm)                           \
	static void name##_guest(void)                             \
	{                                                          \
		u64 i, begin;                                      \
                                                                   \
		prepare;                                           \
		for (i = 0; i < SAMPLES; i++) {                    \
			arrival = 0;                               \
			begin = ticks();                           \
			arm;                                       \
			while (!arrival)                           \
				pause_cpu();                       \
			samples[i] = arrival - begin - clock_cost; \
		}                                                  \
	}

EXPIRY_GUEST(timer_past, prepare_deadlines(), wrmsr(MSR_TSC_DEADLINE, 1))
EXPIRY_GUEST(lapic_past, prepare_interrupts(false);
	     apic_write(APIC_LVTT, VECTOR), apic_write(APIC_TMICT, 1))

/* From the deadline to the handler. */
static void timer_late(bool halt)
{
	u64 i, deadline;

	prepare_deadlines();
	for (i = 0; i < SAMPLES; i++) {
		cli();
		arrival = 0;
		deadline = ticks() + 1000000 + i * 1001;
		wrmsr(MSR_TSC_DEADLINE, deadline);
		while (!arrival) {
			if (halt) {
				sti_hlt();
				cli();
			} else {
				sti();
			}
		}
		samples[i] = arrival - deadline;
	}
}

static void timer_busy_guest(void)
{
	timer_late(false);
}

static void timer_halted_guest(void)
{
	timer_late(true);
}

/* ---- what the guest needs from the host ---- */

static void add_event(struct vm *vm, u64 addr, u32 flags)
{
	struct kvm_ioeventfd event = {
		.addr = addr,
		.len = 4,
		.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.flags = flags,
	};

	MUST(vm->fd, KVM_IOEVENTFD, &event);
}

static void add_pio_event(struct vm *vm)
{
	add_event(vm, EVENT_PORT, KVM_IOEVENTFD_FLAG_PIO);
}

static void add_mmio_event(struct vm *vm)
{
	add_event(vm, EVENT_GPA, 0);
}

static void add_pit(struct vm *vm)
{
	struct kvm_pit_config config = {};

	MUST(vm->fd, KVM_CREATE_PIT2, &config);
}

/* A slot of small pages that the guest has not touched. */
static void *add_slot(struct vm *vm, u32 flags)
{
	void *mem = map_memory(PAGES_SIZE);

	madvise(mem, PAGES_SIZE, MADV_NOHUGEPAGE);
	if (vm_slot(vm, 1, flags, PAGES_GPA, PAGES_SIZE, mem))
		die("slot 1");
	return mem;
}

static void add_absent_pages(struct vm *vm)
{
	add_slot(vm, 0);
}

static void add_present_pages(struct vm *vm)
{
	memset(add_slot(vm, 0), 1, PAGES_SIZE);
}

/* The pages have gone to the lab host's swap device. */
static bool swapped(const u8 *mem)
{
	const u64 in_swap = 1ull << 62;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	u64 entries[SAMPLES], i, n = 0;

	if (pread(fd, entries, sizeof(entries),
		  (uintptr_t)mem / PAGE_SIZE * sizeof(u64)) != sizeof(entries))
		die("pagemap: %m");
	close(fd);
	for (i = 0; i < SAMPLES; i++)
		n += !!(entries[i] & in_swap);
	return n == SAMPLES;
}

static void add_swapped_pages(struct vm *vm)
{
	u8 *mem = add_slot(vm, 0);
	int i;

	memset(mem, 1, PAGES_SIZE);
	/* Pages that were in use stay at first. */
	for (i = 0; i < 4 && !swapped(mem); i++)
		if (madvise(mem, PAGES_SIZE, MADV_PAGEOUT))
			die("MADV_PAGEOUT: %m");
	if (!swapped(mem))
		die("the pages are not swapped out");
}

/* A process that shares all memory until it is written to */
static pid_t sharer;

static void add_shared_pages(struct vm *vm)
{
	memset(add_slot(vm, 0), 1, PAGES_SIZE);
	sharer = fork();
	if (sharer < 0)
		die("fork: %m");
	if (sharer)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (;;)
		pause();
}

static void end_sharing(void)
{
	if (!sharer)
		return;
	kill(sharer, SIGKILL);
	waitpid(sharer, NULL, 0);
	sharer = 0;
}

#define KSM "/sys/kernel/mm/ksm/"

/* Each page has been merged with one of the same content. */
static void add_merged_pages(struct vm *vm)
{
	u8 *mem = add_slot(vm, 0), *twin = map_memory(PAGES_SIZE);
	static u64 content = 1;
	long before, sharing;
	u64 i;

	madvise(twin, PAGES_SIZE, MADV_NOHUGEPAGE);
	for (i = 0; i < PAGES_SIZE; i += PAGE_SIZE, content++) {
		*(u64 *)(mem + i) = content;
		*(u64 *)(twin + i) = content;
	}
	if (read_number(KSM "pages_sharing", &before) ||
	    madvise(mem, PAGES_SIZE, MADV_MERGEABLE) ||
	    madvise(twin, PAGES_SIZE, MADV_MERGEABLE) ||
	    write_text(KSM "sleep_millisecs", "0") ||
	    write_text(KSM "pages_to_scan", "10000") ||
	    write_text(KSM "run", "1"))
		die("KSM: %m");
	do {
		sched_yield();
		if (read_number(KSM "pages_sharing", &sharing))
			die("KSM: %m");
	} while (sharing < before + SAMPLES);
	write_text(KSM "run", "0");
}

/* Pages of a file that is in memory, but in nobody's page tables. */
static void add_file_pages(struct vm *vm)
{
	static const u8 byte = 1;
	int fd = memfd_create("pages", MFD_CLOEXEC);
	void *mem;
	u64 i;

	for (i = 0; i < SAMPLES; i++)
		if (pwrite(fd, &byte, 1, (i + 1) * PAGE_SIZE - 1) != 1)
			die("memfd: %m");
	mem = mmap(NULL, PAGES_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED || vm_slot(vm, 1, 0, PAGES_GPA, PAGES_SIZE, mem))
		die("slot 1: %m");
	close(fd);
}

/* A slot of large pages, if the host has them. */
static void *add_huge_slot(struct vm *vm)
{
	u8 *mem = map_memory((NR_HUGE + 1) * HUGE);

	mem += -(uintptr_t)mem & (HUGE - 1);
	madvise(mem, NR_HUGE * HUGE, MADV_HUGEPAGE);
	if (vm_slot(vm, 1, 0, HUGE_GPA, NR_HUGE * HUGE, mem))
		die("slot 1");
	return mem;
}

static void add_absent_huge_pages(struct vm *vm)
{
	add_huge_slot(vm);
}

static void add_present_huge_pages(struct vm *vm)
{
	memset(add_huge_slot(vm), 1, NR_HUGE * HUGE);
}

/* ---- measured by the host ---- */

static struct vcpu *start_guest(struct vm *vm, void (*guest)(void))
{
	struct vcpu *vcpu = vcpu_new(vm, 0);

	GUEST_VAR(vm, clock_cost) = clock_cost;
	vcpu_call(vcpu, guest);
	return vcpu;
}

static void end_guest(struct vcpu *vcpu)
{
	struct vm *vm = vcpu->vm;

	vcpu_free(vcpu);
	vm_free(vm);
}

/* A guest whose every KVM_RUN ends with this exit. */
static void time_exits(void (*guest)(void), u32 reason)
{
	struct vcpu *vcpu = start_guest(vm_new(), guest);
	u64 i;

	for (i = 0; i < SAMPLES; i++) {
		TIMED(i, vcpu_run(vcpu));
		if (vcpu->run->exit_reason != reason)
			die("%s", vcpu_describe(vcpu));
	}
	end_guest(vcpu);
}

static void out_loop(void)
{
	for (;;)
		outl(EVENT_PORT, 1);
}

static void in_loop(void)
{
	for (;;)
		inl(EVENT_PORT);
}

static void write_loop(void)
{
	for (;;)
		mmio_write32(MMIO_GPA, 1);
}

static void read_loop(void)
{
	for (;;)
		mmio_read32(MMIO_GPA);
}

static void halt_loop(void)
{
	for (;;)
		asm volatile("hlt");
}

static void user_out(void)
{
	time_exits(out_loop, KVM_EXIT_IO);
}

static void user_in(void)
{
	time_exits(in_loop, KVM_EXIT_IO);
}

static void user_write(void)
{
	time_exits(write_loop, KVM_EXIT_MMIO);
}

static void user_read(void)
{
	time_exits(read_loop, KVM_EXIT_MMIO);
}

static void user_halt(void)
{
	time_exits(halt_loop, KVM_EXIT_HLT);
}

static void immediate_exit(void)
{
	struct vcpu *vcpu = start_guest(vm_new(), out_loop);
	u64 i;

	vcpu->run->immediate_exit = 1;
	for (i = 0; i < SAMPLES; i++)
		TIMED(i, vcpu_run(vcpu));
	end_guest(vcpu);
}

static void get_regs(void)
{
	struct vcpu *vcpu = start_guest(vm_new(), out_loop);
	struct kvm_regs regs;
	u64 i;

	for (i = 0; i < SAMPLES; i++)
		TIMED(i, vcpu_get_regs(vcpu, &regs));
	end_guest(vcpu);
}

static void on_user_interrupt(struct trap_frame *frame)
{
	outl(EVENT_PORT, 2);
}

static void window_loop(void)
{
	trap_handlers[VECTOR] = on_user_interrupt;
	for (;;) {
		outl(EVENT_PORT, 1);
		sti();
		asm volatile("nop; cli" ::: "memory");
	}
}

static void run_to(struct vcpu *vcpu, u32 reason)
{
	if (vcpu_run(vcpu) || vcpu->run->exit_reason != reason)
		die("%s", vcpu_describe(vcpu));
}

static void interrupt(struct vcpu *vcpu)
{
	struct kvm_interrupt irq = { VECTOR };

	vcpu->run->request_interrupt_window = 1;
	run_to(vcpu, KVM_EXIT_IRQ_WINDOW_OPEN);
	vcpu->run->request_interrupt_window = 0;
	MUST(vcpu->fd, KVM_INTERRUPT, &irq);
	run_to(vcpu, KVM_EXIT_IO);
}

/* Wait for the window, inject, and meet the handler at its first exit. */
static void user_interrupt(void)
{
	struct vcpu *vcpu = start_guest(vm_new(), window_loop);
	u64 i;

	for (i = 0; i < SAMPLES; i++) {
		run_to(vcpu, KVM_EXIT_IO);
		TIMED(i, interrupt(vcpu));
	}
	end_guest(vcpu);
}

/* ---- interrupts that the host sends ---- */

static void on_sent_interrupt(struct trap_frame *frame)
{
	outl(EVENT_PORT, 2);
	apic_eoi();
}

static void receiver_loop(void)
{
	trap_handlers[VECTOR] = on_sent_interrupt;
	apic_enable();
	mmio_write32(IOAPIC_GPA, 0x10 + 2 * PIN); /* to APIC 0, on an edge */
	mmio_write32(IOAPIC_GPA + 0x10, VECTOR);
	for (;;) {
		outl(EVENT_PORT, 1);
		sti();
		asm volatile("nop; cli" ::: "memory");
	}
}

static void send_line(struct vm *vm, int fd)
{
	struct kvm_irq_level line = { .irq = PIN, .level = 1 };

	MUST(vm->fd, KVM_IRQ_LINE, &line);
	line.level = 0;
	MUST(vm->fd, KVM_IRQ_LINE, &line);
}

static void send_eventfd(struct vm *vm, int fd)
{
	const u64 one = 1;

	if (write(fd, &one, sizeof(one)) != sizeof(one))
		die("eventfd");
}

static void send_msi(struct vm *vm, int fd)
{
	struct kvm_msi msi = { .address_lo = APIC_GPA, .data = VECTOR };

	MUST(vm->fd, KVM_SIGNAL_MSI, &msi);
}

static void route_msi(struct vm *vm)
{
	struct {
		struct kvm_irq_routing head;
		struct kvm_irq_routing_entry entry;
	} table = {
		.head.nr = 1,
		.entry = { .gsi = MSI_GSI,
			   .type = KVM_IRQ_ROUTING_MSI,
			   .u.msi = { .address_lo = APIC_GPA,
				      .data = VECTOR } },
	};

	MUST(vm->fd, KVM_SET_GSI_ROUTING, &table);
}

/* From the call that sends an interrupt to the first exit of its handler. */
static void time_interrupts(void (*send)(struct vm *vm, int fd), u32 gsi)
{
	struct vm *vm = vm_new_irqchip();
	struct vcpu *vcpu = start_guest(vm, receiver_loop);
	struct kvm_irqfd irqfd = {
		.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK),
		.gsi = gsi,
	};
	u64 i;

	if (gsi == MSI_GSI)
		route_msi(vm);
	MUST(vm->fd, KVM_IRQFD, &irqfd);
	for (i = 0; i < SAMPLES; i++) {
		run_to(vcpu, KVM_EXIT_IO);
		TIMED(i, {
			send(vm, irqfd.fd);
			run_to(vcpu, KVM_EXIT_IO);
		});
	}
	end_guest(vcpu);
	close(irqfd.fd);
}

static void irq_line(void)
{
	time_interrupts(send_line, PIN);
}

static void irq_fd(void)
{
	time_interrupts(send_eventfd, PIN);
}

static void irq_fd_msi(void)
{
	time_interrupts(send_eventfd, MSI_GSI);
}

static void irq_msi(void)
{
	time_interrupts(send_msi, PIN);
}

/* ---- dirty log ---- */

static void rewrite_guest(void)
{
	u64 i;

	touch_write_guest();
	guest_sync(1);
	for (i = 0; i < SAMPLES; i++)
		TIMED(i, *(volatile u8 *)(PAGES_GPA + i * PAGE_SIZE) = 2);
}

/* First write to a page since the dirty log was read. */
static void dirty_write(void)
{
	struct vm *vm = vm_new();
	u64 bitmap[SAMPLES / 64 + 1];
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bitmap };
	struct vcpu *vcpu;

	add_slot(vm, KVM_MEM_LOG_DIRTY_PAGES);
	vcpu = start_guest(vm, rewrite_guest);
	vcpu_sync(vcpu);
	MUST(vm->fd, KVM_GET_DIRTY_LOG, &log);
	vcpu_sync(vcpu);
	memcpy(samples, (void *)&GUEST_VAR(vm, samples), sizeof(samples));
	end_guest(vcpu);
}

static void one_percent_guest(void)
{
	u64 i;

	for (i = 0; i < LOG_PAGES; i++)
		*(volatile u8 *)(HUGE_GPA + i * PAGE_SIZE) = 1;
	for (;;) {
		guest_sync(1);
		for (i = 0; i < LOG_PAGES; i += 100)
			*(volatile u8 *)(HUGE_GPA + i * PAGE_SIZE) = 2;
	}
}

/* Read the log; then the guest writes to one page in a hundred. */
static void dirty_round(void)
{
	static u64 bitmap[LOG_PAGES / 64];
	struct kvm_dirty_log log = { .slot = 1, .dirty_bitmap = bitmap };
	u8 *mem = map_memory(LOG_PAGES * PAGE_SIZE);
	struct vm *vm = vm_new();
	struct vcpu *vcpu;
	u64 i;

	if (vm_slot(vm, 1, KVM_MEM_LOG_DIRTY_PAGES, HUGE_GPA,
		    LOG_PAGES * PAGE_SIZE, mem))
		die("slot 1");
	vcpu = start_guest(vm, one_percent_guest);
	vcpu_sync(vcpu);
	MUST(vm->fd, KVM_GET_DIRTY_LOG, &log);
	vcpu_sync(vcpu);
	for (i = 0; i < FEW; i++)
		TIMED(i, {
			MUST(vm->fd, KVM_GET_DIRTY_LOG, &log);
			vcpu_sync(vcpu);
		});
	end_guest(vcpu);
	munmap(mem, LOG_PAGES * PAGE_SIZE);
}

/* ---- IPIs between two vCPUs, which take turns ---- */

#define ASK_VECTOR (VECTOR + 1)

static volatile u32 turn;

static void on_answer(struct trap_frame *frame)
{
	apic_eoi();
}

/* The other one answers from its handler, */
static void on_ask(struct trap_frame *frame)
{
	apic_eoi();
	turn++;
	apic_icr(0, VECTOR);
}

/* which interrupts either of these. */
static void halted_partner(void)
{
	apic_enable();
	guest_sync(1);
	for (;;)
		sti_hlt();
}

static void busy_partner(void)
{
	apic_enable();
	guest_sync(1);
	sti();
	for (;;)
		pause_cpu();
}

static void prepare_to_ask(void)
{
	trap_handlers[VECTOR] = on_answer;
	trap_handlers[ASK_VECTOR] = on_ask;
	apic_enable();
	apic_write(APIC_LVTT, 2 << 17 | VECTOR);
	apic_write(APIC_ICR2, 1 << 24);
}

/* Long enough for the other one to be past what its host does before it sleeps. */
static void rest(void)
{
	const u64 end = ticks() + 1000000;

	wrmsr(MSR_TSC_DEADLINE, end);
	cli();
	while (ticks() < end) {
		sti_hlt();
		cli();
	}
}

static void ask(u64 i)
{
	turn = 2 * i + 1;
	apic_write(APIC_ICR, ASK_VECTOR);
}

static void await_answer(u64 i)
{
	cli();
	while (turn != 2 * i + 2) {
		sti_hlt();
		cli();
	}
}

static void round_trip_guest(void)
{
	u64 i;

	prepare_to_ask();
	for (i = 0; i < SAMPLES; i++) {
		rest();
		TIMED(i, {
			ask(i);
			await_answer(i);
		});
	}
}

static void send_guest(void)
{
	u64 i;

	prepare_to_ask();
	for (i = 0; i < SAMPLES; i++) {
		rest();
		TIMED(i, ask(i));
		await_answer(i);
	}
}

static void set_priority(int policy, int priority)
{
	struct sched_param param = { .sched_priority = priority };

	if (sched_setscheduler(0, policy, &param))
		die("sched_setscheduler: %m");
}

/*
 * One vCPU asks another. On a single CPU, it is the asking one that runs
 * whenever it can: then a partner that does not halt has been preempted.
 */
static void time_ipis(void (*guest)(void), void (*partner_guest)(void))
{
	struct kvm_mp_state runnable = { KVM_MP_STATE_RUNNABLE };
	struct vm *vm = vm_new_irqchip();
	struct vcpu *vcpu = start_guest(vm, guest);
	struct vcpu *partner = vcpu_new(vm, 1);

	MUST(partner->fd, KVM_SET_MP_STATE, &runnable);
	vcpu_call(partner, partner_guest);
	vcpu_sync(partner);
	vcpu_start_run(partner);
	set_priority(SCHED_FIFO, 1);
	if (vcpu_sync(vcpu) != GUEST_DONE)
		die("%s", vcpu_describe(vcpu));
	set_priority(SCHED_OTHER, 0);
	vcpu_kick(partner);
	vcpu_join(partner);
	memcpy(samples, (void *)&GUEST_VAR(vm, samples), sizeof(samples));
	vcpu_free(partner);
	end_guest(vcpu);
}

static void ipi_to_halted(void)
{
	time_ipis(round_trip_guest, halted_partner);
}

static void ipi_to_preempted(void)
{
	time_ipis(round_trip_guest, busy_partner);
}

static void send_to_halted(void)
{
	time_ipis(send_guest, halted_partner);
}

static void send_to_preempted(void)
{
	time_ipis(send_guest, busy_partner);
}

static void create_vms(void)
{
	int sys = lab_open();
	u64 i;

	for (i = 0; i < SAMPLES; i++)
		TIMED(i, close(MUST(sys, KVM_CREATE_VM, 0)));
	close(sys);
}

/* Virtualization stays on: there is another VM. */
static void create_another_vm(void)
{
	struct vm *vm = vm_new_bare();

	create_vms();
	vm_free(vm);
}

static void create_vcpu_and_vm(int sys)
{
	int vm = MUST(sys, KVM_CREATE_VM, 0);

	close(MUST(vm, KVM_CREATE_VCPU, 0));
	close(vm);
}

static void create_vm_with_vcpu(void)
{
	struct vm *vm = vm_new_bare();
	u64 i;

	for (i = 0; i < SAMPLES; i++)
		TIMED(i, create_vcpu_and_vm(vm->sys));
	vm_free(vm);
}

static void create_vcpu(void)
{
	struct vm *vm = vm_new_bare();
	u64 i;

	for (i = 0; i < SAMPLES; i++)
		TIMED(i, close(MUST(vm->fd, KVM_CREATE_VCPU, i)));
	vm_free(vm);
}

static void create_big_vm(int sys, void *mem, unsigned int nr_vcpus)
{
	struct kvm_userspace_memory_region region = {
		.memory_size = GIB,
		.userspace_addr = (uintptr_t)mem,
	};
	int vm = MUST(sys, KVM_CREATE_VM, 0);
	unsigned int i;

	MUST(vm, KVM_SET_USER_MEMORY_REGION, &region);
	for (i = 0; i < nr_vcpus; i++)
		close(MUST(vm, KVM_CREATE_VCPU, i));
	close(vm);
}

static void *map_gib(void)
{
	void *mem = mmap(NULL, GIB, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (mem == MAP_FAILED)
		die("mmap: %m");
	return mem;
}

static void create_big_vms(unsigned int nr_vcpus)
{
	struct vm *vm = vm_new_bare();
	void *mem = map_gib();
	u64 i;

	for (i = 0; i < FEW; i++)
		TIMED(i, create_big_vm(vm->sys, mem, nr_vcpus));
	munmap(mem, GIB);
	vm_free(vm);
}

static void create_big_1(void)
{
	create_big_vms(1);
}

static void create_big_8(void)
{
	create_big_vms(8);
}

/* ---- memory of the kernel ---- */

/* Free pages, with those on the CPUs' own lists, after a grace period of RCU. */
static int64_t free_pages(void)
{
	int64_t sum = 0, n;
	char line[128];
	FILE *file;
	int i;

	for (i = 0; i < 3; i++)
		syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
	file = fopen("/proc/zoneinfo", "r");
	if (!file)
		die("/proc/zoneinfo: %m");
	while (fgets(line, sizeof(line), file))
		if (sscanf(line, " nr_free_pages %ld", &n) == 1 ||
		    sscanf(line, " count: %ld", &n) == 1)
			sum += n;
	fclose(file);
	return sum;
}

static int64_t used_bytes(void)
{
	return -free_pages() * (int64_t)PAGE_SIZE;
}

static void memory_of_vms(void)
{
	int sys = lab_open(), fd[MANY];
	int64_t before;
	u64 i;

	close(MUST(sys, KVM_CREATE_VM, 0)); /* what the first one needs */
	before = used_bytes();
	for (i = 0; i < MANY; i++)
		fd[i] = MUST(sys, KVM_CREATE_VM, 0);
	samples[0] = (used_bytes() - before) / MANY;
	for (i = 0; i < MANY; i++)
		close(fd[i]);
	close(sys);
}

static void memory_of_vcpus(void)
{
	struct vm *vm = vm_new_bare();
	int64_t before;
	int fd[MANY];
	u64 i;

	close(MUST(vm->fd, KVM_CREATE_VCPU, MANY));
	before = used_bytes();
	for (i = 0; i < MANY; i++)
		fd[i] = MUST(vm->fd, KVM_CREATE_VCPU, i);
	samples[0] = (used_bytes() - before) / MANY;
	for (i = 0; i < MANY; i++)
		close(fd[i]);
	vm_free(vm);
}

static void touch_all_guest(void)
{
	u64 i;

	for (i = 0; i < MAPPED; i += PAGE_SIZE)
		*(volatile u8 *)(HUGE_GPA + i);
}

/* A guest has touched memory that the host had, in small pages. */
static void memory_of_mappings(void)
{
	void *mem = map_memory(MAPPED);
	struct vm *vm = vm_new();
	struct vcpu *vcpu;
	int64_t before;

	madvise(mem, MAPPED, MADV_NOHUGEPAGE);
	memset(mem, 1, MAPPED);
	if (vm_slot(vm, 1, 0, HUGE_GPA, MAPPED, mem))
		die("slot 1");
	vcpu = start_guest(vm, touch_all_guest);
	before = used_bytes();
	if (vcpu_sync(vcpu) != GUEST_DONE)
		die("%s", vcpu_describe(vcpu));
	samples[0] = (used_bytes() - before) * (GIB / MAPPED);
	end_guest(vcpu);
	munmap(mem, MAPPED);
}

static void change_slots(void)
{
	struct vm *vm = vm_new();
	void *mem = map_memory(MIB);
	u64 i;

	for (i = 0; i < SAMPLES; i++)
		TIMED(i, {
			vm_slot(vm, 1, 0, PAGES_GPA, MIB, mem);
			vm_slot(vm, 1, 0, PAGES_GPA, 0, mem);
		});
	munmap(mem, MIB);
	vm_free(vm);
}

/* ---- the list ---- */

static const struct bench {
	const char *name, *what;
	void (*guest)(void); /* measures, in a VM with an irqchip */
	void (*prepare)(struct vm *vm);
	void (*host)(void); /* or this does */
	unsigned int samples; /* or SAMPLES */
	const char *unit; /* or instructions */
} benches[] = {
	{ "cpuid", "CPUID", cpuid_guest },
	{ "hypercall", "hypercall", hypercall_guest },
	{ "rdmsr", "RDMSR, emulated (APIC_BASE)", rdmsr_guest },
	{ "wrmsr", "WRMSR, emulated (MTRR default type)", wrmsr_guest },
	{ "cr0", "MOV to CR0 (AM)", cr0_guest },
	{ "cr4", "MOV to CR4 (MCE)", cr4_guest },
	{ "cr8", "MOV to CR8", cr8_guest },
	{ "dr", "MOV to DR7", dr_guest },
	{ "dr_read", "MOV from DR7", dr_read_guest },
	{ "rdmsr_direct", "RDMSR, passed through (KERNEL_GS_BASE)",
	  rdmsr_direct_guest },
	{ "wrmsr_direct", "WRMSR, passed through (KERNEL_GS_BASE)",
	  wrmsr_direct_guest },
	{ "xsetbv", "XSETBV", xsetbv_guest },
	{ "rdtsc", "RDTSC", rdtsc_guest },
	{ "invlpg", "INVLPG", invlpg_guest },
	{ "pause", "PAUSE", pause_guest },
	{ "user_halt", "HLT to user space", .host = user_halt },
	{ "user_out", "OUT to user space", .host = user_out },
	{ "user_in", "IN from user space", .host = user_in },
	{ "user_write", "MMIO write to user space", .host = user_write },
	{ "user_read", "MMIO read from user space", .host = user_read },
	{ "pic_out", "OUT to the PIC in the kernel", pic_out_guest },
	{ "pic_in", "IN from the PIC in the kernel", pic_in_guest },
	{ "pit_in", "IN from the PIT in the kernel", pit_in_guest, add_pit },
	{ "ioapic_write", "MMIO write to the I/O APIC", ioapic_write_guest },
	{ "ioapic_read", "MMIO read from the I/O APIC", ioapic_read_guest },
	{ "pio_event", "OUT to an ioeventfd", pio_event_guest, add_pio_event },
	{ "mmio_event", "MMIO write to an ioeventfd", mmio_event_guest,
	  add_mmio_event },
	{ "eoi", "EOI, xAPIC", eoi_guest },
	{ "eoi_x2apic", "EOI, x2APIC", eoi_x2apic_guest },
	{ "ipi", "self IPI to its handler, xAPIC", ipi_guest },
	{ "ipi_x2apic", "self IPI to its handler, x2APIC", ipi_x2apic_guest },
	{ "ipi_halted", "write to the ICR: IPI to a halted vCPU",
	  .host = send_to_halted },
	{ "ipi_preempted", "write to the ICR: to a preempted vCPU",
	  .host = send_to_preempted },
	{ "ipi_wake", "IPI to a halted vCPU and back", .host = ipi_to_halted },
	{ "ipi_switch", "IPI to a preempted vCPU and back",
	  .host = ipi_to_preempted },
	{ "timer_arm", "arm the TSC-deadline timer", arm_guest },
	{ "timer_past", "arm it in the past, to its handler",
	  timer_past_guest },
	{ "lapic_arm", "arm the LAPIC timer, one-shot", lapic_arm_guest },
	{ "lapic_past", "arm it with a count of 1, to its handler",
	  lapic_past_guest },
	{ "timer_busy", "from deadline to handler, guest busy",
	  timer_busy_guest },
	{ "timer_halted", "from deadline to handler, guest halted",
	  timer_halted_guest },
	{ "read_present", "first read of a page that the host has",
	  touch_read_guest, add_present_pages },
	{ "write_present", "first write to a page that the host has",
	  touch_write_guest, add_present_pages },
	{ "read_absent", "first read of a page that the host lacks",
	  touch_read_guest, add_absent_pages },
	{ "write_absent", "first write to a page that the host lacks",
	  touch_write_guest, add_absent_pages },
	{ "read_swapped", "first read of a page that is swapped out",
	  touch_read_guest, add_swapped_pages },
	{ "write_swapped", "first write to a page that is swapped out",
	  touch_write_guest, add_swapped_pages },
	{ "read_shared", "first read of a page shared after fork()",
	  touch_read_guest, add_shared_pages },
	{ "write_shared", "first write to a page shared after fork()",
	  touch_write_guest, add_shared_pages },
	{ "read_merged", "first read of a page that KSM merged",
	  touch_read_guest, add_merged_pages },
	{ "write_merged", "first write to a page that KSM merged",
	  touch_write_guest, add_merged_pages },
	{ "read_file", "first read of a cached page of a file",
	  touch_read_guest, add_file_pages },
	{ "write_file", "first write to a cached page of a file",
	  touch_write_guest, add_file_pages },
	{ "huge_read", "first read of 2 MiB that the host has", read_huge_guest,
	  add_present_huge_pages, .samples = NR_HUGE },
	{ "huge_present", "first write to 2 MiB that the host has",
	  touch_huge_guest, add_present_huge_pages, .samples = NR_HUGE },
	{ "huge_absent", "first write to 2 MiB that the host lacks",
	  touch_absent_huge_guest, add_absent_huge_pages, .samples = 1 },
	{ "dirty_write", "first write since the dirty log was read",
	  .host = dirty_write },
	{ "dirty_round", "dirty log of 64 MiB, 1 % written: a round",
	  .host = dirty_round, .samples = FEW },
	{ "irq_line", "KVM_IRQ_LINE up and down, handler's OUT",
	  .host = irq_line },
	{ "irq_fd", "irqfd, handler's OUT", .host = irq_fd },
	{ "irq_fd_msi", "irqfd of an MSI, handler's OUT", .host = irq_fd_msi },
	{ "irq_msi", "KVM_SIGNAL_MSI, handler's OUT", .host = irq_msi },
	{ "user_interrupt", "window, KVM_INTERRUPT, handler's OUT",
	  .host = user_interrupt },
	{ "immediate_exit", "KVM_RUN with immediate_exit",
	  .host = immediate_exit },
	{ "get_regs", "KVM_GET_REGS", .host = get_regs },
	{ "slot", "memory slot: add, remove", .host = change_slots },
	{ "vcpu", "vCPU: create, close", .host = create_vcpu },
	{ "vm", "VM: create, close", .host = create_another_vm },
	{ "vm_vcpu", "VM with a vCPU: create, close",
	  .host = create_vm_with_vcpu },
	{ "vm_only", "the only VM: create, close", .host = create_vms },
	{ "vm_big_1", "VM of 1 GiB with a vCPU: create, close",
	  .host = create_big_1, .samples = FEW },
	{ "vm_big_8", "VM of 1 GiB with 8 vCPUs: create, close",
	  .host = create_big_8, .samples = FEW },
	{ "mem_vm", "memory of a VM", .host = memory_of_vms, .samples = 1,
	  .unit = "bytes" },
	{ "mem_vcpu", "memory of a vCPU", .host = memory_of_vcpus, .samples = 1,
	  .unit = "bytes" },
	{ "mem_mapped", "memory for a GiB in small pages",
	  .host = memory_of_mappings, .samples = 1, .unit = "bytes" },
};

static void run_guest(const struct bench *bench)
{
	struct vm *vm = vm_new_irqchip();
	struct vcpu *vcpu;

	if (bench->prepare)
		bench->prepare(vm);
	vcpu = start_guest(vm, bench->guest);
	if (vcpu_sync(vcpu) != GUEST_DONE)
		die("%s: %s", bench->name, vcpu_describe(vcpu));
	memcpy(samples, (void *)&GUEST_VAR(vm, samples), sizeof(samples));
	end_sharing();
	end_guest(vcpu);
}

static int compare(const void *a, const void *b)
{
	const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

/* The samples are sorted then; how many there are. */
static unsigned int measure(const struct bench *bench)
{
	unsigned int nr = bench->samples ?: SAMPLES;

	if (bench->guest)
		run_guest(bench);
	else
		bench->host();
	qsort(samples, nr, sizeof(samples[0]), compare);
	return nr;
}

static bool wanted(const struct bench *bench, char **names)
{
	if (!*names)
		return true;
	for (; *names; names++)
		if (!strcmp(*names, bench->name))
			return true;
	return false;
}

int main(int argc, char **argv)
{
	static const struct bench clock = { "clock", "", clock_guest };
	unsigned int i, nr;

	measure(&clock);
	clock_cost = samples[SAMPLES / 2];
	for (i = 0; i < ARRAY_LEN(benches); i++) {
		if (!wanted(&benches[i], argv + 1))
			continue;
		nr = measure(&benches[i]);
		printf("%s\t%s\t%ld\t%ld\t%ld\t%s\n", benches[i].name,
		       benches[i].what, samples[nr / 2], samples[0],
		       samples[nr - 1], benches[i].unit ?: "instructions");
		fflush(stdout);
	}
	return 0;
}
