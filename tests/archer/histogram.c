/* histogram.c - a data race on purpose, to prove that the race detector sees one.
 *
 * Without an argument threads add to one histogram with nothing between them: a race. With the
 * argument "atomic" each addition is atomic: no race. A detector that is set up wrongly stays
 * silent in both cases, or complains in both; then its silence about the chapters means nothing.
 *
 * Usage: histogram [atomic]
 */
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
    enum { bins = 16, values = 100000 };
    static int histogram[bins];
    if (argc == 2 && strcmp(argv[1], "atomic") == 0) {
#pragma omp parallel for num_threads(2)
        for (int i = 0; i < values; i++) {
#pragma omp atomic
            histogram[i * 7 % bins]++;
        }
    } else {
#pragma omp parallel for num_threads(2)
        for (int i = 0; i < values; i++)
            histogram[i * 7 % bins]++;
    }
    int sum = 0;
    for (int i = 0; i < bins; i++)
        sum += histogram[i];
    printf("%d of %d counted\n", sum, values);
    return 0;
}
