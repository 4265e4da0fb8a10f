/* What a study leaves in its run directory beside the events: tables/NAME.csv, and of each figure
 * its numbers (figures/NAME.json) and its picture (NAME.svg, with cairo NAME.png). */
#ifndef HL_EXPORT_STUDY_H
#define HL_EXPORT_STUDY_H

#include "app/export/paper.h"
#include "engine/base/json.h"

/* Both take the JSON texts of app/exp/study.h; name: letters, digits, '_' and '-'. Errors: ARG (the
 * name, what is missing in the object), IO, NOMEM. */
HL_MUST_CHECK hl_status hl_study_put_table(const char *run_dir, const char *name,
                                           const char *object);
HL_MUST_CHECK hl_status hl_study_put_figure(const char *run_dir, const char *name,
                                            const char *object);

/* Draws a figure's object into the box. Errors: ARG, NOMEM. */
HL_MUST_CHECK hl_status hl_study_draw(const hl_json *figure, hl_paper *paper, hl_box box);

#endif
