// Runs calls of the engine's threads on the thread of one JavaScript runtime, until that runtime ends.
//
// Guarantees:
// - After `close`, no call begins. Threads that wait for a queued call return at once. A call that is running completes.
// - JavaScript values are created, used and released on the JavaScript thread only. Tasks that React Native still queues hold none.
// - Handles name their runtime.
//
// What the engine gets instead of a call is left to `rejoin_runtime.h`.
#pragma once

#include <ReactCommon/CallInvoker.h>
#include <jsi/jsi.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <utility>

// The headers of the generator need this name.
namespace jsi = facebook::jsi;

#include "UniffiJsiTypes.h"

namespace rejoin {

using Call = std::function<void(jsi::Runtime &)>;

// What became of a call.
enum class Outcome {
  // It returned.
  Done,
  // It began and ended with an exception.
  Failed,
  // It did not begin: its runtime has ended.
  Refused,
};

// Runs calls on the thread of one JavaScript runtime, until it is closed.
//
// The base class is a type that the headers of the generator name; its members are not used.
class Invoker : public uniffi_runtime::UniffiCallInvoker, public std::enable_shared_from_this<Invoker> {
public:
  // On the JavaScript thread. `number` is different for each runtime of the process, and at least 1.
  Invoker(jsi::Runtime &runtime, std::shared_ptr<facebook::react::CallInvoker> invoker, uint64_t number)
      : UniffiCallInvoker(nullptr), runtime_(runtime), number_(number), thread_(std::this_thread::get_id()), invoker_(std::move(invoker)) {}

  // Runs the call and waits for it: at once on the JavaScript thread, otherwise as a task of it.
  Outcome invokeBlocking(Call &call) {
    if (isOwnThread()) {
      return isOpen() ? run(runtime_, call) : Outcome::Refused;
    }
    auto slot = std::make_shared<Slot>(Slot{&call, State::Queued});
    auto invoker = current();
    if (invoker == nullptr) {
      return Outcome::Refused;
    }
    // React Native drops tasks without notice when its runtime ends.
    auto dropped = [self = shared_from_this(), slot](void *) { self->set(*slot, State::Queued, State::Refused); };
    std::shared_ptr<void> ticket(slot.get(), std::move(dropped));
    invoker->invokeAsync([self = shared_from_this(), slot, ticket = std::move(ticket)](jsi::Runtime &runtime) {
      if (self->begin(*slot)) {
        auto outcome = run(runtime, *slot->call);
        self->set(*slot, State::Running, outcome == Outcome::Done ? State::Done : State::Failed);
      }
    });
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [&] { return slot->state != State::Running && (slot->state != State::Queued || !open_); });
    if (slot->state == State::Queued) {
      slot->state = State::Refused;
    }
    return slot->state == State::Done ? Outcome::Done : slot->state == State::Failed ? Outcome::Failed : Outcome::Refused;
  }

  // Runs the call as a later task of the JavaScript thread, and does not wait.
  Outcome invokeNonBlocking(Call call) {
    auto invoker = current();
    if (invoker == nullptr) {
      return Outcome::Refused;
    }
    invoker->invokeAsync([self = shared_from_this(), call = std::move(call)](jsi::Runtime &runtime) mutable {
      if (self->isOpen()) {
        run(runtime, call);
      }
    });
    return Outcome::Done;
  }

  // Keeps a value until `release`. The pointer owns nothing, so any thread may drop it; it is to be read inside a call.
  std::shared_ptr<jsi::Value> keep(jsi::Runtime &runtime, const jsi::Object &value) {
    values_.emplace_back(runtime, value);
    return std::shared_ptr<jsi::Value>(std::shared_ptr<void>(), &values_.back());
  }

  bool isOwnThread() const { return std::this_thread::get_id() == thread_; }

  bool isOpen() {
    std::lock_guard<std::mutex> lock(mutex_);
    return open_;
  }

  // Lets no further call begin, on any thread; returns whether this call closed it.
  bool close() {
    std::shared_ptr<facebook::react::CallInvoker> dropped;
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (!std::exchange(open_, false)) {
        return false;
      }
      dropped = std::move(invoker_);
    }
    changed_.notify_all();
    return true;
  }

  // Releases the values, on the JavaScript thread after `close`.
  void release() { values_.clear(); }

  // The first handle of this runtime. Handles are odd, which tells them from pointers of the engine.
  uint64_t firstHandle() const { return number_ << HANDLE_BITS | 1; }
  bool owns(uint64_t handle) const { return handle >> HANDLE_BITS == number_; }

private:
  enum class State { Queued, Running, Done, Failed, Refused };
  struct Slot {
    Call *call;
    State state;
  };

  static constexpr int HANDLE_BITS = 40;

  static Outcome run(jsi::Runtime &runtime, Call &call) {
    try {
      call(runtime);
      return Outcome::Done;
    } catch (const std::exception &) { // The generated code has printed it.
      return Outcome::Failed;
    }
  }

  std::shared_ptr<facebook::react::CallInvoker> current() {
    std::lock_guard<std::mutex> lock(mutex_);
    return invoker_;
  }

  bool begin(Slot &slot) {
    std::lock_guard<std::mutex> lock(mutex_);
    bool begins = open_ && slot.state == State::Queued;
    slot.state = begins ? State::Running : slot.state;
    return begins;
  }

  void set(Slot &slot, State from, State to) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      slot.state = slot.state == from ? to : slot.state;
    }
    changed_.notify_all();
  }

  jsi::Runtime &runtime_;
  const uint64_t number_;
  const std::thread::id thread_;
  std::deque<jsi::Value> values_;

  std::mutex mutex_;
  std::condition_variable changed_;
  bool open_ = true;
  std::shared_ptr<facebook::react::CallInvoker> invoker_;
};

} // namespace rejoin
