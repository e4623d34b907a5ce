/* SPDX-License-Identifier: GPL-2.0-only */
/* The policies that are built in, each in the file of its name. */
#ifndef LABVISOR_SCHED_POLICIES_H
#define LABVISOR_SCHED_POLICIES_H

#include "sched.h"

extern const struct lv_sched_ops lv_sched_host; /* core.c */
extern const struct lv_sched_ops lv_sched_rr;

#endif /* LABVISOR_SCHED_POLICIES_H */
