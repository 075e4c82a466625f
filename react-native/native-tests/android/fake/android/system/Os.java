package android.system;

import java.util.ArrayList;
import java.util.List;

/** Records the calls: the real class needs Android's runtime. */
public final class Os {
  public static final List<String> calls = new ArrayList<>();

  public static void setenv(String name, String value, boolean overwrite) throws ErrnoException {
    calls.add(name + "=" + value + " " + overwrite);
  }
}
