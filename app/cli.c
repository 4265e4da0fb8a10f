#define _GNU_SOURCE
#include "app/cli.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli_internal.h"
#include "engine/base/str.h"

#define NAMES_MAX 128 /* of commands, or of options of one command, for "did you mean" */

static const hl_option global_options[] = {
    {"runs", 0, HL_OPTION_STRING, "DIR", NULL, "where the runs are (else HOPLAB_RUNS, else ./runs)",
     NULL},
    {"help", 'h', HL_OPTION_FLAG, NULL, NULL, "show this help", NULL},
    {"version", 0, HL_OPTION_FLAG, NULL, NULL, "show the version", NULL},
    {0},
};

/* ---- messages ---- */

int hl_cli_exit_status(hl_status st)
{
    switch (st) {
    case HL_OK:
        return HL_EXIT_DONE;
    case HL_E_NOMEM:
    case HL_E_DEVICE:
        return HL_EXIT_DEVICE;
    case HL_E_ARG:
    case HL_E_SHAPE:
    case HL_E_DTYPE:
    case HL_E_IO:
    case HL_E_FORMAT:
    case HL_E_NOTFOUND:
        return HL_EXIT_INPUT;
    default:
        return HL_EXIT_FAILED;
    }
}

int hl_cli_fail(const hl_cli *cli, hl_status st)
{
    return hl_cli_complain(cli, hl_cli_exit_status(st), "%s", hl_err_message());
}

/* A usage mistake, with the nearest right word if there is one. */
static int usage_mistake(const hl_cli *cli, const char *what, const char *word, const char *near,
                         const char *dashes)
{
    const char *name = hl_cli_command_name(cli);
    hl_cli_put_prefix(cli);
    fprintf(cli->err, "%s '%s'", what, word);
    if (near)
        fprintf(cli->err, "; did you mean '%s%s'?", dashes, near);
    fprintf(cli->err, "\nTry '%s%s%s --help'.\n", cli->program->name, *name ? " " : "", name);
    return HL_EXIT_USAGE;
}

/* ---- parsing ---- */

static const hl_option *find_long(const hl_option *o, const char *name, size_t n)
{
    for (; o && o->name; o++)
        if (strncmp(o->name, name, n) == 0 && o->name[n] == '\0')
            return o;
    return NULL;
}

static const hl_option *find_letter(const hl_option *o, char letter)
{
    for (; o && o->name; o++)
        if (o->letter == letter)
            return o;
    return NULL;
}

static const hl_option *command_options(const hl_cli *cli)
{
    const hl_command *c = cli->command ? cli->command : cli->program->bare;
    return c ? c->options : NULL;
}

static int unknown_option(const hl_cli *cli, const char *word)
{
    const char *names[NAMES_MAX];
    char name[64];
    int n = 0;
    for (const hl_option *o = command_options(cli); o && o->name && n < NAMES_MAX; o++)
        names[n++] = o->name;
    for (const hl_option *o = global_options; o->name && n < NAMES_MAX; o++)
        names[n++] = o->name;
    snprintf(name, sizeof name, "%.*s", (int)strcspn(word, "="), word);
    const char *bare = name + strspn(name, "-");
    int near = name[1] == '-' ? hl_str_nearest(bare, names, n) : -1;
    return usage_mistake(cli, "no option", name, near >= 0 ? names[near] : NULL, "--");
}

static int check_value(const hl_cli *cli, const hl_option *o, const char *text)
{
    int64_t i;
    double f;
    if ((o->type == HL_OPTION_INT && hl_parse_i64(text, &i) != HL_OK) ||
        (o->type == HL_OPTION_FLOAT && hl_parse_f64(text, &f) != HL_OK))
        return hl_cli_complain(cli, HL_EXIT_USAGE, "--%s: %s", o->name, hl_err_message());
    return HL_EXIT_DONE;
}

/* Takes the option at argv[*i] and, where it needs one, its value. */
static int take_option(hl_cli *cli, int argc, char **argv, int *i)
{
    const char *word = argv[*i], *value = NULL;
    const hl_option *o;
    if (word[1] == '-') {
        size_t n = strcspn(word + 2, "=");
        o = find_long(command_options(cli), word + 2, n);
        if (!o)
            o = find_long(global_options, word + 2, n);
        value = word[2 + n] == '=' ? word + 3 + n : NULL;
    } else {
        o = find_letter(command_options(cli), word[1]);
        if (!o)
            o = find_letter(global_options, word[1]);
        value = o && word[2] ? word + 2 : NULL;
        if (o && o->type == HL_OPTION_FLAG && value)
            return hl_cli_complain(cli, HL_EXIT_USAGE, "'%s': give short options one by one", word);
    }
    if (!o)
        return unknown_option(cli, word);
    if (o->type == HL_OPTION_FLAG && value)
        return hl_cli_complain(cli, HL_EXIT_USAGE, "--%s takes no value", o->name);
    const char *next = *i + 1 < argc ? argv[*i + 1] : NULL;
    bool wants = o->type != HL_OPTION_FLAG && !value;
    if (wants && o->type == HL_OPTION_OPTIONAL)
        wants = next && next[0] != '-' && (!o->accepts || o->accepts(next));
    if (wants && !next)
        return hl_cli_complain(cli, HL_EXIT_USAGE, "--%s needs a value: --%s %s", o->name, o->name,
                               o->value ? o->value : "VALUE");
    if (wants) {
        value = next;
        ++*i;
    }
    if (value && check_value(cli, o, value) != HL_EXIT_DONE)
        return HL_EXIT_USAGE;
    return hl_vec_push(&cli->options, ((hl_cli_given_option){o, value})) == HL_OK ? HL_EXIT_DONE
                                                                                  : HL_EXIT_DEVICE;
}

static int take_command(hl_cli *cli, const char *word)
{
    const char *names[NAMES_MAX];
    int n = 0;
    for (const hl_command *const *c = cli->program->commands; *c && n < NAMES_MAX; c++) {
        names[n++] = (*c)->name;
        if (strcmp((*c)->name, word) == 0) {
            cli->command = *c;
            return HL_EXIT_DONE;
        }
    }
    int near = hl_str_nearest(word, names, n);
    return usage_mistake(cli, "no command", word, near >= 0 ? names[near] : NULL, "");
}

static int parse(hl_cli *cli, int argc, char **argv)
{
    bool options_over = false;
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        int rc = HL_EXIT_DONE;
        if (!options_over && strcmp(word, "--") == 0)
            options_over = true;
        else if (!options_over && word[0] == '-' && word[1])
            rc = take_option(cli, argc, argv, &i);
        else if (!cli->command)
            rc = take_command(cli, word);
        else if (hl_vec_push(&cli->args, word) != HL_OK)
            rc = HL_EXIT_DEVICE;
        if (rc != HL_EXIT_DONE)
            return rc;
    }
    return HL_EXIT_DONE;
}

static bool is_in_table(const hl_option *table, const hl_option *o)
{
    for (; table && table->name; table++)
        if (table == o)
            return true;
    return false;
}

/* Options before the name of a command were taken for those of the bare program. */
static int check_options(const hl_cli *cli)
{
    for (size_t i = 0; i < cli->options.n; i++) {
        const hl_option *o = cli->options.at[i].option;
        if (!is_in_table(command_options(cli), o) && !is_in_table(global_options, o))
            return hl_cli_complain(cli, HL_EXIT_USAGE, "--%s is no option of this command",
                                   o->name);
    }
    return HL_EXIT_DONE;
}

static int check_args(const hl_cli *cli)
{
    const hl_command *c = cli->command;
    int n = (int)cli->args.n;
    if (n >= c->n_args_min && (c->n_args_max < 0 || n <= c->n_args_max))
        return HL_EXIT_DONE;
    const char *name = hl_cli_command_name(cli);
    hl_cli_put_prefix(cli);
    if (n < c->n_args_min)
        fputs("an argument is missing", cli->err);
    else
        fprintf(cli->err, "'%s' is one argument too many", cli->args.at[c->n_args_max]);
    fprintf(cli->err, "\nUsage: %s%s%s [OPTIONS] %s\n", cli->program->name, *name ? " " : "", name,
            c->usage ? c->usage : "");
    return HL_EXIT_USAGE;
}

/* ---- what a command asks ---- */

static const hl_option *known_option(const hl_cli *cli, const char *name)
{
    const hl_option *o = find_long(command_options(cli), name, strlen(name));
    if (!o)
        o = find_long(global_options, name, strlen(name));
    HL_ASSERT(o);
    return o;
}

static const hl_cli_given_option *last_given(const hl_cli *cli, const char *name)
{
    const hl_option *o = known_option(cli, name);
    for (size_t i = cli->options.n; i-- > 0;)
        if (cli->options.at[i].option == o)
            return &cli->options.at[i];
    return NULL;
}

bool hl_cli_given(const hl_cli *cli, const char *option)
{
    return last_given(cli, option) != NULL;
}

bool hl_cli_flag(const hl_cli *cli, const char *option)
{
    return hl_cli_given(cli, option);
}

const char *hl_cli_str(const hl_cli *cli, const char *option)
{
    const hl_cli_given_option *g = last_given(cli, option);
    const hl_option *o = known_option(cli, option);
    return g ? g->text : o ? o->otherwise : NULL;
}

int64_t hl_cli_int(const hl_cli *cli, const char *option)
{
    const char *text = hl_cli_str(cli, option);
    int64_t v = 0;
    return text && hl_parse_i64(text, &v) == HL_OK ? v : 0;
}

double hl_cli_float(const hl_cli *cli, const char *option)
{
    const char *text = hl_cli_str(cli, option);
    double v = 0;
    return text && hl_parse_f64(text, &v) == HL_OK ? v : 0;
}

size_t hl_cli_many_n(const hl_cli *cli, const char *option)
{
    const hl_option *o = known_option(cli, option);
    size_t n = 0;
    for (size_t i = 0; i < cli->options.n; i++)
        n += cli->options.at[i].option == o;
    return n;
}

const char *hl_cli_many(const hl_cli *cli, const char *option, size_t i)
{
    const hl_option *o = known_option(cli, option);
    for (size_t k = 0; k < cli->options.n; k++)
        if (cli->options.at[k].option == o && i-- == 0)
            return cli->options.at[k].text;
    return NULL;
}

bool hl_cli_has(const hl_cli *cli, const char *option)
{
    return find_long(command_options(cli), option, strlen(option)) != NULL;
}

int hl_cli_argc(const hl_cli *cli)
{
    return cli->argc;
}

char **hl_cli_argv(const hl_cli *cli)
{
    return cli->argv;
}

size_t hl_cli_args_n(const hl_cli *cli)
{
    return cli->args.n;
}

const char *hl_cli_arg(const hl_cli *cli, size_t i)
{
    return i < cli->args.n ? cli->args.at[i] : NULL;
}

const char *hl_cli_runs_dir(const hl_cli *cli)
{
    const char *dir = hl_cli_str(cli, "runs");
    if (!dir || !*dir)
        dir = getenv("HOPLAB_RUNS");
    if (!dir || !*dir)
        dir = cli->project_store;
    return dir && *dir ? dir : "runs";
}

const char *hl_cli_runs_source(const hl_cli *cli)
{
    const char *own = hl_cli_str(cli, "runs"), *given = getenv("HOPLAB_RUNS");
    return own && *own             ? "--runs"
           : given && *given       ? "HOPLAB_RUNS"
           : cli->project_store ? "hoplab.lua"
                                   : "default";
}

/* A project file that is wrong is told; the command goes on as if it named nothing. */
static void ask_project(hl_cli *cli)
{
    const char *own = hl_cli_str(cli, "runs"), *given = getenv("HOPLAB_RUNS");
    if ((own && *own) || (given && *given) || !cli->program->project_store)
        return;
    if (cli->program->project_store(&cli->project_store) != HL_OK)
        (void)hl_cli_fail(cli, HL_E_FORMAT);
}

const hl_cli_spec *hl_cli_program(const hl_cli *cli)
{
    return cli->program;
}

FILE *hl_cli_out(const hl_cli *cli)
{
    return cli->out;
}

FILE *hl_cli_in(const hl_cli *cli)
{
    return cli->in;
}

/* ---- running ---- */

static int run_command(hl_cli *cli)
{
    if (hl_cli_flag(cli, "version")) {
        fprintf(cli->out, "%s %s\n", cli->program->name, cli->program->version);
        return HL_EXIT_DONE;
    }
    if (hl_cli_flag(cli, "help")) {
        if (cli->command)
            hl_cli_put_command_help(cli, global_options);
        else
            hl_cli_put_program_help(cli, global_options);
        return HL_EXIT_DONE;
    }
    if (!cli->command && !cli->program->bare) {
        hl_cli_put_program_help(cli, global_options);
        return HL_EXIT_USAGE;
    }
    if (!cli->command)
        cli->command = cli->program->bare;
    int rc = check_options(cli);
    if (rc == HL_EXIT_DONE)
        rc = check_args(cli);
    if (rc == HL_EXIT_DONE)
        ask_project(cli);
    return rc == HL_EXIT_DONE ? cli->command->run(cli) : rc;
}

static bool reader_is_gone(FILE *out)
{
    struct pollfd p = {.fd = fileno(out), .events = POLLOUT};
    return p.fd >= 0 && poll(&p, 1, 0) == 1 && (p.revents & POLLERR);
}

/* A reader that went away ends the printing only; any other failure to print is a failure. */
static int finish_output(const hl_cli *cli, int rc)
{
    errno = 0;
    bool failed = fflush(cli->out) != 0 || ferror(cli->out);
    int e = errno; /* 0: it was an earlier write */
    if (!failed || e == EPIPE || rc != HL_EXIT_DONE || reader_is_gone(cli->out))
        return rc;
    return hl_cli_complain(cli, HL_EXIT_FAILED, "cannot write the output: %s",
                           e ? strerror(e) : "an earlier write failed");
}

int hl_cli_main(const hl_cli_spec *program, int argc, char **argv)
{
    hl_cli cli = {.program = program,
                  .out = program->out ? program->out : stdout,
                  .err = program->err ? program->err : stderr,
                  .in = program->in ? program->in : stdin,
                  .utf8 = hl_cli_locale_is_utf8(),
                  .argc = argc,
                  .argv = argv};
    signal(SIGPIPE, SIG_IGN);
    int rc = parse(&cli, argc, argv);
    if (rc == HL_EXIT_DONE)
        rc = run_command(&cli);
    else if (rc == HL_EXIT_DEVICE)
        rc = hl_cli_fail(&cli, HL_E_NOMEM);
    rc = finish_output(&cli, rc);
    hl_free(cli.project_store);
    hl_vec_done(&cli.options);
    hl_vec_done(&cli.args);
    return rc;
}
