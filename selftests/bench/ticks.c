// SPDX-License-Identifier: GPL-2.0-only
/*
 * ticks NAME WHAT COMMAND [ARGUMENT]...: how many ticks of the TSC a command
 * takes, in a line as exits.c prints them.
 */
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

int main(int argc, char **argv)
{
	int64_t begin, ticks;
	int status;
	pid_t pid;

	if (argc < 4)
		return 2;
	begin = __rdtsc();
	pid = fork();
	if (!pid) {
		execvp(argv[3], argv + 3);
		perror(argv[3]);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid || status) {
		fprintf(stderr, "ticks: %s failed: %#x\n", argv[3], status);
		return 1;
	}
	ticks = __rdtsc() - begin;
	printf("%s\t%s\t%ld\t%ld\t%ld\tinstructions\n", argv[1], argv[2], ticks,
	       ticks, ticks);
	return 0;
}
