// What the kernels are given: the basis as a straight-line program, the parameters, the structures.
//
// Plain data with raw pointers, the same for every instruction set. Shape letters as in Python:
// S structures, A atoms, C species, R radial functions, Q Chebyshev terms, K components, B basis
// functions.
#pragma once

#include <cstdint>

namespace lightpfp {

/// x, y and z of an atom in one vector; the last number is zero.
template <class T>
struct alignas(4 * sizeof(T)) Xyz {
  T at[4];
};

/// mono[m] = mono[parent] * u[axis]; mono[0] = 1.
struct Monomial {
  int32_t parent, axis;
};

/// A moment that is the sum of the next `n_terms` products.
struct Target {
  int32_t moment, n_terms;
};

/// times * moment[left] * moment[right].
template <class T>
struct Term {
  int32_t left, right;
  T times;
};

/// Components first, ordered by mu: M[k] = sum_j f_mu * mono[monomial_K[k]]; then the targets.
template <class T>
struct Program {
  int32_t n_radial, n_components, n_moments, n_monomials, n_targets, n_basis;
  const int32_t* first_R;  // R + 1: components of mu are first_R[mu] .. first_R[mu + 1]
  const int32_t* monomial_K;
  const Monomial* monomials;
  const int32_t* by_axis;       // monomials but the first, those of axis x, then y, then z
  const int32_t* first_axis_4;  // where each axis begins in by_axis
  const Target* targets;
  const Term<T>* terms;
  int64_t n_terms;
  const int32_t* scalars_B;
};

/// h = weight @ x + bias, then SiLU; weight is (n_out, n_in).
template <class T>
struct Layer {
  int32_t n_in, n_out;
  const T *weight, *bias;
};

/// V(n_i) = E0[z_i] + linear . B + output . layers(B); no layers, no second term.
template <class T>
struct Potential {
  Program<T> program;
  double cutoff, min_dist, scaling;
  bool repulsion;
  int32_t n_species, n_q;
  const T* radial_CCRQ;
  const T* species_C;
  const T* linear_B;
  const Layer<T>* layers;
  int32_t n_layers;
  const T* output_H;
};

/// Structures one after the other; the edges of atom i are first_edge_A[i] + 0 .. n_edges_A[i].
struct Structures {
  int64_t n_atoms, n_structures;
  const int32_t* species_A;
  const int64_t* structure_A;
  const int64_t* first_atom_S;  // S + 1
  const Xyz<double>* positions_A;
  const double *cell_S33, *volume_S;
  const int64_t* first_edge_A;
  const int32_t* n_edges_A;
  const int32_t* neighbors_N;  // counted from the first atom of the structure
  const int16_t* shifts_N3;
  int32_t most_edges;  // of an atom
};

/// What a pass over a chunk of atoms finds. The forces are those by the chunk's own edges: on its
/// atoms and on their neighbors; they are added to.
struct Sites {
  double* energy_A;   // V(n_i)
  double* virial_A6;  // sum_j r_ij (x) g_ij, Voigt
  Xyz<double>* forces_A;
};

/// Directions of a derivative: J = sum_i a_i V(n_i) + d/ds V(r + s rdot),
/// rdot_ij = v_i - v_j + r_ij @ strain.
template <class T>
struct Directions {
  const double* a_A;
  const Xyz<T>* v_A;
  const double* strain_S33;
};

/// Where the gradient of a chunk of atoms goes, float64, one after the other: radial coefficients
/// of the pairs that have a slot, E0, linear, then weight and bias of each layer, then output.
struct GradientShape {
  const int32_t* slot_CC;  // -1: no atoms of these two species share a structure
  int64_t n_slots;
  int64_t n_values;
};

/// The functions of one instruction set. `scratch` is memory aligned to 64 bytes.
template <class T>
struct Kernels {
  int64_t (*scratch_bytes)(const Potential<T>&, const Structures&, int64_t n_slots);
  void (*evaluate)(const Potential<T>&, const Structures&, int64_t begin, int64_t end,
                   const Sites&, void* scratch);
  void (*gradient)(const Potential<T>&, const Structures&, const Directions<T>&, const GradientShape&,
                   int64_t begin, int64_t end, double* values, void* scratch);
  void (*design)(const Potential<T>&, const Structures&, int64_t structure, double* energy_B,
                 double* forces_A3B, double* stress_6B, void* scratch);
  void (*basis)(const Potential<T>&, const Structures&, int64_t begin, int64_t end,
                double* basis_AB, void* scratch);
};

constexpr int voigt[6][2] = {{0, 0}, {1, 1}, {2, 2}, {1, 2}, {0, 2}, {0, 1}};

}  // namespace lightpfp
