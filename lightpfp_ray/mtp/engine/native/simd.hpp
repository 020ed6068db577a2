// Packs of 64 bytes, 8 doubles or 16 floats, in the widest registers that the compiler may use.
//
// In products and readout the lanes of a pack are atoms; in radial functions and moments they are
// the edges of one atom.
#pragma once

#include <cmath>
#include <cstdint>
#include <utility>

#include "program.hpp"

namespace LIGHTPFP_ISA {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64;
#elif defined(__AVX__)
constexpr int vector_bytes = 32;
#else
constexpr int vector_bytes = 16;
#endif
constexpr int pack_bytes = 64;

template <class T>
struct Native {
  typedef T type __attribute__((vector_size(vector_bytes), may_alias));
};

/// N native vectors of T as two halves.
template <class T, int N>
struct Group {
  Group<T, N / 2> lo, hi;
};
template <class T>
struct Group<T, 1> {
  typename Native<T>::type v;
};

template <class T>
using Pack = Group<T, pack_bytes / vector_bytes>;

template <class T>
constexpr int lanes = pack_bytes / int(sizeof(T));

#define LIGHTPFP_OPERATOR(OP)                                                              \
  template <class T, int N>                                                                \
  inline Group<T, N> operator OP(const Group<T, N>& a, const Group<T, N>& b) {             \
    if constexpr (N == 1)                                                                  \
      return {a.v OP b.v};                                                                 \
    else                                                                                   \
      return {a.lo OP b.lo, a.hi OP b.hi};                                                 \
  }
LIGHTPFP_OPERATOR(+)
LIGHTPFP_OPERATOR(-)
LIGHTPFP_OPERATOR(*)
LIGHTPFP_OPERATOR(/)
#undef LIGHTPFP_OPERATOR

template <class T>
inline const Pack<T>& load(const T* lanes) {
  return *reinterpret_cast<const Pack<T>*>(lanes);
}

/// Each lane rounded to X, into memory.
template <class X, class T, int N>
inline void store(const Group<T, N>& a, X* out) {
  if constexpr (N == 1) {
    constexpr int n = vector_bytes / int(sizeof(T));
    typedef X To __attribute__((vector_size(n * sizeof(X)), may_alias));
    *reinterpret_cast<To*>(out) = __builtin_convertvector(a.v, To);
  } else {
    store(a.lo, out);
    store(a.hi, out + N / 2 * vector_bytes / int(sizeof(T)));
  }
}

template <class T, int N>
inline Group<T, N>& operator+=(Group<T, N>& a, const Group<T, N>& b) {
  return a = a + b;
}

/// x in every lane.
template <class T, int N = pack_bytes / vector_bytes>
inline Group<T, N> splat(T x) {
  if constexpr (N == 1) {
    return {x - typename Native<T>::type{}};
  } else {
    const auto half = splat<T, N / 2>(x);
    return {half, half};
  }
}

/// Lane by lane: a < b ? x : y.
template <class T, int N>
inline Group<T, N> where_less(const Group<T, N>& a, const Group<T, N>& b, const Group<T, N>& x,
                              const Group<T, N>& y) {
  if constexpr (N == 1)
    return {a.v < b.v ? x.v : y.v};
  else
    return {where_less(a.lo, b.lo, x.lo, y.lo), where_less(a.hi, b.hi, x.hi, y.hi)};
}

template <int Shift, class V, int... I>
inline V rotated(V v, std::integer_sequence<int, I...>) {
  constexpr int width = sizeof...(I);
  return __builtin_shufflevector(v, v, ((I + Shift) % width)...);
}

template <class T, int Shift>
inline T folded(typename Native<T>::type v) {
  if constexpr (Shift == 0) {
    return v[0];
  } else {
    constexpr int width = vector_bytes / int(sizeof(T));
    return folded<T, Shift / 2>(v + rotated<Shift>(v, std::make_integer_sequence<int, width>{}));
  }
}

/// The sum of all lanes.
template <class T, int N>
inline T sum(const Group<T, N>& a) {
  if constexpr (N == 1)
    return folded<T, vector_bytes / int(sizeof(T)) / 2>(a.v);
  else
    return sum(a.lo + a.hi);
}

/// The numbers of an `Xyz`.
template <class T>
struct Four {
  typedef T type __attribute__((vector_size(4 * sizeof(T)), may_alias));
};

/// x, y and z of four rows as columns.
template <class T>
inline void rows_to_columns(const lightpfp::Xyz<T>* const* rows, T* x, T* y, T* z) {
  using F = typename Four<T>::type;
  F row[4];
  for (int n = 0; n < 4; ++n) row[n] = *reinterpret_cast<const F*>(rows[n]);
  const F xz_01 = __builtin_shufflevector(row[0], row[1], 0, 4, 2, 6);
  const F xz_23 = __builtin_shufflevector(row[2], row[3], 0, 4, 2, 6);
  const F y_01 = __builtin_shufflevector(row[0], row[1], 1, 5, 3, 7);
  const F y_23 = __builtin_shufflevector(row[2], row[3], 1, 5, 3, 7);
  *reinterpret_cast<F*>(x) = __builtin_shufflevector(xz_01, xz_23, 0, 1, 4, 5);
  *reinterpret_cast<F*>(y) = __builtin_shufflevector(y_01, y_23, 0, 1, 4, 5);
  *reinterpret_cast<F*>(z) = __builtin_shufflevector(xz_01, xz_23, 2, 3, 6, 7);
}

/// Columns of four numbers, taken from four rows, one row after the other.
template <class T>
inline void subtract_from_rows(const T* x, const T* y, const T* z,
                               lightpfp::Xyz<double>* const* rows) {
  using From = typename Four<T>::type;
  using F = typename Four<double>::type;
  const F x_4 = __builtin_convertvector(*reinterpret_cast<const From*>(x), F);
  const F y_4 = __builtin_convertvector(*reinterpret_cast<const From*>(y), F);
  const F z_4 = __builtin_convertvector(*reinterpret_cast<const From*>(z), F), none{};
  const F xy_02 = __builtin_shufflevector(x_4, y_4, 0, 4, 2, 6);
  const F xy_13 = __builtin_shufflevector(x_4, y_4, 1, 5, 3, 7);
  const F z_02 = __builtin_shufflevector(z_4, none, 0, 4, 2, 6);
  const F z_13 = __builtin_shufflevector(z_4, none, 1, 5, 3, 7);
  *reinterpret_cast<F*>(rows[0]) -= __builtin_shufflevector(xy_02, z_02, 0, 1, 4, 5);
  *reinterpret_cast<F*>(rows[1]) -= __builtin_shufflevector(xy_13, z_13, 0, 1, 4, 5);
  *reinterpret_cast<F*>(rows[2]) -= __builtin_shufflevector(xy_02, z_02, 2, 3, 6, 7);
  *reinterpret_cast<F*>(rows[3]) -= __builtin_shufflevector(xy_13, z_13, 2, 3, 6, 7);
}

template <class T>
inline void clear(Pack<T>* packs, int64_t n) {
  const Pack<T> zero = splat(T(0));
  for (int64_t i = 0; i < n; ++i) packs[i] = zero;
}

/// Carves arrays, each aligned to a pack, out of one piece of memory; without memory it measures.
class Arena {
 public:
  explicit Arena(void* memory) : memory_(static_cast<char*>(memory)) {}

  template <class X>
  X* take(int64_t n) {
    char* found = memory_ + used_;
    used_ += (n * int64_t(sizeof(X)) + pack_bytes - 1) / pack_bytes * pack_bytes;
    return reinterpret_cast<X*>(found);
  }
  int64_t used() const { return used_; }

 private:
  char* memory_;
  int64_t used_ = 0;
};

}  // namespace LIGHTPFP_ISA
