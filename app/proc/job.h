/* A program beside this process: its lines are read as they come, and nothing here waits but the
 * end. It has a process group of its own, which ends with the job. */
#ifndef HL_APP_PROC_JOB_H
#define HL_APP_PROC_JOB_H

#include "engine/base/str.h"

typedef struct hl_job hl_job;

enum { HL_JOB_LINE_MAX = 64 << 10 }; /* bytes; a longer line comes in parts */

/* As hl_call_run, both kinds of its output together. Errors: NOTFOUND (no such program), IO, NOMEM.
 */
HL_MUST_CHECK hl_status hl_job_start(char *const *argv, hl_job **out);
int hl_job_fd(const hl_job *j); /* readable when it has said something; -1: it will say no more */
/* The next line, without its end, in place of what `line` held; false: there is none now. What is
 * not taken stays with the program, which waits. */
bool hl_job_line(hl_job *j, hl_str *line);
/* It has ended, and all it said was taken; status: that of its exit, or 128 and the signal. */
bool hl_job_is_over(hl_job *j, int *status);
/* Ends its group where it is not over: asks, and after a fifth of a second kills. NULL is fine. */
void hl_job_free(hl_job *j);

#endif
