/* What the script pane keeps (pane_script.c). */
#ifndef HL_VIEWS_PANE_SCRIPT_H
#define HL_VIEWS_PANE_SCRIPT_H

#include "engine/base/json.h"
#include "views/text.h"

typedef struct hl_script_shown {
    char *of;        /* directory of the run it was asked for; NULL: none */
    hl_json *value;  /* { name, lines, diff, same, against }, or NULL: not here yet */
    hl_json *failed; /* why there is none */
    char *edited;    /* path of the edited copy of that run's script, or NULL */
    int64_t ticket;  /* of the order under way; 0: none */
    bool diff;       /* the difference is shown */
    int top;
    hl_text text;   /* as it was run, or the copy, to look at and to type into */
    bool is_copy;   /* the copy */
    bool searching; /* a word is typed */
    hl_line word;   /* that is looked for */
    int rows;       /* of the pane when it was drawn last */
} hl_script_shown;

#endif
