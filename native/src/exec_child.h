/* exec's two processes inside: the scout that enters, and the process that becomes the program. */
#pragma once
#include "exec.h"

_Noreturn void exec_scout_main(struct exec_plan *plan);
