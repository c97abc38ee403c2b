// The corpus script's own tests, run with the rest. They need Python 3 but neither packages nor a network.
#include <catch2/catch.hpp>
#include <cstdlib>
#include <string>

TEST_CASE("the corpus script reads licences and formats", "[data]") {
  if (std::system("command -v python3 >/dev/null") != 0) {
    WARN("python3 is not here: the corpus script is not tested");
    return;
  }
  CHECK(std::system("python3 '" GOVTRAIN_SOURCE_DIR "/tools/corpus/test_corpus.py' 2>/dev/null") == 0);
}
