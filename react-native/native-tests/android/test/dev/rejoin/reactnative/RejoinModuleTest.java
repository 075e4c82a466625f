package dev.rejoin.reactnative;

import android.content.Context;
import android.content.ContextWrapper;
import android.system.Os;
import com.facebook.react.bridge.CatalystInstance;
import com.facebook.react.bridge.JavaScriptContextHolder;
import com.facebook.react.bridge.JavaScriptModule;
import com.facebook.react.bridge.NativeModule;
import com.facebook.react.bridge.ReactApplicationContext;
import com.facebook.react.bridge.RuntimeExecutor;
import com.facebook.react.bridge.UIManager;
import com.facebook.react.turbomodule.core.interfaces.CallInvokerHolder;
import java.io.File;
import java.util.Collection;
import java.util.List;

/** The order of calls of RejoinModule, with React Native's own classes, a fake context and fake native methods. */
public final class RejoinModuleTest {
  private static final CallInvokerHolder INVOKER = new CallInvokerHolder() {};

  public static void main(String[] arguments) {
    installsOnceThereIsARuntime();
    invalidatesTheRuntimeThatItInstalledInto();
    invalidatesNothingWithoutARuntime();
    packageHasTheModule();
  }

  private static void installsOnceThereIsARuntime() {
    FakeContext context = new FakeContext();
    RejoinModule module = new RejoinModule(context);
    same("install without an instance", module.install(), false);
    context.invoker = INVOKER;
    same("install without a runtime", module.install(), false);
    context.runtime = new JavaScriptContextHolder(6);
    context.invoker = null;
    same("install without a call invoker", module.install(), false);
    same("calls", RejoinNative.calls, List.of());
    context.invoker = INVOKER;
    context.runtime = new JavaScriptContextHolder(0);
    same("install into a destroyed runtime", module.install(), false);
    same("calls", RejoinNative.calls, List.of("load"));
    context.runtime = new JavaScriptContextHolder(7);
    same("install", module.install(), true);
    same("calls", RejoinNative.calls, List.of("load", "load", "install 7"));
    same("temporary files", Os.calls.get(0), "TMPDIR=/cache false");
    same("version", module.version(), "1.2.3");
    RejoinNative.calls.clear();
  }

  private static void invalidatesTheRuntimeThatItInstalledInto() {
    FakeContext context = new FakeContext();
    context.runtime = new JavaScriptContextHolder(8);
    context.invoker = INVOKER;
    RejoinModule module = new RejoinModule(context);
    module.install();
    context.runtime = null; // As React Native does before it destroys an instance.
    module.invalidate();
    module.invalidate();
    same("calls", RejoinNative.calls, List.of("load", "install 8", "invalidate 8"));
    RejoinNative.calls.clear();
  }

  private static void invalidatesNothingWithoutARuntime() {
    FakeContext context = new FakeContext();
    new RejoinModule(context).invalidate();
    RejoinModule module = new RejoinModule(context);
    context.runtime = new JavaScriptContextHolder(9);
    context.invoker = INVOKER;
    module.install();
    context.runtime.clear();
    module.invalidate();
    same("calls", RejoinNative.calls, List.of("load", "install 9"));
    RejoinNative.calls.clear();
  }

  private static void packageHasTheModule() {
    RejoinPackage all = new RejoinPackage();
    same("module", all.getModule("Rejoin", new FakeContext()) instanceof RejoinModule, true);
    same("another module", all.getModule("Other", new FakeContext()), null);
    var infos = all.getReactModuleInfoProvider().getReactModuleInfos();
    same("names", List.copyOf(infos.keySet()), List.of("Rejoin"));
    same("turbo module", infos.get("Rejoin").isTurboModule(), true);
  }

  private static void same(String what, Object actual, Object expected) {
    if (actual == null ? expected != null : !actual.equals(expected)) {
      throw new AssertionError(what + ": expected " + expected + ", got " + actual);
    }
  }

  /** A context of an instance that has the runtime and the invoker of its fields. */
  private static final class FakeContext extends ReactApplicationContext {
    JavaScriptContextHolder runtime;
    CallInvokerHolder invoker;

    FakeContext() {
      super(new ContextWrapper(null) {
        @Override
        public Context getApplicationContext() {
          return this;
        }

        @Override
        public File getCacheDir() {
          return new File("/cache");
        }
      });
    }

    @Override
    public JavaScriptContextHolder getJavaScriptContextHolder() {
      return runtime;
    }

    @Override
    public CallInvokerHolder getJSCallInvokerHolder() {
      return invoker;
    }

    @Override
    public <T extends JavaScriptModule> T getJSModule(Class<T> type) {
      throw new UnsupportedOperationException();
    }

    @Override
    public <T extends NativeModule> boolean hasNativeModule(Class<T> type) {
      return false;
    }

    @Override
    public Collection<NativeModule> getNativeModules() {
      return List.of();
    }

    @Override
    public <T extends NativeModule> T getNativeModule(Class<T> type) {
      return null;
    }

    @Override
    public NativeModule getNativeModule(String name) {
      return null;
    }

    @Override
    public CatalystInstance getCatalystInstance() {
      throw new UnsupportedOperationException();
    }

    @Override
    public boolean hasActiveCatalystInstance() {
      return true;
    }

    @Override
    public boolean hasActiveReactInstance() {
      return true;
    }

    @Override
    public boolean hasCatalystInstance() {
      return true;
    }

    @Override
    public boolean hasReactInstance() {
      return true;
    }

    @Override
    public RuntimeExecutor getRuntimeExecutor() {
      return null;
    }

    @Override
    public void destroy() {}

    @Override
    public void handleException(Exception error) {
      throw new IllegalStateException(error);
    }

    @Override
    public boolean isBridgeless() {
      return true;
    }

    @Override
    public UIManager getFabricUIManager() {
      return null;
    }

    @Override
    public String getSourceURL() {
      return null;
    }

    @Override
    public void registerSegment(int id, String path, com.facebook.react.bridge.Callback done) {}
  }
}
