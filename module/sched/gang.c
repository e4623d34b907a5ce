// SPDX-License-Identifier: GPL-2.0-only
/*
 * gang: all vCPUs of a gang run at the same time, or none of them does.
 *
 * The vCPUs of a VM with the same group are a gang. While it is not its turn they
 * are parked. A gang gets as many CPUs as it has vCPUs, and starts when those are
 * free, all in one moment; CPUs are left idle meanwhile. The CPU of a vCPU that
 * halts stays reserved, so that it can go on at once beside its siblings.
 *
 * Gangs take turns, in the order in which they came, for the pool's slice; gangs
 * that fit run side by side. A gang with more vCPUs than the pool has CPUs gets
 * the whole pool, and its vCPUs take turns there: the best that can be done.
 *
 * The gang's data are those of its first vCPU, the leader.
 */
#include "policies.h"

struct gang_list {
	struct lv_sched_vcpu *first, *last;
};

struct gang_pool {
	struct gang_list waiting, active;
	u32 reserved; /* CPUs of active gangs */
	u32 leaving; /* CPUs whose vCPU is of a gang that is not active any more */
};

enum gang_state {
	GANG_IDLE, /* none of its vCPUs wants to run */
	GANG_WAITING,
	GANG_ACTIVE, /* none is parked; in any other state all are */
};

struct gang_vcpu {
	struct lv_sched_vcpu *leader;
	u32 group;
	bool wants; /* to run */
	bool leaving; /* its CPU */
	/* of the gang */
	u8 state;
	u8 size, want; /* vCPUs, those that want to run; 255 at most */
	u8 first; /* who comes first, if not all fit */
	struct lv_sched_vcpu *next, *prev;
	u32 reserved; /* CPUs */
	u64 until; /* when its slice ends */
};

static struct gang_pool *gang_pool(struct lv_pool *pool)
{
	return lv_sched_priv(pool, struct gang_pool);
}

static struct gang_vcpu *gang_vcpu(struct lv_sched_vcpu *v)
{
	return lv_sched_priv(v, struct gang_vcpu);
}

/* ---- lists of gangs ---- */

static void gang_append(struct gang_list *list, struct lv_sched_vcpu *gang)
{
	struct gang_vcpu *g = gang_vcpu(gang);

	g->next = NULL;
	g->prev = list->last;
	if (g->prev)
		gang_vcpu(g->prev)->next = gang;
	else
		list->first = gang;
	list->last = gang;
}

static void gang_unlink(struct gang_list *list, struct lv_sched_vcpu *gang)
{
	struct gang_vcpu *g = gang_vcpu(gang);

	if (g->prev)
		gang_vcpu(g->prev)->next = g->next;
	else
		list->first = g->next;
	if (g->next)
		gang_vcpu(g->next)->prev = g->prev;
	else
		list->last = g->prev;
}

/* ---- a gang comes and goes ---- */

static void gang_leaves(struct lv_sched_vcpu *v, bool leaving)
{
	struct gang_vcpu *mine = gang_vcpu(v);

	gang_pool(v->pool)->leaving += leaving - mine->leaving;
	mine->leaving = leaving;
}

static u32 gang_needs(struct lv_pool *pool, struct lv_sched_vcpu *gang)
{
	return min_t(u32, gang_vcpu(gang)->size, pool->nr_cpus);
}

/* The members from the @from-th to before the @to-th. */
static void gang_unpark(struct lv_sched_vcpu *gang, u32 from, u32 to)
{
	struct lv_sched_vcpu *v;
	u32 nr = 0;

	lv_for_each_vm_vcpu(v, gang->vm) {
		if (gang_vcpu(v)->leader != gang)
			continue;
		if (nr >= from && nr < to)
			lv_sched_unpark(v);
		nr++;
	}
}

static void gang_begin(struct lv_sched_vcpu *gang)
{
	struct gang_pool *p = gang_pool(gang->pool);
	struct gang_vcpu *g = gang_vcpu(gang);

	gang_unlink(&p->waiting, gang);
	gang_append(&p->active, gang);
	g->state = GANG_ACTIVE;
	g->reserved = gang_needs(gang->pool, gang);
	g->until = gang->pool->now + gang->pool->slice;
	p->reserved += g->reserved;
	if (g->size > g->reserved) /* else each has the CPU that it had */
		g->first = (g->first + 1) % g->size;
	gang_unpark(gang, g->first, g->size);
	gang_unpark(gang, 0, g->first);
}

/* Whatever it is doing: it has no turn, and waits for one if it wants it. */
static void gang_end(struct lv_sched_vcpu *gang)
{
	struct gang_pool *p = gang_pool(gang->pool);
	struct gang_vcpu *g = gang_vcpu(gang);
	struct lv_sched_vcpu *v;

	if (g->state == GANG_WAITING)
		gang_unlink(&p->waiting, gang);
	if (g->state == GANG_ACTIVE) {
		gang_unlink(&p->active, gang);
		p->reserved -= g->reserved;
		lv_for_each_vm_vcpu(v, gang->vm) {
			if (gang_vcpu(v)->leader != gang)
				continue;
			if (v->state == LV_SCHED_RUNNING)
				gang_leaves(v, true);
			lv_sched_park(v);
		}
	}
	g->state = GANG_IDLE;
	if (!g->want)
		return;
	g->state = GANG_WAITING;
	gang_append(&p->waiting, gang);
}

/* Whose turn is it? */
static void gang_turn(struct lv_pool *pool)
{
	struct gang_pool *p = gang_pool(pool);
	u32 needs = 0;

	while (p->waiting.first) {
		needs = gang_needs(pool, p->waiting.first);
		if (p->reserved + p->leaving + needs > pool->nr_cpus)
			break;
		gang_begin(p->waiting.first);
	}
	/* If CPUs are only being left, stop() will ask again. */
	if (p->waiting.first && p->reserved + needs > pool->nr_cpus)
		lv_sched_timer(pool, gang_vcpu(p->active.first)->until);
	else
		lv_sched_timer(pool, 0);
}

static void gang_timer(struct lv_pool *pool)
{
	struct gang_pool *p = gang_pool(pool);

	while (p->waiting.first && p->active.first &&
	       gang_vcpu(p->active.first)->until <= pool->now &&
	       p->reserved + gang_needs(pool, p->waiting.first) > pool->nr_cpus)
		gang_end(p->active.first);
	gang_turn(pool);
}

/* ---- who belongs to which gang ---- */

static void gang_join(struct lv_sched_vcpu *v)
{
	struct gang_vcpu *mine = gang_vcpu(v);
	struct lv_sched_vcpu *leader = v->vm->vcpus;

	while (leader != v && (gang_vcpu(leader)->leader != leader ||
			       gang_vcpu(leader)->group != v->params.group))
		leader = leader->next;
	mine->group = v->params.group;
	mine->leader = leader;
	if (gang_vcpu(leader)->state == GANG_ACTIVE)
		gang_end(leader);
	gang_vcpu(leader)->size++;
	lv_sched_park(v);
}

static void gang_wants(struct lv_sched_vcpu *v, bool wants)
{
	struct gang_vcpu *mine = gang_vcpu(v);

	gang_vcpu(mine->leader)->want += wants - mine->wants;
	mine->wants = wants;
}

/* The gang of a leader that goes is that of the next one. */
static void gang_hand_over(struct lv_sched_vcpu *leader)
{
	struct gang_vcpu *old = gang_vcpu(leader);
	struct lv_sched_vcpu *v, *heir = NULL;

	lv_for_each_vm_vcpu(v, leader->vm) {
		if (gang_vcpu(v)->leader != leader)
			continue;
		heir = heir ?: v;
		gang_vcpu(v)->leader = heir;
	}
	if (!heir)
		return;
	gang_vcpu(heir)->size = old->size;
	gang_vcpu(heir)->want = old->want;
	gang_end(heir);
}

static void gang_leave(struct lv_sched_vcpu *v)
{
	struct lv_sched_vcpu *leader = gang_vcpu(v)->leader;
	struct gang_vcpu *g = gang_vcpu(leader);
	u8 want;

	gang_leaves(v, false);
	gang_wants(v, false);
	g->size--;
	want = g->want;
	if (leader == v)
		g->want = 0;
	gang_end(leader);
	g->want = want;
	gang_vcpu(v)->leader = NULL;
	if (leader == v)
		gang_hand_over(v);
}

/* Groups changed: all gangs of the VM are made anew. */
static void gang_params(struct lv_sched_vcpu *changed)
{
	struct lv_sched_vm *vm = changed->vm;
	struct lv_sched_vcpu *v;

	if (gang_vcpu(changed)->group == changed->params.group)
		return;
	lv_for_each_vm_vcpu(v, vm) {
		gang_vcpu(gang_vcpu(v)->leader)->want = 0;
		gang_end(gang_vcpu(v)->leader);
	}
	lv_for_each_vm_vcpu(v, vm) {
		gang_vcpu(v)->leader = NULL;
		gang_vcpu(v)->size = 0;
		gang_vcpu(v)->wants = false;
	}
	lv_for_each_vm_vcpu(v, vm) {
		gang_join(v);
		gang_wants(v, v->state >= LV_SCHED_READY);
		gang_end(gang_vcpu(v)->leader);
	}
	gang_turn(vm->pool);
}

static void gang_vm_leave(struct lv_sched_vm *vm)
{
	gang_turn(vm->pool);
}

/* ---- vCPUs wake up and stop ---- */

static void gang_wake(struct lv_sched_vcpu *v, u32 why)
{
	struct lv_sched_vcpu *gang = gang_vcpu(v)->leader;
	struct gang_vcpu *g = gang_vcpu(gang);
	/* A CPU that went was its own, and others are leaving theirs still. */
	bool lost = g->state == GANG_ACTIVE && g->size <= g->reserved &&
		    !v->pool->nr_idle;

	gang_wants(v, true);
	if (g->state != GANG_IDLE && !lost)
		return;
	gang_end(gang);
	gang_turn(v->pool);
}

static void gang_stop(struct lv_sched_vcpu *v, u32 why)
{
	struct lv_sched_vcpu *gang = gang_vcpu(v)->leader;
	bool lost = why == LV_STOP_PREEMPT && !gang_vcpu(v)->leaving;

	gang_leaves(v, false);
	if (v->state != LV_SCHED_READY)
		gang_wants(v, false);
	if (lost || !gang_vcpu(gang)->want)
		gang_end(gang);
	/* The CPU itself is going: who is next, cpu_remove() says. */
	if (lost)
		lv_sched_timer(v->pool, v->pool->now + LV_SLICE_MIN);
	else
		gang_turn(v->pool);
}

/*
 * The one of the gang that had the CPU before, or else @first: the threads of two
 * that change places would wait for each other to make way.
 */
static struct lv_sched_vcpu *gang_back(struct lv_sched_cpu *cpu,
				       struct lv_sched_vcpu *first)
{
	struct lv_sched_vcpu *v;

	lv_for_each_vm_vcpu(v, first->vm)
		if (v->cpu == cpu && v->state == LV_SCHED_READY && !v->parked &&
		    gang_vcpu(v)->leader == gang_vcpu(first)->leader)
			return v;
	return first;
}

static void gang_pick(struct lv_sched_cpu *cpu)
{
	struct lv_sched_vcpu *v = lv_sched_first(cpu);
	u64 slice = LV_SLICE_FOREVER;
	u32 size;

	if (!v)
		return;
	size = gang_vcpu(gang_vcpu(v)->leader)->size;
	if (size > cpu->pool->nr_cpus) /* one turn for each */
		slice = max(div_u64(cpu->pool->slice * cpu->pool->nr_cpus,
				    size),
			    LV_SLICE_MIN);
	else
		v = gang_back(cpu, v);
	lv_sched_choose(cpu, v, slice);
}

/* ---- CPUs ---- */

/* A gang that is too large gets each CPU that there is. */
static void gang_cpu_add(struct lv_sched_cpu *cpu)
{
	struct gang_pool *p = gang_pool(cpu->pool);
	struct lv_sched_vcpu *gang = p->active.first;

	if (gang && gang_vcpu(gang)->size > gang_vcpu(gang)->reserved) {
		gang_vcpu(gang)->reserved++;
		p->reserved++;
	}
	gang_turn(cpu->pool);
}

static void gang_cpu_remove(struct lv_sched_cpu *cpu)
{
	struct gang_pool *p = gang_pool(cpu->pool);

	while (p->reserved > cpu->pool->nr_cpus)
		gang_end(p->active.last);
	gang_turn(cpu->pool);
}

static int gang_dump(struct lv_sched_vcpu *v, char *buf, u32 size)
{
	struct gang_vcpu *g = gang_vcpu(gang_vcpu(v)->leader);
	static const char *const states[] = { "idle", "waits", "runs" };

	return snprintf(buf, size, "gang of %u, %u want to run: %s", g->size,
			g->want, states[g->state]);
}

const struct lv_sched_ops lv_sched_gang = {
	.name = "gang",
	.cpu_add = gang_cpu_add,
	.cpu_remove = gang_cpu_remove,
	.vm_leave = gang_vm_leave,
	.vcpu_join = gang_join,
	.vcpu_leave = gang_leave,
	.params = gang_params,
	.wake = gang_wake,
	.stop = gang_stop,
	.pick = gang_pick,
	.timer = gang_timer,
	.dump = gang_dump,
};
