// The radial functions of a pack of edges, and what moments need of their geometry.
//
//   f_mu(r) = sum_q c[z_i, z_j, mu, q] phi_q(r),   phi_q = T_q(s) h,   h = scaling (r_c - r)^2
//   s = (2 r - (r_min + r_c)) / (r_c - r_min),     T_{q+1} = 2 s T_q - T_{q-1}
//   dphi_q/dr = T_q'(s) (ds/dr) h + T_q h'         (Shapeev 2016, eq. 3.2)
//   T_q' = q U_{q-1},                              U_{q+1} = 2 s U_q - U_{q-1}
//
// With repulsion, phi_q stays below r_min what it is there.
#pragma once

#include "edges.hpp"

namespace LIGHTPFP_ISA {

/// phi_q and dphi_q/dr for q < n_q.
template <class T>
inline void radial_basis(const Potential<T>& p, Pack<T> r, Pack<T>* phi, Pack<T>* slope) {
  using P = Pack<T>;
  const P r_min = splat(T(p.min_dist)), r_c = splat(T(p.cutoff));
  P moving = splat(T(1));
  if (p.repulsion) {
    moving = where_less(r, r_min, splat(T(0)), moving);
    r = where_less(r, r_min, r_min, r);
  }
  const T ds = T(2 / (p.cutoff - p.min_dist));
  const P s = (r + r - (r_min + r_c)) * splat(ds / 2), two_s = s + s;
  const P gap = r_c - r, scaled = splat(T(p.scaling)) * gap, h = scaled * gap;
  const P ds_h = splat(ds) * h * moving, dh = splat(T(-2)) * scaled * moving;
  P t = splat(T(1)), t_next = s, u_before = splat(T(0)), u = t;  // T_q, T_{q+1}, U_{q-1}, U_q
  for (int32_t q = 0; q < p.n_q; ++q) {
    phi[q] = t * h;
    slope[q] = splat(T(q)) * u_before * ds_h + t * dh;
    const P t_after = two_s * t_next - t, u_next = two_s * u - u_before;
    t = t_next, t_next = t_after, u_before = u, u = u_next;
  }
}

/// One pack of edges: direction u = r_ij / r, f_mu and its derivative; their tangents if wanted.
///
/// In memory: `Head`, then f (R), then its slope df/dr (R) or, with tangents, fdot = df/dr rdot.
template <class T>
struct Head {
  Pack<T> u[3], r_inverse, r, u_dot[3], r_dot;
  Pack<T>* f() { return reinterpret_cast<Pack<T>*>(this + 1); }
  const Pack<T>* f() const { return reinterpret_cast<const Pack<T>*>(this + 1); }
};

template <class T>
int64_t head_packs(const Potential<T>& p) {
  return int64_t(sizeof(Head<T>) / sizeof(Pack<T>)) + 2 * p.program.n_radial;
}

template <class T>
const T* pair_coeffs(const Potential<T>& p, int32_t center, int32_t neighbor) {
  const int64_t pair = int64_t(center) * p.n_species + neighbor;
  return p.radial_CCRQ + pair * p.program.n_radial * p.n_q;
}

/// f_mu = sum_q c phi_q, and the same sum of dphi_q/dr.
template <class T>
inline void radial_functions(const Potential<T>& p, const T* coeffs_RQ, const Pack<T>* phi,
                             const Pack<T>* slope, Pack<T>* f) {
  const int32_t n = p.program.n_radial, n_q = p.n_q;
  for (int32_t mu = 0; mu < n; ++mu, coeffs_RQ += n_q) {
    Pack<T> value = splat(T(0)), derivative = value;
    for (int32_t q = 0; q < n_q; ++q) {
      const Pack<T> c = splat(coeffs_RQ[q]);
      value += c * phi[q];
      derivative += c * slope[q];
    }
    f[mu] = value;
    f[n + mu] = derivative;
  }
}

/// Length and direction of the edges of a pack.
template <class T>
inline void directions(const Edges<T>& edges, int32_t pack, Head<T>& head) {
  constexpr int L = lanes<T>;
  const T *x = edges.x + pack * L, *y = edges.y + pack * L, *z = edges.z + pack * L;
  T* r = reinterpret_cast<T*>(&head.r);
  T* inverse = reinterpret_cast<T*>(&head.r_inverse);
  for (int l = 0; l < L; ++l) {
    r[l] = std::sqrt(x[l] * x[l] + y[l] * y[l] + z[l] * z[l]);
    inverse[l] = T(1) / r[l];
  }
  const T* components[3] = {x, y, z};
  for (int k = 0; k < 3; ++k)
    head.u[k] = load(components[k]) * head.r_inverse;
}

/// Tangents for a change d of r_ij: rdot = u . d, udot = (d - u rdot) / r, fdot = df/dr rdot.
template <class T>
inline void tangents(const Potential<T>& p, const Pack<T>* d, Head<T>& head) {
  const int32_t n = p.program.n_radial;
  head.r_dot = head.u[0] * d[0] + head.u[1] * d[1] + head.u[2] * d[2];
  for (int k = 0; k < 3; ++k)
    head.u_dot[k] = (d[k] - head.u[k] * head.r_dot) * head.r_inverse;
  for (int32_t mu = 0; mu < n; ++mu) head.f()[n + mu] = head.f()[n + mu] * head.r_dot;
}

}  // namespace LIGHTPFP_ISA
