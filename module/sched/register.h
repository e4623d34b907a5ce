/* SPDX-License-Identifier: GPL-2.0-only */
/* For modules that bring a policy: include this, and nothing else of Labvisor. */
#ifndef LABVISOR_SCHED_REGISTER_H
#define LABVISOR_SCHED_REGISTER_H

#include <linux/module.h>

#include "sched.h"

/**
 * lv_sched_register - offer a policy to pools, by its name
 * @ops: stays as it is until lv_sched_unregister()
 * @owner: cannot be unloaded while a pool uses the policy
 *
 * Return: 0; -EINVAL: its name is none for a policy; -EEXIST: there is one of that
 * name; -ENOSPC: there are too many.
 */
int lv_sched_register(const struct lv_sched_ops *ops, struct module *owner);

/**
 * lv_sched_unregister - take it back
 * @ops: what was registered
 *
 * Pools that still use it get the policy "host". Nothing calls it any more when
 * this returns.
 */
void lv_sched_unregister(const struct lv_sched_ops *ops);

#endif /* LABVISOR_SCHED_REGISTER_H */
