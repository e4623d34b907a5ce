// SPDX-License-Identifier: GPL-2.0-only
/*
 * Single-step instructions in a traced child; see emulate_native.h.
 */
#define _GNU_SOURCE
#include <asm/ldt.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "emulate_native.h"

#define LDT(n) ((n) << 3 | 7)

/* The fixed selectors are those of the Linux ABI. */
static const struct {
	u16 selector;
	u8 type;
	bool db;
	u32 limit;
	u32 base;
} segments[NATIVE_NR_SEGS] = {
	[NATIVE_FLAT] = { 0x2b, 3, true, ~0U, 0 },
	[NATIVE_DATA16] = { LDT(0), 3, false, 0x2fff, NATIVE_DATA },
	[NATIVE_EXPAND_DOWN32] = { LDT(1), 7, true, 0xfff, NATIVE_DATA },
	[NATIVE_EXPAND_DOWN16] = { LDT(2), 7, false, 0x7ff, NATIVE_DATA },
	[NATIVE_READ_ONLY] = { LDT(3), 1, true, 0x1fff, NATIVE_DATA },
	[NATIVE_NULL] = { 0 },
	[NATIVE_CODE64] = { 0x33, 11, false, ~0U, 0 },
	[NATIVE_CODE32] = { 0x23, 11, true, ~0U, 0 },
	[NATIVE_CODE16] = { LDT(4), 11, false, 0xffff, NATIVE_CODE },
	[NATIVE_EXEC_ONLY] = { LDT(5), 9, true, 0xffff, NATIVE_CODE },
};

static u8 *code, *data;
static pid_t child;

u8 *native_code(void)
{
	return code;
}

u8 *native_data(void)
{
	return data;
}

u16 native_selector(enum native_seg nr)
{
	return segments[nr].selector;
}

struct kvm_segment native_segment(enum native_seg nr)
{
	return (struct kvm_segment){
		.base = segments[nr].base,
		.limit = segments[nr].limit,
		.selector = segments[nr].selector,
		.type = segments[nr].type,
		.s = true,
		.present = segments[nr].selector,
		.db = segments[nr].db,
	};
}

static bool install_segments(void)
{
	for (int i = 0; i < NATIVE_NR_SEGS; i++) {
		struct user_desc d = {
			.entry_number = segments[i].selector >> 3,
			.base_addr = segments[i].base,
			.limit = segments[i].limit,
			.seg_32bit = segments[i].db,
			.contents = segments[i].type >> 2,
			.read_exec_only = !(segments[i].type & 2),
			.useable = 1,
		};

		if (segments[i].selector & 4 &&
		    syscall(SYS_modify_ldt, 0x11, &d, sizeof(d)))
			return false;
	}
	return true;
}

static bool map_at(int fd, unsigned long where, size_t bytes, int prot,
		   off_t offset)
{
	return mmap((void *)where, bytes, prot,
		    MAP_SHARED | MAP_FIXED_NOREPLACE, fd, offset) != MAP_FAILED;
}

/*
 * Leave nothing but our own mappings where 32-bit code could reach it, not even
 * the sanitizer's: last, and without its help.
 */
__attribute__((no_sanitize("address", "undefined"))) static void
clear_low_memory(void)
{
	unsigned long code_end = NATIVE_CODE + 4096;
	unsigned long data_end = NATIVE_DATA + NATIVE_DATA_ALL;

	syscall(SYS_munmap, 0, NATIVE_CODE);
	syscall(SYS_munmap, code_end, NATIVE_DATA - code_end);
	syscall(SYS_munmap, data_end, (1UL << 32) + 4096 - data_end);
	syscall(SYS_kill, syscall(SYS_getpid), SIGSTOP);
}

/* Runs in the child; ends in a stop that it never leaves on its own. */
static void become_puppet(int fd)
{
	int rx = PROT_READ | PROT_EXEC, rw = PROT_READ | PROT_WRITE;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (!install_segments())
		_exit(1);
	if (!map_at(fd, NATIVE_CODE, 4096, rx, 0) ||
	    !map_at(fd, NATIVE_DATA, NATIVE_DATA_RW, rw, 4096) ||
	    !map_at(fd, NATIVE_DATA + NATIVE_DATA_RW, 4096, PROT_READ,
		    4096 + NATIVE_DATA_RW))
		_exit(2);
	if (ptrace(PTRACE_TRACEME, 0, 0, 0))
		_exit(3);
	clear_low_memory();
	_exit(4);
}

static void stop_child(void)
{
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
}

/* One CPU for both: the hand-over is four times as quick. */
static void pin(void)
{
	int cpu = sched_getcpu();
	cpu_set_t set;

	if (cpu < 0)
		return;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
}

/* Start the child. Returns NULL, or the reason why there is none. */
const char *native_start(void)
{
	static const char *const reasons[] = { "", "no modify_ldt(2)",
					       "address taken",
					       "no ptrace(2)" };
	size_t bytes = 4096 + NATIVE_DATA_ALL;
	int fd = memfd_create("native", 0);
	int status;

	if (fd < 0 || ftruncate(fd, bytes))
		return "no memfd";
	code = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (code == MAP_FAILED)
		return "no memory";
	data = code + 4096;
	pin();
	child = fork();
	if (child < 0)
		return "no process";
	if (!child)
		become_puppet(fd);
	close(fd);
	if (waitpid(child, &status, 0) != child)
		return "child is lost";
	if (WIFEXITED(status))
		return reasons[WEXITSTATUS(status) & 3];
	atexit(stop_child);
	return NULL;
}

static void die(const char *what)
{
	printf("Bail out! %s: %s\n", what, strerror(errno));
	exit(1);
}

static enum native_stop classify(int signo, struct native_cpu *cpu)
{
	siginfo_t si;

	if (ptrace(PTRACE_GETSIGINFO, child, 0, &si))
		die("PTRACE_GETSIGINFO");
	cpu->fault_address = (u64)si.si_addr;
	switch (signo) {
	case SIGTRAP:
		/* Hypervisors lose DR6.BS at times: do not ask for TRAP_TRACE */
		return NATIVE_STEP;
	case SIGILL:
		return NATIVE_UD;
	case SIGBUS:
		return si.si_code == SI_KERNEL ? NATIVE_SS : NATIVE_OTHER;
	case SIGSEGV:
		return si.si_code == SI_KERNEL ? NATIVE_GP : NATIVE_PF;
	default:
		return NATIVE_OTHER;
	}
}

/* Execute one instruction, or one iteration of a REP string instruction. */
enum native_stop native_run(struct native_cpu *cpu)
{
	int status;

	cpu->regs.orig_rax = -1; /* no system call to restart */
	if (ptrace(PTRACE_SETREGS, child, 0, &cpu->regs))
		die("PTRACE_SETREGS");
	if (cpu->fp && ptrace(PTRACE_SETFPREGS, child, 0, cpu->fp))
		die("PTRACE_SETFPREGS");
	if (ptrace(PTRACE_SINGLESTEP, child, 0, 0))
		die("PTRACE_SINGLESTEP");
	if (waitpid(child, &status, 0) != child || !WIFSTOPPED(status))
		die("waitpid");
	if (ptrace(PTRACE_GETREGS, child, 0, &cpu->regs))
		die("PTRACE_GETREGS");
	if (cpu->fp && ptrace(PTRACE_GETFPREGS, child, 0, cpu->fp))
		die("PTRACE_GETFPREGS");
	return classify(WSTOPSIG(status), cpu);
}
