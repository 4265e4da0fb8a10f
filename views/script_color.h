/* Colours of Lua, line by line. */
#ifndef HL_VIEWS_SCRIPT_COLOR_H
#define HL_VIEWS_SCRIPT_COLOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a line begins in: {0} is plain text. */
typedef struct hl_lua_state {
    int level; /* of the long bracket that is open, and 1; 0: none is */
    bool is_comment;
} hl_lua_state;

/* The role of each byte of the line, of the first n of them; x goes on to the next line. role may
 * be NULL: only the state is wanted. Whatever the bytes are, it ends. */
void hl_lua_color(hl_lua_state *x, const char *line, uint8_t *role, size_t n);

#endif
