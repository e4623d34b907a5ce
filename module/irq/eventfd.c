// SPDX-License-Identifier: GPL-2.0-only
/*
 * KVM_IRQFD: a signal on an eventfd injects a GSI, from whatever context the
 * signal comes. With a resample eventfd the GSI is a level: it stays high
 * until the guest ends the interrupt, then the device is asked again.
 *
 * Order of locks: an eventfd's own, then chip->lock.
 */
#include <linux/eventfd.h>
#include <linux/file.h>
#include <linux/poll.h>
#include <linux/rculist.h>

#include "../compat.h"
#include "irqchip.h"

#define MAX_IRQFDS LV_MAX_GSIS

/* struct irqfd - one eventfd that injects */
struct irqfd {
	struct lv_irqchip *chip; /* where (once) */
	u32 gsi; /* what (once) */
	struct eventfd_ctx *eventfd; /* signalled by the device (once) */
	/* signalled when the guest ends the interrupt, or NULL (once) */
	struct eventfd_ctx *resample;
	struct list_head node; /* in chip->irqfds */
	struct list_head dead; /* in a list of those to free (irqfd_lock) */
	wait_queue_entry_t wait; /* called when @eventfd is signalled */
	poll_table poll; /* how @wait came to the eventfd's wait queue */
	bool closed; /* @eventfd was closed for good (atomic) */
};

static void inject(const struct irqfd *irqfd)
{
	if (irqfd->resample)
		lv_irqchip_set_gsi(irqfd->chip, irqfd->gsi, LV_LINE_RESAMPLE,
				   LV_HIGH);
	else
		lv_irqchip_set_gsi(irqfd->chip, irqfd->gsi, LV_LINE_USER,
				   LV_PULSE);
}

/* The eventfd was signalled or closed; its lock is held. */
static int wakeup(wait_queue_entry_t *wait, unsigned int mode, int sync,
		  void *key)
{
	struct irqfd *irqfd = container_of(wait, struct irqfd, wait);
	__poll_t events = key_to_poll(key);
	u64 count;

	if (events & EPOLLIN) {
		eventfd_ctx_do_read(irqfd->eventfd, &count);
		inject(irqfd);
	}
	if (events & EPOLLHUP) {
		WRITE_ONCE(irqfd->closed, true);
		schedule_work(&irqfd->chip->irqfd_reap);
	}
	return 0;
}

static void enqueue(struct file *file, wait_queue_head_t *queue,
		    poll_table *poll)
{
	struct irqfd *irqfd = container_of(poll, struct irqfd, poll);

	add_wait_queue(queue, &irqfd->wait);
}

/* Lower the lines that ended; chip->lock is held. */
void lv_irqfd_lower(struct lv_irqchip *chip, const struct lv_ended *ended)
{
	const struct lv_route *route;
	struct irqfd *irqfd;

	list_for_each_entry_rcu(irqfd, &chip->irqfds, node) {
		route = lv_irqchip_route(chip, irqfd->gsi);
		if (irqfd->resample && lv_route_ended(route, ended))
			lv_irqchip_drive(chip, route, LV_LINE_RESAMPLE, false);
	}
}

/* Ask the devices of the lines that ended; chip->lock is not held. */
void lv_irqfd_resample(struct lv_irqchip *chip, const struct lv_ended *ended)
{
	struct irqfd *irqfd;

	list_for_each_entry_rcu(irqfd, &chip->irqfds, node)
		if (irqfd->resample &&
		    lv_route_ended(lv_irqchip_route(chip, irqfd->gsi), ended))
			lv_eventfd_signal(irqfd->resample);
}

/* Does another irqfd hold this one's line, too? irqfd_lock is held. */
static bool shares_line(const struct irqfd *irqfd)
{
	struct irqfd *other;

	list_for_each_entry(other, &irqfd->chip->irqfds, node)
		if (other->resample && other->gsi == irqfd->gsi)
			return true;
	return false;
}

/* Stop an irqfd, and put it on the list of those to free. */
static void unlink(struct irqfd *irqfd, struct list_head *dead)
{
	struct lv_irqchip *chip = irqfd->chip;
	u64 count;

	eventfd_ctx_remove_wait_queue(irqfd->eventfd, &irqfd->wait, &count);
	list_del_rcu(&irqfd->node);
	list_add(&irqfd->dead, dead);
	chip->nr_irqfds--;
	if (irqfd->resample && !shares_line(irqfd))
		lv_irqchip_set_gsi(chip, irqfd->gsi, LV_LINE_RESAMPLE, LV_LOW);
}

static void free_irqfd(struct irqfd *irqfd)
{
	if (!IS_ERR_OR_NULL(irqfd->resample))
		eventfd_ctx_put(irqfd->resample);
	if (!IS_ERR_OR_NULL(irqfd->eventfd))
		eventfd_ctx_put(irqfd->eventfd);
	kfree(irqfd);
}

/* Remove those closed, those that inject @gsi for @eventfd, or all. */
static void remove(struct lv_irqchip *chip, bool all,
		   struct eventfd_ctx *eventfd, u32 gsi)
{
	struct irqfd *irqfd, *next;
	LIST_HEAD(dead);

	mutex_lock(&chip->irqfd_lock);
	list_for_each_entry_safe(irqfd, next, &chip->irqfds, node)
		if (all || READ_ONCE(irqfd->closed) ||
		    (irqfd->eventfd == eventfd && irqfd->gsi == gsi))
			unlink(irqfd, &dead);
	mutex_unlock(&chip->irqfd_lock);
	if (list_empty(&dead))
		return;
	synchronize_rcu_expedited();
	list_for_each_entry_safe(irqfd, next, &dead, dead)
		free_irqfd(irqfd);
}

static void reap(struct work_struct *work)
{
	remove(container_of(work, struct lv_irqchip, irqfd_reap), false, NULL,
	       0);
}

/** lv_irqfd_init - for a new irqchip */
void lv_irqfd_init(struct lv_irqchip *chip)
{
	mutex_init(&chip->irqfd_lock);
	INIT_LIST_HEAD(&chip->irqfds);
	INIT_WORK(&chip->irqfd_reap, reap);
}

/** lv_irqfd_shutdown - no eventfd injects any more; only we use the chip */
void lv_irqfd_shutdown(struct lv_irqchip *chip)
{
	remove(chip, true, NULL, 0);
	cancel_work_sync(&chip->irqfd_reap);
}

static bool is_taken(struct lv_irqchip *chip, struct eventfd_ctx *eventfd)
{
	struct irqfd *irqfd;

	list_for_each_entry(irqfd, &chip->irqfds, node)
		if (irqfd->eventfd == eventfd)
			return true;
	return false;
}

/* Join the wait queue under irqfd_lock: nobody may remove it yet. */
static int publish(struct irqfd *irqfd, struct file *file)
{
	struct lv_irqchip *chip = irqfd->chip;

	guard(mutex)(&chip->irqfd_lock);
	if (is_taken(chip, irqfd->eventfd))
		return -EBUSY;
	if (chip->nr_irqfds >= MAX_IRQFDS)
		return -ENOSPC;
	list_add_rcu(&irqfd->node, &chip->irqfds);
	chip->nr_irqfds++;
	/* A signal from before is not lost. */
	if (vfs_poll(file, &irqfd->poll) & EPOLLIN)
		inject(irqfd);
	return 0;
}

static int assign(struct lv_irqchip *chip, const struct kvm_irqfd *args,
		  struct file *file)
{
	struct irqfd *irqfd;
	int ret;

	irqfd = kzalloc(sizeof(*irqfd), GFP_KERNEL_ACCOUNT);
	if (!irqfd)
		return -ENOMEM;
	irqfd->chip = chip;
	irqfd->gsi = args->gsi;
	init_waitqueue_func_entry(&irqfd->wait, wakeup);
	init_poll_funcptr(&irqfd->poll, enqueue);

	irqfd->eventfd = eventfd_ctx_fileget(file);
	if (args->flags & KVM_IRQFD_FLAG_RESAMPLE)
		irqfd->resample = eventfd_ctx_fdget(args->resamplefd);
	ret = PTR_ERR_OR_ZERO(irqfd->eventfd);
	if (!ret)
		ret = PTR_ERR_OR_ZERO(irqfd->resample);
	if (!ret)
		ret = publish(irqfd, file);
	if (ret)
		free_irqfd(irqfd);
	return ret;
}

static int deassign(struct lv_irqchip *chip, const struct kvm_irqfd *args)
{
	struct eventfd_ctx *eventfd = eventfd_ctx_fdget(args->fd);

	if (IS_ERR(eventfd))
		return PTR_ERR(eventfd);
	remove(chip, false, eventfd, args->gsi);
	eventfd_ctx_put(eventfd);
	return 0;
}

LV_IOCTL(irqfd)
{
	const u32 flags = KVM_IRQFD_FLAG_DEASSIGN | KVM_IRQFD_FLAG_RESAMPLE;
	struct lv_irqchip *chip = smp_load_acquire(&vm->irqchip);
	const struct kvm_irqfd *args = data;
	struct file *file;
	int ret;

	if (!chip || args->flags & ~flags || args->gsi >= LV_MAX_GSIS)
		return -EINVAL;
	if (args->flags & KVM_IRQFD_FLAG_DEASSIGN)
		return deassign(chip, args);
	/* In split mode it is user space that sees the end of an interrupt. */
	if (args->flags & KVM_IRQFD_FLAG_RESAMPLE && !chip->in_kernel)
		return -EINVAL;

	file = fget(args->fd);
	if (!file)
		return -EBADF;
	ret = assign(chip, args, file);
	fput(file);
	return ret;
}
