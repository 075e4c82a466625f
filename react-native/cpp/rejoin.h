// Rejoin in a JavaScript runtime of React Native: installing its functions, and ending them before a reload.
//
// The native module of each platform calls `install` when the JavaScript runtime has started and `invalidate` before it ends.
#pragma once

#include <ReactCommon/CallInvoker.h>
#include <jsi/jsi.h>

#include <memory>

namespace rejoin {

// Sets the global property `NativeRejoinFfi` to an object with the functions, on the JavaScript thread; a second call sets the
// same object.
//
// One runtime of a process uses Rejoin at a time: the one that had it before is ended, as by `invalidate`. It may still exist, and it may
// have been destroyed.
void install(facebook::jsi::Runtime &runtime, std::shared_ptr<facebook::react::CallInvoker> invoker);

// Ends what the runtime has opened: no code of it is called any more, its clients shut down and their files close. Committed writes stay
// queued, open transactions roll back. The next `open` of a file waits until it is closed.
//
// On any thread, while the runtime exists; best on its JavaScript thread, between two tasks. Also happens when the runtime is destroyed.
//
// Takes as long as the engine needs to close the files, at most three seconds. Does nothing for a runtime without Rejoin, or a second time.
void invalidate(facebook::jsi::Runtime &runtime);

} // namespace rejoin
