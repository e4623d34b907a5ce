// SPDX-License-Identifier: GPL-2.0-only
/*
 * scale [locks]
 *
 * What a nested fault and an IPI cost when several vCPUs have them at a time, and
 * what the sender of an IPI pays when its target runs on another CPU: prints
 * lines as exits.c does. Of the former, a figure is the instructions of all CPUs
 * until all are through, with what they spend on waiting for each other, divided
 * by how many faults or IPIs there were.
 *
 * With `locks`, on a kernel with lock statistics: what these locks were used for
 * meanwhile. Lines have "lock", the measurement's name, vCPUs, faults or IPIs,
 * class of the lock; times it was taken and waited for; longest and mean wait,
 * longest and mean time that it was held, in microseconds.
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

/*
 * An instruction of any CPU is a tick in QEMU. In Bochs as many as there are CPUs
 * are one; and as a CPU without a vCPU polls, there are vCPUs for all.
 */
static unsigned int instructions_per_tick = 1, min_nr = 1, rounds = ROUNDS;

static void adapt_to_bochs(void)
{
	instructions_per_tick = min_nr = sysconf(_SC_NPROCESSORS_ONLN);
	rounds = 1; /* it is slow, and repeats exactly */
}

#define LOCK_STAT "/proc/lock_stat"

static bool locks; /* are what is asked for */

/* Begin anew, or end. */
static void count_locks(bool on)
{
	if (!locks)
		return;
	if ((on && write_text(LOCK_STAT, "0")) ||
	    write_text("/proc/sys/kernel/lock_stat", on ? "1" : "0"))
		die("the kernel has no lock statistics");
}

/*
 * A line has a name, a colon, and 12 numbers; others are about callers. No
 * floating point: programs are built as guests are.
 */
static void print_locks(const char *name, unsigned int n, u64 operations)
{
	char line[512], wait_max[16], wait_avg[16], hold_max[16], hold_avg[16];
	FILE *file = fopen(LOCK_STAT, "re");
	u64 taken, waits;
	char *numbers;

	if (!file)
		die(LOCK_STAT ": %m");
	while (fgets(line, sizeof(line), file)) {
		numbers = strrchr(line, ':');
		if (!numbers ||
		    sscanf(numbers,
			   ": %*u %lu %*s %15s %*s %15s %*u %lu %*s %15s %*s %15s",
			   &waits, wait_max, wait_avg, &taken, hold_max,
			   hold_avg) != 6)
			continue;
		*numbers = '\0';
		printf("lock\t%s\t%u\t%lu\t%s\t%lu\t%lu\t%s\t%s\t%s\t%s\n",
		       name, n, operations, line + strspn(line, " "), taken,
		       waits, wait_max, wait_avg, hold_max, hold_avg);
	}
	fclose(file);
}

static pthread_barrier_t ready;

/* Its first stay in the guest is over when the clock starts. */
static void *vcpu_main(void *vcpu)
{
	if (vcpu_sync(vcpu) != 1)
		die("%s", vcpu_describe(vcpu));
	pthread_barrier_wait(&ready);
	pthread_barrier_wait(&ready);
	if (vcpu_sync(vcpu) != GUEST_DONE)
		die("%s", vcpu_describe(vcpu));
	return NULL;
}

static u64 time_all(struct vcpu **vcpus, unsigned int n)
{
	pthread_t threads[MAX_NR];
	u64 begin, ticks;
	unsigned int i;

	pthread_barrier_init(&ready, NULL, n + 1);
	for (i = 0; i < n; i++)
		if (pthread_create(&threads[i], NULL, vcpu_main, vcpus[i]))
			die("pthread_create");
	pthread_barrier_wait(&ready);
	count_locks(true);
	pthread_barrier_wait(&ready);
	begin = rdtsc();
	for (i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	ticks = rdtsc() - begin;
	count_locks(false);
	return ticks * instructions_per_tick;
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
	u64 figures[ROUNDS];
	unsigned int n, i;

	for (n = min_nr; n <= MAX_NR; n *= 2) {
		if (locks) {
			time_round(n, guest, mem);
			print_locks(name, n, n * operations);
			continue;
		}
		for (i = 0; i < rounds; i++)
			figures[i] =
				time_round(n, guest, mem) / (n * operations);
		print(name, what, n, figures, rounds);
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

int main(int argc, char **argv)
{
	const u64 size = MAX_NR * PAGES * PAGE_SIZE;
	u8 *mem = map_memory(size);

	if (!lab_is_tcg())
		adapt_to_bochs();
	locks = argc > 1 && !strcmp(argv[1], "locks");
	/* The host has all the pages, small ones. */
	madvise(mem, size, MADV_NOHUGEPAGE);
	memset(mem, 1, size);
	measure("fault", "first write to a page", fault_guest, PAGES, mem);
	measure("ipi", "IPI to the next vCPU, EOI", ipi_guest, IPIS, mem);
	/* The sender's own instructions, while QEMU runs no other CPU */
	if (!locks && lab_is_tcg())
		measure_sender();
	return 0;
}
