// SPDX-License-Identifier: GPL-2.0-only
/* labvisor exec: run a bare-metal guest, for tests and for learners. */
#include <string.h>

#include "boot.h"
#include "layout.h"
#include "options.h"

#define DEFAULT_MEMORY MIB(16)

enum {
	OPT_MODE = 0x200,
	OPT_LOAD,
	OPT_NO_IRQCHIP,
};

static const struct argp_option options[] = {
	{ "mode", OPT_MODE, "BITS", 0,
	  "Start in 16-bit real mode, flat 32-bit mode or 64-bit mode with 4 GiB mapped one to one (default: 16 for a flat file, an ELF file's own)",
	  0 },
	{ "load", OPT_LOAD, "ADDRESS", 0,
	  "Where a flat file goes and starts (default: 0x7c00 with --mode 16, else 0x100000)",
	  0 },
	{ "no-irqchip", OPT_NO_IRQCHIP, NULL, 0,
	  "No interrupt controllers and no timer: HLT ends the guest with exit status 0",
	  0 },
	{ 0 }
};

/* What the command line says, and the VM that it describes. */
struct exec {
	struct vm_config cfg;
	const char *path;
	enum cpu_mode mode;
	u64 load;
};

static enum cpu_mode parse_mode(const char *bits)
{
	if (!strcmp(bits, "16"))
		return MODE_16;
	if (!strcmp(bits, "32"))
		return MODE_32;
	if (!strcmp(bits, "64"))
		return MODE_64;
	die(EXIT_USAGE, "--mode takes 16, 32 or 64, not '%s'", bits);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct exec *exec = state->input;

	switch (key) {
	case ARGP_KEY_INIT:
		state->child_inputs[0] = &exec->cfg;
		break;
	case OPT_MODE:
		exec->mode = parse_mode(arg);
		break;
	case OPT_LOAD:
		exec->load = parse_number(arg, 0, GPA_HOLE - 1, "an address");
		break;
	case OPT_NO_IRQCHIP:
		exec->cfg.irqchip = false;
		break;
	case ARGP_KEY_ARG:
		if (exec->path)
			argp_error(state, "one file is enough, not also '%s'",
				   arg);
		exec->path = arg;
		break;
	case ARGP_KEY_SUCCESS:
		/* It takes a local APIC to hold the other CPUs back. */
		if (!exec->cfg.irqchip && exec->cfg.cpus > 1)
			argp_error(state, "--no-irqchip allows only one CPU");
		break;
	case ARGP_KEY_NO_ARGS:
		argp_error(state, "which FILE?");
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
	.args_doc = "FILE",
	.children = children,
	.doc = "Run a bare-metal guest: a flat binary or an ELF executable."
	       "\v" KEYS_HELP "\n\n" STATUS_HELP "\n\n"
	       "A byte written to port 0xe9, or sent by the serial port at 0x3f8, is "
	       "printed. --debug-exit is always on.",
};

/** cmd_exec() - the command 'exec'; returns the exit status. */
int cmd_exec(int argc, char **argv)
{
	struct exec exec = { .cfg = { .cpus = 1,
				      .memory = DEFAULT_MEMORY,
				      .irqchip = true,
				      .exit_port = PORT_DEBUG_EXIT },
			     .load = LOAD_AUTO };
	static struct vm vm;
	struct file file;

	argp_parse(&argp, argc, argv, 0, NULL, &exec);
	file = file_map(exec.path);
	vm_create(&vm, &exec.cfg);
	boot_bare(&vm, &file, exec.mode, exec.load);
	file_unmap(&file);
	return vm_run(&vm);
}
