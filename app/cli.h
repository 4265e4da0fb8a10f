/* The command line, driven by tables: a command is one const hl_command in a file of its own; its
 * options, its help and the checking of its arguments follow from the table.
 *
 *   const hl_command hl_cmd_ls = {.name = "ls", .help = "list runs", .usage = "[TEXT ...]", ...};
 *   static const hl_command *const commands[] = {&hl_cmd_ls, ..., NULL};
 *   return hl_cli_main(&(hl_cli_spec){.name = "hoplab", .commands = commands, ...}, argc, argv);
 *
 * Options: --name VALUE, --name=VALUE, -n VALUE, --flag; "--" ends them. --runs DIR, --help and
 * --version work before and after every command. */
#ifndef HL_CLI_H
#define HL_CLI_H

#include <stdio.h>

#include "app/workbench.h"
#include "engine/base/err.h"

/* Exit statuses (a stable contract). */
enum {
    HL_EXIT_DONE = 0,
    HL_EXIT_FAILED = 1, /* the run failed, or the store could not be written */
    HL_EXIT_USAGE = 2,
    HL_EXIT_INPUT = 3, /* unreadable or invalid input, no such run */
    HL_EXIT_DEVICE = 4 /* device or memory */
};

typedef enum hl_option_type {
    HL_OPTION_FLAG,
    HL_OPTION_INT,
    HL_OPTION_FLOAT,
    HL_OPTION_STRING,
    HL_OPTION_MANY,    /* a string; may be given again and again */
    HL_OPTION_OPTIONAL /* a string, taken only as --name=VALUE or when the next word is no option
                          and `accepts` says yes */
} hl_option_type;

typedef struct hl_option {
    const char *name; /* long, without "--"; NULL ends a table */
    char letter;      /* short form, or 0 */
    hl_option_type type;
    const char *value;     /* how help calls the value: "DIR"; NULL for flags */
    const char *otherwise; /* default text; NULL: none. Numbers are read from it. */
    const char *help;
    bool (*accepts)(const char *word); /* OPTIONAL only; NULL: every word */
} hl_option;

typedef struct hl_cli hl_cli; /* one parsed command line */

typedef struct hl_command {
    const char *name;
    const char *help;           /* one line, lower case, no full stop */
    const char *usage;          /* arguments: "RUN", "[TEXT ...]"; NULL: none */
    const char *about;          /* more for --help of the command, lines ending in \n; or NULL */
    const hl_option *options;   /* NULL: none */
    int n_args_min, n_args_max; /* positional; max < 0: any number */
    int (*run)(hl_cli *cli);    /* gives the exit status */
} hl_command;

typedef struct hl_cli_spec {
    const char *name, *version;
    const char *about;                 /* lines for --help */
    const hl_command *const *commands; /* NULL-terminated, in the order of help */
    const hl_command *bare;            /* run without a command; NULL: print help */
    FILE *out, *err, *in;              /* NULL: the standard ones */
    hl_workbench_fn *workbench;        /* the screen; NULL: there is none */
    hl_status (*project_store)(char **dir); /* the store that the project file names (owned by the
                                             * caller), NULL for none; or NULL */
} hl_cli_spec;

/* Parses, runs, reports; gives the exit status and never exits. Ignores SIGPIPE: when nobody reads
 * the output any more, the command still ends in its own way. */
int hl_cli_main(const hl_cli_spec *program, int argc, char **argv);

/* What a command asks. Asking for an option that its table lacks is a bug and asserts. */
bool hl_cli_flag(const hl_cli *cli, const char *option);
bool hl_cli_given(const hl_cli *cli, const char *option);  /* by the user, not by default */
int64_t hl_cli_int(const hl_cli *cli, const char *option); /* 0 without value and default */
double hl_cli_float(const hl_cli *cli, const char *option);
const char *hl_cli_str(const hl_cli *cli, const char *option); /* last one given; may be NULL */
size_t hl_cli_many_n(const hl_cli *cli, const char *option);
const char *hl_cli_many(const hl_cli *cli, const char *option, size_t i);
size_t hl_cli_args_n(const hl_cli *cli);
const char *hl_cli_arg(const hl_cli *cli, size_t i);
const char *hl_cli_runs_dir(const hl_cli *cli); /* --runs, HOPLAB_RUNS, the project file's, "runs" */
/* Where that comes from: "--runs", "HOPLAB_RUNS", "hoplab.lua" or "default". */
const char *hl_cli_runs_source(const hl_cli *cli);
bool hl_cli_has(const hl_cli *cli, const char *option); /* in this command's table */
int hl_cli_argc(const hl_cli *cli);     /* the whole command line */
char **hl_cli_argv(const hl_cli *cli);
const hl_cli_spec *hl_cli_program(const hl_cli *cli);
FILE *hl_cli_out(const hl_cli *cli);
FILE *hl_cli_in(const hl_cli *cli);

/* "hoplab ls: <message of the stored error>" on the error stream; gives the exit status for st. */
int hl_cli_fail(const hl_cli *cli, hl_status st);
/* The same for a message of the command's own. */
int hl_cli_complain(const hl_cli *cli, int exit_status, const char *fmt, ...) HL_PRINTF(3, 4);
int hl_cli_exit_status(hl_status st);

/* Text of unknown origin for a terminal or a table: control characters become '?', and so does what
 * is not ASCII unless the locale is UTF-8. */
void hl_cli_put_text(const hl_cli *cli, const char *text);
int hl_cli_text_width(const hl_cli *cli, const char *text); /* columns it will take */
/* A CSV field, quoted where RFC 4180 wants it. */
void hl_cli_put_csv(const hl_cli *cli, const char *text);

/* 64-bit seconds into "45s", "12m", "3h05m", "6d". */
const char *hl_cli_age(char buf[24], int64_t seconds);

/* The commands that need the run store alone. */
extern const hl_command hl_cmd_ls, hl_cmd_show, hl_cmd_compare, hl_cmd_rm, hl_cmd_fsck, hl_cmd_tag,
    hl_cmd_untag, hl_cmd_note, hl_cmd_rename, hl_cmd_pin, hl_cmd_unpin, hl_cmd_archive,
    hl_cmd_unarchive, hl_cmd_delete, hl_cmd_restore, hl_cmd_gc;

#endif
