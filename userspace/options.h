/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef LABVISOR_OPTIONS_H
#define LABVISOR_OPTIONS_H

#include <argp.h>

#include "vm.h"

#define DEFAULT_DEVICE "/dev/labvisor"

/* What every command that makes a VM takes; its input is a vm_config. */
extern const struct argp vm_argp;

#define STATUS_HELP                                                           \
	"Exit status: 0 the guest powered itself off; 1 the host cannot run " \
	"it; 2 usage; 3 the guest reset itself; 4 triple fault; 5 the "       \
	"hypervisor could not run it any further; 130 left by Ctrl-A X; "     \
	"128 + N ended by signal N. "

#define KEYS_HELP "Ctrl-A X leaves the guest, Ctrl-A Ctrl-A sends Ctrl-A to it."

int cmd_run(int argc, char **argv);
int cmd_exec(int argc, char **argv);
int cmd_sched(int argc, char **argv);

#endif
