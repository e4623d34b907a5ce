// SPDX-License-Identifier: GPL-2.0-only
/*
 * The launcher's end of the guest's console: standard input and output, be
 * they a terminal, a pipe, a file or /dev/null.
 */
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "term.h"

#define ESCAPE 0x01 /* Ctrl-A */
#define QUEUE_SIZE 4096

/**
 * struct term - what has been typed, and how the terminal was before
 * @lock: protects @queue, @head and @count
 * @queue: ring of bytes that wait for the guest
 * @head: the oldest of them
 * @count: how many there are
 * @eof: no more input will come; main thread only
 * @escaped: the last byte was Ctrl-A; main thread only
 * @is_tty: standard input is our terminal; constant once it runs
 * @on_input: called by the main thread when bytes arrived
 * @opaque: its argument
 * @loop: the main thread's; constant once it runs
 * @saved: the terminal's settings before term_raw()
 * @raw: whether @saved has to be put back
 * @midline: the guest's output did not end a line
 */
static struct term {
	pthread_mutex_t lock;
	u8 queue[QUEUE_SIZE];
	unsigned int head;
	unsigned int count;
	bool eof;
	bool escaped;
	bool is_tty;
	void (*on_input)(void *opaque);
	void *opaque;
	struct loop *loop;
	struct termios saved;
	volatile sig_atomic_t raw;
	atomic_bool midline;
} term = { .lock = PTHREAD_MUTEX_INITIALIZER };

/** term_restore() - give the terminal back as it was; async-signal-safe. */
void term_restore(void)
{
	if (!term.raw)
		return;
	term.raw = false;
	tcsetattr(STDIN_FILENO, TCSANOW, &term.saved);
}

/** term_raw() - pass every key to the guest, unless in the background. */
void term_raw(void)
{
	struct termios tio;

	if (!term.is_tty || term.raw || tcgetpgrp(STDIN_FILENO) != getpgrp() ||
	    tcgetattr(STDIN_FILENO, &term.saved))
		return;
	tio = term.saved;
	cfmakeraw(&tio);
	tio.c_oflag |= OPOST; /* our own messages end in a bare newline */
	term.raw = true;
	tcsetattr(STDIN_FILENO, TCSANOW, &tio);
}

/* A bug in the launcher must not leave the user with a raw terminal. */
static void fatal_signal(int sig)
{
	term_restore();
	raise(sig); /* the default action, for SA_RESETHAND */
}

static void catch_fatal_signals(void)
{
	static const int signals[] = { SIGSEGV, SIGBUS, SIGILL, SIGFPE,
				       SIGABRT, SIGSYS, SIGTRAP };
	struct sigaction sa = { .sa_handler = fatal_signal,
				.sa_flags = SA_RESETHAND };
	size_t i;

	for (i = 0; i < ARRAY_SIZE(signals); i++)
		sigaction(signals[i], &sa, NULL);
}

static unsigned int queue_room(void)
{
	unsigned int room;

	pthread_mutex_lock(&term.lock);
	room = QUEUE_SIZE - term.count;
	pthread_mutex_unlock(&term.lock);
	return room;
}

/* Keys beyond a full queue are lost: Ctrl-A X must reach us all the same. */
static void queue_put(u8 byte)
{
	pthread_mutex_lock(&term.lock);
	if (term.count < QUEUE_SIZE)
		term.queue[(term.head + term.count++) % QUEUE_SIZE] = byte;
	pthread_mutex_unlock(&term.lock);
}

/**
 * term_get() - take the next byte that was typed, -1 if there is none
 *
 * Any thread. The queue's being full stops the main thread from reading a
 * pipe, so taking a byte from a full one wakes it.
 */
int term_get(void)
{
	bool was_full;
	int byte = -1;

	pthread_mutex_lock(&term.lock);
	was_full = term.count == QUEUE_SIZE;
	if (term.count) {
		byte = term.queue[term.head];
		term.head = (term.head + 1) % QUEUE_SIZE;
		term.count--;
	}
	pthread_mutex_unlock(&term.lock);
	if (was_full)
		loop_wake(term.loop);
	return byte;
}

static void typed(struct vm *vm, u8 byte)
{
	if (term.escaped) {
		term.escaped = false;
		if (byte == 'x' || byte == 'X')
			vm_stop(vm, EXIT_SIGNAL + SIGINT, "left by Ctrl-A X");
		else
			queue_put(byte);
	} else if (term.is_tty && byte == ESCAPE) {
		term.escaped = true;
	} else {
		queue_put(byte);
	}
}

static bool input_wanted(void *opaque)
{
	(void)opaque;
	return !term.eof && (term.is_tty || queue_room());
}

static void input_ready(void *opaque)
{
	unsigned int room = queue_room();
	struct vm *vm = opaque;
	u8 buf[256];
	ssize_t n, i;

	if (term.is_tty || room > sizeof(buf))
		room = sizeof(buf);
	n = read(STDIN_FILENO, buf, room);
	if (n < 0 && (errno == EINTR || errno == EAGAIN))
		return;
	if (n <= 0) {
		term.eof = true;
		return;
	}
	for (i = 0; i < n; i++)
		typed(vm, buf[i]);
	if (term.on_input)
		term.on_input(term.opaque);
}

/** term_on_input() - have @fn called when term_get() may have a byte. */
void term_on_input(void (*fn)(void *opaque), void *opaque)
{
	term.on_input = fn;
	term.opaque = opaque;
}

/**
 * term_put() - show one byte of the guest's output
 *
 * A vCPU thread may wait here for a slow reader, but never longer than the VM
 * runs: waiting for @vm->stop_fd too makes that free of races.
 */
void term_put(struct vm *vm, u8 byte)
{
	struct pollfd fds[] = {
		{ .fd = STDOUT_FILENO, .events = POLLOUT },
		{ .fd = vm->stop_fd, .events = POLLIN },
	};

	term.midline = byte != '\n';
	for (;;) {
		if (poll(fds, ARRAY_SIZE(fds), -1) > 0) {
			if (fds[1].revents)
				return;
			if (write(STDOUT_FILENO, &byte, 1) == 1)
				return;
		}
		if (errno != EINTR && errno != EAGAIN)
			break;
	}
	vm_stop(vm, EXIT_HOST, "cannot show the guest's output: %s",
		strerror(errno));
}

/** term_finish() - restore the terminal for good, the cursor on a new line. */
void term_finish(void)
{
	if (term.raw && term.midline)
		fputc('\n', stderr);
	term_restore();
}

/** term_start() - connect the terminal to the VM's event loop. */
void term_start(struct vm *vm)
{
	term.loop = &vm->loop;
	/* In the background the terminal is not ours to change or to read. */
	term.is_tty = isatty(STDIN_FILENO);
	if (term.is_tty && tcgetpgrp(STDIN_FILENO) != getpgrp())
		return;
	atexit(term_restore);
	catch_fatal_signals();
	term_raw();
	loop_add(&vm->loop, &(struct loop_source){ .fd = STDIN_FILENO,
						   .wanted = input_wanted,
						   .ready = input_ready,
						   .opaque = vm });
}
