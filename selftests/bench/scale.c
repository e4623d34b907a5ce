// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a nested fault and an IPI cost when several vCPUs have them at a time, and
 * what the sender of an IPI pays when its target runs on another CPU: prints
 * lines as exits.c does. Of the former, a figure is the ticks of the TSC until all are
 * through, divided by how many there were. In a lab host that counts
 * instructions that is those of all CPUs, with what they spend on waiting for
 * each other.
 */
#define _GNU_SOURCE
#include <sched.h>
#include "guest.h"

#define VECTOR 0x50
#define PAGES_GPA 0x40000000ul
#define PAGES 4096ul /* that each vCPU touches */
#define IPIS 2000ul /* that each vCPU sends */
#define MAX_NR 8
#define ROUNDS 3
#define SAMPLES 63

/* ---- guests ---- */

static volatile u32 nr; /* vCPUs */

static void fault_guest(void)
{
	u64 i, start = PAGES_GPA +
		       (apic_read(APIC_ID) >> 24) * PAGES * PAGE_SIZE;

	guest_sync(1);
	for (i = 0; i < PAGES; i++)
		*(volatile u8 *)(start + i * PAGE_SIZE) = 1;
}

static volatile u32 arrived;

static void on_ipi(struct trap_frame *frame)
{
	apic_eoi();
	arrived++;
}

/* Everybody interrupts the next one. */
static void ipi_guest(void)
{
	u32 i, next = ((apic_read(APIC_ID) >> 24) + 1) % nr;

	trap_handlers[VECTOR] = on_ipi;
	apic_enable();
	apic_write(APIC_ICR2, next << 24);
	sti();
	guest_sync(1);
	for (i = 0; i < IPIS; i++)
		apic_write(APIC_ICR, VECTOR);
}

static void busy_guest(void)
{
	trap_handlers[VECTOR] = on_ipi;
	apic_enable();
	sti();
	guest_sync(1);
	for (;;)
		pause_cpu();
}

static u64 samples[SAMPLES];

static u64 ticks_of_write(u32 reg, u32 value)
{
	u64 clock = rdtsc(), begin = rdtsc();

	clock = begin - clock;
	apic_write(reg, value);
	return rdtsc() - begin - clock;
}

static void sender_guest(void)
{
	u32 i, before;

	apic_enable();
	apic_write(APIC_ICR2, 1 << 24);
	for (i = 0; i < SAMPLES; i++) {
		before = arrived;
		samples[i] = ticks_of_write(APIC_ICR, VECTOR);
		while (arrived == before)
			pause_cpu();
	}
}

/* ---- the host ---- */

static void add_pages(struct vm *vm, u8 *mem)
{
	if (vm_slot(vm, 1, 0, PAGES_GPA, MAX_NR * PAGES * PAGE_SIZE, mem))
		die("slot 1");
}

static pthread_barrier_t ready;

/* Its first stay in the guest is over when the clock starts. */
static void *vcpu_main(void *vcpu)
{
	if (vcpu_sync(vcpu) != 1)
		die("%s", vcpu_describe(vcpu));
	pthread_barrier_wait(&ready);
	if (vcpu_sync(vcpu) != GUEST_DONE)
		die("%s", vcpu_describe(vcpu));
	return NULL;
}

static u64 time_all(struct vcpu **vcpus, unsigned int n)
{
	pthread_t threads[MAX_NR];
	unsigned int i;
	u64 begin;

	pthread_barrier_init(&ready, NULL, n + 1);
	for (i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, vcpu_main, vcpus[i]))
			die("pthread_create");
	pthread_barrier_wait(&ready);
	begin = rdtsc();
	for (i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	return rdtsc() - begin;
}

static struct vcpu *start_vcpu(struct vm *vm, unsigned int id,
			       void (*guest)(void))
{
	struct kvm_mp_state runnable = { KVM_MP_STATE_RUNNABLE };
	struct vcpu *vcpu = vcpu_new(vm, id);

	MUST(vcpu->fd, KVM_SET_MP_STATE, &runnable);
	vcpu_call(vcpu, guest);
	return vcpu;
}

/* One round: the ticks that all of it took. */
static u64 time_round(unsigned int n, void (*guest)(void), u8 *mem)
{
	struct vm *vm = vm_new_irqchip();
	struct vcpu *vcpus[MAX_NR];
	unsigned int i;
	u64 ticks;

	add_pages(vm, mem);
	GUEST_VAR(vm, nr) = n;
	for (i = 0; i < n; i++)
		vcpus[i] = start_vcpu(vm, i, guest);
	ticks = time_all(vcpus, n);
	for (i = 0; i < n; i++)
		vcpu_free(vcpus[i]);
	vm_free(vm);
	return ticks;
}

static int compare(const void *a, const void *b)
{
	const u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return (x > y) - (x < y);
}

/* Sort the figures and print them. */
static void print(const char *name, const char *what, unsigned int n,
		  u64 *figures, unsigned int nr_figures)
{
	qsort(figures, nr_figures, sizeof(figures[0]), compare);
	printf("%s_%u\t%s, vCPUs: %u\t%lu\t%lu\t%lu\tinstructions\n", name, n,
	       what, n, figures[nr_figures / 2], figures[0],
	       figures[nr_figures - 1]);
	fflush(stdout);
}

static void measure(const char *name, const char *what, void (*guest)(void),
		    u64 operations, u8 *mem)
{
	u64 rounds[ROUNDS];
	unsigned int n, i;

	for (n = 1; n <= MAX_NR; n *= 2) {
		for (i = 0; i < ROUNDS; i++)
			rounds[i] =
				time_round(n, guest, mem) / (n * operations);
		print(name, what, n, rounds, ROUNDS);
	}
}

/* Threads that are created from now on have this CPU, too. */
static void stay_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("CPU %d: %m", cpu);
}

static void measure_sender(void)
{
	struct vm *vm = vm_new_irqchip();
	struct vcpu *sender = start_vcpu(vm, 0, sender_guest);
	struct vcpu *target = start_vcpu(vm, 1, busy_guest);

	stay_on(1);
	vcpu_sync(target);
	vcpu_start_run(target);
	stay_on(0);
	if (vcpu_sync(sender) != GUEST_DONE)
		die("%s", vcpu_describe(sender));
	vcpu_kick(target);
	vcpu_join(target);
	print("ipi_running", "write to the ICR, its target runs", 2,
	      (u64 *)&GUEST_VAR(vm, samples), SAMPLES);
	vcpu_free(sender);
	vcpu_free(target);
	vm_free(vm);
}

int main(void)
{
	const u64 size = MAX_NR * PAGES * PAGE_SIZE;
	u8 *mem = map_memory(size);

	/* The host has all the pages, small ones. */
	madvise(mem, size, MADV_NOHUGEPAGE);
	memset(mem, 1, size);
	measure("fault", "first write to a page", fault_guest, PAGES, mem);
	measure("ipi", "IPI to the next vCPU, EOI", ipi_guest, IPIS, mem);
	measure_sender();
	return 0;
}
