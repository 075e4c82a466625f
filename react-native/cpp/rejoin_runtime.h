// The functions of JavaScript that the engine calls, and bytes for JavaScript: what the generated code uses.
//
// The generated code keeps one `Callback` per function, and calls it on any thread. A call of an ended runtime gets an error, never a success
// without a value, and a handle of one runtime never reaches the code of another.
//
// `cargo xtask bindings` changes the generated code to use these classes. Ending the clients of a runtime is left to `rejoin.cpp`.
#pragma once

#include <string>
#include <vector>

#include "rejoin_invoker.h"

extern "C" {
RustBuffer ffi_rejoin_ffi_rustbuffer_from_bytes(ForeignBytes bytes, RustCallStatus *status);
void ffi_rejoin_ffi_rustbuffer_free(RustBuffer buffer, RustCallStatus *status);
}

namespace rejoin {

// The answer to a call that JavaScript does not answer: an error in each form in which the engine expects a result.
class Refusal {
public:
  // `owned` says whether the arguments still belong to the call; JavaScript releases those that it has received.
  template <typename... Arguments> static void send(bool owned, Arguments... arguments) { next(owned, arguments...); }

private:
  static void next(bool) {}

  template <typename First, typename... Rest> static void next(bool owned, First, Rest... rest) { next(owned, rest...); }

  template <typename... Rest> static void next(bool owned, RustBuffer buffer, Rest... rest) {
    if (owned) {
      RustCallStatus status = {UNIFFI_CALL_STATUS_OK, {}};
      ffi_rejoin_ffi_rustbuffer_free(buffer, &status);
    }
    next(owned, rest...);
  }

  // A synchronous function.
  template <typename... Rest> static void next(bool owned, RustCallStatus *status, Rest... rest) {
    *status = error();
    next(owned, rest...);
  }

  // An asynchronous function: what completes it, and the datum for that.
  template <typename Result, typename... Rest>
  static void next(bool owned, void (*complete)(uint64_t, Result), uint64_t datum, Rest... rest) {
    Result result = {};
    result.call_status = error();
    complete(datum, result);
    next(owned, rest...);
  }

  static RustCallStatus error() {
    static std::string text = "the JavaScript runtime was reloaded";
    RustCallStatus status = {UNIFFI_CALL_STATUS_OK, {}};
    ForeignBytes bytes = {static_cast<int32_t>(text.size()), reinterpret_cast<uint8_t *>(text.data())};
    return {UNIFFI_CALL_STATUS_PANIC, ffi_rejoin_ffi_rustbuffer_from_bytes(bytes, &status)};
  }
};

// A function of JavaScript that the engine calls on any thread. Its first argument is a handle.
template <typename Signature> class Callback;
template <typename... Rest> class Callback<void(uint64_t, Rest...)> {
public:
  // Whether the function is of the runtime of this invoker.
  bool isOf(const std::shared_ptr<Invoker> &invoker) {
    auto target = current();
    return target != nullptr && target->invoker == invoker;
  }

  // A runtime that has ended may still run, and must not replace the function of its successor.
  void set(const std::shared_ptr<Invoker> &invoker, std::function<Outcome(uint64_t, Rest...)> call) {
    if (!invoker->isOpen()) {
      return;
    }
    auto target = std::make_shared<const Target>(Target{invoker, std::move(call)});
    std::lock_guard<std::mutex> lock(mutex_);
    std::swap(target_, target);
  }

  void operator()(uint64_t handle, Rest... rest) {
    auto target = current();
    auto outcome = target != nullptr && target->invoker->owns(handle) ? target->call(handle, rest...) : Outcome::Refused;
    if (outcome != Outcome::Done) {
      Refusal::send(outcome == Outcome::Refused, handle, rest...);
    }
  }

private:
  struct Target {
    std::shared_ptr<Invoker> invoker;
    std::function<Outcome(uint64_t, Rest...)> call;
  };

  std::shared_ptr<const Target> current() {
    std::lock_guard<std::mutex> lock(mutex_);
    return target_;
  }

  std::mutex mutex_;
  std::shared_ptr<const Target> target_;
};

// Bytes that belong to JavaScript.
class OwnedBytes : public jsi::MutableBuffer {
public:
  explicit OwnedBytes(std::vector<uint8_t> bytes) : bytes_(std::move(bytes)) {}
  size_t size() const override { return bytes_.size(); }
  uint8_t *data() override { return bytes_.data(); }

private:
  std::vector<uint8_t> bytes_;
};

// The UTF-8 of a string, as a `Uint8Array` would have it: `{ buffer }`.
inline jsi::Value bytesOf(jsi::Runtime &runtime, const jsi::Value &value) {
  auto text = value.asString(runtime).utf8(runtime);
  auto bytes = std::make_shared<OwnedBytes>(std::vector<uint8_t>(text.begin(), text.end()));
  jsi::Object object(runtime);
  object.setProperty(runtime, "buffer", jsi::ArrayBuffer(runtime, bytes));
  return object;
}

// Ends a runtime: closes its invoker and detaches the engine's clients. Any thread, once per invoker.
void end(Invoker &invoker);

} // namespace rejoin
