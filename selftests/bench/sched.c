// SPDX-License-Identifier: GPL-2.0-only
/*
 * What scheduling policies do to guests: sched [EXPERIMENT[.POLICY]]..., see
 * experiments[].
 *
 * Guests measure: a loop that they went through is guest time, and their TSC says
 * when. One line for each figure, with tabs: "figure", experiment, policy, case,
 * what it is, value. Run it where TSCs count instructions (lab/sched-experiments).
 */
#include <sched.h>
#include <signal.h>
#include <time.h>
#include "guest.h"
#include "pool.h"

#define IPI 0x51
#define TIMER 0x52
#define LVTT_TSC_DEADLINE 0x40000u
#define MAX_SAMPLES 4096
#define MAX_GUESTS 8
#define MAX_STAYS 1024
#define MAX_PARTIES 2 /* vCPUs that say when they ran */

/* ---- guests; their times are ticks of the TSC ---- */

/* What a guest is to do, and how fast the TSC goes. */
struct orders {
	u64 work, every, hold;
	u32 nr_cpus;
	void (*main)(void);
};

static volatile struct orders orders;
static volatile u32 nr_up;
static volatile u64 loops[MAX_VCPUS]; /* LOOP instructions each */
static volatile u64 arrived, samples[MAX_SAMPLES];
static volatile u32 nr_samples;
static volatile u64 met, missed;

#define LOOP 10000
#define LOOK 200
#define WAY 40000 /* of a thread into the guest, or out of it */

static u32 my_id(void)
{
	return apic_read(APIC_ID) >> 24;
}

/*
 * As many instructions. Bochs gives its CPUs turns of up to 16 instructions until
 * the next jump, so loops have about as many: then all CPUs are equally fast.
 */
static void spend(u64 instructions)
{
	u64 n = instructions / 16 + 1;

	asm volatile("1: .rept 14; nop; .endr; dec %0; jnz 1b" : "+r"(n));
}

static void spin_once(void)
{
	asm volatile("pause; .rept 12; nop; .endr" ::: "memory");
}

static void on_wake(struct trap_frame *frame)
{
	arrived = rdtsc();
	apic_eoi();
}

static void sleep_until(u64 time)
{
	wrmsr(MSR_TSC_DEADLINE, time);
	sti_hlt();
	cli();
}

static void note(u64 ticks)
{
	if (nr_samples < MAX_SAMPLES)
		samples[nr_samples++] = ticks;
}

/* Half as much to one and a half times as much, so that nothing falls into step. */
static u64 around(u64 ticks)
{
	static u32 seed = 1;

	seed = seed * 1664525 + 1013904223;
	return ticks / 2 + ticks * (seed >> 16) / 65536;
}

static void hog(void)
{
	u32 id = my_id();

	for (;;) {
		spend(LOOP);
		loops[id]++;
	}
}

/* Sleeps, and works a little when its timer has woken it up: how late is it? */
static void timer_sleeper(void)
{
	u64 due;

	for (;;) {
		due = rdtsc() + around(orders.every);
		sleep_until(due);
		note(arrived - due);
		spend(orders.work);
	}
}

/* vCPU 0 sends an interrupt now and then, vCPU 1 sleeps until it comes. */
static void ipi_sleeper(void)
{
	static volatile u64 sent;

	for (;;) {
		if (my_id()) {
			sti_hlt();
			cli();
			note(rdtsc() - sent);
			spend(orders.work);
		} else {
			sleep_until(rdtsc() + around(orders.every));
			sent = rdtsc();
			apic_icr(1, ICR_FIXED | IPI);
		}
	}
}

/* All vCPUs want one ticket lock: who comes first, gets it first. */
static void locker(void)
{
	static u32 next;
	static volatile u32 serving;
	u32 id = my_id(), ticket;

	for (;;) {
		ticket = __atomic_fetch_add(&next, 1, __ATOMIC_SEQ_CST);
		while (serving != ticket)
			spin_once();
		spend(orders.hold);
		serving = ticket + 1;
		loops[id]++;
		spend(orders.work);
	}
}

/* A job in each period, to be done before the next. */
static void periodic(void)
{
	u64 release = rdtsc() + orders.every;

	for (;; release += orders.every) {
		sleep_until(release);
		spend(orders.work);
		if (rdtsc() <= release + orders.every)
			met++;
		else
			missed++;
		for (; rdtsc() > release + 2 * orders.every;
		     release += orders.every)
			missed++;
	}
}

/* Never runs when the clock strikes. */
static void attacker(void)
{
	u64 tick = rdtsc();

	for (;;) {
		while (tick < rdtsc())
			tick += orders.every;
		while (rdtsc() < tick - orders.hold) {
			spend(LOOP);
			loops[0]++;
		}
		sleep_until(tick + orders.hold / 10);
	}
}

/* When a vCPU ran. An interrupt, which takes less than WAY, is no end. */
struct stay {
	u64 begin, end;
};

static struct stay stays[MAX_PARTIES][MAX_STAYS];
static volatile u32 nr_stays[MAX_PARTIES];
static volatile u32 on_record;

/*
 * Says when it runs, while that is asked for and there is room. By the PAUSE, QEMU turns to
 * the other CPU; such a loop is too long to be one for the processor.
 */
static void witness(void)
{
	u32 id = my_id(), n = 0;
	u64 last = 0, now;

	for (;;) {
		spend(LOOK);
		pause_cpu();
		now = rdtsc();
		if (!on_record)
			continue;
		if (now - last > WAY && n < MAX_STAYS) {
			stays[id][n].begin = now;
			nr_stays[id] = ++n;
		}
		stays[id][n - 1].end = now;
		last = now;
	}
}

static void start_cpu(void)
{
	apic_enable();
	apic_write(APIC_LVTT, LVTT_TSC_DEADLINE | TIMER);
	__atomic_fetch_add(&nr_up, 1, __ATOMIC_SEQ_CST);
	orders.main();
}

static void boot(void)
{
	u32 i;

	trap_handlers[IPI] = on_wake;
	trap_handlers[TIMER] = on_wake;
	apic_enable();
	ap_main = start_cpu;
	apic_icr(0, ICR_OTHERS | ICR_INIT | ICR_ASSERT);
	for (i = 1; i < orders.nr_cpus; i++)
		apic_icr(i, ICR_SIPI | SIPI_GPA >> 12);
	while (nr_up < orders.nr_cpus - 1)
		pause_cpu();
	start_cpu();
}

/* ---- the host ---- */

struct guest {
	struct vm *vm;
	struct vcpu *vcpus[MAX_VCPUS];
	u32 n, id;
	u64 loops; /* in the time that was measured */
	u64 ran; /* ns that it was charged for, then */
};

static int dev = -1;
static u64 tsc_khz;
static u32 pool;
static struct guest *guests[MAX_GUESTS];
static u32 nr_guests;
static u64 measured; /* ns */
static const char *experiment, *policy;

/* Figures are thousandths: there is no floating point here (see guest.h). */
static void figure(const char *which, const char *what, u64 value)
{
	printf("figure\t%s\t%s\t%s\t%s\t%llu.%03llu\n", experiment, policy,
	       which, what, (unsigned long long)value / 1000,
	       (unsigned long long)value % 1000);
	fflush(stdout);
}

static void count(const char *which, const char *what, u64 value)
{
	figure(which, what, value * 1000);
}

static u64 earlier(u64 a, u64 b)
{
	return a < b ? a : b;
}

static u64 later(u64 a, u64 b)
{
	return a > b ? a : b;
}

static u64 percent(u64 part, u64 of)
{
	return part * 100000 / of;
}

static u64 to_ticks(u64 ns)
{
	return ns * tsc_khz / 1000000;
}

static u64 to_ns(u64 ticks)
{
	return ticks * 1000000 / tsc_khz;
}

static void pool_new(u64 slice_ns)
{
	u64 cpus = (1ull << sysconf(_SC_NPROCESSORS_ONLN)) - 1;
	int id = pool_create(dev, "experiment", policy, cpus, slice_ns);

	if (id < 0)
		die("pool with policy %s: %s", policy, strerror(-id));
	pool = id;
}

/* A guest in the pool, or -errno if the policy refuses it with @params. */
static int add_guest(const struct orders *o, u32 flags,
		     const struct lv_vm_params *params)
{
	struct guest *g = calloc(1, sizeof(*g));
	u32 i;

	g->vm = vm_new_irqchip();
	g->id = vm_newest(dev).id;
	g->n = o->nr_cpus;
	for (i = 0; i < g->n; i++) {
		g->vcpus[i] = vcpu_new(g->vm, i);
		vcpu_offer_cpuid(g->vcpus[i]);
	}
	GUEST_VAR(g->vm, orders) = *o;
	vcpu_call(g->vcpus[0], boot);
	guests[nr_guests++] = g;
	if (flags && vm_set(dev, g->id, LV_ALL_VCPUS, flags, *params))
		die("a guest with wrong parameters");
	return vm_attach(dev, g->id, pool);
}

static void *run_vcpu(void *arg)
{
	struct vcpu *vcpu = arg;
	int err = vcpu_run(vcpu);

	if (err != -EINTR)
		die("vCPU %u stopped: %s", vcpu->id, vcpu_describe(vcpu));
	return NULL;
}

static void start_guests(void)
{
	u32 i, k;

	for (i = 0; i < nr_guests; i++) {
		for (k = 0; k < guests[i]->n; k++)
			if (pthread_create(&guests[i]->vcpus[k]->thread, NULL,
					   run_vcpu, guests[i]->vcpus[k]))
				die("no thread");
		while (GUEST_VAR(guests[i]->vm, nr_up) < guests[i]->n)
			usleep(1000);
	}
}

static void free_guest(struct guest *g)
{
	u32 i;

	for (i = 0; i < g->n; i++) {
		if (g->vcpus[i]->thread) {
			vcpu_kick(g->vcpus[i]);
			pthread_join(g->vcpus[i]->thread, NULL);
		}
		vcpu_free(g->vcpus[i]);
	}
	vm_free(g->vm);
	free(g);
}

static void end(void)
{
	struct lv_pool_info info = pool_info(dev, pool);

	if (*info.fault)
		die("%s was thrown out: %s", policy, info.fault);
	while (nr_guests)
		free_guest(guests[--nr_guests]);
	if (pool_delete(dev, pool))
		die("the pool stays");
}

/* What each guest did until now, subtracted from what it did until then. */
static void sum_up(void)
{
	struct timespec now;
	u32 i, k;

	clock_gettime(CLOCK_MONOTONIC, &now);
	measured = now.tv_sec * 1000 * MS + now.tv_nsec - measured;
	for (i = 0; i < nr_guests; i++) {
		struct guest *g = guests[i];
		u64 all = 0, ran = 0;

		for (k = 0; k < g->n; k++) {
			all += GUEST_VAR(g->vm, loops[k]);
			ran += vcpu_info(dev, g->id, k).ran_ns;
		}
		g->loops = all - g->loops;
		g->ran = ran - g->ran;
	}
}

/* The first part of it does not count: until guests are in step. */
static void measure(u32 ms)
{
	u32 i;

	start_guests();
	usleep(100000);
	measured = 0;
	sum_up();
	for (i = 0; i < nr_guests; i++) {
		GUEST_VAR(guests[i]->vm, nr_samples) = 0;
		GUEST_VAR(guests[i]->vm, met) = 0;
		GUEST_VAR(guests[i]->vm, missed) = 0;
	}
	GUEST_VAR(guests[0]->vm, on_record) = true;
	usleep(ms * 1000);
	GUEST_VAR(guests[0]->vm, on_record) = false;
	sum_up();
}

/* ---- the experiments ---- */

static u64 percent_of_cpu(const struct guest *g)
{
	return percent(to_ns(g->loops * LOOP), measured);
}

static int add_hog(u32 weight, u32 cap)
{
	struct orders o = { .main = hog, .nr_cpus = 1 };
	struct lv_vm_params p = { .weight = weight, .cap = cap };

	return add_guest(&o, LV_PARAM_WEIGHT | LV_PARAM_CAP, &p);
}

static void fairness(u32 ms)
{
	static const u32 weights[] = { 1, 2, 4 };
	u64 all = 0, got, sum = 0, squares = 0;
	char name[32];
	u32 i;

	pool_new(2 * MS);
	for (i = 0; i < 3; i++)
		add_hog(weights[i] * 100, 0);
	measure(ms);
	for (i = 0; i < 3; i++)
		all += guests[i]->loops;
	for (i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "weight %u", weights[i]);
		got = percent(guests[i]->loops, all);
		figure(name, "wanted %", percent(weights[i], 7));
		figure(name, "got %", got);
		sum += got / weights[i];
		squares += got / weights[i] * (got / weights[i]);
	}
	figure("all", "Jain's index", sum * sum / 3 * 1000 / squares);
	end();
}

/* Hogs with these caps, 0 is none; how much of the CPU should each get? */
static void caps_of(const char *which, const u32 *caps, u32 n, u32 rest, u32 ms)
{
	char what[32];
	u32 i;

	pool_new(2 * MS);
	for (i = 0; i < n; i++)
		add_hog(256, caps[i]);
	measure(ms);
	for (i = 0; i < n; i++) {
		snprintf(what, sizeof(what), "%s, VM %u", which, i + 1);
		count(what, "wanted %", caps[i] ? caps[i] : rest);
		figure(what, "got %", percent_of_cpu(guests[i]));
		figure(what, "charged %", percent(guests[i]->ran, measured));
	}
	end();
}

static void caps(u32 ms)
{
	caps_of("25 % alone", (u32[]){ 25 }, 1, 0, ms);
	caps_of("25 % and 40 %", (u32[]){ 25, 40 }, 2, 0, ms);
	caps_of("25 % and no cap", (u32[]){ 25, 0 }, 2, 75, ms);
	caps_of("20 % and two without", (u32[]){ 20, 0, 0 }, 3, 40, ms);
}

static int compare(const void *a, const void *b)
{
	u64 x = *(const u64 *)a, y = *(const u64 *)b;

	return x < y ? -1 : x > y;
}

/* Percentiles, and all of them for a picture. */
static void latencies(const char *which, struct guest *g)
{
	static const u32 at[] = { 10, 25, 75, 90, 95 };
	u32 i, n = GUEST_VAR(g->vm, nr_samples);
	u64 *s = calloc(n + 1, sizeof(*s));
	char name[32];

	for (i = 0; i < n; i++)
		s[i] = GUEST_VAR(g->vm, samples[i]);
	qsort(s, n, sizeof(*s), compare);
	count(which, "wake-ups", n);
	if (n) {
		figure(which, "median us", to_ns(s[n / 2]));
		figure(which, "p99 us", to_ns(s[n * 99 / 100]));
		figure(which, "max us", to_ns(s[n - 1]));
		for (i = 0; i < ARRAY_LEN(at); i++) {
			snprintf(name, sizeof(name), "p%u us", at[i]);
			figure(which, name, to_ns(s[n * at[i] / 100]));
		}
	}
	free(s);
}

static void latency_of(const char *which, void (*main)(void), u32 n, u32 hogs,
		       u32 ms)
{
	struct orders o = { .main = main,
			    .nr_cpus = n,
			    .work = to_ticks(MS / 10),
			    .every = to_ticks(5 * MS) };
	struct lv_vm_params p = { .period_ns = 10 * MS, .budget_ns = MS };
	u32 i;

	pool_new(10 * MS);
	if (add_guest(&o, LV_PARAM_DEADLINE, &p))
		die("%s refuses", policy);
	for (i = 0; i < hogs; i++)
		add_hog(256, 0);
	measure(ms);
	latencies(which, guests[0]);
	end();
}

static void latency(u32 ms)
{
	latency_of("timer, alone", timer_sleeper, 1, 0, ms);
	latency_of("timer, 3 hogs", timer_sleeper, 1, 3, ms);
	latency_of("IPI, alone", ipi_sleeper, 2, 0, ms);
	latency_of("IPI, 3 hogs", ipi_sleeper, 2, 3, ms);
}

/*
 * An SMP guest with as many vCPUs as there are CPUs, beside one hog more, so that
 * they do not fall into step, and no CPU is idle: others would be too fast in Bochs.
 */
static void locks_of(const char *which, u32 hogs, u32 ms)
{
	struct orders o = { .main = locker,
			    .nr_cpus = sysconf(_SC_NPROCESSORS_ONLN),
			    .hold = to_ticks(MS / 50),
			    .work = to_ticks(MS / 25) };
	struct guest *g;
	u64 others = 0;
	u32 i;

	pool_new(5 * MS);
	add_guest(&o, 0, NULL);
	for (i = 0; i < hogs; i++)
		add_hog(256, 0);
	measure(ms);
	g = guests[0];
	count(which, "locks / s", g->loops * 1000 * MS / measured);
	for (i = 1; i <= hogs; i++)
		others += percent_of_cpu(guests[i]);
	figure(which, "hogs, % of all CPUs", others / g->n);
	if (strcmp(policy, "host")) {
		figure(which, "SMP guest, % of all CPUs",
		       percent(g->ran, measured * g->n));
		count(which, "locks / s of CPU time",
		      g->loops * 1000 * MS * g->n / g->ran);
	}
	end();
}

static void locks(u32 ms)
{
	locks_of("alone", 0, ms);
	locks_of("beside hogs", sysconf(_SC_NPROCESSORS_ONLN) + 1, ms);
}

/* ---- gangs: what siblings do at a time ---- */

/* struct edge - a vCPU begins to run, or ends */
struct edge {
	u64 at;
	u32 vcpu;
	bool runs;
};

/* struct together - what became of the vCPUs of a VM */
struct together {
	u64 all, part; /* ticks in which all ran, in which some did */
	u64 part_max; /* at a stretch */
	u64 apart_max; /* how much more one had run than another */
};

static int compare_edges(const void *a, const void *b)
{
	const struct edge *x = a, *y = b;

	return x->at < y->at ? -1 : x->at > y->at;
}

/* While it is known of all vCPUs what they do: all but their last stays. */
static u32 get_edges(struct guest *g, struct edge *edges)
{
	u64 from = 0, to = ~0ull;
	u32 i, k, last, n = 0;

	for (i = 0; i < g->n; i++) {
		last = GUEST_VAR(g->vm, nr_stays[i]) - 1;
		if (last >= MAX_STAYS)
			die("vCPU %u did not run", i);
		from = later(from, GUEST_VAR(g->vm, stays[i][0]).begin);
		to = earlier(to, GUEST_VAR(g->vm, stays[i][last]).begin);
	}
	for (i = 0; i < g->n; i++) {
		last = GUEST_VAR(g->vm, nr_stays[i]) - 1;
		for (k = 0; k <= last; k++) {
			struct stay stay = GUEST_VAR(g->vm, stays[i][k]);

			stay.begin = earlier(later(stay.begin, from), to);
			stay.end = earlier(later(stay.end, from), to);
			if (stay.begin == stay.end)
				continue;
			edges[n++] = (struct edge){ stay.begin, i, true };
			edges[n++] = (struct edge){ stay.end, i, false };
		}
	}
	qsort(edges, n, sizeof(*edges), compare_edges);
	return n;
}

/* From one edge to the next nothing changes. */
static struct together look_back(struct guest *g)
{
	static struct edge edges[2 * MAX_PARTIES * MAX_STAYS];
	u64 ran[MAX_PARTIES] = { 0 }, time, stretch = 0;
	bool runs[MAX_PARTIES] = { false };
	u32 i, k, running = 0, n = get_edges(g, edges);
	struct together t = { 0 };

	for (k = 0; k + 1 < n; k++) {
		runs[edges[k].vcpu] = edges[k].runs;
		running += edges[k].runs ? 1 : -1;
		time = edges[k + 1].at - edges[k].at;
		for (i = 0; i < g->n; i++)
			ran[i] += runs[i] ? time : 0;
		t.all += running == g->n ? time : 0;
		if (time)
			stretch = running % g->n ? stretch + time : 0;
		t.part += running % g->n ? time : 0;
		t.part_max = later(t.part_max, stretch);
		t.apart_max = later(t.apart_max, ran[0] > ran[1]
							 ? ran[0] - ran[1]
							 : ran[1] - ran[0]);
	}
	return t;
}

static void add_witness(u32 vcpus)
{
	struct orders o = { .main = witness, .nr_cpus = vcpus };

	add_guest(&o, 0, NULL);
}

static volatile bool task_ends;

/* A task of the host's that wants 1 ms in 7 of the second CPU. */
static void *host_task(void *arg)
{
	cpu_set_t second;

	CPU_ZERO(&second);
	CPU_SET(1, &second);
	if (sched_setaffinity(0, sizeof(second), &second))
		die("no second CPU");
	while (!task_ends) {
		u64 from = rdtsc();

		while (rdtsc() - from < to_ticks(MS)) {
			spend(LOOK);
			pause_cpu();
		}
		usleep(6000);
	}
	return NULL;
}

/*
 * What gang and gang-relaxed promise, or 0. A thread has a way into the guest, and
 * one out of it; and one that the host holds up is waited for (LV_GRACE_PREEMPTED).
 * The latter promises CPU time as it is charged, not what of it the host's tasks
 * leave to the guest.
 */
static u64 promised(bool task)
{
	u64 way = to_ns(WAY);

	if (!strcmp(policy, "gang"))
		return way + (task ? 4 * MS : 0);
	return strcmp(policy, "gang-relaxed") || task ? 0 : way + 5 * MS;
}

static void gang_of(const char *beside, u32 gangs, u32 hogs, bool task, u32 ms)
{
	struct together t;
	pthread_t thread;
	char which[64];

	pool_new(5 * MS);
	while (gangs--)
		add_witness(2);
	while (hogs--)
		add_witness(1);
	snprintf(which, sizeof(which), "%s, beside %s",
		 lab_is_vmx() ? "VMX" : "SVM", beside);
	task_ends = false;
	if (task && pthread_create(&thread, NULL, host_task, NULL))
		die("no thread");
	measure(ms);
	t = look_back(guests[0]);
	task_ends = true;
	if (task)
		pthread_join(thread, NULL);
	count(which, "stays", GUEST_VAR(guests[0]->vm, nr_stays[0]));
	figure(which, "some ran, %", percent(t.part, t.part + t.all));
	figure(which, "at a stretch, us", to_ns(t.part_max));
	figure(which, "apart, us", to_ns(t.apart_max));
	if (promised(task))
		figure(which, "promised, us", promised(task));
	end();
}

static void gang(u32 ms)
{
	gang_of("a gang", 2, 0, false, ms);
	gang_of("3 hogs", 1, 3, false, ms);
	gang_of("a gang and a host task", 2, 0, true, ms);
}

/* Three VMs with periods share @percent of a CPU, and a hog wants it all. */
static void deadlines_of(u32 load, u32 ms)
{
	static const u32 periods[] = { 8, 12, 20 };
	u64 job, done = 0, late = 0;
	char which[16];
	u32 i, refused = 0;

	snprintf(which, sizeof(which), "%u", load);
	pool_new(10 * MS);
	for (i = 0; i < 3; i++) {
		struct orders o = { .main = periodic, .nr_cpus = 1 };
		struct lv_vm_params p = { .weight = 256 };

		job = periods[i] * MS * load / 300;
		o.work = to_ticks(job);
		o.every = to_ticks(periods[i] * MS);
		p.period_ns = periods[i] * MS;
		p.budget_ns = job + MS / 10;
		refused += !!add_guest(&o, LV_PARAM_DEADLINE, &p);
	}
	add_hog(256, 0);
	if (!refused)
		measure(ms);
	count(which, "refused", refused);
	for (i = 0; i < 3 && !refused; i++) {
		done += GUEST_VAR(guests[i]->vm, met);
		late += GUEST_VAR(guests[i]->vm, missed);
	}
	if (!refused) {
		count(which, "jobs", done + late);
		figure(which, "missed %", percent(late, done + late));
		figure(which, "hog %", percent_of_cpu(guests[3]));
	}
	end();
}

static void deadlines(u32 ms)
{
	u32 load;

	for (load = 15; load <= 90; load += 15)
		deadlines_of(load, ms);
	deadlines_of(99, ms);
}

/* @main beside an honest hog: does it get more than its half? */
static void attack_of(const char *which, void (*main)(void), u64 early, u32 ms)
{
	struct orders o = { .main = main,
			    .nr_cpus = 1,
			    .hold = to_ticks(early),
			    .every = to_ticks(10 * MS) };
	u64 all;

	pool_new(10 * MS);
	add_guest(&o, 0, NULL);
	add_hog(256, 0);
	measure(ms);
	all = guests[0]->loops + guests[1]->loops;
	figure(which, "it %", percent(guests[0]->loops, all));
	figure(which, "honest hog %", percent(guests[1]->loops, all));
	end();
}

static void attack(u32 ms)
{
	attack_of("another honest hog", hog, MS, ms);
	attack_of("halts 1 ms before", attacker, MS, ms);
	attack_of("halts 0.3 ms before", attacker, MS * 3 / 10, ms);
	attack_of("halts 5 ms before", attacker, 5 * MS, ms);
}

static const struct {
	const char *name;
	void (*run)(u32 ms);
	u32 ms; /* how long each case is measured */
	const char *policies[8];
} experiments[] = {
	{ "fairness", fairness, 2000, { "host", "rr", "credit" } },
	{ "caps", caps, 1000, { "credit" } },
	{ "latency", latency, 1000, { "host", "rr", "credit", "edf" } },
	{ "locks",
	  locks,
	  500,
	  { "host", "rr", "credit", "gang", "gang-relaxed" } },
	{ "gang",
	  gang,
	  500,
	  { "gang", "gang-relaxed", "rr", "credit", "host" } },
	{ "deadlines", deadlines, 1000, { "edf", "credit", "rr", "host" } },
	{ "attack", attack, 2000, { "credit", "rr", "host" } },
};

/* Threads of vCPUs are no match for the one that looks at the clock. */
static void become_punctual(void)
{
	struct sched_param param = { .sched_priority = 1 };

	if (sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &param))
		die("no real-time priority: %m");
}

static void ignore_signal(int signal)
{
}

/* By "experiment", or "experiment.policy". */
static bool is_wanted(int argc, char **argv)
{
	size_t n = strlen(experiment);
	int i;

	for (i = 1; i < argc; i++)
		if (!strncmp(argv[i], experiment, n) &&
		    (!argv[i][n] ||
		     (argv[i][n] == '.' && !strcmp(argv[i] + n + 1, policy))))
			return true;
	return argc == 1;
}

int main(int argc, char **argv)
{
	struct sigaction action = { .sa_handler = ignore_signal };
	struct vm *vm;
	struct vcpu *vcpu;
	u32 i, k;

	dev = lab_open();
	vm = vm_new_irqchip();
	vcpu = vcpu_new(vm, 0);
	tsc_khz = dev_ioctl(vcpu->fd, KVM_GET_TSC_KHZ, NULL);
	vcpu_free(vcpu);
	vm_free(vm);
	sigaction(SIGUSR1, &action, NULL);
	become_punctual();
	for (i = 0; i < ARRAY_LEN(experiments); i++) {
		experiment = experiments[i].name;
		for (k = 0; experiments[i].policies[k]; k++) {
			policy = experiments[i].policies[k];
			if (!is_wanted(argc, argv))
				continue;
			fprintf(stderr, "%s under %s\n", experiment, policy);
			experiments[i].run(
				lab_param("MEASURE_MS", experiments[i].ms));
		}
	}
	return 0;
}
