// SPDX-License-Identifier: GPL-2.0-only
/*
 * A queue: a pairing heap of vCPUs, smallest rank first, equal ranks in the
 * order in which they came. Nothing is allocated, adding costs a constant,
 * taking one out O(log n) on average (Fredman, Sedgewick, Sleator, Tarjan: The
 * Pairing Heap, 1986).
 *
 * @child is the first of a node's children, which are linked by @sibling; @link
 * is the pointer that points to the node. @queue is NULL if it is in none. A
 * policy may write a vCPU's key and home at any time: the queue has copies.
 */
#include "core.h"

static bool lv_before(const struct lv_sched_vcpu *a,
		      const struct lv_sched_vcpu *b)
{
	return a->rank != b->rank ? a->rank < b->rank : a->seq < b->seq;
}

static void lv_set_link(struct lv_sched_vcpu **link, struct lv_sched_vcpu *v)
{
	*link = v;
	if (v)
		v->link = link;
}

/* Two heaps become one. Neither is linked to anything, nor has a sibling. */
static struct lv_sched_vcpu *lv_meld(struct lv_sched_vcpu *a,
				     struct lv_sched_vcpu *b)
{
	struct lv_sched_vcpu *top, *low;

	if (!a || !b)
		return a ?: b;
	top = lv_before(a, b) ? a : b;
	low = top == a ? b : a;
	lv_set_link(&low->sibling, top->child);
	lv_set_link(&top->child, low);
	return top;
}

/* A list of heaps becomes one: in pairs, and then the pairs from the back. */
static struct lv_sched_vcpu *lv_meld_list(struct lv_sched_vcpu *list)
{
	struct lv_sched_vcpu *a, *b, *pairs = NULL, *all = NULL;

	while (list) {
		a = list;
		b = a->sibling;
		list = b ? b->sibling : NULL;
		a->sibling = NULL;
		if (b)
			b->sibling = NULL;
		a = lv_meld(a, b);
		a->sibling = pairs;
		pairs = a;
	}
	while (pairs) {
		a = pairs;
		pairs = a->sibling;
		a->sibling = NULL;
		all = lv_meld(all, a);
	}
	return all;
}

/** lv_queue_add - @v, which is in no queue, goes behind all with its @rank */
void lv_queue_add(struct lv_ready_queue *q, struct lv_sched_vcpu *v, u64 rank)
{
	v->queue = q;
	v->rank = rank;
	v->seq = ++v->pool->seq;
	v->child = NULL;
	v->sibling = NULL;
	lv_set_link(&q->first, lv_meld(q->first, v));
}

/** lv_queue_del - take @v out of the queue that it is in */
void lv_queue_del(struct lv_sched_vcpu *v)
{
	struct lv_ready_queue *q = v->queue;

	lv_set_link(v->link, v->sibling);
	lv_set_link(&q->first, lv_meld(q->first, lv_meld_list(v->child)));
	v->child = NULL;
	v->sibling = NULL;
	v->link = NULL;
	v->queue = NULL;
}
