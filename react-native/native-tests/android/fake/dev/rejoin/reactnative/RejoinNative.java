package dev.rejoin.reactnative;

import com.facebook.react.turbomodule.core.interfaces.CallInvokerHolder;
import java.util.ArrayList;
import java.util.List;

/** Records the calls instead of loading a library, which a JVM on a computer cannot. */
final class RejoinNative {
  static final List<String> calls = new ArrayList<>();

  static void load() {
    calls.add("load");
  }

  static void install(long runtime, CallInvokerHolder callInvoker) {
    calls.add("install " + runtime);
  }

  static void invalidate(long runtime) {
    calls.add("invalidate " + runtime);
  }
}
