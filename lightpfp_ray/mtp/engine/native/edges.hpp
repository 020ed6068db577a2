// The edges of one atom in packs: r_ij = positions[j] + shift @ cell - positions[i].
//
// Edges are grouped by the species of the neighbor, so that a pack has one set of radial
// coefficients. Lanes that are left over, and edges beyond the cutoff, hold (cutoff, 0, 0), where
// every radial function and its slope vanish.
#pragma once

#include "program.hpp"
#include "simd.hpp"

namespace LIGHTPFP_ISA {

using namespace lightpfp;

template <class T>
struct Edges {
  int32_t n_packs;
  T *x, *y, *z;       // r_ij, by slot
  int32_t* edge;      // by slot: edge of the atom, counted from its first; -1: left over
  int32_t* neighbor;  // by slot: counted from the first atom of the structure
  int32_t* species;   // by pack: of the neighbors
  double *found, *shift;  // by axis and slot: position of the neighbor in the cell, lattice shift
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
  edges.edge = arena.take<int32_t>(slots);
  edges.neighbor = arena.take<int32_t>(slots);
  edges.species = arena.take<int32_t>(packs);
  edges.found = arena.take<double>(3 * slots);
  edges.shift = arena.take<double>(3 * slots);
  return edges;
}

/// Order the edges of atom i by species; `next_C` is memory for the slot of each species' next one.
template <class T>
void order(const Potential<T>& p, const Structures& s, int64_t i, int32_t* next_C,
           Edges<T>& edges) {
  const int64_t first_atom = s.first_atom_S[s.structure_A[i]];
  const int32_t *species = s.species_A + first_atom, *neighbors = s.neighbors_N + s.first_edge_A[i];
  const int32_t n_edges = s.n_edges_A[i];
  for (int32_t c = 0; c < p.n_species; ++c) next_C[c] = 0;
  if (p.n_species == 1)
    next_C[0] = n_edges;
  else
    for (int32_t e = 0; e < n_edges; ++e) ++next_C[species[neighbors[e]]];
  edges.n_packs = 0;
  for (int32_t c = 0; c < p.n_species; ++c) {
    const int32_t packs = (next_C[c] + lanes<T> - 1) / lanes<T>, begin = edges.n_packs * lanes<T>;
    for (int32_t slot = begin + next_C[c]; slot < begin + packs * lanes<T>; ++slot) {
      edges.edge[slot] = -1;
      edges.neighbor[slot] = int32_t(i - first_atom);
    }
    for (int32_t n = 0; n < packs; ++n) edges.species[edges.n_packs++] = c;
    next_C[c] = begin;
  }
  if (p.n_species == 1) {
    for (int32_t e = 0; e < n_edges; ++e) edges.edge[e] = e, edges.neighbor[e] = neighbors[e];
    return;
  }
  for (int32_t e = 0; e < n_edges; ++e) {
    const int32_t slot = next_C[species[neighbors[e]]]++;
    edges.edge[slot] = e;
    edges.neighbor[slot] = neighbors[e];
  }
}

/// Looks up what r_ij is made of; slots that are left over get a neighbor beyond the cutoff.
template <class T>
void look_up(const Structures& s, int64_t i, double cutoff, Edges<T>& edges) {
  const double* positions = s.positions_A3 + 3 * s.first_atom_S[s.structure_A[i]];
  const int16_t* shifts = s.shifts_N3 + 3 * s.first_edge_A[i];
  const int32_t slots = edges.n_packs * lanes<T>;
  for (int32_t slot = 0; slot < slots; ++slot) {
    const int64_t e = edges.edge[slot];
    const double* other = positions + 3 * int64_t(edges.neighbor[slot]);
    for (int k = 0; k < 3; ++k) {
      edges.found[k * slots + slot] = e < 0 ? other[k] + 2 * cutoff : other[k];
      edges.shift[k * slots + slot] = e < 0 ? 0 : shifts[3 * e + k];
    }
  }
}

/// r_ij of every slot.
template <class T>
void measure(const Structures& s, int64_t i, double cutoff, Edges<T>& edges) {
  using P = Pack<double>;
  look_up(s, i, cutoff, edges);
  const double *cell = s.cell_S33 + 9 * s.structure_A[i], *center = s.positions_A3 + 3 * i;
  const P limit = splat(cutoff * cutoff), beyond[3] = {splat(cutoff), splat(0.0), splat(0.0)};
  T* out[3] = {edges.x, edges.y, edges.z};
  const int32_t slots = edges.n_packs * lanes<T>;
  for (int32_t slot = 0; slot < slots; slot += lanes<double>) {
    P r[3], square = splat(0.0);
    for (int k = 0; k < 3; ++k) {
      r[k] = *reinterpret_cast<const P*>(edges.found + k * slots + slot) - splat(center[k]);
      for (int j = 0; j < 3; ++j)
        r[k] += *reinterpret_cast<const P*>(edges.shift + j * slots + slot) * splat(cell[3 * j + k]);
      square += r[k] * r[k];
    }
    for (int k = 0; k < 3; ++k) {
      const P inside = where_less(square, limit, r[k], beyond[k]);
      for (int l = 0; l < lanes<double>; ++l)
        out[k][slot + l] = T(reinterpret_cast<const double*>(&inside)[l]);
    }
  }
}

}  // namespace LIGHTPFP_ISA
