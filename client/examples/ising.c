/* The Ising model of a magnet, on a square lattice, by Metropolis's method: a simulation
 * that takes long and can go on where it was.
 *
 *     ising --sweeps 1000000 --temperature 2.27 --seed 1
 *
 * All that it knows is one struct. It writes that into a file of $SHOAL_CHECKPOINT now
 * and then, and when it is told that its time is over (USR1 or TERM); then it exits with
 * 85, which asks shoal to start it again. What it prints does not depend on how often
 * that was. A new file takes the old one's name only when it is whole. */
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SIZE = 32, SPINS = SIZE * SIZE, CONTINUE = 85, WRITE_EVERY = 10000 };

struct simulation {
    double temperature;
    int64_t sweeps; /* to be done */
    uint64_t seed;
    int64_t done;
    uint64_t random;              /* state of the generator */
    double magnetization, energy; /* sums over sweeps */
    signed char spins[SPINS];
};

static volatile sig_atomic_t told_to_end;

static void end_soon(int number) {
    (void)number;
    told_to_end = 1;
}

/* ---- the model */

/* SplitMix64, from Steele, Lea and Flood, "Fast splittable pseudorandom number
 * generators", OOPSLA 2014. */
static uint64_t next_random(struct simulation *simulation) {
    uint64_t z = simulation->random += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int neighbours(const signed char *spins, int i) {
    int row = i / SIZE * SIZE, column = i % SIZE;
    return spins[row + (column + 1) % SIZE] + spins[row + (column + SIZE - 1) % SIZE] +
           spins[(i + SIZE) % SPINS] + spins[(i + SPINS - SIZE) % SPINS];
}

static void sweep(struct simulation *simulation) {
    signed char *spins = simulation->spins;
    int magnetization = 0, energy = 0;
    for (int n = 0; n < SPINS; n++) {
        uint64_t random = next_random(simulation);
        int i = (int)(random % SPINS), cost = 2 * spins[i] * neighbours(spins, i);
        double chance = (double)(random >> 11) * 0x1p-53;
        if (cost <= 0 || chance < exp(-cost / simulation->temperature))
            spins[i] = (signed char)-spins[i];
    }
    for (int i = 0; i < SPINS; i++) {
        magnetization += spins[i];
        energy -= spins[i] * neighbours(spins, i);
    }
    simulation->magnetization += abs(magnetization) / (double)SPINS;
    simulation->energy += energy / 2.0 / SPINS;
    simulation->done++;
}

static void begin(struct simulation *simulation) {
    simulation->random = simulation->seed;
    memset(simulation->spins, 1, SPINS);
}

/* ---- the checkpoint */

static bool make_path(char *path, size_t room, const char *name) {
    const char *folder = getenv("SHOAL_CHECKPOINT");
    return folder != NULL && (size_t)snprintf(path, room, "%s/%s", folder, name) < room;
}

/* Only what belongs to the same options is gone on with. */
static void read_checkpoint(struct simulation *simulation) {
    struct simulation before;
    char path[4096];
    FILE *file = make_path(path, sizeof(path), "state") ? fopen(path, "rb") : NULL;
    if (file == NULL)
        return;
    if (fread(&before, sizeof(before), 1, file) == 1 &&
        before.temperature == simulation->temperature &&
        before.sweeps == simulation->sweeps && before.seed == simulation->seed)
        *simulation = before;
    fclose(file);
}

static bool write_checkpoint(const struct simulation *simulation) {
    char path[4096], fresh[4096];
    if (!make_path(path, sizeof(path), "state") ||
        !make_path(fresh, sizeof(fresh), "state.new"))
        return false;
    FILE *file = fopen(fresh, "wb");
    bool written = file != NULL && fwrite(simulation, sizeof(*simulation), 1, file) == 1;
    if (file != NULL && fclose(file) != 0)
        written = false;
    return written && rename(fresh, path) == 0;
}

/* ---- the program */

static bool read_options(int argc, char **argv, struct simulation *simulation) {
    static const struct option options[] = {{"sweeps", required_argument, NULL, 'n'},
                                            {"temperature", required_argument, NULL, 't'},
                                            {"seed", required_argument, NULL, 's'},
                                            {NULL, 0, NULL, 0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        char *end = optarg;
        errno = 0;
        if (option == 'n')
            simulation->sweeps = strtoll(optarg, &end, 10);
        else if (option == 't')
            simulation->temperature = strtod(optarg, &end);
        else if (option == 's')
            simulation->seed = strtoull(optarg, &end, 10);
        if (option == '?' || end == optarg || *end != '\0' || errno != 0)
            return false;
    }
    return optind == argc && simulation->sweeps > 0 && simulation->temperature > 0;
}

int main(int argc, char **argv) {
    static struct simulation simulation = {.temperature = 2.27, .sweeps = 10000};
    if (!read_options(argc, argv, &simulation)) {
        fprintf(stderr, "Usage: ising [--sweeps N] [--temperature T] [--seed N]\n");
        return 2;
    }
    signal(SIGUSR1, end_soon);
    signal(SIGTERM, end_soon);
    begin(&simulation);
    read_checkpoint(&simulation);
    while (simulation.done < simulation.sweeps) {
        sweep(&simulation);
        bool written = (told_to_end || simulation.done % WRITE_EVERY == 0) &&
                       write_checkpoint(&simulation);
        if (told_to_end)
            return written ? CONTINUE : 1;
    }
    printf("magnetization=%.9g\nenergy=%.9g\n",
           simulation.magnetization / (double)simulation.sweeps,
           simulation.energy / (double)simulation.sweeps);
    return 0;
}
