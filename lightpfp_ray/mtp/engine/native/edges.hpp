// The edges of one atom in packs: r_ij = positions[j] + shift @ cell - positions[i].
//
// Edges are grouped by the species of the neighbor, so that a pack has one set of radial
// coefficients. Lanes that are left over, and edges beyond the cutoff, hold (cutoff, 0, 0), where
// every radial function and its slope vanish.
#pragma once

#include <cmath>

#include "program.hpp"
#include "simd.hpp"

namespace LIGHTPFP_ISA {

using namespace lightpfp;

template <class T>
struct Edges {
  int32_t n_packs;
  int32_t n_slots;    // those behind are left over
  T *x, *y, *z;       // r_ij, by slot
  int32_t* neighbor;  // by slot: counted from the first atom of the structure; left over: the center
  int32_t* species;   // by pack: of the neighbors
  double* shift[3];   // by slot: lattice shift of the neighbor; left over: NaN
  double* other[3];   // by slot: position of the neighbor in the cell
  T* v[3];            // by slot: direction of the neighbor
};

/// Packs that hold the edges of any atom.
template <class T>
int32_t most_packs(const Potential<T>& p, const Structures& s) {
  const int32_t kinds = s.most_edges < p.n_species ? s.most_edges : p.n_species;
  return s.most_edges / lanes<T> + kinds;
}

template <class T>
Edges<T> take_edges(Arena& arena, int32_t packs) {
  const int64_t slots = int64_t(packs) * lanes<T>;
  Edges<T> edges{};
  edges.x = arena.take<T>(slots);
  edges.y = arena.take<T>(slots);
  edges.z = arena.take<T>(slots);
  edges.neighbor = arena.take<int32_t>(slots);
  edges.species = arena.take<int32_t>(packs);
  for (double** each : {edges.shift, edges.other})
    for (int k = 0; k < 3; ++k) each[k] = arena.take<double>(slots);
  for (T*& each : edges.v) each = arena.take<T>(slots);
  return edges;
}

/// Columns of an array of n rows of three numbers.
template <class V, class X>
inline void columns(const V* __restrict rows_3, int32_t n, X* __restrict x, X* __restrict y,
                    X* __restrict z) {
  for (int32_t e = 0; e < n; ++e)
    x[e] = X(rows_3[3 * e]), y[e] = X(rows_3[3 * e + 1]), z[e] = X(rows_3[3 * e + 2]);
}

/// Order the edges of atom i by species; `next_C` is memory for the slot of each species' next one.
template <class T>
void order(const Potential<T>& p, const Structures& s, int64_t i, int32_t* next_C,
           Edges<T>& edges) {
  const int64_t first_atom = s.first_atom_S[s.structure_A[i]];
  const int32_t *species = s.species_A + first_atom, *neighbors = s.neighbors_N + s.first_edge_A[i];
  const int16_t* shifts = s.shifts_N3 + 3 * s.first_edge_A[i];
  const int32_t n_edges = s.n_edges_A[i];
  int32_t* neighbor = edges.neighbor;
  double *x = edges.shift[0], *y = edges.shift[1], *z = edges.shift[2];
  for (int32_t c = 0; c < p.n_species; ++c) next_C[c] = 0;
  if (p.n_species == 1)
    next_C[0] = n_edges;
  else
    for (int32_t e = 0; e < n_edges; ++e) ++next_C[species[neighbors[e]]];
  edges.n_packs = edges.n_slots = 0;
  for (int32_t c = 0; c < p.n_species; ++c) {
    const int32_t packs = (next_C[c] + lanes<T> - 1) / lanes<T>, begin = edges.n_packs * lanes<T>;
    for (int32_t slot = begin + next_C[c]; slot < begin + packs * lanes<T>; ++slot) {
      neighbor[slot] = int32_t(i - first_atom);
      x[slot] = y[slot] = z[slot] = NAN;
    }
    if (packs) edges.n_slots = begin + next_C[c];
    for (int32_t n = 0; n < packs; ++n) edges.species[edges.n_packs++] = c;
    next_C[c] = begin;
  }
  if (p.n_species == 1) {
    for (int32_t e = 0; e < n_edges; ++e) neighbor[e] = neighbors[e];
    columns(shifts, n_edges, x, y, z);
    return;
  }
  for (int32_t e = 0; e < n_edges; ++e) {
    const int32_t slot = next_C[species[neighbors[e]]]++;
    neighbor[slot] = neighbors[e];
    columns(shifts + 3 * e, 1, x + slot, y + slot, z + slot);
  }
}

/// Of the neighbor in every slot, its row of `values_A`, which begin at the structure's first atom.
template <class T, class V>
inline void look_up(const Xyz<V>* values_A, const Edges<T>& edges, V* const* found_3) {
  const int32_t slots = edges.n_packs * lanes<T>;
  for (int32_t slot = 0; slot < slots; slot += 4) {
    const Xyz<V>* rows[4];
    for (int n = 0; n < 4; ++n) rows[n] = values_A + edges.neighbor[slot + n];
    rows_to_columns(rows, found_3[0] + slot, found_3[1] + slot, found_3[2] + slot);
  }
}

/// r_ij of every slot.
template <class T>
void measure(const Structures& s, int64_t i, double cutoff, Edges<T>& edges) {
  using P = Pack<double>;
  const int64_t structure = s.structure_A[i];
  look_up(s.positions_A + s.first_atom_S[structure], edges, edges.other);
  const double *cell = s.cell_S33 + 9 * structure, *center = s.positions_A[i].at;
  const P limit = splat(cutoff * cutoff), beyond[3] = {splat(cutoff), splat(0.0), splat(0.0)};
  T* out[3] = {edges.x, edges.y, edges.z};
  const int32_t slots = edges.n_packs * lanes<T>;
  for (int32_t slot = 0; slot < slots; slot += lanes<double>) {
    P r[3], square = splat(0.0);
    for (int k = 0; k < 3; ++k) {
      r[k] = load(edges.other[k] + slot) - splat(center[k]);
      for (int j = 0; j < 3; ++j) r[k] += load(edges.shift[j] + slot) * splat(cell[3 * j + k]);
      square += r[k] * r[k];
    }
    for (int k = 0; k < 3; ++k)
      store(where_less(square, limit, r[k], beyond[k]), out[k] + slot);
  }
}

}  // namespace LIGHTPFP_ISA
