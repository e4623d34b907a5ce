// SPDX-License-Identifier: GPL-2.0-only
/*
 * Draw a recording as SVG: who had which CPU when, what each vCPU did, how long
 * wake-ups took, and who got how much.
 */
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "trace.h"

#define LABEL 130 /* width of what stands left of a row */
#define COLUMNS 1000 /* of a timeline, a pixel each */
#define WIDTH (LABEL + COLUMNS + 30)
#define ROW 20
#define BAR 14
#define MAX_ROWS 64
#define MAX_SUMS 256

static FILE *out;
static int top; /* of what comes next */

static const char *const state_colours[NR_SPAN_STATES] = {
	"#ffffff", "#3b8f3b", "#e8a33d", "#8e6bb8", "#dfe4ea", "#9aa3ad",
};

/* Colours that differ as much as possible from their neighbours'. */
static const char *vcpu_colour(u32 index)
{
	static char text[8];
	double h = fmod(index * 0.61803398875, 1) * 6, l = 0.52, c, x, m;
	double rgb[6][3];
	int i = h;

	c = (1 - fabs(2 * l - 1)) * (index % 3 == 2 ? 0.45 : 0.68);
	x = c * (1 - fabs(fmod(h, 2) - 1));
	m = l - c / 2;
	memcpy(rgb,
	       (double[6][3]){ { c, x, 0 },
			       { x, c, 0 },
			       { 0, c, x },
			       { 0, x, c },
			       { x, 0, c },
			       { c, 0, x } },
	       sizeof(rgb));
	snprintf(text, sizeof(text), "#%02x%02x%02x",
		 (int)((rgb[i][0] + m) * 255) & 255,
		 (int)((rgb[i][1] + m) * 255) & 255,
		 (int)((rgb[i][2] + m) * 255) & 255);
	return text;
}

static void put_text(double x, double y, const char *class, const char *fmt,
		     ...) __printf(4, 5);
static void put_text(double x, double y, const char *class, const char *fmt,
		     ...)
{
	char text[256];
	const char *at;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	fprintf(out, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">", x, y, class);
	for (at = text; *at; at++) {
		if (*at == '<')
			fputs("&lt;", out);
		else if (*at == '&')
			fputs("&amp;", out);
		else
			fputc(*at, out);
	}
	fputs("</text>\n", out);
}

static void put_rect(double x, double y, double w, double h, const char *colour)
{
	fprintf(out,
		"<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n",
		x, y, w, h, colour);
}

static void put_line(double x1, double y1, double x2, double y2)
{
	fprintf(out,
		"<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"grid\"/>\n",
		x1, y1, x2, y2);
}

static void put_title(const char *title)
{
	top += 18;
	put_text(0, top, "title", "%s", title);
	top += 12;
}

/* ---- timelines ---- */

/*
 * A row of the timeline. Many spans may fall into one column: it shows what took
 * most of its time, as high as its part of the time.
 */
#define KINDS 6 /* different ones that a column counts; the rest is lost */
struct column {
	u32 what[KINDS];
	float part[KINDS];
};

static struct column columns[COLUMNS];

static void column_add(struct column *column, u32 what, double part)
{
	int i;

	for (i = 0; i < KINDS; i++) {
		if (column->part[i] && column->what[i] != what)
			continue;
		column->what[i] = what;
		column->part[i] += part;
		return;
	}
}

static void row_add(const struct trace *trace, u64 start, u64 end, u32 what)
{
	double scale = COLUMNS / (double)(trace->end - trace->start);
	double from = (start - trace->start) * scale;
	double to = (end - trace->start) * scale;
	int i;

	for (i = from; i < to && i < COLUMNS; i++)
		column_add(&columns[i], what, fmin(to, i + 1) - fmax(from, i));
}

/* What took most of the column: its index, -1 if nothing did. */
static int column_main(const struct column *column)
{
	int i, most = 0;

	for (i = 1; i < KINDS; i++)
		if (column->part[i] > column->part[most])
			most = i;
	return column->part[most] > 0.02 ? most : -1;
}

/* The sum of a column's parts, in eighths. */
static int column_height(const struct column *column)
{
	double sum = 0;
	int i;

	for (i = 0; i < KINDS; i++)
		sum += column->part[i];
	i = sum * 8 + 0.5;
	return i < 1 ? 1 : i > 8 ? 8 : i;
}

/* Columns of the same colour and height become one rectangle. */
static void row_draw(const char *(*colour)(u32 what))
{
	int i, from, most, height;
	u32 what;

	for (i = 0; i < COLUMNS;) {
		most = column_main(&columns[i]);
		if (most < 0) {
			i++;
			continue;
		}
		what = columns[i].what[most];
		height = column_height(&columns[i]);
		for (from = i; i < COLUMNS; i++) {
			most = column_main(&columns[i]);
			if (most < 0 || columns[i].what[most] != what ||
			    column_height(&columns[i]) != height)
				break;
		}
		put_rect(LABEL + from, top + BAR * (8 - height) / 8.0, i - from,
			 BAR * height / 8.0, colour(what));
	}
	memset(columns, 0, sizeof(columns));
	top += ROW;
}

/* A round step, so that there are about ten. */
static u64 axis_step(u64 length)
{
	u64 step = 1;

	while (step * 100 < length)
		step *= 10;
	if (step * 50 < length)
		return 5 * step;
	return step * 20 < length ? 2 * step : step;
}

static void draw_axis(const struct trace *trace, int from)
{
	u64 length = trace->end - trace->start, at, step;
	double x;

	step = axis_step(length / 1);
	for (at = 0; at <= length; at += step * 10 / 10) {
		x = LABEL + (double)at * COLUMNS / length;
		put_line(x, from, x, top);
		put_text(x + 2, top + 10, "small", "%s", show_time(at));
	}
	top += 18;
}

static void draw_cpus(const struct trace *trace)
{
	u32 cpu, nr = trace->nr_cpus < MAX_ROWS ? trace->nr_cpus : MAX_ROWS;
	struct span *span;
	int from;

	put_title("CPUs, coloured by vCPU");
	from = top;
	for (cpu = 0; cpu < nr; cpu++) {
		for_each_item(span,
			      &trace->spans) if (span->state == SPAN_RUN &&
						 span->cpu == cpu)
			row_add(trace, span->start, span->end, span->vcpu);
		put_text(0, top + BAR - 3, "label", "CPU %u", cpu);
		row_draw(vcpu_colour);
	}
	draw_axis(trace, from);
}

/* States count from 0; what runs has the colour of its vCPU. */
static u32 coloured_index;

static const char *state_colour(u32 state)
{
	return state == SPAN_RUN ? vcpu_colour(coloured_index)
				 : state_colours[state];
}

static void draw_vcpu(const struct trace *trace, u32 index)
{
	const struct traced_vcpu *v = trace->vcpus.items;
	struct span *span;
	struct traced_vm *vm;

	v += index;
	vm = trace_vm(trace, v->vm);
	for_each_item(span, &trace->spans) if (span->vcpu == index)
		row_add(trace, span->start, span->end, span->state);
	put_text(0, top + BAR - 3, "label", "VM %u vCPU %u %.8s", v->vm, v->id,
		 vm ? vm->command : "");
	coloured_index = index;
	row_draw(state_colour);
}

static void draw_legend(void)
{
	static const char *const words[NR_SPAN_STATES] = {
		"",
		"runs (in its colour)",
		"ready: waits for a CPU",
		"parked: held back by the policy",
		"blocked: halted",
		"out: in user space, or held up by the host",
	};
	double x = LABEL;
	int i;

	for (i = SPAN_RUN; i < NR_SPAN_STATES; i++) {
		put_rect(x, top, 10, 10, state_colours[i]);
		put_text(x + 14, top + 9, "small", "%s", words[i]);
		x += 30 + 5.6 * strlen(words[i]);
	}
	top += 16;
}

static void draw_vcpus(const struct trace *trace)
{
	size_t i, nr = trace->vcpus.nr < MAX_ROWS ? trace->vcpus.nr : MAX_ROWS;
	int from;

	put_title("vCPUs, and what they did");
	draw_legend();
	from = top;
	for (i = 0; i < nr; i++)
		draw_vcpu(trace, i);
	draw_axis(trace, from);
	if (nr < trace->vcpus.nr) {
		put_text(LABEL, top + 10, "small", "%zu more vCPUs",
			 trace->vcpus.nr - nr);
		top += 16;
	}
}

/* ---- wake-up latencies ---- */

#define BUCKETS 24
#define HISTOGRAM_WIDTH 350
#define HISTOGRAM_HEIGHT 90

static void draw_histogram(const struct traced_vcpu *v, u32 index, double x,
			   double y)
{
	double step = (HISTOGRAM_WIDTH - 40) / (double)BUCKETS;
	u64 counts[BUCKETS] = { 0 }, most = 1, *ns;
	int i;

	for_each_item(ns, &v->latencies)
	{
		i = *ns < 1000 ? 0 : 64 - __builtin_clzll(*ns / 1000);
		counts[i < BUCKETS ? i : BUCKETS - 1]++;
	}
	for (i = 0; i < BUCKETS; i++)
		most = counts[i] > most ? counts[i] : most;
	put_text(
		x, y + 10, "label",
		"VM %u vCPU %u: %zu wake-ups, half below %s, 99 %% below %s, longest %s",
		v->vm, v->id, v->latencies.nr,
		show_time(quantile(&v->latencies, 0.5)),
		show_time(quantile(&v->latencies, 0.99)),
		show_time(quantile(&v->latencies, 1)));
	y += 16;
	for (i = 0; i < BUCKETS; i++) {
		double height =
			(double)counts[i] / most * (HISTOGRAM_HEIGHT - 34);

		if (counts[i])
			put_rect(x + i * step,
				 y + HISTOGRAM_HEIGHT - 34 - height, step - 1,
				 height, vcpu_colour(index));
		if (i % 4 == 0)
			put_text(x + i * step, y + HISTOGRAM_HEIGHT - 22,
				 "small", "%s",
				 show_time(i ? 1000ull << (i - 1) : 0));
	}
	put_line(x, y + HISTOGRAM_HEIGHT - 34, x + BUCKETS * step,
		 y + HISTOGRAM_HEIGHT - 34);
}

static void draw_latencies(const struct trace *trace)
{
	const struct traced_vcpu *v = trace->vcpus.items;
	size_t i, drawn = 0;

	put_title("Wake-up latency: from the end of a halt until it got a CPU");
	for (i = 0; i < trace->vcpus.nr && drawn < MAX_ROWS; i++) {
		if (!v[i].latencies.nr)
			continue;
		draw_histogram(&v[i], i, drawn % 2 * (WIDTH / 2), top);
		drawn++;
		top += drawn % 2 ? 0 : HISTOGRAM_HEIGHT + 8;
	}
	top += drawn % 2 ? HISTOGRAM_HEIGHT + 8 : 0;
	if (!drawn) {
		put_text(0, top + 12, "label", "No vCPU halted.");
		top += 18;
	}
}

/* ---- shares and deadlines ---- */

static void draw_share(const struct vm_sum *sum)
{
	put_text(0, top + BAR - 3, "label", "VM %u %.8s, weight %u",
		 sum->vm->id, sum->vm->command, sum->vm->weight);
	put_rect(LABEL + 60, top, sum->fair * 600, 6, "#c2c8cf");
	put_rect(LABEL + 60, top + 7, sum->share * 600, 6, "#3b6ea5");
	put_text(LABEL + 670, top + BAR - 3, "label",
		 "%.1f %% of the CPU time, %.1f %% by weight", 100 * sum->share,
		 100 * sum->fair);
	top += ROW;
}

static void draw_shares(const struct trace *trace)
{
	struct vm_sum sums[MAX_SUMS];
	struct traced_pool *pool;
	size_t i, nr;

	put_title(
		"Shares of each pool's CPU time: by weight (grey) and got (blue)");
	for_each_item(pool, &trace->pools)
	{
		nr = sum_pool(trace, pool->id, sums, MAX_SUMS);
		if (!nr)
			continue;
		put_text(
			0, top + 11, "label",
			"Pool %s, policy %s: Jain's index of what was got by weight %.4f",
			pool->name, pool->policy, jain_index(sums, nr));
		top += 18;
		for (i = 0; i < nr; i++)
			draw_share(&sums[i]);
	}
}

static void draw_deadlines(const struct trace *trace)
{
	const struct traced_vcpu *v;
	bool any = false;

	for_each_item(v, &trace->vcpus)
	{
		if (!v->period)
			continue;
		if (!any)
			put_title(
				"Deadlines: periods in which a vCPU that wanted to run had less than its budget");
		any = true;
		put_text(0, top + BAR - 3, "label", "VM %u vCPU %u", v->vm,
			 v->id);
		put_rect(LABEL + 60, top + 2, 600, BAR - 4, "#dfe4ea");
		if (v->periods)
			put_rect(LABEL + 60, top + 2,
				 600.0 * v->misses / v->periods, BAR - 4,
				 "#c0392b");
		put_text(LABEL + 670, top + BAR - 3, "label",
			 "%llu of %llu missed; %s in each %s",
			 (unsigned long long)v->misses,
			 (unsigned long long)v->periods, show_time(v->budget),
			 show_time(v->period));
		top += ROW;
	}
}

/* ---- the whole ---- */

static const char *const style =
	"text{font-family:sans-serif;fill:#222}.title{font-size:14px;font-weight:bold}"
	".label{font-size:11px}.small{font-size:10px;fill:#666}"
	".grid{stroke:#bbb;stroke-width:0.5}";

/* The size is known at the end only, so the content is made first. */
static void put_svg(const struct trace *trace, FILE *file)
{
	char *content = NULL;
	size_t size;

	top = 4;
	out = open_memstream(&content, &size);
	if (!out)
		die(EXIT_HOST, "out of memory");
	draw_cpus(trace);
	draw_vcpus(trace);
	draw_shares(trace);
	draw_deadlines(trace);
	draw_latencies(trace);
	fclose(out);
	fprintf(file,
		"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"-10 0 %d %d\" width=\"%d\" height=\"%d\">\n<style>%s</style>\n"
		"<rect x=\"-10\" y=\"0\" width=\"%d\" height=\"%d\" fill=\"#ffffff\"/>\n%s</svg>\n",
		WIDTH + 20, top + 10, WIDTH + 20, top + 10, style, WIDTH + 20,
		top + 10, content);
	free(content);
}

static FILE *open_output(const char *path)
{
	FILE *file = fopen(path, "we");

	if (!file)
		die(EXIT_HOST, "%s: %s", path, strerror(errno));
	return file;
}

static void close_output(FILE *file, const char *path)
{
	if (fclose(file))
		die(EXIT_HOST, "%s: %s", path, strerror(errno));
}

/** draw_svg() - the drawing alone. */
void draw_svg(const struct trace *trace, const char *path)
{
	FILE *file = open_output(path);

	put_svg(trace, file);
	close_output(file, path);
}

static void put_table(const struct trace *trace, FILE *file)
{
	const struct traced_vcpu *v;
	int state, reason;

	fputs("<table><tr><th>vCPU<th>got a CPU<th>migrations", file);
	for (state = SPAN_RUN; state < NR_SPAN_STATES; state++)
		fprintf(file, "<th>%s", span_names[state]);
	fputs("<th>exits</tr>\n", file);
	for_each_item(v, &trace->vcpus)
	{
		fprintf(file, "<tr><td>VM %u vCPU %u<td>%llu<td>%llu", v->vm,
			v->id, (unsigned long long)v->runs,
			(unsigned long long)v->migrations);
		for (state = SPAN_RUN; state < NR_SPAN_STATES; state++)
			fprintf(file, "<td>%s", show_time(v->times[state]));
		fputs("<td class=l>", file);
		for (reason = 0; reason < LV_INFO_EXITS; reason++)
			if (v->reasons[reason])
				fprintf(file, "%s %llu ", trace->exits[reason],
					(unsigned long long)v->reasons[reason]);
		fputs("</tr>\n", file);
	}
	fputs("</table>\n", file);
}

/** draw_html() - the drawing, and the numbers below it, in one file. */
void draw_html(const struct trace *trace, const char *path)
{
	FILE *file = open_output(path);

	fputs("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>labvisor sched report</title>\n"
	      "<style>body{font-family:sans-serif;margin:1em}table{border-collapse:collapse;font-size:12px}"
	      "td,th{border-bottom:1px solid #ddd;padding:2px 8px;text-align:right}td:first-child,.l{text-align:left}"
	      "svg{max-width:100%;height:auto}</style></head>\n<body>\n",
	      file);
	fprintf(file,
		"<h1>Labvisor scheduling</h1>\n<p>%s, %zu VMs with %zu vCPUs on %u CPUs.%s</p>\n",
		show_time(trace->end - trace->start), trace->vms.nr,
		trace->vcpus.nr, trace->nr_cpus,
		trace->lost ? " <b>Some events were lost.</b>" : "");
	put_svg(trace, file);
	put_table(trace, file);
	fputs("</body></html>\n", file);
	close_output(file, path);
}
