#!/bin/sh
# Generates Sources/DTrainONNX/onnx.pb.swift from onnx.proto beside it (for developers: the result is committed).
#
#     scripts/generate-onnx.sh
#
# Needs protoc (Debian's protobuf-compiler) and protoc-gen-swift in the PATH: `swift build -c release --product
# protoc-gen-swift` in a checkout of https://github.com/apple/swift-protobuf, at the version that Package.swift names.
. "$(dirname "$0")/common.sh"

command -v protoc >/dev/null || fail "protoc is missing: apt-get install protobuf-compiler"
command -v protoc-gen-swift >/dev/null || fail "protoc-gen-swift is missing: build it from swift-protobuf"
cd "$root/Sources/DTrainONNX"
protoc --swift_out=. --swift_opt=Visibility=Package,UseAccessLevelOnImports=true onnx.proto
say "$root/Sources/DTrainONNX/onnx.pb.swift"
