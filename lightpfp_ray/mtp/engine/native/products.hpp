// The products of moments, the lanes being atoms: forward, tangent, and the reverse of each.
//
//   forward   t = sum times l r
//   tangent   tdot = sum times (ldot r + l rdot)
//   reverse   lbar += times tbar r,   rbar += times tbar l
//   reverse of tangent
//             lbar += times (tbar r + tdotbar rdot),   rbar += times (tbar l + tdotbar ldot),
//             ldotbar += times tdotbar r,              rdotbar += times tdotbar l
#pragma once

#include "program.hpp"
#include "simd.hpp"

namespace LIGHTPFP_ISA {

using namespace lightpfp;

template <class T>
void forward_products(const Program<T>& program, Pack<T>* __restrict M) {
  const Term<T>* term = program.terms;
  for (int32_t t = 0; t < program.n_targets; ++t) {
    const Target target = program.targets[t];
    Pack<T> sum = splat(T(0));
    for (const Term<T>* end = term + target.n_terms; term < end; ++term)
      sum += splat(term->times) * M[term->left] * M[term->right];
    M[target.moment] = sum;
  }
}

/// M is complete; `dot` holds the tangents of the components, and in the end those of all moments.
template <class T>
void tangent_products(const Program<T>& program, const Pack<T>* __restrict M,
                      Pack<T>* __restrict dot) {
  const Term<T>* term = program.terms;
  for (int32_t t = 0; t < program.n_targets; ++t) {
    const Target target = program.targets[t];
    Pack<T> sum = splat(T(0));
    for (const Term<T>* end = term + target.n_terms; term < end; ++term) {
      const Pack<T> mixed = dot[term->left] * M[term->right] + M[term->left] * dot[term->right];
      sum += splat(term->times) * mixed;
    }
    dot[target.moment] = sum;
  }
}

/// `bar` holds the adjoints of the scalars, and in the end those of all moments.
template <class T>
void reverse_products(const Program<T>& program, const Pack<T>* __restrict M,
                      Pack<T>* __restrict bar) {
  const Term<T>* term = program.terms + program.n_terms;
  for (int32_t t = program.n_targets - 1; t >= 0; --t) {
    const Target target = program.targets[t];
    const Pack<T> t_bar = bar[target.moment];
    for (const Term<T>* begin = term - target.n_terms; term > begin;) {
      --term;
      const Pack<T> scaled = splat(term->times) * t_bar;
      bar[term->left] += scaled * M[term->right];
      bar[term->right] += scaled * M[term->left];
    }
  }
}

template <class T>
void reverse_products_tangent(const Program<T>& program, const Pack<T>* __restrict M,
                              const Pack<T>* __restrict dot, Pack<T>* __restrict bar,
                              Pack<T>* __restrict dot_bar) {
  const Term<T>* term = program.terms + program.n_terms;
  for (int32_t t = program.n_targets - 1; t >= 0; --t) {
    const Target target = program.targets[t];
    const Pack<T> t_bar = bar[target.moment], t_dot_bar = dot_bar[target.moment];
    for (const Term<T>* begin = term - target.n_terms; term > begin;) {
      --term;
      const int32_t l = term->left, r = term->right;
      const Pack<T> times = splat(term->times);
      const Pack<T> scaled = times * t_bar, scaled_dot = times * t_dot_bar;
      const Pack<T> left = M[l], right = M[r];
      bar[l] = bar[l] + scaled * right + scaled_dot * dot[r];
      bar[r] = bar[r] + scaled * left + scaled_dot * dot[l];
      dot_bar[l] += scaled_dot * right;
      dot_bar[r] += scaled_dot * left;
    }
  }
}

}  // namespace LIGHTPFP_ISA
