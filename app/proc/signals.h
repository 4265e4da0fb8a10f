/* Signals of a worker. They are blocked in every thread and read by one ("signals"), which sets
 * flags for the step loop; so there is no handler that could run in the middle of anything.
 *
 *   SIGINT   stop after this step (130); a second one, after any stop, ends the process at once
 *   SIGTERM  stop after this step (143) within the grace time, then the process is ended; further
 *            ones change nothing, as schedulers send several
 *   SIGUSR1  checkpoint (or, with usr1_stops, like SIGTERM)      SIGUSR2  print a status line
 *   SIGHUP   detached or under nohup: ignored; else standard streams on the terminal leave it
 *   SIGPIPE  ignored: writing to a closed pipe is an error like others
 * "Ended" means by the signal's default action, so that the shell sees a death by signal. */
#ifndef HL_APP_PROC_SIGNALS_H
#define HL_APP_PROC_SIGNALS_H

#include "engine/base/thread.h"

typedef struct hl_signals_options {
    bool detached;
    bool usr1_stops;
    int64_t grace_ms; /* for SIGTERM; 0: 25 s */
    /* Called on the signal thread after the flag was set: wake the control thread, at SIGINT and
     * SIGTERM also interrupt its script (hl_interrupt_send). NULL for none. Must not block. */
    void (*on_signal)(void *arg, int signal_number);
    void *arg;
} hl_signals_options;

typedef struct hl_signals hl_signals;

/* Call in the main thread before any other thread is started: they inherit the mask. One at a time
 * in a process. `options` is copied. */
HL_MUST_CHECK hl_status hl_signals_start(const hl_signals_options *options, hl_signals **out);
/* Joins the thread. From then on SIGINT and SIGTERM end the process, the others are ignored. Call
 * it last: until then a second Ctrl-C gets out of a shutdown that hangs. NULL is fine. */
void hl_signals_stop(hl_signals *s);
/* Where stdout and stderr go at SIGHUP, once the run directory is known; at most once. Without it
 * they go to /dev/null. */
HL_MUST_CHECK hl_status hl_signals_set_log(hl_signals *s, const char *path);

/* For the step loop; one atomic load each. */
int hl_signals_stop_signal(const hl_signals *s); /* 0, or SIGINT or SIGTERM: exit with 128 + it */
int64_t hl_signals_deadline_ns(const hl_signals *s); /* monotonic, of SIGTERM's grace; 0: none */
bool hl_signals_take_checkpoint(hl_signals *s);      /* true once after SIGUSR1 */
bool hl_signals_take_status(hl_signals *s);          /* true once after SIGUSR2 */
bool hl_signals_hung_up(const hl_signals *s);        /* the terminal is gone, the run goes on */

/* Restores the default action and raises `signal` in this process: does not return. For a stop
 * without a checkpoint. */
void hl_signals_die(int signal);

/* Standard streams away from the terminal: stdin from /dev/null, stdout and stderr appended to
 * log_path (NULL: to /dev/null). IO: the log cannot be opened; then nothing is changed. */
HL_MUST_CHECK hl_status hl_streams_redirect(const char *log_path);

/* The Lua interrupt. The thread that runs Lua arms it with a function that only sets the debug
 * hook: it runs in a signal handler of that very thread. send() works from any thread and does
 * nothing while disarmed. */
HL_MUST_CHECK hl_status hl_interrupt_arm(void (*in_handler)(void));
void hl_interrupt_disarm(void); /* by the thread that armed it */
void hl_interrupt_send(void);

#endif
