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
  for (int32_t e = 0; e < n_edges; ++e) {
    const int32_t slot = p.n_species == 1 ? e : next_C[species[neighbors[e]]]++;
    edges.edge[slot] = e;
    edges.neighbor[slot] = neighbors[e];
  }
}

/// r_ij of every slot: what is looked up first, lane by lane, then the arithmetic in packs.
template <class T>
void measure(const Structures& s, int64_t i, double cutoff, Edges<T>& edges) {
  constexpr int L = lanes<T>;
  const int64_t structure = s.structure_A[i];
  const double *cell = s.cell_S33 + 9 * structure, *center = s.positions_A3 + 3 * i;
  const double* positions = s.positions_A3 + 3 * s.first_atom_S[structure];
  const int16_t* shifts = s.shifts_N3 + 3 * s.first_edge_A[i];
  for (int32_t slot = 0; slot < edges.n_packs * L; slot += L) {
    double r[3][L];
    int32_t shift[3][L], real[L];
    for (int l = 0; l < L; ++l) {
      const int32_t e = edges.edge[slot + l];
      const double* other = positions + 3 * int64_t(edges.neighbor[slot + l]);
      const int16_t* of_edge = shifts + (e < 0 ? 0 : 3 * int64_t(e));
      for (int k = 0; k < 3; ++k) r[k][l] = other[k], shift[k][l] = of_edge[k];
      real[l] = e >= 0;
    }
    for (int l = 0; l < L; ++l) {
      const double a = shift[0][l], b = shift[1][l], c = shift[2][l];
      const double x = r[0][l] + (a * cell[0] + b * cell[3] + c * cell[6]) - center[0];
      const double y = r[1][l] + (a * cell[1] + b * cell[4] + c * cell[7]) - center[1];
      const double z = r[2][l] + (a * cell[2] + b * cell[5] + c * cell[8]) - center[2];
      const bool inside = (x * x + y * y + z * z < cutoff * cutoff) & (real[l] != 0);
      edges.x[slot + l] = T(inside ? x : cutoff);
      edges.y[slot + l] = T(inside ? y : 0);
      edges.z[slot + l] = T(inside ? z : 0);
    }
  }
}

}  // namespace LIGHTPFP_ISA
