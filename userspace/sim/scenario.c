// SPDX-License-Identifier: GPL-2.0-only
/*
 * A scenario as text: KEY=VALUE,... of the command line, or an object of a JSON
 * file with the same keys. Times have a unit: ns, us, ms, s.
 */
#include <ctype.h>
#include <errno.h>
#include <json-c/json.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include "sim.h"

#define MS 1000000ULL

#define MAX_CPUS 1024
#define MAX_VCPUS 255
#define MAX_VMS 65536
#define MAX_STEPS 10000000

enum kind {
	NUMBER,
	LONG,
	TIME,
	NAME,
	GUEST,
	SPREAD,
	SCRIPT,
};

/* A key: what it is, where it goes, and its range. */
struct key {
	const char *name;
	enum kind kind;
	size_t offset;
	uint64_t min, max;
};

#define TOP(key, kind, min, max)                                       \
	{                                                              \
#key, kind, offsetof(struct sim_config, key), min, max \
	}
#define VM(key, kind, min, max)                                           \
	{                                                                 \
#key, kind, offsetof(struct sim_vm_config, key), min, max \
	}
#define HOUR 3600000000000ULL

static const struct key top_keys[] = {
	TOP(policy, NAME, 0, 0),
	TOP(cpus, NUMBER, 1, MAX_CPUS),
	TOP(seed, LONG, 0, ~0ULL),
	TOP(time, TIME, 1000, HOUR),
	TOP(slice, TIME, 50000, 10000 * MS),
	TOP(kick, TIME, 0, 100 * MS),
	TOP(wake, TIME, 0, 100 * MS),
	TOP(pause, TIME, 1000, 100 * MS),
	TOP(steal_every, TIME, 0, HOUR),
	TOP(steal_for, TIME, 0, HOUR),
	TOP(switch_every, TIME, 0, HOUR),
	TOP(hotplug_every, TIME, 0, HOUR),
	TOP(move_every, TIME, 0, HOUR),
	TOP(change_every, TIME, 0, HOUR),
	{ 0 },
};

static const struct key vm_keys[] = {
	VM(name, NAME, 0, 0),
	VM(count, NUMBER, 1, MAX_VMS),
	VM(vcpus, NUMBER, 1, MAX_VCPUS),
	VM(weight, NUMBER, 1, 65535),
	VM(cap, NUMBER, 0, 25500),
	VM(group, NUMBER, 0, MAX_VCPUS),
	VM(period, TIME, 0, HOUR),
	VM(budget, TIME, 0, HOUR),
	VM(does, GUEST, 0, 0),
	VM(spread, SPREAD, 0, 0),
	VM(run, TIME, 100, HOUR),
	VM(sleep, TIME, 100, HOUR),
	VM(hold, TIME, 100, HOUR),
	VM(every, TIME, 1000, HOUR),
	VM(user_every, TIME, 0, HOUR),
	VM(user_for, TIME, 100, HOUR),
	VM(held_every, TIME, 0, HOUR),
	VM(held_for, TIME, 100, HOUR),
	{ "file", SCRIPT, 0, 0, 0 },
	{ 0 },
};

static const char *const guests[] = {
	"hog",	  "io",	   "pingpong", "spin",	 "periodic",
	"attack", "yield", "mixed",    "random", NULL,
};

static const char *const spreads[] = { "fixed", "uniform", "exp", NULL };

static const char *parse_word(const char *const *words, const char *text,
			      int *result)
{
	int i;

	for (i = 0; words[i]; i++)
		if (!strcmp(words[i], text)) {
			*result = i;
			return NULL;
		}
	return "unknown word";
}

static const char *parse_time(const char *text, uint64_t *result)
{
	static const struct {
		const char *name;
		double ns;
	} units[] = { { "ns", 1 }, { "us", 1e3 }, { "ms", 1e6 }, { "s", 1e9 } };
	char *end;
	double value = strtod(text, &end);
	size_t i;

	if (end == text || !(value >= 0 && value < 1e10))
		return "not a time";
	*result = 0;
	if (!value && !*end)
		return NULL;
	for (i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (!strcmp(end, units[i].name)) {
			*result = value * units[i].ns + 0.5;
			return NULL;
		}
	return "a time needs a unit: ns, us, ms or s";
}

static const char *parse_number(const char *text, uint64_t *result)
{
	char *end;

	errno = 0;
	*result = strtoull(text, &end, 0);
	if (!isdigit((unsigned char)*text) || *end || errno)
		return "not a number";
	return NULL;
}

/* A step in each line: run, halt or user with a time; yield. # is a comment. */
static const char *parse_step(char *line, struct sim_step *step)
{
	char *word = strtok(line, " \t\n"), *arg = strtok(NULL, " \t\n");

	*step = (struct sim_step){ 0 };
	if (!word || *word == '#')
		return NULL;
	if (strcmp(word, "run") && strcmp(word, "halt") &&
	    strcmp(word, "user") && strcmp(word, "yield"))
		return "a step that is not run, halt, user or yield";
	step->what = *word;
	if (*word == 'y')
		return NULL;
	return arg ? parse_time(arg, &step->ns) : "a step without a time";
}

void sim_add_step(struct sim_script *script, struct sim_step step)
{
	if (script->nr == script->room) {
		script->room = 2 * script->room + 16;
		script->steps =
			realloc(script->steps, script->room * sizeof(step));
	}
	if (!script->steps)
		abort();
	script->steps[script->nr++] = step;
}

struct sim_script *sim_new_script(struct sim_vm_config *vm)
{
	vm->scripts = realloc(vm->scripts,
			      (vm->nr_scripts + 1) * sizeof(*vm->scripts));
	if (!vm->scripts)
		abort();
	vm->does = SIM_SCRIPT;
	vm->scripts[vm->nr_scripts] = (struct sim_script){ 0 };
	return &vm->scripts[vm->nr_scripts++];
}

static void free_scripts(struct sim_vm_config *vm)
{
	uint32_t i;

	for (i = 0; i < vm->nr_scripts; i++)
		free(vm->scripts[i].steps);
	free(vm->scripts);
	vm->scripts = NULL;
	vm->nr_scripts = 0;
}

static const char *load_script(const char *path, struct sim_vm_config *vm)
{
	FILE *file = fopen(path, "r");
	const char *wrong = NULL;
	struct sim_script *script;
	struct sim_step step;
	uint64_t time = 0;
	char line[256];

	if (!file)
		return "cannot be opened";
	free_scripts(vm);
	script = sim_new_script(vm);
	while (!wrong && fgets(line, sizeof(line), file)) {
		wrong = parse_step(line, &step);
		if (wrong || !step.what)
			continue;
		sim_add_step(script, step);
		time += step.ns;
		if (script->nr == MAX_STEPS)
			wrong = "too many steps";
	}
	fclose(file);
	if (!wrong && !time)
		wrong = "no step takes any time";
	return wrong;
}

static const char *parse_name(const char *text, char *name)
{
	size_t i;

	for (i = 0; text[i]; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr("-_.", text[i]))
			return "a name has letters, digits, '-', '_' and '.'";
	if (!i || i >= SIM_NAME)
		return "a name has 1 to 15 characters";
	strcpy(name, text);
	return NULL;
}

static const char *set(const struct key *key, void *object, const char *name,
		       const char *text)
{
	uint64_t value = 0;
	const char *wrong;
	void *field;
	int word;

	while (key->name && strcmp(key->name, name))
		key++;
	if (!key->name)
		return "there is no such key";
	field = (char *)object + key->offset;
	switch (key->kind) {
	case NAME:
		return parse_name(text, field);
	case GUEST:
		wrong = parse_word(guests, text, &word);
		if (!wrong)
			*(enum sim_guest *)field = word;
		return wrong;
	case SPREAD:
		wrong = parse_word(spreads, text, &word);
		if (!wrong)
			*(enum sim_spread *)field = word;
		return wrong;
	case SCRIPT:
		return load_script(text, object);
	case TIME:
		wrong = parse_time(text, &value);
		break;
	default:
		wrong = parse_number(text, &value);
	}
	if (wrong)
		return wrong;
	if (value < key->min || value > key->max)
		return "out of range";
	if (key->kind == NUMBER)
		*(uint32_t *)field = value;
	else
		*(uint64_t *)field = value;
	return NULL;
}

void sim_defaults(struct sim_config *config)
{
	*config = (struct sim_config){
		.policy = "credit",
		.cpus = 2,
		.seed = 1,
		.time = 10000 * MS,
		.slice = 10 * MS,
		.kick = 2000,
		.wake = 5000,
		.pause = 50000,
		.steal_for = MS,
	};
}

void sim_config_free(struct sim_config *config)
{
	uint32_t i;

	for (i = 0; i < config->nr_vms; i++)
		free_scripts(&config->vms[i]);
	free(config->vms);
}

const char *sim_set(struct sim_config *config, const char *key,
		    const char *value)
{
	return set(top_keys, config, key, value);
}

struct sim_vm_config *sim_new_vm(struct sim_config *config)
{
	struct sim_vm_config *vm;

	config->vms = realloc(config->vms,
			      (config->nr_vms + 1) * sizeof(*config->vms));
	if (!config->vms)
		abort();
	vm = &config->vms[config->nr_vms];
	*vm = (struct sim_vm_config){
		.count = 1,
		.vcpus = 1,
		.weight = 256,
		.run = MS,
		.sleep = MS,
		.hold = MS / 100,
		.every = 10 * MS,
		.user_for = MS / 20,
		.held_for = MS,
	};
	snprintf(vm->name, sizeof(vm->name), "vm%u", config->nr_vms++);
	return vm;
}

static const char *check_vm(const struct sim_config *config,
			    const struct sim_vm_config *vm)
{
	uint64_t vcpus = 0;
	uint32_t i;

	for (i = 0; i < config->nr_vms; i++)
		vcpus += (uint64_t)config->vms[i].count * config->vms[i].vcpus;
	if (vcpus > 1000000)
		return "more than a million vCPUs";
	if (vm->does == SIM_ATTACK && vm->sleep >= vm->every)
		return "attack sleeps for less than the time between ticks";
	return NULL;
}

const char *sim_add_vm(struct sim_config *config, const char *text)
{
	struct sim_vm_config *vm = sim_new_vm(config);
	char *copy = strdup(text), *rest = copy, *key, *value;
	const char *wrong = NULL;

	if (!copy)
		abort();
	while (!wrong && (key = strsep(&rest, ","))) {
		value = strchr(key, '=');
		if (!value) {
			wrong = "KEY=VALUE,... is wanted";
			break;
		}
		*value++ = 0;
		wrong = set(vm_keys, vm, key, value);
	}
	free(copy);
	return wrong ?: check_vm(config, vm);
}

/* ---- JSON ---- */

static const char *load_vm_key(struct sim_vm_config *vm, const char *key,
			       struct json_object *value)
{
	return set(vm_keys, vm, key, json_object_get_string(value) ?: "");
}

static const char *load_vms(struct sim_config *config, struct json_object *list)
{
	const char *wrong = NULL;
	size_t i;

	if (!json_object_is_type(list, json_type_array))
		return "\"vms\" is not a list";
	for (i = 0; i < json_object_array_length(list) && !wrong; i++) {
		struct json_object *object = json_object_array_get_idx(list, i);
		struct sim_vm_config *vm = sim_new_vm(config);

		if (!json_object_is_type(object, json_type_object))
			return "a VM is not an object";
		json_object_object_foreach(object, key, value)
			wrong = wrong ?: load_vm_key(vm, key, value);
		wrong = wrong ?: check_vm(config, vm);
	}
	return wrong;
}

static const char *load_key(struct sim_config *config, const char *key,
			    struct json_object *value)
{
	if (!strcmp(key, "vms"))
		return load_vms(config, value);
	return sim_set(config, key, json_object_get_string(value) ?: "");
}

const char *sim_load(struct sim_config *config, const char *path)
{
	struct json_object *top = json_object_from_file(path);
	const char *wrong = NULL;

	if (!top)
		return "not a JSON file that can be read";
	if (json_object_is_type(top, json_type_object)) {
		json_object_object_foreach(top, key, value)
			wrong = wrong ?: load_key(config, key, value);
	} else {
		wrong = "not a JSON object";
	}
	json_object_put(top);
	return wrong;
}
