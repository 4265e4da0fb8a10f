#include "app/store/log_reader.h"

#include <stdio.h>
#include <string.h>

#include "app/store/event.h"
#include "app/store/event_file.h"
#include "app/store/log_index.h"
#include "app/store/log_text.h"
#include "engine/base/fs.h"

#define WINDOW_BYTES HL_LOG_BLOCK_BYTES
#define TELL_SLICES  64 /* a search says how far it is after so many */

/* A place: the segment, then the byte in it. Records are longer than the lines in them are many, so
 * the k-th line of one stands k bytes behind the first. */
#define SEGMENT_SHIFT 42
#define OFFSET_MASK   (((int64_t)1 << SEGMENT_SHIFT) - 1)

struct hl_log_reader {
    const hl_follow *follow;
    /* index */
    hl_log_index index;
    hl_log_text text; /* of the line met last */
    /* the question */
    hl_log_want want;
    bool is_busy, is_placed;
    int64_t at; /* the answer is complete up to here */
    int n_found, n_slices;
    hl_log_page *page; /* lines of one that goes back: newest first */
    /* the file read last */
    hl_event_file *file;
    size_t segment;
    int64_t n_bytes; /* of files closed */
};

/* ---- places ---- */

static int64_t place_of(size_t segment, int64_t offset)
{
    return (int64_t)segment << SEGMENT_SHIFT | offset;
}

static size_t segment_of(int64_t place)
{
    return (size_t)(place >> SEGMENT_SHIFT);
}

/* 0 for one that is gone, or not there yet. */
static int64_t segment_bytes(const hl_log_reader *r, size_t segment)
{
    if (segment >= hl_follow_segments(r->follow))
        return 0;
    const int64_t n = hl_fs_size(hl_follow_segment_path(r->follow, segment));
    return n > 0 ? n : 0;
}

static int64_t end_place(const hl_log_reader *r)
{
    const size_t n = hl_follow_segments(r->follow);
    return n > 0 ? place_of(n - 1, segment_bytes(r, n - 1)) : 0;
}

/* What is before it has been met. */
static int64_t met_place(const hl_log_reader *r)
{
    size_t segment;
    int64_t record, next;
    hl_follow_at(r->follow, &segment, &record, &next);
    return place_of(segment, next);
}

static int64_t total_bytes(const hl_log_reader *r)
{
    int64_t total = 0;
    for (size_t i = 0; i < hl_follow_segments(r->follow); i++)
        total += segment_bytes(r, i);
    return total;
}

static int percent_at(const hl_log_reader *r, int64_t place)
{
    const int64_t total = total_bytes(r);
    int64_t before = place & OFFSET_MASK;
    for (size_t i = 0; i < segment_of(place) && i < hl_follow_segments(r->follow); i++)
        before += segment_bytes(r, i);
    return total > 0 ? (int)(100.0 * (double)before / (double)total) : 100;
}

static int64_t place_at_percent(const hl_log_reader *r, int percent)
{
    int64_t left = (int64_t)((double)total_bytes(r) * percent / 100.0);
    for (size_t i = 0; i < hl_follow_segments(r->follow); i++) {
        const int64_t n = segment_bytes(r, i);
        if (left < n)
            return place_of(i, left);
        left -= n;
    }
    return end_place(r);
}

/* ---- the index ---- */

hl_status hl_log_reader_new(const hl_follow *f, hl_log_reader **out)
{
    hl_log_reader *r = hl_alloc_zero(1, sizeof *r);
    if (!r)
        return HL_E_NOMEM;
    r->follow = f;
    *out = r;
    return HL_OK;
}

static void lines_done(hl_log_line *at, size_t n)
{
    for (size_t i = 0; i < n; i++)
        hl_free(at[i].text);
}

void hl_log_page_free(hl_log_page *p)
{
    if (!p)
        return;
    lines_done(p->lines.at, p->lines.n);
    hl_vec_done(&p->lines);
    hl_free(p);
}

static void close_file(hl_log_reader *r)
{
    if (r->file)
        r->n_bytes += hl_event_file_bytes_read(r->file);
    hl_event_file_close(r->file);
    r->file = NULL;
}

void hl_log_reader_free(hl_log_reader *r)
{
    if (!r)
        return;
    close_file(r);
    hl_log_page_free(r->page);
    hl_log_index_done(&r->index);
    hl_free(r);
}

/* The line is that of r->text. */
static hl_status meet(hl_log_reader *r, char level, uint64_t said, hl_log_line *line)
{
    size_t segment;
    int64_t record, next;
    hl_follow_at(r->follow, &segment, &record, &next);
    const hl_status st =
        hl_log_index_add(&r->index, place_of(segment, record), place_of(segment, next), said, line);
    if (st != HL_OK)
        return st;
    line->level = level;
    line->text = hl_strdup(r->text.s);
    return line->text ? HL_OK : HL_E_NOMEM;
}

hl_status hl_log_reader_meet(hl_log_reader *r, const char *tag, const char *content,
                             const char *json, size_t n, hl_log_line *line)
{
    const uint64_t said = r->text.said;
    const char level = hl_log_text_make(&r->text, tag, content, json, n);
    line->level = 0;
    return level ? meet(r, level, said, line) : HL_OK;
}

hl_status hl_log_reader_meet_start(hl_log_reader *r, int64_t step, hl_log_line *line)
{
    hl_log_text_resumed(&r->text, step);
    return meet(r, 'S', r->text.said, line);
}

/* ---- a piece of a file ---- */

typedef struct piece {
    int64_t begin, end; /* records that begin there are read, all in one segment */
    int64_t number;     /* of its first line, or -1 */
    int64_t sync, next; /* first record found, or -1; behind the last one */
    hl_log_text text;   /* of the line at hand */
    HL_VEC(hl_log_line) lines;
} piece;

static hl_status add_line(piece *p, const hl_event *ev, int64_t place, char level)
{
    hl_log_line line = {.place = place,
                        .step = ev->at.step,
                        .t_us = ev->at.t_us,
                        .number = p->number,
                        .level = level,
                        .text = hl_strdup(p->text.s)};
    if (p->number >= 0)
        p->number++;
    if (line.text && hl_vec_push(&p->lines, line) == HL_OK)
        return HL_OK;
    hl_free(line.text);
    return HL_E_NOMEM;
}

static hl_status add_value(piece *p, const hl_event *ev, const hl_event_value *v, int64_t place,
                           int *n)
{
    char tag[160], content[32];
    if (!v->known || v->kind != HL_SERIES_JSON || v->content.n >= sizeof content)
        return HL_OK;
    snprintf(tag, sizeof tag, "%.*s", (int)v->tag.n, v->tag.s);
    snprintf(content, sizeof content, "%.*s", (int)v->content.n, v->content.n ? v->content.s : "");
    const char level = hl_log_text_make(&p->text, tag, content, v->detail.s, v->detail.n);
    return level ? add_line(p, ev, place + (*n)++, level) : HL_OK;
}

static hl_status add_record(piece *p, int64_t place, const unsigned char *payload, size_t n_bytes)
{
    hl_status st = HL_OK;
    hl_event ev;
    hl_event_value value;
    int n = 0;
    if (!hl_event_parse(payload, n_bytes, &ev))
        return HL_OK;
    if (ev.is_start && segment_of(place) > 0) {
        const hl_event start = {.at = {ev.at.step, 0}}; /* as the follower has it */
        hl_log_text_resumed(&p->text, ev.at.step);
        st = add_line(p, &start, place + n++, 'S');
    }
    while (st == HL_OK && hl_event_next_value(&ev, &value))
        st = add_value(p, &ev, &value, place, &n);
    return st;
}

/* A file that is gone is an empty one. */
static hl_status read_piece(hl_log_reader *r, piece *p)
{
    const size_t segment = segment_of(p->begin);
    p->sync = -1;
    p->next = p->begin;
    if (segment >= hl_follow_segments(r->follow))
        return HL_OK;
    if (!r->file || r->segment != segment) {
        close_file(r);
        const hl_status st =
            hl_event_file_open(hl_follow_segment_path(r->follow, segment), &r->file);
        if (st == HL_E_NOTFOUND)
            return HL_OK;
        if (st != HL_OK)
            return st;
        r->segment = segment;
    }
    hl_event_file_seek(r->file, p->begin & OFFSET_MASK, p->end & OFFSET_MASK);
    while (p->next < p->end) {
        const unsigned char *payload;
        size_t n;
        bool got;
        hl_status st = hl_event_file_next(r->file, &payload, &n, &got);
        if (st != HL_OK || !got)
            return st;
        const int64_t place = place_of(segment, hl_event_file_record(r->file));
        if (place >= p->end)
            return HL_OK;
        p->sync = p->sync < 0 ? place : p->sync;
        p->next = place_of(segment, hl_event_file_offset(r->file));
        st = add_record(p, place, payload, n);
        if (st != HL_OK)
            return st;
    }
    return HL_OK;
}

/* ---- answering ---- */

static bool fits(const hl_log_want *w, const hl_log_line *l)
{
    return (!w->levels[0] || strchr(w->levels, l->level)) && l->number >= w->number &&
           (!w->words[0] || hl_filter_fits_text(w->words, l->text));
}

/* Takes the line over. */
static hl_status keep(hl_log_reader *r, hl_log_line *l)
{
    const hl_status st = hl_vec_push(&r->page->lines, *l);
    if (st == HL_OK) {
        l->text = NULL;
        r->n_found++;
    }
    return st;
}

/* What fits of the piece, from the end on that the question begins at; reached: all of the piece
 * has been looked at. */
static hl_status keep_fitting(hl_log_reader *r, piece *p, int64_t reached)
{
    const bool back = r->want.back;
    for (size_t i = 0; i < p->lines.n && r->n_found < r->want.n; i++) {
        hl_log_line *l = &p->lines.at[back ? p->lines.n - 1 - i : i];
        const int64_t place = l->place;
        const bool was_passed = back ? place >= r->at : place < r->at;
        if (was_passed || !fits(&r->want, l))
            continue;
        const hl_status st = keep(r, l);
        if (st != HL_OK)
            return st;
        if (r->n_found == r->want.n)
            reached = back ? place : place + 1;
    }
    r->at = reached;
    return HL_OK;
}

static hl_status slice_back(hl_log_reader *r)
{
    const int64_t met = met_place(r), at = r->at;
    const size_t segment = segment_of(at);
    piece p = {.end = at, .number = -1};
    if (at <= met) {
        const hl_log_block *b = hl_log_index_before(&r->index, at);
        if (!b) {
            r->at = 0;
            return HL_OK;
        }
        p.begin = b->first;
        p.end = b->end < at ? b->end : at;
        p.number = b->number;
        p.text.said = b->said;
    } else if ((at & OFFSET_MASK) == 0) {
        r->at = segment > 0 ? place_of(segment - 1, segment_bytes(r, segment - 1)) : 0;
        return HL_OK;
    } else {
        p.begin = at - ((at & OFFSET_MASK) < WINDOW_BYTES ? at & OFFSET_MASK : WINDOW_BYTES);
        p.begin = p.begin < met ? met : p.begin;
    }
    hl_status st = read_piece(r, &p);
    if (st == HL_OK)
        st = keep_fitting(r, &p, at > met && p.sync >= 0 ? p.sync : p.begin);
    lines_done(p.lines.at, p.lines.n);
    hl_vec_done(&p.lines);
    return st;
}

/* *is_last: there is nothing more. */
static hl_status slice_forward(hl_log_reader *r, bool *is_last)
{
    const int64_t met = met_place(r), at = r->at;
    piece p = {.begin = at, .end = at + WINDOW_BYTES, .number = -1};
    int64_t reached;
    if (at < met) {
        const hl_log_block *b = hl_log_index_at(&r->index, at);
        if (!b) {
            r->at = met;
            return HL_OK;
        }
        p = (piece){.begin = b->first, .end = b->end, .number = b->number};
        p.text.said = b->said;
    }
    hl_status st = read_piece(r, &p);
    reached = at < met ? p.end : p.next;
    if (st == HL_OK && at >= met && p.sync < 0) {
        const size_t segment = segment_of(at);
        const bool is_end = (p.end & OFFSET_MASK) >= segment_bytes(r, segment);
        *is_last = is_end && segment + 1 >= hl_follow_segments(r->follow);
        reached = *is_last ? at : is_end ? place_of(segment + 1, 0) : p.end;
    }
    if (st == HL_OK)
        st = keep_fitting(r, &p, reached);
    lines_done(p.lines.at, p.lines.n);
    hl_vec_done(&p.lines);
    return st;
}

void hl_log_reader_ask(hl_log_reader *r, const hl_log_want *want)
{
    hl_log_page_free(r->page);
    r->page = NULL;
    r->want = *want;
    r->want.n = want->n < HL_LOG_PAGE_LINES ? want->n : HL_LOG_PAGE_LINES;
    r->is_busy = want->n > 0;
    r->is_placed = false;
    r->n_found = r->n_slices = 0;
}

bool hl_log_reader_is_busy(const hl_log_reader *r)
{
    return r->is_busy;
}

/* Where to begin, which may be where the files have just grown to. */
static void find_place(hl_log_reader *r)
{
    const hl_log_want *w = &r->want;
    const int64_t end = end_place(r);
    r->at = w->from < end ? w->from : end;
    if (w->percent >= 0)
        r->at = place_at_percent(r, w->percent);
    if (w->number >= 0) {
        const hl_log_block *b = hl_log_index_of(&r->index, w->number);
        r->at = b ? b->first : end;
    }
    r->is_placed = true;
}

static void reverse(hl_log_page *p)
{
    for (size_t i = 0, k = p->lines.n; i + 1 < k; i++) {
        const hl_log_line l = p->lines.at[i];
        p->lines.at[i] = p->lines.at[--k];
        p->lines.at[k] = l;
    }
}

/* The page as it is now. */
static hl_log_page *hand_over(hl_log_reader *r, bool is_last)
{
    hl_log_page *p = r->page;
    r->page = NULL;
    p->want = r->want;
    p->percent = percent_at(r, r->at);
    p->is_done = !r->is_busy;
    p->is_last = is_last;
    if (r->want.back) {
        p->begin = r->at;
        p->is_first = r->at == 0;
        reverse(p);
    } else {
        p->end = r->at;
    }
    return p;
}

hl_status hl_log_reader_slice(hl_log_reader *r, hl_log_page **out)
{
    bool is_last = false;
    hl_status st = HL_OK;
    *out = NULL;
    if (!r->is_busy)
        return HL_OK;
    if (!r->is_placed)
        find_place(r);
    if (!r->page) {
        r->page = hl_alloc_zero(1, sizeof *r->page);
        if (r->page)
            r->page->begin = r->page->end = r->at;
        st = r->page ? HL_OK : HL_E_NOMEM;
    }
    if (st == HL_OK && r->want.back && r->at > 0)
        st = slice_back(r);
    else if (st == HL_OK && !r->want.back)
        st = slice_forward(r, &is_last);
    if (st != HL_OK) {
        hl_log_reader_ask(r, &(hl_log_want){0});
        return st;
    }
    r->is_busy = !is_last && r->n_found < r->want.n && !(r->want.back && r->at == 0);
    if (!r->is_busy || ++r->n_slices % TELL_SLICES == 0)
        *out = hand_over(r, is_last);
    return HL_OK;
}

int64_t hl_log_reader_bytes(const hl_log_reader *r)
{
    return r->n_bytes + (r->file ? hl_event_file_bytes_read(r->file) : 0);
}

size_t hl_log_reader_index_bytes(const hl_log_reader *r)
{
    return r->index.blocks.cap * sizeof *r->index.blocks.at;
}
