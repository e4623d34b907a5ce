// SPDX-License-Identifier: GPL-2.0-only
/* The core of vCPU scheduling: queues, states, accounting, the watch over policies. */
#include "sched/core.h"
#include "sched/policies.h"
#include "sched_check.h"
#include "tap.h"

#define MS 1000000ULL
#define NR_CPUS 4
#define NR_VMS 4
#define NR_VCPUS 5 /* of each VM */

/* ---- the surroundings ---- */

struct vcpu {
	struct lv_sched_vcpu core;
	u32 grants, recalls;
	u64 joined, time_before;
};

struct cpu {
	struct lv_sched_cpu core;
	u64 timer;
};

static struct lv_pool pool;
static struct cpu cpus[NR_CPUS];
static struct lv_sched_vm vms[NR_VMS];
static struct vcpu vcpus[NR_VMS][NR_VCPUS];
static u64 pool_timer;
static u32 traced[4];

void lv_sched_grant(struct lv_sched_vcpu *v)
{
	container_of(v, struct vcpu, core)->grants++;
}

void lv_sched_recall(struct lv_sched_vcpu *v)
{
	container_of(v, struct vcpu, core)->recalls++;
}

void lv_sched_set_cpu_timer(struct lv_sched_cpu *cpu, u64 at)
{
	container_of(cpu, struct cpu, core)->timer = at;
}

void lv_sched_set_pool_timer(struct lv_pool *p, u64 at)
{
	(void)p;
	pool_timer = at;
}

void lv_sched_trace(const struct lv_sched_vcpu *v, enum lv_sched_event event,
		    u64 arg)
{
	(void)v;
	(void)arg;
	traced[event]++;
}

static u64 seed;

static u32 any(u32 below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return (seed >> 16) % below;
}

/* A pool with CPUs and VMs with vCPUs; policy "host". */
static void setup(u32 nr_cpus, u32 nr_vms, u32 nr_vcpus)
{
	u32 i, j;

	memset(&pool, 0, sizeof(pool));
	memset(cpus, 0, sizeof(cpus));
	memset(vms, 0, sizeof(vms));
	memset(vcpus, 0, sizeof(vcpus));
	memset(traced, 0, sizeof(traced));
	pool_timer = 0;
	pool.now = 1000 * MS;
	lv_core_pool_init(&pool);
	for (i = 0; i < nr_cpus; i++) {
		cpus[i].core.id = i;
		lv_core_cpu_add(&pool, &cpus[i].core);
	}
	for (i = 0; i < nr_vms; i++) {
		vms[i].id = i;
		vms[i].params.weight = LV_WEIGHT_DEFAULT;
		lv_core_vm_join(&pool, &vms[i]);
		for (j = 0; j < nr_vcpus; j++) {
			vcpus[i][j].core.id = j;
			lv_core_vcpu_join(&vms[i], &vcpus[i][j].core);
		}
	}
}

static struct lv_sched_vcpu *V(u32 vm, u32 vcpu)
{
	return &vcpus[vm][vcpu].core;
}

static void settled(const char *what)
{
	const char *broken;

	lv_core_settle(&pool);
	broken = sched_broken(&pool);
	ok(!broken, "%s: all in order%s%s", what, broken ? ": " : "",
	   broken ?: "");
}

/* A thread that wants the CPU, and comes when it is given one. */
static void come(struct lv_sched_vcpu *v, enum lv_wake why)
{
	lv_core_ready(v, why);
	lv_core_settle(&pool);
	if (v->state == LV_SCHED_RUNNING && v->absent == LV_COMING)
		lv_core_arrive(v);
}

static void policy(const struct lv_sched_ops *ops)
{
	is(lv_core_set_policy(&pool, ops), 0, "policy %s", ops->name);
	lv_core_settle(&pool);
}

/* ---- the queue ---- */

/* Against a model: look for the smallest in an array. */
static void test_queue(void)
{
	enum {
		NR = 200,
		STEPS = 20000
	};
	static struct lv_sched_vcpu v[NR];
	struct lv_ready_queue q = { 0 };
	struct lv_pool p = { 0 };
	u32 i, step, count, inside = 0, wrong = 0;
	struct lv_sched_vcpu *first;
	const char *broken = NULL;

	memset(v, 0, sizeof(v));
	seed = 42;
	for (i = 0; i < NR; i++)
		v[i].pool = &p;
	for (step = 0; step < STEPS && !broken; step++) {
		i = any(NR);
		if (!v[i].queue) {
			lv_queue_add(&q, &v[i], any(20));
			inside++;
		} else if (any(3)) {
			lv_queue_del(&v[i]);
			inside--;
		} else {
			lv_queue_del(q.first);
			inside--;
		}
		first = NULL;
		for (i = 0; i < NR; i++)
			if (v[i].queue && (!first || v[i].rank < first->rank ||
					   (v[i].rank == first->rank &&
					    v[i].seq < first->seq)))
				first = &v[i];
		wrong += first != q.first;
		count = 0;
		broken = sched_heap(&q, &q.first, NULL, &count);
		wrong += count != inside;
	}
	ok(!broken, "queue: its structure%s%s", broken ? ": " : "",
	   broken ?: "");
	is(wrong, 0, "queue: always the first of a model comes first");

	while (q.first)
		lv_queue_del(q.first);
	for (i = 0; i < NR; i++)
		lv_queue_add(&q, &v[i], 7);
	for (i = 0, wrong = 0; i < NR; i++) {
		wrong += q.first != &v[i];
		lv_queue_del(q.first);
	}
	is(wrong, 0, "queue: equals leave it in the order in which they came");
	ok(!q.first, "queue: empty");
}

/* ---- states ---- */

static void test_states(void)
{
	struct lv_sched_vcpu *a, *b, *c;

	setup(2, 1, 3);
	a = V(0, 0), b = V(0, 1), c = V(0, 2);
	is(a->state, LV_SCHED_FREE, "host: FREE");
	ok(a->pass, "host: may enter");
	lv_core_ready(a, LV_WAKE_USER);
	is(a->state, LV_SCHED_FREE, "host: nothing happens");
	policy(&lv_sched_rr);
	is(a->state, LV_SCHED_OUT, "rr: OUT at first");
	ok(!a->pass, "rr: may not enter");
	ok(vcpus[0][0].recalls, "rr: and has to leave the guest");

	pool.now += MS;
	lv_core_ready(a, LV_WAKE_USER);
	settled("ready");
	is(a->state, LV_SCHED_RUNNING, "a CPU is free: RUNNING");
	is(a->absent, LV_COMING, "its thread comes");
	ok(!a->pass && vcpus[0][0].grants == 1, "it was called");
	is(a->time[LV_TIME_OUT], MS, "time OUT");
	lv_core_arrive(a);
	ok(a->pass, "it is there: may enter");
	is(cpus[0].timer, pool.now + LV_SLICE_DEFAULT, "slice ends");

	come(b, LV_WAKE_USER);
	is(b->cpu->id, 1, "the second gets the other CPU");
	come(c, LV_WAKE_USER);
	is(c->state, LV_SCHED_READY, "the third waits");
	settled("three on two");

	pool.now = cpus[0].timer;
	lv_core_cpu_timer(&cpus[0].core);
	ok(!a->pass && vcpus[0][0].recalls == 2, "end of slice: recalled");
	is(cpus[0].core.resched, LV_STOP_SLICE, "because of the slice");
	settled("slice over");
	lv_core_stop(a, cpus[0].core.resched);
	settled("stopped");
	is(a->state, LV_SCHED_READY, "READY again");
	is(c->state, LV_SCHED_RUNNING, "the third runs");
	is(a->time[LV_TIME_RUN], 10 * MS, "charged for its slice");
	is(a->ran, 10 * MS, "ran as long");
	is(c->time[LV_TIME_READY], 10 * MS, "the other waited as long");

	lv_core_arrive(c);
	pool.now += MS;
	lv_core_stop(c, LV_STOP_BLOCK);
	settled("halted");
	ok(c->state == LV_SCHED_OUT && c->blocked, "OUT, halted");
	is(a->state, LV_SCHED_RUNNING, "who waited has the CPU");
	lv_core_arrive(a);
	pool.now += 5 * MS;
	lv_core_ready(c, LV_WAKE_IRQ);
	settled("woken");
	ok(c->wake_pending, "the latency counts");
	is(c->time[LV_TIME_BLOCKED], 5 * MS, "time halted");
	pool.now += 3 * MS;
	lv_core_stop(a, LV_STOP_BLOCK);
	settled("the other halts");
	lv_core_stop(c, LV_STOP_PREEMPT);
	settled("preempted before it came");
	ok(c->wake_pending, "the latency still counts");
	pool.now += MS;
	lv_core_arrive(c);
	is(c->latency_max, 4 * MS, "from the wake-up to the guest");
	is(c->latency[12], 1, "one count, of 2 to 4 ms");
	is(c->wakes[LV_WAKE_IRQ], 1, "woken by an interrupt");
	is(c->stops[LV_STOP_PREEMPT], 1, "preempted once");

	lv_core_stop(c, LV_STOP_LEAVE);
	settled("signal");
	ok(c->state == LV_SCHED_OUT && !c->blocked, "OUT, not halted");
	lv_core_stop(c, LV_STOP_BLOCK);
	ok(c->blocked, "OUT, then halted");
}

static void test_yield(void)
{
	struct lv_sched_vcpu *a, *b;

	setup(1, 1, 2);
	a = V(0, 0), b = V(0, 1);
	policy(&lv_sched_rr);
	come(a, LV_WAKE_USER);
	lv_core_yield(a, NULL);
	is(cpus[0].core.resched, 0, "yield alone: goes on");
	come(b, LV_WAKE_USER);
	lv_core_yield(b, a);
	is(b->state, LV_SCHED_READY, "yield of one that waits: nothing");
	lv_core_yield(a, b);
	is(cpus[0].core.resched, LV_STOP_YIELD, "yield: asked to stop");
	lv_core_stop(a, cpus[0].core.resched);
	settled("yielded");
	is(b->state, LV_SCHED_RUNNING, "the other runs");
	is(a->stops[LV_STOP_YIELD], 1, "counted");
}

/* ---- threads that are not there ---- */

static void test_absent(void)
{
	static const struct {
		enum lv_absent where;
		const char *name;
		u64 patience;
		u8 state;
		u64 time; /* where it goes meanwhile */
	} cases[] = {
		{ LV_IN_USER, "in user space", LV_GRACE_USER, LV_SCHED_OUT,
		  LV_TIME_AWAY },
		{ LV_PREEMPTED, "preempted", LV_GRACE_PREEMPTED, LV_SCHED_OUT,
		  LV_TIME_STEAL },
		{ LV_ASLEEP, "asleep", 0, LV_SCHED_OUT, LV_TIME_STEAL },
	};
	struct lv_sched_vcpu *a, *b;
	u32 i;

	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		const char *name = cases[i].name;

		setup(1, 1, 2);
		a = V(0, 0), b = V(0, 1);
		policy(&lv_sched_rr);
		come(a, LV_WAKE_USER);
		lv_core_absent(a, cases[i].where);
		if (cases[i].where != LV_IN_USER)
			a->out_at = pool.now;
		settled(name);
		is(a->state, LV_SCHED_RUNNING, "%s, nobody waits: keeps it",
		   name);
		pool.now += 5 * MS;
		lv_core_ready(b, LV_WAKE_USER);
		settled(name);
		is(b->state, LV_SCHED_RUNNING, "%s for long, another waits",
		   name);
		is(a->state, cases[i].state, "%s: lost it", name);
		is(a->time[cases[i].time], 5 * MS, "%s: time", name);

		setup(1, 1, 2);
		policy(&lv_sched_rr);
		come(a, LV_WAKE_USER);
		come(b, LV_WAKE_USER);
		lv_core_absent(a, cases[i].where);
		settled(name);
		if (!cases[i].patience) {
			is(b->state, LV_SCHED_RUNNING, "%s: lost at once",
			   name);
			continue;
		}
		is(a->state, LV_SCHED_RUNNING, "%s: keeps it for a while",
		   name);
		is(cpus[0].timer, pool.now + cases[i].patience,
		   "%s: until patience ends", name);
		pool.now = cpus[0].timer;
		lv_core_cpu_timer(&cpus[0].core);
		settled(name);
		is(b->state, LV_SCHED_RUNNING, "%s: lost it then", name);
		is(a->state, cases[i].state, "%s: state", name);
		lv_core_ready(a, LV_WAKE_HOST);
		is(a->state, LV_SCHED_READY, "%s: back, waits", name);
	}

	setup(1, 1, 2);
	policy(&lv_sched_rr);
	come(a, LV_WAKE_USER);
	come(b, LV_WAKE_USER);
	lv_core_absent(a, LV_IN_USER);
	lv_core_arrive(a);
	ok(a->pass, "back in time: goes on");
	pool.now += 2 * LV_GRACE_USER;
	lv_core_cpu_timer(&cpus[0].core);
	is(a->state, LV_SCHED_RUNNING, "the old patience means nothing");
	is(cpus[0].timer, 1010 * MS, "the slice is as before");
	lv_core_absent(a, LV_PREEMPTED);
	lv_sched_resched(&cpus[0].core);
	settled("taken from one that is preempted");
	is(a->stopped_by, LV_STOP_PREEMPT, "it wants a CPU still");
	is(a->state, LV_SCHED_READY, "and waits for it");

	/* A thread that needs longer than the slice has a turn all the same. */
	setup(1, 1, 2);
	policy(&lv_sched_rr);
	a->slice = LV_SLICE_MIN;
	lv_core_ready(a, LV_WAKE_USER);
	lv_core_settle(&pool);
	lv_core_ready(b, LV_WAKE_USER);
	pool.now += LV_SLICE_MIN;
	lv_core_cpu_timer(&cpus[0].core);
	settled("slice over on the way");
	is(a->state, LV_SCHED_RUNNING,
	   "a slice over on the way: keeps the CPU");
	is(cpus[0].timer, a->absent_since + LV_GRACE_COMING,
	   "until patience ends");
	pool.now += MS;
	lv_core_arrive(a);
	ok(a->pass, "arrived: runs");
	is(cpus[0].timer, pool.now + LV_SLICE_MIN, "for its slice");
	pool.now = cpus[0].timer;
	lv_core_cpu_timer(&cpus[0].core);
	is(cpus[0].core.resched, LV_STOP_SLICE, "which ends");

	/* ... even if that was cut short. */
	setup(1, 1, 1);
	policy(&lv_sched_rr);
	lv_core_ready(a, LV_WAKE_USER);
	lv_core_settle(&pool);
	lv_sched_cut(&cpus[0].core, pool.now - MS);
	lv_core_cpu_timer(&cpus[0].core);
	pool.now += MS;
	lv_core_arrive(a);
	is(cpus[0].timer, pool.now + LV_SLICE_MIN, "cut short on the way");
	setup(1, 1, 2);
	policy(&lv_sched_rr);
	a->slice = LV_SLICE_MIN;
	lv_core_ready(a, LV_WAKE_USER);
	lv_core_settle(&pool);
	lv_core_ready(b, LV_WAKE_USER);
	pool.now += LV_SLICE_MIN;
	lv_core_cpu_timer(&cpus[0].core);
	pool.now += MS;
	lv_core_arrive(a);
	pool.now = cpus[0].timer;
	lv_core_cpu_timer(&cpus[0].core);

	/* ... even if it needs longer from there. */
	ok(lv_core_prolong(a) && !cpus[0].core.resched, "prolonged");
	is(cpus[0].timer, pool.now + 2 * LV_SLICE_MIN + MS,
	   "for as long as all that took");
	lv_core_arrive(a);
	ok(a->pass, "runs on");
	settled("prolonged");
	lv_sched_resched(&cpus[0].core);
	ok(!lv_core_prolong(a), "preemption: not prolonged");
	lv_core_stop(a, cpus[0].core.resched);
	lv_core_arrive(b);
	pool.now += LV_GRACE_COMING + 1;
	lv_core_cpu_timer(&cpus[0].core);
	is(cpus[0].core.resched, LV_STOP_SLICE, "a slice ends");
	ok(!lv_core_prolong(b), "too long: not prolonged");

	setup(1, 1, 2);
	policy(&lv_sched_rr);
	lv_core_ready(a, LV_WAKE_USER);
	lv_core_settle(&pool);
	lv_core_ready(b, LV_WAKE_USER);
	lv_core_settle(&pool);
	pool.now += LV_GRACE_COMING - 1;
	lv_core_cpu_timer(&cpus[0].core);
	is(a->state, LV_SCHED_RUNNING, "does not come: a little longer");
	pool.now++;
	lv_core_cpu_timer(&cpus[0].core);
	settled("does not come");
	is(b->state, LV_SCHED_RUNNING, "does not come: lost it");
	is(a->stopped_by, LV_STOP_HOST, "held up by the host");
}

/* A long way to the CPU puts nobody ahead of siblings. */
static void test_way(void)
{
	char dump[32];

	setup(2, 1, 2);
	policy(&lv_sched_relaxed);
	come(V(0, 0), LV_WAKE_USER);
	lv_core_ready(V(0, 1), LV_WAKE_USER);
	settled("two on their way");
	pool.now += 2 * MS;
	lv_core_arrive(V(0, 1));
	pool.now += MS;
	lv_sched_relaxed.dump(V(0, 0), dump, sizeof(dump));
	ok(!strcmp(dump, "2000 us ahead"), "gang-relaxed: %s", dump);
	is(V(0, 1)->time[LV_TIME_RUN], 3 * MS, "the way is charged for");
}

static void test_steal(void)
{
	struct lv_sched_vcpu *a;

	setup(1, 1, 1);
	a = V(0, 0);
	policy(&lv_sched_rr);
	a->out_at = pool.now - MS;
	a->stolen = 77 * MS;
	lv_core_ready(a, LV_WAKE_USER);
	lv_core_settle(&pool);
	pool.now += MS;
	a->stolen += 2 * MS; /* it was out a while before it got the CPU */
	a->out_at = 0;
	lv_core_arrive(a);
	is(a->time[LV_TIME_STEAL], MS, "steal: while its thread came");
	pool.now += 3 * MS;
	a->out_at = pool.now - 2 * MS;
	lv_sched_charge(a);
	is(a->time[LV_TIME_STEAL], 3 * MS, "steal: its thread is out");
	is(a->ran, MS, "and is not charged");
	a->stolen += 2 * MS;
	a->out_at = 0;
	pool.now += MS;
	lv_sched_charge(a);
	is(a->time[LV_TIME_STEAL], 3 * MS, "steal: counted once");
	is(a->ran, 2 * MS, "ran");
}

/* ---- policies that do what they may ---- */

static struct lv_sched_vcpu *choice;
static struct lv_sched_cpu *choice_cpu;
static u64 choice_slice;
static u32 released, timers;
static u64 release_again;

static void choosing_pick(struct lv_sched_cpu *cpu)
{
	lv_sched_choose(choice_cpu ?: cpu, choice ?: lv_sched_first(cpu),
			choice_slice);
}

static bool choosing_preempts(struct lv_sched_vcpu *v,
			      struct lv_sched_vcpu *curr)
{
	return v->key < curr->key;
}

static void choosing_timer(struct lv_pool *p)
{
	(void)p;
	timers++;
}

static void choosing_release(struct lv_sched_vcpu *v)
{
	released++;
	if (release_again)
		lv_sched_park_until(v, release_again);
	release_again = 0;
}

static const struct lv_sched_ops choosing = {
	.name = "choosing",
	.pick = choosing_pick,
	.preempts = choosing_preempts,
	.timer = choosing_timer,
	.release = choosing_release,
};

static void setup_choosing(u32 nr_cpus, u32 nr_vcpus)
{
	choice = NULL;
	choice_cpu = NULL;
	choice_slice = MS;
	released = 0;
	timers = 0;
	release_again = 0;
	setup(nr_cpus, 1, nr_vcpus);
	policy(&choosing);
}

static void test_parked(void)
{
	struct lv_sched_vcpu *a, *b, *c;

	setup_choosing(1, 3);
	a = V(0, 0), b = V(0, 1), c = V(0, 2);
	lv_sched_park(a);
	lv_core_ready(a, LV_WAKE_USER);
	settled("parked");
	is(a->state, LV_SCHED_READY, "parked: does not run");
	is(pool.nr_ready, 0, "parked: does not count");
	pool.now += MS;
	lv_sched_unpark(a);
	settled("unparked");
	is(a->state, LV_SCHED_RUNNING, "unparked: runs");
	is(a->time[LV_TIME_PARKED], MS, "parked: time");
	lv_core_arrive(a);

	lv_sched_park(a);
	ok(!a->pass, "parked while RUNNING: asked to stop");
	lv_core_stop(a, LV_STOP_PREEMPT);
	settled("parked while RUNNING");
	is(a->state, LV_SCHED_READY, "and does");
	lv_sched_park_until(a, pool.now + 2 * MS);
	lv_sched_park_until(b, pool.now + MS);
	is(pool_timer, pool.now + MS, "park until: the earlier");
	lv_sched_timer(&pool, pool.now + 3 * MS);
	is(pool_timer, pool.now + MS, "still the earlier");
	lv_core_ready(b, LV_WAKE_USER);
	settled("two wait for release");
	release_again = pool.now + 5 * MS;
	pool.now += MS;
	lv_core_pool_timer(&pool);
	settled("first one again");
	is(released, 1, "released once");
	is(b->state, LV_SCHED_READY, "and put off");
	is(pool_timer, pool.now + MS, "the second is next");
	pool.now += MS;
	lv_core_pool_timer(&pool);
	settled("second one");
	is(a->state, LV_SCHED_RUNNING, "released: runs");
	is(timers, 0, "the policy's own time has not come");
	pool.now += MS;
	lv_core_pool_timer(&pool);
	is(timers, 1, "now it has");
	lv_sched_unpark(b);
	settled("unparked before its time");
	is(pool.parked.first, NULL, "is not released any more");
	lv_sched_park_until(c, pool.now);
	is(pool_timer, pool.now + LV_TIMER_MIN, "no timer fires at once");
	lv_core_stop(c, LV_STOP_BLOCK);
	ok(c->queue, "halts while parked: still to be released");
	policy(&lv_sched_rr);
	ok(!c->parked && !c->queue, "a new policy: not parked");
	settled("a new policy");
	pool.now += 9 * MS;
	lv_core_pool_timer(&pool);
	settled("nobody to release");
}

static void test_homes(void)
{
	struct lv_sched_vcpu *a, *b, *c;

	setup_choosing(2, 3);
	a = V(0, 0), b = V(0, 1), c = V(0, 2);
	a->home = b->home = &cpus[1].core;
	a->key = 5;
	b->key = 3;
	come(a, LV_WAKE_USER);
	is(a->cpu->id, 1, "home: runs there only");
	come(b, LV_WAKE_USER);
	is(b->state, LV_SCHED_READY, "home: waits, though CPU 0 is free");
	is(cpus[1].core.resched, LV_STOP_PREEMPT, "but preempts");
	lv_core_stop(a, LV_STOP_PREEMPT);
	settled("preempted");
	is(b->cpu->id, 1, "home: runs there");
	ok(lv_sched_first(&cpus[1].core) == a, "first at home");
	ok(!lv_sched_first(&cpus[0].core), "nobody for the other CPU");
	lv_sched_requeue(a, 5, NULL);
	settled("no home any more");
	is(a->cpu->id, 0, "runs elsewhere");
	is(a->migrations, 1, "migrated once");
	c->key = 9;
	lv_core_ready(c, LV_WAKE_USER);
	lv_core_stop(a, LV_STOP_SLICE);
	ok(lv_sched_first(&cpus[0].core) == c || c->state == LV_SCHED_RUNNING ||
		   a->state == LV_SCHED_RUNNING,
	   "somebody runs");
	settled("shared and own");

	setup_choosing(1, 3);
	come(c, LV_WAKE_USER);
	a->home = &cpus[0].core;
	a->key = 1;
	b->key = 1;
	lv_core_ready(b, LV_WAKE_USER);
	lv_core_ready(a, LV_WAKE_USER);
	ok(lv_sched_first(&cpus[0].core) == b, "equal keys: who came first");
	lv_sched_requeue(a, 0, &cpus[0].core);
	ok(lv_sched_first(&cpus[0].core) == a, "smaller key at home");
	lv_sched_requeue(a, 2, &cpus[0].core);
	ok(lv_sched_first(&cpus[0].core) == b, "smaller key among all");
	settled("keys");
}

static void test_preempts(void)
{
	struct lv_sched_vcpu *a, *b, *c, *d;

	setup_choosing(2, 4);
	a = V(0, 0), b = V(0, 1), c = V(0, 2), d = V(0, 3);
	a->key = 5, b->key = 8, c->key = 6, d->key = 4;
	come(a, LV_WAKE_USER);
	come(b, LV_WAKE_USER);
	lv_core_ready(c, LV_WAKE_IRQ);
	is(cpus[0].core.resched, 0, "preempts: not who comes first");
	is(cpus[1].core.resched, LV_STOP_PREEMPT, "preempts: the last");
	lv_core_ready(d, LV_WAKE_IRQ);
	is(cpus[0].core.resched, LV_STOP_PREEMPT, "preempts: the next");
	lv_core_stop(a, LV_STOP_PREEMPT);
	lv_core_stop(b, LV_STOP_PREEMPT);
	settled("preempted");
	ok(d->state == LV_SCHED_RUNNING && a->state == LV_SCHED_RUNNING,
	   "preempts: the first two run");

	/* Two are released at once, and one CPU is idle. */
	setup_choosing(2, 3);
	a->key = 5, b->key = 1, c->key = 2;
	come(a, LV_WAKE_USER);
	lv_sched_park_until(b, pool.now + MS);
	lv_sched_park_until(c, pool.now + MS);
	lv_core_ready(b, LV_WAKE_USER);
	lv_core_ready(c, LV_WAKE_USER);
	pool.now += MS;
	lv_core_pool_timer(&pool);
	settled("released");
	is(a->cpu->resched, LV_STOP_PREEMPT, "released: both need a CPU");
	is(b->state, LV_SCHED_RUNNING, "released: one has it");
	lv_core_stop(a, LV_STOP_PREEMPT);
	settled("released and preempted");
	is(c->state, LV_SCHED_RUNNING, "released: the other, too");
}

static void test_cut(void)
{
	struct lv_sched_vcpu *a;

	setup_choosing(1, 1);
	a = V(0, 0);
	lv_sched_cut(&cpus[0].core, pool.now);
	settled("cut of nobody");
	choice_slice = LV_SLICE_FOREVER;
	come(a, LV_WAKE_USER);
	is(cpus[0].timer, 0, "forever: no timer");
	lv_sched_cut(&cpus[0].core, pool.now + 2 * MS);
	is(cpus[0].timer, pool.now + 2 * MS, "cut");
	lv_sched_cut(&cpus[0].core, pool.now + 3 * MS);
	is(cpus[0].timer, pool.now + 2 * MS, "not longer");
	pool.now += MS;
	lv_core_cpu_timer(&cpus[0].core);
	is(cpus[0].timer, pool.now + MS, "too early: armed again");
	settled("too early");
	pool.now += MS;
	lv_core_cpu_timer(&cpus[0].core);
	is(cpus[0].core.resched, LV_STOP_SLICE, "then it ends");
	settled("cut off");
}

/* ---- policies that do what they may not ---- */

enum wrong {
	PICKS_OUT,
	PICKS_RUNNING,
	PICKS_PARKED,
	PICKS_AWAY_FROM_HOME,
	PICKS_FOR_ANOTHER_CPU,
	PICKS_FOR_FOREIGN_CPU,
	PICKS_FOREIGN,
	SLICE_0,
	SLICE_SHORT,
	NEVER_PICKS,
	STALLS,
	STARVES,
	PARKS_FOREVER,
	NR_WRONGS,
};

static const char *const wrong_names[] = {
	[PICKS_OUT] = "picks one that halts",
	[PICKS_RUNNING] = "picks one that runs",
	[PICKS_PARKED] = "picks one that is parked",
	[PICKS_AWAY_FROM_HOME] = "picks one that is at home elsewhere",
	[PICKS_FOR_ANOTHER_CPU] = "picks for another CPU",
	[PICKS_FOR_FOREIGN_CPU] = "picks for a CPU outside the pool",
	[PICKS_FOREIGN] = "picks one outside the pool",
	[SLICE_0] = "slice 0",
	[SLICE_SHORT] = "slice too short",
	[NEVER_PICKS] = "never picks",
	[STALLS] = "stalls",
	[STARVES] = "lets one starve",
	[PARKS_FOREVER] = "parks forever",
};

static void starve_one_pick(struct lv_sched_cpu *cpu)
{
	if (lv_sched_first(cpu) == choice)
		lv_sched_requeue(choice, ~0ULL, NULL);
	if (lv_sched_first(cpu) != choice)
		lv_sched_choose(cpu, lv_sched_first(cpu), MS);
}

static void never_pick(struct lv_sched_cpu *cpu)
{
	(void)cpu;
}

/* Whoever runs stops now and then, and the watchdog looks. */
static void live(u64 ns)
{
	u64 end = pool.now + ns;
	u32 i;

	for (; pool.now < end; pool.now += 100 * MS) {
		lv_core_check(&pool);
		lv_core_settle(&pool);
		for (i = 0; i < NR_CPUS; i++)
			if (cpus[i].core.curr)
				lv_core_stop(cpus[i].core.curr, LV_STOP_SLICE);
		lv_core_settle(&pool);
	}
}

static void misbehave(enum wrong how, struct lv_sched_ops *ops)
{
	static struct lv_sched_vcpu foreign;
	static struct lv_sched_cpu foreign_cpu;
	static struct lv_pool other;
	u32 i;

	foreign.pool = &other;
	foreign.state = LV_SCHED_READY;
	switch (how) {
	case PICKS_OUT:
		choice = V(0, 3);
		lv_core_stop(choice, LV_STOP_BLOCK);
		break;
	case PICKS_RUNNING:
		choice = V(0, 0);
		break;
	case PICKS_PARKED:
		choice = V(0, 1);
		lv_sched_park(choice);
		break;
	case PICKS_AWAY_FROM_HOME:
		choice = V(0, 1);
		lv_sched_requeue(choice, 0, &cpus[1].core);
		break;
	case PICKS_FOR_ANOTHER_CPU:
		choice_cpu = &cpus[1].core;
		break;
	case PICKS_FOR_FOREIGN_CPU:
		choice_cpu = &foreign_cpu;
		break;
	case PICKS_FOREIGN:
		choice = &foreign;
		break;
	case SLICE_0:
		choice_slice = 0;
		break;
	case SLICE_SHORT:
		choice_slice = LV_SLICE_MIN - 1;
		break;
	case NEVER_PICKS:
		ops->pick = never_pick;
		lv_core_stop(cpus[0].core.curr, LV_STOP_SLICE);
		lv_core_stop(cpus[1].core.curr, LV_STOP_SLICE);
		live(2000 * MS);
		return;
	case STALLS:
		for (i = 0; i < 4; i++)
			lv_core_took(&pool, LV_OP_MAX);
		ok(!pool.fault, "four stalls are forgiven");
		lv_core_took(&pool, LV_OP_MAX - 1);
		lv_core_took(&pool, LV_OP_MAX);
		ok(!pool.fault, "and forgotten");
		for (i = 0; i < 4; i++)
			lv_core_took(&pool, LV_OP_MAX);
		lv_core_settle(&pool);
		return;
	case STARVES:
		ops->pick = starve_one_pick;
		choice = V(0, 1);
		live(9900 * MS);
		ok(pool.ops == ops, "9.9 s are not too long");
		live(1000 * MS);
		return;
	case PARKS_FOREVER:
		lv_sched_park(V(0, 1));
		live(19900 * MS);
		ok(pool.ops == ops, "19.9 s are not too long");
		live(1000 * MS);
		return;
	default:
		return;
	}
	/* Whoever has CPU 0 stops, and so the policy is asked. */
	lv_core_stop(cpus[0].core.curr, LV_STOP_SLICE);
	lv_core_settle(&pool);
}

static void test_wrong(enum wrong how)
{
	const char *name = wrong_names[how], *broken;
	struct lv_sched_ops ops = choosing;
	u32 i, free = 0, granted = 0;

	setup_choosing(2, NR_VCPUS);
	policy(&ops);
	for (i = 0; i < NR_VCPUS; i++)
		come(V(0, i), LV_WAKE_USER);
	if (how == PICKS_RUNNING) /* the one on the other CPU */
		choice = cpus[1].core.curr;
	for (i = 0; i < NR_VCPUS; i++)
		vcpus[0][i].grants = 0;
	settled(name);
	if (how == PICKS_RUNNING) {
		choice = cpus[1].core.curr;
		lv_core_stop(cpus[0].core.curr, LV_STOP_SLICE);
		lv_core_settle(&pool);
	} else {
		misbehave(how, &ops);
	}
	ok(pool.fault && pool.ops == &lv_sched_host, "%s: thrown out: %s", name,
	   pool.fault ?: "no");
	broken = sched_broken(&pool);
	ok(!broken, "%s: all in order%s%s", name, broken ? ": " : "",
	   broken ?: "");
	for (i = 0; i < NR_VCPUS; i++) {
		free += V(0, i)->state == LV_SCHED_FREE && V(0, i)->pass;
		granted += vcpus[0][i].grants > 0;
	}
	is(free, NR_VCPUS, "%s: every vCPU goes on", name);
	is(granted, NR_VCPUS, "%s: every thread was called", name);
	choice = NULL;
	policy(&lv_sched_rr);
	ok(!pool.fault, "%s: another policy can follow", name);
}

/* ---- what goes on around a policy ---- */

static int admits;

static int picky_admit(struct lv_pool *p)
{
	return p->nr_vcpus > 3 || p->nr_cpus < 2      ? -ENOSPC
	       : p->vms && p->vms->params.weight == 7 ? -EBUSY
						      : admits;
}

static u32 params_changed;

static void picky_params(struct lv_sched_vcpu *v)
{
	(void)v;
	params_changed++;
}

static const struct lv_sched_ops picky = {
	.name = "picky",
	.admit = picky_admit,
	.params = picky_params,
};

static void test_admit(void)
{
	struct lv_sched_params p = { .weight = 7 };
	static struct lv_sched_vm vm;
	static struct lv_sched_vcpu extra;

	setup(2, 1, 3);
	memset(&vm, 0, sizeof(vm));
	memset(&extra, 0, sizeof(extra));
	come(V(0, 0), LV_WAKE_USER);
	admits = -EPERM;
	is(lv_core_set_policy(&pool, &picky), -EPERM, "admit: not this policy");
	ok(pool.ops == &lv_sched_host, "the old one stays");
	admits = 0;
	policy(&picky);
	is(lv_core_vcpu_join(&vms[0], &extra), -ENOSPC, "admit: one too many");
	ok(vms[0].nr_vcpus == 3 && !V(0, 2)->next, "it is not there");
	settled("a vCPU too many");
	vm.vcpus = &extra;
	vm.nr_vcpus = 1;
	is(lv_core_vm_join(&pool, &vm), -ENOSPC, "admit: a VM too many");
	settled("a VM too many");

	params_changed = 0;
	is(lv_core_set_params(&vms[0], NULL, &p), -EBUSY, "admit: parameters");
	is(vms[0].params.weight, LV_WEIGHT_DEFAULT, "the VM's are as before");
	is(V(0, 1)->params.weight, LV_WEIGHT_DEFAULT, "the vCPUs', too");
	is(params_changed, 0, "nobody was told");
	p.weight = 8;
	is(lv_core_set_params(&vms[0], NULL, &p), 0, "other parameters");
	is(V(0, 2)->params.weight, 8, "all vCPUs have them");
	is(params_changed, 3, "and the policy knows");
	p.period_ns = MS;
	p.budget_ns = LV_SLICE_MIN;
	is(lv_core_set_params(&vms[0], V(0, 1), &p), 0, "those of one vCPU");
	is(params_changed, 4, "one was told");
	ok(V(0, 1)->params.period_ns && !V(0, 0)->params.period_ns &&
		   !vms[0].params.period_ns,
	   "only its own changed");

	lv_core_cpu_remove(&cpus[0].core, true);
	settled("a CPU too few");
	ok(pool.fault && pool.ops == &lv_sched_host, "thrown out: %s",
	   pool.fault ?: "no");
}

static void test_params(void)
{
	static const struct {
		const char *name;
		struct lv_sched_params p;
	} refused[] = {
		{ "weight 0", { .weight = 0 } },
		{ "weight", { .weight = LV_WEIGHT_MAX + 1 } },
		{ "cap", { .weight = 1, .cap = LV_CAP_MAX + 1 } },
		{ "budget without period", { .weight = 1, .budget_ns = MS } },
		{ "period without budget", { .weight = 1, .period_ns = MS } },
		{ "budget over period",
		  { .weight = 1, .period_ns = MS, .budget_ns = MS + 1 } },
		{ "short budget",
		  { .weight = 1,
		    .period_ns = MS,
		    .budget_ns = LV_SLICE_MIN - 1 } },
		{ "short period",
		  { .weight = 1,
		    .period_ns = LV_PERIOD_MIN - 1,
		    .budget_ns = LV_SLICE_MIN } },
		{ "long period",
		  { .weight = 1,
		    .period_ns = LV_PERIOD_MAX + 1,
		    .budget_ns = MS } },
	};
	u32 i;

	setup(1, 1, 1);
	for (i = 0; i < ARRAY_SIZE(refused); i++)
		is(lv_core_set_params(&vms[0], NULL, &refused[i].p), -EINVAL,
		   "refused: %s", refused[i].name);
	is(vms[0].params.weight, LV_WEIGHT_DEFAULT, "nothing changed");
}

static void test_cpus(void)
{
	struct lv_sched_vcpu *a, *b, *c;

	setup_choosing(3, 3);
	a = V(0, 0), b = V(0, 1), c = V(0, 2);
	c->home = &cpus[2].core;
	come(a, LV_WAKE_USER);
	come(b, LV_WAKE_USER);
	come(c, LV_WAKE_USER);
	lv_core_cpu_remove(&cpus[2].core, true);
	settled("CPU removed");
	is(c->state, LV_SCHED_READY, "its vCPU waits");
	ok(!c->home && !cpus[2].core.pool, "and has no home");
	is(vcpus[0][2].recalls, 2, "it has to leave the guest");
	lv_core_cpu_remove(&cpus[0].core, true);
	settled("CPU removed");
	lv_core_cpu_add(&pool, &cpus[2].core);
	settled("CPU added");
	ok(pool.cpus == &cpus[1].core && pool.cpus->next == &cpus[2].core,
	   "in order");
	is(pool.nr_idle, 0, "it is used at once");
	lv_core_cpu_add(&pool, &cpus[0].core);
	settled("CPU added");
	ok(pool.cpus == &cpus[0].core, "in order");
	is(pool.nr_ready, 0, "nobody waits");
	lv_core_cpu_remove(&cpus[0].core, true);
	lv_core_cpu_remove(&cpus[1].core, true);
	settled("one left");
	lv_core_cpu_remove(&cpus[2].core, true);
	settled("none left");
	ok(pool.fault, "the last CPU: %s", pool.fault ?: "no fault");
}

static void test_vms(void)
{
	u32 i;

	setup(2, 3, 2);
	policy(&lv_sched_rr);
	for (i = 0; i < 3; i++) {
		come(V(i, 0), LV_WAKE_USER);
		come(V(i, 1), LV_WAKE_USER);
	}
	settled("six on two");
	lv_core_vm_leave(&vms[1]);
	settled("one VM leaves");
	is(pool.nr_vms, 2, "two are left");
	ok(V(1, 0)->state == LV_SCHED_FREE && V(1, 0)->pass && !V(1, 0)->pool,
	   "the one that left runs as it likes");
	is(pool.nr_ready, 2, "two vCPUs wait");
	lv_core_vm_leave(&vms[0]);
	settled("the first leaves");
	is(pool.nr_ready, 0, "nobody waits");
	is(lv_core_vm_join(&pool, &vms[1]), 0, "back");
	is(V(1, 0)->state, LV_SCHED_OUT, "OUT at first");
	settled("back");
	come(V(1, 0), LV_WAKE_USER);
	is(V(1, 0)->state, LV_SCHED_READY, "and has to wait like others");
}

/* ---- everything at random ---- */

/* A policy that does anything that it may, whenever it is called. */
static struct lv_sched_vcpu *some_vcpu(void)
{
	return V(any(NR_VMS), any(NR_VCPUS));
}

static struct lv_sched_cpu *some_cpu(void)
{
	return &cpus[any(NR_CPUS)].core;
}

static void chaos(void)
{
	struct lv_sched_vcpu *v = some_vcpu();
	struct lv_sched_cpu *cpu = some_cpu();

	if (v->pool != &pool)
		return;
	switch (any(12)) {
	case 0:
		lv_sched_park(v);
		break;
	case 1:
	case 2:
		lv_sched_unpark(v);
		break;
	case 3:
		lv_sched_park_until(v, pool.now + any(2 * MS));
		break;
	case 4:
		lv_sched_requeue(v, any(10), NULL);
		break;
	case 5:
		if (cpu->pool)
			lv_sched_requeue(v, any(10), cpu);
		break;
	case 6:
		if (!any(4))
			lv_sched_resched(cpu);
		break;
	case 7:
		lv_sched_cut(cpu, pool.now + any(MS));
		break;
	case 8:
		lv_sched_timer(&pool, any(3) ? pool.now + any(5 * MS) : 0);
		break;
	case 9:
		lv_sched_charge(v);
		break;
	}
}

static void chaos_cpu(struct lv_sched_cpu *cpu)
{
	(void)cpu;
	chaos();
}

static void chaos_vcpu(struct lv_sched_vcpu *v)
{
	(void)v;
	chaos();
}

static void chaos_why(struct lv_sched_vcpu *v, u32 why)
{
	(void)why;
	v->key = any(10);
	v->slice = LV_SLICE_MIN + any(MS);
	if (!any(8))
		lv_sched_park_until(v, pool.now + any(MS));
	else if (!any(4))
		lv_sched_unpark(v);
	chaos();
}

static void chaos_charge(struct lv_sched_vcpu *v, u64 ns)
{
	(void)v;
	(void)ns;
}

static void chaos_pick(struct lv_sched_cpu *cpu)
{
	struct lv_sched_vcpu *v;

	chaos();
	v = lv_sched_first(cpu);
	if (any(5))
		lv_sched_choose(cpu, v,
				any(9) ? LV_SLICE_MIN + any(5 * MS)
				       : LV_SLICE_FOREVER);
}

static bool chaos_two(struct lv_sched_vcpu *a, struct lv_sched_vcpu *b)
{
	(void)a;
	(void)b;
	return any(2);
}

static void chaos_migrate(struct lv_sched_vcpu *v, struct lv_sched_cpu *to)
{
	(void)v;
	(void)to;
	chaos();
}

static void chaos_pool(struct lv_pool *p)
{
	(void)p;
	chaos();
}

static void chaos_vm(struct lv_sched_vm *vm)
{
	(void)vm;
	chaos();
}

static int chaos_admit(struct lv_pool *p)
{
	(void)p;
	return any(4) ? 0 : -EBUSY;
}

static const struct lv_sched_ops chaotic = {
	.name = "chaotic",
	.admit = chaos_admit,
	.cpu_add = chaos_cpu,
	.cpu_remove = chaos_cpu,
	.vm_join = chaos_vm,
	.vm_leave = chaos_vm,
	.vcpu_join = chaos_vcpu,
	.vcpu_leave = chaos_vcpu,
	.params = chaos_vcpu,
	.wake = chaos_why,
	.stop = chaos_why,
	.charge = chaos_charge,
	.pick = chaos_pick,
	.preempts = chaos_two,
	.yield = chaos_two,
	.migrate = chaos_migrate,
	.timer = chaos_pool,
	.release = chaos_vcpu,
};

static void random_cpu(void)
{
	struct lv_sched_cpu *cpu = some_cpu();

	if (!cpu->pool)
		lv_core_cpu_add(&pool, cpu);
	else if (pool.nr_cpus > 1)
		lv_core_cpu_remove(cpu, true);
}

static void random_vm(void)
{
	struct lv_sched_vm *vm = &vms[any(NR_VMS)];

	if (vm->pool)
		lv_core_vm_leave(vm);
	else
		lv_core_vm_join(&pool, vm);
}

static void random_params(void)
{
	struct lv_sched_params p = {
		.weight = 1 + any(1000),
		.cap = any(2) ? any(300) : 0,
		.group = any(3),
	};
	u32 vm = any(NR_VMS);

	if (!vms[vm].pool)
		return;
	if (any(2)) {
		p.period_ns = MS * (1 + any(20));
		p.budget_ns = p.period_ns / (2 + any(10));
	}
	lv_core_set_params(&vms[vm], any(2) ? NULL : V(vm, any(NR_VCPUS)), &p);
}

static void random_policy(void)
{
#define OPS(name) &lv_sched_##name,
	static const struct lv_sched_ops *const all[] = { LV_POLICIES(OPS) &
							  chaotic };

	lv_core_set_policy(&pool, all[any(ARRAY_SIZE(all))]);
}

static void random_thread(void)
{
	struct lv_sched_vcpu *v = some_vcpu();

	if (!v->pool)
		return;
	if (v->state == LV_SCHED_OUT && any(2))
		lv_core_ready(v, any(LV_WAKE_SWITCH));
	else if (v->state == LV_SCHED_RUNNING && v->absent != LV_HERE)
		lv_core_arrive(v);
	else if (v->state == LV_SCHED_RUNNING && v->cpu->resched && any(2))
		lv_core_stop(v, v->cpu->resched);
	else if (v->state == LV_SCHED_RUNNING && any(3))
		lv_core_absent(v, LV_IN_USER + any(3));
	else if (v->state == LV_SCHED_RUNNING && any(2))
		lv_core_yield(v, any(2) ? NULL : some_vcpu());
	else
		lv_core_stop(v, 1 + any(LV_NR_STOPS - 1));
}

static void random_timers(void)
{
	u32 i;

	for (i = 0; i < NR_CPUS; i++)
		if (cpus[i].core.pool && cpus[i].timer &&
		    cpus[i].timer <= pool.now) {
			cpus[i].timer = 0;
			lv_core_cpu_timer(&cpus[i].core);
		}
	if (pool_timer && pool_timer <= pool.now) {
		pool_timer = 0;
		lv_core_pool_timer(&pool);
	}
}

/* All time since it joined has to be somewhere. */
static const char *times_broken(void)
{
	u32 i, j, t;

	for (i = 0; i < NR_VMS; i++) {
		for (j = 0; j < NR_VCPUS; j++) {
			struct vcpu *v = &vcpus[i][j];
			u64 sum = 0;

			for (t = 0; t < LV_NR_TIMES; t++)
				sum += v->core.time[t];
			if (v->core.state == LV_SCHED_FREE) {
				v->joined = 0;
				continue;
			}
			lv_sched_charge(&v->core);
			for (t = 0, sum = 0; t < LV_NR_TIMES; t++)
				sum += v->core.time[t];
			if (!v->joined) {
				v->joined = pool.now;
				v->time_before = sum;
			}
			if (sum - v->time_before != pool.now - v->joined)
				return "time got lost or was counted twice";
		}
	}
	return NULL;
}

/* rr leaves no CPU idle that somebody could have. */
static const char *rr_broken(void)
{
	struct lv_sched_cpu *cpu;

	if (pool.ops == &lv_sched_rr)
		lv_for_each_pool_cpu(cpu, &pool)
			if (!cpu->curr && lv_sched_first(cpu))
				return "a CPU is idle, and a vCPU waits";
	return NULL;
}

static void test_random(u64 from)
{
	const char *broken = NULL;
	u32 step, faults = 0;

	setup(NR_CPUS, NR_VMS, NR_VCPUS);
	seed = from;
	for (step = 0; step < 60000 && !broken; step++) {
		u32 what = any(1000);

		pool.now += any(4) ? any(200000) : 0;
		if (what < 5)
			random_cpu();
		else if (what < 10)
			random_vm();
		else if (what < 15)
			random_params();
		else if (what < 20)
			random_policy();
		else if (what < 400)
			random_timers();
		else
			random_thread();
		if (lv_core_settle(&pool))
			faults++;
		broken = sched_broken(&pool) ?: times_broken() ?: rr_broken();
	}
	ok(!broken, "random, seed %llu: all in order%s%s (step %u, %u faults)",
	   (unsigned long long)from, broken ? ": " : "", broken ?: "", step,
	   faults);
}

int main(void)
{
	u32 i;

	test_queue();
	test_states();
	test_yield();
	test_absent();
	test_way();
	test_steal();
	test_parked();
	test_homes();
	test_preempts();
	test_cut();
	for (i = 0; i < NR_WRONGS; i++)
		test_wrong(i);
	test_admit();
	test_params();
	test_cpus();
	test_vms();
	for (i = 1; i <= 20; i++)
		test_random(i);
	return tap_done();
}
