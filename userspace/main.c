// SPDX-License-Identifier: GPL-2.0-only
/* The labvisor program: find the command, hand over to it. */
#include <argp.h>
#include <stdio.h>
#include <string.h>

#include "options.h"

#ifndef VERSION
#define VERSION "0.1"
#endif

const char *argp_program_version = "labvisor " VERSION;

static const struct command {
	const char *name;
	int (*main)(int argc, char **argv);
} commands[] = {
	{ "run", cmd_run },
	{ "exec", cmd_exec },
	{ "sched", cmd_sched },
};

static const struct command *find_command(const char *name)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(commands); i++)
		if (!strcmp(name, commands[i].name))
			return &commands[i];
	return NULL;
}

/* The command, and where in argv it is. */
struct command_line {
	const struct command *command;
	int index;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct command_line *line = state->input;

	switch (key) {
	case 'v':
		verbose = true;
		break;
	case ARGP_KEY_ARG:
		line->command = find_command(arg);
		if (!line->command)
			argp_error(state, "there is no command '%s'", arg);
		/* What follows is the command's own. */
		line->index = state->next - 1;
		state->next = state->argc;
		break;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which COMMAND?");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp_option options[] = {
	{ "verbose", 'v', NULL, 0, "Tell what is done", 0 }, { 0 }
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "COMMAND [OPTION...]",
	.doc = "Run virtual machines on Labvisor, or on anything else with the KVM API."
	       "\vCommands:\n"
	       "  run    boot a Linux kernel\n"
	       "  exec   run a bare-metal guest\n"
	       "  sched  schedule vCPUs: pools, policies, statistics\n"
	       "\n"
	       "'labvisor COMMAND --help' tells about each. The manual page is "
	       "labvisor(1).",
};

int main(int argc, char **argv)
{
	struct command_line line = { 0 };
	char name[32];

	argp_err_exit_status = EXIT_USAGE;
	argp_parse(&argp, argc, argv, ARGP_IN_ORDER, NULL, &line);
	/* The command's usage messages begin with its name. */
	snprintf(name, sizeof(name), "labvisor %s", line.command->name);
	argv[line.index] = name;
	return line.command->main(argc - line.index, argv + line.index);
}
