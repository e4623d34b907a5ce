/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef LABVISOR_TERM_H
#define LABVISOR_TERM_H

#include "vm.h"

void term_start(struct vm *vm);
void term_on_input(void (*fn)(void *opaque), void *opaque);
int term_get(void);
void term_put(struct vm *vm, u8 byte);
void term_raw(void);
void term_restore(void);
void term_finish(void);

#endif
