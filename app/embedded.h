/* Files built into the program (cmake/embed.cmake). */
#ifndef HL_APP_EMBEDDED_H
#define HL_APP_EMBEDDED_H

#include <stddef.h>

typedef struct hl_embedded_file {
    const char *name; /* "hop/nn.lua"; NULL ends the table */
    const unsigned char *bytes;
    size_t n;
} hl_embedded_file;

extern const hl_embedded_file hl_embedded_scripts[];

#endif
