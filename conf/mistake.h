// conf/mistake.h - what is wrong in the settings, where, and what would be right. All mistakes of a
// file are collected before anything is said.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace segue::conf {

/// Where a setting was written: a line of a file, or a flag.
struct Place {
  std::string file;   // "segue.toml", or "--ram"
  uint32_t line = 0;  // 0: a flag, or the file as a whole
};

struct Mistake {
  Place place;
  std::string key;   // "cache.drive[0].size"; empty: the file as a whole
  std::string text;  // what is wrong, and what is allowed
  /// "segue.toml:12: cache.drive[0].size: text"
  [[nodiscard]] std::string line() const;
};

/// Collects mistakes, and remembers where each key was written so that cross checks can point
/// there.
class Mistakes {
 public:
  explicit Mistakes(std::string file) : file_(std::move(file)) {}

  void written(std::string key, Place place) { places_[std::move(key)] = std::move(place); }
  [[nodiscard]] bool was_written(std::string_view key) const { return places_.contains(key); }
  void add(std::string_view key, std::string text);
  /// Whether `key` or a part of it has a mistake already.
  [[nodiscard]] bool has_under(std::string_view key) const;
  /// In the order of the file, flags last.
  [[nodiscard]] std::vector<Mistake> take();
  [[nodiscard]] const std::string& file() const { return file_; }

 private:
  /// The place of the key, else of the nearest table around it, else the file.
  [[nodiscard]] Place place_of(std::string_view key) const;

  std::string file_;
  std::map<std::string, Place, std::less<>> places_;
  std::multimap<uint32_t, Mistake> found_;  // by line; equal lines stay in the order found
};

/// " (did you mean \"ram\"?)" for the nearest of `known` if it is near enough, else "".
[[nodiscard]] std::string did_you_mean(std::string_view unknown,
                                       const std::vector<std::string>& known);

}  // namespace segue::conf
