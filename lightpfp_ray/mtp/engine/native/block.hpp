// A block of atoms, one in each lane, and how atoms and their edges come into the lanes and out.
#pragma once

#include "moments.hpp"
#include "products.hpp"
#include "readout.hpp"

namespace LIGHTPFP_ISA {

/// The memory of a pass over a block.
template <class T>
struct Block {
  using P = Pack<T>;
  int32_t* next_C;
  Edges<T> edges[lanes<T>];
  P* heads[lanes<T>];
  P *M, *dot, *bar, *dot_bar;   // moments: values, tangents, adjoints of both
  P *sum_KL, *dot_KL;           // of one atom, by edge
  T *bar_K, *dot_bar_K;         // of one atom
  P *phi, *slope, *f_bar;
  Monomials<T> monomials;
  ReadoutWork<T> readout;
  ReadoutGradient<T> readout_sums;
  P* radial_sums;               // by slot of a pair: (R, Q)

  Block(Arena& arena, const Potential<T>& p, const Structures& s, int64_t n_slots) {
    const int32_t packs = most_packs(p, s);
    const auto& program = p.program;
    next_C = arena.take<int32_t>(p.n_species);
    for (int l = 0; l < lanes<T>; ++l) {
      edges[l] = take_edges<T>(arena, packs);
      heads[l] = arena.take<P>(packs * head_packs(p));
    }
    for (P** each : {&M, &dot, &bar, &dot_bar}) *each = arena.take<P>(program.n_moments);
    for (P** each : {&sum_KL, &dot_KL}) *each = arena.take<P>(program.n_components);
    for (T** each : {&bar_K, &dot_bar_K}) *each = arena.take<T>(program.n_components);
    for (P** each : {&phi, &slope}) *each = arena.take<P>(p.n_q);
    f_bar = arena.take<P>(most_together * 2 * program.n_radial);
    monomials = take_monomials(arena, program);
    readout = take_readout(arena, p);
    if (n_slots) readout_sums.take(arena, p);
    radial_sums = arena.take<P>(n_slots * program.n_radial * p.n_q);
  }

  Head<T>* head(const Potential<T>& p, int lane, int32_t pack) {
    return reinterpret_cast<Head<T>*>(heads[lane] + pack * head_packs(p));
  }
};

template <int V>
struct Together {
  static constexpr int n = V;
};

/// Calls f(Together<V>, first) for groups of at most `most_together` packs.
template <class F>
inline void in_groups(int32_t n_packs, F f) {
  static_assert(most_together == 3);
  int32_t first = 0;
  for (; n_packs - first >= 3 && n_packs - first != 4; first += 3) f(Together<3>{}, first);
  for (; n_packs - first >= 2; first += 2) f(Together<2>{}, first);
  if (first < n_packs) f(Together<1>{}, first);
}

/// Geometry and radial functions of the edges of the atom in a lane.
template <class T>
void prepare(const Potential<T>& p, const Structures& s, int64_t i, int lane, Block<T>& block) {
  Edges<T>& edges = block.edges[lane];
  order(p, s, i, block.next_C, edges);
  measure(s, i, p.cutoff, edges);
  for (int32_t n = 0; n < edges.n_packs; ++n) {
    Head<T>* head = block.head(p, lane, n);
    directions(edges, n, *head);
    radial_basis(p, head->r, block.phi, block.slope);
    const T* coeffs = pair_coeffs(p, s.species_A[i], edges.species[n]);
    radial_functions(p, coeffs, block.phi, block.slope, head->f());
  }
}

template <int V, class T>
inline void heads_of(const Potential<T>& p, Block<T>& block, int lane, int32_t first,
                     const Head<T>** heads) {
  for (int v = 0; v < V; ++v) heads[v] = block.head(p, lane, first + v);
}

/// Sums over edges into a lane of M.
template <class T>
inline void into_lane(int32_t n, const Pack<T>* sum_KL, int lane, Pack<T>* M) {
  T* values = reinterpret_cast<T*>(M) + lane;
  for (int32_t k = 0; k < n; ++k) values[k * lanes<T>] = sum(sum_KL[k]);
}

template <class T>
inline void out_of_lane(int32_t n, const Pack<T>* packs, int lane, T* values) {
  const T* from = reinterpret_cast<const T*>(packs) + lane;
  for (int32_t k = 0; k < n; ++k) values[k] = from[k * lanes<T>];
}

template <class T>
void clear_components(const Program<T>& program, int present, Pack<T>* M) {
  if (present < lanes<T>) clear<T>(M, program.n_components);
}

template <class T>
void to_readout(const Program<T>& program, const Pack<T>* M, Pack<T>* x) {
  for (int32_t b = 0; b < program.n_basis; ++b) x[b] = M[program.scalars_B[b]];
}

template <class T>
void from_readout(const Program<T>& program, const Pack<T>* x_bar, Pack<T>* bar) {
  clear<T>(bar, program.n_moments);
  for (int32_t b = 0; b < program.n_basis; ++b) bar[program.scalars_B[b]] += x_bar[b];
}

}  // namespace LIGHTPFP_ISA
