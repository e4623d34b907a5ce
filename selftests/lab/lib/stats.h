/* SPDX-License-Identifier: GPL-2.0-only */
/* KVM_GET_STATS_FD: the statistics of a VM or of a vCPU, by name. */
#ifndef SELFTESTS_STATS_H
#define SELFTESTS_STATS_H

#include "lab.h"

struct stats {
	struct kvm_stats_header header;
	char id[64];
	u8 *descs;
	size_t desc_size;
};

/* Read what does not change. */
static inline void stats_open(int fd, struct stats *s)
{
	size_t size;

	if (pread(fd, &s->header, sizeof(s->header), 0) != sizeof(s->header))
		die("no header of statistics");
	if (s->header.name_size > sizeof(s->id))
		die("names of %u bytes", s->header.name_size);
	s->desc_size = sizeof(struct kvm_stats_desc) + s->header.name_size;
	size = s->desc_size * s->header.num_desc;
	s->descs = malloc(size);
	if (pread(fd, s->id, s->header.name_size, s->header.id_offset) !=
		    s->header.name_size ||
	    pread(fd, s->descs, size, s->header.desc_offset) != (ssize_t)size)
		die("the descriptions of the statistics are short");
}

static inline const struct kvm_stats_desc *stats_desc(const struct stats *s,
						      unsigned int i)
{
	return (void *)(s->descs + i * s->desc_size);
}

/* The present value of one statistic, by its name. */
static inline u64 stats_value(int fd, const struct stats *s, const char *name)
{
	u64 value;
	unsigned int i;

	for (i = 0; i < s->header.num_desc; i++)
		if (!strcmp(stats_desc(s, i)->name, name))
			break;
	if (i == s->header.num_desc)
		die("no statistic is called %s", name);
	if (pread(fd, &value, sizeof(value),
		  s->header.data_offset + stats_desc(s, i)->offset) !=
	    sizeof(value))
		die("no value of %s", name);
	return value;
}

static inline int stats_fd(int of)
{
	return dev_ioctl_value(of, KVM_GET_STATS_FD, 0);
}

#endif /* SELFTESTS_STATS_H */
