// The edges of one atom in packs: r_ij = positions[j] + shift @ cell - positions[i], r < cutoff.
//
// Edges are grouped by the species of the neighbor, so that a pack has one set of radial
// coefficients. Lanes that are left over hold (cutoff, 0, 0), where every radial function vanishes.
#pragma once

#include "program.hpp"
#include "simd.hpp"

namespace LIGHTPFP_ISA {

using namespace lightpfp;

template <class T>
struct Edges {
  int32_t n_packs;
  T *x, *y, *z;      // r_ij, by slot
  int32_t* edge;     // by slot: edge of the atom, counted from its first; -1: left over
  int32_t* species;  // by pack: of the neighbors
};

/// Memory of a search over the species of neighbors.
struct Groups {
  double* r_E3;       // of all edges of an atom
  int32_t* kind_E;    // species of the neighbor; -1 beyond the cutoff
  int32_t* filled_C;  // slot that the next edge of a species takes
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
  edges.species = arena.take<int32_t>(packs);
  return edges;
}

template <class T>
Groups take_groups(Arena& arena, const Potential<T>& p, const Structures& s) {
  return {arena.take<double>(3 * int64_t(s.most_edges)), arena.take<int32_t>(s.most_edges),
          arena.take<int32_t>(p.n_species)};
}

/// r_ij of all edges of atom i, and how many of each species lie within the cutoff.
inline void measure(const Structures& s, int64_t i, double cutoff, const Groups& groups) {
  const int64_t structure = s.structure_A[i], first_atom = s.first_atom_S[structure];
  const double* cell = s.cell_S33 + 9 * structure;
  const double* center = s.positions_A3 + 3 * i;
  const int32_t* neighbors = s.neighbors_N + s.first_edge_A[i];
  const int16_t* shifts = s.shifts_N3 + 3 * s.first_edge_A[i];
  for (int32_t e = 0; e < s.n_edges_A[i]; ++e) {
    const int64_t j = first_atom + neighbors[e];
    const double a = shifts[3 * e], b = shifts[3 * e + 1], c = shifts[3 * e + 2];
    double square = 0;
    for (int k = 0; k < 3; ++k) {
      const double offset = a * cell[k] + b * cell[3 + k] + c * cell[6 + k];
      const double r = s.positions_A3[3 * j + k] + offset - center[k];
      groups.r_E3[3 * e + k] = r;
      square += r * r;
    }
    const bool inside = square < cutoff * cutoff;
    groups.kind_E[e] = inside ? s.species_A[j] : -1;
    if (inside) ++groups.filled_C[s.species_A[j]];
  }
}

/// Fill `edges` with those of atom i.
template <class T>
void gather(const Potential<T>& p, const Structures& s, int64_t i, const Groups& groups,
            Edges<T>& edges) {
  for (int32_t c = 0; c < p.n_species; ++c) groups.filled_C[c] = 0;
  measure(s, i, p.cutoff, groups);
  edges.n_packs = 0;
  for (int32_t c = 0; c < p.n_species; ++c) {
    const int32_t packs = (groups.filled_C[c] + lanes<T> - 1) / lanes<T>;
    groups.filled_C[c] = edges.n_packs * lanes<T>;
    for (int32_t n = 0; n < packs; ++n) edges.species[edges.n_packs++] = c;
  }
  for (int32_t slot = 0; slot < edges.n_packs * lanes<T>; ++slot) {
    edges.x[slot] = T(p.cutoff);
    edges.y[slot] = edges.z[slot] = T(0);
    edges.edge[slot] = -1;
  }
  for (int32_t e = 0; e < s.n_edges_A[i]; ++e) {
    if (groups.kind_E[e] < 0) continue;
    const int32_t slot = groups.filled_C[groups.kind_E[e]]++;
    edges.x[slot] = T(groups.r_E3[3 * e]);
    edges.y[slot] = T(groups.r_E3[3 * e + 1]);
    edges.z[slot] = T(groups.r_E3[3 * e + 2]);
    edges.edge[slot] = e;
  }
}

}  // namespace LIGHTPFP_ISA
