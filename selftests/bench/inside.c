// SPDX-License-Identifier: GPL-2.0-only
/*
 * What a guest's kernel costs its programs, in ticks of the TSC: this runs in a
 * Linux guest, and prints lines as exits.c does.
 *
 *	inside		what the guest does by itself
 *	inside DISK IP	what it asks a device for: a block of that disk, an echo
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/ip_icmp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#define SAMPLES 255

static int64_t samples[SAMPLES];
static int there[2], back[2];
static char byte;
static int disk, net;

static void must(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static void send_byte(const int *fd)
{
	must(write(fd[1], &byte, 1) == 1, "write");
}

static void receive_byte(const int *fd)
{
	must(read(fd[0], &byte, 1) == 1, "read");
}

static void through_a_pipe(void)
{
	send_byte(there);
	receive_byte(there);
}

static void to_a_process_and_back(void)
{
	send_byte(there);
	receive_byte(back);
}

static void fork_and_wait(void)
{
	pid_t pid = fork();

	if (!pid)
		_exit(0);
	must(waitpid(pid, NULL, 0) == pid, "fork");
}

static void touch_a_page(void)
{
	static volatile char *page;
	static long left;

	if (!left) {
		left = SAMPLES;
		page = mmap(NULL, SAMPLES * 4096, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		must(page != MAP_FAILED, "mmap");
	}
	*page = 1;
	page += 4096;
	left--;
}

static void read_a_block(void)
{
	static char block[4096] __attribute__((aligned(4096)));
	static off_t at;

	must(pread(disk, block, sizeof(block), at) == sizeof(block), "pread");
	at += sizeof(block);
}

/* To the peer, whose answer comes with its IP header. */
static void echo(void)
{
	struct icmphdr request = { .type = ICMP_ECHO, .checksum = 0xfff7 };
	char answer[128];

	must(send(net, &request, sizeof(request), 0) == sizeof(request),
	     "send");
	must(recv(net, answer, sizeof(answer), 0) >= 0, "recv");
}

static int compare(const void *a, const void *b)
{
	const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

	return (x > y) - (x < y);
}

static void measure(const char *name, const char *what, void (*op)(void))
{
	int64_t begin;
	int i;

	for (i = 0; i < SAMPLES; i++) {
		begin = __rdtsc();
		op();
		samples[i] = __rdtsc() - begin;
	}
	qsort(samples, SAMPLES, sizeof(*samples), compare);
	printf("%s\t%s\t%ld\t%ld\t%ld\tinstructions\n", name, what,
	       samples[SAMPLES / 2], samples[0], samples[SAMPLES - 1]);
}

/* In turn: a fair scheduler has more than one way from one to the other. */
static void start_partner(void)
{
	struct sched_param fifo = { .sched_priority = 1 };
	pid_t pid;

	must(!sched_setscheduler(0, SCHED_FIFO, &fifo), "SCHED_FIFO");
	pid = fork();
	must(pid >= 0, "fork");
	if (pid)
		return;
	close(there[1]);
	while (read(there[0], &byte, 1) == 1)
		send_byte(back);
	_exit(0);
}

static void by_itself(void)
{
	must(!pipe(there) && !pipe(back), "pipe");
	measure("in_pipe", "in a guest: a byte through a pipe", through_a_pipe);
	measure("in_fault", "in a guest: first write to a page", touch_a_page);
	measure("in_fork", "in a guest: fork, exit, wait", fork_and_wait);
	start_partner();
	measure("in_switch", "in a guest: to another process and back",
		to_a_process_and_back);
}

static void with_devices(const char *disk_path, const char *ip)
{
	struct sockaddr_in peer = { .sin_family = AF_INET };

	disk = open(disk_path, O_RDONLY | O_DIRECT);
	must(disk >= 0, disk_path);
	measure("virtio_blk", "in QEMU: 4 KiB from virtio-blk", read_a_block);
	net = socket(AF_INET, SOCK_RAW, IPPROTO_ICMP);
	must(net >= 0 && inet_aton(ip, &peer.sin_addr) &&
		     !connect(net, (void *)&peer, sizeof(peer)),
	     ip);
	measure("virtio_net", "in QEMU: echo through virtio-net", echo);
}

int main(int argc, char **argv)
{
	if (argc == 3)
		with_devices(argv[1], argv[2]);
	else
		by_itself();
	return 0;
}
