#include "app/peak.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#include "app/proc/host.h"
#include "engine/base/clock.h"
#include "engine/base/fs.h"
#include "engine/base/hash.h"
#include "engine/base/mem.h"

enum { SIDE = 512 };

double hl_peak_gemm(hl_team *team, int64_t m, int64_t n, int64_t k, hl_peak_kind kind)
{
    const hl_cpu_kernels *cpu = hl_cpu();
    const size_t bytes[4] = {(size_t)(m * k) * 4, (size_t)(k * n) * 4, (size_t)(m * n) * 4,
                             cpu->gemm_scratch_bytes(m, n, k, team->n)};
    float *p[4];
    double best = HUGE_VAL;
    for (int i = 0; i < 4; i++)
        p[i] = hl_block_new(bytes[i]);
    hl_gemm_args g = {.m = m,
                      .n = n,
                      .k = k,
                      .a = p[0],
                      .a_row = k,
                      .a_col = 1,
                      .b = p[1],
                      .b_row = 1,
                      .b_col = k,
                      .c = p[2],
                      .c_row = n};
    if (kind == HL_PEAK_BF16) {
        g.a16 = (const hl_bf16 *)p[0];
        g.b16 = (const hl_bf16 *)p[1];
    }
    bool ok = p[0] && p[1] && p[2] && p[3];
    for (int rep = 0; rep < 9 && ok; rep++) {
        const int64_t start = hl_clock_mono_ns();
        if (kind == HL_PEAK_OPENBLAS)
            ok = hl_openblas_gemm(&g);
        else
            cpu->gemm(team, &g, p[3]);
        const double s = (double)(hl_clock_mono_ns() - start) * 1e-9;
        best = s < best ? s : best;
    }
    for (int i = 0; i < 4; i++)
        hl_block_free(p[i], bytes[i]);
    return ok ? 2e-9 * (double)m * (double)n * (double)k / best : 0;
}

/* The file of this machine's ceiling; NULL: there is no place for it. */
static char *kept_path(const hl_team *team, bool bf16)
{
    char dir[440], name[80];
    hl_host host;
    if (!hl_fs_cache_dir(dir, sizeof dir))
        return NULL;
    hl_host_read(&host);
    snprintf(name, sizeof name, "peak-%016llx-%.20s-%d-%s",
             (unsigned long long)hl_hash_str(HL_HASH_START, host.cpu), hl_cpu()->isa,
             team ? team->n : 1, bf16 ? "bf16" : "fp32");
    return hl_fs_join(dir, name);
}

double hl_peak_flops(hl_team *team, bool bf16)
{
    double peak = 0;
    char *path = kept_path(team, bf16), *text = NULL, line[40];
    if (path && hl_fs_exists(path) && hl_fs_read(path, sizeof line, &text, NULL) == HL_OK) {
        text[strcspn(text, "\n")] = 0;
        if (hl_parse_f64(text, &peak) != HL_OK || !(peak > 0) || !isfinite(peak))
            peak = 0;
    }
    if (!(peak > 0)) {
        peak = 1e9 * hl_peak_gemm(team, SIDE, SIDE, SIDE, bf16 ? HL_PEAK_BF16 : HL_PEAK_FLOAT);
        snprintf(line, sizeof line, "%.6g\n", peak);
        if (path && peak > 0)
            HL_IGNORE(hl_fs_write_soon(path, line, strlen(line)));
    }
    hl_free(text);
    hl_free(path);
    hl_err_clear();
    return peak;
}
