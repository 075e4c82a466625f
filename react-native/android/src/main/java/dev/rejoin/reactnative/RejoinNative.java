package dev.rejoin.reactnative;

import android.os.Build;
import com.facebook.react.turbomodule.core.interfaces.CallInvokerHolder;
import java.util.Arrays;

/** The functions of {@code librejoin-jsi.so}, which {@code cpp-adapter.cpp} implements. The caller owns the runtime pointer. */
final class RejoinNative {
  private RejoinNative() {}

  /**
   * Loads the library, and with it {@code librejoin_ffi.so}. Repeating it does nothing.
   *
   * @throws IllegalStateException if the library is not in the app, or cannot be linked
   */
  static void load() {
    try {
      System.loadLibrary("rejoin-jsi");
    } catch (UnsatisfiedLinkError error) {
      String message = "Rejoin: librejoin-jsi.so cannot be loaded on this device (ABIs " + Arrays.toString(Build.SUPPORTED_ABIS)
          + "): " + error.getMessage() + ". Add one of these ABIs to reactNativeArchitectures in android/gradle.properties, "
          + "then build the app again.";
      throw new IllegalStateException(message, error);
    }
  }

  /** Installs the engine's functions into the runtime. On the JavaScript thread. */
  static native void install(long runtime, CallInvokerHolder callInvoker);

  /** Ends the callbacks into the runtime. While nothing else uses the runtime. */
  static native void invalidate(long runtime);
}
