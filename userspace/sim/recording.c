// SPDX-License-Identifier: GPL-2.0-only
/*
 * A recording of 'labvisor sched record' as a scenario: each vCPU does what it
 * did then, in the same order, as if it were alone with its CPU.
 *
 * What it did is the time that it ran, until it halted, yielded or was away, and
 * for how long it was so. How long it waited for a CPU was the policy's doing,
 * and is left out.
 */
#include <stdlib.h>

#include "../sched/trace.h"
#include "sim.h"

/* The guest ran on when it had lost its CPU: one burst. */
static void add_run(struct sim_script *script, const struct span *span)
{
	u64 ns = span->end - span->start;
	struct sim_step *last = script->nr ? &script->steps[script->nr - 1]
					   : NULL;

	if (last && last->what == 'r')
		last->ns += ns;
	else
		sim_add_step(script,
			     (struct sim_step){ .what = 'r', .ns = ns });
	if (span->why == STOP_YIELD)
		sim_add_step(script, (struct sim_step){ .what = 'y' });
}

static void add_span(struct sim_script *script, const struct span *span)
{
	struct sim_step step = { .ns = span->end - span->start };

	switch (span->state) {
	case SPAN_RUN:
		add_run(script, span);
		break;
	case SPAN_BLOCKED:
		step.what = 'h';
		step.why = span->why;
		sim_add_step(script, step);
		break;
	case SPAN_OUT:
		step.what = 'u';
		sim_add_step(script, step);
		break;
	}
}

/* A vCPU of which nothing is known sleeps. */
static void add_vcpu(struct sim_vm_config *vm, const struct trace *trace,
		     const struct traced_vcpu *v)
{
	u32 index = v - (struct traced_vcpu *)trace->vcpus.items;
	struct sim_script *script = sim_new_script(vm);
	struct span *span;

	for_each_item(span, &trace->spans)
	{
		if (span->vcpu == index)
			add_span(script, span);
	}
	if (!script->nr)
		sim_add_step(script, (struct sim_step){ .what = 'h' });
	if (!vm->period) {
		vm->period = v->period;
		vm->budget = v->budget;
	}
}

static void add_vm(struct sim_config *config, const struct trace *trace,
		   const struct traced_vm *traced)
{
	struct sim_vm_config *vm = sim_new_vm(config);
	struct traced_vcpu *v;

	snprintf(vm->name, sizeof(vm->name), "vm%u", traced->id);
	vm->weight = traced->weight;
	vm->cap = traced->cap;
	for_each_item(v, &trace->vcpus)
	{
		if (v->vm == traced->id)
			add_vcpu(vm, trace, v);
	}
	vm->vcpus = vm->nr_scripts;
}

static bool was_scheduled(const struct trace *trace, const struct traced_vm *vm)
{
	struct traced_vcpu *v;

	for_each_item(v, &trace->vcpus)
	{
		if (v->vm == vm->id && v->times[SPAN_RUN])
			return true;
	}
	return false;
}

static u32 count_cpus(const struct trace *trace)
{
	bool used[UINT16_MAX + 1] = { 0 };
	struct span *span;
	u32 nr = 0;

	for_each_item(span, &trace->spans)
	{
		if (span->state != SPAN_RUN)
			continue;
		nr += !used[span->cpu];
		used[span->cpu] = true;
	}
	return nr;
}

static const char *set(struct sim_config *config, const char *key, u64 n,
		       const char *unit)
{
	char text[32];

	snprintf(text, sizeof(text), "%llu%s", (unsigned long long)n, unit);
	return sim_set(config, key, text);
}

/* As many CPUs as were used, for as long, and the slice of the pool. */
static const char *load_frame(struct sim_config *config,
			      const struct trace *trace)
{
	struct traced_pool *pool;
	const char *wrong;

	wrong = set(config, "cpus", count_cpus(trace), "");
	if (!wrong)
		wrong = set(config, "time", trace->end - trace->start, "ns");
	for_each_item(pool, &trace->pools)
	{
		if (!wrong && pool->id && pool->slice)
			wrong = set(config, "slice", pool->slice, "ns");
	}
	return wrong;
}

const char *sim_load_recording(struct sim_config *config, const char *path)
{
	struct traced_vm *vm;
	struct trace trace;

	trace_read(&trace, path);
	if (trace.lost)
		warn_user("%s: events were lost, and bursts are longer for it",
			  path);
	for_each_item(vm, &trace.vms)
	{
		if (was_scheduled(&trace, vm))
			add_vm(config, &trace, vm);
	}
	if (!config->nr_vms)
		return "no vCPU was scheduled in it";
	return load_frame(config, &trace);
}
