// SPDX-License-Identifier: GPL-2.0-only
/* The picture of all there is, as JSON. */
#include <string.h>

#include "tool.h"

/** json_add() - one more key, and its number. */
void json_add(struct json_object *to, const char *key, u64 n)
{
	json_object_object_add(to, key, json_object_new_uint64(n));
}

/** json_add_text() - one more key, and its text. */
void json_add_text(struct json_object *to, const char *key, const char *text)
{
	json_object_object_add(to, key, json_object_new_string(text));
}

/* Numbers with names: those without one do not count. */
static void add_counts(struct json_object *to, const char *key,
		       const char *const *names, const __u64 *counts, size_t nr)
{
	struct json_object *object = json_object_new_object();
	size_t i;

	for (i = 0; i < nr; i++)
		if (names[i])
			json_add(object, names[i], counts[i]);
	json_object_object_add(to, key, object);
}

static void add_latency(struct json_object *to, const struct lv_vcpu_info *v)
{
	struct json_object *array = json_object_new_array();
	size_t i;

	for (i = 0; i < LV_INFO_LATENCIES; i++)
		json_object_array_add(array,
				      json_object_new_uint64(v->latency[i]));
	json_object_object_add(to, "latency_log2_us", array);
	json_add(to, "latency_max_ns", v->latency_max_ns);
}

static struct json_object *json_vcpu(const struct lv_vcpu_info *v)
{
	struct json_object *object = json_object_new_object();
	const char *names[LV_INFO_EXITS];
	unsigned int i;

	for (i = 0; i < LV_INFO_EXITS; i++)
		names[i] = exit_name(i);
	json_add(object, "vcpu", v->vcpu);
	json_add_text(object, "state", state_name(v));
	if (v->cpu != ~0u)
		json_add(object, "cpu", v->cpu);
	if (v->tid)
		json_add(object, "tid", v->tid);
	json_add(object, "now_ns", v->now_ns);
	json_add(object, "ran_ns", v->ran_ns);
	add_counts(object, "time_ns", time_names, v->time_ns, LV_INFO_TIMES);
	json_add(object, "dispatches", v->dispatches);
	json_add(object, "migrations", v->migrations);
	add_counts(object, "wakes", wake_names, v->wakes, LV_INFO_WAKES);
	add_counts(object, "stops", stop_names, v->stops, LV_INFO_STOPS);
	add_latency(object, v);
	json_add(object, "exits", v->exits);
	add_counts(object, "exit_reasons", names, v->exit_reason,
		   LV_INFO_EXITS);
	json_add(object, "period_ns", v->period_ns);
	json_add(object, "budget_ns", v->budget_ns);
	json_add_text(object, "policy_says", v->policy_text);
	return object;
}

static struct json_object *json_vm(const struct vm_view *vm)
{
	struct json_object *object = json_object_new_object();
	struct json_object *vcpus = json_object_new_array();
	const struct lv_vm_info *info = &vm->info;
	size_t i;

	json_add(object, "id", info->id);
	json_add(object, "pool", info->pool);
	json_add(object, "pid", info->pid);
	json_add(object, "uid", info->uid);
	json_add_text(object, "command", info->comm);
	json_add(object, "weight", info->params.weight);
	json_add(object, "cap", info->params.cap);
	json_add(object, "group", info->params.group);
	json_add(object, "period_ns", info->params.period_ns);
	json_add(object, "budget_ns", info->params.budget_ns);
	for (i = 0; i < vm->nr_vcpus; i++)
		json_object_array_add(vcpus, json_vcpu(&vm->vcpus[i]));
	json_object_object_add(object, "vcpus", vcpus);
	return object;
}

static struct json_object *json_pool(const struct lv_pool_info *pool)
{
	struct json_object *object = json_object_new_object();
	char cpus[256];

	show_cpus(pool->cpus, cpus, sizeof(cpus));
	json_add(object, "id", pool->id);
	json_add_text(object, "name", pool->name);
	json_add_text(object, "policy", pool->policy);
	json_add_text(object, "fault", pool->fault);
	json_add_text(object, "cpus", cpus);
	json_add(object, "cpus_online", pool->nr_cpus);
	json_add(object, "slice_ns", pool->slice_ns);
	json_add(object, "vms", pool->nr_vms);
	json_add(object, "vcpus", pool->nr_vcpus);
	json_add(object, "switches", pool->switches);
	json_add(object, "now_ns", pool->now_ns);
	json_add(object, "busy_ns", pool->busy_ns);
	return object;
}

/** json_view() - all of it. */
struct json_object *json_view(const struct view *view)
{
	struct json_object *object = json_object_new_object();
	struct json_object *pools = json_object_new_array();
	struct json_object *vms = json_object_new_array();
	size_t i;

	for (i = 0; i < view->nr_pools; i++)
		json_object_array_add(pools, json_pool(&view->pools[i]));
	for (i = 0; i < view->nr_vms; i++)
		json_object_array_add(vms, json_vm(&view->vms[i]));
	json_object_object_add(object, "pools", pools);
	json_object_object_add(object, "vms", vms);
	return object;
}

/** json_print() - print it, and let it go. */
void json_print(struct json_object *object)
{
	puts(json_object_to_json_string_ext(
		object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
				JSON_C_TO_STRING_NOSLASHESCAPE));
	json_object_put(object);
}
