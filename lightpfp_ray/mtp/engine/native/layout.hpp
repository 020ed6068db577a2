// A basis as levels.py or a .mtp file gives it, put in the order in which the kernels run it.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "program.hpp"

namespace lightpfp {

using Row = std::array<int32_t, 4>;

/// Owns what a `Program` points to.
class Layout {
 public:
  /// Components (mu, a, b, c); products (left, right, times, target); moments that are scalars.
  /// Throws std::invalid_argument where a moment is used that is never computed, or by a cycle.
  Layout(std::vector<Row> components, std::vector<Row> products, std::vector<int32_t> scalars);

  template <class T>
  Program<T> view() const;

 private:
  void order_components(const std::vector<Row>& components);
  void order_products(const std::vector<Row>& products, int32_t n_components, int32_t n_moments);

  int32_t n_moments_ = 0;
  std::vector<int32_t> number_;  // of a moment as it is given; -1: not needed
  std::vector<int32_t> first_R_, monomial_K_, by_axis_, first_axis_, scalars_;
  std::vector<Monomial> monomials_;
  std::vector<Target> targets_;
  std::vector<Term<double>> terms_64_;
  std::vector<Term<float>> terms_32_;
};

}  // namespace lightpfp
