/* SPDX-License-Identifier: GPL-2.0-only */
/* The policies that are built in, each in the file of its name. */
#ifndef LABVISOR_SCHED_POLICIES_H
#define LABVISOR_SCHED_POLICIES_H

#include "sched.h"

/* host is in core.c */
#define LV_POLICIES(X) \
	X(host)        \
	X(rr)          \
	X(credit)      \
	X(edf)         \
	X(gang)        \
	X(relaxed)     \
	X(partition)

#define LV_DECLARE_POLICY(name) \
	extern const struct lv_sched_ops lv_sched_##name;
LV_POLICIES(LV_DECLARE_POLICY)

#endif /* LABVISOR_SCHED_POLICIES_H */
