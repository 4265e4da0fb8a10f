/* The command line: parsing, help, exit statuses, and the commands on real run directories. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <fcntl.h>
#include <math.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "app/cli.h"
#include "app/store/store_test.h"
#include "engine/hl_engine.h"

/* ---- a program to try things with ---- */

static char last_call[512];

static bool looks_like_run(const char *word)
{
    return !hl_str_ends(word, ".lua");
}

static const hl_option try_options[] = {
    {"set", 's', HL_OPTION_MANY, "PATH=VALUE", NULL, "set a value", NULL},
    {"steps", 'n', HL_OPTION_INT, "N", "100", "how many", NULL},
    {"rate", 0, HL_OPTION_FLOAT, "X", "0.5", "how fast", NULL},
    {"name", 0, HL_OPTION_STRING, "S", NULL, "a name", NULL},
    {"quiet", 'q', HL_OPTION_FLAG, NULL, NULL, "say little", NULL},
    {"resume", 0, HL_OPTION_OPTIONAL, "RUN", NULL, "go on", looks_like_run},
    {0},
};

static int try_run(hl_cli *c)
{
    hl_str b = {0};
    hl_str_addf(&b, "steps=%lld rate=%g name=%s quiet=%d runs=%s",
                (long long)hl_cli_int(c, "steps"), hl_cli_float(c, "rate"),
                hl_cli_str(c, "name") ? hl_cli_str(c, "name") : "-", hl_cli_flag(c, "quiet"),
                hl_cli_runs_dir(c));
    for (size_t i = 0; i < hl_cli_many_n(c, "set"); i++)
        hl_str_addf(&b, " s:%s", hl_cli_many(c, "set", i));
    if (hl_cli_given(c, "resume"))
        hl_str_addf(&b, " resume:%s", hl_cli_str(c, "resume") ? hl_cli_str(c, "resume") : "-");
    for (size_t i = 0; i < hl_cli_args_n(c); i++)
        hl_str_addf(&b, " arg:%s", hl_cli_arg(c, i));
    snprintf(last_call, sizeof last_call, "%s", hl_str_text(&b));
    hl_str_done(&b);
    return HL_EXIT_DONE;
}

static const hl_command try_command = {.name = "try",
                                       .help = "try things",
                                       .usage = "SCRIPT [MORE]",
                                       .options = try_options,
                                       .n_args_min = 1,
                                       .n_args_max = 2,
                                       .run = try_run};
static const hl_command *const commands[] = {&try_command, &hl_cmd_ls,   &hl_cmd_show,
                                             &hl_cmd_rm,   &hl_cmd_fsck, &hl_cmd_tag,
                                             &hl_cmd_untag, &hl_cmd_note, &hl_cmd_rename,
                                             &hl_cmd_pin, &hl_cmd_archive, &hl_cmd_unarchive,
                                             &hl_cmd_delete, &hl_cmd_restore, &hl_cmd_gc, NULL};

/* Runs "hoplab <words>" (words cut at blanks); texts stay until the next call. */
static char *out_text, *err_text;

static int call_with(const char *words, const char *input)
{
    static char program[] = "hoplab", copy[1024];
    char *argv[32] = {program}, *rest = copy;
    int argc = 1;
    size_t n_out, n_err;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word; (word = strsep(&rest, " ")) && argc < 32;)
        if (*word)
            argv[argc++] = word;
    free(out_text);
    free(err_text);
    FILE *in = fmemopen((void *)(uintptr_t)input, strlen(input) + 1, "r");
    FILE *out = open_memstream(&out_text, &n_out), *err = open_memstream(&err_text, &n_err);
    hl_cli_spec p = {.name = "hoplab",
                    .version = "0.1.0",
                    .about = "A workbench.\n",
                    .commands = commands,
                    .out = out,
                    .err = err,
                    .in = in};
    int rc = hl_cli_main(&p, argc, argv);
    fclose(in);
    fclose(out);
    fclose(err);
    return rc;
}

static int call(const char *words)
{
    return call_with(words, "");
}

/* ---- parsing ---- */

Test(cli, options_in_every_form)
{
    unsetenv("HOPLAB_RUNS");
    cr_assert_eq(call("try a.lua"), 0);
    cr_assert_str_eq(last_call, "steps=100 rate=0.5 name=- quiet=0 runs=runs arg:a.lua");
    cr_assert_eq(call("try --steps 5 --rate=1e-3 -q a.lua --name=x=y b"), 0);
    cr_assert_str_eq(last_call, "steps=5 rate=0.001 name=x=y quiet=1 runs=runs arg:a.lua arg:b");
    cr_assert_eq(call("try -s a=1 -sb=2 --set c=3 --set=d=4 -n -7 a.lua"), 0);
    cr_assert_str_eq(
        last_call, "steps=-7 rate=0.5 name=- quiet=0 runs=runs s:a=1 s:b=2 s:c=3 s:d=4 arg:a.lua");
    cr_assert_eq(call("try --steps 1 --steps 2 -- --steps -q"), 0);
    cr_assert_str_eq(last_call, "steps=2 rate=0.5 name=- quiet=0 runs=runs arg:--steps arg:-q");
    cr_assert_eq(call("--runs here try --name= a.lua"), 0);
    cr_assert_str_eq(last_call, "steps=100 rate=0.5 name= quiet=0 runs=here arg:a.lua");
    setenv("HOPLAB_RUNS", "there", 1);
    cr_assert_eq(call("try a.lua"), 0);
    cr_assert(strstr(last_call, "runs=there"));
    cr_assert_eq(call("try a.lua --runs=here"), 0);
    cr_assert(strstr(last_call, "runs=here"));
}

Test(cli, optional_values)
{
    cr_assert_eq(call("try --resume a.lua"), 0); /* the next word is no run */
    cr_assert(strstr(last_call, "resume:- arg:a.lua"), "%s", last_call);
    cr_assert_eq(call("try --resume auto a.lua"), 0);
    cr_assert(strstr(last_call, "resume:auto arg:a.lua"), "%s", last_call);
    cr_assert_eq(call("try a.lua --resume=x.lua"), 0);
    cr_assert(strstr(last_call, "resume:x.lua arg:a.lua"), "%s", last_call);
    cr_assert_eq(call("try a.lua --resume --quiet"), 0);
    cr_assert(strstr(last_call, "resume:-"), "%s", last_call);
    cr_assert_eq(call("try a.lua --resume"), 0);
    cr_assert(strstr(last_call, "resume:-"), "%s", last_call);
}

Test(cli, mistakes_are_named)
{
    static const struct {
        const char *words, *says;
    } cases[] = {
        {"try --stpes 5 a.lua", "hoplab try: no option '--stpes'; did you mean '--steps'?"},
        {"try --stpes=5 a.lua", "no option '--stpes'; did you mean '--steps'?"},
        {"try --zzzzzz a.lua", "no option '--zzzzzz'\nTry 'hoplab try --help'."},
        {"try -z a.lua", "no option '-z'"},
        {"try -qn5 a.lua", "'-qn5': give short options one by one"},
        {"try --steps", "--steps needs a value: --steps N"},
        {"try --steps five a.lua", "--steps: 'five' is not an integer"},
        {"try --steps 5.5 a.lua", "--steps: '5.5' is not an integer"},
        {"try --rate fast a.lua", "--rate: 'fast' is not a number"},
        {"try --quiet=yes a.lua", "--quiet takes no value"},
        {"try", "hoplab try: an argument is missing\nUsage: hoplab try [OPTIONS] SCRIPT [MORE]"},
        {"try a b c", "'c' is one argument too many"},
        {"tyr a.lua", "hoplab: no command 'tyr'; did you mean 'try'?"},
        {"--unknown", "no option '--unknown'"},
        {"frobnicate", "no command 'frobnicate'"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        cr_assert_eq(call(cases[i].words), HL_EXIT_USAGE, "%s", cases[i].words);
        cr_assert(strstr(err_text, cases[i].says), "%s: %s", cases[i].words, err_text);
        cr_assert_str_empty(out_text);
    }
}

Test(cli, help_and_version)
{
    cr_assert_eq(call("--help"), 0);
    cr_assert(strstr(out_text, "  try          try things\n"), "%s", out_text);
    cr_assert(strstr(out_text, "--runs DIR"));
    cr_assert_eq(call("try --help"), 0);
    cr_assert(strstr(out_text, "Usage: hoplab try [OPTIONS] SCRIPT [MORE]"));
    cr_assert(strstr(out_text, "-n, --steps N"));
    cr_assert(strstr(out_text, "(default 100)"));
    cr_assert(strstr(out_text, "(may be repeated)"));
    cr_assert(strstr(out_text, "--resume [RUN]"));
    for (const hl_command *const *c = commands; *c; c++) {
        char words[64];
        snprintf(words, sizeof words, "%s -h", (*c)->name);
        cr_assert_eq(call(words), 0);
        for (const hl_option *o = (*c)->options; o && o->name; o++)
            cr_assert(strstr(out_text, o->name), "%s lacks --%s", words, o->name);
        for (const char *p = out_text; *p; p++)
            cr_assert(*p == '\n' || (*p >= 0x20 && *p < 0x7F), "not ASCII: %s", words);
    }
    cr_assert_eq(call("--version"), 0);
    cr_assert_str_eq(out_text, "hoplab 0.1.0\n");
    cr_assert_eq(call(""), HL_EXIT_USAGE); /* this program does nothing without a command */
    cr_assert(strstr(out_text, "Commands:"));
}

/* Without a command the program does what `bare` says, with its options. */
Test(cli, bare_program)
{
    static const hl_command bare = {.name = "screen",
                                    .help = "the workbench",
                                    .options = try_options,
                                    .n_args_max = 0,
                                    .run = try_run};
    char words[4][16] = {"hoplab", "--steps", "3", "try"};
    char *argv[] = {words[0], words[1], words[2], words[3]};
    FILE *null = fopen("/dev/null", "w");
    hl_cli_spec p = {.name = "hoplab",
                    .version = "0",
                    .commands = commands,
                    .bare = &bare,
                    .out = null,
                    .err = null};
    cr_assert_eq(hl_cli_main(&p, 1, argv), 0);
    cr_assert(hl_str_starts(last_call, "steps=100 "));
    cr_assert_eq(hl_cli_main(&p, 3, argv), 0);
    cr_assert(hl_str_starts(last_call, "steps=3 "));
    static const hl_command *const others[] = {&hl_cmd_ls, NULL};
    p.commands = others;
    snprintf(words[3], sizeof words[3], "ls");
    cr_assert_eq(hl_cli_main(&p, 4, argv), HL_EXIT_USAGE); /* ls has no --steps */
    fclose(null);
}

Test(cli, statuses)
{
    cr_assert_eq(hl_cli_exit_status(HL_OK), 0);
    cr_assert_eq(hl_cli_exit_status(HL_E_NOTFOUND), 3);
    cr_assert_eq(hl_cli_exit_status(HL_E_FORMAT), 3);
    cr_assert_eq(hl_cli_exit_status(HL_E_IO), 3);
    cr_assert_eq(hl_cli_exit_status(HL_E_DEVICE), 4);
    cr_assert_eq(hl_cli_exit_status(HL_E_NOMEM), 4);
    cr_assert_eq(hl_cli_exit_status(HL_E_STATE), 1);
}

Test(cli, ages)
{
    char b[24];
    cr_assert_str_eq(hl_cli_age(b, -5), "0s");
    cr_assert_str_eq(hl_cli_age(b, 59), "59s");
    cr_assert_str_eq(hl_cli_age(b, 3599), "59m");
    cr_assert_str_eq(hl_cli_age(b, 3600 * 5 + 300), "5h05m");
    cr_assert_str_eq(hl_cli_age(b, 86400 * 9), "9d");
}

/* ---- commands ---- */

static char *runs;

static char *make_run(const char *id, const char *name, hl_run_state state)
{
    char *dir = NULL;
    hl_writer *w;
    const char *argv[] = {"hoplab", "run", "exp/bert.lua"};
    hl_run_facts_in facts = {
        .id = id, .name = name, .project = "outeffhop", .argv = argv, .n_argv = 3};
    cr_assert_eq(hl_run_dir_create(runs, &facts, &dir), HL_OK, "%s", hl_err_message());
    cr_assert_eq(
        hl_run_dir_put_config(
            dir, "{\"seed\":1,\"optim\":{\"name\":\"adamw\",\"lr\":1e-4,\"betas\":[0.9,0.95]}}"),
        HL_OK);
    cr_assert_eq(hl_writer_open(dir, NULL, &w), HL_OK);
    hl_sink s = hl_writer_sink(w);
    int loss = s.series(s.self, "train/loss", HL_SERIES_SCALAR, NULL);
    for (int i = 0; i < 10; i++)
        s.scalar(s.self, loss, i, i == 4 ? (double)NAN : 3.0 - i * 0.25);
    s.scalar(s.self, s.series(s.self, "eval/ppl", HL_SERIES_SCALAR, NULL), 9, 12.5);
    s.json(s.self, s.series(s.self, "run/control", HL_SERIES_JSON, "control"), 7,
           "{\"request\":\"set\",\"lr\":0.5}");
    hl_writer_table(w, 9, "quant/w8a8", "{\"fp32\":12.5,\"w8a8\":13.0}");
    hl_writer_table(w, 9, "final",
                    "{\"columns\":[\"method\",\"ppl\",\"kurtosis\"],\"rows\":"
                    "[[\"vanilla\",25.5,\"NaN\"],[\"softmax1\",9,3]]}");
    char *ckpt = hl_fs_join(dir, "ckpt/step-0000000009"),
         *bad = hl_fs_join(dir, "ckpt/step-0000000010");
    cr_assert_eq(hl_fs_make_dir(bad), HL_OK);
    const hl_checkpoint_in weights = {.state_json = "{}", .config_json = "{}"};
    cr_assert_eq(hl_checkpoint_write(ckpt, &weights), HL_OK);
    hl_writer_checkpoint(w, 9, "ckpt/step-0000000009", false);
    hl_writer_set_state(w, 9, &(hl_state_note){state, "script", "exp/bert.lua:14: oops", 20});
    cr_assert_eq(hl_writer_close(w), HL_OK);
    hl_free(ckpt);
    hl_free(bad);
    return dir;
}

static void setup(void)
{
    runs = test_dir();
    setenv("HOPLAB_RUNS", runs, 1);
    unsetenv("LC_ALL");
    unsetenv("LC_CTYPE");
    setenv("LANG", "C", 1);
}

static void teardown(void)
{
    test_dir_done(runs);
}

TestSuite(command, .init = setup, .fini = teardown);

Test(command, ls_filters_sorts_and_has_columns)
{
    hl_free(make_run("20260131-142233-7f3a9c", "bert", HL_RUN_FAILED));
    hl_free(make_run("20260131-142234-000000", "opt", HL_RUN_DONE));
    cr_assert_eq(call("ls --filter status:done"), 0);
    cr_assert(!strstr(out_text, "bert") && strstr(out_text, "opt"), "%s", out_text);
    cr_assert_eq(call("ls --filter opt|eval/ppl.min<100"), 0);
    cr_assert(strstr(out_text, "bert") && strstr(out_text, "opt"), "%s", out_text);
    cr_assert_eq(call("ls --filter status:dome"), HL_EXIT_USAGE);
    cr_assert(strstr(err_text, "no state 'dome'; did you mean done"), "%s", err_text);
    cr_assert(strstr(err_text, "(at: status:dome)"), "%s", err_text);
    cr_assert_eq(call("ls --filter opt|evil<3"), HL_EXIT_USAGE);
    cr_assert(strstr(err_text, "(at: evil<3)"), "%s", err_text);
    cr_assert_eq(call("ls --columns status,eval/ppl.max --sort name"), 0);
    cr_assert(strstr(out_text, "status  eval/ppl.max"), "%s", out_text);
    cr_assert_lt(strstr(out_text, "opt"), strstr(out_text, "bert"));
    cr_assert_eq(call("ls --json --columns eval/ppl.n"), 0);
    cr_assert(strstr(out_text, "\"columns\":{\"eval/ppl.n\":"), "%s", out_text);
    cr_assert_eq(call("ls --csv --columns eval/ppl.n"), 0);
    cr_assert(strstr(out_text, "age_s,eval/ppl.n"), "%s", out_text);
    cr_assert_eq(call("ls --sort evil"), HL_EXIT_USAGE);
    cr_assert_eq(call("ls --filter train/loss@3<2.5 --columns train/loss.below@2"), 0);
    cr_assert(strstr(out_text, "train/loss.below@2") && strstr(out_text, " 5\n"), "%s", out_text);
    cr_assert_eq(call("ls --filter train/loss@3>2.5"), 0);
    cr_assert(!strstr(out_text, "opt"), "%s", out_text);
    cr_assert_eq(call("ls --columns trian/loss@3"), HL_EXIT_USAGE);
}

Test(command, edits)
{
    char *dir = make_run("20260131-142233-7f3a9c", "bert", HL_RUN_FAILED);
    cr_assert_eq(call("tag good,table1 bert"), 0);
    cr_assert_eq(call("untag good bert"), 0);
    cr_assert_eq(call("note seen bert"), 0);
    cr_assert_eq(call("rename better bert"), 0);
    cr_assert_eq(call("ls --filter tag:table1"), 0);
    cr_assert(strstr(out_text, "better"), "%s", out_text);
    cr_assert_eq(call("archive better"), 0);
    cr_assert_eq(call("ls"), 0);
    cr_assert_null(strstr(out_text, "better"));
    cr_assert_eq(call("ls --filter archived|note:nothing"), 0);
    cr_assert(strstr(out_text, "better"));
    cr_assert_eq(call("ls --all"), 0);
    cr_assert(strstr(out_text, "better"));
    cr_assert_eq(call("unarchive better"), 0);
    cr_assert_eq(call("pin nothing"), HL_EXIT_INPUT);
    cr_assert_eq(call("delete better"), 0);
    cr_assert_not(hl_fs_exists(dir));
    cr_assert_eq(call("restore 20260131-142233-7f3a9c"), 0);
    cr_assert(hl_fs_exists(dir));
    cr_assert_eq(call("restore 20260131-142233-7f3a9c"), HL_EXIT_INPUT);
    cr_assert_eq(call("restore ../x"), HL_EXIT_INPUT);
    cr_assert_eq(call("delete better"), 0);
    cr_assert_eq(call("gc"), 0);
    cr_assert(strstr(out_text, "removed 1 deleted run"), "%s", out_text);
    hl_free(dir);
}

Test(command, ls_table)
{
    cr_assert_eq(call("ls"), 0);
    cr_assert(strstr(out_text, "no runs in"));
    hl_free(make_run("20260131-142233-7f3a9c", "bert", HL_RUN_FAILED));
    hl_free(make_run("20260131-142234-000000", "opt \x1b[31m\xCF\x80", HL_RUN_DONE));
    cr_assert_eq(call("ls"), 0);
    cr_assert(hl_str_starts(out_text, "ID                      NAME"), "%s", out_text);
    cr_assert(strstr(out_text, "20260131-142233-7f3a9c  bert        failed  9/20  0.75  ppl 12.5"),
              "%s", out_text);
    cr_assert(strstr(out_text, "opt ?[31m?"), "%s", out_text);
    cr_assert_lt(strstr(out_text, "7f3a9c"), strstr(out_text, "000000"));
    for (const char *p = out_text; *p; p++)
        cr_assert(*p == '\n' || (*p >= 0x20 && *p < 0x7F));
    setenv("LANG", "en_US.UTF-8", 1);
    cr_assert_eq(call("ls"), 0);
    cr_assert(strstr(out_text, "opt ?[31m\xCF\x80"), "%s", out_text);
    cr_assert_eq(call("ls failed"), 0);
    cr_assert(strstr(out_text, "bert") && !strstr(out_text, "opt"));
    cr_assert_eq(call("ls OUTEFF opt"), 0);
    cr_assert(!strstr(out_text, "bert") && strstr(out_text, "opt"));
    cr_assert_eq(call("ls nothing"), 0);
    cr_assert(strstr(out_text, "matches"));
    cr_assert_eq(call("ls --last 1"), 0);
    cr_assert(!strstr(out_text, "bert") && strstr(out_text, "opt"));
}

Test(command, ls_json_and_csv)
{
    hl_free(make_run("20260131-142233-7f3a9c", "a \"b\", c", HL_RUN_FAILED));
    hl_free(test_run(runs, "queued"));
    cr_assert_eq(call("ls --json"), 0);
    hl_json *v;
    cr_assert_eq(hl_json_parse(out_text, strlen(out_text), &v), HL_OK, "%s", out_text);
    cr_assert_eq(hl_json_len(v), 2);
    const hl_json *row = hl_json_at(v, 0);
    cr_assert_str_eq(hl_json_str(hl_json_get(row, "name"), ""), "a \"b\", c");
    cr_assert_str_eq(hl_json_str(hl_json_get(row, "state"), ""), "failed");
    cr_assert_eq(hl_json_int(hl_json_get(row, "step_total"), 0), 20);
    cr_assert_eq(hl_json_num(hl_json_get(row, "eval"), 0), 12.5);
    cr_assert(hl_json_is_null(hl_json_get(hl_json_at(v, 1), "loss")));
    hl_json_free(v);
    cr_assert_eq(call("ls --csv"), 0);
    cr_assert(hl_str_starts(out_text, "id,name,project,tags,state,reason,step,step_total,loss,"));
    cr_assert(strstr(out_text,
                     "\r\n20260131-142233-7f3a9c,\"a \"\"b\"\", c\",outeffhop,,failed,script,"
                     "9,20,0.75,eval/ppl,12.5,"),
              "%s", out_text);
    cr_assert(strstr(out_text, "\r\nqueued,test,,,queued,,,,,,,\r\n"), "%s", out_text);
    cr_assert_eq(call("--runs /nowhere ls --json"), 0);
    cr_assert_str_eq(out_text, "[]\n");
}

Test(command, show_text)
{
    hl_free(make_run("20260131-142233-7f3a9c", "bert", HL_RUN_FAILED));
    cr_assert_eq(call("show last"), 0);
    static const char *const has[] = {
        "state      failed (reason: script)\n",
        "message    exp/bert.lua:14: oops\n",
        "step       9/20\n",
        "checkpoint ckpt/step-0000000009\n",
        "  command[3] = exp/bert.lua\n",
        "configuration\n  optim.betas[1] = 0.9\n  optim.betas[2] = 0.95\n  optim.lr = 0.0001\n"
        "  optim.name = adamw\n  seed = 1\n",
        "train/loss          0.75         9          0.75         9             3         0  10, 1 "
        "not finite, first at 4\n",
        "table quant/w8a8\n  fp32 = 12.5\n  w8a8 = 13\n",
        "table final\n  method    ppl   kurtosis\n  vanilla   25.5       NaN\n"
        "  softmax1     9         3\n",
        "checkpoints\n  step-0000000009\n  step-0000000010 (incomplete, not used)\n",
        "control history\n",
        "step 7 {\"request\":\"set\",\"lr\":0.5}\n",
    };
    for (size_t i = 0; i < sizeof has / sizeof has[0]; i++)
        cr_assert(strstr(out_text, has[i]), "missing: %s in\n%s", has[i], out_text);
    cr_assert_eq(call("show bert --config"), 0);
    cr_assert_str_eq(out_text, "optim.betas[1] = 0.9\noptim.betas[2] = 0.95\noptim.lr = 0.0001\n"
                               "optim.name = adamw\nseed = 1\n");
    cr_assert_eq(call("show nobody"), HL_EXIT_INPUT);
    cr_assert(strstr(err_text, "hoplab show: no run 'nobody'"), "%s", err_text);
}

Test(command, show_json)
{
    hl_free(make_run("20260131-142233-7f3a9c", "bert", HL_RUN_DIVERGED));
    cr_assert_eq(call("show 7f3a9c --json"), 0);
    hl_json *v;
    cr_assert_eq(hl_json_parse(out_text, strlen(out_text), &v), HL_OK, "%s", out_text);
    cr_assert_str_eq(hl_json_str(hl_json_get(v, "state"), ""), "diverged");
    cr_assert_str_eq(hl_json_str(hl_json_get(v, "reason"), ""), "script");
    cr_assert_str_eq(hl_json_str(hl_json_get(v, "checkpoint"), ""), "ckpt/step-0000000009");
    cr_assert_eq(hl_json_len(hl_json_get(v, "checkpoints")), 2);
    const hl_json *control = hl_json_at(hl_json_get(v, "control"), 0);
    cr_assert_eq(hl_json_int(hl_json_get(control, "step"), 0), 7);
    cr_assert_eq(hl_json_num(hl_json_get(hl_json_get(control, "event"), "lr"), 0), 0.5);
    cr_assert_eq(hl_json_num(hl_json_get(hl_json_get(hl_json_get(v, "config"), "optim"), "lr"), 0),
                 1e-4);
    hl_json_free(v);
    hl_free(test_run(runs, "queued"));
    cr_assert_eq(call("show queued --json"), 0);
    cr_assert_eq(hl_json_parse(out_text, strlen(out_text), &v), HL_OK, "%s", out_text);
    cr_assert(hl_json_is_null(hl_json_get(v, "checkpoint")));
    cr_assert(hl_json_is_null(hl_json_get(v, "config")));
    hl_json_free(v);
}

Test(command, rm_asks_and_spares_the_living)
{
    char *dir = make_run("20260131-142233-7f3a9c", "bert", HL_RUN_DONE);
    char *live = test_run(runs, "live");
    hl_writer *w;
    cr_assert_eq(call("rm bert"), HL_EXIT_USAGE); /* input is no terminal */
    cr_assert(strstr(err_text, "--yes"), "%s", err_text);
    cr_assert(hl_fs_is_dir(dir));
    cr_assert_eq(call("rm bert nobody --yes"), HL_EXIT_INPUT);
    cr_assert(hl_fs_is_dir(dir)); /* all are found before any goes */
    cr_assert_eq(hl_writer_open(live, NULL, &w), HL_OK);
    cr_assert_eq(call("rm --yes live bert"), HL_EXIT_FAILED);
    cr_assert(strstr(err_text, "is being written by process"), "%s", err_text);
    cr_assert(strstr(out_text, "removed 20260131-142233-7f3a9c"), "%s", out_text);
    cr_assert_not(hl_fs_exists(dir));
    cr_assert(hl_fs_is_dir(live));
    cr_assert_eq(hl_writer_close(w), HL_OK);
    cr_assert_eq(call("rm -y live"), 0);
    cr_assert_not(hl_fs_exists(live));
    cr_assert_eq(call("rm -y"), HL_EXIT_USAGE);
    hl_free(live);
    hl_free(dir);
}

/* "hoplab rm bert" on a terminal where somebody types `answer`. */
static int rm_on_terminal(const char *answer)
{
    int master = posix_openpt(O_RDWR | O_NOCTTY);
    cr_assert(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    FILE *in = fdopen(open(ptsname(master), O_RDONLY | O_NOCTTY), "r"),
         *null = fopen("/dev/null", "w");
    char words[3][8] = {"hoplab", "rm", "bert"}, *argv[] = {words[0], words[1], words[2]};
    hl_cli_spec p = {
        .name = "hoplab", .version = "0", .commands = commands, .out = null, .err = null, .in = in};
    cr_assert_eq(write(master, answer, strlen(answer)), (ssize_t)strlen(answer));
    int rc = hl_cli_main(&p, 3, argv);
    fclose(in);
    fclose(null);
    close(master);
    return rc;
}

Test(command, rm_takes_yes_for_an_answer)
{
    char *dir = make_run("20260131-142233-7f3a9c", "bert", HL_RUN_DONE);
    cr_assert_eq(rm_on_terminal("n\n"), HL_EXIT_FAILED);
    cr_assert_eq(rm_on_terminal("\n"), HL_EXIT_FAILED);
    cr_assert(hl_fs_is_dir(dir));
    cr_assert_eq(rm_on_terminal("y\n"), HL_EXIT_DONE);
    cr_assert_not(hl_fs_exists(dir));
    hl_free(dir);
}

/* The path of the only event file. */
static char *event_file(const char *dir)
{
    hl_fs_list list;
    char *path = NULL;
    cr_assert_eq(hl_fs_list_dir(dir, &list), HL_OK);
    for (size_t i = 0; i < list.n; i++)
        if (hl_str_starts(list.name[i], HL_SEGMENT_PREFIX))
            path = hl_fs_join(dir, list.name[i]);
    hl_fs_list_free(&list);
    return path;
}

Test(command, fsck_finds_and_repairs)
{
    char *dir = make_run("r", "bert", HL_RUN_DONE), *events = event_file(dir);
    char *summary = hl_fs_join(dir, "summary.json"), *before = test_read(dir, "summary.json");
    cr_assert_eq(call("fsck r"), 0);
    cr_assert(strstr(out_text, "summary.json: good\n"), "%s", out_text);
    cr_assert(strstr(out_text, "ckpt/step-0000000009: complete"));
    cr_assert(strstr(out_text, "ckpt/step-0000000010: has no DONE"));
    cr_assert(strstr(out_text, "no damage"));
    unlink(summary);
    cr_assert_eq(call("fsck r"), 1);
    cr_assert(strstr(out_text, "summary.json: is missing"));
    cr_assert_eq(call("fsck r --repair"), 0);
    char *after = test_read(dir, "summary.json");
    cr_assert_str_eq(before, after);
    cr_assert_eq(hl_fs_write_atomic(summary, "{}", 2), HL_OK);
    cr_assert_eq(call("fsck r"), 1);
    cr_assert(strstr(out_text, "does not agree with the events"));
    int fd = open(events, O_RDWR | O_CLOEXEC);
    cr_assert_eq(pwrite(fd, "X", 1, 90), 1);
    cr_assert_eq(ftruncate(fd, hl_fs_size(events) - 5), 0);
    close(fd);
    cr_assert_eq(call("fsck r --repair"), 1);
    cr_assert(strstr(out_text, "damage at byte "), "%s", out_text);
    cr_assert(strstr(out_text, "are no complete record: torn off"), "%s", out_text);
    cr_assert(strstr(out_text, "rebuilt from the events"));
    cr_assert(strstr(out_text, "damage was found"));
    hl_free(before);
    hl_free(after);
    hl_free(summary);
    hl_free(events);
    hl_free(dir);
}

Test(command, fsck_of_another_programs_events)
{
    char *dir = hl_fs_join(runs, "foreign"), *path = hl_fs_join(dir, HL_SEGMENT_PREFIX "1.x");
    hl_str b = {0};
    cr_assert_eq(hl_fs_make_dir(dir), HL_OK);
    cr_assert(hl_event_put_version(&b) && hl_event_put_scalar(&b, "loss", (hl_stamp){1, 2}, 3));
    cr_assert_eq(hl_fs_write_atomic(path, b.s, b.n), HL_OK);
    cr_assert_eq(call("fsck foreign"), 0);
    cr_assert(strstr(out_text, "no run.json"), "%s", out_text);
    cr_assert_eq(call("show foreign"), 0);
    cr_assert(strstr(out_text, "state      unknown"), "%s", out_text);
    cr_assert_eq(call("rm -y foreign"), HL_EXIT_FAILED);
    cr_assert(hl_fs_exists(path));
    hl_str_done(&b);
    hl_free(path);
    hl_free(dir);
}

Test(command, fsck_of_a_live_run_does_not_repair)
{
    char *dir = test_run(runs, "r");
    hl_writer *w;
    cr_assert_eq(hl_writer_open(dir, NULL, &w), HL_OK);
    cr_assert_eq(call("fsck r --repair"), HL_EXIT_FAILED);
    cr_assert(strstr(err_text, "being written"), "%s", err_text);
    cr_assert_eq(call("fsck r"), 0);
    cr_assert_eq(hl_writer_close(w), HL_OK);
    hl_free(dir);
}

/* ---- output that cannot be written ---- */

/* Exit status of "hoplab show r" with stdout on fd. */
static int show_on(int fd)
{
    pid_t child = fork();
    if (child == 0) {
        char words[3][8] = {"hoplab", "show", "r"}, *argv[] = {words[0], words[1], words[2]};
        hl_cli_spec p = {.name = "hoplab", .version = "0", .commands = commands};
        dup2(fd, 1);
        setvbuf(stdout, NULL, _IOFBF, 64); /* many writes, so that an early one fails */
        _exit(hl_cli_main(&p, 3, argv));
    }
    int rc;
    waitpid(child, &rc, 0);
    cr_assert(WIFEXITED(rc), "ended by signal %d", WTERMSIG(rc));
    return WEXITSTATUS(rc);
}

Test(command, broken_pipe_is_no_failure)
{
    int ends[2];
    hl_free(make_run("r", "x", HL_RUN_DONE));
    cr_assert_eq(pipe(ends), 0);
    close(ends[0]);
    cr_assert_eq(show_on(ends[1]), 0);
}

Test(command, full_output_disk_is_a_failure)
{
    int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        cr_skip_test("no /dev/full here");
    hl_free(make_run("r", "x", HL_RUN_DONE));
    cr_assert_eq(show_on(fd), HL_EXIT_FAILED);
}
