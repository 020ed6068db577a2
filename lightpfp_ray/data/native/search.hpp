// Every directed pair of atoms within the cutoff, periodic images included:
//
//   r_ij = positions[j] + shift @ cell - positions[i],     |r_ij| < cutoff
//
// Atoms are brought into the cell, p_i = w_i + wraps_i @ cell. Images w_j + n @ cell that lie within
// the cutoff of where the atoms are are listed in the order (j, n) and laid in boxes. The images
// near a center are looked up there, those within the cutoff marked in a row of bits, one an image,
// and the bits read from the first to the last: edges come in the order (center, neighbor, shift),
// shift = n - wraps_j + wraps_i, and nothing is sorted.
//
// Cost: one pass over the images, and some four distances an edge. Memory: 60 bytes an image.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <utility>
#include <vector>

#include "boxes.hpp"
#include "lattice.hpp"

namespace lightpfp {

/// All edges, by center.
class Search {
 public:
  std::vector<int32_t> n_edges, neighbors;  // (A,), (E,)
  std::vector<int16_t> shifts;              // (E, 3)
  double shortest = std::numeric_limits<double>::infinity();

  /// Positions (n_atoms, 3), cell (3, 3): row vectors. Throws where an atom lies too far outside.
  Search(const double* positions, size_t n_atoms, const double* cell, const bool* pbc,
         double cutoff, Sieve sieve)
      : n_edges(n_atoms), positions_(positions), cell_(cell), cutoff_(cutoff),
        lattice_(cell, pbc), wraps_(n_atoms), places_(n_atoms) {
    if (n_atoms == 0) return;
    wrap();
    for (size_t j = 0; j < n_atoms; ++j) {
      list_images(j);
      if (j == 0) {
        images_.reserve(expected(images_.size()));
        points_.reserve(expected(points_.size()));
      }
    }
    look_around(sieve);
  }

 private:
  using Shift = std::array<int32_t, 3>;

  struct Image {
    int32_t neighbor;
    Shift offset;  // n - wraps of the neighbor
  };

  static constexpr double furthest = 1e6;  // cells; beyond any shift that fits 16 bits

  static std::overflow_error too_far() {
    return std::overflow_error("atoms lie more than 32767 cells apart");
  }

  /// Of all atoms, where the first has so many: what is reserved, so that little is moved.
  size_t expected(size_t of_first) const { return (of_first + of_first / 4 + 1) * places_.size(); }

  void wrap() {
    double largest = 0;
    for (size_t i = 0; i < places_.size(); ++i) {
      const double* p = positions_ + 3 * i;
      Vector place{p[0], p[1], p[2]};
      const Vector given = place;
      for (size_t k = 0; k < 3; ++k) {
        largest = std::max(largest, std::abs(p[k]));
        if (!lattice_.periodic[k]) continue;
        const double cells = std::floor(dot(given, lattice_.duals[k]));
        if (!(std::abs(cells) < furthest)) throw too_far();
        wraps_[i][k] = int32_t(cells);
        for (size_t l = 0; l < 3; ++l) place[l] -= cells * lattice_.vectors[k][l];
      }
      places_[i] = place;
      for (size_t l = 0; l < 3; ++l) {
        low_[l] = std::min(low_[l], place[l]), high_[l] = std::max(high_[l], place[l]);
        const double at = dot(place, lattice_.duals[l]);
        least_[l] = std::min(least_[l], at), most_[l] = std::max(most_[l], at);
      }
    }
    margin_ = 1e-9 * cutoff_ + 1e-14 * largest;
    reach_ = cutoff_ + margin_;
  }

  /// The images of atom j within reach of where the atoms are, n in lexicographic order.
  void list_images(size_t j) {
    Shift first{}, last{}, n{};
    for (size_t k = 0; k < 3; ++k) {
      if (!lattice_.periodic[k]) continue;
      const double at = dot(places_[j], lattice_.duals[k]), far = reach_ / lattice_.height(k) + 1e-9;
      if (!(far < furthest)) throw too_far();
      first[k] = int32_t(std::ceil(least_[k] - far - at));
      last[k] = int32_t(std::floor(most_[k] + far - at));
    }
    for (n[0] = first[0]; n[0] <= last[0]; ++n[0])
      for (n[1] = first[1]; n[1] <= last[1]; ++n[1]) {
        Vector line = places_[j];
        for (size_t l = 0; l < 3; ++l)
          line[l] += n[0] * lattice_.vectors[0][l] + n[1] * lattice_.vectors[1][l];
        const auto [begin, end] = clipped(line, first[2], last[2]);
        for (n[2] = begin; n[2] <= end; ++n[2]) {
          Vector point = line;
          Image image{int32_t(j), {}};
          for (size_t l = 0; l < 3; ++l) point[l] += n[2] * lattice_.vectors[2][l];
          for (size_t k = 0; k < 3; ++k) image.offset[k] = n[k] - wraps_[j][k];
          points_.push_back(point);
          images_.push_back(image);
        }
      }
  }

  /// The range of n[2] along a line of images that may lie within reach of where the atoms are.
  std::pair<int32_t, int32_t> clipped(const Vector& line, int32_t first, int32_t last) const {
    double begin = first, end = last;
    for (size_t l = 0; l < 3; ++l) {
      const double low = low_[l] - reach_ - line[l], high = high_[l] + reach_ - line[l];
      const double step = lattice_.vectors[2][l];
      if (std::abs(step) < 1e-6) {  // the line keeps its place along this axis
        if (low > 1 || high < -1) return {1, 0};
        continue;
      }
      begin = std::max(begin, (step > 0 ? low : high) / step - 1e-9);
      end = std::min(end, (step > 0 ? high : low) / step + 1e-9);
    }
    if (begin > end) return {1, 0};
    return {int32_t(std::ceil(begin)), int32_t(std::floor(end))};
  }

  void look_around(Sieve sieve) {
    const Boxes boxes(points_, reach_, sieve);
    std::vector<int32_t> near(points_.size() + 4);
    std::vector<double> squares(points_.size() + 4);
    Marks marks(points_.size());
    for (size_t i = 0; i < places_.size(); ++i) {
      const size_t found = boxes.near(places_[i], near.data(), squares.data());
      for (size_t n = 0; n < found; ++n)
        if (is_edge(i, images_[size_t(near[n])], squares[n])) marks.set(size_t(near[n]));
      write(i, found, marks);
      if (i == 0) {
        neighbors.reserve(expected(neighbors.size()));
        shifts.reserve(expected(shifts.size()));
      }
    }
  }

  /// Decides by the equation at the head of this file where the distance found is near the cutoff.
  bool is_edge(size_t i, const Image& image, double square) {
    const double sure = cutoff_ - margin_, closest = shortest + margin_;
    if (square < sure * sure && square >= closest * closest) return true;
    if (size_t(image.neighbor) == i && shift(image, i) == Shift{}) return false;
    const double r = length(image, i);
    shortest = r < cutoff_ ? std::min(shortest, r) : shortest;
    return r < cutoff_;
  }

  /// The marked images as the edges of atom i, of which there are at most `count`.
  void write(size_t i, size_t count, Marks& marks) {
    const size_t before = neighbors.size();
    neighbors.resize(before + count);
    shifts.resize(3 * (before + count));
    int32_t* neighbor = neighbors.data() + before;
    int16_t* to = shifts.data() + 3 * before;
    const Shift wraps = wraps_[i];
    bool fits = true;
    marks.drain([&](size_t number) {
      const Image& image = images_[number];
      *neighbor++ = image.neighbor;
      for (size_t k = 0; k < 3; ++k) {
        const int32_t n = image.offset[k] + wraps[k];
        *to++ = int16_t(n);
        fits &= n == int16_t(n);
      }
    });
    if (!fits) throw too_far();
    n_edges[i] = int32_t(neighbor - neighbors.data() - int64_t(before));
    neighbors.resize(before + size_t(n_edges[i]));
    shifts.resize(3 * neighbors.size());
  }

  Shift shift(const Image& image, size_t i) const {
    Shift found;
    for (size_t k = 0; k < 3; ++k) found[k] = image.offset[k] + wraps_[i][k];
    return found;
  }

  double length(const Image& image, size_t i) const {
    const Shift n = shift(image, i);
    const double *center = positions_ + 3 * i, *neighbor = positions_ + 3 * size_t(image.neighbor);
    Vector r;
    for (size_t l = 0; l < 3; ++l)
      r[l] = neighbor[l] + (n[0] * cell_[l] + n[1] * cell_[3 + l] + n[2] * cell_[6 + l]) - center[l];
    return std::sqrt(dot(r, r));
  }

  static constexpr double infinite = std::numeric_limits<double>::infinity();

  const double *positions_, *cell_;
  double cutoff_, margin_ = 0, reach_ = 0;  // what lies within a margin of the cutoff is looked at twice
  Lattice lattice_;
  std::vector<Shift> wraps_;
  std::vector<Vector> places_;  // in the cell
  Vector low_{infinite, infinite, infinite}, high_{-infinite, -infinite, -infinite};  // of places
  Vector least_ = low_, most_ = high_;  // of their fractional coordinates
  std::vector<Image> images_;
  std::vector<Vector> points_;  // of images
};

}  // namespace lightpfp
