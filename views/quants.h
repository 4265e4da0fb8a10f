/* Quantizations that runs recorded (tables "quantize/RECIPE"; docs/run-format.md): those of one run
 * with their tensors, and what the runs of a list come to, by method and recipe. Draws nothing,
 * knows no screen. */
#ifndef HL_VIEWS_QUANTS_H
#define HL_VIEWS_QUANTS_H

#include "app/hl_app.h"
#include "engine/base/vec.h"

/* ---- of one run ---- */

typedef struct hl_quantization {
    uint64_t key; /* hl_quant_key */
    int64_t step, t_us;
    char *recipe;   /* owned */
    hl_json *event; /* owned */
} hl_quantization;

enum { HL_QUANTS_KEPT = 16 }; /* the newest */

typedef struct hl_quants {
    HL_VEC(hl_quantization) kept; /* oldest first */
    int n_damaged;                /* tables that nobody can read */
} hl_quants;                      /* {0} is empty */

/* false: no memory. */
bool hl_quants_add(hl_quants *q, const char *tag, int64_t step, int64_t t_us, const char *text);
void hl_quants_cut(hl_quants *q, int64_t from); /* those of steps >= from go */
void hl_quants_done(hl_quants *q);
/* The newest by this recipe (key 0: by any) whose event has `member` (NULL: whatever it has). */
const hl_quantization *hl_quants_find(const hl_quants *q, uint64_t key, const char *member);

/* The grid of the newest one at a tap ("layer.3/ffn.out"): its ends. false: none is known. */
bool hl_quants_grid(const hl_quants *q, const char *tap, double *least, double *most);

/* ---- its tensors ---- */

/* name in the event (GROWTH: how much the loss grows where it alone is quantized, as it was ranked;
 * OTHER: its SQNR less that of another quantization), title, columns, shown from the left in this
 * order; in a narrow pane those of higher rank give way first */
#define HL_TENSOR_COLUMNS(X)                                                                       \
    X(ROLE, "role", "kind", 4, 5)                                                                  \
    X(BITS, "bits", "bits", 4, 4)                                                                  \
    X(CHANNELS, "channels", "scales", 6, 10)                                                       \
    X(SCALE, "scale", "scale", 9, 6)                                                               \
    X(ZERO, "zero_point", "zp", 5, 7)                                                              \
    X(LEAST, "least", "min", 8, 2)                                                                 \
    X(MOST, "most", "max", 8, 3)                                                                   \
    X(CLIPPED, "clipped", "clip", 7, 1)                                                            \
    X(SQNR, "sqnr", "SQNR", 6, 0)                                                                  \
    X(MSE, "mse", "MSE", 9, 8)                                                                     \
    X(BYTES, "bytes", "bytes", 7, 9)                                                               \
    X(GROWTH, "growth", "alone", 9, 11)                                                            \
    X(OTHER, "sqnr_more", "SQNR+", 6, 1)

typedef enum hl_tensor_column {
#define HL_TENSOR_ENUM(upper, key, title, w, rank) HL_TENSOR_##upper,
    HL_TENSOR_COLUMNS(HL_TENSOR_ENUM)
#undef HL_TENSOR_ENUM
        HL_TENSOR_N
} hl_tensor_column;

typedef struct hl_tensor {
    const char *name, *tap; /* tap: as a watched run records it; "": nothing does */
    bool is_weight, is_float;
    double v[HL_TENSOR_N]; /* NAN: not known */
    int place;             /* in the event */
} hl_tensor;
typedef HL_VEC(hl_tensor) hl_tensors;

enum { HL_TENSOR_BY_NAME = HL_TENSOR_N };
typedef struct hl_tensors_wish {
    const hl_quantization *of, *ranked, *other; /* NULL: there is none */
    int by; /* a column, or the name; what is not known comes last */
    bool reverse;
} hl_tensors_wish;
/* Borrowed from wish->of. Empty without memory. */
void hl_tensors_of(const hl_tensors_wish *wish, hl_tensors *out);

/* "model.decoder.layers.10.fc2" as "L10.fc2"; other names as they are. */
enum { HL_TENSOR_NAME_MAX = 96 };
const char *hl_tensor_short(const char *name, char buf[HL_TENSOR_NAME_MAX]);
/* The worst ratio of each layer, NAN where none is known; gives how many layers, at most n. */
int hl_sqnr_by_layer(const hl_tensors *t, float *out, int n);

/* ---- methods ---- */

typedef struct hl_spread {
    double mean, sd; /* sd NAN: of one */
    int n;           /* 0: not known */
} hl_spread;

/* Runs that differ in their seed alone, quantized by one recipe. */
typedef struct hl_method {
    uint64_t method, key; /* key 0: none of them is quantized */
    char label[96], recipe[80], metric[24];
    hl_spread in_float, quantized, delta, percent; /* delta of each run, then over the runs */
    hl_spread max_inf_norm, kurtosis;
    int n_runs, n_quantized, n_live, n_broken;
    double progress; /* of the live ones, 0 to 1 */
    int first;       /* row of the first one that is quantized so, or of the first */
    int place, nth;  /* of that run in the order; of the recipe among all that were met */
} hl_method;
typedef HL_VEC(hl_method) hl_methods;

/* order: indices of rows, n of them. Methods with results first, each in the order of its first
 * run. Empty without memory. */
void hl_methods_of(const hl_run_row *rows, const int *order, size_t n, hl_methods *out);
/* "bert-oeh-s1000" without what says the seed. */
void hl_run_label(const char *name, char *out, size_t n);
/* What groups the run; of a run without configuration its own. */
uint64_t hl_method_key(const hl_run_row *row);

#endif
