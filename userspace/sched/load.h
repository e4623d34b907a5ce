/* SPDX-License-Identifier: GPL-2.0-only */
/* Policies written in BPF. Both end the program if they cannot do it. */
#ifndef LABVISOR_SCHED_LOAD_H
#define LABVISOR_SCHED_LOAD_H

/** sched_load - load the policies of object files, @paths ends with NULL */
void sched_load(char **paths);

/** sched_unload - take back a policy; pools that have it get "host" */
void sched_unload(const char *name);

#endif
