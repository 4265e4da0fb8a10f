/* hoplab data WORD ...: public data sets and text files. */
#include <stdlib.h>
#include <string.h>

#include "app/commands.h"
#include "app/data_cmd.h"
#include "engine/base/str.h"

static const hl_data_command *const commands[] = {&hl_data_cmd_ls, &hl_data_cmd_info,
                                                  &hl_data_cmd_fetch, &hl_data_cmd_tokenize};
enum { N_COMMANDS = sizeof commands / sizeof commands[0] };

static const hl_option options[] = {
    {.name = "dir",
     .type = HL_OPTION_STRING,
     .value = "DIR",
     .help = "where data sets lie (else HOPLAB_DATA, else ./data)"},
    {.name = "mirror",
     .type = HL_OPTION_MANY,
     .value = "URL",
     .help = "fetch: a copy of a data directory (http, https, file, or a path), instead of the "
             "published addresses"},
    {.name = "no-verify", .type = HL_OPTION_FLAG, .help = "fetch: take any size and sum"},
    {.name = "quiet", .letter = 'q', .type = HL_OPTION_FLAG, .help = "fetch: errors only"},
    {.name = "json", .type = HL_OPTION_FLAG, .help = "print JSON"},
    {.name = "tokens",
     .type = HL_OPTION_STRING,
     .value = "PATH",
     .otherwise = "bytes",
     .help = "tokenize: bytes, words, or a vocab.txt, vocab.json, tokenizer.json or directory"},
    {.name = "ids",
     .type = HL_OPTION_FLAG,
     .help = "tokenize: print the tokens' numbers, one per line"},
    {.name = "train",
     .type = HL_OPTION_STRING,
     .value = "KIND",
     .help = "tokenize: learn a vocabulary from the texts: bpe or wordpiece"},
    {.name = "vocab",
     .type = HL_OPTION_INT,
     .value = "N",
     .otherwise = "8192",
     .help = "tokenize: learn (or, for words, count) at most so many tokens"},
    {.name = "min-count",
     .type = HL_OPTION_INT,
     .value = "N",
     .otherwise = "2",
     .help = "tokenize: do not learn what is seen less often"},
    {.name = "output",
     .letter = 'o',
     .type = HL_OPTION_STRING,
     .value = "DIR",
     .help = "tokenize: where vocab.txt, or vocab.json and merges.txt, are written"},
    {0},
};

const char *hl_data_dir(const hl_cli *cli)
{
    const char *dir = hl_cli_str(cli, "dir");
    if (!dir || !*dir)
        dir = getenv("HOPLAB_DATA");
    return dir && *dir ? dir : "data";
}

static const hl_data_command *find_command(const char *name)
{
    for (int i = 0; i < N_COMMANDS; i++)
        if (strcmp(commands[i]->name, name) == 0)
            return commands[i];
    return NULL;
}

static int unknown_command(const hl_cli *cli, const char *word)
{
    const char *names[N_COMMANDS];
    hl_str list = {0};
    for (int i = 0; i < N_COMMANDS; i++) {
        names[i] = commands[i]->name;
        hl_str_addf(&list, "%s%s", i ? ", " : "", names[i]);
    }
    const int near = hl_str_nearest(word, names, N_COMMANDS);
    const int status =
        near >= 0 ? hl_cli_complain(cli, HL_EXIT_USAGE, "no subcommand '%s'; did you mean '%s'?",
                                    word, names[near])
                  : hl_cli_complain(cli, HL_EXIT_USAGE, "no subcommand '%s'; there are %s", word,
                                    hl_str_text(&list));
    hl_str_done(&list);
    return status;
}

/* Whether the words contain the name. */
static bool takes(const char *words, const char *name)
{
    const size_t n = strlen(name);
    for (const char *p = words; *p; p += strspn(p, " ")) {
        const size_t len = strcspn(p, " ");
        if (len == n && strncmp(p, name, n) == 0)
            return true;
        p += len;
    }
    return false;
}

static int check(const hl_cli *cli, const hl_data_command *c)
{
    const int n = (int)hl_cli_args_n(cli) - 1;
    const char *usage = c->usage ? c->usage : "";
    for (const hl_option *o = options; o->name; o++)
        if (hl_cli_given(cli, o->name) && !takes(c->options, o->name))
            return hl_cli_complain(cli, HL_EXIT_USAGE, "--%s is no option of '%s'", o->name,
                                   c->name);
    if (n < c->n_args_min)
        return hl_cli_complain(cli, HL_EXIT_USAGE, "an argument is missing: data %s %s", c->name,
                               usage);
    if (c->n_args_max >= 0 && n > c->n_args_max)
        return hl_cli_complain(cli, HL_EXIT_USAGE, "'%s' is one argument too many: data %s %s",
                               hl_cli_arg(cli, (size_t)c->n_args_max + 1), c->name, usage);
    return HL_EXIT_DONE;
}

static int run(hl_cli *cli)
{
    const hl_data_command *c = find_command(hl_cli_arg(cli, 0));
    if (!c)
        return unknown_command(cli, hl_cli_arg(cli, 0));
    const int status = check(cli, c);
    return status == HL_EXIT_DONE ? c->run(cli) : status;
}

const hl_command hl_cmd_data = {
    .name = "data",
    .help = "public data sets: list, look at, download; tokenize texts",
    .usage = "ls | info NAME|FILE | fetch NAME ... | tokenize TEXT ...",
    .about = "ls            the sets that are known, and which are there\n"
             "info NAME     licence, files, sums, addresses of a set\n"
             "info FILE     size and sum of a file; lines, rows and encoding of a text\n"
             "fetch NAME    download a set; a download that was broken off is continued\n"
             "tokenize TEXT how many tokens texts are, and how many are unknown; with --ids the\n"
             "              tokens, with --train a vocabulary learnt from them\n",
    .options = options,
    .n_args_min = 1,
    .n_args_max = -1,
    .run = run};
