// SPDX-License-Identifier: GPL-2.0-only
/* Options that describe a VM, for every command that makes one. */
#include <stdlib.h>
#include <string.h>

#include "layout.h"
#include "options.h"

enum {
	OPT_HUGEPAGES = 0x100,
	OPT_DEBUG_EXIT,
	OPT_REGS,
};

static const struct argp_option options[] = {
	{ "device", 'd', "PATH", 0,
	  "Device node with the KVM API (default $LABVISOR_DEV, else " DEFAULT_DEVICE
	  ")",
	  0 },
	{ "cpus", 'c', "N", 0, "Number of virtual CPUs (default 1)", 0 },
	{ "memory", 'm', "SIZE", 0,
	  "Guest memory, with suffix K, M, G or T, in MiB without", 0 },
	{ "hugepages", OPT_HUGEPAGES, "KIND", 0,
	  "Back guest memory with: none (base pages only), thp (transparent huge pages) or hugetlb (the host's huge page pool); default: as the host decides",
	  0 },
	{ "debug-exit", OPT_DEBUG_EXIT, "PORT", OPTION_ARG_OPTIONAL,
	  "End when the guest writes V to PORT (default 0xf4), with exit status V << 1 | 1",
	  0 },
	{ "regs", OPT_REGS, NULL, 0, "Print all vCPUs' registers at the end",
	  0 },
	{ "verbose", 'v', NULL, 0, "Tell what is done", 0 },
	{ 0 }
};

static enum ram_pages parse_pages(const char *kind)
{
	static const struct {
		const char *name;
		enum ram_pages pages;
	} kinds[] = {
		{ "none", PAGES_SMALL },
		{ "thp", PAGES_THP },
		{ "hugetlb", PAGES_HUGETLB },
	};
	size_t i;

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(kind, kinds[i].name))
			return kinds[i].pages;
	die(EXIT_USAGE, "--hugepages takes none, thp or hugetlb, not '%s'",
	    kind);
}

static void finish(struct vm_config *cfg)
{
	const char *env = getenv("LABVISOR_DEV");
	u64 unit = cfg->pages == PAGES_HUGETLB ? MIB(2) : KIB(4);

	if (!cfg->device)
		cfg->device = env && *env ? env : DEFAULT_DEVICE;
	cfg->memory = ALIGN_UP(cfg->memory, unit);
}

static error_t parse(int key, char *arg, struct argp_state *state)
{
	struct vm_config *cfg = state->input;

	switch (key) {
	case 'd':
		cfg->device = arg;
		break;
	case 'c':
		cfg->cpus = parse_number(arg, 1, MAX_CPUS, "a number of vCPUs");
		break;
	case 'm':
		cfg->memory = parse_size(arg);
		break;
	case 'v':
		verbose = true;
		break;
	case OPT_HUGEPAGES:
		cfg->pages = parse_pages(arg);
		break;
	case OPT_DEBUG_EXIT:
		cfg->exit_port = PORT_DEBUG_EXIT;
		if (arg)
			cfg->exit_port = parse_number(arg, 1, 0xfffc, "a port");
		break;
	case OPT_REGS:
		cfg->dump_regs = true;
		break;
	case ARGP_KEY_END:
		finish(cfg);
		break;
	default:
		return ARGP_ERR_UNKNOWN;
	}
	return 0;
}

const struct argp vm_argp = { .options = options, .parser = parse };
