// The passes over a chunk of atoms, compiled once for each instruction set (LIGHTPFP_ISA).
//
// evaluate: forward, then reverse to g_ij = dV(n_i)/dr_ij. gradient: forward with tangents, then
// reverse to the parameters. design: the derivatives of every basis function by every r_ij. basis:
// forward alone.
// Nothing here allocates, throws or knows of threads.
#include "block.hpp"

namespace LIGHTPFP_ISA {
namespace {

/// 10000 (exp(-10 (r - 1)) - exp(-10 (r_min - 1))) eV below r_min, added to V, and its part of g.
template <class T>
double add_repulsion(const Potential<T>& p, const Edges<T>& edges, int32_t pack, Pack<T>* g) {
  double energy = 0;
  T* parts[3] = {reinterpret_cast<T*>(g), reinterpret_cast<T*>(g + 1), reinterpret_cast<T*>(g + 2)};
  for (int l = 0; l < lanes<T>; ++l) {
    const int32_t slot = pack * lanes<T> + l;
    const double r_3[3] = {double(edges.x[slot]), double(edges.y[slot]), double(edges.z[slot])};
    const double r = std::sqrt(r_3[0] * r_3[0] + r_3[1] * r_3[1] + r_3[2] * r_3[2]);
    if (r >= p.min_dist) continue;
    const double wall = 1e4 * std::exp(-10 * (r - 1));
    energy += wall - 1e4 * std::exp(-10 * (p.min_dist - 1));
    for (int k = 0; k < 3; ++k) parts[k][l] += T(-10 * wall * r_3[k] / r);
  }
  return energy;
}

/// F_i += g_ij, F_j -= g_ij and the virial of the atom in a lane; returns the repulsion's energy.
template <class T>
double finish_atom(const Potential<T>& p, const Structures& s, int64_t i, int lane,
                   Block<T>& block, const Sites& out) {
  using P = Pack<T>;
  const Edges<T>& edges = block.edges[lane];
  Xyz<double>* forces = out.forces_A + s.first_atom_S[s.structure_A[i]];
  P force[3], virial[6];
  for (P& each : force) each = splat(T(0));
  for (P& each : virial) each = splat(T(0));
  double repulsion = 0;
  in_groups(edges.n_packs, [&](auto together, int32_t first) {
    constexpr int V = decltype(together)::n;
    const Head<T>* heads[V];
    heads_of<V>(p, block, lane, first, heads);
    P g[V][3];
    reverse<V>(p.program, heads, block.monomials, block.bar_K, g);
    for (int v = 0; v < V; ++v) {
      if (p.repulsion) repulsion += add_repulsion(p, edges, first + v, g[v]);
      const int32_t slot = (first + v) * lanes<T>;
      const P r[3] = {load(edges.x + slot), load(edges.y + slot), load(edges.z + slot)};
      for (int k = 0; k < 3; ++k) force[k] += g[v][k];
      for (int k = 0; k < 6; ++k) virial[k] += r[voigt[k][0]] * g[v][voigt[k][1]];
      const T* parts = reinterpret_cast<const T*>(g[v]);
      for (int l = 0; l < lanes<T> && slot + l < edges.n_slots; l += 4) {
        Xyz<double>* rows[4];
        for (int n = 0; n < 4; ++n) rows[n] = forces + edges.neighbor[slot + l + n];
        subtract_from_rows(parts + l, parts + lanes<T> + l, parts + 2 * lanes<T> + l, rows);
      }
    }
  });
  for (int k = 0; k < 3; ++k) out.forces_A[i].at[k] += double(sum(force[k]));
  for (int k = 0; k < 6; ++k) out.virial_A6[6 * i + k] = double(sum(virial[k]));
  return repulsion;
}

/// M of a block of atoms.
template <class T>
void moments_of_block(const Potential<T>& p, const Structures& s, int64_t first, int present,
                      Block<T>& block) {
  const Program<T>& program = p.program;
  clear_components(program, present, block.M);
  for (int lane = 0; lane < present; ++lane) {
    prepare(p, s, first + lane, lane, block);
    clear<T>(block.sum_KL, program.n_components);
    in_groups(block.edges[lane].n_packs, [&](auto together, int32_t pack) {
      constexpr int V = decltype(together)::n;
      const Head<T>* heads[V];
      heads_of<V>(p, block, lane, pack, heads);
      forward<V>(program, heads, block.monomials, block.sum_KL);
    });
    into_lane<T>(program.n_components, block.sum_KL, lane, block.M);
  }
  forward_products(program, block.M);
}

template <class T>
void evaluate(const Potential<T>& p, const Structures& s, int64_t begin, int64_t end,
              const Sites& out, void* scratch) {
  const Program<T>& program = p.program;
  Arena arena(scratch);
  Block<T> block(arena, p, s, 0);
  for (int64_t first = begin; first < end; first += lanes<T>) {
    const int present = int(end - first < lanes<T> ? end - first : lanes<T>);
    moments_of_block(p, s, first, present, block);
    to_readout<T>(program, block.M, block.readout.s);
    const Pack<T> value = forward_readout(p, block.readout);
    reverse_readout(p, block.readout);
    from_readout<T>(program, block.readout.bar, block.bar);
    reverse_products(program, block.M, block.bar);
    for (int lane = 0; lane < present; ++lane) {
      const int64_t i = first + lane;
      out_of_lane<T>(program.n_components, block.bar, lane, block.bar_K);
      out.energy_A[i] = finish_atom(p, s, i, lane, block, out) +
                        double(reinterpret_cast<const T*>(&value)[lane]) +
                        double(p.species_C[s.species_A[i]]);
    }
  }
}

/// rdot_ij = v_i - v_j + r_ij @ strain, and with it the tangents of the radial functions.
template <class T>
void prepare_tangents(const Potential<T>& p, const Structures& s, const Directions<T>& along,
                      int64_t i, int lane, Block<T>& block) {
  const Edges<T>& edges = block.edges[lane];
  const int64_t structure = s.structure_A[i];
  const double* strain = along.strain_S33 + 9 * structure;
  const T* v_i = along.v_A[i].at;
  look_up(along.v_A + s.first_atom_S[structure], edges, edges.v);
  for (int32_t n = 0; n < edges.n_packs; ++n) {
    const int32_t slot = n * lanes<T>;
    const Pack<T> r[3] = {load(edges.x + slot), load(edges.y + slot), load(edges.z + slot)};
    Pack<T> d[3];
    for (int k = 0; k < 3; ++k) {
      d[k] = splat(v_i[k]) - load(edges.v[k] + slot);
      for (int j = 0; j < 3; ++j) d[k] += r[j] * splat(T(strain[3 * j + k]));
    }
    tangents(p, d, *block.head(p, lane, n));
  }
}

/// cbar[mu, q] += fbar phi_q + fdotbar dphi_q/dr rdot over the edges of the atom in a lane.
template <class T>
void radial_gradient(const Potential<T>& p, const Structures& s, const GradientShape& shape,
                     int64_t i, int lane, Block<T>& block) {
  const Program<T>& program = p.program;
  const Edges<T>& edges = block.edges[lane];
  const int32_t n_q = p.n_q;
  const int64_t row = int64_t(s.species_A[i]) * p.n_species;
  in_groups(edges.n_packs, [&](auto together, int32_t first) {
    constexpr int V = decltype(together)::n;
    const Head<T>* heads[V];
    Pack<T>* bars[V];
    heads_of<V>(p, block, lane, first, heads);
    for (int v = 0; v < V; ++v) bars[v] = block.f_bar + v * 2 * program.n_radial;
    reverse_tangent<V>(program, heads, block.monomials, block.bar_K, block.dot_bar_K, bars);
    for (int v = 0; v < V; ++v) {
      const int64_t slot = shape.slot_CC[row + edges.species[first + v]];
      Pack<T>* sums = block.radial_sums + slot * program.n_radial * n_q;
      radial_basis(p, heads[v]->r, block.phi, block.slope);
      for (int32_t q = 0; q < n_q; ++q) block.slope[q] = block.slope[q] * heads[v]->r_dot;
      for (int32_t mu = 0; mu < program.n_radial; ++mu) {
        const Pack<T> f_bar = bars[v][mu], f_dot_bar = bars[v][program.n_radial + mu];
        for (int32_t q = 0; q < n_q; ++q)
          sums[mu * n_q + q] += f_bar * block.phi[q] + f_dot_bar * block.slope[q];
      }
    }
  });
}

/// Forward with tangents of a block: M, dot and those of the readout; a_i by lane.
template <class T>
Pack<T> forward_block(const Potential<T>& p, const Structures& s, const Directions<T>& along,
                      int64_t first, int present, Block<T>& block) {
  const Program<T>& program = p.program;
  clear_components(program, present, block.M);
  clear_components(program, present, block.dot);
  Pack<T> a = splat(T(0));
  for (int lane = 0; lane < present; ++lane) {
    reinterpret_cast<T*>(&a)[lane] = T(along.a_A[first + lane]);
    prepare(p, s, first + lane, lane, block);
    prepare_tangents(p, s, along, first + lane, lane, block);
    clear<T>(block.sum_KL, program.n_components);
    clear<T>(block.dot_KL, program.n_components);
    in_groups(block.edges[lane].n_packs, [&](auto together, int32_t pack) {
      constexpr int V = decltype(together)::n;
      const Head<T>* heads[V];
      heads_of<V>(p, block, lane, pack, heads);
      forward_tangent<V>(program, heads, block.monomials, block.sum_KL, block.dot_KL);
    });
    into_lane<T>(program.n_components, block.sum_KL, lane, block.M);
    into_lane<T>(program.n_components, block.dot_KL, lane, block.dot);
  }
  forward_products(program, block.M);
  tangent_products(program, block.M, block.dot);
  to_readout<T>(program, block.M, block.readout.s);
  to_readout<T>(program, block.dot, block.readout.dot);
  forward_readout(p, block.readout);
  tangent_readout(p, block.readout);
  return a;
}

template <class T>
void gradient(const Potential<T>& p, const Structures& s, const Directions<T>& along,
              const GradientShape& shape, int64_t begin, int64_t end, double* values,
              void* scratch) {
  const Program<T>& program = p.program;
  Arena arena(scratch);
  Block<T> block(arena, p, s, shape.n_slots);
  const int64_t n_radial = shape.n_slots * program.n_radial * p.n_q;
  clear<T>(block.radial_sums, n_radial);
  clear<T>(block.readout_sums.linear_B, block.readout_sums.n_sums);
  for (int64_t n = 0; n < shape.n_values; ++n) values[n] = 0;
  for (int64_t first = begin; first < end; first += lanes<T>) {
    const int present = int(end - first < lanes<T> ? end - first : lanes<T>);
    const Pack<T> a = forward_block(p, s, along, first, present, block);
    reverse_readout_tangent(p, block.readout, a, block.readout_sums);
    from_readout<T>(program, block.readout.bar, block.bar);
    from_readout<T>(program, block.readout.dot_bar, block.dot_bar);
    reverse_products_tangent(program, block.M, block.dot, block.bar, block.dot_bar);
    for (int lane = 0; lane < present; ++lane) {
      out_of_lane<T>(program.n_components, block.bar, lane, block.bar_K);
      out_of_lane<T>(program.n_components, block.dot_bar, lane, block.dot_bar_K);
      radial_gradient(p, s, shape, first + lane, lane, block);
      values[n_radial + s.species_A[first + lane]] += along.a_A[first + lane];
    }
  }
  for (int64_t n = 0; n < n_radial; ++n) values[n] = double(sum(block.radial_sums[n]));
  block.readout_sums.write(p, values + n_radial + p.n_species);
}

/// M of one atom in every lane, so that its edges can be the lanes of the tangents.
template <class T>
void moments_of_atom(const Potential<T>& p, const Structures& s, int64_t i, Block<T>& block) {
  const Program<T>& program = p.program;
  prepare(p, s, i, 0, block);
  clear<T>(block.sum_KL, program.n_components);
  for (int32_t n = 0; n < block.edges[0].n_packs; ++n) {
    const Head<T>* head = block.head(p, 0, n);
    forward<1>(program, &head, block.monomials, block.sum_KL);
  }
  for (int32_t k = 0; k < program.n_components; ++k) block.M[k] = splat(sum(block.sum_KL[k]));
  forward_products(program, block.M);
}

/// dB_b/dr_ij along an axis for a pack of edges: into block.dot, lanes are edges.
template <class T>
void basis_tangents(const Potential<T>& p, int32_t pack, int axis, Block<T>& block) {
  const Program<T>& program = p.program;
  const int32_t n_radial = program.n_radial;
  Head<T> &head = *block.head(p, 0, pack), &moved = *reinterpret_cast<Head<T>*>(block.heads[1]);
  moved = head;
  for (int32_t n = 0; n < 2 * n_radial; ++n) moved.f()[n] = head.f()[n];
  Pack<T> d[3] = {splat(T(0)), splat(T(0)), splat(T(0))};
  d[axis] = splat(T(1));
  tangents(p, d, moved);
  const Head<T>* heads = &moved;
  clear<T>(block.sum_KL, program.n_components);
  clear<T>(block.dot, program.n_components);
  forward_tangent<1>(program, &heads, block.monomials, block.sum_KL, block.dot);
  tangent_products(program, block.M, block.dot);
}

/// Rows of one structure: energy per atom, forces and stress times volume of every basis function.
template <class T>
void design(const Potential<T>& p, const Structures& s, int64_t structure, double* energy_B,
            double* forces_A3B, double* stress_6B, void* scratch) {
  const Program<T>& program = p.program;
  const int64_t n_basis = program.n_basis, first_atom = s.first_atom_S[structure];
  const int64_t n_atoms = s.first_atom_S[structure + 1] - first_atom;
  Arena arena(scratch);
  Block<T> block(arena, p, s, 0);
  for (int64_t n = 0; n < n_basis; ++n) energy_B[n] = 0;
  for (int64_t n = 0; n < 3 * n_atoms * n_basis; ++n) forces_A3B[n] = 0;
  for (int64_t n = 0; n < 6 * n_basis; ++n) stress_6B[n] = 0;
  for (int64_t i = 0; i < n_atoms; ++i) {
    moments_of_atom(p, s, first_atom + i, block);
    for (int64_t b = 0; b < n_basis; ++b)
      energy_B[b] += double(reinterpret_cast<const T*>(block.M + program.scalars_B[b])[0]) /
                     double(n_atoms);
    const Edges<T>& edges = block.edges[0];
    for (int32_t n = 0; n < edges.n_packs; ++n)
      for (int axis = 0; axis < 3; ++axis) {
        basis_tangents(p, n, axis, block);
        for (int l = 0; l < lanes<T>; ++l) {
          const int32_t slot = n * lanes<T> + l;
          const double r[3] = {double(edges.x[slot]), double(edges.y[slot]), double(edges.z[slot])};
          double* center = forces_A3B + (3 * i + axis) * n_basis;
          double* neighbor = forces_A3B + (3 * int64_t(edges.neighbor[slot]) + axis) * n_basis;
          for (int64_t b = 0; b < n_basis; ++b) {
            const double g = reinterpret_cast<const T*>(block.dot + program.scalars_B[b])[l];
            center[b] += g;
            neighbor[b] -= g;
            for (int k = 0; k < 6; ++k)
              if (voigt[k][1] == axis) stress_6B[k * n_basis + b] += r[voigt[k][0]] * g;
          }
        }
      }
  }
}

/// B of every atom.
template <class T>
void basis(const Potential<T>& p, const Structures& s, int64_t begin, int64_t end,
           double* basis_AB, void* scratch) {
  const Program<T>& program = p.program;
  Arena arena(scratch);
  Block<T> block(arena, p, s, 0);
  for (int64_t first = begin; first < end; first += lanes<T>) {
    const int present = int(end - first < lanes<T> ? end - first : lanes<T>);
    moments_of_block(p, s, first, present, block);
    for (int lane = 0; lane < present; ++lane)
      for (int64_t b = 0; b < program.n_basis; ++b)
        basis_AB[(first + lane) * program.n_basis + b] =
            double(reinterpret_cast<const T*>(block.M + program.scalars_B[b])[lane]);
  }
}

template <class T>
int64_t scratch_bytes(const Potential<T>& p, const Structures& s, int64_t n_slots) {
  Arena arena(nullptr);
  Block<T> block(arena, p, s, n_slots);
  return arena.used();
}

}  // namespace

extern const Kernels<double> kernels_64;
extern const Kernels<float> kernels_32;
const Kernels<double> kernels_64 = {scratch_bytes<double>, evaluate<double>, gradient<double>,
                                    design<double>, basis<double>};
const Kernels<float> kernels_32 = {scratch_bytes<float>, evaluate<float>, gradient<float>,
                                   design<float>, basis<float>};

}  // namespace LIGHTPFP_ISA
