/* What the command line says to nonsense: one sentence on stderr that tells what to do,
 * the right exit status, nothing on stdout, and nothing changed in Redis, down to the
 * last key.
 *
 * Most rows share one Redis in which a real worker has left some jobs: "done" (x = 1, 2,
 * 3), "odd" (task 1 failed), "nothing" (a command that does not exist), "nowhere" (a
 * folder that does not exist), and "later", which waits for its time. In a row, words are
 * put apart at blanks, and these stand for what cannot be written there:
 *
 *   %s a blank   %e nothing   %l 5,000 letters   %d the folder with the files */
#include "client/cli.h"
#include "common/cleanup.h"
#include "tests/support/peer.h"
#include "tests/support/process.h"
#include "tests/support/redis_server.h"
#include "tests/support/wait.h"

#include <check.h>
#include <ctype.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { LIMIT_MS = 60000, WORDS_MAX = 40, WORD_MAX = 5200, SAYS_MAX = 3, LONG = 5000 };

static struct test_server server;
static struct test_directory directory;
static struct test_path shoal;
static char redis_variable[160], state_variable[80];

static const char *const environment[] = {
    redis_variable,
    state_variable,
    "SHOAL_NAMESPACE",
    "SHOAL_REDIS_PASSWORD_FILE",
    "SHOAL_QUEUE",
    "SHOAL_QUEUES",
    "SHOAL_SLOTS",
    "SHOAL_WORKER_NAME",
    "SHOAL_LOG_LEVEL",
    "SHOAL_LOG_FORMAT",
    NULL,
};

struct answer {
    int exit;
    char *out, *err;
};

static void forget(struct answer *answer) {
    free(answer->out);
    free(answer->err);
}

/* ---- command lines */

struct command {
    const char *argv[WORDS_MAX];
    size_t n;
    char *text; /* what some of the words point to */
};

static void finish_command(struct command *command) {
    free(command->text);
}

/* Writes a word of a row and returns what is behind it. */
static char *unfold(char *at, const char *word, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (word[i] != '%' || i + 1 == len || strchr("seld", word[i + 1]) == NULL) {
            *at++ = word[i];
            continue;
        }
        switch (word[++i]) {
        case 's':
            *at++ = ' ';
            break;
        case 'l':
            memset(at, 'a', LONG);
            at += LONG;
            break;
        case 'd':
            at = stpcpy(at, directory.path);
            break;
        default: /* nothing */
            break;
        }
    }
    *at++ = '\0';
    return at;
}

/* `first` (or NULL) and the words of a row. */
static void make_command(struct command *command, const char *first, const char *words) {
    *command = (struct command){.argv = {shoal.text}, .n = 1};
    command->text = malloc((size_t)WORDS_MAX * WORD_MAX);
    ck_assert_ptr_nonnull(command->text);
    char *at = command->text;
    if (first != NULL)
        command->argv[command->n++] = first;
    for (const char *word = words; *word != '\0';) {
        size_t len = strcspn(word, " ");
        ck_assert_uint_lt(command->n, WORDS_MAX - 1);
        command->argv[command->n++] = at;
        at = unfold(at, word, len);
        word += len + (word[len] == ' ');
    }
}

static void run_command(const struct command *command, const char *input,
                        struct answer *answer) {
    const struct test_program program = {.argv = command->argv,
                                         .environment = environment,
                                         .directory = directory.path,
                                         .input = input};
    answer->exit = test_run(&program, LIMIT_MS, &answer->out, &answer->err);
}

/* ---- what must be true of each answer */

static void expect_sentence(const char *line, const struct answer *answer, int exit,
                            const char *const says[SAYS_MAX]) {
    const char *err = answer->err;
    size_t len = strlen(err);
    ck_assert_msg(answer->exit == exit, "%s: exit %d instead of %d: %s", line,
                  answer->exit, exit, err);
    ck_assert_msg(strncmp(err, "shoal: ", 7) == 0 && isgraph((unsigned char)err[7]),
                  "%s: no sentence: '%s'", line, err);
    ck_assert_msg(strchr(err, '\n') == err + len - 1, "%s: more than a line: %s", line,
                  err);
    for (size_t i = 0; i < SAYS_MAX && says[i] != NULL; i++)
        ck_assert_msg(strstr(err, says[i]) != NULL, "%s: no '%s' in: %s", line, says[i],
                      err);
}

/* Of everything that Redis holds. */
static char *digest(void) {
    struct event_base *base = event_base_new();
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    char *text = test_command_text(redis, "DEBUG DIGEST");
    shoal_redis_destroy(redis);
    event_base_free(base);
    return text;
}

static void expect_refused(const char *first, const char *words, const char *input,
                           int exit, const char *const says[SAYS_MAX]) {
    SHOAL_CLEANUP(finish_command) struct command command;
    SHOAL_CLEANUP(forget) struct answer answer;
    SHOAL_CLEANUP(shoal_cleanup_free) char *before = digest();
    make_command(&command, first, words);
    run_command(&command, input, &answer);
    expect_sentence(words, &answer, exit, says);
    ck_assert_msg(answer.out[0] == '\0', "%s: it printed %s", words, answer.out);
    SHOAL_CLEANUP(shoal_cleanup_free) char *after = digest();
    ck_assert_msg(strcmp(before, after) == 0, "%s: Redis is not as it was", words);
}

/* ---- the Redis that most rows share */

static void use_redis(const char *url) {
    snprintf(redis_variable, sizeof(redis_variable), "SHOAL_REDIS=%s", url);
}

static void set_up_folder(void) {
    shoal = test_built("shoal");
    test_directory_create(&directory);
    snprintf(state_variable, sizeof(state_variable), "SHOAL_STATE=%s/state",
             directory.path);
}

static void tear_down_folder(void) {
    test_directory_destroy(&directory);
}

static void expect_run(const char *words, int exit) {
    SHOAL_CLEANUP(finish_command) struct command command;
    SHOAL_CLEANUP(forget) struct answer answer;
    make_command(&command, NULL, words);
    run_command(&command, NULL, &answer);
    ck_assert_msg(answer.exit == exit, "%s: exit %d: %s", words, answer.exit, answer.err);
}

static void start_worker(struct test_process *worker) {
    const struct test_path path = test_built("shoal-worker");
    const char *const argv[] = {path.text, "--slots", "1", "--name", "here", NULL};
    const struct test_program program = {.argv = argv, .environment = environment};
    test_process_start(worker, &program);
}

static void run_jobs(void) {
    struct test_process worker;
    start_worker(&worker);
    expect_run("run --name done -p x=1:3 -- echo y={x}", 0);
    expect_run("run --name odd -p x=1:3 -- test {x} -ne 2", 1);
    expect_run("run --name nothing -- no-such-program", 1);
    expect_run("run --name nowhere --cwd /no/such/folder -- true", 1);
    test_process_signal(&worker, SIGTERM);
    ck_assert_int_eq(test_process_wait(&worker, LIMIT_MS), 0);
    test_process_finish(&worker);
    expect_run("submit --name later --delay 1d -p x=1:3 -- true", 0);
}

static void write_files(void);

static void set_up(void) {
    set_up_folder();
    write_files();
    test_server_start(&server, NULL);
    use_redis(server.url);
    run_jobs();
}

static void tear_down(void) {
    test_server_destroy(&server);
    tear_down_folder();
}

/* ---- submissions, each as 'submit', 'run' and for a look */

struct row {
    const char *words;
    int exit;
    const char *says[SAYS_MAX];
};

static const struct row plans[] = {
    {"-p x= -- true", 2, {"'x='", "no values", "x=1:10"}},
    {"-p x=1: -- true", 2, {"'1:'", "a number is missing", "FROM:TO:STEP"}},
    {"-p x=1:10:-1 -- true", 2, {"'1:10:-1'", "never arrives", "FROM:TO:STEP"}},
    {"-p x=5:1 -- true", 2, {"'5:1'", "negative step", "FROM:TO:STEP"}},
    {"-p x=1:5:0 -- true", 2, {"'1:5:0'", "a step of 0", "FROM:TO:STEP"}},
    {"-p x=1:2:3:4 -- true", 2, {"'1:2:3:4'", "more than three parts"}},
    {"-p x=1:1e99 -- true", 2, {"'1:1e99'", "18 digits"}},
    {"-p x=a,,b -- true", 2, {"'a,,b'", "empty value", "place 2"}},
    {"-p x=lin:0:1 -- true", 2, {"'lin:0:1'", "lin:FROM:TO:COUNT"}},
    {"-p x=log:0:1:5 -- true", 2, {"'log:0:1:5'", "above 0"}},
    {"-p x -- true", 2, {"'x'", "NAME=VALUES", "x=1:10"}},
    {"-p =1 -- true", 2, {"no parameter name", "letter"}},
    {"-p %e -- true", 2, {"NAME=VALUES"}},
    {"-p 1x=1 -- true", 2, {"'1x'", "no parameter name"}},
    {"-p a%sb=1 -- true", 2, {"'a b'", "no parameter name"}},
    {"-p {x}=1 -- true", 2, {"'{x}'", "no parameter name"}},
    {"-p seed=1 -- true", 2, {"'seed'", "choose another"}},
    {"-p x=\xff -- true", 2, {"no UTF-8"}},
    {"-p \xff=1 -- true", 2, {"no UTF-8"}},
    {"-p %l -- true", 2, {"NAME=VALUES", "x=1:10"}},
    {"-p %l=1 -- true", 2, {"no parameter name", "60 characters"}},
    {"-p x=1:2 -p x=3 -- true", 2, {"'x'", "twice"}},
    {"-p x=1:2 -p y=1:3 --zip -- true", 2, {"--zip", "'x' has 2", "'y' has 3"}},
    {"-p x=1:2 -- true {typo}", 2, {"{typo}", "known: x,", "{{typo}}"}},
    {"-p x=1:2 -- true {%l}", 2, {"known: x,", "is meant"}},
    {"-p x=1:9007199254740993 -- true", 2, {"2^53", "smaller or split"}},
    {"-p x=1:9007199254740992 --reps 2 -- true", 2, {"2^53", "smaller or split"}},
    {"-p x=1:1e9 -p y=1:1e9 -p z=1:1e9 -- true", 2, {"2^53", "smaller or split"}},
    {"-p x=@%d/none -- true", 2, {"cannot read", "/none'", "No such file"}},
    {"-p x=@ -- true", 2, {"cannot read", "No such file"}},
    {"-p x=@%d -- true", 2, {"cannot read", "directory"}},
    {"-p x=@%d/empty.txt -- true", 2, {"empty.txt'", "no values", "empty"}},
    {"-p x=@%d/gap.txt -- true", 2, {"gap.txt'", "empty value", "place 2"}},
    {"-p x=@%d/nul.txt -- true", 2, {"nul.txt'", "no UTF-8"}},
    {"-p x=@%d/latin1.txt -- true", 2, {"latin1.txt'", "no UTF-8"}},
    {"-p x=@/dev/zero -- true", 2, {"1048576 bytes", "use --from"}},
    {"-p x=@%l -- true", 2, {"File name too long"}},
    {"-- true \xff", 2, {"the command", "no UTF-8"}},
    {"-- %e", 2, {"no command", "behind '--'"}},
    {"-e NAME -- true", 2, {"'NAME'", "NAME=VALUE"}},
    {"-e =x -- true", 2, {"'=x'", "NAME=VALUE"}},
    {"-e %l -- true", 2, {"NAME=VALUE"}},
    {"-e A=\xff -- true", 2, {"environment", "no UTF-8"}},
    {"--cwd /\xff -- true", 2, {"directory", "no UTF-8"}},
    {"--max-fails 0 -- true", 2, {"--max-fails '0'", "the least is 1"}},
    {"--max-fails -1 -- true", 2, {"--max-fails '-1'", "the least is 1"}},
    {"--max-fails x -- true", 2, {"--max-fails 'x'", "whole number"}},
    {"--max-fails %e -- true", 2, {"--max-fails ''", "whole number"}},
    {"--max-fails 0% -- true", 2, {"--max-fails '0%'", "above 0%"}},
    {"--max-fails 101% -- true", 2, {"--max-fails '101%'", "at most 100%"}},
    {"--max-fails % -- true", 2, {"--max-fails '%'", "at most 100%"}},
    {"--max-fails x% -- true", 2, {"--max-fails 'x%'", "at most 100%"}},
    {"--max-fails %l% -- true", 2, {"at most 100%"}},
    {"--max-fails 00000000000000000000000000000001x -- true", 2, {"whole number"}},
    {"--max-fails 9007199254740993 -- true", 2, {"the most is 9007199254740992"}},
    {"--from %d/wide.csv -p x=1 -- true", 2, {"--from and -p", "only one of them"}},
    {"--from %d/none -- true {}", 2, {"cannot read", "/none'", "No such file"}},
    {"--from %d -- true {}", 2, {"cannot read", "directory"}},
    {"--from %l -- true {}", 2, {"cannot read", "File name too long"}},
    {"--from /dev/null -- true {}", 2, {"/dev/null", "no rows", "nothing to run"}},
    {"--from /dev/zero -- true {}", 2, {"/dev/zero line 1", "NUL"}},
    {"--from - -- true {}", 2, {"stdin", "no rows", "nothing to run"}},
    {"--from %d/lines.txt -- true {x}", 2, {"{x}", "known: {},", "{{x}}"}},
    {"--from %d/good.csv -- true {z}", 2, {"{z}", "known: r, c,", "{{z}}"}},
    {"--from %d/good.jsonl -- true {z}", 2, {"{z}", "known: r,", "{{z}}"}},
    {"--from %d/lines.txt --reps 9007199254740992 -- true {}", 2, {"4 GiB", "use -p"}},
    {"--from %d/lines.txt --reps 400000000 -- true {}", 2, {"4 GiB", "400000000"}},
};

static const char *const submitters[] = {"submit", "run", "submit --dry-run"};

static void expect_plan_refused(const char *words, const char *input, int exit,
                                const char *const says[SAYS_MAX]) {
    for (size_t i = 0; i < SHOAL_COUNT(submitters); i++) {
        char line[512];
        snprintf(line, sizeof(line), "%s %s", submitters[i], words);
        expect_refused(NULL, line, input, exit, says);
    }
}

START_TEST(nonsense_is_not_submitted) {
    const struct row *row = &plans[_i];
    expect_plan_refused(row->words, NULL, row->exit, row->says);
}
END_TEST

START_TEST(a_command_has_4096_words_at_most) {
    SHOAL_CLEANUP(forget) struct answer answer;
    static const char *argv[3 + 4097 + 1] = {"", "submit", "--"};
    argv[0] = shoal.text;
    for (size_t i = 3; i < SHOAL_COUNT(argv) - 1; i++)
        argv[i] = "a";
    SHOAL_CLEANUP(shoal_cleanup_free) char *before = digest();
    answer.exit =
        test_run(&(struct test_program){.argv = argv, .environment = environment},
                 LIMIT_MS, &answer.out, &answer.err);
    expect_sentence("words", &answer, 2, (const char *const[SAYS_MAX]){"4096 words"});
    SHOAL_CLEANUP(shoal_cleanup_free) char *after = digest();
    ck_assert_str_eq(before, after);
}
END_TEST

/* ---- files of tasks */

#define LONG_ROW 70000 /* bytes; a length of 0 stands for the text's */

static const struct file {
    const char *name;
    const char *bytes;
    size_t len;
    const char *says[SAYS_MAX - 1]; /* besides the file's name; none: it is good */
} files[] = {
    {"lines.txt", "a\nb\n", 0, {NULL}},
    {"good.csv", "r,c\n1,2\n", 0, {NULL}},
    {"good.jsonl", "{\"r\": 1}\n", 0, {NULL}},
    {"empty.txt", "", 0, {"no rows", "nothing to run"}},
    {"blank.txt", "\n \n\t\r\n", 0, {"no rows", "nothing to run"}},
    {"gap.txt", "a\n\nb\n", 0, {NULL}},
    {"nul.txt", "a\nb\0c\n", 6, {"line 2", "NUL"}},
    {"latin1.txt", "a\n\xe4\n", 0, {"line 2", "no UTF-8"}},
    {"cut.txt", "a\nb\n\xc3", 0, {"line 3", "no UTF-8"}},
    {"long.txt", NULL, LONG_ROW, {"line 1", "65536 bytes"}},
    {"empty.csv", "", 0, {"no rows", "nothing to run"}},
    {"header.csv", "r,c\n", 0, {"no rows", "nothing to run"}},
    {"short.csv", "r,c\n1,2\n3\n", 0, {"line 3", "1 fields, the header has 2"}},
    {"wide.csv", "r,c\n1,2,3\n", 0, {"line 2", "3 fields, the header has 2"}},
    {"twice.csv", "r,r\n1,2\n", 0, {"line 1", "two columns 'r'"}},
    {"digit.csv", "r,1c\n1,2\n", 0, {"line 1", "'1c'"}},
    {"blank.csv", "r,\n1,2\n", 0, {"line 1", "''"}},
    {"space.csv", "r, c\n1,2\n", 0, {"line 1", "' c'"}},
    {"taken.csv", "r,seed\n1,2\n", 0, {"line 1", "call it otherwise"}},
    {"nul.csv", "r\n1\n\0\n", 6, {"line 3", "NUL"}},
    {"nulhead.csv", "r\0\n1\n", 5, {"line 1", "NUL"}},
    {"nulquote.csv", "r\n\"\0\"\n", 6, {"line 2", "NUL"}},
    {"latin1.csv", "r\n\xe4\n", 0, {"line 2", "no UTF-8"}},
    {"quote.csv", "r\n\"1\n2\n", 0, {"line 2", "never closed"}},
    {"behind.csv", "r\n\"1\"2\n", 0, {"line 2", "behind a closing quote"}},
    {"late.csv", "r\n\"1\n2\"\n\xe4\n", 0, {"line 4", "no UTF-8"}},
    {"long.csv", NULL, LONG_ROW, {"line 1", "65536 bytes"}},
    {"short.tsv", "r\tc\n1\n", 0, {"line 2", "1 fields, the header has 2"}},
    {"cut.jsonl", "{\"r\": 1}\n{\"r\":\n", 0, {"line 2", "no JSON"}},
    {"text.jsonl", "{\"r\": 1}\nhello\n", 0, {"line 2", "no JSON"}},
    {"two.jsonl", "{\"r\": 1} {\"r\": 2}\n", 0, {"line 1", "no JSON"}},
    {"list.jsonl", "[1]\n", 0, {"line 1", "no JSON object"}},
    {"nothing.jsonl", "{}\n", 0, {"line 1", "no parameter"}},
    {"nested.jsonl", "{\"r\": {\"c\": 1}}\n", 0, {"line 1", "neither text nor number"}},
    {"array.jsonl", "{\"r\": 1}\n{\"r\": [1]}\n", 0, {"line 2", "neither text nor"}},
    {"missing.jsonl", "{\"r\": 1}\n{\"c\": 1}\n", 0, {"line 2", "has no 'r'"}},
    {"twice.jsonl", "{\"r\": 1, \"r\": 2}\n", 0, {"line 1", "duplicate"}},
    {"name.jsonl", "{\"a b\": 1}\n", 0, {"line 1", "'a b'"}},
    {"later.jsonl", "{\"r\": 1}\n{\"r\": 1, \"a b\": 2}\n", 0, {"line 2", "'a b'"}},
    {"taken.jsonl", "{\"rep\": 1}\n", 0, {"line 1", "call it otherwise"}},
    {"latetaken.jsonl",
     "{\"r\": 1}\n{\"r\": 1, \"rep\": 2}\n",
     0,
     {"line 2", "call it otherwise"}},
    {"nul.jsonl", "{\"r\": \"\\u0000\"}\n", 0, {"line 1", "\\u0000"}},
    {"rawnul.jsonl", "{\"r\": \"\0\"}\n", 11, {"line 1", "NUL"}},
    {"latin1.jsonl", "{\"r\": \"\xe4\"}\n", 0, {"line 1", "no UTF-8"}},
    {"surrogate.jsonl", "{\"r\": \"\\ud800\"}\n", 0, {"line 1", "no JSON"}},
    {"huge.jsonl", "{\"r\": 99999999999999999999}\n", 0, {"line 1", "no JSON"}},
    {"infinite.jsonl", "{\"r\": 1e999}\n", 0, {"line 1", "no JSON"}},
};

static void write_files(void) {
    for (size_t i = 0; i < SHOAL_COUNT(files); i++) {
        char path[64];
        const struct file *file = &files[i];
        size_t len = file->len == 0 ? strlen(file->bytes) : file->len;
        snprintf(path, sizeof(path), "%s/%s", directory.path, file->name);
        SHOAL_CLEANUP(shoal_cleanup_file) FILE *out = fopen(path, "we");
        ck_assert_ptr_nonnull(out);
        for (size_t at = 0; at < len; at++)
            fputc(file->bytes == NULL ? 'a' : file->bytes[at], out);
    }
}

START_TEST(a_file_that_is_wrong_somewhere_is_not_submitted) {
    const struct file *file = &files[_i];
    char words[80];
    if (file->says[0] == NULL)
        return;
    snprintf(words, sizeof(words), "--from %s -- true", file->name);
    expect_plan_refused(
        words, NULL, 2,
        (const char *const[SAYS_MAX]){file->name, file->says[0], file->says[1]});
}
END_TEST

START_TEST(lines_of_stdin_are_looked_at_as_well) {
    expect_plan_refused("--from - -- true {}", "a\n\xff\n", 2,
                        (const char *const[SAYS_MAX]){"stdin line 2", "no UTF-8"});
}
END_TEST

/* ---- all other commands */

static const struct row lines[] = {
    {"bogus", 2, {"'bogus'", "no command", "shoal help"}},
    {"stat", 2, {"'stat'", "no command", "did you mean 'status'"}},
    {"%e", 2, {"''", "no command", "shoal help"}},
    {"%l", 2, {"no command", "shoal help"}},
    {"--bogus", 2, {"'--bogus'", "shoal --help"}},
    {"--redis", 2, {"--redis needs a value", "shoal --help"}},
    {"help bogus", 2, {"'bogus'", "no command", "shoal help"}},
    {"submit --re 3 -- true", 2, {"--reps", "--retries", "shoal submit --help"}},
    {"submit -Z -- true", 2, {"'-Z'", "shoal submit --help"}},
    {"submit --%l -- true", 2, {"no option", "shoal submit --help"}},
    {"submit --rep 3 --bogus", 2, {"'--bogus'", "shoal submit --help"}},
    {"submit --retires 3 -- true", 2, {"'--retires'", "'--retries' is meant"}},
    {"submit", 2, {"there is nothing to run", "--plugin"}},
    {"submit -p x=1 --", 2, {"there is nothing to run", "--plugin"}},
    {"run --", 2, {"there is nothing to run", "--plugin"}},
    {"completion tcsh", 2, {"'tcsh'", "bash, fish or zsh"}},
    {"completion %l", 2, {"bash, fish or zsh"}},
    {"list %l", 2, {"too much", "usage: shoal list"}},

    {"status none", 2, {"no job 'none'", "shoal list"}},
    {"status done none", 2, {"no job 'none'", "shoal list"}},
    {"wait none", 2, {"no job 'none'", "shoal list"}},
    {"wait --timeout 0s later", 4, {"has not ended", "waiting"}},
    {"results none", 2, {"no job 'none'", "shoal list"}},
    {"cancel none", 2, {"no job 'none'", "shoal list"}},
    {"retry none", 2, {"no job 'none'", "shoal list"}},
    {"forget none", 2, {"no job 'none'", "shoal list"}},
    {"forget later", 2, {"is waiting", "cancel it first"}},
    {"replay none 0", 2, {"no job 'none'", "shoal list"}},
    {"show none 0", 2, {"no job 'none'", "shoal list"}},
    {"show ilou 0", 2, {"no job 'ilou'", "shoal list"}}, /* letters that no id has */
    {"show a%sb 0", 2, {"'a b'", "no job id", "shoal list"}},
    {"show {x} 0", 2, {"'{x}'", "no job id", "shoal list"}},
    {"show %e 0", 2, {"''", "no job id", "shoal list"}},
    {"show %l 0", 2, {"no job id", "shoal list"}},
    {"show \xff 0", 2, {"no job id", "shoal list"}},
    {"show done 3", 2, {"no task 3", "0 to 2"}},
    {"show done -1", 2, {"'-1'", "shoal show --help"}},
    {"show done -- -1", 2, {"'-1'", "the least is 0"}},
    {"show done x", 2, {"'x'", "whole number"}},
    {"show done 1.0", 2, {"'1.0'", "whole number"}},
    {"show done %e", 2, {"''", "whole number"}},
    {"show done %l", 2, {"whole number"}},
    {"show done 9007199254740992", 2, {"no task 9007199254740992", "0 to 2"}},
    {"show done 99999999999999999999", 2, {"no task 99999999999999999999", "0 to 2"}},
    {"replay done 3", 2, {"no task 3", "0 to 2"}},
    {"replay --print done 3", 2, {"no task 3", "0 to 2"}},
    {"replay done x", 2, {"'x'", "whole number"}},

    {"results --by z done", 2, {"no column 'z'", "there are: task, x,"}},
    {"results --by x,z done", 2, {"no column 'z'", "there are: task, x,"}},
    {"results --by %l done", 2, {"no column", "there are: task, x,"}},
    {"results --by %e done", 2, {"empty", "--by beta,gamma"}},
    {"results --by x, done", 2, {"empty", "--by beta,gamma"}},
    {"results --by x,x done", 2, {"'x'", "twice"}},
    {"results --by x --sort done", 2, {"--by", "--sort"}},
    {"results --by x --take done", 2, {"--by", "--take"}},
    {"results --take --failed done", 2, {"--take", "--failed", "not printed"}},
    {"results -o %d done", 2, {"cannot write", "directory"}},
    {"results -o %d/no/file done", 2, {"cannot write", "/no/file'", "No such file"}},
    {"results -o %l done", 2, {"cannot write", "File name too long"}},
    {"results -o /dev/full done", 1, {"cannot be written", "No space left"}},
    {"results -f csv -o /dev/full done", 1, {"cannot be written", "No space left"}},
    {"run -o %d -- true", 2, {"cannot write", "directory"}},
    {"run -o %d/no/file -- true", 2, {"cannot write", "/no/file'", "No such file"}},
    {"run -o %l -- true", 2, {"cannot write", "File name too long"}},

    {"pause a%sb", 2, {"'a b'", "no queue name", "letters"}},
    {"pause {x}", 2, {"'{x}'", "no queue name", "letters"}},
    {"pause %e", 2, {"''", "no queue name", "letters"}},
    {"pause %l", 2, {"no queue name", "letters"}},
    {"resume a%sb", 2, {"'a b'", "no queue name", "letters"}},
    {"queues a%sb", 2, {"'a b'", "no queue name", "letters"}},
    {"queues %l", 2, {"no queue name", "letters"}},
    {"queues none", 2, {"no queue 'none'", "shoal queues"}},
    {"queues --order fifo", 2, {"--order", "name of a queue"}},
    {"drain none", 2, {"no worker 'none'", "shoal workers"}},
    {"drain a%sb", 2, {"no worker 'a b'", "shoal workers"}},
    {"drain %e", 2, {"no worker ''", "shoal workers"}},
    {"drain %l", 2, {"no worker", "shoal workers"}},

    {"list --redis %e", 2, {"''", "redis://HOST:PORT/DB"}},
    {"list --redis %l", 2, {"redis://HOST:PORT/DB"}},
    {"list --redis http://host", 2, {"'http://host'", "redis://HOST:PORT/DB"}},
    {"list --redis redis://", 2, {"host", "redis://HOST:PORT/DB"}},
    {"list --redis redis://host:x", 2, {"'x'", "1 to 65535"}},
    {"list --redis redis://host:0", 2, {"'0'", "1 to 65535"}},
    {"list --redis redis://host:65536", 2, {"'65536'", "1 to 65535"}},
    {"list --redis redis://host/x", 2, {"'/x'", "such as /0"}},
    {"list --redis unix:", 2, {"unix:PATH"}},
    {"list --redis unix:%l", 2, {"unix:PATH"}},
    {"list --redis-password-file %d/none", 2, {"/none'", "No such file"}},
    {"list --redis-password-file %d/lines.txt", 2, {"chmod 600"}},
};

START_TEST(nonsense_is_told_what_to_do) {
    expect_refused(NULL, lines[_i].words, NULL, lines[_i].exit, lines[_i].says);
}
END_TEST

static const struct {
    const char *assignment;
    const char *says[SAYS_MAX];
} variables[] = {
    {"SHOAL_NAMESPACE=a b", {"SHOAL_NAMESPACE 'a b'", "not a name", "shoal --help"}},
    {"SHOAL_NAMESPACE={x}", {"SHOAL_NAMESPACE '{x}'", "not a name", "shoal --help"}},
    {"SHOAL_REDIS=nonsense", {"'nonsense'", "redis://HOST:PORT/DB"}},
    {"SHOAL_REDIS_PASSWORD_FILE=lines.txt", {"'lines.txt'", "chmod 600"}},
};

START_TEST(variables_that_make_no_sense_are_named) {
    SHOAL_CLEANUP(finish_command) struct command command;
    SHOAL_CLEANUP(forget) struct answer answer;
    const char *const odd[] = {redis_variable, state_variable, variables[_i].assignment,
                               NULL};
    make_command(&command, NULL, "list");
    const struct test_program program = {
        .argv = command.argv, .environment = odd, .directory = directory.path};
    answer.exit = test_run(&program, LIMIT_MS, &answer.out, &answer.err);
    expect_sentence(odd[2], &answer, 2, variables[_i].says);
}
END_TEST

/* ---- every option of every command, by the tables that it is parsed with */

typedef void (*option_fn)(const struct shoal_cli_command *command,
                          const struct shoal_option *option);

static void each_row(const struct shoal_cli_command *command,
                     const struct shoal_option *table, option_fn visit) {
    for (; table->name != NULL; table++)
        visit(command, table);
}

static bool has_table(const struct shoal_cli_command *command,
                      const struct shoal_option *wanted) {
    const struct shoal_option *const *table = command->tables;
    while (table != NULL && *table != NULL && *table != wanted)
        table++;
    return table != NULL && *table == wanted;
}

/* Each option of command `n`; what it shares with an earlier one was visited there. */
static void each_option(int n, option_fn visit) {
    const struct shoal_cli_command *command = shoal_cli_commands[n];
    const struct shoal_option *const *table = command->tables;
    for (; table != NULL && *table != NULL; table++) {
        bool shared = false;
        for (int i = 0; i < n; i++)
            shared = shared || has_table(shoal_cli_commands[i], *table);
        if (!shared)
            each_row(command, *table, visit);
    }
    if (n == 0)
        each_row(command, shoal_cli_options, visit);
}

/* COMMAND --OPTION=VALUE -- true */
static void expect_value_refused(const struct shoal_cli_command *command,
                                 const struct shoal_option *option, const char *value,
                                 const char *says) {
    char words[256], name[80], help[80];
    snprintf(words, sizeof(words), "--%s=%s -- true", option->name, value);
    snprintf(name, sizeof(name), "--%s ", option->name);
    snprintf(help, sizeof(help), "shoal %s --help", command->name);
    expect_refused(command->name, words, NULL, 2,
                   (const char *const[SAYS_MAX]){name, says, help});
}

static int64_t bound_of(const struct shoal_option *option, const char *text) {
    int64_t value = 0;
    enum shoal_status status =
        option->type == SHOAL_OPTION_INTEGER
            ? shoal_integer_parse(text, "", INT64_MIN, INT64_MAX, &value, NULL)
        : option->type == SHOAL_OPTION_SIZE ? shoal_size_parse(text, "", &value, NULL)
        : option->type == SHOAL_OPTION_THOUSANDTHS
            ? shoal_thousandths_parse(text, "", &value, NULL)
            : shoal_duration_parse(text, "", &value, NULL);
    ck_assert_int_eq(status, SHOAL_OK);
    return value;
}

static void expect_bounds(const struct shoal_cli_command *command,
                          const struct shoal_option *option) {
    const char *unit = option->type == SHOAL_OPTION_DURATION ? "ms" : "";
    int64_t least = bound_of(option, option->least);
    uint64_t most = (uint64_t)bound_of(option, option->most);
    char value[64];
    snprintf(value, sizeof(value), "%" PRId64 "%s", least - 1, unit);
    expect_value_refused(
        command, option, value,
        least > 0 || option->type == SHOAL_OPTION_INTEGER ? "the least is" : "such as");
    snprintf(value, sizeof(value), "%" PRIu64 "%s", most + 1, unit);
    expect_value_refused(command, option, value, "too large, the most is");
    expect_value_refused(command, option, "99999999999999999999", "too l");
    expect_value_refused(command, option, "x", "is not a");
    expect_value_refused(command, option, "%e", "is not a");
    expect_value_refused(command, option, "1x", "is not a");
    expect_value_refused(command, option, "0x10", "is not a");
    expect_value_refused(command, option, "%s1", "is not a");
}

static void expect_name(const struct shoal_cli_command *command,
                        const struct shoal_option *option) {
    static const char *const names[] = {
        "%e",
        "a%sb",
        "{x}",
        "a:b",
        "-a",
        ".a",
        "\xc3\xa4",
        "%l",
        "a123456789012345678901234567890123456789012345678901234567890"};
    for (size_t i = 0; i < SHOAL_COUNT(names); i++)
        expect_value_refused(command, option, names[i], "is not a name: 1 to 60 letters");
}

static void expect_no_value(const struct shoal_cli_command *command,
                            const struct shoal_option *option) {
    char words[80], help[80];
    snprintf(words, sizeof(words), "--%s", option->name);
    snprintf(help, sizeof(help), "shoal %s --help", command->name);
    expect_refused(command->name, words, NULL, 2,
                   (const char *const[SAYS_MAX]){words, "needs a value", help});
}

static void expect_option(const struct shoal_cli_command *command,
                          const struct shoal_option *option) {
    if (option->type == SHOAL_OPTION_FLAG)
        expect_value_refused(command, option, "3", "takes no value");
    else
        expect_no_value(command, option);
    if (option->type == SHOAL_OPTION_NAME)
        expect_name(command, option);
    else if (option->type == SHOAL_OPTION_CHOICE)
        expect_value_refused(command, option, "neither", "is not one of");
    else if (option->most != NULL)
        expect_bounds(command, option);
}

START_TEST(every_option_is_looked_at) {
    each_option(_i, expect_option);
}
END_TEST

START_TEST(an_option_that_no_command_has_is_not_passed_over) {
    const char *name = shoal_cli_commands[_i]->name;
    char help[80];
    if (strcmp(name, "worker") == 0)
        return; /* its other options are shoal-worker's, see join.c */
    snprintf(help, sizeof(help), "shoal %s --help", name);
    expect_refused(name, "--no-such-option", NULL, 2,
                   (const char *const[SAYS_MAX]){"'--no-such-option'", help});
    expect_refused(name, "-Z", NULL, 2, (const char *const[SAYS_MAX]){"'-Z'", help});
}
END_TEST

START_TEST(a_command_takes_so_many_words_and_no_others) {
    const struct shoal_cli_command *command = shoal_cli_commands[_i];
    char usage[80], words[64] = "";
    snprintf(usage, sizeof(usage), "usage: shoal %s", command->name);
    if (command->words_least > 0)
        expect_refused(command->name, "", NULL, 2, (const char *const[SAYS_MAX]){usage});
    if (command->words_most < 0)
        return;
    for (int i = 0; i <= command->words_most; i++)
        strcat(words, i == command->words_most ? "more" : "x ");
    expect_refused(command->name, words, NULL, 2,
                   (const char *const[SAYS_MAX]){"'more' is too much", usage});
}
END_TEST

/* ---- output that goes nowhere */

static const struct {
    const char *words;
    int exit;
} printers[] = {
    {"list", 1},
    {"list --json", 1},
    {"status done", 1},
    {"queues", 1},
    {"results done", 1},
    {"results -f csv done", 1},
    {"results --sort done", 1},
    {"results --by x done", 1},
    {"show done 0", 1},
    {"show --json done 0", 1},
    {"replay --print done 0", 1},
    {"audit", 1},
    {"audit --json", 1},
    {"completion bash", 1},
    {"completion fish", 1},
    {"completion zsh", 1},
    {"help", 1},
    {"help run", 1},
    {"--help", 1},
    {"list --help", 1},
    {"--version", 1},
    {"submit --dry-run -p x=1:3 -- true {x}", 1},
};

START_TEST(a_full_disk_is_told) {
    SHOAL_CLEANUP(finish_command) struct command command;
    SHOAL_CLEANUP(forget) struct answer answer;
    const char *argv[WORDS_MAX + 4] = {"sh", "-c", "exec \"$@\" > /dev/full", "sh"};
    make_command(&command, NULL, printers[_i].words);
    memcpy(argv + 4, command.argv, sizeof(command.argv));
    answer.exit =
        test_run(&(struct test_program){.argv = argv, .environment = environment},
                 LIMIT_MS, &answer.out, &answer.err);
    expect_sentence(printers[_i].words, &answer, printers[_i].exit,
                    (const char *const[SAYS_MAX]){"cannot be written", "No space left"});
}
END_TEST

START_TEST(a_reader_that_has_seen_enough_is_no_error) {
    SHOAL_CLEANUP(finish_command) struct command command;
    SHOAL_CLEANUP(forget) struct answer answer;
    const char *argv[WORDS_MAX + 4] = {"sh", "-c", "\"$@\" | true", "sh"};
    make_command(&command, NULL, printers[_i].words);
    memcpy(argv + 4, command.argv, sizeof(command.argv));
    answer.exit =
        test_run(&(struct test_program){.argv = argv, .environment = environment},
                 LIMIT_MS, &answer.out, &answer.err);
    ck_assert_str_eq(answer.err, "");
}
END_TEST

/* ---- what a worker could not start */

static const struct {
    const char *job;
    const char *says;
} spawns[] = {
    {"nothing", "there is no program 'no-such-program'"},
    {"nowhere", "cannot enter the working directory '/no/such/folder'"},
};

START_TEST(what_cannot_be_started_says_why_and_where) {
    SHOAL_CLEANUP(finish_command) struct command command;
    SHOAL_CLEANUP(forget) struct answer answer;
    char words[64];
    snprintf(words, sizeof(words), "show --json %s 0", spawns[_i].job);
    make_command(&command, NULL, words);
    run_command(&command, NULL, &answer);
    json_t *task = json_loads(answer.out, 0, NULL);
    ck_assert_msg(answer.exit == 0 && task != NULL, "%s%s", answer.out, answer.err);
    const json_t *attempt = json_array_get(json_object_get(task, "attempts"), 0);
    const json_t *row = json_object_get(task, "row");
    ck_assert_str_eq(json_string_value(json_object_get(row, "status")), "failed");
    ck_assert_str_eq(json_string_value(json_object_get(row, "reason")), "spawn");
    ck_assert_str_eq(json_string_value(json_object_get(attempt, "reason")), "spawn");
    ck_assert_str_eq(json_string_value(json_object_get(attempt, "worker")), "here");
    const char *why = json_string_value(json_object_get(attempt, "stderr"));
    ck_assert_msg(strstr(why, spawns[_i].says) != NULL, "%s", why);
    json_decref(task);
}
END_TEST

/* ---- a Redis that is not there, or cannot be used */

/* One of each command that needs Redis, but doctor, whose task it is to look at what is
 * wrong. */
static const char *const users[] = {
    "submit -p x=1:3 -- true",
    "submit --from lines.txt -- true {}",
    "run -- true",
    "wait job",
    "status",
    "status job",
    "list",
    "results job",
    "show job 0",
    "replay job 0",
    "cancel job",
    "retry job",
    "forget job",
    "pause default",
    "resume default",
    "queues",
    "queues --order fifo default",
    "workers",
    "drain here",
    "audit",
};

static void expect_unusable(const char *words, const char *const says[SAYS_MAX]) {
    SHOAL_CLEANUP(finish_command) struct command command;
    SHOAL_CLEANUP(forget) struct answer answer;
    make_command(&command, NULL, words);
    run_command(&command, NULL, &answer);
    expect_sentence(words, &answer, 3, says);
    ck_assert_msg(answer.out[0] == '\0', "%s: it printed %s", words, answer.out);
}

static void expect_all_unusable(const char *const says[SAYS_MAX]) {
    for (size_t i = 0; i < SHOAL_COUNT(users); i++)
        expect_unusable(users[i], says);
}

static void set_up_files(void) {
    set_up_folder();
    write_files();
}

static const struct {
    const char *path; /* behind "unix:" and the folder */
    const char *says[SAYS_MAX];
} absent[] = {
    {"/none", {"cannot connect", "No such file", "is redis-server running"}},
    {"/lines.txt", {"cannot connect", "is redis-server running"}},
};

START_TEST(a_redis_that_is_not_there_is_asked_for) {
    char url[128];
    snprintf(url, sizeof(url), "unix:%s%s", directory.path, absent[_i].path);
    use_redis(url);
    expect_all_unusable(absent[_i].says);
    expect_unusable("doctor", absent[_i].says);
}
END_TEST

static const struct {
    const char *args[5]; /* of redis-server */
    const char *says[SAYS_MAX];
} unfit[] = {
    {{"--requirepass", "secret"},
     {"requires a password", "in the URL or by a password file"}},
    {{"--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru"},
     {"allkeys-lru", "evict", "maxmemory-policy noeviction"}},
    {{"--replicaof", "127.0.0.1 1"}, {"read-only replica", "its primary"}},
};

START_TEST(an_unfit_redis_is_refused_with_advice) {
    struct test_server other;
    test_server_start(&other, unfit[_i].args);
    use_redis(other.url);
    expect_all_unusable(unfit[_i].says);
    test_server_destroy(&other);
}
END_TEST

START_TEST(a_wrong_password_is_told) {
    struct test_server other;
    char path[64], line[128];
    const char *const says[SAYS_MAX] = {"refused", "the URL or the password file"};
    test_server_start(&other, (const char *const[]){"--requirepass", "secret", NULL});
    use_redis(other.url);
    snprintf(path, sizeof(path), "%s/password", directory.path);
    FILE *file = fopen(path, "we");
    ck_assert_ptr_nonnull(file);
    fputs("wrong\n", file);
    fclose(file);
    ck_assert_int_eq(chmod(path, 0600), 0);
    snprintf(line, sizeof(line), "list --redis-password-file %s", path);
    expect_unusable(line, says);
    snprintf(line, sizeof(line), "submit --redis-password-file %s -- true", path);
    expect_unusable(line, says);
    test_server_destroy(&other);
}
END_TEST

START_TEST(an_old_redis_is_refused) {
    static const char info[] =
        "$60\r\n# Server\r\nredis_version:6.2.14\r\nrole:master\r\n"
        "used_memory:1\r\n\r\n";
    const struct peer_script script = {
        .greeting = "+OK\r\n$5\r\nshoal\r\n", .bytes = info, .len = sizeof(info) - 1};
    struct event_base *base = event_base_new();
    struct peer *peer = peer_create(base, false, &script, 1000);
    use_redis(peer_url(peer));
    for (size_t i = 0; i < SHOAL_COUNT(users); i++) {
        SHOAL_CLEANUP(finish_command) struct command command;
        SHOAL_CLEANUP(forget) struct answer answer;
        struct test_process process;
        make_command(&command, NULL, users[i]);
        test_process_start(&process, &(struct test_program){.argv = command.argv,
                                                            .environment = environment,
                                                            .directory = directory.path});
        loop_until(base, test_process_has_ended(&process), LIMIT_MS);
        answer = (struct answer){.exit = process.exit,
                                 .out = test_process_out(&process),
                                 .err = test_process_err(&process)};
        test_process_finish(&process);
        expect_sentence(users[i], &answer, 3,
                        (const char *const[SAYS_MAX]){"6.2.14", "7.0", "upgrade"});
    }
    peer_destroy(peer);
    event_base_free(base);
}
END_TEST

/* ---- a Redis that takes no more */

static const char *const writers[] = {
    "submit -p x=1:3 -- true",
    "submit --name new --queue new -- true",
    "submit --from lines.txt -- true {}",
    "run -- true",
};

static void expect_no_writes(const char *const says[SAYS_MAX]) {
    for (size_t i = 0; i < SHOAL_COUNT(writers); i++)
        expect_refused(NULL, writers[i], NULL, 3, says);
}

static void configure(const char *name, const char *value) {
    struct event_base *base = event_base_new();
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    free(test_command_text(redis, "CONFIG SET %s %s", name, value));
    shoal_redis_destroy(redis);
    event_base_free(base);
}

START_TEST(full_memory_is_told_and_nothing_is_half_submitted) {
    test_server_start(&server, NULL);
    use_redis(server.url);
    expect_run("submit --name old -- true", 0);
    configure("maxmemory", "1");
    expect_no_writes((const char *const[SAYS_MAX]){"out of memory", "raise its maxmemory",
                                                   "forget finished jobs"});
    configure("maxmemory", "0");
    expect_run("audit", 0);
    test_server_destroy(&server);
}
END_TEST

static bool save_has_failed(struct shoal_redis *redis) {
    SHOAL_CLEANUP(shoal_cleanup_free)
    char *info = test_command_text(redis, "INFO persistence");
    return strstr(info, "rdb_last_bgsave_status:err") != NULL;
}

/* A snapshot cannot take the place of a folder, not even for root. */
static void fail_to_save(void) {
    char path[96];
    struct event_base *base = event_base_new();
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    snprintf(path, sizeof(path), "%s/dump.rdb", server.directory);
    ck_assert_int_eq(mkdir(path, 0700), 0);
    free(test_command_text(redis, "CONFIG SET save %s", "3600 1000000"));
    free(test_command_text(redis, "BGSAVE"));
    loop_until(base, save_has_failed(redis), LIMIT_MS);
    shoal_redis_destroy(redis);
    event_base_free(base);
}

START_TEST(a_disk_that_cannot_be_saved_to_is_told) {
    test_server_start(&server, NULL);
    use_redis(server.url);
    expect_run("submit --name old -- true", 0);
    fail_to_save();
    expect_no_writes(
        (const char *const[SAYS_MAX]){"cannot save to its disk", "make room there"});
    configure("save", "");
    expect_run("audit", 0);
    test_server_destroy(&server);
}
END_TEST

/* Of one that was well before, how it is brought to refuse. One that is a replica is so
 * of nobody, as after a failover that went wrong; nobody looks at what it holds, be it
 * fit to be read or not. */
static const struct {
    const char *sick[2]; /* commands */
    const char *says[SAYS_MAX];
    int list; /* the exit status of who only reads */
} refusals[] = {
    {{"CONFIG SET min-replicas-to-write 1"}, {"too few replicas", "bring them back"}, 0},
    {{"REPLICAOF 127.0.0.1 1"}, {"read-only replica", "the address of its primary"}, 3},
    {{"CONFIG SET replica-serve-stale-data no", "REPLICAOF 127.0.0.1 1"},
     {"read-only replica", "the address of its primary"},
     3},
};

static const char *const well[] = {
    "CONFIG SET min-replicas-to-write 0",
    "CONFIG SET replica-serve-stale-data yes",
    "REPLICAOF NO ONE",
};

static void tell_redis(const char *const *commands, size_t n) {
    struct event_base *base = event_base_new();
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    for (size_t i = 0; i < n && commands[i] != NULL; i++)
        free(test_command_text(redis, commands[i]));
    shoal_redis_destroy(redis);
    event_base_free(base);
}

START_TEST(a_redis_that_refuses_is_told_and_nothing_is_half_submitted) {
    test_server_start(&server, NULL);
    use_redis(server.url);
    expect_run("submit --name old -- true", 0);
    tell_redis(refusals[_i].sick, SHOAL_COUNT(refusals[_i].sick));
    expect_no_writes(refusals[_i].says);
    expect_run("list", refusals[_i].list);
    tell_redis(well, SHOAL_COUNT(well));
    expect_run("audit", 0);
    for (size_t i = 0; i < SHOAL_COUNT(writers) - 1; i++) /* run would wait */
        expect_run(writers[i], 0);
    test_server_destroy(&server);
}
END_TEST

/* ---- keys of ours that hold something else */

/* But for `jobs`, which is made again. */
static const char *const keys[] = {
    "clock",  "dates",           "due",   "epoch", "names", "queue:default",
    "queues", "ready:default:5", "specs",
};

START_TEST(a_key_that_holds_something_else_is_told_before_anything_is_written) {
    const char *const says[SAYS_MAX] = {"has type string", "another namespace"};
    test_server_start(&server, NULL);
    use_redis(server.url);
    expect_run("submit --name old -- true", 0);
    struct event_base *base = event_base_new();
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    free(test_command_text(redis, "SET shoal:{0}:%s text", keys[_i]));
    shoal_redis_destroy(redis);
    event_base_free(base);
    expect_refused(NULL, "submit --name new -- true", NULL, 3, says);
    expect_refused(NULL, "submit --from lines.txt -- true {}", NULL, 3, says);
    expect_run("submit --namespace other -- true", 0);
    test_server_destroy(&server);
}
END_TEST

static const struct {
    const char *key;
    const char *words;
} readers[] = {
    {"jobs", "list"},
    {"jobs", "status"},
    {"names", "status old"},
    {"names", "wait old"},
    {"names", "results old"},
    {"names", "show old 0"},
    {"names", "replay old 0"},
    {"names", "cancel old"},
    {"names", "retry old"},
    {"names", "forget old"},
    {"queues", "queues"},
    {"queues", "pause default"},
    {"queue:default", "queues"},
    {"sessions", "workers"},
    {"sessions", "drain here"},
    {"clock", "workers"},
};

START_TEST(readers_tell_of_a_key_that_holds_something_else) {
    test_server_start(&server, NULL);
    use_redis(server.url);
    expect_run("submit --name old -- true", 0);
    struct event_base *base = event_base_new();
    struct shoal_redis *redis = test_server_connect(&server, base, NULL);
    free(test_command_text(redis, "SET shoal:{0}:%s text", readers[_i].key));
    shoal_redis_destroy(redis);
    event_base_free(base);
    expect_refused(NULL, readers[_i].words, NULL, 3,
                   (const char *const[SAYS_MAX]){"has type string", "another namespace"});
    test_server_destroy(&server);
}
END_TEST

/* ---- ids */

/* One more job than there are letters: two ids begin alike. */
START_TEST(an_ambiguous_id_is_told) {
    enum { LETTERS = 32 };
    bool seen[256] = {false};
    char twice = '\0';
    test_server_start(&server, NULL);
    use_redis(server.url);
    for (int i = 0; i <= LETTERS && twice == '\0'; i++) {
        SHOAL_CLEANUP(finish_command) struct command command;
        SHOAL_CLEANUP(forget) struct answer answer;
        make_command(&command, NULL, "submit --queue nobody -- true");
        run_command(&command, NULL, &answer);
        ck_assert_int_eq(answer.exit, 0);
        unsigned char first = (unsigned char)answer.out[0];
        twice = seen[first] ? (char)first : '\0';
        seen[first] = true;
    }
    ck_assert_int_ne(twice, '\0');
    static const char *const commands[] = {"status", "wait",  "results",
                                           "cancel", "retry", "forget"};
    for (size_t i = 0; i < SHOAL_COUNT(commands); i++) {
        char words[32];
        snprintf(words, sizeof(words), "%s %c", commands[i], twice);
        expect_refused(NULL, words, NULL, 2,
                       (const char *const[SAYS_MAX]){"ambiguous", "more of the id"});
    }
    test_server_destroy(&server);
}
END_TEST

/* ---- without a Redis and without a local cluster */

static const struct row alone[] = {
    {"list", 2, {"no local cluster", "shoal up", "--redis URL"}},
    {"results job", 2, {"no local cluster", "shoal up", "--redis URL"}},
    {"drain here", 2, {"no local cluster", "shoal up", "--redis URL"}},
    {"doctor", 2, {"no local cluster", "shoal up", "--redis URL"}},
};

START_TEST(without_a_redis_it_says_how_to_get_one) {
    strcpy(redis_variable, "SHOAL_REDIS");
    SHOAL_CLEANUP(finish_command) struct command command;
    SHOAL_CLEANUP(forget) struct answer answer;
    make_command(&command, NULL, alone[_i].words);
    run_command(&command, NULL, &answer);
    expect_sentence(alone[_i].words, &answer, alone[_i].exit, alone[_i].says);
}
END_TEST

static void add_shared(Suite *suite) {
    TCase *shared = tcase_create("nonsense");
    int commands = 0;
    while (shoal_cli_commands[commands] != NULL)
        commands++;
    tcase_set_timeout(shared, 60);
    tcase_add_unchecked_fixture(shared, set_up, tear_down);
    tcase_add_loop_test(shared, nonsense_is_not_submitted, 0, (int)SHOAL_COUNT(plans));
    tcase_add_test(shared, a_command_has_4096_words_at_most);
    tcase_add_loop_test(shared, a_file_that_is_wrong_somewhere_is_not_submitted, 0,
                        (int)SHOAL_COUNT(files));
    tcase_add_test(shared, lines_of_stdin_are_looked_at_as_well);
    tcase_add_loop_test(shared, nonsense_is_told_what_to_do, 0, (int)SHOAL_COUNT(lines));
    tcase_add_loop_test(shared, variables_that_make_no_sense_are_named, 0,
                        (int)SHOAL_COUNT(variables));
    tcase_add_loop_test(shared, every_option_is_looked_at, 0, commands);
    tcase_add_loop_test(shared, an_option_that_no_command_has_is_not_passed_over, 0,
                        commands);
    tcase_add_loop_test(shared, a_command_takes_so_many_words_and_no_others, 0, commands);
    tcase_add_loop_test(shared, a_full_disk_is_told, 0, (int)SHOAL_COUNT(printers));
    tcase_add_loop_test(shared, a_reader_that_has_seen_enough_is_no_error, 0,
                        (int)SHOAL_COUNT(printers));
    tcase_add_loop_test(shared, what_cannot_be_started_says_why_and_where, 0,
                        (int)SHOAL_COUNT(spawns));
    suite_add_tcase(suite, shared);
}

static void add_own(Suite *suite) {
    TCase *own = tcase_create("Redis");
    tcase_set_timeout(own, 60);
    tcase_add_checked_fixture(own, set_up_files, tear_down_folder);
    tcase_add_loop_test(own, a_redis_that_is_not_there_is_asked_for, 0,
                        (int)SHOAL_COUNT(absent));
    tcase_add_loop_test(own, an_unfit_redis_is_refused_with_advice, 0,
                        (int)SHOAL_COUNT(unfit));
    tcase_add_test(own, a_wrong_password_is_told);
    tcase_add_test(own, an_old_redis_is_refused);
    tcase_add_test(own, full_memory_is_told_and_nothing_is_half_submitted);
    tcase_add_test(own, a_disk_that_cannot_be_saved_to_is_told);
    tcase_add_loop_test(own, a_redis_that_refuses_is_told_and_nothing_is_half_submitted,
                        0, (int)SHOAL_COUNT(refusals));
    tcase_add_loop_test(
        own, a_key_that_holds_something_else_is_told_before_anything_is_written, 0,
        (int)SHOAL_COUNT(keys));
    tcase_add_loop_test(own, readers_tell_of_a_key_that_holds_something_else, 0,
                        (int)SHOAL_COUNT(readers));
    tcase_add_test(own, an_ambiguous_id_is_told);
    tcase_add_loop_test(own, without_a_redis_it_says_how_to_get_one, 0,
                        (int)SHOAL_COUNT(alone));
    suite_add_tcase(suite, own);
}

int main(void) {
    Suite *suite = suite_create("bad input");
    add_shared(suite);
    add_own(suite);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
