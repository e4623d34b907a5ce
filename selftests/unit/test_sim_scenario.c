// SPDX-License-Identifier: GPL-2.0-only
/* Scenarios of the scheduling simulator as text. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "sim/sim.h"
#include "tap.h"

static struct sim_config config;

static void fresh(void)
{
	sim_config_free(&config);
	sim_defaults(&config);
}

static void refused(const char *what, const char *wrong)
{
	ok(wrong, "refused: %s: %s", what, wrong ? wrong : "it was not");
}

static const char *load(const char *text)
{
	char path[] = "/tmp/labvisor-scenario-XXXXXX";
	int fd = mkstemp(path);
	const char *wrong;

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		exit(1);
	close(fd);
	fresh();
	wrong = sim_load(&config, path);
	unlink(path);
	return wrong;
}

static void test_options(void)
{
	sim_defaults(&config);
	ok(!sim_set(&config, "policy", "gang-relaxed"), "policy");
	ok(!sim_set(&config, "cpus", "256"), "cpus");
	ok(!sim_set(&config, "time", "1.5s"), "time");
	ok(!strcmp(config.policy, "gang-relaxed") && config.cpus == 256 &&
		   config.time == 1500000000,
	   "their values");
	ok(!sim_set(&config, "steal_every", "0"), "0 needs no unit");
	ok(!sim_add_vm(&config, "name=a,count=3,vcpus=4,weight=512,does=io,"
				"run=50us,sleep=3ms,spread=exp,cap=50"),
	   "a VM");
	ok(!sim_add_vm(&config, "does=periodic,period=10ms,budget=2ms"),
	   "another");
	is(config.nr_vms, 2, "two");
	ok(config.vms[0].count == 3 && config.vms[0].weight == 512 &&
		   config.vms[0].does == SIM_IO && config.vms[0].run == 50000 &&
		   config.vms[0].spread == SIM_EXP && config.vms[0].cap == 50,
	   "what the first is");
	ok(config.vms[1].period == 10000000 && config.vms[1].weight == 256,
	   "what the second is");

	refused("key", sim_set(&config, "colour", "1"));
	refused("no number", sim_set(&config, "cpus", "many"));
	refused("negative", sim_set(&config, "cpus", "-1"));
	refused("none", sim_set(&config, "cpus", "0"));
	refused("too many", sim_set(&config, "cpus", "1025"));
	refused("no unit", sim_set(&config, "time", "5"));
	refused("wrong unit", sim_set(&config, "time", "5h"));
	refused("no time", sim_set(&config, "time", "nan"));
	refused("name", sim_set(&config, "policy", "a\"b"));
	refused("long name", sim_set(&config, "policy", "0123456789abcdef"));
	refused("VM without value", sim_add_vm(&config, "vcpus"));
	refused("key of a VM", sim_add_vm(&config, "cpus=2"));
	refused("guest", sim_add_vm(&config, "does=nothing"));
	refused("weight", sim_add_vm(&config, "weight=65536"));
	refused("too many vCPUs", sim_add_vm(&config, "vcpus=255,count=65536"));
	refused("attack", sim_add_vm(&config, "does=attack,sleep=10ms"));
	refused("file", sim_add_vm(&config, "file=/nonexistent"));
	fresh();
}

static void test_json(void)
{
	ok(!load("{\"policy\": \"edf\", \"cpus\": 4, \"time\": \"2s\","
		 " \"vms\": [{\"does\": \"hog\", \"vcpus\": 2},"
		 " {\"count\": 5, \"run\": \"1ms\"}]}"),
	   "JSON");
	ok(config.cpus == 4 && config.nr_vms == 2 && config.vms[1].count == 5 &&
		   !strcmp(config.policy, "edf"),
	   "what it says");
	refused("no JSON", load("policy = edf"));
	refused("a list", load("[]"));
	refused("vms no list", load("{\"vms\": 5}"));
	refused("VM no object", load("{\"vms\": [5]}"));
	refused("key in JSON", load("{\"colour\": 1}"));
	refused("key of a VM in JSON", load("{\"vms\": [{\"colour\": 1}]}"));
	refused("null", load("{\"cpus\": null}"));
	refused("number without unit", load("{\"time\": 5}"));
	refused("no file", sim_load(&config, "/nonexistent"));
	fresh();
}

static const char *steps(const char *text)
{
	char path[] = "/tmp/labvisor-steps-XXXXXX", vm[64];
	int fd = mkstemp(path);
	const char *wrong;

	if (fd < 0 || write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		exit(1);
	close(fd);
	fresh();
	snprintf(vm, sizeof(vm), "file=%s", path);
	wrong = sim_add_vm(&config, vm);
	unlink(path);
	return wrong;
}

static void test_steps(void)
{
	ok(!steps("# recorded\nrun 1ms\nhalt 50us\n\nuser 3us\nyield\nrun 2ms\n"),
	   "steps");
	is(config.vms[0].scripts->nr, 5, "five");
	ok(config.vms[0].scripts->steps[1].what == 'h' &&
		   config.vms[0].scripts->steps[1].ns == 50000,
	   "the second one");
	refused("word", steps("walk 5ms\n"));
	refused("without a time", steps("run\n"));
	refused("without a unit", steps("run 5\n"));
	refused("empty", steps("# nothing\n"));
	refused("no time", steps("yield\n"));
	sim_config_free(&config);
}

int main(void)
{
	test_options();
	test_json();
	test_steps();
	return tap_done();
}
