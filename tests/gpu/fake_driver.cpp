// A CUDA driver library that is none: the functions of libcuda.so.1 that the launcher calls, over
// one pretended device whose memory is the host's and whose kernels are emulated. It refuses what
// a driver refuses: no context, unknown images and names, empty grids, more than 4 KB of parameters,
// loading while capturing, and capturing a kernel that is not loaded yet.
//
// FAKECUDA_DEVICES: number of devices (1). FAKECUDA_REFUSE_IMAGES: any value refuses all images.
// FAKECUDA_FORKED: any value makes it that of a forked child. An image that says "only" has the
// kernels that it names, and any other all of them; one of PTX ("//") is of an unsupported version.
#include <stddef.h>
#include <stdlib.h>

#include <map>
#include <string>

#define QT_INT8_MOMENTS  // what an image may lack: one that says "only" does
#include "kernels.cu"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

enum Result {
  SUCCESS = 0,
  INVALID_VALUE = 1,
  NOT_INITIALIZED = 3,
  NO_DEVICE = 100,
  INVALID_DEVICE = 101,
  INVALID_IMAGE = 200,
  INVALID_CONTEXT = 201,
  NO_BINARY_FOR_GPU = 209,
  UNSUPPORTED_PTX_VERSION = 222,
  NOT_FOUND = 500,
  CAPTURE_UNSUPPORTED = 900,
};

using Work = std::function<void()>;

struct Kernel {
  Work (*bind)(void **arguments);
  size_t parameters;  // bytes
  bool loaded;
};

template <auto kernel>
Work bind_kernel(void **arguments) {
  return emulation::with_arguments(kernel, arguments);
}

template <class... A>
constexpr size_t bytes(void (*)(A...)) {
  return (sizeof(A) + ... + 0);
}

std::map<std::string, Kernel> kernels = {
#define QT_ENTRY(name) {#name, {bind_kernel<name>, bytes(name), false}},
#define QT_STEP(name, ...) QT_ENTRY(qt_step_##name)
#define QT_BATCH_ENTRIES(type, As)                                  \
  QT_ENTRY(qt_batch_sums_##type) QT_ENTRY(qt_batch_stair_##type) \
  QT_ENTRY(qt_batch_back_sums_##type) QT_ENTRY(qt_batch_slope_##type)
#define QT_STAIR_ENTRIES(type, As) QT_ENTRY(qt_stair_##type) QT_ENTRY(qt_stair_slope_##type)
    QT_ALGORITHMS(QT_STEPS) QT_ALGORITHMS(QT_INT8_STEPS) QT_ENTRY(qt_scalars) QT_ENTRY(qt_words)
        QT_ENTRY(qt_decode) QT_ENTRY(qt_outcomes) QT_ENTRY(qt_squares) QT_ENTRY(qt_gains)
            QT_ENTRY(qt_put) QT_STAIR_TYPES(QT_STAIR_ENTRIES) QT_BATCH_TYPES(QT_BATCH_ENTRIES)
                QT_ENTRY(qt_batch_measured) QT_ENTRY(qt_batch_table) QT_ENTRY(qt_batch_returned)};

std::vector<int> contexts;               // the stack of current contexts, as device numbers
std::map<void *, std::vector<Work>> captures;  // streams that capture, and what they captured
std::vector<std::vector<Work>> graphs;
std::vector<std::string> modules;  // the images that were loaded; a handle is a place, from 1 on
int capture_mode = 0;  // 2 is "relaxed"
int64_t launches = 0;

int devices() {
  const char *number = getenv("FAKECUDA_DEVICES");
  return number ? atoi(number) : 1;
}

bool forbidden() { return !captures.empty() && capture_mode != 2; }

bool is_image(const unsigned char *data) {
  const unsigned char fatbin[4] = {0x50, 0xed, 0x55, 0xba}, elf[4] = {0x7f, 'E', 'L', 'F'};
  return !memcmp(data, fatbin, 4) || !memcmp(data, elf, 4) || !memcmp(data, "//", 2);
}

}  // namespace

EXPORT int cuInit(unsigned) {
  if (getenv("FAKECUDA_FORKED")) return NOT_INITIALIZED;
  return devices() ? SUCCESS : NO_DEVICE;
}

EXPORT int cuDriverGetVersion(int *version) {
  *version = 13000;
  return SUCCESS;
}

EXPORT int cuGetErrorName(int error, const char **name) {
  static const std::map<int, const char *> names = {
      {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE"},
      {NO_DEVICE, "CUDA_ERROR_NO_DEVICE"},
      {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE"},
      {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE"},
      {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT"},
      {NO_BINARY_FOR_GPU, "CUDA_ERROR_NO_BINARY_FOR_GPU"},
      {UNSUPPORTED_PTX_VERSION, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION"},
      {NOT_FOUND, "CUDA_ERROR_NOT_FOUND"},
      {CAPTURE_UNSUPPORTED, "CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED"}};
  auto found = names.find(error);
  *name = found == names.end() ? nullptr : found->second;
  return *name ? SUCCESS : INVALID_VALUE;
}

EXPORT int cuDeviceGetCount(int *count) {
  *count = devices();
  return SUCCESS;
}

EXPORT int cuDeviceGet(int *device, int ordinal) {
  *device = ordinal;
  return ordinal >= 0 && ordinal < devices() ? SUCCESS : INVALID_DEVICE;
}

EXPORT int cuDeviceGetName(char *name, int length, int) {
  strncpy(name, "emulated device", size_t(length));
  return SUCCESS;
}

EXPORT int cuDeviceGetAttribute(int *value, int attribute, int) {
  *value = attribute == 75 ? 9 : 0;  // compute capability 9.0
  return attribute == 75 || attribute == 76 ? SUCCESS : INVALID_VALUE;
}

EXPORT int cuDevicePrimaryCtxRetain(void **context, int device) {
  *context = (void *)(intptr_t)(device + 1);
  return SUCCESS;
}

EXPORT int cuCtxPushCurrent_v2(void *context) {
  contexts.push_back(int((intptr_t)context) - 1);
  return SUCCESS;
}

EXPORT int cuCtxPopCurrent_v2(void **context) {
  if (contexts.empty()) return INVALID_CONTEXT;
  *context = (void *)(intptr_t)(contexts.back() + 1);
  contexts.pop_back();
  return SUCCESS;
}

EXPORT int cuModuleLoadDataEx(void **module, const void *image, unsigned count, const int *options,
                              void **values) {
  if (contexts.empty()) return INVALID_CONTEXT;
  if (forbidden()) return CAPTURE_UNSUPPORTED;
  if (getenv("FAKECUDA_REFUSE_IMAGES")) return NO_BINARY_FOR_GPU;
  if (!memcmp(image, "//", 2)) {
    for (unsigned i = 0; i + 1 < count; ++i)
      if (options[i] == 5 && options[i + 1] == 6)  // a buffer for errors, and its size
        strncpy((char *)values[i], "ptxas fatal:\n  unsupported version", (size_t)values[i + 1]);
    return UNSUPPORTED_PTX_VERSION;
  }
  if (!is_image((const unsigned char *)image)) return INVALID_IMAGE;
  modules.push_back((const char *)image);
  *module = (void *)modules.size();
  return SUCCESS;
}

EXPORT int cuModuleGetFunction(void **function, void *module, const char *name) {
  if (forbidden()) return CAPTURE_UNSUPPORTED;
  const std::string &image = modules[(size_t)module - 1];
  auto found = kernels.find(name);
  const bool other = image.find("only") != std::string::npos && image.find(name) == std::string::npos;
  if (found == kernels.end() || other) return NOT_FOUND;
  found->second.loaded = false;  // at its first launch, or by cuFuncLoad
  *function = (void *)&found->second;
  return SUCCESS;
}

EXPORT int cuFuncLoad(void *function) {
  if (forbidden()) return CAPTURE_UNSUPPORTED;
  ((Kernel *)function)->loaded = true;
  return SUCCESS;
}

EXPORT int cuLaunchKernel(void *function, unsigned bx, unsigned by, unsigned bz, unsigned tx,
                          unsigned ty, unsigned tz, unsigned, void *stream, void **arguments,
                          void **) {
  Kernel &kernel = *(Kernel *)function;
  if (contexts.empty()) return INVALID_CONTEXT;
  if (!bx || by != 1 || bz != 1 || !tx || tx > 1024 || ty != 1 || tz != 1) return INVALID_VALUE;
  if (kernel.parameters > 4096) return INVALID_VALUE;
  if (!kernel.loaded && forbidden()) return CAPTURE_UNSUPPORTED;
  kernel.loaded = true;
  Work body = kernel.bind(arguments);
  Work work = [=] { emulation::run(bx, tx, body); };
  ++launches;
  auto capture = captures.find(stream);
  if (capture != captures.end())
    capture->second.push_back(work);
  else
    work();
  return SUCCESS;
}

EXPORT int cuStreamIsCapturing(void *stream, int *status) {
  *status = int(captures.count(stream));
  return SUCCESS;
}

EXPORT int cuThreadExchangeStreamCaptureMode(int *mode) {
  std::swap(*mode, capture_mode);
  return SUCCESS;
}

// ---- what tests ask of the pretended device ----

EXPORT void fakecuda_begin_capture(void *stream) { captures[stream]; }

EXPORT int64_t fakecuda_end_capture(void *stream) {
  graphs.push_back(captures[stream]);
  captures.erase(stream);
  return int64_t(graphs.size()) - 1;
}

EXPORT void fakecuda_replay(int64_t graph) {
  for (const Work &work : graphs[size_t(graph)]) work();
}

EXPORT int64_t fakecuda_launches() { return launches; }
EXPORT int64_t fakecuda_contexts() { return int64_t(contexts.size()); }
EXPORT const char *fakecuda_kernel(int64_t number) {
  if (number >= int64_t(kernels.size())) return nullptr;
  return std::next(kernels.begin(), number)->first.c_str();
}
EXPORT void fakecuda_layout(int64_t out[33]) {
  using namespace qt;
  const int64_t layout[] = {
      sizeof(Spec), sizeof(Launch), sizeof(Tensor), sizeof(Counters), sizeof(Rows),
      offsetof(Spec, spacing), offsetof(Spec, zero), offsetof(Spec, size), offsetof(Spec, parameter),
      offsetof(Launch, seed), offsetof(Launch, rule), offsetof(Launch, optimiser),
      offsetof(Launch, storage), offsetof(Launch, gradient_type), offsetof(Launch, moment_type),
      offsetof(Launch, spec), offsetof(Tensor, state), offsetof(Tensor, gradient),
      offsetof(Tensor, first), offsetof(Tensor, second), offsetof(Tensor, increment),
      offsetof(Tensor, count),
      offsetof(Tensor, offset), offsetof(Tensor, tensor), offsetof(Tensor, gain),
      offsetof(Tensor, row), offsetof(Counters, moved),
      offsetof(Counters, nan), offsetof(Rows, gradient), offsetof(Rows, square), offsetof(Rows, gain),
      offsetof(Rows, count), offsetof(Rows, row)};
  memcpy(out, layout, sizeof layout);
}
