#!/bin/sh
# swift/package.sh VERSION: builds the engine for Apple's systems on a Mac. `cargo xtask package swift` calls it after it has
# written the licences and the bill of materials into target/package/swift.
#
# Writes there CRejoinFFI.xcframework with a dSYM for each slice, its zip with a checksum, and the distribution repository.
# Signs the frameworks if REJOIN_SIGNING_IDENTITY names an identity in the keychain. Publishes nothing.
set -eu
version=$1
cd "$(dirname "$0")/.."
name=CRejoinFFI
header=swift/Sources/$name/$name.h
privacy=swift/PrivacyInfo.xcprivacy
install_name=@rpath/$name.framework/$name
out=$PWD/target/package/swift
work=target/package/swift-slices
rm -rf "$out/$name.xcframework" "$out/$name.xcframework.zip" "$out/dist" "$work"
mkdir -p "$out" "$work"

fail() {
  echo "FAILED: $1" >&2
  exit 1
}

# declares CATEGORY FUNCTION...: the privacy manifest declares a category if and only if the library imports one of its functions.
declares() {
  category=NSPrivacyAccessedAPICategory$1 imported=no declared=no
  shift
  for function; do
    if grep -qx "$function" "$work/imports"; then imported=yes; fi
  done
  if grep -q ">$category<" "$privacy"; then declared=yes; fi
  [ $imported = $declared ] || fail "$category: imported: $imported, declared in $privacy: $declared"
}

# check LIBRARY PLATFORM MINIMUM: the library is for the system, exports the functions of the header and nothing that is not ours.
check() {
  found=$(xcrun vtool -show-build "$1" | awk '$1 == "platform" { platform = $2 } $1 == "minos" { print platform, $2 }')
  [ "$found" = "$2 $3" ] || fail "$1 is for $found, not for $2 $3"
  [ "$(otool -D "$1" | tail -1)" = "$install_name" ] || fail "$1 has another install name than $install_name"
  nm -gjU "$1" | sed 's/^_//' | sort >"$work/exports"
  nm -gju "$1" | sed -e 's/^_//' -e 's/\$.*//' | sort -u >"$work/imports"
  others=$(grep -Ev '^(ffi_rejoin_|uniffi_rejoin_|UNIFFI_META_)' "$work/exports" || true)
  [ -z "$others" ] || fail "$1 exports names that are not ours: $others"
  missing=$(grep -Eo '(uni)?ffi_rejoin_[A-Za-z0-9_]+' "$header" | sort -u | comm -23 - "$work/exports")
  [ -z "$missing" ] || fail "$1 lacks functions of $header: $missing"
  declares FileTimestamp stat lstat fstat fstatat getattrlist fgetattrlist getattrlistat getattrlistbulk
  declares DiskSpace statfs fstatfs statvfs fstatvfs getattrlist fgetattrlist getattrlistat
  declares SystemBootTime mach_absolute_time
  echo "ok: $1: $(wc -c <"$1") bytes, $(wc -l <"$work/exports") exports, $(wc -l <"$work/imports") imports"
}

# combine OUTPUT FILE...: one file of all processors.
combine() {
  output=$1
  shift
  if [ $# = 1 ]; then cp "$1" "$output"; else xcrun lipo -create "$@" -output "$output"; fi
}

# slice FOLDER PLATFORM BUNDLE MINIMUM TARGET...: builds and checks the framework of a system, with its dSYM.
slice() {
  place=$work/$1 platform=$2 bundle=$3 minimum=$4
  shift 4
  libraries='' symbols=''
  for target; do
    RUSTFLAGS="-Clink-arg=-Wl,-install_name,$install_name" "${CARGO:-cargo}" rustc --profile shipping \
      --package rejoin-bindings --lib --crate-type cdylib --target "$target" \
      --config 'profile.shipping.debug="line-tables-only"' --config 'profile.shipping.split-debuginfo="packed"'
    library=target/$target/shipping/librejoin_ffi.dylib
    check "$library" "$platform" "$minimum"
    libraries="$libraries $library" symbols="$symbols $(echo "$library.dSYM/Contents/Resources/DWARF/"*)"
  done
  framework=$place/$name.framework
  contents=$framework resources=$framework key=MinimumOSVersion
  if [ "$platform" = MACOS ]; then
    contents=$framework/Versions/A resources=$framework/Versions/A/Resources key=LSMinimumSystemVersion
  fi
  mkdir -p "$contents/Headers" "$contents/Modules" "$resources"
  # shellcheck disable=SC2086
  combine "$contents/$name" $libraries
  cp "$header" "$contents/Headers"
  cp "$privacy" "$resources"
  printf 'framework module %s {\n    header "%s.h"\n    export *\n}\n' $name $name >"$contents/Modules/module.modulemap"
  cat >"$resources/Info.plist" <<EOF
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
	<key>CFBundleDevelopmentRegion</key><string>en</string>
	<key>CFBundleExecutable</key><string>$name</string>
	<key>CFBundleIdentifier</key><string>dev.rejoin.$name</string>
	<key>CFBundleInfoDictionaryVersion</key><string>6.0</string>
	<key>CFBundleName</key><string>$name</string>
	<key>CFBundlePackageType</key><string>FMWK</string>
	<key>CFBundleShortVersionString</key><string>$version</string>
	<key>CFBundleSupportedPlatforms</key><array><string>$bundle</string></array>
	<key>CFBundleVersion</key><string>$version</string>
	<key>$key</key><string>$minimum</string>
</dict>
</plist>
EOF
  if [ "$platform" = MACOS ]; then
    ln -s A "$framework/Versions/Current"
    for part in $name Headers Modules Resources; do ln -s "Versions/Current/$part" "$framework/$part"; done
  fi
  dsym=$place/$name.framework.dSYM
  mkdir -p "$dsym/Contents/Resources/DWARF"
  cp "$library.dSYM/Contents/Info.plist" "$dsym/Contents"
  # shellcheck disable=SC2086
  combine "$dsym/Contents/Resources/DWARF/$name" $symbols
}

export IPHONEOS_DEPLOYMENT_TARGET=16.0 MACOSX_DEPLOYMENT_TARGET=13.0
rustup target add aarch64-apple-ios aarch64-apple-ios-sim x86_64-apple-ios aarch64-apple-darwin x86_64-apple-darwin
slice ios IOS iPhoneOS 16.0 aarch64-apple-ios
slice simulator IOSSIMULATOR iPhoneSimulator 16.0 aarch64-apple-ios-sim x86_64-apple-ios
slice macos MACOS MacOSX 13.0 aarch64-apple-darwin x86_64-apple-darwin
set --
for place in ios simulator macos; do
  set -- "$@" -framework "$work/$place/$name.framework" -debug-symbols "$PWD/$work/$place/$name.framework.dSYM"
done
xcodebuild -create-xcframework "$@" -output "$out/$name.xcframework"

if [ -n "${REJOIN_SIGNING_IDENTITY:-}" ]; then
  codesign --timestamp --sign "$REJOIN_SIGNING_IDENTITY" "$out/$name.xcframework"
else
  echo "REJOIN_SIGNING_IDENTITY is not set: the frameworks are unsigned"
fi
# Unlike zip, it keeps the symbolic links of macOS's framework without an option for it.
ditto -c -k --keepParent "$out/$name.xcframework" "$out/$name.xcframework.zip"
checksum=$(swift package compute-checksum "$out/$name.xcframework.zip")
printf %s "$checksum" >"$out/checksum"

# The distribution repository is small, so that SwiftPM does not clone the whole project to build an app.
mkdir -p "$out/dist/Sources"
cp -R swift/Sources/Rejoin swift/Sources/RejoinFFI swift/Sources/RejoinUI "$out/dist/Sources"
cp LICENSE-APACHE LICENSE-MIT "$out/THIRD-PARTY-LICENSES" "$out/rejoin.cdx.json" "$out/dist"
url=https://github.com/rejoin-dev/rejoin/releases/download/v$version/$name.xcframework.zip
for file in Package.swift README.md; do
  sed -e "s|@VERSION@|$version|g" -e "s|@URL@|$url|g" -e "s|@CHECKSUM@|$checksum|g" "swift/dist/$file" >"$out/dist/$file"
done
echo "$out/dist: push it as the tag $version"
