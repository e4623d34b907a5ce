// SPDX-License-Identifier: GPL-2.0-only
/*
 * rr: round robin. Each vCPU runs for the pool's slice, then the others do.
 *
 * What the core does without being told is just that, so there is nothing to say
 * but the name. A vCPU that wakes up goes behind those that wait already.
 */
#include "policies.h"

const struct lv_sched_ops lv_sched_rr = { .name = "rr" };
