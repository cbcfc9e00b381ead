// Mean squares by a plain loop, in the order that csrc/squares.h fixes, against the emulated kernels.
#pragma once

#include <memory>
#include <vector>


namespace plain {

// The sum of squares of a row, lanes and parts one after the other.
template <class Number>
double row_squares(const Number *x, int64_t row) {
  double sum = 0.0;
  for (int64_t start = 0; start < row; start += qt::SQUARE_PART) {
    const int64_t end = start + qt::SQUARE_PART < row ? start + qt::SQUARE_PART : row;
    std::vector<double> lanes(qt::SQUARE_LANES);
    for (int64_t i = start; i < end; ++i) {
      const double value = sizeof(Number) == 4 ? double(x[i]) : double(qt::widen(uint16_t(x[i])));
      lanes[size_t(i - start) % lanes.size()] += value * value;
    }
    for (size_t half = lanes.size() / 2; half > 0; half /= 2)
      for (size_t l = 0; l < half; ++l) lanes[l] += lanes[l + half];
    sum += lanes[0];
  }
  return sum;
}

// Rows of several lengths, in arrays of exactly their size; one row has an infinity.
template <class Number>
bool check_squares(int32_t type) {
  using namespace qt;
  const int64_t shapes[][2] = {{1, 1}, {3, 31}, {0, 0}, {4, 33}, {2, 4096}, {2, 4097}, {300, 2}, {1, 140000}};
  const Scalars scalars{0.1f, 0.9f, 0.4f, 0.99f, 0.01f, 7.0f, 0.0f};
  constexpr size_t n = sizeof shapes / sizeof *shapes;
  std::vector<std::unique_ptr<Number[]>> gradients;
  std::vector<std::unique_ptr<float[]>> squares, gains, wanted;
  const std::unique_ptr<uint8_t[]> table(new uint8_t[n * (sizeof(Rows) + 2 * sizeof(uint32_t))]);
  Rows *const tensors = (Rows *)table.get();
  uint32_t *const parts_before = (uint32_t *)(tensors + n), *const rows_before = parts_before + n;
  uint32_t parts = 0, rows = 0;
  for (size_t t = 0; t < n; ++t) {
    const int64_t number = shapes[t][0], row = shapes[t][1];
    gradients.emplace_back(new Number[size_t(number * row)]);
    squares.emplace_back(new float[size_t(number)]);
    gains.emplace_back(new float[size_t(number)]());
    wanted.emplace_back(new float[size_t(2 * number)]);
    for (int64_t i = 0; i < number * row; ++i) {
      const float x = t == 3 && i == 40 ? __builtin_inff() : float(int32_t(uint32_t(i) * 2654435761u)) * 0x1p-30f;
      gradients[t][size_t(i)] = sizeof(Number) == 4 ? Number(x) : Number(nearest_bfloat16(bits(x)));
    }
    for (int64_t r = 0; r < number; ++r) {
      float kept = squares[t][size_t(r)] = 0.25f * float(r % 5);
      wanted[t][size_t(2 * r)] = next_gain(scalars, row_squares(gradients[t].get() + r * row, row), row, kept);
      wanted[t][size_t(2 * r + 1)] = kept;
    }
    tensors[t] = Rows{gradients[t].get(), squares[t].get(), gains[t].get(), number * row, row};
    parts_before[t] = parts, rows_before[t] = rows;
    parts += uint32_t(Parts(tensors[t]).all), rows += uint32_t(number);
  }
  const std::unique_ptr<double[]> sums(new double[parts]);
  emulation::run((parts + WARPS - 1) / WARPS, THREADS,
                 [&] { qt_squares(tensors, int32_t(n), parts, type, sums.get()); });
  emulation::run((rows + WARPS - 1) / WARPS, THREADS,
                 [&] { qt_gains(tensors, int32_t(n), rows, &scalars, sums.get()); });
  bool same = true;
  for (size_t t = 0; t < n; ++t)
    for (size_t r = 0; r < size_t(shapes[t][0]); ++r) {
      const float gain = gains[t][r], want = wanted[t][2 * r];
      same &= (gain != gain && want != want) || bits(gain) == bits(want);
      same &= bits(squares[t][r]) == bits(wanted[t][2 * r + 1]);
    }
  if (!same) printf("mean squares differ\n");
  return same && gains[3][1] != gains[3][1] && gains[3][0] > 0.0f;
}

}  // namespace plain
