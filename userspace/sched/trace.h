/* SPDX-License-Identifier: GPL-2.0-only */
/* Recordings: written as trace-cmd's files, read into what happened when. */
#ifndef LABVISOR_SCHED_TRACE_H
#define LABVISOR_SCHED_TRACE_H

#include "tool.h"

/* Before the JSON in a line that we write into the trace. */
#define TRACE_MARK "labvisor "

/**
 * struct trace_data - what was read from Linux's buffers
 * @nr_cpus: how many buffers
 * @page_size: of each page in them
 * @files: the pages of each
 */
struct trace_data {
	unsigned int nr_cpus;
	unsigned int page_size;
	FILE **files;
};

void trace_write(const char *path, const struct trace_data *data,
		 const char *const *events, unsigned int nr_events);

/* enum span_state - what a vCPU does for a while */
enum span_state {
	SPAN_NONE, /* not known, or Linux decides */
	SPAN_RUN,
	SPAN_READY,
	SPAN_PARKED,
	SPAN_BLOCKED,
	SPAN_OUT,
	NR_SPAN_STATES,
};

extern const char *const span_names[NR_SPAN_STATES];

/* What ended a run: enum lv_stop in the module. */
#define STOP_YIELD 3 /* up to this one it wants to run on */
#define STOP_BLOCK 4

/* struct span - one vCPU in one state; @cpu if it runs */
struct span {
	u64 start, end;
	u32 vcpu; /* index in the trace */
	u16 cpu;
	u8 state; /* enum span_state */
	u8 why; /* what ended it: enum lv_stop, or lv_wake */
};

/* struct gap - one vCPU out of the guest, and why */
struct gap {
	u64 start, end;
	u32 vcpu;
	u32 reason;
};

/* struct list - of spans, gaps, latencies */
struct list {
	void *items;
	size_t nr, room;
};

struct traced_pool {
	u32 id;
	char name[LV_NAME_LEN], policy[LV_NAME_LEN], cpus[64];
	u64 slice;
};

struct traced_vm {
	u32 id, pool, weight, cap;
	char command[LV_NAME_LEN];
};

struct traced_vcpu {
	u32 vm, id;
	int tid;
	u64 period, budget;

	u64 times[NR_SPAN_STATES];
	u64 runs, migrations, exits;
	u64 reasons[LV_INFO_EXITS];
	struct list latencies; /* u64: ns from a wake-up to its run */
	u64 periods, misses;

	/* while reading */
	struct span now;
	bool parked,
		asleep; /* asleep: it halted, so a wake-up's latency counts */
	u64 woken_at;
	struct gap gap;
	u64 release, got; /* of the present period */
};

struct trace {
	u64 start, end, lost;
	u32 nr_cpus;
	struct list pools, vms, vcpus, spans, gaps;
	char exits[LV_INFO_EXITS][LV_NAME_LEN];
};

void trace_read(struct trace *trace, const char *path);
struct traced_vm *trace_vm(const struct trace *trace, u32 id);

#define for_each_item(item, list)    \
	for ((item) = (list)->items; \
	     (item) < (typeof(item))(list)->items + (list)->nr; (item)++)

void *list_add(struct list *list, size_t size);

void perfetto_write(const struct trace *trace, const char *path);
void draw_svg(const struct trace *trace, const char *path);
void draw_html(const struct trace *trace, const char *path);

/* Sums */
struct vm_sum {
	const struct traced_vm *vm;
	u64 run,
		wanted; /* wanted: time in which it could have run, of all vCPUs */
	double share, fair; /* of the pool's time; what its weight says */
};
size_t sum_pool(const struct trace *trace, u32 pool, struct vm_sum *sums,
		size_t max);
double jain_index(const struct vm_sum *sums, size_t nr);
u64 quantile(const struct list *latencies, double part);

#endif
