/* Shell completion, made of the same tables as everything else. */
#include "client/cli.h"

#include "common/cleanup.h"

#include <stdio.h>
#include <string.h>

static void each_option(const struct shoal_option *table,
                        void (*visit)(const struct shoal_option *option)) {
    for (; table != NULL && table->name != NULL; table++) {
        if (table->help != NULL)
            visit(table);
    }
}

static void each_option_of(const struct shoal_cli_command *command,
                           void (*visit)(const struct shoal_option *option)) {
    for (size_t i = 0; command->tables != NULL && command->tables[i] != NULL; i++)
        each_option(command->tables[i], visit);
    if (!command->passes_on)
        each_option(shoal_cli_options, visit);
}

/* ---- bash */

static void print_bash_option(const struct shoal_option *option) {
    printf(" --%s", option->name);
}

/* Those in front of the command that take the word behind them. */
static void print_with_value(const struct shoal_option *option) {
    if (option->type != SHOAL_OPTION_FLAG)
        printf(" --%s", option->name);
}

/* The command is the first word that is neither an option nor an option's value. In
 * COMP_WORDS an address would be several words, since bash breaks them at ':' and '='. */
static void bash(void) {
    printf("# bash completion for shoal\n"
           "_shoal() {\n"
           "    local word=${COMP_WORDS[COMP_CWORD]} command= options= jobs= i words\n"
           "    local line=${COMP_LINE:0:COMP_POINT} valued='");
    each_option(shoal_cli_options, print_with_value);
    puts(
        " '\n"
        "    read -ra words <<< \"$line\"\n"
        "    [[ $line == *[[:blank:]] ]] || unset 'words[-1]' # the one being completed\n"
        "    for ((i = 1; i < ${#words[@]}; i++)); do\n"
        "        case ${words[i]} in\n"
        "        -*) [[ $valued != *\" ${words[i]} \"* ]] || i=$((i + 1)) ;;\n"
        "        *) command=${words[i]}; break ;;\n"
        "        esac\n"
        "    done\n"
        "    case $command in");
    for (size_t i = 0; shoal_cli_commands[i] != NULL; i++) {
        const struct shoal_cli_command *command = shoal_cli_commands[i];
        printf("    %s) jobs=%s options='", command->name,
               command->takes_jobs ? "yes" : "");
        each_option_of(command, print_bash_option);
        printf("%s' ;;\n", command->reads ? " --json" : "");
    }
    printf("    '') options='");
    for (size_t i = 0; shoal_cli_commands[i] != NULL; i++)
        printf("%s ", shoal_cli_commands[i]->name);
    each_option(shoal_cli_options, print_bash_option);
    puts("' ;;\n"
         "    esac\n"
         "    if [ -n \"$jobs\" ] && [ \"${word#-}\" = \"$word\" ]; then\n"
         "        options=$(shoal list --json 2>/dev/null | sed -n "
         "'s/^{\"id\": *\"\\([a-z0-9]*\\)\".*/\\1/p')\n"
         "    fi\n"
         "    mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$word\")\n"
         "    [ ${#COMPREPLY[@]} -gt 0 ] || mapfile -t COMPREPLY < <(compgen -f -- "
         "\"$word\")\n"
         "}\n"
         "complete -o filenames -F _shoal shoal");
}

/* ---- zsh */

/* Inside '…[…]' of zsh: quotes, brackets and colons are special. */
static void print_zsh_text(const char *text) {
    for (; *text != '\0'; text++) {
        if (*text == '\'')
            printf("'\\''");
        else if (strchr("[]:\\", *text) != NULL)
            printf("\\%c", *text);
        else
            putchar(*text);
    }
}

static void print_zsh_option(const struct shoal_option *option) {
    printf(" \\\n            '%s--%s%s[", option->type == SHOAL_OPTION_LIST ? "*" : "",
           option->name, option->type == SHOAL_OPTION_FLAG ? "" : "=");
    print_zsh_text(option->help);
    printf("]%s'", option->type == SHOAL_OPTION_FLAG ? "" : ":value:_files");
}

static void zsh(void) {
    puts("#compdef shoal\n"
         "_shoal_jobs() {\n"
         "    local -a jobs\n"
         "    jobs=(${(f)\"$(shoal list --json 2>/dev/null | sed -n "
         "'s/^{\"id\": *\"\\([a-z0-9]*\\)\".*/\\1/p')\"})\n"
         "    compadd -a jobs\n"
         "}\n"
         "_shoal() {\n"
         "    local -a commands\n"
         "    commands=(");
    for (size_t i = 0; shoal_cli_commands[i] != NULL; i++) {
        printf("        '%s:", shoal_cli_commands[i]->name);
        print_zsh_text(shoal_cli_commands[i]->summary);
        puts("'");
    }
    printf("    )\n"
           "    local -i at=2\n"
           "    local valued='");
    each_option(shoal_cli_options, print_with_value);
    puts(" '\n"
         "    while (( at < CURRENT )) && [[ $words[at] == -* ]]; do\n"
         "        [[ $valued != *\" $words[at] \"* ]] || (( at++ ))\n"
         "        (( at++ ))\n"
         "    done\n"
         "    if (( CURRENT <= at )); then\n"
         "        _describe command commands\n"
         "        return\n"
         "    fi\n"
         "    local command=$words[at]\n"
         "    shift $(( at - 1 )) words\n"
         "    (( CURRENT -= at - 1 ))\n"
         "    case $command in");
    for (size_t i = 0; shoal_cli_commands[i] != NULL; i++) {
        const struct shoal_cli_command *command = shoal_cli_commands[i];
        printf("    %s)\n        _arguments", command->name);
        each_option_of(command, print_zsh_option);
        if (command->reads)
            printf(" \\\n            '--json[print JSON, an object a line]'");
        printf(" \\\n            '*:argument:%s'\n        ;;\n",
               command->takes_jobs ? "_shoal_jobs" : "_files");
    }
    puts("    esac\n"
         "}\n"
         "_shoal \"$@\"");
}

/* ---- fish */

/* Inside '…' of fish: quotes and backslashes are special. */
static void print_fish_text(const char *text) {
    putchar('\'');
    for (; *text != '\0'; text++) {
        if (*text == '\'' || *text == '\\')
            putchar('\\');
        putchar(*text);
    }
    putchar('\'');
}

/* Those of a table, which are a command's own (NULL: of all commands, which stand before
 * or behind its name). */
static void print_fish_options(const char *command, const struct shoal_option *table) {
    for (; table->name != NULL; table++) {
        if (table->help == NULL)
            continue;
        printf("complete -c shoal");
        if (command != NULL)
            printf(" -n '__shoal_is %s'", command);
        printf(" -l %s%s -d ", table->name,
               table->type == SHOAL_OPTION_FLAG ? "" : " -r");
        print_fish_text(table->help);
        putchar('\n');
    }
}

static void print_fish_command(const struct shoal_cli_command *command) {
    printf("complete -c shoal -n __shoal_is -f -a %s -d ", command->name);
    print_fish_text(command->summary);
    putchar('\n');
    for (size_t i = 0; command->tables != NULL && command->tables[i] != NULL; i++)
        print_fish_options(command->name, command->tables[i]);
    if (command->reads)
        printf("complete -c shoal -n '__shoal_is %s' -l json -d 'print JSON, an object a "
               "line'\n",
               command->name);
    if (command->takes_jobs)
        printf("complete -c shoal -n '__shoal_is %s' -f -a '(__shoal_jobs)'\n",
               command->name);
}

static void fish(void) {
    puts("# fish completion for shoal\n"
         "function __shoal_jobs\n"
         "    shoal list --json 2>/dev/null | string replace -rf "
         "'^{\"id\": *\"([a-z0-9]*)\".*' '$1'\n"
         "end\n"
         "# Whether that is the command; without a word: whether there is none yet.\n"
         "function __shoal_is\n"
         "    set -l words (commandline -opc)\n"
         "    set -l skip yes\n"
         "    for word in $words\n"
         "        if test -n \"$skip\"\n"
         "            set skip\n"
         "            continue\n"
         "        end\n"
         "        switch $word");
    printf("            case");
    each_option(shoal_cli_options, print_with_value);
    puts("\n"
         "                set skip yes\n"
         "            case '-*'\n"
         "            case '*'\n"
         "                test \"$word\" = \"$argv\"\n"
         "                return\n"
         "        end\n"
         "    end\n"
         "    test -z \"$argv\"\n"
         "end");
    print_fish_options(NULL, shoal_cli_options);
    for (size_t i = 0; shoal_cli_commands[i] != NULL; i++)
        print_fish_command(shoal_cli_commands[i]);
}

static const struct {
    const char *name;
    void (*print)(void);
} shells[] = {{"bash", bash}, {"fish", fish}, {"zsh", zsh}};

static int completion(int n, char **words) {
    (void)n;
    for (size_t i = 0; i < SHOAL_COUNT(shells); i++) {
        if (strcmp(words[0], shells[i].name) == 0) {
            shells[i].print();
            return SHOAL_EXIT_OK;
        }
    }
    struct shoal_error err = {.status = SHOAL_OK};
    shoal_error_set(&err, SHOAL_INVALID,
                    "'%.100s' is no shell that shoal knows: bash, fish or zsh", words[0]);
    return shoal_cli_fail(&err);
}

const struct shoal_cli_command shoal_cmd_completion = {
    .name = "completion",
    .usage = "bash|fish|zsh",
    .summary = "print the completion script of a shell",
    .details = "For example: source <(shoal completion bash)",
    .words_least = 1,
    .words_most = 1,
    .run = completion,
};
