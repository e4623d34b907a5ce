// SPDX-License-Identifier: GPL-2.0-only
/* What each scheduling policy promises, in the simulator. */
#include "sched_check.h"
#include "sim/sim_core.h"
#include "tap.h"

#define US ((u64)1000)
#define MS ((u64)1000000)
#define SEC ((u64)1000000000)

static struct sim_vm_config vms[64];
static struct sim_config config;

static void scenario(const char *policy, u32 cpus, u64 seed)
{
	memset(vms, 0, sizeof(vms));
	config = (struct sim_config){
		.cpus = cpus,
		.seed = seed,
		.slice = 10 * MS,
		.kick = 2 * US,
		.wake = 5 * US,
		.pause = 50 * US,
		.steal_for = MS,
		.vms = vms,
	};
	strcpy(config.policy, policy);
}

static struct sim_vm_config *add(enum sim_guest does, u32 vcpus)
{
	struct sim_vm_config *vm = &vms[config.nr_vms++];

	*vm = (struct sim_vm_config){
		.count = 1,
		.vcpus = vcpus,
		.weight = LV_WEIGHT_DEFAULT,
		.does = does,
		.run = MS,
		.sleep = MS,
		.hold = 10 * US,
		.every = 10 * MS,
		.user_for = 50 * US,
		.held_for = MS,
	};
	snprintf(vm->name, sizeof(vm->name), "vm%u", config.nr_vms);
	return vm;
}

static struct sim *begin(void)
{
	const char *error;
	struct sim *sim = sim_new(&config, &error);

	if (!sim) {
		ok(0, "%s: %s", config.policy, error);
		exit(tap_done());
	}
	return sim;
}

static u64 executed(const struct sim_vcpu *v)
{
	return v->executed +
	       (v->executes ? v->sim->now - v->executes_since : 0);
}

static u64 vm_executed(const struct sim_vm *vm)
{
	u64 sum = 0;
	u32 i;

	for (i = 0; i < vm->config->vcpus; i++)
		sum += executed(&vm->vcpus[i]);
	return sum;
}

/* ---- what holds for each policy, always ---- */

static const char *broken; /* the first thing that was */

static void note_broken(const char *what)
{
	if (what && !broken)
		broken = what;
}

static void look(struct sim *sim)
{
	note_broken(sched_broken(&sim->pool));
}

/* Between events, nothing is under way. */
static const char *thread_broken(const struct sim_vcpu *v)
{
	const struct lv_sched_vcpu *c = &v->core;

	if (v->thread == SIM_GONE)
		return v->executes ? "a vCPU runs outside of the pool" : NULL;
	if (v->executes && c->state != LV_SCHED_FREE &&
	    c->state != LV_SCHED_RUNNING)
		return "guest code runs without a CPU";
	if (c->blocked && !v->halted)
		return "a wake-up was lost: blocked, but the guest does not halt";
	if (v->thread == SIM_AT_GATE && !v->kicked.place &&
	    (c->state == LV_SCHED_OUT || c->state == LV_SCHED_RUNNING))
		return "a thread waits that should not";
	if (v->thread == SIM_HALTED && !v->halted)
		return "a wake-up was lost: the thread halts, but not the guest";
	if (v->thread == SIM_HALTED && c->state == LV_SCHED_READY)
		return "a halted vCPU wants a CPU";
	if (v->thread == SIM_COMING && !v->arrives.place)
		return "a thread that never comes";
	return NULL;
}

static const char *charge_broken(struct sim_vcpu *v)
{
	if (v->sim->pool.ops == &lv_sched_host || !v->core.pool)
		return NULL;
	v->sim->pool.now = v->sim->now;
	lv_sched_charge(&v->core);
	if (v->core.time[LV_TIME_RUN] != executed(v))
		return "a vCPU was not charged what it ran";
	return NULL;
}

static void sim_look(struct sim *sim, bool charged)
{
	u32 i;

	for (i = 0; i < sim->nr_vcpus; i++) {
		note_broken(thread_broken(&sim->vcpus[i]));
		if (charged)
			note_broken(charge_broken(&sim->vcpus[i]));
	}
}

static void random_vm(u64 *seed)
{
	static const enum sim_guest guests[] = {
		SIM_HOG,      SIM_IO,	 SIM_PINGPONG, SIM_SPIN,
		SIM_PERIODIC, SIM_MIXED, SIM_YIELD,    SIM_RANDOM,
	};
	struct sim_vm_config *vm;
	u64 r;

	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	r = *seed >> 20;
	vm = add(guests[r % 8], 1 + r / 8 % 4);
	vm->weight = 64 << r / 32 % 5;
	vm->run = 20 * US << r / 256 % 8;
	vm->sleep = 50 * US << r / 2048 % 7;
	vm->spread = r / 16384 % 3;
	if (r / 65536 % 2)
		vm->user_every = MS << r / 131072 % 6;
	if (r / 65536 % 8 == 1)
		vm->held_every = 20 * MS;
	if (r / 524288 % 4 == 0)
		vm->cap = 10 + r / 2097152 % 100;
	if (r / 524288 % 4 == 1)
		vm->group = 2;
}

static void random_scenario(const char *policy, u64 seed)
{
	u64 r = seed;
	u32 i, nr = 1 + seed % 6;

	scenario(policy, 1 + seed / 7 % 6, seed);
	for (i = 0; i < nr; i++)
		random_vm(&r);
	if (seed % 3 == 0)
		config.steal_every = 5 * MS;
}

/* All others may have their slices first, and some time is stolen. */
static u64 wait_limit(const struct sim_vcpu *v)
{
	struct sim *sim = v->sim;
	u64 turns = sim->nr_vcpus, weights = 0;
	u32 i;

	for (i = 0; i < sim->nr_vms; i++)
		weights += sim->vms[i].core.params.weight;
	if (!strcmp(sim->config.policy, "credit"))
		turns += weights * v->vm->config->vcpus /
			 v->vm->core.params.weight;
	return 2 * MS + turns * 12 * MS;
}

/* Everybody who wants to, gets on. */
static void note_progress(struct sim *sim, u64 *before)
{
	u32 i;

	for (i = 0; i < sim->nr_vcpus; i++) {
		struct sim_vcpu *v = &sim->vcpus[i];

		if (v->core.state == LV_SCHED_READY &&
		    v->core.since + max(SEC, wait_limit(v)) < sim->now &&
		    executed(v) == before[i])
			note_broken("a vCPU starves");
		before[i] = executed(v);
	}
}

static bool conserves(const char *policy)
{
	return !strcmp(policy, "rr") || !strcmp(policy, "credit");
}

static void test_random(const char *policy, u32 runs)
{
	static u64 before[1024];
	u32 seed, step, thrown = 0, i, skipped = 0, too_long = 0;
	u64 wasted = 0;
	struct sim *sim;

	broken = NULL;
	for (seed = 1; seed <= runs && !broken; seed++) {
		const char *error;

		random_scenario(policy, seed);
		sim = sim_new(&config, &error);
		if (!sim) { /* partition */
			skipped++;
			continue;
		}
		sim->look = look;
		memset(before, 0, sizeof(before));
		for (step = 1; step <= 100 && !broken; step++) {
			sim_run(sim, SIM_START + step * 20 * MS + seed);
			sim_look(sim, true);
			if (step % 50 == 0)
				note_progress(sim, before);
		}
		for (i = 0; i < sim->nr_vcpus; i++)
			too_long += sim->vcpus[i].waited_max >
				    wait_limit(&sim->vcpus[i]);
		wasted += sim->wasted;
		thrown += sim->thrown;
		if (broken)
			printf("# seed %u, at %llu ns\n", seed,
			       (unsigned long long)sim->now);
		sim_free(sim);
	}
	ok(!broken, "%s: %u random scenarios (%u not admitted)%s%s", policy,
	   runs, skipped, broken ? ": " : "", broken ?: "");
	is(thrown, 0, "%s: not thrown out", policy);
	ok(skipped < runs / 2, "%s: most were admitted", policy);
	is(too_long, 0, "%s: nobody waited for too long", policy);
	if (conserves(policy))
		is(wasted, 0, "%s: no CPU idle while a vCPU waits", policy);
}

/* ---- credit ---- */

static double share_error(struct sim *sim, u32 nr)
{
	double all = 0, weights = 0, error = 0, x;
	u32 i;

	for (i = 0; i < nr; i++) {
		all += vm_executed(&sim->vms[i]);
		weights += sim->vms[i].core.params.weight;
	}
	for (i = 0; i < nr; i++) {
		x = vm_executed(&sim->vms[i]) / all /
		    (sim->vms[i].core.params.weight / weights);
		x = x > 1 ? x - 1 : 1 - x;
		error = max(error, x);
	}
	return error;
}

static void test_weights(void)
{
	static const struct {
		const char *name;
		u32 cpus, vcpus[3];
		enum sim_guest other;
	} cases[] = {
		{ "one CPU", 1, { 1, 1, 1 }, SIM_SCRIPT },
		{ "one CPU, many vCPUs", 1, { 4, 1, 2 }, SIM_SCRIPT },
		{ "two CPUs", 2, { 2, 2, 2 }, SIM_SCRIPT },
		{ "four CPUs", 4, { 8, 4, 4 }, SIM_SCRIPT },
		{ "seven CPUs", 7, { 7, 7, 7 }, SIM_SCRIPT },
		{ "two CPUs beside I/O", 2, { 2, 3, 2 }, SIM_IO },
		{ "two CPUs beside an attacker", 2, { 2, 2, 2 }, SIM_ATTACK },
	};
	struct sim *sim;
	double error;
	u32 i, j;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		scenario("credit", cases[i].cpus, i + 1);
		for (j = 0; j < 3; j++)
			add(SIM_HOG, cases[i].vcpus[j])->weight = 200 << j;
		if (cases[i].other != SIM_SCRIPT)
			add(cases[i].other, 1)->sleep = 200 * US;
		sim = begin();
		sim_run(sim, SIM_START + 20 * SEC);
		error = share_error(sim, 3);
		ok(error < 0.01, "credit: weights 1:2:4, %s: off by %.3f %%",
		   cases[i].name, error * 100);
		sim_free(sim);
	}
}

/* No more than its share, but what others leave may be used. */
static void test_attack(void)
{
	static const enum sim_guest attacks[] = { SIM_ATTACK, SIM_YIELD };
	static const char *const names[] = { "halts at each tick",
					     "yields at each tick" };
	u64 victim, attacker;
	struct sim *sim;
	u32 i, sleep;

	for (i = 0; i < 2; i++) {
		for (sleep = 10; sleep <= 1000; sleep *= 10) {
			struct sim_vm_config *vm;

			scenario("credit", 1, 1);
			add(SIM_HOG, 1);
			vm = add(attacks[i], 1);
			vm->sleep = sleep * US;
			vm->run = 10 * MS - sleep * US;
			sim = begin();
			sim_run(sim, SIM_START + 20 * SEC);
			victim = vm_executed(&sim->vms[0]);
			attacker = vm_executed(&sim->vms[1]);
			ok(victim * 102 >= attacker * 100,
			   "credit: one that %s, %u us: %.2f to %.2f s",
			   names[i], sleep, attacker / 1e9, victim / 1e9);
			sim_free(sim);
		}
	}
}

/* Nothing that is shorter than this may exceed the cap by more than a window. */
static u64 buckets[64], bucket_max[64], bucket_ran[64], bucket_at;

static void look_caps(struct sim *sim)
{
	u64 ns = sim->now - bucket_at, ran, may;
	u32 i;

	look(sim);
	if (!ns)
		return;
	for (i = 0; i < sim->nr_vms; i++) {
		may = sim->vms[i].core.params.cap * ns / 100;
		ran = vm_executed(&sim->vms[i]);
		buckets[i] += ran - bucket_ran[i];
		bucket_max[i] = max(bucket_max[i], buckets[i]);
		buckets[i] -= min(buckets[i], may);
		bucket_ran[i] = ran;
	}
	bucket_at = sim->now;
}

static void test_caps(void)
{
	static const u32 caps[] = { 1, 5, 10, 33, 50, 100, 150, 250 };
	struct sim *sim;
	u32 i, with;

	for (with = 0; with < 2; with++) {
		scenario("credit", 8, 1 + with);
		for (i = 0; i < ARRAY_SIZE(caps); i++)
			add(with ? SIM_RANDOM : SIM_HOG,
			    with ? 8 : 1 + caps[i] / 50)
				->cap = caps[i];
		if (with)
			add(SIM_HOG, 8);
		for (i = 0; with && i < ARRAY_SIZE(caps); i++)
			vms[i].sleep = 100 * US;
		sim = begin();
		memset(buckets, 0, sizeof(buckets));
		memset(bucket_max, 0, sizeof(bucket_max));
		memset(bucket_ran, 0, sizeof(bucket_ran));
		bucket_at = sim->now;
		broken = NULL;
		sim->look = look_caps;
		sim_run(sim, SIM_START + 20 * SEC);
		ok(!broken, "credit: caps: all in order%s", broken ?: "");
		for (i = 0; i < ARRAY_SIZE(caps); i++) {
			double got = vm_executed(&sim->vms[i]) / 2e8;
			u64 window = caps[i] * 20 * MS / 100;

			ok(got <= caps[i] * 1.002 + 0.05,
			   "credit: cap %u %%: got %.3f %%%s", caps[i], got,
			   with ? " among others" : "");
			ok(with || got >= caps[i] * 0.98,
			   "credit: cap %u %%: and not less", caps[i]);
			/* Between looks, a slice; and the way out. */
			ok(bucket_max[i] <= window + 100 * US,
			   "credit: cap %u %%: at worst %llu us above it, a window is %llu us",
			   caps[i], (unsigned long long)bucket_max[i] / 1000,
			   (unsigned long long)window / 1000);
		}
		sim_free(sim);
	}
}

static u64 io_latency_max(const char *policy, u32 hogs)
{
	struct sim_vm_config *io;
	struct sim *sim;
	u64 most;
	u32 i;

	scenario(policy, 2, 3);
	for (i = 0; i < hogs; i++)
		add(SIM_HOG, 2);
	io = add(SIM_IO, 1);
	io->run = 50 * US;
	io->sleep = 3 * MS;
	io->spread = SIM_EXP;
	sim = begin();
	sim_run(sim, SIM_START + 10 * SEC);
	most = sim_percentile(&sim->vms[hogs].latency, 1000);
	ok(sim->vms[hogs].latency.nr > 300, "%s: %u wake-ups", policy,
	   sim->vms[hogs].latency.nr);
	sim_free(sim);
	return most;
}

static void test_latency(void)
{
	u64 credit = io_latency_max("credit", 3);
	u64 rr = io_latency_max("rr", 3);

	ok(credit <= MS + 10 * US,
	   "credit: wake-up beside CPU hogs: at most %llu us",
	   (unsigned long long)credit / 1000);
	ok(rr > 10 * MS, "rr: the same takes %llu us",
	   (unsigned long long)rr / 1000);
}

/* A weight of 1 among those of 65535 waits, but not forever. */
static void test_credit_starvation(void)
{
	struct sim *sim;

	scenario("credit", 1, 1);
	add(SIM_HOG, 1)->weight = LV_WEIGHT_MIN;
	add(SIM_HOG, 1)->weight = LV_WEIGHT_MAX;
	add(SIM_HOG, 1)->weight = LV_WEIGHT_MAX;
	sim = begin();
	sim_run(sim, SIM_START + 60 * SEC);
	ok(sim->vcpus[0].waited_max < 5 * SEC &&
		   sim->now - sim->vcpus[0].waits_since < 5 * SEC,
	   "credit: the least weight waits for %llu ms at most",
	   (unsigned long long)sim->vcpus[0].waited_max / 1000000);
	is(sim->thrown, 0, "credit: and the watchdog is content");
	sim_free(sim);
}

static struct sim_step sleeper[] = { { 'h', .ns = 2 * SEC },
				     { 'r', .ns = 3600 * SEC } };
static struct sim_script script = { .steps = sleeper, .nr = 2 };

/* Who slept has no claim to what it did not use, nor has who was parked. */
static void test_credit_sleeper(void)
{
	u64 before[2], got[2];
	struct sim *sim;
	u32 cap, i;

	for (cap = 0; cap <= 60; cap += 60) {
		scenario("credit", 1, 1);
		add(SIM_HOG, 1)->cap = cap;
		add(SIM_SCRIPT, 1)->scripts = &script;
		vms[1].nr_scripts = 1;
		sim = begin();
		sim_run(sim, SIM_START + 2100 * MS);
		for (i = 0; i < 2; i++)
			before[i] = executed(&sim->vcpus[i]);
		sim_run(sim, SIM_START + 4100 * MS);
		for (i = 0; i < 2; i++)
			got[i] = executed(&sim->vcpus[i]) - before[i];
		ok(got[0] > 950 * MS && got[1] > 950 * MS,
		   "credit: one slept for 2 s%s, then: %llu to %llu ms",
		   cap ? ", the other has a cap of 60 %" : "",
		   (unsigned long long)got[0] / 1000000,
		   (unsigned long long)got[1] / 1000000);
		sim_free(sim);
	}
}

/* vCPUs of a VM share what its cap allows. */
static void test_cap_siblings(void)
{
	struct sim *sim;

	scenario("credit", 5, 1);
	add(SIM_SPIN, 2)->cap = 96;
	vms[0].run = 2560 * US;
	sim = begin();
	sim_run(sim, SIM_START + 10 * SEC);
	ok(executed(&sim->vcpus[0]) > 4 * SEC &&
		   executed(&sim->vcpus[1]) > 4 * SEC,
	   "credit: siblings under a cap: %llu and %llu ms",
	   (unsigned long long)executed(&sim->vcpus[0]) / 1000000,
	   (unsigned long long)executed(&sim->vcpus[1]) / 1000000);
	sim_free(sim);

	/* The way out of the guest takes long, but is paid for. */
	scenario("credit", 2, 1);
	add(SIM_HOG, 1)->cap = 50;
	config.kick = 300 * US;
	sim = begin();
	sim_run(sim, SIM_START + 10 * SEC);
	ok(vm_executed(&sim->vms[0]) <= 5030 * MS,
	   "credit: a slow way out, and a cap of 50 %%: %llu ms of 10 s",
	   (unsigned long long)vm_executed(&sim->vms[0]) / 1000000);
	sim_free(sim);
}

/* A cap that comes later does not count from before. */
static void test_cap_later(void)
{
	struct lv_sched_params p = { .weight = LV_WEIGHT_DEFAULT, .cap = 50 };
	struct sim *sim;
	u64 before;

	scenario("credit", 1, 1);
	add(SIM_HOG, 1);
	sim = begin();
	sim_run(sim, SIM_START + 100 * SEC);
	sim->pool.now = sim->now;
	is(lv_core_set_params(&sim->vms[0].core, NULL, &p), 0,
	   "credit: a cap after 100 s without");
	lv_core_settle(&sim->pool);
	before = executed(&sim->vcpus[0]);
	sim_run(sim, sim->now + 2 * SEC);
	ok(executed(&sim->vcpus[0]) - before > 970 * MS &&
		   executed(&sim->vcpus[0]) - before < 1020 * MS,
	   "credit: it counts from then: %llu ms of 2 s",
	   (unsigned long long)(executed(&sim->vcpus[0]) - before) / 1000000);
	p.cap = 0;
	lv_core_set_params(&sim->vms[0].core, NULL, &p);
	lv_core_settle(&sim->pool);
	before = executed(&sim->vcpus[0]);
	sim_run(sim, sim->now + 2 * SEC);
	ok(executed(&sim->vcpus[0]) - before > 1990 * MS,
	   "credit: and goes at once");
	sim_free(sim);
}

/* Two of these share a CPU with a hog. */
static void test_boost(void)
{
	struct sim_vm_config *io;
	struct sim *sim;

	scenario("credit", 1, 1);
	add(SIM_HOG, 1);
	io = add(SIM_IO, 1);
	io->run = 50 * US;
	io->sleep = 5 * MS;
	io->spread = SIM_EXP;
	add(SIM_IO, 1)->run = 8 * MS;
	vms[2].sleep = 52 * MS;
	sim = begin();
	sim_run(sim, SIM_START + 20 * SEC);
	ok(sim_percentile(&sim->vms[1].latency, 1000) <= 2100 * US,
	   "credit: a boost is short: latency beside another one is %llu us at most",
	   (unsigned long long)sim_percentile(&sim->vms[1].latency, 1000) /
		   1000);
	sim_free(sim);

	scenario("credit", 1, 1);
	add(SIM_HOG, 1);
	io = add(SIM_IO, 8);
	io->run = 10 * US;
	io->sleep = 1 * MS;
	io->spread = SIM_EXP;
	sim = begin();
	sim_run(sim, SIM_START + SEC);
	ok(sim->vcpus[0].core.dispatches <= 1000,
	   "credit: a hog is left alone for 1 ms each time: %llu times in 1 s",
	   (unsigned long long)sim->vcpus[0].core.dispatches);
	sim_free(sim);
}

/* Virtual time starts over. */
static void test_credit_rebase(void)
{
	struct sim *sim;

	scenario("credit", 2, 1);
	add(SIM_HOG, 2);
	add(SIM_HOG, 2)->weight = 512;
	add(SIM_IO, 2);
	sim = begin();
	sim->pool.priv[0] = (1ULL << 62) - 50 * MS;
	broken = NULL;
	sim->look = look;
	sim_run(sim, SIM_START + 10 * SEC);
	ok(!broken, "credit: virtual time starts over: all in order");
	ok(sim->pool.priv[0] < 1ULL << 62, "credit: it did");
	ok(share_error(sim, 2) < 0.01, "credit: shares are as before");
	sim_free(sim);
}

/* ---- edf ---- */

/* Add random tasks until one is refused. */
static void fill_edf(u32 cpus, u64 seed, bool background)
{
	static const u64 periods[] = { 2, 5, 10, 20, 33, 50, 100, 250 };
	const char *error;
	struct sim *sim;
	u64 r = seed;
	u32 refused = 0;

	scenario("edf", cpus, seed);
	if (background)
		add(SIM_HOG, cpus);
	while (refused < 5 && config.nr_vms < 60) {
		struct sim_vm_config *vm = add(SIM_PERIODIC, 1);

		r = r * 6364136223846793005ULL + 1442695040888963407ULL;
		vm->period = periods[(r >> 33) % 8] * MS;
		vm->budget = vm->period / 100 * (3 + (r >> 40) % 40);
		vm->every = vm->period;
		vm->run = vm->budget;
		sim = sim_new(&config, &error);
		if (sim) {
			sim_free(sim);
			continue;
		}
		config.nr_vms--;
		refused++;
	}
}

static void test_edf(void)
{
	u64 missed = 0, jobs = 0, seed, budget_wrong = 0;
	double load = 0, least = 1e9;
	struct sim *sim;
	u32 i;

	broken = NULL;
	for (seed = 1; seed <= 60; seed++) {
		u32 cpus = 1 + seed % 4;
		double sum = 0;

		fill_edf(cpus, seed, seed % 2);
		/* Some want more than their budget, all the time. */
		for (i = seed % 2; seed % 3 == 0 && i < config.nr_vms; i += 3)
			vms[i].does = SIM_HOG;
		sim = begin();
		sim->look = look;
		sim_run(sim, SIM_START + 5 * SEC);
		sim_look(sim, true);
		for (i = 0; i < sim->nr_vms; i++) {
			const struct sim_vm_config *c = sim->vms[i].config;
			u64 got = vm_executed(&sim->vms[i]);

			if (!c->period)
				continue;
			sum += (double)c->budget / c->period;
			missed += sim->vms[i].missed;
			jobs += sim->vms[i].rounds;
			if (c->does != SIM_HOG)
				continue;
			/* As many budgets as there were periods. */
			budget_wrong +=
				got >
				(5 * SEC / c->period + 1) * c->budget + 60 * US;
			budget_wrong += got + 60 * US <
					5 * SEC / c->period * c->budget;
		}
		load = max(load, sum / cpus);
		least = min(least, sum / cpus);
		if (missed || budget_wrong || broken) {
			printf("# seed %llu\n", (unsigned long long)seed);
			break;
		}
		sim_free(sim);
	}
	ok(!broken, "edf: all in order%s%s", broken ? ": " : "", broken ?: "");
	is(missed, 0,
	   "edf: no deadline missed in %llu jobs, load %.0f to %.0f %% of all CPUs",
	   (unsigned long long)jobs, least * 100, load * 100);
	is(budget_wrong, 0, "edf: who wants more gets its budget, exactly");
}

static void test_edf_admission(void)
{
	struct lv_sched_params p = { .weight = 256 };
	const char *error;
	struct sim *sim;

	scenario("edf", 2, 1);
	add(SIM_HOG, 3);
	add(SIM_HOG, 1);
	sim = begin();
	p.period_ns = 100 * MS;
	p.budget_ns = 60 * MS;
	is(lv_core_set_params(&sim->vms[0].core, &sim->vcpus[0].core, &p), 0,
	   "edf: 60 %% of a CPU");
	is(lv_core_set_params(&sim->vms[0].core, &sim->vcpus[1].core, &p), 0,
	   "edf: 60 %% of the other");
	is(lv_core_set_params(&sim->vms[0].core, &sim->vcpus[2].core, &p),
	   -ENOSPC, "edf: no room for another 60 %%");
	is(sim->vcpus[2].core.params.period_ns, 0, "edf: it is as before");
	p.budget_ns = 34 * MS;
	is(lv_core_set_params(&sim->vms[0].core, &sim->vcpus[2].core, &p), 0,
	   "edf: room for 34 %%");
	ok(sim->vcpus[0].core.home && sim->vcpus[1].core.home &&
		   sim->vcpus[0].core.home != sim->vcpus[1].core.home,
	   "edf: the large ones are apart");
	is(lv_core_cpu_remove(&sim->cpus[1].core, false), -ENOSPC,
	   "edf: no CPU can go");
	lv_core_settle(&sim->pool);
	ok(!sched_broken(&sim->pool), "edf: all in order");
	p.budget_ns = 95 * MS;
	is(lv_core_set_params(&sim->vms[1].core, NULL, &p), -ENOSPC,
	   "edf: 95 %% and the margin are too much");
	p.budget_ns = p.period_ns;
	is(lv_core_set_params(&sim->vms[1].core, NULL, &p), -ENOSPC,
	   "edf: a whole CPU is too much");
	p.period_ns = p.budget_ns = 0;
	is(lv_core_set_params(&sim->vms[0].core, &sim->vcpus[1].core, &p), 0,
	   "edf: one gives up its budget");
	is(lv_core_cpu_remove(&sim->cpus[0].core, false), 0,
	   "edf: now a CPU can go");
	lv_core_settle(&sim->pool);
	ok(!sched_broken(&sim->pool), "edf: all in order");
	ok(sim->vcpus[0].core.home == &sim->cpus[1].core &&
		   sim->vcpus[2].core.home == &sim->cpus[1].core,
	   "edf: both on the CPU that is left");
	sim_run(sim, sim->now + SEC);
	ok(executed(&sim->vcpus[0]) >= 590 * MS &&
		   executed(&sim->vcpus[0]) <= 720 * MS,
	   "edf: 60 %% again: %llu ms",
	   (unsigned long long)executed(&sim->vcpus[0]) / 1000000);
	ok(executed(&sim->vcpus[3]) > 10 * MS, "edf: the background runs, too");
	sim_free(sim);

	scenario("edf", 1, 1);
	add(SIM_HOG, 2)->period = 10 * MS;
	vms[0].budget = 5 * MS;
	sim = sim_new(&config, &error);
	ok(!sim, "edf: two halves and the margin are refused");
	if (sim)
		sim_free(sim);
}

/* A short sleep does not earn a new budget. */
static void test_edf_sleeper(void)
{
	struct sim_vm_config *vm;
	struct sim *sim;

	scenario("edf", 1, 1);
	vm = add(SIM_IO, 1);
	vm->run = 1900 * US;
	vm->sleep = 10 * US;
	vm->period = 10 * MS;
	vm->budget = 2 * MS;
	add(SIM_HOG, 1);
	sim = begin();
	sim_run(sim, SIM_START + 10 * SEC);
	ok(vm_executed(&sim->vms[0]) <= 2010 * MS,
	   "edf: one with 20 %% that sleeps just before it has used them: %llu ms of 10 s",
	   (unsigned long long)vm_executed(&sim->vms[0]) / 1000000);
	sim_free(sim);
}

/* ---- gang ---- */

static u64 skew_max;

/* Wanting and not running beside siblings that run: that is partial. */
static void look_gang(struct sim *sim)
{
	u32 i, j, k;

	look(sim);
	for (i = 0; i < sim->nr_vms; i++) {
		struct sim_vm *vm = &sim->vms[i];
		u32 n = vm->config->vcpus;

		for (j = 0; j < n; j++) {
			struct lv_sched_vcpu *a = &vm->vcpus[j].core;
			u32 size = 0, ready = 0;

			for (k = 0; k < n; k++) {
				struct lv_sched_vcpu *b = &vm->vcpus[k].core;

				if (a->params.group != b->params.group)
					continue;
				size++;
				ready += b->state == LV_SCHED_READY;
			}
			if (size <= sim->pool.nr_cpus && ready &&
			    a->state == LV_SCHED_RUNNING && !a->cpu->resched)
				note_broken("a gang runs in part");
		}
	}
}

static void test_gang(void)
{
	u64 seed, used = 0, partial = 0;
	struct sim *sim;
	u32 i;

	broken = NULL;
	for (seed = 1; seed <= 80 && !broken; seed++) {
		random_scenario("gang", seed);
		if (seed % 4 == 0)
			config.hotplug_every = seed % 8 ? 20 * MS : 5 * MS;
		if (seed % 5 == 0)
			config.change_every = 20 * MS;
		if (seed % 7 == 0)
			config.move_every = 30 * MS;
		sim = begin();
		sim->look = look_gang;
		sim_run(sim, SIM_START + 2 * SEC);
		/* On a CPU that goes, one runs on until the kick comes. */
		sim_look(sim, !config.hotplug_every);
		for (i = 0; i < sim->nr_vms; i++)
			if (seed % 4 && seed % 3 &&
			    sim->vms[i].config->vcpus <= config.cpus &&
			    !sim->vms[i].config->group && seed % 5 && seed % 7)
				partial = max(partial, sim->vms[i].partial_max);
		used += vm_executed(&sim->vms[0]);
		if (sim->thrown)
			note_broken(sim->fault);
		if (broken)
			printf("# seed %llu, at %llu\n",
			       (unsigned long long)seed,
			       (unsigned long long)sim->now);
		sim_free(sim);
	}
	ok(!broken, "gang: 80 random scenarios: all or none%s%s",
	   broken ? ": " : "", broken ?: "");
	ok(used, "gang: they ran");
	ok(partial <= config.kick,
	   "gang: while CPUs are being left, for %llu ns at most",
	   (unsigned long long)partial);

	/* One that is too large, beside others. */
	scenario("gang", 2, 1);
	add(SIM_HOG, 5);
	add(SIM_HOG, 2);
	sim = begin();
	sim_run(sim, SIM_START + 10 * SEC);
	for (i = 0; i < 5; i++)
		ok(executed(&sim->vcpus[i]) > 1900 * MS &&
			   executed(&sim->vcpus[i]) < 2100 * MS,
		   "gang: of five on two CPUs, each has its turn: %llu ms",
		   (unsigned long long)executed(&sim->vcpus[i]) / 1000000);
	ok(executed(&sim->vcpus[5]) > 4900 * MS,
	   "gang: and the other gang has half of the time");
	sim_free(sim);
}

static void test_gang_turns(void)
{
	struct sim_vm_config *io;
	u64 moved = 0;
	struct sim *sim;
	u32 i;

	scenario("gang", 2, 1);
	add(SIM_HOG, 5);
	sim = begin();
	sim_run(sim, SIM_START + 10 * SEC);
	for (i = 0; i < 5; i++)
		ok(executed(&sim->vcpus[i]) > 3900 * MS &&
			   executed(&sim->vcpus[i]) < 4100 * MS,
		   "gang: the same without others: %llu ms",
		   (unsigned long long)executed(&sim->vcpus[i]) / 1000000);
	sim_free(sim);

	scenario("gang", 2, 1);
	add(SIM_HOG, 2);
	io = add(SIM_IO, 2);
	io->run = 100 * US;
	io->sleep = 20 * MS;
	sim = begin();
	sim_run(sim, SIM_START + 10 * SEC);
	ok(vm_executed(&sim->vms[0]) > 19 * SEC,
	   "gang: one that halts as a whole leaves its turn to others: %llu ms of 20 s",
	   (unsigned long long)vm_executed(&sim->vms[0]) / 1000000);
	sim_free(sim);

	scenario("gang", 2, 1);
	add(SIM_HOG, 2);
	add(SIM_HOG, 2);
	sim = begin();
	sim_run(sim, SIM_START + SEC);
	for (i = 0; i < 4; i++)
		moved += sim->vcpus[i].core.migrations;
	is(moved, 0, "gang: who fits stays on its CPU");
	sim_free(sim);

	moved = 0;
	scenario("gang", 2, 1);
	add(SIM_HOG, 2);
	add(SIM_RANDOM, 1)->count = 3;
	sim = begin();
	sim_run(sim, SIM_START + SEC);
	for (i = 0; i < 2; i++)
		moved += sim->vcpus[i].core.migrations;
	is(moved, 0, "gang: who fits has the same CPU again after others");
	sim_free(sim);
}

/* Lock-holder preemption: who spins while the holder does not run loses time. */
static u64 locks_taken(const char *policy)
{
	struct sim *sim;
	u64 rounds;

	scenario(policy, 4, 1);
	add(SIM_SPIN, 4);
	vms[0].run = 20 * US;
	vms[0].hold = 5 * US;
	vms[0].spread = SIM_EXP;
	add(SIM_HOG, 3);
	add(SIM_HOG, 3);
	sim = begin();
	sim_run(sim, SIM_START + 5 * SEC);
	rounds = sim->vms[0].rounds * 1000 /
		 (vm_executed(&sim->vms[0]) / 1000000);
	sim_free(sim);
	return rounds;
}

static void test_lock_holder(void)
{
	u64 rr = locks_taken("rr"), gang = locks_taken("gang");

	ok(gang * 2 > rr * 3,
	   "gang: %llu locks in a second of CPU time, rr: %llu",
	   (unsigned long long)gang, (unsigned long long)rr);
}

static void look_skew(struct sim *sim)
{
	u64 most, least, x;
	u32 i, j;

	look(sim);
	for (i = 0; i < sim->nr_vms; i++) {
		struct sim_vm *vm = &sim->vms[i];

		most = 0;
		least = ~0ULL;
		for (j = 0; j < vm->config->vcpus; j++) {
			x = executed(&vm->vcpus[j]);
			most = max(most, x);
			least = min(least, x);
		}
		skew_max = max(skew_max, most - least);
	}
}

static void test_relaxed(void)
{
	u64 seed;
	struct sim *sim;
	u32 i;

	broken = NULL;
	skew_max = 0;
	for (seed = 1; seed <= 30 && !broken; seed++) {
		scenario("gang-relaxed", 1 + seed % 5, seed);
		if (seed % 3 == 2)
			config.steal_every = 5 * MS;
		for (i = 0; i <= seed % 4; i++)
			add(i == 3 ? SIM_SPIN : SIM_HOG, 1 + (seed + i) % 5);
		sim = begin();
		sim->look = look_skew;
		sim_run(sim, SIM_START + 3 * SEC);
		for (i = 0; i < sim->nr_vcpus; i++)
			if (!executed(&sim->vcpus[i]))
				note_broken("a vCPU never ran");
		if (sim->thrown)
			note_broken(sim->fault);
		sim_free(sim);
	}
	ok(!broken, "gang-relaxed: all in order%s%s", broken ? ": " : "",
	   broken ?: "");
	/* 5 ms, and the way out of the guest. */
	ok(skew_max <= 5 * MS + config.kick,
	   "gang-relaxed: siblings were %llu us apart at most",
	   (unsigned long long)skew_max / 1000);
	ok(skew_max > 2 * MS, "gang-relaxed: and not always together");

	scenario("gang-relaxed", 2, 1);
	add(SIM_HOG, 2);
	sim = begin();
	sim_run(sim, SIM_START + 10 * SEC);
	ok(executed(&sim->vcpus[0]) > 9900 * MS &&
		   executed(&sim->vcpus[1]) > 9900 * MS,
	   "gang-relaxed: two that run side by side are not held back");
	sim_free(sim);

	/* Who sleeps is not behind. */
	scenario("gang-relaxed", 2, 1);
	add(SIM_MIXED, 2)->spread = SIM_EXP;
	sim = begin();
	sim_run(sim, SIM_START + 10 * SEC);
	ok(executed(&sim->vcpus[0]) > 9900 * MS,
	   "gang-relaxed: a hog beside a sibling that sleeps half of the time: %llu ms of 10 s",
	   (unsigned long long)executed(&sim->vcpus[0]) / 1000000);
	sim_free(sim);
}

/* ---- partition ---- */

static bool timer_seen;

static void look_partition(struct sim *sim)
{
	u32 i;

	look(sim);
	for (i = 0; i < config.cpus; i++)
		timer_seen |= sim->cpus[i].core.timer != 0;
}

static void test_partition(void)
{
	const char *error;
	struct sim *sim;
	u32 i, moved = 0, slices = 0;

	scenario("partition", 6, 1);
	add(SIM_HOG, 2);
	add(SIM_IO, 2);
	add(SIM_RANDOM, 2);
	sim = begin();
	broken = NULL;
	timer_seen = false;
	sim->look = look_partition;
	sim_run(sim, SIM_START + 5 * SEC);
	sim_look(sim, true);
	for (i = 0; i < sim->nr_vcpus; i++) {
		moved += sim->vcpus[i].core.migrations;
		slices += sim->vcpus[i].core.stops[LV_STOP_SLICE];
	}
	ok(!broken, "partition: all in order");
	is(moved, 0, "partition: nobody moves");
	is(slices, 0, "partition: no slice ends");
	ok(!timer_seen, "partition: no timer is ever set");
	ok(executed(&sim->vcpus[0]) >= 4990 * MS, "partition: all of a CPU");
	is(lv_core_cpu_remove(&sim->cpus[2].core, false), -ENOSPC,
	   "partition: no CPU can go");
	lv_core_settle(&sim->pool);
	lv_core_vm_leave(&sim->vms[1].core);
	is(lv_core_cpu_remove(&sim->cpus[0].core, false), 0,
	   "partition: unless a VM went");
	lv_core_settle(&sim->pool);
	ok(!sched_broken(&sim->pool), "partition: all in order");
	ok(sim->vcpus[0].core.home && sim->vcpus[0].core.home->id != 0,
	   "partition: its vCPU moved");
	sim_free(sim);

	scenario("partition", 2, 1);
	add(SIM_HOG, 3);
	sim = sim_new(&config, &error);
	ok(!sim, "partition: three vCPUs on two CPUs are refused");
	if (sim)
		sim_free(sim);
}

/* ---- live switching, and policies that fail ---- */

static void test_switching(u64 seed)
{
	static u64 before[64];
	u32 step, i, starved = 0;
	struct sim *sim;

	random_scenario("rr", seed);
	config.cpus = 2 + seed % 3;
	config.nr_vms = 2; /* few enough for partition now and then */
	config.switch_every = 7 * MS;
	config.steal_every = 20 * MS;
	if (seed % 2)
		config.hotplug_every = 50 * MS;
	if (seed % 3)
		config.move_every = 80 * MS;
	config.change_every = 40 * MS;
	sim = begin();
	broken = NULL;
	sim->look = look;
	memset(before, 0, sizeof(before));
	for (step = 1; step <= 100 && !broken; step++) {
		sim_run(sim, SIM_START + step * 50 * MS);
		sim_look(sim, false);
		if (step % 20)
			continue;
		for (i = 0; i < sim->nr_vcpus; i++) {
			struct sim_vcpu *v = &sim->vcpus[i];

			starved += executed(v) == before[i] && !v->halted &&
				   v->thread != SIM_GONE &&
				   v->core.params.cap != 1;
			before[i] = executed(v);
		}
	}
	ok(!broken && !starved && !sim->thrown,
	   "seed %llu: %llu switches among all policies%s%s%s",
	   (unsigned long long)seed, (unsigned long long)sim->nr_switches,
	   broken ? ": " : "", broken ?: "", starved ? ": starved" : "");
	ok(sim->nr_switches > 300, "seed %llu: hundreds",
	   (unsigned long long)seed);
	sim_free(sim);
}

static u32 calls;

static void never_picks(struct lv_sched_cpu *cpu)
{
}

static void picks_blocked(struct lv_sched_cpu *cpu)
{
	struct lv_sched_vcpu *v;
	struct lv_sched_vm *vm;

	if (++calls > 50)
		lv_for_each_pool_vm(vm, cpu->pool)
			lv_for_each_vm_vcpu(v, vm)
				if (v->state == LV_SCHED_OUT)
					return lv_sched_choose(cpu, v, MS);
	lv_sched_choose(cpu, lv_sched_first(cpu), MS);
}

static void picks_elsewhere(struct lv_sched_cpu *cpu)
{
	static struct lv_sched_cpu outside;

	lv_sched_choose(++calls > 50 ? &outside : cpu, lv_sched_first(cpu), MS);
}

static void slice_of_zero(struct lv_sched_cpu *cpu)
{
	lv_sched_choose(cpu, lv_sched_first(cpu), ++calls > 50 ? 0 : MS);
}

static void stalls(struct lv_sched_cpu *cpu)
{
	u32 i;

	/* What the gate tells when it held the lock for long. */
	if (++calls == 50)
		for (i = 0; i < LV_OP_STALLS; i++)
			lv_core_took(cpu->pool, LV_OP_MAX);
	lv_sched_choose(cpu, lv_sched_first(cpu), MS);
}

static void parks_all(struct lv_sched_vcpu *v, u32 why)
{
	if (++calls > 50)
		lv_sched_park(v);
}

static void test_broken(void)
{
	static const struct lv_sched_ops ops[] = {
		{ .name = "never picks", .pick = never_picks },
		{ .name = "picks a blocked", .pick = picks_blocked },
		{ .name = "picks elsewhere", .pick = picks_elsewhere },
		{ .name = "slice of zero", .pick = slice_of_zero },
		{ .name = "stalls", .pick = stalls },
		{ .name = "parks all", .stop = parks_all },
	};
	u32 i, j, stuck;
	struct sim *sim;
	u64 before[8];

	for (i = 0; i < ARRAY_SIZE(ops); i++) {
		calls = 0;
		scenario("rr", 2, i + 1);
		add(SIM_HOG, 2);
		add(SIM_IO, 2);
		add(SIM_RANDOM, 2);
		sim = begin();
		broken = NULL;
		sim->look = look;
		sim_run(sim, SIM_START + 100 * MS);
		is(sim_set_policy(sim, &ops[i]), 0, "%s: set", ops[i].name);
		sim_run(sim, sim->now + 30 * SEC);
		ok(sim->thrown, "%s: thrown out: it %s", ops[i].name,
		   sim->fault ?: "was not");
		for (j = 0; j < sim->nr_vcpus; j++)
			before[j] = executed(&sim->vcpus[j]);
		sim_run(sim, sim->now + SEC);
		for (j = 0, stuck = 0; j < sim->nr_vcpus; j++)
			stuck += executed(&sim->vcpus[j]) == before[j];
		is(stuck, 0, "%s: every vCPU goes on", ops[i].name);
		ok(!broken, "%s: all in order%s%s", ops[i].name,
		   broken ? ": " : "", broken ?: "");
		is(sim_set_policy(sim, &lv_sched_credit), 0,
		   "%s: credit takes over", ops[i].name);
		for (j = 0; j < sim->nr_vcpus; j++)
			before[j] = executed(&sim->vcpus[j]);
		sim_run(sim, sim->now + SEC);
		for (j = 0, stuck = 0; j < sim->nr_vcpus; j++)
			stuck += executed(&sim->vcpus[j]) == before[j];
		is(stuck, 0, "%s: and every vCPU goes on", ops[i].name);
		sim_free(sim);
	}
}

/* ---- the simulator itself ---- */

static void test_repeats(void)
{
	u64 events[2], dispatches[2], ran[2];
	struct sim *sim;
	u32 i;

	for (i = 0; i < 2; i++) {
		random_scenario("credit", 12);
		config.switch_every = 30 * MS;
		sim = begin();
		sim_run(sim, SIM_START + 2 * SEC);
		events[i] = sim->events;
		dispatches[i] = sim->dispatches;
		ran[i] = vm_executed(&sim->vms[0]);
		sim_free(sim);
	}
	ok(events[0] == events[1] && dispatches[0] == dispatches[1] &&
		   ran[0] == ran[1],
	   "the same seed gives the same result");
}

static void test_large(void)
{
	struct sim *sim;

	scenario("credit", 128, 1);
	add(SIM_HOG, 8)->count = 60;
	add(SIM_RANDOM, 4)->count = 200;
	add(SIM_IO, 4)->count = 200;
	sim = begin();
	sim_run(sim, SIM_START + SEC);
	is(sim->wasted, 0, "%u vCPUs on 128 CPUs: none idle while one waits",
	   sim->nr_vcpus);
	ok(!sched_broken(&sim->pool), "all in order");
	is(sim->thrown, 0, "not thrown out");
	sim_free(sim);
}

/* Each vCPU has its own script; a halt's end has the cause that it says. */
static void test_scripts(void)
{
	static struct sim_step busy[] = { { 'r', .ns = MS } };
	static struct sim_step lazy[] = {
		{ 'r', .ns = MS },
		{ 'h', .why = LV_WAKE_UNHALT, .ns = 3 * MS },
		{ 'r', .ns = 2 * MS },
		{ 'h', .why = LV_WAKE_TIMER, .ns = 4 * MS },
	};
	static struct sim_script scripts[] = {
		{ .steps = busy, .nr = 1 },
		{ .steps = lazy, .nr = 4 },
	};
	struct sim *sim;

	scenario("rr", 2, 1);
	config.wake = config.kick = 0;
	add(SIM_SCRIPT, 2)->scripts = scripts;
	vms[0].nr_scripts = 2;
	sim = begin();
	sim_run(sim, SIM_START + 1000 * MS);
	is(executed(&sim->vcpus[0]) / MS, 1000, "one script: computes");
	is(executed(&sim->vcpus[1]) / MS, 300, "the other one: sleeps, too");
	is(sim->vcpus[1].core.wakes[LV_WAKE_UNHALT], 100, "woken for");
	is(sim->vcpus[1].core.wakes[LV_WAKE_TIMER], 100, "what it says");
	sim_free(sim);
}

int main(void)
{
	static const char *const names[] = { "host", "rr",   "credit",
					     "edf",  "gang", "gang-relaxed" };
	u32 i;

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (i = 0; i < ARRAY_SIZE(names); i++)
		test_random(names[i], 60);
	test_weights();
	test_attack();
	test_caps();
	test_latency();
	test_credit_starvation();
	test_credit_sleeper();
	test_cap_siblings();
	test_cap_later();
	test_boost();
	test_credit_rebase();
	test_edf();
	test_edf_admission();
	test_edf_sleeper();
	test_gang();
	test_gang_turns();
	test_lock_holder();
	test_relaxed();
	test_partition();
	test_scripts();
	for (i = 1; i <= 12; i++)
		test_switching(i);
	test_broken();
	test_repeats();
	test_large();
	return tap_done();
}
