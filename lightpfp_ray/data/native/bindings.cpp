// What is compiled of data/, for numpy.
#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <utility>
#include <vector>

#include "search.hpp"
#include "words.hpp"

namespace lightpfp {
namespace {

namespace nb = nanobind;

template <class T, class Shape>
using In = nb::ndarray<const T, Shape, nb::c_contig, nb::device::cpu>;

/// An array that owns its numbers; none is copied.
template <class T>
nb::ndarray<nb::numpy, T> array(std::vector<T>&& values, std::initializer_list<size_t> shape) {
  auto* kept = new std::vector<T>(std::move(values));
  const nb::capsule owner(kept, [](void* p) noexcept { delete static_cast<std::vector<T>*>(p); });
  return {kept->data(), shape, owner};
}

nb::tuple search(const In<double, nb::shape<-1, 3>>& positions,
                 const In<double, nb::shape<3, 3>>& cell, const In<bool, nb::shape<3>>& pbc,
                 double cutoff, bool plain) {
  const size_t n_atoms = positions.shape(0);
  Search found(positions.data(), n_atoms, cell.data(), pbc.data(), cutoff,
               plain ? &sieve_plain : sieve());
  const size_t count = found.neighbors.size();
  return nb::make_tuple(array(std::move(found.n_edges), {n_atoms}),
                        array(std::move(found.neighbors), {count}),
                        array(std::move(found.shifts), {count, 3}), found.shortest);
}

nb::tuple distinct(const Words& words, size_t first, size_t step) {
  auto [different, codes] = words.distinct(first, step);
  const size_t count = codes.size();
  nb::list found;
  for (const std::string_view& word : different) found.append(nb::bytes(word.data(), word.size()));
  return nb::make_tuple(found, array(std::move(codes), {count}));
}

nb::ndarray<nb::numpy, double> reals(const Words& words, size_t first, size_t step, size_t count) {
  return array(words.reals(first, step, count), {words.size() / step, count});
}

}  // namespace
}  // namespace lightpfp

NB_MODULE(_data, m) {
  using namespace nanobind::literals;
  m.doc() = "What is compiled of the way from files to a cache.";
  m.def("search", &lightpfp::search, "positions"_a, "cell"_a, "pbc"_a, "cutoff"_a,
        "plain"_a = false, "Edges; `plain`: without instructions that not every processor has.");
  nanobind::class_<lightpfp::Words>(m, "Words")
      .def(nanobind::init<nanobind::bytes>(), "text"_a)
      .def("__len__", &lightpfp::Words::size)
      .def("distinct", &lightpfp::distinct, "first"_a, "step"_a)
      .def("reals", &lightpfp::reals, "first"_a, "step"_a, "count"_a);
}
