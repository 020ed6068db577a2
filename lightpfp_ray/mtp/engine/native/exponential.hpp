// exp of every lane of a pack, to 1 unit in the last place.
//
//   exp x = 2^n exp r,   n = round(x / ln 2),   r = x - n ln 2,   exp r = sum_k r^k / k!
//
// ln 2 is taken off in two parts, the first of few bits, so that its product with n is exact. n
// stands in the low bits of x / ln 2 + 1.5 * 2^mantissa, and is added to the exponent of exp r.
#pragma once

#include <cstdint>

#include "simd.hpp"

namespace LIGHTPFP_ISA {

/// 1 / k!
constexpr double inverse_factorials[] = {
    1.0,           1.0,            1.0 / 2,         1.0 / 6,         1.0 / 24,
    1.0 / 120,     1.0 / 720,      1.0 / 5040,      1.0 / 40320,     1.0 / 362880,
    1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};

/// `degree`: of the sum, whose next term is below half a unit in the last place at |r| = ln 2 / 2.
template <class T>
struct ExpOf;
template <>
struct ExpOf<double> {
  using Integer = int64_t;
  static constexpr int mantissa = 52, degree = 13;
  static constexpr double most = 708, shifter = 0x1.8p52;
  static constexpr double ln2_high = 0x1.62e42fefap-1, ln2_low = 0x1.cf79abc9e3b3ap-40;
};
template <>
struct ExpOf<float> {
  using Integer = int32_t;
  static constexpr int mantissa = 23, degree = 7;
  static constexpr float most = 87, shifter = 0x1.8p23f;
  static constexpr float ln2_high = 0x1.63p-1f, ln2_low = -0x1.bd0106p-13f;
};

template <class T>
inline typename Native<T>::type exp_native(typename Native<T>::type x) {
  using V = typename Native<T>::type;
  using Of = ExpOf<T>;
  typedef typename Of::Integer I __attribute__((vector_size(vector_bytes), may_alias));
  const V most = Of::most - V{}, least = -Of::most - V{};
  x = x > most ? most : x;
  x = x < least ? least : x;
  const V shifted = x * T(1.4426950408889634) + Of::shifter, n = shifted - Of::shifter;
  const V r = (x - n * Of::ln2_high) - n * Of::ln2_low;
  V value = V{} + T(inverse_factorials[Of::degree]);
  for (int k = Of::degree - 1; k >= 0; --k) value = value * r + T(inverse_factorials[k]);
  return (V)((I)value + ((I)shifted << Of::mantissa));
}

/// exp, of x between -708 and 708 (float: -87 and 87); beyond these the exp of the bound.
template <class T, int N>
inline Group<T, N> exp_of(const Group<T, N>& x) {
  if constexpr (N == 1)
    return {exp_native<T>(x.v)};
  else
    return {exp_of(x.lo), exp_of(x.hi)};
}

}  // namespace LIGHTPFP_ISA
