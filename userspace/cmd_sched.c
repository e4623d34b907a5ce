// SPDX-License-Identifier: GPL-2.0-only
/* labvisor sched: find the command, hand over to it. */
#include <stdlib.h>
#include <string.h>

#include "options.h"
#include "sched/commands.h"

static const struct command {
	const char *name;
	int (*main)(int argc, char **argv);
} commands[] = {
	{ "list", cmd_sched_list },	{ "create", cmd_sched_create },
	{ "set", cmd_sched_set },	{ "attach", cmd_sched_attach },
	{ "switch", cmd_sched_switch }, { "delete", cmd_sched_delete },
	{ "load", cmd_sched_load },	{ "unload", cmd_sched_unload },
	{ "stat", cmd_sched_stat },	{ "top", cmd_sched_top },
	{ "record", cmd_sched_record }, { "report", cmd_sched_report },
	{ "sim", cmd_sched_sim },
};

static const char *const help =
	"Usage: labvisor sched COMMAND [OPTION...]\n"
	"Who gets which CPU, when and for how long: pools of CPUs, each with a\n"
	"policy that schedules the vCPUs of the VMs in it.\n"
	"\n"
	"  list      show policies, pools and VMs\n"
	"  create    make a pool of CPUs\n"
	"  set       change a pool, or the parameters of a VM or vCPU\n"
	"  attach    move VMs into a pool, while they run\n"
	"  switch    give a pool another policy, while its VMs run\n"
	"  delete    delete a pool without VMs\n"
	"  load      load policies written in BPF\n"
	"  unload    take such a policy back\n"
	"  stat      show in full where the time of vCPUs goes\n"
	"  top       show it live\n"
	"  record    record what the scheduler does\n"
	"  report    draw and sum up a recording\n"
	"  sim       run policies in a simulator\n"
	"\n"
	"'labvisor sched COMMAND --help' tells about each. Exit status: 0 it was\n"
	"done; 1 the host refuses; 2 usage. The manual page is labvisor(1).\n";

static const struct command *find_command(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(name, commands[i].name))
			return &commands[i];
	return NULL;
}

/** cmd_sched - the command 'sched'; returns the exit status. */
int cmd_sched(int argc, char **argv)
{
	const struct command *command;
	static char name[64];

	if (argc > 1 &&
	    (!strcmp(argv[1], "--help") || !strcmp(argv[1], "-?"))) {
		fputs(help, stdout);
		return 0;
	}
	if (argc < 2)
		die(EXIT_USAGE,
		    "which command? 'labvisor sched --help' names them");
	command = find_command(argv[1]);
	if (!command)
		die(EXIT_USAGE,
		    "there is no command 'sched %s': 'labvisor sched --help' names them",
		    argv[1]);
	/* Its usage messages begin with its name. */
	snprintf(name, sizeof(name), "labvisor sched %s", command->name);
	argv[1] = name;
	return command->main(argc - 1, argv + 1);
}
