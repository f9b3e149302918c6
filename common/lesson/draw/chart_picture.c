/* A picture, as a chart. */
#include "common/lesson/draw/draw.h"
#include <math.h>

#define MOST_PIXELS 512 /* of a picture's side */

/* The mean of the pixels that one of the chart's stands for. */
static double mean(const float *pixels, size_t height, size_t width, size_t row, size_t column,
                   size_t scale)
{
    double sum = 0.0;
    size_t count = 0;
    for (size_t y = row * scale; y < (row + 1) * scale && y < height; y++)
        for (size_t x = column * scale; x < (column + 1) * scale && x < width; x++, count++)
            sum += pixels[y * width + x];
    return sum / (double)count;
}

void lesson_chart_picture(struct lesson *lesson, const char *title, const float *pixels,
                          size_t height, size_t width)
{
    float least = INFINITY, most = -INFINITY;
    if (!charts_wanted(lesson) || height == 0 || width == 0)
        return;
    struct chart *chart = chart_add(lesson, CHART_PICTURE, title, NULL, NULL);
    const size_t longer = height > width ? height : width;
    const size_t scale = (longer + MOST_PIXELS - 1) / MOST_PIXELS;
    chart->scale = scale;
    chart->height = (height + scale - 1) / scale;
    chart->width = (width + scale - 1) / scale;
    chart->pixels = lesson_allocate(lesson, chart->height * chart->width, 1);
    for (size_t i = 0; i < height * width; i++) {
        least = fminf(least, pixels[i]);
        most = fmaxf(most, pixels[i]);
    }
    for (size_t i = 0; i < chart->height * chart->width && most > least; i++) {
        const double value = mean(pixels, height, width, i / chart->width, i % chart->width, scale);
        const double grey = 255.0 * (value - least) / ((double)most - least);
        chart->pixels[i] = grey >= 0.0 && grey <= 255.0 ? (unsigned char)lrint(grey) : 0;
    }
}
