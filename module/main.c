// SPDX-License-Identifier: GPL-2.0-only
/*
 * Module life cycle: choice of the backend, the device node, and turning
 * virtualization on and off on the host's CPUs.
 */
#define pr_fmt(fmt) "labvisor: " fmt

#include <linux/cpuhotplug.h>
#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/platform_device.h>
#include <linux/pm.h>
#include <linux/reboot.h>

#include "compat.h"
#include "labvisor.h"

#define CREATE_TRACE_POINTS
#include "trace.h"

static char *node = "labvisor";
module_param(node, charp, 0444);
MODULE_PARM_DESC(node,
		 "name of the device under /dev; kvm for programs that insist");

struct lv_backend *lv_backend;
struct dentry *lv_debugfs;

static struct lv_backend *const lv_backends[] = {
	&svm_backend,
	&vmx_backend,
};

#define LV_DEFINE_OP(op) \
	DEFINE_STATIC_CALL_NULL(lv_op_##op, *(((struct lv_backend *)0)->op));
LV_HOT_OPS(LV_DEFINE_OP)

/* ---- virtualization on the host's CPUs ---- */

/*
 * Virtualization is on while a VM exists. CPUs that come online later are
 * turned on by the hotplug callback or, if a vCPU is there first, when it is
 * loaded. A vCPU may still pass through a CPU that is about to go offline,
 * after its callback ran: lv_put_on_this_cpu() then turns it off again.
 */
static DEFINE_MUTEX(lv_hardware_lock); /* lv_hardware_users, cpuhp state */
static int lv_hardware_users;
static enum cpuhp_state lv_cpuhp;
DEFINE_PER_CPU(bool, lv_cpu_on);
static bool lv_rebooting;

/** lv_cpu_enable - turn virtualization on, if it is not; preemption is off */
int lv_cpu_enable(void)
{
	unsigned long flags;
	int err = 0;

	local_irq_save(flags);
	if (READ_ONCE(lv_rebooting))
		err = -ESHUTDOWN;
	else if (!this_cpu_read(lv_cpu_on))
		err = lv_backend->cpu_enable();
	if (!err)
		this_cpu_write(lv_cpu_on, true);
	local_irq_restore(flags);
	return err;
}

/** lv_cpu_disable - turn it off; preemption is off */
void lv_cpu_disable(void *unused)
{
	unsigned long flags;

	local_irq_save(flags);
	if (this_cpu_read(lv_cpu_on)) {
		lv_backend->cpu_disable();
		this_cpu_write(lv_cpu_on, false);
	}
	local_irq_restore(flags);
}

static int lv_cpu_online(unsigned int cpu)
{
	return lv_cpu_enable();
}

static int lv_cpu_offline(unsigned int cpu)
{
	lv_cpu_disable(NULL);
	return 0;
}

static const char *lv_rival(void)
{
	return boot_cpu_has(X86_FEATURE_SVM) ? "kvm_amd" : "kvm_intel";
}

/** lv_hardware_get - turn it on for the first VM; -EBUSY: somebody else has */
int lv_hardware_get(void)
{
	int err = 0;

	mutex_lock(&lv_hardware_lock);
	if (!lv_hardware_users) {
		err = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "labvisor:online",
					lv_cpu_online, lv_cpu_offline);
		if (err >= 0)
			lv_cpuhp = err;
	}
	if (err >= 0) {
		if (!lv_hardware_users++)
			preempt_notifier_inc();
		err = 0;
	}
	mutex_unlock(&lv_hardware_lock);
	if (err == -EBUSY)
		pr_err_ratelimited(
			"another hypervisor uses this CPU's virtualization; stop its guests, or 'modprobe -r %s'%s\n",
			lv_rival(), LV_RIVAL_HINT);
	return err;
}

/** lv_hardware_put - turn it off after the last VM */
void lv_hardware_put(void)
{
	mutex_lock(&lv_hardware_lock);
	if (!--lv_hardware_users) {
		preempt_notifier_dec();
		cpuhp_remove_state(lv_cpuhp);
	}
	mutex_unlock(&lv_hardware_lock);
}

/*
 * Suspend: user space is frozen, so no vCPU is loaded, and the first one that
 * is loaded on a CPU after it turns virtualization on again. This is a device's
 * business because the interface for what belongs to no device changed, also
 * within stable series of kernels.
 */
static int lv_suspend(struct device *dev)
{
	on_each_cpu(lv_cpu_disable, NULL, 1);
	return 0;
}

static const struct dev_pm_ops lv_pm_ops = {
	/* clang-format off */
	NOIRQ_SYSTEM_SLEEP_PM_OPS(lv_suspend, NULL)
	/* clang-format on */
};

static struct platform_driver lv_pm_driver = {
	.driver.name = "labvisor",
	.driver.pm = pm_sleep_ptr(&lv_pm_ops),
};

static struct platform_device *lv_pm_device; /* once */

static void lv_pm_unregister(void)
{
	platform_device_unregister(lv_pm_device);
	platform_driver_unregister(&lv_pm_driver);
}

/*
 * The firmware and a kexec'ed kernel must not find a CPU in VMX operation.
 * From here on no vCPU can be loaded, and those that run are kicked out by
 * the call itself: they see it before their next entry.
 */
static int lv_reboot(struct notifier_block *nb, unsigned long event, void *data)
{
	WRITE_ONCE(lv_rebooting, true);
	on_each_cpu(lv_cpu_disable, NULL, 1);
	return NOTIFY_OK;
}

static struct notifier_block lv_reboot_notifier = {
	.notifier_call = lv_reboot,
	.priority = INT_MAX,
};

/* ---- the device ---- */

static const struct file_operations lv_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = lv_device_ioctl,
	.compat_ioctl = lv_device_ioctl,
	.llseek = noop_llseek,
};

static struct miscdevice lv_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.fops = &lv_fops,
	.mode = 0660,
};

static int lv_choose_backend(void)
{
	unsigned int i;
	int err;

	for (i = 0; i < ARRAY_SIZE(lv_backends); i++) {
		err = lv_backends[i]->probe();
		if (err == -ENODEV)
			continue;
		if (err)
			return err;
		lv_backend = lv_backends[i];
#define LV_UPDATE_OP(op) static_call_update(lv_op_##op, lv_backend->op);
		LV_HOT_OPS(LV_UPDATE_OP)
		return 0;
	}
	pr_err("this CPU has neither SVM nor VMX; on a virtual host, turn nested virtualization on\n");
	return -EOPNOTSUPP;
}

static int lv_register_device(void)
{
	int err;

	lv_device.name = node;
	err = misc_register(&lv_device);
	if (err)
		pr_err("cannot create /dev/%s (error %d)%s\n", node, err,
		       err == -EEXIST
			       ? ": the kvm module owns it; unload it, or load without node="
			       : "");
	return err;
}

static int __init lv_module_init(void)
{
	int err;

	err = lv_choose_backend();
	if (err)
		return err;
	lv_fpu_probe();
	lv_cpuid_probe();
	lv_pm_device =
		platform_create_bundle(&lv_pm_driver, NULL, NULL, 0, NULL, 0);
	err = PTR_ERR_OR_ZERO(lv_pm_device);
	if (err)
		goto out_backend;
	err = lv_vcpus_init();
	if (err)
		goto out_pm;
	err = lv_sched_init();
	if (err)
		goto out_vcpus;
	err = lv_register_device();
	if (err)
		goto out_sched;
	lv_debugfs = debugfs_create_dir("labvisor", NULL);
	register_reboot_notifier(&lv_reboot_notifier);
	pr_info("%s backend, /dev/%s\n", lv_backend->name, node);
	return 0;

out_sched:
	lv_sched_exit();
out_vcpus:
	lv_vcpus_exit();
out_pm:
	lv_pm_unregister();
out_backend:
	lv_backend->exit();
	return err;
}

static void __exit lv_module_exit(void)
{
	misc_deregister(&lv_device);
	unregister_reboot_notifier(&lv_reboot_notifier);
	debugfs_remove_recursive(lv_debugfs);
	lv_sched_exit();
	lv_vcpus_exit();
	lv_pm_unregister();
	lv_backend->exit();
}

module_init(lv_module_init);
module_exit(lv_module_exit);

MODULE_LICENSE("GPL");
MODULE_AUTHOR("The Labvisor developers");
MODULE_DESCRIPTION("A small hypervisor to teach, learn and schedule with");
