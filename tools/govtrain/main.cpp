// The program's entry. Everything else is a library, so that tests can drive it.
#include <string>
#include <vector>

#include "tools/govtrain/cli/program.h"

int main(int argc, char** argv) { return govtrain::run_program(std::vector<std::string>(argv + 1, argv + argc)); }
