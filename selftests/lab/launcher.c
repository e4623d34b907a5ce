// SPDX-License-Identifier: GPL-2.0-only
/*
 * The launcher ends as its guest ended, gives the terminal back on every way
 * out, passes the console's bytes both ways, and says plainly what is wrong.
 * Its guests are a few instructions each, run by 'labvisor exec'.
 */
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <pty.h>
#include <sched.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include "lab.h"
#include <kselftest_harness.h>

#define LAUNCHER "./labvisor"
#define CTRL_A "\x01"

/* Says that it runs, then sleeps for good. */
SNIPPET(16, sleep_code,
	"mov $'R', %al\n"
	"out %al, $0xe9\n"
	"cli\n"
	"hlt\n");

/* Says that it runs, then never stops and never exits. */
SNIPPET(16, spin_code,
	"mov $'R', %al\n"
	"out %al, $0xe9\n"
	"1: jmp 1b\n");

/* Talks faster than anyone listens. */
SNIPPET(16, flood_code,
	"1: out %al, $0xe9\n"
	"jmp 1b\n");

/* Opens the serial port and ends with the first byte that it receives. */
SNIPPET(16, key_code,
	"mov $0x3fc, %dx\n"
	"mov $3, %al\n"
	"out %al, %dx\n"
	"mov $'R', %al\n"
	"out %al, $0xe9\n"
	"mov $0x3fd, %dx\n"
	"1: in %dx, %al\n"
	"test $1, %al\n"
	"jz 1b\n"
	"mov $0x3f8, %dx\n"
	"in %dx, %al\n"
	"out %al, $0xf4\n"
	"hlt\n");

/* Sends back what it receives on the serial port, up to and with a 'q'. */
SNIPPET(16, echo_code,
	"mov $0x3fc, %dx\n"
	"mov $3, %al\n"
	"out %al, %dx\n"
	"1: mov $0x3fd, %dx\n"
	"in %dx, %al\n"
	"test $1, %al\n"
	"jz 1b\n"
	"mov $0x3f8, %dx\n"
	"in %dx, %al\n"
	"out %al, %dx\n"
	"cmp $'q', %al\n"
	"jne 1b\n"
	"xor %al, %al\n"
	"out %al, $0xf4\n"
	"hlt\n");

SNIPPET(16, debug_exit_code,
	"mov $21, %al\n"
	"out %al, $0xf4\n"
	"hlt\n");

SNIPPET(16, halt_code, "hlt\n");

SNIPPET(16, reset_port_code,
	"mov $0xcf9, %dx\n"
	"mov $6, %al\n"
	"out %al, %dx\n"
	"hlt\n");

/* The reset bit where it means something else: in PCI address and data. */
SNIPPET(16, pci_access_code,
	"mov $0xcf8, %dx\n"
	"mov $0x80000604, %eax\n"
	"out %eax, %dx\n"
	"mov $0xcfc, %dx\n"
	"out %eax, %dx\n"
	"mov $1, %al\n"
	"out %al, $0xf4\n"
	"hlt\n");

SNIPPET(16, keyboard_reset_code,
	"mov $0xfe, %al\n"
	"out %al, $0x64\n"
	"hlt\n");

SNIPPET(16, poweroff_code,
	"mov $0x604, %dx\n"
	"mov $0x3400, %ax\n"
	"out %ax, %dx\n"
	"hlt\n");

SNIPPET(16, triple_fault_code,
	"push %ax\n"
	"push %ax\n"
	"push %ax\n"
	"mov %sp, %bp\n"
	"lidt (%bp)\n"
	"int3\n");

/* Ends with 1 if nothing but ones can be read where there is nothing. */
SNIPPET(32, unclaimed_code,
	"mov $0xd0000000, %esi\n"
	"mov (%esi), %eax\n"
	"and 4(%esi), %eax\n"
	"mov $0x5658, %edx\n"
	"in %dx, %eax\n"
	"and (%esi), %eax\n"
	"movzwl 6(%esi), %ebx\n"
	"or $0xffff0000, %ebx\n"
	"and %ebx, %eax\n"
	"mov %eax, (%esi)\n"
	"inc %eax\n"
	"setz %al\n"
	"out %al, $0xf4\n"
	"hlt\n");

/* Runs where there is no memory. */
SNIPPET(32, no_memory_code,
	"mov $0xd0000000, %eax\n"
	"jmp *%eax\n");

/* Starts the other CPU, which ends the guest with a 5. */
SNIPPET(32, smp_code,
	"movl $0xf4e605b0, 0x8000\n" /* mov $5, %al; out %al, $0xf4 */
	"movb $0xf4, 0x8004\n" /* hlt */
	"movl $0x1ff, 0xfee000f0\n"
	"movl $0xc4500, 0xfee00300\n"
	"movl $0xc4608, 0xfee00300\n"
	"cli\n"
	"hlt\n");

SNIPPET(64, regs_code,
	"movabs $0x1122334455667788, %r11\n"
	"mov $1, %al\n"
	"out %al, $0xf4\n"
	"hlt\n");

FIXTURE(launcher)
{
	char dir[32];
	char code[64]; /* the guest's file */
	pid_t pid;
	int in, out; /* of the launcher, our ends; the same for a terminal */
	int tty; /* its terminal */
	int err;
	struct termios before;
	char said[4096]; /* its standard error, once it ended */
};

FIXTURE_SETUP(launcher)
{
	strcpy(self->dir, "/tmp/launcher-XXXXXX");
	if (!mkdtemp(self->dir))
		die("mkdtemp: %s", strerror(errno));
	sprintf(self->code, "%s/code", self->dir);
	self->in = self->out = self->tty = -1;
	self->err = memfd_create("stderr", 0);
	if (access(LAUNCHER, X_OK))
		SKIP(return, "there is no " LAUNCHER);
}

FIXTURE_TEARDOWN(launcher)
{
	unlink(self->code);
	rmdir(self->dir);
}

typedef FIXTURE_DATA(launcher) Launcher;

static void write_file(const char *path, const void *data, size_t size)
{
	int fd = open(path, O_CREAT | O_TRUNC | O_WRONLY, 0644);

	if (fd < 0 || write(fd, data, size) != (ssize_t)size)
		die("%s: %s", path, strerror(errno));
	close(fd);
}

#define WRITE_CODE(self, name) write_file((self)->code, name, name##_end - name)

static void __attribute__((noreturn))
exec_launcher(Launcher *self, int in, int out, char **argv)
{
	dup2(in, 0);
	dup2(out, 1);
	dup2(self->err, 2);
	execv(LAUNCHER, argv);
	die("cannot execute " LAUNCHER ": %s", strerror(errno));
}

static void start_on_pipes(Launcher *self, char **argv)
{
	int in[2], out[2];

	if (pipe2(in, O_CLOEXEC) || pipe2(out, O_CLOEXEC))
		die("pipe: %s", strerror(errno));
	self->pid = fork();
	if (!self->pid)
		exec_launcher(self, in[0], out[1], argv);
	close(in[0]);
	close(out[1]);
	self->in = in[1];
	self->out = out[0];
}

/* The launcher leads the session of a new terminal. */
static void start_on_terminal(Launcher *self, char **argv)
{
	int master;

	if (openpty(&master, &self->tty, NULL, NULL, NULL))
		die("openpty: %s", strerror(errno));
	tcgetattr(self->tty, &self->before);
	self->pid = fork();
	if (!self->pid) {
		setsid();
		ioctl(self->tty, TIOCSCTTY, 0);
		exec_launcher(self, self->tty, self->tty, argv);
	}
	self->in = self->out = master;
}

#define ARGV(...) ((char *[]){ "labvisor", __VA_ARGS__, NULL })
#define EXEC(self, ...) ARGV("exec", ##__VA_ARGS__, (self)->code)

/* The status of the launcher's end, as a shell gives it. */
static int wait_for_end(Launcher *self)
{
	int status;
	ssize_t n;

	if (waitpid(self->pid, &status, 0) != self->pid)
		die("waitpid: %s", strerror(errno));
	n = pread(self->err, self->said, sizeof(self->said) - 1, 0);
	self->said[n < 0 ? 0 : n] = 0;
	return WIFEXITED(status) ? WEXITSTATUS(status)
				 : 1000 + WTERMSIG(status);
}

static int run(Launcher *self, char **argv)
{
	start_on_pipes(self, argv);
	return wait_for_end(self);
}

static void expect_ready(Launcher *self)
{
	char c = 0;

	if (read(self->out, &c, 1) != 1 || c != 'R')
		die("the guest did not say that it runs");
}

static bool same_terminal(const struct termios *a, const struct termios *b)
{
	return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag &&
	       a->c_cflag == b->c_cflag && a->c_lflag == b->c_lflag &&
	       !memcmp(a->c_cc, b->c_cc, sizeof(a->c_cc));
}

static bool terminal_restored(const Launcher *self)
{
	struct termios now;

	return !tcgetattr(self->tty, &now) &&
	       same_terminal(&now, &self->before);
}

static bool terminal_raw(const Launcher *self)
{
	struct termios now;

	return !tcgetattr(self->tty, &now) &&
	       !(now.c_lflag & (ICANON | ECHO | ISIG));
}

/* How the guest ended is the exit status. */

#define EXPECT_END(status, code, ...)                                   \
	do {                                                            \
		WRITE_CODE(self, code);                                 \
		EXPECT_EQ(status, run(self, EXEC(self, ##__VA_ARGS__))) \
		TH_LOG("%s", self->said);                               \
	} while (0)

TEST_F(launcher, debug_exit_gives_its_status)
{
	EXPECT_END(21 << 1 | 1, debug_exit_code);
	EXPECT_STREQ("", self->said);
}

TEST_F(launcher, acpi_poweroff_is_0)
{
	EXPECT_END(0, poweroff_code);
	EXPECT_STREQ("", self->said);
}

TEST_F(launcher, halt_without_irqchip_is_0)
{
	EXPECT_END(0, halt_code, "--no-irqchip");
}

TEST_F(launcher, resets_are_3)
{
	EXPECT_END(3, reset_port_code);
	EXPECT_END(3, keyboard_reset_code);
}

TEST_F(launcher, pci_access_is_no_reset)
{
	EXPECT_END(3, pci_access_code);
	EXPECT_STREQ("", self->said);
}

TEST_F(launcher, triple_fault_is_4)
{
	EXPECT_END(4, triple_fault_code);
	EXPECT_NE(NULL, strstr(self->said, "triple fault"));
}

TEST_F(launcher, failure_is_5_with_registers)
{
	EXPECT_END(5, no_memory_code, "--mode", "32");
	EXPECT_NE(NULL, strstr(self->said, "internal error"));
	EXPECT_NE(NULL, strstr(self->said, "rip 00000000d0000000"));
}

TEST_F(launcher, unclaimed_addresses_read_as_ones)
{
	EXPECT_END(3, unclaimed_code, "--mode", "32");
}

TEST_F(launcher, guest_starts_its_other_cpu)
{
	EXPECT_END(11, smp_code, "--mode", "32", "--cpus", "2");
}

TEST_F(launcher, prints_registers)
{
	EXPECT_END(3, regs_code, "--mode", "64", "--regs");
	EXPECT_NE(NULL, strstr(self->said, "r11 1122334455667788"));
}

/* The terminal. */

static void start_and_see_raw(struct __test_metadata *_metadata, Launcher *self)
{
	start_on_terminal(self, EXEC(self));
	expect_ready(self);
	EXPECT_TRUE(terminal_raw(self));
}

TEST_F(launcher, ctrl_a_x_leaves)
{
	WRITE_CODE(self, sleep_code);
	start_and_see_raw(_metadata, self);
	ASSERT_EQ(2, write(self->in, CTRL_A "x", 2));
	EXPECT_EQ(128 + SIGINT, wait_for_end(self));
	EXPECT_TRUE(terminal_restored(self));
}

TEST_F(launcher, ctrl_a_x_leaves_a_guest_that_does_not_listen)
{
	char junk[8192];

	WRITE_CODE(self, spin_code);
	start_and_see_raw(_metadata, self);
	memset(junk, 'a', sizeof(junk));
	ASSERT_EQ(sizeof(junk), write(self->in, junk, sizeof(junk)));
	ASSERT_EQ(2, write(self->in, CTRL_A "X", 2));
	EXPECT_EQ(128 + SIGINT, wait_for_end(self));
	EXPECT_TRUE(terminal_restored(self));
}

TEST_F(launcher, keys_reach_the_guest)
{
	WRITE_CODE(self, key_code);
	start_and_see_raw(_metadata, self);
	ASSERT_EQ(1, write(self->in, "\x03", 1));
	EXPECT_EQ(3 << 1 | 1, wait_for_end(self));
	EXPECT_TRUE(terminal_restored(self));
}

TEST_F(launcher, ctrl_a_ctrl_a_sends_ctrl_a)
{
	WRITE_CODE(self, key_code);
	start_and_see_raw(_metadata, self);
	ASSERT_EQ(2, write(self->in, CTRL_A CTRL_A, 2));
	EXPECT_EQ(1 << 1 | 1, wait_for_end(self));
}

TEST_F(launcher, signals_end_it_and_restore_the_terminal)
{
	static const int signals[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	size_t i;

	WRITE_CODE(self, spin_code);
	for (i = 0; i < ARRAY_LEN(signals); i++) {
		start_and_see_raw(_metadata, self);
		kill(self->pid, signals[i]);
		EXPECT_EQ(128 + signals[i], wait_for_end(self));
		EXPECT_TRUE(terminal_restored(self));
	}
}

TEST_F(launcher, crash_restores_the_terminal)
{
	WRITE_CODE(self, spin_code);
	start_and_see_raw(_metadata, self);
	kill(self->pid, SIGSEGV);
	EXPECT_EQ(1000 + SIGSEGV, wait_for_end(self));
	EXPECT_TRUE(terminal_restored(self));
}

TEST_F(launcher, stop_gives_the_terminal_back_for_a_while)
{
	int status;

	WRITE_CODE(self, spin_code);
	start_and_see_raw(_metadata, self);
	kill(self->pid, SIGTSTP);
	ASSERT_EQ(self->pid, waitpid(self->pid, &status, WUNTRACED));
	ASSERT_TRUE(WIFSTOPPED(status));
	EXPECT_TRUE(terminal_restored(self));
	kill(self->pid, SIGCONT);
	while (!terminal_raw(self))
		sched_yield();
	kill(self->pid, SIGTERM);
	EXPECT_EQ(128 + SIGTERM, wait_for_end(self));
	EXPECT_TRUE(terminal_restored(self));
}

/* Other things than terminals. */

/* Write all of @data while reading as much of the guest's output as comes. */
static size_t exchange(Launcher *self, const char *data, size_t size,
		       char *reply, size_t room)
{
	struct pollfd fds[] = { { .fd = self->in, .events = POLLOUT },
				{ .fd = self->out, .events = POLLIN } };
	size_t sent = 0, got = 0;
	ssize_t n;

	fcntl(self->in, F_SETFL, O_NONBLOCK);
	while (poll(fds, ARRAY_LEN(fds), -1) > 0) {
		if (fds[0].revents) {
			n = write(self->in, data + sent, size - sent);
			sent += n > 0 ? n : 0;
			if (sent == size)
				fds[0].fd = -1;
		}
		if (fds[1].revents) {
			n = read(self->out, reply + got, room - got);
			if (n <= 0)
				break;
			got += n;
		}
	}
	return got;
}

TEST_F_TIMEOUT(launcher, pipe_loses_nothing, 280)
{
	static char data[8000], reply[12000];
	size_t i;

	/* Control characters mean nothing when they do not come from keys. */
	for (i = 0; i < sizeof(data); i++)
		data[i] = i % 'q';
	data[sizeof(data) - 1] = 'q';
	WRITE_CODE(self, echo_code);
	start_on_pipes(self, EXEC(self));
	ASSERT_EQ(sizeof(data),
		  exchange(self, data, sizeof(data), reply, sizeof(reply)));
	EXPECT_EQ(0, memcmp(data, reply, sizeof(data)));
	EXPECT_EQ(1, wait_for_end(self));
}

/* Is the launcher's main thread asleep? Its state follows its name in stat. */
static bool sleeps(const Launcher *self)
{
	char path[64], text[256] = { 0 };
	const char *name_end;
	int fd;

	sprintf(path, "/proc/%d/task/%d/stat", self->pid, self->pid);
	fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		die("%s: %s", path, strerror(errno));
	close(fd);
	name_end = strrchr(text, ')');
	return name_end && name_end[2] == 'S';
}

TEST_F(launcher, end_of_input_is_not_the_end_of_the_guest)
{
	WRITE_CODE(self, sleep_code);
	start_on_pipes(self, EXEC(self));
	close(self->in);
	expect_ready(self);
	/* One that looks again and again for more input never sleeps. */
	while (!sleeps(self))
		sched_yield();
	kill(self->pid, SIGTERM);
	EXPECT_EQ(128 + SIGTERM, wait_for_end(self));
}

TEST_F(launcher, ends_while_nobody_takes_its_output)
{
	int capacity, filled;

	WRITE_CODE(self, flood_code);
	start_on_pipes(self, EXEC(self));
	capacity = fcntl(self->out, F_SETPIPE_SZ, 2 * PAGE_SIZE);
	ASSERT_EQ(2 * PAGE_SIZE, capacity);
	/* Once its last page is in use, a pipe takes no more for sure. */
	do
		sched_yield();
	while (!ioctl(self->out, FIONREAD, &filled) &&
	       filled <= (int)PAGE_SIZE);
	kill(self->pid, SIGTERM);
	EXPECT_EQ(128 + SIGTERM, wait_for_end(self));
}

TEST_F(launcher, closed_output_ends_it)
{
	WRITE_CODE(self, flood_code);
	start_on_pipes(self, EXEC(self));
	close(self->out);
	EXPECT_EQ(1, wait_for_end(self));
	EXPECT_NE(NULL, strstr(self->said, "output"));
}

/* Refusals. */

TEST_F(launcher, refuses_with_a_reason)
{
	static const char text[1024] = "This is no kernel.";
	char *code = self->code;
	const struct {
		int status;
		const char *reason;
		char **argv;
	} cases[] = {
		{ 2, "COMMAND", ARGV("-v") },
		{ 2, "'walk'", ARGV("walk") },
		{ 2, "KERNEL", ARGV("run") },
		{ 2, "FILE", ARGV("exec") },
		{ 2, "--nonsense", ARGV("exec", "--nonsense", code) },
		{ 2, "vCPUs", ARGV("exec", "--cpus", "0", code) },
		{ 2, "vCPUs", ARGV("exec", "--cpus", "255", code) },
		{ 2, "vCPUs", ARGV("exec", "--cpus", "two", code) },
		{ 2, "size", ARGV("exec", "--memory", "-1", code) },
		{ 2, "size", ARGV("exec", "--memory", "1Q", code) },
		{ 2, "size", ARGV("exec", "--memory", "99999999T", code) },
		{ 2, "--mode", ARGV("exec", "--mode", "128", code) },
		{ 2, "hugetlb", ARGV("exec", "--hugepages", "big", code) },
		{ 2, "quotes", ARGV("run", "--cmd", "echo \"\"", code) },
		{ 1, "No such file", ARGV("run", "/nowhere") },
		{ 1, "No such file",
		  ARGV("run", "--initrd", "/nowhere", code) },
		{ 1, "not a regular file", ARGV("run", "/tmp") },
		{ 1, "empty", ARGV("run", "/proc/version") },
		{ 1, "0xaa55", ARGV("run", code) },
		{ 1, "insmod", ARGV("exec", "--device", "/dev/nowhere", code) },
		{ 1, "KVM API", ARGV("exec", "--device", "/dev/null", code) },
	};
	size_t i;

	write_file(code, text, sizeof(text));
	for (i = 0; i < ARRAY_LEN(cases); i++) {
		ASSERT_EQ(0, ftruncate(self->err, 0));
		ASSERT_EQ(0, lseek(self->err, 0, SEEK_SET));
		EXPECT_EQ(cases[i].status, run(self, cases[i].argv))
		TH_LOG("case %zu", i);
		EXPECT_NE(NULL, strstr(self->said, cases[i].reason))
		TH_LOG("case %zu, %s: %s", i, cases[i].reason, self->said);
	}
}

TEST_F(launcher, tells_who_lacks_permission_what_to_do)
{
	const char *device = lab_device();
	struct stat st;

	WRITE_CODE(self, debug_exit_code);
	chmod(self->dir, 0755);
	ASSERT_EQ(0, stat(device, &st));
	ASSERT_EQ(0, chmod(device, 0600));
	self->pid = fork();
	if (!self->pid) {
		if (setgroups(0, NULL) || setgid(65534) || setuid(65534))
			die("cannot drop privileges: %s", strerror(errno));
		exec_launcher(self, 0, 1, EXEC(self));
	}
	EXPECT_EQ(1, wait_for_end(self));
	EXPECT_NE(NULL, strstr(self->said, "permission denied"))
	TH_LOG("%s", self->said);
	EXPECT_NE(NULL, strstr(self->said, "udev"));
	ASSERT_EQ(0, chmod(device, st.st_mode & 07777));
}

TEST_HARNESS_MAIN
