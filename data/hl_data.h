/* Data for language models: texts, tokenizers, corpora, generated text, batches; labelled images;
 * time series (data/series); and public sets over the network (data/fetch).
 *
 *   hl_text (checked bytes) --+--> hl_corpus (tokens of a training and an evaluation part)
 *   hl_tok  (bytes <-> ids) --+        |
 *                                      +--> hl_loader --> hl_batch, hl_batch, ...
 *
 * Legend: B blocks (or images) per batch, T tokens per block, V vocabulary. Texts live from open to
 * close and belong to one thread; tokenizers, corpora and images are immutable, reference counted,
 * free to share between threads; a loader has one consumer and a thread of its own behind it. */
#ifndef HL_DATA_H
#define HL_DATA_H

#include "engine/base/err.h"
#include "engine/base/str.h"
#include "engine/base/team.h"

#include "data/fetch/fetch.h"
#include "data/fetch/sets.h"
#include "data/places.h"
#include "data/series/npy.h"
#include "data/series/series.h"

/* ---- text ------------------------------------------------------------------------------------ */

typedef struct hl_text hl_text;

/* The concatenation of one or more files, mapped, bytes as they are (CRLF and byte-order marks
 * too). gzip, whatever its name, is unpacked into memory. Of files called .jsonl or .ndjson (or
 * that and .gz) the string field "text" of each line is taken, with a line end behind it: the same
 * bytes as a text file with those rows as its lines. The first 64 KiB of each are checked. Nobody
 * may truncate the files before hl_text_close.
 * Errors, each naming the file and the remedy: NOTFOUND (missing), IO (a directory, unreadable),
 * FORMAT (empty, or looks binary: a NUL byte, more than 5 % control bytes, more than 1 % of bytes
 * that are not UTF-8; damaged gzip; a line without such a field, with its number), NOMEM, ARG (no
 * path). paths: borrowed. Cost: plain text none; else a pass over the file, and memory for all of
 * its text. */
HL_MUST_CHECK hl_status hl_text_open(const char *const *paths, size_t n_paths, hl_text **out);

/* A copy of n bytes under a label, checked alike. */
HL_MUST_CHECK hl_status hl_text_from_bytes(const char *label, const void *bytes, size_t n,
                                           hl_text **out);

/* Exactly n_bytes (1 .. 1 GiB) of ASCII prose from a probabilistic grammar, a function of the seed
 * alone; a longer text begins with the shorter one. What the grammar remembers over a paragraph:
 * verbs agree with their subject across relative clauses, quotes and brackets match, people keep
 * name and gender, tense and topic stay, a made-up word comes back. The text is labelled
 * "generated". entropy_bits, if not NULL, gets the information in the grammar's choices: an ideal
 * model needs no more bits on average, so entropy_bits / n_bytes bounds the reachable loss.
 * Errors: ARG (size), NOMEM. */
HL_MUST_CHECK hl_status hl_synth_text(uint64_t seed, size_t n_bytes, double *entropy_bits,
                                      hl_text **out);

void hl_text_close(hl_text *t); /* NULL is fine */

size_t hl_text_n_bytes(const hl_text *t);
const char *hl_text_label(const hl_text *t); /* "war-and-peace/input.txt", "generated" */
bool hl_text_is_generated(const hl_text *t);

typedef struct hl_text_measures {
    int64_t n_file_bytes; /* on disk */
    int64_t n_bytes;      /* of text */
    int64_t n_lines;      /* line ends */
    int64_t n_rows;       /* of JSONL; -1: there is none */
    int64_t invalid_at;   /* offset in the text of the first byte that is not UTF-8; -1: all are */
    bool is_packed;
} hl_text_measures;
hl_text_measures hl_text_measure(const hl_text *t); /* one pass over all of it */

/* ---- tokenizers ------------------------------------------------------------------------------ */

typedef struct hl_tok hl_tok;

typedef enum hl_tok_special {
    HL_TOK_SPECIAL_PAD,
    HL_TOK_SPECIAL_UNK,
    HL_TOK_SPECIAL_CLS,
    HL_TOK_SPECIAL_SEP,
    HL_TOK_SPECIAL_MASK,
    HL_TOK_SPECIAL_COUNT
} hl_tok_special;

#define HL_TOK_WORDS_MAX (1 << 20) /* largest vocabulary of "words" */

/* "bytes": id = byte. V is 256; with_mask adds [MASK] = 256 and V is 257 (a model that wants a
 * rounder table pads it itself: an id that is in V can be drawn by MLM masking). No other special
 * exists, since every byte has its id and blocks are never short. */
HL_MUST_CHECK hl_status hl_tok_new_bytes(bool with_mask, hl_tok **out);

/* "words": lower-cased words, single digits, single punctuation marks; white space and control
 * characters only separate. ASCII alone is lower-cased; other letters stay, so "Pétya" is one
 * word. Ids: [PAD] [UNK] [CLS] [SEP] [MASK] are 0 .. 4, then the most frequent tokens of the first
 * n_bytes of the text, ties in order of first appearance, so that V <= max_vocab (6 ..
 * HL_TOK_WORDS_MAX). Words over 100 bytes and bytes that are not UTF-8 are [UNK]. */
HL_MUST_CHECK hl_status hl_tok_new_words(const hl_text *text, size_t n_bytes, int32_t max_vocab,
                                         hl_tok **out);

/* A published tokenizer from its files. path: a WordPiece vocabulary (any name but *.json: a token
 * per line, id = line number from 0); a vocab.json, with merges.txt beside it; a tokenizer.json; or
 * a directory with tokenizer.json, vocab.json or vocab.txt, looked for in this order.
 *
 * Tokens are those of the reference (Hugging Face `tokenizers`) for text decoded with U+FFFD for
 * what is not UTF-8, without the specials it puts around a text:
 * "wordpiece": BERT uncased, unless a tokenizer.json says otherwise (its BertNormalizer);
 * "bpe": GPT-2's byte level; an OPT vocabulary has </s>.
 * Specials spelled in running text become their ids: [PAD] [UNK] [CLS] [SEP] [MASK] of a vocab.txt;
 * </s> and <pad> of a vocab.json that has </s>, else <|endoftext|>; the added_tokens of a
 * tokenizer.json. They have the roles of hl_tok_special by their spelling: [PAD] or <pad>, [UNK] or
 * <unk>, [CLS] or <s>, [SEP] or </s> or <|endoftext|>, [MASK] or <mask>.
 * Errors, each naming file, line and remedy: NOTFOUND, IO, FORMAT (damaged), UNSUPPORTED (another
 * kind, or a part of tokenizer.json that is not known here), NOMEM. Cost: 50 ms for 50 000 tokens.
 */
HL_MUST_CHECK hl_status hl_tok_open(const char *path, hl_tok **out);

/* Start from hl_tok_train_params_default. */
typedef struct hl_tok_train_params {
    const char *kind;  /* "bpe" (default) or "wordpiece" */
    int32_t n_vocab;   /* at most, specials included: 8192 */
    int64_t min_count; /* pairs seen less often are not merged: 2 */
} hl_tok_train_params;
hl_tok_train_params hl_tok_train_params_default(void);

/* Learns a vocabulary from a text, line by line; a function of its arguments alone. Tokens and
 * merges of "bpe" are those of the reference trainer with all 256 bytes as its alphabet and
 * <|endoftext|> as token 0. "wordpiece" (BERT uncased; [PAD] [UNK] [CLS] [SEP] [MASK] first) learns
 * as the reference does, which leaves the order of its "##" characters, and so its ties, to chance;
 * here they stand in order of first appearance. Words of more than 100 characters (wordpiece) and
 * pieces that are not UTF-8 (bpe) are passed over. Cost: seconds for 10 MB.
 * Errors: ARG (kind, size, a text without words or with too many characters), NOMEM. */
HL_MUST_CHECK hl_status hl_tok_train(const hl_text *text, const hl_tok_train_params *params,
                                     hl_tok **out);

/* Writes vocab.txt ("wordpiece") or vocab.json and merges.txt ("bpe") into a directory, which is
 * made; hl_tok_open reads them. Which specials are cut out of text, and rules other than BERT
 * uncased, are not in these files. Errors: UNSUPPORTED (another kind), IO, NOMEM. */
HL_MUST_CHECK hl_status hl_tok_save(const hl_tok *t, const char *dir);

/* A tokenizer as one JSON object, appended to out; what a checkpoint carries. Reading takes the
 * text as hostile input and refuses a vocabulary that differs from the hash stored with it. */
HL_MUST_CHECK hl_status hl_tok_to_json(const hl_tok *t, hl_str *out);
HL_MUST_CHECK hl_status hl_tok_from_json(const char *json, size_t n, hl_tok **out);

hl_tok *hl_tok_ref(hl_tok *t); /* returns t */
void hl_tok_unref(hl_tok *t);  /* NULL is fine */

const char *hl_tok_kind(const hl_tok *t); /* "bytes", "words", "wordpiece", "bpe" */
int32_t hl_tok_n_vocab(const hl_tok *t);  /* V: ids are 0 .. V-1 */
uint64_t hl_tok_hash(const hl_tok *t);    /* equal for equal vocabularies */
int32_t hl_tok_special_id(const hl_tok *t, hl_tok_special which); /* -1: it has none */

size_t hl_tok_room(const hl_tok *t, size_t n); /* ids that n bytes can become at most: n, or 3n */

/* n bytes to ids, which has room for hl_tok_room(t, n). Specials do not come out of text by "bytes"
 * and "words"; from files, as hl_tok_open says. Any number of threads at once. Cannot fail. */
size_t hl_tok_encode(const hl_tok *t, const void *bytes, size_t n, int32_t *ids);

/* Appends the text of n ids. Bytes and BPE give back exactly what was encoded (but U+FFFD for bytes
 * that were not UTF-8, by BPE); words are joined by single spaces, and encoding that again gives
 * the same ids; pieces with "##" are put to what stands before. Specials appear as "[MASK]".
 * Errors: ARG (an id outside the vocabulary), NOMEM. */
HL_MUST_CHECK hl_status hl_tok_decode(const hl_tok *t, const int32_t *ids, size_t n, hl_str *out);

#define HL_TOK_SPELLING_BYTES 64
/* Appends a token as people shall see it, as between the quotes of a C string: " the", "##ing",
 * "[MASK]", "\n", "\xe2" for a byte that is a part of a character, "\u00a0" for what has no shape
 * of its own; UTF-8 of fewer than HL_TOK_SPELLING_BYTES bytes, which end in "..." where more were
 * cut off. false: no memory, or the id is outside the vocabulary; nothing is added. */
bool hl_tok_spell(const hl_tok *t, int32_t id, hl_str *out);

/* ---- corpus ---------------------------------------------------------------------------------- */

typedef struct hl_corpus hl_corpus;

/* TEST: of series alone, whose EVAL is the validation part. */
typedef enum hl_part {
    HL_PART_TRAIN,
    HL_PART_EVAL,
    HL_PART_COUNT,
    HL_PART_TEST = HL_PART_COUNT
} hl_part;

/* What the tokens of a text are one stream of, or, by tokenizers from files, blocks of.
 * LINE: a row is a line with its line end; a line of white space alone is a row without text, as in
 * the rows of the published WikiText. DOCUMENT: a row is what stands between blank lines. Of JSONL
 * both are the rows of the file, line breaks in them and all. No row goes on in the next file.
 * WordPiece puts [CLS] and [SEP] around a row, BPE </s> (or
 * <|endoftext|>) before it. The tokens of each 1000 rows, in order, are joined and cut into blocks
 * of seq_len; what is left of them is dropped, also where it is all they have (the reference keeps
 * such a group as one short block for BERT). So no block has tokens of two groups.
 * Source: language-models.md 5.2 and 5.3. */
typedef enum hl_rows { HL_ROWS_NONE, HL_ROWS_LINE, HL_ROWS_DOCUMENT, HL_ROWS_COUNT } hl_rows;

const char *hl_rows_name(hl_rows kind); /* "none", "line", "document" */
HL_MUST_CHECK hl_status hl_rows_of_name(const char *name, hl_rows *out); /* Errors: ARG */

/* Of n_files files of a text from `first` on, taken as one, keeps the first percent / 100 of the
 * rows, rounded half to even, and drops the others. kind NONE: of the lines. 0 < percent <= 100.
 * Source: language-models.md 5.1. Errors: ARG (percent, or not one row is left). Cost: two looks at
 * each line. */
HL_MUST_CHECK hl_status hl_text_keep(hl_text *t, size_t first, size_t n_files, hl_rows kind,
                                     double percent);

/* The texts that published language models are trained and evaluated on, by name: their files where
 * they lie once they are fetched and unpacked. Source: language-models.md 5.1. */

/* In the order of showing; NULL: i is past the last. */
const char *hl_setup_name(size_t i);
bool hl_setup_is(const char *name);

/* Opens the text of a part; of each of its sources (books, articles) the first percent / 100 of
 * the rows. Files are looked for in the places of data/places.h, each with or without .gz. A row is
 * a line, of JSONL an object. Errors: NOTFOUND, which names the missing file and how to get it; ARG
 * (percent); as hl_text_open. */
HL_MUST_CHECK hl_status hl_setup_open(const char *name, hl_part part, double percent,
                                      hl_text **out);

/* Start from hl_corpus_params_default. */
typedef struct hl_corpus_params {
    const hl_text *train; /* borrowed for the call */
    const hl_text *eval;  /* borrowed for the call; NULL: the last `holdout` of train */
    double holdout;       /* share of bytes, [0, 1), 0.1; 0: no evaluation part */
    hl_tok *tok;          /* shared; NULL: a new one, as the fields below say */
    const char *tok_kind; /* "bytes" (default); "words", learnt from the training part only; or a
                             path for hl_tok_open: what has a '/' in it or is there */
    int32_t max_vocab;    /* words: 8192 */
    bool with_mask;       /* bytes: add [MASK], which MLM needs; false */
    hl_rows rows;         /* NONE */
    int64_t seq_len;      /* T of the loaders, unless rows is NONE */
    hl_team *team;        /* encodes; borrowed for the call. NULL: one made for it */
    const char *cache;    /* directory for a file of the tokens; NULL: they are kept in memory */
    /* bytes of text done, of all; called by the caller's thread, some times a second at least while
     * tokens are made for the cache. false: stop with CANCELLED. NULL: nobody asks */
    bool (*on_progress)(void *arg, int64_t n_done, int64_t n_total);
    void *progress_arg;
} hl_corpus_params;
hl_corpus_params hl_corpus_params_default(void);

typedef struct hl_corpus_part_info {
    const char *label;      /* "war-and-peace/input.txt", "… (last 10 %)" */
    int64_t n_tokens;       /* 0: there is no such part */
    int64_t n_bytes;        /* of the text these tokens stand for, with what is between rows */
    double bytes_per_token; /* bits per byte = nats per token / ln 2 / this; 0 if no tokens */
} hl_corpus_part_info;

typedef struct hl_corpus_info {
    const char *label; /* of the training text; "generated" */
    bool is_generated; /* any of it: say so wherever results are shown */
    hl_corpus_part_info part[HL_PART_COUNT];
    hl_rows rows;
    int64_t seq_len;   /* blocks are cut at this length; 0: at any */
    int token_bytes;   /* 1, 2 or 4: the narrowest that holds the ids */
    bool is_mapped;    /* from a file in the cache: the system holds the pages that are read */
    int64_t mem_bytes; /* held by the tokens: 0 if they are mapped */
    uint64_t hash;     /* of vocabulary, tokens, rows: a resumed run compares it */
} hl_corpus_info;

/* Encodes both parts, the same for any number of threads. With `cache`, into a file there, named
 * after the texts' paths, sizes and times, tokenizer and rows; it is mapped, and the next call
 * opens it at once. A build that was killed or cancelled goes on where it was; one process builds,
 * others wait for it; a damaged file is made again, with a notice. Tokens and hash are the same
 * with and without. Nobody may truncate the file while a corpus is open. The held-out part is cut
 * at the next line start (else white space, else character), the same bytes for every tokenizer, so
 * that bits per byte compare. The texts may be closed afterwards. Errors: ARG (holdout, kind,
 * vocabulary size, too little text), NOMEM. */
HL_MUST_CHECK hl_status hl_corpus_new(const hl_corpus_params *params, hl_corpus **out);
hl_corpus *hl_corpus_ref(hl_corpus *c);
void hl_corpus_unref(hl_corpus *c); /* NULL is fine */

const hl_corpus_info *hl_corpus_get_info(const hl_corpus *c); /* lives as long as c */
hl_tok *hl_corpus_tok(const hl_corpus *c);                    /* borrowed */

/* Tokens first .. first+n-1 of a part. Errors: ARG (outside the part). */
HL_MUST_CHECK hl_status hl_corpus_read(const hl_corpus *c, hl_part part, int64_t first, int64_t n,
                                       int32_t *ids);

/* ---- batches --------------------------------------------------------------------------------- */

#define HL_LABEL_NONE       (-100) /* a position without a label */
#define HL_LOADER_DEPTH     4      /* batches made ahead, and the most a consumer can hold */
#define HL_BLOCK_TOKENS_MAX (1 << 20)

typedef enum hl_objective { HL_OBJECTIVE_CLM, HL_OBJECTIVE_MLM } hl_objective;

/* Training: blocks in a new order each epoch, without end. Evaluation: one pass, in order. */
typedef enum hl_loader_mode { HL_LOADER_TRAIN, HL_LOADER_EVAL } hl_loader_mode;

/* A place in the stream of blocks: `index` blocks of epoch `epoch` are behind it. */
typedef struct hl_position {
    int64_t epoch, index;
} hl_position;

/* A part is cut into n_tokens / T blocks (the remainder is dropped). Start from
 * hl_loader_params_default. */
typedef struct hl_loader_params {
    hl_corpus *corpus; /* shared: the loader takes a reference */
    hl_part part;
    hl_loader_mode mode;
    hl_objective objective;
    int64_t batch_size; /* B >= 1 */
    int64_t seq_len;    /* T, 2 .. HL_BLOCK_TOKENS_MAX; with rows that of the corpus */
    uint64_t seed;      /* of the order and of the masks */
    double mask_prob;   /* MLM: (0, 1], 0.15 */
    hl_position start;  /* {0, 0}; a resumed run gives hl_batch.next of its last batch */
} hl_loader_params;
hl_loader_params hl_loader_params_default(void);

/* ids, labels: [B, T] i32, row-major; blocks: [B].
 * CLM: labels[b,t] = ids[b,t+1], the last of a block HL_LABEL_NONE; already shifted, so that the
 * loss compares logits[b,t] with labels[b,t].
 * MLM: labels[b,t] is the original id where the position was selected, else HL_LABEL_NONE.
 * A training batch is always full: at the end of an epoch it goes on with the next, since programs
 * are compiled per shape. The last batch of an evaluation is filled up with copies of its first
 * block without labels (so maxima over activations do not change); n_real says how many count. */
typedef struct hl_batch {
    const int32_t *ids, *labels;
    const int64_t *blocks; /* block number in the part; -1: filling */
    int64_t batch_size, seq_len;
    int64_t n_real;     /* blocks that count: B except in the last batch of an evaluation */
    hl_position at;     /* of the first block */
    hl_position next;   /* where a loader must start to continue after this batch */
    int64_t n_tokens;   /* n_real * T */
    int64_t n_labelled; /* positions with a label */
    int64_t n_bytes;    /* of text, by the part's bytes_per_token: exact for "bytes" */
    int64_t wait_ns;    /* how long the consumer waited for this batch */
} hl_batch;

/* Sums over the batches given out since open. */
typedef struct hl_loader_totals {
    int64_t n_batches, n_tokens, n_labelled, n_bytes, wait_ns;
} hl_loader_totals;

typedef struct hl_loader hl_loader;

/* Memory that hl_loader_open will take at most (the corpus not counted), after checking the
 * parameters. Errors: ARG and SHAPE, naming the text, the limit and the remedy. */
HL_MUST_CHECK hl_status hl_loader_plan(const hl_loader_params *params, int64_t *mem_bytes);

/* Allocates everything and starts the prefetch thread; nothing is allocated later. What a batch
 * holds depends on the parameters and its position alone. Errors: as plan; NOMEM. */
HL_MUST_CHECK hl_status hl_loader_open(const hl_loader_params *params, hl_loader **out);

/* The next batch, borrowed until hl_loader_give_back. *out = NULL at the end of an evaluation, and
 * again until hl_loader_seek. Errors: CANCELLED; STATE (HL_LOADER_DEPTH batches are held). */
HL_MUST_CHECK hl_status hl_loader_next(hl_loader *l, const hl_batch **out);
void hl_loader_give_back(hl_loader *l, const hl_batch *batch); /* any order; NULL is fine */

/* Goes to a position; the next batch starts there. Batches held stay valid. Errors: ARG,
 * CANCELLED. */
HL_MUST_CHECK hl_status hl_loader_seek(hl_loader *l, hl_position to);

int64_t hl_loader_n_blocks(const hl_loader *l); /* per epoch */
hl_loader_totals hl_loader_get_totals(const hl_loader *l);

/* Any thread may cancel: a waiting and every later hl_loader_next or seek gives CANCELLED. */
void hl_loader_cancel(hl_loader *l);
void hl_loader_close(hl_loader *l); /* by the consumer; ends held batches too. NULL is fine */

/* ---- images ---------------------------------------------------------------------------------- */

typedef struct hl_images hl_images;

#define HL_IMAGE_CLASSES_MAX  256
#define HL_IMAGE_CHANNELS_MAX 3
#define HL_DIGITS_MAX         1000000 /* generated at once */

typedef struct hl_images_info {
    const char *label;                /* "EMNIST mnist train", "generated digits" */
    int64_t n, n_channels;            /* images; 1 (grey) or 3 (red, green, blue) planes each */
    int64_t height, width;            /* rows and columns as they are stored */
    int64_t n_classes;                /* labels are 0 .. n_classes-1 */
    bool is_generated, is_transposed; /* transposed: rows are columns of what people see */
    int64_t mem_bytes;
    uint64_t hash; /* of sizes, pixels and labels: a resumed run compares it */
} hl_images_info;

/* A part of a set of images from a directory (EVAL is the test part). set: "mnist" (files train-*,
 * t10k-*), "emnist-mnist" (emnist-mnist-train-*, emnist-mnist-test-*), "emnist-digits", "cifar-10"
 * (data_batch_1.bin .. 5, test_batch.bin), "cifar-100" (train.bin, test.bin), "tiny-imagenet"
 * (JPEGs in folders, data/img/tiny.h; EVAL is its validation part), the latter three also
 * in the folder that their archive unpacks to; or NULL: the first of emnist-mnist, mnist,
 * emnist-digits, cifar-10, cifar-100, tiny-imagenet whose files are all there. Each file of digits may be called
 * *-images-idx3-ubyte or *-images.idx3-ubyte (labels: idx1), with or without ".gz".
 * Images and their order stay as they are in the files; EMNIST's are stored transposed, and the
 * reference trains on them so (see hl_images_upright).
 * Errors, naming file, finding and expectation: NOTFOUND (and what was looked for), IO, FORMAT (see
 * data/img/idx.h, cifar.h and tiny.h; counts that differ, a label out of range), ARG (set), NOMEM,
 * UNSUPPORTED (JPEGs in a build without libjpeg). */
HL_MUST_CHECK hl_status hl_images_open(const char *dir, const char *set, hl_part part,
                                       hl_images **out);

/* Any two IDX files: images of rank 3, labels of rank 1 below n_classes (1 .. 256). Transposed if
 * the name of the images starts with "emnist-". */
HL_MUST_CHECK hl_status hl_images_open_files(const char *images, const char *labels,
                                             int64_t n_classes, hl_images **out);

/* n (1 .. HL_DIGITS_MAX) grey images of 28 x 28, upright, light strokes on black: digits as
 * polylines and splines whose points shake, moved, turned, slanted and scaled at random, with a pen
 * of random width, antialiased, under weak noise. Image i is a function of (seed, part, i) alone,
 * on every machine; each ten in a row hold every digit once. A little easier than MNIST: a nearest
 * neighbour among 2000 is right for 0.92 of them (MNIST: 0.86). Errors: ARG (n), NOMEM. */
HL_MUST_CHECK hl_status hl_images_generate(uint64_t seed, hl_part part, int64_t n, hl_images **out);

hl_images *hl_images_ref(hl_images *s); /* returns s */
void hl_images_unref(hl_images *s);     /* NULL is fine */

const hl_images_info *hl_images_get_info(const hl_images *s); /* lives as long as s, like: */
const uint8_t *hl_images_pixels(const hl_images *s);          /* [n, n_channels, height, width] */
const uint8_t *hl_images_labels(const hl_images *s);          /* [n] */

/* How a batch shows its images. */
typedef struct hl_image_look {
    float value[HL_IMAGE_CHANNELS_MAX][256]; /* what a pixel becomes, by channel */
    /* for training, drawn anew in each epoch, a function of seed, epoch and the image's number: */
    bool flip;    /* left and right exchanged, for half of them */
    int64_t crop; /* moved by -crop .. crop pixels down and right; what comes in is black */
    uint64_t seed;
    int64_t epoch;
} hl_image_look;

/* value = (pixel / 255 - mean) / std, by channel (HL_IMAGE_CHANNELS_MAX numbers each; NULL: 0 and
 * 1), in double and rounded once; nothing moves. */
void hl_image_look_init(hl_image_look *k, const double *mean, const double *std);

/* A batch by numbers, 0 .. n-1, in any order and as often as you like; nothing is allocated.
 * x: [B, n_channels*height*width] f32; look NULL: pixel / 255, correctly rounded, nothing else;
 * y: [B, n_classes] f32, 1 at the label, else 0. Either may be NULL.
 * Source: the data pipeline of the reference deep-equilibrium Hopfield experiments (pixels to
 * [0, 1], flattened; one-hot targets of the squared error). Errors: ARG (a number outside the set;
 * nothing is written then). */
HL_MUST_CHECK hl_status hl_images_gather(const hl_images *s, const hl_image_look *look,
                                         const int64_t *numbers, int64_t batch_size, float *x,
                                         float *y);

/* The order of a training epoch: a permutation of 0 .. n-1 (n below 2^32), a function of the seed
 * and the epoch alone. */
void hl_images_shuffle(const hl_images *s, uint64_t seed, int64_t epoch, uint32_t *order);

/* n of the images, drawn by the seed without replacement: a set of its own. Errors: ARG (n beyond the
 * set, or below 1), NOMEM. */
HL_MUST_CHECK hl_status hl_images_choose(const hl_images *s, uint64_t seed, int64_t n,
                                         hl_images **out);

/* Image i as people see it, for display: out has n_channels*height*width bytes, planes one after
 * another; a transposed image becomes `width` rows of `height`. Errors: ARG (i). */
HL_MUST_CHECK hl_status hl_images_upright(const hl_images *s, int64_t i, uint8_t *out);

#endif
