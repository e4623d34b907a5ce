// SPDX-License-Identifier: GPL-2.0-only
/* labvisor run: boot a Linux kernel. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "boot.h"
#include "layout.h"
#include "options.h"

#define DEFAULT_MEMORY MIB(512)
/* A guest that panics shall end, not hang: panic=-1 resets at once. */
#define DEFAULT_CMDLINE "console=ttyS0 panic=-1"

enum {
	OPT_CMD = 0x200
};

static const struct argp_option options[] = {
	{ "initrd", 'i', "FILE", 0, "Initial RAM disk", 0 },
	{ "cmdline", 'a', "TEXT", 0,
	  "Kernel command line (default: " DEFAULT_CMDLINE ")", 0 },
	{ "cmd", OPT_CMD, "COMMAND", 0,
	  "Have the guest's init run COMMAND and exit with its status", 0 },
	{ 0 }
};

/* What the command line says, and the VM that it describes. */
struct run {
	struct vm_config cfg;
	const char *kernel;
	const char *initrd;
	const char *cmdline;
	const char *command;
};

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct run *run = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &run->cfg;
		break;
	case 'i':
		run->initrd = arg;
		break;
	case 'a':
		run->cmdline = arg;
		break;
	case OPT_CMD:
		run->command = arg;
		break;
	case ARGP_KEY_ARG:
		if (run->kernel)
			argp_error(state, "one kernel is enough, not also '%s'",
				   arg);
		run->kernel = arg;
		break;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which KERNEL?");
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

static const struct argp_child children[] = {
	{ .argp = &vm_argp, .header = "The virtual machine:", .group = 1 },
	{ 0 }
};

static const struct argp argp = {
	.options = options,
	.parser = parse,
	.args_doc = "KERNEL",
	.children = children,
	.doc = "Boot Linux: a bzImage, or an uncompressed vmlinux, for x86-64."
	       "\v" KEYS_HELP "\n\n" STATUS_HELP "\n\n"
	       "With --cmd, the kernel's command line begins with lv.cmd=\"COMMAND\", and "
	       "the byte that the guest writes to port 0xf4 is the exit status. The "
	       "initrd's init has to do both: take the command from /proc/cmdline, run it, "
	       "and write its status to the port with guest-exit or to byte 244 of /dev/port.",
};

/* The kernel strips the quotes for its own use, and knows no escapes. */
static char *make_cmdline(const struct run *run)
{
	const char *base = run->cmdline ?: DEFAULT_CMDLINE;
	char *text;

	if (!run->command)
		return strdup(base);
	if (strpbrk(run->command, "\"\n"))
		die(EXIT_USAGE,
		    "--cmd takes no double quotes and no newlines: use single quotes, or put a script into the initrd");
	if (asprintf(&text, "lv.cmd=\"%s\" %s", run->command, base) < 0)
		die(EXIT_HOST, "out of memory");
	return text;
}

/** cmd_run() - the command 'run'; returns the exit status. */
int cmd_run(int argc, char **argv)
{
	struct run run = {
		.cfg = { .cpus = 1, .memory = DEFAULT_MEMORY, .irqchip = true }
	};
	struct file kernel, initrd;
	static struct vm vm;
	char *cmdline;

	argp_parse(&argp, argc, argv, 0, NULL, &run);
	if (run.command) {
		run.cfg.exit_port = PORT_DEBUG_EXIT;
		run.cfg.exit_plain = true;
	}
	cmdline = make_cmdline(&run);
	kernel = file_map(run.kernel);
	if (run.initrd)
		initrd = file_map(run.initrd);
	vm_create(&vm, &run.cfg);
	boot_linux(&vm, &kernel, run.initrd ? &initrd : NULL, cmdline);
	file_unmap(&kernel);
	if (run.initrd)
		file_unmap(&initrd);
	free(cmdline);
	return vm_run(&vm);
}
