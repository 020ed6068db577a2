// A pass over a batch: chunks of atoms on threads, then the sums over chunks and over structures.
//
//   F_i = sum_j g_ij - sum_j g_ji,   stress = sum r_ij (x) g_ij / volume,   E_S = sum_i V(n_i)
//
// A chunk adds to forces of its own, on all atoms of the structures that it touches; these are then
// added up in the order of the chunks.
#pragma once

#include <algorithm>
#include <cmath>
#include <limits>

#include "parallel.hpp"
#include "program.hpp"

namespace lightpfp {

constexpr int64_t smallest_chunk = 32, most_chunks = 64, block_atoms = 16;
constexpr int64_t most_gradient_bytes = int64_t(1) << 27;
/// Atoms whose forces are summed in the time that a thread takes to start, several times over.
constexpr int64_t worth_a_thread = 16384;

/// Chunks of atoms that depend on the batch alone, so that threads change no sum.
struct Chunks {
  int64_t n_atoms, size, n;

  explicit Chunks(int64_t n_atoms, int64_t bytes_each = 1) : n_atoms(n_atoms) {
    const int64_t most =
        std::clamp<int64_t>(most_gradient_bytes / std::max<int64_t>(bytes_each, 1), 1, most_chunks);
    size = std::max(smallest_chunk, (n_atoms + most - 1) / most);
    size = (size + block_atoms - 1) / block_atoms * block_atoms;
    n = (n_atoms + size - 1) / size;
  }
  int64_t begin(int64_t chunk) const { return chunk * size; }
  int64_t end(int64_t chunk) const { return std::min(n_atoms, (chunk + 1) * size); }
};

/// The atoms of all structures that a chunk touches, and the forces on them.
struct ChunkForces {
  int64_t begin = 0, end = 0;
  std::vector<Xyz<double>> forces_A;

  void start(const Structures& s, int64_t first, int64_t last) {
    begin = s.first_atom_S[s.structure_A[first]];
    end = s.first_atom_S[s.structure_A[last - 1] + 1];
    forces_A.assign(size_t(end - begin), {});
  }
  /// So that [atom] is the force on an atom of the batch.
  Xyz<double>* of_batch() { return forces_A.data() - begin; }
};

template <class T>
struct Outputs {
  double* energy_S;
  T *energy_A, *forces_A3;
  double* stress_S6;
  double* virials_A6;  // of every atom, sum_j r_ij (x) g_ij; null where nobody asks
};

template <class T>
void sum_forces(std::vector<ChunkForces>& parts, int64_t begin, int64_t end, T* forces_A3) {
  std::vector<Xyz<double>> sums(size_t(end - begin));
  for (ChunkForces& part : parts) {
    const int64_t from = std::max(begin, part.begin), to = std::min(end, part.end);
    for (int64_t i = from; i < to; ++i)
      for (int k = 0; k < 3; ++k) sums[size_t(i - begin)].at[k] += part.of_batch()[i].at[k];
  }
  for (int64_t i = begin; i < end; ++i)
    for (int k = 0; k < 3; ++k) forces_A3[3 * i + k] = T(sums[size_t(i - begin)].at[k]);
}

template <class T>
void sum_structures(const Structures& s, const Sites& sites, const Outputs<T>& out) {
  for (int64_t n = 0; n < s.n_structures; ++n) {
    double energy = 0, virial[6] = {};
    for (int64_t i = s.first_atom_S[n]; i < s.first_atom_S[n + 1]; ++i) {
      energy += sites.energy_A[i];
      out.energy_A[i] = T(sites.energy_A[i]);
      for (int k = 0; k < 6; ++k) virial[k] += sites.virial_A6[6 * i + k];
      for (int k = 0; out.virials_A6 && k < 6; ++k)
        out.virials_A6[6 * i + k] = sites.virial_A6[6 * i + k];
    }
    out.energy_S[n] = energy;
    for (int k = 0; k < 6; ++k) out.stress_S6[6 * n + k] = virial[k] / s.volume_S[n];
  }
}

template <class T>
void evaluate(const Kernels<T>& kernels, const Potential<T>& p, const Structures& s, int n_threads,
              const Outputs<T>& out) {
  std::vector<double> energy_A(size_t(s.n_atoms)), virial_A6(6 * size_t(s.n_atoms));
  const Chunks chunks(s.n_atoms);
  std::vector<ChunkForces> parts(size_t(chunks.n));
  in_parallel(chunks.n, n_threads, kernels.scratch_bytes(p, s, 0),
              [&](int64_t chunk, void* scratch) {
                const int64_t begin = chunks.begin(chunk), end = chunks.end(chunk);
                ChunkForces& part = parts[size_t(chunk)];
                part.start(s, begin, end);
                const Sites sites{energy_A.data(), virial_A6.data(), part.of_batch()};
                kernels.evaluate(p, s, begin, end, sites, scratch);
              });
  const int n_summing = s.n_atoms < worth_a_thread ? 1 : n_threads;
  in_parallel(chunks.n, n_summing, 0, [&](int64_t chunk, void*) {
    sum_forces(parts, chunks.begin(chunk), chunks.end(chunk), out.forces_A3);
  });
  sum_structures(s, {energy_A.data(), virial_A6.data(), nullptr}, out);
}

/// Pairs of species that share a structure, numbered as they come.
struct Pairs {
  std::vector<int32_t> slot_CC;
  std::vector<int64_t> of_slot;

  Pairs(const Structures& s, int32_t n_species) : slot_CC(size_t(n_species) * n_species, -1) {
    std::vector<int32_t> present;
    for (int64_t n = 0; n < s.n_structures; ++n) {
      present.assign(s.species_A + s.first_atom_S[n], s.species_A + s.first_atom_S[n + 1]);
      std::sort(present.begin(), present.end());
      present.erase(std::unique(present.begin(), present.end()), present.end());
      for (const int32_t a : present)
        for (const int32_t b : present) add(int64_t(a) * n_species + b);
    }
  }

 private:
  void add(int64_t pair) {
    if (slot_CC[size_t(pair)] >= 0) return;
    slot_CC[size_t(pair)] = int32_t(of_slot.size());
    of_slot.push_back(pair);
  }
};

/// Where each part of the gradient is added up, float64: radial coefficients (C, C, R, Q), E0 (C),
/// and everything of the readout in one piece.
struct Gradient {
  double *radial_CCRQ, *species_C, *readout;
  int64_t n_readout;
};

template <class T>
void gradient(const Kernels<T>& kernels, const Potential<T>& p, const Structures& s,
              const Directions<T>& along, int n_threads, const Gradient& out) {
  const Pairs pairs(s, p.n_species);
  const int64_t per_pair = int64_t(p.program.n_radial) * p.n_q;
  const auto n_slots = int64_t(pairs.of_slot.size());
  const GradientShape shape{pairs.slot_CC.data(), n_slots,
                            n_slots * per_pair + p.n_species + out.n_readout};
  const Chunks chunks(s.n_atoms, shape.n_values * int64_t(sizeof(double)));
  std::vector<double> values(size_t(chunks.n * shape.n_values));
  in_parallel(chunks.n, n_threads, kernels.scratch_bytes(p, s, n_slots),
              [&](int64_t chunk, void* scratch) {
                kernels.gradient(p, s, along, shape, chunks.begin(chunk), chunks.end(chunk),
                                 values.data() + chunk * shape.n_values, scratch);
              });
  for (int64_t chunk = 0; chunk < chunks.n; ++chunk) {
    const double* from = values.data() + chunk * shape.n_values;
    for (const int64_t pair : pairs.of_slot)
      for (int64_t n = 0; n < per_pair; ++n) out.radial_CCRQ[pair * per_pair + n] += *from++;
    for (int32_t c = 0; c < p.n_species; ++c) out.species_C[c] += *from++;
    for (int64_t n = 0; n < out.n_readout; ++n) out.readout[n] += *from++;
  }
}

/// Rows of the basis functions: energies per atom (S, B), forces (A, 3, B), stress (S, 6, B).
template <class T>
void design(const Kernels<T>& kernels, const Potential<T>& p, const Structures& s, int n_threads,
            double* energy_SB, double* forces_A3B, double* stress_S6B) {
  const int64_t n_basis = p.program.n_basis;
  in_parallel(s.n_structures, n_threads, kernels.scratch_bytes(p, s, 0),
              [&](int64_t n, void* scratch) {
                double* stress = stress_S6B + 6 * n * n_basis;
                kernels.design(p, s, n, energy_SB + n * n_basis,
                               forces_A3B + 3 * s.first_atom_S[n] * n_basis, stress, scratch);
                for (int64_t k = 0; k < 6 * n_basis; ++k) stress[k] /= s.volume_S[n];
              });
}

/// Basis functions of every atom: (A, B).
template <class T>
void basis(const Kernels<T>& kernels, const Potential<T>& p, const Structures& s, int n_threads,
           double* basis_AB) {
  const Chunks chunks(s.n_atoms);
  in_parallel(chunks.n, n_threads, kernels.scratch_bytes(p, s, 0),
              [&](int64_t chunk, void* scratch) {
                kernels.basis(p, s, chunks.begin(chunk), chunks.end(chunk), basis_AB, scratch);
              });
}

}  // namespace lightpfp
