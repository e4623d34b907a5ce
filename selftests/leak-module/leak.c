// SPDX-License-Identifier: GPL-2.0-only
/*
 * A module that forgets memory: test_lab.sh sees the lab host report it.
 */
#include <linux/module.h>
#include <linux/slab.h>

/* Several, since one may be found in a register or on a stack. */
static int __init leak_init(void)
{
	int i;

	for (i = 0; i < 10; i++)
		pr_info("leak: %p\n", kmalloc(64, GFP_KERNEL));
	return 0;
}
module_init(leak_init);

static void __exit leak_exit(void)
{
}
module_exit(leak_exit);

MODULE_DESCRIPTION("Forgets memory");
MODULE_LICENSE("GPL");
