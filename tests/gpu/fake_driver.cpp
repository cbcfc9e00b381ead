// A CUDA driver library that is none: the functions of libcuda.so.1 that the launcher calls, over
// one pretended device whose memory is the host's and whose kernels are emulated. It refuses what
// a driver refuses: no context, unknown images and names, empty grids, allocation and loading
// while capturing.
//
// FAKECUDA_DEVICES: number of devices (1). FAKECUDA_REFUSE_IMAGES: any value refuses all images.
#include <stddef.h>
#include <stdlib.h>

#include <map>
#include <string>

#include "kernels.cu"

#define EXPORT extern "C" __attribute__((visibility("default")))

namespace {

enum Result {
  SUCCESS = 0,
  INVALID_VALUE = 1,
  NO_DEVICE = 100,
  INVALID_DEVICE = 101,
  INVALID_IMAGE = 200,
  INVALID_CONTEXT = 201,
  NO_BINARY_FOR_GPU = 209,
  NOT_FOUND = 500,
  CAPTURE_UNSUPPORTED = 900,
};

using Work = std::function<void()>;
using Binder = Work (*)(void **arguments);

template <auto kernel>
Work bind_kernel(void **arguments) {
  return emulation::with_arguments(kernel, arguments);
}

const std::map<std::string, Binder> kernels = {
#define QT_ENTRY(name) {#name, bind_kernel<name>},
#define QT_STEP_ENTRIES(rule, optimiser) \
  QT_ENTRY(qt_step_##rule##_##optimiser##_int8) QT_ENTRY(qt_step_##rule##_##optimiser##_trits)
#define QT_RULE_ENTRIES(rule) QT_OPTIMISERS_OF(QT_STEP_ENTRIES, rule)
    QT_ALGORITHMS(QT_RULE_ENTRIES) QT_ENTRY(qt_scalars) QT_ENTRY(qt_words) QT_ENTRY(qt_decode) QT_ENTRY(qt_outcomes)
        QT_ENTRY(qt_put)};

std::vector<int> contexts;               // the stack of current contexts, as device numbers
std::map<void *, std::vector<Work>> captures;  // streams that capture, and what they captured
std::vector<std::vector<Work>> graphs;
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

EXPORT int cuInit(unsigned) { return devices() ? SUCCESS : NO_DEVICE; }

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

EXPORT int cuModuleLoadData(void **module, const void *image) {
  if (contexts.empty()) return INVALID_CONTEXT;
  if (getenv("FAKECUDA_REFUSE_IMAGES")) return NO_BINARY_FOR_GPU;
  *module = (void *)&kernels;
  return is_image((const unsigned char *)image) ? SUCCESS : INVALID_IMAGE;
}

EXPORT int cuModuleGetFunction(void **function, void *, const char *name) {
  if (forbidden()) return CAPTURE_UNSUPPORTED;
  auto found = kernels.find(name);
  if (found == kernels.end()) return NOT_FOUND;
  *function = (void *)found->second;
  return SUCCESS;
}

EXPORT int cuLaunchKernel(void *function, unsigned bx, unsigned by, unsigned bz, unsigned tx,
                          unsigned ty, unsigned tz, unsigned, void *stream, void **arguments, void **) {
  if (contexts.empty()) return INVALID_CONTEXT;
  if (!bx || by != 1 || bz != 1 || !tx || tx > 1024 || ty != 1 || tz != 1) return INVALID_VALUE;
  Work body = ((Binder)function)(arguments);
  Work work = [=] { emulation::run(bx, tx, body); };
  ++launches;
  auto capture = captures.find(stream);
  if (capture != captures.end())
    capture->second.push_back(work);
  else
    work();
  return SUCCESS;
}

EXPORT int cuMemAlloc_v2(uint64_t *address, size_t bytes) {
  if (contexts.empty()) return INVALID_CONTEXT;
  if (forbidden()) return CAPTURE_UNSUPPORTED;
  if (!bytes) return INVALID_VALUE;
  *address = (uint64_t)malloc(bytes);
  return SUCCESS;
}

EXPORT int cuMemFree_v2(uint64_t address) {
  free((void *)address);
  return SUCCESS;
}

EXPORT int cuStreamCreate(void **stream, unsigned) {
  if (forbidden()) return CAPTURE_UNSUPPORTED;
  static intptr_t number = 1000;
  *stream = (void *)++number;
  return SUCCESS;
}

EXPORT int cuMemcpyHtoDAsync_v2(uint64_t to, const void *from, size_t bytes, void *stream) {
  if (forbidden() || captures.count(stream)) return CAPTURE_UNSUPPORTED;
  memcpy((void *)to, from, bytes);
  return SUCCESS;
}

EXPORT int cuStreamSynchronize(void *stream) {
  return forbidden() || captures.count(stream) ? CAPTURE_UNSUPPORTED : SUCCESS;
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
EXPORT void fakecuda_layout(int64_t out[25]) {
  using namespace qt;
  const int64_t layout[] = {
      sizeof(Spec), sizeof(Launch), sizeof(Tensor), sizeof(Counters),
      offsetof(Spec, spacing), offsetof(Spec, zero), offsetof(Spec, size), offsetof(Spec, parameter),
      offsetof(Launch, seed), offsetof(Launch, rule), offsetof(Launch, optimiser),
      offsetof(Launch, storage), offsetof(Launch, gradient_type), offsetof(Launch, moment_type),
      offsetof(Launch, spec), offsetof(Tensor, state), offsetof(Tensor, gradient),
      offsetof(Tensor, first), offsetof(Tensor, second), offsetof(Tensor, increment),
      offsetof(Tensor, count),
      offsetof(Tensor, offset), offsetof(Tensor, tensor), offsetof(Counters, moved),
      offsetof(Counters, nan)};
  memcpy(out, layout, sizeof layout);
}
