// SPDX-License-Identifier: GPL-2.0-only
/* Read a recording, and follow each vCPU through it. */
#include <errno.h>
#include <event-parse.h>
#include <stdlib.h>
#include <string.h>
#include <trace-cmd.h>
#include <unistd.h>

#include "trace.h"

/* What lv_sched tells of: enum lv_sched_event in the module. */
enum {
	EVENT_WAKE,
	EVENT_RUN,
	EVENT_STOP,
	EVENT_PARK,
};

#define MISS_TOLERANCE 10000 /* ns of the budget: rounding, and the timer */

const char *const span_names[NR_SPAN_STATES] = {
	"", "run", "ready", "parked", "blocked", "out",
};

/** list_add() - one more item, zeroed; pointers to others become invalid. */
void *list_add(struct list *list, size_t size)
{
	if (list->nr == list->room) {
		list->room = list->room ? 2 * list->room : 64;
		list->items = reallocarray(list->items, list->room, size);
		if (!list->items)
			die(EXIT_HOST, "out of memory");
	}
	return memset((char *)list->items + size * list->nr++, 0, size);
}

/** trace_vm() - the VM of that number, or NULL. */
struct traced_vm *trace_vm(const struct trace *trace, u32 id)
{
	struct traced_vm *vm;

	for_each_item(vm, &trace->vms) if (vm->id == id) return vm;
	return NULL;
}

static struct traced_vm *get_vm(struct trace *trace, u32 id, u32 pool)
{
	struct traced_vm *vm = trace_vm(trace, id);

	if (!vm) {
		vm = list_add(&trace->vms, sizeof(*vm));
		vm->id = id;
		vm->weight = 256;
	}
	vm->pool = pool;
	return vm;
}

static struct traced_vcpu *get_vcpu(struct trace *trace, u32 vm, u32 id)
{
	struct traced_vcpu *v;

	for_each_item(v,
		      &trace->vcpus) if (v->vm == vm && v->id == id) return v;
	v = list_add(&trace->vcpus, sizeof(*v));
	v->vm = vm;
	v->id = id;
	return v;
}

static struct traced_pool *get_pool(struct trace *trace, u32 id)
{
	struct traced_pool *pool;

	for_each_item(pool, &trace->pools) if (pool->id == id) return pool;
	pool = list_add(&trace->pools, sizeof(*pool));
	pool->id = id;
	snprintf(pool->name, sizeof(pool->name), "%u", id);
	return pool;
}

/* ---- deadlines ---- */

static bool is_runnable(const struct traced_vcpu *v)
{
	return v->now.state == SPAN_RUN || v->now.state == SPAN_READY ||
	       v->now.state == SPAN_PARKED;
}

/* What it ran in its present period, until @at. */
static void count_run(struct traced_vcpu *v, u64 at)
{
	u64 from = v->now.start > v->release ? v->now.start : v->release;

	if (v->now.state == SPAN_RUN && at > from)
		v->got += at - from;
}

/*
 * A period begins when the vCPU wakes up, or with the end of the one before. It
 * is missed if at its end the vCPU wants to run still, and had less than its
 * budget. One that is parked has spent its budget, maybe long before.
 */
static void pass_time(struct traced_vcpu *v, u64 now)
{
	while (v->period && v->release && now >= v->release + v->period) {
		count_run(v, v->release + v->period);
		v->periods++;
		v->misses += is_runnable(v) && v->now.state != SPAN_PARKED &&
			     v->got + MISS_TOLERANCE < v->budget;
		v->got = 0;
		v->release = is_runnable(v) ? v->release + v->period : 0;
	}
}

/* ---- states ---- */

static void change(struct trace *trace, struct traced_vcpu *v, u64 now,
		   enum span_state state, u32 why)
{
	struct span *span;

	pass_time(v, now);
	if (v->release)
		count_run(v, now);
	if (v->now.state && now > v->now.start) {
		v->times[v->now.state] += now - v->now.start;
		span = list_add(&trace->spans, sizeof(*span));
		*span = v->now;
		span->end = now;
		span->why = why;
		span->vcpu = v - (struct traced_vcpu *)trace->vcpus.items;
	}
	/* What it ran is counted up to now. */
	v->now.start = now;
	v->now.state = state;
}

static enum span_state state_ready(const struct traced_vcpu *v)
{
	return v->parked ? SPAN_PARKED : SPAN_READY;
}

static void woken(struct trace *trace, struct traced_vcpu *v, u64 now, u32 why)
{
	change(trace, v, now, state_ready(v), why);
	if (v->asleep)
		v->woken_at = now;
	v->asleep = false;
	if (v->period && !v->release) {
		v->release = now;
		v->got = 0;
	}
}

static void got_cpu(struct trace *trace, struct traced_vcpu *v, u64 now,
		    u32 cpu)
{
	change(trace, v, now, SPAN_RUN, 0);
	if (v->woken_at)
		*(__u64 *)list_add(&v->latencies, sizeof(u64)) =
			now - v->woken_at;
	v->woken_at = 0;
	v->migrations += v->runs && v->now.cpu != cpu;
	v->runs++;
	v->now.cpu = cpu;
	if (cpu >= trace->nr_cpus)
		trace->nr_cpus = cpu + 1;
}

static void stopped(struct trace *trace, struct traced_vcpu *v, u64 now,
		    u32 why)
{
	enum span_state state = SPAN_OUT;

	if (why <= STOP_YIELD)
		state = state_ready(v);
	else if (why == STOP_BLOCK)
		state = SPAN_BLOCKED;
	v->asleep = state == SPAN_BLOCKED;
	v->woken_at = 0;
	change(trace, v, now, state, why);
}

/* A policy that holds a vCPU back for its budget lets go with a new period. */
static void parked(struct trace *trace, struct traced_vcpu *v, u64 now, bool on)
{
	v->parked = on;
	if (v->now.state == SPAN_READY || v->now.state == SPAN_PARKED)
		change(trace, v, now, state_ready(v), 0);
	if (on || !v->period)
		return;
	v->periods += v->release && now > v->release + v->period / 2;
	v->release = now;
	v->got = 0;
}

/* ---- our lines of JSON ---- */

static u64 json_number(struct json_object *object, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value)
		       ? json_object_get_uint64(value)
		       : 0;
}

static const char *json_text(struct json_object *object, const char *key)
{
	struct json_object *value;

	return json_object_object_get_ex(object, key, &value)
		       ? json_object_get_string(value)
		       : "";
}

static bool has_key(struct json_object *object, const char *key)
{
	return json_object_object_get_ex(object, key, NULL);
}

/* Until the first event of a vCPU, its state is what it was at the beginning. */
static void learn_vcpu(struct trace *trace, struct json_object *object, u64 now)
{
	static const u8 states[] = { SPAN_NONE, SPAN_OUT, SPAN_READY,
				     SPAN_RUN };
	u64 state = json_number(object, "state");
	struct traced_vcpu *v = get_vcpu(trace, json_number(object, "vm"),
					 json_number(object, "vcpu"));

	v->tid = json_number(object, "tid") ?: (u64)v->tid;
	v->period = json_number(object, "period");
	v->budget = json_number(object, "budget");
	if (v->now.start || state >= ARRAY_SIZE(states))
		return;
	v->parked = json_number(object, "parked");
	v->now.start = now;
	v->now.state = states[state];
	if (v->now.state == SPAN_READY)
		v->now.state = state_ready(v);
	v->now.cpu = json_number(object, "cpu");
	if (v->now.state == SPAN_RUN && v->now.cpu >= trace->nr_cpus)
		trace->nr_cpus = v->now.cpu + 1;
}

static void learn_vm(struct trace *trace, struct json_object *object)
{
	struct traced_vm *vm = get_vm(trace, json_number(object, "vm"),
				      json_number(object, "pool"));

	vm->weight = json_number(object, "weight");
	vm->cap = json_number(object, "cap");
	snprintf(vm->command, sizeof(vm->command), "%s",
		 json_text(object, "command"));
}

static void learn_pool(struct trace *trace, struct json_object *object)
{
	struct traced_pool *pool = get_pool(trace, json_number(object, "pool"));

	snprintf(pool->name, sizeof(pool->name), "%s",
		 json_text(object, "name"));
	snprintf(pool->policy, sizeof(pool->policy), "%s",
		 json_text(object, "policy"));
	snprintf(pool->cpus, sizeof(pool->cpus), "%s",
		 json_text(object, "cpus"));
	pool->slice = json_number(object, "slice");
}

static void learn_exits(struct trace *trace, struct json_object *object)
{
	struct json_object *names, *name;
	size_t i;

	if (!json_object_object_get_ex(object, "names", &names))
		return;
	for (i = 0; i < LV_INFO_EXITS; i++) {
		name = json_object_array_get_idx(names, i);
		snprintf(trace->exits[i], LV_NAME_LEN, "%s",
			 name ? json_object_get_string(name) : "");
	}
}

static void learn(struct trace *trace, const char *line, u64 now)
{
	struct json_object *object;

	if (strncmp(line, TRACE_MARK, strlen(TRACE_MARK)))
		return;
	object = json_tokener_parse(line + strlen(TRACE_MARK));
	if (!object)
		return;
	if (has_key(object, "vcpu"))
		learn_vcpu(trace, object, now);
	else if (has_key(object, "vm"))
		learn_vm(trace, object);
	else if (has_key(object, "pool"))
		learn_pool(trace, object);
	else if (has_key(object, "exits"))
		learn_exits(trace, object);
	json_object_put(object);
}

/* ---- events ---- */

/* struct reader - what the callback of the library needs */
struct reader {
	struct trace *trace;
	struct tep_handle *tep;
	struct tep_event *event;
	struct tep_record *record;
};

static u64 field(const struct reader *r, const char *name)
{
	unsigned long long value = 0;

	tep_get_field_val(NULL, r->event, name, r->record, &value, 0);
	return value;
}

static void read_sched(struct reader *r)
{
	struct trace *trace = r->trace;
	u64 now = r->record->ts, arg = field(r, "arg");
	struct traced_vcpu *v;

	get_pool(trace, field(r, "pool"));
	get_vm(trace, field(r, "vm"), field(r, "pool"));
	v = get_vcpu(trace, field(r, "vm"), field(r, "vcpu"));
	switch (field(r, "event")) {
	case EVENT_WAKE:
		woken(trace, v, now, arg);
		break;
	case EVENT_RUN:
		got_cpu(trace, v, now, field(r, "cpu"));
		break;
	case EVENT_STOP:
		stopped(trace, v, now, arg);
		break;
	case EVENT_PARK:
		parked(trace, v, now, arg);
		break;
	}
}

/* Entries and exits come from the vCPU's thread. */
static struct traced_vcpu *vcpu_of_thread(struct reader *r)
{
	int tid = tep_data_pid(r->tep, r->record);
	struct traced_vcpu *v;

	for_each_item(v, &r->trace->vcpus) if (v->tid == tid) return v;
	return NULL;
}

static void read_exit(struct reader *r)
{
	struct traced_vcpu *v = vcpu_of_thread(r);
	u64 reason = field(r, "reason");

	if (!v || reason >= LV_INFO_EXITS)
		return;
	v->exits++;
	v->reasons[reason]++;
	v->gap.start = r->record->ts;
	v->gap.reason = reason;
}

static void read_entry(struct reader *r)
{
	struct traced_vcpu *v = vcpu_of_thread(r);
	struct gap *gap;

	if (!v || !v->gap.start)
		return;
	gap = list_add(&r->trace->gaps, sizeof(*gap));
	*gap = v->gap;
	gap->end = r->record->ts;
	gap->vcpu = v - (struct traced_vcpu *)r->trace->vcpus.items;
	v->gap.start = 0;
}

static void read_print(struct reader *r)
{
	char line[1025];
	const char *text;
	int size;

	text = tep_get_field_raw(NULL, r->event, "buf", r->record, &size, 0);
	if (!text)
		return;
	/* An array without a size goes on to the end. */
	size = r->record->size - (text - (const char *)r->record->data);
	snprintf(line, sizeof(line), "%.*s", size, text);
	learn(r->trace, line, r->record->ts);
}

static int read_record(struct tracecmd_input *input, struct tep_record *record,
		       int cpu, void *data)
{
	static const struct {
		const char *name;
		void (*read)(struct reader *r);
	} readers[] = {
		{ "lv_sched", read_sched },
		{ "lv_exit", read_exit },
		{ "lv_entry", read_entry },
		{ "print", read_print },
	};
	struct reader *r = data;
	size_t i;

	(void)input, (void)cpu;
	r->event = tep_find_event_by_record(r->tep, record);
	r->record = record;
	if (!r->trace->start)
		r->trace->start = record->ts;
	r->trace->end = record->ts;
	if (record->missed_events > 0)
		r->trace->lost += record->missed_events;
	for (i = 0; r->event && i < ARRAY_SIZE(readers); i++)
		if (!strcmp(r->event->name, readers[i].name))
			readers[i].read(r);
	return 0;
}

static int compare_vms(const void *a, const void *b)
{
	u32 x = ((const struct traced_vm *)a)->id,
	    y = ((const struct traced_vm *)b)->id;

	return x < y ? -1 : x > y;
}

/*
 * tracecmd_open() takes both steps, too, but if the second one fails, since the file
 * is shorter than it says, version 3.1 closes what it has freed, and crashes.
 */
static struct tracecmd_input *open_recording(const char *path)
{
	struct tracecmd_input *input;

	if (access(path, R_OK))
		die(EXIT_HOST, "%s: %s", path, strerror(errno));
	tracecmd_set_loglevel(TEP_LOG_ERROR);
	input = tracecmd_open_head(path, TRACECMD_FL_LOAD_NO_PLUGINS);
	if (!input)
		die(EXIT_HOST,
		    "%s: this is no recording: 'labvisor sched record' or trace-cmd makes one",
		    path);
	if (tracecmd_init_data(input))
		die(EXIT_HOST, "%s: the end of the recording is missing", path);
	return input;
}

/** trace_read() - a recording, or die. */
void trace_read(struct trace *trace, const char *path)
{
	struct tracecmd_input *input = open_recording(path);
	struct reader r = { .trace = trace };
	struct traced_vcpu *v;

	*trace = (struct trace){ 0 };
	r.tep = tracecmd_get_tep(input);
	tracecmd_iterate_events(input, NULL, 0, read_record, &r);
	tracecmd_close(input);
	qsort(trace->vms.items, trace->vms.nr, sizeof(struct traced_vm),
	      compare_vms);
	for_each_item(v, &trace->vcpus)
		change(trace, v, trace->end, SPAN_NONE, 0);
	if (!trace->spans.nr)
		warn_user(
			"%s: no vCPU was scheduled: the policy of their pools is host, or none ran",
			path);
}

/* ---- sums ---- */

static int compare_u64(const void *a, const void *b)
{
	u64 x = *(const __u64 *)a, y = *(const __u64 *)b;

	return x < y ? -1 : x > y;
}

/** quantile() - so much of the latencies is below it; sorts them. */
u64 quantile(const struct list *latencies, double part)
{
	__u64 *ns = latencies->items;
	size_t at = part * latencies->nr;

	if (!latencies->nr)
		return 0;
	qsort(ns, latencies->nr, sizeof(*ns), compare_u64);
	return ns[at < latencies->nr ? at : latencies->nr - 1];
}

static void sum_vm(const struct trace *trace, struct vm_sum *sum)
{
	struct traced_vcpu *v;

	for_each_item(v, &trace->vcpus)
	{
		if (v->vm != sum->vm->id)
			continue;
		sum->run += v->times[SPAN_RUN];
		sum->wanted += v->times[SPAN_RUN] + v->times[SPAN_READY] +
			       v->times[SPAN_PARKED];
	}
}

/** sum_pool() - what each VM of a pool got, and what it should have got. */
size_t sum_pool(const struct trace *trace, u32 pool, struct vm_sum *sums,
		size_t max)
{
	u64 run = 0, weights = 0;
	struct traced_vm *vm;
	size_t i, nr = 0;

	for_each_item(vm, &trace->vms)
	{
		if (vm->pool != pool || nr == max)
			continue;
		sums[nr] = (struct vm_sum){ .vm = vm };
		sum_vm(trace, &sums[nr]);
		if (!sums[nr].wanted)
			continue;
		run += sums[nr].run;
		weights += vm->weight;
		nr++;
	}
	for (i = 0; i < nr; i++) {
		sums[i].share = run ? (double)sums[i].run / run : 0;
		sums[i].fair = weights ? (double)sums[i].vm->weight / weights
				       : 0;
	}
	return nr;
}

/**
 * jain_index() - how even time is divided by weight: 1 is perfectly, 1/n not at
 * all (Jain, Chiu, Hawe 1984)
 */
double jain_index(const struct vm_sum *sums, size_t nr)
{
	double sum = 0, squares = 0, x;
	size_t i;

	for (i = 0; i < nr; i++) {
		x = (double)sums[i].run / sums[i].vm->weight;
		sum += x;
		squares += x * x;
	}
	return squares ? sum * sum / (nr * squares) : 1;
}
