// SPDX-License-Identifier: GPL-2.0-only
/* labvisor sched list and stat: what there is, and where the time goes. */
#include <string.h>

#include "tool.h"

/* ---- list ---- */

static void print_policies(void)
{
	struct lv_policy_info info = { 0 };
	int n = 0;

	for (; !sched_ioctl(LV_POLICY_INFO, &info); info.index++) {
		printf("%s%s", n++ ? ", " : "policies: ", info.name);
		if (*info.module)
			printf(" (module %s)", info.module);
	}
	puts("");
}

static void print_pools(const struct view *view)
{
	const struct lv_pool_info *p;
	char cpus[256];

	table_begin("POOL NAME POLICY CPUS >SLICE >VMS >VCPUS >SWITCHES NOTE");
	for (p = view->pools; p < view->pools + view->nr_pools; p++) {
		show_cpus(p->cpus, cpus, sizeof(cpus));
		table_cell("%u", p->id);
		table_cell("%s", p->name);
		table_cell("%s", p->policy);
		table_cell("%s", p->id ? cpus : "all");
		table_cell("%s", show_time(p->slice_ns));
		table_cell("%u", p->nr_vms);
		table_cell("%u", p->nr_vcpus);
		table_cell("%llu", (unsigned long long)p->switches);
		table_cell("%s%s", *p->fault ? "thrown out: " : "", p->fault);
	}
	table_end(stdout);
}

static void cell_deadline(u64 period, u64 budget)
{
	if (period)
		table_cell("%s/%s", show_time(budget), show_time(period));
	else
		table_cell("-");
}

static void print_vms(const struct view *view)
{
	const struct lv_pool_info *pool;
	const struct vm_view *vm;

	table_begin("VM POOL >PID COMMAND >VCPUS >WEIGHT >CAP >DEADLINE");
	for (vm = view->vms; vm < view->vms + view->nr_vms; vm++) {
		pool = view_pool(view, vm->info.pool);
		table_cell("%u", vm->info.id);
		table_cell("%s", pool ? pool->name : "?");
		table_cell("%d", vm->info.pid);
		table_cell("%s", vm->info.comm);
		table_cell("%zu", vm->nr_vcpus);
		table_cell("%u", vm->info.params.weight);
		if (vm->info.params.cap)
			table_cell("%u%%", vm->info.params.cap);
		else
			table_cell("-");
		cell_deadline(vm->info.params.period_ns,
			      vm->info.params.budget_ns);
	}
	table_end(stdout);
}

static struct json_object *json_policies(void)
{
	struct json_object *array = json_object_new_array(), *policy;
	struct lv_policy_info info = { 0 };

	for (; !sched_ioctl(LV_POLICY_INFO, &info); info.index++) {
		policy = json_object_new_object();
		json_add_text(policy, "name", info.name);
		json_add_text(policy, "module", info.module);
		json_object_array_add(array, policy);
	}
	return array;
}

static error_t parse_nothing(int key, char *arg, struct argp_state *state)
{
	if (key == ARGP_KEY_ARG)
		argp_error(state, "'%s' is too much", arg);
	return ARGP_ERR_UNKNOWN;
}

/** cmd_sched_list() - the command 'sched list' */
int cmd_sched_list(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse_nothing,
		.children = common_children,
		.doc = "Show policies, pools and VMs.",
	};
	struct json_object *json;
	struct view view;

	argp_parse(&argp, argc, argv, 0, NULL, NULL);
	view_take(&view);
	if (json_wanted) {
		json = json_view(&view);
		json_object_object_add(json, "policies", json_policies());
		json_print(json);
	} else {
		print_policies();
		puts("");
		print_pools(&view);
		puts("");
		print_vms(&view);
	}
	view_free(&view);
	return 0;
}

/* ---- stat ---- */

/* The most frequent first, with their counts. */
static void print_counts(const char *title, const char *const *names,
			 const __u64 *counts, size_t nr)
{
	u64 limit = ~0ull, top;
	size_t i;

	printf("  %-8s", title);
	do {
		top = 0;
		for (i = 0; i < nr; i++)
			if (names[i] && counts[i] < limit && counts[i] > top)
				top = counts[i];
		for (i = 0; i < nr && top; i++)
			if (names[i] && counts[i] == top)
				printf(" %s %llu", names[i],
				       (unsigned long long)top);
		limit = top;
	} while (top);
	puts("");
}

static void print_times(const struct lv_vcpu_info *v)
{
	u64 all = 0;
	size_t i;

	for (i = 0; i < LV_INFO_TIMES; i++)
		all += v->time_ns[i];
	printf("  time    ");
	for (i = 0; i < LV_INFO_TIMES; i++)
		if (time_names[i] && v->time_ns[i])
			printf(" %s %s (%s%%)", time_names[i],
			       show_time(v->time_ns[i]),
			       show_percent(v->time_ns[i], all));
	puts("");
}

static void print_latency(const struct lv_vcpu_info *v)
{
	if (!v->latency_max_ns)
		return;
	printf("  latency  of wake-ups: half below %s, 99 %% below %s, longest %s\n",
	       show_time(latency_quantile(v->latency, 50)),
	       show_time(latency_quantile(v->latency, 99)),
	       show_time(v->latency_max_ns));
}

static void print_vcpu(const struct lv_vm_info *vm,
		       const struct lv_vcpu_info *v)
{
	const char *exits[LV_INFO_EXITS];
	unsigned int i;

	for (i = 0; i < LV_INFO_EXITS; i++)
		exits[i] = exit_name(i);
	printf("VM %u (%s) vCPU %u: %s", vm->id, vm->comm, v->vcpu,
	       state_name(v));
	if (v->cpu != ~0u)
		printf(", CPU %u", v->cpu);
	if (v->tid)
		printf(", thread %d", v->tid);
	puts("");
	print_times(v);
	printf("  CPUs     got one %llu times, another one than before %llu times\n",
	       (unsigned long long)v->dispatches,
	       (unsigned long long)v->migrations);
	print_counts("wake-ups", wake_names, v->wakes, LV_INFO_WAKES);
	print_counts("stops", stop_names, v->stops, LV_INFO_STOPS);
	print_latency(v);
	print_counts("exits", exits, v->exit_reason, LV_INFO_EXITS);
	if (v->period_ns)
		printf("  deadline budget %s in each %s\n",
		       show_time(v->budget_ns), show_time(v->period_ns));
	if (*v->policy_text)
		printf("  policy   %s\n", v->policy_text);
}

static error_t parse_vms(int key, char *arg, struct argp_state *state)
{
	struct arguments *vms = state->input;

	if (key != ARGP_KEY_ARG)
		return ARGP_ERR_UNKNOWN;
	argument_take(vms, ARRAY_SIZE(vms->texts), arg, state);
	return 0;
}

static bool is_wanted(const struct arguments *vms, u32 id)
{
	unsigned int i;

	for (i = 0; i < vms->nr; i++)
		if (parse_id(vms->texts[i], "VM") == id)
			return true;
	return !vms->nr;
}

/* Leave only those that were asked for. */
static void view_filter(struct view *view, const struct arguments *vms)
{
	size_t i, left = 0;

	for (i = 0; i < vms->nr; i++)
		find_vm(parse_id(vms->texts[i], "VM"));
	for (i = 0; i < view->nr_vms; i++)
		if (is_wanted(vms, view->vms[i].info.id))
			view->vms[left++] = view->vms[i];
	view->nr_vms = left;
}

/** cmd_sched_stat() - the command 'sched stat' */
int cmd_sched_stat(int argc, char **argv)
{
	static const struct argp argp = {
		.parser = parse_vms,
		.children = common_children,
		.args_doc = "[VM...]",
		.doc = "Show where the time of vCPUs goes, what woke and stopped them, how long "
		       "wake-ups took, and why they left the guest."
		       "\v"
		       "Times: run: in the guest, or in the kernel for it; steal: it has a CPU of "
		       "the pool, but the host runs something else there; away: it has a CPU and "
		       "its thread is in user space; ready: it waits for a CPU; parked: it could "
		       "run, but the policy holds it back (cap, budget, co-scheduling); blocked: "
		       "it halted; out: in user space or held up by the host. In a pool of policy "
		       "host, run and ready are what Linux says of its thread.",
	};
	struct arguments vms = { 0 };
	struct view view;
	size_t i, j;

	argp_parse(&argp, argc, argv, 0, NULL, &vms);
	view_take(&view);
	view_filter(&view, &vms);
	if (json_wanted) {
		json_print(json_view(&view));
		return 0;
	}
	for (i = 0; i < view.nr_vms; i++)
		for (j = 0; j < view.vms[i].nr_vcpus; j++)
			print_vcpu(&view.vms[i].info, &view.vms[i].vcpus[j]);
	view_free(&view);
	return 0;
}
