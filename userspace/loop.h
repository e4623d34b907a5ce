/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef LABVISOR_LOOP_H
#define LABVISOR_LOOP_H

#include "util.h"

/**
 * struct loop_source - a file descriptor the main thread waits for
 * @fd: the descriptor
 * @wanted: whether to wait for it now; NULL means always
 * @ready: called when it is readable or hung up
 * @opaque: handed to @wanted and @ready
 */
struct loop_source {
	int fd;
	bool (*wanted)(void *opaque);
	void (*ready)(void *opaque);
	void *opaque;
};

#define LOOP_MAX_SOURCES 8

/**
 * struct loop - the main thread's event loop
 * @sources: what it waits for; constant once it runs
 * @count: how many there are
 * @wake_fd: eventfd with which other threads make it look again
 */
struct loop {
	struct loop_source sources[LOOP_MAX_SOURCES];
	unsigned int count;
	int wake_fd;
};

void loop_init(struct loop *loop);
void loop_add(struct loop *loop, const struct loop_source *source);
void loop_wake(struct loop *loop);
void loop_once(struct loop *loop);

#endif
