// A guest can write a line on the console and turn the machine off.
#include "check.h"

guest hello
main:
    text a0, "Hello from S-mode.\r\n"
    call puts
    j    pass
