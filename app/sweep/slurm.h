/* The trials of a sweep as tasks of Slurm's job arrays. Each submission has a folder of its own,
 * <runs>/slurm/<sweep>/<n>, since tasks that wait read it long after:
 *
 *   tasks            one worker's command line per line, quoted for bash: task k runs line k
 *   array.sh         the batch script; its head says how it was submitted
 *   submission.json  sweep, job, cluster, and name and key of each task's trial
 *   task-<k>.log     what task k printed
 *   gone             tasks that Slurm no longer has, as it was asked last (app/store/waiting.h)
 *
 * submission.json is written before sbatch is called, with an empty job, and again after it: a
 * folder without it was never submitted, one without a job may have been. What became of a trial is
 * read from its run, as ever; these folders only tell which tasks to ask Slurm about. */
#ifndef HL_SWEEP_SLURM_H
#define HL_SWEEP_SLURM_H

#include "app/sweep/sweep.h"

typedef struct hl_slurm_array {
    const hl_sweep *sweep;           /* its wanted trials become the tasks */
    const char *runs_dir, *work_dir; /* absolute; tasks start in work_dir */
    const char *const *options;      /* more words for sbatch; they win over ours */
    size_t n_options;
    int64_t jobs;    /* at most so many tasks at once; 0: as many as Slurm likes */
    int64_t threads; /* cores of a task; 0: as many as Slurm gives, and --threads follows them */
    void *arg;
    char **(*worker_line)(void *arg, const hl_trial *t, const char *resume); /* as in a queue */
} hl_slurm_array;

typedef struct hl_slurm_job {
    char id[64], cluster[64]; /* cluster "": the default one */
    char *dir;                /* of the submission, owned */
} hl_slurm_job;

/* <runs>/slurm/<sweep>, owned by the caller. NULL: NOMEM set. */
char *hl_slurm_dir(const char *runs_dir, const hl_sweep *s);

/* Wanted trials that a task still has become QUEUED, wanted no more, with their job. squeue is
 * asked only about submissions that have such trials; if it was, the runs want another look, for a
 * task may have come to its end in between. Errors: STATE (squeue cannot be asked, or a
 * submission was interrupted; the message says what to do), FORMAT. */
HL_MUST_CHECK hl_status hl_slurm_look(hl_sweep *s, const char *runs_dir, bool *asked);

/* What submitting would write and call, for people. */
HL_MUST_CHECK hl_status hl_slurm_describe(const hl_slurm_array *a, hl_str *out);
/* Errors: STATE (no sbatch, or it refused: its words), IO; then nothing is left behind, unless the
 * message says that the job is there. One process at a time (hl_lock_take of hl_slurm_dir). */
HL_MUST_CHECK hl_status hl_slurm_submit(const hl_slurm_array *a, hl_slurm_job *out);

#endif
