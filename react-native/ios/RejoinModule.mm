/// Installs the engine's functions into the JavaScript runtime, and removes them before the runtime is destroyed. Everything else
/// is in C++ and TypeScript.
#import "RejoinModule.h"

#import <React/RCTInvalidating.h>
#import <ReactCommon/RCTTurboModuleWithJSIBindings.h>

#import "rejoin.h"

#define REJOIN_TEXT(name) REJOIN_QUOTED(name)
#define REJOIN_QUOTED(name) @ #name

@interface RejoinModule () <RCTTurboModuleWithJSIBindings, RCTInvalidating>
@end

@implementation RejoinModule {
  /// The runtime that has the functions. Used on the JavaScript thread only.
  facebook::jsi::Runtime *_runtime;
}

+ (NSString *)moduleName
{
  return @"Rejoin";
}

+ (BOOL)requiresMainQueueSetup
{
  return NO;
}

/// React Native then calls `invalidate` on the JavaScript thread, and waits for it before it destroys the runtime.
- (dispatch_queue_t)methodQueue
{
  return RCTJSThread;
}

- (std::shared_ptr<facebook::react::TurboModule>)getTurboModule:(const facebook::react::ObjCTurboModule::InitParams &)params
{
  return std::make_shared<facebook::react::NativeRejoinSpecJSI>(params);
}

/// React Native calls it on the JavaScript thread, right after `getTurboModule:`. An exception of C++ becomes an error of JavaScript.
- (void)installJSIBindingsWithRuntime:(facebook::jsi::Runtime &)runtime
                          callInvoker:(const std::shared_ptr<facebook::react::CallInvoker> &)callInvoker
{
  rejoin::install(runtime, callInvoker);
  _runtime = &runtime;
}

/// Whether the functions are installed, which happens before JavaScript has the module.
- (NSNumber *)install
{
  return @(_runtime != nullptr);
}

- (NSString *)version
{
  return REJOIN_TEXT(REJOIN_VERSION);
}

- (void)invalidate
{
  if (_runtime != nullptr) {
    rejoin::invalidate(*_runtime);
    _runtime = nullptr;
  }
}

@end
