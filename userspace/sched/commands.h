/* SPDX-License-Identifier: GPL-2.0-only */
/* The commands of 'labvisor sched'. Each returns the exit status. */
#ifndef LABVISOR_SCHED_COMMANDS_H
#define LABVISOR_SCHED_COMMANDS_H

int cmd_sched_list(int argc, char **argv);
int cmd_sched_create(int argc, char **argv);
int cmd_sched_set(int argc, char **argv);
int cmd_sched_attach(int argc, char **argv);
int cmd_sched_switch(int argc, char **argv);
int cmd_sched_delete(int argc, char **argv);
int cmd_sched_load(int argc, char **argv);
int cmd_sched_unload(int argc, char **argv);
int cmd_sched_stat(int argc, char **argv);
int cmd_sched_top(int argc, char **argv);
int cmd_sched_record(int argc, char **argv);
int cmd_sched_report(int argc, char **argv);
int cmd_sched_sim(int argc, char **argv);

#endif
