// The words of a text, and numbers among them: as Python's split and float read them, to the bit.
//
// A decimal number is read by std::from_chars, which rounds correctly; whatever that does not know
// is left to Python, and so are the mistakes.
#pragma once

#include <Python.h>
#include <nanobind/nanobind.h>

#include <charconv>
#include <cmath>
#include <cstdint>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

namespace lightpfp {

class Words {
 public:
  explicit Words(nanobind::bytes text) : text_(std::move(text)) {
    const char* const begin = text_.c_str();
    const char* const end = begin + text_.size();
    for (const char* at = begin; at < end;) {
      while (at < end && is_blank(*at)) ++at;
      const char* const word = at;
      while (at < end && !is_blank(*at)) ++at;
      if (word < at) words_.emplace_back(word, size_t(at - word));
    }
  }

  size_t size() const { return words_.size(); }

  /// Every `step`th word from `first` on: those that differ, in order, and which of them each is.
  std::pair<std::vector<std::string_view>, std::vector<int64_t>> distinct(size_t first,
                                                                          size_t step) const {
    std::vector<std::string_view> different;
    std::vector<int64_t> codes;
    std::unordered_map<std::string_view, int64_t> known;
    for (size_t n = first; n < words_.size(); n += step) {
      if (codes.empty() || words_[n] != different[size_t(codes.back())]) {
        const auto [at, is_new] = known.try_emplace(words_[n], int64_t(different.size()));
        if (is_new) different.push_back(words_[n]);
        codes.push_back(at->second);
      } else {
        codes.push_back(codes.back());
      }
    }
    return {different, codes};
  }

  /// Numbers of `count` words at every `step`th from `first` on, one after the other.
  std::vector<double> reals(size_t first, size_t step, size_t count) const {
    std::vector<double> found;
    found.reserve(words_.size() / step * count);
    for (size_t row = first; row + count <= words_.size(); row += step)
      for (size_t n = row; n < row + count; ++n) found.push_back(real(words_[n]));
    return found;
  }

 private:
  static bool is_blank(char c) { return c == ' ' || ('\t' <= c && c <= '\r'); }

  static double real(const std::string_view& word) {
#ifdef __cpp_lib_to_chars
    double found = 0;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), found);
    if (error == std::errc() && end == word.data() + word.size() && std::isfinite(found))
      return found;
#endif
    const nanobind::bytes given(word.data(), word.size());
    const nanobind::object value = nanobind::steal(PyFloat_FromString(given.ptr()));
    if (!value.is_valid()) throw nanobind::python_error();
    return PyFloat_AsDouble(value.ptr());
  }

  nanobind::bytes text_;
  std::vector<std::string_view> words_;  // of text_
};

}  // namespace lightpfp
