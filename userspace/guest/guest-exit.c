// SPDX-License-Identifier: GPL-2.0-only
/*
 * guest-exit STATUS: end the virtual machine in which this program runs, by
 * writing STATUS to the launcher's debug-exit port. It is for the init of a
 * guest that was started with 'labvisor run --cmd'.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/io.h>
#include <unistd.h>

#define PORT 0xf4

int main(int argc, char **argv)
{
	unsigned char status;
	int fd;

	if (argc != 2) {
		fprintf(stderr, "usage: guest-exit STATUS\n");
		return 2;
	}
	status = atoi(argv[1]);
	if (!ioperm(PORT, 1, 1))
		outb(status, PORT);
	/* A kernel may have been built without ioperm(), or without /dev/port. */
	fd = open("/dev/port", O_WRONLY);
	if (fd < 0 || pwrite(fd, &status, 1, PORT) != 1) {
		perror("guest-exit: neither ioperm() nor /dev/port works");
		return 1;
	}
	return 0;
}
