package dev.rejoin.reactnative;

import android.system.ErrnoException;
import android.system.Os;
import androidx.annotation.Nullable;
import com.facebook.react.bridge.JavaScriptContextHolder;
import com.facebook.react.bridge.ReactApplicationContext;
import com.facebook.react.module.annotations.ReactModule;
import com.facebook.react.turbomodule.core.interfaces.CallInvokerHolder;

/**
 * The turbo module "Rejoin": it installs the engine's functions into the JavaScript runtime and removes them before the runtime
 * is destroyed. Everything else is in C++ and TypeScript.
 */
@ReactModule(name = RejoinModule.NAME)
public final class RejoinModule extends NativeRejoinSpec {
  public static final String NAME = NativeRejoinSpec.NAME;

  /**
   * The runtime that has the functions. It is kept because the context no longer has it in {@link #invalidate}: React Native
   * removes the instance from the context first. The lock on the holder keeps the runtime from being destroyed.
   */
  private @Nullable JavaScriptContextHolder installed;

  RejoinModule(ReactApplicationContext context) {
    super(context);
  }

  /** On the JavaScript thread, as a synchronous method of a turbo module. */
  @Override
  public boolean install() {
    ReactApplicationContext context = getReactApplicationContext();
    JavaScriptContextHolder runtime = context.getJavaScriptContextHolder();
    CallInvokerHolder callInvoker = context.getJSCallInvokerHolder();
    if (runtime == null || callInvoker == null) return false;
    prepareTemporaryFiles(context);
    RejoinNative.load();
    synchronized (runtime) {
      if (runtime.get() == 0) return false;
      RejoinNative.install(runtime.get(), callInvoker);
    }
    installed = runtime;
    return true;
  }

  @Override
  public String version() {
    return BuildConfig.REJOIN_VERSION;
  }

  /**
   * React Native calls it after its JavaScript thread has ended and before it destroys the runtime (ReactInstance.destroy), so
   * no other thread uses the runtime.
   */
  @Override
  public void invalidate() {
    super.invalidate();
    JavaScriptContextHolder runtime = installed;
    if (runtime == null) return;
    installed = null;
    synchronized (runtime) {
      if (runtime.get() != 0) RejoinNative.invalidate(runtime.get());
    }
  }

  /** SQLite writes its temporary files to TMPDIR, which Android sets since version 13. */
  private static void prepareTemporaryFiles(ReactApplicationContext context) {
    try {
      Os.setenv("TMPDIR", context.getCacheDir().getPath(), false);
    } catch (ErrnoException error) {
      throw new IllegalStateException("Rejoin: TMPDIR cannot be set to the app's cache folder: " + error.getMessage(), error);
    }
  }
}
