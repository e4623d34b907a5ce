// SPDX-License-Identifier: GPL-2.0-only
/* labvisor sched sim: scheduling policies on virtual time. */
#include <string.h>

#include "../options.h"
#include "sim.h"

enum {
	OPT_VM = 0x300,
	OPT_JSON,
	OPT_FILE,
	OPT_RECORDING,
	OPT_SWEEP,
};

static const struct argp_option options[] = {
	{ "policy", 'p', "NAME", 0, "The policy (default: credit)", 0 },
	{ "cpus", 'c', "N", 0, "CPUs of the pool (default: 2)", 0 },
	{ "time", 't', "TIME", 0, "How long, like 500ms or 20s (default: 10s)",
	  0 },
	{ "seed", 's', "N", 0, "Of all that is random (default: 1)", 0 },
	{ "vm", OPT_VM, "KEY=VALUE,...", 0, "A VM, or several", 0 },
	{ "set", 'S', "KEY=VALUE", 0, "Anything else of the scenario", 0 },
	{ "file", OPT_FILE, "FILE", 0, "A scenario in JSON", 0 },
	{ "recording", OPT_RECORDING, "FILE", 0,
	  "The VMs of a recording of 'labvisor sched record', each vCPU doing what it did then",
	  0 },
	{ "json", OPT_JSON, NULL, 0, "Print the result as JSON", 0 },
	{ "sweep", OPT_SWEEP, "KEY=VALUE,...", 0,
	  "Simulate once for each value, a line each; KEY may be policy, cpus, time, seed, or one of --set",
	  0 },
	{ 0 }
};

static const char doc[] =
	"Simulate a pool: the module's own policies on virtual time, "
	"with guests that are as simple as said. The same seed gives the "
	"same result.\vKeys of a VM: name, count, vcpus, weight, cap "
	"(percent of a CPU), group (vCPUs in a gang), period, budget; "
	"does: hog, io (run, sleep), pingpong (run), spin (run, hold a "
	"lock), periodic (run, every), attack (sleep at each tick, "
	"every), yield (run), mixed (even vCPUs hog, odd io), random "
	"(run, sleep); spread of run and sleep: fixed, uniform, exp; "
	"user_every, user_for: trips to user space; held_every, "
	"held_for: the host holds a thread up; file: what to do, a line "
	"each: run TIME, halt TIME, user TIME, yield.\n\nKeys for --set: "
	"slice, kick, wake, pause (how long a guest spins until it "
	"exits), steal_every, steal_for, switch_every (to any policy), "
	"hotplug_every, move_every, change_every.\n\nA JSON file has the "
	"keys of --set, the options above, and \"vms\": a list of "
	"objects with the keys of a VM.\n\n"
	"A recording gives each VM its weight, cap, period and budget, and each "
	"vCPU the bursts in which it ran, with the halts, yields and trips to "
	"user space between them, over and over. --cpus, --time and slice are "
	"those of the recording, unless they are given behind it. A halt takes as long as "
	"it took then, whoever ended it.\n\n"
	"Examples:\n"
	"  labvisor sched sim --cpus 1 --vm weight=256 --vm weight=512 "
	"--vm does=io,run=100us,sleep=5ms\n"
	"  labvisor sched sim --sweep policy=rr,credit,gang --cpus 4 "
	"--vm vcpus=4,does=spin,run=20us,hold=5us --vm count=2,vcpus=3\n"
	"  labvisor sched sim --recording labvisor.dat --sweep policy=host,rr,credit";

/* What the command line says. */
struct line {
	struct sim_config config;
	bool json;
	char *sweep; /* its key, and behind that the values */
	char *values;
};

static void check(struct argp_state *state, const char *what, const char *text,
		  const char *wrong)
{
	if (wrong)
		argp_error(state, "%s '%s': %s", what, text, wrong);
}

static void set_pair(struct argp_state *state, struct sim_config *config,
		     const char *text)
{
	const char *value = strchr(text, '=');
	char key[32] = "";

	if (value && (size_t)(value - text) < sizeof(key))
		memcpy(key, text, value - text);
	check(state, "--set", text,
	      *key ? sim_set(config, key, value + 1) : "KEY=VALUE is wanted");
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct line *line = state->input;
	struct sim_config *config = &line->config;

	switch (key) {
	case 'p':
		check(state, "--policy", arg, sim_set(config, "policy", arg));
		break;
	case 'c':
		check(state, "--cpus", arg, sim_set(config, "cpus", arg));
		break;
	case 't':
		check(state, "--time", arg, sim_set(config, "time", arg));
		break;
	case 's':
		check(state, "--seed", arg, sim_set(config, "seed", arg));
		break;
	case 'S':
		set_pair(state, config, arg);
		break;
	case OPT_VM:
		check(state, "--vm", arg, sim_add_vm(config, arg));
		break;
	case OPT_FILE:
		check(state, "--file", arg, sim_load(config, arg));
		break;
	case OPT_RECORDING:
		check(state, "--recording", arg,
		      sim_load_recording(config, arg));
		break;
	case OPT_SWEEP:
		line->sweep = arg;
		line->values = strchr(arg, '=');
		if (!line->values)
			argp_error(state, "--sweep takes KEY=VALUE,...");
		*line->values++ = 0;
		break;
	case OPT_JSON:
		line->json = true;
		break;
	case ARGP_KEY_ARG:
		argp_error(state, "what is '%s'?", arg);
		break;
	case ARGP_KEY_END:
		if (!config->nr_vms)
			argp_error(state,
				   "no VM: use --vm, --file or --recording");
		if (line->sweep && line->json)
			argp_error(state,
				   "--sweep and --json exclude each other");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.doc = doc,
};

static struct sim *simulate(const struct sim_config *config)
{
	const char *wrong;
	struct sim *sim = sim_new(config, &wrong);

	if (!sim)
		die(EXIT_USAGE, "%s", wrong);
	sim_run(sim, SIM_START + config->time);
	return sim;
}

/* What a policy does not admit is no reason to stop. */
static void sweep(struct line *line)
{
	const char *wrong;
	struct sim *sim;
	char *value;

	sim_print_head(line->sweep, stdout);
	while ((value = strsep(&line->values, ","))) {
		wrong = sim_set(&line->config, line->sweep, value);
		if (wrong)
			die(EXIT_USAGE, "--sweep %s=%s: %s", line->sweep, value,
			    wrong);
		sim = sim_new(&line->config, &wrong);
		if (!sim) {
			printf("%-14s %s\n", value, wrong);
			continue;
		}
		sim_run(sim, SIM_START + line->config.time);
		sim_print_line(sim, value, stdout);
		sim_free(sim);
	}
}

int cmd_sched_sim(int argc, char **argv)
{
	struct line line = { 0 };
	struct sim *sim;

	sim_defaults(&line.config);
	argp_parse(&argp, argc, argv, 0, NULL, &line);
	if (line.sweep) {
		sweep(&line);
	} else {
		sim = simulate(&line.config);
		if (line.json)
			sim_print_json(sim, stdout);
		else
			sim_print(sim, stdout);
		sim_free(sim);
	}
	sim_config_free(&line.config);
	return 0;
}
