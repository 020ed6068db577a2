// Components ordered by mu, monomials by degree, products by depth: see layout.hpp.
#include "layout.hpp"

#include <algorithm>
#include <map>
#include <numeric>
#include <stdexcept>
#include <string>

namespace lightpfp {
namespace {

using Exponents = std::array<int32_t, 3>;

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument(what); }

int32_t degree(const Exponents& m) { return m[0] + m[1] + m[2]; }

/// The monomial with one factor less, and the axis of that factor: the last one that it has.
std::pair<Exponents, int32_t> parent_of(Exponents m) {
  const int32_t axis = m[2] > 0 ? 2 : m[1] > 0 ? 1 : 0;
  --m[axis];
  return {m, axis};
}

/// All monomials that are needed, with their parents, by rising degree.
std::vector<Exponents> closure(const std::vector<Row>& components) {
  std::vector<Exponents> all{{0, 0, 0}};
  for (const Row& row : components)
    for (Exponents m{row[1], row[2], row[3]}; degree(m) > 0; m = parent_of(m).first)
      all.push_back(m);
  std::sort(all.begin(), all.end(), [](const Exponents& a, const Exponents& b) {
    return degree(a) != degree(b) ? degree(a) < degree(b) : a > b;
  });
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return all;
}

/// Depth of every moment: 0 of components, -1 of what is never computed.
std::vector<int32_t> depths(const std::vector<std::vector<Row>>& terms_of, int32_t n_components) {
  std::vector<int32_t> depth(terms_of.size(), -1);
  std::fill_n(depth.begin(), n_components, 0);
  for (bool changed = true; changed;) {
    changed = false;
    for (size_t m = size_t(n_components); m < terms_of.size(); ++m) {
      if (depth[m] >= 0 || terms_of[m].empty()) continue;
      int32_t deepest = 0;
      for (const Row& row : terms_of[m]) {
        const int32_t left = depth[size_t(row[0])], right = depth[size_t(row[1])];
        deepest = left < 0 || right < 0 ? -1 : std::max({deepest, left, right});
        if (deepest < 0) break;
      }
      if (deepest < 0) continue;
      depth[m] = deepest + 1;
      changed = true;
    }
  }
  return depth;
}

}  // namespace

Layout::Layout(std::vector<Row> components, std::vector<Row> products,
               std::vector<int32_t> scalars) {
  const auto n_components = int32_t(components.size());
  if (!n_components) refuse("a basis needs at least one component");
  if (scalars.empty()) refuse("a basis needs at least one scalar");
  for (const Row& row : components)
    if (*std::min_element(row.begin(), row.end()) < 0) refuse("a component holds a number below 0");
  int32_t n_moments = n_components;
  for (const Row& row : products) {
    if (std::min({row[0], row[1], row[3]}) < 0) refuse("a product holds a moment below 0");
    if (row[3] < n_components) refuse("a product has a component as its target");
    n_moments = std::max(n_moments, row[3] + 1);
  }
  for (const Row& row : products)
    if (std::max(row[0], row[1]) >= n_moments) refuse("a product has a factor that is no moment");
  for (const int32_t scalar : scalars)
    if (scalar < 0 || scalar >= n_moments) refuse("a scalar is no moment");
  scalars_ = std::move(scalars);
  number_.assign(size_t(n_moments), -1);
  order_components(components);
  order_products(products, n_components, n_moments);
  for (int32_t& scalar : scalars_) scalar = number_[size_t(scalar)];
}

void Layout::order_components(const std::vector<Row>& components) {
  const std::vector<Exponents> all = closure(components);
  std::map<Exponents, int32_t> index;
  for (const Exponents& m : all) index.emplace(m, int32_t(index.size()));
  std::array<std::vector<int32_t>, 3> of_axis;
  for (const Exponents& m : all) {
    const auto [parent, axis] = parent_of(m);
    const bool first = degree(m) == 0;
    monomials_.push_back(first ? Monomial{0, 0} : Monomial{index.at(parent), axis});
    if (!first) of_axis[size_t(axis)].push_back(index.at(m));
  }
  first_axis_ = {0};
  for (const auto& found : of_axis) {
    by_axis_.insert(by_axis_.end(), found.begin(), found.end());
    first_axis_.push_back(int32_t(by_axis_.size()));
  }
  const auto monomial = [&](int32_t k) {
    const Row& row = components[size_t(k)];
    return index.at({row[1], row[2], row[3]});
  };
  std::vector<int32_t> order(components.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    const int32_t mu_a = components[size_t(a)][0], mu_b = components[size_t(b)][0];
    return mu_a != mu_b ? mu_a < mu_b : monomial(a) < monomial(b);
  });
  for (const int32_t k : order) {
    const auto mu = size_t(components[size_t(k)][0]);
    while (first_R_.size() <= mu) first_R_.push_back(int32_t(monomial_K_.size()));
    number_[size_t(k)] = int32_t(monomial_K_.size());
    monomial_K_.push_back(monomial(k));
  }
  first_R_.push_back(int32_t(monomial_K_.size()));
}

void Layout::order_products(const std::vector<Row>& products, int32_t n_components,
                            int32_t n_moments) {
  std::vector<std::vector<Row>> terms_of(static_cast<size_t>(n_moments));
  for (const Row& row : products) terms_of[size_t(row[3])].push_back(row);
  const std::vector<int32_t> depth = depths(terms_of, n_components);
  std::vector<bool> needed(size_t(n_moments), false);
  std::vector<int32_t> open = scalars_, targets;
  while (!open.empty()) {
    const int32_t m = open.back();
    open.pop_back();
    if (needed[size_t(m)]) continue;
    needed[size_t(m)] = true;
    if (depth[size_t(m)] < 0)
      refuse("moment " + std::to_string(m) + " is needed, but no product computes it before");
    if (m >= n_components) targets.push_back(m);
    for (const Row& row : terms_of[size_t(m)]) open.insert(open.end(), {row[0], row[1]});
  }
  // Equal numbers of terms side by side let the processor foresee the end of each sum.
  std::sort(targets.begin(), targets.end(), [&](int32_t a, int32_t b) {
    const auto key = [&](int32_t m) {
      return std::array<int64_t, 3>{depth[size_t(m)], int64_t(terms_of[size_t(m)].size()), m};
    };
    return key(a) < key(b);
  });
  n_moments_ = n_components;
  for (const int32_t m : targets) {
    number_[size_t(m)] = n_moments_++;
    targets_.push_back({number_[size_t(m)], int32_t(terms_of[size_t(m)].size())});
    for (const Row& row : terms_of[size_t(m)]) {
      const int32_t left = number_[size_t(row[0])], right = number_[size_t(row[1])];
      terms_64_.push_back({left, right, double(row[2])});
      terms_32_.push_back({left, right, float(row[2])});
    }
  }
}

template <class T>
Program<T> Layout::view() const {
  Program<T> p{};
  p.n_radial = int32_t(first_R_.size()) - 1;
  p.n_components = int32_t(monomial_K_.size());
  p.n_moments = n_moments_;
  p.n_monomials = int32_t(monomials_.size());
  p.n_targets = int32_t(targets_.size());
  p.n_basis = int32_t(scalars_.size());
  p.first_R = first_R_.data();
  p.monomial_K = monomial_K_.data();
  p.monomials = monomials_.data();
  p.by_axis = by_axis_.data();
  p.first_axis_4 = first_axis_.data();
  p.targets = targets_.data();
  if constexpr (sizeof(T) == 8)
    p.terms = terms_64_.data();
  else
    p.terms = terms_32_.data();
  p.n_terms = int64_t(terms_64_.size());
  p.scalars_B = scalars_.data();
  return p;
}

template Program<double> Layout::view<double>() const;
template Program<float> Layout::view<float>() const;

}  // namespace lightpfp
