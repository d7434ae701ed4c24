/* A stochastic SIR epidemic, event by event.
 *
 *     susceptible --beta S I / N--> infected --gamma I--> removed
 *
 * Every contact and every recovery is drawn by itself, with Gillespie's direct method
 * ("Exact stochastic simulation of coupled chemical reactions", J. Phys. Chem. 81, 1977):
 * the time to the next event is exponential in the sum of both rates, and which of them
 * it is follows their shares. The same options and seed give the same epidemic, on any
 * machine. */
#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- random numbers */

static uint64_t state[4];

/* SplitMix64, from Steele, Lea and Flood, "Fast splittable pseudorandom number
 * generators", OOPSLA 2014: makes four good words of any seed, 0 included. */
static uint64_t split_mix(uint64_t *seed) {
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static void seed_random(uint64_t seed) {
    for (int i = 0; i < 4; i++)
        state[i] = split_mix(&seed);
}

static uint64_t rotate(uint64_t word, int bits) {
    return word << bits | word >> (64 - bits);
}

/* xoshiro256**, from Blackman and Vigna, "Scrambled linear pseudorandom number
 * generators", ACM Transactions on Mathematical Software 47, 2021. */
static uint64_t next_random(void) {
    uint64_t result = rotate(state[1] * 5, 7) * 9;
    uint64_t shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = rotate(state[3], 45);
    return result;
}

/* In [0, 1), from the upper 53 bits. */
static double uniform(void) {
    return (double)(next_random() >> 11) * 0x1p-53;
}

/* -log(1 - u) / rate; 1 - u is never 0. */
static double exponential(double rate) {
    return -log1p(-uniform()) / rate;
}

/* ---- the epidemic */

struct model {
    double beta;  /* contacts of an infected person, per unit of time */
    double gamma; /* 1 / the mean time for which a person is infected */
    uint64_t population;
    uint64_t infected; /* at the start; all others are susceptible */
};

struct epidemic {
    uint64_t susceptible;
    uint64_t infected;
    uint64_t peak_infected;
    double peak_time;
    double time;
    uint64_t events;
};

static void infect(struct epidemic *epidemic) {
    epidemic->susceptible--;
    epidemic->infected++;
    if (epidemic->infected > epidemic->peak_infected) {
        epidemic->peak_infected = epidemic->infected;
        epidemic->peak_time = epidemic->time;
    }
}

/* Runs until nobody is infected any more. */
static struct epidemic simulate(const struct model *model) {
    struct epidemic epidemic = {.susceptible = model->population - model->infected,
                                .infected = model->infected,
                                .peak_infected = model->infected};
    double per_contact = model->beta / (double)model->population;
    while (epidemic.infected > 0) {
        double infected = (double)epidemic.infected;
        double infection = per_contact * (double)epidemic.susceptible * infected;
        double total = infection + model->gamma * infected;
        epidemic.time += exponential(total);
        if (uniform() * total < infection)
            infect(&epidemic);
        else
            epidemic.infected--;
        epidemic.events++;
    }
    return epidemic;
}

static void print_epidemic(const struct model *model, const struct epidemic *epidemic) {
    uint64_t affected = model->population - epidemic->susceptible;
    printf("attack_rate=%.9g\n", (double)affected / (double)model->population);
    printf("peak_infected=%" PRIu64 "\n", epidemic->peak_infected);
    printf("peak_time=%.9g\n", epidemic->peak_time);
    printf("duration=%.9g\n", epidemic->time);
    printf("events=%" PRIu64 "\n", epidemic->events);
}

/* ---- options */

static struct model model = {
    .beta = 0.4, .gamma = 0.2, .population = 100000, .infected = 10};
static uint64_t seed = 1;

static const struct row {
    const char *name;
    double *number; /* where the value goes: one of the two */
    uint64_t *whole;
    double least;
    uint64_t most;
    const char *help;
} rows[] = {
    {"beta", &model.beta, NULL, 0, 1000, "contacts of an infected person per day"},
    {"gamma", &model.gamma, NULL, 1e-6, 1000, "1 / the days that an infection lasts"},
    {"population", NULL, &model.population, 1, 100000000, "people"},
    {"infected", NULL, &model.infected, 1, 100000000, "of them at the start"},
    {"seed", NULL, &seed, 0, UINT64_MAX, "of the random numbers"},
};

enum { ROWS = sizeof(rows) / sizeof(*rows), HELP = ROWS, BAD_USAGE = 2 };

__attribute__((format(printf, 1, 2), noreturn)) static void refuse(const char *format,
                                                                   ...) {
    va_list args;
    va_start(args, format);
    fputs("sir: ", stderr);
    vfprintf(stderr, format, args);
    fputs("; see sir --help\n", stderr);
    va_end(args);
    exit(BAD_USAGE);
}

/* A finite number within the bounds and nothing behind it. */
static bool read_number(const struct row *row, const char *text) {
    char *end = NULL;
    *row->number = strtod(text, &end);
    return end != text && *end == '\0' && *row->number >= row->least &&
           *row->number <= (double)row->most;
}

/* The same for a whole one; strtoull() alone would also take " 1" and "-1". */
static bool read_whole(const struct row *row, const char *text) {
    char *end = NULL;
    errno = 0;
    *row->whole = strtoull(text, &end, 10);
    return isdigit((unsigned char)*text) && *end == '\0' && errno == 0 &&
           (double)*row->whole >= row->least && *row->whole <= row->most;
}

static void read_value(const struct row *row, const char *text) {
    bool whole = row->whole != NULL;
    if (!(whole ? read_whole(row, text) : read_number(row, text)))
        refuse("--%s is '%.40s', but it must be a %s from %g to %" PRIu64, row->name,
               text, whole ? "whole number" : "number", row->least, row->most);
}

static void print_help(void) {
    puts("Usage: sir [OPTION]...\n"
         "Simulates an SIR epidemic and prints how it went, as key=value lines.\n");
    for (int i = 0; i < ROWS; i++) {
        printf("  --%-10s  %s (", rows[i].name, rows[i].help);
        if (rows[i].number != NULL)
            printf("%g)\n", *rows[i].number);
        else
            printf("%" PRIu64 ")\n", *rows[i].whole);
    }
    puts("\nThe attack rate is the share of the population that was ever infected, those "
         "of\n"
         "the start included.");
}

static int finish_output(void) {
    if (fflush(stdout) == 0 && !ferror(stdout))
        return EXIT_SUCCESS;
    perror("sir: cannot write the result");
    return EXIT_FAILURE;
}

/* Returns whether help was asked for. */
static bool read_options(int argc, char **argv) {
    struct option options[ROWS + 2] = {[HELP] = {"help", no_argument, NULL, HELP}};
    for (int i = 0; i < ROWS; i++)
        options[i] = (struct option){rows[i].name, required_argument, NULL, i};
    opterr = 0;
    for (;;) {
        int at = optind;
        int chosen = getopt_long(argc, argv, ":", options, NULL);
        if (chosen == -1)
            break;
        if (chosen == HELP)
            return true;
        if (chosen == ':')
            refuse("'%.40s' needs a value", argv[at]);
        if (chosen == '?')
            refuse("'%.40s' is no option", argv[at]);
        read_value(&rows[chosen], optarg);
    }
    if (optind < argc)
        refuse("'%.40s' is no option", argv[optind]);
    return false;
}

int main(int argc, char **argv) {
    if (read_options(argc, argv)) {
        print_help();
        return finish_output();
    }
    if (model.infected > model.population)
        refuse("--infected is %" PRIu64 ", more than the population of %" PRIu64,
               model.infected, model.population);
    seed_random(seed);
    struct epidemic epidemic = simulate(&model);
    print_epidemic(&model, &epidemic);
    return finish_output();
}
