// Arrays of numpy or torch, checked: kind, shape, and that every index lies in its range.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "program.hpp"

namespace lightpfp {

namespace nb = nanobind;

using Any = nb::ndarray<nb::device::cpu, nb::c_contig>;
using Sizes = std::vector<int64_t>;  // -1: any

inline std::string text(const Sizes& sizes) {
  std::string found;
  for (const int64_t n : sizes)
    found += (found.empty() ? "" : ", ") + (n < 0 ? "any" : std::to_string(n));
  return "(" + found + ")";
}

inline Sizes shape_of(const Any& array) {
  Sizes found;
  for (size_t n = 0; n < array.ndim(); ++n) found.push_back(int64_t(array.shape(n)));
  return found;
}

/// The data of an array; throws ValueError where kind or shape are others.
template <class T>
T* checked(const Any& array, const char* name, const Sizes& expected) {
  const Sizes found = shape_of(array);
  bool fits =
      found.size() == expected.size() && array.dtype() == nb::dtype<std::remove_const_t<T>>();
  for (size_t n = 0; fits && n < found.size(); ++n)
    fits = expected[n] < 0 || expected[n] == found[n];
  if (!fits)
    throw std::invalid_argument(std::string(name) + ": expected shape " + text(expected) + " of " +
                                std::to_string(8 * sizeof(T)) + " bits, found " + text(found) +
                                " of " + std::to_string(array.dtype().bits) + " bits");
  return static_cast<T*>(array.data());
}

inline void require(bool right, const char* what, int64_t atom) {
  if (!right) throw std::invalid_argument(std::string(what) + ", at atom " + std::to_string(atom));
}

/// The arrays of a batch, in the order of `compiled.py`.
struct BatchArrays {
  Any species_of_number;  // -1: the potential has no parameters for it
  Any numbers_A, structure_A, positions_A3, cell_S33, volume_S;
  Any first_edge_A, n_edges_A, neighbors_N, shifts_N3;
};

template <class T>
std::vector<Xyz<T>> rows_of(const T* values_A3, int64_t n_atoms) {
  std::vector<Xyz<T>> rows_A(static_cast<size_t>(n_atoms));
  for (int64_t i = 0; i < n_atoms; ++i) std::copy_n(values_A3 + 3 * i, 3, rows_A[size_t(i)].at);
  return rows_A;
}

/// `Structures` out of checked arrays, and what is derived from them.
class Input {
 public:
  explicit Input(const BatchArrays& from) {
    const auto n_atoms = int64_t(from.numbers_A.size());
    const int64_t n_structures = from.cell_S33.ndim() ? int64_t(from.cell_S33.shape(0)) : 0;
    n_neighbors_ = int64_t(from.neighbors_N.size());
    s_.n_atoms = n_atoms, s_.n_structures = n_structures;
    numbers_A_ = checked<const int64_t>(from.numbers_A, "numbers_A", {n_atoms});
    s_.structure_A = checked<const int64_t>(from.structure_A, "structure_A", {n_atoms});
    const auto* positions = checked<const double>(from.positions_A3, "positions_A3", {n_atoms, 3});
    positions_A_ = rows_of(positions, n_atoms);
    s_.positions_A = positions_A_.data();
    s_.cell_S33 = checked<const double>(from.cell_S33, "cell_S33", {n_structures, 3, 3});
    s_.volume_S = checked<const double>(from.volume_S, "volume_S", {n_structures});
    s_.first_edge_A = checked<const int64_t>(from.first_edge_A, "first_edge_A", {n_atoms});
    s_.n_edges_A = checked<const int32_t>(from.n_edges_A, "n_edges_A", {n_atoms});
    s_.neighbors_N = checked<const int32_t>(from.neighbors_N, "neighbors_N", {n_neighbors_});
    s_.shifts_N3 = checked<const int16_t>(from.shifts_N3, "shifts_N3", {n_neighbors_, 3});
    set_species(from.species_of_number);
    set_structures();
    set_edges();
  }

  const Structures& structures() const { return s_; }

 private:
  void set_species(const Any& of_number) {
    const auto* index = checked<const int64_t>(of_number, "species_of_number", {-1});
    species_A_.resize(size_t(s_.n_atoms));
    for (int64_t i = 0; i < s_.n_atoms; ++i) {
      const int64_t z = numbers_A_[i];
      const int64_t found = z >= 0 && z < int64_t(of_number.size()) ? index[z] : -1;
      if (found < 0)
        throw std::invalid_argument("atomic number " + std::to_string(z) +
                                    " is not among the potential's species, at atom " +
                                    std::to_string(i));
      species_A_[size_t(i)] = int32_t(found);
    }
    s_.species_A = species_A_.data();
  }

  void set_structures() {
    first_atom_S_.assign(size_t(s_.n_structures) + 1, 0);
    for (int64_t i = 0; i < s_.n_atoms; ++i) {
      const int64_t n = s_.structure_A[i], before = i ? s_.structure_A[i - 1] : 0;
      require(n >= before && n < s_.n_structures, "structure_A is not ascending or out of range", i);
      ++first_atom_S_[size_t(n) + 1];
      const double* r = s_.positions_A[i].at;
      require(std::isfinite(r[0] + r[1] + r[2]), "a position is not finite", i);
    }
    for (size_t n = 1; n < first_atom_S_.size(); ++n) first_atom_S_[n] += first_atom_S_[n - 1];
    s_.first_atom_S = first_atom_S_.data();
    for (int64_t n = 0; n < 9 * s_.n_structures; ++n)
      if (!std::isfinite(s_.cell_S33[n]))
        throw std::invalid_argument("the cell of structure " + std::to_string(n / 9) +
                                    " is not finite");
  }

  void set_edges() {
    for (int64_t i = 0; i < s_.n_atoms; ++i) {
      const int64_t first = s_.first_edge_A[i], n = s_.n_edges_A[i];
      require(n >= 0 && first >= 0 && first <= n_neighbors_ - n, "edges are out of range", i);
      s_.most_edges = std::max(s_.most_edges, s_.n_edges_A[i]);
      const int64_t structure = s_.structure_A[i];
      const auto last = uint32_t(first_atom_S_[size_t(structure) + 1] -
                                 first_atom_S_[size_t(structure)] - 1);
      uint32_t outside = 0;  // the highest bit, of an index below 0 or above the last
      for (int64_t e = first; e < first + n; ++e) {
        const auto index = uint32_t(s_.neighbors_N[e]);
        outside |= index | (last - index);
      }
      require(outside >> 31 == 0, "a neighbor lies outside the structure", i);
    }
  }

  Structures s_{};
  int64_t n_neighbors_ = 0;
  const int64_t* numbers_A_ = nullptr;
  std::vector<int32_t> species_A_;
  std::vector<Xyz<double>> positions_A_;
  std::vector<int64_t> first_atom_S_;
};

}  // namespace lightpfp
