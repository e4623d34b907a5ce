// SPDX-License-Identifier: GPL-2.0-only
/* The main thread's event loop: terminal, signals, timers. */
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "loop.h"

static void loop_woken(void *opaque)
{
	struct loop *loop = opaque;
	u64 count;

	if (read(loop->wake_fd, &count, sizeof(count)) < 0 && errno != EAGAIN)
		die(EXIT_HOST, "cannot read an eventfd: %s", strerror(errno));
}

/** loop_init() - make a loop that waits for nothing but loop_wake(). */
void loop_init(struct loop *loop)
{
	loop->count = 0;
	loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (loop->wake_fd < 0)
		die(EXIT_HOST, "cannot make an eventfd: %s", strerror(errno));
	loop_add(loop, &(struct loop_source){ .fd = loop->wake_fd,
					      .ready = loop_woken,
					      .opaque = loop });
}

/** loop_add() - wait for one more descriptor. */
void loop_add(struct loop *loop, const struct loop_source *source)
{
	if (loop->count == LOOP_MAX_SOURCES)
		die(EXIT_HOST, "LOOP_MAX_SOURCES is too small");
	loop->sources[loop->count++] = *source;
}

/** loop_wake() - make the loop ask its sources again what they want. */
void loop_wake(struct loop *loop)
{
	u64 one = 1;
	ssize_t ret;

	/* It fails only on a full counter, and then the loop is awake. */
	ret = write(loop->wake_fd, &one, sizeof(one));
	(void)ret;
}

/** loop_once() - sleep until a source is ready, and serve it. */
void loop_once(struct loop *loop)
{
	struct pollfd fds[LOOP_MAX_SOURCES];
	struct loop_source *s;
	unsigned int i;

	for (i = 0; i < loop->count; i++) {
		s = &loop->sources[i];
		fds[i].fd = !s->wanted || s->wanted(s->opaque) ? s->fd : -1;
		fds[i].events = POLLIN;
		fds[i].revents = 0;
	}
	if (poll(fds, loop->count, -1) < 0 && errno != EINTR)
		die(EXIT_HOST, "poll: %s", strerror(errno));
	for (i = 0; i < loop->count; i++)
		if (fds[i].revents)
			loop->sources[i].ready(loop->sources[i].opaque);
}
