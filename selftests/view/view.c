// SPDX-License-Identifier: GPL-2.0-only
/*
 * What guests and their user space see, as a text that is the same at each run
 * and for each vendor. test_view.sh compares it.
 */
#include "view.h"

int main(void)
{
	view_system();
	view_exceptions();
	view_interrupts();
	view_io();
	view_modes();
	section("end");
	return 0;
}
