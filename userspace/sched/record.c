// SPDX-License-Identifier: GPL-2.0-only
#include "tool.h"
int cmd_sched_record(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return 0;
}
int cmd_sched_report(int argc, char **argv)
{
	(void)argc;
	(void)argv;
	return 0;
}
