// Runs bundles of JavaScript on JavaScriptCore, with the native part of the package as an app has it: `rejoin-jsi BUNDLE ARGUMENT...`.
//
// Gives JavaScript an object `host` with an event loop, files, child processes and reloads. What a program needs of a browser or of Node is
// on top, in `prelude.ts`. A reload ends the runtime between two tasks, as React Native does; the program then starts again, in the same
// process, with the text that it has left by `host.keep` in `host.state`. The exit code is that of `host.exit`.
#include <jsi/jsi.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cmath>
#include <csignal>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <sstream>
#include <thread>
#include <utility>

#include "JSCRuntime.h"
#include "rejoin.h"

namespace jsi = facebook::jsi;
namespace files = std::filesystem;
using Task = facebook::react::CallFunc;

extern char **environ;

namespace {

double now() {
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// The tasks of one runtime. After the end, they are dropped without notice, as by React Native.
class Queue : public facebook::react::CallInvoker {
public:
  void invokeAsync(Task &&task) noexcept override {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!ended_) {
      tasks_.push_back(std::move(task));
      news_.notify_all();
    }
  }
  void invokeSync(Task &&) override { abort(); }

  // The next task, or none after `wait` milliseconds.
  Task next(double wait) {
    std::unique_lock<std::mutex> lock(mutex_);
    news_.wait_for(lock, std::chrono::duration<double, std::milli>(wait), [&] { return !tasks_.empty(); });
    if (tasks_.empty()) {
      return nullptr;
    }
    auto task = std::move(tasks_.front());
    tasks_.pop_front();
    return task;
  }

  size_t size() {
    std::lock_guard<std::mutex> lock(mutex_);
    return tasks_.size();
  }

  // Returns what was queued.
  std::deque<Task> end() {
    std::lock_guard<std::mutex> lock(mutex_);
    ended_ = true;
    return std::exchange(tasks_, {});
  }

private:
  std::mutex mutex_;
  std::condition_variable news_;
  std::deque<Task> tasks_;
  bool ended_ = false;
};

// What outlives a runtime.
struct Process {
  std::vector<std::string> arguments;
  std::string state;
  int round = 0;
  int code = 0;
  bool exits = false;
  // How many tasks are left until the reload; none is planned if negative.
  long left = -1;
  // Whether the reload calls `invalidate`.
  bool invalidates = true;
  std::map<int, int> inputs;
  std::vector<std::deque<Task>> left_over;
};

void write(int file, const std::string &text) {
  for (size_t at = 0; at < text.size();) {
    auto written = ::write(file, text.data() + at, text.size() - at);
    if (written <= 0) {
      return;
    }
    at += static_cast<size_t>(written);
  }
}

// Starts a program and calls `onLine` with each line of its output, and with null at its end.
int start(Process &process, const std::vector<std::string> &words, std::shared_ptr<Queue> queue, std::function<void(jsi::Runtime &, const std::string *)> onLine) {
  int input[2], output[2];
  if (pipe(input) != 0 || pipe(output) != 0) {
    throw std::runtime_error("no pipe");
  }
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, input[0], 0);
  posix_spawn_file_actions_adddup2(&actions, output[1], 1);
  for (int file : {input[0], input[1], output[0], output[1]}) {
    posix_spawn_file_actions_addclose(&actions, file);
  }
  for (auto &[_, file] : process.inputs) {
    posix_spawn_file_actions_addclose(&actions, file); // Else it would keep the input of another child open.
  }
  std::vector<char *> pointers;
  for (auto &word : words) {
    pointers.push_back(const_cast<char *>(word.c_str()));
  }
  pointers.push_back(nullptr);
  pid_t child;
  if (posix_spawn(&child, pointers[0], &actions, nullptr, pointers.data(), environ) != 0) {
    throw std::runtime_error("cannot start " + words[0]);
  }
  close(input[0]);
  close(output[1]);
  process.inputs[child] = input[1];
  std::thread([child, file = output[0], queue, onLine] {
    std::string text;
    char part[4096];
    for (ssize_t length; (length = read(file, part, sizeof part)) > 0;) {
      text.append(part, static_cast<size_t>(length));
      for (size_t end; (end = text.find('\n')) != std::string::npos; text.erase(0, end + 1)) {
        queue->invokeAsync([onLine, line = text.substr(0, end)](jsi::Runtime &runtime) { onLine(runtime, &line); });
      }
    }
    close(file);
    waitpid(child, nullptr, 0);
    queue->invokeAsync([onLine](jsi::Runtime &runtime) { onLine(runtime, nullptr); });
  }).detach();
  return child;
}

std::string read(const std::string &path) {
  std::ifstream file(path);
  if (!file) {
    throw std::runtime_error("ENOENT: no such file: " + path);
  }
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// Defines the members of `host`.
void define(jsi::Runtime &runtime, Process &process, std::shared_ptr<Queue> queue, std::deque<jsi::Function> &listeners) {
  jsi::Object host(runtime);
  auto function = [&](const char *name, std::function<jsi::Value(jsi::Runtime &, const jsi::Value *)> body) {
    auto call = [body](jsi::Runtime &runtime, const jsi::Value &, const jsi::Value *arguments, size_t) { return body(runtime, arguments); };
    host.setProperty(runtime, name, jsi::Function::createFromHostFunction(runtime, jsi::PropNameID::forAscii(runtime, name), 3, call));
  };
  auto text = [](jsi::Runtime &runtime, const jsi::Value &value) { return value.asString(runtime).utf8(runtime); };
  auto string = [](jsi::Runtime &runtime, const std::string &text) { return jsi::Value(runtime, jsi::String::createFromUtf8(runtime, text)); };
  auto list = [string](jsi::Runtime &runtime, const std::vector<std::string> &texts) {
    jsi::Array array(runtime, texts.size());
    for (size_t at = 0; at < texts.size(); at++) {
      array.setValueAtIndex(runtime, at, string(runtime, texts[at]));
    }
    return jsi::Value(std::move(array));
  };
  host.setProperty(runtime, "round", process.round);
  host.setProperty(runtime, "state", string(runtime, process.state));
  host.setProperty(runtime, "arguments", list(runtime, process.arguments));
  function("now", [](auto &, auto *) { return jsi::Value(now()); });
  function("print", [text](auto &runtime, auto *arguments) {
    write(1, text(runtime, arguments[0]) + "\n");
    return jsi::Value();
  });
  function("exit", [&process](auto &, auto *arguments) {
    process.code = static_cast<int>(arguments[0].asNumber());
    process.exits = true;
    return jsi::Value();
  });
  // Reloads after so many further tasks.
  function("reload", [&process](auto &, auto *arguments) {
    process.left = static_cast<long>(arguments[0].asNumber());
    process.invalidates = arguments[1].getBool();
    return jsi::Value();
  });
  function("keep", [&process, text](auto &runtime, auto *arguments) {
    process.state = text(runtime, arguments[0]);
    return jsi::Value();
  });
  function("queued", [queue](auto &, auto *) { return jsi::Value(static_cast<double>(queue->size())); });
  function("install", [queue](auto &runtime, auto *) {
    rejoin::install(runtime, queue);
    return jsi::Value();
  });
  // For tests that end Rejoin inside a task.
  function("invalidate", [](auto &runtime, auto *) {
    rejoin::invalidate(runtime);
    return jsi::Value();
  });
  function("env", [text, string](auto &runtime, auto *arguments) {
    auto *value = std::getenv(text(runtime, arguments[0]).c_str());
    return value == nullptr ? jsi::Value() : string(runtime, value);
  });
  function("read", [text, string](auto &runtime, auto *arguments) { return string(runtime, read(text(runtime, arguments[0]))); });
  function("exists", [text](auto &runtime, auto *arguments) { return jsi::Value(files::exists(text(runtime, arguments[0]))); });
  function("names", [text, list](auto &runtime, auto *arguments) {
    std::vector<std::string> names;
    for (auto &entry : files::directory_iterator(text(runtime, arguments[0]))) {
      names.push_back(entry.path().filename());
    }
    return list(runtime, names);
  });
  function("folder", [text, string](auto &runtime, auto *arguments) {
    auto path = text(runtime, arguments[0]) + "XXXXXX";
    if (mkdtemp(path.data()) == nullptr) {
      throw std::runtime_error("cannot make " + path);
    }
    return string(runtime, path);
  });
  function("remove", [text](auto &runtime, auto *arguments) {
    files::remove_all(text(runtime, arguments[0]));
    return jsi::Value();
  });
  function("start", [&process, &listeners, queue, text, string](auto &runtime, auto *arguments) {
    auto words = arguments[0].asObject(runtime).asArray(runtime);
    std::vector<std::string> program;
    for (size_t at = 0; at < words.size(runtime); at++) {
      program.push_back(text(runtime, words.getValueAtIndex(runtime, at)));
    }
    listeners.push_back(arguments[1].asObject(runtime).asFunction(runtime));
    auto *listener = &listeners.back();
    return jsi::Value(start(process, program, queue, [listener, string](jsi::Runtime &runtime, const std::string *line) {
      listener->call(runtime, line == nullptr ? jsi::Value::null() : string(runtime, *line));
    }));
  });
  function("write", [&process, text](auto &runtime, auto *arguments) {
    write(process.inputs[static_cast<int>(arguments[0].asNumber())], text(runtime, arguments[1]));
    return jsi::Value();
  });
  function("close", [&process](auto &, auto *arguments) {
    auto child = process.inputs.extract(static_cast<int>(arguments[0].asNumber()));
    if (!child.empty()) {
      close(child.mapped());
    }
    return jsi::Value();
  });
  runtime.global().setProperty(runtime, "host", host);
}

// Runs the tasks until the program exits or reloads.
void loop(jsi::Runtime &runtime, Process &process, Queue &queue) {
  auto tick = runtime.global().getPropertyAsObject(runtime, "host").getPropertyAsFunction(runtime, "tick");
  while (!process.exits && process.left != 0) {
    // Runs the timers that are due; returns the milliseconds until the next.
    auto wait = tick.call(runtime).asNumber();
    if (process.exits || process.left == 0) {
      return;
    }
    if (auto task = queue.next(process.left > 0 ? std::min(wait, 1.0) : wait)) {
      task(runtime);
    }
    process.left -= process.left > 0 ? 1 : 0;
  }
}

// One runtime from its start to its end.
void run(Process &process, const std::string &source, const std::string &path) {
  auto runtime = facebook::jsc::makeJSCRuntime();
  auto queue = std::make_shared<Queue>();
  process.left = -1;
  process.invalidates = true;
  std::deque<jsi::Function> listeners;
  define(*runtime, process, queue, listeners);
  try {
    runtime->evaluateJavaScript(std::make_unique<jsi::StringBuffer>(source), path);
    loop(*runtime, process, *queue);
  } catch (const jsi::JSError &error) {
    std::cerr << error.getMessage() << "\n" << error.getStack() << std::endl;
    process.code = 1;
    process.exits = true;
  }
  if (process.invalidates) {
    rejoin::invalidate(*runtime);
  }
  // React Native drops some tasks, and others outlive the runtime.
  if (auto tasks = queue->end(); process.round % 2 == 1) {
    process.left_over.push_back(std::move(tasks));
  }
  listeners.clear();
  runtime.reset();
}

} // namespace

int main(int count, char **words) {
  if (count < 2) {
    std::cerr << "usage: rejoin-jsi BUNDLE ARGUMENT..." << std::endl;
    return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  Process process;
  process.arguments.assign(words + 2, words + count);
  auto source = read(words[1]);
  for (; !process.exits; process.round++) {
    run(process, source, words[1]);
  }
  std::cout << std::flush;
  // As an app: threads of the engine may still run.
  _exit(process.code);
}
