/* preprocess.c - what a data loader does to each sample: normalise and clip, and augment.
 *
 * Why clip_normalise is fast: normalising is x * scale + offset, once mean and deviation are known,
 * so it joins the clip that follows it, and the sums that the next normalising needs are added up
 * while the value is still in a register. One pass for each round instead of eight, over a sample
 * that stays in the first-level cache, in whole vectors.
 */
#include "common/kernels/isa.h"
#include "common/kernels/kernels.h"
#include "common/kernels/statistics.h"
#include <stdbool.h>

#define CLIP 3.0F

/* Neither comparison is true of a NaN, which stays. */
INLINED float clip(float x)
{
    x = x > CLIP ? CLIP : x;
    return x < -CLIP ? -CLIP : x;
}

#define LANES STATISTICS_LANES
#define CHUNK STATISTICS_CHUNK

/* Normalising: (x - pivot) * scale + offset. The pivot is near the mean, so that the difference is
 * exact even where the mean is large. */
struct line {
    float pivot, scale, offset;
};

INLINED struct line normalising(struct statistics all, float pivot)
{
    const double scale = 1 / (deviation(all) + 1e-8);
    return (struct line){pivot, (float)scale, (float)(((double)pivot - all.mean) * scale)};
}

/* LANES values, normalised and clipped. */
INLINED void clip_lanes(float *out, const float *x, struct line line)
{
#pragma omp simd
    for (size_t lane = 0; lane < LANES; lane++)
        out[lane] = clip((x[lane] - line.pivot) * line.scale + line.offset);
}

/* A chunk: out = clip(normalise(x)); its sums, from the pivot 0, are added to *sum and *square. No
 * better pivot is needed: what was normalised before it was clipped has a mean near 0. */
INLINED void clip_chunk(float *out, const float *x, struct line line, size_t n, double *sum,
                        double *square)
{
    struct lane_sums sums = {0};
    const size_t whole = n - n % LANES;
    for (size_t i = 0; i < whole; i += LANES) {
        clip_lanes(out + i, x + i, line);
        add_to_lanes(&sums, out + i, 0);
    }
    if (whole < n) { /* the rest, filled up; then with zeros, which add nothing */
        float rest[LANES] = {0};
        memcpy(rest, x + whole, (n - whole) * sizeof *rest);
        clip_lanes(rest, rest, line);
        memcpy(out + whole, rest, (n - whole) * sizeof *rest);
        memset(rest + (n - whole), 0, (LANES - (n - whole)) * sizeof *rest);
        add_to_lanes(&sums, rest, 0);
    }
    *sum += lanes_total(sums.distance);
    *square += lanes_total(sums.square);
}

INLINED struct statistics clip_all(float *out, const float *x, struct line line, size_t n)
{
    double sum = 0, square = 0;
    for (size_t at = 0; at < n; at += CHUNK)
        clip_chunk(out + at, x + at, line, n - at < CHUNK ? n - at : CHUNK, &sum, &square);
    return (struct statistics){
        .n = (double)n, .mean = sum / (double)n, .squares = square - sum * sum / (double)n};
}

void EACH_ISA(clip_normalise)(float *out, const float *x, size_t n, int rounds)
{
    if (n == 0)
        return;
    struct statistics all = image_statistics(x, n);
    struct line line = normalising(all, (float)all.mean);
    for (int round = 0; round < rounds; round++) {
        all = clip_all(out, x, line, n);
        line = normalising(all, 0);
        x = out;
    }
#pragma omp simd
    for (size_t i = 0; i < n; i++)
        out[i] = (x[i] - line.pivot) * line.scale + line.offset;
}

/* ---- Augment --------------------------------------------------------------------------------- */

/* -most .. most, from 16 bits. */
INLINED ptrdiff_t move_by(uint64_t bits, size_t most)
{
    return (ptrdiff_t)((bits & 0xffff) * (2 * most + 1) >> 16) - (ptrdiff_t)most;
}

/* Four uniform numbers of 16 bits: their sum has mean 131070 and deviation 65536 / sqrt(3). */
INLINED float noise(uint64_t bits)
{
    const uint32_t total =
        (uint32_t)((bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48));
    return (float)((int32_t)total - 131070) * (float)(0.1 * 1.7320508075688772 / 65536);
}

void EACH_ISA(augment)(float *out, const float *image, const uint64_t *words, size_t height,
                       size_t width)
{
    const ptrdiff_t h = (ptrdiff_t)height, w = (ptrdiff_t)width;
    const ptrdiff_t down = move_by(words[0], height / 16),
                    right = move_by(words[0] >> 16, width / 16);
    const bool mirrored = words[0] >> 63;
    /* out[x] is pixel x + right of a row, or w - 1 - x + right of a mirrored one: these x have one
     */
    const ptrdiff_t shift = mirrored ? -right : right;
    const ptrdiff_t first = shift < 0 ? -shift : 0, end = shift > 0 ? w - shift : w;

#pragma omp simd
    for (size_t i = 0; i < height * width; i++)
        out[i] = noise(words[1 + i]);
    for (ptrdiff_t y = 0; y < h; y++) {
        if (y + down < 0 || y + down >= h)
            continue;
        const float *const row = image + (y + down) * w;
        for (ptrdiff_t x = first; x < end; x++)
            out[y * w + x] += row[right + (mirrored ? w - 1 - x : x)];
    }
}
