# The native module as a pod, which autolinking adds to the app.
#
# It compiles ios/ and cpp/ in the app's build, and embeds the prebuilt engine, a dynamic framework: a static one would bring
# the symbols of a second SQLite into the app. React Native's own script adds its dependencies and flags. The privacy manifest
# is in the framework.
require "json"

package = JSON.parse(File.read(File.join(__dir__, "package.json")))
core = `node --print "require.resolve('@ubjs/core/package.json', {paths: [process.argv[1]]})" "#{__dir__}"`.strip
unless $?.success?
  raise "@rejoin/react-native cannot find its dependency @ubjs/core. Install the app's npm packages before `pod install`."
end
unless File.directory?(File.join(__dir__, "ios", "CRejoinFFI.xcframework"))
  raise "@rejoin/react-native has no engine: ios/CRejoinFFI.xcframework does not exist. " \
        "Run `cargo xtask package swift` and `cargo xtask package npm` on a Mac in a checkout, and install the tarball again."
end

Pod::Spec.new do |s|
  s.name = "RejoinReactNative"
  s.version = package["version"]
  s.summary = package["description"]
  s.homepage = "https://rejoin.dev"
  s.license = package["license"]
  s.author = "The Rejoin developers"
  s.source = { :git => "https://github.com/rejoin-dev/rejoin.git", :tag => "v#{s.version}" }

  s.platform = :ios, "16.0"
  s.source_files = "ios/*.{h,mm}", "cpp/**/*.{h,hpp,cpp}"
  s.private_header_files = "ios/*.h", "cpp/**/*.{h,hpp}"
  s.vendored_frameworks = "ios/CRejoinFFI.xcframework"
  s.pod_target_xcconfig = {
    "CLANG_CXX_LANGUAGE_STANDARD" => "c++20",
    "GCC_PREPROCESSOR_DEFINITIONS" => "$(inherited) REJOIN_VERSION=#{package["version"]}",
    "HEADER_SEARCH_PATHS" => [
      "$(inherited)",
      "\"$(PODS_TARGET_SRCROOT)/cpp\"",
      "\"$(PODS_TARGET_SRCROOT)/cpp/generated\"",
      "\"#{File.join(File.dirname(core), "cpp", "includes")}\"",
    ].join(" "),
  }
  install_modules_dependencies(s)
end
