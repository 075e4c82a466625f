/**
 * The native methods of RejoinNative.java. A C++ exception becomes a Java exception, and by React Native an error of JavaScript.
 *
 * The pointer is that of a live runtime, which no other thread uses during the call: RejoinModule.java sees to both.
 */
#include <ReactCommon/CallInvokerHolder.h>
#include <fbjni/fbjni.h>
#include <jni.h>
#include <jsi/jsi.h>

#include "rejoin.h"

namespace {

using facebook::react::CallInvokerHolder;

facebook::jsi::Runtime &runtime_at(jlong pointer) {
  return *reinterpret_cast<facebook::jsi::Runtime *>(pointer);
}

template <typename Body>
void rethrow_in_java(Body body) {
  try {
    body();
  } catch (...) {
    facebook::jni::translatePendingCppExceptionToJavaException();
  }
}

} // namespace

extern "C" JNIEXPORT void JNICALL
Java_dev_rejoin_reactnative_RejoinNative_install(JNIEnv *, jclass, jlong runtime, jobject call_invoker) {
  rethrow_in_java([&] {
    auto holder = facebook::jni::wrap_alias(static_cast<CallInvokerHolder::javaobject>(call_invoker));
    rejoin::install(runtime_at(runtime), holder->cthis()->getCallInvoker());
  });
}

extern "C" JNIEXPORT void JNICALL
Java_dev_rejoin_reactnative_RejoinNative_invalidate(JNIEnv *, jclass, jlong runtime) {
  rethrow_in_java([&] { rejoin::invalidate(runtime_at(runtime)); });
}
