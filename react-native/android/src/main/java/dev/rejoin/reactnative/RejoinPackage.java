package dev.rejoin.reactnative;

import androidx.annotation.Nullable;
import com.facebook.react.BaseReactPackage;
import com.facebook.react.bridge.NativeModule;
import com.facebook.react.bridge.ReactApplicationContext;
import com.facebook.react.module.model.ReactModuleInfo;
import com.facebook.react.module.model.ReactModuleInfoProvider;
import java.util.Map;

/** The package that autolinking adds to the app: one turbo module, created when JavaScript first uses it. */
public final class RejoinPackage extends BaseReactPackage {
  @Override
  public @Nullable NativeModule getModule(String name, ReactApplicationContext context) {
    return name.equals(RejoinModule.NAME) ? new RejoinModule(context) : null;
  }

  @Override
  public ReactModuleInfoProvider getReactModuleInfoProvider() {
    String name = RejoinModule.NAME;
    ReactModuleInfo info = new ReactModuleInfo(
        name,
        RejoinModule.class.getName(),
        /* canOverrideExistingModule= */ false,
        /* needsEagerInit= */ false,
        /* isCxxModule= */ false,
        /* isTurboModule= */ true);
    return () -> Map.of(name, info);
  }
}
