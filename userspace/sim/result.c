// SPDX-License-Identifier: GPL-2.0-only
/* What came out of a simulation. */
#include <inttypes.h>

#include "sim_core.h"

void sim_sample(struct sim_samples *s, u64 ns)
{
	if (s->nr == s->room) {
		s->room = 2 * s->room + 64;
		s->us10 = realloc(s->us10, s->room * sizeof(*s->us10));
		if (!s->us10)
			abort();
	}
	s->us10[s->nr++] = min_t(u64, ns / 100, ~0u);
}

static int compare(const void *a, const void *b)
{
	u32 x = *(const u32 *)a, y = *(const u32 *)b;

	return (x > y) - (x < y);
}

/* In ns: so many of a thousand are no longer. They are in order after it. */
u64 sim_percentile(struct sim_samples *s, u32 permille)
{
	if (!s->nr)
		return 0;
	qsort(s->us10, s->nr, sizeof(*s->us10), compare);
	return 100ULL * s->us10[(u64)(s->nr - 1) * permille / 1000];
}

u64 sim_vm_time(struct sim_vm *vm, enum lv_sched_time time)
{
	u64 sum = 0;
	u32 i;

	for (i = 0; i < vm->config->vcpus; i++)
		sum += vm->vcpus[i].core.time[time];
	return sum;
}

static u64 executed(struct sim_vm *vm)
{
	u64 sum = 0;
	u32 i;

	for (i = 0; i < vm->config->vcpus; i++)
		sum += vm->vcpus[i].executed;
	return sum;
}

static u64 executed_by_all(struct sim *sim)
{
	u64 sum = 0;
	u32 i;

	for (i = 0; i < sim->nr_vms; i++)
		sum += executed(&sim->vms[i]);
	return sum;
}

static u64 waited_max(struct sim_vm *vm)
{
	u64 most = 0;
	u32 i;

	for (i = 0; i < vm->config->vcpus; i++)
		most = max(most, vm->vcpus[i].waited_max);
	return most;
}

/* Jain's index of what each VM got for its weight: 1 is fair. */
double sim_jain(struct sim *sim)
{
	double sum = 0, squares = 0, x;
	u32 i;

	for (i = 0; i < sim->nr_vms; i++) {
		x = (double)executed(&sim->vms[i]) /
		    sim->vms[i].core.params.weight;
		sum += x;
		squares += x * x;
	}
	return squares ? sum * sum / (sim->nr_vms * squares) : 1;
}

/* Bring all counters up to now. */
static void finish(struct sim *sim)
{
	u32 i;

	sim->pool.now = sim->now;
	for (i = 0; i < sim->nr_vcpus; i++) {
		struct sim_vcpu *v = &sim->vcpus[i];

		if (v->core.pool)
			lv_sched_charge(&v->core);
		if (v->executes) {
			v->executed += sim->now - v->executes_since;
			v->executes_since = sim->now;
		}
	}
}

static double ms(u64 ns)
{
	return ns / 1e6;
}

static double us(u64 ns)
{
	return ns / 1e3;
}

static double percent(u64 part, u64 whole)
{
	return whole ? 100.0 * part / whole : 0;
}

static void print_vm(struct sim_vm *vm, FILE *to, u64 all)
{
	u64 p50 = sim_percentile(&vm->latency, 500);

	fprintf(to, "%-14s %5u %6u %10.1f %6.2f %9.1f %9.1f %9.1f", vm->name,
		vm->config->vcpus, vm->core.params.weight, ms(executed(vm)),
		percent(executed(vm), all), ms(sim_vm_time(vm, LV_TIME_READY)),
		ms(sim_vm_time(vm, LV_TIME_PARKED)),
		ms(sim_vm_time(vm, LV_TIME_STEAL)));
	fprintf(to, " %8.1f %8.1f %8.1f %8.1f %8" PRIu64 " %6" PRIu64 "\n",
		ms(waited_max(vm)), us(p50),
		us(sim_percentile(&vm->latency, 990)),
		us(sim_percentile(&vm->latency, 1000)), vm->rounds, vm->missed);
}

static void print_extra(struct sim_vm *vm, FILE *to, u64 time)
{
	if (vm->core.params.cap)
		fprintf(to,
			"%s: %.2f %% of a CPU, cap %u %%; at most %.2f ms above it in a window of %.0f ms\n",
			vm->name, percent(executed(vm), time),
			vm->core.params.cap, ms(vm->cap_excess),
			ms(SIM_WINDOW));
	if (vm->missed)
		fprintf(to, "%s: at worst a job was %.3f ms late\n", vm->name,
			ms(vm->late_max));
	if (vm->partial)
		fprintf(to,
			"%s: for %.2f %% of the time some vCPUs ran while others waited, for %.3f ms at a stretch\n",
			vm->name, percent(vm->partial, time),
			ms(vm->partial_max));
}

void sim_print(struct sim *sim, FILE *to)
{
	u64 all, time = sim->now - SIM_START;
	u32 i;

	finish(sim);
	all = executed_by_all(sim);
	fprintf(to,
		"policy %s, %u CPUs, %u VMs, %u vCPUs, %.0f ms, seed %" PRIu64
		"\n\n",
		sim->config.policy, sim->config.cpus, sim->nr_vms,
		sim->nr_vcpus, ms(time), sim->config.seed);
	fprintf(to, "%-14s %5s %6s %10s %6s %9s %9s %9s", "VM", "vCPUs",
		"weight", "run ms", "%", "ready ms", "parked", "steal");
	fprintf(to, " %8s %8s %8s %8s %8s %6s\n", "wait max", "p50 us", "p99",
		"max", "rounds", "missed");
	for (i = 0; i < sim->nr_vms; i++)
		print_vm(&sim->vms[i], to, all);
	fprintf(to, "\n");
	for (i = 0; i < sim->nr_vms; i++)
		print_extra(&sim->vms[i], to, time);
	fprintf(to,
		"CPUs used %.2f %%, idle while a vCPU waited %.2f %%; fairness (Jain, by weight) %.4f\n",
		percent(all, time * sim->config.cpus),
		percent(sim->wasted, time), sim_jain(sim));
	fprintf(to, "%" PRIu64 " events, %" PRIu64 " dispatches", sim->events,
		sim->dispatches);
	if (sim->nr_switches)
		fprintf(to, ", %" PRIu64 " switches of policy",
			sim->nr_switches);
	fprintf(to, "\n");
	if (sim->thrown)
		fprintf(to, "the policy was thrown out: it %s\n", sim->fault);
}

/* ---- several simulations ---- */

void sim_print_head(const char *key, FILE *to)
{
	fprintf(to, "%-14s %7s %7s %7s %9s %9s %9s %9s %8s %7s %9s\n", key,
		"used %", "waste %", "jain", "wait max", "p99 us", "max us",
		"rounds", "missed", "part %", "switches");
}

/* All VMs together: the worst of what is bad, the sum of the rest. */
void sim_print_line(struct sim *sim, const char *value, FILE *to)
{
	u64 time = sim->now - SIM_START, wait = 0, p99 = 0, most = 0;
	u64 rounds = 0, missed = 0, partial = 0;
	u32 i;

	finish(sim);
	for (i = 0; i < sim->nr_vms; i++) {
		struct sim_vm *vm = &sim->vms[i];

		wait = max(wait, waited_max(vm));
		p99 = max(p99, sim_percentile(&vm->latency, 990));
		most = max(most, sim_percentile(&vm->latency, 1000));
		partial = max(partial, vm->partial);
		rounds += vm->rounds;
		missed += vm->missed;
	}
	fprintf(to, "%-14s %7.2f %7.2f %7.4f %9.2f %9.1f %9.1f", value,
		percent(executed_by_all(sim), time * sim->config.cpus),
		percent(sim->wasted, time), sim_jain(sim), ms(wait), us(p99),
		us(most));
	fprintf(to, " %9" PRIu64 " %8" PRIu64 " %7.2f %9" PRIu64 "%s\n", rounds,
		missed, percent(partial, time), sim->dispatches,
		sim->thrown ? " thrown out" : "");
}

/* ---- JSON ---- */

static void json_vcpu(struct sim_vcpu *v, FILE *to)
{
	static const char *const names[] = {
		"run", "steal", "away", "ready", "parked", "blocked", "out",
	};
	u32 i;

	fprintf(to, "{\"executed\": %" PRIu64, v->executed);
	for (i = 0; i < LV_NR_TIMES; i++)
		fprintf(to, ", \"%s\": %" PRIu64, names[i], v->core.time[i]);
	fprintf(to,
		", \"dispatches\": %" PRIu64 ", \"migrations\": %" PRIu64
		", \"waited_max\": %" PRIu64 "}",
		v->core.dispatches, v->core.migrations, v->waited_max);
}

/* Names come from the command line: no quotes, no backslashes in them. */
static void json_vm(struct sim_vm *vm, FILE *to, u64 all)
{
	static const u32 permille[] = { 500, 900, 990, 999, 1000 };
	u32 i;

	fprintf(to,
		"    {\"name\": \"%s\", \"weight\": %u, \"cap\": %u, \"executed\": %" PRIu64
		", \"share\": %.6f,\n",
		vm->name, vm->core.params.weight, vm->core.params.cap,
		executed(vm), percent(executed(vm), all) / 100);
	fprintf(to,
		"     \"rounds\": %" PRIu64 ", \"missed\": %" PRIu64
		", \"late_max\": %" PRIu64 ", \"cap_excess\": %" PRIu64
		", \"partial\": %" PRIu64 ", \"partial_max\": %" PRIu64 ",\n",
		vm->rounds, vm->missed, vm->late_max, vm->cap_excess,
		vm->partial, vm->partial_max);
	fprintf(to, "     \"wakes\": %u, \"latency\": {", vm->latency.nr);
	for (i = 0; i < ARRAY_SIZE(permille); i++)
		fprintf(to, "%s\"%.1f\": %" PRIu64, i ? ", " : "",
			permille[i] / 10.0,
			sim_percentile(&vm->latency, permille[i]));
	fprintf(to, "},\n     \"vcpus\": [");
	for (i = 0; i < vm->config->vcpus; i++) {
		fprintf(to, "%s", i ? ",\n       " : "");
		json_vcpu(&vm->vcpus[i], to);
	}
	fprintf(to, "]}");
}

void sim_print_json(struct sim *sim, FILE *to)
{
	u64 all;
	u32 i;

	finish(sim);
	all = executed_by_all(sim);
	fprintf(to,
		"{\n  \"policy\": \"%s\", \"cpus\": %u, \"seed\": %" PRIu64
		", \"time\": %" PRIu64 ",\n",
		sim->config.policy, sim->config.cpus, sim->config.seed,
		sim->now - SIM_START);
	fprintf(to,
		"  \"jain\": %.6f, \"wasted\": %" PRIu64
		", \"events\": %" PRIu64 ", \"dispatches\": %" PRIu64
		", \"switches\": %" PRIu64 ",\n",
		sim_jain(sim), sim->wasted, sim->events, sim->dispatches,
		sim->nr_switches);
	fprintf(to, "  \"thrown\": %u, \"fault\": \"%s\",\n", sim->thrown,
		sim->fault ?: "");
	fprintf(to, "  \"vms\": [\n");
	for (i = 0; i < sim->nr_vms; i++) {
		fprintf(to, "%s", i ? ",\n" : "");
		json_vm(&sim->vms[i], to, all);
	}
	fprintf(to, "\n  ]\n}\n");
}
