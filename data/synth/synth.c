/* Generated prose: a probabilistic grammar with memory.
 *
 * DESIGN. A paragraph is a function of (seed, paragraph number): its counters are the random
 * generator's step, so a longer text begins with the shorter one. A paragraph draws what it will
 * remember (tense, topic, cast, perhaps a made-up word) and then sentences that must agree with
 * it. Every choice adds its information, -log2 p, to `bits`; the text is a function of the choices,
 * so its entropy is at most theirs. Probabilities are integers: the text is the same everywhere. */
#include <math.h>
#include <string.h>

#include "data/synth/synth_words.h"
#include "data/text/text_internal.h"
#include "engine/base/mem.h"
#include "engine/base/rng.h"

#define SYNTH_BYTES_MAX ((size_t)1 << 30)
#define CAST_MAX        4

typedef struct writer {
    hl_rng rng;
    hl_str *out;
    double bits;
    /* how the next word is set */
    bool space, capital, article; /* article: "a" or "an" is due */
    /* what the paragraph remembers */
    bool is_past;
    const topic *topic;
    const person *cast[CAST_MAX];
    uint32_t n_cast;
    const person *last; /* whom a pronoun means; NULL at the start */
    char made_up[16];   /* "" until it has been introduced */
} writer;

/* ---- choices --------------------------------------------------------------------------------- */

static uint32_t pick(writer *w, uint32_t n)
{
    w->bits += log2((double)n);
    return hl_rng_below(&w->rng, n);
}

/* p(i) ~ 1 / (i + 1), as in real vocabularies */
static uint32_t pick_early(writer *w, uint32_t n)
{
    const uint32_t unit = 720720; /* divisible by 1 .. 16 */
    uint32_t total = 0, i = 0;
    for (uint32_t k = 0; k < n; k++)
        total += unit / (k + 1);
    uint32_t left = hl_rng_below(&w->rng, total);
    for (; left >= unit / (i + 1); i++)
        left -= unit / (i + 1);
    uint32_t weight = unit / (i + 1);
    w->bits += log2((double)total / (double)weight);
    return i;
}

static bool chance(writer *w, uint32_t percent)
{
    bool yes = hl_rng_below(&w->rng, 100) < percent;
    w->bits -= log2((yes ? percent : 100 - percent) / 100.0);
    return yes;
}

/* ---- setting words --------------------------------------------------------------------------- */

static void put(writer *w, const char *word)
{
    if (w->article) {
        w->article = false;
        put(w, strchr("aeiou", word[0]) ? "an" : "a");
    }
    if (w->space)
        hl_str_addc(w->out, ' ');
    char first = word[0];
    if (w->capital && first >= 'a' && first <= 'z')
        first = (char)(first - 'a' + 'A');
    hl_str_addc(w->out, first);
    hl_str_add(w->out, word + 1);
    w->space = true;
    w->capital = false;
}

static void put_open(writer *w, const char *mark)
{
    if (w->space)
        hl_str_addc(w->out, ' ');
    hl_str_add(w->out, mark);
    w->space = false;
}

static void put_close(writer *w, const char *mark)
{
    hl_str_add(w->out, mark);
    w->space = true;
}

/* ---- phrases --------------------------------------------------------------------------------- */

static void put_verb(writer *w, const verb *v, bool is_many)
{
    put(w, w->is_past ? v->past : is_many ? v->many : v->one);
}

static void put_be(writer *w, bool is_many)
{
    put(w, w->is_past ? (is_many ? "were" : "was") : is_many ? "are" : "is");
}

static void put_verb_with_object(writer *w, bool is_many)
{
    if (chance(w, 65))
        put_verb(w, &w->topic->verbs[pick_early(w, N_TOPIC_VERBS)], is_many);
    else
        put_verb(w, &common_verbs[pick_early(w, N_OF(common_verbs))], is_many);
}

/* Determiner, adjective, noun; says whether it is plural. */
static bool put_simple_noun(writer *w)
{
    static const char *const one[] = {"the", "a", "this", "every"};
    static const char *const many[] = {"the", "some", "these", "many"};
    bool is_many = chance(w, 40);
    uint32_t det = pick_early(w, 4);
    if (!is_many && det == 1)
        w->article = true;
    else
        put(w, is_many ? many[det] : one[det]);
    if (chance(w, 35))
        put(w, adjectives[pick_early(w, N_OF(adjectives))]);
    const noun *n = &w->topic->nouns[pick_early(w, N_TOPIC_NOUNS)];
    put(w, is_many ? n->many : n->one);
    return is_many;
}

/* A subject whose head agrees with a verb that comes only after other nouns of other numbers. */
static bool put_long_noun(writer *w)
{
    bool is_many = put_simple_noun(w);
    if (chance(w, 25)) {
        put(w, prepositions[pick_early(w, N_OF(prepositions))]);
        (void)put_simple_noun(w);
    }
    if (chance(w, 30)) {
        put(w, "that");
        if (chance(w, 50)) {
            put_verb_with_object(w, is_many);
            (void)put_simple_noun(w);
        } else {
            bool inner = put_simple_noun(w);
            put_verb_with_object(w, inner);
        }
    }
    return is_many;
}

static void put_predicate(writer *w, bool is_many, const person *subject)
{
    if (chance(w, 45)) {
        put_verb_with_object(w, is_many);
        if (subject && chance(w, 50)) {
            put(w, subject->is_female ? "her" : "his");
            put(w, w->topic->nouns[pick_early(w, N_TOPIC_NOUNS)].one);
        } else {
            (void)put_simple_noun(w);
        }
    } else if (chance(w, 50)) {
        put_verb(w, &still_verbs[pick_early(w, N_OF(still_verbs))], is_many);
        if (chance(w, 50))
            put(w, adverbs[pick_early(w, N_OF(adverbs))]);
    } else {
        put_be(w, is_many);
        put(w, adjectives[pick_early(w, N_OF(adjectives))]);
    }
}

static void put_clause(writer *w)
{
    bool is_many = put_long_noun(w);
    put_predicate(w, is_many, NULL);
}

static const person *put_name(writer *w)
{
    w->last = w->cast[pick_early(w, w->n_cast)];
    put(w, w->last->name);
    return w->last;
}

static void put_person_clause(writer *w)
{
    const person *who = w->last;
    if (who && chance(w, 60))
        put(w, who->is_female ? "she" : "he");
    else
        who = put_name(w);
    put_predicate(w, false, who);
}

/* ---- sentences ------------------------------------------------------------------------------- */

static void put_speech(writer *w)
{
    put_open(w, "\"");
    bool is_question = chance(w, 25);
    put_clause(w);
    put_close(w, is_question ? "?\"" : ",\"");
    put_verb(w, is_question ? &ask : &speech_verbs[pick_early(w, N_OF(speech_verbs))], false);
    (void)put_name(w);
    if (chance(w, 30)) {
        put_close(w, ",");
        put(w, "who");
        put_predicate(w, false, w->last);
    }
}

/* The made-up word: introduced once, then only repeated. */
static void put_made_up(writer *w)
{
    if (w->made_up[0]) {
        (void)put_name(w);
        put_verb(w, &repeat, false);
    } else {
        size_t n = 0;
        for (int i = 0; i < 3; i++)
            for (const char *s = syllables[pick(w, N_OF(syllables))]; *s; s++)
                w->made_up[n++] = *s;
        put(w, "the word on the wall");
        put_be(w, false);
    }
    put_open(w, "\"");
    put(w, w->made_up);
    put_close(w, "\"");
}

static void put_aside(writer *w)
{
    put_person_clause(w);
    put_open(w, "(");
    put(w, "and");
    put_clause(w);
    put_close(w, ")");
}

static void put_joined(writer *w)
{
    put_clause(w);
    put_close(w, ",");
    put(w, joints[pick_early(w, N_OF(joints))]);
    put_person_clause(w);
}

static void put_sentence(writer *w)
{
    static void (*const kinds[])(writer *) = {put_clause, put_person_clause, put_speech,
                                              put_joined, put_made_up,       put_aside};
    w->capital = true;
    kinds[pick_early(w, N_OF(kinds))](w);
    put_close(w, ".");
}

/* The last sentence names the whole cast in its order. */
static void put_ending(writer *w)
{
    w->capital = true;
    put(w, "so");
    put(w, w->is_past ? "ended" : "ends");
    put(w, "the story of");
    for (uint32_t i = 0; i < w->n_cast; i++) {
        if (i)
            put(w, "and");
        put(w, w->cast[i]->name);
    }
    put_close(w, ".\n\n");
}

/* Rejected draws count as information too: `bits` stays an upper bound. */
static void pick_person(writer *w, uint32_t i)
{
    bool is_new;
    do {
        w->cast[i] = &people[pick_early(w, N_OF(people))];
        is_new = true;
        for (uint32_t k = 0; k < i; k++)
            is_new = is_new && w->cast[k] != w->cast[i];
    } while (!is_new);
}

static void put_paragraph(writer *w)
{
    w->space = w->capital = w->article = false;
    w->is_past = chance(w, 40);
    w->topic = &topics[pick(w, N_TOPICS)];
    w->last = NULL;
    memset(w->made_up, 0, sizeof w->made_up);
    w->n_cast = 2 + pick(w, CAST_MAX - 1);
    for (uint32_t i = 0; i < w->n_cast; i++)
        pick_person(w, i);
    uint32_t n_sentences = 5 + pick(w, 6);
    for (uint32_t i = 0; i < n_sentences; i++)
        put_sentence(w);
    put_ending(w);
}

hl_status hl_synth_text(uint64_t seed, size_t n_bytes, double *entropy_bits, hl_text **out)
{
    hl_status st = HL_OK;
    hl_str text = {0};
    writer w = {.out = &text};
    if (n_bytes == 0 || n_bytes > SYNTH_BYTES_MAX)
        HL_FAIL(HL_E_ARG, "a generated text of %zu bytes is out of range: 1 .. %zu", n_bytes,
                SYNTH_BYTES_MAX);
    for (uint32_t i = 0; text.n < n_bytes && !text.failed; i++) {
        w.rng = hl_rng_make(seed, HL_RNG_SYNTH, 0, i);
        put_paragraph(&w);
    }
    HL_TRY(hl_str_status(&text));
    double bits = w.bits * ((double)n_bytes / (double)text.n);
    text.s[n_bytes] = '\0';
    HL_TRY(hl_text_from_owned("generated", text.s, n_bytes, true, out));
    if (entropy_bits)
        *entropy_bits = bits;
    text = (hl_str){0};
out:
    hl_str_done(&text);
    return st;
}
