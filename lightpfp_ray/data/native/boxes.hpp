// Points that are looked for by where they lie, and a set of their numbers that is read in order.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "lattice.hpp"
#include "sieve.hpp"

namespace lightpfp {

/// Points in boxes along x, y and z, z running fastest: those of a range of z lie side by side.
class Boxes {
 public:
  /// Boxes in proportion to `reach`, within which points are looked for.
  Boxes(const std::vector<Vector>& points, double reach, Sieve sieve)
      : reach_(reach), low_(points[0]), high_(points[0]), sieve_(sieve) {
    const size_t n_points = points.size();
    for (const Vector& p : points)
      for (size_t k = 0; k < 3; ++k) {
        low_[k] = std::min(low_[k], p[k]);
        high_[k] = std::max(high_[k], p[k]);
      }
    divide(8 * double(n_points) + 64);
    std::vector<int64_t> box(n_points);
    begin_.assign(size_t(counts_[0] * counts_[1] * counts_[2]) + 1, 0);
    for (size_t n = 0; n < n_points; ++n) {
      const Vector& p = points[n];
      box[n] = (index(0, p[0]) * counts_[1] + index(1, p[1])) * counts_[2] + index(2, p[2]);
      ++begin_[size_t(box[n]) + 1];
    }
    for (size_t b = 1; b < begin_.size(); ++b) begin_[b] += begin_[b - 1];
    std::vector<int32_t> next(begin_.begin(), begin_.end() - 1);
    for (auto* axis : {&x_, &y_, &z_}) axis->resize(n_points + 3);
    number_.resize(n_points + 3);
    for (size_t n = 0; n < n_points; ++n) {
      const auto slot = size_t(next[size_t(box[n])]++);
      x_[slot] = points[n][0], y_[slot] = points[n][1], z_[slot] = points[n][2];
      number_[slot] = int32_t(n);
    }
  }

  /// Numbers and squared distances of the points nearer to p than `reach`; how many. Both have room
  /// for all points and four more.
  size_t near(const Vector& p, int32_t* numbers, double* squares) const {
    size_t count = 0;
    const Points points{x_.data(), y_.data(), z_.data(), number_.data()};
    const int64_t x_last = index(0, p[0] + reach_), y_last = index(1, p[1] + reach_);
    for (int64_t bx = index(0, p[0] - reach_); bx <= x_last; ++bx)
      for (int64_t by = index(1, p[1] - reach_); by <= y_last; ++by) {
        const double dx = beside(0, bx, p[0]), dy = beside(1, by, p[1]);
        const double left = reach_ * reach_ - dx * dx - dy * dy;
        if (left < 0) continue;
        const double dz = std::sqrt(left);
        const int64_t column = (bx * counts_[1] + by) * counts_[2];
        const auto first = size_t(begin_[size_t(column + index(2, p[2] - dz))]);
        const auto last = size_t(begin_[size_t(column + index(2, p[2] + dz)) + 1]);
        count += sieve_(points, first, last, p, reach_ * reach_, numbers + count, squares + count);
      }
    return count;
  }

 private:
  static constexpr double wide = 1, flat = 0.125;  // of the reach: along x and y, along z

  /// Not many more boxes than points, however far those are spread.
  void divide(double most) {
    Vector wanted;
    for (size_t k = 0; k < 3; ++k)
      wanted[k] = std::max(1.0, (high_[k] - low_[k]) / (reach_ * (k == 2 ? flat : wide)));
    for (double total; (total = wanted[0] * wanted[1] * wanted[2]) > most;)
      for (double& each : wanted) each = std::max(1.0, each * std::min(0.9, std::cbrt(most / total)));
    for (size_t k = 0; k < 3; ++k) {
      counts_[k] = int64_t(wanted[k]);
      width_[k] = std::max((high_[k] - low_[k]) / double(counts_[k]), 1e-9 * reach_);
      per_width_[k] = 1 / width_[k];
    }
  }

  int64_t index(size_t k, double place) const {
    const double found = (place - low_[k]) * per_width_[k];
    return found < 1 ? 0 : found < double(counts_[k]) ? int64_t(found) : counts_[k] - 1;
  }

  /// How far a place lies outside the boxes of an index.
  double beside(size_t k, int64_t box, double place) const {
    const double begin = low_[k] + double(box) * width_[k];
    return std::max({0.0, begin - place, place - (begin + width_[k])});
  }

  double reach_;
  Vector low_, high_, width_, per_width_;
  std::array<int64_t, 3> counts_;
  std::vector<int32_t> begin_, number_;  // by box: its first slot; by slot: number of the point
  std::vector<double> x_, y_, z_;        // by slot
  Sieve sieve_;
};

/// A set of numbers below a limit that is read in ascending order, and empty again then.
class Marks {
 public:
  explicit Marks(size_t limit) : words_(limit / 64 + 1), any_(limit / 4096 + 1) {}

  void set(size_t number) {
    words_[number / 64] |= uint64_t(1) << number % 64;
    any_[number / 4096] |= uint64_t(1) << number / 64 % 64;
  }

  template <class F>
  void drain(F f) {
    for (size_t a = 0; a < any_.size(); ++a)
      for (; any_[a]; any_[a] &= any_[a] - 1) {
        const size_t w = 64 * a + lowest(any_[a]);
        for (; words_[w]; words_[w] &= words_[w] - 1) f(64 * w + lowest(words_[w]));
      }
  }

 private:
  static size_t lowest(uint64_t bits) { return size_t(__builtin_ctzll(bits)); }

  std::vector<uint64_t> words_, any_;  // a bit a number; a bit a word that is not zero
};

}  // namespace lightpfp
