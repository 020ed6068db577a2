// Vectors of three numbers, and the lattice that they span: where a point lies in its cell.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>

namespace lightpfp {

using Vector = std::array<double, 3>;

inline double dot(const Vector& a, const Vector& b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

inline Vector cross(const Vector& a, const Vector& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

inline Vector scaled(const Vector& a, double factor) {
  return {a[0] * factor, a[1] * factor, a[2] * factor};
}

/// Lattice vectors; those that are not periodic are replaced by unit vectors at right angles to all
/// others, so that a fractional coordinate along a periodic vector needs the periodic ones alone.
struct Lattice {
  std::array<Vector, 3> vectors, duals;  // vectors[k] . duals[l] = 1 where k is l, else 0
  std::array<bool, 3> periodic;

  Lattice(const double* cell, const bool* pbc) {
    for (int k = 0; k < 3; ++k) {
      periodic[size_t(k)] = pbc[k];
      vectors[size_t(k)] = {cell[3 * k], cell[3 * k + 1], cell[3 * k + 2]};
    }
    complete();
    const double volume = dot(vectors[0], cross(vectors[1], vectors[2]));
    for (size_t k = 0; k < 3; ++k)
      duals[k] = scaled(cross(vectors[(k + 1) % 3], vectors[(k + 2) % 3]), 1 / volume);
  }

  double height(size_t k) const { return 1 / std::sqrt(dot(duals[k], duals[k])); }

 private:
  void complete() {
    const int count = periodic[0] + periodic[1] + periodic[2];
    if (count == 0) vectors = {Vector{1, 0, 0}, Vector{0, 1, 0}, Vector{0, 0, 1}};
    if (count == 1) {
      const size_t k = periodic[0] ? 0 : periodic[1] ? 1 : 2;
      const Vector& along = vectors[k];
      size_t least = 0;  // the axis that is least along the periodic vector
      for (size_t l = 1; l < 3; ++l)
        if (std::abs(along[l]) < std::abs(along[least])) least = l;
      Vector axis{};
      axis[least] = 1;
      vectors[(k + 1) % 3] = unit(cross(along, axis));
      vectors[(k + 2) % 3] = unit(cross(along, vectors[(k + 1) % 3]));
    }
    if (count == 2) {
      const size_t k = !periodic[0] ? 0 : !periodic[1] ? 1 : 2;
      vectors[k] = unit(cross(vectors[(k + 1) % 3], vectors[(k + 2) % 3]));
    }
  }

  static Vector unit(const Vector& a) { return scaled(a, 1 / std::sqrt(dot(a, a))); }
};

}  // namespace lightpfp
