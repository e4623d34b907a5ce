// SPDX-License-Identifier: GPL-2.0-only
/* labvisor sched report: sum up and draw a recording. */
#include <stdlib.h>
#include <string.h>

#include "trace.h"

#define MAX_SUMS 256

struct report {
	const char *path, *html, *svg, *perfetto;
};

enum {
	OPT_SVG = 0x100,
	OPT_PERFETTO,
};

static const struct argp_option options[] = {
	{ "html", 'o', "FILE", 0,
	  "Draw it, with tables, as one HTML file without references", 1 },
	{ "svg", OPT_SVG, "FILE", 0, "Draw it as SVG", 1 },
	{ "perfetto", OPT_PERFETTO, "FILE", 0,
	  "Write it for https://ui.perfetto.dev (JSON)", 1 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct report *report = state->input;

	switch (key) {
	case 'o':
		report->html = arg;
		return 0;
	case OPT_SVG:
		report->svg = arg;
		return 0;
	case OPT_PERFETTO:
		report->perfetto = arg;
		return 0;
	case ARGP_KEY_ARG:
		if (report->path)
			argp_error(state,
				   "one recording is enough, not also '%s'",
				   arg);
		report->path = arg;
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ---- for people ---- */

static void print_pool(const struct trace *trace,
		       const struct traced_pool *pool)
{
	struct vm_sum sums[MAX_SUMS];
	size_t i, nr = sum_pool(trace, pool->id, sums, MAX_SUMS);

	if (!nr)
		return;
	printf("\nPool %s, policy %s, CPUs %s: Jain's index %.4f\n", pool->name,
	       pool->policy, pool->cpus, jain_index(sums, nr));
	table_begin("VM COMMAND >WEIGHT >RAN >WANTED >SHARE% >FAIR%");
	for (i = 0; i < nr; i++) {
		table_cell("%u", sums[i].vm->id);
		table_cell("%s", sums[i].vm->command);
		table_cell("%u", sums[i].vm->weight);
		table_cell("%s", show_time(sums[i].run));
		table_cell("%s", show_time(sums[i].wanted));
		table_cell("%.1f", 100 * sums[i].share);
		table_cell("%.1f", 100 * sums[i].fair);
	}
	table_end(stdout);
}

static void print_vcpus(const struct trace *trace)
{
	struct traced_vcpu *v;
	int state;

	puts("");
	table_begin("VM/VCPU >RUN >READY >PARKED >BLOCKED >OUT >RUNS >MOVES "
		    ">WAKES >WAKE50 >WAKE99 >WAKEMAX >EXITS >PERIODS >MISSED");
	for_each_item(v, &trace->vcpus)
	{
		table_cell("%u/%u", v->vm, v->id);
		for (state = SPAN_RUN; state < NR_SPAN_STATES; state++)
			table_cell("%s", show_time(v->times[state]));
		table_cell("%llu", (unsigned long long)v->runs);
		table_cell("%llu", (unsigned long long)v->migrations);
		table_cell("%zu", v->latencies.nr);
		table_cell("%s", show_time(quantile(&v->latencies, 0.5)));
		table_cell("%s", show_time(quantile(&v->latencies, 0.99)));
		table_cell("%s", show_time(quantile(&v->latencies, 1)));
		table_cell("%s", show_count(v->exits));
		table_cell("%llu", (unsigned long long)v->periods);
		table_cell("%llu", (unsigned long long)v->misses);
	}
	table_end(stdout);
}

static void print_text(const struct trace *trace)
{
	struct traced_pool *pool;

	printf("%s, %zu VMs with %zu vCPUs on %u CPUs\n",
	       show_time(trace->end - trace->start), trace->vms.nr,
	       trace->vcpus.nr, trace->nr_cpus);
	if (trace->lost)
		printf("%llu events were lost: the numbers are too low\n",
		       (unsigned long long)trace->lost);
	for_each_item(pool, &trace->pools) print_pool(trace, pool);
	print_vcpus(trace);
}

/* ---- for programs ---- */

static struct json_object *json_vcpu(const struct trace *trace,
				     const struct traced_vcpu *v)
{
	struct json_object *object = json_object_new_object();
	struct json_object *exits = json_object_new_object();
	int i;

	json_add(object, "vm", v->vm);
	json_add(object, "vcpu", v->id);
	for (i = SPAN_RUN; i < NR_SPAN_STATES; i++)
		json_add(object, span_names[i], v->times[i]);
	json_add(object, "runs", v->runs);
	json_add(object, "migrations", v->migrations);
	json_add(object, "wakes", v->latencies.nr);
	json_add(object, "wake_p50", quantile(&v->latencies, 0.5));
	json_add(object, "wake_p99", quantile(&v->latencies, 0.99));
	json_add(object, "wake_max", quantile(&v->latencies, 1));
	json_add(object, "periods", v->periods);
	json_add(object, "misses", v->misses);
	for (i = 0; i < LV_INFO_EXITS; i++)
		if (v->reasons[i])
			json_add(exits, trace->exits[i], v->reasons[i]);
	json_object_object_add(object, "exits", exits);
	return object;
}

static struct json_object *json_pool(const struct trace *trace,
				     const struct traced_pool *pool)
{
	struct json_object *object = json_object_new_object();
	struct json_object *vms = json_object_new_array(), *vm;
	struct vm_sum sums[MAX_SUMS];
	size_t i, nr = sum_pool(trace, pool->id, sums, MAX_SUMS);

	json_add(object, "id", pool->id);
	json_add_text(object, "name", pool->name);
	json_add_text(object, "policy", pool->policy);
	json_object_object_add(object, "jain",
			       json_object_new_double(jain_index(sums, nr)));
	for (i = 0; i < nr; i++) {
		vm = json_object_new_object();
		json_add(vm, "id", sums[i].vm->id);
		json_add(vm, "weight", sums[i].vm->weight);
		json_add(vm, "run", sums[i].run);
		json_add(vm, "wanted", sums[i].wanted);
		json_object_object_add(vm, "share",
				       json_object_new_double(sums[i].share));
		json_object_object_add(vm, "fair",
				       json_object_new_double(sums[i].fair));
		json_object_array_add(vms, vm);
	}
	json_object_object_add(object, "vms", vms);
	return object;
}

static void print_json(const struct trace *trace)
{
	struct json_object *object = json_object_new_object();
	struct json_object *pools = json_object_new_array();
	struct json_object *vcpus = json_object_new_array();
	struct traced_pool *pool;
	struct traced_vcpu *v;

	for_each_item(pool, &trace->pools)
		json_object_array_add(pools, json_pool(trace, pool));
	for_each_item(v, &trace->vcpus)
		json_object_array_add(vcpus, json_vcpu(trace, v));
	json_add(object, "length_ns", trace->end - trace->start);
	json_add(object, "lost", trace->lost);
	json_object_object_add(object, "pools", pools);
	json_object_object_add(object, "vcpus", vcpus);
	json_print(object);
}

/** cmd_sched_report() - the command 'sched report' */
int cmd_sched_report(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.children = common_children,
		.args_doc = "[FILE]",
		.doc = "Sum up a recording of 'labvisor sched record' (labvisor.dat if no FILE is "
		       "given), and draw it."
		       "\v"
		       "WANTED is the time in which a VM's vCPUs ran or could have run. SHARE is its "
		       "part of what the pool's VMs ran, FAIR what its weight says. Jain's index is 1 "
		       "if all got the same by weight. WAKE50, WAKE99, WAKEMAX: how long it took from "
		       "the end of a halt until the vCPU got a CPU: half, 99 %, all of them. A period "
		       "is MISSED if a vCPU wanted to run at its end, and had run for less than its "
		       "budget.",
	};
	struct report report = { 0 };
	struct trace trace;

	argp_parse(&argp, argc, argv, 0, NULL, &report);
	trace_read(&trace, report.path ?: "labvisor.dat");
	if (report.html)
		draw_html(&trace, report.html);
	if (report.svg)
		draw_svg(&trace, report.svg);
	if (report.perfetto)
		perfetto_write(&trace, report.perfetto);
	if (json_wanted)
		print_json(&trace);
	else if (!report.html && !report.svg && !report.perfetto)
		print_text(&trace);
	return 0;
}
