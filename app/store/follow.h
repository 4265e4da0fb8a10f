/* Reads the events of a run directory: all segments in order, then what is appended, then segments
 * that appear. Tells a visitor (app/hl_app.h). What a later segment supersedes is left out when
 * that segment is there at the start; when it appears later, the visitor is told. */
#ifndef HL_STORE_FOLLOW_H
#define HL_STORE_FOLLOW_H

#include "app/hl_app.h"
#include "app/store/tag_table.h"

#define HL_SEGMENT_PREFIX "events.out.tfevents."

/* Series, numbered. One table may serve several followers. */
typedef struct hl_series_table {
    hl_tag_table keys; /* one letter for the kind, then the tag */
    char **content;    /* owned, "" if none */
    size_t cap;
} hl_series_table; /* {0} is empty */
size_t hl_series_table_n(const hl_series_table *t);
hl_series_info hl_series_table_at(const hl_series_table *t, size_t i);
int64_t hl_series_table_find(const hl_series_table *t, const char *tag, hl_series_kind kind);
void hl_series_table_done(hl_series_table *t);

typedef struct hl_follow hl_follow;

typedef struct hl_follow_opts {
    bool with_superseded;
    bool as_it_came; /* also that; each resume is told where it comes (hl_run_visitor.superseded) */
    bool has_limit;  /* leave out points with step >= limit, as if a resume at `limit` came next */
    int64_t limit;
} hl_follow_opts;

/* `series` is borrowed for the life of the follower. A directory without segments is fine. */
HL_MUST_CHECK hl_status hl_follow_open(const char *dir, hl_follow_opts opts,
                                       hl_series_table *series, hl_follow **out);
void hl_follow_close(hl_follow *f);
HL_MUST_CHECK hl_status hl_follow_poll(hl_follow *f, const hl_run_visitor *v, int64_t max_bytes,
                                       bool *more);
void hl_follow_progress(const hl_follow *f, int64_t *done, int64_t *total);
/* Places skipped because they were damaged, and values in forms that we do not read. */
int64_t hl_follow_damages(const hl_follow *f);
int64_t hl_follow_unknown(const hl_follow *f);
size_t hl_follow_segments(const hl_follow *f);
const char *hl_follow_segment_path(const hl_follow *f, size_t i);
/* The segment being read, and in it where the record at hand begins and the next one will. */
void hl_follow_at(const hl_follow *f, size_t *which, int64_t *record, int64_t *next);
/* The segment being read has become shorter than what was read of it. */
bool hl_follow_has_shrunk(const hl_follow *f);

#endif
