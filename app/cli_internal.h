/* Shared by cli.c (parsing, running) and cli_text.c (printing). */
#ifndef HL_CLI_INTERNAL_H
#define HL_CLI_INTERNAL_H

#include "app/cli.h"
#include "engine/base/vec.h"

typedef struct hl_cli_given_option {
    const hl_option *option;
    const char *text; /* NULL for flags, and OPTIONAL without a value */
} hl_cli_given_option;

struct hl_cli {
    const hl_cli_spec *program;
    const hl_command *command; /* NULL: none named */
    FILE *out, *err, *in;
    bool utf8;
    int argc;
    char **argv; /* as given to the program */
    char *project_store; /* owned; NULL: the project names none */
    HL_VEC(hl_cli_given_option) options;
    HL_VEC(const char *) args;
};

bool hl_cli_locale_is_utf8(void);
const char *hl_cli_command_name(const hl_cli *cli); /* "" without one */
void hl_cli_put_prefix(const hl_cli *cli);          /* "hoplab ls: " on the error stream */
void hl_cli_put_program_help(const hl_cli *cli, const hl_option *global_options);
void hl_cli_put_command_help(const hl_cli *cli, const hl_option *global_options);

#endif
