// The readout of the basis functions x = B(n_i), the lanes being atoms.
//
//   forward   V = linear . x + output . s_L,   h_l = W_l s_{l-1} + b_l,   s_l = SiLU(h_l),   s_0 = x
//   tangent   hdot_l = W_l sdot_{l-1},         sdot_l = SiLU'(h_l) hdot_l
//   reverse   hbar = SiLU' sbar,               sbar_{l-1} = W_l^T hbar
//   reverse of tangent
//             hbar = SiLU' sbar + SiLU'' hdot sdotbar,   hdotbar = SiLU' sdotbar
//             W_lbar += hbar (x) s_{l-1} + hdotbar (x) sdot_{l-1},   b_lbar += hbar
//
//   SiLU = h sigma,   SiLU' = sigma (1 + h (1 - sigma)),   SiLU'' = sigma (1 - sigma) (2 + h (1 - 2 sigma))
#pragma once

#include <algorithm>

#include "exponential.hpp"
#include "program.hpp"
#include "simd.hpp"

namespace LIGHTPFP_ISA {

using namespace lightpfp;

/// All layers one after the other; s and its like begin with the B basis functions.
template <class T>
struct ReadoutWork {
  Pack<T> *s, *dot, *bar, *dot_bar;      // s_l, sdot_l, and their adjoints
  Pack<T> *slope, *curve, *h_dot;        // SiLU', SiLU'', hdot_l; the first B are not used
};

template <class T>
int64_t n_neurons(const Potential<T>& p) {
  int64_t n = p.program.n_basis;
  for (int32_t l = 0; l < p.n_layers; ++l) n += p.layers[l].n_out;
  return n;
}

template <class T>
ReadoutWork<T> take_readout(Arena& arena, const Potential<T>& p) {
  const int64_t n = n_neurons(p);
  ReadoutWork<T> work{};
  for (Pack<T>** each : {&work.s, &work.dot, &work.bar, &work.dot_bar, &work.slope, &work.curve,
                         &work.h_dot})
    *each = arena.take<Pack<T>>(n);
  return work;
}

/// Of h in s: SiLU and its two derivatives.
template <class T>
inline void activate(Pack<T>& s, Pack<T>& slope, Pack<T>& curve) {
  const Pack<T> h = s, one = splat(T(1)), two = splat(T(2));
  const Pack<T> sigma = one / (one + exp_of(splat(T(0)) - h)), rest = one - sigma;
  s = h * sigma;
  slope = sigma * (one + h * rest);
  curve = sigma * rest * (two + h * (rest - sigma));
}

/// out = weight @ x + bias; no bias where it is null.
template <class T>
void affine(const Layer<T>& layer, const T* bias, const Pack<T>* __restrict x,
            Pack<T>* __restrict out) {
  constexpr int together = 4;
  const int64_t n = layer.n_in;
  int32_t o = 0;
  for (; o + together <= layer.n_out; o += together) {
    const T* w = layer.weight + o * n;
    Pack<T> sums[together];
    for (int t = 0; t < together; ++t) sums[t] = splat(bias ? bias[o + t] : T(0));
    for (int64_t i = 0; i < n; ++i)
      for (int t = 0; t < together; ++t) sums[t] += splat(w[t * n + i]) * x[i];
    for (int t = 0; t < together; ++t) out[o + t] = sums[t];
  }
  for (; o < layer.n_out; ++o) {
    Pack<T> sum = splat(bias ? bias[o] : T(0));
    for (int64_t i = 0; i < n; ++i) sum += splat(layer.weight[o * n + i]) * x[i];
    out[o] = sum;
  }
}

/// x_bar += weight^T @ h_bar.
template <class T>
void transposed(const Layer<T>& layer, const Pack<T>* __restrict h_bar,
                Pack<T>* __restrict x_bar) {
  for (int32_t o = 0; o < layer.n_out; ++o) {
    const T* w = layer.weight + int64_t(o) * layer.n_in;
    const Pack<T> bar = h_bar[o];
    for (int32_t i = 0; i < layer.n_in; ++i) x_bar[i] += splat(w[i]) * bar;
  }
}

/// V of a block of atoms; x stands in work.s.
template <class T>
Pack<T> forward_readout(const Potential<T>& p, const ReadoutWork<T>& work) {
  Pack<T> value = splat(T(0));
  for (int32_t b = 0; b < p.program.n_basis; ++b) value += splat(p.linear_B[b]) * work.s[b];
  int64_t from = 0;
  for (int32_t l = 0; l < p.n_layers; ++l) {
    const Layer<T>& layer = p.layers[l];
    const int64_t to = from + layer.n_in;
    affine(layer, layer.bias, work.s + from, work.s + to);
    for (int32_t o = 0; o < layer.n_out; ++o)
      activate<T>(work.s[to + o], work.slope[to + o], work.curve[to + o]);
    from = to;
  }
  if (p.n_layers)
    for (int32_t o = 0; o < p.layers[p.n_layers - 1].n_out; ++o)
      value += splat(p.output_H[o]) * work.s[from + o];
  return value;
}

/// Tangents of all layers; xdot stands in work.dot.
template <class T>
void tangent_readout(const Potential<T>& p, const ReadoutWork<T>& work) {
  int64_t from = 0;
  for (int32_t l = 0; l < p.n_layers; ++l) {
    const Layer<T>& layer = p.layers[l];
    const int64_t to = from + layer.n_in;
    affine<T>(layer, nullptr, work.dot + from, work.h_dot + to);
    for (int64_t o = to; o < to + layer.n_out; ++o)
      work.dot[o] = work.slope[o] * work.h_dot[o];
    from = to;
  }
}

/// dV/dx into the first B of work.bar.
template <class T>
void reverse_readout(const Potential<T>& p, const ReadoutWork<T>& work) {
  const int32_t n_basis = p.program.n_basis;
  clear<T>(work.bar, n_neurons(p));
  int64_t to = n_neurons(p);
  for (int32_t l = p.n_layers - 1; l >= 0; --l) {
    const Layer<T>& layer = p.layers[l];
    to -= layer.n_out;
    for (int32_t o = 0; o < layer.n_out; ++o) {
      Pack<T>& bar = work.bar[to + o];
      if (l == p.n_layers - 1) bar = splat(p.output_H[o]);
      bar = bar * work.slope[to + o];
    }
    transposed(layer, work.bar + to, work.bar + to - layer.n_in);
  }
  for (int32_t b = 0; b < n_basis; ++b) work.bar[b] += splat(p.linear_B[b]);
}

/// Packs that the inputs of a layer take where they are the lanes.
template <class T>
int64_t input_packs(const Layer<T>& layer) {
  return (layer.n_in + lanes<T> - 1) / lanes<T>;
}

/// Sums over atoms of dJ/d(parameter) for J = a V + Vdot, still by lane; of weights the lanes are
/// the inputs of the layer, not the atoms: so there are few enough of them to stay in the cache.
template <class T>
struct ReadoutGradient {
  Pack<T> *linear_B, *output_H, *biases, *weights;  // the last two of all layers
  Pack<T> *s, *dot;  // of one layer: (atom of the block, pack of inputs)
  int64_t n_sums;

  void take(Arena& arena, const Potential<T>& p) {
    const int64_t n_last = p.n_layers ? p.layers[p.n_layers - 1].n_out : 0;
    const int64_t n_biases = n_neurons(p) - p.program.n_basis;
    int64_t widest = 0, n_weights = 0;
    for (int32_t l = 0; l < p.n_layers; ++l) {
      widest = std::max(widest, input_packs(p.layers[l]));
      n_weights += p.layers[l].n_out * input_packs(p.layers[l]);
    }
    n_sums = p.program.n_basis + n_last + n_biases + n_weights;
    linear_B = arena.take<Pack<T>>(n_sums);
    output_H = linear_B + p.program.n_basis;
    biases = output_H + n_last;
    weights = biases + n_biases;
    for (Pack<T>** each : {&s, &dot}) *each = arena.take<Pack<T>>(lanes<T> * widest);
  }

  /// In the order of the parameters: of the linear path, of each layer weights and biases, and of
  /// the last neuron.
  void write(const Potential<T>& p, double* values) const {
    for (int32_t b = 0; b < p.program.n_basis; ++b) *values++ = double(sum(linear_B[b]));
    const Pack<T>*bias = biases, *row = weights;
    for (int32_t l = 0; l < p.n_layers; ++l) {
      const Layer<T>& layer = p.layers[l];
      for (int32_t o = 0; o < layer.n_out; ++o, row += input_packs(layer)) {
        const T* weight = reinterpret_cast<const T*>(row);
        for (int32_t i = 0; i < layer.n_in; ++i) *values++ = double(weight[i]);
      }
      for (int32_t o = 0; o < layer.n_out; ++o) *values++ = double(sum(*bias++));
    }
    for (const Pack<T>* output = output_H; output < biases; ++output)
      *values++ = double(sum(*output));
  }
};

/// Of packs whose lanes are atoms, those whose lanes are the inputs.
template <class T>
void by_atom(const Layer<T>& layer, const Pack<T>* packs, Pack<T>* rows) {
  const T* from = reinterpret_cast<const T*>(packs);
  const int64_t stride = input_packs(layer) * lanes<T>;
  for (int a = 0; a < lanes<T>; ++a) {
    T* row = reinterpret_cast<T*>(rows) + a * stride;
    for (int32_t i = 0; i < layer.n_in; ++i) row[i] = from[i * lanes<T> + a];
    for (int64_t i = layer.n_in; i < stride; ++i) row[i] = T(0);
  }
}

/// Into the weights of `N` neurons: bar (x) s + dot_bar (x) dot, summed over the atoms of a block.
template <int N, class T>
void add_outer(const Pack<T>* bar, const Pack<T>* dot_bar, const Pack<T>* s, const Pack<T>* dot,
               int64_t n_packs, Pack<T>* __restrict weights) {
  const T *of_s = reinterpret_cast<const T*>(bar), *of_dot = reinterpret_cast<const T*>(dot_bar);
  for (int64_t i = 0; i < n_packs; ++i) {
    Pack<T> sums[N];
    for (int o = 0; o < N; ++o) sums[o] = weights[o * n_packs + i];
    for (int a = 0; a < lanes<T>; ++a) {
      const Pack<T> s_a = s[a * n_packs + i], dot_a = dot[a * n_packs + i];
      for (int o = 0; o < N; ++o)
        sums[o] += splat(of_s[o * lanes<T> + a]) * s_a + splat(of_dot[o * lanes<T> + a]) * dot_a;
    }
    for (int o = 0; o < N; ++o) weights[o * n_packs + i] = sums[o];
  }
}

/// The adjoints of x and xdot into the first B of work.bar and work.dot_bar, for J = a V + Vdot.
template <class T>
void reverse_readout_tangent(const Potential<T>& p, const ReadoutWork<T>& work, Pack<T> a,
                             const ReadoutGradient<T>& gradient) {
  const int32_t n_basis = p.program.n_basis, last = p.n_layers - 1;
  const int64_t n = n_neurons(p);
  clear<T>(work.bar, n);
  clear<T>(work.dot_bar, n);
  int64_t to = n;
  Pack<T>*biases = gradient.weights, *weights = gradient.linear_B + gradient.n_sums;
  for (int32_t l = last; l >= 0; --l) {
    const Layer<T>& layer = p.layers[l];
    to -= layer.n_out;
    const int64_t from = to - layer.n_in;
    const int64_t n_packs = input_packs(layer);
    biases -= layer.n_out;
    weights -= layer.n_out * n_packs;
    for (int32_t o = 0; o < layer.n_out; ++o) {
      Pack<T>&bar = work.bar[to + o], &dot_bar = work.dot_bar[to + o];
      if (l == last) {
        dot_bar = splat(p.output_H[o]);
        bar = a * dot_bar;
        gradient.output_H[o] += a * work.s[to + o] + work.dot[to + o];
      }
      bar = bar * work.slope[to + o] + dot_bar * work.curve[to + o] * work.h_dot[to + o];
      dot_bar = dot_bar * work.slope[to + o];
      biases[o] += bar;
    }
    by_atom(layer, work.s + from, gradient.s);
    by_atom(layer, work.dot + from, gradient.dot);
    const Pack<T>*bar = work.bar + to, *dot_bar = work.dot_bar + to;
    constexpr int together = 4;
    int32_t o = 0;
    for (; o + together <= layer.n_out; o += together)
      add_outer<together>(bar + o, dot_bar + o, gradient.s, gradient.dot, n_packs,
                          weights + o * n_packs);
    for (; o < layer.n_out; ++o)
      add_outer<1>(bar + o, dot_bar + o, gradient.s, gradient.dot, n_packs, weights + o * n_packs);
    transposed(layer, work.bar + to, work.bar + from);
    transposed(layer, work.dot_bar + to, work.dot_bar + from);
  }
  for (int32_t b = 0; b < n_basis; ++b) {
    const Pack<T> weight = splat(p.linear_B[b]);
    work.bar[b] += a * weight;
    work.dot_bar[b] += weight;
    gradient.linear_B[b] += a * work.s[b] + work.dot[b];
  }
}

}  // namespace LIGHTPFP_ISA
