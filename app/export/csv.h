#ifndef HL_EXPORT_CSV_H
#define HL_EXPORT_CSV_H

#include "engine/base/str.h"

/* A field of a CSV file, quoted where it must be (RFC 4180). */
void hl_export_csv_field(hl_str *b, const char *text);

#endif
