#include "client/cli.h"

int main(int argc, char **argv) {
    return shoal_cli_main(argc, argv);
}
