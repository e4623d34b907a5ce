// SPDX-License-Identifier: GPL-2.0-only
/*
 * labvisor sched load, unload: policies written in BPF.
 *
 * A policy is a variable of the type struct lv_sched_ops in an object file. The
 * link that makes the kernel offer it is pinned in the BPF file system under the
 * policy's name, where it stays until unload takes it away.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "../util.h"
#include "load.h"

#define BPF_FS "/sys/fs/bpf"
#define PINS BPF_FS "/labvisor"

/* What a kernel must have before there is any point in a file. */
static void need_kernel(void)
{
	int major = 0, minor = 0;
	struct utsname name;

	uname(&name);
	sscanf(name.release, "%d.%d", &major, &minor);
	if (major * 1000 + minor < 6009)
		die(EXIT_HOST,
		    "the kernel is too old: policies in BPF take 6.9 or newer, this is %s; a policy can be a module here",
		    name.release);
}

static void need_module(void)
{
	if (access("/sys/module/labvisor", F_OK))
		die(EXIT_HOST, "the module labvisor is not loaded");
	if (access("/sys/kernel/btf/labvisor", F_OK))
		die(EXIT_HOST,
		    "the loaded labvisor.ko has no BTF that fits this kernel: build it with pahole (package dwarves) and the kernel's vmlinux in the headers");
}

static char *pin_path(const char *name)
{
	char *path;

	if (!*name || strchr(name, '/'))
		die(EXIT_USAGE, "'%s' is no name for a policy", name);
	if (asprintf(&path, PINS "/%s", name) < 0)
		die(EXIT_HOST, "out of memory");
	return path;
}

#ifdef HAVE_LIBBPF

#include <bpf/btf.h>
#include <bpf/libbpf.h>

static int print(enum libbpf_print_level level, const char *fmt, va_list args)
{
	if (level == LIBBPF_DEBUG && !verbose)
		return 0;
	return vfprintf(stderr, fmt, args);
}

static void need_bpf_fs(void)
{
	struct statfs fs;

	if (statfs(BPF_FS, &fs))
		die(EXIT_HOST, BPF_FS ": %s", strerror(errno));
	if (fs.f_type != BPF_FS_MAGIC && mount("bpf", BPF_FS, "bpf", 0, NULL))
		die(EXIT_HOST, "cannot mount " BPF_FS ": %s", strerror(errno));
	if (mkdir(PINS, 0700) && errno != EEXIST)
		die(EXIT_HOST, PINS ": %s", strerror(errno));
}

/* The policy's name is the member "name" of the variable, as its file has it. */
static const char *policy_name(struct bpf_object *object, struct bpf_map *map)
{
	const struct btf *btf = bpf_object__btf(object);
	const struct btf_type *type =
		btf__type_by_id(btf, btf__find_by_name_kind(btf, "lv_sched_ops",
							    BTF_KIND_STRUCT));
	const struct btf_member *member = type ? btf_members(type) : NULL;
	const char *value = bpf_map__initial_value(map, NULL);
	int i;

	for (i = 0; value && type && i < btf_vlen(type); i++)
		if (!strcmp(btf__name_by_offset(btf, member[i].name_off),
			    "name"))
			return value + member[i].offset / 8;
	die(EXIT_USAGE, "%s: '%s' is no struct lv_sched_ops",
	    bpf_object__name(object), bpf_map__name(map));
}

static void attach(struct bpf_map *map, const char *name)
{
	char *path = pin_path(name);
	struct bpf_link *link = bpf_map__attach_struct_ops(map);
	int err;

	if (!link && errno == EEXIST)
		die(EXIT_HOST, "there is a policy '%s' already", name);
	if (!link)
		die(EXIT_HOST, "%s: %s", name, strerror(errno));
	err = bpf_link__pin(link, path);
	if (err)
		die(EXIT_HOST, "%s: %s", path, strerror(-err));
	bpf_link__destroy(link);
	printf("%s\n", name);
	free(path);
}

static void load_file(const char *path)
{
	struct bpf_object *object = bpf_object__open_file(path, NULL);
	char *names[64];
	struct bpf_map *map;
	int n = 0, i = 0;

	if (!object)
		die(EXIT_USAGE, "%s: not an object file of a BPF program: %s",
		    path, strerror(errno));
	bpf_object__for_each_map(map, object)
	{
		if (bpf_map__type(map) != BPF_MAP_TYPE_STRUCT_OPS)
			continue;
		if (n == ARRAY_SIZE(names))
			die(EXIT_USAGE, "%s: too many policies", path);
		names[n++] = strndup(policy_name(object, map), 15);
	}
	if (!n)
		die(EXIT_USAGE,
		    "%s: no policy in it: no struct lv_sched_ops in a section .struct_ops.link",
		    path);
	if (bpf_object__load(object))
		die(EXIT_HOST, "%s: the kernel refuses it: %s", path,
		    strerror(errno));
	bpf_object__for_each_map(map, object) if (bpf_map__type(map) ==
						  BPF_MAP_TYPE_STRUCT_OPS)
		attach(map, names[i++]);
	while (n)
		free(names[--n]);
	bpf_object__close(object);
}

static void load_files(char **paths)
{
	libbpf_set_print(print);
	need_bpf_fs();
	while (*paths)
		load_file(*paths++);
}

#else

static void load_files(char **paths)
{
	(void)paths;
	die(EXIT_HOST,
	    "this labvisor was built without libbpf 1.4 or newer, which 'load' needs: run lab/libbpf, then make launcher");
}

#endif

void sched_load(char **paths)
{
	need_kernel();
	need_module();
	load_files(paths);
}

/*
 * The link ends when nothing refers to it: close() does that at once, the end
 * of a pin alone some time later.
 */
void sched_unload(const char *name)
{
	char *path = pin_path(name);
	union bpf_attr attr = { .pathname = (uintptr_t)path };
	int fd;

	need_kernel();
	fd = syscall(SYS_bpf, BPF_OBJ_GET, &attr, sizeof(attr));
	if (fd < 0 && errno == ENOENT)
		die(EXIT_HOST,
		    "no policy '%s' was loaded by 'labvisor sched load'", name);
	if (fd < 0 || unlink(path) || close(fd))
		die(EXIT_HOST, "%s: %s", path, strerror(errno));
	free(path);
}
