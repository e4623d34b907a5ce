// SPDX-License-Identifier: GPL-2.0-only
/* KVM_GET_STATS_FD: statistics of a VM and of a vCPU in the API's binary form. */
#include <fcntl.h>
#include "guest.h"
#include "stats.h"
#include <kselftest_harness.h>

FIXTURE(stats)
{
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(stats)
{
	self->vm = vm_new_irqchip();
	self->vcpu = vcpu_new(self->vm, 0);
}

FIXTURE_TEARDOWN(stats)
{
	vcpu_free(self->vcpu);
	vm_free(self->vm);
}

/* Blocks that do not overlap, names that end, no two the same. */
static void check_layout(struct __test_metadata *_metadata, int fd)
{
	struct kvm_stats_header *header;
	struct stats s = {};
	unsigned int i, j;

	ASSERT_LE(0, fd);
	stats_open(fd, &s);
	header = &s.header;
	EXPECT_EQ(0, strncmp(s.id, "kvm-", 4));
	EXPECT_LE(sizeof(*header), header->id_offset);
	EXPECT_LE(header->id_offset + header->name_size, header->desc_offset);
	EXPECT_LE(header->desc_offset + s.desc_size * header->num_desc,
		  header->data_offset);
	for (i = 0; i < header->num_desc; i++) {
		const struct kvm_stats_desc *desc = stats_desc(&s, i);

		EXPECT_LT(0, strlen(desc->name));
		EXPECT_GT(header->name_size, strlen(desc->name));
		EXPECT_EQ(i * 8, desc->offset);
		EXPECT_EQ(1, desc->size);
		for (j = 0; j < i; j++)
			EXPECT_NE(0,
				  strcmp(desc->name, stats_desc(&s, j)->name));
	}
	free(s.descs);
}

TEST_F(stats, layout)
{
	ASSERT_LT(0, vm_cap(self->vm, KVM_CAP_BINARY_STATS_FD));
	check_layout(_metadata, stats_fd(self->vm->fd));
	check_layout(_metadata, stats_fd(self->vcpu->fd));
}

SNIPPET(64, three_ports, "out %al, $0x80\nout %al, $0x80\nout %al, $0x80\n");

TEST_F(stats, count)
{
	int fd = stats_fd(self->vcpu->fd);
	struct stats s = {};
	u64 exits;
	int i;

	stats_open(fd, &s);
	EXPECT_EQ(0, stats_value(fd, &s, "exits"));
	EXPECT_EQ(0, stats_value(fd, &s, "io_exits"));
	VCPU_SNIPPET(self->vcpu, MODE_LONG, three_ports);
	for (i = 1; i <= 3; i++) {
		exits = stats_value(fd, &s, "exits");
		ASSERT_EXIT(KVM_EXIT_IO, self->vcpu);
		EXPECT_EQ(i, stats_value(fd, &s, "io_exits"));
		EXPECT_LT(exits, stats_value(fd, &s, "exits"));
		EXPECT_EQ(i, stats_value(fd, &s, "exit_io"));
	}
	EXPECT_EQ(0, stats_value(fd, &s, "mmio_exits"));
	free(s.descs);
}

/* Reads go on where the last one ended, and end where the values end. */
TEST_F(stats, sequential)
{
	int fd = stats_fd(self->vm->fd);
	struct stats s = {};
	u8 whole[1 << 14], parts[1 << 14];
	ssize_t size, done = 0, n;

	stats_open(fd, &s);
	size = pread(fd, whole, sizeof(whole), 0);
	EXPECT_EQ(s.header.data_offset + 8 * s.header.num_desc, size);
	while ((n = read(fd, parts + done, 7)) > 0)
		done += n;
	EXPECT_EQ(0, n);
	EXPECT_EQ(size, done);
	EXPECT_EQ(0, memcmp(whole, parts, size));
	EXPECT_EQ(0, pread(fd, parts, 1, size));
	EXPECT_EQ(0, pread(fd, parts, 1, 1ull << 40));
	EXPECT_EQ(-1, write(fd, whole, 1));
	free(s.descs);
}

TEST_F(stats, of_the_vm)
{
	int fd = stats_fd(self->vm->fd);
	struct stats s = {};
	struct vcpu *other;

	stats_open(fd, &s);
	EXPECT_EQ(1, stats_value(fd, &s, "vcpus"));
	other = vcpu_new(self->vm, 1);
	EXPECT_EQ(2, stats_value(fd, &s, "vcpus"));
	vcpu_free(other);
	free(s.descs);
}

/* A file of statistics keeps what it counts alive. */
TEST(outlives_its_vm)
{
	struct vm *vm = vm_new_irqchip();
	struct vcpu *vcpu = vcpu_new(vm, 0);
	int fd = stats_fd(vcpu->fd), of_vm = stats_fd(vm->fd);
	struct stats s = {}, t = {};
	u64 exits;

	stats_open(fd, &s);
	stats_open(of_vm, &t);
	VCPU_SNIPPET(vcpu, MODE_LONG, three_ports);
	ASSERT_EXIT(KVM_EXIT_IO, vcpu);
	exits = stats_value(fd, &s, "exits");
	vcpu_free(vcpu);
	vm_free(vm);
	EXPECT_EQ(exits, stats_value(fd, &s, "exits"));
	EXPECT_EQ(1, stats_value(of_vm, &t, "vcpus"));
	free(s.descs);
	free(t.descs);
	close(fd);
	close(of_vm);
}

TEST_HARNESS_MAIN
