// The module `_native`: a program of a basis for an instruction set, and its passes over batches.
#include "arrays.hpp"
#include "layout.hpp"
#include "passes.hpp"

namespace lightpfp {

#define LIGHTPFP_KERNELS(ISA)            \
  }                                      \
  namespace ISA {                        \
  extern const lightpfp::Kernels<double> kernels_64; \
  extern const lightpfp::Kernels<float> kernels_32;  \
  }                                      \
  namespace lightpfp {
#ifdef LIGHTPFP_X86
LIGHTPFP_KERNELS(isa_v2)
LIGHTPFP_KERNELS(isa_v3)
LIGHTPFP_KERNELS(isa_v4)
#else
LIGHTPFP_KERNELS(isa_plain)
#endif

namespace {

struct InstructionSet {
  std::string name;
  const Kernels<double>* kernels_64;
  const Kernels<float>* kernels_32;
};

/// Those that this processor has, the best one last.
std::vector<InstructionSet> instruction_sets() {
  std::vector<InstructionSet> found;
#ifdef LIGHTPFP_X86
  __builtin_cpu_init();
  const bool v2 = __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("popcnt");
  const bool v3 = v2 && __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                  __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl");
  if (v2) found.push_back({"x86-64-v2", &isa_v2::kernels_64, &isa_v2::kernels_32});
  if (v3) found.push_back({"x86-64-v3", &isa_v3::kernels_64, &isa_v3::kernels_32});
  if (v4) found.push_back({"x86-64-v4", &isa_v4::kernels_64, &isa_v4::kernels_32});
#else
  found.push_back({"plain", &isa_plain::kernels_64, &isa_plain::kernels_32});
#endif
  return found;
}

std::vector<Row> rows(const Any& array, const char* name) {
  const auto* values = checked<const int32_t>(array, name, {-1, 4});
  std::vector<Row> found(array.shape(0));
  for (size_t n = 0; n < found.size(); ++n) std::copy_n(values + 4 * n, 4, found[n].begin());
  return found;
}

std::vector<int32_t> indices(const Any& array, const char* name) {
  const auto* values = checked<const int32_t>(array, name, {-1});
  return {values, values + array.size()};
}

/// Cutoff, min_dist, scaling, repulsion.
struct Radial {
  double cutoff, min_dist, scaling;
  bool repulsion;
};

/// Parameters in the order of `compiled.py`: radial (C, C, R, Q), E0 (C), linear (B), then weight
/// and bias of every layer, then output.
template <class T>
struct Parameters {
  Potential<T> potential{};
  std::vector<Layer<T>> layers;

  Parameters(const Layout& layout, const Radial& radial, const std::vector<Any>& arrays) {
    if (arrays.size() < 3 || (arrays.size() > 3 && arrays.size() % 2))
      throw std::invalid_argument("parameters are radial, species, linear, [layers, output]");
    Potential<T>& p = potential;
    p.program = layout.view<T>();
    p.cutoff = radial.cutoff, p.min_dist = radial.min_dist, p.scaling = radial.scaling;
    p.repulsion = radial.repulsion;
    p.n_species = int32_t(arrays[1].size());
    const int64_t c = p.n_species;
    p.radial_CCRQ = checked<const T>(arrays[0], "radial_coeffs", {c, c, p.program.n_radial, -1});
    p.n_q = int32_t(arrays[0].shape(3));
    p.species_C = checked<const T>(arrays[1], "species_coeffs", {c});
    p.linear_B = checked<const T>(arrays[2], "linear_B", {p.program.n_basis});
    int64_t n_in = p.program.n_basis;
    for (size_t n = 3; n + 2 < arrays.size(); n += 2) {
      const auto* weight = checked<const T>(arrays[n], "weight of a layer", {-1, n_in});
      const auto n_out = int64_t(arrays[n].shape(0));
      const auto* bias = checked<const T>(arrays[n + 1], "bias of a layer", {n_out});
      layers.push_back({int32_t(n_in), int32_t(n_out), weight, bias});
      n_in = n_out;
    }
    if (!layers.empty()) p.output_H = checked<const T>(arrays.back(), "output_H", {n_in});
    p.layers = layers.data();
    p.n_layers = int32_t(layers.size());
  }
};

class NativeProgram {
 public:
  NativeProgram(const Any& components, const Any& products, const Any& scalars,
                const std::string& instruction_set)
      : layout_(rows(components, "components"), rows(products, "products"),
                indices(scalars, "scalars")) {
    for (const InstructionSet& each : instruction_sets())
      if (each.name == instruction_set) kernels_ = each;
    if (kernels_.name.empty())
      throw std::invalid_argument("this processor does not run " + instruction_set);
  }

  /// Outputs: energy_S, energies_A, forces_A3, stress_S6, and if there is a fifth, virials_A6.
  void evaluate(const Radial& radial, const std::vector<Any>& parameters, const BatchArrays& batch,
                const std::vector<Any>& outputs, int n_threads) const {
    if (is_double(parameters))
      evaluate_as<double>(*kernels_.kernels_64, radial, parameters, batch, outputs, n_threads);
    else
      evaluate_as<float>(*kernels_.kernels_32, radial, parameters, batch, outputs, n_threads);
  }

  /// Adjoints of the four outputs; what is added to: float64, radial (C, C, R, Q), E0 (C), and
  /// linear, layers and output one after the other.
  void gradient(const Radial& radial, const std::vector<Any>& parameters, const BatchArrays& batch,
                const std::vector<Any>& adjoints, const std::vector<Any>& sums,
                int n_threads) const {
    if (is_double(parameters))
      gradient_as<double>(*kernels_.kernels_64, radial, parameters, batch, adjoints, sums,
                          n_threads);
    else
      gradient_as<float>(*kernels_.kernels_32, radial, parameters, batch, adjoints, sums,
                         n_threads);
  }

  /// Outputs, float64: energies per atom (S, B), forces (A, 3, B), stress (S, 6, B).
  void design(const Radial& radial, const std::vector<Any>& parameters, const BatchArrays& batch,
              const std::vector<Any>& outputs, int n_threads) const {
    const Parameters<double> given(layout_, radial, parameters);
    const Input input(batch);
    const Structures& s = input.structures();
    const int64_t n_basis = given.potential.program.n_basis;
    auto* energy = checked<double>(outputs.at(0), "energy_SB", {s.n_structures, n_basis});
    auto* forces = checked<double>(outputs.at(1), "forces_A3B", {s.n_atoms, 3, n_basis});
    auto* stress = checked<double>(outputs.at(2), "stress_S6B", {s.n_structures, 6, n_basis});
    const nb::gil_scoped_release released;
    lightpfp::design(*kernels_.kernels_64, given.potential, s, n_threads, energy, forces, stress);
  }

  /// Output, float64: basis functions of every atom (A, B).
  void basis(const Radial& radial, const std::vector<Any>& parameters, const BatchArrays& batch,
             const Any& output, int n_threads) const {
    const Parameters<double> given(layout_, radial, parameters);
    const Input input(batch);
    const Structures& s = input.structures();
    const int64_t n_basis = given.potential.program.n_basis;
    auto* basis_AB = checked<double>(output, "basis_AB", {s.n_atoms, n_basis});
    const nb::gil_scoped_release released;
    lightpfp::basis(*kernels_.kernels_64, given.potential, s, n_threads, basis_AB);
  }

 private:
  static bool is_double(const std::vector<Any>& parameters) {
    return !parameters.empty() && parameters[0].dtype() == nb::dtype<double>();
  }

  template <class T>
  void evaluate_as(const Kernels<T>& kernels, const Radial& radial,
                   const std::vector<Any>& parameters, const BatchArrays& batch,
                   const std::vector<Any>& outputs, int n_threads) const {
    const Parameters<T> given(layout_, radial, parameters);
    const Input input(batch);
    const Structures& s = input.structures();
    const Outputs<T> out{checked<double>(outputs.at(0), "energy_S", {s.n_structures}),
                         checked<T>(outputs.at(1), "energies_A", {s.n_atoms}),
                         checked<T>(outputs.at(2), "forces_A3", {s.n_atoms, 3}),
                         checked<double>(outputs.at(3), "stress_S6", {s.n_structures, 6}),
                         outputs.size() > 4
                             ? checked<double>(outputs[4], "virials_A6", {s.n_atoms, 6})
                             : nullptr};
    const nb::gil_scoped_release released;
    lightpfp::evaluate(kernels, given.potential, s, n_threads, out);
  }

  template <class T>
  void gradient_as(const Kernels<T>& kernels, const Radial& radial,
                   const std::vector<Any>& parameters, const BatchArrays& batch,
                   const std::vector<Any>& adjoints, const std::vector<Any>& sums,
                   int n_threads) const {
    const Parameters<T> given(layout_, radial, parameters);
    const Potential<T>& p = given.potential;
    const Input input(batch);
    const Structures& s = input.structures();
    const auto* a_S = checked<const double>(adjoints.at(0), "dL/dE_S", {s.n_structures});
    const auto* a_A = checked<const T>(adjoints.at(1), "dL/dE_A", {s.n_atoms});
    const auto* v_A3 = checked<const T>(adjoints.at(2), "dL/dF_A3", {s.n_atoms, 3});
    const auto* t_S6 = checked<const double>(adjoints.at(3), "dL/dstress_S6", {s.n_structures, 6});
    int64_t n_readout = 0;
    for (size_t n = 2; n < parameters.size(); ++n) n_readout += int64_t(parameters[n].size());
    const int64_t c = p.n_species;
    const Gradient out{
        checked<double>(sums.at(0), "gradient of radial_coeffs", {c, c, p.program.n_radial, p.n_q}),
        checked<double>(sums.at(1), "gradient of species_coeffs", {c}),
        checked<double>(sums.at(2), "gradient of the readout", {n_readout}), n_readout};
    const nb::gil_scoped_release released;
    std::vector<double> a(size_t(s.n_atoms)), strain(9 * size_t(s.n_structures));
    for (int64_t i = 0; i < s.n_atoms; ++i) a[size_t(i)] = a_S[s.structure_A[i]] + double(a_A[i]);
    for (int64_t n = 0; n < s.n_structures; ++n)
      for (int k = 0; k < 6 && !std::isnan(s.volume_S[n]); ++k)
        strain[size_t(9 * n + 3 * voigt[k][0] + voigt[k][1])] = t_S6[6 * n + k] / s.volume_S[n];
    const std::vector<Xyz<T>> v_A = rows_of(v_A3, s.n_atoms);
    const Directions<T> along{a.data(), v_A.data(), strain.data()};
    lightpfp::gradient(kernels, p, s, along, n_threads, out);
  }

  Layout layout_;
  InstructionSet kernels_;
};

}  // namespace
}  // namespace lightpfp

NB_MODULE(_native, m) {
  using namespace lightpfp;
  using namespace nanobind::literals;
  nb::set_leak_warnings(false);  // a potential may outlive the interpreter's last collection
  m.doc() = "The compiled engine of moment tensor potentials.";
  m.def("instruction_sets", [] {
    std::vector<std::string> names;
    for (const InstructionSet& each : instruction_sets()) names.push_back(each.name);
    return names;
  });
  nb::class_<Radial>(m, "Radial")
      .def(nb::init<double, double, double, bool>(), "cutoff"_a, "min_dist"_a, "scaling"_a,
           "repulsion"_a);
  nb::class_<BatchArrays>(m, "BatchArrays")
      .def(nb::init<Any, Any, Any, Any, Any, Any, Any, Any, Any, Any>(), "species_of_number"_a,
           "numbers_A"_a, "structure_A"_a, "positions_A3"_a, "cell_S33"_a, "volume_S"_a,
           "first_edge_A"_a, "n_edges_A"_a, "neighbors_N"_a, "shifts_N3"_a);
  nb::class_<NativeProgram>(m, "Program")
      .def(nb::init<const Any&, const Any&, const Any&, const std::string&>(), "components"_a,
           "products"_a, "scalars"_a, "instruction_set"_a)
      .def("evaluate", &NativeProgram::evaluate, "radial"_a, "parameters"_a, "batch"_a,
           "outputs"_a, "n_threads"_a)
      .def("gradient", &NativeProgram::gradient, "radial"_a, "parameters"_a, "batch"_a,
           "adjoints"_a, "sums"_a, "n_threads"_a)
      .def("design", &NativeProgram::design, "radial"_a, "parameters"_a, "batch"_a, "outputs"_a,
           "n_threads"_a)
      .def("basis", &NativeProgram::basis, "radial"_a, "parameters"_a, "batch"_a, "output"_a,
           "n_threads"_a);
}
