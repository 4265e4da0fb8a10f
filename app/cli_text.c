/* What the command line prints: help, complaints, text of unknown origin. */
#define _GNU_SOURCE
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "app/cli.h"
#include "app/cli_internal.h"

/* ---- text ---- */

/* Writes the text as it may be shown to `out` (NULL: only counts); gives the columns. One column
 * per code point is near enough for a table of names. */
static int show(const hl_cli *cli, const char *text, FILE *out)
{
    int width = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; p++) {
        bool continues = (*p & 0xC0) == 0x80;
        bool plain = *p >= 0x20 && *p < 0x7F;
        /* C1 controls are U+0080..U+009F: C2 80..9F */
        bool c1 = *p == 0xC2 && p[1] >= 0x80 && p[1] < 0xA0;
        if (continues && !cli->utf8)
            continue;
        width += !continues;
        if (out)
            fputc(plain || (*p >= 0x80 && cli->utf8 && !c1) ? *p : '?', out);
        p += c1;
    }
    return width;
}

void hl_cli_put_text(const hl_cli *cli, const char *text)
{
    show(cli, text, cli->out);
}

int hl_cli_text_width(const hl_cli *cli, const char *text)
{
    return show(cli, text, NULL);
}

void hl_cli_put_csv(const hl_cli *cli, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, cli->out);
        return;
    }
    fputc('"', cli->out);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', cli->out);
        fputc(*text, cli->out);
    }
    fputc('"', cli->out);
}

const char *hl_cli_age(char buf[24], int64_t seconds)
{
    long long s = seconds > 0 ? seconds : 0;
    if (s < 60)
        snprintf(buf, 24, "%llds", s);
    else if (s < 3600)
        snprintf(buf, 24, "%lldm", s / 60);
    else if (s < 172800)
        snprintf(buf, 24, "%lldh%02lldm", s / 3600, s / 60 % 60);
    else
        snprintf(buf, 24, "%lldd", s / 86400);
    return buf;
}

/* From the environment, so that it holds whether or not the program calls setlocale. */
bool hl_cli_locale_is_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *v = getenv(names[i]);
        if (v && *v)
            return strcasestr(v, "utf-8") || strcasestr(v, "utf8");
    }
    return false;
}

/* ---- complaints ---- */

const char *hl_cli_command_name(const hl_cli *cli)
{
    return cli->command && cli->command != cli->program->bare ? cli->command->name : "";
}

void hl_cli_put_prefix(const hl_cli *cli)
{
    const char *name = hl_cli_command_name(cli);
    fprintf(cli->err, "%s%s%s: ", cli->program->name, *name ? " " : "", name);
}

int hl_cli_complain(const hl_cli *cli, int exit_status, const char *fmt, ...)
{
    char message[HL_ERR_MESSAGE_MAX + 256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    hl_cli_put_prefix(cli);
    show(cli, message, cli->err); /* it may quote a name of unknown origin */
    fputc('\n', cli->err);
    return exit_status;
}

/* ---- help ---- */

static void put_options(FILE *out, const hl_option *o)
{
    for (; o && o->name; o++) {
        char left[64];
        int n = o->letter ? snprintf(left, sizeof left, "-%c, --%s", o->letter, o->name)
                          : snprintf(left, sizeof left, "    --%s", o->name);
        if (o->type != HL_OPTION_FLAG && n > 0 && (size_t)n < sizeof left)
            snprintf(left + n, sizeof left - (size_t)n,
                     o->type == HL_OPTION_OPTIONAL ? " [%s]" : " %s",
                     o->value ? o->value : "VALUE");
        fprintf(out, "  %-26s %s", left, o->help);
        if (o->otherwise)
            fprintf(out, " (default %s)", o->otherwise);
        if (o->type == HL_OPTION_MANY)
            fputs(" (may be repeated)", out);
        fputc('\n', out);
    }
}

void hl_cli_put_program_help(const hl_cli *cli, const hl_option *global_options)
{
    const hl_cli_spec *p = cli->program;
    fprintf(cli->out, "Usage: %s [COMMAND] [OPTIONS]\n", p->name);
    if (p->about)
        fprintf(cli->out, "%s", p->about);
    fputs("\nCommands:\n", cli->out);
    for (const hl_command *const *c = p->commands; *c; c++)
        fprintf(cli->out, "  %-12s %s\n", (*c)->name, (*c)->help);
    fputs("\nOptions:\n", cli->out);
    if (p->bare)
        put_options(cli->out, p->bare->options);
    put_options(cli->out, global_options);
    fprintf(cli->out, "\n'%s COMMAND --help' tells more about one command.\n", p->name);
}

void hl_cli_put_command_help(const hl_cli *cli, const hl_option *global_options)
{
    const hl_command *c = cli->command;
    fprintf(cli->out, "Usage: %s %s [OPTIONS]%s%s\n%s\n", cli->program->name, c->name,
            c->usage ? " " : "", c->usage ? c->usage : "", c->help);
    if (c->about)
        fprintf(cli->out, "\n%s", c->about);
    fputs("\nOptions:\n", cli->out);
    put_options(cli->out, c->options);
    put_options(cli->out, global_options);
}
