// Components of the moments of one atom, M[mu; a, b, c] = sum_j f_mu(r) u_x^a u_y^b u_z^c, the
// lanes being its edges j; their tangents; and their adjoints, Mbar = dJ/dM.
//
//   forward   mono[m] = mono[parent] u[axis]
//             M[k] += f mono
//   tangent   monodot[m] = monodot[parent] u[axis] + mono[parent] udot[axis]
//             Mdot[k] += fdot mono + f monodot
//   reverse   fbar += Mbar[k] mono,   monobar[m] += Mbar[k] f
//             monobar[parent] += monobar[m] u[axis],   ubar[axis] += monobar[m] mono[parent]
//   reverse of tangent, for parameters only: fbar += Mbar[k] mono + Mdotbar[k] monodot,
//             fdotbar += Mdotbar[k] mono
//
// Shapeev 2016, eq. 3.1. V packs of edges are handled together, so that a sum over edges is loaded
// and stored once for all of them.
#pragma once

#include "radial.hpp"

namespace LIGHTPFP_ISA {

constexpr int most_together = 3;

/// Memory for monomials: `most_together` packs each.
template <class T>
struct Monomials {
  Pack<T> *value, *dot, *bar;
};

template <class T>
Monomials<T> take_monomials(Arena& arena, const Program<T>& program) {
  const int64_t n = int64_t(program.n_monomials) * most_together;
  return {arena.take<Pack<T>>(n), arena.take<Pack<T>>(n), arena.take<Pack<T>>(n)};
}

template <int V, class T>
inline void monomials(const Program<T>& program, const Head<T>* const* heads, Pack<T>* mono) {
  for (int v = 0; v < V; ++v) mono[v] = splat(T(1));
  for (int32_t m = 1; m < program.n_monomials; ++m) {
    const auto [parent, axis] = program.monomials[m];
    for (int v = 0; v < V; ++v) mono[m * V + v] = mono[parent * V + v] * heads[v]->u[axis];
  }
}

template <int V, class T>
inline void monomial_tangents(const Program<T>& program, const Head<T>* const* heads,
                              const Pack<T>* mono, Pack<T>* dot) {
  for (int v = 0; v < V; ++v) dot[v] = splat(T(0));
  for (int32_t m = 1; m < program.n_monomials; ++m) {
    const auto [parent, axis] = program.monomials[m];
    for (int v = 0; v < V; ++v)
      dot[m * V + v] = dot[parent * V + v] * heads[v]->u[axis] +
                       mono[parent * V + v] * heads[v]->u_dot[axis];
  }
}

/// sum_KL[k] += f mono, not yet summed over lanes.
template <int V, class T>
void forward(const Program<T>& program, const Head<T>* const* heads, const Monomials<T>& work,
             Pack<T>* sum_KL) {
  monomials<V>(program, heads, work.value);
  for (int32_t mu = 0; mu < program.n_radial; ++mu) {
    Pack<T> f[V];
    for (int v = 0; v < V; ++v) f[v] = heads[v]->f()[mu];
    for (int32_t k = program.first_R[mu]; k < program.first_R[mu + 1]; ++k) {
      const Pack<T>* mono = work.value + program.monomial_K[k] * V;
      Pack<T> sum = sum_KL[k];
      for (int v = 0; v < V; ++v) sum += f[v] * mono[v];
      sum_KL[k] = sum;
    }
  }
}

/// The same, and dot_KL[k] += fdot mono + f monodot.
template <int V, class T>
void forward_tangent(const Program<T>& program, const Head<T>* const* heads,
                     const Monomials<T>& work, Pack<T>* sum_KL, Pack<T>* dot_KL) {
  monomials<V>(program, heads, work.value);
  monomial_tangents<V>(program, heads, work.value, work.dot);
  for (int32_t mu = 0; mu < program.n_radial; ++mu) {
    Pack<T> f[V], f_dot[V];
    for (int v = 0; v < V; ++v) {
      f[v] = heads[v]->f()[mu];
      f_dot[v] = heads[v]->f()[program.n_radial + mu];
    }
    for (int32_t k = program.first_R[mu]; k < program.first_R[mu + 1]; ++k) {
      const int32_t m = program.monomial_K[k] * V;
      Pack<T> sum = sum_KL[k], dot = dot_KL[k];
      for (int v = 0; v < V; ++v) {
        sum += f[v] * work.value[m + v];
        dot += f_dot[v] * work.value[m + v];
        dot += f[v] * work.dot[m + v];
      }
      sum_KL[k] = sum;
      dot_KL[k] = dot;
    }
  }
}

/// ubar of V packs out of monobar: monobar is passed on to the parents first, highest degree first.
template <int V, class T>
inline void reverse_monomials(const Program<T>& program, const Head<T>* const* heads,
                              const Monomials<T>& work, Pack<T> (*u_bar)[3]) {
  for (int32_t m = program.n_monomials - 1; m > 0; --m) {
    const auto [parent, axis] = program.monomials[m];
    for (int v = 0; v < V; ++v)
      work.bar[parent * V + v] += work.bar[m * V + v] * heads[v]->u[axis];
  }
  for (int axis = 0; axis < 3; ++axis) {
    Pack<T> sum[V];
    for (int v = 0; v < V; ++v) sum[v] = splat(T(0));
    for (int32_t n = program.first_axis_4[axis]; n < program.first_axis_4[axis + 1]; ++n) {
      const int32_t m = program.by_axis[n], parent = program.monomials[m].parent;
      for (int v = 0; v < V; ++v) sum[v] += work.bar[m * V + v] * work.value[parent * V + v];
    }
    for (int v = 0; v < V; ++v) u_bar[v][axis] = sum[v];
  }
}

/// g_ij = rbar u + (ubar - u (u . ubar)) / r for the edges of V packs; `bar_K` are adjoints Mbar.
template <int V, class T>
void reverse(const Program<T>& program, const Head<T>* const* heads, const Monomials<T>& work,
             const T* bar_K, Pack<T> (*g)[3]) {
  using P = Pack<T>;
  monomials<V>(program, heads, work.value);
  clear<T>(work.bar, int64_t(program.n_monomials) * V);
  P r_bar[V];
  for (int v = 0; v < V; ++v) r_bar[v] = splat(T(0));
  for (int32_t mu = 0; mu < program.n_radial; ++mu) {
    P f[V], f_bar[V];
    for (int v = 0; v < V; ++v) f[v] = heads[v]->f()[mu], f_bar[v] = splat(T(0));
    for (int32_t k = program.first_R[mu]; k < program.first_R[mu + 1]; ++k) {
      const int32_t m = program.monomial_K[k] * V;
      const P bar = splat(bar_K[k]);
      for (int v = 0; v < V; ++v) {
        f_bar[v] += bar * work.value[m + v];
        work.bar[m + v] += bar * f[v];
      }
    }
    for (int v = 0; v < V; ++v) r_bar[v] += f_bar[v] * heads[v]->f()[program.n_radial + mu];
  }
  P u_bar[V][3];
  reverse_monomials<V>(program, heads, work, u_bar);
  for (int v = 0; v < V; ++v) {
    const P* u = heads[v]->u;
    const P along = u[0] * u_bar[v][0] + u[1] * u_bar[v][1] + u[2] * u_bar[v][2];
    for (int k = 0; k < 3; ++k)
      g[v][k] = r_bar[v] * u[k] + (u_bar[v][k] - u[k] * along) * heads[v]->r_inverse;
  }
}

/// fbar and fdotbar of the edges of V packs: bars[v] holds fbar (R), then fdotbar (R).
template <int V, class T>
void reverse_tangent(const Program<T>& program, const Head<T>* const* heads,
                     const Monomials<T>& work, const T* bar_K, const T* dot_bar_K,
                     Pack<T>* const* bars) {
  using P = Pack<T>;
  monomials<V>(program, heads, work.value);
  monomial_tangents<V>(program, heads, work.value, work.dot);
  for (int32_t mu = 0; mu < program.n_radial; ++mu) {
    P f_bar[V], f_dot_bar[V];
    for (int v = 0; v < V; ++v) f_bar[v] = f_dot_bar[v] = splat(T(0));
    for (int32_t k = program.first_R[mu]; k < program.first_R[mu + 1]; ++k) {
      const int32_t m = program.monomial_K[k] * V;
      const P bar = splat(bar_K[k]), dot_bar = splat(dot_bar_K[k]);
      for (int v = 0; v < V; ++v) {
        f_bar[v] += bar * work.value[m + v];
        f_bar[v] += dot_bar * work.dot[m + v];
        f_dot_bar[v] += dot_bar * work.value[m + v];
      }
    }
    for (int v = 0; v < V; ++v) {
      bars[v][mu] = f_bar[v];
      bars[v][program.n_radial + mu] = f_dot_bar[v];
    }
  }
}

}  // namespace LIGHTPFP_ISA
