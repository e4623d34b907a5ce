// SPDX-License-Identifier: GPL-2.0-only
/* Which policies there are: those built in, and those that other modules bring. */
#include <linux/ctype.h>
#include <linux/module.h>

#include "gate.h"
#include "register.h"

#define LV_MAX_POLICIES 64

/* lv_sched_mutex; a free place has no @ops */
static struct lv_policy lv_policies[LV_MAX_POLICIES] = {
#define LV_BUILT_IN(name) { .ops = &lv_sched_##name },
	LV_POLICIES(LV_BUILT_IN)
};

/** lv_name_valid - what a pool or a policy may be called */
bool lv_name_valid(const char *name)
{
	unsigned int i;

	for (i = 0; i < LV_SCHED_NAME && name[i]; i++)
		if (!isascii(name[i]) ||
		    (!isalnum(name[i]) && !strchr("-_.", name[i])))
			return false;
	return i && i < LV_SCHED_NAME;
}

/** lv_policy_at - the @index-th policy, or NULL behind the last */
const struct lv_policy *lv_policy_at(u32 index)
{
	unsigned int i;

	lockdep_assert_held(&lv_sched_mutex);
	for (i = 0; i < LV_MAX_POLICIES; i++)
		if (lv_policies[i].ops && !index--)
			return &lv_policies[i];
	return NULL;
}

static struct lv_policy *lv_policy_find(const char *name)
{
	unsigned int i;

	lockdep_assert_held(&lv_sched_mutex);
	for (i = 0; i < LV_MAX_POLICIES; i++)
		if (lv_policies[i].ops &&
		    !strcmp(lv_policies[i].ops->name, name))
			return &lv_policies[i];
	return NULL;
}

/** lv_pool_set_policy - a pool gets the policy of that name */
int lv_pool_set_policy(struct lv_kpool *kp, const char *name)
{
	struct lv_policy *policy = lv_policy_find(name);
	int err;

	if (!policy || !try_module_get(policy->owner))
		return -ENOENT;
	err = lv_kpool_set_policy(kp, policy->ops, policy->owner);
	if (err)
		module_put(policy->owner);
	return err;
}

int lv_sched_register(const struct lv_sched_ops *ops, struct module *owner)
{
	unsigned int i;

	if (!lv_name_valid(ops->name))
		return -EINVAL;
	guard(mutex)(&lv_sched_mutex);
	if (lv_policy_find(ops->name))
		return -EEXIST;
	for (i = 0; i < LV_MAX_POLICIES; i++)
		if (!lv_policies[i].ops)
			break;
	if (i == LV_MAX_POLICIES)
		return -ENOSPC;
	lv_policies[i] = (struct lv_policy){ ops, owner };
	return 0;
}
EXPORT_SYMBOL_GPL(lv_sched_register);

void lv_sched_unregister(const struct lv_sched_ops *ops)
{
	struct lv_policy *policy;

	guard(mutex)(&lv_sched_mutex);
	policy = lv_policy_find(ops->name);
	if (!policy || policy->ops != ops)
		return;
	lv_kpools_drop_policy(ops);
	policy->ops = NULL;
}
EXPORT_SYMBOL_GPL(lv_sched_unregister);

/* What sched.h offers to policies. */
EXPORT_SYMBOL_GPL(lv_sched_first);
EXPORT_SYMBOL_GPL(lv_sched_choose);
EXPORT_SYMBOL_GPL(lv_sched_resched);
EXPORT_SYMBOL_GPL(lv_sched_cut);
EXPORT_SYMBOL_GPL(lv_sched_park);
EXPORT_SYMBOL_GPL(lv_sched_park_until);
EXPORT_SYMBOL_GPL(lv_sched_unpark);
EXPORT_SYMBOL_GPL(lv_sched_requeue);
EXPORT_SYMBOL_GPL(lv_sched_timer);
EXPORT_SYMBOL_GPL(lv_sched_charge);
EXPORT_SYMBOL_GPL(lv_sched_fault);
