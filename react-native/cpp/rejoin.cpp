// Which JavaScript runtime uses Rejoin; see rejoin.h for the contract.
#include "rejoin.h"

#include <atomic>

#include "generated/rejoin_ffi.hpp"

extern "C" void uniffi_rejoin_ffi_fn_func_detach_all(RustCallStatus *status);

namespace rejoin {

namespace {

constexpr const char *NAME = "NativeRejoinFfi";
// The object again: the functions need its owner, and JavaScript may keep them only.
constexpr const char *KEPT = "__NativeRejoinFfi";

struct Installed {
  jsi::Runtime *runtime = nullptr;
  std::shared_ptr<Invoker> invoker;
};

std::mutex mutex;
// The last runtime with Rejoin. Never freed: threads of the engine run until the process ends.
Installed &last = *new Installed();

void detach() {
  RustCallStatus status = {UNIFFI_CALL_STATUS_OK, {}};
  uniffi_rejoin_ffi_fn_func_detach_all(&status);
}

} // namespace

void install(jsi::Runtime &runtime, std::shared_ptr<facebook::react::CallInvoker> invoker) {
  static std::atomic<uint64_t> number{0};
  Installed before;
  {
    std::lock_guard<std::mutex> lock(mutex);
    before = last;
  }
  auto global = runtime.global();
  // A new runtime may have the address of an old one.
  auto kept = global.getProperty(runtime, KEPT);
  if (before.runtime == &runtime && before.invoker->isOpen() && kept.isObject()) {
    global.setProperty(runtime, NAME, kept);
    return;
  }
  if (before.invoker != nullptr) {
    before.invoker->close(); // Its values are released on its own thread, with its global object.
    detach();                // Also what it has opened since it was closed.
  }
  auto own = std::make_shared<Invoker>(runtime, std::move(invoker), ++number);
  auto functions = std::make_shared<NativeRejoinFfi>(runtime, own);
  // A plain object: lookups in a host object cost more, and engines differ in how they list its properties.
  jsi::Object object(runtime);
  for (auto &name : functions->getPropertyNames(runtime)) {
    object.setProperty(runtime, name, functions->get(runtime, name));
  }
  object.setProperty(runtime, "owner", jsi::Object::createFromHostObject(runtime, functions));
  global.setProperty(runtime, KEPT, object);
  global.setProperty(runtime, NAME, object);
  std::lock_guard<std::mutex> lock(mutex);
  last = {&runtime, own};
}

void invalidate(jsi::Runtime &runtime) {
  std::shared_ptr<Invoker> own;
  {
    std::lock_guard<std::mutex> lock(mutex);
    if (last.runtime != &runtime) {
      return;
    }
    own = last.invoker;
    last.runtime = nullptr;
  }
  end(*own);
  if (own->isOwnThread()) {
    own->release();
  }
}

void end(Invoker &invoker) {
  if (invoker.close()) {
    detach();
  }
}

} // namespace rejoin
