// Which of a row of points lie near another one: by the widest instructions that the processor has.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#if defined(__x86_64__) && defined(__GNUC__)
#define LIGHTPFP_AVX2
#include <immintrin.h>
#endif

#include "lattice.hpp"

namespace lightpfp {

/// Points by coordinate, and their numbers; three more that are of no meaning follow the last.
struct Points {
  const double *x, *y, *z;
  const int32_t* number;
};

/// Numbers and squared distances of the points from `first` to before `last` whose square is below
/// `most`; how many. Both have room for all of them and four more.
using Sieve = size_t (*)(const Points& points, size_t first, size_t last, const Vector& p,
                         double most, int32_t* numbers, double* squares);

inline size_t sieve_plain(const Points& points, size_t first, size_t last, const Vector& p,
                          double most, int32_t* numbers, double* squares) {
  size_t count = 0;
  for (size_t n = first; n < last; ++n) {
    const double x = points.x[n] - p[0], y = points.y[n] - p[1], z = points.z[n] - p[2];
    const double square = x * x + y * y + z * z;
    numbers[count] = points.number[n];
    squares[count] = square;
    count += square < most;
  }
  return count;
}

#ifdef LIGHTPFP_AVX2

/// For each set of four lanes: where its members go, in halves of a double, to the front.
struct ToFront {
  alignas(32) int32_t halves[16][8]{};
  alignas(16) int8_t bytes[16][16]{};

  constexpr ToFront() {
    for (int set = 0; set < 16; ++set)
      for (int lane = 0, to = 0; lane < 4; ++lane)
        if (set >> lane & 1) {
          for (int k = 0; k < 2; ++k) halves[set][2 * to + k] = 2 * lane + k;
          for (int k = 0; k < 4; ++k) bytes[set][4 * to + k] = int8_t(4 * lane + k);
          ++to;
        }
  }
};

inline constexpr ToFront to_front;

/// Four points at a time; rounded as the plain one is.
__attribute__((target("avx2,popcnt"))) inline size_t sieve_avx2(
    const Points& points, size_t first, size_t last, const Vector& p, double most,
    int32_t* numbers, double* squares) {
  const __m256d x_p = _mm256_set1_pd(p[0]), y_p = _mm256_set1_pd(p[1]);
  const __m256d z_p = _mm256_set1_pd(p[2]), limit = _mm256_set1_pd(most);
  size_t count = 0;
  for (size_t n = first; n < last; n += 4) {
    const __m256d x = _mm256_sub_pd(_mm256_loadu_pd(points.x + n), x_p);
    const __m256d y = _mm256_sub_pd(_mm256_loadu_pd(points.y + n), y_p);
    const __m256d z = _mm256_sub_pd(_mm256_loadu_pd(points.z + n), z_p);
    const __m256d square = _mm256_add_pd(_mm256_add_pd(_mm256_mul_pd(x, x), _mm256_mul_pd(y, y)),
                                         _mm256_mul_pd(z, z));
    auto set = unsigned(_mm256_movemask_pd(_mm256_cmp_pd(square, limit, _CMP_LT_OQ)));
    if (last - n < 4) set &= (1u << (last - n)) - 1;
    const __m256i halves = _mm256_load_si256((const __m256i*)to_front.halves[set]);
    const __m128i bytes = _mm_load_si128((const __m128i*)to_front.bytes[set]);
    const __m128i number = _mm_loadu_si128((const __m128i*)(points.number + n));
    _mm256_storeu_pd(squares + count, _mm256_castps_pd(_mm256_permutevar8x32_ps(
                                          _mm256_castpd_ps(square), halves)));
    _mm_storeu_si128((__m128i*)(numbers + count), _mm_shuffle_epi8(number, bytes));
    count += size_t(_mm_popcnt_u32(set));
  }
  return count;
}

#endif

/// The best one here.
inline Sieve sieve() {
#ifdef LIGHTPFP_AVX2
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("popcnt")) return &sieve_avx2;
#endif
  return &sieve_plain;
}

}  // namespace lightpfp
