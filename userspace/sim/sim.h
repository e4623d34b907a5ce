/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * The scheduling simulator: the module's policies on virtual time.
 *
 * scenario.c and recording.c fill in a struct sim_config, sim.c plays it, guest.c
 * says what the guests do, result.c what came out. Same configuration and seed,
 * same result.
 * Times are nanoseconds.
 */
#ifndef LABVISOR_SIM_H
#define LABVISOR_SIM_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SIM_NAME 16
/* When time begins: 0 means never in many places. */
#define SIM_START ((uint64_t)1000000)

/**
 * enum sim_guest - what the vCPUs of a VM do
 * @SIM_HOG: compute, always
 * @SIM_IO: compute for @run, halt for @sleep until an interrupt comes
 * @SIM_PINGPONG: each odd vCPU and the one before it wake each other by IPI
 * @SIM_SPIN: compute for @run, take the VM's ticket lock for @hold
 * @SIM_PERIODIC: every @every a timer starts a job of @run, due in as long
 * @SIM_ATTACK: compute, but halt for @sleep at each @every, when a tick comes
 * @SIM_YIELD: compute for @run, then yield
 * @SIM_MIXED: even vCPUs as SIM_HOG, odd ones as SIM_IO
 * @SIM_RANDOM: any of it, with trips to user space
 * @SIM_SCRIPT: what a file or a recording says
 */
enum sim_guest {
	SIM_HOG,
	SIM_IO,
	SIM_PINGPONG,
	SIM_SPIN,
	SIM_PERIODIC,
	SIM_ATTACK,
	SIM_YIELD,
	SIM_MIXED,
	SIM_RANDOM,
	SIM_SCRIPT,
};

/* enum sim_spread - how @run and @sleep vary around their mean */
enum sim_spread {
	SIM_FIXED,
	SIM_UNIFORM, /* from 0 to twice as much */
	SIM_EXP,
};

/* struct sim_step - of a script */
struct sim_step {
	char what; /* r un, h alt, u ser space, y ield */
	uint8_t why; /* what ends the halt: enum lv_wake */
	uint64_t ns;
};

/* struct sim_script - what a vCPU does, over and over */
struct sim_script {
	struct sim_step *steps;
	uint32_t nr, room;
};

/**
 * struct sim_vm_config - a VM, or several that are alike
 * @count: how many
 * @user_every: a trip to user space, of @user_for, is made so often; 0: never
 * @held_every: the host holds a thread up, for @held_for, so often; 0: never
 * @group: so many vCPUs in a row are a gang; 0: all
 * @scripts: @nr_scripts: one for each vCPU, or one for all
 */
struct sim_vm_config {
	char name[SIM_NAME];
	uint32_t count, vcpus, weight, cap, group;
	uint64_t period, budget;
	enum sim_guest does;
	enum sim_spread spread;
	uint64_t run, sleep, hold, every;
	uint64_t user_every, user_for, held_every, held_for;
	struct sim_script *scripts;
	uint32_t nr_scripts;
};

/**
 * struct sim_config - what is simulated
 * @kick: so long a thread needs to leave the guest
 * @wake: so long one needs to come to a CPU that it is given
 * @pause: so long a guest spins until the processor reports a PAUSE loop
 * @steal_every: the host takes each CPU, for @steal_for, so often; 0: never
 * @switch_every: another policy, any, so often; 0: never
 * @hotplug_every: a CPU leaves or comes back so often; 0: never
 * @move_every: a VM leaves or comes back so often; 0: never
 * @change_every: parameters of a VM change so often; 0: never
 */
struct sim_config {
	char policy[SIM_NAME];
	uint32_t cpus;
	uint64_t seed, time, slice, kick, wake, pause;
	uint64_t steal_every, steal_for;
	uint64_t switch_every, hotplug_every, move_every, change_every;
	struct sim_vm_config *vms;
	uint32_t nr_vms;
};

struct sim;

/* ---- sim.c ---- */

/* NULL, and in @error why, if it cannot be. */
struct sim *sim_new(const struct sim_config *config, const char **error);
void sim_run(struct sim *sim, uint64_t until);
void sim_free(struct sim *sim);

/* ---- scenario.c ---- */

void sim_defaults(struct sim_config *config);
void sim_config_free(struct sim_config *config);
/* These return NULL, or what is wrong. */
const char *sim_set(struct sim_config *config, const char *key,
		    const char *value);
const char *sim_add_vm(struct sim_config *config, const char *text);
const char *sim_load(struct sim_config *config, const char *path);

/* A VM as it is by default, and a script more for it: they stay the caller's. */
struct sim_vm_config *sim_new_vm(struct sim_config *config);
struct sim_script *sim_new_script(struct sim_vm_config *vm);
void sim_add_step(struct sim_script *script, struct sim_step step);

/* ---- recording.c ---- */

/* NULL, or what is wrong; a file that is no recording ends the program. */
const char *sim_load_recording(struct sim_config *config, const char *path);

/* ---- result.c ---- */

void sim_print(struct sim *sim, FILE *to);
void sim_print_json(struct sim *sim, FILE *to);
/* One line for each simulation, with what was different. */
void sim_print_head(const char *key, FILE *to);
void sim_print_line(struct sim *sim, const char *value, FILE *to);

#endif
