// SPDX-License-Identifier: GPL-2.0-only
/* labvisor sched top: where the time of vCPUs goes, live. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "tool.h"

struct top {
	u64 delay_ns;
	u64 left; /* pictures to go */
	bool batch;
};

enum {
	OPT_BATCH = 'b',
};

static const struct argp_option options[] = {
	{ "delay", 's', "TIME", 0, "Time between pictures; the default is 2s",
	  1 },
	{ "count", 'n', "N", 0, "End after N pictures", 1 },
	{ "batch", OPT_BATCH, NULL, 0,
	  "One picture below the other, also on a terminal", 1 },
	{ 0 }
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct top *top = state->input;

	switch (key) {
	case 's':
		top->delay_ns = parse_time(arg);
		if (top->delay_ns < 10000000)
			argp_error(state, "the delay must be 10ms or more");
		return 0;
	case 'n':
		top->left = parse_number(arg, 1, ~0ull, "a count");
		return 0;
	case OPT_BATCH:
		top->batch = true;
		return 0;
	case ARGP_KEY_ARG:
		argp_error(state, "'%s' is too much", arg);
		return 0;
	default:
		return ARGP_ERR_UNKNOWN;
	}
}

/* ---- what happened between two pictures ---- */

/* A vCPU that was moved may count anew. */
static u64 since(u64 now, u64 before)
{
	return now > before ? now - before : 0;
}

static void subtract(__u64 *now, const __u64 *before, size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		now[i] = since(now[i], before[i]);
}

/* Turn a vCPU's counts into what they grew by; now_ns into the time between. */
static void vcpu_since(struct lv_vcpu_info *now,
		       const struct lv_vcpu_info *before)
{
	subtract(&now->now_ns, &before->now_ns, 1);
	subtract(now->time_ns, before->time_ns, LV_INFO_TIMES);
	subtract(&now->dispatches, &before->dispatches, 1);
	subtract(&now->migrations, &before->migrations, 1);
	subtract(now->latency, before->latency, LV_INFO_LATENCIES);
	subtract(&now->exits, &before->exits, 1);
	subtract(now->exit_reason, before->exit_reason, LV_INFO_EXITS);
}

static void view_since(struct view *now, const struct view *before)
{
	static const struct lv_vcpu_info none;
	const struct lv_pool_info *pool;
	const struct lv_vcpu_info *v;
	size_t i, j;

	for (i = 0; i < now->nr_vms; i++)
		for (j = 0; j < now->vms[i].nr_vcpus; j++) {
			struct lv_vcpu_info *new = &now->vms[i].vcpus[j];

			v = view_vcpu(before, new->vm, new->vcpu);
			vcpu_since(new, v ? v : &none);
		}
	for (i = 0; i < now->nr_pools; i++) {
		pool = view_pool(before, now->pools[i].id);
		if (!pool)
			continue;
		now->pools[i].now_ns -= pool->now_ns;
		now->pools[i].busy_ns -= pool->busy_ns;
	}
}

/* ---- the picture ---- */

static const char *per_second(u64 n, u64 ns)
{
	return show_count(ns ? n * 1e9 / ns + 0.5 : 0);
}

static const char *main_exit(const struct lv_vcpu_info *v)
{
	unsigned int i, top = 0;

	for (i = 1; i < LV_INFO_EXITS; i++)
		if (v->exit_reason[i] > v->exit_reason[top])
			top = i;
	return v->exit_reason[top] && exit_name(top) ? exit_name(top) : "-";
}

static void print_pools(FILE *out, const struct view *view)
{
	const struct lv_pool_info *p;
	char cpus[256];

	table_begin("POOL POLICY CPUS >VMS >VCPUS >BUSY% NOTE");
	for (p = view->pools; p < view->pools + view->nr_pools; p++) {
		show_cpus(p->cpus, cpus, sizeof(cpus));
		table_cell("%s", p->name);
		table_cell("%s", p->policy);
		table_cell("%s", p->id ? cpus : "all");
		table_cell("%u", p->nr_vms);
		table_cell("%u", p->nr_vcpus);
		table_cell("%s",
			   show_percent(p->busy_ns, p->now_ns * p->nr_cpus));
		table_cell("%s%s", *p->fault ? "thrown out: " : "", p->fault);
	}
	table_end(out);
}

/* The most frequent reasons, per second. */
#define MAX_REASONS 5
static void reasons_text(const __u64 *counts, u64 ns, char *text, size_t size)
{
	unsigned int i, n, top;
	__u64 left[LV_INFO_EXITS];
	size_t used = 0;

	memcpy(left, counts, sizeof(left));
	*text = 0;
	for (n = 0; n < MAX_REASONS && used < size; n++) {
		for (i = 1, top = 0; i < LV_INFO_EXITS; i++)
			top = left[i] > left[top] ? i : top;
		if (!left[top] || !exit_name(top))
			break;
		used += snprintf(text + used, size - used, "%s%s %s",
				 n ? ", " : "", exit_name(top),
				 per_second(left[top], ns));
		left[top] = 0;
	}
}

static void print_vm(const struct view *view, const struct vm_view *vm)
{
	const struct lv_pool_info *pool = view_pool(view, vm->info.pool);
	__u64 times[LV_INFO_TIMES] = { 0 }, exits[LV_INFO_EXITS] = { 0 };
	u64 ns = 0;
	char text[160];
	size_t i, j;

	for (i = 0; i < vm->nr_vcpus; i++) {
		const struct lv_vcpu_info *v = &vm->vcpus[i];

		ns = v->now_ns > ns ? v->now_ns : ns;
		for (j = 0; j < LV_INFO_TIMES; j++)
			times[j] += v->time_ns[j];
		for (j = 0; j < LV_INFO_EXITS; j++)
			exits[j] += v->exit_reason[j];
	}
	reasons_text(exits, ns, text, sizeof(text));
	table_cell("%u", vm->info.id);
	table_cell("%s", pool ? pool->name : "?");
	table_cell("%zu", vm->nr_vcpus);
	table_cell("%u", vm->info.params.weight);
	table_cell("%s", show_percent(times[0], ns));
	table_cell("%s", show_percent(times[1], ns));
	table_cell("%s", show_percent(times[3], ns));
	table_cell("%s", show_percent(times[4], ns));
	table_cell("%s", text);
}

static void print_vms(FILE *out, const struct view *view)
{
	size_t i;

	table_begin("VM POOL >VCPUS >WEIGHT >RUN% >STL% >RDY% >PRK% EXITS/s");
	for (i = 0; i < view->nr_vms; i++)
		print_vm(view, &view->vms[i]);
	table_end(out);
}

static void print_vcpu(const struct view *view, const struct vm_view *vm,
		       const struct lv_vcpu_info *v)
{
	const struct lv_pool_info *pool = view_pool(view, vm->info.pool);
	unsigned int i;

	table_cell("%u/%u", vm->info.id, v->vcpu);
	table_cell("%s", pool ? pool->name : "?");
	table_cell("%s", state_name(v));
	if (v->cpu == ~0u)
		table_cell("-");
	else
		table_cell("%u", v->cpu);
	for (i = 0; i < 7; i++)
		table_cell("%s", show_percent(v->time_ns[i], v->now_ns));
	table_cell("%s", per_second(v->dispatches, v->now_ns));
	table_cell("%s", show_time(latency_quantile(v->latency, 99)));
	table_cell("%s", per_second(v->exits, v->now_ns));
	table_cell("%s", main_exit(v));
	table_cell("%s", vm->info.comm);
}

static void print_vcpus(FILE *out, const struct view *view)
{
	size_t i, j;

	table_begin(
		"VM/VCPU POOL STATE >CPU >RUN% >STL% >AWY% >RDY% >PRK% >BLK% "
		">OUT% >RUNS/s >WAKE99 >EXITS/s MOSTLY COMMAND");
	for (i = 0; i < view->nr_vms; i++)
		for (j = 0; j < view->vms[i].nr_vcpus; j++)
			print_vcpu(view, &view->vms[i], &view->vms[i].vcpus[j]);
	table_end(out);
}

static char *make_picture(const struct view *view)
{
	char *text = NULL, clock[32];
	time_t now = time(NULL);
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		die(EXIT_HOST, "out of memory");
	strftime(clock, sizeof(clock), "%H:%M:%S", localtime(&now));
	fprintf(out, "labvisor sched top, %s, %zu pools, %zu VMs\n\n", clock,
		view->nr_pools, view->nr_vms);
	print_pools(out, view);
	fputc('\n', out);
	print_vms(out, view);
	fputc('\n', out);
	print_vcpus(out, view);
	fclose(out);
	return text;
}

/* ---- on the screen ---- */

static void screen_size(int *rows, int *columns)
{
	struct winsize size;

	*rows = 24;
	*columns = 80;
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size))
		return;
	/* A serial line does not know. */
	if (size.ws_row)
		*rows = size.ws_row;
	if (size.ws_col)
		*columns = size.ws_col;
}

/* Over the last picture; what does not fit is left out. */
static void draw(const char *text)
{
	int rows, columns, row;
	const char *end;

	screen_size(&rows, &columns);
	fputs("\033[H", stdout);
	for (row = 1; *text && row < rows; row++, text = end + 1) {
		int width;

		end = strchrnul(text, '\n');
		width = end - text < columns ? end - text : columns;
		printf("%.*s\033[K\n", width, text);
		if (!*end)
			break;
	}
	fputs("\033[J", stdout);
	fflush(stdout);
}

static void print_picture(const struct top *top, const struct view *view)
{
	char *text;

	if (json_wanted) {
		json_print(json_view(view));
		fflush(stdout);
		return;
	}
	text = make_picture(view);
	if (top->batch) {
		puts(text);
		fflush(stdout);
	} else {
		draw(text);
	}
	free(text);
}

/* Wait; false if the user wants to leave. */
static bool wait_for(u64 ns, const sigset_t *leave)
{
	struct timespec ts = { ns / 1000000000, ns % 1000000000 };

	return sigtimedwait(leave, NULL, &ts) < 0;
}

/** cmd_sched_top() - the command 'sched top' */
int cmd_sched_top(int argc, char **argv)
{
	static const struct argp argp = {
		.options = options,
		.parser = parse,
		.children = common_children,
		.doc = "Show pools, VMs and vCPUs live. Ctrl-C ends it."
		       "\v"
		       "The lines below are VMs (200 is two CPUs), and then vCPUs. What they did since the last picture, in percent of the "
		       "time: RUN ran; STL (steal) had a CPU of the pool, which the host used otherwise; "
		       "AWY (away) had a CPU, and its thread was in user space; RDY (ready) waited for a CPU; PRK (parked) could run, but the policy held it "
		       "back (cap, budget, co-stop); BLK (blocked) was halted; OUT was in user space or held up by the "
		       "host. RUNS/s: how often it got a CPU; WAKE99: 99 % of its wake-ups took less "
		       "time than that until it ran; MOSTLY: the most frequent reason of its exits. "
		       "With --json each picture has absolute times, and all there is.",
	};
	struct top top = { .delay_ns = 2000000000, .left = ~0ull };
	struct view before, now, changes;
	sigset_t leave;

	argp_parse(&argp, argc, argv, 0, NULL, &top);
	top.batch |= !isatty(STDOUT_FILENO) || json_wanted;
	sigemptyset(&leave);
	sigaddset(&leave, SIGINT);
	sigaddset(&leave, SIGTERM);
	sigaddset(&leave, SIGHUP);
	sigprocmask(SIG_BLOCK, &leave, NULL);

	if (!top.batch)
		fputs("\033[?25l\033[2J", stdout);
	view_take(&before);
	while (top.left-- && wait_for(top.delay_ns, &leave)) {
		view_take(&now);
		view_copy(&changes, &now);
		if (!json_wanted)
			view_since(&changes, &before);
		print_picture(&top, &changes);
		view_free(&changes);
		view_free(&before);
		before = now;
	}
	if (!top.batch)
		fputs("\033[?25h\n", stdout);
	return 0;
}
