// Runs a fuzz target over the files of its committed corpus, without libFuzzer: so the corpus is a
// test in every build, also under the sanitizers.
// Usage: NAME_fuzz [FOLDER or FILE...]; without arguments the folder tests/fuzz/corpus/NAME. Prints
// the number of inputs; fails if there was none, since a test that ran nothing proves nothing.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

namespace fs = std::filesystem;

fs::path default_corpus(std::string_view program) {
  std::string name = fs::path(program).filename().string();
  constexpr std::string_view kSuffix = "_fuzz";
  if (name.ends_with(kSuffix)) name.resize(name.size() - kSuffix.size());
  return fs::path(SEGUE_FUZZ_CORPUS) / name;
}

/// Every file below `path`, sorted, so that two runs do the same; `path` itself if it is a file.
std::vector<fs::path> files_below(const fs::path& path) {
  std::vector<fs::path> files;
  std::error_code error;
  if (fs::is_regular_file(path, error)) return {path};
  for (fs::recursive_directory_iterator it(path, error), end; !error && it != end;
       it.increment(error)) {
    if (it->is_regular_file(error)) files.push_back(it->path());
  }
  if (error) {
    std::fprintf(stderr, "replay: cannot read %s: %s\n", path.c_str(), error.message().c_str());
  }
  std::ranges::sort(files);
  return files;
}

bool replay(const fs::path& file) {
  std::ifstream stream(file, std::ios::binary);
  const std::vector<char> read{std::istreambuf_iterator<char>(stream), {}};
  if (stream.bad() || !stream.is_open()) return false;
  // A copy of exactly this size on the heap: a read past the end is seen by ASan.
  const std::vector<uint8_t> input(read.begin(), read.end());
  LLVMFuzzerTestOneInput(input.data(), input.size());
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<fs::path> places(argv + 1, argv + argc);
  if (places.empty()) places.push_back(default_corpus(argv[0]));
  size_t inputs = 0;
  for (const fs::path& place : places) {
    for (const fs::path& file : files_below(place)) {
      if (!replay(file)) {
        std::fprintf(stderr, "replay: cannot read %s\n", file.c_str());
        return 1;
      }
      ++inputs;
    }
  }
  std::printf("%s: %zu inputs\n", fs::path(argv[0]).filename().c_str(), inputs);
  return inputs > 0 ? 0 : 1;
}
