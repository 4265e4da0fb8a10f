/* Shared by the files of the harness. */
#ifndef HL_TESTS_SCREENS_HARNESS_INTERNAL_H
#define HL_TESTS_SCREENS_HARNESS_INTERNAL_H

#include <sys/types.h>
#include <termios.h>
#include <vterm.h>

#include "tests/screens/harness.h"

enum { MAX_MODES = 64, MAX_ARGS = 8 };

struct mode {
    int number;
    bool on, was_on;
};

struct screen {
    int master, slave; /* the slave is held open to look at its modes */
    pid_t pid;
    bool ended;
    int status;
    int cols, rows;
    bool silent, knows_sync;
    bool pressing; /* the emulator is made to send a key */
    int limit_ms;
    VTerm *vt;
    VTermScreen *picture;
    struct termios found;
    char *printed;
    size_t n_printed, cap_printed;
    struct mode mode[MAX_MODES];
    int n_modes;
    int scan_at, scan_arg[MAX_ARGS], scan_n_args;
};

int64_t screen_now_ms(void);

#endif
